//! Endpoints on the wire, and two of them back to back.

mod rules;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::tests::{Bench, Pair, Said, text, wire};
use crate::{ConnectionId, Input, Lost};

const ALICE: &str = "msrp://alicepc.example.com:7777/iau39soe2843z;tcp";
const BOB: &str = "msrp://bob.example.com:8888/9di4eae923wzd;tcp";

/// A node that is Bob, with a connection from Alice.
struct Bob {
    bench: Bench,
    connection: ConnectionId,
    session: SessionKey,
}

impl Bob {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut EndpointConfig)) -> Self {
        let mut bench = Bench::new(1);
        let session = bench.endpoint(BOB, ALICE, change);
        let connection = bench.accept();
        Self { bench, connection, session }
    }

    /// Feeds a request of Alice: her paths stand after the start line. What is written then.
    fn hears(&mut self, request: &str) -> String {
        let (start, rest) = request.split_once('\n').unwrap();
        self.hears_all(&format!("{start}\nTo-Path: {BOB}\nFrom-Path: {ALICE}\n{rest}"))
    }

    /// The same with the paths as they are written.
    fn hears_all(&mut self, request: &str) -> String {
        self.bench.octets(self.connection, &wire(request));
        text(&self.bench.written(self.connection))
    }

    /// The response that Alice gets.
    fn response(id: &str, status: &str) -> String {
        format!("MSRP {id} {status}\nTo-Path: {ALICE}\nFrom-Path: {BOB}\n-------{id}$\n")
    }

    fn bind(&mut self) {
        self.hears("MSRP b1nd SEND\nMessage-ID: 1\nFailure-Report: no\n-------b1nd$\n");
        assert_eq!(self.bench.said(), [Said::Bound]);
    }

    fn sends(&mut self, message: Message) -> MessageKey {
        self.bench.node.send(self.bench.now, self.session, message).unwrap()
    }

    /// What is written, and the transaction identifiers of the requests in it.
    fn written(&mut self) -> (String, Vec<String>) {
        let written = text(&self.bench.written(self.connection));
        let ids = written.lines().filter_map(|line| line.strip_prefix("MSRP "));
        let ids = ids.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect();
        (written, ids)
    }

    /// Alice answers.
    fn answered(&mut self, id: &str, status: &str) {
        let octets =
            format!("MSRP {id} {status}\nTo-Path: {BOB}\nFrom-Path: {ALICE}\n-------{id}$\n");
        self.bench.octets(self.connection, &wire(&octets));
    }
}

fn received(session: SessionKey, id: &str, body: &str) -> Said {
    let range = format!("1-{0}/{0}", body.len());
    let headers = format!("Message-ID: {id}\nByte-Range: {range}\nContent-Type: text/plain\n");
    Said::Endpoint(Event::Received {
        session,
        description: Description {
            message_id: id.as_bytes().into(),
            content_type: "text/plain".into(),
            headers: wire(&headers).into(),
            success_report: false,
        },
        body: Bytes::copy_from_slice(body.as_bytes()),
    })
}

/// A request with one chunk of a message of Alice.
fn chunk(id: &str, message: &str, range: &str, body: &str, flag: char) -> String {
    format!(
        "MSRP {id} SEND\nMessage-ID: {message}\nByte-Range: {range}\nContent-Type: text/plain\n\n\
         {body}\n-------{id}{flag}\n"
    )
}

