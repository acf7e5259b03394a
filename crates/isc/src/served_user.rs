//! Whom a request serves, and on which side (TS 24.229 §5.7.1.3A, RFC 5502; OMA-TS-SIMPLE_IM
//! Appendix C).
//!
//! The side comes from the first of these that says anything: `sescase` of P-Served-User, the
//! parameter `orig` of our own Route, the user part of our own Route or Request-URI, the listener,
//! and, when all are silent, whether the Request-URI is a user of ours.

mod lookup;

use std::fmt;

pub use lookup::{Subscriber, look_up};
use parlance_sip::header::{PServedUser, Route, SessionCase};
use parlance_sip::uri::{Aor, SipUri, Uri};
use parlance_sip::{HeaderName, ListenerId, Request};

use crate::service::{Destination, Services};
use crate::trust::{Peer, asserted};

/// What said on which side a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// `sescase` of P-Served-User.
    ServedUser,
    /// The parameter `orig` of our own Route.
    Orig,
    /// The user part of our own Route or Request-URI.
    RouteUser,
    /// The listener it came to.
    Listener,
    /// Whose the Request-URI is.
    RequestUri,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServedUser => "P-Served-User",
            Self::Orig => "the orig parameter of Route",
            Self::RouteUser => "the user part of Route",
            Self::Listener => "the listener",
            Self::RequestUri => "the Request-URI",
        })
    }
}

/// Whom a request serves, as the request itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedUser {
    /// On which side the user stands.
    pub case: SessionCase,
    /// What said so.
    pub evidence: Evidence,
    /// The identity of the user, canonical; a telephone number is not resolved yet. `None` when an
    /// originating request names nobody.
    pub identity: Option<Aor>,
    /// Whether the core says that the user is registered; `None` when it says nothing.
    pub registered: Option<bool>,
    /// Whether the core itself named the user in P-Served-User.
    pub named_by_core: bool,
    /// Whether the topmost Route is ours and comes off before the request goes on. What follows it
    /// is the S-CSCF's mark of the original dialog, which goes back as it came.
    pub route_is_ours: bool,
}

/// Finds out whom `request` serves.
///
/// `proven` is the identity a digest response proved, for cores that assert none.
pub fn served_user(
    request: &Request,
    peer: &Peer,
    listener: ListenerId,
    services: &Services,
    proven: Option<&Aor>,
) -> ServedUser {
    let named = request.header::<PServedUser<'_>>().ok().flatten().filter(|_| peer.is_inside());
    let route = own_route(request, services);
    // Where the core names the user it is not asked for.
    let uri = || request.uri();
    let (case, evidence) = side(named.as_ref(), route.as_ref(), uri, listener, services);
    let identity = named.and_then(|named| Aor::from_uri(&named.address.uri));
    let named_by_core = identity.is_some();
    let identity = identity.or_else(|| match case {
        SessionCase::Originating => {
            let asserted = asserted(request, peer);
            asserted.map(|originator| originator.address).or_else(|| proven.cloned())
        }
        SessionCase::Terminating => uri().as_ref().and_then(Aor::from_uri),
    });
    ServedUser {
        case,
        evidence,
        identity,
        registered: named.and_then(|named| named.registered),
        named_by_core,
        route_is_ours: route.is_some(),
    }
}

/// The Route values that go on, octet for octet, once ours is off: the original dialog identifier
/// of the S-CSCF and what follows it.
pub fn remaining_route<'a>(
    request: &'a Request,
    served: &ServedUser,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let values = request.values(HeaderName::Route).flat_map(parlance_sip::grammar::split_list);
    values.skip(usize::from(served.route_is_ours))
}

/// The topmost Route when it is ours (RFC 3261 §16.4).
fn own_route<'a>(request: &'a Request, services: &Services) -> Option<SipUri<'a>> {
    let route = request.list::<Route<'a>>().next()?.ok()?;
    route.uri.as_sip().copied().filter(|uri| services.is_own(uri))
}

