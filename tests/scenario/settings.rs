//! Service settings that users publish, over the shipped filter criteria.

use parlance_lab::ue::{Answer, Draft};
use parlance_lab::world::World;
use rsip::Method;

use crate::{ALICE, BOB, alice_and_bob, people, seconds, story};

const TYPE: &str = "application/vnd.oma.im.service-settings+xml";

/// A user publishes these elements for his own address, for an hour or as `headers` say.
async fn publish(world: &World, who: &str, elements: &str, headers: &[(&str, &str)]) -> Answer {
    let document =
        format!("<im-settings xmlns=\"urn:oma:xml:im:service-settings\">{elements}</im-settings>");
    let target = world.ue(who).identity();
    let draft = Draft::new(Method::Publish, &target)
        .header("Event", "im-settings")
        .header("User-Agent", "IM-client/OMA1.0 lab")
        .body(TYPE, document.as_bytes());
    let draft = headers.iter().fold(draft, |draft, (name, value)| draft.header(name, value));
    world.ue(who).send(draft).await
}

fn offline_delivery(word: &str) -> String {
    format!("<deferred-settings><offline-delivery>{word}</offline-delivery></deferred-settings>")
}

// Covers: PF-005, PF-055, PF-056, CLI-006, CLI-007, CORE-066
#[tokio::test(start_paused = true)]
async fn who_published_that_he_is_not_there_gets_nothing_until_he_is() {
    story(async || {
        let mut world = alice_and_bob(people()).await;
        let published = publish(&world, "bob", "<active>false</active>", &[]).await;
        assert_eq!(published.status, 200);
        assert_eq!(published.header("Expires").as_deref(), Some("3600"));
        assert_eq!(world.ue("alice").message(BOB, "one").await.status, 202);
        world.settle(seconds(120)).await;
        assert_eq!(world.ue("bob").texts(), <[&str; 0]>::default(), "his client is not tried");

        // What is published is durable.
        world.restart_server().await.unwrap();
        assert_eq!(world.ue("alice").message(BOB, "two").await.status, 202);
        let etag = published.header("SIP-ETag").unwrap();
        let headers = [("SIP-If-Match", etag.as_str()), ("Expires", "600")];
        assert_eq!(publish(&world, "bob", "<active>true</active>", &headers).await.status, 200);
        world.settle(seconds(10)).await;
        assert_eq!(world.ue("bob").texts(), ["one", "two"]);
        assert_eq!(world.ue("alice").message(BOB, "three").await.status, 200);
    })
    .await;
}

// Covers: PF-055, CLI-006
#[tokio::test(start_paused = true)]
async fn settings_end_with_their_time_and_with_the_registration() {
    story(async || {
        let world = alice_and_bob(people()).await;
        let offline = "<vis-settings><vis-status>offline</vis-status></vis-settings>";
        let expires = [("Expires", "60")];
        assert_eq!(publish(&world, "bob", offline, &expires).await.status, 200);
        assert_eq!(world.ue("alice").message(BOB, "one").await.status, 202);
        assert_eq!(world.waiting("bob").await, 1);
        world.settle(seconds(63)).await;
        assert_eq!(world.ue("bob").texts(), ["one"], "he is there when that is over");

        assert_eq!(publish(&world, "bob", offline, &[]).await.status, 200);
        assert_eq!(world.ue("bob").register().await.status, 200);
        assert_eq!(world.ue("alice").message(BOB, "two").await.status, 202, "a refresh");
        assert_eq!(world.ue("bob").deregister().await.status, 200);
        assert_eq!(world.ue("bob").register().await.status, 200);
        world.settle(seconds(10)).await;
        assert_eq!(world.ue("bob").texts(), ["one", "two"]);
        assert_eq!(world.ue("alice").message(BOB, "three").await.status, 200);
    })
    .await;
}

