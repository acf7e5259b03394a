//! What is kept of what users say and hear, and what is told of their sessions.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use parlance_isc::Mode;
use parlance_isc::SessionCase::{Originating, Terminating};
use parlance_sip::HeaderName;
use parlance_store::Profile;

use super::anchored::{bob_answers, sdp, text, within, world_with};
use super::control::{chat_as, path};
use super::world::{Setup, World, status};
use crate::event::{Ended, Step, Traffic, Volume};
use crate::history::{History, Message};
use crate::policy::{Policy, SessionMedia, SessionPolicy};

/// A history that is looked at.
#[derive(Default)]
struct Kept(RefCell<Vec<String>>);

impl History for Kept {
    fn keep(&self, message: &Message<'_>) {
        let Message { user, mode, is_sent, content_type, body, .. } = message;
        let mode = match mode {
            Mode::PagerMode => "pager",
            Mode::LargeMessageMode => "large",
            Mode::SessionMode => "session",
        };
        let verb = if *is_sent { "sent" } else { "got" };
        let body = String::from_utf8_lossy(body);
        let line = format!("{user} {verb} by {mode} {content_type}: {body}");
        self.0.borrow_mut().push(line.replace("@ims.test", ""));
    }
}

/// Both users have their history active, for these modes.
fn active(setup: &mut Setup, kept: &Rc<Kept>, session: bool, pager_large: bool) {
    setup.history = Some(Rc::clone(kept) as _);
    for profile in &mut setup.profiles {
        *profile = Profile {
            session_history: session,
            pager_large_history: pager_large,
            ..profile.clone()
        };
    }
}

// Covers: PF-023
#[tokio::test(start_paused = true)]
async fn a_message_that_was_taken_is_kept() {
    const ISCOMPOSING: &str = "Content-Type: application/im-iscomposing+xml";
    const CPIM: &str = "Content-Type: message/cpim";
    let imdn = "From: <sip:alice@ims.test>\r\nTo: <sip:bob@ims.test>\r\n\r\n\
                Content-Type: message/imdn+xml\r\n\r\n<imdn/>";
    for is_active in [true, false] {
        let kept = Rc::new(Kept::default());
        let (world, _core) = world_with(|setup| active(setup, &kept, false, is_active)).await;
        for (headers, body, code) in [
            ("", "refused", 603),
            ("", "hello", 200),
            (ISCOMPOSING, "<x/>", 200),
            (CPIM, imdn, 200),
        ] {
            world.alice_sends(headers, body).await;
            let sent = world.forwarded();
            world.answer(&sent, code).await;
            assert_eq!(status(&world.answered()), code);
        }
        world.bob_gets("", "hello, Bob").await;
        assert!(kept.0.borrow().len() < 2, "not before it was taken");
        let sent = world.forwarded();
        world.answer(&sent, 200).await;
        let expected: &[&str] = match is_active {
            true => &[
                "sip:alice sent by pager text/plain: hello",
                "sip:bob got by pager text/plain: hello, Bob",
            ],
            false => &[],
        };
        assert_eq!(kept.0.take(), expected);
    }
}

// Covers: PF-023, PF-052
#[tokio::test(start_paused = true)]
async fn what_passes_an_anchored_session_is_kept() {
    let kept = Rc::new(Kept::default());
    let (world, core) = world_with(|setup| active(setup, &kept, true, false)).await;
    let bob = core.client();
    let chat = chat_as(&world, &core, &bob, (1, Originating, ""), "").await;
    chat.says("a001", "hello");
    bob.says(&chat.ours[1], &path("bob", 1), "b001", "hi");
    let composing = "application/im-iscomposing+xml";
    bob.sends(&chat.ours[1], &path("bob", 1), "b002", composing, "<isComposing/>");
    // In parts, the last of which comes in two pieces.
    let part = |id: &str, range: &str, body: &str, flag: char| {
        format!(
            "MSRP {id} SEND\r\nTo-Path: {}\r\nFrom-Path: {}\r\nMessage-ID: long\r\n\
             Byte-Range: {range}\r\nContent-Type: text/plain\r\n\r\n{body}\r\n-------{id}{flag}\r\n",
            chat.ours[0],
            path("alice", 1)
        )
    };
    chat.alice.octets(part("a002", "1-4/9", "long", '+'));
    let last = part("a003", "5-9/9", " text", '$');
    let (first, rest) = last.split_at(last.len() - 20);
    chat.alice.octets(first.to_owned());
    chat.alice.octets(rest.to_owned());
    chat.alice.octets(part("a004", "1-4/*", "gone", '#'));
    let large = "x".repeat((1 << 20) + 1);
    chat.says("a005", &large);
    assert!(bob.reads().contains(&large), "it is delivered");
    world.pass(Duration::from_millis(1)).await;
    let expected = [
        "sip:alice sent by session text/plain: hello",
        "sip:alice got by session text/plain: hi",
        "sip:alice sent by session text/plain: long text",
    ];
    assert_eq!(kept.0.take(), expected, "and what is too large is not kept");
}

