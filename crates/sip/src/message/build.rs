//! Messages of our own: responses to a request and requests (RFC 3261 §8.1.1, §8.2.6).

use std::fmt::{self, Write as _};

use bytes::{Bytes, BytesMut};

use super::{Limits, Message, Request};
use crate::HeaderName;

/// The phrase that goes with a status code when nothing better is said (RFC 3261 §21 and the
/// RFCs that added codes).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        433 => "Anonymity Disallowed",
        440 => "Max-Breadth Exceeded",
        470 => "Consent Needed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => "Unknown",
    }
}

/// Builds the response to a request (RFC 3261 §8.2.6): `Via`, `From`, `To`, `Call-ID` and `CSeq`
/// are the request's, octet for octet.
#[derive(Debug)]
pub struct ResponseBuilder {
    status: u16,
    out: BytesMut,
}

impl ResponseBuilder {
    /// Starts a response with the usual reason phrase.
    ///
    /// `to_tag` is added to `To` when the request has none there; a 100 gets none.
    pub fn new(request: &Message, status: u16, to_tag: &str) -> Self {
        Self::with_reason(request, status, reason_phrase(status), to_tag)
    }

    /// Starts a response with a reason phrase of its own.
    pub fn with_reason(request: &Message, status: u16, reason: &str, to_tag: &str) -> Self {
        // What is copied is part of the request's head; some room for lines of our own.
        let mut out = BytesMut::with_capacity(usize::from(request.index.head_end) + 256);
        out.extend_from_slice(b"SIP/2.0 ");
        number(&mut out, usize::from(status));
        pieces(&mut out, &[b" ", reason.as_bytes(), b"\r\n"]);
        for via in request.values(HeaderName::Via) {
            line(&mut out, HeaderName::Via, via);
        }
        if status > 100 && to_tag_is_wanted(request) {
            let value = request.field(HeaderName::To).unwrap_or_default();
            pieces(&mut out, &[b"To: ", value, b";tag=", to_tag.as_bytes(), b"\r\n"]);
        } else if let Some(value) = request.field(HeaderName::To) {
            line(&mut out, HeaderName::To, value);
        }
        for name in [HeaderName::From, HeaderName::CallId, HeaderName::CSeq] {
            if let Some(value) = request.field(name) {
                line(&mut out, name, value);
            }
        }
        if status == 100 {
            // RFC 3261 §8.2.6.1.
            if let Some(value) = request.field(HeaderName::Timestamp) {
                line(&mut out, HeaderName::Timestamp, value);
            }
        }
        Self { status, out }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl fmt::Display) -> Self {
        field(&mut self.out, name, value);
        self
    }

    /// Copies every field called `name` from `message`, octet for octet.
    #[must_use]
    pub fn copy(mut self, message: &Message, name: HeaderName) -> Self {
        for value in message.values(name) {
            line(&mut self.out, name, value);
        }
        self
    }

    /// Adds a header field octet for octet.
    #[must_use]
    pub fn octets(mut self, name: &[u8], value: &[u8]) -> Self {
        pieces(&mut self.out, &[name, b": ", value, b"\r\n"]);
        self
    }

    /// The octets, without a body.
    pub fn build(self) -> Bytes {
        self.with_body(&[])
    }

    /// The octets, with a body whose `Content-Type` was added before.
    pub fn with_body(mut self, body: &[u8]) -> Bytes {
        finish(&mut self.out, body);
        self.out.freeze()
    }
}

/// Whether `To` has no tag yet.
fn to_tag_is_wanted(request: &Message) -> bool {
    match request.header::<crate::header::To<'_>>() {
        Ok(Some(to)) => to.tag().is_none(),
        Ok(None) | Err(_) => false,
    }
}

fn line(out: &mut BytesMut, name: HeaderName, value: &[u8]) {
    pieces(out, &[name.prefix().as_bytes(), value, b"\r\n"]);
}

