//! What a role works with: connections, sessions, time, randomness, and what is to be done.

use std::collections::VecDeque;
use std::time::Instant;

use crate::node::connection::{Answers, Connection, Connections, Fate, Receiving, State};
use crate::node::timers::{Timer, Timers};
use crate::node::{
    CertificateHash, CloseReason, ConnectionId, Event, Hop, Lost, NodeConfig, Output, Places,
};
use crate::path::session_id;
use crate::pending::Waiting;
use crate::session::{Session, SessionKey, Sessions, core_of};
use crate::uri::UriRef;
use crate::{Continuation, Head, Method, Outbound, Path, Start, write};

/// The token of an empty SEND of the node itself.
pub(super) const EMPTY: u64 = u64::MAX;

/// Octets of a Message-ID that the node makes.
pub(crate) const MESSAGE_ID_OCTETS: usize = 20;

/// The common part of a node, given to every function of a role.
///
/// Whatever a role writes on a connection is whole frames: head, body and end-line in one go.
pub(crate) struct Cx {
    /// Which core this is.
    pub(crate) core: u8,
    /// How many there are.
    pub(crate) cores: u8,
    /// When what is handled now happened.
    pub(crate) now: Instant,
    /// Which core has a session.
    pub(super) places: Places,
    /// How certificates are compared with a fingerprint.
    pub(super) hash: CertificateHash,
    /// Limits and periods.
    pub(crate) config: NodeConfig,
    /// All connections.
    pub(crate) connections: Connections,
    /// All sessions.
    pub(crate) sessions: Sessions,
    /// All deadlines.
    pub(crate) timers: Timers,
    /// For what peers choose: they cannot guess what it makes of it.
    pub(crate) hasher: foldhash::quality::FixedState,
    /// What is counted.
    pub(crate) counts: crate::node::count::Counters,
    pub(super) outputs: VecDeque<Output>,
    /// What the node does when the role has returned.
    pub(super) later: VecDeque<Later>,
    pub(super) entropy: Box<dyn FnMut() -> u64 + Send>,
}

/// What is done when a role has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Later {
    /// Nobody waits for the response any longer.
    Expired(Waiting),
    /// A session has failed.
    Lost(SessionKey, Lost),
    /// An endpoint or a switch has REPORTs to send, after the response.
    Report(SessionKey),
}

/// Why a request was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsent {
    /// The session is gone, or not bound to a connection, or the peer's path is not known.
    #[error("the session has no connection yet")]
    Unbound,
    /// The connection is gone or being closed.
    #[error("the connection is gone")]
    Gone,
}

/// Something a role says about a request or a piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is taken. The node answers 200 when the end of the chunk was there, if that is asked for.
    Accept,
    /// It is refused with this code. The node answers at once, if that is asked for; nothing more
    /// of the chunk comes to the role.
    Refuse(u16),
    /// It is dealt with: the node says nothing, and nothing more of the chunk comes to the role.
    Done,
}

impl Cx {
    pub(super) fn new(
        (core, cores): (u8, u8),
        now: Instant,
        config: NodeConfig,
        mut entropy: Box<dyn FnMut() -> u64 + Send>,
    ) -> Self {
        Self {
            core,
            cores,
            now,
            places: Box::new(|uri| core_of(session_id(uri)?)),
            hash: |_, _| None,
            connections: Connections::new(config.marks, entropy()),
            sessions: Sessions::new(core, entropy()),
            timers: Timers::default(),
            hasher: foldhash::quality::FixedState::with_seed(entropy()),
            counts: crate::node::count::Counters::default(),
            outputs: VecDeque::new(),
            later: VecDeque::new(),
            config,
            entropy,
        }
    }

    /// The next 64 random bits.
    pub(crate) fn random(&mut self) -> u64 {
        (self.entropy)()
    }

    /// The generator itself.
    pub(crate) fn entropy(&mut self) -> &mut (dyn FnMut() -> u64 + Send) {
        &mut *self.entropy
    }

    /// Opens a session with a new URI at `address`.
    pub(crate) fn open(
        &mut self,
        address: &crate::session::LocalAddress,
        usage: crate::session::Usage,
    ) -> SessionKey {
        self.sessions.open(address, &mut *self.entropy, usage)
    }

    /// The driver has something to do.
    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Tells the application.
    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// What waits on `connection`, to add whole frames to; it will be flushed. `None` when it is
    /// gone or being closed.
    pub(crate) fn outbound(&mut self, connection: ConnectionId) -> Option<&mut Outbound> {
        let found = usable(&mut self.connections, connection)?;
        touch(found, connection, &mut self.outputs);
        Some(&mut found.outbound)
    }

