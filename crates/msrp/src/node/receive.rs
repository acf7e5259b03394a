//! What a peer sent, and who handles it (RFC 4975 §7.3).

use bytes::Bytes;

use crate::endpoint::Endpoints;
use crate::node::connection::{Answers, Fate, Receiving, State};
use crate::node::cx::{Cx, EMPTY, Later, Verdict};
use crate::node::{CloseReason, ConnectionId, Event, Hop, Lost, Peer};
use crate::pending::Waiting;
use crate::relay::Relay;
use crate::session::{Session, SessionKey, Usage};
use crate::switch::Switch;
use crate::{Continuation, Head, MalformedHead, Method, Path, Piece, Start};

/// The head of a request, and as much of its body as came with it.
pub(crate) struct Chunk<'a> {
    /// Where it came.
    pub(crate) connection: ConnectionId,
    /// What its `To-Path` names; [`SessionKey::NOWHERE`] when that is the relay itself.
    pub(crate) session: SessionKey,
    /// The head.
    pub(crate) head: &'a Head<'a>,
    /// The first octets of its body.
    pub(crate) body: &'a [u8],
    /// How it ends, when its end is there.
    pub(crate) end: Option<Continuation>,
    /// What was read; `body` is a slice of it, or short.
    pub(crate) octets: &'a Bytes,
}

/// More of the body of a request whose head was accepted.
pub(crate) struct More<'a> {
    /// Where it came.
    pub(crate) connection: ConnectionId,
    /// The session of its head.
    pub(crate) session: SessionKey,
    /// The octets.
    pub(crate) body: &'a [u8],
    /// How it ends, when its end is there.
    pub(crate) end: Option<Continuation>,
    /// What was read; `body` is a slice of it, or short.
    pub(crate) octets: &'a Bytes,
    /// What is remembered of its head.
    pub(crate) rest: &'a Receiving,
}

/// The common part of a node and all roles.
pub(crate) struct Roles {
    /// Connections, sessions, time, randomness.
    pub(crate) cx: Cx,
    /// Sessions whose messages end here.
    pub(crate) endpoints: Endpoints,
    /// Messages that pass through.
    pub(crate) relay: Relay,
    /// Rooms.
    pub(crate) switch: Switch,
}

impl Roles {
    /// Handles one piece that came on `id`, found in `octets`. Whether more may follow.
    pub(super) fn piece(&mut self, id: ConnectionId, octets: &Bytes, piece: Piece<'_>) -> bool {
        match piece {
            Piece::Head { head, body, end } => match head.start {
                Start::Request { .. } => self.request(id, &head, body, end, octets),
                Start::Response { code, .. } => self.response(id, &head, code),
            },
            Piece::Body { body, end } => self.body(id, body, end, octets),
            Piece::Malformed { head, .. } => self.malformed(id, &head),
            Piece::Broken(error) => self.cx.close(id, CloseReason::Framing(error)),
        }
        self.goes_on(id)
    }

    /// Does what was put off, then says whether `id` is still to be read.
    pub(super) fn goes_on(&mut self, id: ConnectionId) -> bool {
        if !self.cx.later.is_empty() {
            self.settle();
        }
        self.cx.connections.get(id).is_some_and(|found| found.state != State::Closing)
    }

    fn request(
        &mut self,
        id: ConnectionId,
        head: &Head<'_>,
        body: &[u8],
        end: Option<Continuation>,
        octets: &Bytes,
    ) {
        let found = self.session_of(id, head.to_path);
        let mut chunk =
            Chunk { connection: id, session: SessionKey::NOWHERE, head, body, end, octets };
        let verdict = match found.and_then(|key| Some((key, self.cx.sessions.get(key)?.usage))) {
            Some((key, usage)) => {
                self.count_request(id, head);
                chunk.session = key;
                self.in_session(&chunk, usage)
            }
            None => {
                if let Some(core) = self.foreign(head.to_path) {
                    return self.pass_to(core, &chunk);
                }
                self.count_request(id, head);
                self.relay.outside(&mut self.cx, &chunk)
            }
        };
        self.conclude(&chunk, verdict);
    }

    fn count_request(&mut self, id: ConnectionId, head: &Head<'_>) {
        let group = self.cx.connections.get(id).map_or(0, |found| found.group);
        let counts = self.cx.counts.of(group);
        counts.requests += 1;
        counts.sends += u64::from(head.start.is_send());
        let is_report = matches!(head.start, Start::Request { method: Method::Report, .. });
        counts.reports += u64::from(is_report);
    }

