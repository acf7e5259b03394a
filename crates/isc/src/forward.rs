//! Sending requests on as a proxy (RFC 3261 §16.6 to §16.10) and sending our own.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use parlance_sip::endpoint::Failure;
use parlance_sip::locate::{Attempt, FailOver};
use parlance_sip::session_timer::{ForwardedAnswer, ForwardedSession, proxied_answer};
use parlance_sip::{ClientKey, Edits, HeaderName, ListenerId, Method, Request, Response};
use parlance_sip::{ServerKey, Target};
use smallvec::SmallVec;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::shard::Invited;
use crate::wire::NextHop;
use crate::{Cx, Incoming};

mod downstream;
mod maddr;
mod route;
mod target;

pub use downstream::{Downstream, Fate};
pub(crate) use maddr::without_our_maddr;
pub(crate) use route::{goes_on, pass_ack};
use route::{pass_cancel, prepare};
pub(crate) use target::own_octets;
use target::{launch, send_stateless, tried};

/// How many requests of our own may wait for one to the same Request-URI. Local limit; more fail
/// with [`Outcome::Unreachable`], which their sender treats like any other failure.
pub const LANE_WAITING_MAX: usize = 64;

/// Max-Forwards of a request that came without, or that is our own (RFC 3261 §16.6 step 3).
pub const MAX_FORWARDS: u8 = 70;

/// How a request that was sent ended.
#[derive(Debug)]
pub enum Outcome {
    /// A final response, to be sent on by the role.
    Final(Response),
    /// A 2xx to an INVITE, already sent on.
    Relayed(Response),
    /// No final response came (Timer B, F or C).
    Timeout,
    /// There is nowhere to send it, or the transport failed everywhere.
    Unreachable,
    /// An INVITE was cancelled before it was sent, or before its target failed.
    Cancelled,
}

/// What waits for the responses of one request.
pub(crate) struct Waiting {
    /// The transaction it is forwarded for; `None` for a request of our own.
    server: Option<ServerKey>,
    /// The listener it came to, or that it is sent from.
    from: ListenerId,
    request: Rc<Request>,
    is_invite: bool,
    /// The branch it gets, when whoever sends it has chosen one.
    branch: Option<String>,
    /// Where it is tried.
    targets: FailOver<Target>,
    /// How often it was sent to another target.
    tries: u8,
    /// A provisional response came from the present one.
    heard: bool,
    /// What is changed in the request, as long as there is somewhere else to try.
    edits: Option<Box<Edits>>,
    client: Option<ClientKey>,
    /// Those nobody has taken. Only an INVITE has more than one.
    outcomes: SmallVec<[Outcome; 1]>,
    waker: Option<Waker>,
    answered: bool,
    cancelled: bool,
    /// When Timer C was set: when an INVITE was sent, and at each provisional response but 100.
    progress: Option<Instant>,
    /// Whoever waits has not heard of it yet.
    progressed: bool,
    /// What was done about the session timer of a forwarded INVITE.
    timer: Option<ForwardedSession>,
    /// Takes the responses to an INVITE of our own instead of `outcomes`.
    answers: Option<Rc<dyn Answers>>,
}

/// Takes what comes back for an INVITE of our own.
pub(crate) trait Answers {
    /// A response of 101 to 199.
    fn provisional(self: Rc<Self>, cx: &Cx, response: Response);

    /// A 2xx: every one, repeated and forked ones too.
    fn success(self: Rc<Self>, cx: &Cx, response: Response);

    /// No 2xx came: another final response, or none.
    fn failed(self: Rc<Self>, cx: &Cx, outcome: Outcome);
}

pub(crate) type Shared = Rc<RefCell<Waiting>>;

impl Waiting {
    fn new(server: Option<ServerKey>, from: ListenerId, request: Rc<Request>) -> Shared {
        Rc::new(RefCell::new(Self {
            server,
            from,
            is_invite: request.method() == Method::Invite,
            request,
            branch: None,
            targets: FailOver::new([]),
            tries: 0,
            heard: false,
            edits: None,
            client: None,
            outcomes: SmallVec::new(),
            waker: None,
            answered: false,
            cancelled: false,
            progress: None,
            progressed: false,
            timer: None,
            answers: None,
        }))
    }

