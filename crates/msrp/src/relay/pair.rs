//! Pairs: two session URIs of ours between two peers, as a B2BUA has them (RFC 6714 §6.2).
//!
//! Each peer knows one URI, and neither knows the other's. What comes in one session leaves from
//! the other with the paths of that one; the Message-ID stays, so reports find back by themselves.
//! An empty request without body is for us: it only binds its session (RFC 4975 §5.4).
//!
//! With `msrp-cema` in both descriptions a pair may stand between without being seen: then the
//! session towards each peer goes by the URI of the other (§6.2), and `c=` and port lead here. It
//! is given that URI [beside](super::beside) the one that it was opened with.

use bytes::Bytes;

use crate::header::ByteRange;
use crate::node::Event as NodeEvent;
use crate::node::cx::{Cx, Verdict};
use crate::node::receive::{Chunk, More};
use crate::pending::Fifo;
use crate::relay::back::{Forwarded, Passed};
use crate::relay::forward::Route;
use crate::relay::renew::Begun;
use crate::relay::waiting::Waiting;
use crate::relay::{Event, Relay};
use crate::session::{LocalAddress, SessionKey, Usage};
use crate::{Continuation, Head, Method, Node, Start};

/// One pair of a node; unique while the node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PairKey {
    place: u32,
    generation: u32,
}

impl PairKey {
    /// The number of one side among those of all pairs.
    pub(super) fn number(self, side: PairSide) -> u32 {
        2 * self.place + side.index()
    }
}

/// A side of a pair, by who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PairSide {
    /// Who made the offer.
    Offerer,
    /// Who answered it.
    Answerer,
}

impl PairSide {
    pub(super) fn index(self) -> u32 {
        match self {
            Self::Offerer => 0,
            Self::Answerer => 1,
        }
    }

    /// The one across.
    pub fn other(self) -> Self {
        match self {
            Self::Offerer => Self::Answerer,
            Self::Answerer => Self::Offerer,
        }
    }

    fn of(number: u32) -> Self {
        if number & 1 == 0 { Self::Offerer } else { Self::Answerer }
    }
}

/// Looks at what passes: a head with the first octets of its body, and the octets that follow. With
/// a code the request is refused with it, and what was passed on of its message is aborted.
pub type Filter = Box<dyn FnMut(PairSide, Option<&Head<'_>>, &[u8]) -> Result<(), u16> + Send>;

/// How a pair is made, and what it does besides passing on.
#[derive(Default)]
pub struct PairConfig {
    /// Octets of the largest message that passes; a larger one is answered 413. `None`: any.
    pub max_size: Option<u64>,
    /// Whether every chunk is given out as [`Event::Passed`], for a history. Bodies are shared, not
    /// copied, when they are large.
    pub copies: bool,
    /// Looks at what passes.
    pub filter: Option<Filter>,
}

impl std::fmt::Debug for PairConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { max_size, copies, filter } = self;
        f.debug_struct("PairConfig")
            .field("max_size", max_size)
            .field("copies", copies)
            .field("filter", &filter.is_some())
            .finish()
    }
}

/// What one side has sent, for charging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideCounts {
    /// Messages that ended.
    pub messages: u64,
    /// SENDs that were passed on.
    pub chunks: u64,
    /// Octets of their bodies.
    pub octets: u64,
    /// REPORTs.
    pub reports: u64,
    /// Requests that were refused: too large, or by the filter.
    pub refused: u64,
}

/// What has passed a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairCounts {
    /// From the offerer.
    pub offerer: SideCounts,
    /// From the answerer.
    pub answerer: SideCounts,
}

/// A chunk, or the part of one that was read at a time, as it has passed a pair.
#[derive(Clone, Debug)]
pub struct Passage {
    /// The pair.
    pub pair: PairKey,
    /// Who sent it.
    pub side: PairSide,
    /// The session it came in.
    pub session: SessionKey,
    /// The Message-ID and the type; `None` for more of the chunk before.
    pub message: Option<PassageHead>,
    /// The body.
    pub body: Bytes,
    /// How the chunk ends, when it does here.
    pub end: Option<Continuation>,
}

/// What the head of a chunk says of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassageHead {
    /// `Message-ID`.
    pub message_id: Box<[u8]>,
    /// `Byte-Range`.
    pub byte_range: Option<ByteRange>,
    /// `Content-Type`.
    pub content_type: Option<Box<[u8]>>,
}

/// One pair.
#[derive(Debug)]
pub(super) struct Pair {
    generation: u32,
    config: PairConfig,
    sides: [Side; 2],
}

/// What is kept of one side.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) session: SessionKey,
    /// The one that may take its place.
    pub(super) beside: Option<SessionKey>,
    /// What was passed on to this side, and is not answered yet.
    pub(super) forwarded: Fifo<Forwarded>,
    counts: SideCounts,
    /// What waits for this side.
    pub(super) waiting: Waiting,
    /// What was begun towards its session, once others have had this side.
    pub(super) begun: Option<Begun>,
}

