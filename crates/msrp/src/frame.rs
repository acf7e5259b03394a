//! Framing: requests and responses out of the octets of a connection (RFC 4975 §7.3.1).
//!
//! A body ends at `CRLF ------- transact-id flag CRLF`, wherever that is found first; what
//! `Byte-Range` says of its length is not asked, so that no two readers of a stream can see
//! different chunks in it.

use memchr::memchr;

use crate::end_line::{self, EndLine, Found, Resumed};
use crate::head::{self, Scanned};
use crate::{Continuation, Head, HeadError, MalformedHead, examined};

/// What a peer may send; local limits where no section is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a head, from the start line to the empty line or the end-line; 8192. More break
    /// the connection.
    pub head_octets_max: usize,
    /// Headers of a head; 64. More make it malformed.
    pub headers_max: usize,
    /// URIs of a path; 16. More make it malformed.
    pub uris_max: usize,
    /// Octets of the body of anything but a SEND; 10240 (RFC 4975 §7.1). More break the connection.
    pub other_body_octets_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_octets_max: 8192, headers_max: 64, uris_max: 16, other_body_octets_max: 10_240 }
    }
}

/// Why no further message can be found on a connection: it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It does not start with `MSRP`, a transaction identifier and CRLF after them.
    #[error("the start line is not MSRP and a transaction identifier")]
    StartLine,
    /// The head does not end within [`Limits::head_octets_max`].
    #[error("the head is too long")]
    HeadTooLong,
    /// The head has no `From-Path`.
    #[error("the head has no From-Path")]
    FromPath,
    /// A body of anything but a SEND does not end within [`Limits::other_body_octets_max`].
    #[error("the body of a request that is not a SEND is too long")]
    BodyTooLong,
}

/// A piece of what a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A head, with as much of the body as is there.
    Head {
        /// The head.
        head: Head<'a>,
        /// The first octets of the body: a slice of the input.
        body: &'a [u8],
        /// With the end-line: how it ends.
        end: Option<Continuation>,
    },
    /// More body of the same chunk.
    Body {
        /// The octets: a slice of the input, or fewer than 44 that were held back because they
        /// might have been the end-line.
        body: &'a [u8],
        /// With the end-line: how it ends.
        end: Option<Continuation>,
    },
    /// A request or response that cannot be read and has ended; a request is answered with 400.
    Malformed {
        /// As much as the answer needs.
        head: MalformedHead<'a>,
        /// What is wrong.
        error: HeadError,
    },
    /// Nothing further can be read: the connection is closed. The last piece.
    Broken(FrameError),
}

/// Finds the requests and responses in the octets of one connection.
///
/// However the octets are cut into inputs, the pieces say the same. Between messages it holds no
/// memory outside itself; only a head that is cut is copied, and no body is.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    /// A head that was cut: its octets so far, and where the last line of them starts.
    cut: Vec<u8>,
    line_at: usize,
    place: Place,
}

/// Where in the stream it is.
#[derive(Debug)]
struct Place {
    state: State,
    end_line: EndLine,
    /// Octets that the body may still have.
    room: usize,
    /// A malformed head whose end is still looked for.
    malformed: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a head; `cut` may hold the one that was given last.
    Start,
    /// In a head, the first octets of which are in `cut`.
    Cut,
    /// In the body of a head that was given.
    Body,
    /// In the body of a head that is in `malformed`.
    Skip,
    /// After as much of a body as is allowed, which is still to be said.
    TooLong,
    /// Nothing further.
    Closed,
}

/// What the octets of a body are, and how it goes on.
struct Read<'a> {
    body: &'a [u8],
    end: Option<Continuation>,
    state: State,
}

impl Framer {
    /// One for a new connection.
    pub fn new(limits: Limits) -> Self {
        let place =
            Place { state: State::Start, end_line: EndLine::new(), room: 0, malformed: Vec::new() };
        Self { limits, cut: Vec::new(), line_at: 0, place }
    }

    /// Whether a head has begun and not ended.
    pub fn in_head(&self) -> bool {
        self.place.state == State::Cut
    }

    /// Whether a body has begun and not ended.
    pub fn in_body(&self) -> bool {
        matches!(self.place.state, State::Body | State::Skip)
    }

