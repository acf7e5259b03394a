//! Alice sends.

use std::sync::Arc;
use std::time::Duration;

use parlance_isc::decision::{DecisionPolicy, Provisioning};
use parlance_isc::{Origin, SessionCase};
use parlance_sip::{HeaderName, ResponseBuilder};
use parlance_store::{Profile, Registrations as _, Rights};

use super::world::binding;
use super::{Setup, World, lines, status, testdata};
use crate::event::Step;
use crate::policy::Policy;

const SECOND: Duration = Duration::from_secs(1);

fn alice(change: impl FnOnce(&mut Profile)) -> Setup {
    let mut profile = Profile { user: "sip:alice@ims.test".into(), ..Profile::default() };
    change(&mut profile);
    Setup { profiles: vec![profile], ..Setup::default() }
}

fn with_policy(policy: Policy) -> Setup {
    Setup { policy, ..Setup::default() }
}

/// What Alice's message with these headers and this body is answered, and the Warning with it.
async fn refusal(world: &World, headers: &str, body: &str) -> (u16, Vec<String>) {
    world.alice_sends(headers, body).await;
    let answer = world.answered();
    (status(&answer), lines(&answer, HeaderName::Warning))
}

/// Compares what was forwarded with a golden file, our branch aside.
#[track_caller]
fn check_golden(world: &World, name: &str) {
    let forwarded = world.forwarded();
    let branch = forwarded.top_via().unwrap().branch().unwrap().to_owned();
    let text = String::from_utf8(forwarded.bytes().to_vec()).unwrap();
    let text = text.replacen(&branch, "z9hG4bK-OURS", 1);
    let expected = String::from_utf8(testdata(&format!("{name}.forwarded")).to_vec()).unwrap();
    assert_eq!(text, expected, "{name}");
}

// Covers: PF-010, PF-020, PF-025, CORE-032, CORE-067, ROLE-011, ROLE-012
#[tokio::test(start_paused = true)]
async fn a_message_goes_on_octet_for_octet_and_its_answer_comes_back() {
    let world = World::new(Setup::default()).await;
    world.receive(SessionCase::Originating, testdata("orig_MESSAGE")).await;
    check_golden(&world, "orig_MESSAGE");

    world.alice_sends("Subject: x", "hi").await;
    let forwarded = world.forwarded();
    let response = ResponseBuilder::new(&forwarded, 200, "b1")
        .header(HeaderName::UserAgent, "Phone/1")
        .header(HeaderName::Warning, "399 b \"x\"");
    let whole = response.build();
    world.answer_with(whole.clone()).await;
    let relayed = String::from_utf8(world.answered().bytes().to_vec()).unwrap();
    // The same, but for our Via.
    let whole = String::from_utf8(whole.to_vec()).unwrap();
    let (first, rest) = whole.split_once("\r\n").unwrap();
    let (our_via, rest) = rest.split_once("\r\n").unwrap();
    assert!(our_via.starts_with("Via: SIP/2.0/UDP 127.0.0.20:5080;branch="), "{our_via}");
    assert_eq!(relayed, format!("{first}\r\n{rest}"));
}

/// Every header line but those that a proxy changes.
fn kept(request: &parlance_sip::Request) -> Vec<String> {
    let changed =
        ["Route", "P-Served-User", "Via", "Max-Forwards", "Max-Breadth", "Date", "Record-Route"];
    let lines = request.fields().map(|(_, name, value)| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    });
    lines.filter(|line| !changed.iter().any(|name| line.starts_with(name))).collect()
}

