//! Reading and writing of messages as far as load needs it: no message is parsed, only scanned.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::{self, Finder};

use super::template::SEQ_DIGITS;

/// What a message is, by its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A response with its status code, 100 to 699.
    Response(u16),
    /// A request with its method.
    Request(&'a [u8]),
    /// Neither; a keep-alive or garbage.
    Other,
}

/// Which passage a branch of ours belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// The request we created.
    First,
    /// The request we passed on from the originating to the terminating side.
    Second,
}

impl Leg {
    /// The letter in the branch.
    pub(crate) const fn letter(self) -> char {
        match self {
            Self::First => 'o',
            Self::Second => 't',
        }
    }
}

/// Reads the first line of `message`.
pub(crate) fn kind(message: &[u8]) -> Kind<'_> {
    if let Some(rest) = message.strip_prefix(b"SIP/2.0 ") {
        let code = rest.get(..3).and_then(|digits| str::from_utf8(digits).ok());
        return match code.and_then(|digits| digits.parse::<u16>().ok()) {
            Some(code @ 100..=699) => Kind::Response(code),
            Some(_) | None => Kind::Other,
        };
    }
    match memchr(b' ', message) {
        Some(at @ 1..) if message.first().is_some_and(u8::is_ascii_uppercase) => {
            message.get(..at).map_or(Kind::Other, Kind::Request)
        }
        Some(_) | None => Kind::Other,
    }
}

/// Finds the branches of one run: the magic cookie (RFC 3261 §8.1.1.7), `lab` and a run number.
#[derive(Debug)]
pub(crate) struct Marker {
    finder: Finder<'static>,
    text: String,
}

impl Marker {
    /// The branches of run number `run`.
    pub(crate) fn new(run: u32) -> Self {
        let text = format!("z9hG4bKlab{run:08x}");
        Self { finder: Finder::new(text.as_bytes()).into_owned(), text }
    }

    /// How every branch begins; the letter of the leg and the number follow.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The topmost Via of ours: a proxy puts its own above it, in a header line of its own or
    /// before it in the same line (RFC 3261 §7.3.1), so the first one in the message is it.
    pub(crate) fn find(&self, message: &[u8]) -> Option<(Leg, u64)> {
        let at = self.finder.find(message)? + self.text.len();
        let leg = match message.get(at)? {
            b'o' => Leg::First,
            b't' => Leg::Second,
            _ => return None,
        };
        let digits = message.get(at + 1..at + 1 + SEQ_DIGITS)?;
        let seq = digits.iter().try_fold(0_u64, |number, digit| {
            let nibble = char::from(*digit).to_digit(16)?;
            Some(number << 4 | u64::from(nibble))
        })?;
        Some((leg, seq))
    }
}

/// One header with its line end and folded lines.
struct Header<'a> {
    name: &'a [u8],
    raw: &'a [u8],
}

/// The headers we do something with; compact forms included (RFC 3261 §7.3.3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Via,
    From,
    To,
    CallId,
    Cseq,
    MaxForwards,
    Route,
    ServedUser,
    Other,
}

impl Header<'_> {
    fn known(&self) -> Known {
        let is = |name: &str| self.name.eq_ignore_ascii_case(name.as_bytes());
        match self.name.len() {
            1 if is("v") => Known::Via,
            1 if is("f") => Known::From,
            1 if is("t") => Known::To,
            1 if is("i") => Known::CallId,
            2 if is("To") => Known::To,
            3 if is("Via") => Known::Via,
            4 if is("From") => Known::From,
            4 if is("CSeq") => Known::Cseq,
            5 if is("Route") => Known::Route,
            7 if is("Call-ID") => Known::CallId,
            12 if is("Max-Forwards") => Known::MaxForwards,
            13 if is("P-Served-User") => Known::ServedUser,
            _ => Known::Other,
        }
    }
}

