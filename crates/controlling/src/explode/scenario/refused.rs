//! What is not exploded.

use std::sync::Arc;

use parlance_sip::HeaderName::{self, RetryAfter, Warning};
use parlance_sip::Response;
use parlance_store::{Profile, Rights, StoreError};

use super::{
    ALICE, Answer, CHESS, EXPLODER, MIXED, REQUIRE, Runs, T0, TEXT, World, list, message, parts,
    story, users,
};
use crate::Policy;
use crate::explode::ExplodePolicy;

fn field(response: &Response, name: HeaderName) -> String {
    String::from_utf8_lossy(response.field(name).unwrap_or_default()).into_owned()
}

// Covers: CF-002, CF-005, CF-010, CF-015, CF-016, CF-084, SEC-014, CORE-051, CORE-052
#[tokio::test(start_paused = true)]
async fn what_cannot_be_exploded_is_refused() {
    story(async |world: &World| {
        let listed = parts(&[TEXT, &list(&users(2))]);
        let too_long = parts(&[TEXT, &list(&users(51))]);
        let twice = parts(&[TEXT, &list(&users(50)), &list(&users(50))]);
        let own = parts(&[TEXT, &list("<entry uri='sip:alice@ims.test'/>")]);
        let bad = parts(&[TEXT, &list("<entry/>")]);
        let bad_uri = parts(&[TEXT, &list("<entry uri='sip:'/>")]);
        let bare = parts(&[TEXT]);
        let alone = parts(&[&list(&users(2))]);
        let large = format!("Content-Type: text/plain\r\n\r\n{}", "x".repeat(1301));
        let large = parts(&[&large, &list(&users(2))]);
        let late = format!("{REQUIRE}Date: Wed, 01 Mar 2006 10:15:00 GMT\r\nExpires: 10");
        let foreign =
            "P-Asserted-Identity: <sip:eve@home2.test>\r\nFrom: <sip:eve@home2.test>;tag=1";
        let private = "Privacy: id";
        let plain = ("text/plain", "hi");
        #[rustfmt::skip]
        let table = [
            (EXPLODER, REQUIRE, (MIXED, listed.as_str()), 202),
            (EXPLODER, "",      (MIXED, listed.as_str()), 400), // RFC 5365 §7.2
            (EXPLODER, REQUIRE, (MIXED, bare.as_str()),   400),
            (EXPLODER, REQUIRE, plain,                    400),
            (EXPLODER, REQUIRE, (MIXED, "no boundary"),   400),
            (EXPLODER, REQUIRE, (MIXED, bad.as_str()),    400),
            (EXPLODER, REQUIRE, (MIXED, bad_uri.as_str()), 400),
            (EXPLODER, REQUIRE, (MIXED, alone.as_str()),  400),
            (EXPLODER, REQUIRE, (MIXED, too_long.as_str()), 403),
            (EXPLODER, REQUIRE, (MIXED, twice.as_str()),  202), // counted without duplicates
            (EXPLODER, REQUIRE, (MIXED, own.as_str()),    480),
            (EXPLODER, REQUIRE, (MIXED, large.as_str()),  403),
            (EXPLODER, late.as_str(), (MIXED, listed.as_str()), 480),
            (CHESS,    "",      plain,                    202),
            (CHESS,    REQUIRE, plain,                    420),
            (CHESS,    "",      (MIXED, listed.as_str()), 400),
            (CHESS,    foreign, plain,                    403),
            (CHESS,    private, plain,                    403),
            ("sip:lonely@ims.test", "", plain,            480),
            ("sip:nobody@ims.test", "", plain,            404),
        ];
        let mut accepted = 0;
        for (to, headers, content, status) in table {
            let answer = world.send(to, headers, content).await;
            assert_eq!(answer.status(), status, "{to} {headers} {content:.60?}");
            accepted += usize::from(status == 202);
        }
        world.after(10.0).await;
        assert_eq!(accepted, 3);
        assert_eq!(world.sent().len(), 2 + 50 + 2, "nothing went out for those refused");
        let answer = world.send(EXPLODER, REQUIRE, (MIXED, &too_long)).await;
        assert_eq!(field(&answer, Warning), "399 im.invalid \"102 Too many participants\"");
        let answer = world.send(EXPLODER, REQUIRE, (MIXED, &large)).await;
        assert_eq!(field(&answer, Warning), "399 im.invalid \"133 Size exceeded, limit 1300\"");
    })
    .await;
}

