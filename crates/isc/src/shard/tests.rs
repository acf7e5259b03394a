mod downstream;
mod proxy;
mod targets;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use parlance_sip::message::Limits;
use parlance_sip::{ConnectionId, Edits, EndpointConfig, ListenerId, Method, Transport};
use parlance_store::{Memory, Millis};
use tokio::task::LocalSet;

use super::*;
use crate::wire::{Local, Locals, Lookup, NextHop, Targets};
use crate::{Clock, Downstream, Incoming, Outcome, pass};

/// A network that keeps what is sent.
#[derive(Default)]
struct Script {
    sent: RefCell<VecDeque<(Target, String)>>,
    /// Transports that take nothing.
    refuses: RefCell<Vec<Transport>>,
    /// What names resolve to.
    names: RefCell<Targets>,
}

impl Wire for Script {
    fn transmit(&self, target: &Target, bytes: Bytes, _: Option<ClientKey>) -> bool {
        if self.refuses.borrow().contains(&target.transport) {
            return false;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.sent.borrow_mut().push_back((*target, text));
        true
    }

    fn lookup(&self, hop: &NextHop) -> Lookup {
        let found = match hop.place.numeric(|_| true) {
            Some(found) => found.unwrap().iter().map(|found| hop.target(found)).collect(),
            None => self.names.borrow().clone(),
        };
        Box::pin(async move { found })
    }
}

/// What the role of a test does with a request.
type Work = Rc<dyn Fn(Cx, Incoming) -> Task>;

struct Fake {
    work: Work,
    trusted: bool,
}

impl Dispatch for Fake {
    fn admit(&self, _: &Cx, _: &Source, _: &[String], _: &Message) -> bool {
        self.trusted
    }

    fn dispatch(&self, cx: Cx, arrival: Arrival) -> Task {
        let decision = crate::fixture::pass_through(&arrival.request);
        (self.work)(cx.clone(), Incoming::new(cx, arrival, decision))
    }
}

/// A shard on virtual time, its queue and its network.
struct Bench {
    queue: mpsc::Sender<ShardInput>,
    wire: Rc<Script>,
    cx: Cx,
}

fn local(id: u16, transport: Transport) -> Local {
    Local { id: ListenerId(id), transport, sent_by: "192.0.2.20:5080".to_owned() }
}

fn bench(trusted: bool, work: impl Fn(Cx, Incoming) -> Task + 'static) -> Bench {
    let store = Arc::new(Memory::new());
    let (queue, receiver) = mpsc::channel(64);
    let node = Arc::new(Node {
        clock: Clock::new(Millis(1_000_000).to_system_time()),
        locals: Locals(vec![local(0, Transport::Udp), local(1, Transport::Tcp)]),
        next_hop: None,
        udp_octets_max: 1300,
        lag_max: Duration::from_secs(1),
        registrations: store.clone(),
        profiles: store.clone(),
        inboxes: store,
        shards: vec![queue.clone()],
    });
    let mut next = 0;
    let entropy = move || {
        next += 1;
        next
    };
    let sent_by = node.locals.0.iter().map(|local| local.sent_by.clone()).collect();
    let config = EndpointConfig {
        sent_by,
        server_transactions_max: 64,
        unanswered_max: 32,
        client_transactions_max: 64,
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::new(config, Box::new(entropy));
    let wire = Rc::new(Script::default());
    let work: Work = Rc::new(work);
    let shard = Shard::new(node, endpoint, Rc::clone(&wire) as Rc<dyn Wire>, |_| {
        Rc::new(Fake { work, trusted })
    });
    let cx = shard.cx();
    tokio::task::spawn_local(shard.run(receiver));
    Bench { queue, wire, cx }
}

impl Bench {
    async fn receive(&self, text: &str) {
        self.receive_at(text, self.cx.0.instant()).await;
    }

    async fn receive_at(&self, text: &str, at: std::time::Instant) {
        let source = Source {
            transport: Transport::Udp,
            remote: "192.0.2.9:6060".parse().unwrap(),
            listener: ListenerId(0),
            connection: None::<ConnectionId>,
            verified: false,
        };
        let bytes = Bytes::from(text.to_owned());
        let message = Message::parse_datagram(bytes, &Limits::default());
        let peer_names = Arc::from([]);
        let input = ShardInput::Received { at, source, peer_names, message };
        self.queue.send(input).await.unwrap();
        self.settle().await;
    }

    /// Lets every task run that can, without letting time pass.
    async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    async fn wait(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.settle().await;
    }

    /// What was sent since, oldest first: target and message.
    fn sent(&self) -> Vec<(Target, String)> {
        self.wire.sent.borrow_mut().drain(..).collect()
    }

    /// The one message sent since.
    #[track_caller]
    fn one(&self) -> String {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0).1
    }

    /// The start lines sent since.
    fn lines(&self) -> String {
        let lines: Vec<_> = self.sent().into_iter().map(|(_, text)| start_line(&text)).collect();
        lines.join(", ")
    }
}

fn start_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.trim_end_matches(" SIP/2.0").trim_start_matches("SIP/2.0 ").to_owned()
}

