//! AUTH: who may use the relay, and the URI they get (RFC 4976 §6.3, §9.1).
//!
//! | check, in this order                                   | else                        |
//! |--------------------------------------------------------|-----------------------------|
//! | it came over TLS                                       | 403                         |
//! | a relay that sends it is the one it says, and admitted | 403                         |
//! | `Expires` is a number                                  | 400                         |
//! | there are credentials of Digest                        | 401                         |
//! | they can be read, and are for the URI of the request   | 400                         |
//! | user, realm, qop and digest are right                  | 401                         |
//! | the nonce is ours, in time and not used up             | 401, `stale`                |
//! | the user may use the relay                             | 403                         |
//! | `Expires` is in bounds                                 | 423, `Min-` or `Max-Expires`|
//! | there is room for one more URI                         | 403                         |

use std::time::Duration;

use parlance_sip::digest::{
    AuthenticationInfo, Credentials, ParametersError, Protected, Rejection, Secret,
};

use crate::header::Expires;
use crate::node::connection::State;
use crate::node::cx::{Cx, Verdict};
use crate::node::receive::Chunk;
use crate::node::timers::Timer;
use crate::node::{ConnectionId, Event as NodeEvent, Tls};
use crate::pending::Fifo;
use crate::relay::grant::{Client, Grant, Paths};
use crate::relay::{Event, Relay};
use crate::session::Usage;
use crate::uri::{MsrpUri, UriRef};
use crate::{Head, Node, Path, write};

/// An AUTH whose user is being looked up; unique while the node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuthKey {
    place: u32,
    generation: u32,
}

/// What is known of a user.
#[derive(Clone, Copy)]
pub struct UserVerdict<'a> {
    /// How the digest is checked.
    pub secret: Secret<'a>,
    /// Whether the user may use the relay.
    pub may_relay: bool,
}

/// An AUTH whose user is being looked up.
#[derive(Debug)]
pub(super) struct Awaiting {
    generation: u32,
    pub(super) connection: ConnectionId,
    client: Client,
    id: Box<[u8]>,
    /// The From-Path: the way back.
    from: Box<[u8]>,
    /// The URI it was addressed to.
    to: Box<[u8]>,
    credentials: Credentials,
    expires: Option<Expires>,
}

impl Node {
    /// Says what is known of the user that an [`Event::User`] asks for; `None`: nothing.
    pub fn authorize(
        &mut self,
        now: std::time::Instant,
        request: AuthKey,
        user: Option<UserVerdict<'_>>,
    ) {
        self.command(now, |roles| roles.relay.authorize(&mut roles.cx, request, user));
    }
}

impl Relay {
    /// An AUTH for this relay.
    pub(super) fn auth(&mut self, cx: &mut Cx, chunk: &Chunk<'_>) -> Verdict {
        let Chunk { connection, head, .. } = *chunk;
        let answer = match self.examine(cx, connection, head) {
            Ok(Some(awaiting)) => {
                self.ask(cx, awaiting);
                return Verdict::Done;
            }
            Ok(None) => Answer::Challenge { stale: false },
            Err(code) => Answer::Code(code),
        };
        let back = Back {
            connection,
            id: head.id(),
            to: head.from_path.as_bytes(),
            own: head.to_path.first(),
        };
        self.answer_auth(cx, &back, answer);
        Verdict::Done
    }

    /// The checks that need nobody else. `None`: there are no credentials.
    fn examine(
        &mut self,
        cx: &Cx,
        connection: ConnectionId,
        head: &Head<'_>,
    ) -> Result<Option<Awaiting>, u16> {
        let peer = cx.connections.get(connection).and_then(|found| found.peer.as_ref());
        let tls = peer.and_then(|peer| peer.tls.as_deref());
        if tls.is_none() && self.config.auth_needs_tls {
            return Err(403);
        }
        let client = self.client(connection, tls, head.from_path)?;
        let expires = head.value("Expires").map(Expires::parse).transpose();
        let expires = expires.map_err(|_| 400_u16)?;
        let Some(value) = head.value("Authorization") else { return Ok(None) };
        let to = head.to_path.last();
        let uri = std::str::from_utf8(to).map_err(|_| 400_u16)?;
        let credentials = match Credentials::parse_for(value, uri) {
            Ok(credentials) => credentials,
            Err(ParametersError::Shape | ParametersError::Count) => return Err(400),
            // Another scheme or algorithm, or something missing: the challenge says what is asked.
            Err(ParametersError::Scheme | ParametersError::Missing | ParametersError::Unknown) => {
                return Ok(None);
            }
        };
        if !MsrpUri::parse(to).is_ok_and(|uri| uri.matches(credentials.uri.as_bytes())) {
            return Err(400);
        }
        Ok(Some(Awaiting {
            generation: 0,
            connection,
            client,
            id: head.id().into(),
            from: head.from_path.as_bytes().into(),
            to: to.into(),
            credentials,
            expires,
        }))
    }

