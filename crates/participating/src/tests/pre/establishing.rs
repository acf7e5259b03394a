//! How one is established, modified and limited.

use super::*;
use crate::policy::ExcessAnswer;
use parlance_store::Rights;

// Covers: PF-060
#[tokio::test(start_paused = true)]
async fn the_server_answers_as_the_other_end() {
    let core = Core::new();
    let world = World::new(setup(policy(), &core)).await;
    invites(&world, "Supported: timer\nSession-Expires: 600", &sdp("alice")).await;
    let ok = text(&world.answered());
    assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
    assert_eq!(value(&ok, "Contact"), "<sip:127.0.0.20:5080>;+g.oma.sip-im");
    assert_eq!(value(&ok, "Session-Expires"), "600;refresher=uac");
    assert!(value(&ok, "Allow").contains("REFER"), "{ok}");
    assert!(ok.contains("a=path:msrp://127.0.0.20:2855/") && ok.contains("a=accept-types:*"));
    assert!(ok.contains("a=setup:passive"), "{ok}");
    assert_eq!(core.sessions(), 1, "nobody is there yet");
    let pre = Pre::new().await;
    // What she says while nobody is there goes nowhere.
    assert!(pre.sends("alice", &path(&pre.ok), "hello?").contains(" 403 "));
    let options = pre.asks("OPTIONS", "", "").await;
    assert_eq!(status(&options[0]), 200);
    assert_eq!(kinds(&pre.asks("BYE", "", "").await), ["200"]);
    pre.nothing_is_left().await;
}

// Covers: PF-060, PF-066
#[tokio::test(start_paused = true)]
async fn what_cannot_be_established_is_refused() {
    const LIST: &str = "--b\r\nContent-Type: application/sdp\r\n\r\nSDP\r\n--b\r\n\
        Content-Type: application/resource-lists+xml\r\n\
        Content-Disposition: recipient-list\r\n\r\n<resource-lists/>\r\n--b--\r\n";
    let offer = sdp("alice");
    let audio = offer.replace("m=message 7654 TCP/MSRP *", "m=audio 7654 RTP/AVP 0");
    let file = format!("{offer}a=file-selector:name:\"a\" size:1\r\na=file-transfer-id:x\r\n");
    let list = LIST.replace("SDP", &offer);
    let multipart = "Content-Type: multipart/mixed;boundary=b";
    #[rustfmt::skip]
    let table: [(&str, &str, u16); 9] = [
        ("",                                     "",                                         488),
        ("",                                     "no description",                           488),
        ("",                                     &audio,                                     488),
        ("",                                     &file,                                      488),
        ("",                                     &offer.replace("a=path", "a=x-path"),       488),
        ("",                                     &offer.replace("TCP/MSRP", "TCP/TLS/MSRP"), 488),
        (multipart,                              &list,                                      415),
        ("Supported: timer\nSession-Expires: 10", &offer,                                    422),
        ("P-Asserted-Identity: <sip:eve@other.test>\nP-Served-User: <sip:eve@other.test>;sescase=term",
            &offer, 403),
    ];
    for (headers, body, code) in table {
        let core = Core::new();
        let world = World::new(setup(policy(), &core)).await;
        invites(&world, headers, body).await;
        assert_eq!(status(&world.answered()), code, "{headers} {body}");
        assert_eq!((core.sessions(), dialogs(&world).await), (0, 0));
    }
    let core = Core::new();
    let off = Setup { pre_established: false, ..setup(policy(), &core) };
    let world = World::new(off).await;
    invites(&world, "", &offer).await;
    assert_eq!(status(&world.answered()), 404, "it is off");
    let rights = Rights { session: false, ..Rights::default() };
    for profile in [Profile { rights, ..alice() }, Profile { provisioned: false, ..alice() }] {
        let world = World::new(Setup { profiles: vec![profile], ..setup(policy(), &core) }).await;
        invites(&world, "", &offer).await;
        assert_eq!(status(&world.answered()), 403);
    }
    let world = World::new(Setup { media: None, ..setup(policy(), &core) }).await;
    invites(&world, "", &offer).await;
    assert_eq!(status(&world.answered()), 488, "nobody listens");
    core.set_busy();
    let world = World::new(setup(policy(), &core)).await;
    invites(&world, "", &offer).await;
    let answer = world.answered();
    assert_eq!((status(&answer), lines(&answer, HeaderName::RetryAfter).len()), (480, 1));
}

