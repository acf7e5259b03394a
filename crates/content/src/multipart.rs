//! Bodies of several parts (RFC 2046 §5.1, RFC 5621).
//!
//! The parts are slices of the body. A delimiter is CRLF, `--`, the boundary, optional blanks and
//! a CRLF, or the end of the body; text that only begins with the boundary is content, so that an
//! inner boundary may extend an outer one.

mod builder;

use bytes::Bytes;
use memchr::memmem::Finder;

pub use self::builder::{BuildError, Builder, Built, NewPart};
use crate::{MediaType, MimeError, MimeHeaders};

/// Bounds on what is read. All are local limits; the RFC sets none but the boundary's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Parts in one body. Default 32: a SIP message has two or three. More are refused.
    pub parts_max: usize,
    /// Octets of header fields in one part. Default 4096. More are refused.
    pub header_bytes_max: usize,
    /// Bodies within bodies, the outermost counted as 1. Default 4. Deeper ones are refused.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { parts_max: 32, header_bytes_max: 4096, depth_max: 4 }
    }
}

/// A `multipart/*` body, split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    parts: Vec<Part>,
    closed: bool,
}

/// One part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its header fields; none means `text/plain` (RFC 2046 §5.1).
    pub headers: MimeHeaders,
    /// Its content, octet for octet.
    pub body: Bytes,
    depth: usize,
}

/// Why a body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The media type is not `multipart/*`.
    #[error("media type is not multipart")]
    NotMultipart,
    /// `boundary` is missing, empty, longer than 70 characters, or not of the characters allowed.
    #[error("boundary parameter is missing or not allowed")]
    Boundary,
    /// The body has no delimiter.
    #[error("body has no boundary delimiter")]
    NoDelimiter,
    /// More parts than [`Limits::parts_max`].
    #[error("body has too many parts")]
    TooManyParts,
    /// More bodies within bodies than [`Limits::depth_max`].
    #[error("bodies are nested too deep")]
    TooDeep,
    /// The header fields of a part are wrong.
    #[error("part: {0}")]
    Part(#[from] MimeError),
}

impl Multipart {
    /// Splits `body` at the `boundary` of `content_type`.
    ///
    /// Preamble and epilogue are dropped. A body without close delimiter ends with its last octet
    /// (RFC 5438 §8.3 shows one); [`Multipart::is_closed`] tells.
    pub fn parse(
        content_type: &MediaType<'_>,
        body: &Bytes,
        limits: &Limits,
    ) -> Result<Self, MultipartError> {
        Self::parse_at(content_type, body, limits, 1)
    }

    /// The parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The parts, given away.
    pub fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    /// Whether the body had its close delimiter.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn parse_at(
        content_type: &MediaType<'_>,
        body: &Bytes,
        limits: &Limits,
        depth: usize,
    ) -> Result<Self, MultipartError> {
        if !content_type.is_multipart() {
            return Err(MultipartError::NotMultipart);
        }
        if depth > limits.depth_max {
            return Err(MultipartError::TooDeep);
        }
        let boundary = content_type.parameter("boundary").ok_or(MultipartError::Boundary)?;
        let boundary = boundary.trim_end();
        if !is_boundary(boundary) {
            return Err(MultipartError::Boundary);
        }
        let delimiters = Delimiters::new(body, boundary);
        let mut next = delimiters.first().ok_or(MultipartError::NoDelimiter)?;
        let mut parts = Vec::new();
        while !next.close {
            let following = delimiters.after(next.line_end);
            let start = next.content;
            // The CRLF that ends one delimiter may begin the next: then the part is empty.
            let end = following.as_ref().map_or(body.len(), |found| found.start).max(start);
            if following.is_none() && start == end {
                break;
            }
            if parts.len() == limits.parts_max {
                return Err(MultipartError::TooManyParts);
            }
            let (headers, content) =
                MimeHeaders::parse(&body.slice(start..end), limits.header_bytes_max)?;
            parts.push(Part { headers, body: content, depth });
            match following {
                Some(found) => next = found,
                None => return Ok(Self { parts, closed: false }),
            }
        }
        Ok(Self { parts, closed: next.close })
    }
}

impl Part {
    /// The media type of the part; `text/plain` without `Content-Type`, `None` when it is wrong.
    pub fn media_type(&self) -> Option<MediaType<'_>> {
        match self.headers.content_type() {
            Some(read) => read.ok(),
            None => MediaType::parse("text/plain").ok(),
        }
    }

    /// Splits the part when it is itself `multipart/*`; `None` when it is not.
    pub fn nested(&self, limits: &Limits) -> Option<Result<Multipart, MultipartError>> {
        let media = self.media_type().filter(MediaType::is_multipart)?;
        Some(Multipart::parse_at(&media, &self.body, limits, self.depth + 1))
    }
}

/// Whether `text` may be a boundary: 1 to 70 of `bchars`, no blank at the end (RFC 2046 §5.1.1).
fn is_boundary(text: &str) -> bool {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&octet);
    (1..=70).contains(&text.len()) && text.bytes().all(allowed) && !text.ends_with(' ')
}

