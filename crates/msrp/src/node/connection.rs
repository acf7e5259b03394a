//! The connections of a node.

use std::collections::VecDeque;
use std::time::Instant;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::header::FailureReport;
use crate::node::{ConnectionId, Hop, Peer};
use crate::pending::Pending;
use crate::session::SessionKey;
use crate::transaction_id::Words;
use crate::{Marks, Method, Outbound, TransactionId};

/// One connection. Small while it is quiet: nothing is on the heap but the peer.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What waits to be written.
    pub(crate) outbound: Outbound,
    /// Requests of ours without a response.
    pub(crate) pending: Pending,
    /// Who is at the other end; `None` until a connection of ours is made.
    pub(crate) peer: Option<Box<Peer>>,
    /// Where it leads, when it is one of ours.
    pub(crate) hop: Option<Box<Hop>>,
    /// Sessions bound to it.
    pub(crate) sessions: SmallVec<[SessionKey; 1]>,
    /// The session of the last request: most connections have one only.
    pub(crate) last: SessionKey,
    /// The chunk whose rest is still to come.
    pub(crate) receiving: Option<Receiving>,
    /// Sessions that have something to write, the next first.
    pub(crate) senders: VecDeque<SessionKey>,
    /// Others that are not read from until this one has room again.
    pub(crate) held_back: SmallVec<[ConnectionId; 1]>,
    /// How many others keep this one from being read.
    pub(crate) holds: u32,
    pub(crate) state: State,
    /// What passes it is counted here.
    pub(crate) group: u16,
    /// Whether `Output::Flush` was said and the driver has not looked since.
    pub(crate) dirty: bool,
    /// Whether its framer is its own, and not the one of who had its place before.
    pub(crate) framed: bool,
    /// It stays without a session.
    pub(crate) kept: bool,
    /// Requests for sessions of other cores came.
    pub(crate) shared: bool,
    /// When a valid request came last, or something was passed on to it; `None`: it is not ours,
    /// and no valid request came.
    pub(crate) used: Option<Instant>,
    /// The identifier of the next request of ours.
    pub(crate) next_id: NextId,
    /// When its timer is called next.
    pub(crate) armed: Option<Instant>,
    /// When it began.
    pub(crate) since: Instant,
    /// When something was sent last, for keep-alives.
    pub(crate) sent: Instant,
    generation: u32,
}

/// The identifier of the next request on a connection. It is made when the one before has been
/// written.
#[derive(Debug, Default)]
pub(crate) struct NextId {
    /// Its random bits, once it is made.
    pub(crate) random: Option<u64>,
    pub(crate) words: Words,
}

impl NextId {
    /// Makes it, with 64 new random bits.
    #[inline]
    pub(crate) fn make(&mut self, core: u8, random: u64, sequence: u64) {
        self.random = Some(random);
        self.words = TransactionId::new(core, random, sequence).words();
    }

    /// Makes it out of the one before it in a row, `before`, with the next number if that is
    /// `waited` for, else with the next random bits. No peer has seen any of the row yet.
    // A call for each copy would cost as much as this.
    #[inline(always)]
    pub(crate) fn follow(&mut self, before: TransactionId, waited: bool) {
        let TransactionId { core, random, sequence } = before;
        if waited {
            TransactionId::new(core, random, sequence + 1).next_number(&mut self.words);
        } else {
            let random = random.wrapping_add(1);
            self.random = Some(random);
            TransactionId::new(core, random, sequence).next_random(&mut self.words);
        }
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The driver connects.
    Connecting,
    /// Octets come and go.
    Open,
    /// The driver was told to close it; nothing that comes is looked at.
    Closing,
}

/// A chunk of which the head came, and not the end.
#[derive(Debug)]
pub(crate) struct Receiving {
    /// What happens with the rest.
    pub(crate) fate: Fate,
    /// Whether it is answered, and with what.
    pub(crate) answers: Answers,
    /// Where the answer goes, unless that is the first URI of the peer's path.
    pub(crate) to: Option<Box<[u8]>>,
    id: [u8; TransactionId::OCTETS_MAX],
    id_octets: u8,
}

/// What happens with the rest of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes to the role that this session belongs to.
    Session(SessionKey),
    /// It goes to another core.
    Foreign(u8),
    /// Nobody wants it.
    Skip,
}

/// Which responses a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Every one.
    All,
    /// Only those that say what is wrong.
    Failures,
    /// None.
    None,
}

