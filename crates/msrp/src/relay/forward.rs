//! Passing requests on (RFC 4976 §6.4.1, §6.4.2).

use bytes::Bytes;
use smallvec::SmallVec;

use crate::header::FailureReport;
use crate::node::ConnectionId;
use crate::node::cx::{Cx, Unsent, Verdict};
use crate::node::receive::Chunk;
use crate::pending::Fifo;
use crate::relay::Relay;
use crate::relay::back::{Forwarded, Kind, Passed, kept};
use crate::session::{Session, SessionKey, Usage};
use crate::{Continuation, Head, Method, Outbound, Start, write};

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Route {
    /// The session it leaves from.
    pub(super) key: SessionKey,
    /// The connection it leaves on and `\r\nTo-Path: ..\r\nFrom-Path: ..\r\n`, when they are not
    /// those of the session.
    pub(super) own: Option<(ConnectionId, SmallVec<[u8; 256]>)>,
    /// The number of the path of the sender, in a grant.
    pub(super) path: u32,
}

/// A request as it leaves: everything but the transaction identifier and the paths.
pub(super) struct Leaving<'a> {
    pub(super) method: Method<'a>,
    /// Header lines before `Byte-Range`, or all of them.
    pub(super) before: &'a [u8],
    /// A `Byte-Range` of our own.
    pub(super) range: Option<Passed>,
    /// Header lines after it.
    pub(super) after: &'a [u8],
    /// Octets that were kept, and those that came now; `None`: there is no body at all.
    pub(super) body: Option<(&'a [u8], &'a [u8])>,
    /// What the second of them is a slice of, unless it is short.
    pub(super) octets: Option<&'a Bytes>,
    pub(super) end: Continuation,
}

impl Leaving<'_> {
    pub(super) fn write(&self, out: &mut Outbound, id: &[u8], paths: &[u8]) {
        let Self { before, after, .. } = *self;
        let tail = out.tail();
        push_start(tail, id, self.method);
        tail.extend_from_slice(paths);
        tail.extend_from_slice(before);
        if let Some(range) = self.range {
            range.write(tail);
            tail.extend_from_slice(after);
        }
        let Some((kept, new)) = self.body else {
            return write::end_line(tail, id, self.end);
        };
        tail.extend_from_slice(b"\r\n");
        if !kept.is_empty() {
            tail.extend_from_slice(kept);
        }
        match self.octets {
            Some(octets) => out.share_part(octets, new),
            None => tail.extend_from_slice(new),
        }
        write::body_end(out.tail(), id, self.end);
    }
}

/// Writes `MSRP transact-id method`.
fn push_start(out: &mut Vec<u8>, id: &[u8], method: Method<'_>) {
    if method == Method::Send {
        return write::send_start(out, id);
    }
    for part in [b"MSRP ", id, b" ", method.as_bytes()] {
        out.extend_from_slice(part);
    }
}

/// What is remembered of a request that is passed on; `None`: nobody answers it, or its sender does
/// not want to know.
#[derive(Clone, Debug)]
pub(super) enum Memory {
    /// A SEND.
    Send { is_timed: bool, message_id: SmallVec<[u8; 32]> },
    /// Any other.
    Other { id: SmallVec<[u8; 32]>, has_credentials: bool },
}

impl Memory {
    /// What is to be remembered of a request with this head.
    pub(super) fn of(head: &Head<'_>) -> Option<Self> {
        let Start::Request { id, method } = head.start else { return None };
        match method {
            Method::Report => None,
            Method::Send => {
                let is_timed = match head.failure_report {
                    FailureReport::Yes => true,
                    FailureReport::Partial => false,
                    FailureReport::No => return None,
                };
                Some(Self::Send { is_timed, message_id: SmallVec::from_slice(head.message_id?) })
            }
            Method::Auth | Method::Nickname | Method::Other(_) => {
                let has_credentials =
                    method == Method::Auth && head.value("Authorization").is_some();
                Some(Self::Other { id: kept(id), has_credentials })
            }
        }
    }

    fn kind(self, range: Passed, path: u32) -> Kind {
        match self {
            Self::Send { is_timed, message_id } => Kind::Send { is_timed, message_id, range, path },
            Self::Other { id, has_credentials } => Kind::Other { id, has_credentials },
        }
    }
}

/// What is told to the sender of a request from `source` that cannot be passed on; `None`: nothing.
pub(super) fn remembered(memory: Memory, range: Passed, source: ConnectionId) -> Option<Forwarded> {
    let is_send = matches!(memory, Memory::Send { .. });
    is_send.then(|| Forwarded { source, sink: source, kind: memory.kind(range, 0) })
}

