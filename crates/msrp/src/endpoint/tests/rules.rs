//! What may be sent, what is taken, and what nobody should be able to break.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tests::{accepts, peer};
use crate::{Node, NodeConfig, Output};

/// What happens to a message of this type with this content.
#[track_caller]
fn sends(bob: &mut Bob, change: impl FnOnce(&mut Message)) -> Result<MessageKey, SendError> {
    let mut message = Message::new("text/plain", Bytes::from_static(b"x"));
    change(&mut message);
    bob.bench.node.send(bob.bench.now, bob.session, message)
}

// Covers: MSRP-080
#[test]
fn only_what_the_peer_takes_is_sent() {
    let mut bob = Bob::new();
    let peer = Accepts {
        types: "message/cpim text/*".parse().unwrap(),
        wrapped: "image/png".parse().unwrap(),
        octets_max: Some(4),
    };
    assert!(peer.prefers_cpim());
    assert!(!accepts("text/plain message/cpim").prefers_cpim());
    bob.bench.node.set_peer_accepts(bob.bench.now, bob.session, Arc::new(peer));
    assert!(sends(&mut bob, |_| {}).is_ok());
    assert!(sends(&mut bob, |it| it.content_type = "Text/html;charset=utf-8".into()).is_ok());
    let refused = sends(&mut bob, |it| it.content_type = "image/png".into());
    assert_eq!(refused, Err(SendError::Type), "only inside a container");
    let container = |inner: &str| {
        let inner = inner.into();
        move |it: &mut Message| {
            it.content_type = "text/x-container".into();
            it.wrapped_type = Some(inner);
        }
    };
    assert!(sends(&mut bob, container("image/png")).is_ok());
    assert!(sends(&mut bob, container("text/plain")).is_ok());
    assert_eq!(sends(&mut bob, container("video/h264")), Err(SendError::Type));
    let long = sends(&mut bob, |it| it.body = Body::Whole(Bytes::from_static(b"12345")));
    assert_eq!(long, Err(SendError::Long));
    let long = sends(&mut bob, |it| it.body = Body::Pulled { total: Some(5) });
    assert_eq!(long, Err(SendError::Long));
    // One whose length is not known shows it later.
    let key = sends(&mut bob, |it| it.body = Body::Pulled { total: None }).unwrap();
    bob.bench.events();
    bob.bench.node.supply(bob.bench.now, bob.session, key, Bytes::from_static(b"12345"), true);
    let why = Failure::Code(413);
    let failed = Event::Failed { session: bob.session, message: key, why };
    assert_eq!(bob.bench.events(), [failed]);
}

// Covers: MSRP-084
#[test]
fn content_is_described_as_msrp_has_it() {
    let mut bob = Bob::new();
    bob.bind();
    let header = |line: &str| {
        let line = line.replace('\n', "\r\n").into_bytes();
        move |it: &mut Message| it.headers = line.into()
    };
    for line in [
        "Content-Transfer-Encoding: base64\n",
        "content-type: a/b\n",
        "Message-ID: 1\n",
        "Content-Disposition: render",
        "Content-Disposition\n",
        "Content-\nX: y\n",
    ] {
        assert_eq!(sends(&mut bob, header(line)), Err(SendError::Header), "{line}");
    }
    for id in ["", "abc", "a b c d", "line\r\nbreak"] {
        let sent = sends(&mut bob, |it| it.message_id = Some(id.into()));
        assert_eq!(sent, Err(SendError::Header), "{id}");
    }
    assert!(sends(&mut bob, header("Content-Disposition: notification\n")).is_ok());
    let (written, _) = bob.written();
    let fields = "Content-Disposition: notification\nContent-Type: text/plain\n\nx\n";
    assert!(written.contains(fields), "{written}");

    let cpim = |text: &str| {
        let body = Body::Whole(wire(text).into());
        move |it: &mut Message| (it.content_type, it.body) = ("message/cpim".into(), body)
    };
    let content = "\nContent-Type: text/plain\n\nhello";
    let (from, to) = ("From: <im:a@x>\n", "To: <im:b@x>\n");
    assert!(sends(&mut bob, cpim(&format!("{from}{to}{content}"))).is_ok());
    assert!(sends(&mut bob, cpim(&format!("{from}{to}{to}{content}"))).is_ok());
    for headers in [from.to_owned(), to.to_owned(), format!("{from}{from}{to}")] {
        let sent = sends(&mut bob, cpim(&format!("{headers}{content}")));
        assert_eq!(sent, Err(SendError::Cpim), "{headers}");
    }
}

