//! The core and the server towards each other.

use std::net::SocketAddr;

use parlance_lab::core::SHIPPED_CRITERIA;
use parlance_lab::raw::RawUe;
use parlance_lab::ue::Draft;
use parlance_lab::world::{CORE, SERVER};
use parlance_sip::Transport;
use rsip::Method;

use crate::{ALICE, BOB, alice_and_bob, people, seconds, story};

// Covers: CORE-018, CORE-019
#[tokio::test(start_paused = true)]
async fn registrations_are_learnt_from_the_core() {
    story(async || {
        let world = people().unprovisioned().build().await.unwrap();
        world.ue("alice").register().await;
        world.ue("bob").register_with(seconds(300), true).await;
        world.settle(seconds(1)).await;
        // Each with a new Call-ID and the same CSeq: refreshes all the same.
        for _ in 0..3 {
            world.core.repeat_third_party(BOB);
            world.settle(seconds(1)).await;
        }
        world.ue("alice").deregister().await;
        world.settle(seconds(1)).await;
        let told: Vec<_> = world
            .core
            .third_party()
            .into_iter()
            .map(|told| (told.identity, told.expires, told.status, told.confirmed))
            .collect();
        let row =
            |who: &str, period: u64| (who.to_owned(), period, Some(200), Some(period.to_string()));
        let expected =
            [row(ALICE, 720), row(BOB, 420), row(BOB, 420), row(BOB, 420), row(BOB, 420)];
        assert_eq!(told[..5], expected);
        assert_eq!(told[5], row(ALICE, 0));
        assert_eq!(told.len(), 6);
    })
    .await;
}

// Covers: CLI-001
#[tokio::test(start_paused = true)]
async fn the_core_takes_an_im_client_by_what_it_must_register_with() {
    story(async || {
        let world = people().build().await.unwrap();
        let alice = world.ue("alice");
        let draft = |tag: &str| {
            let contact = format!("<sip:alice@{}>{tag}", alice.address());
            let draft = Draft::new(Method::Register, "sip:ims.test").to(ALICE);
            draft.header("Contact", &contact).header("Expires", "600")
        };
        let release = ("User-Agent", "IM-client/OMA1.0 lab");
        let (require, tag) = (("Require", "pref"), ";+g.oma.sip-im");
        for headers in [&[][..], &[release], &[require], &[require, ("User-Agent", "Phone")]] {
            let with = |draft: Draft, (name, value): &(&str, &str)| draft.header(name, value);
            let asked = headers.iter().fold(draft(tag), with);
            assert_eq!(alice.send(asked).await.status, 400, "{headers:?}");
            // A client of something else need not.
            let other = headers.iter().fold(draft(""), with);
            assert_eq!(alice.send(other).await.status, 200, "{headers:?}");
        }
        assert_eq!(alice.register().await.status, 200);
        world.settle(seconds(1)).await;
        let told = world.core.third_party();
        assert!(told.iter().all(|told| told.status == Some(200)), "{told:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_the_server_the_core_goes_on() {
    story(async || {
        let world = alice_and_bob(people()).await;
        world.network.partition(CORE.ip(), SERVER, true);
        let answer = world.ue("alice").message(BOB, "with nobody between").await;
        assert_eq!(answer.status, 200);
        assert_eq!(world.core.counts().bypassed, 2);
        assert_eq!(world.ue("bob").texts(), ["with nobody between"]);
        world.network.partition(CORE.ip(), SERVER, false);
        assert!(!SHIPPED_CRITERIA.contains("<DefaultHandling>1<"));
    })
    .await;
}

// Covers: CORE-061
#[tokio::test(start_paused = true)]
async fn a_slow_client_does_not_make_the_core_leave_us_out() {
    story(async || {
        let world = alice_and_bob(people().isc(Transport::Tcp)).await;
        let slow = parlance_lab::ue::Behaviour::After(seconds(15), 200);
        world.ue("bob").script([slow]);
        assert_eq!(world.ue("alice").message(BOB, "no hurry").await.status, 200);
        assert_eq!(world.core.counts().bypassed, 0, "a 100 stopped the wait");
        // Over UDP a 100 comes after 3.5 seconds, which is too late for this core.
        let world = alice_and_bob(people().isc(Transport::Udp)).await;
        let slow = parlance_lab::ue::Behaviour::After(seconds(15), 200);
        world.ue("bob").script([slow]);
        assert_eq!(world.ue("alice").message(BOB, "no hurry").await.status, 200);
        assert!(world.core.counts().bypassed > 0);
    })
    .await;
}

// Covers: CORE-023, SEC-004
#[tokio::test(start_paused = true)]
async fn a_stranger_gets_403_and_leaves_nothing() {
    story(async || {
        let world = alice_and_bob(people()).await;
        let stranger: SocketAddr = "10.66.0.1:5060".parse().unwrap();
        for (port, method) in [(5080, "MESSAGE"), (5081, "MESSAGE"), (5082, "REGISTER")] {
            let server = SocketAddr::new(SERVER, port);
            let mut raw = RawUe::new(world.network.attach(stranger), server);
            let head = format!(
                "{method} {BOB} SIP/2.0\nVia: SIP/2.0/UDP {stranger};branch=z9hG4bK{port}\n\
                 Max-Forwards: 70\nFrom: <{ALICE}>;tag=1\nTo: <{BOB}>\nCall-ID: {port}\n\
                 CSeq: 1 {method}\nP-Asserted-Identity: <{ALICE}>\nExpires: 600\n\
                 Contact: <sip:{stranger}>\nAccept-Contact: *;+g.oma.sip-im"
            );
            raw.send(&head, b"");
            assert_eq!(raw.status(seconds(5)).await, Some(403), "{method} to {port}");
        }
        assert!(world.ue("bob").received().is_empty());
        assert_eq!(world.waiting("bob").await, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn several_shards_serve_one_core() {
    story(async || {
        let world = people().users(20).shards(4).build().await.unwrap();
        world.register_all().await;
        for number in 0..100_usize {
            let from = world.ue(&parlance_lab::world::user_name(number % 20));
            let to = format!("sip:{}@ims.test", parlance_lab::world::user_name((number + 7) % 20));
            assert_eq!(from.message(&to, &number.to_string()).await.status, 200);
        }
        let got: usize = world.ues().map(|ue| ue.texts().len()).sum();
        assert_eq!(got, 100);
    })
    .await;
}
