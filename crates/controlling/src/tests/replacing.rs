//! INVITEs that take the place of a dialog (RFC 3891).

use std::time::Duration;

use super::groups::chat;
use super::world::{CHESS, FACTORY, Ue, World, answer, entries, invitation, lines, sdp};
use crate::policy::Policy;

const TYPED: &str = "Content-Type: application/sdp\r\n";

fn replaces(dialog: &str) -> String {
    format!("Replaces: {dialog}\r\n")
}

// Covers: CLI-016
#[tokio::test(start_paused = true)]
async fn a_user_goes_on_with_another_client() {
    let policy = Policy { sessions_per_user_max: 1, ..Policy::default() };
    let world = World::new(policy);
    let (alice, _) = world.conference(&["bob"]).await;
    let session = alice.target().to_owned();
    let mut second = Ue::new("alice");
    let sent = world.send(&second.invite(&session, &replaces(&alice.replaces()))).await;
    assert_eq!(lines(&sent), ["200 1 INVITE", "BYE sip:alice@10.0.0.1:5060"]);
    assert_eq!(sent[1].value("Reason"), "SIP;cause=200;text=\"Replaced\"");
    second.learn(&sent[0]);
    world.send(&second.within("ACK", "", "")).await;
    assert_eq!(world.seconds(60).await, [], "bob hears nothing of it, and the session goes on");
    // What was replaced is over: who comes too late does not make anybody's client ring.
    let text = Ue::new("alice").invite(&session, &replaces(&alice.replaces()));
    assert_eq!(world.one(&text).await.status(), 603);
    world.send(&second.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CLI-016
#[tokio::test(start_paused = true)]
async fn what_cannot_be_replaced_stays() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[]));
    let (mut alice, others) = world.conference(&["bob", "carol"]).await;
    let (session, own) = (alice.target().to_owned(), alice.replaces());
    let bobs = others[0].replaces();
    let unknown = "nobody@h;to-tag=1;from-tag=2".to_owned();
    let swapped = own.replace("to-tag", "x-tag").replace("from-tag", "to-tag");
    let swapped = swapped.replace("x-tag", "from-tag");
    #[rustfmt::skip]
    let table = [
        ("alice", &*session, replaces(&unknown),                              481),
        ("alice", &session,  replaces(&swapped),                              481),
        ("alice", &session,  replaces(&bobs),                                 403),
        ("alice", &session,  replaces(&format!("{own};early-only")),          486),
        ("alice", &session,  format!("{0}{0}", replaces(&own)),               400),
        ("alice", &session,  format!("{}Join: {own}\r\n", replaces(&own)),    400),
        ("alice", &session,  replaces("a@b"),                                 400),
        ("eve",   &session,  replaces(&own),                                  403),
        ("alice", FACTORY,   replaces(&unknown),                              481),
        ("alice", CHESS,     replaces(&unknown),                              481),
    ];
    for (name, to, extra, status) in table {
        let refused = world.one(&Ue::new(name).invite(to, &extra)).await;
        assert_eq!(refused.status(), status, "{to} {extra}");
    }
    for (method, to) in [("REFER", &*session), ("SUBSCRIBE", &session)] {
        let extra =
            format!("{}Event: conference\r\nRefer-To: <sip:d@ims.test>\r\n", replaces(&own));
        let refused = world.one(&Ue::new("alice").request(method, to, &extra, "")).await;
        assert_eq!(refused.status(), 400, "{method}: Replaces is for INVITE");
    }
    // A description that cannot be agreed on leaves the old dialog as it was.
    let body = sdp("alice").replace("TCP/MSRP", "TCP/TLS/MSRP");
    let head = format!("{TYPED}{}", replaces(&own));
    let text = Ue::new("alice").request("INVITE", &session, &head, &body);
    assert_eq!(world.one(&text).await.status(), 488);
    assert_eq!(world.seconds(10).await, []);
    let ok = world.send(&alice.within("UPDATE", "", "")).await;
    assert_eq!(ok[0].status(), 200, "it is still there");
    world.send(&alice.within("BYE", "", "")).await;
    world.drain();
    world.is_clean().await;
}

