//! Settings that users publish (OMA-TS-SIMPLE_IM §6.1.2, §7.2.3.16; RFC 3903).

use std::rc::Rc;
use std::time::Duration;

use parlance_isc::{Cause, SessionCase};
use parlance_sip::HeaderName::{self, Accept, Expires, MinExpires, SipETag, Warning};
use parlance_sip::Message;
use parlance_store::{Millis, Profiles, Registrations, StoreError};

use super::world::{Script, Setup, World, binding, lines, status};
use crate::end_published;

const BOB: &str = "sip:bob@ims.test";
const TYPE: &str = "application/vnd.oma.im.service-settings+xml";

/// A document with these elements.
fn document(elements: &str) -> String {
    format!("<im-settings xmlns=\"urn:oma:xml:im:service-settings\">{elements}</im-settings>")
}

const INACTIVE: &str = "<active>false</active>";

/// Bob is registered, and messages to who is away are stored.
async fn world() -> (World, Rc<Script>) {
    let script = Rc::new(Script::default());
    let deferral = Some(Rc::clone(&script));
    let registered = vec![(BOB, true), ("sip:alice@ims.test", true)];
    (World::new(Setup { registered, deferral, ..Setup::default() }).await, script)
}

/// What Bob's PUBLISH is answered. Lines of `headers` stand for those it has.
async fn publish(world: &World, headers: &str, body: &str) -> Message {
    let has = |name: &str| headers.lines().any(|line| line.starts_with(name));
    let mut all = format!(
        "{headers}\nP-Served-User: <{BOB}>;sescase=orig;regstate=reg\nFrom: <{BOB}>;tag=b1\n\
         P-Asserted-Identity: <{BOB}>"
    );
    for (name, value) in [("Event:", "im-settings"), ("Content-Type:", TYPE)] {
        if !has(name) {
            all.push_str(&format!("\n{name} {value}"));
        }
    }
    let text = world.text(SessionCase::Originating, &all, body).replace("MESSAGE", "PUBLISH");
    world.receive(SessionCase::Originating, text.into()).await;
    world.answered()
}

#[track_caller]
fn one(message: &Message, name: HeaderName) -> String {
    let mut lines = lines(message, name);
    assert_eq!(lines.len(), 1, "{name:?}: {lines:?} {message:?}");
    lines.remove(0)
}

/// Whether a message to Bob is tried, or why it is stored without.
async fn fate(world: &World, script: &Script) -> Option<Cause> {
    world.bob_gets("", "hello").await;
    let mut sent = world.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    let sent = sent.remove(0);
    if sent.is_request() {
        let request = parlance_sip::Request::new(sent).unwrap();
        world.answer(&request, 200).await;
        world.sent();
        return None;
    }
    assert_eq!(status(&sent), 202);
    script.causes().last().copied()
}

// Covers: PF-055, PF-056, CLI-006, CLI-007
#[tokio::test(start_paused = true)]
async fn what_is_published_counts_at_once_until_it_runs_out() {
    let (world, script) = world().await;
    assert_eq!(fate(&world, &script).await, None);
    let answer = publish(&world, "Expires: 60", &document(INACTIVE)).await;
    assert_eq!((status(&answer), one(&answer, Expires)), (200, "60".to_owned()));
    assert!(!one(&answer, SipETag).is_empty());
    assert_eq!(*script.changed.borrow(), [BOB.into()], "what waits for him is looked at");
    assert_eq!(fate(&world, &script).await, Some(Cause::Inactive));
    world.pass(Duration::from_secs(59)).await;
    assert_eq!(fate(&world, &script).await, Some(Cause::Inactive));
    world.pass(Duration::from_secs(1)).await;
    assert_eq!(fate(&world, &script).await, None);
    let now = world.node.clock.now();
    let ended = end_published(&*world.store, now, 10).await.unwrap();
    assert_eq!(ended, [BOB.into()]);
    assert_eq!(end_published(&*world.store, now, 10).await.unwrap(), []);
}

// Covers: PF-056
#[tokio::test(start_paused = true)]
async fn visibility_is_what_was_published() {
    let (world, script) = world().await;
    let vis = |status| {
        document(&format!("<vis-settings><vis-status>{status}</vis-status></vis-settings>"))
    };
    for (word, expected) in
        [("offline", Some(Cause::Invisible)), ("hidden", None), ("visible", None)]
    {
        assert_eq!(status(&publish(&world, "", &vis(word)).await), 200, "{word}");
        assert_eq!(fate(&world, &script).await, expected, "{word}");
    }
}

