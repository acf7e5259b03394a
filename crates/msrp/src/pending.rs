//! Transactions that wait for their response (RFC 4975 §7.1.1).
//!
//! The delay is the same for all of them, so the order in which they were sent is the order in
//! which they are given up on: a queue and no heap. A transaction identifier carries the number of
//! its place in the queue, so a response finds its request without a search.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::TransactionId;
use crate::session::SessionKey;

/// How long a sender waits for the response to a request: 30 s from its last octet (RFC 4975
/// §7.1.1, RFC 4976 §6.3).
pub const RESPONSE_DELAY: Duration = Duration::from_secs(30);

/// How many transactions one connection has outstanding at most, finished ones behind an unfinished
/// one included. Local limit; the RFC sets none: at 500 000 requests a second it is half a second
/// of round trip, and 12 MiB. One more, and the oldest is given up on as if its time were over.
pub const PENDING_MAX: usize = 1 << 18;

/// A queue whose places have numbers: what was put in is taken out by its number, mostly in order.
#[derive(Debug)]
pub(crate) struct Fifo<T> {
    /// The number of the first place.
    first: u64,
    places: VecDeque<Option<T>>,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self { first: 0, places: VecDeque::new() }
    }
}

impl<T> Fifo<T> {
    /// The number that [`push`](Self::push) gives next.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// Puts `value` at the end; its number.
    pub(crate) fn push(&mut self, value: T) -> u64 {
        let number = self.next();
        self.places.push_back(Some(value));
        number
    }

    /// What is at place `number`.
    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        self.places.get(self.index(number)?)?.as_ref()
    }

    /// Takes what is at place `number`. Places at the front that are empty then are gone.
    pub(crate) fn take(&mut self, number: u64) -> Option<T> {
        let index = self.index(number)?;
        let value = self.places.get_mut(index)?.take();
        self.drop_empty();
        value
    }

    /// What was put in first of all that is still there.
    pub(crate) fn front(&self) -> Option<&T> {
        self.places.front()?.as_ref()
    }

    /// The number of what [`front`](Self::front) gives.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Takes what was put in first of all that is still there.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let value = self.places.pop_front()?;
        self.first += 1;
        self.drop_empty();
        value
    }

    /// What is still there, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    /// Places in use, the empty ones between full ones included.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Gives back the memory of more than `places`, when there are no more.
    pub(crate) fn shrink(&mut self, places: usize) {
        if self.places.capacity() > places {
            self.places.shrink_to(places);
        }
    }

    /// Gives memory back when nothing is there.
    pub(crate) fn release(&mut self) {
        if self.places.is_empty() {
            self.places = VecDeque::new();
        }
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// The front is never an empty place.
    fn drop_empty(&mut self) {
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
    }
}

/// A request of ours that was written and has no response yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The session it was sent in.
    pub(crate) session: SessionKey,
    /// What the sender calls it.
    pub(crate) token: u64,
    /// The random part of its transaction identifier.
    random: u64,
    /// Where its last octet stands among all octets ever queued on the connection.
    end: u64,
    /// When it is given up on at the earliest.
    due: Instant,
}

/// The requests of one connection that wait for their response.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    fifo: Fifo<Waiting>,
}

impl Pending {
    /// The number that the transaction identifier of the next request carries.
    pub(crate) fn next(&self) -> u64 {
        self.fifo.next()
    }

    /// A request was queued, its last octet being octet `end` of the connection, which is given up
    /// on at `due`, [`RESPONSE_DELAY`] from now. The oldest comes back when there were
    /// [`PENDING_MAX`] already: it is given up on.
    pub(crate) fn sent(
        &mut self,
        due: Instant,
        (session, token): (SessionKey, u64),
        random: u64,
        end: u64,
    ) -> Option<Waiting> {
        let oldest = if self.fifo.len() >= PENDING_MAX { self.fifo.pop() } else { None };
        self.fifo.push(Waiting { session, token, random, end, due });
        oldest
    }

    /// The oldest request, and the identifier that `core` gave it.
    #[inline]
    pub(crate) fn oldest(&self, core: u8) -> Option<(SessionKey, TransactionId)> {
        let front = self.fifo.front()?;
        let id = TransactionId::new(core, front.random, self.fifo.first());
        Some((front.session, id))
    }

    /// The oldest request is answered: it waits no longer.
    #[inline]
    pub(crate) fn oldest_answered(&mut self) -> Option<Waiting> {
        self.fifo.pop()
    }

    /// The request that a response with this identifier answers; it waits no longer.
    pub(crate) fn answered(&mut self, id: &[u8]) -> Option<Waiting> {
        let TransactionId { random, sequence, .. } = TransactionId::parse(id)?;
        if self.fifo.get(sequence)?.random != random {
            return None;
        }
        self.fifo.take(sequence)
    }

