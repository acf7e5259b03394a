//! The table of outstanding transactions: a fixed ring, found by number.
//!
//! | State       | Event                  | Next        | Effect                                  |
//! |-------------|------------------------|-------------|-----------------------------------------|
//! | free        | a request is sent      | outstanding | T1 starts                               |
//! | outstanding | T1, T1+2*T1, ...       | outstanding | late once; sent again if asked to       |
//! | outstanding | a final response       | free        | completed                               |
//! | outstanding | Timer F, or its place  | free        | lost                                    |
//! |             | is needed after expiry |             |                                         |
//! | free        | a response             | free        | stray                                   |
//!
//! A freed place still remembers its number, so that what the server sends again is recognised.

use std::time::Duration;

use super::clock::nanos;
use super::link::Peer;

/// T1: round-trip estimate, 500 ms (RFC 3261 §17.1.1.1).
pub(crate) const T1: Duration = Duration::from_millis(500);
/// T2: longest interval between retransmissions, 4 s (RFC 3261 §17.1.2.2).
const T2: Duration = Duration::from_secs(4);
/// Timer F: how long a non-INVITE client transaction lives, 64*T1 (RFC 3261 §17.1.2.2).
pub(crate) const TIMER_F: Duration = Duration::from_millis(64 * 500);

/// One transaction of ours.
#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    /// When it was due, in nanoseconds of the run; latency counts from here.
    due: u64,
    /// When it was first sent; timers count from here.
    sent: u64,
    outstanding: bool,
    late: bool,
    /// A provisional response came: Timer E runs at T2 (RFC 3261 §17.1.2.2).
    proceeding: bool,
    /// The request was seen coming back, on the first and on the second leg.
    seen: [bool; 2],
}

impl Entry {
    /// What the stage `kind` asks for, if anything.
    fn fire(&mut self, kind: StageKind, retransmit: bool) -> Option<Due> {
        if !self.outstanding {
            return None;
        }
        match kind {
            StageKind::First => {
                self.late = true;
                Some(Due::Late { seq: self.seq, again: retransmit && !self.proceeding })
            }
            StageKind::Again { slow } => (slow || !self.proceeding).then_some(Due::Again(self.seq)),
            StageKind::TimerF => {
                self.outstanding = false;
                Some(Due::Lost(self.seq))
            }
        }
    }
}

/// No transaction has this number.
const NONE: u64 = u64::MAX;

/// A finished transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completed {
    /// When it was due, in nanoseconds of the run.
    pub(crate) due: u64,
    /// Whether the closed-loop window had already given it up.
    pub(crate) late: bool,
}

/// Where a new transaction would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// The place is free.
    Free,
    /// The place is held by a transaction whose time is over: it is lost.
    Expired,
    /// The place is held by a transaction that may still be answered.
    Full,
}

/// What a timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// T1 passed without an answer, first time; `again` when the request is to be sent again.
    Late {
        /// The transaction.
        seq: u64,
        /// Whether to retransmit.
        again: bool,
    },
    /// Timer E fired later than the first time.
    Again(u64),
    /// Timer F fired.
    Lost(u64),
}

/// Outstanding transactions, numbered without gaps from zero.
#[derive(Debug)]
pub(crate) struct Pending {
    ring: Vec<Entry>,
    /// Where the response of the second leg goes back to; empty unless asked for.
    origins: Vec<Option<Peer>>,
    mask: u64,
    next: u64,
    retransmit: bool,
    /// Every timer counts from the sending of the request, and requests are sent in the order of
    /// their numbers: so each stage is a cursor that walks the numbers, and no heap is needed.
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    after: u64,
    cursor: u64,
    kind: StageKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StageKind {
    /// First retransmission, or only the count of a late one.
    First,
    /// A later one; `slow` when also a Proceeding transaction sends it.
    Again {
        slow: bool,
    },
    TimerF,
}

/// When Timer E fires, counted from the first sending: after T1, then intervals that double up to
/// T2, until Timer F (RFC 3261 §17.1.2.2).
fn timer_e() -> impl Iterator<Item = (Duration, Duration)> {
    let mut interval = T1;
    let mut at = Duration::ZERO;
    std::iter::from_fn(move || {
        at += interval;
        let fired = (at, interval);
        interval = (interval * 2).min(T2);
        (at < TIMER_F).then_some(fired)
    })
}

impl Pending {
    /// A ring of at least `places` places. With `retransmit` all of Timer E and Timer F run, or
    /// else only T1, to count. `origins` keeps where second legs came from.
    pub(crate) fn new(places: usize, retransmit: bool, origins: bool) -> Self {
        let places = places.next_power_of_two();
        let free = Entry {
            seq: NONE,
            due: 0,
            sent: 0,
            outstanding: false,
            late: false,
            proceeding: false,
            seen: [false; 2],
        };
        let stage = |(index, (after, interval)): (usize, (Duration, Duration))| Stage {
            after: nanos(after),
            cursor: 0,
            kind: match index {
                0 => StageKind::First,
                _ => StageKind::Again { slow: interval >= T2 },
            },
        };
        let mut stages: Vec<Stage> = timer_e().enumerate().map(stage).collect();
        stages.push(Stage { after: nanos(TIMER_F), cursor: 0, kind: StageKind::TimerF });
        if !retransmit {
            stages.truncate(1);
        }
        let origins = if origins { vec![None; places] } else { Vec::new() };
        let mask = places as u64 - 1;
        Self { ring: vec![free; places], origins, mask, next: 0, retransmit, stages }
    }

