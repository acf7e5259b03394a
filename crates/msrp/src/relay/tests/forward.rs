//! Requests that are passed on, and what comes back.

use super::*;

const ALICE: &str = "msrps://alice.example:7965/bar;tcp";
const BOB: &str = "msrps://bob.example:8145/foo;tcp";

fn lines(to: &str, from: &str, more: &str) -> String {
    format!("To-Path: {to}\nFrom-Path: {from}\n{more}")
}

fn send(id: &str, to: &str, from: &str, more: &str) -> String {
    let more = format!("Message-ID: m1\n{more}\nByte-Range: 1-2/2\nContent-Type: text/plain");
    request(id, "SEND", &lines(to, from, &more), Some("hi"))
}

/// Alice has a URI; Bob is somebody else, connected to on the first message.
struct Line {
    world: World,
    alice: ConnectionId,
    bob: ConnectionId,
    /// What Alice got.
    own: String,
}

fn line() -> Line {
    let mut world = World::new();
    let (alice, own) = world.granted(ALICE);
    world.text(alice, &send("a000", &format!("{own} {BOB}"), ALICE, ""));
    assert_eq!(world.connects[0].1, "bob.example:8145");
    let bob = world.connected(Some(&["bob.example"]));
    let written = String::from_utf8(world.octets(bob)).unwrap();
    world.text(bob, &response(&own_ids(&written)[0], "200 OK", &own, BOB));
    world.octets(alice);
    Line { world, alice, bob, own }
}

// Covers: MSRP-044
#[test]
fn requests_move_our_uri_and_keep_the_rest() {
    let Line { mut world, alice, bob, own } = line();
    let odd = "Success-Report: yes\nX-Odd: \tkept: \u{e9}";
    world.text(alice, &send("a001", &format!("{own} {BOB}"), ALICE, odd));
    assert_eq!(world.read(alice), response("a001", "200 OK", ALICE, &own));
    assert_eq!(world.read(bob), send("~", BOB, &format!("{own} {ALICE}"), odd));
    // And the other way.
    world.text(bob, &send("b001", &format!("{own} {ALICE}"), BOB, ""));
    assert_eq!(world.read(bob), response("b001", "200 OK", BOB, &own));
    assert_eq!(world.read(alice), send("~", ALICE, &format!("{own} {BOB}"), ""));
    // A longer way: the previous relay is answered, and the next one gets what is left.
    let far = "msrps://far.example:1/f;tcp";
    world.text(alice, &send("a002", &format!("{own} {BOB} {far}"), ALICE, ""));
    world.read(alice);
    let to = format!("{BOB} {far}");
    assert_eq!(world.read(bob), send("~", &to, &format!("{own} {ALICE}"), ""));
    assert_eq!(world.connects.len(), 1, "the connection is used again");
}

// Covers: MSRP-086
#[test]
fn a_client_is_not_taken_where_the_operator_does_not_want() {
    let next_hops = NextHops::Only(vec![".example".into()]);
    let config = RelayConfig { next_hops, ..relay_config() };
    let mut world = World::with(config, NodeConfig::default(), 1);
    let (alice, own) = world.granted(ALICE);
    let inside = "msrp://10.0.0.1:22/x;tcp";
    world.text(alice, &send("a000", &format!("{own} {inside}"), ALICE, ""));
    assert_eq!(world.read(alice), response("a000", "403 Forbidden", ALICE, &own));
    assert!(world.connects.is_empty());
    world.text(alice, &send("a001", &format!("{own} {BOB}"), ALICE, ""));
    assert_eq!(world.read(alice), response("a001", "200 OK", ALICE, &own));
    assert_eq!(world.connects[0].1, "bob.example:8145");
}

