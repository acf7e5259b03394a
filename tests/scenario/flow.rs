//! The flows that `parlance-lab flow` draws, played and drawn.

use parlance_lab::flow::{FLOWS, play};

use crate::story;

/// Plays a flow and draws it; `from->to label`, as far as `labels` begin so.
async fn arrows(name: &str, labels: &[&str]) -> Vec<String> {
    let ladder = play(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let drawn = ladder.to_string();
    assert!(drawn.lines().count() > 5, "{drawn}");
    let wanted = |label: &str| labels.iter().any(|wanted| label.starts_with(wanted));
    let arrows = ladder.arrows().filter(|arrow| wanted(&arrow.label));
    arrows.map(|arrow| format!("{}->{} {}", arrow.from, arrow.to, arrow.label)).collect()
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
