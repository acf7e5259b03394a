//! An immediate message over MSRP for somebody who is away (OMA-TS-SIMPLE_IM §7.3.1.3).

use parlance_lab::ue::{Call, Invitation};
use parlance_lab::world::World;

use crate::{ALICE, BOB, people, seconds, story};

/// A world where alice is there and bob was, once.
async fn bob_is_away() -> World {
    let world = people().build().await.expect("the world can be built");
    for name in ["alice", "bob"] {
        assert_eq!(world.ue(name).register().await.status, 200, "{name} registers");
    }
    world.settle(seconds(5)).await;
    assert_eq!(world.ue("bob").deregister().await.status, 200);
    world.settle(seconds(1)).await;
    world
}

/// Alice's INVITE for one message to bob.
async fn large_message(world: &World, headers: &[(&str, &str)]) -> Call {
    let tag = "*;+g.oma.sip-im.large-message";
    let invitation = Invitation::to(BOB).header("Accept-Contact", tag);
    let add = |invitation: Invitation, (name, value): &(&str, &str)| invitation.header(name, value);
    world.ue("alice").invite_as(headers.iter().fold(invitation, add)).await
}

/// What bob gets when he registers again.
async fn bob_returns(world: &World) -> Vec<String> {
    let before = world.ue("bob").texts().len();
    assert_eq!(world.ue("bob").register().await.status, 200);
    world.settle(seconds(60)).await;
    world.ue("bob").texts().split_off(before)
}

// Covers: DF-001, DF-004, DF-005, DF-013, DF-030, PF-033, CLI-028
#[tokio::test(start_paused = true)]
async fn it_is_kept_and_delivered_when_he_is_back() {
    story(async || {
        let world = bob_is_away().await;
        let call = large_message(&world, &[]).await;
        assert_eq!(call.answer.status, 200);
        let chat = call.chat.expect("a session");
        assert!(!chat.is_focus());
        let text = "The whole story. ".repeat(500);
        assert_eq!(chat.send_octets("text/plain", text.as_bytes()).await, 200);
        assert_eq!(chat.leave().await.status, 200);
        assert_eq!(bob_returns(&world).await, [text]);
        let got = world.ue("bob").received().pop().expect("it was a MESSAGE");
        assert_eq!(got.header("Content-Type").as_deref(), Some("text/plain"));
        assert!(got.header("From").is_some_and(|from| from.contains(ALICE)));
        world.settle(seconds(3600)).await;
        assert_eq!(world.ue("bob").repeats(), (0, 0), "once");
    })
    .await;
}

// Covers: DF-005, PF-094
#[tokio::test(start_paused = true)]
async fn that_it_is_kept_is_told_to_who_asked() {
    story(async || {
        let world = bob_is_away().await;
        let chat = large_message(&world, &[]).await.chat.expect("a session");
        let body = "From: <sip:alice@ims.test>\r\nTo: <sip:bob@ims.test>\r\n\
            DateTime: 2026-09-21T14:13:20Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
            imdn.Message-ID: m1\r\nimdn.Disposition-Notification: processing\r\n\r\n\
            Content-Type: text/plain\r\n\r\nThe whole story.";
        assert_eq!(chat.send_octets("message/cpim", body.as_bytes()).await, 200);
        assert_eq!(chat.leave().await.status, 200);
        world.settle(seconds(100)).await;
        let told = world.ue("alice").texts();
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("<stored/>"), "{}", told[0]);
    })
    .await;
}

// Covers: DF-006, PF-034
#[tokio::test(start_paused = true)]
async fn a_conversation_is_not_kept() {
    story(async || {
        let world = bob_is_away().await;
        let call = world.ue("alice").invite_as(Invitation::to(BOB)).await;
        assert_eq!(call.answer.status, 480);
        assert!(bob_returns(&world).await.is_empty());
    })
    .await;
}

// Covers: DF-004, DF-007
#[tokio::test(start_paused = true)]
async fn what_may_not_be_kept_is_a_480() {
    story(async || {
        let world = bob_is_away().await;
        let call = large_message(&world, &[("Request-Disposition", "no-queue")]).await;
        assert_eq!(call.answer.status, 480);
        assert!(bob_returns(&world).await.is_empty());
    })
    .await;
}

// Covers: DF-005, DF-010
#[tokio::test(start_paused = true)]
async fn a_part_of_a_message_is_forgotten() {
    story(async || {
        let world = bob_is_away().await;
        let chat = large_message(&world, &[]).await.chat.expect("a session");
        assert_eq!(chat.send_part("text/plain", b"The first half", 100).await, 200);
        assert_eq!(chat.leave().await.status, 200);
        assert!(bob_returns(&world).await.is_empty());
    })
    .await;
}

// Covers: DF-005, DF-030
#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_to_the_chunk() {
    story(async || {
        let world = bob_is_away().await;
        let chat = large_message(&world, &[]).await.chat.expect("a session");
        let too_large = vec![b'x'; 1024 * 1024 + 1];
        assert_eq!(chat.send_octets("text/plain", &too_large).await, 413);
        assert_eq!(chat.send_octets("text/plain", b"small").await, 200);
        assert_eq!(chat.leave().await.status, 200);
        assert_eq!(bob_returns(&world).await, ["small"]);
    })
    .await;
}

// Covers: DF-005
#[tokio::test(start_paused = true)]
async fn a_sender_who_says_nothing_is_let_go() {
    story(async || {
        let world = bob_is_away().await;
        let chat = large_message(&world, &[]).await.chat.expect("a session");
        world.settle(seconds(59)).await;
        assert!(!chat.is_over());
        world.settle(seconds(5)).await;
        assert!(chat.is_over() && chat.is_disconnected());
    })
    .await;
}

// Covers: DF-010
#[tokio::test(start_paused = true)]
async fn who_cancels_leaves_nothing() {
    story(async || {
        let world = bob_is_away().await;
        let tag = "*;+g.oma.sip-im.large-message";
        let invitation = Invitation::to(BOB).header("Accept-Contact", tag);
        let ringing = world.ue("alice").call_as(&invitation);
        let (cancel, invite) = ringing.cancel().await;
        assert_eq!(cancel.status, 200);
        assert!(matches!(invite.status, 200 | 487), "{}", invite.status);
        world.settle(seconds(120)).await;
        assert!(world.ue("alice").chats().is_empty(), "nobody waits for a message");
        assert!(bob_returns(&world).await.is_empty());
    })
    .await;
}
