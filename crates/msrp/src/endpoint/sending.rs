//! Messages that go (RFC 4975 §7.1.1).

use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use super::session::Endpoint;
use super::{Event, Failure, Message, MessageKey, SendError};
use crate::chunk::{CHUNK_OCTETS_MAX, ChunkHeaders, INTERRUPTIBLE_OCTETS_MIN, Place};
use crate::header::FailureReport;
use crate::node::Lost;
use crate::node::cx::Cx;
use crate::report::Report;
use crate::{Continuation, TransactionId};

/// How many messages of one session wait to be written, or for their last response, at most. Local
/// limit; one more is not taken ([`SendError::Full`]).
pub const MESSAGES_MAX: usize = 1024;

/// How many octets of messages of one session wait to be written when a further message is taken.
/// Local limit ([`SendError::Full`]); one message alone may be larger.
pub const QUEUED_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// How many octets are asked for at a time.
const WANTED_OCTETS: usize = 4 * CHUNK_OCTETS_MAX;

/// How many types that a peer refused are remembered. Local limit; the oldest is forgotten, and
/// will be refused again.
const REFUSED_MAX: usize = 16;

/// The bit in a token that says that no response is no failure (Failure-Report `partial`).
const QUIET: u64 = 1 << 62;

/// A message that is not written, or not all of it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) message: MessageKey,
    message_id: Box<[u8]>,
    content_type: Box<str>,
    headers: ChunkHeaders,
    failure_report: FailureReport,
    success_report: bool,
    /// What is there of it and not written.
    ready: VecDeque<Bytes>,
    ready_octets: usize,
    /// Octets written.
    position: u64,
    total: Option<u64>,
    /// All that is not written is ready.
    complete: bool,
    /// The application was asked for more.
    asked: bool,
    /// Chunks without a response.
    unanswered: u32,
}

/// A message that is written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) message: MessageKey,
    message_id: Box<[u8]>,
    content_type: Box<str>,
    /// A REPORT may come.
    success_report: bool,
    /// Chunks without a response.
    unanswered: u32,
}

impl Outgoing {
    pub(super) fn new(message: MessageKey, message_id: Box<[u8]>, what: Message) -> Self {
        let headers = ChunkHeaders::new(
            &message_id,
            what.success_report,
            what.failure_report,
            &what.headers,
            &what.content_type,
        );
        let (ready, total, complete) = match what.body {
            super::Body::Whole(body) => {
                let total = body.len() as u64;
                (body, Some(total), true)
            }
            super::Body::Pulled { total } => (Bytes::new(), total, false),
        };
        Self {
            message,
            message_id,
            content_type: what.content_type,
            headers,
            failure_report: what.failure_report,
            success_report: what.success_report,
            ready_octets: ready.len(),
            ready: VecDeque::from([ready]),
            position: 0,
            total,
            complete,
            asked: false,
            unanswered: 0,
        }
    }

    /// Whether a chunk of it can be written: the last, or one that is not too short.
    fn is_ready(&self) -> bool {
        self.complete || self.ready_octets >= INTERRUPTIBLE_OCTETS_MIN
    }

    /// Takes the next octets, no more than `most`.
    fn next(&mut self, most: usize) -> Vec<Bytes> {
        let mut parts = Vec::with_capacity(1);
        let mut room = most;
        while room > 0
            && let Some(first) = self.ready.front_mut()
        {
            let part = first.split_to(first.len().min(room));
            if first.is_empty() {
                self.ready.pop_front();
            }
            room -= part.len();
            parts.push(part);
        }
        self.ready_octets -= most - room;
        parts
    }
}

impl Endpoint {
    /// Takes a message to be sent.
    pub(super) fn submit(&mut self, cx: &mut Cx, what: Message) -> Result<MessageKey, SendError> {
        let essence = what.content_type.split(';').next().unwrap_or_default().trim();
        if !self.peer.admits(&what.content_type)
            || what.wrapped_type.as_deref().is_some_and(|inner| !self.peer.admits_wrapped(inner))
            || self.refused.iter().any(|refused| refused.eq_ignore_ascii_case(essence))
        {
            return Err(SendError::Type);
        }
        let length = match &what.body {
            super::Body::Whole(body) => Some(body.len() as u64),
            super::Body::Pulled { total } => *total,
        };
        if length > self.peer.octets_max.or(length) {
            return Err(SendError::Long);
        }
        if !self.has_room(length.unwrap_or(0)) {
            return Err(SendError::Full);
        }
        let message = self.number();
        let message_id = match &what.message_id {
            Some(message_id) => message_id.as_bytes().into(),
            None => Box::from(cx.message_id()),
        };
        self.queue.push_back(Outgoing::new(message, message_id, what));
        self.ask(cx, message);
        self.ready(cx);
        Ok(message)
    }

