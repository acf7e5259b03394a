//! MESSAGE for users who are away.

use parlance_lab::ue::{Behaviour, Draft};
use parlance_lab::world::World;
use parlance_store::StoreError;

use crate::{ALICE, BOB, CAROL, alice_and_bob, people, seconds, story};

/// Alice is there, the others are not.
async fn alice_alone(configuration: &str) -> World {
    let world = people().configuration(configuration).build().await.unwrap();
    assert_eq!(world.ue("alice").register().await.status, 200);
    world.settle(seconds(1)).await;
    world
}

// Covers: DF-002, DF-003, DF-060, DF-062, CORE-064, PF-001
#[tokio::test(start_paused = true)]
async fn a_message_for_a_user_who_is_away_is_kept_and_pushed_once() {
    story(async || {
        let world = alice_alone("").await;
        let answer = world.ue("alice").message(BOB, "see you").await;
        assert_eq!(answer.status, 202);
        assert_eq!(world.waiting("bob").await, 1);
        assert_eq!(world.ue("bob").register().await.status, 200);
        world.settle(seconds(10)).await;
        assert_eq!(world.ue("bob").texts(), ["see you"]);
        assert_eq!(world.waiting("bob").await, 0, "what came back to us is not kept again");
        let got = world.ue("bob").received();
        assert_eq!(got[0].header("P-Asserted-Identity"), Some(format!("<{ALICE}>")));
        // The push went through the recipient's criteria, to the terminating port.
        let traced = world.core.trace();
        let back = traced.iter().filter(|traced| {
            let text = traced.text();
            traced.sent && traced.peer.port() == 5081 && text.contains("see you")
        });
        assert_eq!(back.count(), 2, "as it was sent, and as it was pushed");
    })
    .await;
}

// Covers: DF-064, CORE-024
#[tokio::test(start_paused = true)]
async fn a_refreshed_registration_tells_nothing_again() {
    story(async || {
        let notify = "[deferred]\nsettle_ms = 0\ndelivery = \"notify\"\n";
        let world = alice_alone(notify).await;
        world.ue("alice").message(BOB, "one").await;
        world.ue("alice").message(BOB, "two").await;
        world.ue("bob").register().await;
        world.settle(seconds(5)).await;
        let told = world.ue("bob").texts();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains('2'), "{told:?}");
        for _ in 0..3 {
            world.ue("bob").register().await;
            world.settle(seconds(30)).await;
        }
        assert_eq!(world.ue("bob").received().len(), 1);
        world.ue("bob").deregister().await;
        world.ue("bob").register().await;
        world.settle(seconds(5)).await;
        assert_eq!(world.ue("bob").received().len(), 2, "a new registration is told");
    })
    .await;
}

// Covers: DF-012, DF-083
#[tokio::test(start_paused = true)]
async fn messages_of_one_sender_arrive_in_order() {
    story(async || {
        let world = alice_alone("").await;
        let texts: Vec<String> = (0..30).map(|number| format!("number {number}")).collect();
        for text in &texts[..20] {
            assert_eq!(world.ue("alice").message(BOB, text).await.status, 202);
        }
        world.ue("bob").register().await;
        // The rest arrives while the first are being pushed.
        for text in &texts[20..] {
            let status = world.ue("alice").message(BOB, text).await.status;
            assert!(status == 202 || status == 200, "{status}");
        }
        world.settle(seconds(60)).await;
        assert_eq!(world.ue("bob").texts(), texts);
    })
    .await;
}

// Covers: DF-061, DF-065
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_user_left() {
    story(async || {
        let world = alice_alone("").await;
        world.ue("alice").message(BOB, "one").await;
        world.ue("bob").behave(Behaviour::Answer(480));
        world.ue("bob").register().await;
        world.settle(seconds(200)).await;
        let tries = world.ue("bob").received().len();
        assert!((2..=4).contains(&tries), "tried again after 60 and 120 seconds: {tries}");
        world.ue("bob").deregister().await;
        world.ue("alice").message(BOB, "two").await;
        world.settle(seconds(4_000)).await;
        assert_eq!(world.ue("bob").received().len(), tries);
        world.ue("bob").behave(Behaviour::Answer(200));
        world.ue("bob").register().await;
        world.settle(seconds(10)).await;
        assert_eq!(world.ue("bob").texts(), ["one", "two"]);
    })
    .await;
}

/// A draft of a message in CPIM that asks for `wanted`.
fn asking(wanted: &str, text: &str) -> Draft {
    let body = format!(
        "From: <sip:alice@ims.test>\r\nTo: <sip:bob@ims.test>\r\n\
         DateTime: 2026-09-21T14:13:20Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: m1\r\nimdn.Disposition-Notification: {wanted}\r\n\r\n\
         Content-Type: text/plain\r\n\r\n{text}"
    );
    Draft::message(BOB, "").body("message/cpim", body.as_bytes())
}

// Covers: DF-082, PF-094
#[tokio::test(start_paused = true)]
async fn that_a_message_is_stored_is_told_once_to_who_asked() {
    story(async || {
        let world = alice_alone("").await;
        let draft = asking("processing, negative-delivery", "hello");
        assert_eq!(world.ue("alice").send(draft).await.status, 202);
        world.settle(seconds(5)).await;
        let told = world.ue("alice").received();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].header("Content-Type").as_deref(), Some("message/cpim"));
        let text = world.ue("alice").texts().concat();
        for part in ["Content-Type: message/imdn+xml", "<message-id>m1</message-id>", "<stored/>"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        world.ue("bob").register().await;
        world.settle(seconds(100)).await;
        assert_eq!((world.waiting("bob").await, world.ue("bob").received().len()), (0, 1));
        // Delivered at once: nothing is stored, and the server has nothing to tell.
        assert_eq!(world.ue("alice").send(asking("processing", "again")).await.status, 200);
        world.settle(seconds(100)).await;
        assert_eq!(world.ue("alice").received().len(), 1, "once");
    })
    .await;
}

