//! What the function of the sender has to say about services that are hosted here.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use parlance_isc::SessionCase::Originating;
use parlance_isc::{Cx, Function, Incoming, Reply, Role, Task};
use parlance_store::{Profile, Rights};

use super::sessions::{LARGE, SDP, alice, invites, with};
use super::world::{Setup, World, status};
use crate::event::{Ended, Step};
use crate::policy::SessionPolicy;

/// A controlling function that keeps what it gets.
#[derive(Default)]
pub(super) struct Conferences(pub(super) RefCell<Vec<Incoming>>);

impl Role for Conferences {
    fn transaction(self: Rc<Self>, _: Cx, request: Incoming) -> Task {
        Box::pin(async move {
            self.0.borrow_mut().push(request);
            std::future::pending().await
        })
    }
}

// Covers: PF-050, ROLE-003, ROLE-018
#[tokio::test(start_paused = true)]
async fn between_users_of_one_domain_there_is_a_conference_unless_the_operator_lets_them() {
    let conferences = Rc::new(Conferences::default());
    let setup = |peer_to_peer| Setup {
        policy: with(SessionPolicy { peer_to_peer, sessions_max: 1, ..SessionPolicy::default() }),
        controlling: Some(conferences.clone()),
        ..alice(Profile::default())
    };
    let world = World::new(setup(false)).await;
    invites(&world, Originating, "").await;
    world.nothing_was_sent();
    let incoming = conferences.0.borrow_mut().pop().expect("it was handed over");
    assert_eq!(incoming.decision().role, Function::Participating(Originating));
    invites(&world, Originating, "").await;
    assert_eq!(status(&world.answered()), 403, "the conference counts while it lasts");
    drop(incoming);
    world.sent();
    let world = World::new(setup(true)).await;
    invites(&world, Originating, "").await;
    world.forwarded();
    let world = World::new(setup(false)).await;
    invites(&world, Originating, "Request-URI: sip:g@elsewhere.test").await;
    world.forwarded();
    invites(&world, Originating, LARGE).await;
    world.forwarded();
}

// Covers: ROLE-007, PF-070
#[tokio::test(start_paused = true)]
async fn the_originators_function_has_its_say_about_a_service() {
    let conferences = Rc::new(Conferences::default());
    let setup = |rights| Setup {
        policy: with(SessionPolicy { sessions_max: 1, ..SessionPolicy::default() }),
        controlling: Some(conferences.clone()),
        ..alice(Profile { rights, ..Profile::default() })
    };
    let factory = "Request-URI: sip:im-conf@ims.test";
    let world = World::new(setup(Rights::default())).await;
    invites(&world, Originating, factory).await;
    world.nothing_was_sent();
    assert_eq!(conferences.0.borrow().len(), 1);
    invites(&world, Originating, factory).await;
    assert_eq!(status(&world.answered()), 403);
    conferences.0.borrow_mut().clear();
    let world = World::new(setup(Rights { session: false, ..Rights::default() })).await;
    invites(&world, Originating, factory).await;
    assert_eq!(status(&world.answered()), 403);
    assert!(conferences.0.borrow().is_empty());
}

/// A service that has everybody for a second.
struct Hosting;

impl Role for Hosting {
    fn transaction(self: Rc<Self>, cx: Cx, request: Incoming) -> Task {
        Box::pin(async move {
            let mut invite = cx.take(request);
            let mut lent = invite.take_permit().expect("something is lent with every INVITE");
            lent.started();
            cx.after(Duration::from_secs(1)).await;
            lent.ended(408);
            drop(lent);
            invite.reply(&Reply::new(480));
        })
    }
}

// Covers: PF-096
#[tokio::test(start_paused = true)]
async fn the_life_of_a_session_with_a_service_hosted_here_is_told() {
    let setup = |rights| Setup {
        controlling: Some(Rc::new(Hosting)),
        ..alice(Profile { rights, ..Profile::default() })
    };
    let over = Step::Ended(Ended { cause: 408, traffic: None });
    // A conference, and a user whose session with Alice becomes one.
    for target in ["sip:im-conf@ims.test", "sip:bob@ims.test"] {
        let world = World::new(setup(Rights::default())).await;
        invites(&world, Originating, &format!("Request-URI: {target}")).await;
        world.pass(Duration::from_secs(2)).await;
        let told = world.events().into_iter().map(|(case, user, step)| {
            assert_eq!((case, &*user), (Originating, "sip:alice@ims.test"), "{target}");
            step
        });
        let told: Vec<Step> = told.collect();
        assert_eq!(told, [Step::Received, Step::Forwarded, Step::Started, over], "{target}");
        let world = World::new(setup(Rights { session: false, ..Rights::default() })).await;
        invites(&world, Originating, &format!("Request-URI: {target}")).await;
        let told: Vec<Step> = world.events().into_iter().map(|(.., step)| step).collect();
        assert_eq!(told, [Step::Received, Step::Answered(403)], "{target}");
    }
}

