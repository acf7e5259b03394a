//! Sessions whose messages pass through the server, which clients with `msrp-cema` do not see
//! (RFC 6714).

use std::time::Duration;

use parlance_isc::SessionCase::{Originating, Terminating};
use parlance_sip::{HeaderName, Message, Method, Request};

use super::anchored::{bob_answers, text, value, within, world_with};
use super::media::{Client, Core, LENT_MAX};
use super::world::{World, status};
use crate::event::{Ended, Step, Traffic, Volume};
use crate::policy::SessionMedia;

/// The path of a client.
fn path(name: &str) -> String {
    format!("msrp://192.0.2.10:7654/{name}-0123456789;tcp")
}

/// A description.
fn sdp(name: &str, setup: &str, cema: bool) -> String {
    let cema = if cema { "a=msrp-cema\r\n" } else { "" };
    format!(
        "v=0\r\no={name} 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
         m=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:{}\r\n\
         a=setup:{setup}\r\n{cema}a=x-odd:kept\r\n",
        path(name)
    )
}

/// How it looks when it passes unseen.
fn moved(sdp: &str) -> String {
    let (before, after) = sdp.split_once("m=message 765").unwrap();
    format!("{before}m=message 2855 TCP/MSRP *\r\nc=IN IP4 127.0.0.20\r\n{}", &after[14..])
}

async fn world() -> (World, Core) {
    world_with(|setup| setup.policy.session.media = SessionMedia::Cema).await
}

fn body(message: &Message) -> String {
    let text = text(message);
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap()
}

fn path_in(sdp: &str) -> String {
    sdp.lines().find_map(|line| line.strip_prefix("a=path:")).unwrap().to_owned()
}

fn is_ours(path: &str) -> bool {
    path.starts_with("msrp://127.0.0.20:2855/")
}

/// What was answered to Alice, and the ACK to Bob.
fn answered(world: &World) -> String {
    let sent = world.sent();
    let [ack, ok] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((ack.cseq().unwrap().method, status(ok)), (Method::Ack, 200));
    text(ok)
}

/// A session between clients that both know `msrp-cema`: our INVITE to Bob, our answer to Alice.
async fn session(world: &World, setup: &str) -> (Request, String) {
    world.asks(Originating, "INVITE", "", &sdp("alice", "actpass", true)).await;
    let invite = world.forwarded();
    bob_answers(world, &invite, 200, "", &sdp("bob", setup, true)).await;
    let ok = answered(world);
    within(world, &ok, "ACK", 1, "", "").await;
    world.nothing_was_sent();
    (invite, ok)
}

/// Either says something and the other hears it, each by the path that it knows.
fn talk(alice: (&Client, &str), bob: (&Client, &str), id: &str) {
    let (ends, names) = ([alice, bob], ["alice", "bob"]);
    for ((client, knows), name) in ends.into_iter().zip(names) {
        client.says(knows, &path(name), "bind", "");
        assert!(client.reads().contains("MSRP bind 200 OK"), "{id} {name}");
    }
    for (from, to) in [(0, 1), (1, 0)] {
        let ((client, knows), text) = (ends[from], format!("{id} of {}", names[from]));
        client.says(knows, &path(names[from]), &format!("{id}0{from}"), &text);
        assert!(client.reads().contains(&format!("MSRP {id}0{from} 200 OK")), "{id} {from}");
        let (other, knows) = ends[to];
        let read = other.reads();
        let paths = format!("To-Path: {}\r\nFrom-Path: {knows}\r\n", path(names[to]));
        assert!(read.contains(&paths) && read.contains(&text), "{read}");
    }
}

/// The one connection that we have made.
#[track_caller]
fn connected(core: &Core) -> Client {
    let mut connected = core.connected();
    assert_eq!(connected.len(), 1, "one is made");
    let (client, hop) = connected.remove(0);
    assert_eq!(hop.through, Some(("192.0.2.10".into(), 7654)));
    client
}

