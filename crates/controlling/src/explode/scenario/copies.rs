//! What goes out.

use parlance_sip::HeaderName;

use super::{
    ALICE, Answer, CHESS, EXPLODER, MIXED, REQUIRE, Runs, Sent, TEXT, World, list, parts, story,
    users,
};
use crate::Policy;
use crate::explode::ExplodePolicy;

const THREE: &str = "<entry uri='sip:bob@home2.test' cp:copyControl='to'/>\
    <entry uri='sip:carol@ims.test' cp:copyControl='cc' cp:anonymize='true'/>\
    <entry uri='sip:dave@home2.test' cp:copyControl='bcc'/>";

/// The value of a parameter or field between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).expect("it is there");
    rest.split(after).next().expect("split gives one")
}

// Covers: CF-010, CF-011, CF-012, CF-070, ROLE-005, SEC-048, CORE-037, CORE-050
#[tokio::test(start_paused = true)]
async fn one_message_becomes_many() {
    story(async |world: &World| {
        assert_eq!(world.explode(THREE).await, 202);
        world.after(1.0).await;
        let sent = world.sent();
        let to: Vec<_> = sent.iter().map(Sent::to).collect();
        assert_eq!(to, ["sip:bob@home2.test", "sip:carol@ims.test", "sip:dave@home2.test"]);
        let text = sent[0].text();
        let (branch, tag) = (sent[0].branch(), between(&text, ";tag=", "\r\n"));
        let call_id = sent[0].field(HeaderName::CallId);
        let icid = between(&text, "icid-value=\"", "\"");
        let bound = between(&text, "boundary=\"", "\"");
        let body = format!(
            "--{bound}\r\nContent-Type: text/plain\r\n\r\nhi\r\n\
             --{bound}\r\nContent-Type: application/resource-lists+xml\r\n\
             Content-Disposition: recipient-list-history; handling=optional\r\n\r\n\
             <?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
             <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
             xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\">\r\n  <list>\r\n    \
             <entry uri=\"sip:bob@home2.test\" cp:copyControl=\"to\"/>\r\n    \
             <entry uri=\"sip:anonymous@anonymous.invalid\" cp:copyControl=\"cc\" \
             cp:count=\"1\"/>\r\n  \
             </list>\r\n</resource-lists>\r\n\r\n--{bound}--\r\n"
        );
        let expect = format!(
            "MESSAGE sip:bob@home2.test SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.20:5080;branch={branch}\r\n\
             Max-Forwards: 70\r\n\
             Max-Breadth: 60\r\n\
             Route: <sip:127.0.0.10:5060;lr>\r\n\
             To: <sip:bob@home2.test>\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: 1 MESSAGE\r\n\
             P-Charging-Vector: icid-value=\"{icid}\"\r\n\
             P-IM-Exploded: 1\r\n\
             From: \"Alice\" <sip:alice@ims.test>;tag={tag}\r\n\
             P-Asserted-Identity: <sip:alice@ims.test>\r\n\
             Accept-Contact: *;+g.oma.sip-im;require;explicit\r\n\
             Content-Type: multipart/mixed;boundary=\"{bound}\"\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(text, expect);
        // Each is a request of its own, and nobody hidden is in any of them.
        for other in &sent[1..] {
            let (one, other) = (sent[0].identity(), other.identity());
            assert!(one[0] != other[0] && one[2] != other[2] && one[3] != other[3]);
        }
        for copy in &sent {
            let seen = copy.text();
            for name in ["dave", "carol"] {
                let own = if copy.to().contains(name) { 2 } else { 0 };
                assert_eq!(seen.matches(name).count(), own, "{name}");
            }
        }
        assert_eq!(world.kept().await, 0);
    })
    .await;
}

// Covers: CF-006, CF-007, CF-084
#[tokio::test(start_paused = true)]
async fn each_recipient_of_all_lists_gets_one_copy() {
    story(async |world: &World| {
        let first = list(
            "<entry uri='sip:bob@home2.test;method=INVITE\
             ?Priority=urgent&amp;body=x&amp;Subject=a%20b'/>\
             <list><entry uri='sip:carol@ims.test'/></list><entry uri='sip:alice@ims.test'/>",
        );
        let second = list(
            "<entry uri='sip:bob@HOME2.test' cp:copyControl='to'/><entry uri='mailto:x@y'/>\
             <entry uri='tel:+15550000001'/>",
        );
        let body = parts(&[&first, TEXT, &second]);
        let said = format!("{REQUIRE}Subject: whole\r\nPriority: normal");
        assert_eq!(world.send(EXPLODER, &said, (MIXED, &body)).await.status(), 202);
        world.after(1.0).await;
        let to = ["sip:bob@home2.test", "sip:carol@ims.test", "tel:+15550000001"];
        assert_eq!(world.recipients(), to);
        let sent = world.sent();
        let said = |sent: &Sent, name: &str| sent.text().matches(name).count();
        assert_eq!(sent[0].field(HeaderName::Subject), "a b");
        assert_eq!((said(&sent[0], "Subject:"), said(&sent[0], "Priority: urgent")), (1, 1));
        assert_eq!((said(&sent[1], "Subject: whole"), said(&sent[1], "Priority: normal")), (1, 1));
        // The list that they see has him as a recipient of the message.
        let entry = "<entry uri=\"sip:bob@home2.test\" cp:copyControl=\"to\"/>";
        assert!(sent[1].text().contains(entry));
    })
    .await;
}

// Covers: CF-011, CF-012
#[tokio::test(start_paused = true)]
async fn one_part_that_is_left_is_the_content() {
    story(async |world: &World| {
        let text =
            "Content-Type: text/html;\r\n charset=utf-8\r\nContent-Language: en\r\n\r\n<p>hi</p>";
        let body = parts(&[&list(&users(1)), text]);
        let said = format!(
            "{REQUIRE}Date: Wed, 01 Mar 2006 10:15:00 GMT\r\nExpires: 60\r\n\
            In-Reply-To: x@y\r\nX-Odd: 1\r\nContact: <sip:a@192.0.2.1>"
        );
        assert_eq!(world.send(EXPLODER, &said, (MIXED, &body)).await.status(), 202);
        world.after(1.0).await;
        let text = world.sent()[0].text();
        let expect = "Content-Type: text/html; charset=utf-8\r\nContent-Language: en\r\n\
                      Content-Length: 9\r\n\r\n<p>hi</p>";
        assert!(text.ends_with(expect), "nobody is seen, so there is no list: {text}");
        for field in ["Date: Wed, 01 Mar 2006 10:15:00 GMT", "Expires: 60", "In-Reply-To: x@y"] {
            assert!(text.contains(field), "{field}: {text}");
        }
        for gone in ["X-Odd", "\r\nContact:", "Require", "recipient-list"] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
    })
    .await;
}

// Covers: CF-012
#[tokio::test(start_paused = true)]
async fn a_list_without_room_is_left_out() {
    let explode = ExplodePolicy { copy_octets_max: 700, ..ExplodePolicy::default() };
    Runs::new(Policy { explode, ..Policy::default() })
        .run(async |world: &World| {
            let entries = "<entry uri='sip:bob@home2.test' cp:copyControl='to'/>";
            assert_eq!(world.explode(entries).await, 202);
            world.after(1.0).await;
            let text = world.sent()[0].text();
            assert!(
                text.ends_with("Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"),
                "{text}"
            );
        })
        .await;
}

// Covers: CF-011, SEC-047
#[tokio::test(start_paused = true)]
async fn who_asks_for_privacy_is_named_to_the_core_only() {
    story(async |world: &World| {
        let body = parts(&[TEXT, &list(&users(1))]);
        let private = format!("{REQUIRE}Privacy: id");
        assert_eq!(world.send(EXPLODER, &private, (MIXED, &body)).await.status(), 202);
        world.after(1.0).await;
        let sent = &world.sent()[0];
        let from = sent.field(HeaderName::From);
        assert!(from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="), "{from}");
        assert_eq!(sent.field(HeaderName::Privacy), "id");
        assert_eq!(sent.field(HeaderName::PAssertedIdentity), format!("<{ALICE}>"));
        assert!(!sent.field(HeaderName::CallId).contains("alice"));
    })
    .await;
}

// Covers: CF-079
#[tokio::test(start_paused = true)]
async fn credentials_for_this_server_end_here() {
    story(async |world: &World| {
        let body = parts(&[TEXT, &list(&users(1))]);
        let said = format!(
            "{REQUIRE}\
             Proxy-Authorization: Digest username=\"a\",realm=\"IMS.test\",nonce=\"own\"\r\n\
             Authorization: Digest username=\"a\",realm=\"ims.test\",nonce=\"own\"\r\n\
             Authorization: Digest username=\"a\",realm=\"home2.test\",nonce=\"other\""
        );
        assert_eq!(world.send(EXPLODER, &said, (MIXED, &body)).await.status(), 202);
        world.after(1.0).await;
        let text = world.sent()[0].text();
        assert!(text.contains("nonce=\"other\"") && !text.contains("nonce=\"own\""), "{text}");
    })
    .await;
}

// Covers: CF-015, CF-082, ROLE-005
#[tokio::test(start_paused = true)]
async fn a_group_is_its_members() {
    story(async |world: &World| {
        let cpim = "From: <sip:alice@ims.test>\r\nTo: <sip:chess@ims.test>\r\n\r\n\
                    Content-Type: text/plain\r\n\r\nmate";
        let answer = world.send(CHESS, "Subject: game", ("message/cpim", cpim)).await;
        assert_eq!(answer.status(), 202);
        world.after(1.0).await;
        assert_eq!(world.recipients(), ["sip:bob@home2.test", "sip:carol@ims.test"]);
        for sent in world.sent() {
            let from = sent.field(HeaderName::From);
            assert!(from.starts_with("\"Alice\" <sip:alice@ims.test>;tag="), "{from}");
            assert_eq!(sent.field(HeaderName::ReferredBy), format!("<{CHESS}>"));
            assert_eq!(sent.field(HeaderName::Subject), "game");
            assert!(sent.text().ends_with(cpim), "its To is what the sender wrote");
        }
    })
    .await;
    let explode = ExplodePolicy { referred_by: false, ..ExplodePolicy::default() };
    Runs::new(Policy { explode, ..Policy::default() })
        .run(async |world: &World| {
            assert_eq!(world.send(CHESS, "", ("text/plain", "hi")).await.status(), 202);
            world.after(1.0).await;
            assert!(!world.sent()[0].text().contains("Referred-By"));
        })
        .await;
}

// Covers: CF-018
#[tokio::test(start_paused = true)]
async fn copies_go_out_a_few_at_a_time() {
    let explode = ExplodePolicy { outstanding_max: 3, ..ExplodePolicy::default() };
    Runs::new(Policy { explode, ..Policy::default() })
        .run(async |world: &World| {
            world.answers(Answer::After(10, 200));
            assert_eq!(world.explode(&users(7)).await, 202);
            assert_eq!(world.exploder.running(), 1);
            for (seconds, expected) in [(5.0, 3), (10.0, 6), (10.0, 7), (20.0, 7)] {
                world.after(seconds).await;
                assert_eq!(world.sent().len(), expected);
            }
            assert_eq!(world.kept().await, 0);
        })
        .await;
}

// Covers: CF-018, CORE-050
#[tokio::test(start_paused = true)]
async fn one_recipient_gets_one_message_at_a_time() {
    story(async |world: &World| {
        world.answers(Answer::After(10, 200));
        for _ in 0..3 {
            assert_eq!(world.explode("<entry uri='sip:bob@home2.test'/>").await, 202);
        }
        for (seconds, expected) in [(5.0, 1), (10.0, 2), (10.0, 3), (20.0, 3)] {
            world.after(seconds).await;
            assert_eq!(world.sent().len(), expected);
        }
        let at: Vec<u64> = world.sent().iter().map(|sent| sent.at.as_secs()).collect();
        assert_eq!(at, [0, 10, 20]);
    })
    .await;
}

// Covers: CF-017
#[tokio::test(start_paused = true)]
async fn what_recipients_answer_changes_nothing_for_the_sender() {
    story(async |world: &World| {
        world.script(|request| match request.uri_text() {
            b"sip:u0@ims.test" => Answer::Now(480),
            b"sip:u1@ims.test" => Answer::Never,
            b"sip:u2@ims.test" => Answer::Now(202),
            _ => Answer::Unreachable,
        });
        assert_eq!(world.explode(&users(4)).await, 202);
        world.after(60.0).await;
        assert_eq!(world.sent().len(), 3);
        assert_eq!(world.kept().await, 0);
        assert_eq!(world.exploder.running(), 0);
    })
    .await;
}

// Covers: CF-018
#[tokio::test(start_paused = true)]
async fn a_copy_that_could_not_leave_is_tried_again() {
    story(async |world: &World| {
        let mut tries = 0;
        world.script(move |_| {
            tries += 1;
            if tries < 3 { Answer::Unreachable } else { Answer::Now(200) }
        });
        assert_eq!(world.explode(&users(1)).await, 202);
        world.after(10.0).await;
        assert_eq!(world.sent().len(), 1);
        assert_eq!(world.kept().await, 0);
    })
    .await;
}
