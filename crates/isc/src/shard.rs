//! One shard: an endpoint, the roles that run over its events, and the loop that drives both.
//!
//! A shard lives on one thread. Everything reaches it through one bounded queue; roles are tasks
//! on its `LocalSet` and share it through [`Cx`].

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;
use metrics::{Counter, counter};
use parlance_sip::Target;
use parlance_sip::endpoint::{Drop as Dropped, Input, Output, is_initial};
use parlance_sip::message::Malformed;
use parlance_sip::{ClientKey, Endpoint, Message, Request, ServerKey, Source};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::cx::Lanes;
use crate::forward::{self, Shared, Waiting};
use crate::registration::RegistrationEvent;
use crate::session::{self, Offered, SessionLimits, Sessions, Taken};
use crate::wire::Wire;
use crate::{Cx, Node, Task};

/// What reaches a shard.
pub enum ShardInput {
    /// A message from the network.
    Received {
        /// When it was read off the socket.
        at: std::time::Instant,
        /// Where it came from.
        source: Source,
        /// The names in the peer's certificate; empty without one.
        peer_names: Arc<[String]>,
        /// The message, or what could be read of it.
        message: Result<Message, Box<Malformed>>,
    },
    /// A request could not be sent.
    Undeliverable {
        /// Whose it was.
        client: ClientKey,
    },
    /// Work that belongs on this shard.
    Run(Box<dyn FnOnce(Cx) -> Task + Send>),
}

impl fmt::Debug for ShardInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Received { .. } => "Received",
            Self::Undeliverable { .. } => "Undeliverable",
            Self::Run(_) => "Run",
        })
    }
}

/// A new request on its way to the decision.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its transaction.
    pub server: ServerKey,
    /// Where it came from.
    pub source: Source,
    /// The names in the peer's certificate.
    pub peer_names: Arc<[String]>,
    /// The request, which whoever sends it on or answers it later keeps as well.
    pub request: Rc<Request>,
}

/// Decides about each new request and starts the role's task.
pub trait Dispatch {
    /// Whether the peer may speak to us at all; if not, the request gets 403 and leaves no state
    /// (an ACK is dropped).
    fn admit(&self, cx: &Cx, source: &Source, peer_names: &[String], request: &Message) -> bool;

    /// Serves a new request.
    fn dispatch(&self, cx: Cx, arrival: Arrival) -> Task;

    /// Hears, on the shard that owns the user's lane, what happened to a registration. Nothing
    /// follows from it by default.
    fn handle_registration(&self, cx: &Cx, event: &RegistrationEvent) {
        let _ = (cx, event);
    }
}

/// What a CANCEL must know, and leave behind, of an INVITE.
pub(crate) enum Invited {
    /// It was sent on.
    Forwarded(Weak<RefCell<Waiting>>),
    /// It was cancelled first, while it was still looked at here: it must not be sent on.
    Cancelled(Request),
    /// A role answers it.
    Taken(Weak<Taken>),
    /// It is a re-INVITE that a role answers.
    Offered(Weak<Offered>),
}

/// The inside of a shard, shared by its handles.
pub(crate) struct Inner {
    pub(crate) node: Arc<Node>,
    pub(crate) endpoint: RefCell<Endpoint>,
    pub(crate) wire: Rc<dyn Wire>,
    pub(crate) clients: RefCell<HashMap<ClientKey, Shared>>,
    /// The INVITEs that were sent on or cancelled, until their transaction is over.
    pub(crate) invites: RefCell<HashMap<ServerKey, Invited>>,
    pub(crate) lanes: Lanes,
    /// The dialogs in which the server is a user agent.
    pub(crate) sessions: Sessions,
    /// Where a response is written before it is known how long it is.
    pub(crate) room: RefCell<BytesMut>,
    pub(crate) dispatch: OnceCell<Rc<dyn Dispatch>>,
    me: Weak<Inner>,
    /// The certificate names of the message being fed.
    peer_names: RefCell<Arc<[String]>>,
    /// When the loop will look at the timers next.
    sleeping: Cell<Option<std::time::Instant>>,
    wake: Notify,
    /// How many tasks run.
    pub(crate) tasks: Rc<Cell<usize>>,
    meter: Meter,
}

/// A task that is counted until this is dropped, however it ends.
pub(crate) struct Counted(Rc<Cell<usize>>);

