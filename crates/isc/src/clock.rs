//! Wall-clock time that follows tokio's clock.

use std::time::SystemTime;

use parlance_store::Millis;
use tokio::time::Instant;

/// Tells wall-clock time: a fixed point of it, and tokio's clock since then.
///
/// On a paused tokio clock it stands still too, so that a test moves expiry, grace and the time
/// of day together. In production the fixed point is the start of the process; steps of the
/// system's clock after that are not followed, its slewing is.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Millis,
    start: Instant,
}

impl Clock {
    /// A clock that says `anchor` now. Must be called on a tokio runtime when its clock is to be
    /// followed in a test.
    pub fn new(anchor: SystemTime) -> Self {
        Self { anchor: Millis::from(anchor), start: Instant::now() }
    }

    /// The wall-clock time.
    pub fn now(&self) -> Millis {
        self.at(Instant::now())
    }

    /// The wall-clock time at `instant`; before the start of the clock, its fixed point.
    pub fn at(&self, instant: Instant) -> Millis {
        self.anchor + instant.saturating_duration_since(self.start)
    }

    /// When the wall clock will say `time`; now or earlier when it did.
    pub fn instant(&self, time: Millis) -> Instant {
        let wait = time.since(self.anchor);
        // A deadline beyond what an `Instant` holds never comes: a century stands for it.
        let never = std::time::Duration::from_secs(100 * 366 * 86_400);
        self.start + wait.min(never)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Clock, Instant, Millis};

    #[tokio::test(start_paused = true)]
    async fn it_follows_a_paused_clock() {
        let clock = Clock::new(UNIX_EPOCH + Duration::from_millis(1_790_000_000_000));
        assert_eq!(clock.now(), Millis(1_790_000_000_000));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(clock.now(), Millis(1_790_000_030_000));
        assert_eq!(clock.at(Instant::now() - Duration::from_secs(60)), Millis(1_790_000_000_000));
        assert_eq!(clock.instant(clock.now()), Instant::now());
        assert!(clock.instant(Millis::MAX) > Instant::now() + Duration::from_secs(1 << 30));
    }
}
