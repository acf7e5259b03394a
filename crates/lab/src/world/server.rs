//! The server under test on the simulated network.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parlance_isc::{Clock, Lookup, NextHop, ShardInput, Targets, Wire};
use parlance_server::history_file::HistoryFile;
use parlance_server::sockets;
use parlance_server::{Assembly, Config, Parts};
use parlance_sip::endpoint::shard_of;
use parlance_sip::frame::{Frame, Framer};
use parlance_sip::locate::{NextHop as Place, TargetHost};
use parlance_sip::message::{Limits, Malformed};
use parlance_sip::{ClientKey, ConnectionId, ListenerId, Message, Source, Target, Transport};
use parlance_store::Store;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet};

use super::{CONFERENCES, CONFERENCES_NAME, CORE, SERVER, SERVER_NAME, WorldError, media};
use crate::network::{Link, Network, Outlet, Packet};

/// The wall clock says this when a world begins: 2026-09-21T14:13:20Z.
const EPOCH: Duration = Duration::from_secs(1_790_000_000);

/// What a server is started from.
#[derive(Clone)]
pub struct ServerSetup {
    /// Where it is: its ports are the documented ones.
    pub host: IpAddr,
    /// The name of the host, which the server knows for its own.
    pub name: &'static str,
    /// Sections of the configuration, as TOML, without `[sip]`.
    pub configuration: String,
    /// How many shards.
    pub shards: u8,
    /// How many cores of MSRP.
    pub media_cores: u8,
    /// What survives.
    pub store: Store,
    /// The seed of branches, tags and secrets.
    pub seed: u64,
    /// How often the server was started before.
    pub run: u64,
}

impl fmt::Debug for ServerSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSetup").field("run", &self.run).finish_non_exhaustive()
    }
}

/// A running server.
pub struct Served {
    /// The parts its shards share.
    pub assembly: Arc<Assembly>,
    /// Its store.
    pub store: Store,
    pub(super) run: u64,
    load: media::Load,
    alive: Rc<Cell<bool>>,
    task: JoinHandle<()>,
}

impl Served {
    /// Puts a server on the network. Must be called on a `LocalSet`.
    ///
    /// # Errors
    /// [`WorldError`].
    pub fn start(network: &Network, setup: ServerSetup) -> Result<Self, WorldError> {
        let (config, mut mistakes) = Config::parse(&configuration(&setup), []);
        config.check(&mut mistakes);
        if !mistakes.is_empty() {
            return Err(WorldError::Configuration(mistakes));
        }
        let plans = sockets::plan(&config.sip);
        let addresses: Vec<SocketAddr> = plans.iter().map(|plan| plan.listener.address).collect();
        let transports: Vec<Transport> = plans.iter().map(|plan| plan.listener.transport).collect();
        let locals = sockets::locals(&plans, &addresses);
        let capacity = usize::try_from(config.sip.queue_max).unwrap_or(usize::MAX);
        let (queues, receivers): (Vec<_>, Vec<_>) =
            (0..setup.shards).map(|_| mpsc::channel(capacity)).unzip();
        let mut secret = [7; 32];
        secret[0] = u8::try_from(setup.seed % 251).unwrap_or(0);
        // Each node has a secret of its own.
        secret[1] ^= u8::from(setup.host == CONFERENCES);
        let (msrp, machines, load) = media::cores(setup.host, setup.media_cores);
        let parts = Parts {
            plans,
            locals,
            media: msrp,
            store: setup.store.clone(),
            clock: clock(),
            secret,
            // Another run of the process is another holder of leases.
            holder: setup.run + 1,
            nonce_seed: [9; 32],
            queues: queues.clone(),
        };
        let mut assembly = Assembly::new(&config, parts)?;
        if let Some(file) = &config.history.file {
            let lines_max = usize::try_from(config.history.lines_max).unwrap_or(usize::MAX);
            assembly = assembly.with_history(HistoryFile::open(file, lines_max)?);
        }
        let assembly = Arc::new(assembly);
        let (hosts, outlets) = listen(network, &addresses, &transports, &queues);
        let alive = Rc::new(Cell::new(true));
        let wire = SimulatedWire { outlets, alive: Rc::clone(&alive) };
        let (store, run) = (setup.store.clone(), setup.run);
        let (network, seed) = (network.clone(), setup.seed ^ (setup.run << 16) ^ (1 << 60));
        let msrp = move || machines.run(&network, seed);
        let threads = threads(Arc::clone(&assembly), setup, wire, receivers, hosts, msrp);
        let task = tokio::task::spawn_local(threads);
        Ok(Self { assembly, store, run, load, alive, task })
    }

