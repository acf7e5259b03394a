//! The handle through which a role reaches its shard.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use parlance_sip::endpoint::shard_of_uri;
use parlance_sip::session_timer::ForwardedSession;
use parlance_sip::uri::Uri;
use parlance_sip::{
    Edits, HeaderName, ListenerId, Request, Response, ResponseBuilder, ServerKey, Target, Timers,
};
use parlance_store::Millis;

use crate::forward::{self, Forwarding, Outcome};
use crate::shard::{Counted, Inner};
use crate::wire::{Locals, NextHop, Targets};
use crate::{Incoming, Node, Task};

/// A shard, as its roles see it. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub struct Cx(pub(crate) Rc<Inner>);

impl Cx {
    /// What all shards of this server share.
    pub fn node(&self) -> &Node {
        &self.0.node
    }

    /// Wall-clock time, which a test may steer.
    pub fn now(&self) -> Millis {
        self.0.node.clock.now()
    }

    /// Waits. Dropped: nothing happens.
    pub async fn after(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }

    /// A new tag, or another name of 64 random bits.
    pub fn tag(&self) -> String {
        self.0.endpoint.borrow_mut().tag()
    }

    /// 64 random bits.
    pub fn random(&self) -> u64 {
        self.0.endpoint.borrow_mut().random()
    }

    /// The number of this shard, which stands in every branch.
    pub fn shard(&self) -> u8 {
        self.0.endpoint.borrow().config().shard
    }

    /// How many transactions this shard has: (server, of these unanswered, client).
    pub fn load(&self) -> (usize, usize, usize) {
        self.0.endpoint.borrow().load()
    }

    /// Runs a task on this shard beside the others.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let counted = Counted::new(&self.0.tasks);
        tokio::task::spawn_local(async move {
            task.await;
            drop(counted);
        });
    }

    /// How many tasks of this shard have not ended.
    pub fn tasks(&self) -> usize {
        self.0.tasks.get()
    }

    /// Runs a task on the shard that owns `user`'s lane, which may be another one.
    ///
    /// # Errors
    /// [`Busy`] when that shard's queue is full; nothing is run.
    pub fn on_shard_of(
        &self,
        user: &str,
        task: impl FnOnce(Cx) -> Task + Send + 'static,
    ) -> Result<(), Busy> {
        self.0.node.on_shard_of(user, task)
    }

    /// Sends a request on, as a proxy (RFC 3261 §16.6): our `Route` comes off, `Max-Forwards` goes
    /// down, a request that opens a dialog gets our `Record-Route`, `P-Served-User` goes
    /// (RFC 5502 §7.2), and `edits` are made as well.
    ///
    /// For an INVITE, responses 1xx and 2xx go back by themselves. Dropping the result cancels an
    /// INVITE that has no final response, and forgets any other request.
    pub fn forward(&self, incoming: &Incoming, edits: Edits) -> Forwarding {
        Forwarding::start(self.clone(), incoming, edits, None)
    }

    /// [`Cx::forward`] for an INVITE with a session timer, which `edits` have put in
    /// (RFC 4028 §8.1): a 2xx without one gets it when the caller alone can refresh (§8.2).
    pub fn forward_session(
        &self,
        incoming: &Incoming,
        edits: Edits,
        timer: ForwardedSession,
    ) -> Forwarding {
        Forwarding::start(self.clone(), incoming, edits, Some(timer))
    }

    /// Sends a request of our own to `hop` and waits for its final response. Without a
    /// `User-Agent` it gets ours.
    ///
    /// Requests to the same Request-URI wait for each other (RFC 3428 §8: no two MESSAGE
    /// transactions at a time); up to [`crate::LANE_WAITING_MAX`] wait, more fail at once. That
    /// order holds on one shard: call it where [`Cx::on_shard_of`] leads for the recipient.
    /// Dropped: the response is ignored.
    pub async fn send(&self, request: Request, hop: NextHop, branch: Option<&str>) -> Outcome {
        forward::send(self, request, hop, branch).await
    }

    /// How many octets a request of our own has on the wire when it is sent from `listener`, at
    /// most.
    pub fn octets(&self, request: &Request, listener: ListenerId) -> usize {
        forward::own_octets(self, request, listener)
    }

    /// Where a next hop is; without a question when its host is an address.
    pub async fn resolve(&self, hop: &NextHop) -> Targets {
        let found = match hop.numeric(self.locals()) {
            Some(targets) => targets,
            None => self.0.wire.lookup(hop).await,
        };
        let locals = self.locals();
        let near = |target: Target| {
            let listener = locals.near(target.listener, target.transport)?;
            Some(Target { listener, ..target })
        };
        found.into_iter().filter_map(near).collect()
    }

    /// How many dialogs there are on this shard in which the server is a user agent.
    pub fn dialogs(&self) -> usize {
        self.0.sessions.len()
    }

    /// Tells every session of this shard that the server stops
    /// ([`crate::session::Event::Draining`]).
    pub fn drain_sessions(&self) {
        self.0.sessions.drain();
    }

    /// A new session identity in `domain`: `prefix` and 64 random bits, drawn until requests to it
    /// come to this shard ([`parlance_sip::endpoint::shard_of_uri`]).
    pub fn session_uri(&self, prefix: &str, domain: &str) -> String {
        let shards = self.0.node.shards.len();
        loop {
            let uri = format!("sip:{prefix}{:016x}@{domain}", self.random());
            let shard = Uri::parse(uri.as_bytes()).ok().and_then(|uri| shard_of_uri(&uri, shards));
            // A domain that makes no URI is an error of the configuration; it is never asked for.
            if shard.is_none_or(|shard| shard == usize::from(self.shard())) {
                return uri;
            }
        }
    }

    pub(crate) fn timers(&self) -> Timers {
        self.0.endpoint.borrow().config().timers
    }

    pub(crate) fn locals(&self) -> &Locals {
        &self.0.node.locals
    }

    pub(crate) fn with_server(&self, response: ResponseBuilder) -> ResponseBuilder {
        let endpoint = self.0.endpoint.borrow();
        match endpoint.config().server.as_str() {
            "" => response,
            server => response.header(HeaderName::Server, server),
        }
    }

    pub(crate) fn respond(&self, server: ServerKey, status: u16, bytes: Bytes) {
        let now = self.0.instant();
        self.0.endpoint.borrow_mut().respond(now, server, status, bytes);
        self.0.drain();
    }

    pub(crate) fn relay(&self, server: ServerKey, response: &Response) {
        self.relay_with(server, response, Edits::new());
    }

    pub(crate) fn relay_with(&self, server: ServerKey, response: &Response, mut edits: Edits) {
        edits.remove_values(response, HeaderName::Via, 1);
        let bytes = {
            let mut room = self.0.room.borrow_mut();
            room.clear();
            edits.write(response, &mut room);
            // No larger than it must be: it is kept until Timer J fires.
            Bytes::copy_from_slice(&room)
        };
        self.respond(server, response.status(), bytes);
    }

    pub(crate) fn abandon(&self, server: ServerKey) {
        let now = self.0.instant();
        self.0.endpoint.borrow_mut().abandon(now, server);
        self.0.drain();
    }
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").finish_non_exhaustive()
    }
}

/// A shard's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard's queue is full")]
pub struct Busy;

/// Requests of our own that wait for each other, by Request-URI.
pub(crate) type Lanes = RefCell<hashbrown::HashMap<Vec<u8>, Rc<tokio::sync::Semaphore>>>;
