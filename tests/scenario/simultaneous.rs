//! Simultaneous sessions of one user, whose messages pass through the server
//! (OMA-TS-SIMPLE_IM §7.2.2.10).

use parlance_lab::ue::{Chat, Invitation};
use parlance_lab::world::World;

use crate::{ALICE, BOB, CAROL, people, seconds, story};

/// Everybody is registered; sessions are between users, and anchored.
async fn world(more: &str) -> World {
    let configuration = format!(
        "[participating]\nnotice = false\npeer_to_peer = true\nsession_media = \"anchor\"\n{more}"
    );
    let world = people().configuration(&configuration).build().await;
    let world = world.expect("the world can be built");
    world.register_all().await;
    world
}

/// A session that one user begins with another: his end of it, and the other's.
async fn talk(world: &World, from: &str, to: &str, whom: &str) -> (Chat, Chat) {
    let call = world.ue(from).invite_as(Invitation::to(whom)).await;
    assert_eq!(call.answer.status, 200, "{from} calls {to}");
    world.settle(seconds(1)).await;
    let other = world.ue(to).chats().pop().expect("a session");
    (call.chat.expect("a session"), other)
}

// Covers: PF-072, PF-073, CLI-025
#[tokio::test(start_paused = true)]
async fn a_lock_holds_what_others_say_until_it_is_off() {
    story(async || {
        let world = world("held_messages_max = 2").await;
        let (alice, bob) = talk(&world, "alice", "bob", BOB).await;
        let (carol, alice_with_carol) = talk(&world, "carol", "alice", ALICE).await;
        assert_eq!(carol.say("hello alice").await, 200);
        world.settle(seconds(1)).await;
        assert_eq!(alice_with_carol.texts(), ["hello alice"]);
        assert_eq!(alice.update(&["im-session-lock:on"]).await.status, 200);
        for text in ["are you there?", "alice?"] {
            assert_eq!(carol.say(text).await, 200, "it was received");
        }
        assert_eq!(bob.say("we were talking of lunch").await, 200);
        assert_eq!(alice_with_carol.say("not now").await, 200);
        world.settle(seconds(5)).await;
        assert_eq!(alice.texts(), ["we were talking of lunch"]);
        assert_eq!(carol.texts(), ["not now"], "what she says is not held");
        assert_eq!(alice_with_carol.texts().len(), 1, "what is said to her is");
        // More than two are not held.
        let before = carol.reports().len();
        assert_eq!(carol.say("please").await, 200);
        world.settle(seconds(1)).await;
        let reports = carol.reports().split_off(before);
        assert!(reports.iter().any(|(_, status)| status.starts_with("000 408")), "{reports:?}");
        let again = world.ue("carol").invite_as(Invitation::to(ALICE)).await;
        assert_eq!(again.answer.status, 486);
        assert_eq!(alice.update(&["im-session-lock:off"]).await.status, 200);
        world.settle(seconds(1)).await;
        let heard = alice_with_carol.texts();
        assert_eq!(heard, ["hello alice", "are you there?", "alice?"]);
        let again = world.ue("carol").invite_as(Invitation::to(ALICE)).await;
        assert_eq!(again.answer.status, 200);
        assert!(world.ues().all(|ue| ue.contradictions() == 0));
    })
    .await;
}

// Covers: PF-071, PF-072
#[tokio::test(start_paused = true)]
async fn a_lock_ends_with_its_session() {
    story(async || {
        let world = world("").await;
        let (alice, _bob) = talk(&world, "alice", "bob", BOB).await;
        let (with_carol, carol) = talk(&world, "alice", "carol", CAROL).await;
        let asks = ["im-session-priority:primary", "im-session-lock:on"];
        assert_eq!(alice.update(&asks).await.status, 200);
        assert_eq!(carol.say("and us?").await, 200);
        world.settle(seconds(1)).await;
        assert!(with_carol.texts().is_empty());
        assert_eq!(alice.leave().await.status, 200);
        world.settle(seconds(1)).await;
        assert_eq!(with_carol.texts(), ["and us?"]);
    })
    .await;
}

// Covers: PF-072, PF-073
#[tokio::test(start_paused = true)]
async fn a_conference_of_the_same_server_is_held_and_locks_like_any_other_session() {
    story(async || {
        let world = world("held_messages_max = 2").await;
        let (alice, bob) = talk(&world, "alice", "bob", BOB).await;
        let invitation = Invitation::to("sip:im-conf-factory@ims.test").with(&[BOB, CAROL]);
        let call = world.ue("alice").invite_as(invitation).await;
        let conference = call.chat.expect("a session");
        world.settle(seconds(1)).await;
        let carol = world.ue("carol").chats().pop().expect("a session");
        assert!(conference.is_focus() && carol.is_focus());
        assert_eq!(alice.update(&["im-session-lock:on"]).await.status, 200);
        for text in ["hello all", "alice?"] {
            assert_eq!(carol.say(text).await, 200);
        }
        assert_eq!(conference.say("not now").await, 200, "what she says is not held");
        world.settle(seconds(1)).await;
        assert!(conference.texts().is_empty(), "what is said to her is");
        assert_eq!(carol.texts(), ["not now"]);
        assert_eq!(carol.say("please").await, 200);
        world.settle(seconds(1)).await;
        let reports = carol.reports();
        assert!(reports.iter().any(|(_, status)| status.starts_with("000 408")), "{reports:?}");
        assert_eq!(alice.update(&["im-session-lock:off"]).await.status, 200);
        world.settle(seconds(1)).await;
        assert_eq!(conference.texts(), ["hello all", "alice?"]);
        // Now the other way round.
        assert_eq!(conference.update(&["im-session-lock:on"]).await.status, 200);
        assert_eq!(bob.say("lunch?").await, 200);
        assert_eq!(carol.say("to all").await, 200);
        world.settle(seconds(1)).await;
        assert!(alice.texts().is_empty());
        assert_eq!(conference.texts(), ["hello all", "alice?", "to all"]);
        // Who leaves it takes the lock along.
        assert_eq!(conference.leave().await.status, 200);
        world.settle(seconds(1)).await;
        assert_eq!(alice.texts(), ["lunch?"]);
    })
    .await;
}
