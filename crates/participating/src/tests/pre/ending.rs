//! How attached sessions end, and how all ends.

use super::*;

/// A REFER that leaves who goes by this name.
fn leaving(who: &str) -> String {
    format!("Refer-To: <{who};method=BYE>")
}

// Covers: PF-038, CF-055
#[tokio::test(start_paused = true)]
async fn a_refer_with_bye_leaves_and_the_session_stays() {
    let pre = Pre::new().await;
    // By the name that was called, and by that of the focus.
    for who in ["sip:tea@ims.test", "sip:room@192.0.2.11"] {
        let (_, tea) = pre.attached("tea").await;
        let sent = pre.asks("REFER", &leaving(who), "").await;
        assert_eq!(kinds(&sent), ["202", "NOTIFY", "BYE"], "{who}");
        let told = pre.notified(&sent).await;
        assert_eq!(told.last().unwrap(), "terminated SIP/2.0 200 OK");
        assert_eq!(pre.core.sessions(), 1);
        assert!(pre.sends("alice", &path(&pre.ok), "gone?").contains(" 403 "));
        assert!(!pre.core.written(tea).contains("gone?"));
    }
    let (invite, bob) = pre.attached("bob").await;
    pre.talk(&invite, "bob", bob);
    // Nobody wants to hear of it.
    let headers = format!("{}\nRefer-Sub: false", leaving("sip:bob@ims.test"));
    assert_eq!(kinds(&pre.asks("REFER", &headers, "").await), ["200"]);
    // He has two seconds to answer what he was sent.
    pre.world.pass(Duration::from_secs(2)).await;
    let sent = pre.world.sent();
    assert!(sent.iter().any(|sent| sent.call_id() == invite.call_id()), "BYE to Bob: {sent:?}");
    pre.asks("BYE", "", "").await;
    pre.nothing_is_left().await;
}

// Covers: PF-038
#[tokio::test(start_paused = true)]
async fn only_who_is_there_is_left() {
    let pre = Pre::new().await;
    let sent = pre.asks("REFER", &leaving("sip:bob@ims.test"), "").await;
    let told = pre.notified(&sent).await;
    let gone = "terminated SIP/2.0 481 Call/Transaction Does Not Exist";
    assert_eq!(told.last().unwrap(), gone, "nobody is there");
    let (invite, bob) = pre.attached("bob").await;
    let sent = pre.asks("REFER", &leaving("sip:carol@ims.test"), "").await;
    let told = pre.notified(&sent).await;
    assert_eq!(told.last().unwrap(), gone, "she is not there");
    pre.talk(&invite, "bob", bob);
}

// Covers: PF-063
#[tokio::test(start_paused = true)]
async fn a_bye_of_the_client_ends_what_is_attached() {
    let pre = Pre::new().await;
    let (invite, _) = pre.attached("bob").await;
    let sent = pre.asks("BYE", "Reason: SIP;cause=200;text=\"bored\"", "").await;
    assert_eq!(kinds(&sent), ["200", "BYE"]);
    assert_eq!(lines(&sent[1], HeaderName::CallId), lines(&invite, HeaderName::CallId));
    assert_eq!(lines(&sent[1], HeaderName::Reason), ["SIP;cause=200;text=\"bored\""]);
    pre.nothing_is_left().await;
}

// Covers: PF-065, CF-055
#[tokio::test(start_paused = true)]
async fn a_bye_of_the_other_side_frees_the_session() {
    let pre = Pre::new().await;
    for name in ["tea", "bob", "tea"] {
        let (invite, media) = pre.attached(name).await;
        pre.talk(&invite, name, media);
        pre.within(&text(&invite), "BYE", 2, "", "").await;
        assert_eq!(kinds(&pre.world.sent()), ["200"], "Alice hears nothing");
        assert_eq!(pre.core.sessions(), 1);
    }
}

