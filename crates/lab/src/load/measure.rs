//! What a run counts: answers, losses, latency, stalls.

use hdrhistogram::Histogram;

/// Longest latency told apart: a minute in microseconds; what is longer counts as that.
const LATENCY_MICROS_MAX: u64 = 60_000_000;

/// Counters of the measured part of a run. Times are nanoseconds of the run.
#[derive(Debug)]
pub(crate) struct Measure {
    /// From when a request was due to its final response, in microseconds.
    latency: Histogram<u64>,
    /// From when a request was due to when it was sent, in microseconds.
    lag: Histogram<u64>,
    /// Final responses by code, from 0.
    codes: Vec<u64>,
    /// Requests sent, retransmissions not counted.
    pub(crate) sent: u64,
    /// Final responses that completed a transaction.
    pub(crate) completed: u64,
    /// Completed while requests were being offered: what processor time is divided by.
    pub(crate) completed_in_window: u64,
    /// Transactions without a final response T1 after sending.
    pub(crate) late: u64,
    /// Transactions that never had a final response.
    pub(crate) lost: u64,
    /// Requests sent again by us.
    pub(crate) retransmitted: u64,
    /// Requests the server sent again.
    pub(crate) server_retransmissions: u64,
    /// Responses that completed nothing: second answers, or after the transaction was lost.
    pub(crate) stray: u64,
    /// Requests from the server that are not ours coming back.
    pub(crate) others: u64,
    /// Requests that waited for a place in the table of outstanding transactions.
    pub(crate) held_back: u64,
    /// Longest time without a completion while requests were being offered.
    pub(crate) stall: u64,
    window: (u64, u64),
    last_completion: u64,
}

impl Measure {
    /// Measures what is due from `start` until `end`.
    pub(crate) fn new(start: u64, end: u64) -> Self {
        // 1 µs to a minute with three digits: these bounds are always accepted.
        let histogram = || {
            let mut histogram = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3)
                .expect("the bounds and the precision are within the library's limits");
            histogram.auto(false);
            histogram
        };
        Self {
            latency: histogram(),
            lag: histogram(),
            codes: vec![0; 700],
            sent: 0,
            completed: 0,
            completed_in_window: 0,
            late: 0,
            lost: 0,
            retransmitted: 0,
            server_retransmissions: 0,
            stray: 0,
            others: 0,
            held_back: 0,
            stall: 0,
            window: (start, end),
            last_completion: start,
        }
    }

    /// Whether what was due at `due` counts.
    pub(crate) fn counts(&self, due: u64) -> bool {
        (self.window.0..self.window.1).contains(&due)
    }

    /// A request due at `due` was sent at `now`.
    pub(crate) fn sent(&mut self, due: u64, now: u64) {
        if self.counts(due) {
            self.sent += 1;
            self.lag.saturating_record(now.saturating_sub(due) / 1000);
        }
    }

    /// A request due at `due` was answered with `code` at `now`.
    pub(crate) fn completed(&mut self, due: u64, now: u64, code: u16) {
        if self.counts(now) {
            self.completed_in_window += 1;
            self.stall = self.stall.max(now.saturating_sub(self.last_completion));
            self.last_completion = now;
        }
        if self.counts(due) {
            self.completed += 1;
            self.latency.saturating_record(now.saturating_sub(due) / 1000);
            if let Some(count) = self.codes.get_mut(usize::from(code)) {
                *count += 1;
            }
        }
    }

    /// The offering of requests ended at `now`: the time since the last completion is a stall
    /// too, unless nothing was outstanding.
    pub(crate) fn close_window(&mut self, now: u64, outstanding: bool) {
        self.window.1 = self.window.1.min(now);
        if outstanding {
            self.stall = self.stall.max(now.saturating_sub(self.last_completion));
        }
    }

    /// Length of the measured part, in nanoseconds.
    pub(crate) fn length(&self) -> u64 {
        self.window.1.saturating_sub(self.window.0)
    }

    /// Codes that came, with their counts.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (u16, u64)> {
        (0_u16..).zip(&self.codes).filter(|(_, count)| **count > 0).map(|(code, n)| (code, *n))
    }

    /// Latency at `quantile` (0 to 1), in microseconds.
    pub(crate) fn latency(&self, quantile: f64) -> u64 {
        self.latency.value_at_quantile(quantile)
    }

    /// How late requests left at `quantile` (0 to 1), in microseconds.
    pub(crate) fn lag(&self, quantile: f64) -> u64 {
        self.lag.value_at_quantile(quantile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn percentiles_of_a_known_series() {
        let mut measure = Measure::new(0, u64::MAX);
        for ms in 1..=1000 {
            measure.completed(0, ms * MS, 200);
        }
        // Three significant digits: each within a tenth of a per cent.
        for (quantile, expect) in
            [(0.5, 500_000), (0.99, 990_000), (0.999, 999_000), (1.0, 1_000_000)]
        {
            let value = measure.latency(quantile);
            assert!(value.abs_diff(expect) <= expect / 1000, "{quantile}: {value}");
        }
    }

    #[test]
    fn beyond_a_minute_counts_as_a_minute() {
        let mut measure = Measure::new(0, u64::MAX);
        measure.completed(0, 500_000 * MS, 200);
        assert!(measure.latency(1.0).abs_diff(LATENCY_MICROS_MAX) < LATENCY_MICROS_MAX / 500);
        assert_eq!(measure.completed, 1);
    }

    #[test]
    fn only_the_window_counts() {
        let mut measure = Measure::new(10 * MS, 20 * MS);
        measure.sent(9 * MS, 9 * MS);
        measure.sent(10 * MS, 12 * MS);
        measure.completed(9 * MS, 11 * MS, 200); // due before, answered within
        measure.completed(10 * MS, 25 * MS, 404); // due within, answered after
        assert_eq!((measure.sent, measure.completed, measure.completed_in_window), (1, 1, 1));
        assert_eq!(measure.answers().collect::<Vec<_>>(), [(404, 1)]);
        assert_eq!(measure.lag(1.0), 2000);
    }

    #[test]
    fn a_stall_is_the_longest_gap_also_at_the_ends() {
        let stall = |completions: &[u64], end, outstanding| {
            let mut measure = Measure::new(0, 100 * MS);
            for at in completions {
                measure.completed(*at, at * MS, 200);
            }
            measure.close_window(end * MS, outstanding);
            measure.stall / MS
        };
        assert_eq!(stall(&[10, 40, 50], 60, true), 30);
        assert_eq!(stall(&[35, 40], 60, true), 35);
        assert_eq!(stall(&[10], 90, true), 80);
        assert_eq!(stall(&[10], 90, false), 10);
    }
}
