mod hold;
mod hostile;
mod leaving;
mod model;
mod passed;
mod refused;
mod rfc7701;
mod round;
mod streams;
mod who;
mod world;

use self::world::{Frame, ROOM, Sent, World, cpim, of_type, reassemble, uri};
use super::*;

#[test]
fn sizes() {
    // An idle participant is a leg, its URIs and the types it takes, and a session.
    assert!(size_of::<Leg>() <= 768, "{}", size_of::<Leg>());
    assert!(size_of::<Room>() <= 1024, "{}", size_of::<Room>());
}

// Covers: MSRP-060, MSRP-061, MSRP-067
#[test]
fn a_message_goes_to_all_others_and_not_back() {
    let mut world = World::of(4);
    let body = cpim(&uri(1), ROOM, "hello");
    let asking = Sent {
        headers: "Success-Report: yes\r\nFailure-Report: yes\r\n",
        ..Sent::whole("m1", body.as_bytes())
    };
    let answers = world.chunk(1, &asking);
    let what: Vec<_> = answers.iter().map(|frame| frame.what.as_str()).collect();
    assert_eq!(what, ["200", "REPORT"], "and no copy");
    let report = &answers[1];
    assert_eq!((report.message_id.as_str(), report.status.as_str()), ("m1", "000 200 OK"));
    let range = report.range.unwrap().to_string();
    assert_eq!(range, format!("1-{0}/{0}", body.len()));
    assert!(report.body.is_empty() && report.content_type.is_empty());
    for who in [0, 2, 3] {
        let got = world.take(who);
        assert_eq!(got.len(), 1);
        let Frame { message_id, failure_report, success_report, content_type, .. } = &got[0];
        assert_eq!((message_id.as_str(), content_type.as_str()), ("m1", "message/cpim"));
        assert_eq!(*failure_report, crate::header::FailureReport::Partial);
        assert!(!success_report);
        assert_eq!(got[0].text(), body);
        assert_eq!(got[0].to_path, world.person(who).peer);
    }
}

// Covers: MSRP-067
#[test]
fn reports_of_recipients_go_nowhere() {
    let mut world = World::of(3);
    assert_eq!(world.say(0, "m1", &cpim(&uri(0), ROOM, "hello")), "200");
    let got = world.messages(1);
    let person = world.person(1);
    for status in ["000 200 OK", "000 413"] {
        let report = format!(
            "MSRP rep12345 REPORT\r\nTo-Path: {}\r\nFrom-Path: {}\r\nMessage-ID: {}\r\n\
             Byte-Range: 1-10/10\r\nStatus: {status}\r\n-------rep12345$\r\n",
            person.own, person.peer, got[0].message_id,
        );
        world.feed(1, report.as_bytes());
        assert_eq!(world.take(0), []);
        assert_eq!(world.take(1), []);
    }
}

// Covers: MSRP-067, MSRP-007
#[test]
fn with_failure_report_yes_answers_are_waited_for() {
    let mut world = World::of(3);
    let failure_report = crate::header::FailureReport::Yes;
    world.node.set_switch(SwitchConfig { failure_report, drops_max: 2, ..Default::default() });
    for number in 0..5 {
        let message = cpim(&uri(0), ROOM, &number.to_string());
        assert_eq!(world.say(0, &format!("m{number}"), &message), "200");
        let got = world.answer_all(1);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].failure_report, failure_report);
        // The other takes everything and never answers.
        assert_eq!(world.messages(2).len(), 1);
    }
    world.pass(crate::RESPONSE_DELAY);
    let slow: Vec<_> = world.events.iter().filter(|event| is_slow(event)).collect();
    assert_eq!(slow.len(), 1);
    assert!(world.node.leg_counts(world.person(1).session).is_some());
    assert!(world.node.leg_counts(world.person(2).session).is_none());
}

fn is_slow(event: &node::Event) -> bool {
    matches!(event, node::Event::Switch(Event::Slow { .. }))
}

// Covers: MSRP-074
#[test]
fn all_get_messages_in_the_order_in_which_they_were_accepted() {
    let mut world = World::of(4);
    for number in 0..20 {
        let sender = number % 3;
        let message = cpim(&uri(sender), ROOM, &number.to_string());
        assert_eq!(world.say(sender, &format!("m{number}"), &message), "200");
        world.octets(sender);
    }
    let got = world.messages(3);
    let numbers: Vec<_> = got.iter().map(|frame| frame.text().rsplit("\r\n").next()).collect();
    let expect: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expect.iter().map(|text| Some(text.as_str())).collect::<Vec<_>>());
}

