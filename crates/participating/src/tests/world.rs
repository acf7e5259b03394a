//! A server of one shard between a scripted network and a scripted deferred function.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use parlance_isc::decision::DecisionPolicy;
use parlance_isc::journal::Journal;
use parlance_isc::registration::{Registrar, RegistrationEvent, RegistrationPolicy};
use parlance_isc::service::{Service, Services};
use parlance_isc::session::Invite;
use parlance_isc::trust::Trust;
use parlance_isc::{
    Cause, Clock, Cx, Decider, Deferral, Dispatcher, Incoming, Local, Locals, Lookup, Marks, Media,
    NextHop, Node, Offered, Rates, RefusalPolicy, RegistrationEvents, Role, Rules, SessionCase,
    Shard, ShardInput, Socket, Targets, Wire,
};
use parlance_sip::{
    ClientKey, Endpoint, EndpointConfig, ListenerId, Message, Request, ResponseBuilder, Source,
    Target, Transport,
};
use parlance_store::{Binding, ChargingAddresses, Contact, Memory, Profile, Seq, Store, UserId};
use tokio::sync::mpsc;

use crate::access::Lists;
use crate::content::ContentFilter;
use crate::event::{Event, EventSink, Step};
use crate::history::History;
use crate::policy::Policy;
use crate::role::Participating;

/// What a world begins with.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    /// Profiles; who has none and is no contact is unknown.
    pub(crate) profiles: Vec<Profile>,
    /// Users who are registered, and whether their client has the feature tag.
    pub(crate) registered: Vec<(&'static str, bool)>,
    /// The deferred function; `None`: there is none.
    pub(crate) deferral: Option<Rc<Script>>,
    pub(crate) decisions: DecisionPolicy,
    /// Whether the core says nothing of who is registered.
    pub(crate) silent_core: bool,
    pub(crate) filter: Option<Rc<dyn ContentFilter>>,
    pub(crate) lists: Option<Rc<dyn Lists>>,
    /// The MSRP cores, if there are any.
    pub(crate) media: Option<Media>,
    /// Who keeps histories.
    pub(crate) history: Option<Rc<dyn History>>,
    /// What conferences are handed to.
    pub(crate) controlling: Option<Rc<dyn Role>>,
    /// Whether sessions can be pre-established.
    pub(crate) pre_established: bool,
}

/// A deferred function that answers as it is told.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) pending: Cell<bool>,
    /// What it answers in turn; then it stores, numbered from 1.
    pub(crate) answers: RefCell<VecDeque<Offered>>,
    /// How long an offer takes.
    pub(crate) takes: Cell<Duration>,
    pub(crate) offered: RefCell<Vec<(UserId, Cause)>>,
    /// INVITEs it took; answered 480.
    pub(crate) taken: RefCell<Vec<(UserId, Cause)>>,
    pub(crate) withdrawn: RefCell<Vec<(UserId, Seq)>>,
    /// Whose settings it was told to have changed.
    pub(crate) changed: RefCell<Vec<UserId>>,
}

impl Script {
    /// Why each INVITE was given to it.
    pub(crate) fn taken_for(&self) -> Vec<Cause> {
        self.taken.borrow().iter().map(|(_, cause)| *cause).collect()
    }

    pub(crate) fn causes(&self) -> Vec<Cause> {
        self.offered.borrow().iter().map(|(_, cause)| *cause).collect()
    }
}

impl Deferral for Script {
    fn pending<'a>(&'a self, _: &'a Cx, _: &'a UserId) -> Local<'a, bool> {
        Box::pin(async { self.pending.get() })
    }

    fn offer<'a>(
        &'a self,
        _: &'a Cx,
        user: &'a UserId,
        _: &'a Incoming,
        cause: Cause,
    ) -> Local<'a, Offered> {
        Box::pin(async move {
            self.offered.borrow_mut().push((user.clone(), cause));
            let number = self.offered.borrow().len() as u64;
            tokio::time::sleep(self.takes.get()).await;
            let answer = self.answers.borrow_mut().pop_front();
            answer.unwrap_or(Offered::Stored(Seq(number)))
        })
    }

    fn take<'a>(
        &'a self,
        _: &'a Cx,
        user: &'a UserId,
        invite: Invite,
        cause: Cause,
    ) -> Local<'a, ()> {
        self.taken.borrow_mut().push((user.clone(), cause));
        let response = invite.response(480);
        invite.refuse(response);
        Box::pin(async {})
    }

    fn changed(&self, _: &Cx, user: &UserId) {
        self.changed.borrow_mut().push(user.clone());
    }

    fn withdraw<'a>(&'a self, _: &'a Cx, user: &'a UserId, seq: Seq) -> Local<'a, ()> {
        self.withdrawn.borrow_mut().push((user.clone(), seq));
        Box::pin(async {})
    }
}

