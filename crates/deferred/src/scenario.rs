//! Stories: one shard over a wire that answers as the story says, on tokio's paused clock.

mod crash;
mod expiry;
mod notify;
mod push;
mod store;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use parlance_isc::media::Media;
use parlance_isc::registration::{Ended, RegistrationEvent};
use parlance_isc::{Arrival, Deferral as _, RegistrationEvents as _};
use parlance_isc::{
    Cause, Clock, Cx, Dispatch, Locals, Lookup, NextHop, Node, Offered, Shard, ShardInput, Socket,
    Targets, Task, Wire,
};
use parlance_sip::message::Limits;
use parlance_sip::uri::Uri;
use parlance_sip::{
    ClientKey, Endpoint, EndpointConfig, HeaderName, ListenerId, Message, Request, ResponseBuilder,
    Source, Target, Transport,
};
use parlance_store::{
    Binding, Bound, ChargingAddresses, Item, Memory, Millis, Profile, Profiles, RegistrationId,
    Registrations, Seq, UserId,
};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::rules::Sender;
use crate::{Deferred, Policy, Setup, keep};

/// 2006-03-01T10:15:30Z: when every story begins.
pub(crate) const T0: Millis = Millis(1_141_208_130_000);
pub(crate) const ALICE: &str = "sip:alice@ims.test";
pub(crate) const BOB: &str = "sip:bob@ims.test";
pub(crate) const SECRET: [u8; 32] = [7; 32];

/// A request from a text.
pub(crate) fn request(text: &str) -> Request {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let message = Message::parse_datagram(bytes, &Limits::default()).expect("it is well-formed");
    Request::new(message).expect("it is a request")
}

/// An item that holds `request`.
pub(crate) fn item(request: &Request) -> Item {
    Item {
        seq: Seq(1),
        recipient: BOB.into(),
        originator: String::new(),
        received: T0,
        expires: Millis::MAX,
        wants_negative_delivery: false,
        private: false,
        attempt: None,
        payload: request.bytes(),
    }
}

/// A setup over a store of its own.
pub(crate) fn setup(policy: Policy) -> Setup {
    let store = Arc::new(Memory::new());
    Setup {
        policy,
        secret: SECRET,
        holder: 1,
        domain: "ims.test".into(),
        listener: ListenerId(0),
        shards: 1,
        inboxes: store.clone(),
        profiles: store,
        media: Media::none(),
    }
}

/// What the other side does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It answers so at once.
    Now(u16),
    /// It answers so after a while.
    After(Duration, u16),
    /// It answers 480 and asks for a time to wait, in seconds.
    RetryAfter(u32),
    /// It never answers.
    Never,
    /// It cannot be reached.
    Unreachable,
}

type Script = Box<dyn FnMut(&Request) -> Answer>;

/// A request that left, and when.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Since the beginning of the story.
    pub(crate) at: Duration,
    pub(crate) target: Target,
    pub(crate) request: Request,
}

impl Sent {
    pub(crate) fn body(&self) -> String {
        String::from_utf8_lossy(self.request.body()).into_owned()
    }

    pub(crate) fn field(&self, name: HeaderName) -> String {
        String::from_utf8_lossy(self.request.field(name).unwrap_or_default()).into_owned()
    }

    pub(crate) fn to(&self) -> String {
        String::from_utf8_lossy(self.request.uri_text()).into_owned()
    }

    pub(crate) fn branch(&self) -> String {
        self.request.top_via().and_then(|via| via.branch().map(str::to_owned)).expect("a branch")
    }