/// One delimiter line.
struct Delimiter {
    /// Where the CRLF before it starts, which belongs to it.
    start: usize,
    /// Where the CRLF after it starts.
    line_end: usize,
    /// Where what follows it starts.
    content: usize,
    close: bool,
}

struct Delimiters<'a> {
    body: &'a [u8],
    finder: Finder<'a>,
    needle_len: usize,
}

impl<'a> Delimiters<'a> {
    fn new(body: &'a [u8], boundary: &str) -> Self {
        let needle = format!("\r\n--{boundary}");
        Self { body, finder: Finder::new(&needle).into_owned(), needle_len: needle.len() }
    }

    /// The first delimiter; only this one may stand at the very start, without CRLF before it.
    fn first(&self) -> Option<Delimiter> {
        let dashes = self.finder.needle().get(2..).unwrap_or_default();
        if self.body.starts_with(dashes)
            && let Some(found) = self.delimiter(0, dashes.len())
        {
            return Some(found);
        }
        self.after(0)
    }

    /// The first delimiter at or after `from`.
    fn after(&self, from: usize) -> Option<Delimiter> {
        let mut from = from;
        loop {
            let start = from + self.finder.find(self.body.get(from..)?)?;
            let after = start + self.needle_len;
            if let Some(found) = self.delimiter(start, after) {
                return Some(found);
            }
            from = after;
        }
    }

