//! What the server hosts: its own addresses, the domains it serves, the identities of services.

use std::fmt;
use std::net::IpAddr;

use hashbrown::HashMap;
use parlance_sip::uri::{Aor, SipUri, Uri};
use parlance_sip::{ListenerId, Method};

use crate::SessionCase;

/// A service with an identity of its own (OMA-TS-SIMPLE_IM §7.4, §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Creates a conference for who calls it (`conf-fcty-uri`).
    ConferenceFactory,
    /// Sends one message to many (`exploder-uri`).
    Exploder,
    /// A group: chat room or pre-arranged group.
    Group,
    /// The identity of a running session.
    Session,
    /// Conversation history (`conv-hist-func-uri`).
    History,
    /// Deferred messages (`deferred-msg-func-uri`).
    Deferred,
    /// Sessions established ahead of time.
    PreEstablished,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConferenceFactory => "the conference factory",
            Self::Exploder => "the exploder",
            Self::Group => "a group",
            Self::Session => "a session",
            Self::History => "the conversation history",
            Self::Deferred => "the deferred messages",
            Self::PreEstablished => "the pre-established sessions",
        })
    }
}

impl Service {
    /// The methods that may be sent to it (OMA-TS-SIMPLE_IM §7.1). OPTIONS always may.
    pub fn methods(self) -> &'static [Method<'static>] {
        use Method::{Ack, Bye, Cancel, Invite, Message, Options, Prack, Refer, Subscribe, Update};
        match self {
            Self::ConferenceFactory => {
                &[Invite, Ack, Cancel, Bye, Prack, Update, Refer, Subscribe, Options]
            }
            Self::Exploder => &[Message, Options],
            Self::Group => {
                &[Invite, Ack, Cancel, Bye, Prack, Update, Message, Refer, Subscribe, Options]
            }
            Self::Session => &[Invite, Ack, Cancel, Bye, Prack, Update, Refer, Subscribe, Options],
            Self::History => &[Invite, Ack, Cancel, Bye, Prack, Update, Options],
            // Retrieval, which is by INVITE (§7.3.3), is not here.
            Self::Deferred => &[Subscribe, Options],
            Self::PreEstablished => &[Invite, Ack, Cancel, Bye, Prack, Update, Options],
        }
    }

    /// The bodies it reads, as types for `Accept`.
    pub fn accepts(self) -> &'static [&'static str] {
        match self {
            Self::ConferenceFactory | Self::Group | Self::Session => {
                &["application/sdp", "application/resource-lists+xml", "multipart/mixed"]
            }
            Self::Exploder => &["multipart/mixed", "application/resource-lists+xml"],
            Self::History | Self::Deferred | Self::PreEstablished => {
                &["application/sdp", "multipart/mixed"]
            }
        }
    }

    /// The event packages one can subscribe to there.
    pub fn events(self) -> &'static [&'static str] {
        match self {
            Self::ConferenceFactory | Self::Group | Self::Session => &["conference"],
            Self::Deferred => &["message-summary"],
            Self::Exploder | Self::History | Self::PreEstablished => &[],
        }
    }
}

/// The user parts of our own Route and Request-URIs that name a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteUsers {
    /// Served users' own requests; default `im-orig`.
    pub originating: String,
    /// Requests to served users; default `im-term`.
    pub terminating: String,
    /// Third-party REGISTERs; default `im-reg`.
    pub registration: String,
}

impl Default for RouteUsers {
    fn default() -> Self {
        let name = |text: &str| text.to_owned();
        Self {
            originating: name("im-orig"),
            terminating: name("im-term"),
            registration: name("im-reg"),
        }
    }
}

/// Which parts of the service run in this server. Default: participating users only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Conferences, groups and exploding.
    pub controlling: bool,
    /// Conversation history.
    pub history: bool,
    /// The deferred function, as far as it can be called: `message-summary`.
    pub deferred: bool,
    /// Pre-established sessions.
    pub pre_established: bool,
    /// Settings that users publish (`im-settings`).
    pub settings: bool,
}

