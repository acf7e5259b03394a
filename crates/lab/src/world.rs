//! A whole scenario in a few lines: network, core, server under test, users.
//!
//! ```no_run
//! # async fn story() -> Result<(), Box<dyn std::error::Error>> {
//! use parlance_lab::world::World;
//! let mut world = World::builder().user("alice").user("bob").build().await?;
//! world.register_all().await;
//! assert_eq!(world.ue("alice").message("sip:bob@ims.test", "hello").await.status, 200);
//! assert_eq!(world.ue("bob").texts(), ["hello"]);
//! # Ok(()) }
//! ```
//!
//! The server is the real one, assembled by `parlance_server` from a configuration, over a store
//! in memory; only its sockets and its clock are ours. Everything runs on one `LocalSet`.

mod media;
mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parlance_isc::ifc::IfcError;
use parlance_server::Mistakes;
use parlance_server::assembly::AssemblyError;
use parlance_sip::Transport;
use parlance_store::{Memory, Millis, Profile, Store, StoreError};
use tempfile::TempDir;

use crate::core::{Core, CoreConfig, SHIPPED_CRITERIA, Subscription};
use crate::network::{Faults, Network, Streams};
use crate::raw::RawUe;
use crate::ue::{Ue, UeConfig};

pub use server::{Served, ServerSetup, SimulatedWire};

/// The home domain of every world.
pub const DOMAIN: &str = "ims.test";

/// Where the core is.
pub const CORE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 5060);

/// The host of the server under test; its ports are the documented ones.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 20));

/// The host of the other server, where there are two.
pub const CONFERENCES: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 21));

/// The names of the two hosts.
const SERVER_NAME: &str = "im.ims.test";
const CONFERENCES_NAME: &str = "conf.ims.test";

/// What makes a server that has no conferences of its own.
const WITHOUT_CONFERENCES: &str = "[controlling]\nenabled = false\n";

