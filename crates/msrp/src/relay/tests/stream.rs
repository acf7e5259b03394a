//! Messages that come in pieces, and sinks that are slow.

use proptest::prelude::*;

use super::*;
use crate::header::ByteRange;
use crate::relay::passing::CHUNK_OCTETS_MIN;
use crate::relay::{PairConfig, PairSide};
use crate::{Continuation, FromRule, Marks, Path};

const ALICE: &str = "msrps://alice.example:7965/bar;tcp";
const BOB: &str = "msrps://bob.example:8145/foo;tcp";

/// Alice and Bob, both clients of the relay, and the way from her to him.
struct Pipe {
    world: World,
    alice: ConnectionId,
    bob: ConnectionId,
    to: String,
}

fn pipe(marks: Marks) -> Pipe {
    let config = NodeConfig { marks, ..NodeConfig::default() };
    let mut world = World::with(relay_config(), config, 1);
    let (alice, a) = world.granted(ALICE);
    let (bob, b) = world.granted(BOB);
    Pipe { world, alice, bob, to: format!("{a} {b} {BOB}") }
}

/// A SEND of a whole message.
fn send(to: &str, more: &str, body: &[u8], flag: char) -> Vec<u8> {
    let head = format!(
        "MSRP a001 SEND\r\nTo-Path: {to}\r\nFrom-Path: {ALICE}\r\nMessage-ID: m1\r\n{more}\
         X-Odd: kept\r\nContent-Type: a/b\r\n\r\n"
    );
    [head.as_bytes(), body, format!("\r\n-------a001{flag}\r\n").as_bytes()].concat()
}

#[derive(Debug)]
struct Got {
    id: String,
    method: String,
    range: Option<ByteRange>,
    rest: Vec<u8>,
    body: Vec<u8>,
    end: Continuation,
}

/// The requests in `octets`.
fn requests(octets: &[u8]) -> Vec<Got> {
    let mut framer = Framer::new(Limits::default());
    let (mut at, mut got) = (0, Vec::new());
    while let Some(piece) = framer.next(octets, &mut at) {
        let Piece::Head { head, body, end } = piece else { panic!("{piece:?}") };
        let crate::Start::Request { id, method } = head.start else { continue };
        got.push(Got {
            id: String::from_utf8(id.to_vec()).unwrap(),
            method: String::from_utf8(method.as_bytes().to_vec()).unwrap(),
            range: head.byte_range,
            rest: head.rest.to_vec(),
            body: body.to_vec(),
            end: end.expect("frames are whole"),
        });
    }
    assert_eq!(at, octets.len());
    got
}

/// Octets that look like everything an end-line could be.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = seeded(seed);
    let mut octets = Vec::with_capacity(length + 16);
    while octets.len() < length {
        match random() % 8 {
            0 => octets.extend_from_slice(b"\r\n-------a00"),
            1 => octets.extend_from_slice(b"\r\n-------"),
            2 => octets.push(0),
            _ => octets.extend_from_slice(&random().to_le_bytes()),
        }
    }
    octets.truncate(length);
    octets
}

/// Feeds `octets` in cuts of up to `most`.
fn feed_cut(pipe: &mut Pipe, octets: &[u8], most: usize, seed: u64) {
    let mut random = seeded(seed);
    let mut rest = octets;
    while !rest.is_empty() {
        let cut = 1 + usize::try_from(random()).unwrap() % most;
        let (now, later) = rest.split_at(cut.min(rest.len()));
        pipe.world.feed(pipe.alice, now);
        rest = later;
    }
}

