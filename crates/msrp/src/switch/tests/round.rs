//! Messages that wait until the driver has read everything.

use super::*;
use crate::HoldLimits;

/// What is said before anything is done about it.
fn put(world: &mut World, who: usize, id: &str, text: &str) {
    let body = cpim(&uri(who), ROOM, text);
    let octets = world.written(who, &Sent::whole(id, body.as_bytes()));
    world.put(who, &octets);
}

fn texts(world: &mut World, who: usize) -> Vec<String> {
    let last = |frame: &Frame| frame.text().rsplit("\r\n").next().unwrap().to_owned();
    world.messages(who).iter().map(last).collect()
}

/// What waits on the connection, without anything being done for it.
fn written(world: &mut World, who: usize) -> usize {
    let connection = world.person(who).connection;
    world.node.outbound(connection).map_or(0, |out| out.len())
}

// Covers: MSRP-074
#[test]
fn each_is_written_all_of_it_at_once() {
    let mut world = World::of(3);
    for who in 0..3 {
        world.octets(who);
    }
    for (who, id) in [(0, "a"), (1, "b"), (0, "c")] {
        put(&mut world, who, id, id);
    }
    let answers = written(&mut world, 2);
    assert_eq!(answers, 0, "it waits");
    let mut rows = Vec::new();
    while let Some(connection) = world.node.write_row() {
        rows.push((connection, written(&mut world, 2) > 0));
    }
    let expect: Vec<_> = (0..3).map(|who| (world.person(who).connection, who == 2)).collect();
    assert_eq!(rows, expect);
    assert_eq!(texts(&mut world, 0), ["b"]);
    assert_eq!(texts(&mut world, 1), ["a", "c"]);
    assert_eq!(texts(&mut world, 2), ["a", "b", "c"]);
    assert_eq!(world.node.write_row(), None);
}

// Covers: MSRP-066
#[test]
fn who_comes_or_goes_finds_the_room_as_it_was() {
    let mut world = World::of(3);
    put(&mut world, 0, "a", "before");
    let late = world.join(&LegConfig::new(&uri(3)));
    put(&mut world, 0, "b", "after");
    world.node.remove_leg(world.now, world.person(1).session);
    put(&mut world, 0, "c", "last");
    assert_eq!(texts(&mut world, 1), ["before", "after"]);
    assert_eq!(texts(&mut world, 2), ["before", "after", "last"]);
    assert_eq!(texts(&mut world, late), ["after", "last"]);
}

// Covers: MSRP-074
#[test]
fn what_does_not_wait_comes_after_what_does() {
    let mut world = World::of(3);
    put(&mut world, 0, "a", "first");
    let body = cpim(&uri(1), ROOM, "second");
    let begun = Sent { flag: '+', ..Sent::whole("b", body.as_bytes()) };
    let octets = world.written(1, &begun);
    world.put(1, &octets);
    put(&mut world, 0, "c", "third");
    let private = cpim(&uri(0), &uri(2), "fourth");
    let octets = world.written(0, &Sent::whole("d", private.as_bytes()));
    world.put(0, &octets);
    put(&mut world, 1, "e", "fifth");
    let ids: Vec<_> = world.messages(2).into_iter().map(|frame| frame.message_id).collect();
    assert_eq!(ids, ["a", "b", "c", "d", "e"]);
}

#[test]
fn nothing_waits_where_somebody_is_held() {
    let mut world = World::of(3);
    put(&mut world, 0, "a", "before");
    let limits = HoldLimits { messages: 10, octets: 10_000 };
    world.node.hold_leg(world.now, world.person(1).session, limits);
    put(&mut world, 0, "b", "held");
    assert_eq!(texts(&mut world, 1), ["before"]);
    assert_eq!(texts(&mut world, 2), ["before", "held"]);
    world.node.release_leg(world.now, world.person(1).session);
    put(&mut world, 0, "c", "after");
    assert_eq!(texts(&mut world, 1), ["held", "after"]);
}

