//! The store that forgets: plain maps behind a lock, for scenarios on virtual time.

mod explosions;
mod inboxes;
mod people;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::names::{Owner, Owners};
use crate::{
    Audit, AuditEntry, AuditLimits, Millis, PAGE_MAX, Pending, Profile, Registration, StoreError,
    UserId,
};

/// All five stores in memory. Every operation is done when its future is first polled.
///
/// Bounded by what its callers keep in it, as the embedded store is by the disk.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failure: Option<StoreError>,
    registrations: HashMap<UserId, Arc<Registration>>,
    registered: u64,
    lapses: BTreeSet<(Millis, UserId)>,
    profiles: BTreeMap<UserId, Arc<Profile>>,
    owners: HashMap<String, Owner>,
    learnt: HashMap<UserId, Vec<String>>,
    inboxes: inboxes::All,
    exploding: explosions::Exploding,
    audit: VecDeque<AuditEntry>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// From now on every operation fails with `failure`, until `None` ends it: a database that is
    /// down, for scenarios.
    pub fn fail(&self, failure: Option<StoreError>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failure = failure;
    }

    /// Runs one operation when the future is polled.
    fn run<'a, T: 'a>(
        &'a self,
        operation: impl FnOnce(&mut State) -> Result<T, StoreError> + Send + 'a,
    ) -> Pending<'a, T> {
        Box::pin(async move { self.at_once(operation) })
    }

    fn at_once<T>(
        &self,
        operation: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Each operation checks before it writes, so a panic in a test cannot leave half of one.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => operation(&mut state),
        }
    }
}

impl Owners for State {
    fn owner(&self, name: &str) -> Result<Option<Owner>, StoreError> {
        Ok(self.owners.get(name).cloned())
    }

    fn set_owner(&mut self, name: &str, owner: Option<Owner>) -> Result<(), StoreError> {
        match owner {
            Some(owner) => self.owners.insert(name.to_owned(), owner),
            None => self.owners.remove(name),
        };
        Ok(())
    }
}

impl Audit for Memory {
    fn append(&self, entry: AuditEntry) -> Pending<'_, ()> {
        self.run(move |state| {
            let limits = AuditLimits::default();
            let kept = usize::try_from(limits.entries_max).unwrap_or(usize::MAX);
            let now = entry.when;
            state.audit.push_back(entry);
            while state.audit.len() > kept
                || state.audit.front().is_some_and(|oldest| oldest.when + limits.age_max < now)
            {
                state.audit.pop_front();
            }
            Ok(())
        })
    }

    fn newest(&self, skip: usize, limit: usize) -> Pending<'_, Vec<AuditEntry>> {
        self.run(move |state| {
            Ok(state.audit.iter().rev().skip(skip).take(limit.min(PAGE_MAX)).cloned().collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;
    use crate::conformance::{item, quota};
    use crate::{Inboxes, Millis, StoreError};

    crate::conformance::suite!(async || crate::Store::memory());

    // Covers: DF-016
    #[tokio::test]
    async fn a_store_that_is_down_accepts_nothing() {
        let store = Memory::new();
        store.fail(Some(StoreError::Full("test".into())));
        let refused = store.accept(item("sip:a@b", 1), quota(), Millis(1)).await;
        assert_eq!(refused, Err(StoreError::Full("test".into())));
        store.fail(None);
        assert_eq!(store.waiting(), 0);
    }
}
