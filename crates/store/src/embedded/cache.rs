//! Decoded records at hand, for the lookups of every relayed message.
//!
//! Bounded: at the bound the records not asked for lately leave, and the next question for them
//! reads the file. That a record does not exist is an entry too. A reader that missed puts in what
//! it read only if no commit changed a record of the same stripe since it began; so an old value
//! never replaces a new one.

use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, UnitWeighter};

use crate::Cached;

/// Commits of records in different stripes do not disturb each other's readers.
const STRIPES: usize = 64;

#[derive(Debug)]
pub(super) struct Records<K, V> {
    cache: Cache<K, Option<V>, UnitWeighter, RandomState>,
    hasher: RandomState,
    changes: Vec<Mutex<u64>>,
}

/// What a reader that missed must hand in with what it read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

impl<K: Eq + Hash, V: Clone> Records<K, V> {
    pub(super) fn new(entries: usize) -> Records<K, V> {
        Records {
            cache: Cache::with(
                entries,
                entries as u64,
                UnitWeighter,
                RandomState::default(),
                DefaultLifecycle::default(),
            ),
            hasher: RandomState::default(),
            changes: (0..STRIPES).map(|_| Mutex::new(0)).collect(),
        }
    }

    pub(super) fn look<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Cached<V> {
        match self.cache.get(key) {
            Some(known) => Cached::Known(known),
            None => Cached::Unknown,
        }
    }

    /// To be called before reading what [`Records::look`] did not know.
    pub(super) fn ticket<Q: Hash + ?Sized>(&self, key: &Q) -> Ticket {
        Ticket(self.stripe(key, |changes| *changes))
    }

    /// Puts in what was read, unless something changed since `ticket`.
    pub(super) fn fill<Q: Hash + ?Sized>(&self, ticket: Ticket, key: &Q, own: K, value: Option<V>) {
        self.stripe(key, |changes| {
            if *changes == ticket.0 {
                self.cache.insert(own, value);
            }
        });
    }

    /// A commit changed the record.
    pub(super) fn put(&self, key: K, value: Option<V>) {
        self.stripe(&key, |changes| *changes += 1);
        // A fill between the two lines carries the committed value as well.
        self.cache.insert(key, value);
    }

    /// What was committed is not known: forget everything.
    pub(super) fn clear(&self) {
        for changes in &self.changes {
            *changes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        self.cache.clear();
    }

    fn stripe<Q: Hash + ?Sized, T>(&self, key: &Q, use_it: impl FnOnce(&mut u64) -> T) -> T {
        let at = self.hasher.hash_one(key) as usize % STRIPES;
        let stripe = self.changes.get(at).expect("there are as many as the remainder allows");
        use_it(&mut stripe.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::{Cached, Records};

    #[test]
    fn an_old_value_never_replaces_a_new_one() {
        let records: Records<String, u8> = Records::new(100);
        let key = "alice";
        assert_eq!(records.look(key), Cached::Unknown);
        let ticket = records.ticket(key);
        records.put(key.into(), Some(2));
        records.fill(ticket, key, key.into(), Some(1));
        assert_eq!(records.look(key), Cached::Known(Some(2)));
        let ticket = records.ticket(key);
        records.clear();
        records.fill(ticket, key, key.into(), Some(1));
        assert_eq!(records.look(key), Cached::Unknown);
        let ticket = records.ticket(key);
        records.fill(ticket, key, key.into(), None);
        assert_eq!(records.look(key), Cached::Known(None), "that there is none is known too");
    }

    #[test]
    fn the_bound_holds() {
        let records: Records<String, u8> = Records::new(64);
        for number in 0..10_000 {
            records.put(number.to_string(), Some(1));
        }
        assert!(records.cache.len() <= 64, "{}", records.cache.len());
    }
}
