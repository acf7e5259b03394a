//! A running server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use metrics::gauge;
use parlance_isc::journal::Entry;
use parlance_isc::{Clock, Locals, Media, ShardInput};
use parlance_net::{BindError, Net, NetConfig, Resolver, ResolverConfig, ResolverError, Runtimes};
use parlance_sip::locate::Policy;
use parlance_sip::message::Limits;
use parlance_sip::{ListenerId, Transport};
use parlance_store::Store;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::admin::Admin;
use crate::assembly::{Assembly, AssemblyError, Parts};
use crate::config::{Config, Side, size};
use crate::http::{self, TokenError};
use crate::measure;
use crate::measure::WAITING;
use crate::msrp::{self, MsrpFailure, Service};
use crate::record_files::RecordFiles;
use crate::shards::{self, Load};
use crate::sockets::{self, Plan};
use crate::storage::{self, StorageError};
use crate::wire::Share;

/// How often the end of open transactions is looked for while draining.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);

/// How long what is written last may take to leave.
const FLUSH: Duration = Duration::from_millis(500);

/// Keys that [`Server::reload`] takes; a section's name with a dot stands for all its keys.
const RELOADED: [&str; 16] = [
    "sip.domains",
    "sip.names",
    "sip.trust_loopback",
    "sip.peer",
    "sip.digest_file",
    "msrp.digest_file",
    "sip.filter_file",
    "log.",
    "registration.provisioning",
    "registration.unknown_user",
    "registration.grace_s",
    "participating.",
    "settings.",
    "controlling.",
    "deferred.",
    "explode.",
];

/// Keys of those sections that it does not take.
const NOT_RELOADED: [&str; 9] = [
    "deferred.messages_per_second",
    "deferred.service_uri",
    "participating.pre_established",
    "participating.pre_established_uri",
    "controlling.enabled",
    "controlling.groups",
    "controlling.session_domain",
    "controlling.session_prefix",
    "explode.uri",
];

/// Whether [`Server::reload`] takes a key.
fn is_reloaded(key: &str) -> bool {
    let is = |known: &&str| key == *known || known.ends_with('.') && key.starts_with(*known);
    !NOT_RELOADED.contains(&key) && RELOADED.iter().any(is)
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is no token for the administration interface.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// SIP listeners cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The HTTP listener cannot be bound.
    #[error("http.listen {address}: {error}")]
    Http {
        /// Its address.
        address: SocketAddr,
        /// What went wrong.
        error: io::Error,
    },
    /// MSRP does not start.
    #[error(transparent)]
    Msrp(#[from] MsrpFailure),
    /// The DNS cannot be asked.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The configuration does not fit any more.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// There is no thread for a shard.
    #[error("no thread for a shard: {0}")]
    Thread(io::Error),
    /// The system gives no random octets.
    #[error("no random octets")]
    Randomness,
    /// The file of events cannot be opened.
    #[error("events.file: {0}")]
    Events(io::Error),
    /// The file of histories cannot be opened.
    #[error("history.file: {0}")]
    History(io::Error),
}

/// One bound SIP listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What is spoken there.
    pub transport: Transport,
    /// What it is for.
    pub side: Side,
    /// Where it is, with the port that the system chose for port 0.
    pub address: SocketAddr,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys whose new values are in force.
    pub applied: Vec<String>,
    /// Keys whose new values need a restart.
    pub needs_restart: Vec<String>,
    /// What could not be read again; there the old holds.
    pub failed: Vec<String>,
}

/// A running server. Dropped, it ends at once; see [`Server::drain`] and [`Server::stop`].
pub struct Server {
    config: Mutex<Config>,
    assembly: Arc<Assembly>,
    net: Arc<Net>,
    msrp: Option<Service>,
    near: Arc<ArcSwap<Near>>,
    bound: Vec<Bound>,
    http_address: SocketAddr,
    records: RecordFiles,
    http: tokio::task::JoinHandle<()>,
    ready: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// Which addresses no rate is counted for.
struct Near {
    networks: Vec<IpNet>,
    loopback: bool,
}

impl Near {
    fn of(config: &Config) -> Self {
        let networks = config.sip.peer.iter().flat_map(|peer| peer.networks.iter().copied());
        Self { networks: networks.collect(), loopback: config.sip.trust_loopback }
    }

