use proptest::prelude::*;

use super::*;

const RFC3862_5_1: &[u8] = include_bytes!("../../testdata/cpim/rfc3862-5.1.cpim");
const RFC5438_01: &[u8] = include_bytes!("../../testdata/cpim/rfc5438-01.cpim");
const RFC5438_05: &[u8] = include_bytes!("../../testdata/cpim/rfc5438-05.cpim");

fn parse(octets: impl AsRef<[u8]>) -> Result<Cpim, CpimError> {
    Cpim::parse(&Bytes::copy_from_slice(octets.as_ref()), &Limits::default())
}

/// Namespace, name, parameters and value of each header.
fn headers(octets: &str) -> Vec<(Option<String>, String, String, String)> {
    let read = parse(octets).unwrap();
    let own = |header: Header<'_>| {
        (
            header.namespace.map(str::to_owned),
            header.name.to_owned(),
            header.parameters.to_owned(),
            header.value.to_owned(),
        )
    };
    read.headers().map(own).collect()
}

#[test]
fn reads_the_example_of_rfc_3862() {
    // The file begins with the MIME header field of the enclosing entity.
    let at = memchr::memmem::find(RFC3862_5_1, b"\r\n\r\n").unwrap() + 4;
    let octets = &RFC3862_5_1[at..];
    let read = parse(octets).unwrap();
    assert_eq!(&read.octets()[..], octets);
    let from = read.from().unwrap();
    assert_eq!((from.formal_name(), from.uri), ("MR SANDERS".into(), "im:piglet@100akerwood.com"));
    assert_eq!(read.to().map(|to| to.uri).collect::<Vec<_>>(), ["im:eeyore@100akerwood.com"]);
    assert_eq!(read.cc().count(), 0);
    assert_eq!(read.date_time(), Some("2000-12-13T13:40:00-08:00"));
    let subjects: Vec<_> =
        read.subjects().map(|subject| (subject.language(), subject.value)).collect();
    assert_eq!(
        subjects,
        [
            (None, "the weather will be fine today"),
            (Some("fr"), "beau temps prevu pour aujourd'hui"),
        ]
    );
    let features = "mid:MessageFeatures@id.foo.com";
    let wacky = read.named(features, "WackyMessageOption").next().unwrap();
    assert_eq!((wacky.prefix, wacky.value), ("MyFeatures", "Use-silly-font"));
    assert!(read.mime().is_type("text/xml"));
    assert_eq!(read.mime().content_id(), Some("1234567890@foo.com"));
    assert_eq!(&read.content()[..], b"<body>\r\nHere is the text of my message.\r\n</body>\r\n");

    let missing = NotUnderstood {
        namespace: Some(features.to_owned()),
        name: "VitalMessageOption".to_owned(),
    };
    assert_eq!(read.check_required(&[]), Err(missing));
    assert_eq!(read.check_required(&[(features, "VitalMessageOption")]), Ok(()));
}

#[test]
fn the_empty_line_missing_in_rfc_5438_is_not_missed() {
    let read = parse(RFC5438_01).unwrap();
    assert!(read.mime().is_type("text/plain"));
    assert_eq!(&read.content()[..], b"Hello World\r\n");
    assert_eq!(read.headers().count(), 6);
    let read = parse(RFC5438_05).unwrap();
    let media = read.mime().content_type().unwrap().unwrap();
    assert_eq!(media.parameter("boundary").as_deref(), Some("imdn-boundary"));
}

#[test]
fn prefixes_are_bound_in_order() {
    let core = || Some(CORE_NAMESPACE.to_owned());
    let entry = |namespace: Option<&str>, name: &str, value: &str| {
        (namespace.map(str::to_owned), name.to_owned(), String::new(), value.to_owned())
    };
    let read = headers(
        "a.early: 1\r\nNS: a <urn:x>\r\na.X: 2\r\nNS: a<urn:y>\r\na.X: 3\r\nNS: <urn:z>\r\n\
         From: 4\r\nNS: c <urn:ietf:params:cpim-headers:>\r\nc.From: 5\r\nc.NS: b <urn:w>\r\n\
         b.X: 6\r\n\r\n",
    );
    #[rustfmt::skip]
    assert_eq!(read, [
        entry(None,          "early", "1"),
        (core(), "NS".to_owned(), String::new(), "a <urn:x>".to_owned()),
        entry(Some("urn:x"), "X",     "2"),
        (core(), "NS".to_owned(), String::new(), "a<urn:y>".to_owned()),
        entry(Some("urn:y"), "X",     "3"),
        (core(), "NS".to_owned(), String::new(), "<urn:z>".to_owned()),
        entry(Some("urn:z"), "From",  "4"),
        entry(Some("urn:z"), "NS",    "c <urn:ietf:params:cpim-headers:>"),
        entry(Some(CORE_NAMESPACE), "From", "5"),
        entry(Some(CORE_NAMESPACE), "NS",   "b <urn:w>"),
        entry(Some("urn:w"), "X",     "6"),
    ]);
}

#[test]
fn the_prefix_of_a_namespace_is_the_one_in_effect() {
    let read = parse("NS: a <urn:x>\r\nNS: b <urn:x>\r\nNS: b <urn:y>\r\n\r\n").unwrap();
    assert_eq!(read.prefix_of("urn:x"), Some("a"));
    assert_eq!(read.prefix_of("urn:y"), Some("b"));
    assert_eq!(read.prefix_of("urn:z"), None);
    assert_eq!(parse("NS: <urn:x>\r\n\r\n").unwrap().prefix_of("urn:x"), Some(""));
}

