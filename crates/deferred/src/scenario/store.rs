//! What is kept and what is refused.

use std::sync::Arc;

use parlance_isc::{Cause, Offered};
use parlance_store::{Entry, Inboxes, Memory, Millis, Seq, StoreError};

use super::{ALICE, BOB, T0, World, message, runs, story};
use crate::{Delivery, Policy};

fn stored(offered: &Offered) -> u64 {
    match offered {
        Offered::Stored(seq) => seq.0,
        other => panic!("{other:?}"),
    }
}

fn refused(offered: Offered) -> (u16, Vec<String>) {
    match offered {
        Offered::Refused(reply) => (
            reply.status,
            reply.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect(),
        ),
        other => panic!("{other:?}"),
    }
}

// Covers: DF-002, DF-003, DF-012, DF-013, DF-017, DF-031, DF-032, ROLE-006
#[tokio::test(start_paused = true)]
async fn what_was_promised_is_in_the_store_before_the_promise() {
    story(Policy::default(), async |world: &World| {
        let first = world.offer(ALICE, "one", Cause::Unregistered).await;
        assert_eq!(stored(&first), 1);
        let kept = world.store.head(&BOB.into(), Seq(0), 10).await.unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].originator.as_str(), kept[0].received), (ALICE, T0));
        assert_eq!(kept[0].expires, Millis(T0.0 + 7 * 86_400_000));
        let text = String::from_utf8(kept[0].payload.to_vec()).unwrap();
        assert!(text.ends_with("\r\n\r\none"), "{text}");
        assert!(text.contains("\r\nDate: Wed, 01 Mar 2006 10:15:30 GMT\r\n"), "{text}");
        let second = world.offer("sip:carol@ims.test", "two", Cause::Unregistered).await;
        assert_eq!(stored(&second), 2);
        let own = world.store.head(&ALICE.into(), Seq(0), 10).await.unwrap();
        assert!(own.is_empty(), "it is the recipient's");
    })
    .await;
}

// Covers: DF-016, DF-017
#[tokio::test(start_paused = true)]
async fn a_failing_store_promises_nothing() {
    story(Policy::default(), async |world: &World| {
        for failure in [StoreError::Full("disk".into()), StoreError::Busy, StoreError::Interrupted]
        {
            world.store.fail(Some(failure));
            let offered = world.offer(ALICE, "one", Cause::Unregistered).await;
            assert_eq!(refused(offered), (480, vec!["Retry-After: 30".to_owned()]));
            assert!(!world.pending().await, "delivery goes first");
        }
        world.store.fail(None);
        assert_eq!(world.kept().await, 0);
    })
    .await;
}

// Covers: DF-008
#[tokio::test(start_paused = true)]
async fn a_full_inbox_takes_no_more() {
    let policy = Policy { items_max: 2, ..Policy::default() };
    story(policy, async |world: &World| {
        world.keep(&["one", "two"]).await;
        let full = (480, vec!["Warning: 399 ims.test \"mailbox full\"".to_owned()]);
        let offered = world.offer(ALICE, "three", Cause::Unregistered).await;
        assert_eq!(refused(offered), full);
        world.register(BOB).await;
        world.after(3.0).await;
        assert_eq!(world.bodies(), ["one", "two"], "the oldest are not thrown out");
        assert_eq!(stored(&world.offer(ALICE, "four", Cause::Unregistered).await), 3);
    })
    .await;
    let octets = Policy { octets_max: 1000, ..Policy::default() };
    story(octets, async |world: &World| {
        world.keep(&[&"x".repeat(400)]).await;
        let offered = world.offer(ALICE, &"x".repeat(400), Cause::Unregistered).await;
        assert_eq!(refused(offered).0, 480);
        assert_eq!(world.kept().await, 1);
    })
    .await;
}

// Covers: DF-086
#[tokio::test(start_paused = true)]
async fn what_comes_again_is_kept_once() {
    story(Policy::default(), async |world: &World| {
        let text = message(ALICE, "same", "", "hello");
        let cause = Cause::Unregistered;
        assert_eq!(stored(&world.offer_request(ALICE, &text, cause).await), 1);
        let again = world.offer_request(ALICE, &text, cause).await;
        assert!(matches!(again, Offered::Duplicate), "{again:?}");
        // Another sender may use the same Call-ID; another CSeq is another message.
        let other = world.offer_request("sip:carol@ims.test", &text, cause).await;
        assert_eq!(stored(&other), 2);
        let next = text.replace("CSeq: 1 ", "CSeq: 2 ");
        assert_eq!(stored(&world.offer_request(ALICE, &next, cause).await), 3);
        world.register(BOB).await;
        world.after(3.0).await;
        assert_eq!(world.kept().await, 0);
        // Delivered or not, within a day it is known.
        world.after(86_400.0 - 10.0).await;
        let late = world.offer_request(ALICE, &text, cause).await;
        assert!(matches!(late, Offered::Duplicate), "{late:?}");
        world.after(20.0).await;
        assert_eq!(stored(&world.offer_request(ALICE, &text, cause).await), 4);
    })
    .await;
}

