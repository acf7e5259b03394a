//! Timing of short pieces of code.

use std::time::Instant;

use crate::allocations;

/// What one call costs.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Nanoseconds, the median of the rounds.
    pub nanoseconds: f64,
    /// Nanoseconds in the best round.
    pub best: f64,
    /// Allocations, over all rounds.
    pub allocations: f64,
}

/// Runs `work` in 9 rounds of `calls` after one that is not counted.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub fn measure(calls: u32, mut work: impl FnMut()) -> Cost {
    let mut rounds = Vec::new();
    let mut allocations = 0;
    for round in 0..10 {
        let (start, before) = (Instant::now(), allocations::count());
        for _ in 0..calls {
            work();
        }
        let spent = start.elapsed().as_secs_f64() * 1e9 / f64::from(calls);
        if round > 0 {
            rounds.push(spent);
            allocations += allocations::count() - before;
        }
    }
    rounds.sort_by(f64::total_cmp);
    let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    let allocations = allocations as f64 / (9.0 * f64::from(calls));
    Cost { nanoseconds: at(4), best: at(0), allocations }
}
