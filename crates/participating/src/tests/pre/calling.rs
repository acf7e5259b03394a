//! REFER: calls in the name of the user.

use super::*;

// Covers: PF-062, CORE-020, CORE-037
#[tokio::test(start_paused = true)]
async fn a_refer_attaches_and_tells_how_it_gets_on() {
    let pre = Pre::new().await;
    let headers =
        "Refer-To: <sip:im-group-tea@ims.test;method=INVITE>\nReferred-By: <sip:alice@ims.test>";
    let sent = pre.asks("REFER", headers, "").await;
    assert_eq!(kinds(&sent), ["202", "INVITE", "NOTIFY"]);
    assert_eq!(pre.notified(&sent).await, ["active SIP/2.0 100 Trying"]);
    let invite = Request::new(sent[1].clone()).unwrap();
    let shown = text(&invite);
    assert!(shown.starts_with("INVITE sip:im-group-tea@ims.test SIP/2.0\r\n"), "{shown}");
    assert_eq!(value(&shown, "Route"), "<sip:127.0.0.13:6060;lr;orig>");
    assert_eq!(value(&shown, "Referred-By"), "<sip:alice@ims.test>");
    assert_eq!(value(&shown, "P-Asserted-Identity"), "<sip:alice@ims.test>");
    assert_eq!(value(&shown, "P-Charging-Function-Addresses"), "ccf=ccf.ims.test");
    assert_eq!(value(&shown, "Accept-Contact"), "*;+g.oma.sip-im");
    assert!(value(&shown, "From").starts_with("<sip:alice@ims.test>;tag="), "{shown}");
    assert!(shown.contains("a=accept-types:message/cpim text/x-alice"), "{shown}");
    assert_ne!(path(&shown), path(&pre.ok));
    assert!(!shown.contains("192.0.2.10:7654"), "nobody hears where she is");
    pre.answers(&invite, 180, "").await;
    let sent = pre.world.sent();
    assert_eq!(pre.notified(&sent).await, ["active SIP/2.0 180 Ringing"]);
    pre.answers(&invite, 200, &answer("tea")).await;
    let sent = pre.world.sent();
    assert_eq!(kinds(&sent), ["ACK", "NOTIFY"]);
    let told = String::from_utf8_lossy(sent[1].body()).into_owned();
    assert_eq!(told, "SIP/2.0 200 OK\r\nContact: <sip:room@192.0.2.11>;isfocus\r\n");
    assert_eq!(pre.notified(&sent).await, ["terminated SIP/2.0 200 OK"]);
    let tea = pre.core.accept();
    pre.sends_on(tea, "tea", &path(&shown), "");
    pre.talk(&invite, "tea", tea);
    assert_eq!(pre.core.sessions(), 2);
}

// Covers: PF-062
#[tokio::test(start_paused = true)]
async fn a_list_goes_to_the_factory() {
    const LIST: &str = "--b\r\nContent-Type: application/resource-lists+xml\r\n\
        Content-ID: <l@h>\r\n\r\n<resource-lists/>\r\n--b--\r\n";
    let pre = Pre::new().await;
    let headers = "Refer-To: <cid:l@h>\nRequire: multiple-refer, norefersub\nRefer-Sub: false\n\
        Content-Type: multipart/mixed;boundary=b";
    let sent = pre.asks("REFER", headers, LIST).await;
    assert_eq!(kinds(&sent), ["200", "INVITE"], "nobody wants to hear of it");
    assert_eq!(lines(&sent[0], HeaderName::ReferSub), ["false"]);
    let shown = text(&sent[1]);
    assert!(shown.starts_with("INVITE sip:im-conf@ims.test SIP/2.0\r\n"), "{shown}");
    assert_eq!(value(&shown, "Require"), "recipient-list-invite");
    assert!(shown.contains("\r\n\r\n<resource-lists/>\r\n"), "{shown}");
    assert!(shown.contains("Content-Disposition: recipient-list\r\n"), "{shown}");
    assert!(path(&shown).starts_with("msrp://127.0.0.20:2855/"));
    // A refresh does not send it again.
    let invite = Request::new(sent[1].clone()).unwrap();
    pre.answers(&invite, 200, &answer("tea")).await;
    assert_eq!(kinds(&pre.world.sent()), ["ACK"]);
    let mut waited = 0;
    let refresh = loop {
        pre.world.pass(Duration::from_secs(60)).await;
        waited += 60;
        let sent = pre.world.sent();
        let mut own = sent.into_iter().filter(|it| status(it) == 0);
        if let Some(found) = own.find(|it| it.call_id() == invite.call_id()) {
            break found;
        }
        assert!(waited < 1_800, "it is refreshed");
    };
    assert_eq!(method(&refresh), Method::Invite);
    assert_eq!(lines(&refresh, HeaderName::ContentType), ["application/sdp"]);
    assert_eq!(path(&text(&refresh)), path(&shown));
    let mut without = policy();
    without.pre_established.factory = None;
    let pre = Pre::with(without).await;
    assert_eq!(kinds(&pre.asks("REFER", headers, LIST).await), ["400"], "where should it go");
}

