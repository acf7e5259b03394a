//! `[msrp]`: the sockets and limits of MSRP, and its relay.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parlance_isc::media::{Security, TlsRules};
use parlance_msrp::header::FailureReport;
use parlance_msrp::relay::{NextHops, PeerRelays, RelayConfig};
use parlance_msrp::switch::SwitchConfig;
use parlance_msrp::{Limits, Marks, NodeConfig};
use parlance_net::{MsrpConfig, MsrpLimits, MsrpListener, TlsClient, TlsServer};
use parlance_sip::Transport;
use serde::{Deserialize, Serialize};
use toml::Value;

use super::check::{Taken, check_file};
use super::net::size;
use super::section::{Setting, Tables, leaf, read_leaf, section};
use super::{Mistakes, host_port};

section! {
    /// MSRP (RFC 4975): sessions, rooms and relays. It has threads and connections of its own, and
    /// none of it runs without a listener, `listen = []`. The limits are local; the RFCs set none
    /// unless one is named. Changed by a restart only, but for certificates and `digest_file`.
    pub struct Msrp {
        /// Threads; 0: one for each processor.
        pub cores: u64 = 0, in 0..=64;
        /// Connections at most, both ways. One more is closed when accepted, and one to be opened
        /// fails.
        pub connections_max: u64 = 100_000, in 16..=4_000_000;
        /// Connections from one address that is not trusted (IPv6: one /64), at most.
        pub connections_per_source_max: u64 = 1_024, in 1..=4_000_000;
        /// Octets a second from one address that is not trusted (IPv6: one /64), over all its
        /// connections; 0 for no limit. What is over it is read later.
        pub octets_per_second: u64 = 0, in 0..=4_000_000_000;
        /// Such addresses remembered; those beyond share one allowance.
        pub sources_max: u64 = 65_536, in 16..=16_777_216;
        /// How long connecting to one address may take, in milliseconds; then the next is tried.
        pub connect_timeout_ms: u64 = 4_000, in 100..=60_000;
        /// How long the handshakes of TLS and WebSocket may take, in milliseconds.
        pub handshake_timeout_ms: u64 = 5_000, in 100..=60_000;
        /// How long a peer may take for its first valid request, in seconds (RFC 4976 §6.1); then
        /// the connection is closed.
        pub probation_s: u64 = 30, in 1..=600;
        /// How long the head of a message may take, in seconds; then the connection is closed.
        pub head_timeout_s: u64 = 10, in 1..=600;
        /// Octets that have to come of a body, or of a WebSocket message, in each `body_timeout_s`
        /// until its end; then the connection is closed.
        pub body_octets_min: u64 = 1_024, in 1..=1_048_576;
        /// See `body_octets_min`, in seconds.
        pub body_timeout_s: u64 = 120, in 10..=86_400;
        /// How long a peer may take nothing of what waits for it, in seconds; then the connection
        /// is closed.
        pub write_timeout_s: u64 = 30, in 1..=600;
        /// After how long without a valid request, or a piece of the body of one, a connection that
        /// no session uses is closed, in seconds.
        pub idle_s: u64 = 60, in 1..=86_400;
        /// After how long without traffic the system asks whether a peer is still there, in seconds
        /// (TCP keep-alive).
        pub tcp_keep_alive_s: u64 = 120, in 4..=32_767;
        /// After how long without a request of ours an empty SEND is sent, in seconds; 0 for never.
        pub keep_alive_s: u64 = 0, in 0..=86_400;
        /// Octets that wait for one peer above which nothing is read from those that send to it.
        pub outbound_high_octets: u64 = 262_144, in 16_384..=1_073_741_824;
        /// Octets that wait for one peer below which they are read again.
        pub outbound_low_octets: u64 = 65_536, in 4_096..=1_073_741_824;
        /// Octets of the head of a message at most; more closes the connection.
        pub head_octets_max: u64 = 8_192, in 1_024..=65_536;
        /// Octets of one WebSocket message at most (RFC 7977); more closes the connection.
        pub websocket_octets_max: u64 = 1_048_576, in 16_384..=67_108_864;
        /// Commands and connections that wait for one thread at most. A command beyond is refused,
        /// a connection is closed.
        pub mailbox_max: u64 = 16_384, in 64..=1_048_576;
        /// Octets of a connection with sessions on several threads that are under way between two
        /// of them; beyond, it is not read.
        pub shared_octets_max: u64 = 1_048_576, in 65_536..=1_073_741_824;
        /// What the recipients of copies in rooms are asked to answer: `partial`, failures only;
        /// `yes`, every copy, and one that is not answered within 30 s counts as dropped
        /// (`Failure-Report`, RFC 7701 §6.1).
        pub recipients_answer: RecipientsAnswer = RecipientsAnswer::Partial;
        /// Octets that may wait to be written for one participant of a room; a message that would
        /// be more is dropped for that participant.
        pub queue_octets_max: u64 = 8_388_608, in 65_536..=1_073_741_824;
        /// Messages dropped one after the other for one participant after which the participant is
        /// taken out.
        pub drops_max: u32 = 32, in 0..=1_000_000;
        /// How long a message in a room may wait for its next chunk, in seconds.
        pub chunk_timeout_s: u64 = 540, in 30..=86_400;
        /// Messages that one participant of a room may have begun and not ended; one more is
        /// answered 413.
        pub open_messages_max: u64 = 16, in 1..=1_024;
        /// How long what waits may take to be written when the server ends, in seconds.
        pub drain_s: u64 = 5, in 0..=600;
        /// Whether clients get relaying by AUTH (RFC 4976), at the first listener with TLS.
        pub relay: bool = false;
        /// Whether AUTH is taken over TLS only, as it must be (RFC 4976 §9.2). `false` is for
        /// laboratories: where no listener has TLS, the relay is at the first one, and what it
        /// hands out can be read on the way.
        pub auth_needs_tls: bool = true;
        /// The realm of its users; none: the host of that listener (RFC 4976 §5.1).
        pub realm: Option<String> = None, example "\"ims.test\"";
        /// File of its users, one `user:realm:HA1` a line as in `digest_file` of sip. Read again on
        /// SIGHUP.
        pub digest_file: Option<PathBuf> = None, example "\"/etc/parlance/digest\"";
        /// The shortest time that a URI of the relay is granted for, in seconds; a shorter one is
        /// answered 423 (RFC 4976 §6.3).
        pub expires_min_s: u64 = 60, in 1..=86_400;
        /// The time granted when nothing is asked, in seconds.
        pub expires_default_s: u64 = 900, in 1..=604_800;
        /// The longest, in seconds; a longer one is answered 423.
        pub expires_max_s: u64 = 3_600, in 1..=604_800;
        /// How long a nonce is good, in seconds (RFC 7616 §5.4).
        pub nonce_life_s: u64 = 300, in 5..=86_400;
        /// URIs granted at a time on each thread; one more is answered 403.
        pub grants_max: u64 = 100_000, in 1..=10_000_000;
        /// The hosts that clients may have requests sent to, each a name or an address as in URIs,
        /// or `.domain` for all names under it; elsewhere they are answered 403. None: anywhere,
        /// what only this server can reach included.
        pub next_hops: Vec<String> = Vec::new(), example "[\".ims.test\"]";
        /// The other relays that may send the AUTHs of their clients, by the names in their
        /// certificates (RFC 4976 §6.3). None: all that prove their name.
        pub peer_relays: Vec<String> = Vec::new(), example "[\"relay.example.com\"]";
        /// Whether requests of methods that nobody here knows are passed on (RFC 4976 §6.4.2);
        /// otherwise they are answered 501.
        pub passes_unknown_methods: bool = true;
        /// Failed AUTHs after which the connection of a client is closed.
        pub auth_failures_max: u64 = 5, in 1..=255;
        /// Whether MSRP with a peer is over TLS: `off`, never; `prefer`, as its offer says, and our
        /// offers are with TLS first, without when that is refused; `require`, always. Our offers
        /// are without TLS where no listener has a certificate. A peer whose description has
        /// fingerprints has to show one of those certificates where it connects (RFC 8122 §6.2).
        pub tls: TlsUse = TlsUse::Prefer;
        /// The addresses to listen on; `listen = []`: there is no MSRP. The first without and the
        /// first with a certificate, WebSocket aside, are those that our descriptions name; the
        /// certificate of the latter is shown where we connect.
        pub listen: Tables<MsrpListen> = Tables(vec![MsrpListen::default()]);
        /// Peers for whom `tls` is another.
        pub peer: Tables<MsrpPeer> = Tables(Vec::new());
    }
}

