//! The one pass over a message: start line, header lines, body (RFC 3261 §7, §18.3).

use bytes::Bytes;
use memchr::memrchr;
use smallvec::SmallVec;

use super::check::REQUIRED;
use super::{Fault, Field, Index, Limits, Malformed, Message, Span, Start};
use crate::grammar::{Class, find, searched};
use crate::{HeaderName, Method, examined};

/// The fields of a head.
type Fields = SmallVec<[Field; 32]>;

/// Heads are indexed with sixteen bits.
const HEAD_OCTETS: usize = u16::MAX as usize;

/// Indexes one datagram.
#[inline]
pub(super) fn datagram(bytes: Bytes, limits: &Limits) -> Result<Message, Box<Malformed>> {
    let bytes = skip_blank_lines(bytes);
    let mut head = index_head(&bytes, limits).map_err(|fault| malformed(fault, None))?;
    let available = bytes.len().saturating_sub(head.len());
    let length = match head.content_length {
        Ok(Some(length)) if length <= available => length,
        Ok(Some(_)) | Err(_) => {
            head.fault.get_or_insert(Fault::Header(HeaderName::ContentLength));
            available
        }
        Ok(None) => available,
    };
    head.with_body(bytes, length, limits)
}

/// The index of a head whose body may not have arrived yet.
#[derive(Debug)]
pub(crate) struct HeadIndex {
    index: Index,
    /// What is wrong but still leaves an index.
    pub(crate) fault: Option<Fault>,
    /// What Content-Length says, or the fault in it.
    pub(crate) content_length: Result<Option<usize>, Fault>,
}

impl HeadIndex {
    /// Octets of the head, its empty line included.
    pub(crate) fn len(&self) -> usize {
        self.index.body_at as usize
    }

    /// The message, once `bytes` holds head and body.
    #[inline(always)]
    pub(crate) fn with_body(
        self,
        bytes: Bytes,
        length: usize,
        limits: &Limits,
    ) -> Result<Message, Box<Malformed>> {
        let body = if length > limits.body_octets_max { Some(Fault::BodySize) } else { None };
        let Ok(body_end) = u32::try_from(self.len() + length) else {
            return Err(malformed(Fault::BodySize, None));
        };
        let message = Message { bytes, index: self.index, body_end };
        match self.fault.or(body) {
            None => Ok(message),
            Some(fault) => Err(malformed(fault, Some(message))),
        }
    }
}

/// Line ends before the start line are ignored (RFC 3261 §7.5).
fn skip_blank_lines(bytes: Bytes) -> Bytes {
    let blank = bytes.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count();
    examined(blank);
    if blank == 0 { bytes } else { bytes.slice(blank..) }
}

fn malformed(fault: Fault, message: Option<Message>) -> Box<Malformed> {
    Box::new(Malformed { fault, message })
}

/// The lines of a head, each without its line end.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    /// A line ended in a lone LF or held a CR.
    bare: bool,
}

/// One line and where it begins.
struct Line<'a> {
    at: usize,
    octets: &'a [u8],
}

impl Line<'_> {
    fn end(&self) -> usize {
        self.at + self.octets.len()
    }
}

impl<'a> Lines<'a> {
    /// The next line; `None` when no line end is left.
    fn next(&mut self) -> Option<Line<'a>> {
        let at = self.at;
        let rest = self.bytes.get(at..)?;
        let end = if rest.starts_with(b"\r\n") { 1 } else { line_end(rest)? };
        let line = rest.get(..end)?;
        self.at = at + line.len() + 1;
        match line {
            [octets @ .., b'\r'] => Some(Line { at, octets }),
            octets => {
                self.bare = true;
                Some(Line { at, octets })
            }
        }
    }
}

