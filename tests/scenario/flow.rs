//! The flows that `parlance-lab flow` draws, played and drawn.

use parlance_lab::flow::{FLOWS, play};

use crate::story;

/// Plays a flow and draws it; `from->to label`, as far as `labels` begin so.
async fn arrows(name: &str, labels: &[&str]) -> Vec<String> {
    let ladder = play(name).await.expect("it goes as it should");
    let drawn = ladder.to_string();
    assert!(drawn.lines().count() > 5, "{drawn}");
    let wanted = |label: &str| labels.iter().any(|wanted| label.starts_with(wanted));
    let arrows = ladder.arrows().filter(|arrow| wanted(&arrow.label));
    arrows.map(|arrow| format!("{}->{} {}", arrow.from, arrow.to, arrow.label)).collect()
}

// Covers: SCR-005
#[tokio::test(start_paused = true)]
async fn message() {
    story(async || {
        let sent = arrows("message", &["MESSAGE"]).await;
        // To the server and back on either side, and at the ends.
        assert_eq!(sent.len(), 6, "{sent:#?}");
    })
    .await;
}

// Covers: SCR-002
#[tokio::test(start_paused = true)]
async fn explode() {
    story(async || {
        let copies = arrows("explode", &["MESSAGE sip:bob@10.", "MESSAGE sip:carol@10."]).await;
        assert_eq!(copies.len(), 2, "{copies:#?}");
    })
    .await;
}

// Covers: SCR-005
#[tokio::test(start_paused = true)]
async fn group_message() {
    story(async || {
        let copies = arrows("group-message", &["MESSAGE sip:bob@10.", "MESSAGE sip:carol@10."]);
        assert_eq!(copies.await.len(), 2);
    })
    .await;
}

// Covers: SCR-005, MSRP-024
#[tokio::test(start_paused = true)]
async fn peer_to_peer() {
    story(async || {
        let said = arrows("peer-to-peer", &["MSRP SEND to"]).await;
        assert_eq!(
            said,
            [
                "alice->bob MSRP SEND to sip:bob@ims.test \"Hello Bob!\"",
                "bob->alice MSRP SEND to sip:alice@ims.test \"Hello Alice!\"",
            ]
        );
    })
    .await;
}

// Covers: PF-060, PF-062, PF-064
#[tokio::test(start_paused = true)]
async fn pre_established() {
    story(async || {
        let invites = arrows("pre-established", &["INVITE"]).await;
        assert!(!invites.iter().any(|arrow| arrow.starts_with("core->alice")), "{invites:#?}");
        let room = invites.iter().any(|it| it.starts_with("server->core INVITE sip:im-group-tea@"));
        assert!(room, "in her name: {invites:#?}");
    })
    .await;
}

// Covers: SCR-005
#[tokio::test(start_paused = true)]
async fn deferral() {
    story(async || {
        let messages = arrows("deferral", &["MESSAGE", "202", "REGISTER sip:ims.test"]).await;
        let texts: Vec<_> = messages.iter().map(String::as_str).collect();
        let place = |text: &str| texts.iter().position(|arrow| arrow.starts_with(text));
        let stored = place("server->core 202 Accepted (MESSAGE)").expect("stored");
        let came = place("bob->core REGISTER").expect("registered");
        let pushed = place("core->bob MESSAGE").expect("pushed");
        assert!(stored < came && came < pushed, "{texts:#?}");
    })
    .await;
}

// Covers: SCR-005
#[tokio::test(start_paused = true)]
async fn notification() {
    story(async || {
        let told = arrows("notification", &["MESSAGE sip:bob@10"]).await;
        assert_eq!(told.len(), 1, "{told:#?}");
    })
    .await;
}

// Covers: SCR-002, MSRP-048
#[tokio::test(start_paused = true)]
async fn anchored() {
    story(async || {
        let said = arrows("anchored", &["MSRP SEND to"]).await;
        assert!(said.len() >= 4, "{said:#?}");
        let by_server = |arrow: &String| arrow.split(' ').next().unwrap().contains("server");
        assert!(said.iter().all(by_server), "{said:#?}");
    })
    .await;
}