// Covers: MSRP-006
#[test]
fn the_basic_session_of_rfc_4975_section_11_1() {
    let mut bob = Bob::new();
    let written = bob.hears(&chunk("d93kswow", "12339sdqwer", "1-14/14", "Hi, I'm Alice!", '$'));
    assert_eq!(written, Bob::response("d93kswow", "200 OK"));
    let heard = received(bob.session, "12339sdqwer", "Hi, I'm Alice!");
    assert_eq!(bob.bench.said(), [Said::Bound, heard]);

    let mut message = Message::new("text/plain", Bytes::from_static(b"Hi, Alice!  I'm Bob!"));
    message.message_id = Some("456s9wlk3".into());
    let key = bob.sends(message);
    let (written, ids) = bob.written();
    let id = &ids[0];
    assert_eq!(
        written,
        format!(
            "MSRP {id} SEND\nTo-Path: {ALICE}\nFrom-Path: {BOB}\nMessage-ID: 456s9wlk3\n\
             Byte-Range: 1-20/20\nContent-Type: text/plain\n\nHi, Alice!  I'm Bob!\n-------{id}$\n"
        )
    );
    assert_eq!(bob.bench.said(), []);
    bob.answered(id, "200 OK");
    assert_eq!(bob.bench.events(), [Event::Sent { session: bob.session, message: key }]);
    bob.bench.node.end_endpoint(bob.bench.now, bob.session);
    let late = bob.hears(&chunk("l4te", "2", "1-1/1", "x", '$'));
    assert_eq!(late, Bob::response("l4te", "481 Session Does Not Exist"));
}

// Covers: MSRP-006, MSRP-014, MSRP-017, MSRP-080, MSRP-081, MSRP-082, MSRP-085
#[test]
fn refusals() {
    const OTHER: &str = "msrp://carol.example.com:9/xyz;tcp";
    let send = |to: &str, from: &str, rest: &str| {
        format!("MSRP t3st SEND\nTo-Path: {to}\nFrom-Path: {from}\n{rest}\n-------t3st$\n")
    };
    let body = "Message-ID: m\nContent-Type: text/plain\n\nx";
    #[rustfmt::skip]
    let table = [
        (send(BOB, ALICE, body), "200 OK"),
        (send(OTHER, ALICE, body), "481 Session Does Not Exist"),
        (send(&format!("{BOB} {OTHER}"), ALICE, body), "481 Session Does Not Exist"),
        (send(BOB, OTHER, body), "481 Session Does Not Exist"),
        (send(BOB, &format!("{ALICE} {OTHER}"), body), "481 Session Does Not Exist"),
        (send(BOB, ALICE, "Message-ID: m\nContent-Type: video/h264\n\nx"), "415 Unsupported Media Type"),
        (send(BOB, ALICE, "Message-ID: m\nContent-Type: multipart/mixed;boundary=b\n\nx"), "200 OK"),
        (send(BOB, ALICE, "Content-Type: text/plain\n\nx"), "400 Bad Request"),
        (send(BOB, ALICE, "Message-ID: m\n\nx"), "400 Bad Request"),
        (send(BOB, ALICE, "Message-ID: m\nByte-Range: 0-1/1\nContent-Type: text/plain\n\nx"), "400 Bad Request"),
        (send(BOB, ALICE, "Message-ID: m\nByte-Range: 1-*/9999999999\nContent-Type: a/b\n\nx"), "413 Stop Sending"),
        (send(BOB, ALICE, body).replace("SEND", "FETCH"), "501 Unknown Method"),
        (send(OTHER, ALICE, body).replace("SEND", "FETCH"), "481 Session Does Not Exist"),
        (send(BOB, ALICE, body).replace("SEND", "NICKNAME"), "501 Unknown Method"),
        (send(OTHER, ALICE, "bad header\n\nx"), "481 Session Does Not Exist"),
    ];
    for (request, status) in table {
        let mut bob = Bob::new();
        let written = bob.hears_all(&request);
        let start = written.lines().next().unwrap();
        assert_eq!(start, format!("MSRP t3st {status}"), "{request}");
        // With Failure-Report partial only what is wrong is answered, with no nothing.
        for (value, answered) in [("partial", status != "200 OK"), ("no", false)] {
            let value = format!("Failure-Report: {value}\nMessage-ID");
            let request = request.replacen("Message-ID", &value, 1);
            if request.contains("Failure-Report") {
                let written = Bob::new().hears_all(&request);
                assert_eq!(!written.is_empty(), answered, "{request}");
            }
        }
        // A REPORT is never answered.
        if !request.contains("FETCH") {
            let report = request.replacen(" SEND", " REPORT", 1);
            let written = Bob::new().hears_all(&report.replacen(" NICKNAME", " REPORT", 1));
            assert_eq!(written, "", "{report}");
        }
    }
}

