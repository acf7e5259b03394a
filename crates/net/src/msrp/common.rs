//! What the cores share.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::config::{MsrpLimits, MsrpListener, Others};
use super::lent::Lent;
use super::letter::Letter;
use super::mailbox::Mailbox;
use super::meter::{ListenerMeter, Meter};
use super::socket::{Socket, Stream};
use super::tls::{Current, Incoming, Outgoing};
use crate::admission::Admissions;
use crate::rate::Buckets;
use crate::{Resolver, TlsError};

/// One listener, bound.
pub(crate) struct Bound {
    pub(crate) config: MsrpListener,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Current<Incoming>>,
    pub(crate) meter: ListenerMeter,
}

/// What the cores share.
pub(crate) struct Common {
    pub(crate) bound: Vec<Bound>,
    pub(crate) lent: Arc<Lent>,
    pub(crate) limits: MsrpLimits,
    pub(crate) trusted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    pub(crate) others: Others,
    pub(crate) admissions: Arc<Admissions>,
    pub(crate) buckets: Option<Mutex<Buckets>>,
    pub(crate) mailboxes: Vec<Mailbox<Letter>>,
    pub(crate) meter: Meter,
    /// Of the connections we opened.
    pub(crate) ours: ListenerMeter,
    pub(crate) outgoing: Current<Outgoing>,
    pub(crate) resolver: Resolver,
    pub(crate) runtime: Handle,
}

impl Common {
    pub(crate) fn cores(&self) -> usize {
        self.mailboxes.len()
    }

    /// Where letters for a core go.
    pub(crate) fn mailbox(&self, core: u8) -> Option<&Mailbox<Letter>> {
        self.mailboxes.get(usize::from(core))
    }

    /// The counters of a listener, or of what we opened.
    pub(crate) fn meter_of(&self, listener: Option<u16>) -> &ListenerMeter {
        let bound = listener.and_then(|number| self.bound.get(usize::from(number)));
        bound.map_or(&self.ours, |bound| &bound.meter)
    }

    /// What is under a connection that was accepted.
    pub(crate) fn accepted(&self, listener: u16, stream: TcpStream) -> Option<Socket> {
        let bound = self.bound.get(usize::from(listener))?;
        let stream = match &bound.tls {
            None => Stream::Tcp(stream),
            Some(tls) => {
                let session = rustls::ServerConnection::new(tls.get().server).ok()?;
                Stream::tls(stream, session.into())
            }
        };
        let websocket = bound.config.websocket.then_some(self.limits.websocket_octets_max);
        Some(Socket::new(stream, websocket))
    }

    /// Counts octets against the rate of `source`; over it, how long to wait.
    pub(crate) fn charge(&self, source: IpAddr, octets: usize) -> Option<Duration> {
        let buckets = self.buckets.as_ref()?;
        if (self.trusted)(source) {
            return None;
        }
        let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        let wait = buckets.charge(Instant::now(), source, octets);
        (!wait.is_zero()).then_some(wait)
    }

    /// Reads certificates, keys and roots again.
    pub(crate) fn reload_tls(&self, client: &crate::TlsClient) -> Result<(), Vec<TlsError>> {
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        let secured =
            self.bound.iter().filter_map(|bound| bound.config.tls.as_ref().zip(bound.tls.as_ref()));
        for (files, current) in secured {
            match Incoming::read(files) {
                Ok(new) => read.push((current, new)),
                Err(error) => errors.push(error),
            }
        }
        let shown = MsrpListener::shown(self.bound.iter().map(|bound| &bound.config));
        let outgoing = Outgoing::read(client, shown).map_err(|error| errors.push(error)).ok();
        let Some(outgoing) = outgoing.filter(|_| errors.is_empty()) else { return Err(errors) };
        for (current, new) in read {
            current.replace(new);
        }
        self.outgoing.replace(outgoing);
        Ok(())
    }
}