// Covers: MSRP-044, MSRP-045
#[test]
fn answers_and_reports_follow_the_failure_report() {
    #[rustfmt::skip]
    let table = [
        // Failure-Report,            answered here, next hop,   REPORT,    after 30 s
        ("",                          true,          Some(200),  None,      None),
        ("Failure-Report: yes",       true,          Some(413),  Some(413), None),
        ("Failure-Report: yes",       true,          None,       None,      Some(408)),
        ("Failure-Report: partial",   false,         Some(403),  Some(403), None),
        ("Failure-Report: partial",   false,         Some(200),  None,      None),
        ("Failure-Report: partial",   false,         None,       None,      None),
        ("Failure-Report: no",        false,         Some(481),  None,      None),
        ("Failure-Report: no",        false,         None,       None,      None),
    ];
    for (header, is_answered, answer, at_once, later) in table {
        let Line { mut world, alice, bob, own } = line();
        world.text(alice, &send("a001", &format!("{own} {BOB}"), ALICE, header));
        let expect =
            if is_answered { response("a001", "200 OK", ALICE, &own) } else { String::new() };
        assert_eq!(world.read(alice), expect, "{header}");
        let written = String::from_utf8(world.octets(bob)).unwrap();
        if let Some(code) = answer {
            let text = response(&own_ids(&written)[0], &format!("{code} Odd"), &own, BOB);
            world.text(bob, &text);
        }
        let report = |code: Option<u16>| {
            code.map_or(String::new(), |code| {
                let more = format!("Message-ID: m1\nByte-Range: 1-2/2\nStatus: 000 {code}");
                request("~", "REPORT", &lines(ALICE, &own, &more), None)
            })
        };
        assert_eq!(world.read(alice), report(at_once), "{header} {answer:?}");
        world.pass(Duration::from_millis(30_100));
        assert_eq!(world.read(alice), report(later), "{header} {answer:?}");
        world.pass(Duration::from_secs(60));
        assert_eq!(world.read(alice), "", "once is enough");
        assert_eq!(world.read(bob), "");
    }
}

/// Nobody closes a connection over which requests pass, whichever way.
#[test]
fn both_connections_of_what_passes_are_used() {
    let Line { mut world, alice, bob, own } = line();
    for (connection, to, from) in [(alice, BOB, ALICE), (bob, ALICE, BOB)] {
        world.pass(Duration::from_secs(100));
        let used = |world: &World| [alice, bob].map(|id| world.node.standing(id).unwrap().used);
        assert_ne!(used(&world), [Some(world.now); 2]);
        world.text(connection, &send("x001", &format!("{own} {to}"), from, ""));
        assert_eq!(used(&world), [Some(world.now); 2]);
        // What nobody takes is no use, and the rest of what is taken is.
        world.pass(Duration::from_secs(1));
        for (to, is_used) in [(format!("{own} {to}"), true), (own.replace("/0", "/z"), false)] {
            let request = send("x002", &to, from, "");
            let (head, end) = request.split_at(request.len() - 5);
            world.text(connection, head);
            world.pass(Duration::from_secs(1));
            world.text(connection, end);
            let index = usize::from(connection == bob);
            assert_eq!(used(&world)[index] == Some(world.now), is_used, "{to}");
        }
    }
}

// Covers: MSRP-081
#[test]
fn a_send_without_a_message_id_is_refused_since_nobody_could_report_it() {
    let Line { mut world, alice, bob, own } = line();
    let nameless = |header: &str| {
        let to = format!("{own} {BOB}");
        request(
            "a001",
            "SEND",
            &lines(&to, ALICE, &format!("{header}\nContent-Type: a/b")),
            Some("hi"),
        )
    };
    world.text(alice, &nameless(""));
    assert_eq!(world.read(alice), response("a001", "400 Bad Request", ALICE, &own));
    world.text(alice, &nameless("Failure-Report: no"));
    assert_eq!((world.read(alice), world.read(bob)), (String::new(), String::new()));
}

// Covers: MSRP-045, MSRP-083
#[test]
fn reports_go_the_whole_way_back() {
    let Line { mut world, alice, bob, own } = line();
    let path = format!("{BOB} msrps://far.example:1/f;tcp");
    world.text(bob, &send("b001", &format!("{own} {ALICE}"), &path, ""));
    let written = String::from_utf8(world.octets(alice)).unwrap();
    world.octets(bob);
    world.text(alice, &response(&own_ids(&written)[0], "415 Odd", &own, ALICE));
    let more = "Message-ID: m1\nByte-Range: 1-2/2\nStatus: 000 415";
    assert_eq!(world.read(bob), request("~", "REPORT", &lines(&path, &own, more), None));
    // A REPORT passes, is not answered and makes no other.
    let status = "Message-ID: m1\nByte-Range: 1-2/2\nStatus: 000 200 OK";
    let to = format!("{own} {ALICE}");
    world.text(bob, &request("b002", "REPORT", &lines(&to, BOB, status), None));
    let from = format!("{own} {BOB}");
    assert_eq!(world.read(alice), request("~", "REPORT", &lines(ALICE, &from, status), None));
    world.pass(Duration::from_secs(61));
    assert_eq!((world.read(alice), world.read(bob)), (String::new(), String::new()));
}