// Covers: MSRP-084
#[test]
fn a_wrapped_message_has_its_headers_in_the_first_chunk_and_its_type_in_all() {
    let mut bob = Bob::new();
    bob.bind();
    let text = format!(
        "From: <im:a@x>\nTo: <im:b@x>\n\nContent-Type: text/plain\n\n{}",
        "x".repeat(3 * crate::CHUNK_OCTETS_MAX)
    );
    let mut message = Message::new("message/cpim", wire(&text).into());
    message.wrapped_type = Some("text/plain".into());
    bob.sends(message);
    let (written, ids) = bob.written();
    assert_eq!(ids.len(), 4);
    assert_eq!(written.matches("Content-Type: message/cpim\n\n").count(), 4);
    assert_eq!(written.matches("From: <im:a@x>\n").count(), 1);
}

// Covers: MSRP-015
#[test]
fn containers_and_what_we_say_are_taken() {
    for (content_type, taken) in [
        ("text/plain", true),
        ("text/plain; charset=utf-8", true),
        ("Image/PNG", true),
        ("message/CPIM", true),
        ("multipart/mixed; boundary=b", true),
        ("multipart/alternative;boundary=b", true),
        ("multipart/signed", true),
        ("multipart/digest", false),
        ("text/html", false),
        ("nonsense", false),
    ] {
        let mut bob = Bob::new();
        let request = chunk("typ3", "m", "1-1/1", "x", '$').replace("text/plain", content_type);
        let written = bob.hears(&request);
        let status = if taken { "200 OK" } else { "415 Unsupported Media Type" };
        assert_eq!(written, Bob::response("typ3", status), "{content_type}");
    }
}

// Covers: MSRP-019
#[test]
fn who_is_typing_is_told_from_what_is_said() {
    let typing = |content_type: &str| {
        Description {
            message_id: Box::default(),
            content_type: content_type.into(),
            headers: Box::default(),
            success_report: false,
        }
        .is_composing()
    };
    assert!(typing("application/im-iscomposing+xml"));
    assert!(typing("Application/IM-isComposing+xml; charset=utf-8"));
    assert!(!typing("application/im-iscomposing"));
    assert!(!typing("text/plain"));
}

// Covers: MSRP-083
#[test]
fn the_application_reports_what_became_of_a_message() {
    let mut bob = Bob::with(|config| config.success_reports = SuccessReports::ByApplication);
    bob.bind();
    let request =
        chunk("t1me", "m", "1-4/4", "once", '$').replace("Byte", "Success-Report: yes\nByte");
    assert_eq!(bob.hears(&request), Bob::response("t1me", "200 OK"), "no REPORT yet");
    assert!(matches!(&bob.bench.events()[..], [Event::Received { .. }]));
    bob.hears(&request);
    let repeated = Event::Repeated { session: bob.session, message_id: b"m"[..].into() };
    assert_eq!(bob.bench.events(), [repeated]);
    let range = ByteRange::parse(b"1-4/4").ok();
    for (code, status) in [(200, "000 200 OK"), (403, "000 403 Forbidden"), (599, "000 599")] {
        bob.bench.node.report(bob.bench.now, bob.session, b"m", range, code);
        let (written, ids) = bob.written();
        let expected = format!(
            "MSRP {0} REPORT\nTo-Path: {ALICE}\nFrom-Path: {BOB}\nMessage-ID: m\n\
             Byte-Range: 1-4/4\nStatus: {status}\n-------{0}$\n",
            ids[0]
        );
        assert_eq!(written, expected);
    }
    bob.bench.node.end_endpoint(bob.bench.now, bob.session);
    bob.bench.node.report(bob.bench.now, bob.session, b"m", range, 200);
    assert_eq!(bob.written().0, "", "none for a session that has ended");
}

