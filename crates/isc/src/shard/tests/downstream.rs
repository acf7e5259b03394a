//! What goes back of the final responses to a request that is passed through.

use super::{Bench, Downstream, bench, on_local_set, pass, request, respond};

/// Passes a request with this answer from downstream, and tells what went back for it.
async fn answered(bench: &Bench, text: &str, status: u16) -> Vec<String> {
    // Each is a transaction of its own.
    bench.receive(&text.replace("bKa", &format!("bK{}", bench.cx.tag()))).await;
    let passed = bench.one();
    let response = respond(&passed, status).replace(";tag=b;tag=b", ";tag=b");
    bench.receive(&response).await;
    let sent = bench.sent().into_iter().map(|(_, text)| text);
    sent.filter(|text| text.starts_with("SIP/2.0")).collect()
}

fn in_dialog(text: &str) -> String {
    text.replace("To: <sip:bob@ims.test>", "To: <sip:bob@ims.test>;tag=b")
}

fn passing(relay_5xx: bool) -> Bench {
    bench(true, move |cx, incoming| {
        Box::pin(pass(cx, incoming, Downstream { relay_5xx, ..Downstream::default() }))
    })
}

// Covers: CORE-061, CORE-063
#[tokio::test(start_paused = true)]
async fn an_initial_request_gets_no_failure_that_bypasses_us() {
    on_local_set(async {
        for method in ["MESSAGE", "INVITE", "OPTIONS"] {
            let bench = passing(false);
            for status in [408, 500, 503, 504] {
                let sent = answered(&bench, &request(method, ""), status).await;
                let [answer] = &sent[..] else { panic!("{method} {status}: {sent:?}") };
                assert!(answer.starts_with("SIP/2.0 480 "), "{answer}");
                let warning = format!("399 im.invalid \"Downstream answered {status}\"");
                assert!(answer.contains(&format!("\r\nWarning: {warning}\r\n")), "{answer}");
            }
            for status in [200, 302, 404, 486, 603] {
                let sent = answered(&bench, &request(method, ""), status).await;
                assert!(sent.iter().all(|text| !text.contains("Warning")), "{sent:?}");
                assert!(sent[0].starts_with(&format!("SIP/2.0 {status} X")), "{sent:?}");
            }
            let bench = passing(true);
            for (status, goes_back) in [(408, "480 T"), (503, "503 X")] {
                let sent = answered(&bench, &request(method, ""), status).await;
                assert!(sent[0].starts_with(&format!("SIP/2.0 {goes_back}")), "{sent:?}");
            }
        }
    })
    .await;
}

// RFC 4320 §4.2.
// Covers: CORE-061
#[tokio::test(start_paused = true)]
async fn a_failure_in_a_dialog_goes_back_but_a_408_to_an_invite_only() {
    on_local_set(async {
        for method in ["MESSAGE", "BYE", "INVITE"] {
            let bench = passing(false);
            for status in [481, 500, 503] {
                let sent = answered(&bench, &in_dialog(&request(method, "")), status).await;
                assert!(sent[0].starts_with(&format!("SIP/2.0 {status} X")), "{sent:?}");
            }
            let sent = answered(&bench, &in_dialog(&request(method, "")), 408).await;
            match method {
                "INVITE" => assert!(sent[0].starts_with("SIP/2.0 408 X"), "{sent:?}"),
                _ => assert!(sent.is_empty(), "{sent:?}"),
            }
            bench.wait(40_000).await;
            assert!(!bench.lines().contains("Trying"), "nothing is under way any more");
        }
    })
    .await;
}
