//! Finding where a request goes (RFC 3263), with the order of RFC 2782.
//!
//! [`Locate`] is told about the next hop, asks DNS questions and ends with candidates in the order
//! they are tried; [`FailOver`] walks them. Where a response goes, [`crate::Endpoint`]
//! knows (RFC 3261 §18.2.2).
//!
//! | State   | Input                            | Next    | Output                             |
//! |---------|----------------------------------|---------|------------------------------------|
//! | (new)   | address                          | Done    | `Located` (§4.2)                   |
//! | (new)   | transport we do not have         | Done    | `Failed(UnsupportedTransport)`     |
//! | (new)   | name, port                       | Address | ask for addresses (§4.2)           |
//! | (new)   | name, transport                  | Srv     | ask SRV of that transport (§4.2)   |
//! | (new)   | name                             | Naptr   | ask NAPTR (§4.1)                   |
//! | Naptr   | records that apply               | Srv     | ask SRV of each replacement        |
//! | Naptr   | none, or failed                  | Srv     | ask SRV of each of our transports  |
//! | Srv     | answer, others missing           | Srv     | none                               |
//! | Srv     | last answer, targets found       | Address | ask for the addresses of each      |
//! | Srv     | last answer, nothing found       | Address | ask for addresses of the name      |
//! | Srv     | last answer, only the target "." | Done    | `Failed(NoRecords)` (RFC 2782)     |
//! | Address | answer, others missing           | Address | none                               |
//! | Address | last answer, addresses found     | Done    | `Located`                          |
//! | Address | last answer, nothing found       | Done    | `Failed(NoRecords)`, `(DnsFailed)` |
//!
//! Every other answer is ignored. There is no timer: who asks the DNS also ends a question that
//! gets no answer, with [`Answer::Failed`].

mod failover;
mod hop;
mod records;

use std::collections::VecDeque;
use std::mem;
use std::net::{IpAddr, SocketAddr};

pub use self::failover::{Attempt, FailOver, Next};
pub use self::hop::{NextHop, Policy, TargetHost, TransportParam};
use self::records::Dice;
pub use self::records::{Naptr, Srv};
use crate::{Entropy, Transport};

/// Most records of one NAPTR or SRV answer that are looked at, the most preferred ones. Local
/// limit: an operator has a handful.
pub const RECORDS_MAX: usize = 32;

/// Most addresses of one name that are looked at, the first ones. Local limit.
pub const ADDRESSES_MAX: usize = 8;

/// Most targets, over all transports, whose addresses are asked for, the most preferred ones.
/// Local limit; with the NAPTR and SRV questions it also bounds the questions of one search.
pub const TARGETS_MAX: usize = 16;

/// Most candidates given, the most preferred ones. Local limit: each one tried costs a
/// transaction timeout.
pub const CANDIDATES_MAX: usize = 16;

/// A question to the DNS. Names are in lower case, without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// The NAPTR records of a name.
    Naptr(String),
    /// The SRV records of a name.
    Srv(String),
    /// The A and AAAA records of a name, aliases followed.
    Address(String),
}

/// What the DNS said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Naptr`].
    Naptr(Vec<Naptr>),
    /// To [`Question::Srv`].
    Srv(Vec<Srv>),
    /// To [`Question::Address`], in the order to try them.
    Address(Vec<IpAddr>),
    /// There is no such name, or it has no such records.
    NotFound,
    /// No server answered, or it could not.
    Failed,
}

/// Where to send, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The transport.
    pub transport: Transport,
    /// The address and port.
    pub address: SocketAddr,
}

/// Why there is no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// The URI asks for a transport that this server does not have.
    #[error("transport is not supported")]
    UnsupportedTransport,
    /// The DNS answered, and has no place for this name that we can reach.
    #[error("no usable records in the DNS")]
    NoRecords,
    /// The DNS did not answer, and what it did answer is not enough.
    #[error("the DNS did not answer")]
    DnsFailed,
}

/// What the caller must do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask the DNS. Questions may be asked at the same time and answered in any order.
    Ask(Question),
    /// The end: try these in order, at least one.
    Located(Vec<Candidate>),
    /// The end: there is none.
    Failed(LocateError),
}

/// One search for the places of a next hop.
#[derive(Debug)]
pub struct Locate {
    state: State,
    policy: Policy,
    large: bool,
    dice: Dice,
    dns_failed: bool,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    Naptr { target: String, sips: bool, default: Transport },
    Srv { target: String, default: Transport, services: Vec<Service> },
    Address { places: Vec<Place>, names: Vec<(String, Option<Vec<IpAddr>>)> },
    Done,
}

