//! Messages in several chunks and pieces.

use std::time::Duration;

use super::*;
use crate::Continuation;

/// A message of `length` octets of text, and where its content begins.
fn long(from: usize, length: usize) -> (Vec<u8>, usize) {
    let head = cpim(&uri(from), ROOM, "");
    let text: Vec<u8> = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
    ([head.as_bytes(), &text].concat(), head.len())
}

fn range(start: usize, total: usize) -> String {
    format!("{}-*/{total}", start + 1)
}

// Covers: MSRP-066, MSRP-093
#[test]
fn recipients_are_those_of_the_first_chunk() {
    let mut world = World::of(3);
    let (body, content) = long(0, 9000);
    let chunk =
        |from: usize, to: usize, flag| (range(from, body.len()), body[from..to].to_vec(), flag);
    // The headers span two chunks: who comes before the second is there.
    let chunks = [
        chunk(0, content - 20, '+'),
        chunk(content - 20, 4000, '+'),
        chunk(4000, 7000, '+'),
        chunk(7000, body.len(), '$'),
    ];
    let mut late = Vec::new();
    for (number, (range, body, flag)) in chunks.iter().enumerate() {
        let sent = Sent { range, flag: *flag, ..Sent::whole("m", body) };
        assert_eq!(world.chunk(0, &sent)[0].what, "200");
        if number < 3 {
            late.push(world.join(&LegConfig::new(&uri(10 + number))));
        }
        if number == 2 {
            world.node.remove_leg(world.now, world.person(1).session);
        }
    }
    for who in [2, late[0]] {
        let got = reassemble(&world.messages(who));
        assert_eq!(got.len(), 1);
        assert!(got[0].octets == body && got[0].end == Some(Continuation::Last), "{who}");
    }
    for who in [late[1], late[2]] {
        assert_eq!(world.messages(who), []);
    }
    let gone = reassemble(&world.messages(1));
    assert!(gone[0].octets == body[..7000] && gone[0].end.is_none());
    let length = body.len() as u64;
    assert_eq!(world.node.room_counts(world.room).unwrap(), Counts { messages: 1, octets: length });
}

// Covers: MSRP-003, MSRP-093
#[test]
fn a_chunk_is_passed_on_while_it_comes_and_nothing_is_kept() {
    const LENGTH: usize = 4 * 1024 * 1024;
    let mut world = World::of(3);
    let (body, _) = long(0, LENGTH);
    let total = range(0, body.len());
    let octets = world.written(0, &Sent { range: &total, ..Sent::whole("m", &body) });
    let mut got = [Vec::new(), Vec::new()];
    for piece in octets.chunks(16 * 1024) {
        world.feed(0, piece);
        for (who, got) in [1, 2].into_iter().zip(&mut got) {
            // All but what may be the end, and pieces too small for a chunk.
            got.extend(world.octets(who));
        }
        let held: usize = world
            .node
            .roles
            .switch
            .legs
            .iter()
            .flat_map(|(_, leg)| &leg.open)
            .map(|message| message.held.capacity())
            .sum();
        assert!(held < 4096, "{held}");
    }
    assert_eq!(world.take(0)[0].what, "200");
    for got in got {
        let frames = world::frames(&got);
        for frame in frames.iter().filter(|frame| frame.flag == Continuation::More) {
            assert!(frame.body.len() >= 2048 && frame.range.unwrap().end.is_none());
        }
        let whole = reassemble(&frames);
        assert!(whole.len() == 1 && whole[0].octets == body);
    }
}

// Covers: MSRP-003, MSRP-074
#[test]
fn chunks_of_two_senders_interleave_and_stay_whole() {
    let mut world = World::of(3);
    let (one, _) = long(0, 300_000);
    let (two, _) = long(1, 200_000);
    let written = |world: &mut World, who, body: &[u8]| {
        let range = range(0, body.len());
        world.written(who, &Sent { range: &range, ..Sent::whole("same", body) })
    };
    let octets = [written(&mut world, 0, &one), written(&mut world, 1, &two)];
    let mut pieces = [octets[0].chunks(10_000), octets[1].chunks(7_000)];
    let mut more = true;
    while more {
        more = false;
        for (who, pieces) in pieces.iter_mut().enumerate() {
            if let Some(piece) = pieces.next() {
                world.feed(who, piece);
                more = true;
            }
        }
    }
    let frames = world.messages(2);
    let turns = frames.windows(2).filter(|pair| pair[0].message_id != pair[1].message_id).count();
    assert!(turns > 20, "{turns}");
    let whole: Vec<_> = reassemble(&frames).into_iter().map(|whole| whole.octets).collect();
    assert!(whole == [two, one], "the shorter one ended first");
}

