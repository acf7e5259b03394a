use parlance_sip::session_timer::Policy;

use super::super::{Ended, Event, Inbox, LegTerms, Lost, Progress};
use super::bench::{
    answer, bench, events, from_bob, on_local_set, only, sdp, terms, value, within,
};
use super::uac::called;
use super::uas::confirmed;

// Covers: CORE-041
#[tokio::test(start_paused = true)]
async fn a_small_interval_gets_422() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let small = "Supported: timer\r\nSession-Expires: 89\r\n";
        bench.receive(&from_bob("INVITE", small, "offer")).await;
        let invite = bench.cx.take(bench.incoming());
        let response = invite.response(200);
        let refused = invite.accept(response, sdp("answer"), terms(), &inbox.address());
        assert!(matches!(refused, Err(Lost::IntervalTooSmall)));
        let sent = bench.one();
        assert!(sent.starts_with("SIP/2.0 422"), "{sent}");
        assert_eq!(value(&sent, "Min-SE"), "90");
        let (_leg, ok) = {
            bench.receive(&from_bob("ACK", "", "").replace("bKACK1", "bKINVITE1")).await;
            let again = from_bob("INVITE", "", "offer").replace("bKINVITE1", "bK2");
            bench.receive(&again).await;
            let invite = bench.cx.take(bench.incoming());
            let response = invite.response(200);
            let leg = invite.accept(response, sdp("answer"), terms(), &inbox.address()).unwrap();
            (leg, bench.one())
        };
        bench.receive(&within(&ok, "ACK", 1, "", "")).await;
        events(&mut inbox).await;
        bench.receive(&within(&ok, "UPDATE", 2, small, "")).await;
        assert_eq!(value(&bench.one(), "Min-SE"), "90");
    })
    .await;
}

// Covers: CORE-042
#[tokio::test(start_paused = true)]
async fn the_server_refreshes_when_the_caller_cannot() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (_leg, ok) = confirmed(&bench, &mut inbox, "").await;
        assert_eq!(value(&ok, "Session-Expires"), "1800;refresher=uas");
        assert_eq!(value(&ok, "Require"), "");
        bench.wait(899_900).await;
        assert_eq!(bench.lines(), "");
        bench.wait(200).await;
        let refresh = bench.one();
        assert!(refresh.starts_with("INVITE sip:bob@192.0.2.9:7070"), "no Allow, no UPDATE");
        assert!(refresh.ends_with("\r\n\r\nanswer"), "with our description as it stands");
        assert_eq!(value(&refresh, "Session-Expires"), "1800;refresher=uac");
        bench.receive(&answer(&refresh, 200, "b", "", "offer")).await;
        assert_eq!(bench.lines(), "ACK");
        bench.wait(899_900).await;
        assert_eq!(bench.lines(), "", "half the interval from the 2xx on");
        bench.wait(200).await;
        assert_eq!(bench.lines(), "INVITE");
        assert!(events(&mut inbox).await.is_empty());
    })
    .await;
}

// Covers: CORE-041, CORE-042, CORE-043
#[tokio::test(start_paused = true)]
async fn the_caller_that_can_refreshes() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let asks = "Supported: timer\r\nSession-Expires: 600\r\n";
        let (_leg, ok) = confirmed(&bench, &mut inbox, asks).await;
        assert_eq!(value(&ok, "Session-Expires"), "600;refresher=uac");
        assert_eq!(value(&ok, "Require"), "timer");
        bench.wait(500_000).await;
        assert_eq!(bench.lines(), "");
        bench.receive(&within(&ok, "UPDATE", 2, asks, "")).await;
        let refreshed = bench.one();
        assert_eq!(value(&refreshed, "Session-Expires"), "600;refresher=uac");
        bench.wait(567_900).await;
        assert_eq!(bench.lines(), "");
        bench.wait(200).await;
        let bye = bench.one();
        assert!(bye.starts_with("BYE "), "32 s before the end: {bye}");
        let reason = "SIP;cause=408;text=\"session not refreshed\"";
        assert_eq!(value(&bye, "Reason"), reason, "PF-039");
        assert!(matches!(only(events(&mut inbox).await), Event::Ended(_, Ended::NotRefreshed)));
        bench.receive(&answer(&bye, 200, "b", "", "")).await;
        bench.is_clean();
    })
    .await;
}

// Covers: PF-039
#[tokio::test(start_paused = true)]
async fn a_short_session_ends_a_third_before_its_interval() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let asks = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
        let (_leg, _) = confirmed(&bench, &mut inbox, asks).await;
        bench.wait(59_900).await;
        assert_eq!(bench.lines(), "");
        bench.wait(200).await;
        assert_eq!(value(&bench.one(), "Reason"), "SIP;cause=408;text=\"session not refreshed\"");
    })
    .await;
}

// Covers: CORE-041, CORE-043
#[tokio::test(start_paused = true)]
async fn the_refresh_is_an_update_where_allowed_and_learns_from_422() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let extra = "Session-Expires: 200;refresher=uac\r\nAllow: INVITE, UPDATE\r\n";
        let (_leg, _, _) = called(&bench, &inbox, extra).await;
        bench.wait(100_100).await;
        let update = bench.one();
        assert!(update.starts_with("UPDATE ") && update.ends_with("\r\n\r\n"), "{update}");
        assert_eq!(value(&update, "Session-Expires"), "200;refresher=uac");
        bench.receive(&answer(&update, 422, "b", "Min-SE: 300\r\n", "")).await;
        let again = bench.one();
        assert_eq!(value(&again, "Session-Expires"), "300;refresher=uac");
        assert_eq!(value(&again, "Min-SE"), "300");
        let refresher = "Session-Expires: 300;refresher=uac\r\n";
        bench.receive(&answer(&again, 200, "b", refresher, "")).await;
        bench.wait(150_100).await;
        let update = bench.one();
        bench.receive(&answer(&update, 501, "b", "", "")).await;
        let instead = bench.one();
        assert!(instead.starts_with("INVITE ") && instead.ends_with("\r\n\r\noffer"), "{instead}");
        bench.receive(&answer(&instead, 481, "b", "", "")).await;
        assert_eq!(bench.lines(), "ACK");
        assert!(matches!(only(events(&mut inbox).await), Event::Ended(_, Ended::Gone(481))));
    })
    .await;
}

// Covers: CORE-041
#[tokio::test(start_paused = true)]
async fn an_invite_is_sent_again_after_422() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        let short = Policy { interval: 90, interval_max: 900, ..Policy::default() };
        let mut outgoing = bench.invite("offer", LegTerms { timer: short, ..terms() }, &inbox);
        let first = bench.one();
        assert_eq!(value(&first, "Session-Expires"), "90");
        bench.receive(&answer(&first, 422, "b", "Min-SE: 120\r\n", "")).await;
        let sent = bench.sent();
        let [_ack, second] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(value(second, "CSeq"), "2 INVITE");
        assert_eq!(value(second, "Call-ID"), value(&first, "Call-ID"));
        assert_eq!(value(second, "From"), value(&first, "From"));
        assert_eq!(value(second, "Session-Expires"), "120");
        assert_eq!(value(second, "Min-SE"), "120");
        bench.receive(&answer(second, 422, "b", "Min-SE: 901\r\n", "")).await;
        assert_eq!(bench.lines(), "ACK", "more than we grant");
        let failed = outgoing.next().await;
        assert!(matches!(failed, Progress::Failed(response) if response.status() == 422));
    })
    .await;
}
