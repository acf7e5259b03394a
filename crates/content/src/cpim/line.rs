//! One line of the message headers (RFC 3862 §3.6).

use std::ops::Range;
use std::str;

use memchr::memchr;

use super::CpimError;
use crate::octets::{EACH, position};

/// The parts of a message header, borrowed from its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Empty without one.
    pub(super) prefix: &'a [u8],
    pub(super) name: &'a [u8],
    /// `;lang=fr` as written; empty without any.
    pub(super) parameters: &'a [u8],
    /// As written, without the blanks around it.
    pub(super) value: &'a str,
}

impl<'a> Line<'a> {
    /// Reads a line without its end.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, CpimError> {
        let text = str::from_utf8(line).map_err(|_| CpimError::NotUtf8)?;
        // A fold, not a search: it looks at many octets at once.
        let control = |found: bool, octet: &u8| found | (*octet < 0x20) | (*octet == 0x7f);
        if line.iter().fold(false, control) {
            return Err(CpimError::Control);
        }
        let colon = memchr(b':', line).ok_or(CpimError::NotAHeader)?;
        let (full, rest) = line.split_at_checked(colon).ok_or(CpimError::NotAHeader)?;
        let rest = rest.get(1..).unwrap_or_default();
        let dot = full.iter().position(|octet| *octet == b'.');
        let (prefix, name) = full.split_at_checked(dot.unwrap_or(0)).unwrap_or_default();
        let name = if dot.is_some() { name.get(1..).unwrap_or_default() } else { name };
        if !are_name(name) || (dot.is_some() && !are_name(prefix)) {
            return Err(CpimError::NotAHeader);
        }
        let parameters = rest.get(..parameters_len(rest)).unwrap_or_default();
        let value = text.get(colon + 1 + parameters.len()..).unwrap_or_default();
        Ok(Self { prefix, name, parameters, value: without_blanks(value) })
    }

    /// Whether its name within its namespace is `name`.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name.as_bytes()
    }

    /// Whether a prefix names its namespace. `NS` without one always declares: a default namespace
    /// declared by `NS: <uri>` must not make it impossible to declare another.
    pub(super) fn is_prefixed(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Prefix and URI of an `NS` header (§4.6); the prefix of the default namespace is empty.
    pub(super) fn declaration(&self) -> Result<(&'a [u8], &'a [u8]), CpimError> {
        let (prefix, uri) = cut(self.value.as_bytes(), b'<').ok_or(CpimError::Namespace)?;
        let (uri, after) = cut(uri, b'>').ok_or(CpimError::Namespace)?;
        let prefix = prefix.trim_ascii_end();
        if !after.is_empty() || uri.is_empty() || !(prefix.is_empty() || are_name(prefix)) {
            return Err(CpimError::Namespace);
        }
        Ok((prefix, uri))
    }
}

/// A line as it is written nearly always: a known name, one blank, nothing but printable ASCII,
/// and CRLF. [`Line::parse`] says the same of it.
pub(super) struct Usual<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// Its octets with CRLF.
    pub(super) len: usize,
}

/// The line that `octets` start with, if it is one of those.
pub(super) fn usual(octets: &[u8]) -> Option<Usual<'_>> {
    let (name, rest) = match octets.first()? {
        b'F' => (&b"From"[..], octets.strip_prefix(b"From: ")?),
        b'T' => (&b"To"[..], octets.strip_prefix(b"To: ")?),
        b'D' => (&b"DateTime"[..], octets.strip_prefix(b"DateTime: ")?),
        b'S' => (&b"Subject"[..], octets.strip_prefix(b"Subject: ")?),
        _ => return None,
    };
    let (value, end) = rest.split_at_checked(unprintable(rest)?)?;
    let is_trimmed = value.first().is_some_and(|octet| *octet != b' ')
        && value.last().is_some_and(|octet| *octet != b' ');
    let len = octets.len() - end.len() + 2;
    (is_trimmed && end.starts_with(b"\r\n")).then_some(Usual { name, value, len })
}

/// The first octet that is not printable ASCII.
#[inline]
fn unprintable(octets: &[u8]) -> Option<usize> {
    let outside = |word: u64| word.wrapping_sub(EACH * 0x20) | word | word.wrapping_add(EACH);
    position(octets, outside, |octet| !(0x20..0x7f).contains(&octet))
}

