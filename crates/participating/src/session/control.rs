//! What a user asks of his simultaneous sessions: which is the primary one, and whether one of them
//! locks the others (OMA-TS-SIMPLE_IM §7.2.2.10.2, §7.2.2.10.3, §7.2.3.14).
//!
//! A client asks with a session-level attribute of a description of its own, and is answered with
//! the same in the answer to its offer; the attributes go no further.
//!
//! | attribute | value | effect |
//! |---|---|---|
//! | `im-session-priority` | `primary` | what was primary before is secondary |
//! | | `secondary` | |
//! | `im-session-lock` | `on` | messages of his other sessions are held, invitations refused |
//! | | `off` | what was held is delivered: the primary session's first, then in order of age |
//!
//! A user has at most one primary session and one that locks: who asks last has it. Both end with
//! the session. Only sessions whose messages pass here can be held or ask: anchored ones, and those
//! that the user has begun with a conference hosted here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parlance_isc::media::{Gate, MediaError};
use parlance_msrp::HoldLimits;
use parlance_sip::sdp::Sdp;
use parlance_store::UserId;

/// The attribute that says which session is primary.
const PRIORITY: &str = "im-session-priority";
/// The attribute that says whether a session locks the others.
const LOCK: &str = "im-session-lock";

/// What a description asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks {
    /// Whether the session shall be the primary one.
    primary: Option<bool>,
    /// Whether it shall lock the others.
    lock: Option<bool>,
}

impl Asks {
    /// What `sdp` asks for; a value that nobody knows asks for nothing.
    pub(crate) fn of(sdp: &Sdp) -> Self {
        let flag = |name, on, off| match sdp.session_attribute(name)?.trim() {
            value if value == on => Some(true),
            value if value == off => Some(false),
            _ => None,
        };
        Self { primary: flag(PRIORITY, "primary", "secondary"), lock: flag(LOCK, "on", "off") }
    }

    /// Takes what is asked for out of a description that goes on.
    pub(crate) fn take(sdp: &mut Sdp) -> Self {
        let asks = Self::of(sdp);
        for name in [PRIORITY, LOCK] {
            sdp.set_session_attribute(name, None);
        }
        asks
    }

    /// Says in the answer to who asked what holds now.
    pub(crate) fn tell(self, sdp: &mut Sdp) {
        let Self { primary, lock } = self;
        let primary = primary.map(|primary| if primary { "primary" } else { "secondary" });
        let lock = lock.map(|lock| if lock { "on" } else { "off" });
        for (name, value) in [(PRIORITY, primary), (LOCK, lock)] {
            if value.is_some() {
                sdp.set_session_attribute(name, value);
            }
        }
    }

    /// Whether anything is asked for.
    pub(crate) fn is_some(self) -> bool {
        self != Self::default()
    }
}

/// The sessions of all users that can be held; one table for all shards.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    users: HashMap<UserId, Vec<Session>>,
    /// Numbers the sessions, in order of their age.
    next: u64,
}

/// A session of a user that can be held.
#[derive(Debug)]
struct Session {
    number: u64,
    /// Where messages to the user are held.
    gate: Gate,
    limits: HoldLimits,
    is_primary: bool,
    locks: bool,
    is_held: bool,
}

/// A session in the table. Dropped, it is out of it, and what it held goes on.
#[derive(Debug)]
pub(crate) struct Control {
    controls: Arc<Controls>,
    user: UserId,
    number: u64,
}

impl Controls {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of the user's sessions locks the others.
    pub(crate) fn is_locked(&self, user: &UserId) -> bool {
        let table = self.table();
        table.users.get(user).is_some_and(|sessions| sessions.iter().any(|it| it.locks))
    }

    /// Takes in a session of `user`; what comes for him passes `gate`, and while another session
    /// of his locks it is held there, up to `limits`.
    ///
    /// # Errors
    /// [`MediaError`] when it has to be held and cannot.
    pub(crate) fn join(
        self: &Arc<Self>,
        user: &UserId,
        gate: Gate,
        limits: HoldLimits,
    ) -> Result<Control, MediaError> {
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        let sessions = table.users.entry(user.clone()).or_default();
        let (is_primary, locks, is_held) = (false, false, false);
        sessions.push(Session { number, gate, limits, is_primary, locks, is_held });
        let settled = settle(sessions);
        drop(table);
        // Dropped without a place in the core, it is taken out again.
        let control = Control { controls: Arc::clone(self), user: user.clone(), number };
        settled.map(|()| control)
    }
}

impl Control {
    /// Does what is asked for.
    ///
    /// # Errors
    /// [`MediaError`] when messages cannot be held; then nothing has changed.
    pub(crate) fn ask(&self, asks: Asks) -> Result<(), MediaError> {
        let mut table = self.controls.table();
        let Some(sessions) = table.users.get_mut(&self.user) else { return Ok(()) };
        let before: Vec<_> = sessions.iter().map(|it| (it.is_primary, it.locks)).collect();
        for session in sessions.iter_mut() {
            let is_this = session.number == self.number;
            match asks.primary {
                Some(primary) if is_this => session.is_primary = primary,
                Some(true) => session.is_primary = false,
                Some(false) | None => {}
            }
            match asks.lock {
                Some(lock) if is_this => session.locks = lock,
                Some(true) => session.locks = false,
                Some(false) | None => {}
            }
        }
        settle(sessions).inspect_err(|_| {
            for (session, (is_primary, locks)) in sessions.iter_mut().zip(before) {
                (session.is_primary, session.locks) = (is_primary, locks);
            }
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let mut table = self.controls.table();
        let Some(sessions) = table.users.get_mut(&self.user) else { return };
        sessions.retain(|session| session.number != self.number);
        // Nothing is held in addition when a session ends.
        let _ = settle(sessions);
        if sessions.is_empty() {
            table.users.remove(&self.user);
        }
    }
}

/// Holds and releases as the sessions of a user want it now. What is released goes in the order in
/// which it was asked of its core.
fn settle(sessions: &mut [Session]) -> Result<(), MediaError> {
    let is_locked = sessions.iter().any(|session| session.locks);
    let to_be_held = |session: &Session| is_locked && !session.locks;
    let mut held = Vec::new();
    for session in sessions.iter_mut() {
        if to_be_held(session) && !session.is_held {
            if let Err(error) = session.gate.hold(session.limits) {
                held.iter_mut().for_each(|session: &mut &mut Session| {
                    session.is_held = false;
                    session.gate.release();
                });
                return Err(error);
            }
            session.is_held = true;
            held.push(session);
        }
    }
    let release = |session: &&mut Session| session.is_held && !to_be_held(session);
    let mut released: Vec<_> = sessions.iter_mut().filter(release).collect();
    released.sort_by_key(|session| (!session.is_primary, session.number));
    for session in released {
        session.is_held = false;
        session.gate.release();
    }
    Ok(())
}
