//! The sockets as one thing: bound together, sent through from any thread, closed together.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use parlance_sip::{ListenerId, Target, Transport};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::connection::{Connection, Queued, Table};
use crate::meter::Meter;
use crate::rate::Buckets;
use crate::runtimes::Runtimes;
use crate::shared::{Bound, Shared};
use crate::tls::TlsConfigs;
use crate::udp::{BATCH, Udp};
use crate::{Deliver, Listener, NetConfig, TlsError, TransmitError, stream};

/// How often [`Net::drain`] looks whether everything is written.
const DRAIN_INTERVAL: Duration = Duration::from_millis(5);

/// The open sockets. Dropping it closes them.
pub struct Net {
    shared: Arc<Shared>,
    accepting: Mutex<JoinSet<()>>,
    datagrams: Mutex<JoinSet<()>>,
}

/// What one thread collects while it works, to send it together at its end: of datagrams at most
/// 32 from one listener, then those are sent.
#[derive(Debug, Default)]
pub struct Batch {
    /// By the number of the listener: a system call sends from one socket.
    datagrams: Vec<Vec<Queued>>,
    /// Connections with something queued, each once.
    streams: Vec<Arc<Connection>>,
}

/// Why nothing was bound; every failure is listed.
#[derive(Debug, thiserror::Error)]
#[error("{}", .failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct BindError {
    /// One for each listener that failed.
    pub failures: Vec<BindFailure>,
}

/// Why one listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {transport} {address}: {reason}")]
pub struct BindFailure {
    /// The address asked for.
    pub address: SocketAddr,
    /// The transport asked for.
    pub transport: Transport,
    /// What went wrong.
    #[source]
    pub reason: BindReason,
}

/// What can go wrong with a listener.
#[derive(Debug, thiserror::Error)]
pub enum BindReason {
    /// The system refused the address.
    #[error(transparent)]
    Socket(#[from] std::io::Error),
    /// The certificate, key or roots are unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// More listeners than a [`ListenerId`] can number.
    #[error("too many listeners")]
    TooMany,
}

impl Net {
    /// Binds every listener and starts to receive, on the current runtime.
    ///
    /// # Errors
    /// Every listener that could not be bound; then none is.
    pub async fn bind(config: NetConfig, deliver: Arc<dyn Deliver>) -> Result<Self, BindError> {
        Self::bind_on(Runtimes::new(Handle::current(), Vec::new()), config, deliver)
    }

    /// Binds every listener and starts to receive: each UDP listener and each connection on one of
    /// `runtimes`, in turn. `deliver` is called there.
    ///
    /// # Errors
    /// Every listener that could not be bound; then none is.
    pub fn bind_on(
        runtimes: Runtimes,
        config: NetConfig,
        deliver: Arc<dyn Deliver>,
    ) -> Result<Self, BindError> {
        let mut failures = Vec::new();
        let mut bound = Vec::new();
        let mut streams = Vec::new();
        for (position, listener) in config.listeners.iter().enumerate() {
            let runtime = match listener.transport {
                Transport::Udp => runtimes.next(),
                Transport::Tcp | Transport::Tls => runtimes.first(),
            };
            match bind_one(position, listener, &config, runtime) {
                Ok((one, stream)) => {
                    bound.push(one);
                    streams.extend(stream.map(|stream| (ListenerId(position as u16), stream)));
                }
                Err(reason) => failures.push(BindFailure {
                    address: listener.address,
                    transport: listener.transport,
                    reason,
                }),
            }
        }
        if !failures.is_empty() {
            return Err(BindError { failures });
        }
        let shared = Arc::new(Shared {
            bound,
            table: Arc::new(Table::new(config.connections)),
            deliver,
            meter: Meter::new(),
            limits: config.connections,
            framing: config.limits,
            tls_client: config.tls_client,
            trusted: config.trusted,
            buckets: config.rate.map(|limit| Mutex::new(Buckets::new(limit))),
            runtimes,
        });
        let (mut accepting, mut datagrams) = (JoinSet::new(), JoinSet::new());
        for (id, socket) in streams {
            let accept = stream::accept(Arc::clone(&shared), id, socket);
            accepting.spawn_on(accept, shared.runtimes.first());
        }
        for (index, bound) in shared.bound.iter().enumerate() {
            if bound.udp.is_some() {
                let receive = receive_datagrams(Arc::clone(&shared), index);
                datagrams.spawn_on(receive, &bound.runtime);
                datagrams.spawn_on(flush_datagrams(Arc::clone(&shared), index), &bound.runtime);
            }
        }
        let (accepting, datagrams) = (Mutex::new(accepting), Mutex::new(datagrams));
        Ok(Self { shared, accepting, datagrams })
    }

