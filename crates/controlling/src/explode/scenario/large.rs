//! Large messages: who is called, and what comes of it.

use std::cell::RefCell;

use parlance_msrp::ConnectionId;
use parlance_sip::HeaderName;
use parlance_store::{Explosions, NewExplosion, Profile};

use super::{ALICE, Answer, CHESS, FACTORY, Runs, Sent, T0, World};
use crate::Policy;
use crate::explode::ExplodePolicy;
use crate::explode::job::{About, Job, Recipient};

/// The description of a user whose client connects.
pub(super) fn sdp(name: &str, direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
         m=message 7654 TCP/MSRP *\r\na=accept-types:text/plain message/cpim\r\n\
         a=accept-wrapped-types:*\r\na=path:msrp://10.0.0.1:7654/{name};tcp\r\na=setup:active\r\n\
         a={direction}\r\n"
    )
}

/// An INVITE of Alice for a large message. A line of `headers` that begins like one of its own
/// stands for it.
fn invite(to: &str, call: u32, headers: &str, description: &str, list: Option<&str>) -> String {
    let (content_type, body) = match list {
        None => ("application/sdp", description.to_owned()),
        Some(entries) => {
            let description = format!("Content-Type: application/sdp\r\n\r\n{description}");
            (super::MIXED, super::parts(&[&description, &super::list(entries)]))
        }
    };
    let given = format!(
        "Accept-Contact: *;+g.oma.sip-im.large-message;require;explicit\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:alice@127.0.0.10:5060>\r\n{headers}"
    );
    super::message(to, call, &given, (content_type, &body)).replacen("MESSAGE", "INVITE", 1)
}

