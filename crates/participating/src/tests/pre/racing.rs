//! What happens at the same time.

use super::*;

const REFER: &str = "Refer-To: <sip:bob@ims.test>\nRefer-Sub: false";
const LEAVE: &str = "Refer-To: <sip:bob@ims.test;method=BYE>\nRefer-Sub: false";

/// Every INVITE among these is answered 200, and what is sent then.
async fn all_answer(pre: &Pre, sent: &[Message]) -> Vec<String> {
    let mut after = Vec::new();
    for invite in sent.iter().filter(|it| status(it) == 0 && method(it) == Method::Invite) {
        pre.answers(&Request::new(invite.clone()).unwrap(), 200, &answer("bob")).await;
        after.extend(kinds(&pre.world.sent()));
    }
    after
}

// Covers: PF-062, PF-063
#[tokio::test(start_paused = true)]
async fn a_refer_and_a_bye() {
    let pre = Pre::new().await;
    let sent = pre.at_once(vec![pre.next("REFER", REFER, ""), pre.next("BYE", "", "")]).await;
    let codes: Vec<_> = kinds(&sent).into_iter().filter(|kind| kind != "INVITE").collect();
    assert_eq!(codes.len(), 2, "{codes:?}");
    assert!(codes.contains(&"200".to_owned()), "the BYE: {codes:?}");
    let after = all_answer(&pre, &sent).await;
    assert!(after.is_empty() || after == ["ACK", "BYE"], "{after:?}");
    pre.nothing_is_left().await;
}

// Covers: PF-062
#[tokio::test(start_paused = true)]
async fn two_refers() {
    let pre = Pre::new().await;
    let both = vec![pre.next("REFER", REFER, ""), pre.next("REFER", REFER, "")];
    let mut sent = kinds(&pre.at_once(both).await);
    sent.sort();
    assert_eq!(sent, ["200", "486", "INVITE"], "one call");
}

// Covers: PF-061, PF-062
#[tokio::test(start_paused = true)]
async fn a_refer_and_a_modification() {
    let moved = sdp("alice").replace("/alice;", "/moved;").replace("a 1 1", "a 1 2");
    let pre = Pre::new().await;
    let both = vec![pre.next("REFER", REFER, ""), pre.next("UPDATE", "", &moved)];
    let sent = kinds(&pre.at_once(both).await);
    assert!(sent.contains(&"491".to_owned()), "{sent:?}");
    let pre = Pre::new().await;
    let both = vec![pre.next("UPDATE", "", &moved), pre.next("REFER", REFER, "")];
    let sent = pre.at_once(both).await;
    let mut found = kinds(&sent);
    found.sort();
    assert_eq!(found, ["200", "200", "INVITE"], "both, one after the other");
}

// Covers: PF-038, PF-065
#[tokio::test(start_paused = true)]
async fn both_sides_leave() {
    for first in [true, false] {
        let pre = Pre::new().await;
        let (invite, _) = pre.attached("bob").await;
        let bye: Bytes = within(&text(&invite), "BYE", 2, "", "").into();
        let mut both = vec![bye, pre.next("REFER", LEAVE, "")];
        if first {
            both.reverse();
        }
        let sent = kinds(&pre.at_once(both).await);
        let answers = sent.iter().filter(|kind| *kind == "200").count();
        assert_eq!(answers, 2, "{sent:?}");
        pre.world.pass(Duration::from_secs(40)).await;
        pre.world.sent();
        assert_eq!((pre.core.sessions(), dialogs(&pre.world).await), (1, 1));
        let (invite, tea) = pre.attached("tea").await;
        pre.talk(&invite, "tea", tea);
    }
}

// Covers: PF-062, PF-038
#[tokio::test(start_paused = true)]
async fn a_refer_and_its_opposite() {
    let pre = Pre::new().await;
    let both = vec![pre.next("REFER", REFER, ""), pre.next("REFER", LEAVE, "")];
    let sent = pre.at_once(both).await;
    let after = all_answer(&pre, &sent).await;
    assert!(after.is_empty() || after == ["ACK", "BYE"], "{after:?}");
    pre.world.pass(Duration::from_secs(40)).await;
    pre.world.sent();
    assert_eq!((pre.core.sessions(), dialogs(&pre.world).await), (1, 1));
}

// Covers: PF-060, PF-063
#[tokio::test(start_paused = true)]
async fn a_client_that_begins_anew_lets_go_of_what_was_attached() {
    let pre = Pre::new().await;
    let (old, _) = pre.attached("bob").await;
    invites(&pre.world, "", &sdp("alice")).await;
    let sent = pre.world.sent();
    assert_eq!(kinds(&sent), ["200", "BYE", "BYE"]);
    let calls: Vec<_> = sent[1..].iter().flat_map(|it| lines(it, HeaderName::CallId)).collect();
    assert!(calls.contains(&value(&text(&old), "Call-ID")), "{calls:?}");
    assert!(calls.contains(&value(&pre.ok, "Call-ID")), "{calls:?}");
    assert_eq!(pre.core.sessions(), 1, "the new one");
}

// Covers: PF-062
#[tokio::test(start_paused = true)]
async fn an_answer_and_the_end_of_the_media() {
    let pre = Pre::new().await;
    let (invite, sent) = pre.refers("sip:bob@ims.test").await;
    pre.notified(&sent).await;
    pre.core.lose(pre.media);
    pre.answers(&invite, 200, &answer("bob")).await;
    let sent = kinds(&pre.world.sent());
    assert_eq!(sent.iter().filter(|kind| *kind == "BYE").count(), 2, "{sent:?}");
    pre.nothing_is_left().await;
}