impl Answers {
    /// What a request with this head wants (RFC 4975 §7.2; never one to a REPORT, §7.1.2).
    pub(crate) fn to(method: Method<'_>, failure_report: FailureReport) -> Self {
        match (method, failure_report) {
            (Method::Report, _) | (_, FailureReport::No) => Self::None,
            (_, FailureReport::Partial) => Self::Failures,
            (_, FailureReport::Yes) => Self::All,
        }
    }

    /// Whether it wants a response with `code`.
    pub(crate) fn want(self, code: u16) -> bool {
        match self {
            Self::All => true,
            Self::Failures => code != 200,
            Self::None => false,
        }
    }
}

impl Receiving {
    pub(crate) fn new(id: &[u8], fate: Fate, answers: Answers) -> Self {
        let mut octets = [0; TransactionId::OCTETS_MAX];
        let length = id.len().min(octets.len());
        for (place, octet) in octets.iter_mut().zip(id) {
            *place = *octet;
        }
        let id_octets = u8::try_from(length).unwrap_or(0);
        Self { fate, answers, to: None, id: octets, id_octets }
    }

    /// The transaction identifier.
    pub(crate) fn id(&self) -> &[u8] {
        self.id.get(..usize::from(self.id_octets)).unwrap_or_default()
    }
}

/// The connections of a node, by their number.
#[derive(Debug)]
pub(crate) struct Connections {
    slots: slab::Slab<Connection>,
    /// Those of ours, by where they lead.
    hops: HashMap<Hop, ConnectionId, FixedState>,
    /// Those of ours to other cores, at most one to each.
    cores: Vec<(u8, ConnectionId)>,
    generation: u32,
    marks: Marks,
}

impl Connections {
    pub(crate) fn new(marks: Marks, seed: u64) -> Self {
        let hops = HashMap::with_hasher(FixedState::with_seed(seed));
        Self { slots: slab::Slab::new(), hops, cores: Vec::new(), generation: 0, marks }
    }

    /// A new one: accepted when the peer is known, else one that the driver is to make.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        peer: Option<Peer>,
        hop: Option<Hop>,
    ) -> ConnectionId {
        self.generation = self.generation.wrapping_add(1);
        let state = if peer.is_some() { State::Open } else { State::Connecting };
        let id = ConnectionId::new(self.slots.vacant_key(), self.generation);
        if let Some(hop) = &hop {
            self.hops.insert(hop.clone(), id);
        }
        self.slots.insert(Connection {
            outbound: Outbound::new(self.marks),
            pending: Pending::default(),
            peer: peer.map(Box::new),
            used: hop.is_some().then_some(now),
            hop: hop.map(Box::new),
            sessions: SmallVec::new(),
            last: SessionKey::NOWHERE,
            receiving: None,
            senders: VecDeque::new(),
            held_back: SmallVec::new(),
            holds: 0,
            state,
            group: 0,
            dirty: false,
            kept: false,
            shared: false,
            framed: false,
            next_id: NextId::default(),
            armed: None,
            since: now,
            sent: now,
            generation: self.generation,
        });
        id
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.slots.get(id.index()).filter(|connection| connection.generation == id.generation())
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(id.index())?;
        (connection.generation == id.generation()).then_some(connection)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.get(id)?;
        let connection = self.slots.try_remove(id.index())?;
        if let Some(hop) = &connection.hop
            && self.hops.get(&**hop) == Some(&id)
        {
            self.hops.remove(&**hop);
        }
        Some(connection)
    }

    /// An open or opening connection of ours to `hop` (RFC 4975 §5.4: it SHOULD be used again).
    pub(crate) fn to(&self, hop: &Hop) -> Option<ConnectionId> {
        let id = *self.hops.get(hop)?;
        self.get(id).filter(|connection| connection.state != State::Closing).map(|_| id)
    }

    /// The same to `core`.
    pub(crate) fn to_core(&self, core: u8) -> Option<ConnectionId> {
        let (_, id) = *self.cores.iter().find(|(known, _)| *known == core)?;
        self.get(id).filter(|connection| connection.state != State::Closing).map(|_| id)
    }

    /// A new one, to `core`.
    pub(crate) fn insert_to_core(&mut self, now: Instant, core: u8) -> ConnectionId {
        let id = self.insert(now, None, None);
        self.cores.retain(|(known, _)| *known != core);
        self.cores.push((core, id));
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