// Covers: ROLE-015, ROLE-016, CF-019
#[tokio::test(start_paused = true)]
async fn what_was_exploded_before_is_not_exploded_again() {
    story(async |world: &World| {
        let seen = "Content-Type: application/resource-lists+xml\r\n\
                    Content-Disposition: recipient-list-history; handling=optional\r\n\r\n<x/>";
        let body = parts(&[TEXT, seen, &list(&users(2))]);
        assert_eq!(world.send(EXPLODER, REQUIRE, (MIXED, &body)).await.status(), 403);
        let body = parts(&[TEXT, seen]);
        assert_eq!(world.send(CHESS, "", (MIXED, &body)).await.status(), 403);
        let marked = "P-IM-Exploded: 1";
        assert_eq!(world.send(CHESS, marked, ("text/plain", "hi")).await.status(), 403);
        // A copy of ours that comes back to a group is a loop.
        assert_eq!(world.explode("<entry uri='sip:nobody@ims.test'/>").await, 202);
        world.after(1.0).await;
        let copy = world.sent()[0].text();
        let back =
            copy.replacen("Via:", "Via: SIP/2.0/UDP 127.0.0.13;branch=z9hG4bKback\r\nVia:", 1);
        let status = world.give(&back).await.status();
        assert!(status == 482 || status == 403, "{status}");
        assert_eq!(world.sent().len(), 1);
    })
    .await;
}

// Covers: SEC-014
#[tokio::test(start_paused = true)]
async fn a_user_has_only_so_much_exploded() {
    let explode =
        ExplodePolicy { copies_per_second: 1, copies_burst: 50, ..ExplodePolicy::default() };
    Runs::new(Policy { explode, ..Policy::default() })
        .run(async |world: &World| {
            assert_eq!(world.explode(&users(30)).await, 202);
            let body = parts(&[TEXT, &list(&users(30))]);
            let answer = world.send(EXPLODER, REQUIRE, (MIXED, &body)).await;
            assert_eq!((answer.status(), field(&answer, RetryAfter)), (480, "10".to_owned()));
            let other = format!(
                "{REQUIRE}P-Asserted-Identity: <sip:bob@ims.test>\r\nFrom: <sip:bob@ims.test>;tag=1"
            );
            assert_eq!(world.send(EXPLODER, &other, (MIXED, &body)).await.status(), 202);
            world.after(11.0).await;
            assert_eq!(world.explode(&users(30)).await, 202);
        })
        .await;
}

// Covers: CF-063
#[tokio::test(start_paused = true)]
async fn a_server_has_only_so_much_to_explode() {
    let explode = ExplodePolicy { explosions_max: 2, ..ExplodePolicy::default() };
    Runs::new(Policy { explode, ..Policy::default() })
        .run(async |world: &World| {
            world.answers(Answer::After(5, 200));
            for status in [202, 202, 480] {
                assert_eq!(world.explode(&users(2)).await, status);
            }
            world.after(30.0).await;
            assert_eq!(world.explode(&users(2)).await, 202);
        })
        .await;
}

// Covers: CF-002
#[tokio::test(start_paused = true)]
async fn a_user_without_the_service_is_refused() {
    let profile = |change: fn(&mut Profile)| {
        let mut profile = Profile::new(ALICE.into(), T0);
        change(&mut profile);
        profile
    };
    let table = [
        (profile(|_| {}), 202),
        (profile(|profile| profile.barred = true), 403),
        (profile(|profile| profile.provisioned = false), 403),
        (profile(|profile| profile.rights = Rights { pager: false, ..Rights::default() }), 403),
    ];
    for (profile, status) in table {
        let mut runs = Runs::new(Policy::default());
        runs.profiles.push(profile);
        runs.run(async |world: &World| {
            let body = parts(&[TEXT, &list(&users(2))]);
            let answer = world.send(EXPLODER, REQUIRE, (MIXED, &body)).await;
            assert_eq!(answer.status(), status);
            let told = field(&answer, Warning).contains("127 Service not authorised");
            assert_eq!(told, status == 403);
        })
        .await;
    }
}

// Covers: CF-010
#[tokio::test(start_paused = true)]
async fn nothing_is_promised_that_is_not_kept() {
    let runs = Runs::new(Policy::default());
    let store = Arc::clone(&runs.store);
    runs.run(async |world: &World| {
        // Read before the store fails: what it says of Alice is of no use then.
        let body = parts(&[TEXT, &list(&users(2))]);
        let text = message(EXPLODER, 77, REQUIRE, (MIXED, &body));
        store.fail(Some(StoreError::Full("no space".into())));
        let answer = world.give(&text).await;
        assert_eq!((answer.status(), field(&answer, RetryAfter)), (480, "10".to_owned()));
        store.fail(None);
        world.after(60.0).await;
        assert!(world.sent().is_empty());
    })
    .await;
}
