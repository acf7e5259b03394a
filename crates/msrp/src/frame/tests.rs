//! However a stream is cut, and whatever is in it.

mod linear;

use proptest::prelude::*;

use super::*;
use crate::Method;
use crate::header::{ByteRangeError, FailureReportError, SuccessReportError};

/// What was found, with bodies put together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Message { raw: Vec<u8>, body: Option<Vec<u8>>, end: Option<Continuation> },
    Malformed { id: Vec<u8>, from_path: Vec<u8>, error: HeadError },
    Broken(FrameError),
}

/// Takes every piece of `input`.
fn feed(framer: &mut Framer, input: &[u8], seen: &mut Vec<Seen>) {
    let mut at = 0;
    while let Some(piece) = framer.next(input, &mut at) {
        match piece {
            Piece::Head { head, body, end } => {
                let (raw, body) = (head.raw.to_vec(), head.has_body.then(|| body.to_vec()));
                seen.push(Seen::Message { raw, body, end });
            }
            Piece::Body { body: more, end: flag } => {
                let Some(Seen::Message { body: Some(body), end: end @ None, .. }) = seen.last_mut()
                else {
                    panic!("body without a head: {seen:?}")
                };
                assert!(!more.is_empty() || flag.is_some(), "a piece of nothing");
                body.extend_from_slice(more);
                *end = flag;
            }
            Piece::Malformed { head, error } => seen.push(Seen::Malformed {
                id: head.start.id().to_vec(),
                from_path: head.from_path.as_bytes().to_vec(),
                error,
            }),
            Piece::Broken(error) => seen.push(Seen::Broken(error)),
        }
    }
    assert_eq!(at, input.len(), "None is said when all is used");
}

/// What is in `stream` when it is cut before each octet of `cuts`, which are in order.
fn cut(stream: &[u8], cuts: &[usize], limits: Limits) -> Vec<Seen> {
    let (mut framer, mut seen, mut from) = (Framer::new(limits), Vec::new(), 0);
    for to in cuts.iter().copied().chain([stream.len()]) {
        feed(&mut framer, &stream[from..to], &mut seen);
        from = to;
    }
    seen
}

fn whole(stream: &[u8]) -> Vec<Seen> {
    cut(stream, &[], Limits::default())
}

/// A stream that is written with LF.
fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

const PATHS: &str = "To-Path: msrp://b.example:2855/x;tcp\nFrom-Path: msrp://a.example:7/y;tcp\n";

/// A SEND with `headers` after the paths and what follows them.
fn send(headers: &str, rest: &str) -> Vec<u8> {
    crlf(&format!("MSRP abcd SEND\n{PATHS}{headers}{rest}"))
}

fn text(body: &str) -> Vec<u8> {
    send("Message-ID: m1\nContent-Type: text/plain\n", &format!("\n{body}\n-------abcd$\n"))
}

fn message(seen: &Seen) -> (Option<&[u8]>, Option<Continuation>) {
    match seen {
        Seen::Message { body, end, .. } => (body.as_deref(), *end),
        other => panic!("{other:?}"),
    }
}

// Covers: MSRP-001, MSRP-002, MSRP-077
#[test]
fn finds_the_end_of_a_body() {
    let near =
        "\n-------abc$\n-------abcde$\n-------abcd\n-------abcd!\n-------abcd$ \n------abcd$";
    #[rustfmt::skip]
    let table = [
        ("hello",                  "hello"),
        ("",                       ""),
        ("\n",                     "\n"),
        ("x-------abcd$",          "x-------abcd$"),
        ("\n-------",              "\n-------"),
        ("\n-------abcd",          "\n-------abcd"),
        ("\n-------abcd$x",        "\n-------abcd$x"),   // no CRLF after it
        ("\n\n\n-------\n-------", "\n\n\n-------\n-------"),
        (near,                     near),
        ("MSRP efgh SEND\nTo-Path: x\n", "MSRP efgh SEND\nTo-Path: x\n"),
    ];
    for (body, expected) in table {
        let mut stream = text(body);
        stream.extend(text("next"));
        let seen = whole(&stream);
        assert_eq!(seen.len(), 2, "{body:?}: {seen:?}");
        assert_eq!(message(&seen[0]), (Some(&crlf(expected)[..]), Some(Continuation::Last)));
        assert_eq!(message(&seen[1]), (Some(&b"next"[..]), Some(Continuation::Last)));
    }
}

