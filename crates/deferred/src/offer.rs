//! The decision to keep a message (OMA-TS-SIMPLE_IM §7.3.1.2, §7.3.1.4, §7.3.1.7).

use std::sync::Arc;

use parlance_content::cpim::Cpim;
use parlance_isc::registration::{Availability, availability};
use parlance_isc::{Cause, Cx, Offered};
use parlance_sip::Request;
use parlance_sip::header::{Expires, RequestDisposition};
use parlance_store::{
    Accepted, Cached, Millis, NewItem, Profile, Profiles, Registration, Seq, StoreError, UserId,
};

use crate::deferred::{Deferred, Event, Shared};
use crate::imdn::{FAILED, Report};
use crate::keep::{self, Lifetime};
use crate::refusal::{Refusal, refusal};
use crate::rest::Rest;
use crate::rules::Sender;
use crate::{Delivery, Policy, meter};

/// What a decision rests on besides the request.
pub(crate) struct Circumstances<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) profile: &'a Profile,
    pub(crate) sender: &'a Sender<'a>,
    pub(crate) cause: Cause,
    pub(crate) received: Millis,
}

/// Whether a message is kept, and until when; in the order of §7.3.1.7: the recipient's rules, his
/// settings, the sender's request, the operator's policy. (The quota is the store's to check.)
pub(crate) fn decide(request: &Request, about: &Circumstances<'_>) -> Result<Millis, Refusal> {
    let Circumstances { policy, profile, sender, cause, received } = about;
    if !sender.may_leave_messages(profile) {
        return Err(Refusal::Rules);
    }
    // Who has his messages stored first wants them stored.
    let wanted = match profile.settings(*received).offline_delivery {
        _ if *cause == Cause::Setting => Some(true),
        wanted => wanted,
    };
    if wanted == Some(false) {
        return Err(Refusal::Settings);
    }
    if wishes(request, RequestDisposition::NoQueue) {
        return Err(Refusal::Sender);
    }
    let expires = match Lifetime::of(request, *received, policy.age_max) {
        Lifetime::NowOnly => return Err(Refusal::Sender),
        Lifetime::Over => return Err(Refusal::Expired),
        Lifetime::Until(expires) => expires,
    };
    if !policy.enabled || !profile.rights.deferred {
        return Err(Refusal::Off);
    }
    // Nobody said anything (OMA-TS-SIMPLE_IM §6.1.12.8).
    if wanted.is_none() && !policy.keep_unasked && !asks_for_storage(request) {
        return Err(Refusal::Off);
    }
    if request.body().len() > policy.message_octets_max {
        return Err(Refusal::TooLarge);
    }
    Ok(expires)
}

/// Whether the sender wants `wish` (RFC 3841 §9.1).
fn wishes(request: &Request, wish: RequestDisposition<'_>) -> bool {
    request.list::<RequestDisposition<'_>>().filter_map(Result::ok).any(|said| said == wish)
}

/// Whether the sender wants the message stored for who is away (OMA-TS-SIMPLE_IM §6.1.12.8.2).
fn asks_for_storage(request: &Request) -> bool {
    let expires = request.header::<Expires>().ok().flatten();
    expires.is_some_and(|expires| expires.0 > 0) || wishes(request, RequestDisposition::Queue)
}

/// Whether what is kept for a user can be sent to him now: he is available, and not barred.
fn is_there(registration: &Registration, profile: &Profile, now: Millis) -> bool {
    let found = availability(Some(registration), Some(profile), None, now);
    found == Availability::Available && !registration.barred
}

/// The profile of a user; the default one for who never had any.
pub(crate) async fn profile(
    profiles: &dyn Profiles,
    user: &UserId,
) -> Result<Arc<Profile>, StoreError> {
    let found = match profiles.cached(user.as_str()) {
        Cached::Known(found) => found,
        Cached::Unknown => profiles.profile(user).await?,
    };
    Ok(found.unwrap_or_default())
}