// Covers: MSRP-018
#[test]
fn what_waits_to_be_sent_has_a_limit() {
    let mut bob = Bob::new();
    let half = Bytes::from(vec![0; QUEUED_OCTETS_MAX / 2]);
    let body = |octets: &Bytes| {
        let body = Body::Whole(octets.clone());
        move |it: &mut Message| it.body = body
    };
    assert!(sends(&mut bob, body(&half)).is_ok());
    assert!(sends(&mut bob, body(&half)).is_ok());
    assert_eq!(sends(&mut bob, |_| {}), Err(SendError::Full));
    let mut bob = Bob::new();
    let more = Bytes::from(vec![0; QUEUED_OCTETS_MAX + 1]);
    assert!(sends(&mut bob, body(&more)).is_ok(), "one alone");
    let mut bob = Bob::new();
    for _ in 0..MESSAGES_MAX {
        assert!(sends(&mut bob, |_| {}).is_ok());
    }
    assert_eq!(sends(&mut bob, |_| {}), Err(SendError::Full));
    let written = bob.hears("MSRP b1nd SEND\nFailure-Report: no\n-------b1nd$\n");
    bob.answered(written.split(' ').nth(1).unwrap(), "200 OK");
    assert!(sends(&mut bob, |_| {}).is_ok());
}

