//! Where the events of sessions go.

use std::collections::{HashMap, VecDeque};

use parlance_msrp::{Event, SessionKey};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::meter::Meter;

/// Takes the events of one session, or of many. Bounded by whoever made it.
pub type Sink = mpsc::Sender<Event>;

/// Events that wait for a sink that is full, at most; one more is lost and counted. Local limit:
/// what brings the next event of a session is not read meanwhile.
const WAITING_MAX: usize = 64;

/// Who takes the events of which session of one core.
#[derive(Default)]
pub struct Sinks {
    by_session: HashMap<SessionKey, Subscribed>,
    /// Sessions with events that wait.
    full: Vec<SessionKey>,
}

struct Subscribed {
    sink: Sink,
    waiting: VecDeque<Event>,
}

impl Sinks {
    /// The events of `session` go to `sink` from now on. While `sink` is full the connection of
    /// the session is not read.
    pub fn subscribe(&mut self, session: SessionKey, sink: Sink) {
        self.by_session.insert(session, Subscribed { sink, waiting: VecDeque::new() });
    }

    /// Nobody takes the events of `session` any more.
    pub fn unsubscribe(&mut self, session: SessionKey) {
        self.by_session.remove(&session);
    }

    /// Whether somebody takes the events of a session.
    pub(crate) fn has(&self, session: SessionKey) -> bool {
        self.by_session.contains_key(&session)
    }

    /// Gives an event to whom it belongs. The session to be held back when there is no room.
    pub(crate) fn give(
        &mut self,
        session: SessionKey,
        event: Event,
        meter: &Meter,
    ) -> Option<SessionKey> {
        let over = matches!(event, Event::Lost { .. });
        let subscribed = self.by_session.get_mut(&session)?;
        let mut held = None;
        let refused = match subscribed.waiting.is_empty() {
            true => match subscribed.sink.try_send(event) {
                Ok(()) | Err(TrySendError::Closed(_)) => None,
                Err(TrySendError::Full(event)) => Some(event),
            },
            false => Some(event),
        };
        if let Some(event) = refused {
            if subscribed.waiting.is_empty() {
                self.full.push(session);
                held = Some(session);
            }
            if subscribed.waiting.len() < WAITING_MAX {
                subscribed.waiting.push_back(event);
            } else {
                meter.events_lost.increment(1);
            }
        } else if over {
            self.by_session.remove(&session);
        }
        held
    }

    /// Forgets sinks that nobody reads any more; the sessions that need not be held back for them.
    pub(crate) fn forget_closed(&mut self) -> Vec<SessionKey> {
        self.by_session.retain(|_, subscribed| !subscribed.sink.is_closed());
        let by_session = &self.by_session;
        let (full, freed) =
            self.full.drain(..).partition(|session| by_session.contains_key(session));
        self.full = full;
        freed
    }

    /// Whether events wait for room.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.full.is_empty()
    }

    /// Gives what waits; the sessions that need not be held back any more.
    pub(crate) fn give_again(&mut self) -> Vec<SessionKey> {
        let mut freed = Vec::new();
        let by_session = &mut self.by_session;
        self.full.retain(|session| {
            let Some(subscribed) = by_session.get_mut(session) else {
                freed.push(*session);
                return false;
            };
            let mut over = false;
            while let Some(event) = subscribed.waiting.pop_front() {
                over = matches!(event, Event::Lost { .. });
                if let Err(TrySendError::Full(event)) = subscribed.sink.try_send(event) {
                    subscribed.waiting.push_front(event);
                    return true;
                }
            }
            freed.push(*session);
            if over {
                by_session.remove(session);
            }
            false
        });
        freed
    }
}

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sinks").field("sessions", &self.by_session.len()).finish_non_exhaustive()
    }
}
