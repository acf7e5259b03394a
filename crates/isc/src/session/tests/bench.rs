//! A shard on virtual time whose requests the test takes itself.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parlance_sip::message::Limits;
use parlance_sip::{ClientKey, Endpoint, EndpointConfig, ListenerId, Message, Method, Request};
use parlance_sip::{RequestBuilder, Source, Target, Transport};
use parlance_store::{Memory, Millis};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::super::{Body, Event, Inbox, LegTerms, Outgoing, SessionLimits};
use crate::wire::{Local, Locals, Lookup, NextHop, Targets, Wire};
use crate::{Arrival, Clock, Cx, Dispatch, Incoming, Node, Shard, ShardInput, Task};

#[derive(Default)]
struct Script {
    sent: RefCell<VecDeque<String>>,
}

impl Wire for Script {
    fn transmit(&self, _: &Target, bytes: Bytes, _: Option<ClientKey>) -> bool {
        self.sent.borrow_mut().push_back(String::from_utf8_lossy(&bytes).into_owned());
        true
    }

    fn lookup(&self, _: &NextHop) -> Lookup {
        Box::pin(async { Targets::new() })
    }
}

/// Requests in a dialog go where it is, all others to the test.
#[derive(Default)]
struct Taker(RefCell<VecDeque<Incoming>>);

struct Fake(Rc<Taker>);

impl Dispatch for Fake {
    fn admit(&self, _: &Cx, _: &Source, _: &[String], _: &Message) -> bool {
        true
    }

    fn dispatch(&self, cx: Cx, arrival: Arrival) -> Task {
        let taker = Rc::clone(&self.0);
        Box::pin(async move {
            let decision = crate::fixture::pass_through(&arrival.request);
            let owned = cx.0.sessions.owns(&arrival.request);
            let incoming = Incoming::new(cx.clone(), arrival, decision);
            match owned {
                true => cx.0.sessions.deliver(&cx, incoming),
                false => taker.0.borrow_mut().push_back(incoming),
            }
        })
    }
}

/// The shard, its queue and its network.
pub(super) struct Bench {
    queue: mpsc::Sender<ShardInput>,
    wire: Rc<Script>,
    taker: Rc<Taker>,
    pub(super) cx: Cx,
}

pub(super) fn bench() -> Bench {
    bench_with(SessionLimits::default())
}

pub(super) fn bench_with(limits: SessionLimits) -> Bench {
    benches(1, limits).remove(0)
}

/// The shards of one server.
pub(super) fn benches(shards: u8, limits: SessionLimits) -> Vec<Bench> {
    let store = Arc::new(Memory::new());
    let (queues, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(64)).unzip();
    let sent_by = "192.0.2.20:5080".to_owned();
    let local = Local { id: ListenerId(0), transport: Transport::Udp, sent_by };
    let node = Arc::new(Node {
        clock: Clock::new(Millis(1_000_000).to_system_time()),
        locals: Locals(vec![local]),
        next_hop: None,
        udp_octets_max: 65_535,
        lag_max: Duration::from_secs(1),
        registrations: store.clone(),
        profiles: store.clone(),
        inboxes: store,
        shards: queues.clone(),
    });
    let shard = |(shard, (queue, receiver))| shard_of_server(&node, shard, queue, receiver, limits);
    (0..).zip(queues.into_iter().zip(receivers)).map(shard).collect()
}

fn shard_of_server(
    node: &Arc<Node>,
    shard: u8,
    queue: mpsc::Sender<ShardInput>,
    receiver: mpsc::Receiver<ShardInput>,
    limits: SessionLimits,
) -> Bench {
    let mut next = 0;
    let entropy = move || {
        next += 1;
        next
    };
    let config = EndpointConfig {
        shard,
        sent_by: vec!["192.0.2.20:5080".to_owned()],
        server_transactions_max: 64,
        unanswered_max: 32,
        client_transactions_max: 64,
        server: "IM-serv/OMA1.0".to_owned(),
        ..EndpointConfig::default()
    };
    let (wire, taker) = (Rc::new(Script::default()), Rc::new(Taker::default()));
    let fake = Rc::new(Fake(Rc::clone(&taker)));
    let endpoint = Endpoint::new(config, Box::new(entropy));
    let wired = Rc::clone(&wire) as Rc<dyn Wire>;
    let shard = Shard::new(Arc::clone(node), endpoint, wired, |_| fake);
    let shard = shard.with_session_limits(limits);
    let cx = shard.cx();
    tokio::task::spawn_local(shard.run(receiver));
    Bench { queue, wire, taker, cx }
}

