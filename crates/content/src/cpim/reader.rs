//! Reading the headers of a body that arrives in pieces, for whoever passes it on.
//!
//! A switch needs the sender, the recipient and the media type of the content, and all of that
//! before it has the rest of the message (RFC 7701 §6.1). Nothing is copied and nothing is looked
//! at twice, however small the pieces are.

use std::ops::Range;
use std::str;

use memchr::memchr;

use super::line::{Usual, usual};
use super::{Address, CORE_NAMESPACE, CpimError, Limits, Line, begins_mime, within};
use crate::media_type::is_token;
use crate::{ContentDisposition, MimeError};

/// Reads the headers of one body.
///
/// Hand it the body from its start as far as it is there, again after each piece, until it gives
/// the [`Envelope`].
#[derive(Clone, Debug)]
pub struct Reader {
    /// Where the line begins that is not read yet.
    line: usize,
    /// How far its end was looked for.
    searched: usize,
    /// Message headers so far.
    headers: usize,
    section: Section,
    /// Whether a name without prefix is one of the core namespace.
    bare_is_core: bool,
    /// The prefixes that mean the core namespace; hardly anybody declares one.
    core: Vec<Range<usize>>,
    envelope: Envelope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Message,
    /// The MIME header fields, which begin here, and what the latest of them is.
    Mime(usize, MimeField),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MimeField {
    None,
    ContentType,
    ContentDisposition,
    Other,
}

/// What the headers of a body say about where it goes, as places in its octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// How many `From` headers there are. RFC 3862 §4.1 has one.
    pub from_count: usize,
    /// The whole value of the first `From`, display name and brackets included.
    pub from_value: Range<usize>,
    /// The URI in it; empty when the value is no address.
    pub from: Range<usize>,
    /// How many `To` headers there are.
    pub to_count: usize,
    /// The whole value of the first `To`.
    pub to_value: Range<usize>,
    /// The URI in it; empty when the value is no address.
    pub to: Range<usize>,
    /// The value of `Content-Type` among the MIME header fields as written, folds included; empty
    /// without the field.
    pub content_type: Range<usize>,
    content_disposition: Range<usize>,
    /// Where the content begins.
    pub content: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            line: 0,
            searched: 0,
            headers: 0,
            section: Section::Message,
            bare_is_core: true,
            core: Vec::new(),
            envelope: Envelope::default(),
        }
    }
}

impl Reader {
    /// Reads on. `octets` is the body from its first octet as far as it has arrived, `is_all` says
    /// that nothing follows. `None` asks for more; it is never the answer when `is_all`.
    ///
    /// # Errors
    /// As [`super::Cpim::parse`]; [`CpimError::TooLong`] as soon as that is certain.
    pub fn read(
        &mut self,
        octets: &[u8],
        is_all: bool,
        limits: &Limits,
    ) -> Result<Option<Envelope>, CpimError> {
        loop {
            if self.usual_header(octets, limits)? {
                continue;
            }
            let unsearched = octets.get(self.searched..).unwrap_or_default();
            let end = match memchr(b'\n', unsearched) {
                Some(at) => self.searched + at + 1,
                None if is_all => octets.len(),
                None => {
                    self.searched = octets.len();
                    // The empty line ends the headers and is none of them.
                    let ended = octets.get(self.line..).is_some_and(|rest| rest == b"\r");
                    self.check_length(octets.len() - usize::from(ended), limits)?;
                    return Ok(None);
                }
            };
            let line = octets.get(self.line..end).unwrap_or_default();
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if self.take(octets, line, end, limits)? {
                return Ok(Some(std::mem::take(&mut self.envelope)));
            }
            self.line = end;
            self.searched = end;
        }
    }

    /// Takes one line, which with its end goes up to `end`; whether it was the last.
    fn take(
        &mut self,
        octets: &[u8],
        line: &[u8],
        end: usize,
        limits: &Limits,
    ) -> Result<bool, CpimError> {
        if self.section == Section::Message {
            if !line.is_empty() && !begins_mime(line) {
                self.count_header(end, limits)?;
                return self.message_header(octets, line).map(|()| false);
            }
            let begin = if line.is_empty() { end } else { self.line };
            self.section = Section::Mime(begin, MimeField::None);
            if line.is_empty() {
                // Without anything behind it there are no MIME header fields and no content.
                self.envelope.content = end;
                return Ok(false);
            }
        }
        self.check_length(end, limits)?;
        self.envelope.content = end;
        if line.is_empty() {
            return Ok(true);
        }
        self.mime_field(line)?;
        Ok(false)
    }

