use bytes::Bytes;
use proptest::prelude::*;

use super::super::Cpim;
use super::*;

const RFC5438_01: &[u8] = include_bytes!("../../../testdata/cpim/rfc5438-01.cpim");
const RFC7701_9_3: &[u8] = b"To: <sip:chatroom22@chat.example.com;transport=tcp>\r\n\
    From: <sip:alice@atlanta.example.com>\r\nDateTime: 2009-03-02T15:02:31-03:00\r\n\
    Content-Type: text/plain\r\n\r\nHello guys, how are you today?";

/// What is read of `octets` when they come in pieces that end at `cuts`.
fn read_in(octets: &[u8], cuts: &[usize]) -> Result<Envelope, CpimError> {
    let mut reader = Reader::default();
    for cut in cuts {
        let so_far = &octets[..(*cut).min(octets.len())];
        if let Some(envelope) = reader.read(so_far, false, &Limits::default())? {
            return Ok(envelope);
        }
    }
    Ok(reader.read(octets, true, &Limits::default())?.expect("it is all there"))
}

fn read(octets: impl AsRef<[u8]>) -> Result<Envelope, CpimError> {
    read_in(octets.as_ref(), &[])
}

fn text(octets: &[u8], range: Range<usize>) -> &str {
    str::from_utf8(&octets[range]).unwrap()
}

// Covers: MSRP-027
#[test]
fn reads_the_examples_which_have_no_empty_line() {
    let envelope = read(RFC7701_9_3).unwrap();
    assert_eq!((envelope.from_count, envelope.to_count), (1, 1));
    assert_eq!(text(RFC7701_9_3, envelope.from_value.clone()), "<sip:alice@atlanta.example.com>");
    assert_eq!(text(RFC7701_9_3, envelope.from.clone()), "sip:alice@atlanta.example.com");
    let to = "sip:chatroom22@chat.example.com;transport=tcp";
    assert_eq!(text(RFC7701_9_3, envelope.to.clone()), to);
    assert_eq!(text(RFC7701_9_3, envelope.to_value.clone()), format!("<{to}>"));
    assert_eq!(envelope.media_type(RFC7701_9_3), Some("text/plain"));
    let expect = format!("From: <sip:alice@atlanta.example.com>\r\nTo: <{to}>\r\n\r\n");
    assert_eq!(envelope.from_and_to(RFC7701_9_3), expect.as_bytes());
    assert_eq!(&RFC7701_9_3[envelope.content..], b"Hello guys, how are you today?");
    let envelope = read(RFC5438_01).unwrap();
    assert_eq!(text(RFC5438_01, envelope.from), "im:alice@example.com");
    assert_eq!(&RFC5438_01[envelope.content..], b"Hello World\r\n");
}

#[test]
fn asks_for_more_until_the_headers_are_there() {
    let mut reader = Reader::default();
    let end = RFC7701_9_3.len() - "Hello guys, how are you today?".len();
    for cut in 0..end {
        let so_far = &RFC7701_9_3[..cut];
        assert_eq!(reader.read(so_far, false, &Limits::default()), Ok(None), "{cut}");
    }
    let envelope = reader.read(&RFC7701_9_3[..end], false, &Limits::default()).unwrap().unwrap();
    assert_eq!(Ok(envelope), read(RFC7701_9_3));
}

#[test]
fn a_prefix_can_mean_the_core_namespace() {
    let core = CORE_NAMESPACE;
    #[rustfmt::skip]
    let table = [
        ("From: <a:1>\r\nTo: <a:2>\r\n\r\n",                                  (1, 1)),
        ("From: <a:1>\r\nFrom: <a:1>\r\nTo: <a:2>\r\nTo: <a:3>\r\n\r\n",      (2, 2)),
        ("NS: x <urn:x>\r\nx.From: <a:1>\r\nTo: <a:2>\r\n\r\n",               (0, 1)),
        ("x.From: <a:1>\r\nTo: <a:2>\r\n\r\n",                                (0, 1)),
        (&*format!("NS: x <{core}>\r\nx.From: <a:1>\r\nTo: <a:2>\r\n\r\n"),   (1, 1)),
        (&*format!("NS: x <{core}>\r\nNS: x <urn:x>\r\nx.From: <a:1>\r\n\r\n"), (0, 0)),
        ("NS: <urn:x>\r\nFrom: <a:1>\r\nTo: <a:2>\r\n\r\n",                   (0, 0)),
        (&*format!("NS: <urn:x>\r\nNS: <{core}>\r\nFrom: <a:1>\r\n\r\n"),     (1, 0)),
        (&*format!("NS: x <{core}>\r\nx.NS: y <{core}>\r\ny.To: <a:2>\r\n\r\n"), (0, 1)),
        ("from: <a:1>\r\nTO: <a:2>\r\n\r\n",                                  (0, 0)),
    ];
    for (octets, counts) in table {
        let envelope = read(octets).unwrap();
        assert_eq!((envelope.from_count, envelope.to_count), counts, "{octets}");
    }
}