// Covers: MSRP-044, MSRP-045
#[test]
fn a_next_hop_that_cannot_be_reached_is_reported() {
    for header in ["", "Failure-Report: partial", "Failure-Report: no"] {
        let Line { mut world, alice, own, .. } = line();
        let dead = "msrps://dead.example:1/d;tcp";
        world.text(alice, &send("a001", &format!("{own} {dead}"), ALICE, header));
        world.read(alice);
        let (connection, to) = world.connects.last().unwrap().clone();
        assert_eq!(to, "dead.example:1");
        let error = crate::ConnectError::Unreachable;
        world.node.handle_input(world.now, Input::ConnectFailed { connection, error });
        world.drain();
        let more = "Message-ID: m1\nByte-Range: 1-2/2\nStatus: 000 481";
        let expect = request("~", "REPORT", &lines(ALICE, &own, more), None);
        let expect = if header.ends_with("no") { String::new() } else { expect };
        assert_eq!(world.read(alice), expect, "{header}");
        // Somebody who is reached over WebSocket only connects, and is not connected to.
        let browser = format!("{own} msrps://a.invalid:1/x;ws");
        world.text(alice, &send("a002", &browser, ALICE, ""));
        assert!(world.read(alice).starts_with("MSRP a002 481 "));
    }
}

// Covers: MSRP-045
#[test]
fn what_was_on_its_way_to_a_lost_connection_is_reported() {
    let Line { mut world, alice, bob, own } = line();
    world.text(bob, &send("b001", &format!("{own} {ALICE}"), BOB, ""));
    world.text(bob, &send("b002", &format!("{own} {ALICE}"), BOB, "Failure-Report: no"));
    world.read(bob);
    world.lose(alice);
    let more = "Message-ID: m1\nByte-Range: 1-2/2\nStatus: 000 481";
    assert_eq!(world.read(bob), request("~", "REPORT", &lines(BOB, &own, more), None));
    // And the URI is gone with the client.
    world.text(bob, &send("b003", &format!("{own} {ALICE}"), BOB, ""));
    assert!(world.read(bob).starts_with("MSRP b003 481 "));
}

// Covers: MSRP-043, MSRP-086
#[test]
fn it_is_no_open_relay() {
    let Line { mut world, alice, bob, own } = line();
    let mallory = world.client();
    let path = "msrps://mallory.example:1/m;tcp";
    let elsewhere = "msrps://victim.example:1/v;tcp";
    #[rustfmt::skip]
    let table = [
        ("to anybody over a URI of Alice",   format!("{own} {elsewhere}")),
        ("to Bob over a URI of Alice",       format!("{own} {BOB}")),
        ("to the relay itself",              own.clone()),
        ("over a URI that nobody has",       format!("msrps://relay.example:2855/x;tcp {ALICE}")),
    ];
    for (what, to) in table {
        let connects = world.connects.len();
        world.text(mallory, &send("x001", &to, path, ""));
        assert!(world.read(mallory).starts_with("MSRP x001 481 "), "{what}");
        assert_eq!((world.read(alice), world.read(bob)), (String::new(), String::new()), "{what}");
        assert_eq!(world.connects.len(), connects, "{what}");
        world.text(mallory, &send("x002", &to, path, "Failure-Report: no"));
        assert_eq!(world.read(mallory), "", "{what}");
    }
    // To Alice it goes, from whoever knows her URI: that is what it is for.
    world.text(mallory, &send("x003", &format!("{own} {ALICE}"), path, ""));
    assert!(world.read(mallory).starts_with("MSRP x003 200 "));
    assert!(world.read(alice).contains(path));
    // And does not take the place of Bob.
    world.text(alice, &send("a001", &format!("{own} {BOB}"), ALICE, ""));
    assert!(world.read(bob).contains("\r\n\r\nhi\r\n"));
    assert_eq!(world.read(mallory), "");
}

// Covers: MSRP-043
#[test]
fn a_uri_is_good_for_its_time() {
    let Line { mut world, alice, bob, own } = line();
    world.pass(Duration::from_secs(899));
    world.text(bob, &send("b001", &format!("{own} {ALICE}"), BOB, ""));
    assert!(world.read(bob).starts_with("MSRP b001 200 "));
    world.octets(alice);
    world.pass(Duration::from_secs(1));
    for (connection, to, from) in [(bob, ALICE, BOB), (alice, BOB, ALICE)] {
        world.text(connection, &send("x001", &format!("{own} {to}"), from, ""));
        assert!(world.read(connection).contains("MSRP x001 481 "));
    }
}

