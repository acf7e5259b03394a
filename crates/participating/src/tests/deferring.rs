//! Bob is away.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use parlance_isc::{Cause, Offered, Reply, SessionCase};
use parlance_sip::{HeaderName, Message};
use parlance_store::{Profile, Seq, Visibility};

use super::terminating::bob;
use super::{Script, Setup, World, lines, status, testdata};
use crate::event::Step;
use crate::policy::Policy;

const SECOND: Duration = Duration::from_secs(1);

async fn world(setup: Setup) -> (World, Rc<Script>) {
    let script = Rc::new(Script::default());
    let world = World::new(Setup { deferral: Some(script.clone()), ..setup }).await;
    (world, script)
}

/// The final responses among what was sent.
fn finals(world: &World) -> Vec<u16> {
    let is_final = |message: &Message| !message.is_request() && status(message) >= 200;
    world.sent().iter().filter(|message| is_final(message)).map(status).collect()
}

// Covers: PF-004, PF-032, PF-034, PF-093, DF-084, CORE-065, ROLE-012
#[tokio::test(start_paused = true)]
async fn a_message_to_a_user_who_is_away_is_stored() {
    let silent = |setup: Setup| Setup { silent_core: true, ..setup };
    let none = |_: &mut Profile| {};
    let invisible = |profile: &mut Profile| profile.visibility = Visibility::Offline;
    let stores = |profile: &mut Profile| profile.store_pager_mode = true;
    let both = |profile: &mut Profile| {
        profile.visibility = Visibility::Offline;
        profile.store_pager_mode = true;
    };
    let without_tag =
        |setup: Setup| Setup { registered: vec![("sip:bob@ims.test", false)], ..setup };
    let gone = |setup: Setup| Setup { registered: vec![], ..setup };
    #[rustfmt::skip]
    let table = [
        (bob(none),                       "",                 None),
        (silent(bob(none)),               "",                 None),
        // The core knows better, both ways.
        (gone(bob(none)),                 "",                 None),
        (bob(none),  "P-Served-User: <sip:bob@ims.test>;sescase=term;regstate=unreg",
            Some(Cause::Unregistered)),
        (silent(gone(bob(none))),         "",                 Some(Cause::Unregistered)),
        (without_tag(bob(none)),          "",                 Some(Cause::Unregistered)),
        (bob(invisible),                  "",                 Some(Cause::Invisible)),
        (bob(stores),                     "",                 Some(Cause::Setting)),
        (bob(both),                       "",                 Some(Cause::Invisible)),
        (silent(gone(bob(stores))),       "",                 Some(Cause::Unregistered)),
    ];
    for (number, (setup, headers, expected)) in table.into_iter().enumerate() {
        let (world, script) = world(setup).await;
        world.bob_gets(headers, "hi").await;
        match expected {
            None => _ = world.forwarded(),
            Some(_) => assert_eq!(status(&world.answered()), 202, "{number}"),
        }
        assert_eq!(script.causes(), Vec::from_iter(expected), "{number}");
    }
    // As a real core says it, for a user nothing is known of.
    let (world, script) = world(Setup::default()).await;
    world.receive(SessionCase::Terminating, testdata("term_MESSAGE_unreg")).await;
    assert_eq!(status(&world.answered()), 202);
    assert_eq!(*script.offered.borrow(), [("sip:carol@ims.test".into(), Cause::Unregistered)]);
}

// Covers: ROLE-006
#[tokio::test(start_paused = true)]
async fn nothing_is_stored_for_the_sender() {
    // She is away herself, and the other side cannot be reached.
    let away = |profile: &mut Profile| {
        profile.visibility = Visibility::Offline;
        profile.store_pager_mode = true;
    };
    let mut profile = Profile { user: "sip:alice@ims.test".into(), ..Profile::default() };
    away(&mut profile);
    let (world, script) = world(Setup { profiles: vec![profile], ..Setup::default() }).await;
    script.pending.set(true);
    for code in [404, 408, 480, 503] {
        world.alice_sends("", "hi").await;
        let forwarded = world.forwarded();
        world.answer(&forwarded, code).await;
        assert!(status(&world.answered()) >= 400);
    }
    assert_eq!(script.causes(), []);
}

