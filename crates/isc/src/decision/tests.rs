use std::sync::Arc;

use parlance_sip::header::SessionCase::{Originating, Terminating};
use parlance_sip::message::Limits;
use parlance_sip::{ListenerId, Message, Request, Transport};
use parlance_store::{Millis, Profile, Registration, UserId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Decision, DecisionPolicy, Facts, Function, Provisioning, Reason, Refusal};
use super::{SessionState, decide};
use crate::feature::Mode;
use crate::fixture::{self, capture, request};
use crate::ifc::{Addresses, profiles, render_user};
use crate::mark::{Marks, Origin};
use crate::served_user::{Subscriber, served_user};
use crate::service::{Service, Services};
use crate::trust::{Challenge, Peer, PeerKind};

const CAPTURES: [&str; 4] = ["orig_INVITE", "term_MESSAGE_tel", "term_MESSAGE", "reg_REGISTER"];
const IM: &str = "Accept-Contact: *;+g.oma.sip-im;require;explicit";
const ALICE: &str = "P-Asserted-Identity: <sip:alice@ims.test>";

mod keeping;
mod refused;

/// Facts that a row may change.
struct World {
    peer: Peer,
    transport: Transport,
    services: Services,
    listener: u16,
    subscriber: Option<Subscriber>,
    marks: Marks,
    in_session: bool,
    session: SessionState,
    policy: DecisionPolicy,
}

impl World {
    fn new() -> Self {
        Self {
            peer: peer(PeerKind::Isc),
            transport: Transport::Udp,
            services: fixture::services(),
            listener: 0,
            subscriber: Some(known("sip:alice@ims.test")),
            marks: Marks::new([1; 32]),
            in_session: false,
            session: SessionState::Unknown,
            policy: DecisionPolicy::default(),
        }
    }

    /// Everything runs.
    fn full() -> Self {
        let mut world = Self::new();
        let running = &mut world.services.running;
        running.controlling = true;
        running.history = true;
        running.deferred = true;
        running.pre_established = true;
        running.settings = true;
        world
    }

    fn terminating() -> Self {
        Self { listener: 1, subscriber: Some(known("sip:bob@ims.test")), ..Self::new() }
    }

    fn decide(&self, request: &Request) -> Decision {
        let listener = ListenerId(self.listener);
        let served = served_user(request, &self.peer, listener, &self.services, None);
        let filter = profiles(&render_user(&Addresses::default(), &[])).unwrap().remove(0);
        decide(
            request,
            &Facts {
                peer: &self.peer,
                transport: self.transport,
                services: &self.services,
                served: &served,
                subscriber: self.subscriber.as_ref(),
                origin: self.marks.recognise(request),
                in_session: self.in_session,
                session: self.session,
                proven: None,
                filter: &filter.criteria,
                policy: &self.policy,
            },
        )
    }

    fn role(&self, request: &Request) -> Function {
        self.decide(request).role
    }
}

fn peer(kind: PeerKind) -> Peer {
    Peer::Trusted { name: "scscf".into(), kind }
}

fn known(user: &str) -> Subscriber {
    let user = UserId::from(user);
    let profile = Some(Arc::new(Profile::new(user.clone(), Millis(1))));
    let registration = Some(Arc::new(Registration::default()));
    Subscriber::Known { user, profile, registration }
}

/// An originating request of Alice's.
fn alice(method: &str, uri: &str, headers: &str) -> Request {
    let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
    request(&format!(
        "{method} {uri} SIP/2.0\r\nFrom: <sip:alice@ims.test>;tag=1\r\nTo: <{uri}>\r\n\
         {ALICE}\r\n{headers}\r\n"
    ))
}

fn refused(refusal: Refusal) -> Function {
    Function::Refused(refusal)
}

