//! Every URI that is neither SIP, SIPS nor tel: `absoluteURI` of RFC 3261 §25.1.

use std::fmt;

use super::UriError;
use super::escape::{is_escaped, same, same_ignoring_case};
use crate::grammar::Class;

/// `reserved` and `unreserved`; brackets as well, for the IPv6 addresses of RFC 2732.
const URIC: Class = Class::UNRESERVED.with(b";/?:@&=+$,[]");

/// An absolute URI whose scheme we do not take apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherUri<'a> {
    /// The scheme as written; schemes compare whatever their case.
    pub scheme: &'a str,
    /// What follows the colon, never empty, escapes unresolved.
    pub rest: &'a str,
}

impl<'a> OtherUri<'a> {
    pub(super) fn parse_parts(scheme: &'a str, rest: &'a str) -> Result<Self, UriError> {
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && Class::ALPHANUM.with(b"+-.").covers(scheme.as_bytes());
        if !is_scheme {
            return Err(UriError::Scheme);
        }
        if rest.is_empty() || !is_escaped(rest, &URIC) {
            return Err(UriError::Character);
        }
        Ok(Self { scheme, rest })
    }

    /// User and host of a mailbox URI, `im:` and `pres:` (RFC 3859 §2, RFC 3860 §3): what stands
    /// before and after the `@`, headers left out. `None` for other schemes and shapes.
    pub fn mailbox(&self) -> Option<(&'a str, &'a str)> {
        let known = ["im", "pres"].iter().any(|known| self.scheme.eq_ignore_ascii_case(known));
        let address = self.rest.split('?').next().filter(|_| known)?;
        address.rsplit_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty())
    }

    /// Whether two URIs name the same thing. Schemes, hosts of `im` and `pres` URIs and the
    /// namespace of a URN (RFC 2141 §5) compare whatever their case, the rest exactly, where a
    /// character outside the reserved set equals its escape.
    pub fn equivalent(&self, other: &OtherUri<'_>) -> bool {
        if !self.scheme.eq_ignore_ascii_case(other.scheme) {
            return false;
        }
        if let (Some(one), Some(two)) = (self.mailbox(), other.mailbox()) {
            let headers = |rest: &'_ str| rest.find('?').unwrap_or(rest.len());
            return same(one.0, two.0)
                && same_ignoring_case(one.1, two.1)
                && same(
                    self.rest.get(headers(self.rest)..).unwrap_or_default(),
                    other.rest.get(headers(other.rest)..).unwrap_or_default(),
                );
        }
        if self.scheme.eq_ignore_ascii_case("urn")
            && let (Some(one), Some(two)) = (self.rest.split_once(':'), other.rest.split_once(':'))
        {
            return one.0.eq_ignore_ascii_case(two.0) && same(one.1, two.1);
        }
        same(self.rest, other.rest)
    }
}

impl fmt::Display for OtherUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn other(text: &str) -> Result<OtherUri<'_>, UriError> {
        let (scheme, rest) = text.split_once(':').unwrap();
        OtherUri::parse_parts(scheme, rest)
    }

    #[test]
    fn parses() {
        let table = [
            ("im:fred@example.com", Some(("fred", "example.com"))), // RFC 3860 §3
            ("PRES:fred@example.com?x=y", Some(("fred", "example.com"))),
            ("im:fred", None),
            ("mailto:fred@example.com", None),
            ("http://[2001:db8::1]/x?y=%20", None),
            ("urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg", None),
        ];
        for (text, mailbox) in table {
            let uri = other(text).unwrap();
            assert_eq!(uri.mailbox(), mailbox, "{text}");
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn refuses() {
        use UriError::{Character, Scheme};
        let table = [
            (":x", Scheme),
            ("1a:x", Scheme),
            ("a b:x", Scheme),
            ("<http:x", Scheme),
            ("urn:", Character),
            ("urn:a<b", Character),
            ("urn:%4", Character),
            ("http://x#y", Character), // a fragment is no part of an absoluteURI
            ("urn:\u{e9}", Character),
        ];
        for (text, error) in table {
            assert_eq!(other(text), Err(error), "{text}");
        }
    }

    #[test]
    fn equivalent_uris() {
        #[rustfmt::skip]
        let table = [
            ("im:Fred@example.com", "IM:Fred@EXAMPLE.com", true),
            ("im:Fred@example.com", "im:fred@example.com", false),
            ("im:fred@example.com", "im:fred@example.com?subject=x", false),
            ("urn:GSMA:imei:1", "urn:gsma:imei:1", true),
            ("urn:gsma:imei:a", "urn:gsma:imei:A", false),
            ("urn:x:%61", "urn:x:a", true),
            ("http://a", "HTTP://a", true),
            ("http://a", "https://a", false),
        ];
        for (one, two, equal) in table {
            let (first, second) = (other(one).unwrap(), other(two).unwrap());
            assert_eq!(first.equivalent(&second), equal, "{one} {two}");
            assert_eq!(second.equivalent(&first), equal, "{two} {one}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            scheme in "[a-zA-Z][a-z0-9+.-]{0,5}", rest in "([a-z:/?@&=+$,;]|%[0-9a-f]{2}){1,12}"
        ) {
            let uri = OtherUri { scheme: &scheme, rest: &rest };
            let text = uri.to_string();
            prop_assert_eq!(other(&text), Ok(uri));
            prop_assert!(uri.equivalent(&uri));
        }

        #[test]
        fn never_panics(scheme: String, rest: String) {
            let _ = OtherUri::parse_parts(&scheme, &rest).map(|uri| uri.mailbox().is_some());
        }
    }
}
