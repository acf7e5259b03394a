//! However a stream is cut, and whatever is in it.

use super::*;

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
