//! Messages pushed to a user who is back.

use std::time::Duration;

use parlance_isc::{Cause, Marks, Offered, Origin};
use parlance_sip::HeaderName;
use parlance_store::{Inboxes, Registrations, Seq, Visibility, Withdrawn};

use super::{ALICE, Answer, BOB, SECRET, World, story};
use crate::Policy;

// Covers: DF-012, DF-061, DF-070, DF-085, CORE-016, CORE-037, CORE-064
#[tokio::test(start_paused = true)]
async fn a_new_registration_brings_the_messages_in_order() {
    story(Policy::default(), async |world: &World| {
        world.keep(&["one", "two", "three"]).await;
        world.after(100.0).await;
        assert!(world.sent().is_empty(), "nothing for a user who is away");
        world.register(BOB).await;
        world.after(30.0).await;
        assert_eq!(world.bodies(), ["one", "two", "three"]);
        // Settled for 2 s, then one after the other with a pause.
        assert_eq!(world.times(), [102_000, 102_050, 102_100]);
        assert_eq!(world.kept().await, 0);
        let sent = world.sent();
        for push in &sent {
            assert_eq!(push.to(), BOB);
            assert_eq!(push.target.remote.to_string(), "127.0.0.13:6060");
            assert_eq!(push.field(HeaderName::Route), "<sip:127.0.0.13:6060;lr>");
            assert_eq!(push.field(HeaderName::PAssertedIdentity), format!("<{ALICE}>"));
            assert!(push.field(HeaderName::PChargingVector).ends_with(";orig-ioi=\"ims.test\""));
            let functions = push.field(HeaderName::PChargingFunctionAddresses);
            assert_eq!(functions, "ccf=ccf.ims.test");
            assert_eq!(push.field(HeaderName::UserAgent), "IM-serv/OMA1.0 Parlance");
            assert_eq!(Marks::new(SECRET).recognise(&push.request), Some(Origin::Deferred));
        }
        let icids = sent.iter().map(|push| push.field(HeaderName::PChargingVector));
        assert_eq!(icids.collect::<std::collections::HashSet<_>>().len(), 3, "each its own");
    })
    .await;
}

// Covers: DF-064, DF-085
#[tokio::test(start_paused = true)]
async fn a_refresh_and_further_identities_start_nothing() {
    story(Policy::default(), async |world: &World| {
        world.answers(Answer::Now(486));
        world.keep(&["one"]).await;
        let id = world.register(BOB).await;
        // The same registration told again for another identity while it settles.
        world.deferred.registered(&world.cx, &BOB.into(), id, true);
        world.after(1.0).await;
        assert_eq!(world.register(BOB).await, id, "a refresh");
        world.after(7200.0).await;
        assert_eq!(world.bodies(), ["one"]);
    })
    .await;
}

// Covers: CORE-050, DF-083
#[tokio::test(start_paused = true)]
async fn one_message_is_in_flight_at_a_time() {
    let policy = Policy { pause: Duration::from_millis(500), ..Policy::default() };
    story(policy, async |world: &World| {
        world.keep(&["one", "two"]).await;
        world.answers(Answer::After(Duration::from_secs(7), 200));
        world.register(BOB).await;
        world.after(1.0).await;
        for body in ["three", "four"] {
            world.offer("sip:carol@ims.test", body, Cause::Behind).await;
        }
        world.after(60.0).await;
        assert_eq!(world.bodies(), ["one", "two", "three", "four"]);
        assert_eq!(world.times(), [2_000, 9_500, 17_000, 24_500]);
    })
    .await;
}

// Covers: DF-012, DF-083
#[tokio::test(start_paused = true)]
async fn each_senders_order_survives_offers_during_a_push() {
    story(Policy::default(), async |world: &World| {
        world.keep(&["alice 0"]).await;
        world.answers(Answer::After(Duration::from_millis(70), 200));
        world.register(BOB).await;
        world.after(1.9).await;
        let talk = async |sender: &str, gap: f64| {
            for number in 1..=20 {
                let from = format!("sip:{sender}@ims.test");
                world.offer(&from, &format!("{sender} {number}"), Cause::Behind).await;
                world.after(gap).await;
            }
        };
        let mut talks = std::pin::pin!(async {
            tokio::join!(talk("alice", 0.03), talk("carol", 0.11), talk("dave", 0.07))
        });
        talks.as_mut().await;
        world.after(30.0).await;
        let bodies = world.bodies();
        assert_eq!(bodies.len(), 61);
        for sender in ["alice", "carol", "dave"] {
            let numbers: Vec<u32> = bodies
                .iter()
                .filter_map(|body| body.strip_prefix(sender)?.trim().parse().ok())
                .collect();
            assert!(numbers.is_sorted() && numbers.len() >= 20, "{sender}: {numbers:?}");
        }
        assert_eq!(world.kept().await, 0);
    })
    .await;
}