    /// Whether what comes next is the first octet of a head.
    #[inline]
    pub(crate) fn is_between(&self) -> bool {
        self.place.state == State::Start
    }

    /// The next piece of `input` from octet `*at`, which moves on; `None`: all of it is used.
    pub fn next<'a>(&'a mut self, input: &'a [u8], at: &mut usize) -> Option<Piece<'a>> {
        if self.place.state != State::Cut && self.cut.capacity() > 0 {
            self.cut = Vec::new();
        }
        if self.place.state != State::Skip && self.place.malformed.capacity() > 0 {
            self.place.malformed = Vec::new();
        }
        match self.place.state {
            State::Start => self.start(input, at),
            State::Cut => self.go_on(input, at),
            State::Body => self.place.body(input, at),
            State::Skip => self.place.skip(&self.limits, input, at),
            State::TooLong => Some(self.place.broken(FrameError::BodyTooLong)),
            State::Closed => {
                *at = input.len();
                None
            }
        }
    }

    /// Reads the head at `*at`.
    fn start<'a>(&'a mut self, input: &'a [u8], at: &mut usize) -> Option<Piece<'a>> {
        let rest = input.get(*at..).filter(|rest| !rest.is_empty())?;
        let scanned = head::scan(rest, &self.limits);
        match scanned {
            Scanned::Head { next, .. } => *at += next,
            Scanned::Open => {
                examined(rest.len());
                self.line_at = memchr::memrchr(b'\n', rest).map_or(0, |end| end + 1);
                self.cut = rest.to_vec();
                self.place.state = State::Cut;
                *at = input.len();
                return None;
            }
            Scanned::Broken(_) => {}
        }
        self.place.head(&self.limits, rest, scanned, false, input, at)
    }

    /// Reads the head in `cut` when there is enough of it.
    fn go_on<'a>(&'a mut self, input: &'a [u8], at: &mut usize) -> Option<Piece<'a>> {
        if !self.complete(input, at) {
            return None;
        }
        let scanned = head::scan(&self.cut, &self.limits);
        self.place.head(&self.limits, &self.cut, scanned, true, input, at)
    }

    /// Adds to a head that was cut; whether there is now enough of it to say what it is.
    fn complete(&mut self, input: &[u8], at: &mut usize) -> bool {
        while let Some(rest) = input.get(*at..).filter(|rest| !rest.is_empty()) {
            let room = self.limits.head_octets_max.saturating_sub(self.cut.len());
            let rest = rest.get(..room).unwrap_or(rest);
            let end = memchr(b'\n', rest);
            let taken = end.map_or(rest.len(), |end| end + 1);
            examined(taken);
            self.cut.extend_from_slice(rest.get(..taken).unwrap_or_default());
            *at += taken;
            let is_enough = match end {
                Some(_) => head::is_enough(&self.cut, self.line_at),
                None => self.line_at == 0 && !head::may_start(&self.cut),
            };
            if is_enough || self.cut.len() >= self.limits.head_octets_max {
                return true;
            }
            if end.is_some() {
                self.line_at = self.cut.len();
            }
        }
        false
    }
}

