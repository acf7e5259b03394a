//! Chunks that complete a message, and that the application answers.

use super::session::Endpoint;
use crate::Start;
use crate::node::ConnectionId;
use crate::node::connection::Answers;
use crate::node::cx::{Cx, Verdict};
use crate::node::receive::{Chunk, More};
use crate::path::Path;

/// A chunk that waits for its answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// Of which message.
    message_id: Box<[u8]>,
    connection: ConnectionId,
    /// Its transaction.
    id: Box<[u8]>,
    /// Where the answer goes.
    to: Box<[u8]>,
    answers: Answers,
}

/// What of a chunk its answer is made from; made only when the chunk completes a message.
type Asked = Option<Unanswered>;

impl Unanswered {
    /// Of a chunk that came with its head.
    pub(super) fn of_chunk(chunk: &Chunk<'_>) -> impl FnOnce() -> Asked {
        move || {
            let Start::Request { id, method } = chunk.head.start else { return None };
            Some(Self {
                message_id: Box::default(),
                connection: chunk.connection,
                id: id.into(),
                to: chunk.head.from_path.first().into(),
                answers: Answers::to(method, chunk.head.failure_report),
            })
        }
    }

    /// Of a chunk whose head came before.
    pub(super) fn of_rest(cx: &Cx, more: &More<'_>) -> impl FnOnce() -> Asked {
        move || {
            let session = cx.sessions.get(more.session);
            let peer = || session.and_then(|session| session.peer()).map(Path::first);
            Some(Self {
                message_id: Box::default(),
                connection: more.connection,
                id: more.rest.id().into(),
                to: more.rest.to.as_deref().or_else(peer)?.into(),
                answers: more.rest.answers,
            })
        }
    }
}

impl Endpoint {
    /// The verdict about a chunk that was taken: when it completed a message that the application
    /// answers, the node says nothing.
    pub(super) fn take_over(&mut self, asked: impl FnOnce() -> Asked) -> Verdict {
        let Some(message_id) = self.completed.take() else { return Verdict::Accept };
        if let Some(asked) = asked() {
            self.unanswered.push(Unanswered { message_id, ..asked });
        }
        Verdict::Done
    }

    /// Whether the application has a message of this name to answer.
    pub(super) fn is_unanswered(&self, message_id: &[u8]) -> bool {
        self.unanswered.iter().any(|chunk| *chunk.message_id == *message_id)
    }

    /// The application answers the message: with 200 it has come, with anything else it has not,
    /// and may come again.
    pub(super) fn answer(&mut self, cx: &mut Cx, message_id: &[u8], code: u16) {
        let found = self.unanswered.iter().position(|chunk| *chunk.message_id == *message_id);
        let Some(at) = found else { return };
        let chunk = self.unanswered.swap_remove(at);
        if code == 200 {
            self.seen.insert(&cx.hasher, message_id);
        }
        if !chunk.answers.want(code) {
            return;
        }
        let Some(own) = cx.sessions.get(self.key()).map(|session| session.own().clone()) else {
            return;
        };
        cx.respond(chunk.connection, &chunk.id, code, &chunk.to, own.as_bytes(), b"");
    }
}
