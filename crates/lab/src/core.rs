//! A small SIP/IP core in one element: P-CSCF, I-CSCF, S-CSCF, registrar and HSS.
//!
//! It speaks ISC as a real S-CSCF was seen to speak it (TS 24.229 §5.4, TS 29.228, RFC 5502):
//!
//! - the shipped filter criteria decide what passes the application server, and its `Route` is
//!   followed by the core's mark of the original dialog, by which a request that comes back goes on
//!   where it was;
//! - a third-party REGISTER has a new Call-ID each time and always CSeq 10, the REGISTER of the UE
//!   as a `message/sip` body, a grace added to its period, and a `P-Associated-URI` that is
//!   malformed when the user has a telephone number; nothing is sent when a registration runs out;
//! - 408, 5xx and silence of the application server make the request go on without it.
//!
//! It is a proxy with state of its own and shares nothing with the server's transactions, proxy and
//! registration record; it reads messages with `parlance_sip::Message` and criteria with
//! `parlance_isc::ifc`.
//!
//! Left out: authentication (a UE is known by its address), foreign domains, and any element of
//! the core more than one.

mod forward;
mod mark;
mod proxy;
mod register;
mod subscriber;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use parlance_isc::ifc::{IfcError, InitialFilterCriteria, profiles};
use parlance_sip::{Message, Request, Response};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::network::{Framing, Link, Packet, Unit};
use crate::transaction::{self, ClientId, Peer, ServerId, Transactions};

pub use mark::{Case, Mark};
pub use register::ThirdParty;
pub use subscriber::Subscription;

use proxy::{Context, Pending};
use subscriber::Subscriber;

/// The criteria that are shipped for a user, with the documented addresses.
pub const SHIPPED_CRITERIA: &str = include_str!("../../../ifc/user.xml");

/// The service identities that are shipped, wildcarded ones without their end.
const SERVICES: [&str; 5] =
    ["im-conf-factory", "im-exploder", "im-history", "im-deferred", "im-group-"];

/// How a core is set up.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The home domain.
    pub domain: String,
    /// The service profile every user has, as TS 29.228 XML.
    pub criteria: String,
    /// Addresses of the host names in the criteria.
    pub names: BTreeMap<String, IpAddr>,
    /// Ports of the application server that are not the ones in the criteria.
    pub ports: BTreeMap<u16, u16>,
    /// Beginnings of the user parts of public service identities of the domain (TS 23.228 §5.4.12);
    /// default those that are shipped. Who is called so is the application server behind
    /// [`services_at`](Self::services_at).
    pub services: Vec<String>,
    /// Where requests to them go; default as shipped.
    pub services_at: String,
    /// How long the application server may be silent before a request goes on without it; a 100
    /// stops the wait. Default 3 s, as a Kamailio S-CSCF has it; `None`: as long as the
    /// transaction lasts.
    pub isc_wait: Option<Duration>,
    /// What is added to the registration period in a third-party REGISTER. Default 120 s.
    pub grace: Duration,
    /// Whether a request other than INVITE that nobody answered gets a 408, as many proxies do
    /// although RFC 4320 §4.1 forbids it. Default `false`.
    pub answers_408: bool,
    /// The seed of tags, branches and Call-IDs.
    pub seed: u64,
    /// Messages kept for [`Core::trace`]; older ones are dropped. Default 4096.
    pub trace_max: usize,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            domain: "ims.test".to_owned(),
            criteria: SHIPPED_CRITERIA.to_owned(),
            names: BTreeMap::new(),
            ports: BTreeMap::new(),
            services: SERVICES.iter().map(|&prefix| prefix.to_owned()).collect(),
            services_at: "sip:im-term@im.ims.test:5081;transport=tcp".to_owned(),
            isc_wait: Some(Duration::from_secs(3)),
            grace: Duration::from_secs(120),
            answers_408: false,
            seed: 1,
            trace_max: 4096,
        }
    }
}

/// A message that passed the core.
#[derive(Clone, Debug)]
pub struct Traced {
    /// When.
    pub at: Instant,
    /// Whether the core sent it; otherwise it received it.
    pub sent: bool,
    /// The other end.
    pub peer: SocketAddr,
    /// The message.
    pub octets: Bytes,
}

