//! Connections that others open, until they are open.

use std::cmp::Reverse;
use std::io::ErrorKind;
use std::net::SocketAddr;

use bytes::BytesMut;
use mio::Interest;
use mio::net::TcpStream;
use parlance_msrp::{Input, LEAD_OCTETS_MAX, Lead, Peer, lead};
use socket2::{SockRef, TcpKeepalive};

use super::{Backlog, Core};
use crate::admission::Full;
use crate::msrp::counted::group;
use crate::msrp::letter::{Letter, Moved};
use crate::msrp::link::{Link, Way};
use crate::msrp::mailbox::Returned;
use crate::msrp::meter::Ended;
use crate::rate::prefix;

/// Connections accepted in one turn; the others have to wait for the next.
const ACCEPTED_MAX: usize = 64;

impl Core {
    /// Accepts what waits at a listener.
    pub(super) fn accept(&mut self, place: usize) {
        for _ in 0..ACCEPTED_MAX {
            let Some(listening) = self.listeners.get_mut(place) else { return };
            match listening.socket.accept() {
                Ok((stream, remote)) => self.admit(place as u16, stream, remote),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    listening.backlog = Backlog::Empty;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, listener = place, "accept");
                    listening.backlog = Backlog::Stuck;
                    return;
                }
            }
        }
        if let Some(listening) = self.listeners.get_mut(place) {
            listening.backlog = Backlog::More;
        }
    }

    /// Accepts what was left behind at listeners, for this reason.
    pub(super) fn accept_again(&mut self, left: Backlog) {
        for place in 0..self.listeners.len() {
            if self.listeners.get(place).is_some_and(|listening| listening.backlog == left) {
                self.accept(place);
            }
        }
    }

    /// Accepts nothing any more.
    pub(super) fn refuse(&mut self) {
        for listening in &mut self.listeners {
            let _ = self.poll.registry().deregister(&mut listening.socket);
            listening.backlog = Backlog::Empty;
        }
    }

    fn admit(&mut self, listener: u16, stream: TcpStream, remote: SocketAddr) {
        let meter = &self.common.meter;
        let source = (!(self.common.trusted)(remote.ip())).then(|| prefix(remote.ip()));
        let admission = match self.common.admissions.admit(source) {
            Ok(admission) => admission,
            Err(Full::Total) => return meter.refused_total.raise(remote.ip()),
            Err(Full::Source) => return meter.refused_source.raise(remote.ip()),
        };
        self.prepare(&stream);
        let Some(socket) = self.common.accepted(listener, stream) else {
            return self.common.meter.refused_handshake.raise(remote.ip());
        };
        self.common.meter_of(Some(listener)).connections.increment(1.0);
        let mut link = Link::new(Way::Shaking(socket, None), remote, self.now);
        (link.listener, link.admission) = (Some(listener), Some(admission));
        let key = self.links.insert(link);
        if self.register(key) {
            self.shake(key);
        }
    }

    /// What every socket of ours has.
    pub(super) fn prepare(&self, stream: &TcpStream) {
        let every = self.common.limits.keep_alive;
        let probe = TcpKeepalive::new().with_time(every).with_interval(every / 4).with_retries(3);
        // A system that has none does without.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(stream).set_tcp_keepalive(&probe);
    }

    /// Puts the socket of a link into the event queue; whether that worked.
    pub(super) fn register(&mut self, key: usize) -> bool {
        let token = self.token(key);
        let Some(link) = self.links.get(key) else { return false };
        let socket = match &mut link.way {
            Way::Opening(opening) => opening.stream.as_mut(),
            Way::Shaking(socket, _)
            | Way::Fresh(socket, _)
            | Way::Open(socket)
            | Way::Closing(socket)
            | Way::Closed(socket) => socket.tcp_mut(),
            Way::Shared(_) | Way::Gone => None,
        };
        let Some(socket) = socket else { return false };
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self.poll.registry().register(socket, token, interest) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, core = self.number, "a connection cannot be watched");
                self.end_link(key, Ended::ByPeer);
                false
            }
        }
    }

    /// Goes on with the handshakes of a link.
    pub(super) fn shake(&mut self, key: usize) {
        let Some(link) = self.links.get(key) else { return };
        let Way::Shaking(socket, opening) = &mut link.way else { return };
        match socket.advance() {
            Ok(false) => {}
            Ok(true) if opening.is_some() => self.connected(key),
            Ok(true) => self.shaken(key),
            Err(error) => {
                tracing::debug!(%error, remote = %link.remote, "handshake under MSRP");
                if opening.is_some() {
                    self.fail_over(key);
                } else {
                    self.common.meter.refused_handshake.raise(link.remote.ip());
                    self.end_link(key, Ended::ByPeer);
                }
            }
        }
    }

    /// An accepted link has ended its handshakes.
    fn shaken(&mut self, key: usize) {
        let alone = self.common.cores() == 1;
        let Some(link) = self.links.get(key) else { return };
        let Way::Shaking(socket, _) = std::mem::replace(&mut link.way, Way::Gone) else { return };
        (link.way, link.since) = (Way::Fresh(socket, BytesMut::new()), self.now);
        // What came with the last message of a handshake makes no further event.
        link.readable = true;
        if !link.queued {
            link.queued = true;
            self.readable.push_back(key);
        }
        if alone {
            self.open(key);
        }
    }

    /// The first octets of a link came: it stays here or goes where its session is.
    pub(super) fn sort(&mut self, key: usize, octets: &[u8]) {
        let cores = self.common.cores();
        let Some(link) = self.links.get(key) else { return };
        let Way::Fresh(_, carry) = &mut link.way else { return };
        carry.extend_from_slice(octets);
        let core = match lead(carry) {
            Lead::Unknown if carry.len() <= LEAD_OCTETS_MAX => return,
            Lead::To(uri) => self.common.lent.core_of(uri),
            Lead::Unknown | Lead::Any => None,
        };
        match core {
            Some(core) if core != self.number && usize::from(core) < cores => {
                self.hand_over(key, core);
            }
            Some(_) | None => self.open(key),
        }
    }

    fn hand_over(&mut self, key: usize, core: u8) {
        let Some(mut link) = self.links.remove(key) else { return };
        let Way::Fresh(mut socket, octets) = std::mem::replace(&mut link.way, Way::Gone) else {
            return;
        };
        if let Some(tcp) = socket.tcp_mut() {
            let _ = self.poll.registry().deregister(tcp);
        }
        let moved = Moved {
            socket,
            octets,
            listener: link.listener,
            remote: link.remote,
            admission: link.admission,
            since: link.since,
            rests: link.holds.rate,
        };
        let sent = self.common.mailbox(core).map(|to| to.send(Letter::Moved(Box::new(moved))));
        match sent {
            Some(Ok(())) => self.common.meter.moved.increment(1),
            Some(Err(Returned::Full(_) | Returned::Closed(_))) | None => {
                self.common.meter.moved_busy.raise(link.remote.ip());
                self.common.meter_of(link.listener).connections.decrement(1.0);
            }
        }
    }

    /// Takes a connection from the core that accepted it.
    pub(super) fn take_over(&mut self, moved: Moved) {
        let way = Way::Fresh(moved.socket, moved.octets);
        let mut link = Link::new(way, moved.remote, moved.since);
        (link.listener, link.admission) = (moved.listener, moved.admission);
        link.holds.rate = moved.rests;
        let key = self.links.insert(link);
        if let (Some(until), Some(link)) = (moved.rests, self.links.reference(key)) {
            self.resting.push(Reverse((until, link)));
        }
        if self.register(key) {
            self.open(key);
            self.mark_readable(key);
        }
    }

    /// Tells the node of a link, and what came on it so far.
    fn open(&mut self, key: usize) {
        let Some(peer) = self.peer(key) else { return };
        let Some(link) = self.links.get(key) else { return };
        let (since, listener) = (link.since, link.listener);
        let id = self.node.accept(since, peer);
        self.links.name(key, id);
        self.node.count_as(id, group(listener));
        let Some(link) = self.links.get(key) else { return };
        let Way::Fresh(socket, octets) = std::mem::replace(&mut link.way, Way::Gone) else {
            return;
        };
        link.way = Way::Open(socket);
        if !octets.is_empty() {
            let octets = octets.freeze();
            self.node.handle_input(self.now, Input::Octets { connection: id, octets: &octets });
        }
    }

    /// Who is at the other end of an accepted link.
    fn peer(&mut self, key: usize) -> Option<Peer> {
        let link = self.links.get(key)?;
        let Way::Fresh(socket, _) = &mut link.way else { return None };
        let bound = link.listener.and_then(|place| self.common.bound.get(usize::from(place)));
        let incoming = bound.and_then(|bound| bound.tls.as_ref());
        let shown = incoming.zip(socket.certificates());
        let tls = shown.map(|(incoming, chain)| Box::new(incoming.get().peer(chain)));
        let local = socket.local().or(bound.map(|bound| bound.address))?;
        Some(Peer { remote: link.remote, local, tls, websocket: socket.is_websocket() })
    }
}