// Covers: PF-063
#[tokio::test(start_paused = true)]
async fn a_bye_while_somebody_is_called_cancels() {
    for rings in [true, false] {
        let pre = Pre::new().await;
        let (invite, _) = pre.refers("sip:bob@ims.test").await;
        if rings {
            pre.answers(&invite, 180, "").await;
            pre.world.sent();
        }
        let sent = kinds(&pre.asks("BYE", "", "").await);
        assert_eq!(sent.contains(&"CANCEL".to_owned()), rings, "{sent:?}");
        // He had answered already.
        pre.answers(&invite, 200, &answer("bob")).await;
        let sent = kinds(&pre.world.sent());
        assert!(sent.contains(&"ACK".to_owned()) && sent.contains(&"BYE".to_owned()), "{sent:?}");
        pre.nothing_is_left().await;
    }
}

// Covers: PF-038
#[tokio::test(start_paused = true)]
async fn who_is_still_called_can_be_left() {
    let pre = Pre::new().await;
    let (invite, sent) = pre.refers("sip:bob@ims.test").await;
    pre.notified(&sent).await;
    pre.answers(&invite, 180, "").await;
    let sent = pre.world.sent();
    pre.notified(&sent).await;
    let sent = pre.asks("REFER", &leaving("sip:bob@ims.test"), "").await;
    assert!(kinds(&sent).contains(&"CANCEL".to_owned()), "{:?}", kinds(&sent));
    let told = pre.notified(&sent).await;
    assert!(told.contains(&"terminated SIP/2.0 487 Request Terminated".to_owned()), "{told:?}");
    assert!(told.contains(&"terminated SIP/2.0 200 OK".to_owned()), "{told:?}");
    // His answer and the CANCEL cross.
    pre.answers(&invite, 200, &answer("bob")).await;
    assert_eq!(kinds(&pre.world.sent()), ["ACK", "BYE"]);
    assert_eq!(pre.core.sessions(), 1);
    let (invite, carol) = pre.attached("carol").await;
    pre.talk(&invite, "carol", carol);
}

// Covers: PF-060, PF-063
#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_refreshed_ends() {
    let pre = Pre::new().await;
    pre.attached("bob").await;
    pre.world.pass(Duration::from_secs(1_800)).await;
    let sent = kinds(&pre.world.sent());
    assert_eq!(sent.iter().filter(|kind| *kind == "BYE").count(), 2, "{sent:?}");
    pre.nothing_is_left().await;
}

// Covers: PF-063, SEC-011
#[tokio::test(start_paused = true)]
async fn lost_media_end_their_own_dialog() {
    let pre = Pre::new().await;
    let (invite, bob) = pre.attached("bob").await;
    pre.core.lose(bob);
    pre.world.pass(Duration::from_millis(1)).await;
    let sent = pre.world.sent();
    assert_eq!(kinds(&sent), ["BYE"]);
    assert_eq!(lines(&sent[0], HeaderName::CallId), lines(&invite, HeaderName::CallId));
    assert_eq!(pre.core.sessions(), 1, "she can go on");
    pre.attached("tea").await;
    pre.core.lose(pre.media);
    pre.world.pass(Duration::from_millis(1)).await;
    let sent = pre.world.sent();
    assert_eq!(kinds(&sent), ["BYE", "BYE"]);
    assert!(lines(&sent[0], HeaderName::Reason)[0].contains("media lost"));
    pre.nothing_is_left().await;
}

// Covers: PF-063
#[tokio::test(start_paused = true)]
async fn all_ends_when_the_server_stops() {
    let pre = Pre::new().await;
    pre.attached("bob").await;
    let drained = pre.world.node.on_shard_of("x", |cx| {
        cx.drain_sessions();
        Box::pin(async {})
    });
    drained.unwrap();
    pre.world.pass(Duration::from_millis(1)).await;
    let sent = pre.world.sent();
    assert_eq!(kinds(&sent), ["BYE", "BYE"]);
    for bye in &sent {
        assert!(lines(bye, HeaderName::Reason)[0].contains("503"));
    }
    pre.nothing_is_left().await;
}