fn request(method: &str, extra: &str) -> String {
    format!(
        "{method} sip:bob@ims.test SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.9:6060;branch=z9hG4bKa\r\n\
         Route: <sip:im-orig@192.0.2.20:5080;lr>, <sip:mark@192.0.2.9:6060;lr;s=2>\r\n\
         P-Served-User: <sip:alice@ims.test>;sescase=orig;regstate=reg\r\n{extra}\
         Max-Forwards: 68\r\nFrom: <sip:alice@ims.test>;tag=1\r\nTo: <sip:bob@ims.test>\r\n\
         Call-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 2\r\n\r\nhi"
    )
}

/// The response of the next hop to what we sent.
fn respond(sent: &str, status: u16) -> String {
    let line = |name: &str| {
        let found = sent.lines().filter(|line| line.starts_with(name));
        found.map(|line| format!("{line}\r\n")).collect::<String>()
    };
    let method = sent.split(' ').next().unwrap_or_default();
    format!(
        "SIP/2.0 {status} X\r\n{}{}{}{}CSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
        line("Via:"),
        line("From:"),
        line("To:").replace("\r\n", ";tag=b\r\n"),
        line("Call-ID:"),
    )
}

fn passing(cx: Cx, incoming: Incoming) -> Task {
    Box::pin(pass(cx, incoming, Downstream::default()))
}

