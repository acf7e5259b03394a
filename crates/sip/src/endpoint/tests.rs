use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{ListenerId, Transport, test_epoch};

/// An endpoint, virtual time, and what came out of it in readable form.
struct Bench {
    endpoint: Endpoint,
    start: Instant,
    now: Instant,
    server: Option<ServerKey>,
    client: Option<ClientKey>,
}

fn source(transport: Transport) -> Source {
    Source {
        transport,
        remote: "192.0.2.9:6060".parse().unwrap(),
        listener: ListenerId(0),
        connection: None,
        verified: false,
    }
}

fn parse(text: &str) -> Message {
    let text = text.replace('|', "\r\n");
    Message::parse_datagram(Bytes::from(text), &Limits::default()).unwrap()
}

fn request_text(method: &str, extra: &str) -> String {
    format!(
        "{method} sip:bob@h SIP/2.0|Via: SIP/2.0/UDP 192.0.2.9:6060;branch=z9hG4bKa|{extra}\
         From: <sip:a@h>;tag=1|To: <sip:b@h>|Call-ID: c|CSeq: 1 {method}|Content-Length: 0||"
    )
}

impl Bench {
    fn new(config: EndpointConfig) -> Self {
        let mut next = 0;
        let entropy = move || {
            next += 1;
            next
        };
        let start = test_epoch();
        let endpoint = Endpoint::new(config, Box::new(entropy));
        Self { endpoint, start, now: start, server: None, client: None }
    }

    fn small() -> Self {
        Self::new(EndpointConfig {
            sent_by: vec!["192.0.2.1:5060".to_owned()],
            server_transactions_max: 16,
            unanswered_max: 4,
            client_transactions_max: 4,
            ..EndpointConfig::default()
        })
    }

    fn receive(&mut self, text: &str) -> String {
        self.receive_over(Transport::Udp, text)
    }

    fn receive_over(&mut self, transport: Transport, text: &str) -> String {
        let input = Input::Message { source: source(transport), message: parse(text) };
        self.endpoint.handle_input(self.now, input);
        self.drain()
    }

    fn respond(&mut self, status: u16) -> String {
        let request = parse(&request_text("MESSAGE", ""));
        let bytes = ResponseBuilder::new(&request, status, "t").build();
        self.endpoint.respond(self.now, self.server.unwrap(), status, bytes);
        self.drain()
    }

    fn send(&mut self, text: &str) -> Result<String, Overload> {
        let request = Request::new(parse(text)).unwrap();
        let target = source(Transport::Udp).back();
        self.client = Some(self.endpoint.request(self.now, &request, &mut Edits::new(), target)?);
        Ok(self.drain())
    }

    /// Lets time pass, timer by timer, and shows what happened when.
    fn wait(&mut self, ms: u64) -> String {
        let until = self.now + Duration::from_millis(ms);
        let mut seen = Vec::new();
        while let Some(due) = self.endpoint.poll_timeout().filter(|due| *due <= until) {
            self.now = due;
            self.endpoint.handle_input(due, Input::Timeout);
            let out = self.drain();
            if !out.is_empty() {
                let at = due.duration_since(self.start).as_millis();
                seen.push(format!("{at}:{out}"));
            }
        }
        self.now = until;
        seen.join(" ")
    }

    fn drain(&mut self) -> String {
        let mut seen = Vec::new();
        while let Some(output) = self.endpoint.poll_output() {
            seen.push(match output {
                Output::Transmit { bytes, .. } => {
                    let line = String::from_utf8_lossy(&bytes);
                    let line = line.split(['\r']).next().unwrap_or_default().to_owned();
                    format!(
                        "[{}]",
                        line.trim_end_matches(" SIP/2.0").trim_start_matches("SIP/2.0 ")
                    )
                }
                Output::Request { server, request, .. } => {
                    self.server = Some(server);
                    format!("request {}", request.method())
                }
                Output::Ack { .. } => "ack".to_owned(),
                Output::Cancelled { .. } => "cancelled".to_owned(),
                Output::Response { response, .. } => format!("response {}", response.status()),
                Output::Failed { failure, .. } => format!("{failure:?}").to_lowercase(),
                Output::Unacknowledged { .. } => "unacknowledged".to_owned(),
                Output::Ended { .. } | Output::Closed { .. } => continue,
                Output::Dropped(drop) => format!("{drop:?}"),
            });
        }
        seen.join(" ")
    }
}

