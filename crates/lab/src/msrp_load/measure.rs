//! What a run counts.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Longest latency told apart: a minute in nanoseconds; what is longer counts as that.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;

/// Counters of a run. `window` is the measured part; times are nanoseconds of the run.
#[derive(Debug)]
pub(crate) struct Measure {
    /// From when a message was due until a recipient had it.
    pub(crate) delivery: Histogram<u64>,
    /// From when a request was sent until it was answered.
    pub(crate) answer: Histogram<u64>,
    /// From when a message was due until it was sent; open loop.
    pub(crate) lag: Histogram<u64>,
    window: (u64, u64),
    /// Within the measured part: messages sent, copies delivered, octets of them, answers.
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) delivered_octets: u64,
    pub(crate) answered: u64,
    /// Of the whole run, by code: responses that are no 200.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// Of the whole run, by status: REPORTs.
    pub(crate) reports: BTreeMap<u16, u64>,
    /// Of the whole run: SENDs that are nobody's message, such as a welcome.
    pub(crate) others: u64,
    /// Of the whole run: what should not have come, or came wrong.
    pub(crate) wrong: BTreeMap<&'static str, u64>,
    /// Connections that ended.
    pub(crate) lost_links: u64,
}

impl Measure {
    pub(crate) fn new() -> Self {
        // A microsecond to a minute with three digits: these bounds are always accepted.
        let histogram = || {
            Histogram::new_with_bounds(100, LATENCY_NANOS_MAX, 3)
                .expect("the bounds and the precision are within the library's limits")
        };
        Self {
            delivery: histogram(),
            answer: histogram(),
            lag: histogram(),
            window: (u64::MAX, u64::MAX),
            sent: 0,
            delivered: 0,
            delivered_octets: 0,
            answered: 0,
            refused: BTreeMap::new(),
            reports: BTreeMap::new(),
            others: 0,
            wrong: BTreeMap::new(),
            lost_links: 0,
        }
    }

    /// The measured part begins.
    pub(crate) fn open(&mut self, now: u64) {
        self.window = (now, u64::MAX);
    }

    /// The measured part ends.
    pub(crate) fn close(&mut self, now: u64) {
        self.window.1 = now;
    }

    /// Length of the measured part, in nanoseconds.
    pub(crate) fn length(&self) -> u64 {
        self.window.1.saturating_sub(self.window.0)
    }

    #[inline]
    fn counts(&self, now: u64) -> bool {
        now >= self.window.0 && now < self.window.1
    }

    #[inline]
    pub(crate) fn sent(&mut self, now: u64) {
        self.sent += u64::from(self.counts(now));
    }

    /// A copy of a message came at `now`.
    #[inline]
    pub(crate) fn delivered(&mut self, now: u64, octets: usize) {
        if self.counts(now) {
            self.delivered += 1;
            self.delivered_octets += octets as u64;
        }
    }

    #[inline]
    pub(crate) fn answered(&mut self, now: u64) {
        self.answered += u64::from(self.counts(now));
    }

    /// Times one delivery.
    pub(crate) fn time_delivery(&mut self, due: u64, now: u64) {
        if self.counts(now) {
            self.delivery.saturating_record(now.saturating_sub(due));
        }
    }

    /// Times one answer.
    pub(crate) fn time_answer(&mut self, sent: u64, now: u64) {
        if self.counts(now) {
            self.answer.saturating_record(now.saturating_sub(sent));
        }
    }

    /// A message due at `due` was sent at `now`.
    pub(crate) fn time_lag(&mut self, due: u64, now: u64) {
        if self.counts(now) {
            self.lag.saturating_record(now.saturating_sub(due));
        }
    }

    /// Something is wrong.
    pub(crate) fn wrong(&mut self, what: &'static str, count: u64) {
        *self.wrong.entry(what).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_measured_part_counts() {
        let mut measure = Measure::new();
        for now in [5, 10, 15, 20, 25] {
            if now == 10 {
                measure.open(now);
            }
            if now == 20 {
                measure.close(now);
            }
            measure.sent(now);
            measure.delivered(now, 100);
            measure.answered(now);
            measure.time_delivery(0, now);
        }
        assert_eq!((measure.sent, measure.delivered, measure.answered), (2, 2, 2));
        assert_eq!((measure.delivered_octets, measure.length()), (200, 10));
        assert_eq!(measure.delivery.len(), 2);
    }
}
