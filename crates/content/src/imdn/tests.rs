use super::*;
use crate::XmlError;
use crate::cpim;

const RFC_IM: &[u8] = include_bytes!("../../testdata/cpim/rfc5438-01.cpim");
const RFC_DELIVERED: &[u8] = include_bytes!("../../testdata/cpim/rfc5438-02.cpim");
const RFC_DISPLAYED: &[u8] = include_bytes!("../../testdata/cpim/rfc5438-03.cpim");
const RFC_PROCESSED: &[u8] = include_bytes!("../../testdata/cpim/rfc5438-04.cpim");
const RFC_AGGREGATE: &[u8] = include_bytes!("../../testdata/cpim/rfc5438-05.cpim");

const STORED: Disposition = Disposition::Processing(ProcessingStatus::Stored);
const FAILED: Disposition = Disposition::Delivery(DeliveryStatus::Failed);
const DELIVERED: Disposition = Disposition::Delivery(DeliveryStatus::Delivered);
const DISPLAYED: Disposition = Disposition::Display(DisplayStatus::Displayed);

fn parse(octets: impl AsRef<[u8]>) -> Cpim {
    let octets = Bytes::copy_from_slice(octets.as_ref());
    Cpim::parse(&octets, &cpim::Limits::default()).unwrap()
}

/// An IM that asks for `asked`.
fn im(asked: &str) -> Cpim {
    parse(format!(
        "From: <im:alice@example.com>\r\nTo: <im:bob@example.com>\r\n\
         DateTime: 2006-04-04T12:16:49-05:00\r\nSubject:;lang=en a\\nb\r\n\
         NS: n <urn:ietf:params:imdn>\r\nn.Message-ID: 34jk324j\r\n\
         n.Disposition-Notification: {asked}\r\nn.Original-To: <im:list@example.com>\r\n\
         n.IMDN-Record-Route: \"AS\" <sip:as1.example.com>\r\n\
         n.IMDN-Record-Route: <sip:as2.example.com>\r\n\r\n\
         Content-Type: text/plain\r\n\r\nhi"
    ))
}

// Covers: PF-024
#[test]
fn the_headers_are_found_by_namespace() {
    let message = parse(RFC_IM);
    assert_eq!(message_id(&message), Some("34jk324j"));
    let asked = Asked::of(&message);
    assert!(asked.positive_delivery && asked.negative_delivery);
    assert!(!asked.processing && !asked.display);
    assert_eq!(message.octets(), RFC_IM);

    let message = im("display");
    assert_eq!(original_to(&message).unwrap().uri, "im:list@example.com");
    let routes: Vec<_> = record_routes(&message).iter().map(|route| route.uri).collect();
    assert_eq!(routes, ["sip:as1.example.com", "sip:as2.example.com"]);

    let other = parse("NS: imdn <urn:x>\r\nimdn.Message-ID: 1\r\nMessage-ID: 2\r\n\r\n");
    assert_eq!(message_id(&other), None);
    assert!(Asked::of(&other).is_empty());
}

#[test]
fn what_is_asked_for() {
    let none = Asked::default();
    #[rustfmt::skip]
    let table = [
        ("",                                none),
        ("positive-delivery",               Asked { positive_delivery: true, ..none }),
        ("negative-delivery ; x=y,display",
         Asked { negative_delivery: true, display: true, ..none }),
        ("frobnicate, processing",          Asked { processing: true, ..none }),
        ("Display",                         none), // case matters, RFC 5438 §10
    ];
    for (value, asked) in table {
        assert_eq!(Asked::of(&im(value)), asked, "{value}");
    }
}

#[test]
fn each_disposition_is_asked_for_by_its_own_value() {
    let forbidden = Disposition::Delivery(DeliveryStatus::Forbidden);
    let table = [
        ("positive-delivery", vec![DELIVERED]),
        ("negative-delivery", vec![FAILED, forbidden]),
        ("processing", vec![STORED]),
        ("display", vec![DISPLAYED]),
    ];
    for (value, expect) in table {
        let asked = Asked::of(&im(value));
        let all = [DELIVERED, FAILED, forbidden, STORED, DISPLAYED];
        let included: Vec<_> =
            all.into_iter().filter(|disposition| asked.includes(*disposition)).collect();
        assert_eq!(included, expect, "{value}");
    }
}

#[test]
fn a_notification_is_known_by_type_or_disposition() {
    for octets in [RFC_DELIVERED, RFC_DISPLAYED, RFC_PROCESSED, RFC_AGGREGATE] {
        assert!(is_imdn(&parse(octets)));
    }
    assert!(!is_imdn(&parse(RFC_IM)));
    #[rustfmt::skip]
    let table = [
        ("Content-Type: Message/IMDN+xml\r\n\r\n",                               true),
        ("Content-Type: text/xml\r\nContent-Disposition: Notification\r\n\r\n",  true),
        ("Content-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n\
          Content-Type: message/imdn+xml\r\n\r\n\r\n--b--",                      true),
        ("Content-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--", false),
        ("Content-Type: text/plain\r\nContent-Disposition: render\r\n\r\n",      false),
    ];
    for (text, expect) in table {
        assert_eq!(is_imdn(&parse(format!("From: <im:a@b>\r\n\r\n{text}"))), expect, "{text}");
    }
}

