//! Refusals of this crate as responses: the one place that knows their codes.
//!
//! Over ISC an error is a routing decision: a 408, a 5xx or silence makes the S-CSCF go on without
//! the server. So a refused service is a 4xx, and a fault of our own a 480 with Retry-After.

use std::borrow::Cow;
use std::time::Duration;

use parlance_sip::message::Fault;
use parlance_sip::{HeaderName, Method};

use crate::trust::Challenge;
use crate::{Downstream, Reply};

/// Why a request is not served. The peer broke the specification, asked for what we do not do or
/// must not do; or we failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The message is malformed.
    Malformed(Fault),
    /// The neighbour is not trusted.
    Untrusted,
    /// Nobody says who sent it.
    NotAuthenticated,
    /// The sender has to prove who he is.
    Challenge(Challenge),
    /// From is not an identity of the sender.
    ForeignFrom,
    /// The user does not have the service.
    NotProvisioned,
    /// It is addressed to a service for instant messaging, and does not ask for that.
    NotIm,
    /// A group or an exploder would feed another one.
    NestedGroup,
    /// The server's own controlling function sent it, to a group or exploder of its own.
    Loop,
    /// Nobody and nothing here by that name.
    NotFound,
    /// There was a session by that name.
    Gone,
    /// There is no such dialog.
    NoDialog,
    /// The method is not known at all.
    NotImplemented,
    /// The method is known, but not for this resource, which has these.
    MethodNotAllowed(Vec<&'static str>),
    /// These required extensions are not known.
    BadExtension(Vec<String>),
    /// The body is of a type that is not read; these are.
    UnsupportedBody(Vec<&'static str>),
    /// The body is in a coding that is not read.
    UnsupportedCoding,
    /// The caller takes no answer of the kind that would be given.
    NotAcceptable,
    /// The Request-URI is of a scheme that is not understood.
    UnsupportedScheme,
    /// Privacy is asked for that cannot be given, and asked for as critical.
    Privacy,
    /// Max-Forwards is used up.
    TooManyHops,
    /// Max-Breadth is used up.
    TooBroad,
    /// The event package is not served; these are.
    BadEvent(Vec<Cow<'static, str>>),
    /// A REGISTER with a Call-ID seen before and a CSeq that is not higher.
    StaleRegister,
    /// The store did not answer.
    StoreUnavailable,
}

/// How the operator wants refusals worded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalPolicy {
    /// The host in Warning; default `im.invalid`, set to the name of the server.
    pub host: String,
    /// The text of Warning 399 for a user without the service. Default
    /// `127 Service not authorised`.
    pub not_provisioned: String,
    /// The text of Warning 399 for a nested group. Default `Nested groups are not allowed`.
    pub nested_group: String,
    /// The text of Warning 399 when the other side failed; `{n}` is its status code. Default
    /// `Downstream answered {n}`.
    pub downstream: String,
    /// Whether a 5xx of the other side is passed through as it is. Default false: it becomes 480.
    pub relay_5xx: bool,
    /// How long to wait after a fault of ours. Default 10 s.
    pub retry_after: Duration,
}

impl Default for RefusalPolicy {
    fn default() -> Self {
        let usual = Downstream::default();
        Self {
            host: usual.host.to_owned(),
            not_provisioned: "127 Service not authorised".to_owned(),
            nested_group: "Nested groups are not allowed".to_owned(),
            downstream: usual.text.to_owned(),
            relay_5xx: usual.relay_5xx,
            retry_after: Duration::from_secs(10),
        }
    }
}

impl RefusalPolicy {
    /// The value of a Warning with a text of our own (RFC 3261 §20.43).
    pub fn warning(&self, text: &str) -> String {
        warning(399, &self.host, text)
    }

    /// How the failures of the other side go back.
    pub fn downstream(&self) -> Downstream<'_> {
        Downstream { relay_5xx: self.relay_5xx, host: &self.host, text: &self.downstream }
    }

    fn retry(&self, status: u16) -> Reply {
        Reply::new(status).with(HeaderName::RetryAfter, self.retry_after.as_secs())
    }
}

