//! Sessions whose messages pass through the server.

use std::time::Duration;

use parlance_isc::SessionCase::{Originating, Terminating};
use parlance_sip::{HeaderName, Message, Method, Request, ResponseBuilder};
use parlance_store::Profile;

use super::control::{chat_as, path};
use super::media::Core;
use super::world::{Setup, World, lines, status};
use crate::policy::{Policy, SessionMedia, SessionPolicy};

/// A description: Alice's offers, Bob's answers.
pub(super) fn sdp(path: &str) -> String {
    let setup = if path == "bob" { "passive" } else { "actpass" };
    format!(
        "v=0\r\no=a 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
         m=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
         a=path:msrp://192.0.2.10:7654/{path};tcp\r\na=setup:{setup}\r\na=x-odd:kept\r\n"
    )
}

pub(super) async fn world() -> (World, Core) {
    world_with(|_| {}).await
}

/// The same, changed.
pub(super) async fn world_with(change: impl FnOnce(&mut Setup)) -> (World, Core) {
    let core = Core::new();
    let session = SessionPolicy { media: SessionMedia::Anchor, ..SessionPolicy::default() };
    let user = |name: &str| Profile { user: name.into(), ..Profile::default() };
    let mut setup = Setup {
        policy: Policy { session, warning_host: "im.test".into(), ..Policy::default() },
        profiles: vec![user("sip:alice@ims.test"), user("sip:bob@ims.test")],
        registered: vec![("sip:bob@ims.test", true)],
        media: Some(core.media()),
        ..Setup::default()
    };
    change(&mut setup);
    (World::new(setup).await, core)
}

pub(super) fn text(message: &Message) -> String {
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

/// The value of a header line.
pub(super) fn value(text: &str, name: &str) -> String {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_default().to_owned()
}

/// Bob's answer to a request of ours.
pub(super) async fn bob_answers(
    world: &World,
    request: &Request,
    code: u16,
    headers: &str,
    body: &str,
) {
    let mut response = ResponseBuilder::new(request, code, "b1")
        .header(HeaderName::Contact, "<sip:bob@192.0.2.11>;+g.oma.sip-im");
    for line in headers.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = response.octets(name.as_bytes(), value.as_bytes());
    }
    if !body.is_empty() {
        response = response.header(HeaderName::ContentType, "application/sdp");
    }
    world.answer_with(response.with_body(body.as_bytes())).await;
}

/// A request of Alice's in the dialog of `ok`, our answer; or of Bob's in that of our INVITE.
pub(super) async fn within(
    world: &World,
    ours: &str,
    method: &str,
    cseq: u32,
    headers: &str,
    body: &str,
) {
    let (mine, theirs) = match ours.starts_with("SIP/2.0") {
        true => (value(ours, "To"), value(ours, "From")),
        false => (value(ours, "From"), format!("{};tag=b1", value(ours, "To"))),
    };
    let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    let text = format!(
        "{method} sip:127.0.0.20:5080 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKin{method}{cseq}{}\r\n\
         Max-Forwards: 68\r\nFrom: {theirs}\r\nTo: {mine}\r\nCall-ID: {}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:peer@192.0.2.12>\r\n{headers}\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        ours.len(),
        value(ours, "Call-ID"),
        body.len()
    );
    world.receive(Originating, text.into()).await;
}

/// A session between Alice and Bob: our INVITE to him and our answer to her.
async fn session(world: &World) -> (Request, String) {
    world.asks(Originating, "INVITE", "Subject: Lunch", &sdp("alice")).await;
    let invite = world.forwarded();
    bob_answers(world, &invite, 200, "", &sdp("bob")).await;
    let sent = world.sent();
    let [ack, ok] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(ack.cseq().unwrap().method, Method::Ack);
    let ok = text(ok);
    within(world, &ok, "ACK", 1, "", "").await;
    world.nothing_was_sent();
    (invite, ok)
}