/// Walks the header lines after the first line; stops at the empty line.
struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let mut end = memchr(b'\n', self.rest)? + 1;
        if matches!(self.rest.get(..end)?, b"\r\n" | b"\n") {
            return None;
        }
        while matches!(self.rest.get(end), Some(b' ' | b'\t')) {
            end += memchr(b'\n', self.rest.get(end..)?)? + 1;
        }
        let (raw, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        let name = raw.get(..memchr(b':', raw)?)?.trim_ascii_end();
        Some(Header { name, raw })
    }
}

/// The first line with its line end, and the walk over the headers.
fn lines(message: &[u8]) -> Option<(&[u8], Headers<'_>)> {
    let (first, rest) = message.split_at_checked(memchr(b'\n', message)? + 1)?;
    Some((first, Headers { rest }))
}

/// Writes into a fixed buffer; what does not fit is remembered and refused at the end.
struct Out<'a> {
    buffer: &'a mut [u8],
    len: usize,
    overflow: bool,
}

impl<'a> Out<'a> {
    fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0, overflow: false }
    }

    fn put(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.len..self.len + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overflow = true,
        }
    }

    fn finish(self) -> Option<usize> {
        (!self.overflow).then_some(self.len)
    }
}

/// Writes the answer to `request` (RFC 3261 §8.2.6.2): `status` is code and reason, `tag` goes
/// on a To without one. `None` when `request` is not a request or `out` is too short.
pub(crate) fn answer(request: &[u8], status: &str, tag: &str, out: &mut [u8]) -> Option<usize> {
    let (_, headers) = lines(request)?;
    let mut out = Out::new(out);
    out.put(b"SIP/2.0 ");
    out.put(status.as_bytes());
    out.put(b"\r\n");
    for header in headers {
        match header.known() {
            Known::Via | Known::From | Known::CallId | Known::Cseq => out.put(header.raw),
            Known::To if memmem::find(header.raw, b";tag=").is_none() => {
                out.put(header.raw.trim_ascii_end());
                out.put(b";tag=");
                out.put(tag.as_bytes());
                out.put(b"\r\n");
            }
            Known::To => out.put(header.raw),
            Known::MaxForwards | Known::Route | Known::ServedUser | Known::Other => {}
        }
    }
    out.put(b"Content-Length: 0\r\n\r\n");
    out.finish()
}

/// Writes `request` as a proxy passes it on (RFC 3261 §16.6): `insert` (header lines with their
/// ends) stands first, Route and P-Served-User are left out, Max-Forwards is one less. `None`
/// when it has no empty line, no hops are left, or `out` is too short.
pub(crate) fn forward(request: &[u8], insert: &[u8], out: &mut [u8]) -> Option<usize> {
    let (first, mut headers) = lines(request)?;
    let mut out = Out::new(out);
    out.put(first);
    out.put(insert);
    for header in headers.by_ref() {
        match header.known() {
            Known::Route | Known::ServedUser => {}
            Known::MaxForwards => {
                let value = header.raw.get(header.name.len() + 1..)?.trim_ascii();
                let hops: u8 = str::from_utf8(value).ok()?.parse().ok()?;
                let hops = hops.checked_sub(1)?;
                let digits = [b'0' + hops / 100, b'0' + hops / 10 % 10, b'0' + hops % 10];
                let skip = usize::from(hops < 100) + usize::from(hops < 10);
                out.put(b"Max-Forwards: ");
                out.put(digits.get(skip..)?);
                out.put(b"\r\n");
            }
            Known::Via | Known::From | Known::To | Known::CallId | Known::Cseq | Known::Other => {
                out.put(header.raw)
            }
        }
    }
    out.put(headers.rest);
    out.finish()
}

/// Writes `response` without its topmost Via (RFC 3261 §16.7 step 3), which must be alone in its
/// header line. `None` when no other Via remains or `out` is too short.
pub(crate) fn pop_via(response: &[u8], out: &mut [u8]) -> Option<usize> {
    let (first, mut headers) = lines(response)?;
    let mut out = Out::new(out);
    out.put(first);
    let mut vias = 0_u8;
    for header in headers.by_ref() {
        if header.known() == Known::Via {
            vias += 1;
            if vias == 1 {
                continue;
            }
        }
        out.put(header.raw);
        if vias == 2 {
            break;
        }
    }
    out.put(headers.rest);
    if vias < 2 { None } else { out.finish() }
}