async fn on_local_set(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

// Covers: CORE-012, CORE-030, CORE-032
#[tokio::test(start_paused = true)]
async fn a_request_goes_on_along_its_route_and_the_response_comes_back() {
    on_local_set(async {
        let bench = bench(true, passing);
        bench.receive(&request("MESSAGE", "X-Odd:B\r\n")).await;
        let sent = bench.one();
        let branch = "z9hG4bK-00p000000000000000000000003";
        assert_eq!(
            sent,
            format!(
                "MESSAGE sip:bob@ims.test SIP/2.0\r\n\
                 Via: SIP/2.0/UDP 192.0.2.20:5080;branch={branch}\r\n\
                 Via: SIP/2.0/UDP 192.0.2.9:6060;branch=z9hG4bKa\r\n\
                 Route: <sip:mark@192.0.2.9:6060;lr;s=2>\r\nX-Odd:B\r\nMax-Forwards: 67\r\n\
                 From: <sip:alice@ims.test>;tag=1\r\nTo: <sip:bob@ims.test>\r\nCall-ID: c\r\n\
                 CSeq: 1 MESSAGE\r\nContent-Length: 2\r\nMax-Breadth: 60\r\n\r\nhi"
            )
        );
        bench.receive(&respond(&sent, 200)).await;
        let answer = bench.one();
        assert!(answer.starts_with("SIP/2.0 200 X\r\nVia: SIP/2.0/UDP 192.0.2.9:6060"), "{answer}");
        assert_eq!(answer.matches("Via:").count(), 1);
        bench.receive(&request("MESSAGE", "X-Odd:B\r\n")).await;
        assert_eq!(bench.one(), answer, "the retransmission is answered again");
    })
    .await;
}

// Covers: CORE-012
#[tokio::test(start_paused = true)]
async fn a_missing_max_forwards_is_put_in() {
    on_local_set(async {
        let bench = bench(true, passing);
        bench.receive(&request("MESSAGE", "").replace("Max-Forwards: 68\r\n", "")).await;
        assert!(bench.one().contains("\r\nMax-Forwards: 70\r\n"));
    })
    .await;
}

// Covers: CORE-013
#[tokio::test(start_paused = true)]
async fn max_breadth_is_60_at_most() {
    on_local_set(async {
        let bench = bench(true, passing);
        for (came, goes) in [(None, "60"), (Some("7"), "7"), (Some("60"), "60"), (Some("61"), "60")]
        {
            let line = came.map_or(String::new(), |value| format!("Max-Breadth: {value}\r\n"));
            let text =
                request("MESSAGE", &line).replace("bKa", &format!("bK{}", came.unwrap_or("a")));
            bench.receive(&text).await;
            let sent = bench.one();
            assert_eq!(sent.matches("Max-Breadth").count(), 1, "{sent}");
            assert!(sent.contains(&format!("\r\nMax-Breadth: {goes}\r\n")), "{sent}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_is_answered_480() {
    on_local_set(async {
        let bench = bench(true, |_, incoming| Box::pin(async move { drop(incoming) }));
        bench.receive(&request("MESSAGE", "")).await;
        let answer = bench.one();
        assert!(answer.starts_with("SIP/2.0 480 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_dropped_in_mid_flight_leaves_an_answer() {
    on_local_set(async {
        let bench = bench(true, |cx, incoming| {
            Box::pin(async move {
                let task = passing(cx, incoming);
                let _ = tokio::time::timeout(Duration::from_millis(100), task).await;
            })
        });
        bench.receive(&request("MESSAGE", "")).await;
        assert_eq!(bench.lines(), "MESSAGE sip:bob@ims.test");
        bench.wait(101).await;
        assert_eq!(bench.lines(), "480 Temporarily Unavailable");
    })
    .await;
}

// Covers: SEC-001, SEC-004
#[tokio::test(start_paused = true)]
async fn an_untrusted_peer_gets_403_and_leaves_nothing() {
    on_local_set(async {
        let bench = bench(false, passing);
        bench.receive(&request("MESSAGE", "")).await;
        assert_eq!(bench.lines(), "403 Forbidden");
        bench.receive(&request("ACK", "")).await;
        assert_eq!(bench.lines(), "");
        let behind_nat =
            request("MESSAGE", "").replace("192.0.2.9:6060;branch", "h:9;rport;branch");
        bench.receive(&behind_nat).await;
        let (target, answer) = bench.sent().remove(0);
        assert_eq!(target.remote.to_string(), "192.0.2.9:6060", "RFC 3581 §4");
        assert!(answer.contains(";rport=6060;"), "{answer}");
        assert_eq!(bench.cx.0.endpoint.borrow().load(), (0, 0, 0));
    })
    .await;
}

// Covers: CORE-055
#[tokio::test(start_paused = true)]
async fn a_request_that_waited_too_long_gets_503() {
    on_local_set(async {
        let bench = bench(true, passing);
        let at = bench.cx.0.instant();
        bench.wait(1_001).await;
        bench.receive_at(&request("MESSAGE", ""), at).await;
        assert_eq!(bench.lines(), "503 Service Unavailable");
        let in_dialog = request("BYE", "").replace("To: <sip:bob@ims.test>", "To: <sip:b@h>;tag=9");
        bench.receive_at(&in_dialog, at).await;
        assert_eq!(bench.lines(), "BYE sip:bob@ims.test", "dialogs go on");
    })
    .await;
}

// Covers: CORE-061, PF-021
#[tokio::test(start_paused = true)]
async fn without_a_response_a_message_gets_nothing_and_an_invite_480() {
    on_local_set(async {
        let bench = bench(true, passing);
        bench.receive(&request("MESSAGE", "")).await;
        bench.wait(40_000).await;
        let lines = bench.lines().replace("MESSAGE sip:bob@ims.test", "m");
        assert_eq!(lines, "m, m, m, 100 Trying, m, m, m, m, m, m, m, m");
        bench.receive(&request("INVITE", "")).await;
        bench.wait(40_000).await;
        let lines = bench.lines();
        assert!(lines.contains("480 Temporarily Unavailable") && !lines.contains("408"), "{lines}");
    })
    .await;
}

// Covers: CORE-032
#[tokio::test(start_paused = true)]
async fn a_dialog_runs_through_the_record_routing_proxy() {
    on_local_set(async {
        let bench = bench(true, passing);
        bench.receive(&request("INVITE", "Record-Route: <sip:192.0.2.9:6060;lr>\r\n")).await;
        let invite = bench.one();
        let ours = "\r\nRecord-Route: <sip:192.0.2.20:5080;lr>\r\nRecord-Route: <sip:192.0.2.9";
        assert!(invite.contains(ours), "{invite}");
        bench.receive(&respond(&invite, 180)).await;
        bench.receive(&respond(&invite, 200)).await;
        bench.receive(&respond(&invite, 200)).await;
        assert_eq!(bench.lines(), "180 X, 200 X, 200 X", "a repeated 2xx goes on too");
        let route = "Route: <sip:im-orig@192.0.2.20:5080;lr>, <sip:mark@192.0.2.9:6060;lr;s=2>";
        let ack = request("ACK", "")
            .replace("bKa", "bKb")
            .replace("To: <sip:bob@ims.test>", "To: <sip:bob@ims.test>;tag=b")
            .replace(route, "Route: <sip:192.0.2.20:5080;lr>, <sip:192.0.2.9:6060;lr>");
        bench.receive(&ack).await;
        let passed = bench.one();
        assert!(passed.starts_with("ACK sip:bob@ims.test"), "{passed}");
        assert!(passed.contains("\r\nRoute: <sip:192.0.2.9:6060;lr>\r\n"), "{passed}");
    })
    .await;
}

// Covers: CORE-004
#[tokio::test(start_paused = true)]
async fn cancel_follows_the_invite_downstream() {
    on_local_set(async {
        let bench = bench(true, passing);
        bench.receive(&request("INVITE", "")).await;
        let invite = bench.one();
        bench.receive(&respond(&invite, 180)).await;
        assert_eq!(bench.lines(), "180 X");
        bench.receive(&request("CANCEL", "")).await;
        assert_eq!(bench.lines(), "200 OK, CANCEL sip:bob@ims.test");
        bench.receive(&respond(&invite, 487)).await;
        assert_eq!(bench.lines(), "ACK sip:bob@ims.test, 487 X");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_comes_before_the_request_went_on_is_not_lost() {
    on_local_set(async {
        let bench = bench(true, |cx, incoming| {
            Box::pin(async move {
                cx.after(Duration::from_millis(10)).await;
                pass(cx, incoming, Downstream::default()).await;
            })
        });
        bench.receive(&request("INVITE", "")).await;
        bench.receive(&request("CANCEL", "")).await;
        assert_eq!(bench.lines(), "200 OK");
        bench.wait(11).await;
        assert_eq!(bench.lines(), "487 Request Terminated", "nothing goes downstream");
        bench.receive(&request("ACK", "")).await;
        bench.wait(40_000).await;
        assert!(bench.cx.0.invites.borrow().is_empty(), "nothing is left behind");
    })
    .await;
}

// Covers: CORE-004
#[tokio::test(start_paused = true)]
async fn timer_c_cancels_an_invite_without_a_final_response() {
    on_local_set(async {
        // RFC 3261 §16.6 step 11: Timer C runs from the start; a 100 does not set it again (§16.7
        // step 2).
        for (status, relayed) in [(180, "180 X"), (100, "100 Trying")] {
            let bench = bench(true, passing);
            bench.receive(&request("INVITE", "")).await;
            let invite = bench.one();
            bench.receive(&respond(&invite, status)).await;
            bench.wait(180_900).await;
            assert_eq!(bench.lines(), relayed);
            bench.wait(200).await;
            assert_eq!(bench.lines(), "CANCEL sip:bob@ims.test");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_forwarding_cancels_its_invite() {
    on_local_set(async {
        let bench = bench(true, |cx, incoming| {
            Box::pin(async move {
                let forwarding = cx.forward(&incoming, Edits::new());
                cx.after(Duration::from_secs(1)).await;
                drop(forwarding);
            })
        });
        bench.receive(&request("INVITE", "")).await;
        let invite = bench.one();
        bench.receive(&respond(&invite, 180)).await;
        bench.sent();
        bench.wait(1_001).await;
        assert_eq!(bench.lines(), "CANCEL sip:bob@ims.test, 480 Temporarily Unavailable");
    })
    .await;
}

fn target(remote: &str) -> Target {
    Target {
        transport: Transport::Udp,
        remote: remote.parse().unwrap(),
        listener: ListenerId(0),
        connection: None,
    }
}

fn named_route(extra: &str) -> String {
    let text = request("MESSAGE", extra);
    text.replace("<sip:mark@192.0.2.9:6060;lr;s=2>", "<sip:mark@scscf.ims.test;lr>")
}

fn own_request(cx: &Cx) -> Request {
    parlance_sip::RequestBuilder::new(Method::Message, "sip:bob@ims.test")
        .header(parlance_sip::HeaderName::From, format_args!("<sip:im@ims.test>;tag={}", cx.tag()))
        .header(parlance_sip::HeaderName::To, "<sip:bob@ims.test>")
        .header(parlance_sip::HeaderName::CallId, "own")
        .header(parlance_sip::HeaderName::CSeq, "1 MESSAGE")
        .build(b"")
        .unwrap()
}

// Covers: CORE-050
#[tokio::test(start_paused = true)]
async fn our_own_messages_to_one_user_wait_for_each_other() {
    on_local_set(async {
        let bench = bench(true, passing);
        let uri = parlance_sip::uri::Uri::parse(b"sip:192.0.2.9:6060").unwrap();
        let hop = NextHop::of(&uri, ListenerId(0)).unwrap();
        let done: Rc<RefCell<Vec<&str>>> = Rc::default();
        for name in ["first", "second"] {
            let (cx, hop, done) = (bench.cx.clone(), hop.clone(), Rc::clone(&done));
            bench.cx.spawn(async move {
                let outcome = cx.send(own_request(&cx), hop, None).await;
                assert!(matches!(outcome, Outcome::Final(response) if response.status() == 200));
                done.borrow_mut().push(name);
            });
        }
        bench.settle().await;
        let first = bench.one();
        bench.receive(&respond(&first, 200)).await;
        assert_eq!(*done.borrow(), ["first"]);
        let second = bench.one();
        bench.receive(&respond(&second, 200)).await;
        assert_eq!(*done.borrow(), ["first", "second"]);
        assert!(bench.cx.0.lanes.borrow().is_empty(), "no lane is left behind");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_holds_so_many_and_no_more() {
    on_local_set(async {
        let bench = bench(true, passing);
        let uri = parlance_sip::uri::Uri::parse(b"sip:192.0.2.9:6060").unwrap();
        let hop = NextHop::of(&uri, ListenerId(0)).unwrap();
        let refused: Rc<Cell<usize>> = Rc::default();
        for _ in 0..crate::LANE_WAITING_MAX + 3 {
            let (cx, hop, refused) = (bench.cx.clone(), hop.clone(), Rc::clone(&refused));
            bench.cx.spawn(async move {
                if matches!(cx.send(own_request(&cx), hop, None).await, Outcome::Unreachable) {
                    refused.set(refused.get() + 1);
                }
            });
        }
        bench.settle().await;
        assert_eq!(refused.get(), 2, "one is under way and so many wait");
        assert_eq!(bench.lines(), "MESSAGE sip:bob@ims.test");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_no_lane_behind() {
    on_local_set(async {
        let bench = bench(true, passing);
        let uri = parlance_sip::uri::Uri::parse(b"sip:192.0.2.9:6060").unwrap();
        let hop = NextHop::of(&uri, ListenerId(0)).unwrap();
        for _ in 0..2 {
            let (cx, hop) = (bench.cx.clone(), hop.clone());
            bench.cx.spawn(async move {
                let sending = cx.send(own_request(&cx), hop, None);
                assert!(tokio::time::timeout(Duration::from_secs(1), sending).await.is_err());
            });
        }
        bench.wait(1_001).await;
        assert!(bench.cx.0.lanes.borrow().is_empty());
    })
    .await;
}
