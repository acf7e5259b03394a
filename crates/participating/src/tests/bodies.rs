//! Anchored sessions whose descriptions come in other ways than as the body of the INVITE and of
//! its 2xx, and those with a focus.

use std::rc::Rc;

use parlance_isc::SessionCase::{Originating, Terminating};
use parlance_sip::{HeaderName, Method, Request};

use super::anchored::{bob_answers, sdp, text, value, within, world, world_with};
use super::services::Conferences;
use super::world::{Setup, World, status};
use crate::policy::Policy;

const OURS: &str = "a=path:msrp://127.0.0.20:2855/";

/// An INVITE, with all of its head lines.
async fn invites(world: &World, headers: &str, body: &str) -> Request {
    world.asks(Originating, "INVITE", headers, body).await;
    world.forwarded()
}

// Covers: PF-014, PF-052
#[tokio::test(start_paused = true)]
async fn what_is_beside_the_description_passes_octet_for_octet() {
    let (world, core) = world().await;
    let around = |sdp: &str| {
        format!(
            "--x\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--x\r\n\
             Content-Type: application/resource-lists+xml\r\n\
             Content-Disposition: recipient-list\r\n\r\n<resource-lists>  <a/></resource-lists>\r\n\
             --x--\r\n"
        )
    };
    let headers = "Content-Type: multipart/mixed;boundary=x\nRequire: recipient-list-invite, timer";
    let invite = invites(&world, headers, &around(&sdp("alice"))).await;
    let shown = text(&invite);
    let own = shown.split("\r\n\r\n").nth(2).unwrap().to_owned();
    let own = own.split("\r\n--x").next().unwrap();
    assert!(own.contains(OURS) && !own.contains("192.0.2.10:7654"), "{own}");
    assert_eq!(invite.body(), around(&format!("{own}\r\n")).as_bytes());
    assert_eq!(value(&shown, "Content-Type"), "multipart/mixed;boundary=x");
    assert_eq!(value(&shown, "Require"), "recipient-list-invite", "of whom she invites");
    let answer = around(&sdp("bob"));
    let multipart = "Content-Type: multipart/mixed;boundary=x";
    bob_answers_with(&world, &invite, multipart, &answer).await;
    let ok = text(&world.sent()[1]);
    assert!(ok.contains(OURS) && ok.contains("<resource-lists>  <a/>"), "{ok}");
    assert_eq!(core.sessions(), 2);
    // A refresh of ours repeats the description and not the list (RFC 5366 §3.2).
    within(&world, &ok, "ACK", 1, "", "").await;
    world.pass(std::time::Duration::from_secs(901)).await;
    let refreshes: Vec<_> = world.sent();
    assert!(!refreshes.is_empty());
    for refresh in &refreshes {
        assert!(!text(refresh).contains("resource-lists"), "{refresh:?}");
    }
}

async fn bob_answers_with(world: &World, invite: &Request, headers: &str, body: &str) {
    let mut response = parlance_sip::ResponseBuilder::new(invite, 200, "b1")
        .header(HeaderName::Contact, "<sip:bob@192.0.2.11>;+g.oma.sip-im");
    for line in headers.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = response.octets(name.as_bytes(), value.as_bytes());
    }
    world.answer_with(response.with_body(body.as_bytes())).await;
}