// Covers: PF-023
#[tokio::test(start_paused = true)]
async fn who_keeps_a_history_has_his_sessions_anchored() {
    for (session, large, is_anchored) in
        [(true, false, [true, false]), (false, true, [false, true]), (false, false, [false; 2])]
    {
        let kept = Rc::new(Kept::default());
        let (world, _core) = world_with(|setup| {
            setup.policy = Policy::default();
            active(setup, &kept, session, large);
        })
        .await;
        for (accept, is_anchored) in
            ["+g.oma.sip-im", "+g.oma.sip-im.large-message"].into_iter().zip(is_anchored)
        {
            let headers = format!("Accept-Contact: *;{accept}");
            world.asks(Terminating, "INVITE", &headers, &sdp("alice")).await;
            let is_proxied = world.forwarded().has(HeaderName::RecordRoute);
            assert_eq!(is_proxied, !is_anchored, "{session} {large} {accept}");
        }
    }
}

const LARGE: &str = "Accept-Contact: *;+g.oma.sip-im.large-message";

fn strict() -> Policy {
    let media = SessionMedia::Anchor;
    let session = SessionPolicy { media, large_is_strict: true, ..SessionPolicy::default() };
    Policy { session, ..Policy::default() }
}

// Covers: PF-031
#[tokio::test(start_paused = true)]
async fn an_immediate_message_that_becomes_a_conversation_goes_on_unless_it_must_not() {
    for (is_strict, by_bob) in [(false, false), (false, true), (true, false), (true, true)] {
        let (world, core) = world_with(|setup| {
            if is_strict {
                setup.policy = strict();
            }
        })
        .await;
        let bob = core.client();
        let chat = chat_as(&world, &core, &bob, (1, Originating, LARGE), "").await;
        chat.says("a001", "the message");
        assert_eq!(bob.hears(), ["the message"]);
        let report = format!(
            "MSRP r001 REPORT\r\nTo-Path: {}\r\nFrom-Path: {}\r\nMessage-ID: ma001\r\n\
             Byte-Range: 1-11/11\r\nStatus: 000 200 OK\r\n-------r001$\r\n",
            chat.ours[1],
            path("bob", 1)
        );
        bob.octets(report);
        assert!(chat.alice.reads().contains(" REPORT\r\n"));
        world.pass(Duration::from_millis(1)).await;
        let sent: Vec<_> = world.sent().iter().map(text).collect();
        assert_eq!(sent, [""; 0], "{is_strict}");
        if by_bob {
            bob.says(&chat.ours[1], &path("bob", 1), "b001", "thanks");
        } else {
            chat.says("a002", "one more");
        }
        let heard = if by_bob { chat.alice.hears() } else { bob.hears() };
        assert_eq!(heard.len(), usize::from(!is_strict), "{heard:?}");
        world.pass(Duration::from_millis(1)).await;
        let sent = world.sent();
        assert_eq!(sent.len(), if is_strict { 2 } else { 0 }, "{sent:?}");
        for bye in &sent {
            assert!(text(bye).contains("\r\nReason: SIP;cause=403;text=\"one message only\"\r\n"));
        }
        assert_eq!(core.sessions(), if is_strict { 0 } else { 2 });
    }
}

/// What the events say of sessions.
fn told(world: &World) -> Vec<(String, Step)> {
    let of_session = |step: &Step| matches!(step, Step::Started | Step::Modified | Step::Ended(_));
    let events = world.events().into_iter();
    events.filter(|(.., step)| of_session(step)).map(|(_, user, step)| (user, step)).collect()
}