    /// Takes more octets of a message; with `last` these are the last.
    pub(super) fn supply(&mut self, cx: &mut Cx, message: MessageKey, octets: Bytes, last: bool) {
        let Some(outgoing) = self.queue.iter_mut().find(|other| other.message == message) else {
            return;
        };
        let there = outgoing.position + outgoing.ready_octets as u64;
        if outgoing.complete
            || self.peer.octets_max.is_some_and(|most| there + octets.len() as u64 > most)
        {
            return self.give_up(cx, message, Failure::Code(413));
        }
        outgoing.asked = false;
        outgoing.complete = last;
        outgoing.ready_octets += octets.len();
        outgoing.ready.push_back(octets);
        self.ask(cx, message);
        self.ready(cx);
    }

    /// Waits for its turn on the connection, when there is something to be written.
    pub(super) fn ready(&mut self, cx: &mut Cx) {
        if !self.waits && self.queue.iter().any(Outgoing::is_ready) {
            self.waits = cx.wait_for_room(self.key());
        }
    }

    /// Writes one chunk: of each message in turn.
    pub(super) fn write_chunk(&mut self, cx: &mut Cx) {
        self.waits = false;
        let Some(at) = self.queue.iter().position(Outgoing::is_ready) else { return };
        // Those before it have nothing ready, and lose nothing by going behind.
        self.queue.rotate_left(at);
        let Some(mut outgoing) = self.queue.pop_front() else { return };
        let place = Place { start: outgoing.position, total: outgoing.total };
        let parts = outgoing.next(CHUNK_OCTETS_MAX);
        let last = outgoing.complete && outgoing.ready_octets == 0;
        let end = if last { Continuation::Last } else { Continuation::More };
        let token = match outgoing.failure_report {
            FailureReport::Yes => Some(outgoing.message.0),
            FailureReport::Partial => Some(outgoing.message.0 | QUIET),
            FailureReport::No => None,
        };
        if self.write_parts(cx, &outgoing.headers, token, place, &parts, end).is_err() {
            // The connection is going; `end` will say what has not been sent.
            self.queue.push_front(outgoing);
            return;
        }
        outgoing.position += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        outgoing.unanswered += u32::from(outgoing.failure_report == FailureReport::Yes);
        if last {
            self.was_written(cx, outgoing);
        } else {
            let message = outgoing.message;
            self.queue.push_back(outgoing);
            self.ask(cx, message);
        }
        self.ready(cx);
    }

    fn write_parts(
        &self,
        cx: &mut Cx,
        headers: &ChunkHeaders,
        token: Option<u64>,
        place: Place,
        parts: &[Bytes],
        end: Continuation,
    ) -> Result<(), crate::node::cx::Unsent> {
        let free = |id: &[u8]| !occurs(id, parts);
        cx.send_free(self.key(), token, free, |out, id, session| {
            headers.write(out, id, session, place, parts, end);
        })
    }

    fn was_written(&mut self, cx: &mut Cx, outgoing: Outgoing) {
        let Outgoing { message, message_id, content_type, success_report, unanswered, .. } =
            outgoing;
        if unanswered == 0 {
            let session = self.key();
            Self::tell(cx, Event::Sent { session, message });
        }
        if unanswered > 0 || success_report {
            let written = Written { message, message_id, content_type, success_report, unanswered };
            self.written.push_back(written);
        }
    }

    /// The response to a chunk of message `token`.
    pub(super) fn answered(&mut self, cx: &mut Cx, token: u64, code: u16) {
        let message = MessageKey(token & !QUIET);
        if code != 200 {
            return self.failed(cx, message, code);
        }
        if let Some(outgoing) = self.queue.iter_mut().find(|other| other.message == message) {
            outgoing.unanswered = outgoing.unanswered.saturating_sub(1);
            return;
        }
        let Some(at) = self.written.iter().position(|other| other.message == message) else {
            return;
        };
        let Some(written) = self.written.get_mut(at) else { return };
        if written.unanswered == 0 {
            return;
        }
        written.unanswered -= 1;
        if written.unanswered == 0 {
            if !written.success_report {
                self.written.remove(at);
                self.written.shrink_to(4 * self.written.len().max(4));
            }
            let session = self.key();
            Self::tell(cx, Event::Sent { session, message });
        }
    }

    /// A chunk of message `token` was not answered: as 408 (RFC 4975 §10.4).
    pub(super) fn unanswered(&mut self, cx: &mut Cx, token: u64) {
        if token & QUIET == 0 {
            self.failed(cx, MessageKey(token), 408);
        }
    }