// Covers: PF-052, PF-088
#[tokio::test(start_paused = true)]
async fn an_invite_without_an_offer_is_answered_with_one() {
    let (world, core) = world().await;
    let invite = invites(&world, "Supported: 100rel", "").await;
    let shown = text(&invite);
    assert!(invite.body().is_empty() && !invite.has(HeaderName::RecordRoute), "{shown}");
    assert_eq!(value(&shown, "Supported"), "timer, norefersub", "no PRACK has to answer");
    bob_answers(&world, &invite, 180, "", "").await;
    assert_eq!(status(&world.answered()), 180);
    let offer = sdp("bob").replace("setup:passive", "setup:actpass");
    bob_answers(&world, &invite, 200, "", &offer).await;
    let ok = text(&world.answered());
    assert!(ok.starts_with("SIP/2.0 200 ") && ok.contains(OURS), "{ok}");
    assert!(ok.contains("a=setup:actpass") && !ok.contains("/bob;"), "{ok}");
    within(&world, &ok, "ACK", 1, "", &sdp("alice").replace("actpass", "active")).await;
    let ack = world.forwarded();
    assert_eq!(ack.method(), Method::Ack);
    let answer = text(&ack);
    assert!(answer.contains(OURS) && !answer.contains("/alice;"), "{answer}");
    assert!(answer.contains("a=setup:passive"), "we wait where we may: {answer}");
    assert_eq!(core.sessions(), 2);
    within(&world, &ok, "BYE", 2, "", "").await;
    assert_eq!(core.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_an_offer_and_does_not_answer_it_has_no_session() {
    for (body, offered) in [("", true), ("v=0\r\nodd", true), ("", false)] {
        let (world, core) = world().await;
        let invite = invites(&world, "", "").await;
        let offer = if offered { sdp("bob") } else { "odd".to_owned() };
        bob_answers(&world, &invite, 200, "", &offer).await;
        let sent = world.sent();
        if offered {
            within(&world, &text(&sent[0]), "ACK", 1, "", body).await;
            let sent = world.sent();
            let methods: Vec<_> = sent.iter().map(|sent| sent.cseq().unwrap().method).collect();
            assert_eq!(methods.iter().filter(|it| **it == Method::Bye).count(), 2);
            assert!(methods.contains(&Method::Ack), "each 2xx gets its ACK: {methods:?}");
        } else {
            let codes: Vec<_> = sent.iter().map(status).filter(|code| *code > 0).collect();
            assert_eq!(codes, [488]);
        }
        assert_eq!(core.sessions(), 0);
    }
}

// Covers: PF-051, PF-085
#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_early_is_passed_on() {
    let (world, _core) = world().await;
    let invite = invites(&world, "Require: 100rel", &sdp("alice")).await;
    let early = "Require: 100rel\nRSeq: 7\nP-Answer-State: Unconfirmed";
    bob_answers(&world, &invite, 183, early, &sdp("bob")).await;
    let sent = world.sent();
    let [prack, progress] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(prack.cseq().unwrap().method, Method::Prack);
    let shown = text(progress);
    assert!(shown.starts_with("SIP/2.0 183 ") && shown.contains(OURS), "{shown}");
    assert!(!shown.contains("/bob;") && value(&shown, "Require") == "100rel", "{shown}");
    assert_eq!(value(&shown, "P-Answer-State"), "Unconfirmed");
    let rack = format!("RAck: {} 1 INVITE", value(&shown, "RSeq"));
    within(&world, &shown, "PRACK", 2, &rack, "").await;
    world.sent();
    // The 2xx has none then (RFC 3261 §13.2.1).
    bob_answers(&world, &invite, 200, "", "").await;
    let sent = world.sent();
    let ok = text(sent.iter().find(|sent| status(sent) == 200).unwrap());
    assert!(ok.contains(OURS), "{ok}");
}

/// A focus at another server invites Bob.
async fn focus_invites(world: &World) -> Request {
    let focus =
        "Contact: <sip:conf@127.0.0.13>;isfocus;+g.oma.sip-im\nContent-Type: application/sdp";
    let from_focus = world.text(Terminating, focus, &sdp("focus")).replace("MESSAGE", "INVITE");
    world.receive(Terminating, from_focus.into()).await;
    world.forwarded()
}

// Covers: PF-084, PF-051
#[tokio::test(start_paused = true)]
async fn the_contact_of_a_focus_stays_and_its_media_pass_here() {
    let (world, core) = world().await;
    let invite = focus_invites(&world).await;
    let shown = text(&invite);
    assert_eq!(value(&shown, "Contact"), "<sip:conf@127.0.0.13>;isfocus;+g.oma.sip-im");
    assert_eq!(value(&shown, "Record-Route"), "<sip:127.0.0.20:5081;lr>");
    assert!(shown.contains(OURS), "{shown}");
    let routes = "Record-Route: <sip:scscf@127.0.0.13:6060;lr>, <sip:127.0.0.20:5081;lr>";
    bob_answers(&world, &invite, 200, routes, &sdp("bob")).await;
    let sent = world.sent();
    assert_eq!(value(&text(&sent[0]), "Route"), "<sip:scscf@127.0.0.13:6060;lr>", "not ourselves");
    within(&world, &text(&sent[1]), "ACK", 1, "", "").await;
    assert_eq!(core.sessions(), 2);
    // Bob's requests have the URI of the focus, and come here by their Route.
    let ours = text(&invite);
    for (method, cseq) in [("INFO", 2), ("BYE", 3)] {
        let request = format!(
            "{method} sip:conf@127.0.0.13 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKbob{cseq}\r\nMax-Forwards: 68\r\n\
             Route: <sip:127.0.0.20:5081;lr>\r\nFrom: {};tag=b1\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n",
            value(&ours, "To"),
            value(&ours, "From"),
            value(&ours, "Call-ID"),
        );
        world.receive(Terminating, request.into()).await;
        let sent = world.sent();
        let passed = sent.iter().find(|sent| status(sent) == 0).unwrap();
        assert_eq!(passed.cseq().unwrap().method.as_str(), method, "{sent:?}");
    }
    assert_eq!(core.sessions(), 0);
}

// Covers: PF-051
#[tokio::test(start_paused = true)]
async fn who_joins_a_group_elsewhere_learns_the_identity_and_rejoins_by_it() {
    let (world, core) = world().await;
    let group = "Request-URI: sip:group@elsewhere.test\nTo: <sip:group@elsewhere.test>\n\
                 Record-Route: <sip:scscf@127.0.0.13:6060;lr>";
    let invite = invites(&world, group, &sdp("alice")).await;
    let focus = "Contact: <sip:conf-1@ims.test>;isfocus\nRecord-Route: <sip:far@127.0.0.13;lr>";
    for code in [180, 183, 200] {
        let response = parlance_sip::ResponseBuilder::new(&invite, code, "f1");
        let response = focus.lines().fold(response, |response, line| {
            let (name, value) = line.split_once(": ").unwrap();
            response.octets(name.as_bytes(), value.as_bytes())
        });
        let response = match code {
            200 => response
                .header(HeaderName::ContentType, "application/sdp")
                .with_body(sdp("bob").as_bytes()),
            _ => response.build(),
        };
        world.answer_with(response).await;
        let sent = world.sent();
        let shown = text(sent.iter().find(|sent| status(sent) == code).unwrap());
        assert_eq!(value(&shown, "Contact"), "<sip:conf-1@ims.test>;isfocus");
        let routes: Vec<_> =
            shown.lines().filter_map(|line| line.strip_prefix("Record-Route: ")).collect();
        let expected = ["<sip:127.0.0.20:5080;lr>", "<sip:scscf@127.0.0.13:6060;lr>"];
        assert_eq!(routes, expected, "the route set leads here last");
        if code == 200 {
            within(&world, &shown, "ACK", 1, "", "").await;
            within(&world, &shown, "BYE", 2, "", "").await;
        }
    }
    world.sent();
    assert_eq!(core.sessions(), 0);
    // She comes back.
    let identity = "Request-URI: sip:conf-1@ims.test\nTo: <sip:conf-1@ims.test>";
    let again = invites(&world, identity, &sdp("alice")).await;
    assert_eq!(again.uri_text(), b"sip:conf-1@ims.test");
    bob_answers(&world, &again, 404, "", "").await;
    let codes: Vec<_> = world.sent().iter().map(status).filter(|code| *code > 0).collect();
    assert_eq!(codes, [404], "it was over");
}

// Covers: PF-051
#[tokio::test(start_paused = true)]
async fn who_rejoins_is_taken_to_the_focus_and_not_into_a_conference_of_two() {
    let conferences = Rc::new(Conferences::default());
    let setup = |setup: &mut Setup| {
        setup.policy = Policy::default();
        setup.controlling = Some(conferences.clone());
    };
    let (world, _core) = world_with(setup).await;
    let identity = "Request-URI: sip:conf-1@ims.test\nTo: <sip:conf-1@ims.test>";
    world.asks(Originating, "INVITE", identity, &sdp("alice")).await;
    assert_eq!(conferences.0.borrow_mut().drain(..).count(), 1, "it may be a user");
    world.sent();
    // Another server's focus has told Alice of it, at a proxy.
    let group = "Request-URI: sip:group@elsewhere.test\nTo: <sip:group@elsewhere.test>";
    let invite = invites(&world, group, &sdp("alice")).await;
    assert!(invite.has(HeaderName::RecordRoute));
    let focus = "Contact: <sip:conf-1@ims.test>;isfocus\nContent-Type: application/sdp";
    let response = parlance_sip::ResponseBuilder::new(&invite, 200, "f1");
    let response = focus.lines().fold(response, |response, line| {
        let (name, value) = line.split_once(": ").unwrap();
        response.octets(name.as_bytes(), value.as_bytes())
    });
    world.answer_with(response.with_body(sdp("bob").as_bytes())).await;
    world.sent();
    let again = invites(&world, identity, &sdp("alice")).await;
    assert_eq!(again.uri_text(), b"sip:conf-1@ims.test");
    world.answer(&again, 404).await;
    world.sent();
    world.asks(Originating, "INVITE", identity, &sdp("alice")).await;
    assert_eq!(conferences.0.borrow().len(), 1, "the session was over");
}