    fn check_length(&self, end: usize, limits: &Limits) -> Result<(), CpimError> {
        match self.section {
            Section::Message if end > limits.header_bytes_max => Err(CpimError::TooLong),
            Section::Mime(begin, _) if end - begin > limits.header_bytes_max => {
                Err(MimeError::TooLong.into())
            }
            Section::Message | Section::Mime(..) => Ok(()),
        }
    }

    /// Takes the message header that the next line is, when it is written as usual; whether it was.
    fn usual_header(&mut self, octets: &[u8], limits: &Limits) -> Result<bool, CpimError> {
        let is_new = self.searched == self.line;
        if !is_new || self.section != Section::Message || !self.bare_is_core {
            return Ok(false);
        }
        let rest = octets.get(self.line..).unwrap_or_default();
        let Some(Usual { name, value, len }) = usual(rest) else { return Ok(false) };
        let end = self.line + len;
        self.count_header(end, limits)?;
        self.address(rest, name, value);
        (self.line, self.searched) = (end, end);
        Ok(true)
    }

    /// Counts a message header that goes up to `end`.
    fn count_header(&mut self, end: usize, limits: &Limits) -> Result<(), CpimError> {
        if self.headers == limits.headers_max {
            return Err(CpimError::TooLong);
        }
        self.headers += 1;
        self.check_length(end, limits)
    }

    fn message_header(&mut self, octets: &[u8], line: &[u8]) -> Result<(), CpimError> {
        let read = Line::parse(line)?;
        let is_core = !read.is_prefixed() || self.means_core(octets, read.prefix);
        if is_core && read.is("NS") {
            return self.declare(octets, line, &read);
        }
        if !is_core || (!read.is_prefixed() && !self.bare_is_core) {
            return Ok(());
        }
        self.address(line, read.name, read.value.as_bytes());
        Ok(())
    }

    /// Takes a header of the core namespace, which tells an address if it is `From` or `To`.
    fn address(&mut self, line: &[u8], name: &[u8], value: &[u8]) {
        let Envelope { from_count, from_value, from, to_count, to_value, to, .. } =
            &mut self.envelope;
        let (count, whole, uri) = match name {
            b"From" => (from_count, from_value, from),
            b"To" => (to_count, to_value, to),
            _ => return,
        };
        *count += 1;
        if *count == 1 {
            *whole = within(line, value, self.line);
            *uri = Address::uri_in(value).map_or(0..0, |uri| within(line, uri, self.line));
        }
    }

    fn declare(&mut self, octets: &[u8], line: &[u8], read: &Line<'_>) -> Result<(), CpimError> {
        let (prefix, uri) = read.declaration()?;
        let is_core = uri == CORE_NAMESPACE.as_bytes();
        if prefix.is_empty() {
            self.bare_is_core = is_core;
        } else {
            self.core.retain(|known| octets.get(known.clone()) != Some(prefix));
            if is_core {
                self.core.push(within(line, prefix, self.line));
            }
        }
        Ok(())
    }

    fn means_core(&self, octets: &[u8], prefix: &[u8]) -> bool {
        self.core.iter().any(|known| octets.get(known.clone()) == Some(prefix))
    }