/// Where the line ends that `text` begins with. Whether sixteen octets hold the end is one
/// comparison where there are vectors.
#[inline(always)]
fn line_end(text: &[u8]) -> Option<usize> {
    let (chunks, _) = text.as_chunks::<16>();
    let mut at = 0;
    for chunk in chunks {
        examined(chunk.len());
        if chunk.iter().fold(false, |any, octet| any | (*octet == b'\n')) {
            return Some(at + find(b'\n', chunk)?);
        }
        at += chunk.len();
    }
    Some(at + find(b'\n', text.get(at..)?)?)
}

/// Indexes the start line and the header lines at the front of `bytes`.
///
/// # Errors
/// What leaves nothing to answer; lesser faults are in the result, which is large: it is made where
/// it is kept.
#[inline(always)]
pub(crate) fn index_head(bytes: &[u8], limits: &Limits) -> Result<HeadIndex, Fault> {
    let mut lines = Lines { bytes, at: 0, bare: false };
    let first = lines.next().filter(|line| line.end() <= HEAD_OCTETS).ok_or(Fault::StartLine)?;
    let (start, mut fault) = start_line(first.octets)?;
    let head_max = limits.head_octets_max.min(HEAD_OCTETS);
    let mut fields = Fields::new();
    let plain = bytes.get(..head_max + 2).unwrap_or(bytes);
    let head_end = loop {
        lines.at = plain_fields(plain, lines.at, &mut fields, limits.fields_max);
        let Some(line) = lines.next() else {
            if bytes.len() > head_max {
                break cut_off(Fault::HeadSize, &fields, &mut fault)?;
            }
            break without_empty_line(bytes, lines.at, &mut fault)?;
        };
        if line.end() > head_max {
            break cut_off(Fault::HeadSize, &fields, &mut fault)?;
        }
        match line.octets.first() {
            None => break line.at,
            Some(b' ' | b'\t') => match fields.last_mut() {
                Some(last) => extend(last, &line),
                None => _ = fault.get_or_insert(Fault::HeaderLine),
            },
            Some(_) if fields.len() >= limits.fields_max => {
                break cut_off(Fault::FieldCount, &fields, &mut fault)?;
            }
            Some(_) => match field(narrow(line.at), line.octets) {
                Some(field) => fields.push(field),
                None => _ = fault.get_or_insert(Fault::HeaderLine),
            },
        }
    };
    if lines.bare {
        fault.get_or_insert(Fault::HeaderLine);
    }
    let content_length = content_length(bytes, &fields);
    let body_at = u32::try_from(lines.at).unwrap_or(u32::MAX);
    let index = Index { start, fields, head_end: narrow(head_end), body_at };
    Ok(HeadIndex { index, fault, content_length })
}

/// Where a head ends that has no empty line behind it. Its sender gets an answer if its lines are
/// whole; of a line that was cut off nothing can be said.
fn without_empty_line(bytes: &[u8], at: usize, fault: &mut Option<Fault>) -> Result<usize, Fault> {
    if at < bytes.len() {
        return Err(Fault::HeaderLine);
    }
    fault.get_or_insert(Fault::HeaderLine);
    Ok(at)
}

/// Where a head ends of which no more is read than `limit` allows. Its sender gets an answer when
/// all that one is made of was found before. Whatever else is wrong, where it really ends is not
/// known, and this fault says so.
#[cold]
fn cut_off(limit: Fault, fields: &Fields, fault: &mut Option<Fault>) -> Result<usize, Fault> {
    let is_there = |name| fields.iter().any(|field| field.name == name);
    let last = fields.last().filter(|_| REQUIRED.into_iter().all(is_there)).ok_or(limit)?;
    *fault = Some(limit);
    Ok(last.value.end())
}

/// Heads are at most [`HEAD_OCTETS`] long when this is called.
fn narrow(at: usize) -> u16 {
    debug_assert!(at <= HEAD_OCTETS);
    at as u16
}

fn span(start: usize, end: usize) -> Span {
    Span { at: narrow(start), len: narrow(end.saturating_sub(start)) }
}

