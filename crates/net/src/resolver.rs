//! Asks the DNS what the search of RFC 3263 in `sip` wants to know, and remembers who failed.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig as Servers, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver as Dns, TokioResolver};
use parlance_sip::locate::{
    Answer, Candidate, Locate, LocateError, Naptr, NextHop, Output, Policy, Question, Srv,
};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

mod quarantine;

use quarantine::Quarantine;

/// How to ask the DNS.
#[derive(Clone, Debug)]
pub struct ResolverConfig {
    /// Name servers, asked over UDP and TCP. Empty: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// How long one question may take, a repetition included. Default 2 s, under the 3 s after
    /// which an S-CSCF goes on without us.
    pub timeout: Duration,
    /// Answers remembered, at most. Default 4,096; the least used ones go first.
    pub cache_entries: u64,
    /// Addresses of names that are not asked for. Lower case, without a dot at the end.
    pub hosts: HashMap<String, Vec<IpAddr>>,
    /// Which transports and address families can be sent with.
    pub policy: Policy,
    /// How long a target that failed is tried last, when it does not say itself. Default 30 s.
    pub quarantine: Duration,
}

impl ResolverConfig {
    /// The defaults, for `policy`.
    pub fn new(policy: Policy) -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            cache_entries: 4096,
            hosts: HashMap::new(),
            policy,
            quarantine: Duration::from_secs(30),
        }
    }
}

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
#[error("the DNS cannot be asked: {0}")]
pub struct ResolverError(#[from] NetError);

/// Turns a next hop into the places to try, in order (RFC 3263).
///
/// May be used from any thread; the questions are asked on the runtime it was made on.
#[derive(Clone)]
pub struct Resolver {
    dns: Arc<TokioResolver>,
    config: Arc<ResolverConfig>,
    quarantine: Arc<Mutex<Quarantine>>,
    runtime: Handle,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver on the current runtime.
    ///
    /// # Errors
    /// When the configuration of the system cannot be read.
    pub fn new(config: ResolverConfig) -> Result<Self, ResolverError> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = if config.servers.is_empty() {
            Dns::builder(provider)?
        } else {
            let servers = config.servers.iter().copied().map(name_server).collect();
            Dns::builder_with_config(Servers::from_name_servers(servers), provider)
        };
        set_options(builder.options_mut(), &config);
        Ok(Self {
            dns: Arc::new(builder.build()?),
            quarantine: Arc::new(Mutex::new(Quarantine::new(config.quarantine))),
            config: Arc::new(config),
            runtime: Handle::current(),
        })
    }

    /// The places to try for `hop`, at least one, those that failed lately last. `None` when the
    /// DNS must be asked: only numeric hosts and configured names are known at once.
    ///
    /// # Errors
    /// Those of the search.
    pub fn locate_now(&self, hop: NextHop) -> Option<Result<Vec<Candidate>, LocateError>> {
        // No SRV record has been read, so no weight counts.
        self.advance(&mut self.begin(hop, 0), &mut Vec::new())
    }

    /// Like [`Resolver::locate_now`], but asks the DNS when it must. `random` is a random number:
    /// it spreads requests over SRV records by their weight (RFC 2782).
    ///
    /// # Errors
    /// Those of the search.
    pub async fn locate(&self, hop: NextHop, random: u64) -> Result<Vec<Candidate>, LocateError> {
        self.search(self.begin(hop, random)).await
    }

    /// The addresses of a host, in the order to try them: an address is itself, a name has what
    /// the configuration or its A and AAAA records say (RFC 4975 §6.1). Empty: there are none, or
    /// the DNS did not answer in time.
    pub async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(host).parse() {
            return vec![address];
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let question = Question::Address(name);
        let answer = match self.configured(&question) {
            Some(answer) => answer,
            None => {
                let asked = ask(Arc::clone(&self.dns), self.config.timeout, question);
                // An answer lost with its runtime is none.
                self.runtime.spawn(asked).await.map_or(Answer::Failed, |(_, answer)| answer)
            }
        };
        let Answer::Address(mut addresses) = answer else { return Vec::new() };
        let policy = &self.config.policy;
        addresses.retain(|address| if address.is_ipv4() { policy.ipv4 } else { policy.ipv6 });
        addresses
    }

    /// The hosts and ports that the SRV records of a service of `host` name, in the order to try
    /// them; none when there are no records. `service` is like `_msrps._tcp`.
    pub async fn services(&self, service: &str, host: &str) -> Vec<(String, u16)> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let question = Question::Srv(format!("{service}.{host}"));
        let answer = match self.configured(&question) {
            Some(answer) => answer,
            None => {
                let asked = ask(Arc::clone(&self.dns), self.config.timeout, question);
                self.runtime.spawn(asked).await.map_or(Answer::Failed, |(_, answer)| answer)
            }
        };
        let Answer::Srv(mut records) = answer else { return Vec::new() };
        // Of one priority, those with more weight first: the load of relays is no concern here.
        records.sort_by_key(|record| (record.priority, std::cmp::Reverse(record.weight)));
        let place = |record: Srv| (record.target.trim_end_matches('.').to_owned(), record.port);
        records.into_iter().map(place).collect()
    }

    fn begin(&self, hop: NextHop, random: u64) -> Locate {
        Locate::new(hop, self.config.policy.clone(), &mut || random)
    }

    async fn search(&self, mut search: Locate) -> Result<Vec<Candidate>, LocateError> {
        let mut questions = Vec::new();
        loop {
            if let Some(found) = self.advance(&mut search, &mut questions) {
                return found;
            }
            let mut asked = JoinSet::new();
            for question in questions.drain(..) {
                let answer = ask(Arc::clone(&self.dns), self.config.timeout, question);
                asked.spawn_on(answer, &self.runtime);
            }
            if asked.is_empty() {
                return Err(LocateError::DnsFailed);
            }
            while let Some(answered) = asked.join_next().await {
                // A question lost with its runtime stays open and ends the search above.
                if let Ok((question, answer)) = answered {
                    search.handle_answer(&question, answer);
                }
            }
        }
    }

    /// Runs the search as far as it goes without the DNS; what it wants to know is added to
    /// `questions`.
    fn advance(
        &self,
        search: &mut Locate,
        questions: &mut Vec<Question>,
    ) -> Option<Result<Vec<Candidate>, LocateError>> {
        while let Some(output) = search.poll_output() {
            match output {
                Output::Ask(question) => match self.configured(&question) {
                    Some(answer) => search.handle_answer(&question, answer),
                    None => questions.push(question),
                },
                Output::Located(candidates) => {
                    return Some(Ok(self.quarantine().order(Instant::now(), candidates)));
                }
                Output::Failed(error) => return Some(Err(error)),
            }
        }
        None
    }

    /// What the configuration says: a configured name has its addresses and no other records.
    fn configured(&self, question: &Question) -> Option<Answer> {
        match question {
            Question::Address(name) => self.config.hosts.get(name).cloned().map(Answer::Address),
            Question::Naptr(name) => self.config.hosts.get(name).map(|_| Answer::NotFound),
            Question::Srv(name) => {
                let (_service, rest) = name.split_once('.')?;
                let (_protocol, host) = rest.split_once('.')?;
                self.config.hosts.get(host).map(|_| Answer::NotFound)
            }
        }
    }

    /// A target failed: by a transport error, a timeout without any response, or a 503. It is
    /// tried last for `retry_after`, if it said so (RFC 3261 §21.5.4), else for
    /// [`ResolverConfig::quarantine`].
    pub fn failed(&self, candidate: Candidate, retry_after: Option<Duration>) {
        self.quarantine().add(Instant::now(), candidate, retry_after);
    }

    fn quarantine(&self) -> MutexGuard<'_, Quarantine> {
        self.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

