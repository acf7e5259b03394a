//! What to listen on, and the limits. All of them are local; the RFCs set none unless said.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parlance_sip::Transport;
use parlance_sip::message::Limits;

/// Everything [`crate::Net::bind`] needs to know.
#[derive(Clone)]
pub struct NetConfig {
    /// What to listen on; a [`parlance_sip::ListenerId`] is a position in this list. At most
    /// 65,536.
    pub listeners: Vec<Listener>,
    /// How large a message may be.
    pub limits: Limits,
    /// Limits of TCP and TLS connections.
    pub connections: ConnectionLimits,
    /// How fast a source that is not [trusted](Self::trusted) may send; `None` is no limit.
    pub rate: Option<RateLimit>,
    /// Which addresses are exempt from `rate` and from [`ConnectionLimits::per_source_max`].
    pub trusted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// How we act as a TLS client.
    pub tls_client: TlsClient,
    /// Socket receive buffer of each UDP listener in octets. Default 4 MiB; the kernel grants less
    /// when `net.core.rmem_max` is lower and we lack `CAP_NET_ADMIN`.
    pub udp_receive_buffer_octets: usize,
}

impl Default for NetConfig {
    /// No listeners, default limits, loopback trusted.
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            limits: Limits::default(),
            connections: ConnectionLimits::default(),
            rate: Some(RateLimit::default()),
            trusted: Arc::new(|address| address.is_loopback()),
            tls_client: TlsClient::default(),
            udp_receive_buffer_octets: 4 * 1024 * 1024,
        }
    }
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 lets the system choose. On an unspecified address the system also
    /// chooses the source address of what is sent.
    pub address: SocketAddr,
    /// The transport spoken there.
    pub transport: Transport,
    /// Certificate and trust; required for [`Transport::Tls`], unused otherwise.
    pub tls: Option<TlsServer>,
}

/// The TLS server side of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsServer {
    /// Our certificate and what leads to its root, PEM, leaf first. We show it as a client of this
    /// listener too (RFC 5923).
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Root certificates (PEM) that client certificates are verified against; `None` asks for
    /// none.
    pub client_roots: Option<PathBuf>,
    /// Whether a client without a certificate is turned away. Default false.
    pub client_required: bool,
    /// The names that make a peer [verified](parlance_sip::Source::verified) (SEC-004), compared
    /// with the DNS and `sip:` URI names of its certificate (RFC 5922 §7.1). Empty: every peer
    /// whose certificate leads to `client_roots`.
    pub trusted_names: Vec<String>,
}

/// The TLS client side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsClient {
    /// Root certificates (PEM) that servers are verified against; `None` takes the system's,
    /// `/etc/ssl/certs/ca-certificates.crt`, if it is there.
    pub roots: Option<PathBuf>,
    /// The name a server at an address must prove when the caller gives none, for operators that
    /// write addresses into their routes. Without an entry it must prove the address itself.
    pub names: Vec<(IpAddr, String)>,
}

/// Limits of TCP and TLS connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections in total, both ways. Default 10,000; one more is refused, or closed at once.
    pub total_max: usize,
    /// Connections from one address (IPv6: one /64) that is not trusted. Default 64; one more is
    /// closed at once.
    pub per_source_max: usize,
    /// How long connecting may take. Default 4 s, so that another target can still be tried.
    pub connect_timeout: Duration,
    /// How long a TLS handshake may take, either way. Default 5 s.
    pub handshake_timeout: Duration,
    /// How long a message may take from its first to its last octet. Default 30 s; then the
    /// connection is closed.
    pub message_timeout: Duration,
    /// How long 64 KiB may take to be written. Default 10 s; then the connection is closed.
    pub write_timeout: Duration,
    /// After how long without traffic a connection is closed. Default 15 min; raised to
    /// `keep_alive_interval` and a half when that is more (CORE-060).
    pub idle: Duration,
    /// The longest interval at which peers send keep-alives. Default 840 s, the upper bound of
    /// RFC 5626 §4.4.1 for devices that run on batteries.
    pub keep_alive_interval: Duration,
    /// How long a connection stays open for answers after the peer has finished sending, or has
    /// sent what cannot be framed. Default 2 s.
    pub linger: Duration,
    /// Messages that wait to be written to one connection. Default 4,096; one more is
    /// [`crate::TransmitError::Busy`].
    pub outbound_messages_max: usize,
    /// Octets that wait to be written to one connection. Default 4 MiB; one more is
    /// [`crate::TransmitError::Busy`].
    pub outbound_octets_max: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total_max: 10_000,
            per_source_max: 64,
            connect_timeout: Duration::from_secs(4),
            handshake_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            idle: Duration::from_secs(15 * 60),
            keep_alive_interval: Duration::from_secs(840),
            linger: Duration::from_secs(2),
            outbound_messages_max: 4096,
            outbound_octets_max: 4 * 1024 * 1024,
        }
    }
}

impl ConnectionLimits {
    /// The idle time in force: never below the keep-alive interval, with room for a late one.
    pub fn idle_effective(&self) -> Duration {
        self.idle.max(self.keep_alive_interval.saturating_mul(3) / 2)
    }
}

/// How fast one source may send: a token bucket for each address (IPv6: each /64). A connection
/// costs as much as a message. Beyond it datagrams and connections are dropped, streams slowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Messages per second in the long run, at least 1. Default 100.
    pub per_second: u32,
    /// Messages at once after a pause, at least 1. Default 200.
    pub burst: u32,
    /// Sources remembered. Default 65,536; the sources beyond share one bucket.
    pub sources_max: usize,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { per_second: 100, burst: 200, sources_max: 65_536 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: CORE-060
    #[test]
    fn idle_is_never_below_the_keep_alive_interval() {
        let limits = |idle, keep_alive| ConnectionLimits {
            idle: Duration::from_secs(idle),
            keep_alive_interval: Duration::from_secs(keep_alive),
            ..ConnectionLimits::default()
        };
        assert_eq!(limits(10, 120).idle_effective(), Duration::from_secs(180));
        assert_eq!(limits(900, 120).idle_effective(), Duration::from_secs(900));
        let default = ConnectionLimits::default();
        assert!(default.idle_effective() > default.keep_alive_interval);
    }
}
