//! What a session writes: its requests and its responses, from templates.

use super::frame::Frame;
use super::legs::Member;
use super::options::FailureReport;
use super::stamp::{STAMP_OCTETS, Stamp, hex, sum, unhex};

/// Octets of a transaction id of ours: 13 base-32 digits of the run, which are 64 random bits
/// (RFC 4975 §8.3), 6 hexadecimal digits of the session, 8 of the request.
const ID_OCTETS: usize = 27;
/// Octets of the digits of the run in an id.
const RUN_OCTETS: usize = 13;
/// The number of the request that binds a session.
pub(crate) const BIND: u32 = u32::MAX;
/// A chunk that is larger can be interrupted, and says so (RFC 4975 §5.1).
const UNINTERRUPTIBLE_OCTETS_MAX: u64 = 2048;
/// Length of the pattern that fills messages: no power of two, so that a piece at a wrong place
/// is noticed.
const PATTERN_OCTETS: usize = 65_521;

/// Lengths of a SEND for which a session remembers the answer; local limit.
const LENGTHS_MAX: usize = 8;

/// What all messages of a run have in common.
#[derive(Debug)]
pub(crate) struct Run {
    /// The first digits of every transaction id.
    id: [u8; RUN_OCTETS],
    /// Fills messages.
    pattern: Vec<u8>,
    /// Octets of the text of a message, the stamp among them.
    pub(crate) size: u64,
    /// Octets of a chunk.
    chunk: u64,
    failure_report: FailureReport,
    success_report: bool,
}

/// Who writes a request: the number of the session and what is in its headers.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) session: u32,
    pub(crate) group: u16,
    /// Counted within its group.
    pub(crate) at: u16,
    /// To-Path and From-Path, with their line ends.
    paths: String,
    /// In a room the headers of message/cpim (RFC 3862), which every message begins with.
    cpim: Vec<u8>,
}

/// A request and its parts that change.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    octets: Vec<u8>,
    message_id_at: usize,
    end_id_at: usize,
    stamp_at: usize,
    /// The sum of the text before the stamp.
    filler: u64,
}

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The message.
    pub(crate) sequence: u32,
    /// The request, counted over all pieces.
    pub(crate) request: u32,
    /// Where it begins, from 0.
    pub(crate) offset: u64,
    /// When the message was due.
    pub(crate) due: u64,
}

impl Run {
    pub(crate) fn new(
        random: u64,
        (size, chunk): (u64, u64),
        failure_report: FailureReport,
        success_report: bool,
    ) -> Self {
        let mut id = [0; RUN_OCTETS];
        let mut rest = random;
        for octet in &mut id {
            let digit = usize::try_from(rest % 32).unwrap_or(0);
            *octet = b"abcdefghijklmnopqrstuvwxyz234567".get(digit).copied().unwrap_or(b'a');
            rest = rest.rotate_right(5);
        }
        let letters = b"the quick brown fox jumps over the lazy dog; ";
        let pattern = (0..PATTERN_OCTETS).map(|at| {
            let letter = letters.get((at * at / 7 + at) % letters.len());
            letter.copied().unwrap_or(b' ')
        });
        Self { id, pattern: pattern.collect(), size, chunk, failure_report, success_report }
    }

    /// Whether our requests are answered when all is well.
    pub(crate) fn answered(&self) -> bool {
        self.failure_report == FailureReport::Yes
    }

    /// Octets of a whole message.
    pub(crate) fn total(&self, author: &Author) -> u64 {
        author.cpim.len() as u64 + self.size
    }

    /// The session and the request that a transaction id of this run names.
    #[inline]
    pub(crate) fn request_of(&self, id: &[u8]) -> Option<(u32, u32)> {
        let numbers = id.strip_prefix(&self.id)?;
        let (session, request) = (numbers.get(..6)?, numbers.get(6..14)?);
        Some((u32::try_from(unhex(session)).ok()?, u32::try_from(unhex(request)).ok()?))
    }

