//! What an application asks of endpoint sessions.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::session::Endpoint;
use super::{Accepts, Body, EndpointConfig, Endpoints, Failure, Message, MessageKey, SendError};
use crate::header::ByteRange;
use crate::node::receive::Roles;
use crate::seen::Seen;
use crate::session::{LocalAddress, SessionKey, Usage};
use crate::{MsrpUri, Node, TransactionId};

impl Node {
    /// Opens a session whose messages begin and end here, with a new URI at `address`.
    pub fn open_endpoint(
        &mut self,
        now: Instant,
        address: &LocalAddress,
        config: EndpointConfig,
    ) -> SessionKey {
        self.command(now, |roles| {
            let seen = roles.endpoints.seen(config.replaces);
            let place = roles.endpoints.insert(config, seen);
            let key = roles.cx.open(address, Usage::Endpoint(place));
            roles.endpoints.set_key(place, key);
            key
        })
    }

    /// The same with a URI that the caller made: nobody else has it, and its session-id cannot be
    /// guessed (RFC 4975 §14.1).
    pub fn open_endpoint_as(
        &mut self,
        now: Instant,
        uri: MsrpUri,
        config: EndpointConfig,
    ) -> SessionKey {
        self.command(now, |roles| {
            let seen = roles.endpoints.seen(config.replaces);
            let place = roles.endpoints.insert(config, seen);
            let key = roles.cx.sessions.open_as(uri, Usage::Endpoint(place));
            roles.endpoints.set_key(place, key);
            key
        })
    }

    /// What the peer of an endpoint session takes, from its SDP. Before that nothing can be sent.
    pub fn set_peer_accepts(&mut self, now: Instant, session: SessionKey, accepts: Arc<Accepts>) {
        self.command(now, |roles| {
            if let Some(endpoint) = endpoint(roles, session) {
                endpoint.peer = accepts;
            }
        });
    }

    /// Sends a message; it waits until the session is bound.
    ///
    /// # Errors
    /// [`SendError`]: it is not sent.
    pub fn send(
        &mut self,
        now: Instant,
        session: SessionKey,
        message: Message,
    ) -> Result<MessageKey, SendError> {
        check(&message)?;
        self.command(now, |roles| {
            let (place, cx) = (place(roles, session), &mut roles.cx);
            let place = place.ok_or(SendError::Session)?;
            let endpoint = roles.endpoints.get_mut(place).ok_or(SendError::Session)?;
            let key = endpoint.submit(cx, message)?;
            roles.endpoints.go_on(cx, place);
            Ok(key)
        })
    }

    /// More octets of a message that is pulled, as [`Event::Wanted`](super::Event::Wanted) asked
    /// for; with `last` they are the last of it. More than the peer takes gives the message up.
    pub fn supply(
        &mut self,
        now: Instant,
        session: SessionKey,
        message: MessageKey,
        octets: Bytes,
        last: bool,
    ) {
        self.command(now, |roles| {
            let Some(place) = place(roles, session) else { return };
            if let Some(endpoint) = roles.endpoints.get_mut(place) {
                endpoint.supply(&mut roles.cx, message, octets, last);
                roles.endpoints.go_on(&mut roles.cx, place);
            }
        });
    }

    /// Gives a message up that is not sent, or not all of it.
    pub fn abort(&mut self, now: Instant, session: SessionKey, message: MessageKey) {
        self.command(now, |roles| {
            let Some(place) = place(roles, session) else { return };
            if let Some(endpoint) = roles.endpoints.get_mut(place) {
                endpoint.give_up(&mut roles.cx, message, Failure::Aborted);
            }
        });
    }

    /// Answers the chunk that completed a message, in a session with
    /// [`LastAnswer::ByApplication`](super::LastAnswer): 200 when the message is where it was to
    /// go, or why it is not (RFC 4975 §10). Without effect when it was answered, or the session is
    /// gone.
    pub fn answer(&mut self, now: Instant, session: SessionKey, message_id: &[u8], code: u16) {
        self.command(now, |roles| {
            let Some(place) = place(roles, session) else { return };
            if let Some(endpoint) = roles.endpoints.get_mut(place) {
                endpoint.answer(&mut roles.cx, message_id, code);
            }
        });
    }

    /// Sends a REPORT for a message that came: 200 when it has arrived where it was to go, or why
    /// it has not (RFC 4975 §7.1.3, §7.1.4). The caller knows whether its sender asked for it.
    pub fn report(
        &mut self,
        now: Instant,
        session: SessionKey,
        message_id: &[u8],
        range: Option<ByteRange>,
        code: u16,
    ) {
        self.command(now, |roles| {
            let Some(place) = place(roles, session) else { return };
            if let Some(endpoint) = roles.endpoints.get_mut(place) {
                endpoint.report(&mut roles.cx, message_id, range, code);
            }
        });
    }