// Covers: DF-009, CORE-052
#[tokio::test(start_paused = true)]
async fn a_message_that_ran_out_is_reported_and_not_delivered() {
    story(async || {
        let world = alice_alone("").await;
        let draft = asking("negative-delivery", "soon stale").header("Expires", "60");
        assert_eq!(world.ue("alice").send(draft).await.status, 202);
        let now_or_never = Draft::message(BOB, "now").header("Expires", "0");
        assert_eq!(world.ue("alice").send(now_or_never).await.status, 480);
        world.settle(seconds(200)).await;
        assert_eq!(world.waiting("bob").await, 0);
        world.ue("bob").register().await;
        world.settle(seconds(10)).await;
        assert!(world.ue("bob").received().is_empty());
        let told = world.ue("alice").texts();
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("<message-id>m1</message-id>"), "{}", told[0]);
        assert!(told[0].contains("<failed") || told[0].contains("<error"), "{}", told[0]);
    })
    .await;
}

// Covers: DF-086
#[tokio::test(start_paused = true)]
async fn a_message_sent_again_is_kept_once() {
    story(async || {
        let world = alice_alone("").await;
        let mut raw = world.raw(1, "alice");
        for branch in ["z9hG4bKa", "z9hG4bKb"] {
            let head = format!(
                "MESSAGE {BOB} SIP/2.0\nVia: SIP/2.0/UDP 10.2.0.1:5060;branch={branch};rport\n\
                 Max-Forwards: 70\nFrom: <{ALICE}>;tag=1\nTo: <{BOB}>\nCall-ID: same\n\
                 CSeq: 1 MESSAGE\nAccept-Contact: *;+g.oma.sip-im\nContent-Type: text/plain"
            );
            raw.send(&head, b"once");
            assert_eq!(raw.status(seconds(5)).await, Some(202));
        }
        assert_eq!(world.waiting("bob").await, 1);
    })
    .await;
}

// Covers: DF-016
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_accepts_nothing() {
    story(async || {
        let world = alice_alone("").await;
        world.fail_store(Some(StoreError::Full("disk".into())));
        let answer = world.ue("alice").message(BOB, "keep this").await;
        assert_eq!(answer.status, 480);
        assert!(answer.header("Retry-After").is_some());
        world.fail_store(None);
        assert_eq!(world.ue("alice").message(BOB, "keep this").await.status, 202);
    })
    .await;
}

// Covers: DF-008
#[tokio::test(start_paused = true)]
async fn a_full_mailbox_says_so() {
    story(async || {
        let world = alice_alone("[deferred]\nsettle_ms = 0\nitems_max = 2\n").await;
        let mut statuses = Vec::new();
        let mut last = None;
        for _ in 0..3 {
            let answer = world.ue("alice").message(BOB, "more").await;
            statuses.push(answer.status);
            last = answer.header("Warning");
        }
        assert_eq!(statuses, [202, 202, 480]);
        assert!(last.unwrap().contains("mailbox full"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_survives_the_process() {
    story(async || {
        let mut world = alice_alone("").await;
        for text in ["one", "two", "three"] {
            assert_eq!(world.ue("alice").message(BOB, text).await.status, 202);
        }
        world.restart_server().await.unwrap();
        world.ue("bob").register().await;
        world.settle(seconds(60)).await;
        assert_eq!(world.ue("bob").texts(), ["one", "two", "three"]);
    })
    .await;
}

// Covers: CORE-025, CORE-065
#[tokio::test(start_paused = true)]
async fn a_registration_ends_without_a_word() {
    story(async || {
        let world = alice_and_bob(people()).await;
        world.ue("carol").register_with(seconds(60), true).await;
        world.settle(seconds(1)).await;
        assert_eq!(world.ue("alice").message(CAROL, "there?").await.status, 200);
        // The core forgets bob and says so only in P-Served-User.
        world.core.lapse(BOB);
        assert_eq!(world.ue("alice").message(BOB, "away").await.status, 202);
        // Carol's registration runs out, with the core's grace and ours.
        world.settle(seconds(60 + 120 + 31)).await;
        assert_eq!(world.ue("alice").message(CAROL, "away").await.status, 202);
        world.ue("bob").register().await;
        world.ue("carol").register().await;
        world.settle(seconds(10)).await;
        assert_eq!(world.ue("bob").texts(), ["away"]);
        assert_eq!(world.ue("carol").texts(), ["there?", "away"]);
    })
    .await;
}

// Covers: PF-034, PF-035, CORE-063
#[tokio::test(start_paused = true)]
async fn a_client_that_fails_gets_the_message_later() {
    story(async || {
        let world = alice_and_bob(people()).await;
        for (number, status) in [480, 500, 503, 408].into_iter().enumerate() {
            let text = format!("number {number}");
            world.ue("bob").script([Behaviour::Answer(status)]);
            assert_eq!(world.ue("alice").message(BOB, &text).await.status, 202, "{status}");
            world.settle(seconds(100)).await;
        }
        for t in world.core.trace() {
            eprintln!("{:?} {} {}\n{}", t.at, t.sent, t.peer, t.text());
        }
        let expected: Vec<String> = (0..4).map(|number| format!("number {number}")).collect();
        assert_eq!(world.ue("bob").texts(), expected);
    })
    .await;
}
