use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::entropy::seeded;
use crate::uri::Uri;

const ALL: [Transport; 3] = [Transport::Tls, Transport::Tcp, Transport::Udp];

fn policy() -> Policy {
    Policy { transports: ALL.to_vec(), ipv4: true, ipv6: true }
}

fn hop(host: &str) -> NextHop {
    NextHop {
        sips: false,
        host: TargetHost::parse(host),
        port: None,
        transport: TransportParam::Absent,
        maddr: None,
        large: false,
    }
}

/// A zone in a few lines: `name NAPTR order preference service replacement`,
/// `name SRV priority weight port target`, `name A address`, `name TYPE fail`.
fn zone(text: &str) -> HashMap<Question, Answer> {
    let mut zone: HashMap<Question, Answer> = HashMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words[0].to_owned();
        let (question, answer) = match words[1] {
            "NAPTR" => (Question::Naptr(name), Answer::Naptr(vec![])),
            "SRV" => (Question::Srv(name), Answer::Srv(vec![])),
            _ => (Question::Address(name), Answer::Address(vec![])),
        };
        if words[2] == "fail" {
            zone.insert(question, Answer::Failed);
            continue;
        }
        match zone.entry(question).or_insert(answer) {
            Answer::Naptr(records) => records.push(Naptr {
                order: words[2].parse().unwrap(),
                preference: words[3].parse().unwrap(),
                flags: "s".to_owned(),
                services: words[4].to_owned(),
                regexp: String::new(),
                replacement: words[5].to_owned(),
            }),
            Answer::Srv(records) => records.push(Srv {
                priority: words[2].parse().unwrap(),
                weight: words[3].parse().unwrap(),
                port: words[4].parse().unwrap(),
                target: words[5].to_owned(),
            }),
            Answer::Address(list) => list.push(words[2].parse().unwrap()),
            Answer::NotFound | Answer::Failed => panic!("{line}"),
        }
    }
    zone
}

/// Runs a search against a zone; gives the questions and the end.
fn run(hop: NextHop, policy: Policy, text: &str) -> (Vec<String>, String) {
    let zone = zone(text);
    let mut search = Locate::new(hop, policy, &mut seeded(7));
    let mut asked = Vec::new();
    loop {
        match search.poll_output().expect("a search goes on until its end") {
            Output::Ask(question) => {
                asked.push(match &question {
                    Question::Naptr(name) => format!("NAPTR {name}"),
                    Question::Srv(name) => format!("SRV {name}"),
                    Question::Address(name) => format!("A {name}"),
                });
                let answer = zone.get(&question).cloned().unwrap_or(Answer::NotFound);
                search.handle_answer(&question, answer);
            }
            Output::Located(candidates) => {
                assert_eq!(search.poll_output(), None);
                let place = |c: &Candidate| format!("{} {}", c.transport, c.address);
                return (asked, candidates.iter().map(place).collect::<Vec<_>>().join(", "));
            }
            Output::Failed(error) => {
                assert_eq!(search.poll_output(), None);
                return (asked, format!("{error:?}"));
            }
        }
    }
}

#[track_caller]
fn check(hop: NextHop, text: &str, questions: &str, expect: &str) {
    let (asked, end) = run(hop, policy(), text);
    assert_eq!((asked.join(", ").as_str(), end.as_str()), (questions, expect));
}

/// RFC 3263 §4.1, with addresses.
const EXAMPLE: &str = "
    example.com NAPTR 50 50 SIPS+D2T _sips._tcp.example.com.
    example.com NAPTR 90 50 SIP+D2T _sip._tcp.example.com
    example.com NAPTR 100 50 SIP+D2U _sip._udp.example.com.
    _sips._tcp.example.com SRV 0 1 5061 server1.example.com
    _sip._tcp.example.com SRV 1 1 5062 Server1.example.com.
    _sip._tcp.example.com SRV 0 1 5060 server2.example.com
    _sip._udp.example.com SRV 0 1 5060 server2.example.com
    server1.example.com A 192.0.2.1
    server1.example.com A 2001:db8::1
    server2.example.com A 192.0.2.2
    example.com A 192.0.2.9
";

// Covers: CORE-014
#[test]
fn naptr_then_srv_then_addresses() {
    check(
        hop("Example.com."),
        EXAMPLE,
        "NAPTR example.com, SRV _sips._tcp.example.com, SRV _sip._tcp.example.com, \
         SRV _sip._udp.example.com, A server1.example.com, A server2.example.com",
        "TLS 192.0.2.1:5061, TLS [2001:db8::1]:5061, TCP 192.0.2.2:5060, TCP 192.0.2.1:5062, \
         TCP [2001:db8::1]:5062, UDP 192.0.2.2:5060",
    );
}