    /// Writes a request of `session` on its connection: `write` is given the transaction identifier
    /// and writes all of it. When a response is to be waited for, `waits` is what the role calls
    /// the request then.
    pub(crate) fn send(
        &mut self,
        key: SessionKey,
        waits: Option<u64>,
        write: impl FnOnce(&mut Outbound, &[u8], &Session),
    ) -> Result<(), Unsent> {
        self.send_free(key, waits, |_| true, write)
    }

    /// The same with an identifier that is `free`: it is not in the body (RFC 4975 §7.1).
    pub(crate) fn send_free(
        &mut self,
        key: SessionKey,
        waits: Option<u64>,
        free: impl Fn(&[u8]) -> bool,
        write: impl FnOnce(&mut Outbound, &[u8], &Session),
    ) -> Result<(), Unsent> {
        self.row(None, key, |row| row.send(waits, free, write))
    }

    /// The same on a connection that need not be the session's own, to a path that need not be its
    /// peer's.
    pub(crate) fn send_on(
        &mut self,
        connection: ConnectionId,
        key: SessionKey,
        waits: Option<u64>,
        write: impl FnOnce(&mut Outbound, &[u8], &Session),
    ) -> Result<(), Unsent> {
        self.row(Some(connection), key, |row| row.send(waits, |_| true, write))
    }

    /// `session` has something to write, and is given its turn when its connection has room.
    /// Whether it is bound to one.
    pub(crate) fn wait_for_room(&mut self, key: SessionKey) -> bool {
        let connection = self.sessions.get(key).and_then(|session| session.connection);
        let found = connection.and_then(|connection| usable(&mut self.connections, connection));
        if let Some(found) = found {
            found.senders.push_back(key);
            return true;
        }
        false
    }

    /// Whose turn it is to write on `connection`; nobody's when it has no room. There is room while
    /// no more than the low mark waits: a response is not behind more than that.
    pub(crate) fn next_sender(&mut self, connection: ConnectionId) -> Option<SessionKey> {
        let found = usable(&mut self.connections, connection)?;
        if found.outbound.below_low() { found.senders.pop_front() } else { None }
    }

    /// Answers the request with `head` with `code`, if it wants that: a SEND with Failure-Report
    /// `no` never, with `partial` only when it failed, a REPORT never (RFC 4975 §7.2, §7.1.2).
    pub(crate) fn answer(
        &mut self,
        connection: ConnectionId,
        key: SessionKey,
        head: &Head<'_>,
        code: u16,
    ) {
        let Start::Request { id, method } = head.start else { return };
        if !Answers::to(method, head.failure_report).want(code) {
            return;
        }
        let Some(found) = usable(&mut self.connections, connection) else { return };
        let session = self.sessions.get(key);
        let paths = session.and_then(|session| session.response_paths(head.from_path));
        match (paths, method, session) {
            (Some(paths), Method::Send, _) if code == 200 => {
                write_ok(found.outbound.tail(), id, paths);
            }
            _ => {
                let own: Box<[u8]> = match session {
                    Some(session) => session.own().as_bytes().into(),
                    None => head.to_path.first().into(),
                };
                let to = match method {
                    Method::Send => head.from_path.first(),
                    _ => head.from_path.as_bytes(),
                };
                return self.respond(connection, id, code, to, &own, b"");
            }
        }
        self.counts.of(found.group).answered(code);
        touch(found, connection, &mut self.outputs);
    }

    /// Writes a response to the path `to`, `own` being our URI. What is no path, or one longer than
    /// is read here, cannot be answered to: the connection is closed.
    pub(crate) fn respond(
        &mut self,
        connection: ConnectionId,
        id: &[u8],
        code: u16,
        to: &[u8],
        own: &[u8],
        headers: &[u8],
    ) {
        let is_uri = |uri: &[u8]| UriRef::parse(uri).is_ok();
        let too_long = Path::new(to).iter().count() > self.config.limits.uris_max;
        if !is_uri(own) || too_long || !Path::new(to).iter().all(is_uri) {
            return self.close(connection, CloseReason::Path);
        }
        let Some(found) = usable(&mut self.connections, connection) else { return };
        write::response(found.outbound.tail(), id, code, to, own, headers);
        self.counts.of(found.group).answered(code);
        touch(found, connection, &mut self.outputs);
    }

