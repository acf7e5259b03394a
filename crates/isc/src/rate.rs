//! How much a user may send, or have sent (OMA-TS-SIMPLE_IM §8.1.5.1).

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parlance_store::{Millis, UserId};

/// Users remembered; local limit, a power of two. At 8 octets each the table is 512 KiB.
const USERS_MAX: usize = 1 << 16;

/// Places where a user may stand in the table.
const WAYS: usize = 8;

/// Bits of a slot that tell users in the same place apart; the rest is milliseconds.
const PRINT_BITS: u32 = 20;

/// A limit on messages: the generic cell rate algorithm, a token bucket that keeps one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second for long, at most 1000; 0 sets no limit.
    pub per_second: u32,
    /// Messages at once.
    pub burst: u32,
}

impl Rate {
    /// What one message costs, in milliseconds.
    fn interval(self) -> u64 {
        1000 / u64::from(self.per_second.clamp(1, 1000))
    }
}

/// What users have sent lately; one for all shards.
///
/// Each slot holds when the allowance of one user will be whole again, and a print of who he is.
/// Memory is fixed: when eight users meet in one place the one who is nearest to his whole
/// allowance is forgotten, and so has it again. Who meets whom depends on a secret of the process.
pub struct Rates {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Rates {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rates").field("users_max", &self.slots.len()).finish_non_exhaustive()
    }
}

impl Rates {
    /// A table in which nobody has sent anything.
    pub fn new() -> Self {
        Self::with_room_for(USERS_MAX)
    }

    fn with_room_for(users: usize) -> Self {
        let slots = (0..users.max(WAYS)).map(|_| AtomicU64::new(0)).collect();
        Self { slots, hasher: RandomState::new() }
    }

    /// Takes one message off the allowance of `user`.
    ///
    /// # Errors
    /// When there is nothing left: how long until one message may be sent again.
    pub fn take(&self, user: &UserId, rate: Rate, now: Millis) -> Result<(), Duration> {
        self.take_many(user, 1, rate, now)
    }

    /// Takes `count` messages off the allowance of `user`, or none.
    ///
    /// # Errors
    /// When there is not enough left: how long until there is. More than a burst never pass.
    pub fn take_many(
        &self,
        user: &UserId,
        count: u32,
        rate: Rate,
        now: Millis,
    ) -> Result<(), Duration> {
        if rate.per_second == 0 {
            return Ok(());
        }
        let hash = self.hasher.hash_one(user);
        let print = hash & ((1 << PRINT_BITS) - 1);
        let places = (self.slots.len() / WAYS).max(1) as u64;
        let place = usize::try_from((hash >> PRINT_BITS) % places).unwrap_or(0) * WAYS;
        let ways = self.slots.get(place..place + WAYS).unwrap_or_default();
        loop {
            let Some((slot, value)) = find(ways, print) else { return Ok(()) };
            let is_his = value & ((1 << PRINT_BITS) - 1) == print;
            let whole = if is_his { value >> PRINT_BITS } else { 0 };
            let spent = whole.max(now.0) + rate.interval() * u64::from(count);
            let most = now.0 + rate.interval() * u64::from(rate.burst.max(1));
            if spent > most {
                return Err(Duration::from_millis(spent - most));
            }
            let new = spent << PRINT_BITS | print;
            let set = slot.compare_exchange(value, new, Ordering::Relaxed, Ordering::Relaxed);
            if set.is_ok() {
                return Ok(());
            }
            // Another shard was faster; what it wrote may be this user's.
        }
    }
}

/// The slot of the user with this print, or the one to give him: the least is the one nearest to a
/// whole allowance.
fn find(ways: &[AtomicU64], print: u64) -> Option<(&AtomicU64, u64)> {
    let loaded = ways.iter().map(|slot| (slot, slot.load(Ordering::Relaxed)));
    let mut least = None;
    for (slot, value) in loaded {
        if value != 0 && value & ((1 << PRINT_BITS) - 1) == print {
            return Some((slot, value));
        }
        if least.is_none_or(|(_, known)| value < known) {
            least = Some((slot, value));
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parlance_store::{Millis, UserId};

    use super::{Rate, Rates, WAYS};

    const RATE: Rate = Rate { per_second: 2, burst: 3 };
    const NOW: Millis = Millis(1_790_000_000_000);

    // Covers: SEC-012
    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let rates = Rates::new();
        let alice = UserId::from("sip:alice@ims.test");
        for _ in 0..3 {
            assert_eq!(rates.take(&alice, RATE, NOW), Ok(()));
        }
        assert_eq!(rates.take(&alice, RATE, NOW), Err(Duration::from_millis(500)));
        let later = NOW + Duration::from_millis(200);
        assert_eq!(rates.take(&alice, RATE, later), Err(Duration::from_millis(300)));
        assert_eq!(rates.take(&"sip:bob@ims.test".into(), RATE, later), Ok(()), "his own");
        assert_eq!(rates.take(&alice, RATE, NOW + Duration::from_millis(500)), Ok(()));
        let rested = NOW + Duration::from_secs(10);
        for left in (0..4).rev() {
            assert_eq!(rates.take(&alice, RATE, rested).is_ok(), left > 0, "{left}");
        }
        let unlimited = Rate { per_second: 0, burst: 1 };
        assert_eq!(rates.take(&alice, unlimited, rested), Ok(()));
    }

    // Covers: SEC-014
    #[test]
    fn many_pass_together_or_not_at_all() {
        let rates = Rates::new();
        let alice = UserId::from("sip:alice@ims.test");
        assert_eq!(rates.take_many(&alice, 2, RATE, NOW), Ok(()));
        assert_eq!(rates.take_many(&alice, 2, RATE, NOW), Err(Duration::from_millis(500)));
        assert_eq!(rates.take_many(&alice, 1, RATE, NOW), Ok(()), "nothing was taken");
        let rested = NOW + Duration::from_secs(10);
        assert!(rates.take_many(&alice, 4, RATE, rested).is_err());
        assert_eq!(rates.take_many(&alice, 3, RATE, rested), Ok(()));
    }

    // Covers: SEC-012
    #[test]
    fn the_table_keeps_its_size_and_forgets_who_is_nearest_to_rest() {
        let rates = Rates::with_room_for(WAYS);
        let heavy = UserId::from("sip:heavy@ims.test");
        while rates.take(&heavy, RATE, NOW).is_ok() {}
        // Every other place is taken by somebody who sent one message; then some of them go.
        for number in 0..4 * WAYS {
            assert_eq!(rates.take(&format!("sip:{number}@ims.test").into(), RATE, NOW), Ok(()));
        }
        assert_eq!(rates.slots.len(), WAYS);
        assert!(rates.take(&heavy, RATE, NOW).is_err(), "who sent most is remembered");
    }
}
