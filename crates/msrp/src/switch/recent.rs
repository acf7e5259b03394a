//! Message-IDs that were used in a room (RFC 4975 §7.1.1, §5.4).
//!
//! The same Message-ID from the same session is the same message again; from another session it is
//! another message, which the recipients could not tell from the first.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::seen::SEEN_MAX;

/// The Message-IDs of all sessions of a room, the last [`SEEN_MAX`] of each.
///
/// An identifier is kept as a keyed hash of 64 bits.
#[derive(Debug)]
pub(super) struct Recent {
    /// Which session used which.
    entries: HashTable<Entry>,
    /// How many sessions used which.
    uses: HashTable<Use>,
    hasher: FixedState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    hash: u64,
    leg: u32,
}

impl Entry {
    /// Sessions that use the same identifiers, such as 1, 2, 3, do not meet in one place.
    fn place(&self) -> u64 {
        self.hash ^ u64::from(self.leg).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

#[derive(Debug)]
struct Use {
    hash: u64,
    sessions: u32,
}

/// The Message-IDs of one session, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Used(VecDeque<u64>);

/// Who used a Message-ID before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nobody.
    Nobody,
    /// The same session: the message is a duplicate.
    Same,
    /// Another session of the room.
    Other,
}

impl Recent {
    /// Nothing was used. `seed` keeps the hashes from being guessed.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            entries: HashTable::new(),
            uses: HashTable::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// Says that session `leg` begins a message called `id`; it is remembered unless it was before.
    pub(super) fn begin(&mut self, leg: u32, used: &mut Used, id: &[u8]) -> Before {
        let hash = self.hasher.hash_one(id);
        let entry = Entry { hash, leg };
        if self.entries.find(entry.place(), |other| *other == entry).is_some() {
            return Before::Same;
        }
        if used.0.len() >= SEEN_MAX
            && let Some(oldest) = used.0.pop_front()
        {
            self.remove(leg, oldest);
        }
        used.0.push_back(hash);
        self.entries.insert_unique(entry.place(), entry, Entry::place);
        match self.uses.find_mut(hash, |other| other.hash == hash) {
            Some(other) => {
                other.sessions += 1;
                Before::Other
            }
            None => {
                self.uses.insert_unique(hash, Use { hash, sessions: 1 }, |other| other.hash);
                Before::Nobody
            }
        }
    }

    /// Forgets `id`: its message was not received whole and may come again.
    pub(super) fn forget(&mut self, leg: u32, used: &mut Used, id: &[u8]) {
        let hash = self.hasher.hash_one(id);
        if let Some(at) = used.0.iter().rposition(|other| *other == hash) {
            used.0.remove(at);
            self.remove(leg, hash);
        }
    }

    /// Forgets all that session `leg` has used: it is gone.
    pub(super) fn leave(&mut self, leg: u32, used: Used) {
        for hash in used.0 {
            self.remove(leg, hash);
        }
    }

    fn remove(&mut self, leg: u32, hash: u64) {
        let gone = Entry { hash, leg };
        let Ok(entry) = self.entries.find_entry(gone.place(), |other| *other == gone) else {
            return;
        };
        entry.remove();
        if let Ok(mut entry) = self.uses.find_entry(hash, |other| other.hash == hash) {
            entry.get_mut().sessions -= 1;
            if entry.get().sessions == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: MSRP-071
    #[test]
    fn tells_a_duplicate_from_a_collision() {
        let mut recent = Recent::new(7);
        let (mut one, mut two) = (Used::default(), Used::default());
        assert_eq!(recent.begin(1, &mut one, b"a"), Before::Nobody);
        assert_eq!(recent.begin(1, &mut one, b"a"), Before::Same);
        assert_eq!(recent.begin(2, &mut two, b"a"), Before::Other);
        assert_eq!(recent.begin(2, &mut two, b"a"), Before::Same);
        recent.forget(1, &mut one, b"a");
        assert_eq!(recent.begin(1, &mut one, b"a"), Before::Other);
        recent.leave(2, two);
        recent.forget(1, &mut one, b"a");
        assert_eq!(recent.begin(1, &mut one, b"a"), Before::Nobody);
        recent.leave(1, one);
        assert_eq!((recent.entries.len(), recent.uses.len()), (0, 0));
    }

    #[test]
    fn remembers_the_last_thousand_of_each_session() {
        let mut recent = Recent::new(7);
        let (mut one, mut two) = (Used::default(), Used::default());
        recent.begin(2, &mut two, b"0");
        for number in 0..=SEEN_MAX {
            let id = number.to_string();
            recent.begin(1, &mut one, id.as_bytes());
        }
        assert_eq!(recent.entries.len(), SEEN_MAX + 1);
        assert_eq!(recent.begin(1, &mut one, b"1"), Before::Same);
        assert_eq!(recent.begin(1, &mut one, b"0"), Before::Other, "the oldest went");
        assert_eq!(recent.begin(2, &mut two, b"0"), Before::Same);
    }
}
