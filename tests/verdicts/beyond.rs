//! What the vectors do not have: events, codings, bodies of parts, and what CANCEL may carry.

use crate::bench::{Hosting, datagram};
use crate::{addressed, asserted, check};

const SERVER: Hosting = Hosting { own: &[], domains: &[] };
const PROXY: Hosting = Hosting { own: &[], domains: &["example.com"] };

/// A request to a user, with these header fields and this body.
fn request(method: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let text = format!(
        "{method} sip:user@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKb\r\n\
         From: <sip:caller@example.net>;tag=1\r\nTo: <sip:user@example.com>\r\nCall-ID: beyond\r\n\
         CSeq: 1 {method}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    );
    text.into_bytes()
}

/// A body of two parts, the first of which is SDP and the second unknown.
fn parts(handling: &str) -> String {
    format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\nContent-Type: x/unknown\r\n\
         Content-Disposition: session;handling={handling}\r\n\r\nx\r\n--b--\r\n"
    )
}

// Covers: CORE-009, CORE-010, CORE-011, CORE-012
#[test]
fn a_server_refuses_what_a_proxy_sends_on() {
    let mixed = "Max-Forwards: 1\r\nContent-Type: multipart/mixed;boundary=b\r\n";
    let (required, optional) = (parts("required"), parts("optional"));
    let coded = "Content-Type: application/sdp\r\nContent-Encoding: x-unknown\r\n";
    let plain = "Content-Type: application/sdp\r\nContent-Encoding: identity\r\n";
    let unread = "Content-Type: x/unknown\r\nContent-Disposition: session;handling=optional\r\n";
    #[rustfmt::skip]
    let table = [
        ("SUBSCRIBE", "Event: unknown\r\n", "", "489 Bad Event; Allow-Events: conference", "forwarded"),
        ("SUBSCRIBE", "",                   "", "489 Bad Event; Allow-Events: conference", "forwarded"),
        ("INVITE",  mixed,  required.as_str(),  "415 Unsupported Media Type; Accept",      "forwarded"),
        ("INVITE",  mixed,  optional.as_str(),  "served",                                  "forwarded"),
        ("INVITE",  coded,  "v=0\r\n", "415 Unsupported Media Type; Accept-Encoding: identity", "forwarded"),
        ("INVITE",  plain,  "v=0\r\n",          "served",                                  "forwarded"),
        ("INVITE",  unread, "x",                "served",                                  "forwarded"),
        ("INVITE",  "Accept: application/*\r\n",   "", "served",                            "forwarded"),
        ("INVITE",  "Max-Forwards: 0\r\n",         "", "served",                   "483 Too Many Hops"),
        ("PUBLISH", "Event: presence\r\n",         "", "405 Method Not Allowed; Allow",     "forwarded"),
        ("INFO",    "",                            "", "405 Method Not Allowed; Allow",     "forwarded"),
        ("OPTIONS", "Proxy-Require: privacy\r\n",  "", "200 OK",                            "forwarded"),
        // What is required of proxies means nothing to a server, and what of servers nothing to them.
        ("OPTIONS", "Proxy-Require: a, b\r\n",     "", "200 OK", "420 Bad Extension; Unsupported: a, b"),
        ("OPTIONS", "Require: a\r\nRequire: b\r\n", "", "420 Bad Extension; Unsupported: a, b", "forwarded"),
        // It cancels nothing here; but neither header counts in it.
        ("CANCEL",  "Require: a\r\n",              "", "481 Call/Transaction Does Not Exist", "forwarded"),
    ];
    check(table.into_iter().flat_map(|(method, fields, body, to_us, through)| {
        let octets = request(method, fields, body);
        let ours = datagram(SERVER, &asserted(&addressed(&octets)));
        let passing = datagram(PROXY, &asserted(&octets));
        let name = format!("{method} {}", fields.trim_end());
        [
            (format!("{name}, addressed to us"), to_us.to_owned(), ours),
            (format!("{name}, passing through"), through.to_owned(), passing),
        ]
    }));
}