#[test]
fn every_single_cut_gives_the_same() {
    let mut stream = text("a\r\n-------abcd\r\n-------abcd+\r\r\n-------abc$\r\n");
    stream.extend(crlf(&format!("MSRP efgh 200 OK\n{PATHS}-------efgh$\n")));
    let expected = whole(&stream);
    for at in 0..=stream.len() {
        assert_eq!(cut(&stream, &[at], Limits::default()), expected, "cut at {at}");
    }
    let every: Vec<_> = (0..stream.len()).collect();
    assert_eq!(cut(&stream, &every, Limits::default()), expected);
    assert_eq!(expected.len(), 2, "{expected:?}");
}

/// Malformed: the rest of the head, and what is wrong with it.
#[rustfmt::skip]
fn malformed() -> Vec<(&'static str, HeadError)> {
    use HeadError::*;
    vec![
        ("MSRP abcd send\nTo-Path: a\nFrom-Path: b\n",                     Method),
        ("MSRP abcd 2000 OK\nTo-Path: a\nFrom-Path: b\n",                  StatusCode),
        ("MSRP abcd SEND\nFrom-Path: b\nTo-Path: a\n",                     Paths),
        ("MSRP abcd SEND\nMessage-ID: m\nTo-Path: a\nFrom-Path: b\n",      Paths),
        ("MSRP abcd SEND\nTo-Path: a\nMessage-ID: m\nFrom-Path: b\n",      Paths),
        ("MSRP abcd SEND\nTo-Path:\nFrom-Path: b\n",                       Paths),
        ("MSRP abcd SEND\nFrom-Path: b\n",                                 Paths),
        ("MSRP abcd SEND\nTo-Path: a\nTo-Path: a\nFrom-Path: b\n",         Repeated),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nFrom-Path: c\n",       Repeated),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nMessage-ID: m\nmessage-id: m\n", Repeated),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nno colon\n",           Line),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\n: no name\n",          Line),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\n1x: digit\n",          Line),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nA B: space\n",         Line),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nA: b\n folded\n",      Line),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nA: \u{0}\n",           Line),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nA: b\rC: d\n",         Line),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\n-------abcd!\n",       Line),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\n-------abce$\n",       Line),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nMessage-ID: a b\n",    MessageId),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nMessage-ID:\n",        MessageId),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nByte-Range: 0-1/1\n",  ByteRange(ByteRangeError::Start)),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nByte-Range: 5-3/9\n",  ByteRange(ByteRangeError::End)),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nByte-Range: 1-9/8\n",  ByteRange(ByteRangeError::Total)),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nSuccess-Report: maybe\n", SuccessReport(SuccessReportError)),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path: b\nFailure-Report: x\n",  FailureReport(FailureReportError)),
    ]
}

// Covers: MSRP-001, MSRP-081, MSRP-085
#[test]
fn what_cannot_be_read_is_said_when_it_has_ended() {
    for (head, error) in malformed() {
        for rest in ["-------abcd$\n", "Content-Type: a/b\n\nbody\n-------abcd$\n"] {
            let mut stream = crlf(&format!("{head}{rest}"));
            stream.extend(text("next"));
            let seen = whole(&stream);
            let (id, from_path) = (b"abcd".to_vec(), b"b".to_vec());
            assert_eq!(seen[0], Seen::Malformed { id, from_path, error }, "{head}");
            assert_eq!(message(&seen[1]), (Some(&b"next"[..]), Some(Continuation::Last)), "{head}");
            let every: Vec<_> = (0..stream.len()).collect();
            assert_eq!(cut(&stream, &every, Limits::default()), seen, "{head}");
        }
    }
    // A body without Content-Type (RFC 4975 §7.1).
    let seen = whole(&send("", "\nbody\n-------abcd$\n"));
    assert!(matches!(&seen[..], [Seen::Malformed { error: HeadError::ContentTypeMissing, .. }]));
}

