//! Finding MSRP frames in a stream (RFC 4975 §9), as little of it as a load needs.
//!
//! Written without a look at the server's framing, so that the two are two readings of the
//! grammar. What comes from a server under load is a row of frames of few lengths (a name of one
//! digit, a name of two): the end of a frame is first looked for where one as long as the last one
//! would end, or one as long as the last of another length, and only then searched for.

use memchr::memmem;

/// Longest transaction id (RFC 4975 §9: `ident` is 4 to 32 characters).
const ID_OCTETS_MAX: usize = 32;
/// Longest first line that is waited for; local limit.
const LINE_OCTETS_MAX: usize = 512;
/// What ends a frame, before its transaction id.
const END: &[u8] = b"\r\n-------";

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A SEND.
    Send,
    /// A REPORT.
    Report,
    /// Another request.
    Other,
    /// A response and its code.
    Response(u16),
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    /// The transaction id.
    pub(crate) id: &'a [u8],
    /// From the start line up to the CRLF before the end-line.
    pub(crate) inside: &'a [u8],
    /// The continuation flag: `$`, `+` or `#`.
    pub(crate) flag: u8,
    /// Octets of the whole frame.
    pub(crate) length: usize,
}

impl<'a> Frame<'a> {
    /// The value of a header, by its exact name; the slow way.
    pub(crate) fn header(&self, name: &str) -> Option<&'a [u8]> {
        let head = self.split().0;
        let name = format!("\r\n{name}: ");
        let start = memmem::find(head, name.as_bytes())? + name.len();
        let value = head.get(start..)?;
        let end = memmem::find(value, b"\r\n").unwrap_or(value.len());
        value.get(..end)
    }

    /// The body; `None` when there is none, which is not the same as an empty one.
    pub(crate) fn body(&self) -> Option<&'a [u8]> {
        self.split().1
    }

    fn split(&self) -> (&'a [u8], Option<&'a [u8]>) {
        let Some(end) = memmem::find(self.inside, b"\r\n\r\n") else {
            // An empty body: its blank line and the CRLF before the end-line are one.
            return match self.inside.strip_suffix(b"\r\n") {
                Some(head) => (head, Some(&[])),
                None => (self.inside, None),
            };
        };
        let (head, rest) = self.inside.split_at(end);
        (head, rest.get(4..))
    }
}

/// What stands at the front of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// The beginning of one, or nothing.
    Partial,
    /// No MSRP.
    Broken,
}

/// Finds the frames of one direction of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scanner {
    /// Octets of the last request and of the last response, each with the length before that.
    last: [[usize; 2]; 2],
    /// Octets of the frame at the front that have been searched already.
    searched: usize,
    /// Never guess: every end-line is searched for from the front.
    strict: bool,
}

impl Scanner {
    /// One that guesses, or with `strict` searches for every end-line.
    pub(crate) fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    /// What stands at the front of `octets`. After [`Step::Partial`] it must be called again with
    /// the same octets and more.
    #[inline]
    pub(crate) fn next<'a>(&mut self, octets: &'a [u8]) -> Step<'a> {
        let Some((id, kind, line)) = start(octets) else {
            let possible = octets.len() < LINE_OCTETS_MAX;
            let so_far = octets.get(..5.min(octets.len())).unwrap_or_default();
            let plausible = b"MSRP ".starts_with(so_far) && possible;
            return if plausible { Step::Partial } else { Step::Broken };
        };
        let which = usize::from(matches!(kind, Kind::Response(_)));
        let last = self.last.get(which).copied().unwrap_or_default();
        let guess = |length: usize| Some((length, ends_at(octets, id, length)?));
        let guessed =
            if self.strict || self.searched > 0 { None } else { last.into_iter().find_map(guess) };
        let Some((length, flag)) = guessed.or_else(|| self.search(octets, id, line)) else {
            return Step::Partial;
        };
        self.searched = 0;
        if let [newest, ..] = last
            && newest != length
            && let Some(last) = self.last.get_mut(which)
        {
            *last = [length, newest];
        }
        let inside = octets.get(..length - END.len() - id.len() - 3).unwrap_or_default();
        Step::Frame(Frame { kind, id, inside, flag, length })
    }

    /// Searches for the end-line, from where the last search stopped: the length and the flag.
    fn search(&mut self, octets: &[u8], id: &[u8], line: usize) -> Option<(usize, u8)> {
        let mut from = self.searched.max(line.saturating_sub(2));
        while let Some(found) = memmem::find(octets.get(from..)?, END) {
            let at = from + found;
            let length = at + END.len() + id.len() + 3;
            if length > octets.len() {
                self.searched = at;
                return None;
            }
            if let Some(flag) = ends_at(octets, id, length) {
                return Some((length, flag));
            }
            from = at + 1;
        }
        // An end-line may have begun in the last octets.
        self.searched = octets.len().saturating_sub(END.len() - 1).max(from);
        None
    }
}

/// The flag, when a frame with this id ends after `length` octets.
#[inline]
fn ends_at(octets: &[u8], id: &[u8], length: usize) -> Option<u8> {
    let end = octets.get(length.checked_sub(END.len() + id.len() + 3)?..length)?;
    let rest = end.strip_prefix(END)?.strip_prefix(id)?;
    match rest {
        [flag @ (b'$' | b'+' | b'#'), b'\r', b'\n'] => Some(*flag),
        _ => None,
    }
}