    fn mime_field(&mut self, line: &[u8]) -> Result<(), CpimError> {
        let Section::Mime(begin, latest) = self.section else { return Ok(()) };
        let bad = CpimError::Content(MimeError::NotAField);
        let envelope = &mut self.envelope;
        let known = match latest {
            MimeField::ContentType => Some(&mut envelope.content_type),
            MimeField::ContentDisposition => Some(&mut envelope.content_disposition),
            MimeField::None | MimeField::Other => None,
        };
        if matches!(line.first(), Some(b' ' | b'\t')) {
            if latest == MimeField::None {
                return Err(bad);
            }
            // The value goes on (RFC 822 §3.1.1).
            if let Some(value) = known
                && !line.trim_ascii().is_empty()
            {
                if value.start == value.end {
                    value.start = self.line + (line.len() - line.trim_ascii_start().len());
                }
                value.end = self.line + line.trim_ascii_end().len();
            }
            return Ok(());
        }
        let (name, value) = match line.strip_prefix(b"Content-Type:") {
            Some(value) => (&b"Content-Type"[..], value),
            None => name_and_value(line).ok_or(bad)?,
        };
        let start = self.line + line.len() - value.trim_ascii_start().len();
        let value = start..start + value.trim_ascii().len();
        // The first of a name counts, as for `MimeHeaders::value`.
        let is = |known: &str, seen: &Range<usize>| {
            name.eq_ignore_ascii_case(known.as_bytes()) && seen.start == 0
        };
        let field = if is("Content-Type", &envelope.content_type) {
            envelope.content_type = value;
            MimeField::ContentType
        } else if is("Content-Disposition", &envelope.content_disposition) {
            envelope.content_disposition = value;
            MimeField::ContentDisposition
        } else {
            MimeField::Other
        };
        self.section = Section::Mime(begin, field);
        Ok(())
    }
}

/// The parts of a MIME header field.
fn name_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
    let name = name.trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(|octet| is_token(*octet));
    is_name.then(|| (name, value.get(1..).unwrap_or_default()))
}

impl Envelope {
    /// The media type of the content without its parameters, as written; `None` when it is not
    /// told.
    pub fn media_type<'a>(&self, octets: &'a [u8]) -> Option<&'a str> {
        let value = octets.get(self.content_type.clone())?;
        let end = memchr(b';', value).unwrap_or(value.len());
        let text = str::from_utf8(value.get(..end)?).ok()?.trim_ascii();
        (!text.is_empty()).then_some(text)
    }

    /// Whether the content, whose media type is `media_type`, is a disposition notification or an
    /// aggregate of some, as far as the headers tell (RFC 5438 §9).
    pub fn is_imdn(&self, octets: &[u8], media_type: Option<&str>) -> bool {
        let is_imdn = |media: &str| media.eq_ignore_ascii_case(crate::imdn::MEDIA_TYPE);
        let disposition = octets.get(self.content_disposition.clone()).unwrap_or_default();
        let is_notification = |disposition: &[u8]| {
            str::from_utf8(disposition)
                .is_ok_and(|value| ContentDisposition::parse(value).is("notification"))
        };
        media_type.is_some_and(is_imdn) || (!disposition.is_empty() && is_notification(disposition))
    }

    /// The first `From` and `To` as a body of their own, without content: it tells which message is
    /// meant (RFC 7701 §6.2).
    pub fn from_and_to(&self, octets: &[u8]) -> Vec<u8> {
        let from = octets.get(self.from_value.clone()).unwrap_or_default();
        let to = octets.get(self.to_value.clone()).unwrap_or_default();
        [b"From: ", from, b"\r\nTo: ", to, b"\r\n\r\n"].concat()
    }

    /// Appends `octets`, the beginning of the body with at least its headers, where the sender is
    /// `uri` without display name; no other octet changes.
    ///
    /// RFC 7701 §5.2: whoever takes part under an anonymous URI is known by that alone.
    pub fn write_as_from(&self, octets: &[u8], uri: &str, to: &mut Vec<u8>) {
        to.extend_from_slice(octets.get(..self.from_value.start).unwrap_or_default());
        to.push(b'<');
        to.extend_from_slice(uri.as_bytes());
        to.push(b'>');
        to.extend_from_slice(octets.get(self.from_value.end..).unwrap_or_default());
    }

    /// How many octets the body gets longer by [`Envelope::write_as_from`]: what all its positions
    /// behind the headers are shifted by.
    pub fn longer_as_from(&self, uri: &str) -> i64 {
        // Both are bounded by the limits of a head, far below what an i64 holds.
        let length = |octets: usize| i64::try_from(octets).unwrap_or(i64::MAX);
        length(uri.len() + 2) - length(self.from_value.len())
    }
}

#[cfg(test)]
mod tests;
