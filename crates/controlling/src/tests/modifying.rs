//! Changed descriptions.

use super::groups::chat;
use super::passing::{ASKED, TOLD};
use super::world::{CHESS, FACTORY, Seen, Ue, World, answer, entries, invitation, lines, sdp};
use crate::policy::Policy;

const TYPED: &str = "Content-Type: application/sdp\r\n";

fn status_of(sent: &[Seen]) -> &Seen {
    sent.iter().find(|seen| seen.status() >= 200).expect("a final response")
}

// Covers: CF-050, CF-060, CF-078, CLI-019, CLI-038
#[tokio::test(start_paused = true)]
async fn a_participant_changes_his_session() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[]));
    let (mut alice, ok) = world.join("alice", CHESS, "").await;
    let (mut bob, _) = world.join("bob", CHESS, "").await;
    world.send(&bob.within("SUBSCRIBE", "Event: conference\r\n", "")).await;
    world.seconds(6).await;

    let held = format!("{}a=inactive\r\n", sdp("alice")).replace("o=- 1 1", "o=- 1 2");
    let sent = world.send(&alice.within("INVITE", TYPED, &held)).await;
    let held = status_of(&sent);
    assert_eq!(held.status(), 200);
    assert!(held.0.contains("a=inactive"), "{held:?}");
    assert_eq!(held.attribute("path"), ok.attribute("path"), "the same session");
    assert!(held.0.contains(" 2 IN IP4 127.0.0.20"), "the next version: {held:?}");
    world.send(&alice.within("ACK", "", "")).await;
    assert!(sent.iter().any(|seen| seen.body().contains("on-hold")), "{sent:?}");

    // Another medium beside it is refused with port 0, another one alone altogether.
    let more = format!("{}m=audio 9 RTP/AVP 0\r\n", sdp("alice").replace("o=- 1 1", "o=- 1 3"));
    let sent = world.send(&alice.within("UPDATE", TYPED, &more)).await;
    let added = status_of(&sent).clone();
    assert_eq!(added.status(), 200);
    assert!(added.0.contains("m=audio 0 RTP/AVP 0"), "{added:?}");
    let audio = "v=0\r\no=- 1 4 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
        m=audio 9 RTP/AVP 0\r\n";
    let sent = world.send(&alice.within("INVITE", TYPED, audio)).await;
    let refused = status_of(&sent);
    assert_eq!(refused.status(), 488);
    assert_eq!(refused.value("Warning"), "304 im.invalid \"Media type not available\"");
    world.send(&alice.within("ACK", "", "")).await;

    // What was agreed on before holds, and a refresh changes nothing: the same descriptions again.
    let version =
        |seen: &Seen| seen.body().lines().find(|line| line.starts_with("o=")).unwrap().to_owned();
    let sent = world.send(&alice.within("UPDATE", TYPED, &more)).await;
    let refreshed = status_of(&sent);
    assert_eq!((refreshed.status(), version(refreshed)), (200, version(&added)));
    let sent = world.send(&alice.within("UPDATE", "", "")).await;
    assert_eq!((status_of(&sent).status(), status_of(&sent).body()), (200, ""));

    // A list means nothing any more.
    let list = "Require: recipient-list-invite\r\nContent-Type: application/sdp\r\n";
    let sent = world.send(&alice.within("INVITE", list, &sdp("alice"))).await;
    let refused = status_of(&sent);
    assert_eq!((refused.status(), refused.value("Unsupported")), (420, "recipient-list-invite"));
    world.send(&alice.within("ACK", "", "")).await;
    let text = alice.within("INVITE", "Content-Type: text/plain\r\n", "hello");
    let sent = world.send(&text).await;
    let refused = status_of(&sent);
    assert_eq!((refused.status(), refused.value("Accept")), (415, "application/sdp"));
    world.send(&alice.within("ACK", "", "")).await;
    world.send(&alice.within("BYE", "", "")).await;
    world.send(&bob.within("BYE", "", "")).await;
    world.seconds(301).await;
    world.is_clean().await;
}

// Covers: MSRP-013
#[tokio::test(start_paused = true)]
async fn a_path_with_a_name_is_compared_after_the_dns() {
    let world = World::new(Policy::default());
    world.shelf.put(chat(&[]));
    let (mut alice, _) = world.join("alice", CHESS, "").await;
    let named = |host: &str, version: u8| {
        let text = sdp("alice").replace("msrp://10.0.0.1", &format!("msrp://{host}"));
        text.replace("o=- 1 1", &format!("o=- 1 {version}"))
    };
    for (host, version, status) in [("pc.example.com", 2, 200), ("other.example.com", 3, 488)] {
        let sent = world.send(&alice.within("UPDATE", TYPED, &named(host, version))).await;
        assert_eq!(status_of(&sent).status(), status, "{host}");
    }
    let mut bob = Ue::new("bob");
    let sent = world.send(&bob.request("INVITE", CHESS, TYPED, &named("pc.example.com", 1))).await;
    assert_eq!(status_of(&sent).status(), 200);
}

