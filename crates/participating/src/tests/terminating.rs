//! Bob receives.

use std::rc::Rc;
use std::time::Duration;

use parlance_isc::{Cause, Local, Origin, SessionCase};
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Message};
use parlance_store::{AnonymousPolicy, Entry, Profile, RejectAnswer, Rights, UserId, Visibility};

use super::{Script, Setup, World, lines, status, testdata};
use crate::access::Lists;
use crate::content::{ContentFilter, Part, Verdict};
use crate::event::Step;
use crate::policy::{AnonymousAnswer, Policy};

const BOB: &str = "sip:bob@ims.test";

pub(super) fn bob(change: impl FnOnce(&mut Profile)) -> Setup {
    let mut profile = Profile { user: BOB.into(), ..Profile::default() };
    change(&mut profile);
    Setup { profiles: vec![profile], registered: vec![(BOB, true)], ..Setup::default() }
}

/// What a message to Bob is answered without reaching his client.
async fn refused(world: &World, headers: &str, body: &str) -> Message {
    world.bob_gets(headers, body).await;
    world.answered()
}

// Covers: PF-093, PF-025, CORE-032, CORE-067
#[tokio::test(start_paused = true)]
async fn a_message_reaches_the_client_octet_for_octet() {
    for name in ["term_MESSAGE", "term_MESSAGE_tel"] {
        let setup = bob(|profile| profile.aliases = vec!["tel:+15550000002".into()]);
        let world = World::new(setup).await;
        world.receive(SessionCase::Terminating, testdata(name)).await;
        let forwarded = world.forwarded();
        let branch = forwarded.top_via().unwrap().branch().unwrap().to_owned();
        let text = String::from_utf8(forwarded.bytes().to_vec()).unwrap();
        let text = text.replacen(&branch, "z9hG4bK-OURS", 1);
        let golden = testdata(&format!("{name}.forwarded"));
        assert_eq!(text.as_bytes(), &golden[..], "{name}:\n{text}");
        world.answer(&forwarded, 200).await;
        assert_eq!(status(&world.answered()), 200);
        let steps: Vec<_> = world.events().into_iter().map(|(_, _, step)| step).collect();
        assert_eq!(steps, [Step::Received, Step::Forwarded, Step::Answered(200)]);
    }
}

// Covers: PF-024, PF-098
#[tokio::test(start_paused = true)]
async fn cpim_and_imdn_pass_untouched() {
    let world = World::new(bob(|_| {})).await;
    let notification = "From: Bob <im:bob@example.com>\r\nTo: Alice <im:alice@example.com>\r\n\
        NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: d834jied93rf\r\n\
        imdn.IMDN-Record-Route: <im:relay@example.com>\r\n\r\nContent-type: message/imdn+xml\r\n\
        Content-Disposition: notification\r\n\r\n\
        <?xml version=\"1.0\"?><imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"/>";
    world.bob_gets("Content-Type: message/cpim", notification).await;
    let forwarded = world.forwarded();
    assert_eq!(forwarded.body(), notification.as_bytes());
    world.answer(&forwarded, 200).await;
    // Nothing is generated on the strength of the 2xx.
    assert_eq!(status(&world.answered()), 200);
}

// Covers: PF-080, PF-081, PF-082, PF-097, SEC-033
#[tokio::test(start_paused = true)]
async fn a_rejected_sender_gets_the_answer_the_user_chose() {
    for (answer, expected) in [
        (RejectAnswer::Forbidden, 403),
        (RejectAnswer::Unavailable, 480),
        (RejectAnswer::Silent, 200),
    ] {
        let script = Rc::new(Script::default());
        let setup = bob(|profile| {
            profile.reject = vec![Entry::Identity("sip:alice@ims.test".into())];
            profile.accept = profile.reject.clone();
            profile.reject_answer = answer;
            // None of these gets a say: access rules come first.
            profile.visibility = Visibility::Offline;
            profile.message_octets_max = Some(1);
        });
        let world = World::new(Setup { deferral: Some(script.clone()), ..setup }).await;
        let response = refused(&world, "", "hi").await;
        assert_eq!(status(&response), expected, "{answer:?}");
        assert!(!response.has(HeaderName::Warning) && !response.has(HeaderName::RetryAfter));
        assert_eq!(script.causes(), [], "never stored");
        let forwarded = world.events().iter().any(|(_, _, step)| *step == Step::Forwarded);
        assert!(!forwarded);
    }
}

