//! tel URIs (RFC 3966).

use std::fmt;

use super::escape::same_ignoring_case;
use super::host::Host;
use super::{UriError, UriParams};
use crate::examined;

/// A telephone number as a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelUri<'a> {
    /// The number as written, visual separators and the `+` of a global number included.
    pub number: &'a str,
    /// `phone-context`, `ext`, `isub` and the others.
    pub params: UriParams<'a>,
}

impl<'a> TelUri<'a> {
    /// Reads what follows `tel:`.
    pub(super) fn parse_rest(rest: &'a str) -> Result<Self, UriError> {
        examined(2 * rest.len());
        let end = rest.find(';').unwrap_or(rest.len());
        let (number, params) = rest.split_at_checked(end).ok_or(UriError::Number)?;
        let uri = Self { number, params: UriParams::parse(params)? };
        let is_number = match number.strip_prefix('+') {
            Some(digits) => is_global(digits),
            None => is_local(number),
        };
        if !is_number || !uri.params_are_good() {
            return Err(UriError::Number);
        }
        if !uri.is_global() && uri.context().is_none() {
            return Err(UriError::Context);
        }
        Ok(uri)
    }

    /// Whether the number is a global one (E.164), which begins with `+`.
    pub fn is_global(&self) -> bool {
        self.number.starts_with('+')
    }

    /// The digits without visual separators; with the `+` of a global number.
    pub fn digits(&self) -> impl Iterator<Item = char> + use<'a> {
        digits(self.number)
    }

    /// The `phone-context`: where a local number is valid.
    pub fn context(&self) -> Option<&'a str> {
        self.params.value("phone-context")
    }

    /// The extension (RFC 3966 §5.3).
    pub fn extension(&self) -> Option<&'a str> {
        self.params.value("ext")
    }

    /// Whether two URIs are equivalent by the rules of RFC 3966 §4.
    pub fn equivalent(&self, other: &TelUri<'_>) -> bool {
        let lower = |digit: char| digit.to_ascii_lowercase();
        self.digits().map(lower).eq(other.digits().map(lower))
            && self.params.iter().count() == other.params.iter().count()
            && self.params.iter().all(|(name, value)| {
                other.params.first(name).is_some_and(|theirs| match (value, theirs) {
                    (Some(ours), Some(theirs)) => same_value(name, ours, theirs),
                    (None, None) => true,
                    _ => false,
                })
            })
    }

    /// No name twice, `ext` and `phone-context` of their own shape.
    fn params_are_good(&self) -> bool {
        self.params.iter().enumerate().all(|(at, (name, value))| {
            let unique = self.params.iter().take(at).all(|(before, _)| {
                // The names hold no escapes: pname is letters, digits and hyphens.
                !before.eq_ignore_ascii_case(name)
            });
            let named = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
            let shaped = match value {
                _ if name.eq_ignore_ascii_case("phone-context") => value.is_some_and(is_descriptor),
                _ if name.eq_ignore_ascii_case("ext") => value.is_some_and(is_global),
                _ if name.eq_ignore_ascii_case("isub") => value.is_some(),
                _ => true,
            };
            unique && named && shaped
        })
    }
}

fn digits(number: &str) -> impl Iterator<Item = char> {
    number.chars().filter(|&octet| !is_separator(octet))
}

fn is_separator(octet: char) -> bool {
    matches!(octet, '-' | '.' | '(' | ')')
}

/// Digits and visual separators, at least one digit.
fn is_global(text: &str) -> bool {
    text.chars().all(|octet| octet.is_ascii_digit() || is_separator(octet))
        && text.contains(|octet: char| octet.is_ascii_digit())
}

fn is_local(text: &str) -> bool {
    let is_digit = |octet: char| octet.is_ascii_hexdigit() || matches!(octet, '*' | '#');
    text.chars().all(|octet| is_digit(octet) || is_separator(octet)) && text.contains(is_digit)
}

fn is_descriptor(text: &str) -> bool {
    match text.strip_prefix('+') {
        Some(digits) => is_global(digits),
        None => Host::parse(text).is_ok_and(|host| host.ip().is_none()),
    }
}