    /// A URI of ours that `connection` is used for; `None`: no session is bound to it.
    pub(super) fn own_uri(&self, connection: ConnectionId) -> Option<&[u8]> {
        let key = self.connections.get(connection)?.sessions.first()?;
        Some(self.sessions.get(*key)?.own().as_bytes())
    }

    /// Answers the chunk that was being received on `connection`, if it wants that.
    pub(super) fn answer_rest(&mut self, connection: ConnectionId, rest: &Receiving, code: u16) {
        let Fate::Session(key) = rest.fate else { return };
        let Some(session) = self.sessions.get(key) else { return };
        if !rest.answers.want(code) {
            return;
        }
        let Some(to) = rest.to.as_deref().or_else(|| session.peer().map(Path::first)) else {
            return;
        };
        let Some(found) = usable(&mut self.connections, connection) else { return };
        let (id, own) = (rest.id(), session.own().as_bytes());
        write::response(found.outbound.tail(), id, code, to, own, b"");
        self.counts.of(found.group).answered(code);
        touch(found, connection, &mut self.outputs);
    }

    /// A REPORT was written on the connection of `session`.
    pub(crate) fn count_report(&mut self, key: SessionKey) {
        if let Some(id) = self.sessions.get(key).and_then(|session| session.connection) {
            self.count_report_on(id);
        }
    }

    /// A REPORT was written on `connection`.
    pub(crate) fn count_report_on(&mut self, connection: ConnectionId) {
        if let Some(found) = self.connections.get(connection) {
            self.counts.of(found.group).reports_written += 1;
        }
    }

    /// Writes an empty SEND of `session`: it binds the session at the peer, or keeps the connection
    /// alive (RFC 4975 §5.4, §7.1).
    pub(crate) fn send_empty(&mut self, session: SessionKey) -> Result<(), Unsent> {
        let message_id = self.message_id();
        self.send(session, Some(EMPTY), |out, id, session| {
            let out = out.tail();
            for part in [b"MSRP ", id, b" SEND", session.request_paths()] {
                out.extend_from_slice(part);
            }
            write::header(out, "Message-ID", &message_id);
            write::header(out, "Byte-Range", b"1-0/0");
            write::end_line(out, id, Continuation::Last);
        })
    }

    /// A new Message-ID: 100 random bits (RFC 4975 §7.1.1: highly unlikely to be repeated).
    pub(crate) fn message_id(&mut self) -> [u8; MESSAGE_ID_OCTETS] {
        let mut bits = u128::from(self.random()) | (u128::from(self.random()) << 64);
        [(); MESSAGE_ID_OCTETS].map(|()| {
            let digit = (bits & 31) as u8;
            bits >>= 5;
            if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
        })
    }

    /// The driver is to close `connection`. What waits is written as far as it goes at once.
    pub(crate) fn close(&mut self, connection: ConnectionId, why: CloseReason) {
        let Some(found) = self.connections.get_mut(connection) else { return };
        if found.state != State::Closing {
            found.state = State::Closing;
            self.outputs.push_back(Output::Close(connection, why));
        }
    }

    /// `session` has failed: its role is told, then the application, and it is gone.
    pub(crate) fn fail(&mut self, session: SessionKey, why: Lost) {
        self.later.push_back(Later::Lost(session, why));
    }

    /// The role of `session` has REPORTs to send once the response is written.
    pub(crate) fn report_later(&mut self, session: SessionKey) {
        self.later.push_back(Later::Report(session));
    }

    /// The session is over, and its role knows: it is gone, and a connection of ours that nobody
    /// needs any longer is closed.
    pub(crate) fn end(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.remove(key)
            && let Some(connection) = session.connection
        {
            self.unbind(connection, key);
        }
    }

