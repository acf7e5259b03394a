//! Request methods (RFC 3261 §7.1): case-sensitive tokens, extension methods included.

use std::fmt;

use crate::grammar::Class;

macro_rules! methods {
    ($($variant:ident $text:literal $section:literal;)*) => {
        /// A request method, borrowed from the message it stands in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method<'a> {
            $(#[doc = $section] $variant,)*
            /// Any other token, octet for octet.
            Other(&'a str),
        }

        impl<'a> Method<'a> {
            /// Reads a method; `None` when it is not a token (RFC 3261 §25.1).
            pub fn parse(token: &'a [u8]) -> Option<Self> {
                $(if token == $text.as_bytes() {
                    return Some(Self::$variant);
                })*
                let other = Class::TOKEN.covers(token).then_some(token)?;
                std::str::from_utf8(other).ok().map(Self::Other)
            }

            /// The token as it stands in a start line and in `CSeq`.
            pub fn as_str(&self) -> &'a str {
                match *self {
                    $(Self::$variant => $text,)*
                    Self::Other(token) => token,
                }
            }
        }
    };
}

methods! {
    Invite "INVITE" "RFC 3261 §13.";
    Ack "ACK" "RFC 3261 §13.";
    Bye "BYE" "RFC 3261 §15.";
    Cancel "CANCEL" "RFC 3261 §9.";
    Options "OPTIONS" "RFC 3261 §11.";
    Register "REGISTER" "RFC 3261 §10.";
    Message "MESSAGE" "RFC 3428.";
    Subscribe "SUBSCRIBE" "RFC 6665.";
    Notify "NOTIFY" "RFC 6665.";
    Publish "PUBLISH" "RFC 3903.";
    Refer "REFER" "RFC 3515.";
    Update "UPDATE" "RFC 3311.";
    Prack "PRACK" "RFC 3262.";
    Info "INFO" "RFC 6086.";
}

impl Method<'_> {
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
