//! Large messages over MSRP to lists and groups (OMA-TS-SIMPLE_IM §7.4.1.3, §7.4.2).

use parlance_lab::ue::{Behaviour, Call, Invitation};
use parlance_lab::world::{Builder, World};

use crate::{ALICE, BOB, CAROL, seconds, story};

const FACTORY: &str = "sip:im-conf-factory@ims.test";
const CLUB: &str = "sip:im-group-club@ims.test";
const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// A group of five.
fn club() -> String {
    let entries: String =
        NAMES.iter().map(|name| format!("<entry uri=\"sip:{name}@ims.test\"/>")).collect();
    format!(
        "<group xmlns=\"urn:oma:xml:poc:list-service\"><list-service uri=\"{CLUB}\">\
         <list>{entries}</list></list-service></group>"
    )
}

/// The five, and their group.
fn five(configuration: &str) -> Builder {
    let users = NAMES.iter().fold(World::builder(), |world, name| world.user(name));
    users.configuration(configuration).group(&club())
}

/// A world where all of them are there but those.
async fn without(builder: Builder, away: &[&str]) -> World {
    let world = builder.build().await.expect("the world can be built");
    for name in NAMES.iter().filter(|name| !away.contains(name)) {
        assert_eq!(world.ue(name).register().await.status, 200, "{name} registers");
    }
    world.settle(seconds(2)).await;
    world
}

/// Alice's INVITE for one large message.
async fn large(world: &World, invitation: Invitation) -> Call {
    let tag = "*;+g.oma.sip-im.large-message;require;explicit";
    world.ue("alice").invite_as(invitation.header("Accept-Contact", tag)).await
}

/// Alice sends a large message, and ends its session.
async fn sends(world: &World, invitation: Invitation, text: &str) -> u16 {
    let call = large(world, invitation).await;
    assert_eq!(call.answer.status, 200);
    let chat = call.chat.expect("a session");
    assert!(!chat.is_focus());
    let status = chat.send_octets("text/plain", text.as_bytes()).await;
    assert_eq!(chat.leave().await.status, 200);
    status
}

/// What a user heard over MSRP.
fn heard(world: &World, name: &str) -> Vec<String> {
    world.ue(name).heard().into_iter().map(|said| said.cpim.text).collect()
}

/// 100 kB of text.
fn long() -> String {
    "A very long story. ".repeat(100_000 / 19)
}

// Covers: CF-008, CF-017, CF-020, CF-021, CLI-028, CLI-030
#[tokio::test(start_paused = true)]
async fn a_group_gets_it_and_who_is_away_later() {
    story(async || {
        let world = without(five(""), &["carol"]).await;
        let text = long();
        assert_eq!(sends(&world, Invitation::to(CLUB), &text).await, 200);
        world.settle(seconds(20)).await;
        for name in ["bob", "dave", "erin"] {
            assert!(heard(&world, name) == [text.as_str()], "{name}");
            assert!(world.ue(name).chats().is_empty(), "{name}: the session is over");
            assert!(world.ue(name).texts().is_empty(), "{name}: no MESSAGE");
        }
        assert!(heard(&world, "alice").is_empty(), "the sender gets none");
        assert_eq!(world.waiting("carol").await, 1);
        assert_eq!(world.ue("carol").register().await.status, 200);
        world.settle(seconds(60)).await;
        assert_eq!(world.waiting("carol").await, 0);
        assert!(world.ue("carol").texts() == [text.as_str()]);
        world.settle(seconds(600)).await;
        assert_eq!(heard(&world, "bob").len(), 1, "once");
    })
    .await;
}

// Covers: CF-020, CLI-029
#[tokio::test(start_paused = true)]
async fn a_list_gets_it() {
    story(async || {
        let world = without(five(""), &[]).await;
        let text = long();
        let list = Invitation::to(FACTORY).with(&[BOB, CAROL, ALICE, BOB]);
        assert_eq!(sends(&world, list, &text).await, 200);
        world.settle(seconds(20)).await;
        for name in ["bob", "carol"] {
            assert!(heard(&world, name) == [text.as_str()], "{name}: once");
        }
        for name in ["alice", "dave", "erin"] {
            assert!(heard(&world, name).is_empty(), "{name}");
        }
    })
    .await;
}

// Covers: CF-020
#[tokio::test(start_paused = true)]
async fn what_is_small_goes_as_a_message() {
    story(async || {
        let world = without(five(""), &["carol"]).await;
        assert_eq!(sends(&world, Invitation::to(CLUB), "short").await, 200);
        world.settle(seconds(20)).await;
        for name in ["bob", "dave", "erin"] {
            assert_eq!(world.ue(name).texts(), ["short"], "{name}");
            assert!(heard(&world, name).is_empty(), "{name}");
            let got = &world.ue(name).received()[0];
            assert_eq!(got.header("Referred-By"), Some(format!("<{CLUB}>")));
            let tag = got.header("Accept-Contact").expect("it says for what it is");
            assert!(!tag.contains("large-message"), "{tag}");
        }
        assert_eq!(world.waiting("carol").await, 1);
        let world = without(five("[explode]\nlarge_as_message = false\n"), &[]).await;
        assert_eq!(sends(&world, Invitation::to(CLUB), "short").await, 200);
        world.settle(seconds(20)).await;
        assert_eq!(heard(&world, "bob"), ["short"]);
    })
    .await;
}