// Covers: PF-032, PF-093
#[tokio::test(start_paused = true)]
async fn a_message_queues_behind_those_that_wait() {
    let (world, script) = world(bob(|_| {})).await;
    script.pending.set(true);
    world.bob_gets("", "hi").await;
    assert_eq!(status(&world.answered()), 202);
    assert_eq!(script.causes(), [Cause::Behind]);
    script.pending.set(false);
    world.bob_gets("", "hi").await;
    world.forwarded();
    assert_eq!(script.causes().len(), 1);
}

// Covers: CLI-031
#[tokio::test(start_paused = true)]
async fn what_must_not_queue_does_not_wait() {
    let (world, script) = world(bob(|profile| profile.store_pager_mode = true)).await;
    script.pending.set(true);
    world.bob_gets("Request-Disposition: no-queue", "now").await;
    assert_eq!(world.forwarded().body(), b"now");
    world.bob_gets("Request-Disposition: queue", "whenever").await;
    assert_eq!(status(&world.answered()), 202);
    assert_eq!(script.causes(), [Cause::Setting]);
}

// Covers: PF-093, CORE-016, CORE-046, CORE-050
#[tokio::test(start_paused = true)]
async fn the_answer_says_what_became_of_it() {
    let policy = Policy { ioi: Some("ims.test".into()), ..Policy::default() };
    let setup = bob(|profile| profile.visibility = Visibility::Offline);
    let (world, script) = world(Setup { policy, ..setup }).await;
    let vector = "P-Charging-Vector: icid-value=\"m-1\";orig-ioi=home1.example";
    world.bob_gets(vector, "hi").await;
    let answer = world.answered();
    assert_eq!(status(&answer), 202);
    assert_eq!(
        lines(&answer, HeaderName::PChargingVector),
        ["icid-value=\"m-1\";orig-ioi=home1.example;term-ioi=\"ims.test\""]
    );
    assert!(lines(&answer, HeaderName::To)[0].starts_with("<sip:bob@ims.test>;tag="));
    assert_eq!(lines(&answer, HeaderName::Server), ["IM-serv/OMA1.0 Parlance"]);
    assert!(answer.body().is_empty() && !answer.has(HeaderName::Contact));
    // What is complete stays, and what did not come is not made up.
    world.bob_gets(&format!("{vector};term-ioi=x"), "hi").await;
    let answer = world.answered();
    assert_eq!(
        lines(&answer, HeaderName::PChargingVector),
        ["icid-value=\"m-1\";orig-ioi=home1.example;term-ioi=x"]
    );
    world.bob_gets("", "hi").await;
    assert!(!world.answered().has(HeaderName::PChargingVector));

    script.answers.borrow_mut().push_back(Offered::Duplicate);
    world.bob_gets("", "hi").await;
    assert_eq!(status(&world.answered()), 202);
    let full = Reply::new(480).with(HeaderName::Warning, "399 h \"mailbox full\"");
    script.answers.borrow_mut().push_back(Offered::Refused(full));
    world.bob_gets("", "hi").await;
    let answer = world.answered();
    assert_eq!(status(&answer), 480);
    assert_eq!(lines(&answer, HeaderName::Warning), ["399 h \"mailbox full\""]);
}

// Covers: PF-034, PF-035, CORE-061
#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_be_reached_is_stored_for() {
    let (world, script) = world(bob(|_| {})).await;
    for code in [404, 408, 430, 480, 500, 503, 504] {
        world.bob_gets("", "hi").await;
        let forwarded = world.forwarded();
        world.answer(&forwarded, code).await;
        assert_eq!(status(&world.answered()), 202, "{code}");
        assert_eq!(
            script.offered.take().last().map(|(_, cause)| *cause),
            Some(Cause::Unanswered),
            "{code}"
        );
    }
    for code in [403, 413, 415, 486, 488, 600, 603] {
        world.bob_gets("", "hi").await;
        let forwarded = world.forwarded();
        world.answer(&forwarded, code).await;
        assert_eq!(status(&world.answered()), code);
    }
    world.bob_gets("", "hi").await;
    let forwarded = world.forwarded();
    world.answer(&forwarded, 501).await;
    assert_eq!(status(&world.answered()), 480, "no trigger, and not relayed either");
    assert_eq!(script.causes(), []);
}