// Covers: PF-091, PF-092, CLI-040
#[tokio::test(start_paused = true)]
async fn advertisements_and_alerts_come_unless_the_user_blocks_them() {
    const ADVERTISEMENT: &str = "Content-Type: application/vnd.poc.group-advertisement+xml";
    const ALERT: &str = "Content-Type: APPLICATION/vnd.poc.instant-personal-alert+xml;x=1";
    let both = |answer| {
        move |profile: &mut Profile| {
            profile.block_group_advertisements = true;
            profile.block_personal_alerts = true;
            profile.reject_answer = answer;
        }
    };
    let world = World::new(bob(|_| {})).await;
    for kind in [ADVERTISEMENT, ALERT] {
        world.bob_gets(kind, "<a/>").await;
        assert_eq!(world.forwarded().body(), b"<a/>");
    }
    for (answer, advertised) in [(RejectAnswer::Forbidden, 403), (RejectAnswer::Silent, 200)] {
        let world = World::new(bob(both(answer))).await;
        assert_eq!(status(&refused(&world, ADVERTISEMENT, "<a/>").await), advertised);
        assert_eq!(status(&refused(&world, ALERT, "<a/>").await), 403, "{answer:?}");
        let kind = ADVERTISEMENT.trim_start_matches("Content-Type: ");
        let inside = format!("--b\r\nContent-Type: {kind}\r\n\r\n<a/>\r\n--b--\r\n");
        let part = refused(&world, "Content-Type: multipart/mixed;boundary=b", &inside).await;
        assert_eq!(status(&part), advertised, "as a part, such as of a copy to a member");
        assert!(!world.events().iter().any(|(_, _, step)| *step == Step::Forwarded));
        world.bob_gets("", "hi").await;
        world.forwarded();
    }
    for (kind, other) in [(ADVERTISEMENT, ALERT), (ALERT, ADVERTISEMENT)] {
        let setup = bob(|profile| {
            profile.block_group_advertisements = kind == ADVERTISEMENT;
            profile.block_personal_alerts = kind == ALERT;
        });
        let world = World::new(setup).await;
        assert_eq!(status(&refused(&world, kind, "<a/>").await), 403, "{kind}");
        world.bob_gets(other, "<a/>").await;
        world.forwarded();
    }
}

// Covers: PF-083
#[tokio::test(start_paused = true)]
async fn anonymous_senders_are_refused_if_the_user_says_so() {
    for (anonymous_answer, expected) in
        [(AnonymousAnswer::Forbidden, 403), (AnonymousAnswer::AnonymityDisallowed, 433)]
    {
        let policy = Policy { anonymous_answer, ..Policy::default() };
        let setup = bob(|profile| profile.anonymous = AnonymousPolicy::Reject);
        let world = World::new(Setup { policy, ..setup }).await;
        let withheld = "P-Asserted-Identity:\nPrivacy: id\n\
                        From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1";
        for headers in ["Privacy: id", withheld] {
            assert_eq!(status(&refused(&world, headers, "hi").await), expected, "{headers}");
        }
        world.bob_gets("", "hi").await;
        world.forwarded();
    }
}

// Covers: PF-080, SEC-032
#[tokio::test(start_paused = true)]
async fn service_rights_hold_for_the_recipient() {
    let rights = Rights { pager: false, ..Rights::default() };
    for change in [(|profile: &mut Profile| profile.barred = true) as fn(&mut Profile), |profile| {
        profile.provisioned = false
    }] {
        let world = World::new(bob(change)).await;
        assert_eq!(status(&refused(&world, "", "hi").await), 403);
    }
    let world = World::new(bob(|profile| profile.rights = rights)).await;
    let response = refused(&world, "", "hi").await;
    assert_eq!(status(&response), 403);
    let warning = "399 im.invalid \"127 Service not authorised\"";
    assert_eq!(lines(&response, HeaderName::Warning), [warning]);
}

// Covers: PF-013, PF-022, PF-080, PF-097
#[tokio::test(start_paused = true)]
async fn limits_hold_for_what_is_stored_as_well() {
    let script = Rc::new(Script::default());
    let setup = bob(|profile| {
        profile.visibility = Visibility::Offline;
        profile.message_octets_max = Some(3);
        profile.blocked_content = vec!["image/*".into()];
    });
    let world = World::new(Setup { deferral: Some(script.clone()), ..setup }).await;
    let response = refused(&world, "", "four").await;
    assert_eq!(status(&response), 403);
    let warning = "399 im.invalid \"133 Size exceeded, limit 3\"";
    assert_eq!(lines(&response, HeaderName::Warning), [warning]);
    assert_eq!(status(&refused(&world, "Content-Type: image/png", "PNG").await), 415);
    assert_eq!(script.causes(), []);
    assert_eq!(status(&refused(&world, "", "hi!").await), 202);
    assert_eq!(script.causes(), [Cause::Invisible]);
}

// Covers: PF-095
#[tokio::test(start_paused = true)]
async fn one_2xx_is_enough_and_is_the_answer() {
    let script = Rc::new(Script::default());
    let setup = bob(|_| {});
    let world = World::new(Setup { deferral: Some(script.clone()), ..setup }).await;
    world.bob_gets("", "hi").await;
    let forwarded = world.forwarded();
    world.answer(&forwarded, 200).await;
    assert_eq!(status(&world.answered()), 200);
    // What the fork of another device answers meets no transaction any more.
    world.answer(&forwarded, 480).await;
    world.nothing_was_sent();
    world.pass(Duration::from_secs(60)).await;
    world.nothing_was_sent();
    assert_eq!(script.causes(), []);
}