// Covers: DF-065
#[tokio::test(start_paused = true)]
async fn failures_wait_longer_each_time_and_end_with_success() {
    for failing in [Answer::Now(480), Answer::Now(404), Answer::Now(500), Answer::Unreachable] {
        story(Policy::default(), async |world: &World| {
            world.keep(&["one", "two"]).await;
            world.answers(failing.clone());
            world.register(BOB).await;
            world.after(2.5).await;
            assert_eq!(world.kept().await, 2);
            // It failed at 2 s; the store is asked each second who is due.
            let mut due = 2.0;
            for minutes in [1.0, 2.0, 4.0, 8.0] {
                let before = world.sent().len();
                due += 60.0 * minutes;
                world.until(due - 0.001).await;
                assert_eq!((world.sent().len(), world.is_due().await), (before, false));
                world.until(due + 1.1).await;
                assert_eq!(world.sent().len(), before + 1, "{minutes} min, {failing:?}");
                due = world.sent().last().unwrap().at.as_secs_f64();
            }
            assert!(world.bodies().iter().all(|body| body == "one"), "the first blocks the rest");
            world.answers(Answer::Now(200));
            world.after(1000.0).await;
            assert_eq!(world.kept().await, 0);
            assert_eq!(world.bodies().last().unwrap(), "two");
            // Every attempt was a transaction of its own.
            let sent = world.sent();
            let calls: std::collections::HashSet<String> =
                sent.iter().map(|sent| sent.field(HeaderName::CallId)).collect();
            assert_eq!(calls.len(), sent.len());
        })
        .await;
    }
}

// Covers: DF-065
#[tokio::test(start_paused = true)]
async fn silence_is_a_failure_after_64_t1() {
    story(Policy::default(), async |world: &World| {
        world.keep(&["one"]).await;
        world.answers(Answer::Never);
        world.register(BOB).await;
        world.after(33.0).await;
        assert_eq!(world.sent().len(), 1);
        assert!(world.pending().await);
        world.answers(Answer::Now(200));
        // Timer F ended it at 34 s; 60 s later it is tried again.
        world.after(60.0).await;
        assert_eq!(world.sent().len(), 1);
        world.after(3.0).await;
        assert_eq!((world.sent().len(), world.kept().await), (2, 0));
    })
    .await;
}

// Covers: DF-065
#[tokio::test(start_paused = true)]
async fn a_new_registration_ends_the_back_off_and_retry_after_lengthens_it() {
    story(Policy::default(), async |world: &World| {
        world.keep(&["one"]).await;
        world.answers(Answer::RetryAfter(600));
        world.register(BOB).await;
        world.after(590.0).await;
        assert_eq!(world.sent().len(), 1);
        world.after(15.0).await;
        assert_eq!(world.sent().len(), 2);
        world.answers(Answer::Now(200));
        world.deregister(BOB).await;
        world.after(1.0).await;
        world.register(BOB).await;
        world.after(2.1).await;
        assert_eq!((world.sent().len(), world.kept().await), (3, 0));
    })
    .await;
}

// Covers: DF-081
#[tokio::test(start_paused = true)]
async fn who_declines_is_left_alone_until_he_registers_anew() {
    for status in [486, 603] {
        story(Policy::default(), async |world: &World| {
            world.keep(&["one"]).await;
            world.answers(Answer::Now(status));
            world.register(BOB).await;
            world.after(3.0).await;
            assert!(world.pending().await);
            world.offer(ALICE, "two", Cause::Behind).await;
            world.after(3000.0).await;
            assert_eq!(world.bodies(), ["one"], "{status}");
            world.answers(Answer::Now(200));
            world.deregister(BOB).await;
            world.after(1.0).await;
            world.register(BOB).await;
            world.after(3.0).await;
            assert_eq!(world.bodies(), ["one", "one", "two"]);
        })
        .await;
    }
}

