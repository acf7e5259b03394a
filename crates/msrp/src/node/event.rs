//! What a node tells the one who drives it.

use bytes::Bytes;

use crate::node::{CloseReason, ConnectError, ConnectionId, Hop, Peer};
use crate::session::SessionKey;

/// What happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection of ours stands, and the peer is who it has to be.
    Connected {
        /// Which.
        connection: ConnectionId,
        /// Who is there.
        peer: Peer,
    },
    /// A connection of ours could not be made. It is gone.
    ConnectFailed {
        /// Which.
        connection: ConnectionId,
        /// Why.
        error: ConnectError,
    },
    /// Octets came.
    Octets {
        /// On which connection.
        connection: ConnectionId,
        /// A slice of the buffer that was read into; what is kept of it is shared or copied.
        octets: &'a Bytes,
    },
    /// Octets were written: said when what waits fell below the low mark, or to nothing.
    Written {
        /// On which connection.
        connection: ConnectionId,
    },
    /// The connection is gone: closed by the peer, broken, or closed as we asked.
    Lost {
        /// Which.
        connection: ConnectionId,
    },
    /// Time has passed. Harmless when nothing is due.
    Timeout,
}

/// What the driver has to do, in order.
#[derive(Debug)]
pub enum Output {
    /// Something waits to be written; said once until the driver asks for the
    /// [`outbound`](crate::Node::outbound).
    Flush(ConnectionId),
    /// Connect; then say `Connected` or `ConnectFailed`. What waits is written once it stands.
    Connect {
        /// The new connection.
        connection: ConnectionId,
        /// Where to.
        to: Box<Hop>,
    },
    /// Connect to the node of this core, inside the server, and say `Connected` at once. There is
    /// one such connection to a core at a time.
    Join {
        /// The new connection.
        connection: ConnectionId,
        /// Where to; it may be the core of this node.
        core: u8,
    },
    /// Read no more from this connection.
    Pause(ConnectionId),
    /// Read again.
    Resume(ConnectionId),
    /// Write what waits as far as it goes at once, close, then say `Lost`.
    Close(ConnectionId, CloseReason),
    /// Octets of requests for a session that another core has: its node is given them as those of
    /// a connection of its own with the same peer.
    Foreign {
        /// Where they came.
        connection: ConnectionId,
        /// The core that has the session.
        core: u8,
        /// Whole heads, and bodies in pieces, in the order of the stream.
        octets: Bytes,
    },
    /// Something happened that the application has to know.
    Event(Event),
}

/// Something that the application has to know.
#[derive(Debug)]
pub enum Event {
    /// The first request for a session came, or the connection that we make for it stands: messages
    /// can go.
    Bound {
        /// Which.
        session: SessionKey,
    },
    /// A session has failed: it cannot be used again, and is gone. A new one takes a new SDP
    /// exchange (RFC 4975 §5.4).
    Lost {
        /// Which.
        session: SessionKey,
        /// Why.
        why: Lost,
    },
    /// Of a session whose messages end or begin here.
    Endpoint(Box<crate::endpoint::Event>),
    /// Of the relay.
    Relay(crate::relay::Event),
    /// Of a room.
    Switch(crate::switch::Event),
}

impl Event {
    /// The session it is about; `None` when it is about none.
    pub fn session(&self) -> Option<SessionKey> {
        match self {
            Self::Bound { session } | Self::Lost { session, .. } => Some(*session),
            Self::Endpoint(event) => Some(event.session()),
            Self::Relay(event) => event.session(),
            Self::Switch(event) => event.session(),
        }
    }
}

/// Why a session has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Its connection is gone (RFC 4975 §5.4).
    Connection,
    /// No connection could be made.
    Unconnected(ConnectError),
    /// The peer does not know the session: 481 (RFC 4975 §10.8).
    Unknown,
    /// The peer has it on another connection: 506 (RFC 4975 §10.10).
    Elsewhere,
    /// The first request was not answered within 30 s, or refused (RFC 4975 §7.1.1).
    Unanswered,
    /// A REPORT says that octets were not received (RFC 4975 §7.3.2).
    Unreceived,
    /// The path in the SDP of the peer is not the one that requests came from.
    Path,
    /// Who used it before the SDP of the peer came has shown none of the certificates in it.
    Certificate,
    /// The role gave it up; its own events say why.
    Role,
}
