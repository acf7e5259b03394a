//! All MSRP of one core: connections, sessions, and the roles that handle what comes.
//!
//! A node is fed what happens on its connections and tells what is to be done; it never waits.
//! Everything a connection or session needs is in here, so cores share nothing but the rare
//! connection that carries sessions of several ([`Output::Foreign`]).
//!
//! The order of checks of a request (RFC 4975 §7.3, §10):
//!
//! | check | else |
//! |---|---|
//! | the first `To-Path` URI is a session of ours (or AUTH) | 481 |
//! | it is the only one (not for a URI of a `Use-Path`) | 481 |
//! | the session is bound to this connection, or to none yet | 506 |
//! | `From-Path` is the path in the peer's SDP | 481 |
//! | a session to be bound: the connection shows a certificate of the peer's SDP | 403 |
//! | the method is one that the role knows | 501 |
//! | what the role says | its code |
//!
//! Nothing is answered with Failure-Report `no`, and never a REPORT.

mod certificate;
pub(crate) mod connection;
pub(crate) mod count;
pub(crate) mod cx;
mod deadline;
mod event;
mod expected;
mod foreign;
mod peer;
pub(crate) mod receive;
pub(crate) mod row;
pub(crate) mod timers;

use std::time::{Duration, Instant};

use bytes::Bytes;
use parlance_sip::sdp::Fingerprint;

pub use certificate::CertificateHash;
pub use count::{Counts, REFUSAL_CODES};
pub use event::{Event, Input, Lost, Output};
pub use peer::{CloseReason, ConnectError, ConnectionId, Hop, Peer, Standing, Tls};

use crate::endpoint::Endpoints;
use crate::node::connection::State;
use crate::node::cx::Cx;
use crate::node::receive::Roles;
use crate::relay::{Relay, RelayConfig};
use crate::session::{FromRule, SessionKey};
use crate::switch::Switch;
use crate::{Framer, Limits, Marks, MsrpUri, Outbound, Path};

/// Limits and periods of a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeConfig {
    /// How long an unknown peer has to present a valid request. Default 30 s (RFC 4976 §6.1).
    pub probation: Duration,
    /// An empty SEND goes out when nothing did for so long. Default never.
    pub keep_alive: Option<Duration>,
    /// What a connection may hold back.
    pub marks: Marks,
    /// What a message may look like.
    pub limits: Limits,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            probation: Duration::from_secs(30),
            keep_alive: None,
            marks: Marks::default(),
            limits: Limits::default(),
        }
    }
}

/// Which core has the session that a URI names, when it has one of ours, or one that was lent
/// ([`LentUris`](crate::LentUris)).
pub type Places = Box<dyn Fn(&[u8]) -> Option<u8> + Send>;

/// All MSRP of one core.
pub struct Node {
    /// By the place of the connection.
    framers: Vec<Framer>,
    pub(crate) roles: Roles,
}

impl Node {
    /// The node of `core`, one of `cores`. `entropy` gives 64 random bits at a time, which a peer
    /// must not be able to guess.
    pub fn new(
        core: u8,
        cores: u8,
        now: Instant,
        config: NodeConfig,
        entropy: Box<dyn FnMut() -> u64 + Send>,
    ) -> Self {
        let mut cx = Cx::new((core, cores), now, config, entropy);
        let relay = Relay::new(now, RelayConfig::default(), cx.entropy());
        let roles = Roles { cx, endpoints: Endpoints::default(), relay, switch: Switch::default() };
        Self { framers: Vec::new(), roles }
    }

    /// How sessions of other cores are found from now on; by the session-id alone before.
    pub fn set_places(&mut self, places: Places) {
        self.roles.cx.places = places;
    }

    /// How certificates are compared with a fingerprint from now on; before, none has one.
    pub fn set_certificate_hash(&mut self, hash: CertificateHash) {
        self.roles.cx.hash = hash;
    }

    /// A connection was accepted, at `since`: its probation began then.
    pub fn accept(&mut self, since: Instant, peer: Peer) -> ConnectionId {
        let cx = &mut self.roles.cx;
        let connection = cx.connections.insert(since, Some(peer), None);
        cx.arm(connection);
        connection
    }