fn side<'a>(
    named: Option<&PServedUser<'_>>,
    route: Option<&SipUri<'_>>,
    uri: impl FnOnce() -> Option<Uri<'a>>,
    listener: ListenerId,
    services: &Services,
) -> (SessionCase, Evidence) {
    if let Some(case) = named.and_then(|named| named.session_case) {
        return (case, Evidence::ServedUser);
    }
    if route.is_some_and(|route| route.params.has("orig")) {
        return (SessionCase::Originating, Evidence::Orig);
    }
    let uri = uri();
    let uri = uri.as_ref();
    let own_uri = uri.and_then(Uri::as_sip).filter(|uri| services.is_own(uri));
    let user = route.and_then(|route| route.user).or_else(|| own_uri.and_then(|uri| uri.user));
    if let Some(case) = user.and_then(|user| case_of(user, services)) {
        return (case, Evidence::RouteUser);
    }
    if let Some(case) = services.case_of(listener) {
        return (case, Evidence::Listener);
    }
    let destination = uri.map(|uri| services.destination(uri));
    let case = match destination {
        Some(Destination::Local | Destination::Telephone) => SessionCase::Terminating,
        Some(
            Destination::Service(_)
            | Destination::Server
            | Destination::Foreign
            | Destination::Unsupported,
        )
        | None => SessionCase::Originating,
    };
    (case, Evidence::RequestUri)
}

