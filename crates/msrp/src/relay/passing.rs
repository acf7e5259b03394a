//! A request of which the head came, and not the end.
//!
//! What comes of a SEND goes on in chunks of its own as soon as there is enough for one: each has
//! the range of what it has, all but the last are interrupted. One octet stays here, so that the
//! last has something. Any other request waits for its end: it cannot be cut (RFC 4975 §7.1 bounds
//! what that takes).

use bytes::Bytes;
use smallvec::SmallVec;

use crate::node::ConnectionId;
use crate::node::cx::{Cx, Unsent, Verdict};
use crate::node::receive::{Chunk, More};
use crate::relay::Relay;
use crate::relay::back::{Forwarded, Passed};
use crate::relay::forward::{Leaving, Memory, Route, accepted, remembered};
use crate::session::SessionKey;
use crate::{Continuation, Head, Method, Start};

/// Octets of a chunk that is not the last, at least (RFC 4975 §7.1: SHOULD NOT be shorter).
pub(super) const CHUNK_OCTETS_MIN: usize = 2048;

/// A request in progress.
#[derive(Debug)]
pub(super) struct Passing {
    source: ConnectionId,
    route: Route,
    /// The side of a pair that it came to.
    pub(super) pair: Option<u32>,
    method: Box<[u8]>,
    /// The header lines after From-Path.
    rest: Box<[u8]>,
    /// Where in them the line of `Byte-Range` is.
    line: (usize, usize),
    memory: Option<Memory>,
    message_id: SmallVec<[u8; 32]>,
    /// The position of the first octet that was not passed on, from 1.
    start: u64,
    total: Option<u64>,
    /// Whether a part was passed on.
    is_cut: bool,
    has_body: bool,
    /// Octets that were not passed on.
    held: Vec<u8>,
    /// Whether it failed: what follows is dropped.
    failed: bool,
}

impl Passing {
    pub(super) fn new(chunk: &Chunk<'_>, route: Route, pair: Option<u32>) -> Option<Self> {
        let head = chunk.head;
        let Start::Request { method, .. } = head.start else { return None };
        let range = Passed::of(head, 0);
        Some(Self {
            source: chunk.connection,
            route,
            pair,
            method: method.as_bytes().into(),
            rest: head.rest.into(),
            line: range_line(head),
            memory: Memory::of(head),
            message_id: head.message_id.unwrap_or_default().into(),
            start: range.start,
            total: range.total,
            is_cut: false,
            has_body: head.has_body,
            held: Vec::new(),
            failed: false,
        })
    }

    fn method(&self) -> Method<'_> {
        Method::from_name(&self.method)
    }

    /// The position of the octet that comes next, from 1.
    pub(super) fn next(&self) -> u64 {
        self.start.saturating_add(self.held.len() as u64)
    }

    /// How many octets wait here.
    #[cfg(test)]
    pub(super) fn held_octets(&self) -> usize {
        self.held.len()
    }

    /// What its sender is told of when it fails now.
    fn given_up(&mut self) -> Option<Forwarded> {
        let memory = self.memory.take().filter(|_| !self.failed)?;
        let octets = self.held.len() as u64;
        let range = Passed { start: self.start, octets, total: self.total };
        remembered(memory, range, self.source)
    }

    /// As it leaves when `body` is put after what is held.
    fn leaving<'a>(
        &'a self,
        held: &'a [u8],
        body: &'a [u8],
        octets: Option<&'a Bytes>,
        end: Continuation,
        is_whole: bool,
    ) -> (Passed, Leaving<'a>) {
        let range = Passed {
            start: self.start,
            octets: (held.len() + body.len()) as u64,
            total: self.total,
        };
        let (before, after) = if is_whole {
            (&self.rest[..], &[][..])
        } else {
            let (from, to) = self.line;
            (self.rest.get(..from).unwrap_or_default(), self.rest.get(to..).unwrap_or_default())
        };
        let leaving = Leaving {
            method: self.method(),
            before,
            range: (!is_whole).then_some(range),
            after,
            body: self.has_body.then_some((held, body)),
            octets,
            end,
        };
        (range, leaving)
    }
}

impl Relay {
    /// Passes on what there is of a request.
    pub(super) fn pass_part(
        &mut self,
        cx: &mut Cx,
        chunk: &Chunk<'_>,
        route: Route,
        pair: Option<u32>,
    ) -> Verdict {
        let Some(mut passing) = Passing::new(chunk, route, pair) else { return Verdict::Done };
        let verdict = self.add(cx, &mut passing, chunk.body, chunk.octets, None);
        if verdict == Verdict::Accept {
            self.passing.insert(chunk.connection, Box::new(passing));
        }
        verdict
    }

