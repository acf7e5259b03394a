//! Connections, timers and what a driver sees.

use std::time::Duration;

use super::connection::Connection;
use super::*;
use crate::FrameError;
use crate::endpoint::EndpointConfig;
use crate::tests::{Bench, Said, address, peer, text, wire};

const PEER: &str = "msrp://alicepc.example.com:7777/iau39soe2843z;tcp";
const OWN: &str = "msrp://bob.example.com:8888/9di4eae923wzd;tcp";

fn send(to: &str) -> Vec<u8> {
    wire(&format!(
        "MSRP t3st SEND\nTo-Path: {to}\nFrom-Path: {PEER}\nMessage-ID: 1\n-------t3st$\n"
    ))
}

fn hop() -> Hop {
    Hop {
        secure: false,
        host: "alicepc.example.com".into(),
        port: Some(7777),
        through: None,
        fingerprints: Vec::new(),
    }
}

fn flushes(bench: &mut Bench) -> usize {
    bench.drain();
    let flush = |output: &Output| matches!(output, Output::Flush(_));
    let count = bench.outputs.iter().filter(|output| flush(output)).count();
    bench.outputs.clear();
    count
}

// Covers: MSRP-047
#[test]
fn an_unknown_peer_has_30_s_for_a_valid_request() {
    let mut bench = Bench::new(1);
    bench.endpoint(OWN, PEER, |_| {});
    let connections = [bench.accept(), bench.accept(), bench.accept()];
    bench.octets(connections[0], &send(OWN));
    bench.octets(connections[1], &send("msrp://bob.example.com:8888/other;tcp"));
    let waits = bench.node.standing(connections[0]).unwrap().queued;
    assert_eq!(bench.written(connections[0]).len(), waits);
    assert!(text(&bench.written(connections[1])).starts_with("MSRP t3st 481 "));
    bench.said();
    let standing = |bench: &Bench, at: usize| bench.node.standing(connections[at]).unwrap();
    let unknown = Standing { used: None, sessions: 0, in_head: false, in_body: false, queued: 0 };
    let known = Standing { used: Some(bench.now), sessions: 1, ..unknown };
    assert_eq!([standing(&bench, 0), standing(&bench, 1)], [known, unknown]);
    bench.octets(connections[2], b"MSRP t3st SE");
    assert_eq!(standing(&bench, 2), Standing { in_head: true, ..unknown });
    bench.wait(Duration::from_millis(29_999));
    assert_eq!(bench.said(), []);
    bench.wait(Duration::from_millis(1));
    let close = || Said::Close(CloseReason::Probation);
    assert_eq!(bench.said(), [close(), close()]);
    // What comes until it is closed is not looked at.
    bench.octets(connections[1], &send(OWN));
    assert_eq!(bench.written(connections[1]), b"");
    for connection in connections {
        bench.input(Input::Lost { connection });
        assert_eq!(bench.node.standing(connection), None);
    }
    assert_eq!(bench.said(), [Said::Lost(Lost::Connection)]);
    assert_eq!(bench.node.load(), (0, 0));
}

// Covers: MSRP-081, MSRP-005
#[test]
fn what_cannot_be_read_closes_the_connection() {
    let body = "x".repeat(10_241);
    let large = format!(
        "MSRP t3st REPORT\nTo-Path: {OWN}\nFrom-Path: {PEER}\nContent-Type: a/b\n\n{body}\n"
    );
    for (octets, why) in [
        (wire("HTTP/1.1 200 OK\n"), FrameError::StartLine),
        (wire("MSRP t3st SEND\nTo-Path: x\n-------t3st$\n"), FrameError::FromPath),
        (wire(&large), FrameError::BodyTooLong),
    ] {
        let why = CloseReason::Framing(why);
        let mut bench = Bench::new(1);
        bench.endpoint(OWN, PEER, |_| {});
        let connection = bench.accept();
        bench.octets(connection, &octets);
        assert!(bench.said().contains(&Said::Close(why)), "{why:?}");
    }
}

