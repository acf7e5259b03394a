//! MSRP: the sockets under the machines of `parlance-msrp`, one thread for each core.
//!
//! Every core has an event queue, a [`Node`] and connections of its own; nothing is locked on the
//! way of a message. A session belongs to the core whose number its session-id has, unless it goes
//! by a URI that was [lent](Msrp::lent), so a connection goes to the core that its first To-Path
//! names; what comes on it for sessions of other cores is passed on to them.
//!
//! Start with [`Msrp::start`]; [`Msrp::run`] does something with the node of a core.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Poll, Waker};
use parlance_msrp::{LentUris, Node, SessionKey};
use parlance_sip::sdp::Fingerprint;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::common::{Bound, Common};
use self::config::CORES_MAX;
use self::core::{Core, WAKE, clock};
use self::lent::Lent;
use self::letter::Letter;
use self::mailbox::{Mailbox, Returned};
use self::meter::{ListenerMeter, Meter};
use self::tls::{Current, Incoming, Outgoing};
use crate::admission::Admissions;
use crate::rate::Buckets;
use crate::{BindReason, RateLimit, Resolver, TlsClient, TlsError};

mod buffers;
mod common;
mod config;
mod core;
mod counted;
mod events;
mod frames;
mod lent;
mod letter;
mod link;
mod mailbox;
mod meter;
mod socket;
mod tls;
mod websocket;

pub use config::{MsrpConfig, MsrpLimits, MsrpListener, Others};
pub use events::{Sink, Sinks};
pub(crate) use meter::describe_metrics;

/// Connections that wait to be accepted, per listener.
const ACCEPT_BACKLOG: i32 = 4096;

/// The cores, running. Dropped, they end at once.
pub struct Msrp {
    common: Arc<Common>,
    tls_client: TlsClient,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a command works with: one core, between two inputs.
pub struct AtCore<'a> {
    /// Its machine.
    pub node: &'a mut Node,
    /// When it is.
    pub now: Instant,
    /// Its number, which the session-ids of its sessions have.
    pub core: u8,
    /// Who takes the events of its sessions.
    pub sinks: &'a mut Sinks,
}

impl AtCore<'_> {
    /// The events of `session` go to `sink` from now on, as [`Sinks::subscribe`] says.
    pub fn subscribe(&mut self, session: SessionKey, sink: Sink) {
        self.sinks.subscribe(session, sink);
    }
}

/// Why a command was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MsrpError {
    /// As many letters wait for the core as may ([`MsrpLimits::mailbox_max`]).
    #[error("the core has too much to do")]
    Busy,
    /// There is no such core, or it has ended.
    #[error("the core is not there")]
    Gone,
}

/// Why MSRP was not started; every failure is listed, and nothing is bound.
#[derive(Debug, thiserror::Error)]
#[error("{}", told(.failures))]
pub struct MsrpStartError {
    /// The listener, or what else failed, and why.
    pub failures: Vec<(String, BindReason)>,
}

fn told(failures: &[(String, BindReason)]) -> String {
    let each = failures.iter().map(|(at, why)| format!("{at}: {why}"));
    each.collect::<Vec<_>>().join("; ")
}

impl Msrp {
    /// Binds every listener and starts the cores. Names are resolved on the current runtime.
    ///
    /// # Errors
    /// Everything that failed; then nothing is bound.
    pub fn start(config: MsrpConfig, resolver: Resolver) -> Result<Self, MsrpStartError> {
        let mut failures = Vec::new();
        let (mut bound, mut sockets) = (Vec::new(), Vec::new());
        for listener in &config.listeners {
            match bind(listener) {
                Ok((one, socket)) => {
                    bound.push(one);
                    sockets.push(socket);
                }
                Err(reason) => failures.push((listener.address.to_string(), reason)),
            }
        }
        let shown = MsrpListener::shown(config.listeners.iter());
        let outgoing = Outgoing::read(&config.tls_client, shown)
            .map_err(|error| failures.push(("TLS client".to_owned(), error.into())))
            .ok();
        let Some(outgoing) = outgoing.filter(|_| failures.is_empty()) else {
            return Err(MsrpStartError { failures });
        };
        let started = Self::start_cores(config, bound, sockets, outgoing, resolver);
        started.map_err(|error| {
            let failures = vec![("cores".to_owned(), BindReason::Socket(error))];
            MsrpStartError { failures }
        })
    }

