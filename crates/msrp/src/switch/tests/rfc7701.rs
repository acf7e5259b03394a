//! The exchanges of RFC 7701 §9, answered as printed.

use super::*;
use crate::Continuation;

/// The URI of the switch and of Alice's client in all examples.
const SWITCH: &str = "msrp://chat.example.com:12763/kjhd37s2s20w2a;tcp";
const ALICE: &str = "msrp://client.atlanta.example.com:7654/jshA7weztas;tcp";

/// Alice and Bob in the chat room of the examples.
fn world() -> World {
    let mut world = World::new(|policy| {
        policy.uris = vec!["sip:chatroom22@chat.example.com".to_owned()];
    });
    let mut alice = LegConfig::new("sip:alice@atlanta.example.com");
    // §9.4 has another URI of hers.
    alice.uris.push("sip:alice@example.com".to_owned());
    alice.accept_types = "message/cpim text/plain text/html".parse().unwrap();
    alice.accept_wrapped_types = Default::default();
    world.join(&alice);
    world.join(&LegConfig::new("sip:bob@example.com"));
    world.join(&LegConfig::new("sip:charlie@example.com"));
    world
}

/// A printed message with the URIs of this session in it.
fn printed(world: &World, who: usize, text: &str) -> String {
    let person = world.person(who);
    text.replace(SWITCH, &person.own).replace(ALICE, &person.peer)
}

macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("../../../testdata/rfc7701-", $name, ".msrp"))
    };
}

// Covers: MSRP-064
#[test]
fn setting_up_a_nickname() {
    let mut world = world();
    assert_eq!(world.call(1, "Use-Nickname: \"Alice the great\"\r\n"), "200");
    let exchanges = [
        (example!("01-NICKNAME-d93kswow"), example!("02-425-d93kswow")),
        (example!("03-NICKNAME-09swk2d"), example!("04-200-09swk2d")),
    ];
    for (request, response) in exchanges {
        let request = printed(&world, 0, request);
        world.feed(0, request.as_bytes());
        let answer = String::from_utf8(world.octets(0)).unwrap();
        let expect = printed(&world, 0, response);
        assert!(answer.eq_ignore_ascii_case(&expect), "{answer}");
    }
    let nickname = world.node.nickname(world.person(0).session);
    assert_eq!(nickname.map(|name| name.as_str()), Some("Alice in Wonderland"));
}

// Covers: MSRP-060, MSRP-062
#[test]
fn sending_a_regular_message() {
    let mut world = world();
    let request = printed(&world, 0, example!("05-SEND-3490visdm"));
    world.feed(0, request.as_bytes());
    let answers = world.take(0);
    assert_eq!((answers[0].what.as_str(), answers[0].id.as_str()), ("200", "3490visdm"));
    let copy = &world::frames(example!("07-SEND-490ej23").as_bytes())[0];
    for who in [1, 2] {
        let got = world.messages(who);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].body, copy.body);
        assert_eq!((got[0].range, &got[0].content_type), (copy.range, &copy.content_type));
    }
}

// Covers: MSRP-062
#[test]
fn sending_a_private_message() {
    let mut world = world();
    let request = printed(&world, 0, example!("08-SEND-6959ssdf"));
    world.feed(0, request.as_bytes());
    assert_eq!(world.take(0)[0].what, "200");
    let sent = &world::frames(request.as_bytes())[0];
    assert_eq!(world.messages(1)[0].body, sent.body);
    assert_eq!(world.messages(2), []);
}

// Covers: MSRP-093
#[test]
fn a_private_message_in_two_chunks() {
    let mut world = world();
    // As printed the first chunk ends with `$` and is shorter than the second one has it.
    let first = example!("12-SEND-7443ruls").replace("-------7443ruls$", "-------7443ruls+");
    let second = example!("13-SEND-7443ruls").replace("68-174/174", "57-130/130");
    let first = printed(&world, 0, &first.replace("/174", "/130"));
    let second = printed(&world, 0, &second).replace("7443ruls", "7443rulz");
    world.feed(0, first.as_bytes());
    assert_eq!(world.take(0)[0].what, "200");
    assert_eq!(world.messages(1), [], "the headers are not complete");
    world.feed(0, second.as_bytes());
    assert_eq!(world.take(0)[0].what, "200");
    let body = |text: &str| world::frames(text.as_bytes())[0].body.clone();
    let whole = reassemble(&world.messages(1));
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].octets, [body(&first), body(&second)].concat());
    assert_eq!(whole[0].end, Some(Continuation::Last));
    assert_eq!(world.messages(2), []);
}