// Covers: CORE-006
#[test]
fn a_retransmission_is_absorbed_and_answered_again() {
    let mut bench = Bench::small();
    let text = request_text("MESSAGE", "");
    assert_eq!(bench.receive(&text), "request MESSAGE");
    assert_eq!(bench.receive(&text), "");
    assert_eq!(bench.respond(202), "[202 Accepted]");
    assert_eq!(bench.receive(&text), "[202 Accepted]");
    assert_eq!(bench.respond(480), "", "the first final response stands");
    // Another branch, sent-by or method is another transaction.
    assert_eq!(bench.receive(&text.replace("z9hG4bKa", "z9hG4bKb")), "request MESSAGE");
    assert_eq!(bench.receive(&text.replace("2.9:6060", "2.9:6061")), "request MESSAGE");
    assert_eq!(bench.receive(&text.replace("MESSAGE", "OPTIONS")), "request OPTIONS");
    bench.wait(32_010);
    assert_eq!(bench.receive(&text), "request MESSAGE", "Timer J has ended the first");
}

// Covers: CORE-006
#[test]
fn without_the_magic_cookie_rfc_2543_rules_match() {
    let mut bench = Bench::small();
    let text = request_text("MESSAGE", "").replace(";branch=z9hG4bKa", ";branch=1");
    assert_eq!(bench.receive(&text), "request MESSAGE");
    assert_eq!(bench.receive(&text), "");
    assert_eq!(bench.receive(&text.replace("CSeq: 1", "CSeq: 2")), "request MESSAGE");
    assert_eq!(bench.receive(&text.replace("tag=1", "tag=2")), "request MESSAGE");
    let only_cookie = text.replace("branch=1", "branch=z9hG4bK").replace("tag=1", "tag=9");
    assert_eq!(bench.receive(&only_cookie), "request MESSAGE"); // RFC 4475 §3.2.1
    assert_eq!(bench.receive(&only_cookie), "");
}

// Covers: CORE-062
#[test]
fn one_request_on_two_sockets_is_two_transactions() {
    let mut bench = Bench::small();
    let message = parse(&request_text("MESSAGE", ""));
    for listener in [ListenerId(0), ListenerId(1)] {
        let source = Source { listener, ..source(Transport::Udp) };
        let input = Input::Message { source, message: message.clone() };
        bench.endpoint.handle_input(bench.now, input);
        assert_eq!(bench.drain(), "request MESSAGE");
    }
}

// Covers: CORE-061
#[test]
fn a_100_comes_when_rfc_4320_allows_it() {
    let mut bench = Bench::small();
    bench.receive(&request_text("MESSAGE", ""));
    assert_eq!(bench.wait(10_000), "3500:[100 Trying]");
    assert_eq!(bench.respond(180), "", "no other provisional response");
    let mut bench = Bench::small();
    bench.receive_over(Transport::Tcp, &request_text("MESSAGE", ""));
    assert_eq!(bench.wait(10_000), "200:[100 Trying]");
    let mut bench = Bench::small();
    bench.receive(&request_text("MESSAGE", ""));
    bench.respond(200);
    assert_eq!(bench.wait(10_000), "");
    let mut bench = Bench::small();
    bench.receive(&request_text("INVITE", ""));
    assert_eq!(bench.wait(1_000), "200:[100 Trying]");
}

// Covers: CORE-061
#[test]
fn an_abandoned_request_gets_no_answer_and_no_state_stays() {
    let mut bench = Bench::small();
    bench.receive(&request_text("MESSAGE", ""));
    bench.endpoint.abandon(bench.now, bench.server.unwrap());
    assert_eq!(bench.wait(60_000), "");
    assert_eq!(bench.endpoint.load().1, 0);
}

// Covers: CORE-004
#[test]
fn a_request_is_repeated_until_it_is_answered_or_times_out() {
    let mut bench = Bench::small();
    let text = request_text("MESSAGE", "");
    assert_eq!(bench.send(&text).unwrap(), "[MESSAGE sip:bob@h]");
    let seen = bench.wait(40_000).replace("[MESSAGE sip:bob@h]", "m");
    let times = "500:m 1500:m 3500:m 7500:m 11500:m 15500:m 19500:m 23500:m 27500:m 31500:m \
                 32000:timeout";
    assert_eq!(seen, times);
    assert_eq!(bench.endpoint.load(), (0, 0, 0));
}

