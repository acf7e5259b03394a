//! Parsing and forwarding one pager-mode MESSAGE, beside rsip doing the same work.
//!
//! Ours: from a filled buffer of the receive pool to a filled output buffer, with the checks that
//! give the proxy's verdict on a malformed request (RFC 4475), a `Via` on top, our `Route` off,
//! `P-Served-User` off and one `Max-Forwards` less. rsip: parse, typed access to the headers a
//! proxy must read, serialise.
//!
//! `cargo run --release -p parlance-benches --bin forward [-- CALLS]`
//!
//! With a number only ours runs, so many times and untimed, for a counter of instructions:
//! `valgrind --tool=callgrind --toggle-collect='forward::forward' target/release/forward 2000`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use parlance_benches::allocations::Counting;
use parlance_benches::timing::{Cost, measure};
use parlance_sip::message::{Limits, check_request};
use parlance_sip::{Edits, HeaderName, Message, Request};
use rsip::headers::UntypedHeader;
use rsip::prelude::{HasHeaders, HeadersExt, ToTypedHeader};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let text = message();
    println!("MESSAGE of {} octets\n", text.len());
    let buffer = Bytes::from(text.clone());
    let mut out = BytesMut::with_capacity(64 * 1024);
    let mut ours = || {
        forward(black_box(&buffer), &mut out);
        black_box(out.len());
        out.clear();
    };
    if let Some(calls) = std::env::args().nth(1).and_then(|calls| calls.parse::<u32>().ok()) {
        return (0..calls).for_each(|_| ours());
    }
    let ours = measure(20_000, ours);
    let theirs = measure(4_000, || {
        black_box(forward_rsip(black_box(text.as_bytes())));
    });
    println!("{:10} {:>10} {:>10} {:>12}", "", "ns", "best ns", "allocations");
    show("parlance", ours);
    show("rsip", theirs);
    println!("\nrsip takes {:.1} times as long", theirs.nanoseconds / ours.nanoseconds);
}

fn show(name: &str, cost: Cost) {
    let Cost { nanoseconds, best, allocations } = cost;
    println!("{name:10} {nanoseconds:>10.0} {best:>10.0} {allocations:>12.2}");
}

#[inline(never)]
fn forward(buffer: &Bytes, out: &mut BytesMut) {
    let message = Message::parse_datagram(buffer.clone(), &Limits::default());
    let request = message.ok().and_then(|message| Request::new(message).ok());
    let request = request.expect("the message is a well-formed request");
    check_request(&request).expect("the message passes the checks");
    let mut edits = Edits::new();
    edits.remove_values(&request, HeaderName::Route, 1);
    edits.remove(&request, HeaderName::PServedUser);
    edits.set(&request, HeaderName::MaxForwards, 67);
    let via = "SIP/2.0/UDP 127.0.0.20:5080;branch=z9hG4bK-00p00001a2bfedcba9876543210";
    edits.prepend(&request, HeaderName::Via, via);
    edits.write(&request, out);
}

fn forward_rsip(octets: &[u8]) -> Vec<u8> {
    let request = rsip::Request::try_from(octets).expect("rsip reads the message");
    let typed = (
        request.via_header().and_then(|via| via.typed()).is_ok(),
        request.from_header().and_then(|from| from.typed()).is_ok(),
        request.to_header().and_then(|to| to.typed()).is_ok(),
        request.cseq_header().and_then(|cseq| cseq.typed()).is_ok(),
        request.route_header().is_some_and(|route| route.typed().is_ok()),
    );
    assert_eq!(typed, (true, true, true, true, true), "rsip understands the headers");
    let mut request = request;
    let via = "SIP/2.0/UDP 127.0.0.20:5080;branch=z9hG4bK1".to_owned();
    request.headers_mut().push(rsip::headers::Via::new(via).into());
    request.to_string().into_bytes()
}

/// A MESSAGE as an S-CSCF sends it over ISC, in what rsip can read: no folding, no compact forms.
fn message() -> String {
    let head = "MESSAGE sip:bob@ims.test SIP/2.0\r\n\
        Route: <sip:im-orig@127.0.0.20:5080;lr>, <sip:iscmark@127.0.0.13:6060;lr;s=2;h=0;d=0>\r\n\
        P-Served-User: <sip:alice@ims.test>;sescase=orig;regstate=reg\r\n\
        Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKdee6.7fa4dc558a067f532af2411e71f5cc9e.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.11;branch=z9hG4bKdee6.2ad0eb9193e27692d9e0c6d439c40c71.0\r\n\
        Via: SIP/2.0/UDP 127.0.0.41:5060;received=127.0.0.41;branch=z9hG4bK-3248-1-0\r\n\
        Max-Forwards: 68\r\n\
        From: <sip:alice@ims.test>;tag=3248m1\r\n\
        To: <sip:bob@ims.test>\r\n\
        Call-ID: 1-3248@127.0.0.41\r\n\
        CSeq: 1 MESSAGE\r\n\
        Accept-Contact: *;+g.oma.sip-im\r\n\
        User-Agent: IM-client/OMA1.0 handset\r\n\
        P-Asserted-Identity: <sip:alice@ims.test>\r\n\
        P-Charging-Vector: icid-value=\"0d90dedc-4278-4e96-a114-426a0f8b669e\"\r\n\
        P-Access-Network-Info: IEEE-802.11;i-wlan-node-id=000000000000\r\n\
        Content-Type: text/plain\r\n";
    let body = "Lunch at noon? ".repeat(8);
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}
