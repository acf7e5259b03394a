//! A network in virtual time: hosts, datagrams that suffer, streams that only wait.
//!
//! Everything happens on one thread and on tokio's clock. With the clock paused, one seed gives
//! one course of events: every random choice comes from the generator of the network, in the order
//! in which packets are sent.
//!
//! The same hosts run on real sockets: [`udp`] gives a [`Link`] over one.

mod connection;
mod real;
mod stream;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use parlance_sip::Transport;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

pub use connection::{Carried, Connection, Listener, Streams, WINDOW};
pub use real::udp;
pub use stream::{Framing, Unit};

/// Octets on their way from one host to another: a datagram, or a piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sends it.
    pub from: SocketAddr,
    /// Who gets it.
    pub to: SocketAddr,
    /// UDP, or TCP for a piece of the stream between the two.
    pub transport: Transport,
    /// What is in it.
    pub octets: Bytes,
}

/// What carries packets: the simulated network, or real sockets.
pub trait Carrier {
    /// Takes a packet. Never waits; what cannot be carried is lost.
    fn carry(&self, packet: Packet);
}

/// Packets that wait for one host at most. Beyond: a datagram is lost and counted, a piece of a
/// stream comes later.
pub const WAITING_MAX: usize = 16_384;

/// The place of one host on a network.
pub struct Link {
    local: SocketAddr,
    carrier: Rc<dyn Carrier>,
    inbox: mpsc::Receiver<Packet>,
}

impl Link {
    /// The next packet; `None` once the network is gone.
    ///
    /// Cancel-safe.
    pub async fn recv(&mut self) -> Option<Packet> {
        self.inbox.recv().await
    }

    /// The sending half.
    pub fn outlet(&self) -> Outlet {
        Outlet { local: self.local, carrier: Rc::clone(&self.carrier) }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.local)
    }
}

/// The sending half of a [`Link`].
#[derive(Clone)]
pub struct Outlet {
    local: SocketAddr,
    carrier: Rc<dyn Carrier>,
}

impl Outlet {
    /// The address packets are sent from.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends `octets` to `to`.
    pub fn send(&self, transport: Transport, to: SocketAddr, octets: Bytes) {
        self.carrier.carry(Packet { from: self.local, to, transport, octets });
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outlet({})", self.local)
    }
}

/// What happens to packets. The default is a perfect network without delay.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// How likely a datagram is lost, from 0 to 1.
    pub loss: f64,
    /// How likely a datagram arrives twice, from 0 to 1; the second copy has a delay of its own.
    pub duplication: f64,
    /// How likely a datagram is held back for another delay, so that later ones pass it.
    pub reordering: f64,
    /// How long a packet travels: evenly distributed, in whole milliseconds. Datagrams with
    /// different delays pass each other; the pieces of a stream keep their order.
    pub delay: Range<Duration>,
    /// Octets a piece of a stream has at most; a longer write is cut at random places. `None`: it
    /// arrives as it was written.
    pub piece_octets_max: Option<usize>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            delay: Duration::ZERO..Duration::ZERO,
            piece_octets_max: None,
        }
    }
}

/// What a network has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets sent, copies not counted.
    pub sent: u64,
    /// Packets that reached a host.
    pub delivered: u64,
    /// Datagrams lost on the way.
    pub lost: u64,
    /// Datagrams that went out twice.
    pub duplicated: u64,
    /// Datagrams held back.
    pub held: u64,
    /// Packets stopped by a partition.
    pub cut: u64,
    /// Packets to an address where nobody is.
    pub nobody: u64,
    /// Datagrams lost because a host had [`WAITING_MAX`] of them waiting.
    pub overflow: u64,
}

/// A simulated network. Cheap to clone.
#[derive(Clone)]
pub struct Network(Rc<Inner>);

struct Inner {
    state: RefCell<State>,
    wake: Notify,
    listeners: Listeners,
    trace: RefCell<Option<Vec<Carried>>>,
}

/// Who takes connections.
type Listeners = RefCell<BTreeMap<SocketAddr, mpsc::UnboundedSender<Connection>>>;