// Covers: CORE-014
#[test]
fn sips_is_tls_and_nothing_else() {
    let sips = NextHop { sips: true, ..hop("example.com") };
    check(
        sips.clone(),
        EXAMPLE,
        "NAPTR example.com, SRV _sips._tcp.example.com, A server1.example.com",
        "TLS 192.0.2.1:5061, TLS [2001:db8::1]:5061",
    );
    // Without records of its own, the default port of TLS; never another transport.
    check(
        sips.clone(),
        "example.com NAPTR 1 1 SIP+D2U _sip._udp.example.com\nexample.com A 192.0.2.9",
        "NAPTR example.com, SRV _sips._tcp.example.com, A example.com",
        "TLS 192.0.2.9:5061",
    );
    let tcp = NextHop { transport: TransportParam::Known(Transport::Tcp), ..sips.clone() };
    check(
        tcp,
        EXAMPLE,
        "SRV _sips._tcp.example.com, A server1.example.com",
        "TLS 192.0.2.1:5061, TLS [2001:db8::1]:5061",
    );
    check(NextHop { host: TargetHost::parse("192.0.2.5"), ..sips }, "", "", "TLS 192.0.2.5:5061");
}

// Covers: CORE-014
#[test]
fn an_explicit_port_skips_srv_and_an_explicit_transport_naptr() {
    let port = NextHop { port: Some(5070), ..hop("example.com") };
    check(port.clone(), EXAMPLE, "A example.com", "UDP 192.0.2.9:5070");
    let tcp = TransportParam::Known(Transport::Tcp);
    check(NextHop { transport: tcp, ..port }, EXAMPLE, "A example.com", "TCP 192.0.2.9:5070");
    check(
        NextHop { transport: tcp, ..hop("example.com") },
        EXAMPLE,
        "SRV _sip._tcp.example.com, A server2.example.com, A server1.example.com",
        "TCP 192.0.2.2:5060, TCP 192.0.2.1:5062, TCP [2001:db8::1]:5062",
    );
    check(
        NextHop { transport: tcp, ..hop("example.com") },
        "example.com A 192.0.2.9",
        "SRV _sip._tcp.example.com, A example.com",
        "TCP 192.0.2.9:5060",
    );
}

// Covers: CORE-014
#[test]
fn an_address_asks_nothing() {
    #[rustfmt::skip]
    let table = [
        (hop("192.0.2.1"),                                         "UDP 192.0.2.1:5060"),
        (hop("[2001:db8::1]"),                                     "UDP [2001:db8::1]:5060"),
        (NextHop { port: Some(1), ..hop("192.0.2.1") },            "UDP 192.0.2.1:1"),
        (NextHop { transport: TransportParam::Known(Transport::Tls), ..hop("192.0.2.1") },
                                                                   "TLS 192.0.2.1:5061"),
        (NextHop { maddr: Some(TargetHost::parse("192.0.2.7")), ..hop("example.com") },
                                                                   "UDP 192.0.2.7:5060"),
        (NextHop { transport: TransportParam::Unknown, ..hop("192.0.2.1") },
                                                                   "UnsupportedTransport"),
        (NextHop {
            sips: true, transport: TransportParam::Known(Transport::Udp), ..hop("192.0.2.1")
        },                                                         "UnsupportedTransport"),
    ];
    for (hop, expect) in table {
        check(hop, "", "", expect);
    }
}

// Covers: CORE-014
#[test]
fn without_naptr_each_of_our_transports_is_asked_for_in_our_order() {
    let questions = "NAPTR example.com, SRV _sips._tcp.example.com, SRV _sip._tcp.example.com, \
        SRV _sip._udp.example.com";
    let srv = "_sip._udp.example.com SRV 0 0 5060 u.example.com
        _sip._tcp.example.com SRV 9 0 5060 t.example.com
        u.example.com A 192.0.2.1\nt.example.com A 192.0.2.2";
    let expect = "TCP 192.0.2.2:5060, UDP 192.0.2.1:5060";
    let addresses = format!("{questions}, A t.example.com, A u.example.com");
    check(hop("example.com"), srv, &addresses, expect);
    // A server that cannot answer NAPTR is no reason to stop.
    check(hop("example.com"), &format!("example.com NAPTR fail\n{srv}"), &addresses, expect);
    // Neither NAPTR nor SRV: UDP at the default port (§4.1).
    check(
        hop("example.com"),
        "example.com A 192.0.2.9",
        &format!("{questions}, A example.com"),
        "UDP 192.0.2.9:5060",
    );
}

#[test]
fn naptr_without_srv_still_says_the_transport() {
    check(
        hop("example.com"),
        "example.com NAPTR 1 1 SIP+D2T _sip._tcp.other.com\nexample.com A 192.0.2.9",
        "NAPTR example.com, SRV _sip._tcp.other.com, A example.com",
        "TCP 192.0.2.9:5060",
    );
}