// Covers: MSRP-048, PF-014, PF-096
#[tokio::test(start_paused = true)]
async fn clients_with_cema_see_each_other_and_what_they_say_passes_here() {
    for setup in ["passive", "active"] {
        let (world, core) = world().await;
        let (invite, ok) = session(&world, setup).await;
        assert_eq!(body(&invite), moved(&sdp("alice", "actpass", true)));
        assert!(ok.ends_with(&moved(&sdp("bob", setup, true))), "{ok}");
        assert_eq!((core.sessions(), core.lent()), (2, 2));
        // Who waits for a connection is connected to, and hears from the other one's path.
        let (ours, theirs) = (connected(&core), core.client());
        let (alice, bob) = if setup == "passive" { (theirs, ours) } else { (ours, theirs) };
        let (waiting, waits, other) =
            if setup == "passive" { (&bob, "bob", "alice") } else { (&alice, "alice", "bob") };
        let read = waiting.reads();
        let paths = format!("To-Path: {}\r\nFrom-Path: {}\r\n", path(waits), path(other));
        assert!(read.contains(&paths), "{read}");
        talk((&alice, &path("bob")), (&bob, &path("alice")), "one");
        world.events();
        within(&world, &ok, "BYE", 2, "", "").await;
        world.pass(Duration::from_secs(3)).await;
        assert_eq!((core.sessions(), core.lent()), (0, 0));
        let volume = |octets| Volume { messages: 1, octets };
        let traffic = Some(Traffic { sent: volume(12), received: volume(10) });
        let ended = Step::Ended(Ended { cause: 200, traffic });
        assert!(world.events().iter().any(|(.., step)| *step == ended));
    }
}

// Covers: MSRP-013, MSRP-048
#[tokio::test(start_paused = true)]
async fn a_client_without_cema_that_waits_is_connected_to() {
    for setup in ["passive", ""] {
        let (world, core) = world().await;
        world.asks(Originating, "INVITE", "", &sdp("alice", "actpass", true)).await;
        let invite = world.forwarded();
        assert_eq!(path_in(&body(&invite)), path("alice"), "nobody knows of Bob yet");
        let answer = sdp("bob", "passive", false);
        let answer =
            if setup.is_empty() { answer.replace("a=setup:passive\r\n", "") } else { answer };
        bob_answers(&world, &invite, 200, "", &answer).await;
        let ok = answered(&world);
        assert!(is_ours(&path_in(&ok)) && !ok.contains("msrp-cema"), "{ok}");
        assert!(ok.contains("m=message 2855 TCP/MSRP *\r\nc=IN IP4 127.0.0.20\r\n"), "as its path");
        within(&world, &ok, "ACK", 1, "", "").await;
        let (bob, _) = core.connected().remove(0);
        bob.reads();
        let alice = core.client();
        talk((&alice, &path_in(&ok)), (&bob, &path("alice")), "one");
        assert_eq!((core.sessions(), core.lent()), (2, 1));
        // What Bob offers again leads to what he knows; nobody has to connect again.
        let ours = text(&invite);
        within(&world, &ours, "INVITE", 2, "", &sdp("bob", "actpass", false)).await;
        let reinvite = world.forwarded();
        assert_eq!(path_in(&body(&reinvite)), path_in(&ok));
        bob_answers(&world, &reinvite, 200, "", &sdp("alice", "active", false)).await;
        let again = answered(&world);
        assert_eq!(path_in(&again), path("alice"));
        assert!(again.contains("m=message 2855 TCP/MSRP *\r\nc=IN IP4 127.0.0.20\r\n"), "{again}");
        within(&world, &ours, "ACK", 2, "", "").await;
        talk((&alice, &path_in(&ok)), (&bob, &path("alice")), "two");
        within(&world, &ok, "BYE", 2, "", "").await;
        world.pass(Duration::from_secs(3)).await;
        world.sent();
        assert_eq!((core.sessions(), core.lent()), (0, 0));
    }
}

