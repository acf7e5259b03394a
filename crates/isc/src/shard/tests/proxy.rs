//! What a proxy does beside the usual: strict routers, refusals without a transaction, failures
//! after a CANCEL, further targets.

use std::cell::RefCell;
use std::rc::Rc;

use parlance_sip::ListenerId;

use super::{NextHop, named_route, own_request, target};
use super::{bench, on_local_set, passing, request, respond, start_line};

// Covers: CORE-004
#[tokio::test(start_paused = true)]
async fn a_cancelled_invite_whose_target_fails_is_terminated() {
    on_local_set(async {
        let bench = bench(true, passing);
        bench.receive(&request("INVITE", "")).await;
        let invite = bench.one();
        bench.receive(&respond(&invite, 180)).await;
        bench.receive(&request("CANCEL", "")).await;
        assert_eq!(bench.lines(), "180 X, 200 OK, CANCEL sip:bob@ims.test");
        // Nothing comes back any more.
        bench.wait(64 * 500 + 1_000).await;
        let last = bench.sent().pop().map(|(_, text)| start_line(&text));
        assert_eq!(last.as_deref(), Some("487 Request Terminated"));
    })
    .await;
}

// Covers: CORE-012
#[tokio::test(start_paused = true)]
async fn what_a_strict_router_did_is_undone() {
    on_local_set(async {
        let from_strict = |routes: &str| {
            let bye = request("BYE", "").replace("To: <sip:bob@ims.test>", "To: <sip:b@t>;tag=b");
            let ours = bye.replace("BYE sip:bob@ims.test", "BYE sip:192.0.2.20:5080;lr");
            let [before, after] = ["Route: ", "P-Served-User"].map(|name| ours.find(name).unwrap());
            format!("{}{routes}{}", &ours[..before], &ours[after..])
        };
        let table = [
            // The other side of ours comes off with it; the target is the last.
            (
                "Route: <sip:192.0.2.20:5080;transport=tcp;lr>, <sip:192.0.2.9:6060;lr;s=2>\r\n\
                 Route: <sip:bob@192.0.2.30>\r\n",
                "BYE sip:bob@192.0.2.30",
                Some("Route: <sip:192.0.2.9:6060;lr;s=2>"),
                "192.0.2.9:6060",
            ),
            ("Route: <sip:bob@192.0.2.30>\r\n", "BYE sip:bob@192.0.2.30", None, "192.0.2.30:5060"),
        ];
        for (routes, line, left, target) in table {
            let bench = bench(true, passing);
            bench.receive(&from_strict(routes)).await;
            let (to, sent) = bench.sent().remove(0);
            assert_eq!(start_line(&sent), line);
            assert_eq!(sent.lines().find(|line| line.starts_with("Route")), left, "{sent}");
            assert_eq!(to.remote.to_string(), target);
        }
    })
    .await;
}

// Covers: CORE-055
#[tokio::test(start_paused = true)]
async fn the_ack_of_a_stateless_refusal_ends_here() {
    on_local_set(async {
        let bench = bench(true, passing);
        let late = bench.cx.0.instant();
        bench.wait(2_000).await;
        bench.receive_at(&request("INVITE", ""), late).await;
        let refused = bench.one();
        assert_eq!(start_line(&refused), "503 Service Unavailable");
        bench.receive_at(&request("INVITE", ""), late).await;
        assert_eq!(bench.one(), refused, "the same to a retransmission");
        let to = refused.lines().find(|line| line.starts_with("To: ")).unwrap();
        bench.receive(&request("ACK", "").replace("To: <sip:bob@ims.test>", to)).await;
        assert_eq!(bench.lines(), "");
        // Another one is somebody else's, and goes on.
        let other = request("ACK", "").replace("To: <sip:bob@ims.test>", &format!("{to}x"));
        bench.receive(&other).await;
        assert_eq!(bench.lines(), "ACK sip:bob@ims.test");
    })
    .await;
}

/// The branch of the top `Via`.
fn branch(sent: &str) -> &str {
    let via = sent.lines().find(|line| line.starts_with("Via: ")).unwrap();
    via.split_once("branch=").unwrap().1
}