// Covers: MSRP-081
#[test]
fn a_refusal_knows_whether_it_is_wanted() {
    let stream = send("Failure-Report: no\nByte-Range: x\n", "-------abcd$\n");
    let (mut framer, mut at) = (Framer::new(Limits::default()), 0);
    let Some(Piece::Malformed { head, .. }) = framer.next(&stream, &mut at) else { panic!() };
    assert_eq!(head.failure_report, crate::header::FailureReport::No);
    assert_eq!(head.to_path.map(|path| path.first()), Some(&b"msrp://b.example:2855/x;tcp"[..]));
    assert_eq!(head.start, crate::Start::Request { id: b"abcd", method: Method::Send });
}

// Covers: MSRP-081
#[test]
fn what_names_no_transaction_or_sender_closes() {
    #[rustfmt::skip]
    let table = [
        ("X",                                              FrameError::StartLine),
        ("MSRX",                                           FrameError::StartLine),
        ("\n",                                             FrameError::StartLine),
        ("MSRP abc SEND\n",                                FrameError::StartLine),
        ("MSRP ab\tcd SEND\n",                             FrameError::StartLine),
        ("MSRP abcd SEND\nTo-Path: a\n-------abcd$\n",     FrameError::FromPath),
        ("MSRP abcd SEND\nTo-Path: a\nFrom-Path:\n\n",     FrameError::FromPath),
    ];
    for (stream, error) in table {
        let stream = crlf(stream);
        let every: Vec<_> = (0..stream.len()).collect();
        for cuts in [&[][..], &every] {
            let seen = cut(&stream, cuts, Limits::default());
            assert_eq!(seen, [Seen::Broken(error)], "{}", stream.escape_ascii());
        }
    }
    // A line that ends in LF alone is not a start line.
    assert_eq!(whole(b"MSRP abcd SEND\n"), [Seen::Broken(FrameError::StartLine)]);
}

/// A head of exactly `octets`.
fn head_of(octets: usize) -> Vec<u8> {
    let without = send("A: \n", "-------abcd$\n").len();
    send(&format!("A: {}\n", "x".repeat(octets - without)), "-------abcd$\n")
}

// Covers: MSRP-081
#[test]
fn a_head_has_a_limit() {
    let limit = Limits::default().head_octets_max;
    for reads in [1, 100, 4096, usize::MAX] {
        let found = |octets| {
            let stream = head_of(octets);
            let cuts: Vec<_> = (0..stream.len()).skip(1).step_by(reads).collect();
            cut(&stream, &cuts, Limits::default())
        };
        assert!(matches!(found(limit)[..], [Seen::Message { .. }]), "{reads}");
        assert_eq!(found(limit + 1), [Seen::Broken(FrameError::HeadTooLong)], "{reads}");
    }
    let endless = [b"MSRP abcd SEND\r\n", &[b'a'; 100_000][..]].concat();
    assert_eq!(whole(&endless), [Seen::Broken(FrameError::HeadTooLong)]);
}

#[test]
fn headers_and_uris_have_a_limit() {
    let Limits { headers_max, uris_max, .. } = Limits::default();
    let headers = |count: usize| whole(&send(&"A: b\n".repeat(count - 2), "-------abcd$\n"));
    assert!(matches!(headers(headers_max)[..], [Seen::Message { .. }]));
    let found = headers(headers_max + 1);
    assert!(matches!(found[..], [Seen::Malformed { error: HeadError::TooManyHeaders, .. }]));
    let paths = |to: usize, from: usize| {
        let (to, from) = (" u".repeat(to), " u".repeat(from));
        whole(&crlf(&format!("MSRP abcd SEND\nTo-Path:{to}\nFrom-Path:{from}\n-------abcd$\n")))
    };
    assert!(matches!(paths(uris_max, uris_max)[..], [Seen::Message { .. }]));
    for (to, from) in [(uris_max + 1, 1), (1, uris_max + 1)] {
        let found = paths(to, from);
        assert!(matches!(found[..], [Seen::Malformed { error: HeadError::TooManyUris, .. }]));
    }
}

