//! Connections: streams that are opened, accepted and closed, with a window (for MSRP).
//!
//! On the simulated network a connection is two queues of pieces, each with the moment at which it
//! arrives. Nothing is lost or reordered; a piece that meets a partition, and all that follows it,
//! never arrives, and nobody is told. Over real sockets ([`Streams::Real`]) tasks fill and empty
//! the same queues.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::Network;

/// Octets one side may send that the other has not read. As the buffers of a real connection.
pub const WINDOW: usize = 64 * 1024;

/// How long connecting to somebody who does not answer takes.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// Octets read from a real socket at once.
const READ_OCTETS: usize = 16 * 1024;

/// Where connections of one host come from.
#[derive(Clone, Debug)]
pub enum Streams {
    /// A host of the simulated network.
    Simulated(Network, IpAddr),
    /// Real sockets.
    Real(IpAddr),
}

/// Takes the connections to one address.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    incoming: mpsc::UnboundedReceiver<Connection>,
}

/// One end of a connection. Dropped: closed.
#[derive(Debug)]
pub struct Connection {
    local: SocketAddr,
    remote: SocketAddr,
    network: Option<Network>,
    outgoing: Rc<Half>,
    incoming: Rc<Half>,
}

/// Octets that went over a connection, for a trace.
#[derive(Clone, Debug)]
pub struct Carried {
    /// When they were sent.
    pub at: Instant,
    /// Who sent them.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The octets.
    pub octets: Bytes,
}

/// One direction.
#[derive(Debug)]
struct Half {
    pieces: RefCell<VecDeque<(Instant, Bytes)>>,
    /// When the last piece arrives: nothing passes it.
    last: Cell<Instant>,
    /// Octets that were sent and not read.
    under_way: Cell<usize>,
    /// When its end arrives, once the sender has closed.
    closed: Cell<Option<Instant>>,
    /// Nobody reads it any more.
    unread: Cell<bool>,
    /// It met a partition: nothing arrives any more.
    dead: Cell<bool>,
    changed: Notify,
    drained: Notify,
}

impl Half {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            pieces: RefCell::default(),
            last: Cell::new(Instant::now()),
            under_way: Cell::new(0),
            closed: Cell::new(None),
            unread: Cell::new(false),
            dead: Cell::new(false),
            changed: Notify::new(),
            drained: Notify::new(),
        })
    }

    fn push(&self, at: Instant, octets: Bytes) {
        self.under_way.set(self.under_way.get() + octets.len());
        if !self.dead.get() {
            self.last.set(at);
            self.pieces.borrow_mut().push_back((at, octets));
            self.changed.notify_one();
        }
    }

    fn end(&self, at: Instant) {
        if self.closed.get().is_none() && !self.dead.get() {
            self.closed.set(Some(at.max(self.last.get())));
            self.changed.notify_one();
        }
    }

    /// The next piece, when it is there; `None` at the end. Cancel-safe.
    async fn pop(&self) -> Option<Bytes> {
        loop {
            let first = self.pieces.borrow().front().map(|(at, _)| *at);
            match (first, self.closed.get()) {
                (Some(at), _) if at <= Instant::now() => {
                    let (_, octets) = self.pieces.borrow_mut().pop_front()?;
                    self.under_way.set(self.under_way.get().saturating_sub(octets.len()));
                    self.drained.notify_one();
                    return Some(octets);
                }
                (Some(at), _) => tokio::time::sleep_until(at).await,
                (None, Some(at)) => {
                    tokio::time::sleep_until(at).await;
                    return None;
                }
                (None, None) => self.changed.notified().await,
            }
        }
    }
}

impl Connection {
    /// The own address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The other end.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Sends octets; more than there is [`room`](Self::room) for is the sender's own fault, and
    /// arrives as well.
    pub fn send(&self, octets: Bytes) {
        match &self.network {
            None => self.outgoing.push(Instant::now(), octets),
            Some(network) => {
                network.note(self.local, self.remote, &octets);
                if network.is_cut(self.local.ip(), self.remote.ip()) {
                    self.outgoing.dead.set(true);
                }
                for (wait, piece) in network.pieces(octets) {
                    let at = (Instant::now() + wait).max(self.outgoing.last.get());
                    self.outgoing.push(at, piece);
                }
            }
        }
    }

