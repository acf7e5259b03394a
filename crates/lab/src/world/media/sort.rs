//! Which core a connection goes to, and connections on which several cores have sessions.
//!
//! As in `net`: the first To-Path says where a connection goes, and the core that has it gives the
//! others what is for their sessions; what is under way between two is not bounded here.

use std::rc::Rc;

use bytes::{Buf as _, Bytes, BytesMut};
use parlance_msrp::{ConnectionId, Input, LEAD_OCTETS_MAX, Lead, Peer, lead};
use tokio::sync::mpsc;

use super::takers::Holds;
use super::{Lent, Link, Running, core_of, now};
use crate::network::{Connection, Listener};

/// What a core is told by the others.
pub(super) enum Letter {
    /// A connection for a session of this core, and what came on it.
    Accepted(Connection, Bytes),
    /// Octets for a session of this core, on a connection of that one.
    Given(u8, ConnectionId, Peer, Bytes),
    /// Octets to be written on a connection of this core.
    Written(ConnectionId, Bytes),
    /// A connection of that core is gone.
    Lost(u8, ConnectionId),
}

/// How a connection is reached.
pub(super) enum Way {
    /// It is of this core.
    Own(Rc<Connection>),
    /// It is of that one, which calls it so.
    Of(u8, ConnectionId),
}

/// Accepts connections, and gives each to its core.
pub(super) async fn sort(
    mut listener: Listener,
    cores: Vec<mpsc::UnboundedSender<Letter>>,
    lent: Lent,
) {
    while let Some(connection) = listener.accept().await {
        let (cores, lent) = (cores.clone(), lent.clone());
        let is_alone = cores.len() == 1;
        let sorted = async move {
            let (core, octets) = match is_alone {
                true => (0, Bytes::new()),
                false => first(&connection, &lent).await,
            };
            // Any core will do for what belongs nowhere.
            let core = cores.get(usize::from(core)).or_else(|| cores.first());
            if let Some(core) = core {
                let _ = core.send(Letter::Accepted(connection, octets));
            }
        };
        tokio::task::spawn_local(sorted);
    }
}

/// The core that a connection is for, and what came until that was known.
async fn first(connection: &Connection, lent: &Lent) -> (u8, Bytes) {
    let mut carry = BytesMut::new();
    while let Some(octets) = connection.recv().await {
        carry.extend_from_slice(&octets);
        let core = match lead(&carry) {
            Lead::Unknown if carry.len() <= LEAD_OCTETS_MAX => continue,
            Lead::To(uri) => core_of(lent, uri),
            Lead::Unknown | Lead::Any => None,
        };
        return (core.unwrap_or(0), carry.freeze());
    }
    (0, carry.freeze())
}

impl Running {
    pub(super) fn read(&mut self, letter: Letter) {
        match letter {
            Letter::Accepted(connection, octets) => self.accept(connection, &octets),
            Letter::Given(core, id, peer, octets) => self.given(core, id, peer, &octets),
            Letter::Written(id, octets) => {
                if let Some(outbound) = self.node.outbound(id) {
                    outbound.share(octets);
                    self.flush(id);
                }
            }
            Letter::Lost(core, id) => {
                if let Some(id) = self.shared.remove(&(core, id)) {
                    self.lose(id);
                }
            }
        }
    }

    /// Octets for the sessions of another core.
    pub(super) fn give(&mut self, id: ConnectionId, core: u8, octets: Bytes) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(peer) = self.node.peer(id).cloned() else { return };
        if !link.guests.contains(&core) {
            link.guests.push(core);
        }
        self.tell(core, Letter::Given(self.number, id, peer, octets));
    }

    fn given(&mut self, core: u8, id: ConnectionId, peer: Peer, octets: &Bytes) {
        let connection = match self.shared.get(&(core, id)) {
            Some(known) => *known,
            None => {
                let connection = self.node.accept(now(), peer);
                self.shared.insert((core, id), connection);
                self.link(connection, Way::Of(core, id), Rc::new(Holds::default()));
                connection
            }
        };
        self.node.handle_input(now(), Input::Octets { connection, octets });
    }

    /// Gives the core that has a connection what waits for it.
    pub(super) fn flush_shared(&mut self, id: ConnectionId) {
        let Some(Link { way: Way::Of(core, home), .. }) = self.links.get(&id) else { return };
        let (core, home) = (*core, *home);
        let Some(outbound) = self.node.outbound(id).filter(|outbound| !outbound.is_empty()) else {
            return;
        };
        let octets = outbound.copy_to_bytes(outbound.remaining());
        self.tell(core, Letter::Written(home, octets));
        self.node.handle_input(now(), Input::Written { connection: id });
    }

    /// A connection is gone; the other cores that had sessions on it hear of it.
    pub(super) fn leave(&mut self, id: ConnectionId, link: &Link) {
        for core in &link.guests {
            self.tell(*core, Letter::Lost(self.number, id));
        }
        if let Way::Of(core, home) = link.way {
            self.shared.remove(&(core, home));
        }
    }

    fn tell(&self, core: u8, letter: Letter) {
        if let Some(other) = self.others.get(usize::from(core)) {
            // A core that has ended has no sessions any more.
            let _ = other.send(letter);
        }
    }
}
