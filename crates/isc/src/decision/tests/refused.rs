//! What is refused, and by whom.

use parlance_sip::header::SessionCase::{Originating, Terminating};
use parlance_sip::message::Fault;
use parlance_sip::{HeaderName, Transport};

use super::{ALICE, IM, World, alice, peer, refused};
use crate::decision::{Function, Refusal, options};
use crate::fixture::{capture, request};
use crate::service::Service;
use crate::trust::{Peer, PeerKind};

// RFC 3261 §16.3 item 1: what is acted on must be readable, what is behind it need not.
#[test]
fn the_next_hop_is_readable() {
    let world = World::full();
    let role = |method, routes: &str| {
        let own = "Route: <sip:im-orig@127.0.0.20:5080;lr>";
        world.role(&alice(method, "sip:bob@ims.test", &format!("{own}{routes}")))
    };
    let bad = refused(Refusal::Malformed(Fault::Header(HeaderName::Route)));
    assert_eq!(role("MESSAGE", ", <sip:scscf@:5060"), bad);
    assert_eq!(role("MESSAGE", "\r\nRoute: <sip:scscf@:5060"), bad);
    assert_eq!(role("ACK", ", <sip:scscf@:5060"), Function::Dropped);
    assert_ne!(role("MESSAGE", ", <sip:127.0.0.13;lr>, <sip:scscf@:5060"), bad);
}

// Covers: CORE-009, CORE-010, CORE-011
#[test]
fn a_uas_refuses_what_it_cannot_serve() {
    let world = World::full();
    let role = |method, uri: &str, headers: &str| world.role(&alice(method, uri, headers));
    const FACTORY: &str = "sip:im-conf-factory@ims.test";
    assert_eq!(role("NEWMETHOD", FACTORY, ""), refused(Refusal::NotImplemented));
    assert_eq!(role("NEWMETHOD", "sip:127.0.0.20", ""), refused(Refusal::NotImplemented));
    let only = refused(Refusal::MethodNotAllowed(vec!["MESSAGE", "OPTIONS"]));
    assert_eq!(role("INVITE", "sip:im-exploder@ims.test", ""), only);
    let server = refused(Refusal::MethodNotAllowed(vec!["OPTIONS", "REGISTER"]));
    assert_eq!(role("REFER", "sip:127.0.0.20", ""), server);
    let event = refused(Refusal::BadEvent(vec!["im-settings".into()]));
    assert_eq!(role("PUBLISH", "sip:127.0.0.20", "Event: x"), event);
    assert_eq!(role("PUBLISH", "sip:127.0.0.20", ""), event);
    let nowhere = refused(Refusal::NotFound);
    assert_eq!(role("PUBLISH", "sip:127.0.0.20", "Event: im-settings"), nowhere);
    let publish = alice("PUBLISH", "sip:127.0.0.20", "Event: im-settings");
    assert_eq!(World::new().role(&publish), server, "where nothing is published here");
    let unknown = vec!["nothing".to_owned(), "more".to_owned()];
    let require = "Require: timer, nothing\r\nSubject: x\r\nRequire: more";
    assert_eq!(role("INVITE", FACTORY, require), refused(Refusal::BadExtension(unknown)));
    assert_eq!(role("ACK", FACTORY, require), Function::Dropped);
    let body = |headers: &str| {
        let head = format!("INVITE {FACTORY} SIP/2.0\r\nTo: <{FACTORY}>\r\n{ALICE}\r\n{IM}\r\n");
        world.role(&request(&format!("{head}{headers}\r\n\r\nx")))
    };
    let accepted = Service::ConferenceFactory.accepts().to_vec();
    let taken = Function::Controlling(Service::ConferenceFactory);
    assert_eq!(body("Content-Type: application/sdp"), taken);
    assert_eq!(body("Content-Type: text/x"), refused(Refusal::UnsupportedBody(accepted)));
    assert_eq!(body("Content-Type: text/x\r\nContent-Disposition: a;handling=optional"), taken);
    let gzip = "Content-Type: application/sdp\r\nContent-Encoding: gzip";
    assert_eq!(body(gzip), refused(Refusal::UnsupportedCoding));
    assert_eq!(body("Content-Type: application/sdp\r\ne: identity"), taken);
    let parts = |second: &str| {
        body(&format!(
            "Content-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\nContent-Type: application/sdp\
             \r\n\r\nv=0\r\n--b\r\nContent-Type: text/x\r\n{second}\r\ny\r\n--b--"
        ))
    };
    assert!(matches!(parts(""), Function::Refused(Refusal::UnsupportedBody(_))));
    assert_eq!(parts("Content-Disposition: a; handling=optional\r\n"), taken);
}

