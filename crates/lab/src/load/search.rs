//! The search for the highest clean rate.

/// Where a search stands.
///
/// | Known                 | Next rate                                   |
/// |-----------------------|---------------------------------------------|
/// | nothing unclean       | half as much again, up to the limit         |
/// | nothing clean         | half the last                               |
/// | both                  | the middle, until they are close            |
///
/// A rate counts as unclean only when it was so twice: on a shared machine one stall of somebody
/// else's making would otherwise end the search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    next: f64,
    clean: Option<f64>,
    unclean: Option<f64>,
    failed_once: bool,
    limit: f64,
    precision: f64,
}

/// How much faster each step is while nothing was unclean: local choice. Doubling would throw
/// nearly twice its capacity at a server, and some need a minute to recover from that.
const GROWTH: f64 = 1.5;
/// A search gives up below one message a second.
const RATE_MIN: f64 = 1.0;

impl Search {
    /// Begins at `start` and never exceeds `limit`, both per second; ends when the bounds are
    /// within `per_cent`.
    pub(crate) fn new(start: f64, limit: f64, per_cent: f64) -> Self {
        Self {
            next: start.max(RATE_MIN).min(limit),
            clean: None,
            unclean: None,
            failed_once: false,
            limit,
            precision: 1.0 + per_cent.max(0.1) / 100.0,
        }
    }

    /// The rate to try now; `None` when the search is over.
    pub(crate) fn next(&self) -> Option<f64> {
        let close = match (self.clean, self.unclean) {
            (Some(clean), Some(unclean)) => unclean / clean <= self.precision,
            (Some(clean), None) => clean >= self.limit,
            (None, Some(unclean)) => unclean <= RATE_MIN,
            (None, None) => false,
        };
        (!close).then_some(self.next)
    }

    /// Tells how the rate of [`Search::next`] went.
    pub(crate) fn tell(&mut self, clean: bool) {
        if !clean && !self.failed_once {
            self.failed_once = true;
            return;
        }
        self.failed_once = false;
        if clean {
            self.clean = Some(self.next);
        } else {
            self.unclean = Some(self.next);
        }
        self.next = match (self.clean, self.unclean) {
            (Some(clean), Some(unclean)) => (clean + unclean) / 2.0,
            (Some(clean), None) => (clean * GROWTH).min(self.limit),
            (None, Some(unclean)) => (unclean / 2.0).max(RATE_MIN),
            (None, None) => self.next,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a search against a server that is clean up to `capacity`; the trials it took.
    fn found(start: f64, capacity: f64) -> (Option<f64>, usize) {
        let mut search = Search::new(start, 100_000.0, 4.0);
        let mut trials = 0;
        while let Some(rate) = search.next() {
            trials += 1;
            assert!(trials < 100, "the search does not end");
            search.tell(rate <= capacity);
        }
        (search.clean, trials)
    }

    #[test]
    fn finds_the_capacity_from_below_and_above() {
        for (start, capacity) in [(1000.0, 8765.0), (50_000.0, 8765.0), (8765.0, 8765.0)] {
            let (clean, trials) = found(start, capacity);
            let clean = clean.unwrap();
            assert!(clean <= capacity && clean >= capacity / 1.05, "{start}: {clean}");
            assert!(trials <= 30, "{start}: {trials}");
        }
    }

    #[test]
    fn ends_at_the_limits() {
        assert_eq!(found(1000.0, f64::MAX).0, Some(100_000.0));
        assert_eq!(found(1000.0, 0.0).0, None);
    }

    #[test]
    fn one_unclean_trial_is_repeated() {
        let mut search = Search::new(1000.0, 100_000.0, 4.0);
        search.tell(false);
        assert_eq!(search.next(), Some(1000.0));
        search.tell(true);
        assert_eq!(search.next(), Some(1500.0));
    }
}
