use super::super::{Body, Ended, Event, Inbox, Leg, Lost, Reason, SessionLimits};
use super::bench::{
    Bench, answer, bench, bench_with, cancel, events, from_bob, on_local_set, only, sdp, terms,
    value, within,
};

/// Accepts Bob's INVITE; the leg and our 2xx.
pub(super) async fn accepted(bench: &Bench, inbox: &Inbox, extra: &str) -> (Leg, String) {
    bench.receive(&from_bob("INVITE", extra, "offer")).await;
    let invite = bench.cx.take(bench.incoming());
    let response = invite.response(200);
    let leg = invite.accept(response, sdp("answer"), terms(), &inbox.address()).unwrap();
    (leg, bench.one())
}

/// [`accepted`], with the ACK.
pub(super) async fn confirmed(bench: &Bench, inbox: &mut Inbox, extra: &str) -> (Leg, String) {
    let (leg, ok) = accepted(bench, inbox, extra).await;
    bench.receive(&within(&ok, "ACK", 1, "", "")).await;
    assert!(matches!(only(events(inbox).await), Event::Confirmed(_)));
    (leg, ok)
}

// Covers: CORE-007, CORE-008
#[tokio::test(start_paused = true)]
async fn a_2xx_is_repeated_until_its_ack() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (leg, ok) = accepted(&bench, &inbox, "").await;
        assert!(ok.starts_with("SIP/2.0 200 OK"), "{ok}");
        assert_eq!(value(&ok, "Record-Route"), "<sip:192.0.2.9:6060;lr>");
        assert_eq!(value(&ok, "Contact"), "<sip:im@192.0.2.20:5080>;isfocus");
        assert_eq!(value(&ok, "Server"), "IM-serv/OMA1.0");
        assert!(ok.ends_with("\r\n\r\nanswer"), "{ok}");
        bench.wait(3_600).await;
        assert_eq!(bench.sent(), [ok.as_str(); 3], "after 0.5, 1.5 and 3.5 s");
        assert!(events(&mut inbox).await.is_empty());
        bench.receive(&within(&ok, "ACK", 1, "", "")).await;
        let confirmed = only(events(&mut inbox).await);
        assert!(matches!(confirmed, Event::Confirmed(id) if id == leg.id()));
        bench.wait(40_000).await;
        assert_eq!(bench.lines(), "", "it is not repeated any more");
        bench.receive(&within(&ok, "INFO", 3, "", "")).await;
        let Event::Request(_, info) = only(events(&mut inbox).await) else { panic!() };
        let response = info.response(200);
        info.answer(response);
        assert_eq!(bench.lines(), "200");
        bench.receive(&within(&ok, "INFO", 2, "", "")).await;
        assert_eq!(bench.lines(), "500", "a lower number");
        let stranger = within(&ok, "INFO", 4, "", "").replace("tag=b\r", "tag=c\r");
        bench.receive(&stranger).await;
        bench.incoming();
        bench.receive(&within(&ok, "BYE", 5, "Reason: SIP;cause=200\r\n", "")).await;
        let ended = only(events(&mut inbox).await);
        let Event::Ended(_, Ended::Bye(bye)) = ended else { panic!("{ended:?}") };
        assert_eq!(Reason::of(&bye).unwrap().to_string(), "SIP;cause=200");
        assert!(leg.is_over());
        drop(leg);
        assert_eq!(bench.lines(), "480 200", "the stranger was dropped");
        bench.is_clean();
    })
    .await;
}

// Covers: CORE-007
#[tokio::test(start_paused = true)]
async fn without_an_ack_the_session_ends_with_bye() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (_leg, _) = accepted(&bench, &inbox, "").await;
        bench.wait(31_900).await;
        assert!(!bench.lines().contains("BYE"));
        bench.wait(200).await;
        let bye = bench.one();
        assert!(bye.starts_with("BYE sip:bob@192.0.2.9:7070 SIP/2.0"), "{bye}");
        assert_eq!(value(&bye, "Route"), "<sip:192.0.2.9:6060;lr>");
        assert_eq!(value(&bye, "User-Agent"), "IM-serv/OMA1.0");
        assert!(matches!(only(events(&mut inbox).await), Event::Ended(_, Ended::NoAck)));
        bench.receive(&answer(&bye, 200, "b", "", "")).await;
        bench.is_clean();
    })
    .await;
}

