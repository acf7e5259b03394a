//! One core: a thread with its event queue, its node and its connections.
//!
//! A turn: wait; take what is ready, a read of each connection and the letters; let the node time
//! out; do what it says; write each connection that has something to say once, or more often when
//! very much came.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use parlance_msrp::{ConnectionId, Event, Input, Node, Output, SessionKey};

use super::AtCore;
use super::buffers::Buffers;
use super::common::Common;
use super::counted::Counted;
use super::events::Sinks;
use super::letter::Letter;
use super::link::{LinkRef, Links};

mod accept;
mod close;
mod flush;
mod join;
mod opening;
mod read;
mod share;
mod sweep;

/// Events taken at once.
const EVENTS_MAX: usize = 512;

/// How often what was written is looked at again in one turn, before others have theirs.
const ROUNDS_MAX: usize = 4;

/// Octets read in a turn before what came of them is written: a room makes many of each, and they
/// wait in memory until then. Local value: 100 participants of rooms of ten do not reach it with
/// four texts each, so that what goes to one connection still goes at once.
const UNSETTLED_MAX: usize = 1024 * 1024;

/// How long a letter or an event waits that there was no room for.
const RETRY: Duration = Duration::from_millis(1);

pub(crate) const WAKE: Token = Token(0);

/// Listeners, then links.
const FIRST: usize = 1;

/// One core.
pub(crate) struct Core {
    number: u8,
    common: Arc<Common>,
    poll: Poll,
    node: Node,
    listeners: Vec<Listening>,
    links: Links,
    buffers: Buffers,
    sinks: Sinks,
    /// Links that may have something to read.
    readable: VecDeque<usize>,
    /// Octets that came since it was last done what the node says.
    unsettled: usize,
    /// Connections that have something to write.
    dirty: Vec<ConnectionId>,
    /// Links that are not read until then.
    resting: BinaryHeap<Reverse<(Instant, LinkRef)>>,
    /// Links that are not read because nobody takes the events of a session on them.
    held: HashMap<SessionKey, LinkRef>,
    /// Links whose socket another core has.
    shared: HashMap<(u8, LinkRef), usize>,
    /// Letters that a core had no room for, by core.
    outbox: Vec<VecDeque<Letter>>,
    letters: VecDeque<Letter>,
    counted: Counted,
    now: Instant,
    tick: Instant,
    every: Duration,
    /// When everything ends at the latest.
    end: Option<Instant>,
}

struct Listening {
    socket: TcpListener,
    backlog: Backlog,
}

/// What may wait at a listener: the event queue says nothing again of what it has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backlog {
    /// Nothing.
    Empty,
    /// More than one turn takes: the next one goes on.
    More,
    /// What could not be accepted: the next tick looks again.
    Stuck,
}

impl Core {
    pub(crate) fn new(
        number: u8,
        common: Arc<Common>,
        poll: Poll,
        node: Node,
        listeners: Vec<TcpListener>,
        sinks: Sinks,
    ) -> std::io::Result<Self> {
        let mut listening = Vec::with_capacity(listeners.len());
        for (mut socket, place) in listeners.into_iter().zip(FIRST..) {
            poll.registry().register(&mut socket, Token(place), Interest::READABLE)?;
            listening.push(Listening { socket, backlog: Backlog::Empty });
        }
        let now = clock();
        let every = sweep::interval(&common.limits);
        Ok(Self {
            number,
            outbox: common.mailboxes.iter().map(|_| VecDeque::new()).collect(),
            common,
            poll,
            node,
            listeners: listening,
            links: Links::default(),
            buffers: Buffers::default(),
            sinks,
            readable: VecDeque::new(),
            unsettled: 0,
            dirty: Vec::new(),
            resting: BinaryHeap::new(),
            held: HashMap::new(),
            shared: HashMap::new(),
            letters: VecDeque::new(),
            counted: Counted::default(),
            now,
            tick: now + every,
            every,
            end: None,
        })
    }