/// Checks that `got` are chunks that make up `message`, in order, each saying what it has.
fn check(got: &[Got], message: &[u8], total: Option<u64>) {
    let whole: Vec<u8> = got.iter().flat_map(|one| one.body.clone()).collect();
    assert!(whole == message, "bit-exact");
    let mut next = 1;
    for (index, one) in got.iter().enumerate() {
        let is_last = index + 1 == got.len();
        assert_eq!(one.end, if is_last { Continuation::Last } else { Continuation::More });
        assert!(is_last || one.body.len() >= CHUNK_OCTETS_MIN, "{index}: {}", one.body.len());
        if got.len() > 1 {
            let end = next - 1 + one.body.len() as u64;
            assert_eq!(one.range, Some(ByteRange { start: next, end: Some(end), total }));
        }
        next += one.body.len() as u64;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    // Covers: MSRP-046
    #[test]
    fn whatever_the_cuts_a_message_arrives_as_it_was_sent(
        length in prop_oneof![0..400_usize, 2000..2100_usize, Just(64 * 1024)],
        most in prop_oneof![1..40_usize, 1..5000_usize, Just(1 << 20)],
        range in 0..4_usize, seed: u64,
    ) {
        let message = noise(length, seed);
        let (more, total) = match range {
            0 => (String::new(), None),
            1 => ("Byte-Range: 1-*/*\r\n".to_owned(), None),
            2 => (format!("Byte-Range: 1-*/{length}\r\n"), Some(length as u64)),
            _ => (format!("Byte-Range: 1-{length}/{length}\r\n"), Some(length as u64)),
        };
        let mut pipe = pipe(Marks::default());
        let octets = send(&pipe.to, &more, &message, '$');
        // Cuts of one octet take long for a long message.
        let most = if length > 10_000 { most.max(500) } else { most };
        feed_cut(&mut pipe, &octets, most, seed);
        let got = requests(&pipe.world.octets(pipe.bob));
        check(&got, &message, total);
        if let [one] = got.as_slice() {
            let rest = format!("Message-ID: m1\r\n{more}X-Odd: kept\r\nContent-Type: a/b\r\n");
            prop_assert_eq!(String::from_utf8(one.rest.clone()).unwrap(), rest, "octet for octet");
        }
        let answer = pipe.world.read(pipe.alice);
        prop_assert_eq!(answer.matches("MSRP a001 200 OK").count(), 1, "one request, one answer");
    }
}

// Covers: MSRP-046
#[test]
fn a_large_message_passes_without_being_stored() {
    let message = noise(1 << 20, 7);
    let mut pipe = pipe(Marks::default());
    let octets = send(&pipe.to, "Byte-Range: 1-*/*\r\n", &message, '$');
    let mut got = Vec::new();
    for part in octets.chunks(16 * 1024) {
        pipe.world.feed(pipe.alice, part);
        got.extend(requests(&pipe.world.octets(pipe.bob)));
        let relay = &pipe.world.node.roles.relay;
        let held: usize = relay.passing.values().map(|passing| passing.held_octets()).sum();
        assert!(held <= CHUNK_OCTETS_MIN, "{held}");
    }
    assert_eq!(got.len(), 65, "one chunk for what is read at a time");
    check(&got, &message, None);
    assert!(pipe.world.node.roles.relay.passing.is_empty());
}

// Covers: MSRP-046
#[test]
fn chunks_of_the_source_stay_apart() {
    let mut pipe = pipe(Marks::default());
    let first = noise(5000, 1);
    let second = noise(300, 2);
    let mut octets = send(&pipe.to, "Byte-Range: 1-*/5300\r\n", &first, '+');
    let other = String::from_utf8(send(&pipe.to, "", b"other", '$')).unwrap();
    octets.extend(other.replace("m1", "m2").bytes());
    octets.extend(send(&pipe.to, "Byte-Range: 5001-5300/5300\r\n", &second, '$'));
    octets.extend(send(&pipe.to, "Byte-Range: 1-*/9\r\n", b"gone", '#'));
    feed_cut(&mut pipe, &octets, 3000, 3);
    let got = requests(&pipe.world.octets(pipe.bob));
    let ends: Vec<_> = got.iter().map(|one| one.end).collect();
    let (last, rest) = ends.split_last().unwrap();
    assert_eq!(*last, Continuation::Abort);
    assert_eq!(rest.iter().filter(|end| **end == Continuation::Last).count(), 2);
    let of_first: Vec<u8> = got
        .iter()
        .filter(|one| !one.rest.starts_with(b"Message-ID: m2"))
        .take(got.len() - 2)
        .flat_map(|one| one.body.clone())
        .collect();
    assert!(of_first == [first, second].concat());
}

// Covers: MSRP-087
#[test]
fn requests_of_other_methods_are_not_cut() {
    let mut pipe = pipe(Marks::default());
    let text = String::from_utf8(send(&pipe.to, "", &[b'x'; 9000], '$')).unwrap();
    let text = text.replace("a001 SEND", "a001 ODD");
    feed_cut(&mut pipe, text.as_bytes(), 3000, 3);
    let got = requests(&pipe.world.octets(pipe.bob));
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].method.as_str(), got[0].body.len()), ("ODD", 9000));
}