// Covers: MSRP-011
#[test]
fn the_active_side_connects_once_and_sends_at_once() {
    let mut bench = Bench::new(1);
    let session = bench.endpoint(OWN, PEER, |_| {});
    bench.node.connect(bench.now, session, hop());
    let other = "msrp://bob.example.com:8888/second;tcp";
    let second = bench.endpoint(other, PEER, |_| {});
    bench.node.connect(bench.now, second, hop());
    bench.drain();
    let connects: Vec<_> = bench
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Connect { connection, to } => Some((*connection, to.clone())),
            _ => None,
        })
        .collect();
    let [(connection, to)] = &connects[..] else { panic!("{connects:?}") };
    assert_eq!(**to, hop());
    assert_eq!(bench.said(), []);
    bench.input(Input::Connected { connection: *connection, peer: peer() });
    assert_eq!(bench.said(), [Said::Bound, Said::Bound]);
    let written = text(&bench.written(*connection));
    let starts: Vec<_> = written.lines().filter(|line| line.ends_with(" SEND")).collect();
    assert_eq!(starts.len(), 2);
    let id = starts[0].split(' ').nth(1).unwrap();
    let first = format!("MSRP {id} SEND\nTo-Path: {PEER}\nFrom-Path: {OWN}\nMessage-ID: ");
    assert!(written.starts_with(&first), "{written}");
    assert!(written.contains(&format!("\nByte-Range: 1-0/0\n-------{id}$\n")));
    // 481 to one of them ends that one only; when none is left, the connection goes.
    let refused = format!("MSRP {id} 481\nTo-Path: {OWN}\nFrom-Path: {PEER}\n-------{id}$\n");
    bench.octets(*connection, &wire(&refused));
    assert_eq!(bench.said(), [Said::Lost(Lost::Unknown)]);
    bench.node.end_endpoint(bench.now, second);
    assert_eq!(bench.said(), [Said::Close(CloseReason::Unused)]);
}

#[test]
fn a_connection_that_cannot_be_made_or_is_not_answered_fails_its_sessions() {
    let mut bench = Bench::new(1);
    let session = bench.endpoint(OWN, PEER, |_| {});
    bench.node.connect(bench.now, session, hop());
    let connection = bench.node.connection(session).unwrap();
    let error = ConnectError::Unreachable;
    bench.input(Input::ConnectFailed { connection, error });
    assert_eq!(bench.said(), [Said::Lost(Lost::Unconnected(error))]);

    let session = bench.endpoint(OWN, PEER, |_| {});
    bench.node.connect(bench.now, session, hop());
    let connection = bench.node.connection(session).unwrap();
    bench.input(Input::Connected { connection, peer: peer() });
    bench.written(connection);
    bench.said();
    bench.wait(Duration::from_secs(30));
    let lost = [Said::Lost(Lost::Unanswered), Said::Close(CloseReason::Unused)];
    assert_eq!(bench.said(), lost);
}

// Covers: MSRP-017
#[test]
fn who_came_before_the_sdp_has_to_be_the_one_in_it() {
    for (path, fits) in [(PEER, true), (OWN, false)] {
        let mut bench = Bench::new(1);
        let config = EndpointConfig::new(Default::default());
        let session = bench.node.open_endpoint(bench.now, &address(), config);
        let uri = bench.node.uri(session).unwrap().to_string();
        let connection = bench.accept();
        bench.octets(connection, &send(&uri));
        assert!(text(&bench.written(connection)).contains(" 200 OK\n"));
        let path = Path::new(path.as_bytes());
        bench.node.set_peer(bench.now, session, path, FromRule::Whole, &[]);
        let lost = (!fits).then_some(Said::Lost(Lost::Path));
        assert_eq!(bench.said(), [Said::Bound].into_iter().chain(lost).collect::<Vec<_>>());
    }
}

// Covers: MSRP-025
#[test]
fn keeps_a_quiet_connection_alive_when_told_to() {
    let period = Duration::from_secs(60);
    for keep_alive in [None, Some(period)] {
        let mut bench = Bench::with(1, NodeConfig { keep_alive, ..NodeConfig::default() });
        bench.endpoint(OWN, PEER, |_| {});
        let connection = bench.accept();
        bench.octets(connection, &send(OWN));
        bench.written(connection);
        bench.wait(period);
        let written = text(&bench.written(connection));
        assert_eq!(written.contains(" SEND\n"), keep_alive.is_some());
        if let Some(id) = written.split(' ').nth(1) {
            let answer =
                format!("MSRP {id} 200\nTo-Path: {OWN}\nFrom-Path: {PEER}\n-------{id}$\n");
            bench.octets(connection, &wire(&answer));
        }
        bench.wait(period - Duration::from_millis(1));
        assert_eq!(bench.written(connection), b"");
        bench.said();
    }
}