/// A network that keeps what is sent.
#[derive(Default)]
struct Net {
    sent: RefCell<Vec<(Target, Bytes)>>,
    is_down: Cell<bool>,
}

impl Wire for Net {
    fn transmit(&self, target: &Target, bytes: Bytes, _: Option<ClientKey>) -> bool {
        if self.is_down.get() {
            return false;
        }
        self.sent.borrow_mut().push((*target, bytes));
        true
    }

    fn lookup(&self, _: &NextHop) -> Lookup {
        Box::pin(async { Targets::new() })
    }
}

struct NoEvents;

impl RegistrationEvents for NoEvents {
    fn handle_registration(&self, _: &Cx, _: &RegistrationEvent) {}
}

#[derive(Default)]
struct Trail(RefCell<Vec<(SessionCase, String, Step)>>);

impl EventSink for Trail {
    fn record(&self, event: &Event<'_>) {
        assert!(event.at.0 > 0 && !event.request.call_id().is_empty());
        self.0.borrow_mut().push((event.case, event.user.to_string(), event.step));
    }
}

/// A running server and what is around it.
pub(crate) struct World {
    pub(crate) node: Arc<Node>,
    pub(crate) marks: Marks,
    pub(crate) store: Arc<Memory>,
    /// The policy in force; replace it for a reload.
    pub(crate) policy: Rc<RefCell<Arc<Policy>>>,
    net: Rc<Net>,
    trail: Rc<Trail>,
    queue: mpsc::Sender<ShardInput>,
    calls: Cell<u32>,
    silent_core: bool,
    /// Dropped, every task of the shard is.
    tasks: RefCell<tokio::task::LocalSet>,
}

/// The wall clock of every world when it begins: Mon, 21 Sep 2026 14:13:20 GMT.
pub(crate) const EPOCH: u64 = 1_790_000_000;

impl World {
    /// A server at 127.0.0.20, ports 5080 (originating) and 5081 (terminating), for `ims.test`.
    pub(crate) async fn new(setup: Setup) -> Self {
        let store = Arc::new(Memory::new());
        let all = Store::of(Arc::clone(&store));
        let clock = Clock::new(UNIX_EPOCH + Duration::from_secs(EPOCH));
        for profile in setup.profiles {
            all.profiles.put(profile).await.unwrap();
        }
        for (user, has_im_tag) in setup.registered {
            all.registrations.bind(binding(user, has_im_tag), clock.now()).await.unwrap();
        }
        let (queue, inputs) = mpsc::channel(64);
        let node = Arc::new(node(&all, clock, &queue));
        let net = Rc::new(Net::default());
        let trail = Rc::new(Trail::default());
        let marks = Marks::new([9; 32]);
        let rules = Arc::new(rules(&all, &marks, setup.decisions, setup.pre_established));
        let policy = Rc::new(RefCell::new(Arc::new(setup.policy)));
        let in_force = Rc::clone(&policy);
        let mut role =
            Participating::new(move || in_force.borrow().clone(), Arc::new(Rates::new()))
                .with_events(trail.clone());
        if let Some(script) = setup.deferral {
            role = role.with_deferral(script);
        }
        if let Some(filter) = setup.filter {
            role = role.with_filter(filter);
        }
        if let Some(lists) = setup.lists {
            role = role.with_lists(lists);
        }
        if let Some(history) = setup.history {
            role = role.with_history(history);
        }
        if let Some(media) = setup.media {
            role = role.with_media(media);
        }
        let controlling = setup.controlling;
        if let Some(controlling) = controlling.clone() {
            role = role.with_controlling(controlling);
        }
        let wire: Rc<dyn Wire> = net.clone();
        let shard = Shard::new(Arc::clone(&node), endpoint(), wire, |_| {
            let journal = Arc::new(Mutex::new(Journal::new(64)));
            let rules = move || Arc::clone(&rules);
            let dispatcher = Dispatcher::new(rules, journal, Rc::new(role), Rc::new(NoEvents));
            Rc::new(match controlling {
                Some(controlling) => dispatcher.with_controlling(controlling),
                None => dispatcher,
            })
        });
        let tasks = tokio::task::LocalSet::new();
        tasks.spawn_local(shard.run(inputs));
        let silent_core = setup.silent_core;
        let (tasks, calls) = (RefCell::new(tasks), Cell::new(0));
        Self { node, marks, store, policy, net, trail, queue, calls, silent_core, tasks }
    }

    /// Lets time pass, in which the server does what it has to.
    #[expect(clippy::await_holding_refcell_ref, reason = "one test, one task")]
    pub(crate) async fn pass(&self, time: Duration) {
        let tasks = self.tasks.borrow();
        tasks.run_until(tokio::time::sleep(time)).await;
    }

