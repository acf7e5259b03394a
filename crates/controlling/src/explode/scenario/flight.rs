//! How much is on its way, and what is charged and agreed to before.

use std::cell::Cell;
use std::rc::Rc;

use parlance_store::{Entry, Profile};

use super::{
    ALICE, Answer, CHESS, EXPLODER, MIXED, REQUIRE, Runs, T0, TEXT, World, list, message, parts,
    users,
};
use crate::Policy;
use crate::explode::{ConsentOf, ExplodePolicy};

// Covers: CF-018, CF-063
#[tokio::test(start_paused = true)]
async fn so_many_copies_are_on_their_way_whoever_sent_them() {
    let explode =
        ExplodePolicy { in_flight_max: 3, outstanding_max: 2, ..ExplodePolicy::default() };
    Runs::new(Policy { explode, ..Policy::default() })
        .run(async |world: &World| {
            world.answers(Answer::After(10, 200));
            for list in ["a", "b", "c"] {
                let others = users(4).replace("sip:u", &format!("sip:{list}"));
                assert_eq!(world.explode(&others).await, 202);
            }
            world.after(5.0).await;
            assert_eq!(world.sent().len(), 3, "not six");
            world.after(10.0).await;
            assert_eq!(world.sent().len(), 6);
            world.after(60.0).await;
            assert_eq!((world.sent().len(), world.kept().await), (12, 0));
        })
        .await;
}

// Covers: CF-018
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_stops_with_the_server() {
    let explode = ExplodePolicy { in_flight_max: 1, ..ExplodePolicy::default() };
    let runs = Runs::new(Policy { explode, ..Policy::default() });
    runs.run(async |world: &World| {
        world.answers(Answer::After(10, 200));
        assert_eq!(world.explode(&users(3)).await, 202);
        assert_eq!(world.explode(&users(3)).await, 202);
        world.after(1.0).await;
        world.exploder.drain().await;
        assert_eq!((world.sent().len(), world.kept().await), (1, 2));
    })
    .await;
    runs.run(async |world: &World| {
        world.after(10.0).await;
        assert_eq!((world.sent().len(), world.kept().await), (5, 0));
    })
    .await;
}

// Covers: CF-010, SEC-014
#[tokio::test(start_paused = true)]
async fn a_message_that_comes_again_costs_nothing() {
    let explode =
        ExplodePolicy { copies_per_second: 1, copies_burst: 50, ..ExplodePolicy::default() };
    Runs::new(Policy { explode, ..Policy::default() })
        .run(async |world: &World| {
            let body = parts(&[TEXT, &list(&users(30))]);
            let text = message(EXPLODER, 1, REQUIRE, (MIXED, &body));
            for branch in 1..10 {
                let again = text.replace("z9hG4bKcall1", &format!("z9hG4bKagain{branch}"));
                assert_eq!(world.give(&again).await.status(), 202, "{branch}");
            }
            let fewer = parts(&[TEXT, &list(&users(20))]);
            let other = message(EXPLODER, 2, REQUIRE, (MIXED, &fewer));
            assert_eq!(world.give(&other).await.status(), 202, "20 are left");
            world.after(10.0).await;
            assert_eq!(world.sent().len(), 50);
        })
        .await;
}

/// Four recipients: two of this server, of whom Bob accepts Alice, and two elsewhere.
const FOUR: &str = "<entry uri='sip:bob@ims.test'/><entry uri='sip:carol@ims.test'/>\
    <entry uri='sip:dave@home2.test'/><entry uri='sip:erin@home2.test'/>";

/// What the 470 to Alice's message names; `None`: it is sent.
async fn missing(consent: ConsentOf, consents: &[&str], to: &str) -> Option<String> {
    let consents = consents.iter().map(|&consent| consent.to_owned()).collect();
    let explode = ExplodePolicy { consent, consents, ..ExplodePolicy::default() };
    let mut runs = Runs::new(Policy { explode, ..Policy::default() });
    let accept = vec![Entry::Identity(ALICE.into())];
    runs.profiles.push(Profile { accept, ..Profile::new("sip:bob@ims.test".into(), T0) });
    let found = Rc::new(Cell::new(None));
    runs.run(async |world: &World| {
        let answer = match to {
            EXPLODER => {
                let body = parts(&[TEXT, &list(FOUR)]);
                world.send(EXPLODER, REQUIRE, (MIXED, &body)).await
            }
            group => world.send(group, "", ("text/plain", "hi")).await,
        };
        world.after(5.0).await;
        if answer.status() == 202 {
            return assert!(!world.sent().is_empty());
        }
        assert_eq!(answer.status(), 470);
        assert!(world.sent().is_empty(), "nobody gets anything");
        let named = answer.named(b"Permission-Missing").unwrap_or_default();
        found.set(Some(String::from_utf8_lossy(named).into_owned()));
    })
    .await;
    found.take()
}

// Covers: CF-013, SEC-014
#[tokio::test(start_paused = true)]
async fn nobody_gets_anything_while_somebody_has_not_agreed() {
    use ConsentOf::{Everybody, Foreign, Nobody};
    let (dave, erin) = ("sip:dave@home2.test sip:alice@ims.test", "sip:erin@home2.test *");
    let by_service = "*@home2.test sip:im-exploder@ims.test";
    #[rustfmt::skip]
    let table = [
        (Nobody,    &[][..],       None),
        (Foreign,   &[],           Some("<sip:dave@home2.test>, <sip:erin@home2.test>")),
        (Foreign,   &[dave],       Some("<sip:erin@home2.test>")),
        (Foreign,   &[dave, erin], None),
        (Foreign,   &[by_service], None),
        (Everybody, &[by_service], Some("<sip:carol@ims.test>")),
        (Everybody, &[by_service, "sip:carol@ims.test *"], None),
    ];
    for (consent, consents, expected) in table {
        let named = missing(consent, consents, EXPLODER).await;
        assert_eq!(named.as_deref(), expected, "{consent:?} {consents:?}");
    }
    // Members of a group are in it by its document, and are not named to the sender.
    assert_eq!(missing(Everybody, &[], CHESS).await, None);
}
