//! How participants are lost and sessions end.

use super::groups::chat;
use super::passing::Heard::{Ended, Started};
use super::world::{CHESS, FACTORY, Ue, World, answer, entries, invitation, lines};
use crate::policy::Policy;

/// Connects a participant's MSRP session: a SEND on it.
pub(super) fn say(
    world: &World,
    name: &str,
    path: &str,
    text: &str,
) -> (parlance_msrp::ConnectionId, String) {
    let connection = world.core.accept();
    let written = world.core.octets(connection, &send(name, path, text));
    (connection, written)
}

pub(super) fn send(name: &str, path: &str, text: &str) -> String {
    let body = format!(
        "From: <sip:{name}@ims.test>\r\nTo: <{CHESS}>\r\n\r\nContent-Type: text/plain\r\n\r\n{text}"
    );
    let length = body.len();
    format!(
        "MSRP t1d00001 SEND\r\nTo-Path: {path}\r\nFrom-Path: msrp://10.0.0.1:7654/{name};tcp\r\n\
         Message-ID: {text}\r\nByte-Range: 1-{length}/{length}\r\nContent-Type: message/cpim\r\n\
         \r\n{body}\r\n-------t1d00001$\r\n"
    )
}

// Covers: CF-064, CF-065
#[tokio::test(start_paused = true)]
async fn messages_pass_and_silence_ends_the_session() {
    let policy = Policy { idle_s: 600, session_expires_s: 86_400, ..Policy::default() };
    let world = World::new(policy);
    world.shelf.put(chat(&[]));
    let (_, alice) = world.join("alice", CHESS, "").await;
    let (_, bob) = world.join("bob", CHESS, "").await;
    let (bobs, _) = say(&world, "bob", bob.attribute("path"), "hello");
    let (alices, answer) = say(&world, "alice", alice.attribute("path"), "morning");
    assert!(answer.contains(" 200 "), "{answer}");
    let got = world.core.written(bobs);
    assert!(got.contains("morning") && got.contains("<sip:alice@ims.test>"), "{got}");
    world.seconds(500).await;
    world.core.octets(alices, &send("alice", alice.attribute("path"), "noon"));
    let sent = world.seconds(590).await;
    assert!(!sent.iter().any(|seen| seen.is("BYE")), "{sent:?}");
    let sent = world.seconds(160).await;
    let byes: Vec<_> = sent.iter().filter(|seen| seen.is("BYE")).collect();
    assert_eq!(byes.len(), 2, "{sent:?}");
    assert_eq!(byes[0].value("Reason"), "SIP;cause=480;text=\"Session idle\"");
    world.is_clean().await;
}

// Covers: CF-041, CF-059
#[tokio::test(start_paused = true)]
async fn a_nickname_is_told() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[]));
    let (mut alice, _) = world.join("alice", CHESS, "").await;
    let (mut bob, ok) = world.join("bob", CHESS, "").await;
    let event = "Event: conference\r\n";
    world.send(&alice.within("SUBSCRIBE", event, "")).await;
    world.seconds(6).await;
    let path = ok.attribute("path");
    let (connection, _) = say(&world, "bob", path, "hello");
    let nickname = format!(
        "MSRP t1d00002 NICKNAME\r\nTo-Path: {path}\r\n\
         From-Path: msrp://10.0.0.1:7654/bob;tcp\r\nUse-Nickname: \"Bobby\"\r\n-------t1d00002$\r\n"
    );
    let answer = world.core.octets(connection, &nickname);
    assert!(answer.contains("MSRP t1d00002 200 "), "{answer}");
    let sent = world.seconds(1).await;
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].body().contains("xcon:nickname=\"Bobby\""), "{sent:?}");
    world.send(&alice.within("BYE", "", "")).await;
    world.send(&bob.within("BYE", "", "")).await;
    world.seconds(301).await;
    world.is_clean().await;
}