// Covers: MSRP-014
#[test]
fn a_session_stays_on_its_connection() {
    let mut bob = Bob::new();
    bob.bind();
    let other = bob.bench.accept();
    let first = std::mem::replace(&mut bob.connection, other);
    let written = bob.hears(&chunk("el5e", "m", "1-1/1", "x", '$'));
    assert_eq!(written, Bob::response("el5e", "506 Session Bound to Another Connection"));
    bob.bench.input(Input::Lost { connection: first });
    assert_eq!(bob.bench.said(), [Said::Lost(Lost::Connection)]);
    let written = bob.hears(&chunk("el5e", "m", "1-1/1", "x", '$'));
    assert_eq!(written, Bob::response("el5e", "481 Session Does Not Exist"));
}

// Covers: MSRP-004
#[test]
fn chunks_come_in_any_order_and_overlap() {
    let mut bob = Bob::new();
    bob.bind();
    let answered = |bob: &mut Bob, request: &str| {
        assert!(bob.hears(request).contains(" 200 OK"), "{request}");
    };
    answered(&mut bob, &chunk("ch03", "m", "5-8/8", "EFGH", '$'));
    answered(&mut bob, &chunk("ch02", "m", "3-*/8", "xxxx", '+'));
    answered(&mut bob, &chunk("ch05", "n", "1-*/*", "other", '$'));
    answered(&mut bob, &chunk("ch01", "m", "1-*/8", "abcd", '+'));
    let bodies = bob.bench.events().into_iter().map(|event| match event {
        Event::Received { body, .. } => body,
        other => panic!("{other:?}"),
    });
    assert_eq!(bodies.collect::<Vec<_>>(), [&b"other"[..], b"abcdxxGH"]);
}

// Covers: MSRP-077
#[test]
fn no_body_is_no_message_and_an_empty_body_is_one() {
    let mut bob = Bob::new();
    let written = bob.hears("MSRP n0ne SEND\nMessage-ID: m\nByte-Range: 1-0/0\n-------n0ne$\n");
    assert_eq!(written, Bob::response("n0ne", "200 OK"));
    assert_eq!(bob.bench.said(), [Said::Bound]);
    bob.hears(&chunk("empt", "m2", "1-0/0", "", '$'));
    assert_eq!(bob.bench.said(), [received(bob.session, "m2", "")]);
}

// Covers: MSRP-078, MSRP-008
#[test]
fn the_same_message_again_is_answered_and_reported_but_not_delivered() {
    let mut bob = Bob::new();
    bob.bind();
    let request = chunk("t1me", "m", "1-4/4", "once", '$')
        .replace("Byte-Range", "Success-Report: yes\nByte-Range");
    for time in 0..2 {
        let written = bob.hears(&request);
        let (_, id) = written.rsplit_once("\nMSRP ").unwrap();
        let (id, _) = id.split_once(' ').unwrap();
        let report = format!(
            "MSRP {id} REPORT\nTo-Path: {ALICE}\nFrom-Path: {BOB}\nMessage-ID: m\n\
             Byte-Range: 1-4/4\nStatus: 000 200 OK\n-------{id}$\n"
        );
        let response = Bob::response("t1me", "200 OK");
        assert_eq!(written, format!("{response}{report}"));
        assert_eq!(bob.bench.events().len(), 1 - time);
    }
    // Also in the session that replaces this one.
    let (bench, failed) = (&mut bob.bench, bob.session);
    bench.input(Input::Lost { connection: bob.connection });
    bob.session = bench.endpoint(BOB, ALICE, |config| config.replaces = Some(failed));
    bob.connection = bench.accept();
    bench.said();
    assert!(bob.hears(&request).contains("200 OK"));
    assert_eq!(bob.bench.events(), []);
}