impl Relay {
    /// Passes one request on, or a part of one, and remembers it. What cannot be passed on is
    /// reported, if its sender wants to know.
    pub(super) fn pass(
        &mut self,
        cx: &mut Cx,
        source: ConnectionId,
        route: &Route,
        (memory, range): (Option<Memory>, Passed),
        leaving: &Leaving<'_>,
    ) -> Result<(), Unsent> {
        let Route { key, path, .. } = *route;
        let sink = match &route.own {
            Some((sink, _)) => *sink,
            None => {
                let session = cx.sessions.get(key).ok_or(Unsent::Unbound)?;
                session.connection.ok_or(Unsent::Unbound)?
            }
        };
        let forwarded =
            memory.map(|memory| Forwarded { source, sink, kind: memory.kind(range, path) });
        let write = |out: &mut Outbound, id: &[u8], session: &Session| match &route.own {
            Some((_, paths)) => leaving.write(out, id, paths),
            None => leaving.write(out, id, session.request_paths()),
        };
        let fifo = self.fifo(cx, key);
        let token = forwarded.is_some().then(|| fifo.as_ref().map(|fifo| fifo.next())).flatten();
        let sent = cx.send_on(sink, key, token, write);
        if leaving.method == Method::Report && sent.is_ok() {
            cx.count_report_on(sink);
        }
        match (&sent, forwarded) {
            (Ok(()), Some(forwarded)) => {
                if let Some(fifo) = fifo {
                    fifo.push(forwarded);
                }
            }
            (Err(_), Some(forwarded)) => self.report(cx, key, &forwarded, 481),
            (_, None) => {}
        }
        let is_full = cx.connections.get(sink).is_some_and(|found| found.outbound.above_high());
        if is_full {
            cx.hold_back(source, sink);
        }
        sent
    }

    /// What was passed on from a session, and is not answered yet.
    pub(super) fn fifo(&mut self, cx: &Cx, key: SessionKey) -> Option<&mut Fifo<Forwarded>> {
        match cx.sessions.get(key)?.usage {
            Usage::Pair(number) => self.pair_side_mut(number).map(|side| &mut side.forwarded),
            Usage::Grant(place) => {
                self.grants.get_mut(place as usize).map(|grant| &mut grant.forwarded)
            }
            Usage::Endpoint(_) | Usage::Leg(_) => None,
        }
    }

    /// The head of a request for a URI of a `Use-Path`.
    pub(super) fn grant_head(&mut self, cx: &mut Cx, chunk: &Chunk<'_>) -> Verdict {
        let Start::Request { method, .. } = chunk.head.start else { return Verdict::Done };
        match method {
            Method::Other(_) if !self.config.passes_unknown_methods => {
                return Verdict::Refuse(501);
            }
            // No REPORT could say of which message it is (RFC 4975 §7.1.1, RFC 4976 §6.4.1).
            Method::Send if chunk.head.message_id.is_none() => return Verdict::Refuse(400),
            Method::Send | Method::Report | Method::Auth | Method::Nickname | Method::Other(_) => {}
        }
        match self.route(cx, chunk) {
            Ok(route) => {
                cx.used(chunk.connection);
                self.pass_head(cx, chunk, route, None)
            }
            Err(code) => Verdict::Refuse(code),
        }
    }

    /// Passes a request on when all of it is there; else what there is, as a chunk of its own.
    pub(super) fn pass_head(
        &mut self,
        cx: &mut Cx,
        chunk: &Chunk<'_>,
        route: Route,
        pair: Option<u32>,
    ) -> Verdict {
        let Chunk { connection, head, body, end, octets, .. } = *chunk;
        let Start::Request { method, .. } = head.start else { return Verdict::Done };
        let Some(end) = end else { return self.pass_part(cx, chunk, route, pair) };
        let leaving = Leaving {
            method,
            before: head.rest,
            range: None,
            after: b"",
            body: head.has_body.then_some((&[], body)),
            octets: Some(octets),
            end,
        };
        let range = Passed::of(head, body.len());
        // A failure is reported, and the chunk was received all the same (RFC 4976 §6.4.1).
        let _ = self.pass(cx, connection, &route, (Memory::of(head), range), &leaving);
        accepted(method)
    }
}

/// What the node does with a request that was passed on: a SEND is answered here, any other where
/// it goes.
pub(super) fn accepted(method: Method<'_>) -> Verdict {
    match method {
        Method::Send => Verdict::Accept,
        Method::Report | Method::Auth | Method::Nickname | Method::Other(_) => Verdict::Done,
    }
}

impl Passed {
    /// The octets that a chunk with this head and so much body has.
    pub(super) fn of(head: &Head<'_>, octets: usize) -> Self {
        let range = head.byte_range;
        Self {
            start: range.map_or(1, |range| range.start),
            octets: octets as u64,
            total: range.and_then(|range| range.total),
        }
    }
}