fn same_value(name: &str, one: &str, two: &str) -> bool {
    let is_number = name.eq_ignore_ascii_case("ext")
        || (name.eq_ignore_ascii_case("phone-context") && one.starts_with('+'));
    if is_number { digits(one).eq(digits(two)) } else { same_ignoring_case(one, two) }
}

impl fmt::Display for TelUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tel:{}{}", self.number, self.params)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tel(text: &str) -> Result<TelUri<'_>, UriError> {
        TelUri::parse_rest(text.strip_prefix("tel:").unwrap())
    }

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            // RFC 3966 §6
            ("tel:+1-201-555-0123", "+12015550123", None, None),
            ("tel:7042;phone-context=example.com", "7042", Some("example.com"), None),
            ("tel:863-1234;phone-context=+1-914-555", "8631234", Some("+1-914-555"), None),
            ("tel:+15550000001;ext=12-3", "+15550000001", None, Some("12-3")),
            ("tel:*21#;phone-context=ims.test;isub=a%20b;x", "*21#", Some("ims.test"), None),
        ];
        for (text, digits, context, extension) in table {
            let uri = tel(text).unwrap();
            assert_eq!(uri.digits().collect::<String>(), digits);
            assert_eq!((uri.context(), uri.extension()), (context, extension), "{text}");
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn refuses() {
        use UriError::{Context, Number, Parameter};
        #[rustfmt::skip]
        let table = [
            ("tel:", Number), ("tel:+", Number), ("tel:+-()", Number), ("tel:+1a", Number),
            ("tel:+1 2", Number), ("tel:-", Number), ("tel:x;phone-context=+1", Number),
            ("tel:+1;ext=1;EXT=2", Number), ("tel:+1;ext=", Parameter), ("tel:+1;ext", Number),
            ("tel:+1;phone-context=192.0.2.1", Number), ("tel:+1;isub", Number),
            ("tel:+1;a_b=1", Number), ("tel:7042", Context), ("tel:+1?to=x", Number),
            ("tel:+15550000001,sip:a@b", Number),
        ];
        for (text, error) in table {
            assert_eq!(tel(text), Err(error), "{text}");
        }
    }

    #[test]
    fn equivalent_numbers() {
        #[rustfmt::skip]
        let table = [
            ("tel:+1-201-555-0123", "tel:+1(201)555.0123", true),
            ("tel:+12015550123", "tel:+12015550124", false),
            ("tel:12;phone-context=+1", "tel:+12;phone-context=+1", false),
            ("tel:aB*;phone-context=x.y", "tel:Ab*;phone-context=X.Y", true),
            ("tel:7;phone-context=+1-914", "tel:7;phone-context=+1914", true),
            ("tel:7;phone-context=+1914", "tel:7;phone-context=x.y", false),
            ("tel:+1;ext=1-2", "tel:+1;ext=12", true),
            ("tel:+1;ext=1", "tel:+1", false),
            ("tel:+1;a=b;c=d", "tel:+1;C=D;A=%42", true),
            ("tel:+1;a=b", "tel:+1;c=b", false),
            ("tel:+1;a", "tel:+1;a=b", false),
        ];
        for (one, two, equal) in table {
            let (first, second) = (tel(one).unwrap(), tel(two).unwrap());
            assert_eq!(first.equivalent(&second), equal, "{one} {two}");
            assert_eq!(second.equivalent(&first), equal, "{two} {one}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            digits in "[0-9.()-]{0,6}[0-9]",
            global: bool,
            ext in proptest::option::of("[0-9-]{0,3}[0-9]"),
        ) {
            let number = if global { format!("+{digits}") } else { digits };
            let context = if global { "" } else { ";phone-context=ims.test" };
            let params = ext.map_or(context.to_owned(), |ext| format!(";ext={ext}{context}"));
            let uri = TelUri { number: &number, params: UriParams::parse(&params).unwrap() };
            let text = uri.to_string();
            prop_assert_eq!(tel(&text), Ok(uri));
            prop_assert!(uri.equivalent(&uri));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = TelUri::parse_rest(&text);
        }
    }
}
