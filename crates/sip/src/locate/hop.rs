//! What is known of the next hop before the DNS is asked (RFC 3263 §4).

use std::net::IpAddr;

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
        let transport = match (uri.params.has("transport"), uri.transport()) {
            (false, _) => TransportParam::Absent,
            (true, Some(transport)) => TransportParam::Known(transport),
            (true, None) => TransportParam::Unknown,
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
