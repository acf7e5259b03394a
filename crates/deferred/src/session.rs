//! An immediate message over MSRP for who is away: the function answers in the place of his client
//! and keeps what comes (OMA-TS-SIMPLE_IM §7.3.1.3, §7.3.1.8).
//!
//! | what | answer |
//! |---|---|
//! | INVITE, the message may be kept | 200, as the end of the MSRP session |
//! | INVITE, it may not | 480 |
//! | CANCEL before that | 487; nothing is kept |
//! | a chunk before the last | 200 at once |
//! | the last chunk | 200 when the message is durable, else 413 or 403 |
//! | BYE before the last chunk | what came is forgotten |
//!
//! Who sends nothing for [`Policy::session_idle`] is sent BYE.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use parlance_isc::media::MediaError;
use parlance_isc::reception::{Arrived, Reception, ReceptionTerms, Unopened};
use parlance_isc::session::{Invite, LegTerms};
use parlance_isc::session_description;
use parlance_isc::{Cause, Cx, Private, transport_parameter};
use parlance_msrp::negotiate;
use parlance_sip::HeaderName;
use parlance_sip::header::Date;
use parlance_sip::sdp::Sdp;
use parlance_store::{Accepted, Millis, NewItem, StoreError, UserId};

use crate::deferred::{Deferred, Shared};
use crate::imdn::FAILED;
use crate::keep;
use crate::large::Came;
use crate::meter;
use crate::offer::{Circumstances, decide, profile};
use crate::refusal::{Refusal, refusal};
use crate::rules::Sender;

/// A session that keeps what comes.
struct Keeping<'a> {
    deferred: &'a Deferred,
    cx: &'a Cx,
    user: &'a UserId,
    sender: &'a Sender<'a>,
    cause: Cause,
    /// The INVITE, and our 200 to it.
    invite: parlance_sip::Request,
    accepted: Bytes,
    /// Until when what comes is kept.
    expires: Millis,
}

/// One of the sessions that run; dropped, there is room for another.
struct Place<'a>(&'a Shared);

