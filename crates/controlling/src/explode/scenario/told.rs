//! What the sender is told in the end.

use parlance_sip::HeaderName;
use parlance_sip::Request;
use parlance_store::Profile;

use super::{
    ALICE, Answer, CHESS, EXPLODER, MIXED, REQUIRE, Runs, Sent, T0, World, list, parts, story,
    users,
};
use crate::Policy;

const CPIM: &str = "From: <sip:alice@ims.test>\r\nTo: <sip:all@ims.test>\r\n\
    DateTime: 2006-03-01T10:15:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
    imdn.Message-ID: m1\r\nimdn.Disposition-Notification: negative-delivery\r\n\r\n\
    Content-Type: text/plain\r\n\r\nhi";

/// Users with an even number are away.
fn odd_ones_only(request: &Request) -> Answer {
    let uri = String::from_utf8_lossy(request.uri_text()).into_owned();
    match uri.strip_prefix("sip:u").and_then(|rest| rest.get(..1)?.parse::<u32>().ok()) {
        Some(number) if number % 2 == 0 => Answer::Now(480),
        _ => Answer::Now(200),
    }
}

/// What went to Alice.
fn told(world: &World) -> Vec<Sent> {
    world.sent().into_iter().filter(|sent| sent.to() == ALICE).collect()
}

// Covers: CF-014, CF-019
#[tokio::test(start_paused = true)]
async fn who_asked_is_notified_of_each_failure() {
    story(async |world: &World| {
        world.script(odd_ones_only);
        let cpim = format!("Content-Type: message/cpim\r\n\r\n{CPIM}");
        // A hosted group among the recipients is one of the failures.
        let entries = format!("{}<entry uri='{CHESS}'/>", users(4));
        let body = parts(&[&cpim, &list(&entries)]);
        assert_eq!(world.send(EXPLODER, REQUIRE, (MIXED, &body)).await.status(), 202);
        world.after(10.0).await;
        assert!(!world.recipients().contains(&CHESS.to_owned()), "groups do not nest");
        let told = told(world);
        assert_eq!(told.len(), 3);
        for (told, recipient) in told.iter().zip(["sip:u0@ims.test", "sip:u2@ims.test", CHESS]) {
            let from = told.field(HeaderName::From);
            assert!(from.starts_with(&format!("<{EXPLODER}>;tag=")), "{from}");
            assert_eq!(told.field(HeaderName::ContentType), "message/cpim");
            let text = told.text();
            for expected in [
                "<message-id>m1</message-id>",
                "<datetime>2006-03-01T10:15:00Z</datetime>",
                &format!("<recipient-uri>{recipient}</recipient-uri>"),
                "<delivery-notification><status><failed/></status></delivery-notification>",
                "Content-Disposition: notification",
            ] {
                assert!(text.contains(expected), "{expected}: {text}");
            }
        }
        let ids: std::collections::HashSet<_> = told.iter().map(Sent::identity).collect();
        assert_eq!(ids.len(), 3);
        assert_eq!(world.kept().await, 0);
    })
    .await;
}

// Covers: CF-082
#[tokio::test(start_paused = true)]
async fn members_of_a_group_are_not_disclosed() {
    story(async |world: &World| {
        world.script(|request| match request.uri_text() {
            b"sip:alice@ims.test" => Answer::Now(200),
            _ => Answer::Now(480),
        });
        assert_eq!(world.send(CHESS, "", ("message/cpim", CPIM)).await.status(), 202);
        world.after(10.0).await;
        let told = told(world);
        assert_eq!(told.len(), 1, "one for all that failed");
        let text = told[0].text();
        assert!(text.contains("<failed/>"), "{text}");
        for hidden in ["recipient-uri", "bob", "carol"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
        assert!(told[0].field(HeaderName::From).starts_with(&format!("<{CHESS}>;tag=")));
    })
    .await;
}

// Covers: CF-014
#[tokio::test(start_paused = true)]
async fn who_did_not_ask_is_not_notified() {
    story(async |world: &World| {
        world.answers(Answer::Now(480));
        let silent = CPIM.replace("negative-delivery", "positive-delivery");
        assert_eq!(world.send(CHESS, "", ("message/cpim", &silent)).await.status(), 202);
        assert_eq!(world.explode(&users(2)).await, 202);
        world.after(10.0).await;
        assert!(told(world).is_empty());
    })
    .await;
}

// Covers: CF-014
#[tokio::test(start_paused = true)]
async fn who_wants_reports_is_told_how_it_went() {
    let mut runs = Runs::new(Policy::default());
    runs.profiles.push(Profile { explosion_reports: true, ..Profile::new(ALICE.into(), T0) });
    runs.run(async |world: &World| {
        world.script(odd_ones_only);
        assert_eq!(world.explode(&users(5)).await, 202);
        world.after(10.0).await;
        let told = told(world);
        assert_eq!(told.len(), 1);
        let expected = "\r\n\r\nDelivered to 2 of 5 recipients.\r\n\
            sip:u0@ims.test: 480 Temporarily Unavailable\r\n\
            sip:u2@ims.test: 480 Temporarily Unavailable\r\n\
            sip:u4@ims.test: 480 Temporarily Unavailable\r\n\
            sip:u1@ims.test: 200 OK\r\nsip:u3@ims.test: 200 OK";
        assert!(told[0].text().ends_with(expected), "{}", told[0].text());
        // Members of a group are not named.
        assert_eq!(world.send(CHESS, "", ("text/plain", "hi")).await.status(), 202);
        world.after(10.0).await;
        let told = self::told(world);
        assert!(told[1].text().ends_with("Delivered to 2 of 2 recipients."), "{:?}", told[1]);
        // A report is a MESSAGE: it is cut where it would be too long.
        assert_eq!(world.explode(&users(50)).await, 202);
        world.after(10.0).await;
        let told = self::told(world);
        let report = told[2].request.body();
        assert!(report.len() <= 1300 && report.ends_with(b"\r\n..."), "{:?}", told[2]);
    })
    .await;
}
