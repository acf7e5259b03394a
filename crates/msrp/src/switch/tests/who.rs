//! Who gets a message, and as whose.

use super::*;

fn texts(world: &mut World, who: usize) -> Vec<String> {
    world.messages(who).iter().map(|frame| frame.text().to_owned()).collect()
}

// Covers: MSRP-060, MSRP-075
#[test]
fn all_sessions_of_a_recipient_and_no_other_of_the_sender() {
    let mut world = World::of(2);
    let mine = world.join(&LegConfig::new(&uri(0)));
    let yours = world.join(&LegConfig::new(&uri(1)));
    let regular = cpim(&uri(0), ROOM, "to all");
    let private = cpim(&uri(0), &uri(1), "to you");
    let to_me = cpim(&uri(0), &uri(0), "to me");
    for (id, body) in [("1", &regular), ("2", &private), ("3", &to_me)] {
        assert_eq!(world.say(0, id, body), "200");
    }
    assert_eq!(texts(&mut world, mine), [] as [String; 0]);
    assert_eq!(texts(&mut world, 1), [regular.clone(), private.clone()]);
    assert_eq!(texts(&mut world, yours), [regular.clone(), private]);
    let mut policy = RoomConfig::new(vec![ROOM.to_owned()]);
    policy.own_sessions = true;
    world.node.set_room(world.now, world.room, policy).unwrap();
    for (id, body) in [("4", &regular), ("5", &to_me)] {
        assert_eq!(world.say(0, id, body), "200");
    }
    assert_eq!(texts(&mut world, mine), [regular, to_me]);
}

// Covers: MSRP-062
#[test]
fn uris_are_compared_without_parameters() {
    let mut world = World::of(3);
    let mut tel = LegConfig::new("sip:p3@example.com");
    tel.uris.push("tel:+1-201-555-0123".to_owned());
    let tel = world.join(&tel);
    let from = "sip:p0@EXAMPLE.com;transport=tcp";
    let body = cpim(from, "sip:room@chat.example.com;transport=tcp", "x");
    assert_eq!(world.say(0, "1", &body), "200");
    assert_eq!(texts(&mut world, 1), [body]);
    let body = cpim("sip:p0@example.com", "tel:+12015550123;ext=3", "x");
    assert_eq!(world.say(0, "2", &body), "200");
    assert_eq!(texts(&mut world, tel).last(), Some(&body));
    assert_eq!(texts(&mut world, 2).len(), 1);
}

// Covers: MSRP-068, MSRP-080
#[test]
fn nobody_gets_content_that_was_not_accepted() {
    let mut world = World::of(1);
    let mut plain = LegConfig::new(&uri(1));
    plain.accept_types = "message/cpim".parse().unwrap();
    plain.accept_wrapped_types = "text/plain".parse().unwrap();
    world.join(&plain);
    world.join(&LegConfig::new(&uri(2)));
    let html = of_type("Text/HTML; charset=utf-8", &uri(0), ROOM, "x");
    let text = of_type("Text/Plain; charset=utf-8", &uri(0), ROOM, "x");
    for (id, body) in [("1", &html), ("2", &text)] {
        assert_eq!(world.say(0, id, body), "200");
    }
    assert_eq!(texts(&mut world, 1), std::slice::from_ref(&text));
    assert_eq!(texts(&mut world, 2), [html, text]);
}

// Covers: MSRP-009
#[test]
fn content_that_was_refused_is_not_sent_again() {
    let mut world = World::of(3).answering();
    let (text, html) = (cpim(&uri(0), ROOM, "x"), of_type("text/html", &uri(0), ROOM, "x"));
    world.say(0, "1", &html);
    assert_eq!(world.answer(1, 415).len(), 1);
    for (id, body) in [("2", &html), ("3", &text)] {
        assert_eq!(world.say(0, id, body), "200");
    }
    assert_eq!(texts(&mut world, 1), std::slice::from_ref(&text));
    assert_eq!(texts(&mut world, 2), [html.clone(), html, text]);
}