/// The ACK to the 200 of the INVITE of a call.
fn ack(to: &str, call: u32, response: &parlance_sip::Response) -> String {
    let tagged = String::from_utf8_lossy(response.field(HeaderName::To).unwrap()).into_owned();
    format!(
        "ACK {to} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKack{call}\r\n\
         Max-Forwards: 68\r\nFrom: \"Alice\" <sip:alice@ims.test>;tag=a1\r\nTo: {tagged}\r\n\
         Call-ID: call-{call}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A job for these recipients, kept as by a server that was killed.
async fn killed(runs: &Runs, recipients: &[&str], about: About) {
    let template = parlance_sip::RequestBuilder::new("MESSAGE", "sip:copy.invalid")
        .octets(b"From", b"<sip:alice@ims.test>")
        .octets(b"P-Asserted-Identity", b"<sip:alice@ims.test>")
        .octets(b"Accept-Contact", b"*;+g.oma.sip-im.large-message;require;explicit")
        .octets(b"Content-Type", b"text/plain")
        .build(&[b'x'; 3000])
        .unwrap();
    let recipients = recipients.iter().map(|uri| {
        let uri = (*uri).to_owned();
        Recipient { uri, ..Recipient::default() }.write()
    });
    let about = About {
        originator: ALICE.into(),
        service: FACTORY.into(),
        offer: Some(sdp("alice", "sendonly")),
        report: true,
        ..about
    };
    let new = NewExplosion {
        dedup: [1; 16],
        received: runs.clock.now(),
        expires: runs.clock.now() + std::time::Duration::from_secs(3600),
        seed: [7; 16],
        payload: Job { about, template }.write(),
        recipients: recipients.collect(),
    };
    runs.store.begin(new, 10, runs.clock.now()).await.unwrap();
}

/// The INVITEs among what was sent.
fn invites(world: &World) -> Vec<Sent> {
    world.sent().into_iter().filter(|sent| sent.request.body().starts_with(b"v=0")).collect()
}

fn report(world: &World) -> String {
    let told: Vec<_> = world.sent().into_iter().filter(|sent| sent.to() == ALICE).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    String::from_utf8_lossy(told[0].request.body()).into_owned()
}

// Covers: CF-020, CF-021
#[tokio::test(start_paused = true)]
async fn every_final_response_has_its_reaction() {
    use Answer::{Now, Unreachable, With};
    #[rustfmt::skip]
    let table = [
        // whom, the answers to his INVITEs one after the other, what became of it
        ("sip:a@ims.test",  vec![Now(486)],                          "486 Busy Here"),
        ("sip:b@ims.test",  vec![Now(480)],                          "480 Temporarily Unavailable"),
        ("sip:c@ims.test",  vec![Now(404)],                          "404 Not Found"),
        ("sip:d@ims.test",  vec![Now(488)],                          "488 Not Acceptable Here"),
        ("sip:e@both.test", vec![Now(488), Now(603)],                "603 Decline"),
        ("sip:f@both.test", vec![Now(606), Now(606)],                "606 Not Acceptable"),
        ("sip:g@ims.test",  vec![With(302, "<sip:g2@ims.test>")],    "302 Moved Temporarily"),
        ("sip:h@ims.test",  vec![With(302, "<sip:h@home2.test>")],   "302 Moved Temporarily"),
        ("sip:i@ims.test",  vec![Now(302)],                          "302 Moved Temporarily"),
        ("sip:j@ims.test",  vec![Now(503)],                          "503 Service Unavailable"),
        ("sip:k@ims.test",  vec![Now(600)],                          "600 Busy Everywhere"),
        ("sip:l@ims.test",  vec![Unreachable; 4],                    "503 Service Unavailable"),
        ("sip:m@ims.test",  vec![Unreachable, Now(486)],             "486 Busy Here"),
        ("sip:n@ims.test",  vec![Now(415)],                          "415 Unsupported Media Type"),
    ];
    let runs = Runs::new(Policy::default());
    let recipients: Vec<_> = table.iter().map(|(recipient, ..)| *recipient).collect();
    killed(&runs, &recipients, About::default()).await;
    runs.run(async |world: &World| {
        let mut left: std::collections::HashMap<String, Vec<Answer>> =
            table.iter().map(|(to, answers, _)| ((*to).to_owned(), answers.clone())).collect();
        world.script(move |request| {
            let to = String::from_utf8_lossy(request.uri_text()).into_owned();
            match left.get_mut(&to) {
                Some(answers) if !answers.is_empty() => answers.remove(0),
                Some(_) => panic!("{to} is called too often"),
                None if to == "sip:g2@ims.test" => With(302, "<sip:g3@ims.test>"),
                None => Now(200),
            }
        });
        world.after(60.0).await;
        let report = report(world);
        for (recipient, _, outcome) in &table {
            let line = format!("{recipient}: {outcome}");
            assert!(report.lines().any(|found| found == line), "{line}: {report}");
        }
        assert!(report.starts_with("Delivered to 0 of 14 recipients."), "{report}");
        assert_eq!(world.kept().await, 0);
        let to_e: Vec<_> =
            invites(world).into_iter().filter(|it| it.to().contains(":e@")).collect();
        assert!(to_e[0].text().contains("TCP/TLS/MSRP") && to_e[1].text().contains(" TCP/MSRP"));
        assert_ne!(to_e[0].identity(), to_e[1].identity());
        assert_eq!(world.core.load(), (0, 0), "no session is left");
    })
    .await;
}

/// The client of a recipient over MSRP.
struct Client<'a> {
    world: &'a World,
    connection: ConnectionId,
    own: String,
    ours: String,
    /// What was written to him so far and not looked at.
    written: RefCell<String>,
}

impl<'a> Client<'a> {
    /// Connects to the session that an INVITE offered, and says so.
    fn connect(world: &'a World, ours: &str, own: &str) -> Self {
        let own = format!("msrp://10.0.0.1:7654/{own};tcp");
        let connection = world.core.accept();
        let (ours, written) = (ours.to_owned(), RefCell::default());
        let client = Self { world, connection, own, ours, written };
        let empty = client.frame("tid0", "SEND", "Message-ID: 0\r\nByte-Range: 1-0/0\r\n", "$");
        *client.written.borrow_mut() = world.core.octets(connection, &empty);
        client
    }

    fn frame(&self, id: &str, start: &str, rest: &str, flag: &str) -> String {
        let Self { own, ours, .. } = self;
        format!(
            "MSRP {id} {start}\r\nTo-Path: {ours}\r\nFrom-Path: {own}\r\n{rest}\
             -------{id}{flag}\r\n"
        )
    }

    /// Sends all of a message, or its beginning; what is answered.
    async fn send(&self, id: &str, body: &str, total: usize) -> String {
        self.send_as(id, "text/plain", body, total).await
    }

    async fn send_as(&self, id: &str, content_type: &str, body: &str, total: usize) -> String {
        let (end, flag) = (body.len(), if body.len() == total { "$" } else { "+" });
        let rest = format!(
            "Message-ID: m-{id}\r\nByte-Range: 1-{end}/{total}\r\n\
             Content-Type: {content_type}\r\n\r\n{body}\r\n"
        );
        let mut written =
            self.world.core.octets(self.connection, &self.frame(id, "SEND", &rest, flag));
        self.world.after(0.5).await;
        written += &self.world.core.written(self.connection);
        let line = written.lines().find(|line| line.starts_with(&format!("MSRP {id} ")));
        line.unwrap_or_default().to_owned()
    }

    /// Takes all that is sent and answers each chunk so; the content.
    async fn take(&self, status: &str) -> String {
        let mut all = String::new();
        loop {
            self.world.after(0.1).await;
            let written = self.written.take() + &self.world.core.written(self.connection);
            let ids: Vec<String> = written
                .lines()
                .filter_map(|line| line.strip_prefix("MSRP ")?.strip_suffix(" SEND"))
                .map(str::to_owned)
                .collect();
            if ids.is_empty() {
                return all;
            }
            all += &written;
            for id in ids {
                let answer = self.frame(&id, status, "", "$");
                *self.written.borrow_mut() += &self.world.core.octets(self.connection, &answer);
            }
        }
    }
}

fn path_in(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("a=path:"));
    line.expect("a path").to_owned()
}

