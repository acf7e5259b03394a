//! The deadlines of a node.
//!
//! There is one entry for each connection, session or room that waits for something, not one for
//! each transaction; an entry that turns out to be early is put back when it is due, so nothing is
//! ever searched or removed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::node::ConnectionId;
use crate::session::SessionKey;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A connection: probation, the oldest transaction, keep-alive.
    Connection(ConnectionId),
    /// A session: its role knows for what.
    Session(SessionKey),
    /// The relay as a whole (grants that expire).
    Relay(u32),
}

/// Deadlines, the next first.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Timer)>>,
}

impl Timers {
    /// `timer` is to be called at `due`, or after. Who is called too early arms again.
    pub(crate) fn arm(&mut self, due: Instant, timer: Timer) {
        self.heap.push(Reverse((due, timer)));
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// The next timer that is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, timer)) = self.heap.pop()?;
        if self.heap.len() < self.heap.capacity() / 4 {
            // A storm leaves its room behind otherwise.
            self.heap.shrink_to(self.heap.capacity() / 2);
        }
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test_epoch;

    #[test]
    fn the_next_one_first_and_never_early() {
        let start = test_epoch();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.arm(at(30), Timer::Relay(3));
        timers.arm(at(10), Timer::Relay(1));
        timers.arm(at(20), Timer::Relay(2));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.due(at(9)), None);
        assert_eq!(timers.due(at(25)), Some(Timer::Relay(1)));
        assert_eq!(timers.due(at(25)), Some(Timer::Relay(2)));
        assert_eq!(timers.due(at(25)), None);
        assert_eq!(timers.next(), Some(at(30)));
    }
}