    /// Takes more of a request.
    pub(super) fn pass_more(
        &mut self,
        cx: &mut Cx,
        passing: &mut Passing,
        more: &More<'_>,
    ) -> Verdict {
        if let Some(number) = passing.pair
            && let Err(code) = self.check_more(number, passing.next(), more)
        {
            self.abort(cx, passing);
            return Verdict::Refuse(code);
        }
        if let Some(number) = passing.pair {
            self.copy_more(cx, number, more);
        }
        let verdict = self.add(cx, passing, more.body, more.octets, more.end);
        match more.end {
            Some(_) if verdict == Verdict::Accept => accepted(passing.method()),
            _ => verdict,
        }
    }

    /// Adds `body` and passes on what is enough for a chunk.
    fn add(
        &mut self,
        cx: &mut Cx,
        passing: &mut Passing,
        body: &[u8],
        octets: &Bytes,
        end: Option<Continuation>,
    ) -> Verdict {
        if passing.failed {
            return Verdict::Accept;
        }
        let is_send = passing.method() == Method::Send;
        let there = passing.held.len() + body.len();
        let (body, kept, end, is_whole) = match end {
            Some(end) => (body, &[][..], end, !passing.is_cut),
            None if is_send && there > CHUNK_OCTETS_MIN => {
                let (now, last) = body.split_at(body.len().saturating_sub(1));
                (now, last, Continuation::More, false)
            }
            None => {
                passing.held.extend_from_slice(body);
                return Verdict::Accept;
            }
        };
        let octets = (body.len() >= crate::SHARED_OCTETS_MIN).then_some(octets);
        if self.emit(cx, passing, (body, octets), end, is_whole).is_err() {
            // It was reported, or nobody wants to know.
            passing.failed = true;
        }
        passing.held.extend_from_slice(kept);
        Verdict::Accept
    }

    /// Passes on what is held, and `body`.
    fn emit(
        &mut self,
        cx: &mut Cx,
        passing: &mut Passing,
        (body, octets): (&[u8], Option<&Bytes>),
        end: Continuation,
        is_whole: bool,
    ) -> Result<(), Unsent> {
        let held = std::mem::take(&mut passing.held);
        let (range, leaving) = passing.leaving(&held, body, octets, end, is_whole);
        let memory = (passing.memory.clone(), range);
        if let Some(number) = passing.pair
            && !self.may_leave(cx, number, leaving.method)
        {
            self.keep(cx, number, passing.source, memory, &passing.message_id, &leaving)?;
        } else {
            self.pass(cx, passing.source, &passing.route, memory, &leaving)?;
        }
        passing.start = passing.start.saturating_add(range.octets);
        passing.is_cut = true;
        Ok(())
    }

    /// What was passed on of a message is no longer wanted, since its rest does not come
    /// (RFC 4975 §7.1).
    fn abort(&mut self, cx: &mut Cx, passing: &mut Passing) {
        let is_inside = passing.is_cut || passing.start > 1;
        if passing.failed || !is_inside || passing.method() != Method::Send {
            return;
        }
        passing.failed = true;
        passing.memory = None;
        passing.held.clear();
        // Nobody waits for an answer to it.
        let _ = self.emit(cx, passing, (&[], None), Continuation::Abort, false);
    }

    /// The peer on side `number` of a pair goes: what it was sending is aborted, what was sent
    /// to it has failed.
    pub(super) fn stop_passing(&mut self, cx: &mut Cx, number: u32) {
        let is_of = |passing: &Passing| passing.pair.is_some_and(|pair| pair / 2 == number / 2);
        let under_way = self.passing.iter().filter(|(_, passing)| is_of(passing));
        let connections: Vec<ConnectionId> = under_way.map(|(connection, _)| *connection).collect();
        for connection in connections {
            let Some(mut passing) = self.passing.remove(&connection) else { continue };
            if passing.pair == Some(number) {
                self.abort(cx, &mut passing);
            } else if let Some(failed) = passing.given_up() {
                self.report(cx, passing.route.key, &failed, 481);
            }
            passing.failed = true;
            passing.held.clear();
            self.passing.insert(connection, passing);
        }
    }

    /// The same for a message whose next chunk is refused with its head.
    pub(super) fn abort_before(&mut self, cx: &mut Cx, chunk: &Chunk<'_>, route: Route, pair: u32) {
        if let Some(mut passing) = Passing::new(chunk, route, Some(pair)) {
            self.abort(cx, &mut passing);
        }
    }

    /// What is under way to side `number` of a pair leaves from another session.
    pub(super) fn lead_to(&mut self, number: u32, session: SessionKey) {
        let to = |passing: &&mut Box<Passing>| passing.pair == Some(number ^ 1);
        for passing in self.passing.values_mut().filter(to) {
            passing.route.key = session;
        }
    }
}

/// Where in the header lines `Byte-Range` stands; where it has to stand when it does not.
fn range_line(head: &Head<'_>) -> (usize, usize) {
    let mut at = 0;
    for line in head.lines() {
        let end = at + line.octets.len();
        if line.name.eq_ignore_ascii_case(b"Byte-Range") {
            return (at, end);
        }
        at = end;
    }
    (0, 0)
}