/// Whether a BYE went.
fn ended(world: &World) -> bool {
    world.sent().iter().any(|sent| sent.request.method() == parlance_sip::Method::Bye)
}

// Covers: CF-020, CF-021
#[tokio::test(start_paused = true)]
async fn the_message_goes_in_a_session_of_its_own() {
    for (status, outcome) in [("200 OK", "200 OK"), ("413 Stop", "413 Request Entity Too Large")] {
        let runs = Runs::new(Policy::default());
        let history = Some("<resource-lists/>".to_owned());
        killed(&runs, &["sip:bob@ims.test"], About { history, ..About::default() }).await;
        runs.run(async |world: &World| {
            world.script(|request| match request.method() {
                parlance_sip::Method::Invite => Answer::With(200, "<sip:bob@127.0.0.10:5060>"),
                _ => Answer::Now(200),
            });
            world.after(1.0).await;
            let invite = &world.sent()[0];
            let text = invite.text();
            for expected in [
                "INVITE sip:bob@ims.test SIP/2.0\r\n",
                "From: <sip:alice@ims.test>;tag=",
                "P-Asserted-Identity: <sip:alice@ims.test>\r\n",
                "Accept-Contact: *;+g.oma.sip-im.large-message;require;explicit\r\n",
                "Contact: <sip:im-conf@127.0.0.20:5080",
                "P-IM-Exploded: 1\r\n",
                "a=sendonly\r\n",
                "Content-Disposition: recipient-list-history; handling=optional\r\n",
            ] {
                assert!(text.contains(expected), "{expected}: {text}");
            }
            assert!(!text.contains("isfocus"), "{text}");
            let client = Client::connect(world, &path_in(&text), "bob");
            let got = client.take(status).await;
            assert!(got.contains("Content-Type: text/plain\r\n") && got.contains("xxx"), "{got}");
            world.after(5.0).await;
            assert!(ended(world), "the server ends the session");
            assert!(report(world).ends_with(&format!("sip:bob@ims.test: {outcome}")));
            assert_eq!((world.kept().await, world.core.load()), (0, (0, 0)));
        })
        .await;
    }
}

