//! Stories: one shard over a wire that answers as the story says, on tokio's paused clock.

mod copies;
mod crash;
mod flight;
mod large;
mod refused;
mod told;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use parlance_isc::decision::DecisionPolicy;
use parlance_isc::journal::Journal;
use parlance_isc::registration::{Registrar, RegistrationEvent, RegistrationPolicy};
use parlance_isc::service::{Service, Services};
use parlance_isc::trust::Trust;
use parlance_isc::{
    Clock, Cx, Decider, Dispatcher, Incoming, Local, Locals, Lookup, Marks, NextHop, Node,
    RefusalPolicy, RegistrationEvents, Role, Rules, SessionCase, Shard, ShardInput, Socket,
    Targets, Task, Wire,
};
use parlance_sip::message::Limits;
use parlance_sip::uri::{Aor, Uri};
use parlance_sip::{
    ClientKey, Endpoint, EndpointConfig, HeaderName, ListenerId, Message, Method, Request,
    Response, ResponseBuilder, Source, Target, Transport,
};
use parlance_store::{ExplosionId, Explosions, Memory, Millis, Profile, Profiles, Store};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::{Exploder, ExploderSetup};
use crate::groups::tests::document;
use crate::tests::media::Core;
use crate::{Group, Groups, GroupsUnavailable, Policy};

/// 2006-03-01T10:15:30Z: when every story begins.
const T0: Millis = Millis(1_141_208_130_000);
const ALICE: &str = "sip:alice@ims.test";
const EXPLODER: &str = "sip:im-exploder@ims.test";
const FACTORY: &str = "sip:im-conf@ims.test";
const CHESS: &str = "sip:chess@ims.test";

/// What the other side does with a request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Now(u16),
    After(u64, u16),
    Never,
    Unreachable,
    /// Another final response: that of an INVITE which opens a session, or one with a Contact.
    With(u16, &'static str),
}

type Script = Box<dyn FnMut(&Request) -> Answer>;

/// A request that left, and when.
#[derive(Clone, Debug)]
struct Sent {
    at: Duration,
    request: Request,
}

impl Sent {
    fn to(&self) -> String {
        String::from_utf8_lossy(self.request.uri_text()).into_owned()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.request.bytes()).into_owned()
    }

    fn field(&self, name: HeaderName) -> String {
        String::from_utf8_lossy(self.request.field(name).unwrap_or_default()).into_owned()
    }

    fn branch(&self) -> String {
        self.request.top_via().and_then(|via| via.branch().map(str::to_owned)).expect("a branch")
    }

    /// Everything a transaction is recognised by.
    fn identity(&self) -> [String; 4] {
        let names = [HeaderName::CallId, HeaderName::CSeq, HeaderName::From];
        let [call_id, cseq, from] = names.map(|name| self.field(name));
        [call_id, cseq, from, self.branch()]
    }
}

/// The wire of a story.
struct Network {
    began: Instant,
    queue: mpsc::Sender<ShardInput>,
    script: RefCell<Script>,
    sent: RefCell<Vec<Sent>>,
    answers: RefCell<Vec<Response>>,
    branches: RefCell<HashSet<String>>,
}

