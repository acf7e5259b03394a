//! Connections that we open: the addresses of the host in order, then TLS (RFC 4975 §5.4, §14.4).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use parlance_msrp::{ConnectError, ConnectionId, Hop, Input, Peer};
use rustls::ClientConnection;
use rustls_pki_types::ServerName;

use super::Core;
use crate::Resolver;
use crate::msrp::letter::Letter;
use crate::msrp::link::{Link, LinkRef, Opening, Way};
use crate::msrp::mailbox::Returned;
use crate::msrp::socket::{Socket, Stream};

/// The port where the URI has none (RFC 4975 §6).
const PORT: u16 = 2855;

/// How often the addresses of a host are offered to a core that has no room, and how long between.
const OFFERS_MAX: usize = 100;
const OFFER_INTERVAL: std::time::Duration = std::time::Duration::from_millis(10);

impl Core {
    /// Opens a connection of the node.
    pub(super) fn connect(&mut self, id: ConnectionId, hop: Hop) {
        let Ok(admission) = self.common.admissions.admit(None) else {
            let error = ConnectError::Unreachable;
            let failed = Input::ConnectFailed { connection: id, error };
            return self.node.handle_input(self.now, failed);
        };
        let (host, port) = match &hop.through {
            Some((host, port)) => (host.clone(), Some(*port)),
            None => (hop.host.clone(), hop.port),
        };
        let secure = hop.secure;
        let opening = Opening { hop, addresses: Vec::new(), stream: None, untrusted: false };
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut link = Link::new(Way::Opening(Box::new(opening)), unknown, self.now);
        (link.id, link.admission) = (Some(id), Some(admission));
        let key = self.links.insert(link);
        self.common.ours.connections.increment(1.0);
        let Some(reference) = self.links.reference(key) else { return };
        if let Some(address) = numeric(&host) {
            let address = SocketAddr::new(address, port.unwrap_or(PORT));
            return self.resolved(reference, vec![address]);
        }
        let (common, core) = (Arc::clone(&self.common), self.number);
        self.common.runtime.spawn(async move {
            let addresses = look_up(&common.resolver, &host, port, secure).await;
            let mut letter = Letter::Resolved(reference, addresses);
            for _ in 0..OFFERS_MAX {
                let Some(mailbox) = common.mailbox(core) else { return };
                match mailbox.send(letter) {
                    Err(Returned::Full(back)) => letter = back,
                    Ok(()) | Err(Returned::Closed(_)) => return,
                }
                tokio::time::sleep(OFFER_INTERVAL).await;
            }
        });
    }

    /// The addresses of a host are known.
    pub(super) fn resolved(&mut self, link: LinkRef, addresses: Vec<SocketAddr>) {
        let Some(key) = self.links.resolve(link) else { return };
        let Some(link) = self.links.get(key) else { return };
        let Way::Opening(opening) = &mut link.way else { return };
        if addresses.is_empty() {
            return self.give_up(key, ConnectError::Unresolved);
        }
        opening.addresses = addresses;
        opening.addresses.reverse();
        self.try_next(key);
    }

    /// Tries the next address.
    fn try_next(&mut self, key: usize) {
        loop {
            let now = self.now;
            let Some(link) = self.links.get(key) else { return };
            let Way::Opening(opening) = &mut link.way else { return };
            let Some(address) = opening.addresses.pop() else {
                let error = match opening.untrusted {
                    true => ConnectError::Certificate,
                    false => ConnectError::Unreachable,
                };
                return self.give_up(key, error);
            };
            let stream = TcpStream::connect(address);
            (link.remote, link.since) = (address, now);
            match stream {
                Ok(stream) => {
                    opening.stream = Some(stream);
                    self.register(key);
                    return;
                }
                Err(error) => tracing::debug!(%error, %address, "connect"),
            }
        }
    }

    /// The address being tried did not do; the next one is.
    pub(super) fn fail_over(&mut self, key: usize) {
        let Some(link) = self.links.get(key) else { return };
        match std::mem::replace(&mut link.way, Way::Gone) {
            Way::Opening(mut opening) => {
                opening.stream = None;
                link.way = Way::Opening(opening);
            }
            Way::Shaking(_, Some(mut opening)) => {
                opening.untrusted = true;
                link.way = Way::Opening(opening);
            }
            other => {
                link.way = other;
                return;
            }
        }
        self.try_next(key);
    }

