//! Sessions that pass the servers of both users without being seen (RFC 6714): Alice's function is
//! on one, Bob's on the other, each with several cores of MSRP, and no client reaches another.

use bytes::Bytes;
use parlance_lab::ue::{Call, Chat, Invitation};
use parlance_lab::world::{Builder, CONFERENCES, SERVER, World};

use crate::{ALICE, BOB, CAROL, people, seconds, story};

const CORES: usize = 3;

const CEMA: &str =
    "[participating]\nnotice = false\npeer_to_peer = true\nsession_media = \"cema\"\n";

/// Two servers: what users send passes the first, what is for them the second.
fn two() -> Builder {
    let builder = people().configuration(CEMA).conferences(CEMA).media_cores(CORES as u8);
    builder.core(|core| {
        let criteria = core.criteria.replace("im-term@im.ims.test", "im-term@conf.ims.test");
        // Both are told who is there.
        let begin = "<InitialFilterCriteria>";
        let (before, told) = criteria.rsplit_once(begin).expect("the last is about REGISTER");
        let (told, after) = told.split_once("</ServiceProfile>").expect("and ends the profile");
        let other = told.replace("im-reg@im.ims.test", "im-reg@conf.ims.test");
        let other = other.replace("<Priority>30<", "<Priority>31<");
        core.criteria = format!("{before}{begin}{told}{begin}{other}</ServiceProfile>{after}");
    })
}

/// A world where everybody is registered, those named have `msrp-cema`, and no client reaches
/// another one.
async fn world(builder: Builder, with_cema: &[&str]) -> World {
    let world = builder.build().await.expect("the world can be built");
    world.register_all().await;
    for name in with_cema {
        world.ue(name).set_cema(true);
    }
    let hosts: Vec<_> = world.ues().map(|ue| ue.address().ip()).collect();
    for one in &hosts {
        for other in hosts.iter().filter(|other| *other != one) {
            world.network.partition(*one, *other, true);
        }
    }
    world.network.trace_connections();
    world
}

/// Alice calls Bob: the call, her end of it, and his.
async fn call(world: &World) -> (Call, Chat, Chat) {
    let call = world.ue("alice").invite(BOB).await;
    assert_eq!(call.answer.status, 200);
    world.settle(seconds(1)).await;
    let bob = world.ue("bob").chats().pop().expect("a session");
    (call.clone(), call.chat.expect("a session"), bob)
}

/// The path that Alice was shown in the answer, and Bob in the last offer.
fn shown(world: &World, call: &Call) -> [String; 2] {
    let path = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("a=path:"));
        line.expect("a path").trim().to_owned()
    };
    let received = world.ue("bob").received();
    let offer = received.iter().rev().find(|got| got.text().contains("a=path:")).unwrap();
    [path(&call.description.as_ref().unwrap().to_string()), path(&offer.text())]
}

/// Each says something and the other hears it, and hears that it was heard.
async fn talk(world: &World, alice: &Chat, bob: &Chat) {
    let long = "x".repeat(50_000);
    for (from, to, texts) in [(alice, bob, ["hello bob", &long]), (bob, alice, ["hi", &long])] {
        for text in texts {
            let (heard, reports) = (to.texts().len(), from.reports().len());
            assert_eq!(from.say(text).await, 200);
            world.settle(seconds(1)).await;
            assert_eq!(to.texts().split_off(heard), [text]);
            let reports = from.reports().split_off(reports);
            assert!(reports.iter().any(|(_, status)| status.starts_with("000 200")), "{reports:?}");
        }
    }
}

/// Whether anything went between clients.
fn is_past_the_servers(world: &World) -> bool {
    let is_server = |ip| ip == SERVER || ip == CONFERENCES;
    let carried = world.network.carried();
    assert!(!carried.is_empty());
    carried.iter().any(|one| !is_server(one.from.ip()) && !is_server(one.to.ip()))
}

/// How many sessions each server has.
fn sessions(world: &World) -> [usize; 2] {
    let other = world.conferences.as_ref().expect("two servers");
    [world.server.msrp_load().1, other.msrp_load().1]
}