    /// Octets that may be sent now.
    pub fn room(&self) -> usize {
        WINDOW.saturating_sub(self.outgoing.under_way.get())
    }

    /// Waits until there is room, or nobody reads any more. Cancel-safe.
    pub async fn writable(&self) {
        while self.room() == 0 && !self.outgoing.unread.get() {
            self.outgoing.drained.notified().await;
        }
    }

    /// What comes next; `None`: the other end has closed. Cancel-safe.
    pub async fn recv(&self) -> Option<Bytes> {
        self.incoming.pop().await
    }

    /// Closes it: what was sent still arrives, and nothing is read.
    pub fn close(&self) {
        self.incoming.unread.set(true);
        self.incoming.drained.notify_one();
        let cut = self.network.as_ref();
        if cut.is_some_and(|network| network.is_cut(self.local.ip(), self.remote.ip())) {
            self.outgoing.dead.set(true);
        }
        let wait = self.network.as_ref().map_or(Duration::ZERO, Network::wait);
        self.outgoing.end(Instant::now() + wait);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

impl Listener {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection; `None` once the network is gone. Cancel-safe.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.incoming.recv().await
    }
}

impl Network {
    /// Takes connections to `address`; who did before does no longer.
    pub fn listen(&self, address: SocketAddr) -> Listener {
        let (outside, incoming) = mpsc::unbounded_channel();
        self.listeners().borrow_mut().insert(address, outside);
        Listener { address, incoming }
    }

    /// Connects from a host to an address. `None`: nobody listens there, or nobody answers.
    pub async fn connect(&self, from: IpAddr, to: SocketAddr) -> Option<Connection> {
        if self.is_cut(from, to.ip()) {
            tokio::time::sleep(CONNECT_MAX).await;
            return None;
        }
        // There and back.
        tokio::time::sleep(self.wait() + self.wait()).await;
        let local = SocketAddr::new(from, self.port());
        let (there, back) = (Half::new(), Half::new());
        let end = |local, remote, outgoing: &Rc<Half>, incoming: &Rc<Half>| Connection {
            local,
            remote,
            network: Some(self.clone()),
            outgoing: Rc::clone(outgoing),
            incoming: Rc::clone(incoming),
        };
        let outside = self.listeners().borrow().get(&to).cloned()?;
        outside.send(end(to, local, &back, &there)).ok()?;
        Some(end(local, to, &there, &back))
    }
}

impl Streams {
    /// The address of the host.
    pub fn ip(&self) -> IpAddr {
        match self {
            Self::Simulated(_, ip) | Self::Real(ip) => *ip,
        }
    }

    /// Listens on a port of the host; real sockets let the system choose it. Must be called on a
    /// `LocalSet`.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub fn listen(&self, port: u16) -> std::io::Result<Listener> {
        match self {
            Self::Simulated(network, ip) => Ok(network.listen(SocketAddr::new(*ip, port))),
            Self::Real(ip) => {
                let socket = std::net::TcpListener::bind(SocketAddr::new(*ip, 0))?;
                socket.set_nonblocking(true)?;
                let address = socket.local_addr()?;
                let socket = TcpListener::from_std(socket)?;
                let (outside, incoming) = mpsc::unbounded_channel();
                tokio::task::spawn_local(async move {
                    while let Ok((stream, _)) = socket.accept().await {
                        let Some(connection) = real(stream) else { continue };
                        if outside.send(connection).is_err() {
                            return;
                        }
                    }
                });
                Ok(Listener { address, incoming })
            }
        }
    }

    /// Connects to an address. `None`: nobody is there.
    pub async fn connect(&self, to: SocketAddr) -> Option<Connection> {
        match self {
            Self::Simulated(network, ip) => network.connect(*ip, to).await,
            Self::Real(_) => real(TcpStream::connect(to).await.ok()?),
        }
    }
}