#[test]
fn a_uri_is_read_as_a_next_hop() {
    let read = |text: &str| match Uri::parse(text.as_bytes()).unwrap() {
        Uri::Sip(uri) => NextHop::of(&uri, false),
        other => panic!("{other:?}"),
    };
    assert_eq!(read("sip:a@example.com;lr"), hop("example.com"));
    let tls = TransportParam::Known(Transport::Tls);
    assert_eq!(
        read("sips:[2001:db8::1]:5070;transport=TLS;maddr=192.0.2.1"),
        NextHop {
            sips: true,
            port: Some(5070),
            transport: tls,
            maddr: Some(TargetHost::Address("192.0.2.1".parse().unwrap())),
            ..hop("[2001:db8::1]")
        }
    );
    let sctp = NextHop { transport: TransportParam::Unknown, ..hop("example.com") };
    assert_eq!(read("sip:example.com;transport=sctp"), sctp);
}

#[test]
fn what_we_do_not_have_is_not_used() {
    let udp_v4 = || Policy { transports: vec![Transport::Udp], ipv4: true, ipv6: false };
    let (asked, end) = run(hop("example.com"), udp_v4(), EXAMPLE);
    assert_eq!(asked, ["NAPTR example.com", "SRV _sip._udp.example.com", "A server2.example.com"]);
    assert_eq!(end, "UDP 192.0.2.2:5060");
    let tls = NextHop { transport: TransportParam::Known(Transport::Tls), ..hop("example.com") };
    assert_eq!(run(tls, udp_v4(), EXAMPLE).1, "UnsupportedTransport");
    let sips = NextHop { sips: true, ..hop("example.com") };
    assert_eq!(run(sips, udp_v4(), EXAMPLE).1, "UnsupportedTransport");
    assert_eq!(run(hop("[2001:db8::1]"), udp_v4(), "").1, "NoRecords");
    let tcp = Policy { transports: vec![Transport::Tcp], ..policy() };
    assert_eq!(run(hop("192.0.2.1"), tcp, "").1, "TCP 192.0.2.1:5060");
    let none = Policy { transports: vec![], ..policy() };
    assert_eq!(run(hop("192.0.2.1"), none, "").1, "UnsupportedTransport");
}

// Covers: CORE-014
#[test]
fn failures_are_told_apart() {
    let questions = "SRV _sip._udp.example.com, A example.com";
    let udp = NextHop { transport: TransportParam::Known(Transport::Udp), ..hop("example.com") };
    check(udp.clone(), "", questions, "NoRecords");
    check(udp.clone(), "example.com A fail", questions, "DnsFailed");
    check(udp.clone(), "_sip._udp.example.com SRV fail", questions, "DnsFailed");
    let found = "_sip._udp.example.com SRV fail\nexample.com A 192.0.2.9";
    check(udp.clone(), found, questions, "UDP 192.0.2.9:5060");
    // A target of "." says that the service is not there: its address is not asked for.
    let denied = "_sip._udp.example.com SRV 0 0 0 .\nexample.com A 192.0.2.9";
    check(udp, denied, "SRV _sip._udp.example.com", "NoRecords");
}

#[test]
fn an_address_is_known_at_once_as_the_search_says() {
    for uri in [
        "sip:192.0.2.1",
        "sip:192.0.2.1:5070;transport=tcp",
        "sip:[2001:db8::1];transport=tls",
        "sips:192.0.2.1",
        "sips:192.0.2.1;transport=udp",
        "sip:192.0.2.1;transport=sctp",
        "sip:h.test;maddr=192.0.2.7",
    ] {
        let parsed = Uri::parse(uri.as_bytes()).unwrap();
        for (large, transports) in [(false, &ALL[..]), (true, &ALL), (true, &ALL[1..2])] {
            let hop = NextHop::of(parsed.as_sip().unwrap(), large);
            let policy = Policy { transports: transports.to_vec(), ..policy() };
            let at_once = hop.numeric(|transport| transports.contains(&transport)).unwrap();
            let at_once = match at_once {
                Ok(found) => {
                    let texts = found.iter().map(|it| format!("{} {}", it.transport, it.address));
                    texts.collect::<Vec<_>>().join(", ")
                }
                Err(error) => format!("{error:?}"),
            };
            assert_eq!(at_once, run(hop, policy, "").1, "{uri}");
        }
    }
    assert_eq!(hop("h.test").numeric(|_| true), None);
}