fn case_of(user: &str, services: &Services) -> Option<SessionCase> {
    let names = &services.route_users;
    if user == names.originating {
        Some(SessionCase::Originating)
    } else if user == names.terminating {
        Some(SessionCase::Terminating)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::header::SessionCase::{self, Originating, Terminating};
    use parlance_sip::{ListenerId, Request};

    use super::{Evidence, ServedUser, remaining_route, served_user};
    use crate::fixture::{capture, request, services};
    use crate::trust::{Peer, PeerKind};

    fn isc() -> Peer {
        Peer::Trusted { name: "scscf".into(), kind: PeerKind::Isc }
    }

    fn served(request: &Request, peer: &Peer, listener: u16) -> ServedUser {
        served_user(request, peer, ListenerId(listener), &services(), None)
    }

    // Covers: CORE-027, CORE-028, CORE-030
    #[test]
    fn a_real_core_names_the_user_and_the_side() {
        #[rustfmt::skip]
        let table = [
            ("orig_INVITE",        Originating, "sip:alice@ims.test", Some(true)),
            ("orig_MESSAGE",       Originating, "sip:alice@ims.test", Some(true)),
            ("orig_MESSAGE_tcp",   Originating, "sip:alice@ims.test", Some(true)),
            ("term_INVITE",        Terminating, "sip:bob@ims.test",   Some(true)),
            ("term_MESSAGE",       Terminating, "sip:bob@ims.test",   Some(true)),
            ("term_MESSAGE_tel",   Terminating, "tel:+15550000002",   Some(true)),
            ("term_MESSAGE_unreg", Terminating, "sip:carol@ims.test", Some(false)),
        ];
        for (name, case, identity, registered) in table {
            // The listener says the opposite: P-Served-User goes before it.
            let listener = if case == Originating { 1 } else { 0 };
            let found = served(&capture(name), &isc(), listener);
            assert_eq!((found.case, found.evidence), (case, Evidence::ServedUser), "{name}");
            assert_eq!(found.identity.unwrap().as_str(), identity, "{name}");
            assert_eq!(found.registered, registered, "{name}");
            assert!(found.route_is_ours && found.named_by_core, "{name}");
        }
    }

    fn message(headers: &str) -> Request {
        request(&format!("MESSAGE sip:bob@ims.test SIP/2.0\r\n{headers}\r\n\r\n"))
    }

    // Covers: CORE-027, CORE-028, CORE-029, CORE-030
    #[test]
    fn without_a_session_case_the_route_and_the_listener_tell() {
        const PAI: &str = "P-Asserted-Identity: <sip:alice@ims.test>, <tel:+1555>";
        let route = |uri: &str| format!("Route: <{uri}>, <sip:mark@scscf>\r\n{PAI}");
        #[rustfmt::skip]
        let table: [(String, u16, SessionCase, Evidence); 9] = [
            (route("sip:127.0.0.20:5081;lr;orig"),       1, Originating, Evidence::Orig),
            (route("sip:im-term@127.0.0.20;lr;orig"),    1, Originating, Evidence::Orig),
            (route("sip:im-orig@127.0.0.20:5081;lr"),    1, Originating, Evidence::RouteUser),
            (route("sip:im-term@127.0.0.20:5080;lr"),    0, Terminating, Evidence::RouteUser),
            (route("sip:other@127.0.0.20:5080;lr"),      0, Originating, Evidence::Listener),
            // Not our Route: its `orig` is for somebody else.
            (route("sip:im-orig@elsewhere.test;lr;orig"), 1, Terminating, Evidence::Listener),
            (PAI.to_owned(),                             0, Originating, Evidence::Listener),
            (PAI.to_owned(),                             1, Terminating, Evidence::Listener),
            (PAI.to_owned(),                             7, Terminating, Evidence::RequestUri),
        ];
        for (headers, listener, case, evidence) in table {
            let found = served(&message(&headers), &isc(), listener);
            assert_eq!((found.case, found.evidence), (case, evidence), "{headers}");
            let identity = match case {
                Originating => "sip:alice@ims.test",
                Terminating => "sip:bob@ims.test",
            };
            assert_eq!(found.identity.unwrap().as_str(), identity, "{headers}");
            assert!(!found.named_by_core);
        }
    }

    // Covers: CORE-030
    #[test]
    fn only_the_inside_of_the_domain_names_the_served_user() {
        let request = message(
            "P-Served-User: <sip:eve@ims.test>;sescase=orig;regstate=unreg\r\n\
             P-Asserted-Identity: <sip:alice@ims.test>",
        );
        let border = Peer::Trusted { name: "b".into(), kind: PeerKind::InterDomain };
        for peer in [border, Peer::Untrusted] {
            let found = served(&request, &peer, 1);
            assert_eq!((found.case, found.evidence), (Terminating, Evidence::Listener));
            assert_eq!(found.identity.unwrap().as_str(), "sip:bob@ims.test");
            assert_eq!(found.registered, None);
        }
    }

    // Covers: CORE-067
    #[test]
    fn the_original_dialog_identifier_stays_as_it_is() {
        let request = capture("orig_MESSAGE");
        let found = served(&request, &isc(), 0);
        let rest: Vec<_> = remaining_route(&request, &found).collect();
        let mark: &[u8] =
            b"<sip:iscmark@127.0.0.13:6060;lr;s=2;h=0;d=0;a=7369703a616c69636540696d732e74657374>";
        assert_eq!(rest, [mark]);
        let foreign = message("Route: <sip:a@elsewhere;lr>\r\nSubject: x\r\nRoute: <sip:b;lr>;z=1");
        let found = served(&foreign, &isc(), 0);
        let rest: Vec<_> = remaining_route(&foreign, &found).collect();
        assert_eq!(rest, [&b"<sip:a@elsewhere;lr>"[..], &b"<sip:b;lr>;z=1"[..]]);
    }

    // Covers: CORE-039
    #[test]
    fn an_originating_user_may_be_a_number_only() {
        let found = served(&message("P-Asserted-Identity: <tel:+1-555>"), &isc(), 0);
        assert_eq!(found.identity.unwrap().as_str(), "tel:+1555");
        let nobody = served(&message("Subject: x"), &isc(), 0);
        assert_eq!(nobody.identity, None);
        let proven = "sip:alice@ims.test".parse().unwrap();
        let plain = message("Subject: x");
        let found = served_user(&plain, &isc(), ListenerId(0), &services(), Some(&proven));
        assert_eq!(found.identity, Some(proven));
    }
}
