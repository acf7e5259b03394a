//! What the tasks of a [`crate::Net`] share, and how messages pass through it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use parlance_sip::message::{Limits, Malformed};
use parlance_sip::{ListenerId, Message, Source, Target, Transport};
use rustls_pki_types::ServerName;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::connection::{Connection, Path, Queued, Rejected, Table};
use crate::meter::Meter;
use crate::rate::Buckets;
use crate::runtimes::Runtimes;
use crate::tls::TlsConfigs;
use crate::udp::Udp;
use crate::{
    ConnectionLimits, Deliver, Listener, Peer, Received, TlsClient, TransmitError, stream,
};

/// One listener, bound.
pub(crate) struct Bound {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    pub(crate) trusted_names: Vec<String>,
    pub(crate) config: Listener,
    pub(crate) udp: Option<Udp>,
    /// Where its datagrams are received.
    pub(crate) runtime: Handle,
    pub(crate) tls: RwLock<Option<TlsConfigs>>,
}

/// What the tasks share.
pub(crate) struct Shared {
    pub(crate) bound: Vec<Bound>,
    pub(crate) table: Arc<Table>,
    pub(crate) deliver: Arc<dyn Deliver>,
    pub(crate) meter: Meter,
    pub(crate) limits: ConnectionLimits,
    pub(crate) framing: Limits,
    pub(crate) tls_client: TlsClient,
    pub(crate) trusted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    pub(crate) buckets: Option<Mutex<Buckets>>,
    pub(crate) runtimes: Runtimes,
}

impl Shared {
    pub(crate) fn bound(&self, listener: ListenerId) -> Option<&Bound> {
        self.bound.get(usize::from(listener.0))
    }

    /// What TLS is spoken with; `None` on a listener without.
    pub(crate) fn tls(&self, listener: ListenerId) -> Option<TlsConfigs> {
        self.bound(listener)?.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn udp(&self, index: usize) -> Option<&Udp> {
        self.bound.get(index)?.udp.as_ref()
    }

    pub(crate) fn is_trusted(&self, source: IpAddr) -> bool {
        (self.trusted)(source)
    }

    pub(crate) fn is_flushed(&self) -> bool {
        let datagrams = self.bound.iter().filter_map(|bound| bound.udp.as_ref());
        datagrams.into_iter().all(Udp::is_flushed) && self.table.is_flushed()
    }

    /// Counts one message against the rate of `source`; over it, how long to wait.
    pub(crate) fn take_token(&self, source: IpAddr) -> Result<(), Duration> {
        match &self.buckets {
            Some(buckets) if !self.is_trusted(source) => {
                let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
                buckets.take(Instant::now(), source)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn received(
        &self,
        source: Source,
        peer: Option<Arc<Peer>>,
        message: Result<Message, Box<Malformed>>,
    ) -> Received {
        let meter = self.meter.of(source.transport);
        meter.received.increment(1);
        if message.is_err() {
            meter.malformed.increment(1);
        }
        Received { source, peer, message }
    }

    pub(crate) fn datagram(&self, listener: ListenerId, bytes: Bytes, remote: SocketAddr) {
        if self.take_token(remote.ip()).is_err() {
            return self.meter.rate_limit.raise(remote.ip());
        }
        let octets = bytes.len();
        let message = Message::parse_datagram(bytes, &self.framing);
        let source = Source {
            transport: Transport::Udp,
            remote,
            listener,
            connection: None,
            verified: false,
        };
        self.meter.of(Transport::Udp).received_octets.increment(octets as u64);
        if self.deliver.deliver(self.received(source, None, message)).is_err() {
            self.meter.queue_full.raise(remote.ip());
        }
    }

    pub(crate) fn transmit(
        self: &Arc<Self>,
        target: &Target,
        name: Option<&str>,
        bytes: Bytes,
        token: u64,
    ) -> Result<(), TransmitError> {
        let queued = Queued { bytes, target: *target, token };
        let meter = self.meter.of(target.transport);
        if target.transport != Transport::Udp {
            return self.queue(queued, name).map(|connection| connection.flush(meter));
        }
        let udp = self.bound(target.listener).and_then(|bound| bound.udp.as_ref());
        let octets = queued.bytes.len();
        let sent = udp.ok_or(TransmitError::NoListener).and_then(|udp| udp.transmit(queued));
        match sent {
            Ok(()) => meter.count_transmitted(1, octets),
            Err(_) => meter.failed.increment(1),
        }
        sent
    }

    pub(crate) fn transmit_datagrams(&self, datagrams: &[Queued]) {
        let listener = datagrams.first().map(|first| first.target.listener);
        let Some(udp) = listener.and_then(|id| self.bound(id)?.udp.as_ref()) else { return };
        let meter = self.meter.of(Transport::Udp);
        let (mut messages, mut octets) = (0, 0);
        for datagram in datagrams {
            messages += 1;
            octets += datagram.bytes.len();
        }
        udp.transmit_batch(datagrams, |queued, error| {
            messages -= 1;
            octets -= queued.bytes.len();
            meter.failed.increment(1);
            self.deliver.undeliverable(queued.token, queued.target, error);
        });
        meter.count_transmitted(messages, octets);
    }

    /// Queues a message on the connection for its target, which is then to be flushed; opens one
    /// when there is none.
    pub(crate) fn queue(
        self: &Arc<Self>,
        queued: Queued,
        name: Option<&str>,
    ) -> Result<Arc<Connection>, TransmitError> {
        let transport = queued.target.transport;
        self.queue_on_one(queued, name)
            .inspect_err(|_| self.meter.of(transport).failed.increment(1))
    }

    fn queue_on_one(
        self: &Arc<Self>,
        mut queued: Queued,
        name: Option<&str>,
    ) -> Result<Arc<Connection>, TransmitError> {
        let target = queued.target;
        let bound = self.bound(target.listener).ok_or(TransmitError::NoListener)?;
        if bound.transport != target.transport {
            return Err(TransmitError::NoListener);
        }
        let path = Path {
            transport: target.transport,
            listener: target.listener,
            remote: target.remote,
            name: name.filter(|_| target.transport == Transport::Tls).map(Arc::from),
        };
        // Once more when the connection found was just closing.
        for _ in 0..2 {
            let (connection, room) =
                self.table.obtain(&target, &path).map_err(|_| TransmitError::Busy)?;
            let pushed = connection.push(queued);
            if let Some(room) = room {
                let opening =
                    stream::connect(Arc::clone(self), Arc::clone(&connection), path.clone(), room);
                self.runtimes.next().spawn(opening);
            }
            queued = match pushed {
                Ok(()) => return Ok(connection),
                Err((Rejected::Full, _)) => return Err(TransmitError::Busy),
                Err((Rejected::Closed, back)) => back,
            };
            self.table.remove(&path, connection.id);
        }
        Err(TransmitError::Closed)
    }

    /// Forgets a connection and reports what was not written to it.
    pub(crate) fn bury(&self, connection: &Connection, path: &Path, error: TransmitError) {
        self.table.remove(path, connection.id);
        let unwritten = connection.outbound().close();
        for queued in unwritten {
            self.meter.of(path.transport).failed.increment(1);
            self.deliver.undeliverable(queued.token, queued.target, error);
        }
    }

    pub(crate) fn server_name(&self, path: &Path) -> ServerName<'static> {
        stream::server_name(path, &self.tls_client.names)
    }
}
