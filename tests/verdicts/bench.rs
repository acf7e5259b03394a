//! One server between a scripted network and an in-memory store, and what it does with a message.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use parlance_isc::decision::{Decider, DecisionPolicy, RefusalPolicy};
use parlance_isc::journal::Journal;
use parlance_isc::registration::{Registrar, RegistrationEvent, RegistrationPolicy};
use parlance_isc::service::{Running, Service, Services};
use parlance_isc::trust::Trust;
use parlance_isc::{
    Clock, Cx, Dispatcher, Downstream, Incoming, Locals, Lookup, Marks, NextHop, Node,
    RegistrationEvents, Role, Rules, Shard, ShardInput, Socket, Task, Wire, pass,
};
use parlance_sip::frame::{Frame, Framer};
use parlance_sip::message::{Limits, Malformed};
use parlance_sip::uri::Uri;
use parlance_sip::{
    ClientKey, ConnectionId, Endpoint, EndpointConfig, ListenerId, Message, Source, Target,
    Transport,
};
use parlance_store::{Millis, Store};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, yield_now};

/// The S-CSCF: on the same host, so trusted as an ISC peer.
const CORE: &str = "127.0.0.1:6060";

/// What the server of a run hosts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hosting {
    /// Its own addresses.
    pub(crate) own: &'static [&'static str],
    /// The domains whose users it serves; the services are in `ims.test`, which is always one.
    pub(crate) domains: &'static [&'static str],
}

/// Sends octets as one datagram and says what became of them.
pub(crate) fn datagram(hosting: Hosting, octets: &[u8]) -> String {
    let message = Message::parse_datagram(Bytes::copy_from_slice(octets), &Limits::default());
    run(hosting, Transport::Udp, vec![message])
}

/// Sends octets over a connection that then stays silent, and says what became of them; at last
/// whether they are still waited for or the connection is closed.
pub(crate) fn stream(hosting: Hosting, octets: &[u8]) -> String {
    let mut framer = Framer::new(Limits::default());
    framer.buffer().extend_from_slice(octets);
    let mut messages = Vec::new();
    while let Some(frame) = framer.next_frame() {
        match frame {
            Frame::Message(message) => messages.push(Ok(message)),
            Frame::Malformed(malformed) => messages.push(Err(malformed)),
            Frame::Ping => {}
        }
    }
    let end = match (framer.is_broken(), framer.is_partial()) {
        (true, _) => Some("closed".to_owned()),
        (false, true) => Some("waits".to_owned()),
        (false, false) => None,
    };
    let verdict = Some(run(hosting, Transport::Tcp, messages));
    let verdict = verdict.filter(|verdict| !verdict.is_empty());
    verdict.into_iter().chain(end).collect::<Vec<_>>().join(", ")
}

/// What came in, whole or as far as it could be read.
type Received = Result<Message, Box<Malformed>>;

fn run(hosting: Hosting, transport: Transport, messages: Vec<Received>) -> String {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs no file");
    let counters = Counters::default();
    let counting = metrics::set_default_local_recorder(&counters);
    let verdicts = runtime.block_on(LocalSet::new().run_until(async {
        let bench = Bench::new(hosting);
        if hosting.domains.contains(&"example.org") {
            // The recipient of the one MESSAGE among the vectors must be somebody.
            bench.register("sip:kumiko@example.org").await;
        }
        let mut verdicts = Vec::new();
        for message in messages {
            let octets = message.as_ref().map(Message::bytes).unwrap_or_default();
            bench.receive(transport, message).await;
            verdicts.push(bench.verdict(&octets, &counters));
        }
        verdicts
    }));
    drop(counting);
    verdicts.join(", ")
}

/// A network that keeps what is sent.
#[derive(Default)]
struct Script {
    sent: RefCell<Vec<Bytes>>,
}

impl Wire for Script {
    fn transmit(&self, _: &Target, bytes: Bytes, _: Option<ClientKey>) -> bool {
        self.sent.borrow_mut().push(bytes);
        true
    }

    fn lookup(&self, hop: &NextHop) -> Lookup {
        let target = Target {
            transport: Transport::Udp,
            remote: CORE.parse().expect("it is an address"),
            listener: hop.listener,
            connection: None,
        };
        Box::pin(async move { [target].into_iter().collect() })
    }
}

/// A participating function without policy: users' messages go on.
struct Passing;

impl Role for Passing {
    fn transaction(self: Rc<Self>, cx: Cx, request: Incoming) -> Task {
        Box::pin(pass(cx, request, Downstream::default()))
    }
}