fn set_options(options: &mut ResolverOpts, config: &ResolverConfig) {
    // The first question and one repetition.
    options.timeout = config.timeout / 2;
    options.attempts = 1;
    options.cache_size = config.cache_entries;
    options.ip_strategy = match (config.policy.ipv4, config.policy.ipv6) {
        (_, false) => LookupIpStrategy::Ipv4Only,
        (false, true) => LookupIpStrategy::Ipv6Only,
        (true, true) => LookupIpStrategy::Ipv4AndIpv6,
    };
}

async fn ask(dns: Arc<TokioResolver>, limit: Duration, question: Question) -> (Question, Answer) {
    let answer = timeout(limit, look_up(&dns, &question)).await.unwrap_or(Answer::Failed);
    (question, answer)
}

async fn look_up(dns: &TokioResolver, question: &Question) -> Answer {
    let (Question::Naptr(text) | Question::Srv(text) | Question::Address(text)) = question;
    let Ok(mut name) = Name::from_ascii(text) else { return Answer::NotFound };
    // Whole already: the search list of the host is for people who type.
    name.set_fqdn(true);
    let found = match question {
        Question::Naptr(_) => dns.lookup(name, RecordType::NAPTR).await.map(|found| {
            let records = found.answers().iter().filter_map(|record| naptr(&record.data));
            Answer::Naptr(records.collect())
        }),
        Question::Srv(_) => dns.lookup(name, RecordType::SRV).await.map(|found| {
            let records = found.answers().iter().filter_map(|record| srv(&record.data));
            Answer::Srv(records.collect())
        }),
        Question::Address(_) => {
            dns.lookup_ip(name).await.map(|found| Answer::Address(found.iter().collect()))
        }
    };
    found.unwrap_or_else(|error| {
        if error.is_no_records_found() {
            return Answer::NotFound;
        }
        tracing::debug!(%error, "DNS");
        Answer::Failed
    })
}

fn naptr(record: &RData) -> Option<Naptr> {
    let RData::NAPTR(record) = record else { return None };
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Some(Naptr {
        order: record.order,
        preference: record.preference,
        flags: text(&record.flags),
        services: text(&record.services),
        regexp: text(&record.regexp),
        replacement: record.replacement.to_ascii(),
    })
}

fn srv(record: &RData) -> Option<Srv> {
    let RData::SRV(record) = record else { return None };
    Some(Srv {
        priority: record.priority,
        weight: record.weight,
        port: record.port,
        target: record.target.to_ascii(),
    })
}
