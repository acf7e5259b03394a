//! Sessions established ahead of time, over the whole of SIP and MSRP.

use parlance_lab::flow::{PRE_ESTABLISHED, ROOM_DOCUMENT};
use parlance_lab::ue::{Chat, Draft};
use parlance_lab::world::{Builder, World, identity};
use parlance_store::Entry;
use rsip::Method;

use crate::{BOB, CAROL, people, seconds, story};

const ROOM: &str = "sip:im-group-tea@ims.test";

const CONFIGURATION: &str = "[participating]\nnotice = false\npeer_to_peer = true\n\
    pre_established = true";

async fn world(builder: Builder) -> World {
    let built = builder.configuration(CONFIGURATION).build().await;
    let world = built.expect("the world can be built");
    world.register_all().await;
    world
}

async fn establish(world: &World, name: &str) -> Chat {
    let chat = world.ue(name).invite(PRE_ESTABLISHED).await.chat.expect("a session");
    world.settle(seconds(1)).await;
    assert!(chat.is_connected(), "{name}");
    chat
}

/// Invitations that a client has got.
fn invited(world: &World, name: &str) -> usize {
    let received = world.ue(name).received();
    received.iter().filter(|received| received.request.method == Method::Invite).count()
}

// Covers: PF-060, PF-064, PF-065
#[tokio::test(start_paused = true)]
async fn users_of_all_shards_are_answered_for() {
    story(async || {
        let world = world(people().users(12).shards(4)).await;
        let names: Vec<_> = (0..12).map(parlance_lab::world::user_name).collect();
        let mut standing = Vec::new();
        for name in &names {
            let everybody = vec![Entry::Domain("ims.test".to_owned())];
            let changed = world.change_profile(name, |profile| profile.auto_answer = everybody);
            changed.await.expect("it is changed");
            standing.push(establish(&world, name).await);
        }
        for _ in 0..2 {
            for (name, own) in names.iter().zip(&standing) {
                let bob = world.ue("bob").invite(&identity(name)).await.chat.expect("a session");
                world.settle(seconds(1)).await;
                assert_eq!(bob.say(&format!("Hello {name}!")).await, 200);
                assert_eq!(own.say_to(BOB, "Hello Bob!").await, 200);
                world.settle(seconds(1)).await;
                assert_eq!(own.texts().pop().as_deref(), Some(&*format!("Hello {name}!")));
                assert_eq!(bob.texts(), ["Hello Bob!"]);
                assert_eq!(bob.leave().await.status, 200);
                world.settle(seconds(1)).await;
                assert!(!own.is_over());
                assert_eq!(invited(&world, name), 0);
            }
        }
        for own in &standing {
            assert_eq!(own.leave().await.status, 200);
        }
        world.settle(seconds(5)).await;
        assert_eq!(world.server.msrp_load().1, 0);
    })
    .await;
}

// Covers: PF-062, PF-038, PF-063
#[tokio::test(start_paused = true)]
async fn a_list_becomes_a_conference() {
    story(async || {
        let world = world(people()).await;
        let alice = establish(&world, "alice").await;
        let list = format!(
            "<?xml version=\"1.0\"?><resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\">\
             <list><entry uri=\"{BOB}\"/><entry uri=\"{CAROL}\"/></list></resource-lists>"
        );
        let refer = Draft::new(Method::Refer, "")
            .header("Refer-To", "<cid:list@lab>")
            .header("Require", "multiple-refer")
            .header("Content-ID", "<list@lab>")
            .body("application/resource-lists+xml", list.as_bytes());
        assert_eq!(alice.request(refer).await.status, 202);
        world.settle(seconds(2)).await;
        let chat = |name| world.ue(name).chats().pop().expect("a session");
        let (bob, carol) = (chat("bob"), chat("carol"));
        assert_eq!(bob.say("Tea?").await, 200);
        world.settle(seconds(1)).await;
        assert_eq!(carol.texts(), ["Tea?"]);
        let said = alice.said().pop().expect("she hears it");
        assert_eq!(said.cpim.text, "Tea?");
        assert_eq!(alice.say_to(&said.cpim.to, "Yes").await, 200);
        world.settle(seconds(1)).await;
        assert_eq!(carol.texts(), ["Tea?", "Yes"]);
        // She hangs up: nothing is left of her anywhere.
        assert_eq!(alice.leave().await.status, 200);
        world.settle(seconds(2)).await;
        assert!(!bob.is_over());
        assert_eq!(bob.leave().await.status, 200);
        world.settle(seconds(5)).await;
        assert!(carol.is_over(), "she alone is left");
        assert_eq!(world.server.msrp_load().1, 0);
    })
    .await;
}

// Covers: PF-063, SEC-011
#[tokio::test(start_paused = true)]
async fn who_loses_the_connection_loses_all() {
    story(async || {
        let world = world(people().group(ROOM_DOCUMENT)).await;
        let alice = establish(&world, "alice").await;
        assert_eq!(alice.add(ROOM).await.status, 202);
        world.settle(seconds(1)).await;
        let bob = world.ue("bob").invite(ROOM).await.chat.expect("a session");
        let watch = world.ue("bob").watch(&bob.remote_target()).await;
        world.settle(seconds(1)).await;
        assert_eq!(watch.connected(), [identity("alice"), identity("bob")]);
        alice.disconnect();
        world.settle(seconds(5)).await;
        assert!(alice.is_over(), "a BYE came");
        assert_eq!(watch.connected(), [identity("bob")]);
        bob.leave().await;
        world.settle(seconds(5)).await;
        assert_eq!(world.server.msrp_load().1, 0);
        // She begins anew.
        let alice = establish(&world, "alice").await;
        assert_eq!(alice.leave().await.status, 200);
    })
    .await;
}

// Covers: PF-066
#[tokio::test(start_paused = true)]
async fn without_the_service_it_is_not_found() {
    story(async || {
        let world = people().build().await.expect("the world can be built");
        world.register_all().await;
        assert_eq!(world.ue("alice").invite(PRE_ESTABLISHED).await.answer.status, 404);
    })
    .await;
}
