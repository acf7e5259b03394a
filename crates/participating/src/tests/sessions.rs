//! Sessions of Alice and invitations to Bob, as at a proxy.

use std::rc::Rc;
use std::time::Duration;

use parlance_isc::SessionCase::{Originating, Terminating};
use parlance_isc::{Cause, SessionCase};
use parlance_sip::{HeaderName, Request, ResponseBuilder};
use parlance_store::{Entry, Profile, RejectAnswer, Rights, Visibility};

use super::world::{Script, Setup, World, lines, status};
use crate::policy::{ExcessAnswer, Policy, SessionPolicy};

pub(super) const SDP: &str = "v=0\r\no=a 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
    m=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
    a=path:msrp://192.0.2.10:7654/peer;tcp\r\na=x-odd:kept\r\n";

pub(super) const LARGE: &str = "Accept-Contact: *;+g.oma.sip-im.large-message";

fn bob(profile: Profile) -> Setup {
    Setup {
        profiles: vec![Profile { user: "sip:bob@ims.test".into(), ..profile }],
        registered: vec![("sip:bob@ims.test", true)],
        ..Setup::default()
    }
}

pub(super) fn alice(profile: Profile) -> Setup {
    Setup {
        profiles: vec![Profile { user: "sip:alice@ims.test".into(), ..profile }],
        ..Setup::default()
    }
}

pub(super) fn with(session: SessionPolicy) -> Policy {
    Policy { session, warning_host: "im.test".into(), ..Policy::default() }
}

pub(super) async fn invites(world: &World, case: SessionCase, headers: &str) -> String {
    world.asks(case, "INVITE", headers, SDP).await
}

/// The next hop accepts what was forwarded; what goes back.
async fn accepts(world: &World, invite: &Request, headers: &[(HeaderName, &str)]) -> String {
    let response = headers
        .iter()
        .fold(ResponseBuilder::new(invite, 200, "b1"), |response, (name, value)| {
            response.header(*name, value)
        })
        .header(HeaderName::Contact, "<sip:bob@192.0.2.11>");
    world.answer_with(response.build()).await;
    String::from_utf8(world.answered().bytes().to_vec()).unwrap()
}

/// A request in the dialog of `invite`, from who was invited.
async fn within(world: &World, invite: &str, method: &str) {
    let text = invite
        .replace("INVITE sip:bob@ims.test", &format!("{method} sip:alice@192.0.2.10:5060"))
        .replace("CSeq: 1 INVITE", &format!("CSeq: 7 {method}"))
        .replace("From: <sip:alice@ims.test>;tag=a1", "From: <sip:bob@ims.test>;tag=b1")
        .replace("To: <sip:bob@ims.test>", "To: <sip:alice@ims.test>;tag=a1")
        .replace("z9hG4bKcall", &format!("z9hG4bK{method}"));
    world.receive(Originating, text.into()).await;
}

// Covers: PF-010, PF-014, PF-050, MSRP-049, ROLE-018
#[tokio::test(start_paused = true)]
async fn a_session_passes_with_its_description_untouched() {
    let world = World::new(alice(Profile::default())).await;
    let headers = "P-Preferred-Identity: <sip:a@ims.test>\nPrivacy: id\nSubject: Lunch";
    invites(&world, Originating, headers).await;
    let invite = world.forwarded();
    assert_eq!(invite.body(), SDP.as_bytes());
    assert_eq!(lines(&invite, HeaderName::RecordRoute), ["<sip:127.0.0.20:5080;lr>"]);
    assert_eq!(lines(&invite, HeaderName::Route), ["<sip:mark@127.0.0.13:6060;lr>"]);
    assert_eq!(lines(&invite, HeaderName::AcceptContact), ["*;+g.oma.sip-im"]);
    assert_eq!(lines(&invite, HeaderName::Privacy), ["id"]);
    assert_eq!(lines(&invite, HeaderName::PAssertedIdentity), ["<sip:alice@ims.test>"]);
    assert_eq!(lines(&invite, HeaderName::SessionExpires), ["1800"]);
    assert!(!invite.has(HeaderName::PPreferredIdentity));
    let ok = accepts(&world, &invite, &[]).await;
    assert!(!ok.contains("Session-Expires"), "neither knows the timer: {ok}");
}