// Covers: CORE-027, CORE-028, CORE-030, CORE-040, CORE-062, CORE-065, ROLE-007, ROLE-012
#[test]
fn what_a_real_core_sends_is_decided() {
    use Function::{Participating, Registration as Registers};
    #[rustfmt::skip]
    let table = [
        ("orig_INVITE",         "sip:alice@ims.test", Participating(Originating), Some(Mode::SessionMode), true),
        ("orig_MESSAGE",        "sip:alice@ims.test", Participating(Originating), Some(Mode::PagerMode),   true),
        ("orig_MESSAGE_tcp",    "sip:alice@ims.test", Participating(Originating), Some(Mode::PagerMode),   true),
        ("term_INVITE",         "sip:bob@ims.test",   Participating(Terminating), Some(Mode::SessionMode), true),
        ("term_MESSAGE",        "sip:bob@ims.test",   Participating(Terminating), Some(Mode::PagerMode),   true),
        ("term_MESSAGE_tel",    "sip:bob@ims.test",   Participating(Terminating), Some(Mode::PagerMode),   true),
        ("term_MESSAGE_unreg",  "sip:carol@ims.test", Participating(Terminating), Some(Mode::PagerMode),   false),
        ("term_MESSAGE_AS_originated_retrigger",
                                "sip:carol@ims.test", Participating(Terminating), Some(Mode::PagerMode),   true),
        ("reg_REGISTER",        "sip:alice@ims.test", Registers, None, true),
        ("reg_REGISTER_dereg",  "sip:carol@ims.test", Registers, None, true),
    ];
    for (name, user, role, mode, registered) in table {
        let listener = if name.starts_with("term") { 1 } else { 0 };
        let world = World { listener, subscriber: Some(known(user)), ..World::new() };
        let decision = world.decide(&capture(name));
        assert_eq!(decision.role, role, "{name}");
        assert_eq!(decision.mode, mode, "{name}");
        assert_eq!(decision.is_registered(), registered, "{name}");
        assert_eq!(decision.ends_registration(), name == "term_MESSAGE_unreg", "{name}");
        assert_eq!(decision.user.as_ref().map(UserId::as_str), Some(user), "{name}");
    }
}