/// The transaction id, what the frame is, and the length of its start line.
#[inline]
fn start(octets: &[u8]) -> Option<(&[u8], Kind, usize)> {
    let rest = octets.strip_prefix(b"MSRP ")?;
    let window = rest.get(..rest.len().min(ID_OCTETS_MAX + 1))?;
    let length = memchr::memchr(b' ', window).filter(|length| *length >= 4)?;
    let (id, rest) = rest.split_at(length);
    let rest = rest.get(1..)?;
    let line = memchr::memchr(b'\n', rest.get(..rest.len().min(LINE_OCTETS_MAX))?)?;
    let kind = match rest {
        [b'S', b'E', b'N', b'D', b'\r', ..] => Kind::Send,
        [b'R', b'E', b'P', b'O', b'R', b'T', b'\r', ..] => Kind::Report,
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ' | b'\r', ..] => {
            let digit = |octet: &u8| u16::from(octet - b'0');
            Kind::Response(digit(a) * 100 + digit(b) * 10 + digit(c))
        }
        _ => Kind::Other,
    };
    Some((id, kind, 5 + length + 1 + line + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4975 §4.
    const SEND: &str = "MSRP a786hjs2 SEND\r\nTo-Path: msrp://biloxi.example.com:12763/kjhd37s2s20w2a;tcp\r\n\
        From-Path: msrp://atlanta.example.com:7654/jshA7weztas;tcp\r\nMessage-ID: 87652491\r\n\
        Byte-Range: 1-25/25\r\nContent-Type: text/plain\r\n\r\nHey Bob, are you there?\r\n-------a786hjs2$\r\n";
    const OK: &str = "MSRP a786hjs2 200 OK\r\nTo-Path: msrp://atlanta.example.com:7654/jshA7weztas;tcp\r\n\
        From-Path: msrp://biloxi.example.com:12763/kjhd37s2s20w2a;tcp\r\n-------a786hjs2$\r\n";

    fn all(stream: &[u8], step: usize, strict: bool) -> Vec<(Kind, usize)> {
        let (mut found, mut carry) = (Vec::new(), Vec::new());
        let mut scanner = Scanner::new(strict);
        for piece in stream.chunks(step) {
            carry.extend_from_slice(piece);
            loop {
                match scanner.next(&carry) {
                    Step::Frame(frame) => {
                        found.push((frame.kind, frame.length));
                        let length = frame.length;
                        carry.drain(..length);
                    }
                    Step::Partial => break,
                    Step::Broken => panic!("broken at {}", found.len()),
                }
            }
        }
        assert!(carry.is_empty());
        found
    }

    #[test]
    fn whatever_the_cuts_the_frames_are_the_same() {
        let body =
            SEND.replace("Hey Bob", "-------a786hjs2 \r\n-------a786hjs3$\r\n\r\n-------a786hjs2!");
        let report = SEND.replace(" SEND", " REPORT");
        let stream = [SEND, OK, SEND, &body, OK, &report, SEND].concat();
        let expect: Vec<_> = [SEND, OK, SEND, &body, OK, &report, SEND]
            .iter()
            .map(|frame| {
                let kind = match frame.split(' ').nth(2) {
                    Some("200") => Kind::Response(200),
                    Some(method) if method.starts_with("REPORT") => Kind::Report,
                    _ => Kind::Send,
                };
                (kind, frame.len())
            })
            .collect();
        for step in 1..stream.len() {
            for strict in [false, true] {
                assert_eq!(all(stream.as_bytes(), step, strict), expect, "{step}");
            }
        }
    }

    #[test]
    fn the_parts_of_a_frame() {
        let mut scanner = Scanner::default();
        let Step::Frame(frame) = scanner.next(SEND.as_bytes()) else { panic!() };
        assert_eq!((frame.kind, frame.id, frame.flag), (Kind::Send, &b"a786hjs2"[..], b'$'));
        assert_eq!(frame.header("Byte-Range"), Some(&b"1-25/25"[..]));
        assert_eq!(frame.header("Failure-Report"), None);
        assert_eq!(frame.body(), Some(&b"Hey Bob, are you there?"[..]));
        let Step::Frame(frame) = scanner.next(OK.as_bytes()) else { panic!() };
        assert_eq!((frame.kind, frame.body()), (Kind::Response(200), None));
        let empty = SEND.replace("Hey Bob, are you there?", "");
        let Step::Frame(frame) = scanner.next(empty.as_bytes()) else { panic!() };
        assert_eq!(frame.body(), Some(&b""[..]));
        assert_eq!(frame.header("Content-Type"), Some(&b"text/plain"[..]));
    }

    #[test]
    fn what_is_no_msrp_is_broken() {
        let long = format!("MSRP {}", "x".repeat(600));
        for octets in ["GET / HTTP/1.1\r\n", "MSRQ", "\r\n", long.as_str()] {
            assert_eq!(Scanner::default().next(octets.as_bytes()), Step::Broken, "{octets}");
        }
        for octets in ["", "M", "MSRP", "MSRP a786", "MSRP a786hjs2 SEND", SEND.trim_end()] {
            assert_eq!(Scanner::default().next(octets.as_bytes()), Step::Partial, "{octets}");
        }
    }
}
