//! The identities of conferences that users take part in, or did lately: what they rejoin by
//! (OMA-TS-SIMPLE_IM §7.2.3.5).
//!
//! An INVITE to one of them goes to its focus, whatever else the operator does with sessions
//! between users of a domain. They are kept in memory: after a restart the URI alone decides.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use parlance_sip::Message;
use parlance_sip::header::Contact;
use parlance_sip::uri::Aor;
use parlance_store::{Millis, UserId};

use super::Seats;
use super::anchor::is_focus;

/// Identities kept for one user; of more the oldest goes. Local limit: sessions a user may take
/// part in at a time, by default.
const IDENTITIES_MAX: usize = 16;

/// Users for whom identities are kept. Beyond: those that are too old go, and when none is nothing
/// is kept for another user. Local limit.
const USERS_MAX: usize = 100_000;

/// How long an identity is kept. Local limit: a session may be rejoined as long as it exists, and
/// few last longer.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The identities of all users; one table for all shards.
#[derive(Debug, Default)]
pub(crate) struct Identities(Mutex<HashMap<UserId, VecDeque<(Aor, Millis)>>>);

impl Identities {
    /// Keeps `identity` for `user`.
    fn keep(&self, user: &UserId, identity: Aor, now: Millis) {
        let table = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= USERS_MAX && !table.contains_key(user) {
            table.retain(|_, kept| kept.back().is_some_and(|(_, at)| is_young(*at, now)));
            if table.len() >= USERS_MAX {
                return;
            }
        }
        let kept = table.entry(user.clone()).or_default();
        kept.retain(|(known, at)| *known != identity && is_young(*at, now));
        if kept.len() >= IDENTITIES_MAX {
            kept.pop_front();
        }
        kept.push_back((identity, now));
    }

    /// Whether `user` takes part in the conference `identity`, or did lately.
    pub(crate) fn knows(&self, user: &UserId, identity: &Aor, now: Millis) -> bool {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |(known, at): &(Aor, Millis)| known == identity && is_young(*at, now);
        table.get(user).is_some_and(|kept| kept.iter().any(is_it))
    }

    /// The conference `identity` is over, as far as `user` was told.
    pub(crate) fn forget(&self, user: &UserId, identity: &Aor) {
        let table = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = table.get_mut(user) else { return };
        kept.retain(|(known, _)| known != identity);
        if kept.is_empty() {
            table.remove(user);
        }
    }
}

fn is_young(at: Millis, now: Millis) -> bool {
    now.since(at) < AGE_MAX
}

/// Keeps the identity of the focus that has sent `message`, an INVITE or the 2xx to one, if one
/// has.
pub(crate) fn keep(seats: &Seats, user: &UserId, message: &Message, now: Millis) {
    if !is_focus(message) {
        return;
    }
    let contact = message.list::<Contact<'_>>().find_map(Result::ok);
    let address = contact.as_ref().and_then(Contact::address);
    if let Some(identity) = address.and_then(|address| Aor::from_uri(&address.uri)) {
        seats.identities.keep(user, identity, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(number: usize) -> Aor {
        format!("sip:conf-{number}@ims.test").parse().unwrap()
    }

    // Covers: PF-051
    #[test]
    fn the_latest_identities_of_a_user_are_known_for_a_day() {
        let identities = Identities::default();
        let (alice, bob) = (UserId::from("sip:alice@h"), UserId::from("sip:bob@h"));
        let now = Millis(1_000);
        for number in 0..IDENTITIES_MAX + 1 {
            identities.keep(&alice, identity(number), now);
            identities.keep(&alice, identity(number), now);
        }
        assert!(!identities.knows(&alice, &identity(0), now), "the oldest went");
        assert!(identities.knows(&alice, &identity(1), now));
        assert!(!identities.knows(&bob, &identity(1), now), "each has his own");
        identities.forget(&alice, &identity(1));
        assert!(!identities.knows(&alice, &identity(1), now));
        assert!(!identities.knows(&alice, &identity(2), now + AGE_MAX));
        identities.keep(&alice, identity(99), now + AGE_MAX);
        for number in 2..=IDENTITIES_MAX {
            identities.forget(&alice, &identity(number));
        }
        identities.forget(&alice, &identity(99));
        assert!(identities.0.lock().unwrap().is_empty(), "nothing is left behind");
    }

    // Covers: PF-051
    #[test]
    fn users_are_bounded() {
        let identities = Identities::default();
        let now = Millis(1_000);
        let user = |number: usize| UserId::from(format!("sip:{number}@h").as_str());
        for number in 0..USERS_MAX {
            identities.keep(&user(number), identity(1), now);
        }
        let late = user(USERS_MAX);
        identities.keep(&late, identity(1), now);
        assert!(!identities.knows(&late, &identity(1), now));
        assert!(identities.knows(&user(0), &identity(1), now));
        let later = now + AGE_MAX;
        identities.keep(&late, identity(1), later);
        assert!(identities.knows(&late, &identity(1), later), "the old ones went");
    }
}
