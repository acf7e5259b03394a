//! Sessions whose messages begin or end here (RFC 4975 §7).
//!
//! What comes is put together and given up whole, or in the pieces in which it comes
//! ([`Delivery`]); what goes is taken whole, or piece by piece as the connection takes it
//! ([`Body`]). Either way the memory of a session has a limit, whatever the size of a message.
//!
//! | a response or REPORT | effect (RFC 4975 §10, §7.3.2) |
//! |---|---|
//! | 413 | no further chunk of the message |
//! | 415 | the message is given up with `#`; nothing of its type is sent again |
//! | 481, 506 | the session has failed |
//! | a failure REPORT for a range, other than 413 and 415 | the session has failed |
//! | 408, or no response within 30 s, or any other failure | the message is given up with `#` |

mod answering;
mod command;
mod receiving;
mod sending;
mod session;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parlance_sip::sdp::MediaRanges;

pub use sending::{MESSAGES_MAX, QUEUED_OCTETS_MAX};
pub use session::{PARTIALS_MAX, REPLACED_MAX};

use crate::header::{ByteRange, FailureReport};
use crate::node::cx::{Cx, Verdict};
use crate::node::receive::{Chunk, More};
use crate::node::{ConnectionId, Lost};
use crate::seen::Seen;
use crate::session::SessionKey;

/// What one side of a session takes: `accept-types`, `accept-wrapped-types`, `max-size` (RFC 4975
/// §8.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// What a message may be.
    pub types: MediaRanges,
    /// What may only be inside a container.
    pub wrapped: MediaRanges,
    /// The most octets of a message; `None` is no limit.
    pub octets_max: Option<u64>,
}

/// Octets of memory of a quiet session, next to its URIs.
#[cfg(test)]
pub(crate) fn session_octets() -> usize {
    size_of::<session::Endpoint>()
}

/// What every endpoint takes: the containers (RFC 4975 §7.3.1, §8.6).
const CONTAINERS: [&str; 4] =
    ["message/cpim", "multipart/mixed", "multipart/alternative", "multipart/signed"];

impl Accepts {
    /// Whether a message of `content_type` may be sent to who says so.
    pub fn admits(&self, content_type: &str) -> bool {
        self.types.admits(content_type)
    }

    /// Whether content of `content_type` may be inside a container.
    pub fn admits_wrapped(&self, content_type: &str) -> bool {
        self.types.admits(content_type) || self.wrapped.admits(content_type)
    }

    /// Whether messages have to be wrapped in `message/cpim`: it is the first that is taken.
    pub fn prefers_cpim(&self) -> bool {
        let first = self.types.iter().next().and_then(|entry| entry.split(';').next());
        first.is_some_and(|entry| entry.trim().eq_ignore_ascii_case("message/cpim"))
    }

    /// Whether an endpoint that says so takes `content_type`: a container always.
    fn takes(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        self.types.admits(content_type)
            || CONTAINERS.iter().any(|container| container.eq_ignore_ascii_case(essence))
    }
}

/// How messages are given up to the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Each as a whole, once all of it is there: [`Event::Received`].
    #[default]
    Whole,
    /// In the pieces in which they come: [`Event::Begun`], [`Event::Piece`], [`Event::Completed`].
    Pieces,
}

/// When the success REPORT of a message goes out that asks for one (RFC 4975 §7.1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuccessReports {
    /// When all of it is there.
    #[default]
    Received,
    /// When the application says so: it has still something to do with the message.
    ByApplication,
}

/// When the chunk is answered that completes a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastAnswer {
    /// At once, as every other chunk.
    #[default]
    Received,
    /// When the application says with what ([`Node::answer`](crate::Node::answer)): a 200 promises
    /// that the message is where it was to go. The sender waits 30 s (RFC 4975 §7.2).
    ByApplication,
}

/// How an endpoint session behaves.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// What we take, as in our SDP; shared by all sessions that say the same. Without `octets_max`
    /// a message is not longer than `held_octets_max`.
    pub accepts: Arc<Accepts>,
    /// Whether messages come whole.
    pub delivery: Delivery,
    /// Who says when a message has arrived.
    pub success_reports: SuccessReports,
    /// Who answers the chunk that completes a message.
    pub last_answer: LastAnswer,
    /// Octets held of messages that are not complete; at the limit a chunk is refused with 413.
    /// Default 16 MiB. Nothing is held with [`Delivery::Pieces`].
    pub held_octets_max: u64,
    /// A message of which nothing came for so long is dropped. Default 540 s (RFC 7701 §6.1 for a
    /// switch; RFC 4975 sets none).
    pub incomplete: Duration,
    /// Whether messages may come: not with `sendonly` and `inactive` in our SDP (RFC 4975 §8.9);
    /// 403 then. Default yes.
    pub receives: bool,
    /// The session that this one is for after it failed: a message that came there does not come
    /// again (RFC 4975 §5.4).
    pub replaces: Option<SessionKey>,
}

