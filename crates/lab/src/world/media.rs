//! The MSRP of the server under test: its machine, on the simulated network.
//!
//! What `net` does with sockets and a thread for each core, a task for each does here with the
//! connections of [`crate::network`].

mod sort;
mod takers;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use parlance_isc::Media;
use parlance_isc::media::{AtCore, Command, CoreError, MediaCores, TlsRules};
use parlance_msrp::{
    ConnectError, ConnectionId, Hop, Input, LentUris, LocalAddress, Node, NodeConfig, Output, Peer,
    Scheme, SessionKey,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::sort::{Letter, Way};
use self::takers::{Holds, Takers};
use crate::network::{Connection, Network};
use crate::transaction;

/// The port of MSRP without TLS (RFC 4975 §15.4).
const PORT: u16 = 2855;

/// Commands that wait at most, as `net` has it by default.
const MAILBOX_MAX: usize = 16_384;

/// How long an event waits that its taker had no room for.
const RETRY: Duration = Duration::from_millis(1);

/// URIs of peers by which sessions go at most, as `net` has it by default.
const LENT_MAX: usize = 65_536;

/// The URIs by which sessions go, for all cores.
type Lent = Arc<Mutex<LentUris>>;

/// The way to the cores; what a role's handles have.
#[derive(Debug)]
struct Cores {
    host: IpAddr,
    mailboxes: Vec<(mpsc::UnboundedSender<Command>, Arc<AtomicUsize>)>,
    lent: Lent,
}

/// The receiving end of one, to be run.
struct Core {
    host: IpAddr,
    /// Which it is, and of how many.
    number: (u8, u8),
    mailbox: mpsc::UnboundedReceiver<Command>,
    waiting: Arc<AtomicUsize>,
    letters: mpsc::UnboundedReceiver<Letter>,
    /// Those of all cores.
    others: Vec<mpsc::UnboundedSender<Letter>>,
    lent: Lent,
    load: Load,
}

/// The cores of a server, to be run.
pub(super) struct Machines(Vec<Core>);

/// Connections and sessions that each core has.
#[derive(Clone, Debug, Default)]
pub(super) struct Load(Rc<RefCell<Vec<(usize, usize)>>>);

impl Load {
    /// What each core has.
    pub(super) fn each(&self) -> Vec<(usize, usize)> {
        self.0.borrow().clone()
    }

    /// What all have together.
    pub(super) fn total(&self) -> (usize, usize) {
        let add = |sum: (usize, usize), one: &(usize, usize)| (sum.0 + one.0, sum.1 + one.1);
        self.0.borrow().iter().fold((0, 0), add)
    }
}

/// MSRP of a server whose URIs say `host` and [`PORT`], and its cores.
pub(super) fn cores(host: IpAddr, count: u8) -> (Media, Machines, Load) {
    let count = count.max(1);
    let lent = Arc::new(Mutex::new(LentUris::new(LENT_MAX, 1)));
    let load = Load(Rc::new(RefCell::new(vec![(0, 0); usize::from(count)])));
    let (others, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
    let (mut mailboxes, mut machines) = (Vec::new(), Vec::new());
    for (number, letters) in (0..count).zip(inboxes) {
        let (sender, mailbox) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        mailboxes.push((sender, Arc::clone(&waiting)));
        machines.push(Core {
            host,
            number: (number, count),
            mailbox,
            waiting,
            letters,
            others: others.clone(),
            lent: Arc::clone(&lent),
            load: load.clone(),
        });
    }
    let cores = Cores { host, mailboxes, lent };
    (Media::new(Arc::new(cores), TlsRules::default()), Machines(machines), load)
}

impl Machines {
    /// Runs the cores on `network`. Must be called on a `LocalSet`, which ends them.
    pub(super) fn run(self, network: &Network, seed: u64) {
        let Some(first) = self.0.first() else { return };
        let listener = network.listen(SocketAddr::new(first.host, PORT));
        let (others, lent) = (first.others.clone(), Arc::clone(&first.lent));
        tokio::task::spawn_local(sort::sort(listener, others, lent));
        for core in self.0 {
            let seed = seed ^ (u64::from(core.number.0) << 48);
            tokio::task::spawn_local(core.run(network.clone(), seed));
        }
    }
}

fn core_of(lent: &Lent, uri: &[u8]) -> Option<u8> {
    lent.lock().unwrap_or_else(PoisonError::into_inner).core_of(uri)
}

impl MediaCores for Cores {
    fn cores(&self) -> u8 {
        u8::try_from(self.mailboxes.len()).unwrap_or(u8::MAX)
    }

    fn address(&self, secure: bool) -> Option<LocalAddress> {
        (!secure).then(|| LocalAddress {
            scheme: Scheme::Msrp,
            host: self.host.to_string().into(),
            port: PORT,
            transport: "tcp",
        })
    }

    fn run(&self, core: u8, command: Command) -> Result<(), CoreError> {
        let (mailbox, waiting) = self.mailboxes.get(usize::from(core)).ok_or(CoreError::Gone)?;
        if waiting.load(Ordering::Relaxed) >= MAILBOX_MAX {
            return Err(CoreError::Busy);
        }
        waiting.fetch_add(1, Ordering::Relaxed);
        mailbox.send(command).map_err(|_| CoreError::Gone)
    }

    fn run_always(&self, core: u8, command: Command) {
        let Some((mailbox, waiting)) = self.mailboxes.get(usize::from(core)) else { return };
        waiting.fetch_add(1, Ordering::Relaxed);
        // A core that has ended has nothing to end any more.
        let _ = mailbox.send(command);
    }

    fn lent(&self, act: &mut dyn FnMut(&mut LentUris)) {
        act(&mut self.lent.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What happens on a connection.
enum Happened {
    Connected(Connection),
    Failed,
    Octets(Bytes),
    Writable,
    Closed,
}

/// A connection of the core.
struct Link {
    way: Way,
    /// Other cores that have sessions on it.
    guests: Vec<u8>,
    /// How many reasons there are not to read it.
    holds: Rc<Holds>,
    /// It is being waited for room.
    waits: bool,
}

struct Running {
    number: u8,
    host: IpAddr,
    node: Node,
    network: Network,
    takers: Takers,
    links: BTreeMap<ConnectionId, Link>,
    /// Those that another core has, by that core and how it calls them.
    shared: BTreeMap<(u8, ConnectionId), ConnectionId>,
    others: Vec<mpsc::UnboundedSender<Letter>>,
    /// Connections that are not read because nobody takes the events of a session.
    held: BTreeMap<SessionKey, ConnectionId>,
    happened: mpsc::UnboundedSender<(ConnectionId, Happened)>,
}

impl Core {
    async fn run(mut self, network: Network, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let entropy = Box::new(move || random.random::<u64>());
        let (number, count) = self.number;
        let mut node = Node::new(number, count, now(), NodeConfig::default(), entropy);
        let lent = Arc::clone(&self.lent);
        node.set_places(Box::new(move |uri| core_of(&lent, uri)));
        let (happened, mut happens) = mpsc::unbounded_channel();
        let mut running = Running {
            number,
            host: self.host,
            node,
            network,
            takers: Takers::default(),
            links: BTreeMap::new(),
            shared: BTreeMap::new(),
            others: std::mem::take(&mut self.others),
            held: BTreeMap::new(),
            happened,
        };
        loop {
            let due = running.due();
            tokio::select! {
                biased;
                command = self.mailbox.recv() => {
                    let Some(command) = command else { return };
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    let Running { node, takers, .. } = &mut running;
                    command(&mut AtCore { node, now: now(), sinks: takers });
                }
                happened = happens.recv() => {
                    let Some((id, happened)) = happened else { return };
                    running.handle(id, happened);
                }
                letter = self.letters.recv() => {
                    let Some(letter) = letter else { return };
                    running.read(letter);
                }
                () = transaction::until(due) => {
                    running.node.handle_input(now(), Input::Timeout);
                    for session in running.takers.give_again() {
                        running.release(session);
                    }
                }
            }
            running.drain();
            if let Some(load) = self.load.0.borrow_mut().get_mut(usize::from(number)) {
                *load = running.node.load();
            }
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

impl Running {
    fn due(&self) -> Option<Instant> {
        let retry = self.takers.is_waiting().then(|| Instant::now() + RETRY);
        let node = self.node.poll_timeout().map(Instant::from_std);
        [retry, node].into_iter().flatten().min()
    }

    fn accept(&mut self, connection: Connection, octets: &Bytes) {
        let id = self.node.accept(now(), peer(&connection));
        self.keep(id, connection);
        if !octets.is_empty() {
            self.node.handle_input(now(), Input::Octets { connection: id, octets });
        }
    }

    fn keep(&mut self, id: ConnectionId, connection: Connection) {
        let (connection, holds) = (Rc::new(connection), Rc::new(Holds::default()));
        let read = read(id, Rc::clone(&connection), Rc::clone(&holds), self.happened.clone());
        tokio::task::spawn_local(read);
        self.link(id, Way::Own(connection), holds);
    }

    fn link(&mut self, id: ConnectionId, way: Way, holds: Rc<Holds>) {
        self.links.insert(id, Link { way, guests: Vec::new(), holds, waits: false });
    }

    fn handle(&mut self, id: ConnectionId, happened: Happened) {
        match happened {
            Happened::Connected(connection) => {
                let peer = peer(&connection);
                self.keep(id, connection);
                self.node.handle_input(now(), Input::Connected { connection: id, peer });
                self.flush(id);
            }
            Happened::Failed => {
                let error = ConnectError::Unreachable;
                self.node.handle_input(now(), Input::ConnectFailed { connection: id, error });
            }
            Happened::Octets(octets) if self.links.contains_key(&id) => {
                let input = Input::Octets { connection: id, octets: &octets };
                self.node.handle_input(now(), input);
            }
            Happened::Writable => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.waits = false;
                    self.flush(id);
                }
            }
            Happened::Closed => self.lose(id),
            Happened::Octets(_) => {}
        }
    }

    fn lose(&mut self, id: ConnectionId) {
        let Some(link) = self.links.remove(&id) else { return };
        self.node.handle_input(now(), Input::Lost { connection: id });
        self.leave(id, &link);
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Flush(id) => self.flush(id),
                Output::Connect { connection, to } => self.connect(connection, *to),
                // No two clients of a relay are here.
                Output::Join { connection, .. } => self.lose(connection),
                Output::Pause(id) => {
                    if let Some(link) = self.links.get(&id) {
                        link.holds.add();
                    }
                }
                Output::Resume(id) => {
                    if let Some(link) = self.links.get(&id) {
                        link.holds.take();
                    }
                }
                Output::Close(id, _) => {
                    self.flush(id);
                    self.lose(id);
                }
                Output::Foreign { connection, core, octets } => {
                    self.give(connection, core, octets);
                }
                Output::Event(event) => {
                    let session = event.session();
                    if !self.takers.give(event)
                        && let Some(session) = session
                    {
                        self.hold(session);
                    }
                }
            }
        }
    }

    /// Reads the connection of a session no more.
    fn hold(&mut self, session: SessionKey) {
        let Some(id) = self.node.connection(session) else { return };
        if let Some(link) = self.links.get(&id) {
            link.holds.add();
            self.held.insert(session, id);
        }
    }

    /// Reads it again.
    fn release(&mut self, session: SessionKey) {
        let link = self.held.remove(&session).and_then(|id| self.links.get(&id));
        if let Some(link) = link {
            link.holds.take();
        }
    }

    /// Writes what there is room for.
    fn flush(&mut self, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(outbound) = self.node.outbound(id) else { return };
        let was_low = outbound.below_low();
        let Way::Own(connection) = &link.way else { return self.flush_shared(id) };
        let length = outbound.remaining().min(connection.room());
        if length > 0 {
            connection.send(outbound.copy_to_bytes(length));
        }
        let (empty, low) = (outbound.is_empty(), outbound.below_low());
        if !empty && !link.waits {
            link.waits = true;
            let (connection, happened) = (Rc::clone(connection), self.happened.clone());
            tokio::task::spawn_local(async move {
                connection.writable().await;
                // The core may have ended.
                let _ = happened.send((id, Happened::Writable));
            });
        }
        if length > 0 && (empty || !was_low && low) {
            self.node.handle_input(now(), Input::Written { connection: id });
        }
    }

    fn connect(&self, id: ConnectionId, hop: Hop) {
        let (network, happened) = (self.network.clone(), self.happened.clone());
        let host = self.host;
        tokio::task::spawn_local(async move {
            let connection = match address(&hop) {
                Some(to) => network.connect(host, to).await,
                None => None,
            };
            let outcome = connection.map_or(Happened::Failed, Happened::Connected);
            // The core may have ended.
            let _ = happened.send((id, outcome));
        });
    }
}

/// Where a hop leads: the lab has no names for hosts of MSRP.
fn address(hop: &Hop) -> Option<SocketAddr> {
    let (host, port) = match &hop.through {
        Some((host, port)) => (host, *port),
        None => (&hop.host, hop.port.unwrap_or(PORT)),
    };
    let ip: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    (!hop.secure).then_some(SocketAddr::new(ip, port))
}

fn peer(connection: &Connection) -> Peer {
    Peer { remote: connection.remote(), local: connection.local(), tls: None, websocket: false }
}

async fn read(
    id: ConnectionId,
    connection: Rc<Connection>,
    holds: Rc<Holds>,
    happened: mpsc::UnboundedSender<(ConnectionId, Happened)>,
) {
    loop {
        holds.none().await;
        let octets = connection.recv().await;
        let over = octets.is_none();
        let what = octets.map_or(Happened::Closed, Happened::Octets);
        if happened.send((id, what)).is_err() || over {
            return;
        }
    }
}
