//! The authenticated originator's IM address (OMA-TS-SIMPLE_IM §5.1.1, RFC 3325).

use parlance_sip::Request;
use parlance_sip::header::{From, PAssertedIdentity, Privacy, PrivacyValue, SessionCase};
use parlance_sip::uri::Aor;

use super::{Peer, PeerKind};

/// Who sent a request, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Originator {
    /// The IM address: the SIP identity when there is one, else the telephone number.
    pub address: Aor,
    /// The telephone number asserted beside a SIP identity.
    pub alias: Option<Aor>,
}

impl Originator {
    /// Whether `identity` is one of his.
    pub fn is(&self, identity: &Aor) -> bool {
        self.address == *identity || self.alias.as_ref() == Some(identity)
    }
}

/// Which challenge is sent (RFC 3261 §22).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// 401 with `WWW-Authenticate`: the server answers for itself.
    Uas,
    /// 407 with `Proxy-Authenticate`: the server passes the request on.
    Proxy,
}

/// What is known of the originator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Who he is.
    Asserted(Originator),
    /// He is known to the network he comes from, which withholds it: the recipient's rules for
    /// anonymous senders apply.
    Anonymous,
    /// He has to prove it.
    Challenge(Challenge),
    /// Nobody says who he is, and there is nobody to ask: 403.
    Refuse,
}

/// Finds out who sent `request`.
///
/// In IMS the core asserts it. In a core without IMS, where the neighbour is a plain proxy, a
/// request of the server's own user may be challenged: `proven` is the identity a digest response
/// in the request proved. What goes to the user is never challenged, as its sender is not ours.
/// `answered_here` says whether the server answers as a UAS.
pub fn authenticate(
    request: &Request,
    peer: &Peer,
    case: SessionCase,
    answered_here: bool,
    proven: Option<&Aor>,
) -> Authentication {
    if let Some(originator) = asserted(request, peer) {
        return Authentication::Asserted(originator);
    }
    if let Some(address) = proven {
        let originator = Originator { address: address.clone(), alias: None };
        return Authentication::Asserted(originator);
    }
    match case {
        SessionCase::Terminating if is_withheld(request, peer) => Authentication::Anonymous,
        SessionCase::Originating if peer.kind() == Some(PeerKind::Proxy) => {
            let challenge = if answered_here { Challenge::Uas } else { Challenge::Proxy };
            Authentication::Challenge(challenge)
        }
        SessionCase::Originating | SessionCase::Terminating => Authentication::Refuse,
    }
}

/// The asserted identity, from a neighbour that is believed. RFC 3325 §9.1 allows one SIP and one
/// tel value; of more the first of each counts.
pub(crate) fn asserted(request: &Request, peer: &Peer) -> Option<Originator> {
    if !peer.asserts_identity() {
        return None;
    }
    let values = request.list::<PAssertedIdentity<'_>>().filter_map(Result::ok);
    let (mut sip, mut tel) = (None, None);
    for identity in values.filter_map(|value| Aor::from_uri(&value.uri)) {
        match identity.scheme() {
            "sip" => sip.get_or_insert(identity),
            "tel" => tel.get_or_insert(identity),
            _ => continue,
        };
    }
    match (sip, tel) {
        (Some(address), alias) => Some(Originator { address, alias }),
        (None, Some(address)) => Some(Originator { address, alias: None }),
        (None, None) => None,
    }
}

/// Whether the identity is missing because the sender's network keeps it (RFC 3325 §7, RFC 3323
/// §4.1): an anonymous From or `Privacy: id`, out of a trusted hand.
fn is_withheld(request: &Request, peer: &Peer) -> bool {
    let privacy = request.header::<Privacy<'_>>().ok().flatten();
    let asked = privacy.is_some_and(|privacy| privacy.has(PrivacyValue::Id));
    let from = request.header::<From<'_>>().ok().flatten();
    let from = from.and_then(|from| Aor::from_uri(&from.uri()));
    peer.asserts_identity() && (asked || from.as_ref().is_some_and(is_anonymous))
}

/// Whether an identity in From names nobody (RFC 3323 §4.1.1.3).
pub(crate) fn is_anonymous(identity: &Aor) -> bool {
    identity.domain() == Some("anonymous.invalid")
}