impl EndpointConfig {
    /// The defaults, for who takes what `accepts` says.
    pub fn new(accepts: Arc<Accepts>) -> Self {
        Self {
            accepts,
            delivery: Delivery::default(),
            success_reports: SuccessReports::default(),
            last_answer: LastAnswer::default(),
            held_octets_max: 16 * 1024 * 1024,
            incomplete: Duration::from_secs(540),
            receives: true,
            replaces: None,
        }
    }
}

/// A message that is sent or received in a session; its number is not used again there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageKey(u64);

/// What a message is made of.
#[derive(Clone, Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// It is asked for with [`Event::Wanted`] as the connection takes it, and comes by
    /// [`Node::supply`](crate::Node::supply).
    Pulled {
        /// Its length, when that is known.
        total: Option<u64>,
    },
}

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its identifier; `None` makes one. The same again is the same message (RFC 4975 §5.4).
    pub message_id: Option<Box<str>>,
    /// Its type.
    pub content_type: Box<str>,
    /// The type of what is inside, when it is a container.
    pub wrapped_type: Option<Box<str>>,
    /// Whole header lines that describe the content, as `Content-Disposition`; never
    /// `Content-Transfer-Encoding` (RFC 4975 §7.1.1: content is binary).
    pub headers: Box<[u8]>,
    /// Its content.
    pub body: Body,
    /// Whether the peer is to say when all has arrived.
    pub success_report: bool,
    /// What the peer is to say when something went wrong.
    pub failure_report: FailureReport,
}

impl Message {
    /// A message with the default reports.
    pub fn new(content_type: &str, body: Bytes) -> Self {
        Self {
            message_id: None,
            content_type: content_type.into(),
            wrapped_type: None,
            headers: Box::default(),
            body: Body::Whole(body),
            success_report: false,
            failure_report: FailureReport::Yes,
        }
    }
}

/// Why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no such session.
    #[error("the session is gone")]
    Session,
    /// The peer does not take the type, or refused it before (415).
    #[error("the peer does not take this type")]
    Type,
    /// The message is longer than the peer takes.
    #[error("the message is longer than the peer takes")]
    Long,
    /// Too much waits already; more can be sent after the next [`Event::Sent`].
    #[error("too much waits to be sent")]
    Full,
    /// A message/cpim has not one From and at least one To (RFC 3862 §2.2).
    #[error("a message/cpim has one From and a To")]
    Cpim,
    /// The Message-ID, the type or a header line is not one.
    #[error("a header of the message is wrong")]
    Header,
}

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its identifier.
    pub message_id: Box<[u8]>,
    /// Its type.
    pub content_type: Box<str>,
    /// All header lines of its first chunk after `From-Path`.
    pub headers: Box<[u8]>,
    /// Whether its sender wants to know that it has arrived.
    pub success_report: bool,
}

impl Description {
    /// Whether the message says that somebody is typing: it is passed on, and neither kept nor
    /// deferred (RFC 3994). What is inside a container is not looked at.
    pub fn is_composing(&self) -> bool {
        let essence = self.content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/im-iscomposing+xml")
    }
}

/// Why a message that came in part is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Its sender gave it up (`#`).
    Aborted,
    /// No chunk came for too long.
    Incomplete,
    /// It was refused with this code.
    Refused(u16),
    /// The session has ended.
    Ended,
}

/// Why a message has not been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A response or REPORT says so; 408 is also the time-out of 30 s.
    Code(u16),
    /// The session has ended.
    Ended,
    /// The application gave it up.
    Aborted,
}

/// Something of an endpoint that the application has to know.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message came.
    Received {
        /// Where.
        session: SessionKey,
        /// What it is.
        description: Description,
        /// Its content.
        body: Bytes,
    },
    /// The first chunk of a message came that is given up in pieces.
    Begun {
        /// Where.
        session: SessionKey,
        /// Its number in what follows.
        message: MessageKey,
        /// What it is.
        description: Description,
        /// Its length, as its sender says.
        total: Option<u64>,
    },
    /// Octets of a message. Pieces come in any order; what comes last counts.
    Piece {
        /// Where.
        session: SessionKey,
        /// Of which message.
        message: MessageKey,
        /// Where its first octet goes, from 0.
        position: u64,
        /// The octets.
        octets: Bytes,
    },
    /// All pieces of a message have come.
    Completed {
        /// Where.
        session: SessionKey,
        /// Which.
        message: MessageKey,
        /// How long it is; what came behind that is not part of it.
        length: u64,
    },
    /// A message that came in part does not come any further.
    Dropped {
        /// Where.
        session: SessionKey,
        /// Which.
        message: MessageKey,
        /// Why.
        why: Dropped,
    },
    /// More octets of a message can be taken: say [`Node::supply`](crate::Node::supply) once.
    Wanted {
        /// Where.
        session: SessionKey,
        /// Of which message.
        message: MessageKey,
        /// How many; fewer only when they are the last.
        octets: usize,
    },
    /// With [`SuccessReports::ByApplication`]: a message that had come before came again, and its
    /// sender asks for a REPORT.
    Repeated {
        /// Where.
        session: SessionKey,
        /// Its identifier.
        message_id: Box<[u8]>,
    },
    /// All of a message is written and, with Failure-Report yes, answered.
    Sent {
        /// Where.
        session: SessionKey,
        /// Which.
        message: MessageKey,
    },
    /// A message has not been sent, or not all of it.
    Failed {
        /// Where.
        session: SessionKey,
        /// Which.
        message: MessageKey,
        /// Why.
        why: Failure,
    },
    /// A success REPORT came.
    Reported {
        /// Where.
        session: SessionKey,
        /// For which message.
        message: MessageKey,
        /// For which octets of it.
        range: Option<ByteRange>,
    },
}