// Covers: PF-055, CLI-006
#[tokio::test(start_paused = true)]
async fn an_entity_tag_refreshes_changes_and_removes() {
    let (world, script) = world().await;
    let first = publish(&world, "", &document(INACTIVE)).await;
    assert_eq!(one(&first, Expires), "3600", "when no time is asked for");
    let refresh = format!("SIP-If-Match: {}\nContent-Type:\nExpires: 90", one(&first, SipETag));
    let second = publish(&world, &refresh, "").await;
    assert_eq!((status(&second), one(&second, Expires)), (200, "90".to_owned()));
    assert_ne!(one(&first, SipETag), one(&second, SipETag));
    assert_eq!(status(&publish(&world, &refresh, "").await), 412, "another tag is in force");
    world.pass(Duration::from_secs(89)).await;
    assert_eq!(fate(&world, &script).await, Some(Cause::Inactive), "a refresh keeps it");

    let modify = format!("SIP-If-Match: {}\nExpires: 99999999", one(&second, SipETag));
    let third = publish(&world, &modify, &document("<active>true</active>")).await;
    assert_eq!((status(&third), one(&third, Expires)), (200, "86400".to_owned()), "the longest");
    assert_eq!(fate(&world, &script).await, None);
    // An initial one takes the place of whatever is there: the last document counts.
    let fourth = publish(&world, "", &document(INACTIVE)).await;
    let stale = format!("SIP-If-Match: {}\nContent-Type:", one(&third, SipETag));
    assert_eq!(status(&publish(&world, &stale, "").await), 412);
    let remove = format!("SIP-If-Match: {}\nContent-Type:\nExpires: 0", one(&fourth, SipETag));
    let gone = publish(&world, &remove, "").await;
    assert_eq!((status(&gone), one(&gone, Expires)), (200, "0".to_owned()));
    assert_eq!(fate(&world, &script).await, None);
    assert_eq!(status(&publish(&world, &remove, "").await), 412);
    // RFC 3903 §4.1: nothing is kept of it.
    assert_eq!(status(&publish(&world, "Expires: 0", &document(INACTIVE)).await), 200);
    assert_eq!(fate(&world, &script).await, None);
}

// Covers: PF-055
#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_is_refused_and_changes_nothing() {
    let (world, script) = world().await;
    let good = document(INACTIVE);
    let bad = document("<active>maybe</active>");
    let why = "active has a value that it cannot have";
    #[rustfmt::skip]
    let table = [
        ("Request-URI: sip:alice@ims.test", good.as_str(), 403, None),
        ("Expires: 59",                     &good, 423, Some((MinExpires, "60"))),
        ("Expires: soon",                   &good, 400, Some((Warning, "malformed publication"))),
        ("Content-Type: text/plain",        &good, 415, Some((Accept, TYPE))),
        ("Content-Encoding: gzip",          &good, 415, Some((HeaderName::AcceptEncoding, "identity"))),
        ("Content-Type:",                   "",    400, Some((Warning, "malformed publication"))),
        ("SIP-If-Match: a b",               &good, 400, Some((Warning, "malformed publication"))),
        ("SIP-If-Match: none",              &good, 412, None),
        ("",                                &bad,  400, Some((Warning, why))),
        ("",                                "<a",  400, Some((Warning, "document is not well-formed XML"))),
    ];
    for (headers, body, code, header) in table {
        let answer = publish(&world, headers, body).await;
        assert_eq!(status(&answer), code, "{headers} {body}");
        if let Some((name, value)) = header {
            assert!(one(&answer, name).contains(value), "{headers} {body}");
        }
    }
    assert_eq!(fate(&world, &script).await, None);
    assert!(script.changed.borrow().is_empty());
}

// Covers: PF-055
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_not_promised_for() {
    let (world, script) = world().await;
    world.store.fail(Some(StoreError::Busy));
    let answer = publish(&world, "", &document(INACTIVE)).await;
    assert_eq!(status(&answer), 480);
    assert!(one(&answer, HeaderName::RetryAfter).parse::<u32>().unwrap() > 0);
    world.store.fail(None);
    assert_eq!(fate(&world, &script).await, None);
}

// Covers: CLI-002, PF-055
#[tokio::test(start_paused = true)]
async fn who_publishes_faster_than_the_core_registers_is_waited_for() {
    let script = Rc::new(Script::default());
    let setup = Setup { deferral: Some(Rc::clone(&script)), ..Setup::default() };
    let world = World::new(setup).await;
    let number = format!(
        "P-Served-User: <tel:+15550000002>;sescase=orig;regstate=reg\nEvent: im-settings\n\
         From: <tel:+15550000002>;tag=b1\nP-Asserted-Identity: <tel:+15550000002>\n\
         Request-URI: tel:+15550000002\nContent-Type: {TYPE}"
    );
    let ask = || {
        let text = world.text(SessionCase::Originating, &number, &document(INACTIVE));
        text.replace("MESSAGE", "PUBLISH")
    };
    // Nobody says whose number it is.
    world.receive(SessionCase::Originating, ask().into()).await;
    world.nothing_was_sent();
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(status(&world.answered()), 480);
    world.receive(SessionCase::Originating, ask().into()).await;
    world.pass(Duration::from_millis(300)).await;
    let aliases = Some(vec!["tel:+15550000002".to_owned()]);
    let register = parlance_store::Binding { aliases, ..binding(BOB, true) };
    world.store.bind(register.clone(), world.node.clock.now()).await.unwrap();
    world.pass(Duration::from_millis(150)).await;
    assert_eq!(status(&world.answered()), 200);
    let profile = world.store.profile(&BOB.into()).await.unwrap().unwrap();
    assert!(profile.published.is_some(), "it is his");
    // A re-registration leaves it, and is followed by no other PUBLISH.
    let again = parlance_store::Binding { call_id: "again".into(), ..register };
    world.store.bind(again, world.node.clock.now()).await.unwrap();
    assert_eq!(fate(&world, &script).await, Some(Cause::Inactive));
    world.store.unbind(&BOB.into()).await.unwrap();
    let profile = world.store.profile(&BOB.into()).await.unwrap().unwrap();
    assert!(profile.settings(Millis(0)).active && profile.published.is_none());
}
