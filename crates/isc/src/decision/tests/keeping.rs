//! The services that keep messages: they are no users whose messages are kept.

use super::{ALICE, IM, World, refused};
use crate::decision::{Function, Refusal};
use crate::fixture::request;
use crate::served_user::Subscriber;

const DEFERRED: &str = "sip:im-deferred@ims.test";
const HISTORY: &str = "sip:im-history@ims.test";

/// What a request of Alice's gets on her side, and where the core serves the service itself.
fn roles(world: &dyn Fn() -> World, method: &str, uri: &str, headers: &str) -> [Function; 2] {
    let ask = |world: &World, served: &str| {
        world.role(&request(&format!(
            "{method} {uri} SIP/2.0\r\nFrom: <sip:alice@ims.test>;tag=1\r\nTo: <{uri}>\r\n\
             {ALICE}\r\n{IM}\r\n{headers}\r\nP-Served-User: {served}\r\n\r\n"
        )))
    };
    let own = ask(&world(), "<sip:alice@ims.test>;sescase=orig;regstate=reg");
    let theirs = World { listener: 1, subscriber: Some(Subscriber::Unknown), ..world() };
    [own, ask(&theirs, &format!("<{uri}>;sescase=term;regstate=unreg"))]
}

// Covers: ROLE-007, ROLE-012, DF-011, DF-020
#[test]
fn what_is_sent_to_them_is_not_kept() {
    const SUMMARY: &str = "Event: message-summary";
    let deferred = || {
        let mut world = World::new();
        world.services.running.deferred = true;
        world
    };
    let not_allowed = refused(Refusal::MethodNotAllowed(vec!["SUBSCRIBE", "OPTIONS"]));
    let bad_event = refused(Refusal::BadEvent(vec!["message-summary".into()]));
    #[rustfmt::skip]
    let table = [
        ("MESSAGE",   DEFERRED, "Subject: x",      not_allowed.clone()),
        ("INVITE",    DEFERRED, "Subject: x",      not_allowed.clone()),
        ("REFER",     DEFERRED, "Refer-To: <sip:b@h>", not_allowed),
        ("SUBSCRIBE", DEFERRED, SUMMARY,           Function::Deferred),
        ("SUBSCRIBE", DEFERRED, "Event: presence", bad_event),
        ("OPTIONS",   DEFERRED, "Subject: x",      Function::Server),
        // It does not run.
        ("MESSAGE",   HISTORY,  "Subject: x",      refused(Refusal::NotFound)),
        ("INVITE",    HISTORY,  "Subject: x",      refused(Refusal::NotFound)),
        ("SUBSCRIBE", HISTORY,  SUMMARY,           refused(Refusal::NotFound)),
    ];
    for (method, uri, headers, expected) in table {
        let found = roles(&deferred, method, uri, headers);
        assert_eq!(found, [expected.clone(), expected], "{method} {uri} {headers}");
    }
}