impl Wire for Network {
    fn transmit(&self, target: &Target, bytes: Bytes, _: Option<ClientKey>) -> bool {
        let message = Message::parse_datagram(bytes, &Limits::default()).expect("we wrote it");
        let request = match Request::new(message) {
            Ok(request) => request,
            Err(message) => {
                self.answers.borrow_mut().push(Response::new(message).expect("a response"));
                return true;
            }
        };
        let at = Instant::now().duration_since(self.began);
        let sent = Sent { at, request: request.clone() };
        // A retransmission is not told to the story; the answer it gets is on its way.
        let transaction = format!("{} {}", request.method().as_str(), sent.branch());
        if !self.branches.borrow_mut().insert(transaction.clone()) {
            return true;
        }
        if request.method() == Method::Ack {
            return true;
        }
        let answer = (self.script.borrow_mut())(&request);
        if matches!(answer, Answer::Unreachable) {
            self.branches.borrow_mut().remove(&transaction);
            return false;
        }
        self.sent.borrow_mut().push(sent);
        let (wait, status, contact) = match answer {
            Answer::Now(status) => (0, status, None),
            Answer::After(seconds, status) => (seconds, status, None),
            Answer::With(status, contact) => (0, status, Some(contact)),
            Answer::Never | Answer::Unreachable => return true,
        };
        let wait = Duration::from_secs(wait);
        let mut response = ResponseBuilder::new(&request, status, "remote");
        let mut body = String::new();
        if let Some(contact) = contact {
            response = response.header(HeaderName::Contact, contact);
            if status < 300 {
                response = response.header(HeaderName::ContentType, "application/sdp");
                body = large::sdp("bob", "recvonly");
            }
        }
        let response = response.with_body(body.as_bytes());
        let input = received(target.listener, response, Instant::now() + wait);
        let queue = self.queue.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            let _ = queue.send(input).await;
        });
        true
    }

    fn lookup(&self, _: &NextHop) -> Lookup {
        Box::pin(std::future::ready(Targets::new()))
    }
}

fn received(listener: ListenerId, bytes: Bytes, at: Instant) -> ShardInput {
    ShardInput::Received {
        at: at.into_std(),
        source: Source {
            transport: Transport::Udp,
            remote: "127.0.0.13:6060".parse().expect("an address"),
            listener,
            connection: None,
            verified: false,
        },
        peer_names: Arc::from([]),
        message: Message::parse_datagram(bytes, &Limits::default()),
    }
}

/// The groups of a story.
struct Hosted(Vec<Arc<Group>>);

impl Groups for Hosted {
    fn group<'a>(
        &'a self,
        identity: &'a Aor,
    ) -> Local<'a, Result<Option<Arc<Group>>, GroupsUnavailable>> {
        let found = self.0.iter().find(|group| group.identity() == identity).cloned();
        Box::pin(std::future::ready(Ok(found)))
    }
}

struct Nothing;

impl RegistrationEvents for Nothing {
    fn handle_registration(&self, _: &Cx, _: &RegistrationEvent) {}
}

/// No user of this server sends or gets anything in these stories.
impl Role for Nothing {
    fn transaction(self: Rc<Self>, _: Cx, request: Incoming) -> Task {
        drop(request);
        Box::pin(std::future::ready(()))
    }
}

/// What survives a server, and its time.
struct Runs {
    policy: Policy,
    store: Arc<Memory>,
    clock: Clock,
    runs: Cell<u64>,
    profiles: Vec<Profile>,
}

impl Runs {
    fn new(policy: Policy) -> Self {
        assert_eq!(policy.mistakes(), []);
        let clock = Clock::new(UNIX_EPOCH + Duration::from_millis(T0.0));
        let store = Arc::new(Memory::new());
        Self { policy, store, clock, runs: Cell::new(0), profiles: Vec::new() }
    }

    /// A server runs until the story is told, and is killed.
    async fn run(&self, story: impl AsyncFnOnce(&World)) {
        self.runs.set(self.runs.get() + 1);
        for profile in &self.profiles {
            self.store.put(profile.clone()).await.expect("it is kept");
        }
        let tasks = LocalSet::new();
        let telling = async {
            let world = World::start(self);
            story(&world).await;
        };
        tasks.run_until(telling).await;
    }
}

/// One run of a server with the default policy.
async fn story(story: impl AsyncFnOnce(&World)) {
    Runs::new(Policy::default()).run(story).await;
}

/// One run of a server.
struct World {
    exploder: Exploder,
    store: Arc<Memory>,
    network: Rc<Network>,
    core: Core,
    calls: Cell<u32>,
}

