//! One connection as a core has it.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mio::net::TcpStream;
use parlance_msrp::{ConnectionId, Hop, Peer};
use slab::Slab;
use smallvec::SmallVec;

use super::socket::Socket;
use crate::admission::Admission;

/// One connection of one core, for letters: the place, and which of those that were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkRef {
    pub(crate) key: usize,
    pub(crate) serial: u64,
}

/// One connection of a core.
pub(crate) struct Link {
    pub(crate) serial: u64,
    /// What it is to the node, while it is something.
    pub(crate) id: Option<ConnectionId>,
    pub(crate) way: Way,
    /// The listener it was accepted on, whichever core has it; `None` when we opened it.
    pub(crate) listener: Option<u16>,
    pub(crate) remote: SocketAddr,
    /// Held until it is gone.
    pub(crate) admission: Option<Admission>,
    /// Other cores that have sessions on it.
    pub(crate) guests: SmallVec<[Guest; 1]>,
    /// When it came to be what it is; for one that was accepted, when its handshakes ended.
    pub(crate) since: Instant,
    /// Octets that came.
    pub(crate) received: u64,
    /// Since when a head is unfinished, as far as was looked, and how many octets had come then.
    pub(crate) in_head: Option<(Instant, u64)>,
    /// The same for a body; counted anew each time that enough of it came.
    pub(crate) in_body: Option<(Instant, u64)>,
    /// Since when nothing that waits was taken.
    pub(crate) stalled: Option<Instant>,
    /// There may be something to read.
    pub(crate) readable: bool,
    /// It waits for its turn to be read.
    pub(crate) queued: bool,
    /// The peer has finished, so a short read does not mean that nothing is left.
    pub(crate) finished: bool,
    /// Why it is not read, if for any reason.
    pub(crate) holds: Holds,
}

/// Why a connection is not read, each for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// What it brings cannot be passed on fast enough.
    pub(crate) sink: bool,
    /// Its source sends too fast, and it rests until then.
    pub(crate) rate: Option<Instant>,
    /// Another core has too much of it already.
    pub(crate) shared: bool,
    /// Sessions on it whose events nobody takes.
    pub(crate) events: u32,
}

impl Holds {
    pub(crate) fn any(self) -> bool {
        self.sink || self.rate.is_some() || self.shared || self.events > 0
    }
}

/// What is under a link.
pub(crate) enum Way {
    /// We connect.
    Opening(Box<Opening>),
    /// Handshakes of TLS or WebSocket; `Some` when we are the client.
    Shaking(Socket, Option<Box<Opening>>),
    /// Accepted; what came says not yet which core it belongs to.
    Fresh(Socket, BytesMut),
    /// Messages come and go.
    Open(Socket),
    /// The node wants it closed: what waits is written first.
    Closing(Socket),
    /// It is closed; the peer may still have to see what was written.
    Closed(Socket),
    /// Another core has the socket, or is itself at the other end.
    Shared(Home),
    /// Nothing any more.
    Gone,
}

/// A connection that we open.
pub(crate) struct Opening {
    pub(crate) hop: Hop,
    /// Addresses not tried yet, the next last.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The one being tried.
    pub(crate) stream: Option<TcpStream>,
    /// Whether some server was there that was not the one we look for.
    pub(crate) untrusted: bool,
}

/// A core that has sessions on a connection of ours.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) core: u8,
    /// Octets given to it that it has not taken yet.
    pub(crate) given: usize,
    /// Octets of it that wait here to be written.
    pub(crate) owed: usize,
}

/// The core at the other end of a link without socket.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) side: Side,
    pub(crate) core: u8,
    /// What letters call the link: the place it has at the other end, or here when we asked.
    pub(crate) link: LinkRef,
    /// Octets given to it that it has not written yet.
    pub(crate) given: usize,
    /// Octets taken that it was not told of yet.
    pub(crate) taken: usize,
}

/// What the other core is to a link without socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// It has the socket of a peer, with whom this core has sessions.
    Socket,
    /// It joined this core: there is no socket.
    Joined,
    /// This core joined it.
    Joins,
}

/// Octets or a note about a connection that two cores share.
#[derive(Debug)]
pub(crate) enum Share {
    /// To the guest: octets for it, and who sent them to which listener.
    Read(Peer, Option<u16>, Bytes),
    /// To a core that was joined: octets for it.
    Join(Bytes),
    /// To the guest: as many octets of it were written.
    Wrote(usize),
    /// To the guest: the connection is gone.
    Lost,
    /// To the home: octets to be written.
    Write(Bytes),
    /// To the home: as many octets were taken.
    Taken(usize),
    /// To the home: no session is left.
    Leave,
    /// To the home: the peer breaks the protocol, and the connection is to be closed.
    Close(parlance_msrp::CloseReason),
}

impl Link {
    pub(crate) fn new(way: Way, remote: SocketAddr, now: Instant) -> Self {
        Self {
            serial: 0,
            id: None,
            way,
            listener: None,
            remote,
            admission: None,
            guests: SmallVec::new(),
            since: now,
            received: 0,
            in_head: None,
            in_body: None,
            stalled: None,
            readable: false,
            queued: false,
            finished: false,
            holds: Holds::default(),
        }
    }

    /// Whom it counts against.
    pub(crate) fn source(&self) -> IpAddr {
        self.remote.ip()
    }

    pub(crate) fn guest(&mut self, core: u8) -> Option<&mut Guest> {
        self.guests.iter_mut().find(|guest| guest.core == core)
    }
}

/// The connections of a core.
#[derive(Default)]
pub(crate) struct Links {
    slots: Slab<Link>,
    /// Places in `slots`, by the place of the node's connection.
    by_id: Vec<usize>,
    serial: u64,
}

impl Links {
    pub(crate) fn insert(&mut self, mut link: Link) -> usize {
        self.serial += 1;
        link.serial = self.serial;
        let id = link.id;
        let key = self.slots.insert(link);
        if let Some(id) = id {
            self.name(key, id);
        }
        key
    }

    /// The node calls the link `id` from now on.
    pub(crate) fn name(&mut self, key: usize, id: ConnectionId) {
        if self.by_id.len() <= id.index() {
            self.by_id.resize(id.index() + 1, usize::MAX);
        }
        if let (Some(place), Some(link)) = (self.by_id.get_mut(id.index()), self.slots.get_mut(key))
        {
            *place = key;
            link.id = Some(id);
        }
    }

    pub(crate) fn get(&mut self, key: usize) -> Option<&mut Link> {
        self.slots.get_mut(key)
    }

    /// The place of the node's connection.
    pub(crate) fn key_of(&self, id: ConnectionId) -> Option<usize> {
        let key = *self.by_id.get(id.index())?;
        self.slots.get(key).filter(|link| link.id == Some(id)).map(|_| key)
    }

    /// What a letter calls the link.
    pub(crate) fn reference(&self, key: usize) -> Option<LinkRef> {
        self.slots.get(key).map(|link| LinkRef { key, serial: link.serial })
    }

    /// The place of a link that a letter names, if it is still there.
    pub(crate) fn resolve(&self, link: LinkRef) -> Option<usize> {
        self.slots.get(link.key).filter(|found| found.serial == link.serial).map(|_| link.key)
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<Link> {
        self.slots.try_remove(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The places there may be: all links are below.
    pub(crate) fn places(&self) -> usize {
        self.slots.capacity()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Link)> {
        self.slots.iter()
    }
}