// Covers: PF-035
#[tokio::test(start_paused = true)]
async fn a_404_counts_for_users_who_are_known() {
    let (world, script) = world(Setup::default()).await;
    world.bob_gets("", "hi").await;
    let forwarded = world.forwarded();
    world.answer(&forwarded, 404).await;
    assert_eq!(status(&world.answered()), 404);
    assert_eq!(script.causes(), []);
    let policy = Policy { deferral_statuses: vec![486], ..Policy::default() };
    *world.policy.borrow_mut() = policy.into();
    for (code, expected) in [(486, 202), (480, 480)] {
        world.bob_gets("", "hi").await;
        let forwarded = world.forwarded();
        world.answer(&forwarded, code).await;
        assert_eq!(status(&world.answered()), expected, "{code}");
    }
}

// Covers: PF-021, PF-034, CORE-061
#[tokio::test(start_paused = true)]
async fn a_silent_client_is_stored_for_before_the_sender_gives_up() {
    let (world, script) = world(bob(|_| {})).await;
    world.bob_gets("", "hi").await;
    let forwarded = world.forwarded();
    world.pass(19 * SECOND).await;
    assert_eq!(finals(&world), [0; 0]);
    assert_eq!(script.causes(), []);
    world.pass(SECOND).await;
    assert_eq!(finals(&world), [202]);
    assert_eq!(script.causes(), [Cause::Unanswered]);
    // The client took it after all: it must not come a second time.
    world.pass(5 * SECOND).await;
    world.sent();
    world.answer(&forwarded, 200).await;
    world.nothing_was_sent();
    assert_eq!(*script.withdrawn.borrow(), [("sip:bob@ims.test".into(), Seq(1))]);
    assert_eq!(world.events().last().unwrap().2, Step::DeliveredLate);
}

// Covers: PF-021
#[tokio::test(start_paused = true)]
async fn a_2xx_that_comes_while_the_message_is_stored_withdraws_it() {
    let (world, script) = world(bob(|_| {})).await;
    script.takes.set(2 * SECOND);
    world.bob_gets("", "hi").await;
    let forwarded = world.forwarded();
    world.pass(21 * SECOND).await;
    world.sent();
    world.answer(&forwarded, 200).await;
    world.nothing_was_sent();
    world.pass(2 * SECOND).await;
    assert_eq!(finals(&world), [202]);
    assert_eq!(script.withdrawn.borrow().len(), 1);
}

// Covers: PF-021
#[tokio::test(start_paused = true)]
async fn what_is_not_a_late_2xx_withdraws_nothing() {
    for late in [Some(480), Some(603), None] {
        let (world, script) = world(bob(|_| {})).await;
        world.bob_gets("", "hi").await;
        let forwarded = world.forwarded();
        world.pass(21 * SECOND).await;
        assert_eq!(finals(&world), [202]);
        if let Some(code) = late {
            world.answer(&forwarded, code).await;
        }
        world.pass(60 * SECOND).await;
        assert_eq!(finals(&world), [0; 0], "{late:?}");
        assert!(script.withdrawn.borrow().is_empty());
    }
}

