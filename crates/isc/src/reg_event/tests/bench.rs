//! A server on virtual time and the S-CSCF it serves.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use parlance_sip::endpoint::shard_of;
use parlance_sip::message::Limits;
use parlance_sip::{
    ClientKey, Endpoint, EndpointConfig, ListenerId, Message, Source, Target, Transport,
};
use parlance_store::{Registration, Store, UserId};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::RegEventPolicy;
use crate::decision::DecisionPolicy;
use crate::journal::Journal;
use crate::registration::{Registrar, RegistrationEvent, RegistrationPolicy};
use crate::trust::Trust;
use crate::{
    Clock, Cx, Decider, Dispatcher, Incoming, Locals, Lookup, Marks, NextHop, Node, RefusalPolicy,
    RegistrationEvents, Role, Rules, Shard, ShardInput, Socket, Task, Wire,
};

pub(super) const TAG: &str = "<unknown-param name='+g.oma.sip-im'/>";
pub(super) const OTHER_TAG: &str = "<unknown-param name='+g.3gpp.smsip'/>";

/// The S-CSCF: what reached it.
#[derive(Default)]
struct Scscf {
    sent: RefCell<VecDeque<(Target, String)>>,
}

impl Wire for Scscf {
    fn transmit(&self, target: &Target, bytes: Bytes, _: Option<ClientKey>) -> bool {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.sent.borrow_mut().push_back((*target, text));
        true
    }

    fn lookup(&self, _: &NextHop) -> Lookup {
        Box::pin(std::future::ready(crate::Targets::new()))
    }
}

/// What was told of registrations, in few words.
#[derive(Default)]
struct Told(RefCell<Vec<String>>);

impl RegistrationEvents for Told {
    fn handle_registration(&self, _: &Cx, event: &RegistrationEvent) {
        self.0.borrow_mut().push(match event {
            RegistrationEvent::Registered { new, .. } => format!("registered new={new}"),
            RegistrationEvent::Deregistered { why, .. } => format!("gone {why:?}"),
        });
    }
}

/// No request gets to a role here.
struct Nobody;

impl Role for Nobody {
    fn transaction(self: Rc<Self>, _: Cx, request: Incoming) -> Task {
        Box::pin(async move { drop(request) })
    }
}

/// A server of `shards` shards, and the S-CSCF it serves.
pub(super) struct Bench {
    queues: Vec<mpsc::Sender<ShardInput>>,
    scscf: Rc<Scscf>,
    told: Rc<Told>,
    store: Store,
}