/// Our own request as it went out, as somebody else's response would quote its `Via`.
fn sent_via(bench: &mut Bench, text: &str) -> String {
    let request = Request::new(parse(text)).unwrap();
    let target = source(Transport::Udp).back();
    bench.client =
        Some(bench.endpoint.request(bench.now, &request, &mut Edits::new(), target).unwrap());
    let Some(Output::Transmit { bytes, .. }) = bench.endpoint.poll_output() else {
        panic!("the request goes out");
    };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines().find(|line| line.starts_with("Via")).unwrap().to_owned()
}

fn response(via: &str, status: u16, method: &str) -> String {
    format!(
        "SIP/2.0 {status} X|{via}|Via: SIP/2.0/UDP 192.0.2.9:6060;branch=z9hG4bKa|\
         From: <sip:a@h>;tag=1|To: <sip:b@h>;tag=2|Call-ID: c|CSeq: 1 {method}|\
         Content-Length: 0||"
    )
}

// Covers: CORE-006, CORE-061
#[test]
fn a_response_finds_its_transaction_by_branch_and_method() {
    let mut bench = Bench::small();
    let via = sent_via(&mut bench, &request_text("MESSAGE", ""));
    let stray = "StrayResponse";
    assert_eq!(bench.receive(&response(&via, 200, "INVITE")), stray);
    assert_eq!(bench.receive(&response(&via.replace("00p", "00q"), 200, "MESSAGE")), stray);
    assert_eq!(bench.receive(&response(&via, 200, "MESSAGE")), "response 200");
    assert_eq!(bench.receive(&response(&via, 200, "MESSAGE")), "", "Timer K absorbs it");
    bench.wait(6_000);
    assert_eq!(bench.receive(&response(&via, 200, "MESSAGE")), stray);
    assert!(via.contains("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-00p"), "{via}");
}

// Covers: CORE-004, CORE-005
#[test]
fn an_invite_is_acknowledged_cancelled_and_accepted() {
    let mut bench = Bench::small();
    let via = sent_via(&mut bench, &request_text("INVITE", "Route: <sip:r;lr>|"));
    assert_eq!(bench.receive(&response(&via, 486, "INVITE")), "[ACK sip:bob@h] response 486");
    assert_eq!(bench.receive(&response(&via, 486, "INVITE")), "[ACK sip:bob@h]");
    let via = sent_via(&mut bench, &request_text("INVITE", ""));
    bench.endpoint.cancel(bench.now, bench.client.unwrap(), None);
    assert_eq!(bench.drain(), "", "not before a provisional response");
    let ringing = bench.receive(&response(&via, 180, "INVITE"));
    assert_eq!(ringing, "response 180 [CANCEL sip:bob@h]");
    assert_eq!(bench.receive(&response(&via, 200, "CANCEL")), "", "the TU is not told");
    assert_eq!(bench.receive(&response(&via, 487, "INVITE")), "[ACK sip:bob@h] response 487");
    let via = sent_via(&mut bench, &request_text("INVITE", ""));
    assert_eq!(bench.receive(&response(&via, 200, "INVITE")), "response 200");
    assert_eq!(bench.receive(&response(&via, 200, "INVITE")), "response 200", "RFC 6026");
}

// Covers: CORE-004, CORE-010
#[test]
fn an_invite_is_cancelled_and_acknowledged_by_its_transaction() {
    let mut bench = Bench::small();
    let invite = request_text("INVITE", "");
    assert_eq!(bench.receive(&invite), "request INVITE");
    let server = bench.server;
    let cancel = request_text("CANCEL", "Require: nobody-knows|");
    assert_eq!(bench.receive(&cancel), "[200 OK] cancelled");
    assert_eq!(bench.receive(&cancel), "[200 OK]");
    bench.server = server;
    let bytes = ResponseBuilder::new(&parse(&invite), 487, "t").build();
    bench.endpoint.respond(bench.now, server.unwrap(), 487, bytes);
    assert_eq!(bench.drain(), "[487 Request Terminated]");
    assert_eq!(bench.receive(&request_text("ACK", "")), "", "the transaction takes it");
    assert_eq!(bench.receive(&cancel.replace("z9hG4bKa", "z9hG4bKz")), "request CANCEL");
    assert_eq!(bench.receive(&request_text("ACK", "").replace("bKa", "bKz")), "ack");
}