#[cfg(test)]
mod tests {
    use parlance_sip::header::SessionCase::{self, Originating, Terminating};

    use super::{Authentication, Challenge, Originator, authenticate};
    use crate::fixture::request;
    use crate::trust::{Peer, PeerKind};

    fn peer(kind: PeerKind) -> Peer {
        Peer::Trusted { name: "x".into(), kind }
    }

    fn of(headers: &str, peer: &Peer, case: SessionCase) -> Authentication {
        let text = format!("MESSAGE sip:b@h SIP/2.0\r\n{headers}\r\n\r\n");
        authenticate(&request(&text), peer, case, false, None)
    }

    fn asserted(address: &str, alias: Option<&str>) -> Authentication {
        let alias = alias.map(|alias| alias.parse().unwrap());
        Authentication::Asserted(Originator { address: address.parse().unwrap(), alias })
    }

    // Covers: CORE-036, CORE-038, CORE-039, SEC-001, SEC-002
    #[test]
    fn the_core_says_who_sends() {
        const FROM: &str = "From: <sip:alice@h>;tag=1";
        let isc = peer(PeerKind::Isc);
        #[rustfmt::skip]
        let table = [
            ("P-Asserted-Identity: <sip:alice@H>", asserted("sip:alice@h", None)),
            ("P-Asserted-Identity: <tel:+1-5>", asserted("tel:+15", None)),
            ("P-Asserted-Identity: <tel:+15>, \"A\" <sip:alice@h>",
                asserted("sip:alice@h", Some("tel:+15"))),
            ("P-Asserted-Identity: <sip:alice@h>\r\nSubject: x\r\nP-Asserted-Identity: <tel:+15>",
                asserted("sip:alice@h", Some("tel:+15"))),
            // At most one of each.
            ("P-Asserted-Identity: <sip:alice@h>, <sip:eve@h>, <tel:+15>, <tel:+16>",
                asserted("sip:alice@h", Some("tel:+15"))),
            (FROM, Authentication::Refuse),
            ("P-Preferred-Identity: <sip:alice@h>", Authentication::Refuse),
            ("P-Asserted-Identity: garbage", Authentication::Refuse),
        ];
        for (headers, expected) in table {
            assert_eq!(of(headers, &isc, Originating), expected, "{headers}");
        }
        let header = "P-Asserted-Identity: <sip:alice@h>";
        assert_eq!(of(header, &Peer::Untrusted, Originating), Authentication::Refuse);
        let border = peer(PeerKind::InterDomain);
        assert_eq!(of(header, &border, Terminating), asserted("sip:alice@h", None));
    }

    // Covers: CORE-038
    #[test]
    fn only_a_core_without_ims_is_challenged_and_only_for_its_own_users() {
        let proxy = peer(PeerKind::Proxy);
        let bare = request("MESSAGE sip:b@h SIP/2.0\r\nFrom: <sip:a@h>;tag=1\r\n\r\n");
        let ask = |case, here, proven| authenticate(&bare, &proxy, case, here, proven);
        let challenge = Authentication::Challenge;
        assert_eq!(ask(Originating, false, None), challenge(Challenge::Proxy));
        assert_eq!(ask(Originating, true, None), challenge(Challenge::Uas));
        assert_eq!(ask(Terminating, false, None), Authentication::Refuse);
        let alice = "sip:alice@h".parse().unwrap();
        assert_eq!(ask(Originating, false, Some(&alice)), asserted("sip:alice@h", None));
        assert_eq!(of("", &peer(PeerKind::Isc), Originating), Authentication::Refuse);
    }

    // Covers: CORE-038
    #[test]
    fn a_withheld_identity_is_not_a_missing_one() {
        let isc = peer(PeerKind::Isc);
        for headers in [
            "Privacy: id",
            "Privacy: header;id",
            "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1",
        ] {
            assert_eq!(of(headers, &isc, Terminating), Authentication::Anonymous, "{headers}");
            assert_eq!(of(headers, &isc, Originating), Authentication::Refuse, "{headers}");
            let untrusted = of(headers, &Peer::Untrusted, Terminating);
            assert_eq!(untrusted, Authentication::Refuse, "{headers}");
        }
        assert_eq!(of("Privacy: none", &isc, Terminating), Authentication::Refuse);
    }
}
