//! Message-IDs that were used in a room (RFC 4975 §7.1.1, §5.4).
//!
//! The same Message-ID from the same session is the same message again; from another session it is
//! another message, which the recipients could not tell from the first.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::seen::SEEN_MAX;

/// The Message-IDs of all sessions of a room, the last [`SEEN_MAX`] of each.
///
/// An identifier is kept as a keyed hash of 64 bits. What is too old stays until the table is full:
/// to look for it with every message would cost more than the rest.
#[derive(Debug)]
pub(super) struct Recent {
    uses: HashTable<Use>,
    /// How many messages each session has begun, by its number here.
    begun: Vec<u32>,
    /// The numbers of sessions that are gone.
    free: Vec<u32>,
    hasher: FixedState,
}

/// A session has used an identifier.
#[derive(Clone, Copy, Debug)]
struct Use {
    hash: u64,
    session: u32,
    /// Which one of its messages it was, from 0.
    message: u32,
}

impl Use {
    /// Whether it is one of the last of its session; `begun` are those of all sessions.
    fn is_recent(&self, begun: &[u32]) -> bool {
        let begun = begun.get(self.session as usize).copied().unwrap_or_default();
        begun.wrapping_sub(self.message) as usize <= SEEN_MAX
    }
}

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
        let hasher = FixedState::with_seed(seed);
        Self { uses: HashTable::new(), begun: Vec::new(), free: Vec::new(), hasher }
    }

    /// The number of a session that comes in.
    pub(super) fn join(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.begun.push(0);
            u32::try_from(self.begun.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Forgets all that a session has used: it is gone.
    pub(super) fn leave(&mut self, session: u32) {
        if let Some(begun) = self.begun.get_mut(session as usize) {
            // All of its messages are too old for whoever gets its number.
            *begun = begun.wrapping_add(SEEN_MAX as u32);
            self.free.push(session);
        }
    }

    /// Says that a session begins a message called `id`; it is remembered unless it was before.
    pub(super) fn begin(&mut self, session: u32, id: &[u8]) -> Before {
        let hash = self.hasher.hash_one(id);
        let mut before = Before::Nobody;
        for used in self.uses.iter_hash(hash) {
            if used.hash == hash && used.is_recent(&self.begun) {
                if used.session == session {
                    return Before::Same;
                }
                before = Before::Other;
            }
        }
        if self.uses.len() == self.uses.capacity() {
            self.sweep();
        }
        if let Some(begun) = self.begun.get_mut(session as usize) {
            let used = Use { hash, session, message: *begun };
            *begun = begun.wrapping_add(1);
            self.uses.insert_unique(hash, used, |used| used.hash);
        }
        before
    }

    /// Forgets `id`: its message was not received whole and may come again.
    pub(super) fn forget(&mut self, session: u32, id: &[u8]) {
        let hash = self.hasher.hash_one(id);
        let own = |used: &Use| used.hash == hash && used.session == session;
        while let Ok(entry) = self.uses.find_entry(hash, own) {
            entry.remove();
        }
    }

    /// Makes room for as many as there are, without those that are too old.
    fn sweep(&mut self) {
        let recent = |used: &&Use| used.is_recent(&self.begun);
        let kept = self.uses.iter().filter(recent).count();
        let mut uses = HashTable::with_capacity((2 * kept).max(1));
        for used in self.uses.iter().filter(recent) {
            uses.insert_unique(used.hash, *used, |used| used.hash);
        }
        self.uses = uses;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A room of so many.
    fn of(sessions: u32) -> Recent {
        let mut recent = Recent::new(7);
        for session in 0..sessions {
            assert_eq!(recent.join(), session);
        }
        recent
    }

    // Covers: MSRP-071
    #[test]
    fn tells_a_duplicate_from_a_collision() {
        let mut recent = of(3);
        assert_eq!(recent.begin(1, b"a"), Before::Nobody);
        assert_eq!(recent.begin(1, b"a"), Before::Same);
        assert_eq!(recent.begin(2, b"a"), Before::Other);
        assert_eq!(recent.begin(2, b"a"), Before::Same);
        recent.forget(1, b"a");
        assert_eq!(recent.begin(1, b"a"), Before::Other);
        assert_eq!(recent.begin(1, b"a"), Before::Same);
        recent.leave(2);
        recent.forget(1, b"a");
        assert_eq!(recent.begin(1, b"a"), Before::Nobody);
        recent.leave(1);
        assert_eq!((recent.join(), recent.join(), recent.join()), (1, 2, 3));
        assert_eq!(recent.begin(1, b"a"), Before::Nobody, "whoever had the number before");
    }

    #[test]
    fn remembers_the_last_thousand_of_each_session() {
        let mut recent = of(3);
        recent.begin(2, b"0");
        for number in 0..=SEEN_MAX {
            recent.begin(1, number.to_string().as_bytes());
        }
        assert_eq!(recent.begin(1, b"1"), Before::Same);
        assert_eq!(recent.begin(1, b"0"), Before::Other, "the oldest went");
        assert_eq!(recent.begin(2, b"0"), Before::Same);
    }

    #[test]
    fn grows_with_what_it_has() {
        let mut recent = of(1);
        for number in 1..SEEN_MAX {
            recent.begin(0, number.to_string().as_bytes());
            let capacity = recent.uses.capacity();
            assert!(capacity <= 2 * number + 2, "{capacity} for {number}");
        }
    }

    #[test]
    fn what_is_too_old_takes_no_more_room() {
        let mut recent = of(1);
        for number in 0..100 * SEEN_MAX {
            assert_eq!(recent.begin(0, number.to_string().as_bytes()), Before::Nobody);
        }
        assert!(recent.uses.capacity() < 4 * SEEN_MAX, "{}", recent.uses.capacity());
    }

    proptest! {
        #[test]
        fn is_a_set_of_pairs(steps in prop::collection::vec((0_u8..4, 0_u32..3, 0_u8..4), 0..60)) {
            let mut recent = of(3);
            let mut model = BTreeSet::new();
            for (step, session, id) in steps {
                match step {
                    0 => {
                        recent.forget(session, &[id]);
                        model.remove(&(session, id));
                    }
                    1 => {
                        recent.leave(session);
                        prop_assert_eq!(recent.join(), session);
                        model.retain(|(other, _)| *other != session);
                    }
                    _ => {
                        let others = model.iter().any(|(_, other)| *other == id);
                        let before = match (model.insert((session, id)), others) {
                            (false, _) => Before::Same,
                            (true, true) => Before::Other,
                            (true, false) => Before::Nobody,
                        };
                        prop_assert_eq!(recent.begin(session, &[id]), before);
                    }
                }
                let is_recent = |used: &&Use| used.is_recent(&recent.begun);
                prop_assert_eq!(recent.uses.iter().filter(is_recent).count(), model.len());
            }
        }
    }
}
