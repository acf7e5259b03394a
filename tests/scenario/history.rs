//! What users say and hear goes into their history, whoever serves it (OMA-TS-SIMPLE_IM §7.2.2.4,
//! §7.2.3.16).

use std::path::PathBuf;
use std::time::Duration;

use parlance_lab::flow::PRE_ESTABLISHED;
use parlance_lab::ue::{Draft, Invitation};
use parlance_lab::world::{Builder, World};
use parlance_store::Entry;
use serde_json::Value;
use tempfile::TempDir;

use crate::{ALICE, BOB, CAROL, people, seconds, story};

const FACTORY: &str = "sip:im-conf-factory@ims.test";

/// The file of histories.
struct Histories {
    _directory: TempDir,
    file: PathBuf,
}

impl Histories {
    /// A file, and a server that keeps it.
    fn of(people: Builder, more: &str) -> (Self, Builder) {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("history");
        let text = format!("[participating]\nnotice = false\n{more}[history]\nfile = {file:?}");
        (Self { _directory: directory, file }, people.configuration(&text))
    }

    /// Its lines when there are `count`: whose, how, which way, what. A thread of its own writes
    /// them.
    fn lines(&self, count: usize) -> Vec<String> {
        let mut text = String::new();
        for _ in 0..1000 {
            text = std::fs::read_to_string(&self.file).unwrap_or_default();
            if text.lines().count() >= count {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let word = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
            let said = word("text").rsplit("\r\n\r\n").next().unwrap_or_default();
            let user = word("user").replace("sip:", "").replace("@ims.test", "");
            format!("{user} {} {}: {said}", word("mode"), word("direction"))
        };
        let mut lines: Vec<_> = text.lines().map(line).collect();
        lines.sort();
        lines
    }
}

/// Everybody is there, and the histories of these are active.
async fn active(people: Builder, names: &[&str]) -> World {
    let world = people.build().await.expect("the world can be built");
    for name in names {
        let change = world.change_profile(name, |profile| {
            profile.session_history = true;
            profile.pager_large_history = true;
        });
        change.await.unwrap();
    }
    world.register_all().await;
    world
}

// Covers: PF-023
#[tokio::test(start_paused = true)]
async fn what_is_said_in_a_conference_of_the_same_server_is_kept() {
    story(async || {
        let (histories, people) = Histories::of(people(), "");
        let world = active(people, &["alice", "bob"]).await;
        let invitation = Invitation::to(FACTORY).with(&[BOB, CAROL]);
        let alice = world.ue("alice").invite_as(invitation).await.chat.expect("a session");
        world.settle(seconds(1)).await;
        let chat = |name| world.ue(name).chats().pop().expect("a session");
        let [bob, carol] = [chat("bob"), chat("carol")];
        assert_eq!(alice.say("hello").await, 200);
        assert_eq!(bob.say("hi").await, 200);
        assert_eq!(carol.say_to(BOB, "for you alone").await, 200);
        let long = "x".repeat(20_000);
        assert_eq!(carol.say(&long).await, 200);
        assert_eq!(alice.say("good-bye").await, 200);
        assert_eq!(alice.leave().await.status, 200);
        world.settle(seconds(5)).await;
        let said =
            |user: &str, direction: &str, text: &str| format!("{user} session {direction}: {text}");
        let mut expected = vec![
            said("alice", "sent", "hello"),
            said("bob", "received", "hello"),
            said("bob", "sent", "hi"),
            said("alice", "received", "hi"),
            said("bob", "received", "for you alone"),
            said("alice", "received", &long),
            said("bob", "received", &long),
            said("alice", "sent", "good-bye"),
            said("bob", "received", "good-bye"),
        ];
        expected.sort();
        assert_eq!(histories.lines(expected.len()), expected);
    })
    .await;
}

// Covers: PF-023, PF-050, MSRP-048
#[tokio::test(start_paused = true)]
async fn a_session_of_two_is_kept_for_both_whether_it_is_a_conference_or_not() {
    for (peer_to_peer, media) in [(false, "proxy"), (true, "proxy"), (true, "cema")] {
        story(async || {
            let more = format!("peer_to_peer = {peer_to_peer}\nsession_media = {media:?}\n");
            let (histories, people) = Histories::of(people(), &more);
            let world = active(people, &["alice", "bob"]).await;
            for name in ["alice", "bob"] {
                world.ue(name).set_cema(true);
            }
            let alice = world.ue("alice").invite(BOB).await.chat.expect("a session");
            world.settle(seconds(1)).await;
            assert_eq!(alice.is_focus(), !peer_to_peer);
            assert_eq!(alice.say("hello").await, 200);
            world.settle(seconds(1)).await;
            assert_eq!(alice.leave().await.status, 200);
            world.settle(seconds(5)).await;
            let expected = ["alice session sent: hello", "bob session received: hello"];
            assert_eq!(histories.lines(2), expected, "{peer_to_peer} {media}");
        })
        .await;
    }
}

// Covers: PF-023, CF-008
#[tokio::test(start_paused = true)]
async fn what_is_sent_to_many_is_kept_for_its_sender() {
    story(async || {
        let (histories, people) = Histories::of(people(), "");
        let world = active(people, &["alice"]).await;
        let list = format!(
            "--b\r\nContent-Type: text/plain\r\n\r\nto a list\r\n--b\r\n\
             Content-Type: application/resource-lists+xml\r\n\
             Content-Disposition: recipient-list\r\n\r\n\
             <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>\
             <entry uri=\"{BOB}\"/><entry uri=\"{CAROL}\"/></list></resource-lists>\r\n--b--\r\n"
        );
        let draft = Draft::message("sip:im-exploder@ims.test", "");
        let refused = draft.clone().body("multipart/mixed;boundary=b", list.as_bytes());
        let draft = refused.clone().header("Require", "recipient-list-message");
        assert_eq!(world.ue("alice").send(refused).await.status, 400, "it goes to nobody");
        assert_eq!(world.ue("alice").send(draft).await.status, 202);
        let invitation = Invitation::to(FACTORY).with(&[BOB, CAROL]);
        let tag = "*;+g.oma.sip-im.large-message;require;explicit";
        let invitation = invitation.header("Accept-Contact", tag);
        let chat = world.ue("alice").invite_as(invitation).await.chat.expect("a session");
        assert_eq!(chat.send_octets("text/plain", b"the whole story").await, 200);
        assert_eq!(chat.leave().await.status, 200);
        world.settle(seconds(60)).await;
        let lines = histories.lines(2);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0], "alice large sent: the whole story");
        assert!(lines[1].starts_with("alice pager sent: "), "{lines:?}");
    })
    .await;
}

// Covers: PF-023, PF-038
#[tokio::test(start_paused = true)]
async fn what_is_said_in_a_pre_established_session_is_kept() {
    story(async || {
        let more = "peer_to_peer = true\npre_established = true\n";
        let (histories, people) = Histories::of(people(), more);
        let world = active(people, &["alice"]).await;
        let everybody = vec![Entry::Domain("ims.test".to_owned())];
        world.change_profile("alice", |profile| profile.auto_answer = everybody).await.unwrap();
        let own = world.ue("alice").invite(PRE_ESTABLISHED).await.chat.expect("a session");
        world.settle(seconds(1)).await;
        let bob = world.ue("bob").invite(ALICE).await.chat.expect("a session");
        world.settle(seconds(1)).await;
        assert_eq!(bob.say("hello").await, 200);
        assert_eq!(own.say_to(BOB, "hi").await, 200);
        assert_eq!(own.say_to(BOB, "good-bye").await, 200);
        assert_eq!(own.leave().await.status, 200);
        world.settle(seconds(5)).await;
        let expected = [
            "alice session received: hello",
            "alice session sent: good-bye",
            "alice session sent: hi",
        ];
        assert_eq!(histories.lines(3), expected);
    })
    .await;
}