// Covers: PF-040
#[tokio::test(start_paused = true)]
async fn an_advertisement_to_a_list_or_a_group_needs_the_same_right() {
    const LIST: &str = "Request-URI: sip:im-exploder@ims.test\nRequire: recipient-list-message\n\
                        Content-Type: multipart/mixed;boundary=b";
    const GROUP: &str = "Request-URI: sip:im-group-7@ims.test\n\
                         Content-Type: application/vnd.poc.group-advertisement+xml";
    let parts = "--b\r\nContent-Type: application/resource-lists+xml\r\n\r\n<l/>\r\n--b\r\n\
                 Content-Type: application/vnd.poc.group-advertisement+xml\r\n\r\n<a/>\r\n--b--";
    let conferences = Rc::new(Conferences::default());
    for may in [true, false] {
        let rights = Rights { group_advertisement: may, ..Rights::default() };
        let profile = Profile { rights, ..Profile::default() };
        let setup = Setup { controlling: Some(conferences.clone()), ..alice(profile) };
        let world = World::new(setup).await;
        for (headers, body) in [(LIST, parts), (GROUP, "<a/>")] {
            world.alice_sends(headers, body).await;
            if may {
                assert_eq!(conferences.0.borrow_mut().drain(..).count(), 1, "{headers}");
                world.sent();
            } else {
                assert_eq!(status(&world.answered()), 403, "{headers}");
                assert!(conferences.0.borrow().is_empty(), "{headers}");
            }
        }
    }
}

// Covers: SEC-030
#[tokio::test(start_paused = true)]
async fn the_profile_says_what_a_user_may_do() {
    let all = Rights::default();
    let list = |count| {
        let entries: String = (0..count).map(|n| format!("<entry uri=\"sip:u{n}@h\"/>")).collect();
        format!(
            "--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b\r\n\
             Content-Type: application/resource-lists+xml\r\n\
             Content-Disposition: recipient-list\r\n\r\n\
             <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{entries}</list>\
             </resource-lists>\r\n--b--\r\n"
        )
    };
    let file = format!("{SDP}a=file-selector:name:\"a.png\" size:9\r\na=file-transfer-id:x\r\n");
    let text = SDP.to_owned();
    const FACTORY: &str = "Request-URI: sip:im-conf@ims.test\nRequire: recipient-list-invite\n\
                           Content-Type: multipart/mixed;boundary=b";
    const EXPLODER: &str = "Request-URI: sip:im-exploder@ims.test\n\
                            Require: recipient-list-message\nContent-Type: multipart/mixed;boundary=b";
    const ELSEWHERE: &str = "Request-URI: sip:bob@elsewhere.test";
    const SESSION: &str = "Request-URI: sip:s1@elsewhere.test\n";
    let expel = format!("{SESSION}Refer-To: <sip:carol@ims.test;method=BYE>");
    let add = format!("{SESSION}Refer-To: <sip:carol@ims.test;method=INVITE>");
    let private = format!("{ELSEWHERE}\nPrivacy: id");
    #[rustfmt::skip]
    let table = [
        (Rights { ad_hoc_group: false, ..all },  "INVITE",  FACTORY,   list(2), false),
        (Rights { ad_hoc_group: false, ..all },  "INVITE",  FACTORY,   list(1), true),
        (Rights { exploder: false, ..all },      "MESSAGE", EXPLODER,  list(1), false),
        (Rights { exploder: false, ..all },      "INVITE",  FACTORY,   list(2), true),
        (Rights { file_transfer: false, ..all }, "INVITE",  ELSEWHERE, file,    false),
        (Rights { file_transfer: false, ..all }, "INVITE",  ELSEWHERE, text.clone(), true),
        (Rights { anonymity: false, ..all },     "INVITE",  &private,  text.clone(), false),
        (Rights { anonymity: false, ..all },     "MESSAGE", &private,  text.clone(), false),
        (Rights { anonymity: false, ..all },     "MESSAGE", ELSEWHERE, text,    true),
        (Rights { expel: false, ..all },         "REFER",   &expel,    String::new(), false),
        (Rights { expel: false, ..all },         "REFER",   &add,      String::new(), true),
    ];
    for (rights, method, headers, body, may) in table {
        for granted in [all, rights] {
            let setup = Setup {
                controlling: Some(Rc::new(Conferences::default())),
                ..alice(Profile { rights: granted, ..Profile::default() })
            };
            let world = World::new(setup).await;
            world.asks(Originating, method, headers, &body).await;
            let refused = world.sent().iter().any(|sent| status(sent) == 403);
            assert_eq!(refused, granted != all && !may, "{method} {headers} {body}");
        }
    }
}
