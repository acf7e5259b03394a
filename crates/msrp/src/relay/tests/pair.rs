//! Pairs.

use std::sync::{Arc, Mutex};

use super::*;
use crate::relay::{PairConfig, PairCounts, PairKey, PairSide, SideCounts};
use crate::{Continuation, FromRule, Hop, Lost, Path, SessionKey};

pub(super) const ALICE: &str = "msrp://alice.example:7777/a1;tcp";
pub(super) const BOB: &str = "msrp://bob.example:8888/b1;tcp";

pub(super) struct Two {
    pub(super) world: World,
    pub(super) pair: PairKey,
    sessions: [SessionKey; 2],
    /// Our URIs, as Alice and Bob see us.
    pub(super) own: [String; 2],
}

pub(super) fn open(config: PairConfig) -> Two {
    let mut world = World::new();
    let here = |port| address(Scheme::Msrp, "im.example", port);
    let pair = world.node.open_pair(world.now, &here(1000), &here(2000), config);
    let sessions = [PairSide::Offerer, PairSide::Answerer]
        .map(|side| world.node.pair_session(pair, side).unwrap());
    let own = sessions.map(|session| world.node.uri(session).unwrap().to_string());
    for (session, path) in sessions.into_iter().zip([ALICE, BOB]) {
        let path = Path::new(path.as_bytes());
        world.node.set_peer(world.now, session, path, FromRule::Whole, &[]);
    }
    Two { world, pair, sessions, own }
}

impl Two {
    /// Both peers connect, and bind their sessions.
    pub(super) fn bound(&mut self) -> [ConnectionId; 2] {
        let connections = [(); 2].map(|()| self.world.accept(None));
        for (index, path) in [ALICE, BOB].into_iter().enumerate() {
            self.bind(connections[index], index, path);
        }
        connections
    }

    pub(super) fn bind(&mut self, connection: ConnectionId, index: usize, path: &str) {
        let to = self.own[index].clone();
        let lines =
            format!("To-Path: {to}\nFrom-Path: {path}\nMessage-ID: e0{index}\nByte-Range: 1-0/0");
        self.world.text(connection, &request("bind", "SEND", &lines, None));
        let ok = response("bind", "200 OK", path, &to);
        let read = self.world.read(connection);
        assert!(read.ends_with(&ok) || read.starts_with(&ok), "{read}");
    }

    fn alices(&self, more: &str, body: &str) -> String {
        self.alices_as("a001", more, body)
    }

    pub(super) fn alices_as(&self, id: &str, more: &str, body: &str) -> String {
        let lines = format!(
            "To-Path: {}\nFrom-Path: {ALICE}\nMessage-ID: m1\n{more}\nContent-Type: text/plain",
            self.own[0]
        );
        request(id, "SEND", &lines, Some(body))
    }

    fn counts(&self) -> PairCounts {
        self.world.node.pair_counts(self.pair).unwrap()
    }
}

// Covers: MSRP-048
#[test]
fn what_comes_in_one_session_leaves_from_the_other() {
    let mut two = open(PairConfig::default());
    let [alice, bob] = two.bound();
    let send = two.alices("Success-Report: yes\nX-Odd:  kept \nByte-Range: 1-2/2", "hi");
    two.world.text(alice, &send);
    assert_eq!(two.world.read(alice), response("a001", "200 OK", ALICE, &two.own[0]));
    let expect = format!(
        "MSRP ~ SEND\r\nTo-Path: {BOB}\r\nFrom-Path: {}\r\nMessage-ID: m1\r\n\
         Success-Report: yes\r\nX-Odd:  kept\r\nByte-Range: 1-2/2\r\nContent-Type: text/plain\r\n\
         \r\nhi\r\n-------~$\r\n",
        two.own[1]
    );
    assert_eq!(two.world.read(bob), expect);
    // The report finds back by itself, and is not answered.
    let report = |to: &str, from: &str, id: &str| {
        request(
            id,
            "REPORT",
            &format!(
                "To-Path: {to}\nFrom-Path: {from}\nMessage-ID: m1\nByte-Range: 1-2/2\n\
                 Status: 000 200 OK"
            ),
            None,
        )
    };
    let text = report(&two.own[1], BOB, "b001");
    two.world.text(bob, &text);
    assert_eq!(two.world.read(alice), report(ALICE, &two.own[0], "~"));
    assert_eq!(two.world.read(bob), "");
}

