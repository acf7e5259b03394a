//! The inside of a UE.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use parlance_sip::Transport;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rsip::headers::{
    CSeq, CallId, Contact, ContentLength, From, MaxForwards, To, ToTypedHeader, UntypedHeader, Via,
};
use rsip::message::{HasHeaders, HeadersExt};
use rsip::{Header, Method, SipMessage};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::call::Leg;
use super::chat;
use super::msrp::Client;
use super::{Answer, Behaviour, Draft, Received, UeConfig};
use crate::network::{Outlet, Packet};
use crate::transaction::{ClientId, Manner, Matched, Peer, ServerId, Transactions};

/// A response, or the end of waiting for one.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    Provisional(u16),
    Final(Answer, Option<rsip::Response>),
}

pub(super) type Outcome = mpsc::UnboundedReceiver<Heard>;

/// Waits for the final answer.
pub(super) async fn answer_of(mut outcome: Outcome) -> Answer {
    while let Some(heard) = outcome.recv().await {
        if let Heard::Final(answer, _) = heard {
            return answer;
        }
    }
    conclusion()
}

/// No response: as good as 408 (RFC 3261 §8.1.3.1).
fn conclusion() -> Answer {
    let headers = rsip::Headers::default();
    Answer { status: 408, timed_out: true, at: Instant::now(), headers }
}

/// A request the UE sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) outcome: mpsc::UnboundedSender<Heard>,
    pub(super) request: rsip::Request,
    first: Option<u16>,
}

/// How a UE describes its sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Negotiation {
    /// With `msrp-cema` (RFC 6714).
    pub(super) cema: bool,
    /// It lets others connect when it answers.
    pub(super) waits: bool,
}

pub(super) struct State {
    pub(super) config: UeConfig,
    pub(super) local: SocketAddr,
    pub(super) transactions: Transactions<ClientId>,
    pub(super) sent: HashMap<ClientId, Sent>,
    /// Those of `sent` that were answered when something was forgotten last.
    old: Vec<ClientId>,
    pub(super) received: Vec<Received>,
    pub(super) behaviour: Behaviour,
    pub(super) script: VecDeque<Behaviour>,
    pub(super) unreadable: Vec<Bytes>,
    pub(super) contradictions: usize,
    /// Dialogs this UE was called into, by Call-ID.
    pub(super) legs: BTreeMap<String, Leg>,
    /// MSRP, when the UE has it.
    pub(super) msrp: Option<Client>,
    /// How it describes its sessions.
    pub(super) negotiation: Negotiation,
    /// The sessions it takes or took part in.
    pub(super) chats: Vec<Rc<chat::Inner>>,
    /// Answers that are due later.
    pub(super) later: BinaryHeap<Reverse<(Instant, usize, u16)>>,
    /// The server transaction and request behind each of `received`.
    pub(super) places: Vec<ServerId>,
    random: StdRng,
    cseq: u32,
    registration: String,
    changed: Rc<Notify>,
}

impl State {
    pub(super) fn new(outlet: Outlet, config: UeConfig) -> Self {
        let mut random = StdRng::seed_from_u64(config.seed);
        let registration = format!("{:016x}@{}", random.random::<u64>(), outlet.local().ip());
        Self {
            config,
            local: outlet.local(),
            transactions: Transactions::new(outlet),
            sent: HashMap::new(),
            old: Vec::new(),
            received: Vec::new(),
            behaviour: Behaviour::Answer(200),
            script: VecDeque::new(),
            unreadable: Vec::new(),
            contradictions: 0,
            legs: BTreeMap::new(),
            msrp: None,
            negotiation: Negotiation::default(),
            chats: Vec::new(),
            later: BinaryHeap::new(),
            places: Vec::new(),
            random,
            cseq: 0,
            registration,
            changed: Rc::new(Notify::new()),
        }
    }