// Covers: CORE-041, CORE-042
#[tokio::test(start_paused = true)]
async fn session_timers_pass_as_at_a_proxy() {
    let policy = with(SessionPolicy { min_se_s: 120, ..SessionPolicy::default() });
    let world = World::new(Setup { policy, ..alice(Profile::default()) }).await;
    let small = "Supported: timer\nSession-Expires: 119";
    invites(&world, Originating, small).await;
    let refused = world.answered();
    assert_eq!(status(&refused), 422);
    assert_eq!(lines(&refused, HeaderName::MinSe), ["120"]);
    invites(&world, Originating, "Session-Expires: 119").await;
    let raised = world.forwarded();
    assert_eq!(lines(&raised, HeaderName::SessionExpires), ["120"]);
    assert_eq!(lines(&raised, HeaderName::MinSe), ["120"]);
    invites(&world, Originating, "Supported: timer\nSession-Expires: 600;refresher=uac").await;
    let invite = world.forwarded();
    assert_eq!(lines(&invite, HeaderName::SessionExpires), ["600;refresher=uac"]);
    let ok = accepts(&world, &invite, &[]).await;
    assert!(ok.contains("\r\nSession-Expires: 600;refresher=uac\r\n"), "{ok}");
    assert!(ok.contains("\r\nRequire: timer\r\n"), "{ok}");
    invites(&world, Originating, "Supported: timer").await;
    let invite = world.forwarded();
    let ok = accepts(&world, &invite, &[(HeaderName::SessionExpires, "900;refresher=uas")]).await;
    assert_eq!(ok.matches("Session-Expires").count(), 1, "{ok}");
}

// Covers: SEC-032
#[tokio::test(start_paused = true)]
async fn who_may_not_begin_one_is_refused() {
    let rights = |session, large| Rights { session, large, ..Rights::default() };
    for (rights, headers, refused) in [
        (rights(false, true), "", true),
        (rights(false, true), LARGE, false),
        (rights(true, false), "", false),
        (rights(true, false), LARGE, true),
    ] {
        for case in [Originating, Terminating] {
            let profile = Profile { rights, ..Profile::default() };
            let world = match case {
                Originating => World::new(alice(profile)).await,
                Terminating => World::new(bob(profile)).await,
            };
            invites(&world, case, headers).await;
            match refused {
                true => {
                    let answer = world.answered();
                    assert_eq!(status(&answer), 403);
                    let warning = "399 im.invalid \"127 Service not authorised\"";
                    assert_eq!(lines(&answer, HeaderName::Warning), [warning]);
                }
                false => assert_eq!(world.forwarded().body(), SDP.as_bytes()),
            }
        }
    }
}

// Covers: PF-010
#[tokio::test(start_paused = true)]
async fn a_closed_destination_gets_no_sessions() {
    let blocked_targets = vec!["*@ims.test".parse().unwrap()];
    let policy = Policy { blocked_targets, ..Policy::default() };
    let world = World::new(Setup { policy, ..alice(Profile::default()) }).await;
    invites(&world, Originating, "").await;
    assert_eq!(status(&world.answered()), 403);
}

// Covers: PF-070
#[tokio::test(start_paused = true)]
async fn a_user_takes_part_in_so_many_sessions_and_no_more() {
    for (case, excess_answer, code) in [
        (Originating, ExcessAnswer::Forbidden, 403),
        (Originating, ExcessAnswer::Busy, 486),
        (Terminating, ExcessAnswer::Forbidden, 486),
    ] {
        let session = SessionPolicy { sessions_max: 1, excess_answer, ..SessionPolicy::default() };
        let setup = match case {
            Originating => alice(Profile::default()),
            Terminating => bob(Profile::default()),
        };
        let world = World::new(Setup { policy: with(session), ..setup }).await;
        let first = invites(&world, case, "").await;
        let invite = world.forwarded();
        invites(&world, case, "").await;
        let refused = world.answered();
        assert_eq!(status(&refused), code);
        let warning = "399 im.test \"103 Maximum number of sessions reached\"";
        assert_eq!(lines(&refused, HeaderName::Warning), [warning]);
        accepts(&world, &invite, &[]).await;
        invites(&world, case, "").await;
        assert_eq!(status(&world.answered()), code, "the answered one counts on");
        invites(&world, case, LARGE).await;
        world.forwarded();
        within(&world, &first, "BYE").await;
        world.forwarded();
        invites(&world, case, "").await;
        let second = world.forwarded();
        world.answer(&second, 486).await;
        world.sent();
        invites(&world, case, "").await;
        assert_eq!(world.forwarded().body(), SDP.as_bytes(), "a refused one does not count");
    }
}

