//! What waits for a side of a pair: until it is connected, and while it is held.
//!
//! | why it waits | what waits | at the limit |
//! |---|---|---|
//! | not connected yet | every request | its source is not read from |
//! | held | SENDs that carry something | the message has failed: REPORT 408 |
//!
//! What waits was received and is answered so. It leaves in its order.

use std::collections::VecDeque;
use std::time::Instant;

use smallvec::SmallVec;

use crate::node::ConnectionId;
use crate::node::cx::{Cx, Unsent, Verdict};
use crate::node::receive::Chunk;
use crate::relay::back::{Forwarded, Passed};
use crate::relay::forward::{Leaving, Memory, Route, accepted};
use crate::relay::pair::{PairKey, PairSide};
use crate::relay::{Relay, forward};
use crate::{Continuation, HoldLimits, Method, Node};

/// Octets that wait for a peer that is not connected yet; more, and the other peer is not read
/// from. Local limit.
const EARLY_OCTETS_MAX: usize = 64 * 1024;

/// Messages that are remembered because a part of them did not fit; what comes of one that is
/// forgotten may be held. Local limit.
const REFUSED_MAX: usize = 64;

/// What a request takes besides its octets.
const OVERHEAD: usize = size_of::<Waits>();

/// What waits for one side.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    requests: VecDeque<Waits>,
    octets: usize,
    /// How many messages begin in what waits.
    messages: u32,
    /// Connections that are not read from meanwhile.
    sources: SmallVec<[ConnectionId; 1]>,
    /// How much may wait, while the side is held.
    hold: Option<HoldLimits>,
    /// Messages of which a part did not fit, the oldest first.
    refused: VecDeque<SmallVec<[u8; 32]>>,
}

/// A request that waits.
#[derive(Debug)]
struct Waits {
    source: ConnectionId,
    memory: (Option<Memory>, Passed),
    message_id: SmallVec<[u8; 32]>,
    method: SmallVec<[u8; 8]>,
    before: Box<[u8]>,
    range: Option<Passed>,
    after: Box<[u8]>,
    body: Option<Box<[u8]>>,
    end: Continuation,
}

impl Waits {
    fn new(
        source: ConnectionId,
        memory: (Option<Memory>, Passed),
        message_id: &[u8],
        leaving: &Leaving<'_>,
    ) -> Self {
        Self {
            source,
            memory,
            message_id: message_id.into(),
            method: leaving.method.as_bytes().into(),
            before: leaving.before.into(),
            range: leaving.range,
            after: leaving.after.into(),
            body: leaving.body.map(|(held, new)| [held, new].concat().into()),
            end: leaving.end,
        }
    }

    fn octets(&self) -> usize {
        octets(&self.leaving())
    }

    fn begins(&self) -> u32 {
        begins(self.memory.1)
    }

    fn leaving(&self) -> Leaving<'_> {
        Leaving {
            method: Method::from_name(&self.method),
            before: &self.before,
            range: self.range,
            after: &self.after,
            body: self.body.as_deref().map(|body| (body, &[][..])),
            octets: None,
            end: self.end,
        }
    }

    /// What its sender is told of when it fails.
    fn forwarded(&self) -> Option<Forwarded> {
        let (memory, range) = self.memory.clone();
        forward::remembered(memory?, range, self.source)
    }
}

/// What a request takes while it waits.
fn octets(leaving: &Leaving<'_>) -> usize {
    let body = leaving.body.map_or(0, |(held, new)| held.len() + new.len());
    leaving.before.len() + leaving.after.len() + body + OVERHEAD
}

/// Whether a message begins with these octets: as a number.
fn begins(range: Passed) -> u32 {
    u32::from(range.start == 1)
}

impl Waiting {
    /// Whether so much more may wait while the side is held; of the rest of a message that did not
    /// fit nothing may.
    fn has_room(
        &self,
        limits: HoldLimits,
        message_id: &[u8],
        range: Passed,
        octets: usize,
    ) -> bool {
        let octets = (self.octets + octets) as u64;
        let is_refused = self.refused.iter().any(|refused| refused[..] == *message_id);
        !is_refused && self.messages + begins(range) <= limits.messages && octets <= limits.octets
    }

    /// Whether something waits until the side is connected.
    pub(super) fn is_for_connection(&self) -> bool {
        self.hold.is_none() && !self.requests.is_empty()
    }

    fn push(&mut self, waits: Waits) {
        self.octets += waits.octets();
        self.messages += waits.begins();
        self.requests.push_back(waits);
    }

    /// No more is taken of this message; what waits of it is given back.
    fn refuse(&mut self, message_id: &[u8]) -> Vec<Waits> {
        if !self.refused.iter().any(|refused| refused[..] == *message_id) {
            if self.refused.len() >= REFUSED_MAX {
                self.refused.pop_front();
            }
            self.refused.push_back(message_id.into());
        }
        let is_of = |waits: &Waits| waits.message_id[..] == *message_id;
        let (gone, kept): (Vec<_>, VecDeque<_>) = std::mem::take(&mut self.requests)
            .into_iter()
            .fold((Vec::new(), VecDeque::new()), |(mut gone, mut kept), waits| {
                if is_of(&waits) {
                    gone.push(waits)
                } else {
                    kept.push_back(waits)
                }
                (gone, kept)
            });
        self.requests = kept;
        for waits in &gone {
            self.octets -= waits.octets();
            self.messages -= waits.begins();
        }
        gone
    }
}

impl Node {
    /// Holds what is sent to `side` of a pair, up to `limits`, until it is released: SENDs with a
    /// body, answered as received. Reports, responses and other requests pass. For a side that is
    /// held already the limits change.
    pub fn hold_pair(&mut self, now: Instant, pair: PairKey, side: PairSide, limits: HoldLimits) {
        self.command(now, |roles| {
            if roles.relay.pair(pair).is_some()
                && let Some(side) = roles.relay.pair_side_mut(pair.number(side))
            {
                side.waiting.hold = Some(limits);
            }
        });
    }

