//! How many sessions there are: in the whole server, and of each user (CF-063).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use parlance_sip::uri::Aor;

use crate::policy::Policy;
use crate::refusal::Refusal;

/// The sessions of all shards, counted.
#[derive(Debug, Default)]
pub struct Quota {
    sessions: AtomicU32,
    users: Mutex<HashMap<Aor, u32>>,
}

/// A session that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct SessionPermit(Arc<Quota>);

/// A user in a session, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct UserPermit {
    quota: Arc<Quota>,
    user: Aor,
}

impl Quota {
    /// Nothing counted yet. One is shared by all shards.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// How many users are in sessions by calling.
    pub fn users(&self) -> usize {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Counts another session.
    ///
    /// # Errors
    /// There are as many as may be.
    pub(crate) fn begin(self: &Arc<Self>, policy: &Policy) -> Result<SessionPermit, Refusal> {
        let max = policy.sessions_max;
        let more = |now: u32| (now < max).then(|| now + 1);
        let taken = self.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        match taken {
            Ok(_) => Ok(SessionPermit(Arc::clone(self))),
            Err(_) => Err(Refusal::TooManySessions),
        }
    }

    /// Counts a user who calls; `again`: in place of a session that he leaves then.
    ///
    /// # Errors
    /// He is in as many sessions as he may be.
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: &Aor,
        policy: &Policy,
        again: bool,
    ) -> Result<UserPermit, Refusal> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let count = users.get(user).copied().unwrap_or(0);
        if count >= policy.sessions_per_user_max.saturating_add(again.into()) {
            return Err(Refusal::TooManyOwn);
        }
        users.insert(user.clone(), count + 1);
        Ok(UserPermit { quota: Arc::clone(self), user: user.clone() })
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for UserPermit {
    fn drop(&mut self) {
        let mut users = self.quota.users.lock().unwrap_or_else(PoisonError::into_inner);
        match users.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(users.remove(&self.user)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Quota;
    use crate::policy::Policy;
    use crate::refusal::Refusal;

    // Covers: CF-063
    #[test]
    fn what_ends_is_not_counted() {
        let policy = Policy { sessions_max: 1, sessions_per_user_max: 2, ..Policy::default() };
        let quota = Arc::new(Quota::new());
        let first = quota.begin(&policy).unwrap();
        assert_eq!(quota.begin(&policy).unwrap_err(), Refusal::TooManySessions);
        drop(first);
        assert!(quota.begin(&policy).is_ok());
        assert_eq!(quota.sessions(), 0);

        let alice = "sip:alice@ims.test".parse().unwrap();
        let permits = [
            quota.enter(&alice, &policy, false).unwrap(),
            quota.enter(&alice, &policy, false).unwrap(),
        ];
        assert_eq!(quota.enter(&alice, &policy, false).unwrap_err(), Refusal::TooManyOwn);
        assert!(quota.enter(&alice, &policy, true).is_ok(), "in place of one of them");
        assert!(quota.enter(&"sip:bob@ims.test".parse().unwrap(), &policy, false).is_ok());
        drop(permits);
        assert!(quota.enter(&alice, &policy, false).is_ok());
        assert_eq!(quota.users(), 0);
    }
}
