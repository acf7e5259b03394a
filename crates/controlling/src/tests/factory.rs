//! Conferences that users put together.

use super::world::{FACTORY, Ue, World, answer, entries, invitation, lines, sdp};
use crate::policy::{AnswerAt, Policy, WithoutList};

// Covers: CF-003, CF-030, CF-031, CF-032, CF-040, CF-054, CF-070, SEC-045, CLI-014, CLI-034
#[tokio::test(start_paused = true)]
async fn a_list_becomes_a_conference() {
    let world = World::new(Policy { ioi: Some("home.test".into()), ..Policy::default() });
    let mut alice = Ue::new("alice");
    let extra =
        "Subject: Saturday plans\r\nP-Asserted-Identity: \"Alice\" <sip:alice@ims.test>\r\n";
    let text = alice.invite_list(extra, &entries(&["bob", "carol"]));
    let sent = world.send(&text).await;
    let bob = invitation(&sent, "bob");
    let carol = invitation(&sent, "carol");
    assert!(bob.contact().ends_with("@sessions.ims.test"), "{bob:?}");
    assert_eq!(bob.contact(), carol.contact());
    assert!(bob.value("Contact").ends_with(">;isfocus;+g.oma.sip-im"), "{bob:?}");
    assert!(bob.value("From").starts_with("\"Alice\" <sip:alice@ims.test>;tag="));
    #[rustfmt::skip]
    let table = [
        ("To",                  "<sip:bob@ims.test>"),
        ("Route",               "<sip:127.0.0.13:6060;lr>"),
        ("Max-Forwards",        "70"),
        ("P-Asserted-Identity", "\"Alice\" <sip:alice@ims.test>"),
        ("Accept-Contact",      "*;+g.oma.sip-im;require;explicit"),
        ("Subject",             "Saturday plans"),
        ("Allow-Events",        "conference"),
        ("Supported",           "100rel, timer, norefersub"),
        ("User-Agent",          "IM-serv/OMA1.0 Parlance"),
        ("Session-Expires",     "1800"),
        ("Referred-By",         ""),
        ("Privacy",             ""),
    ];
    for (name, value) in table {
        assert_eq!(bob.value(name), value, "{name}");
    }
    assert!(bob.value("P-Charging-Vector").ends_with(";orig-ioi=\"home.test\""), "{bob:?}");
    assert_ne!(bob.value("P-Charging-Vector"), carol.value("P-Charging-Vector"));
    assert_ne!(bob.value("Call-ID"), carol.value("Call-ID"));
    assert_eq!(bob.attribute("accept-types"), "message/cpim");
    assert_eq!(bob.attribute("accept-wrapped-types"), "*");
    assert_eq!(bob.attribute("chatroom"), "nickname private-messages");
    assert!(bob.attribute("path").starts_with("msrp://127.0.0.20:2855/"));
    assert_ne!(bob.attribute("path"), carol.attribute("path"));

    // Nobody rings: the founder is told that it goes on.
    assert!(!lines(&sent).iter().any(|line| line.starts_with("18")), "{sent:?}");
    assert_eq!(lines_of(&world.seconds(1).await), ["100 1 INVITE", "183 1 INVITE"]);
    // The first who rings is heard, the first who accepts opens the session.
    let ringing = world.send(&answer(&bob, 180, "b", "", "")).await;
    assert_eq!(lines_of(&ringing), ["180 1 INVITE"]);
    let (mut bob, sent) = world.accept("bob", &bob, "").await;
    let ok = sent.iter().find(|seen| seen.status() == 200).unwrap();
    assert_eq!(ok.value("Allow-Events"), "conference");
    assert_eq!(ok.contact(), bob_target(&carol));
    assert_eq!(ok.attribute("accept-types"), "message/cpim");
    assert!(ok.0.contains("a=setup:passive"), "{ok:?}");
    alice.learn(ok);
    world.send(&alice.within("ACK", "", "")).await;
    let (_carol, _) = world.accept("carol", &carol, "").await;

    // Whoever leaves leaves the others together.
    let bye = world.send(&bob.within("BYE", "", "")).await;
    assert_eq!(lines_of(&bye), ["200 101 BYE"]);
    let bye = world.send(&alice.within("BYE", "", "")).await;
    assert_eq!(bye.len(), 2, "the last one goes too: {bye:?}");
    world.is_clean().await;
}

