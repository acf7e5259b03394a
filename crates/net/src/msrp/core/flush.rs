//! Writing: each connection once in a turn.

use parlance_msrp::{ConnectionId, Input};

use super::Core;
use crate::msrp::link::Way;
use crate::msrp::meter::Ended;

impl Core {
    /// Writes what waits on a connection, as far as it goes at once.
    pub(super) fn flush(&mut self, id: ConnectionId) {
        let Some(key) = self.links.key_of(id) else { return };
        let Some(link) = self.links.get(key) else { return };
        let (socket, closing) = match &mut link.way {
            Way::Open(socket) => (socket, false),
            Way::Closing(socket) => (socket, true),
            Way::Shared(_) => return self.flush_shared(key, id),
            // It is written when the connection stands.
            Way::Opening(_) | Way::Shaking(..) | Way::Fresh(..) => return,
            Way::Closed(_) | Way::Gone => return,
        };
        let Some(outbound) = self.node.outbound(id) else { return };
        let was_low = outbound.below_low();
        let Ok(flushed) = socket.flush(outbound) else {
            return self.end_link(key, Ended::ByPeer);
        };
        let empty = outbound.is_empty();
        let told = flushed.octets > 0 && (empty || !was_low && outbound.below_low());
        let began = link.stalled.filter(|_| flushed.octets == 0).unwrap_or(self.now);
        link.stalled = flushed.blocked.then_some(began);
        let listener = link.listener;
        if flushed.octets > 0 {
            let octets = flushed.octets as u64;
            self.common.meter_of(listener).transmitted_octets.increment(octets);
        }
        if flushed.more {
            self.dirty.push(id);
        }
        if told {
            self.node.handle_input(self.now, Input::Written { connection: id });
            self.wrote(key);
        }
        if closing && empty && !flushed.blocked {
            self.finish(key);
        }
    }
}