/// The registration of a user who is there.
pub(crate) async fn present(
    cx: &Cx,
    user: &UserId,
    profile: &Profile,
) -> Result<Option<Arc<Registration>>, StoreError> {
    let registrations = &cx.node().registrations;
    let found = match registrations.cached(user.as_str()) {
        Cached::Known(found) => found,
        Cached::Unknown => registrations.lookup(user).await?,
    };
    Ok(found.filter(|registration| is_there(registration, profile, cx.now())))
}

impl Deferred {
    /// [`parlance_isc::Deferral::offer`], for a request whose sender is known.
    pub(crate) async fn offer_from(
        &self,
        cx: &Cx,
        user: &UserId,
        request: &Request,
        sender: &Sender<'_>,
        cause: Cause,
    ) -> Offered {
        let shared = self.shared();
        let refuse = |why: Refusal| {
            meter::offered("refused");
            tracing::debug!(%cause, %why, "a message is not kept");
            Offered::Refused(refusal(why, &shared.domain))
        };
        let kept = self.keep(cx, user, request, sender, cause).await;
        match kept {
            Ok(Ok(Accepted::Stored(seq))) => {
                meter::offered("stored");
                Offered::Stored(seq)
            }
            Ok(Ok(Accepted::Duplicate(_))) => {
                meter::offered("duplicate");
                Offered::Duplicate
            }
            Ok(Ok(Accepted::Full)) => refuse(Refusal::Full),
            Ok(Err(why)) => refuse(why),
            Err(error) => {
                tracing::warn!(%error, "a message cannot be kept");
                refuse(Refusal::Fault)
            }
        }
    }

    async fn keep(
        &self,
        cx: &Cx,
        user: &UserId,
        request: &Request,
        sender: &Sender<'_>,
        cause: Cause,
    ) -> Result<Result<Accepted, Refusal>, StoreError> {
        let shared = self.shared();
        let policy = shared.policy();
        let profile = profile(&*shared.profiles, user).await?;
        let received = cx.now();
        let about = Circumstances { policy: &policy, profile: &profile, sender, cause, received };
        let expires = match decide(request, &about) {
            Ok(expires) => expires,
            Err(why) => return Ok(Err(why)),
        };
        let originator = sender.identities.first().map_or("", |first| first.as_str());
        let cpim = keep::cpim(request);
        let item = NewItem {
            recipient: user.clone(),
            originator: originator.to_owned(),
            dedup: shared.dedup.of(request, originator, cpim.as_ref()),
            received,
            expires,
            due: shared.due(cx, user, &profile, cause).await?,
            wants_negative_delivery: keep::asks_for(FAILED, cpim.as_ref()),
            private: sender.private,
            payload: keep::payload(request, received),
        };
        self.accept(cx, item, cpim.as_ref(), cause).await.map(Ok)
    }

    /// Stores a message whose content is `cpim`, and tells who has to know: the recipient's lane,
    /// and the sender if he asked.
    pub(crate) async fn accept(
        &self,
        cx: &Cx,
        item: NewItem,
        cpim: Option<&Cpim>,
        cause: Cause,
    ) -> Result<Accepted, StoreError> {
        let shared = self.shared();
        let (user, received) = (item.recipient.clone(), item.received);
        let report = Report::stored(&item, cpim);
        let accepted = shared.inboxes.accept(item, shared.policy().quota(), received).await?;
        if let Accepted::Stored(seq) = accepted {
            self.tell(cx, &user, seq, cause).await;
            if let Some(report) = report {
                self.post(cx, Event::Report(Box::new(report)));
            }
        }
        Ok(accepted)
    }

    /// Wakes the lane of a user who is there. He may have come back since the decision to keep the
    /// message was made; one whose client was just tried in vain is left alone for a while.
    async fn tell(&self, cx: &Cx, user: &UserId, seq: Seq, cause: Cause) {
        let shared = self.shared();
        shared.watched.changed(user);
        let is_there = async {
            let profile = profile(&*shared.profiles, user).await?;
            if shared.delivery(&profile, cx.now()) == Delivery::None {
                return Ok(false);
            }
            Ok::<_, StoreError>(present(cx, user, &profile).await?.is_some())
        };
        if cause == Cause::Unanswered {
            return;
        }
        match is_there.await {
            Ok(true) => _ = self.post(cx, Event::Item { user: user.clone(), seq }),
            Ok(false) => {}
            // The message is durable whatever happens now.
            Err(_) => self.miss(),
        }
    }