// Covers: MSRP-005
#[test]
fn a_body_of_anything_but_a_send_has_a_limit() {
    let limit = Limits::default().other_body_octets_max;
    for start in ["AUTH", "NICKNAME", "REPORT", "PING", "200 OK"] {
        let stream = |octets: usize| {
            let body = "x".repeat(octets);
            let head = format!("MSRP abcd {start}\n{PATHS}Content-Type: a/b\n\n");
            crlf(&format!("{head}{body}\n-------abcd$\n"))
        };
        for reads in [1, 333, usize::MAX] {
            let found = |octets| {
                let stream = stream(octets);
                let cuts: Vec<_> = (0..stream.len()).skip(1).step_by(reads).collect();
                cut(&stream, &cuts, Limits::default())
            };
            let fits = found(limit);
            assert_eq!(message(&fits[0]).0.map(<[u8]>::len), Some(limit), "{start}");
            assert_eq!(fits.len(), 1);
            // As much as is allowed is given, and then that it is too long.
            let over = found(limit + 1);
            assert_eq!(message(&over[0]), (Some(&vec![b'x'; limit][..]), None), "{start}");
            assert_eq!(over[1..], [Seen::Broken(FrameError::BodyTooLong)], "{start}");
        }
    }
}

// Covers: MSRP-077
#[test]
fn no_body_and_an_empty_body_are_two_things() {
    let ended = Some(Continuation::Last);
    let none = whole(&send("Message-ID: m\n", "-------abcd$\n"));
    assert_eq!(message(&none[0]), (None, ended));
    let empty = whole(&text(""));
    assert_eq!(message(&empty[0]), (Some(&b""[..]), ended));
    // Some write an empty body without the CRLF that is not part of it.
    let stream = send("Content-Type: a/b\n", "\n-------abcd#\n");
    let every: Vec<_> = (0..stream.len()).collect();
    for cuts in [&[][..], &every] {
        let seen = cut(&stream, cuts, Limits::default());
        assert_eq!(message(&seen[0]), (Some(&b""[..]), Some(Continuation::Abort)));
        assert_eq!(seen.len(), 1);
    }
}

// Covers: MSRP-002, MSRP-085
#[test]
fn what_a_byte_range_says_of_the_length_does_not_count() {
    for range in ["1-3/3", "1-9/9", "1-*/*", "1-18446744073709551615/*", "7-7/*"] {
        let headers = format!("Byte-Range: {range}\nContent-Type: a/b\n");
        let mut stream = send(&headers, "\nhello\n-------abcd+\n");
        stream.extend(text("next"));
        let seen = whole(&stream);
        assert_eq!(message(&seen[0]), (Some(&b"hello"[..]), Some(Continuation::More)), "{range}");
        assert_eq!(seen.len(), 2, "{range}");
    }
}

#[test]
fn bodies_are_not_copied_and_nothing_is_kept() {
    let body = vec![b'-'; 300_000];
    let mut stream = send("Content-Type: a/b\n", "\n");
    stream.extend(&body);
    stream.extend(b"\r\n-------abcd$\r\n");
    let mut framer = Framer::new(Limits::default());
    let mut octets = 0;
    for read in stream.chunks(50_000) {
        let (mut at, inside) = (0, read.as_ptr_range());
        while let Some(piece) = framer.next(read, &mut at) {
            let (Piece::Head { body, .. } | Piece::Body { body, .. }) = piece else { panic!() };
            assert!(body.is_empty() || inside.contains(&body.as_ptr()));
            octets += body.len();
        }
        assert_eq!((framer.cut.capacity(), framer.place.malformed.capacity()), (0, 0));
    }
    assert_eq!(octets, body.len());
}