    /// MSRP connections and sessions that it has.
    pub fn msrp_load(&self) -> (usize, usize) {
        self.load.total()
    }

    /// The same for each core.
    pub fn msrp_loads(&self) -> Vec<(usize, usize)> {
        self.load.each()
    }

    /// Ends the server at once: nothing is finished, nothing is said.
    pub fn kill(&mut self) {
        self.alive.set(false);
        self.task.abort();
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("run", &self.run).finish_non_exhaustive()
    }
}

/// Wall-clock time that goes with tokio's clock, from [`EPOCH`] on at the first call.
fn clock() -> Clock {
    thread_local! {
        static FIRST: RefCell<Option<(tokio::time::Instant, SystemTime)>> =
            const { RefCell::new(None) };
    }
    let now = tokio::time::Instant::now();
    let anchor = FIRST.with_borrow_mut(|first| {
        let epoch = SystemTime::UNIX_EPOCH + EPOCH;
        let (start, epoch) = *first.get_or_insert((now, epoch));
        epoch + now.saturating_duration_since(start)
    });
    Clock::new(anchor)
}

fn configuration(setup: &ServerSetup) -> String {
    let core = CORE.ip();
    let ServerSetup { host, name, .. } = setup;
    let listen = |port: u16, side: &str| {
        format!(
            "[[sip.listen]]\naddress = \"{host}:{port}\"\ntransports = [\"udp\", \"tcp\"]\n\
             side = \"{side}\"\n"
        )
    };
    let mut text = format!("[sip]\nnames = [\"{name}\"]\nnext_hop = \"sip:{CORE};lr\"\n");
    text.push_str(&listen(5080, "originating"));
    text.push_str(&listen(5081, "terminating"));
    text.push_str(&listen(5082, "registration"));
    text.push_str(&format!("[[sip.peer]]\nname = \"core\"\nnetworks = [\"{core}/32\"]\n"));
    for section in ["participating", "deferred"] {
        if !setup.configuration.contains(&format!("[{section}]")) {
            let key = match section {
                "participating" => "notice = false",
                _ => "settle_ms = 0",
            };
            text.push_str(&format!("[{section}]\n{key}\n"));
        }
    }
    text.push_str(&setup.configuration);
    text
}

/// Runs everything of one server on a `LocalSet` of its own: when this is dropped, all its tasks
/// are.
async fn threads(
    assembly: Arc<Assembly>,
    setup: ServerSetup,
    wire: SimulatedWire,
    receivers: Vec<mpsc::Receiver<ShardInput>>,
    hosts: Vec<(Host, Link)>,
    msrp: impl FnOnce() + 'static,
) {
    let tasks = LocalSet::new();
    let everything = async move {
        msrp();
        for (host, link) in hosts {
            tokio::task::spawn_local(host.run(link));
        }
        for (number, queue) in (0..setup.shards).zip(receivers) {
            let seed = setup.seed ^ (u64::from(number) << 8) ^ (setup.run << 16);
            let mut random = StdRng::seed_from_u64(seed);
            let entropy = Box::new(move || random.random::<u64>());
            let shard = assembly.shard(number, Rc::new(wire.clone()), entropy);
            tokio::task::spawn_local(shard.run(queue));
        }
        std::future::pending::<()>().await;
    };
    tasks.run_until(everything).await;
}

type Outlets = Rc<Vec<(Transport, Outlet)>>;

/// Attaches the listeners, one host for each address.
fn listen(
    network: &Network,
    addresses: &[SocketAddr],
    transports: &[Transport],
    queues: &[mpsc::Sender<ShardInput>],
) -> (Vec<(Host, Link)>, Outlets) {
    let mut hosts: BTreeMap<SocketAddr, Host> = BTreeMap::new();
    let mut outlets = Vec::new();
    let mut links: BTreeMap<SocketAddr, Link> = BTreeMap::new();
    for (number, (address, transport)) in (0..).zip(addresses.iter().zip(transports)) {
        let link = links.entry(*address).or_insert_with(|| network.attach(*address));
        outlets.push((*transport, link.outlet()));
        let host = hosts.entry(*address).or_default();
        host.listeners.push((*transport, ListenerId(number)));
    }
    let with_queues = |(address, link)| {
        let mut host = hosts.remove(&address).unwrap_or_default();
        host.queues = queues.to_vec();
        (host, link)
    };
    (links.into_iter().map(with_queues).collect(), Rc::new(outlets))
}

