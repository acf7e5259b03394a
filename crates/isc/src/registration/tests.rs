use std::sync::Arc;
use std::time::Duration;

use parlance_sip::{HeaderName, Request};
use parlance_store::{Binding, Bound, Registration, Registrations, StoreError};
use parlance_store::{Cached, LIST_MAX, Millis, Pending, Profile, RegistrationId, Store, UserId};

use super::UnknownUser;
use super::{Availability, availability};
use super::{Ended, Outcome, Provisioning, Registrar, RegistrationEvent, RegistrationPolicy};
use crate::fixture::{capture, request, services};

struct World {
    store: Store,
    registrar: Registrar,
}

impl World {
    fn with(policy: RegistrationPolicy) -> Self {
        let store = Store::memory();
        let registrar = Registrar::new(store.profiles.clone(), store.registrations.clone(), policy);
        Self { store, registrar }
    }

    fn new() -> Self {
        Self::with(RegistrationPolicy::default())
    }

    async fn register(&self, request: &Request, now: u64) -> Outcome {
        self.registrar.third_party(request, &services(), Millis(now)).await
    }

    async fn of(&self, user: &str) -> Option<Arc<Registration>> {
        self.store.registrations.lookup(&UserId::from(user)).await.unwrap()
    }
}

/// A third-party REGISTER: a Call-ID of its own, `expires`, further headers, a body.
fn register(call_id: u32, user: &str, expires: &str, headers: &str, body: &str) -> Request {
    let expires =
        if expires.is_empty() { String::new() } else { format!("Expires: {expires}\r\n") };
    request(&format!(
        "REGISTER sip:im-reg@127.0.0.20:5082 SIP/2.0\r\nTo: <{user}>\r\n\
         From: <sip:127.0.0.13:6060>;tag=x\r\nCSeq: 10 REGISTER\r\nCall-ID: {call_id}\r\n\
         Contact: <sip:127.0.0.13:6060>\r\n{expires}{headers}\r\n{body}"
    ))
}

/// The same with a client's REGISTER that has these contacts.
fn with_client(call_id: u32, contacts: &str) -> Request {
    let body = format!("REGISTER sip:h SIP/2.0\r\n{contacts}\r\n\r\n");
    register(call_id, "sip:alice@ims.test", "600", "Content-Type: message/sip\r\n", &body)
}

fn status(outcome: &Outcome) -> (u16, Option<&str>) {
    let expires = outcome.reply.headers.iter().find(|(name, _)| *name == HeaderName::Expires);
    (outcome.reply.status, expires.map(|(_, value)| value.as_str()))
}

fn is_new(outcome: &Outcome) -> Option<(bool, bool)> {
    match &outcome.event {
        Some(RegistrationEvent::Registered { new, first_ever, .. }) => Some((*new, *first_ever)),
        _ => None,
    }
}

fn why(outcome: &Outcome) -> Option<Ended> {
    match &outcome.event {
        Some(RegistrationEvent::Deregistered { why, .. }) => Some(*why),
        _ => None,
    }
}

// Covers: CORE-018, CORE-019, CORE-022, CORE-040, PF-001, PF-002, PF-003
#[tokio::test]
async fn what_a_real_core_sends_is_kept() {
    let world = World::new();
    let outcome = world.register(&capture("reg_REGISTER"), 1000).await;
    assert_eq!(status(&outcome), (200, Some("720")));
    assert_eq!(is_new(&outcome), Some((true, true)));
    let kept = world.of("sip:alice@ims.test").await.unwrap();
    assert_eq!(kept.expires, 720);
    assert_eq!(kept.expires_at, Millis(721_000));
    assert_eq!(kept.lapses_at, Millis(751_000));
    assert_eq!(kept.scscf, "sip:127.0.0.13:6060");
    assert_eq!(kept.public_ids, ["sip:alice@ims.test"]);
    assert_eq!(kept.aliases, ["sip:alice@ims.test", "tel:+15550000001"]);
    let [contact] = &kept.contacts[..] else { panic!("one contact") };
    assert_eq!(contact.uri, "sip:alice@127.0.0.41:5060");
    let instance = "urn:uuid:00000000-0000-4000-8000-000000000041";
    assert_eq!(contact.instance.as_deref(), Some(instance));
    assert!(contact.has_im_tag);
    assert_eq!(contact.tags, ["+g.oma.sip-im"]);
    // The number leads to the user from now on.
    let tel = world.store.profiles.resolve("tel:+15550000001").await.unwrap();
    assert_eq!(tel, Some(UserId::from("sip:alice@ims.test")));

    let dereg = capture("reg_REGISTER_dereg");
    let nobody = world.register(&dereg, 2000).await;
    assert_eq!((status(&nobody), &nobody.event), ((200, Some("0")), &None));
    assert!(world.of("sip:alice@ims.test").await.is_some());
}