impl Node {
    /// Opens a pair: a new URI for each side, at the address that it is to see. Its peers' paths
    /// are said with [`set_peer`](Self::set_peer), and connected to with
    /// [`connect`](Self::connect), once their descriptions are known.
    pub fn open_pair(
        &mut self,
        now: std::time::Instant,
        offerer: &LocalAddress,
        answerer: &LocalAddress,
        config: PairConfig,
    ) -> PairKey {
        self.command(now, |roles| {
            let number = roles.relay.next_pair();
            let sessions = [
                roles.cx.open(offerer, Usage::Pair(number)),
                roles.cx.open(answerer, Usage::Pair(number + 1)),
            ];
            roles.relay.insert_pair(sessions, config)
        })
    }

    /// The session of one side.
    pub fn pair_session(&self, pair: PairKey, side: PairSide) -> Option<SessionKey> {
        self.roles.relay.pair(pair)?.side(side.index()).map(|side| side.session)
    }

    /// The pair that a session belongs to, and which side of it.
    pub fn pair_of(&self, session: SessionKey) -> Option<(PairKey, PairSide)> {
        let Usage::Pair(number) = self.roles.cx.sessions.get(session)?.usage else { return None };
        let pair = self.roles.relay.pairs.get(number as usize / 2)?;
        let key = PairKey { place: number / 2, generation: pair.generation };
        Some((key, PairSide::of(number)))
    }

    /// What has passed so far.
    pub fn pair_counts(&self, pair: PairKey) -> Option<PairCounts> {
        let [offerer, answerer] = &self.roles.relay.pair(pair)?.sides;
        Some(PairCounts { offerer: offerer.counts, answerer: answerer.counts })
    }

    /// Ends a pair, both sessions with it; what has passed. What waits for a side has failed with
    /// 408. `None`: it has ended.
    pub fn end_pair(&mut self, now: std::time::Instant, pair: PairKey) -> Option<PairCounts> {
        let counts = self.pair_counts(pair)?;
        self.command(now, |roles| {
            for side in [PairSide::Offerer, PairSide::Answerer] {
                roles.relay.give_up_waiting(&mut roles.cx, pair.number(side), 408);
            }
            let Some(pair) = roles.relay.pairs.try_remove(pair.place as usize) else { return };
            for side in pair.sides {
                roles.cx.end(side.session);
                side.beside.inspect(|session| roles.cx.end(*session));
            }
        });
        Some(counts)
    }
}

impl Pair {
    pub(super) fn side(&self, number: u32) -> Option<&Side> {
        self.sides.get(number as usize & 1)
    }
}

impl Relay {
    fn next_pair(&self) -> u32 {
        u32::try_from(2 * self.pairs.vacant_key()).unwrap_or(u32::MAX - 1)
    }

    fn insert_pair(&mut self, sessions: [SessionKey; 2], config: PairConfig) -> PairKey {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let sides = sessions.map(|session| Side {
            session,
            beside: None,
            forwarded: Fifo::default(),
            counts: SideCounts::default(),
            waiting: Waiting::default(),
            begun: None,
        });
        let place = self.pairs.insert(Pair { generation, config, sides });
        PairKey { place: u32::try_from(place).unwrap_or(u32::MAX), generation }
    }

    pub(super) fn pair(&self, key: PairKey) -> Option<&Pair> {
        self.pairs.get(key.place as usize).filter(|pair| pair.generation == key.generation)
    }

    pub(super) fn pair_side_mut(&mut self, number: u32) -> Option<&mut Side> {
        self.pairs.get_mut(number as usize / 2)?.sides.get_mut(number as usize & 1)
    }

    /// The session of the other side.
    pub(super) fn other_key(&self, number: u32) -> Option<SessionKey> {
        self.pairs.get(number as usize / 2)?.side(number ^ 1).map(|side| side.session)
    }

