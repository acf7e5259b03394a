//! Whatever comes and however it is cut, each octet is looked at a bounded number of times.

use bytes::Bytes;

use crate::digest::Credentials;
use crate::frame::{Frame, Framer};
use crate::grammar::split_list;
use crate::header::{self, Header, UserAgent};
use crate::message::{Limits, check_request};
use crate::uri::Uri;
use crate::{EXAMINED, Message, Request};

/// How often an octet is looked at by one reader, at most and on average.
const TIMES_MAX: usize = 16;

/// Octets of the smallest input; the others have two times and four times as many.
const OCTETS: usize = 4096;

/// As much as can be indexed in a head, so that no input is refused for its length.
const LIMITS: Limits = Limits { body_octets_max: 64 * 1024, ..Limits::LARGEST };

/// What an input begins with, what is repeated in it, and how it ends.
type Shape = (&'static [u8], &'static [u8], &'static [u8]);

/// Values of a header field, each dear for a reader that begins again and again.
#[rustfmt::skip]
const VALUES: &[Shape] = &[
    (b"", b",", b""),
    (b"a", b",a", b""),
    (b"", b"\"a\",", b"a"),
    (b"\"", b"\\\"", b"\" <sip:a@b>"),
    (b"\"", b"\\\"", b""),
    (b"\"", b"\\", b""),
    (b"\"", b"\r\n ", b"\" <sip:a@b>"),
    (b"", b"\"", b""),
    (b"", b"<", b""),
    (b"", b"<a>,", b""),
    (b"", b"<sip:a@b>,", b"<sip:a@b>"),
    (b"", b"<sip:a@b>;x=y,", b"<sip:a@b>"),
    (b"", b"<sip:a@b>;tag=\xff,", b"<sip:a@b>"),
    (b"<sip:a@b>", b";x=y", b""),
    (b"<sip:a@b>", b";", b""),
    (b"<sip:a@b>;x=", b"y", b""),
    (b"<sip:a@b>;x=\"", b"y", b"\""),
    (b"<sip:a@b", b";x=y", b">"),
    (b"<sip:a@b?", b"x=y&", b"x=y>"),
    (b"", b"a ", b"<sip:a@b>"),
    (b"", b"a ", b""),
    (b"", b"a\r\n ", b"<sip:a@b>"),
    (b"", b"\r\n ", b""),
    (b"", b" ", b"a"),
    (b"a", b" ", b";b"),
    (b"a;b=c", b"\t", b";b"),
    (b"a ", b"(", b""),
    (b"a ", b"(", b")"),
    (b"a ", b"()", b""),
    (b"a ", b"(\\)", b""),
    (b"1 ", b"(", b""),
    (b"IM-client/OMA1.0 ", b"((a) ", b""),
    (b"", b"SIP/2.0/UDP h;branch=a,", b"SIP/2.0/UDP h"),
    (b"", b"SIP/2.0/UDP [::1]:5060;branch=a\xff,", b"SIP/2.0/UDP h"),
    (b"SIP/2.0/UDP ", b"a.", b"b"),
    (b"SIP / 2.0 / UDP h", b" ", b": 5060"),
    (b"SIP/2.0/UDP h;received=", b":", b""),
    (b"Digest ", b"a=b,", b"a=b"),
    (b"Digest a=", b"\"\\a\"", b""),
    (b"1", b"1", b" INVITE"),
    (b"*", b";a=\"<b>,c\"", b""),
    (b"", b"\xff", b""),
    (b"", b"\xc3\xa4", b"\xff <sip:a@b>"),
];

/// What is read as a URI.
const URIS: &[Shape] = &[
    (b"sip:", b"a", b""),
    (b"sip:a@b", b";x=y", b""),
    (b"sip:a@b;x=", b"y", b""),
    (b"sip:a@b?", b"x=y&", b"x=y"),
    (b"sip:", b"%25", b"@b"),
    (b"sip:", b"%", b"@b"),
    (b"sip:a:", b"%41", b"@b"),
    (b"sip:", b"a;", b"b"),
    (b"sip:", b"a@", b"b"),
    (b"sip:a@", b"b.", b"c"),
    (b"sip:a@", b"1.", b"1"),
    (b"sip:a@[", b":", b"]"),
    (b"sip:a@[", b":::", b""),
    (b"sip:a@b:", b"1", b""),
    (b"tel:+1", b"-1", b""),
    (b"tel:1", b";a=b", b""),
    (b"tel:+1;ext=", b"1", b";phone-context=a"),
    (b"a:", b":", b""),
    (b"", b"a", b":b"),
    (b"urn:", b"a?", b""),
];

/// What is read as a message, or as some.
const MESSAGES: &[Shape] = &[
    (b"", b"M sip:a SIP/2.0\r\nl: 0\r\n\r\n", b""),
    (b"", b"\r\n", b""),
    (b"", b"\r\n\r\n", b""),
    (b"", b"\n\r", b""),
    (b"", b"a", b""),
    (b"", b"a ", b"\r\n\r\n"),
    (b"M ", b"a ", b"SIP/2.0\r\nl: 0\r\n\r\n"),
    (b"M sip:a", b";x=y", b" SIP/2.0\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\n", b"A: b\r\n", b"l: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\n", b"To: b\r\n", b"l: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\n", b"l: 0\r\n", b"\r\n"),
    (b"M sip:a SIP/2.0\r\n", b"A: b\n", b"l: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\n", b"A: b\r", b"l: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nA: ", b"b", b"\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nA", b" ", b": b\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nA", b"a", b"\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nA: b", b"\r\n b", b"\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nA: b", b"\r\n ", b"\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nA:", b"\r\n ", b"\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nA:", b"\r\n ", b"b\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nA: b", b"\r\n\t\t\t\t", b""),
    (b"M sip:a SIP/2.0\r\n", b" ", b"\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nl: 0", b"0", b"\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nl: 16384\r\n\r\n", b"\r\n\r\n", b""),
    (b"M sip:a SIP/2.0\r\n", b"Via: SIP/2.0/UDP h\r\n", b"l: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nVia: ", b"SIP/2.0/UDP h,\r\n ", b"SIP/2.0/UDP h\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nRoute: ", b"<sip:a;lr>,", b"<sip:a;lr>\r\nl: 0\r\n\r\n"),
    (b"M sip:a SIP/2.0\r\nContact: ", b"<sip:a>;q=1,", b"<sip:a>\r\nl: 0\r\n\r\n"),
];

fn input((head, unit, tail): Shape, octets: usize) -> Vec<u8> {
    [head, &unit.repeat(octets / unit.len()), tail].concat()
}

/// How many octets `read` looks at.
fn examined(read: impl FnOnce()) -> usize {
    EXAMINED.set(0);
    read();
    EXAMINED.get()
}

/// Looks at inputs of one, two and four times the octets.
#[track_caller]
fn check(reader: &str, times_max: usize, input: impl Fn(usize) -> Vec<u8>, read: impl Fn(&[u8])) {
    let mut before = None;
    for octets in [OCTETS, 2 * OCTETS, 4 * OCTETS] {
        let input = input(octets);
        let looked = examined(|| read(&input));
        let shown = input.get(..40).unwrap_or_default().escape_ascii();
        let most = times_max * input.len();
        assert!(looked <= most, "{reader} looks {looked} times at {}: {shown}", input.len());
        let grown = before.is_none_or(|before| looked <= 2 * before + OCTETS / 2);
        assert!(grown, "{reader} looks {looked} times, before {before:?}: {shown}");
        before = Some(looked);
    }
}

fn message(octets: &[u8]) {
    let parsed = Message::parse_datagram(Bytes::copy_from_slice(octets), &LIMITS);
    let message = match parsed {
        Ok(message) => Some(message),
        Err(malformed) => malformed.message,
    };
    if let Some(request) = message.and_then(|message| Request::new(message).ok()) {
        let _ = check_request(&request);
        let _ = request.top_via();
    }
}

fn stream(octets: &[u8], read: usize) {
    let mut framer = Framer::new(LIMITS);
    for read in octets.chunks(read) {
        framer.buffer().extend_from_slice(read);
        while let Some(frame) = framer.next_frame() {
            assert!(!matches!(frame, Frame::Message(message) if message.body().len() > 1 << 16));
        }
    }
}

fn one<'a, H: Header<'a>>(value: &'a [u8]) {
    let _ = H::parse(value);
}

fn each<'a, H: Header<'a>>(value: &'a [u8]) {
    split_list(value).for_each(|value| _ = H::parse(value));
}

#[test]
fn what_is_looked_at_is_counted() {
    let params = ";x=y".repeat(60);
    let text = format!("M sip:a{params} SIP/2.0\r\nRoute: <sip:a>{params}\r\nl: 0\r\n\r\n");
    let text = text.as_bytes();
    for looked in [examined(|| message(text)), examined(|| stream(text, 1))] {
        assert!(looked >= text.len(), "{looked} of {}", text.len());
    }
    let params = params.as_bytes();
    assert!(examined(|| one::<header::To<'_>>(&[b"<sip:a>", params].concat())) >= params.len());
    assert!(examined(|| _ = Uri::parse(&[b"sip:a", params].concat())) >= params.len());
}

// Covers: SEC-018
#[test]
fn of_messages() {
    for shape in MESSAGES {
        check("the message scan", TIMES_MAX, |octets| input(*shape, octets), message);
    }
}

// Covers: SEC-018
#[test]
fn of_streams_however_they_are_cut() {
    for shape in MESSAGES {
        for read in [1, 2, 7, 1460, usize::MAX] {
            let name = format!("the framer, in reads of {read},");
            check(&name, TIMES_MAX, |octets| input(*shape, octets), |input| stream(input, read));
        }
    }
}

// Covers: SEC-018
#[test]
fn of_uris() {
    for shape in URIS {
        let read = |input: &[u8]| _ = Uri::parse(input);
        check("the URI reader", TIMES_MAX, |octets| input(*shape, octets), read);
    }
}

/// Checks every reader of a header with these inputs.
fn headers(times_max: usize, input: impl Fn(usize) -> Vec<u8>) {
    macro_rules! every {
        ($($header:ident)*) => {
            $(
                let (name, list) = (stringify!($header), concat!(stringify!($header), "s"));
                check(name, times_max, &input, |value| one::<header::$header>(value));
                check(list, times_max, &input, |value| each::<header::$header>(value));
            )*
        };
    }
    header::every_header! { every }
    check("the credentials", times_max, &input, |value| _ = Credentials::parse(value));
    check("the release", times_max, &input, |value| {
        let _ = UserAgent::parse(value).map(|product| product.release());
    });
}

// Covers: SEC-018
#[test]
fn of_header_values() {
    for shape in VALUES {
        headers(TIMES_MAX, |octets| input(*shape, octets));
    }
}

/// More parameters than a value may have, each with a name of its own.
// Covers: SEC-018
#[test]
fn of_many_parameters() {
    for head in ["<sip:a@b>", "*", "a", "SIP/2.0/UDP h", "Digest q=q"] {
        for separator in [";", ","] {
            headers(TIMES_MAX * header::PARAMS_MAX, |octets| {
                let params = (0..octets / 8).map(|count| format!("{separator}p{count:04x}=v"));
                format!("{head}{}", params.collect::<String>()).into_bytes()
            });
        }
    }
}

/// As many parameters as a value may have, and long ones: each may be compared with all before it.
// Covers: SEC-018
#[test]
fn of_as_many_parameters_as_there_may_be() {
    let params = header::PARAMS_MAX;
    for head in ["<sip:a@b>", "*", "a", "SIP/2.0/UDP h", "Digest q=q"] {
        for separator in [";", ","] {
            headers(TIMES_MAX * params, |octets| {
                let name = "+a".repeat(octets / params / 2);
                let params = (1..params).map(|count| format!("{separator}{name}{count}"));
                format!("{head}{}", params.collect::<String>()).into_bytes()
            });
        }
    }
}
