//! The parts of a server put together, whatever is below and beside them: sockets and a durable
//! store in production; a simulated network, a store in memory and virtual time in the lab.

mod conferences;

use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use parlance_controlling::Register;
use parlance_controlling::explode::Exploder;
use parlance_deferred::{Deferred, Setup};
use parlance_isc::journal::{Entry, Journal};
use parlance_isc::registration::{Registrar, RegistrationEvent};
use parlance_isc::service::{Service, Services};
use parlance_isc::{
    Clock, Cx, Decider, Dispatcher, Gate, Locals, Marks, Media, NextHop, Node, Rates,
    RegEventPolicy, RegistrationEvents, Role, Rules, SessionCase, Shard, ShardInput, Wire, pass_on,
};
use parlance_participating::{
    Participating, Policy, PreEstablished, Seats, end_published, welcome,
};
use parlance_sip::digest::{NonceKey, Policy as DigestPolicy};
use parlance_sip::locate::TransportParam;
use parlance_sip::uri::Uri;
use parlance_sip::{Endpoint, EndpointConfig, Entropy, ListenerId, Timers, Transport};
use parlance_store::{Store, UserId};
use tokio::sync::mpsc;

use crate::config::{Authentication, Config, Side, host_port, size};
use crate::digest::Credentials;
use crate::event_file::EventFile;
use crate::history_file::HistoryFile;
use crate::sockets::Plan;
use conferences::Conferences;

/// How often registrations and settings that ran out are looked for, and how many of each end at a
/// time; local values.
const LAPSE_INTERVAL: Duration = Duration::from_secs(1);
const LAPSE_BATCH: usize = 500;

/// What a server stands on.
pub struct Parts {
    /// What each socket is for, in the order of their numbers.
    pub plans: Vec<Plan>,
    /// The sockets, see [`crate::sockets::locals`].
    pub locals: Locals,
    /// MSRP; [`Media::none`] where it is off.
    pub media: Media,
    /// What survives.
    pub store: Store,
    /// Wall-clock time.
    pub clock: Clock,
    /// The secret that requests of our own are signed with; the same after a restart.
    pub secret: [u8; 32],
    /// Names this node in leases; the same after a restart.
    pub holder: u64,
    /// A seed for nonces of digest authentication: random.
    pub nonce_seed: [u8; 32],
    /// The queues of the shards, in the order of their numbers.
    pub queues: Vec<mpsc::Sender<ShardInput>>,
}

/// Everything the shards of a server share.
pub struct Assembly {
    node: Arc<Node>,
    plans: Vec<Plan>,
    media: Media,
    store: Store,
    marks: Marks,
    rules: Arc<ArcSwap<Rules>>,
    policy: Arc<ArcSwap<Policy>>,
    rates: Arc<Rates>,
    seats: Arc<Seats>,
    pre_established: Arc<PreEstablished>,
    conferences: Option<Conferences>,
    deferred: Deferred,
    journals: Vec<Arc<Mutex<Journal>>>,
    endpoint: EndpointConfig,
    listener: ListenerId,
    reg_event: Option<RegEventPolicy>,
    events: Option<EventFile>,
    history: Option<HistoryFile>,
}

/// Why the parts do not fit: a file of the configuration changed since it was checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AssemblyError(pub String);

impl Assembly {
    /// Puts a server together. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`AssemblyError`].
    pub fn new(config: &Config, parts: Parts) -> Result<Self, AssemblyError> {
        let Parts { plans, locals, media, store, clock, secret, holder, nonce_seed, queues } =
            parts;
        let marks = Marks::new(secret);
        let listener = sending_listener(&plans);
        let shards = queues.len();
        let explosions = &store.explosions;
        let conferences = Conferences::new(config, &locals, listener, &marks, explosions, &media);
        let served = services(config, &plans, &locals, conferences.as_ref());
        let rules = rules(config, served, &store, &marks, nonce_seed)?;
        let endpoint = endpoint(config, &locals);
        let journal = || Arc::new(Mutex::new(Journal::new(size(config.sip.journal_max))));
        let node = Node {
            clock,
            next_hop: next_hop(config, &locals),
            locals,
            udp_octets_max: size(config.sip.udp_octets_max),
            lag_max: Duration::from_millis(config.sip.lag_max_ms),
            registrations: Arc::clone(&store.registrations),
            profiles: Arc::clone(&store.profiles),
            inboxes: Arc::clone(&store.inboxes),
            shards: queues,
        };
        let setup = Setup {
            policy: config.deferred.policy(&config.sip),
            secret,
            holder,
            domain: config.sip.domain().to_owned(),
            listener,
            shards,
            inboxes: Arc::clone(&store.inboxes),
            profiles: Arc::clone(&store.profiles),
            media: media.clone(),
        };
        Ok(Self {
            node: Arc::new(node),
            plans,
            media,
            store,
            marks,
            rules: Arc::new(ArcSwap::from_pointee(rules)),
            policy: Arc::new(ArcSwap::from_pointee(config.participating_policy())),
            rates: Arc::new(Rates::new()),
            seats: Arc::new(Seats::new()),
            pre_established: Arc::new(PreEstablished::new()),
            conferences,
            deferred: Deferred::new(setup),
            journals: (0..shards).map(|_| journal()).collect(),
            endpoint,
            listener,
            reg_event: config.registration.reg_event(config, listener),
            events: None,
            history: None,
        })
    }

