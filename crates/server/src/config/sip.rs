//! `[sip]`: listeners, names, neighbours, timers and limits of the signalling.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use parlance_isc::ifc::{Addresses, InitialFilterCriteria, profiles, render_user};
use parlance_isc::trust::{Neighbour, PeerKind, Trust, TrustError};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::section::{Setting, Tables, leaf, read_leaf, section};
use super::{Mistakes, host_port};

section! {
    /// Signalling: where the server listens, who it is, whom it trusts, and its limits.
    pub struct Sip {
        /// Domains whose users are served; a Request-URI or identity of another domain is passed on
        /// (TS 24.229 §5.7.1.3). Read again on SIGHUP.
        pub domains: Vec<String> = vec!["ims.test".to_owned()];
        /// Names of the server beside its addresses: the hosts in the ServerName of the filter
        /// criteria, in Route and in Record-Route (RFC 3261 §16.4). With `NAME:PORT` the name is
        /// meant on that port only. The first one is our host in Warning (RFC 3261 §20.43). Read
        /// again on SIGHUP.
        pub names: Vec<String> = vec!["im.ims.test".to_owned()];
        /// Where a request goes that has no Route left, mostly the S-CSCF or a proxy before it: a
        /// SIP URI. Without one, the Request-URI decides (RFC 3261 §16.6).
        pub next_hop: Option<String> = None, example "\"sip:scscf.ims.test:5060;lr\"";
        /// Value of the Server header of responses and of the User-Agent header of requests made
        /// here (RFC 3261 §20.35, §20.41). It begins with the release (OMA-TS-SIMPLE_IM
        /// §6.1.1.1); empty for none.
        pub server: String = "IM-serv/OMA1.0 Parlance".to_owned();
        /// Whether everything on this host is trusted like an S-CSCF, whatever `peer` says.
        pub trust_loopback: bool = true;
        /// Where the identity of an originator comes from: `asserted` by a trusted peer
        /// (P-Asserted-Identity, RFC 3325), or `digest`: a request that asserts nothing, from a
        /// peer of kind `proxy`, is challenged (RFC 3261 §22); for a core without IMS.
        pub authentication: Authentication = Authentication::Asserted;
        /// File of the users for `digest`, one `user:realm:HA1` a line, HA1 in hexadecimal: 32
        /// digits for MD5, 64 for SHA-256 (RFC 8760 §2.3). Read again on SIGHUP.
        pub digest_file: Option<PathBuf> = None, example "\"/etc/parlance/digest\"";
        /// Filter criteria (TS 29.228 Annex E, XML) that decide which requests of a peer of kind
        /// `proxy` are served; without a file, those that `parlance ifc` prints. Read again on
        /// SIGHUP.
        pub filter_file: Option<PathBuf> = None, example "\"/etc/parlance/ifc.xml\"";
        /// T1, the estimate of a round trip, in milliseconds (RFC 3261 §17.1.1.1).
        pub t1_ms: u64 = 500, in 10..=5_000;
        /// T2, the longest interval between retransmissions of a request that is no INVITE, in
        /// milliseconds (RFC 3261 §17.1.2.2).
        pub t2_ms: u64 = 4_000, in 10..=60_000;
        /// T4, how long a message may stay in the network, in milliseconds (RFC 3261 §17.1.2.2).
        pub t4_ms: u64 = 5_000, in 10..=60_000;
        /// Timer C, how long a forwarded INVITE may ring, in seconds (RFC 3261 §16.6 step 11).
        pub timer_c_s: u64 = 181, in 181..=3_600;
        /// Octets of a request that go over UDP at most; a larger one goes over TCP (RFC 3261
        /// §18.1.1).
        pub udp_octets_max: u64 = 1_300, in 512..=65_000;
        /// Octets of start line and header fields of a message at most; more is answered 400. The
        /// RFC sets no limit.
        pub head_octets_max: u64 = 16_384, in 2_048..=65_535;
        /// Header fields of a message at most; more is answered 400. The RFC sets no limit.
        pub fields_max: u64 = 256, in 32..=4_096;
        /// Octets of the body of a message at most; more is answered 413. The RFC sets no limit;
        /// what a user may send is `body_bytes_max` of participating.
        pub body_octets_max: u64 = 262_144, in 1_300..=4_194_304;
        /// Messages that wait for one shard at most. One more is dropped over UDP and slows the
        /// peer down over TCP.
        pub queue_max: u64 = 8_192, in 64..=1_048_576;
        /// Milliseconds that a new request may have waited for its shard; an older one is answered
        /// 503, since its S-CSCF has begun to go on without us.
        pub lag_max_ms: u64 = 1_000, in 50..=10_000;
        /// Server transactions of one shard at most, answered ones included, which stay for 64*T1
        /// over UDP. A new request beyond gets 503.
        pub server_transactions_max: u64 = 2_000_000, in 1_000..=8_000_000;
        /// Server transactions of one shard that wait for an answer, at most. A new request beyond
        /// gets 503.
        pub unanswered_max: u64 = 50_000, in 100..=8_000_000;
        /// Client transactions of one shard at most. What needs another one fails with 480.
        pub client_transactions_max: u64 = 200_000, in 100..=8_000_000;
        /// Retry-After of such a 503, in seconds (RFC 3261 §20.33).
        pub retry_after_s: u64 = 5, in 1..=3_600;
        /// Decisions remembered by each shard, for /admin/decisions, some 200 octets each.
        pub journal_max: u64 = 16_384, in 0..=1_048_576;
        /// How long SIGTERM waits for open transactions, in seconds.
        pub drain_s: u64 = 10, in 0..=300;
        /// An address to listen on. Separate listeners for the three sides let an S-CSCF say by the
        /// port what a request is; one listener for `any` works as well, where P-Served-User, the
        /// parameter `orig` or the user part of the Route decide (TS 24.229 §5.7.1.3).
        pub listen: Tables<Listen> = Tables(vec![Listen::default()]);
        /// A neighbour that is trusted (RFC 3324 §2.3). What it asserts is believed; everybody else
        /// gets 403, and nothing of a stranger is kept. Read again on SIGHUP.
        pub peer: Tables<PeerTable> = Tables(Vec::new());
    }
}

