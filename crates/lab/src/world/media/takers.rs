//! Who takes the events of sessions, and what is not read meanwhile.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};

use parlance_isc::media::{Sink, Sinks};
use parlance_msrp::{Event, SessionKey};
use tokio::sync::{Notify, mpsc};

/// How many reasons there are not to read a connection.
#[derive(Default)]
pub(super) struct Holds {
    count: Cell<usize>,
    changed: Notify,
}

impl Holds {
    pub(super) fn add(&self) {
        self.count.set(self.count.get() + 1);
    }

    pub(super) fn take(&self) {
        self.count.set(self.count.get().saturating_sub(1));
        self.changed.notify_one();
    }

    pub(super) async fn none(&self) {
        while self.count.get() > 0 {
            self.changed.notified().await;
        }
    }
}

/// Who takes events, and what waits for whom.
#[derive(Default)]
pub(super) struct Takers {
    by_session: HashMap<SessionKey, Sink>,
    full: BTreeMap<SessionKey, VecDeque<Event>>,
}

impl Sinks for Takers {
    fn subscribe(&mut self, session: SessionKey, sink: Sink) {
        self.by_session.insert(session, sink);
    }

    fn unsubscribe(&mut self, session: SessionKey) {
        self.by_session.remove(&session);
        if let Some(waiting) = self.full.get_mut(&session) {
            waiting.clear();
        }
    }
}

impl Takers {
    /// Whether anything waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.full.is_empty()
    }

    /// Gives an event to whom it belongs; `false`: it waits from now on.
    pub(super) fn give(&mut self, event: Event) -> bool {
        let Some(session) = event.session() else { return true };
        let Some(sink) = self.by_session.get(&session) else { return true };
        if let Some(waiting) = self.full.get_mut(&session) {
            waiting.push_back(event);
            return true;
        }
        match sink.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(event)) => {
                self.full.insert(session, VecDeque::from([event]));
                false
            }
        }
    }

    /// Gives what waits; the sessions for which nothing waits any more.
    pub(super) fn give_again(&mut self) -> Vec<SessionKey> {
        let mut freed = Vec::new();
        for (session, waiting) in &mut self.full {
            let sink = self.by_session.get(session);
            while let Some(event) = waiting.pop_front() {
                match sink.map(|sink| sink.try_send(event)) {
                    Some(Err(mpsc::error::TrySendError::Full(event))) => {
                        waiting.push_front(event);
                        break;
                    }
                    Some(Ok(()) | Err(mpsc::error::TrySendError::Closed(_))) | None => {}
                }
            }
            if waiting.is_empty() {
                freed.push(*session);
            }
        }
        self.full.retain(|_, waiting| !waiting.is_empty());
        freed
    }
}
