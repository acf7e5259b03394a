//! What one key alone cannot tell: combinations, files, and what must be a URI or a name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

use parlance_sip::Transport;
use parlance_sip::uri::{Aor, Host, Uri};
use tracing_subscriber::EnvFilter;

use super::net::tls_name;
use super::{Authentication, Config, Kind, Listen, Mistakes, Side, TransportName};

/// Shortest token of the administration interface, in characters; local value.
const TOKEN_MIN: usize = 16;

impl Config {
    /// Adds to `mistakes` what is wrong beyond single values. Looks at the files that are named,
    /// binds nothing.
    pub fn check(&self, mistakes: &mut Mistakes) {
        self.check_listeners(mistakes);
        self.check_names(mistakes);
        self.check_next_hop(mistakes);
        self.check_trust(mistakes);
        self.check_authentication(mistakes);
        self.check_net(mistakes);
        self.check_roles(mistakes);
        self.check_store(mistakes);
        self.check_operation(mistakes);
    }

    fn check_listeners(&self, mistakes: &mut Mistakes) {
        if self.sip.listen.is_empty() {
            mistakes.add("sip.listen", "at least one listener is needed".to_owned());
        }
        let mut taken = Taken::default();
        for (position, listen) in self.sip.listen.iter().enumerate() {
            let key = format!("sip.listen[{position}]");
            check_listener(&key, listen, mistakes);
            for transport in &listen.transports {
                let key = format!("{key}.address");
                taken.take(&key, listen.address, Transport::from(*transport), mistakes);
            }
        }
        taken.take("http.listen", self.http.listen, Transport::Tcp, mistakes);
        self.msrp.check(&mut taken, mistakes);
        self.check_sides(mistakes);
    }

    /// A server that hears only one side is an oversight: the other requests would find no port.
    fn check_sides(&self, mistakes: &mut Mistakes) {
        let has = |side: Side| {
            let mut listeners = self.sip.listen.iter();
            listeners.any(|listen| listen.side == side || listen.side == Side::Any)
        };
        let sides = [
            (Side::Originating, "originating"),
            (Side::Terminating, "terminating"),
            (Side::Registration, "registration"),
        ];
        for (_, name) in sides.into_iter().filter(|(side, _)| !has(*side)) {
            if !self.sip.listen.is_empty() {
                mistakes.add("sip.listen", format!("no listener has the side {name} or any"));
            }
        }
    }

    fn check_names(&self, mistakes: &mut Mistakes) {
        if self.sip.domains.is_empty() {
            mistakes.add("sip.domains", "at least one domain is needed".to_owned());
        }
        for domain in &self.sip.domains {
            if Host::parse(domain).is_err() {
                mistakes.add("sip.domains", format!("{domain:?} is no domain"));
            }
        }
        for name in &self.sip.names {
            if host_port(name).is_none() {
                mistakes.add("sip.names", format!("{name:?} is neither HOST nor HOST:PORT"));
            }
        }
    }

    fn check_next_hop(&self, mistakes: &mut Mistakes) {
        let Some(text) = &self.sip.next_hop else { return };
        let Ok(Uri::Sip(uri)) = Uri::parse(text.as_bytes()) else {
            return mistakes.add("sip.next_hop", format!("{text:?} is no sip: or sips: URI"));
        };
        let wanted = if uri.secure { Some(Transport::Tls) } else { uri.transport() };
        let speaks = |wanted: Transport| {
            let mut spoken = self.sip.listen.iter().flat_map(|listen| &listen.transports);
            spoken.any(|transport| Transport::from(*transport) == wanted)
        };
        if uri.params.has("transport") && uri.transport().is_none() {
            mistakes.add("sip.next_hop", "its transport is none of udp, tcp, tls".to_owned());
        } else if let Some(wanted) = wanted.filter(|wanted| !speaks(*wanted)) {
            let what = format!("it needs {wanted}, which no listener speaks");
            mistakes.add("sip.next_hop", what);
        }
    }

