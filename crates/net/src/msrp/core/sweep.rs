//! Time-outs of connections: all are looked at now and then, so that none costs a timer.

use std::time::{Duration, Instant};

use parlance_msrp::{CloseReason, ConnectError, LEAD_OCTETS_MAX, Standing};

use super::{Backlog, Core};
use crate::MsrpLimits;
use crate::msrp::counted::group;
use crate::msrp::link::{Link, Side, Way};
use crate::msrp::meter::Ended;

/// How often connections are looked at: four times in the shortest time-out, at most each second.
pub(super) fn interval(limits: &MsrpLimits) -> Duration {
    let shortest = [
        limits.connect_timeout,
        limits.handshake_timeout,
        limits.probation,
        limits.head_timeout,
        limits.body_timeout,
        limits.write_timeout,
        limits.idle,
        limits.linger,
    ]
    .into_iter()
    .min()
    .unwrap_or_default();
    (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
}

/// What is due for a link.
enum Due {
    Nothing,
    /// The address does not answer.
    FailOver,
    GiveUp(ConnectError),
    Handshake,
    End(Ended),
    Leave,
    Drop,
}

impl Core {
    /// Looks at every connection.
    pub(super) fn sweep(&mut self) {
        self.accept_again(Backlog::Stuck);
        for session in self.sinks.forget_closed() {
            self.hold_session(session, false);
        }
        let waiting =
            self.common.mailbox(self.number).map_or(0, super::super::mailbox::Mailbox::len);
        self.common.meter.mailbox(self.number, waiting);
        self.tell_counts();
        for key in 0..self.links.places() {
            match self.due(key) {
                Due::Nothing => {}
                Due::FailOver => self.fail_over(key),
                Due::GiveUp(error) => self.give_up(key, error),
                Due::Handshake => {
                    if let Some(link) = self.links.get(key) {
                        self.common.meter.refused_handshake.raise(link.remote.ip());
                    }
                    self.end_link(key, Ended::ByPeer);
                }
                Due::End(why) => self.end_link(key, why),
                Due::Leave => self.leave(key, CloseReason::Unused),
                Due::Drop => {
                    // What waits to be written is given up with it.
                    self.end_link(key, Ended::SlowReader);
                }
            }
        }
    }

    /// Adds what was counted since the last time to the meters.
    fn tell_counts(&mut self) {
        let mut queued = vec![0; self.common.bound.len() + 1];
        for key in 0..self.links.places() {
            let Some(link) = self.links.get(key) else { continue };
            let (id, group) = (link.id, usize::from(group(link.listener)));
            let standing = id.and_then(|id| self.node.standing(id));
            if let Some(place) = queued.get_mut(group) {
                *place += standing.map_or(0, |standing| standing.queued);
            }
        }
        for (number, queued) in (0..).zip(queued) {
            let counts = *self.node.counts(number);
            let meter = self.common.meter_of(number.checked_sub(1));
            self.counted.tell(number, &counts, queued, meter);
        }
    }

    fn due(&mut self, key: usize) -> Due {
        let (now, limits) = (self.now, self.common.limits);
        let Some(link) = self.links.get(key) else { return Due::Nothing };
        let age = now.saturating_duration_since(link.since);
        let stalled = |link: &Link| {
            let since = link.stalled.map(|since| now.saturating_duration_since(since));
            since.is_some_and(|stalled| stalled >= limits.write_timeout)
        };
        match &link.way {
            // The DNS has a time-out of its own, and a few questions to ask.
            Way::Opening(opening) if opening.stream.is_none() => {
                let patience = limits.connect_timeout.saturating_mul(4);
                if age < patience { Due::Nothing } else { Due::GiveUp(ConnectError::Unresolved) }
            }
            Way::Opening(_) if age >= limits.connect_timeout => Due::FailOver,
            Way::Shaking(_, Some(_))
                if age >= limits.connect_timeout + limits.handshake_timeout =>
            {
                Due::FailOver
            }
            Way::Shaking(_, None) if age >= limits.handshake_timeout => Due::Handshake,
            Way::Fresh(..) if age >= limits.probation => Due::End(Ended::Probation),
            Way::Open(_) if stalled(link) => Due::End(Ended::SlowReader),
            Way::Open(_) => self.due_open(key),
            Way::Shared(home) if home.side == Side::Socket && !link.holds.any() => {
                self.due_shared(key)
            }
            Way::Closing(_) | Way::Closed(_) if age >= limits.linger => Due::Drop,
            Way::Opening(_)
            | Way::Shaking(..)
            | Way::Fresh(..)
            | Way::Closing(_)
            | Way::Closed(_)
            | Way::Shared(_)
            | Way::Gone => Due::Nothing,
        }
    }

    fn due_open(&mut self, key: usize) -> Due {
        let (now, limits) = (self.now, self.common.limits);
        let Some(link) = self.links.get(key) else { return Due::Nothing };
        let Some(standing) = link.id.and_then(|id| self.node.standing(id)) else {
            return Due::Nothing;
        };
        let Way::Open(socket) = &link.way else { return Due::Nothing };
        // The node sees nothing of a WebSocket message before its end.
        let (received, in_message) = socket.incoming().unwrap_or((link.received, false));
        link.in_head = link.in_head.filter(|(_, before)| {
            // After as many octets it is not the same head.
            standing.in_head && received - before <= LEAD_OCTETS_MAX as u64
        });
        if standing.in_head {
            link.in_head.get_or_insert((now, received));
        }
        let slow = |(since, _)| now.saturating_duration_since(since) >= limits.head_timeout;
        if link.in_head.is_some_and(slow) {
            return Due::End(Ended::SlowHead);
        }
        if is_slow_body(link, standing.in_body || in_message, received, now, &limits) {
            return Due::End(Ended::SlowBody);
        }
        let age = now.saturating_duration_since(link.since);
        if standing.used.is_none() && age >= limits.probation {
            return Due::End(Ended::Probation);
        }
        // What is shared has its sessions elsewhere.
        let alone = link.guests.is_empty();
        if alone && self.is_unused(standing) { Due::End(Ended::Idle) } else { Due::Nothing }
    }

    /// Guest: a home whose sessions here are over is left, so that it can close.
    fn due_shared(&mut self, key: usize) -> Due {
        let id = self.links.get(key).and_then(|link| link.id);
        let standing = id.and_then(|id| self.node.standing(id));
        if standing.is_some_and(|standing| self.is_unused(standing)) {
            Due::Leave
        } else {
            Due::Nothing
        }
    }

    /// Whether no session uses a connection, and nobody did for long.
    fn is_unused(&self, standing: Standing) -> bool {
        let quiet = standing.used.map(|used| self.now.saturating_duration_since(used));
        standing.sessions == 0 && quiet.is_some_and(|quiet| quiet >= self.common.limits.idle)
    }
}

/// Whether fewer octets came of a body than had to.
fn is_slow_body(
    link: &mut Link,
    in_body: bool,
    received: u64,
    now: Instant,
    limits: &MsrpLimits,
) -> bool {
    // What we do not read cannot get on.
    if !in_body || link.holds.any() {
        link.in_body = None;
        return false;
    }
    let (since, before) = *link.in_body.get_or_insert((now, received));
    if now.saturating_duration_since(since) < limits.body_timeout {
        return false;
    }
    link.in_body = Some((now, received));
    received - before < limits.body_octets_min
}