fn rules(store: &Store) -> Rules {
    let decider = Decider {
        trust: Trust::new(Vec::new(), true).unwrap(),
        services: crate::fixture::services(),
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

pub(super) fn policy() -> RegEventPolicy {
    let policy = RegEventPolicy::new("sip:im-as.ims.test", ListenerId(0));
    RegEventPolicy { orig_ioi: Some("home1.example".to_owned()), expires: 3_600, ..policy }
}

impl Bench {
    pub(super) fn new(shards: u8, policy: Option<RegEventPolicy>) -> Self {
        let store = Store::memory();
        let (queues, inputs): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(64)).unzip();
        let sent_by = "127.0.0.20:5080".to_owned();
        let local = Socket { id: ListenerId(0), transport: Transport::Udp, sent_by };
        let node = Arc::new(Node {
            clock: Clock::new(UNIX_EPOCH + Duration::from_secs(1_790_000_000)),
            locals: Locals(vec![local.clone()]),
            next_hop: None,
            udp_octets_max: 65_535,
            lag_max: Duration::from_secs(1),
            registrations: Arc::clone(&store.registrations),
            profiles: Arc::clone(&store.profiles),
            inboxes: Arc::clone(&store.inboxes),
            shards: queues.clone(),
        });
        let (scscf, told) = (Rc::new(Scscf::default()), Rc::new(Told::default()));
        let rules = Arc::new(rules(&store));
        for (number, queue) in (0..shards).zip(inputs) {
            let config = EndpointConfig {
                shard: number,
                sent_by: vec![local.sent_by.clone()],
                server_transactions_max: 64,
                unanswered_max: 32,
                client_transactions_max: 64,
                ..EndpointConfig::default()
            };
            let mut next = u64::from(number) << 32;
            let entropy = move || {
                next += 1;
                next
            };
            let wire: Rc<dyn Wire> = scscf.clone();
            let endpoint = Endpoint::new(config, Box::new(entropy));
            let shard = Shard::new(Arc::clone(&node), endpoint, wire, |_| {
                let (rules, journal) = (Arc::clone(&rules), Arc::new(Mutex::new(Journal::new(8))));
                let rules = move || Arc::clone(&rules);
                let dispatcher = Dispatcher::new(rules, journal, Rc::new(Nobody), told.clone());
                match policy.clone() {
                    Some(policy) => Rc::new(dispatcher.with_reg_event(policy)),
                    None => Rc::new(dispatcher),
                }
            });
            tokio::task::spawn_local(shard.run(queue));
        }
        Self { queues, scscf, told, store }
    }

    pub(super) async fn receive(&self, text: &str) {
        self.queue(text).await;
        self.settle().await;
    }

    pub(super) async fn queue(&self, text: &str) {
        let source = Source {
            transport: Transport::Udp,
            remote: "127.0.0.13:6060".parse().unwrap(),
            listener: ListenerId(0),
            connection: None,
            verified: false,
        };
        let bytes = Bytes::from(text.to_owned());
        let message = Message::parse_datagram(bytes, &Limits::default()).unwrap();
        let shard = shard_of(&message, self.queues.len());
        let at = tokio::time::Instant::now().into_std();
        let message = Ok(message);
        let input = ShardInput::Received { at, source, peer_names: Arc::from([]), message };
        self.queues[shard].send(input).await.unwrap();
    }

    pub(super) async fn settle(&self) {
        for _ in 0..40 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn wait(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.settle().await;
    }

    /// What was sent since, oldest first.
    pub(super) fn sent(&self) -> Vec<String> {
        self.scscf.sent.borrow_mut().drain(..).map(|(_, text)| text).collect()
    }

    /// The one message sent since.
    #[track_caller]
    pub(super) fn one(&self) -> String {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.remove(0)
    }

    /// What was told since.
    pub(super) fn told(&self) -> String {
        self.told.0.borrow_mut().drain(..).collect::<Vec<_>>().join(", ")
    }

    pub(super) async fn alice(&self) -> Option<Arc<Registration>> {
        let user = UserId::from("sip:alice@ims.test");
        self.store.registrations.lookup(&user).await.unwrap()
    }

    /// A third-party REGISTER; the SUBSCRIBE that follows, if one does.
    pub(super) async fn register(&self, user: &str, call_id: u32, expires: u32) -> Option<String> {
        self.receive(&format!(
            "REGISTER sip:127.0.0.20:5080 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKr{user}{call_id}\r\n\
             Max-Forwards: 10\r\nTo: <sip:{user}@ims.test>\r\nFrom: <sip:127.0.0.13:6060>;tag=x\r\n\
             CSeq: 10 REGISTER\r\nCall-ID: {call_id}\r\nExpires: {expires}\r\n\
             P-Charging-Function-Addresses: ccf=192.0.2.40\r\n\
             Contact: <sip:scscf@127.0.0.13:6060>\r\n\r\n"
        ))
        .await;
        let mut sent = self.sent();
        assert!(sent[0].starts_with("SIP/2.0 200 "), "the answer goes first: {sent:#?}");
        sent.truncate(2);
        (sent.len() == 2).then(|| sent.remove(1))
    }

    /// Alice is registered, and the notifier has told about `contact`.
    pub(super) async fn subscribed(&self, contact: &str) -> Dialog {
        let subscribe = self.register("alice", 1, 7_200).await.unwrap();
        self.receive(&respond(&subscribe, "200 OK", "Expires: 3600\r\n")).await;
        let mut dialog = Dialog::of(&subscribe);
        let document = document(0, "full", "active", contact);
        assert_eq!(self.notify(&mut dialog, "active;expires=3600", &document).await, "200 OK");
        assert!(self.told().starts_with("registered new=true"));
        dialog
    }

    /// Sends a NOTIFY; the answer to it.
    pub(super) async fn notify(&self, dialog: &mut Dialog, state: &str, body: &str) -> String {
        let text = dialog.notify(state, body);
        self.receive(&text).await;
        let sent = self.sent();
        let at = sent.iter().position(|text| text.starts_with("SIP/2.0 ")).unwrap();
        let answer = sent[at].lines().next().unwrap().trim_start_matches("SIP/2.0 ").to_owned();
        // What else was sent stays to be looked at.
        let rest = sent.into_iter().enumerate().filter(|(index, _)| *index != at);
        let target = Target {
            transport: Transport::Udp,
            remote: "127.0.0.13:6060".parse().unwrap(),
            listener: ListenerId(0),
            connection: None,
        };
        self.scscf.sent.borrow_mut().extend(rest.map(|(_, text)| (target, text)));
        answer
    }
}

/// The notifier's side of a dialog.
pub(super) struct Dialog {
    pub(super) call_id: String,
    /// The subscriber's From, the notifier's To.
    pub(super) from: String,
    pub(super) remote_tag: &'static str,
    pub(super) event: &'static str,
    pub(super) content_type: &'static str,
    pub(super) cseq: u32,
    /// Counts the requests, for their branches.
    pub(super) sent: u32,
}

impl Dialog {
    pub(super) fn of(subscribe: &str) -> Self {
        Self {
            call_id: field(subscribe, "Call-ID"),
            from: field(subscribe, "From"),
            remote_tag: "n",
            event: "reg",
            content_type: "application/reginfo+xml",
            cseq: 0,
            sent: 0,
        }
    }

    pub(super) fn notify(&mut self, state: &str, body: &str) -> String {
        self.cseq += 1;
        self.sent += 1;
        let Self { call_id, from, remote_tag, event, content_type, cseq, sent } = self;
        format!(
            "NOTIFY sip:127.0.0.20:5080 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.13:6060;branch=z9hG4bKn{sent}{call_id}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@ims.test>;tag={remote_tag}\r\nTo: {from}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} NOTIFY\r\nContact: <sip:reg@127.0.0.13:6060>\r\n\
             Record-Route: <sip:a@127.0.0.13:6060;lr>, <sip:b@127.0.0.13:6060;lr>\r\n\
             Event: {event}\r\nSubscription-State: {state}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

pub(super) fn field(message: &str, name: &str) -> String {
    let prefix = format!("{name}: ");
    let line = message.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {name} in {message}")).to_owned()
}

pub(super) fn respond(request: &str, status: &str, headers: &str) -> String {
    let to = field(request, "To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=n" };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:reg@127.0.0.13:6060>\r\n{headers}Content-Length: 0\r\n\r\n",
        field(request, "Via"),
        field(request, "From"),
        field(request, "Call-ID"),
        field(request, "CSeq"),
    )
}

/// A document about Alice, with one contact that has these parameters, or with these contacts.
pub(super) fn document(version: u32, extent: &str, state: &str, contact: &str) -> String {
    let contacts = match contact {
        "" => String::new(),
        contact if contact.contains("<contact") => contact.to_owned(),
        params => row(1, "active", params),
    };
    format!(
        "<reginfo xmlns='urn:ietf:params:xml:ns:reginfo' version='{version}' state='{extent}'>\
         <registration aor='sip:alice@ims.test' id='a' state='{state}'>{contacts}</registration>\
         </reginfo>"
    )
}

pub(super) fn row(id: u32, state: &str, params: &str) -> String {
    format!(
        "<contact id='{id}' state='{state}' event='registered'>\
         <uri>sip:alice@192.0.2.{id}:5060</uri>{params}</contact>"
    )
}

pub(super) async fn on_local_set(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}
