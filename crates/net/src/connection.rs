//! The connections: what waits to be written to each, and the table that finds them again.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parlance_sip::{ConnectionId, Transport};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use crate::meter::TransportMeter;

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
    /// The writing end of plain TCP; whoever has it writes.
    direct: Mutex<Direct>,
    /// Something waits that only the connection's own task can write.
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
            direct: Mutex::default(),
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

    /// Queues one message; [`Connection::flush`] writes it.
    pub(crate) fn push(&self, queued: Queued) -> Result<(), (Rejected, Queued)> {
        self.outbound().push(queued)
    }

    /// Queues the answer to a keep-alive (RFC 5626 §4.4.1).
    pub(crate) fn pong(&self, meter: &TransportMeter) {
        self.outbound().pong();
        self.flush(meter);
    }

    /// Lets any thread write to the open stream, until [`Connection::shut`].
    pub(crate) fn open(&self, stream: Arc<OwnedWriteHalf>) {
        self.direct().stream = Some(stream);
    }

    /// From now on nothing more is written directly.
    pub(crate) fn shut(&self) {
        self.direct().stream = None;
    }

    /// Writes what waits, from this thread, without waiting. What the kernel does not take now,
    /// and all on a stream that is not open or not plain TCP, is left to the connection's task.
    pub(crate) fn flush(&self, meter: &TransportMeter) {
        if self.write(meter).is_err() {
            self.ready.notify_one();
        }
    }

    /// Writes what waits; done as well when another thread is about it, which looks again at its
    /// end.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::WouldBlock`] when it takes no more now.
    pub(crate) fn write(&self, meter: &TransportMeter) -> io::Result<()> {
        while let Ok(mut direct) = self.direct.try_lock() {
            direct.write(self, meter)?;
            drop(direct);
            if self.outbound().is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn direct(&self) -> MutexGuard<'_, Direct> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end of a connection that any thread may write to.
#[derive(Debug, Default)]
struct Direct {
    stream: Option<Arc<OwnedWriteHalf>>,
    batch: Batch,
}

impl Direct {
    fn write(&mut self, connection: &Connection, meter: &TransportMeter) -> io::Result<()> {
        let stream = self.stream.as_deref().ok_or(io::ErrorKind::WouldBlock)?;
        loop {
            if self.batch.rest().is_empty() && !connection.outbound().take(&mut self.batch) {
                return Ok(());
            }
            while !self.batch.rest().is_empty() {
                match AsRef::<TcpStream>::as_ref(stream).try_write(self.batch.rest())? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    octets => self.batch.advance(octets),
                }
            }
            let messages = connection.outbound().wrote();
            meter.count_transmitted(messages, self.batch.len());
            connection.progress.notify_one();
        }
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