/// Chunks of messages that are cut anywhere, repeated, and in any order.
fn arbitrary_chunks() -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
    let chunk = (0..3_u8, 0..40_usize, 0..20_usize);
    prop::collection::vec(chunk, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Covers: MSRP-004
    #[test]
    fn a_message_is_delivered_once_and_as_it_was(
        chunks in arbitrary_chunks().prop_shuffle(),
        pieces: bool,
        cut in 1_usize..600,
    ) {
        let whole: Vec<u8> = (b'a'..=b'z').cycle().take(60).collect();
        let whole = String::from_utf8(whole).unwrap();
        let delivery = if pieces { Delivery::Pieces } else { Delivery::Whole };
        let mut bob = Bob::with(|config| config.delivery = delivery);
        bob.bind();
        let mut octets = Vec::new();
        let mut add = |message: u8, start: usize, body: &str, flag| {
            let (id, range) = (format!("mess{message}"), format!("{}-*/60", start + 1));
            let text = chunk("chnk", &id, &range, body, flag);
            let (line, rest) = text.split_once('\n').unwrap();
            let text = format!("{line}\nTo-Path: {BOB}\nFrom-Path: {ALICE}\n{rest}");
            octets.extend(wire(&text));
        };
        for (message, start, length) in chunks {
            add(message, start, &whole[start..start + length], '+');
        }
        // Then what is missing, the end first.
        for message in 0..3 {
            add(message, 50, &whole[50..], '$');
            add(message, 0, &whole[..51], '+');
        }
        for piece in octets.chunks(cut) {
            bob.bench.octets(bob.connection, piece);
        }
        let mut put: BTreeMap<MessageKey, Vec<u8>> = BTreeMap::new();
        let mut bodies = Vec::new();
        for event in bob.bench.events() {
            match event {
                Event::Received { body, .. } => bodies.push(body),
                Event::Begun { message, .. } => drop(put.insert(message, vec![0; 60])),
                Event::Piece { message, position, octets, .. } => {
                    let place = &mut put.get_mut(&message).unwrap()[position as usize..];
                    place[..octets.len()].copy_from_slice(&octets);
                }
                Event::Completed { message, length: 60, .. } => {
                    bodies.push(put.remove(&message).unwrap().into());
                }
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(bodies, vec![Bytes::from(whole); 3]);
        prop_assert!(put.is_empty());
        let written = text(&bob.bench.written(bob.connection));
        prop_assert!(!written.contains(" 4"), "{written}");
    }

    #[test]
    fn nothing_that_comes_can_break_a_node(
        edits in prop::collection::vec((0_usize..2000, any::<u8>(), 0..4_u8), 0..8),
        cut in 1_usize..300,
    ) {
        let mut bob = Bob::new();
        bob.sends(Message::new("text/plain", Bytes::from_static(b"hello")));
        let mut octets = Vec::new();
        for (range, flag) in [("1-*/9", '+'), ("4-9/9", '$'), ("2-5/*", '#')] {
            let text = chunk("chnk", "m", range, "abcd-------chnk", flag);
            let (line, rest) = text.split_once('\n').unwrap();
            octets.extend(wire(&format!("{line}\nTo-Path: {BOB}\nFrom-Path: {ALICE}\n{rest}")));
            octets.extend(wire(&format!(
                "MSRP r3port REPORT\nTo-Path: {BOB}\nFrom-Path: {ALICE}\nMessage-ID: m\n\
                 Byte-Range: 1-5/5\nStatus: 000 408 Timeout\n-------r3port$\n\
                 MSRP 00000000000000 200 OK\nTo-Path: {BOB}\nFrom-Path: {ALICE}\n\
                 -------00000000000000$\n"
            )));
        }
        for (at, octet, kind) in edits {
            let at = at % octets.len();
            match kind {
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                2 => drop(octets.remove(at)),
                _ => octets.extend_from_within(at..),
            }
        }
        for piece in octets.chunks(cut) {
            bob.bench.octets(bob.connection, piece);
        }
        bob.bench.wait(Duration::from_secs(600));
        bob.bench.input(Input::Lost { connection: bob.connection });
        prop_assert_eq!(bob.bench.node.load().0, 0);
    }
}

// Covers: MSRP-018
#[test]
fn a_large_message_goes_through_in_little_memory() {
    const OCTETS: usize = 64 * 1024 * 1024;
    let mut pair = Pair::new(9, 64 * 1024);
    let [one, _] = pair.endpoints(|config| config.delivery = Delivery::Pieces);
    let bench = &mut pair.sides[0];
    let mut message = Message::new("image/png", Bytes::new());
    message.body = Body::Pulled { total: Some(OCTETS as u64) };
    let key = bench.node.send(bench.now, one, message).unwrap();
    let piece = Bytes::from(vec![7; 64 * 1024]);
    let (mut supplied, mut came, mut most) = (0, 0, 0);
    let mut complete = false;
    while !complete {
        let bench = &mut pair.sides[0];
        for event in bench.events() {
            if matches!(event, Event::Wanted { .. }) {
                supplied += piece.len();
                bench.node.supply(bench.now, one, key, piece.clone(), supplied == OCTETS);
            }
        }
        let waits = bench.node.outbound(pair.connections[0]).unwrap().pinned();
        most = most.max(waits + (supplied - came));
        pair.carry(0);
        pair.carry(1);
        pair.log = [Vec::new(), Vec::new()];
        for event in pair.sides[1].events() {
            match event {
                Event::Piece { octets, .. } => came += octets.len(),
                Event::Completed { length, .. } => complete = length == OCTETS as u64,
                Event::Begun { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((supplied, came), (OCTETS, OCTETS));
    assert!(most < 512 * 1024, "{most}");
    pair.run();
    assert_eq!(pair.sides[0].events(), [Event::Sent { session: one, message: key }]);
}

#[test]
fn a_paused_session_is_not_read_from() {
    let mut bob = Bob::new();
    bob.bind();
    bob.bench.node.pause(bob.bench.now, bob.session);
    bob.bench.node.pause(bob.bench.now, bob.session);
    assert_eq!(bob.bench.said(), [Said::Pause]);
    bob.bench.node.resume(bob.bench.now, bob.session);
    assert_eq!(bob.bench.said(), []);
    bob.bench.node.resume(bob.bench.now, bob.session);
    assert_eq!(bob.bench.said(), [Said::Resume]);
}

#[test]
fn a_node_has_nothing_to_do_by_itself() {
    let now = crate::test_epoch();
    let mut node = Node::new(0, 1, now, NodeConfig::default(), Box::new(crate::seeded(1)));
    assert_eq!(node.poll_timeout(), None);
    node.handle_input(now, Input::Timeout);
    assert!(node.poll_output().is_none());
    let connection = node.accept(now, peer());
    assert_eq!(node.poll_timeout(), Some(now + Duration::from_secs(30)));
    node.handle_input(now, Input::Lost { connection });
    node.handle_input(now, Input::Lost { connection });
    assert!(!matches!(node.poll_output(), Some(Output::Close(..))));
}

/// Bob, whose application answers what completes a message.
fn answering() -> Bob {
    let mut bob = Bob::with(|config| config.last_answer = LastAnswer::ByApplication);
    bob.bind();
    bob
}

// Covers: DF-005
#[test]
fn the_application_answers_the_last_chunk() {
    let mut bob = answering();
    let first = bob.hears(&chunk("aaa1", "m1", "1-3/6", "one", '+'));
    assert_eq!(first, Bob::response("aaa1", "200 OK"), "earlier chunks at once");
    assert_eq!(bob.hears(&chunk("aaa2", "m1", "4-6/6", "two", '$')), "");
    let [Said::Endpoint(Event::Received { body, .. })] = &bob.bench.said()[..] else { panic!() };
    assert_eq!(&body[..], b"onetwo");
    bob.bench.node.answer(bob.bench.now, bob.session, b"m1", 200);
    let answered = text(&bob.bench.written(bob.connection));
    assert_eq!(answered, Bob::response("aaa2", "200 OK"));
    bob.bench.node.answer(bob.bench.now, bob.session, b"m1", 200);
    assert_eq!(text(&bob.bench.written(bob.connection)), "", "once");
    let again = bob.hears(&chunk("aaa3", "m1", "1-6/6", "onetwo", '$'));
    assert_eq!(again, Bob::response("aaa3", "200 OK"), "it has come");
    assert!(bob.bench.said().is_empty());
}

// Covers: DF-005
#[test]
fn what_the_application_refuses_has_not_come() {
    let mut bob = answering();
    for id in ["aaa1", "aaa2"] {
        assert_eq!(bob.hears(&chunk(id, "m1", "1-3/3", "one", '$')), "");
        let [Said::Endpoint(Event::Received { .. })] = &bob.bench.said()[..] else { panic!() };
        let meanwhile = bob.hears(&chunk("zzzz", "m1", "1-3/3", "one", '$'));
        assert!(meanwhile.contains("MSRP zzzz 403"), "{meanwhile}");
        bob.bench.node.answer(bob.bench.now, bob.session, b"m1", 413);
        let answered = text(&bob.bench.written(bob.connection));
        assert!(answered.starts_with(&format!("MSRP {id} 413")), "{answered}");
    }
}

#[test]
fn no_more_wait_for_the_application_than_may() {
    let mut bob = answering();
    for number in 0..PARTIALS_MAX {
        let sent = chunk(&format!("aaa{number}"), &format!("m{number}"), "1-1/1", "x", '$');
        assert_eq!(bob.hears(&sent), "");
    }
    let refused = bob.hears(&chunk("last", "more", "1-1/1", "x", '$'));
    assert!(refused.starts_with("MSRP last 413"), "{refused}");
    let quiet =
        chunk("noo1", "m0", "1-1/1", "x", '$').replace("\n\nx", "\nFailure-Report: no\n\nx");
    bob.bench.node.answer(bob.bench.now, bob.session, b"m0", 200);
    bob.bench.written(bob.connection);
    assert_eq!(bob.hears(&quiet), "", "nobody waits");
}

// Covers: MSRP-006
#[test]
fn a_slow_chunk_is_taken_and_one_that_was_given_up_is_not_answered_200() {
    let incomplete = Duration::from_secs(10);
    for (pause, status, heard) in [(9, "200 OK", true), (10, "413 Stop Sending", false)] {
        let mut bob = Bob::with(|config| config.incomplete = incomplete);
        bob.bind();
        let request = format!(
            "MSRP sl0w SEND\nTo-Path: {BOB}\nFrom-Path: {ALICE}\nMessage-ID: m\n\
             Byte-Range: 1-*/3\nContent-Type: text/plain\n\na"
        );
        for piece in [&request, "b", "c\n-------sl0w$\n"] {
            bob.bench.octets(bob.connection, &wire(piece));
            bob.bench.wait(Duration::from_secs(pause));
        }
        let answered = text(&bob.bench.written(bob.connection));
        assert_eq!(answered, Bob::response("sl0w", status), "{pause} s");
        let events = bob.bench.events();
        let came = matches!(&events[..], [Event::Received { body, .. }] if &**body == b"abc");
        assert_eq!(came, heard, "{events:?}");
    }
}
