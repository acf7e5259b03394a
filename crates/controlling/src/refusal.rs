//! Refusals of the controlling function as responses: the one place that knows their codes.
//!
//! Over ISC an error is a routing decision: a 408, a 5xx or silence makes the S-CSCF go on without
//! the server. So every refusal is a 4xx, or a 603 where RFC 3891 wants it.

use std::time::Duration;

use parlance_isc::Reply;
use parlance_sip::HeaderName;

use crate::policy::{AnonymousAnswer, Policy};

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body cannot be read: no description, a broken list, a list that is not announced.
    Malformed(&'static str),
    /// The body is of a type that is not read here; these are.
    UnsupportedBody(&'static [&'static str]),
    /// An extension makes no sense here (RFC 5366 §6): the tag.
    BadExtension(&'static str),
    /// There is no such group or session.
    NotFound,
    /// The session has ended.
    Gone,
    /// Groups cannot be looked up now.
    Unavailable,
    /// Whoever asks does not have the service.
    NotAuthorised,
    /// Whoever asks may not do this.
    NotAllowed,
    /// A rule, or the one who removed him, keeps the user out.
    Blocked,
    /// The user was neither invited nor is a member.
    NotMember,
    /// A group would be invited to a group.
    Nested,
    /// Nobody may be anonymous here.
    Anonymous,
    /// The session has as many participants as it may.
    Full,
    /// The list has more entries than it may.
    ListTooLong,
    /// Another participant would be too many (to a REFER).
    TooMany,
    /// The user has as many sessions as he may.
    TooManyOwn,
    /// The server has as many sessions as it may.
    TooManySessions,
    /// The group is closed at this time, or is not for instant messages.
    Closed,
    /// Nobody is there without whom the session does not begin, or nobody could be reached.
    NobodyThere,
    /// The participants are not for this user to see.
    StateNotAllowed,
    /// The description of the session cannot be agreed on, with the code and text of its Warning
    /// (RFC 3261 §20.43).
    Media(u16, &'static str),
    /// A participant that is not there.
    NoParticipant,
    /// The content of a message has more octets than this.
    TooLarge(u32),
    /// The user has had as much sent as he may; how long until he may again.
    TooMuch(Duration),
    /// The time of the message is over (RFC 3428 §7).
    Expired,
    /// There is no dialog whose place the INVITE could take (RFC 3891 §3).
    NoDialog,
    /// The dialog whose place it should take is over.
    DialogOver,
    /// That dialog is confirmed, and only an early one should be replaced.
    DialogConfirmed,
    /// These recipients have not agreed to get messages by a list (RFC 5360 §5.9.3).
    NoConsent(Vec<String>),
}

impl Refusal {
    /// Its name in counters.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::UnsupportedBody(_) => "body",
            Self::BadExtension(_) => "extension",
            Self::NotFound => "not-found",
            Self::Gone => "gone",
            Self::Unavailable => "unavailable",
            Self::NotAuthorised => "not-authorised",
            Self::NotAllowed => "not-allowed",
            Self::Blocked => "blocked",
            Self::NotMember => "not-member",
            Self::Nested => "nested",
            Self::Anonymous => "anonymous",
            Self::Full => "full",
            Self::ListTooLong => "list-too-long",
            Self::TooMany => "too-many",
            Self::TooManyOwn => "too-many-own",
            Self::TooManySessions => "too-many-sessions",
            Self::Closed => "closed",
            Self::NobodyThere => "nobody-there",
            Self::StateNotAllowed => "state-not-allowed",
            Self::Media(..) => "media",
            Self::NoParticipant => "no-participant",
            Self::TooLarge(_) => "too-large",
            Self::TooMuch(_) => "too-much",
            Self::Expired => "expired",
            Self::NoDialog => "no-dialog",
            Self::DialogOver => "dialog-over",
            Self::DialogConfirmed => "dialog-confirmed",
            Self::NoConsent(_) => "no-consent",
        }
    }
}

