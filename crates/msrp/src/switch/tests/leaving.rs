//! Participants that leave, are lost, or do not take what they are sent.

use super::*;
use crate::{Continuation, FromRule, Input, Path};

// Covers: MSRP-066
#[test]
fn what_a_participant_has_begun_is_aborted_when_it_leaves() {
    for lost in [false, true] {
        let mut world = World::of(2);
        let body = cpim(&uri(0), ROOM, &"x".repeat(5000));
        let first = Sent { flag: '+', ..Sent::whole("m", &body.as_bytes()[..3000]) };
        world.chunk(0, &first);
        let person = world.person(0);
        if lost {
            world.node.handle_input(world.now, Input::Lost { connection: person.connection });
        } else {
            world.node.remove_leg(world.now, person.session);
        }
        let got = reassemble(&world.messages(1));
        assert_eq!(got[0].end, Some(Continuation::Abort));
        assert_eq!(world.say(1, "n", &cpim(&uri(1), &uri(0), "still there?")), "404");
        assert_eq!(world.node.load().1, 1, "the session is gone");
    }
}

// Covers: MSRP-066, MSRP-078
#[test]
fn where_the_policy_keeps_them_the_lost_take_part_again() {
    let mut world = World::new(|policy| policy.keeps_lost = true);
    for number in 0..2 {
        world.join(&LegConfig::new(&uri(number)));
    }
    assert_eq!(world.call(0, "Use-Nickname: \"Alice\"\r\n"), "200");
    let body = cpim(&uri(0), ROOM, &"x".repeat(5000));
    world.chunk(0, &Sent { flag: '+', ..Sent::whole("m", &body.as_bytes()[..3000]) });
    let person = world.person(0);
    world.node.handle_input(world.now, Input::Lost { connection: person.connection });
    let got = reassemble(&world.messages(1));
    assert_eq!(got[0].end, Some(Continuation::Abort), "what it had begun has no end");
    let is_suspended = |event: &&node::Event| {
        let suspended = node::Event::Switch(Event::Suspended {
            room: world.room,
            leg: person.session,
            why: Lost::Connection,
        });
        matches!((event, suspended), (node::Event::Switch(one), node::Event::Switch(other)) if *one == other)
    };
    assert_eq!(world.events.iter().filter(is_suspended).count(), 1);
    assert_eq!(world.node.connection(person.session), None);
    assert_eq!(world.say(1, "n", &cpim(&uri(1), ROOM, "anybody?")), "200", "nobody waits for it");
    world.reconnect(0);
    world.bind(0);
    assert_eq!(world.take(0).len(), 1, "what was said meanwhile is not for it");
    assert_eq!(world.say(0, "m", &body), "200", "and the message may come again");
    assert_eq!(world.messages(1)[0].text(), body);
    let nickname = world.node.nickname(person.session).map(Nickname::as_str);
    assert_eq!(nickname, Some("Alice"), "it has what it had");
    // A peer that has moved takes it along: from another path, on another connection.
    let moved = "msrp://elsewhere.example.com:7654/s0;tcp";
    world.node.set_peer(
        world.now,
        person.session,
        Path::new(moved.as_bytes()),
        FromRule::Whole,
        &[],
    );
    assert_eq!(world.node.connection(person.session), None, "it waits for the new one");
    assert_eq!(world.say(0, "o", &body), "481");
}

#[test]
fn a_room_that_is_closed_leaves_nothing() {
    let mut world = World::of(3);
    let body = cpim(&uri(0), ROOM, "x");
    world.node.close_room(world.now, world.room);
    let answers = world.chunk(0, &Sent::whole("m", body.as_bytes()));
    assert_eq!(answers[0].what, "481");
    assert_eq!(world.node.load().1, 0);
    assert_eq!(world.node.room_counts(world.room), None);
    let switch = &world.node.roles.switch;
    assert!(switch.legs.is_empty() && switch.rooms.is_empty());
}