// Covers: PF-014, PF-099, CORE-036, CLI-008
#[tokio::test(start_paused = true)]
async fn headers_of_the_service_stay_and_a_preferred_identity_goes() {
    let world = World::new(Setup::default()).await;
    let added = "Privacy: header\r\nSupported: timer\r\nSession-Expires: 1800\r\nX-Unknown: \u{e9}";
    for name in ["orig_MESSAGE", "orig_INVITE"] {
        let text = String::from_utf8(testdata(name).to_vec()).unwrap();
        let whole = text.replacen("\r\n\r\n", &format!("\r\n{added}\r\n\r\n"), 1);
        let preferred = "\r\nP-Preferred-Identity: <sip:al@ims.test>\r\nVia:";
        let sent = whole.replacen("\r\nVia:", preferred, 1);
        world.receive(SessionCase::Originating, sent.into()).await;
        let requests =
            world.sent().into_iter().filter_map(|sent| parlance_sip::Request::new(sent).ok());
        let forwarded = requests.last().unwrap();
        assert!(!forwarded.has(HeaderName::PPreferredIdentity), "{name}");
        assert!(!forwarded.has(HeaderName::PServedUser), "{name}");
        assert_eq!(kept(&forwarded), kept(&super::request(&whole)), "{name}");
        let first = lines(&forwarded, HeaderName::RecordRoute).first().cloned();
        let ours = (name == "orig_INVITE").then(|| "<sip:127.0.0.20:5080;lr>".to_owned());
        assert_eq!(first, ours, "in the route set of a dialog");
    }
}

// Covers: PF-010, SEC-001, SEC-003, SEC-032
#[tokio::test(start_paused = true)]
async fn who_may_not_send_is_told_so() {
    let warned = |text: &str| (403, vec![format!("399 im.invalid \"{text}\"")]);
    let unauthorised = warned("127 Service not authorised");

    let world = World::new(Setup::default()).await;
    let nobody = "P-Asserted-Identity:";
    assert_eq!(refusal(&world, nobody, "hi").await, warned("Originator not authenticated"));
    let eve = "From: <sip:eve@ims.test>;tag=1";
    let foreign = warned("From is not an identity of the originator");
    assert_eq!(refusal(&world, eve, "hi").await, foreign);

    let decisions =
        DecisionPolicy { provisioning: Provisioning::ByOperator, ..DecisionPolicy::default() };
    let world = World::new(Setup { decisions, ..Setup::default() }).await;
    assert_eq!(refusal(&world, "", "hi").await, unauthorised);

    let world = World::new(alice(|profile| profile.provisioned = false)).await;
    assert_eq!(refusal(&world, "", "hi").await, unauthorised);
    let world = World::new(alice(|profile| profile.barred = true)).await;
    assert_eq!(refusal(&world, "", "hi").await, unauthorised);
    let rights = Rights { pager: false, ..Rights::default() };
    let world = World::new(alice(|profile| profile.rights = rights)).await;
    assert_eq!(refusal(&world, "", "hi").await, unauthorised);

    // Barred by the network: the registration says so.
    let world = World::new(Setup::default()).await;
    let mut barred = binding("sip:alice@ims.test", true);
    barred.barred = true;
    world.store.bind(barred, world.node.clock.now()).await.unwrap();
    assert_eq!(refusal(&world, "", "hi").await, unauthorised);
}

// Covers: PF-040
#[tokio::test(start_paused = true)]
async fn an_advertisement_of_a_group_needs_a_right_of_its_own() {
    const TYPE: &str = "application/vnd.poc.group-advertisement+xml";
    let plain = format!("Content-Type: {TYPE}");
    let inside = format!("--b\r\nContent-Type: {TYPE}\r\n\r\n<a/>\r\n--b--\r\n");
    let world = World::new(alice(|_| {})).await;
    world.alice_sends(&plain, "<a/>").await;
    assert_eq!(world.forwarded().body(), b"<a/>", "otherwise it is a message like others");

    let rights = Rights { group_advertisement: false, ..Rights::default() };
    let barred = |policy| Setup { policy, ..alice(|profile| profile.rights = rights) };
    let world = World::new(barred(Policy::default())).await;
    let refused = (403, vec!["399 im.invalid \"127 Service not authorised\"".to_owned()]);
    assert_eq!(refusal(&world, &plain, "<a/>").await, refused);
    let multipart = "Content-Type: multipart/mixed;boundary=b";
    assert_eq!(refusal(&world, multipart, &inside).await, refused);
    world.alice_sends("", "hi").await;
    world.forwarded();

    let group_advertisement_types = vec!["text/x-group".to_owned()];
    let world = World::new(barred(Policy { group_advertisement_types, ..Policy::default() })).await;
    world.alice_sends(&plain, "<a/>").await;
    world.forwarded();
    assert_eq!(refusal(&world, "Content-Type: text/x-group", "<a/>").await, refused);
}