struct Unheard;

impl RegistrationEvents for Unheard {
    fn handle_registration(&self, _: &Cx, _: &RegistrationEvent) {}
}

struct Bench {
    queue: mpsc::Sender<ShardInput>,
    wire: Rc<Script>,
    journal: Arc<Mutex<Journal>>,
}

impl Bench {
    fn new(hosting: Hosting) -> Self {
        let store = Store::memory();
        let (queue, receiver) = mpsc::channel(8);
        let socket = |id, transport| Socket {
            id: ListenerId(id),
            transport,
            sent_by: "127.0.0.20:5080".to_owned(),
        };
        let locals = Locals(vec![socket(0, Transport::Udp), socket(1, Transport::Tcp)]);
        let core = format!("sip:{CORE}");
        let next_hop = Uri::parse(core.as_bytes()).ok();
        let next_hop = next_hop.and_then(|uri| NextHop::of(&uri, ListenerId(0)));
        let node = Arc::new(Node {
            clock: Clock::new(Millis(1_000_000_000).to_system_time()),
            next_hop,
            udp_octets_max: 1300,
            lag_max: Duration::from_secs(1),
            registrations: Arc::clone(&store.registrations),
            profiles: Arc::clone(&store.profiles),
            inboxes: Arc::clone(&store.inboxes),
            shards: vec![queue.clone()],
            locals,
        });
        let config = EndpointConfig {
            sent_by: node.locals.0.iter().map(|socket| socket.sent_by.clone()).collect(),
            server_transactions_max: 16,
            unanswered_max: 16,
            client_transactions_max: 16,
            ..EndpointConfig::default()
        };
        let mut next = 0;
        let entropy = move || {
            next += 1;
            next
        };
        let wire = Rc::new(Script::default());
        let journal = Arc::new(Mutex::new(Journal::new(16)));
        let rules = Arc::new(rules(hosting, &store));
        let dispatcher = Dispatcher::new(
            move || Arc::clone(&rules),
            Arc::clone(&journal),
            Rc::new(Passing),
            Rc::new(Unheard),
        );
        let endpoint = Endpoint::new(config, Box::new(entropy));
        let shard =
            Shard::new(node, endpoint, Rc::clone(&wire) as Rc<dyn Wire>, |_| Rc::new(dispatcher));
        tokio::task::spawn_local(shard.run(receiver));
        Self { queue, wire, journal }
    }