    /// Tells `file` what happens to messages and sessions.
    #[must_use]
    pub fn with_events(mut self, file: EventFile) -> Self {
        self.events = Some(file);
        self
    }

    /// Keeps the messages of users whose history is active in `file`.
    #[must_use]
    pub fn with_history(mut self, file: HistoryFile) -> Self {
        self.history = Some(file);
        self
    }

    /// The shard numbered `number`, over `wire`. Must be called, and the shard run, on a
    /// `LocalSet`: what runs beside the requests is started here.
    pub fn shard(&self, number: u8, wire: Rc<dyn Wire>, entropy: Box<dyn Entropy>) -> Shard {
        let config = EndpointConfig { shard: number, ..self.endpoint.clone() };
        let endpoint = Endpoint::new(config, entropy);
        let shard = Shard::new(Arc::clone(&self.node), endpoint, wire, |_| {
            Rc::new(self.dispatcher(number))
        });
        let cx = shard.cx();
        self.deferred.start(&cx);
        if let Some(exploder) = self.exploder() {
            exploder.start(&cx);
        }
        if number == 0 {
            cx.spawn(end_lapsed(
                cx.clone(),
                Arc::clone(&self.rules),
                Rc::new(self.registration_events()),
            ));
        }
        shard
    }

    /// What the shards share.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The exploder; `None` where there are no groups and lists.
    pub fn exploder(&self) -> Option<&Exploder> {
        self.conferences.as_ref().map(Conferences::exploder)
    }

    /// The deferred function.
    pub fn deferred(&self) -> &Deferred {
        &self.deferred
    }

    /// MSRP, as roles use it.
    pub fn media(&self) -> &Media {
        &self.media
    }

    /// What survives.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The sessions that the controlling functions of all shards have; none run where there are no
    /// conferences.
    pub fn sessions(&self) -> Arc<Register> {
        self.conferences.as_ref().map(|it| Arc::clone(it.register())).unwrap_or_default()
    }

    /// The decisions about requests with this Call-ID, oldest first.
    pub fn decisions(&self, call_id: &str) -> Vec<Entry> {
        let of_shard = |journal: &Arc<Mutex<Journal>>| {
            let journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.of_call(call_id).cloned().collect::<Vec<_>>()
        };
        let mut found: Vec<Entry> = self.journals.iter().flat_map(of_shard).collect();
        found.sort_by_key(|entry| entry.at);
        found
    }

    /// Takes from `config` who is trusted, what is served, and the policies of decisions,
    /// registrations, the participating and the deferred function. What is under way ends by the
    /// old ones.
    ///
    /// # Errors
    /// [`AssemblyError`]; then nothing changed.
    pub fn reload(&self, config: &Config, nonce_seed: [u8; 32]) -> Result<(), AssemblyError> {
        let conferences = self.conferences.as_ref();
        if let Some(conferences) = conferences {
            conferences.reload(config);
        }
        let served = services(config, &self.plans, &self.node.locals, conferences);
        let rules = rules(config, served, &self.store, &self.marks, nonce_seed)?;
        self.rules.store(Arc::new(rules));
        self.policy.store(Arc::new(config.participating_policy()));
        self.deferred.reload(config.deferred.policy(&config.sip));
        Ok(())
    }

    /// Has what waits for `user` looked at anew, since his settings changed.
    pub fn user_changed(&self, user: &UserId) {
        let (deferred, changed) = (self.deferred.clone(), user.clone());
        let told = self.node.on_shard_of(user.as_str(), move |cx| {
            deferred.changed(&cx, &changed);
            Box::pin(std::future::ready(()))
        });
        if told.is_err() {
            tracing::warn!(
                "a changed profile counts for stored messages only from the next search"
            );
        }
    }

