//! Pairs whose sessions get other URIs.

use parlance_sip::sdp::Fingerprint;

use super::pair::{ALICE, BOB};
use super::*;
use crate::relay::{Name, PairConfig, PairKey, PairSide};
use crate::{FromRule, Lost, Path, SessionKey};

const OFFERER: PairSide = PairSide::Offerer;
const ANSWERER: PairSide = PairSide::Answerer;

/// A pair of which nobody knows anything yet.
struct Lending {
    world: World,
    pair: PairKey,
}

fn opened() -> Lending {
    let mut world = World::new();
    let here = |port| address(Scheme::Msrp, "im.example", port);
    let pair = world.node.open_pair(world.now, &here(1000), &here(2000), PairConfig::default());
    Lending { world, pair }
}

impl Lending {
    /// What goes to `side` is to come from this URI of the other peer.
    fn lend(&mut self, side: PairSide, uri: &str) -> Option<SessionKey> {
        let name = Name::Lent(uri.parse().unwrap());
        self.world.node.open_beside(self.world.now, self.pair, side, name)
    }

    /// It does, and this is the peer.
    fn take(&mut self, side: PairSide, path: &str) -> Option<SessionKey> {
        self.take_with(side, path, &[])
    }

    /// The same of a peer whose certificates are known.
    fn take_with(
        &mut self,
        side: PairSide,
        path: &str,
        shown: &[Fingerprint],
    ) -> Option<SessionKey> {
        let (node, now, path) = (&mut self.world.node, self.world.now, Path::new(path.as_bytes()));
        let taken = node.take_beside(now, self.pair, side, path, FromRule::Rightmost, shown);
        self.world.drain();
        taken
    }

    /// Both sessions are those of peers who know each other's URIs.
    fn unseen(&mut self) {
        self.lend(ANSWERER, ALICE).unwrap();
        self.lend(OFFERER, BOB).unwrap();
        assert!(self.take(ANSWERER, BOB).is_some() && self.take(OFFERER, ALICE).is_some());
    }

    /// Somebody connects and says something to `to` at once.
    fn speaks(&mut self, from: &str, to: &str, text: &str) -> ConnectionId {
        let connection = self.world.accept(None);
        self.world.text(connection, &send("a001", to, from, text));
        connection
    }
}

fn send(id: &str, to: &str, from: &str, body: &str) -> String {
    let lines =
        format!("To-Path: {to}\nFrom-Path: {from}\nMessage-ID: m1\nContent-Type: text/plain");
    request(id, "SEND", &lines, Some(body))
}

// Covers: MSRP-048
#[test]
fn an_unseen_pair_has_the_uris_of_its_peers() {
    let mut it = opened();
    let own = it.world.node.pair_session(it.pair, OFFERER).unwrap();
    it.lend(ANSWERER, ALICE).unwrap();
    // He answers, and is here before his answer is.
    let bob = it.speaks(BOB, ALICE, "first");
    assert_eq!(it.world.read(bob), response("a001", "200 OK", BOB, ALICE));
    let session = it.take(ANSWERER, BOB).unwrap();
    assert_eq!(it.world.node.pair_of(session), Some((it.pair, ANSWERER)));
    it.lend(OFFERER, BOB).unwrap();
    assert!(it.world.node.beside(it.pair, OFFERER).is_some());
    it.take(OFFERER, ALICE).unwrap();
    assert!(it.world.node.uri(own).is_none(), "nobody was told of it");
    // Each writes to the other's URI, and reads what the other wrote.
    let alice = it.speaks(ALICE, BOB, "second");
    let read = it.world.read(alice);
    assert!(read.contains(&response("a001", "200 OK", ALICE, BOB)), "{read}");
    assert!(read.contains(&send("~", ALICE, BOB, "first")), "{read}");
    let read = it.world.read(bob);
    assert!(read.contains(&send("~", BOB, ALICE, "second")), "{read}");
    let counts = it.world.node.end_pair(it.world.now, it.pair).unwrap();
    assert_eq!((counts.offerer.messages, counts.answerer.messages), (1, 1));
    assert_eq!(it.world.node.load().1, 0);
}

