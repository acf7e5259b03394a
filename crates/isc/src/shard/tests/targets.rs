//! Which target a request goes to (RFC 3261 §16.4, §18.1.1; RFC 3263 §4).

use super::*;

// Covers: CORE-014
#[tokio::test(start_paused = true)]
async fn the_next_target_is_tried_after_503_and_after_silence() {
    on_local_set(async {
        let bench = bench(true, passing);
        let names = ["192.0.2.1:5060", "192.0.2.2:5060", "192.0.2.3:5060"];
        *bench.wire.names.borrow_mut() = names.into_iter().map(target).collect();
        bench.receive(&named_route("")).await;
        let (first, text) = bench.sent().remove(0);
        assert_eq!(first.remote.to_string(), "192.0.2.1:5060");
        bench.receive(&respond(&text, 503)).await;
        let (second, _) = bench.sent().remove(0);
        assert_eq!(second.remote.to_string(), "192.0.2.2:5060");
        bench.wait(32_100).await;
        let (third, text) = bench.sent().pop().unwrap();
        assert_eq!(third.remote.to_string(), "192.0.2.3:5060");
        bench.receive(&respond(&text, 486)).await;
        assert_eq!(bench.lines(), "486 X", "the last one's answer is passed on");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_ack_that_cannot_be_sent_does_not_disturb_the_next_target() {
    on_local_set(async {
        let bench = bench(true, passing);
        let first = Target { transport: Transport::Tcp, ..target("192.0.2.1:5060") };
        let targets = [first, target("192.0.2.2:5060"), target("192.0.2.3:5060")];
        *bench.wire.names.borrow_mut() = targets.into_iter().collect();
        bench.receive(&named_route("").replace("MESSAGE", "INVITE")).await;
        let invite = bench.one();
        bench.wire.refuses.borrow_mut().push(Transport::Tcp);
        bench.receive(&respond(&invite, 503)).await;
        let sent = bench.sent();
        let to: Vec<_> = sent.iter().map(|(target, _)| target.remote.to_string()).collect();
        assert_eq!(to, ["192.0.2.2:5060"]);
    })
    .await;
}

// Covers: CORE-015
#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_udp_goes_over_tcp_first() {
    on_local_set(async {
        let bench = bench(true, passing);
        let large = format!("Subject: {}\r\n", "x".repeat(1_000));
        bench.receive(&request("MESSAGE", &large)).await;
        let (sent, text) = bench.sent().remove(0);
        assert_eq!(sent.transport, Transport::Tcp);
        assert!(text.contains("Via: SIP/2.0/TCP 192.0.2.20:5080;"), "{text}");
        bench.wire.refuses.borrow_mut().push(Transport::Tcp);
        let again = request("MESSAGE", &large).replace("bKa", "bKb");
        bench.receive(&again).await;
        let (sent, _) = bench.sent().remove(0);
        assert_eq!(sent.transport, Transport::Udp, "RFC 3261 §18.1.1: refused, so UDP after all");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_maddr_that_leads_here_is_as_if_it_were_not_there() {
    on_local_set(async {
        #[rustfmt::skip]
        let table = [
            ("bob@ims.test:5080;maddr=192.0.2.20",               "bob@ims.test"),
            ("bob@ims.test:5080;x;maddr=192.0.2.20;transport=udp", "bob@ims.test;x"),
            // Another port or transport than it came by, or another host: it goes there.
            ("bob@ims.test;maddr=192.0.2.20",                    "bob@ims.test;maddr=192.0.2.20"),
            ("bob@ims.test:5080;maddr=192.0.2.20;transport=tcp",
                "bob@ims.test:5080;maddr=192.0.2.20;transport=tcp"),
            ("bob@ims.test:5080;maddr=192.0.2.21",    "bob@ims.test:5080;maddr=192.0.2.21"),
        ];
        for (came, goes) in table {
            let bench = bench(true, passing);
            bench
                .receive(
                    &request("MESSAGE", "").replace("bob@ims.test SIP", &format!("{came} SIP")),
                )
                .await;
            assert_eq!(bench.lines(), format!("MESSAGE sip:{goes}"), "{came}");
        }
    })
    .await;
}