// Covers: MSRP-070
#[test]
fn a_slow_participant_loses_messages_then_the_room_and_holds_up_nobody() {
    const MAX: usize = 64 * 1024;
    let mut world = World::of(3);
    let queue_octets_max = MAX;
    world.node.set_switch(SwitchConfig { queue_octets_max, drops_max: 3, ..Default::default() });
    let text = "x".repeat(1000);
    let mut sent = 0;
    while !world.events.iter().any(is_slow) {
        let body = cpim(&uri(0), ROOM, &text);
        assert_eq!(world.say(0, &sent.to_string(), &body), "200");
        assert_eq!(world.messages(1).len(), 1, "the quick one gets all");
        assert!(world.waiting(2) <= MAX);
        sent += 1;
        assert!(sent < 1000);
    }
    // What was let in before, three dropped, and one more.
    assert!(sent > MAX / 1500 + 4, "{sent}");
    let slow = world.person(2);
    let event = world.events.iter().find(|event| is_slow(event)).unwrap();
    let expect = Event::Slow { room: world.room, leg: slow.session };
    assert!(matches!(event, node::Event::Switch(event) if *event == expect));
    assert!(world.closed.contains(&CloseReason::Slow));
    assert_eq!(world.node.leg_counts(slow.session), None);
    assert_eq!(world.say(0, "private", &cpim(&uri(0), &uri(2), "?")), "404");
}

// Covers: MSRP-070
#[test]
fn who_catches_up_stays() {
    let mut world = World::of(2);
    let queue_octets_max = 8 * 1024;
    world.node.set_switch(SwitchConfig { queue_octets_max, drops_max: 3, ..Default::default() });
    let text = cpim(&uri(0), ROOM, &"x".repeat(3000));
    for round in 0..20 {
        for number in 0..5 {
            assert_eq!(world.say(0, &format!("{round}.{number}"), &text), "200");
        }
        assert_eq!(world.messages(1).len(), 2, "{round}");
    }
    assert!(!world.events.iter().any(is_slow));
}

// Covers: MSRP-070
#[test]
fn a_long_message_is_cut_off_for_a_slow_participant_only() {
    let mut world = World::of(3);
    let queue_octets_max = 100 * 1024;
    world.node.set_switch(SwitchConfig { queue_octets_max, ..Default::default() });
    let body = cpim(&uri(0), ROOM, &"x".repeat(1024 * 1024));
    let octets = world.written(0, &Sent::whole("m", body.as_bytes()));
    let mut quick = Vec::new();
    for piece in octets.chunks(16 * 1024) {
        world.feed(0, piece);
        quick.extend(world.octets(1));
    }
    let quick = reassemble(&world::frames(&quick));
    assert!(quick[0].octets == body.as_bytes() && quick[0].end == Some(Continuation::Last));
    assert!(world.waiting(2) <= queue_octets_max + 1024);
    let slow = reassemble(&world.messages(2));
    assert_eq!(slow[0].end, Some(Continuation::Abort));
    assert!(slow[0].octets == body.as_bytes()[..slow[0].octets.len()]);
    world.take(0);
    // The next one it gets again.
    assert_eq!(world.say(0, "n", &cpim(&uri(0), ROOM, "x")), "200");
    assert_eq!(world.messages(2).len(), 1);
}

// Covers: MSRP-070
#[test]
fn large_bodies_are_shared_and_count() {
    let mut world = World::of(3);
    let queue_octets_max = 100 * 1024;
    world.node.set_switch(SwitchConfig { queue_octets_max, ..Default::default() });
    let body = cpim(&uri(0), ROOM, &"x".repeat(20 * 1024));
    for number in 0..10 {
        assert_eq!(world.say(0, &number.to_string(), &body), "200");
    }
    for who in [1, 2] {
        let connection = world.person(who).connection;
        let out = world.node.outbound(connection).unwrap();
        assert!(out.len() > 60 * 1024 && out.pinned() <= queue_octets_max);
        assert_eq!(world.messages(who).len(), 4);
    }
}

// Covers: MSRP-009
#[test]
fn a_participant_that_does_not_know_the_session_is_taken_out() {
    for code in [481, 506] {
        let mut world = World::of(3).answering();
        world.say(0, "1", &cpim(&uri(0), ROOM, "x"));
        world.answer(1, code);
        assert_eq!(world.node.leg_counts(world.person(1).session), None, "{code}");
        let gone = world.person(1).session;
        let lost = |event: &&node::Event| matches!(event, node::Event::Lost { session, .. } if *session == gone);
        assert_eq!(world.events.iter().filter(lost).count(), 1);
        assert_eq!(world.say(0, "2", &cpim(&uri(0), &uri(1), "x")), "404");
    }
}