impl Traced {
    /// The message as text, octets that are not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.octets).into_owned()
    }
}

/// What a core has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests sent to the application server.
    pub send_to_server: u64,
    /// Requests that went on without it.
    pub bypassed: u64,
    /// Requests delivered to a contact of a user.
    pub delivered: u64,
    /// Requests sent again for want of an answer.
    pub retransmitted: u64,
    /// Requests that came again.
    pub absorbed: u64,
    /// What could not be read.
    pub malformed: u64,
}

/// A running core. Cheap to clone.
#[derive(Clone)]
pub struct Core(Rc<RefCell<State>>);

/// What a client transaction of the core is for.
#[derive(Clone, Debug)]
enum Tag {
    /// One branch of a request that is proxied.
    Branch(u64, usize),
    /// A third-party REGISTER.
    ThirdParty(usize),
    /// A CANCEL; nobody waits.
    Cancel,
}

struct State {
    config: CoreConfig,
    local: SocketAddr,
    criteria: Vec<InitialFilterCriteria>,
    transactions: Transactions<Tag>,
    framing: Framing,
    random: StdRng,
    subscribers: BTreeMap<String, Subscriber>,
    aliases: BTreeMap<String, String>,
    contexts: HashMap<u64, Context>,
    /// The context an INVITE transaction belongs to, for CANCEL.
    invites: HashMap<ServerId, u64>,
    /// When a branch to the application server has been silent for too long.
    waits: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    number: u64,
    /// The number of the last context when something was forgotten last.
    forgotten: u64,
    third_party: Vec<ThirdParty>,
    trace: VecDeque<Traced>,
    counts: Counts,
}

impl Core {
    /// Starts a core at `link`. Must be called on a `LocalSet`: the core is a task there.
    ///
    /// # Errors
    /// The criteria are none.
    pub fn start(link: Link, config: CoreConfig) -> Result<Self, IfcError> {
        let criteria = profiles(&config.criteria)?;
        let criteria = criteria.into_iter().flat_map(|profile| profile.criteria).collect();
        let outlet = link.outlet();
        let state = State {
            random: StdRng::seed_from_u64(config.seed),
            config,
            local: outlet.local(),
            criteria,
            transactions: Transactions::new(outlet),
            framing: Framing::default(),
            subscribers: BTreeMap::new(),
            aliases: BTreeMap::new(),
            contexts: HashMap::new(),
            invites: HashMap::new(),
            waits: BinaryHeap::new(),
            number: 0,
            forgotten: 0,
            third_party: Vec::new(),
            trace: VecDeque::new(),
            counts: Counts::default(),
        };
        let core = Self(Rc::new(RefCell::new(state)));
        tokio::task::spawn_local(run(core.clone(), link));
        Ok(core)
    }

    /// The address of the core.
    pub fn address(&self) -> SocketAddr {
        self.0.borrow().local
    }

    /// Puts a user into the HSS.
    pub fn subscribe(&self, subscription: Subscription) {
        let mut state = self.0.borrow_mut();
        for alias in &subscription.aliases {
            state.aliases.insert(alias.clone(), subscription.identity.clone());
        }
        let identity = subscription.identity.clone();
        state.subscribers.insert(identity, Subscriber::new(subscription));
    }

    /// Whether a user has a contact that has not run out.
    pub fn is_registered(&self, identity: &str) -> bool {
        let now = Instant::now();
        self.0.borrow().subscribers.get(identity).is_some_and(|user| user.is_registered(now))
    }

    /// Forgets the contacts of a user and tells nobody, as when a registration runs out.
    pub fn lapse(&self, identity: &str) {
        if let Some(user) = self.0.borrow_mut().subscribers.get_mut(identity) {
            user.clear();
        }
    }

    /// Sends the third-party REGISTER of a user's last registration once more.
    pub fn repeat_third_party(&self, identity: &str) {
        self.0.borrow_mut().third_party_again(identity);
    }

    /// The third-party REGISTERs sent so far, with their answers.
    pub fn third_party(&self) -> Vec<ThirdParty> {
        self.0.borrow().third_party.clone()
    }

    /// The messages that passed, oldest first, as far as they are kept.
    pub fn trace(&self) -> Vec<Traced> {
        self.0.borrow().trace.iter().cloned().collect()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        let state = self.0.borrow();
        let (retransmitted, absorbed) = state.transactions.repeats();
        Counts { retransmitted, absorbed, ..state.counts }
    }