// Covers: PF-014, PF-050, MSRP-048
#[tokio::test(start_paused = true)]
async fn both_sides_see_the_server_and_nothing_of_the_other_leg() {
    let (world, core) = world().await;
    let first = "Subject: Lunch\nSupported: replaces\nP-Preferred-Identity: <sip:x@h>";
    let asked = world.asks(Originating, "INVITE", first, &sdp("alice")).await;
    let invite = world.forwarded();
    let shown = text(&invite);
    assert!(shown.contains("a=path:msrp://127.0.0.20:2855/"), "{shown}");
    assert!(!shown.contains("192.0.2.10:7654") && shown.contains("a=x-odd:kept"), "{shown}");
    assert_ne!(value(&shown, "Call-ID"), value(&asked, "Call-ID"));
    assert_eq!(value(&shown, "Contact"), "<sip:127.0.0.20:5080>;+g.oma.sip-im");
    assert_eq!(value(&shown, "Route"), "<sip:mark@127.0.0.13:6060;lr>");
    assert_eq!(value(&shown, "Subject"), "Lunch");
    assert_eq!(value(&shown, "P-Asserted-Identity"), "<sip:alice@ims.test>");
    assert_eq!(value(&shown, "Accept-Contact"), "*;+g.oma.sip-im");
    assert_eq!(value(&shown, "Max-Forwards"), "67");
    assert_eq!(value(&shown, "Session-Expires"), "1800");
    assert_eq!(value(&shown, "Supported"), "100rel, timer, norefersub");
    assert!(value(&shown, "From").starts_with("<sip:alice@ims.test>;tag=s00"), "{shown}");
    assert!(!shown.contains("P-Preferred-Identity") && !shown.contains("P-Served-User"));
    bob_answers(&world, &invite, 180, "", "").await;
    assert_eq!(status(&world.answered()), 180);
    bob_answers(&world, &invite, 200, "X-Odd: yes", &sdp("bob")).await;
    let ok = text(&world.sent()[1]);
    assert!(ok.contains("a=path:msrp://127.0.0.20:2855/") && !ok.contains("/bob;"), "{ok}");
    assert_eq!(value(&ok, "Contact"), "<sip:127.0.0.20:5080>;+g.oma.sip-im");
    assert_eq!(value(&ok, "X-Odd"), "yes");
    assert_eq!(value(&ok, "Call-ID"), value(&asked, "Call-ID"));
    assert_eq!(core.sessions(), 2);
}

// Covers: PF-037, PF-090
#[tokio::test(start_paused = true)]
async fn a_bye_ends_both_legs_and_the_media() {
    for from_alice in [true, false] {
        let (world, core) = world().await;
        let (invite, ok) = session(&world).await;
        let ours = if from_alice { ok } else { text(&invite) };
        within(&world, &ours, "BYE", 2, "Reason: SIP;cause=200;text=\"bored\"", "").await;
        let sent = world.sent();
        let [answer, bye] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(status(answer), 200);
        assert_eq!(bye.cseq().unwrap().method, Method::Bye);
        assert_eq!(lines(bye, HeaderName::Reason), ["SIP;cause=200;text=\"bored\""]);
        assert_eq!(core.sessions(), 0);
    }
}

// Covers: PF-037
#[tokio::test(start_paused = true)]
async fn a_bye_does_not_overtake_the_last_message() {
    for (failure_report, answers) in [("yes", true), ("yes", false), ("no", false)] {
        let (world, core) = world().await;
        let bob = core.client();
        let chat = chat_as(&world, &core, &bob, (1, Terminating, ""), "").await;
        let more = format!("text/plain\r\nFailure-Report: {failure_report}");
        chat.alice.sends(&chat.ours[0], &path("alice", 1), "last", &more, "good-bye");
        assert!(chat.alice.reads().starts_with("MSRP last 200 OK") == (failure_report == "yes"));
        within(&world, &chat.ok, "BYE", 2, "", "").await;
        if failure_report == "no" {
            assert_eq!(world.sent().len(), 2, "there is no answer to wait for");
            continue;
        }
        assert_eq!(status(&world.answered()), 200);
        world.pass(Duration::from_secs(1)).await;
        world.nothing_was_sent();
        assert_eq!(core.sessions(), 2);
        let read = bob.reads();
        assert!(read.contains("\r\n\r\ngood-bye\r\n"), "{read}");
        if answers {
            let (id, _) = read["MSRP ".len()..].split_once(' ').unwrap();
            bob.octets(format!(
                "MSRP {id} 200 OK\r\nTo-Path: {}\r\nFrom-Path: {}\r\n-------{id}$\r\n",
                chat.ours[1],
                path("bob", 1)
            ));
        }
        world.pass(Duration::from_millis(20)).await;
        if !answers {
            world.nothing_was_sent();
            world.pass(Duration::from_secs(1)).await;
        }
        assert_eq!(world.forwarded().method(), Method::Bye, "nobody is waited for for ever");
        assert_eq!(core.sessions(), 0);
    }
}