#[test]
fn who_does_not_take_a_type_does_not_get_it() {
    let mut world = World::of(2);
    let mut config = LegConfig::new(&uri(2));
    config.accept_types = "message/cpim".parse().unwrap();
    config.accept_wrapped_types = "text/plain".parse().unwrap();
    let plain = world.join(&config);
    for (id, media_type) in [("a", "text/html"), ("b", "text/plain"), ("c", "text/html")] {
        let body = of_type(media_type, &uri(0), ROOM, id);
        let octets = world.written(0, &Sent::whole(id, body.as_bytes()));
        world.put(0, &octets);
    }
    assert_eq!(texts(&mut world, plain), ["b"]);
    assert_eq!(texts(&mut world, 1), ["a", "b", "c"]);
}

#[test]
fn no_more_waits_than_is_allowed() {
    let mut world = World::of(2);
    let text = "x".repeat(1000);
    let mut number = 0;
    while written(&mut world, 1) == 0 {
        put(&mut world, 0, &format!("m{number}"), &text);
        number += 1;
    }
    assert!((20..=32).contains(&number), "{number}");
    assert_eq!(texts(&mut world, 1).len(), number);
}

// Covers: MSRP-070
#[test]
fn who_does_not_read_is_taken_out() {
    let mut world = World::of(3);
    let config = SwitchConfig { queue_octets_max: 20_000, drops_max: 2, ..Default::default() };
    world.node.set_switch(config);
    let text = "x".repeat(1000);
    for number in 0..60 {
        put(&mut world, 0, &format!("m{number}"), &text);
        if number % 10 == 9 {
            assert!(!texts(&mut world, 2).is_empty());
        }
    }
    world.drain();
    let slow: Vec<_> = world.events.iter().filter(|event| is_slow(event)).collect();
    assert_eq!(slow.len(), 1);
    assert!(world.node.leg_counts(world.person(1).session).is_none());
    assert!(world.node.leg_counts(world.person(2).session).is_some());
}

// Covers: MSRP-070
#[test]
fn sessions_on_one_connection_are_counted_each_for_itself() {
    let mut world = World::of(2);
    let third = world.join_on(1, &LegConfig::new(&uri(2)));
    let config = SwitchConfig { queue_octets_max: 24_000, ..Default::default() };
    world.node.set_switch(config);
    let say = |world: &mut World, from: usize, octets: usize| {
        let text = "x".repeat(octets);
        put(world, from, &format!("{from}-{octets}"), &text);
        cpim(&uri(from), ROOM, &text)
    };
    let by_third: Vec<_> = (0..15).map(|number| say(&mut world, third, 1000 + number)).collect();
    let by_first = say(&mut world, 0, 1100);
    while world.node.write_row().is_some() {}
    // Too much for the second; what waits for him is not the third's.
    let late = say(&mut world, 0, 2000);
    let own = world.person(third).peer;
    let (his, others): (Vec<_>, Vec<_>) =
        world.messages(1).into_iter().partition(|frame| frame.to_path == own);
    let are = |frames: &[Frame], bodies: &[&String]| {
        frames.iter().map(Frame::text).eq(bodies.iter().map(|body| body.as_str()))
    };
    assert!(are(&his, &[&by_first, &late]), "{}", his.len());
    let of_others: Vec<_> = by_third.iter().chain([&by_first]).collect();
    assert!(are(&others, &of_others), "{}", others.len());
}

#[test]
fn what_waits_is_treated_as_when_it_came() {
    let mut world = World::of(2);
    put(&mut world, 0, "a", "before");
    let failure_report = crate::header::FailureReport::Yes;
    world.node.set_switch(SwitchConfig { failure_report, drops_max: 0, ..Default::default() });
    let got = world.messages(1);
    assert_eq!(got[0].failure_report, crate::header::FailureReport::Partial);
    world.pass(crate::RESPONSE_DELAY);
    assert_eq!(world.events.iter().filter(|event| is_slow(event)).count(), 0, "none was asked");
}