/// The SRV records of one transport; `None` until they are answered.
#[derive(Debug)]
struct Service {
    transport: Transport,
    name: String,
    records: Option<Vec<Srv>>,
}

/// A host and port to send to.
#[derive(Debug)]
struct Place {
    transport: Transport,
    host: TargetHost,
    port: u16,
}

impl Locate {
    /// Starts a search; one number is drawn from `entropy`, for the weights of SRV records.
    pub fn new(hop: NextHop, policy: Policy, entropy: &mut impl Entropy) -> Self {
        let large = hop.large;
        let mut search = Self {
            state: State::Done,
            policy,
            large,
            dice: Dice::new(entropy.next_u64()),
            dns_failed: false,
            outputs: VecDeque::new(),
        };
        search.state = search.begin(hop);
        search
    }

    /// Feeds the answer to a question. Answers to questions that are not open are ignored.
    pub fn handle_answer(&mut self, question: &Question, answer: Answer) {
        let state = mem::replace(&mut self.state, State::Done);
        self.state = self.next(state, question, answer);
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn begin(&mut self, hop: NextHop) -> State {
        let (asked, default) = match hop.transport(|transport| self.has(transport)) {
            Ok(found) => found,
            Err(error) => return self.fail(error),
        };
        let target = match hop.maddr.unwrap_or(hop.host) {
            TargetHost::Name(name) => plain(&name),
            host @ TargetHost::Address(_) => {
                let port = hop.port.unwrap_or(default.default_port());
                return self.ask_addresses(vec![Place { transport: default, host, port }]);
            }
        };
        if let Some(port) = hop.port {
            let host = TargetHost::Name(target);
            return self.ask_addresses(vec![Place { transport: default, host, port }]);
        }
        if asked {
            let services = vec![(default, service_name(default, &target))];
            return self.ask_services(target, default, services);
        }
        self.outputs.push_back(Output::Ask(Question::Naptr(target.clone())));
        State::Naptr { target, sips: hop.sips, default }
    }

    fn next(&mut self, state: State, question: &Question, answer: Answer) -> State {
        let failed = answer == Answer::Failed;
        match (state, question) {
            (State::Naptr { target, sips, default }, Question::Naptr(name)) if *name == target => {
                self.dns_failed |= failed;
                let records = if let Answer::Naptr(records) = answer { records } else { vec![] };
                self.naptr(target, sips, default, records)
            }
            (State::Srv { target, default, mut services }, Question::Srv(name)) => {
                let open =
                    |service: &&mut Service| service.name == *name && service.records.is_none();
                let records = if let Answer::Srv(records) = answer { records } else { vec![] };
                for service in services.iter_mut().filter(open) {
                    self.dns_failed |= failed;
                    service.records = Some(records.clone());
                }
                self.srv(target, default, services)
            }
            (State::Address { places, mut names }, Question::Address(name)) => {
                let mut open = names.iter_mut().filter(|(_, found)| found.is_none());
                if let Some((_, found)) = open.find(|(open, _)| open == name) {
                    self.dns_failed |= failed;
                    let addresses = if let Answer::Address(list) = answer { list } else { vec![] };
                    *found = Some(addresses);
                }
                self.address(places, names)
            }
            (
                state @ (State::Naptr { .. }
                | State::Srv { .. }
                | State::Address { .. }
                | State::Done),
                Question::Naptr(_) | Question::Srv(_) | Question::Address(_),
            ) => state,
        }
    }

    /// Naptr, answered: which transports, and under which names their SRV records are (§4.1).
    fn naptr(
        &mut self,
        target: String,
        sips: bool,
        default: Transport,
        records: Vec<Naptr>,
    ) -> State {
        let mut services = records::services(records, sips);
        services.retain(|(transport, _)| self.has(*transport));
        // The first NAPTR record also says the transport when its SRV records are missing (§4.2).
        let default = services.first().map_or(default, |(transport, _)| *transport);
        if services.is_empty() {
            let own = self.policy.transports.iter().copied();
            let own = own.filter(|transport| !sips || *transport == Transport::Tls);
            services = own.map(|transport| (transport, service_name(transport, &target))).collect();
        }
        self.ask_services(target, default, services)
    }

    fn ask_services(
        &mut self,
        target: String,
        default: Transport,
        services: Vec<(Transport, String)>,
    ) -> State {
        let mut asked: Vec<Service> = Vec::new();
        for (transport, name) in services {
            if !asked.iter().any(|service| service.name == name) {
                self.outputs.push_back(Output::Ask(Question::Srv(name.clone())));
            } else if asked
                .iter()
                .any(|service| service.name == name && service.transport == transport)
            {
                continue;
            }
            asked.push(Service { transport, name, records: None });
        }
        State::Srv { target, default, services: asked }
    }

    /// Srv: once all are answered, the places in the order to try them (§4.2, RFC 2782).
    fn srv(&mut self, target: String, default: Transport, services: Vec<Service>) -> State {
        if services.iter().any(|service| service.records.is_none()) {
            return State::Srv { target, default, services };
        }
        let mut places = Vec::new();
        let mut denied = false;
        for service in services {
            let transport = service.transport;
            for record in records::in_order(service.records.unwrap_or_default(), &mut self.dice) {
                let host = plain(&record.target);
                if host.is_empty() {
                    denied = true;
                } else {
                    places.push(Place {
                        transport,
                        host: TargetHost::parse(&host),
                        port: record.port,
                    });
                }
            }
        }
        places.truncate(TARGETS_MAX);
        if places.is_empty() && denied {
            return self.fail(LocateError::NoRecords);
        }
        if places.is_empty() {
            let port = default.default_port();
            places.push(Place { transport: default, host: TargetHost::Name(target), port });
        }
        self.ask_addresses(places)
    }

    fn ask_addresses(&mut self, places: Vec<Place>) -> State {
        let mut names: Vec<(String, Option<Vec<IpAddr>>)> = Vec::new();
        for place in &places {
            if let TargetHost::Name(name) = &place.host
                && !names.iter().any(|(asked, _)| asked == name)
            {
                self.outputs.push_back(Output::Ask(Question::Address(name.clone())));
                names.push((name.clone(), None));
            }
        }
        self.address(places, names)
    }

    /// Address: once all are answered, the candidates.
    fn address(&mut self, places: Vec<Place>, names: Vec<(String, Option<Vec<IpAddr>>)>) -> State {
        if names.iter().any(|(_, found)| found.is_none()) {
            return State::Address { places, names };
        }
        let mut candidates = Vec::new();
        for place in places {
            let addresses = match &place.host {
                TargetHost::Address(address) => std::slice::from_ref(address),
                TargetHost::Name(name) => {
                    let found = names.iter().find(|(asked, _)| asked == name);
                    found.and_then(|(_, found)| found.as_deref()).unwrap_or_default()
                }
            };
            for address in addresses.iter().take(ADDRESSES_MAX) {
                let reached = if address.is_ipv4() { self.policy.ipv4 } else { self.policy.ipv6 };
                let address = SocketAddr::new(*address, place.port);
                let candidate = Candidate { transport: place.transport, address };
                if reached && !candidates.contains(&candidate) {
                    candidates.push(candidate);
                }
            }
        }
        if self.large && self.has(Transport::Tcp) {
            candidates = udp_last(candidates);
        }
        candidates.truncate(CANDIDATES_MAX);
        if candidates.is_empty() {
            let error =
                if self.dns_failed { LocateError::DnsFailed } else { LocateError::NoRecords };
            return self.fail(error);
        }
        self.outputs.push_back(Output::Located(candidates));
        State::Done
    }

    fn fail(&mut self, error: LocateError) -> State {
        self.outputs.push_back(Output::Failed(error));
        State::Done
    }

    fn has(&self, transport: Transport) -> bool {
        self.policy.transports.contains(&transport)
    }
}

/// The candidates without UDP, then those of UDP over TCP, then over UDP (RFC 3261 §18.1.1).
fn udp_last(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let (udp, mut ordered): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.transport == Transport::Udp);
    for candidate in &udp {
        let over_tcp = Candidate { transport: Transport::Tcp, ..*candidate };
        if !ordered.contains(&over_tcp) {
            ordered.push(over_tcp);
        }
    }
    ordered.extend(udp);
    ordered
}

/// The name of a domain's SRV records for a transport (§4.1, §4.2).
fn service_name(transport: Transport, domain: &str) -> String {
    match transport {
        Transport::Udp => format!("_sip._udp.{domain}"),
        Transport::Tcp => format!("_sip._tcp.{domain}"),
        Transport::Tls => format!("_sips._tcp.{domain}"),
    }
}

/// A name in lower case without the dot at the end.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