    /// The checks that every session has, unless it is one of a `Use-Path`, and then its role.
    fn in_session(&mut self, chunk: &Chunk<'_>, usage: Usage) -> Verdict {
        let Chunk { connection, session: key, head, .. } = *chunk;
        if let Usage::Grant(_) = usage {
            return self.relay.head(&mut self.cx, usage, chunk);
        }
        let Some(session) = self.cx.sessions.get(key) else { return Verdict::Refuse(481) };
        let bound = session.connection;
        if session.own().as_bytes() != head.to_path.as_bytes() && !head.to_path.is_single() {
            return Verdict::Refuse(481);
        }
        if bound.is_some_and(|bound| bound != connection) {
            return Verdict::Refuse(506);
        }
        if !session.is_from_peer(head.from_path) {
            return Verdict::Refuse(481);
        }
        if bound.is_none() {
            if !self.cx.shows_certificate(connection, key) {
                self.cx.refuse_certificate(connection, key, head);
                return Verdict::Done;
            }
            self.cx.claim(key, head.from_path);
            self.cx.bind(connection, key);
            self.bound(key, usage);
        }
        match usage {
            Usage::Endpoint(place) => self.endpoints.head(&mut self.cx, place, chunk),
            Usage::Pair(_) | Usage::Grant(_) => self.relay.head(&mut self.cx, usage, chunk),
            Usage::Leg(leg) => self.switch.head(&mut self.cx, leg, chunk),
        }
    }

    /// Answers a chunk whose head was handled, or remembers how its rest is handled.
    fn conclude(&mut self, chunk: &Chunk<'_>, verdict: Verdict) {
        let Chunk { connection, session, head, end, .. } = *chunk;
        match (verdict, end) {
            (Verdict::Accept, Some(_)) => self.cx.answer(connection, session, head, 200),
            (Verdict::Accept, None) => {
                let Start::Request { id, method } = head.start else { return };
                let answers = Answers::to(method, head.failure_report);
                let mut rest = Receiving::new(id, Fate::Session(session), answers);
                let to = match method {
                    Method::Send => head.from_path.first(),
                    _ => head.from_path.as_bytes(),
                };
                let peer = self.cx.sessions.get(session).and_then(Session::peer);
                rest.to = (peer.map(Path::first) != Some(to)).then(|| to.into());
                self.cx.receive(connection, rest);
            }
            (Verdict::Refuse(code), end) => {
                self.cx.answer(connection, session, head, code);
                self.skip(connection, head, end);
            }
            (Verdict::Done, end) => self.skip(connection, head, end),
        }
    }

    fn skip(&mut self, connection: ConnectionId, head: &Head<'_>, end: Option<Continuation>) {
        if end.is_none() {
            self.cx.receive(connection, Receiving::new(head.id(), Fate::Skip, Answers::None));
        }
    }

    /// More of a chunk whose head was handled.
    fn body(&mut self, id: ConnectionId, body: &[u8], end: Option<Continuation>, octets: &Bytes) {
        let Some(found) = self.cx.connections.get_mut(id) else { return };
        let Some(rest) = found.receiving.take() else { return };
        if rest.fate != Fate::Skip {
            found.used = Some(self.cx.now);
        }
        let verdict = match rest.fate {
            Fate::Skip => Verdict::Done,
            Fate::Foreign(core) => {
                self.cx.foreign_body(id, core, rest.id(), body, end);
                Verdict::Accept
            }
            Fate::Session(session) => {
                let more = More { connection: id, session, body, end, octets, rest: &rest };
                self.more(&more)
            }
        };
        match (verdict, end) {
            (Verdict::Accept, Some(_)) => self.cx.answer_rest(id, &rest, 200),
            (Verdict::Accept, None) => self.cx.receive(id, rest),
            (Verdict::Refuse(code), end) => {
                self.cx.answer_rest(id, &rest, code);
                self.skip_rest(id, rest, end);
            }
            (Verdict::Done, end) => self.skip_rest(id, rest, end),
        }
    }

    fn skip_rest(&mut self, id: ConnectionId, mut rest: Receiving, end: Option<Continuation>) {
        if end.is_none() {
            rest.fate = Fate::Skip;
            self.cx.receive(id, rest);
        }
    }

    fn more(&mut self, more: &More<'_>) -> Verdict {
        let Some(usage) = self.cx.sessions.get(more.session).map(|session| session.usage) else {
            // It has ended meanwhile.
            return Verdict::Done;
        };
        match usage {
            Usage::Endpoint(place) => self.endpoints.body(&mut self.cx, place, more),
            Usage::Pair(_) | Usage::Grant(_) => self.relay.body(&mut self.cx, usage, more),
            Usage::Leg(leg) => self.switch.body(&mut self.cx, leg, more),
        }
    }

