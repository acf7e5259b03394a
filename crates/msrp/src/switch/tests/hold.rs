//! A participant who wants no messages for now (OMA-TS-SIMPLE_IM §7.2.2.10.3).

use super::*;
use crate::{Continuation, HoldLimits, Input, SessionKey};

/// A room of three, the last of whom is held.
fn held(limits: HoldLimits) -> (World, SessionKey) {
    let mut world = World::of(3);
    let leg = world.person(2).session;
    world.node.hold_leg(world.now, leg, limits);
    (world, leg)
}

fn ids(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.message_id.as_str()).collect()
}

// Covers: PF-072
#[test]
fn what_is_kept_comes_in_its_order_when_he_is_released() {
    let (mut world, leg) = held(HoldLimits::default());
    for id in ["1", "2", "3"] {
        assert_eq!(world.say(0, id, &cpim(&uri(0), ROOM, id)), "200");
    }
    assert_eq!(ids(&world.messages(1)), ["1", "2", "3"]);
    assert_eq!(world.take(2), []);
    // He is heard meanwhile.
    assert_eq!(world.say(2, "his", &cpim(&uri(2), ROOM, "x")), "200");
    world.node.release_leg(world.now, leg);
    assert_eq!(world.say(0, "4", &cpim(&uri(0), ROOM, "4")), "200");
    let came = world.messages(2);
    assert_eq!(ids(&came), ["1", "2", "3", "4"]);
    assert_eq!(came[1].text(), cpim(&uri(0), ROOM, "2"));
}

// Covers: PF-073
#[test]
fn what_does_not_fit_is_reported() {
    let text = cpim(&uri(0), ROOM, "x");
    for (limits, fits) in [
        (HoldLimits { messages: 2, ..HoldLimits::default() }, 2),
        (HoldLimits { octets: 3 * (text.len() as u64 + 200), ..HoldLimits::default() }, 3),
    ] {
        let (mut world, leg) = held(limits);
        let reports = ["", "Failure-Report: partial\r\n", "Failure-Report: no\r\n"];
        for number in 0..fits {
            world.say(0, &number.to_string(), &text);
        }
        for (headers, expect) in reports.into_iter().zip([1, 1, 0]) {
            let id = format!("more{}", headers.len());
            let sent = Sent { headers, ..Sent::whole(&id, text.as_bytes()) };
            let answers = world.chunk(0, &sent);
            let reports: Vec<_> = answers.iter().filter(|it| it.what == "REPORT").collect();
            assert_eq!(reports.len(), expect, "{headers}");
            for report in reports {
                assert_eq!((&report.message_id, &*report.status), (&id, "000 408 Request Timeout"));
            }
        }
        world.node.release_leg(world.now, leg);
        assert_eq!(world.messages(2).len(), fits);
        // He is not slow, and gets what comes now.
        world.say(0, "after", &text);
        assert_eq!(ids(&world.messages(2)), ["after"]);
    }
}

// Covers: PF-073
#[test]
fn a_message_that_ceases_to_fit_is_cut_off() {
    let (mut world, leg) = held(HoldLimits { octets: 8 * 1024, ..HoldLimits::default() });
    let body = cpim(&uri(0), ROOM, &"x".repeat(12_000));
    let mut reports = 0;
    for (number, part) in body.as_bytes().chunks(3000).enumerate() {
        let range = format!("{}-{}/{}", number * 3000 + 1, number * 3000 + part.len(), body.len());
        let flag = if part.len() == 3000 { '+' } else { '$' };
        let answers = world.chunk(0, &Sent { range: &range, flag, ..Sent::whole("m", part) });
        reports += answers.iter().filter(|answer| answer.what == "REPORT").count();
    }
    assert_eq!(reports, 1);
    assert!(reassemble(&world.messages(1))[0].octets == body.as_bytes());
    world.node.release_leg(world.now, leg);
    let cut = reassemble(&world.messages(2));
    assert_eq!(cut[0].end, Some(Continuation::Abort));
    assert_eq!(cut[0].octets, body.as_bytes()[..6000]);
}

#[test]
fn who_is_held_and_not_connected_gets_nothing() {
    let (mut world, leg) = held(HoldLimits::default());
    let connection = world.person(2).connection;
    world.say(0, "1", &cpim(&uri(0), ROOM, "x"));
    world.node.handle_input(world.now, Input::Lost { connection });
    assert_eq!(world.say(0, "2", &cpim(&uri(0), ROOM, "x")), "200");
    world.node.release_leg(world.now, leg);
    assert_eq!(world.node.leg_counts(leg), None, "it is gone");
}