    /// A third-party REGISTER, as the S-CSCF sends it.
    async fn register(&self, user: &str) {
        let text = format!(
            "REGISTER sip:127.0.0.20:5080 SIP/2.0\r\nVia: SIP/2.0/UDP {CORE};branch=z9hG4bK0\r\n\
             From: <sip:scscf.ims.test>;tag=1\r\nTo: <{user}>\r\nCall-ID: bench\r\n\
             CSeq: 1 REGISTER\r\nContact: <sip:{CORE}>\r\nExpires: 600\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let message = Message::parse_datagram(Bytes::from(text), &Limits::default());
        self.receive(Transport::Udp, message).await;
        let sent = std::mem::take(&mut *self.wire.sent.borrow_mut());
        assert!(sent.len() == 1 && sent[0].starts_with(b"SIP/2.0 200 "), "{sent:?}");
    }

    async fn receive(&self, transport: Transport, message: Received) {
        let source = Source {
            transport,
            remote: CORE.parse().expect("it is an address"),
            listener: ListenerId(u16::from(transport == Transport::Tcp)),
            connection: (transport == Transport::Tcp).then_some(ConnectionId(1)),
            verified: false,
        };
        let at = tokio::time::Instant::now().into_std();
        let peer_names = Arc::from([]);
        let input = ShardInput::Received { at, source, peer_names, message };
        self.queue.send(input).await.expect("the shard runs");
        // Every task that can run does; no time passes.
        for _ in 0..40 {
            yield_now().await;
        }
    }

    /// What became of the last message received.
    fn verdict(&self, octets: &[u8], counters: &Counters) -> String {
        let sent = std::mem::take(&mut *self.wire.sent.borrow_mut());
        assert!(sent.len() <= 1, "more than one answer: {sent:?}");
        let Some(bytes) = sent.first() else { return format!("dropped: {counters}") };
        if !bytes.starts_with(b"SIP/2.0 ") {
            return check_forwarded(octets, bytes).to_owned();
        }
        let journal = self.journal.lock().expect("nobody panicked");
        let served_by = journal.latest().next().map_or("", |entry| entry.served_by);
        let text = String::from_utf8_lossy(bytes);
        match served_by {
            "served by the controlling function" => "served".to_owned(),
            _ => answer(&text),
        }
    }
}

fn rules(hosting: Hosting, store: &Store) -> Rules {
    let mut services = Services::new();
    for own in hosting.own {
        services.own(own, None);
    }
    services.own("127.0.0.20", None);
    services.domain("ims.test");
    for domain in hosting.domains {
        services.domain(domain);
    }
    let factory = "sip:im-conf-factory@ims.test".parse().expect("it is an identity");
    let exploder = "sip:im-exploder@ims.test".parse().expect("it is an identity");
    services.identity(factory, Service::ConferenceFactory);
    services.identity(exploder, Service::Exploder);
    services.running = Running { controlling: true, ..Running::default() };
    let (profiles, registrations) = (&store.profiles, &store.registrations);
    Rules {
        decider: Decider {
            trust: Trust::new(Vec::new(), true).expect("there is nothing to refuse"),
            services,
            marks: Marks::new([7; 32]),
            filter: Vec::new(),
            policy: DecisionPolicy::default(),
            profiles: Arc::clone(profiles),
            registrations: Arc::clone(registrations),
        },
        registrar: Registrar::new(
            Arc::clone(profiles),
            Arc::clone(registrations),
            RegistrationPolicy::default(),
        ),
        gate: None,
        refusals: RefusalPolicy::default(),
    }
}

/// A response as one line: code, reason phrase, and the headers that the code demands. What stands
/// in the longer ones is for the tests of the decision.
fn answer(text: &str) -> String {
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default().trim_start_matches("SIP/2.0 ").to_owned();
    if status.starts_with("200 ") {
        return status;
    }
    let told = lines.filter_map(|line| {
        let (name, _) = line.split_once(':')?;
        match name {
            "Accept" | "Allow" | "Warning" => Some(name),
            "Accept-Encoding" | "Allow-Events" | "Unsupported" => Some(line),
            _ => None,
        }
    });
    [status.as_str()].into_iter().chain(told).collect::<Vec<_>>().join("; ")
}

/// Checks that what goes on has every line of what came, octet for octet, but those a proxy writes
/// (RFC 3261 §16.6), and the same body; and says to whom it goes.
fn check_forwarded(came: &[u8], goes: &[u8]) -> &'static str {
    let (head, body) = halves(came);
    let (out, out_body) = halves(goes);
    let lines = |octets: &[u8]| -> Vec<Vec<u8>> {
        let text = octets.split(|octet| *octet == b'\n');
        text.map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect()
    };
    let out = lines(out);
    let strict = !goes.starts_with(lines(head)[0].as_slice());
    let mut top_via = true;
    for (number, line) in lines(head).into_iter().enumerate() {
        let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        let is_top_via = matches!(name.as_str(), "via" | "v") && std::mem::take(&mut top_via);
        let rewritten = matches!(name.as_str(), "max-forwards" | "route") || strict && number == 0;
        let rewritten = is_top_via || rewritten || folded;
        assert!(
            rewritten || out.contains(&line),
            "line {number} is not sent on: {}",
            String::from_utf8_lossy(&line)
        );
    }
    assert!(body.starts_with(out_body), "the body is another one");
    if strict { "forwarded to a strict router" } else { "forwarded" }
}

fn halves(octets: &[u8]) -> (&[u8], &[u8]) {
    let end = octets.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or((octets, &[][..]), |end| (&octets[..end], &octets[end + 4..]))
}

/// The counters of one run.
#[derive(Clone, Default)]
struct Counters(Arc<Mutex<BTreeMap<String, u64>>>);

struct One {
    key: String,
    all: Counters,
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        let mut all = self.all.0.lock().expect("nobody panicked");
        *all.entry(self.key.clone()).or_default() += value;
    }

    fn absolute(&self, value: u64) {
        self.all.0.lock().expect("nobody panicked").insert(self.key.clone(), value);
    }
}

impl metrics::Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key.labels().map(|label| label.value().to_owned());
        let key = [key.name().to_owned()].into_iter().chain(labels).collect::<Vec<_>>().join(" ");
        Counter::from_arc(Arc::new(One { key, all: self.clone() }))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.lock().expect("nobody panicked");
        let counted = all.iter().filter(|(_, count)| **count > 0);
        let names = counted.map(|(key, count)| {
            let key = key.trim_start_matches("parlance_sip_");
            if *count == 1 { key.to_owned() } else { format!("{key} ×{count}") }
        });
        f.write_str(&names.collect::<Vec<_>>().join("; "))
    }
}
