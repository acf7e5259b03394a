//! Framing MSRP, beside a search for the end-line and nothing else.
//!
//! The first table frames a read of 64 KiB full of equal messages, or one message of 64 KiB that is
//! cut. The floor finds the ends of the same messages with one search for
//! `CRLF ------- transact-id` each, and knows the transaction identifiers. The second table has
//! bodies and the third heads that are made to be dear.
//!
//! `cargo run --release -p parlance-benches --bin msrp_frame`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;

use memchr::memmem::Finder;
use parlance_benches::timing::measure;
use parlance_msrp::{Continuation, Framer, Limits, Method, Piece, write};

const ID: &[u8] = b"0a5k2v9q7e3t1m8c4r6b5n0d2f7h";
const TO: &[u8] = b"msrp://192.0.2.50:2855/c7f3a9c0b1d2e4f5a6b7;tcp";
const FROM: &[u8] = b"msrp://192.0.2.10:7654/jshA7weK3m9xQ2vB8nT4;tcp";

/// Octets of a read.
const READ: usize = 64 * 1024;

/// The slowest that a body may be framed at, in octets a nanosecond.
const BODY_MIN: f64 = 0.5;

/// The longest that a head may take, in nanoseconds.
const HEAD_MAX: f64 = 1e6;

fn main() {
    println!(
        "{:28} {:>8} {:>10} {:>8} {:>10} {:>8}",
        "", "ns each", "M/s", "GB/s", "floor ns", "times"
    );
    for (name, message) in [
        ("SEND with one octet of body", send(b"x")),
        ("SEND of 350 octets", send_of(350)),
        ("SEND of 1 KiB", send_of(1024)),
        ("SEND of 64 KiB", send_of(READ)),
        ("200", response()),
    ] {
        beside_the_floor(name, &message);
    }
    println!("\n{:28} {:>8}", "bodies of 64 KiB", "GB/s");
    let slowest = bodies().into_iter().map(dear_body).fold(f64::INFINITY, f64::min);
    println!("\n{:28} {:>8} {:>14}", "heads, us each", "one read", "reads of one");
    let longest = heads().into_iter().map(dear_head).fold(0.0, f64::max);
    println!("\nslowest body: {slowest:.2} GB/s, at least {BODY_MIN} are asked for");
    println!("longest head: {:.1} us, at most {:.0} are allowed", longest / 1e3, HEAD_MAX / 1e3);
}

/// Octets a nanosecond, which are gigabytes a second.
fn rate(octets: usize, nanoseconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a read is small")]
    let octets = octets as f64;
    octets / nanoseconds
}

/// Frames a read full of `message`, and looks for their ends only.
fn beside_the_floor(name: &str, message: &[u8]) {
    let count = (READ / message.len()).max(1);
    let read = message.repeat(count);
    let each = |total: f64| total / f64::from(u32::try_from(count).unwrap_or(1));
    let mut framer = Framer::new(Limits::default());
    assert_eq!((frame(&mut framer, &read), search(&read)), (count, count), "{name}");
    let ours = measure(200, || {
        black_box(frame(&mut framer, black_box(&read)));
    });
    let floor = measure(200, || {
        black_box(search(black_box(&read)));
    });
    let (ours, floor) = (each(ours.best), each(floor.best));
    let (millions, gigabytes) = (1e3 / ours, rate(message.len(), ours));
    let times = ours / floor;
    println!("{name:28} {ours:>8.1} {millions:>10.2} {gigabytes:>8.2} {floor:>10.1} {times:>8.1}");
}

/// Frames a body that repeats `unit`; gigabytes a second.
fn dear_body((name, unit): (&str, Vec<u8>)) -> f64 {
    let message = send(&unit.repeat(READ / unit.len()));
    let mut framer = Framer::new(Limits::default());
    let cost = measure(50, || {
        black_box(frame(&mut framer, black_box(&message)));
    });
    let gigabytes = rate(message.len(), cost.best);
    println!("{name:28} {gigabytes:>8.2}");
    gigabytes
}

