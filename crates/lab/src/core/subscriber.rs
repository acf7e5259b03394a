//! The HSS and the registrar: who there is and where they are.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use parlance_isc::ifc::RegistrationType;
use tokio::time::Instant;

/// A user of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The public identity: `sip:alice@ims.test`.
    pub identity: String,
    /// Other identities of the same user: `tel:+15550000001`.
    pub aliases: Vec<String>,
    /// The addresses of the user's UEs: what comes from there was sent by the user.
    pub addresses: Vec<SocketAddr>,
}

/// One registered contact.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    /// The Contact URI.
    pub(super) uri: String,
    /// Where the REGISTER came from, and requests go.
    pub(super) address: SocketAddr,
    until: Instant,
}

/// A user and where they are.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) subscription: Subscription,
    bindings: Vec<Binding>,
    /// The last REGISTER and its period.
    pub(super) last: Option<(Bytes, Duration)>,
}

/// Contacts a user has at most; an older one goes for a new one.
const BINDINGS_MAX: usize = 8;

impl Subscriber {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self { subscription, bindings: Vec::new(), last: None }
    }

    pub(super) fn is_registered(&self, now: Instant) -> bool {
        self.bindings(now).next().is_some()
    }

    /// The contacts that have not run out.
    pub(super) fn bindings(&self, now: Instant) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(move |binding| binding.until > now)
    }

    pub(super) fn clear(&mut self) {
        self.bindings.clear();
    }

    pub(super) fn has_address(&self, address: SocketAddr) -> bool {
        self.subscription.addresses.contains(&address)
    }

    /// Binds a contact, or ends it when `period` is zero; says what kind of registration it was.
    pub(super) fn bind(
        &mut self,
        uri: &str,
        address: SocketAddr,
        period: Duration,
    ) -> RegistrationType {
        let now = Instant::now();
        let before = self.is_registered(now);
        self.bindings.retain(|binding| binding.until > now && binding.uri != uri);
        if !period.is_zero() {
            if self.bindings.len() >= BINDINGS_MAX {
                self.bindings.remove(0);
            }
            let uri = uri.to_owned();
            self.bindings.push(Binding { uri, address, until: now + period });
        }
        match (before, self.is_registered(now)) {
            (false, true) => RegistrationType::Initial,
            (true, true) => RegistrationType::ReRegistration,
            (_, false) => RegistrationType::DeRegistration,
        }
    }
}

/// Whether an address is one of an IP host, whatever its port.
pub(super) fn same_host(address: SocketAddr, host: IpAddr) -> bool {
    address.ip() == host
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parlance_isc::ifc::RegistrationType::{DeRegistration, Initial, ReRegistration};
    use tokio::time::Instant;

    use super::{BINDINGS_MAX, Subscriber, Subscription};

    #[tokio::test(start_paused = true)]
    async fn contacts_come_and_go() {
        let address = "10.0.0.9:5060".parse().unwrap();
        let identity = "sip:a@b".to_owned();
        let mut user =
            Subscriber::new(Subscription { identity, aliases: vec![], addresses: vec![address] });
        let minute = Duration::from_secs(60);
        assert_eq!(user.bind("sip:1", address, minute), Initial);
        assert_eq!(user.bind("sip:1", address, minute), ReRegistration);
        assert_eq!(user.bind("sip:2", address, minute), ReRegistration);
        assert_eq!(user.bind("sip:1", address, Duration::ZERO), ReRegistration);
        assert_eq!(user.bind("sip:2", address, Duration::ZERO), DeRegistration);
        user.bind("sip:1", address, minute);
        tokio::time::advance(minute).await;
        assert!(!user.is_registered(Instant::now()));
        assert_eq!(user.bind("sip:1", address, minute), Initial);
        for number in 0..BINDINGS_MAX {
            user.bind(&format!("sip:x{number}"), address, minute);
        }
        assert_eq!(user.bindings(Instant::now()).count(), BINDINGS_MAX);
    }
}
