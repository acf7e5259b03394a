//! The value of `Content-Type`, and the `;name=value` parameters it shares with
//! `Content-Disposition` (RFC 2045 §5.1, RFC 3261 §20.15).

use std::borrow::Cow;
use std::fmt;

/// A media type with its parameters, borrowed from a header field value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    kind: &'a str,
    subtype: &'a str,
    rest: &'a str,
}

/// Why a `Content-Type` value was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaTypeError {
    /// The value does not begin with `type "/" subtype`.
    #[error("media type is not type/subtype")]
    Shape,
    /// The type or the subtype has a character that no token may have.
    #[error("media type has a character outside token")]
    Token,
}

impl<'a> MediaType<'a> {
    /// Reads a `Content-Type` value. Parameters are looked at when asked for, not before.
    pub fn parse(value: &'a str) -> Result<Self, MediaTypeError> {
        let (essence, rest) = match value.find(';') {
            Some(at) => value.split_at(at),
            None => (value, ""),
        };
        let (kind, subtype) = essence.split_once('/').ok_or(MediaTypeError::Shape)?;
        let (kind, subtype) = (kind.trim(), subtype.trim());
        if kind.is_empty() || subtype.is_empty() {
            return Err(MediaTypeError::Shape);
        }
        if !kind.bytes().chain(subtype.bytes()).all(is_token) {
            return Err(MediaTypeError::Token);
        }
        Ok(Self { kind, subtype, rest })
    }

    /// The top-level type as written, `message` in `message/cpim`.
    pub fn kind(&self) -> &'a str {
        self.kind
    }

    /// The subtype as written, `cpim` in `message/cpim`.
    pub fn subtype(&self) -> &'a str {
        self.subtype
    }

    /// Whether this is `essence`, `type/subtype` without parameters, whatever its case.
    pub fn is(&self, essence: &str) -> bool {
        essence.split_once('/').is_some_and(|(kind, subtype)| {
            self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
        })
    }

    /// Whether the top-level type is `multipart`.
    pub fn is_multipart(&self) -> bool {
        self.kind.eq_ignore_ascii_case("multipart")
    }

    /// The first parameter called `name`, whatever its case, unquoted; empty when it has no value.
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        parameter(self.rest, name)
    }
}

impl fmt::Display for MediaType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.kind, self.subtype, self.rest)
    }
}

/// Whether `octet` may stand in a token of a MIME header field (RFC 2045 §5.1).
pub(crate) fn is_token(octet: u8) -> bool {
    // Not a search in a list: a name has many octets.
    let special = matches!(
        octet,
        b'(' | b')'
            | b'<'
            | b'>'
            | b'@'
            | b','
            | b';'
            | b':'
            | b'\\'
            | b'"'
            | b'/'
            | b'['
            | b']'
            | b'?'
            | b'='
    );
    octet.is_ascii_graphic() && !special
}

/// The first parameter called `name` in `rest`, which begins at a `;` or is empty.
pub(crate) fn parameter<'a>(rest: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut rest = rest;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        if rest.is_empty() {
            return None;
        }
        let (one, more) = rest.split_at(parameter_end(rest));
        rest = more;
        let (found, value) = one.split_once('=').unwrap_or((one, ""));
        if found.trim().eq_ignore_ascii_case(name) {
            return Some(unquoted(value.trim()));
        }
    }
}

/// Where the parameter at the start of `rest` ends: the next `;` outside quotes, or the end.
fn parameter_end(rest: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, octet) in rest.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => return at,
            _ => {}
        }
    }
    rest.len()
}

/// `value` without its quotes and quoted-pairs, or as it is when it has none.
fn unquoted(value: &str) -> Cow<'_, str> {
    let Some(inner) = value.strip_prefix('"') else { return Cow::Borrowed(value) };
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            ("message/cpim",                               "message/cpim",    None),
            ("Message/CPIM",                               "message/cpim",    None),
            ("multipart/mixed;boundary=\"b3p\"",           "multipart/mixed", Some("b3p")),
            ("multipart/mixed; boundary=gc0pJq0M",         "multipart/mixed", Some("gc0pJq0M")),
            ("multipart/mixed; Boundary = \"a;b\" ; x=y",  "multipart/mixed", Some("a;b")),
            ("multipart/mixed; x=\"\\\";\";boundary=b",    "multipart/mixed", Some("b")),
            ("multipart/mixed; boundary=\"a\\\"b\"",       "multipart/mixed", Some("a\"b")),
            ("multipart/mixed; boundary",                  "multipart/mixed", Some("")),
            ("multipart/mixed; xboundary=q;;",             "multipart/mixed", None),
        ];
        for (value, essence, boundary) in table {
            let media = MediaType::parse(value).unwrap();
            assert!(media.is(essence), "{value}");
            assert_eq!(media.parameter("boundary").as_deref(), boundary, "{value}");
        }
    }

    #[test]
    fn refuses() {
        #[rustfmt::skip]
        let table = [
            ("",             MediaTypeError::Shape),
            ("text",         MediaTypeError::Shape),
            ("/plain",       MediaTypeError::Shape),
            ("text/",        MediaTypeError::Shape),
            ("text/;a=b/c",  MediaTypeError::Shape),
            ("te xt/plain",  MediaTypeError::Token),
            ("text/pl/ain",  MediaTypeError::Token),
        ];
        for (value, error) in table {
            assert_eq!(MediaType::parse(value), Err(error), "{value}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            kind in "[a-z0-9.+-]{1,9}", subtype in "[a-z0-9.+-]{1,9}",
            rest in "(;[a-z]{1,3}=[a-z\"; ]{0,9}){0,3}",
        ) {
            let media = MediaType { kind: &kind, subtype: &subtype, rest: &rest };
            let text = media.to_string();
            prop_assert_eq!(MediaType::parse(&text), Ok(media));
        }

        #[test]
        fn never_panics(value: String, rest in "[;=\" \\\\a-c]{0,40}") {
            if let Ok(media) = MediaType::parse(&value) {
                let _ = media.parameter("boundary");
            }
            let _ = parameter(&rest, "a");
        }
    }
}