// Covers: DF-061
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_de_registration() {
    story(Policy::default(), async |world: &World| {
        world.keep(&["one", "two", "three"]).await;
        world.answers(Answer::After(Duration::from_secs(5), 200));
        world.register(BOB).await;
        world.after(3.0).await;
        world.deregister(BOB).await;
        world.after(7200.0).await;
        assert_eq!(world.bodies(), ["one"], "it was in flight");
        assert_eq!(world.kept().await, 2);
        // While it settles: nothing at all.
        world.register(BOB).await;
        world.after(1.0).await;
        world.deregister(BOB).await;
        world.after(0.1).await;
        assert!(world.is_free(), "whoever he registers with next may serve him at once");
        world.after(100.0).await;
        assert_eq!(world.sent().len(), 1);
        assert!(!world.is_due().await, "nothing to look at until he is back");
    })
    .await;
}

// The registration lapses without a word (isc-in-practice: the S-CSCF sends none).
// Covers: DF-061
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_registration_lapsed() {
    story(Policy::default(), async |world: &World| {
        world.keep(&["one"]).await;
        world.answers(Answer::Now(480));
        world.register(BOB).await;
        world.after(4000.0).await;
        let before = world.sent().len();
        assert!(before > 3);
        world.after(86_400.0).await;
        assert_eq!(world.sent().len(), before);
        assert_eq!(world.kept().await, 1);
    })
    .await;
}

// Covers: DF-084
#[tokio::test(start_paused = true)]
async fn who_has_his_messages_stored_first_gets_them_pushed_at_once() {
    story(Policy::default(), async |world: &World| {
        world.profile(|bob| bob.store_pager_mode = true).await;
        world.register(BOB).await;
        world.after(10.0).await;
        let offered = world.offer(ALICE, "one", Cause::Setting).await;
        assert!(matches!(offered, Offered::Stored(_)));
        assert!(world.sent().is_empty(), "stored, not tried");
        world.after(0.1).await;
        assert_eq!((world.bodies().len(), world.kept().await), (1, 0));
    })
    .await;
}

// Covers: DF-065
#[tokio::test(start_paused = true)]
async fn a_client_just_tried_in_vain_is_left_alone_for_a_minute() {
    story(Policy::default(), async |world: &World| {
        world.register(BOB).await;
        world.after(10.0).await;
        world.offer(ALICE, "one", Cause::Unanswered).await;
        world.after(59.0).await;
        assert!(world.sent().is_empty());
        world.after(2.5).await;
        assert_eq!(world.bodies(), ["one"]);
    })
    .await;
}

