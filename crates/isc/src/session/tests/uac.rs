use super::super::{Body, Ended, Event, Inbox, Leg, Outgoing, Progress, Reason};
use super::bench::{Bench, answer, bench, events, on_local_set, only, sdp, terms, value, within};

async fn next(outgoing: &mut Outgoing) -> Option<Progress> {
    tokio::time::timeout(std::time::Duration::ZERO, outgoing.next()).await.ok()
}

/// Calls Bob, who accepts: the leg, the INVITE and its ACK.
pub(super) async fn called(bench: &Bench, inbox: &Inbox, extra: &str) -> (Leg, String, String) {
    let mut outgoing = bench.invite("offer", terms(), inbox);
    let invite = bench.one();
    bench.receive(&answer(&invite, 200, "b", extra, "answer")).await;
    let Some(Progress::Answered(leg, _)) = next(&mut outgoing).await else { panic!() };
    (leg, invite, bench.one())
}

// Covers: CORE-008, CORE-016
#[tokio::test(start_paused = true)]
async fn an_answered_invite_is_acknowledged_and_makes_a_leg() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let mut outgoing = bench.invite("offer", terms(), &inbox);
        let invite = bench.one();
        assert_eq!(value(&invite, "Session-Expires"), "1800");
        assert_eq!(value(&invite, "Supported"), "100rel, timer, norefersub");
        assert_eq!(value(&invite, "Contact"), "<sip:im@192.0.2.20:5080>;isfocus");
        assert_eq!(value(&invite, "User-Agent"), "IM-serv/OMA1.0");
        bench.receive(&answer(&invite, 100, "", "", "")).await;
        bench.receive(&answer(&invite, 180, "b", "", "")).await;
        assert!(matches!(next(&mut outgoing).await, Some(Progress::Provisional(_))));
        assert!(next(&mut outgoing).await.is_none(), "a 100 is not told");
        let route = "Record-Route: <sip:192.0.2.9:6060;lr>\r\n";
        let ok = answer(&invite, 200, "b", route, "answer");
        bench.receive(&ok).await;
        let Some(Progress::Answered(leg, response)) = next(&mut outgoing).await else { panic!() };
        assert_eq!(response.body(), b"answer");
        let ack = bench.one();
        assert!(ack.starts_with("ACK sip:bob-b@192.0.2.9:7070 SIP/2.0"), "{ack}");
        assert_eq!(value(&ack, "CSeq"), "1 ACK");
        assert_eq!(value(&ack, "Route"), "<sip:192.0.2.9:6060;lr>");
        assert_eq!(value(&ack, "User-Agent"), "IM-serv/OMA1.0");
        bench.receive(&ok).await;
        let again = bench.one();
        let cseq_and_to =
            |text: &str| (value(text, "CSeq").to_owned(), value(text, "To").to_owned());
        assert_eq!(cseq_and_to(&again), cseq_and_to(&ack), "each 2xx gets its ACK");
        bench.receive(&within(&invite, "BYE", 7, "", "")).await;
        assert_eq!(bench.lines(), "200");
        assert!(matches!(only(events(&mut inbox).await), Event::Ended(_, Ended::Bye(_))));
        drop((leg, outgoing));
        bench.is_clean();
    })
    .await;
}

// Covers: PF-036, CORE-004, CLI-041
#[tokio::test(start_paused = true)]
async fn cancel_waits_for_a_provisional_response() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        let mut outgoing = bench.invite("offer", terms(), &inbox);
        let invite = bench.one();
        outgoing.cancel(Some(Reason::sip(200, "elsewhere")));
        outgoing.cancel(None);
        bench.settle().await;
        assert_eq!(bench.lines(), "");
        bench.receive(&answer(&invite, 180, "b", "", "")).await;
        let cancel = bench.one();
        assert_eq!(value(&cancel, "Reason"), "SIP;cause=200;text=\"elsewhere\"");
        assert_eq!(value(&cancel, "CSeq"), "1 CANCEL");
        bench.receive(&answer(&invite, 487, "b", "", "")).await;
        assert_eq!(bench.lines(), "ACK");
        let Some(Progress::Failed(response)) = next(&mut outgoing).await else { panic!() };
        assert_eq!(response.status(), 487);
    })
    .await;
}

