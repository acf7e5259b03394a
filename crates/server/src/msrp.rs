//! The MSRP of a server: its listeners, and who may use its relay.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parlance_isc::Media;
use parlance_isc::media::TlsRules;
use parlance_msrp::relay::{self, RelayConfig, UserVerdict};
use parlance_msrp::{Event, LocalAddress, Scheme};
use parlance_net::msrp::{AtCore, Msrp, MsrpError, MsrpStartError};
use parlance_net::{Resolver, ResolverConfig, ResolverError, TlsClient};
use parlance_sip::digest::Secret;
use parlance_sip::locate::Policy;

use crate::config::{Config, MsrpListen, host_port};
use crate::digest::Credentials;
use crate::media;

/// Why there is no MSRP.
#[derive(Debug, thiserror::Error)]
pub enum MsrpFailure {
    /// It did not start.
    #[error("msrp: {0}")]
    Start(#[from] MsrpStartError),
    /// A core cannot be told what to do.
    #[error("msrp: {0}")]
    Core(#[from] MsrpError),
    /// The users of the relay cannot be read.
    #[error("msrp.digest_file: {0}")]
    Users(String),
}

/// MSRP, running.
#[derive(Debug)]
pub struct Service {
    msrp: Arc<Msrp>,
    listen: Vec<MsrpListen>,
    relay_place: Option<usize>,
    tls: TlsRules,
    users: Arc<ArcSwap<Credentials>>,
    drain: Duration,
    resolver: Resolver,
}

impl Service {
    /// Binds the listeners of `config` and starts the cores; `trusted` are the addresses without
    /// limits.
    ///
    /// # Errors
    /// [`MsrpFailure`]; then nothing is bound.
    pub async fn start(
        config: &Config,
        resolver: Resolver,
        trusted: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    ) -> Result<Self, MsrpFailure> {
        let section = &config.msrp;
        let users = Arc::new(ArcSwap::from_pointee(users(config)?));
        let known = Arc::clone(&users);
        let tls_client = TlsClient { names: Vec::new(), ..config.net.tls_client() };
        let mut driver = section.driver(trusted, tls_client);
        driver.others = Arc::new(move |at, event| handle(at, event, &known.load()));
        let msrp = Arc::new(Msrp::start(driver, resolver.clone())?);
        let drain = Duration::from_secs(section.drain_s);
        let service = Self {
            msrp,
            listen: section.listen.to_vec(),
            relay_place: section.relay_place(),
            tls: section.tls_rules(),
            users,
            drain,
            resolver,
        };
        let address = service.relay_address().map(|(_, address)| address);
        let relay = RelayConfig { address, ..section.relay_config() };
        for core in 0..service.msrp.cores() {
            let (switch, relay) = (section.switch_config(), relay.clone());
            let set = move |at: &mut AtCore<'_>| {
                at.node.set_switch(switch);
                at.node.set_relay(at.now, relay);
            };
            service.msrp.run(core, set).await?;
        }
        Ok(service)
    }

    /// The cores.
    pub fn msrp(&self) -> &Msrp {
        &self.msrp
    }

    /// Sessions and rooms for roles. Our descriptions name the first listener without TLS and the
    /// first with it.
    pub fn media(&self) -> Media {
        let first = |secure: bool| {
            let fits = |listen: &MsrpListen| listen.is_secure() == secure && !listen.websocket;
            let place = self.listen.iter().position(fits)?;
            Some((place, self.address(place)?))
        };
        media::over(&self.msrp, first(false), first(true), self.tls.clone(), self.resolver.clone())
    }

    /// Where the listeners are bound, and what is spoken there.
    pub fn bound(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let numbered = self.listen.iter().enumerate();
        numbered.filter_map(|(place, listen)| {
            let spoken = match (listen.is_secure(), listen.websocket) {
                (false, false) => "msrp",
                (true, false) => "msrps",
                (false, true) => "ws",
                (true, true) => "wss",
            };
            Some((spoken, self.msrp.local_addr(place)?))
        })
    }

    /// What our URIs at a listener say, by its place in the configuration.
    pub fn address(&self, place: usize) -> Option<LocalAddress> {
        let listen = self.listen.get(place)?;
        let bound = self.msrp.local_addr(place)?;
        let (host, port) = match listen.advertise.as_deref().and_then(host_port) {
            Some((host, port)) => (host.to_owned(), port.unwrap_or(bound.port())),
            None => (bracketed(bound.ip()), bound.port()),
        };
        Some(LocalAddress {
            scheme: if listen.is_secure() { Scheme::Msrps } else { Scheme::Msrp },
            host: host.into(),
            port,
            transport: if listen.websocket { "ws" } else { "tcp" },
        })
    }

    /// The listener where AUTH is taken, and what its URIs say; `None` without a relay.
    pub fn relay_address(&self) -> Option<(usize, LocalAddress)> {
        let place = self.relay_place?;
        Some((place, self.address(place)?))
    }

    /// Reads certificates and users again; what could not be read, where the old holds.
    pub fn reload(&self, config: &Config) -> Vec<String> {
        let mut failed = Vec::new();
        match users(config) {
            Ok(users) => self.users.store(Arc::new(users)),
            Err(error) => failed.push(error.to_string()),
        }
        if let Err(errors) = self.msrp.reload_tls() {
            failed.extend(errors.iter().map(ToString::to_string));
        }
        failed
    }

    /// Writes what waits, at most for the configured time, and ends.
    pub async fn drain(&self) {
        self.msrp.refuse_connections();
        self.msrp.drain(self.drain).await;
    }
}

fn users(config: &Config) -> Result<Credentials, MsrpFailure> {
    match &config.msrp.digest_file {
        Some(file) if config.msrp.relay => {
            Credentials::read(file).map_err(|wrong| MsrpFailure::Users(wrong.join("; ")))
        }
        _ => Ok(Credentials::default()),
    }
}

/// What is about no session of ours: the relay asks for a user.
fn handle(at: &mut AtCore<'_>, event: Event, users: &Credentials) {
    match event {
        Event::Relay(relay::Event::User { request, username, realm }) => {
            let known = users.hashes(&username, &realm);
            let verdict = known.map(|(md5, sha256)| UserVerdict {
                secret: Secret::Ha1 { md5, sha256 },
                may_relay: true,
            });
            at.node.authorize(at.now, request, verdict);
        }
        Event::Relay(relay::Event::Denied { username, .. }) => {
            let username = parlance_isc::Private(username);
            tracing::warn!(%username, "MSRP relay: wrong credentials");
        }
        other => tracing::trace!(event = ?other, "MSRP"),
    }
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// A resolver for connections that MSRP opens.
///
/// # Errors
/// The configuration of the system cannot be read.
pub(crate) fn resolver(config: &Config) -> Result<Resolver, ResolverError> {
    let listens = |v4: bool| config.msrp.listen.iter().any(|l| l.address().is_ipv4() == v4);
    let policy = Policy { transports: Vec::new(), ipv4: listens(true), ipv6: listens(false) };
    let resolver = ResolverConfig {
        servers: config.net.dns_servers.clone(),
        timeout: Duration::from_millis(config.net.dns_timeout_ms),
        cache_entries: config.net.dns_cache_entries,
        ..ResolverConfig::new(policy)
    };
    Resolver::new(resolver)
}