    fn write_id(&self, session: u32, request: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&numbers(session, request));
    }

    /// An empty SEND, which binds the session to the connection (RFC 4975 §5.4).
    pub(crate) fn bind(&self, author: &Author, out: &mut Vec<u8>) {
        out.extend_from_slice(b"MSRP ");
        self.write_id(author.session, BIND, out);
        out.extend_from_slice(b" SEND\r\n");
        out.extend_from_slice(author.paths.as_bytes());
        out.extend_from_slice(b"Message-ID: b");
        out.extend_from_slice(&numbers(author.session, BIND));
        out.extend_from_slice(b"\r\nByte-Range: 1-0/0\r\n-------");
        self.write_id(author.session, BIND, out);
        out.extend_from_slice(b"$\r\n");
    }

    /// Writes one piece of a message, and says how long the piece is.
    pub(crate) fn write(&self, author: &Author, piece: &Piece, out: &mut Vec<u8>) -> u64 {
        let total = self.total(author);
        let length = self.chunk.min(total - piece.offset);
        let (first, last) = (piece.offset + 1, piece.offset + length);
        out.extend_from_slice(b"MSRP ");
        self.write_id(author.session, piece.request, out);
        out.extend_from_slice(b" SEND\r\n");
        out.extend_from_slice(author.paths.as_bytes());
        out.extend_from_slice(b"Message-ID: m");
        out.extend_from_slice(&numbers(author.session, piece.sequence));
        let end = match length {
            0..=UNINTERRUPTIBLE_OCTETS_MAX => last.to_string(),
            _ => "*".to_owned(),
        };
        out.extend_from_slice(format!("\r\nByte-Range: {first}-{end}/{total}\r\n").as_bytes());
        match self.failure_report {
            FailureReport::Yes => {}
            FailureReport::Partial => out.extend_from_slice(b"Failure-Report: partial\r\n"),
            FailureReport::No => out.extend_from_slice(b"Failure-Report: no\r\n"),
        }
        if self.success_report {
            out.extend_from_slice(b"Success-Report: yes\r\n");
        }
        let kind: &[u8] = if author.cpim.is_empty() { b"text/plain" } else { b"message/cpim" };
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(kind);
        out.extend_from_slice(b"\r\n\r\n");
        self.fill(author, piece, length, out);
        out.extend_from_slice(b"\r\n-------");
        self.write_id(author.session, piece.request, out);
        out.push(if last == total { b'$' } else { b'+' });
        out.extend_from_slice(b"\r\n");
        length
    }

    /// Appends `length` octets of the message from the offset of `piece` on.
    fn fill(&self, author: &Author, piece: &Piece, length: u64, out: &mut Vec<u8>) {
        let (mut at, end) = (piece.offset, piece.offset + length);
        let stamp_at = self.total(author) - STAMP_OCTETS as u64;
        while at < end {
            let part = if let Some(cpim) = author.cpim.get(index(at)..).filter(|c| !c.is_empty()) {
                cpim
            } else if at < stamp_at {
                let pattern = self.pattern.get(index(at % PATTERN_OCTETS as u64)..);
                let pattern = pattern.unwrap_or_default();
                pattern.get(..index(stamp_at - at)).unwrap_or(pattern)
            } else {
                let stamp = self.stamp(author, piece);
                out.extend_from_slice(
                    stamp.get(index(at - stamp_at)..index(end - stamp_at)).unwrap_or_default(),
                );
                return;
            };
            let part = part.get(..index(end - at)).unwrap_or(part);
            out.extend_from_slice(part);
            at += part.len() as u64;
        }
    }

    fn stamp(&self, author: &Author, piece: &Piece) -> [u8; STAMP_OCTETS] {
        let mut stamp = [0; STAMP_OCTETS];
        author.stamp(piece).write(self.filler(author), &mut stamp);
        stamp
    }

    /// The sum of the text before the stamp; of a large message only its length.
    fn filler(&self, author: &Author) -> u64 {
        if self.total(author) > self.chunk {
            return sum(&self.size.to_le_bytes());
        }
        let from = author.cpim.len();
        let to = from + index(self.size) - STAMP_OCTETS;
        let filler: Vec<u8> =
            (from..to).filter_map(|at| self.pattern.get(at % PATTERN_OCTETS).copied()).collect();
        sum(&filler)
    }

    /// Whether `body` is what stands in a message of `author` from `offset` on; the stamp at its
    /// end is not looked at.
    pub(crate) fn holds(&self, author: &Author, offset: u64, body: &[u8]) -> bool {
        let total = self.total(author);
        if offset.checked_add(body.len() as u64).is_none_or(|end| end > total) {
            return false;
        }
        let stamp_at = total - STAMP_OCTETS as u64;
        let checked = (body.len() as u64).min(stamp_at.saturating_sub(offset));
        let mut wanted = Vec::with_capacity(index(checked));
        let piece = Piece { sequence: 0, request: 0, offset, due: 0 };
        self.fill(author, &piece, checked, &mut wanted);
        body.get(..wanted.len()) == Some(wanted.as_slice())
    }

    /// The template of messages that are one chunk; `None` when they are more.
    pub(crate) fn template(&self, author: &Author) -> Option<Template> {
        if self.total(author) > self.chunk {
            return None;
        }
        let mut octets = Vec::new();
        let piece = Piece { sequence: 0, request: 0, offset: 0, due: 0 };
        self.write(author, &piece, &mut octets);
        let end_id_at = octets.len() - 3 - 14;
        let message_id_at = memchr::memmem::find(&octets, b"Message-ID: m")? + 13;
        let stamp_at = octets.len() - 3 - ID_OCTETS - 9 - STAMP_OCTETS;
        let filler = self.filler(author);
        Some(Template { octets, message_id_at, end_id_at, stamp_at, filler })
    }
}

