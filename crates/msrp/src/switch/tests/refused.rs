//! Every refusal, and that nobody gets anything of what is refused.

use super::*;

/// What `who` is answered, and that nobody gets it.
fn refused(world: &mut World, who: usize, sent: &Sent<'_>, code: &str) {
    let answers = world.chunk(who, sent);
    let what: Vec<_> = answers.iter().map(|frame| frame.what.as_str()).collect();
    assert_eq!(what, [code], "{}", String::from_utf8_lossy(sent.body));
    for other in 0..2 {
        if other != who {
            assert_eq!(world.messages(other), []);
        }
    }
}

// Covers: MSRP-061, MSRP-062, MSRP-063, MSRP-093
#[test]
fn messages() {
    let mut world = World::of(2);
    world.join(&LegConfig { chatroom: None, ..LegConfig::new(&uri(2)) });
    let (me, you, silent) = (uri(0), uri(1), uri(2));
    let two = format!("From: <{me}>\r\nTo: <{ROOM}>\r\nTo: <{you}>\r\n\r\n\r\nx");
    let twice = format!("From: <{me}>\r\nFrom: <{me}>\r\nTo: <{ROOM}>\r\n\r\n\r\nx");
    let long = format!("Subject: {}\r\n{}", "x".repeat(16 * 1024), cpim(&me, ROOM, "x"));
    #[rustfmt::skip]
    let table = [
        (cpim(&you, ROOM, "x"),                             "403"), // From is somebody else
        (cpim("sip:nobody@example.com", ROOM, "x"),         "403"),
        (cpim(ROOM, ROOM, "x"),                             "403"),
        (format!("To: <{ROOM}>\r\n\r\n\r\nx"),              "403"),
        (format!("From: me\r\nTo: <{ROOM}>\r\n\r\n\r\nx"),  "403"),
        (twice,                                             "403"),
        (two,                                               "403"), // several To
        (format!("From: <{me}>\r\n\r\n\r\nx"),              "404"),
        (format!("From: <{me}>\r\nTo: x\r\n\r\n\r\nx"),     "404"),
        (cpim(&me, "sip:nobody@example.com", "x"),          "404"),
        (cpim(&me, "sip:chat.example.com", "x"),            "404"),
        (cpim(&me, &silent, "x"),                           "428"), // no private messages there
        ("hello".to_owned(),                                "400"), // no CPIM
        ("From: <sip:p0@example.com>\r\nX\r\n\r\n".to_owned(), "400"),
        (String::new(),                                     "403"), // no From
        (long,                                              "400"),
    ];
    for (body, code) in &table {
        refused(&mut world, 0, &Sent::whole("m", body.as_bytes()), code);
    }
    let body = cpim(&me, ROOM, "x");
    let whole = Sent::whole("m", body.as_bytes());
    for content_type in ["text/plain", "message/cpim-not", "multipart/mixed"] {
        refused(&mut world, 0, &Sent { content_type, ..whole }, "415");
    }
    refused(&mut world, 0, &Sent { range: "5-*/*", ..whole }, "400");
    for content_type in ["Message/CPIM", "message/cpim;x=y"] {
        assert_eq!(world.chunk(0, &Sent { content_type, ..whole })[0].what, "200");
    }
    assert_eq!(world.messages(1).len(), 1, "the second is a duplicate");
}

// Covers: MSRP-006
#[test]
fn the_failure_report_says_what_is_answered() {
    let mut world = World::of(2);
    let good = cpim(&uri(0), ROOM, "x");
    let bad = cpim(&uri(1), ROOM, "x");
    #[rustfmt::skip]
    let table = [
        ("",                             "a", "200", "403"),
        ("Failure-Report: yes\r\n",      "b", "200", "403"),
        ("Failure-Report: partial\r\n",  "c", "",    "403"),
        ("Failure-Report: no\r\n",       "d", "",    ""),
    ];
    for (headers, id, accepted, refused) in table {
        for (body, code) in [(&good, accepted), (&bad, refused)] {
            let answers = world.chunk(0, &Sent { headers, ..Sent::whole(id, body.as_bytes()) });
            let what: String = answers.iter().map(|frame| frame.what.as_str()).collect();
            assert_eq!(what, code, "{headers}");
        }
    }
}

