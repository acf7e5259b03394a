//! Adding and removing participants by REFER (OMA-TS-SIMPLE_IM §7.4.3.9, §7.4.3.17; RFC 3515,
//! RFC 5368).

use parlance_isc::session::{Body, Due, WatchTerms, Watcher, WatcherId};
use parlance_isc::{Incoming, Reply};
use parlance_sip::header::{Header, ReferTo, ReferredBy, Require};
use parlance_sip::subscription::notifier::{Cause, Limits};
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Method, Request};

use super::{Session, end};
use crate::focus::{Caller, EndpointId};
use crate::list::{self, Body as Parts, Invitee};
use crate::refusal::Refusal;

/// Seconds of the subscription that a REFER makes, longer than a call may ring: it can be refreshed
/// and ends with the result. RFC 3515 §2.4.4 leaves it to the notifier.
const REFER_EXPIRES: u32 = 600;

/// The type of the bodies that tell how a reference gets on (RFC 3515 §2.4.5).
const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// A REFER whose sender wants to know what comes of it.
pub(super) struct Referral {
    /// `None` once the result is told.
    watcher: Option<Watcher>,
    line: String,
}

/// What a REFER asks for.
struct Wanted {
    /// Whether they are to be removed rather than invited.
    removes: bool,
    who: Vec<Invitee>,
    /// Whether it has a list (RFC 5368): no subscription is made for one.
    is_list: bool,
}

impl Session {
    /// A request about the session: by a participant in his dialog (`endpoint`), or outside of one.
    pub(super) async fn asked(&mut self, endpoint: Option<EndpointId>, incoming: Incoming) {
        let originator = || incoming.decision().originator.clone();
        let names = match endpoint {
            Some(endpoint) => self.names_of(endpoint),
            None => originator().map_or_else(Vec::new, |originator| {
                std::iter::once(originator.address).chain(originator.alias).collect()
            }),
        };
        match incoming.request().method() {
            Method::Subscribe => self.subscribe(names, incoming),
            Method::Refer => self.refer(names, incoming).await,
            _ => incoming.reply(&Reply::new(405).with(HeaderName::Allow, allowed())),
        }
    }

    async fn refer(&mut self, names: Vec<Aor>, incoming: Incoming) {
        let wanted = match self.wanted(incoming.request()) {
            Ok(wanted) => wanted,
            Err(refused) => return incoming.reply(&self.reply(&refused)),
        };
        if let Err(refused) = self.permits(&names, &wanted).await {
            return incoming.reply(&self.reply(&refused));
        }
        let by = self.referrer(&names);
        let referred_by = referred_by(incoming.request(), &by);
        let referral = if wanted.is_list {
            incoming.reply(&Reply::new(200).with(HeaderName::ReferSub, "false"));
            None
        } else {
            self.watch_referral(incoming)
        };
        for invitee in wanted.who {
            if wanted.removes {
                self.expel(&invitee.address, names.contains(&invitee.address));
                self.referral_is_over(referral, 200, "OK");
            } else if self.focus.is_in(std::slice::from_ref(&invitee.address)) {
                self.referral_is_over(referral, 200, "OK");
            } else {
                self.focus.extend();
                self.call(&by, invitee, referral, Some(referred_by.clone()), None).await;
            }
        }
    }