// Covers: PF-096, PF-037, PF-090
#[tokio::test(start_paused = true)]
async fn the_life_of_an_anchored_session_is_told_with_what_has_passed() {
    for (case, user) in [(Originating, "sip:alice@ims.test"), (Terminating, "sip:bob@ims.test")] {
        let (world, core) = world_with(|_| {}).await;
        let bob = core.client();
        let chat = chat_as(&world, &core, &bob, (1, case, ""), "").await;
        assert_eq!(told(&world), [(user.to_owned(), Step::Started)]);
        chat.says("a001", "hello");
        chat.says("a002", "Bob");
        bob.says(&chat.ours[1], &path("bob", 1), "b001", "hi");
        within(&world, &chat.ok, "INVITE", 2, "", &sdp("alice").replace("o=a 1 1", "o=a 1 2"))
            .await;
        let reinvite = world.forwarded();
        bob_answers(&world, &reinvite, 200, "", &sdp("bob")).await;
        within(&world, &chat.ok, "ACK", 2, "", "").await;
        assert_eq!(told(&world), [(user.to_owned(), Step::Modified)]);
        within(&world, &chat.ok, "BYE", 3, "", "").await;
        assert_eq!(told(&world), [], "Bob has not answered yet");
        world.pass(Duration::from_secs(2)).await;
        let alices = Volume { messages: 2, octets: 8 };
        let bobs = Volume { messages: 1, octets: 2 };
        let traffic = match case {
            Originating => Traffic { sent: alices, received: bobs },
            Terminating => Traffic { sent: bobs, received: alices },
        };
        let ended = Step::Ended(Ended { cause: 200, traffic: Some(traffic) });
        assert_eq!(told(&world), [(user.to_owned(), ended)]);
    }
}

// Covers: PF-096, PF-039
#[tokio::test(start_paused = true)]
async fn the_life_of_a_proxied_session_is_told() {
    let (world, _core) = world_with(|setup| setup.policy = Policy::default()).await;
    let asked = world.asks(Originating, "INVITE", "", &sdp("alice")).await;
    let invite = world.forwarded();
    bob_answers(&world, &invite, 200, "", &sdp("bob")).await;
    let alice = || "sip:alice@ims.test".to_owned();
    assert_eq!(told(&world), [(alice(), Step::Started)]);
    world.sent();
    let within = |method: &str, cseq: u32, body: &str| {
        let request =
            asked.replace("INVITE sip:bob@ims.test", &format!("{method} sip:bob@192.0.2.11"));
        let request = request.replace("<sip:bob@ims.test>", "<sip:bob@ims.test>;tag=b1");
        let request = request.replace("branch=z9hG4bKcall", &format!("branch=z9hG4bK{cseq}"));
        let request = request.replace("CSeq: 1 INVITE", &format!("CSeq: {cseq} {method}"));
        let (head, _) = request.split_once("Content-Length").unwrap();
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    world.receive(Originating, within("UPDATE", 2, "").into()).await;
    assert_eq!(told(&world), [], "a refresh");
    world.receive(Originating, within("UPDATE", 3, &sdp("alice")).into()).await;
    assert_eq!(told(&world), [(alice(), Step::Modified)]);
    world.receive(Originating, within("BYE", 4, "").into()).await;
    let ended = Step::Ended(Ended { cause: 200, traffic: None });
    assert_eq!(told(&world), [(alice(), ended)]);
    // Who is not refreshed in an anchored session ends it with 408.
    let (world, _core) = world_with(|_| {}).await;
    world.asks(Originating, "INVITE", "Supported: timer\nSession-Expires: 90", &sdp("alice")).await;
    let invite = world.forwarded();
    bob_answers(&world, &invite, 200, "", &sdp("bob")).await;
    let ok = text(&world.sent()[1]);
    super::anchored::within(&world, &ok, "ACK", 1, "", "").await;
    world.pass(Duration::from_secs(61)).await;
    let ended = Step::Ended(Ended { cause: 408, traffic: Some(Traffic::default()) });
    assert_eq!(told(&world), [(alice(), Step::Started), (alice(), ended)]);
}