// Covers: MSRP-004
#[test]
fn chunks_out_of_order_and_repeated() {
    let mut world = World::of(2);
    let (body, _) = long(0, 9000);
    let mut answers = Vec::new();
    let headers = "Success-Report: yes\r\n";
    for (from, to, flag) in
        [(0, 3000, '+'), (6000, body.len(), '$'), (0, 3000, '+'), (2000, 6000, '+')]
    {
        let range = range(from, body.len());
        let sent = Sent { range: &range, headers, flag, ..Sent::whole("m", &body[from..to]) };
        answers.extend(world.chunk(0, &sent));
    }
    let what: Vec<_> = answers.iter().map(|frame| frame.what.as_str()).collect();
    assert_eq!(what, ["200", "200", "200", "200", "REPORT"]);
    let frames = world.messages(1);
    let mut octets = vec![0; body.len()];
    for frame in &frames {
        let start = frame.range.unwrap().start as usize - 1;
        octets[start..start + frame.body.len()].copy_from_slice(&frame.body);
    }
    assert!(octets == body);
}

// Covers: MSRP-093
#[test]
fn what_has_no_beginning_is_refused() {
    let mut world = World::of(2);
    let (body, _) = long(0, 100);
    let later = Sent { range: "51-*/*", ..Sent::whole("m", &body[50..]) };
    assert_eq!(world.chunk(0, &later)[0].what, "400");
    let first = Sent { flag: '+', ..Sent::whole("m", &body[..40]) };
    assert_eq!(world.chunk(0, &first)[0].what, "200");
    assert_eq!(world.chunk(0, &later)[0].what, "400", "a gap in the headers");
    assert_eq!(world.messages(1), []);
    // What of a refused message is still on its way gets the same answer.
    let bad = cpim(&uri(1), ROOM, &"x".repeat(5000));
    let first = Sent { flag: '+', ..Sent::whole("n", &bad.as_bytes()[..3000]) };
    assert_eq!(world.chunk(0, &first)[0].what, "403");
    let later = Sent { range: "3001-*/*", ..Sent::whole("n", &bad.as_bytes()[3000..]) };
    assert_eq!(world.chunk(0, &later)[0].what, "403");
    assert_eq!(world.messages(1), []);
}

// Covers: MSRP-093
#[test]
fn endless_headers_are_refused_and_dropped() {
    let mut world = World::of(2);
    let mut answer = String::new();
    let line = format!("Subject: {}\r\n", "x".repeat(989));
    for number in 0..20 {
        let range = format!("{}-*/*", number * 1000 + 1);
        let sent = Sent { range: &range, flag: '+', ..Sent::whole("m", line.as_bytes()) };
        answer = world.chunk(0, &sent)[0].what.clone();
        if answer != "200" {
            assert_eq!(number, 16);
            break;
        }
    }
    assert_eq!(answer, "400");
    assert!(world.node.roles.switch.legs.iter().all(|(_, leg)| leg.open.is_empty()));
}

// Covers: MSRP-068
#[test]
fn a_message_that_does_not_go_on_is_aborted() {
    let mut world = World::of(2);
    let (body, _) = long(0, 9000);
    let first = Sent { flag: '+', ..Sent::whole("m", &body[..3000]) };
    assert_eq!(world.chunk(0, &first)[0].what, "200");
    world.pass(Duration::from_secs(539));
    let second = Sent { range: "3001-*/*", flag: '+', ..Sent::whole("m", &body[3000..6000]) };
    assert_eq!(world.chunk(0, &second)[0].what, "200");
    // The second chunk began the time anew.
    world.pass(Duration::from_secs(539));
    assert_eq!(world.messages(1).len(), 2);
    world.pass(Duration::from_secs(1));
    let end = world.messages(1);
    assert_eq!(end.len(), 1);
    assert_eq!((end[0].flag, end[0].body.len()), (Continuation::Abort, 0));
    assert_eq!(end[0].range.unwrap().start, 6001);
    let third = Sent { range: "6001-*/*", ..Sent::whole("m", &body[6000..]) };
    assert_eq!(world.chunk(0, &third)[0].what, "400");
    // It may come again from its beginning.
    assert_eq!(world.chunk(0, &Sent::whole("m", &body))[0].what, "200");
    assert!(reassemble(&world.messages(1))[0].octets == body);
}

// Covers: MSRP-009
#[test]
fn an_abort_of_the_sender_is_passed_on() {
    let mut world = World::of(2);
    let (body, _) = long(0, 9000);
    let first = Sent { flag: '+', ..Sent::whole("m", &body[..3000]) };
    world.chunk(0, &first);
    let second = Sent { range: "3001-*/*", flag: '#', ..Sent::whole("m", &body[3000..4000]) };
    assert_eq!(world.chunk(0, &second)[0].what, "200");
    let got = reassemble(&world.messages(1));
    assert!(got[0].octets == body[..4000] && got[0].end == Some(Continuation::Abort));
    // Before its headers are there, nobody knows of it.
    let begun = Sent { flag: '#', ..Sent::whole("n", &body[..30]) };
    assert_eq!(world.chunk(0, &begun)[0].what, "200");
    assert_eq!(world.messages(1), []);
    assert_eq!(world.node.room_counts(world.room).unwrap().messages, 0);
}