    /// A request whose end was found, and that cannot be read otherwise: 400, once its session was
    /// looked for (RFC 4975 §10.2). Without To-Path any session of the connection answers; when it
    /// has none there is no URI to answer from, and it is closed.
    fn malformed(&mut self, id: ConnectionId, head: &MalformedHead<'_>) {
        let Start::Request { id: transaction, method } = head.start else { return };
        let (own, known): (Box<[u8]>, bool) = match head.to_path {
            Some(path) => {
                let known = self.session_of(id, path).is_some() || self.foreign(path).is_some();
                (path.first().into(), known)
            }
            None => (self.cx.own_uri(id).unwrap_or_default().into(), true),
        };
        let code = if known || matches!(method, Method::Auth) { 400 } else { 481 };
        if Answers::to(method, head.failure_report).want(code) {
            let to = match method {
                Method::Send => head.from_path.first(),
                _ => head.from_path.as_bytes(),
            };
            self.cx.respond(id, transaction, code, to, &own, b"");
        }
    }

    fn response(&mut self, id: ConnectionId, head: &Head<'_>, code: u16) {
        let Some(found) = self.cx.connections.get_mut(id) else { return };
        let Some(waiting) = found.pending.answered(head.id()) else {
            return self.stray(id, head, code);
        };
        self.answered(waiting, head, code);
    }

    /// A request of ours is answered.
    pub(super) fn answered(&mut self, waiting: Waiting, head: &Head<'_>, code: u16) {
        let Waiting { session: key, token, .. } = waiting;
        let Some(usage) = self.cx.sessions.get(key).map(|session| session.usage) else { return };
        if token == EMPTY {
            return self.empty_answered(key, code);
        }
        match usage {
            Usage::Endpoint(place) => {
                self.endpoints.response(&mut self.cx, place, token, code);
            }
            Usage::Pair(_) | Usage::Grant(_) => {
                self.relay.response(&mut self.cx, key, token, head, code);
            }
            Usage::Leg(leg) => self.switch.response(&mut self.cx, leg, token, code),
        }
    }

    /// A response that nobody waits for: another core does, or the sender did not ask for one and
    /// is told that something failed.
    fn stray(&mut self, id: ConnectionId, head: &Head<'_>, code: u16) {
        let Some(key) = self.session_of(id, head.to_path) else {
            if let Some(core) = self.foreign(head.to_path) {
                self.cx.foreign_head(id, core, head, b"", Some(Continuation::Last));
            }
            return;
        };
        match self.cx.sessions.get(key).map(|session| session.usage) {
            None | Some(Usage::Endpoint(_)) => {}
            Some(Usage::Pair(_) | Usage::Grant(_)) => {
                self.relay.stray(&mut self.cx, key, head, code);
            }
            Some(Usage::Leg(leg)) => self.switch.stray(&mut self.cx, leg, code),
        }
    }

    /// The response to the empty SEND of the node.
    fn empty_answered(&mut self, key: SessionKey, code: u16) {
        match code {
            481 => self.cx.fail(key, Lost::Unknown),
            506 => self.cx.fail(key, Lost::Elsewhere),
            // It was for the session to be known, and it is; what the peer thinks of an empty
            // message does not matter.
            _ => {}
        }
    }

    /// The session that a `To-Path` names: the one of the last request most of the time.
    fn session_of(&mut self, id: ConnectionId, path: Path<'_>) -> Option<SessionKey> {
        let found = self.cx.connections.get_mut(id)?;
        if let Some(session) = self.cx.sessions.get(found.last)
            && session.own().as_bytes() == path.as_bytes()
        {
            return Some(found.last);
        }
        let key = self.cx.sessions.find(path.first())?;
        found.last = key;
        Some(key)
    }

    /// The core that has the session, when it is another one.
    fn foreign(&self, path: Path<'_>) -> Option<u8> {
        let core = (self.cx.places)(path.first())?;
        (core != self.cx.core && core < self.cx.cores).then_some(core)
    }

    fn pass_to(&mut self, core: u8, chunk: &Chunk<'_>) {
        let Chunk { connection, head, body, end, .. } = *chunk;
        self.cx.foreign_head(connection, core, head, body, end);
        if end.is_none() {
            let rest = Receiving::new(head.id(), Fate::Foreign(core), Answers::None);
            self.cx.receive(connection, rest);
        }
    }

    /// The session is bound: its role may send, and the application knows.
    pub(crate) fn bound(&mut self, key: SessionKey, usage: Usage) {
        self.cx.event(Event::Bound { session: key });
        match usage {
            Usage::Endpoint(place) => self.endpoints.bound(&mut self.cx, place),
            Usage::Pair(_) | Usage::Grant(_) => self.relay.bound(&mut self.cx, key),
            Usage::Leg(leg) => self.switch.bound(&mut self.cx, leg),
        }
    }

    /// The timer of a session.
    pub(super) fn session_due(&mut self, key: SessionKey) {
        match self.cx.sessions.get(key).map(|session| session.usage) {
            None => {}
            Some(Usage::Endpoint(place)) => self.endpoints.timeout(&mut self.cx, place),
            Some(Usage::Pair(_) | Usage::Grant(_)) => self.relay.timeout(&mut self.cx, key),
            Some(Usage::Leg(leg)) => self.switch.timeout(&mut self.cx, leg),
        }
    }