// Covers: MSRP-017, MSRP-048
#[test]
fn nobody_but_the_two_peers_gets_in() {
    let carol = "msrp://carol.example:9999/c1;tcp";
    #[rustfmt::skip]
    let table = [
        // from, to,    before they are there, and after
        (carol, BOB,    "481",                 "506"), // another peer
        (carol, ALICE,  "481",                 "506"),
        (BOB,   BOB,    "481",                 "506"), // the peer of the other side
        (ALICE, ALICE,  "481",                 "506"),
        (ALICE, BOB,    "200",                 "506"), // the peer, once
        (ALICE, carol,  "",                    ""),    // the relay of this node ends the connection
    ];
    for (from, to, before, after) in table {
        let starts = |code: &str| match code {
            "" => String::new(),
            code => format!("MSRP a001 {code}"),
        };
        let mut it = opened();
        it.unseen();
        let stranger = it.speaks(from, to, "let me in");
        assert!(it.world.read(stranger).starts_with(&starts(before)), "{from} {to}");
        let mut it = opened();
        it.unseen();
        let (alice, bob) = (it.speaks(ALICE, BOB, "hello"), it.speaks(BOB, ALICE, "hi"));
        it.world.octets(alice);
        it.world.octets(bob);
        let stranger = it.speaks(from, to, "let me in");
        assert!(it.world.read(stranger).starts_with(&starts(after)), "{from} {to}");
        assert_eq!((it.world.read(alice), it.world.read(bob)), (String::new(), String::new()));
    }
}

// Covers: MSRP-017, MSRP-048
#[test]
fn who_was_there_before_the_peer_was_known_is_nobody() {
    let shown = ["sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB"];
    let shown = shown.map(|text| text.parse().unwrap());
    for (from, shown, why) in [
        ("msrp://mallory.example:6666/m1;tcp", &[][..], Lost::Path),
        (BOB, &shown, Lost::Certificate),
    ] {
        let mut it = opened();
        it.lend(ANSWERER, ALICE).unwrap();
        let mallory = it.speaks(from, ALICE, "I am Bob");
        let long = send("a002", ALICE, from, &"x".repeat(8_000));
        it.world.text(mallory, &long[..5_000]);
        it.world.octets(mallory);
        let session = it.take_with(ANSWERER, BOB, shown).unwrap();
        let lost = NodeEvent::Lost { session, why };
        assert!(it.world.events.iter().any(|event| format!("{event:?}") == format!("{lost:?}")));
        it.lend(OFFERER, BOB).unwrap();
        it.take(OFFERER, ALICE).unwrap();
        let alice = it.speaks(ALICE, BOB, "hello?");
        it.world.text(mallory, &long[5_000..]);
        let read = it.world.read(alice);
        assert!(!read.contains("I am Bob") && !read.contains("xxx"), "{read}");
        assert!(!it.world.read(mallory).contains("hello?"));
    }
}

// Covers: MSRP-048
#[test]
fn one_uri_is_of_one_session() {
    let mut it = opened();
    assert!(it.lend(ANSWERER, ALICE).is_some());
    let bob = it.speaks(BOB, ALICE, "hello");
    assert!(it.lend(OFFERER, ALICE).is_none(), "both peers cannot be the same");
    let other = {
        let (now, here) = (it.world.now, address(Scheme::Msrp, "im.example", 1000));
        it.world.node.open_pair(now, &here, &here, PairConfig::default())
    };
    let own = it.world.node.pair_session(other, OFFERER).unwrap();
    let own = it.world.node.uri(own).unwrap().to_string();
    for uri in [ALICE, &own, "msrp://a.example:1;tcp"] {
        let name = Name::Lent(uri.parse().unwrap());
        let opened = it.world.node.open_beside(it.world.now, other, ANSWERER, name);
        assert_eq!(opened, None, "{uri}");
    }
    it.world.lose(bob);
    assert!(it.lend(ANSWERER, ALICE).is_some());
    // Nobody has heard of it yet: another may have it, which the caller answers for.
    let name = Name::Lent(ALICE.parse().unwrap());
    assert!(it.world.node.open_beside(it.world.now, other, ANSWERER, name).is_some());
    assert_eq!(it.world.node.beside(it.pair, ANSWERER), None);
    assert_eq!(it.take(ANSWERER, BOB), None);
    assert_eq!(it.world.node.load().1, 5);
}