/// Reads the first line. A fault that leaves method and Request-URI known comes with the result.
fn start_line(line: &[u8]) -> Result<(Start, Option<Fault>), Fault> {
    if let Some(status) = line.strip_prefix(b"SIP/2.0 ") {
        return status_line(status, line.len()).map(|start| (start, None));
    }
    // RFC 4475 §3.1.2.10: white space at the end spoils the line but not what stands before it.
    let whole = line.len();
    let line = line.trim_ascii_end();
    let first = find(b' ', line).ok_or(Fault::StartLine)?;
    let last = match line.strip_suffix(b" SIP/2.0") {
        // Nearly always it is written like this.
        Some(before) => Some(before.len()),
        None => searched(line, memrchr(b' ', line)),
    };
    let last = last.filter(|last| *last > first).ok_or(Fault::StartLine)?;
    let method = line.get(..first).filter(|method| Method::parse(method).is_some());
    let version = line.get(last + 1..).unwrap_or_default();
    let uri = line.get(first + 1..last).unwrap_or_default();
    let is_known = version == b"SIP/2.0" || version.eq_ignore_ascii_case(b"SIP/2.0");
    let is_sip = is_known || version.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(b"SIP/"));
    if method.is_none() || !is_sip {
        return Err(Fault::StartLine);
    }
    let fault = if !is_known {
        Some(Fault::Version)
    } else if uri.is_empty() || has_white_space(uri) {
        Some(Fault::RequestUri)
    } else if line.len() < whole {
        Some(Fault::StartLine)
    } else {
        None
    };
    Ok((Start::Request { method: span(0, first), uri: span(first + 1, last) }, fault))
}

/// Most text has no octet so low, which compilers see in many octets at once.
fn has_white_space(text: &[u8]) -> bool {
    examined(text.len());
    text.iter().fold(false, |any, octet| any | (*octet <= b' '))
        && text.iter().any(u8::is_ascii_whitespace)
}

/// Reads `200 OK`, what stands behind the version of a line `line_len` octets long.
fn status_line(status: &[u8], line_len: usize) -> Result<Start, Fault> {
    let (code, rest) = status.split_at_checked(3).ok_or(Fault::StartLine)?;
    let code = code.iter().try_fold(0_u16, |code, octet| {
        octet.is_ascii_digit().then(|| code * 10 + u16::from(octet - b'0'))
    });
    let reason = match rest {
        [] => line_len,
        [b' ', ..] => line_len - rest.len() + 1,
        _ => return Err(Fault::StartLine),
    };
    match code {
        Some(code @ 100..=699) => Ok(Start::Status { code, reason: span(reason, line_len) }),
        _ => Err(Fault::StartLine),
    }
}

/// Reads lines written as nearly all are, from `at` on, as long as there is room; where the first
/// line begins that is not read. By itself, the loop has all it needs in registers.
#[inline(never)]
fn plain_fields(bytes: &[u8], mut at: usize, fields: &mut Fields, fields_max: usize) -> usize {
    for _ in fields.len()..fields_max {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some((field, next)) = plain_field(at, rest) else { break };
        fields.push(field);
        at = next;
    }
    at
}

/// Reads the line that `rest` begins with when it is a known name in its usual case, a colon, one
/// space, a value without white space around it, CR and LF; also where the next one begins.
#[inline(always)]
fn plain_field(at: usize, rest: &[u8]) -> Option<(Field, usize)> {
    let name = HeaderName::at_front(rest)?;
    let prefix_len = name.prefix().len();
    let rest = rest.get(prefix_len..)?;
    let value = rest.get(..line_end(rest)?)?.strip_suffix(b"\r")?;
    if *value.first()? <= b' ' || *value.last()? <= b' ' {
        return None;
    }
    let name_len = (prefix_len - 2) as u8;
    let value = Span { at: narrow(at + prefix_len), len: narrow(value.len()) };
    Some((Field { name, name_len, at: narrow(at), value }, value.end() + 2))
}