// Covers: PF-036, CORE-004, CLI-024, CLI-041
#[tokio::test(start_paused = true)]
async fn cancel_gets_200_and_the_invite_487() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        bench.receive(&from_bob("INVITE", "", "offer")).await;
        let invite = bench.cx.take(bench.incoming());
        invite.progress(invite.response(180), &Body::none(), &terms());
        let ringing = bench.one();
        assert!(value(&ringing, "To").contains(";tag=s00"), "{ringing}");
        bench.receive(&cancel().replace("Max-", "Reason: SIP;cause=200\r\nMax-")).await;
        assert_eq!(bench.lines(), "200 487");
        let Lost::Cancelled(request) = invite.cancelled().await else { panic!() };
        assert_eq!(Reason::of(&request).unwrap().to_string(), "SIP;cause=200");
        let response = invite.response(200);
        let late = invite.accept(response, sdp("answer"), terms(), &inbox.address());
        assert!(matches!(late, Err(Lost::Cancelled(_))));
        assert_eq!(bench.lines(), "", "a 2xx that comes too late is not sent");
        bench.is_clean();
    })
    .await;
}

// Covers: PF-036, CLI-024
#[tokio::test(start_paused = true)]
async fn cancel_that_comes_before_the_role_or_after_the_2xx() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        bench.receive(&from_bob("INVITE", "", "offer")).await;
        bench.receive(&cancel()).await;
        assert_eq!(bench.lines(), "200");
        let invite = bench.cx.take(bench.incoming());
        assert_eq!(bench.lines(), "487", "at once when it is taken");
        drop(invite);
        assert_eq!(bench.lines(), "");

        let again = |text: String| text.replace("bKINVITE1", "bKother").replace("theirs", "x");
        bench.receive(&again(from_bob("INVITE", "", "offer"))).await;
        let invite = bench.cx.take(bench.incoming());
        let response = invite.response(200);
        let leg = invite.accept(response, sdp("answer"), terms(), &inbox.address()).unwrap();
        let ok = bench.one();
        bench.receive(&again(cancel())).await;
        assert_eq!(bench.lines(), "200", "the session stands; BYE would end it");
        bench.receive(&within(&ok, "ACK", 1, "", "")).await;
        assert!(matches!(only(events(&mut inbox).await), Event::Confirmed(_)));
        assert!(!leg.is_over());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_invite_gets_480_and_a_refused_one_its_answer() {
    on_local_set(async {
        let bench = bench();
        bench.receive(&from_bob("INVITE", "", "offer")).await;
        drop(bench.cx.take(bench.incoming()));
        assert_eq!(bench.lines(), "480");
        let again = from_bob("INVITE", "", "offer").replace("bKINVITE1", "bK2");
        bench.receive(&again).await;
        let invite = bench.cx.take(bench.incoming());
        invite.progress(invite.response(183), &Body::none(), &terms());
        let early = value(&bench.one(), "To").to_owned();
        let response = invite.response(486);
        invite.refuse(response);
        let busy = bench.one();
        assert_eq!(value(&busy, "To"), early, "one tag in all responses");
        bench.is_clean();
    })
    .await;
}

// Covers: CORE-044
#[tokio::test(start_paused = true)]
async fn a_required_reliable_response_holds_the_2xx_until_its_prack() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        bench.receive(&from_bob("INVITE", "Require: 100rel\r\n", "offer")).await;
        let invite = bench.cx.take(bench.incoming());
        invite.progress(invite.response(183), &sdp("early"), &terms());
        let early = bench.one();
        assert_eq!(value(&early, "Require"), "100rel");
        let rseq: u32 = value(&early, "RSeq").parse().unwrap();
        bench.wait(600).await;
        assert_eq!(bench.one(), early, "it is repeated");
        let response = invite.response(200);
        let leg = invite.accept(response, Body::none(), terms(), &inbox.address()).unwrap();
        assert_eq!(bench.lines(), "", "the 2xx waits");
        let prack = |cseq, rack| within(&early, "PRACK", cseq, &format!("RAck: {rack}\r\n"), "");
        bench.receive(&prack(2, format!("{} 1 INVITE", rseq + 1))).await;
        bench.receive(&prack(3, format!("{rseq} 7 INVITE"))).await;
        assert_eq!(bench.lines(), "481 481");
        bench.receive(&prack(4, format!("{rseq} 1 INVITE"))).await;
        assert_eq!(bench.lines(), "200 200", "for PRACK and INVITE");
        bench.receive(&within(&early, "ACK", 1, "", "")).await;
        assert!(matches!(only(events(&mut inbox).await), Event::Confirmed(_)));
        drop(leg);
        bench.settle().await;
        assert_eq!(bench.lines(), "BYE");
    })
    .await;
}