// Covers: MSRP-045, MSRP-046
#[test]
fn each_part_is_reported_by_itself() {
    let mut pipe = pipe(Marks::default());
    let message = noise(9000, 1);
    let octets = send(&pipe.to, "Byte-Range: 1-*/9000\r\n", &message, '$');
    let (one, two) = octets.split_at(octets.len() - 4000);
    pipe.world.feed(pipe.alice, one);
    assert_eq!(pipe.world.read(pipe.alice), "", "the end has not come");
    pipe.world.feed(pipe.alice, two);
    pipe.world.octets(pipe.alice);
    let got = requests(&pipe.world.octets(pipe.bob));
    assert_eq!(got.len(), 2);
    let uri = pipe.to.split(' ').nth(1).unwrap().to_owned();
    pipe.world.text(pipe.bob, &response(&got[0].id, "200 OK", &uri, BOB));
    pipe.world.text(pipe.bob, &response(&got[1].id, "413 Odd", &uri, BOB));
    let report = pipe.world.read(pipe.alice);
    let start = got[0].body.len() + 1;
    assert!(report.contains(&format!("Byte-Range: {start}-9000/9000\r\n")), "{report}");
    assert_eq!(report.matches(" REPORT\r\n").count(), 1);
}

// Covers: MSRP-045, MSRP-046
#[test]
fn a_sink_that_is_lost_in_the_middle_of_a_chunk_is_reported_and_the_rest_dropped() {
    let [mut pipe, opened] = [(); 2].map(|()| pipe(Marks::default()));
    let octets = send(&pipe.to, "Byte-Range: 1-*/90000\r\n", &noise(90_000, 1), '$');
    let (one, two) = octets.split_at(40_000);
    pipe.world.feed(pipe.alice, one);
    pipe.world.lose(pipe.bob);
    let report = pipe.world.read(pipe.alice);
    assert!(report.contains("Status: 000 481\r\n"), "{report}");
    pipe.world.feed(pipe.alice, two);
    let answer = pipe.world.read(pipe.alice);
    assert!(answer.contains("a001 200 OK") || answer.contains("a001 481"), "{answer}");
    assert!(pipe.world.node.roles.relay.passing.is_empty());
    // A source that is lost leaves nothing behind.
    let mut other = opened;
    let octets = send(&other.to, "", &noise(90_000, 1), '$');
    other.world.feed(other.alice, &octets[..40_000]);
    assert_eq!(other.world.node.roles.relay.passing.len(), 1);
    other.world.lose(other.alice);
    assert!(other.world.node.roles.relay.passing.is_empty());
}

// Covers: MSRP-046
#[test]
fn a_slow_sink_holds_back_its_sources_in_bounded_memory() {
    let marks = Marks { high: 100_000, low: 20_000 };
    let mut pipe = pipe(marks);
    pipe.world.slow.push(pipe.bob);
    let message = noise(1 << 20, 9);
    let octets = send(&pipe.to, "Byte-Range: 1-*/*\r\n", &message, '$');
    let mut parts = octets.chunks(10_000);
    let mut fed = 0;
    while pipe.world.paused.is_empty() {
        pipe.world.feed(pipe.alice, parts.next().unwrap());
        fed += 1;
    }
    assert_eq!(pipe.world.paused, [pipe.alice]);
    assert!((10..=11).contains(&fed), "a driver stops reading after {fed} reads");
    let waits = pipe.world.node.outbound(pipe.bob).unwrap().pinned();
    assert!(waits <= marks.high + 2 * 10_000, "{waits}");
    // It reads again, and so do we.
    pipe.world.slow.clear();
    pipe.world.flush(pipe.bob);
    pipe.world.drain();
    assert!(pipe.world.paused.is_empty());
    for part in parts {
        pipe.world.feed(pipe.alice, part);
    }
    check(&requests(&pipe.world.octets(pipe.bob)), &message, None);
}