impl World {
    fn start(runs: &Runs) -> World {
        let (queue, inputs) = mpsc::channel(4096);
        let network = Rc::new(Network {
            began: runs.clock.instant(T0),
            queue: queue.clone(),
            script: RefCell::new(Box::new(|_| Answer::Now(200))),
            sent: RefCell::default(),
            answers: RefCell::default(),
            branches: RefCell::default(),
        });
        let store = Store::of(Arc::clone(&runs.store));
        let (marks, core) = (Marks::new([9; 32]), Core::new());
        let rules = Arc::new(rules(&store, &marks));
        let policy = Arc::new(runs.policy.clone());
        let setup = ExploderSetup {
            marks,
            domains: vec!["ims.test".into()],
            listener: ListenerId(0),
            explosions: runs.store.clone(),
            media: core.media(),
        };
        let exploder = Exploder::new(move || Arc::clone(&policy), setup);
        let members = ["sip:alice@ims.test", "sip:bob@home2.test", "sip:carol@ims.test"];
        let lonely = parlance_content::list_service::Group {
            uri: "sip:lonely@ims.test".into(),
            ..document(&["sip:alice@ims.test"], Vec::new())
        };
        let groups = [document(&members, Vec::new()), lonely];
        let groups = groups.map(|group| Arc::new(Group::new(group).expect("a group")));
        let role = exploder.role(Rc::new(Hosted(groups.into())));
        let node = Arc::new(node(&store, runs.clock, queue));
        let wire: Rc<dyn Wire> = network.clone();
        let shard = Shard::new(node, endpoint(runs.runs.get()), wire, |_| {
            let journal = Arc::new(Mutex::new(Journal::new(64)));
            let rules = move || Arc::clone(&rules);
            let dispatcher = Dispatcher::new(rules, journal, Rc::new(Nothing), Rc::new(Nothing));
            Rc::new(dispatcher.with_controlling(role))
        });
        let cx = shard.cx();
        tokio::task::spawn_local(shard.run(inputs));
        exploder.start(&cx);
        let (store, calls) = (Arc::clone(&runs.store), Cell::new(0));
        World { exploder, store, network, core, calls }
    }

    /// From now on requests are answered so.
    fn script(&self, script: impl FnMut(&Request) -> Answer + 'static) {
        *self.network.script.borrow_mut() = Box::new(script);
    }

    /// From now on every request is answered so.
    fn answers(&self, answer: Answer) {
        self.script(move |_| answer);
    }

    /// What left so far, retransmissions aside, by recipient.
    fn sent(&self) -> Vec<Sent> {
        self.network.sent.borrow().clone()
    }

    /// To whom.
    fn recipients(&self) -> Vec<String> {
        self.sent().iter().map(Sent::to).collect()
    }

    async fn after(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    /// Gives a request of the S-CSCF to the server; its answer a moment later.
    async fn give(&self, text: &str) -> Response {
        let before = self.network.answers.borrow().len();
        self.tell(text).await;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if let Some(answer) = self.network.answers.borrow().get(before) {
                return answer.clone();
            }
        }
        panic!("no answer to {text}");
    }

    /// Gives a message of the S-CSCF to the server.
    async fn tell(&self, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let input = received(ListenerId(0), bytes, Instant::now());
        self.network.queue.send(input).await.expect("the shard runs");
    }

    /// Alice sends a message of a call of its own.
    async fn send(&self, to: &str, headers: &str, content: (&str, &str)) -> Response {
        self.calls.set(self.calls.get() + 1);
        self.give(&message(to, self.calls.get(), headers, content)).await
    }

    /// Alice sends "hi" to a list; `entries` are those of the document.
    async fn explode(&self, entries: &str) -> u16 {
        let body = parts(&[TEXT, &list(entries)]);
        self.send(EXPLODER, REQUIRE, (MIXED, &body)).await.status()
    }

    /// How many explosions are kept.
    async fn kept(&self) -> usize {
        self.store.explosions(ExplosionId(0), 100).await.expect("the store works").len()
    }
}

const MIXED: &str = "multipart/mixed;boundary=bx";
const REQUIRE: &str = "Require: recipient-list-message\r\n";
const TEXT: &str = "Content-Type: text/plain\r\n\r\nhi";

