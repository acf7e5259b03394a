//! The functions in one server, and on two that meet only over SIP and MSRP: the first has the
//! participating and the deferred function of all users, the second the controlling function, to
//! which the core sends what is for the conference factory, the exploder, groups and sessions.

use parlance_lab::flow::{ROOM_DOCUMENT, TEAM_DOCUMENT};
use parlance_lab::ue::{Chat, Invitation};
use parlance_lab::world::{Builder, CONFERENCES, SERVER, World, identity};

use crate::{BOB, CAROL, people, seconds, story};

const FACTORY: &str = "sip:im-conf-factory@ims.test";
const ROOM: &str = "sip:im-group-tea@ims.test";
const TEAM: &str = "sip:im-group-team@ims.test";

fn one() -> Builder {
    // A room where everybody may have others brought in and taken out.
    let rights = "<allow-invite-users-dynamically>true</allow-invite-users-dynamically>\
                  <oxe:allow-expelling>true</oxe:allow-expelling><oxe:allow-private-message>";
    let room = ROOM_DOCUMENT.replace("<oxe:allow-private-message>", rights);
    people().group(&room).group(TEAM_DOCUMENT)
}

fn two() -> Builder {
    one().conferences("")
}

/// The same, and what the users say passes their own server, too (IM-8).
fn two_with_messages_through_both() -> Builder {
    two().configuration("[participating]\nnotice = false\nsession_media = \"anchor\"\n")
}

/// A world where everybody is registered.
async fn everybody(builder: Builder) -> World {
    let world = builder.build().await.expect("the world can be built");
    world.register_all().await;
    world.network.trace_connections();
    world
}

fn chat(world: &World, name: &str) -> Chat {
    world.ue(name).chats().pop().expect("a session")
}

/// How many requests of a method the core sent to a node and got from it.
fn passed(world: &World, method: &str, node: std::net::IpAddr) -> (usize, usize) {
    let start = format!("{method} ");
    let trace = world.core.trace();
    let of = |sent: bool| {
        let at = trace.iter().filter(|one| one.sent == sent && one.peer.ip() == node);
        at.filter(|one| one.octets.starts_with(start.as_bytes())).count()
    };
    (of(true), of(false))
}

/// What went over MSRP connections: between users and their own server, between users and the
/// focus, and between the nodes.
fn carried(world: &World) -> [usize; 3] {
    let carried = world.network.carried();
    let of = |own: bool, focus: bool| {
        let passing = carried.iter().filter(|one| {
            let has = |node| one.from.ip() == node || one.to.ip() == node;
            has(SERVER) == own && has(CONFERENCES) == focus
        });
        passing.count()
    };
    [of(true, false), of(false, true), of(true, true)]
}

/// Alice calls Bob by way of the factory, they talk, and Bob leaves.
async fn conference_of_two(world: &World) {
    let invitation = Invitation::to(FACTORY).with(&[BOB]);
    let call = world.ue("alice").invite_as(invitation).await;
    assert_eq!(call.answer.status, 200);
    let alice = call.chat.expect("a session");
    world.settle(seconds(1)).await;
    let bob = chat(world, "bob");
    assert!(alice.is_focus() && bob.is_focus());
    assert_eq!(alice.remote_target(), bob.remote_target(), "one focus");
    assert_eq!(alice.say("hello bob").await, 200);
    assert_eq!(bob.say("hello alice").await, 200);
    world.settle(seconds(1)).await;
    assert_eq!(
        (bob.texts(), alice.texts()),
        (vec!["hello bob".into()], vec!["hello alice".into()])
    );
    assert_eq!(bob.leave().await.status, 200);
    world.settle(seconds(1)).await;
    assert!(alice.is_over(), "one alone is no session");
    assert!(world.ues().all(|ue| ue.chats().is_empty() && ue.contradictions() == 0));
}

/// Alice and Bob join a chat room; a nickname, a private message, Carol is added and expelled, and
/// Bob leaves and comes again.
async fn chat_group(world: &World) {
    let alice = world.ue("alice").invite(ROOM).await.chat.expect("a session");
    let bob = world.ue("bob").invite(ROOM).await.chat.expect("a session");
    assert_eq!(alice.remote_target(), bob.remote_target(), "one focus");
    let watch = world.ue("alice").watch(&alice.remote_target()).await;
    assert_eq!(watch.answer.status, 200);
    assert_eq!(bob.nickname(Some("Bobby")).await, 200);
    assert_eq!(alice.nickname(Some("Bobby")).await, 425, "somebody is called so");
    assert_eq!(bob.say("anybody?").await, 200);
    let added = alice.add(CAROL).await.status;
    assert!((200..300).contains(&added), "{added}");
    world.settle(seconds(10)).await;
    let carol = chat(world, "carol");
    assert_eq!(watch.connected(), ["alice", "bob", "carol"].map(identity));
    let called = |nickname: &str| {
        let users = watch.conference().users;
        let found = users.iter().find(|(_, user)| user.nickname.as_deref() == Some(nickname));
        found.map(|(entity, _)| entity.clone())
    };
    let bobby = called("Bobby").expect("who is called so");
    assert_eq!(carol.say_to(&bobby, "for you alone").await, 200);
    assert_eq!(carol.say("here I am").await, 200);
    let expelled = alice.expel(CAROL).await.status;
    assert!((200..300).contains(&expelled), "{expelled}");
    world.settle(seconds(10)).await;
    assert!(carol.is_over());
    assert_eq!(alice.texts(), ["anybody?", "here I am"]);
    assert_eq!(bob.texts(), ["for you alone", "here I am"]);
    assert_eq!(watch.connected(), ["alice", "bob"].map(identity));
    // The session goes on under its identity, by which Bob comes again.
    assert_eq!(bob.leave().await.status, 200);
    let again = world.ue("bob").invite(&alice.remote_target()).await;
    assert_eq!(again.answer.status, 200);
    let bob = again.chat.expect("a session");
    assert_eq!(bob.say("back again").await, 200);
    world.settle(seconds(1)).await;
    assert_eq!(alice.texts().pop().as_deref(), Some("back again"));
    assert_eq!(watch.conference().gaps, 0);
    assert_eq!(watch.end().await.status, 200);
    for chat in [&alice, &bob] {
        assert_eq!(chat.leave().await.status, 200);
    }
    world.settle(seconds(40)).await;
    assert_eq!(world.core.under_way(), 0);
    assert!(world.ues().all(|ue| ue.chats().is_empty() && ue.contradictions() == 0));
}