// Covers: CF-041, SEC-040
#[tokio::test(start_paused = true)]
async fn whoever_answers_anonymously_is_so_in_the_room() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob"]))).await;
    let invite = invitation(&sent, "bob");
    let (_, sent) = world.accept("bob", &invite, "Privacy: id\r\n").await;
    let ok = sent.iter().find(|seen| seen.status() == 200).unwrap().clone();
    alice.learn(&ok);
    world.send(&alice.within("ACK", "", "")).await;
    let room = alice.target().to_owned();
    let to_room = |name: &str, path: &str, text: &str| send(name, path, text).replace(CHESS, &room);
    let alices = world.core.accept();
    let path = ok.attribute("path");
    // Of another length than the identity of a group.
    let sized = |text: String| {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = body.rsplit_once("\r\n-------").unwrap().0.len();
        let range = head.lines().find(|line| line.starts_with("Byte-Range")).unwrap();
        text.replace(range, &format!("Byte-Range: 1-{length}/{length}"))
    };
    world.core.octets(alices, &sized(to_room("alice", path, "hello")));
    let bobs = world.core.accept();
    let path = invite.attribute("path");
    let answer = world.core.octets(bobs, &sized(to_room("bob", path, "itisme")));
    assert!(answer.contains(" 200 "), "{answer}");
    let got = world.core.written(alices);
    assert!(got.contains("From: <sip:anonymous1@anonymous.invalid>"), "{got}");
    assert!(got.contains("itisme") && !got.contains("bob@"), "{got}");
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-062, CLI-009
#[tokio::test(start_paused = true)]
async fn who_does_not_refresh_is_taken_out() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[]));
    let timer = "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\n";
    let (mut alice, ok) = world.join("alice", CHESS, timer).await;
    assert_eq!(ok.value("Session-Expires"), "300;refresher=uac");
    assert!(ok.value("Contact").ends_with(">;isfocus;+g.oma.sip-im"), "{ok:?}");
    let allowed = "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, OPTIONS, REFER, SUBSCRIBE";
    assert_eq!(ok.value("Allow"), allowed);
    let (mut bob, _) = world.join("bob", CHESS, timer).await;
    world.seconds(150).await;
    world.send(&bob.within("UPDATE", timer, "")).await;
    let sent = world.seconds(150).await;
    let byes: Vec<_> = sent.iter().filter(|seen| seen.is("BYE")).collect();
    assert_eq!(byes.len(), 1, "{sent:?}");
    assert!(byes[0].is("BYE sip:alice@"), "{sent:?}");
    let gone = world.one(&alice.within("UPDATE", "", "")).await;
    assert_eq!(gone.status(), 481);
    let small = "Supported: timer\r\nSession-Expires: 60\r\n";
    let refused = world.one(&Ue::new("carol").invite(CHESS, small)).await;
    assert_eq!((refused.status(), refused.value("Min-SE")), (422, "90"));
    world.send(&bob.within("BYE", "", "")).await;
    world.seconds(301).await;
    world.is_clean().await;
}

// Covers: CF-064
#[tokio::test(start_paused = true)]
async fn a_session_has_an_end() {
    let world = World::new(Policy { session_s_max: 100, ..Policy::default() });
    let (mut alice, _) = world.join("alice", FACTORY, "").await;
    let sent = world.send(&alice.within("SUBSCRIBE", "Event: conference\r\n", "")).await;
    let ok = sent.iter().find(|seen| seen.status() == 200).unwrap();
    assert!(ok.value("Expires").parse::<u32>().unwrap() <= 100, "no longer than the session");
    let sent = world.seconds(101).await;
    let bye = sent.iter().find(|seen| seen.is("BYE")).expect("a BYE");
    assert_eq!(bye.value("Reason"), "SIP;cause=480;text=\"Session time is over\"");
    world.is_clean().await;
}