// Covers: MSRP-063, MSRP-064, MSRP-090
#[test]
fn what_the_policy_forbids() {
    let mut world = World::new(|policy| {
        policy.private_messages = false;
        policy.nicknames = false;
        policy.wrapped_types = "text/plain message/*".parse().unwrap();
        policy.message_octets_max = Some(200);
    });
    for number in 0..2 {
        world.join(&LegConfig::new(&uri(number)));
    }
    let private = cpim(&uri(0), &uri(1), "x");
    refused(&mut world, 0, &Sent::whole("m", private.as_bytes()), "403");
    assert_eq!(world.call(0, "Use-Nickname: \"Alice\"\r\n"), "403");
    let html = of_type("text/html", &uri(0), ROOM, "x");
    refused(&mut world, 0, &Sent::whole("m", html.as_bytes()), "415");
    let long = cpim(&uri(0), ROOM, &"x".repeat(200));
    refused(&mut world, 0, &Sent::whole("m", long.as_bytes()), "413");
    let first = Sent { flag: '+', ..Sent::whole("m", long.as_bytes()) };
    refused(&mut world, 0, &first, "413");
    // A notification is no private message.
    let imdn = of_type("message/imdn+xml", &uri(0), &uri(1), "<imdn/>");
    assert_eq!(world.say(0, "m", &imdn), "200");
    assert_eq!(world.messages(1).len(), 1);
}

// Covers: MSRP-063
#[test]
fn who_may_send_private_messages_is_said_for_each() {
    let mut world = World::of(1);
    let mut config = LegConfig::new(&uri(1));
    config.private_messages = false;
    world.join(&config);
    let private = cpim(&uri(1), &uri(0), "x");
    refused(&mut world, 1, &Sent::whole("m", private.as_bytes()), "403");
    assert_eq!(world.say(0, "m", &cpim(&uri(0), &uri(1), "x")), "200", "it may get them");
    assert_eq!(world.messages(1).len(), 1);
}

// Covers: MSRP-090
#[test]
fn a_later_sdp_switches_functions_off_and_on() {
    let mut world = World::of(2);
    let any = || ("*".parse().unwrap(), "*".parse().unwrap());
    let session = world.person(1).session;
    world.node.set_leg(world.now, session, None, any());
    let private = cpim(&uri(0), &uri(1), "x");
    refused(&mut world, 0, &Sent::whole("m", private.as_bytes()), "428");
    assert_eq!(world.call(1, "Use-Nickname: \"Bob\"\r\n"), "403");
    world.node.set_leg(world.now, session, LegConfig::new("").chatroom, any());
    assert_eq!(world.say(0, "m", &private), "200");
    assert_eq!(world.call(1, "Use-Nickname: \"Bob\"\r\n"), "200");
}

#[test]
fn other_methods() {
    let mut world = World::of(1);
    let person = world.person(0);
    for method in ["AUTH", "FROB"] {
        let request = format!(
            "MSRP abcd1234 {method}\r\nTo-Path: {}\r\nFrom-Path: {}\r\n-------abcd1234$\r\n",
            person.own, person.peer
        );
        world.feed(0, request.as_bytes());
        assert_eq!(world.take(0)[0].what, "501", "{method}");
    }
}

// Covers: MSRP-075
#[test]
fn joining() {
    let mut world = World::new(|policy| policy.simultaneous_access = false);
    world.join(&LegConfig::new(&uri(0)));
    let with = |change: &dyn Fn(&mut LegConfig)| {
        let mut config = LegConfig::new(&uri(1));
        change(&mut config);
        config
    };
    let room = |config: &mut LegConfig| config.uris = vec![ROOM.to_owned()];
    let pseudonym = |uri: &str| {
        let uri = uri.to_owned();
        move |config: &mut LegConfig| config.pseudonym = Some(uri.clone())
    };
    let other = "sip:p0@EXAMPLE.com;transport=tcp";
    #[rustfmt::skip]
    let table = [
        (LegConfig::new(other),                                       JoinError::Simultaneous),
        (with(&room),                                                 JoinError::Name),
        (with(&pseudonym(&uri(0))),                                   JoinError::Name),
        (with(&|config| config.anonymous = true),                     JoinError::Name),
        (with(&|config| config.accept_types = "text/plain".parse().unwrap()), JoinError::NoCpim),
        (with(&|config| config.uris.clear()), JoinError::Uris(IdentityError::Count)),
    ];
    for (config, error) in table {
        assert_eq!(world.admit(&config), Err(error), "{config:?}");
    }
    world.node.set_switch(SwitchConfig { legs_max: 1, ..Default::default() });
    assert_eq!(world.admit(&with(&|_| {})), Err(JoinError::Full));
    world.node.close_room(world.now, world.room);
    assert_eq!(world.admit(&with(&|_| {})), Err(JoinError::NoSuchRoom));
}