// Covers: MSRP-007, MSRP-009
#[test]
fn no_response_for_30_s_is_a_failure_and_only_with_failure_report_yes() {
    for (failure_report, fails) in
        [(FailureReport::Yes, true), (FailureReport::Partial, false), (FailureReport::No, false)]
    {
        let mut bob = Bob::new();
        bob.bind();
        let mut message = Message::new("text/plain", Bytes::from_static(b"x"));
        message.failure_report = failure_report;
        let key = bob.sends(message);
        assert_eq!(bob.written().1.len(), 1);
        let (session, message) = (bob.session, key);
        let sent = Event::Sent { session, message };
        assert_eq!(bob.bench.events(), if fails { vec![] } else { vec![sent] });
        bob.bench.wait(Duration::from_millis(29_999));
        assert_eq!(bob.bench.events(), []);
        bob.bench.wait(Duration::from_millis(1));
        let failed = Event::Failed { session, message, why: Failure::Code(408) };
        assert_eq!(bob.bench.events(), if fails { vec![failed] } else { vec![] });
    }
}

// Covers: MSRP-009
#[test]
fn what_a_response_does() {
    #[rustfmt::skip]
    let table = [
        ("400 Bad Request", "#", None),
        ("403 Forbidden",   "#", None),
        ("408 Timeout",     "#", None),
        ("413 Stop",        "",  None),
        ("415 Type",        "#", None),
        ("481 Unknown",     "#", Some(Lost::Unknown)),
        ("506 Elsewhere",   "#", Some(Lost::Elsewhere)),
        ("501 Method",      "#", None),
    ];
    for (status, ends, lost) in table {
        for report in [false, true] {
            let mut bob = Bob::new();
            bob.bind();
            let size = 1024 * 1024;
            let message = Message::new("text/plain", Bytes::from(vec![b'x'; size]));
            let key = bob.sends(message);
            // No more than the low mark waits, and one chunk.
            let (written, ids) = bob.written();
            assert!(ids.len() < 7 && written.ends_with("+\n"), "{}", ids.len());
            assert_eq!(bob.written().0, "");
            bob.bench.room(bob.connection);
            assert!(bob.written().1.len() > 3, "he goes on as there is room");
            if report {
                let message_id =
                    written.split_once("Message-ID: ").unwrap().1.lines().next().unwrap();
                let code = &status[..3];
                let report = format!(
                    "MSRP r3port REPORT\nMessage-ID: {message_id}\nStatus: 000 {code}\n\
                     -------r3port$\n"
                );
                assert_eq!(bob.hears(&report).matches("SEND").count(), usize::from(ends == "#"));
            } else {
                bob.answered(&ids[0], status);
                let (written, ids) = bob.written();
                assert_eq!(ids.len(), usize::from(ends == "#"), "{status}");
                assert_eq!(written.ends_with("#\n"), ends == "#", "{status}");
            }
            let why = Failure::Code(status[..3].parse().unwrap());
            let failed = Said::Endpoint(Event::Failed { session: bob.session, message: key, why });
            let mut expected = vec![failed];
            expected.extend(lost.map(Said::Lost));
            assert_eq!(bob.bench.said(), expected, "{status}");
            bob.bench.room(bob.connection);
            assert_eq!(bob.written().0, "", "nothing more of it");
            if lost.is_none() {
                let again = Message::new("text/plain; charset=utf-8", Bytes::from_static(b"y"));
                let again = bob.bench.node.send(bob.bench.now, bob.session, again);
                assert_eq!(again == Err(SendError::Type), status.starts_with("415"), "{status}");
            }
        }
    }
}