// Covers: MSRP-013, MSRP-048
#[tokio::test(start_paused = true)]
async fn a_client_without_cema_that_would_connect_past_us_is_offered_our_path() {
    let (world, core) = world().await;
    world.asks(Originating, "INVITE", "", &sdp("alice", "actpass", true)).await;
    let invite = world.forwarded();
    bob_answers(&world, &invite, 200, "", &sdp("bob", "active", false)).await;
    let sent = world.sent();
    let [ack, second] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(ack.cseq().unwrap().method, Method::Ack);
    let second = Request::new(second.clone()).unwrap();
    let shown = body(&second);
    assert!(is_ours(&path_in(&shown)) && !shown.contains("msrp-cema"), "{shown}");
    assert!(shown.contains("o=alice 1 2 "), "another description: {shown}");
    assert!(core.connected().is_empty(), "Alice is not connected to");
    bob_answers(&world, &second, 200, "", &sdp("bob", "active", false)).await;
    let ok = answered(&world);
    assert!(is_ours(&path_in(&ok)) && ok.contains("a=setup:passive\r\n"), "{ok}");
    within(&world, &ok, "ACK", 1, "", "").await;
    assert_eq!((core.sessions(), core.lent()), (2, 0));
    let (alice, bob) = (core.client(), core.client());
    bob.says(&path("alice"), &path("bob"), "past", "to Alice's path");
    assert!(bob.reads().contains("MSRP past 481"));
    talk((&alice, &path_in(&ok)), (&bob, &path_in(&shown)), "one");
    // It stays so, and each description that differs has a version of its own.
    for (version, expected) in [(2, "o=alice 1 3 "), (9, "o=alice 1 9 ")] {
        let offer =
            sdp("alice", "actpass", true).replace("alice 1 1", &format!("alice 1 {version}"));
        within(&world, &ok, "INVITE", version, "", &offer.replace("x-odd", "x-even")).await;
        let reinvite = world.forwarded();
        let again = body(&reinvite);
        assert!(path_in(&again) == path_in(&shown) && again.contains(expected), "{again}");
        bob_answers(&world, &reinvite, 200, "", &sdp("bob", "active", false)).await;
        assert_eq!(path_in(&answered(&world)), path_in(&ok));
        within(&world, &ok, "ACK", version, "", "").await;
    }
    talk((&alice, &path_in(&ok)), (&bob, &path_in(&shown)), "two");
}

// Covers: MSRP-048, CORE-063
#[tokio::test(start_paused = true)]
async fn a_second_offer_that_comes_to_nothing_ends_the_call() {
    for cancelled in [false, true] {
        let (world, core) = world().await;
        let asked = world.asks(Originating, "INVITE", "", &sdp("alice", "actpass", true)).await;
        let invite = world.forwarded();
        bob_answers(&world, &invite, 200, "", &sdp("bob", "active", false)).await;
        let second = Request::new(world.sent().remove(1)).unwrap();
        if cancelled {
            world.receive(Originating, asked.replace("INVITE", "CANCEL").into()).await;
        } else {
            bob_answers(&world, &second, 488, "", "").await;
        }
        world.pass(Duration::from_secs(1)).await;
        let sent = world.sent();
        let codes: Vec<_> = sent.iter().map(status).filter(|code| *code >= 300).collect();
        assert_eq!(codes, [if cancelled { 487 } else { 488 }]);
        if cancelled {
            bob_answers(&world, &second, 200, "", &sdp("bob", "active", false)).await;
        }
        let sent = [sent, world.sent()].concat();
        assert!(sent.iter().any(|sent| text(sent).starts_with("BYE ")), "{sent:?}");
        assert_eq!((core.sessions(), core.lent()), (0, 0), "{cancelled}");
    }
}

// Covers: MSRP-048
#[tokio::test(start_paused = true)]
async fn where_it_is_not_possible_our_path_is_seen() {
    let relayed = format!("a=path:msrp://192.0.2.9:1/relayed;tcp {}", path("alice"));
    #[rustfmt::skip]
    let table = [
        // replaced,                         by,                  headers,                            unseen
        ("x-odd",                            "x-odd",             "",                                 true),
        ("a=msrp-cema\r\n",                  "",                  "",                                 false),
        (&*format!("a=path:{}", path("alice")), &*relayed,        "",                                 false),
        ("alice-0123456789",                 "alice",             "",                                 false),
        ("x-odd", "x-odd", "Accept-Contact: *;+g.oma.sip-im.large-message",                           false),
    ];
    for (from, to, headers, is_unseen) in table {
        let (world, core) = world().await;
        let offer = sdp("alice", "actpass", true).replace(from, to);
        world.asks(Originating, "INVITE", headers, &offer).await;
        let shown = body(&world.forwarded());
        assert_eq!(is_ours(&path_in(&shown)), !is_unseen, "{from} {to} {headers}");
        assert_eq!(shown.contains("msrp-cema"), is_unseen, "{from} {to} {headers}");
        assert_eq!(core.lent(), usize::from(is_unseen));
    }
    // Who insists on TLS does not get a session without.
    let core = Core::new();
    let (world, _) = world_with(|setup| {
        setup.policy.session.media = SessionMedia::Cema;
        setup.media = Some(core.media_with_tls_to("ims.test"));
    })
    .await;
    world.asks(Originating, "INVITE", "", &sdp("alice", "actpass", true)).await;
    assert_eq!(status(&world.answered()), 488);
    // The answer, too, may be of such a kind; Alice sees our path then.
    for (from, to) in [("bob-0123456789", "bob"), ("/bob-", "/alice-"), ("odd", "odd")] {
        let (world, core) =
            world_with(|setup| setup.policy.session.media = SessionMedia::Cema).await;
        world.asks(Originating, "INVITE", "", &sdp("alice", "actpass", true)).await;
        let invite = world.forwarded();
        bob_answers(&world, &invite, 200, "", &sdp("bob", "active", true).replace(from, to)).await;
        let ok = answered(&world);
        assert_eq!(is_ours(&path_in(&ok)), from != to, "{from} {to}");
        assert_eq!(core.lent(), if from == to { 2 } else { 1 });
    }
}