impl Counted {
    pub(crate) fn new(tasks: &Rc<Cell<usize>>) -> Self {
        tasks.set(tasks.get() + 1);
        Self(Rc::clone(tasks))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Inner {
    pub(crate) fn instant(&self) -> std::time::Instant {
        Instant::now().into_std()
    }

    fn cx(&self) -> Option<Cx> {
        self.me.upgrade().map(Cx)
    }

    /// Does everything the endpoint asks for. Role code never runs in here: it is only woken.
    pub(crate) fn drain(&self) {
        let Some(cx) = self.cx() else { return };
        loop {
            let Some(output) = self.endpoint.borrow_mut().poll_output() else { break };
            match output {
                Output::Transmit { target, bytes, client } => {
                    self.transmit(&target, bytes, client);
                }
                Output::Request { server, source, mut request } => {
                    let peer_names = Arc::clone(&self.peer_names.borrow());
                    let listener = source.listener;
                    if let Some(meant) = forward::without_our_maddr(cx.locals(), listener, &request)
                    {
                        request = meant;
                    }
                    let request = Rc::new(request);
                    let arrival = Arrival { server, source, peer_names, request };
                    if let Some(dispatch) = self.dispatch.get() {
                        cx.spawn(dispatch.dispatch(cx.clone(), arrival));
                    }
                }
                Output::Ack { source, request } => {
                    let peer_names = Arc::clone(&self.peer_names.borrow());
                    session::pass_ack(&cx, source, peer_names, &request);
                }
                Output::Cancelled { server, cancel } => self.cancelled(&cx, server, cancel),
                Output::Response { client, response } => {
                    forward::response(&cx, client, response);
                }
                Output::Failed { client, failure } => forward::failed(&cx, client, failure),
                Output::Ended { client } => _ = self.clients.borrow_mut().remove(&client),
                Output::Closed { server } => _ = self.invites.borrow_mut().remove(&server),
                Output::Unacknowledged { .. } => self.meter.unacknowledged.increment(1),
                Output::Dropped(dropped) => self.meter.dropped(dropped),
            }
        }
        let due = self.endpoint.borrow().poll_timeout();
        if due.is_some_and(|due| self.sleeping.get().is_none_or(|sleeping| due < sleeping)) {
            self.wake.notify_one();
        }
    }

    fn cancelled(&self, cx: &Cx, server: ServerKey, cancel: Request) {
        let invited = self.invites.borrow_mut().remove(&server);
        // What became of it is noted again: another CANCEL may come.
        let note = |invited| _ = self.invites.borrow_mut().insert(server, invited);
        match invited {
            Some(Invited::Forwarded(waiting)) if waiting.strong_count() > 0 => {
                let live = waiting.upgrade();
                note(Invited::Forwarded(waiting));
                if let Some(live) = live {
                    self.cancel(&live);
                }
            }
            Some(Invited::Taken(taken)) => {
                let live = taken.upgrade();
                note(Invited::Taken(taken));
                if let Some(live) = live {
                    live.cancelled(cx, cancel);
                }
            }
            Some(Invited::Offered(offered)) => {
                let live = offered.upgrade();
                note(Invited::Offered(offered));
                if let Some(live) = live {
                    live.over(cx);
                }
            }
            Some(Invited::Forwarded(_) | Invited::Cancelled(_)) | None => {
                note(Invited::Cancelled(cancel.detached()));
            }
        }
    }

    fn transmit(&self, target: &Target, bytes: Bytes, client: Option<ClientKey>) {
        if self.wire.transmit(target, bytes, client) {
            return;
        }
        if let Some(client) = client {
            let input = Input::Undeliverable { client };
            self.endpoint.borrow_mut().handle_input(self.instant(), input);
        }
    }

    fn feed(&self, cx: &Cx, now: std::time::Instant, input: ShardInput) {
        match input {
            ShardInput::Run(task) => {
                let task = task(cx.clone());
                return cx.spawn(task);
            }
            ShardInput::Undeliverable { client } => {
                let input = Input::Undeliverable { client };
                self.endpoint.borrow_mut().handle_input(now, input);
            }
            ShardInput::Received { at, source, peer_names, message } => {
                self.receive(cx, (at, now), source, peer_names, message);
            }
        }
        self.drain();
    }

    fn receive(
        &self,
        cx: &Cx,
        (at, now): (std::time::Instant, std::time::Instant),
        source: Source,
        peer_names: Arc<[String]>,
        message: Result<Message, Box<Malformed>>,
    ) {
        let known = match &message {
            Ok(message) => Some(message),
            Err(malformed) => malformed.message.as_ref(),
        };
        if let (Some(message), Some(dispatch)) = (known, self.dispatch.get()) {
            let admitted =
                !message.is_request() || dispatch.admit(cx, &source, &peer_names, message);
            let late = now.saturating_duration_since(at) > self.node.lag_max;
            if !admitted {
                return self.turn_away(source, message, 403);
            }
            if late && message.is_request() && is_initial(message) {
                return self.turn_away(source, message, 503);
            }
        }
        *self.peer_names.borrow_mut() = peer_names;
        let input = match message {
            Ok(message) => Input::Message { source, message },
            Err(malformed) => Input::Malformed { source, malformed },
        };
        self.endpoint.borrow_mut().handle_input(now, input);
    }

    /// Answers without keeping anything.
    fn turn_away(&self, source: Source, message: &Message, status: u16) {
        self.meter.turned_away(status);
        let Ok(request) = Request::new(message.clone()) else { return };
        let mut endpoint = self.endpoint.borrow_mut();
        if status == 503 {
            return endpoint.overload(source, &request);
        }
        endpoint.turn_away(source, &request, status);
    }
}

/// One shard.
pub struct Shard {
    inner: Rc<Inner>,
}

impl Shard {
    /// A shard over `wire`. `dispatch` is made with the handle its roles will use.
    pub fn new(
        node: Arc<Node>,
        endpoint: Endpoint,
        wire: Rc<dyn Wire>,
        dispatch: impl FnOnce(&Cx) -> Rc<dyn Dispatch>,
    ) -> Self {
        let inner = Rc::new_cyclic(|me| Inner {
            node,
            endpoint: RefCell::new(endpoint),
            wire,
            clients: RefCell::default(),
            invites: RefCell::default(),
            lanes: Lanes::default(),
            sessions: Sessions::default(),
            room: RefCell::default(),
            dispatch: OnceCell::new(),
            me: Weak::clone(me),
            peer_names: RefCell::new(Arc::from([])),
            sleeping: Cell::new(None),
            wake: Notify::new(),
            tasks: Rc::default(),
            meter: Meter::new(),
        });
        let made = dispatch(&Cx(Rc::clone(&inner)));
        // The cell is empty: it was made two lines above.
        let _ = inner.dispatch.set(made);
        Self { inner }
    }

    /// The same with these limits of its sessions.
    #[must_use]
    pub fn with_session_limits(self, limits: SessionLimits) -> Self {
        self.inner.sessions.limit(limits);
        self
    }

    /// The handle roles use.
    pub fn cx(&self) -> Cx {
        Cx(Rc::clone(&self.inner))
    }

    /// Runs until the queue is closed and empty. Must run on a `LocalSet`: roles are spawned there.
    pub async fn run(self, mut queue: mpsc::Receiver<ShardInput>) {
        let inner = self.inner;
        let cx = Cx(Rc::clone(&inner));
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let due = inner.endpoint.borrow().poll_timeout();
            inner.sleeping.set(due);
            tokio::select! {
                biased;
                received = queue.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return;
                    }
                }
                () = inner.wake.notified() => {}
                () = sleep_until(due) => {}
            }
            let busy = batch.len() == BATCH;
            // Nothing waits in between: one look at the clock is enough for a batch.
            let now = inner.instant();
            for input in batch.drain(..) {
                inner.feed(&cx, now, input);
            }
            if inner.endpoint.borrow().poll_timeout().is_some_and(|due| due <= now) {
                inner.endpoint.borrow_mut().handle_input(now, Input::Timeout);
                inner.drain();
            }
            if busy {
                // Or the queue would be emptied first, and no role answer meanwhile.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// How many inputs are taken from the queue at a time, so that roles get their turn.
const BATCH: usize = 64;

pub(crate) async fn sleep_until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(Instant::from_std(due)).await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").finish_non_exhaustive()
    }
}

/// The counters of one shard; all shards add to the same.
struct Meter {
    unacknowledged: Counter,
    untrusted: Counter,
    overload: Counter,
    stray: Counter,
}

impl Meter {
    fn new() -> Self {
        Self {
            unacknowledged: counter!("parlance_sip_unacknowledged_total"),
            untrusted: counter!("parlance_sip_untrusted_total"),
            overload: counter!("parlance_sip_overload_total"),
            stray: counter!("parlance_sip_stray_responses_total"),
        }
    }

    fn turned_away(&self, status: u16) {
        if status == 403 {
            self.untrusted.increment(1);
        }
    }

    fn dropped(&self, dropped: Dropped) {
        match dropped {
            Dropped::StrayResponse => self.stray.increment(1),
            Dropped::Overload => self.overload.increment(1),
            Dropped::Malformed(fault) => {
                let fault = fault.to_string();
                counter!("parlance_sip_malformed_total", "fault" => fault).increment(1);
            }
            Dropped::Refused(fault) => {
                let fault = fault.to_string();
                counter!("parlance_sip_refused_total", "fault" => fault).increment(1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
