//! Writing requests and responses (RFC 4975 §7.1, §7.2).

use crate::header::ByteRange;
use crate::transaction_id::Words;
use crate::{Continuation, Method, TransactionId};

/// Writes the start line and the paths of a request; the header fields follow.
pub fn request(out: &mut Vec<u8>, id: &[u8], method: Method<'_>, to: &[u8], from: &[u8]) {
    extend(out, &[b"MSRP ", id, b" ", method.as_bytes()]);
    extend(out, &[b"\r\nTo-Path: ", to, b"\r\nFrom-Path: ", from, b"\r\n"]);
}

/// `MSRP transact-id SEND` with an identifier that is none yet.
pub(crate) const SEND_START: &[u8] = b"MSRP 0000000000000000000000000000 SEND";

/// The end of a whole message with an identifier that is none yet.
pub(crate) const WHOLE_END: &[u8] = b"\r\n-------0000000000000000000000000000$\r\n";

/// Writes `MSRP transact-id SEND`, without a line end.
#[inline]
pub(crate) fn send_start(out: &mut Vec<u8>, id: &[u8]) {
    out.extend_from_slice(b"MSRP ");
    identifier(out, id);
    out.extend_from_slice(b" SEND");
}

/// Writes an identifier; the length of ours is known.
#[inline]
fn identifier(out: &mut Vec<u8>, id: &[u8]) {
    match <&[u8; TransactionId::OCTETS]>::try_from(id) {
        Ok(own) => out.extend_from_slice(own),
        Err(_) => out.extend_from_slice(id),
    }
}

/// Writes a SEND that is a whole message: `start` is [`SEND_START`] and the paths, `rest` all that
/// follows, with [`WHOLE_END`]. The identifier is put into its places.
#[inline]
pub(crate) fn whole(out: &mut Vec<u8>, id: Words, start: &[u8], rest: &[u8]) {
    const AT: usize = b"MSRP ".len();
    const AT_END: usize = TransactionId::OCTETS + b"$\r\n".len();
    let place = out.len() + AT;
    out.extend_from_slice(start);
    put(out, place, id);
    out.extend_from_slice(rest);
    let place = out.len().saturating_sub(AT_END);
    put(out, place, id);
}

#[inline]
fn put(out: &mut [u8], at: usize, id: Words) {
    if let Some(place) = out.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        id.write_to(place);
    }
}

/// Writes a header field.
pub fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    extend(out, &[name.as_bytes(), b": ", value, b"\r\n"]);
}

/// Writes a `Byte-Range`. A total that the range reaches over is not said: its sender was wrong.
pub fn byte_range(out: &mut Vec<u8>, range: ByteRange) {
    let ByteRange { start, end, total } = range;
    let reaches = end.unwrap_or(start.saturating_sub(1));
    let total = total.filter(|total| reaches <= *total);
    out.extend_from_slice(b"Byte-Range: ");
    for (number, after) in [(Some(start), b"-"), (end, b"/"), (total, b"\r")] {
        match number {
            Some(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            None => out.push(b'*'),
        }
        out.extend_from_slice(after);
    }
    out.push(b'\n');
}

/// Writes the end-line: at once after the last header field, or after [`body_end`].
#[inline]
pub fn end_line(out: &mut Vec<u8>, id: &[u8], continuation: Continuation) {
    out.extend_from_slice(b"-------");
    identifier(out, id);
    out.extend_from_slice(&[continuation.octet(), b'\r', b'\n']);
}

/// Writes the end of a body, which is not part of it, and the end-line.
#[inline]
pub fn body_end(out: &mut Vec<u8>, id: &[u8], continuation: Continuation) {
    out.extend_from_slice(b"\r\n");
    end_line(out, id, continuation);
}

/// Writes a whole response.
pub fn response(out: &mut Vec<u8>, id: &[u8], code: u16, to: &[u8], from: &[u8], headers: &[u8]) {
    extend(out, &[b"MSRP ", id, b" ", &code_digits(code)]);
    if let Some(comment) = comment(code) {
        extend(out, &[b" ", comment.as_bytes()]);
    }
    extend(out, &[b"\r\nTo-Path: ", to, b"\r\nFrom-Path: ", from, b"\r\n", headers]);
    end_line(out, id, Continuation::Last);
}

/// The comment that is written with `code` (RFC 4975 §10, RFC 4976 §7.1, RFC 7701 §10.3).
pub fn comment(code: u16) -> Option<&'static str> {
    Some(match code {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        413 => "Stop Sending",
        415 => "Unsupported Media Type",
        423 => "Interval Out of Bounds",
        424 => "Malformed Nickname",
        425 => "Nickname Reserved or Already in Use",
        428 => "Private Messages Not Supported",
        481 => "Session Does Not Exist",
        501 => "Unknown Method",
        506 => "Session Bound to Another Connection",
        _ => return None,
    })
}