/// A connection over a real socket.
fn real(stream: TcpStream) -> Option<Connection> {
    let (local, remote) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
    let (mut reads, mut writes) = stream.into_split();
    let (outgoing, incoming) = (Half::new(), Half::new());
    let (from, to) = (Rc::clone(&outgoing), Rc::clone(&incoming));
    tokio::task::spawn_local(async move {
        while let Some(octets) = from.pop().await {
            if writes.write_all(&octets).await.is_err() {
                break;
            }
        }
        // The peer may have closed before.
        let _ = writes.shutdown().await;
    });
    tokio::task::spawn_local(async move {
        let mut buffer = vec![0; READ_OCTETS];
        while let Ok(length @ 1..) = reads.read(&mut buffer).await {
            let octets = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
            to.push(Instant::now(), octets);
            while to.under_way.get() > WINDOW && !to.unread.get() {
                to.drained.notified().await;
            }
            if to.unread.get() {
                break;
            }
        }
        to.end(Instant::now());
    });
    Some(Connection { local, remote, network: None, outgoing, incoming })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Faults;
    use tokio::task::LocalSet;

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 9, 0, host], 2855))
    }

    async fn pair(network: &Network) -> (Connection, Connection) {
        let mut listener = network.listen(address(2));
        let one = network.connect(address(1).ip(), address(2)).await.unwrap();
        (one, listener.accept().await.unwrap())
    }

    async fn all(connection: &Connection) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(octets) = connection.recv().await {
            all.extend_from_slice(&octets);
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_keeps_the_order_and_tells_its_end() {
        let check = async || {
            let faults = Faults {
                delay: Duration::from_millis(1)..Duration::from_millis(50),
                piece_octets_max: Some(7),
                ..Faults::default()
            };
            let network = Network::new(3, faults);
            let (one, other) = pair(&network).await;
            let sent: Vec<u8> = (0..=255).collect();
            for part in sent.chunks(50) {
                one.send(Bytes::copy_from_slice(part));
            }
            other.send(Bytes::from_static(b"back"));
            one.close();
            assert_eq!(all(&other).await, sent);
            assert_eq!(one.recv().await.unwrap()[..1], b"b"[..]);
            assert!(network.connect(address(1).ip(), address(3)).await.is_none(), "nobody listens");
        };
        LocalSet::new().run_until(check()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_fills_the_window() {
        let check = async || {
            let network = Network::new(3, Faults::default());
            let (one, other) = pair(&network).await;
            one.send(Bytes::from(vec![0; WINDOW]));
            assert_eq!(one.room(), 0);
            let waits = tokio::time::timeout(Duration::from_secs(60), one.writable());
            assert!(waits.await.is_err());
            assert_eq!(other.recv().await.map(|octets| octets.len()), Some(WINDOW));
            one.writable().await;
            assert_eq!(one.room(), WINDOW);
        };
        LocalSet::new().run_until(check()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_partition_nobody_is_told() {
        let check = async || {
            let network = Network::new(3, Faults::default());
            let (one, other) = pair(&network).await;
            network.partition(address(1).ip(), address(2).ip(), true);
            one.send(Bytes::from_static(b"lost"));
            network.partition(address(1).ip(), address(2).ip(), false);
            one.send(Bytes::from_static(b"too"));
            drop(one);
            let waits = tokio::time::timeout(Duration::from_secs(600), other.recv());
            assert!(waits.await.is_err());
        };
        LocalSet::new().run_until(check()).await;
    }

    #[tokio::test]
    async fn the_same_over_real_sockets() {
        let check = async || {
            let streams = Streams::Real([127, 0, 0, 1].into());
            let mut listener = streams.listen(0).unwrap();
            let one = streams.connect(listener.address()).await.unwrap();
            let other = listener.accept().await.unwrap();
            assert_eq!(other.remote(), one.local());
            one.send(Bytes::from_static(b"hello"));
            one.close();
            assert_eq!(all(&other).await, b"hello");
        };
        LocalSet::new().run_until(check()).await;
    }
}