    fn holds(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.loopback && ip.is_loopback() || self.networks.iter().any(|net| net.contains(&ip))
    }
}

impl Server {
    /// Opens the store, binds every listener and begins to serve. `config` must have been checked.
    /// HTTP runs on the current runtime, which must be kept running.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is bound.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let metrics = measure::recorder();
        let store = storage::open_to_serve(&config).await?;
        let token = http::admin_token(&config)?;
        let (queues, receivers): (Vec<_>, Vec<_>) = (0..config.shards.effective())
            .map(|_| mpsc::channel::<ShardInput>(size(config.sip.queue_max)))
            .unzip();
        let draining = Arc::new(AtomicBool::new(false));
        let plans = sockets::plan(&config.sip);
        let resolver = Resolver::new(resolver_config(&config, &plans))?;
        let http = bind_http(config.http.listen).await?;
        let near = Arc::new(ArcSwap::from_pointee(Near::of(&config)));
        let factory = config.controlling.factory(&config.sip);
        let pre_established = config.participating.pre_established_uri(&config.sip);
        let spread = [factory, pre_established].iter().flat_map(|uri| uri.parse()).collect();
        let share = Share::new(queues.clone(), resolver.clone(), Arc::clone(&draining), spread);
        let threads = shard_threads(queues.len())?;
        let runtimes = runtimes(&threads);
        let net = Net::bind_on(runtimes, net_config(&config, &plans, &near), Arc::new(share))?;
        let net = Arc::new(net);
        let msrp = start_msrp(&config, &near).await?;
        let bound = bound(&net, &plans);
        let locals = locals(&plans, &bound);
        let clock = clock();
        let parts = Parts {
            plans,
            locals,
            media: msrp.as_ref().map_or_else(Media::none, Service::media),
            store: store.clone(),
            clock,
            secret: storage::secret(&config)?,
            holder: storage::node(&config)?,
            nonce_seed: random()?,
            queues,
        };
        let records = RecordFiles::open(&config)?;
        let assembly = Arc::new(records.attach(Assembly::new(&config, parts)?));
        let stop = watch::Sender::new(false);
        let start = |(number, (thread, queue)): (u8, (shards::Thread, _))| {
            let (assembly, net) = (Arc::clone(&assembly), Arc::clone(&net));
            let (resolver, stop) = (resolver.clone(), stop.subscribe());
            thread.start(shards::Start { assembly, net, resolver, number, queue, stop })
        };
        let threads = (0..).zip(threads.into_iter().zip(receivers)).map(start).collect();
        let ready = Arc::new(AtomicBool::new(true));
        let http_address = http.local_addr().unwrap_or(config.http.listen);
        let service = http::Service {
            admin: admin(store, clock, &assembly),
            token,
            sessions: assembly.sessions(),
            decisions: journals(&assembly),
            ready: Arc::clone(&ready),
            metrics,
        };
        Ok(Self {
            config: Mutex::new(config),
            assembly,
            net,
            msrp,
            near,
            bound,
            http_address,
            records,
            http: http::serve(http, service),
            ready,
            draining,
            stop,
            threads,
        })
    }

    /// The SIP listeners.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// MSRP, if it is configured.
    pub fn msrp(&self) -> Option<&Service> {
        self.msrp.as_ref()
    }

    /// Where HTTP is served.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// What the shards share.
    pub fn assembly(&self) -> &Assembly {
        &self.assembly
    }

    /// Measures, and says whether every shard lives. To be called about every second.
    pub async fn pulse(&self) -> bool {
        gauge!(WAITING).set(self.assembly.store().inboxes.waiting() as f64);
        let alive = !self.threads.iter().any(JoinHandle::is_finished);
        alive && shards::pulse(self.assembly.node()).await.is_some()
    }