// Covers: PF-030
#[tokio::test(start_paused = true)]
async fn a_message_that_says_it_is_too_large_is_refused_at_once() {
    let file = "a=sendonly\r\na=file-selector:size:1001\r\na=file-transfer-id:x\r\n";
    for (case, headers, limit, refused) in [
        (Originating, LARGE, 1_000, true),
        (Terminating, LARGE, 1_000, true),
        (Originating, LARGE, 1_001, false),
        (Originating, "", 1_000, false),
    ] {
        let session = SessionPolicy { large_octets_max: limit, ..SessionPolicy::default() };
        let world = World::new(Setup { policy: with(session), ..bob(Profile::default()) }).await;
        world.asks(case, "INVITE", headers, &format!("{SDP}{file}")).await;
        match refused {
            true => {
                let answer = world.answered();
                assert_eq!(status(&answer), 403);
                let warning = "399 im.test \"133 Size exceeded, limit 1000\"";
                assert_eq!(lines(&answer, HeaderName::Warning), [warning]);
            }
            false => _ = world.forwarded(),
        }
    }
}

// Covers: PF-080, SEC-033, DF-006
#[tokio::test(start_paused = true)]
async fn who_is_not_to_be_disturbed_is_not() {
    let rejects = |reject_answer| Profile {
        reject: vec![Entry::Domain("ims.test".into())],
        reject_answer,
        ..Profile::default()
    };
    let offline = Profile { visibility: Visibility::Offline, ..Profile::default() };
    for (profile, code) in [
        (rejects(RejectAnswer::Forbidden), 403),
        (rejects(RejectAnswer::Unavailable), 480),
        (rejects(RejectAnswer::Silent), 480),
        (offline, 480),
    ] {
        let world = World::new(bob(profile)).await;
        invites(&world, Terminating, "").await;
        assert_eq!(status(&world.answered()), code);
    }
    let away = World::new(Setup { registered: Vec::new(), ..bob(Profile::default()) }).await;
    let served = "P-Served-User: <sip:bob@ims.test>;sescase=term;regstate=unreg";
    invites(&away, Terminating, served).await;
    assert_eq!(status(&away.answered()), 480);
}

// Covers: PF-084, PF-085, CLI-035
#[tokio::test(start_paused = true)]
async fn the_invited_client_answers_by_itself_whom_the_user_named() {
    let world = World::new(bob(Profile::default())).await;
    let focus = "Contact: <sip:conf@127.0.0.13>;isfocus;+g.oma.sip-im";
    let text = world.text(Terminating, &format!("{focus}\nContent-Type: application/sdp"), SDP);
    world.receive(Terminating, text.replace("MESSAGE", "INVITE").into()).await;
    let invite = world.forwarded();
    assert_eq!(lines(&invite, HeaderName::Contact), [focus.trim_start_matches("Contact: ")]);
    assert_eq!(lines(&invite, HeaderName::AcceptContact), ["*;+g.oma.sip-im"]);
    assert_eq!(lines(&invite, HeaderName::RecordRoute), ["<sip:127.0.0.20:5081;lr>"]);
    assert!(!invite.has(HeaderName::AnswerMode));
    let auto_answer = vec![Entry::Identity("sip:alice@ims.test".into())];
    let world = World::new(bob(Profile { auto_answer, ..Profile::default() })).await;
    invites(&world, Terminating, "").await;
    assert_eq!(lines(&world.forwarded(), HeaderName::AnswerMode), ["Auto"]);
    invites(&world, Terminating, "Privacy: id").await;
    assert!(!world.forwarded().has(HeaderName::AnswerMode), "whom he may not see he cannot mean");
}

