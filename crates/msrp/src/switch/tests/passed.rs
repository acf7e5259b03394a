//! What is given out for a history.

use super::*;
use crate::{Continuation, SessionKey};

/// What was given out since: who has sent it, whether for him, for whom else, the message, where it
/// begins, the octets, and how it ends.
fn given_out(world: &mut World) -> Vec<Passed> {
    world.drain();
    let events = std::mem::take(&mut world.events).into_iter();
    let passed = events.filter_map(|event| match event {
        node::Event::Switch(Event::Passed(passed)) => Some(*passed),
        _ => None,
    });
    passed.collect()
}

/// A room of four of whom the second keeps what he says and hears.
fn room() -> (World, SessionKey) {
    let mut world = World::of(4);
    let keeper = world.person(1).session;
    world.node.copy_leg(world.now, keeper);
    (world, keeper)
}

// Covers: PF-023
#[test]
fn what_somebody_who_wants_it_sends_and_gets_is_given_out() {
    let (mut world, keeper) = room();
    let to_all = |from: usize| cpim(&uri(from), ROOM, "hello");
    assert_eq!(world.say(0, "m1", &to_all(0)), "200");
    assert_eq!(world.say(1, "m2", &to_all(1)), "200");
    assert_eq!(world.say(2, "m3", &cpim(&uri(2), &uri(3), "between us")), "200");
    let writing = of_type("application/im-iscomposing+xml", &uri(0), ROOM, "<isComposing/>");
    assert_eq!(world.say(0, "m4", &writing), "200");
    let sender = world.person(0).session;
    let piece = |sender, for_sender, recipients, message_id: &[u8], text: String| Passed {
        sender,
        for_sender,
        recipients,
        message_id: message_id.into(),
        position: 0,
        body: text.into(),
        end: Continuation::Last,
    };
    let expected = [
        piece(sender, false, vec![keeper], b"m1", to_all(0)),
        piece(keeper, true, vec![], b"m2", to_all(1)),
    ];
    assert_eq!(given_out(&mut world), expected);
    world.node.remove_leg(world.now, keeper);
    assert_eq!(world.say(0, "m5", &to_all(0)), "200");
    assert_eq!(given_out(&mut world), []);
}

// Covers: PF-023
#[test]
fn it_is_given_out_in_the_pieces_that_pass() {
    let (mut world, keeper) = room();
    let text = "x".repeat(20_000);
    let body = cpim(&uri(0), ROOM, &text).into_bytes();
    let (first, rest) = body.split_at(9000);
    let range = |start: usize| format!("{}-*/{}", start + 1, body.len());
    let (at_first, at_rest) = (range(0), range(9000));
    let chunks = [
        Sent { range: &at_first, flag: '+', ..Sent::whole("m1", first) },
        Sent { range: &at_rest, ..Sent::whole("m1", rest) },
        Sent { range: &at_first, flag: '+', ..Sent::whole("m2", first) },
        Sent { range: &at_rest, flag: '#', ..Sent::whole("m2", b"") },
    ];
    for chunk in &chunks {
        assert_eq!(world.chunk(0, chunk)[0].what, "200");
    }
    let given = given_out(&mut world);
    assert!(given.iter().all(|piece| piece.recipients == [keeper] && !piece.for_sender));
    let mut whole = vec![0; body.len()];
    let (one, two): (Vec<_>, Vec<_>) = given.iter().partition(|piece| *piece.message_id == *b"m1");
    for piece in &one {
        let at = usize::try_from(piece.position).unwrap();
        whole[at..at + piece.body.len()].copy_from_slice(&piece.body);
    }
    assert_eq!(whole, body);
    assert_eq!(one.last().unwrap().end, Continuation::Last);
    assert_eq!(two.last().unwrap().end, Continuation::Abort);
    // Whoever begins a message and is gone has given it up.
    assert_eq!(world.chunk(0, &chunks[2])[0].what, "200");
    world.node.remove_leg(world.now, world.person(0).session);
    assert_eq!(given_out(&mut world).last().unwrap().end, Continuation::Abort);
}