    /// Runs until it is told to end.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.is_over() {
            let patience = self.patience();
            match self.poll.poll(&mut events, Some(patience)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, core = self.number, "the event queue is broken");
                    break;
                }
            }
            self.now = clock();
            self.accept_again(Backlog::More);
            let mut woken = false;
            for event in &events {
                match event.token() {
                    WAKE => woken = true,
                    Token(place) => self.handle_event(place, event),
                }
            }
            if woken {
                self.read_letters();
            }
            self.read_ready();
            self.time_out();
            self.settle();
        }
        if let Some(mailbox) = self.common.mailbox(self.number) {
            mailbox.close();
        }
    }

    /// How long nothing happens by itself.
    fn patience(&self) -> Duration {
        let more = self.listeners.iter().any(|listening| listening.backlog == Backlog::More);
        if more || !self.readable.is_empty() || !self.dirty.is_empty() {
            return Duration::ZERO;
        }
        let mut due = self.tick;
        if let Some(node) = self.node.poll_timeout() {
            due = due.min(node);
        }
        if let Some(Reverse((rested, _))) = self.resting.peek() {
            due = due.min(*rested);
        }
        if self.sinks.is_waiting() || self.outbox.iter().any(|letters| !letters.is_empty()) {
            due = due.min(self.now + RETRY);
        }
        due.saturating_duration_since(clock())
    }

    fn handle_event(&mut self, place: usize, event: &mio::event::Event) {
        let listeners = FIRST + self.listeners.len();
        if place < listeners {
            return self.accept(place - FIRST);
        }
        let key = place - listeners;
        let ended = event.is_read_closed() || event.is_error();
        self.handle_ready(key, event.is_readable() || ended, event.is_writable() || ended, ended);
    }

    /// The token of a link.
    fn token(&self, key: usize) -> Token {
        Token(FIRST + self.listeners.len() + key)
    }

    fn read_letters(&mut self) {
        let emptied = std::mem::take(&mut self.letters);
        let Some(mailbox) = self.common.mailbox(self.number) else { return };
        let mut letters = mailbox.take(emptied);
        for letter in letters.drain(..) {
            self.handle_letter(letter);
        }
        // A burst must not hold its memory for ever.
        letters.shrink_to(256);
        self.letters = letters;
    }

    fn handle_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Run(command) => command(&mut self.at()),
            Letter::Moved(moved) => self.take_over(*moved),
            Letter::Resolved(link, addresses) => self.resolved(link, addresses),
            Letter::ToGuest(home, link, share) => self.handle_home(home, link, share),
            Letter::ToHome(guest, link, share) => self.handle_guest(guest, link, share),
            Letter::Refuse => self.refuse(),
            Letter::End(limit) => {
                self.refuse();
                self.end = Some(limit);
            }
        }
    }

    /// Sends a letter to another core; when that has no room it is sent later.
    fn post(&mut self, core: u8, letter: Letter) {
        let Some(outbox) = self.outbox.get_mut(usize::from(core)) else { return };
        if !outbox.is_empty() {
            return outbox.push_back(letter);
        }
        if let Some(mailbox) = self.common.mailbox(core)
            && let Err(super::mailbox::Returned::Full(letter)) = mailbox.send(letter)
        {
            outbox.push_back(letter);
        }
    }

    /// Sends again what could not be sent.
    fn post_again(&mut self) {
        for (outbox, mailbox) in self.outbox.iter_mut().zip(&self.common.mailboxes) {
            while let Some(letter) = outbox.pop_front() {
                if let Err(super::mailbox::Returned::Full(letter)) = mailbox.send(letter) {
                    outbox.push_front(letter);
                    break;
                }
            }
        }
    }

    fn time_out(&mut self) {
        if self.node.poll_timeout().is_some_and(|due| due <= self.now) {
            self.node.handle_input(self.now, Input::Timeout);
        }
        while let Some(Reverse((rested, link))) = self.resting.peek().copied()
            && rested <= self.now
        {
            self.resting.pop();
            if let Some(key) = self.links.resolve(link) {
                self.release(key, |holds| holds.rate = None);
            }
        }
        self.post_again();
        for session in self.sinks.give_again() {
            self.hold_session(session, false);
        }
        if self.tick <= self.now {
            self.tick = self.now + self.every;
            self.sweep();
        }
    }

    /// Does what the node says, and writes, until there is nothing more to do at once.
    fn settle(&mut self) {
        self.unsettled = 0;
        while let Some(id) = self.node.write_row() {
            self.flush(id);
        }
        for _ in 0..ROUNDS_MAX {
            self.drain();
            if self.dirty.is_empty() {
                return;
            }
            let mut dirty = std::mem::take(&mut self.dirty);
            for id in dirty.drain(..) {
                self.flush(id);
            }
            if self.dirty.is_empty() {
                self.dirty = dirty;
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Flush(id) => self.dirty.push(id),
                Output::Connect { connection, to } => self.connect(connection, *to),
                Output::Join { connection, core } => self.join(connection, core),
                Output::Pause(id) => self.pause(id),
                Output::Resume(id) => {
                    if let Some(key) = self.links.key_of(id) {
                        self.release(key, |holds| holds.sink = false);
                    }
                }
                Output::Close(id, why) => self.close(id, why),
                Output::Foreign { connection, core, octets } => {
                    self.give(connection, core, octets);
                }
                Output::Event(event) => self.handle_node_event(event),
            }
        }
    }
}

impl Core {
    fn at(&mut self) -> AtCore<'_> {
        AtCore { node: &mut self.node, now: self.now, core: self.number, sinks: &mut self.sinks }
    }

    /// The node says something to the application.
    fn handle_node_event(&mut self, event: Event) {
        match event.session().filter(|session| self.sinks.has(*session)) {
            None => {
                let others = Arc::clone(&self.common.others);
                others(&mut self.at(), event);
            }
            Some(session) => {
                let held = self.sinks.give(session, event, &self.common.meter);
                if let Some(session) = held {
                    self.hold_session(session, true);
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of this thread; no runtime is at hand")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}