/// The value of a Warning of `host` with one of the codes of RFC 3261 §20.43: 399 for a text of
/// our own.
pub fn warning(code: u16, host: &str, text: &str) -> String {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{code} {host} \"{quoted}\"")
}

/// The response a refusal becomes.
///
/// The challenge of a 401 or 407 is added by the digest machine, which has the nonce.
pub fn refusal(refusal: &Refusal, policy: &RefusalPolicy) -> Reply {
    let warned =
        |status, text: &str| Reply::new(status).with(HeaderName::Warning, policy.warning(text));
    let worded = |status, reason: Cow<'static, str>| Reply { reason, ..Reply::new(status) };
    match refusal {
        Refusal::Malformed(fault) => worded(fault.status(), fault.to_string().into()),
        Refusal::Untrusted => Reply::new(403),
        Refusal::NotAuthenticated => warned(403, "Originator not authenticated"),
        Refusal::Challenge(Challenge::Uas) => Reply::new(401),
        Refusal::Challenge(Challenge::Proxy) => Reply::new(407),
        Refusal::ForeignFrom => warned(403, "From is not an identity of the originator"),
        Refusal::NotProvisioned => warned(403, &policy.not_provisioned),
        Refusal::NotIm => warned(403, "Accept-Contact does not ask for instant messaging"),
        Refusal::NestedGroup => warned(403, &policy.nested_group),
        Refusal::Loop => Reply::new(482),
        Refusal::NotFound => Reply::new(404),
        Refusal::Gone => Reply::new(410),
        Refusal::NoDialog => Reply::new(481),
        Refusal::NotImplemented => Reply::new(501).with(HeaderName::Allow, all_methods()),
        Refusal::MethodNotAllowed(allowed) => {
            Reply::new(405).with(HeaderName::Allow, allowed.join(", "))
        }
        Refusal::BadExtension(unknown) => {
            Reply::new(420).with(HeaderName::Unsupported, unknown.join(", "))
        }
        Refusal::UnsupportedBody(accepted) => {
            Reply::new(415).with(HeaderName::Accept, accepted.join(", "))
        }
        Refusal::UnsupportedCoding => Reply::new(415).with(HeaderName::AcceptEncoding, "identity"),
        Refusal::NotAcceptable => warned(406, "The answer would be application/sdp"),
        Refusal::UnsupportedScheme => Reply::new(416),
        // RFC 3323 §5 wants a 500 here, so that the request fails rather than goes on unprotected.
        Refusal::Privacy => Reply::new(500),
        Refusal::TooManyHops => Reply::new(483),
        Refusal::TooBroad => Reply::new(440),
        Refusal::BadEvent(events) => {
            Reply::new(489).with(HeaderName::AllowEvents, events.join(", "))
        }
        Refusal::StaleRegister => worded(400, "Bad CSeq".into()),
        Refusal::StoreUnavailable => policy.retry(480),
    }
}

/// Every method the server implements somewhere, for the Allow of a 501 (RFC 3261 §21.5.2).
fn all_methods() -> String {
    use Method::{
        Ack, Bye, Cancel, Info, Invite, Message, Notify, Options, Prack, Publish, Refer, Register,
        Subscribe, Update,
    };
    let all = [
        Invite, Ack, Bye, Cancel, Options, Register, Message, Subscribe, Notify, Publish, Refer,
        Update, Prack, Info,
    ];
    all.map(|method| method.as_str()).join(", ")
}

#[cfg(test)]
mod tests {
    use parlance_sip::HeaderName;
    use parlance_sip::message::Fault;

    use super::{Refusal, RefusalPolicy, refusal};
    use crate::trust::Challenge;