// Covers: PF-039
#[tokio::test(start_paused = true)]
async fn who_does_not_refresh_ends_both_legs() {
    let (world, core) = world().await;
    world.asks(Originating, "INVITE", "Supported: timer\nSession-Expires: 90", &sdp("alice")).await;
    let invite = world.forwarded();
    bob_answers(&world, &invite, 200, "Session-Expires: 1800;refresher=uas", &sdp("bob")).await;
    let ok = text(&world.sent()[1]);
    assert_eq!(value(&ok, "Session-Expires"), "90;refresher=uac");
    within(&world, &ok, "ACK", 1, "", "").await;
    world.pass(Duration::from_secs(61)).await;
    let sent = world.sent();
    assert_eq!(sent.len(), 2, "{sent:?}");
    for bye in &sent {
        assert_eq!(bye.cseq().unwrap().method, Method::Bye);
        let reason = "SIP;cause=408;text=\"session not refreshed\"";
        assert_eq!(lines(bye, HeaderName::Reason), [reason]);
    }
    assert_eq!(core.sessions(), 0);
}

// Covers: SEC-042, SEC-047, PF-016
#[tokio::test(start_paused = true)]
async fn who_is_anonymous_is_so_in_from() {
    let (world, _core) = world().await;
    world.asks(Originating, "INVITE", "Privacy: id", &sdp("alice")).await;
    let shown = text(&world.forwarded());
    let from = value(&shown, "From");
    assert!(from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="), "{from}");
    assert_eq!(value(&shown, "Privacy"), "id", "the core takes the asserted identity off");
    assert_eq!(value(&shown, "P-Asserted-Identity"), "<sip:alice@ims.test>");
}

// Covers: PF-012, PF-030
#[tokio::test(start_paused = true)]
async fn how_large_an_immediate_message_may_be_is_told() {
    let (world, _core) = world().await;
    let large = "Accept-Contact: *;+g.oma.sip-im.large-message";
    world.asks(Originating, "INVITE", large, &sdp("alice")).await;
    let invite = world.forwarded();
    assert!(text(&invite).contains("\r\na=max-size:10485760\r\n"));
    let smaller = format!("{}a=max-size:4000\r\n", sdp("bob"));
    bob_answers(&world, &invite, 200, "", &smaller).await;
    let ok = text(&world.sent()[1]);
    assert!(ok.contains("\r\na=max-size:4000\r\n"), "what Bob takes is less: {ok}");
}

// Covers: PF-052, PF-088
#[tokio::test(start_paused = true)]
async fn a_modification_passes_with_the_path_replaced() {
    for from_alice in [true, false] {
        let (world, _core) = world().await;
        let (invite, ok) = session(&world).await;
        let ours = if from_alice { ok } else { text(&invite) };
        within(&world, &ours, "INVITE", 2, "", &sdp("alice").replace("o=a 1 1", "o=a 1 2")).await;
        let reinvite = world.forwarded();
        let shown = text(&reinvite);
        assert!(shown.contains("o=a 1 2") && shown.contains("a=path:msrp://127.0.0.20:2855/"));
        bob_answers(&world, &reinvite, 200, "", &sdp("bob")).await;
        let sent = world.sent();
        let [ack, answer] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(ack.cseq().unwrap().method, Method::Ack);
        assert_eq!(status(answer), 200);
        assert!(text(answer).contains("a=path:msrp://127.0.0.20:2855/"));
        within(&world, &ours, "ACK", 2, "", "").await;
        within(&world, &ours, "INVITE", 3, "", &sdp("other")).await;
        let reinvite = world.forwarded();
        bob_answers(&world, &reinvite, 488, "", "").await;
        let sent = world.sent();
        assert_eq!(status(&sent[1]), 488, "the session stays as it was");
        within(&world, &ours, "INFO", 4, "", "").await;
        assert_eq!(world.forwarded().method(), Method::Info);
    }
}

// Covers: PF-036, PF-086
#[tokio::test(start_paused = true)]
async fn who_goes_away_or_does_not_answer_leaves_nothing_behind() {
    let (world, core) = world().await;
    let asked = world.asks(Terminating, "INVITE", "", &sdp("alice")).await;
    let invite = world.forwarded();
    bob_answers(&world, &invite, 180, "", "").await;
    world.sent();
    let cancel = asked.replace("INVITE", "CANCEL").replace("Max-", "Reason: SIP;cause=200\r\nMax-");
    world.receive(Terminating, cancel.into()).await;
    let sent = world.sent();
    let [ok, terminated, cancel] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((status(ok), status(terminated)), (200, 487));
    assert_eq!(lines(cancel, HeaderName::Reason), ["SIP;cause=200"]);
    bob_answers(&world, &invite, 200, "", &sdp("bob")).await;
    let methods: Vec<_> = world.sent().iter().map(|it| text(it)[..3].to_owned()).collect();
    assert_eq!(methods, ["ACK", "BYE"], "the 2xx that crossed");
    assert_eq!(core.sessions(), 0);

    world.asks(Terminating, "INVITE", "", &sdp("alice")).await;
    let invite = world.forwarded();
    bob_answers(&world, &invite, 180, "", "").await;
    world.sent();
    world.pass(Duration::from_secs(60)).await;
    let sent = world.sent();
    let answer = sent.iter().find(|sent| status(sent) == 480).unwrap();
    assert_eq!(lines(answer, HeaderName::Warning), ["399 im.test \"No response\""]);
    assert!(sent.iter().any(|sent| sent.cseq().unwrap().method == Method::Cancel));
    assert_eq!(core.sessions(), 0);
}

// Covers: CORE-063
#[tokio::test(start_paused = true)]
async fn what_the_other_side_refuses_goes_back() {
    for (code, expected) in [(486, 486), (603, 603), (408, 480), (503, 480)] {
        let (world, core) = world().await;
        world.asks(Originating, "INVITE", "", &sdp("alice")).await;
        let invite = world.forwarded();
        bob_answers(&world, &invite, code, "", "").await;
        assert_eq!(status(&world.sent()[1]), expected);
        assert_eq!(core.sessions(), 0);
    }
    let (world, core) = world().await;
    world.asks(Originating, "INVITE", "", &sdp("alice")).await;
    let invite = world.forwarded();
    bob_answers(&world, &invite, 200, "", &sdp("bob").replace("7654 TCP", "0 TCP")).await;
    let sent = world.sent();
    let codes: Vec<_> = sent.iter().map(status).filter(|code| *code > 0).collect();
    assert_eq!(codes, [488], "Bob took the call and not the session");
    assert!(sent.iter().any(|sent| sent.cseq().unwrap().method == Method::Bye));
    assert_eq!(core.sessions(), 0);
}

// Covers: PF-014
#[tokio::test(start_paused = true)]
async fn what_cannot_be_anchored_is_proxied_or_refused() {
    let (world, core) = world().await;
    let list = "Content-Type: application/resource-lists+xml";
    world.asks(Originating, "INVITE", list, "<resource-lists/>").await;
    assert!(world.forwarded().has(HeaderName::RecordRoute), "nothing is offered, nor wanted");
    world.asks(Originating, "INVITE", "", &sdp("alice").replace("MSRP", "RTP")).await;
    assert!(world.forwarded().has(HeaderName::RecordRoute), "it offers no MSRP");
    assert_eq!(core.sessions(), 0);
    core.set_busy();
    world.asks(Originating, "INVITE", "", &sdp("alice")).await;
    let refused = world.answered();
    assert_eq!(status(&refused), 480);
    assert_eq!(lines(&refused, HeaderName::RetryAfter), ["10"]);
}