// Covers: MSRP-096
#[test]
fn nothing_is_written_that_was_not_asked_for_or_about_a_notification() {
    let sent = "2020-01-01T00:00:00Z";
    assert!(Imdn::about(&im("processing"), STORED, sent).is_some());
    assert_eq!(Imdn::about(&im("processing"), FAILED, sent), None);
    assert_eq!(Imdn::about(&im("negative-delivery"), STORED, sent), None);
    assert_eq!(Imdn::about(&im("negative-delivery"), DELIVERED, sent), None);

    let notification = String::from_utf8(im("processing").octets().to_vec()).unwrap();
    let notification = parse(notification.replace("text/plain", MEDIA_TYPE));
    assert_eq!(Imdn::about(&notification, STORED, sent), None);
    assert!(record_routes(&notification).is_empty());

    let nameless = String::from_utf8(im("processing").octets().to_vec()).unwrap();
    let nameless = parse(nameless.replace("n.Message-ID: 34jk324j\r\n", ""));
    assert_eq!(Imdn::about(&nameless, STORED, sent), None);
}

// Covers: MSRP-096
#[test]
fn a_notification_repeats_what_the_im_said() {
    let message = im("processing");
    let report = Imdn::about(&message, STORED, "2020-01-01T00:00:00Z").unwrap();
    let subject = Subject { text: "a\nb".to_owned(), language: Some("en".to_owned()) };
    let expect = Imdn {
        message_id: "34jk324j".to_owned(),
        date_time: "2006-04-04T12:16:49-05:00".to_owned(),
        recipient_uri: Some("im:bob@example.com".to_owned()),
        original_recipient_uri: Some("im:list@example.com".to_owned()),
        subject: Some(subject),
        disposition: STORED,
    };
    assert_eq!(report, expect);

    let envelope = Envelope {
        from: "im:bob@example.com",
        to: "im:alice@example.com",
        message_id: "d834jied93rf",
        date_time: "2006-04-04T12:17:00-05:00",
    };
    let octets = report.wrap(&message, &envelope).unwrap();
    let wrapped = Cpim::parse(&octets, &cpim::Limits::default()).unwrap();
    assert!(is_imdn(&wrapped));
    assert!(wrapped.mime().is_type(MEDIA_TYPE));
    assert!(wrapped.mime().content_disposition().unwrap().is("notification"));
    assert!(Asked::of(&wrapped).is_empty());
    assert_eq!(message_id(&wrapped), Some("d834jied93rf"));
    assert_eq!(wrapped.from().unwrap().uri, "im:bob@example.com");
    assert_eq!(wrapped.to().next().unwrap().uri, "im:alice@example.com");
    let routes: Vec<_> = routes(&wrapped).iter().map(|route| route.uri).collect();
    assert_eq!(routes, ["sip:as1.example.com", "sip:as2.example.com"]);
    assert_eq!(wrapped.named(NAMESPACE, "IMDN-Record-Route").count(), 0);
    assert_eq!(documents(&wrapped), Ok(vec![report]));
    assert_eq!(wrapped.check_required(&HEADERS), Ok(()));
}

#[test]
fn documents_of_an_aggregate_are_read() {
    let read = documents(&parse(RFC_AGGREGATE)).unwrap();
    let dispositions: Vec<_> = read.iter().map(|imdn| imdn.disposition).collect();
    assert_eq!(dispositions, [DELIVERED, DISPLAYED]);
    assert_eq!(documents(&parse(RFC_IM)), Ok(vec![]));
    let broken = parse("From: <im:a@b>\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n<imdn/>");
    assert_eq!(documents(&broken), Err(ImdnError::Xml(XmlError::Root)));
}

#[test]
fn an_aggregate_is_read_up_to_its_limit() {
    let aggregate = |parts: usize, disposition: &str| {
        let part = "--b\r\nContent-Type: message/imdn+xml\r\n\r\n\r\n".repeat(parts);
        parse(format!(
            "\r\nContent-Type: multipart/mixed;boundary=b\r\n{disposition}\r\n{part}--b--"
        ))
    };
    assert!(is_imdn(&aggregate(512, "")));
    assert_eq!(documents(&aggregate(512, "")), Err(ImdnError::Xml(XmlError::NotWellFormed)));
    assert!(!is_imdn(&aggregate(513, "")));
    assert_eq!(documents(&aggregate(513, "")), Ok(vec![]));
    assert!(is_imdn(&aggregate(513, "Content-Disposition: notification\r\n")));
}
