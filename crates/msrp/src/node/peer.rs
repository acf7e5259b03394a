//! The other end of a connection: who it is, and where to find it.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use parlance_sip::sdp::Fingerprint;

use crate::FrameError;

/// One connection of a [`Node`](crate::Node), which gives the number: unique while the node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    index: u32,
    generation: u32,
}

impl ConnectionId {
    pub(crate) fn new(index: usize, generation: u32) -> Self {
        Self { index: u32::try_from(index).unwrap_or(u32::MAX), generation }
    }

    /// Its place, dense from 0; used again after the connection was lost.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Which connection at its place it is.
    pub fn generation(self) -> u32 {
        self.generation
    }
}

/// Who is at the other end of a connection, as far as the transport knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub remote: SocketAddr,
    /// Our address.
    pub local: SocketAddr,
    /// What TLS says of it; `None` over plain TCP.
    pub tls: Option<Box<Tls>>,
    /// Whether the connection is a WebSocket (RFC 7977).
    pub websocket: bool,
}

/// What the TLS handshake said of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The names in the SubjectAltName of a certificate that leads to our roots; empty otherwise.
    pub names: Vec<Box<str>>,
    /// The certificate itself (DER), for `a=fingerprint` (RFC 8122).
    pub certificate: Option<Bytes>,
}

/// Where to connect to, and whom to expect there (RFC 4975 §5.4, §14.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// Whether the connection is protected with TLS (`msrps`).
    pub secure: bool,
    /// Host name or address, as in the URI, an IPv6 address in brackets; the certificate is for it.
    pub host: Box<str>,
    /// The port; `None` asks for SRV records (`_msrps._tcp`, RFC 4976 §8), then 2855.
    pub port: Option<u16>,
    /// Connect here instead: the `c=` and `m=` lines of the peer (RFC 6714 §4.1).
    pub through: Option<(Box<str>, u16)>,
    /// The certificates one of which a peer without a name has to show (RFC 8122 §5).
    pub fingerprints: Vec<Fingerprint>,
}

/// Why a connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The host has no address.
    Unresolved,
    /// Nobody answered in time, or it was refused.
    Unreachable,
    /// The certificate was not that of the peer (RFC 4975 §14.4).
    Certificate,
}

/// Why the node wants a connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Nothing valid came within the time an unknown peer has (RFC 4976 §6.1).
    Probation,
    /// What came cannot be read on (RFC 4975 §7.3.1; local limits).
    Framing(FrameError),
    /// A request has a path to which nothing can be answered (RFC 4975 §7.2).
    Path,
    /// A request to be forwarded was not addressed to us (RFC 4976 §6.4).
    NotOurs,
    /// Several wrong credentials (RFC 4976).
    Credentials,
    /// The peer has shown none of the certificates that the SDP of a session names (RFC 8122 §6.2).
    Certificate,
    /// No session is left on a connection that we opened.
    Unused,
    /// What waits to be written has reached its limit.
    Slow,
}

/// What the driver may want to know of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When a valid request of it came last, or somebody else needed it; `None`: no request yet.
    pub used: Option<Instant>,
    /// Sessions that are bound to it.
    pub sessions: usize,
    /// A head has begun and not ended.
    pub in_head: bool,
    /// A body has begun and not ended.
    pub in_body: bool,
    /// Octets in memory that wait to be written.
    pub queued: usize,
}
