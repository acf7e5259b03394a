use std::cell::RefCell;
use std::rc::Rc;

use super::super::{Body, Ended, Event, Inbox, Leg};
use super::bench::{answer, bench, cancel, events, on_local_set, only, sdp, value, within};
use super::uac::called;
use super::uas::confirmed;
use crate::Outcome;

type Told = Rc<RefCell<Option<Outcome>>>;

/// Makes an offer beside the test; what came of it.
fn offering(leg: &Rc<Leg>, body: Body) -> Told {
    let told = Told::default();
    let (leg, tell) = (Rc::clone(leg), Rc::clone(&told));
    tokio::task::spawn_local(async move {
        let outcome = leg.offer(body, &[]).await;
        *tell.borrow_mut() = Some(outcome);
    });
    told
}

fn status(told: &Told) -> Option<u16> {
    match &*told.borrow() {
        Some(Outcome::Final(response)) => Some(response.status()),
        Some(_) => Some(0),
        None => None,
    }
}

async fn offered(inbox: &mut Inbox) -> super::super::Offer {
    match only(events(inbox).await) {
        Event::Offer(_, offer) => offer,
        other => panic!("{other:?}"),
    }
}

// Covers: PF-052
#[tokio::test(start_paused = true)]
async fn the_peer_offers_anew() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (_leg, ok) = confirmed(&bench, &mut inbox, "").await;
        bench.receive(&within(&ok, "INVITE", 2, "", "offer")).await;
        let offer = offered(&mut inbox).await;
        assert_eq!(offer.request().body(), b"offer");
        let response = offer.response(200);
        offer.accept(response, sdp("second"));
        let second = bench.one();
        assert!(second.ends_with("\r\n\r\nsecond"), "{second}");
        bench.wait(600).await;
        assert_eq!(bench.one(), second, "until its ACK");
        bench.receive(&within(&ok, "ACK", 2, "", "")).await;
        assert!(matches!(only(events(&mut inbox).await), Event::Confirmed(_)));
        bench.wait(40_000).await;
        assert_eq!(bench.lines(), "");

        bench.receive(&within(&ok, "INVITE", 3, "", "offer")).await;
        drop(offered(&mut inbox).await);
        assert_eq!(bench.lines(), "488", "the session stays as it was");
        bench.receive(&within(&ok, "ACK", 3, "", "").replace("bKinACK3", "bKinINVITE3")).await;
        bench.receive(&within(&ok, "UPDATE", 4, "", "offer")).await;
        let offer = offered(&mut inbox).await;
        let response = offer.response(200);
        offer.accept(response, sdp("third"));
        let third = bench.one();
        assert!(third.ends_with("\r\n\r\nthird"), "{third}");
        bench.wait(40_000).await;
        assert_eq!(bench.lines(), "", "an UPDATE has no ACK");
        bench.receive(&within(&ok, "INVITE", 5, "", "")).await;
        let offer = offered(&mut inbox).await;
        let response = offer.response(200);
        offer.accept(response, sdp("ours"));
        bench.sent();
        bench.receive(&within(&ok, "ACK", 5, "", "theirs")).await;
        let all = events(&mut inbox).await;
        assert!(matches!(&all[..], [Event::Answer(_, body), _] if &body[..] == b"theirs"));
    })
    .await;
}

// Covers: CORE-043
#[tokio::test(start_paused = true)]
async fn a_second_offer_while_one_waits_is_refused() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (_leg, ok) = confirmed(&bench, &mut inbox, "").await;
        bench.receive(&within(&ok, "INVITE", 2, "", "offer")).await;
        bench.receive(&within(&ok, "INVITE", 3, "", "offer")).await;
        let refused = bench.one();
        assert!(refused.starts_with("SIP/2.0 500"), "{refused}");
        assert!(value(&refused, "Retry-After").parse::<u32>().unwrap() <= 10);
        bench.receive(&within(&ok, "UPDATE", 4, "", "offer")).await;
        assert_eq!(bench.lines(), "500");
        bench.receive(&within(&ok, "UPDATE", 5, "", "")).await;
        assert_eq!(bench.lines(), "200", "without an offer it is answered below");
        drop(offered(&mut inbox).await);
    })
    .await;
}

// Covers: PF-036
#[tokio::test(start_paused = true)]
async fn a_reinvite_is_cancelled_and_the_session_stays() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (leg, ok) = confirmed(&bench, &mut inbox, "").await;
        bench.receive(&within(&ok, "INVITE", 2, "", "offer")).await;
        let offer = offered(&mut inbox).await;
        let cancel = cancel()
            .replace("bKINVITE1", "bKinINVITE2")
            .replace("CSeq: 1", "CSeq: 2")
            .replace("To: <sip:im@ims.test>", &format!("To: {}", value(&ok, "To")));
        bench.receive(&cancel).await;
        assert_eq!(bench.lines(), "200 487");
        let response = offer.response(200);
        offer.accept(response, sdp("late"));
        assert_eq!(bench.lines(), "");
        assert!(!leg.is_over());
        bench.receive(&within(&ok, "INVITE", 3, "", "offer")).await;
        drop(offered(&mut inbox).await);
        assert_eq!(bench.lines(), "488", "another may be made");
    })
    .await;
}

