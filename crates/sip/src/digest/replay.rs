//! Which nonce counts were used: a bounded table (RFC 7616 §3.4, `nc`; §5.5).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::nonce::Nonce;

/// Counts this far behind the highest are still told apart; over UDP requests may overtake each
/// other. Local limit, the RFC sets none.
const WINDOW: u32 = 64;

/// The nonces in use and their counts, the oldest first.
///
/// At the limit the oldest nonce is forgotten, and with it every nonce not younger: they are
/// stale, so that nothing can be replayed. The client takes the new nonce and notices nothing.
#[derive(Debug)]
pub(super) struct Replay {
    used: BTreeMap<Nonce, Counts>,
    nonces_max: usize,
    /// A nonce issued at or before this time is stale unless it is in the table.
    forgotten: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    highest: u32,
    /// Bit n: the count n below the highest was used.
    seen: u64,
}

impl Replay {
    pub(super) fn new(nonces_max: usize) -> Self {
        Self { used: BTreeMap::new(), nonces_max, forgotten: None }
    }

    /// Takes note of one use; `false` when it is a replay, or may be.
    pub(super) fn take(&mut self, nonce: Nonce, nc: u32) -> bool {
        if nc == 0 {
            return false;
        }
        let is_forgotten = self.forgotten.is_some_and(|forgotten| nonce.issued <= forgotten);
        match self.used.entry(nonce) {
            Entry::Occupied(mut counts) => counts.get_mut().take(nc),
            Entry::Vacant(_) if is_forgotten => false,
            Entry::Vacant(vacant) => {
                vacant.insert(Counts { highest: nc, seen: 1 });
                while self.used.len() > self.nonces_max
                    && let Some((oldest, _)) = self.used.pop_first()
                {
                    self.forgotten = self.forgotten.max(Some(oldest.issued));
                }
                true
            }
        }
    }

    /// Forgets the nonces issued at or before `issued`: they are stale anyway.
    pub(super) fn expire(&mut self, issued: u64) {
        while let Some(oldest) =
            self.used.first_entry().filter(|entry| entry.key().issued <= issued)
        {
            oldest.remove();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.used.len()
    }
}

impl Counts {
    fn take(&mut self, nc: u32) -> bool {
        if nc > self.highest {
            self.seen = self.seen.checked_shl(nc - self.highest).unwrap_or(0) | 1;
            self.highest = nc;
            return true;
        }
        let behind = self.highest - nc;
        let bit = 1_u64.checked_shl(behind).unwrap_or(0);
        let fresh = behind < WINDOW && self.seen & bit == 0;
        self.seen |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn nonce(issued: u64) -> Nonce {
        Nonce { issued, serial: 0 }
    }

    // Covers: SEC-019
    #[test]
    fn a_count_is_taken_once() {
        let mut replay = Replay::new(10);
        #[rustfmt::skip]
        let table = [
            (0,   false),
            (1,   true),
            (1,   false),
            (3,   true),
            (2,   true),  // overtaken on the way
            (2,   false),
            (3,   false),
            (100, true),
            (36,  false), // too far behind to tell
            (37,  true),
            (37,  false),
        ];
        for (nc, fresh) in table {
            assert_eq!(replay.take(nonce(1), nc), fresh, "{nc}");
        }
        assert!(replay.take(nonce(2), 1), "each nonce has its own counts");
    }

    // Covers: SEC-019
    #[test]
    fn the_table_is_bounded_and_what_is_forgotten_is_stale() {
        let mut replay = Replay::new(2);
        assert!(
            replay.take(nonce(10), 1) && replay.take(nonce(20), 1) && replay.take(nonce(30), 1)
        );
        assert_eq!(replay.len(), 2);
        assert!(!replay.take(nonce(10), 2), "forgotten");
        assert!(!replay.take(nonce(5), 1), "older than one forgotten");
        assert!(replay.take(nonce(20), 2) && replay.take(nonce(30), 2));
        replay.expire(20);
        assert_eq!(replay.len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice(
            uses in proptest::collection::vec((0_u64..6, 0_u32..90), 0..300),
        ) {
            let mut replay = Replay::new(3);
            let mut taken = BTreeSet::new();
            for (issued, nc) in uses {
                if replay.take(nonce(issued), nc) {
                    prop_assert!(taken.insert((issued, nc)));
                }
                prop_assert!(replay.len() <= 3);
            }
        }
    }
}
