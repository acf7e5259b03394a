//! Connections on which several cores have sessions: RFC 4975 §5.4 lets a peer use one for all it
//! has with us.
//!
//! The core with the socket (the home) gives the octets of requests for another core's sessions to
//! that core (the guest), which has a connection without socket for them. What the guest's node
//! writes comes back in whole messages and is written between those of the home. Each way no more
//! than [`crate::MsrpLimits::shared_octets_max`] are under way.

use bytes::{Buf, Bytes};
use parlance_msrp::{CloseReason, ConnectionId, Input, Peer};

use super::Core;
use super::join::inside;
use crate::msrp::counted::group;
use crate::msrp::letter::Letter;
use crate::msrp::link::{Guest, Home, Link, LinkRef, Share, Side, Way};
use crate::msrp::meter::Ended;

impl Core {
    /// Home: octets for the sessions of another core.
    pub(super) fn give(&mut self, id: ConnectionId, core: u8, octets: Bytes) {
        let Some(key) = self.links.key_of(id) else { return };
        let Some(reference) = self.links.reference(key) else { return };
        let Some(peer) = self.node.peer(id).cloned() else { return };
        let limit = self.common.limits.shared_octets_max;
        let Some(link) = self.links.get(key) else { return };
        if link.guest(core).is_none() {
            link.guests.push(Guest { core, given: 0, owed: 0 });
        }
        let listener = link.listener;
        let Some(guest) = link.guest(core) else { return };
        guest.given += octets.len();
        if guest.given > limit && !link.holds.shared {
            link.holds.shared = true;
            self.common.meter.paused_shared.increment(1);
        }
        self.common.meter.shared_octets.increment(octets.len() as u64);
        let share = Share::Read(peer, listener, octets);
        self.post(core, Letter::ToGuest(self.number, reference, share));
    }

    /// Home: a guest says something.
    pub(super) fn handle_guest(&mut self, core: u8, link: LinkRef, share: Share) {
        let Some(key) = self.links.resolve(link) else { return };
        let limit = self.common.limits.shared_octets_max;
        let Some(link) = self.links.get(key) else { return };
        let id = link.id;
        if let Way::Shared(_) = link.way {
            return self.handle_joined(key, share);
        }
        match share {
            Share::Taken(octets) => {
                if let Some(guest) = link.guest(core) {
                    guest.given = guest.given.saturating_sub(octets);
                }
                if link.guests.iter().all(|guest| guest.given <= limit / 2) {
                    self.release(key, |holds| holds.shared = false);
                }
            }
            Share::Write(octets) => {
                if let Some(guest) = link.guest(core) {
                    guest.owed += octets.len();
                }
                if let Some(id) = id
                    && let Some(outbound) = self.node.outbound(id)
                {
                    outbound.share(octets);
                    self.dirty.push(id);
                }
            }
            // What it has not taken yet begins anew there.
            Share::Leave => link.guests.retain(|guest| guest.core != core || guest.given > 0),
            Share::Close(why) => {
                link.guests.retain(|guest| guest.core != core);
                self.begin_end(key, Ended::ByNode(why));
            }
            Share::Read(..) | Share::Join(_) | Share::Wrote(_) | Share::Lost => {}
        }
    }

    /// Home: what waited on a link was written; the guests may go on.
    pub(super) fn wrote(&mut self, key: usize) {
        let Some(link) = self.links.get(key) else { return };
        if link.guests.is_empty() {
            return;
        }
        let owed: Vec<(u8, usize)> = link
            .guests
            .iter_mut()
            .map(|guest| (guest.core, std::mem::take(&mut guest.owed)))
            .filter(|(_, octets)| *octets > 0)
            .collect();
        let Some(reference) = self.links.reference(key) else { return };
        for (core, octets) in owed {
            self.post(core, Letter::ToGuest(self.number, reference, Share::Wrote(octets)));
        }
    }

    /// Guest: the home says something.
    pub(super) fn handle_home(&mut self, core: u8, link: LinkRef, share: Share) {
        let known = self.shared.get(&(core, link)).copied();
        match (share, known) {
            (Share::Read(peer, listener, octets), known) => {
                let key = known
                    .unwrap_or_else(|| self.be_guest(Side::Socket, core, link, peer, listener));
                self.take_shared(key, &octets);
            }
            (Share::Join(octets), known) => {
                let key = known
                    .unwrap_or_else(|| self.be_guest(Side::Joined, core, link, inside(), None));
                self.take_shared(key, &octets);
            }
            (Share::Wrote(octets), Some(key)) => self.caught_up(key, octets),
            (Share::Lost, Some(key)) => self.end_link(key, Ended::ByPeer),
            (Share::Wrote(_) | Share::Lost, None) => {}
            (Share::Write(_) | Share::Taken(_) | Share::Leave | Share::Close(_), _) => {}
        }
    }