section! {
    /// Whether MSRP with the users of one domain is over TLS.
    pub struct MsrpPeer {
        /// The domain of the SIP URI of the peer.
        pub domain: String = String::new(), example "\"ims.test\"";
        /// As in msrp.
        pub tls: TlsUse = TlsUse::Prefer;
    }
}

leaf!(RecipientsAnswer);

/// What recipients of copies in rooms are asked to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipientsAnswer {
    /// Failures.
    Partial,
    /// Everything.
    Yes,
}

impl From<RecipientsAnswer> for FailureReport {
    fn from(answer: RecipientsAnswer) -> Self {
        match answer {
            RecipientsAnswer::Partial => Self::Partial,
            RecipientsAnswer::Yes => Self::Yes,
        }
    }
}

leaf!(TlsUse);

/// Whether a peer is spoken to over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsUse {
    /// Never.
    Off,
    /// As the peer wants.
    Prefer,
    /// Always.
    Require,
}

impl From<TlsUse> for Security {
    fn from(tls: TlsUse) -> Self {
        match tls {
            TlsUse::Off => Self::Off,
            TlsUse::Prefer => Self::Prefer,
            TlsUse::Require => Self::Require,
        }
    }
}

section! {
    /// One address to listen on.
    pub struct MsrpListen {
        /// Address and port; without one 127.0.0.1:2855, whose port is registered for MSRP
        /// (RFC 4975 §15.4), and with a certificate 127.0.0.1:2856.
        pub address: Option<SocketAddr> = None, example "\"127.0.0.1:2855\"";
        /// What stands in our URIs instead of the address, `HOST` or `HOST:PORT`; a name that the
        /// certificate is for, and needed where the address is 0.0.0.0 or ::.
        pub advertise: Option<String> = None, example "\"im.ims.test:2855\"";
        /// Whether WebSocket is spoken (RFC 7977): ws without a certificate, wss with one.
        pub websocket: bool = false;
        /// Our certificate and what leads to its root, PEM; with it TLS is spoken. Read again on
        /// SIGHUP.
        pub certificate: Option<PathBuf> = None, example "\"/etc/parlance/tls/certificate.pem\"";
        /// Its private key, PEM. Read again on SIGHUP.
        pub key: Option<PathBuf> = None, example "\"/etc/parlance/tls/key.pem\"";
        /// Root certificates that other relays are verified against, PEM; without them, every peer
        /// is a client (RFC 4976 §9.2). Read again on SIGHUP.
        pub client_roots: Option<PathBuf> = None, example "\"/etc/parlance/tls/roots.pem\"";
    }
}