// Covers: PF-060
#[tokio::test(start_paused = true)]
async fn a_client_has_one_and_a_user_a_few() {
    let mut limited = policy();
    limited.pre_established.per_user_max = 2;
    limited.pre_established.per_shard_max = 3;
    let pre = Pre::with(limited.clone()).await;
    let instance = |name: &str| {
        format!("Contact: <sip:{name}@192.0.2.10>;+g.oma.sip-im;+sip.instance=\"<urn:x:{name}>\"")
    };
    let second = async |name: &str| {
        let headers = format!(
            "Request-URI: sip:im-session@ims.test\nContent-Type: application/sdp\n{}",
            instance(name)
        );
        let invite = pre.world.text(Originating, &headers, &sdp("alice"));
        pre.world.receive(Originating, invite.replace("MESSAGE", "INVITE").into()).await;
        pre.world.sent()
    };
    assert_eq!(kinds(&second("laptop").await), ["200"]);
    let refused = second("tablet").await;
    assert_eq!(kinds(&refused), ["403"]);
    let warning = "399 im.test \"103 Maximum number of sessions reached\"";
    assert_eq!(lines(&refused[0], HeaderName::Warning), [warning]);
    // The first client begins anew, as one does that has forgotten all: the first session ends.
    invites(&pre.world, "", &sdp("alice")).await;
    let sent = pre.world.sent();
    assert_eq!(kinds(&sent), ["200", "BYE"]);
    assert_eq!(lines(&sent[1], HeaderName::CallId), [value(&pre.ok, "Call-ID")]);
    assert!(lines(&sent[1], HeaderName::Reason)[0].contains("cause=410"));
    let busy = ExcessAnswer::Busy;
    limited.session.excess_answer = busy;
    *pre.world.policy.borrow_mut() = Arc::new(limited.clone());
    assert_eq!(kinds(&second("tablet").await), ["486"]);
    limited.pre_established.per_shard_max = 2;
    *pre.world.policy.borrow_mut() = Arc::new(limited);
    let full = second("laptop").await;
    assert_eq!(kinds(&full), ["480"]);
    assert_eq!(lines(&full[0], HeaderName::RetryAfter), ["10"]);
}

// Covers: PF-061
#[tokio::test(start_paused = true)]
async fn it_is_modified_while_it_is_idle() {
    let pre = Pre::new().await;
    // The same again: a refresh.
    let same = pre.asks("UPDATE", "", &sdp("alice")).await;
    assert_eq!(kinds(&same), ["200"]);
    assert_eq!(same[0].body(), pre.ok.split("\r\n\r\n").nth(1).unwrap().as_bytes());
    // Other types: the session stays.
    let types = sdp("alice").replace("message/cpim", "text/plain").replace("a 1 1", "a 1 2");
    let other = text(&pre.asks("UPDATE", "", &types).await[0]);
    assert_eq!(path(&other), path(&pre.ok));
    let (invite, _) = pre.refers("sip:bob@ims.test").await;
    assert!(text(&invite).contains("a=accept-types:text/plain text/x-alice"), "{invite:?}");
    pre.answers(&invite, 486, "").await;
    let sent = pre.world.sent();
    pre.notified(&sent).await;
    // Another path: a session of its own, and the one before is nobody's.
    let moved = types.replace("/alice;", "/moved;").replace("a 1 2", "a 1 3");
    let sent = pre.asks("INVITE", "", &moved).await;
    let ok = text(&sent[0]);
    assert_ne!(path(&ok), path(&pre.ok));
    pre.acknowledges(pre.cseq.get()).await;
    assert!(pre.sends("alice", &path(&pre.ok), "").contains(" 481"));
    assert!(pre.sends("moved", &path(&ok), "").contains(" 200 OK"));
    assert_eq!(pre.core.sessions(), 1);
    for bad in
        [sdp("alice").replace("m=message 7654 TCP/MSRP *", "m=audio 7654 RTP/AVP 0"), "x".into()]
    {
        assert_eq!(kinds(&pre.asks("UPDATE", "", &bad).await), ["488"]);
    }
    // Without a description it asks for ours.
    let sent = pre.asks("INVITE", "", "").await;
    assert_eq!(path(&text(&sent[0])), path(&ok));
    pre.within(&pre.ok, "ACK", pre.cseq.get(), "", &moved).await;
    pre.world.nothing_was_sent();
}

// Covers: PF-061
#[tokio::test(start_paused = true)]
async fn while_it_is_busy_it_is_only_refreshed() {
    let pre = Pre::new().await;
    let other = sdp("alice").replace("/alice;", "/moved;").replace("a 1 1", "a 1 2");
    let (invite, sent) = pre.refers("sip:bob@ims.test").await;
    pre.notified(&sent).await;
    assert_eq!(kinds(&pre.asks("UPDATE", "", &other).await), ["491"], "while he is called");
    assert_eq!(kinds(&pre.asks("UPDATE", "", &sdp("alice")).await), ["200"]);
    pre.answers(&invite, 200, &answer("bob")).await;
    pre.world.sent();
    assert_eq!(kinds(&pre.asks("UPDATE", "", &other).await), ["488"], "while he is there");
    let refreshed = pre.asks("UPDATE", "", &sdp("alice")).await;
    assert_eq!(path(&text(&refreshed[0])), path(&pre.ok));
    assert_eq!(kinds(&pre.asks("UPDATE", "", "").await), ["200"]);
    assert_eq!(pre.core.sessions(), 2);
}
