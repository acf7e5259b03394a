//! Participants without an MSRP connection: they may get another for a while.

use std::time::Duration;

use super::groups::chat;
use super::leaving::{say, send};
use super::world::{CHESS, Seen, Ue, World, answer, entries, invitation, lines, sdp};
use crate::policy::Policy;

const LOST: &str = "SIP;cause=480;text=\"MSRP session lost\"";

// Covers: CF-060, SEC-011, CLI-039
#[tokio::test(start_paused = true)]
async fn who_loses_his_connection_is_taken_out() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[]));
    let (mut alice, ok) = world.join("alice", CHESS, "").await;
    let (_, bob) = world.join("bob", CHESS, "").await;
    let (connection, _) = say(&world, "bob", bob.attribute("path"), "hello");
    world.core.lose(connection);
    assert_eq!(world.pass(Duration::from_millis(9_900)).await, [], "he may come back");
    let sent = world.pass(Duration::from_millis(150)).await;
    assert_eq!(lines(&sent), ["BYE sip:bob@10.0.0.1:5060"]);
    assert_eq!(sent[0].value("Reason"), "SIP;cause=480;text=\"MSRP session lost\"");
    // A stranger cannot take over the session of somebody who is there.
    let (_, answer) = say(&world, "eve", ok.attribute("path"), "hello");
    assert!(answer.contains(" 481 "), "{answer}");
    world.send(&alice.within("BYE", "", "")).await;
    let (_, answer) = say(&world, "alice", ok.attribute("path"), "hello");
    assert!(answer.contains(" 481 "), "the dialog is over, and so is its MSRP session: {answer}");
    world.seconds(301).await;
    world.is_clean().await;
}

/// A conference of two in which it is for the server to connect to bob: alice, the INVITE to him,
/// and his dialog.
async fn called(world: &World) -> (Ue, Seen, Ue) {
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob"]))).await;
    let invite = invitation(&sent, "bob");
    let mut bob = Ue::new("bob");
    bob.called(&invite);
    let head =
        "Contact: <sip:bob@10.0.0.2:5060>;+g.oma.sip-im\r\nContent-Type: application/sdp\r\n";
    let ok = answer(&invite, 200, "t-bob", head, &passive("bob"));
    let sent = world.send(&ok).await;
    alice.learn(sent.iter().find(|seen| seen.status() == 200).unwrap());
    world.send(&alice.within("ACK", "", "")).await;
    (alice, invite, bob)
}

/// The description of a client that waits for the server to connect.
fn passive(name: &str) -> String {
    sdp(name).replace("a=setup:active", "a=setup:passive")
}

// Covers: CF-060
#[tokio::test(start_paused = true)]
async fn where_nobody_listens_the_server_tries_again_and_then_ends_the_call() {
    let world = World::new(Policy::default());
    let (_alice, _, _bob) = called(&world).await;
    let mut tries = Vec::new();
    let began = tokio::time::Instant::now();
    let mut all = Vec::new();
    for _ in 0..220 {
        for connection in world.core.wanted() {
            tries.push(began.elapsed().as_secs());
            world.core.unreachable(connection);
        }
        all.extend(world.pass(Duration::from_millis(50)).await);
        if tries.len() == 1 {
            assert_eq!(all, [], "nobody is sent home at the first try");
        }
    }
    assert_eq!(tries, [0, 1, 3, 7]);
    let byes: Vec<_> = all.iter().filter(|seen| seen.is("BYE")).collect();
    assert_eq!((byes.len(), byes[0].value("Reason")), (2, LOST), "{all:?}");
    assert!(byes[0].is("BYE sip:bob@") && byes[1].is("BYE sip:alice@"), "{all:?}");
    world.is_clean().await;
}