// Covers: MSRP-044, MSRP-087
#[test]
fn both_sides_may_use_this_relay() {
    let mut world = World::new();
    let (alice, a) = world.granted(ALICE);
    let (bob, b) = world.granted(BOB);
    world.text(alice, &send("a001", &format!("{a} {b} {BOB}"), ALICE, ""));
    assert_eq!(world.read(alice), response("a001", "200 OK", ALICE, &a));
    let written = String::from_utf8(world.octets(bob)).unwrap();
    let id = own_ids(&written)[0].clone();
    assert_eq!(written, send(&id, BOB, &format!("{b} {a} {ALICE}"), ""));
    assert!(world.connects.is_empty(), "it does not connect to itself");
    // The failure is reported to her.
    world.text(bob, &response(&id, "413 Odd", &b, BOB));
    let more = "Message-ID: m1\nByte-Range: 1-2/2\nStatus: 000 413";
    let report = world.read(alice);
    assert!(report.contains(&lines(ALICE, "", "").replace("\nFrom-Path: \n", "")), "{report}");
    assert!(report.contains("Status: 000 413") && more.contains("413"), "{report}");
    // What is answered end to end is, over both URIs.
    let to = format!("{a} {b} {BOB}");
    world.text(
        alice,
        &request("a002", "NICKNAME", &lines(&to, ALICE, "Use-Nickname: \"Al\""), None),
    );
    let written = String::from_utf8(world.octets(bob)).unwrap();
    let id = own_ids(&written)[0].clone();
    world.text(bob, &response(&id, "200 OK", &format!("{b} {a} {ALICE}"), BOB));
    let expect = response("a002", "200 OK", ALICE, &format!("{a} {b} {BOB}"));
    assert_eq!(world.read(alice), expect);
    // A way in circles does not come to an end here.
    let circle = format!("{a} {b} {a} {b} {a} {b} {BOB}");
    world.text(alice, &send("a003", &circle, ALICE, ""));
    assert!(world.read(alice).starts_with("MSRP a003 481 "));
}

// Covers: MSRP-044
#[test]
fn it_does_not_connect_to_itself() {
    let mut world = World::new();
    let (alice, own) = world.granted(ALICE);
    let relay = "msrps://relay.example:2855";
    let elsewhere = format!("00{}", "7".repeat(26));
    for (id, status, joined) in [("odd", 481, vec![]), (&*elsewhere, 200, vec![0])] {
        let to = format!("{own} {relay}/{id};tcp {BOB}");
        world.text(alice, &send("a001", &to, ALICE, ""));
        let answer = world.read(alice);
        assert!(answer.starts_with(&format!("MSRP a001 {status} ")), "{answer}");
        assert_eq!((&world.joined, world.connects.len()), (&joined, 0), "{id}");
    }
}

// Covers: MSRP-087
#[test]
fn other_methods_pass() {
    let Line { mut world, alice, bob, own } = line();
    for (method, body) in [("NICKNAME", None), ("ODD", Some("with a body")), ("AUTH", None)] {
        let more = if body.is_some() { "X: y\nContent-Type: a/b" } else { "X: y" };
        let to = format!("{own} {BOB}");
        world.text(alice, &request("a001", method, &lines(&to, ALICE, more), body));
        assert_eq!(world.read(alice), "", "{method} is answered where it goes");
        let written = String::from_utf8(world.octets(bob)).unwrap();
        let id = own_ids(&written)[0].clone();
        let from = format!("{own} {ALICE}");
        assert_eq!(written, request(&id, method, &lines(BOB, &from, more), body));
        let answer = format!(
            "MSRP {id} 401 No Way\r\nTo-Path: {own} {ALICE}\r\nFrom-Path: {BOB}\r\n\
             WWW-Authenticate: Digest realm=\"x\"\r\n-------{id}$\r\n"
        );
        // One that is for somebody else is dropped.
        world.text(bob, &answer.replace(&own, "msrps://relay.example:2855/y;tcp"));
        assert_eq!(world.read(alice), "");
    }
}

// Covers: MSRP-087
#[test]
fn answers_come_back_as_they_are() {
    let Line { mut world, alice, bob, own } = line();
    let to = format!("{own} {BOB}");
    world.text(alice, &request("a001", "AUTH", &lines(&to, ALICE, ""), None));
    let written = String::from_utf8(world.octets(bob)).unwrap();
    let id = own_ids(&written)[0].clone();
    let answer = |id: &str, to: &str, from: &str| {
        format!(
            "MSRP {id} 401 No Way\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\n\
             WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n-------{id}$\r\n"
        )
    };
    let back = answer(&id, &format!("{own} {ALICE}"), BOB);
    world.text(bob, &back);
    assert_eq!(world.read(alice), answer("a001", ALICE, &format!("{own} {BOB}")));
    world.text(bob, &back);
    assert_eq!(world.read(alice), "", "it was answered");
    // One for somebody who is gone is dropped.
    world.text(alice, &request("a002", "AUTH", &lines(&to, ALICE, ""), None));
    let written = String::from_utf8(world.octets(bob)).unwrap();
    let id = own_ids(&written)[0].clone();
    world.lose(alice);
    world.text(bob, &answer(&id, &format!("{own} {ALICE}"), BOB));
    assert_eq!(world.read(bob), "");
}

