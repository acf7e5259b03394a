//! Whom the server believes (RFC 3324, RFC 3325 §4; OMA-TS-SIMPLE_IM §8.1.2), and who sent a
//! request (§5.1.1).
//!
//! Trust is hop by hop: a neighbour is configured, by network or by the name in its certificate, or
//! it is not trusted. Nothing of a neighbour that is not trusted is acted on or sent on.

mod authenticate;

use std::sync::Arc;

use ipnet::IpNet;
use parlance_sip::{Edits, HeaderName, Method, Request, Source, Transport};

pub use authenticate::{Authentication, Challenge, Originator, authenticate};
pub(crate) use authenticate::{asserted, is_anonymous};

/// What a neighbour is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// An S-CSCF on the ISC reference point, or another node of the same core: everything it
    /// asserts is believed.
    Isc,
    /// A SIP proxy of a core without filter criteria. It is believed like an S-CSCF, the server
    /// decides itself which requests it serves, and challenges where nothing is asserted.
    Proxy,
    /// The border of another domain: its asserted identities are believed, what concerns the inside
    /// of a domain is not. It may speak only over TLS, with a certificate that was verified.
    InterDomain,
}

/// A configured neighbour, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The name for logs and the journal.
    pub name: String,
    /// Where it speaks from. With several neighbours the longest prefix wins.
    pub networks: Vec<IpNet>,
    /// Names in its certificate; counts before `networks`. Compared whole, whatever their case:
    /// a wildcard would name nobody (RFC 5922 §7.2).
    pub certificates: Vec<String>,
    /// What it is.
    pub kind: PeerKind,
}

/// Why a configuration of neighbours is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Nothing says how to recognise it.
    #[error("peer {0} has neither networks nor certificate names")]
    Unrecognisable(String),
    /// Another domain is recognised by its certificate alone; an address proves nothing there.
    #[error("inter-domain peer {0} must be named by certificates, not by networks")]
    InterDomainByNetwork(String),
}

/// The sender of a message, as far as it is a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A configured neighbour.
    Trusted {
        /// Its name.
        name: Arc<str>,
        /// What it is.
        kind: PeerKind,
    },
    /// Anybody else.
    Untrusted,
}

impl Peer {
    /// What the neighbour is; `None` when it is not trusted.
    pub fn kind(&self) -> Option<PeerKind> {
        match self {
            Self::Trusted { kind, .. } => Some(*kind),
            Self::Untrusted => None,
        }
    }

    /// Whether its `P-Asserted-Identity` is believed.
    pub fn asserts_identity(&self) -> bool {
        self.kind().is_some()
    }

    /// Whether its `P-Served-User`, and what else concerns the inside of the domain, is believed.
    pub fn is_inside(&self) -> bool {
        matches!(self.kind(), Some(PeerKind::Isc | PeerKind::Proxy))
    }

    /// Whether this neighbour may send a request of this method over `transport` at all.
    pub fn admit(&self, method: Method<'_>, transport: Transport) -> Admission {
        let admitted = match self.kind() {
            None => false,
            Some(PeerKind::InterDomain) => transport == Transport::Tls,
            Some(PeerKind::Isc | PeerKind::Proxy) => true,
        };
        match (admitted, method == Method::Ack) {
            (true, _) => Admission::Admit,
            (false, true) => Admission::Drop,
            (false, false) => Admission::Refuse,
        }
    }

    /// The header fields of this neighbour that are not acted on and do not go further.
    pub fn ignored(&self) -> &'static [HeaderName] {
        const UNTRUSTED: [HeaderName; 8] = [
            HeaderName::PAccessNetworkInfo,
            HeaderName::PAssertedIdentity,
            HeaderName::PAssociatedUri,
            HeaderName::PChargingFunctionAddresses,
            HeaderName::PChargingVector,
            HeaderName::PPreferredIdentity,
            HeaderName::PServedUser,
            HeaderName::PVisitedNetworkId,
        ];
        const OUTSIDE: [HeaderName; 6] = [
            HeaderName::PAccessNetworkInfo,
            HeaderName::PAssociatedUri,
            HeaderName::PChargingFunctionAddresses,
            HeaderName::PPreferredIdentity,
            HeaderName::PServedUser,
            HeaderName::PVisitedNetworkId,
        ];
        // P-Preferred-Identity is consumed at the edge of the domain (RFC 3325 §5).
        const INSIDE: [HeaderName; 1] = [HeaderName::PPreferredIdentity];
        match self.kind() {
            None => &UNTRUSTED,
            Some(PeerKind::InterDomain) => &OUTSIDE,
            Some(PeerKind::Isc | PeerKind::Proxy) => &INSIDE,
        }
    }

    /// Takes the fields that do not go further out of a request that is sent on.
    pub fn strip(&self, request: &Request, edits: &mut Edits) {
        for name in self.ignored() {
            edits.remove(request, *name);
        }
    }
}

