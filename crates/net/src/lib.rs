//! Sockets, TLS and DNS under the SIP and MSRP machines.
//!
//! Covers the transport layer of RFC 3261 §18 over UDP, TCP and TLS, connection reuse, the
//! keep-alives of RFC 5626 §4.4.1 and §5.4, the certificate rules of RFC 5922, and the look-ups of
//! RFC 3263. It leaves out SCTP and SIP over WebSocket, multicast, STUN keep-alives
//! (RFC 5626 §4.4.2), and the `alias` parameter of RFC 5923. Which transport a request takes
//! (RFC 3261 §18.1.1), what a `Via` says and where a response goes (§18.2) is decided above.
//!
//! Start with [`Net::bind`]; what arrives goes to a [`Deliver`], what leaves comes through
//! [`Net::transmit`], and a [`Resolver`] turns a URI into targets. For MSRP, over TCP, TLS and
//! WebSocket (RFC 7977), see [`msrp`].
//!
//! **Invariant:** all SIP received, accepted and connected runs on the runtimes that `bind_on` was
//! given; work is shared out after framing, by `Deliver`, because one S-CSCF is one 4-tuple.
//! MSRP has threads of its own.
//!
//! **Invariant:** no lock is held while a foreign function is called or across an await.
//!
//! **Invariant:** nothing here looks into a message: framing and indexing are those of `sip` and
//! `msrp`; of MSRP only the session of the first To-Path is looked for.

mod admission;
mod config;
mod connection;
mod deliver;
mod meter;
pub mod msrp;
mod net;
mod rate;
mod resolver;
mod runtimes;
mod shared;
mod stream;
mod tls;
mod udp;

pub use config::{ConnectionLimits, Listener, NetConfig, RateLimit, TlsClient, TlsServer};
pub use deliver::{Deliver, Received, Refused, TransmitError};
pub use meter::describe_metrics;
pub use msrp::{MsrpConfig, MsrpLimits, MsrpListener};
pub use net::{Batch, BindError, BindFailure, BindReason, Net};
pub use resolver::{Resolver, ResolverConfig, ResolverError};
pub use runtimes::Runtimes;
pub use tls::{Peer, TlsError};
