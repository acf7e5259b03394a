//! The loop of a run: send what may be sent, take what arrived, answer it, count.

use std::collections::VecDeque;
use std::io;
use std::thread;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::super::load::clock::Clock;
use super::frame::{Scanner, Step};
use super::link::{Link, Slab};
use super::measure::Measure;
use super::message::{Piece, Run};
use super::session::Session;

/// Octets waiting on a connection beyond which nothing more is sent on it; local limit.
const WAITING_OCTETS_MAX: usize = 256 * 1024;
/// Connections looked at for each wake-up; local limit.
const EVENTS: usize = 1024;

/// What limits the senders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// So many messages of each on the way.
    Closed(u32),
    /// So many messages a second, all together.
    Open(f64),
}

/// What does not change during a run.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) run: Run,
    pub(crate) pace: Pace,
    /// Messages of each sender; `None` is without end.
    pub(crate) count: Option<u32>,
    pub(crate) verify: bool,
    /// What is received is never answered.
    pub(crate) quiet: bool,
    pub(crate) sample: u32,
    pub(crate) tick: Duration,
}

/// A run.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) rules: Rules,
    pub(crate) links: Vec<Link>,
    pub(crate) sessions: Vec<Session>,
    /// The sessions that send.
    senders: Vec<u32>,
    /// Those of them that may send now; closed loop.
    ready: VecDeque<u32>,
    /// Connections with something to write.
    dirty: Vec<u32>,
    epoll: Epoll,
    slab: Slab,
    wire: Vec<u8>,
    clock: Clock,
    pub(crate) now: u64,
    pub(crate) measure: Measure,
    /// Nothing new is begun while false.
    pub(crate) sending: bool,
    /// Open loop: when it began and how many messages it has begun since.
    opened: u64,
    begun: u64,
    woken: u64,
    /// Time spent looking for something to do in vain, in nanoseconds.
    pub(crate) spun: u64,
    pub(crate) bound: usize,
}

impl Engine {
    /// A run over connected `links` by `sessions`, of which `senders` send.
    pub(crate) fn new(
        rules: Rules,
        mut links: Vec<Link>,
        sessions: Vec<Session>,
        senders: Vec<u32>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (number, link) in links.iter_mut().enumerate() {
            link.unblock()?;
            epoll.add(link.fd(), EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        }
        Ok(Self {
            rules,
            links,
            sessions,
            senders,
            ready: VecDeque::new(),
            dirty: Vec::new(),
            epoll,
            slab: Slab::new(),
            wire: Vec::new(),
            clock: Clock::start(),
            now: 0,
            measure: Measure::new(),
            sending: false,
            opened: 0,
            begun: 0,
            woken: 0,
            spun: 0,
            bound: 0,
        })
    }

    /// Begins to send.
    pub(crate) fn start(&mut self) {
        self.now = self.clock.nanos();
        self.sending = true;
        (self.opened, self.begun) = (self.now, 0);
        for at in 0..self.senders.len() {
            let sender = self.senders.get(at).copied().unwrap_or(0);
            self.enqueue(sender);
        }
    }

    /// One turn: what may be sent is sent, then what arrives until something does, at most for
    /// `wait`, is taken.
    pub(crate) fn turn(&mut self, wait: Duration) -> io::Result<()> {
        let before = self.begun;
        match self.rules.pace {
            Pace::Closed(window) => self.offer(window),
            Pace::Open(rate) => self.offer_due(rate),
        }
        let offered = self.begun > before;
        self.flush();
        let open = self.sending && matches!(self.rules.pace, Pace::Open(_));
        if self.sending && !self.rules.tick.is_zero() {
            let spent = Duration::from_nanos(self.clock.nanos().saturating_sub(self.woken));
            thread::sleep(self.rules.tick.saturating_sub(spent));
            self.woken = self.clock.nanos();
        }
        let wait = if open { Duration::ZERO } else { wait };
        let start = self.clock.nanos();
        let mut events = [EpollEvent::empty(); EVENTS];
        let timeout = EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::ZERO);
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        self.now = self.clock.nanos();
        if count == 0 && !offered && open && self.rules.tick.is_zero() {
            self.spun += self.now - start;
        }
        for event in events.iter().take(count) {
            let link = u32::try_from(event.data()).unwrap_or(u32::MAX);
            if event.events().intersects(EpollFlags::EPOLLOUT) {
                self.touch(link);
            }
            if event.events().intersects(!EpollFlags::EPOLLOUT) {
                self.take(link);
            }
        }
        Ok(())
    }

    /// Whether nothing is on the way any more.
    pub(crate) fn is_quiet(&self) -> bool {
        let answered = self.rules.run.answered();
        let mut senders = self.senders.iter().filter_map(|s| self.sessions.get(index(*s)));
        senders.all(|session| session.sender.is_quiet(answered))
    }

    /// Whether every sender has begun and finished all its messages.
    pub(crate) fn is_done(&self) -> bool {
        let Some(count) = self.rules.count else { return false };
        let mut senders = self.senders.iter().filter_map(|s| self.sessions.get(index(*s)));
        senders.all(|session| session.sender.messages >= count) && self.is_quiet()
    }

    /// The senders of the run.
    pub(crate) fn senders(&self) -> impl Iterator<Item = &Session> {
        self.senders.iter().filter_map(|sender| self.sessions.get(index(*sender)))
    }

    #[inline]
    fn touch(&mut self, number: u32) {
        if let Some(link) = self.links.get_mut(index(number))
            && !link.dirty
        {
            link.dirty = true;
            self.dirty.push(number);
        }
    }