// Covers: PF-056
#[tokio::test(start_paused = true)]
async fn what_becomes_of_messages_is_what_was_published() {
    story(async || {
        let world = alice_and_bob(people()).await;
        let all = format!("<active>false</active>{}", offline_delivery("reject"));
        assert_eq!(publish(&world, "bob", &all, &[]).await.status, 200);
        assert_eq!(world.ue("alice").message(BOB, "refused").await.status, 480);
        assert_eq!(world.waiting("bob").await, 0);

        for word in ["store", "notify", "push"] {
            let inactive = format!("<active>false</active>{}", offline_delivery(word));
            assert_eq!(publish(&world, "bob", &inactive, &[]).await.status, 200);
            assert_eq!(world.ue("alice").message(BOB, word).await.status, 202);
            let active = offline_delivery(word);
            assert_eq!(publish(&world, "bob", &active, &[]).await.status, 200);
            world.settle(seconds(10)).await;
            let texts = world.ue("bob").texts();
            let (told, sent) = match word {
                "store" => (0, 0),
                "notify" => (1, 0),
                _ => (1, 3),
            };
            let notices = texts.iter().filter(|text| text.contains("stored instant messages"));
            assert_eq!(notices.count(), told, "{word}: {texts:?}");
            let words = texts.iter().filter(|text| ["store", "notify", "push"].contains(&&***text));
            assert_eq!(words.count(), sent, "{word}: {texts:?}");
        }
        assert_eq!(world.waiting("bob").await, 0);
    })
    .await;
}

// Covers: PF-055
#[tokio::test(start_paused = true)]
async fn nobody_publishes_for_another_and_other_events_pass() {
    story(async || {
        let world = alice_and_bob(people()).await;
        let document = "<im-settings xmlns=\"urn:oma:xml:im:service-settings\"/>";
        let settings = |target: &str, event: &str| {
            let draft = Draft::new(Method::Publish, target).header("Event", event);
            draft.body(TYPE, document.as_bytes())
        };
        let alice = world.ue("alice");
        assert_eq!(alice.send(settings(BOB, "im-settings")).await.status, 403);
        assert_eq!(alice.send(settings(ALICE, "im-settings")).await.status, 200);
        // No criterion leads it here; it goes to whom it is for.
        let passed = alice.send(settings(BOB, "presence")).await;
        assert_ne!(passed.status, 489);
        let got = world.ue("bob").received();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].header("Event").as_deref(), Some("presence"));
    })
    .await;
}

// Covers: CLI-031, CLI-032, CLI-033
#[tokio::test(start_paused = true)]
async fn the_sender_says_whether_a_message_may_wait() {
    story(async || {
        for keep_unasked in [true, false] {
            let defaults = format!("[deferred]\nkeep_unasked = {keep_unasked}\n");
            let world = people().configuration(&defaults).build().await.unwrap();
            assert_eq!(world.ue("alice").register().await.status, 200);
            let wish = async |name: &str, value: &str| {
                let draft = Draft::message(BOB, value).header(name, value);
                world.ue("alice").send(draft).await.status
            };
            assert_eq!(wish("Request-Disposition", "no-queue").await, 480);
            assert_eq!(world.waiting("bob").await, 0);
            assert_eq!(wish("Request-Disposition", "queue").await, 202);
            assert_eq!(wish("Expires", "600").await, 202);
            assert_eq!(world.waiting("bob").await, 2);
            let neutral = world.ue("alice").message(BOB, "as you like").await.status;
            assert_eq!(neutral, if keep_unasked { 202 } else { 480 });
            // What the recipient wants goes before what the operator does by default.
            let keep = |profile: &mut parlance_store::Profile| {
                profile.offline_delivery = Some(!keep_unasked);
            };
            world.change_profile("bob", keep).await.unwrap();
            let wanted = world.ue("alice").message(BOB, "as he likes").await.status;
            assert_eq!(wanted, if keep_unasked { 480 } else { 202 });
        }
    })
    .await;
}