// Covers: CORE-055
#[test]
fn beyond_the_limit_new_requests_get_503_and_leave_nothing() {
    let mut bench = Bench::small();
    for branch in ["a", "b", "c", "d"] {
        let text = request_text("MESSAGE", "").replace("z9hG4bKa", &format!("z9hG4bK{branch}"));
        assert_eq!(bench.receive(&text), "request MESSAGE");
    }
    let fifth = request_text("MESSAGE", "").replace("z9hG4bKa", "z9hG4bKe");
    assert_eq!(bench.receive(&fifth), "[503 Service Unavailable] Overload");
    assert_eq!(bench.endpoint.load(), (4, 4, 0));
    let in_dialog = fifth.replace("To: <sip:b@h>", "To: <sip:b@h>;tag=7");
    assert_eq!(bench.receive(&in_dialog), "request MESSAGE", "dialogs go on");
}

// Covers: CORE-055
#[test]
fn not_even_dialogs_and_cancels_grow_the_table_without_end() {
    let mut bench = Bench::small();
    let table = [("BYE", "To: <sip:b@h>;tag=7"), ("CANCEL", "To: <sip:b@h>")];
    for n in 0..16 + 2 {
        let (method, to) = table[n % 2];
        let text = request_text(method, "").replace("To: <sip:b@h>", to);
        let text = text.replace("z9hG4bKa", &format!("z9hG4bK{n}"));
        assert_eq!(bench.receive(&text), format!("request {method}"));
    }
    for (method, to) in table {
        let text = request_text(method, "").replace("To: <sip:b@h>", to);
        assert_eq!(bench.receive(&text), "[503 Service Unavailable] Overload", "an eighth more");
    }
    assert_eq!(bench.endpoint.load(), (18, 18, 0));
}

// Covers: CORE-055
#[test]
fn too_many_requests_of_our_own_are_refused_to_the_caller() {
    let mut bench = Bench::small();
    for _ in 0..4 {
        bench.send(&request_text("MESSAGE", "")).unwrap();
    }
    assert_eq!(bench.send(&request_text("MESSAGE", "")), Err(Overload));
    bench.wait(40_000);
    bench.send(&request_text("MESSAGE", "")).unwrap();
}

// Covers: CORE-002
#[test]
fn malformed_requests_get_a_400_that_names_the_header() {
    let mut bench = Bench::small();
    let good = request_text("MESSAGE", "");
    let table = [
        (good.replace("To: <sip:b@h>", "To: \"bob <sip:b@h>"), "[400 Bad To]"),
        (good.replace("CSeq: 1 MESSAGE", "CSeq: 1 INVITE"), "[400 CSeq Method Mismatch]"),
        (good.replace("Call-ID: c|", ""), "[400 Missing Call-ID]"),
        (good.replace("Call-ID: c", "Call-ID: c|i: d"), "[400 Repeated Call-ID]"),
    ];
    for (text, answer) in table {
        let seen = bench.receive(&text);
        assert!(seen.starts_with(answer), "{seen}");
    }
    let ack = request_text("ACK", "").replace("Call-ID: c|", "");
    assert_eq!(bench.receive(&ack), "Malformed(Missing(CallId))", "an ACK is never answered");
    let bad = response("Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-00p", 200, "MESSAGE");
    let bad = bad.replace("CSeq: 1 MESSAGE", "CSeq: 36893488147419103232 MESSAGE");
    assert_eq!(bench.receive(&bad), "Malformed(Header(CSeq))");
    assert_eq!(bench.endpoint.load(), (0, 0, 0));
}

// Over ISC a 5xx, or silence, makes the S-CSCF go on without the server.
// Covers: CORE-063, SEC-012
#[test]
fn what_is_beyond_a_limit_gets_a_4xx_that_names_it() {
    let mut bench = Bench::small();
    let limits = Limits { head_octets_max: 400, fields_max: 9, body_octets_max: 3 };
    let good = request_text("MESSAGE", "");
    let with = |lines: &str| good.replace("Content-Length: 0", &format!("{lines}|l: 0"));
    let long = format!("X: {}", "x".repeat(400));
    #[rustfmt::skip]
    let table = [
        (format!("{}abcd", good.replace("Content-Length: 0", "l: 4")), "[413 Body Too Long]"),
        (with(&long), "[400 Head Too Long]"),
        (with(&["X: y"; 9].join("|")), "[400 Too Many Header Fields]"),
        // What an answer is made of must stand within the limit.
        (good.replace("CSeq", &format!("{long}|CSeq")), "Malformed(HeadSize)"),
        (good.replace("CSeq", &format!("{}|CSeq", ["X: y"; 9].join("|"))), "Malformed(FieldCount)"),
    ];
    for (text, answer) in table {
        let bytes = Bytes::from(text.replace('|', "\r\n"));
        let malformed = Message::parse_datagram(bytes, &limits).unwrap_err();
        let input = Input::Malformed { source: source(Transport::Udp), malformed };
        bench.endpoint.handle_input(bench.now, input);
        let seen = bench.drain();
        assert!(seen.starts_with(answer), "{seen}");
    }
    assert_eq!(bench.endpoint.load(), (0, 0, 0));
}