    fn dispatcher(&self, number: u8) -> Dispatcher {
        let policy = Arc::clone(&self.policy);
        let participating = Participating::new(move || policy.load_full(), Arc::clone(&self.rates))
            .with_deferral(Rc::new(self.deferred.clone()))
            .with_seats(Arc::clone(&self.seats))
            .with_pre_established(Arc::clone(&self.pre_established))
            .with_media(self.media.clone());
        let participating = match &self.events {
            Some(file) => participating.with_events(Rc::new(file.clone())),
            None => participating,
        };
        let participating = match &self.history {
            Some(file) => participating.with_history(Rc::new(file.clone())),
            None => participating,
        };
        let conferences = self.conferences.as_ref();
        let function = |it: &Conferences| it.function(&self.node, &self.media, self.listener);
        let controlling: Option<Rc<dyn Role>> = conferences.map(|it| Rc::new(function(it)) as _);
        let participating = match controlling.clone() {
            Some(controlling) => participating.with_controlling(controlling),
            None => participating,
        };
        let journal = self.journals.get(usize::from(number)).cloned();
        let journal = journal.unwrap_or_else(|| Arc::new(Mutex::new(Journal::new(0))));
        let rules = Arc::clone(&self.rules);
        let events = Rc::new(self.registration_events());
        let dispatcher =
            Dispatcher::new(move || rules.load_full(), journal, Rc::new(participating), events);
        let dispatcher = match controlling {
            Some(controlling) => dispatcher.with_controlling(controlling),
            None => dispatcher,
        };
        let dispatcher = dispatcher.with_deferred(Rc::new(self.deferred.clone()));
        match self.reg_event.clone() {
            Some(policy) => dispatcher.with_reg_event(policy),
            None => dispatcher,
        }
    }

    fn registration_events(&self) -> Events {
        Events {
            deferred: self.deferred.clone(),
            policy: Arc::clone(&self.policy),
            marks: self.marks.clone(),
            listener: self.listener,
        }
    }
}

impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembly").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Tells the functions what happens to registrations.
struct Events {
    deferred: Deferred,
    policy: Arc<ArcSwap<Policy>>,
    marks: Marks,
    listener: ListenerId,
}

impl RegistrationEvents for Events {
    fn handle_registration(&self, cx: &Cx, event: &RegistrationEvent) {
        match event {
            RegistrationEvent::Registered { registration, new, first_ever } => {
                if let Some(user) = &registration.user {
                    self.deferred.registered(cx, user, registration.id, *new);
                }
                if *first_ever {
                    let policy = self.policy.load_full();
                    welcome(cx.node(), &policy, &self.marks, registration, self.listener);
                }
            }
            RegistrationEvent::Deregistered { user, .. } => self.deferred.deregistered(cx, user),
        }
    }
}

/// Ends registrations and published settings that ran out; no S-CSCF tells of those.
async fn end_lapsed(cx: Cx, rules: Arc<ArcSwap<Rules>>, events: Rc<Events>) {
    loop {
        cx.after(LAPSE_INTERVAL).await;
        let rules = rules.load_full();
        match rules.registrar.lapse(cx.now(), LAPSE_BATCH).await {
            Ok(lapsed) => lapsed.iter().for_each(|event| {
                events.handle_registration(&cx, event);
                pass_on(&cx, event);
            }),
            Err(error) => tracing::warn!(%error, "registrations that ran out could not be ended"),
        }
        match end_published(&*cx.node().profiles, cx.now(), LAPSE_BATCH).await {
            Ok(users) => users.iter().for_each(|user| events.deferred.changed(&cx, user)),
            Err(error) => tracing::warn!(%error, "settings that ran out could not be ended"),
        }
    }
}