// Covers: MSRP-009
#[test]
fn each_of_many_answers_in_one_read_counts() {
    let mut world = World::of(3).answering();
    let (text, html) = (cpim(&uri(0), ROOM, "x"), of_type("text/html", &uri(0), ROOM, "x"));
    for (id, body) in [("1", &text), ("2", &text), ("3", &html), ("4", &text), ("5", &text)] {
        world.say(0, id, body);
    }
    // Three as they are usually written, around a refusal, and one with another comment.
    let answers = ["200 OK", "200 OK", "415", "200 OK", "200 Fine"];
    let got = world.messages(1);
    let all = got.iter().zip(answers).map(|(frame, answer)| world.response(1, frame, answer));
    let octets: String = all.collect();
    world.feed(1, octets.as_bytes());
    world.say(0, "6", &html);
    assert_eq!(texts(&mut world, 1), [""; 0], "the refusal was heard");
    assert_eq!(world.answer_all(2).len(), 6);
    world.pass(crate::RESPONSE_DELAY * 2);
    assert_eq!(world.node.counts(0).unanswered, 0);
}

/// A room with an anonymous participant, who is the first.
fn masked() -> World {
    let mut world = World::new(|_| {});
    let mut config = LegConfig::new(&uri(0));
    config.pseudonym = Some("sip:anonymous7@anonymous.invalid".to_owned());
    config.anonymous = true;
    world.join(&config);
    for number in 1..3 {
        world.join(&LegConfig::new(&uri(number)));
    }
    world
}

// Covers: MSRP-062, MSRP-069, SEC-044
#[test]
fn an_anonymous_participant_is_known_by_the_pseudonym_only() {
    let mut world = masked();
    let pseudonym = "sip:anonymous7@anonymous.invalid";
    for (id, from) in [("1", uri(0)), ("2", pseudonym.to_owned())] {
        let named = cpim(&from, ROOM, "hello").replace("From: <", "From: \"P Zero\" <");
        let bare = cpim(pseudonym, ROOM, "hello");
        for (id, range, copied) in [
            (format!("{id}a"), "1-*/*".to_owned(), "1-*/*".to_owned()),
            (format!("{id}b"), format!("1-{0}/{0}", named.len()), format!("1-{0}/{0}", bare.len())),
        ] {
            let sent = Sent { range: &range, ..Sent::whole(&id, named.as_bytes()) };
            assert_eq!(world.chunk(0, &sent)[0].what, "200");
            for who in [1, 2] {
                let got = world.messages(who);
                assert_eq!(got[0].text(), bare);
                assert_eq!(got[0].range.unwrap().to_string(), copied);
            }
        }
    }
}

// Covers: MSRP-062, MSRP-069
#[test]
fn a_private_message_or_notification_to_a_pseudonym_reaches_its_owner() {
    let mut world = masked();
    let pseudonym = "sip:anonymous7@anonymous.invalid";
    let text = cpim(&uri(1), pseudonym, "psst");
    let imdn = of_type("message/imdn+xml", &uri(1), pseudonym, "<imdn/>");
    assert_eq!(world.say(1, "1", &text), "200");
    assert_eq!(world.say(1, "2", &imdn), "200");
    assert_eq!(texts(&mut world, 0), [text, imdn]);
    assert_eq!(texts(&mut world, 2), [] as [String; 0]);
    // The URI behind it is not there.
    assert_eq!(world.say(1, "3", &cpim(&uri(1), &uri(0), "who?")), "404");
}

// Covers: MSRP-073
#[test]
fn a_notification_goes_to_the_sender_of_its_message_only() {
    let mut world = World::of(2);
    world.join(&LegConfig { chatroom: None, ..LegConfig::new(&uri(2)) });
    let imdn = of_type("message/imdn+xml", &uri(0), &uri(2), "<imdn/>");
    assert_eq!(world.say(0, "1", &imdn), "200");
    assert_eq!(texts(&mut world, 2), [imdn]);
    assert_eq!(texts(&mut world, 1), [] as [String; 0]);
}

// Covers: MSRP-091
#[test]
fn a_report_about_a_private_message_says_which() {
    let mut world = World::of(3);
    let body = cpim(&uri(0), &uri(1), "hello").replace("From: <", "From: Me <");
    let sent = Sent { headers: "Success-Report: yes\r\n", ..Sent::whole("1", body.as_bytes()) };
    let answers = world.chunk(0, &sent);
    let report = answers.iter().find(|frame| frame.what == "REPORT").unwrap();
    assert_eq!(report.content_type, "message/cpim");
    let expect = format!("From: Me <{}>\r\nTo: <{}>\r\n\r\n", uri(0), uri(1));
    assert_eq!(report.text(), expect);
    assert_eq!(report.status, "000 200 OK");
}