#[test]
fn what_was_let_in_is_not_measured_again() {
    let mut bench = Bench::small();
    let text = request_text("MESSAGE", &"X-Y: z|".repeat(300)).replace(";branch", ";rport;branch");
    let bytes = Bytes::from(text.replace('|', "\r\n"));
    let limits = Limits { fields_max: 1_000, ..Limits::default() };
    let message = Message::parse_datagram(bytes, &limits).unwrap();
    let input = Input::Message { source: source(Transport::Udp), message };
    bench.endpoint.handle_input(bench.now, input);
    let Some(Output::Request { request, .. }) = bench.endpoint.poll_output() else { panic!() };
    assert_eq!(request.top_via().unwrap().rport(), Some(Some(6060)));
    assert_eq!(bench.wait(4_000), "3500:[100 Trying]");
}

#[test]
fn received_and_rport_are_filled_in_and_followed() {
    let mut bench = Bench::small();
    let check = |bench: &mut Bench, via: &str, expect: &str, to: &str| {
        let text =
            request_text("MESSAGE", "").replace("SIP/2.0/UDP 192.0.2.9:6060;branch=z9hG4bKa", via);
        let input = Input::Message { source: source(Transport::Udp), message: parse(&text) };
        bench.endpoint.handle_input(bench.now, input);
        let Some(Output::Request { server, request, .. }) = bench.endpoint.poll_output() else {
            panic!("a request");
        };
        assert_eq!(request.field(HeaderName::Via), Some(expect.as_bytes()));
        let bytes = ResponseBuilder::new(&request, 200, "t").build();
        bench.endpoint.respond(bench.now, server, 200, bytes);
        let Some(Output::Transmit { target, .. }) = bench.endpoint.poll_output() else {
            panic!("a response");
        };
        assert_eq!(target.remote.to_string(), to);
    };
    let same = "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1";
    check(&mut bench, same, same, "192.0.2.9:5060");
    check(
        &mut bench,
        "SIP/2.0/UDP pc.h:5070;branch=z9hG4bK2",
        "SIP/2.0/UDP pc.h:5070;branch=z9hG4bK2;received=192.0.2.9",
        "192.0.2.9:5070",
    );
    check(
        &mut bench,
        "SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK3",
        "SIP/2.0/UDP 10.0.0.1;rport=6060;branch=z9hG4bK3;received=192.0.2.9",
        "192.0.2.9:6060",
    );
}

#[test]
fn a_branch_chosen_by_the_tu_is_used_once_at_a_time() {
    let mut bench = Bench::small();
    let request = Request::new(parse(&request_text("MESSAGE", ""))).unwrap();
    let target = source(Transport::Udp).back();
    let send = |bench: &mut Bench| {
        let branch = "z9hG4bK-00dsame";
        bench.endpoint.request_named(bench.now, &request, &mut Edits::new(), target, branch)
    };
    send(&mut bench).unwrap();
    assert_eq!(send(&mut bench), Err(Overload));
    bench.drain();
    let via = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-00dsame";
    assert_eq!(bench.receive(&response(via, 200, "MESSAGE")), "response 200");
    bench.wait(6_000);
    send(&mut bench).unwrap();
}

proptest! {
    // Covers: SEC-018
    #[test]
    fn any_order_of_messages_ends_with_empty_tables(
        steps in proptest::collection::vec((0_usize..7, 0_u64..9_000), 0..40),
    ) {
        let mut bench = Bench::small();
        for (step, wait) in steps {
            match step {
                0 => drop(bench.receive(&request_text("MESSAGE", ""))),
                1 => drop(bench.receive(&request_text("INVITE", ""))),
                2 => drop(bench.receive(&request_text("CANCEL", ""))),
                3 => drop(bench.receive(&request_text("ACK", ""))),
                4 => drop(bench.send(&request_text("INVITE", ""))),
                5 if bench.server.is_some() => drop(bench.respond(200)),
                _ => drop(bench.wait(wait)),
            }
        }
        // An INVITE nobody answers waits for its TU; everything else ends by itself.
        if bench.server.is_some() {
            bench.respond(480);
        }
        bench.wait(400_000);
        prop_assert_eq!(bench.endpoint.load().2, 0);
    }
}