/// Where `part` stands in `line`, which begins at `start` of something larger.
pub(super) fn within(line: &[u8], part: &[u8], start: usize) -> Range<usize> {
    let at = (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize) + start;
    at..at + part.len()
}

/// Prefix and name of a header name; the prefix is empty without one.
pub(super) fn split_name(full: &str) -> (&str, &str) {
    full.split_once('.').unwrap_or(("", full))
}

/// Whether `text` is a `Name`: one or more `NAMECHAR` (§3.6).
pub(super) fn is_name(text: &str) -> bool {
    are_name(text.as_bytes())
}

fn are_name(octets: &[u8]) -> bool {
    let allowed = |octet: &u8| {
        octet.is_ascii_alphanumeric()
            || matches!(octet, 0x21 | 0x23..=0x27 | 0x2a..=0x2b | 0x2d | 0x5e..=0x60 | 0x7c | 0x7e)
    };
    !octets.is_empty() && octets.iter().all(allowed)
}

/// Whether `line` is a MIME header field although no empty line came before it.
pub(super) fn begins_mime(line: &[u8]) -> bool {
    if !matches!(line.first(), Some(b'c' | b'C' | b'm' | b'M')) {
        return false;
    }
    let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
    let name = name.trim_ascii_end();
    name.get(..8).is_some_and(|head| head.eq_ignore_ascii_case(b"content-"))
        && !name.contains(&b'.')
        || name.eq_ignore_ascii_case(b"mime-version")
}

/// How long the `*( ";" Parameter )` at the start of `rest` is; 0 when it is none (§3.6).
fn parameters_len(rest: &[u8]) -> usize {
    if rest.first() != Some(&b';') {
        return 0;
    }
    let mut quoted = false;
    let mut escaped = false;
    let mut end = rest.len();
    for (at, octet) in rest.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' if !quoted => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let first = rest.get(1..end).unwrap_or_default();
    // A Subject may begin with a smiley: without name and value it is no parameter.
    let name = cut(first, b'=').map_or(&b""[..], |(name, _)| name);
    if are_name(name) { end } else { 0 }
}

fn without_blanks(value: &str) -> &str {
    let octets = value.as_bytes();
    let start = octets.iter().position(|octet| *octet != b' ').unwrap_or(octets.len());
    let end = octets.iter().rposition(|octet| *octet != b' ').map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// What stands before and after the first `octet`.
fn cut(octets: &[u8], octet: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = octets.split_at_checked(memchr(octet, octets)?)?;
    Some((before, after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_usual() {
        let usual = |line: &'static str| {
            usual(line.as_bytes()).map(|line| (line.name, line.value, line.len))
        };
        let to = Some((&b"To"[..], &b"<im:b@c>"[..], 14));
        assert_eq!(usual("To: <im:b@c>\r\n"), to);
        assert_eq!(usual("To: <im:b@c>\r\n\r\n"), to);
        assert_eq!(usual("Subject: ;a\r\nTo"), Some((&b"Subject"[..], &b";a"[..], 13)));
        for line in [
            "",
            "To",
            "To: \r\n",
            "To:a\r\n",
            "To:;a=b c\r\n",
            "To:  a\r\n",
            "To: a \r\n",
            "to: a\r\n",
            "Ta: a\r\n",
            "cc: a\r\n",
            "To: a",
            "To: a\n",
            "To: a\r",
            "To: a\rb\r\n",
        ] {
            assert!(usual(line).is_none(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_usual_is_read_as_any_other(
            line in "(From|To|DateTime|Subject|Foo|a.To|T)(:|: |:  )[;= \"<>:.a\\u{e9}\\x01\\x7f]{0,9}",
        ) {
            let octets = format!("{line}\r\n");
            if let Some(Usual { name, value, len }) = usual(octets.as_bytes()) {
                let read = Line::parse(line.as_bytes()).unwrap();
                prop_assert_eq!((read.name, read.value.as_bytes()), (name, value));
                prop_assert!(read.prefix.is_empty() && read.parameters.is_empty());
                prop_assert_eq!(len, octets.len());
            }
        }

        #[test]
        fn finds_what_is_unprintable(
            octets in prop::collection::vec(
                prop_oneof![0x1E_u8..0x22, 0x7D_u8..0x82, any::<u8>(), Just(b'a')], 0..40,
            ),
        ) {
            let first = octets.iter().position(|octet| !(0x20..0x7f).contains(octet));
            prop_assert_eq!(unprintable(&octets), first);
        }
    }
}