// Covers: CLI-035, CLI-037
#[tokio::test(start_paused = true)]
async fn what_a_user_set_is_overridden_by_whom_he_allows_it() {
    let override_it = "Priv-Answer-Mode: auto;require";
    let world = World::new(bob(Profile::default())).await;
    invites(&world, Terminating, override_it).await;
    let answer = world.answered();
    assert_eq!(status(&answer), 403);
    let warning = "399 im.invalid \"100 Function not allowed\"";
    assert_eq!(lines(&answer, HeaderName::Warning), [warning]);
    for (mode, name) in
        [("Answer-Mode: Auto", "Answer-Mode"), ("Priv-Answer-Mode: Manual", "Priv-Answer-Mode")]
    {
        invites(&world, Terminating, mode).await;
        let passed = world.forwarded();
        assert!(passed.named(name.as_bytes()).is_some(), "{mode} is for the client to judge");
    }
    let answer_override = vec![Entry::Identity("sip:alice@ims.test".into())];
    let world = World::new(bob(Profile { answer_override, ..Profile::default() })).await;
    invites(&world, Terminating, override_it).await;
    let passed = world.forwarded();
    assert_eq!(passed.named(b"Priv-Answer-Mode"), Some(&b"auto;require"[..]));
    invites(&world, Terminating, &format!("{override_it}\nPrivacy: id")).await;
    assert_eq!(status(&world.answered()), 403, "whom he may not see he cannot mean");
}

// Covers: PF-086, PF-036, CLI-036
#[tokio::test(start_paused = true)]
async fn who_does_not_answer_in_time_is_unavailable() {
    let world = World::new(bob(Profile::default())).await;
    invites(&world, Terminating, "").await;
    let invite = world.forwarded();
    world.answer(&invite, 180).await;
    assert_eq!(status(&world.answered()), 180);
    world.pass(Duration::from_secs(58)).await;
    world.nothing_was_sent();
    world.pass(Duration::from_secs(2)).await;
    let sent = world.sent();
    let [cancel, answer] = &sent[..] else { panic!("{sent:?}") };
    assert!(cancel.is_request() && cancel.cseq().unwrap().method == parlance_sip::Method::Cancel);
    assert_eq!(status(answer), 480);
    assert_eq!(lines(answer, HeaderName::Warning), ["399 im.invalid \"No response\""]);
}

// Covers: PF-086, CORE-063, CLI-036
#[tokio::test(start_paused = true)]
async fn what_the_client_answers_goes_back() {
    for (answered, relayed) in
        [(480, 480), (486, 486), (603, 603), (408, 480), (500, 480), (404, 404)]
    {
        let world = World::new(bob(Profile::default())).await;
        invites(&world, Terminating, "").await;
        let invite = world.forwarded();
        world.answer(&invite, answered).await;
        let sent = world.sent();
        let [ack, answer] = &sent[..] else { panic!("{sent:?}") };
        assert!(ack.is_request());
        assert_eq!(status(answer), relayed);
    }
}

// Covers: PF-036
#[tokio::test(start_paused = true)]
async fn cancel_passes_and_the_inviter_gets_487() {
    let world = World::new(bob(Profile::default())).await;
    let text = invites(&world, Terminating, "").await;
    let invite = world.forwarded();
    world.answer(&invite, 180).await;
    world.sent();
    let cancel = text.replace("INVITE", "CANCEL").replace(SDP, "");
    let cancel = cancel.replace(&format!("Length: {}", SDP.len()), "Length: 0");
    world.receive(Terminating, cancel.into()).await;
    let sent = world.sent();
    let [ok, passed] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(status(ok), 200);
    assert_eq!(passed.cseq().unwrap().method, parlance_sip::Method::Cancel);
    world.answer(&invite, 487).await;
    let sent = world.sent();
    assert_eq!(status(&sent[1]), 487);
}

// Covers: PF-016
#[tokio::test(start_paused = true)]
async fn a_user_who_is_always_anonymous_is_so_in_sessions() {
    let shy = Profile { always_anonymous: true, ..Profile::default() };
    let world = World::new(alice(shy)).await;
    invites(&world, Originating, "").await;
    assert_eq!(lines(&world.forwarded(), HeaderName::Privacy), ["id"]);
    world.asks(Originating, "SUBSCRIBE", "Event: conference", "").await;
    assert_eq!(lines(&world.forwarded(), HeaderName::Privacy), ["id"]);
}