#[test]
fn require_is_resolved_where_it_stands() {
    let text = "NS: a <urn:x>\r\nRequire: From, a.One\r\nNS: a <urn:y>\r\n\r\n";
    let read = parse(text).unwrap();
    assert_eq!(read.check_required(&[("urn:x", "One")]), Ok(()));
    assert!(read.check_required(&[("urn:y", "One")]).is_err());
    let unbound = parse("Require: q.One\r\n\r\n").unwrap();
    let missing = NotUnderstood { namespace: None, name: "One".to_owned() };
    assert_eq!(unbound.check_required(&[("urn:x", "One")]), Err(missing));
    assert!(parse("Require: from\r\n\r\n").unwrap().check_required(&[]).is_err());
}

#[test]
fn names_are_case_sensitive_and_unknown_headers_kept() {
    let read = parse("from: <im:a@b>\r\nFrobnicate:no space\r\nFrom: im:c@d\r\n\r\n").unwrap();
    assert_eq!(read.from().unwrap().uri, "im:c@d");
    let values: Vec<_> = read.headers().map(|header| (header.name, header.value)).collect();
    assert_eq!(values, [("from", "<im:a@b>"), ("Frobnicate", "no space"), ("From", "im:c@d")]);
}

#[test]
fn parameters_are_told_from_values() {
    #[rustfmt::skip]
    let table = [
        ("Subject: plain",                ("",                 "plain")),
        ("Subject:;lang=fr Objet",        (";lang=fr",         "Objet")),
        ("Subject:;a=\"x y\";lang=de Ja", (";a=\"x y\";lang=de", "Ja")),
        ("Subject:;-) smile",             ("",                 ";-) smile")),
        ("Subject: ;lang=fr Objet",       ("",                 ";lang=fr Objet")),
        ("Subject:;lang=fr",              (";lang=fr",         "")),
        ("Subject:",                      ("",                 "")),
    ];
    for (line, (parameters, value)) in table {
        let read = headers(&format!("{line}\r\n\r\n"));
        assert_eq!((read[0].2.as_str(), read[0].3.as_str()), (parameters, value), "{line}");
    }
}

#[test]
fn refuses() {
    #[rustfmt::skip]
    let table: [(&[u8], CpimError); 11] = [
        (b"Hello\r\n\r\n",                CpimError::NotAHeader),
        (b": x\r\n\r\n",                  CpimError::NotAHeader),
        (b"a.b.c: x\r\n\r\n",             CpimError::NotAHeader),
        (b".b: x\r\n\r\n",                CpimError::NotAHeader),
        (b" From: x\r\n\r\n",             CpimError::NotAHeader), // no folding in CPIM
        (b"From : x\r\n\r\n",             CpimError::NotAHeader),
        (b"Subject: a\tb\r\n\r\n",        CpimError::Control),
        (b"Subject: caf\xe9\r\n\r\n",     CpimError::NotUtf8),
        (b"NS: imdn\r\n\r\n",             CpimError::Namespace),
        (b"NS: im.dn <urn:x>\r\n\r\n",    CpimError::Namespace),
        (b"From: x\r\n\r\nno MIME\r\n",   CpimError::Content(MimeError::NotAField)),
    ];
    for (octets, error) in table {
        assert_eq!(parse(octets), Err(error), "{:?}", String::from_utf8_lossy(octets));
    }
}

#[test]
fn limits_hold() {
    let limits = Limits { headers_max: 2, header_bytes_max: 12 };
    let read = |octets: &'static str| Cpim::parse(&Bytes::from_static(octets.as_bytes()), &limits);
    assert!(read("A: b\r\nC: d\r\n\r\nE: f\r\n\r\n").is_ok());
    assert_eq!(read("A: b\r\nC: d \r\n\r\n"), Err(CpimError::TooLong));
    assert_eq!(read("A:\r\nB:\r\nC:\r\n\r\n"), Err(CpimError::TooLong));
    assert_eq!(
        read("A: b\r\n\r\nE: fffffffff\r\n\r\n"),
        Err(CpimError::Content(MimeError::TooLong))
    );
}

/// A message cut short is refused or read as far as it goes, never as something else.
#[test]
fn a_cut_invents_nothing() {
    let whole = parse(RFC5438_01).unwrap();
    let all: Vec<_> = whole.headers().collect();
    for cut in 0..RFC5438_01.len() {
        let Ok(read) = parse(&RFC5438_01[..cut]) else { continue };
        let headers: Vec<_> = read.headers().collect();
        let finished = headers.len().saturating_sub(1);
        assert_eq!(headers[..finished], all[..finished], "cut at {cut}");
        assert!(whole.content().starts_with(read.content()), "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn never_panics(
        octets: Vec<u8>, near in "(NS|From|a|[.]|: |;|<|>|\r\n|é|\\\\|Require|,| ){0,40}"
    ) {
        for octets in [octets, near.into_bytes()] {
            if let Ok(read) = parse(octets) {
                let _ = read.check_required(&[]);
                let _ = (read.from(), read.to().count(), read.subjects().count());
                for header in read.headers() {
                    let _ = (header.text(), header.language());
                }
            }
        }
    }
}