/// The registered port (RFC 4975 §15.4), and the one beside it for TLS.
const PORT: u16 = 2855;
const TLS_PORT: u16 = 2856;

impl MsrpListen {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        let port = if self.is_secure() { TLS_PORT } else { PORT };
        self.address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.certificate.is_some()
    }

    fn listener(&self) -> MsrpListener {
        let files = self.certificate.clone().zip(self.key.clone());
        let tls = files.map(|(certificate, key)| TlsServer {
            certificate,
            key,
            client_roots: self.client_roots.clone(),
            client_required: false,
            trusted_names: Vec::new(),
        });
        MsrpListener { address: self.address(), tls, websocket: self.websocket }
    }
}

impl Msrp {
    /// Whether there is anything to run.
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty()
    }

    /// What the driver is told; `trusted` are the addresses without limits.
    pub(crate) fn driver(
        &self,
        trusted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
        tls_client: TlsClient,
    ) -> MsrpConfig {
        let default = MsrpConfig::default();
        let cores = u8::try_from(self.cores).ok().filter(|cores| *cores > 0);
        MsrpConfig {
            listeners: self.listen.iter().map(MsrpListen::listener).collect(),
            cores: cores.unwrap_or(default.cores),
            limits: self.limits(),
            trusted,
            tls_client,
            node: self.node(),
            ..default
        }
    }

    /// Which peers are spoken to over TLS.
    pub(crate) fn tls_rules(&self) -> TlsRules {
        let domain = |peer: &MsrpPeer| (peer.domain.as_str().into(), peer.tls.into());
        TlsRules { default: self.tls.into(), domains: self.peer.iter().map(domain).collect() }
    }

    fn limits(&self) -> MsrpLimits {
        let rate = u32::try_from(self.octets_per_second).unwrap_or(u32::MAX);
        MsrpLimits {
            total_max: size(self.connections_max),
            per_source_max: size(self.connections_per_source_max),
            octets_per_second: (rate > 0).then_some(rate),
            sources_max: size(self.sources_max),
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
            probation: Duration::from_secs(self.probation_s),
            head_timeout: Duration::from_secs(self.head_timeout_s),
            body_octets_min: self.body_octets_min,
            body_timeout: Duration::from_secs(self.body_timeout_s),
            write_timeout: Duration::from_secs(self.write_timeout_s),
            idle: Duration::from_secs(self.idle_s),
            keep_alive: Duration::from_secs(self.tcp_keep_alive_s),
            websocket_octets_max: size(self.websocket_octets_max),
            mailbox_max: size(self.mailbox_max),
            shared_octets_max: size(self.shared_octets_max),
            ..MsrpLimits::default()
        }
    }

    fn node(&self) -> NodeConfig {
        NodeConfig {
            probation: Duration::from_secs(self.probation_s),
            keep_alive: (self.keep_alive_s > 0).then(|| Duration::from_secs(self.keep_alive_s)),
            marks: Marks {
                high: size(self.outbound_high_octets),
                low: size(self.outbound_low_octets),
            },
            limits: Limits { head_octets_max: size(self.head_octets_max), ..Limits::default() },
        }
    }

    /// The place of the listener whose address the URIs of the relay name; `None`: there is none,
    /// or no relay.
    pub(crate) fn relay_place(&self) -> Option<usize> {
        let first = |secure: bool| {
            let fits = |listen: &MsrpListen| listen.is_secure() == secure && !listen.websocket;
            self.listen.iter().position(fits)
        };
        let place = first(true).or_else(|| first(false).filter(|_| !self.auth_needs_tls));
        place.filter(|_| self.relay)
    }

    /// How rooms are run.
    pub(crate) fn switch_config(&self) -> SwitchConfig {
        SwitchConfig {
            failure_report: self.recipients_answer.into(),
            queue_octets_max: size(self.queue_octets_max),
            drops_max: self.drops_max,
            chunk_timeout: Duration::from_secs(self.chunk_timeout_s),
            open_messages_max: size(self.open_messages_max),
            ..SwitchConfig::default()
        }
    }

    /// How the relay is run; its address is known once the listeners are bound.
    pub(crate) fn relay_config(&self) -> RelayConfig {
        RelayConfig {
            realm: self.realm.as_deref().map(Into::into),
            nonce_life: Duration::from_secs(self.nonce_life_s),
            expires_min: Duration::from_secs(self.expires_min_s),
            expires_default: Duration::from_secs(self.expires_default_s),
            expires_max: Duration::from_secs(self.expires_max_s),
            grants_max: size(self.grants_max),
            next_hops: match self.next_hops.as_slice() {
                [] => NextHops::Anywhere,
                hosts => NextHops::Only(hosts.iter().map(|host| host.as_str().into()).collect()),
            },
            peer_relays: match self.peer_relays.as_slice() {
                [] => PeerRelays::AllBut(Vec::new()),
                names => PeerRelays::Only(names.iter().map(|name| name.as_str().into()).collect()),
            },
            auth_needs_tls: self.auth_needs_tls,
            passes_unknown_methods: self.passes_unknown_methods,
            auth_failures_max: u8::try_from(self.auth_failures_max).unwrap_or(u8::MAX),
            ..RelayConfig::default()
        }
    }

    /// What is wrong beyond single values.
    pub(super) fn check(&self, taken: &mut Taken, mistakes: &mut Mistakes) {
        for (position, listen) in self.listen.iter().enumerate() {
            let key = format!("msrp.listen[{position}]");
            check_listener(&key, listen, mistakes);
            taken.take(&format!("{key}.address"), listen.address(), Transport::Tcp, mistakes);
        }
        if self.outbound_low_octets >= self.outbound_high_octets {
            let what = "is not below outbound_high_octets".to_owned();
            mistakes.add("msrp.outbound_low_octets", what);
        }
        let default = self.expires_default_s;
        if !(self.expires_min_s..=self.expires_max_s).contains(&default) {
            let what = "is not between expires_min_s and expires_max_s".to_owned();
            mistakes.add("msrp.expires_default_s", what);
        }
        self.check_peers(mistakes);
        self.check_relay(mistakes);
    }

    fn check_peers(&self, mistakes: &mut Mistakes) {
        for (position, peer) in self.peer.iter().enumerate() {
            let key = format!("msrp.peer[{position}].domain");
            let same = |other: &MsrpPeer| other.domain.eq_ignore_ascii_case(&peer.domain);
            if peer.domain.is_empty() {
                mistakes.add(&key, "is needed".to_owned());
            } else if self.peer.iter().position(same) != Some(position) {
                mistakes.add(&key, "is named before".to_owned());
            }
        }
        let secure = |listen: &MsrpListen| listen.is_secure() && !listen.websocket;
        let required = std::iter::once(self.tls).chain(self.peer.iter().map(|peer| peer.tls));
        if self.is_on()
            && required.into_iter().any(|tls| tls == TlsUse::Require)
            && !self.listen.iter().any(secure)
        {
            let what = "is required, and no listener has a certificate".to_owned();
            mistakes.add("msrp.tls", what);
        }
    }

    fn check_relay(&self, mistakes: &mut Mistakes) {
        let mut wrong = |key: &str, what: &str| mistakes.add(&format!("msrp.{key}"), what.into());
        if !self.relay {
            if self.digest_file.is_some() {
                wrong("digest_file", "is of no use unless relay is true");
            }
            return;
        }
        if self.relay_place().is_none() {
            wrong("relay", "needs a listener with a certificate (RFC 4976 §9.2)");
        }
        match &self.digest_file {
            None => wrong("digest_file", "is needed for the relay"),
            Some(file) => {
                if let Err(whys) = crate::digest::Credentials::read(file) {
                    whys.into_iter().for_each(|why| mistakes.add("msrp.digest_file", why));
                }
            }
        }
    }
}