    /// Number of the next transaction.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next
    }

    /// Whether the next transaction has a place.
    pub(crate) fn room(&self, now: u64) -> Room {
        let life = nanos(if self.retransmit { TIMER_F } else { T1 });
        match self.ring.get(self.place(self.next)) {
            Some(entry) if entry.outstanding && entry.sent + life > now => Room::Full,
            Some(entry) if entry.outstanding => Room::Expired,
            Some(_) | None => Room::Free,
        }
    }

    /// Takes the next place; `due` and `now` are instants of the run. When the place was held by
    /// an outstanding transaction, that one is lost: the instant it was due.
    pub(crate) fn start(&mut self, due: u64, now: u64) -> Option<u64> {
        let (seq, place) = (self.next, self.place(self.next));
        let mut lost = None;
        if let Some(entry) = self.ring.get_mut(place) {
            lost = entry.outstanding.then_some(entry.due);
            *entry = Entry {
                seq,
                due,
                sent: now,
                outstanding: true,
                late: false,
                proceeding: false,
                seen: [false; 2],
            };
        }
        if let Some(origin) = self.origins.get_mut(place) {
            *origin = None;
        }
        self.next += 1;
        lost
    }

    /// A final response to `seq`; `None` when it is not outstanding.
    pub(crate) fn complete(&mut self, seq: u64) -> Option<Completed> {
        let entry = self.entry(seq)?;
        if !entry.outstanding {
            return None;
        }
        entry.outstanding = false;
        Some(Completed { due: entry.due, late: entry.late })
    }

    /// A provisional response to `seq`.
    pub(crate) fn proceed(&mut self, seq: u64) {
        if let Some(entry) = self.entry(seq) {
            entry.proceeding = true;
        }
    }

    /// The server forwarded `seq` to us on leg 0 or 1; true when it had done so before.
    pub(crate) fn seen(&mut self, seq: u64, leg: usize) -> bool {
        let seen = self.entry(seq).and_then(|entry| entry.seen.get_mut(leg));
        seen.is_some_and(|seen| std::mem::replace(seen, true))
    }

    /// Remembers where the second leg of `seq` came from.
    pub(crate) fn keep_origin(&mut self, seq: u64, origin: Peer) {
        if self.entry(seq).is_some() {
            let place = self.place(seq);
            if let Some(kept) = self.origins.get_mut(place) {
                *kept = Some(origin);
            }
        }
    }

    /// Where the second leg of `seq` came from.
    pub(crate) fn origin(&mut self, seq: u64) -> Option<Peer> {
        self.entry(seq)?;
        self.origins.get(self.place(seq)).copied().flatten()
    }

    /// When `seq` was due, while its place has not been taken by another.
    pub(crate) fn due_of(&mut self, seq: u64) -> Option<u64> {
        self.entry(seq).map(|entry| entry.due)
    }

    /// The next timer that has run out at `now`; call until `None`.
    pub(crate) fn poll_timer(&mut self, now: u64) -> Option<Due> {
        for stage in &mut self.stages {
            while stage.cursor < self.next {
                let place = usize::try_from(stage.cursor & self.mask).unwrap_or(0);
                let entry = self.ring.get_mut(place).filter(|entry| entry.seq == stage.cursor);
                if entry.as_ref().is_some_and(|entry| entry.sent + stage.after > now) {
                    break;
                }
                stage.cursor += 1;
                let due = entry.and_then(|entry| entry.fire(stage.kind, self.retransmit));
                if due.is_some() {
                    return due;
                }
            }
        }
        None
    }