    /// Who the URI would be for. A certificate that is not of the first From-Path URI says nothing
    /// of a client (RFC 4976 §9.2), and gives the lie to a relay.
    fn client(
        &self,
        connection: ConnectionId,
        tls: Option<&Tls>,
        from: Path<'_>,
    ) -> Result<Client, u16> {
        let names = tls.map_or(&[][..], |tls| &tls.names);
        let host = UriRef::parse(from.first()).map_err(|_| 400_u16)?.host;
        match names.iter().find(|name| name.eq_ignore_ascii_case(host)) {
            Some(name) if self.config.peer_relays.admit(name) => {
                Ok(Client::Relay { name: name.clone(), last: connection })
            }
            Some(_) => Err(403),
            None if !names.is_empty() && !from.is_single() => Err(403),
            None => Ok(Client::Connection(connection)),
        }
    }

    /// Asks the application for the user.
    fn ask(&mut self, cx: &mut Cx, mut awaiting: Awaiting) {
        if self.awaiting.len() >= self.config.auths_awaiting_max {
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        awaiting.generation = self.generation;
        let username = awaiting.credentials.username.as_str().into();
        let realm = self.config.realm().into();
        let place = self.awaiting.insert(awaiting);
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let request = AuthKey { place, generation: self.generation };
        cx.event(NodeEvent::Relay(Event::User { request, username, realm }));
    }

    fn authorize(&mut self, cx: &mut Cx, request: AuthKey, user: Option<UserVerdict<'_>>) {
        let place = request.place as usize;
        let known = self.awaiting.get(place);
        if known.is_none_or(|awaiting| awaiting.generation != request.generation) {
            return;
        }
        let awaiting = self.awaiting.remove(place);
        let answer = self.judge(cx, &awaiting, user);
        let back = Back {
            connection: awaiting.connection,
            id: &awaiting.id,
            to: &awaiting.from,
            own: &awaiting.to,
        };
        let is_failure = matches!(answer, Answer::Challenge { stale: false });
        self.answer_auth(cx, &back, answer);
        if is_failure {
            let username = awaiting.credentials.username.as_str().into();
            let connection = awaiting.connection;
            cx.event(NodeEvent::Relay(Event::Denied { connection, username }));
            self.failed_auth(cx, connection);
        }
    }

    /// The checks once the user is known.
    fn judge(&mut self, cx: &mut Cx, awaiting: &Awaiting, user: Option<UserVerdict<'_>>) -> Answer {
        let credentials = &awaiting.credentials;
        let protected = Protected { method: "AUTH", uri: &credentials.uri, body: b"" };
        let now_secs = cx.now.saturating_duration_since(self.epoch).as_secs();
        let secret = user.map(|user| user.secret);
        let realm = self.config.realm();
        match self.verifier.verify(now_secs, realm, credentials, secret, &protected) {
            Ok(()) => {}
            Err(rejection @ (Rejection::Invalid | Rejection::Stale)) => {
                return Answer::Challenge { stale: rejection.is_stale() };
            }
        }
        let Some(UserVerdict { secret, may_relay: true }) = user else { return Answer::Code(403) };
        let bounds = (self.config.expires_min, self.config.expires_max);
        let lasts = match awaiting.expires.map(Expires::duration) {
            Some(asked) if asked < bounds.0 => return Answer::Expires("Min-Expires", bounds.0),
            Some(asked) if asked > bounds.1 => return Answer::Expires("Max-Expires", bounds.1),
            Some(asked) => asked,
            None => self.config.expires_default,
        };
        let Some(info) = AuthenticationInfo::new(credentials, secret) else {
            return Answer::Challenge { stale: false };
        };
        match self.grant(cx, awaiting, lasts) {
            Some(use_path) => Answer::Granted { use_path, lasts, info },
            None => Answer::Code(403),
        }
    }

    /// Hands out a URI; what goes into `Use-Path`. `None`: there is no room, or nobody to get it.
    fn grant(&mut self, cx: &mut Cx, awaiting: &Awaiting, lasts: Duration) -> Option<Vec<u8>> {
        let Awaiting { connection, client, from, .. } = awaiting;
        let found = cx.connections.get(*connection)?;
        let is_full = match client {
            Client::Connection(_) => found.sessions.len() >= self.config.grants_per_client_max,
            Client::Relay { .. } => false,
        };
        if found.state == State::Closing || is_full || self.grants.len() >= self.config.grants_max {
            return None;
        }
        let place = u32::try_from(self.grants.vacant_key()).ok()?;
        let session = cx.open(self.config.address.as_ref()?, Usage::Grant(place));
        let expires = cx.now + lasts;
        let from = Path::new(from);
        self.grants.insert(Grant {
            session,
            client: client.clone(),
            hop: from.first().into(),
            expires,
            remote: None,
            forwarded: Fifo::default(),
            paths: Paths::default(),
        });
        cx.timers.arm(expires, Timer::Relay(place));
        match client {
            Client::Connection(_) => cx.bind(*connection, session),
            Client::Relay { .. } => cx.used(*connection),
        }
        let username = awaiting.credentials.username.as_str().into();
        cx.event(NodeEvent::Relay(Event::Granted { session, username, expires }));
        // The relays that it came through, in the order of a To-Path, and this one (RFC 4976 §5.1).
        let mut hops: Vec<&[u8]> = from.iter().collect();
        hops.pop();
        let own = cx.sessions.get(session)?.own().as_bytes();
        let use_path: Vec<&[u8]> = hops.into_iter().rev().chain([own]).collect();
        Some(use_path.join(&b' '))
    }

    fn answer_auth(&mut self, cx: &mut Cx, back: &Back<'_>, answer: Answer) {
        let mut headers = Vec::new();
        let code = match answer {
            Answer::Code(code) => code,
            Answer::Challenge { stale } => {
                self.challenge(cx, stale, &mut headers);
                401
            }
            Answer::Expires(name, bound) => {
                write::header(&mut headers, name, bound.as_secs().to_string().as_bytes());
                423
            }
            Answer::Granted { use_path, lasts, info } => {
                write::header(&mut headers, "Use-Path", &use_path);
                write::header(&mut headers, "Expires", lasts.as_secs().to_string().as_bytes());
                write::header(&mut headers, "Authentication-Info", info.to_string().as_bytes());
                200
            }
        };
        let Back { connection, id, to, own } = *back;
        cx.respond(connection, id, code, to, own, &headers);
    }

    fn challenge(&mut self, cx: &mut Cx, stale: bool, headers: &mut Vec<u8>) {
        let now_secs = cx.now.saturating_duration_since(self.epoch).as_secs();
        let mut entropy = || cx.random();
        let realm = self.config.realm();
        for mut challenge in self.verifier.challenges(now_secs, realm, stale, &mut entropy) {
            challenge.opaque = Some(self.opaque.clone());
            write::header(headers, "WWW-Authenticate", challenge.to_string().as_bytes());
        }
    }

    /// The time of a URI may be over.
    pub(crate) fn relay_timeout(&mut self, cx: &mut Cx, place: u32) {
        let place = place as usize;
        if self.grants.get(place).is_some_and(|grant| grant.expires <= cx.now) {
            self.end_grant(cx, place);
        }
    }
}

/// The way back of an answer.
struct Back<'a> {
    connection: ConnectionId,
    id: &'a [u8],
    to: &'a [u8],
    own: &'a [u8],
}

/// What an AUTH is answered.
enum Answer {
    Code(u16),
    Challenge { stale: bool },
    Expires(&'static str, Duration),
    Granted { use_path: Vec<u8>, lasts: Duration, info: AuthenticationInfo },
}
