//! The end of connections, and of the core.

use parlance_msrp::{CloseReason, ConnectError, ConnectionId, Input};

use super::Core;
use crate::msrp::letter::Letter;
use crate::msrp::link::{Share, Side, Way};
use crate::msrp::meter::Ended;

impl Core {
    /// The node wants a connection closed: what waits is written before.
    pub(super) fn close(&mut self, id: ConnectionId, why: CloseReason) {
        let Some(key) = self.links.key_of(id) else {
            return self.node.handle_input(self.now, Input::Lost { connection: id });
        };
        if let Some(link) = self.links.get(key)
            && matches!(link.way, Way::Shared(_))
        {
            return self.leave(key, why);
        }
        self.begin_end(key, Ended::ByNode(why));
    }

    /// Nothing is read any more; what waits is written, then the link is closed.
    pub(super) fn begin_end(&mut self, key: usize, why: Ended) {
        let Some(link) = self.links.get(key) else { return };
        match std::mem::replace(&mut link.way, Way::Gone) {
            Way::Open(socket) => {
                self.common.meter.closed(why, link.remote.ip());
                (link.way, link.since) = (Way::Closing(socket), self.now);
                // A peer that closes at the same time is heard, whatever held it back.
                link.holds = crate::msrp::link::Holds::default();
                let id = link.id;
                self.mark_readable(key);
                if let Some(id) = id {
                    self.flush(id);
                }
            }
            way @ (Way::Closing(_) | Way::Closed(_)) => link.way = way,
            other => {
                link.way = other;
                self.end_link(key, why);
            }
        }
    }

    /// Everything is written: says so, and leaves the peer time to see it.
    pub(super) fn finish(&mut self, key: usize) {
        let Some(link) = self.links.get(key) else { return };
        let Way::Closing(mut socket) = std::mem::replace(&mut link.way, Way::Gone) else { return };
        socket.finish();
        (link.way, link.since, link.stalled) = (Way::Closed(socket), self.now, None);
        self.forget(key);
    }

    /// A link is gone at once.
    pub(super) fn end_link(&mut self, key: usize, why: Ended) {
        if let Some(link) = self.links.get(key)
            && matches!(link.way, Way::Fresh(..) | Way::Open(_))
        {
            self.common.meter.closed(why, link.remote.ip());
        }
        if let Some(link) = self.links.get(key)
            && let Way::Opening(_) | Way::Shaking(_, Some(_)) = link.way
        {
            return self.give_up(key, ConnectError::Unreachable);
        }
        self.forget(key);
        self.drop_link(key);
    }

    /// The node hears no more of a link.
    fn forget(&mut self, key: usize) {
        let reference = self.links.reference(key);
        let Some(link) = self.links.get(key) else { return };
        let guests = std::mem::take(&mut link.guests);
        if let Some(id) = link.id.take() {
            self.node.handle_input(self.now, Input::Lost { connection: id });
        }
        if let Some(reference) = reference {
            for guest in guests {
                self.post(guest.core, Letter::ToGuest(self.number, reference, Share::Lost));
            }
        }
    }

    /// Closes the socket and gives the room back.
    pub(super) fn drop_link(&mut self, key: usize) {
        let Some(link) = self.links.remove(key) else { return };
        match link.way {
            Way::Shared(home) if home.side == Side::Joins => {}
            Way::Shared(home) => {
                self.shared.remove(&(home.core, home.link));
            }
            _ => self.common.meter_of(link.listener).connections.decrement(1.0),
        }
    }

    /// Whether nothing is left to do after it was told to end.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(limit) = self.end else { return false };
        if self.now >= limit {
            return true;
        }
        let keys: Vec<usize> = self.links.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(link) = self.links.get(key) else { continue };
            match link.way {
                Way::Open(_) => {
                    let waits = link.id.and_then(|id| self.node.outbound(id));
                    if waits.is_none_or(|outbound| outbound.is_empty()) {
                        self.begin_end(key, Ended::Drained);
                    }
                }
                Way::Closing(_) | Way::Closed(_) => {}
                Way::Opening(_) | Way::Shaking(..) | Way::Fresh(..) => {
                    self.end_link(key, Ended::Drained);
                }
                Way::Shared(_) => {
                    let waits = link.id.and_then(|id| self.node.outbound(id));
                    if waits.is_none_or(|outbound| outbound.is_empty()) {
                        self.end_link(key, Ended::Drained);
                    }
                }
                Way::Gone => self.drop_link(key),
            }
        }
        self.links.len() == 0
    }
}
