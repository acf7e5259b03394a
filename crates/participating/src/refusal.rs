//! Refusals of the participating function as responses: the one place that knows their codes.
//!
//! Over ISC an error is a routing decision: a 408, a 5xx or silence makes the S-CSCF go on without
//! the server. So every refusal is a 4xx, but for the one 5xx that RFC 3323 demands.

use std::time::Duration;

use parlance_content::im_settings;
use parlance_isc::{Reply, SessionCase};
use parlance_sip::{HeaderName, publication};
use parlance_store::RejectAnswer;

use crate::policy::{AnonymousAnswer, ExcessAnswer, Policy, SizeAnswer};

/// Why a message is not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user may not use pager mode, or the network barred him.
    NotAuthorised,
    /// The body is larger than this many octets.
    SizeExceeded(u32),
    /// The body is of a type that is not let through; the value of Accept says which are.
    ContentType(String),
    /// The body says what is not let through.
    Content,
    /// The CPIM From is not an identity of the sender.
    ForeignFrom,
    /// The operator closed the destination.
    BlockedTarget,
    /// The user sent too much; he may try again after this time.
    TooMany(Duration),
    /// The sender asked for a privacy that is not known, and for nothing less (RFC 3323 §5).
    Privacy,
    /// The recipient does not want this sender, and wants him answered like this.
    Rejected(RejectAnswer),
    /// The recipient does not want anonymous senders.
    Anonymous,
    /// The message is older than its Expires.
    Expired,
    /// The recipient is away, and nothing is stored.
    NotStored,
    /// The other side answered with this 408 or 5xx.
    Downstream(u16),
    /// The message could not be sent on.
    Unreachable,
    /// The user, on this side, takes part in as many sessions as he may.
    TooManySessions(SessionCase),
    /// The invited user did not answer in time.
    NoAnswer,
    /// The session interval asked for is below this many seconds (RFC 4028 §6).
    IntervalTooSmall(u32),
    /// The inviter went away first.
    Cancelled,
    /// A REFER has not exactly one target (RFC 3515 §2.4.2).
    BadReferTo,
    /// A REFER is for another method than INVITE or BYE.
    ReferMethod,
    /// The user may not subscribe to the state of conferences.
    NotSubscribable,
    /// The session description cannot pass.
    Description,
    /// The invited user has locked a session (OMA-TS-SIMPLE_IM §7.2.2.10.3).
    Locked,
    /// The inviter may not have the client answer against its user's settings.
    AnswerOverride,
    /// Somebody else's settings are published.
    SettingsOfAnother,
    /// Who publishes them is nobody known, so far.
    NotRegistered,
    /// A publication is refused for what its head asks for (RFC 3903 §6).
    Publication(publication::Refusal),
    /// The published document is in a coding that is not read.
    SettingsCoding,
    /// The published document is none; what is wrong with it.
    SettingsDocument(String),
    /// The store failed.
    Fault,
    /// A REFER requires these extensions, which are not understood.
    BadExtension(String),
    /// The pre-established session is attached to another one already.
    Attached,
    /// The pre-established session is about to be attached.
    Pending,
}

impl Refusal {
    /// Its name in counters.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::NotAuthorised => "not-authorised",
            Self::SizeExceeded(_) => "size",
            Self::ContentType(_) => "content-type",
            Self::Content => "content",
            Self::ForeignFrom => "foreign-from",
            Self::BlockedTarget => "blocked-target",
            Self::TooMany(_) => "rate",
            Self::Privacy => "privacy",
            Self::Rejected(_) => "rejected",
            Self::Anonymous => "anonymous",
            Self::Expired => "expired",
            Self::NotStored => "not-stored",
            Self::Downstream(_) => "downstream",
            Self::Unreachable => "unreachable",
            Self::TooManySessions(_) => "sessions",
            Self::NoAnswer => "no-answer",
            Self::IntervalTooSmall(_) => "interval",
            Self::Cancelled => "cancelled",
            Self::BadReferTo => "refer-to",
            Self::ReferMethod => "refer-method",
            Self::NotSubscribable => "subscription",
            Self::Description => "description",
            Self::Locked => "locked",
            Self::AnswerOverride => "answer-override",
            Self::SettingsOfAnother => "foreign-settings",
            Self::NotRegistered => "not-registered",
            Self::Publication(_) => "publication",
            Self::SettingsCoding | Self::SettingsDocument(_) => "settings",
            Self::Fault => "fault",
            Self::BadExtension(_) => "extension",
            Self::Attached => "attached",
            Self::Pending => "pending",
        }
    }
}