// Covers: CORE-020
#[tokio::test]
async fn charging_addresses_and_operator_are_kept() {
    let world = World::new();
    let headers = "P-Charging-Function-Addresses: ccf=192.0.2.40;ecf=192.0.2.41;ccf-2=\"c2\"\r\n\
                   P-Charging-Vector: icid-value=\"one\";orig-ioi=home1.example\r\n";
    world.register(&register(1, "sip:alice@ims.test", "600", headers, ""), 0).await;
    let kept = world.of("sip:alice@ims.test").await.unwrap();
    assert_eq!(kept.charging.ccf, ["192.0.2.40", "c2"]);
    assert_eq!(kept.charging.ecf, ["192.0.2.41"]);
    assert_eq!(kept.orig_ioi.as_deref(), Some("home1.example"));
    assert!(!serde_json_of(&kept).contains("one"), "the identifier is not kept");
    // A refresh that says nothing about it changes nothing about it.
    world.register(&register(2, "sip:alice@ims.test", "600", "", ""), 1).await;
    let kept = world.of("sip:alice@ims.test").await.unwrap();
    assert_eq!(kept.orig_ioi.as_deref(), Some("home1.example"));
    assert_eq!(kept.charging.ccf.len(), 2);
}

fn serde_json_of(registration: &Registration) -> String {
    format!("{registration:?}")
}

// Covers: CORE-024, DF-064
#[tokio::test]
async fn a_refresh_is_no_new_registration() {
    let world = World::new();
    let at = |call_id, now| {
        let request = register(call_id, "sip:alice@ims.test", "600", "Event: registration\r\n", "");
        let world = &world;
        async move { world.register(&request, now).await }
    };
    assert_eq!(is_new(&at(1, 0).await), Some((true, true)));
    // A new Call-ID, the same CSeq, as real S-CSCFs send it.
    assert_eq!(is_new(&at(2, 1000).await), Some((false, false)));
    let kept = world.of("sip:alice@ims.test").await.unwrap();
    assert_eq!((kept.expires_at, kept.id), (Millis(601_000), RegistrationId(1)));
    // The same Call-ID again, CSeq not higher: nothing changes.
    let stale = at(2, 2000).await;
    assert_eq!((status(&stale), &stale.event), ((400, None), &None));
    let dereg = register(2, "sip:alice@ims.test", "0", "", "");
    assert_eq!(status(&world.register(&dereg, 2000).await).0, 400);
    assert_eq!(world.of("sip:alice@ims.test").await.unwrap().expires_at, Millis(601_000));
    // Another identity of the same set is the same registration.
    let set = "P-Associated-URI: <sip:alice@ims.test>, <sip:ally@ims.test>, <tel:+1555>\r\n";
    world.register(&register(3, "sip:alice@ims.test", "600", set, ""), 3000).await;
    let other = world.register(&register(4, "sip:ally@ims.test", "600", set, ""), 3001).await;
    assert_eq!(is_new(&other), Some((false, false)));
    let kept = world.of("sip:alice@ims.test").await.unwrap();
    assert_eq!(kept.public_ids, ["sip:alice@ims.test", "sip:ally@ims.test"]);
    // After it lapsed the next one is new again, though not the first ever.
    assert_eq!(is_new(&at(5, 10_000_000).await), Some((true, false)));
    assert_eq!(world.of("sip:alice@ims.test").await.unwrap().id, RegistrationId(2));
}

// Covers: CORE-021, CORE-065, CLI-005
#[tokio::test]
async fn registrations_end() {
    let world = World::new();
    let alice = UserId::from("sip:alice@ims.test");
    let bind = |call_id| {
        let request = register(call_id, "sip:alice@ims.test", "600", "", "");
        let world = &world;
        async move { world.register(&request, 0).await }
    };
    bind(1).await;
    let gone = world.register(&register(2, "sip:alice@ims.test", "0", "", ""), 1).await;
    assert_eq!((status(&gone), why(&gone)), ((200, Some("0")), Some(Ended::ByCore)));
    assert!(world.of("sip:alice@ims.test").await.is_none());
    bind(3).await;
    let event = world.registrar.unregistered(&alice).await.unwrap();
    assert!(matches!(
        event,
        Some(RegistrationEvent::Deregistered { why: Ended::Unregistered, .. })
    ));
    assert!(world.of("sip:alice@ims.test").await.is_none());
    assert_eq!(world.registrar.unregistered(&alice).await, Ok(None));
}