// Covers: PF-036
#[tokio::test(start_paused = true)]
async fn a_2xx_that_crosses_the_cancel_gets_ack_then_bye() {
    on_local_set(async {
        for dropped in [false, true] {
            let bench = bench();
            let inbox = Inbox::new(&bench.cx);
            let mut outgoing = Some(bench.invite("offer", terms(), &inbox));
            let invite = bench.one();
            bench.receive(&answer(&invite, 180, "b", "", "")).await;
            match dropped {
                true => outgoing = None,
                false => outgoing.as_mut().unwrap().cancel(None),
            }
            bench.settle().await;
            assert_eq!(bench.lines(), "CANCEL");
            let ok = answer(&invite, 200, "b", "", "answer");
            bench.receive(&ok).await;
            assert_eq!(bench.lines(), "ACK BYE");
            bench.receive(&ok).await;
            assert_eq!(bench.lines(), "ACK", "a repeated 2xx: one BYE is enough");
            if let Some(outgoing) = &mut outgoing {
                assert!(matches!(next(outgoing).await, Some(Progress::Provisional(_))));
                assert!(matches!(next(outgoing).await, Some(Progress::NoAnswer)));
            }
            bench.is_clean();
        }
    })
    .await;
}

// Covers: PF-036
#[tokio::test(start_paused = true)]
async fn late_2xx_of_other_forks_are_ended() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        let (leg, invite, _) = called(&bench, &inbox, "").await;
        let late = answer(&invite, 200, "c", "", "answer");
        bench.receive(&late).await;
        let sent = bench.sent();
        let [ack, bye] = &sent[..] else { panic!("{sent:?}") };
        for (request, cseq) in [(ack, "1 ACK"), (bye, "2 BYE")] {
            assert!(request.contains(" sip:bob-c@192.0.2.9:7070 SIP/2.0"), "{request}");
            assert!(value(request, "To").ends_with(";tag=c"), "{request}");
            assert_eq!(value(request, "CSeq"), cseq);
        }
        bench.receive(&late).await;
        assert_eq!(bench.lines(), "ACK");
        assert!(!leg.is_over());
        for fork in 0..20 {
            bench.receive(&answer(&invite, 200, &format!("f{fork}"), "", "answer")).await;
        }
        assert_eq!(bench.sent().len(), 2 * 14, "no more than the limit of forks");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_answer_is_ended() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        let outgoing = bench.invite("offer", terms(), &inbox);
        let invite = bench.one();
        bench.receive(&answer(&invite, 200, "b", "", "answer")).await;
        assert_eq!(bench.lines(), "ACK");
        drop(outgoing);
        bench.settle().await;
        let bye = bench.one();
        bench.receive(&answer(&bye, 200, "b", "", "")).await;
        bench.is_clean();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn failures_and_silence_are_told() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        let mut outgoing = bench.invite("offer", terms(), &inbox);
        let invite = bench.one();
        bench.receive(&answer(&invite, 486, "b", "", "")).await;
        assert_eq!(bench.lines(), "ACK");
        let Some(Progress::Failed(response)) = next(&mut outgoing).await else { panic!() };
        assert_eq!(response.status(), 486);
        let mut outgoing = bench.invite("offer", terms(), &inbox);
        bench.wait(32_100).await;
        assert!(matches!(next(&mut outgoing).await, Some(Progress::NoAnswer)), "Timer B");
    })
    .await;
}

