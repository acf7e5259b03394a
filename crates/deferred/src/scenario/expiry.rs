//! Messages that are given up, and their senders.

use std::time::Duration;

use parlance_isc::{Cause, Marks, Offered, Origin};
use parlance_sip::HeaderName;

use super::{ALICE, Answer, BOB, SECRET, Sent, World, story};
use crate::Policy;

const CPIM: &str = "Content-Type: message/cpim\r\n";

/// A body that asks for `wanted`.
fn cpim(id: &str, wanted: &str) -> String {
    format!(
        "From: <sip:alice@ims.test>\r\nTo: <sip:bob@ims.test>\r\n\
         DateTime: 2006-03-01T10:15:29Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: {id}\r\nimdn.Disposition-Notification: {wanted}\r\n\r\n\
         Content-Type: text/plain\r\n\r\nhello"
    )
}

async fn keep(world: &World, from: &str, headers: &str, body: &str) {
    let headers = format!("{CPIM}{headers}");
    let offered = world.offer_with(from, &headers, body, Cause::Unregistered).await;
    assert!(matches!(offered, Offered::Stored(_)), "{offered:?}");
}

/// A report to Alice about her `m1`, which says this and has these parts, too.
fn is_about_m1(report: &Sent, said: &[&str]) {
    assert_eq!(report.to(), ALICE);
    assert_eq!(Marks::new(SECRET).recognise(&report.request), Some(Origin::Notification));
    let body = report.body();
    let parts = [
        "To: <sip:alice@ims.test>\r\n",
        "Content-Type: message/imdn+xml\r\n",
        "Content-Disposition: notification\r\n",
        "<message-id>m1</message-id>",
        "<datetime>2006-03-01T10:15:29Z</datetime>",
        "<recipient-uri>sip:bob@ims.test</recipient-uri>",
    ];
    for part in parts.iter().chain(said) {
        assert!(body.contains(part), "{part} in {body}");
    }
}

fn reports(world: &World) -> Vec<Sent> {
    world.sent().into_iter().filter(|sent| sent.body().contains("<imdn ")).collect()
}

// Covers: DF-009, DF-082, PF-094, CORE-020, CORE-064, ROLE-013
#[tokio::test(start_paused = true)]
async fn a_sender_who_asked_hears_of_the_end() {
    story(Policy::default(), async |world: &World| {
        world.register(ALICE).await;
        keep(world, ALICE, "Expires: 100\r\n", &cpim("m1", "negative-delivery")).await;
        world.after(99.0).await;
        assert_eq!((world.kept().await, world.sent().len()), (1, 0));
        world.after(62.0).await;
        assert_eq!(world.kept().await, 0);
        world.after(1000.0).await;
        assert_eq!(world.sent().len(), 1, "once");
        let report = &world.sent()[0];
        assert_eq!(report.target.remote.to_string(), "127.0.0.13:6060");
        assert_eq!(report.field(HeaderName::Route), "<sip:127.0.0.13:6060;lr>");
        assert_eq!(report.field(HeaderName::PAssertedIdentity), "<sip:im-deferred@ims.test>");
        assert!(report.field(HeaderName::From).starts_with("<sip:im-deferred@ims.test>;tag="));
        assert_eq!(report.field(HeaderName::PChargingFunctionAddresses), "ccf=ccf.ims.test");
        assert_eq!(report.field(HeaderName::ContentType), "message/cpim");
        is_about_m1(report, &["From: <sip:im-deferred@ims.test>\r\n", "<failed/>"]);
        assert!(!report.body().contains("Disposition-Notification"), "none about a notification");
    })
    .await;
}

// Covers: DF-009, DF-082, PF-094
#[tokio::test(start_paused = true)]
async fn who_did_not_ask_hears_nothing() {
    story(Policy::default(), async |world: &World| {
        world.register(ALICE).await;
        let expires = "Expires: 10\r\n";
        keep(world, ALICE, expires, &cpim("m1", "positive-delivery, display")).await;
        world.offer_with(ALICE, expires, "plain", Cause::Unregistered).await;
        let notification = cpim("m2", "negative-delivery")
            .replace("Content-Type: text/plain", "Content-Type: message/imdn+xml");
        keep(world, ALICE, expires, &notification).await;
        assert_eq!(world.kept().await, 3);
        world.after(1000.0).await;
        assert_eq!((world.kept().await, world.sent().len()), (0, 0));
    })
    .await;
}