#[test]
fn what_passes_is_counted() {
    let mut bench = Bench::new(1);
    bench.endpoint(OWN, PEER, |_| {});
    let connection = bench.accept();
    bench.node.count_as(connection, 3);
    let octets = [send(OWN), send("msrp://bob.example.com:8888/other;tcp")].concat();
    bench.octets(connection, &octets);
    let written = bench.written(connection).len() as u64;
    bench.input(Input::Lost { connection });
    let mut refused_by_code = [0; REFUSAL_CODES.len()];
    refused_by_code[REFUSAL_CODES.iter().position(|code| *code == 481).unwrap()] = 1;
    let counts = Counts {
        octets_received: octets.len() as u64,
        octets_queued: written,
        requests: 2,
        sends: 2,
        accepted: 1,
        refused: 1,
        refused_by_code,
        ..Counts::default()
    };
    assert_eq!(*bench.node.counts(3), counts);
    assert_eq!(*bench.node.counts(0), Counts::default());
}

#[test]
fn a_flush_is_said_once_until_the_driver_looks() {
    let mut bench = Bench::new(1);
    bench.endpoint(OWN, PEER, |_| {});
    let connection = bench.accept();
    bench.octets(connection, &[send(OWN), send(OWN)].concat());
    assert_eq!(flushes(&mut bench), 1);
    bench.octets(connection, &send(OWN));
    assert_eq!(flushes(&mut bench), 0);
    bench.node.outbound(connection).unwrap();
    bench.octets(connection, &send(OWN));
    assert_eq!(flushes(&mut bench), 1);
}

// Covers: MSRP-018
#[test]
fn a_source_waits_for_its_sinks() {
    let mut bench = Bench::new(1);
    let [source, one, other] = [bench.accept(), bench.accept(), bench.accept()];
    bench.node.command(bench.now, |roles| {
        roles.cx.hold_back(source, one);
        roles.cx.hold_back(source, one);
        roles.cx.hold_back(source, other);
    });
    assert_eq!(bench.said(), [Said::Pause]);
    bench.input(Input::Written { connection: one });
    assert_eq!(bench.said(), []);
    bench.input(Input::Lost { connection: other });
    assert_eq!(bench.said(), [Said::Resume]);
}