    /// Whether the thread of a shard ended by itself, which a server does not survive.
    pub fn is_broken(&self) -> bool {
        let msrp = self.msrp.as_ref().is_some_and(|msrp| msrp.msrp().is_broken());
        msrp || self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Takes from `config` what can change while the server runs, and reads certificates again.
    /// Logging is up to who started it.
    pub fn reload(&self, config: Config) -> Reloaded {
        let mut current = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = Reloaded::default();
        let changed = current.changed(&config).into_iter();
        (done.applied, done.needs_restart) = changed.partition(|key| is_reloaded(key));
        done.applied.retain(|key| key != "log.format");
        if current.log.format != config.log.format {
            done.needs_restart.push("log.format".to_owned());
        }
        match random() {
            Ok(seed) => match self.assembly.reload(&config, seed) {
                Ok(()) => self.near.store(Arc::new(Near::of(&config))),
                Err(error) => done.failed.push(error.to_string()),
            },
            Err(error) => done.failed.push(error.to_string()),
        }
        self.records.reopen();
        if let Err(errors) = self.net.reload_tls() {
            done.failed.extend(errors.iter().map(ToString::to_string));
        }
        if let Some(msrp) = &self.msrp {
            done.failed.extend(msrp.reload(&config));
        }
        *current = config;
        done
    }

    /// Takes no new work and waits for what is open, at most the configured time. New requests get
    /// 503, new connections are refused, /readyz says 503, sessions are ended. Says whether all
    /// ended in time.
    pub async fn drain(&self) -> bool {
        self.ready.store(false, Ordering::Relaxed);
        self.draining.store(true, Ordering::Relaxed);
        self.net.refuse_connections();
        if let Some(msrp) = &self.msrp {
            msrp.msrp().refuse_connections();
        }
        let limit = self.config.lock().unwrap_or_else(PoisonError::into_inner).sip.drain_s;
        let deadline = Instant::now() + Duration::from_secs(limit);
        shards::drain_sessions(self.assembly.node());
        let explosions = async {
            if let Some(exploder) = self.assembly.exploder() {
                exploder.drain().await;
            }
        };
        let lanes = async { tokio::join!(self.assembly.deferred().drain(), explosions) };
        let lanes = timeout_at(deadline, lanes).await.is_ok();
        let idle = |load: &Load| load.unanswered == 0 && load.dialogs == 0;
        loop {
            let loads = shards::pulse(self.assembly.node()).await;
            match loads {
                None => return false,
                Some(loads) if loads.iter().all(idle) => return lanes,
                Some(_) if Instant::now() >= deadline => return false,
                Some(_) => sleep(DRAIN_INTERVAL).await,
            }
        }
    }

    /// Ends: what is written leaves, then sockets, threads and the store are closed.
    pub async fn stop(self) {
        let Self { assembly, net, msrp, records, http, stop, threads, .. } = self;
        if let Some(msrp) = msrp {
            msrp.drain().await;
        }
        net.drain(FLUSH).await;
        stop.send_replace(true);
        http.abort();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A thread that panicked is as gone as one that ended.
                let _ = thread.join();
            }
            records.close();
        });
        let _ = joined.await;
        // The handlers of HTTP hold the store as well.
        let _ = http.await;
        drop((assembly, net));
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("bound", &self.bound).finish_non_exhaustive()
    }
}

fn shard_threads(count: usize) -> Result<Vec<shards::Thread>, StartError> {
    (0..count).map(|number| shards::Thread::new(number).map_err(StartError::Thread)).collect()
}

/// The shards' own threads receive: what is for the same shard then wakes nobody.
fn runtimes(threads: &[shards::Thread]) -> Runtimes {
    let mut handles = threads.iter().map(|thread| thread.runtime().clone());
    let first = handles.next().unwrap_or_else(Handle::current);
    Runtimes::new(first, handles.collect())
}

/// Our sockets, as they are bound.
fn locals(plans: &[Plan], bound: &[Bound]) -> Locals {
    let addresses: Vec<SocketAddr> = bound.iter().map(|bound| bound.address).collect();
    sockets::locals(plans, &addresses)
}

/// The commands of an administrator; the functions hear whose settings he changes.
fn admin(store: Store, clock: Clock, assembly: &Arc<Assembly>) -> Admin {
    let changed = Arc::clone(assembly);
    Admin::new(store, move || clock.now()).told(move |user| changed.user_changed(user))
}

async fn start_msrp(
    config: &Config,
    near: &Arc<ArcSwap<Near>>,
) -> Result<Option<Service>, StartError> {
    if !config.msrp.is_on() {
        return Ok(None);
    }
    let near = Arc::clone(near);
    let resolver = msrp::resolver(config)?;
    let trusted = Arc::new(move |ip| near.load().holds(ip));
    Ok(Some(Service::start(config, resolver, trusted).await?))
}

