//! What is known of the next hop before the DNS is asked (RFC 3263 §4).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use smallvec::{SmallVec, smallvec};

use super::{Candidate, LocateError};
use crate::{Transport, uri};

/// The host of a URI or of a `Via`: the TARGET of §4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// A domain name.
    Name(String),
    /// A numeric address.
    Address(IpAddr),
}

impl TargetHost {
    /// Reads a host as it is written in a URI, IPv6 in brackets; every other text is a name.
    pub fn parse(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        match bare.unwrap_or(text).parse() {
            Ok(address) => Self::Address(address),
            Err(_) => Self::Name(text.to_owned()),
        }
    }
}

/// As it is written in a URI.
impl fmt::Display for TargetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl From<uri::Host<'_>> for TargetHost {
    fn from(host: uri::Host<'_>) -> Self {
        match host.ip() {
            Some(address) => Self::Address(address),
            None => Self::Name(host.as_str().to_owned()),
        }
    }
}

/// The `transport` parameter of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportParam {
    /// There is none.
    Absent,
    /// A transport that this server has words for.
    Known(Transport),
    /// Any other value, `sctp` or `ws`.
    Unknown,
}

/// What is known of the next hop: a URI of a route set, a Request-URI or the host of a `Via`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// Whether the scheme is `sips`.
    pub sips: bool,
    /// The host.
    pub host: TargetHost,
    /// The port, if written.
    pub port: Option<u16>,
    /// The `transport` parameter.
    pub transport: TransportParam,
    /// The `maddr` parameter: goes before the host (§4).
    pub maddr: Option<TargetHost>,
    /// Whether the request is too large for UDP: TCP is tried first at the same place, UDP after
    /// everything else (RFC 3261 §18.1.1).
    pub large: bool,
}

impl NextHop {
    /// The next hop that `uri` names, for a request that is `large` or not.
    pub fn of(uri: &uri::SipUri<'_>, large: bool) -> Self {
        let known = |token: &str| Transport::from_token(token.as_bytes());
        let transport = match uri.params.first("transport") {
            None => TransportParam::Absent,
            Some(token) => {
                token.and_then(known).map_or(TransportParam::Unknown, TransportParam::Known)
            }
        };
        Self {
            sips: uri.secure,
            host: uri.host.into(),
            port: uri.port,
            transport,
            maddr: uri.maddr().map(TargetHost::from),
            large,
        }
    }

    /// The TARGET of §4: `maddr`, or else the host.
    pub fn target(&self) -> &TargetHost {
        self.maddr.as_ref().unwrap_or(&self.host)
    }

    /// Where it is, when its target is an address and nothing need be asked (§4.1, §4.2): one
    /// place, over TCP first when the request is too large for UDP. `has` says which transports
    /// this server has.
    pub fn numeric(
        &self,
        has: impl Fn(Transport) -> bool,
    ) -> Option<Result<SmallVec<[Candidate; 2]>, LocateError>> {
        let TargetHost::Address(address) = self.target() else { return None };
        let at = |transport: Transport| {
            let port = self.port.unwrap_or_else(|| transport.default_port());
            Candidate { transport, address: SocketAddr::new(*address, port) }
        };
        Some(self.transport(&has).map(|(_, transport)| match transport {
            Transport::Udp if self.large && has(Transport::Tcp) => {
                let address = at(Transport::Udp).address;
                smallvec![Candidate { transport: Transport::Tcp, address }, at(Transport::Udp)]
            }
            transport => smallvec![at(transport)],
        }))
    }

    /// The transport, and whether the URI asks for it (§4.1): else it is the one for a target that
    /// shows none.
    pub(super) fn transport(
        &self,
        has: impl Fn(Transport) -> bool,
    ) -> Result<(bool, Transport), LocateError> {
        let default: &[Transport] = match self.sips {
            true => &[Transport::Tls],
            false => &[Transport::Udp, Transport::Tcp, Transport::Tls],
        };
        let asked = self.transport != TransportParam::Absent;
        let found = match (self.transport, self.sips) {
            (TransportParam::Absent, _) => {
                default.iter().copied().find(|transport| has(*transport))
            }
            (TransportParam::Known(Transport::Tcp | Transport::Tls), true) => Some(Transport::Tls),
            (TransportParam::Known(transport), false) => Some(transport),
            (TransportParam::Known(Transport::Udp), true) | (TransportParam::Unknown, _) => None,
        };
        let found = found.filter(|transport| has(*transport));
        found.map(|transport| (asked, transport)).ok_or(LocateError::UnsupportedTransport)
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.target())?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What this server can send with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The transports it has, the preferred first. The order counts when the domain shows none.
    pub transports: Vec<Transport>,
    /// Whether it reaches IPv4 addresses.
    pub ipv4: bool,
    /// Whether it reaches IPv6 addresses.
    pub ipv6: bool,
}