// Covers: CORE-025
#[tokio::test]
async fn a_registration_lapses_after_its_grace() {
    let policy = RegistrationPolicy { grace: Duration::from_secs(5), ..Default::default() };
    let world = World::with(policy);
    for (call_id, user, expires) in [(1, "alice", "600"), (2, "bob", "60"), (3, "carol", "61")] {
        let user = format!("sip:{user}@ims.test");
        world.register(&register(call_id, &user, expires, "", ""), 0).await;
    }
    let lapse = async |now, limit| world.registrar.lapse(Millis(now), limit).await.unwrap();
    assert_eq!(lapse(64_999, 10).await, []);
    // At most as many as asked for; the rest next time.
    let first = lapse(66_000, 1).await;
    assert!(
        matches!(&first[..], [RegistrationEvent::Deregistered { user, why: Ended::Lapsed, .. }]
        if user.as_str() == "sip:bob@ims.test")
    );
    assert_eq!(lapse(66_000, 10).await.len(), 1);
    assert_eq!(lapse(66_000, 10).await, []);
    assert!(world.of("sip:alice@ims.test").await.is_some());
}

// Covers: CLI-004, CORE-022
#[tokio::test]
async fn a_client_that_drops_the_tag_leaves_the_service() {
    const IM: &str = "+g.oma.sip-im";
    let world = World::new();
    let at =
        async |call_id, contacts: &str| world.register(&with_client(call_id, contacts), 0).await;
    let contact = |host: &str, rest: &str| format!("Contact: <sip:alice@{host}>{rest}");
    let instance = |number: u8, rest: &str| format!(";+sip.instance=\"<urn:x:{number}>\"{rest}");
    // Never had the tag: he is bound, but nothing happens.
    let none = at(1, &contact("a", ";audio")).await;
    assert_eq!((status(&none), &none.event), ((200, Some("600")), &None));
    assert!(!world.of("sip:alice@ims.test").await.unwrap().contacts[0].has_im_tag);
    // Two devices with it.
    let tagged = at(2, &contact("a", &instance(1, &format!(";{IM}")))).await;
    assert_eq!(is_new(&tagged), Some((true, true)));
    let second = at(3, &contact("b", &format!(";{IM};video"))).await;
    assert_eq!(is_new(&second), Some((false, false)));
    assert_eq!(world.of("sip:alice@ims.test").await.unwrap().contacts.len(), 2);
    // The first, now elsewhere, drops it; the second still has it.
    let dropped = at(4, &contact("a2", &instance(1, ""))).await;
    assert_eq!(is_new(&dropped), Some((false, false)));
    let kept = world.of("sip:alice@ims.test").await.unwrap();
    let tags: Vec<_> = kept.contacts.iter().map(|c| (c.uri.as_str(), c.has_im_tag)).collect();
    assert_eq!(tags, [("sip:alice@b", true), ("sip:alice@a2", false)]);
    // A REGISTER without the client's says nothing about tags.
    let silent = world.register(&register(5, "sip:alice@ims.test", "600", "", ""), 0).await;
    assert_eq!(is_new(&silent), Some((false, false)));
    // The second de-registers, found by its URI: nobody with the tag is left.
    let last = at(6, &contact("b", ";expires=0")).await;
    assert_eq!((status(&last), why(&last)), ((200, Some("600")), Some(Ended::TagLost)));
    let left = world.of("sip:alice@ims.test").await.unwrap();
    let tags: Vec<_> = left.contacts.iter().map(|c| (c.uri.as_str(), c.has_im_tag)).collect();
    assert_eq!(tags, [("sip:alice@a2", false)]);
}