// Covers: SCR-002
#[tokio::test(start_paused = true)]
async fn one_to_one() {
    story(async || {
        let said = arrows("one-to-one", &["MSRP SEND to"]).await;
        let to: Vec<_> = said.iter().map(|arrow| arrow.split(' ').next().unwrap()).collect();
        assert_eq!(to, ["alice->server", "server->bob", "bob->server", "server->alice"]);
    })
    .await;
}

// Covers: SCR-002, SCR-005
#[tokio::test(start_paused = true)]
async fn ad_hoc_group() {
    story(async || {
        let asked = arrows("ad-hoc-group", &["INVITE", "SUBSCRIBE"]).await;
        let of = |start: &str| asked.iter().filter(|arrow| arrow.starts_with(start)).count();
        let count = ["alice->core INVITE", "core->bob INVITE", "core->carol INVITE"].map(of);
        assert_eq!(count, [1, 1, 1], "{asked:#?}");
        assert_eq!(of("alice->core SUBSCRIBE"), 1, "{asked:#?}");
    })
    .await;
}

// Covers: SCR-002, SCR-005
#[tokio::test(start_paused = true)]
async fn chat_join() {
    story(async || {
        let asked = arrows("chat-join", &["INVITE", "MSRP NICKNAME"]).await;
        assert!(asked.iter().all(|arrow| !arrow.starts_with("server->core INVITE")), "{asked:#?}");
        assert!(asked.contains(&"bob->server MSRP NICKNAME \"Bobby\"".to_owned()), "{asked:#?}");
    })
    .await;
}

// Covers: SCR-005
#[tokio::test(start_paused = true)]
async fn pre_arranged_group() {
    story(async || {
        let ended = arrows("pre-arranged-group", &["BYE"]).await;
        for ends in ["alice->core BYE", "core->bob BYE", "core->carol BYE"] {
            assert!(ended.iter().any(|arrow| arrow.starts_with(ends)), "{ended:#?}");
        }
    })
    .await;
}

// Covers: SCR-002
#[tokio::test(start_paused = true)]
async fn add_by_refer() {
    story(async || {
        let arrows = arrows("add", &["REFER", "INVITE", "NOTIFY"]).await;
        let place = |start: &str| arrows.iter().position(|arrow| arrow.starts_with(start));
        let (refer, invite) = (place("bob->core REFER"), place("core->carol INVITE"));
        let told = arrows.iter().rposition(|arrow| arrow.starts_with("core->bob NOTIFY"));
        assert!(refer.is_some() && refer < invite && invite < told, "{arrows:#?}");
        let last = &arrows[told.unwrap()];
        assert!(last.contains("[SIP/2.0 200 OK]"), "{last}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn expel_by_refer() {
    story(async || {
        let ended = arrows("expel", &["BYE"]).await;
        assert!(ended.iter().any(|arrow| arrow.starts_with("core->bob BYE")), "{ended:#?}");
        assert!(!ended.iter().any(|arrow| arrow.starts_with("core->carol BYE")), "{ended:#?}");
    })
    .await;
}

// Covers: SCR-002
#[tokio::test(start_paused = true)]
async fn leave() {
    story(async || {
        let told = arrows("leave", &["BYE", "NOTIFY"]).await;
        assert!(told.iter().any(|arrow| arrow.starts_with("core->alice NOTIFY")), "{told:#?}");
        assert!(told.iter().any(|arrow| arrow.starts_with("core->alice BYE")), "{told:#?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn names_are_known() {
    story(async || {
        let names: std::collections::BTreeSet<_> = FLOWS.iter().map(|flow| flow.name).collect();
        assert_eq!(names.len(), FLOWS.len());
        let error = play("nothing").await.unwrap_err();
        assert!(error.to_string().starts_with("there is no flow nothing"));
    })
    .await;
}