/// The response a refusal becomes.
pub fn refusal(refusal: &Refusal, policy: &Policy) -> Reply {
    let texts = &policy.warnings;
    let warned =
        |status, text: &str| Reply::new(status).with(HeaderName::Warning, policy.warning(text));
    let retry = || Reply::new(480).with(HeaderName::RetryAfter, policy.retry_after_s);
    match refusal {
        Refusal::Malformed(why) => Reply { reason: (*why).into(), ..Reply::new(400) },
        Refusal::UnsupportedBody(accepted) => {
            Reply::new(415).with(HeaderName::Accept, accepted.join(", "))
        }
        Refusal::BadExtension(tag) => Reply::new(420).with(HeaderName::Unsupported, tag),
        Refusal::NotFound | Refusal::NoParticipant => Reply::new(404),
        Refusal::Gone => Reply::new(410),
        Refusal::Unavailable | Refusal::TooManySessions => retry(),
        Refusal::NotAuthorised => warned(403, &texts.not_authorised),
        Refusal::NotAllowed => warned(403, &texts.not_allowed),
        Refusal::Blocked | Refusal::NotMember => Reply::new(403),
        Refusal::Nested => warned(403, &texts.nested),
        Refusal::Anonymous => Reply::new(match policy.anonymous_answer {
            AnonymousAnswer::Forbidden => 403,
            AnonymousAnswer::AnonymityDisallowed => 433,
        }),
        Refusal::Full => warned(486, &texts.too_many),
        Refusal::ListTooLong | Refusal::TooMany => warned(403, &texts.too_many),
        Refusal::TooManyOwn => warned(486, &texts.sessions),
        Refusal::Closed | Refusal::NobodyThere | Refusal::Expired => Reply::new(480),
        Refusal::TooLarge(limit) => {
            warned(403, &texts.size_exceeded.replace("{n}", &limit.to_string()))
        }
        Refusal::TooMuch(wait) => {
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            Reply::new(480).with(HeaderName::RetryAfter, seconds)
        }
        Refusal::NoDialog => Reply::new(481),
        Refusal::DialogOver => Reply::new(603),
        Refusal::DialogConfirmed => Reply::new(486),
        Refusal::NoConsent(recipients) => {
            let missing: Vec<_> = recipients.iter().map(|uri| format!("<{uri}>")).collect();
            Reply::new(470).with_other("Permission-Missing", missing.join(", "))
        }
        Refusal::StateNotAllowed => warned(403, &texts.conference_state),
        Refusal::Media(code, text) => {
            Reply::new(488).with(HeaderName::Warning, policy.coded_warning(*code, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parlance_sip::HeaderName::{self, Accept, RetryAfter, Unsupported, Warning};

    use super::{Refusal, refusal};
    use crate::policy::{AnonymousAnswer, Policy};

    // Covers: CF-005, CF-013, CF-036, CF-037, CF-038, CF-051, CF-063, CORE-063
    #[test]
    fn refusals_have_their_codes() {
        let policy = Policy { warning_host: "im.ims.test".into(), ..Policy::default() };
        type Row<'a> = (Refusal, u16, &'a [(HeaderName, &'a str)]);
        let many = (Warning, "399 im.ims.test \"102 Too many participants\"");
        #[rustfmt::skip]
        let table: [Row<'_>; 29] = [
            (Refusal::Malformed("No list"), 400, &[]),
            (Refusal::UnsupportedBody(&["application/sdp", "a/b"]), 415,
                &[(Accept, "application/sdp, a/b")]),
            (Refusal::BadExtension("recipient-list-invite"), 420,
                &[(Unsupported, "recipient-list-invite")]),
            (Refusal::NotFound, 404, &[]),
            (Refusal::Gone, 410, &[]),
            (Refusal::Unavailable, 480, &[(RetryAfter, "10")]),
            (Refusal::NotAuthorised, 403,
                &[(Warning, "399 im.ims.test \"127 Service not authorised\"")]),
            (Refusal::NotAllowed, 403,
                &[(Warning, "399 im.ims.test \"100 Function not allowed\"")]),
            (Refusal::Blocked, 403, &[]),
            (Refusal::NotMember, 403, &[]),
            (Refusal::Nested, 403,
                &[(Warning, "399 im.ims.test \"Nested groups are not allowed\"")]),
            (Refusal::Anonymous, 403, &[]),
            (Refusal::Full, 486, &[many]),
            (Refusal::ListTooLong, 403, &[many]),
            (Refusal::TooMany, 403, &[many]),
            (Refusal::TooManyOwn, 486,
                &[(Warning, "399 im.ims.test \"103 Maximum number of sessions reached\"")]),
            (Refusal::TooManySessions, 480, &[(RetryAfter, "10")]),
            (Refusal::Closed, 480, &[]),
            (Refusal::NobodyThere, 480, &[]),
            (Refusal::StateNotAllowed, 403, &[(Warning,
                "399 im.ims.test \"105 Subscription of conference state not allowed\"")]),
            (Refusal::Media(305, "Incompatible media format"), 488,
                &[(Warning, "305 im.ims.test \"Incompatible media format\"")]),
            (Refusal::NoParticipant, 404, &[]),
            (Refusal::TooLarge(1300), 403,
                &[(Warning, "399 im.ims.test \"133 Size exceeded, limit 1300\"")]),
            (Refusal::TooMuch(Duration::from_millis(1001)), 480, &[(RetryAfter, "2")]),
            (Refusal::Expired, 480, &[]),
            (Refusal::NoDialog, 481, &[]),
            (Refusal::DialogOver, 603, &[]),
            (Refusal::DialogConfirmed, 486, &[]),
            (Refusal::NoConsent(vec!["sip:bob@h".into(), "tel:+1".into()]), 470, &[]),
        ];
        for (refused, status, headers) in table {
            let reply = refusal(&refused, &policy);
            assert_eq!(reply.status, status, "{refused:?}");
            let found: Vec<_> =
                reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(found, headers, "{refused:?}");
            let missing = ("Permission-Missing", "<sip:bob@h>, <tel:+1>".to_owned());
            let missing = if status == 470 { vec![missing] } else { Vec::new() };
            assert_eq!(reply.others, missing, "{refused:?}");
            assert!(!matches!(status, 408 | 500..600), "{refused:?}");
        }
        let open = Policy { anonymous_answer: AnonymousAnswer::AnonymityDisallowed, ..policy };
        assert_eq!(refusal(&Refusal::Anonymous, &open).status, 433);
    }
}