// Covers: MSRP-048, MSRP-013
#[tokio::test(start_paused = true)]
async fn two_clients_with_cema_see_nothing_but_each_other() {
    for waits in [false, true] {
        story(async || {
            let world = world(two(), &["alice", "bob", "carol"]).await;
            world.ue("bob").set_waiting(waits);
            let mut chats = Vec::new();
            for number in 1..=2 * CORES {
                let (call, alice, bob) = call(&world).await;
                let paths = [bob.uri().to_owned(), alice.uri().to_owned()];
                assert_eq!(shown(&world, &call), paths, "each the other's own");
                talk(&world, &alice, &bob).await;
                assert_eq!(sessions(&world), [2 * number; 2]);
                chats.push((alice, bob));
            }
            // They are at all cores, and wherever they are each is its own.
            for server in [&world.server, world.conferences.as_ref().unwrap()] {
                let loads = server.msrp_loads();
                assert_eq!(loads.len(), CORES);
                assert!(loads.iter().all(|(_, sessions)| *sessions == 4), "{loads:?}");
            }
            for (number, (alice, bob)) in chats.iter().enumerate() {
                let (to_bob, to_alice) = (format!("{number} to bob"), format!("{number} to alice"));
                assert_eq!((alice.say(&to_bob).await, bob.say(&to_alice).await), (200, 200));
                world.settle(seconds(1)).await;
                assert_eq!(bob.texts().last(), Some(&to_bob));
                assert_eq!(alice.texts().last(), Some(&to_alice));
            }
            assert!(!is_past_the_servers(&world));
            for (alice, bob) in &chats {
                assert_eq!(alice.update(&[]).await.status, 200, "the session goes on");
                talk(&world, alice, bob).await;
                assert_eq!(alice.leave().await.status, 200);
                world.settle(seconds(5)).await;
                assert!(bob.is_over());
            }
            assert_eq!(sessions(&world), [0, 0]);
            assert!(world.ues().all(|ue| ue.contradictions() == 0 && ue.unreadable().is_empty()));
        })
        .await;
    }
}

// Covers: MSRP-048, MSRP-013
#[tokio::test(start_paused = true)]
async fn where_one_client_lacks_it_both_talk_all_the_same() {
    for (has, lacks) in [("alice", "bob"), ("bob", "alice")] {
        for waits in [false, true] {
            story(async || {
                let world = world(two(), &[has]).await;
                world.ue(lacks).set_waiting(waits);
                for _ in 0..CORES {
                    let (call, alice, bob) = call(&world).await;
                    let [to_alice, to_bob] = shown(&world, &call);
                    assert_ne!(to_alice, bob.uri(), "{lacks} {waits}: it has no msrp-cema");
                    // Who waits is connected to, whatever path it was shown.
                    let is_hers = to_bob == alice.uri();
                    assert_eq!(is_hers, has == "alice" && waits, "{lacks} {waits}: {to_bob}");
                    talk(&world, &alice, &bob).await;
                    assert!(!is_past_the_servers(&world));
                    assert_eq!(bob.leave().await.status, 200);
                    world.settle(seconds(5)).await;
                    assert!(alice.is_over());
                    assert_eq!(sessions(&world), [0, 0]);
                }
                assert!(world.ues().all(|ue| ue.contradictions() == 0));
            })
            .await;
        }
    }
}

// Covers: MSRP-048, MSRP-013
#[tokio::test(start_paused = true)]
async fn both_functions_may_be_in_one_server() {
    for (cores, waits) in [(1, false), (1, true), (CORES, false), (CORES, true)] {
        for with_cema in [&["alice", "bob"][..], &["alice"], &["bob"]] {
            story(async || {
                let builder = people().configuration(CEMA).media_cores(cores as u8);
                let world = world(builder, with_cema).await;
                world.ue("bob").set_waiting(waits);
                for _ in 0..CORES {
                    let (call, alice, bob) = call(&world).await;
                    let paths = [bob.uri().to_owned(), alice.uri().to_owned()];
                    let is_unseen = shown(&world, &call) == paths;
                    assert_eq!(is_unseen, with_cema.len() == 2, "{with_cema:?} {waits}");
                    talk(&world, &alice, &bob).await;
                    assert_eq!(world.server.msrp_load().1, 4, "two for each user");
                    assert_eq!(alice.update(&[]).await.status, 200);
                    talk(&world, &alice, &bob).await;
                    assert!(!is_past_the_servers(&world));
                    assert_eq!(alice.leave().await.status, 200);
                    world.settle(seconds(5)).await;
                    assert!(bob.is_over());
                    assert_eq!(world.server.msrp_load().1, 0);
                }
            })
            .await;
        }
    }
}