    /// Ends every task of the server where it stands.
    pub(crate) fn end_tasks(&self) {
        drop(self.tasks.replace(tokio::task::LocalSet::new()));
    }

    pub(crate) fn take_down(&self) {
        self.net.is_down.set(true);
    }

    /// The S-CSCF sends `bytes` to the listener of `case`.
    pub(crate) async fn receive(&self, case: SessionCase, bytes: Bytes) {
        self.receive_together(vec![(case, bytes)]).await;
    }

    /// The same for several requests, of which the server does nothing before it has the last.
    pub(crate) async fn receive_together(&self, all: Vec<(SessionCase, Bytes)>) {
        for (case, bytes) in all {
            let listener = ListenerId(u16::from(case == SessionCase::Terminating));
            let source = Source {
                transport: Transport::Udp,
                remote: "127.0.0.13:6060".parse().unwrap(),
                listener,
                connection: None,
                verified: false,
            };
            let input = ShardInput::Received {
                at: tokio::time::Instant::now().into_std(),
                source,
                peer_names: Arc::from([]),
                message: Ok(super::message(bytes)),
            };
            self.queue.send(input).await.unwrap();
        }
        self.pass(Duration::from_millis(1)).await;
    }

    /// Alice's message to Bob on its way out.
    pub(crate) async fn alice_sends(&self, headers: &str, body: &str) {
        let text = self.text(SessionCase::Originating, headers, body);
        self.receive(SessionCase::Originating, text.into()).await;
    }

    /// Alice's message on its way in to Bob.
    pub(crate) async fn bob_gets(&self, headers: &str, body: &str) {
        let text = self.text(SessionCase::Terminating, headers, body);
        self.receive(SessionCase::Terminating, text.into()).await;
    }

    /// A request of another method, with a description for an INVITE; what was sent.
    pub(crate) async fn asks(
        &self,
        case: SessionCase,
        method: &str,
        headers: &str,
        body: &str,
    ) -> String {
        let mut all = format!("{headers}\nContact: <sip:alice@192.0.2.10:5060>;+g.oma.sip-im");
        if !headers.contains("Content-Type") {
            all.push_str("\nContent-Type: application/sdp");
        }
        let text = self.text(case, &all, body).replace("MESSAGE", method);
        self.receive(case, text.clone().into()).await;
        text
    }

    /// A MESSAGE of a call of its own. A line of `headers` that begins like one of the message's
    /// own stands for it.
    pub(crate) fn text(&self, case: SessionCase, headers: &str, body: &str) -> String {
        let call = self.calls.get() + 1;
        self.calls.set(call);
        let (port, case, user) = match case {
            SessionCase::Originating => (5080, "orig", "alice"),
            SessionCase::Terminating => (5081, "term", "bob"),
        };
        let state = if self.silent_core { "" } else { ";regstate=reg" };
        let own = [
            format!("Route: <sip:127.0.0.20:{port};lr>, <sip:mark@127.0.0.13:6060;lr>"),
            format!("P-Served-User: <sip:{user}@ims.test>;sescase={case}{state}"),
            format!("Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKcall{call}"),
            "Max-Forwards: 68".to_owned(),
            "From: <sip:alice@ims.test>;tag=a1".to_owned(),
            "To: <sip:bob@ims.test>".to_owned(),
            format!("Call-ID: call-{call}"),
            "CSeq: 1 MESSAGE".to_owned(),
            "Accept-Contact: *;+g.oma.sip-im".to_owned(),
            "Content-Type: text/plain".to_owned(),
            "P-Asserted-Identity: <sip:alice@ims.test>".to_owned(),
        ];
        let mut given: Vec<_> = headers.lines().filter(|line| !line.is_empty()).collect();
        let mut uri = "sip:bob@ims.test";
        given.retain(|line| match line.strip_prefix("Request-URI: ") {
            Some(other) => {
                uri = other;
                false
            }
            None => true,
        });
        let mut head = format!("MESSAGE {uri} SIP/2.0\r\n");
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        for line in &own {
            let replaced = given.iter().any(|other| name(other) == name(line));
            if !replaced {
                head.push_str(&format!("{line}\r\n"));
            }
        }
        // A header with nothing behind the colon is one that is left out.
        for line in given.iter().filter(|line| !line.ends_with(':')) {
            head.push_str(&format!("{line}\r\n"));
        }
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    }

    /// What was sent since, but for retransmissions of requests.
    pub(crate) fn sent(&self) -> Vec<Message> {
        let mut seen: Vec<Bytes> = Vec::new();
        for (_, bytes) in self.net.sent.take() {
            if !seen.contains(&bytes) {
                seen.push(bytes);
            }
        }
        seen.into_iter().map(super::message).collect()
    }

