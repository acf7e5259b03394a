//! Simultaneous sessions of Bob: which is primary, and one that locks the others.

use parlance_isc::SessionCase::{self, Originating, Terminating};
use parlance_sip::{HeaderName, Request};

use super::anchored::{bob_answers, sdp, text, value, within, world};
use super::media::{Client, Core};
use super::world::{World, status};
use crate::policy::{Policy, SessionMedia, SessionPolicy};

/// A session to which Alice has invited Bob, and either end of it.
pub(super) struct Chat {
    number: u32,
    pub(super) invite: Request,
    pub(super) ok: String,
    /// Our URIs towards Alice and Bob.
    pub(super) ours: [String; 2],
    pub(super) alice: Client,
}

/// The description of someone who connects to us.
fn active(name: &str, number: u32, asks: &str) -> String {
    let sdp = sdp(name).replace("setup:passive", "setup:active");
    let sdp = sdp.replace("setup:actpass", "setup:active");
    let sdp = sdp.replace(&format!("/{name};"), &format!("/{name}{number};"));
    sdp.replace("t=0 0\r\n", &format!("t=0 0\r\n{asks}"))
}

pub(super) fn path(name: &str, number: u32) -> String {
    format!("msrp://192.0.2.10:7654/{name}{number};tcp")
}

fn path_in(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("a=path:"));
    line.unwrap().to_owned()
}

/// Alice invites Bob, who connects over `bob`.
async fn chat(world: &World, core: &Core, bob: &Client, number: u32, asks: &str) -> Chat {
    chat_as(world, core, bob, (number, Terminating, ""), asks).await
}

/// The same on either side, with headers of the INVITE.
pub(super) async fn chat_as(
    world: &World,
    core: &Core,
    bob: &Client,
    (number, case, headers): (u32, SessionCase, &str),
    asks: &str,
) -> Chat {
    world.asks(case, "INVITE", headers, &active("alice", number, "")).await;
    let invite = world.forwarded();
    bob_answers(world, &invite, 200, "", &active("bob", number, asks)).await;
    let ok = text(&world.sent()[1]);
    within(world, &ok, "ACK", 1, "", "").await;
    let ours = [path_in(&ok), path_in(&text(&invite))];
    let alice = core.client();
    alice.says(&ours[0], &path("alice", number), &format!("bind{number}"), "");
    bob.says(&ours[1], &path("bob", number), &format!("bind{number}"), "");
    alice.reads();
    bob.reads();
    Chat { number, invite, ok, ours, alice }
}

impl Chat {
    /// What Alice says, and what she is told of it.
    pub(super) fn says(&self, id: &str, text: &str) -> String {
        self.alice.says(&self.ours[0], &path("alice", self.number), id, text);
        self.alice.reads()
    }

    /// Bob asks for something; the answer he gets.
    async fn asks(&self, world: &World, cseq: u32, asks: &str, code: u16) -> String {
        let ours = text(&self.invite);
        within(world, &ours, "INVITE", cseq, "", &active("bob", self.number, asks)).await;
        let reinvite = world.forwarded();
        assert!(!text(&reinvite).contains("im-session"), "it is between him and his function");
        bob_answers(world, &reinvite, code, "", &active("alice", self.number, "")).await;
        let answer = text(&world.sent()[1]);
        if code == 200 {
            within(world, &ours, "ACK", cseq, "", "").await;
        }
        answer
    }
}

const LOCK: &str = "a=im-session-lock:on\r\n";
const UNLOCK: &str = "a=im-session-lock:off\r\n";

// Covers: PF-072, PF-073, CLI-025
#[tokio::test(start_paused = true)]
async fn while_a_session_is_locked_the_others_are_held() {
    let (world, core) = world().await;
    let bob = core.client();
    let one = chat(&world, &core, &bob, 1, "").await;
    let two = chat(&world, &core, &bob, 2, "").await;
    let answer = one.asks(&world, 10, LOCK, 488).await;
    assert!(answer.starts_with("SIP/2.0 488 "));
    two.says("a001", "not locked");
    assert_eq!(bob.hears(), ["not locked"], "what was refused has no effect");
    let answer = one.asks(&world, 11, LOCK, 200).await;
    assert!(answer.contains("t=0 0\r\na=im-session-lock:on\r\n"), "{answer}");
    assert!(two.says("a002", "held").contains("200 OK"));
    one.says("a003", "urgent");
    assert_eq!(bob.hears(), ["urgent"]);
    // Nobody else gets to him.
    world.asks(Terminating, "INVITE", "", &sdp("alice")).await;
    assert_eq!(status(&world.answered()), 486);
    // What he says in the other session, Alice hears.
    bob.says(&two.ours[1], &path("bob", 2), "b001", "later");
    assert_eq!(two.alice.hears(), ["later"]);
    bob.reads();
    one.asks(&world, 12, UNLOCK, 200).await;
    assert_eq!(bob.hears(), ["held"]);
    let three = chat(&world, &core, &bob, 3, LOCK).await;
    assert!(!three.ok.contains("im-session"), "{}", three.ok);
    two.says("a004", "held again");
    assert_eq!(bob.hears(), [""; 0], "he may lock as he answers");
    within(&world, &text(&three.invite), "BYE", 13, "", "").await;
    assert_eq!(bob.hears(), ["held again"], "a lock ends with its session");
    assert_eq!(status(&world.sent()[0]), 200);
    world.asks(Terminating, "INVITE", "", &sdp("alice")).await;
    assert_eq!(world.forwarded().method(), parlance_sip::Method::Invite);
}

