//! Servers that are killed, and what the next one does.

use std::sync::Arc;
use std::time::Duration;

use parlance_isc::{Cause, Offered};
use parlance_store::{Inboxes, Memory, Registrations, Seq, StoreError};

use super::{ALICE, Answer, BOB, World, at_once, binding, runs};
use crate::{Delivery, Policy};

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new())
}

// Covers: DF-017, DF-070
#[tokio::test(start_paused = true)]
async fn what_was_in_flight_is_sent_again_as_the_same_request() {
    let mut runs = runs(Policy::default(), memory());
    let (mut before, mut after) = (Vec::new(), Vec::new());
    runs.run(async |world: &World| {
        world.keep(&["one", "two", "three"]).await;
        world.script(|request| match request.body() {
            b"one" => Answer::Now(200),
            _ => Answer::Never,
        });
        world.register(BOB).await;
        world.after(5.0).await;
        before = world.sent();
        assert_eq!(world.bodies(), ["one", "two"]);
    })
    .await;
    // Killed while "two" was in flight.
    runs.run(async |world: &World| {
        world.after(60.0).await;
        after = world.sent();
        assert_eq!(world.bodies(), ["two", "three"], "what was settled is not sent again");
        assert_eq!(world.kept().await, 0);
    })
    .await;
    assert_eq!(after[0].identity(), before[1].identity());
    let names = |sent: &super::Sent| {
        let fields = sent.request.fields().map(|(_, name, _)| name.to_vec());
        fields.collect::<Vec<_>>()
    };
    assert_eq!(names(&after[0]), names(&before[1]));
    assert_ne!(after[1].identity(), after[0].identity());
    // While the client still knows the transaction (Timer J, 32 s) it absorbs the second.
    assert!(after[0].at - before[1].at < Duration::from_secs(32));
}

// Covers: DF-017
#[tokio::test(start_paused = true)]
async fn a_node_that_is_back_has_its_leases_still() {
    let mut runs = runs(Policy::default(), memory());
    let (mut before, mut after) = (Vec::new(), Vec::new());
    runs.run(async |world: &World| {
        world.keep(&["one"]).await;
        world.answers(Answer::Never);
        world.register(BOB).await;
        world.after(5.0).await;
        before = world.sent();
    })
    .await;
    runs.again(async |world: &World| {
        world.after(3.0).await;
        after = world.sent();
        assert_eq!((world.bodies(), world.kept().await), (vec!["one".to_owned()], 0));
    })
    .await;
    assert_eq!(after[0].identity(), before[0].identity());
}

// Covers: DF-017
#[tokio::test(start_paused = true)]
async fn the_identifiers_are_durable_before_the_request_leaves() {
    let store = memory();
    runs(Policy::default(), Arc::clone(&store))
        .run(async |world: &World| {
            world.keep(&["one"]).await;
            let seen = Arc::clone(&store);
            world.script(move |request| {
                let items = at_once(seen.head(&BOB.into(), Seq(0), 1));
                let attempt = items[0].attempt.as_ref().expect("it is noted");
                let via = request.top_via().expect("ours");
                assert_eq!(Some(attempt.branch.as_str()), via.branch());
                assert_eq!(attempt.call_id.as_bytes(), request.call_id());
                assert_eq!(Some(attempt.cseq), request.cseq().map(|cseq| cseq.number));
                Answer::Now(200)
            });
            world.register(BOB).await;
            world.after(3.0).await;
            assert_eq!((world.sent().len(), world.kept().await), (1, 0));
        })
        .await;
}

// Covers: DF-065
#[tokio::test(start_paused = true)]
async fn what_failed_before_the_kill_is_a_new_transaction_and_waits() {
    let mut runs = runs(Policy::default(), memory());
    let mut before = Vec::new();
    runs.run(async |world: &World| {
        world.keep(&["one"]).await;
        world.answers(Answer::Now(480));
        world.register(BOB).await;
        world.after(10.0).await;
        before = world.sent();
    })
    .await;
    runs.run(async |world: &World| {
        world.until(61.9).await;
        assert!(world.sent().is_empty(), "the back-off survives the kill");
        world.after(2.0).await;
        let after = world.sent();
        assert_eq!((before.len(), after.len()), (1, 1));
        assert_ne!(after[0].identity()[0], before[0].identity()[0]);
        assert_ne!(after[0].branch(), before[0].branch());
    })
    .await;
}

// Covers: DF-081, DF-064
#[tokio::test(start_paused = true)]
async fn who_declined_or_was_told_is_left_alone_after_a_restart() {
    let table = [(Delivery::PushMessage, 603), (Delivery::Notify, 200)];
    for (delivery, status) in table {
        let mut runs = runs(Policy { delivery, ..Policy::default() }, memory());
        runs.run(async |world: &World| {
            world.keep(&["one"]).await;
            world.answers(Answer::Now(status));
            world.register(BOB).await;
            world.after(10.0).await;
            assert_eq!(world.sent().len(), 1);
        })
        .await;
        runs.run(async |world: &World| {
            world.after(3000.0).await;
            assert!(world.sent().is_empty(), "{delivery:?}");
            world.deregister(BOB).await;
            world.register(BOB).await;
            world.after(3.0).await;
            assert_eq!(world.sent().len(), 1);
        })
        .await;
    }
}