#[test]
fn an_address_that_is_none_is_counted_and_empty() {
    let envelope = read("From: nobody\r\nTo:\r\n\r\n").unwrap();
    assert_eq!((envelope.from_count, envelope.to_count), (1, 1));
    assert!(envelope.from.is_empty() && envelope.to.is_empty());
}

#[test]
fn the_kind_of_content_is_known() {
    #[rustfmt::skip]
    let table = [
        ("",                                                        None,                     false),
        ("Content-Type: Text/Plain; charset=utf-8\r\n",             Some("Text/Plain"),       false),
        ("Content-Type:\r\n text/plain;\r\n a=b\r\n",               Some("text/plain"),       false),
        ("content-type:message/IMDN+xml\r\n",                       Some("message/IMDN+xml"), true),
        ("Content-Type: a/b\r\nContent-Type: message/imdn+xml\r\n", Some("a/b"),              false),
        ("Content-Disposition: Notification\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n",
         Some("multipart/mixed"), true),
        ("Content-Disposition: attachment; filename=\"notification\"\r\n", None,              false),
    ];
    for (fields, media_type, is_imdn) in table {
        let octets = format!("From: <a:1>\r\n\r\n{fields}\r\nbody");
        let envelope = read(&octets).unwrap();
        assert_eq!(envelope.media_type(octets.as_bytes()), media_type, "{fields}");
        assert_eq!(envelope.is_imdn(octets.as_bytes(), media_type), is_imdn, "{fields}");
        assert_eq!(&octets[envelope.content..], "body", "{fields}");
    }
}

// Covers: MSRP-093
#[test]
fn headers_over_the_limit_are_refused_before_their_end() {
    let limit = Limits::default().header_bytes_max;
    let line = |length: usize| format!("Subject: {}", "x".repeat(length - "Subject: ".len()));
    let fits = format!("{}\r\n\r\n\r\n", line(limit - 2));
    assert!(read(&fits).is_ok());
    for cut in 1..=fits.len() {
        if cut > limit - 4 || cut % 1000 == 0 {
            assert!(read_in(fits.as_bytes(), &[cut]).is_ok(), "{cut}");
        }
    }
    assert_eq!(read(format!("{}\r\n\r\n", line(limit - 1))), Err(CpimError::TooLong));
    let mut reader = Reader::default();
    let endless = line(limit + 1);
    let limits = Limits::default();
    assert_eq!(reader.read(&endless.as_bytes()[..limit], false, &limits), Ok(None));
    assert_eq!(reader.read(endless.as_bytes(), false, &limits), Err(CpimError::TooLong));
    let many = "A: b\r\n".repeat(limits.headers_max + 1);
    assert_eq!(read_in(many.as_bytes(), &[many.len()]), Err(CpimError::TooLong));
    let mime = format!("A: b\r\n\r\nContent-Type: {}", "x".repeat(limit));
    let too_long = Err(CpimError::Content(MimeError::TooLong));
    assert_eq!(read_in(mime.as_bytes(), &[mime.len()]), too_long);
}