// Covers: CLI-016
#[tokio::test(start_paused = true)]
async fn early_dialogs_are_replaced_when_they_are_ours() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob", "carol"]))).await;
    let (bob, carol) = (invitation(&sent, "bob"), invitation(&sent, "carol"));
    let mut rings = Ue::new("bob");
    rings.called(&bob);
    let sent = world.send(&answer(&bob, 180, "t-bob", "", "")).await;
    let ringing = sent.iter().find(|seen| seen.status() == 180).expect("it is told").clone();
    let session = bob.contact().to_owned();
    // The call of alice is not ours.
    alice.learn(&ringing);
    let text = Ue::new("alice").invite(&session, &replaces(&alice.replaces()));
    assert_eq!(world.one(&text).await.status(), 481);
    // Bob takes the call with another client, which knows the dialog of the first.
    let mut other = Ue::new("bob");
    let early_only = format!("{};early-only", rings.replaces());
    let sent = world.send(&other.invite(&session, &replaces(&early_only))).await;
    let all = lines(&sent);
    assert!(all.contains(&"CANCEL sip:bob@ims.test".to_owned()), "{all:?}");
    assert_eq!(all.iter().filter(|line| **line == "200 1 INVITE").count(), 2, "{all:?}");
    world.send(&answer(&bob, 487, "t-bob", "", "")).await;
    world.send(&answer(&carol, 486, "t-carol", "", "")).await;
    for ue in [&mut alice, &mut other] {
        world.send(&ue.within("ACK", "", "")).await;
    }
    assert_eq!(world.pass(Duration::from_secs(5)).await, [], "the two of them go on");
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CLI-015
#[tokio::test(start_paused = true)]
async fn a_session_of_two_becomes_a_conference() {
    let world = World::new(Policy::default());
    // Between the clients themselves: the client of bob knows the dialog.
    let mut alice = Ue::new("alice");
    let upgrade = |dialog: &str| {
        let escaped = dialog.replace('@', "%40").replace(';', "%3B").replace('=', "%3D");
        format!("<entry uri=\"sip:bob@ims.test?Replaces={escaped}\"/>{}", entries(&["carol"]))
    };
    let own = "p2p@10.0.0.1;to-tag=b;from-tag=a;early-only";
    let sent = world.send(&alice.invite_list("", &upgrade(own))).await;
    assert_eq!(invitation(&sent, "bob").value("Replaces"), own);
    assert_eq!(invitation(&sent, "carol").value("Replaces"), "");
    world.send(&alice.within("CANCEL", "", "")).await;
    for name in ["bob", "carol"] {
        world.send(&answer(&invitation(&sent, name), 487, name, "", "")).await;
    }
    world.send(&alice.within("ACK", "", "")).await;

    // As a conference of two here: bob's client knows another dialog than alice's.
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite("sip:bob@ims.test", "")).await;
    let invite = invitation(&sent, "bob");
    let (mut bob, sent) = world.accept("bob", &invite, "").await;
    alice.learn(sent.iter().find(|seen| seen.status() == 200).unwrap());
    world.send(&alice.within("ACK", "", "")).await;
    let mut again = Ue::new("alice");
    let sent = world.send(&again.invite_list("", &upgrade(&alice.replaces()))).await;
    let (called, carol) = (invitation(&sent, "bob"), invitation(&sent, "carol"));
    let (_, tag) = invite.value("From").split_once(";tag=").unwrap();
    let known = format!("{};to-tag=t-bob;from-tag={tag}", invite.value("Call-ID"));
    assert_eq!(called.value("Replaces"), known, "as his client has it");
    let (_, sent) = world.accept("bob", &called, "").await;
    again.learn(sent.iter().find(|seen| seen.status() == 200).unwrap());
    world.send(&again.within("ACK", "", "")).await;
    // His client ends what was replaced; the conference goes on.
    let sent = world.send(&bob.within("BYE", "", "")).await;
    assert!(lines(&sent).contains(&"BYE sip:alice@10.0.0.1:5060".to_owned()), "{sent:?}");
    let (_, sent) = world.accept("carol", &carol, "").await;
    assert_eq!(sent.iter().filter(|seen| seen.is("ACK")).count(), 1);
    // By REFER as well: whoever is added may have to replace a dialog.
    let refer = "Refer-To: <sip:dave@ims.test?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n";
    let sent = world.send(&again.within("REFER", refer, "")).await;
    let dave = invitation(&sent, "dave");
    assert_eq!(dave.value("Replaces"), "x@y;to-tag=1;from-tag=2");
    world.send(&answer(&dave, 486, "d", "", "")).await;
    world.drain();
    world.is_clean().await;
}
