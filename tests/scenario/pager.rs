//! MESSAGE between users who are there.

use parlance_lab::ue::{Behaviour, Draft};
use parlance_lab::world::World;
use parlance_sip::Transport;
use parlance_store::Entry;

use crate::{ALICE, BOB, alice_and_bob, people, seconds, story};

// There is no presence service in this world, nor any XDMS.
// Covers: PF-020, PF-025, CORE-026, CORE-050, CORE-057, CORE-062, CLI-027
#[tokio::test(start_paused = true)]
async fn a_message_passes_both_sides_and_is_delivered_once() {
    story(async || {
        for isc in [Transport::Tcp, Transport::Udp] {
            let world = alice_and_bob(people().isc(isc)).await;
            let answer = world.ue("alice").message(BOB, "hello bob").await;
            assert_eq!(answer.status, 200, "{isc}");
            assert_eq!(answer.header("Contact"), None);
            let got = world.ue("bob").received();
            assert_eq!(got.len(), 1, "{isc}");
            assert_eq!(got[0].text(), "hello bob");
            assert_eq!(got[0].header("P-Asserted-Identity"), Some(format!("<{ALICE}>")));
            assert_eq!(got[0].header("P-Served-User"), None);
            let date = got[0].header("Date").unwrap();
            assert!(date.starts_with("Mon, 21 Sep 2026 14:13:2"), "{date}");
            // Originating, then terminating: one Call-ID, one CSeq, one From tag.
            assert_eq!(visits(&world), [5080, 5081], "{isc}");
        }
    })
    .await;
}

/// The ports of the server that a MESSAGE was sent to, in order.
fn visits(world: &World) -> Vec<u16> {
    let traced = world.core.trace();
    let to_server = traced.iter().filter(|traced| {
        traced.sent
            && traced.peer.ip() == parlance_lab::world::SERVER
            && traced.octets.starts_with(b"MESSAGE")
    });
    to_server.map(|traced| traced.peer.port()).collect()
}

// Covers: CORE-058, PF-081, SEC-033
#[tokio::test(start_paused = true)]
async fn a_blocked_sender_is_refused_and_another_is_not() {
    story(async || {
        let world = alice_and_bob(people()).await;
        world.ue("carol").register().await;
        let block = |profile: &mut parlance_store::Profile| {
            profile.reject = vec![Entry::Identity(ALICE.into())];
        };
        world.change_profile("bob", block).await.unwrap();
        assert_eq!(world.ue("alice").message(BOB, "let me in").await.status, 403);
        assert_eq!(world.ue("carol").message(BOB, "and me?").await.status, 200);
        assert_eq!(world.ue("bob").texts(), ["and me?"]);
        assert_eq!(world.waiting("bob").await, 0);
    })
    .await;
}

// Covers: PF-012, PF-013
#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_is_refused_with_the_limit() {
    story(async || {
        let limit = "[participating]\nnotice = false\nbody_bytes_max = 200\n";
        let world = alice_and_bob(people().configuration(limit)).await;
        let answer = world.ue("alice").message(BOB, &"x".repeat(201)).await;
        assert_eq!(answer.status, 403);
        let warning = answer.header("Warning").unwrap();
        assert!(warning.starts_with("399 ") && warning.contains("limit 200"), "{warning}");
        assert_eq!(world.ue("alice").message(BOB, &"x".repeat(200)).await.status, 200);
        assert_eq!(world.ue("bob").texts().len(), 1);
    })
    .await;
}

// Covers: PF-020, PF-034
#[tokio::test(start_paused = true)]
async fn what_the_recipient_answers_reaches_the_sender() {
    story(async || {
        let world = alice_and_bob(people()).await;
        for status in [486, 603, 415, 413] {
            world.ue("bob").script([Behaviour::Answer(status)]);
            assert_eq!(world.ue("alice").message(BOB, "now?").await.status, status);
            assert_eq!(world.waiting("bob").await, 0, "{status} is no inaccessibility");
        }
    })
    .await;
}

// Covers: PF-024, CLI-027
#[tokio::test(start_paused = true)]
async fn a_cpim_body_passes_octet_for_octet() {
    story(async || {
        let world = alice_and_bob(people()).await;
        let body = b"From: <sip:alice@ims.test>\r\nTo: <sip:bob@ims.test>\r\n\
            NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 34jk324j\r\n\
            imdn.Disposition-Notification: positive-delivery, negative-delivery\r\n\r\n\
            Content-Type: application/octet-stream\r\n\r\n\x00\xff\xfe\r\n\x80 end";
        let draft = Draft::message(BOB, "").body("message/cpim", body);
        assert_eq!(world.ue("alice").send(draft).await.status, 200);
        let got = world.ue("bob").received();
        assert_eq!(got[0].request.body, body);
        assert_eq!(got[0].header("Content-Type").unwrap(), "message/cpim");
    })
    .await;
}