// Covers: PF-010
#[tokio::test(start_paused = true)]
async fn the_first_step_that_fails_gives_the_answer() {
    let rights = Rights { pager: false, ..Rights::default() };
    let blocked_targets = vec!["sip:bob@ims.test".parse().unwrap()];
    let policy = Policy { body_octets_max: 1, blocked_targets, ..Policy::default() };
    let setup = alice(|profile| profile.rights = rights);
    let world = World::new(Setup { policy: policy.clone(), ..setup }).await;
    let text = |answer: (u16, Vec<String>)| answer.1.concat();
    assert!(text(refusal(&world, "", "hi").await).contains("127"), "rights before size");
    let world = World::new(with_policy(policy.clone())).await;
    assert!(text(refusal(&world, "", "hi").await).contains("133"), "size before policy");
    assert!(text(refusal(&world, "", "h").await).contains("Destination"), "policy");
}

// Covers: PF-012, PF-013, PF-022, CORE-051
#[tokio::test(start_paused = true)]
async fn content_is_limited() {
    let policy = Policy {
        warning_host: "im.ims.test".into(),
        blocked_content: vec!["image/*".into()],
        blocked_words: vec!["casino".into()],
        ..Policy::default()
    };
    let world = World::new(with_policy(policy)).await;
    let large = "x".repeat(1301);
    let too_large = vec!["399 im.ims.test \"133 Size exceeded, limit 1300\"".to_owned()];
    assert_eq!(refusal(&world, "", &large).await, (403, too_large));
    world.alice_sends("", &large[1..]).await;
    assert_eq!(world.forwarded().body().len(), 1300);

    world.alice_sends("Content-Type: image/png", "PNG").await;
    let answer = world.answered();
    assert_eq!(
        (status(&answer), lines(&answer, HeaderName::Accept)),
        (415, vec!["*/*, image/*;q=0".to_owned()])
    );
    let (status, _) = refusal(&world, "", "Casino!").await;
    assert_eq!(status, 403);
}

// Covers: SEC-003, PF-024
#[tokio::test(start_paused = true)]
async fn a_cpim_from_must_be_an_identity_of_the_sender() {
    let setup = alice(|profile| profile.aliases = vec!["tel:+15550000001".into()]);
    let world = World::new(setup).await;
    let cpim = |from: &str| {
        format!(
            "{from}To: <im:bob@ims.test>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
             imdn.Message-ID: Xk29fA7q\r\n\
             imdn.Disposition-Notification: positive-delivery, display\r\n\r\n\
             Content-Type: text/plain\r\n\r\nLunch?"
        )
    };
    for from in [
        "From: <im:alice@ims.test>\r\n",
        "From: Al <sip:alice@ims.test>\r\n",
        "From: <tel:+1-555-000-0001>\r\n",
        "From: <im:anonymous@anonymous.invalid>\r\n",
        "",
    ] {
        world.alice_sends("Content-Type: message/cpim", &cpim(from)).await;
        assert_eq!(world.forwarded().body(), cpim(from).as_bytes(), "{from}");
    }
    for from in [
        "From: <im:eve@ims.test>\r\n",
        "From: <>\r\n",
        "From: <im:alice@ims.test>\r\nFrom: <im:eve@ims.test>\r\n",
    ] {
        let (status, warning) = refusal(&world, "Content-Type: message/cpim", &cpim(from)).await;
        assert_eq!(status, 403, "{from}");
        assert!(warning.concat().contains("CPIM From"), "{warning:?}");
    }
    let lax = Policy { cpim_from_must_match: false, ..Policy::default() };
    *world.policy.borrow_mut() = Arc::new(lax);
    let foreign = cpim("From: <im:eve@ims.test>\r\n");
    world.alice_sends("Content-Type: message/cpim", &foreign).await;
    assert_eq!(world.forwarded().body(), foreign.as_bytes(), "after a reload");
}