    /// The one request that was sent since, and no response.
    #[track_caller]
    pub(crate) fn forwarded(&self) -> Request {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        Request::new(sent.remove(0)).expect("it is a request")
    }

    /// The one response that was sent since, and no request: its status and header lines.
    #[track_caller]
    pub(crate) fn answered(&self) -> Message {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        let response = sent.remove(0);
        assert!(!response.is_request(), "{response:?}");
        response
    }

    #[track_caller]
    pub(crate) fn nothing_was_sent(&self) {
        let sent = self.sent();
        assert!(sent.is_empty(), "{sent:?}");
    }

    /// The other side answers a request that was forwarded to it.
    pub(crate) async fn answer(&self, request: &Request, status: u16) {
        let response = ResponseBuilder::new(request, status, "b1").build();
        self.answer_with(response).await;
    }

    pub(crate) async fn answer_with(&self, response: Bytes) {
        self.receive(SessionCase::Originating, response).await;
    }

    /// The events since.
    pub(crate) fn events(&self) -> Vec<(SessionCase, String, Step)> {
        self.trail.0.take()
    }
}

const SENT_BY: [&str; 2] = ["127.0.0.20:5080", "127.0.0.20:5081"];

fn node(store: &Store, clock: Clock, queue: &mpsc::Sender<ShardInput>) -> Node {
    let sockets = SENT_BY.into_iter().zip(0..).map(|(sent_by, id)| Socket {
        id: ListenerId(id),
        transport: Transport::Udp,
        sent_by: sent_by.to_owned(),
    });
    Node {
        clock,
        locals: Locals(sockets.collect()),
        next_hop: None,
        udp_octets_max: 1300,
        lag_max: Duration::from_secs(1),
        registrations: Arc::clone(&store.registrations),
        profiles: Arc::clone(&store.profiles),
        inboxes: Arc::clone(&store.inboxes),
        shards: vec![queue.clone()],
    }
}

fn endpoint() -> Endpoint {
    let config = EndpointConfig {
        sent_by: SENT_BY.map(str::to_owned).to_vec(),
        server_transactions_max: 1024,
        unanswered_max: 256,
        client_transactions_max: 256,
        server: "IM-serv/OMA1.0 Parlance".to_owned(),
        ..EndpointConfig::default()
    };
    let mut number = 0x5eed_u64;
    let entropy = move || {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        number
    };
    Endpoint::new(config, Box::new(entropy))
}

fn rules(store: &Store, marks: &Marks, policy: DecisionPolicy, pre_established: bool) -> Rules {
    let mut services = Services::new();
    services.own("127.0.0.20", None);
    services.domain("ims.test");
    services.identity("sip:im-conf@ims.test".parse().unwrap(), Service::ConferenceFactory);
    services.identity("sip:im-exploder@ims.test".parse().unwrap(), Service::Exploder);
    services.identity("sip:im-session@ims.test".parse().unwrap(), Service::PreEstablished);
    services.family("im-group-", "ims.test", Service::Group);
    services.running.controlling = true;
    services.running.settings = true;
    services.running.pre_established = pre_established;
    services.listener(ListenerId(0), SessionCase::Originating);
    services.listener(ListenerId(1), SessionCase::Terminating);
    let decider = Decider {
        trust: Trust::new(Vec::new(), true).unwrap(),
        services,
        marks: marks.clone(),
        filter: Vec::new(),
        policy,
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

/// A registration for an hour, of one client.
pub(crate) fn binding(user: &str, has_im_tag: bool) -> Binding {
    let contact =
        Contact { uri: "sip:x@127.0.0.42:5060".to_owned(), has_im_tag, ..Contact::default() };
    Binding {
        user: user.into(),
        public_id: user.to_owned(),
        aliases: Some(Vec::new()),
        scscf: "sip:127.0.0.13:6060".to_owned(),
        expires: 3600,
        grace: Duration::from_secs(30),
        contacts: Some(vec![contact]),
        charging: Some(ChargingAddresses { ccf: vec!["ccf.ims.test".into()], ecf: Vec::new() }),
        orig_ioi: None,
        barred: false,
        call_id: format!("reg-{user}"),
        cseq: 10,
    }
}

/// The status code of a response.
pub(crate) fn status(response: &Message) -> u16 {
    match response.start_line() {
        parlance_sip::message::StartLine::Status { code, .. } => code,
        parlance_sip::message::StartLine::Request { .. } => 0,
    }
}

/// The header lines of a message called `name`.
pub(crate) fn lines(message: &Message, name: parlance_sip::HeaderName) -> Vec<String> {
    message.values(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}