    /// We are the active side: a connection, and the first request on it.
    pub(super) fn connect(&mut self, key: SessionKey, hop: Hop) {
        let Some(connection) = self.cx.connect(key, hop) else { return };
        // Without a path of the peer there is nobody to send it to; who connects has one.
        let _ = self.cx.send_empty(key);
        let found = self.cx.connections.get(connection);
        if found.is_some_and(|found| found.state == State::Open)
            && let Some(usage) = self.cx.sessions.get(key).map(|session| session.usage)
        {
            self.bound(key, usage);
        }
    }

    /// A connection of ours stands, and all sessions that wait for it are bound.
    pub(super) fn connected(&mut self, id: ConnectionId, peer: Peer) {
        let Some(found) = self.cx.connections.get_mut(id) else { return };
        if found.state != State::Connecting {
            return;
        }
        found.state = State::Open;
        found.peer = Some(Box::new(peer));
        found.sent = self.cx.now;
        for key in found.sessions.clone() {
            if let Some(usage) = self.cx.sessions.get(key).map(|session| session.usage) {
                self.bound(key, usage);
            }
        }
        self.cx.arm(id);
    }

    /// There is room again on a connection: who was held back for it goes on.
    pub(super) fn written(&mut self, id: ConnectionId) {
        let Some(found) = self.cx.connections.get_mut(id) else { return };
        if !found.outbound.below_low() {
            return;
        }
        for source in std::mem::take(&mut found.held_back) {
            self.cx.let_go(source);
        }
        self.endpoints.room(&mut self.cx, id);
    }

    /// Does what functions of roles asked for while they had the common part.
    pub(crate) fn settle(&mut self) {
        while let Some(later) = self.cx.later.pop_front() {
            match later {
                Later::Expired(waiting) => self.unanswered(waiting),
                Later::Lost(key, why) => self.lost(key, why),
                Later::Report(key) => {
                    match self.cx.sessions.get(key).map(|session| session.usage) {
                        Some(Usage::Endpoint(place)) => {
                            self.endpoints.report_now(&mut self.cx, place);
                        }
                        Some(Usage::Leg(leg)) => self.switch.report_now(&mut self.cx, leg),
                        Some(Usage::Pair(_) | Usage::Grant(_)) | None => {}
                    }
                }
            }
        }
    }

    /// Nobody answers a request any longer: 30 s are over, or its connection is gone.
    fn unanswered(&mut self, Waiting { session: key, token, .. }: Waiting) {
        let Some(usage) = self.cx.sessions.get(key).map(|session| session.usage) else { return };
        let connection = self.cx.sessions.get(key).and_then(|session| session.connection);
        let found = connection.and_then(|connection| self.cx.connections.get(connection));
        let group = found.map_or(0, |found| found.group);
        self.cx.counts.of(group).unanswered += 1;
        if token == EMPTY {
            return self.lost(key, Lost::Unanswered);
        }
        match usage {
            Usage::Endpoint(place) => self.endpoints.unanswered(&mut self.cx, place, token),
            Usage::Pair(_) | Usage::Grant(_) => {
                self.relay.unanswered(&mut self.cx, key, token);
            }
            Usage::Leg(leg) => self.switch.unanswered(&mut self.cx, leg, token),
        }
    }

    fn lost(&mut self, key: SessionKey, why: Lost) {
        let Some(usage) = self.cx.sessions.get(key).map(|session| session.usage) else { return };
        if let Usage::Leg(leg) = usage
            && self.switch.suspend(&mut self.cx, leg, why)
        {
            return;
        }
        match usage {
            Usage::Endpoint(place) => self.endpoints.lost(&mut self.cx, place, why),
            Usage::Pair(_) | Usage::Grant(_) => self.relay.lost(&mut self.cx, key, why),
            Usage::Leg(leg) => self.switch.lost(&mut self.cx, leg, why),
        }
        self.cx.event(Event::Lost { session: key, why });
        self.cx.end(key);
    }

    /// A connection is gone, and all sessions on it with it (RFC 4975 §5.4).
    pub(super) fn connection_lost(&mut self, id: ConnectionId, why: Lost) {
        let Some(mut gone) = self.cx.connections.remove(id) else { return };
        for source in gone.held_back {
            self.cx.let_go(source);
        }
        self.cx.counts.of(gone.group).octets_queued += gone.outbound.queued_total();
        self.relay.gone(&mut self.cx, id);
        while let Some(waiting) = gone.pending.abandon() {
            if waiting.token != EMPTY {
                self.unanswered(waiting);
            }
        }
        for key in gone.sessions {
            self.lost(key, why);
        }
    }
}