/// Why a world cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The configuration of the server is wrong.
    #[error("configuration: {0}")]
    Configuration(Mistakes),
    /// The server cannot be assembled.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// The filter criteria are none.
    #[error(transparent)]
    Criteria(#[from] IfcError),
    /// A UE cannot listen.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Builds a [`World`].
#[derive(Debug)]
pub struct Builder {
    seed: u64,
    faults: Faults,
    isc: Transport,
    shards: u8,
    media_cores: u8,
    core: CoreConfig,
    configuration: String,
    /// The configuration of the other server.
    conferences: Option<String>,
    users: Vec<String>,
    provisioned: bool,
    groups: Vec<String>,
    /// Where the groups are, once the world is built.
    directory: Option<Arc<TempDir>>,
}

/// A scenario under way.
pub struct World {
    /// The network everything hangs on.
    pub network: Network,
    /// The core.
    pub core: Core,
    /// The server under test.
    pub server: Served,
    /// The other server, see [`Builder::conferences`].
    pub conferences: Option<Served>,
    users: BTreeMap<String, Ue>,
    memory: Arc<Memory>,
    builder: Builder,
}

impl World {
    /// A world with seed 1, a perfect network, ISC over TCP as the shipped criteria say, one
    /// shard and one core of MSRP, no users, and a server configuration that says only where it
    /// listens and whom it trusts, that new users get no notice, and that nothing settles before
    /// it is pushed.
    pub fn builder() -> Builder {
        Builder {
            seed: 1,
            faults: Faults::default(),
            isc: Transport::Tcp,
            shards: 1,
            media_cores: 1,
            core: CoreConfig::default(),
            configuration: String::new(),
            conferences: None,
            users: Vec::new(),
            provisioned: true,
            groups: Vec::new(),
            directory: None,
        }
    }

    /// The UE of a user by name.
    ///
    /// # Panics
    /// There is no user of that name: a mistake in the scenario.
    pub fn ue(&self, name: &str) -> &Ue {
        self.users.get(name).expect("a scenario names the users it built")
    }

    /// All UEs, in the order of their names.
    pub fn ues(&self) -> impl Iterator<Item = &Ue> {
        self.users.values()
    }

    /// Registers every user as an IM client, one after the other.
    ///
    /// Returns when every third-party REGISTER is answered, too.
    pub async fn register_all(&self) {
        for ue in self.users.values() {
            ue.register().await;
        }
        self.settle(Duration::from_millis(500)).await;
    }

    /// Lets time pass.
    pub async fn settle(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Changes the profile of a user in the store of the server, and tells the server.
    ///
    /// # Errors
    /// The store refused.
    pub async fn change_profile(
        &self,
        name: &str,
        change: impl FnOnce(&mut Profile),
    ) -> Result<(), StoreError> {
        let user = identity(name).as_str().into();
        let profiles = &self.server.store.profiles;
        let known = profiles.profile(&user).await?;
        let mut profile = match known {
            Some(profile) => (*profile).clone(),
            None => Profile::new(user, Millis(0)),
        };
        change(&mut profile);
        profile.revision = 0;
        let user = profile.user.clone();
        profiles.put(profile).await?;
        self.server.assembly.user_changed(&user);
        Ok(())
    }

    /// From now on every operation of the store fails with `failure`, until `None` ends it.
    pub fn fail_store(&self, failure: Option<StoreError>) {
        self.memory.fail(failure);
    }

    /// Messages that wait in the server for a user.
    pub async fn waiting(&self, name: &str) -> u64 {
        let user = identity(name).as_str().into();
        let counts = self.server.store.inboxes.counts(&user).await;
        counts.map_or(0, |counts| counts.items)
    }

    /// A host for text that a UE cannot say, at an address of its own, counted from 1. It is a UE
    /// of `owner`, so that the core knows who speaks.
    pub fn raw(&self, number: u8, owner: &str) -> RawUe {
        let address = SocketAddr::from(([10, 2, 0, number], 5060));
        let mut subscription = subscription(owner, self.place(owner));
        subscription.addresses.push(address);
        self.core.subscribe(subscription);
        RawUe::new(self.network.attach(address), CORE)
    }

    fn place(&self, name: &str) -> usize {
        self.builder.users.iter().position(|user| user == name).unwrap_or(self.builder.users.len())
    }

    /// Starts the server anew over the store it had, as after a crash: nothing else survives, and
    /// what was under way on the network goes to the new one.
    ///
    /// # Errors
    /// [`WorldError`].
    pub async fn restart_server(&mut self) -> Result<(), WorldError> {
        let store = self.server.store.clone();
        self.server.kill();
        let run = self.server.run + 1;
        self.server = Served::start(&self.network, self.builder.setup(SERVER, store, run))?;
        Ok(())
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

/// The identity of a user by name.
pub fn identity(name: &str) -> String {
    format!("sip:{name}@{DOMAIN}")
}

/// The telephone number of the user that was added as number `place`, from 0.
pub fn telephone(place: usize) -> String {
    format!("tel:+1555{:07}", place + 1)
}

/// The address of the UE of the user that was added as number `place`, from 0.
fn address(place: usize) -> SocketAddr {
    let octet = |number: usize| u8::try_from(number % 250).unwrap_or(0);
    SocketAddr::from(([10, 1, octet(place / 250), octet(place) + 1], 5060))
}

fn subscription(name: &str, place: usize) -> Subscription {
    Subscription {
        identity: identity(name),
        aliases: vec![telephone(place)],
        addresses: vec![address(place)],
    }
}

impl Builder {
    /// Sets the seed of everything random.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what happens to packets.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Sets the transport of ISC.
    #[must_use]
    pub fn isc(mut self, transport: Transport) -> Self {
        self.isc = transport;
        self
    }

    /// Sets how many shards the server has.
    #[must_use]
    pub fn shards(mut self, shards: u8) -> Self {
        self.shards = shards.max(1);
        self
    }

    /// Sets how many cores of MSRP the server has.
    #[must_use]
    pub fn media_cores(mut self, cores: u8) -> Self {
        self.media_cores = cores.max(1);
        self
    }

    /// Changes how the core is set up.
    #[must_use]
    pub fn core(mut self, change: impl FnOnce(&mut CoreConfig)) -> Self {
        change(&mut self.core);
        self
    }

    /// Adds to the configuration of the server, as TOML: whole sections other than `[sip]`.
    #[must_use]
    pub fn configuration(mut self, toml: &str) -> Self {
        self.configuration.push_str(toml);
        self.configuration.push('\n');
        self
    }

    /// Has the controlling function on a server of its own, with a store of its own, and with this
    /// configuration: whole sections other than `[sip]` and `[controlling]`. The first server has
    /// none then; the core sends to the second what is for services, and the two meet only over
    /// SIP and MSRP.
    #[must_use]
    pub fn conferences(mut self, toml: &str) -> Self {
        let sessions = format!("[controlling]\nsession_domain = \"{DOMAIN}\"\n");
        self.conferences = Some(format!("{sessions}{toml}\n"));
        self.configuration(WITHOUT_CONFERENCES).core(|core| {
            core.services_at = format!("sip:im-term@{CONFERENCES_NAME}:5081;transport=tcp");
            // The identities of its sessions lead there as well.
            core.services.push("im-sess-".to_owned());
        })
    }

    /// Adds a user.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        self.users.push(name.to_owned());
        self
    }

    /// Adds `count` users: `user000`, `user001` and so on.
    #[must_use]
    pub fn users(mut self, count: usize) -> Self {
        self.users.extend((0..count).map(user_name));
        self
    }

    /// Adds a group that the server hosts, as its document (OMA Group XDM).
    #[must_use]
    pub fn group(mut self, document: &str) -> Self {
        self.groups.push(document.to_owned());
        self
    }

    /// Leaves the store of the server empty: what it knows of users it learns from the core.
    #[must_use]
    pub fn unprovisioned(mut self) -> Self {
        self.provisioned = false;
        self
    }

    /// Builds the world. Must be called on a `LocalSet`, best on a paused clock.
    ///
    /// # Errors
    /// [`WorldError`].
    pub async fn build(mut self) -> Result<World, WorldError> {
        self.write_groups()?;
        let network = Network::new(self.seed, self.faults.clone());
        let memory = Arc::new(Memory::new());
        let store = Store::of(Arc::clone(&memory));
        if self.provisioned {
            for (place, name) in self.users.iter().enumerate() {
                let user = identity(name).as_str().into();
                let profile = Profile::new(user, Millis(0));
                let aliases = vec![telephone(place)];
                store.profiles.put(Profile { aliases, ..profile }).await?;
            }
        }
        let mut core = self.core.clone();
        core.seed = self.seed;
        core.names.insert(SERVER_NAME.to_owned(), SERVER);
        core.names.insert(CONFERENCES_NAME.to_owned(), CONFERENCES);
        if self.isc == Transport::Udp && core.criteria == SHIPPED_CRITERIA {
            core.criteria = SHIPPED_CRITERIA.replace(";transport=tcp", "");
        }
        let core = Core::start(network.attach(CORE), core)?;
        let server = Served::start(&network, self.setup(SERVER, store, 0))?;
        let other = self.conferences.as_ref().map(|_| {
            let store = Store::of(Arc::new(Memory::new()));
            Served::start(&network, self.setup(CONFERENCES, store, 0))
        });
        let conferences = other.transpose()?;
        let mut users = BTreeMap::new();
        for (place, name) in self.users.iter().enumerate() {
            core.subscribe(subscription(name, place));
            let seed =
                self.seed.wrapping_mul(1_000_003).wrapping_add(u64::try_from(place).unwrap_or(0));
            let config = UeConfig { identity: identity(name), core: CORE, seed };
            let streams = Streams::Simulated(network.clone(), address(place).ip());
            let ue = Ue::start(network.attach(address(place)), config).with_msrp(streams)?;
            users.insert(name.clone(), ue);
        }
        Ok(World { network, core, server, conferences, users, memory, builder: self })
    }

    /// Puts the groups where the server reads them.
    fn write_groups(&mut self) -> std::io::Result<()> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let directory = TempDir::new()?;
        for (number, document) in self.groups.iter().enumerate() {
            std::fs::write(directory.path().join(format!("{number}.xml")), document)?;
        }
        let groups = format!("[controlling]\ngroups = {:?}\n", directory.path());
        let hosting = self.conferences.as_mut().unwrap_or(&mut self.configuration);
        *hosting = match hosting.contains("[controlling]\n") {
            true => hosting.replacen("[controlling]\n", &groups, 1),
            false => format!("{groups}{hosting}"),
        };
        self.directory = Some(Arc::new(directory));
        Ok(())
    }

    fn setup(&self, host: IpAddr, store: Store, run: u64) -> ServerSetup {
        let (name, configuration) = match (&self.conferences, host == CONFERENCES) {
            (Some(other), true) => (CONFERENCES_NAME, other),
            _ => (SERVER_NAME, &self.configuration),
        };
        ServerSetup {
            host,
            name,
            configuration: configuration.clone(),
            shards: self.shards,
            media_cores: self.media_cores,
            store,
            seed: self.seed,
            run,
        }
    }
}

/// The name of a user made by [`Builder::users`].
pub fn user_name(number: usize) -> String {
    format!("user{number:03}")
}