    /// Feeds what happened at `now`. May be called again before the outputs are drained.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.roles.cx.now = now;
        match input {
            Input::Octets { connection, octets } => self.octets(connection, octets),
            Input::Written { connection } => {
                self.roles.written(connection);
                self.roles.settle();
            }
            Input::Connected { connection, peer } => {
                self.command(now, |roles| roles.connected(connection, peer));
            }
            Input::ConnectFailed { connection, error } => {
                let why = Lost::Unconnected(error);
                self.command(now, |roles| roles.connection_lost(connection, why));
            }
            Input::Lost { connection } => {
                self.command(now, |roles| roles.connection_lost(connection, Lost::Connection));
            }
            Input::Timeout => self.command(now, Roles::timeout),
        }
    }

    /// Writes what waits in rooms for one participant more; the connection it waits on now, which
    /// is best written at once. `None`: nothing waits any more. Who does not call it gets all of it
    /// with the next output.
    pub fn write_row(&mut self) -> Option<ConnectionId> {
        let connection = self.roles.switch.write_row(&mut self.roles.cx);
        self.roles.settle();
        connection
    }

    /// Writes all that waits in rooms.
    pub(crate) fn write_rows(&mut self) {
        while self.write_row().is_some() {}
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.write_rows();
        self.roles.cx.outputs.pop_front()
    }

    /// When to call again with [`Input::Timeout`]; `None` while no timer runs. May be early.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.roles.cx.timers.next()
    }

    /// What waits to be written on `connection`, for the driver to write and take away.
    /// [`Output::Flush`] is said again for what is added from now on.
    pub fn outbound(&mut self, connection: ConnectionId) -> Option<&mut Outbound> {
        let found = self.roles.cx.connections.get_mut(connection)?;
        found.dirty = false;
        Some(&mut found.outbound)
    }

    /// What the driver may want to know of `connection`.
    pub fn standing(&self, connection: ConnectionId) -> Option<Standing> {
        let found = self.roles.cx.connections.get(connection)?;
        let framer = self.framers.get(connection.index()).filter(|_| found.framed);
        Some(Standing {
            used: found.used,
            sessions: found.sessions.len(),
            in_head: framer.is_some_and(Framer::in_head),
            in_body: framer.is_some_and(Framer::in_body),
            queued: found.outbound.pinned(),
        })
    }

    /// Who is at the other end of `connection`; `None` until a connection of ours stands.
    pub fn peer(&self, connection: ConnectionId) -> Option<&Peer> {
        self.roles.cx.connections.get(connection)?.peer.as_deref()
    }

    /// What passes `connection` is counted in `group` from now on; in group 0 before.
    pub fn count_as(&mut self, connection: ConnectionId, group: u16) {
        if let Some(found) = self.roles.cx.connections.get_mut(connection) {
            found.group = group;
            self.roles.cx.counts.make(group);
        }
    }

    /// What was counted in `group` since the node began.
    pub fn counts(&self, group: u16) -> &Counts {
        self.roles.cx.counts.get(group)
    }

    /// How many connections and sessions there are.
    pub fn load(&self) -> (usize, usize) {
        (self.roles.cx.connections.len(), self.roles.cx.sessions.len())
    }

    /// Our URI of `session`, for the `a=path` of our SDP.
    pub fn uri(&self, session: SessionKey) -> Option<&MsrpUri> {
        Some(self.roles.cx.sessions.get(session)?.own())
    }

    /// The connection that `session` is bound to.
    pub fn connection(&self, session: SessionKey) -> Option<ConnectionId> {
        self.roles.cx.sessions.get(session)?.connection
    }

    /// The path in the SDP of the peer of `session`, how it is compared, and the certificates one
    /// of which the peer shows when it connects to us, if it has to (RFC 8122 §5). A session that
    /// was used before by another fails. One whose peer had another path in an earlier SDP leaves
    /// the connection it had: it is a new session (RFC 4975 §5.4). So does one whose peer has
    /// another certificate now.
    pub fn set_peer(
        &mut self,
        now: Instant,
        session: SessionKey,
        path: Path<'_>,
        rule: FromRule,
        fingerprints: &[Fingerprint],
    ) {
        self.command(now, |roles| {
            if roles.cx.sessions.get(session).is_some_and(|known| known.is_replaced_by(path)) {
                roles.cx.detach(session);
            }
            if let Err(why) = roles.cx.set_peer(session, path, rule, fingerprints) {
                roles.cx.fail(session, why);
            }
        });
    }

    /// Makes a connection for `session`, or uses one that stands already: we are the active side
    /// (RFC 4975 §5.4). The first request binds the session there, and goes out at once.
    pub fn connect(&mut self, now: Instant, session: SessionKey, hop: Hop) {
        self.command(now, |roles| roles.connect(session, hop));
    }

    /// Does something with the roles, and then what they asked for.
    pub(crate) fn command<T>(&mut self, now: Instant, act: impl FnOnce(&mut Roles) -> T) -> T {
        self.roles.cx.now = now;
        self.write_rows();
        let value = act(&mut self.roles);
        self.roles.settle();
        value
    }

    fn octets(&mut self, connection: ConnectionId, octets: &Bytes) {
        let config = &self.roles.cx.config;
        let Some(found) = self.roles.cx.connections.get_mut(connection) else { return };
        if found.state != State::Open {
            return;
        }
        self.roles.cx.counts.of(found.group).received(octets.len());
        let limits = config.limits;
        let index = connection.index();
        if self.framers.len() <= index {
            self.framers.resize_with(index + 1, || Framer::new(limits));
        }
        let Some(framer) = self.framers.get_mut(index) else { return };
        if !found.framed {
            found.framed = true;
            *framer = Framer::new(limits);
        }
        let (roles, mut at) = (&mut self.roles, 0);
        loop {
            let expected = match octets.get(at..) {
                Some(rest) if framer.is_between() => roles.expected(connection, rest),
                _ => None,
            };
            let goes_on = match expected {
                Some(taken) => {
                    at += taken;
                    roles.goes_on(connection)
                }
                None => match framer.next(octets, &mut at) {
                    Some(piece) => roles.piece(connection, octets, piece),
                    None => false,
                },
            };
            if !goes_on {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
