//! URI parameters and URI headers (RFC 3261 §19.1.1).

use std::fmt;

use super::escape::{cut_escaped, is_escaped, same_ignoring_case};
use super::{URI_PARTS_MAX, UriError};
use crate::examined;
use crate::grammar::{Class, cut_before, find};

/// `paramchar`, without the escapes.
const PARAM: Class = Class::UNRESERVED.with(b"[]/:&+$");
/// What `hname` and `hvalue` are made of, without the escapes.
const HEADER: Class = Class::UNRESERVED.with(b"[]/?:+$");

/// The parameters of a SIP or tel URI: `*( ";" pname [ "=" pvalue ] )`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UriParams<'a> {
    /// Empty, or from the first semicolon on.
    text: &'a str,
}

impl<'a> UriParams<'a> {
    /// Reads parameters: nothing, or text that begins with a semicolon.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        Self::scan(text, b"").map(|(params, _)| params)
    }

    /// Takes the parameters off the front of `text`, up to its end or one of the octets `stops`.
    #[inline]
    pub(super) fn scan(text: &'a str, stops: &[u8]) -> Result<(Self, &'a str), UriError> {
        let mut rest = text;
        let mut count = 0;
        while let Some(param) = rest.strip_prefix(';') {
            if count >= URI_PARTS_MAX {
                return Err(UriError::TooMany);
            }
            count += 1;
            let (name, tail) = cut_escaped(param, &PARAM);
            let (value, tail) = match tail.strip_prefix('=') {
                Some(value) => cut_escaped(value, &PARAM),
                None => (name, tail),
            };
            if name.is_empty() || value.is_empty() {
                return Err(UriError::Parameter);
            }
            rest = tail;
        }
        if rest.bytes().next().is_some_and(|octet| !stops.contains(&octet)) {
            return Err(UriError::Parameter);
        }
        let (text, rest) = text.split_at_checked(text.len() - rest.len()).unwrap_or((text, ""));
        Ok((Self { text }, rest))
    }

    /// As written, empty or beginning with a semicolon.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Names and values in order, escapes unresolved.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let mut rest = self.text;
        std::iter::from_fn(move || {
            let (param, tail) = cut_before(rest.strip_prefix(';')?, |octet| octet == b';');
            rest = tail;
            Some(split(param))
        })
    }

    /// The value of the first parameter of this name: `Some(None)` when it has none. Names are
    /// compared whatever their case and escapes (`%6C%72` is `lr`).
    pub fn first(&self, name: &str) -> Option<Option<&'a str>> {
        let has_escapes = find(b'%', self.text.as_bytes()).is_some();
        let is_it = |have: &str| {
            have.eq_ignore_ascii_case(name) || has_escapes && same_ignoring_case(have, name)
        };
        self.iter().find(|(have, _)| is_it(have)).map(|(_, value)| value)
    }

    /// Whether a parameter of this name is there.
    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// The value of the first parameter of this name; `None` when it is absent or has no value.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.first(name).flatten()
    }
}

impl fmt::Display for UriParams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

fn split(part: &str) -> (&str, Option<&str>) {
    let (name, value) = cut_before(part, |octet| octet == b'=');
    (name, value.strip_prefix('='))
}

/// The headers of a SIP URI: `"?" header *( "&" header )`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UriHeaders<'a> {
    /// Empty, or from the question mark on.
    text: &'a str,
}

impl<'a> UriHeaders<'a> {
    /// Reads headers: nothing, or text that begins with a question mark.
    #[inline]
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        let headers = Self { text };
        let Some(rest) = text.strip_prefix('?') else {
            return if text.is_empty() { Ok(headers) } else { Err(UriError::Header) };
        };
        for (count, part) in rest.split('&').enumerate() {
            examined(part.len());
            if count >= URI_PARTS_MAX {
                return Err(UriError::TooMany);
            }
            let (name, value) = part.split_once('=').ok_or(UriError::Header)?;
            if name.is_empty() || !is_escaped(name, &HEADER) || !is_escaped(value, &HEADER) {
                return Err(UriError::Header);
            }
        }
        Ok(headers)
    }

    /// As written, empty or beginning with a question mark.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Names and values in order, escapes unresolved (see [`super::unescape`]).
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let rest = self.text.strip_prefix('?');
        rest.into_iter().flat_map(|rest| rest.split('&')).filter_map(|part| part.split_once('='))
    }

    /// The value of the first header of this name, whatever its case and escapes.
    pub fn first(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(have, _)| same_ignoring_case(have, name)).map(|(_, value)| value)
    }
}