// Covers: MSRP-081
#[test]
fn a_send_without_a_message_id_is_refused_since_nobody_could_report_it() {
    let mut two = open(PairConfig::default());
    let [alice, bob] = two.bound();
    let nameless = two.alices("", "hi").replace("Message-ID: m1\r\n", "");
    two.world.text(alice, &nameless);
    assert_eq!(two.world.read(alice), response("a001", "400 Bad Request", ALICE, &two.own[0]));
    assert_eq!(two.world.read(bob), "");
}

// Covers: MSRP-048
#[test]
fn failures_of_one_side_are_reported_to_the_other() {
    #[rustfmt::skip]
    let table = [
        // Failure-Report,            answer,     REPORT,    after 30 s
        ("",                          Some(200),  None,      None),
        ("",                          Some(413),  Some(413), None),
        ("",                          None,       None,      Some(408)),
        ("Failure-Report: yes\n",     Some(481),  Some(481), None),
        ("Failure-Report: partial\n", Some(415),  Some(415), None),
        ("Failure-Report: partial\n", None,       None,      None),
        ("Failure-Report: no\n",      Some(413),  None,      None),
        ("Failure-Report: no\n",      None,       None,      None),
    ];
    for (header, answer, at_once, later) in table {
        let mut two = open(PairConfig::default());
        let [alice, bob] = two.bound();
        let send = two.alices(&format!("{header}Byte-Range: 3-*/9"), "hi");
        two.world.text(alice, &send);
        two.world.octets(alice);
        let written = String::from_utf8(two.world.octets(bob)).unwrap();
        if let Some(code) = answer {
            let id = &own_ids(&written)[0];
            let text = response(id, &format!("{code} Odd"), &two.own[1], BOB);
            two.world.text(bob, &text);
        }
        let report = |code: Option<u16>| {
            code.map_or(String::new(), |code| {
                format!(
                    "MSRP ~ REPORT\r\nTo-Path: {ALICE}\r\nFrom-Path: {}\r\nMessage-ID: m1\r\n\
                     Byte-Range: 3-4/9\r\nStatus: 000 {code}\r\n-------~$\r\n",
                    two.own[0]
                )
            })
        };
        assert_eq!(two.world.read(alice), report(at_once), "{header}{answer:?}");
        two.world.pass(Duration::from_millis(29_900));
        assert_eq!(two.world.read(alice), "", "{header}{answer:?}");
        two.world.pass(Duration::from_millis(200));
        assert_eq!(two.world.read(alice), report(later), "{header}{answer:?}");
        two.world.pass(Duration::from_secs(60));
        assert_eq!(two.world.read(alice), "", "once is enough");
    }
}

// Covers: MSRP-048
#[test]
fn a_side_is_settled_when_it_has_answered() {
    let mut two = open(PairConfig::default());
    let sides = [PairSide::Offerer, PairSide::Answerer];
    let settled = |two: &Two| sides.map(|side| two.world.node.is_pair_settled(two.pair, side));
    assert_eq!(settled(&two), [true, true], "nothing has passed");
    let alice = two.world.accept(None);
    two.bind(alice, 0, ALICE);
    let early = two.alices_as("a000", "", "early");
    two.world.text(alice, &early);
    assert_eq!(settled(&two), [true, false], "it waits for the connection");
    let bob = two.world.accept(None);
    two.world.slow.push(bob);
    let lines = format!("To-Path: {}\nFrom-Path: {BOB}\nMessage-ID: e1", two.own[1]);
    two.world.text(bob, &request("bind", "SEND", &lines, None));
    assert_eq!(settled(&two), [true, false], "it is not written");
    two.world.slow.clear();
    two.world.flush(bob);
    let written = String::from_utf8(two.world.octets(bob)).unwrap();
    assert_eq!(settled(&two), [true, false], "it is not answered");
    let ids = own_ids(&written);
    two.world.text(bob, &response(&ids[0], "200 OK", &two.own[1], BOB));
    assert_eq!(settled(&two), [true, true]);
    // Nobody answers when it has gone well.
    for failure_report in ["no", "partial"] {
        let text = two.alices(&format!("Failure-Report: {failure_report}"), "hi");
        two.world.text(alice, &text);
        assert!(two.world.read(bob).contains("\r\n\r\nhi\r\n"));
        assert_eq!(settled(&two), [true, true], "{failure_report}");
    }
    two.world.text(alice, &two.alices("", "hi"));
    assert_eq!(settled(&two), [true, false]);
    two.world.lose(bob);
    assert_eq!(settled(&two), [true, true], "he gets nothing any more");
}

