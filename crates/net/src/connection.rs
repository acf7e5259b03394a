//! The connections: what waits to be written to each, and the table that finds them again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use parlance_sip::{ConnectionId, Transport};
use tokio::sync::Notify;

mod outbound;
mod table;

pub(crate) use outbound::{Batch, Outbound, Queued};
pub(crate) use table::{Path, Table};

/// One TCP or TLS connection, from when it is first wanted until it is gone.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) transport: Transport,
    outbound: Mutex<Outbound>,
    /// Something waits to be written.
    pub(crate) ready: Notify,
    /// Something was written.
    pub(crate) progress: Notify,
    /// The connection is to end.
    pub(crate) closing: Notify,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, transport: Transport, outbound: Outbound) -> Self {
        Self {
            id,
            transport,
            outbound: Mutex::new(outbound),
            ready: Notify::new(),
            progress: Notify::new(),
            closing: Notify::new(),
        }
    }

    /// The queue, locked. Held for a few moves only, never across an await.
    pub(crate) fn outbound(&self) -> MutexGuard<'_, Outbound> {
        // A queue that a panic left behind is still a queue: each change is one push or pop.
        self.outbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues one message.
    pub(crate) fn push(&self, queued: Queued) -> Result<(), (Rejected, Queued)> {
        let pushed = self.outbound().push(queued);
        if pushed.is_ok() {
            self.ready.notify_one();
        }
        pushed
    }

    /// Queues the answer to a keep-alive (RFC 5626 §4.4.1).
    pub(crate) fn pong(&self) {
        self.outbound().pong();
        self.ready.notify_one();
    }
}

/// Why a message did not get into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// It is full.
    Full,
    /// Nothing will be written any more.
    Closed,
}
