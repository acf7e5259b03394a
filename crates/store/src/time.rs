//! Wall-clock time as the store keeps it.

use std::ops::Add;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
///
/// Wall-clock time, because it must mean the same after a restart. Arithmetic saturates.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The latest time that can be written; "never" for a deadline.
    pub const MAX: Millis = Millis(u64::MAX);

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The same instant as a `SystemTime`; the end of the range when it cannot be expressed.
    pub fn to_system_time(self) -> SystemTime {
        let longest = Duration::from_millis(u64::MAX >> 12);
        UNIX_EPOCH + Duration::from_millis(self.0).min(longest)
    }
}

impl Add<Duration> for Millis {
    type Output = Millis;

    fn add(self, wait: Duration) -> Millis {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Millis(self.0.saturating_add(millis))
    }
}

impl From<SystemTime> for Millis {
    /// Times before 1970 become 0.
    fn from(time: SystemTime) -> Millis {
        Millis(0) + time.duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Millis, UNIX_EPOCH};

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Millis(5) + Duration::from_secs(1), Millis(1005));
        assert_eq!(Millis::MAX + Duration::MAX, Millis::MAX);
        assert_eq!(Millis(7).since(Millis(9)), Duration::ZERO);
        assert_eq!(Millis(9).since(Millis(7)), Duration::from_millis(2));
    }

    #[test]
    fn converts_to_and_from_system_time() {
        let time = UNIX_EPOCH + Duration::from_millis(1_790_000_000_123);
        assert_eq!(Millis::from(time), Millis(1_790_000_000_123));
        assert_eq!(Millis::from(time).to_system_time(), time);
        assert_eq!(Millis::from(UNIX_EPOCH - Duration::from_secs(1)), Millis(0));
        assert!(Millis::MAX.to_system_time() > time);
    }
}