// Covers: PF-004, DF-002, CORE-022
#[tokio::test]
async fn a_client_without_the_tag_is_bound_but_not_there() {
    let world = World::new();
    let at = async |call_id, contact: &str| {
        let contact = format!("Contact: <sip:alice@a>;+sip.instance=\"<urn:x:1>\"{contact}");
        world.register(&with_client(call_id, &contact), 0).await
    };
    let kept = async || world.of("sip:alice@ims.test").await.unwrap();
    let there = async || {
        availability(Some(&*kept().await), None, None, Millis(1)) == Availability::Available
    };
    let first = at(1, "").await;
    assert_eq!((status(&first), &first.event), ((200, Some("600")), &None));
    assert!(!there().await, "bound, so that the core's word does not stand for the tag");
    assert_eq!(at(2, "").await.event, None);
    // The tag comes: now he registers, for the first time.
    let comes = at(3, ";+g.oma.sip-im").await;
    assert_eq!(is_new(&comes), Some((true, true)));
    let id = kept().await.id;
    assert!(there().await);
    assert_eq!(is_new(&at(4, ";+g.oma.sip-im").await), Some((false, false)));
    // It goes, and comes again: another registration, so that what waits is looked at.
    assert_eq!(why(&at(5, "").await), Some(Ended::TagLost));
    assert!(!there().await);
    assert_eq!(is_new(&at(6, ";+g.oma.sip-im").await), Some((true, false)));
    assert!(kept().await.id > id);
    // What nobody was told of ends without a word.
    at(7, "").await;
    let silent = register(8, "sip:alice@ims.test", "0", "", "");
    assert_eq!(world.register(&silent, 0).await.event, None);
    assert!(world.of("sip:alice@ims.test").await.is_none());
}

// Covers: CORE-022, CLI-004
#[tokio::test]
async fn bodies_are_read_as_they_come() {
    let world = World::new();
    let with = async |call_id, content_type: &str, body: &str| {
        let header = format!("Content-Type: {content_type}\r\n");
        let request = register(call_id, "sip:alice@ims.test", "600", &header, body);
        world.register(&request, 0).await;
        world
            .of("sip:alice@ims.test")
            .await
            .map(|kept| kept.contacts.iter().map(|contact| contact.uri.clone()).collect::<Vec<_>>())
    };
    let uris = |uris: &[&str]| Some(uris.iter().map(|uri| (*uri).to_owned()).collect::<Vec<_>>());
    let client = |contacts: &str| format!("REGISTER sip:h SIP/2.0\r\n{contacts}\r\n\r\n");
    let both = client("Contact: <sip:a@h1>;+g.oma.sip-im, <sip:a@h2>;+g.oma.sip-im");
    assert_eq!(with(1, "message/sip", &both).await, uris(&["sip:a@h1", "sip:a@h2"]));
    // Unreadable bodies, and a REGISTER that only asks, say nothing.
    assert_eq!(with(2, "message/sip", "nonsense").await, uris(&["sip:a@h1", "sip:a@h2"]));
    assert_eq!(with(3, "multipart/mixed", "x").await, uris(&["sip:a@h1", "sip:a@h2"]));
    let bad = client("Contact: <sip:a@1>;+g.oma.sip-im");
    assert_eq!(with(7, "message/sip", &bad).await, uris(&["sip:a@h1", "sip:a@h2"]));
    assert_eq!(
        with(4, "message/sip", &client("Expires: 0")).await,
        uris(&["sip:a@h1", "sip:a@h2"])
    );
    // The 200 beside it tells which contacts are left.
    let third = client("Contact: <sip:a@h3>;+g.oma.sip-im");
    let parts = format!(
        "--b\r\nContent-Type: message/sip\r\n\r\n{third}\r\n--b\r\nContent-Type: message/sip\r\n\r\n\
         SIP/2.0 200 OK\r\nContact: <sip:a@h2>;expires=9, <sip:a@h3>;expires=9\r\n\r\n\r\n--b\r\n\
         Content-Type: application/3gpp-ims+xml\r\n\r\n<ims-3gpp version=\"1\"/>\r\n--b--"
    );
    let mixed = with(5, "multipart/mixed;boundary=\"b\"", &parts).await;
    assert_eq!(mixed, uris(&["sip:a@h2", "sip:a@h3"]));
    // Every contact goes.
    assert_eq!(with(6, "message/sip", &client("Contact: *\r\nExpires: 0")).await, None);
}

#[tokio::test]
async fn contacts_are_bounded() {
    let world = World::new();
    for number in 0..=LIST_MAX {
        let contact = format!("Contact: <sip:alice@h{number}>;+g.oma.sip-im");
        let call_id = u32::try_from(number).unwrap();
        let outcome = world.register(&with_client(call_id, &contact), 0).await;
        assert_eq!(outcome.reply.status, 200, "{number}");
    }
    let kept = world.of("sip:alice@ims.test").await.unwrap();
    assert_eq!(kept.contacts.len(), LIST_MAX);
    assert_eq!(kept.contacts[0].uri, "sip:alice@h1", "the oldest went");
}