impl Author {
    /// The author of what session `session` sends; it is member `at` of `group`.
    pub(crate) fn new(session: u32, group: u16, at: u16, member: &Member, room: &str) -> Self {
        let cpim = if room.is_empty() {
            Vec::new()
        } else {
            format!(
                "From: <{}>\r\nTo: <{room}>\r\nDateTime: 2025-01-01T00:00:00Z\r\n\r\n\
                 Content-Type: text/plain; charset=utf-8\r\n\r\n",
                member.participant
            )
            .into_bytes()
        };
        let paths = format!("To-Path: {}\r\nFrom-Path: {}\r\n", member.to_path, member.from_path);
        Self { session, group, at, paths, cpim }
    }

    fn stamp(&self, piece: &Piece) -> Stamp {
        Stamp { group: self.group, sender: self.at, sequence: piece.sequence, due: piece.due }
    }
}

impl Template {
    /// Appends the request for a message that is one chunk.
    #[inline]
    pub(crate) fn write(&self, author: &Author, piece: &Piece, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.octets);
        let Some(frame) = out.get_mut(start..) else { return };
        let number = numbers(author.session, piece.request);
        for at in [5 + RUN_OCTETS, self.end_id_at] {
            if let Some(id) = frame.get_mut(at..at + number.len()) {
                id.copy_from_slice(&number);
            }
        }
        if let Some(id) = frame.get_mut(self.message_id_at + 6..self.message_id_at + 14) {
            hex(u64::from(piece.sequence), id);
        }
        let stamp = frame.get_mut(self.stamp_at..).and_then(|rest| rest.first_chunk_mut());
        if let Some(stamp) = stamp {
            author.stamp(piece).write(self.filler, stamp);
        }
    }
}