/// One address of the server: cuts packets into messages and gives each to its shard.
#[derive(Default)]
struct Host {
    listeners: Vec<(Transport, ListenerId)>,
    queues: Vec<mpsc::Sender<ShardInput>>,
    streams: BTreeMap<SocketAddr, (ConnectionId, Framer)>,
}

impl Host {
    async fn run(mut self, mut link: Link) {
        let outlet = link.outlet();
        while let Some(packet) = link.recv().await {
            self.take(&outlet, packet);
        }
    }

    fn take(&mut self, outlet: &Outlet, packet: Packet) {
        let Packet { from, transport, octets, .. } = packet;
        let listener = self.listeners.iter().find(|(speaks, _)| *speaks == transport);
        let Some((_, listener)) = listener.copied() else { return };
        let mut source =
            Source { transport, remote: from, listener, connection: None, verified: false };
        if transport == Transport::Udp {
            return self.give(source, Message::parse_datagram(octets, &Limits::default()));
        }
        let next = u64::try_from(self.streams.len()).unwrap_or(u64::MAX);
        let fresh = || (ConnectionId(next), Framer::new(Limits::default()));
        let (connection, framer) = self.streams.entry(from).or_insert_with(fresh);
        source.connection = Some(*connection);
        framer.buffer().extend_from_slice(&octets);
        let mut frames = Vec::new();
        while let Some(frame) = framer.next_frame() {
            frames.push(frame);
        }
        for frame in frames {
            match frame {
                Frame::Message(message) => self.give(source, Ok(message)),
                Frame::Malformed(malformed) => self.give(source, Err(malformed)),
                Frame::Ping => outlet.send(transport, from, Bytes::from_static(b"\r\n")),
            }
        }
    }

    fn give(&self, source: Source, message: Result<Message, Box<Malformed>>) {
        let known = match &message {
            Ok(message) => Some(message),
            Err(malformed) => malformed.message.as_ref(),
        };
        let shard = known.map_or(0, |message| shard_of(message, self.queues.len()));
        let Some(queue) = self.queues.get(shard) else { return };
        let at = tokio::time::Instant::now().into_std();
        let peer_names = Arc::from([]);
        // A full queue is loss, as in `net` over UDP.
        let _ = queue.try_send(ShardInput::Received { at, source, peer_names, message });
    }
}

/// The simulated network under one shard.
#[derive(Clone, Debug)]
pub struct SimulatedWire {
    /// The way out of each listener, by its number.
    outlets: Outlets,
    /// Whether the server runs: what its tasks say while they are ended is not heard.
    alive: Rc<Cell<bool>>,
}

impl Wire for SimulatedWire {
    fn transmit(&self, target: &Target, bytes: Bytes, _client: Option<ClientKey>) -> bool {
        let outlet = self.outlets.get(usize::from(target.listener.0));
        let Some((transport, outlet)) = outlet else { return false };
        if *transport != target.transport {
            return false;
        }
        if !self.alive.get() {
            return true;
        }
        outlet.send(target.transport, target.remote, bytes);
        true
    }

    /// The only names there are: the core's and those of the servers.
    fn lookup(&self, hop: &NextHop) -> Lookup {
        let ip: Option<IpAddr> = match &hop.place.host {
            TargetHost::Name(name) => match name.as_str() {
                "core.ims.test" => Some(CORE.ip()),
                SERVER_NAME => Some(SERVER),
                CONFERENCES_NAME => Some(CONFERENCES),
                _ => None,
            },
            TargetHost::Address(ip) => Some(*ip),
        };
        let has = |wanted| self.outlets.iter().any(|(transport, _)| *transport == wanted);
        let at = |ip| Place { maddr: Some(TargetHost::Address(ip)), ..hop.place.clone() };
        let found = ip.and_then(|ip| at(ip).numeric(has)).into_iter().flatten().flatten();
        let found: Targets = found.map(|found| hop.target(&found)).collect();
        Box::pin(std::future::ready(found))
    }
}