fn lines_of(sent: &[super::world::Seen]) -> Vec<String> {
    lines(sent)
}

fn bob_target(seen: &super::world::Seen) -> &str {
    seen.contact()
}

// Covers: CF-064, CLI-012
#[tokio::test(start_paused = true)]
async fn a_call_to_a_user_can_be_a_conference_of_two() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite("sip:bob@ims.test", "")).await;
    let bob = invitation(&sent, "bob");
    assert!(bob.value("Contact").ends_with(">;isfocus;+g.oma.sip-im"), "{bob:?}");
    assert!(!bob.0.contains("a=chatroom"), "two need no room: {bob:?}");
    let (mut bob, sent) = world.accept("bob", &bob, "").await;
    let ok = sent.iter().find(|seen| seen.status() == 200).expect("a 200");
    assert_eq!(ok.contact(), bob.target());
    alice.learn(ok);
    world.send(&alice.within("ACK", "", "")).await;
    let sent = world.send(&bob.within("BYE", "", "")).await;
    assert_eq!(lines(&sent).len(), 2, "alice is sent home: {sent:?}");
    world.is_clean().await;
    world.shelf.put(super::groups::chat(&[]));
    let list = Ue::new("alice").invite_list("", "").replace(FACTORY, "sip:bob@ims.test");
    let refused = world.one(&list.replace("Require: recipient-list-invite\r\n", "")).await;
    assert_eq!(refused.status(), 400, "a user is no list");
}

// Covers: CF-031
#[tokio::test(start_paused = true)]
async fn a_provisional_response_is_repeated() {
    let world = World::new(Policy { progress_repeat_s: 60, ..Policy::default() });
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob", "carol"]))).await;
    let (bob, carol) = (invitation(&sent, "bob"), invitation(&sent, "carol"));
    world.send(&answer(&bob, 100, "b", "", "")).await;
    world.send(&answer(&carol, 180, "c", "", "")).await;
    // The same octets again, so they are looked for on the wire.
    world.forget();
    let sent = world.seconds(61).await;
    assert_eq!(lines(&sent), ["180 1 INVITE"]);
    let sent = world.send(&alice.within("CANCEL", "", "")).await;
    let lines = lines(&sent);
    assert!(lines.contains(&"487 1 INVITE".to_owned()), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("CANCEL ")).count(), 2, "{lines:?}");
    for invite in [&bob, &carol] {
        world.send(&answer(invite, 487, "x", "", "")).await;
    }
    world.is_clean().await;
}

// Covers: CF-031, CF-072
#[tokio::test(start_paused = true)]
async fn when_nobody_comes_the_best_refusal_is_told() {
    #[rustfmt::skip]
    let table = [
        ([486, 404], 486),
        ([404, 603], 603),
        ([408, 503], 480),
        ([404, 500], 480),
    ];
    for (refusals, told) in table {
        let world = World::new(Policy::default());
        let mut alice = Ue::new("alice");
        let sent = world.send(&alice.invite_list("", &entries(&["bob", "carol"]))).await;
        let mut last = Vec::new();
        for (name, status) in ["bob", "carol"].into_iter().zip(refusals) {
            last = world.send(&answer(&invitation(&sent, name), status, name, "", "")).await;
        }
        assert!(lines(&last).contains(&format!("{told} 1 INVITE")), "{refusals:?}: {last:?}");
        world.send(&alice.within("ACK", "", "")).await;
        world.is_clean().await;
    }
}