fn extend(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.reserve(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn code_digits(code: u16) -> [u8; 3] {
    [code / 100, code / 10, code].map(|digit| b'0' + u8::try_from(digit % 10).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: &[u8] = b"msrp://b.example:2855/x;tcp";
    const FROM: &[u8] = b"msrp://a.example:7/y;tcp";

    // Covers: MSRP-085
    #[test]
    fn a_total_that_is_wrong_is_not_said() {
        let table = [
            ((1, Some(25), Some(25)), "1-25/25"),
            ((1, Some(26), Some(25)), "1-26/*"),
            ((26, None, Some(25)), "26-*/25"),
            ((27, None, Some(25)), "27-*/*"),
        ];
        for ((start, end, total), expected) in table {
            let mut out = Vec::new();
            byte_range(&mut out, ByteRange { start, end, total });
            assert_eq!(out, format!("Byte-Range: {expected}\r\n").into_bytes());
            let value = expected.as_bytes();
            assert!(ByteRange::parse(value).is_ok(), "{expected}");
        }
    }

    // Covers: MSRP-001
    #[test]
    fn a_request_is_written() {
        let id = TransactionId::new(1, 2, 3);
        let mut out = b"before".to_vec();
        request(&mut out, &id.octets(), Method::Send, TO, FROM);
        header(&mut out, "Content-Type", b"text/plain");
        out.extend_from_slice(b"\r\nhi");
        body_end(&mut out, &id.octets(), Continuation::More);
        let expect = format!(
            "beforeMSRP {id} SEND|To-Path: msrp://b.example:2855/x;tcp|From-Path: \
             msrp://a.example:7/y;tcp|Content-Type: text/plain||hi|-------{id}+|"
        );
        assert_eq!(String::from_utf8_lossy(&out).replace("\r\n", "|"), expect);
    }

    // Covers: MSRP-001
    #[test]
    fn an_identifier_is_put_into_its_places() {
        let id = TransactionId::new(1, 2, 3).words();
        let paths = [b"\r\nTo-Path: ", TO, b"\r\nFrom-Path: ", FROM, b"\r\n"].concat();
        let rest = b"Content-Type: text/plain\r\n\r\nhi";
        let (mut once, mut apart) = (b"before".to_vec(), b"before".to_vec());
        whole(&mut once, id, &[SEND_START, &paths].concat(), &[rest, WHOLE_END].concat());
        send_start(&mut apart, &id.octets());
        apart.extend_from_slice(&paths);
        apart.extend_from_slice(rest);
        body_end(&mut apart, &id.octets(), Continuation::Last);
        assert_eq!(once, apart);
    }

    // Covers: MSRP-006
    #[test]
    fn a_response_is_written() {
        for code in [200, 400, 401, 403, 404, 408, 413, 415, 423, 424, 425, 428, 481, 501, 506, 999]
        {
            let mut out = Vec::new();
            response(&mut out, b"a786hjs2", code, FROM, TO, b"");
            let start = match comment(code) {
                Some(comment) => format!("MSRP a786hjs2 {code} {comment}\r\nTo-Path: "),
                None => format!("MSRP a786hjs2 {code}\r\nTo-Path: "),
            };
            let paths = "msrp://a.example:7/y;tcp\r\nFrom-Path: msrp://b.example:2855/x;tcp\r\n";
            let expect = format!("{start}{paths}-------a786hjs2$\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
        let mut with = Vec::new();
        response(&mut with, b"abcd", 423, FROM, TO, b"Min-Expires: 60\r\n");
        assert!(with.ends_with(b";tcp\r\nMin-Expires: 60\r\n-------abcd$\r\n"));
    }
}
