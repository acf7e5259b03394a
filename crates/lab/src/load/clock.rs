//! The clocks of a run: time since its start, and the time this thread has been on a processor.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// The monotonic clock, counted from the start of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero now.
    #[expect(clippy::disallowed_methods, reason = "the generator measures real time")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Nanoseconds since the start; 64 bits last 584 years.
    pub(crate) fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A duration in nanoseconds, as the run counts time.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Processor time of the calling thread, user and system; zero when the kernel refuses to say.
pub(crate) fn thread_cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else {
        return Duration::ZERO;
    };
    let part = |seconds: i64, micros: i64| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
            + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    let (user, system) = (usage.user_time(), usage.system_time());
    part(user.tv_sec(), user.tv_usec()) + part(system.tv_sec(), system.tv_usec())
}

/// A number that differs between runs, so that a server still in Timer J (RFC 3261 §17.2.2) does
/// not take this run's branches for retransmissions of the last one's.
#[expect(clippy::disallowed_methods, reason = "uniqueness across runs needs the wall clock")]
pub(crate) fn run_number(seed: u64) -> u32 {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, nanos);
    let process = u64::from(std::process::id());
    let mixed = mix(seed ^ mix(wall ^ mix(process)));
    u32::try_from(mixed >> 32).unwrap_or(0)
}

/// SplitMix64: spreads neighbouring numbers over 64 bits.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_time_grows_with_work() {
        let before = thread_cpu();
        let mut number = 0;
        while thread_cpu() < before + Duration::from_millis(5) {
            number = mix(number);
        }
        assert_ne!(number, 0);
    }

    #[test]
    fn mixing_spreads() {
        // First output of SplitMix64 seeded with zero, as its reference implementation gives it.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_ne!(mix(1) >> 32, mix(2) >> 32);
    }
}
