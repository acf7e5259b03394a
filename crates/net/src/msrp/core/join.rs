//! Connections between the nodes of two cores, for what a relay would have to connect to itself
//! (RFC 4976 §6.4): two clients whose URIs are of this relay, on different cores.
//!
//! The core that is joined has it as a guest has a [shared](super::share) one; the other core has
//! no socket either, but a link whose octets go to the node and come from it.

use std::net::{Ipv4Addr, SocketAddr};

use parlance_msrp::{ConnectionId, Input, Peer};

use super::Core;
use crate::msrp::link::{Home, Link, Share, Side, Way};
use crate::msrp::meter::Ended;

/// Who is at the other end: nobody who could be asked for a certificate.
pub(super) fn inside() -> Peer {
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Peer { remote: nowhere, local: nowhere, tls: None, websocket: false }
}

impl Core {
    /// The node wants a connection to that of `core`.
    pub(super) fn join(&mut self, id: ConnectionId, core: u8) {
        let peer = inside();
        let mut link = Link::new(Way::Gone, peer.remote, self.now);
        link.id = Some(id);
        let key = self.links.insert(link);
        if let Some(reference) = self.links.reference(key)
            && let Some(link) = self.links.get(key)
        {
            let home = Home { side: Side::Joins, core, link: reference, given: 0, taken: 0 };
            link.way = Way::Shared(home);
        }
        self.node.handle_input(self.now, Input::Connected { connection: id, peer });
        self.dirty.push(id);
    }

    /// The core that we joined says something.
    pub(super) fn handle_joined(&mut self, key: usize, share: Share) {
        match share {
            Share::Write(octets) => self.take_shared(key, &octets),
            Share::Taken(octets) => self.caught_up(key, octets),
            Share::Leave | Share::Close(_) => self.end_link(key, Ended::ByPeer),
            Share::Read(..) | Share::Join(_) | Share::Wrote(_) | Share::Lost => {}
        }
    }
}