    /// A REPORT came; one for a message that is not known is ignored (RFC 4975 §7.1.2).
    pub(super) fn reported(&mut self, cx: &mut Cx, report: &Report<'_>) {
        let (session, range) = (self.key(), report.range);
        let queued = self.queue.iter().find(|other| *other.message_id == *report.message_id);
        let at = self.written.iter().position(|other| *other.message_id == *report.message_id);
        let written = at.and_then(|at| self.written.get(at));
        let known = queued.map(|other| other.message).or(written.map(|other| other.message));
        let Some(message) = known else { return };
        if report.code == 200 {
            let whole = range.is_none_or(|range| range.start == 1 && range.end == range.total);
            if let Some(at) = at
                && whole
                && written.is_some_and(|written| written.unanswered == 0)
            {
                self.written.remove(at);
            }
            return Self::tell(cx, Event::Reported { session, message, range });
        }
        self.failed(cx, message, report.code);
        if range.is_some() && !matches!(report.code, 413 | 415) {
            cx.fail(session, Lost::Unreceived);
        }
    }

    /// A response or REPORT says that a message failed, or the session with it.
    fn failed(&mut self, cx: &mut Cx, message: MessageKey, code: u16) {
        match code {
            481 => cx.fail(self.key(), Lost::Unknown),
            506 => cx.fail(self.key(), Lost::Elsewhere),
            415 => self.refuse_type(message),
            _ => {}
        }
        self.give_up(cx, message, Failure::Code(code));
    }

    /// A message is not sent any further; unless it was refused with 413, one that was sent in part
    /// is ended with `#`.
    pub(super) fn give_up(&mut self, cx: &mut Cx, message: MessageKey, why: Failure) {
        let session = self.key();
        if let Some(at) = self.queue.iter().position(|other| other.message == message)
            && let Some(mut outgoing) = self.queue.remove(at)
        {
            if outgoing.position > 0 && why != Failure::Code(413) {
                let place = Place { start: outgoing.position, total: outgoing.total };
                let parts = outgoing.next(INTERRUPTIBLE_OCTETS_MIN);
                let abort = Continuation::Abort;
                // Without a connection the peer learns of it as it is lost.
                let _ = self.write_parts(cx, &outgoing.headers, None, place, &parts, abort);
            }
        } else if let Some(at) = self.written.iter().position(|other| other.message == message) {
            self.written.remove(at);
        } else {
            return;
        }
        Self::tell(cx, Event::Failed { session, message, why });
    }

    fn refuse_type(&mut self, message: MessageKey) {
        let queued = self.queue.iter().find(|other| other.message == message);
        let written = self.written.iter().find(|other| other.message == message);
        let content_type =
            queued.map(|other| &other.content_type).or(written.map(|other| &other.content_type));
        let Some(content_type) = content_type else { return };
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if self.refused.len() >= REFUSED_MAX {
            self.refused.remove(0);
        }
        self.refused.push(essence.into());
    }

    /// Asks the application for more of a message of which little is ready.
    fn ask(&mut self, cx: &mut Cx, message: MessageKey) {
        let session = self.key();
        let Some(outgoing) = self.queue.iter_mut().find(|other| other.message == message) else {
            return;
        };
        if !outgoing.complete && !outgoing.asked && outgoing.ready_octets < CHUNK_OCTETS_MAX {
            outgoing.asked = true;
            Self::tell(cx, Event::Wanted { session, message, octets: WANTED_OCTETS });
        }
    }

    /// Whether a further message of `octets` octets is taken. A written one that waits for nothing
    /// but a REPORT gives way.
    fn has_room(&mut self, octets: u64) -> bool {
        let queued: usize = self.queue.iter().map(|outgoing| outgoing.ready_octets).sum();
        if queued > 0 && queued as u64 + octets > QUEUED_OCTETS_MAX as u64 {
            return false;
        }
        if self.queue.len() + self.written.len() < MESSAGES_MAX {
            return true;
        }
        let answered = self.written.iter().position(|written| written.unanswered == 0);
        answered.is_some_and(|at| self.written.remove(at).is_some())
    }
}

/// Whether the end-line of `id` is in the content that is made of `parts`: then it cannot end it
/// (RFC 4975 §7.1).
fn occurs(id: &[u8], parts: &[Bytes]) -> bool {
    static HYPHENS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"-------"));
    let in_one =
        |octets: &[u8]| HYPHENS.find(octets).is_some() && TransactionId::occurs_in(id, octets);
    match parts {
        [] => false,
        [part] => in_one(part),
        parts => in_one(&parts.concat()),
    }
}
