//! Messages that pass through: the relay of RFC 4976, and pairs of sessions that stand between two
//! peers.
//!
//! | what | where | specification |
//! |---|---|---|
//! | AUTH: challenge, proof, grant | `auth` | RFC 4976 §6.3, §9.1 |
//! | URIs of a `Use-Path` | `grant` | RFC 4976 §6.3 |
//! | where a request may go | `route` | RFC 4976 §6.4 |
//! | requests passed on, in chunks | `forward`, `passing` | RFC 4976 §6.4.1, §6.4.2 |
//! | responses and reports | `back` | RFC 4976 §6.4.3 |
//! | pairs (B2BUA) | `pair` | RFC 6714 §6.2 |
//! | what waits for a side of one | `waiting` | |
//! | pairs whose peers change | `renew` | |
//! | sessions whose URI a peer is just told of | `beside` | RFC 6714 §6.2 |
//! | the client of relays | [`RelayClient`] | RFC 4976 §5.1 |
//!
//! A grant is a URI that stands in front of a client: what comes from the client goes on to the
//! next URI of its `To-Path`, what comes from elsewhere goes to the client and nowhere else. A pair
//! is two session URIs, one for each peer: what comes to one leaves from the other, with the paths
//! that each peer knows.
//!
//! A chunk that is there when it is looked at leaves as it came, but for the start line, the path
//! headers and the end-line. One that still comes is passed on in chunks of its own, each with the
//! range of what it has; nothing is kept but its head and one octet, or what is too short for a
//! chunk (RFC 4975 §7.1). What a sink does not take holds back the source.

mod auth;
mod back;
mod beside;
mod client;
mod config;
mod forward;
mod grant;
mod pair;
mod passing;
mod renew;
mod route;
mod settled;
mod waiting;

use std::time::Instant;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parlance_sip::digest::{NonceKey, Policy, Qop, Verifier};
use parlance_sip::entropy::token;
use slab::Slab;

use self::auth::Awaiting;
use self::back::Forwarded;
use self::grant::Grant;
use self::pair::Pair;
use self::passing::Passing;
use crate::node::ConnectionId;
use crate::node::cx::{Cx, Verdict};
use crate::node::receive::{Chunk, More};
use crate::session::{SessionKey, Usage};
use crate::{CloseReason, Head, Lost, Method, Node, Start};

pub use self::auth::{AuthKey, UserVerdict};
pub use self::beside::Name;
pub use self::client::{
    RELAY_PORT, RelayAccount, RelayClient, RelayClientError, RelayClientOutput, RelayLookup,
};
pub use self::config::{NextHops, PeerRelays, RelayConfig};
pub use self::pair::{
    Filter, PairConfig, PairCounts, PairKey, PairSide, Passage, PassageHead, SideCounts,
};

/// Something of the relay that the application has to know.
#[derive(Debug)]
pub enum Event {
    /// A client or relay authenticates: say what is known of the user, with
    /// [`Node::authorize`](crate::Node::authorize).
    User {
        /// Which request asks.
        request: AuthKey,
        /// The user.
        username: Box<str>,
        /// The realm, for credentials that are kept hashed.
        realm: Box<str>,
    },
    /// A URI was handed out.
    Granted {
        /// The session it is.
        session: SessionKey,
        /// To whom.
        username: Box<str>,
        /// Until when.
        expires: Instant,
    },
    /// Credentials were wrong: a login failure for the log.
    Denied {
        /// Where they came.
        connection: ConnectionId,
        /// Whose they were said to be.
        username: Box<str>,
    },
    /// A chunk has passed a pair that copies them (for histories).
    Passed(Box<Passage>),
}

impl Event {
    /// The session it is about; `None` when it is about none.
    pub fn session(&self) -> Option<SessionKey> {
        match self {
            Self::Granted { session, .. } => Some(*session),
            Self::Passed(passage) => Some(passage.session),
            Self::User { .. } | Self::Denied { .. } => None,
        }
    }
}

/// The messages that pass through a node.
#[derive(Debug)]
pub(crate) struct Relay {
    config: RelayConfig,
    grants: Slab<Grant>,
    pairs: Slab<Pair>,
    /// Chunks of which the head came, and not the end, by where they come.
    passing: HashMap<ConnectionId, Box<Passing>, FixedState>,
    /// Connections with failed AUTHs, and how many.
    failures: HashMap<ConnectionId, u8, FixedState>,
    /// AUTHs whose user is asked for.
    awaiting: Slab<Awaiting>,
    verifier: Verifier,
    /// Goes with every challenge: some clients ask for it.
    opaque: String,
    /// When time began, for nonces.
    epoch: Instant,
    /// Tells those apart that had one place.
    generation: u32,
}

/// Requests that wait for a response in a session for which room is kept when none does: 2 KiB.
const QUIET_PLACES: usize = 16;

impl Node {
    /// Says how the relay is run. URIs that were handed out stay good.
    pub fn set_relay(&mut self, now: Instant, config: RelayConfig) {
        self.command(now, |roles| {
            let relay = Relay::new(now, config, roles.cx.entropy());
            let Relay { config, verifier, epoch, .. } = relay;
            (roles.relay.config, roles.relay.verifier) = (config, verifier);
            roles.relay.epoch = epoch;
        });
    }