    fn check_trust(&self, mistakes: &mut Mistakes) {
        for (position, peer) in self.sip.peer.iter().enumerate() {
            if peer.name.is_empty() {
                mistakes.add(&format!("sip.peer[{position}].name"), "is missing".to_owned());
            }
        }
        if let Err(errors) = self.sip.trust() {
            errors.iter().for_each(|error| mistakes.add("sip.peer", error.to_string()));
        }
        if !self.sip.trust_loopback && self.sip.peer.is_empty() {
            let what = "nobody is trusted: name a peer, or set trust_loopback".to_owned();
            mistakes.add("sip.peer", what);
        }
        let verifies = self.sip.listen.iter().any(|listen| listen.client_roots.is_some());
        if !verifies && self.sip.peer.iter().any(|peer| !peer.certificates.is_empty()) {
            let what = "certificates are named, but no listener has client_roots to verify them";
            mistakes.add("sip.peer", what.to_owned());
        }
    }

    fn check_authentication(&self, mistakes: &mut Mistakes) {
        match (self.sip.authentication, &self.sip.digest_file) {
            (Authentication::Digest, None) => {
                let what = "is needed when authentication is \"digest\"".to_owned();
                mistakes.add("sip.digest_file", what);
            }
            (Authentication::Asserted, Some(_)) => {
                let what = "is of no use unless authentication is \"digest\"".to_owned();
                mistakes.add("sip.digest_file", what);
            }
            (Authentication::Digest, Some(file)) => {
                if !self.sip.peer.iter().any(|peer| peer.kind == Kind::Proxy) {
                    let what = "\"digest\" challenges requests of peers of kind \"proxy\" only, \
                                and there is none";
                    mistakes.add("sip.authentication", what.to_owned());
                }
                if let Err(wrong) = crate::digest::Credentials::read(file) {
                    wrong.into_iter().for_each(|why| mistakes.add("sip.digest_file", why));
                }
            }
            (Authentication::Asserted, None) => {}
        }
    }

    fn check_roles(&self, mistakes: &mut Mistakes) {
        self.check_participating(mistakes);
        let identities = [
            (
                "participating.pre_established_uri",
                self.participating.pre_established_uri(&self.sip),
            ),
            ("history.service_uri", self.history.identity(&self.sip)),
        ];
        for (key, identity) in identities {
            if !identity.parse::<Aor>().is_ok_and(|identity| identity.scheme() == "sip") {
                mistakes.add(key, format!("{identity:?} is no SIP URI"));
            }
        }
        self.controlling.check(&self.sip, mistakes);
        self.explode.check(&self.sip, &self.controlling, mistakes);
        for mistake in self.deferred.policy(&self.sip).mistakes() {
            let (key, what) = mistake.split_once(": ").unwrap_or(("", &mistake));
            mistakes.add(&format!("deferred.{key}"), what.to_owned());
        }
        if let Some(identity) = &self.registration.reg_event_identity
            && !matches!(Uri::parse(identity.as_bytes()), Ok(Uri::Sip(_)))
        {
            let what = format!("{identity:?} is no SIP URI");
            mistakes.add("registration.reg_event_identity", what);
        }
        if let Err(why) = self.sip.filter(&self.settings.event) {
            mistakes.add("sip.filter_file", why);
        }
    }

    fn check_net(&self, mistakes: &mut Mistakes) {
        check_file("net.tls_roots", self.net.tls_roots.as_deref(), mistakes);
        for pair in &self.net.tls_names {
            if tls_name(pair).is_none() {
                mistakes.add("net.tls_names", format!("{pair:?} is not ADDRESS=NAME"));
            }
        }
        if self.sip.t2_ms < self.sip.t1_ms {
            mistakes.add("sip.t2_ms", "is below t1_ms (RFC 3261 §17.1.2.2)".to_owned());
        }
    }

    fn check_store(&self, mistakes: &mut Mistakes) {
        let path = &self.store.path;
        if path.exists() && !path.is_dir() {
            mistakes.add("store.path", format!("{} is no directory", path.display()));
        }
        if self.store.reseal && self.store.key.is_none() && self.store.key_file.is_none() {
            mistakes.add("store.reseal", "needs a key".to_owned());
        }
        match (&self.store.key, &self.store.key_file) {
            (Some(_), Some(_)) => {
                let what = "stands beside key_file; one of them is enough".to_owned();
                mistakes.add("store.key", what);
            }
            (key, _) => {
                let name = if key.is_some() { "store.key" } else { "store.key_file" };
                if let Err(wrong) = self.store.keys() {
                    wrong.into_iter().for_each(|why| mistakes.add(name, why));
                }
            }
        }
    }