// Covers: CORE-010, CORE-012, CORE-013, CORE-053
#[test]
fn a_proxy_refuses_little() {
    const BOB: &str = "sip:bob@ims.test";
    for im in [IM, "Subject: x"] {
        let role = |method, headers: &str| {
            World::new().role(&alice(method, BOB, &format!("{im}\r\n{headers}")))
        };
        let served = role("MESSAGE", "Max-Forwards: 1");
        assert_eq!(role("MESSAGE", "Max-Forwards: 0"), refused(Refusal::TooManyHops));
        assert_eq!(role("MESSAGE", "Max-Breadth: 0"), refused(Refusal::TooBroad));
        assert_eq!(role("MESSAGE", "Max-Breadth: 1"), served);
        let unknown = refused(Refusal::BadExtension(vec!["x".into(), "y".into()]));
        assert_eq!(role("MESSAGE", "Proxy-Require: x, privacy\r\nProxy-Require: y"), unknown);
        assert_eq!(role("MESSAGE", "Proxy-Require: Privacy"), served);
        assert_eq!(role("MESSAGE", "Require: x"), served);
        assert_eq!(role("ACK", "Proxy-Require: x"), Function::PassThrough);
    }
    let privacy = |value: &str, uri: &str| {
        World::full().role(&alice("MESSAGE", uri, &format!("{IM}\r\nPrivacy: {value}")))
    };
    assert_eq!(privacy("id;critical", BOB), Function::Participating(Originating));
    assert_eq!(privacy("strange", BOB), Function::Participating(Originating));
    assert_eq!(privacy("strange;critical", BOB), refused(Refusal::Privacy));
    assert_eq!(privacy("none;strange;critical", BOB), Function::Participating(Originating));
    assert_eq!(privacy("strange;critical", "sip:im-exploder@ims.test"), refused(Refusal::Privacy));
    let urn = alice("MESSAGE", "urn:service:sos", IM);
    assert_eq!(World::new().role(&urn), refused(Refusal::UnsupportedScheme));
    let routed = alice("OPTIONS", "urn:service:sos", "Route: <sip:im-orig@127.0.0.20;lr>, <sip:x>");
    assert_eq!(World::new().role(&routed), Function::PassThrough);
}

// Covers: CORE-047
#[test]
fn options_are_answered_by_services_and_passed_to_users() {
    let world = World::full();
    let factory = alice("OPTIONS", "sip:im-conf-factory@ims.test", "");
    assert_eq!(world.role(&factory), Function::Server);
    assert_eq!(world.role(&alice("OPTIONS", "sip:127.0.0.20", "")), Function::Server);
    assert_eq!(world.role(&alice("OPTIONS", "sip:bob@ims.test", IM)), Function::PassThrough);
    let reply = options(&factory, &world.services);
    assert_eq!(reply.status, 200);
    let headers: Vec<_> =
        reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [
            ("Allow", "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, REFER, SUBSCRIBE, OPTIONS"),
            ("Accept", "application/sdp, application/resource-lists+xml, multipart/mixed"),
            ("Accept-Encoding", "identity"),
            ("Accept-Language", "en"),
            ("Supported", "100rel, timer, pref, norefersub, multiple-refer, recipient-list-invite"),
            ("Allow-Events", "conference"),
            (
                "Contact",
                "<sip:im-conf-factory@ims.test>;+g.oma.sip-im;+g.oma.sip-im.large-message;isfocus"
            ),
        ]
    );
    let session = options(&alice("OPTIONS", "sip:s1@sessions.ims.test", ""), &world.services);
    let supported = session.headers.iter().find(|(name, _)| name.as_str() == "Supported");
    assert!(!supported.unwrap().1.contains("recipient-list-invite"));
}

// Covers: CORE-009, CORE-018, CORE-023, SEC-004, SEC-006
#[test]
fn only_the_core_registers_and_only_the_trusted_speak() {
    let third = capture("reg_REGISTER");
    assert_eq!(World::new().role(&third), Function::Registration);
    for peer in [Peer::Untrusted, peer(PeerKind::InterDomain)] {
        let world = World { peer, transport: Transport::Tls, ..World::new() };
        assert_eq!(world.role(&third), refused(Refusal::Untrusted));
    }
    let first = request(
        "REGISTER sip:127.0.0.20 SIP/2.0\r\nFrom: <sip:alice@ims.test>;tag=1\r\n\
         To: <sip:alice@IMS.test>\r\n\r\n",
    );
    let allowed = refused(Refusal::MethodNotAllowed(vec!["OPTIONS"]));
    assert_eq!(World::new().role(&first), allowed);
    let message = alice("MESSAGE", "sip:bob@ims.test", IM);
    let stranger = World { peer: Peer::Untrusted, ..World::new() };
    assert_eq!(stranger.role(&message), refused(Refusal::Untrusted));
    let ack = alice("ACK", "sip:bob@ims.test", IM);
    assert_eq!(stranger.role(&ack), Function::Dropped);
    let border = |transport| {
        let peer = peer(PeerKind::InterDomain);
        World { peer, transport, ..World::terminating() }.role(&message)
    };
    assert_eq!(border(Transport::Tls), Function::Participating(Terminating));
    assert_eq!(border(Transport::Tcp), refused(Refusal::Untrusted));
    // Another domain sends to our users; it does not speak for them, whatever Route it writes.
    let (peer, transport) = (peer(PeerKind::InterDomain), Transport::Tls);
    let border = World { peer, transport, ..World::new() };
    assert_eq!(border.role(&message), refused(Refusal::NotFound));
    let routed = alice("INFO", "sip:eve@elsewhere.test", "Route: <sip:im-orig@127.0.0.20;lr;orig>");
    assert_eq!(border.role(&routed), refused(Refusal::NotFound));
}