// Covers: CORE-014
#[tokio::test(start_paused = true)]
async fn each_target_gets_a_branch_of_its_own() {
    on_local_set(async {
        let bench = bench(true, passing);
        let names = ["192.0.2.1:5060", "192.0.2.2:5060", "192.0.2.3:5060"];
        *bench.wire.names.borrow_mut() = names.into_iter().map(target).collect();
        let uri = parlance_sip::uri::Uri::parse(b"sip:scscf.ims.test").unwrap();
        let hop = NextHop::of(&uri, ListenerId(0)).unwrap();
        let done: Rc<RefCell<Option<String>>> = Rc::default();
        let (cx, told) = (bench.cx.clone(), Rc::clone(&done));
        bench.cx.spawn(async move {
            let outcome = cx.send(own_request(&cx), hop, Some("z9hG4bK-00dchosen")).await;
            *told.borrow_mut() = Some(format!("{outcome:?}"));
        });
        bench.settle().await;
        // A 503, of which the transaction still waits for repetitions, and then silence.
        let (first, text) = bench.sent().remove(0);
        assert_eq!(
            (first.remote.to_string().as_str(), branch(&text)),
            (names[0], "z9hG4bK-00dchosen")
        );
        bench.receive(&respond(&text, 503)).await;
        let (second, text) = bench.sent().remove(0);
        assert_eq!(second.remote.to_string(), names[1]);
        assert_eq!(branch(&text), "z9hG4bK-00dchosen.1");
        bench.wait(32_100).await;
        let (third, text) = bench.sent().pop().unwrap();
        assert_eq!(third.remote.to_string(), names[2]);
        assert_eq!(branch(&text), "z9hG4bK-00dchosen.2");
        bench.receive(&respond(&text, 202)).await;
        let outcome = done.borrow_mut().take().unwrap();
        assert!(outcome.starts_with("Final("), "{outcome}");
    })
    .await;
}

// Covers: CORE-014
#[tokio::test(start_paused = true)]
async fn who_has_said_something_is_no_dead_target() {
    on_local_set(async {
        let bench = bench(true, passing);
        let names = ["192.0.2.1:5060", "192.0.2.2:5060"];
        *bench.wire.names.borrow_mut() = names.into_iter().map(target).collect();
        bench.receive(&named_route("")).await;
        let (_, text) = bench.sent().remove(0);
        bench.receive(&respond(&text, 100)).await;
        bench.wait(40_000).await;
        let to = bench.sent().into_iter().map(|(target, _)| target.remote.to_string());
        assert!(!to.into_iter().any(|to| to == names[1]), "it may yet serve the request");
    })
    .await;
}

// Covers: CORE-014
#[tokio::test(start_paused = true)]
async fn a_transport_we_do_not_have_is_not_replaced() {
    on_local_set(async {
        for transport in ["sctp", "tls"] {
            let bench = bench(true, passing);
            let route = format!("<sip:mark@192.0.2.9:6060;lr;transport={transport}>");
            let text = request("MESSAGE", "").replace("<sip:mark@192.0.2.9:6060;lr;s=2>", &route);
            bench.receive(&text).await;
            assert_eq!(bench.lines(), "480 Temporarily Unavailable", "{transport}");
        }
    })
    .await;
}

// Covers: CORE-004
#[tokio::test(start_paused = true)]
async fn a_cancel_of_nothing_known_goes_on_without_a_transaction() {
    on_local_set(async {
        let bench = bench(true, passing);
        let mut branches = Vec::new();
        for _ in 0..2 {
            bench.receive(&request("CANCEL", "")).await;
            let sent = bench.one();
            assert_eq!(start_line(&sent), "CANCEL sip:bob@ims.test");
            assert_eq!(bench.cx.load(), (0, 0, 0), "nothing is kept");
            branches.push(branch(&sent).to_owned());
            // RFC 6026 §7.3: what matches no transaction is not sent on.
            bench.receive(&respond(&sent, 481)).await;
        }
        assert_eq!(branches[0], branches[1], "a repetition stays one (RFC 3261 §16.11)");
        let other = request("CANCEL", "").replace("z9hG4bKa", "z9hG4bKb");
        bench.receive(&other).await;
        assert_ne!(branch(&bench.one()), branches[0]);
        bench.wait(40_000).await;
        assert_eq!(bench.lines(), "", "it is neither answered nor repeated");
    })
    .await;
}
