//! Request methods (RFC 3261 §7.1): case-sensitive tokens, extension methods included.

use std::fmt;

use crate::grammar;

/// A request method, borrowed from the message it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'a> {
    /// RFC 3261 §13.
    Invite,
    /// RFC 3261 §13.
    Ack,
    /// RFC 3261 §15.
    Bye,
    /// RFC 3261 §9.
    Cancel,
    /// RFC 3261 §11.
    Options,
    /// RFC 3261 §10.
    Register,
    /// RFC 3428.
    Message,
    /// RFC 6665.
    Subscribe,
    /// RFC 6665.
    Notify,
    /// RFC 3903.
    Publish,
    /// RFC 3515.
    Refer,
    /// RFC 3311.
    Update,
    /// RFC 3262.
    Prack,
    /// RFC 6086.
    Info,
    /// Any other token, octet for octet.
    Other(&'a str),
}

/// Every method that has a variant of its own.
const KNOWN: [(&str, Method<'static>); 14] = [
    ("INVITE", Method::Invite),
    ("ACK", Method::Ack),
    ("BYE", Method::Bye),
    ("CANCEL", Method::Cancel),
    ("OPTIONS", Method::Options),
    ("REGISTER", Method::Register),
    ("MESSAGE", Method::Message),
    ("SUBSCRIBE", Method::Subscribe),
    ("NOTIFY", Method::Notify),
    ("PUBLISH", Method::Publish),
    ("REFER", Method::Refer),
    ("UPDATE", Method::Update),
    ("PRACK", Method::Prack),
    ("INFO", Method::Info),
];

impl<'a> Method<'a> {
    /// Reads a method; `None` when it is not a token (RFC 3261 §25.1).
    pub fn parse(token: &'a [u8]) -> Option<Self> {
        if let Some((_, method)) = KNOWN.iter().find(|(name, _)| name.as_bytes() == token) {
            return Some(*method);
        }
        let text = std::str::from_utf8(token).ok()?;
        (!token.is_empty() && token.iter().all(|&octet| grammar::is_token(octet)))
            .then_some(Self::Other(text))
    }

    /// The token as it stands in a start line and in `CSeq`.
    pub fn as_str(&self) -> &'a str {
        match *self {
            Self::Other(token) => token,
            known => KNOWN.iter().find(|(_, method)| *method == known).map_or("", |(name, _)| name),
        }
    }

    /// Whether the server implements the method as a UAS somewhere (CORE-009).
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive_tokens() {
        let table = [
            ("INVITE", Some(Method::Invite)),
            ("message", Some(Method::Other("message"))),
            ("!interesting-Method0123456789_*+`.%indeed'~", {
                Some(Method::Other("!interesting-Method0123456789_*+`.%indeed'~")) // RFC 4475 §3.1.1.2
            }),
            ("RE%47IST%45R", Some(Method::Other("RE%47IST%45R"))), // RFC 4475 §3.1.1.5
            ("", None),
            ("IN VITE", None),
            ("IN(VITE", None),
        ];
        for (text, method) in table {
            assert_eq!(Method::parse(text.as_bytes()), method, "{text}");
            if let Some(method) = method {
                assert_eq!(method.to_string(), text);
            }
        }
    }
}