// Covers: MSRP-088
#[test]
fn several_failures_at_a_further_relay_close_the_connection() {
    for (stale, closes) in [(false, true), (true, false)] {
        let Line { mut world, alice, bob, own } = line();
        for _ in 0..5 {
            assert!(world.closed.is_empty());
            let to = format!("{own} {BOB}");
            let more = "Authorization: Digest username=\"a\"";
            world.text(alice, &request("a001", "AUTH", &lines(&to, ALICE, more), None));
            let written = String::from_utf8(world.octets(bob)).unwrap();
            let id = own_ids(&written)[0].clone();
            let answer = format!(
                "MSRP {id} 401\r\nTo-Path: {own} {ALICE}\r\nFrom-Path: {BOB}\r\n\
                 WWW-Authenticate: Digest realm=\"x\", nonce=\"y\", stale={stale}\r\n-------{id}$\r\n"
            );
            world.text(bob, &answer);
        }
        let expect = closes.then_some((alice, CloseReason::Credentials));
        assert_eq!(world.closed, expect.into_iter().collect::<Vec<_>>());
    }
}

// Covers: MSRP-087
#[test]
fn unknown_methods_can_be_blocked() {
    let Line { mut world, alice, bob, own } = line();
    let config = RelayConfig { passes_unknown_methods: false, ..relay_config() };
    world.node.set_relay(world.now, config);
    let to = format!("{own} {BOB}");
    world.text(alice, &request("a001", "ODD", &lines(&to, ALICE, ""), None));
    assert!(world.read(alice).starts_with("MSRP a001 501 "));
    world.text(alice, &request("a002", "NICKNAME", &lines(&to, ALICE, ""), None));
    assert!(world.read(bob).starts_with("MSRP ~ NICKNAME\r\n"), "that one is known");
}

// Covers: MSRP-043, MSRP-088
#[test]
fn the_uri_of_a_relay_is_good_on_every_connection_to_it() {
    let mut world = World::new();
    let inner = world.accept(Some(&["inner.example"]));
    let from = format!("msrps://inner.example:9000/x;tcp {ALICE}");
    let mut client = world.relay_client(ALICE, "msrps://relay.example:2855;tcp");
    client.start(world.now, &mut world.entropy);
    // The client's AUTH as the inner relay passes it on.
    let mut granted = String::new();
    while let Some(output) = client.poll_output() {
        let RelayClientOutput::Send(octets) = output else { break };
        let text = String::from_utf8(octets).unwrap();
        let text = text.replace(&format!("From-Path: {ALICE}"), &format!("From-Path: {from}"));
        world.text(inner, &text);
        let answer = world.octets(inner);
        answers(&mut client, world.now, &answer, &mut world.entropy);
        granted = String::from_utf8(answer).unwrap();
    }
    let use_path = granted.lines().find_map(|line| line.strip_prefix("Use-Path: ")).unwrap();
    let (first, own) = use_path.split_once(' ').unwrap();
    assert_eq!(first, "msrps://inner.example:9000/x;tcp", "in the order of a To-Path");
    // It does not end with the connection.
    let other = world.accept(Some(&["inner.example"]));
    world.lose(inner);
    assert_eq!(world.node.relay_grants(), 1);
    world.text(other, &send("a001", &format!("{own} {BOB}"), &from, ""));
    assert_eq!(
        world.read(other),
        response("a001", "200 OK", "msrps://inner.example:9000/x;tcp", own)
    );
    let bob = world.connected(Some(&["bob.example"]));
    assert_eq!(world.read(bob), send("~", BOB, &format!("{own} {from}"), ""));
    // Towards the client it goes to the relay, which is connected to when it has to be.
    let to = format!("{own} {from}");
    world.text(bob, &send("b001", &to, BOB, ""));
    assert!(world.read(bob).starts_with("MSRP b001 200 "));
    assert_eq!(world.connects.last().unwrap().1, "inner.example:9000");
    let back = world.connected(Some(&["inner.example"]));
    assert_eq!(world.read(back), send("~", &from, &format!("{own} {BOB}"), ""));
    // Somebody with another name is not that relay.
    let mallory = world.accept(Some(&["mallory.example"]));
    world.text(mallory, &send("x001", &format!("{own} {BOB}"), &from, ""));
    assert!(world.read(mallory).starts_with("MSRP x001 481 "));
}