    /// The branch for the present target, where one was chosen: that one first, and one made of it
    /// for each further target, which is a new transaction (RFC 3263 §4.3). After a restart they
    /// are the same.
    fn named(&self) -> Option<Cow<'_, str>> {
        let branch = self.branch.as_deref()?;
        Some(match self.tries {
            0 => branch.into(),
            tries => format!("{branch}.{tries}").into(),
        })
    }

    fn push(&mut self, outcome: Outcome) {
        self.answered = true;
        self.outcomes.push(outcome);
        self.wake();
    }

    /// Sets Timer C of an INVITE (RFC 3261 §16.6 step 11, §16.7 step 2).
    fn progress(&mut self) {
        self.progress = Some(Instant::now());
        self.progressed = true;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A request on its way downstream.
///
/// Dropped: an INVITE without a final response is cancelled; any other request is forgotten and its
/// late responses are dropped.
pub struct Forwarding {
    cx: Cx,
    shared: Shared,
}

impl Forwarding {
    pub(crate) fn start(
        cx: Cx,
        incoming: &Incoming,
        mut edits: Edits,
        timer: Option<ForwardedSession>,
    ) -> Self {
        let server = incoming.server();
        let hop = prepare(&cx, incoming, &mut edits);
        let from = incoming.source().listener;
        let shared = Waiting::new(Some(server), from, incoming.shared_request());
        shared.borrow_mut().timer = timer;
        let before = shared.borrow().is_invite.then(|| {
            let forwarded = Invited::Forwarded(Rc::downgrade(&shared));
            cx.0.invites.borrow_mut().insert(server, forwarded)
        });
        match hop {
            _ if matches!(before, Some(Some(Invited::Cancelled(_)))) => {
                shared.borrow_mut().push(Outcome::Cancelled);
            }
            None => shared.borrow_mut().push(Outcome::Unreachable),
            Some(hop) => launch(&cx, &shared, hop, &mut edits),
        }
        Self { cx, shared }
    }

    /// What came of it. After a final response there may be another, late one for an INVITE.
    ///
    /// Cancel-safe: what is not taken stays.
    pub async fn outcome(&mut self) -> Outcome {
        loop {
            let next = next_event(&self.shared);
            let event = match self.timer_c() {
                None => Ok(next.await),
                Some(deadline) => tokio::time::timeout_at(deadline, next).await,
            };
            match event {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {}
                // RFC 3261 §16.8: after a provisional response the branch is cancelled; the
                // machine ends it should no final response follow.
                Err(_) => {
                    self.shared.borrow_mut().progress = None;
                    self.cx.0.cancel(&self.shared);
                }
            }
        }
    }

    /// When Timer C fires (RFC 3261 §16.6 step 11); `None` unless an INVITE is on its way.
    fn timer_c(&self) -> Option<Instant> {
        let timer_c = self.cx.0.endpoint.borrow().config().timers.timer_c();
        self.shared.borrow().progress.map(|progress| progress + timer_c)
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        let (invite, answered) = {
            let waiting = self.shared.borrow();
            (waiting.is_invite, waiting.answered)
        };
        if invite && !answered {
            self.cx.0.cancel(&self.shared);
        }
    }
}

impl fmt::Debug for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarding").finish_non_exhaustive()
    }
}

/// The next outcome; `None` when a provisional response has moved Timer C.
async fn next_event(shared: &Shared) -> Option<Outcome> {
    poll_fn(|context| {
        let mut waiting = shared.borrow_mut();
        if !waiting.outcomes.is_empty() {
            return Poll::Ready(Some(waiting.outcomes.remove(0)));
        }
        if std::mem::take(&mut waiting.progressed) {
            return Poll::Ready(None);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    })
    .await
}

async fn next_outcome(shared: &Shared) -> Outcome {
    loop {
        if let Some(outcome) = next_event(shared).await {
            return outcome;
        }
    }
}

/// Sends a request of our own, behind those to the same Request-URI.
pub(crate) async fn send(cx: &Cx, request: Request, hop: NextHop, branch: Option<&str>) -> Outcome {
    let place = Place::new(cx, request.uri_text());
    if place.before() > LANE_WAITING_MAX {
        return Outcome::Unreachable;
    }
    let _turn = place.lane.acquire().await;
    send_beside(cx, request, hop, branch).await
}

/// A place in the lane of one Request-URI; the last one given up takes the lane away.
struct Place<'a> {
    cx: &'a Cx,
    uri: Vec<u8>,
    lane: Rc<Semaphore>,
}