// Covers: CF-021
#[tokio::test(start_paused = true)]
async fn who_accepts_and_never_connects_is_given_up() {
    let explode = ExplodePolicy { large_transfer_s: 30, ..ExplodePolicy::default() };
    let runs = Runs::new(Policy { explode, ..Policy::default() });
    killed(&runs, &["sip:bob@ims.test"], About::default()).await;
    runs.run(async |world: &World| {
        world.answers(Answer::With(200, "<sip:bob@127.0.0.10:5060>"));
        world.after(29.0).await;
        assert!(!ended(world));
        world.after(200.0).await;
        assert!(ended(world));
        assert!(report(world).starts_with("Delivered to 0 of 1 recipients."));
        assert_eq!((world.kept().await, world.core.load()), (0, (0, 0)));
    })
    .await;
}

// Covers: CF-021
#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_not_called_for_ever() {
    let runs = Runs::new(Policy { ring_s: 20, ..Policy::default() });
    killed(&runs, &["sip:bob@ims.test"], About::default()).await;
    runs.run(async |world: &World| {
        world.script(|request| match request.method() {
            parlance_sip::Method::Invite => Answer::Now(180),
            _ => Answer::Now(200),
        });
        world.after(19.0).await;
        assert_eq!(world.kept().await, 1);
        world.after(60.0).await;
        let cancelled = |sent: &Sent| sent.request.method() == parlance_sip::Method::Cancel;
        assert!(world.sent().iter().any(cancelled), "{:?}", world.recipients());
        assert!(report(world).ends_with("sip:bob@ims.test: 408 Request Timeout"));
    })
    .await;
}

// Covers: CF-010, CF-021
#[tokio::test(start_paused = true)]
async fn a_server_that_stops_leaves_calls_to_the_next() {
    let runs = Runs::new(Policy::default());
    killed(&runs, &["sip:bob@ims.test", "sip:carol@ims.test"], About::default()).await;
    let mut before = Vec::new();
    runs.run(async |world: &World| {
        world.script(|request| match request.uri_text() {
            b"sip:carol@ims.test" => Answer::Now(486),
            _ => Answer::Now(180),
        });
        world.after(1.0).await;
        before = invites(world);
        // Killed.
    })
    .await;
    assert_eq!(before.len(), 2);
    runs.run(async |world: &World| {
        world.answers(Answer::Now(486));
        world.after(5.0).await;
        let after = invites(world);
        assert_eq!(after.len(), 1, "what is done is not done again");
        assert_eq!(after[0].to(), "sip:bob@ims.test");
        let names = [HeaderName::CallId, HeaderName::From];
        for name in names {
            assert_ne!(after[0].field(name), before[0].field(name), "it is a new session");
        }
        assert_eq!(world.kept().await, 0);
    })
    .await;
}