/// A pair of plain sessions, Alice bound.
fn pair(config: PairConfig) -> (World, ConnectionId, String, String) {
    let mut world = World::new();
    let here = address(Scheme::Msrp, "im.example", 1000);
    let pair = world.node.open_pair(world.now, &here, &here, config);
    for (side, path) in [(PairSide::Offerer, ALICE), (PairSide::Answerer, BOB)] {
        let session = world.node.pair_session(pair, side).unwrap();
        world.node.set_peer(world.now, session, Path::new(path.as_bytes()), FromRule::Whole, &[]);
    }
    let alice = world.accept(None);
    let session = world.node.pair_session(pair, PairSide::Offerer).unwrap();
    let own = world.node.uri(session).unwrap().to_string();
    let session = world.node.pair_session(pair, PairSide::Answerer).unwrap();
    let bobs = world.node.uri(session).unwrap().to_string();
    (world, alice, own, bobs)
}

/// Bob connects to `own`; his connection.
fn bob(world: &mut World, own: &str) -> ConnectionId {
    let bob = world.accept(None);
    let lines = format!("To-Path: {own}\nFrom-Path: {BOB}\nMessage-ID: e1");
    world.text(bob, &request("bind", "SEND", &lines, None));
    bob
}

// Covers: MSRP-048
#[test]
fn parts_that_come_early_wait_in_their_order() {
    let (mut world, alice, own, bobs) = pair(PairConfig::default());
    let message = noise(30_000, 4);
    let octets = send(&own, "", &message, '$');
    let (one, two) = octets.split_at(20_000);
    for part in one.chunks(7000) {
        world.feed(alice, part);
    }
    let bob = bob(&mut world, &bobs);
    world.feed(alice, two);
    let got = requests(&world.octets(bob));
    assert!(got.len() > 2);
    check(&got, &message, None);
}

// Covers: MSRP-050
#[test]
fn what_turns_out_to_be_too_large_is_aborted() {
    let config = PairConfig { max_size: Some(25_000), ..PairConfig::default() };
    let (mut world, alice, own, bobs) = pair(config);
    let bob = bob(&mut world, &bobs);
    let octets = send(&own, "Byte-Range: 1-*/*\r\n", &noise(30_000, 4), '$');
    for part in octets.chunks(7000) {
        world.feed(alice, part);
    }
    let answer = world.read(alice);
    assert_eq!(answer.matches("a001 413 Stop Sending").count(), 1, "{answer}");
    let got = requests(&world.octets(bob));
    let (last, rest) = got.split_last().unwrap();
    assert_eq!((last.end, last.body.len()), (Continuation::Abort, 0));
    assert!(rest.iter().all(|one| one.end == Continuation::More));
    let octets: usize = rest.iter().map(|one| one.body.len()).sum();
    assert!(octets <= 25_000 && octets > 14_000, "{octets}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    // Covers: SEC-018
    #[test]
    fn nothing_that_is_sent_makes_it_panic(
        edits in prop::collection::vec((0..4_usize, any::<prop::sample::Index>(), any::<u8>()), 0..12),
        most in 1..4000_usize, seed: u64,
    ) {
        let mut pipe = pipe(Marks::default());
        let own = pipe.to.split(' ').next().unwrap().to_owned();
        let lines = format!("To-Path: {}\nFrom-Path: {ALICE}", pipe.to);
        let mut octets = send(&pipe.to, "Byte-Range: 1-*/*\r\n", &noise(5000, seed), '+');
        octets.extend(request("a002", "REPORT", &lines, None).bytes());
        octets.extend(request("a003", "NICKNAME", &lines, None).bytes());
        octets.extend(request("a004", "AUTH", &format!("To-Path: {own}\nFrom-Path: {ALICE}"), None).bytes());
        octets.extend(send(&pipe.to, "Byte-Range: 5001-*/*\r\n", b"last", '$'));
        for (kind, index, octet) in edits {
            // One octet always stays.
            let at = index.index(octets.len());
            match kind {
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                2 if octets.len() == 1 => {}
                2 => drop(octets.remove(at)),
                _ => octets.truncate(at.max(1)),
            }
        }
        feed_cut(&mut pipe, &octets, most, seed);
        let passed = pipe.world.octets(pipe.bob);
        // Whole frames leave, whatever came; and what leaves is no more than what came and heads.
        let got = requests(&passed);
        prop_assert!(passed.len() <= octets.len() + 600 * (got.len() + 1));
        pipe.world.lose(pipe.alice);
        pipe.world.pass(Duration::from_secs(31));
    }
}