impl<'a> Place<'a> {
    fn new(cx: &'a Cx, uri: &[u8]) -> Self {
        let uri = uri.to_vec();
        let mut lanes = cx.0.lanes.borrow_mut();
        let lane = lanes.entry(uri.clone()).or_insert_with(|| Rc::new(Semaphore::new(1)));
        Self { cx, uri, lane: Rc::clone(lane) }
    }

    /// How many were in the lane before this one: the table holds it once as well.
    fn before(&self) -> usize {
        Rc::strong_count(&self.lane) - 2
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.before() == 0 {
            self.cx.0.lanes.borrow_mut().remove(&self.uri);
        }
    }
}

/// Sends a request of our own that waits for no other: not for a MESSAGE.
pub(crate) async fn send_beside(
    cx: &Cx,
    request: Request,
    hop: NextHop,
    branch: Option<&str>,
) -> Outcome {
    let mut edits = with_product(cx, &request);
    let shared = Waiting::new(None, hop.listener, Rc::new(request));
    shared.borrow_mut().branch = branch.map(str::to_owned);
    launch(cx, &shared, hop, &mut edits);
    next_outcome(&shared).await
}

/// Sends an INVITE of our own; what comes back goes to `answers`.
pub(crate) fn invite(cx: &Cx, request: Request, hop: NextHop, answers: Rc<dyn Answers>) -> Shared {
    let mut edits = with_product(cx, &request);
    let shared = Waiting::new(None, hop.listener, Rc::new(request));
    shared.borrow_mut().answers = Some(answers);
    launch(cx, &shared, hop, &mut edits);
    shared
}

/// Sends the ACK of a 2xx to an INVITE of ours (RFC 3261 §13.2.2.4).
pub(crate) fn send_ack(cx: &Cx, ack: Request, hop: NextHop) {
    let edits = with_product(cx, &ack);
    send_stateless(cx, ack, hop, edits);
}

/// Adds our `User-Agent`, where none is (CORE-016).
fn with_product(cx: &Cx, request: &Request) -> Edits {
    let mut edits = Edits::new();
    let endpoint = cx.0.endpoint.borrow();
    let product = &endpoint.config().server;
    if !product.is_empty() && !request.has(HeaderName::UserAgent) {
        edits.append(HeaderName::UserAgent, product);
    }
    edits
}

/// Tells how a request ended to whoever waits for it.
fn conclude(cx: &Cx, shared: &Shared, outcome: Outcome) {
    let answers = {
        let mut waiting = shared.borrow_mut();
        match waiting.answers.take() {
            Some(answers) => {
                waiting.answered = true;
                answers
            }
            None => return waiting.push(outcome),
        }
    };
    answers.failed(cx, outcome);
}

/// A response to an INVITE of our own.
fn own_invite(cx: &Cx, shared: &Shared, answers: Rc<dyn Answers>, response: Response) {
    match response.status() {
        ..=100 => {}
        101..200 => answers.provisional(cx, response),
        200..300 => answers.success(cx, response),
        status => tried(cx, shared, Attempt::Status(status), Outcome::Final(response)),
    }
}

/// A response to a request that somebody waits for.
pub(crate) fn response(cx: &Cx, client: ClientKey, response: Response) {
    let Some(shared) = cx.0.clients.borrow().get(&client).map(Rc::clone) else { return };
    let answers = {
        let mut waiting = shared.borrow_mut();
        waiting.heard |= response.status() < 200;
        waiting.answers.clone()
    };
    if let Some(answers) = answers {
        return own_invite(cx, &shared, answers, response);
    }
    let (server, invite) = {
        let waiting = shared.borrow();
        (waiting.server, waiting.is_invite)
    };
    let status = response.status();
    if status < 200 {
        if invite && status > 100 {
            shared.borrow_mut().progress();
            if let Some(server) = server {
                cx.relay(server, &response);
            }
        }
        return;
    }
    if !invite {
        cx.0.clients.borrow_mut().remove(&client);
    }
    shared.borrow_mut().progress = None;
    match server {
        Some(server) if invite && response.is_success() => {
            let timer = shared.borrow().timer;
            cx.relay_with(server, &response, answered_timer(&response, timer));
            let mut waiting = shared.borrow_mut();
            // Repetitions of the 2xx are sent on too (RFC 6026 §8.4), but told once.
            if !waiting.answered {
                waiting.push(Outcome::Relayed(response));
            }
        }
        _ => tried(cx, &shared, Attempt::Status(status), Outcome::Final(response)),
    }
}