#[test]
fn a_cut_head_is_given_back() {
    let stream = text("hello");
    let mut framer = Framer::new(Limits::default());
    let mut seen = Vec::new();
    feed(&mut framer, &stream[..60], &mut seen);
    assert!(framer.in_head() && framer.cut.capacity() >= 60);
    feed(&mut framer, &stream[60..], &mut seen);
    assert!(!framer.in_head());
    assert_eq!((framer.cut.capacity(), framer.place.malformed.capacity()), (0, 0));
    assert_eq!(seen.len(), 1);
    // One that is malformed is kept until its end, not longer.
    feed(&mut framer, &send("Byte-Range: x\nContent-Type: a/b\n", "\nhello"), &mut seen);
    assert!(framer.place.malformed.capacity() > 0);
    feed(&mut framer, &vec![b'x'; 100_000], &mut seen);
    feed(&mut framer, b"\r\n-------abcd$\r\n", &mut seen);
    assert_eq!((framer.cut.capacity(), framer.place.malformed.capacity()), (0, 0));
    assert_eq!(seen.len(), 2);
}

#[test]
fn unknown_headers_are_carried_and_known_ones_found_in_any_case() {
    let headers = "X-New: a:b\nMESSAGE-ID:m1\nfailure-report:  partial \nUse-Path: a b\nx-new: c\n";
    let stream = send(headers, "-------abcd$\n");
    let (mut framer, mut at) = (Framer::new(Limits::default()), 0);
    let Some(Piece::Head { head, .. }) = framer.next(&stream, &mut at) else { panic!() };
    assert_eq!(head.rest, crlf(headers));
    assert_eq!(head.message_id, Some(&b"m1"[..]));
    assert_eq!(head.failure_report, crate::header::FailureReport::Partial);
    assert_eq!(head.value("x-NEW"), Some(&b"a:b"[..]));
    assert_eq!(head.value("Use-Path"), Some(&b"a b"[..]));
    assert_eq!(head.value("Expires"), None);
    assert_eq!(head.lines().map(|line| line.octets.len()).sum::<usize>(), head.rest.len());
}

/// Octets that are near to what is looked for.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "\r\n",
        "\r",
        "\n",
        "-",
        "----",
        "-------",
        "\r\n-------",
        "abcd",
        "abcd$",
        "$\r\n",
        "+",
        "\r\n-------abcd",
        "\r\n-------abcd$",
        "\r\n-------abcd$\r",
        "-------abcd#\r\n",
        " ",
        "MSRP abcd SEND\r\n",
        "MSRP abcd 200 OK\r\n",
        "To-Path: a\r\n",
        "From-Path: b\r\n",
        "Content-Type: a/b\r\n\r\n",
        "Byte-Range: 1-5/5\r\n",
        "Byte-Range: 0\r\n",
        "A: b\r\n",
        "hello",
    ];
    let word = prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec());
    let message = "[-\r\na-d$+]{0,40}".prop_map(|body| {
        let mut octets = send("Content-Type: a/b\n", "\n");
        octets.extend(body.as_bytes());
        octets.extend(b"\r\n-------abcd$\r\n");
        octets
    });
    let auth = Just(crlf(&format!("MSRP abcd AUTH\n{PATHS}Content-Type: a/b\n\n")));
    let octet = any::<u8>().prop_map(|octet| vec![octet]);
    prop_oneof![6 => word, 3 => message, 1 => auth, 1 => octet]
}

proptest! {
    // Covers: MSRP-002
    #[test]
    fn however_it_is_cut(
        start in any::<bool>(),
        fragments in prop::collection::vec(fragment(), 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = if start { send("Content-Type: a/b\n", "\n") } else { Vec::new() };
        stream.extend(fragments.concat());
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        // Small limits, so that they are reached.
        let limits = Limits { head_octets_max: 200, headers_max: 6, uris_max: 2, other_body_octets_max: 20 };
        let expected = cut(&stream, &[], limits);
        prop_assert_eq!(&cut(&stream, &cuts, limits), &expected);
        let every: Vec<_> = (0..stream.len()).collect();
        prop_assert_eq!(&cut(&stream, &every, limits), &expected);
    }

    #[test]
    fn never_panics(stream: Vec<u8>) {
        whole(&stream);
        whole(&[b"MSRP abcd SEND\r\n", &stream[..]].concat());
    }
}