/// What becomes of a request before anything is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is served.
    Admit,
    /// It is answered 403 without a transaction.
    Refuse,
    /// It is an ACK, which has no answer: nothing happens.
    Drop,
}

/// The configured neighbours.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    peers: Vec<Entry>,
    loopback: Option<Peer>,
}

#[derive(Clone, Debug)]
struct Entry {
    peer: Peer,
    networks: Vec<IpNet>,
    certificates: Vec<String>,
}

impl Trust {
    /// Takes the neighbours; `loopback` says whether the host itself is one as well, as an ISC
    /// peer (default true: a core on the same host, and tests).
    ///
    /// # Errors
    /// Every [`TrustError`] of the list.
    pub fn new(neighbours: Vec<Neighbour>, loopback: bool) -> Result<Self, Vec<TrustError>> {
        let errors: Vec<_> = neighbours.iter().filter_map(fault).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let entry = |neighbour: Neighbour| Entry {
            peer: Peer::Trusted { name: neighbour.name.into(), kind: neighbour.kind },
            networks: neighbour.networks,
            certificates: neighbour.certificates,
        };
        let peers = neighbours.into_iter().map(entry).collect();
        let host = Peer::Trusted { name: Arc::from("loopback"), kind: PeerKind::Isc };
        Ok(Self { peers, loopback: loopback.then_some(host) })
    }

    /// Who sent a message that came from `source`, with these names in its certificate.
    pub fn of(&self, source: &Source, names: &[String]) -> Peer {
        let certified = || {
            let names = names.iter().filter(|_| source.verified);
            let mut names = names.map(String::as_str);
            names.find_map(|name| self.peers.iter().find(|entry| entry.is_named(name)))
        };
        let ip = source.remote.ip().to_canonical();
        let near = || {
            let prefix = |entry: &Entry| {
                let holding = entry.networks.iter().filter(|network| network.contains(&ip));
                holding.map(IpNet::prefix_len).max()
            };
            let holding = self.peers.iter().filter_map(|entry| Some((prefix(entry)?, entry)));
            // `max_by_key` takes the last of equals; the first in the configuration wins here.
            holding.rev().max_by_key(|(prefix, _)| *prefix).map(|(_, entry)| entry)
        };
        let found = certified().or_else(near).map(|entry| &entry.peer);
        let host = || self.loopback.as_ref().filter(|_| ip.is_loopback());
        found.or_else(host).cloned().unwrap_or(Peer::Untrusted)
    }
}

