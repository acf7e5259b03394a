//! What an operator decides about the relay.

use std::time::Duration;

use parlance_sip::digest::Algorithm;

use crate::session::LocalAddress;
use crate::uri::UriRef;

/// The policy of a relay. Local limits where no section is named.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// What the URIs that are handed out say: a fully qualified name and a port (RFC 4976 §4.2).
    /// `None`: there is no relay; pairs work all the same.
    pub address: Option<LocalAddress>,
    /// The realm of challenges; `None`: the name in `address` (RFC 4976 §5.1).
    pub realm: Option<Box<str>>,
    /// The digest algorithms offered, the preferred one first; default SHA-256 and MD5. `-sess`
    /// forms are never offered (RFC 4976 §9.1).
    pub algorithms: Vec<Algorithm>,
    /// How long a nonce is good; default 300 s.
    pub nonce_life: Duration,
    /// How many nonces are remembered; default 100 000. At the limit the oldest become stale.
    pub nonces_max: usize,
    /// The shortest time that a URI is granted for; default 60 s. A shorter `Expires` is answered
    /// 423 with `Min-Expires` (RFC 4976 §6.3).
    pub expires_min: Duration,
    /// The longest; default 3600 s. A longer one is answered 423 with `Max-Expires`.
    pub expires_max: Duration,
    /// The time granted when nothing is asked; default 900 s.
    pub expires_default: Duration,
    /// URIs that are granted at a time; default 100 000 for each core. One more is answered 403.
    pub grants_max: usize,
    /// URIs that are granted on one connection of a client; default 256. One more is answered 403.
    pub grants_per_client_max: usize,
    /// Failed AUTHs, sent to us or through us, after which a client's connection is closed
    /// (RFC 4976 §6.3: several); default 5. A relay's never is.
    pub auth_failures_max: u8,
    /// AUTHs whose user is being looked up; default 1024. One more is not answered: the client
    /// asks again.
    pub auths_awaiting_max: usize,
    /// Whether AUTH is only taken over TLS (RFC 4976 §9.2, a MUST); default yes. Over TCP it is
    /// answered 403. No is for laboratories.
    pub auth_needs_tls: bool,
    /// Which other relays may send AUTHs of their clients (RFC 4976 §6.3); default all that have a
    /// certificate that leads to our roots.
    pub peer_relays: PeerRelays,
    /// Where clients may have requests sent to; default anywhere. Elsewhere they are answered 403:
    /// a client must not make the relay connect to what only the relay can reach.
    pub next_hops: NextHops,
    /// Whether requests of methods that nobody here knows are passed on (RFC 4976 §6.4.2); default
    /// yes. No: 501.
    pub passes_unknown_methods: bool,
}

/// Which relays are taken for relays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerRelays {
    /// All that prove their name, but for these.
    AllBut(Vec<Box<str>>),
    /// These.
    Only(Vec<Box<str>>),
}

impl PeerRelays {
    /// Whether the relay called `name`, which it has proved, may send AUTHs.
    pub fn admit(&self, name: &str) -> bool {
        let is_in = |names: &[Box<str>]| names.iter().any(|one| one.eq_ignore_ascii_case(name));
        match self {
            Self::AllBut(names) => !is_in(names),
            Self::Only(names) => is_in(names),
        }
    }
}

/// Where requests of clients may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHops {
    /// To every host.
    Anywhere,
    /// To these hosts: a name or an address as in URIs, or `.domain` for all names under it.
    Only(Vec<Box<str>>),
}