    /// TCP may stand, or have failed.
    pub(super) fn step(&mut self, key: usize) {
        let Some(link) = self.links.get(key) else { return };
        let Way::Opening(opening) = &mut link.way else { return };
        let Some(stream) = &mut opening.stream else { return };
        if !matches!(stream.take_error(), Ok(None)) {
            return self.fail_over(key);
        }
        match stream.peer_addr() {
            Ok(_) => {}
            // Not yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotConnected => return,
            Err(_) => return self.fail_over(key),
        }
        let Some(stream) = opening.stream.take() else { return };
        self.prepare(&stream);
        self.secure(key, stream);
    }

    /// Begins TLS where it is wanted.
    fn secure(&mut self, key: usize, stream: TcpStream) {
        let Some(link) = self.links.get(key) else { return };
        let Way::Opening(opening) = std::mem::replace(&mut link.way, Way::Gone) else { return };
        let stream = match opening.hop.secure {
            false => Some(Stream::Tcp(stream)),
            true => {
                let config = self.common.outgoing.get().client(&opening.hop.fingerprints);
                let session = server_name(&opening.hop.host)
                    .and_then(|name| ClientConnection::new(config, name).ok());
                session.map(|session| Stream::tls(stream, session.into()))
            }
        };
        let Some(stream) = stream else {
            link.way = Way::Opening(opening);
            return self.give_up(key, ConnectError::Certificate);
        };
        link.way = Way::Shaking(Socket::new(stream, None), Some(opening));
        self.shake(key);
    }

    /// The peer is there, and who it has to be.
    pub(super) fn connected(&mut self, key: usize) {
        let Some(link) = self.links.get(key) else { return };
        let Way::Shaking(mut socket, Some(opening)) = std::mem::replace(&mut link.way, Way::Gone)
        else {
            return;
        };
        let outgoing = self.common.outgoing.get();
        let name = server_name(&opening.hop.host);
        let shown = socket.certificates().zip(name);
        let tls = shown.map(|(chain, name)| Box::new(outgoing.peer(chain, &name)));
        let local = socket.local().unwrap_or(link.remote);
        let peer = Peer { remote: link.remote, local, tls, websocket: false };
        (link.way, link.since) = (Way::Open(socket), self.now);
        self.common.meter.connected.increment(1);
        if let Some(connection) = link.id {
            self.node.handle_input(self.now, Input::Connected { connection, peer });
            // What waited for the connection.
            self.dirty.push(connection);
        }
        self.mark_readable(key);
    }

    /// No address did.
    pub(super) fn give_up(&mut self, key: usize, error: ConnectError) {
        let meter = &self.common.meter;
        match error {
            ConnectError::Unresolved => meter.unresolved.increment(1),
            ConnectError::Unreachable => meter.unreachable.increment(1),
            ConnectError::Certificate => meter.untrusted.increment(1),
        }
        if let Some(link) = self.links.get(key)
            && let Some(connection) = link.id.take()
        {
            self.node.handle_input(self.now, Input::ConnectFailed { connection, error });
        }
        self.drop_link(key);
    }
}

/// An address that needs no look-up, an IPv6 one in brackets.
fn numeric(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// Whom a certificate has to name.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    match numeric(host) {
        Some(address) => Some(ServerName::IpAddress(address.into())),
        None => ServerName::try_from(host.to_owned()).ok(),
    }
}

/// The addresses of a host, in the order to try them; without a port those that its SRV records
/// name, if it has any (RFC 4976 §8).
async fn look_up(
    resolver: &Resolver,
    host: &str,
    port: Option<u16>,
    secure: bool,
) -> Vec<SocketAddr> {
    let mut places = Vec::new();
    if port.is_none() {
        let service = if secure { "_msrps._tcp" } else { "_msrp._tcp" };
        for (target, port) in resolver.services(service, host).await {
            let addresses = resolver.addresses(&target).await;
            places.extend(addresses.into_iter().map(|address| SocketAddr::new(address, port)));
        }
    }
    if places.is_empty() {
        let addresses = resolver.addresses(host).await.into_iter();
        places.extend(addresses.map(|address| SocketAddr::new(address, port.unwrap_or(PORT))));
    }
    places
}