impl<'a> Place<'a> {
    fn take(shared: &'a Shared) -> Option<Self> {
        let sessions_max = shared.policy().sessions_max;
        let taken = shared.sessions.fetch_add(1, Ordering::AcqRel) < sessions_max;
        let place = Self(shared);
        taken.then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Deferred {
    /// Answers an INVITE for an immediate message in the place of the client of `user`, and keeps
    /// what comes.
    pub(crate) async fn take_session(
        &self,
        cx: &Cx,
        user: &UserId,
        invite: Invite,
        sender: &Sender<'_>,
        cause: Cause,
    ) {
        let shared = self.shared();
        let refuse = |invite: Invite, why: Refusal| {
            meter::offered("refused");
            tracing::debug!(%cause, %why, "a large message is not kept");
            invite.reply(&refusal(why, &shared.domain));
        };
        let Some(place) = Place::take(shared) else { return refuse(invite, Refusal::Fault) };
        let description = session_description(invite.request()).unwrap_or_default();
        let Ok(offer) = Sdp::parse(&description) else {
            return refuse_offer(shared, invite, &negotiate::Refusal::NoMessage);
        };
        let expires = match self.may_keep(cx, user, &invite, sender, cause, &offer).await {
            Ok(Ok(expires)) => expires,
            Ok(Err(why)) => return refuse(invite, why),
            Err(error) => {
                tracing::warn!(%error, "a large message cannot be kept");
                return refuse(invite, Refusal::Fault);
            }
        };
        let policy = shared.policy();
        let terms = ReceptionTerms {
            octets_max: policy.large_octets_max,
            idle: policy.session_idle,
            security: shared.media.tls().of(""),
        };
        let opened = tokio::select! {
            opened = Reception::open(&shared.media, description, &terms) => opened,
            // It was answered 487.
            _ = invite.cancelled() => return,
        };
        let reception = match opened {
            Ok(reception) => reception,
            Err(Unopened::Media(MediaError::Gone)) => return refuse(invite, Refusal::Off),
            Err(Unopened::Media(_)) => return refuse(invite, Refusal::Fault),
            Err(Unopened::Offer(why)) => return refuse_offer(shared, invite, &why),
        };
        let request = invite.request().clone();
        let accepted = Bytes::new();
        let keeping =
            Keeping { deferred: self, cx, user, sender, cause, invite: request, accepted, expires };
        keeping.run(invite, reception).await;
        drop(place);
    }

    async fn may_keep(
        &self,
        cx: &Cx,
        user: &UserId,
        invite: &Invite,
        sender: &Sender<'_>,
        cause: Cause,
        offer: &Sdp,
    ) -> Result<Result<Millis, Refusal>, StoreError> {
        let shared = self.shared();
        let policy = shared.policy();
        let profile = profile(&*shared.profiles, user).await?;
        let about =
            Circumstances { policy: &policy, profile: &profile, sender, cause, received: cx.now() };
        let told = offer.first_message().and_then(|(_, media)| media.ok()?.file?.selector.size);
        if told.is_some_and(|octets| octets > policy.large_octets_max) {
            return Ok(Err(Refusal::TooLarge));
        }
        let counts = shared.inboxes.counts(user).await?;
        let quota = policy.quota();
        if counts.items >= quota.items_max || counts.octets >= quota.octets_max {
            return Ok(Err(Refusal::Full));
        }
        Ok(decide(invite.request(), &about))
    }
}

/// There is no MSRP session as the INVITE offers it (RFC 3261 §21.4.26, §20.43).
fn refuse_offer(shared: &Shared, invite: Invite, why: &negotiate::Refusal) {
    let warning = format!("{} {} \"{why}\"", why.warning(), shared.domain);
    let response = invite.response(why.status()).header(HeaderName::Warning, warning);
    invite.refuse(response);
}

impl Keeping<'_> {
    /// Takes messages until the session is over. The record of each shows the 200.
    async fn run(mut self, invite: Invite, reception: Reception) {
        let terms = LegTerms::new(contact(self.cx, self.deferred.shared()));
        let Some(date) = Date::from_epoch_seconds(self.cx.now().0 / 1000) else { return };
        let response = || invite.response(200).header(HeaderName::Date, date);
        let shown = response().header(HeaderName::Contact, &terms.contact);
        let shown = shown.header(HeaderName::ContentType, "application/sdp");
        self.accepted = shown.with_body(reception.answer());
        let (cx, response) = (self.cx, response());
        let keep = async |arrived: Arrived<'_>| self.take(arrived).await;
        reception.receive(cx, invite, response, terms, keep).await;
    }

    /// A message came: it is kept, if it may; the answer to its last chunk.
    async fn take(&self, arrived: Arrived<'_>) -> u16 {
        match self.keep(arrived).await {
            Ok(Accepted::Stored(_)) => {
                meter::offered("stored");
                200
            }
            Ok(Accepted::Duplicate(_)) => {
                meter::offered("duplicate");
                200
            }
            Ok(Accepted::Full) => {
                meter::offered("refused");
                413
            }
            Err(error) => {
                meter::offered("refused");
                let user = Private(self.user);
                tracing::warn!(%user, %error, "a large message cannot be kept");
                403
            }
        }
    }

    async fn keep(&self, arrived: Arrived<'_>) -> Result<Accepted, StoreError> {
        let Arrived { description, body, paths } = arrived;
        let shared = self.deferred.shared();
        let received = self.cx.now();
        let came = Came {
            invite: &self.invite,
            accepted: &self.accepted,
            description,
            body,
            paths,
            received,
        };
        let payload = came.payload(self.cx.random());
        let payload = payload.ok_or(StoreError::Invalid("no boundary is free"))?;
        let cpim = keep::cpim_in(&description.content_type, body);
        let originator = self.sender.identities.first().map_or("", |first| first.as_str());
        let profile = profile(&*shared.profiles, self.user).await?;
        let item = NewItem {
            recipient: self.user.clone(),
            originator: originator.to_owned(),
            dedup: shared.dedup.of_send(
                &self.invite,
                originator,
                &description.message_id,
                cpim.as_ref(),
            ),
            received,
            expires: self.expires,
            due: shared.due(self.cx, self.user, &profile, self.cause).await?,
            wants_negative_delivery: keep::asks_for(FAILED, cpim.as_ref()),
            private: self.sender.private,
            payload,
        };
        self.deferred.accept(self.cx, item, cpim.as_ref(), self.cause).await
    }
}

/// Our `Contact`: where requests of the dialog reach this server.
pub(crate) fn contact(cx: &Cx, shared: &Shared) -> String {
    let user = shared.service.split_once(':').map_or("im-deferred", |(_, rest)| rest);
    let user = user.split_once('@').map_or("im-deferred", |(user, _)| user);
    let local = cx.node().locals.at(shared.listener);
    let sent_by = local.map_or(shared.domain.as_str(), |local| &local.sent_by);
    let transport = local.map(|local| transport_parameter(local.transport)).unwrap_or_default();
    format!("<sip:{user}@{sent_by}{transport}>;+g.oma.sip-im")
}
