//! Parts of SIP messages, `message/sipfrag` (RFC 3420): what a NOTIFY about a REFER carries
//! (RFC 3515 §2.4.5).
//!
//! What a start line and header fields must look like for a fragment to be one is checked; whether
//! a value fits its header is not, the header types of SIP are for that.

use std::str;

use bytes::Bytes;

/// The media type.
pub const MEDIA_TYPE: &str = "message/sipfrag";

/// The media type with the version of SIP, as RFC 3515 §2.4.5 wants it in `Content-Type`.
pub const CONTENT_TYPE: &str = "message/sipfrag;version=2.0";

/// Longest fragment that is read. Local limit: that of a whole message.
const BYTES_MAX: usize = 64 * 1024;

/// Most header fields that are read; local limit.
const HEADERS_MAX: usize = 128;

/// Some of a SIP message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SipFrag {
    /// The start line, if it is told.
    pub start_line: Option<StartLine>,
    /// Header fields, name and value; a value that was folded is one line.
    pub headers: Vec<(String, String)>,
    /// The body; header fields tell what it is (§2).
    pub body: Option<Bytes>,
}

/// The start line of a SIP message (RFC 3261 §7.1, §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// Of a request.
    Request {
        /// The method.
        method: String,
        /// The Request-URI.
        uri: String,
    },
    /// Of a response.
    Status {
        /// 100 to 699.
        code: u16,
        /// The phrase; may be empty.
        reason: String,
    },
}

/// Why a fragment was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SipFragError {
    /// It is longer than 64 KiB or has more than 128 header fields.
    #[error("fragment is too large")]
    TooLarge,
    /// Its start line and header fields are not UTF-8.
    #[error("header is not UTF-8")]
    NotUtf8,
    /// Its first line is neither a start line of SIP 2.0 nor a header field.
    #[error("first line is neither a start line nor a header field")]
    StartLine,
    /// A line is no header field.
    #[error("a line is no header field")]
    Header,
    /// It has a body and no header field about it (§2).
    #[error("body without Content-Type and Content-Length")]
    Body,
    /// It has nothing at all.
    #[error("fragment is empty")]
    Empty,
}

impl StartLine {
    fn parse(line: &str) -> Option<Self> {
        if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let digits = code.len() == 3 && code.bytes().all(|octet| octet.is_ascii_digit());
            let code = code.parse().ok().filter(|code| digits && (100..=699).contains(code))?;
            if reason.contains(['\r', '\0']) {
                return None;
            }
            return Some(Self::Status { code, reason: reason.to_owned() });
        }
        let mut parts = line.split(' ');
        let (method, uri) = (parts.next()?, parts.next()?);
        let is_last = parts.next() == Some("SIP/2.0") && parts.next().is_none();
        let fits = is_last && is_token(method) && uri.contains(':') && is_visible(uri);
        fits.then(|| Self::Request { method: method.to_owned(), uri: uri.to_owned() })
    }
}

impl SipFrag {
    /// The start line of a response: the progress or the end of what a REFER asked for.
    ///
    /// What cannot stand in a line is left out of `reason`; `code` is 100 to 699.
    pub fn status(code: u16, reason: &str) -> Self {
        let start_line = StartLine::Status { code, reason: line(reason) };
        Self { start_line: Some(start_line), ..Self::default() }
    }