    /// Sends one message. From any thread; never blocks.
    ///
    /// Over UDP the datagram has left when this returns, or waits for room in the send buffer.
    /// Over TCP and TLS it is queued on the connection that `target` names, else on one to the
    /// same remote address, else on a new one. If it then fails,
    /// [`Deliver::undeliverable`] is called with `token`.
    ///
    /// A TLS server reached anew must prove the name configured for its address, or the address;
    /// see [`Net::transmit_to_name`].
    ///
    /// # Errors
    /// Why it was not sent and will not be; `undeliverable` is then not called.
    pub fn transmit(&self, target: &Target, bytes: Bytes, token: u64) -> Result<(), TransmitError> {
        self.shared.transmit(target, None, bytes, token)
    }

    /// Like [`Net::transmit`], to whom `name` was resolved from: over TLS the certificate must
    /// prove that name (RFC 5922 §7.3), and only connections that did are used again.
    ///
    /// # Errors
    /// Those of [`Net::transmit`].
    pub fn transmit_to_name(
        &self,
        target: &Target,
        name: &str,
        bytes: Bytes,
        token: u64,
    ) -> Result<(), TransmitError> {
        self.shared.transmit(target, Some(name), bytes, token)
    }

    /// Like [`Net::transmit`], but the message only joins `batch`, which [`Net::flush`] sends. A
    /// thread that has several messages to send saves a system call for each but one.
    ///
    /// # Errors
    /// Those of [`Net::transmit`] for a stream, and [`TransmitError::NoListener`].
    pub fn transmit_batched(
        &self,
        batch: &mut Batch,
        target: &Target,
        bytes: Bytes,
        token: u64,
    ) -> Result<(), TransmitError> {
        let queued = Queued { bytes, target: *target, token };
        if target.transport != Transport::Udp {
            let connection = self.shared.queue(queued, None)?;
            if !batch.streams.iter().any(|known| Arc::ptr_eq(known, &connection)) {
                batch.streams.push(connection);
            }
            return Ok(());
        }
        let bound = self.shared.bound(target.listener).filter(|bound| bound.udp.is_some());
        bound.ok_or(TransmitError::NoListener)?;
        let index = usize::from(target.listener.0);
        if batch.datagrams.len() <= index {
            batch.datagrams.resize_with(index + 1, Vec::new);
        }
        if let Some(datagrams) = batch.datagrams.get_mut(index) {
            datagrams.push(queued);
            if datagrams.len() >= BATCH {
                self.shared.transmit_datagrams(datagrams);
                datagrams.clear();
            }
        }
        Ok(())
    }

    /// Sends what is in `batch`. For each datagram that cannot be sent,
    /// [`Deliver::undeliverable`] is called here, on this thread.
    pub fn flush(&self, batch: &mut Batch) {
        for datagrams in batch.datagrams.iter_mut().filter(|datagrams| !datagrams.is_empty()) {
            self.shared.transmit_datagrams(datagrams);
            datagrams.clear();
        }
        for connection in batch.streams.drain(..) {
            connection.flush(self.shared.meter.of(connection.transport));
        }
    }

    /// The address a listener is bound to, with the port the system chose; `None` when there is
    /// no such listener.
    pub fn local_addr(&self, listener: ListenerId) -> Option<SocketAddr> {
        self.shared.bound(listener).map(|bound| bound.address)
    }