// Covers: CORE-023
#[tokio::test]
async fn what_cannot_be_kept_is_a_4xx() {
    let world = World::new();
    let answer = async |request: Request| {
        let reply = world.register(&request, 0).await.reply;
        (reply.status, reply.reason.into_owned())
    };
    let bad = |reason: &str| (400, reason.to_owned());
    let good = "sip:alice@ims.test";
    assert_eq!(answer(register(1, good, "soon", "", "")).await, bad("Bad Expires"));
    assert_eq!(answer(register(1, good, "", "", "")).await, bad("Missing Expires"));
    assert_eq!(answer(register(1, "urn:x:y", "600", "", "")).await, bad("Bad To"));
    let without_to = request("REGISTER sip:h SIP/2.0\r\nExpires: 600\r\nCSeq: 1 REGISTER\r\n\r\n");
    assert_eq!(answer(without_to).await, bad("Missing To"));
    let long = format!("sip:{}@ims.test", "a".repeat(600));
    assert_eq!(answer(register(1, &long, "600", "", "")).await, bad("Bad To"));
    let foreign = answer(register(1, "sip:eve@elsewhere.test", "600", "", "")).await;
    assert_eq!(foreign.0, 404);
}

// Covers: CORE-023
#[tokio::test]
async fn who_does_not_have_the_service_is_not_registered() {
    let request = register(1, "sip:alice@ims.test", "600", "", "");
    let by_operator = |unknown_user| RegistrationPolicy {
        provisioning: Provisioning::ByOperator,
        unknown_user,
        ..RegistrationPolicy::default()
    };
    let world = World::with(by_operator(UnknownUser::NotFound));
    assert_eq!(status(&world.register(&request, 0).await), (404, None));
    let profile = Profile::new("sip:alice@ims.test".into(), Millis(0));
    world.store.profiles.put(profile.clone()).await.unwrap();
    let outcome = world.register(&request, 0).await;
    assert_eq!((status(&outcome), is_new(&outcome)), ((200, Some("600")), Some((true, false))));

    let world = World::with(by_operator(UnknownUser::Ignore));
    let ignored = world.register(&request, 0).await;
    assert_eq!((status(&ignored), &ignored.event), ((200, Some("600")), &None));
    assert!(world.of("sip:alice@ims.test").await.is_none());

    // Taken away again, by the operator.
    let world = World::new();
    world.store.profiles.put(Profile { provisioned: false, ..profile }).await.unwrap();
    assert_eq!(status(&world.register(&request, 0).await), (404, None));
}

/// A store whose registrations are out of order.
struct Broken;

impl Registrations for Broken {
    fn bind(&self, _: Binding, _: Millis) -> Pending<'_, Bound> {
        Box::pin(async { Err(StoreError::Busy) })
    }
    fn unbind<'a>(&'a self, _: &'a UserId) -> Pending<'a, Option<Arc<Registration>>> {
        Box::pin(async { Err(StoreError::Busy) })
    }
    fn lapse<'a>(&'a self, _: &'a UserId, _: Millis) -> Pending<'a, Option<Arc<Registration>>> {
        Box::pin(async { Err(StoreError::Busy) })
    }
    fn lookup<'a>(&'a self, _: &'a UserId) -> Pending<'a, Option<Arc<Registration>>> {
        Box::pin(async { Ok(None) })
    }
    fn cached(&self, _: &str) -> Cached<Arc<Registration>> {
        Cached::Unknown
    }
    fn lapsed(&self, _: Millis, _: usize) -> Pending<'_, Vec<Arc<Registration>>> {
        Box::pin(async { Err(StoreError::Busy) })
    }
}

// Covers: CORE-023, CORE-063
#[tokio::test]
async fn a_store_that_fails_is_a_480() {
    let store = Store::memory();
    let policy = RegistrationPolicy::default();
    let registrar = Registrar::new(store.profiles.clone(), Arc::new(Broken), policy);
    for expires in ["600", "0"] {
        let request = register(1, "sip:alice@ims.test", expires, "", "");
        let outcome = registrar.third_party(&request, &services(), Millis(0)).await;
        assert_eq!((outcome.reply.status, outcome.event), (480, None), "{expires}");
        let retry = outcome.reply.headers.iter().any(|(name, _)| *name == HeaderName::RetryAfter);
        assert!(retry);
    }
    // Nobody was told that he registered for the first time.
    let alice = UserId::from("sip:alice@ims.test");
    assert_eq!(store.profiles.profile(&alice).await.unwrap(), None);
}
