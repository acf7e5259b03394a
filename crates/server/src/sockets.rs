//! The listeners of the configuration as sockets, one for each address and transport.

use std::net::SocketAddr;

use parlance_isc::{Locals, Socket};
use parlance_net::{Listener, TlsServer};
use parlance_sip::{ListenerId, Transport};

use crate::config::{Listen, Side, Sip, host_port};

/// One socket that is to be bound. Its place in the list is its [`ListenerId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is bound.
    pub listener: Listener,
    /// What it is for.
    pub side: Side,
    /// What stands in our `Via` instead of the address.
    advertise: Option<String>,
}

impl Plan {
    /// The `host:port` of our `Via`, for the address it was bound to.
    fn sent_by(&self, bound: SocketAddr) -> String {
        match self.advertise.as_deref().and_then(host_port) {
            Some((host, port)) => format!("{host}:{}", port.unwrap_or(bound.port())),
            None => bound.to_string(),
        }
    }
}

/// The sockets to bind, in the order of the configuration.
pub fn plan(sip: &Sip) -> Vec<Plan> {
    let names: Vec<String> =
        sip.peer.iter().flat_map(|peer| peer.certificates.iter().cloned()).collect();
    let one = |listen: &Listen, transport: Transport| Plan {
        listener: Listener {
            address: listen.address,
            transport,
            tls: tls(listen, &names).filter(|_| transport == Transport::Tls),
        },
        side: listen.side,
        advertise: listen.advertise.clone(),
    };
    let transports = |listen: &Listen| {
        let transports: Vec<Transport> =
            listen.transports.iter().map(|name| Transport::from(*name)).collect();
        transports
    };
    let of = |listen: &Listen| {
        let plans: Vec<Plan> =
            transports(listen).into_iter().map(|transport| one(listen, transport)).collect();
        plans
    };
    sip.listen.iter().flat_map(of).collect()
}

fn tls(listen: &Listen, names: &[String]) -> Option<TlsServer> {
    Some(TlsServer {
        certificate: listen.certificate.clone()?,
        key: listen.key.clone()?,
        client_roots: listen.client_roots.clone(),
        client_required: listen.client_required,
        trusted_names: names.to_vec(),
    })
}

/// The sockets as the shards know them, once they are bound to `addresses`.
pub fn locals(plans: &[Plan], addresses: &[SocketAddr]) -> Locals {
    let numbered = plans.iter().zip(addresses).zip(0..);
    let local = numbered.map(|((plan, address), number)| Socket {
        id: ListenerId(number),
        transport: plan.listener.transport,
        sent_by: plan.sent_by(*address),
    });
    Locals(local.collect())
}

/// The `host:port` at which an S-CSCF finds the listener for `side`.
pub(crate) fn named(sip: &Sip, side: Side) -> String {
    let for_side = sip.listen.iter().find(|listen| listen.side == side);
    let listen = for_side.or_else(|| sip.listen.iter().find(|listen| listen.side == Side::Any));
    let default = Listen::default();
    let listen = listen.unwrap_or(&default);
    match listen.advertise.as_deref().and_then(host_port) {
        Some((host, port)) => format!("{host}:{}", port.unwrap_or(listen.address.port())),
        None => listen.address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::Transport;

    use super::{locals, plan};
    use crate::config::{Config, Side};

    // Covers: CORE-029
    #[test]
    fn each_address_and_transport_is_a_socket_with_a_side() {
        let (config, _) = Config::parse(
            "[[sip.listen]]\naddress = \"127.0.0.1:0\"\nside = \"originating\"\n\
             [[sip.listen]]\naddress = \"[::]:5081\"\nside = \"terminating\"\n\
             transports = [\"tcp\"]\nadvertise = \"im.ims.test\"\n",
            std::iter::empty(),
        );
        let plans = plan(&config.sip);
        let found: Vec<_> = plans.iter().map(|plan| (plan.listener.transport, plan.side)).collect();
        let expected = [
            (Transport::Udp, Side::Originating),
            (Transport::Tcp, Side::Originating),
            (Transport::Tcp, Side::Terminating),
        ];
        assert_eq!(found, expected);
        let bound =
            ["127.0.0.1:7001", "127.0.0.1:7002", "[::]:5081"].map(|text| text.parse().unwrap());
        let locals = locals(&plans, &bound);
        let sent_by: Vec<_> = locals.0.iter().map(|local| local.sent_by.as_str()).collect();
        assert_eq!(sent_by, ["127.0.0.1:7001", "127.0.0.1:7002", "im.ims.test:5081"]);
        assert_eq!(locals.0[2].id.0, 2);
    }
}