    /// Guest: the first octets come of a connection that `core` has.
    fn be_guest(
        &mut self,
        side: Side,
        core: u8,
        link: LinkRef,
        peer: Peer,
        listener: Option<u16>,
    ) -> usize {
        let home = Home { side, core, link, given: 0, taken: 0 };
        let mut guest = Link::new(Way::Shared(home), peer.remote, self.now);
        let id = self.node.accept(self.now, peer);
        self.node.count_as(id, group(listener));
        (guest.id, guest.listener) = (Some(id), listener);
        let key = self.links.insert(guest);
        self.shared.insert((core, link), key);
        key
    }

    /// As many octets of what was given to the other end are through.
    pub(super) fn caught_up(&mut self, key: usize, octets: usize) {
        if let Some(found) = self.links.get(key)
            && let Way::Shared(home) = &mut found.way
        {
            home.given = home.given.saturating_sub(octets);
            self.dirty.extend(found.id);
        }
    }

    /// Guest: octets came.
    pub(super) fn take_shared(&mut self, key: usize, octets: &Bytes) {
        let Some(found) = self.links.get(key) else { return };
        let held = found.holds.any();
        let Way::Shared(home) = &mut found.way else { return };
        home.taken += octets.len();
        if let Some(connection) = found.id {
            self.node.handle_input(self.now, Input::Octets { connection, octets });
        }
        if !held {
            self.released(key);
        }
    }

    /// Guest: nothing holds a link back any more: the home may go on.
    pub(super) fn released(&mut self, key: usize) {
        let Some(found) = self.links.get(key) else { return };
        if found.holds.any() {
            return;
        }
        let Way::Shared(home) = &mut found.way else { return };
        let taken = std::mem::take(&mut home.taken);
        let (side, core, link) = (home.side, home.core, home.link);
        if taken > 0 {
            let letter = match side {
                Side::Joins => Letter::ToGuest(self.number, link, Share::Wrote(taken)),
                Side::Socket | Side::Joined => {
                    Letter::ToHome(self.number, link, Share::Taken(taken))
                }
            };
            self.post(core, letter);
        }
    }

    /// Guest: gives the home what waits, as far as there may be more under way.
    pub(super) fn flush_shared(&mut self, key: usize, id: ConnectionId) {
        let limit = self.common.limits.shared_octets_max;
        let Some(found) = self.links.get(key) else { return };
        let Way::Shared(home) = &mut found.way else { return };
        let Some(outbound) = self.node.outbound(id) else { return };
        // All of it or nothing: what waits ends with a message, a part of it may not.
        if outbound.is_empty() || home.given >= limit {
            return;
        }
        let octets = outbound.copy_to_bytes(outbound.len());
        home.given += octets.len();
        let (side, core, link) = (home.side, home.core, home.link);
        self.common.meter.shared_octets.increment(octets.len() as u64);
        let letter = match side {
            Side::Joins => Letter::ToGuest(self.number, link, Share::Join(octets)),
            Side::Socket | Side::Joined => Letter::ToHome(self.number, link, Share::Write(octets)),
        };
        self.post(core, letter);
        self.node.handle_input(self.now, Input::Written { connection: id });
    }

    /// Guest: the node wants the connection closed.
    pub(super) fn leave(&mut self, key: usize, why: CloseReason) {
        let Some(found) = self.links.get(key) else { return };
        if let Some(id) = found.id {
            self.flush_shared(key, id);
        }
        let Some(found) = self.links.get(key) else { return };
        let Way::Shared(home) = &mut found.way else { return };
        let taken = std::mem::take(&mut home.taken);
        if home.side == Side::Joins {
            let (core, link) = (home.core, home.link);
            self.post(core, Letter::ToGuest(self.number, link, Share::Lost));
            return self.end_link(key, Ended::ByNode(why));
        }
        let share = match why {
            // Other cores have sessions on it, which go on.
            CloseReason::Unused | CloseReason::Probation | CloseReason::Certificate => Share::Leave,
            why => Share::Close(why),
        };
        let (core, link) = (home.core, home.link);
        self.post(core, Letter::ToHome(self.number, link, Share::Taken(taken)));
        self.post(core, Letter::ToHome(self.number, link, share));
        self.end_link(key, Ended::ByNode(why));
    }
}
