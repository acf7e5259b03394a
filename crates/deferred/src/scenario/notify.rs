//! Users who are told of their messages instead of getting them.

use std::time::Duration;

use parlance_isc::{Cause, Marks, Origin};
use parlance_sip::HeaderName;
use parlance_store::Deferral;

use super::{ALICE, Answer, BOB, SECRET, World, story};
use crate::{Delivery, Policy};

fn policy() -> Policy {
    Policy { delivery: Delivery::Notify, ..Policy::default() }
}

fn told(count: u32) -> String {
    format!("You have {count} stored instant messages.")
}

// Covers: DF-060, DF-062, DF-063, DF-064, CORE-064, ROLE-013
#[tokio::test(start_paused = true)]
async fn a_new_registration_is_told_once_how_much_waits() {
    story(policy(), async |world: &World| {
        world.keep(&["one", "two", "three"]).await;
        world.register(BOB).await;
        world.after(1.9).await;
        assert!(world.sent().is_empty());
        world.after(1.0).await;
        assert_eq!(world.bodies(), [told(3)]);
        let sent = &world.sent()[0];
        assert_eq!(sent.to(), BOB);
        assert_eq!(sent.field(HeaderName::PAssertedIdentity), "<sip:im-deferred@ims.test>");
        assert_eq!(Marks::new(SECRET).recognise(&sent.request), Some(Origin::Notification));
        // A refresh tells nothing, the next registration does.
        world.register(BOB).await;
        world.after(1000.0).await;
        assert_eq!(world.sent().len(), 1);
        world.deregister(BOB).await;
        world.after(1.0).await;
        world.register(BOB).await;
        world.after(3.0).await;
        assert_eq!(world.bodies(), [told(3), told(3)]);
        assert_eq!(world.kept().await, 3, "they wait to be fetched");
    })
    .await;
}

// Covers: DF-060
#[tokio::test(start_paused = true)]
async fn an_empty_inbox_is_not_announced() {
    story(policy(), async |world: &World| {
        world.register(BOB).await;
        world.after(100.0).await;
        assert!(world.sent().is_empty());
    })
    .await;
}

// Covers: DF-022, DF-064, DF-084
#[tokio::test(start_paused = true)]
async fn what_is_kept_while_he_is_there_is_announced() {
    story(policy(), async |world: &World| {
        world.profile(|bob| bob.store_pager_mode = true).await;
        world.register(BOB).await;
        world.after(10.0).await;
        // A burst is one notification.
        for body in ["one", "two"] {
            world.offer(ALICE, body, Cause::Setting).await;
        }
        world.after(3.0).await;
        assert_eq!(world.bodies(), [told(2)]);
        world.offer(ALICE, "three", Cause::Setting).await;
        world.after(3.0).await;
        assert_eq!(world.bodies(), [told(2), told(3)]);
        world.after(3000.0).await;
        assert_eq!(world.sent().len(), 2);
    })
    .await;
}

// Covers: DF-065
#[tokio::test(start_paused = true)]
async fn a_notification_that_fails_is_tried_again() {
    for failing in [Answer::Now(480), Answer::Now(408), Answer::Now(503), Answer::Unreachable] {
        story(policy(), async |world: &World| {
            world.keep(&["one"]).await;
            world.answers(failing.clone());
            world.register(BOB).await;
            world.after(3.0).await;
            assert_eq!(world.sent().len(), 1);
            // New messages do not shorten the back-off.
            world.offer(ALICE, "two", Cause::Setting).await;
            world.after(58.0).await;
            assert_eq!(world.sent().len(), 1);
            world.after(2.5).await;
            assert_eq!(world.sent().len(), 2);
            world.after(110.0).await;
            assert_eq!(world.sent().len(), 2);
            world.answers(Answer::Now(200));
            world.after(15.0).await;
            assert_eq!(world.bodies().last().unwrap(), &told(2));
            world.after(3000.0).await;
            assert_eq!(world.sent().len(), 3, "{failing:?}");
        })
        .await;
    }
}

// Covers: DF-065
#[tokio::test(start_paused = true)]
async fn a_registration_tries_again_before_the_back_off_is_over() {
    story(policy(), async |world: &World| {
        world.keep(&["one"]).await;
        world.answers(Answer::Now(480));
        world.register(BOB).await;
        world.after(3.0).await;
        world.answers(Answer::Now(200));
        world.deregister(BOB).await;
        world.after(1.0).await;
        world.register(BOB).await;
        world.after(2.5).await;
        assert_eq!(world.bodies(), [told(1), told(1)]);
    })
    .await;
}

// Covers: DF-061
#[tokio::test(start_paused = true)]
async fn after_the_de_registration_nothing_is_announced() {
    story(policy(), async |world: &World| {
        world.register(BOB).await;
        world.after(5.0).await;
        world.offer(ALICE, "one", Cause::Setting).await;
        world.after(0.5).await;
        world.deregister(BOB).await;
        world.offer(ALICE, "two", Cause::Unregistered).await;
        world.after(3000.0).await;
        assert!(world.sent().is_empty());
    })
    .await;
}

// Covers: DF-062
#[tokio::test(start_paused = true)]
async fn the_user_chooses_for_himself() {
    let operator = [Delivery::PushMessage, Delivery::Notify, Delivery::None];
    #[rustfmt::skip]
    let table = [
        (Deferral::Notify,      vec![told(1)]),
        (Deferral::PushMsrp,    vec![told(1)]),
        (Deferral::PushMessage, vec!["one".to_owned()]),
        (Deferral::None,        vec![]),
    ];
    for delivery in operator {
        for (own, expected) in &table {
            let policy = Policy { delivery, ..Policy::default() };
            story(policy, async |world: &World| {
                world.profile(|bob| bob.deferral = *own).await;
                world.keep(&["one"]).await;
                world.register(BOB).await;
                world.after(1000.0).await;
                assert_eq!(&world.bodies(), expected, "{delivery:?}, {own:?}");
            })
            .await;
        }
    }
}

// Covers: DF-062
#[tokio::test(start_paused = true)]
async fn a_change_of_mind_is_acted_on() {
    story(policy(), async |world: &World| {
        world.keep(&["one"]).await;
        world.register(BOB).await;
        world.after(5.0).await;
        assert_eq!(world.bodies(), [told(1)]);
        world.profile(|bob| bob.deferral = Deferral::PushMessage).await;
        world.deferred.changed(&world.cx, &BOB.into());
        world.after(1.0).await;
        assert_eq!(world.bodies(), [told(1), "one".to_owned()]);
    })
    .await;
}

// Covers: CORE-050
#[tokio::test(start_paused = true)]
async fn notifications_do_not_overlap() {
    story(policy(), async |world: &World| {
        world.answers(Answer::After(Duration::from_secs(10), 200));
        world.keep(&["one"]).await;
        world.register(BOB).await;
        world.after(4.0).await;
        world.offer(ALICE, "two", Cause::Setting).await;
        world.after(60.0).await;
        assert_eq!(world.bodies(), [told(1), told(2)]);
        assert_eq!(world.times()[0], 2_000);
        assert!(world.times()[1] >= 12_000, "{:?}", world.times());
    })
    .await;
}
