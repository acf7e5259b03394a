//! The worst inputs against the parsers: time per 64 KiB, and how it grows with the size.
//!
//! A parser that looks at each octet a bounded number of times takes twice as long for twice the
//! input. Every shape is fed at 16, 32 and 64 KiB; the last column is the growth over the whole
//! range, about 4 when the work is linear and 16 when it is quadratic. No input may take more than
//! 10 ms at 64 KiB.
//!
//! `cargo run --release -p parlance-benches --bin linear`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;

use bytes::Bytes;
use parlance_benches::timing::measure;
use parlance_sip::frame::Framer;
use parlance_sip::grammar::split_list;
use parlance_sip::header::{Contact, Header, Via};
use parlance_sip::message::{Limits, check_request};
use parlance_sip::sdp::Sdp;
use parlance_sip::uri::Uri;
use parlance_sip::{Message, Request};

/// Makes an input of about so many octets.
type Make = fn(usize) -> Vec<u8>;

const SHAPES: [(&str, Make); 12] = [
    ("many header lines", |size| lines("X: y\r\n", size)),
    ("many Vias", |size| lines("Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n", size)),
    ("one line of commas", |size| head(&format!("Contact: {}", ",".repeat(size)))),
    ("one folded line", |size| head(&format!("Subject: {}x", "a\r\n ".repeat(size / 4)))),
    ("brackets that never close", |size| {
        head(&format!("Contact: {}", "<sip:a@h,".repeat(size / 9)))
    }),
    ("quotes that never close", |size| head(&format!("Contact: {}", "\"a\\\",".repeat(size / 5)))),
    ("contact parameters", |size| head(&format!("Contact: <sip:a@h>{}", ";a=b".repeat(size / 4)))),
    ("via parameters", |size| head(&format!("Via: SIP/2.0/UDP h{}", ";a=b".repeat(size / 4)))),
    ("uri parameters", |size| format!("sip:a@h{}", ";a=b".repeat(size / 4)).into_bytes()),
    ("uri escapes", |size| format!("sip:{}@h", "%41".repeat(size / 3)).into_bytes()),
    ("sdp lines", |size| format!("v=0\r\n{}", "a=b\r\n".repeat(size / 5)).into_bytes()),
    ("a stream of line ends", |size| b"\r\n".repeat(size / 2)),
];

fn lines(line: &str, size: usize) -> Vec<u8> {
    head(line.repeat(size / line.len()).trim_end())
}

fn head(lines: &str) -> Vec<u8> {
    format!("MESSAGE sip:b@h SIP/2.0\r\n{lines}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

/// Everything that looks at octets of a peer.
fn examine(octets: &[u8]) {
    let limits = Limits {
        head_octets_max: usize::from(u16::MAX),
        fields_max: usize::from(u16::MAX),
        body_octets_max: usize::MAX,
    };
    let message = Message::parse_datagram(Bytes::copy_from_slice(octets), &limits).ok();
    if let Some(request) = message.and_then(|message| Request::new(message).ok()) {
        black_box(check_request(&request)).ok();
    }
    let mut framer = Framer::new(limits);
    for piece in octets.chunks(1_400) {
        framer.buffer().extend_from_slice(piece);
        while let Some(frame) = framer.next_frame() {
            black_box(&frame);
        }
    }
    for value in split_list(octets) {
        black_box(Contact::parse(value)).ok();
        black_box(Via::parse(value)).ok();
    }
    black_box(Uri::parse(octets)).ok();
    black_box(Sdp::parse(octets)).ok();
}

fn main() {
    println!("{:28} {:>10} {:>10} {:>10} {:>8}", "ms at", "16 KiB", "32 KiB", "64 KiB", "growth");
    let mut worst: f64 = 0.0;
    for (name, make) in SHAPES {
        let cost = |size: usize| {
            let octets = make(size - 512);
            measure(10, || examine(black_box(&octets))).best / 1e6
        };
        let (small, middle, large) = (cost(16 << 10), cost(32 << 10), cost(64 << 10));
        println!("{name:28} {small:>10.3} {middle:>10.3} {large:>10.3} {:>8.1}", large / small);
        worst = worst.max(large);
    }
    println!("\nworst: {worst:.3} ms per 64 KiB, at most 10 are allowed");
}