// Covers: MSRP-017, MSRP-048
#[tokio::test(start_paused = true)]
async fn a_stranger_who_knows_the_paths_is_turned_away() {
    story(async || {
        let world = world(two(), &["alice", "bob"]).await;
        let (_, alice, bob) = call(&world).await;
        talk(&world, &alice, &bob).await;
        let heard = (alice.texts().len(), bob.texts().len());
        let own = "msrp://10.9.9.9:2855/strangersession;tcp";
        let uris = [alice.uri(), bob.uri()];
        for server in [SERVER, CONFERENCES] {
            for (to, from) in
                [(uris[0], own), (uris[1], own), (uris[0], uris[1]), (uris[1], uris[0])]
            {
                let at = std::net::SocketAddr::new(server, 2855);
                let connection = world.network.connect([10, 9, 9, 9].into(), at).await.unwrap();
                let request = format!(
                    "MSRP s001 SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: s1\r\n\
                     Content-Type: text/plain\r\n\r\nlet me in\r\n-------s001$\r\n"
                );
                connection.send(Bytes::from(request));
                let answer = connection.recv().await.expect("an answer");
                let answer = String::from_utf8_lossy(&answer).into_owned();
                let is_refused = answer.starts_with("MSRP s001 481") || answer.contains(" 506 ");
                assert!(is_refused, "{server} {to} {from}: {answer}");
            }
        }
        world.settle(seconds(1)).await;
        assert_eq!((alice.texts().len(), bob.texts().len()), heard);
        talk(&world, &alice, &bob).await;
    })
    .await;
}

// Covers: MSRP-048, PF-052
#[tokio::test(start_paused = true)]
async fn whoever_calls_it_is_the_same() {
    story(async || {
        let world = world(two(), &["alice", "bob", "carol"]).await;
        let one = world.ue("alice").invite(BOB).await.chat.expect("a session");
        let other = world.ue("carol").invite(ALICE).await.chat.expect("a session");
        world.settle(seconds(1)).await;
        let bob = world.ue("bob").chats().pop().expect("a session");
        let alice = world.ue("alice").chats().pop().expect("a session");
        assert_eq!(one.say("to bob").await, 200);
        assert_eq!(other.say("to alice").await, 200);
        assert_eq!(alice.say("to carol").await, 200);
        world.settle(seconds(1)).await;
        assert_eq!((bob.texts(), alice.texts()), (vec!["to bob".into()], vec!["to alice".into()]));
        assert_eq!((one.texts(), other.texts()), (vec![], vec!["to carol".to_owned()]));
    })
    .await;
}

// Covers: MSRP-048, PF-050
#[tokio::test(start_paused = true)]
async fn a_conference_on_another_server_passes_unseen() {
    story(async || {
        let builder = people().configuration(CEMA).conferences("").media_cores(CORES as u8);
        let world = world(builder, &["alice", "bob", "carol"]).await;
        let invitation = Invitation::to("sip:im-conf-factory@ims.test").with(&[BOB, CAROL]);
        let call = world.ue("alice").invite_as(invitation).await;
        let alice = call.chat.expect("a session");
        world.settle(seconds(1)).await;
        let chat = |name: &str| world.ue(name).chats().pop().expect("a session");
        let (bob, carol) = (chat("bob"), chat("carol"));
        assert!([&alice, &bob, &carol].iter().all(|chat| chat.is_focus()));
        for (from, others) in
            [(&alice, [&bob, &carol]), (&bob, [&alice, &carol]), (&carol, [&alice, &bob])]
        {
            let text = format!("of {}", from.uri());
            assert_eq!(from.say(&text).await, 200);
            world.settle(seconds(1)).await;
            assert!(others.iter().all(|other| other.texts().last() == Some(&text)));
        }
        // Nobody reaches the focus but by way of the server of the users.
        let carried = world.network.carried();
        let past = |one: &parlance_lab::network::Carried| {
            let ends = [one.from.ip(), one.to.ip()];
            ends.contains(&CONFERENCES) && !ends.contains(&SERVER)
        };
        assert!(!carried.is_empty() && !carried.iter().any(past));
        assert_eq!(sessions(&world), [6, 3]);
        for chat in [bob, carol] {
            assert_eq!(chat.leave().await.status, 200);
            world.settle(seconds(5)).await;
        }
        assert!(alice.is_over(), "one alone is no session");
        assert_eq!(sessions(&world), [0, 0]);
    })
    .await;
}
