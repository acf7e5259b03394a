//! Sessions beside the ones that a pair has, by URIs of which a peer is just told.
//!
//! A description may give a side another URI than it had: that of the peer on the other side, when
//! the pair is not to be seen (RFC 6714 §6.2), or one more of ours. Whether it comes to that is
//! known with the answer, and who answers may connect before the answer has come here. So the
//! session is there before its URI is told, beside the one that stands, and takes its place when
//! the answer has come.
//!
//! What comes in it until then passes like anything of its side. Nothing leaves from it.

use std::time::Instant;

use parlance_sip::sdp::Fingerprint;

use crate::node::cx::Cx;
use crate::path::session_id;
use crate::relay::Relay;
use crate::relay::pair::{PairKey, PairSide};
use crate::session::{FromRule, LocalAddress, SessionKey, Usage};
use crate::{MsrpUri, Node, Path};

/// What a session of a pair is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A new URI of ours, here.
    Own(LocalAddress),
    /// The URI of the peer on the other side.
    Lent(MsrpUri),
}

impl Node {
    /// Opens a session beside that of one side of a pair; one that was there before has ended.
    /// `None`: there is no such pair, or a session of this node has the URI already. One that is
    /// only beside another, and of which nobody has heard, gives way.
    pub fn open_beside(
        &mut self,
        now: Instant,
        pair: PairKey,
        side: PairSide,
        name: Name,
    ) -> Option<SessionKey> {
        self.command(now, |roles| {
            let (cx, relay) = (&mut roles.cx, &mut roles.relay);
            relay.pair(pair)?;
            let number = pair.number(side);
            relay.end_beside(cx, number);
            let session = match name {
                Name::Own(address) => cx.open(&address, Usage::Pair(number)),
                Name::Lent(uri) => {
                    session_id(uri.as_bytes())?;
                    relay.make_way(cx, uri.as_bytes())?;
                    cx.sessions.open_as(uri, Usage::Pair(number))
                }
            };
            relay.pair_side_mut(number)?.beside = Some(session);
            Some(session)
        })
    }

    /// The session beside that of a side takes its place, its peer being known now: `path`, `rule`
    /// and `fingerprints` are those of [`set_peer`](Self::set_peer). What the peer of the one
    /// before had not answered has failed with 481. When another peer was in the new one already,
    /// it fails, and nothing of what it has sent passes any more. `None`: there is none.
    pub fn take_beside(
        &mut self,
        now: Instant,
        pair: PairKey,
        side: PairSide,
        path: Path<'_>,
        rule: FromRule,
        fingerprints: &[Fingerprint],
    ) -> Option<SessionKey> {
        self.command(now, |roles| {
            let (cx, relay) = (&mut roles.cx, &mut roles.relay);
            relay.pair(pair)?;
            let number = pair.number(side);
            let session = relay.pair_side_mut(number)?.beside.take()?;
            relay.move_to(cx, number, session)?;
            if let Err(why) = cx.set_peer(session, path, rule, fingerprints) {
                relay.stop_passing(cx, number);
                relay.give_up_waiting(cx, number ^ 1, 481);
                cx.fail(session, why);
            } else if cx.sessions.get(session)?.connection.is_some() {
                relay.pair_bound(cx, number);
            }
            Some(session)
        })
    }

    /// Ends the session beside that of a side, if there is one: it did not come to that.
    pub fn end_beside(&mut self, now: Instant, pair: PairKey, side: PairSide) {
        self.command(now, |roles| {
            if roles.relay.pair(pair).is_some() {
                roles.relay.end_beside(&mut roles.cx, pair.number(side));
            }
        });
    }

    /// The session beside that of a side.
    pub fn beside(&self, pair: PairKey, side: PairSide) -> Option<SessionKey> {
        self.roles.relay.pair(pair)?.side(side.index())?.beside
    }
}

impl Relay {
    /// Whether a session of a side is the one beside.
    pub(super) fn is_beside(&mut self, number: u32, key: SessionKey) -> bool {
        self.pair_side_mut(number).is_some_and(|side| side.beside == Some(key))
    }

    /// Ends the session with this URI when it is beside another, and unbound. `None`: there is one
    /// that does not give way.
    fn make_way(&mut self, cx: &mut Cx, uri: &[u8]) -> Option<()> {
        let Some(key) = cx.sessions.find(uri) else { return Some(()) };
        let session = cx.sessions.get(key).filter(|session| session.connection.is_none())?;
        let Usage::Pair(number) = session.usage else { return None };
        if !self.is_beside(number, key) {
            return None;
        }
        self.end_beside(cx, number);
        Some(())
    }

    pub(super) fn end_beside(&mut self, cx: &mut Cx, number: u32) {
        if let Some(session) = self.pair_side_mut(number).and_then(|side| side.beside.take()) {
            cx.end(session);
        }
    }

    /// Gives a side `session`. What waits for its connection goes on waiting when there was none.
    fn move_to(&mut self, cx: &mut Cx, number: u32, session: SessionKey) -> Option<()> {
        let before = self.pair_side_mut(number)?.session;
        if cx.sessions.get(before).is_some_and(|before| before.connection.is_some()) {
            self.empty(cx, number)?;
        } else {
            self.lead_to(number, session);
            cx.end(before);
        }
        self.pair_side_mut(number)?.session = session;
        Some(())
    }
}
