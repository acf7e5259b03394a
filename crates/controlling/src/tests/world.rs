//! A server of one shard, and users whose messages a test writes and reads.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
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
    Clock, Cx, Decider, Dispatcher, Local, Locals, Lookup, Marks, NextHop, Node, RefusalPolicy,
    RegistrationEvents, Rules, SessionCase, Shard, ShardInput, Socket, Targets, Wire,
};
use parlance_sip::message::Limits;
use parlance_sip::uri::{Aor, Uri};
use parlance_sip::{
    ClientKey, Endpoint, EndpointConfig, ListenerId, Message, Source, Target, Transport,
};
use parlance_store::Store;
use tokio::sync::mpsc;

use super::media::Core;
use super::passing::{Loans, Passing};
use crate::groups::{Group, Groups, GroupsUnavailable};
use crate::policy::Policy;
use crate::quota::Quota;
use crate::register::Register;
use crate::role::{Controlling, Setup};

pub(super) const FACTORY: &str = "sip:conf@ims.test";
pub(super) const CHESS: &str = "sip:im-group-chess@ims.test";

/// The groups of a test; `None`: they cannot be asked.
#[derive(Default)]
pub(super) struct Shelf(RefCell<Option<HashMap<Aor, Arc<Group>>>>);

impl Groups for Shelf {
    fn group<'a>(
        &'a self,
        identity: &'a Aor,
    ) -> Local<'a, Result<Option<Arc<Group>>, GroupsUnavailable>> {
        let groups = self.0.borrow();
        let found = groups.as_ref().map(|groups| groups.get(identity).cloned());
        Box::pin(async move { found.ok_or(GroupsUnavailable) })
    }
}

impl Shelf {
    pub(super) fn put(&self, group: Group) {
        let mut groups = self.0.borrow_mut();
        let groups = groups.get_or_insert_default();
        groups.insert(group.identity().clone(), Arc::new(group));
    }

    pub(super) fn clear(&self) {
        *self.0.borrow_mut() = Some(HashMap::new());
    }

    pub(super) fn close(&self) {
        *self.0.borrow_mut() = None;
    }
}

/// A network that keeps what is sent.
#[derive(Default)]
struct Net(RefCell<Vec<Bytes>>);