    /// What a REFER asks for (CF-009, CF-080).
    fn wanted(&self, request: &Request) -> Result<Wanted, Refusal> {
        let mut values = request.values(HeaderName::ReferTo);
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Refusal::Malformed("One Refer-To is needed"));
        };
        let refer_to = ReferTo::parse(value).map_err(|_| Refusal::Malformed("Bad Refer-To"))?;
        let uri = refer_to.0.uri.to_string();
        let Some(content_id) = cid(&uri) else {
            let invitee = Invitee::new(&uri)?;
            let removes = removes(std::slice::from_ref(&invitee))?;
            return Ok(Wanted { removes, who: vec![invitee], is_list: false });
        };
        let requires = request.list::<Require<'_>>().filter_map(Result::ok);
        let multiple =
            requires.into_iter().any(|tag| tag.as_str().eq_ignore_ascii_case("multiple-refer"));
        if !multiple {
            return Err(Refusal::Malformed("multiple-refer is not required"));
        }
        let body = Parts::read(request)?;
        let list =
            body.list(content_id).ok_or(Refusal::Malformed("No part has this Content-ID"))?;
        let max = self.focus.policy().adhoc_group_size_max;
        let who = list::invitees([list], &[], usize::try_from(max).unwrap_or(usize::MAX))?;
        Ok(Wanted { removes: removes(&who)?, who, is_list: true })
    }

    /// Whether whoever goes by `names` may have it done.
    async fn permits(&self, names: &[Aor], wanted: &Wanted) -> Result<(), Refusal> {
        for invitee in wanted.who.iter().filter(|_| !wanted.removes) {
            if self.hosted.is_group(&invitee.address).await? {
                return Err(Refusal::Nested);
            }
        }
        if wanted.removes {
            let mut all = wanted.who.iter();
            return all.try_for_each(|invitee| self.focus.may_expel(names, &invitee.address));
        }
        let is_new =
            |invitee: &&Invitee| !self.focus.takes_place(std::slice::from_ref(&invitee.address));
        self.focus.may_invite(names, wanted.who.iter().filter(is_new).count())
    }

    /// The participant who sent a REFER, as those he invites may know him.
    fn referrer(&self, names: &[Aor]) -> Caller {
        let participants = self.participants.values().map(|participant| &participant.caller);
        let known = participants.into_iter().find(|caller| names.contains(&caller.address));
        let own = || Caller::new(names.first().unwrap_or(self.focus.creator()).clone());
        known.cloned().unwrap_or_else(own)
    }

    /// Answers a REFER, with a subscription unless its sender wants none (CF-066).
    fn watch_referral(&mut self, incoming: Incoming) -> Option<WatcherId> {
        let limits = Limits {
            expires_default: REFER_EXPIRES,
            expires_min: self.focus.policy().subscription_s_min,
            expires_max: REFER_EXPIRES,
            pace: std::time::Duration::ZERO,
        };
        let contact = self.contact();
        let terms = WatchTerms { packages: &[], limits, contact, headers: Vec::new() };
        let watcher = self.cx.watch_refer(incoming, &terms, &self.address)?;
        let id = watcher.id();
        let line = "SIP/2.0 100 Trying\r\n".to_owned();
        self.referrals.insert(id, Referral { watcher: Some(watcher), line });
        Some(id)
    }

    /// The result of a reference is known: the last NOTIFY tells it (CF-052).
    pub(super) fn referral_is_over(&mut self, id: Option<WatcherId>, status: u16, reason: &str) {
        let referral = id.and_then(|id| self.referrals.get_mut(&id));
        let Some(referral) = referral else { return };
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        referral.line = format!("SIP/2.0 {status} {reason}\r\n");
        if let Some(watcher) = referral.watcher.take() {
            watcher.end(Cause::ResourceGone);
        }
    }

    pub(super) fn notify_referral(&mut self, id: WatcherId, due: Due) {
        let Some(referral) = self.referrals.get(&id) else { return };
        let body = Body::new(SIPFRAG, referral.line.clone());
        if due.is_last() {
            self.referrals.remove(&id);
        }
        due.send(&body);
    }

    /// Removes a participant (CF-053, CF-074).
    fn expel(&mut self, target: &Aor, is_himself: bool) {
        let why = if is_himself { end::DEPARTED } else { end::EXPELLED };
        for endpoint in self.focus.endpoints_of(target) {
            self.focus.disconnecting(endpoint);
            self.remove(endpoint, why);
        }
    }
}

/// Whether all entries are to be removed; a list that mixes is none (RFC 5368 §4).
fn removes(who: &[Invitee]) -> Result<bool, Refusal> {
    let is_bye = |invitee: &Invitee| match invitee.method.as_deref() {
        None | Some("INVITE") => Ok(false),
        Some("BYE") => Ok(true),
        Some(_) => Err(Refusal::NotAllowed),
    };
    let mut kinds = who.iter().map(is_bye);
    let first = kinds.next().ok_or(Refusal::Malformed("The list is empty"))??;
    match kinds.all(|kind| kind == Ok(first)) {
        true => Ok(first),
        false => Err(Refusal::Malformed("The list has several methods")),
    }
}

/// The Content-ID that a `cid:` URI names (RFC 2392).
fn cid(uri: &str) -> Option<&str> {
    let (scheme, id) = uri.split_once(':')?;
    scheme.eq_ignore_ascii_case("cid").then_some(id)
}

/// Who is told to have sent the REFER: what it says itself, unless its sender is not to be known.
fn referred_by(request: &Request, by: &Caller) -> String {
    if by.anonymous {
        return "<sip:anonymous@anonymous.invalid>".to_owned();
    }
    let told = request.header::<ReferredBy<'_>>().ok().flatten();
    let told = told.filter(|told| Aor::from_uri(&told.0.uri).as_ref() == Some(&by.address));
    match told {
        Some(told) => format!("<{}>", told.0.uri),
        None => format!("<{}>", by.address),
    }
}

fn allowed() -> String {
    super::ALLOW.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{cid, removes};
    use crate::list::Invitee;
    use crate::refusal::Refusal;

    // Covers: CF-009
    #[test]
    fn a_list_has_one_method() {
        let all = |uris: &[&str]| {
            let all: Vec<_> = uris.iter().map(|uri| Invitee::new(uri).unwrap()).collect();
            removes(&all)
        };
        assert_eq!(all(&["sip:a@h", "sip:b@h;method=INVITE"]), Ok(false));
        assert_eq!(all(&["sip:a@h;method=BYE", "sip:b@h?method=BYE"]), Ok(true));
        assert!(matches!(all(&["sip:a@h", "sip:b@h;method=BYE"]), Err(Refusal::Malformed(_))));
        assert!(matches!(all(&[]), Err(Refusal::Malformed(_))));
        assert_eq!(all(&["sip:a@h;method=MESSAGE"]), Err(Refusal::NotAllowed));
        assert_eq!(cid("CID:cn35t8jf02@example.com"), Some("cn35t8jf02@example.com"));
        assert_eq!(cid("sip:a@h"), None);
    }
}
