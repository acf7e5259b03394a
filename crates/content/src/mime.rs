//! The header fields of a MIME part (RFC 2045 §3, RFC 2183, RFC 3261 §20.11).

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;

use crate::media_type::{is_token, parameter};
use crate::{MediaType, MediaTypeError};

/// The header fields of one part: a small unfolded copy, the part itself keeps its octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MimeHeaders {
    text: String,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

/// Why the header fields of a part were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MimeError {
    /// A line is neither `name ":" value` nor the continuation of one.
    #[error("MIME header line is not a header field")]
    NotAField,
    /// The header fields are longer than the caller allows.
    #[error("MIME header fields are too long")]
    TooLong,
}

/// How a part without decoding relates to its octets (RFC 2045 §6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferEncoding {
    /// `7bit`, `8bit`, `binary` or no field: the octets are the content.
    Identity,
    /// `base64`.
    Base64,
    /// `quoted-printable`.
    QuotedPrintable,
    /// Any other value.
    Other(String),
}

/// What a receiver that does not understand a part must do (RFC 3261 §20.11, `handling`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handling {
    /// The whole message is refused (415). Also what a missing parameter means.
    Required,
    /// The part may be ignored.
    Optional,
    /// Any other value.
    Other(String),
}

/// The value of `Content-Disposition`, borrowed from the header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDisposition<'a> {
    kind: &'a str,
    rest: &'a str,
}

impl<'a> ContentDisposition<'a> {
    /// Reads a `Content-Disposition` value; every text is one.
    pub fn parse(value: &'a str) -> Self {
        let (kind, rest) = match value.find(';') {
            Some(at) => value.split_at(at),
            None => (value, ""),
        };
        Self { kind: kind.trim(), rest }
    }

    /// The disposition type as written: `render`, `session`, `recipient-list`, `notification`.
    pub fn kind(&self) -> &'a str {
        self.kind
    }

    /// Whether the disposition type is `kind`, whatever its case.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }

    /// The `handling` parameter; [`Handling::Required`] when it is missing (RFC 3261 §20.11).
    pub fn handling(&self) -> Handling {
        match parameter(self.rest, "handling") {
            None => Handling::Required,
            Some(value) if value.eq_ignore_ascii_case("required") => Handling::Required,
            Some(value) if value.eq_ignore_ascii_case("optional") => Handling::Optional,
            Some(value) => Handling::Other(value.into_owned()),
        }
    }

    /// The first parameter called `name`, whatever its case, unquoted.
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        parameter(self.rest, name)
    }
}

