//! Peers that send anything.

use proptest::prelude::*;

use super::*;

/// A conversation with what a switch reads in it.
fn conversation(world: &mut World) -> Vec<u8> {
    let (me, you) = (uri(0), uri(1));
    let long = cpim(&me, ROOM, &"-------".repeat(400));
    let imdn = of_type("message/imdn+xml", &me, &you, "<imdn/>");
    let headers = "Success-Report: yes\r\n";
    let parts = [
        Sent { headers, ..Sent::whole("1", cpim(&me, ROOM, "hello").as_bytes()) },
        Sent { range: "1-2900/2900", ..Sent::whole("2", long.as_bytes()) },
        Sent { flag: '+', range: "1-*/2900", ..Sent::whole("3", &long.as_bytes()[..1000]) },
        Sent { headers, ..Sent::whole("4", imdn.as_bytes()) },
        Sent { flag: '#', range: "1001-*/2900", ..Sent::whole("3", &long.as_bytes()[1000..]) },
    ]
    .map(|sent| world.written(0, &sent));
    let person = world.person(0);
    let nickname = format!(
        "MSRP nick1234 NICKNAME\r\nTo-Path: {0}\r\nFrom-Path: {1}\r\nUse-Nickname: \"Al\"\r\n\
         -------nick1234$\r\nMSRP repo1234 REPORT\r\nTo-Path: {0}\r\nFrom-Path: {1}\r\n\
         Message-ID: 9\r\nByte-Range: 1-5/5\r\nStatus: 000 413\r\n-------repo1234$\r\n",
        person.own, person.peer
    );
    [parts.concat(), nickname.into_bytes()].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever one sends, nothing breaks and the others get whole frames.
    #[test]
    fn nothing_breaks(
        changes in prop::collection::vec((0_usize..20_000, any::<u8>(), 0_u8..3), 0..8),
        piece in 1_usize..3000,
    ) {
        let mut world = World::of(3);
        let mut octets = conversation(&mut world);
        for (at, octet, how) in changes {
            let at = at % octets.len();
            match how {
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                _ => {
                    octets.remove(at);
                }
            }
        }
        for piece in octets.chunks(piece) {
            world.feed(0, piece);
        }
        world.pass(std::time::Duration::from_secs(600));
        for who in 1..3 {
            // Reading them fails when one is not whole.
            let _ = reassemble(&world.messages(who));
        }
        prop_assert!(world.node.roles.switch.legs.iter().all(|(_, leg)| leg.open.is_empty()));
    }
}

// Covers: MSRP-002
#[test]
fn a_body_that_looks_like_an_end_line_is_passed_on() {
    let mut world = World::of(2);
    let text = "x\r\n-------abcd1234$\r\nMSRP abcd1234 SEND\r\n-------";
    for (id, length) in [("1", 1), ("2", 1000)] {
        let body = cpim(&uri(0), ROOM, &text.repeat(length));
        assert_eq!(world.say(0, id, &body), "200");
        assert_eq!(world.messages(1)[0].text(), body);
    }
}

// Covers: MSRP-011
#[test]
fn two_sessions_on_one_connection_are_two_participants() {
    let mut world = World::of(2);
    let third = world.join_on(1, &LegConfig::new(&uri(2)));
    let (one, other) = (world.person(1), world.person(third));
    let body = cpim(&uri(0), ROOM, "hello");
    assert_eq!(world.say(0, "1", &body), "200");
    let got = world.messages(1);
    let to: Vec<_> = got.iter().map(|frame| frame.to_path.as_str()).collect();
    assert_eq!(to, [one.peer.as_str(), other.peer.as_str()]);
    world.node.remove_leg(world.now, other.session);
    assert_eq!(world.say(0, "2", &body), "200");
    assert_eq!(world.messages(1).len(), 1);
}