// Covers: DF-009, DF-082, PF-094, CORE-064
#[tokio::test(start_paused = true)]
async fn a_sender_who_asked_hears_that_it_is_stored() {
    story(Policy::default(), async |world: &World| {
        world.register(ALICE).await;
        let body = cpim("m1", "processing, negative-delivery");
        keep(world, ALICE, "Expires: 100\r\n", &body).await;
        assert!(world.sent().is_empty(), "the 202 goes first");
        world.after(1.0).await;
        assert_eq!(world.sent().len(), 1);
        let report = &world.sent()[0];
        let stored =
            "<processing-notification><status><stored/></status></processing-notification>";
        is_about_m1(report, &[stored]);
        // It comes again: recognised by its name, and not reported again.
        let again = cpim("m1", "processing, negative-delivery");
        let headers = format!("{CPIM}Expires: 100\r\n");
        let again = world.offer_with(ALICE, &headers, &again, Cause::Unregistered).await;
        assert!(matches!(again, Offered::Duplicate), "{again:?}");
        world.after(1000.0).await;
        let reports = world.bodies();
        assert_eq!(reports.len(), 2);
        assert!(reports[1].contains("<failed/>"), "{}", reports[1]);
    })
    .await;
}

// Covers: PF-094
#[tokio::test(start_paused = true)]
async fn that_it_is_stored_is_told_to_nobody_else() {
    let policy = Policy { items_max: 3, ..Policy::default() };
    story(policy, async |world: &World| {
        let notification = cpim("m1", "processing")
            .replace("Content-Type: text/plain", "Content-Type: message/imdn+xml");
        keep(world, ALICE, "", &notification).await;
        keep(world, ALICE, "", &cpim("m2", "positive-delivery, negative-delivery, display")).await;
        let nameless = cpim("m3", "processing").replace("imdn.Message-ID: m3\r\n", "");
        keep(world, ALICE, "", &nameless).await;
        let body = cpim("m4", "processing");
        let offered = world.offer_with(ALICE, CPIM, &body, Cause::Unregistered).await;
        assert!(matches!(offered, Offered::Refused(_)), "the inbox is full");
        world.after(1000.0).await;
        assert!(world.sent().is_empty(), "{:?}", world.bodies());
    })
    .await;
}

// Covers: PF-094
#[tokio::test(start_paused = true)]
async fn that_it_is_stored_is_tried_once() {
    story(Policy::default(), async |world: &World| {
        world.answers(Answer::Now(480));
        keep(world, ALICE, "", &cpim("m1", "processing")).await;
        world.after(10_000.0).await;
        assert_eq!((world.kept().await, world.sent().len()), (1, 1));
    })
    .await;
}

// Covers: DF-009, CORE-052
#[tokio::test(start_paused = true)]
async fn what_expired_is_not_delivered_whether_swept_or_not() {
    let policy = Policy { sweep_interval: Duration::from_secs(10_000), ..Policy::default() };
    story(policy, async |world: &World| {
        world.register(ALICE).await;
        keep(world, ALICE, "Expires: 100\r\n", &cpim("m1", "negative-delivery")).await;
        world.keep(&["two"]).await;
        world.after(100.0).await;
        world.register(BOB).await;
        world.after(5.0).await;
        assert_eq!(world.kept().await, 0);
        let (reports, bodies) = (reports(world), world.bodies());
        assert_eq!((reports.len(), bodies.len()), (1, 2));
        assert!(bodies.contains(&"two".to_owned()));
    })
    .await;
}

