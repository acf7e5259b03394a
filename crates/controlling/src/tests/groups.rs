//! Sessions of groups.

use parlance_content::common_policy::{Condition, Rule};
use parlance_content::list_service;

use super::leaving::{say, send};
use super::world::{CHESS, Seen, Ue, World, answer, invitation, lines};
use crate::groups::Group;
use crate::groups::tests::{document, one, rule};
use crate::policy::Policy;

const MEMBER: &[(&str, bool)] = &[
    ("join-handling", true),
    ("allow-initiate-conference", true),
    ("allow-conference-state", true),
    ("allow-private-message", true),
];

fn of_three(rules: Vec<Rule>) -> list_service::Group {
    let members = ["sip:alice@ims.test", "sip:bob@ims.test", "sip:carol@ims.test"];
    let mut all = vec![rule(vec![Condition::ListMember], MEMBER)];
    all.extend(rules);
    list_service::Group { uri: CHESS.into(), ..document(&members, all) }
}

/// A chat room of three.
pub(super) fn chat(rules: &[Rule]) -> Group {
    Group::new(of_three(rules.to_vec())).unwrap()
}

/// A pre-arranged group of three.
pub(super) fn pre_arranged(rules: &[Rule]) -> Group {
    let document = list_service::Group { invite_members: true, ..of_three(rules.to_vec()) };
    Group::new(document).unwrap()
}

/// A rule for one member.
pub(super) fn may(name: &str, actions: &[(&str, bool)]) -> Rule {
    rule(vec![one(&format!("sip:{name}@ims.test"))], actions)
}

fn refused(seen: &Seen) -> (u16, &str) {
    (seen.status(), seen.value("Warning"))
}

// Covers: CF-030, CF-034, CF-037, CF-064, ROLE-017, CLI-017, CLI-020
#[tokio::test(start_paused = true)]
async fn a_chat_room_is_opened_by_the_first_and_stays_for_a_while() {
    let world = World::new(Policy { empty_room_s: 60, ..Policy::default() });
    world.shelf.put(chat(&[]));
    let (mut alice, ok) = world.join("alice", CHESS, "").await;
    assert!(ok.contact().ends_with("@sessions.ims.test"), "{ok:?}");
    let (mut bob, second) = world.join("bob", CHESS, "").await;
    assert_eq!(second.contact(), ok.contact(), "one session for all");
    let (mut carol, _) = world.join("carol", ok.contact(), "").await;
    for ue in [&mut alice, &mut bob, &mut carol] {
        let sent = world.send(&ue.within("BYE", "", "")).await;
        assert_eq!(lines(&sent).len(), 1, "nobody else leaves");
    }
    world.seconds(50).await;
    let (mut bob, again) = world.join("bob", CHESS, "").await;
    assert_eq!(again.contact(), ok.contact(), "the same session");
    world.send(&bob.within("BYE", "", "")).await;
    world.seconds(61).await;
    let gone = world.one(&Ue::new("alice").invite(ok.contact(), "")).await;
    assert_eq!(gone.status(), 410);
    let (mut alice, new) = world.join("alice", CHESS, "").await;
    assert_ne!(new.contact(), ok.contact(), "a new session");
    world.send(&alice.within("BYE", "", "")).await;
    world.seconds(61).await;
    world.is_clean().await;
}

// Covers: CF-002, CF-036, CF-037, CF-038, SEC-046, CLI-010
#[tokio::test(start_paused = true)]
async fn whoever_may_not_join_is_told_why() {
    let world = World::new(Policy::default());
    let unknown = world.one(&Ue::new("alice").invite(CHESS, "")).await;
    assert_eq!(unknown.status(), 404);
    world.shelf.put(chat(&[may("carol", &[("join-handling", false)])]));
    let stranger = world.one(&Ue::new("eve").invite(CHESS, "")).await;
    assert_eq!(stranger.status(), 403);
    let blocked = world.one(&Ue::new("carol").invite(CHESS, "")).await;
    assert_eq!(blocked.status(), 403);
    let hidden = world.one(&Ue::new("bob").invite(CHESS, "Privacy: id\r\n")).await;
    assert_eq!(hidden.status(), 403);
    let (mut alice, ok) = world.join("alice", CHESS, "").await;
    for (name, extra) in [("eve", ""), ("carol", ""), ("bob", "Privacy: id\r\n")] {
        let refused = world.one(&Ue::new(name).invite(ok.contact(), extra)).await;
        assert_eq!(refused.status(), 403, "{name}, now that the session runs");
    }
    let large = "Accept-Contact: *;+g.oma.sip-im.large-message\r\n";
    let large = world.one(&Ue::new("bob").invite(CHESS, large)).await;
    assert_eq!(refused(&large).0, 403, "no conversation");
    let nested = "Contact: <sip:other@focus.test>;isfocus\r\n";
    let nested = world.one(&Ue::new("bob").invite(CHESS, nested)).await;
    assert_eq!(refused(&nested).0, 403, "a focus calls");
    assert!(nested.value("Warning").contains("Nested groups"), "{nested:?}");
    world.send(&alice.within("BYE", "", "")).await;
    world.shelf.close();
    world.seconds(301).await;
    let nobody = world.one(&Ue::new("alice").invite(CHESS, "")).await;
    assert_eq!((nobody.status(), nobody.value("Retry-After")), (480, "10"));
    world.is_clean().await;
}

