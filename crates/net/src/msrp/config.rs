//! What MSRP listens on, and the limits. All of them are local; the RFCs set none unless said.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parlance_msrp::{Event, NodeConfig};

use super::AtCore;
use crate::{TlsClient, TlsServer};

/// See [`MsrpConfig::others`].
pub type Others = Arc<dyn Fn(&mut AtCore<'_>, Event) + Send + Sync>;

/// Everything [`super::Msrp::start`] needs to know.
#[derive(Clone)]
pub struct MsrpConfig {
    /// What to listen on, in every core. Default none.
    pub listeners: Vec<MsrpListener>,
    /// Cores, that is threads, 1 to 64. Default: one for each processor.
    pub cores: u8,
    /// Limits of connections.
    pub limits: MsrpLimits,
    /// Which addresses are exempt from [`MsrpLimits::per_source_max`] and
    /// [`MsrpLimits::octets_per_second`]. Default: loopback.
    pub trusted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// How we act as a TLS client; `names` is not used.
    pub tls_client: TlsClient,
    /// Takes the events of a core that are about no session that somebody
    /// [subscribed](super::AtCore::subscribe) to; called on its thread, so it must not block.
    /// Default: nothing is done.
    pub others: Others,
    /// What the machine of each core is told.
    pub node: NodeConfig,
}

impl Default for MsrpConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            listeners: Vec::new(),
            cores: u8::try_from(cores).unwrap_or(CORES_MAX).min(CORES_MAX),
            limits: MsrpLimits::default(),
            trusted: Arc::new(|address| address.is_loopback()),
            tls_client: TlsClient::default(),
            others: Arc::new(|_, _| ()),
            node: NodeConfig::default(),
        }
    }
}

/// Cores at most; local limit.
pub(crate) const CORES_MAX: u8 = 64;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsrpListener {
    /// Address and port; port 0 lets the system choose. RFC 4975 §16 registers 2855 for MSRP.
    pub address: SocketAddr,
    /// Certificate and trust; `None` speaks TCP without TLS. `client_required` and
    /// `trusted_names` are not used: who a client is decides what it may do, not whether it may
    /// connect.
    pub tls: Option<TlsServer>,
    /// Whether WebSocket is spoken (RFC 7977): `ws` without TLS, `wss` with it.
    pub websocket: bool,
}

impl MsrpListener {
    /// The certificate that we show where we connect: that of the listener which descriptions
    /// name, as its fingerprint is in them (RFC 8122 §6.2). No description names a WebSocket.
    pub(crate) fn shown<'a>(listeners: impl Iterator<Item = &'a Self>) -> Option<&'a TlsServer> {
        let secure = listeners.filter(|listener| listener.tls.is_some());
        secure.min_by_key(|listener| listener.websocket)?.tls.as_ref()
    }
}

/// Limits of the connections of all cores together, or of each where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsrpLimits {
    /// Connections in total, both ways. Default 100,000; one more is closed when accepted, and a
    /// connection we would open counts as failed.
    pub total_max: usize,
    /// Connections from one address (IPv6: one /64) that is not trusted. Default 1,024, for there
    /// may be a relay or a translator behind it; one more is closed when accepted.
    pub per_source_max: usize,
    /// Octets a second that all connections from one address (IPv6: one /64) that is not trusted
    /// may send together, after a burst of one second's. `None`, the default, is no limit. Beyond
    /// it we stop reading until the rate is kept.
    pub octets_per_second: Option<u32>,
    /// Sources remembered for it. Default 65,536; the sources beyond share one allowance.
    pub sources_max: usize,
    /// How long connecting to one address may take. Default 4 s; then the next one is tried.
    pub connect_timeout: Duration,
    /// How long handshakes of TLS and WebSocket may take together, either way. Default 5 s; then
    /// the connection is closed.
    pub handshake_timeout: Duration,
    /// How long a peer may take for its first valid request, from the end of the handshakes and on
    /// whichever core. Default 30 s (RFC 4976 §9.2); then the connection is closed.
    pub probation: Duration,
    /// How long the head of one message may take from its first octet to its last. Default 10 s;
    /// then the connection is closed.
    pub head_timeout: Duration,
    /// Octets that have to come of a body, or of a WebSocket message, in each `body_timeout` until
    /// it ends. Default 1,024; when fewer come the connection is closed.
    pub body_octets_min: u64,
    /// See `body_octets_min`. Default 120 s: who is out of reach for a minute has the time to go
    /// on, and one octet a second is too slow. The time while we do not read does not count.
    pub body_timeout: Duration,
    /// How long nothing may be taken of what waits to be written. Default 30 s, when every
    /// transaction that waits has failed (RFC 4975 §7.1.1); then the connection is closed.
    pub write_timeout: Duration,
    /// After how long without a valid request, or a piece of its body, a connection that no session
    /// uses is closed. Default 60 s.
    pub idle: Duration,
    /// After how long without traffic the system asks whether the peer is still there (TCP
    /// keep-alive); then every `keep_alive` / 4, three times. Default 2 min.
    pub keep_alive: Duration,
    /// How long a connection that ends stays open for what is not written yet, and for the peer
    /// to see it. Default 2 s.
    pub linger: Duration,
    /// Octets of one WebSocket message received. Default 1 MiB; one more closes the connection.
    pub websocket_octets_max: usize,
    /// Letters that wait for one core: commands, connections handed over, octets of shared
    /// connections. Default 16,384. At the bound a command is [`super::MsrpError::Busy`], a
    /// connection handed over is closed, and a shared connection is not read until there is room.
    pub mailbox_max: usize,
    /// Octets of one shared connection under way between two cores, each way. Default 1 MiB. At
    /// the bound the connection is not read, or not written, until the other core has caught up.
    pub shared_octets_max: usize,
    /// Sessions of all cores that go by the URI of a peer ([`super::Msrp::lent`]). Default 65,536,
    /// some 10 MB; one more has to go by a URI of ours.
    pub lent_max: usize,
}

impl Default for MsrpLimits {
    fn default() -> Self {
        Self {
            total_max: 100_000,
            per_source_max: 1024,
            octets_per_second: None,
            sources_max: 65_536,
            connect_timeout: Duration::from_secs(4),
            handshake_timeout: Duration::from_secs(5),
            probation: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            body_octets_min: 1024,
            body_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            keep_alive: Duration::from_secs(120),
            linger: Duration::from_secs(2),
            websocket_octets_max: 1024 * 1024,
            mailbox_max: 16_384,
            shared_octets_max: 1024 * 1024,
            lent_max: 65_536,
        }
    }
}
