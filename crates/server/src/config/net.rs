//! `[net]`: connections, rates and the DNS.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use parlance_net::{ConnectionLimits, RateLimit, TlsClient};

use super::section::section;

section! {
    /// The network below the signalling: connections, rates, DNS. The limits are local; the RFCs
    /// set none unless one is named.
    pub struct Net {
        /// TCP and TLS connections at most, both ways. One more is refused.
        pub connections_max: u64 = 10_000, in 16..=1_000_000;
        /// Connections from one address that is not trusted, at most.
        pub connections_per_source_max: u64 = 64, in 1..=1_000_000;
        /// How long connecting may take, in milliseconds.
        pub connect_timeout_ms: u64 = 4_000, in 100..=60_000;
        /// How long a TLS handshake may take, in milliseconds.
        pub handshake_timeout_ms: u64 = 5_000, in 100..=60_000;
        /// How long a message may take from its first octet to its last, in seconds; then the
        /// connection is closed.
        pub message_timeout_s: u64 = 30, in 1..=600;
        /// How long 64 KiB may take to be written, in seconds; then the connection is closed.
        pub write_timeout_s: u64 = 10, in 1..=600;
        /// After how long without traffic a connection is closed, in seconds; never below one and a
        /// half times `keep_alive_s`.
        pub idle_s: u64 = 900, in 10..=86_400;
        /// The longest interval at which peers send keep-alives, in seconds (RFC 5626 §4.4.1).
        pub keep_alive_s: u64 = 840, in 1..=3_600;
        /// Messages that wait to be written to one connection, at most; then it counts as busy.
        pub outbound_messages_max: u64 = 4_096, in 16..=1_048_576;
        /// Octets that wait to be written to one connection, at most.
        pub outbound_octets_max: u64 = 4_194_304, in 65_536..=1_073_741_824;
        /// Messages a second from one address that is not trusted (IPv6: one /64); 0 for no limit.
        /// What is over it is dropped and counted.
        pub rate_per_second: u64 = 100, in 0..=1_000_000;
        /// Messages at once from it after a pause.
        pub rate_burst: u64 = 200, in 1..=1_000_000;
        /// Such addresses remembered; those beyond share one allowance.
        pub rate_sources_max: u64 = 65_536, in 16..=16_777_216;
        /// Receive buffer of each UDP socket, in octets; the kernel grants less when
        /// net.core.rmem_max is lower.
        pub udp_receive_buffer_octets: u64 = 4_194_304, in 65_536..=1_073_741_824;
        /// Name servers, address and port; none: those of /etc/resolv.conf.
        pub dns_servers: Vec<SocketAddr> = Vec::new();
        /// How long one DNS question may take, in milliseconds; below the patience of an S-CSCF.
        pub dns_timeout_ms: u64 = 2_000, in 100..=30_000;
        /// DNS answers remembered.
        pub dns_cache_entries: u64 = 4_096, in 0..=1_048_576;
        /// How long a target that failed is tried last, in seconds (RFC 3263 §4.3).
        pub quarantine_s: u64 = 30, in 0..=3_600;
        /// Root certificates that TLS servers are verified against, PEM; none: the system's.
        pub tls_roots: Option<PathBuf> = None, example "\"/etc/parlance/tls/roots.pem\"";
        /// Names that TLS servers must prove where a route has only their address, `ADDRESS=NAME`.
        pub tls_names: Vec<String> = Vec::new(), example "[\"192.0.2.1=scscf.ims.test\"]";
    }
}

impl Net {
    pub(crate) fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            total_max: size(self.connections_max),
            per_source_max: size(self.connections_per_source_max),
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
            message_timeout: Duration::from_secs(self.message_timeout_s),
            write_timeout: Duration::from_secs(self.write_timeout_s),
            idle: Duration::from_secs(self.idle_s),
            keep_alive_interval: Duration::from_secs(self.keep_alive_s),
            outbound_messages_max: size(self.outbound_messages_max),
            outbound_octets_max: size(self.outbound_octets_max),
            ..ConnectionLimits::default()
        }
    }

    pub(crate) fn rate(&self) -> Option<RateLimit> {
        let clamped = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        (self.rate_per_second > 0).then(|| RateLimit {
            per_second: clamped(self.rate_per_second),
            burst: clamped(self.rate_burst),
            sources_max: size(self.rate_sources_max),
        })
    }

    pub(crate) fn tls_client(&self) -> TlsClient {
        let names = self.tls_names.iter().filter_map(|pair| tls_name(pair)).collect();
        TlsClient { roots: self.tls_roots.clone(), names }
    }
}

/// Reads `ADDRESS=NAME`.
pub(crate) fn tls_name(pair: &str) -> Option<(IpAddr, String)> {
    let (address, name) = pair.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then_some((address.trim().parse().ok()?, name.to_owned()))
}

/// A size as the machine counts it; the ranges keep it small on every machine.
pub(crate) fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