// Covers: DF-086
#[tokio::test(start_paused = true)]
async fn a_client_that_sends_anew_is_known_by_the_name_in_the_body() {
    story(Policy::default(), async |world: &World| {
        let body = "From: <sip:alice@ims.test>\r\nTo: <sip:bob@ims.test>\r\n\
                    NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: m1\r\n\r\n\
                    Content-Type: text/plain\r\n\r\nhi";
        let cpim = "Content-Type: message/cpim\r\n";
        let offer =
            async |from: &str| world.offer_with(from, cpim, body, Cause::Unregistered).await;
        assert_eq!(stored(&offer(ALICE).await), 1);
        assert!(matches!(offer(ALICE).await, Offered::Duplicate));
        assert_eq!(stored(&offer("sip:carol@ims.test").await), 2, "his own name");
    })
    .await;
}

// Covers: DF-007, CORE-052
#[tokio::test(start_paused = true)]
async fn nobody_is_made_to_keep_what_he_does_not_want() {
    story(Policy::default(), async |world: &World| {
        let never = ["Expires: 0\r\n", "Request-Disposition: no-queue\r\n"];
        for header in never {
            let offered = world.offer_with(ALICE, header, "x", Cause::Unanswered).await;
            assert_eq!(refused(offered), (480, vec![]), "{header}");
        }
        world.profile(|bob| bob.reject = vec![Entry::Identity(ALICE.into())]).await;
        assert_eq!(refused(world.offer(ALICE, "x", Cause::Unregistered).await), (480, vec![]));
        world.profile(|bob| bob.offline_storage = Some(vec![])).await;
        assert_eq!(refused(world.offer(ALICE, "x", Cause::Unregistered).await), (480, vec![]));
        world.profile(|bob| bob.offline_delivery = Some(false)).await;
        assert_eq!(refused(world.offer(ALICE, "x", Cause::Unregistered).await), (480, vec![]));
        assert_eq!(world.kept().await, 0);
        world.profile(|_| {}).await;
        assert_eq!(stored(&world.offer(ALICE, "x", Cause::Unregistered).await), 1);
    })
    .await;
}

// Covers: DF-083
#[tokio::test(start_paused = true)]
async fn new_messages_queue_behind_what_is_being_pushed() {
    story(Policy::default(), async |world: &World| {
        assert!(!world.pending().await);
        world.keep(&["one", "two"]).await;
        assert!(world.pending().await);
        world.answers(super::Answer::After(std::time::Duration::from_secs(4), 200));
        world.register(BOB).await;
        world.after(3.0).await;
        assert_eq!(world.bodies(), ["one"], "in flight");
        assert!(world.pending().await);
        assert_eq!(stored(&world.offer(ALICE, "three", Cause::Behind).await), 3);
        world.after(30.0).await;
        assert_eq!(world.bodies(), ["one", "two", "three"]);
        assert!(!world.pending().await, "the next goes directly");
    })
    .await;
}

// Covers: DF-083, DF-062
#[tokio::test(start_paused = true)]
async fn what_waits_to_be_fetched_is_no_queue() {
    for delivery in [Delivery::Notify, Delivery::None, Delivery::PushMsrp] {
        let policy = Policy { delivery, ..Policy::default() };
        story(policy, async |world: &World| {
            world.keep(&["one"]).await;
            assert!(!world.pending().await, "{delivery:?}");
        })
        .await;
    }
}

// A message that is kept while its recipient registers is found, whichever was first.
// Covers: DF-002, DF-070
#[tokio::test(start_paused = true)]
async fn a_registration_in_the_same_moment_is_not_missed() {
    let store = Arc::new(Memory::new());
    let mut runs = runs(Policy::default(), store);
    runs.run(async |world: &World| {
        // The participating function found him away; he registered before the message was kept.
        world.register(BOB).await;
        world.after(5.0).await;
        world.keep(&["one"]).await;
        world.after(1.0).await;
        assert_eq!(world.bodies(), ["one"]);
    })
    .await;
}

// A message kept for somebody who is there is due in the store itself, not only in memory.
// Covers: DF-017
#[tokio::test(start_paused = true)]
async fn the_word_of_a_message_cannot_get_lost() {
    story(Policy::default(), async |world: &World| {
        world.register(BOB).await;
        world.after(5.0).await;
        assert!(!world.is_due().await);
        // The lane had no turn yet.
        world.offer(ALICE, "one", Cause::Setting).await;
        assert!(world.is_due().await);
    })
    .await;
    story(Policy::default(), async |world: &World| {
        world.keep(&["one"]).await;
        world.after(1000.0).await;
        assert!(!world.is_due().await, "nothing to do for who is away");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_operator_changes_his_mind_while_it_runs() {
    story(Policy::default(), async |world: &World| {
        let kept = world.offer(ALICE, "one", Cause::Unregistered).await;
        assert!(matches!(kept, Offered::Stored(_)), "{kept:?}");
        world.deferred.reload(Policy { enabled: false, ..Policy::default() });
        let refused = world.offer(ALICE, "two", Cause::Unregistered).await;
        assert!(matches!(refused, Offered::Refused(_)), "{refused:?}");
        // What is there is still delivered.
        world.register(BOB).await;
        world.after(5.0).await;
        assert_eq!(world.bodies(), ["one"]);
    })
    .await;
}