// Covers: DF-009
#[tokio::test(start_paused = true)]
async fn the_operators_week_is_the_longest() {
    let policy = Policy { due_interval: Duration::from_secs(600), ..Policy::default() };
    story(policy, async |world: &World| {
        let week = 7.0 * 86_400.0;
        world.offer_with(ALICE, "Expires: 9999999\r\n", "one", Cause::Unregistered).await;
        world.after(week - 1.0).await;
        assert_eq!(world.kept().await, 1);
        world.after(62.0).await;
        assert_eq!(world.kept().await, 0);
    })
    .await;
}

// Covers: CORE-020, CORE-037, PF-094
#[tokio::test(start_paused = true)]
async fn a_sender_who_is_not_registered_here_is_reached_through_the_core() {
    story(Policy::default(), async |world: &World| {
        let eve = "sip:eve@elsewhere.test";
        keep(world, eve, "Expires: 10\r\n", &cpim("m1", "negative-delivery")).await;
        world.after(100.0).await;
        let sent = world.sent();
        assert_eq!((sent.len(), sent[0].to().as_str()), (1, eve));
        assert_eq!(sent[0].target.remote.to_string(), "127.0.0.10:5060");
        assert_eq!(sent[0].field(HeaderName::Route), "<sip:127.0.0.10:5060;lr>");
        assert_eq!(sent[0].field(HeaderName::PChargingFunctionAddresses), "", "nobody told any");
    })
    .await;
}

// Covers: DF-065, PF-094
#[tokio::test(start_paused = true)]
async fn a_report_that_fails_is_tried_again_so_often() {
    let policy = Policy { report_retries: 2, ..Policy::default() };
    story(policy, async |world: &World| {
        world.answers(Answer::Now(480));
        keep(world, ALICE, "Expires: 10\r\n", &cpim("m1", "negative-delivery")).await;
        world.after(10_000.0).await;
        // Removed by the sweep at 60 s; again after 60 and 120 s.
        assert_eq!(world.times(), [60_000, 120_000, 240_000]);
        let bodies: std::collections::HashSet<String> = world.bodies().into_iter().collect();
        assert_eq!(bodies.len(), 1, "the same notification");
        world.answers(Answer::Now(403));
        keep(world, ALICE, "Expires: 10\r\n", &cpim("m2", "negative-delivery")).await;
        world.after(10_000.0).await;
        assert_eq!(world.sent().len(), 4, "refused is final");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn reports_in_hand_are_bounded() {
    let policy = Policy { reports_max: 3, ..Policy::default() };
    story(policy, async |world: &World| {
        world.answers(Answer::Never);
        for number in 0..5 {
            let from = format!("sip:u{number}@ims.test");
            keep(world, &from, "Expires: 10\r\n", &cpim("m1", "negative-delivery")).await;
        }
        world.after(70.0).await;
        assert_eq!((world.kept().await, world.sent().len()), (0, 3));
    })
    .await;
}

// Covers: DF-065, DF-081, PF-094
#[tokio::test(start_paused = true)]
async fn a_message_the_client_refuses_does_not_block_the_others() {
    for status in [400, 403, 413, 415, 488] {
        story(Policy::default(), async |world: &World| {
            keep(world, ALICE, "", &cpim("m1", "negative-delivery")).await;
            world.keep(&["two"]).await;
            world.script(move |request| {
                let is_first = request.body().starts_with(b"From: <sip:alice");
                Answer::Now(if is_first { status } else { 200 })
            });
            world.register(BOB).await;
            world.after(10.0).await;
            assert_eq!((world.kept().await, reports(world).len()), (0, 1), "{status}");
            assert!(world.bodies().contains(&"two".to_owned()));
        })
        .await;
    }
}

// Covers: DF-009
#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_not_swept() {
    story(Policy::default(), async |world: &World| {
        world.register(ALICE).await;
        keep(world, ALICE, "Expires: 50\r\n", &cpim("m1", "negative-delivery")).await;
        world.answers(Answer::After(Duration::from_secs(25), 200));
        world.after(43.0).await;
        world.register(BOB).await;
        // In flight from 45 s to 70 s, swept over at 60 s, delivered.
        world.after(100.0).await;
        assert_eq!((world.kept().await, world.sent().len()), (0, 1));
    })
    .await;
}
