//! How many sessions each user takes part in (OMA-TS-SIMPLE_IM §7.2.2.10.1).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parlance_isc::SessionCase;
use parlance_sip::header::{From, To};
use parlance_sip::{Message, Method, Request};
use parlance_store::{Millis, UserId};

use super::control::Controls;
use super::identities::Identities;

/// The sessions users take part in at the moment; one table for all shards.
///
/// A session that passes here as at a proxy is known by its Call-ID and the tag of who began it. It
/// ends with a BYE that passes, or when nothing was heard of it for its session interval.
#[derive(Default)]
pub struct Seats {
    table: Mutex<Table>,
    /// What users ask of their simultaneous sessions.
    pub(crate) controls: Arc<Controls>,
    /// What they rejoin conferences by.
    pub(crate) identities: Identities,
}

#[derive(Default)]
struct Table {
    users: HashMap<UserId, Taken>,
    calls: HashMap<Call, Passing>,
}

/// What one user has taken.
#[derive(Default)]
struct Taken {
    /// Held by the task of a session.
    held: u32,
    /// Sessions that only pass here.
    passing: Vec<Call>,
}

/// A session that passes here, for one or both of its users.
struct Passing {
    users: Vec<(UserId, SessionCase)>,
    until: Millis,
    /// How long it lives without a refresh.
    interval: Duration,
}

/// What names a session that passes here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Call {
    call_id: Box<[u8]>,
    /// The tag of who began it.
    tag: Box<str>,
}

impl Call {
    fn new(message: &Message, tag: &str) -> Self {
        Self { call_id: message.call_id().into(), tag: tag.into() }
    }
}

/// A place in the count of one user. Dropped, he has it back.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    user: UserId,
    case: SessionCase,
    held: bool,
}

impl Seats {
    /// A table in which nobody takes part in anything.
    pub fn new() -> Self {
        Self::default()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for `user`, who may have `max`; 0 sets no limit. `None`: he has them all.
    pub(crate) fn take(
        self: &Arc<Self>,
        user: &UserId,
        case: SessionCase,
        max: u32,
        now: Millis,
    ) -> Option<Seat> {
        let seat = |held| Seat { seats: Arc::clone(self), user: user.clone(), case, held };
        if max == 0 {
            return Some(seat(false));
        }
        let table = &mut *self.table();
        let taken = table.users.entry(user.clone()).or_default();
        taken.passing.retain(|call| {
            let passing = table.calls.get(call);
            let over = passing.is_none_or(|passing| passing.until <= now);
            if over {
                table.calls.remove(call);
            }
            !over
        });
        let count = taken.passing.len() + usize::try_from(taken.held).unwrap_or(usize::MAX);
        if count >= usize::try_from(max).unwrap_or(usize::MAX) {
            return None;
        }
        taken.held += 1;
        Some(seat(true))
    }

    /// Hears of a request in a dialog that passes here; whose session it modifies or ends, on which
    /// side.
    pub(crate) fn passed(&self, request: &Request, now: Millis) -> Vec<(UserId, SessionCase)> {
        let from = request.header::<From<'_>>().ok().flatten();
        let to = request.header::<To<'_>>().ok().flatten();
        let tags = [from.and_then(|from| from.tag()), to.and_then(|to| to.tag())];
        let table = &mut *self.table();
        let mut users = Vec::new();
        if table.calls.is_empty() {
            return users;
        }
        for call in tags.into_iter().flatten().map(|tag| Call::new(request, tag)) {
            match request.method() {
                Method::Bye => users.extend(table.end(&call)),
                Method::Invite | Method::Update => {
                    let refreshed = table.refresh(&call, now);
                    if !request.body().is_empty() {
                        users.extend(refreshed.iter().cloned());
                    }
                }
                _ => {}
            }
        }
        users
    }
}

impl Table {
    /// The session is over; whose it was.
    fn end(&mut self, call: &Call) -> Vec<(UserId, SessionCase)> {
        let Some(passing) = self.calls.remove(call) else { return Vec::new() };
        for (user, _) in &passing.users {
            if let Some(taken) = self.users.get_mut(user) {
                taken.passing.retain(|known| known != call);
            }
            self.forget(user);
        }
        passing.users
    }

    fn refresh(&mut self, call: &Call, now: Millis) -> &[(UserId, SessionCase)] {
        let Some(passing) = self.calls.get_mut(call) else { return &[] };
        passing.until = now + passing.interval;
        &passing.users
    }

