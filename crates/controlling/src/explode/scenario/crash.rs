//! Servers that are killed or stopped, and what the next one does.

use std::time::Duration;

use parlance_store::Millis;

use super::{Answer, EXPLODER, MIXED, REQUIRE, Runs, T0, TEXT, World, list, message, parts, users};
use crate::Policy;
use crate::explode::ExplodePolicy;
use crate::explode::job::Ids;

fn two_at_a_time() -> Runs {
    let explode = ExplodePolicy { outstanding_max: 2, ..ExplodePolicy::default() };
    Runs::new(Policy { explode, ..Policy::default() })
}

// Covers: CF-010, CF-018
#[tokio::test(start_paused = true)]
async fn what_was_in_flight_is_sent_again_as_the_same_request() {
    let runs = two_at_a_time();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    runs.run(async |world: &World| {
        world.script(|request| match request.uri_text() {
            b"sip:u0@ims.test" => Answer::Now(200),
            _ => Answer::Never,
        });
        assert_eq!(world.explode(&users(4)).await, 202);
        world.after(5.0).await;
        before = world.sent();
    })
    .await;
    // Killed while the second and third were in flight.
    assert_eq!(before.len(), 3);
    runs.run(async |world: &World| {
        world.after(5.0).await;
        after = world.sent();
        let to = ["sip:u1@ims.test", "sip:u2@ims.test", "sip:u3@ims.test"];
        assert_eq!(world.recipients(), to, "what was done is not sent again");
        assert_eq!(world.kept().await, 0);
    })
    .await;
    for (again, first) in after.iter().zip(&before[1..]) {
        assert_eq!(again.identity(), first.identity());
        assert_eq!(again.request.body(), first.request.body());
        let names = |sent: &super::Sent| {
            let fields = sent.request.fields().map(|(_, name, _)| name.to_vec());
            fields.collect::<Vec<_>>()
        };
        assert_eq!(names(again), names(first));
    }
}

// Covers: CF-010
#[tokio::test(start_paused = true)]
async fn a_message_that_comes_again_is_answered_and_not_exploded_again() {
    let runs = two_at_a_time();
    let body = parts(&[TEXT, &list(&users(2))]);
    let text = |branch: u32| {
        let text = message(EXPLODER, 1, REQUIRE, (MIXED, &body));
        text.replace("z9hG4bKcall1", &format!("z9hG4bKcall{branch}"))
    };
    runs.run(async |world: &World| {
        assert_eq!(world.give(&text(1)).await.status(), 202);
        world.after(5.0).await;
        assert_eq!(world.sent().len(), 2);
        assert_eq!(world.give(&text(2)).await.status(), 202, "another transaction");
    })
    .await;
    runs.run(async |world: &World| {
        assert_eq!(world.give(&text(1)).await.status(), 202, "the server does not know it");
        world.after(5.0).await;
        assert!(world.sent().is_empty());
    })
    .await;
}

// Covers: CF-010, CF-018
#[tokio::test(start_paused = true)]
async fn a_server_that_stops_leaves_the_rest_to_the_next() {
    let runs = two_at_a_time();
    runs.run(async |world: &World| {
        world.answers(Answer::After(3, 200));
        assert_eq!(world.explode(&users(6)).await, 202);
        world.after(4.0).await;
        world.exploder.drain().await;
        assert_eq!(world.sent().len(), 4, "what was in flight is waited for");
        assert_eq!((world.kept().await, world.exploder.running()), (1, 0));
    })
    .await;
    runs.run(async |world: &World| {
        world.after(5.0).await;
        assert_eq!(world.recipients(), ["sip:u4@ims.test", "sip:u5@ims.test"]);
        assert_eq!(world.kept().await, 0);
    })
    .await;
}

// Covers: CORE-052
#[tokio::test(start_paused = true)]
async fn what_is_too_late_is_not_sent() {
    let runs = two_at_a_time();
    runs.run(async |world: &World| {
        world.answers(Answer::Never);
        let body = parts(&[TEXT, &list(&users(4))]);
        let said = format!("{REQUIRE}Expires: 20");
        assert_eq!(world.send(EXPLODER, &said, (MIXED, &body)).await.status(), 202);
        world.after(120.0).await;
        assert_eq!(world.recipients(), ["sip:u0@ims.test", "sip:u1@ims.test"]);
        assert_eq!(world.kept().await, 0);
    })
    .await;
    // The operator's limit counts after a long stop as well.
    runs.run(async |world: &World| {
        world.answers(Answer::Never);
        assert_eq!(world.explode(&users(4)).await, 202);
        world.after(1.0).await;
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    runs.run(async |world: &World| {
        world.after(1.0).await;
        assert!(world.sent().is_empty());
        assert_eq!(world.kept().await, 0);
    })
    .await;
}

#[test]
fn identifiers_follow_from_the_seed_and_the_place() {
    let ids = |seed: u8, place| Ids::of(&[seed; 16], place, "ims.test");
    assert_eq!(ids(1, 2), ids(1, 2));
    let (one, other, elsewhere) = (ids(1, 2), ids(1, 3), ids(2, 2));
    for (a, b) in [(&one, &other), (&one, &elsewhere)] {
        assert!(a.call_id != b.call_id && a.from_tag != b.from_tag && a.random != b.random);
    }
    assert!(one.call_id.ends_with("@ims.test") && one.call_id.len() == 32 + 9);
    assert!(T0 > Millis(0));
}