pub(super) async fn on_local_set(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

impl Bench {
    pub(super) async fn receive(&self, text: &str) {
        let source = Source {
            transport: Transport::Udp,
            remote: "192.0.2.9:6060".parse().unwrap(),
            listener: ListenerId(0),
            connection: None,
            verified: false,
        };
        let bytes = Bytes::from(text.to_owned());
        let message = Message::parse_datagram(bytes, &Limits::default());
        let (at, peer_names) = (self.cx.0.instant(), Arc::from([]));
        let input = ShardInput::Received { at, source, peer_names, message };
        self.queue.send(input).await.unwrap();
        self.settle().await;
    }

    /// Lets every task run that can, without letting time pass.
    pub(super) async fn settle(&self) {
        for _ in 0..30 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn wait(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.settle().await;
    }

    /// The request outside a dialog that came.
    #[track_caller]
    pub(super) fn incoming(&self) -> Incoming {
        self.taker.0.borrow_mut().pop_front().expect("a request came")
    }

    /// What was sent since, oldest first.
    pub(super) fn sent(&self) -> Vec<String> {
        self.wire.sent.borrow_mut().drain(..).collect()
    }

    /// The one message sent since.
    #[track_caller]
    pub(super) fn one(&self) -> String {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.remove(0)
    }

    /// Methods and status codes sent since.
    pub(super) fn lines(&self) -> String {
        self.sent().iter().map(|text| word(text)).collect::<Vec<_>>().join(" ")
    }

    /// Whether nothing is left of any session.
    #[track_caller]
    pub(super) fn is_clean(&self) {
        assert_eq!(self.cx.dialogs(), 0, "no dialog is left");
    }

    /// An INVITE of ours to Bob, with an offer unless `sdp` is empty.
    pub(super) fn invite(&self, sdp: &'static str, terms: LegTerms, inbox: &Inbox) -> Outgoing {
        let request = invite_to_bob(&self.cx, sdp);
        self.cx.invite(request, bobs_hop(), terms, &inbox.address())
    }
}

pub(super) fn bobs_hop() -> NextHop {
    let uri = parlance_sip::uri::Uri::parse(b"sip:192.0.2.9:6060").unwrap();
    NextHop::of(&uri, ListenerId(0)).unwrap()
}

fn invite_to_bob(cx: &Cx, sdp: &str) -> Request {
    let builder = RequestBuilder::new(Method::Invite, "sip:bob@ims.test")
        .header(parlance_sip::HeaderName::MaxForwards, 70)
        .header(parlance_sip::HeaderName::From, format_args!("<sip:im@ims.test>;tag={}", cx.tag()))
        .header(parlance_sip::HeaderName::To, "<sip:bob@ims.test>")
        .header(parlance_sip::HeaderName::CallId, "ours")
        .header(parlance_sip::HeaderName::CSeq, "1 INVITE");
    let builder = match sdp {
        "" => builder,
        _ => builder.header(parlance_sip::HeaderName::ContentType, "application/sdp"),
    };
    builder.build(sdp.as_bytes()).unwrap()
}

pub(super) fn terms() -> LegTerms {
    LegTerms {
        allow: &[
            Method::Invite,
            Method::Ack,
            Method::Cancel,
            Method::Bye,
            Method::Prack,
            Method::Update,
            Method::Info,
            Method::Refer,
            Method::Subscribe,
        ],
        ..LegTerms::new("<sip:im@192.0.2.20:5080>;isfocus")
    }
}

pub(super) fn sdp(text: &'static str) -> Body {
    Body::sdp(text.as_bytes())
}

/// Method or status code.
fn word(text: &str) -> String {
    let text = text.trim_start_matches("SIP/2.0 ");
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// A header line's value; empty without one.
pub(super) fn value<'a>(text: &'a str, name: &str) -> &'a str {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

/// What happened since, as words.
pub(super) async fn events(inbox: &mut Inbox) -> Vec<Event> {
    let mut events = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::ZERO, inbox.next()).await {
        events.push(event);
    }
    events
}

/// The one event since.
#[track_caller]
pub(super) fn only(mut events: Vec<Event>) -> Event {
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

/// Bob's request outside a dialog; `CSeq` 1.
pub(super) fn from_bob(method: &str, extra: &str, body: &str) -> String {
    format!(
        "{method} sip:im@ims.test SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.9:6060;branch=z9hG4bK{method}1\r\n\
         Record-Route: <sip:192.0.2.9:6060;lr>\r\n\
         Max-Forwards: 68\r\nFrom: <sip:bob@ims.test>;tag=b\r\nTo: <sip:im@ims.test>\r\n\
         Call-ID: theirs\r\nCSeq: 1 {method}\r\nContact: <sip:bob@192.0.2.9:7070>\r\n{extra}{}",
        ending(body)
    )
}

fn ending(body: &str) -> String {
    match body {
        "" => "Content-Length: 0\r\n\r\n".to_owned(),
        _ => {
            format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
    }
}

/// The CANCEL of Bob's INVITE.
pub(super) fn cancel() -> String {
    from_bob("CANCEL", "", "").replace("bKCANCEL1", "bKINVITE1")
}

/// Bob's request in the dialog of `ours`, a response or request of ours.
pub(super) fn within(ours: &str, method: &str, cseq: u32, extra: &str, body: &str) -> String {
    let (mine, theirs) = match ours.starts_with("SIP/2.0") {
        true => ("To", "From"),
        false => ("From", "To"),
    };
    let theirs = value(ours, theirs);
    let tag = if theirs.contains("tag=") { "" } else { ";tag=b" };
    format!(
        "{method} sip:im@192.0.2.20:5080 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.9:6060;branch=z9hG4bKin{method}{cseq}\r\n\
         Max-Forwards: 68\r\nFrom: {theirs}{tag}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:bob@192.0.2.9:7070>\r\n{extra}{}",
        value(ours, mine),
        value(ours, "Call-ID"),
        ending(body)
    )
}

/// Bob's response to a request of ours, with his tag.
pub(super) fn answer(ours: &str, status: u16, tag: &str, extra: &str, body: &str) -> String {
    let to = value(ours, "To");
    let to = match to.contains("tag=") || tag.is_empty() {
        true => to.to_owned(),
        false => format!("{to};tag={tag}"),
    };
    format!(
        "SIP/2.0 {status} X\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:bob-{tag}@192.0.2.9:7070>\r\n{extra}{}",
        value(ours, "Via"),
        value(ours, "From"),
        value(ours, "Call-ID"),
        value(ours, "CSeq"),
        ending(body)
    )
}
