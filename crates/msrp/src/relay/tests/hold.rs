//! A side of a pair that is held.

use super::pair::{ALICE, BOB, Two, open};
use super::*;
use crate::HoldLimits;
use crate::relay::{PairConfig, PairSide};

/// A pair of which Bob's side is held.
fn held(limits: HoldLimits) -> (Two, [ConnectionId; 2]) {
    let mut two = open(PairConfig::default());
    let connections = two.bound();
    two.world.node.hold_pair(two.world.now, two.pair, PairSide::Answerer, limits);
    (two, connections)
}

impl Two {
    fn release(&mut self) {
        self.world.node.release_pair(self.world.now, self.pair, PairSide::Answerer);
        self.world.drain();
    }

    /// Alice sends message `id`; the REPORTs she gets.
    fn says(&mut self, alice: ConnectionId, id: &str, range: &str, body: &str) -> String {
        let text = self.alices_as(id, range, body).replace(": m1", &format!(": m{id}"));
        let flag = if range.contains("/*") { '+' } else { '$' };
        self.world.text(alice, &text.replace(&format!("{id}$"), &format!("{id}{flag}")));
        let read = self.world.read(alice);
        let ok = response(id, "200 OK", ALICE, &self.own[0]);
        assert!(read.ends_with(&ok), "it was received: {read}");
        read.replace(&ok, "")
    }
}

/// The bodies in what was read, in order.
fn bodies(read: &str) -> Vec<&str> {
    let of = |message: &'_ str| -> Option<(usize, usize)> {
        let start = message.find("\r\n\r\n")? + 4;
        Some((start, message.find("\r\n-------")?))
    };
    let messages = read.split("MSRP ").filter(|text| text.contains(" SEND\r\n"));
    messages.filter_map(|text| of(text).and_then(|(from, to)| text.get(from..to))).collect()
}

// Covers: PF-072, PF-073
#[test]
fn what_is_held_waits_and_then_leaves_in_its_order() {
    let (mut two, [alice, bob]) = held(HoldLimits::default());
    for id in ["a001", "a002", "a003"] {
        assert_eq!(two.says(alice, id, "", id), "");
    }
    // A message that comes while one looks at it, cut anywhere.
    let text = two.alices_as("a004", "", &"long ".repeat(2000));
    let (first, rest) = text.split_at(5000);
    two.world.text(alice, first);
    assert_eq!(two.world.read(bob), "", "nothing of it leaves");
    two.release();
    assert_eq!(bodies(&two.world.read(bob))[..3], ["a001", "a002", "a003"]);
    two.world.text(alice, rest);
    assert!(two.world.read(bob).contains("long "), "what follows goes at once");
    // The other way nothing was held, nor were reports.
    two.world.node.hold_pair(two.world.now, two.pair, PairSide::Answerer, HoldLimits::default());
    two.world.read(alice);
    let lines = format!("To-Path: {}\nFrom-Path: {BOB}\nMessage-ID: b1", two.own[1]);
    let text = format!("{lines}\nContent-Type: text/plain");
    two.world.text(bob, &request("b001", "SEND", &text, Some("back")));
    assert_eq!(bodies(&two.world.read(alice)), ["back"]);
    let report =
        format!("To-Path: {}\nFrom-Path: {ALICE}\nMessage-ID: b1\nStatus: 000 200", two.own[0]);
    two.world.text(alice, &request("a009", "REPORT", &report, None));
    assert!(two.world.read(bob).contains(" REPORT\r\n"));
}