    /// How many URIs are handed out, for a gauge.
    pub fn relay_grants(&self) -> usize {
        self.roles.relay.grants.len()
    }
}

impl Relay {
    pub(crate) fn new(now: Instant, config: RelayConfig, entropy: &mut dyn FnMut() -> u64) -> Self {
        let mut entropy = || entropy();
        let policy = Policy {
            algorithms: config.algorithms.clone(),
            // RFC 4976 §9.1: no auth-int, and qop is a must.
            qop: vec![Qop::Auth],
            allow_missing_qop: false,
            nonce_secs: config.nonce_life.as_secs(),
            nonces_max: config.nonces_max,
        };
        Self {
            verifier: Verifier::new(policy, NonceKey::random(&mut entropy)),
            opaque: token(&mut entropy, 1),
            passing: HashMap::with_hasher(FixedState::with_seed(entropy())),
            failures: HashMap::with_hasher(FixedState::with_seed(entropy())),
            grants: Slab::new(),
            pairs: Slab::new(),
            awaiting: Slab::new(),
            config,
            epoch: now,
            generation: 0,
        }
    }

    /// Handles the head of a request in one of its sessions.
    pub(crate) fn head(&mut self, cx: &mut Cx, usage: Usage, chunk: &Chunk<'_>) -> Verdict {
        match usage {
            Usage::Pair(number) => self.pair_head(cx, number, chunk),
            Usage::Grant(_) => self.grant_head(cx, chunk),
            Usage::Endpoint(_) | Usage::Leg(_) => Verdict::Refuse(481),
        }
    }

    /// Handles more of a chunk.
    pub(crate) fn body(&mut self, cx: &mut Cx, _: Usage, more: &More<'_>) -> Verdict {
        let Some(mut passing) = self.passing.remove(&more.connection) else {
            return Verdict::Done;
        };
        let verdict = self.pass_more(cx, &mut passing, more);
        if more.end.is_none() && verdict == Verdict::Accept {
            self.passing.insert(more.connection, passing);
        }
        verdict
    }

    /// Handles a request for none of the sessions of this node.
    pub(crate) fn outside(&mut self, cx: &mut Cx, chunk: &Chunk<'_>) -> Verdict {
        let ours = self.config.is_ours(chunk.head.to_path.first());
        match chunk.head.start {
            Start::Request { method: Method::Auth, .. } if ours => self.auth(cx, chunk),
            _ if !ours && self.config.address.is_some() => {
                cx.close(chunk.connection, CloseReason::NotOurs);
                Verdict::Done
            }
            _ => Verdict::Refuse(481),
        }
    }

    /// The response to what was passed on as `token` from session `key`.
    pub(crate) fn response(
        &mut self,
        cx: &mut Cx,
        key: SessionKey,
        token: u64,
        head: &Head<'_>,
        code: u16,
    ) {
        if let Some(forwarded) = self.take(cx, key, token) {
            self.answered(cx, key, forwarded, head, code);
        }
    }

    /// No response comes to what was passed on as `token` from session `key`.
    pub(crate) fn unanswered(&mut self, cx: &mut Cx, key: SessionKey, token: u64) {
        if let Some(forwarded) = self.take(cx, key, token) {
            self.given_up(cx, key, &forwarded);
        }
    }

    fn take(&mut self, cx: &Cx, key: SessionKey, token: u64) -> Option<Forwarded> {
        let fifo = self.fifo(cx, key)?;
        let forwarded = fifo.take(token);
        if fifo.is_empty() {
            // A burst leaves its room behind otherwise.
            fifo.shrink(QUIET_PLACES);
        }
        forwarded
    }

    /// The session is bound to a connection.
    pub(crate) fn bound(&mut self, cx: &mut Cx, key: SessionKey) {
        if let Some(Usage::Pair(number)) = cx.sessions.get(key).map(|session| session.usage)
            && !self.is_beside(number, key)
        {
            self.pair_bound(cx, number);
        }
    }

    /// The session has failed; it is gone when this returns.
    pub(crate) fn lost(&mut self, cx: &mut Cx, key: SessionKey, _why: Lost) {
        match cx.sessions.get(key).map(|session| session.usage) {
            Some(Usage::Grant(place)) => {
                self.grants.try_remove(place as usize);
            }
            Some(Usage::Pair(number)) if self.is_beside(number, key) => {
                self.end_beside(cx, number);
            }
            Some(Usage::Pair(number)) => self.pair_lost(cx, number),
            Some(Usage::Endpoint(_) | Usage::Leg(_)) | None => {}
        }
    }

    /// A connection is gone: what came half will not come whole.
    pub(crate) fn gone(&mut self, _: &mut Cx, connection: ConnectionId) {
        self.passing.remove(&connection);
        self.failures.remove(&connection);
        self.awaiting.retain(|_, awaiting| awaiting.connection != connection);
    }

    /// A response that nobody waits for: it came late, or to something that asked for none.
    pub(crate) fn stray(&mut self, _: &mut Cx, _: SessionKey, _: &Head<'_>, _: u16) {}

    /// The timer of a session: none has one.
    pub(crate) fn timeout(&mut self, _: &mut Cx, _: SessionKey) {}
}

#[cfg(test)]
mod tests;