/// A MESSAGE of Alice. A line of `headers` that begins like one of its own stands for it.
fn message(to: &str, call: u32, headers: &str, (content_type, body): (&str, &str)) -> String {
    let own = [
        format!("Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKcall{call}"),
        "Max-Forwards: 68".to_owned(),
        "From: \"Alice\" <sip:alice@ims.test>;tag=a1".to_owned(),
        format!("To: <{to}>"),
        format!("Call-ID: call-{call}"),
        "CSeq: 1 MESSAGE".to_owned(),
        "P-Asserted-Identity: <sip:alice@ims.test>".to_owned(),
        "Accept-Contact: *;+g.oma.sip-im;require;explicit".to_owned(),
        format!("Content-Type: {content_type}"),
    ];
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let given: Vec<&str> = headers.lines().collect();
    let own = own.iter().filter(|line| !given.iter().any(|other| name(other) == name(line)));
    let mut text = format!("MESSAGE {to} SIP/2.0\r\n");
    own.map(String::as_str).chain(given.iter().copied()).for_each(|line| {
        text.push_str(line);
        text.push_str("\r\n");
    });
    format!("{text}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A multipart body.
fn parts(parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--bx\r\n{part}\r\n")).collect();
    format!("{parts}--bx--\r\n")
}

/// A part with a list of recipients.
fn list(entries: &str) -> String {
    format!(
        "Content-Type: application/resource-lists+xml\r\n\
         Content-Disposition: recipient-list\r\n\r\n\
         <resource-lists xmlns='urn:ietf:params:xml:ns:resource-lists' \
         xmlns:cp='urn:ietf:params:xml:ns:copycontrol'><list>{entries}</list></resource-lists>"
    )
}

/// Entries for so many users.
fn users(count: usize) -> String {
    (0..count).map(|number| format!("<entry uri='sip:u{number}@ims.test'/>")).collect()
}

fn node(store: &Store, clock: Clock, queue: mpsc::Sender<ShardInput>) -> Node {
    let socket =
        Socket { id: ListenerId(0), transport: Transport::Udp, sent_by: "127.0.0.20:5080".into() };
    Node {
        clock,
        locals: Locals(vec![socket]),
        next_hop: Uri::parse(b"sip:127.0.0.10:5060")
            .ok()
            .and_then(|uri| NextHop::of(&uri, ListenerId(0))),
        udp_octets_max: 65_000,
        lag_max: Duration::from_secs(1),
        registrations: Arc::clone(&store.registrations),
        profiles: Arc::clone(&store.profiles),
        inboxes: Arc::clone(&store.inboxes),
        shards: vec![queue],
    }
}

fn endpoint(run: u64) -> Endpoint {
    let config = EndpointConfig {
        sent_by: vec!["127.0.0.20:5080".into()],
        server_transactions_max: 1000,
        unanswered_max: 1000,
        client_transactions_max: 1000,
        ..EndpointConfig::default()
    };
    let mut state = run.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let entropy = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(run);
        state ^ (state >> 29)
    };
    Endpoint::new(config, Box::new(entropy))
}

fn rules(store: &Store, marks: &Marks) -> Rules {
    let mut services = Services::new();
    services.own("127.0.0.20", None);
    services.domain("ims.test");
    services.listener(ListenerId(0), SessionCase::Originating);
    services.running.controlling = true;
    let aor = |text: &str| text.parse::<Aor>().expect("an address");
    services.identity(aor(EXPLODER), Service::Exploder);
    services.identity(aor(FACTORY), Service::ConferenceFactory);
    for group in [CHESS, "sip:lonely@ims.test", "sip:nobody@ims.test"] {
        services.identity(aor(group), Service::Group);
    }
    let decider = Decider {
        trust: Trust::new(Vec::new(), true).expect("it trusts the core"),
        services,
        marks: marks.clone(),
        filter: Vec::new(),
        policy: DecisionPolicy::default(),
        profiles: Arc::clone(&store.profiles),
        registrations: Arc::clone(&store.registrations),
    };
    let registrar = Registrar::new(
        Arc::clone(&store.profiles),
        Arc::clone(&store.registrations),
        RegistrationPolicy::default(),
    );
    Rules { decider, registrar, gate: None, refusals: RefusalPolicy::default() }
}