// Covers: PF-062
#[tokio::test(start_paused = true)]
async fn what_cannot_be_referred_to_is_refused() {
    let pre = Pre::new().await;
    #[rustfmt::skip]
    let table = [
        ("Subject: nobody",                                             "400"),
        ("Refer-To: <sip:a@h>\nRefer-To: <sip:b@h>",                    "400"),
        ("Refer-To: <cid:x@h>",                                         "400"),
        ("Refer-To: <sip:a@h;method=MESSAGE>",                          "403"),
        ("Refer-To: <sip:a@h>\nRequire: odd",                           "420"),
    ];
    for (headers, code) in table {
        assert_eq!(kinds(&pre.asks("REFER", headers, "").await), [code], "{headers}");
    }
    assert_eq!(kinds(&pre.asks("INFO", "", "").await), ["405"]);
    assert_eq!(pre.core.sessions(), 1, "it stands");
}

// Covers: PF-062
#[tokio::test(start_paused = true)]
async fn one_call_at_a_time() {
    let pre = Pre::new().await;
    let (invite, sent) = pre.refers("sip:bob@ims.test").await;
    pre.notified(&sent).await;
    let again = async || kinds(&pre.asks("REFER", "Refer-To: <sip:carol@ims.test>", "").await);
    assert_eq!(again().await, ["486"], "while he is called");
    pre.answers(&invite, 200, &answer("bob")).await;
    let sent = pre.world.sent();
    pre.notified(&sent).await;
    assert_eq!(again().await, ["486"], "while he is there");
    pre.within(&text(&invite), "BYE", 2, "", "").await;
    pre.world.sent();
    assert_eq!(again().await, ["202", "INVITE", "NOTIFY"]);
}

// Covers: PF-062
#[tokio::test(start_paused = true)]
async fn a_call_that_comes_to_nothing_is_told() {
    let pre = Pre::new().await;
    for (code, told) in
        [(486, "486 Busy Here"), (404, "404 Not Found"), (503, "503 Service Unavailable")]
    {
        let (invite, sent) = pre.refers("sip:bob@ims.test").await;
        pre.notified(&sent).await;
        pre.answers(&invite, code, "").await;
        let sent = pre.world.sent();
        assert_eq!(kinds(&sent), ["ACK", "NOTIFY"]);
        assert_eq!(pre.notified(&sent).await, [format!("terminated SIP/2.0 {told}")]);
        assert_eq!(pre.core.sessions(), 1);
    }
    // He takes the call and not the session.
    let (invite, sent) = pre.refers("sip:bob@ims.test").await;
    pre.notified(&sent).await;
    pre.answers(&invite, 200, &answer("bob").replace("7654 TCP", "0 TCP")).await;
    let sent = pre.world.sent();
    assert_eq!(kinds(&sent), ["ACK", "NOTIFY", "BYE"]);
    assert_eq!(pre.notified(&sent).await, ["terminated SIP/2.0 488 Not Acceptable Here"]);
    // He never answers.
    let (invite, sent) = pre.refers("sip:bob@ims.test").await;
    pre.notified(&sent).await;
    pre.answers(&invite, 180, "").await;
    let sent = pre.world.sent();
    pre.notified(&sent).await;
    pre.world.pass(Duration::from_secs(182)).await;
    let sent = pre.world.sent();
    assert!(kinds(&sent).contains(&"CANCEL".to_owned()), "{:?}", kinds(&sent));
    assert_eq!(pre.notified(&sent).await, ["terminated SIP/2.0 408 Request Timeout"]);
    assert_eq!(pre.core.sessions(), 1);
}

// Covers: PF-062
#[tokio::test(start_paused = true)]
async fn many_refers_of_which_nobody_hears_have_a_limit() {
    let pre = Pre::new().await;
    let mut told = Vec::new();
    for _ in 0..5 {
        let sent = pre.asks("REFER", "Refer-To: <sip:x@h;method=BYE>", "").await;
        told.push(kinds(&sent).remove(0));
    }
    assert_eq!(told, ["202", "202", "202", "202", "480"], "none of their NOTIFYs is answered");
}

// Covers: PF-062
#[tokio::test(start_paused = true)]
async fn who_is_attached_may_modify_his_session() {
    let pre = Pre::new().await;
    let (invite, bob) = pre.attached("bob").await;
    let ours = text(&invite);
    let own = path(&ours);
    let asks = async |cseq: u32, body: &str| {
        pre.within(&ours, "INVITE", cseq, "", body).await;
        let sent = pre.world.sent();
        pre.within(&ours, "ACK", cseq, "", "").await;
        sent
    };
    assert_eq!(path(&text(&asks(2, "").await[0])), own, "he wants ours");
    let sent = asks(3, &sdp("bob").replace("message/cpim", "text/plain")).await;
    assert_eq!(path(&text(&sent[0])), own);
    pre.talk(&invite, "bob", bob);
    assert_eq!(kinds(&asks(4, "no description").await), ["488"]);
    let moved = text(&asks(5, &sdp("moved")).await[0]);
    assert_ne!(path(&moved), own, "another session");
    let bob = pre.core.accept();
    assert!(pre.sends_on(bob, "moved", &path(&moved), "hello").contains(" 200 OK"));
    assert!(pre.core.written(pre.media).contains("hello"), "Alice hears nothing of all that");
    pre.world.nothing_was_sent();
}