// Covers: CORE-044
#[tokio::test(start_paused = true)]
async fn without_a_prack_the_invite_gets_504() {
    on_local_set(async {
        let bench = bench();
        bench.receive(&from_bob("INVITE", "Require: 100rel\r\n", "offer")).await;
        let invite = bench.cx.take(bench.incoming());
        invite.progress(invite.response(180), &Body::none(), &terms());
        bench.sent();
        bench.wait(31_900).await;
        assert!(!bench.lines().contains("504"));
        bench.wait(200).await;
        assert_eq!(bench.lines(), "504");
        assert!(matches!(invite.cancelled().await, Lost::NotAcknowledged));
        bench.is_clean();
    })
    .await;
}

// Covers: CORE-044
#[tokio::test(start_paused = true)]
async fn a_held_2xx_without_a_prack_is_none() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        bench.receive(&from_bob("INVITE", "Require: 100rel\r\n", "offer")).await;
        let invite = bench.cx.take(bench.incoming());
        invite.progress(invite.response(183), &sdp("early"), &terms());
        let early = bench.one();
        bench.receive(&within(&early, "UPDATE", 2, "Supported: timer\r\n", "")).await;
        assert_eq!(bench.lines(), "200");
        let response = invite.response(200);
        let leg = invite.accept(response, Body::none(), terms(), &inbox.address()).unwrap();
        bench.wait(32_100).await;
        assert!(bench.lines().ends_with(" 504"), "and no 200");
        assert!(matches!(only(events(&mut inbox).await), Event::Ended(_, Ended::NoAck)));
        drop(leg);
        bench.settle().await;
        assert_eq!(bench.lines(), "", "what was never confirmed gets no BYE");
        bench.is_clean();
    })
    .await;
}

