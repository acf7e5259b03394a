//! Adding and removing by REFER.

use super::groups::{chat, may};
use super::world::{CHESS, FACTORY, Seen, Ue, World, answer, entries, invitation, lines, list};
use crate::policy::{AdHocPolicy, InviteRight, Policy};

fn refer(to: &str, extra: &str) -> String {
    format!("Refer-To: <{to}>\r\n{extra}")
}

fn fragments(sent: &[Seen]) -> Vec<(&str, &str)> {
    let notified = sent.iter().filter(|seen| seen.is("NOTIFY"));
    notified.map(|seen| (seen.body().trim_end(), seen.value("Subscription-State"))).collect()
}

// Covers: CF-032, CF-051, CF-052, CF-066, CLI-022
#[tokio::test(start_paused = true)]
async fn somebody_is_added_and_his_answer_told() {
    let world = World::new(Policy::default());
    let (mut alice, mut others) = world.conference(&["bob"]).await;
    let referred = "Referred-By: <sip:bob@ims.test>\r\n";
    let text = others[0].within("REFER", &refer("sip:carol@ims.test", referred), "");
    let sent = world.send(&text).await;
    let accepted = sent.iter().find(|seen| seen.status() == 202).expect("a 202");
    assert_eq!(accepted.value("CSeq"), "101 REFER");
    let told = sent.iter().find(|seen| seen.is("NOTIFY")).expect("a NOTIFY");
    assert_eq!(told.value("Event"), "refer;id=101");
    assert_eq!(told.value("Content-Type"), "message/sipfrag;version=2.0");
    assert_eq!(told.body(), "SIP/2.0 100 Trying\r\n");
    assert!(told.value("Subscription-State").starts_with("active;expires="), "{told:?}");
    let carol = invitation(&sent, "carol");
    assert_eq!(carol.value("Referred-By"), "<sip:bob@ims.test>");
    assert!(carol.value("From").starts_with("<sip:bob@ims.test>;tag="), "{carol:?}");
    let (mut carol, sent) = world.accept("carol", &carol, "").await;
    assert_eq!(fragments(&sent), [("SIP/2.0 200 OK", "terminated;reason=noresource")]);
    // Two became three: one may leave.
    let sent = world.send(&alice.within("BYE", "", "")).await;
    assert_eq!(lines(&sent).len(), 1, "{sent:?}");

    let text = carol.within("REFER", &refer("sip:dave@ims.test", ""), "");
    let sent = world.send(&text).await;
    let dave = invitation(&sent, "dave");
    assert_eq!(dave.value("Referred-By"), "<sip:carol@ims.test>");
    let sent = world.send(&answer(&dave, 486, "d", "", "")).await;
    assert_eq!(fragments(&sent), [("SIP/2.0 486 X", "terminated;reason=noresource")]);
    // Somebody who is in is not called again.
    let text = carol.within("REFER", &refer("sip:bob@ims.test", ""), "");
    let sent = world.send(&text).await;
    assert_eq!(fragments(&sent).last().unwrap().0, "SIP/2.0 200 OK");
    world.send(&carol.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-051, CF-066, CF-080
#[tokio::test(start_paused = true)]
async fn a_subscription_can_be_declined_or_ended() {
    let world = World::new(Policy::default());
    let (mut alice, mut others) = world.conference(&["bob"]).await;
    let quiet = refer("sip:carol@ims.test", "Refer-Sub: false\r\nSupported: norefersub\r\n");
    let sent = world.send(&alice.within("REFER", &quiet, "")).await;
    let ok = sent.iter().find(|seen| seen.status() == 200).expect("a 200");
    assert_eq!(ok.value("Refer-Sub"), "false");
    assert!(fragments(&sent).is_empty(), "{sent:?}");
    let carol = invitation(&sent, "carol");
    world.send(&answer(&carol, 486, "c", "", "")).await;

    let sent = world.send(&alice.within("REFER", &refer("sip:dave@ims.test", ""), "")).await;
    let event = sent.iter().find(|seen| seen.is("NOTIFY")).unwrap().value("Event").to_owned();
    let dave = invitation(&sent, "dave");
    world.send(&answer(&dave, 180, "d", "", "")).await;
    let end = format!("Event: {event}\r\nExpires: 0\r\n");
    let sent = world.send(&alice.within("SUBSCRIBE", &end, "")).await;
    assert_eq!(fragments(&sent), [("SIP/2.0 100 Trying", "terminated;reason=timeout")]);
    assert!(!sent.iter().any(|seen| seen.is("CANCEL")), "he is called all the same");
    let (_, sent) = world.accept("dave", &dave, "").await;
    assert!(fragments(&sent).is_empty(), "{sent:?}");
    let unknown = "Event: refer;id=9999\r\n";
    let refused = world.one(&alice.within("SUBSCRIBE", unknown, "")).await;
    assert_eq!(refused.status(), 403);
    for extra in ["Event: refer\r\n", "Event: refer;id=101\r\n"] {
        let text = Ue::new("alice").request("SUBSCRIBE", alice.target(), extra, "");
        assert_eq!(world.one(&text).await.status(), 403, "outside the dialog, {extra}");
    }
    let absent = Ue::new("alice").request("SUBSCRIBE", CHESS, "Event: refer\r\n", "");
    assert_eq!(world.one(&absent).await.status(), 403);
    world.send(&others[0].within("BYE", "", "")).await;
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-009, CF-051, CF-080
#[tokio::test(start_paused = true)]
async fn references_outside_the_rules_are_refused() {
    let ad_hoc = AdHocPolicy { invite: InviteRight::Creator, ..AdHocPolicy::default() };
    let world = World::new(Policy { ad_hoc, adhoc_group_size_max: 2, ..Policy::default() });
    world.shelf.put(chat(&[]));
    let (mut alice, mut others) = world.conference(&["bob", "carol"]).await;
    let (session, bob) = (alice.target().to_owned(), &mut others[0]);
    let list_head = "Content-Type: application/resource-lists+xml\r\n\
        Content-Disposition: recipient-list\r\n";
    #[rustfmt::skip]
    let table = [
        (bob.within("REFER", &refer("sip:dave@ims.test", ""), ""),         403, "100 Function"),
        (alice.within("REFER", &refer("sip:dave@ims.test", ""), ""),       403, "102 Too many"),
        (alice.within("REFER", &refer(CHESS, ""), ""),                     403, "Nested groups"),
        (alice.within("REFER", &refer("sip:eve@ims.test;method=BYE", ""), ""), 404, ""),
        (bob.within("REFER", &refer("sip:alice@ims.test;method=BYE", ""), ""), 403, "100 Function"),
        (alice.within("REFER", &refer("sip:dave@ims.test;method=MESSAGE", ""), ""), 403, "100"),
        (alice.within("REFER", "", ""),                                    400, ""),
        (alice.within("REFER", "Refer-To: <sip:a@h>\r\nRefer-To: <sip:b@h>\r\n", ""), 400, ""),
        (alice.within("REFER", &refer("http://x", ""), ""),                400, ""),
        (alice.within("REFER", &refer("cid:x@h", list_head), &list("")),   400, ""),
        (Ue::new("eve").request("REFER", &session, &refer("sip:dave@ims.test", ""), ""), 403, "100"),
        (Ue::new("eve").request("REFER", FACTORY, &refer("sip:dave@ims.test", ""), ""), 403, "100"),
    ];
    for (text, status, warning) in table {
        let refused = world.one(&text).await;
        assert_eq!(refused.status(), status, "{text}{refused:?}");
        assert!(refused.value("Warning").contains(warning), "{text}{refused:?}");
    }
    world.send(&alice.within("BYE", "", "")).await;
    world.send(&others[0].within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-036, CF-053, CF-074
#[tokio::test(start_paused = true)]
async fn whoever_is_removed_may_not_come_back_by_himself() {
    let world = World::new(Policy::default());
    let (mut alice, others) = world.conference(&["bob", "carol"]).await;
    let session = alice.target().to_owned();
    let text = alice.within("REFER", &refer("sip:bob@ims.test;method=BYE", ""), "");
    let sent = world.send(&text).await;
    let bye = sent.iter().find(|seen| seen.is("BYE")).expect("a BYE");
    assert_eq!(bye.value("Reason"), "SIP;cause=410;text=\"Gone\"");
    assert!(bye.value("To").contains("bob"), "{bye:?}");
    assert_eq!(fragments(&sent).last().unwrap().0, "SIP/2.0 200 OK");
    let refused = world.one(&Ue::new("bob").invite(&session, "")).await;
    assert_eq!(refused.status(), 403);
    let sent = world.send(&alice.within("REFER", &refer("sip:bob@ims.test", ""), "")).await;
    let bob = invitation(&sent, "bob");
    world.send(&answer(&bob, 480, "b", "", "")).await;
    let (mut bob, _) = world.join("bob", &session, "").await;
    // Everybody may send himself home.
    let text = bob.within("REFER", &refer("sip:bob@ims.test;method=BYE", ""), "");
    let sent = world.send(&text).await;
    assert!(sent.iter().any(|seen| seen.is("BYE")), "{sent:?}");
    let (_, _) = world.join("bob", &session, "").await;
    assert_eq!(others.len(), 2);
    world.send(&alice.within("BYE", "", "")).await;
}

// Covers: CF-005, CF-009, CLI-022
#[tokio::test(start_paused = true)]
async fn a_list_adds_or_removes_many() {
    let world = World::new(Policy::default());
    let (mut alice, mut others) = world.conference(&["bob"]).await;
    let head = "Require: multiple-refer\r\nContent-Type: multipart/mixed;boundary=b\r\n";
    let body = |entries: &str| {
        format!(
            "--b\r\nContent-Type: application/resource-lists+xml\r\n\
             Content-Disposition: recipient-list\r\nContent-ID: <l1@ims.test>\r\n\r\n{}\r\n--b--\r\n",
            list(entries)
        )
    };
    let refer = |head: &str| format!("Refer-To: <cid:l1@ims.test>\r\n{head}");
    let missing = head.replace("Require: multiple-refer\r\n", "");
    let text = alice.within("REFER", &refer(&missing), &body(&entries(&["carol"])));
    assert_eq!(world.one(&text).await.status(), 400, "multiple-refer is not required");
    let many: String = (0..51).map(|n| format!("<entry uri=\"sip:u{n}@ims.test\"/>")).collect();
    let refused = world.one(&alice.within("REFER", &refer(head), &body(&many))).await;
    assert_eq!(refused.status(), 403, "the list is too long");
    assert!(refused.value("Warning").contains("102 Too many participants"), "{refused:?}");
    let text = alice.within("REFER", &refer(head), &body(&entries(&["carol", "dave"])));
    let sent = world.send(&text).await;
    let ok = sent.iter().find(|seen| seen.status() == 200).expect("a 200");
    assert_eq!(ok.value("Refer-Sub"), "false");
    assert!(fragments(&sent).is_empty(), "{sent:?}");
    let (_, _) = world.accept("carol", &invitation(&sent, "carol"), "").await;
    let dave = invitation(&sent, "dave");
    world.send(&answer(&dave, 180, "d", "", "")).await;
    // One of them is in, the other is still called.
    let out = "<entry uri=\"sip:carol@ims.test;method=BYE\"/>\
        <entry uri=\"sip:dave@ims.test?method=BYE\"/>";
    let sent = world.send(&alice.within("REFER", &refer(head), &body(out))).await;
    let sent = lines(&sent);
    assert!(sent.iter().any(|line| line.starts_with("BYE sip:carol@")), "{sent:?}");
    assert!(sent.iter().any(|line| line.starts_with("CANCEL sip:dave@")), "{sent:?}");
    world.send(&answer(&dave, 487, "d", "", "")).await;
    world.send(&others[0].within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-034, CF-051, CF-053
#[tokio::test(start_paused = true)]
async fn in_a_group_the_rules_say_who_may() {
    let world = World::new(Policy::default());
    let owner = may("bob", &[("allow-invite-users-dynamically", true), ("allow-expelling", true)]);
    world.shelf.put(chat(&[owner]));
    let (mut alice, _) = world.join("alice", CHESS, "").await;
    let (mut bob, _) = world.join("bob", CHESS, "").await;
    let refused = world.one(&alice.within("REFER", &refer("sip:eve@ims.test", ""), "")).await;
    assert_eq!(refused.status(), 403);
    let sent = world.send(&bob.within("REFER", &refer("sip:eve@ims.test", ""), "")).await;
    let (_, _) = world.accept("eve", &invitation(&sent, "eve"), "").await;
    let text = bob.within("REFER", &refer("sip:alice@ims.test;method=BYE", ""), "");
    let sent = world.send(&text).await;
    assert!(sent.iter().any(|seen| seen.is("BYE")), "{sent:?}");
    let refused = world.one(&Ue::new("alice").invite(CHESS, "")).await;
    assert_eq!(refused.status(), 403, "a member, but removed");
}

// Covers: CF-051, CF-054
#[tokio::test(start_paused = true)]
async fn a_referrer_who_leaves_does_not_stop_the_call() {
    let world = World::new(Policy::default());
    let (mut alice, mut others) = world.conference(&["bob", "carol"]).await;
    let text = others[0].within("REFER", &refer("sip:dave@ims.test", ""), "");
    let sent = world.send(&text).await;
    let dave = invitation(&sent, "dave");
    world.send(&others[0].within("BYE", "", "")).await;
    let (mut dave, sent) = world.accept("dave", &dave, "").await;
    assert!(sent.iter().any(|seen| seen.is("ACK")), "{sent:?}");
    world.send(&alice.within("BYE", "", "")).await;
    world.send(&dave.within("BYE", "", "")).await;
    world.is_clean().await;
}