// Covers: PF-021, PF-034, CORE-063
#[tokio::test(start_paused = true)]
async fn what_is_not_stored_is_480() {
    // There is no deferred function.
    let world = World::new(bob(|_| {})).await;
    world.bob_gets("", "hi").await;
    let forwarded = world.forwarded();
    world.answer(&forwarded, 408).await;
    let answer = world.answered();
    assert_eq!(status(&answer), 480);
    let warning = "399 im.invalid \"Downstream answered 408\"";
    assert_eq!(lines(&answer, HeaderName::Warning), [warning]);
    world.bob_gets("", "hi").await;
    let forwarded = world.forwarded();
    world.answer(&forwarded, 404).await;
    let answer = world.answered();
    assert_eq!((status(&answer), answer.has(HeaderName::Warning)), (480, false));
    world.bob_gets("", "hi").await;
    world.forwarded();
    world.pass(21 * SECOND).await;
    assert_eq!(finals(&world), [480]);
    // The network is down: the client cannot be reached.
    let (world, script) = self::world(bob(|_| {})).await;
    let nowhere = "Route: <sip:127.0.0.20:5081;lr>, <sip:nowhere.invalid;lr>";
    world.bob_gets(nowhere, "hi").await;
    assert_eq!(status(&world.answered()), 202);
    assert_eq!(script.causes(), [Cause::Unanswered]);
}

// Covers: CORE-052
#[tokio::test(start_paused = true)]
async fn a_message_for_now_is_never_stored() {
    const NOW: &str = "Expires: 0";
    let (world, script) = world(bob(|profile| profile.store_pager_mode = true)).await;
    script.pending.set(true);
    world.bob_gets(NOW, "hi").await;
    let forwarded = world.forwarded();
    world.answer(&forwarded, 200).await;
    assert_eq!(status(&world.answered()), 200);
    for code in [480, 408] {
        world.bob_gets(NOW, "hi").await;
        let forwarded = world.forwarded();
        world.answer(&forwarded, code).await;
        assert_eq!(status(&world.answered()), 480);
    }
    world.bob_gets(NOW, "hi").await;
    world.forwarded();
    world.pass(21 * SECOND).await;
    assert_eq!(finals(&world), [480]);
    assert_eq!(script.causes(), []);
    let (world, script) =
        self::world(bob(|profile| profile.visibility = Visibility::Offline)).await;
    world.bob_gets(NOW, "hi").await;
    assert_eq!(status(&world.answered()), 480);
    assert_eq!(script.causes(), []);
}

// Covers: CORE-052
#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_old_is_neither_delivered_nor_stored() {
    // The clock says 14:13:20.
    const OLD: &str = "Date: Mon, 21 Sep 2026 14:13:00 GMT\nExpires: 20";
    let (world, script) = world(bob(|_| {})).await;
    world.bob_gets(OLD, "hi").await;
    let answer = world.answered();
    assert_eq!(status(&answer), 480);
    assert_eq!(lines(&answer, HeaderName::Warning), ["399 im.invalid \"Message expired\""]);
    // It grows too old while the client is waited for.
    world.bob_gets("Date: Mon, 21 Sep 2026 14:13:00 GMT\nExpires: 30", "hi").await;
    world.forwarded();
    world.pass(21 * SECOND).await;
    assert_eq!(finals(&world), [480]);
    assert_eq!(script.causes(), []);
    world.bob_gets("Expires: 25", "hi").await;
    world.forwarded();
    world.pass(21 * SECOND).await;
    assert_eq!(finals(&world), [202]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_early_leaves_a_480() {
    let (world, script) = world(bob(|_| {})).await;
    world.bob_gets("", "hi").await;
    world.forwarded();
    world.end_tasks();
    assert_eq!(finals(&world), [480]);
    assert_eq!(script.causes(), []);
    // While it is being stored, too: the sender sends again, and the copy is recognised.
    let slow = Rc::new(Script { takes: Cell::new(SECOND), ..Script::default() });
    let setup = bob(|profile| profile.store_pager_mode = true);
    let world = World::new(Setup { deferral: Some(slow.clone()), ..setup }).await;
    world.bob_gets("", "hi").await;
    assert_eq!(slow.causes(), [Cause::Setting]);
    world.nothing_was_sent();
    world.end_tasks();
    assert_eq!(finals(&world), [480]);
}