impl NextHops {
    /// Whether requests may go to `host`.
    pub fn admit(&self, host: &str) -> bool {
        let is = |known: &str| match known.strip_prefix('.') {
            Some(domain) => host
                .len()
                .checked_sub(domain.len())
                .and_then(|at| host.split_at_checked(at))
                .is_some_and(|(start, end)| {
                    start.ends_with('.') && end.eq_ignore_ascii_case(domain)
                }),
            None => known.eq_ignore_ascii_case(host),
        };
        match self {
            Self::Anywhere => true,
            Self::Only(hosts) => hosts.iter().any(|known| is(known)),
        }
    }
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            address: None,
            realm: None,
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            nonce_life: Duration::from_secs(300),
            nonces_max: 100_000,
            expires_min: Duration::from_secs(60),
            expires_max: Duration::from_secs(3600),
            expires_default: Duration::from_secs(900),
            grants_max: 100_000,
            grants_per_client_max: 256,
            auth_failures_max: 5,
            auths_awaiting_max: 1024,
            auth_needs_tls: true,
            peer_relays: PeerRelays::AllBut(Vec::new()),
            next_hops: NextHops::Anywhere,
            passes_unknown_methods: true,
        }
    }
}

impl RelayConfig {
    /// The realm of challenges.
    pub(super) fn realm(&self) -> &str {
        let host = || self.address.as_ref().map_or("", |address| &address.host);
        self.realm.as_deref().unwrap_or_else(host)
    }

    /// Whether `uri` is of this relay, whatever its session-id. The port may be missing: a client
    /// that found us by SRV does not write it (RFC 4976 §8).
    pub(super) fn is_ours(&self, uri: &[u8]) -> bool {
        let Some(address) = &self.address else { return false };
        UriRef::parse(uri).is_ok_and(|uri| {
            uri.host.eq_ignore_ascii_case(&address.host)
                && uri.port.is_none_or(|port| port == address.port)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scheme;

    #[test]
    fn relays_are_taken_by_name() {
        let names = || vec!["one.example".into()];
        #[rustfmt::skip]
        let table = [
            (PeerRelays::AllBut(Vec::new()), "one.example", true),
            (PeerRelays::AllBut(names()),    "One.Example", false),
            (PeerRelays::AllBut(names()),    "two.example", true),
            (PeerRelays::Only(names()),      "ONE.example", true),
            (PeerRelays::Only(names()),      "two.example", false),
            (PeerRelays::Only(Vec::new()),   "one.example", false),
        ];
        for (relays, name, expect) in table {
            assert_eq!(relays.admit(name), expect, "{relays:?} {name}");
        }
    }

    // Covers: MSRP-086
    #[test]
    fn next_hops_are_hosts_and_domains() {
        let hops = NextHops::Only(vec![".example".into(), "192.0.2.1".into()]);
        #[rustfmt::skip]
        let table = [
            ("a.example",     true),
            ("b.A.Example",   true),
            ("192.0.2.1",     true),
            ("example",       false),
            ("badexample",    false),
            ("192.0.2.11",    false),
            ("a.example.org", false),
            ("",              false),
        ];
        for (host, expect) in table {
            assert_eq!(hops.admit(host), expect, "{host}");
            assert!(NextHops::Anywhere.admit(host));
        }
    }

    #[test]
    fn its_own_uris_are_known_by_host_and_port() {
        let address = LocalAddress {
            scheme: Scheme::Msrps,
            host: "relay.example".into(),
            port: 2856,
            transport: "tcp",
        };
        let config = RelayConfig { address: Some(address), ..RelayConfig::default() };
        #[rustfmt::skip]
        let table = [
            ("msrps://relay.example;tcp",            true), // RFC 4976 §8
            ("msrps://alice@Relay.example;tcp",      true),
            ("msrps://relay.example:2856/x;tcp",     true),
            ("msrps://relay.example:2855;tcp",       false),
            ("msrps://other.example;tcp",            false),
            ("nothing",                              false),
        ];
        for (uri, expect) in table {
            assert_eq!(config.is_ours(uri.as_bytes()), expect, "{uri}");
        }
        assert!(!RelayConfig::default().is_ours(b"msrps://relay.example;tcp"));
        assert_eq!(config.realm(), "relay.example");
    }
}