fn clock() -> Clock {
    #[expect(clippy::disallowed_methods, reason = "the fixed point of the clock of the process")]
    let now = SystemTime::now();
    Clock::new(now)
}

fn random() -> Result<[u8; 32], StartError> {
    let mut octets = [0; 32];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| StartError::Randomness)?;
    Ok(octets)
}

async fn bind_http(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Http { address, error })
}

fn bound(net: &Net, plans: &[Plan]) -> Vec<Bound> {
    let numbered = plans.iter().zip(0..);
    let one = |(plan, number): (&Plan, u16)| Bound {
        transport: plan.listener.transport,
        side: plan.side,
        address: net.local_addr(ListenerId(number)).unwrap_or(plan.listener.address),
    };
    numbered.map(one).collect()
}

fn net_config(config: &Config, plans: &[Plan], near: &Arc<ArcSwap<Near>>) -> NetConfig {
    let near = Arc::clone(near);
    NetConfig {
        listeners: plans.iter().map(|plan| plan.listener.clone()).collect(),
        limits: Limits {
            head_octets_max: size(config.sip.head_octets_max),
            fields_max: size(config.sip.fields_max),
            body_octets_max: size(config.sip.body_octets_max),
        },
        connections: config.net.connections(),
        rate: config.net.rate(),
        trusted: Arc::new(move |ip| near.load().holds(ip)),
        tls_client: config.net.tls_client(),
        udp_receive_buffer_octets: size(config.net.udp_receive_buffer_octets),
    }
}

fn resolver_config(config: &Config, plans: &[Plan]) -> ResolverConfig {
    let spoken = |wanted: &Transport| plans.iter().any(|plan| plan.listener.transport == *wanted);
    let transports = [Transport::Udp, Transport::Tcp, Transport::Tls];
    let policy = Policy {
        transports: transports.into_iter().filter(spoken).collect(),
        ipv4: plans.iter().any(|plan| plan.listener.address.is_ipv4()),
        ipv6: plans.iter().any(|plan| plan.listener.address.is_ipv6()),
    };
    ResolverConfig {
        servers: config.net.dns_servers.clone(),
        timeout: Duration::from_millis(config.net.dns_timeout_ms),
        cache_entries: config.net.dns_cache_entries,
        quarantine: Duration::from_secs(config.net.quarantine_s),
        ..ResolverConfig::new(policy)
    }
}

/// Looks decisions up in the journals of all shards.
fn journals(assembly: &Arc<Assembly>) -> http::Decisions {
    let assembly = Arc::clone(assembly);
    Arc::new(move |call_id| decisions(&assembly.decisions(call_id)))
}

fn decisions(entries: &[Entry]) -> Value {
    let one = |entry: &Entry| json!({ "at": entry.at, "decision": entry.to_string() });
    entries.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::is_reloaded;
    use crate::config::Config;

    /// The documented file, section by section: what stands before its first key, and its keys.
    fn sections() -> Vec<(String, String, Vec<String>)> {
        let mut found: Vec<(String, String, Vec<String>)> = Vec::new();
        let mut about = String::new();
        for line in Config::document().lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                found.push((name.to_owned(), std::mem::take(&mut about), Vec::new()));
            } else if let Some((key, _)) = line.strip_prefix('#').and_then(|l| l.split_once(" = "))
                && !key.contains([' ', '`'])
                && let Some((_, _, keys)) = found.last_mut()
            {
                keys.push(format!("{key} {}", std::mem::take(&mut about)));
            } else if let Some(text) = line.strip_prefix("# ") {
                about = format!("{about} {text}");
            } else {
                about.clear();
            }
        }
        found
    }

    #[test]
    fn what_is_said_to_be_read_again_is() {
        let mut seen = 0;
        for (section, about, keys) in sections() {
            if !about.contains("Read again on SIGHUP") {
                continue;
            }
            for key in keys {
                let (name, text) = key.split_once(' ').unwrap();
                let name = format!("{section}.{name}");
                // A list of tables closes its section; its keys are in no path.
                let restart = text.contains("by a restart only");
                assert_eq!(is_reloaded(&name), !restart, "{name}: {text}");
                seen += 1;
            }
        }
        assert!(seen > 100, "{seen}");
    }
}