/// The response a refusal becomes.
pub fn refusal(refusal: &Refusal, policy: &Policy) -> Reply {
    let texts = &policy.warnings;
    let warned = |status, text: &str, n| {
        Reply::new(status).with(HeaderName::Warning, policy.warning(text, n))
    };
    let retry = |wait: u64| Reply::new(480).with(HeaderName::RetryAfter, wait.max(1));
    match refusal {
        Refusal::NotAuthorised => warned(403, &texts.not_authorised, 0),
        Refusal::SizeExceeded(limit) => {
            let status = match policy.size_answer {
                SizeAnswer::Forbidden => 403,
                SizeAnswer::TooLarge => 413,
            };
            warned(status, &texts.size_exceeded, *limit)
        }
        Refusal::ContentType(accept) => Reply::new(415).with(HeaderName::Accept, accept),
        Refusal::Content => warned(403, &texts.content, 0),
        Refusal::ForeignFrom => warned(403, &texts.foreign_from, 0),
        Refusal::BlockedTarget => warned(403, &texts.blocked_target, 0),
        Refusal::TooMany(wait) => retry(wait.as_millis().div_ceil(1000).try_into().unwrap_or(1)),
        Refusal::Privacy => Reply::new(500),
        Refusal::Rejected(RejectAnswer::Forbidden) => Reply::new(403),
        // The same as for one who is away: the sender cannot tell (OMA-TS-SIMPLE_IM §7.2.4.1).
        Refusal::Rejected(RejectAnswer::Unavailable) | Refusal::NotStored => Reply::new(480),
        Refusal::Rejected(RejectAnswer::Silent) => Reply::new(200),
        Refusal::Anonymous => Reply::new(match policy.anonymous_answer {
            AnonymousAnswer::Forbidden => 403,
            AnonymousAnswer::AnonymityDisallowed => 433,
        }),
        // Neither delivered nor stored, which is what a 480 says (OMA-TS-SIMPLE_IM §7.3.1.4).
        Refusal::Expired => warned(480, &texts.expired, 0),
        Refusal::Downstream(status) => policy.downstream().reply(*status),
        Refusal::Unreachable => retry(policy.retry_after_s.into()),
        Refusal::TooManySessions(case) => {
            let status = match (case, policy.session.excess_answer) {
                (SessionCase::Originating, ExcessAnswer::Forbidden) => 403,
                (SessionCase::Originating, ExcessAnswer::Busy) | (SessionCase::Terminating, _) => {
                    486
                }
            };
            warned(status, &texts.sessions_exceeded, policy.session.sessions_max)
        }
        Refusal::NoAnswer => warned(480, &texts.no_answer, 0),
        Refusal::IntervalTooSmall(min_se) => Reply::new(422).with(HeaderName::MinSe, min_se),
        Refusal::Cancelled => Reply::new(487),
        Refusal::BadReferTo => Reply::new(400),
        Refusal::ReferMethod => warned(403, &texts.function_not_allowed, 0),
        Refusal::NotSubscribable => warned(403, &texts.subscription, 0),
        Refusal::Description => Reply::new(488),
        Refusal::Locked => Reply::new(486),
        Refusal::BadExtension(tags) => Reply::new(420).with(HeaderName::Unsupported, tags),
        Refusal::Attached => Reply::new(486),
        Refusal::Pending => Reply::new(491),
        Refusal::AnswerOverride => warned(403, &texts.function_not_allowed, 0),
        Refusal::SettingsOfAnother => Reply::new(403),
        Refusal::NotRegistered | Refusal::Fault => retry(policy.retry_after_s.into()),
        Refusal::Publication(refused) => published(refused, policy),
        Refusal::SettingsCoding => Reply::new(415).with(HeaderName::AcceptEncoding, "identity"),
        Refusal::SettingsDocument(fault) => warned(400, fault, 0),
    }
}