// Covers: MSRP-048
#[test]
fn what_came_early_waits_for_the_other_side() {
    let mut two = open(PairConfig::default());
    let alice = two.world.accept(None);
    for number in 0..3 {
        let text = two.alices_as(&format!("a00{number}"), "", &format!("early {number}"));
        two.world.text(alice, &text);
    }
    // It was received: the answers come at once.
    assert_eq!(two.world.read(alice).matches("200 OK").count(), 3);
    let bob = two.world.accept(None);
    two.bind(bob, 1, BOB);
    // The bind was answered and everything written in its order.
    let text = two.alices_as("a003", "", "late");
    two.world.text(alice, &text);
    let read = two.world.read(bob);
    assert!(read.contains("\r\n\r\nlate\r\n"), "{read}");
    assert_eq!(two.world.octets(bob), b"");
}

// Covers: MSRP-048
#[test]
fn what_came_early_is_bounded_and_its_source_held_back() {
    let mut two = open(PairConfig::default());
    let alice = two.world.accept(None);
    let body = "x".repeat(20_000);
    for number in 0..4 {
        assert!(two.world.paused.is_empty(), "{number}");
        let text = two.alices_as(&format!("a00{number}"), "", &body);
        two.world.text(alice, &text);
    }
    assert_eq!(two.world.paused, [alice], "more than 64 KiB wait");
    let bob = two.world.accept(None);
    let lines = format!("To-Path: {}\nFrom-Path: {BOB}\nMessage-ID: e1", two.own[1]);
    two.world.text(bob, &request("bind", "SEND", &lines, None));
    assert!(two.world.paused.is_empty());
    let read = two.world.read(bob);
    assert_eq!(read.matches(&body).count(), 4);
    // A side that never comes lets go when the pair ends.
    let mut two = open(PairConfig::default());
    let alice = two.world.accept(None);
    for number in 0..4 {
        let text = two.alices_as(&format!("a00{number}"), "", &body);
        two.world.text(alice, &text);
    }
    assert_eq!(two.world.paused, [alice]);
    two.world.node.end_pair(two.world.now, two.pair).unwrap();
    two.world.drain();
    assert!(two.world.paused.is_empty());
}

// Covers: MSRP-048
#[test]
fn a_side_is_connected_to_and_its_loss_is_told() {
    let mut two = open(PairConfig::default());
    let alice = two.world.accept(None);
    let hop = Hop {
        secure: false,
        host: "bob.example".into(),
        port: Some(8888),
        through: None,
        fingerprints: Vec::new(),
    };
    two.world.node.connect(two.world.now, two.sessions[1], hop);
    two.world.drain();
    assert_eq!(two.world.connects[0].1, "bob.example:8888");
    let bob = two.world.connected(None);
    let bind = two.world.read(bob);
    assert!(bind.contains(&format!("To-Path: {BOB}\r\nFrom-Path: {}\r\n", two.own[1])), "{bind}");
    let text = two.alices("", "hi");
    two.world.text(alice, &text);
    assert!(two.world.read(bob).contains("\r\n\r\nhi\r\n"));
    two.world.read(alice);
    // What was not answered has failed, and so has everything that follows.
    two.world.lose(bob);
    let read = two.world.read(alice);
    assert!(read.contains(" REPORT\r\n") && read.contains("Status: 000 481\r\n"), "{read}");
    let lost = two.world.events.iter().any(|event| {
        matches!(event, NodeEvent::Lost { session, why: Lost::Connection } if *session == two.sessions[1])
    });
    assert!(lost, "{:?}", two.world.events);
    let text = two.alices_as("a002", "", "hi");
    two.world.text(alice, &text);
    assert_eq!(
        two.world.read(alice),
        response("a002", "481 Session Does Not Exist", ALICE, &two.own[0])
    );
    assert!(two.world.node.end_pair(two.world.now, two.pair).is_some());
    assert!(two.world.node.end_pair(two.world.now, two.pair).is_none());
}

