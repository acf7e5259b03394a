//! The MSRP of the server under test: its machine, on the simulated network.
//!
//! What `net` does with sockets and a thread for each core, one task does here with the connections
//! of [`crate::network`]; there is one core.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use parlance_isc::Media;
use parlance_isc::media::{AtCore, Command, CoreError, MediaCores, Sink, Sinks, TlsRules};
use parlance_msrp::{
    ConnectError, ConnectionId, Event, Hop, Input, LocalAddress, Node, NodeConfig, Output, Peer,
    Scheme, SessionKey,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::network::{Connection, Listener, Network};
use crate::transaction;

/// The port of MSRP without TLS (RFC 4975 §15.4).
const PORT: u16 = 2855;

/// Commands that wait at most, as `net` has it by default.
const MAILBOX_MAX: usize = 16_384;

/// How long an event waits that its taker had no room for.
const RETRY: Duration = Duration::from_millis(1);

/// The way to the core; what a role's handles have.
#[derive(Debug)]
struct Cores {
    host: IpAddr,
    mailbox: mpsc::UnboundedSender<Command>,
    waiting: Arc<AtomicUsize>,
}

/// The receiving end, to be run.
pub(super) struct Core {
    host: IpAddr,
    mailbox: mpsc::UnboundedReceiver<Command>,
    waiting: Arc<AtomicUsize>,
    load: Load,
}

/// Connections and sessions that a core has.
pub(super) type Load = Rc<Cell<(usize, usize)>>;

/// MSRP of a server whose URIs say `host` and [`PORT`], and its core.
pub(super) fn core(host: IpAddr) -> (Media, Core, Load) {
    let (sender, mailbox) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let cores = Cores { host, mailbox: sender, waiting: Arc::clone(&waiting) };
    let load = Load::default();
    let core = Core { host, mailbox, waiting, load: Rc::clone(&load) };
    (Media::new(Arc::new(cores), TlsRules::default()), core, load)
}

impl MediaCores for Cores {
    fn cores(&self) -> u8 {
        1
    }

    fn address(&self, secure: bool) -> Option<LocalAddress> {
        (!secure).then(|| LocalAddress {
            scheme: Scheme::Msrp,
            host: self.host.to_string().into(),
            port: PORT,
            transport: "tcp",
        })
    }

    fn run(&self, _: u8, command: Command) -> Result<(), CoreError> {
        if self.waiting.load(Ordering::Relaxed) >= MAILBOX_MAX {
            return Err(CoreError::Busy);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.mailbox.send(command).map_err(|_| CoreError::Gone)
    }

    fn run_always(&self, _: u8, command: Command) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // A core that has ended has nothing to end any more.
        let _ = self.mailbox.send(command);
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
    connection: Rc<Connection>,
    /// How many reasons there are not to read it.
    holds: Rc<Holds>,
    /// It is being waited for room.
    waits: bool,
}

#[derive(Default)]
struct Holds {
    count: Cell<usize>,
    changed: Notify,
}

impl Holds {
    fn add(&self) {
        self.count.set(self.count.get() + 1);
    }

    fn take(&self) {
        self.count.set(self.count.get().saturating_sub(1));
        self.changed.notify_one();
    }

    async fn none(&self) {
        while self.count.get() > 0 {
            self.changed.notified().await;
        }
    }
}

/// Who takes events, and what waits for whom.
#[derive(Default)]
struct Takers {
    by_session: HashMap<SessionKey, Sink>,
    full: BTreeMap<SessionKey, VecDeque<Event>>,
}

impl Sinks for Takers {
    fn subscribe(&mut self, session: SessionKey, sink: Sink) {
        self.by_session.insert(session, sink);
    }

    fn unsubscribe(&mut self, session: SessionKey) {
        self.by_session.remove(&session);
        if let Some(waiting) = self.full.get_mut(&session) {
            waiting.clear();
        }
    }
}

impl Takers {
    /// Gives an event to whom it belongs; `false`: it waits from now on.
    fn give(&mut self, event: Event) -> bool {
        let Some(session) = event.session() else { return true };
        let Some(sink) = self.by_session.get(&session) else { return true };
        if let Some(waiting) = self.full.get_mut(&session) {
            waiting.push_back(event);
            return true;
        }
        match sink.try_send(event) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(event)) => {
                self.full.insert(session, VecDeque::from([event]));
                false
            }
        }
    }

    /// Gives what waits; the sessions for which nothing waits any more.
    fn give_again(&mut self) -> Vec<SessionKey> {
        let mut freed = Vec::new();
        for (session, waiting) in &mut self.full {
            let sink = self.by_session.get(session);
            while let Some(event) = waiting.pop_front() {
                match sink.map(|sink| sink.try_send(event)) {
                    Some(Err(mpsc::error::TrySendError::Full(event))) => {
                        waiting.push_front(event);
                        break;
                    }
                    Some(Ok(()) | Err(mpsc::error::TrySendError::Closed(_))) | None => {}
                }
            }
            if waiting.is_empty() {
                freed.push(*session);
            }
        }
        self.full.retain(|_, waiting| !waiting.is_empty());
        freed
    }
}