impl Running {
    /// Whether something answers for `service`.
    pub fn runs(&self, service: Service) -> bool {
        match service {
            Service::ConferenceFactory | Service::Exploder | Service::Group | Service::Session => {
                self.controlling
            }
            Service::History => self.history,
            Service::Deferred => self.deferred,
            Service::PreEstablished => self.pre_established,
        }
    }
}

/// Whom a Request-URI means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A service hosted here.
    Service(Service),
    /// The server itself.
    Server,
    /// A user, or at least an address, of a domain served here.
    Local,
    /// A telephone number: whose, the aliases tell.
    Telephone,
    /// Somebody elsewhere.
    Foreign,
    /// A URI of a scheme no message can be sent to.
    Unsupported,
}

/// A name or address of the server, with the port if one is meant.
#[derive(Clone, Debug)]
struct Own {
    host: String,
    /// The address, which may be written in many ways (RFC 3261 §19.1.4).
    ip: Option<IpAddr>,
    port: Option<u16>,
}

/// What the server hosts. Built from the configuration, then read only.
#[derive(Clone, Debug, Default)]
pub struct Services {
    own: Vec<Own>,
    domains: Vec<String>,
    identities: HashMap<Aor, Service>,
    /// Beginnings of user parts in a domain.
    families: Vec<(String, String, Service)>,
    listeners: HashMap<ListenerId, SessionCase>,
    /// What runs.
    pub running: Running,
    /// Whether requests without a further Route go to a next hop, whatever their target.
    pub next_hop: bool,
    /// The user parts that name a side.
    pub route_users: RouteUsers,
    /// The event package of the settings a client publishes; default `im-settings`.
    pub settings_event: String,
}

impl Services {
    /// A server that hosts nothing yet.
    pub fn new() -> Self {
        Self { settings_event: "im-settings".to_owned(), ..Self::default() }
    }

    /// Adds a name or address of the server: what stands in its `Via`, in a ServerName of the
    /// filter criteria, in its Contact; an IPv6 address with or without brackets. Without a port it
    /// is meant on every port.
    pub fn own(&mut self, host: &str, port: Option<u16>) {
        let ip = host.trim_matches(['[', ']']).parse().ok();
        self.own.push(Own { host: bare(host), ip, port });
    }

    /// Adds a domain whose users are served.
    pub fn domain(&mut self, domain: &str) {
        self.domains.push(bare(domain));
    }

    /// Adds the identity of a service.
    pub fn identity(&mut self, identity: Aor, service: Service) {
        self.identities.insert(identity, service);
    }

    /// Adds every identity of a domain whose user part begins with `prefix`: the groups or the
    /// sessions. An empty prefix takes the whole domain.
    pub fn family(&mut self, prefix: &str, domain: &str, service: Service) {
        self.families.push((prefix.to_owned(), bare(domain), service));
    }

    /// Says which side a listener stands for.
    pub fn listener(&mut self, listener: ListenerId, case: SessionCase) {
        self.listeners.insert(listener, case);
    }

    /// The side a listener stands for, if it stands for one.
    pub fn case_of(&self, listener: ListenerId) -> Option<SessionCase> {
        self.listeners.get(&listener).copied()
    }

    /// Whether host and port of a URI are the server's (RFC 3261 §16.4).
    pub fn is_own(&self, uri: &SipUri<'_>) -> bool {
        let host = uri.host.as_str();
        let host = host.strip_suffix('.').unwrap_or(host);
        let port = uri.port.unwrap_or(if uri.secure { 5061 } else { 5060 });
        let ip = uri.host.ip();
        self.own.iter().any(|own| {
            let same =
                if ip.is_some() { own.ip == ip } else { own.host.eq_ignore_ascii_case(host) };
            same && own.port.is_none_or(|own| own == port)
        })
    }

    /// Whether users of the domain in `identity` are served here. A telephone number belongs to no
    /// domain.
    pub fn serves(&self, identity: &Aor) -> bool {
        identity.domain().is_some_and(|domain| self.serves_domain(domain))
    }

