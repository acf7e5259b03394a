//! When a connection wants to be looked at, and what is done then.

use std::time::Instant;

use crate::node::connection::{Connection, State};
use crate::node::receive::Roles;
use crate::node::timers::Timer;
use crate::node::{CloseReason, ConnectionId, NodeConfig};

/// The next deadline of a connection: the end of its probation, of the oldest transaction, or of
/// the time without a request of ours.
pub(super) fn next(connection: &Connection, config: &NodeConfig) -> Option<Instant> {
    let probation = connection.used.is_none().then(|| connection.since + config.probation);
    let keep_alive = config
        .keep_alive
        .filter(|_| connection.state == State::Open && !connection.sessions.is_empty())
        .map(|period| connection.sent + period);
    [probation, connection.pending.due(), keep_alive].into_iter().flatten().min()
}

impl Roles {
    /// Does what is due.
    pub(super) fn timeout(&mut self) {
        while let Some(timer) = self.cx.timers.due(self.cx.now) {
            match timer {
                Timer::Connection(connection) => self.connection_due(connection),
                Timer::Session(key) => self.session_due(key),
                Timer::Relay(number) => self.relay.relay_timeout(&mut self.cx, number),
            }
            self.settle();
        }
    }

    fn connection_due(&mut self, id: ConnectionId) {
        let now = self.cx.now;
        let Some(found) = self.cx.connections.get_mut(id) else { return };
        if found.armed.is_none_or(|armed| armed > now) {
            // Another entry was armed since, for an earlier time that is over.
            return;
        }
        found.armed = None;
        if found.used.is_none() && found.since + self.cx.config.probation <= now {
            return self.cx.close(id, CloseReason::Probation);
        }
        let written = found.outbound.written_total();
        while let Some(waiting) = found.pending.expired(now, written) {
            self.cx.later.push_back(super::cx::Later::Expired(waiting));
        }
        found.pending.release();
        let idle = self.cx.config.keep_alive.filter(|period| found.sent + *period <= now);
        if idle.is_some()
            && found.state == State::Open
            && let Some(&session) = found.sessions.first()
        {
            found.sent = now;
            // It is bound, so it can be written, unless it is just being closed.
            let _ = self.cx.send_empty(session);
        }
        self.cx.arm(id);
    }
}
