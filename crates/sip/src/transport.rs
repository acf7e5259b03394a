//! Where a message came from and where one goes: the vocabulary between the machines and `net`.

use std::fmt;
use std::net::SocketAddr;

use crate::Reliability;

/// A transport a SIP message travels on (RFC 3261 §18, `Via` sent-protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP: unreliable, one message per datagram.
    Udp,
    /// TCP: reliable, framed by Content-Length.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl Transport {
    /// Whether the transport repairs loss by itself (RFC 3261 §17.1.1.1).
    pub fn reliability(self) -> Reliability {
        match self {
            Self::Udp => Reliability::Unreliable,
            Self::Tcp | Self::Tls => Reliability::Reliable,
        }
    }

    /// Whether the transport repairs loss by itself.
    pub fn is_reliable(self) -> bool {
        self.reliability() == Reliability::Reliable
    }

    /// The token in a `Via` sent-protocol, upper case.
    pub fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// Reads a `transport` URI parameter or `Via` token, whatever its case; `None` when unknown.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls]
            .into_iter()
            .find(|transport| token.eq_ignore_ascii_case(transport.token().as_bytes()))
    }

    /// The port used when none is written: 5060, over TLS 5061 (RFC 3261 §19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

/// Which configured listener: its position in the configuration, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// One TCP or TLS connection, unique while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Where a message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The transport it came over.
    pub transport: Transport,
    /// The address it came from.
    pub remote: SocketAddr,
    /// The listener it came to, or that the connection belongs to.
    pub listener: ListenerId,
    /// The connection it came on; `None` over UDP.
    pub connection: Option<ConnectionId>,
    /// Whether the peer proved its name by a TLS certificate that the listener is told to trust.
    pub verified: bool,
}

/// Where a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The transport to use.
    pub transport: Transport,
    /// The address to send to; also what to connect to when `connection` is gone.
    pub remote: SocketAddr,
    /// The listener whose address is the source and stands in our `Via`.
    pub listener: ListenerId,
    /// An open connection to prefer (responses, RFC 3261 §18.2.2).
    pub connection: Option<ConnectionId>,
}

impl Source {
    /// Where an answer on the same path goes, before `Via` is looked at.
    pub fn back(&self) -> Target {
        Target {
            transport: self.transport,
            remote: self.remote,
            listener: self.listener,
            connection: self.connection,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_whatever_their_case() {
        assert_eq!(Transport::from_token(b"udp"), Some(Transport::Udp));
        assert_eq!(Transport::from_token(b"Tls"), Some(Transport::Tls));
        assert_eq!(Transport::from_token(b"SCTP"), None);
    }
}
