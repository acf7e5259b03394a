//! Reading: one read of each connection that is ready, then the next one.

use std::cmp::Reverse;

use bytes::Bytes;
use parlance_msrp::{ConnectionId, Input, SessionKey};

use super::{Core, UNSETTLED_MAX};
use crate::msrp::link::{Holds, LinkRef, Way};
use crate::msrp::meter::Ended;
use crate::msrp::socket::Got;

/// WebSocket messages that one connection brings in one turn: as much as one read of another.
const MESSAGES_MAX: usize = 128;

impl Core {
    /// The event queue says something about a link.
    pub(super) fn handle_ready(&mut self, key: usize, read: bool, write: bool, ended: bool) {
        let Some(link) = self.links.get(key) else { return };
        link.finished |= ended;
        match link.way {
            Way::Opening(_) if write => self.step(key),
            Way::Shaking(..) => self.shake(key),
            Way::Fresh(..) | Way::Open(_) | Way::Closing(_) | Way::Closed(_) => {
                if write && link.stalled.is_some() {
                    self.dirty.extend(link.id);
                }
                if read {
                    self.mark_readable(key);
                }
            }
            Way::Opening(_) | Way::Shared(_) | Way::Gone => {}
        }
    }

    /// There may be something to read on a link.
    pub(super) fn mark_readable(&mut self, key: usize) {
        let Some(link) = self.links.get(key) else { return };
        link.readable = true;
        if !link.queued && !link.holds.any() {
            link.queued = true;
            self.readable.push_back(key);
        }
    }

    /// One read of each link that is ready; what came of it is written as soon as it is much.
    pub(super) fn read_ready(&mut self) {
        for _ in 0..self.readable.len() {
            let Some(key) = self.readable.pop_front() else { return };
            let Some(link) = self.links.get(key) else { continue };
            link.queued = false;
            if link.readable && !link.holds.any() {
                self.read(key);
            }
            if self.unsettled > UNSETTLED_MAX {
                self.settle();
            }
        }
    }

    fn read(&mut self, key: usize) {
        let mut buffer = self.buffers.take();
        let Some(link) = self.links.get(key) else { return self.buffers.give_back(buffer) };
        let socket = match &mut link.way {
            Way::Fresh(socket, _)
            | Way::Open(socket)
            | Way::Closing(socket)
            | Way::Closed(socket) => socket,
            Way::Opening(_) | Way::Shaking(..) | Way::Shared(_) | Way::Gone => {
                return self.buffers.give_back(buffer);
            }
        };
        match socket.read(&mut buffer) {
            Ok(Got::Octets(octets, more)) => {
                let more = more || link.finished;
                let whole = buffer.freeze();
                let read = whole.slice(..octets);
                self.take_in(key, &read, more);
                drop(read);
                self.buffers.lend(whole);
            }
            Ok(Got::Message(octets)) => {
                self.buffers.give_back(buffer);
                self.take_in(key, &octets, true);
                self.read_messages(key);
            }
            Ok(Got::Nothing) => {
                link.readable = false;
                self.buffers.give_back(buffer);
            }
            Ok(Got::End) | Err(_) => {
                self.buffers.give_back(buffer);
                self.end_link(key, Ended::ByPeer);
            }
        }
    }

    /// More messages of a WebSocket of which one was taken in: what comes together is passed on
    /// together.
    fn read_messages(&mut self, key: usize) {
        for _ in 1..MESSAGES_MAX {
            let Some(link) = self.links.get(key).filter(|link| !link.holds.any()) else { return };
            let (Way::Fresh(socket, _) | Way::Open(socket)) = &mut link.way else { return };
            match socket.read(&mut []) {
                Ok(Got::Message(octets)) => self.take_in(key, &octets, true),
                Ok(Got::Octets(..)) => return,
                Ok(Got::Nothing) => {
                    link.readable = false;
                    return;
                }
                Ok(Got::End) | Err(_) => return self.end_link(key, Ended::ByPeer),
            }
        }
    }

    /// Octets came on a link.
    fn take_in(&mut self, key: usize, octets: &Bytes, more: bool) {
        let Some(link) = self.links.get(key) else { return };
        link.readable = more;
        link.received += octets.len() as u64;
        self.unsettled += octets.len();
        let (source, listener, serial) = (link.source(), link.listener, link.serial);
        self.common.meter_of(listener).received_octets.increment(octets.len() as u64);
        if let Some(wait) = self.common.charge(source, octets.len()) {
            self.common.meter.paused_rate.raise(source);
            link.holds.rate = Some(self.now + wait);
            self.resting.push(Reverse((self.now + wait, LinkRef { key, serial })));
        }
        match &link.way {
            Way::Fresh(..) => self.sort(key, octets),
            Way::Open(_) => {
                if let Some(connection) = link.id {
                    self.node.handle_input(self.now, Input::Octets { connection, octets });
                }
            }
            // What comes after the end is only for the peer to be able to say it.
            Way::Closing(_) | Way::Closed(_) => {}
            Way::Opening(_) | Way::Shaking(..) | Way::Shared(_) | Way::Gone => {}
        }
        if more {
            self.mark_readable(key);
        }
    }

    /// What a connection brings cannot be passed on.
    pub(super) fn pause(&mut self, id: ConnectionId) {
        let Some(key) = self.links.key_of(id) else { return };
        let Some(link) = self.links.get(key) else { return };
        if !link.holds.sink {
            link.holds.sink = true;
            self.common.meter.paused_sink.increment(1);
        }
    }

    /// Nobody takes the events of a session, or somebody does again.
    pub(super) fn hold_session(&mut self, session: SessionKey, hold: bool) {
        if !hold {
            let held = self.held.remove(&session).and_then(|link| self.links.resolve(link));
            if let Some(key) = held {
                self.release(key, |holds| holds.events = holds.events.saturating_sub(1));
            }
            return;
        }
        let key = self.node.connection(session).and_then(|id| self.links.key_of(id));
        if let Some(key) = key
            && let Some(reference) = self.links.reference(key)
            && let Some(link) = self.links.get(key)
        {
            link.holds.events += 1;
            self.held.insert(session, reference);
        }
    }

    /// One reason not to read a link is gone.
    pub(super) fn release(&mut self, key: usize, which: impl FnOnce(&mut Holds)) {
        let Some(link) = self.links.get(key) else { return };
        which(&mut link.holds);
        if link.readable {
            self.mark_readable(key);
        }
        self.released(key);
    }
}
