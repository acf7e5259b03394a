//! The outside of a shard: where its messages go and who answers its questions of names.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use parlance_sip::locate::{self, Candidate};
use parlance_sip::uri::Uri;
use parlance_sip::{ClientKey, ListenerId, Target, Transport};
use smallvec::SmallVec;

/// Targets in the order to try (RFC 3263 §4.3).
pub type Targets = SmallVec<[Target; 2]>;

/// An answer that takes time.
pub type Lookup = Pin<Box<dyn Future<Output = Targets>>>;

/// The network under a shard: `net` in the server, a simulated one in the lab.
pub trait Wire {
    /// Puts a message on the wire without waiting. A request that cannot be sent is reported by
    /// `false` here, or later as [`crate::ShardInput::Undeliverable`].
    fn transmit(&self, target: &Target, bytes: Bytes, client: Option<ClientKey>) -> bool;

    /// Finds the targets of a host that is a name (RFC 3263), those that failed lately last; empty
    /// when there are none. The same for an address reached over TLS, of which it notes what a
    /// certificate there must prove, and for one that a large request may reach in two ways.
    fn lookup(&self, hop: &NextHop) -> Lookup;
}

/// Where a request goes next (RFC 3261 §8.1.2, RFC 3263 §4), and from which listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// What its URI says.
    pub place: locate::NextHop,
    /// The listener to send from.
    pub listener: ListenerId,
}

impl NextHop {
    /// Reads the facts off a URI; `None` unless it is a sip or sips URI.
    pub fn of(uri: &Uri<'_>, listener: ListenerId) -> Option<Self> {
        let Uri::Sip(sip) = uri else { return None };
        Some(Self { place: locate::NextHop::of(sip, false), listener })
    }

    /// The target, when the host is an address and no question is needed; none where we do not
    /// have the transport. [`Wire::lookup`] is asked all the same over TLS, and for a request too
    /// large for UDP: a host without TCP is not tried over it each time (RFC 3261 §18.1.1).
    pub fn numeric(&self, locals: &Locals) -> Option<Targets> {
        let found = self.place.numeric(|transport| locals.has(transport))?;
        let targets: Targets =
            found.into_iter().flatten().map(|found| self.target(&found)).collect();
        let is_noted = |target: &Target| target.transport == Transport::Tls;
        (targets.len() < 2 && !targets.iter().any(is_noted)).then_some(targets)
    }

    /// A place of this hop as a target.
    pub fn target(&self, found: &Candidate) -> Target {
        let Candidate { transport, address: remote } = *found;
        Target { transport, remote, listener: self.listener, connection: None }
    }
}

/// One socket of ours, as far as a shard must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its number.
    pub id: ListenerId,
    /// What it speaks.
    pub transport: Transport,
    /// The `host:port` that stands in our `Via` and `Record-Route`.
    pub sent_by: String,
}

/// What a SIP URI says behind its host to be reached over `transport` (RFC 3261 §19.1.1): nothing
/// for UDP, which is the default.
pub fn transport_parameter(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
    }
}

/// Our sockets, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locals(pub Vec<Local>);

impl Locals {
    /// The socket with this number.
    pub fn at(&self, id: ListenerId) -> Option<&Local> {
        self.0.get(usize::from(id.0))
    }

    /// Whether there is one for `transport`.
    pub fn has(&self, transport: Transport) -> bool {
        self.0.iter().any(|local| local.transport == transport)
    }

    /// The socket to send from over `transport`, near the one numbered `near`: itself, one with
    /// the same address, or else any with that transport.
    pub fn near(&self, near: ListenerId, transport: Transport) -> Option<ListenerId> {
        let same = self.at(near);
        let mut fitting = self.0.iter().filter(|local| local.transport == transport);
        let first = fitting.clone().next()?;
        let best = fitting.find(|local| same.is_some_and(|same| same.sent_by == local.sent_by));
        Some(best.unwrap_or(first).id)
    }

    /// Whether a URI host and port are ours (RFC 3261 §16.4).
    pub fn is_ours(&self, host: &str, port: Option<u16>) -> bool {
        // Most hosts are somebody else's, which their beginning tells.
        let begins = |local: &&Local| {
            let sent_by = local.sent_by.as_bytes();
            let sent_by = sent_by.strip_prefix(b"[").unwrap_or(sent_by);
            sent_by.get(..host.len()).is_some_and(|text| text.eq_ignore_ascii_case(host.as_bytes()))
        };
        self.0.iter().filter(begins).any(|local| {
            let port = port.unwrap_or_else(|| local.transport.default_port());
            local.host().eq_ignore_ascii_case(host) && local.port() == Some(port)
        })
    }
}

impl Local {
    /// Its host; the brackets of an IPv6 address go.
    fn host(&self) -> &str {
        split(&self.sent_by).0
    }

    /// Its port.
    pub(crate) fn port(&self) -> Option<u16> {
        split(&self.sent_by).1.parse().ok()
    }
}

/// Splits `host:port`; brackets of an IPv6 address go.
fn split(sent_by: &str) -> (&str, &str) {
    let (host, port) = match sent_by.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (sent_by, "5060"),
    };
    (host.trim_matches(['[', ']']), port)
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}