struct Running {
    host: IpAddr,
    node: Node,
    network: Network,
    takers: Takers,
    links: BTreeMap<ConnectionId, Link>,
    /// Connections that are not read because nobody takes the events of a session.
    held: BTreeMap<SessionKey, ConnectionId>,
    happened: mpsc::UnboundedSender<(ConnectionId, Happened)>,
}

impl Core {
    /// Runs the core on `network`. Must be called on a `LocalSet`.
    pub(super) async fn run(mut self, network: Network, seed: u64) {
        let mut listener = network.listen(SocketAddr::new(self.host, PORT));
        let mut random = StdRng::seed_from_u64(seed);
        let entropy = Box::new(move || random.random::<u64>());
        let node = Node::new(0, 1, now(), NodeConfig::default(), entropy);
        let (happened, mut happens) = mpsc::unbounded_channel();
        let takers = Takers::default();
        let (links, held) = (BTreeMap::new(), BTreeMap::new());
        let host = self.host;
        let mut running = Running { host, node, network, takers, links, held, happened };
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
                accepted = accept(&mut listener) => running.accept(accepted),
                () = transaction::until(due) => {
                    running.node.handle_input(now(), Input::Timeout);
                    for session in running.takers.give_again() {
                        running.release(session);
                    }
                }
            }
            running.drain();
            self.load.set(running.node.load());
        }
    }
}

async fn accept(listener: &mut Listener) -> Connection {
    match listener.accept().await {
        Some(connection) => connection,
        // The network has ended, and so will this.
        None => std::future::pending().await,
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

impl Running {
    fn due(&self) -> Option<Instant> {
        let retry = (!self.takers.full.is_empty()).then(|| Instant::now() + RETRY);
        let node = self.node.poll_timeout().map(Instant::from_std);
        [retry, node].into_iter().flatten().min()
    }

    fn accept(&mut self, connection: Connection) {
        let id = self.node.accept(now(), peer(&connection));
        self.keep(id, connection);
    }

    fn keep(&mut self, id: ConnectionId, connection: Connection) {
        let (connection, holds) = (Rc::new(connection), Rc::new(Holds::default()));
        let read = read(id, Rc::clone(&connection), Rc::clone(&holds), self.happened.clone());
        tokio::task::spawn_local(read);
        self.links.insert(id, Link { connection, holds, waits: false });
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
        if self.links.remove(&id).is_some() {
            self.node.handle_input(now(), Input::Lost { connection: id });
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Flush(id) => self.flush(id),
                Output::Connect { connection, to } => self.connect(connection, *to),
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
                // There is one core.
                Output::Foreign { .. } => {}
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
        let length = outbound.remaining().min(link.connection.room());
        if length > 0 {
            link.connection.send(outbound.copy_to_bytes(length));
        }
        let (empty, low) = (outbound.is_empty(), outbound.below_low());
        if !empty && !link.waits {
            link.waits = true;
            let (connection, happened) = (Rc::clone(&link.connection), self.happened.clone());
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