fn rules(
    config: &Config,
    services: Services,
    store: &Store,
    marks: &Marks,
    nonce_seed: [u8; 32],
) -> Result<Rules, AssemblyError> {
    let all = |texts: Vec<String>| AssemblyError(texts.join("; "));
    let trust = config.sip.trust();
    let trust = trust.map_err(|errors| all(errors.iter().map(ToString::to_string).collect()))?;
    let refusals = config.participating.refusals(&config.sip);
    let registrar = Registrar::new(
        Arc::clone(&store.profiles),
        Arc::clone(&store.registrations),
        config.registration.policy(refusals.clone()),
    );
    let gate = match (config.sip.authentication, &config.sip.digest_file) {
        (Authentication::Digest, Some(file)) => {
            let realm = config.sip.domain();
            let secrets = Credentials::read(file).map_err(all)?.of_realm(realm);
            let key = NonceKey::new(nonce_seed);
            Some(Gate::new(realm, DigestPolicy::default(), key, Box::new(secrets)))
        }
        (Authentication::Digest | Authentication::Asserted, _) => None,
    };
    let decider = Decider {
        trust,
        services,
        marks: marks.clone(),
        filter: config.sip.filter(&config.settings.event).map_err(AssemblyError)?,
        policy: config.registration.decisions(config.participating.from_must_match),
        profiles: Arc::clone(&store.profiles),
        registrations: Arc::clone(&store.registrations),
    };
    Ok(Rules { decider, registrar, gate, refusals })
}

fn services(
    config: &Config,
    plans: &[Plan],
    locals: &Locals,
    conferences: Option<&Conferences>,
) -> Services {
    let mut services = Services::new();
    services.next_hop = config.sip.next_hop.is_some();
    services.running.settings = config.settings.enabled;
    services.running.deferred = true;
    services.settings_event.clone_from(&config.settings.event);
    if let Some(conferences) = conferences {
        conferences.serve(config, &mut services);
    }
    let sip = &config.sip;
    let identities = [
        (config.participating.pre_established_uri(sip), Service::PreEstablished),
        (config.deferred.identity(sip), Service::Deferred),
        (config.history.identity(sip), Service::History),
    ];
    for (identity, service) in identities {
        // One that is none has been refused with the configuration.
        if let Ok(identity) = identity.parse() {
            services.identity(identity, service);
        }
    }
    services.running.pre_established = config.participating.pre_established;
    let names = config.sip.names.iter().filter_map(|name| host_port(name));
    let places = locals.0.iter().filter_map(|local| host_port(&local.sent_by));
    names.chain(places).for_each(|(host, port)| services.own(host, port));
    config.sip.domains.iter().for_each(|domain| services.domain(domain));
    for (plan, number) in plans.iter().zip(0..) {
        match plan.side {
            Side::Originating => services.listener(ListenerId(number), SessionCase::Originating),
            Side::Terminating => services.listener(ListenerId(number), SessionCase::Terminating),
            // A REGISTER is known by its method, wherever it comes.
            Side::Registration | Side::Any => {}
        }
    }
    services
}

fn endpoint(config: &Config, locals: &Locals) -> EndpointConfig {
    let sip = &config.sip;
    EndpointConfig {
        timers: Timers {
            t1: Duration::from_millis(sip.t1_ms),
            t2: Duration::from_millis(sip.t2_ms),
            t4: Duration::from_millis(sip.t4_ms),
            c: Duration::from_secs(sip.timer_c_s),
            ..Timers::default()
        },
        shard: 0,
        sent_by: locals.0.iter().map(|local| local.sent_by.clone()).collect(),
        server_transactions_max: size(sip.server_transactions_max),
        unanswered_max: size(sip.unanswered_max),
        client_transactions_max: size(sip.client_transactions_max),
        retry_after: Duration::from_secs(sip.retry_after_s),
        server: sip.server.clone(),
    }
}

/// The next hop for requests without a Route, from a listener that speaks its transport.
fn next_hop(config: &Config, locals: &Locals) -> Option<NextHop> {
    let text = config.sip.next_hop.as_ref()?;
    let uri = Uri::parse(text.as_bytes()).ok()?;
    let hop = NextHop::of(&uri, ListenerId(0))?;
    let wanted = match (hop.place.sips, hop.place.transport) {
        (true, _) => Transport::Tls,
        (false, TransportParam::Known(transport)) => transport,
        (false, TransportParam::Absent | TransportParam::Unknown) => Transport::Udp,
    };
    let listener = locals.near(ListenerId(0), wanted).unwrap_or(ListenerId(0));
    Some(NextHop { listener, ..hop })
}

/// Where requests of our own are sent from: they go towards served users.
fn sending_listener(plans: &[Plan]) -> ListenerId {
    let of_side = |side: Side| plans.iter().zip(0..).find(|(plan, _)| plan.side == side);
    let found = of_side(Side::Terminating).or_else(|| of_side(Side::Any));
    ListenerId(found.map_or(0, |(_, number)| number))
}

#[cfg(test)]
mod tests;
