//! The start line (`req-start` and `resp-start`, RFC 4975 §9).

use super::{HeadError, Method, Start};
use crate::{TransactionId, examined, header};

/// A start line whose transaction identifier can be read, and what is wrong with the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartLine<'a> {
    /// What it starts.
    pub(crate) start: Start<'a>,
    /// Why that cannot be read.
    pub(crate) error: Option<HeadError>,
}

/// What every start line starts with.
const START: &[u8] = b"MSRP ";

/// Whether `octets` may be the first of a start line.
pub(crate) fn may_start(octets: &[u8]) -> bool {
    octets.iter().zip(START).all(|(one, other)| one == other)
}

/// The transaction identifier in the start line that `head` begins with, and no more of it.
pub(crate) fn id(head: &[u8]) -> Option<&[u8]> {
    examined(START.len() + TransactionId::OCTETS_MAX);
    let rest = head.strip_prefix(START)?;
    rest.get(..TransactionId::len_at_start_of(rest)?)
}

/// Reads a start line without its CRLF; `None` when not even the transaction identifier can be
/// read, so that the end could not be found either.
pub(crate) fn start_line(line: &[u8]) -> Option<StartLine<'_>> {
    examined(line.len());
    let id = id(line)?;
    let rest = line.get(START.len() + id.len()..)?.strip_prefix(b" ")?;
    if rest == b"SEND" {
        return Some(StartLine { start: Start::Request { id, method: Method::Send }, error: None });
    }
    if !rest.first().is_some_and(u8::is_ascii_digit) {
        let is_method = !rest.is_empty() && rest.iter().all(u8::is_ascii_uppercase);
        let start = Start::Request { id, method: Method::from_name(rest) };
        return Some(StartLine { start, error: (!is_method).then_some(HeadError::Method) });
    }
    let code = rest.first_chunk().and_then(header::three_digits);
    let comment = match rest.get(3..) {
        Some([]) => Some(&b""[..]),
        Some([b' ', comment @ ..]) => Some(comment),
        _ => None,
    };
    let error = (code.is_none() || comment.is_none()).then_some(HeadError::StatusCode);
    let (code, comment) = (code.unwrap_or(0), comment.unwrap_or_default());
    Some(StartLine { start: Start::Response { id, code, comment }, error })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request<'a>(id: &'a str, method: Method<'a>) -> Start<'a> {
        Start::Request { id: id.as_bytes(), method }
    }

    fn response<'a>(id: &'a str, code: u16, comment: &'a str) -> Start<'a> {
        Start::Response { id: id.as_bytes(), code, comment: comment.as_bytes() }
    }

    // Covers: MSRP-001
    #[test]
    fn reads() {
        use Method::{Auth, Nickname, Other, Report, Send};
        let longest = "a2345678901234567890123456789.-=";
        #[rustfmt::skip]
        let table = [
            ("MSRP a786hjs2 SEND",      request("a786hjs2", Send)),              // RFC 4975 §4
            ("MSRP dkei38sd REPORT",    request("dkei38sd", Report)),            // RFC 4975 §11.5
            ("MSRP 49fh AUTH",          request("49fh", Auth)),                  // RFC 4976 §5.1
            ("MSRP d93kswow NICKNAME",  request("d93kswow", Nickname)),          // RFC 7701 §9
            ("MSRP a.-+%= PING",        request("a.-+%=", Other(b"PING"))),
            ("MSRP a786hjs2 200 OK",    response("a786hjs2", 200, "OK")),        // RFC 4975 §4
            ("MSRP a786hjs2 200",       response("a786hjs2", 200, "")),
            ("MSRP a786hjs2 200 ",      response("a786hjs2", 200, "")),
            ("MSRP a786hjs2 999 \u{e9} ", response("a786hjs2", 999, "\u{e9} ")),
            ("MSRP a2345678901234567890123456789.-= SEND", request(longest, Send)),
        ];
        for (line, start) in table {
            let expected = StartLine { start, error: None };
            assert_eq!(start_line(line.as_bytes()), Some(expected), "{line}");
        }
    }

    // Covers: MSRP-081
    #[test]
    fn what_names_a_transaction_is_answered() {
        #[rustfmt::skip]
        let table = [
            ("MSRP abcd send",     request("abcd", Method::Other(b"send")),  HeadError::Method),
            ("MSRP abcd ",         request("abcd", Method::Other(b"")),      HeadError::Method),
            ("MSRP abcd SEND ",    request("abcd", Method::Other(b"SEND ")), HeadError::Method),
            ("MSRP abcd  SEND",    request("abcd", Method::Other(b" SEND")), HeadError::Method),
            ("MSRP abcd 20",       response("abcd", 0, ""),                  HeadError::StatusCode),
            ("MSRP abcd 2000 OK",  response("abcd", 200, ""),                HeadError::StatusCode),
            ("MSRP abcd 2x0 OK",   response("abcd", 0, "OK"),                HeadError::StatusCode),
        ];
        for (line, start, error) in table {
            let expected = StartLine { start, error: Some(error) };
            assert_eq!(start_line(line.as_bytes()), Some(expected), "{line}");
        }
    }

    // Covers: MSRP-081
    #[test]
    fn what_names_none_is_refused() {
        for line in [
            "",
            "MSRP",
            "MSRP ",
            "MSRP abcd",                                   // no space after it
            "MSRP abc SEND",                               // 3 characters
            "MSRP a23456789012345678901234567890123 SEND", // 33
            "MSRP -bcd SEND",                              // starts with a mark
            "MSRP ab_d SEND",
            "MSRP ab\u{e9}d SEND",
            "MSRP  abcd SEND",
            "MSRP\tabcd SEND",
            "msrp abcd SEND",
            "SIP/2.0 200 OK",
            "GET / HTTP/1.1",
        ] {
            assert_eq!(start_line(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(
            id in "[0-9A-Za-z][0-9A-Za-z.+%=-]{3,31}", method in "[A-Z]{1,12}",
        ) {
            let line = format!("MSRP {id} {method}");
            let start = request(&id, Method::from_name(method.as_bytes()));
            prop_assert_eq!(start_line(line.as_bytes()), Some(StartLine { start, error: None }));
        }

        #[test]
        fn never_panics(line: Vec<u8>) {
            let _ = start_line(&line);
            let _ = start_line(&[START, &line].concat());
        }
    }
}
