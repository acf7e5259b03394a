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
/// An identifier is kept as a keyed hash of 64 bits. Nearly always one session uses it: what
/// others use besides is looked up only where there is such a thing.
#[derive(Debug)]
pub(super) struct Recent {
    /// Who uses which.
    uses: HashTable<Use>,
    /// Further sessions that use one.
    others: HashTable<Other>,
    hasher: FixedState,
}

#[derive(Clone, Copy, Debug)]
struct Use {
    hash: u64,
    /// The session that used it first; [`NOBODY`] when that has forgotten it.
    leg: u32,
    /// How many others use it.
    others: u32,
}

/// No session has this place.
const NOBODY: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Other {
    hash: u64,
    leg: u32,
}

impl Other {
    /// Sessions that use the same identifiers, such as 1, 2, 3, do not meet in one place.
    fn place(&self) -> u64 {
        self.hash ^ u64::from(self.leg).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
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
            uses: HashTable::new(),
            others: HashTable::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// Says that session `leg` begins a message called `id`; it is remembered unless it was before.
    pub(super) fn begin(&mut self, leg: u32, used: &mut Used, id: &[u8]) -> Before {
        let hash = self.hasher.hash_one(id);
        let before = self.before(leg, hash);
        if before == Before::Same {
            return before;
        }
        if used.0.len() >= SEEN_MAX
            && let Some(oldest) = used.0.pop_front()
        {
            self.remove(leg, oldest);
        }
        used.0.push_back(hash);
        match self.uses.find_mut(hash, |used| used.hash == hash) {
            Some(used) => {
                used.others += 1;
                let other = Other { hash, leg };
                self.others.insert_unique(other.place(), other, Other::place);
            }
            None => {
                self.uses.insert_unique(hash, Use { hash, leg, others: 0 }, |used| used.hash);
            }
        }
        before
    }

    /// Who used an identifier before session `leg`.
    fn before(&self, leg: u32, hash: u64) -> Before {
        let Some(used) = self.uses.find(hash, |used| used.hash == hash) else {
            return Before::Nobody;
        };
        let other = Other { hash, leg };
        let among_others = || self.others.find(other.place(), |found| *found == other).is_some();
        if used.leg == leg || used.others > 0 && among_others() {
            Before::Same
        } else {
            Before::Other
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
        let Ok(mut entry) = self.uses.find_entry(hash, |used| used.hash == hash) else { return };
        let used = entry.get_mut();
        if used.leg == leg {
            used.leg = NOBODY;
        } else {
            let other = Other { hash, leg };
            let Ok(found) = self.others.find_entry(other.place(), |found| *found == other) else {
                return;
            };
            found.remove();
            used.others -= 1;
        }
        if used.leg == NOBODY && used.others == 0 {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

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
        assert_eq!(recent.begin(1, &mut one, b"a"), Before::Same);
        recent.leave(2, two);
        recent.forget(1, &mut one, b"a");
        assert_eq!(recent.begin(1, &mut one, b"a"), Before::Nobody);
        recent.leave(1, one);
        assert_eq!((recent.uses.len(), recent.others.len()), (0, 0));
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
        assert_eq!((recent.uses.len(), recent.others.len()), (SEEN_MAX + 1, 0));
        assert_eq!(recent.begin(1, &mut one, b"1"), Before::Same);
        assert_eq!(recent.begin(1, &mut one, b"0"), Before::Other, "the oldest went");
        assert_eq!(recent.begin(2, &mut two, b"0"), Before::Same);
    }

    proptest! {
        #[test]
        fn is_a_set_of_pairs(steps in prop::collection::vec((0_u8..4, 0_u32..3, 0_u8..4), 0..60)) {
            let mut recent = Recent::new(7);
            let mut used: [Used; 3] = Default::default();
            let mut model = BTreeSet::new();
            for (step, leg, id) in steps {
                let own = &mut used[leg as usize];
                match step {
                    0 => {
                        recent.forget(leg, own, &[id]);
                        model.remove(&(leg, id));
                    }
                    1 => {
                        recent.leave(leg, std::mem::take(own));
                        model.retain(|(other, _)| *other != leg);
                    }
                    _ => {
                        let others = model.iter().any(|(_, other)| *other == id);
                        let before = match (model.insert((leg, id)), others) {
                            (false, _) => Before::Same,
                            (true, true) => Before::Other,
                            (true, false) => Before::Nobody,
                        };
                        prop_assert_eq!(recent.begin(leg, own, &[id]), before);
                    }
                }
                let ids: BTreeSet<_> = model.iter().map(|(_, id)| id).collect();
                prop_assert_eq!(recent.uses.len(), ids.len());
            }
        }
    }
}
