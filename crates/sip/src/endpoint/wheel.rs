//! One timer wheel for all transactions of an endpoint.
//!
//! Arming and disarming cost the same however many transactions wait; there is nothing to
//! rebalance and no growth at once, so a million transactions waiting for Timer J do not stall the
//! rest.

use std::time::{Duration, Instant};

/// How exact the wheel is: a timer fires up to one tick late, never early. Local choice.
const TICK: Duration = Duration::from_millis(TICK_MS);
const TICK_MS: u64 = 10;
/// Slots, a power of two: 41 s, above 64*T1. What is due later goes round again.
const SLOTS: usize = 4096;
const WORD: usize = u64::BITS as usize;

/// Deadlines of things called `K`.
#[derive(Debug)]
pub(super) struct Wheel<K> {
    /// When tick 0 was; set by the first timer armed.
    start: Option<Instant>,
    /// The first tick not fired yet.
    next: u64,
    slots: Vec<Vec<(u64, K)>>,
    /// One bit per slot that holds something.
    filled: [u64; SLOTS / WORD],
}

impl<K: Copy> Wheel<K> {
    pub(super) fn new() -> Self {
        let slots = std::iter::repeat_with(Vec::new).take(SLOTS).collect();
        Self { start: None, next: 0, slots, filled: [0; SLOTS / WORD] }
    }

    /// Arms a timer. There is no disarming: who is called too early says so and is armed again.
    pub(super) fn arm(&mut self, now: Instant, due: Instant, key: K) {
        let start = *self.start.get_or_insert(now);
        let tick = ticks_until(start, due).max(self.next);
        let slot = Self::slot(tick);
        if let Some(entries) = self.slots.get_mut(slot) {
            entries.push((tick, key));
        }
        if let Some(word) = self.filled.get_mut(slot / WORD) {
            *word |= 1 << (slot % WORD);
        }
    }

    /// When the next slot that holds something is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let first = Self::slot(self.next);
        let mut ahead = 0;
        while ahead < SLOTS {
            let slot = (first + ahead) % SLOTS;
            let rest = self.filled.get(slot / WORD)? >> (slot % WORD);
            if rest != 0 {
                let tick = self.next + ahead as u64 + u64::from(rest.trailing_zeros());
                return self.start?.checked_add(Duration::from_millis(TICK_MS * tick));
            }
            ahead += WORD - slot % WORD;
        }
        None
    }

    /// Takes what is due at `now` into `due`.
    pub(super) fn fire(&mut self, now: Instant, due: &mut Vec<K>) {
        let Some(start) = self.start else { return };
        let until = ticks(now.saturating_duration_since(start)) + 1;
        // Further back than one turn every slot is looked at once.
        let from = self.next.max(until.saturating_sub(SLOTS as u64));
        for tick in from..until {
            self.fire_slot(Self::slot(tick), until, due);
        }
        self.next = self.next.max(until);
    }

    fn fire_slot(&mut self, slot: usize, until: u64, due: &mut Vec<K>) {
        let (Some(entries), Some(word)) =
            (self.slots.get_mut(slot), self.filled.get_mut(slot / WORD))
        else {
            return;
        };
        if entries.is_empty() {
            return;
        }
        entries.retain(|&(tick, key)| {
            let later = tick >= until;
            if !later {
                due.push(key);
            }
            later
        });
        if entries.is_empty() {
            *word &= !(1 << (slot % WORD));
            // A burst leaves its room behind; a slot is used again only 41 s later.
            entries.shrink_to(64);
        }
    }

    fn slot(tick: u64) -> usize {
        (tick % SLOTS as u64) as usize
    }
}

/// Ticks from `start` to `due`, rounded up.
fn ticks_until(start: Instant, due: Instant) -> u64 {
    ticks(due.saturating_duration_since(start) + TICK - Duration::from_nanos(1))
}

/// Whole ticks. Not by the nanoseconds of the whole time: dividing 128 bits is slow.
fn ticks(time: Duration) -> u64 {
    time.as_secs() * (1000 / TICK_MS) + u64::from(time.subsec_millis()) / TICK_MS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_epoch;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn fires_in_time_and_never_early() {
        let start = test_epoch();
        let mut wheel = Wheel::new();
        for (key, at) in [(1, 500), (2, 505), (3, 32_000), (4, 181_000), (5, 0)] {
            wheel.arm(start, start + ms(at), key);
        }
        let mut seen = Vec::new();
        for at in (0..200_000).step_by(10) {
            let mut due = Vec::new();
            wheel.fire(start + ms(at), &mut due);
            seen.extend(due.into_iter().map(|key| (at, key)));
        }
        assert_eq!(seen, [(0, 5), (500, 1), (510, 2), (32_000, 3), (181_000, 4)]);
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn it_turns_for_years() {
        let start = test_epoch();
        let mut wheel = Wheel::new();
        wheel.arm(start, start, 0);
        let years = start + Duration::from_secs(3 * 365 * 86_400);
        wheel.fire(years, &mut Vec::new());
        wheel.arm(years, years + ms(500), 1);
        assert_eq!(wheel.next_due(), Some(years + ms(500)));
    }

    proptest! {
        #[test]
        fn what_is_armed_fires_once(delays in proptest::collection::vec(0_u64..100_000, 1..50)) {
            let start = test_epoch();
            let mut wheel = Wheel::new();
            for (key, delay) in delays.iter().enumerate() {
                wheel.arm(start, start + ms(*delay), key);
            }
            let mut seen = Vec::new();
            let mut now = start;
            while let Some(next) = wheel.next_due() {
                prop_assert!(next >= now);
                now = next;
                let mut due = Vec::new();
                wheel.fire(now, &mut due);
                for key in due {
                    let wanted = start + ms(delays[key]);
                    prop_assert!(wanted <= now && now < wanted + TICK);
                    seen.push(key);
                }
                now += ms(1);
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..delays.len()).collect::<Vec<_>>());
        }
    }
}