/// Length of the first message in a stream (RFC 3261 §18.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A whole message of this many octets.
    Message(usize),
    /// Line ends between messages (RFC 5626 §4.4.1), to be skipped.
    KeepAlive(usize),
    /// More octets are needed.
    Partial,
    /// No Content-Length, or one that is not a number: the stream cannot be read on.
    Broken,
}

/// Finds the end of the first message in `bytes`.
pub(crate) fn frame(bytes: &[u8]) -> Frame {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if blank > 0 {
        return Frame::KeepAlive(blank);
    }
    let Some(end) = END.find(bytes) else {
        return Frame::Partial;
    };
    let (head, body) = (bytes.get(..end + 2).unwrap_or_default(), end + 4);
    match content_length(head).and_then(|length| usize::try_from(length).ok()) {
        Some(length) if body + length <= bytes.len() => Frame::Message(body + length),
        Some(_) => Frame::Partial,
        None => Frame::Broken,
    }
}

static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
/// The header as nearly everybody writes it.
static CONTENT_LENGTH: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new(b"\r\nContent-Length:"));

/// What the head says of the body's length.
fn content_length(head: &[u8]) -> Option<u32> {
    let value = match CONTENT_LENGTH.find(head) {
        Some(at) => {
            let value = head.get(at + CONTENT_LENGTH.needle().len()..)?;
            value.get(..memchr(b'\n', value)?)?
        }
        None => lines(head)?.1.find_map(|header| {
            let is_it = header.name.eq_ignore_ascii_case(b"Content-Length")
                || header.name.eq_ignore_ascii_case(b"l");
            header.raw.get(memchr(b':', header.raw)? + 1..).filter(|_| is_it)
        })?,
    };
    str::from_utf8(value.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"MESSAGE sip:b@x SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.20:5080;branch=z9hG4bKother\r\n\
        Route: <sip:odi@127.0.0.1;lr>\r\n\
        v: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKlab0000002ao0000000001ff\r\n\
        Max-Forwards:   68\r\n\
        P-Served-User: <sip:a@x>\r\n\
        Subject: folded\r\n  over two lines\r\n\
        From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\n\
        Content-Length:  2\r\n\r\nhi";

    fn text(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> String {
        let mut out = [0; 1024];
        let len = write(&mut out).unwrap();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn first_lines() {
        #[rustfmt::skip]
        let table: [(&[u8], Kind); 7] = [
            (b"SIP/2.0 202 Accepted\r\n", Kind::Response(202)),
            (b"SIP/2.0 099 ?\r\n",        Kind::Other),
            (b"SIP/2.0 2",                Kind::Other),
            (b"MESSAGE sip:b SIP/2.0",    Kind::Request(b"MESSAGE")),
            (b"\r\n\r\n",                 Kind::Other),
            (b" sip:b",                   Kind::Other),
            (b"",                         Kind::Other),
        ];
        for (message, expect) in table {
            assert_eq!(kind(message), expect, "{:?}", str::from_utf8(message));
        }
    }

    #[test]
    fn marker_reads_leg_and_number() {
        let marker = Marker::new(42);
        assert_eq!(marker.find(REQUEST), Some((Leg::First, 0x1ff)));
        assert_eq!(Marker::new(43).find(REQUEST), None);
        let cut = REQUEST.len() - (REQUEST.len() - memmem::find(REQUEST, b"lab0").unwrap()) + 20;
        assert_eq!(marker.find(&REQUEST[..cut]), None);
        assert_eq!(marker.find(b";branch=z9hG4bKlab0000002at00000000000g"), None);
        assert_eq!(
            marker.find(b";branch=z9hG4bKlab0000002at00000000000a"),
            Some((Leg::Second, 10))
        );
    }

    #[test]
    fn answer_carries_what_a_response_must() {
        assert_eq!(
            text(|out| answer(REQUEST, "200 OK", "t9", out)),
            "SIP/2.0 200 OK\r\n\
             Via: SIP/2.0/UDP 127.0.0.20:5080;branch=z9hG4bKother\r\n\
             v: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKlab0000002ao0000000001ff\r\n\
             From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=t9\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\n\
             Content-Length: 0\r\n\r\n"
        );
        assert_eq!(answer(REQUEST, "200 OK", "t9", &mut [0; 100]), None);
        assert_eq!(answer(b"", "200 OK", "t9", &mut [0; 100]), None);
    }

    #[test]
    fn a_tag_already_there_stays() {
        let request = b"BYE sip:b SIP/2.0\r\nt: <sip:b@x>;tag=7\r\n\r\n";
        let expect = "SIP/2.0 200 OK\r\nt: <sip:b@x>;tag=7\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(text(|out| answer(request, "200 OK", "t9", out)), expect);
    }

    #[test]
    fn forward_moves_one_hop() {
        let sent = text(|out| forward(REQUEST, b"Via: new\r\n", out));
        assert!(sent.starts_with("MESSAGE sip:b@x SIP/2.0\r\nVia: new\r\nVia: SIP/2.0/UDP"));
        assert!(sent.contains("\r\nMax-Forwards: 67\r\nSubject: folded\r\n  over two lines\r\n"));
        assert!(!sent.contains("Route") && !sent.contains("P-Served-User"));
        assert!(sent.ends_with("Content-Length:  2\r\n\r\nhi"));
    }

    #[test]
    fn hops_run_out() {
        let with = |hops: &str| format!("M s SIP/2.0\r\nMax-Forwards: {hops}\r\n\r\n");
        #[rustfmt::skip]
        let table = [
            ("0", None), ("1", Some("0")), ("10", Some("9")), ("100", Some("99")),
            ("255", Some("254")), ("256", None), ("x", None),
        ];
        for (hops, expect) in table {
            let mut out = [0; 64];
            let len = forward(with(hops).as_bytes(), b"", &mut out);
            let sent = len.map(|len| String::from_utf8(out[..len].to_vec()).unwrap());
            assert_eq!(sent, expect.map(with), "{hops}");
        }
    }

    #[test]
    fn top_via_is_taken_off_once() {
        let response = b"SIP/2.0 200 OK\r\nVia: a\r\nCSeq: 1 M\r\nv: b\r\nVia: c\r\n\r\n";
        let expect = "SIP/2.0 200 OK\r\nCSeq: 1 M\r\nv: b\r\nVia: c\r\n\r\n";
        assert_eq!(text(|out| pop_via(response, out)), expect);
        assert_eq!(pop_via(b"SIP/2.0 200 OK\r\nVia: a\r\n\r\n", &mut [0; 99]), None);
    }

    #[test]
    fn frames_of_a_stream() {
        #[rustfmt::skip]
        let table: [(&[u8], Frame); 7] = [
            (REQUEST,                                  Frame::Message(REQUEST.len())),
            (b"A b\r\nl: 1\r\n\r\nxyz",                Frame::Message(14)),
            (b"A b\r\nContent-Length: 3\r\n\r\nxy",    Frame::Partial),
            (b"A b\r\nContent-Length: 3\r\n",          Frame::Partial),
            (b"\r\n\r\nA b",                           Frame::KeepAlive(4)),
            (b"A b\r\nTo: x\r\n\r\n",                  Frame::Broken),
            (b"A b\r\nl: -1\r\n\r\n",                  Frame::Broken),
        ];
        for (bytes, expect) in table {
            assert_eq!(frame(bytes), expect, "{:?}", str::from_utf8(bytes));
        }
        for cut in 1..REQUEST.len() {
            assert_eq!(frame(&REQUEST[..cut]), Frame::Partial, "{cut}");
        }
    }
}