// Covers: CORE-044
#[tokio::test(start_paused = true)]
async fn reliable_responses_get_prack_in_order_and_once() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        let mut outgoing = bench.invite("offer", terms(), &inbox);
        let invite = bench.one();
        let reliable = |rseq: u32| {
            let extra = format!("Require: 100rel\r\nRSeq: {rseq}\r\n");
            answer(&invite, 183, "b", &extra, "early")
        };
        bench.receive(&reliable(5)).await;
        let prack = bench.one();
        assert!(prack.starts_with("PRACK sip:bob-b@192.0.2.9:7070"), "{prack}");
        assert_eq!((value(&prack, "RAck"), value(&prack, "CSeq")), ("5 1 INVITE", "2 PRACK"));
        bench.receive(&answer(&prack, 200, "b", "", "")).await;
        bench.receive(&reliable(5)).await;
        bench.receive(&reliable(7)).await;
        assert_eq!(bench.lines(), "", "repeated, and out of order");
        bench.receive(&reliable(6)).await;
        assert_eq!(value(&bench.one(), "RAck"), "6 1 INVITE");
        for _ in 0..2 {
            assert!(matches!(next(&mut outgoing).await, Some(Progress::Provisional(_))));
        }
        assert!(next(&mut outgoing).await.is_none());
        bench.receive(&answer(&invite, 200, "b", "", "answer")).await;
        let Some(Progress::Answered(leg, _)) = next(&mut outgoing).await else { panic!() };
        assert_eq!(value(&bench.one(), "CSeq"), "1 ACK");
        leg.end(None);
        bench.settle().await;
        assert_eq!(value(&bench.one(), "CSeq"), "4 BYE", "one dialog from the first response on");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_invite_without_an_offer_is_acknowledged_by_the_role() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        let mut outgoing = bench.invite("", terms(), &inbox);
        let invite = bench.one();
        let ok = answer(&invite, 200, "b", "", "offer");
        bench.receive(&ok).await;
        let Some(Progress::Answered(leg, _)) = next(&mut outgoing).await else { panic!() };
        bench.receive(&ok).await;
        assert_eq!(bench.lines(), "");
        leg.acknowledge(sdp("answer"));
        let ack = bench.one();
        assert!(ack.ends_with("\r\n\r\nanswer"), "{ack}");
        leg.acknowledge(sdp("another"));
        assert_eq!(bench.lines(), "");
        bench.receive(&ok).await;
        assert!(bench.one().ends_with("\r\n\r\nanswer"));

        let mut outgoing = bench.invite("", terms(), &inbox);
        let invite = bench.one();
        bench.receive(&answer(&invite, 200, "b", "", "offer")).await;
        let Some(Progress::Answered(other, _)) = next(&mut outgoing).await else { panic!() };
        other.end(None);
        bench.settle().await;
        assert_eq!(bench.lines(), "ACK BYE", "a 2xx is always acknowledged");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_in_the_dialog_and_their_answers() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        for (status, gone) in [(200, false), (404, false), (481, true), (408, true)] {
            let (leg, _, _) = called(&bench, &inbox, "").await;
            let asking =
                async { leg.request(parlance_sip::Method::Info, &[], &Body::none()).await };
            let answering = async {
                bench.settle().await;
                let info = bench.one();
                assert_eq!(value(&info, "CSeq"), "2 INFO");
                bench.receive(&answer(&info, status, "b", "", "")).await;
            };
            let (outcome, ()) = tokio::join!(asking, answering);
            assert!(matches!(outcome, crate::Outcome::Final(got) if got.status() == status));
            assert_eq!(leg.is_over(), gone, "{status}");
            match only_if(events(&mut inbox).await) {
                Some(Event::Ended(_, Ended::Gone(told))) => {
                    assert_eq!((told, gone), (status, true))
                }
                None => assert!(!gone),
                Some(other) => panic!("{other:?}"),
            }
            let bye = if status == 408 { "BYE" } else { "" };
            assert_eq!(bench.lines(), bye, "RFC 3261 §12.2.1.2");
            drop(leg);
            bench.settle().await;
            bench.sent();
        }
    })
    .await;
}

fn only_if(events: Vec<Event>) -> Option<Event> {
    if events.is_empty() { None } else { Some(only(events)) }
}