struct State {
    random: StdRng,
    faults: Faults,
    hosts: BTreeMap<SocketAddr, mpsc::Sender<Packet>>,
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    /// When the last piece of a stream arrives: the next one does not pass it.
    streams: BTreeMap<(SocketAddr, SocketAddr), Instant>,
    travelling: BinaryHeap<Reverse<Due>>,
    number: u64,
    /// Connections made so far.
    connections: u16,
    statistics: Statistics,
}

struct Due {
    at: Instant,
    number: u64,
    packet: Packet,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Network {
    /// A network whose faults follow from `seed`. Must be called on a `LocalSet`: the network is a
    /// task there.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let state = State {
            random: StdRng::seed_from_u64(seed),
            faults,
            hosts: BTreeMap::new(),
            cuts: BTreeSet::new(),
            streams: BTreeMap::new(),
            travelling: BinaryHeap::new(),
            number: 0,
            connections: 0,
            statistics: Statistics::default(),
        };
        let network = Self(Rc::new(Inner {
            state: RefCell::new(state),
            wake: Notify::new(),
            listeners: RefCell::default(),
            trace: RefCell::default(),
        }));
        tokio::task::spawn_local(run(Rc::clone(&network.0)));
        network
    }

    /// Puts a host at `address`; one that was there before is gone.
    pub fn attach(&self, address: SocketAddr) -> Link {
        let (outside, inbox) = mpsc::channel(WAITING_MAX);
        self.0.state.borrow_mut().hosts.insert(address, outside);
        Link { local: address, carrier: Rc::new(self.clone()), inbox }
    }

    /// Takes the host at `address` off the network: what is sent there is lost.
    pub fn detach(&self, address: SocketAddr) {
        self.0.state.borrow_mut().hosts.remove(&address);
    }

    /// Cuts the network between two hosts, or heals it. What travels already arrives.
    pub fn partition(&self, one: IpAddr, other: IpAddr, cut: bool) {
        let mut state = self.0.state.borrow_mut();
        for pair in [(one, other), (other, one)] {
            if cut {
                state.cuts.insert(pair);
            } else {
                state.cuts.remove(&pair);
            }
        }
    }

    /// Changes what happens to packets sent from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.state.borrow_mut().faults = faults;
    }

    /// What the network has seen so far.
    pub fn statistics(&self) -> Statistics {
        self.0.state.borrow().statistics
    }
}

impl Network {
    /// From now on what connections carry is kept, for [`Network::carried`].
    pub fn trace_connections(&self) {
        self.0.trace.borrow_mut().get_or_insert_default();
    }

    /// What connections carried since it is kept, oldest first.
    pub fn carried(&self) -> Vec<Carried> {
        self.0.trace.borrow().clone().unwrap_or_default()
    }

    fn note(&self, from: SocketAddr, to: SocketAddr, octets: &Bytes) {
        if let Some(trace) = &mut *self.0.trace.borrow_mut() {
            trace.push(Carried { at: Instant::now(), from, to, octets: octets.clone() });
        }
    }

    fn listeners(&self) -> &Listeners {
        &self.0.listeners
    }

    fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        self.0.state.borrow().cuts.contains(&(from, to))
    }

    /// How long something travels.
    fn wait(&self) -> Duration {
        self.0.state.borrow_mut().delay()
    }

    /// What a write arrives as, and how long each piece travels.
    fn pieces(&self, octets: Bytes) -> Vec<(Duration, Bytes)> {
        let mut state = self.0.state.borrow_mut();
        let pieces = state.pieces(octets);
        pieces.into_iter().map(|piece| (state.delay(), piece)).collect()
    }

    /// The port of the next connection that is made.
    fn port(&self) -> u16 {
        let mut state = self.0.state.borrow_mut();
        state.connections = state.connections.wrapping_add(1) % 16_384;
        49_152 + state.connections
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

impl Carrier for Network {
    fn carry(&self, packet: Packet) {
        self.0.state.borrow_mut().take(packet);
        self.0.wake.notify_one();
    }
}

impl State {
    fn take(&mut self, packet: Packet) {
        self.statistics.sent += 1;
        if self.cuts.contains(&(packet.from.ip(), packet.to.ip())) {
            self.statistics.cut += 1;
            return;
        }
        if packet.transport.is_reliable() {
            return self.take_stream(packet);
        }
        if self.chance(self.faults.loss) {
            self.statistics.lost += 1;
            return;
        }
        if self.chance(self.faults.duplication) {
            self.statistics.duplicated += 1;
            let at = self.arrival();
            self.travel(at, packet.clone());
        }
        let mut at = self.arrival();
        if self.chance(self.faults.reordering) {
            self.statistics.held += 1;
            at += self.delay();
        }
        self.travel(at, packet);
    }

    /// What a write to a stream arrives as.
    fn pieces(&mut self, mut octets: Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while !octets.is_empty() {
            let length = match self.faults.piece_octets_max {
                Some(max) => self.random.random_range(1..=max.max(1)).min(octets.len()),
                None => octets.len(),
            };
            pieces.push(octets.split_to(length));
        }
        pieces
    }

    fn take_stream(&mut self, packet: Packet) {
        for piece in self.pieces(packet.octets.clone()) {
            let stream = (packet.from, packet.to);
            let before = self.streams.get(&stream).copied();
            let at = self.arrival().max(before.unwrap_or_else(Instant::now));
            self.streams.insert(stream, at);
            self.travel(at, Packet { octets: piece, ..packet });
        }
    }

    fn travel(&mut self, at: Instant, packet: Packet) {
        self.number += 1;
        self.travelling.push(Reverse(Due { at, number: self.number, packet }));
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.random_bool(probability.min(1.0))
    }

    fn arrival(&mut self) -> Instant {
        Instant::now() + self.delay()
    }

    fn delay(&mut self) -> Duration {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (start, end) = (millis(self.faults.delay.start), millis(self.faults.delay.end));
        if start >= end {
            return self.faults.delay.start;
        }
        Duration::from_millis(self.random.random_range(start..=end))
    }

    /// Hands over what has arrived; says when the next packet does.
    fn deliver(&mut self, now: Instant) -> Option<Instant> {
        loop {
            let Reverse(first) = self.travelling.peek()?;
            if first.at > now {
                return Some(first.at);
            }
            let Reverse(due) = self.travelling.pop()?;
            self.hand_over(now, due);
        }
    }

    fn hand_over(&mut self, now: Instant, due: Due) {
        let Some(host) = self.hosts.get(&due.packet.to) else {
            self.statistics.nobody += 1;
            return;
        };
        match host.try_send(due.packet) {
            Ok(()) => self.statistics.delivered += 1,
            Err(mpsc::error::TrySendError::Closed(_)) => self.statistics.nobody += 1,
            Err(mpsc::error::TrySendError::Full(packet)) if packet.transport.is_reliable() => {
                let at = now + Duration::from_millis(1);
                self.streams.insert((packet.from, packet.to), at);
                self.travelling.push(Reverse(Due { at, number: due.number, packet }));
            }
            Err(mpsc::error::TrySendError::Full(_)) => self.statistics.overflow += 1,
        }
    }
}

async fn run(inner: Rc<Inner>) {
    loop {
        let next = inner.state.borrow_mut().deliver(Instant::now());
        match next {
            None => inner.wake.notified().await,
            Some(at) => {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(at) => {}
                    () = inner.wake.notified() => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use bytes::Bytes;
    use parlance_sip::Transport::{Tcp, Udp};
    use tokio::task::LocalSet;
    use tokio::time::Instant;

    use super::{Faults, Link, Network, Statistics};

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 9, 0, host], 5060))
    }

    fn lossy() -> Faults {
        Faults {
            loss: 0.2,
            duplication: 0.1,
            reordering: 0.1,
            delay: Duration::ZERO..Duration::from_millis(200),
            piece_octets_max: Some(7),
        }
    }

    async fn all(link: &mut Link) -> Vec<(Instant, Bytes)> {
        let mut all = Vec::new();
        let quiet = Duration::from_secs(2);
        while let Ok(Some(packet)) = tokio::time::timeout(quiet, link.recv()).await {
            all.push((Instant::now(), packet.octets));
        }
        all
    }

    async fn course(seed: u64, count: u32) -> (Vec<(Duration, Bytes)>, Statistics) {
        let network = Network::new(seed, lossy());
        let from = network.attach(address(1)).outlet();
        let mut to = network.attach(address(2));
        let start = Instant::now();
        for number in 0..count {
            from.send(Udp, address(2), Bytes::from(number.to_be_bytes().to_vec()));
        }
        let got = all(&mut to).await;
        let got = got.into_iter().map(|(at, octets)| (at - start, octets)).collect();
        (got, network.statistics())
    }

    #[tokio::test(start_paused = true)]
    async fn one_seed_is_one_course_of_events() {
        let check = async || {
            let (first, statistics) = course(7, 2_000).await;
            assert_eq!((first.clone(), statistics), course(7, 2_000).await);
            assert_ne!(first, course(8, 2_000).await.0);
            assert!((300..500).contains(&statistics.lost), "{statistics:?}");
            assert!((100..250).contains(&statistics.duplicated), "{statistics:?}");
            let arrived = statistics.sent - statistics.lost + statistics.duplicated;
            assert_eq!(statistics.delivered, arrived);
            assert!(first.iter().all(|(at, _)| *at <= Duration::from_millis(401)));
            assert!(!first.is_sorted_by_key(|(_, octets)| octets), "nothing was reordered");
        };
        LocalSet::new().run_until(check()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_loses_nothing_and_keeps_its_order() {
        let check = async || {
            let network = Network::new(3, lossy());
            let from = network.attach(address(1)).outlet();
            let mut to = network.attach(address(2));
            let mut sent = Vec::new();
            for number in 0..200_u32 {
                let octets = number.to_be_bytes().repeat(5);
                sent.extend_from_slice(&octets);
                from.send(Tcp, address(2), Bytes::from(octets));
            }
            let got = all(&mut to).await;
            assert!(got.len() > 400, "nothing was cut");
            assert_eq!(got.concat_octets(), sent);
        };
        LocalSet::new().run_until(check()).await;
    }

    trait Concat {
        fn concat_octets(&self) -> Vec<u8>;
    }

    impl Concat for Vec<(Instant, Bytes)> {
        fn concat_octets(&self) -> Vec<u8> {
            self.iter().flat_map(|(_, octets)| octets.to_vec()).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_and_an_empty_address_swallow_everything() {
        let check = async || {
            let network = Network::new(1, Faults::default());
            let from = network.attach(address(1)).outlet();
            let mut to = network.attach(address(2));
            network.partition(address(1).ip(), address(2).ip(), true);
            from.send(Udp, address(2), Bytes::from_static(b"1"));
            network.partition(address(1).ip(), address(2).ip(), false);
            from.send(Udp, address(2), Bytes::from_static(b"2"));
            from.send(Udp, address(3), Bytes::from_static(b"3"));
            let got = all(&mut to).await;
            assert_eq!(got.concat_octets(), b"2");
            let statistics = network.statistics();
            assert_eq!((statistics.cut, statistics.nobody, statistics.delivered), (1, 1, 1));
        };
        LocalSet::new().run_until(check()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_host_loses_datagrams_but_no_stream() {
        let check = async || {
            let network = Network::new(1, Faults::default());
            let from = network.attach(address(1)).outlet();
            let mut to = network.attach(address(2));
            for _ in 0..super::WAITING_MAX + 3 {
                from.send(Udp, address(2), Bytes::from_static(b"u"));
            }
            from.send(Tcp, address(2), Bytes::from_static(b"t"));
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert_eq!(network.statistics().overflow, 3);
            assert_eq!(all(&mut to).await.len(), super::WAITING_MAX + 1);
        };
        LocalSet::new().run_until(check()).await;
    }
}