// Covers: MSRP-009, MSRP-083
#[test]
fn reports() {
    let mut bob = Bob::new();
    bob.bind();
    let mut message = Message::new("text/plain", Bytes::from_static(b"hello"));
    (message.success_report, message.message_id) = (true, Some("mess-1".into()));
    let key = bob.sends(message.clone());
    let (written, ids) = bob.written();
    assert!(written.contains("Success-Report: yes\n"));
    bob.answered(&ids[0], "200 OK");
    let (session, message) = (bob.session, key);
    assert_eq!(bob.bench.events(), [Event::Sent { session, message }]);
    let report = |id: &str, status: &str| {
        format!(
            "MSRP r3port REPORT\nMessage-ID: {id}\nByte-Range: 1-5/5\nStatus: {status}\n\
             -------r3port$\n"
        )
    };
    assert_eq!(bob.hears(&report("mess-2", "000 408 Timeout")), "", "never answered");
    assert_eq!(bob.hears(&report("mess-1", "001 408 Timeout")), "", "another namespace");
    assert_eq!(bob.hears(&report("mess-1", "nonsense")), "");
    assert_eq!(bob.bench.said(), []);
    assert_eq!(bob.hears(&report("mess-1", "000 200 OK")), "");
    let range = ByteRange::parse(b"1-5/5").ok();
    assert_eq!(bob.bench.events(), [Event::Reported { session, message, range }]);
    bob.hears(&report("mess-1", "000 408 Timeout"));
    assert_eq!(bob.bench.said(), [], "it was done with");

    let again = Message::new("text/plain", Bytes::from_static(b"hello"));
    let message = bob.sends(Message { message_id: Some("mess-3".into()), ..again });
    bob.written();
    bob.hears(&report("mess-3", "000 408 Timeout"));
    let why = Failure::Code(408);
    let failed = Said::Endpoint(Event::Failed { session, message, why });
    // RFC 4975 §7.3.2: it MUST treat the session as failed.
    assert_eq!(bob.bench.said(), [failed, Said::Lost(Lost::Unreceived)]);
}

/// Content whose every octet says where it is.
fn content(octets: usize) -> Bytes {
    (0..octets).map(|at| (at / 251 + at) as u8).collect()
}

/// Messages of all sizes, both ways at once, over octets that are cut at random.
fn back_to_back(seed: u64, cut: usize, delivery: Delivery, failure_report: FailureReport) {
    let mut pair = Pair::new(seed, cut);
    let keys = pair.endpoints(|config| config.delivery = delivery);
    let sizes = [0, 1, 2047, 2048, 2049, 64 * 1024, 1024 * 1024];
    let mut sent = [Vec::new(), Vec::new()];
    for (side, key) in keys.into_iter().enumerate() {
        for size in sizes {
            let mut message = Message::new("image/png", content(size));
            message.success_report = true;
            message.failure_report = failure_report;
            let bench = &mut pair.sides[side];
            sent[side].push(bench.node.send(bench.now, key, message).unwrap());
        }
    }
    pair.run();
    for (side, sent) in sent.into_iter().enumerate() {
        let events = pair.sides[side].events();
        let mut bodies = Vec::new();
        let (mut confirmed, mut reported) = (Vec::new(), Vec::new());
        let mut pieces: std::collections::BTreeMap<MessageKey, Vec<u8>> = Default::default();
        for event in events {
            match event {
                Event::Received { body, .. } => bodies.push(body),
                Event::Begun { message, .. } => drop(pieces.insert(message, Vec::new())),
                Event::Piece { message, position, octets, .. } => {
                    let whole = pieces.get_mut(&message).unwrap();
                    assert_eq!(whole.len() as u64, position, "chunks go out in order");
                    whole.extend_from_slice(&octets);
                }
                Event::Completed { message, length, .. } => {
                    let whole = pieces.remove(&message).unwrap();
                    assert_eq!(whole.len() as u64, length);
                    bodies.push(whole.into());
                }
                Event::Sent { message, .. } => confirmed.push(message),
                Event::Reported { message, .. } => reported.push(message),
                other => panic!("{other:?}"),
            }
        }
        bodies.sort_by_key(Bytes::len);
        confirmed.sort();
        reported.sort();
        assert_eq!(bodies.iter().map(Bytes::len).collect::<Vec<_>>(), sizes);
        assert!(bodies.iter().all(|body| *body == content(body.len())));
        assert_eq!(confirmed, sent);
        assert_eq!(reported, sent);
        let bench = &mut pair.sides[side];
        bench.wait(Duration::from_secs(3600));
        assert_eq!(bench.said(), [], "everything was answered");
        check_chunks(&pair.log[side]);
    }
}

