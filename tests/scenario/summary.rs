//! Who asks how many messages wait for him (RFC 3842).

use parlance_lab::ue::{Answer, Draft};
use parlance_lab::world::World;
use rsip::Method;

use crate::{ALICE, BOB, alice_and_bob, people, seconds, story};

/// Somebody subscribes to the summary of `target`.
async fn subscribe(world: &World, who: &str, target: &str, more: &[(&str, &str)]) -> Answer {
    let ue = world.ue(who);
    let contact = format!("<sip:{who}@{}>;+g.oma.sip-im", ue.address());
    let draft = Draft::new(Method::Subscribe, target)
        .header("Event", "message-summary")
        .header("Accept-Contact", "*;+g.oma.sip-im")
        .header("Contact", &contact);
    let draft = more.iter().fold(draft, |draft, (name, value)| draft.header(name, value));
    ue.send(draft).await
}

/// The NOTIFYs that somebody got: state and body.
fn told(world: &World, who: &str) -> Vec<(String, String)> {
    let received = world.ue(who).received();
    let notifies = received.iter().filter(|got| got.request.method == Method::Notify);
    notifies.map(|got| (got.header("Subscription-State").unwrap(), got.text())).collect()
}

fn counted(pager: &str) -> String {
    let waiting = if pager.starts_with('0') { "no" } else { "yes" };
    format!(
        "Messages-Waiting: {waiting}\r\nMessage-Account: {BOB}\r\nPager-Message: {pager}\r\n\
         Multimedia-Message: 0/0 (0/0)\r\n"
    )
}

// Covers: DF-020, DF-021, DF-023, ROLE-014
#[tokio::test(start_paused = true)]
async fn an_inbox_is_summed_up_for_its_owner() {
    story(async || {
        let world = alice_and_bob(people()).await;
        // He is told of his messages, and no more: they stay.
        let keep = |profile: &mut parlance_store::Profile| {
            profile.store_pager_mode = true;
            profile.deferral = parlance_store::Deferral::None;
        };
        world.change_profile("bob", keep).await.unwrap();
        let answer = subscribe(&world, "bob", BOB, &[]).await;
        assert_eq!((answer.status, answer.header("Expires").as_deref()), (200, Some("3600")));
        world.settle(seconds(1)).await;
        assert_eq!(told(&world, "bob"), [("active;expires=3600".into(), counted("0/0 (0/0)"))]);

        let urgent = Draft::message(BOB, "one").header("Priority", "urgent");
        assert_eq!(world.ue("alice").send(urgent).await.status, 202);
        assert_eq!(world.ue("alice").message(BOB, "two").await.status, 202);
        world.settle(seconds(12)).await;
        let last = told(&world, "bob").pop().unwrap();
        assert!(last.0.starts_with("active"), "{last:?}");
        assert_eq!(last.1, counted("2/0 (1/0)"));

        // What is delivered is not kept.
        let push = |profile: &mut parlance_store::Profile| {
            profile.deferral = parlance_store::Deferral::PushMessage;
        };
        world.change_profile("bob", push).await.unwrap();
        world.settle(seconds(12)).await;
        assert_eq!(told(&world, "bob").pop().unwrap().1, counted("0/0 (0/0)"));

        assert_eq!(world.ue("bob").deregister().await.status, 200);
        world.settle(seconds(12)).await;
        let last = told(&world, "bob").pop().unwrap();
        assert_eq!(last.0, "terminated;reason=timeout");
    })
    .await;
}

// Covers: DF-020
#[tokio::test(start_paused = true)]
async fn a_summary_is_for_the_owner_and_may_be_fetched_once() {
    story(async || {
        let world = alice_and_bob(people()).await;
        assert_eq!(subscribe(&world, "alice", BOB, &[]).await.status, 403);
        let other = [("Accept", "application/pidf+xml")];
        assert_eq!(subscribe(&world, "bob", BOB, &other).await.status, 406);
        let service = "sip:im-deferred@ims.test";
        assert_eq!(subscribe(&world, "alice", service, &[("Expires", "0")]).await.status, 200);
        world.settle(seconds(1)).await;
        let [(state, text)] = &told(&world, "alice")[..] else { panic!() };
        assert_eq!(state, "terminated;reason=timeout");
        assert!(text.contains(ALICE), "{text}");
        assert_eq!(told(&world, "bob"), []);
    })
    .await;
}