    /// Whether messages that wait for `user` are on their way to him, so that a new one must queue
    /// behind them (DF-083).
    ///
    /// What waits for him to fetch it (he was told, or wants nothing sent) is no queue: new
    /// messages then reach him directly. When the store cannot say, delivery goes first.
    pub(crate) async fn is_pending(&self, cx: &Cx, user: &UserId) -> bool {
        let found = self.shared().waits(user, cx.now()).await;
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the store cannot say whether messages wait");
            false
        })
    }
}

impl Shared {
    /// How messages reach a user with this profile at `now`; what needs a session falls back.
    pub(crate) fn delivery(&self, profile: &Profile, now: Millis) -> Delivery {
        match self.policy().delivery.of(profile.settings(now).deferral) {
            Delivery::PushMsrp => Delivery::Notify,
            other => other,
        }
    }

    async fn waits(&self, user: &UserId, now: Millis) -> Result<bool, StoreError> {
        if self.inboxes.waiting() == 0 || self.inboxes.counts(user).await?.items == 0 {
            return Ok(false);
        }
        if Rest::of(self.inboxes.failures(user).await?) == Rest::Told {
            return Ok(false);
        }
        let profile = profile(&*self.profiles, user).await?;
        Ok(self.delivery(&profile, now) == Delivery::PushMessage)
    }