impl Event {
    /// The session it is about.
    pub fn session(&self) -> SessionKey {
        match self {
            Self::Received { session, .. }
            | Self::Begun { session, .. }
            | Self::Piece { session, .. }
            | Self::Completed { session, .. }
            | Self::Dropped { session, .. }
            | Self::Wanted { session, .. }
            | Self::Repeated { session, .. }
            | Self::Sent { session, .. }
            | Self::Failed { session, .. }
            | Self::Reported { session, .. } => *session,
        }
    }
}

/// The endpoints of a node.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    sessions: slab::Slab<session::Endpoint>,
    /// What the last sessions that failed had received, for those that replace them.
    replaced: VecDeque<(SessionKey, Seen)>,
}

impl Endpoints {
    /// A request of any method; the common checks have been made.
    pub(crate) fn head(&mut self, cx: &mut Cx, place: u32, chunk: &Chunk<'_>) -> Verdict {
        match self.sessions.get_mut(place as usize) {
            Some(endpoint) => endpoint.head(cx, chunk),
            None => Verdict::Refuse(481),
        }
    }

    /// More of the body of a SEND that was accepted.
    pub(crate) fn body(&mut self, cx: &mut Cx, place: u32, more: &More<'_>) -> Verdict {
        match self.sessions.get_mut(place as usize) {
            Some(endpoint) => endpoint.body(cx, more),
            None => Verdict::Done,
        }
    }

    /// The response to a chunk of message `token`.
    pub(crate) fn response(&mut self, cx: &mut Cx, place: u32, token: u64, code: u16) {
        if let Some(endpoint) = self.sessions.get_mut(place as usize) {
            endpoint.answered(cx, token, code);
        }
    }

    /// A chunk of message `token` was not answered within 30 s, or its connection is gone.
    pub(crate) fn unanswered(&mut self, cx: &mut Cx, place: u32, token: u64) {
        if let Some(endpoint) = self.sessions.get_mut(place as usize) {
            endpoint.unanswered(cx, token);
        }
    }

    /// The session is bound: messages can go.
    pub(crate) fn bound(&mut self, cx: &mut Cx, place: u32) {
        if let Some(endpoint) = self.sessions.get_mut(place as usize) {
            endpoint.ready(cx);
        }
        self.go_on(cx, place);
    }

    /// The response to what came is written: the REPORTs for it go.
    pub(crate) fn report_now(&mut self, cx: &mut Cx, place: u32) {
        if let Some(endpoint) = self.sessions.get_mut(place as usize) {
            endpoint.report_now(cx);
        }
    }

    /// The session has failed, and is gone when this returns.
    pub(crate) fn lost(&mut self, cx: &mut Cx, place: u32, _: Lost) {
        if let Some(endpoint) = self.sessions.try_remove(place as usize) {
            let session = endpoint.key();
            let seen = endpoint.end(cx);
            if self.replaced.len() >= REPLACED_MAX {
                self.replaced.pop_front();
            }
            self.replaced.push_back((session, seen));
        }
    }

    /// The timer of the session.
    pub(crate) fn timeout(&mut self, cx: &mut Cx, place: u32) {
        if let Some(endpoint) = self.sessions.get_mut(place as usize) {
            endpoint.timeout(cx);
        }
    }

    /// Writes what a session has, as far as there is room on its connection.
    fn go_on(&mut self, cx: &mut Cx, place: u32) {
        let key = self.sessions.get(place as usize).map(session::Endpoint::key);
        let session = key.and_then(|key| cx.sessions.get(key));
        if let Some(connection) = session.and_then(|session| session.connection) {
            self.room(cx, connection);
        }
    }

    /// There is room on a connection: every session that waits for it writes a chunk in turn, until
    /// there is none.
    pub(crate) fn room(&mut self, cx: &mut Cx, connection: ConnectionId) {
        while let Some(key) = cx.next_sender(connection) {
            let usage = cx.sessions.get(key).map(|session| session.usage);
            if let Some(crate::Usage::Endpoint(place)) = usage
                && let Some(endpoint) = self.sessions.get_mut(place as usize)
            {
                endpoint.write_chunk(cx);
            }
        }
    }
}