/// Reads a header line that begins at `at`; `None` when it has no colon or no name.
fn field(at: u16, line: &[u8]) -> Option<Field> {
    // Its name is looked up, and white space taken off.
    examined(line.len());
    let (name, value) = line.split_at_checked(find(b':', line)?)?;
    let name = name.trim_ascii_end();
    let known = HeaderName::parse(name);
    if known == HeaderName::Other && !Class::TOKEN.covers(name) {
        return None;
    }
    let value = value.get(1..)?.trim_ascii_start();
    let value_at = at + narrow(line.len() - value.len());
    let value = Span { at: value_at, len: narrow(value.trim_ascii_end().len()) };
    let name_len = u8::try_from(name.len()).ok()?;
    Some(Field { name: known, name_len, at, value })
}

/// Lets the value of `field` reach over a folded line (RFC 3261 §7.3.1). Only that line is looked
/// at: of nothing but white space there may be many.
fn extend(field: &mut Field, line: &Line<'_>) {
    examined(line.octets.len());
    let text = line.octets.trim_ascii_start();
    if text.is_empty() {
        return;
    }
    let start = line.end() - text.len();
    let at = if field.value.len == 0 { start } else { usize::from(field.value.at) };
    field.value = span(at, start + text.trim_ascii_end().len());
}