#[test]
fn what_belongs_to_another_core_goes_there_as_it_came() {
    // Core 1 opens the session, core 0 gets the connection.
    let mut owner = Node::new(1, 2, crate::test_epoch(), NodeConfig::default(), Box::new(|| 9));
    let config = EndpointConfig::new(Default::default());
    let session = owner.open_endpoint(crate::test_epoch(), &address(), config);
    let uri = owner.uri(session).unwrap().to_string();
    let request = |id: &str, body: &str| {
        wire(&format!(
            "MSRP {id} SEND\nTo-Path: {uri}\nFrom-Path: {PEER}\nMessage-ID: 1\n{body}-------{id}$\n"
        ))
    };
    let response =
        wire(&format!("MSRP 0000 200 OK\nTo-Path: {uri}\nFrom-Path: {PEER}\n-------0000$\n"));
    let body = format!("Content-Type: text/plain\n\n{}\n", "abc-------".repeat(100));
    let all = [request("f1rst", &body), request("sec0nd", ""), response].concat();
    for cut in [1, 7, 100, 10_000] {
        let mut bench = Bench::new(1);
        let connection = bench.accept();
        for piece in all.chunks(cut) {
            bench.octets(connection, piece);
        }
        let mut passed = Vec::new();
        for output in bench.outputs.drain(..) {
            match output {
                Output::Foreign { core: 1, octets, .. } => passed.extend_from_slice(&octets),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(text(&passed), text(&all), "{cut}");
        assert!(bench.node.standing(connection).unwrap().used.is_some());
    }
}

// Covers: MSRP-048
#[test]
fn a_session_that_goes_by_a_uri_that_was_lent_is_found_at_its_core() {
    let request = wire(&format!(
        "MSRP aaaa SEND\nTo-Path: {PEER}\nFrom-Path: {PEER}\nMessage-ID: 1\n-------aaaa$\n"
    ));
    for (core, is_passed) in [(None, false), (Some(0), false), (Some(1), true), (Some(2), false)] {
        let mut bench = Bench::new(1);
        bench.node.set_places(Box::new(move |uri| core.filter(|_| uri == PEER.as_bytes())));
        let connection = bench.accept();
        bench.octets(connection, &request);
        let passed = |output: &Output| matches!(output, Output::Foreign { core: 1, .. });
        assert_eq!(bench.outputs.iter().any(passed), is_passed, "{core:?}");
    }
}

/// What a quiet connection and a quiet session take, next to their URIs and the peer: together
/// about 1.5 KiB, so that the driver has more than 2 KiB of the 4 KiB that a session may take.
#[test]
fn quiet_connections_and_sessions_are_small() {
    assert!(size_of::<Connection>() <= 512, "{}", size_of::<Connection>());
    assert!(size_of::<Framer>() <= 256, "{}", size_of::<Framer>());
    assert!(size_of::<crate::session::Session>() <= 96);
    assert!(size_of::<Peer>() <= 128);
    let endpoint = crate::endpoint::session_octets();
    assert!(endpoint <= 512, "{endpoint}");
}

// Covers: MSRP-081
#[test]
fn what_cannot_be_read_is_answered_400_whichever_core_has_the_session() {
    let mut bench = Bench::new(1);
    bench.endpoint(OWN, PEER, |_| {});
    let connection = bench.accept();
    let foreign = format!("msrp://bob.example.com:8888/10{};tcp", "a".repeat(26));
    let unknown = foreign.replace("/10", "/00");
    let malformed =
        |to: &str| format!("MSRP t3st SEND\n{to}From-Path: {PEER}\nwrong\n-------t3st$\n");
    let answer = |status: &str, own: &str| {
        format!("MSRP t3st {status}\nTo-Path: {PEER}\nFrom-Path: {own}\n-------t3st$\n")
    };
    for (to, status) in [
        (OWN, "400 Bad Request"),
        (&*foreign, "400 Bad Request"),
        (&*unknown, "481 Session Does Not Exist"),
    ] {
        bench.octets(connection, &wire(&malformed(&format!("To-Path: {to}\n"))));
        assert_eq!(text(&bench.written(connection)), answer(status, to));
    }
    // Without To-Path a session of the connection answers; one without a session is closed.
    bench.octets(connection, &send(OWN));
    bench.written(connection);
    bench.said();
    bench.octets(connection, &wire(&malformed("")));
    assert_eq!(text(&bench.written(connection)), answer("400 Bad Request", OWN));
    let other = bench.accept();
    bench.octets(other, &wire(&malformed("")));
    assert!(bench.written(other).is_empty());
    assert_eq!(bench.said(), [Said::Close(CloseReason::Path)]);
}

// Covers: MSRP-001
#[test]
fn what_has_no_path_to_answer_to_ends_its_connection() {
    let long = vec!["msrp://a.example:7/a;tcp"; 17].join(" ");
    let from = "From-Path: msrp://a.example:7/a;tcp";
    for paths in [
        format!("To-Path: \r\n{from}"),
        format!("To-Path: msrp: relay\r\n{from}"),
        "To-Path: msrp://relay.example:2855;tcp\r\nFrom-Path: somebody".to_owned(),
    ] {
        let mut bench = Bench::new(1);
        let connection = bench.accept();
        let request = format!("MSRP aaaa SEND\r\n{paths}\r\nMessage-ID: 1\r\n-------aaaa$\r\n");
        bench.octets(connection, request.as_bytes());
        assert!(bench.written(connection).is_empty(), "{paths}");
        assert_eq!(bench.said(), [Said::Close(CloseReason::Path)], "{paths}");
    }
    let mut bench = Bench::new(1);
    let connection = bench.accept();
    let to = "msrp://relay.example:2855;tcp";
    let request =
        format!("MSRP aaaa AUTH\r\nTo-Path: {to}\r\nFrom-Path: {long}\r\n-------aaaa$\r\n");
    bench.octets(connection, request.as_bytes());
    assert!(bench.written(connection).is_empty(), "a path longer than is read here");
    assert_eq!(bench.said(), [Said::Close(CloseReason::Path)]);
}
