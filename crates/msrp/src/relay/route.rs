//! Where a request for a URI of a `Use-Path` goes, if it may go anywhere (RFC 4976 §6.4).
//!
//! | it comes | it goes |
//! |---|---|
//! | from the client that has the URI | to the next URI of its `To-Path`, wherever that is |
//! | the same, and that URI is of this relay | to the core that has it |
//! | from anybody else | to that client; the next URI of its `To-Path` must be the hop back to it |
//!
//! Everything else is refused: there is nobody who vouches for it.

use smallvec::SmallVec;

use crate::node::connection::State;
use crate::node::cx::Cx;
use crate::node::receive::Chunk;
use crate::node::{ConnectionId, Hop};
use crate::relay::Relay;
use crate::relay::forward::Route;
use crate::relay::grant::{Client, Grant};
use crate::session::{SessionKey, Usage};
use crate::uri::{Scheme, UriRef};

/// Our URIs that one request passes at a time. Local limit: two, when both sides use this relay.
const OWN_MAX: usize = 4;

impl Relay {
    /// Where the request with this head goes, and with which paths.
    ///
    /// # Errors
    /// 481: the URI is not valid, or the request may not go where it says; 403: the client may not
    /// have requests sent there.
    pub(super) fn route(&mut self, cx: &mut Cx, chunk: &Chunk<'_>) -> Result<Route, u16> {
        let head = chunk.head;
        let mut own: SmallVec<[SessionKey; OWN_MAX]> = SmallVec::new();
        let (mut key, mut to) = (chunk.session, head.to_path);
        let (sink, path) = loop {
            let place = self.valid(cx, key).ok_or(481_u16)?;
            let grant = self.grants.get(place).ok_or(481_u16)?;
            let is_first = own.is_empty();
            own.push(key);
            to = to.rest().ok_or(481_u16)?;
            if is_first && is_from_client(cx, grant, chunk.connection) {
                // The peer of the client uses this relay too: it is passed a second time at once.
                let next = cx.sessions.find(to.first());
                match next.filter(|next| is_grant(cx, *next)) {
                    Some(next) if own.len() < OWN_MAX => key = next,
                    Some(_) => return Err(481),
                    None => break self.way_out(cx, place, to.first(), head.from_path)?,
                }
            } else {
                if !same_hop(to.first(), &grant.hop) {
                    return Err(481);
                }
                let source = is_first.then_some(chunk.connection);
                break self.way_back(cx, place, source, head.from_path);
            }
        }
        .ok_or(481_u16)?;
        let mut paths = SmallVec::new();
        for part in [b"\r\nTo-Path: ", to.as_bytes(), b"\r\nFrom-Path: "] {
            paths.extend_from_slice(part);
        }
        for own in own.iter().rev() {
            let session = cx.sessions.get(*own).ok_or(481_u16)?;
            paths.extend_from_slice(session.own().as_bytes());
            paths.push(b' ');
        }
        paths.extend_from_slice(head.from_path.as_bytes());
        paths.extend_from_slice(b"\r\n");
        Ok(Route { key, own: Some((sink, paths)), path })
    }

    /// The place of the grant that a session is, while it is good.
    fn valid(&mut self, cx: &mut Cx, key: SessionKey) -> Option<usize> {
        let Usage::Grant(place) = cx.sessions.get(key)?.usage else { return None };
        let place = place as usize;
        if self.grants.get(place)?.expires <= cx.now {
            self.end_grant(cx, place);
            return None;
        }
        Some(place)
    }

    /// The connection to the URI that the client names, and the number of the client's path.
    fn way_out(
        &mut self,
        cx: &mut Cx,
        place: usize,
        next: &[u8],
        from: crate::Path<'_>,
    ) -> Result<Option<(ConnectionId, u32)>, u16> {
        let Some(grant) = self.grants.get_mut(place) else { return Ok(None) };
        let path = grant.paths.number(from.as_bytes());
        if let Some((uri, connection)) = &grant.remote
            && **uri == *next
            && is_usable(cx, *connection)
        {
            cx.used(*connection);
            return Ok(Some((*connection, path)));
        }
        let connection = if self.config.is_ours(next) {
            cx.join(next).ok_or(481_u16)?
        } else {
            let Some(hop) = hop_to(next) else { return Ok(None) };
            if !self.config.next_hops.admit(&hop.host) {
                return Err(403);
            }
            cx.connect_to(hop)
        };
        cx.keep(connection);
        grant.remote = Some((next.into(), connection));
        Ok(Some((connection, path)))
    }

    /// The connection to the client, and the number of the path of who writes to it.
    fn way_back(
        &mut self,
        cx: &mut Cx,
        place: usize,
        source: Option<ConnectionId>,
        from: crate::Path<'_>,
    ) -> Option<(ConnectionId, u32)> {
        let grant = self.grants.get_mut(place)?;
        let path = grant.paths.number(from.as_bytes());
        // Who wrote first is answered where it wrote from: it may not be reached otherwise. Nobody
        // else can take its place while that connection stands.
        let known = grant.remote.as_ref().is_some_and(|(_, connection)| is_usable(cx, *connection));
        if let Some(source) = source
            && !known
        {
            grant.remote = Some((from.first().into(), source));
        }
        let connection = match &grant.client {
            Client::Connection(connection) => *connection,
            Client::Relay { last, .. } if is_usable(cx, *last) => *last,
            Client::Relay { .. } => {
                let connection = cx.connect_to(hop_to(&grant.hop)?);
                cx.keep(connection);
                if let Client::Relay { last, .. } = &mut grant.client {
                    *last = connection;
                }
                connection
            }
        };
        cx.used(connection);
        Some((connection, path))
    }

    /// Takes back a URI.
    pub(super) fn end_grant(&mut self, cx: &mut Cx, place: usize) {
        if let Some(grant) = self.grants.try_remove(place) {
            cx.end(grant.session);
        }
    }
}

fn is_grant(cx: &Cx, key: SessionKey) -> bool {
    cx.sessions.get(key).is_some_and(|session| matches!(session.usage, Usage::Grant(_)))
}

fn is_usable(cx: &Cx, connection: ConnectionId) -> bool {
    cx.connections.get(connection).is_some_and(|found| found.state != State::Closing)
}

/// Whether a connection is the client's, or one to the relay that the client is behind.
fn is_from_client(cx: &Cx, grant: &Grant, connection: ConnectionId) -> bool {
    match &grant.client {
        Client::Connection(client) => *client == connection,
        Client::Relay { name, last } => {
            *last == connection
                || cx.connections.get(connection).is_some_and(|found| {
                    let tls = found.peer.as_ref().and_then(|peer| peer.tls.as_ref());
                    tls.is_some_and(|tls| {
                        tls.names.iter().any(|one| one.eq_ignore_ascii_case(name))
                    })
                })
        }
    }
}

/// Whether two URIs are of one hop: the same scheme, host and port. The session-id need not be the
/// one that was in the AUTH.
fn same_hop(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    match (UriRef::parse(one), UriRef::parse(other)) {
        (Ok(one), Ok(other)) => one.is_same_hop(&other),
        _ => false,
    }
}

/// The hop that a URI names; `None` when nobody can be connected to there (RFC 7977 §5.2).
fn hop_to(uri: &[u8]) -> Option<Hop> {
    let uri = UriRef::parse(uri).ok()?;
    uri.transport.eq_ignore_ascii_case("tcp").then(|| Hop {
        secure: uri.scheme == Scheme::Msrps,
        host: uri.host.into(),
        port: uri.port,
        through: None,
        fingerprints: Vec::new(),
    })
}