// Covers: PF-010
#[tokio::test(start_paused = true)]
async fn closed_destinations_are_refused() {
    let blocked_targets = vec!["tel:+1900*".parse().unwrap(), "*@spam.test".parse().unwrap()];
    let world = World::new(with_policy(Policy { blocked_targets, ..Policy::default() })).await;
    for uri in ["tel:+1-900-5555", "sip:x@spam.test"] {
        let (status, warning) = refusal(&world, &format!("Request-URI: {uri}"), "hi").await;
        assert_eq!(status, 403, "{uri}");
        assert_eq!(warning, ["399 im.invalid \"Destination not allowed\""], "{uri}");
    }
    world.alice_sends("Request-URI: tel:+1-901-5555", "hi").await;
    world.forwarded();
}

// Covers: SEC-012
#[tokio::test(start_paused = true)]
async fn a_user_may_send_only_so_much() {
    let policy = Policy { rate_per_user: 1, rate_burst: 2, ..Policy::default() };
    let world = World::new(with_policy(policy)).await;
    for _ in 0..2 {
        world.alice_sends("", "hi").await;
        world.forwarded();
    }
    world.alice_sends("", "hi").await;
    let answer = world.answered();
    assert_eq!((status(&answer), lines(&answer, HeaderName::RetryAfter)), (480, vec!["1".into()]));
    world.sent();
    world.pass(SECOND).await;
    world.sent();
    world.alice_sends("", "hi").await;
    let sent = world.sent();
    assert!(sent.iter().all(parlance_sip::Message::is_request), "{sent:?}");
}

// Covers: PF-016, CORE-053
#[tokio::test(start_paused = true)]
async fn privacy_is_asked_for_on_behalf_of_the_user() {
    let world = World::new(alice(|profile| profile.always_anonymous = true)).await;
    world.alice_sends("", "hi").await;
    assert_eq!(lines(&world.forwarded(), HeaderName::Privacy), ["id"]);
    world.alice_sends("Privacy: none", "hi").await;
    assert_eq!(lines(&world.forwarded(), HeaderName::Privacy), ["none"]);
    world.alice_sends("Privacy: spectral;critical", "hi").await;
    assert_eq!(status(&world.answered()), 500, "RFC 3323 §5");
    world.alice_sends("Privacy: header;critical\nProxy-Require: privacy", "hi").await;
    assert_eq!(lines(&world.forwarded(), HeaderName::Privacy), ["header;critical;id"]);
}

// Covers: PF-020, PF-021, CORE-061, CORE-063
#[tokio::test(start_paused = true)]
async fn final_responses_are_relayed_but_those_that_bypass_us() {
    let world = World::new(Setup::default()).await;
    for code in [200, 202, 302, 403, 404, 413, 415, 433, 480, 486, 600, 603] {
        world.alice_sends("", "hi").await;
        let forwarded = world.forwarded();
        world.answer(&forwarded, code).await;
        let answer = world.answered();
        assert_eq!(status(&answer), code);
        assert!(!answer.has(HeaderName::Warning));
    }
    for code in [408, 500, 503, 504] {
        world.alice_sends("", "hi").await;
        let forwarded = world.forwarded();
        world.answer(&forwarded, code).await;
        let answer = world.answered();
        assert_eq!(status(&answer), 480, "{code}");
        let warning = format!("399 im.invalid \"Downstream answered {code}\"");
        assert_eq!(lines(&answer, HeaderName::Warning), [warning]);
    }
    *world.policy.borrow_mut() = Arc::new(Policy { relay_5xx: true, ..Policy::default() });
    for (code, expected) in [(504, 504), (408, 480)] {
        world.alice_sends("", "hi").await;
        let forwarded = world.forwarded();
        world.answer(&forwarded, code).await;
        assert_eq!(status(&world.answered()), expected);
    }
}