// Covers: DF-002
#[tokio::test(start_paused = true)]
async fn who_is_invisible_gets_nothing_until_he_shows_himself() {
    story(Policy::default(), async |world: &World| {
        world.profile(|bob| bob.visibility = Visibility::Offline).await;
        world.register(BOB).await;
        world.offer(ALICE, "one", Cause::Invisible).await;
        world.after(7200.0 - 3700.0).await;
        assert!(world.sent().is_empty());
        world.profile(|_| {}).await;
        world.deferred.changed(&world.cx, &BOB.into());
        world.after(0.5).await;
        assert_eq!(world.bodies(), ["one"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_does_not_flood() {
    let policy = Policy { messages_per_second: 10, ..Policy::default() };
    story(policy, async |world: &World| {
        let bodies: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        world.keep(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
        world.register(BOB).await;
        world.after(28.0).await;
        assert!(!world.is_free(), "longer than a lease");
        world.after(30.0).await;
        assert_eq!(world.bodies(), bodies);
        let times = world.times();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 100), "{times:?}");
    })
    .await;
}

// Covers: PF-021
#[tokio::test(start_paused = true)]
async fn a_late_answer_of_the_client_takes_the_copy_back() {
    use parlance_isc::Deferral;
    story(Policy::default(), async |world: &World| {
        world.register(BOB).await;
        world.after(5.0).await;
        let offered = world.offer(ALICE, "one", Cause::Unanswered).await;
        let Offered::Stored(seq) = offered else { panic!("{offered:?}") };
        world.deferred.withdraw(&world.cx, &BOB.into(), seq).await;
        assert_eq!(world.kept().await, 0);
        world.after(600.0).await;
        assert!(world.sent().is_empty());
        // While the copy is in flight, it is removed if the client does not take it.
        world.answers(Answer::After(Duration::from_secs(20), 480));
        let offered = world.offer(ALICE, "two", Cause::Setting).await;
        let Offered::Stored(seq) = offered else { panic!("{offered:?}") };
        world.after(1.0).await;
        let now = world.cx.now();
        assert_eq!(world.store.withdraw(&BOB.into(), seq, now).await, Ok(Withdrawn::InFlight));
        world.deferred.withdraw(&world.cx, &BOB.into(), seq).await;
        assert_eq!(world.kept().await, 0);
        world.after(600.0).await;
        assert_eq!(world.bodies(), ["two"]);
    })
    .await;
}

// Covers: CORE-051
#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_a_message_is_told_of_instead() {
    let narrow = Policy { request_octets_max: 1300, ..Policy::default() };
    story(narrow, async |world: &World| {
        let large = "x".repeat(1200);
        world.keep(&["one", &large, "three"]).await;
        world.register(BOB).await;
        world.after(5.0).await;
        let told = "You have 1 stored instant messages.";
        assert_eq!(world.bodies(), ["one", "three", told]);
        assert!(world.sent().iter().all(|sent| sent.request.bytes().len() <= 1300));
        assert!(!world.pending().await, "new messages go directly");
        // What comes now is pushed; of the large one nothing is said again.
        world.offer(ALICE, "four", Cause::Setting).await;
        world.after(30.0).await;
        assert_eq!(world.bodies()[3..], ["four"]);
        // Another large one is news.
        world.offer(ALICE, &large, Cause::Setting).await;
        world.after(30.0).await;
        assert_eq!(world.bodies()[4..], ["You have 2 stored instant messages."]);
        world.after(3000.0).await;
        assert_eq!(world.sent().len(), 5);
    })
    .await;
    // Unless the operator says so, what is kept is pushed.
    story(Policy::default(), async |world: &World| {
        let large = "x".repeat(Policy::default().message_octets_max);
        world.keep(&[&large]).await;
        world.register(BOB).await;
        world.after(5.0).await;
        assert_eq!(world.bodies(), [large.as_str()]);
    })
    .await;
}

// The limit is exact: what leaves is measured with its Via, where the number of a further try has
// room.
// Covers: CORE-051
#[tokio::test(start_paused = true)]
async fn the_size_limit_is_met_to_the_octet() {
    let mut largest = 0;
    for length in 600..900 {
        let policy =
            Policy { pause: Duration::ZERO, request_octets_max: 1300, ..Policy::default() };
        let mut octets = 0;
        story(policy, async |world: &World| {
            world.keep(&[&"x".repeat(length)]).await;
            world.register(BOB).await;
            world.after(3.0).await;
            octets = world.sent().first().map_or(0, |sent| match sent.body().starts_with('x') {
                true => sent.request.bytes().len(),
                false => 0,
            });
        })
        .await;
        if octets == 0 {
            break;
        }
        largest = octets;
    }
    assert_eq!(largest + ".99".len(), 1300);
}

#[tokio::test(start_paused = true)]
async fn lanes_are_bounded_and_everybody_gets_his_turn() {
    let policy = Policy { lanes_max: 2, ..Policy::default() };
    story(policy, async |world: &World| {
        let users: Vec<String> = (0..10).map(|number| format!("sip:u{number}@ims.test")).collect();
        for user in &users {
            let new = parlance_store::NewItem {
                recipient: user.as_str().into(),
                originator: ALICE.into(),
                dedup: Vec::new(),
                received: super::T0,
                expires: parlance_store::Millis::MAX,
                due: None,
                wants_negative_delivery: false,
                private: false,
                payload: super::request(&super::message(ALICE, "c", "", "hi")).bytes(),
            };
            world.store.accept(new, world.quota(), world.cx.now()).await.unwrap();
            world.register(user).await;
        }
        world.after(2.1).await;
        assert_eq!(world.sent().len(), 2);
        world.after(20.0).await;
        let mut reached: Vec<String> = world.sent().iter().map(super::Sent::to).collect();
        reached.sort();
        assert_eq!(reached, users);
    })
    .await;
}

// Covers: DF-085
#[tokio::test(start_paused = true)]
async fn the_s_cscf_of_the_moment_is_the_target() {
    story(Policy::default(), async |world: &World| {
        world.keep(&["one", "two"]).await;
        world.answers(Answer::After(Duration::from_secs(3), 200));
        world.register(BOB).await;
        world.after(3.0).await;
        let moved = parlance_store::Binding {
            scscf: "sip:127.0.0.14:6060;transport=tcp".into(),
            call_id: "moved".into(),
            ..super::binding(BOB)
        };
        world.store.bind(moved, world.cx.now()).await.unwrap();
        world.after(10.0).await;
        let sent = world.sent();
        assert_eq!(sent[1].target.remote.to_string(), "127.0.0.14:6060");
        assert_eq!(sent[1].field(HeaderName::Route), "<sip:127.0.0.14:6060;transport=tcp;lr>");
        assert_eq!(world.store.head(&BOB.into(), Seq(0), 1).await.unwrap(), []);
    })
    .await;
}