// Covers: MSRP-009
#[test]
fn a_recipient_can_stop_a_message() {
    for (code, ends) in [(413, false), (400, true)] {
        let mut world = World::of(3);
        let (body, _) = long(0, 9000);
        let first = Sent { flag: '+', ..Sent::whole("m", &body[..3000]) };
        world.chunk(0, &first);
        assert_eq!(world.answer(1, code).len(), 1);
        let ended = world.messages(1);
        assert_eq!(ended.len(), usize::from(ends), "{code}");
        assert!(ended.iter().all(|frame| frame.flag == Continuation::Abort));
        let second = Sent { range: "3001-*/*", ..Sent::whole("m", &body[3000..]) };
        assert_eq!(world.chunk(0, &second)[0].what, "200");
        assert_eq!(world.messages(1), [], "{code}");
        assert!(reassemble(&world.messages(2))[0].octets == body);
    }
}

// Covers: MSRP-069
#[test]
fn a_long_message_of_an_anonymous_participant_is_shifted() {
    let mut world = World::new(|_| {});
    let mut config = LegConfig::new(&uri(0));
    let pseudonym = "sip:a@anonymous.invalid";
    config.pseudonym = Some(pseudonym.to_owned());
    config.anonymous = true;
    world.join(&config);
    world.join(&LegConfig::new(&uri(1)));
    let text = "x".repeat(9000);
    let named = cpim(&uri(0), ROOM, &text).replace("From: <", "From: \"P Zero\" <");
    let bare = cpim(pseudonym, ROOM, &text);
    for cut in [10, 60, 200, 3000] {
        let id = format!("m{cut}");
        // The sender repeats its first chunk.
        for (from, to, flag) in [(0, cut, '+'), (0, cut, '+'), (cut, named.len(), '$')] {
            let range = range(from, named.len());
            let sent =
                Sent { range: &range, flag, ..Sent::whole(&id, &named.as_bytes()[from..to]) };
            let answer = world.chunk(0, &sent)[0].what.clone();
            if from == 0 && answer == "400" {
                // The headers were not complete, and so it cannot be repeated.
                break;
            }
            assert_eq!(answer, "200");
        }
        let frames = world.messages(1);
        for frame in &frames {
            assert_eq!(frame.range.unwrap().total, Some(bare.len() as u64));
            let named = memchr::memmem::find(&frame.body, b"Zero");
            assert_eq!(named, None);
        }
        let whole = reassemble(&frames);
        if cut >= 200 {
            assert_eq!(String::from_utf8(whole[0].octets.clone()).unwrap(), bare, "{cut}");
        }
    }
}

#[test]
fn so_many_messages_may_be_open() {
    let mut world = World::of(2);
    let max = SwitchConfig::default().open_messages_max;
    let (body, _) = long(0, 9000);
    for number in 0..=max {
        let id = number.to_string();
        let first = Sent { flag: '+', ..Sent::whole(&id, &body[..3000]) };
        let code = if number < max { "200" } else { "413" };
        assert_eq!(world.chunk(0, &first)[0].what, code);
    }
    let second = Sent { range: "3001-*/*", ..Sent::whole("0", &body[3000..]) };
    assert_eq!(world.chunk(0, &second)[0].what, "200");
    // Gaps are bounded too.
    let mut answer = String::new();
    for gap in 0..=crate::RANGES_MAX {
        let range = format!("{}-*/*", 4000 + 3 * gap);
        let sent = Sent { range: &range, flag: '+', ..Sent::whole("1", b"x") };
        answer = world.chunk(0, &sent)[0].what.clone();
        if answer != "200" {
            break;
        }
    }
    assert_eq!(answer, "413");
}

// Covers: MSRP-004
#[test]
fn a_total_that_is_too_small_is_not_passed_on() {
    let mut world = World::of(2);
    let (body, _) = long(0, 5000);
    let whole = Sent { range: "1-*/100", ..Sent::whole("1", &body) };
    assert_eq!(world.chunk(0, &whole)[0].what, "200");
    for (from, to, flag) in [(0, 3000, '+'), (3000, body.len(), '$')] {
        let range = format!("{}-*/3001", from + 1);
        let sent = Sent { range: &range, flag, ..Sent::whole("2", &body[from..to]) };
        assert_eq!(world.chunk(0, &sent)[0].what, "200");
    }
    let frames = world.messages(1);
    let totals: Vec<_> = frames.iter().map(|frame| frame.range.unwrap().total).collect();
    assert_eq!(totals, [None, Some(3001), None]);
    assert!(reassemble(&frames).iter().all(|whole| whole.octets == body));
}