// Covers: MSRP-048, MSRP-082
#[test]
fn only_the_peers_of_the_descriptions_are_taken() {
    let mut two = open(PairConfig::default());
    let [alice, bob] = two.bound();
    let stranger = two.world.accept(None);
    let text = two.alices("", "hi");
    two.world.text(stranger, &text);
    let elsewhere = "506 Session Bound to Another Connection";
    assert_eq!(two.world.read(stranger), response("a001", elsewhere, ALICE, &two.own[0]));
    let other = text.replace(ALICE, "msrp://mallory.example:1/m;tcp");
    two.world.text(alice, &other);
    assert!(two.world.read(alice).starts_with("MSRP a001 481 "));
    let two_hops = text.replace(&two.own[0], &format!("{} {BOB}", two.own[0]));
    two.world.text(alice, &two_hops);
    assert!(two.world.read(alice).starts_with("MSRP a001 481 "));
    assert_eq!(two.world.read(bob), "");
}

// Covers: MSRP-048
#[test]
fn requests_of_other_methods_pass_and_so_do_their_answers() {
    let mut two = open(PairConfig::default());
    let [alice, bob] = two.bound();
    let lines =
        |to: &str, from: &str| format!("To-Path: {to}\nFrom-Path: {from}\nUse-Nickname: \"Al\"");
    let text = request("a001", "NICKNAME", &lines(&two.own[0], ALICE), None);
    two.world.text(alice, &text);
    assert_eq!(two.world.read(alice), "", "it is answered where it goes");
    let written = String::from_utf8(two.world.octets(bob)).unwrap();
    let id = &own_ids(&written)[0];
    assert_eq!(written, request(id, "NICKNAME", &lines(BOB, &two.own[1]), None));
    let answer = format!(
        "MSRP {id} 425 Taken\r\nTo-Path: {}\r\nFrom-Path: {BOB}\r\nX-Odd: 1\r\n-------{id}$\r\n",
        two.own[1]
    );
    two.world.text(bob, &answer);
    let expect = format!(
        "MSRP a001 425 Taken\r\nTo-Path: {ALICE}\r\nFrom-Path: {}\r\nX-Odd: 1\r\n-------a001$\r\n",
        two.own[0]
    );
    assert_eq!(two.world.read(alice), expect);
    // AUTH is for relays.
    let text = request("a002", "AUTH", &lines(&two.own[0], ALICE), None);
    two.world.text(alice, &text);
    assert!(two.world.read(alice).starts_with("MSRP a002 501 "));
    // An unknown method passes unless that is not wanted.
    let text = request("a003", "ODD", &lines(&two.own[0], ALICE), None);
    two.world.text(alice, &text);
    assert!(two.world.read(bob).starts_with("MSRP ~ ODD\r\n"));
    let config = RelayConfig { passes_unknown_methods: false, ..relay_config() };
    two.world.node.set_relay(two.world.now, config);
    two.world.text(alice, &text);
    assert!(two.world.read(alice).starts_with("MSRP a003 501 "));
    assert_eq!(two.world.read(bob), "");
}