// Covers: MSRP-017, MSRP-048
#[tokio::test(start_paused = true)]
async fn the_same_path_a_second_time_is_another_session_by_our_path() {
    let (world, core) = world().await;
    session(&world, "active").await;
    let (alice, bob) = (connected(&core), core.client());
    alice.reads();
    talk((&alice, &path("bob")), (&bob, &path("alice")), "one");
    world.asks(Originating, "INVITE", "", &sdp("alice", "actpass", true)).await;
    let invite = world.forwarded();
    let shown = body(&invite);
    assert!(is_ours(&path_in(&shown)) && !shown.contains("msrp-cema"), "{shown}");
    bob_answers(&world, &invite, 200, "", &sdp("carol", "active", false)).await;
    let ok = answered(&world);
    within(&world, &ok, "ACK", 1, "", "").await;
    assert_eq!(core.lent(), 2, "nothing of the first session is touched");
    let (again, carol) = (core.client(), core.client());
    carol.says(&path("alice"), &path("carol"), "c001", "not for her first session");
    let refused = carol.reads();
    assert!(refused.contains("MSRP c001 481") || refused.contains("MSRP c001 506"), "{refused}");
    carol.says(&path_in(&shown), &path("carol"), "c002", "of Carol");
    again.says(&path_in(&ok), &path("alice"), "a002", "to Carol");
    assert_eq!((carol.hears(), again.hears()), (vec!["to Carol".into()], vec!["of Carol".into()]));
    assert_eq!((alice.hears().len(), bob.hears().len()), (0, 0));
    talk((&alice, &path("bob")), (&bob, &path("alice")), "two");
}

// Covers: MSRP-048
#[tokio::test(start_paused = true)]
async fn more_than_may_go_by_paths_of_peers_go_by_ours() {
    let (world, core) = world().await;
    for number in 0..=LENT_MAX {
        let offer = sdp(&format!("alice{number}"), "actpass", true);
        world.asks(Originating, "INVITE", "", &offer).await;
        let is_unseen = !is_ours(&path_in(&body(&world.forwarded())));
        assert_eq!(is_unseen, number < LENT_MAX, "{number}");
    }
    assert_eq!(core.lent(), LENT_MAX);
}

// Covers: MSRP-048, CORE-020
#[tokio::test(start_paused = true)]
async fn an_answer_before_the_200_is_told_with_it() {
    for other_fork in [false, true] {
        let (world, core) = world().await;
        world
            .asks(Originating, "INVITE", "Supported: 100rel", &sdp("alice", "actpass", true))
            .await;
        let invite = world.forwarded();
        let reliable = "Require: 100rel\nRSeq: 1";
        bob_answers(&world, &invite, 183, reliable, &sdp("bob", "passive", true)).await;
        let sent = world.sent();
        let progress = sent.iter().find(|sent| status(sent) == 183).unwrap();
        assert!(!text(progress).contains("m=message"), "another fork may answer: {progress:?}");
        assert!(sent.iter().any(|sent| text(sent).starts_with("PRACK ")), "{sent:?}");
        let answer = if other_fork { sdp("carol", "passive", true) } else { String::new() };
        bob_answers(&world, &invite, 200, "", &answer).await;
        let sent = world.sent();
        let ok = text(sent.iter().find(|sent| status(sent) == 200).unwrap());
        let expected = if other_fork { "carol" } else { "bob" };
        assert!(ok.ends_with(&moved(&sdp(expected, "passive", true))), "{ok}");
        assert_eq!(core.lent(), 2);
    }
}