// Covers: MSRP-048
#[test]
fn a_session_that_did_not_come_to_be_leaves_the_other_as_it_was() {
    for lost in [false, true] {
        let mut two = pair::open(PairConfig::default());
        let [alice, bob] = two.bound();
        let (now, pair) = (two.world.now, two.pair);
        let name = Name::Lent(ALICE.parse().unwrap());
        two.world.node.open_beside(now, pair, ANSWERER, name).unwrap();
        let again = two.world.accept(None);
        two.world.text(again, &send("b001", ALICE, BOB, "from elsewhere"));
        assert!(two.world.read(again).contains("b001 200 OK"));
        assert!(two.world.read(alice).contains("from elsewhere"));
        match lost {
            true => two.world.lose(again),
            false => two.world.node.end_beside(now, pair, ANSWERER),
        }
        assert_eq!(two.world.node.beside(pair, ANSWERER), None);
        assert_eq!(two.world.node.load().1, 2);
        let text = two.alices_as("a002", "", "still there?");
        two.world.text(alice, &text);
        assert!(two.world.read(bob).contains("still there?"));
    }
}

// Covers: MSRP-048, MSRP-079
#[test]
fn another_uri_is_another_session_for_both() {
    let mut it = opened();
    it.unseen();
    let (alice, bob) = (it.speaks(ALICE, BOB, "hello"), it.speaks(BOB, ALICE, "hi"));
    it.world.octets(alice);
    it.world.octets(bob);
    let moved = "msrp://alice.example:7777/a2;tcp";
    it.lend(ANSWERER, moved).unwrap();
    // Until it is taken, everything goes on.
    it.world.text(alice, &send("a002", BOB, ALICE, "I move"));
    assert!(it.world.read(bob).contains("I move"));
    it.take(ANSWERER, BOB).unwrap();
    let report = it.world.read(alice);
    assert!(report.contains("Status: 000 481"), "what Bob had not answered has failed: {report}");
    it.world.text(bob, &send("b002", ALICE, BOB, "where?"));
    assert!(!it.world.read(bob).contains(" 200 "), "the session is no more");
    it.world.text(alice, &send("a003", BOB, ALICE, "here"));
    it.world.octets(alice);
    let again = it.speaks(BOB, moved, "there you are");
    let read = it.world.read(again);
    assert!(read.contains(&send("~", BOB, moved, "here")), "{read}");
    assert!(it.world.read(alice).contains("there you are"));
    assert_eq!(it.world.node.load().1, 2);
}

// Covers: MSRP-048
#[test]
fn a_message_that_began_before_the_answer_arrives_whole() {
    let mut it = opened();
    it.lend(ANSWERER, ALICE).unwrap();
    let long = send("b001", ALICE, BOB, &format!("{}end", "z".repeat(8_000)));
    let bob = it.world.accept(None);
    it.world.text(bob, &long[..5_000]);
    it.lend(OFFERER, BOB).unwrap();
    it.take(ANSWERER, BOB).unwrap();
    it.take(OFFERER, ALICE).unwrap();
    let alice = it.speaks(ALICE, BOB, "hello");
    it.world.text(bob, &long[5_000..]);
    let read = it.world.read(alice);
    assert!(read.matches('z').count() == 8_000 && read.contains("end\r\n"));
}

// Covers: MSRP-048
#[test]
fn a_side_may_get_a_uri_of_ours_again() {
    let mut it = opened();
    it.unseen();
    let here = Name::Own(address(Scheme::Msrp, "im.example", 1000));
    let session = it.world.node.open_beside(it.world.now, it.pair, ANSWERER, here).unwrap();
    let own = it.world.node.uri(session).unwrap().to_string();
    it.take(ANSWERER, BOB).unwrap();
    let (alice, bob) = (it.speaks(ALICE, BOB, "hello"), it.speaks(BOB, &own, "hi"));
    assert!(it.world.read(alice).contains(&send("~", ALICE, BOB, "hi")));
    assert!(it.world.read(bob).contains(&send("~", BOB, &own, "hello")));
}