    /// Everything a transaction is recognised by.
    pub(crate) fn identity(&self) -> [String; 4] {
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
    branches: RefCell<HashSet<String>>,
}

impl Wire for Network {
    fn transmit(&self, target: &Target, bytes: Bytes, _: Option<ClientKey>) -> bool {
        let message = Message::parse_datagram(bytes, &Limits::default()).expect("we wrote it");
        let Ok(request) = Request::new(message) else { return true };
        let at = Instant::now().duration_since(self.began);
        let sent = Sent { at, target: *target, request: request.clone() };
        // A retransmission is not told to the story; the answer it gets is on its way.
        if !self.branches.borrow_mut().insert(sent.branch()) {
            return true;
        }
        self.sent.borrow_mut().push(sent);
        let answer = (self.script.borrow_mut())(&request);
        let (wait, status) = match answer {
            Answer::Now(status) => (Duration::ZERO, status),
            Answer::After(wait, status) => (wait, status),
            Answer::RetryAfter(_) => (Duration::ZERO, 480),
            Answer::Never => return true,
            Answer::Unreachable => return false,
        };
        let mut response = ResponseBuilder::new(&request, status, "remote");
        if let Answer::RetryAfter(seconds) = answer {
            response = response.header(HeaderName::RetryAfter, seconds);
        }
        let response = Message::parse_datagram(response.build(), &Limits::default());
        let input = ShardInput::Received {
            at: (Instant::now() + wait).into_std(),
            source: Source {
                transport: target.transport,
                remote: target.remote,
                listener: target.listener,
                connection: None,
                verified: false,
            },
            peer_names: Arc::from([]),
            message: response,
        };
        let queue = self.queue.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            let _ = queue.send(input).await;
        });
        true
    }

    /// There are no names here.
    fn lookup(&self, hop: &NextHop) -> Lookup {
        let found = hop.place.numeric(|_| true).into_iter().flatten().flatten();
        let found: Targets = found.map(|found| hop.target(&found)).collect();
        Box::pin(std::future::ready(found))
    }
}

/// Nobody sends requests to the server in these stories.
struct Nobody;

impl Dispatch for Nobody {
    fn admit(&self, _: &Cx, _: &Source, _: &[String], _: &Message) -> bool {
        false
    }

    fn dispatch(&self, _: Cx, _: Arrival) -> Task {
        Box::pin(std::future::ready(()))
    }
}

/// One run of a server.
pub(crate) struct World {
    pub(crate) cx: Cx,
    pub(crate) deferred: Deferred,
    pub(crate) store: Arc<Memory>,
    network: Rc<Network>,
    calls: Cell<u32>,
}