/// What RFC 4975 §7.1.1 asks of chunks.
fn check_chunks(log: &[u8]) {
    let mut framer = crate::Framer::new(crate::Limits::default());
    let mut at = 0;
    let mut ends = std::collections::BTreeMap::new();
    while let Some(piece) = framer.next(log, &mut at) {
        let crate::Piece::Head { head, body, end } = piece else { panic!("{piece:?}") };
        if !head.start.is_send() || !head.has_body {
            continue;
        }
        let range = head.byte_range.unwrap();
        let next = ends.entry(head.message_id.unwrap().to_vec()).or_insert(1);
        assert_eq!(range.start, *next, "in order");
        *next += body.len() as u64;
        match range.end {
            Some(end) => assert_eq!(end, *next - 1),
            None => assert!(body.len() > 2048),
        }
        let last = end == Some(crate::Continuation::Last);
        assert!(last || body.len() >= 2048, "not too short");
        assert!(last == (range.total == Some(*next - 1)));
        assert!(body.len() <= crate::CHUNK_OCTETS_MAX);
    }
}

// Covers: MSRP-002, MSRP-003, MSRP-004, MSRP-008, MSRP-026
#[test]
fn every_size_arrives_as_it_was_however_the_octets_are_cut() {
    for (seed, cut) in [(1, 200_000), (2, 3000), (3, 40_000)] {
        back_to_back(seed, cut, Delivery::Whole, FailureReport::Yes);
    }
    back_to_back(4, 5000, Delivery::Pieces, FailureReport::Yes);
    back_to_back(5, 50_000, Delivery::Pieces, FailureReport::Partial);
    back_to_back(6, 50_000, Delivery::Whole, FailureReport::No);
}

// Covers: MSRP-018
#[test]
fn messages_take_turns_and_do_not_wait_for_a_large_one() {
    let mut pair = Pair::new(7, 1000);
    let [one, other] = pair.endpoints(|_| {});
    let bench = &mut pair.sides[0];
    let large = Message::new("image/png", content(1024 * 1024));
    let large = bench.node.send(bench.now, one, large).unwrap();
    let small = Message::new("text/plain", Bytes::from_static(b"quick"));
    bench.node.send(bench.now, one, small).unwrap();
    pair.run();
    let bodies = pair.sides[1].events().into_iter().map(|event| match event {
        Event::Received { body, session, .. } => (session, body.len()),
        other => panic!("{other:?}"),
    });
    assert_eq!(bodies.collect::<Vec<_>>(), [(other, 5), (other, 1024 * 1024)]);
    let small_at = memchr::memmem::find(&pair.log[0], b"quick").unwrap();
    assert!(small_at < 100 * 1024, "behind no more than the low mark: {small_at}");
    assert!(pair.sides[0].events().contains(&Event::Sent { session: one, message: large }));
}

