use bytes::Bytes;
use parlance_content::resource_lists::CopyControl;
use parlance_sip::message::Limits;
use parlance_sip::{Message, Request};

use super::{Body, Invitee, ListPart, invitees};
use crate::refusal::Refusal;

fn request(content_type: &str, disposition: &str, body: &str) -> Request {
    let length = body.len();
    let text = format!(
        "INVITE sip:f@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:a@h>;tag=1\r\nTo: <sip:f@h>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
         Content-Type: {content_type}\r\nContent-Disposition: {disposition}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    Request::new(Message::parse_datagram(Bytes::from(text), &Limits::default()).unwrap()).unwrap()
}

fn list(entries: &str) -> ListPart {
    let document = format!(
        "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
         xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>{entries}</list></resource-lists>"
    );
    ListPart { content_id: None, octets: document.into() }
}

const MIXED: &str = "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\n\
    Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\
    Content-ID: <cn35t8jf02@example.com>\r\n\r\n<x/>\r\n--b\r\n\
    Content-Type: text/x-other\r\nContent-Disposition: render;handling=optional\r\n\r\nx\r\n--b--\r\n";

// Covers: CF-003
#[test]
fn a_body_is_taken_apart() {
    let body = Body::read(&request("multipart/mixed;boundary=\"b\"", "render", MIXED)).unwrap();
    assert_eq!(body.description().as_deref(), Some(b"v=0".as_slice()));
    assert_eq!(body.lists.len(), 1);
    assert_eq!(body.list("cn35t8jf02@example.com"), Some(&body.lists[0]));
    assert_eq!(body.list("other"), None);
    assert!(!body.asks_for_more(), "the third part is optional");
    let needs = MIXED.replace(";handling=optional", "");
    let body = Body::read(&request("multipart/mixed;boundary=b", "render", &needs)).unwrap();
    assert!(body.asks_for_more());

    let alone = request("application/resource-lists+xml", "recipient-list", "<x/>");
    let body = Body::read(&alone).unwrap();
    assert_eq!((body.lists.len(), body.description()), (1, None));
    let not_a_list = request("application/resource-lists+xml", "render", "<x/>");
    let body = Body::read(&not_a_list).unwrap();
    assert!(body.lists.is_empty() && body.asks_for_more());
    let sdp = Body::read(&request("application/sdp", "session", "v=0")).unwrap();
    assert!(sdp.description().is_some() && !sdp.asks_for_more());
}

#[test]
fn a_broken_body_is_refused() {
    let broken = Body::read(&request("multipart/mixed;boundary=c", "render", MIXED));
    assert_eq!(broken.unwrap_err(), Refusal::Malformed("Bad multipart body"));
    let broken = Body::read(&request("no type", "render", "x"));
    assert_eq!(broken.unwrap_err(), Refusal::Malformed("Bad Content-Type"));
    let read = |octets: &str| {
        let list = ListPart { content_id: None, octets: octets.to_owned().into() };
        invitees([&list], &[], 9).unwrap_err()
    };
    assert_eq!(read("<resource-lists/>"), Refusal::Malformed("Bad recipient list"));
    let bad = invitees([&list("<entry uri=\"sip:\"/>")], &[], 9).unwrap_err();
    assert_eq!(bad, Refusal::Malformed("Bad URI in recipient list"));
}

// Covers: CF-005, CF-006, CF-084
#[test]
fn everybody_is_named_once() {
    let first = list(
        "<entry uri=\"sip:bob@ims.test\"/><entry uri=\"sip:alice@ims.test\" cp:copyControl=\"to\"/>\
         <list><entry uri=\"sip:carol@ims.test\" cp:copyControl=\"cc\" cp:anonymize=\"true\"/></list>",
    );
    let second = list(
        "<entry uri=\"SIP:bob@IMS.test:5060;transport=tcp\" cp:copyControl=\"cc\"/>\
         <entry uri=\"mailto:x@y.test\"/><entry uri=\"tel:+1-555\" cp:copyControl=\"to\"/>",
    );
    let alice = ["sip:alice@ims.test".parse().unwrap()];
    let all = invitees([&first, &second], &alice, 3).unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|one| (one.address.as_str(), one.copy_control, one.anonymize, one.is_hidden()))
        .collect();
    let expected = [
        ("sip:bob@ims.test", CopyControl::Cc, false, false),
        ("sip:carol@ims.test", CopyControl::Cc, true, true),
        ("tel:+1555", CopyControl::To, false, false),
    ];
    assert_eq!(seen, expected);
    // Duplicates and the sender himself do not count.
    assert_eq!(invitees([&first, &second], &alice, 2).unwrap_err(), Refusal::ListTooLong);
    let blind = invitees([&list("<entry uri=\"sip:bob@ims.test\"/>")], &[], 1).unwrap();
    assert!(blind[0].is_hidden(), "without copyControl he is a blind copy");
}

// Covers: CF-007
#[test]
fn of_a_uri_only_some_headers_are_taken() {
    let uri = "sip:bob@ims.test:5070;method=MESSAGE;user=ip?Subject=Lunch%20at%20noon&amp;body=x\
               &amp;From=sip:eve%40x&amp;priority=urgent&amp;Replaces=a%40b%3Bto-tag%3D1&amp;Route=y\
               &amp;Accept-Contact=*%0d%0aX:y";
    let all = invitees([&list(&format!("<entry uri=\"{uri}\"/>"))], &[], 1).unwrap();
    assert_eq!(all[0].uri, "sip:bob@ims.test:5070;user=ip");
    assert_eq!(all[0].method.as_deref(), Some("MESSAGE"));
    let expected = [
        ("Priority", "urgent".to_owned()),
        ("Subject", "Lunch at noon".to_owned()),
        ("Replaces", "a@b;to-tag=1".to_owned()),
    ];
    assert_eq!(all[0].headers, expected, "a line break is no value");
}

// Covers: CF-009
#[test]
fn a_method_is_a_parameter_or_printed_as_a_header() {
    for uri in ["sip:bob@ims.test;method=BYE", "sip:bob@ims.test?method=BYE"] {
        let bob = Invitee::new(uri).unwrap();
        assert_eq!((bob.method.as_deref(), bob.uri.as_str()), (Some("BYE"), "sip:bob@ims.test"));
        assert!(!bob.is_hidden());
    }
    assert!(Invitee::new("http://x").is_err() && Invitee::new("sip:").is_err());
    assert_eq!(Invitee::new("tel:+1555").unwrap().uri, "tel:+1555");
}
