//! Which users have pre-established sessions.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parlance_store::UserId;
use tokio::sync::mpsc;

use super::called::Call;

/// Invitations that wait for one session, at most; one more is not answered for its user. Local
/// limit: it takes one at a time.
const CALLS_MAX: usize = 4;

/// The pre-established sessions of all users; one table for all shards.
#[derive(Default)]
pub struct PreEstablished {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Those of each user, the newest last.
    users: HashMap<UserId, Vec<Entry>>,
    /// How many each shard has.
    shards: HashMap<u8, u32>,
    /// Tells them apart.
    number: u64,
}

struct Entry {
    number: u64,
    /// The client: its instance, or where it is.
    client: Box<str>,
    /// The only one that is kept: without it the session ends.
    calls: mpsc::Sender<Call>,
}

/// Where a session may stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) per_user: u32,
    pub(super) per_shard: u32,
}

/// Why there is no place for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    User,
    Shard,
}

/// The place of a session in the table. Dropped, it is free.
pub(super) struct Place {
    table: Arc<PreEstablished>,
    user: UserId,
    shard: u8,
    number: u64,
}

impl PreEstablished {
    /// A table in which nobody has one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.table().shards.values().map(|count| u64::from(*count)).sum()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a session of `user` and `client` on `shard`; the invitations that are to
    /// be answered come out of the receiver. A session that the client had before is closed by it:
    /// nothing comes out of its receiver any more.
    pub(super) fn enter(
        self: &Arc<Self>,
        user: &UserId,
        client: &str,
        shard: u8,
        limits: Limits,
    ) -> Result<(Place, mpsc::Receiver<Call>), Full> {
        let Table { users, shards, number } = &mut *self.table();
        let count = shards.entry(shard).or_default();
        if *count >= limits.per_shard {
            return Err(Full::Shard);
        }
        let own = users.entry(user.clone()).or_default();
        let others = own.iter().filter(|entry| *entry.client != *client).count();
        if u32::try_from(others).unwrap_or(u32::MAX) >= limits.per_user {
            return Err(Full::User);
        }
        own.retain(|entry| *entry.client != *client);
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        *number += 1;
        *count += 1;
        own.push(Entry { number: *number, client: client.into(), calls });
        let (table, user) = (Arc::clone(self), user.clone());
        Ok((Place { table, user, shard, number: *number }, receiver))
    }

    /// The sessions of a user, the newest first. Not to be kept: see [`Entry::calls`].
    pub(super) fn of(&self, user: &UserId) -> Vec<mpsc::Sender<Call>> {
        let table = self.table();
        let own = table.users.get(user).map(Vec::as_slice).unwrap_or_default();
        own.iter().rev().map(|entry| entry.calls.clone()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Table { users, shards, .. } = &mut *self.table.table();
        if let Some(count) = shards.get_mut(&self.shard) {
            *count = count.saturating_sub(1);
        }
        if let Some(own) = users.get_mut(&self.user) {
            own.retain(|entry| entry.number != self.number);
            if own.is_empty() {
                users.remove(&self.user);
            }
        }
    }
}

impl fmt::Debug for PreEstablished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreEstablished").field("count", &self.count()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parlance_store::UserId;
    use tokio::sync::mpsc::error::TryRecvError;

    use super::{Full, Limits, PreEstablished};

    const LIMITS: Limits = Limits { per_user: 2, per_shard: 3 };

    // Covers: PF-060
    #[test]
    fn a_client_has_one_and_all_have_their_limits() {
        let table = Arc::new(PreEstablished::new());
        let (alice, bob) = (UserId::from("sip:a@h"), UserId::from("sip:b@h"));
        let enter = |user, client, shard| table.enter(user, client, shard, LIMITS);
        let (first, mut of_first) = enter(&alice, "phone", 0).unwrap();
        let second = enter(&alice, "laptop", 0).unwrap();
        assert_eq!(enter(&alice, "tablet", 1).map(|_| ()).unwrap_err(), Full::User);
        // The phone begins anew: what it had before is over.
        let again = enter(&alice, "phone", 0).unwrap();
        assert_eq!(of_first.try_recv().unwrap_err(), TryRecvError::Disconnected);
        assert_eq!((table.of(&alice).len(), table.count()), (2, 3));
        assert_eq!(enter(&bob, "phone", 0).map(|_| ()).unwrap_err(), Full::Shard);
        drop(first);
        assert_eq!((table.of(&alice).len(), table.count()), (2, 2), "its place alone");
        let other = enter(&bob, "phone", 0).unwrap();
        let elsewhere = enter(&bob, "laptop", 1).unwrap();
        drop((second, again, other, elsewhere));
        assert_eq!(table.count(), 0);
        assert!(table.table().users.is_empty());
    }
}