/// What a publication that is refused is answered (RFC 3903 §6, §11.2, §11.3).
fn published(refused: &publication::Refusal, policy: &Policy) -> Reply {
    let reply = Reply::new(refused.status());
    match refused {
        publication::Refusal::Stale => reply,
        publication::Refusal::Malformed => {
            reply.with(HeaderName::Warning, policy.warning(&refused.to_string(), 0))
        }
        publication::Refusal::BadEvent => {
            reply.with(HeaderName::AllowEvents, &policy.settings.event)
        }
        publication::Refusal::TooBrief { min_expires } => {
            reply.with(HeaderName::MinExpires, min_expires)
        }
        publication::Refusal::UnsupportedBody => {
            reply.with(HeaderName::Accept, im_settings::MEDIA_TYPE)
        }
        // Not said of one publication for one user, and a 503 would make the S-CSCF go on without
        // the server.
        publication::Refusal::Full => {
            Reply::new(480).with(HeaderName::RetryAfter, policy.retry_after_s)
        }
    }
}

/// The answer to a message that is stored for later (RFC 3428 §7).
pub fn stored() -> Reply {
    Reply::new(202)
}

/// Whether a final response of the recipient's side says that he cannot be reached now, so that
/// the message may be stored. Nobody is known to be away whom nobody knows: a 404 counts only when
/// `is_known`.
pub(crate) fn defers(status: u16, is_known: bool, policy: &Policy) -> bool {
    policy.deferral_statuses.contains(&status) && (status != 404 || is_known)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parlance_sip::HeaderName::{self, Accept, MinSe, RetryAfter, Unsupported, Warning};
    use parlance_sip::publication;
    use parlance_store::RejectAnswer;

    use parlance_isc::SessionCase::{Originating, Terminating};

    use super::{Refusal, defers, refusal, stored};
    use crate::policy::{AnonymousAnswer, Policy, SizeAnswer, Warnings};

    // Covers: PF-012, PF-013, PF-055, PF-070, PF-072, PF-082, PF-083, PF-086, SEC-032, CORE-063
    #[test]
    fn refusals_have_their_codes() {
        use HeaderName::{AcceptEncoding, AllowEvents, MinExpires};
        use publication::Refusal::{BadEvent, Malformed, Stale, TooBrief, UnsupportedBody};
        let policy = Policy { warning_host: "im.ims.test".into(), ..Policy::default() };
        type Row<'a> = (Refusal, u16, &'a [(HeaderName, &'a str)]);
        #[rustfmt::skip]
        let table: [Row<'_>; 41] = [
            (Refusal::NotAuthorised, 403,
                &[(Warning, "399 im.ims.test \"127 Service not authorised\"")]),
            (Refusal::SizeExceeded(1300), 403,
                &[(Warning, "399 im.ims.test \"133 Size exceeded, limit 1300\"")]),
            (Refusal::ContentType("text/plain".into()), 415, &[(Accept, "text/plain")]),
            (Refusal::Content, 403, &[(Warning, "399 im.ims.test \"Content not allowed\"")]),
            (Refusal::ForeignFrom, 403, &[(Warning,
                "399 im.ims.test \"CPIM From is not an identity of the originator\"")]),
            (Refusal::BlockedTarget, 403,
                &[(Warning, "399 im.ims.test \"Destination not allowed\"")]),
            (Refusal::TooMany(Duration::from_millis(1001)), 480, &[(RetryAfter, "2")]),
            (Refusal::TooMany(Duration::ZERO), 480, &[(RetryAfter, "1")]),
            (Refusal::Privacy, 500, &[]),
            (Refusal::Rejected(RejectAnswer::Forbidden), 403, &[]),
            (Refusal::Rejected(RejectAnswer::Unavailable), 480, &[]),
            (Refusal::Rejected(RejectAnswer::Silent), 200, &[]),
            (Refusal::Anonymous, 403, &[]),
            (Refusal::Expired, 480, &[(Warning, "399 im.ims.test \"Message expired\"")]),
            (Refusal::NotStored, 480, &[]),
            (Refusal::Downstream(504), 480,
                &[(Warning, "399 im.ims.test \"Downstream answered 504\"")]),
            (Refusal::Unreachable, 480, &[(RetryAfter, "10")]),
            (Refusal::TooManySessions(Originating), 403,
                &[(Warning, "399 im.ims.test \"103 Maximum number of sessions reached\"")]),
            (Refusal::TooManySessions(Terminating), 486,
                &[(Warning, "399 im.ims.test \"103 Maximum number of sessions reached\"")]),
            (Refusal::NoAnswer, 480, &[(Warning, "399 im.ims.test \"No response\"")]),
            (Refusal::IntervalTooSmall(90), 422, &[(MinSe, "90")]),
            (Refusal::Cancelled, 487, &[]),
            (Refusal::BadReferTo, 400, &[]),
            (Refusal::ReferMethod, 403,
                &[(Warning, "399 im.ims.test \"100 Function not allowed\"")]),
            (Refusal::NotSubscribable, 403, &[(Warning,
                "399 im.ims.test \"105 Subscription of conference state not allowed\"")]),
            (Refusal::Description, 488, &[]),
            (Refusal::Locked, 486, &[]),
            (Refusal::AnswerOverride, 403,
                &[(Warning, "399 im.ims.test \"100 Function not allowed\"")]),
            (Refusal::SettingsOfAnother, 403, &[]),
            (Refusal::NotRegistered, 480, &[(RetryAfter, "10")]),
            (Refusal::Fault, 480, &[(RetryAfter, "10")]),
            (Refusal::SettingsCoding, 415, &[(AcceptEncoding, "identity")]),
            (Refusal::SettingsDocument("active is there twice".into()), 400,
                &[(Warning, "399 im.ims.test \"active is there twice\"")]),
            (Refusal::Publication(BadEvent), 489, &[(AllowEvents, "im-settings")]),
            (Refusal::Publication(Malformed), 400,
                &[(Warning, "399 im.ims.test \"malformed publication\"")]),
            (Refusal::Publication(Stale), 412, &[]),
            (Refusal::Publication(TooBrief { min_expires: 60 }), 423, &[(MinExpires, "60")]),
            (Refusal::Publication(UnsupportedBody), 415,
                &[(Accept, "application/vnd.oma.im.service-settings+xml")]),
            (Refusal::BadExtension("odd".into()), 420, &[(Unsupported, "odd")]),
            (Refusal::Attached, 486, &[]),
            (Refusal::Pending, 491, &[]),
        ];
        for (refused, status, headers) in table {
            let reply = refusal(&refused, &policy);
            assert_eq!(reply.status, status, "{refused:?}");
            let found: Vec<_> =
                reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(found, headers, "{refused:?}");
            // RFC 3323 wants a 500; nothing else makes the S-CSCF bypass the server.
            let demanded = refused == Refusal::Privacy;
            assert!(demanded || status < 500 && status != 408, "{refused:?}");
        }
        assert_eq!(stored().status, 202);
    }

    // Covers: PF-013, PF-083, SEC-032
    #[test]
    fn the_operator_chooses_codes_and_texts() {
        let policy = Policy {
            size_answer: SizeAnswer::TooLarge,
            anonymous_answer: AnonymousAnswer::AnonymityDisallowed,
            warnings: Warnings { size_exceeded: "say \"{n}\"".into(), ..Warnings::default() },
            ..Policy::default()
        };
        let reply = refusal(&Refusal::SizeExceeded(9), &policy);
        assert_eq!(reply.status, 413);
        assert_eq!(reply.headers, [(Warning, r#"399 im.invalid "say \"9\"""#.to_owned())]);
        assert_eq!(refusal(&Refusal::Anonymous, &policy).status, 433);
    }

    // Covers: PF-034, PF-035
    #[test]
    fn some_final_responses_say_that_the_user_is_away() {
        let policy = Policy::default();
        for status in [404, 408, 430, 480, 500, 503, 504] {
            assert!(defers(status, true, &policy), "{status}");
            assert_eq!(defers(status, false, &policy), status != 404, "{status}");
        }
        for status in [200, 202, 302, 403, 413, 415, 486, 488, 501, 600, 603, 606] {
            assert!(!defers(status, true, &policy), "{status}");
        }
        let other = Policy { deferral_statuses: vec![486], ..Policy::default() };
        assert!(defers(486, true, &other) && !defers(480, true, &other));
    }
}