impl World {
    fn start(policy: Policy, store: Arc<Memory>, clock: Clock, holder: u64) -> World {
        assert_eq!(policy.mistakes(), Vec::<String>::new());
        let (queue, inputs) = mpsc::channel(1024);
        let network = Rc::new(Network {
            began: clock.instant(T0),
            queue: queue.clone(),
            script: RefCell::new(Box::new(|_| Answer::Now(200))),
            sent: RefCell::default(),
            branches: RefCell::default(),
        });
        let socket = |id: u16, transport| Socket {
            id: ListenerId(id),
            transport,
            sent_by: "127.0.0.20:5080".into(),
        };
        let node = Node {
            clock,
            locals: Locals(vec![socket(0, Transport::Udp), socket(1, Transport::Tcp)]),
            next_hop: Uri::parse(b"sip:127.0.0.10:5060")
                .ok()
                .and_then(|uri| NextHop::of(&uri, ListenerId(0))),
            udp_octets_max: 1300,
            lag_max: Duration::from_secs(1),
            registrations: store.clone(),
            profiles: store.clone(),
            inboxes: store.clone(),
            shards: vec![queue],
        };
        let config = EndpointConfig {
            sent_by: vec!["127.0.0.20:5080".into(); 2],
            server_transactions_max: 100,
            unanswered_max: 100,
            client_transactions_max: 1000,
            server: "IM-serv/OMA1.0 Parlance".into(),
            ..EndpointConfig::default()
        };
        let mut state = holder.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let entropy = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(holder);
            state ^ (state >> 29)
        };
        let endpoint = Endpoint::new(config, Box::new(entropy));
        let wire: Rc<dyn Wire> = network.clone();
        let shard = Shard::new(Arc::new(node), endpoint, wire, |_| Rc::new(Nobody));
        let cx = shard.cx();
        tokio::task::spawn_local(shard.run(inputs));
        let setup =
            Setup { holder, inboxes: store.clone(), profiles: store.clone(), ..setup(policy) };
        let deferred = Deferred::new(setup);
        deferred.start(&cx);
        World { cx, deferred, store, network, calls: Cell::new(0) }
    }

    /// From now on requests are answered so.
    pub(crate) fn script(&self, script: impl FnMut(&Request) -> Answer + 'static) {
        *self.network.script.borrow_mut() = Box::new(script);
    }

    /// From now on every request is answered so.
    pub(crate) fn answers(&self, answer: Answer) {
        self.script(move |_| answer.clone());
    }

    /// What left so far, retransmissions aside.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.network.sent.borrow().clone()
    }

    /// The bodies of what left so far.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.sent().iter().map(Sent::body).collect()
    }

    /// When what left so far did, in milliseconds.
    pub(crate) fn times(&self) -> Vec<u128> {
        self.sent().iter().map(|sent| sent.at.as_millis()).collect()
    }

    pub(crate) async fn after(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    /// Waits until so many seconds after the beginning of the story.
    pub(crate) async fn until(&self, seconds: f64) {
        tokio::time::sleep_until(self.network.began + Duration::from_secs_f64(seconds)).await;
    }

    /// Offers a new message.
    pub(crate) async fn offer(&self, from: &str, body: &str, cause: Cause) -> Offered {
        self.offer_with(from, "", body, cause).await
    }

    /// Offers a new message with more header fields, each with its line end.
    pub(crate) async fn offer_with(
        &self,
        from: &str,
        headers: &str,
        body: &str,
        cause: Cause,
    ) -> Offered {
        self.calls.set(self.calls.get() + 1);
        let call_id = format!("call-{}-{}", self.deferred.shared().holder, self.calls.get());
        self.offer_request(from, &message(from, &call_id, headers, body), cause).await
    }

    pub(crate) async fn offer_request(&self, from: &str, text: &str, cause: Cause) -> Offered {
        let request = request(text);
        let identities = [from.parse().expect("an identity")];
        let private = keep::is_private(&request);
        let sender = Sender { identities: &identities, private };
        self.deferred.offer_from(&self.cx, &BOB.into(), &request, &sender, cause).await
    }

    /// Keeps messages for a user who is away.
    pub(crate) async fn keep(&self, bodies: &[&str]) {
        for body in bodies {
            let offered = self.offer(ALICE, body, Cause::Unregistered).await;
            assert!(matches!(offered, Offered::Stored(_)), "{offered:?}");
        }
    }

    /// A REGISTER for an hour, as the registration side handles it.
    pub(crate) async fn register(&self, user: &str) -> RegistrationId {
        let user = UserId::from(user);
        self.calls.set(self.calls.get() + 1);
        // Every third-party REGISTER has a Call-ID of its own.
        let call_id = format!("reg-{}-{}", self.deferred.shared().holder, self.calls.get());
        let binding = Binding { call_id, ..binding(user.as_str()) };
        let bound = self.store.bind(binding, self.cx.now()).await.expect("bound");
        let (registration, new) = match bound {
            Bound::New(registration) => (registration, true),
            Bound::Refreshed(registration) => (registration, false),
            Bound::Stale => panic!("every REGISTER has a Call-ID of its own"),
        };
        let id = registration.id;
        let event = RegistrationEvent::Registered { registration, new, first_ever: false };
        self.deferred.handle_registration(&self.cx, &event);
        id
    }

    pub(crate) async fn deregister(&self, user: &str) {
        let user = UserId::from(user);
        let was = self.store.unbind(&user).await.expect("unbound");
        let registration = was.expect("he was registered");
        let event = RegistrationEvent::Deregistered { user, registration, why: Ended::ByCore };
        self.deferred.handle_registration(&self.cx, &event);
    }

    pub(crate) async fn profile(&self, change: impl FnOnce(&mut Profile)) {
        let mut profile = Profile::new(BOB.into(), T0);
        change(&mut profile);
        self.store.put(profile).await.expect("written");
    }

    pub(crate) async fn pending(&self) -> bool {
        self.deferred.pending(&self.cx, &BOB.into()).await
    }

    pub(crate) fn quota(&self) -> parlance_store::Quota {
        self.deferred.shared().policy().quota()
    }

    /// How many messages wait for Bob.
    pub(crate) async fn kept(&self) -> u64 {
        use parlance_store::Inboxes as _;
        self.store.counts(&BOB.into()).await.expect("counted").items
    }

    /// Whether another node could serve Bob now.
    pub(crate) fn is_free(&self) -> bool {
        use parlance_store::Inboxes as _;
        let now = self.cx.now();
        at_once(self.store.lease(&BOB.into(), 99, now, now)).is_some()
    }

    /// Whether Bob's inbox is due by now.
    pub(crate) async fn is_due(&self) -> bool {
        use parlance_store::Inboxes as _;
        !self.store.due(self.cx.now(), 10).await.expect("read").is_empty()
    }
}