impl fmt::Display for UriHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Covers: CORE-045
    #[test]
    fn parameters() {
        let table = [
            ("", "lr", None),
            (";lr", "LR", Some(None)),
            (";transport=TCP;lr", "transport", Some(Some("TCP"))),
            (";%6C%72;n%61me=v%61lue%25%34%31", "lr", Some(None)), // RFC 4475 §3.1.1.3
            (";%6C%72;n%61me=v%61lue%25%34%31", "name", Some(Some("v%61lue%25%34%31"))),
            (";lr;comp=sigcomp", "lr", Some(None)),
            (";s=2;h=0;d=0;a=7369703a", "a", Some(Some("7369703a"))),
            (";a=1;a=2", "a", Some(Some("1"))),
            (";maddr=[2001:db8::1]", "maddr", Some(Some("[2001:db8::1]"))),
        ];
        for (text, name, value) in table {
            let params = UriParams::parse(text).unwrap();
            assert_eq!(params.first(name), value, "{text}");
            assert_eq!(params.to_string(), text);
        }
    }

    #[test]
    fn refused_parameters() {
        for text in ["lr", ";", ";;", ";lr;", ";=1", ";a=", ";a=b=c", ";a b", ";a%4", ";a@b"] {
            assert_eq!(UriParams::parse(text), Err(UriError::Parameter), "{text}");
        }
        assert!(UriParams::parse(&";p".repeat(URI_PARTS_MAX)).is_ok());
        let over = ";p".repeat(URI_PARTS_MAX + 1);
        assert_eq!(UriParams::parse(&over), Err(UriError::TooMany));
    }

    #[test]
    fn headers() {
        let text = "?subject=project%20x&priority=urgent&body="; // RFC 3261 §19.1.4
        let headers = UriHeaders::parse(text).unwrap();
        assert_eq!(headers.first("Priority"), Some("urgent"));
        assert_eq!(headers.first("subject"), Some("project%20x"));
        assert_eq!(headers.first("body"), Some(""));
        assert_eq!(headers.first("to"), None);
        assert_eq!(headers.iter().count(), 3);
        assert_eq!(headers.to_string(), text);
        for text in ["a=b", "?", "?a", "?=b", "?a=b&", "?a=b=c", "?a=<b>", "?a=%0"] {
            assert_eq!(UriHeaders::parse(text), Err(UriError::Header), "{text}");
        }
        assert!(UriHeaders::parse(&format!("?a={}", "&a=".repeat(URI_PARTS_MAX - 1))).is_ok());
        let over = format!("?a={}", "&a=".repeat(URI_PARTS_MAX));
        assert_eq!(UriHeaders::parse(&over), Err(UriError::TooMany));
    }

    proptest! {
        #[test]
        fn iteration_rebuilds_the_text(parts in
            proptest::collection::vec(
                ("([a-z]|%4[0-9a-f]){0,4}", proptest::option::of("[a-z0-9]{1,4}")),
                0..5,
            )
        ) {
            let text: String = parts.iter().map(|(name, value)| match value {
                Some(value) => format!(";n{name}={value}"),
                None => format!(";n{name}"),
            }).collect();
            let params = UriParams::parse(&text).unwrap();
            let rebuilt: String = params.iter().map(|(name, value)| match value {
                Some(value) => format!(";{name}={value}"),
                None => format!(";{name}"),
            }).collect();
            prop_assert_eq!(rebuilt, text);
        }

        #[test]
        fn never_panics(text: String) {
            let _ = (UriParams::parse(&text), UriHeaders::parse(&text));
        }
    }
}
