//! Requests of a session, one after the other: what they need is looked up once.

use std::collections::VecDeque;
use std::time::Instant;

use super::connection::Connection;
use super::cx::{Cx, Later, Unsent, touch, usable};
use crate::node::ConnectionId;
use crate::session::{Session, SessionKey};
use crate::transaction_id::Words;
use crate::{Outbound, RESPONSE_DELAY, TransactionId};

/// A session and the connection its requests are written on.
pub(crate) struct Row<'a> {
    pub(crate) id: ConnectionId,
    pub(crate) connection: &'a mut Connection,
    pub(crate) session: &'a Session,
    key: SessionKey,
    core: u8,
    /// When what is sent now is given up on.
    due: Instant,
    entropy: &'a mut (dyn FnMut() -> u64 + Send),
    later: &'a mut VecDeque<Later>,
    written: u64,
}

impl Row<'_> {
    /// Writes a request: `write` is given the transaction identifier, which is `free`, and writes
    /// all of it. When a response is to be waited for, `waits` is what the role calls the request
    /// then.
    pub(crate) fn send(
        &mut self,
        waits: Option<u64>,
        free: impl Fn(&[u8]) -> bool,
        write: impl FnOnce(&mut Outbound, &[u8], &Session),
    ) {
        let free = |id: Words| free(&id.octets());
        self.send_as(waits, free, |out, id, session| write(out, &id.octets(), session));
    }

    /// The same with the identifier in words.
    ///
    /// Every identifier has 64 random bits (RFC 4975 §7.1). They are new in every row; within one,
    /// identifiers differ in the number, or in the lowest of those bits.
    #[inline]
    pub(crate) fn send_as(
        &mut self,
        waits: Option<u64>,
        free: impl Fn(Words) -> bool,
        write: impl FnOnce(&mut Outbound, Words, &Session),
    ) {
        let next_id = &self.connection.next_id;
        let random = match next_id.random.filter(|_| free(next_id.words)) {
            Some(random) => random,
            None => self.other_id(free),
        };
        let found = &mut *self.connection;
        let next = found.pending.next();
        write(&mut found.outbound, found.next_id.words, self.session);
        if let Some(token) = waits {
            let end = found.outbound.queued_total();
            if let Some(oldest) = found.pending.sent(self.due, (self.key, token), random, end) {
                self.later.push_back(Later::Expired(oldest));
            }
        }
        let before = TransactionId::new(self.core, random, next);
        found.next_id.follow(before, waits.is_some());
        self.written += 1;
    }

    /// Makes identifiers until there is one that is `free`; its random bits.
    #[cold]
    fn other_id(&mut self, free: impl Fn(Words) -> bool) -> u64 {
        let Connection { next_id, pending, .. } = &mut *self.connection;
        loop {
            let random = (self.entropy)();
            next_id.make(self.core, random, pending.next());
            if free(next_id.words) {
                return random;
            }
        }
    }
}

impl Cx {
    /// Fills a row of session `key`: on the connection that the session is bound to, or on `on`,
    /// which need not be that.
    #[inline]
    pub(crate) fn row<T>(
        &mut self,
        on: Option<ConnectionId>,
        key: SessionKey,
        fill: impl FnOnce(&mut Row<'_>) -> T,
    ) -> Result<T, Unsent> {
        let session = self.sessions.get(key).ok_or(Unsent::Unbound)?;
        let own = session.connection.filter(|_| !session.request_paths().is_empty());
        let id = on.or(own).ok_or(Unsent::Unbound)?;
        let found = usable(&mut self.connections, id).ok_or(Unsent::Gone)?;
        let waited = found.pending.len() > 0;
        let mut row = Row {
            id,
            connection: &mut *found,
            session,
            key,
            core: self.core,
            due: self.now + RESPONSE_DELAY,
            entropy: &mut *self.entropy,
            later: &mut self.later,
            written: 0,
        };
        let value = fill(&mut row);
        let written = row.written;
        if written > 0 {
            found.next_id.make(self.core, (self.entropy)(), found.pending.next());
            found.sent = self.now;
            self.counts.of(found.group).requests_written += written;
            touch(found, id, &mut self.outputs);
            if !waited && found.pending.len() > 0 {
                self.arm(id);
            }
        }
        Ok(value)
    }
}