impl Place {
    /// Gives the head that was `scanned` in `octets`, with as much body as `input` has from `*at`.
    /// When it is not cut, `octets` are those before `*at`.
    fn head<'a>(
        &'a mut self,
        limits: &Limits,
        octets: &'a [u8],
        scanned: Scanned<'a>,
        is_cut: bool,
        input: &'a [u8],
        at: &mut usize,
    ) -> Option<Piece<'a>> {
        let (head, next, end) = match scanned {
            Scanned::Head { head, next, end } => (head, next, end),
            Scanned::Broken(error) => return Some(self.broken(error)),
            Scanned::Open => return None,
        };
        let mut read = Read { body: &[], end, state: State::Start };
        if end.is_none() {
            let start = head.as_ref().map_or_else(|(head, _)| head.start, |head| head.start);
            self.room = if start.is_send() { usize::MAX } else { limits.other_body_octets_max };
            let (end_line, room) = (&mut self.end_line, &mut self.room);
            read = first_body(end_line, room, start.id(), is_cut, input, at);
        }
        self.state = read.state;
        match head {
            Ok(head) => Some(Piece::Head { head, body: read.body, end: read.end }),
            Err((head, error)) if read.end.is_some() => Some(Piece::Malformed { head, error }),
            Err(_) if read.state == State::TooLong => {
                self.state = State::Closed;
                Some(Piece::Broken(FrameError::BodyTooLong))
            }
            Err(_) => {
                self.malformed = octets.get(..next).unwrap_or_default().to_vec();
                self.state = State::Skip;
                None
            }
        }
    }

    fn body<'a>(&'a mut self, input: &'a [u8], at: &mut usize) -> Option<Piece<'a>> {
        let Read { body, end, state } = read_body(&mut self.end_line, &mut self.room, input, at);
        self.state = state;
        if !body.is_empty() || end.is_some() {
            return Some(Piece::Body { body, end });
        }
        if state != State::TooLong {
            return None;
        }
        self.state = State::Closed;
        Some(Piece::Broken(FrameError::BodyTooLong))
    }

    fn skip<'a>(
        &'a mut self,
        limits: &Limits,
        input: &'a [u8],
        at: &mut usize,
    ) -> Option<Piece<'a>> {
        loop {
            let Read { end, state, .. } = read_body(&mut self.end_line, &mut self.room, input, at);
            if state == State::TooLong {
                return Some(self.broken(FrameError::BodyTooLong));
            }
            if end.is_some() {
                self.state = State::Start;
                break;
            }
            if *at >= input.len() {
                return None;
            }
        }
        match head::scan(&self.malformed, limits) {
            Scanned::Head { head: Err((head, error)), .. } => {
                Some(Piece::Malformed { head, error })
            }
            // It was kept because that is what it is.
            _ => None,
        }
    }

    fn broken(&mut self, error: FrameError) -> Piece<'static> {
        self.state = State::Closed;
        Piece::Broken(error)
    }
}

/// Reads the first of the body of transaction `id`. The CRLF of the empty line before it may be
/// the one before the end-line too: some write an empty body so.
fn first_body<'a>(
    end_line: &'a mut EndLine,
    room: &mut usize,
    id: &[u8],
    is_cut: bool,
    input: &'a [u8],
    at: &mut usize,
) -> Read<'a> {
    if is_cut {
        end_line.start(id, b"\r\n", true);
        return read_body(end_line, room, input, at);
    }
    let from = at.saturating_sub(b"\r\n".len());
    let rest = input.get(from..).unwrap_or_default();
    let (body, next, end) = match end_line::find(rest, id) {
        Found::End { body, next, continuation } => (body, next, Some(continuation)),
        Found::Open { body } => {
            let held = rest.get(body..).unwrap_or_default();
            end_line.start(id, held, body == 0);
            (body, rest.len(), None)
        }
    };
    let body = input.get(*at..from + body).unwrap_or_default();
    *at = from + next;
    within(body, end, room)
}

/// Reads body from octet `*at` of `input`, up to its end or to `room` octets.
fn read_body<'a>(
    end_line: &'a mut EndLine,
    room: &mut usize,
    input: &'a [u8],
    at: &mut usize,
) -> Read<'a> {
    let rest = input.get(*at..).unwrap_or_default();
    if end_line.holds() {
        match end_line.resume(rest) {
            Resumed::End { next, continuation } => {
                *at += next;
                return Read { body: &[], end: Some(continuation), state: State::Start };
            }
            Resumed::Held => {
                *at = input.len();
                return Read { body: &[], end: None, state: State::Body };
            }
            Resumed::Body { held } if held.is_empty() => {}
            Resumed::Body { held } => return within(end_line.octets(held), None, room),
        }
    }
    match end_line.find(rest) {
        Found::End { body, next, continuation } => {
            *at += next;
            within(rest.get(..body).unwrap_or_default(), Some(continuation), room)
        }
        Found::Open { body } => {
            *at = input.len();
            within(rest.get(..body).unwrap_or_default(), None, room)
        }
    }
}

/// Body that is within `room`, or as much of it as is.
fn within<'a>(body: &'a [u8], end: Option<Continuation>, room: &mut usize) -> Read<'a> {
    match room.checked_sub(body.len()) {
        Some(left) => {
            *room = left;
            Read { body, end, state: if end.is_some() { State::Start } else { State::Body } }
        }
        None => {
            Read { body: body.get(..*room).unwrap_or_default(), end: None, state: State::TooLong }
        }
    }
}

#[cfg(test)]
mod tests;