    /// With one more header field. What cannot stand in a line is left out of `value`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), line(value)));
        self
    }

    /// The status of a fragment of a response.
    pub fn code(&self) -> Option<u16> {
        match self.start_line {
            Some(StartLine::Status { code, .. }) => Some(code),
            Some(StartLine::Request { .. }) | None => None,
        }
    }

    /// Reads a fragment. Lines end with CRLF or LF.
    ///
    /// # Errors
    /// [`SipFragError`].
    pub fn parse(octets: &Bytes) -> Result<Self, SipFragError> {
        if octets.len() > BYTES_MAX {
            return Err(SipFragError::TooLarge);
        }
        let (head, body) = split(octets);
        let head = str::from_utf8(&head).map_err(|_| SipFragError::NotUtf8)?;
        let mut read = Self::default();
        for (number, line) in head.split_terminator('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if number == 0 {
                read.start_line = StartLine::parse(line);
                if read.start_line.is_some() {
                    continue;
                }
            }
            read.read_header(line).map_err(|error| match (number, error) {
                (0, SipFragError::Header) => SipFragError::StartLine,
                (_, other) => other,
            })?;
        }
        let told =
            |name: &str| read.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let described = ["Content-Type", "c", "Content-Length", "l"].into_iter().any(told);
        match body {
            Some(body) if !body.is_empty() && !described => return Err(SipFragError::Body),
            Some(body) => read.body = (!body.is_empty()).then_some(body),
            None => {}
        }
        let empty = read.start_line.is_none() && read.headers.is_empty();
        if empty { Err(SipFragError::Empty) } else { Ok(read) }
    }

    fn read_header(&mut self, line: &str) -> Result<(), SipFragError> {
        if line.contains(['\r', '\0']) {
            return Err(SipFragError::Header);
        }
        if line.starts_with([' ', '\t']) {
            let (_, value) = self.headers.last_mut().ok_or(SipFragError::Header)?;
            let more = line.trim();
            if !value.is_empty() && !more.is_empty() {
                value.push(' ');
            }
            value.push_str(more);
            return Ok(());
        }
        if self.headers.len() >= HEADERS_MAX {
            return Err(SipFragError::TooLarge);
        }
        let (name, value) = line.split_once(':').ok_or(SipFragError::Header)?;
        let name = name.trim_end();
        if !is_token(name) {
            return Err(SipFragError::Header);
        }
        self.headers.push((name.to_owned(), value.trim().to_owned()));
        Ok(())
    }

    /// The octets of the fragment.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        match &self.start_line {
            Some(StartLine::Request { method, uri }) => {
                out.extend_from_slice(format!("{method} {uri} SIP/2.0\r\n").as_bytes());
            }
            Some(StartLine::Status { code, reason }) => {
                out.extend_from_slice(format!("SIP/2.0 {code:03} {reason}\r\n").as_bytes());
            }
            None => {}
        }
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(body) = &self.body {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(body);
        }
        Bytes::from(out)
    }
}

/// The head with the end of its last line, and the body behind an empty line.
fn split(octets: &Bytes) -> (Bytes, Option<Bytes>) {
    let mut start = 0;
    while let Some(rest) = octets.get(start..).filter(|rest| !rest.is_empty()) {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |place| place + 1);
        if matches!(rest.get(..end), Some(b"\r\n" | b"\n")) {
            return (octets.slice(..start), Some(octets.slice(start + end..)));
        }
        start += end;
    }
    (octets.clone(), None)
}

/// A `token` (RFC 3261 §25.1).
fn is_token(text: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet);
    !text.is_empty() && text.bytes().all(fits)
}

fn is_visible(text: &str) -> bool {
    !text.chars().any(|character| character.is_control() || character.is_whitespace())
}