// Covers: CORE-043, PF-037, CLI-039
#[tokio::test(start_paused = true)]
async fn bye_ends_a_reinvite_that_waits() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (leg, ok) = confirmed(&bench, &mut inbox, "").await;
        bench.receive(&within(&ok, "INVITE", 2, "", "offer")).await;
        let offer = offered(&mut inbox).await;
        bench.receive(&within(&ok, "BYE", 3, "", "")).await;
        assert_eq!(bench.lines(), "200 487");
        assert!(matches!(only(events(&mut inbox).await), Event::Ended(_, Ended::Bye(_))));
        let response = offer.response(200);
        offer.accept(response, sdp("late"));
        drop(leg);
        assert_eq!(bench.lines(), "");
        bench.is_clean();

        let (leg, invite, _) = called(&bench, &inbox, "").await;
        let leg = Rc::new(leg);
        let told = offering(&leg, sdp("second"));
        bench.settle().await;
        let reinvite = bench.one();
        bench.receive(&within(&invite, "BYE", 9, "", "")).await;
        assert_eq!(bench.lines(), "200");
        assert!(matches!(only(events(&mut inbox).await), Event::Ended(_, Ended::Bye(_))));
        bench.receive(&answer(&reinvite, 487, "b", "", "")).await;
        assert_eq!((bench.lines().as_str(), status(&told)), ("ACK", Some(487)));
        bench.is_clean();
    })
    .await;
}

// Covers: CORE-043
#[tokio::test(start_paused = true)]
async fn glare_is_tried_again_after_a_while() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (leg, invite, _) = called(&bench, &inbox, "").await;
        let leg = Rc::new(leg);
        let told = offering(&leg, sdp("ours"));
        bench.settle().await;
        let first = bench.one();
        assert_eq!(value(&first, "CSeq"), "2 INVITE");
        bench.receive(&within(&invite, "INVITE", 5, "", "theirs")).await;
        assert_eq!(bench.lines(), "491", "theirs crosses ours");
        bench.receive(&answer(&first, 491, "b", "", "")).await;
        assert_eq!(bench.lines(), "ACK");
        bench.receive(&within(&invite, "ACK", 5, "", "").replace("bKinACK5", "bKinINVITE5")).await;
        bench.wait(2_050).await;
        assert_eq!(bench.lines(), "", "the owner of the Call-ID waits 2.1 s at least");
        bench.wait(2_000).await;
        let again = bench.sent().remove(0);
        assert_eq!(value(&again, "CSeq"), "3 INVITE");
        assert!(again.ends_with("\r\n\r\nours"), "{again}");
        assert_eq!(status(&told), None);
        bench.receive(&answer(&again, 200, "b", "", "answer")).await;
        assert_eq!(value(&bench.one(), "CSeq"), "3 ACK");
        assert_eq!(status(&told), Some(200));
        bench.receive(&answer(&again, 200, "b", "", "answer")).await;
        assert_eq!(bench.lines(), "ACK", "each repetition");

        let told = offering(&leg, sdp("refused"));
        bench.settle().await;
        for tries in 0.. {
            let Some(again) = bench.sent().pop() else {
                assert_eq!(tries, 5, "and no more");
                break;
            };
            bench.receive(&answer(&again, 491, "b", "", "")).await;
            bench.sent();
            bench.wait(4_050).await;
        }
        assert_eq!(status(&told), Some(491));
        assert!(events(&mut inbox).await.is_empty());
    })
    .await;
}

// Covers: CORE-043
#[tokio::test(start_paused = true)]
async fn our_offer_waits_for_theirs() {
    on_local_set(async {
        let bench = bench();
        let mut inbox = Inbox::new(&bench.cx);
        let (leg, ok) = confirmed(&bench, &mut inbox, "").await;
        let leg = Rc::new(leg);
        bench.receive(&within(&ok, "INVITE", 2, "", "theirs")).await;
        let offer = offered(&mut inbox).await;
        let told = offering(&leg, sdp("ours"));
        bench.settle().await;
        assert_eq!(bench.lines(), "");
        let response = offer.response(200);
        offer.accept(response, sdp("answer"));
        assert_eq!(bench.lines(), "200", "not before the ACK either");
        bench.receive(&within(&ok, "ACK", 2, "", "")).await;
        let ours = bench.one();
        assert!(ours.starts_with("INVITE "), "{ours}");
        bench.receive(&answer(&ours, 488, "b", "", "")).await;
        assert_eq!((bench.lines().as_str(), status(&told)), ("ACK", Some(488)));
        assert!(!leg.is_over());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_nobody_waits_for_is_made_and_acknowledged() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        let (leg, _, _) = called(&bench, &inbox, "").await;
        let offer = leg.offer(sdp("second"), &[]);
        let short = tokio::time::timeout(std::time::Duration::from_millis(1), offer);
        assert!(short.await.is_err());
        let reinvite = bench.sent().remove(0);
        bench.receive(&answer(&reinvite, 200, "b", "", "answer")).await;
        assert_eq!(bench.lines(), "ACK");
        drop(leg);
        bench.settle().await;
        assert_eq!(bench.lines(), "BYE");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_reinvite_without_an_offer_is_acknowledged_by_the_role() {
    on_local_set(async {
        let bench = bench();
        let inbox = Inbox::new(&bench.cx);
        let (leg, _, _) = called(&bench, &inbox, "").await;
        let leg = Rc::new(leg);
        let told = offering(&leg, Body::none());
        bench.settle().await;
        let reinvite = bench.one();
        bench.receive(&answer(&reinvite, 200, "b", "", "offer")).await;
        assert_eq!((bench.lines().as_str(), status(&told)), ("", Some(200)));
        leg.acknowledge(sdp("answer"));
        let ack = bench.one();
        assert_eq!(value(&ack, "CSeq"), "2 ACK");
        assert!(ack.ends_with("\r\n\r\nanswer"), "{ack}");
    })
    .await;
}
