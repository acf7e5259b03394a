//! RFC 4475, message by message.

use crate::bench::{Hosting, datagram, stream};
use crate::{addressed, asserted, check, names, vector};

/// The server the messages are addressed to. The proxy whose Route one of them carries is this one.
const SERVER: Hosting = Hosting { own: &["services.example.com"], domains: &[] };

/// The proxy they pass through: users of these domains are called, those of `example.com` call.
const PROXY: Hosting = Hosting {
    own: &[],
    domains: &["chair-dnrc.example.com", "company.com", "example.net", "example.org"],
};

/// A message, what it gets when it is addressed to the server, and what when it passes through.
type Row = (&'static str, &'static str, &'static str);

// What an INVITE or MESSAGE here is addressed to is the conference factory or the exploder, and
// "served" says that it reached the controlling function. A REGISTER gets 405: a user's own is for
// the registrar of the core. Of a response that answers nothing of ours only that it is counted
// can be seen.
#[rustfmt::skip]
const UDP: [Row; 50] = [
    // §3.1.1: valid
    // It has a To tag, so it belongs to a dialog; there is none here.
    ("wsinv",      "481 Call/Transaction Does Not Exist", "forwarded"),
    ("intmeth",    "501 Not Implemented; Allow",          "forwarded"),
    ("esc01",      "served",                              "forwarded"),
    ("escnull",    "405 Method Not Allowed; Allow",       "forwarded"),
    ("esc02",      "501 Not Implemented; Allow",          "forwarded"),
    ("lwsdisp",    "200 OK",                              "forwarded"),
    ("longreq",    "served",                              "forwarded"),
    ("dblreq",     "405 Method Not Allowed; Allow",       "forwarded"),
    ("semiuri",    "200 OK",                              "forwarded"),
    ("transports", "200 OK",                              "forwarded"),
    ("mpart01",    "served",                              "forwarded to a strict router"),
    ("unreason",   "dropped: stray_responses_total",      "dropped: stray_responses_total"),
    ("noreason",   "dropped: stray_responses_total",      "dropped: stray_responses_total"),
    // §3.1.2: invalid
    ("badinv01",   "400 Bad Via",                         "400 Bad Via"),
    ("clerr",      "400 Bad Content-Length",              "400 Bad Content-Length"),
    ("ncl",        "400 Bad Content-Length",              "400 Bad Content-Length"),
    ("scalar02",   "400 Bad CSeq",                        "400 Bad CSeq"),
    ("scalarlg",   "dropped: malformed_total Bad CSeq",   "dropped: malformed_total Bad CSeq"),
    ("quotbal",    "400 Bad To",                          "400 Bad To"),
    ("ltgtruri",   "400 Bad Request-URI",                 "400 Bad Request-URI"),
    ("lwsruri",    "400 Bad Request-URI",                 "400 Bad Request-URI"),
    ("lwsstart",   "400 Bad Request-URI",                 "400 Bad Request-URI"),
    ("trws",       "400 Bad Start Line",                  "400 Bad Start Line"),
    ("escruri",    "400 Bad Request-URI",                 "400 Bad Request-URI"),
    // Nobody here needs the date.
    ("baddate",    "served",                              "forwarded"),
    ("regbadct",   "400 Bad Contact",                     "400 Bad Contact"),
    ("badaspec",   "400 Bad To",                          "400 Bad To"),
    // The message in the archive lacks the empty line at its end, and that is found first.
    ("baddn",      "400 Bad Header Line",                 "400 Bad Header Line"),
    ("badvers",    "505 Version Not Supported",           "505 Version Not Supported"),
    ("mismatch01", "400 CSeq Method Mismatch",            "400 CSeq Method Mismatch"),
    // 501 would do as well; but what contradicts itself is refused before anybody asks who it is
    // for, and by a proxy, which would forward an unknown method, too.
    ("mismatch02", "400 CSeq Method Mismatch",            "400 CSeq Method Mismatch"),
    ("bigcode",    "dropped: malformed_total Bad Start Line",
                   "dropped: malformed_total Bad Start Line"),
    // §3.2: transactions
    // RFC 2543 matching: it has no other transaction to be taken for.
    ("badbranch",  "200 OK",                              "forwarded"),
    // §3.3: the application
    // Call-ID and To are missing too; one header is named.
    ("insuf",      "400 Missing From",                    "400 Missing From"),
    ("unkscm",     "416 Unsupported URI Scheme",          "416 Unsupported URI Scheme"),
    ("novelsc",    "416 Unsupported URI Scheme",          "416 Unsupported URI Scheme"),
    // Without an address in From or To it is nobody's own REGISTER but a third party's, and the
    // registrar of those wants Expires first.
    ("unksm2",     "400 Missing Expires",                 "forwarded"),
    ("bext01",
        "420 Bad Extension; Unsupported: nothingSupportsThis, nothingSupportsThisEither",
        "420 Bad Extension; Unsupported: noProxiesSupportThis, norDoAnyProxiesSupportThis"),
    ("invut",      "415 Unsupported Media Type; Accept",  "forwarded"),
    ("regaut01",   "405 Method Not Allowed; Allow",       "forwarded"),
    // Via, CSeq, Call-ID: the first that stands twice.
    ("multi01",    "400 Repeated CSeq",                   "400 Repeated CSeq"),
    ("mcl01",      "400 Bad Content-Length",              "400 Bad Content-Length"),
    ("bcast",      "dropped: stray_responses_total",      "dropped: stray_responses_total"),
    ("zeromf",     "200 OK",                              "483 Too Many Hops"),
    // How a Contact is kept, the registrar of the core decides.
    ("cparam01",   "405 Method Not Allowed; Allow",       "forwarded"),
    ("cparam02",   "405 Method Not Allowed; Allow",       "forwarded"),
    ("regescrt",   "405 Method Not Allowed; Allow",       "forwarded"),
    ("sdp01",      "406 Not Acceptable; Warning",         "forwarded"),
    // §3.4: RFC 2543
    ("inv2543",    "served",                              "forwarded"),
    // The text does not describe it. Its first line has no version, so nobody can say that it is
    // SIP, and it has no Via to answer to.
    ("test",       "dropped: malformed_total Bad Start Line",
                   "dropped: malformed_total Bad Start Line"),
];

// Covers: CORE-002, CORE-009, CORE-010, CORE-011, CORE-012, SEC-018
#[test]
fn each_message_gets_its_verdict() {
    let rows = UDP.into_iter().flat_map(|(name, to_us, through)| {
        let octets = vector("rfc4475", name);
        let ours = datagram(SERVER, &asserted(&addressed(&octets)));
        let passing = datagram(PROXY, &asserted(&octets));
        [
            (format!("{name}, addressed to us"), to_us.to_owned(), ours),
            (format!("{name}, passing through"), through.to_owned(), passing),
        ]
    });
    check(rows);
    let mut known = UDP.map(|(name, ..)| name);
    known.sort_unstable();
    assert_eq!(names("rfc4475"), known, "every message has a row");
}

/// The messages that fare otherwise over a stream, which only Content-Length frames.
#[rustfmt::skip]
const TCP: [Row; 8] = [
    // The rest of the body may still come.
    ("clerr",      "waits",                               "waits"),
    // How long it is nobody knows, so where the next message begins neither.
    ("ncl",        "400 Bad Content-Length, closed",      "400 Bad Content-Length, closed"),
    ("mcl01",      "400 Bad Content-Length, closed",      "400 Bad Content-Length, closed"),
    ("inv2543",    "400 Missing Content-Length, closed",  "400 Missing Content-Length, closed"),
    ("bigcode",    "dropped: malformed_total Bad Start Line, closed",
                   "dropped: malformed_total Bad Start Line, closed"),
    ("test",       "dropped: malformed_total Bad Start Line, closed",
                   "dropped: malformed_total Bad Start Line, closed"),
    // The empty line may still come.
    ("baddn",      "waits",                               "waits"),
    // What follows the first request is another one, to somebody else. Its body is longer than its
    // Content-Length says, and the rest is no message.
    ("dblreq",
        "405 Method Not Allowed; Allow, forwarded, dropped: malformed_total Bad Start Line, closed",
        "forwarded, forwarded, dropped: malformed_total Bad Start Line, closed"),
];

// Covers: CORE-001, CORE-002, SEC-018
#[test]
fn each_message_gets_its_verdict_over_a_stream() {
    let rows = UDP.into_iter().flat_map(|row| {
        let own = TCP.into_iter().find(|(name, ..)| *name == row.0);
        let (name, to_us, through) = own.unwrap_or(row);
        let octets = vector("rfc4475", name);
        let ours = stream(SERVER, &asserted(&addressed(&octets)));
        let passing = stream(PROXY, &asserted(&octets));
        [
            (format!("{name}, addressed to us"), to_us.to_owned(), ours),
            (format!("{name}, passing through"), through.to_owned(), passing),
        ]
    });
    check(rows);
}

// Covers: CORE-002
#[test]
fn what_an_archive_lost_is_put_back() {
    let octets = [&vector("rfc4475", "baddn")[..], b"\r\n"].concat();
    assert_eq!(datagram(PROXY, &asserted(&octets)), "400 Bad From");
}