// Covers: CF-072, CF-073, CLI-041
#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_cancelled() {
    let world = World::new(Policy { ring_s: 20, ..Policy::default() });
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob"]))).await;
    let bob = invitation(&sent, "bob");
    world.send(&answer(&bob, 180, "b", "", "")).await;
    let sent = world.seconds(21).await;
    let lines = lines(&sent);
    assert!(lines.contains(&"480 1 INVITE".to_owned()), "{lines:?}");
    assert!(lines.contains(&"CANCEL sip:bob@ims.test".to_owned()), "{lines:?}");
    // His answer has crossed the CANCEL.
    let (_, sent) = world.accept("bob", &bob, "").await;
    let lines: Vec<_> = sent.iter().map(|seen| seen.line().split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["ACK", "BYE"]);
    world.send(&alice.within("ACK", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-056, CF-073
#[tokio::test(start_paused = true)]
async fn a_cancel_that_comes_before_any_response_waits() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob"]))).await;
    let bob = invitation(&sent, "bob");
    let sent = world.send(&alice.within("CANCEL", "", "")).await;
    assert!(!lines(&sent).iter().any(|line| line.starts_with("CANCEL")), "{sent:?}");
    let sent = world.send(&answer(&bob, 180, "b", "", "")).await;
    assert_eq!(lines(&sent), ["CANCEL sip:bob@ims.test"]);
    world.send(&answer(&bob, 487, "b", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-004, CF-036
#[tokio::test(start_paused = true)]
async fn without_a_list_one_is_alone_or_refused() {
    let world = World::new(Policy::default());
    let (mut alice, ok) = world.join("alice", FACTORY, "").await;
    let session = ok.contact().to_owned();
    let refused = world.one(&Ue::new("eve").invite(&session, "")).await;
    assert_eq!(refused.status(), 403);
    world.send(&alice.within("BYE", "", "")).await;
    let gone = world.one(&Ue::new("alice").invite(&session, "")).await;
    assert_eq!(gone.status(), 410);
    let unknown = world.one(&Ue::new("alice").invite("sip:im-sess-0@sessions.ims.test", "")).await;
    assert_eq!(unknown.status(), 404);
    world.is_clean().await;

    let world = World::new(Policy { without_list: WithoutList::Forbidden, ..Policy::default() });
    let refused = world.one(&Ue::new("alice").invite(FACTORY, "")).await;
    assert_eq!(refused.status(), 403);
    let large = "Accept-Contact: *;+g.oma.sip-im.large-message\r\n";
    let refused = world.one(&Ue::new("alice").invite(FACTORY, large)).await;
    assert_eq!(refused.status(), 403, "this function has no exploder");
    world.is_clean().await;
}

// Covers: CF-031
#[tokio::test(start_paused = true)]
async fn the_operator_may_answer_at_once() {
    let world = World::new(Policy { answer_at: AnswerAt::Once, ..Policy::default() });
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob", "carol"]))).await;
    let ok = sent.iter().find(|seen| seen.status() == 200).expect("a 200").clone();
    alice.learn(&ok);
    world.send(&alice.within("ACK", "", "")).await;
    for name in ["bob", "carol"] {
        world.send(&answer(&invitation(&sent, name), 486, name, "", "")).await;
    }
    world.is_clean().await;
}

// Covers: CF-005, CF-006, CF-084
#[tokio::test(start_paused = true)]
async fn a_bad_list_invites_nobody() {
    let world = World::new(Policy { adhoc_group_size_max: 2, ..Policy::default() });
    let three = entries(&["bob", "carol", "dave"]);
    let twice = entries(&["bob", "bob", "alice", "carol"]);
    let refused = world.one(&Ue::new("alice").invite_list("", &three)).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.value("Warning"), "399 im.invalid \"102 Too many participants\"");
    let broken = world.one(&Ue::new("alice").invite_list("", "<entry/>")).await;
    assert_eq!(broken.status(), 400);
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &twice)).await;
    let invited = sent.iter().filter(|seen| seen.is("INVITE")).count();
    assert_eq!(invited, 2, "bob and carol, each once, and alice not at all");
    for name in ["bob", "carol"] {
        world.send(&answer(&invitation(&sent, name), 480, name, "", "")).await;
    }
    world.send(&alice.within("ACK", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-007, CF-032, SEC-048
#[tokio::test(start_paused = true)]
async fn invited_users_see_of_each_other_what_they_may() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let mixed = "<entry uri=\"sip:bob@ims.test?Subject=Yours&amp;Priority=urgent\" \
        cp:copyControl=\"to\"/><entry uri=\"sip:carol@ims.test\" cp:copyControl=\"cc\" \
        cp:anonymize=\"true\"/><entry uri=\"sip:dave@ims.test\" cp:copyControl=\"bcc\"/>";
    let sent = world.send(&alice.invite_list("Subject: All\r\n", mixed)).await;
    let bob = invitation(&sent, "bob");
    assert_eq!((bob.all("Subject"), bob.value("Priority")), (vec!["Yours"], "urgent"));
    assert_eq!(invitation(&sent, "dave").value("Subject"), "All");
    let history = "Content-Disposition: recipient-list-history; handling=optional";
    for name in ["bob", "carol", "dave"] {
        let body = invitation(&sent, name).body().to_owned();
        assert!(body.contains(history), "{body}");
        assert!(body.contains("sip:anonymous@anonymous.invalid\" cp:copyControl=\"cc\""), "{body}");
        assert!(!body.contains("carol@") && !body.contains("dave@"), "{body}");
    }
    world.send(&alice.within("CANCEL", "", "")).await;
    for name in ["bob", "carol", "dave"] {
        world.send(&answer(&invitation(&sent, name), 487, name, "", "")).await;
    }
    world.is_clean().await;

    let world = World::new(Policy { list_history: false, ..Policy::default() });
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob"]))).await;
    let bob = invitation(&sent, "bob");
    assert_eq!(bob.value("Content-Type"), "application/sdp");
    world.send(&answer(&bob, 480, "b", "", "")).await;
    world.send(&alice.within("ACK", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-041, CF-070, SEC-040
#[tokio::test(start_paused = true)]
async fn an_anonymous_founder_is_nobody() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("Privacy: id\r\n", &entries(&["bob"]))).await;
    let bob = invitation(&sent, "bob");
    assert!(bob.value("From").starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="));
    assert_eq!(bob.value("Privacy"), "id");
    assert_eq!(bob.value("P-Asserted-Identity"), "<sip:alice@ims.test>", "for the core");
    world.send(&answer(&bob, 480, "b", "", "")).await;
    world.send(&alice.within("ACK", "", "")).await;
    world.is_clean().await;
}

// Covers: CF-072
#[tokio::test(start_paused = true)]
async fn a_moved_user_is_followed_once_within_his_domain() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob"]))).await;
    let moved = |uri: &str| format!("Contact: <{uri}>\r\n");
    let first = invitation(&sent, "bob");
    let sent = world.send(&answer(&first, 302, "b", &moved("sip:bobby@ims.test"), "")).await;
    let second = invitation(&sent, "bobby");
    let sent = world.send(&answer(&second, 302, "b", &moved("sip:robert@ims.test"), "")).await;
    assert!(lines(&sent).contains(&"480 1 INVITE".to_owned()), "{sent:?}");
    world.send(&alice.within("ACK", "", "")).await;
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["bob"]))).await;
    let away = answer(&invitation(&sent, "bob"), 302, "b", &moved("sip:bob@away.test"), "");
    let sent = world.send(&away).await;
    assert!(lines(&sent).contains(&"480 1 INVITE".to_owned()), "{sent:?}");
    world.send(&alice.within("ACK", "", "")).await;
    world.is_clean().await;
}

// Covers: SEC-010
#[tokio::test(start_paused = true)]
async fn msrp_is_offered_with_tls_first_where_that_is_preferred() {
    let world = World::new(Policy::default());
    let mut alice = Ue::new("alice");
    let entry = "<entry uri=\"sip:bob@both.test\" cp:copyControl=\"to\"/>";
    let sent = world.send(&alice.invite_list("", entry)).await;
    let first = invitation(&sent, "bob");
    assert!(first.attribute("path").starts_with("msrps://"), "{first:?}");
    let sent = world.send(&answer(&first, 488, "b", "", "")).await;
    let second = invitation(&sent, "bob");
    assert!(second.attribute("path").starts_with("msrp://"), "{second:?}");
    let sent = world.send(&answer(&second, 488, "b", "", "")).await;
    assert!(lines(&sent).contains(&"488 1 INVITE".to_owned()), "{sent:?}");
    world.send(&alice.within("ACK", "", "")).await;
    let tls = sdp("alice").replace("TCP/MSRP", "TCP/TLS/MSRP").replace("msrp://", "msrps://");
    let text =
        Ue::new("alice").request("INVITE", FACTORY, "Content-Type: application/sdp\r\n", &tls);
    let refused = world.one(&text).await;
    assert_eq!(refused.status(), 488, "TLS is off for her");
    assert_eq!(refused.value("Warning"), "302 im.invalid \"Incompatible transport protocol\"");
    world.is_clean().await;
}

// Covers: CF-040
#[tokio::test(start_paused = true)]
async fn a_description_without_cpim_is_refused() {
    let world = World::new(Policy::default());
    let typed = "Content-Type: application/sdp\r\n";
    #[rustfmt::skip]
    let table = [
        (sdp("a").replace("accept-types:message/cpim", "accept-types:text/plain"),
            "305 im.invalid \"Incompatible media format\""),
        (sdp("a").replace("m=message 7654 TCP/MSRP *", "m=audio 7654 RTP/AVP 0"),
            "304 im.invalid \"Media type not available\""),
        (sdp("a").replace("v=0", "v=x"),
            "399 im.invalid \"Session description cannot be read\""),
    ];
    for (body, warning) in table {
        let refused = world.one(&Ue::new("alice").request("INVITE", FACTORY, typed, &body)).await;
        assert_eq!((refused.status(), refused.value("Warning")), (488, warning));
    }
    world.is_clean().await;
    let world = World::new(Policy { wraps: true, ..Policy::default() });
    let any = sdp("alice").replace("accept-types:message/cpim", "accept-types:*");
    let sent = world.send(&Ue::new("alice").request("INVITE", FACTORY, typed, &any)).await;
    let ok = sent.last().unwrap();
    assert_eq!(ok.status(), 200);
    assert_eq!(ok.attribute("accept-types"), "message/cpim *", "the switch wraps");
}

// Covers: CF-063
#[tokio::test(start_paused = true)]
async fn sessions_are_counted() {
    let policy = Policy { sessions_max: 2, sessions_per_user_max: 1, ..Policy::default() };
    let world = World::new(policy);
    let (mut alice, _) = world.join("alice", FACTORY, "").await;
    let refused = world.one(&Ue::new("alice").invite(FACTORY, "")).await;
    assert_eq!(refused.status(), 486);
    assert_eq!(
        refused.value("Warning"),
        "399 im.invalid \"103 Maximum number of sessions reached\""
    );
    let (mut bob, _) = world.join("bob", FACTORY, "").await;
    let refused = world.one(&Ue::new("carol").invite(FACTORY, "")).await;
    assert_eq!((refused.status(), refused.value("Retry-After")), (480, "10"));
    world.send(&alice.within("BYE", "", "")).await;
    world.send(&bob.within("BYE", "", "")).await;
    world.core.set_busy(true);
    let refused = world.one(&Ue::new("carol").invite(FACTORY, "")).await;
    assert_eq!((refused.status(), refused.value("Retry-After")), (480, "10"), "no room");
    world.core.set_busy(false);
    world.is_clean().await;
}

// Covers: CF-002, CF-019
#[tokio::test(start_paused = true)]
async fn a_group_is_not_invited() {
    let world = World::new(Policy::default());
    world.shelf.put(super::groups::chat(&[]));
    let nested = entries(&["im-group-chess"]);
    let refused = world.one(&Ue::new("alice").invite_list("", &nested)).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.value("Warning"), "399 im.invalid \"Nested groups are not allowed\"");
    let mut alice = Ue::new("alice");
    let sent = world.send(&alice.invite_list("", &entries(&["im-group-chess", "bob"]))).await;
    assert_eq!(sent.iter().filter(|seen| seen.is("INVITE")).count(), 1);
    world.send(&answer(&invitation(&sent, "bob"), 480, "b", "", "")).await;
    world.send(&alice.within("ACK", "", "")).await;
    world.shelf.close();
    let refused = world.one(&Ue::new("alice").invite_list("", &entries(&["bob"]))).await;
    assert_eq!((refused.status(), refused.value("Retry-After")), (480, "10"), "nobody can tell");
    world.is_clean().await;
}