    /// Forgets what is over: INVITEs that were answered before the last time something was
    /// forgotten, and third-party REGISTERs. For runs of hours; others want to look back.
    pub fn forget(&self) {
        let state = &mut *self.0.borrow_mut();
        let before = std::mem::replace(&mut state.forgotten, state.number);
        state.contexts.retain(|number, context| *number > before || !context.answered);
        let contexts = &state.contexts;
        state.invites.retain(|_, number| contexts.contains_key(number));
        if state.third_party.iter().all(|told| told.status.is_some()) {
            state.third_party.clear();
        }
    }

    /// Requests that have no final answer yet.
    pub fn under_way(&self) -> usize {
        self.0.borrow().contexts.values().filter(|context| !context.answered).count()
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Core({})", self.address())
    }
}

async fn run(core: Core, mut link: Link) {
    loop {
        let due = core.0.borrow().deadline();
        tokio::select! {
            biased;
            packet = link.recv() => {
                let Some(packet) = packet else { return };
                core.0.borrow_mut().receive(packet);
            }
            () = transaction::until(due) => core.0.borrow_mut().tick(),
        }
    }
}

impl State {
    fn deadline(&self) -> Option<Instant> {
        let wait = self.waits.peek().map(|Reverse((at, ..))| *at);
        [self.transactions.deadline(), wait].into_iter().flatten().min()
    }

    fn tick(&mut self) {
        for tag in self.transactions.poll() {
            match tag {
                Tag::Branch(context, branch) => self.timed_out(context, branch),
                Tag::ThirdParty(_) | Tag::Cancel => {}
            }
        }
        let now = Instant::now();
        while self.waits.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, context, branch))) = self.waits.pop() else { return };
            self.server_is_silent(context, branch);
        }
    }

    fn receive(&mut self, packet: Packet) {
        let peer = Peer { transport: packet.transport, address: packet.from };
        for unit in self.framing.take(packet) {
            match unit {
                Unit::Message(message) => self.message(peer, message),
                Unit::Ping => self.transactions.send(peer, Bytes::from_static(b"\r\n")),
                Unit::Malformed(_) => self.counts.malformed += 1,
            }
        }
    }

    fn message(&mut self, peer: Peer, message: Message) {
        self.note(false, peer.address, message.bytes());
        let (Some(via), Some(cseq)) = (message.top_via(), message.cseq()) else {
            self.counts.malformed += 1;
            return;
        };
        let branch = via.branch().unwrap_or_default().to_owned();
        let method = cseq.method.as_str().to_owned();
        let sent_by = via.sent_by.to_string();
        match Request::new(message) {
            Ok(request) => self.request(peer, ServerId { branch, sent_by, method }, request),
            Err(message) => {
                if let Ok(response) = Response::new(message) {
                    self.response(&ClientId { branch, method }, &response);
                }
            }
        }
    }

    fn note(&mut self, sent: bool, peer: SocketAddr, octets: Bytes) {
        if self.config.trace_max == 0 {
            return;
        }
        if self.trace.len() >= self.config.trace_max {
            self.trace.pop_front();
        }
        self.trace.push_back(Traced { at: Instant::now(), sent, peer, octets });
    }

    /// A token nobody else has.
    fn token(&mut self) -> String {
        format!("{:016x}", self.random.random::<u64>())
    }

    fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.token())
    }

    /// Starts a client transaction with `octets`, which carry `id` in their topmost Via.
    fn start(&mut self, id: ClientId, peer: Peer, octets: Bytes, tag: Tag) {
        self.note(true, peer.address, octets.clone());
        self.transactions.request(id, peer, octets, tag);
    }

    fn answer(&mut self, peer: Peer, server: &ServerId, status: u16, octets: Bytes) {
        self.note(true, peer.address, octets.clone());
        self.transactions.respond(server, status, octets);
    }

    /// Waits for the application server on this branch.
    fn wait_for_server(&mut self, pending: &Pending) {
        if let Some(wait) = self.config.isc_wait {
            let at = Instant::now() + wait;
            self.waits.push(Reverse((at, pending.context, pending.branch)));
        }
    }
}