// Covers: PF-073
#[test]
fn what_does_not_fit_has_failed() {
    #[rustfmt::skip]
    let table = [
        // Messages, octets, length of each, how many are held
        (3,   1 << 20, 10,      3),
        (100, 10_000,  4_000,   2),
        (100, 1 << 20, 9_000, 100),
        (0,   1 << 20, 10,      0),
    ];
    for (messages, octets, length, fits) in table {
        let (mut two, [alice, bob]) = held(HoldLimits { messages, octets });
        let body = "x".repeat(length);
        for number in 0..fits + 2 {
            let report = two.says(alice, &format!("a{number:03}"), "", &body);
            let failed = report.contains(" REPORT\r\n") && report.contains("Status: 000 408\r\n");
            assert_eq!(failed, number >= fits, "{messages} {octets} {number}: {report}");
            assert!(!failed || report.contains(&format!("Message-ID: ma{number:03}\r\n")));
        }
        assert!(two.world.paused.is_empty(), "others go on");
        two.release();
        assert_eq!(bodies(&two.world.read(bob)).len(), fits);
        assert_eq!(two.says(alice, "a900", "", &body), "", "there is room again");
        assert_eq!(bodies(&two.world.read(bob)).len(), 1);
    }
    // Who wants no report gets none.
    let (mut two, [alice, _]) = held(HoldLimits { messages: 0, octets: 0 });
    let text = two.alices_as("a001", "Failure-Report: no", "hi");
    two.world.text(alice, &text);
    assert_eq!(two.world.read(alice), "");
}

// Covers: PF-073
#[test]
fn a_message_of_which_a_part_does_not_fit_fails_as_a_whole() {
    let (mut two, [alice, bob]) = held(HoldLimits { messages: 100, octets: 10_000 });
    let part = "x".repeat(4_000);
    assert_eq!(two.says(alice, "a001", "Byte-Range: 1-4000/*", &part), "");
    assert_eq!(two.says(alice, "a002", "", "other"), "");
    let cut = |two: &mut Two, id: &str, range: &str| {
        let text = two.alices_as(id, range, &part).replace(": m1", ": ma001");
        two.world.text(alice, &text.replace(&format!("{id}$"), &format!("{id}+")));
        two.world.read(alice)
    };
    assert!(!cut(&mut two, "a003", "Byte-Range: 4001-8000/*").contains("REPORT"));
    let failed = cut(&mut two, "a004", "Byte-Range: 8001-12000/*");
    for range in ["1-4000/*", "4001-8000/*", "8001-12000/*"] {
        assert!(
            failed.contains(&format!("Byte-Range: {range}\r\nStatus: 000 408\r\n")),
            "{failed}"
        );
    }
    // There is room, and all the same nobody wants the rest.
    assert!(cut(&mut two, "a005", "Byte-Range: 12001-16000/*").contains("Status: 000 408"));
    two.release();
    assert_eq!(bodies(&two.world.read(bob)), ["other"]);
}

// Covers: PF-073
#[test]
fn what_is_still_held_in_the_end_has_failed() {
    let (mut two, [alice, bob]) = held(HoldLimits::default());
    assert_eq!(two.says(alice, "a001", "", "hi"), "");
    two.world.node.end_pair(two.world.now, two.pair).unwrap();
    two.world.drain();
    let read = two.world.read(alice);
    assert!(
        read.contains("Message-ID: ma001\r\n") && read.contains("Status: 000 408\r\n"),
        "{read}"
    );
    // A peer that connects while it is held gets nothing yet; one that goes away fails what waits.
    let (mut two, [alice, bob2]) = held(HoldLimits::default());
    assert_eq!(two.says(alice, "a001", "", "hi"), "");
    two.world.lose(bob2);
    assert!(two.world.read(alice).contains("Status: 000 481\r\n"));
    assert_eq!(two.world.read(bob), "");
    let mut two = open(PairConfig::default());
    let alice = two.world.accept(None);
    two.world.node.hold_pair(two.world.now, two.pair, PairSide::Answerer, HoldLimits::default());
    assert_eq!(two.says(alice, "a001", "", "early"), "");
    let bob = two.world.accept(None);
    two.bind(bob, 1, BOB);
    assert_eq!(two.world.read(bob), "");
    two.release();
    assert_eq!(bodies(&two.world.read(bob)), ["early"]);
}
