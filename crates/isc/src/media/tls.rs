//! Which peers are spoken to over TLS (SEC-010).

use parlance_sip::sdp::MsrpProto;

/// Whether a connection with a peer is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Security {
    /// Never: offers with TLS are refused, ours are without.
    Off,
    /// As the peer wants: offers are answered as they are, ours are with TLS, and again without
    /// when that is refused with 488 or port 0.
    #[default]
    Prefer,
    /// Always: offers without TLS are refused, ours are with TLS only.
    Require,
}

impl Security {
    /// Whether the session with a peer that offers `proto` is with TLS; `None`: the offer is
    /// refused with 488.
    pub fn answers(self, proto: MsrpProto) -> Option<bool> {
        match (self, proto) {
            (Self::Off, MsrpProto::Tls) | (Self::Require, MsrpProto::Tcp) => None,
            (_, proto) => Some(proto == MsrpProto::Tls),
        }
    }

    /// Whether a session without TLS may be with a peer.
    pub fn allows_plain(self) -> bool {
        self != Self::Require
    }

    /// What is offered, one after the other until something is taken: with TLS (`true`) or
    /// without. `has_tls` says whether anybody listens with TLS here. Empty: nothing can be.
    pub fn offers(self, has_tls: bool) -> &'static [bool] {
        match (self, has_tls) {
            (Self::Off, _) | (Self::Prefer, false) => &[false],
            (Self::Prefer, true) => &[true, false],
            (Self::Require, true) => &[true],
            (Self::Require, false) => &[],
        }
    }
}

/// Whether connections are protected, by the domain of the peer's SIP URI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsRules {
    /// For the peers that no rule names.
    pub default: Security,
    /// For the domains that are named, as `example.com`; the first that is the same counts.
    pub domains: Vec<(Box<str>, Security)>,
}

impl TlsRules {
    /// The rule for peers of `domain`.
    pub fn of(&self, domain: &str) -> Security {
        let named = self.domains.iter().find(|(name, _)| name.eq_ignore_ascii_case(domain));
        named.map_or(self.default, |(_, security)| *security)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: SEC-010
    #[test]
    fn each_peer_has_the_security_of_its_rule() {
        let rules = TlsRules {
            default: Security::Prefer,
            domains: vec![
                ("plain.example".into(), Security::Off),
                ("bank.example".into(), Security::Require),
            ],
        };
        #[rustfmt::skip]
        let table = [
            // domain          answer to TCP  answer to TLS  offers
            ("plain.example", Some(false),   None,          &[false][..]),
            ("BANK.example",  None,          Some(true),    &[true]),
            ("other.example", Some(false),   Some(true),    &[true, false]),
        ];
        for (domain, tcp, tls, offers) in table {
            let security = rules.of(domain);
            assert_eq!(security.answers(MsrpProto::Tcp), tcp, "{domain}");
            assert_eq!(security.answers(MsrpProto::Tls), tls, "{domain}");
            assert_eq!(security.offers(true), offers, "{domain}");
            assert_eq!(security.allows_plain(), offers.contains(&false), "{domain}");
        }
        assert_eq!(Security::Off.offers(false), [false]);
        assert_eq!(Security::Prefer.offers(false), [false]);
        assert!(Security::Require.offers(false).is_empty(), "nothing is offered without TLS");
    }
}