// Covers: MSRP-048, PF-052
#[tokio::test(start_paused = true)]
async fn an_invitation_without_offer_passes_unseen_too() {
    for (setup, cema) in
        [("passive", true), ("active", true), ("passive", false), ("active", false)]
    {
        let (world, core) = world().await;
        world.asks(Originating, "INVITE", "", "").await;
        let invite = world.forwarded();
        bob_answers(&world, &invite, 200, "", &sdp("bob", "actpass", true)).await;
        let ok = text(&world.answered());
        assert!(ok.ends_with(&moved(&sdp("bob", "actpass", true))), "{ok}");
        within(&world, &ok, "ACK", 1, "", &sdp("alice", setup, cema)).await;
        let (alice_knows, ack) = if cema || setup == "passive" {
            (path("bob"), world.forwarded())
        } else {
            // She would connect to Bob, and is offered our path.
            let second = world.forwarded();
            assert_eq!(second.method(), Method::Invite);
            let shown = path_in(&body(&second));
            assert!(is_ours(&shown));
            let mut response = parlance_sip::ResponseBuilder::new(&second, 200, "")
                .header(HeaderName::Contact, "<sip:alice@192.0.2.10:5060>");
            response = response.header(HeaderName::ContentType, "application/sdp");
            world.answer_with(response.with_body(sdp("alice", setup, cema).as_bytes())).await;
            let sent = world.sent();
            let ack = sent.into_iter().find(|sent| body(sent).contains("m=message")).unwrap();
            (shown, Request::new(ack).unwrap())
        };
        assert_eq!(ack.method(), Method::Ack);
        let bob_knows = path_in(&body(&ack));
        assert_eq!(is_ours(&bob_knows), !cema, "{setup} {cema}");
        let made = core.connected();
        let (alice, bob) = match made.into_iter().next() {
            Some((bob, _)) if setup == "active" => (core.client(), bob),
            Some((alice, _)) => (alice, core.client()),
            None => (core.client(), core.client()),
        };
        alice.reads();
        bob.reads();
        talk((&alice, &alice_knows), (&bob, &bob_knows), "one");
    }
}

// Covers: MSRP-048, MSRP-079, PF-052, PF-088
#[tokio::test(start_paused = true)]
async fn a_modification_leaves_the_session_or_begins_another() {
    let (world, core) = world().await;
    let (_, ok) = session(&world, "active").await;
    let (alice, bob) = (connected(&core), core.client());
    alice.reads();
    talk((&alice, &path("bob")), (&bob, &path("alice")), "one");
    // Nothing about the paths changes.
    let again = sdp("alice", "actpass", true).replace("alice 1 1", "alice 1 2");
    within(&world, &ok, "INVITE", 2, "", &again).await;
    let reinvite = world.forwarded();
    assert_eq!(body(&reinvite), moved(&again));
    bob_answers(&world, &reinvite, 200, "", &sdp("bob", "active", true)).await;
    assert!(answered(&world).ends_with(&moved(&sdp("bob", "active", true))));
    within(&world, &ok, "ACK", 2, "", "").await;
    assert!(core.connected().is_empty());
    talk((&alice, &path("bob")), (&bob, &path("alice")), "two");
    // Bob does not want her new path: the session stays as it was.
    let other = again.replace("alice-", "other-").replace("alice 1 2", "alice 1 3");
    within(&world, &ok, "INVITE", 3, "", &other).await;
    let reinvite = world.forwarded();
    assert_eq!(body(&reinvite), moved(&other));
    assert_eq!(core.lent(), 3);
    bob_answers(&world, &reinvite, 488, "", "").await;
    assert_eq!(status(&world.sent()[1]), 488);
    within(&world, &ok, "ACK", 3, "", "").await;
    assert_eq!((core.lent(), core.sessions()), (2, 2));
    talk((&alice, &path("bob")), (&bob, &path("alice")), "three");
    // He wants it, and is here before his answer is.
    within(&world, &ok, "INVITE", 4, "", &other.replace("alice 1 3", "alice 1 4")).await;
    let reinvite = world.forwarded();
    let anew = core.client();
    anew.says(&path("other"), &path("bob"), "b404", "");
    assert!(anew.reads().contains("MSRP b404 200 OK"));
    bob_answers(&world, &reinvite, 200, "", &sdp("bob", "active", true)).await;
    answered(&world);
    within(&world, &ok, "ACK", 4, "", "").await;
    assert_eq!((core.lent(), core.sessions()), (2, 2));
    let moved_to = connected(&core);
    moved_to.reads();
    moved_to.says(&path("bob"), &path("other"), "o001", "from elsewhere");
    let read = anew.reads();
    assert!(read.contains(&format!("From-Path: {}\r\n", path("other"))), "{read}");
    assert!(read.contains("from elsewhere"), "{read}");
    // And now she has no msrp-cema any more.
    let without = sdp("alice", "actpass", false).replace("alice 1 1", "alice 1 5");
    within(&world, &ok, "INVITE", 5, "", &without).await;
    let reinvite = world.forwarded();
    assert!(is_ours(&path_in(&body(&reinvite))));
    bob_answers(&world, &reinvite, 200, "", &sdp("bob", "active", false)).await;
    let shown = answered(&world);
    within(&world, &ok, "ACK", 5, "", "").await;
    assert_eq!((core.lent(), core.sessions()), (0, 2));
    let (alice, bob) = (core.client(), core.client());
    talk((&alice, &path_in(&shown)), (&bob, &path_in(&body(&reinvite))), "four");
}