// Covers: PF-099
#[tokio::test(start_paused = true)]
async fn mobile_and_fixed_clients_are_treated_alike() {
    let world = World::new(bob(|_| {})).await;
    let mut seen = Vec::new();
    for access in ["3GPP-UTRAN-TDD; utran-cell-id-3gpp=234151D0FCE11", "xDSL;dsl-location=1"] {
        let headers = format!("P-Access-Network-Info: {access}\nUser-Agent: X/1");
        world.bob_gets(&headers, "hi").await;
        let forwarded = world.forwarded();
        let fields = forwarded.fields().map(|(name, ..)| name).collect::<Vec<_>>();
        world.answer(&forwarded, 200).await;
        seen.push((fields, status(&world.answered())));
    }
    assert_eq!(seen[0], seen[1]);
}

// Covers: CORE-064
#[tokio::test(start_paused = true)]
async fn what_the_deferred_function_sends_is_not_served_again() {
    let script = Rc::new(Script::default());
    let setup = bob(|profile| profile.store_pager_mode = true);
    let world = World::new(Setup { deferral: Some(script.clone()), ..setup }).await;
    let own = super::request(&world.text(SessionCase::Terminating, "Call-ID: pushed", "hi"));
    let branch = world.marks.branch(Origin::Deferred, 0, 7, &own);
    let via = format!(
        "Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKx, \
                       SIP/2.0/UDP 127.0.0.20:5081;branch={branch}"
    );
    world.bob_gets(&format!("Call-ID: pushed\n{via}"), "hi").await;
    let forwarded = world.forwarded();
    world.answer(&forwarded, 480).await;
    assert_eq!(status(&world.answered()), 480);
    assert_eq!(script.causes(), []);
}

// Covers: ROLE-011, CORE-062
#[tokio::test(start_paused = true)]
async fn the_same_message_is_served_on_both_sides() {
    let world = World::new(bob(|_| {})).await;
    world.receive(SessionCase::Originating, testdata("orig_MESSAGE")).await;
    let out = world.forwarded();
    world.receive(SessionCase::Terminating, testdata("term_MESSAGE")).await;
    let inward = world.forwarded();
    assert_eq!(out.call_id(), inward.call_id());
    world.answer(&inward, 200).await;
    assert_eq!(status(&world.answered()), 200);
    world.answer(&out, 200).await;
    assert_eq!(status(&world.answered()), 200);
    let steps = world.events();
    let of = |case| steps.iter().filter(|(found, ..)| *found == case).count();
    assert_eq!((of(SessionCase::Originating), of(SessionCase::Terminating)), (3, 3));
}

/// Refuses what says so, and knows the members of one list.
struct Adapter;

impl ContentFilter for Adapter {
    fn judge<'a>(&'a self, parts: &'a [Part]) -> Local<'a, Verdict> {
        let refused = parts.iter().any(|part| &part.body[..] == b"refuse me");
        Box::pin(async move { if refused { Verdict::Refuse } else { Verdict::Pass } })
    }
}

impl Lists for Adapter {
    fn contains<'a>(
        &'a self,
        owner: &'a UserId,
        list: &'a str,
        sender: &'a Aor,
    ) -> Local<'a, Option<bool>> {
        let found = (owner.as_str(), list, sender.as_str()) == (BOB, "foes", "sip:alice@ims.test");
        Box::pin(async move { Some(found) })
    }
}

// Covers: PF-022, PF-081
#[tokio::test(start_paused = true)]
async fn adapters_have_their_say() {
    let setup = bob(|profile| profile.reject = vec![Entry::List("foes".into())]);
    let world = World::new(Setup { lists: Some(Rc::new(Adapter)), ..setup }).await;
    assert_eq!(status(&refused(&world, "", "hi").await), 403);
    let carol = "P-Asserted-Identity: <sip:carol@ims.test>";
    world.bob_gets(carol, "hi").await;
    world.forwarded();
    // Without an adapter the list is nowhere, unless the profile has it.
    let setup = bob(|profile| profile.reject = vec![Entry::List("foes".into())]);
    let world = World::new(setup).await;
    assert_eq!(status(&refused(&world, carol, "hi").await), 480);
    let setup = bob(|profile| {
        profile.reject = vec![Entry::List("foes".into())];
        let foes = vec![Entry::Identity("sip:alice@ims.test".into())];
        profile.lists = [("foes".to_owned(), foes)].into();
    });
    let world = World::new(setup).await;
    assert_eq!(status(&refused(&world, "", "hi").await), 403);
    world.bob_gets(carol, "hi").await;
    world.forwarded();
    let setup = bob(|_| {});
    let world = World::new(Setup { filter: Some(Rc::new(Adapter)), ..setup }).await;
    assert_eq!(status(&refused(&world, "", "refuse me").await), 403);
    world.bob_gets("", "hi").await;
    world.forwarded();
    world.alice_sends("", "refuse me").await;
    assert_eq!(status(&world.answered()), 403);
}