// Covers: PF-021, CORE-061
#[tokio::test(start_paused = true)]
async fn without_a_final_response_nothing_is_sent() {
    let world = World::new(Setup::default()).await;
    world.alice_sends("", "hi").await;
    let forwarded = world.forwarded();
    world.pass(60 * SECOND).await;
    for message in world.sent() {
        // The 100 that RFC 4320 §4.1 asks for, and our own request again.
        assert!(message.is_request() || status(&message) == 100, "{message:?}");
    }
    assert_eq!(world.events().last().unwrap().2, Step::Abandoned);
    // Too late for everybody.
    world.answer(&forwarded, 200).await;
    world.nothing_was_sent();
}

// Covers: CORE-063
#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_on_is_480() {
    let world = World::new(Setup::default()).await;
    let nowhere = "Route: <sip:127.0.0.20:5080;lr>, <sip:nowhere.invalid;lr>";
    world.alice_sends(nowhere, "hi").await;
    let answer = world.answered();
    assert_eq!(status(&answer), 480);
    assert_eq!(lines(&answer, HeaderName::RetryAfter), ["10"]);
}

// Covers: CORE-052
#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_old_goes_nowhere() {
    let world = World::new(Setup::default()).await;
    // The clock says 14:13:20.
    let old = "Date: Mon, 21 Sep 2026 14:13:00 GMT\nExpires: 19";
    let (status, warning) = refusal(&world, old, "hi").await;
    assert_eq!((status, warning), (480, vec!["399 im.invalid \"Message expired\"".to_owned()]));
    for fresh in ["Date: Mon, 21 Sep 2026 14:13:00 GMT\nExpires: 60", "Expires: 0", "Expires: 1"] {
        world.alice_sends(fresh, "hi").await;
        world.forwarded();
    }
}

// Covers: CORE-064, ROLE-012
#[tokio::test(start_paused = true)]
async fn what_is_not_an_im_message_or_is_our_own_passes() {
    let closed = Policy { body_octets_max: 0, ..Policy::default() };
    let world = World::new(with_policy(closed)).await;
    // A session is let through whatever the policy says of messages.
    world.receive(SessionCase::Originating, testdata("orig_INVITE")).await;
    let sent = world.sent();
    let invite = sent.iter().find(|message| message.is_request()).unwrap();
    assert_eq!(lines(invite, HeaderName::RecordRoute)[0], "<sip:127.0.0.20:5080;lr>");
    assert_eq!(invite.body(), super::octets(testdata("orig_INVITE")).body());
    // A message without the feature tag is not ours to judge.
    world.alice_sends("Accept-Contact:", "hi").await;
    assert!(!world.forwarded().has(HeaderName::Date));
    // What another part of this server sent is passed on as well, on the way out too.
    let own = super::request(&world.text(SessionCase::Originating, "Call-ID: mine", "hi"));
    let branch = world.marks.branch(Origin::Controlling, 0, 7, &own);
    let via = format!(
        "Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKx, \
                       SIP/2.0/UDP 127.0.0.20:5080;branch={branch}"
    );
    world.alice_sends(&format!("Call-ID: mine\n{via}"), "hi").await;
    assert!(!world.forwarded().has(HeaderName::Date));
}

// Covers: PF-096
#[tokio::test(start_paused = true)]
async fn a_sink_learns_of_every_step() {
    let world = World::new(Setup::default()).await;
    world.alice_sends("", "hi").await;
    let forwarded = world.forwarded();
    world.answer(&forwarded, 200).await;
    let steps = [Step::Received, Step::Forwarded, Step::Answered(200)];
    let expected =
        steps.map(|step| (SessionCase::Originating, "sip:alice@ims.test".to_owned(), step));
    assert_eq!(world.events(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_early_leaves_a_480() {
    let world = World::new(Setup::default()).await;
    world.alice_sends("", "hi").await;
    world.forwarded();
    world.end_tasks();
    assert_eq!(status(&world.answered()), 480);
}