// Covers: PF-072
#[tokio::test(start_paused = true)]
async fn what_is_asked_in_a_description_is_for_the_function_of_who_asks() {
    let world = World::new(Policy::default());
    let asks = |version: u8, what: &str| {
        let version = format!("o=- 1 {version}");
        sdp("alice").replace("o=- 1 1", &version).replace("t=0 0\r\n", what)
    };
    let told = |seen: &Seen| seen.body().contains("t=0 0\r\na=im-told:");
    let mut alice = Ue::new("alice");
    let invite = asks(1, &format!("t=0 0\r\na={ASKED}:one\r\n"));
    let sent = world.send(&alice.request("INVITE", FACTORY, TYPED, &invite)).await;
    let ok = status_of(&sent).clone();
    assert!(ok.body().contains(&format!("t=0 0\r\na={TOLD}:one\r\n")), "{ok:?}");
    alice.learn(&ok);
    world.send(&alice.within("ACK", "", "")).await;
    let offer = asks(2, &format!("t=0 0\r\na={ASKED}:two\r\n"));
    let sent = world.send(&alice.within("INVITE", TYPED, &offer)).await;
    assert!(status_of(&sent).body().contains(&format!("a={TOLD}:two\r\n")), "{sent:?}");
    world.send(&alice.within("ACK", "", "")).await;
    // Asked in an answer, nothing is told; without being asked either.
    let sent = world.send(&alice.within("INVITE", "", "")).await;
    assert!(!told(status_of(&sent)), "{sent:?}");
    let answer = asks(3, &format!("t=0 0\r\na={ASKED}:three\r\n"));
    world.send(&alice.within("ACK", TYPED, &answer)).await;
    let sent = world.send(&alice.within("INVITE", TYPED, &asks(4, "t=0 0\r\n"))).await;
    assert!(!told(status_of(&sent)), "{sent:?}");
    world.send(&alice.within("ACK", "", "")).await;
    assert_eq!(world.seats.asked(), ["one", "two", "three"]);
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-040, CF-050, CLI-038
#[tokio::test(start_paused = true)]
async fn without_an_offer_the_switch_offers() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.request("INVITE", FACTORY, "", "")).await;
    let ok = status_of(&sent).clone();
    assert_eq!(ok.status(), 200);
    assert!(ok.0.contains("a=setup:actpass") && ok.0.contains("a=chatroom:"), "{ok:?}");
    alice.learn(&ok);
    world.send(&alice.within("ACK", TYPED, &sdp("alice"))).await;
    // So does a re-INVITE without one.
    let sent = world.send(&alice.within("INVITE", "", "")).await;
    let again = status_of(&sent);
    assert_eq!(again.attribute("path"), ok.attribute("path"));
    let next = sdp("alice").replace("o=- 1 1", "o=- 1 2");
    world.send(&alice.within("ACK", TYPED, &next)).await;
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;

    // An answer that is none ends what was not agreed on.
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.request("INVITE", FACTORY, "", "")).await;
    alice.learn(status_of(&sent));
    let sent = world.send(&alice.within("ACK", TYPED, "no description")).await;
    let bye = sent.iter().find(|seen| seen.is("BYE")).expect("a BYE");
    assert_eq!(bye.value("Reason"), "SIP;cause=488;text=\"Not Acceptable Here\"");
    world.is_clean().await;
}

// Covers: CF-075
#[tokio::test(start_paused = true)]
async fn a_middlebox_makes_the_switch_offer_again() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob"]))).await;
    let bob = invitation(&sent, "bob");
    assert!(bob.0.contains("a=msrp-cema"), "{bob:?}");
    // Something between has changed the address, and bob knows nothing of that.
    let changed = sdp("bob").replace("c=IN IP4 10.0.0.1", "c=IN IP4 10.9.9.9");
    let head = format!("Contact: <sip:bob@10.0.0.2:5060>\r\n{TYPED}");
    let sent = world.send(&answer(&bob, 200, "t-bob", &head, &changed)).await;
    let again = sent.iter().find(|seen| seen.is("INVITE")).expect("a re-INVITE").clone();
    assert!(!again.0.contains("a=msrp-cema"), "{again:?}");
    assert_eq!(again.attribute("path"), bob.attribute("path"));
    alice.learn(sent.iter().find(|seen| seen.status() == 200).unwrap());
    world.send(&alice.within("ACK", "", "")).await;
    // Glare: it is offered once more (RFC 3261 §14.1).
    world.send(&answer(&again, 491, "t-bob", "", "")).await;
    let sent = world.seconds(5).await;
    let third = sent.iter().find(|seen| seen.is("INVITE")).expect("another one").clone();
    let plain = sdp("bob").replace("o=- 1 1", "o=- 1 2");
    let sent = world.send(&answer(&third, 200, "t-bob", &head, &plain)).await;
    assert_eq!(lines(&sent).len(), 1, "ACK: {sent:?}");
    world.send(&alice.within("BYE", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-050, CF-072
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_is_no_session() {
    let world = World::new(Policy::default());
    for body in ["", "v=0", &sdp("bob").replace("message/cpim", "text/plain")] {
        let mut alice = Ue::new("alice");
        let sent = world.send(&alice.invite_list("", &entries(&["bob"]))).await;
        let bob = invitation(&sent, "bob");
        let head = format!("Contact: <sip:bob@10.0.0.2:5060>\r\n{TYPED}");
        let sent = world.send(&answer(&bob, 200, "t-bob", &head, body)).await;
        let all = lines(&sent);
        assert!(all.iter().any(|line| line.starts_with("BYE ")), "{all:?}");
        assert!(all.contains(&"488 1 INVITE".to_owned()), "{all:?}");
        world.send(&alice.within("ACK", "", "")).await;
    }
    world.is_clean().await;
}
