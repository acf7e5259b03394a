//! What cores are sent: commands from other threads, and what cores have to tell each other.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

use super::AtCore;
use super::link::{LinkRef, Share};
use super::socket::Socket;
use crate::admission::Admission;

/// What [`Msrp::run`](super::Msrp::run) brings.
pub(crate) type Command = Box<dyn FnOnce(&mut AtCore<'_>) + Send>;

/// One letter.
pub(crate) enum Letter {
    /// A command: done between two inputs.
    Run(Command),
    /// A connection whose first request is for a session of this core.
    Moved(Box<Moved>),
    /// The addresses of a host that was asked for; none when it has none.
    Resolved(LinkRef, Vec<SocketAddr>),
    /// About a connection that is shared: to the core that has sessions on it, named by the place
    /// it has in the core that sent this.
    ToGuest(u8, LinkRef, Share),
    /// To the core that has the connection, from a core that has sessions on it.
    ToHome(u8, LinkRef, Share),
    /// Accept nothing any more.
    Refuse,
    /// End: everything by then at the latest.
    End(Instant),
}

/// A connection on its way to another core.
pub(crate) struct Moved {
    pub(crate) socket: Socket,
    /// What came on it, which is not used yet.
    pub(crate) octets: BytesMut,
    pub(crate) listener: Option<u16>,
    pub(crate) remote: SocketAddr,
    pub(crate) admission: Option<Admission>,
    pub(crate) since: Instant,
    /// Until when it is not read, if its source sent too fast.
    pub(crate) rests: Option<Instant>,
}