impl Entry {
    fn is_named(&self, name: &str) -> bool {
        self.certificates.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

fn fault(neighbour: &Neighbour) -> Option<TrustError> {
    let name = || neighbour.name.clone();
    if neighbour.kind == PeerKind::InterDomain && !neighbour.networks.is_empty() {
        return Some(TrustError::InterDomainByNetwork(name()));
    }
    let nothing = neighbour.networks.is_empty() && neighbour.certificates.is_empty();
    nothing.then(|| TrustError::Unrecognisable(name()))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use parlance_sip::{Edits, ListenerId, Method, Source, Transport};

    use super::{Admission, Neighbour, Peer, PeerKind, Trust, TrustError};
    use crate::fixture::request;

    fn neighbour(
        name: &str,
        networks: &[&str],
        certificates: &[&str],
        kind: PeerKind,
    ) -> Neighbour {
        Neighbour {
            name: name.into(),
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            certificates: certificates.iter().map(|name| (*name).to_owned()).collect(),
            kind,
        }
    }

    fn trust() -> Trust {
        let neighbours = vec![
            neighbour(
                "scscf",
                &["10.1.0.0/16", "2001:db8::/32"],
                &["scscf.ims.test"],
                PeerKind::Isc,
            ),
            neighbour("proxy", &["10.1.9.0/24"], &[], PeerKind::Proxy),
            neighbour("border", &[], &["border.other.test"], PeerKind::InterDomain),
        ];
        Trust::new(neighbours, true).unwrap()
    }

    fn source(remote: &str, transport: Transport) -> Source {
        let remote = remote.parse().unwrap();
        let verified = transport == Transport::Tls;
        Source { transport, remote, listener: ListenerId(0), connection: None, verified }
    }

    fn name(peer: &Peer) -> &str {
        match peer {
            Peer::Trusted { name, .. } => name,
            Peer::Untrusted => "-",
        }
    }

    // Covers: SEC-004
    #[test]
    fn neighbours_are_recognised_by_network_or_certificate() {
        #[rustfmt::skip]
        let table = [
            ("10.1.2.3:5060",           Transport::Udp, "",                  "scscf"),
            ("10.1.9.3:5060",           Transport::Udp, "",                  "proxy"), // longer prefix
            ("[::ffff:10.1.2.3]:5060",  Transport::Udp, "",                  "scscf"),
            ("[2001:db8::7]:5060",      Transport::Tcp, "",                  "scscf"),
            ("10.2.0.1:5060",           Transport::Udp, "",                  "-"),
            ("127.0.0.13:6060",         Transport::Udp, "",                  "loopback"),
            ("[::1]:6060",              Transport::Udp, "",                  "loopback"),
            ("192.0.2.1:5061",          Transport::Tls, "SCSCF.ims.test",    "scscf"),
            ("192.0.2.1:5061",          Transport::Tls, "border.other.test", "border"),
            ("192.0.2.1:5061",          Transport::Tls, "evil.test",         "-"),
            // A certificate that was not verified proves nothing.
            ("192.0.2.1:5060",          Transport::Tcp, "scscf.ims.test",    "-"),
        ];
        for (remote, transport, certificate, expected) in table {
            let names: Vec<String> = vec![certificate.to_owned()];
            let peer = trust().of(&source(remote, transport), &names);
            assert_eq!(name(&peer), expected, "{remote} {certificate}");
        }
        let closed = Trust::new(Vec::new(), false).unwrap();
        assert_eq!(closed.of(&source("127.0.0.1:5060", Transport::Udp), &[]), Peer::Untrusted);
    }

    // Covers: SEC-004
    #[test]
    fn the_untrusted_are_refused_before_anything_is_kept() {
        let trust = trust();
        let stranger = Peer::Untrusted;
        assert_eq!(stranger.admit(Method::Message, Transport::Tls), Admission::Refuse);
        assert_eq!(stranger.admit(Method::Register, Transport::Udp), Admission::Refuse);
        assert_eq!(stranger.admit(Method::Ack, Transport::Udp), Admission::Drop);
        let scscf = trust.of(&source("10.1.2.3:5060", Transport::Udp), &[]);
        assert_eq!(scscf.admit(Method::Message, Transport::Udp), Admission::Admit);
    }

    // Covers: SEC-006
    #[test]
    fn other_domains_speak_over_tls_only() {
        let trust = trust();
        let names = ["border.other.test".to_owned()];
        let border = trust.of(&source("192.0.2.1:5061", Transport::Tls), &names);
        assert_eq!(border.admit(Method::Message, Transport::Tls), Admission::Admit);
        assert_eq!(border.admit(Method::Message, Transport::Tcp), Admission::Refuse);
        assert_eq!(border.admit(Method::Message, Transport::Udp), Admission::Refuse);
        let by_network = neighbour("b", &["192.0.2.0/24"], &["x"], PeerKind::InterDomain);
        let nameless = neighbour("n", &[], &[], PeerKind::Isc);
        let errors = Trust::new(vec![by_network, nameless], true).unwrap_err();
        let expected =
            [TrustError::InterDomainByNetwork("b".into()), TrustError::Unrecognisable("n".into())];
        assert_eq!(errors, expected);
    }

    // Covers: CORE-036, SEC-004
    #[test]
    fn what_is_not_believed_does_not_go_further() {
        let request = request(
            "MESSAGE sip:b@h SIP/2.0\r\nP-Asserted-Identity: <sip:a@h>\r\n\
             P-Preferred-Identity: <sip:a@h>\r\nP-Served-User: <sip:a@h>\r\n\
             P-Charging-Vector: icid-value=1\r\nP-Charging-Function-Addresses: ccf=x\r\n\
             P-Access-Network-Info: 3GPP\r\nP-Associated-URI: <sip:a@h>\r\n\
             P-Visited-Network-ID: x\r\nSubject: s\r\n\r\n",
        );
        let left = |peer: &Peer| {
            let mut edits = Edits::new();
            peer.strip(&request, &mut edits);
            let mut out = BytesMut::new();
            edits.write(&request, &mut out);
            let text = String::from_utf8(out.to_vec()).unwrap();
            let names = text.lines().skip(1).filter_map(|line| line.split_once(':'));
            names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(left(&Peer::Untrusted), ["Subject"]);
        let peer = |kind| Peer::Trusted { name: "x".into(), kind };
        let border = left(&peer(PeerKind::InterDomain));
        assert_eq!(border, ["P-Asserted-Identity", "P-Charging-Vector", "Subject"]);
        let inside = left(&peer(PeerKind::Isc));
        assert_eq!(inside.len(), 8);
        assert!(!inside.contains(&"P-Preferred-Identity".to_owned()));
    }
}