    /// When the oldest request is given up on; `None` when none waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.fifo.front().map(|waiting| waiting.due)
    }

    /// Takes the oldest request when its time is over. `written` octets of all that were queued on
    /// the connection have left: a request whose last octet has not waits another delay, because
    /// its time has not begun.
    pub(crate) fn expired(&mut self, now: Instant, written: u64) -> Option<Waiting> {
        let front = self.fifo.places.front_mut()?.as_mut()?;
        if front.due > now {
            return None;
        }
        if front.end > written {
            front.due = now + RESPONSE_DELAY;
            return None;
        }
        self.fifo.pop()
    }

    /// Takes any one that is left: the connection is gone.
    pub(crate) fn abandon(&mut self) -> Option<Waiting> {
        self.fifo.pop()
    }

    /// How many requests wait, and finished ones behind an unfinished one.
    pub(crate) fn len(&self) -> usize {
        self.fifo.len()
    }

    /// Gives memory back when no request waits.
    pub(crate) fn release(&mut self) {
        self.fifo.release();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{seeded, test_epoch};

    const KEY: SessionKey = SessionKey::NOWHERE;

    #[test]
    fn a_response_out_of_order_finds_its_request() {
        let mut pending = Pending::default();
        let mut entropy = seeded(1);
        let ids: Vec<_> = (0..5).map(|token| send(&mut pending, &mut entropy, token)).collect();
        let answered = |pending: &mut Pending, id: &TransactionId| {
            pending.answered(&id.octets()).map(|waiting| waiting.token)
        };
        assert_eq!(answered(&mut pending, &ids[3]), Some(3));
        assert_eq!(answered(&mut pending, &ids[3]), None, "only once");
        assert_eq!(answered(&mut pending, &ids[0]), Some(0));
        let guessed = TransactionId { random: 1, ..ids[2] };
        assert_eq!(answered(&mut pending, &guessed), None, "the random part must be right");
        assert_eq!(answered(&mut pending, &ids[2]), Some(2));
        assert_eq!(answered(&mut pending, &TransactionId { sequence: 9, ..ids[1] }), None);
        assert_eq!(pending.answered(b"a786hjs2"), None);
        assert_eq!(answered(&mut pending, &ids[1]), Some(1));
        assert_eq!(answered(&mut pending, &ids[4]), Some(4));
        assert_eq!(pending.len(), 0);
        assert_eq!(pending.next(), 5);
    }

    fn send(pending: &mut Pending, mut random: impl FnMut() -> u64, token: u64) -> TransactionId {
        let id = TransactionId::new(0, random(), pending.next());
        let due = test_epoch() + RESPONSE_DELAY;
        assert_eq!(pending.sent(due, (KEY, token), id.random, token), None);
        id
    }

    // Covers: MSRP-007
    #[test]
    fn the_delay_begins_with_the_last_octet_written() {
        let mut pending = Pending::default();
        let start = test_epoch();
        pending.sent(start + RESPONSE_DELAY, (KEY, 1), 1, 100);
        pending.sent(start + RESPONSE_DELAY, (KEY, 2), 2, 200);
        assert_eq!(pending.due(), Some(start + RESPONSE_DELAY));
        let later = start + RESPONSE_DELAY;
        assert_eq!(pending.expired(later - Duration::from_millis(1), 150), None, "too early");
        assert_eq!(pending.expired(later, 150).map(|waiting| waiting.token), Some(1));
        assert_eq!(pending.expired(later, 150), None, "not written yet");
        assert_eq!(pending.due(), Some(later + RESPONSE_DELAY));
        let last = later + RESPONSE_DELAY;
        assert_eq!(pending.expired(last, 200).map(|waiting| waiting.token), Some(2));
        assert_eq!(pending.due(), None);
    }

    #[test]
    fn at_the_limit_the_oldest_is_given_up_on() {
        let mut pending = Pending::default();
        let mut entropy = seeded(1);
        let mut ids = Vec::new();
        for token in 0..PENDING_MAX as u64 {
            ids.push(send(&mut pending, &mut entropy, token));
        }
        let oldest = pending.sent(test_epoch() + RESPONSE_DELAY, (KEY, 7), 7, 0);
        assert_eq!(oldest.map(|waiting| waiting.token), Some(0));
        assert_eq!(pending.fifo.len(), PENDING_MAX);
        assert_eq!(pending.answered(&ids[0].octets()), None);
        assert!(pending.answered(&ids[1].octets()).is_some());
    }

    proptest! {
        #[test]
        fn is_a_map_from_numbers(steps in prop::collection::vec((0_u8..4, 0_u64..40), 0..200)) {
            let mut fifo = Fifo::default();
            let mut model = BTreeMap::new();
            for (step, number) in steps {
                match step {
                    0 | 1 => {
                        let at = fifo.push(number);
                        prop_assert!(model.insert(at, number).is_none());
                    }
                    2 => prop_assert_eq!(fifo.take(number), model.remove(&number)),
                    _ => prop_assert_eq!(fifo.pop(), model.pop_first().map(|(_, value)| value)),
                }
                prop_assert_eq!(fifo.front(), model.values().next());
                prop_assert_eq!(fifo.is_empty(), model.is_empty());
                prop_assert_eq!(fifo.get(number), model.get(&number));
            }
        }
    }
}