impl Wire for Net {
    fn transmit(&self, _: &Target, bytes: Bytes, _: Option<ClientKey>) -> bool {
        self.0.borrow_mut().push(bytes);
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

/// A message that the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen(pub(super) String);

impl Seen {
    pub(super) fn line(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    pub(super) fn is(&self, start: &str) -> bool {
        self.line().starts_with(start)
    }

    pub(super) fn status(&self) -> u16 {
        let code = self.line().strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
        code.and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// All lines of a header.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let head = self.0.split("\r\n\r\n").next().unwrap_or_default();
        let start = format!("{name}: ");
        head.lines().filter_map(|line| line.strip_prefix(start.as_str())).collect()
    }

    /// The first line of a header; empty without one.
    pub(super) fn value(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    pub(super) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// An attribute of its description.
    pub(super) fn attribute(&self, name: &str) -> &str {
        let start = format!("a={name}:");
        let line = self.0.lines().find_map(|line| line.strip_prefix(start.as_str()));
        line.unwrap_or_default()
    }

    /// The URI in its Contact.
    pub(super) fn contact(&self) -> &str {
        self.value("Contact").split(['<', '>']).nth(1).unwrap_or_default()
    }
}

/// A running server and what is around it.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) shelf: Rc<Shelf>,
    pub(super) quota: Arc<Quota>,
    pub(super) register: Arc<Register>,
    /// Places that the participating function has lent.
    pub(super) seats: Rc<Loans>,
    role: Rc<Controlling>,
    cx: Cx,
    net: Rc<Net>,
    queue: mpsc::Sender<ShardInput>,
    tasks: RefCell<tokio::task::LocalSet>,
    /// Everything that was sent so far: it is not seen again when it is repeated.
    known: RefCell<Vec<Bytes>>,
    /// Whether NOTIFY, BYE and CANCEL are answered as they come.
    pub(super) answers: Cell<bool>,
}

impl World {
    pub(super) fn new(policy: Policy) -> Self {
        let store = Store::memory();
        let clock = Clock::new(UNIX_EPOCH + Duration::from_secs(1_790_000_000));
        let (queue, inputs) = mpsc::channel(4096);
        let net = Rc::new(Net::default());
        let (core, shelf, quota) = (Core::new(), Rc::new(Shelf::default()), Arc::default());
        let register = Arc::<Register>::default();
        shelf.clear();
        let rules = Arc::new(rules(&store));
        let policy = Arc::new(policy);
        let setup = Setup {
            groups: shelf.clone(),
            media: core.media(),
            listener: ListenerId(0),
            prefix: "im-sess-".to_owned(),
            domain: "sessions.ims.test".to_owned(),
            quota: Arc::clone(&quota),
            register: Arc::clone(&register),
            clock,
        };
        let role = Rc::new(Controlling::new(move || Arc::clone(&policy), setup));
        let node = Arc::new(node(&store, clock, &queue));
        let wire: Rc<dyn Wire> = net.clone();
        let (controlling, seats) = (role.clone(), Rc::<Loans>::default());
        let lent = Rc::clone(&seats);
        let shard = Shard::new(node, endpoint(), wire, |_| {
            let journal = Arc::new(Mutex::new(Journal::new(64)));
            let rules = move || Arc::clone(&rules);
            let passing = Rc::new(Passing::new(&controlling, &lent));
            let dispatcher = Dispatcher::new(rules, journal, passing, Rc::new(NoEvents));
            Rc::new(dispatcher.with_controlling(controlling))
        });
        let cx = shard.cx();
        let tasks = tokio::task::LocalSet::new();
        tasks.spawn_local(shard.run(inputs));
        let (tasks, known, answers) = (RefCell::new(tasks), RefCell::default(), Cell::new(true));
        Self { core, shelf, quota, register, seats, role, cx, net, queue, tasks, known, answers }
    }

    /// Lets time pass, in which the server does what it has to; what it sent.
    pub(super) async fn pass(&self, time: Duration) -> Vec<Seen> {
        let until = tokio::time::Instant::now() + time;
        let mut all = Vec::new();
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            // What is sent is answered soon, not when all the time has passed.
            self.run(left.min(Duration::from_millis(100))).await;
            let sent = self.sent();
            let answers: Vec<_> = sent.iter().filter_map(|seen| self.answer_to(seen)).collect();
            all.extend(sent);
            let quiet = answers.is_empty();
            for answer in answers {
                self.give(&answer).await;
            }
            if quiet && tokio::time::Instant::now() >= until {
                return all;
            }
        }
    }

    pub(super) async fn seconds(&self, seconds: u64) -> Vec<Seen> {
        self.pass(Duration::from_secs(seconds)).await
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "one test, one task")]
    async fn run(&self, time: Duration) {
        let tasks = self.tasks.borrow();
        tasks.run_until(tokio::time::sleep(time)).await;
    }

    /// What comes of `future`, the server doing its work meanwhile.
    #[expect(clippy::await_holding_refcell_ref, reason = "one test, one task")]
    pub(super) async fn during<T>(&self, future: impl Future<Output = T>) -> T {
        let tasks = self.tasks.borrow();
        tasks.run_until(future).await
    }

    /// A message comes; what the server sends because of it.
    pub(super) async fn send(&self, text: &str) -> Vec<Seen> {
        self.give(text).await;
        self.pass(Duration::from_millis(5)).await
    }

    /// The one message that the server sends because of one that comes.
    pub(super) async fn one(&self, text: &str) -> Seen {
        let mut seen = self.send(text).await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    async fn give(&self, text: &str) {
        let source = Source {
            transport: Transport::Udp,
            remote: "127.0.0.13:6060".parse().unwrap(),
            listener: ListenerId(0),
            connection: None,
            verified: false,
        };
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let input = ShardInput::Received {
            at: tokio::time::Instant::now().into_std(),
            source,
            peer_names: Arc::from([]),
            message: Ok(Message::parse_datagram(bytes, &Limits::default()).unwrap()),
        };
        self.queue.send(input).await.unwrap();
        self.run(Duration::from_millis(1)).await;
    }

    fn sent(&self) -> Vec<Seen> {
        let mut known = self.known.borrow_mut();
        let mut all = Vec::new();
        for bytes in self.net.0.take() {
            if !known.contains(&bytes) {
                known.push(bytes.clone());
                all.push(Seen(String::from_utf8(bytes.to_vec()).unwrap()));
            }
        }
        all
    }

    fn answer_to(&self, seen: &Seen) -> Option<String> {
        let answered = ["NOTIFY ", "BYE ", "CANCEL "].iter().any(|method| seen.is(method));
        (answered && self.answers.get()).then(|| answer(seen, 200, "x", "", ""))
    }

    /// Nothing is left of any session: no room or leg, no dialog or subscription, no count.
    pub(super) async fn is_clean(&self) {
        self.seconds(90).await;
        assert_eq!(self.core.load(), (0, 0), "MSRP sessions, and who takes their events");
        assert_eq!((self.cx.dialogs(), self.seats.get()), (0, 0), "dialogs, places");
        assert_eq!((self.role.running(), self.quota.sessions(), self.quota.users()), (0, 0, 0));
        assert_eq!(self.cx.load(), (0, 0, 0), "transactions");
    }

    /// What was sent before is seen again when it is repeated.
    pub(super) fn forget(&self) {
        self.known.borrow_mut().clear();
    }

    /// Tells all sessions that the server stops.
    pub(super) fn drain(&self) {
        self.cx.drain_sessions();
    }

    pub(super) fn dialogs(&self) -> usize {
        self.cx.dialogs()
    }
}

/// The response of a user to a request of the server.
pub(super) fn answer(request: &Seen, status: u16, tag: &str, extra: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status} X\r\n");
    for name in ["Via", "Record-Route", "From"] {
        for value in request.all(name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let to = request.value("To");
    let tag = if to.contains(";tag=") { String::new() } else { format!(";tag={tag}") };
    text.push_str(&format!("To: {to}{tag}\r\n"));
    for name in ["Call-ID", "CSeq"] {
        text.push_str(&format!("{name}: {}\r\n", request.value(name)));
    }
    text.push_str(extra);
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    text
}

/// A user with one client.
#[derive(Clone, Debug)]
pub(super) struct Ue {
    pub(super) name: &'static str,
    call_id: String,
    cseq: u32,
    /// The other end of the dialog, from its Contact, and its To.
    target: String,
    to: String,
}

static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

impl Ue {
    /// A user of `ims.test`, calling for the first time.
    pub(super) fn new(name: &'static str) -> Self {
        let number = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let call_id = format!("{name}-{number}");
        Self { name, call_id, cseq: 0, target: String::new(), to: String::new() }
    }

    /// Where his requests in the dialog go.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// A request outside a dialog. A line of `extra` takes the place of one of its own.
    pub(super) fn request(&mut self, method: &str, to: &str, extra: &str, body: &str) -> String {
        self.cseq += 1;
        to.clone_into(&mut self.target);
        self.to = format!("<{to}>");
        self.text(method, self.cseq, extra, body)
    }

    /// An INVITE with a description.
    pub(super) fn invite(&mut self, to: &str, extra: &str) -> String {
        let body = sdp(self.name);
        self.request("INVITE", to, &format!("Content-Type: application/sdp\r\n{extra}"), &body)
    }

    /// An INVITE with a description and a list.
    pub(super) fn invite_list(&mut self, extra: &str, entries: &str) -> String {
        let body = format!(
            "--b\r\nContent-Type: application/sdp\r\n\r\n{}\r\n--b\r\n\
             Content-Type: application/resource-lists+xml\r\n\
             Content-Disposition: recipient-list\r\n\r\n{}\r\n--b--\r\n",
            sdp(self.name),
            list(entries)
        );
        let head = "Content-Type: multipart/mixed;boundary=b\r\nRequire: recipient-list-invite\r\n";
        self.request("INVITE", FACTORY, &format!("{head}{extra}"), &body)
    }

    /// A request in the dialog that a response of the server has made.
    pub(super) fn within(&mut self, method: &str, extra: &str, body: &str) -> String {
        if !matches!(method, "ACK" | "CANCEL") {
            self.cseq += 1;
        }
        self.text(method, self.cseq, extra, body)
    }

    fn text(&self, method: &str, cseq: u32, extra: &str, body: &str) -> String {
        let name = self.name;
        let number = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // A CANCEL belongs to the transaction of its INVITE.
        let branch = match method {
            "INVITE" | "CANCEL" => format!("{}-{cseq}-i", self.call_id),
            _ => format!("{}-{number}", self.call_id),
        };
        let own = [
            format!("Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bK{branch}"),
            "Max-Forwards: 68".to_owned(),
            "Record-Route: <sip:127.0.0.13:6060;lr>".to_owned(),
            format!("From: <sip:{name}@ims.test>;tag=t-{name}"),
            format!("To: {}", self.to),
            format!("Call-ID: {}", self.call_id),
            format!("CSeq: {cseq} {method}"),
            format!("Contact: <sip:{name}@10.0.0.1:5060>;+g.oma.sip-im"),
            format!("P-Asserted-Identity: <sip:{name}@ims.test>"),
            format!("P-Served-User: <sip:{name}@ims.test>;sescase=orig;regstate=reg"),
            "Accept-Contact: *;+g.oma.sip-im".to_owned(),
        ];
        let mut head = format!("{method} {} SIP/2.0\r\n", self.target);
        let key = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        let given: Vec<&str> = extra.split("\r\n").filter(|line| !line.is_empty()).collect();
        for line in &own {
            if !given.iter().any(|other| key(other) == key(line)) {
                head.push_str(&format!("{line}\r\n"));
            }
        }
        for line in given {
            head.push_str(&format!("{line}\r\n"));
        }
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Takes over the dialog that a response to his request makes.
    pub(super) fn learn(&mut self, response: &Seen) {
        response.value("To").clone_into(&mut self.to);
        if !response.contact().is_empty() {
            response.contact().clone_into(&mut self.target);
        }
    }

    /// His dialog as the server knows it (RFC 3891 §6.1).
    pub(super) fn replaces(&self) -> String {
        let tag = self.to.rsplit(";tag=").next().unwrap_or_default();
        format!("{};to-tag={tag};from-tag=t-{}", self.call_id, self.name)
    }

    /// Takes over the dialog that an INVITE of the server makes, with the tag he answers with.
    pub(super) fn called(&mut self, invite: &Seen) {
        invite.value("Call-ID").clone_into(&mut self.call_id);
        invite.value("From").clone_into(&mut self.to);
        invite.contact().clone_into(&mut self.target);
        self.cseq = 100;
    }
}

/// The description of a client; the server waits for its connection.
pub(super) fn sdp(name: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
         m=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
         a=accept-wrapped-types:*\r\na=path:msrp://10.0.0.1:7654/{name};tcp\r\na=setup:active\r\n\
         a=chatroom:nickname private-messages\r\n"
    )
}

/// A list of recipients.
pub(super) fn list(entries: &str) -> String {
    format!(
        "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
         xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>{entries}</list></resource-lists>"
    )
}

/// Entries that everybody may see.
pub(super) fn entries(names: &[&str]) -> String {
    let entry = |name: &&str| format!("<entry uri=\"sip:{name}@ims.test\" cp:copyControl=\"to\"/>");
    names.iter().map(entry).collect()
}

impl World {
    /// A user joins a session or group; his dialog, and the 200.
    pub(super) async fn join(&self, name: &'static str, to: &str, extra: &str) -> (Ue, Seen) {
        let mut ue = Ue::new(name);
        let sent = self.send(&ue.invite(to, extra)).await;
        let ok = sent.iter().find(|seen| seen.status() >= 200).expect("a final response").clone();
        assert_eq!(ok.status(), 200, "{ok:?}");
        ue.learn(&ok);
        self.send(&ue.within("ACK", "", "")).await;
        (ue, ok)
    }

    /// A user whom the server calls accepts; his dialog.
    pub(super) async fn accept(
        &self,
        name: &'static str,
        invite: &Seen,
        extra: &str,
    ) -> (Ue, Vec<Seen>) {
        let mut ue = Ue::new(name);
        ue.called(invite);
        let head = format!(
            "Contact: <sip:{name}@10.0.0.2:5060>;+g.oma.sip-im\r\n{extra}\
             Content-Type: application/sdp\r\n"
        );
        let text = answer(invite, 200, &format!("t-{name}"), &head, &sdp(name));
        (ue, self.send(&text).await)
    }

    /// Alice makes a conference of these users, who all accept.
    pub(super) async fn conference(&self, names: &[&'static str]) -> (Ue, Vec<Ue>) {
        let mut alice = Ue::new("alice");
        let sent = self.send(&alice.invite_list("", &entries(names))).await;
        let mut others = Vec::new();
        for name in names {
            let invite = invitation(&sent, name);
            let (ue, sent) = self.accept(name, &invite, "").await;
            if let Some(ok) = sent.iter().find(|seen| seen.status() == 200) {
                alice.learn(ok);
                self.send(&alice.within("ACK", "", "")).await;
            }
            others.push(ue);
        }
        (alice, others)
    }
}

/// The INVITE to a user among what was sent.
#[track_caller]
pub(super) fn invitation(sent: &[Seen], name: &str) -> Seen {
    let start = format!("INVITE sip:{name}@");
    let found = sent.iter().find(|seen| seen.is(&start));
    found.unwrap_or_else(|| panic!("no INVITE to {name}: {sent:?}")).clone()
}

/// The first lines of what was sent, short.
pub(super) fn lines(sent: &[Seen]) -> Vec<String> {
    let short = |seen: &Seen| match seen.status() {
        0 => seen.line().trim_end_matches(" SIP/2.0").to_owned(),
        status => format!("{status} {}", seen.value("CSeq")),
    };
    sent.iter().map(short).collect()
}

const SENT_BY: &str = "127.0.0.20:5080";

fn node(store: &Store, clock: Clock, queue: &mpsc::Sender<ShardInput>) -> Node {
    let socket =
        Socket { id: ListenerId(0), transport: Transport::Udp, sent_by: SENT_BY.to_owned() };
    let next = Uri::parse(b"sip:127.0.0.13:6060").unwrap();
    Node {
        clock,
        locals: Locals(vec![socket]),
        next_hop: NextHop::of(&next, ListenerId(0)),
        udp_octets_max: 65_000,
        lag_max: Duration::from_secs(3600),
        registrations: Arc::clone(&store.registrations),
        profiles: Arc::clone(&store.profiles),
        inboxes: Arc::clone(&store.inboxes),
        shards: vec![queue.clone()],
    }
}

fn endpoint() -> Endpoint {
    let config = EndpointConfig {
        sent_by: vec![SENT_BY.to_owned()],
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

fn rules(store: &Store) -> Rules {
    let mut services = Services::new();
    services.own("127.0.0.20", None);
    services.domain("ims.test");
    services.identity(FACTORY.parse().unwrap(), Service::ConferenceFactory);
    services.family("im-group-", "ims.test", Service::Group);
    services.family("im-sess-", "sessions.ims.test", Service::Session);
    services.listener(ListenerId(0), SessionCase::Originating);
    services.running.controlling = true;
    let decider = Decider {
        trust: Trust::new(Vec::new(), true).unwrap(),
        services,
        marks: Marks::new([9; 32]),
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