    #[inline]
    pub(super) fn enqueue(&mut self, number: u32) {
        let Pace::Closed(window) = self.rules.pace else { return };
        let answered = self.rules.run.answered();
        let Some(session) = self.sessions.get_mut(index(number)) else { return };
        let chunked = session.template.is_none();
        if !session.sender.queued && session.sender.may_send(window, answered, chunked) {
            session.sender.queued = true;
            self.ready.push_back(number);
        }
    }

    /// Closed loop: every sender that may sends all it may. What was begun is sent to its end.
    fn offer(&mut self, window: u32) {
        let answered = self.rules.run.answered();
        for _ in 0..self.ready.len() {
            let Some(number) = self.ready.pop_front() else { return };
            let (mut full, mut link) = (false, 0);
            while let Some(session) = self.sessions.get(index(number)) {
                let sender = &session.sender;
                link = session.link;
                let is_last = self.rules.count.is_some_and(|n| sender.messages >= n);
                let over = is_last || !self.sending;
                let chunked = session.template.is_none();
                if (over && sender.offset == 0) || !sender.may_send(window, answered, chunked) {
                    break;
                }
                full = self.links.get(index(link)).is_some_and(Self::is_full);
                if full {
                    break;
                }
                self.send(number, self.now);
            }
            if full {
                // It goes on when the connection has been written.
                self.ready.push_back(number);
            } else if let Some(session) = self.sessions.get_mut(index(number)) {
                session.sender.queued = false;
            }
            self.touch(link);
        }
    }

    fn is_full(link: &Link) -> bool {
        link.waiting() > WAITING_OCTETS_MAX || link.blocked || link.lost
    }

    /// Open loop: what is due is sent, each sender in its turn.
    fn offer_due(&mut self, rate: f64) {
        if !self.sending || self.senders.is_empty() {
            return;
        }
        self.now = self.clock.nanos();
        // At most so many before arrivals are looked at again.
        for _ in 0..256 {
            let due = self.opened + (self.begun as f64 * 1e9 / rate) as u64;
            if due > self.now {
                return;
            }
            let turn = usize::try_from(self.begun % self.senders.len() as u64).unwrap_or(0);
            let Some(number) = self.senders.get(turn).copied() else { return };
            self.measure.time_lag(due, self.now);
            // A message of several chunks is sent whole.
            loop {
                self.send(number, due);
                if self.sessions.get(index(number)).is_none_or(|s| s.sender.offset == 0) {
                    break;
                }
            }
            if let Some(link) = self.sessions.get(index(number)).map(|session| session.link) {
                self.touch(link);
            }
        }
    }

    /// Appends the next request of a session; a message it begins was due at `due`.
    #[inline]
    fn send(&mut self, number: u32, due: u64) {
        let Some(session) = self.sessions.get_mut(index(number)) else { return };
        let Some(link) = self.links.get_mut(index(session.link)) else { return };
        let sender = &mut session.sender;
        if sender.offset == 0 {
            sender.due = due;
            sender.messages += 1;
            self.begun += 1;
            self.measure.sent(self.now);
        }
        let request = sender.next_request(self.now);
        let piece = Piece {
            sequence: sender.messages - 1,
            request,
            offset: sender.offset,
            due: sender.due,
        };
        if let Some(template) = &session.template {
            link.push(|out| template.write(&session.author, &piece, out));
            return;
        }
        let mut length = 0;
        link.push(|out| length = self.rules.run.write(&session.author, &piece, out));
        sender.offset += length;
        if sender.offset >= self.rules.run.total(&session.author) {
            sender.offset = 0;
        }
    }

    /// Writes what waits, one write for each connection.
    fn flush(&mut self) {
        for number in std::mem::take(&mut self.dirty) {
            let Some(link) = self.links.get_mut(index(number)) else { continue };
            link.dirty = false;
            if link.lost {
                continue;
            }
            let was_blocked = link.blocked;
            let mut alive = link.flush().is_ok();
            if alive && link.blocked != was_blocked {
                let writable = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
                let flags = if link.blocked { writable } else { EpollFlags::EPOLLIN };
                let mut event = EpollEvent::new(flags, u64::from(number));
                alive = self.epoll.modify(link.fd(), &mut event).is_ok();
            }
            if !alive {
                self.lose(number);
            }
        }
    }

    /// Reads a connection once and takes the frames that are there.
    fn take(&mut self, number: u32) {
        let mut slab = std::mem::replace(&mut self.slab, Slab::empty());
        let Some(link) = self.links.get_mut(index(number)).filter(|link| !link.lost) else {
            self.slab = slab;
            return;
        };
        let received = link.receive(&mut slab, &mut self.wire);
        self.now = self.clock.nanos();
        let mut scanner: Scanner = link.scanner;
        let (octets, mut at, mut broken) = (slab.filled(), 0, received.is_err());
        loop {
            match scanner.next(octets.get(at..).unwrap_or_default()) {
                Step::Frame(frame) => {
                    at += frame.length;
                    self.handle(number, &frame);
                }
                Step::Partial => break,
                Step::Broken => {
                    self.measure.wrong("octets that are no MSRP", 1);
                    broken = true;
                    break;
                }
            }
        }
        if let Some(link) = self.links.get_mut(index(number)) {
            link.scanner = scanner;
            broken |= link.keep(octets.get(at..).unwrap_or_default()).is_err();
            if link.waiting() > 0 {
                self.touch(number);
            }
        }
        if broken {
            self.lose(number);
        }
        self.slab = slab;
    }

    fn lose(&mut self, number: u32) {
        if let Some(link) = self.links.get_mut(index(number))
            && !link.lost
        {
            link.lost = true;
            self.measure.lost_links += 1;
            // It may be gone from there already.
            let _ = self.epoll.delete(link.fd());
        }
    }
}

pub(super) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