/// How a session answers a SEND (RFC 4975 §7.2): 200, to the first URI of its From-Path.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Octets of the SEND this was learnt from.
    learnt_from: usize,
    /// Whether the sender wants an answer.
    pub(crate) wanted: bool,
    /// What stands between the two transaction ids.
    middle: Vec<u8>,
}

impl Answer {
    /// Learns from a SEND how such are answered.
    pub(crate) fn learn(frame: &Frame<'_>) -> Self {
        let first = |header| {
            let value: &[u8] = frame.header(header).unwrap_or_default();
            value.split(|octet| *octet == b' ').next().unwrap_or_default()
        };
        let failure_report = frame.header("Failure-Report");
        let wanted = failure_report.is_none_or(|value| value.eq_ignore_ascii_case(b"yes"));
        let (to, from) = (first("From-Path"), first("To-Path"));
        let parts: [&[u8]; 5] =
            [b" 200 OK\r\nTo-Path: ", to, b"\r\nFrom-Path: ", from, b"\r\n-------"];
        Self { learnt_from: frame.length, wanted, middle: parts.concat() }
    }

    /// Appends the answer to the request with `id`.
    #[inline]
    pub(crate) fn write(&self, id: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.middle.len() + 2 * id.len() + 8);
        out.extend_from_slice(b"MSRP ");
        out.extend_from_slice(id);
        out.extend_from_slice(&self.middle);
        out.extend_from_slice(id);
        out.extend_from_slice(b"$\r\n");
    }
}

/// How a session answers: learnt once for each length of a SEND, since what senders ask for does
/// not change during a run, and neither do the paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    learnt: Vec<Answer>,
    /// The next to be forgotten when [`LENGTHS_MAX`] are known.
    oldest: usize,
}

impl Answers {
    /// The answer to a SEND.
    #[inline]
    pub(crate) fn to(&mut self, frame: &Frame<'_>) -> Option<&Answer> {
        let known = self.learnt.iter().position(|answer| answer.learnt_from == frame.length);
        let at = known.unwrap_or_else(|| self.learn(frame));
        self.learnt.get(at)
    }

    #[cold]
    fn learn(&mut self, frame: &Frame<'_>) -> usize {
        if self.learnt.len() < LENGTHS_MAX {
            self.learnt.push(Answer::learn(frame));
            return self.learnt.len() - 1;
        }
        let at = self.oldest;
        self.oldest = (at + 1) % LENGTHS_MAX;
        if let Some(answer) = self.learnt.get_mut(at) {
            *answer = Answer::learn(frame);
        }
        at
    }
}

/// The session and sequence number that a Message-ID of ours names.
pub(crate) fn message_of(message_id: &[u8]) -> Option<(u32, u32)> {
    let numbers = message_id.strip_prefix(b"m")?;
    let (session, sequence) = (numbers.get(..6)?, numbers.get(6..14)?);
    Some((u32::try_from(unhex(session)).ok()?, u32::try_from(unhex(sequence)).ok()?))
}