// Covers: CF-038, CLI-018
#[tokio::test(start_paused = true)]
async fn a_public_room_lets_in_whoever_its_rules_do_not_reject() {
    let world = World::new(Policy::default());
    let everybody = rule(vec![Condition::OtherIdentity], &[("join-handling", true)]);
    world.shelf.put(chat(&[everybody, may("eve", &[("join-handling", false)])]));
    let (mut dave, ok) = world.join("dave", CHESS, "").await;
    assert!(ok.value("Contact").ends_with(">;isfocus;+g.oma.sip-im"), "{ok:?}");
    let (mut erin, _) = world.join("erin", CHESS, "").await;
    let eve = world.one(&Ue::new("eve").invite(CHESS, "")).await;
    assert_eq!(eve.status(), 403);
    world.send(&dave.within("BYE", "", "")).await;
    world.send(&erin.within("BYE", "", "")).await;
    world.seconds(301).await;
    world.is_clean().await;
}

// Covers: CF-040, MSRP-063
#[tokio::test(start_paused = true)]
async fn who_may_send_private_messages_is_told_so() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[rule(vec![Condition::OtherIdentity], &[("join-handling", true)])]));
    let (mut dave, daves) = world.join("dave", CHESS, "").await;
    let (mut alice, alices) = world.join("alice", CHESS, "").await;
    assert_eq!(alices.attribute("chatroom"), "nickname private-messages");
    assert_eq!(daves.attribute("chatroom"), "nickname", "he who began it has no such right");
    let privately = |name: &str, to: &str, path: &str| {
        send(name, path, "psst")
            .replace(&format!("To: <{CHESS}>"), &format!("To: <sip:{to}@ims.test>"))
    };
    let sized = |text: String| {
        let body = text.split_once("\r\n\r\n").unwrap().1.rsplit_once("\r\n-------").unwrap().0;
        let range = text.lines().find(|line| line.starts_with("Byte-Range")).unwrap();
        text.replace(range, &format!("Byte-Range: 1-{0}/{0}", body.len()))
    };
    let (from_alice, _) = say(&world, "alice", alices.attribute("path"), "hello");
    let (from_dave, _) = say(&world, "dave", daves.attribute("path"), "hi");
    let text = sized(privately("dave", "alice", daves.attribute("path")));
    let answer = world.core.octets(from_dave, &text);
    assert!(answer.contains("MSRP t1d00001 403 "), "{answer}");
    let text = sized(privately("alice", "dave", alices.attribute("path")));
    let answer = world.core.octets(from_alice, &text);
    assert!(answer.contains("MSRP t1d00001 200 "), "{answer}");
    assert!(world.core.written(from_dave).contains("psst"));
    world.send(&dave.within("BYE", "", "")).await;
    world.send(&alice.within("BYE", "", "")).await;
    world.seconds(301).await;
    world.is_clean().await;
}

// Covers: CF-038, CF-039, ROLE-017
#[tokio::test(start_paused = true)]
async fn a_full_room_is_busy() {
    let world = World::new(Policy::default());
    let full = list_service::Group { max_participant_count: Some(2), ..of_three(Vec::new()) };
    world.shelf.put(Group::new(full).unwrap());
    let (mut alice, _) = world.join("alice", CHESS, "").await;
    let (mut bob, _) = world.join("bob", CHESS, "").await;
    let busy = world.one(&Ue::new("carol").invite(CHESS, "")).await;
    assert_eq!(refused(&busy), (486, "399 im.invalid \"102 Too many participants\""));
    world.send(&bob.within("BYE", "", "")).await;
    let (mut carol, _) = world.join("carol", CHESS, "").await;
    world.send(&alice.within("BYE", "", "")).await;
    world.send(&carol.within("BYE", "", "")).await;
    world.seconds(301).await;
    world.is_clean().await;
}