    /// Ends the run: when each transaction still outstanding was due.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = u64> + '_ {
        let outstanding = self.ring.iter_mut().filter(|entry| entry.outstanding);
        outstanding.map(|entry| {
            entry.outstanding = false;
            entry.due
        })
    }

    fn place(&self, seq: u64) -> usize {
        usize::try_from(seq & self.mask).unwrap_or(0)
    }

    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        let place = self.place(seq);
        self.ring.get_mut(place).filter(|entry| entry.seq == seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn fired(pending: &mut Pending, now: u64) -> Vec<Due> {
        std::iter::from_fn(|| pending.poll_timer(now)).collect()
    }

    #[test]
    fn timer_e_follows_the_rfc() {
        let at: Vec<u128> = timer_e().map(|(at, _)| at.as_millis()).collect();
        // RFC 3261 §17.1.2.2: 500 ms, 1 s, 2 s, then every 4 s until 32 s.
        let expect = [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500];
        assert_eq!(at, expect);
    }

    #[test]
    fn an_answer_completes_once() {
        let mut pending = Pending::new(4, false, false);
        assert_eq!(pending.start(5, 7), None);
        assert_eq!(pending.complete(0), Some(Completed { due: 5, late: false }));
        assert_eq!(pending.complete(0), None, "a second answer is a stray");
        assert_eq!(pending.complete(1), None, "never sent");
        assert_eq!(pending.due_of(0), Some(5));
    }

    #[test]
    fn without_retransmission_t1_only_counts() {
        let mut pending = Pending::new(4, false, false);
        pending.start(0, 0);
        pending.start(0, MS);
        pending.complete(0);
        assert_eq!(fired(&mut pending, 500 * MS), []);
        assert_eq!(fired(&mut pending, 501 * MS), [Due::Late { seq: 1, again: false }]);
        assert_eq!(fired(&mut pending, 60_000 * MS), []);
        assert_eq!(pending.complete(1), Some(Completed { due: 0, late: true }));
    }

    #[test]
    fn with_retransmission_timers_e_and_f_run() {
        let mut pending = Pending::new(4, true, false);
        pending.start(0, 0);
        assert_eq!(fired(&mut pending, 500 * MS), [Due::Late { seq: 0, again: true }]);
        assert_eq!(fired(&mut pending, 1499 * MS), []);
        assert_eq!(fired(&mut pending, 1500 * MS), [Due::Again(0)]);
        pending.proceed(0);
        assert_eq!(fired(&mut pending, 3500 * MS), [], "Proceeding: only every T2");
        assert_eq!(fired(&mut pending, 7500 * MS), [Due::Again(0)]);
        assert_eq!(fired(&mut pending, 31_999 * MS).len(), 6);
        assert_eq!(fired(&mut pending, 32_000 * MS), [Due::Lost(0)]);
        assert_eq!(pending.complete(0), None);
    }

    #[test]
    fn a_full_ring_holds_back_until_t1_then_loses_the_oldest() {
        let mut pending = Pending::new(2, false, false);
        pending.start(10, 10);
        pending.start(20, 20);
        assert_eq!(pending.room(30), Room::Full);
        assert_eq!(pending.room(10 + 500 * MS), Room::Expired);
        assert_eq!(pending.start(30, 10 + 500 * MS), Some(10), "number 0 is lost");
        assert_eq!(pending.complete(0), None);
        pending.complete(1);
        assert_eq!(pending.room(11 + 500 * MS), Room::Free);
        assert_eq!(pending.drain().collect::<Vec<_>>(), [30]);
        assert_eq!(pending.drain().count(), 0);
    }

    #[test]
    fn a_full_ring_with_retransmission_waits_for_timer_f() {
        let mut pending = Pending::new(1, true, false);
        pending.start(0, 0);
        assert_eq!(pending.room(31_999 * MS), Room::Full);
        assert_eq!(pending.room(32_000 * MS), Room::Expired);
    }

    #[test]
    fn what_comes_back_twice_is_known_after_the_answer_too() {
        let mut pending = Pending::new(2, false, true);
        pending.start(0, 0);
        assert!(!pending.seen(0, 0));
        assert!(!pending.seen(0, 1), "the legs are counted apart");
        pending.complete(0);
        assert!(pending.seen(0, 0));
        pending.keep_origin(0, Peer::Connection(3));
        assert_eq!(pending.origin(0), Some(Peer::Connection(3)));
        pending.start(0, 0);
        pending.start(0, 0);
        assert!(!pending.seen(0, 0), "its place has been taken");
        assert_eq!(pending.origin(0), None);
        assert_eq!(pending.origin(2), None, "and the new owner has no origin yet");
    }
}