// Covers: DF-017, DF-070
#[tokio::test(start_paused = true)]
async fn a_kill_at_any_moment_loses_nothing() {
    // While it settles; just after the REGISTER was applied; just after the 202.
    let kills: [(&str, &[&str]); 3] =
        [("settling", &["one"]), ("registered", &["one"]), ("stored", &["one"])];
    for (moment, expected) in kills {
        let mut runs = runs(Policy::default(), memory());
        runs.run(async |world: &World| match moment {
            "settling" => {
                world.keep(&["one"]).await;
                world.register(BOB).await;
                world.after(1.0).await;
            }
            "registered" => {
                world.keep(&["one"]).await;
                world.store.bind(binding(BOB), world.cx.now()).await.unwrap();
            }
            _ => {
                world.register(BOB).await;
                world.after(3.0).await;
                let offered = world.offer(ALICE, "one", Cause::Setting).await;
                assert!(matches!(offered, Offered::Stored(_)));
            }
        })
        .await;
        runs.run(async |world: &World| {
            world.after(20.0).await;
            assert_eq!(world.bodies(), expected, "{moment}");
            assert_eq!(world.kept().await, 0);
        })
        .await;
    }
}

// Covers: DF-016
#[tokio::test(start_paused = true)]
async fn what_the_client_took_is_not_sent_twice_when_the_store_fails() {
    let store = memory();
    let mut runs = runs(Policy::default(), Arc::clone(&store));
    runs.run(async |world: &World| {
        world.keep(&["one", "two"]).await;
        let broken = Arc::clone(&store);
        world.script(move |_| {
            broken.fail(Some(StoreError::Busy));
            Answer::Now(200)
        });
        world.register(BOB).await;
        world.after(12.0).await;
        assert_eq!(world.bodies(), ["one"]);
        store.fail(None);
        world.answers(Answer::Now(200));
        world.after(30.0).await;
        assert_eq!(world.bodies(), ["one", "two"]);
        assert_eq!(world.kept().await, 0);
    })
    .await;
    // Killed before the store could note it: the same request again, which the client knows.
    let mut first = Vec::new();
    runs.run(async |world: &World| {
        world.keep(&["three"]).await;
        let broken = Arc::clone(&store);
        world.script(move |_| {
            broken.fail(Some(StoreError::Busy));
            Answer::Now(200)
        });
        world.deregister(BOB).await;
        world.register(BOB).await;
        world.after(5.0).await;
        first = world.sent();
        store.fail(None);
    })
    .await;
    runs.run(async |world: &World| {
        world.after(20.0).await;
        let sent = world.sent();
        assert_eq!((first.len(), sent.len()), (1, 1));
        assert_eq!(sent[0].identity(), first[0].identity());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_for_a_while_delays_only() {
    let store = memory();
    runs(Policy::default(), Arc::clone(&store))
        .run(async |world: &World| {
            world.keep(&["one"]).await;
            world.register(BOB).await;
            store.fail(Some(StoreError::Busy));
            world.after(20.0).await;
            assert!(world.sent().is_empty());
            store.fail(None);
            world.after(10.0).await;
            assert_eq!(world.bodies(), ["one"]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_drained_server_ends_cleanly_and_the_next_goes_on_at_once() {
    let mut runs = runs(Policy::default(), memory());
    runs.run(async |world: &World| {
        world.keep(&["one", "two"]).await;
        world.answers(Answer::After(Duration::from_secs(4), 200));
        world.register(BOB).await;
        world.after(3.0).await;
        world.deferred.drain().await;
        assert_eq!(world.bodies(), ["one"]);
        assert_eq!(world.kept().await, 1, "what was in flight was waited for");
        assert_eq!(world.cx.now().since(super::T0), Duration::from_secs(6));
        assert!(world.is_due().await);
        world.after(100.0).await;
        assert_eq!(world.sent().len(), 1, "nothing new is begun");
    })
    .await;
    runs.run(async |world: &World| {
        world.after(0.5).await;
        assert_eq!(world.bodies(), ["two"]);
        world.deferred.drain().await;
    })
    .await;
}

// Covers: DF-012, DF-085
#[tokio::test(start_paused = true)]
async fn two_nodes_never_deliver_for_one_user_at_a_time() {
    runs(Policy::default(), memory())
        .run_two(async |one: &World, two: &World| {
            one.keep(&["a", "b", "c"]).await;
            for world in [one, two] {
                world.answers(Answer::After(Duration::from_secs(20), 200));
            }
            one.register(BOB).await;
            one.after(3.0).await;
            // The next REGISTER goes to the other node.
            two.deregister(BOB).await;
            two.register(BOB).await;
            one.after(100.0).await;
            let mut sent: Vec<_> = one.sent().into_iter().chain(two.sent()).collect();
            sent.sort_by_key(|sent| sent.at);
            let bodies: Vec<String> = sent.iter().map(super::Sent::body).collect();
            assert_eq!(bodies, ["a", "b", "c"]);
            let apart =
                sent.windows(2).all(|pair| pair[1].at - pair[0].at >= Duration::from_secs(20));
            assert!(apart, "one in flight at a time");
            assert_eq!(one.kept().await, 0);
        })
        .await;
}

// The other node still serves the registration before, and gives the inbox back as undeliverable.
// Covers: DF-070
#[tokio::test(start_paused = true)]
async fn a_registration_is_not_lost_to_a_node_that_gives_up() {
    runs(Policy::default(), memory())
        .run(async |world: &World| {
            world.keep(&["one"]).await;
            let now = world.cx.now();
            let until = now + Duration::from_secs(10);
            let fence = world.store.lease(&BOB.into(), 99, until, now).await.unwrap().unwrap();
            world.register(BOB).await;
            world.after(3.0).await;
            world.store.release(&fence).await.unwrap();
            world.after(10.0).await;
            assert_eq!(world.bodies(), ["one"]);
        })
        .await;
}
