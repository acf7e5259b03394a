//! Whose consent a message to many needs, and who has given it (RFC 5360, RFC 5363 §5.2, RFC 5365
//! §7.2).
//!
//! Who is on a list and has not agreed to get messages by it makes the whole message refused, with
//! 470 and `Permission-Missing`; nobody gets it. Members of a hosted group are not asked: they are
//! in it by its document, and the sender is not told who they are.

use parlance_isc::Cx;
use parlance_isc::served_user::look_up;
use parlance_isc::session::Invite;
use parlance_sip::uri::Aor;
use parlance_store::{Entry, Profile};
use serde::{Deserialize, Serialize};

use super::Exploding;
use super::accept::service_names;
use super::policy::ExplodePolicy;
use crate::list::Invitee;
use crate::policy::Policy;
use crate::refusal::Refusal;

/// How many recipients a 470 names; local limit, for the size of the response. Whoever asks again
/// without these is told of the next.
const NAMED_MAX: usize = 50;

/// Most entries of [`ExplodePolicy::consents`]; local limit.
pub(super) const CONSENTS_MAX: usize = 10_000;

/// Whose consent is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsentOf {
    /// Nobody's: all recipients are in one trust domain.
    #[default]
    Nobody,
    /// That of recipients outside of the domains served here.
    Foreign,
    /// Everybody's.
    Everybody,
}

impl Exploding {
    /// Whether everybody on the list of an INVITE to a conference agreed to be invited by it
    /// (RFC 5366 §5).
    ///
    /// # Errors
    /// As [`Exploding::check_consent`].
    pub(crate) async fn agreed(
        &self,
        cx: &Cx,
        invite: &Invite,
        invitees: &[Invitee],
        policy: &Policy,
    ) -> Result<(), Refusal> {
        let originator = invite.decision().originator.as_ref().ok_or(Refusal::NotAllowed)?;
        let names = service_names(originator, invite.request());
        self.check_consent(cx, &names, invitees, &policy.explode).await
    }

    /// Whether all of `recipients` agreed to what `names` send them: his identities, and the
    /// service he uses.
    ///
    /// # Errors
    /// [`Refusal::NoConsent`] with those who did not; the store may fail.
    pub(super) async fn check_consent(
        &self,
        cx: &Cx,
        names: &[Aor],
        recipients: &[Invitee],
        policy: &ExplodePolicy,
    ) -> Result<(), Refusal> {
        let domains = &self.exploder.0.setup.domains;
        let is_ours = |address: &Aor| {
            let domain = address.domain();
            domain.is_some_and(|domain| domains.iter().any(|own| own.eq_ignore_ascii_case(domain)))
        };
        let node = cx.node();
        let mut missing = Vec::new();
        for recipient in recipients {
            let address = &recipient.address;
            let is_needed = match policy.consent {
                ConsentOf::Nobody => false,
                ConsentOf::Foreign => !is_ours(address),
                ConsentOf::Everybody => true,
            };
            if !is_needed || is_given(&policy.consents, address, names) {
                continue;
            }
            let found = look_up(&*node.profiles, &*node.registrations, address, cx.now()).await;
            let found = found.map_err(|_| Refusal::Unavailable)?;
            if !found.profile().is_some_and(|profile| accepts(profile, names)) {
                missing.push(recipient.uri.clone());
            }
        }
        missing.truncate(NAMED_MAX);
        if missing.is_empty() { Ok(()) } else { Err(Refusal::NoConsent(missing)) }
    }
}

/// Whether one of the permissions says that `recipient` gets what one of `names` sends.
fn is_given(consents: &[String], recipient: &Aor, names: &[Aor]) -> bool {
    let given = |consent: &String| {
        let Some((who, from)) = consent.split_once(' ') else { return false };
        let is_he = match who.strip_prefix("*@") {
            Some(domain) => recipient.domain().is_some_and(|own| own.eq_ignore_ascii_case(domain)),
            None => who == recipient.as_str(),
        };
        is_he && (from == "*" || names.iter().any(|name| name.as_str() == from))
    };
    consents.iter().any(given)
}

/// Whether a user has one of `names` on the list of those he accepts.
fn accepts(profile: &Profile, names: &[Aor]) -> bool {
    profile.accept.iter().any(|entry| match entry {
        Entry::Identity(known) => names.iter().any(|name| name.as_str() == known),
        Entry::Domain(domain) => names
            .iter()
            .any(|name| name.domain().is_some_and(|own| own.eq_ignore_ascii_case(domain))),
        Entry::Anonymous | Entry::List(_) => false,
    })
}

/// Whether a permission can be read: a recipient or `*@` and a domain, a space, and a sender or
/// `*`; identities as they are kept.
pub(super) fn is_consent(consent: &str) -> bool {
    let is_identity = |text: &str| Aor::parse(text).is_ok_and(|parsed| parsed.as_str() == text);
    consent.split_once(' ').is_some_and(|(who, from)| {
        let is_domain = who.strip_prefix("*@").is_some_and(|domain| !domain.is_empty());
        (is_domain || is_identity(who)) && (from == "*" || is_identity(from))
    })
}

#[cfg(test)]
mod tests {
    use super::{is_consent, is_given};

    // Covers: CF-013
    #[test]
    fn a_permission_names_who_gets_what_from_whom() {
        let consents = [
            "sip:bob@home2.test sip:alice@ims.test",
            "sip:carol@home2.test *",
            "*@home3.test sip:im-exploder@ims.test",
        ]
        .map(str::to_owned);
        let names = ["sip:alice@ims.test", "sip:im-exploder@ims.test"];
        #[rustfmt::skip]
        let table = [
            ("sip:bob@home2.test",   &names[..],  true),
            ("sip:bob@home2.test",   &names[1..], false),
            ("sip:carol@home2.test", &[],         true),
            ("sip:dave@home2.test",  &names[..],  false),
            ("sip:dave@home3.test",  &names[..],  true),
            ("sip:dave@home3.test",  &names[..1], false),
        ];
        for (recipient, names, given) in table {
            let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
            let recipient = recipient.parse().unwrap();
            assert_eq!(is_given(&consents, &recipient, &names), given, "{recipient} {names:?}");
        }
        assert!(consents.iter().all(|consent| is_consent(consent)));
        for wrong in ["", "sip:bob@home2.test", "*@ *", "sip:b@h  *", "bob *", "sip:B@H.TEST *"] {
            assert!(!is_consent(wrong), "{wrong}");
        }
    }
}