// Covers: MSRP-071
#[test]
fn the_same_message_id_of_another_sender_is_changed() {
    let mut world = World::of(3);
    assert_eq!(world.say(0, "1", &cpim(&uri(0), ROOM, "one")), "200");
    assert_eq!(world.say(1, "1", &cpim(&uri(1), ROOM, "two")), "200");
    let got = world.messages(2);
    assert_eq!(got[0].message_id, "1");
    assert_ne!(got[1].message_id, "1");
    assert_eq!(got[1].text(), cpim(&uri(1), ROOM, "two"));
    // From the same sender it is the same message (RFC 4975 §5.4).
    let again = cpim(&uri(0), ROOM, "one");
    let asking = Sent { headers: "Success-Report: yes\r\n", ..Sent::whole("1", again.as_bytes()) };
    let answers = world.chunk(0, &asking);
    let what: Vec<_> = answers.iter().map(|frame| frame.what.as_str()).collect();
    assert_eq!(what, ["200", "REPORT"], "a duplicate is reported as usual");
    assert_eq!(world.messages(2), []);
}

// Covers: MSRP-072, MSRP-019, CLI-026
#[test]
fn status_and_notifications_are_distributed_and_not_counted() {
    let mut world = World::of(2);
    let composing = of_type("application/im-iscomposing+xml", &uri(0), ROOM, "<isComposing/>");
    let imdn = of_type("message/imdn+xml", &uri(0), &uri(1), "<imdn/>");
    let text = cpim(&uri(0), ROOM, "hello");
    for (number, body) in [&composing, &imdn, &text].into_iter().enumerate() {
        assert_eq!(world.say(0, &number.to_string(), body), "200");
    }
    let got: Vec<_> = world.messages(1).iter().map(|frame| frame.text().to_owned()).collect();
    assert_eq!(got, [composing, imdn, text.clone()]);
    let counts = Counts { messages: 1, octets: text.len() as u64 };
    assert_eq!(world.node.room_counts(world.room), Some(counts));
    assert_eq!(world.node.leg_counts(world.person(0).session), Some(counts));
    assert_eq!(world.node.leg_counts(world.person(1).session), Some(Counts::default()));
}

// Covers: MSRP-077
#[test]
fn an_empty_request_is_answered_and_goes_nowhere() {
    let mut world = World::of(2);
    world.bind(0);
    assert_eq!(world.take(0)[0].what, "200");
    assert_eq!(world.take(1), []);
}

// Covers: MSRP-064, MSRP-065, MSRP-076, MSRP-090
#[test]
fn nicknames() {
    let mut world = World::new(|policy| {
        policy.reserved_nicknames = vec!["Moderator".to_owned()];
        policy.nickname_quarantine = std::time::Duration::from_secs(60);
    });
    for number in 0..2 {
        world.join(&LegConfig::new(&uri(number)));
    }
    let again = world.join(&LegConfig::new(&uri(0)));
    #[rustfmt::skip]
    let table = [
        (0, "",                                "424"),
        (0, "Use-Nickname: Alice\r\n",         "424"),
        (0, "Use-Nickname: \"moderator\"\r\n", "425"),
        (0, "Use-Nickname: \"Alice\"\r\n",     "200"),
        (1, "Use-Nickname: \"alice\"\r\n",     "425"),
        (1, "Use-Nickname: \"Bob\"\r\n",       "200"),
        // What fails leaves the one there is.
        (0, "Use-Nickname: \"bob\"\r\n",       "425"),
        (0, "Use-Nickname: \"a\x07\"\r\n",     "400"),
        // A second session of the same URI may have it, when it asks.
        (again, "Use-Nickname: \"ALICE\"\r\n", "200"),
        (0, "Use-Nickname: \"\"\r\n",          "200"),
        (1, "Use-Nickname: \"alice\"\r\n",     "425"),
        (again, "Use-Nickname: \"Al\"\r\n",    "200"),
        // It is kept for who had it.
        (1, "Use-Nickname: \"alice\"\r\n",     "425"),
    ];
    for (who, header, code) in table {
        if code == "400" {
            // A control character cannot stand in a header at all.
            continue;
        }
        assert_eq!(world.call(who, header), code, "{who} {header}");
    }
    let names = |world: &World| {
        [0, 1, again].map(|who| {
            let name = world.node.nickname(world.person(who).session);
            name.map(|name| name.as_str().to_owned())
        })
    };
    assert_eq!(names(&world), [None, Some("Bob".to_owned()), Some("Al".to_owned())]);
    world.pass(std::time::Duration::from_secs(60));
    assert_eq!(world.call(1, "Use-Nickname: \"alice\"\r\n"), "200");
    let changes: Vec<_> = world
        .events
        .iter()
        .filter_map(|event| match event {
            node::Event::Switch(Event::Nickname { leg, nickname, .. }) => {
                Some((*leg, nickname.as_ref().map(|name| name.as_str().to_owned())))
            }
            _ => None,
        })
        .collect();
    let [alice, bob, second] = [0, 1, again].map(|who| world.person(who).session);
    let some = |name: &str| Some(name.to_owned());
    let expect = [
        (alice, some("Alice")),
        (bob, some("Bob")),
        (second, some("ALICE")),
        (alice, None),
        (second, some("Al")),
        (bob, some("alice")),
    ];
    assert_eq!(changes, expect);
    // Who leaves gives it up.
    world.node.remove_leg(world.now, bob);
    world.pass(std::time::Duration::from_secs(60));
    assert_eq!(world.call(0, "Use-Nickname: \"Alice\"\r\n"), "200");
}