#[inline(always)]
fn pieces(out: &mut BytesMut, pieces: &[&[u8]]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// Writes a number, which spares the machinery of `format_args!`.
fn number(out: &mut BytesMut, number: usize) {
    let mut digits = [0; 20];
    let (mut rest, mut unused) = (number, digits.len());
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        (rest, unused) = (rest / 10, unused - 1);
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(unused..).unwrap_or_default());
}

/// Writes a header field of our own.
fn field(out: &mut BytesMut, name: HeaderName, value: impl fmt::Display) {
    out.extend_from_slice(name.prefix().as_bytes());
    // Writing into a growing buffer does not fail.
    let _ = write!(out, "{value}");
    out.extend_from_slice(b"\r\n");
}

fn finish(out: &mut BytesMut, body: &[u8]) {
    out.extend_from_slice(b"Content-Length: ");
    number(out, body.len());
    pieces(out, &[b"\r\n\r\n", body]);
}

/// Builds a request of our own (RFC 3261 §8.1.1), without `Via`: the transaction layer adds it
/// when it knows the way.
#[derive(Debug)]
pub struct RequestBuilder {
    out: BytesMut,
}

impl RequestBuilder {
    /// Starts a request. The caller adds `From`, `To`, `Call-ID`, `CSeq` and `Max-Forwards`.
    pub fn new(method: impl fmt::Display, uri: impl fmt::Display) -> Self {
        let mut out = BytesMut::with_capacity(1024);
        let _ = write!(out, "{method} {uri} SIP/2.0\r\n");
        Self { out }
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl fmt::Display) -> Self {
        field(&mut self.out, name, value);
        self
    }

    /// Adds a header field octet for octet.
    #[must_use]
    pub fn octets(mut self, name: &[u8], value: &[u8]) -> Self {
        pieces(&mut self.out, &[name, b": ", value, b"\r\n"]);
        self
    }

    /// The request, indexed; `None` when what was put in is no message, which is a fault of the
    /// caller: a line end in a header value.
    pub fn build(mut self, body: &[u8]) -> Option<Request> {
        finish(&mut self.out, body);
        let message = Message::parse_datagram(self.out.freeze(), &Limits::LARGEST).ok()?;
        Request::new(message).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Message {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        Message::parse_datagram(bytes, &Limits::default()).unwrap()
    }

    #[test]
    fn a_response_takes_over_what_names_the_transaction() {
        let request = request(
            "MESSAGE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1,\r\n SIP/2.0/UDP g\r\n\
             Timestamp: 54\r\nv: SIP/2.0/UDP f\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             i: x\r\nCSeq: 1 MESSAGE\r\n\r\n",
        );
        let text = |builder: ResponseBuilder| String::from_utf8(builder.build().to_vec()).unwrap();
        let refusal = ResponseBuilder::new(&request, 403, "t7")
            .header(HeaderName::Warning, "399 as \"133 Size exceeded\"");
        assert_eq!(
            text(refusal),
            "SIP/2.0 403 Forbidden\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1,\r\n SIP/2.0/UDP g\r\n\
             Via: SIP/2.0/UDP f\r\nTo: <sip:b@h>;tag=t7\r\nFrom: <sip:a@h>;tag=1\r\n\
             Call-ID: x\r\nCSeq: 1 MESSAGE\r\nWarning: 399 as \"133 Size exceeded\"\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let trying = text(ResponseBuilder::new(&request, 100, "t7"));
        assert!(trying.contains("\r\nTo: <sip:b@h>\r\n"), "{trying}");
        assert!(trying.contains("\r\nTimestamp: 54\r\n"), "{trying}");
    }

    #[test]
    fn a_request_is_indexed_as_built() {
        let request = RequestBuilder::new("MESSAGE", "sip:b@h")
            .header(HeaderName::From, "<sip:a@h>;tag=1")
            .octets(b"X-Odd", b"\xff")
            .build(b"hi")
            .unwrap();
        assert_eq!(request.uri_text(), b"sip:b@h");
        assert_eq!(request.named(b"x-odd"), Some(&b"\xff"[..]));
        assert_eq!(request.body(), b"hi");
        assert!(RequestBuilder::new("ME SSAGE", "sip:b@h").build(b"").is_none());
    }
}