    /// The head of a request of one side; the common checks have been made.
    pub(super) fn pair_head(&mut self, cx: &mut Cx, number: u32, chunk: &Chunk<'_>) -> Verdict {
        let head = chunk.head;
        let Start::Request { method, .. } = head.start else { return Verdict::Done };
        match method {
            // It bound the session, or keeps the connection.
            Method::Send if !head.has_body && chunk.end == Some(Continuation::Last) => {
                return Verdict::Accept;
            }
            // No REPORT could say of which message it is (RFC 4975 §7.1.1).
            Method::Send if head.message_id.is_none() => return Verdict::Refuse(400),
            Method::Auth => return Verdict::Refuse(501),
            Method::Other(_) if !self.config.passes_unknown_methods => {
                return Verdict::Refuse(501);
            }
            Method::Send | Method::Report | Method::Nickname | Method::Other(_) => {}
        }
        let Some(key) = self.other_key(number) else { return Verdict::Refuse(481) };
        if cx.sessions.get(key).is_none() {
            // Its peer is gone, and with it what this was for, unless another one may come.
            return Verdict::Refuse(if self.may_be_renewed(number ^ 1) { 403 } else { 481 });
        }
        if !self.has_begun(number ^ 1, chunk) {
            return Verdict::Refuse(413);
        }
        let route = Route { key, own: None, path: 0 };
        if let Err(code) = self.check_head(number, chunk) {
            self.abort_before(cx, chunk, route, number);
            return Verdict::Refuse(code);
        }
        self.copy_head(cx, number, chunk);
        if chunk.end.is_some() && !self.may_leave(cx, number, method) {
            return self.keep_head(cx, number, chunk, method);
        }
        self.pass_head(cx, chunk, route, Some(number))
    }

    /// Counts a request and says whether it may pass.
    fn check_head(&mut self, number: u32, chunk: &Chunk<'_>) -> Result<(), u16> {
        let Some(pair) = self.pairs.get_mut(number as usize / 2) else { return Err(481) };
        let Pair { config, sides, .. } = pair;
        let Some(side) = sides.get_mut(number as usize & 1) else { return Err(481) };
        let (head, body) = (chunk.head, chunk.body);
        let counts = &mut side.counts;
        if head.start.is_send() {
            let range = Passed::of(head, body.len());
            let reaches = (range.start - 1).saturating_add(range.octets);
            let size = range.total.unwrap_or(0).max(reaches);
            if config.max_size.is_some_and(|max| size > max) {
                counts.refused += 1;
                return Err(413);
            }
            counts.chunks += 1;
            counts.octets += body.len() as u64;
            counts.messages += u64::from(chunk.end == Some(Continuation::Last));
        } else if matches!(head.start, Start::Request { method: Method::Report, .. }) {
            counts.reports += 1;
        }
        filter(config, counts, PairSide::of(number), Some(head), body)
    }

    /// The same for more of a chunk, `next` being the position of its first octet.
    pub(super) fn check_more(
        &mut self,
        number: u32,
        next: u64,
        more: &More<'_>,
    ) -> Result<(), u16> {
        let Some(pair) = self.pairs.get_mut(number as usize / 2) else { return Err(481) };
        let Pair { config, sides, .. } = pair;
        let Some(side) = sides.get_mut(number as usize & 1) else { return Err(481) };
        let counts = &mut side.counts;
        let reaches = (next - 1).saturating_add(more.body.len() as u64);
        if config.max_size.is_some_and(|max| reaches > max) {
            counts.refused += 1;
            return Err(413);
        }
        counts.octets += more.body.len() as u64;
        counts.messages += u64::from(more.end == Some(Continuation::Last));
        filter(config, counts, PairSide::of(number), None, more.body)
    }

    fn copy_head(&mut self, cx: &mut Cx, number: u32, chunk: &Chunk<'_>) {
        let head = chunk.head;
        if !head.start.is_send() {
            return;
        }
        let message = || {
            Some(PassageHead {
                message_id: head.message_id.unwrap_or_default().into(),
                byte_range: head.byte_range,
                content_type: head.content_type.map(Into::into),
            })
        };
        self.copy(cx, number, message, (chunk.body, chunk.octets), chunk.end);
    }

    /// Gives out more of a chunk, if the pair does.
    pub(super) fn copy_more(&mut self, cx: &mut Cx, number: u32, more: &More<'_>) {
        self.copy(cx, number, || None, (more.body, more.octets), more.end);
    }

    fn copy(
        &mut self,
        cx: &mut Cx,
        number: u32,
        message: impl FnOnce() -> Option<PassageHead>,
        (body, octets): (&[u8], &Bytes),
        end: Option<Continuation>,
    ) {
        let Some(pair) = self.pairs.get(number as usize / 2) else { return };
        if !pair.config.copies {
            return;
        }
        let body = if body.len() >= crate::SHARED_OCTETS_MIN {
            octets.slice_ref(body)
        } else {
            Bytes::copy_from_slice(body)
        };
        let key = PairKey { place: number / 2, generation: pair.generation };
        let side = PairSide::of(number);
        let Some(session) = pair.side(number).map(|side| side.session) else { return };
        let passage = Passage { pair: key, side, session, message: message(), body, end };
        cx.event(NodeEvent::Relay(Event::Passed(Box::new(passage))));
    }
}

fn filter(
    config: &mut PairConfig,
    counts: &mut SideCounts,
    side: PairSide,
    head: Option<&Head<'_>>,
    body: &[u8],
) -> Result<(), u16> {
    let Some(filter) = &mut config.filter else { return Ok(()) };
    filter(side, head, body).inspect_err(|_| counts.refused += 1)
}
