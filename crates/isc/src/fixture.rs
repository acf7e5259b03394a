//! Requests for the tests of this crate.

use bytes::Bytes;
use parlance_sip::header::SessionCase;
use parlance_sip::message::Limits;
use parlance_sip::{ListenerId, Message, Request, Transport};

use crate::decision::{Decision, DecisionPolicy, Facts, SessionState, decide};
use crate::served_user::served_user;
use crate::service::{Service, Services};
use crate::trust::Peer;

/// A request from a text, whatever its line ends promise about length.
pub(crate) fn request(text: &str) -> Request {
    octets(text.as_bytes())
}

/// A request as an S-CSCF sent it: a file of `testdata/captures`, without its suffix.
pub(crate) fn capture(name: &str) -> Request {
    let path = format!("{}/testdata/captures/{name}.sip", env!("CARGO_MANIFEST_DIR"));
    octets(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
}

fn octets(octets: &[u8]) -> Request {
    let bytes = Bytes::copy_from_slice(octets);
    let message = Message::parse_datagram(bytes, &Limits::default()).expect("it is well-formed");
    Request::new(message).expect("it is a request")
}

/// What the server of the captures hosts: 127.0.0.20, listener 0 originating, 1 terminating, 2 for
/// registrations; users of `ims.test`.
pub(crate) fn services() -> Services {
    let mut services = Services::new();
    services.own("127.0.0.20", None);
    services.domain("ims.test");
    services.listener(ListenerId(0), SessionCase::Originating);
    services.listener(ListenerId(1), SessionCase::Terminating);
    let identities = [
        ("im-conf-factory", Service::ConferenceFactory),
        ("im-exploder", Service::Exploder),
        ("im-history", Service::History),
        ("im-deferred", Service::Deferred),
        ("im-session", Service::PreEstablished),
    ];
    for (user, service) in identities {
        let identity = format!("sip:{user}@ims.test").parse().expect("it is an identity");
        services.identity(identity, service);
    }
    services.family("im-group-", "ims.test", Service::Group);
    services.family("", "sessions.ims.test", Service::Session);
    services
}

/// A decision for tests of what runs below one: nobody serves the request.
pub(crate) fn pass_through(request: &Request) -> Decision {
    let services = services();
    let peer = Peer::Untrusted;
    let served = served_user(request, &peer, ListenerId(0), &services, None);
    let facts = Facts {
        peer: &peer,
        transport: Transport::Udp,
        services: &services,
        served: &served,
        subscriber: None,
        origin: None,
        in_session: false,
        session: SessionState::Unknown,
        proven: None,
        filter: &[],
        policy: &DecisionPolicy::default(),
    };
    decide(request, &facts)
}
