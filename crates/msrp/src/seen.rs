//! The messages a session has had: the same Message-ID again is the same message (RFC 4975 §5.4).

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::HashTable;

/// How many Message-IDs a session remembers. Local limit; the RFC sets none. The oldest goes when
/// one more comes.
pub const SEEN_MAX: usize = 1000;

/// The last [`SEEN_MAX`] Message-IDs of a session.
///
/// An identifier is kept as a keyed hash of 64 bits: two of a thousand are taken for each other
/// once in 2^54 messages, and a peer cannot choose them so. Nothing is on the heap before the first
/// one; 1000 of them take 14 KiB.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Hashes, the oldest first.
    order: VecDeque<u64>,
    table: HashTable<u64>,
}

impl Seen {
    /// Whether this identifier was there before; it is from now on.
    pub(crate) fn insert(&mut self, hasher: &foldhash::quality::FixedState, id: &[u8]) -> bool {
        let hash = hasher.hash_one(id);
        if self.table.find(hash, |&other| other == hash).is_some() {
            return true;
        }
        if self.order.len() >= SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
            && let Ok(entry) = self.table.find_entry(oldest, |&other| other == oldest)
        {
            entry.remove();
        }
        self.order.push_back(hash);
        self.table.insert_unique(hash, hash, |&other| other);
        false
    }

    /// Whether this identifier was there before.
    pub(crate) fn contains(&self, hasher: &foldhash::quality::FixedState, id: &[u8]) -> bool {
        let hash = hasher.hash_one(id);
        self.table.find(hash, |&other| other == hash).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: MSRP-078
    #[test]
    fn remembers_the_last_thousand() {
        let hasher = foldhash::quality::FixedState::with_seed(7);
        let mut seen = Seen::default();
        let id = |number: usize| format!("message{number}").into_bytes();
        assert!(!seen.contains(&hasher, &id(0)));
        for number in 0..SEEN_MAX {
            assert!(!seen.insert(&hasher, &id(number)));
        }
        assert!(seen.insert(&hasher, &id(0)));
        assert!(!seen.insert(&hasher, &id(SEEN_MAX)), "a new one");
        assert!(!seen.contains(&hasher, &id(0)), "the oldest went");
        assert!(seen.contains(&hasher, &id(1)));
        assert_eq!(seen.order.len(), SEEN_MAX);
        assert_eq!(seen.table.len(), SEEN_MAX);
    }
}