    /// A refusal, its status and reason phrase, and the headers that go with it.
    type Row = (Refusal, u16, &'static str, &'static [(HeaderName, &'static str)]);

    // Covers: CORE-009, CORE-010, CORE-011, CORE-023, CORE-053, CORE-063
    #[test]
    fn refusals_have_their_codes() {
        use HeaderName::{
            Accept, AcceptEncoding, Allow, AllowEvents, RetryAfter, Unsupported, Warning,
        };
        const METHODS: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, SUBSCRIBE, \
                               NOTIFY, PUBLISH, REFER, UPDATE, PRACK, INFO";
        let policy = RefusalPolicy { host: "im.ims.test".into(), ..RefusalPolicy::default() };
        #[rustfmt::skip]
        let table: [Row; 27] = [
            (Refusal::Malformed(Fault::Header(HeaderName::To)), 400, "Bad To", &[]),
            (Refusal::Malformed(Fault::Missing(HeaderName::Via)), 400, "Missing Via", &[]),
            (Refusal::Malformed(Fault::Version), 505, "Version Not Supported", &[]),
            (Refusal::Untrusted, 403, "Forbidden", &[]),
            (Refusal::NotAuthenticated, 403, "Forbidden",
                &[(Warning, "399 im.ims.test \"Originator not authenticated\"")]),
            (Refusal::Challenge(Challenge::Uas), 401, "Unauthorized", &[]),
            (Refusal::Challenge(Challenge::Proxy), 407, "Proxy Authentication Required", &[]),
            (Refusal::ForeignFrom, 403, "Forbidden",
                &[(Warning, "399 im.ims.test \"From is not an identity of the originator\"")]),
            (Refusal::NotProvisioned, 403, "Forbidden",
                &[(Warning, "399 im.ims.test \"127 Service not authorised\"")]),
            (Refusal::NotIm, 403, "Forbidden",
                &[(Warning, "399 im.ims.test \"Accept-Contact does not ask for instant messaging\"")]),
            (Refusal::NestedGroup, 403, "Forbidden",
                &[(Warning, "399 im.ims.test \"Nested groups are not allowed\"")]),
            (Refusal::Loop, 482, "Loop Detected", &[]),
            (Refusal::NotFound, 404, "Not Found", &[]),
            (Refusal::Gone, 410, "Gone", &[]),
            (Refusal::NoDialog, 481, "Call/Transaction Does Not Exist", &[]),
            (Refusal::NotImplemented, 501, "Not Implemented", &[(Allow, METHODS)]),
            (Refusal::MethodNotAllowed(vec!["OPTIONS", "MESSAGE"]), 405, "Method Not Allowed",
                &[(Allow, "OPTIONS, MESSAGE")]),
            (Refusal::BadExtension(vec!["a".into(), "b".into()]), 420, "Bad Extension",
                &[(Unsupported, "a, b")]),
            (Refusal::UnsupportedBody(vec!["application/sdp"]), 415, "Unsupported Media Type",
                &[(Accept, "application/sdp")]),
            (Refusal::UnsupportedCoding, 415, "Unsupported Media Type",
                &[(AcceptEncoding, "identity")]),
            (Refusal::NotAcceptable, 406, "Not Acceptable",
                &[(Warning, "399 im.ims.test \"The answer would be application/sdp\"")]),
            (Refusal::UnsupportedScheme, 416, "Unsupported URI Scheme", &[]),
            (Refusal::Privacy, 500, "Server Internal Error", &[]),
            (Refusal::TooManyHops, 483, "Too Many Hops", &[]),
            (Refusal::TooBroad, 440, "Max-Breadth Exceeded", &[]),
            (Refusal::BadEvent(vec!["conference".into()]), 489, "Bad Event",
                &[(AllowEvents, "conference")]),
            (Refusal::StoreUnavailable, 480, "Temporarily Unavailable", &[(RetryAfter, "10")]),
        ];
        for (refused, status, reason, headers) in table {
            let reply = refusal(&refused, &policy);
            assert_eq!((reply.status, &*reply.reason), (status, reason), "{refused:?}");
            let found: Vec<_> =
                reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(found, headers, "{refused:?}");
            // RFCs want these; no refusal of a service makes the S-CSCF bypass us.
            let demanded = matches!(status, 500 | 501 | 505);
            assert!(demanded || (400..500).contains(&status) && status != 408, "{refused:?}");
        }
    }
}
