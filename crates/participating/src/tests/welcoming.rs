//! A user registers for the first time.

use std::sync::Arc;
use std::time::Duration;

use parlance_isc::Origin;
use parlance_sip::{HeaderName, ListenerId, Method};
use parlance_store::{Bound, Registration, Registrations as _};

use super::world::binding;
use super::{Setup, World, lines};
use crate::policy::{Notice, Policy};
use crate::welcome::welcome;

fn policy(notice: Notice) -> Arc<Policy> {
    Arc::new(Policy { notice, ..Policy::default() })
}

fn notice() -> Notice {
    Notice {
        from: "sip:im@ims.test".into(),
        text: "Ihr Profil läßt sich ändern.".into(),
        ..Notice::default()
    }
}

async fn registered(world: &World, scscf: &str) -> Arc<Registration> {
    let mut binding = binding("sip:alice@ims.test", true);
    binding.scscf = scscf.to_owned();
    match world.store.bind(binding, world.node.clock.now()).await.unwrap() {
        Bound::New(registration) => registration,
        other => panic!("{other:?}"),
    }
}

const SHORT: Duration = Duration::from_millis(1);

// Covers: PF-002, ROLE-013, CORE-016, CORE-020, CORE-037, CORE-050, CORE-051, SEC-007
#[tokio::test(start_paused = true)]
async fn he_is_told_that_his_profile_can_be_changed() {
    let world = World::new(Setup::default()).await;
    let registration = registered(&world, "sip:127.0.0.13:6060").await;
    welcome(&world.node, &policy(notice()), &world.marks, &registration, ListenerId(0));
    world.pass(SHORT).await;
    let message = world.forwarded();
    assert_eq!(message.method(), Method::Message);
    assert_eq!(message.uri_text(), b"sip:alice@ims.test");
    assert_eq!(lines(&message, HeaderName::Route), ["<sip:127.0.0.13:6060;lr>"]);
    assert_eq!(lines(&message, HeaderName::To), ["<sip:alice@ims.test>"]);
    assert!(lines(&message, HeaderName::From)[0].starts_with("<sip:im@ims.test>;tag="));
    assert_eq!(lines(&message, HeaderName::PAssertedIdentity), ["<sip:im@ims.test>"]);
    assert!(lines(&message, HeaderName::PChargingVector)[0].starts_with("icid-value=\""));
    let functions = lines(&message, HeaderName::PChargingFunctionAddresses);
    assert_eq!(functions, ["ccf=ccf.ims.test"]);
    assert_eq!(lines(&message, HeaderName::UserAgent), ["IM-serv/OMA1.0 Parlance"]);
    assert_eq!(lines(&message, HeaderName::AcceptContact), ["*;+g.oma.sip-im"]);
    assert!(!message.has(HeaderName::Contact));
    assert_eq!(message.body(), "Ihr Profil läßt sich ändern.".as_bytes());
    assert!(message.bytes().len() <= 1300);
    assert_eq!(world.marks.recognise(&message), Some(Origin::Notification));
    world.answer(&message, 200).await;
    world.nothing_was_sent();
}

// Covers: PF-002, CORE-051
#[tokio::test(start_paused = true)]
async fn the_longest_text_still_fits() {
    let world = World::new(Setup::default()).await;
    let longest = Notice { text: "x".repeat(600), ..notice() };
    assert_eq!(policy(longest.clone()).mistakes(), []);
    let registration = registered(&world, "sip:scscf1.home.ims.test@127.0.0.13:6060;lr").await;
    welcome(&world.node, &policy(longest), &world.marks, &registration, ListenerId(0));
    world.pass(SHORT).await;
    let message = world.forwarded();
    assert!(message.bytes().len() <= 1300, "{}", message.bytes().len());
    let route = lines(&message, HeaderName::Route);
    assert_eq!(route, ["<sip:scscf1.home.ims.test@127.0.0.13:6060;lr>"]);
}

// Covers: PF-002
#[tokio::test(start_paused = true)]
async fn a_failure_harms_nobody() {
    let world = World::new(Setup::default()).await;
    let registration = registered(&world, "sip:nowhere.invalid").await;
    let off = Notice { enabled: false, ..notice() };
    welcome(&world.node, &policy(off), &world.marks, &registration, ListenerId(0));
    welcome(&world.node, &policy(notice()), &world.marks, &registration, ListenerId(0));
    let odd = Arc::new(Registration { scscf: "tel:+1".into(), ..(*registration).clone() });
    welcome(&world.node, &policy(notice()), &world.marks, &odd, ListenerId(0));
    world.pass(Duration::from_secs(60)).await;
    world.nothing_was_sent();
    // The server goes on.
    world.alice_sends("", "hi").await;
    world.forwarded();
    world.take_down();
    let there =
        Arc::new(Registration { scscf: "sip:127.0.0.13".into(), ..(*registration).clone() });
    welcome(&world.node, &policy(notice()), &world.marks, &there, ListenerId(0));
    world.pass(SHORT).await;
    world.nothing_was_sent();
}