// Covers: PF-073
#[tokio::test(start_paused = true)]
async fn what_cannot_be_held_is_reported() {
    let (world, core) = world().await;
    let session = SessionPolicy {
        media: SessionMedia::Anchor,
        held_messages_max: 2,
        ..SessionPolicy::default()
    };
    world.policy.replace(Policy { session, ..Policy::default() }.into());
    let bob = core.client();
    let one = chat(&world, &core, &bob, 1, "").await;
    one.asks(&world, 11, LOCK, 200).await;
    // Held from its beginning.
    let waiting = two_by_bob(&world, &core, &bob).await;
    for (id, fits) in [("a001", true), ("a002", true), ("a003", false)] {
        let told = waiting.says(id, "hi");
        assert_eq!(!told.contains("Status: 000 408"), fits, "{told}");
    }
    one.asks(&world, 12, UNLOCK, 200).await;
    assert_eq!(bob.hears(), ["hi", "hi"]);
}

/// A session that Bob himself begins.
async fn two_by_bob(world: &World, core: &Core, bob: &Client) -> Chat {
    let from = "P-Served-User: <sip:bob@ims.test>;sescase=orig;regstate=reg\n\
                P-Asserted-Identity: <sip:bob@ims.test>\nFrom: <sip:bob@ims.test>;tag=b7\n\
                To: <sip:alice@elsewhere.test>\nRequest-URI: sip:alice@elsewhere.test";
    world.asks(Originating, "INVITE", from, &active("bob", 7, "")).await;
    let invite = world.forwarded();
    bob_answers(world, &invite, 200, "", &active("alice", 7, "")).await;
    let ok = text(&world.sent()[1]);
    within(world, &ok, "ACK", 1, "", "").await;
    let ours = [path_in(&text(&invite)), path_in(&ok)];
    let alice = core.client();
    alice.says(&ours[0], &path("alice", 7), "bind7", "");
    bob.says(&ours[1], &path("bob", 7), "bind7", "");
    alice.reads();
    bob.reads();
    Chat { number: 7, invite, ok, ours, alice }
}

// Covers: PF-071, CLI-025
#[tokio::test(start_paused = true)]
async fn what_was_held_of_the_primary_session_goes_first() {
    let (world, core) = world().await;
    let bob = core.client();
    let locks = chat(&world, &core, &bob, 1, "").await;
    let old = chat(&world, &core, &bob, 2, "a=im-session-priority:primary\r\n").await;
    let new = chat(&world, &core, &bob, 3, "").await;
    for (round, primary) in [(20, 3), (40, 2)] {
        let session = if primary == 3 { &new } else { &old };
        let answer = session.asks(&world, round, "a=im-session-priority:primary\r\n", 200).await;
        assert!(answer.contains("a=im-session-priority:primary\r\n"), "{answer}");
        locks.asks(&world, round + 1, LOCK, 200).await;
        old.says(&format!("o{round:03}"), "in 2");
        new.says(&format!("n{round:03}"), "in 3");
        locks.asks(&world, round + 2, UNLOCK, 200).await;
        let expected = if primary == 3 { ["in 3", "in 2"] } else { ["in 2", "in 3"] };
        assert_eq!(bob.hears(), expected, "the one that was primary before is secondary");
    }
    let answer = old.asks(&world, 60, "a=im-session-priority:secondary\r\n", 200).await;
    assert!(answer.contains("a=im-session-priority:secondary\r\n"));
    let answer = old.asks(&world, 61, "a=im-session-priority:urgent\r\n", 200).await;
    assert!(!answer.contains("im-session"), "a value that nobody knows asks for nothing");
}

// Covers: PF-071, PF-072
#[tokio::test(start_paused = true)]
async fn who_asks_as_he_invites_is_anchored() {
    let (world, core) = world().await;
    world.policy.replace(Policy::default().into());
    let asks = "a=im-session-priority:primary\r\na=im-session-lock:on\r\n";
    world.asks(Originating, "INVITE", "", &active("alice", 1, asks)).await;
    let invite = world.forwarded();
    let shown = text(&invite);
    assert!(!invite.has(HeaderName::RecordRoute) && !shown.contains("im-session"), "{shown}");
    bob_answers(&world, &invite, 200, "", &active("bob", 1, LOCK)).await;
    let ok = text(&world.sent()[1]);
    assert!(ok.contains(&format!("t=0 0\r\n{asks}")), "what she asked for: {ok}");
    assert_eq!(core.sessions(), 2);
    // What Bob asks of his function is not asked of hers; and without asking it is a proxy.
    world.asks(Originating, "INVITE", "", &active("alice", 2, "")).await;
    assert!(world.forwarded().has(HeaderName::RecordRoute));
    world.asks(Terminating, "INVITE", "", &active("alice", 2, asks)).await;
    let passed = world.forwarded();
    assert!(passed.has(HeaderName::RecordRoute) && text(&passed).contains(asks));
    assert!(!value(&ok, "Contact").is_empty());
}