// Covers: CF-004, CF-008, CF-013, CF-016, CF-021
#[tokio::test(start_paused = true)]
async fn what_may_not_be_sent_is_refused_at_once() {
    let offer = sdp("alice", "sendonly");
    let told = format!("{offer}a=file-selector:size:2000000\r\na=file-transfer-id:x\r\n");
    let late = "Date: Wed, 01 Mar 2006 10:15:00 GMT\r\nExpires: 10";
    let eve = "P-Asserted-Identity: <sip:eve@home2.test>\r\nFrom: <sip:eve@home2.test>;tag=1";
    let (two, fifty_one) = (super::users(2), super::users(51));
    let foreign = "<entry uri='sip:bob@home2.test'/>";
    let tls = offer.replace("TCP/MSRP", "TCP/TLS/MSRP").replace("msrp:", "msrps:");
    #[rustfmt::skip]
    let table = [
        (FACTORY, "",   offer.as_str(), None,                   400),
        (FACTORY, "",   offer.as_str(), Some("<entry/>"),       400),
        (FACTORY, "",   offer.as_str(), Some(fifty_one.as_str()), 403),
        (FACTORY, "",   offer.as_str(), Some(foreign),          470),
        (FACTORY, "",   "v=0\r\n",      Some(two.as_str()),     488),
        (FACTORY, "",   tls.as_str(),   Some(two.as_str()),     488),
        (FACTORY, "",   told.as_str(),  Some(two.as_str()),     403),
        (FACTORY, late, offer.as_str(), Some(two.as_str()),     480),
        (FACTORY, "",   offer.as_str(), Some("<entry uri='sip:alice@ims.test'/>"), 480),
        (CHESS,   "",   offer.as_str(), Some(two.as_str()),     400),
        (CHESS,   eve,  offer.as_str(), None,                   403),
        (CHESS,   "Privacy: id", offer.as_str(), None,          403),
        ("sip:nobody@ims.test", "", offer.as_str(), None,       404),
        ("sip:lonely@ims.test", "", offer.as_str(), None,       480),
    ];
    let consent = crate::explode::ConsentOf::Foreign;
    let explode = ExplodePolicy { consent, ..ExplodePolicy::default() };
    let mut runs = Runs::new(Policy { explode, ..Policy::default() });
    runs.run(async |world: &World| {
        for (number, (to, headers, offer, list, status)) in (1..).zip(table) {
            let answer = world.give(&invite(to, number, headers, offer, list)).await;
            assert_eq!(answer.status(), status, "{number} {to} {headers}");
        }
        assert!(invites(world).is_empty());
        assert_eq!(world.core.load(), (0, 0));
    })
    .await;
    for change in [
        |profile: &mut Profile| profile.rights.large = false,
        |profile: &mut Profile| profile.barred = true,
        |profile: &mut Profile| profile.provisioned = false,
    ] {
        runs.profiles.clear();
        runs.profiles.push(Profile::new(ALICE.into(), T0));
        change(&mut runs.profiles[0]);
        runs.run(async |world: &World| {
            let answer = world.give(&invite(CHESS, 99, "", &offer, None)).await;
            assert_eq!(answer.status(), 403);
        })
        .await;
    }
}

// Covers: CF-008, CF-020, CF-021, CF-063, CLI-030
#[tokio::test(start_paused = true)]
async fn the_last_chunk_is_answered_when_the_message_is_durable() {
    let explode = ExplodePolicy {
        large_octets_max: 4000,
        large_max: 1,
        copies_per_second: 1,
        copies_burst: 50,
        ..ExplodePolicy::default()
    };
    let runs = Runs::new(Policy { explode, ..Policy::default() });
    runs.run(async |world: &World| {
        world.answers(Answer::Now(180));
        let text = invite(CHESS, 1, "", &sdp("alice", "sendonly"), None);
        let ok = world.give(&text).await;
        assert_eq!(ok.status(), 200);
        let description = String::from_utf8_lossy(ok.body()).into_owned();
        for expected in ["a=recvonly\r\n", "a=max-size:4000\r\n"] {
            assert!(description.contains(expected), "{description}");
        }
        world.tell(&ack("sip:chess@127.0.0.20:5080", 1, &ok)).await;
        let other = invite(CHESS, 2, "", &sdp("alice", "sendonly"), None);
        let other = world.give(&other).await;
        assert_eq!(other.status(), 480, "one session at a time");
        assert!(other.field(HeaderName::RetryAfter).is_some());
        let alice = Client::connect(world, &path_in(&description), "alice");
        let long = "y".repeat(3000);
        assert!(alice.send("tid1", &"z".repeat(4001), 4001).await.contains(" 413"));
        world.store.fail(Some(parlance_store::StoreError::Full("no space".into())));
        assert!(alice.send("tid2", &long, 3000).await.contains(" 403"), "not durable");
        world.store.fail(None);
        assert_eq!(world.kept().await, 0);
        assert!(alice.send("tid3", &long, 3000).await.contains(" 200"));
        assert_eq!(world.kept().await, 1);
        assert!(alice.send("tid4", &long, 3000).await.contains(" 413"), "one at a time");
        let mut to: Vec<_> = invites(world).iter().map(Sent::to).collect();
        to.sort();
        assert_eq!(to, ["sip:bob@home2.test", "sip:carol@ims.test"], "not the sender");
        for invite in invites(world) {
            assert_eq!(invite.field(HeaderName::ReferredBy), format!("<{CHESS}>"));
        }
    })
    .await;
}