fn check_listener(key: &str, listen: &MsrpListen, mistakes: &mut Mistakes) {
    let mut wrong =
        |name: &str, what: &str| mistakes.add(&format!("{key}.{name}"), what.to_owned());
    match (&listen.certificate, &listen.key) {
        (Some(_), None) => wrong("key", "is needed with a certificate"),
        (None, Some(_)) => wrong("certificate", "is needed with a key"),
        _ => {}
    }
    if listen.client_roots.is_some() && !listen.is_secure() {
        wrong("client_roots", "is of no use without a certificate");
    }
    match &listen.advertise {
        None if listen.address().ip().is_unspecified() => {
            wrong("advertise", "is needed, as nobody can connect to the address");
        }
        Some(text) if host_port(text).is_none() => wrong("advertise", "is not HOST or HOST:PORT"),
        _ => {}
    }
    let files = [
        ("certificate", &listen.certificate),
        ("key", &listen.key),
        ("client_roots", &listen.client_roots),
    ];
    for (name, file) in files {
        check_file(&format!("{key}.{name}"), file.as_deref(), mistakes);
    }
}

#[cfg(test)]
mod tests {
    use parlance_msrp::header::FailureReport;
    use parlance_msrp::relay::{PeerRelays, RelayConfig};
    use parlance_msrp::switch::SwitchConfig;