/// The Content-Length, `None` when there is none (RFC 3261 §20.14).
///
/// # Errors
/// [`Fault::Header`] when a value is no number, or two values differ (RFC 4475 §3.3.9).
fn content_length(bytes: &[u8], fields: &[Field]) -> Result<Option<usize>, Fault> {
    let mut length = None;
    for field in fields.iter().filter(|field| field.name == HeaderName::ContentLength) {
        let value = bytes.get(field.value.range()).unwrap_or_default();
        examined(value.len());
        let number = value.iter().try_fold(0_usize, |number, octet| match octet {
            b'0'..=b'9' => number.checked_mul(10)?.checked_add(usize::from(octet - b'0')),
            _ => None,
        });
        let number = number.filter(|_| !value.is_empty());
        match (number, length) {
            (Some(number), None) => length = Some(number),
            (Some(number), Some(before)) if number == before => {}
            _ => return Err(Fault::Header(HeaderName::ContentLength)),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::StartLine;

    fn parse(text: &[u8]) -> Result<Message, Fault> {
        let parsed = datagram(Bytes::copy_from_slice(text), &Limits::default());
        parsed.map_err(|malformed| malformed.fault)
    }

    #[test]
    fn finds_lines_fields_and_body() {
        let text = b"\r\n\r\nMESSAGE sip:bob@h SIP/2.0\r\nv: a,\r\n b\r\nSubject :\r\n  hi \r\n\
            X-Odd:\xff \r\nl:  3\r\n\r\nabcdef";
        let message = parse(text).unwrap();
        let start = StartLine::Request { method: Method::Message, uri: b"sip:bob@h" };
        assert_eq!(message.start_line(), start);
        let fields: Vec<_> = message.fields().collect();
        assert_eq!(
            fields,
            [
                (HeaderName::Via, &b"v"[..], &b"a,\r\n b"[..]),
                (HeaderName::Subject, b"Subject", b"hi"),
                (HeaderName::Other, b"X-Odd", b"\xff"),
                (HeaderName::ContentLength, b"l", b"3"),
            ]
        );
        assert_eq!(message.body(), b"abc");
        assert!(message.bytes().ends_with(b"\r\n\r\nabc"));
    }

    #[test]
    fn white_space_around_the_lines_of_a_value_is_not_part_of_it() {
        let table = [
            ("X:\r\n \r\n\tb \r\n", "b"),
            ("X: a \r\n \r\n  b\r\n\t \r\n", "a \r\n \r\n  b"),
            ("X: a\r\n \r\n \r\n", "a"),
            ("X: \r\n \r\n", ""),
        ];
        for (lines, value) in table {
            let text = format!("SIP/2.0 200 OK\r\n{lines}l: 0\r\n\r\n");
            let message = parse(text.as_bytes()).unwrap();
            assert_eq!(message.named(b"X"), Some(value.as_bytes()), "{lines}");
        }
    }

    #[test]
    fn a_datagram_without_content_length_is_body_to_its_end() {
        assert_eq!(parse(b"SIP/2.0 200 OK\r\nX: y\r\n\r\nbody").unwrap().body(), b"body");
    }

    #[test]
    fn refuses() {
        let length = Fault::Header(HeaderName::ContentLength);
        #[rustfmt::skip]
        let table: [(&[u8], Fault); 17] = [
            (b"", Fault::StartLine),
            (b"\r\n\r\n", Fault::StartLine),
            (b"MESSAGE sip:b@h\r\n\r\n", Fault::StartLine),
            (b"MESSAGE sip:b@h HTTP/1.1\r\n\r\n", Fault::StartLine),
            (b"ME(SSAGE sip:b@h SIP/2.0\r\n\r\n", Fault::StartLine),
            (b"MESSAGE sip:b@h SIP/7.0\r\n\r\n", Fault::Version),        // RFC 4475 §3.1.2.16
            (b"MESSAGE sip:b@h; lr SIP/2.0\r\n\r\n", Fault::RequestUri), // RFC 4475 §3.1.2.8
            (b"MESSAGE  sip:b@h SIP/2.0\r\n\r\n", Fault::RequestUri),    // RFC 4475 §3.1.2.9
            (b"SIP/2.0 4294967301 better not break\r\n\r\n", Fault::StartLine), // §3.1.2.19
            (b"SIP/2.0 099 x\r\n\r\n", Fault::StartLine),
            (b"SIP/2.0 200 OK\r\nno colon\r\n\r\n", Fault::HeaderLine),
            (b"SIP/2.0 200 OK\r\n folded nothing: x\r\n\r\n", Fault::HeaderLine),
            (b"SIP/2.0 200 OK\r\nX: y\n\r\n", Fault::HeaderLine),
            (b"SIP/2.0 200 OK\r\nX: y\r\n", Fault::HeaderLine),
            (b"SIP/2.0 200 OK\r\nl: -9\r\n\r\n", length),                // RFC 4475 §3.1.2.3
            (b"SIP/2.0 200 OK\r\nl: 9\r\n\r\n12345", length),            // RFC 4475 §3.1.2.2
            (b"SIP/2.0 200 OK\r\nl: 1\r\nl: 2\r\n\r\n12", length),       // RFC 4475 §3.3.9
        ];
        for (text, fault) in table {
            assert_eq!(parse(text).map(|_| ()), Err(fault), "{}", text.escape_ascii());
        }
    }

    // RFC 4475 §3.1.2.10 and, without its empty line, §3.1.2.15.
    #[test]
    fn what_can_be_answered_is_kept() {
        type Row = (&'static [u8], Fault, Option<&'static [u8]>);
        #[rustfmt::skip]
        let table: [Row; 4] = [
            (b"MESSAGE sip:b@h SIP/2.0  \r\nX: y\r\n\r\n", Fault::StartLine,  Some(b"sip:b@h")),
            (b"MESSAGE sip:b@h SIP/2.0\r\nX: y\r\n",       Fault::HeaderLine, Some(b"sip:b@h")),
            (b"MESSAGE sip:b@h SIP/2.0\r\nX: y",           Fault::HeaderLine, None),
            (b"MESSAGE sip:b@h\r\nX: y\r\n\r\n",           Fault::StartLine,  None),
        ];
        for (text, fault, uri) in table {
            let malformed = datagram(Bytes::from_static(text), &Limits::default()).unwrap_err();
            assert_eq!(malformed.fault, fault, "{}", text.escape_ascii());
            let message = malformed.message.and_then(|message| crate::Request::new(message).ok());
            let kept = message.as_ref().map(crate::Request::uri_text);
            assert_eq!(kept, uri, "{}", text.escape_ascii());
            assert!(message.is_none_or(|message| message.named(b"X") == Some(b"y")));
        }
    }

    // Covers: SEC-012
    #[test]
    fn limits_hold() {
        let limits = Limits { head_octets_max: 64, fields_max: 2, body_octets_max: 3 };
        let check = |text: &str| {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            datagram(bytes, &limits).map(|_| ()).map_err(|malformed| malformed.fault)
        };
        assert_eq!(check("SIP/2.0 200 OK\r\nA: 1\r\nB: 2\r\n\r\nabc"), Ok(()));
        assert_eq!(check("SIP/2.0 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"), Err(Fault::FieldCount));
        assert_eq!(check("SIP/2.0 200 OK\r\nA: 1\r\n\r\nabcd"), Err(Fault::BodySize));
        let long = format!("SIP/2.0 200 OK\r\nA: {}\r\n\r\n", "x".repeat(60));
        assert_eq!(check(&long), Err(Fault::HeadSize));
    }

    // Covers: SEC-012
    #[test]
    fn of_a_head_beyond_the_limits_what_an_answer_needs_is_kept() {
        let named = "BYE sip:b@h SIP/7.0\r\nv: a\r\nf: b\r\nt: c\r\ni: d\r\n";
        let cseq = "CSeq: 1 BYE\r\n";
        let limits = Limits { head_octets_max: 80, fields_max: 6, body_octets_max: 3 };
        let long = format!("X: {}\r\n", "x".repeat(80));
        let whole = format!("{named}{cseq}");
        #[rustfmt::skip]
        let table = [
            (format!("{whole}{long}\r\n"),              Fault::HeadSize,   true),
            (format!("{whole}{}", long.trim_end()),     Fault::HeadSize,   true),
            (format!("{named}{long}{cseq}\r\n"),        Fault::HeadSize,   false),
            (format!("{whole}A: 1\r\nB: 2\r\n\r\nbody"), Fault::FieldCount, true),
            (format!("{named}A: 1\r\nB: 2\r\n{cseq}\r\n"), Fault::FieldCount, false),
        ];
        for (text, fault, is_kept) in table {
            let malformed = datagram(Bytes::from(text.clone()), &limits).unwrap_err();
            assert_eq!(malformed.fault, fault, "{text}");
            let message = malformed.message;
            assert_eq!(message.is_some(), is_kept, "{text}");
            assert!(message.is_none_or(|it| it.field(HeaderName::CSeq) == Some(b"1 BYE")));
        }
    }

    proptest! {
        // Covers: SEC-018
        #[test]
        fn never_panics(octets: Vec<u8>) {
            let _ = parse(&octets);
        }

        #[test]
        fn a_field_is_found_however_it_is_written(lines in proptest::collection::vec(
            ("Via|To|VIA|Subject|Content-Type|v|X-Odd", " ?:[ \t]{0,2}", "[!-~]([ -~]{0,90}[!-~])?",
                " {0,2}\r\n"), 0..9,
        )) {
            let mut text = b"MESSAGE sip:b@h SIP/2.0\r\n".to_vec();
            for (name, colon, value, end) in &lines {
                for part in [name, colon, value, end] {
                    text.extend_from_slice(part.as_bytes());
                }
            }
            text.extend_from_slice(b"\r\n");
            let message = parse(&text).unwrap();
            let found = message.fields().map(|(name, text, value)| {
                (name, std::str::from_utf8(text).unwrap(), std::str::from_utf8(value).unwrap())
            });
            let written = lines.iter().map(|(name, _, value, _)| {
                (HeaderName::parse(name.as_bytes()), name.as_str(), value.as_str())
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), written.collect::<Vec<_>>());
        }

        #[test]
        fn any_head_survives(lines in proptest::collection::vec("[!-~]{0,9}:[ -~]{0,20}", 0..9)) {
            let text = format!("MESSAGE sip:b@h SIP/2.0\r\n{}\r\n\r\n", lines.join("\r\n"));
            if let Ok(message) = parse(text.as_bytes()) {
                prop_assert_eq!(&message.bytes()[..], text.as_bytes());
            }
        }
    }
}