    /// The delimiter from `start` whose boundary ends at `at`, if its line ends as one must.
    fn delimiter(&self, start: usize, at: usize) -> Option<Delimiter> {
        let rest = self.body.get(at..)?;
        let (rest, close) = match rest.strip_prefix(b"--") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let padding = rest.iter().take_while(|octet| b" \t".contains(octet)).count();
        let rest = rest.get(padding..)?;
        let line_end = self.body.len() - rest.len();
        match rest {
            [] => Some(Delimiter { start, line_end, content: line_end, close }),
            [b'\r', b'\n', ..] => Some(Delimiter { start, line_end, content: line_end + 2, close }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(boundary: &str, body: &'static [u8]) -> Result<Multipart, MultipartError> {
        let value = format!("multipart/mixed;boundary=\"{boundary}\"");
        let media = MediaType::parse(&value).unwrap();
        Multipart::parse(&media, &Bytes::from_static(body), &Limits::default())
    }

    fn bodies(boundary: &str, body: &'static [u8]) -> Vec<Vec<u8>> {
        let parts = split(boundary, body).unwrap().into_parts();
        parts.into_iter().map(|part| part.body.to_vec()).collect()
    }

    #[test]
    fn preamble_and_epilogue_are_dropped() {
        // RFC 2046 §5.1.1, the "simple boundary" example.
        let body = b"This is the preamble.\r\n--simple boundary\r\n\r\n\
            It does NOT end with a linebreak.\r\n--simple boundary\r\n\
            Content-type: text/plain; charset=us-ascii\r\n\r\nIt DOES.\r\n\r\n\
            --simple boundary--\r\nThis is the epilogue.\r\n--simple boundary\r\n\r\nx";
        let read = split("simple boundary", body).unwrap();
        assert!(read.is_closed());
        let parts = read.parts();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].headers.iter().count(), 0);
        assert!(parts[0].media_type().unwrap().is("text/plain"));
        assert_eq!(&parts[0].body[..], b"It does NOT end with a linebreak.");
        assert_eq!(&parts[1].body[..], b"It DOES.\r\n");
    }

    #[test]
    fn splits_at_delimiters_only() {
        #[rustfmt::skip]
        let table: [(&'static [u8], Vec<&[u8]>); 11] = [
            (b"--b\r\n\r\none\r\n--b--",                 vec![b"one"]),
            (b"--b \t\r\n\r\none\r\n--b-- \r\n",         vec![b"one"]),       // padding
            (b"--b\r\n\r\none\r\n--bb\r\n--b--",         vec![b"one\r\n--bb"]), // a longer boundary
            (b"--b\r\n\r\none\r\n--b-x\r\n--b--",        vec![b"one\r\n--b-x"]),
            (b"--b\r\n\r\none\n--b--\r\n--b--",          vec![b"one\n--b--"]), // LF is no line end
            (b"--b\r\n\r\n\x00\xff\r\r\n\r\n--b--",      vec![b"\x00\xff\r\r\n"]),
            (b"--b\r\n--b--",                            vec![b""]),
            (b"--b\r\n\r\n--b\r\n\r\n\r\n--b--",         vec![b"", b""]),
            (b"--b\r\n\r\none\r\n--b\r\n\r\ntwo",        vec![b"one", b"two"]), // not closed
            (b"--b\r\n\r\none\r\n--b\r\n",               vec![b"one"]),         // RFC 5438 §8.3
            (b"--b--",                                   vec![]),
        ];
        for (body, expect) in table {
            assert_eq!(bodies("b", body), expect, "{:?}", String::from_utf8_lossy(body));
        }
        assert!(!split("b", b"--b\r\n\r\none\r\n--b\r\n").unwrap().is_closed());
        assert!(!split("b", b"--b\r\n\r\none").unwrap().is_closed());
    }

    #[test]
    fn refuses() {
        let plain = MediaType::parse("text/plain").unwrap();
        let body = Bytes::from_static(b"--b\r\n\r\none\r\n--b--");
        let read = Multipart::parse(&plain, &body, &Limits::default());
        assert_eq!(read, Err(MultipartError::NotMultipart));
        let long = "b".repeat(71);
        #[rustfmt::skip]
        let table: [(&str, &'static [u8], MultipartError); 6] = [
            ("",    b"--b\r\n",                     MultipartError::Boundary),
            ("b@",  b"--b@\r\n",                    MultipartError::Boundary),
            (&long, b"--b\r\n",                     MultipartError::Boundary),
            ("b",   b"",                            MultipartError::NoDelimiter),
            ("b",   b"--c\r\n\r\n",                 MultipartError::NoDelimiter),
            ("b",   b"--b\r\nnot a field\r\n--b--", MultipartError::Part(MimeError::NotAField)),
        ];
        for (boundary, body, error) in table {
            assert_eq!(split(boundary, body), Err(error), "{boundary}");
        }
    }

    #[test]
    fn limits_hold() {
        let media = MediaType::parse("multipart/mixed;boundary=b").unwrap();
        let limits = Limits { parts_max: 2, header_bytes_max: 8, depth_max: 1 };
        let read =
            |body: &'static [u8]| Multipart::parse(&media, &Bytes::from_static(body), &limits);
        assert_eq!(read(b"--b\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b--").unwrap().parts().len(), 2);
        assert_eq!(
            read(b"--b\r\n\r\n1\r\n--b\r\n\r\n2\r\n--b\r\n\r\n3\r\n--b--"),
            Err(MultipartError::TooManyParts)
        );
        assert!(read(b"--b\r\nA: b\r\n\r\n1\r\n--b--").is_ok());
        assert_eq!(
            read(b"--b\r\nAB: b\r\n\r\n1\r\n--b--"),
            Err(MultipartError::Part(MimeError::TooLong))
        );
        let outer = read(b"--b\r\nA: b\r\n\r\n1\r\n--b--").unwrap();
        assert!(outer.parts()[0].nested(&limits).is_none());
    }

    #[test]
    fn nesting_is_the_callers_and_bounded() {
        let body = b"--b\r\nContent-Type: multipart/alternative;boundary=b-in\r\n\r\n\
            --b-in\r\n\r\none\r\n--b-in--\r\n--b--";
        let outer = split("b", body).unwrap();
        let part = &outer.parts()[0];
        let inner = part.nested(&Limits::default()).unwrap().unwrap();
        assert_eq!(&inner.parts()[0].body[..], b"one");
        let shallow = Limits { depth_max: 1, ..Limits::default() };
        assert_eq!(part.nested(&shallow), Some(Err(MultipartError::TooDeep)));
    }

    /// What a part may hold when the boundary is `b`: anything but a delimiter, the more of what
    /// looks like one.
    fn part_of_b() -> impl Strategy<Value = String> {
        let near = "(--b|--|-|b|\r\n|\r|\n|[a-z]){0,10}";
        near.prop_filter("a delimiter ends the part", |part| {
            let text = format!("\r\n{part}\r\n");
            let mut rests =
                text.match_indices("\r\n--b").map(|(at, near)| &text[at + near.len()..]);
            !rests.any(|rest| rest.starts_with("\r\n") || rest.starts_with("--"))
        })
    }

    proptest! {
        #[test]
        fn never_panics(body: Vec<u8>, near in "(--b|--|b|\r\n|\r|\n| |x:y){0,40}") {
            let media = MediaType::parse("multipart/mixed;boundary=b").unwrap();
            let _ = Multipart::parse(&media, &Bytes::from(body), &Limits::default());
            let _ = Multipart::parse(&media, &Bytes::from(near), &Limits::default());
        }

        /// Cut anywhere, the parts before the cut are the same.
        #[test]
        fn a_cut_changes_no_finished_part(
            parts in prop::collection::vec(part_of_b(), 1..5), cut in 0_usize..200
        ) {
            let mut body = String::new();
            for part in &parts {
                body.push_str("--b\r\n\r\n");
                body.push_str(part);
                body.push_str("\r\n");
            }
            body.push_str("--b--\r\n");
            let media = MediaType::parse("multipart/mixed;boundary=b").unwrap();
            let body = Bytes::from(body);
            let limits = Limits::default();
            let whole = Multipart::parse(&media, &body, &limits).unwrap();
            let bodies: Vec<&[u8]> = whole.parts().iter().map(|part| &part.body[..]).collect();
            prop_assert_eq!(bodies, parts.iter().map(String::as_bytes).collect::<Vec<_>>());
            let head = body.slice(..cut.min(body.len()));
            if let Ok(read) = Multipart::parse(&media, &head, &limits) {
                let finished = read.parts().len().saturating_sub(1);
                prop_assert_eq!(&read.parts()[..finished], &whole.parts()[..finished]);
            }
        }
    }
}