// Covers: CF-021
#[tokio::test(start_paused = true)]
async fn a_killed_server_goes_on_where_it_was() {
    story(async || {
        let mut world = without(five("[explode]\noutstanding_max = 2\n"), &[]).await;
        for name in NAMES {
            world.ue(name).behave(Behaviour::After(seconds(2), 200));
        }
        let text = long();
        assert_eq!(sends(&world, Invitation::to(CLUB), &text).await, 200);
        // Two have it; the others are being called.
        world.settle(seconds(3)).await;
        let have =
            |world: &World| NAMES.iter().filter(|name| !heard(world, name).is_empty()).count();
        assert!((1..4).contains(&have(&world)), "{}", have(&world));
        world.restart_server().await.unwrap();
        world.settle(seconds(60)).await;
        assert_eq!(have(&world), 4);
        for name in ["bob", "carol", "dave", "erin"] {
            let heard = world.ue(name).heard();
            assert!(heard.iter().all(|said| said.cpim.text == text), "{name}");
            let mut ids: Vec<_> = heard.iter().map(|said| &said.message_id).collect();
            ids.dedup();
            assert_eq!(ids.len(), 1, "{name}: it is the same message");
        }
    })
    .await;
}

// Covers: CF-004, CF-008, CF-021
#[tokio::test(start_paused = true)]
async fn what_may_not_be_sent_is_refused() {
    story(async || {
        let limits =
            "[explode]\nlarge_octets_max = 5000\n[controlling]\nadhoc_group_size_max = 2\n";
        let world = without(five(limits), &[]).await;
        let status = async |invitation| large(&world, invitation).await.answer.status;
        assert_eq!(status(Invitation::to(FACTORY)).await, 400, "no list");
        let three = Invitation::to(FACTORY).with(&[BOB, CAROL, "sip:dave@ims.test"]);
        assert_eq!(status(three).await, 403, "too many");
        assert_eq!(status(Invitation::to("sip:im-group-none@ims.test")).await, 404);
        assert_eq!(status(Invitation::to(FACTORY).with(&[ALICE])).await, 480, "nobody");
        assert_eq!(sends(&world, Invitation::to(CLUB), &"x".repeat(5001)).await, 413);
        assert_eq!(sends(&world, Invitation::to(CLUB), &"x".repeat(5000)).await, 200);
        world.change_profile("alice", |profile| profile.rights.large = false).await.unwrap();
        assert_eq!(status(Invitation::to(CLUB)).await, 403, "no large messages");
        world.settle(seconds(20)).await;
        assert_eq!(heard(&world, "bob").len(), 1);
    })
    .await;
}

// Covers: CF-021
#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_let_go() {
    story(async || {
        let world = without(five("[explode]\nlarge_idle_s = 60\n"), &[]).await;
        let chat = large(&world, Invitation::to(CLUB)).await.chat.expect("a session");
        assert_eq!(chat.send_part("text/plain", b"The first half", 100).await, 200);
        world.settle(seconds(59)).await;
        assert!(!chat.is_over());
        world.settle(seconds(5)).await;
        assert!(chat.is_over() && chat.is_disconnected());
        world.settle(seconds(60)).await;
        assert!(heard(&world, "bob").is_empty(), "a part is nothing");
    })
    .await;
}

// Covers: CF-013
#[tokio::test(start_paused = true)]
async fn nobody_is_reached_by_a_list_he_did_not_agree_to() {
    story(async || {
        let consents = format!("[explode]\nconsent = \"everybody\"\nconsents = [\"{CAROL} *\"]\n");
        let world = without(five(&consents), &[]).await;
        let list = || Invitation::to(FACTORY).with(&[BOB, CAROL]);
        for call in [large(&world, list()).await, world.ue("alice").invite_as(list()).await] {
            assert_eq!(call.answer.status, 470);
            let missing = call.answer.header("Permission-Missing");
            assert_eq!(missing, Some(format!("<{BOB}>")));
        }
        let agreed = Invitation::to(FACTORY).with(&[CAROL]);
        assert_eq!(sends(&world, agreed, &long()).await, 200);
        world.settle(seconds(20)).await;
        assert!(heard(&world, "bob").is_empty() && world.ue("bob").received().is_empty());
        assert_eq!(heard(&world, "carol").len(), 1);
    })
    .await;
}