    /// What was held for `side` of a pair leaves in its order, and nothing is held any more.
    pub fn release_pair(&mut self, now: Instant, pair: PairKey, side: PairSide) {
        self.command(now, |roles| {
            let number = pair.number(side);
            if roles.relay.pair(pair).is_none() {
                return;
            }
            let Some(side) = roles.relay.pair_side_mut(number) else { return };
            side.waiting.hold = None;
            side.waiting.refused.clear();
            // The other one's other is this one.
            if roles.relay.is_other_bound(&roles.cx, number ^ 1) {
                roles.relay.let_leave(&mut roles.cx, number);
            }
        });
    }
}

impl Relay {
    /// Whether the side other than `number` can be written to.
    fn is_other_bound(&self, cx: &Cx, number: u32) -> bool {
        let session = self.other_key(number).and_then(|key| cx.sessions.get(key));
        session.is_some_and(|session| session.connection.is_some() && session.peer().is_some())
    }

    /// Whether a request that came from side `number` may leave from the other one at once.
    pub(super) fn may_leave(&mut self, cx: &Cx, number: u32, method: Method<'_>) -> bool {
        let is_held = method == Method::Send
            && self.pair_side_mut(number ^ 1).is_some_and(|side| side.waiting.hold.is_some());
        !is_held && self.is_other_bound(cx, number)
    }

    /// Keeps a whole request for the other side.
    pub(super) fn keep_head(
        &mut self,
        cx: &mut Cx,
        number: u32,
        chunk: &Chunk<'_>,
        method: Method<'_>,
    ) -> Verdict {
        let head = chunk.head;
        let leaving = Leaving {
            method,
            before: head.rest,
            range: None,
            after: b"",
            body: head.has_body.then_some((&[], chunk.body)),
            octets: None,
            end: chunk.end.unwrap_or(Continuation::Last),
        };
        let memory = (Memory::of(head), Passed::of(head, chunk.body.len()));
        let message_id = head.message_id.unwrap_or_default();
        // It was received; that it failed is reported.
        let _ = self.keep(cx, number, chunk.connection, memory, message_id, &leaving);
        accepted(method)
    }

    /// Keeps a request of side `number` for the other one. Where that is held and there is no room,
    /// the message has failed, with what waits of it.
    pub(super) fn keep(
        &mut self,
        cx: &mut Cx,
        number: u32,
        source: ConnectionId,
        (memory, range): (Option<Memory>, Passed),
        message_id: &[u8],
        leaving: &Leaving<'_>,
    ) -> Result<(), Unsent> {
        let Some(side) = self.pair_side_mut(number ^ 1) else { return Err(Unsent::Unbound) };
        let (key, waiting) = (side.session, &mut side.waiting);
        let limits = waiting.hold.filter(|_| leaving.method == Method::Send);
        if let Some(limits) = limits
            && !waiting.has_room(limits, message_id, range, octets(leaving))
        {
            let mut failed: Vec<Forwarded> = Vec::new();
            failed.extend(waiting.refuse(message_id).iter().filter_map(Waits::forwarded));
            failed.extend(memory.and_then(|it| forward::remembered(it, range, source)));
            for forwarded in &failed {
                self.report(cx, key, forwarded, 408);
            }
            return Err(Unsent::Unbound);
        }
        waiting.push(Waits::new(source, (memory, range), message_id, leaving));
        let is_much = waiting.octets > EARLY_OCTETS_MAX && limits.is_none();
        if is_much && !waiting.sources.contains(&source) {
            waiting.sources.push(source);
            cx.hold(source);
        }
        Ok(())
    }

    /// Side `number` is connected: it gets what waits, unless it is held.
    pub(super) fn pair_bound(&mut self, cx: &mut Cx, number: u32) {
        let is_held = |side: &mut super::pair::Side| side.waiting.hold.is_some();
        if !self.pair_side_mut(number).is_some_and(is_held) {
            self.let_leave(cx, number);
        }
    }

    /// Side `number` gets what waits.
    fn let_leave(&mut self, cx: &mut Cx, number: u32) {
        let Some((key, requests)) = self.take_waiting(cx, number) else { return };
        let route = Route { key, own: None, path: 0 };
        for waits in requests {
            let memory = waits.memory.clone();
            // What cannot be written is reported.
            let _ = self.pass(cx, waits.source, &route, memory, &waits.leaving());
        }
    }

    /// A side is gone. The application ends the pair; until then the other side is answered 481.
    pub(super) fn pair_lost(&mut self, cx: &mut Cx, number: u32) {
        self.give_up_waiting(cx, number, 481);
    }

    /// What waits for side `number` has failed, with `code`.
    pub(super) fn give_up_waiting(&mut self, cx: &mut Cx, number: u32, code: u16) {
        let Some((key, requests)) = self.take_waiting(cx, number) else { return };
        for forwarded in requests.iter().filter_map(Waits::forwarded) {
            self.report(cx, key, &forwarded, code);
        }
    }

    /// Takes out what waits for side `number`; its sources are read from again.
    fn take_waiting(
        &mut self,
        cx: &mut Cx,
        number: u32,
    ) -> Option<(crate::SessionKey, VecDeque<Waits>)> {
        let side = self.pair_side_mut(number)?;
        let waiting = &mut side.waiting;
        (waiting.octets, waiting.messages) = (0, 0);
        for source in std::mem::take(&mut waiting.sources) {
            cx.let_go(source);
        }
        Some((side.session, std::mem::take(&mut waiting.requests)))
    }
}
