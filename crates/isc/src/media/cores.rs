//! The driver of the MSRP machines, as a role's handles see it.

use std::fmt;
use std::time::Instant;

use parlance_msrp::{Event, LentUris, LocalAddress, Node, SessionKey};
use parlance_sip::sdp::Fingerprint;
use tokio::sync::mpsc;

use super::Addresses;

/// Takes the events of one session, or of many.
pub type Sink = mpsc::Sender<Event>;

/// Something to be done at a core. It must not block, and is dropped when it cannot be done.
pub type Command = Box<dyn FnOnce(&mut AtCore<'_>) + Send>;

/// The cores that run the MSRP machines: threads with sockets in the server, a simulated network
/// in the lab. A core does one thing after the other, each command between two inputs of its
/// machine, and in the order in which they were given to it.
pub trait MediaCores: Send + Sync + fmt::Debug {
    /// How many there are, numbered from 0.
    fn cores(&self) -> u8;

    /// What our URIs say, with TLS (`msrps`) or without; `None`: nobody listens so.
    fn address(&self, secure: bool) -> Option<LocalAddress>;

    /// The `a=fingerprint` of each certificate that is shown over TLS. Default: none.
    fn fingerprints(&self) -> Vec<Fingerprint> {
        Vec::new()
    }

    /// Puts a command in the mailbox of `core`.
    ///
    /// # Errors
    /// [`CoreError`]; it is not done then.
    fn run(&self, core: u8, command: Command) -> Result<(), CoreError>;

    /// The same for a command that ends something, which is taken whether there is room or not:
    /// everything that was opened ends once, so what was opened is the bound.
    fn run_always(&self, core: u8, command: Command);

    /// The addresses of a host, by the DNS or as the configuration says. Default: none are known.
    fn addresses(&self, _host: &str) -> Addresses {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Does something with the URIs of peers by which sessions go. Default: nothing, none may.
    fn lent(&self, _act: &mut dyn FnMut(&mut LentUris)) {}
}

/// Why a core does not take a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoreError {
    /// As many commands wait as may.
    #[error("the core has too much to do")]
    Busy,
    /// There is no such core, or it has ended.
    #[error("the core is not there")]
    Gone,
}

/// No cores.
#[derive(Debug)]
pub(super) struct None;

impl MediaCores for None {
    fn cores(&self) -> u8 {
        0
    }

    fn address(&self, _: bool) -> Option<LocalAddress> {
        Option::None
    }

    fn run(&self, _: u8, _: Command) -> Result<(), CoreError> {
        Err(CoreError::Gone)
    }

    fn run_always(&self, _: u8, _: Command) {}
}

/// What a command works with.
pub struct AtCore<'a> {
    /// The machine of the core.
    pub node: &'a mut Node,
    /// When it is.
    pub now: Instant,
    /// Who takes the events of which session.
    pub sinks: &'a mut dyn Sinks,
}

/// Who takes the events of the sessions of a core. While a sink is full, the connection that
/// brings events for it is not read.
pub trait Sinks {
    /// The events of `session` go to `sink` from now on.
    fn subscribe(&mut self, session: SessionKey, sink: Sink);

    /// Nobody takes the events of `session` any more.
    fn unsubscribe(&mut self, session: SessionKey);
}

impl fmt::Debug for AtCore<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtCore").field("now", &self.now).finish_non_exhaustive()
    }
}
