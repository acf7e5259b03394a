//! RFC 5118, message by message.

use crate::bench::{Hosting, datagram, stream};
use crate::{addressed, asserted, check, names, vector};

/// The server the messages are addressed to, by its address.
const SERVER: Hosting =
    Hosting { own: &["2001:db8::10", "2001:db8::192.0.2.1", "host.example.net"], domains: &[] };

/// The proxy they pass through.
const PROXY: Hosting = Hosting { own: &[], domains: &[] };

// Covers: CORE-002, SEC-018
#[test]
fn each_message_gets_its_verdict() {
    #[rustfmt::skip]
    let table = [
        // §4.1
        ("ipv6-good",                     "405 Method Not Allowed; Allow",       "forwarded"),
        // §4.2: without brackets
        ("ipv6-bad",                      "400 Bad Request-URI",           "400 Bad Request-URI"),
        // §4.3: the port became a part of the address, which is another server's
        ("port-ambiguous",                "forwarded",                           "forwarded"),
        // §4.4
        ("port-unambiguous",              "405 Method Not Allowed; Allow",       "forwarded"),
        // §4.5: both are read, and no dialog is known
        ("via-received-param-with-delim", "481 Call/Transaction Does Not Exist", "forwarded"),
        ("via-received-param-no-delim",   "200 OK",                              "forwarded"),
        // §4.6: nobody by that name
        ("ipv6-in-sdp",                   "404 Not Found",                       "forwarded"),
        // §4.7
        ("mult-ip-in-header",             "481 Call/Transaction Does Not Exist", "forwarded"),
        // §4.8
        ("mult-ip-in-sdp",                "404 Not Found",                       "forwarded"),
        // §4.9: addressed to the conference factory
        ("ipv4-mapped-ipv6",              "served",                              "forwarded"),
        // §4.10: with a colon too many it is the same address, and goes on as it came
        ("ipv6-bug-abnf-3-colons",        "200 OK",                              "forwarded"),
        ("ipv6-correct-abnf-2-colons",    "200 OK",                              "forwarded"),
    ];
    let rows = table.into_iter().flat_map(|(name, to_us, through)| {
        let octets = vector("rfc5118", name);
        let to_server =
            if name == "ipv4-mapped-ipv6" { addressed(&octets) } else { octets.clone() };
        let (ours, passing) = (asserted(&to_server), asserted(&octets));
        [
            (format!("{name}, addressed to us"), to_us.to_owned(), datagram(SERVER, &ours)),
            (format!("{name}, passing through"), through.to_owned(), datagram(PROXY, &passing)),
            (format!("{name}, to us by TCP"), to_us.to_owned(), stream(SERVER, &ours)),
            (format!("{name}, through by TCP"), through.to_owned(), stream(PROXY, &passing)),
        ]
    });
    check(rows);
    let mut known = table.map(|(name, ..)| name);
    known.sort_unstable();
    assert_eq!(names("rfc5118"), known, "every message has a row");
}