// Covers: CF-030
#[tokio::test(start_paused = true)]
async fn who_sends_no_ack_is_taken_out() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite(FACTORY, "")).await;
    assert!(sent.iter().any(|seen| seen.status() == 200));
    let sent = world.seconds(40).await;
    assert!(sent.iter().any(|seen| seen.is("BYE")), "{sent:?}");
    world.is_clean().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_server_stops_all_are_sent_home() {
    let world = World::new(Policy::default());
    let (_, _) = world.conference(&["bob", "carol"]).await;
    let mut dave = Ue::new("dave");
    let sent = world.send(&dave.invite_list("", &entries(&["erin"]))).await;
    let erin = invitation(&sent, "erin");
    world.send(&answer(&erin, 180, "e", "", "")).await;
    world.drain();
    let sent = world.seconds(1).await;
    let all = lines(&sent);
    assert_eq!(all.iter().filter(|line| line.starts_with("BYE")).count(), 3, "{all:?}");
    assert!(all.contains(&"480 1 INVITE".to_owned()), "{all:?}");
    assert!(all.contains(&"CANCEL sip:erin@ims.test".to_owned()), "{all:?}");
    world.send(&dave.within("ACK", "", "")).await;
    world.send(&answer(&erin, 487, "e", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-054, CF-055
#[tokio::test(start_paused = true)]
async fn a_participant_who_leaves_while_others_are_called() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob", "carol", "dave"]))).await;
    let invites: Vec<_> = ["carol", "dave"].map(|name| invitation(&sent, name)).into();
    let (mut bob, accepted) = world.accept("bob", &invitation(&sent, "bob"), "").await;
    alice.learn(accepted.iter().find(|seen| seen.status() == 200).unwrap());
    world.send(&alice.within("ACK", "", "")).await;
    for invite in &invites {
        world.send(&answer(invite, 180, "x", "", "")).await;
    }
    let sent = world.send(&bob.within("BYE", "", "")).await;
    assert_eq!(lines(&sent).len(), 1, "the others may still come: {sent:?}");
    let sent = world.send(&alice.within("BYE", "", "")).await;
    assert_eq!(lines(&sent).len(), 1, "{sent:?}");
    world.send(&answer(&invites[0], 486, "x", "", "")).await;
    world.send(&answer(&invites[1], 486, "x", "", "")).await;
    world.is_clean().await;
    assert_eq!(world.dialogs(), 0);
}

// Covers: CF-001, CF-063
#[tokio::test(start_paused = true)]
async fn a_place_in_the_count_of_his_sessions_is_held_as_long_as_he_is_in() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[]));
    let (mut alice, _) = world.join("alice", CHESS, "").await;
    let (mut bob, _) = world.join("bob", CHESS, "").await;
    assert_eq!(world.seats.get(), 2, "of who came first and of who came then");
    let refused = world.one(&Ue::new("eve").invite(CHESS, "")).await;
    assert_eq!((refused.status(), world.seats.get()), (403, 2));
    assert_eq!(world.seats.heard(), [Started, Started], "not of who was refused");
    world.send(&alice.within("BYE", "", "")).await;
    assert_eq!(world.seats.heard(), [Ended(200)]);
    assert_eq!(world.seats.get(), 1, "who began the session has left it");
    world.send(&bob.within("BYE", "", "")).await;
    assert_eq!(world.seats.get(), 0, "while the room waits");
    assert_eq!(world.seats.heard(), [Ended(200)]);
    // Between two users, as the participating function wants it.
    let mut carol = Ue::new("carol");
    let sent = world.send(&carol.invite("sip:dave@ims.test", "")).await;
    assert_eq!(world.seats.get(), 1, "while he is called");
    let (mut dave, sent) = world.accept("dave", &invitation(&sent, "dave"), "").await;
    carol.learn(sent.iter().find(|seen| seen.status() == 200).unwrap());
    world.send(&carol.within("ACK", "", "")).await;
    assert_eq!((world.seats.get(), world.seats.heard()), (1, vec![Started]));
    world.send(&dave.within("BYE", "", "")).await;
    world.seconds(301).await;
    world.is_clean().await;
    assert_eq!(world.seats.heard(), [Ended(200)], "one alone is no session");
}