impl MimeHeaders {
    /// Reads header fields up to and including the empty line; gives them and the content after.
    ///
    /// Without an empty line everything is header fields and the content is empty (`body-part` of
    /// RFC 2046 §5.1.1). Lines end in CRLF; a bare LF is taken too. Octets that are not UTF-8 are
    /// replaced in this copy. More than `bytes_max` octets before the content are refused.
    pub fn parse(octets: &Bytes, bytes_max: usize) -> Result<(Self, Bytes), MimeError> {
        let mut headers = Self::default();
        let mut at = 0;
        while at < octets.len() {
            let rest = octets.get(at..).unwrap_or_default();
            let end = memchr(b'\n', rest);
            at += end.map_or(rest.len(), |end| end + 1);
            if at > bytes_max {
                return Err(MimeError::TooLong);
            }
            let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                break;
            }
            headers.push_line(&String::from_utf8_lossy(line))?;
        }
        Ok((headers, octets.slice(at.min(octets.len())..)))
    }

    /// The value of the first field called `name`, whatever its case, unfolded and trimmed.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Every field, name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (self.slice(&field.name), self.slice(&field.value)))
    }

    /// `Content-Type`; `None` without the field.
    pub fn content_type(&self) -> Option<Result<MediaType<'_>, MediaTypeError>> {
        self.value("Content-Type").map(MediaType::parse)
    }

    /// Whether `Content-Type` is `essence` (`type/subtype`), whatever its case and parameters.
    pub fn is_type(&self, essence: &str) -> bool {
        matches!(self.content_type(), Some(Ok(media)) if media.is(essence))
    }

    /// `Content-Disposition`; `None` without the field.
    pub fn content_disposition(&self) -> Option<ContentDisposition<'_>> {
        self.value("Content-Disposition").map(ContentDisposition::parse)
    }

    /// `Content-ID` without its angle brackets (RFC 2392 §2); `None` without the field.
    pub fn content_id(&self) -> Option<&str> {
        let value = self.value("Content-ID")?;
        Some(value.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(value))
    }

    /// `Content-Transfer-Encoding`; [`TransferEncoding::Identity`] without the field.
    pub fn transfer_encoding(&self) -> TransferEncoding {
        let value = self.value("Content-Transfer-Encoding").unwrap_or("binary");
        match value.to_ascii_lowercase().as_str() {
            "7bit" | "8bit" | "binary" => TransferEncoding::Identity,
            "base64" => TransferEncoding::Base64,
            "quoted-printable" => TransferEncoding::QuotedPrintable,
            _ => TransferEncoding::Other(value.to_owned()),
        }
    }

    fn push_line(&mut self, line: &str) -> Result<(), MimeError> {
        if line.starts_with([' ', '\t']) {
            // obs-fold: the line continues the value of the field before it (RFC 822 §3.1.1).
            let field = self.fields.last_mut().ok_or(MimeError::NotAField)?;
            let more = line.trim();
            if !more.is_empty() {
                if !field.value.is_empty() {
                    self.text.push(' ');
                } else {
                    field.value.start = self.text.len();
                }
                self.text.push_str(more);
                field.value.end = self.text.len();
            }
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or(MimeError::NotAField)?;
        let (name, value) = (name.trim_end(), value.trim());
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(MimeError::NotAField);
        }
        let name = self.push(name);
        let value = self.push(value);
        self.fields.push(Field { name, value });
        Ok(())
    }

    fn push(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    fn slice(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(octets: &'static [u8]) -> Result<(MimeHeaders, Bytes), MimeError> {
        MimeHeaders::parse(&Bytes::from_static(octets), 4096)
    }

    #[test]
    fn parses_fields_and_leaves_the_content() {
        let (headers, content) = parse(
            b"Content-Type: multipart/mixed;\r\n   boundary=\"b\"\r\nContent-ID:<a@b>\r\n\
              content-disposition: recipient-list;handling=optional\r\n\r\n\x00body\r\n",
        )
        .unwrap();
        assert_eq!(headers.value("CONTENT-TYPE"), Some("multipart/mixed; boundary=\"b\""));
        assert_eq!(headers.content_id(), Some("a@b"));
        let disposition = headers.content_disposition().unwrap();
        assert!(disposition.is("Recipient-List"));
        assert_eq!(disposition.handling(), Handling::Optional);
        assert_eq!(headers.transfer_encoding(), TransferEncoding::Identity);
        assert_eq!(headers.iter().count(), 3);
        assert_eq!(&content[..], b"\x00body\r\n");
    }

    #[test]
    fn handling_defaults_to_required() {
        #[rustfmt::skip]
        let table = [
            ("session",                    Handling::Required),
            ("session;handling=required",  Handling::Required),
            ("session; Handling=OPTIONAL", Handling::Optional),
            ("session;handling=perhaps",   Handling::Other("perhaps".to_owned())),
        ];
        for (value, handling) in table {
            assert_eq!(ContentDisposition::parse(value).handling(), handling, "{value}");
        }
    }

    #[test]
    fn transfer_encodings_are_told_apart() {
        #[rustfmt::skip]
        let table: [(&'static [u8], _); 4] = [
            (b"Content-Transfer-Encoding: BINARY\r\n",           TransferEncoding::Identity),
            (b"Content-Transfer-Encoding: Base64\r\n",           TransferEncoding::Base64),
            (b"Content-Transfer-Encoding: quoted-printable\r\n", TransferEncoding::QuotedPrintable),
            (b"Content-Transfer-Encoding: x-y\r\n", TransferEncoding::Other("x-y".to_owned())),
        ];
        for (octets, encoding) in table {
            assert_eq!(parse(octets).unwrap().0.transfer_encoding(), encoding);
        }
    }

    #[test]
    fn edges() {
        #[rustfmt::skip]
        let table: [(&'static [u8], usize, &[u8]); 6] = [
            (b"",                 0, b""),
            (b"\r\nbody",         0, b"body"),
            (b"A: b",             1, b""),     // no empty line: no content
            (b"A: b\r\n",         1, b""),
            (b"A: b\n\nbody",     1, b"body"), // bare LF
            (b"A:\r\n b\r\n\r\n", 1, b""),
        ];
        for (octets, fields, body) in table {
            let (headers, content) = parse(octets).unwrap();
            assert_eq!((headers.iter().count(), &content[..]), (fields, body), "{octets:?}");
        }
        assert_eq!(parse(b"A:\r\n b\r\n\r\n").unwrap().0.value("a"), Some("b"));
    }

    #[test]
    fn refuses() {
        #[rustfmt::skip]
        let table: [(&'static [u8], MimeError); 4] = [
            (b"no colon\r\n\r\n", MimeError::NotAField),
            (b" folded\r\n\r\n",  MimeError::NotAField),
            (b": b\r\n\r\n",      MimeError::NotAField),
            (b"a b: c\r\n\r\n",   MimeError::NotAField),
        ];
        for (octets, error) in table {
            assert_eq!(parse(octets), Err(error), "{octets:?}");
        }
    }

    #[test]
    fn the_limit_counts_the_empty_line() {
        let octets = Bytes::from_static(b"A: b\r\n\r\nbody");
        assert!(MimeHeaders::parse(&octets, 8).is_ok());
        assert_eq!(MimeHeaders::parse(&octets, 7), Err(MimeError::TooLong));
    }

    proptest! {
        #[test]
        fn never_panics(octets: Vec<u8>, text in "[a:; \r\n\t]{0,60}") {
            let _ = MimeHeaders::parse(&Bytes::from(octets), 64);
            let _ = MimeHeaders::parse(&Bytes::from(text), 64);
        }
    }
}