// Covers: CORE-064
#[test]
fn our_own_message_is_passed_on_when_it_comes_back() {
    const NAME: &str = "term_MESSAGE_AS_originated_retrigger";
    let path = format!("{}/testdata/captures/{NAME}.sip", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let world = World { subscriber: Some(known("sip:carol@ims.test")), ..World::terminating() };
    let signed = |origin| {
        let branch = world.marks.branch(origin, 0, 42, &capture(NAME));
        request(&text.replace("z9hG4bK5e8224a4b93045f2", &branch))
    };
    for origin in [Origin::Deferred, Origin::Notification] {
        let decision = world.decide(&signed(origin));
        assert_eq!(decision.role, Function::PassThrough);
        assert_eq!(decision.reason, Reason::Own(origin));
    }
    // A copy of the controlling function is an ordinary message to its recipient.
    let decision = world.decide(&signed(Origin::Controlling));
    assert_eq!(decision.role, Function::Participating(Terminating));
    assert_eq!(decision.origin, Some(Origin::Controlling));
    // On the way out every one of ours goes on.
    let outward = |origin| {
        let text = text.replace("sescase=term", "sescase=orig").replace("im-term", "im-orig");
        let branch = world.marks.branch(origin, 0, 42, &capture(NAME));
        world.decide(&request(&text.replace("z9hG4bK5e8224a4b93045f2", &branch)))
    };
    for origin in [Origin::Deferred, Origin::Notification, Origin::Controlling] {
        assert_eq!(outward(origin).reason, Reason::Own(origin));
        assert_eq!(outward(origin).role, Function::PassThrough);
    }
    // From alone proves nothing.
    let forged = text.replace("From: <sip:alice@ims.test>", "From: <sip:im-deferred@ims.test>");
    assert_eq!(world.role(&request(&forged)), Function::Participating(Terminating));
}

// Covers: ROLE-004, ROLE-007, ROLE-008, ROLE-012
#[test]
fn a_service_takes_what_is_addressed_to_it() {
    use Function::{Controlling, History, Participating};
    // Stored messages are not fetched from here.
    let not_allowed = refused(Refusal::MethodNotAllowed(vec!["SUBSCRIBE", "OPTIONS"]));
    #[rustfmt::skip]
    let table = [
        ("INVITE",    "sip:im-conf-factory@ims.test", Controlling(Service::ConferenceFactory)),
        ("INVITE",    "sip:im-group-7@ims.test",      Controlling(Service::Group)),
        ("MESSAGE",   "sip:im-group-7@ims.test",      Controlling(Service::Group)),
        ("MESSAGE",   "sip:im-exploder@ims.test",     Controlling(Service::Exploder)),
        ("INVITE",    "sip:im-history@ims.test",      History),
        ("INVITE",    "sip:im-deferred@ims.test",     not_allowed),
        ("INVITE",    "sip:im-session@ims.test",      Participating(Originating)),
        ("INVITE",    "sip:bob@ims.test",             Participating(Originating)),
        ("INVITE",    "sip:s1@sessions.ims.test",     refused(Refusal::NotFound)),
    ];
    for (method, uri, role) in table {
        assert_eq!(World::full().role(&alice(method, uri, IM)), role, "{method} {uri}");
    }
    let session = alice("INVITE", "sip:s1@sessions.ims.test", IM);
    let running = World { session: SessionState::Running, ..World::full() };
    assert_eq!(running.role(&session), Controlling(Service::Session));
    let ended = World { session: SessionState::Ended, ..World::full() };
    assert_eq!(ended.role(&session), refused(Refusal::Gone));
    // What does not run here is not here.
    for user in ["im-conf-factory", "im-group-7", "im-exploder", "im-history", "im-deferred"] {
        let request = alice("INVITE", &format!("sip:{user}@ims.test"), IM);
        assert_eq!(World::new().role(&request), refused(Refusal::NotFound), "{user}");
    }
}

// Covers: PF-011, CORE-034
#[test]
fn a_service_for_instant_messaging_takes_nothing_else() {
    let role = |method, uri: &str, headers: &str| World::full().role(&alice(method, uri, headers));
    let uris = ["im-conf-factory", "im-group-7", "im-history", "im-session"];
    for headers in ["Subject: x", "Accept-Contact: *;audio;require", "a: *;+g.oma.sip-im=FALSE"] {
        for user in uris {
            let role = role("INVITE", &format!("sip:{user}@ims.test"), headers);
            assert_eq!(role, refused(Refusal::NotIm), "{user} {headers}");
        }
        let exploder = role("MESSAGE", "sip:im-exploder@ims.test", headers);
        assert_eq!(exploder, refused(Refusal::NotIm), "{headers}");
    }
    // Events and capabilities may be asked for without it.
    let conference = role("SUBSCRIBE", "sip:im-group-7@ims.test", "Event: conference");
    assert_eq!(conference, Function::Controlling(Service::Group));
}

// Covers: ROLE-007, ROLE-019, CORE-054
#[test]
fn a_target_that_is_nobody_is_refused() {
    let role = |world: &World, uri: &str| world.role(&alice("MESSAGE", uri, IM));
    let unknown = World { subscriber: Some(Subscriber::Unknown), ..World::terminating() };
    assert_eq!(role(&unknown, "sip:nobody@ims.test"), refused(Refusal::NotFound));
    assert_eq!(role(&unknown, "tel:+15559999999"), refused(Refusal::NotFound));
    assert_eq!(role(&unknown, "sip:bob@elsewhere.test"), refused(Refusal::NotFound));
    assert_eq!(role(&World::new(), "sip:im-term@127.0.0.20"), refused(Refusal::NotFound));
    // No open relay, with or without a feature tag.
    let plain = alice("INFO", "sip:bob@elsewhere.test", "Subject: x");
    assert_eq!(unknown.role(&plain), refused(Refusal::NotFound));
    // The core vouches for the user it names, though not for a number it cannot map, nor for a
    // domain that is not served here.
    let named = |uri: &str| {
        let header = format!("{IM}\r\nP-Served-User: <{uri}>;sescase=term;regstate=unreg");
        unknown.role(&alice("MESSAGE", uri, &header))
    };
    assert_eq!(named("sip:new@ims.test"), Function::Participating(Terminating));
    assert_eq!(named("tel:+15559999999"), refused(Refusal::NotFound));
    assert_eq!(named("sip:new@elsewhere.test"), refused(Refusal::NotFound));
}

// Covers: CORE-054
#[test]
fn a_number_goes_on_to_whoever_maps_it_or_is_nobodys() {
    let role = |world: &World, method: &str, headers: &str| {
        world.role(&alice(method, "tel:+15559999999", headers))
    };
    let routed = format!("{IM}\r\nRoute: <sip:im-orig@127.0.0.20;lr>, <sip:x;lr>");
    assert_eq!(role(&World::new(), "MESSAGE", &routed), Function::Participating(Originating));
    assert_eq!(role(&World::new(), "MESSAGE", IM), refused(Refusal::NotFound));
    assert_eq!(role(&World::new(), "OPTIONS", "Subject: x"), refused(Refusal::NotFound));
    let mut world = World::new();
    world.services.next_hop = true;
    assert_eq!(role(&world, "MESSAGE", IM), Function::Participating(Originating));
    // On the other side it is an alias of the served user.
    assert_eq!(role(&World::terminating(), "MESSAGE", IM), Function::Participating(Terminating));
}

// Covers: ROLE-019, CORE-065
#[test]
fn users_have_the_service_or_not() {
    let to_bob = alice("MESSAGE", "sip:bob@ims.test", IM);
    let with = |change: fn(&mut Profile)| {
        let mut profile = Profile::new("sip:alice@ims.test".into(), Millis(1));
        change(&mut profile);
        let (user, profile) = (profile.user.clone(), Some(Arc::new(profile)));
        Some(Subscriber::Known { user, profile, registration: None })
    };
    let role = |subscriber, listener, provisioning| {
        let policy = DecisionPolicy { provisioning, ..DecisionPolicy::default() };
        World { subscriber, listener, policy, ..World::new() }.role(&to_bob)
    };
    use Provisioning::{ByCore, ByOperator};
    // Served without a registration: the request may be faster than the third-party REGISTER.
    let served = Function::Participating(Originating);
    assert_eq!(role(with(|_| {}), 0, ByCore), served);
    assert_eq!(role(with(|_| {}), 0, ByOperator), served);
    assert_eq!(role(Some(Subscriber::Unknown), 0, ByCore), served);
    let no = refused(Refusal::NotProvisioned);
    assert_eq!(role(Some(Subscriber::Unknown), 0, ByOperator), no);
    for listener in [0, 1] {
        assert_eq!(role(with(|profile| profile.provisioned = false), listener, ByCore), no);
        assert_eq!(role(with(|profile| profile.barred = true), listener, ByCore), no);
        // The store is down: not a 5xx, and not 403 either.
        assert_eq!(role(None, listener, ByCore), refused(Refusal::StoreUnavailable));
    }
}

// Covers: CORE-034
#[test]
fn what_is_no_instant_messaging_is_passed_on_unchanged() {
    let role = |method, uri, headers: &str| World::full().role(&alice(method, uri, headers));
    const BOB: &str = "sip:bob@ims.test";
    #[rustfmt::skip]
    let table = [
        ("MESSAGE",   "Subject: x",                    Function::PassThrough),
        ("INVITE",    "Accept-Contact: *;audio",       Function::PassThrough),
        ("INVITE",    "Accept-Contact: *;+g.oma.sip-im", Function::Participating(Originating)),
        ("MESSAGE",   "a: *;+G.OMA.SIP-IM",            Function::Participating(Originating)),
        ("PUBLISH",   "Event: presence",               Function::PassThrough),
        ("PUBLISH",   "Event: im-settings",            Function::Participating(Originating)),
        ("SUBSCRIBE", "Event: message-summary",        Function::Deferred),
        ("SUBSCRIBE", "Event: presence",               Function::PassThrough),
        ("OPTIONS",   "Subject: x",                    Function::PassThrough),
        ("NEWMETHOD", "Subject: x",                    Function::PassThrough), // CORE-009
        ("NEWMETHOD", IM,                              Function::PassThrough),
    ];
    for (method, headers, expected) in table {
        assert_eq!(role(method, BOB, headers), expected, "{method} {headers}");
    }
    let settings = alice("PUBLISH", "sip:alice@ims.test", "Event: im-settings");
    assert_eq!(World::new().role(&settings), Function::PassThrough);
    let elsewhere = role("PUBLISH", "sip:bob@elsewhere.test", "Event: im-settings");
    assert_eq!(elsewhere, Function::PassThrough, "another server's user");
    let received = World { listener: 1, ..World::full() };
    assert_eq!(received.role(&settings), Function::PassThrough, "to a user, not of him");
}

// Covers: CORE-031
#[test]
fn a_core_without_a_filter_gets_one() {
    let proxy = World { peer: peer(PeerKind::Proxy), ..World::new() };
    let decision = proxy.decide(&alice("MESSAGE", "sip:bob@ims.test", IM));
    assert_eq!(decision.role, Function::Participating(Originating));
    // The tag of large messages alone is in the filter too; a tag the filter does not look for,
    // or a method it does not name, passes.
    let large = alice("INVITE", "sip:bob@ims.test", "a: *;+g.oma.sip-im.large-message");
    assert_eq!(proxy.role(&large), Function::Participating(Originating));
    let info = proxy.decide(&alice("INFO", "sip:bob@ims.test", IM));
    assert_eq!((info.role, info.reason), (Function::PassThrough, Reason::NotInFilter));
    let mut nothing = World { peer: peer(PeerKind::Proxy), ..World::terminating() };
    nothing.subscriber = Some(Subscriber::Unknown);
    let away = nothing.decide(&alice("REFER", "sip:bob@ims.test", IM));
    assert_eq!(away.reason, Reason::NotInFilter);
}

// Covers: ROLE-010
#[test]
fn refer_goes_to_a_focus_or_passes() {
    let running = World { session: SessionState::Running, ..World::full() };
    let role = |uri: &str| running.role(&alice("REFER", uri, IM));
    assert_eq!(role("sip:s1@sessions.ims.test"), Function::Controlling(Service::Session));
    assert_eq!(role("sip:im-group-1@ims.test"), Function::Controlling(Service::Group));
    assert_eq!(role("sip:bob@ims.test"), Function::Participating(Originating), "and then on");
    let coming = World::terminating().role(&alice("REFER", "sip:bob@ims.test", IM));
    assert_eq!(coming, Function::PassThrough);
    for user in ["im-exploder", "im-history", "im-deferred"] {
        let role = role(&format!("sip:{user}@ims.test"));
        assert!(matches!(role, Function::Refused(Refusal::MethodNotAllowed(_))), "{user} {role:?}");
    }
}

// Covers: ROLE-014
#[test]
fn subscribe_is_decided_by_its_event() {
    let running = World { session: SessionState::Running, ..World::full() };
    let role = |uri: &str, event: &str| {
        running.role(&alice("SUBSCRIBE", uri, &format!("{IM}\r\nEvent: {event}")))
    };
    let bad = |events: &[&'static str]| {
        refused(Refusal::BadEvent(events.iter().map(|event| (*event).into()).collect()))
    };
    const SESSION: &str = "sip:s1@sessions.ims.test";
    assert_eq!(role(SESSION, "conference"), Function::Controlling(Service::Session));
    assert_eq!(role(SESSION, "presence"), bad(&["conference"]));
    assert_eq!(role(SESSION, "refer;id=7"), Function::Controlling(Service::Session), "403 there");
    assert_eq!(role("sip:im-deferred@ims.test", "message-summary"), Function::Deferred);
    assert_eq!(role("sip:im-deferred@ims.test", "reg"), bad(&["message-summary"]));
    assert_eq!(role("sip:127.0.0.20", "reg"), bad(&["conference", "message-summary"]));
    assert_eq!(role("sip:bob@ims.test", "presence"), Function::PassThrough);
    let asked = role("sip:bob@ims.test", "conference");
    assert_eq!(asked, Function::Participating(Originating), "and then on");
    assert_eq!(role("sip:alice@ims.test", "message-summary"), Function::Deferred);
}

// Covers: ROLE-015, ROLE-016, CORE-064
#[test]
fn groups_are_not_nested() {
    const EXPLODER: &str = "sip:im-exploder@ims.test";
    const HISTORY: &str = "Content-Type: multipart/mixed;boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/plain\r\n\r\nhi\r\n\
        --b\r\nContent-Type: application/resource-lists+xml\r\n\
        Content-Disposition: recipient-list-history; handling=optional\r\n\r\n<x/>\r\n--b--";
    let with_body = |uri: &str| {
        let head = format!(
            "MESSAGE {uri} SIP/2.0\r\nFrom: <sip:alice@ims.test>;tag=1\r\nTo: <{uri}>\r\n{ALICE}\r\n{IM}\r\n"
        );
        request(&(head + HISTORY))
    };
    let world = World::full();
    let nested = refused(Refusal::NestedGroup);
    let focus = format!("{IM}\r\nContact: <sip:s@h>;isfocus");
    assert_eq!(world.role(&alice("INVITE", "sip:im-group-1@ims.test", &focus)), nested);
    assert_eq!(world.role(&with_body(EXPLODER)), nested);
    assert_eq!(world.role(&alice("MESSAGE", EXPLODER, "P-IM-Exploded: 1")), nested);
    let marked = alice("INVITE", "sip:im-group-1@ims.test", "P-IM-Exploded: 1");
    assert_eq!(world.role(&marked), nested);
    // The same to a user is normal.
    assert_eq!(world.role(&with_body("sip:bob@ims.test")), Function::Participating(Originating));
    let invite = alice("INVITE", "sip:bob@ims.test", &focus);
    assert_eq!(world.role(&invite), Function::Participating(Originating));
    // Signed by our own controlling function: a loop.
    let bare = alice("MESSAGE", EXPLODER, IM);
    let branch = world.marks.branch(Origin::Controlling, 0, 1, &bare);
    let own = alice("MESSAGE", EXPLODER, &format!("Via: SIP/2.0/UDP h;branch={branch}"));
    assert_eq!(world.role(&own), refused(Refusal::Loop));
}

// Covers: ROLE-002, CORE-034
#[test]
fn a_dialog_keeps_its_function() {
    let in_dialog = |method: &str, uri: &str, headers: &str| {
        let text = format!(
            "{method} {uri} SIP/2.0\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n{headers}\r\n\r\n"
        );
        request(&text)
    };
    let ours = World { in_session: true, ..World::full() };
    let bye = in_dialog("BYE", "sip:s1@127.0.0.20", "Subject: x");
    assert_eq!(ours.role(&bye), Function::Session);
    assert_eq!(World::full().role(&bye), refused(Refusal::NoDialog));
    assert_eq!(World::full().role(&in_dialog("ACK", "sip:127.0.0.20", "a: b")), Function::Dropped);
    let ended = in_dialog("BYE", "sip:s1@sessions.ims.test", "Subject: x");
    assert_eq!(World::full().role(&ended), refused(Refusal::NoDialog));
    // Passing through, with nothing asked for: neither tag nor user nor service.
    let passing = in_dialog("MESSAGE", "sip:im-exploder@ims.test", "Route: <sip:127.0.0.20;lr>");
    let decision = World::full().decide(&passing);
    assert_eq!((decision.role, decision.reason), (Function::PassThrough, Reason::InDialog));
    let spent = in_dialog("BYE", "sip:b@10.0.0.1", "Max-Forwards: 0");
    assert_eq!(World::full().role(&spent), refused(Refusal::TooManyHops));
}

// Covers: CORE-038, SEC-001, SEC-003, SEC-009
#[test]
fn the_sender_is_somebody_and_says_so() {
    let text = |from: &str, rest: &str| {
        request(&format!(
            "MESSAGE sip:bob@ims.test SIP/2.0\r\nFrom: {from};tag=1\r\nTo: <sip:bob@ims.test>\r\n{IM}\r\n{rest}\r\n"
        ))
    };
    let role = |world: World, from: &str, rest: &str| world.role(&text(from, rest));
    let served = Function::Participating(Originating);
    let pai = format!("{ALICE}, <tel:+15550000001>\r\n");
    let with_alias = || {
        let mut profile = Profile::new("sip:alice@ims.test".into(), Millis(1));
        profile.aliases = vec!["sip:ally@ims.test".into()];
        let (user, profile) = (profile.user.clone(), Some(Arc::new(profile)));
        let subscriber = Some(Subscriber::Known { user, profile, registration: None });
        World { subscriber, ..World::new() }
    };
    assert_eq!(role(World::new(), "<sip:alice@ims.test>", &pai), served);
    assert_eq!(role(World::new(), "<tel:+1-555-000-0001>", &pai), served);
    assert_eq!(role(World::new(), "<sip:anonymous@anonymous.invalid>", &pai), served);
    assert_eq!(role(with_alias(), "<sip:ally@ims.test>", &pai), served);
    let foreign = refused(Refusal::ForeignFrom);
    assert_eq!(role(World::new(), "<sip:eve@ims.test>", &pai), foreign);
    let mut lax = World::new();
    lax.policy.from_must_match = false;
    assert_eq!(role(lax, "<sip:eve@ims.test>", &pai), served);

    let nobody = refused(Refusal::NotAuthenticated);
    assert_eq!(role(World::new(), "<sip:alice@ims.test>", ""), nobody);
    assert_eq!(role(World::terminating(), "<sip:alice@ims.test>", ""), nobody);
    let anonymous = "<sip:anonymous@anonymous.invalid>";
    let decision = World::terminating().decide(&text(anonymous, ""));
    assert_eq!(decision.role, Function::Participating(Terminating));
    assert_eq!(decision.originator, None);
    let mut proxy = World { peer: peer(PeerKind::Proxy), ..World::new() };
    let challenge = |side| refused(Refusal::Challenge(side));
    let bare = text("<sip:alice@ims.test>", "");
    assert_eq!(proxy.role(&bare), challenge(Challenge::Proxy));
    proxy.services.running.controlling = true;
    let exploder = request(&format!(
        "MESSAGE sip:im-exploder@ims.test SIP/2.0\r\nTo: <sip:x@y>\r\n{IM}\r\n\r\n"
    ));
    assert_eq!(proxy.role(&exploder), challenge(Challenge::Uas));
    let decision = World::new().decide(&text("<sip:alice@ims.test>", &pai));
    let originator = decision.originator.unwrap();
    assert_eq!(originator.address.as_str(), "sip:alice@ims.test");
    assert_eq!(originator.alias.unwrap().as_str(), "tel:+15550000001");
}

proptest! {
    /// Whatever a neighbour sends that is a message at all, it is decided.
    #[test]
    fn never_panics(which in 0..CAPTURES.len(), changes in vec((any::<Index>(), any::<u8>()), 0..12)) {
        let path = format!("{}/testdata/captures/{}.sip", env!("CARGO_MANIFEST_DIR"), CAPTURES[which]);
        let mut octets = std::fs::read(path).unwrap();
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        let message = Message::parse_datagram(octets.into(), &Limits::default());
        if let Some(Ok(request)) = message.ok().map(Request::new) {
            for kind in [PeerKind::Isc, PeerKind::Proxy, PeerKind::InterDomain] {
                let world = World { peer: peer(kind), ..World::full() };
                world.decide(&request);
            }
        }
    }
}

#[test]
fn every_reason_is_a_sentence_part() {
    for reason in [Reason::NotIm, Reason::Own(Origin::Deferred), Reason::Service(Service::Group)] {
        let text = reason.to_string();
        assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    }
    assert_eq!(
        Reason::NotRunning(Service::History).to_string(),
        "the conversation history does not run here"
    );
}