// Covers: MSRP-050
#[test]
fn a_message_that_is_too_large_is_refused_and_what_passed_of_it_aborted() {
    let config = || PairConfig { max_size: Some(10), ..PairConfig::default() };
    let cut = |range: &str, flag: char, body: &str, two: &Two| {
        let text = two.alices(&format!("Byte-Range: {range}"), body);
        text.replace("-------a001$", &format!("-------a001{flag}"))
    };
    #[rustfmt::skip]
    let table = [
        ("1-10/10", '$', "0123456789",  true),
        ("1-10/*",  '$', "0123456789",  true),
        ("1-11/11", '$', "0123456789A", false),
        ("1-5/11",  '+', "01234",       false), // the total says it
        ("1-11/*",  '$', "0123456789A", false), // the octets say it
        ("1-5/5",   '$', "0123456789A", false), // the range lies
        ("8-11/*",  '+', "789A",        false),
    ];
    for (range, flag, body, passes) in table {
        let mut two = open(config());
        let [alice, bob] = two.bound();
        let text = cut(range, flag, body, &two);
        two.world.text(alice, &text);
        let status = if passes { "200 OK" } else { "413 Stop Sending" };
        assert_eq!(two.world.read(alice), response("a001", status, ALICE, &two.own[0]), "{range}");
        let read = two.world.read(bob);
        assert_eq!(read.contains(body), passes, "{range}: {read}");
        assert_eq!(two.counts().offerer.refused, u64::from(!passes), "{range}");
        if range.starts_with('8') {
            assert!(read.contains("Byte-Range: 8-7/*\r\n") && read.ends_with("~#\r\n"), "{read}");
        } else {
            assert_eq!(read.is_empty(), !passes, "{read}");
        }
    }
}

// Covers: MSRP-050
#[test]
fn what_passes_is_counted_filtered_and_given_out() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let filter = move |side: PairSide, head: Option<&crate::Head<'_>>, body: &[u8]| {
        let kind = head.and_then(|head| head.content_type).map(|kind| kind.to_vec());
        log.lock().unwrap().push((side, kind, body.to_vec()));
        if body.windows(3).any(|word| word == b"bad") { Err(403) } else { Ok(()) }
    };
    let mut two =
        open(PairConfig { copies: true, filter: Some(Box::new(filter)), ..PairConfig::default() });
    let [alice, bob] = two.bound();
    for (id, body) in [("a001", "good"), ("a002", "bad")] {
        let text = two.alices_as(id, "", body);
        two.world.text(alice, &text);
    }
    let read = two.world.read(alice);
    assert!(read.contains("a001 200 OK") && read.contains("a002 403 Forbidden"), "{read}");
    let read = two.world.read(bob);
    assert!(read.contains("good") && !read.contains("bad"), "{read}");
    let report =
        format!("To-Path: {}\nFrom-Path: {BOB}\nMessage-ID: m1\nStatus: 000 200", two.own[1]);
    two.world.text(bob, &request("b001", "REPORT", &report, None));
    let offerer = SideCounts { messages: 2, chunks: 2, octets: 7, reports: 0, refused: 1 };
    let answerer = SideCounts { reports: 1, ..SideCounts::default() };
    assert_eq!(two.counts(), PairCounts { offerer, answerer });
    assert_eq!(
        seen.lock().unwrap()[0],
        (PairSide::Offerer, Some(b"text/plain".to_vec()), b"good".to_vec())
    );
    let copies: Vec<_> = two
        .world
        .events
        .iter()
        .filter_map(|event| match event {
            NodeEvent::Relay(Event::Passed(passage)) => Some(passage),
            _ => None,
        })
        .collect();
    assert_eq!(copies.len(), 1, "what was refused did not pass");
    assert_eq!((copies[0].pair, copies[0].side), (two.pair, PairSide::Offerer));
    assert_eq!(copies[0].body, "good");
    assert_eq!(copies[0].end, Some(Continuation::Last));
    let message = copies[0].message.as_ref().unwrap();
    assert_eq!(&*message.message_id, b"m1");
    assert_eq!(message.content_type.as_deref(), Some(&b"text/plain"[..]));
}

impl Two {
    /// Another peer takes Bob's side.
    fn renew(&mut self, path: &str) -> ConnectionId {
        let (now, side) = (self.world.now, PairSide::Answerer);
        let here = address(Scheme::Msrp, "im.example", 2000);
        let session = self.world.node.renew_pair_side(now, self.pair, side, &here).unwrap();
        self.sessions[1] = session;
        self.own[1] = self.world.node.uri(session).unwrap().to_string();
        let peer = Path::new(path.as_bytes());
        self.world.node.set_peer(now, session, peer, FromRule::Whole, &[]);
        let connection = self.world.accept(None);
        self.bind(connection, 1, path);
        connection
    }
}

const CAROL: &str = "msrp://carol.example:8888/c1;tcp";