/// Frames `head` in one read and in reads of one octet; nanoseconds of the dearer.
fn dear_head((name, head): (&str, Vec<u8>)) -> f64 {
    let cost = |octets: usize| {
        let work = || {
            let mut framer = Framer::new(Limits::default());
            for read in head.chunks(octets) {
                black_box(frame(&mut framer, black_box(read)));
            }
        };
        measure(20, work).best
    };
    let (whole, single) = (cost(usize::MAX), cost(1));
    println!("{name:28} {:>8.1} {:>14.1}", whole / 1e3, single / 1e3);
    whole.max(single)
}

/// The messages that end in `read`.
fn frame(framer: &mut Framer, read: &[u8]) -> usize {
    let (mut at, mut ends) = (0, 0);
    while let Some(piece) = framer.next(read, &mut at) {
        match piece {
            Piece::Head { head, body, end } => {
                black_box((head.to_path, head.message_id, body.len()));
                ends += usize::from(end.is_some());
            }
            Piece::Body { body, end } => {
                black_box(body.len());
                ends += usize::from(end.is_some());
            }
            Piece::Malformed { .. } | Piece::Broken(_) => return ends,
        }
    }
    ends
}

/// The ends of messages in `read`, each looked for by its own transaction identifier.
fn search(read: &[u8]) -> usize {
    let (mut rest, mut ends) = (read, 0);
    let needle = [b"\r\n-------", ID].concat();
    while let Some(end) = Finder::new(black_box(&needle)).find(rest) {
        ends += 1;
        rest = rest.get(end + needle.len() + 3..).unwrap_or_default();
    }
    ends
}

fn send(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::request(&mut out, ID, Method::Send, TO, FROM);
    write::header(&mut out, "Message-ID", b"87652491g3kx");
    let range = format!("1-{0}/{0}", body.len());
    write::header(&mut out, "Byte-Range", range.as_bytes());
    write::header(&mut out, "Content-Type", b"text/plain");
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    write::body_end(&mut out, ID, Continuation::Last);
    out
}

/// A SEND of so many octets in all.
fn send_of(octets: usize) -> Vec<u8> {
    let text = b"Lunch at noon? The usual place - or somewhere new.\r\n";
    let without = send(b"").len() + 8;
    let body: Vec<u8> = text.iter().copied().cycle().take(octets.saturating_sub(without)).collect();
    send(&body)
}

fn response() -> Vec<u8> {
    let mut out = Vec::new();
    write::response(&mut out, ID, 200, FROM, TO, b"");
    out
}

/// What bodies made to be dear repeat.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let near = |end: &[u8]| [b"\r\n-------", ID, end].concat();
    vec![
        ("zeros", vec![0]),
        ("dashes", b"-".to_vec()),
        ("CR", b"\r".to_vec()),
        ("LF", b"\n".to_vec()),
        ("CRLF", b"\r\n".to_vec()),
        ("CRLF and a dash", b"\r\n-".to_vec()),
        ("CRLF and six dashes", b"\r\n------".to_vec()),
        ("CRLF and seven dashes", b"\r\n-------".to_vec()),
        ("CR and dashes", b"\r-------".to_vec()),
        ("end-lines but for an octet", near(b"")),
        ("end-lines but for a flag", near(b"!\r\n")),
        ("end-lines but for CRLF", near(b"$\r")),
        ("end-lines of a short id", b"\r\n-------0$\r\n".to_vec()),
    ]
}

/// Heads made to be dear, as long as they may be.
fn heads() -> Vec<(&'static str, Vec<u8>)> {
    let room = Limits::default().head_octets_max - 256;
    let head = |middle: &[u8]| {
        let mut out = Vec::new();
        write::request(&mut out, ID, Method::Send, TO, FROM);
        out.extend_from_slice(&middle.repeat(room / middle.len()));
        out.extend_from_slice(b"\r\n");
        write::end_line(&mut out, ID, Continuation::Last);
        out
    };
    vec![
        ("many headers", head(b"A:\r\n")),
        ("many colons", head(b"A::::::\r\n")),
        ("many end-lines", head(b"-------0a5k2v9q7e3t1m8c4r6b5n0d2f7h!\r\n")),
        ("one long header", head(b"Subject")),
        ("line ends of LF", head(b"\n")),
        ("line ends of CR", head(b"\r")),
        ("spaces", head(b" ")),
        ("never ends", b"MSRP abcd SEND\r\n".iter().copied().chain(vec![b'a'; READ]).collect()),
    ]
}