    use crate::config::Config;

    #[test]
    fn tls_has_a_port_of_its_own() {
        let text = "[[msrp.listen]]\n[[msrp.listen]]\ncertificate = \"c\"\nkey = \"k\"\n\
                    [[msrp.listen]]\naddress = \"[::1]:7\"\ncertificate = \"c\"\nkey = \"k\"\n";
        let (config, mistakes) = Config::parse(text, std::iter::empty());
        assert!(mistakes.is_empty(), "{mistakes}");
        let addresses: Vec<String> =
            config.msrp.listen.iter().map(|listen| listen.address().to_string()).collect();
        assert_eq!(addresses, ["127.0.0.1:2855", "127.0.0.1:2856", "[::1]:7"]);
        assert_eq!(Config::default().msrp.listen[0].address().port(), 2855);
    }

    // Covers: MSRP-067, MSRP-070, MSRP-087
    #[test]
    fn rooms_and_relay_are_run_as_configured() {
        let text = "[msrp]\nrecipients_answer = \"yes\"\nqueue_octets_max = 70000\ndrops_max = 3\n\
                    chunk_timeout_s = 31\nopen_messages_max = 5\npasses_unknown_methods = false\n\
                    peer_relays = [\"r.test\"]\n";
        let (config, mistakes) = Config::parse(text, std::iter::empty());
        assert!(mistakes.is_empty(), "{mistakes}");
        let switch = config.msrp.switch_config();
        assert_eq!(switch.failure_report, FailureReport::Yes);
        assert_eq!((switch.queue_octets_max, switch.drops_max), (70_000, 3));
        assert_eq!((switch.chunk_timeout.as_secs(), switch.open_messages_max), (31, 5));
        let relay = config.msrp.relay_config();
        assert!(!relay.passes_unknown_methods);
        assert_eq!(relay.peer_relays, PeerRelays::Only(vec!["r.test".into()]));
        // The documented defaults are those of the crate.
        let config = Config::default();
        let (ours, theirs) = (config.msrp.switch_config(), SwitchConfig::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert_eq!(config.msrp.relay_config().peer_relays, RelayConfig::default().peer_relays);
    }
}