// Covers: CF-033, CF-064, CF-067
#[tokio::test(start_paused = true)]
async fn a_pre_arranged_group_calls_its_members() {
    let world = World::new(Policy::default());
    world.shelf.put(pre_arranged(&[]));
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite(CHESS, "")).await;
    assert_eq!(sent.iter().filter(|seen| seen.is("INVITE")).count(), 2, "{sent:?}");
    let (bob, carol) = (invitation(&sent, "bob"), invitation(&sent, "carol"));
    assert_eq!(bob.value("Content-Type"), "application/sdp", "no list: the group is known");
    // A member who calls by himself joins the same session, which so begins.
    let mut dave = Ue::new("bob");
    let sent = world.send(&dave.invite(CHESS, "")).await;
    let mut oks: Vec<_> = sent.iter().filter(|seen| seen.status() == 200).collect();
    assert_eq!(oks.len(), 2, "he and the founder: {sent:?}");
    oks.sort_by_key(|ok| ok.value("From").contains("bob"));
    alice.learn(oks[0]);
    dave.learn(oks[1]);
    assert_eq!(oks[0].contact(), oks[1].contact());
    world.send(&alice.within("ACK", "", "")).await;
    world.send(&dave.within("ACK", "", "")).await;
    let (_, _) = world.accept("carol", &carol, "").await;
    world.send(&answer(&bob, 486, "b", "", "")).await;
    // The one who began it leaves, and so it ends.
    let sent = world.send(&alice.within("BYE", "", "")).await;
    let byes: Vec<_> = sent.iter().filter(|seen| seen.is("BYE")).collect();
    assert_eq!(byes.len(), 2, "{sent:?}");
    assert_eq!(byes[0].value("Reason"), "SIP;cause=200;text=\"Call completed\"");
    world.is_clean().await;
}

// Covers: CF-035, CF-063
#[tokio::test(start_paused = true)]
async fn a_session_waits_for_its_key_participant() {
    let world = World::new(Policy::default());
    let document = list_service::Group {
        invite_members: true,
        min_participant_count: Some(3),
        ..of_three(vec![may("carol", &[("is-key-participant", true)])])
    };
    world.shelf.put(Group::new(document).unwrap());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite(CHESS, "")).await;
    let (bob, carol) = (invitation(&sent, "bob"), invitation(&sent, "carol"));
    let (_, sent) = world.accept("bob", &bob, "").await;
    assert_eq!(lines(&sent).len(), 1, "only the ACK: {sent:?}");
    let (mut carol, sent) = world.accept("carol", &carol, "").await;
    assert_eq!(sent.iter().filter(|seen| seen.status() == 200).count(), 1, "{sent:?}");
    alice.learn(sent.iter().find(|seen| seen.status() == 200).unwrap());
    world.send(&alice.within("ACK", "", "")).await;
    let sent = world.send(&carol.within("BYE", "", "")).await;
    assert_eq!(sent.iter().filter(|seen| seen.is("BYE")).count(), 2, "it ends: {sent:?}");
    world.is_clean().await;
}

// Covers: CF-035
#[tokio::test(start_paused = true)]
async fn without_a_key_participant_nothing_begins() {
    let world = World::new(Policy::default());
    world.shelf.put(pre_arranged(&[may("carol", &[("is-key-participant", true)])]));
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite(CHESS, "")).await;
    let (bob, carol) = (invitation(&sent, "bob"), invitation(&sent, "carol"));
    world.accept("bob", &bob, "").await;
    let sent = world.send(&answer(&carol, 486, "c", "", "")).await;
    assert!(lines(&sent).contains(&"480 1 INVITE".to_owned()), "{sent:?}");
    assert_eq!(sent.iter().filter(|seen| seen.is("BYE")).count(), 1, "bob is sent home");
    world.send(&alice.within("ACK", "", "")).await;
    world.is_clean().await;

    let world = World::new(Policy::default());
    world.shelf.put(chat(&[may("carol", &[("is-key-participant", true)])]));
    let refused = world.one(&Ue::new("bob").invite(CHESS, "")).await;
    assert_eq!(refused.status(), 480);
}

// Covers: CF-064
#[tokio::test(start_paused = true)]
async fn a_group_that_is_deleted_ends_its_session() {
    let world = World::new(Policy { group_refresh_s: 30, ..Policy::default() });
    world.shelf.put(chat(&[]));
    world.join("alice", CHESS, "").await;
    world.shelf.close();
    assert!(world.seconds(31).await.is_empty(), "nobody knows whether it is gone");
    world.shelf.clear();
    let sent = world.seconds(31).await;
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].value("Reason"), "SIP;cause=410;text=\"Gone\"");
    world.is_clean().await;
}

// Covers: CF-041, CF-071
#[tokio::test(start_paused = true)]
async fn the_contact_says_the_kind_if_wanted() {
    let world = World::new(Policy { session_type_in_contact: true, ..Policy::default() });
    world.shelf.put(chat(&[may("bob", &[("allow-anonymity", true)])]));
    let (mut bob, ok) = world.join("bob", CHESS, "Privacy: id\r\n").await;
    assert!(ok.value("Contact").contains(";session=chat>;isfocus"), "{ok:?}");
    world.send(&bob.within("BYE", "", "")).await;
    world.seconds(301).await;
    world.is_clean().await;
}