/// The digits of a session and of a request or message of it.
#[inline]
fn numbers(session: u32, number: u32) -> [u8; 14] {
    let mut digits = [0; 14];
    let (first, second) = digits.split_at_mut(6);
    hex(u64::from(session), first);
    hex(u64::from(number), second);
    digits
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Kind, Scanner, Step};
    use super::super::legs::Target;
    use super::super::stamp::intact;
    use super::*;

    fn author(room: &str) -> Author {
        let uri = "msrp://127.0.0.1:2855/s;tcp";
        let member = Member {
            to_path: uri.to_owned(),
            from_path: "msrp://127.0.0.1:9/p;tcp".to_owned(),
            participant: "sip:p1@x".to_owned(),
            server: Target::parse(uri).unwrap(),
        };
        Author::new(0xabcdef, 7, 1, &member, room)
    }

    fn frame(octets: &[u8]) -> Frame<'_> {
        match Scanner::new(true).next(octets) {
            Step::Frame(frame) => frame,
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn a_template_writes_what_is_written_without() {
        for room in ["", "sip:room@x"] {
            let run = Run::new(u64::MAX / 3, (300, 2048), FailureReport::Yes, false);
            let author = author(room);
            let template = run.template(&author).unwrap();
            let piece = Piece { sequence: 9, request: 0x12345678, offset: 0, due: 1 << 40 };
            let (mut quick, mut slow) = (Vec::new(), Vec::new());
            template.write(&author, &piece, &mut quick);
            run.write(&author, &piece, &mut slow);
            assert_eq!(String::from_utf8(quick.clone()), String::from_utf8(slow));
            let frame = frame(&quick);
            assert_eq!(run.request_of(frame.id), Some((0xabcdef, 0x12345678)));
            assert_eq!(message_of(frame.header("Message-ID").unwrap()), Some((0xabcdef, 9)));
            let stamp = Stamp { group: 7, sender: 1, sequence: 9, due: 1 << 40 };
            assert_eq!(Stamp::read(frame.inside), Some(stamp));
            assert!(intact(frame.inside, 300));
            assert!(run.holds(&author, 0, frame.body().unwrap()));
        }
    }

    #[test]
    fn chunks_make_up_the_message() {
        let run = Run::new(1, (200_000, 3_000), FailureReport::No, true);
        let author = author("sip:room@x");
        let (mut offset, mut request, mut flags, mut last) = (0, 0, Vec::new(), Vec::new());
        while offset < run.total(&author) {
            let mut out = Vec::new();
            let piece = Piece { sequence: 0, request, offset, due: 5 };
            let length = run.write(&author, &piece, &mut out);
            let frame = frame(&out);
            let body = frame.body().unwrap();
            assert_eq!(body.len() as u64, length);
            assert!(run.holds(&author, offset, body), "{offset}");
            assert!(!run.holds(&author, offset + 1, body), "{offset}");
            assert_eq!(frame.header("Failure-Report"), Some(&b"no"[..]));
            assert_eq!(frame.header("Success-Report"), Some(&b"yes"[..]));
            let range = frame.header("Byte-Range").unwrap();
            assert!(range.starts_with(format!("{}-", offset + 1).as_bytes()));
            flags.push(frame.flag);
            last = frame.inside.to_vec();
            offset += length;
            request += 1;
        }
        assert!(flags.iter().rev().skip(1).all(|flag| *flag == b'+'));
        assert_eq!(flags.last(), Some(&b'$'));
        assert_eq!(Stamp::read(&last).map(|stamp| stamp.due), Some(5));
    }

    #[test]
    fn an_answer_goes_to_the_first_uri() {
        let run = Run::new(1, (300, 2048), FailureReport::Yes, false);
        let mut out = Vec::new();
        run.bind(&author(""), &mut out);
        let text = String::from_utf8(out).unwrap();
        let text = text.replace("From-Path: ", "From-Path: msrp://127.0.0.1:1/relay;tcp ");
        let send = frame(text.as_bytes());
        assert_eq!((send.kind, send.body()), (Kind::Send, None));
        assert_eq!(run.request_of(send.id), Some((0xabcdef, BIND)));
        let answer = Answer::learn(&send);
        assert!(answer.wanted);
        let mut octets = Vec::new();
        answer.write(send.id, &mut octets);
        let response = frame(&octets);
        assert_eq!((response.kind, response.id), (Kind::Response(200), send.id));
        assert_eq!(response.header("To-Path"), Some(&b"msrp://127.0.0.1:1/relay;tcp"[..]));
        assert_eq!(response.header("From-Path"), Some(&b"msrp://127.0.0.1:2855/s;tcp"[..]));
        let text = text.replace("Byte-Range", "Failure-Report: partial\r\nByte-Range");
        assert!(!Answer::learn(&frame(text.as_bytes())).wanted);
    }
}
