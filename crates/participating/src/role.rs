//! The role: what it is made of, and which procedure serves a request.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use parlance_isc::service::Service;
use parlance_isc::{
    Cx, Decision, Deferral, Function, Incoming, Local, Media, Permit, Rates, Reason, Reply, Role,
    SessionCase, Task, pass_with,
};
use parlance_sip::{Edits, Method, Request};
use parlance_store::{Millis, Profile};

use crate::access::Lists;
use crate::content::ContentFilter;
use crate::event::{Ended, EventSink, Step};
use crate::history::History;
use crate::passage::{Passage, note};
use crate::policy::Policy;
use crate::refusal::{Refusal, refusal};
use crate::session::{Asked, PreEstablished, Seats};
use crate::{amend, originating, session, settings, terminating};

/// The participating IM function of one shard.
pub struct Participating {
    policy: Box<dyn Fn() -> Arc<Policy>>,
    functions: Functions,
}

/// What the function calls upon.
pub(crate) struct Functions {
    pub(crate) deferral: Option<Rc<dyn Deferral>>,
    pub(crate) lists: Option<Rc<dyn Lists>>,
    pub(crate) filter: Option<Rc<dyn ContentFilter>>,
    pub(crate) events: Option<Rc<dyn EventSink>>,
    pub(crate) history: Option<Rc<dyn History>>,
    pub(crate) controlling: Option<Rc<dyn Role>>,
    pub(crate) media: Media,
    pub(crate) rates: Arc<Rates>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) pre_established: Arc<PreEstablished>,
    pub(crate) meter: Meter,
    /// The settings of everybody who has none.
    pub(crate) unset: Arc<Profile>,
}

impl Functions {
    /// The settings of the served user. Where he has none, the core says that he has the service;
    /// they are those nobody changed.
    pub(crate) fn profile_of(&self, decision: &Decision) -> Arc<Profile> {
        Arc::clone(decision.subscriber.profile().unwrap_or(&self.unset))
    }
}

impl Participating {
    /// A function that stores nothing. `policy` gives what is in force; a message under way keeps
    /// what it began with. `rates` is shared by all shards.
    pub fn new(policy: impl Fn() -> Arc<Policy> + 'static, rates: Arc<Rates>) -> Self {
        let functions = Functions {
            deferral: None,
            lists: None,
            filter: None,
            events: None,
            history: None,
            controlling: None,
            media: Media::none(),
            rates,
            seats: Arc::new(Seats::new()),
            pre_established: Arc::new(PreEstablished::new()),
            meter: Meter::new(),
            unset: Arc::default(),
        };
        Self { policy: Box::new(policy), functions }
    }

    /// Offers what cannot be delivered to the deferred function; without one it is answered 480.
    #[must_use]
    pub fn with_deferral(mut self, deferral: Rc<dyn Deferral>) -> Self {
        self.functions.deferral = Some(deferral);
        self
    }

    /// Counts the sessions of users in `seats`, which all shards share; without it each shard
    /// counts for itself.
    #[must_use]
    pub fn with_seats(mut self, seats: Arc<Seats>) -> Self {
        self.functions.seats = seats;
        self
    }

    /// Keeps the pre-established sessions of users in `table`, which all shards share; without it
    /// an invitation is answered only from those of its own shard.
    #[must_use]
    pub fn with_pre_established(mut self, table: Arc<PreEstablished>) -> Self {
        self.functions.pre_established = table;
        self
    }

    /// Anchors sessions at these MSRP cores, where the operator wants them anchored; without them
    /// they are proxied.
    #[must_use]
    pub fn with_media(mut self, media: Media) -> Self {
        self.functions.media = media;
        self
    }

    /// Makes a conference of a session between two users of one domain, unless the operator lets
    /// them have it between themselves: `controlling` gets the INVITE as it came, the decision
    /// naming this function, and invites whom the Request-URI names.
    #[must_use]
    pub fn with_controlling(mut self, controlling: Rc<dyn Role>) -> Self {
        self.functions.controlling = Some(controlling);
        self
    }

    /// Asks for the members of lists outside the profile; without it they have none.
    #[must_use]
    pub fn with_lists(mut self, lists: Rc<dyn Lists>) -> Self {
        self.functions.lists = Some(lists);
        self
    }

    /// Asks a content filter about every message.
    #[must_use]
    pub fn with_filter(mut self, filter: Rc<dyn ContentFilter>) -> Self {
        self.functions.filter = Some(filter);
        self
    }

    /// Tells `events` what happens to every message and session.
    #[must_use]
    pub fn with_events(mut self, events: Rc<dyn EventSink>) -> Self {
        self.functions.events = Some(events);
        self
    }

    /// Keeps the messages of users whose history is active in `history`. Their sessions, and those
    /// for a large message, are anchored then, where MSRP cores listen; of what they have with a
    /// service hosted here that service tells ([`parlance_isc::Lent::heard`]).
    #[must_use]
    pub fn with_history(mut self, history: Rc<dyn History>) -> Self {
        self.functions.history = Some(history);
        self
    }