// Covers: MSRP-018, MSRP-003
#[test]
fn a_message_without_end_takes_little_memory_and_can_be_given_up() {
    let mut pair = Pair::new(8, 10_000);
    let [one, _] = pair.endpoints(|config| config.delivery = Delivery::Pieces);
    let bench = &mut pair.sides[0];
    let mut message = Message::new("image/png", Bytes::new());
    message.body = Body::Pulled { total: None };
    let key = bench.node.send(bench.now, one, message).unwrap();
    let (mut supplied, mut came) = (0, 0);
    let mut dropped = false;
    while !dropped {
        let wanted = |event: &Event| matches!(event, Event::Wanted { .. });
        let bench = &mut pair.sides[0];
        if bench.events().iter().any(wanted) {
            if supplied > 3_000_000 {
                bench.node.abort(bench.now, one, key);
            } else {
                let piece = content(40_000);
                supplied += piece.len();
                bench.node.supply(bench.now, one, key, piece, false);
            }
        }
        let waits = bench.node.outbound(pair.connections[0]).unwrap().len();
        assert!(waits < 100_000, "{waits}");
        pair.carry(0);
        pair.carry(1);
        for event in pair.sides[1].events() {
            match event {
                Event::Begun { total: None, .. } => {}
                Event::Piece { octets, .. } => came += octets.len(),
                Event::Dropped { why: Dropped::Aborted, .. } => dropped = true,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(came > 2_900_000 && came <= supplied, "{came} of {supplied}");
}

// Covers: MSRP-002
#[test]
fn an_identifier_that_is_in_the_body_is_not_taken() {
    let mut bob = Bob::new();
    bob.bind();
    let mut drawn = 0;
    bob.bench.node.command(bob.bench.now, |roles| {
        drawn = roles.cx.random();
    });
    let mut random = crate::seeded(1);
    let next = std::iter::from_fn(|| Some(random())).skip_while(|number| *number != drawn).skip(1);
    // Two go into the Message-ID, one into the identifier.
    let taken: Vec<u64> = next.take(4).collect();
    let id = crate::TransactionId::new(0, taken[2], 0).octets();
    let body = [b"-------", &id[..], b"$"].concat();
    bob.sends(Message::new("text/plain", body.into()));
    let (written, ids) = bob.written();
    assert_ne!(ids[0].as_bytes(), id);
    assert_eq!(ids[0].as_bytes(), crate::TransactionId::new(0, taken[3], 0).octets());
    assert!(written.contains(std::str::from_utf8(&id).unwrap()));
}

// Covers: MSRP-085
#[test]
fn what_is_incomplete_has_a_limit_and_a_time() {
    let mut bob = Bob::with(|config| config.held_octets_max = 100);
    bob.bind();
    let mut first = |id: &str, range: &str, body: &str| {
        let written = bob.hears(&chunk("t1me", id, range, body, '+'));
        written.split(' ').nth(2).unwrap().to_owned()
    };
    assert_eq!(first("m0", "1-*/*", &"x".repeat(60)), "200");
    assert_eq!(first("m1", "1-*/*", &"x".repeat(40)), "200");
    assert_eq!(first("m2", "1-*/*", "x"), "413", "too many octets");
    assert_eq!(first("m3", "101-*/*", "x"), "413", "too long");
    assert_eq!(first("m3", "1-*/101", ""), "413", "too long");
    for number in 3..=PARTIALS_MAX {
        assert_eq!(first(&format!("m{number}"), "1-*/*", ""), "200");
    }
    assert_eq!(first("more", "1-*/*", ""), "413", "too many messages");
    bob.bench.events();
    bob.bench.wait(Duration::from_secs(300));
    bob.hears(&chunk("t1me", "m0", "61-*/*", "", '+'));
    bob.bench.wait(Duration::from_secs(240));
    let dropped = bob.bench.events();
    let incomplete =
        |event: &Event| matches!(event, Event::Dropped { why, .. } if *why == Dropped::Incomplete);
    assert_eq!(dropped.iter().filter(|event| incomplete(event)).count(), PARTIALS_MAX - 1);
    bob.hears(&chunk("t1me", "m0", "61-*/*", "", '$'));
    assert!(matches!(&bob.bench.events()[..], [Event::Received { body, .. }] if body.len() == 60));
}