    /// The session has no connection any more, and may get another.
    pub(crate) fn detach(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key)
            && let Some(connection) = session.connection.take()
        {
            self.unbind(connection, key);
        }
    }

    /// Connects `session` to `hop`, over a connection that stands already when there is one
    /// (RFC 4975 §5.4).
    pub(crate) fn connect(&mut self, key: SessionKey, hop: Hop) -> Option<ConnectionId> {
        self.sessions.get(key)?;
        let connection = self.connect_to(hop);
        self.bind(connection, key);
        Some(connection)
    }

    /// A connection to `hop`: one that stands already, or a new one that can be written to at once.
    pub(crate) fn connect_to(&mut self, hop: Hop) -> ConnectionId {
        self.connections.to(&hop).unwrap_or_else(|| {
            let connection = self.connections.insert(self.now, None, Some(hop.clone()));
            self.outputs.push_back(Output::Connect { connection, to: Box::new(hop) });
            connection
        })
    }

    /// The first request for a session whose peer is not known yet: its path is the one that the
    /// SDP has to have.
    ///
    /// Deviation: what comes until then is believed, also over TLS, where it is not to be before a
    /// certificate of the SDP was shown (RFC 8122 §6.2). Only who was told the URI can send it.
    pub(super) fn claim(&mut self, key: SessionKey, from: Path<'_>) {
        if let Some(session) = self.sessions.get_mut(key)
            && session.peer().is_none()
        {
            session.set_peer(from);
            session.claimed = true;
        }
    }

    /// What becomes of the rest of a chunk.
    pub(super) fn receive(&mut self, connection: ConnectionId, receiving: Receiving) {
        if let Some(found) = self.connections.get_mut(connection) {
            found.receiving = Some(receiving);
        }
    }

    /// Binds `session` to `connection`.
    pub(crate) fn bind(&mut self, connection: ConnectionId, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let before = session.connection.replace(connection);
        if before == Some(connection) {
            return;
        }
        if let Some(before) = before {
            self.unbind(before, key);
        }
        if let Some(found) = self.connections.get_mut(connection) {
            found.sessions.push(key);
            found.used = Some(self.now);
        }
    }

    fn unbind(&mut self, connection: ConnectionId, key: SessionKey) {
        let Some(found) = self.connections.get_mut(connection) else { return };
        if let Some(at) = found.sessions.iter().position(|&other| other == key) {
            found.sessions.swap_remove(at);
        }
        found.sessions.shrink_to_fit();
        found.used = Some(self.now);
        if found.sessions.is_empty() && found.hop.is_some() && !found.kept {
            self.close(connection, CloseReason::Unused);
        }
    }

    /// `connection` stays when no session is bound to it: requests pass through (RFC 4976 §6.5).
    pub(crate) fn keep(&mut self, connection: ConnectionId) {
        if let Some(found) = self.connections.get_mut(connection) {
            found.kept = true;
            found.used = Some(self.now);
        }
    }

    /// A valid request came on `connection`, or is passed on to it.
    pub(crate) fn used(&mut self, connection: ConnectionId) {
        if let Some(found) = self.connections.get_mut(connection) {
            found.used = Some(self.now);
        }
    }

    /// Nothing is read from `source` until `sink` has room again.
    pub(crate) fn hold_back(&mut self, source: ConnectionId, sink: ConnectionId) {
        let Some(found) = self.connections.get_mut(sink) else { return };
        if !found.held_back.contains(&source) {
            found.held_back.push(source);
            self.hold(source);
        }
    }

    /// One reason more not to read from `source`, until [`let_go`](Self::let_go).
    pub(crate) fn hold(&mut self, source: ConnectionId) {
        let Some(held) = self.connections.get_mut(source) else { return };
        held.holds += 1;
        if held.holds == 1 {
            self.outputs.push_back(Output::Pause(source));
        }
    }

    /// One reason less not to read from `source`.
    pub(crate) fn let_go(&mut self, source: ConnectionId) {
        let Some(held) = self.connections.get_mut(source) else { return };
        if held.holds == 1 {
            self.outputs.push_back(Output::Resume(source));
        }
        held.holds = held.holds.saturating_sub(1);
    }

    /// Calls the timer of `connection` when its next deadline comes.
    pub(crate) fn arm(&mut self, connection: ConnectionId) {
        let Some(found) = self.connections.get_mut(connection) else { return };
        let Some(due) = super::deadline::next(found, &self.config) else { return };
        if found.armed.is_none_or(|armed| due < armed) {
            found.armed = Some(due);
            self.timers.arm(due, Timer::Connection(connection));
        }
    }
}

/// `connection`, unless it is gone or being closed.
pub(super) fn usable(
    connections: &mut Connections,
    connection: ConnectionId,
) -> Option<&mut Connection> {
    connections.get_mut(connection).filter(|found| found.state != State::Closing)
}

/// Writes a 200 with the paths of a session.
fn write_ok(out: &mut Vec<u8>, id: &[u8], paths: &[u8]) {
    out.reserve(2 * id.len() + paths.len() + 32);
    for part in [b"MSRP ", id, b" 200 OK", paths, b"-------", id, b"$\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Says `Flush`, unless it was said.
pub(super) fn touch(found: &mut Connection, id: ConnectionId, outputs: &mut VecDeque<Output>) {
    if !found.dirty {
        found.dirty = true;
        outputs.push_back(Output::Flush(id));
    }
}