    /// When the inbox must be looked at for a new message, should the word of it get lost: at once
    /// for a user who is there; after a first back-off when his client was just tried in vain.
    /// `None` when an event or a back-off in hand will do.
    pub(crate) async fn due(
        &self,
        cx: &Cx,
        user: &UserId,
        profile: &Profile,
        cause: Cause,
    ) -> Result<Option<Millis>, StoreError> {
        let is_silent = self.delivery(profile, cx.now()) == Delivery::None;
        if is_silent || present(cx, user, profile).await?.is_none() {
            return Ok(None);
        }
        Ok(match (Rest::of(self.inboxes.failures(user).await?), cause) {
            (Rest::BackOff(_) | Rest::Declined, _) => None,
            (Rest::Ready | Rest::Told, Cause::Unanswered) => {
                Some(cx.now() + self.policy().retry_first)
            }
            (
                Rest::Ready | Rest::Told,
                Cause::Unregistered
                | Cause::Invisible
                | Cause::Inactive
                | Cause::Setting
                | Cause::Behind,
            ) => Some(cx.now()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Circumstances, decide, is_there};
    use crate::Policy;
    use crate::refusal::Refusal;
    use crate::rules::Sender;
    use crate::scenario::request;
    use parlance_isc::Cause;
    use parlance_store::{Contact, Entry, Millis, Profile, Registration, Rights, Visibility};

    /// 2006-03-01T10:15:30Z.
    const T0: Millis = Millis(1_141_208_130_000);

    fn decided(
        headers: &str,
        profile: &Profile,
        policy: &Policy,
        cause: Cause,
    ) -> Result<Millis, Refusal> {
        let request =
            request(&format!("MESSAGE sip:bob@ims.test SIP/2.0\r\n{headers}\r\n\r\nhello"));
        let alice = ["sip:alice@ims.test".parse().unwrap()];
        let sender = Sender { identities: &alice, private: false };
        decide(&request, &Circumstances { policy, profile, sender: &sender, cause, received: T0 })
    }

    // Covers: DF-002, DF-007, CORE-052, CLI-031, CLI-032, CLI-033
    #[test]
    fn recipient_sender_and_operator_have_their_say() {
        const AWAY: Cause = Cause::Unregistered;
        let (open, keeps) = (Profile::default(), Policy::default());
        let blocks =
            Profile { reject: vec![Entry::Domain("ims.test".into())], ..Profile::default() };
        let with = |wanted| Profile { offline_delivery: Some(wanted), ..Profile::default() };
        let (wanted, online_only) = (with(true), with(false));
        let unasked = Policy { keep_unasked: false, ..Policy::default() };
        let unpaid =
            Profile { rights: Rights { deferred: false, ..Rights::default() }, ..open.clone() };
        let off = Policy { enabled: false, ..Policy::default() };
        let small = Policy { message_octets_max: 4, ..Policy::default() };
        let exact = Policy { message_octets_max: 5, ..Policy::default() };
        let week = Millis(T0.0 + 7 * 86_400_000);
        let old = "Date: Wed, 01 Mar 2006 10:14:30 GMT\r\nExpires: 60";
        #[rustfmt::skip]
        let table = [
            ("Subject: x",                    &open,        &keeps, AWAY, Ok(week)),
            ("Expires: 9",                    &open,        &keeps, AWAY, Ok(Millis(T0.0 + 9000))),
            ("Subject: x",                    &blocks,      &keeps, AWAY, Err(Refusal::Rules)),
            ("Subject: x",                    &online_only, &keeps, AWAY, Err(Refusal::Settings)),
            ("Subject: x",                    &online_only, &keeps, Cause::Setting, Ok(week)),
            ("Request-Disposition: no-queue", &open,        &keeps, AWAY, Err(Refusal::Sender)),
            ("d: proxy, NO-QUEUE",            &open,        &keeps, AWAY, Err(Refusal::Sender)),
            ("Request-Disposition: queue",    &open,        &keeps, AWAY, Ok(week)),
            ("Expires: 0",                    &open,        &keeps, AWAY, Err(Refusal::Sender)),
            (old,                             &open,        &keeps, AWAY, Err(Refusal::Expired)),
            ("Subject: x",                    &open,        &unasked, AWAY, Err(Refusal::Off)),
            ("Request-Disposition: queue",    &open,        &unasked, AWAY, Ok(week)),
            ("Expires: 9",                    &open,        &unasked, AWAY, Ok(Millis(T0.0 + 9000))),
            ("Subject: x",                    &open,        &unasked, Cause::Setting, Ok(week)),
            ("Subject: x",                    &wanted,      &unasked, AWAY, Ok(week)),
            ("Request-Disposition: queue",    &online_only, &unasked, AWAY, Err(Refusal::Settings)),
            ("Request-Disposition: no-queue", &wanted,      &keeps, AWAY, Err(Refusal::Sender)),
            ("Subject: x",                    &open,        &off,   AWAY, Err(Refusal::Off)),
            ("Subject: x",                    &unpaid,      &keeps, AWAY, Err(Refusal::Off)),
            ("Subject: x",                    &open,        &small, AWAY, Err(Refusal::TooLarge)),
            ("Subject: x",                    &open,        &exact, AWAY, Ok(week)),
            // Of several reasons the first in the order counts.
            ("Expires: 0",                    &blocks,      &off,   AWAY, Err(Refusal::Rules)),
            ("Expires: 0",                    &online_only, &off,   AWAY, Err(Refusal::Settings)),
            ("Expires: 0",                    &open,        &off,   AWAY, Err(Refusal::Sender)),
        ];
        for (headers, profile, policy, cause, expected) in table {
            assert_eq!(decided(headers, profile, policy, cause), expected, "{headers}");
        }
    }

    #[test]
    fn who_is_there_can_be_sent_to() {
        let registration = |tags: &[bool]| Registration {
            lapses_at: Millis(100),
            contacts: tags
                .iter()
                .map(|tag| Contact { has_im_tag: *tag, ..Contact::default() })
                .collect(),
            ..Registration::default()
        };
        let there =
            |registration: &Registration| is_there(registration, &Profile::default(), Millis(99));
        assert!(there(&registration(&[])), "contacts not known");
        assert!(there(&registration(&[false, true])));
        assert!(!there(&registration(&[false])), "a telephone");
        assert!(!there(&Registration { lapses_at: Millis(99), ..registration(&[]) }));
        assert!(!there(&Registration { barred: true, ..registration(&[]) }));
        let hidden = Profile { visibility: Visibility::Offline, ..Profile::default() };
        assert!(!is_there(&registration(&[]), &hidden, Millis(99)));
    }
}
