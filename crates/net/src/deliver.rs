//! What `net` hands up, and what it reports back: the seam to whoever runs the machines.

use std::io;
use std::sync::Arc;

use parlance_sip::message::Malformed;
use parlance_sip::{Message, Source, Target};

use crate::Peer;

/// Takes what was received. Implemented by whoever shares the work out over the shards.
///
/// Both methods are called on the runtimes that [`crate::Net::bind_on`] was given, `undeliverable`
/// also on the thread that calls [`crate::Net::flush`]. They must not block.
pub trait Deliver: Send + Sync + 'static {
    /// Takes one framed message.
    ///
    /// # Errors
    /// [`Refused`] when the queue it belongs to is full. Over UDP the message is then dropped and
    /// counted; over TCP and TLS it is offered again until it is taken, and nothing more is read
    /// from that connection meanwhile, so that the peer is slowed down by its own window.
    fn deliver(&self, received: Received) -> Result<(), Refused>;

    /// A message that [`crate::Net::transmit`] took could not be sent after all. Called at most
    /// once for each message, in no particular order.
    fn undeliverable(&self, token: u64, target: Target, error: TransmitError);
}

/// The queue was full; the message comes back.
#[derive(Debug)]
pub struct Refused(pub Box<Received>);

/// One message as it was received.
///
/// Its octets share the receive slab of about 60 datagrams, or the read buffer of its connection.
/// Who keeps a message for longer than its transaction keeps a copy
/// ([`Message::detached`]), or 300 octets hold 64 KiB.
#[derive(Debug)]
pub struct Received {
    /// Where it came from.
    pub source: Source,
    /// Whom the certificate of the other end names; `None` without TLS, and over TLS when the
    /// other end showed no certificate.
    pub peer: Option<Arc<Peer>>,
    /// The message. A malformed one is handed up too: a malformed request still gets its 400.
    pub message: Result<Message, Box<Malformed>>,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransmitError {
    /// A queue or the table of connections is full: there is more work than we can do now.
    #[error("the transport is busy")]
    Busy,
    /// The message does not fit a datagram (`EMSGSIZE`); it needs a stream (RFC 3261 §18.1.1).
    #[error("the message is too large for a datagram")]
    TooLarge,
    /// The target names a listener that is not there or serves another transport.
    #[error("no such listener for this transport")]
    NoListener,
    /// The system refused: unreachable, connection refused, reset.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// The peer did not accept a connection, finish a handshake or read in time.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The TLS handshake failed, or the certificate does not prove the name asked for.
    #[error("the TLS handshake failed")]
    Tls,
    /// The connection was closed before the message was written.
    #[error("the connection was closed")]
    Closed,
}

impl From<io::Error> for TransmitError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}
