//! The sessions of one shard, by the identities they are called by.

use std::collections::{HashMap, VecDeque};

use parlance_isc::decision::SessionState;
use parlance_isc::session::Address;
use parlance_sip::uri::Aor;
use parlance_store::Millis;

/// Ended sessions that are remembered at most. Local limit: of older ones a caller hears that they
/// never were.
const ENDED_MAX: usize = 16_384;

/// Which sessions run, and which have ended lately.
#[derive(Debug, Default)]
pub(crate) struct Table {
    running: HashMap<Aor, Address>,
    ended: HashMap<Aor, Millis>,
    /// The ended ones, and when each is forgotten.
    order: VecDeque<(Millis, Aor)>,
}

impl Table {
    /// A session runs under these identities.
    pub(crate) fn begin(&mut self, identities: &[Aor], address: &Address) {
        for identity in identities {
            self.ended.remove(identity);
            self.running.insert(identity.clone(), address.clone());
        }
    }

    /// The session of these identities has ended; callers of the first of them are told so until
    /// `until`. The others can be called again: a group begins anew.
    pub(crate) fn end(&mut self, identities: &[Aor], until: Millis, now: Millis) {
        for identity in identities {
            self.running.remove(identity);
        }
        if let Some(own) = identities.first() {
            self.ended.insert(own.clone(), until);
            self.order.push_back((until, own.clone()));
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Millis) {
        while let Some((until, identity)) = self.order.front() {
            if *until > now && self.order.len() <= ENDED_MAX {
                return;
            }
            self.ended.remove(identity);
            self.order.pop_front();
        }
    }

    /// The session that is called so.
    pub(crate) fn find(&self, identity: &Aor) -> Option<Address> {
        self.running.get(identity).cloned()
    }

    /// What is known of an identity.
    pub(crate) fn state(&self, identity: &Aor, now: Millis) -> SessionState {
        if self.running.contains_key(identity) {
            return SessionState::Running;
        }
        match self.ended.get(identity) {
            Some(until) if *until > now => SessionState::Ended,
            Some(_) | None => SessionState::Unknown,
        }
    }

    /// How many identities lead to running sessions.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use parlance_isc::decision::SessionState::{Ended, Unknown};
    use parlance_store::Millis;

    use super::{ENDED_MAX, Table};

    // Covers: CF-036
    #[test]
    fn an_ended_session_is_remembered_for_a_while() {
        let mut table = Table::default();
        let own = "sip:s1@sessions.test".parse().unwrap();
        let group = "sip:g@ims.test".parse().unwrap();
        table.end(&[own, group], Millis(100), Millis(0));
        let state = |table: &Table, uri: &str, now| table.state(&uri.parse().unwrap(), Millis(now));
        assert_eq!(state(&table, "sip:s1@sessions.test", 99), Ended);
        assert_eq!(state(&table, "sip:s1@sessions.test", 100), Unknown);
        assert_eq!(state(&table, "sip:g@ims.test", 50), Unknown, "a group begins anew");
        for number in 0..=ENDED_MAX {
            let identity = format!("sip:{number}@sessions.test").parse().unwrap();
            table.end(&[identity], Millis(200), Millis(50));
        }
        assert_eq!((table.ended.len(), table.order.len()), (ENDED_MAX, ENDED_MAX));
        table.end(&[], Millis(0), Millis(200));
        assert!(table.ended.is_empty() && table.len() == 0);
    }
}