// Covers: PF-062, PF-064, PF-065
#[test]
fn one_side_stays_while_the_other_changes() {
    let mut two = open(PairConfig::default());
    let [alice, bob] = two.bound();
    let own = two.own.clone();
    two.world.text(alice, &two.alices_as("a001", "", "to Bob"));
    assert!(two.world.read(bob).contains("to Bob"));
    two.world.octets(alice);
    two.world.node.vacate_pair_side(two.world.now, two.pair, PairSide::Answerer);
    two.world.drain();
    // What Bob had not answered has failed.
    let report = two.world.read(alice);
    assert!(report.contains(" REPORT") && report.contains("Status: 000 481"), "{report}");
    two.world.text(alice, &two.alices_as("a002", "", "to nobody"));
    assert_eq!(two.world.read(alice), response("a002", "403 Forbidden", ALICE, &two.own[0]));
    let carol = two.renew(CAROL);
    assert_eq!((&two.own[0], two.own[1] != own[1]), (&own[0], true));
    two.world.text(alice, &two.alices_as("a003", "", "to Carol"));
    assert!(two.world.read(carol).contains("to Carol"));
    let lines = format!(
        "To-Path: {}\nFrom-Path: {CAROL}\nMessage-ID: c2\nContent-Type: text/plain",
        two.own[1]
    );
    two.world.text(carol, &request("c002", "SEND", &lines, Some("of Carol")));
    assert!(two.world.read(alice).contains("of Carol"));
    // Bob is not let back in.
    let lines = format!("To-Path: {}\nFrom-Path: {BOB}\nMessage-ID: b2", own[1]);
    two.world.text(bob, &request("b002", "SEND", &lines, Some("me too")));
    assert!(two.world.read(bob).contains(" 481"));
    assert_eq!(two.world.node.load().1, 2);
    two.world.node.end_pair(two.world.now, two.pair).unwrap();
    assert_eq!(two.world.node.load().1, 0);
}

// Covers: PF-065
#[test]
fn half_a_message_does_not_reach_the_next_peer() {
    let mut two = open(PairConfig::default());
    let [alice, _bob] = two.bound();
    let carol = two.renew(CAROL);
    let part = |two: &Two, id: &str, range: &str, end: char| {
        let text = two.alices_as(id, &format!("Byte-Range: {range}"), "part");
        text.replace("$\r\n", &format!("{end}\r\n"))
    };
    let first = part(&two, "a001", "1-4/8", '+');
    two.world.text(alice, &first);
    assert!(two.world.read(carol).contains("part"));
    two.world.octets(alice);
    let dave = two.renew(BOB);
    two.world.octets(alice);
    let second = part(&two, "a002", "5-8/8", '$');
    two.world.text(alice, &second);
    assert_eq!(two.world.read(alice), response("a002", "413 Stop Sending", ALICE, &two.own[0]));
    assert_eq!(two.world.read(dave), "");
    // The same within one chunk of which the end has not come.
    let whole = two.alices_as("a003", "Byte-Range: 1-8000/8000", &"x".repeat(8_000));
    let (head, tail) = whole.split_at(5_000);
    two.world.text(alice, head);
    assert!(two.world.read(dave).contains("xxx"));
    let erin = two.renew(CAROL);
    let report = two.world.read(alice);
    assert!(report.contains("Status: 000 481"), "{report}");
    two.world.text(alice, tail);
    assert_eq!(two.world.read(erin), "");
    // And in the other direction: Alice hears that there is no more.
    two.world.octets(alice);
    let lines = format!(
        "To-Path: {}\nFrom-Path: {CAROL}\nMessage-ID: e9\nByte-Range: 1-8000/8000\n\
         Content-Type: text/plain",
        two.own[1]
    );
    let whole = request("e001", "SEND", &lines, Some(&"y".repeat(8_000)));
    let (head, tail) = whole.split_at(5_000);
    two.world.text(erin, head);
    let begun = two.world.read(alice);
    assert!(begun.contains("yyy"), "{begun} {}", two.world.read(erin));
    two.world.node.vacate_pair_side(two.world.now, two.pair, PairSide::Answerer);
    two.world.drain();
    let aborted = two.world.read(alice);
    assert!(aborted.ends_with("#\r\n"), "{aborted}");
    two.world.text(erin, tail);
    assert_eq!(two.world.read(alice), "");
}