// Covers: CF-060
#[tokio::test(start_paused = true)]
async fn who_listens_later_is_connected_to_and_stays() {
    let world = World::new(Policy::default());
    let (mut alice, invite, _bob) = called(&world).await;
    let first = world.core.wanted();
    assert_eq!(first.len(), 1);
    world.core.unreachable(first[0]);
    world.pass(Duration::from_millis(1_050)).await;
    let again = world.core.wanted();
    assert_eq!(again.len(), 1);
    world.core.connected(again[0]);
    let hello = world.core.written(again[0]);
    assert!(hello.contains(" SEND\r\nTo-Path: msrp://10.0.0.1:7654/bob;tcp\r\n"), "{hello}");
    assert!(hello.contains(invite.attribute("path")), "under the URI of the offer: {hello}");
    assert_eq!(world.seconds(30).await, []);
    // It is lost once more, and this time he answers that he knows nothing of it.
    world.core.lose(again[0]);
    world.pass(Duration::from_millis(1_050)).await;
    let third = world.core.wanted();
    world.core.connected(third[0]);
    let hello = world.core.written(third[0]);
    let id = hello.split(' ').nth(1).unwrap().to_owned();
    let unknown = format!(
        "MSRP {id} 481 gone\r\nTo-Path: {}\r\nFrom-Path: msrp://10.0.0.1:7654/bob;tcp\r\n\
         -------{id}$\r\n",
        invite.attribute("path")
    );
    world.core.octets(third[0], &unknown);
    assert_eq!(world.seconds(8).await, [], "he may send another description");
    assert_eq!(world.core.wanted(), [], "and without one it is of no use to connect");
    let sent = world.seconds(1).await;
    let bye = sent.iter().find(|seen| seen.is("BYE sip:bob@")).expect("a BYE");
    assert_eq!(bye.value("Reason"), LOST);
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-050, CF-060, MSRP-078, CLI-038
#[tokio::test(start_paused = true)]
async fn who_comes_back_takes_part_again() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[]));
    let (mut alice, alices) = world.join("alice", CHESS, "").await;
    let (mut bob, bobs) = world.join("bob", CHESS, "").await;
    let (from_alice, _) = say(&world, "alice", alices.attribute("path"), "one");
    let (first, _) = say(&world, "bob", bobs.attribute("path"), "two");
    let nickname = format!(
        "MSRP t1d00002 NICKNAME\r\nTo-Path: {}\r\nFrom-Path: msrp://10.0.0.1:7654/bob;tcp\r\n\
         Use-Nickname: \"Bobby\"\r\n-------t1d00002$\r\n",
        bobs.attribute("path")
    );
    world.core.octets(first, &nickname);
    world.core.lose(first);
    world.seconds(5).await;
    // He connects again with the paths that were agreed on.
    let (second, answer) = say(&world, "bob", bobs.attribute("path"), "three");
    assert!(answer.contains(" 200 "), "{answer}");
    assert!(world.core.written(from_alice).contains("three"));
    world.core.octets(from_alice, &send("alice", alices.attribute("path"), "four"));
    assert!(world.core.written(second).contains("four"));
    assert_eq!(world.seconds(20).await, [], "he is not sent home after all");
    // What he sent before is known; he sends it again as he cannot know that (RFC 4975 §5.4).
    let again = send("bob", bobs.attribute("path"), "two");
    assert!(world.core.octets(second, &again).contains(" 200 "));
    assert!(!world.core.written(from_alice).contains("two"));
    // He comes from elsewhere, and nothing was heard of the end of the old connection.
    let moved = sdp("bob").replace("10.0.0.1", "10.0.0.9").replace("o=- 1 1", "o=- 1 2");
    let text = bob.within("INVITE", "Content-Type: application/sdp\r\n", &moved);
    let ok = world.one(&text).await;
    assert_eq!((ok.status(), ok.attribute("path")), (200, bobs.attribute("path")));
    world.send(&bob.within("ACK", "", "")).await;
    let third = world.core.accept();
    let from_new = send("bob", ok.attribute("path"), "five").replace("10.0.0.1", "10.0.0.9");
    let answer = world.core.octets(third, &from_new);
    assert!(answer.contains(" 200 "), "{answer}");
    let answer = world.core.octets(second, &send("bob", ok.attribute("path"), "six"));
    assert!(answer.contains(" 506 "), "the old connection is not his any more: {answer}");
    world.send(&alice.within("BYE", "", "")).await;
    world.send(&bob.within("BYE", "", "")).await;
    world.seconds(301).await;
    world.is_clean().await;
}

// Covers: CF-060
#[tokio::test(start_paused = true)]
async fn a_connection_that_never_lasts_is_none() {
    let world = World::new(Policy { reconnect_s: 4, ..Policy::default() });
    let (mut alice, _, _bob) = called(&world).await;
    let mut sent = Vec::new();
    let began = tokio::time::Instant::now();
    while sent.is_empty() && began.elapsed() < Duration::from_secs(60) {
        for connection in world.core.wanted() {
            world.core.connected(connection);
            world.core.lose(connection);
        }
        sent = world.pass(Duration::from_millis(100)).await;
    }
    assert!(sent[0].is("BYE sip:bob@"), "{sent:?}");
    assert_eq!(began.elapsed().as_secs(), 4);
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_time_he_is_taken_out_at_once() {
    let world = World::new(Policy { reconnect_s: 0, ..Policy::default() });
    world.shelf.put(chat(&[]));
    let (_, bob) = world.join("bob", CHESS, "").await;
    let (connection, _) = say(&world, "bob", bob.attribute("path"), "hello");
    world.core.lose(connection);
    let sent = world.pass(Duration::from_millis(50)).await;
    assert_eq!(lines(&sent), ["BYE sip:bob@10.0.0.1:5060"]);
    world.seconds(301).await;
    world.is_clean().await;
}