    /// The first listener that speaks `transport` in the address family of `remote`.
    pub fn listener_for(&self, transport: Transport, remote: IpAddr) -> Option<ListenerId> {
        let fits = |bound: &Bound| {
            bound.transport == transport && bound.address.is_ipv4() == remote.is_ipv4()
        };
        self.shared.bound.iter().position(fits).map(|position| ListenerId(position as u16))
    }

    /// How many TCP and TLS connections there are, those being opened included.
    pub fn connections(&self) -> usize {
        self.shared.table.len()
    }

    /// Reads certificates, keys and roots again, from the same files. Connections that are open
    /// stay open; new ones use the new ones.
    ///
    /// # Errors
    /// Every file that is unusable; then nothing changes.
    pub fn reload_tls(&self) -> Result<(), Vec<TlsError>> {
        let read = |bound: &Bound| TlsConfigs::of(&bound.config, &self.shared.tls_client);
        let (mut configs, mut errors) = (Vec::new(), Vec::new());
        for read in self.shared.bound.iter().map(read) {
            match read {
                Ok(config) => configs.push(config),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        for (bound, config) in self.shared.bound.iter().zip(configs) {
            *bound.tls.write().unwrap_or_else(PoisonError::into_inner) = config;
        }
        Ok(())
    }

    /// Accepts no more connections; those that are open, and UDP, go on.
    pub fn refuse_connections(&self) {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Waits until everything taken by [`Net::transmit`] is written, at most `limit`; then closes
    /// everything. To be called when nobody transmits any more.
    pub async fn drain(&self, limit: Duration) {
        self.refuse_connections();
        let deadline = Instant::now() + limit;
        while !self.shared.is_flushed() && Instant::now() < deadline {
            sleep(DRAIN_INTERVAL).await;
        }
        self.close();
        while self.connections() > 0 && Instant::now() < deadline {
            sleep(DRAIN_INTERVAL).await;
        }
    }

    fn close(&self) {
        self.refuse_connections();
        self.datagrams.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        for connection in self.shared.table.close() {
            connection.closing.notify_one();
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.close();
    }
}

fn bind_one(
    position: usize,
    listener: &Listener,
    config: &NetConfig,
    runtime: &Handle,
) -> Result<(Bound, Option<tokio::net::TcpListener>), BindReason> {
    let _context = runtime.enter();
    let id = ListenerId(u16::try_from(position).map_err(|_| BindReason::TooMany)?);
    let tls = TlsConfigs::of(listener, &config.tls_client)?;
    let (address, udp, stream) = match listener.transport {
        Transport::Udp => {
            let udp = Udp::bind(id, listener.address, config.udp_receive_buffer_octets)?;
            (udp.address, Some(udp), None)
        }
        Transport::Tcp | Transport::Tls => {
            let stream = stream::listen(listener.address)?;
            (stream.local_addr()?, None, Some(stream))
        }
    };
    let names = listener.tls.as_ref().map(|tls| tls.trusted_names.clone());
    let bound = Bound {
        transport: listener.transport,
        address,
        trusted_names: names.unwrap_or_default(),
        config: listener.clone(),
        udp,
        runtime: runtime.clone(),
        tls: RwLock::new(tls),
    };
    Ok((bound, stream))
}

async fn receive_datagrams(shared: Arc<Shared>, index: usize) {
    let Some(udp) = shared.udp(index) else { return };
    udp.receive(|bytes, remote| shared.datagram(udp.listener, bytes, remote)).await;
}

async fn flush_datagrams(shared: Arc<Shared>, index: usize) {
    let Some(udp) = shared.udp(index) else { return };
    let meter = shared.meter.of(Transport::Udp);
    udp.flush(|queued, sent| {
        if let Err(error) = sent {
            meter.failed.increment(1);
            shared.deliver.undeliverable(queued.token, queued.target, error);
        }
    })
    .await;
}