    fn check_operation(&self, mistakes: &mut Mistakes) {
        if let Some(token) = &self.http.admin_token
            && (token.reveal().len() < TOKEN_MIN || token.reveal().contains(char::is_whitespace))
        {
            let what = format!("must have at least {TOKEN_MIN} characters and no white space");
            mistakes.add("http.admin_token", what);
        }
        if let Err(error) = EnvFilter::builder().parse(&self.log.level) {
            mistakes.add("log.level", error.to_string());
        }
    }
}

fn check_listener(key: &str, listen: &Listen, mistakes: &mut Mistakes) {
    let mut wrong =
        |name: &str, what: &str| mistakes.add(&format!("{key}.{name}"), what.to_owned());
    let spoken = &listen.transports;
    let tls = spoken.contains(&TransportName::Tls);
    if spoken.is_empty() {
        wrong("transports", "at least one of udp, tcp, tls is needed");
    }
    let twice =
        spoken.iter().enumerate().any(|(at, name)| spoken.iter().take(at).any(|n| n == name));
    if twice {
        wrong("transports", "one of them stands twice");
    }
    if tls && spoken.contains(&TransportName::Tcp) {
        wrong("transports", "tcp and tls cannot share an address");
    }
    if tls && listen.certificate.is_none() {
        wrong("certificate", "is needed for tls");
    }
    if tls && listen.key.is_none() {
        wrong("key", "is needed for tls");
    }
    let files = [
        ("certificate", &listen.certificate),
        ("key", &listen.key),
        ("client_roots", &listen.client_roots),
    ];
    for (name, file) in &files {
        if !tls && file.is_some() {
            wrong(name, "is of no use without tls");
        }
    }
    if listen.client_required && listen.client_roots.is_none() {
        wrong("client_required", "needs client_roots");
    }
    match &listen.advertise {
        None if listen.address.ip().is_unspecified() => {
            wrong("advertise", "is needed, as the address is no place to answer to");
        }
        Some(text) if host_port(text).is_none() => wrong("advertise", "is not HOST or HOST:PORT"),
        _ => {}
    }
    for (name, file) in files {
        check_file(&format!("{key}.{name}"), file.as_deref(), mistakes);
    }
}

pub(super) fn check_file(key: &str, file: Option<&Path>, mistakes: &mut Mistakes) {
    let Some(file) = file else { return };
    if let Err(error) = std::fs::File::open(file) {
        mistakes.add(key, format!("{}: {error}", file.display()));
    }
}

/// Reads `HOST` or `HOST:PORT`; IPv6 addresses in brackets.
pub(crate) fn host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
        _ => (text, None),
    };
    Host::parse(host).is_ok().then_some((host, port))
}

/// The addresses that are spoken for.
#[derive(Default)]
pub(super) struct Taken(HashMap<(u16, bool), Vec<(SocketAddr, String)>>);

impl Taken {
    /// Port 0 is never taken. The unspecified address takes every address of its family.
    pub(super) fn take(
        &mut self,
        key: &str,
        address: SocketAddr,
        transport: Transport,
        mistakes: &mut Mistakes,
    ) {
        if address.port() == 0 {
            return;
        }
        let stream = transport.is_reliable();
        let others = self.0.entry((address.port(), stream)).or_default();
        let same = |other: &SocketAddr| {
            let family = other.is_ipv4() == address.is_ipv4();
            let whole = other.ip().is_unspecified() || address.ip().is_unspecified();
            other.ip() == address.ip() || family && whole
        };
        if let Some((other, owner)) = others.iter().find(|(other, _)| same(other)) {
            let what = format!("{address} {transport} is taken by {owner} ({other})");
            mistakes.add(key, what);
        }
        others.push((address, key.to_owned()));
    }
}