/// Alice writes to the team while Carol is away.
async fn group_message(world: &World) {
    assert_eq!(world.ue("carol").deregister().await.status, 200);
    world.settle(seconds(1)).await;
    assert_eq!(world.ue("alice").message(TEAM, "to the team").await.status, 202);
    world.settle(seconds(5)).await;
    let has = |name: &str| {
        let texts = world.ue(name).texts();
        texts.iter().filter(|text| text.contains("to the team")).count()
    };
    assert_eq!((has("bob"), has("carol")), (1, 0));
    assert_eq!(world.waiting("carol").await, 1, "her own server keeps it");
    assert_eq!(world.ue("carol").register().await.status, 200);
    world.settle(seconds(10)).await;
    assert_eq!((has("alice"), has("bob"), has("carol")), (0, 1, 1));
}

// Covers: CLI-044, ROLE-001, ROLE-017
#[tokio::test(start_paused = true)]
async fn everything_in_one_server() {
    story(async || {
        let world = everybody(one()).await;
        conference_of_two(&world).await;
        chat_group(&world).await;
        group_message(&world).await;
        assert_eq!(world.server.msrp_load().1, 0, "with the dialogs the sessions end");
    })
    .await;
}

// Covers: ROLE-001, ROLE-002, ROLE-017
#[tokio::test(start_paused = true)]
async fn a_conference_of_two_through_two_nodes() {
    story(async || {
        let world = everybody(two()).await;
        // The nodes need nothing of each other but what the core passes on.
        world.network.partition(SERVER, CONFERENCES, true);
        conference_of_two(&world).await;
        // Alice's INVITE passes her own server; Bob's, which the focus sends, passes his.
        assert_eq!(passed(&world, "INVITE", SERVER), (2, 2));
        assert_eq!(passed(&world, "INVITE", CONFERENCES), (1, 1));
        // So does what follows in the dialogs.
        assert_eq!(passed(&world, "ACK", SERVER), (2, 2));
        assert_eq!(passed(&world, "BYE", SERVER), (2, 2));
        assert_eq!(passed(&world, "BYE", CONFERENCES), (1, 1));
        let [own, focus, between] = carried(&world);
        assert!((own, between) == (0, 0) && focus > 0);
    })
    .await;
}

// Covers: ROLE-001, ROLE-004
#[tokio::test(start_paused = true)]
async fn a_chat_group_through_two_nodes() {
    story(async || {
        let world = everybody(two()).await;
        world.network.partition(SERVER, CONFERENCES, true);
        chat_group(&world).await;
        let other = world.conferences.as_ref().expect("there are two");
        assert_eq!(other.msrp_load().1, 0, "with the dialogs the sessions end");
    })
    .await;
}

// Covers: ROLE-001, ROLE-002, PF-084
#[tokio::test(start_paused = true)]
async fn messages_through_two_nodes() {
    story(async || {
        let world = everybody(two_with_messages_through_both()).await;
        conference_of_two(&world).await;
        let [own, focus, between] = carried(&world);
        assert!(own > 0 && focus == 0 && between > 0, "{own} {focus} {between}");
        chat_group(&world).await;
        let [own, focus, between] = carried(&world);
        assert!(own > 0 && focus == 0 && between > 0, "{own} {focus} {between}");
        let other = world.conferences.as_ref().expect("there are two");
        for node in [&world.server, other] {
            assert_eq!(node.msrp_load().1, 0, "with the dialogs the sessions end");
        }
    })
    .await;
}

// Covers: ROLE-001, ROLE-005, ROLE-006
#[tokio::test(start_paused = true)]
async fn a_message_to_a_group_through_two_nodes() {
    story(async || {
        let world = everybody(two()).await;
        world.network.partition(SERVER, CONFERENCES, true);
        group_message(&world).await;
        let (to, from) = passed(&world, "MESSAGE", CONFERENCES);
        assert_eq!((to, from), (1, 2), "one in, a copy for each of the others out");
    })
    .await;
}