    fn start_cores(
        config: MsrpConfig,
        bound: Vec<Bound>,
        sockets: Vec<std::net::TcpListener>,
        outgoing: Outgoing,
        resolver: Resolver,
    ) -> io::Result<Self> {
        let limits = config.limits;
        let cores = config.cores.clamp(1, CORES_MAX);
        let polls = (0..cores).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let mailbox = |poll: &Poll| {
            let waker = Waker::new(poll.registry(), WAKE)?;
            Ok(Mailbox::new(limits.mailbox_max, Arc::new(waker)))
        };
        let mailboxes = polls.iter().map(mailbox).collect::<io::Result<Vec<_>>>()?;
        let rate = limits.octets_per_second.map(|per_second| RateLimit {
            per_second,
            burst: per_second,
            sources_max: limits.sources_max,
        });
        let lent = Lent::new(limits.lent_max, entropy()?());
        let common = Arc::new(Common {
            bound,
            lent: Arc::new(lent),
            limits,
            trusted: config.trusted,
            others: config.others,
            admissions: Arc::new(Admissions::new(limits.total_max, limits.per_source_max)),
            buckets: rate.map(|rate| Mutex::new(Buckets::new(rate))),
            mailboxes,
            meter: Meter::new(),
            ours: ListenerMeter::new("connect"),
            outgoing: Current::new(outgoing),
            resolver,
            runtime: Handle::current(),
        });
        let msrp = Self {
            common: Arc::clone(&common),
            tls_client: config.tls_client,
            threads: Mutex::default(),
        };
        for (number, poll) in (0..).zip(polls) {
            let mut node = Node::new(number, cores, clock(), config.node, entropy()?);
            let lent = Arc::clone(&common.lent);
            node.set_places(Box::new(move |uri| lent.core_of(uri)));
            node.set_certificate_hash(tls::hash);
            let listeners = sockets.iter().map(|socket| {
                let socket = socket.try_clone()?;
                Ok(TcpListener::from_std(socket))
            });
            let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
            let core =
                Core::new(number, Arc::clone(&common), poll, node, listeners, Sinks::default())?;
            let thread = std::thread::Builder::new().name(format!("msrp-{number}"));
            let thread = thread.spawn(move || core.run())?;
            msrp.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(msrp)
    }

    /// How many cores there are.
    pub fn cores(&self) -> u8 {
        self.common.mailboxes.len() as u8
    }

    /// Where a listener is bound, with the port the system chose for port 0, in the order of the
    /// configuration.
    pub fn local_addr(&self, listener: usize) -> Option<SocketAddr> {
        self.common.bound.get(listener).map(|bound| bound.address)
    }

    /// The fingerprint of the certificate that a listener shows now, for `a=fingerprint` (RFC 8122
    /// §5); `None` without TLS.
    pub fn fingerprint(&self, listener: usize) -> Option<Fingerprint> {
        let tls = self.common.bound.get(listener)?.tls.as_ref()?;
        Some(tls.get().fingerprint)
    }

    /// How many connections there are, those being opened included.
    pub fn connections(&self) -> usize {
        self.common.admissions.len()
    }

    /// Whether a core ended by itself, which a server does not survive.
    pub fn is_broken(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().any(JoinHandle::is_finished)
    }

    /// Does something at a core, and says what came of it. The command waits in the mailbox from
    /// now on, whether the future is polled or not; it must not block.
    ///
    /// # Errors
    /// [`MsrpError`]; then it is not done. `Gone` as well when the core ended before it did it.
    pub fn run<T, F>(
        &self,
        core: u8,
        command: F,
    ) -> impl Future<Output = Result<T, MsrpError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut AtCore<'_>) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let sent = self.tell(core, move |at| {
            // Nobody may wait any more.
            let _ = answer.send(command(at));
        });
        async move {
            sent?;
            answered.await.map_err(|_| MsrpError::Gone)
        }
    }

    /// Does something at a core, some time. A command that the core does not come to is dropped.
    ///
    /// # Errors
    /// [`MsrpError`]; then it is not done.
    pub fn tell(
        &self,
        core: u8,
        command: impl FnOnce(&mut AtCore<'_>) + Send + 'static,
    ) -> Result<(), MsrpError> {
        let mailbox = self.common.mailbox(core).ok_or(MsrpError::Gone)?;
        mailbox.send(Letter::Run(Box::new(command))).map_err(|returned| match returned {
            Returned::Full(_) => MsrpError::Busy,
            Returned::Closed(_) => MsrpError::Gone,
        })
    }

    /// The same whether there is room in the mailbox or not: for what ends something, so that what
    /// was opened is the bound.
    pub fn tell_always(&self, core: u8, command: impl FnOnce(&mut AtCore<'_>) + Send + 'static) {
        if let Some(mailbox) = self.common.mailbox(core) {
            mailbox.send_always(Letter::Run(Box::new(command)));
        }
    }

    /// Does something with the URIs of peers by which sessions go: what comes for one belongs to
    /// its core. There are at most [`MsrpLimits::lent_max`].
    pub fn lent<T>(&self, act: impl FnOnce(&mut LentUris) -> T) -> T {
        self.common.lent.change(act)
    }

    /// Reads certificates, keys and roots again, from the same files. Connections that are open
    /// stay open; new ones use the new ones.
    ///
    /// # Errors
    /// Every file that is unusable; then nothing changes.
    pub fn reload_tls(&self) -> Result<(), Vec<TlsError>> {
        self.common.reload_tls(&self.tls_client)
    }

    /// Accepts no more connections; those that are open go on.
    pub fn refuse_connections(&self) {
        self.tell_all(|| Letter::Refuse);
    }

    /// Writes what waits, closes every connection and ends the cores, within `limit`. To be called
    /// when no session is needed any more.
    pub async fn drain(&self, limit: Duration) {
        let end = clock() + limit;
        self.tell_all(|| Letter::End(end));
        let threads = self.take_threads();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A thread that panicked is as gone as one that ended.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }

    fn take_threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell_all(&self, letter: impl Fn() -> Letter) {
        for mailbox in &self.common.mailboxes {
            mailbox.send_always(letter());
        }
    }
}

impl Drop for Msrp {
    fn drop(&mut self) {
        self.tell_all(|| Letter::End(clock()));
        // A core may have the last command that knows of the cores: it ends by itself.
        let this = std::thread::current().id();
        for thread in self.take_threads().into_iter().filter(|one| one.thread().id() != this) {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Msrp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Msrp").field("cores", &self.cores()).finish_non_exhaustive()
    }
}

/// A generator that a peer cannot guess.
fn entropy() -> io::Result<Box<dyn FnMut() -> u64 + Send>> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no random octets"))?;
    let mut generator = StdRng::from_seed(seed);
    Ok(Box::new(move || generator.next_u64()))
}

fn bind(listener: &MsrpListener) -> Result<(Bound, std::net::TcpListener), BindReason> {
    let tls = listener.tls.as_ref().map(Incoming::read).transpose()?.map(Current::new);
    let socket = listen(listener.address)?;
    let address = socket.local_addr()?;
    let protocol = match (&listener.tls, listener.websocket) {
        (None, false) => "msrp",
        (Some(_), false) => "msrps",
        (None, true) => "ws",
        (Some(_), true) => "wss",
    };
    let meter = ListenerMeter::new(&format!("{protocol} {}", listener.address));
    Ok((Bound { config: listener.clone(), address, tls, meter }, socket))
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the connections of the last run to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    Ok(socket.into())
}