/// What a proxy adds to a 2xx whose sender knows no session timer (RFC 4028 §8.2).
fn answered_timer(response: &Response, timer: Option<ForwardedSession>) -> Edits {
    let mut edits = Edits::new();
    let has = response.has(HeaderName::SessionExpires);
    if let Some(timer) = timer
        && let ForwardedAnswer::Insert { interval } = proxied_answer(&timer, has)
    {
        edits.append(HeaderName::SessionExpires, format_args!("{interval};refresher=uac"));
        edits.append(HeaderName::Require, "timer");
    }
    edits
}

/// A request that somebody waits for failed at one target.
pub(crate) fn failed(cx: &Cx, client: ClientKey, failure: Failure) {
    let Some(shared) = cx.0.clients.borrow_mut().remove(&client) else { return };
    // The one before may fail late: the ACK for its 503 could not be sent.
    let (counts, provisional) = {
        let waiting = shared.borrow();
        (!waiting.answered && waiting.client == Some(client), waiting.heard)
    };
    if !counts {
        return;
    }
    match failure {
        Failure::Timeout => tried(cx, &shared, Attempt::Timeout { provisional }, Outcome::Timeout),
        Failure::Transport => tried(cx, &shared, Attempt::TransportError, Outcome::Unreachable),
    }
}

impl crate::shard::Inner {
    /// Cancels a forwarded INVITE (RFC 3261 §16.10).
    pub(crate) fn cancel(&self, shared: &Shared) {
        self.cancel_for(shared, None);
    }

    /// Cancels an INVITE, with this `Reason` (RFC 3326).
    pub(crate) fn cancel_for(&self, shared: &Shared, reason: Option<String>) {
        let client = {
            let mut waiting = shared.borrow_mut();
            waiting.cancelled = true;
            waiting.targets.give_up();
            waiting.client
        };
        if let Some(client) = client {
            self.endpoint.borrow_mut().cancel(self.instant(), client, reason);
            self.drain();
        }
    }
}

/// Passes a request through as a record-routing proxy and relays what comes back (CORE-034), but
/// for failures that would have the S-CSCF go on without us: see [`Downstream`].
///
/// A CANCEL that comes this far belongs to no INVITE here, and goes on statelessly (§16.10).
///
/// Without a response an INVITE gets 480, never 408: over ISC an error of ours is a routing
/// decision of the S-CSCF (CORE-063). Anything else gets nothing (RFC 4320 §4.2).
pub async fn pass(cx: Cx, incoming: Incoming, downstream: Downstream<'_>) {
    pass_with(cx, incoming, Edits::new(), downstream).await;
}

/// [`pass`], with changes.
pub async fn pass_with(cx: Cx, incoming: Incoming, edits: Edits, downstream: Downstream<'_>) {
    if incoming.request().method() == Method::Cancel {
        return pass_cancel(&cx, incoming);
    }
    let mut forwarding = cx.forward(&incoming, edits);
    match forwarding.outcome().await {
        Outcome::Final(response) => downstream.finish(incoming, &response),
        // The transaction has its final response; dropping `incoming` would add a 480.
        Outcome::Relayed(_) => incoming.done(),
        Outcome::Timeout if incoming.request().method() != Method::Invite => incoming.abandon(),
        Outcome::Timeout | Outcome::Unreachable => {
            let response = incoming.response(480);
            incoming.answer(response);
        }
        Outcome::Cancelled => {
            let response = incoming.response(487);
            incoming.answer(response);
        }
    }
}
