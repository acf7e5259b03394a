//! Percent escapes in URIs (RFC 3261 §19.1.2, RFC 2396 §2.4).

use std::borrow::Cow;

use crate::examined;
use crate::grammar::{Class, searched};

/// `reserved` of RFC 3261 §25.1: escaped and plain are two different things.
const RESERVED: Class = Class::of(b";/?:@&=+$,");
/// What a user part may hold unescaped: `unreserved` and `user-unreserved`.
pub(super) const USER: Class = Class::UNRESERVED.with(b"&=+$,;?/");

/// One character of an escaped text, as comparison sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// An octet that means itself, written plain or escaped.
    Plain(u8),
    /// An escaped octet of the reserved set.
    Escaped(u8),
}

impl Unit {
    fn lower(self) -> Self {
        match self {
            Self::Plain(octet) => Self::Plain(octet.to_ascii_lowercase()),
            Self::Escaped(octet) => Self::Escaped(octet),
        }
    }
}

/// Cuts `text` behind its longest front of octets of `class` and complete escapes.
#[inline]
pub(super) fn cut_escaped<'a>(text: &'a str, class: &Class) -> (&'a str, &'a str) {
    let plain = |rest: &[u8]| searched(rest, rest.iter().position(|octet| !class.contains(*octet)));
    let octets = text.as_bytes();
    let mut end = plain(octets).unwrap_or(octets.len());
    while let Some([b'%', high, low, tail @ ..]) = octets.get(end..)
        && high.is_ascii_hexdigit()
        && low.is_ascii_hexdigit()
    {
        end = octets.len() - tail.len() + plain(tail).unwrap_or(tail.len());
    }
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Whether `text` holds only octets of `class` and complete escapes. Empty text does.
pub(super) fn is_escaped(text: &str, class: &Class) -> bool {
    cut_escaped(text, class).1.is_empty()
}

/// Resolves every escape, once: `%25%34%31` becomes `%41` (RFC 4475 §3.1.1.3). An incomplete
/// escape stays as it is. The result may hold any octet, NUL included.
pub fn unescape(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    Cow::Owned(octets(text).map(|(octet, _)| octet).collect())
}

/// Escapes what may not stand plainly in the user part of a SIP URI (RFC 3261 §25.1, `user`).
pub fn escape_user(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for &octet in octets {
        push_escaped(&mut text, octet, USER);
    }
    text
}

/// Appends `octet`, escaped unless the class has it.
pub(super) fn push_escaped(text: &mut String, octet: u8, class: Class) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    if class.contains(octet) {
        text.push(char::from(octet));
        return;
    }
    text.push('%');
    text.extend(HEX.get(usize::from(octet >> 4)));
    text.extend(HEX.get(usize::from(octet & 15)));
}

/// The characters of `text` under the rule of RFC 3261 §19.1.4 that a character outside the
/// reserved set equals its escape.
pub(super) fn units(text: &str) -> impl Iterator<Item = Unit> {
    octets(text).map(|(octet, escaped)| {
        if escaped && RESERVED.contains(octet) { Unit::Escaped(octet) } else { Unit::Plain(octet) }
    })
}

/// Whether two texts are equal under [`units`].
pub(super) fn same(one: &str, two: &str) -> bool {
    units(one).eq(units(two))
}

/// Whether two texts are equal under [`units`], whatever the case of their letters.
pub(super) fn same_ignoring_case(one: &str, two: &str) -> bool {
    examined(one.len() + two.len());
    // Names of parameters, nearly all without an escape, are looked up here.
    one.eq_ignore_ascii_case(two)
        || one.bytes().chain(two.bytes()).any(|octet| octet == b'%')
            && units(one).map(Unit::lower).eq(units(two).map(Unit::lower))
}

/// The octets of `text` with escapes resolved, and whether each was one.
fn octets(text: &str) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || match rest {
        [] => None,
        [b'%', high, low, tail @ ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => {
                rest = tail;
                Some((high << 4 | low, true))
            }
            _ => {
                rest = rest.get(1..).unwrap_or_default();
                Some((b'%', false))
            }
        },
        [octet, tail @ ..] => {
            rest = tail;
            Some((*octet, false))
        }
    })
}

fn hex(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_resolved_once() {
        let table: [(&str, &[u8]); 6] = [
            ("sips%3Auser%40example.com", b"sips:user@example.com"), // RFC 4475 §3.1.1.3
            ("v%61lue%25%34%31", b"value%41"),                       // RFC 4475 §3.1.1.3
            ("null-%00-null", b"null-\x00-null"),                    // RFC 4475 §3.1.1.4
            ("%Z%45", b"%ZE"),
            ("%4", b"%4"),
            ("plain", b"plain"),
        ];
        for (text, plain) in table {
            assert_eq!(unescape(text).as_ref(), plain, "{text}");
        }
    }

    #[test]
    fn reserved_characters_differ_from_their_escape() {
        #[rustfmt::skip]
        let table = [
            ("%61lice", "alice",  true),
            ("a%20b",   "a%20b",  true),
            ("a%3bb",   "a%3Bb",  true),
            ("a%3Bb",   "a;b",    false),
            ("Alice",   "alice",  false),
            ("a",       "ab",     false),
        ];
        for (one, two, equal) in table {
            assert_eq!(same(one, two), equal, "{one} {two}");
        }
        assert!(same_ignoring_case("%41b", "aB"));
        assert!(!same_ignoring_case("%3B", ";"));
    }

    proptest! {
        #[test]
        fn unescaping_undoes_escaping(octets: Vec<u8>) {
            let text = escape_user(&octets);
            prop_assert!(is_escaped(&text, &USER));
            let plain = unescape(&text);
            prop_assert_eq!(plain.as_ref(), octets.as_slice());
        }

        #[test]
        fn never_panics(text: String) {
            let _ = (unescape(&text), is_escaped(&text, &USER), same(&text, &text));
        }
    }
}