    /// Reads nothing from the connection of `session` until [`resume`](Self::resume): the
    /// application cannot take more. Other sessions on it wait too.
    pub fn pause(&mut self, now: Instant, session: SessionKey) {
        self.command(now, |roles| {
            let found = roles.cx.sessions.get(session);
            if let Some(connection) = found.and_then(|session| session.connection) {
                roles.cx.hold(connection);
            }
        });
    }

    /// Takes back one [`pause`](Self::pause).
    pub fn resume(&mut self, now: Instant, session: SessionKey) {
        self.command(now, |roles| {
            let found = roles.cx.sessions.get(session);
            if let Some(connection) = found.and_then(|session| session.connection) {
                roles.cx.let_go(connection);
            }
        });
    }

    /// Ends an endpoint session: its URI is not known any longer, and what waits is not sent. A
    /// connection of ours that no session needs is closed.
    pub fn end_endpoint(&mut self, now: Instant, session: SessionKey) {
        self.command(now, |roles| {
            let Some(place) = place(roles, session) else { return };
            if let Some(endpoint) = roles.endpoints.remove(place) {
                let _ = endpoint.end(&mut roles.cx);
            }
            roles.cx.end(session);
        });
    }
}

impl Endpoints {
    fn insert(&mut self, config: EndpointConfig, seen: Seen) -> u32 {
        let place = self.sessions.insert(Endpoint::new(config, seen));
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    fn set_key(&mut self, place: u32, key: SessionKey) {
        if let Some(endpoint) = self.get_mut(place) {
            endpoint.key = key;
        }
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut Endpoint> {
        self.sessions.get_mut(place as usize)
    }

    fn remove(&mut self, place: u32) -> Option<Endpoint> {
        self.sessions.try_remove(place as usize)
    }

    /// What the session had received that a new one replaces.
    fn seen(&mut self, replaced: Option<SessionKey>) -> Seen {
        let at = self.replaced.iter().position(|(key, _)| Some(*key) == replaced);
        at.and_then(|at| self.replaced.remove(at)).map(|(_, seen)| seen).unwrap_or_default()
    }
}

fn place(roles: &Roles, session: SessionKey) -> Option<u32> {
    match roles.cx.sessions.get(session)?.usage {
        Usage::Endpoint(place) => Some(place),
        Usage::Pair(_) | Usage::Grant(_) | Usage::Leg(_) => None,
    }
}

fn endpoint(roles: &mut Roles, session: SessionKey) -> Option<&mut Endpoint> {
    let place = place(roles, session)?;
    roles.endpoints.get_mut(place)
}

/// Whether a message can be written at all.
fn check(message: &Message) -> Result<(), SendError> {
    let id = message.message_id.as_deref();
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|o| (0x20..0x7f).contains(&o));
    let lines = message.headers.split_inclusive(|&octet| octet == b'\n').all(is_line);
    if id.is_some_and(|id| TransactionId::check(id.as_bytes()).is_err())
        || !visible(&message.content_type)
        || !lines
    {
        return Err(SendError::Header);
    }
    let essence = message.content_type.split(';').next().unwrap_or_default().trim();
    match &message.body {
        Body::Whole(body) if essence.eq_ignore_ascii_case("message/cpim") => check_cpim(body),
        Body::Whole(_) | Body::Pulled { .. } => Ok(()),
    }
}

/// A header line that describes content: not one of MSRP's own, and no encoding, which is always
/// binary.
fn is_line(line: &[u8]) -> bool {
    let Some(line) = line.strip_suffix(b"\r\n") else { return false };
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    let (name, value) = line.split_at(colon);
    let token = name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-');
    let encoding = name.eq_ignore_ascii_case(b"Content-Transfer-Encoding");
    let content_type = name.eq_ignore_ascii_case(b"Content-Type");
    let prefix = name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"Content-"));
    let clean = value.iter().all(|octet| *octet == b'\t' || !octet.is_ascii_control());
    prefix && token && !encoding && !content_type && clean
}

fn check_cpim(body: &Bytes) -> Result<(), SendError> {
    use parlance_content::cpim::{Cpim, Limits};
    let cpim = Cpim::parse(body, &Limits::default()).map_err(|_| SendError::Cpim)?;
    let from = cpim.headers().filter(|header| header.name == "From").count();
    if from == 1 && cpim.to().next().is_some() { Ok(()) } else { Err(SendError::Cpim) }
}
