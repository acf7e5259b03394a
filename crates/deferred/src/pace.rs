//! How fast a shard sends.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// Spaces the messages of one shard evenly: a thousand users who come back at once do not make a
/// thousand messages at once.
#[derive(Debug)]
pub(crate) struct Pace {
    step: Duration,
    next: Cell<Option<Instant>>,
}

impl Pace {
    /// So many messages a second; 0 counts as 1.
    pub(crate) fn new(per_second: u32) -> Pace {
        let step = Duration::from_secs(1).checked_div(per_second).unwrap_or(Duration::from_secs(1));
        Pace { step, next: Cell::new(None) }
    }

    /// Takes the next place. Who stops waiting leaves his place empty.
    pub(crate) fn place(&self) -> Instant {
        let now = Instant::now();
        let mine = self.next.get().map_or(now, |next| next.max(now));
        self.next.set(Some(mine + self.step));
        mine
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Pace};

    #[tokio::test(start_paused = true)]
    async fn places_are_evenly_spaced() {
        let pace = Pace::new(4);
        let start = Instant::now();
        let places: Vec<u128> =
            (0..4).map(|_| pace.place().duration_since(start).as_millis()).collect();
        assert_eq!(places, [0, 250, 500, 750]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(pace.place(), Instant::now(), "what was not used is not saved up");
        assert_eq!(pace.place(), Instant::now() + Duration::from_millis(250));
        let slow = Pace::new(0);
        slow.place();
        assert_eq!(slow.place(), Instant::now() + Duration::from_secs(1));
    }
}