    fn serves_domain(&self, domain: &str) -> bool {
        self.domains.iter().any(|known| known == domain)
    }

    /// Whom a Request-URI means.
    pub fn destination(&self, uri: &Uri<'_>) -> Destination {
        let Some(identity) = Aor::from_uri(uri) else { return Destination::Unsupported };
        if let Some(service) = self.service(&identity) {
            return Destination::Service(service);
        }
        match uri {
            Uri::Tel(_) => Destination::Telephone,
            Uri::Sip(sip) if self.is_own(sip) => Destination::Server,
            Uri::Sip(sip) if sip.user.is_none() && self.serves(&identity) => Destination::Server,
            Uri::Sip(_) if self.serves(&identity) => Destination::Local,
            Uri::Sip(sip) if sip.is_phone() => Destination::Telephone,
            Uri::Sip(_) => Destination::Foreign,
            Uri::Other(_) => Destination::Unsupported,
        }
    }

    /// The service an identity belongs to, running or not.
    pub fn service(&self, identity: &Aor) -> Option<Service> {
        if let Some(service) = self.identities.get(identity) {
            return Some(*service);
        }
        let (user, domain) = (identity.user()?, identity.domain()?);
        let of = |family: &&(String, String, Service)| {
            user.starts_with(family.0.as_str()) && domain == family.1
        };
        self.families.iter().find(of).map(|family| family.2)
    }
}

/// A host as hosts are compared: lower case, no final dot.
fn bare(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use parlance_sip::ListenerId;
    use parlance_sip::uri::Uri;

    use super::{Destination, Service, Services};
    use crate::SessionCase;

    fn services() -> Services {
        let mut services = Services::new();
        services.own("127.0.0.20", None);
        services.own("IM.ims.test", Some(5080));
        services.own("[2001:db8:0::20]", None);
        services.domain("ims.test");
        services.domain("IMS2.test.");
        services.identity("sip:im-exploder@ims.test".parse().unwrap(), Service::Exploder);
        services.family("im-group-", "ims.test", Service::Group);
        services.family("", "sessions.ims.test", Service::Session);
        services.listener(ListenerId(1), SessionCase::Terminating);
        services
    }

    // Covers: CORE-028, CORE-029
    #[test]
    fn a_request_uri_means_somebody() {
        #[rustfmt::skip]
        let table = [
            ("sip:im-exploder@ims.test",       Destination::Service(Service::Exploder)),
            ("sip:im-exploder@ims.test:5060;x", Destination::Service(Service::Exploder)),
            ("sip:im-group-7@ims.test",        Destination::Service(Service::Group)),
            ("sip:im-group-7@ims2.test",       Destination::Local),
            ("sip:s1@sessions.ims.test",       Destination::Service(Service::Session)),
            ("sip:im-term@127.0.0.20:5081",    Destination::Server),
            ("sip:im.ims.test:5080;lr",        Destination::Server),
            ("sip:im.ims.test",                Destination::Foreign),
            ("sip:[2001:DB8::20]:5080",        Destination::Server),
            ("sip:[2001:db8::20:5080]",        Destination::Foreign),
            ("sip:ims.test",                   Destination::Server),
            ("sip:bob@IMS.test",               Destination::Local),
            ("sips:bob@ims2.test",             Destination::Local),
            ("tel:+15550000002",               Destination::Telephone),
            ("sip:+15550000002@gw.test;user=phone", Destination::Telephone),
            ("sip:+15550000002@ims.test;user=phone", Destination::Local),
            ("sip:eve@elsewhere.test",         Destination::Foreign),
            ("urn:service:sos",                Destination::Unsupported),
            ("im:bob@ims.test",                Destination::Unsupported),
        ];
        let services = services();
        for (uri, expected) in table {
            let parsed = Uri::parse(uri.as_bytes()).unwrap();
            assert_eq!(services.destination(&parsed), expected, "{uri}");
        }
        assert_eq!(services.case_of(ListenerId(1)), Some(SessionCase::Terminating));
        assert_eq!(services.case_of(ListenerId(0)), None);
    }
}