// Covers: CORE-041
#[tokio::test(start_paused = true)]
async fn a_session_has_no_timer_before_it_is_answered() {
    on_local_set(async {
        let bench = bench();
        bench.receive(&from_bob("INVITE", "Require: 100rel\r\n", "offer")).await;
        let invite = bench.cx.take(bench.incoming());
        invite.progress(invite.response(180), &Body::none(), &terms());
        let early = bench.one();
        let rack = format!("RAck: {} 1 INVITE\r\n", value(&early, "RSeq"));
        bench.receive(&within(&early, "PRACK", 2, &rack, "")).await;
        let short = "Supported: timer\r\nSession-Expires: 90\r\n";
        bench.receive(&within(&early, "UPDATE", 3, short, "")).await;
        assert_eq!(bench.lines(), "200 200");
        bench.wait(100_000).await;
        assert_eq!(bench.lines(), "");
        drop(invite);
        assert_eq!(bench.lines(), "480");
        bench.is_clean();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bye_in_the_early_dialog_ends_the_invite() {
    on_local_set(async {
        let bench = bench();
        bench.receive(&from_bob("INVITE", "Require: 100rel\r\n", "offer")).await;
        let invite = bench.cx.take(bench.incoming());
        invite.progress(invite.response(180), &Body::none(), &terms());
        let early = bench.one();
        bench.receive(&within(&early, "BYE", 2, "", "")).await;
        assert_eq!(bench.lines(), "200 487");
        assert!(matches!(invite.cancelled().await, Lost::Cancelled(_)));
        bench.is_clean();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn our_bye_waits_for_the_ack() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (leg, ok) = accepted(&bench, &inbox, "").await;
        leg.end(Some(Reason::sip(200, "done")));
        bench.settle().await;
        assert_eq!(bench.lines(), "");
        bench.receive(&within(&ok, "INVITE", 2, "", "offer")).await;
        assert_eq!(bench.lines(), "481", "nothing new is begun");
        bench.receive(&within(&ok, "ACK", 1, "", "")).await;
        let bye = bench.one();
        assert_eq!(value(&bye, "Reason"), "SIP;cause=200;text=\"done\"");
        assert!(events(&mut inbox).await.is_empty(), "the role knows that it ended it");
        bench.receive(&within(&ok, "BYE", 3, "", "")).await;
        assert_eq!(bench.lines(), "200", "BYEs that cross");
        bench.receive(&answer(&bye, 200, "b", "", "")).await;
        bench.is_clean();
    })
    .await;
}

// Covers: CORE-009
#[tokio::test(start_paused = true)]
async fn what_a_leg_does_not_allow_is_refused() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (_leg, ok) = confirmed(&bench, &mut inbox, "").await;
        bench.receive(&within(&ok, "MESSAGE", 2, "", "")).await;
        let refused = bench.one();
        assert!(refused.starts_with("SIP/2.0 405"), "{refused}");
        assert!(value(&refused, "Allow").starts_with("INVITE, ACK"));
        bench.receive(&within(&ok, "WINK", 3, "", "")).await;
        assert_eq!(bench.lines(), "501");
        bench.receive(&within(&ok, "INVITE", 4, "Require: odd, timer\r\n", "offer")).await;
        let refused = bench.one();
        assert!(refused.starts_with("SIP/2.0 420"), "{refused}");
        assert_eq!(value(&refused, "Unsupported"), "odd");
        assert!(events(&mut inbox).await.is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_answers_and_the_end_still_comes() {
    on_local_set(async {
        let bench = bench_with(SessionLimits { events_max: 2, ..SessionLimits::default() });
        let mut inbox = Inbox::new(&bench.cx);
        let (leg, ok) = confirmed(&bench, &mut inbox, "").await;
        for cseq in 2..5 {
            bench.receive(&within(&ok, "INFO", cseq, "", "")).await;
        }
        let refused = bench.one();
        assert!(refused.starts_with("SIP/2.0 500"), "{refused}");
        assert_eq!(value(&refused, "Retry-After"), "5");
        bench.receive(&within(&ok, "INVITE", 5, "", "offer")).await;
        assert_eq!(bench.lines(), "500");
        bench.receive(&within(&ok, "BYE", 6, "", "")).await;
        assert_eq!(bench.lines(), "200");
        let all = events(&mut inbox).await;
        assert!(matches!(
            &all[..],
            [Event::Request(..), Event::Request(..), Event::Ended(_, Ended::Bye(_))]
        ));
        drop((all, leg));
        assert_eq!(bench.lines(), "480 480");
        drop(inbox);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_dialogs_than_the_limit() {
    on_local_set(async {
        let bench = bench_with(SessionLimits { dialogs_max: 1, ..SessionLimits::default() });
        let mut inbox = Inbox::new(&bench.cx);
        let (leg, _) = confirmed(&bench, &mut inbox, "").await;
        let second = from_bob("INVITE", "", "offer").replace("bKINVITE1", "bK2");
        bench.receive(&second.replace("theirs", "second")).await;
        let invite = bench.cx.take(bench.incoming());
        let response = invite.response(200);
        let full = invite.accept(response, sdp("answer"), terms(), &inbox.address());
        assert!(matches!(full, Err(Lost::Busy)));
        let refused = bench.one();
        assert!(refused.starts_with("SIP/2.0 480"), "{refused}");
        assert_eq!(value(&refused, "Retry-After"), "5");
        drop(leg);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_invite_without_contact_makes_no_dialog() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        let text = from_bob("INVITE", "", "offer");
        let without = text.replace("Contact: <sip:bob@192.0.2.9:7070>\r\n", "");
        bench.receive(&without).await;
        let invite = bench.cx.take(bench.incoming());
        let response = invite.response(200);
        let refused = invite.accept(response, sdp("answer"), terms(), &inbox.address());
        assert!(matches!(refused, Err(Lost::Malformed)));
        assert_eq!(bench.lines(), "400");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_our_offer_comes_in_the_ack() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        bench.receive(&from_bob("INVITE", "", "")).await;
        let invite = bench.cx.take(bench.incoming());
        let response = invite.response(200);
        let leg = invite.accept(response, sdp("offer"), terms(), &inbox.address()).unwrap();
        let ok = bench.one();
        bench.receive(&within(&ok, "ACK", 1, "", "answer")).await;
        let all = events(&mut inbox).await;
        let [Event::Answer(_, answer), Event::Confirmed(_)] = &all[..] else { panic!("{all:?}") };
        assert_eq!(&answer[..], b"answer");
        drop(leg);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_session_hears_that_the_server_stops() {
    on_local_set(async {
        let bench = bench();
        let (mut first, mut second) = (Inbox::new(&bench.cx), Inbox::new(&bench.cx));
        bench.cx.drain_sessions();
        for inbox in [&mut first, &mut second] {
            assert!(matches!(only(events(inbox).await), Event::Draining));
        }
        let gone = second.address();
        drop(second);
        assert!(gone.give(Event::Draining).is_err());
        bench.cx.drain_sessions();
        assert!(matches!(only(events(&mut first).await), Event::Draining));
    })
    .await;
}
