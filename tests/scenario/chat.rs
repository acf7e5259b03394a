//! Users talk over MSRP: peer to peer, the server a proxy of the SIP between them.

use std::time::Duration;

use parlance_lab::network::Faults;
use parlance_lab::ue::Invitation;
use parlance_lab::world::{SERVER, World};

use crate::{ALICE, BOB, CAROL, alice_and_bob, peers, seconds, story};

/// What went over MSRP connections of the server.
fn through_the_server(world: &World) -> usize {
    let carried = world.network.carried();
    carried.iter().filter(|one| one.from.ip() == SERVER || one.to.ip() == SERVER).count()
}

// Covers: SCR-005, MSRP-024, MSRP-049
#[tokio::test(start_paused = true)]
async fn two_users_talk_peer_to_peer() {
    story(async || {
        let world = alice_and_bob(peers()).await;
        world.network.trace_connections();
        let call = world.ue("alice").invite(BOB).await;
        assert_eq!(call.answer.status, 200);
        let alice = call.chat.expect("a session");
        world.settle(seconds(1)).await;
        let bob = world.ue("bob").chats().pop().expect("a session");
        assert!(alice.is_connected() && bob.is_connected());
        assert!(!alice.is_focus() && !bob.is_focus());
        assert_eq!((alice.partner(), bob.partner()), (BOB, ALICE));
        assert_eq!(alice.say("hello bob").await, 200);
        assert_eq!(bob.say("hello alice").await, 200);
        assert_eq!(bob.say("how are you?").await, 200);
        world.settle(seconds(1)).await;
        assert_eq!(bob.texts(), ["hello bob"]);
        assert_eq!(alice.texts(), ["hello alice", "how are you?"]);
        assert_eq!(bob.said()[0].cpim.from, ALICE);
        let [(_, status)] = &alice.reports()[..] else { panic!("a success report") };
        assert_eq!(status, "000 200 OK");
        assert_eq!(through_the_server(&world), 0, "the path in the SDP is the users' own");
        assert_eq!(bob.leave().await.status, 200);
        world.settle(seconds(1)).await;
        assert!(alice.is_over() && alice.is_disconnected());
        assert_eq!(alice.say("anybody there?").await, 481);
        assert!(world.ue("alice").chats().is_empty() && world.ue("bob").chats().is_empty());
    })
    .await;
}

// Covers: MSRP-024
#[tokio::test(start_paused = true)]
async fn one_user_talks_to_several_at_once() {
    story(async || {
        let world = alice_and_bob(peers()).await;
        world.ue("carol").register().await;
        world.settle(seconds(1)).await;
        let mut chats = Vec::new();
        for who in [BOB, CAROL, BOB] {
            let call = world.ue("alice").invite_as(Invitation::to(who)).await;
            chats.push(call.chat.expect("a session"));
        }
        for (number, chat) in chats.iter().enumerate() {
            assert_eq!(chat.say(&format!("number {number}")).await, 200);
        }
        world.settle(seconds(1)).await;
        let heard = |name: &str| -> Vec<Vec<String>> {
            world.ue(name).chats().iter().map(|chat| chat.texts()).collect()
        };
        assert_eq!(heard("bob"), [["number 0"], ["number 2"]]);
        assert_eq!(heard("carol"), [["number 1"]]);
        assert_eq!(chats[0].leave().await.status, 200);
        assert_eq!(chats[2].say("still here").await, 200);
        assert_eq!(world.ue("bob").chats().len(), 1);
    })
    .await;
}

// Covers: MSRP-049
#[tokio::test(start_paused = true)]
async fn the_description_passes_untouched() {
    story(async || {
        let world = alice_and_bob(peers()).await;
        let alice = world.ue("alice").invite(BOB).await.chat.expect("a session");
        world.settle(seconds(1)).await;
        let bob = world.ue("bob").chats().pop().expect("a session");
        let traced = world.core.trace();
        let bodies: Vec<String> = traced
            .iter()
            .map(|traced| traced.text())
            .filter(|text| text.contains("m=message"))
            .filter_map(|text| Some(text.split_once("\r\n\r\n")?.1.to_owned()))
            .collect();
        let of = |uri: &str| -> Vec<&String> {
            bodies.iter().filter(|body| body.contains(&format!("a=path:{uri}\r\n"))).collect()
        };
        for uri in [alice.uri(), bob.uri()] {
            let same = of(uri);
            // To and from the server on both sides, and the two ends.
            assert_eq!(same.len(), 6, "{uri}");
            assert!(same.iter().all(|body| *body == same[0]), "{uri}");
        }
        assert_eq!(of(alice.uri()).len() + of(bob.uri()).len(), bodies.len());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_network_in_pieces_changes_nothing() {
    story(async || {
        let faults = Faults {
            delay: Duration::from_millis(5)..Duration::from_millis(80),
            piece_octets_max: Some(11),
            ..Faults::default()
        };
        let world = alice_and_bob(peers().faults(faults)).await;
        let alice = world.ue("alice").invite(BOB).await.chat.expect("a session");
        world.settle(seconds(2)).await;
        let bob = world.ue("bob").chats().pop().expect("a session");
        let mut expect = Vec::new();
        for number in 0..20 {
            let text = format!("{number} -------and\r\n\r\nmore {}", "x".repeat(number * 31));
            assert_eq!(alice.say(&text).await, 200);
            expect.push(text);
        }
        world.settle(seconds(1)).await;
        assert!(bob.texts() == expect, "as it was said, in order");
    })
    .await;
}