// Covers: MSRP-092
#[test]
fn a_client_that_knows_no_chat_rooms_is_told_what_this_is() {
    let mut world = masked();
    let who = world.admit(&LegConfig { chatroom: None, ..LegConfig::new(&uri(9)) }).unwrap();
    world.bind(who);
    let got = world.messages(who);
    assert_eq!(got.len(), 1);
    let text = got[0].text();
    let head = format!("From: <{ROOM}>\r\nTo: <{}>\r\n\r\nContent-Type: text/plain", uri(9));
    assert!(text.starts_with(&head), "{text}");
    let list = format!("sip:anonymous7@anonymous.invalid, {}, {}.", uri(1), uri(2));
    assert!(text.contains("chat room") && text.ends_with(&list), "{text}");
    assert!(!text.contains(&uri(0)), "{text}");
    // Not for those who know, and not where the policy says no.
    let mut world = World::new(|policy| policy.welcome = false);
    let who = world.admit(&LegConfig { chatroom: None, ..LegConfig::new(&uri(9)) }).unwrap();
    world.bind(who);
    assert_eq!(world.messages(who), []);
}

#[test]
fn a_welcome_names_not_more_than_some() {
    let mut world = World::of(60);
    let who = world.admit(&LegConfig { chatroom: None, ..LegConfig::new("sip:new@x") }).unwrap();
    world.bind(who);
    let got = world.messages(who);
    let text = got[0].text();
    assert!(text.contains(&uri(49)) && !text.contains(&uri(50)), "{text}");
    assert!(text.ends_with(" and 10 more."), "{text}");
}

// Covers: MSRP-061, MSRP-084
#[test]
fn what_is_not_wrapped_is_wrapped_where_the_room_does_that() {
    let mut world = World::new(|policy| policy.wraps = true);
    for number in 0..2 {
        world.join(&LegConfig::new(&uri(number)));
    }
    let content_type = "text/plain; charset=utf-8";
    let whole = Sent { content_type, range: "1-5/5", ..Sent::whole("1", b"hello") };
    assert_eq!(world.chunk(0, &whole)[0].what, "200");
    let got = world.messages(1);
    let expect = of_type(content_type, &uri(0), ROOM, "hello");
    assert_eq!(got[0].text(), expect);
    assert_eq!(got[0].content_type, "message/cpim");
    assert_eq!(got[0].range.unwrap().to_string(), format!("1-{0}/{0}", expect.len()));
    // In chunks, of which only the first has the headers.
    let long = "x".repeat(3000);
    for (range, body, flag) in [("1-*/6000", &long, '+'), ("3001-*/6000", &long, '$')] {
        let chunk = Sent { content_type, range, body: body.as_bytes(), flag, ..whole };
        let chunk = Sent { message_id: "2", ..chunk };
        assert_eq!(world.chunk(0, &chunk)[0].what, "200");
    }
    let whole = reassemble(&world.messages(1));
    let expect = of_type(content_type, &uri(0), ROOM, &"x".repeat(6000));
    assert_eq!(String::from_utf8(whole[0].octets.clone()).unwrap(), expect);
}

// Covers: MSRP-062, MSRP-069
#[test]
fn a_participant_may_withhold_his_name_later() {
    let mut world = World::of(3);
    let pseudonym = "sip:anonymous7@anonymous.invalid";
    let session = world.person(0).session;
    for taken in [uri(1), ROOM.to_owned()] {
        assert_eq!(world.node.hide_leg(world.now, session, &taken), Err(JoinError::Name));
    }
    assert_eq!(world.say(0, "1", &cpim(&uri(0), ROOM, "known")), "200");
    world.node.hide_leg(world.now, session, "sip:anonymous6@anonymous.invalid").unwrap();
    world.node.hide_leg(world.now, session, pseudonym).unwrap();
    assert_eq!(world.say(0, "2", &cpim(&uri(0), ROOM, "unknown")), "200");
    let got = [cpim(&uri(0), ROOM, "known"), cpim(pseudonym, ROOM, "unknown")];
    assert_eq!(texts(&mut world, 1), got);
    for gone in [uri(0), "sip:anonymous6@anonymous.invalid".to_owned()] {
        assert_eq!(world.say(1, "3", &cpim(&uri(1), &gone, "who?")), "404", "{gone}");
    }
    assert_eq!(world.say(1, "4", &cpim(&uri(1), pseudonym, "psst")), "200");
    // With the session its names go.
    world.node.remove_leg(world.now, session);
    world.join(&LegConfig::new(&uri(0)));
    world.join(&LegConfig::new(pseudonym));
}