section! {
    /// One address to listen on.
    pub struct Listen {
        /// Address and port.
        pub address: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 5060));
        /// What is spoken there: `udp`, `tcp`, `tls`. TLS needs an address of its own.
        pub transports: Vec<TransportName> = vec![TransportName::Udp, TransportName::Tcp];
        /// What the listener is for: `originating` or `terminating` requests, `registration`
        /// (third-party REGISTER), or `any`.
        pub side: Side = Side::Any;
        /// What stands in Via and Record-Route instead of the address, `HOST` or `HOST:PORT`;
        /// needed where the address is 0.0.0.0 or :: (RFC 3261 §18.1.1).
        pub advertise: Option<String> = None, example "\"im.ims.test:5060\"";
        /// Our certificate for TLS and what leads to its root, PEM. Read again on SIGHUP.
        pub certificate: Option<PathBuf> = None, example "\"/etc/parlance/tls/certificate.pem\"";
        /// Its private key, PEM. Read again on SIGHUP.
        pub key: Option<PathBuf> = None, example "\"/etc/parlance/tls/key.pem\"";
        /// Root certificates that the certificates of TLS clients are verified against, PEM;
        /// without them, clients are not asked for one. Read again on SIGHUP.
        pub client_roots: Option<PathBuf> = None, example "\"/etc/parlance/tls/roots.pem\"";
        /// Whether a TLS client without a certificate is turned away.
        pub client_required: bool = false;
    }
}

section! {
    /// A trusted neighbour.
    pub struct PeerTable {
        /// Its name in logs and in the record of decisions.
        pub name: String = String::new(), example "\"scscf\"";
        /// The networks it speaks from; with several neighbours, the longest prefix wins.
        pub networks: Vec<IpNet> = Vec::new(), example "[\"192.0.2.0/28\", \"2001:db8::/64\"]";
        /// Names in its TLS certificate, compared whole; they count before networks.
        pub certificates: Vec<String> = Vec::new(), example "[\"scscf.ims.test\"]";
        /// What it is: `isc`, an S-CSCF or another node of the core; `proxy`, a SIP proxy of a core
        /// without filter criteria; `inter-domain`, the border of another domain, which must come
        /// over TLS and be named by a certificate.
        pub kind: Kind = Kind::Isc;
    }
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransportName {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl From<TransportName> for parlance_sip::Transport {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Udp => Self::Udp,
            TransportName::Tcp => Self::Tcp,
            TransportName::Tls => Self::Tls,
        }
    }
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Everything.
    Any,
    /// What served users send.
    Originating,
    /// What served users get.
    Terminating,
    /// Third-party REGISTERs.
    Registration,
}

/// Where the identity of an originator comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// A trusted peer asserts it.
    Asserted,
    /// He proves it himself.
    Digest,
}

/// What a neighbour is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A node of the IMS core.
    Isc,
    /// A SIP proxy.
    Proxy,
    /// The border of another domain.
    InterDomain,
}

impl Sip {
    /// The name of the server in Warnings.
    pub(crate) fn host(&self) -> String {
        let named = self.names.first().and_then(|name| host_port(name));
        named.map_or("im.invalid", |(host, _)| host).to_owned()
    }

    /// The first domain served.
    pub(crate) fn domain(&self) -> &str {
        self.domains.first().map_or("im.invalid", String::as_str)
    }

    /// The identity of a service in it.
    pub(crate) fn service(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.domain())
    }

    /// The criteria applied for peers that have none; `settings_event` is the package of the
    /// settings that clients publish.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub(crate) fn filter(
        &self,
        settings_event: &str,
    ) -> Result<Vec<InitialFilterCriteria>, String> {
        let text = match &self.filter_file {
            None => {
                let settings_event = settings_event.to_owned();
                let addresses = Addresses { settings_event, ..Addresses::default() };
                render_user(&addresses, &["sip:user@ims.test"])
            }
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| format!("{}: {error}", file.display()))?,
        };
        let read = profiles(&text).map_err(|error| error.to_string())?;
        Ok(read.into_iter().flat_map(|profile| profile.criteria).collect())
    }

    /// Whom the server trusts.
    ///
    /// # Errors
    /// Every neighbour that nothing tells apart, or that must not be told apart like this.
    pub(crate) fn trust(&self) -> Result<Trust, Vec<TrustError>> {
        let neighbour = |peer: &PeerTable| Neighbour {
            name: peer.name.clone(),
            networks: peer.networks.clone(),
            certificates: peer.certificates.clone(),
            kind: match peer.kind {
                Kind::Isc => PeerKind::Isc,
                Kind::Proxy => PeerKind::Proxy,
                Kind::InterDomain => PeerKind::InterDomain,
            },
        };
        Trust::new(self.peer.iter().map(neighbour).collect(), self.trust_loopback)
    }
}

leaf!(Vec<TransportName>, Side, Authentication, Kind);
