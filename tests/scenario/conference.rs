//! Conferences over the whole of SIP and MSRP: what one has to do with the other.

use parlance_lab::flow::ROOM_DOCUMENT;
use parlance_lab::ue::{Chat, Invitation};
use parlance_lab::world::{World, identity};
use rsip::Method;

use crate::{BOB, CAROL, people, seconds, story};

const FACTORY: &str = "sip:im-conf-factory@ims.test";
const ROOM: &str = "sip:im-group-tea@ims.test";

/// Alice, Bob and Carol in a conference that Alice began.
async fn three() -> (World, [Chat; 3]) {
    let world = people().build().await.expect("the world can be built");
    world.register_all().await;
    let invitation = Invitation::to(FACTORY).with(&[BOB, CAROL]);
    let alice = world.ue("alice").invite_as(invitation).await.chat.expect("a session");
    world.settle(seconds(1)).await;
    let chat = |name| world.ue(name).chats().pop().expect("a session");
    let chats = [alice, chat("bob"), chat("carol")];
    (world, chats)
}

/// The value of Reason in the BYE that somebody got.
fn reason(world: &World, name: &str) -> Option<String> {
    let received = world.ue(name).received();
    let bye = received.iter().find(|received| received.request.method == Method::Bye)?;
    bye.header("Reason")
}

// Covers: SEC-011
#[tokio::test(start_paused = true)]
async fn who_loses_the_connection_loses_the_dialog_and_the_others_are_told() {
    story(async || {
        let (world, [alice, bob, carol]) = three().await;
        let watch = world.ue("alice").watch(&alice.remote_target()).await;
        world.settle(seconds(1)).await;
        assert_eq!(watch.connected().len(), 3);
        bob.disconnect();
        world.settle(seconds(5)).await;
        assert!(!bob.is_over() && watch.connected().len() == 3, "he may come back for a while");
        world.settle(seconds(10)).await;
        assert!(bob.is_over(), "a BYE came");
        assert_eq!(watch.connected(), [identity("alice"), identity("carol")]);
        assert_eq!(watch.conference().gaps, 0);
        assert_eq!(alice.say("two of us").await, 200);
        world.settle(seconds(1)).await;
        assert_eq!(carol.texts(), ["two of us"]);
        for chat in [&alice, &carol] {
            chat.leave().await;
        }
        world.settle(seconds(5)).await;
        assert_eq!(world.server.msrp_load().1, 0, "with the dialogs the sessions end");
    })
    .await;
}

// Covers: MSRP-070
#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_taken_out_and_delays_nobody() {
    story(async || {
        let (world, [alice, bob, carol]) = three().await;
        world.ue("bob").deafen(true);
        let text = "x".repeat(256 * 1024);
        for number in 0..80 {
            assert_eq!(alice.say(&format!("{number} {text}")).await, 200, "{number}");
        }
        world.settle(seconds(5)).await;
        let heard = carol.texts();
        assert_eq!(heard.len(), 80);
        let numbered = |(number, text): (usize, &String)| text.starts_with(&format!("{number} "));
        assert!(heard.iter().enumerate().all(numbered), "in order");
        assert!(bob.is_over(), "a BYE came");
        let reason = reason(&world, "bob").unwrap_or_default();
        assert!(reason.contains("503"), "{reason}");
        assert!(!alice.is_over() && !carol.is_over());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_watches_is_told_of_everybody_in_order() {
    story(async || {
        let builder = people().users(12).group(ROOM_DOCUMENT);
        let world = builder.build().await.expect("the world can be built");
        world.register_all().await;
        let alice = world.ue("alice").invite(ROOM).await.chat.expect("a session");
        let watch = world.ue("alice").watch(&alice.remote_target()).await;
        let mut chats = Vec::new();
        for ue in world.ues().filter(|ue| ue.identity().contains("user")) {
            chats.push(ue.invite(ROOM).await.chat.expect("a session"));
        }
        world.settle(seconds(10)).await;
        assert_eq!(watch.connected().len(), 13);
        for chat in chats.iter().step_by(2) {
            assert_eq!(chat.leave().await.status, 200);
        }
        world.settle(seconds(10)).await;
        let conference = watch.conference();
        assert_eq!(watch.connected().len(), 7);
        assert_eq!((conference.gaps, conference.user_count), (0, Some(7)));
        assert!(conference.partial > 0, "not everything each time");
        assert_eq!(watch.refresh().await.status, 200);
        world.settle(seconds(2)).await;
        assert_eq!(watch.connected().len(), 7);
        assert_eq!(watch.end().await.status, 200);
        world.settle(seconds(2)).await;
        assert!(watch.state().is_some_and(|state| state.starts_with("terminated")));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_takes_its_sessions_with_it_and_begins_anew() {
    story(async || {
        let builder = people().group(ROOM_DOCUMENT);
        let mut world = builder.build().await.expect("the world can be built");
        world.register_all().await;
        let before = world.ue("alice").invite(ROOM).await.chat.expect("a session");
        world.settle(seconds(1)).await;
        assert!(before.is_connected());
        world.restart_server().await.expect("it starts");
        world.settle(seconds(1)).await;
        assert!(before.is_disconnected());
        assert_eq!(before.say("anybody?").await, 481);
        let alice = world.ue("alice").invite(ROOM).await.chat.expect("a session");
        let bob = world.ue("bob").invite(ROOM).await.chat.expect("a session");
        world.settle(seconds(1)).await;
        assert_eq!(alice.say("here again").await, 200);
        world.settle(seconds(1)).await;
        assert_eq!(bob.texts(), ["here again"]);
        assert_eq!(before.leave().await.status, 481, "nobody knows the old one");
    })
    .await;
}