    /// Forgets what is over. What was sent is kept until the second time, since what follows an
    /// answer may still be to come.
    pub(super) fn forget(&mut self) {
        for id in std::mem::take(&mut self.old) {
            self.sent.remove(&id);
        }
        let answered = self.sent.iter().filter(|(_, sent)| sent.first.is_some());
        self.old = answered.map(|(id, _)| id.clone()).collect();
        if self.later.is_empty() && self.received.iter().all(|one| one.status.is_some()) {
            self.received.clear();
            self.places.clear();
        }
        for chat in self.chats.extract_if(.., |chat| chat.ended.get()) {
            self.legs.remove(&chat.call_id);
        }
        self.legs.retain(|_, leg| !leg.is_over());
        if let Some(client) = &self.msrp {
            client.forget();
        }
    }

    /// Waits until a script did something.
    pub(super) async fn changed(state: &Rc<RefCell<Self>>) {
        let changed = Rc::clone(&state.borrow().changed);
        changed.notified().await;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let later = self.later.peek().map(|Reverse((at, ..))| *at);
        [self.transactions.deadline(), later].into_iter().flatten().min()
    }

    pub(super) fn tick(&mut self) {
        for id in self.transactions.poll() {
            if let Some(sent) = self.sent.remove(&id) {
                // Nobody may wait any more.
                let _ = sent.outcome.send(Heard::Final(conclusion(), None));
            }
        }
        let now = Instant::now();
        while self.later.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, place, status))) = self.later.pop() else { return };
            self.respond(place, status);
        }
    }

    pub(super) fn token(&mut self) -> String {
        format!("{:016x}", self.random.random::<u64>())
    }

    pub(super) fn core(&self) -> Peer {
        Peer { transport: Transport::Udp, address: self.config.core }
    }

    pub(super) fn contact(&self) -> String {
        let user = self.config.identity.trim_start_matches("sip:");
        let user = user.split('@').next().unwrap_or_default();
        format!("sip:{user}@{}", self.local)
    }

    pub(super) fn register_draft(&self, im: bool) -> Draft {
        let domain = self.config.identity.rsplit('@').next().unwrap_or_default();
        let tag = if im { ";+g.oma.sip-im" } else { "" };
        let draft = Draft::new(Method::Register, &format!("sip:{domain}"))
            .to(&self.config.identity)
            .header("Contact", &format!("<{}>{tag}", self.contact()))
            .header("Supported", "path")
            .header("User-Agent", "IM-client/OMA1.0 lab");
        if im { draft.header("Require", "pref") } else { draft }
    }

    /// Sends a request outside a dialog.
    pub(super) fn send(&mut self, draft: &Draft, more: Vec<Header>) -> Outcome {
        self.send_as(draft, more).0
    }

    /// The same; also which it is.
    pub(super) fn send_as(&mut self, draft: &Draft, more: Vec<Header>) -> (Outcome, ClientId) {
        let call_id = match draft.method {
            Method::Register => self.registration.clone(),
            _ => format!("{}@{}", self.token(), self.local.ip()),
        };
        let tag = self.token();
        let from = format!("<{}>;tag={tag}", self.config.identity);
        let to = format!("<{}>", draft.to);
        self.cseq += 1;
        let mut headers: Vec<Header> = vec![
            MaxForwards::from(70).into(),
            From::new(from).into(),
            To::new(to).into(),
            CallId::new(call_id).into(),
            CSeq::new(format!("{} {}", self.cseq, draft.method)).into(),
        ];
        headers.extend(draft.headers());
        headers.extend(more);
        self.launch(draft.method, &draft.target, headers, &draft.body)
    }

    /// A request that was sent.
    pub(super) fn request_of(&self, id: &ClientId) -> Option<rsip::Request> {
        self.sent.get(id).map(|sent| sent.request.clone())
    }

    /// Its Call-ID.
    pub(super) fn call_id_of(&self, id: &ClientId) -> String {
        let request = self.sent.get(id).map(|sent| &sent.request);
        let call_id = request.and_then(|request| request.call_id_header().ok());
        call_id.map(|id| id.value().to_owned()).unwrap_or_default()
    }

    /// Waits for the final response.
    pub(super) async fn response_of(mut outcome: Outcome) -> (Answer, Option<rsip::Response>) {
        while let Some(heard) = outcome.recv().await {
            if let Heard::Final(answer, response) = heard {
                return (answer, response);
            }
        }
        (conclusion(), None)
    }

    /// Puts a Via on top and starts the transaction.
    pub(super) fn launch(
        &mut self,
        method: Method,
        target: &str,
        headers: Vec<Header>,
        body: &Bytes,
    ) -> (Outcome, ClientId) {
        let (outcome, heard) = mpsc::unbounded_channel();
        let branch = format!("z9hG4bK{}", self.token());
        let id = ClientId { branch: branch.clone(), method: method.to_string() };
        // A script that names a target rsip cannot say must use the raw UE.
        let Ok(uri) = rsip::Uri::try_from(target) else {
            let _ = outcome.send(Heard::Final(conclusion(), None));
            return (heard, id);
        };
        let via = format!("SIP/2.0/UDP {};branch={branch};rport", self.local);
        let mut all: Vec<Header> = vec![Via::new(via).into()];
        all.extend(headers);
        let request = rsip::Request {
            method,
            uri,
            version: rsip::Version::V2,
            headers: all.into(),
            body: Vec::new(),
        };
        let octets = octets(&request.clone().into(), body);
        self.sent.insert(id.clone(), Sent { outcome, request, first: None });
        let core = self.core();
        self.transactions.request(id.clone(), core, octets, id.clone());
        self.changed.notify_one();
        (heard, id)
    }

    /// Keeps a request that is sent in another way, so that its answer finds back.
    pub(super) fn remember(
        &mut self,
        id: ClientId,
        outcome: mpsc::UnboundedSender<Heard>,
        request: rsip::Request,
    ) {
        self.sent.insert(id, Sent { outcome, request, first: None });
    }

    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    pub(super) fn receive(&mut self, packet: Packet) {
        let peer = Peer { transport: packet.transport, address: packet.from };
        match SipMessage::try_from(&packet.octets[..]) {
            Ok(SipMessage::Request(request)) => self.request(peer, request, packet.octets),
            Ok(SipMessage::Response(response)) => self.response(&response, packet.octets),
            Err(_) => self.unreadable.push(packet.octets),
        }
    }

    fn response(&mut self, response: &rsip::Response, octets: Bytes) {
        let method = response.cseq_header().ok().and_then(|cseq| cseq.typed().ok());
        let branch = response.transaction_id().ok().flatten();
        let (Some(cseq), Some(branch)) = (method, branch) else {
            return self.unreadable.push(octets);
        };
        let id = ClientId { branch: branch.to_string(), method: cseq.method.to_string() };
        let id = ClientId { branch: bare_branch(&id.branch), ..id };
        let status = response.status_code.code();
        let matched = self.transactions.response(&id, status);
        let Some(sent) = self.sent.get_mut(&id) else { return };
        if status >= 200 && *sent.first.get_or_insert(status) != status {
            self.contradictions += 1;
        }
        let Matched::Pass(_) = matched else { return };
        let heard = if status < 200 {
            Heard::Provisional(status)
        } else {
            let headers = response.headers.clone();
            let answer = Answer { status, timed_out: false, at: Instant::now(), headers };
            Heard::Final(answer, Some(response.clone()))
        };
        // Nobody may wait any more.
        let _ = sent.outcome.send(heard);
        if status >= 300 && id.method == "INVITE" {
            self.acknowledge_refusal(&id, response);
        }
    }

    fn request(&mut self, peer: Peer, request: rsip::Request, octets: Bytes) {
        let via = request.via_header().ok().and_then(|via| via.clone().typed().ok());
        let branch = via.as_ref().and_then(|via| via.branch().cloned());
        let (Some(via), Some(branch)) = (via, branch) else {
            return self.unreadable.push(octets);
        };
        let method = request.method.to_string();
        let sent_by = via.sent_by().to_string();
        let id = ServerId { branch: bare_branch(&branch.to_string()), sent_by, method };
        if request.method == Method::Ack {
            return self.acknowledged(&id, &request);
        }
        let scripted = !self.transactions.serves(&id);
        let behaviour = match scripted {
            true => self.script.front().unwrap_or(&self.behaviour).clone(),
            false => self.behaviour.clone(),
        };
        if behaviour == Behaviour::Drop && scripted {
            return;
        }
        let repeats_success = request.method == Method::Invite;
        let manner = Manner { trying: None, repeats_success };
        if !self.transactions.received(id.clone(), peer, manner) {
            return;
        }
        let place = self.received.len();
        let method = request.method;
        self.received.push(Received { at: Instant::now(), request, status: None });
        self.places.push(id);
        match method {
            Method::Cancel => return self.cancelled(place),
            Method::Bye => return self.ended(place),
            _ => _ = self.script.pop_front(),
        }
        self.react(place, method, &behaviour);
    }

    fn react(&mut self, place: usize, method: Method, behaviour: &Behaviour) {
        let rings = method == Method::Invite && *behaviour != Behaviour::Drop;
        match behaviour {
            Behaviour::Answer(status) => {
                if rings && *status < 300 {
                    self.respond(place, 180);
                }
                self.respond(place, *status);
            }
            Behaviour::After(wait, status) => {
                if rings {
                    self.respond(place, 180);
                }
                self.later.push(Reverse((Instant::now() + *wait, place, *status)));
            }
            Behaviour::Silent if rings => self.respond(place, 180),
            Behaviour::Silent | Behaviour::Drop => {}
        }
    }

    /// Answers the request received as number `place`.
    pub(super) fn respond(&mut self, place: usize, status: u16) {
        let tag = self.token();
        let contact = self.contact();
        let (Some(received), Some(id)) = (self.received.get_mut(place), self.places.get(place))
        else {
            return;
        };
        if received.status.is_some() {
            return;
        }
        if status >= 200 {
            received.status = Some(status);
        }
        let request = received.request.clone();
        let id = id.clone();
        let invite = request.method == Method::Invite;
        let mut headers = copied(&request);
        let call_id = request.call_id_header().map(|id| id.value().to_owned()).unwrap_or_default();
        let tag = match self.legs.get(&call_id) {
            Some(leg) => leg.tag.clone(),
            None => tag,
        };
        for header in &mut headers {
            if let Header::To(to) = header
                && !to.value().contains(";tag=")
            {
                *to = To::new(format!("{};tag={tag}", to.value()));
            }
        }
        let mut body = Bytes::new();
        if invite {
            headers.push(Contact::new(format!("<{contact}>;+g.oma.sip-im")).into());
            if status < 300 {
                self.legs.entry(call_id).or_insert_with(|| Leg::called(&request, tag, id.clone()));
            }
            if (200..300).contains(&status) {
                let kind = rsip::headers::ContentType::new("application/sdp");
                headers.push(kind.into());
                body = self.answer_offer(&request);
            }
        }
        headers.push(Header::Other("User-Agent".into(), "IM-client/OMA1.0 lab".into()));
        let response = rsip::Response {
            status_code: rsip::StatusCode::from(status),
            version: rsip::Version::V2,
            headers: headers.into(),
            body: Vec::new(),
        };
        self.transactions.respond(&id, status, octets(&response.into(), &body));
    }
}

/// The header fields a response takes over (RFC 3261 §8.2.6.2, §12.1.1).
fn copied(request: &rsip::Request) -> Vec<Header> {
    let invite = request.method == Method::Invite;
    let wanted = |header: &&Header| match header {
        Header::Via(_) | Header::From(_) | Header::To(_) | Header::CallId(_) | Header::CSeq(_) => {
            true
        }
        Header::RecordRoute(_) => invite,
        _ => false,
    };
    request.headers().iter().filter(wanted).cloned().collect()
}

/// A head by `rsip`, with the body behind it.
pub(super) fn octets(message: &SipMessage, body: &Bytes) -> Bytes {
    let mut message = message.clone();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    message.headers_mut().push(ContentLength::from(length).into());
    let mut out = BytesMut::from(message.to_string().as_bytes());
    out.put_slice(body);
    out.freeze()
}

/// The value of a branch parameter, however `rsip` shows it.
fn bare_branch(text: &str) -> String {
    text.trim_start_matches(";branch=").to_owned()
}

/// After what a call is given up that nobody answers.
pub(super) const RINGING_MAX: Duration = Duration::from_secs(180);
