//! Time-outs of connections: all are looked at now and then, so that none costs a timer.

use std::time::Duration;

use parlance_msrp::{ConnectError, LEAD_OCTETS_MAX};

use super::{Backlog, Core};
use crate::MsrpLimits;
use crate::msrp::counted::group;
use crate::msrp::link::Way;
use crate::msrp::meter::Ended;

/// How often connections are looked at: four times in the shortest time-out, at most each second.
pub(super) fn interval(limits: &MsrpLimits) -> Duration {
    let shortest = [
        limits.connect_timeout,
        limits.handshake_timeout,
        limits.probation,
        limits.head_timeout,
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
        let stalled = |link: &crate::msrp::link::Link| {
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
        let received = link.received;
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
        let age = now.saturating_duration_since(link.since);
        if !standing.proven && age >= limits.probation {
            return Due::End(Ended::Probation);
        }
        let quiet = now.saturating_duration_since(link.heard);
        // What is shared has its sessions elsewhere.
        let unused = standing.proven && standing.sessions == 0 && link.guests.is_empty();
        if unused && quiet >= limits.idle { Due::End(Ended::Idle) } else { Due::Nothing }
    }
}