// Covers: PF-015, PF-053, PF-054
#[tokio::test(start_paused = true)]
async fn what_is_asked_of_a_focus_is_authorised() {
    let world = World::new(alice(Profile::default())).await;
    let no_session = Rights { session: false, ..Rights::default() };
    let barred = World::new(alice(Profile { rights: no_session, ..Profile::default() })).await;
    let refer = |to: &str| format!("Refer-To: {to}");
    #[rustfmt::skip]
    let table = [
        (&world,  "SUBSCRIBE", "Event: conference".to_owned(),                    0),
        (&barred, "SUBSCRIBE", "Event: conference".to_owned(),                    403),
        (&world,  "REFER",     refer("<sip:carol@ims.test>"),                     0),
        (&world,  "REFER",     refer("<sip:carol@ims.test;method=BYE>"),          0),
        (&world,  "REFER",     refer("<sip:carol@ims.test;method=SUBSCRIBE>"),    403),
        (&world,  "REFER",     String::new(),                                     400),
        (&barred, "REFER",     refer("<sip:carol@ims.test>"),                     403),
    ];
    for (world, method, headers, code) in table {
        world.asks(Originating, method, &headers, "").await;
        match code {
            0 => {
                let request = world.forwarded();
                let route = ["<sip:127.0.0.20:5080;lr>"];
                assert_eq!(lines(&request, HeaderName::RecordRoute), route, "NOTIFY passes here");
                world.answer(&request, 202).await;
                assert_eq!(status(&world.answered()), 202);
            }
            code => assert_eq!(status(&world.answered()), code, "{method} {headers}"),
        }
    }
}

// Covers: PF-033, DF-006
#[tokio::test(start_paused = true)]
async fn an_immediate_message_may_be_taken_by_the_deferred_function() {
    let offline = || Profile { visibility: Visibility::Offline, ..Profile::default() };
    let script = Rc::new(Script::default());
    let setup = |profile| Setup { deferral: Some(Rc::clone(&script)), ..bob(profile) };
    let world = World::new(setup(offline())).await;
    invites(&world, Terminating, LARGE).await;
    invites(&world, Terminating, "").await;
    assert_eq!(script.taken_for(), [Cause::Invisible], "a conversation is not");
    for failure in [0, 480, 486] {
        script.taken.borrow_mut().clear();
        let world = World::new(setup(Profile::default())).await;
        invites(&world, Terminating, LARGE).await;
        let invite = world.forwarded();
        match failure {
            0 => world.pass(Duration::from_secs(61)).await,
            status => world.answer(&invite, status).await,
        }
        let taken = script.taken_for();
        match failure {
            486 => assert_eq!(taken, [], "busy is not away"),
            _ => assert_eq!(taken, [Cause::Unanswered], "{failure}"),
        }
    }
}

// Covers: PF-087
#[tokio::test(start_paused = true)]
async fn a_client_without_the_service_is_not_tried() {
    let registered = vec![("sip:bob@ims.test", false)];
    let world = World::new(Setup { registered, ..bob(Profile::default()) }).await;
    invites(&world, Terminating, "").await;
    assert_eq!(status(&world.answered()), 480);
}

// Covers: PF-089, CLI-042
#[tokio::test(start_paused = true)]
async fn notifications_pass_to_the_subscriber() {
    let world = World::new(alice(Profile::default())).await;
    let notify = |uri: &str, route: &str| {
        format!(
            "NOTIFY {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKn{}\r\n\
             {route}Max-Forwards: 68\r\nFrom: <sip:conf@ims.test>;tag=c1\r\n\
             To: <sip:alice@ims.test>;tag=a1\r\nCall-ID: n\r\nCSeq: 5 NOTIFY\r\n\
             Event: conference\r\nSubscription-State: active\r\nContent-Length: 2\r\n\r\nhi",
            route.len()
        )
    };
    let route = "Route: <sip:127.0.0.20:5080;lr>, <sip:127.0.0.13:6060;lr>\r\n";
    let text = notify("sip:alice@192.0.2.10", route);
    world.receive(Originating, text.into()).await;
    let passed = world.forwarded();
    assert_eq!(passed.body(), b"hi");
    assert_eq!(lines(&passed, HeaderName::SubscriptionState), ["active"]);
    let text = notify("sip:127.0.0.20:5080", "");
    world.receive(Originating, text.into()).await;
    assert_eq!(status(&world.answered()), 481, "no such subscription");
}