// Covers: CORE-015
#[test]
fn a_large_request_tries_tcp_first() {
    let large = |host: &str| NextHop { large: true, ..hop(host) };
    check(large("192.0.2.1"), "", "", "TCP 192.0.2.1:5060, UDP 192.0.2.1:5060");
    let zone = "example.com NAPTR 1 1 SIP+D2U _sip._udp.example.com
        example.com NAPTR 2 1 SIP+D2T _sip._tcp.example.com
        _sip._udp.example.com SRV 0 0 5070 a.example.com
        _sip._tcp.example.com SRV 0 0 5060 a.example.com\na.example.com A 192.0.2.1";
    let (_, end) = run(large("example.com"), policy(), zone);
    assert_eq!(end, "TCP 192.0.2.1:5060, TCP 192.0.2.1:5070, UDP 192.0.2.1:5070");
    let udp = Policy { transports: vec![Transport::Udp], ..policy() };
    assert_eq!(run(large("192.0.2.1"), udp, "").1, "UDP 192.0.2.1:5060");
}

#[test]
fn answers_nobody_asked_for_are_ignored() {
    let mut search = Locate::new(hop("example.com"), policy(), &mut seeded(1));
    let question = Question::Naptr("example.com".to_owned());
    assert_eq!(search.poll_output(), Some(Output::Ask(question.clone())));
    let address = Answer::Address(vec!["192.0.2.66".parse().unwrap()]);
    search.handle_answer(&Question::Address("example.com".to_owned()), address.clone());
    search.handle_answer(&Question::Naptr("evil.example".to_owned()), Answer::NotFound);
    assert_eq!(search.poll_output(), None);
    search.handle_answer(&question, address.clone());
    let srv = search.poll_output().unwrap();
    let name = "_sips._tcp.example.com".to_owned();
    assert_eq!(srv, Output::Ask(Question::Srv(name.clone())));
    // The same answer twice counts once; the others are still open.
    search.handle_answer(&Question::Srv(name.clone()), Answer::NotFound);
    search.handle_answer(&Question::Srv(name), Answer::Failed);
    assert!(matches!(search.poll_output(), Some(Output::Ask(Question::Srv(_)))));
    assert!(matches!(search.poll_output(), Some(Output::Ask(Question::Srv(_)))));
    assert_eq!(search.poll_output(), None);
}

#[test]
fn limits_hold() {
    let mut zone = String::new();
    for number in 0..40 {
        zone.push_str(&format!("_sip._udp.example.com SRV {number} 0 5060 s{number}\n"));
        for host in 0..20 {
            zone.push_str(&format!("s{number} A 192.0.{number}.{host}\n"));
        }
    }
    let udp = NextHop { transport: TransportParam::Known(Transport::Udp), ..hop("example.com") };
    let (asked, end) = run(udp, policy(), &zone);
    assert_eq!(asked.len(), 1 + TARGETS_MAX);
    let places: Vec<&str> = end.split(", ").collect();
    assert_eq!(places.len(), CANDIDATES_MAX);
    assert_eq!(places[ADDRESSES_MAX - 1], "UDP 192.0.0.7:5060");
    assert_eq!(places[ADDRESSES_MAX], "UDP 192.0.1.0:5060");
}

proptest! {
    /// Whatever the DNS says, a search ends, with no more questions than the limits allow.
    #[test]
    fn ends(
        name in "[a-z.]{0,9}", port: Option<u16>, sips: bool, large: bool, seed: u64,
        records in prop::collection::vec((any::<u16>(), any::<u16>(), "[a-z.]{0,4}"), 0..50),
        kinds in prop::collection::vec(0..5_usize, 1..60),
    ) {
        let hop = NextHop { port, sips, large, ..hop(&name) };
        let mut search = Locate::new(hop, policy(), &mut seeded(seed));
        let mut asked = 0;
        let mut ended = false;
        while let Some(output) = search.poll_output() {
            prop_assert!(!ended);
            let Output::Ask(question) = output else {
                ended = true;
                continue;
            };
            let naptr = |(order, preference, replacement): &(u16, u16, String)| Naptr {
                order: *order,
                preference: *preference,
                flags: "s".to_owned(),
                services: ["SIP+D2U", "SIP+D2T", "SIPS+D2T"][usize::from(*order % 3)].to_owned(),
                regexp: String::new(),
                replacement: replacement.clone(),
            };
            let srv = |(priority, weight, target): &(u16, u16, String)| Srv {
                priority: *priority,
                weight: *weight,
                port: 5060,
                target: target.clone(),
            };
            let answer = match kinds[asked % kinds.len()] {
                0 => Answer::Naptr(records.iter().map(naptr).collect()),
                1 => Answer::Srv(records.iter().map(srv).collect()),
                2 => Answer::Address(vec!["192.0.2.1".parse().unwrap()]),
                3 => Answer::NotFound,
                _ => Answer::Failed,
            };
            search.handle_answer(&question, answer);
            asked += 1;
        }
        prop_assert!(ended);
        prop_assert!(asked <= 1 + RECORDS_MAX + TARGETS_MAX);
    }
}
