//! One endpoint session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::answering::Unanswered;
use super::receiving::{Current, Partial};
use super::sending::{Outgoing, Written};
use super::{Accepts, Dropped, EndpointConfig, Event, Failure, MessageKey};
use crate::header::ByteRange;
use crate::node;
use crate::node::cx::Cx;
use crate::node::timers::Timer;
use crate::seen::Seen;
use crate::session::SessionKey;

/// How many messages of one session may be incomplete at a time. Local limit: senders interleave a
/// few. A further one is refused with 413.
pub const PARTIALS_MAX: usize = 8;

/// How many failed sessions are remembered for those that replace them. Local limit; the oldest is
/// forgotten, and what comes again after that is delivered again.
pub const REPLACED_MAX: usize = 256;

/// One endpoint session.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) key: SessionKey,
    pub(super) config: EndpointConfig,
    /// What the peer takes.
    pub(super) peer: Arc<Accepts>,
    /// The number of the next message.
    next: u64,
    /// Messages that came in part.
    pub(super) partials: Vec<Partial>,
    /// The chunk that is coming.
    pub(super) current: Option<Current>,
    /// Messages that came.
    pub(super) seen: Seen,
    /// The message that the chunk in hand completed, when the application answers it.
    pub(super) completed: Option<Box<[u8]>>,
    /// Chunks that the application has not answered.
    pub(super) unanswered: Vec<Unanswered>,
    /// Success REPORTs that follow the response.
    pub(super) reports: Vec<(Box<[u8]>, ByteRange)>,
    /// When the timer is called.
    armed: Option<Instant>,
    /// Messages that are not written, or not all of them; the next to write first.
    pub(super) queue: VecDeque<Outgoing>,
    /// Messages that are written and not answered, or not reported.
    pub(super) written: VecDeque<Written>,
    /// Types that the peer refused.
    pub(super) refused: Vec<Box<str>>,
    /// Whether it waits for its turn on the connection.
    pub(super) waits: bool,
}

impl Endpoint {
    pub(super) fn new(config: EndpointConfig, seen: Seen) -> Self {
        Self {
            key: SessionKey::NOWHERE,
            config,
            peer: Arc::default(),
            next: 0,
            partials: Vec::new(),
            current: None,
            seen,
            completed: None,
            unanswered: Vec::new(),
            reports: Vec::new(),
            armed: None,
            queue: VecDeque::new(),
            written: VecDeque::new(),
            refused: Vec::new(),
            waits: false,
        }
    }

    /// Which session it is.
    pub(super) fn key(&self) -> SessionKey {
        self.key
    }

    /// A number for a message.
    pub(super) fn number(&mut self) -> MessageKey {
        self.next += 1;
        MessageKey(self.next)
    }

    /// Tells the application.
    pub(super) fn tell(cx: &mut Cx, event: Event) {
        cx.event(node::Event::Endpoint(Box::new(event)));
    }

    /// Calls the timer when the first incomplete message is due.
    pub(super) fn arm(&mut self, cx: &mut Cx) {
        let oldest = self.partials.iter().map(|partial| partial.last).min();
        let Some(due) = oldest.map(|last| last + self.config.incomplete) else { return };
        if self.armed.is_none_or(|armed| due < armed) {
            self.armed = Some(due);
            cx.timers.arm(due, Timer::Session(self.key));
        }
    }

    /// Drops messages of which nothing came for too long.
    pub(super) fn timeout(&mut self, cx: &mut Cx) {
        if self.armed.is_none_or(|armed| armed > cx.now) {
            return;
        }
        self.armed = None;
        let (now, incomplete) = (cx.now, self.config.incomplete);
        let due = |partial: &Partial| partial.last + incomplete <= now;
        while let Some(at) = self.partials.iter().position(due) {
            self.drop_partial(cx, at, Dropped::Incomplete);
        }
        self.arm(cx);
    }

    /// The session is over: what has not come or not gone does not any more. What it had received,
    /// for the session that replaces it.
    pub(super) fn end(mut self, cx: &mut Cx) -> Seen {
        while !self.partials.is_empty() {
            self.drop_partial(cx, 0, Dropped::Ended);
        }
        let unsent = self.queue.iter().map(|outgoing| outgoing.message);
        let unanswered = self.written.iter().map(|written| written.message);
        for message in unanswered.chain(unsent) {
            let (session, why) = (self.key, Failure::Ended);
            Self::tell(cx, Event::Failed { session, message, why });
        }
        self.seen
    }
}