// Covers: CORE-040
#[tokio::test(start_paused = true)]
async fn a_telephone_number_leads_to_its_user() {
    story(async || {
        let world = alice_and_bob(people()).await;
        let block = |profile: &mut parlance_store::Profile| {
            profile.blocked_content = vec!["text/html".into()];
        };
        world.change_profile("bob", block).await.unwrap();
        let mut raw = world.raw(1, "alice");
        let head = |branch: &str, kind: &str| {
            format!(
                "MESSAGE tel:+15550000002 SIP/2.0\n\
                 Via: SIP/2.0/UDP 10.2.0.1:5060;branch={branch};rport\nMax-Forwards: 70\n\
                 From: <sip:alice@ims.test>;tag=raw1\nTo: <tel:+15550000002>\n\
                 Call-ID: {branch}@raw\nCSeq: 1 MESSAGE\n\
                 Accept-Contact: *;+g.oma.sip-im\nContent-Type: {kind}"
            )
        };
        raw.send(&head("z9hG4bKraw1", "text/plain"), b"by number");
        assert_eq!(raw.status(seconds(5)).await, Some(200));
        assert_eq!(world.ue("bob").texts(), ["by number"]);
        // The rules are those of the user behind the number.
        raw.send(&head("z9hG4bKraw2", "text/html"), b"<p>");
        assert_eq!(raw.status(seconds(5)).await, Some(415));
    })
    .await;
}

// Covers: CORE-034
#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_ask_for_im_passes_untouched() {
    story(async || {
        // Criteria that send everything to the server, whatever it asks for.
        let everything = parlance_lab::core::SHIPPED_CRITERIA
            .replace("<Header>^Accept-Contact$</Header>", "<Header>^To$</Header>")
            .replace(r"<Content>\+g\.oma\.sip-im</Content>", "");
        let world = people().core(|core| core.criteria = everything);
        let world = alice_and_bob(world).await;
        let block = |profile: &mut parlance_store::Profile| {
            profile.reject = vec![Entry::Identity(ALICE.into())];
        };
        world.change_profile("bob", block).await.unwrap();
        let answer = world.ue("alice").send(Draft::untagged(BOB, "an SMS")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(visits(&world), [5080, 5081]);
        let got = world.ue("bob").received();
        assert_eq!(got[0].text(), "an SMS");
        assert_eq!(got[0].header("Date"), None, "nothing is added");
        assert_eq!(world.ue("alice").message(BOB, "an IM").await.status, 403);
    })
    .await;
}

// Covers: CORE-003, CORE-067
#[tokio::test(start_paused = true)]
async fn compact_and_folded_headers_pass_as_they_are() {
    story(async || {
        let world = alice_and_bob(people()).await;
        world.ue("bob").deregister().await;
        let (mut alice, mut bob) = (world.raw(1, "alice"), world.raw(2, "bob"));
        bob.send(
            "REGISTER sip:ims.test SIP/2.0\nv: SIP/2.0/UDP 10.2.0.2:5060;branch=z9hG4bKr;rport\n\
             Max-Forwards: 70\nf: <sip:bob@ims.test>;tag=r\nt: <sip:bob@ims.test>\ni: r@raw\n\
             CSeq: 1 REGISTER\nm: <sip:bob@10.2.0.2:5060>\n ;+g.oma.sip-im\nExpires: 600\nRequire: pref\n\
             User-Agent: IM-client/OMA1.0 raw",
            b"",
        );
        assert_eq!(bob.status(seconds(5)).await, Some(200));
        world.settle(seconds(1)).await;
        alice.send(
            "MESSAGE sip:bob@ims.test SIP/2.0\nv: SIP/2.0/UDP 10.2.0.1:5060;branch=z9hG4bKm;rport\n\
             Max-Forwards: 70\nf: <sip:alice@ims.test>;tag=m\nt: <sip:bob@ims.test>\ni: m@raw\n\
             CSeq: 1 MESSAGE\na: *\n ;+g.oma.sip-im\nX-Odd:   kept \ts: folded\n  as it is\n\
             c: text/plain",
            b"odd",
        );
        let got = bob.hear(seconds(5)).await.expect("it arrives");
        let odd = "a: *\r\n ;+g.oma.sip-im\r\nX-Odd:   kept \ts: folded\r\n  as it is\r\n";
        assert!(got.contains(odd), "{got}");
        bob.answer(&got, 200, "OK");
        assert_eq!(alice.status(seconds(5)).await, Some(200));
    })
    .await;
}

// Covers: PF-021
#[tokio::test(start_paused = true)]
async fn a_late_answer_of_the_client_takes_the_stored_copy_back() {
    story(async || {
        let world = alice_and_bob(people()).await;
        world.ue("bob").script([Behaviour::After(seconds(25), 200)]);
        let sent = tokio::time::Instant::now();
        let answer = world.ue("alice").message(BOB, "take your time").await;
        assert_eq!(answer.status, 202);
        assert!((20..22).contains(&(answer.at - sent).as_secs()), "before Timer F");
        assert_eq!(world.waiting("bob").await, 1);
        world.settle(seconds(10)).await;
        assert_eq!(world.waiting("bob").await, 0);
        world.ue("bob").deregister().await;
        world.ue("bob").register().await;
        world.settle(seconds(60)).await;
        assert_eq!(world.ue("bob").texts(), ["take your time"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_not_found() {
    story(async || {
        let world = alice_and_bob(people()).await;
        let answer = world.ue("alice").message("sip:nobody@ims.test", "hello?").await;
        assert_eq!(answer.status, 404);
    })
    .await;
}