// Covers: CF-008, CF-020
#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_when_the_sender_left_is_not_lost() {
    for (comes_after, kept) in [(0.1, 1), (2.5, 0_usize)] {
        let runs = Runs::new(Policy::default());
        runs.run(async |world: &World| {
            world.answers(Answer::Now(180));
            let ok = world.give(&invite(CHESS, 1, "", &sdp("alice", "sendonly"), None)).await;
            let contact = "sip:chess@127.0.0.20:5080";
            world.tell(&ack(contact, 1, &ok)).await;
            let description = String::from_utf8_lossy(ok.body()).into_owned();
            let alice = Client::connect(world, &path_in(&description), "alice");
            let bye = ack(contact, 1, &ok).replace("ACK", "BYE").replace("CSeq: 1", "CSeq: 2");
            assert_eq!(world.give(&bye).await.status(), 200);
            world.after(comes_after).await;
            // The relay in between has answered her long ago.
            let answer = alice.send("tid1", &"y".repeat(3000), 3000).await;
            assert_eq!(answer.contains(" 200"), kept == 1, "{answer}");
            assert_eq!(world.kept().await, kept);
            world.after(2.0).await;
            // One for each of the two whom the message goes to, and hers is over.
            assert_eq!(world.core.load().1, 2 * kept);
        })
        .await;
    }
}

// Covers: CF-014, CF-021, CF-082
#[tokio::test(start_paused = true)]
async fn who_asked_hears_whom_it_did_not_reach() {
    for (to, list, told) in [
        (FACTORY, Some("<entry uri='sip:bob@ims.test'/><entry uri='sip:carol@ims.test'/>"), 2),
        (CHESS, None, 1),
    ] {
        let runs = Runs::new(Policy::default());
        runs.run(async |world: &World| {
            world.script(|request| match request.method() {
                parlance_sip::Method::Invite => Answer::Now(486),
                _ => Answer::Now(200),
            });
            let text = invite(to, 1, "", &sdp("alice", "sendonly"), list);
            let ok = world.give(&text).await;
            assert_eq!(ok.status(), 200);
            world.tell(&ack("sip:a@127.0.0.20:5080", 1, &ok)).await;
            let description = String::from_utf8_lossy(ok.body()).into_owned();
            let alice = Client::connect(world, &path_in(&description), "alice");
            let body = format!(
                "From: <sip:alice@ims.test>\r\nTo: <{to}>\r\nDateTime: 2006-03-01T10:15:00Z\r\n\
                 NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: m1\r\n\
                 imdn.Disposition-Notification: negative-delivery\r\n\r\n\
                 Content-Type: text/plain\r\n\r\n{}",
                "x".repeat(3000)
            );
            let answer = alice.send_as("tid1", "message/cpim", &body, body.len()).await;
            assert!(answer.contains(" 200"), "{answer}");
            world.after(5.0).await;
            let sent = world.sent();
            let notices: Vec<_> = sent.iter().filter(|sent| sent.to() == ALICE).collect();
            assert_eq!(notices.len(), told, "{to}");
            for notice in notices {
                let text = notice.text();
                assert!(text.contains("<message-id>m1</message-id>") && text.contains("<failed/>"));
                assert_eq!(text.contains("recipient-uri"), list.is_some(), "{text}");
            }
        })
        .await;
    }
}

// Covers: CF-018
#[tokio::test(start_paused = true)]
async fn who_rings_keeps_no_message_waiting() {
    let explode = ExplodePolicy { in_flight_max: 1, ..ExplodePolicy::default() };
    let runs = Runs::new(Policy { explode, ..Policy::default() });
    killed(&runs, &["sip:bob@ims.test", "sip:carol@ims.test"], About::default()).await;
    runs.run(async |world: &World| {
        world.script(|request| match request.method() {
            parlance_sip::Method::Invite => Answer::Now(180),
            _ => Answer::Now(200),
        });
        world.after(1.0).await;
        assert_eq!(world.recipients(), ["sip:bob@ims.test"], "one session at a time");
        assert_eq!(world.explode(&super::users(2)).await, 202);
        world.after(5.0).await;
        assert_eq!(world.recipients()[1..], ["sip:u0@ims.test", "sip:u1@ims.test"]);
    })
    .await;
}