// Covers: MSRP-069
#[test]
fn the_sender_is_replaced_and_nothing_else() {
    #[rustfmt::skip]
    let table = [
        ("From: Alice <sip:alice@a>\r\n",   "From: <sip:x@anon>\r\n"),
        ("From: <sip:alice@a>\r\n",         "From: <sip:x@anon>\r\n"),
        ("From:sip:alice@a\r\n",            "From:<sip:x@anon>\r\n"),
        ("From:;a=b  \"A\" <sip:alice@a> \r\n", "From:;a=b  <sip:x@anon> \r\n"),
        ("From: <sip:x@anon>\r\n",          "From: <sip:x@anon>\r\n"),
        ("To: <a:b>\r\nFrom: A\u{f6} <sip:alice@a>\nX:  y \n", "To: <a:b>\r\nFrom: <sip:x@anon>\nX:  y \n"),
    ];
    const REST: &[u8] = b"\r\nContent-Type: text/plain\r\n\r\nFrom: <sip:alice@a>\xff";
    for (before, after) in table {
        let octets = [before.as_bytes(), REST].concat();
        let envelope = read(&octets).unwrap();
        let mut written = b"kept".to_vec();
        envelope.write_as_from(&octets, "sip:x@anon", &mut written);
        assert_eq!(written, [b"kept", after.as_bytes(), REST].concat(), "{before}");
        let longer = written.len() as i64 - 4 - octets.len() as i64;
        assert_eq!(envelope.longer_as_from("sip:x@anon"), longer, "{before}");
    }
}

/// Headers, many of them odd.
fn near() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("From: A <sip:a@b>\r\n"),
        Just("To: <sip:c@d>\r\n"),
        Just("x.To: <sip:e@f>\r\n"),
        Just("NS: x <urn:ietf:params:cpim-headers:>\r\n"),
        Just("NS: <urn:ietf:params:cpim-headers:>\r\n"),
        Just("NS: <urn:y>\r\n"),
        Just("NS: x <urn:y>\r\n"),
        Just("x.NS: z <urn:ietf:params:cpim-headers:>\r\n"),
        Just("z.From: <sip:g@h>\n"),
        Just("Subject:;lang=fr caf\u{e9}\r\n"),
        Just("Content-Type: text/plain\r\n"),
        Just("Content-Disposition: notification\r\n"),
        Just("Content-Type:\r\n"),
        Just(" folded/type; a=b\r\n"),
        Just("\t\r\n"),
        Just("\r\n"),
        Just("\n"),
        Just("no header"),
        Just("\r"),
        Just("Broken\r\n"),
        Just("\u{1}: x\r\n"),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// In pieces or whole, it says what reading the whole message says.
    #[test]
    fn agrees_with_reading_the_whole(octets in near(), mut cuts in prop::collection::vec(0_usize..200, 0..8)) {
        cuts.sort_unstable();
        let bytes = Bytes::from(octets.clone());
        let whole = Cpim::parse(&bytes, &Limits::default());
        let envelope = read_in(octets.as_bytes(), &cuts);
        match (whole, envelope) {
            (Ok(whole), Ok(envelope)) => {
                let froms = whole.named(CORE_NAMESPACE, "From").count();
                prop_assert_eq!(envelope.from_count, froms);
                prop_assert_eq!(envelope.to_count, whole.named(CORE_NAMESPACE, "To").count());
                let from = whole.from().map_or("", |from| from.uri);
                prop_assert_eq!(text(octets.as_bytes(), envelope.from.clone()), from);
                let to = whole.to().next().map_or("", |to| to.uri);
                prop_assert_eq!(text(octets.as_bytes(), envelope.to.clone()), to);
                prop_assert_eq!(octets.len() - envelope.content, whole.content().len());
                let media = whole.mime().value("Content-Type").unwrap_or_default();
                let media = media.split(';').next().unwrap_or_default().trim();
                let read = envelope.media_type(octets.as_bytes()).unwrap_or_default();
                // A fold is a blank.
                prop_assert_eq!(read.split_whitespace().collect::<Vec<_>>().join(" "), media);
            }
            (Err(whole), Err(envelope)) => prop_assert_eq!(whole, envelope),
            (whole, envelope) => prop_assert!(false, "{whole:?} {envelope:?}"),
        }
    }

    #[test]
    fn never_panics(octets: Vec<u8>, cuts in prop::collection::vec(0_usize..100, 0..4)) {
        if let Ok(envelope) = read_in(&octets, &cuts) {
            let _ = envelope.is_imdn(&octets, envelope.media_type(&octets));
            envelope.write_as_from(&octets, "sip:x@anon", &mut Vec::new());
        }
    }
}