    /// Whether a user may make a request of a service hosted here; who is nobody of ours is for the
    /// service alone to judge.
    fn granted(&self, cx: &Cx, incoming: &Incoming) -> Result<Permit, Reply> {
        let decision = incoming.decision();
        let Some(user) = &decision.user else { return Ok(Permit::default()) };
        let (policy, received) = ((self.policy)(), cx.now());
        let asked = Asked {
            functions: &self.functions,
            policy: &policy,
            profile: &self.functions.profile_of(decision),
            user,
            request: incoming.request(),
            decision,
            case: decision.case(),
            received,
        };
        let tell = |step| {
            if matches!(incoming.request().method(), Method::Message | Method::Invite) {
                note(&self.functions, cx, asked.case, user, incoming.request(), step);
            }
        };
        tell(Step::Received);
        match asked.permit(cx) {
            Ok(permit) => {
                tell(Step::Forwarded);
                Ok(permit)
            }
            Err(refused) => {
                self.functions.meter.refused(&refused);
                let reply = refusal(&refused, &policy);
                tell(Step::Answered(reply.status));
                Err(reply)
            }
        }
    }

    /// A request to the service of pre-established sessions. It serves who sends it, and only users
    /// of ours are served.
    async fn pre_establish(self: Rc<Self>, cx: Cx, incoming: Incoming) {
        let case = incoming.decision().case();
        let policy = (self.policy)();
        let is_own = case == SessionCase::Originating;
        match Passage::new(&self.functions, &cx, Arc::clone(&policy), case, incoming) {
            Ok(passage) if is_own => session::pre_establish(passage).await,
            Ok(passage) => passage.refuse(&Refusal::NotAuthorised),
            Err(incoming) => incoming.reply(&refusal(&Refusal::NotAuthorised, &policy)),
        }
    }

    /// Passes a request through, with these changes.
    async fn pass(&self, cx: Cx, incoming: Incoming, edits: Edits) {
        let policy = (self.policy)();
        pass_with(cx, incoming, edits, policy.downstream()).await;
    }

    async fn serve(self: Rc<Self>, cx: Cx, incoming: Incoming) {
        if incoming.decision().reason == Reason::Service(Service::PreEstablished) {
            return Box::pin(self.pre_establish(cx, incoming)).await;
        }
        let method = incoming.request().method();
        let is_message = method == Method::Message;
        let is_session = matches!(method, Method::Invite | Method::Refer | Method::Subscribe);
        let Function::Participating(case) = incoming.decision().role else {
            return Box::pin(self.pass(cx, incoming, Edits::new())).await;
        };
        if method == Method::Publish {
            // In a box, as what follows: most are messages, and need no room for it.
            let policy = (self.policy)();
            return Box::pin(settings::serve(&self.functions, &cx, &policy, incoming)).await;
        }
        if !is_message && !is_session {
            let edits = amend::untouched(incoming.request());
            return Box::pin(self.pass(cx, incoming, edits)).await;
        }
        let policy = (self.policy)();
        match Passage::new(&self.functions, &cx, policy, case, incoming) {
            // In a box: most are messages, and need no room for it.
            Ok(passage) if is_session => Box::pin(session::serve(passage)).await,
            Ok(passage) => match case {
                SessionCase::Originating => originating::serve(passage).await,
                SessionCase::Terminating => terminating::serve(passage).await,
            },
            // Nobody is served, so nothing is to be done for him.
            Err(incoming) => Box::pin(self.pass(cx.clone(), incoming, Edits::new())).await,
        }
    }
}

impl Role for Participating {
    /// Serves a MESSAGE, an INVITE, what is asked of a focus, and settings; every other method
    /// passes through, with nothing changed but P-Preferred-Identity.
    fn transaction(self: Rc<Self>, cx: Cx, request: Incoming) -> Task {
        Box::pin(self.serve(cx, request))
    }

    fn permit<'a>(&'a self, cx: &'a Cx, request: &'a Incoming) -> Local<'a, Result<Permit, Reply>> {
        Box::pin(std::future::ready(self.granted(cx, request)))
    }

    fn passed(&self, cx: &Cx, request: &Request) {
        let users = self.functions.seats.passed(request, cx.now());
        let step = match request.method() {
            Method::Bye => Step::Ended(Ended { cause: 200, traffic: None }),
            _ => Step::Modified,
        };
        for (user, case) in users {
            note(&self.functions, cx, case, &user, request, step);
        }
    }
}

impl fmt::Debug for Participating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participating").finish_non_exhaustive()
    }
}

/// The counters; all shards add to the same.
pub(crate) struct Meter {
    pub(crate) forwarded: Counter,
    pub(crate) deferred: Counter,
    pub(crate) discarded: Counter,
    pub(crate) late: Counter,
    /// When a warning was logged last.
    warned: Cell<Millis>,
}

impl Meter {
    fn new() -> Self {
        Self {
            forwarded: counter!("parlance_participating_forwarded_total"),
            deferred: counter!("parlance_participating_deferred_total"),
            discarded: counter!("parlance_participating_discarded_total"),
            late: counter!("parlance_participating_delivered_late_total"),
            warned: Cell::new(Millis(0)),
        }
    }

    /// Whether a warning may be logged at `now`: one a second.
    pub(crate) fn may_warn(&self, now: Millis) -> bool {
        let is_due = now.since(self.warned.get()) >= Duration::from_secs(1);
        if is_due {
            self.warned.set(now);
        }
        is_due
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        counter!("parlance_participating_refused_total", "why" => refusal.label()).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use parlance_store::Millis;

    use super::Meter;

    // Covers: SEC-012
    #[test]
    fn warnings_come_once_a_second() {
        let meter = Meter::new();
        let times = [5_000, 5_001, 5_999, 6_000, 6_500, 9_000];
        let warned = times.map(|time| meter.may_warn(Millis(time)));
        assert_eq!(warned, [true, false, false, true, false, true]);
    }
}
