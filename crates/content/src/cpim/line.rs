//! One line of the message headers (RFC 3862 §3.6).

use std::ops::Range;

use super::CpimError;

/// The parts of a message header, borrowed from its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Empty without one.
    pub(super) prefix: &'a str,
    pub(super) name: &'a str,
    /// `;lang=fr` as written; empty without any.
    pub(super) parameters: &'a str,
    /// As written, without the blanks around it.
    pub(super) value: &'a str,
}

impl<'a> Line<'a> {
    /// Reads a line without its end.
    pub(super) fn parse(text: &'a str) -> Result<Self, CpimError> {
        // A fold, not a search: it looks at many octets at once.
        let control = |found: bool, octet: u8| found | (octet < 0x20) | (octet == 0x7f);
        if text.bytes().fold(false, control) {
            return Err(CpimError::Control);
        }
        let (full, rest) = text.split_once(':').ok_or(CpimError::NotAHeader)?;
        let (prefix, name) = split_name(full);
        let prefixed = full.len() > name.len();
        if !is_name(name) || (prefixed && !is_name(prefix)) {
            return Err(CpimError::NotAHeader);
        }
        let (parameters, value) = rest.split_at(parameters_len(rest));
        Ok(Self { prefix, name, parameters, value: value.trim_matches(' ') })
    }

    /// Whether its name within its namespace is `name`.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// Whether a prefix names its namespace. `NS` without one always declares: a default namespace
    /// declared by `NS: <uri>` must not make it impossible to declare another.
    pub(super) fn is_prefixed(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Prefix and URI of an `NS` header (§4.6); the prefix of the default namespace is empty.
    pub(super) fn declaration(&self) -> Result<(&'a str, &'a str), CpimError> {
        let (prefix, uri) = self.value.split_once('<').ok_or(CpimError::Namespace)?;
        let (uri, after) = uri.split_once('>').ok_or(CpimError::Namespace)?;
        let prefix = prefix.trim_end();
        if !after.is_empty() || uri.is_empty() || !(prefix.is_empty() || is_name(prefix)) {
            return Err(CpimError::Namespace);
        }
        Ok((prefix, uri))
    }
}

/// Where `part` stands in `text`, which begins at `start` of something larger.
pub(super) fn within(text: &str, part: &str, start: usize) -> Range<usize> {
    let at = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize) + start;
    at..at + part.len()
}

/// Prefix and name of a header name; the prefix is empty without one.
pub(super) fn split_name(full: &str) -> (&str, &str) {
    full.split_once('.').unwrap_or_else(|| full.split_at(0))
}

/// Whether `text` is a `Name`: one or more `NAMECHAR` (§3.6).
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |octet: u8| {
        octet.is_ascii_alphanumeric()
            || matches!(octet, 0x21 | 0x23..=0x27 | 0x2a..=0x2b | 0x2d | 0x5e..=0x60 | 0x7c | 0x7e)
    };
    !text.is_empty() && text.bytes().all(allowed)
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
fn parameters_len(rest: &str) -> usize {
    if !rest.starts_with(';') {
        return 0;
    }
    let mut quoted = false;
    let mut escaped = false;
    let mut end = rest.len();
    for (at, octet) in rest.bytes().enumerate() {
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
    let name = first.split_once('=').map_or("", |(name, _)| name);
    if is_name(name) { end } else { 0 }
}