fn line(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<SipFrag, SipFragError> {
        SipFrag::parse(&Bytes::from(text.replace('\n', "\r\n")))
    }

    // The examples of RFC 3420 §3.1.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let sdp = "v=0\no=alice 2890844526 2890844526 IN IP4 host.anywhere.com\ns=\n";
        let with_sdp =
            format!("SIP/2.0 200 OK\nContent-Type: application/sdp\nContent-Length: 70\n\n{sdp}");
        #[rustfmt::skip]
        let table = [
            ("INVITE sip:alice@atlanta.com SIP/2.0\n", 0, 0),
            ("SIP/2.0 603 Declined\n",                 0, 0),
            ("SIP/2.0 603 Declined",                   0, 0),
            ("REGISTER sip:atlanta.com SIP/2.0\nTo: sip:alice@atlanta.com\n\
              Contact: <sip:alicepc@atlanta.com>;q=0.9,\n         <sip:alicemobile@atlanta.com>;q=0.1\n", 2, 0),
            ("SIP/2.0 400 Bad Request\nWarning: 399 atlanta.com Your Event header field was malformed\n", 1, 0),
            ("From: Alice <sip:alice@atlanta.com>\nTo: Bob <sip:bob@biloxi.com>\n\
              Contact: <sip:alice@pc33.atlanta.com>\nDate: Thu, 21 Feb 2002 13:02:03 GMT\n\
              Call-ID: a84b4c76e66710\nCseq: 314159 INVITE\n",                                       6, 0),
            (with_sdp.as_str(),                                                          2, sdp.len() + 3),
            ("Content-Type: text/plain\nContent-Length: 11\n\nHi There!",                2, 9),
        ];
        for (text, headers, body) in table {
            let read = parse(text).unwrap();
            assert_eq!(read.headers.len(), headers, "{text}");
            assert_eq!(read.body.as_ref().map_or(0, Bytes::len), body, "{text}");
            assert_eq!(SipFrag::parse(&read.to_bytes()), Ok(read), "{text}");
        }
        let folded = parse(table[3].0).unwrap();
        let contacts = "<sip:alicepc@atlanta.com>;q=0.9, <sip:alicemobile@atlanta.com>;q=0.1";
        assert_eq!(folded.headers[1], ("Contact".to_owned(), contacts.to_owned()));
        let late = parse("Contact:\n <sip:a@b>\n  \n ;q=1\n").unwrap();
        assert_eq!(late.headers[0].1, "<sip:a@b> ;q=1");
        assert_eq!(SipFrag::parse(&late.to_bytes()), Ok(late));
        assert_eq!((folded.code(), parse(table[1].0).unwrap().code()), (None, Some(603)));
    }

    #[test]
    fn what_is_no_fragment_is_refused() {
        let many = "A: b\n".repeat(129);
        let long = format!("A: {}\n", "b".repeat(64 * 1024));
        #[rustfmt::skip]
        let table = [ // The first five are in RFC 3420 §3.2.
            ("INVITE\n",                                    SipFragError::StartLine),
            ("INVITE sip:alice@atlanta.com SIP/1.09\n",     SipFragError::StartLine),
            ("SIP/2.0\n",                                   SipFragError::StartLine),
            ("404 Not Found\n",                             SipFragError::StartLine),
            ("MESSAGE sip:alice@atlanta.com SIP/2.0\nHi There!\n", SipFragError::Header),
            ("MESSAGE sip:alice@atlanta.com SIP/2.0\n\nHi There!", SipFragError::Body),
            ("SIP/2.0 099 Low\n",                           SipFragError::StartLine),
            ("SIP/2.0 700 High\n",                          SipFragError::StartLine),
            ("SIP/2.0 +20 OK\n",                            SipFragError::StartLine),
            ("IN VITE sip:a@b SIP/2.0\n",                   SipFragError::StartLine),
            (" folded: first\n",                            SipFragError::StartLine),
            ("A: b\nno header\n",                           SipFragError::Header),
            ("A: b\n c\0d\n",                               SipFragError::Header),
            ("A: b\n c\rd\n",                               SipFragError::Header),
            ("SIP/2.0 200 a\0b\n",                          SipFragError::StartLine),
            ("A B: c\n",                                    SipFragError::StartLine),
            ("",                                            SipFragError::Empty),
            ("\n",                                          SipFragError::Empty),
            (many.as_str(),                                 SipFragError::TooLarge),
            (long.as_str(),                                 SipFragError::TooLarge),
        ];
        for (text, error) in table {
            assert_eq!(parse(text), Err(error), "{text:.200}");
        }
        let octets = Bytes::from_static(b"SIP/2.0 200 \xff\r\n");
        assert_eq!(SipFrag::parse(&octets), Err(SipFragError::NotUtf8));
    }

    // Covers: CF-052
    #[test]
    fn progress_is_written() {
        let trying = SipFrag::status(100, "Trying");
        assert_eq!(trying.to_bytes(), "SIP/2.0 100 Trying\r\n");
        let odd = SipFrag::status(403, "No\r\nVia: x").header("Warning", "399 h \"a\"\r\nb: c");
        assert_eq!(odd.to_bytes(), "SIP/2.0 403 NoVia: x\r\nWarning: 399 h \"a\"b: c\r\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            code in 100_u16..700, reason: String, value: String, body in "[ -~\r\n]{0,20}",
        ) {
            let mut written = SipFrag::status(code, &reason).header("Content-Type", &value);
            written.body = (!body.is_empty()).then(|| Bytes::from(body));
            let read = SipFrag::parse(&written.to_bytes());
            prop_assert_eq!(read, Ok(written));
        }

        #[test]
        fn never_panics(octets: Vec<u8>, text in "[A-Z /:.0-9\r\n \t]{0,80}") {
            let _ = SipFrag::parse(&Bytes::from(octets));
            let _ = SipFrag::parse(&Bytes::from(text));
        }
    }
}