// Covers: MSRP-017, MSRP-048
#[tokio::test(start_paused = true)]
async fn a_stranger_in_the_place_of_who_answers_ends_the_session() {
    let (world, core) = world().await;
    world.asks(Terminating, "INVITE", "", &sdp("alice", "actpass", true)).await;
    let invite = world.forwarded();
    let mallory = core.client();
    mallory.says(&path("alice"), &path("mallory"), "m001", "I am Bob");
    bob_answers(&world, &invite, 200, "", &sdp("bob", "active", true)).await;
    let alice = connected(&core);
    assert!(!alice.reads().contains("I am Bob"));
    world.pass(Duration::from_secs(3)).await;
    let byes = world.sent().iter().filter(|sent| text(sent).starts_with("BYE ")).count();
    assert!(byes >= 1, "both legs end");
    assert!(!alice.reads().contains("I am Bob"));
    assert_eq!((core.sessions(), core.lent()), (0, 0));
}

// Covers: PF-072, PF-073, MSRP-048
#[tokio::test(start_paused = true)]
async fn a_lock_holds_what_passes_unseen() {
    let (world, core) = world().await;
    let mut sessions = Vec::new();
    for number in [1, 2] {
        let named = |name: &str, setup: &str| {
            let named = sdp(name, setup, true).replace("7654", &format!("765{number}"));
            named.replace("-0123456789", &format!("-012345678{number}"))
        };
        world.asks(Terminating, "INVITE", "", &named("alice", "actpass")).await;
        let invite = world.forwarded();
        bob_answers(&world, &invite, 200, "", &named("bob", "active")).await;
        let ok = answered(&world);
        within(&world, &ok, "ACK", 1, "", "").await;
        let at = |name: &str| path_in(&named(name, ""));
        let ((alice, _), bob) = (core.connected().remove(0), core.client());
        bob.says(&at("alice"), &at("bob"), "bind", "");
        alice.reads();
        bob.reads();
        let offers = [named("bob", "actpass"), named("alice", "active")];
        sessions.push((invite, alice, bob, [at("alice"), at("bob")], offers));
    }
    let [one, two] = &sessions[..] else { panic!("two sessions") };
    for (lock, heard) in [("on", &[][..]), ("off", &["hello"])] {
        let offer =
            one.4[0].replace("t=0 0\r\n", &format!("t=0 0\r\na=im-session-lock:{lock}\r\n"));
        let cseq = if lock == "on" { 11 } else { 12 };
        within(&world, &text(&one.0), "INVITE", cseq, "", &offer).await;
        let reinvite = world.forwarded();
        let passed = moved(&one.4[0]).replace("bob 1 1", "bob 1 2");
        assert_eq!(body(&reinvite), passed, "it is between him and his function");
        bob_answers(&world, &reinvite, 200, "", &one.4[1]).await;
        let told = answered(&world);
        assert!(told.contains(&format!("a=im-session-lock:{lock}\r\n")), "{told}");
        assert_eq!(value(&told, "CSeq"), format!("{cseq} INVITE"));
        within(&world, &text(&one.0), "ACK", cseq, "", "").await;
        if lock == "on" {
            two.1.says(&two.3[1], &two.3[0], "a001", "hello");
            assert!(two.1.reads().contains("MSRP a001 200 OK"), "it was received");
        }
        assert_eq!(two.2.hears(), heard, "{lock}");
    }
}