pub(crate) fn binding(user: &str) -> Binding {
    Binding {
        user: user.into(),
        public_id: user.into(),
        aliases: None,
        scscf: "sip:127.0.0.13:6060".into(),
        expires: 3600,
        grace: Duration::from_secs(30),
        contacts: None,
        charging: Some(ChargingAddresses { ccf: vec!["ccf.ims.test".into()], ecf: Vec::new() }),
        orig_ioi: Some("ims.test".into()),
        barred: false,
        call_id: "reg".into(),
        cseq: 10,
    }
}

/// A MESSAGE for Bob as the S-CSCF sends it.
pub(crate) fn message(from: &str, call_id: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let content =
        if headers.contains("Content-Type") { "" } else { "Content-Type: text/plain\r\n" };
    format!(
        "MESSAGE {BOB} SIP/2.0\r\n\
         Route: <sip:im-term@127.0.0.20:5081;lr>, <sip:iscmark@127.0.0.13:6060;lr>\r\n\
         P-Served-User: <{BOB}>;sescase=term;regstate=unreg\r\n\
         Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bK{call_id}\r\n\
         Max-Forwards: 64\r\nFrom: <{from}>;tag=t1\r\nTo: <{BOB}>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 MESSAGE\r\nP-Asserted-Identity: <{from}>\r\n\
         {headers}{content}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Tells one run of a server.
pub(crate) async fn story(policy: Policy, tell: impl AsyncFnOnce(&World)) {
    runs(policy, Arc::new(Memory::new())).run(tell).await;
}

/// Runs of servers over one store, one after the other: at the end of each the process is killed.
pub(crate) struct Runs {
    policy: Policy,
    store: Arc<Memory>,
    clock: Clock,
    holder: u64,
}

pub(crate) fn runs(policy: Policy, store: Arc<Memory>) -> Runs {
    let anchor = UNIX_EPOCH + Duration::from_millis(T0.0);
    Runs { policy, store, clock: Clock::new(anchor), holder: 0 }
}

impl Runs {
    pub(crate) async fn run(&mut self, tell: impl AsyncFnOnce(&World)) {
        self.holder += 1;
        let (policy, store) = (self.policy.clone(), Arc::clone(&self.store));
        let set = LocalSet::new();
        let told = async {
            let world = World::start(policy, store, self.clock, self.holder);
            tell(&world).await;
        };
        set.run_until(told).await;
    }

    /// The node of the last run once more.
    pub(crate) async fn again(&mut self, tell: impl AsyncFnOnce(&World)) {
        self.holder -= 1;
        self.run(tell).await;
    }

    /// Two servers that share the store, at the same time.
    pub(crate) async fn run_two(&mut self, tell: impl AsyncFnOnce(&World, &World)) {
        self.holder += 2;
        let start =
            |holder| World::start(self.policy.clone(), Arc::clone(&self.store), self.clock, holder);
        let set = LocalSet::new();
        let told = async { tell(&start(self.holder - 1), &start(self.holder)).await };
        set.run_until(told).await;
    }
}

/// The result of a store operation in memory, which is there at the first poll.
pub(crate) fn at_once<T>(mut pending: parlance_store::Pending<'_, T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match pending.as_mut().poll(&mut context) {
        std::task::Poll::Ready(result) => result.expect("the store works"),
        std::task::Poll::Pending => panic!("memory does not wait"),
    }
}