    /// Keeps nothing of a user who takes part in nothing.
    fn forget(&mut self, user: &UserId) {
        let idle = |taken: &Taken| taken.held == 0 && taken.passing.is_empty();
        if self.users.get(user).is_some_and(idle) {
            self.users.remove(user);
        }
    }
}

impl Seat {
    /// The session was answered and passes here from now on: the place is his until its BYE, or
    /// until `interval` has gone by without a refresh.
    pub(crate) fn keep(mut self, invite: &Request, interval: Duration, now: Millis) {
        let from = invite.header::<From<'_>>().ok().flatten();
        let Some(tag) = from.and_then(|from| from.tag()).filter(|_| self.held) else { return };
        self.held = false;
        let call = Call::new(invite, tag);
        let until = now + interval;
        let table = &mut *self.seats.table();
        let taken = table.users.entry(self.user.clone()).or_default();
        taken.held = taken.held.saturating_sub(1);
        if !taken.passing.contains(&call) {
            taken.passing.push(call.clone());
        }
        let passing =
            table.calls.entry(call).or_insert(Passing { users: Vec::new(), until, interval });
        if !passing.users.iter().any(|(user, case)| *user == self.user && *case == self.case) {
            passing.users.push((self.user.clone(), self.case));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let table = &mut *self.seats.table();
        if let Some(taken) = table.users.get_mut(&self.user) {
            taken.held = taken.held.saturating_sub(1);
        }
        table.forget(&self.user);
    }
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seats").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parlance_isc::SessionCase::{Originating, Terminating};
    use parlance_store::{Millis, UserId};

    use super::Seats;
    use crate::tests::request;

    fn invite(call: &str) -> parlance_sip::Request {
        request(&format!(
            "INVITE sip:b@h SIP/2.0\r\nCall-ID: {call}\r\nFrom: <sip:a@h>;tag=a\r\n\r\n"
        ))
    }

    fn within(method: &str, call: &str, from: &str, to: &str) -> parlance_sip::Request {
        request(&format!(
            "{method} sip:b@h SIP/2.0\r\nCall-ID: {call}\r\nFrom: <sip:a@h>;tag={from}\r\n\
             To: <sip:b@h>;tag={to}\r\n\r\n"
        ))
    }

    // Covers: PF-070
    #[test]
    fn a_place_is_given_back() {
        let seats = Arc::new(Seats::new());
        let (user, now) = (UserId::from("sip:a@h"), Millis(1_000));
        let hour = Duration::from_secs(3_600);
        let first = seats.take(&user, Originating, 2, now).unwrap();
        let second = seats.take(&user, Originating, 2, now).unwrap();
        assert!(seats.take(&user, Originating, 2, now).is_none());
        assert!(seats.take(&"sip:b@h".into(), Originating, 2, now).is_some(), "each has his own");
        assert!(seats.take(&user, Originating, 0, now).is_some(), "no limit");
        drop(first);
        let first = seats.take(&user, Originating, 2, now).unwrap();
        first.keep(&invite("1"), hour, now);
        second.keep(&invite("2"), hour, now);
        assert!(seats.take(&user, Originating, 2, now).is_none());
        assert_eq!(seats.passed(&within("BYE", "1", "x", "y"), now), []);
        assert_eq!(seats.passed(&within("INFO", "1", "a", "y"), now), []);
        assert!(seats.take(&user, Originating, 2, now).is_none(), "the BYE of another call");
        let ended = seats.passed(&within("BYE", "1", "y", "a"), now);
        assert_eq!(ended, [(user.clone(), Originating)]);
        assert!(seats.take(&user, Originating, 2, now).is_some(), "from either side");
        let later = now + hour / 2;
        let refreshed = seats.passed(&within("UPDATE", "2", "a", "y"), later);
        assert_eq!(refreshed, [], "nothing is offered");
        assert!(seats.take(&user, Originating, 1, now + hour).is_none(), "it was refreshed");
        assert!(seats.take(&user, Originating, 1, later + hour).is_some(), "and then no more");
        assert!(seats.table().users.is_empty() && seats.table().calls.is_empty());
    }

    #[test]
    fn both_users_of_a_session_are_told_apart_by_their_side() {
        let seats = Arc::new(Seats::new());
        let (user, now) = (UserId::from("sip:a@h"), Millis(1_000));
        for case in [Originating, Terminating] {
            let seat = seats.take(&user, case, 9, now).unwrap();
            seat.keep(&invite("1"), Duration::from_secs(90), now);
        }
        let ended = seats.passed(&within("BYE", "1", "a", "y"), now);
        assert_eq!(ended, [(user.clone(), Originating), (user, Terminating)]);
    }
}
