//! From a new request to the function that serves it: one decision, recorded, then its role.

use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use parlance_sip::endpoint::is_initial;
use parlance_sip::message::StartLine;
use parlance_sip::uri::Aor;
use parlance_sip::{Message, Method, Request, Source};
use parlance_store::Millis;

use crate::decision::{Context, Function, SessionState, options};
use crate::gate::{Gate, Proof};
use crate::journal::Journal;
use crate::reg_event::{RegEvent, RegEventPolicy};
use crate::registration::{Registrar, RegistrationEvent};
use crate::service::Service;
use crate::trust::{Admission, Challenge};
use crate::{Arrival, Cx, Decider, Decision, Dispatch, Incoming, Permit, Refusal, RefusalPolicy};
use crate::{Role, SessionCase, Task, forward, refusal, reg_event};

/// Told what happens to registrations.
pub trait RegistrationEvents {
    /// Called after the REGISTER was answered, on the shard that answered it.
    fn handle_registration(&self, cx: &Cx, event: &RegistrationEvent);
}

/// What a dispatcher is made of; shared by the shards and replaced as a whole on a reload.
#[derive(Debug)]
pub struct Rules {
    /// Decides.
    pub decider: Decider,
    /// Keeps registrations.
    pub registrar: Registrar,
    /// Challenges users of a core without IMS; `None` when the core asserts identities.
    pub gate: Option<Gate>,
    /// How refusals are worded.
    pub refusals: RefusalPolicy,
}

/// Decides about each request of one shard.
pub struct Dispatcher {
    rules: Rc<dyn Fn() -> Arc<Rules>>,
    journal: Arc<Mutex<Journal>>,
    participating: Rc<dyn Role>,
    controlling: Option<Rc<dyn Role>>,
    deferred: Option<Rc<dyn Role>>,
    events: Rc<dyn RegistrationEvents>,
    reg_event: Option<Rc<RegEvent>>,
}

impl Dispatcher {
    /// A dispatcher. `rules` gives those in force; requests under way keep theirs.
    pub fn new(
        rules: impl Fn() -> Arc<Rules> + 'static,
        journal: Arc<Mutex<Journal>>,
        participating: Rc<dyn Role>,
        events: Rc<dyn RegistrationEvents>,
    ) -> Self {
        let (controlling, deferred, reg_event) = (None, None, None);
        let rules = Rc::new(rules);
        Self { rules, journal, participating, controlling, deferred, events, reg_event }
    }

    /// Serves groups, the conference factory, the exploder and the identities of running sessions.
    #[must_use]
    pub fn with_controlling(mut self, controlling: Rc<dyn Role>) -> Self {
        self.controlling = Some(controlling);
        self
    }

    /// Serves what users ask of the deferred function: `message-summary`.
    #[must_use]
    pub fn with_deferred(mut self, deferred: Rc<dyn Role>) -> Self {
        self.deferred = Some(deferred);
        self
    }

    /// Subscribes to the `reg` event of every user who registers (RFC 3680, CORE-021). Without
    /// this the third-party REGISTER alone tells who is registered.
    #[must_use]
    pub fn with_reg_event(mut self, policy: RegEventPolicy) -> Self {
        let (rules, events) = (Rc::clone(&self.rules), Rc::clone(&self.events));
        self.reg_event = Some(Rc::new(RegEvent::new(policy, rules, events)));
        self
    }
}

impl Dispatch for Dispatcher {
    fn admit(&self, _: &Cx, source: &Source, peer_names: &[String], message: &Message) -> bool {
        let StartLine::Request { method, .. } = message.start_line() else { return true };
        let peer = (self.rules)().decider.trust.of(source, peer_names);
        peer.admit(method, source.transport) == Admission::Admit
    }

    fn dispatch(&self, cx: Cx, arrival: Arrival) -> Task {
        let serving = Serving {
            rules: (self.rules)(),
            journal: Arc::clone(&self.journal),
            participating: Rc::clone(&self.participating),
            controlling: self.controlling.clone(),
            deferred: self.deferred.clone(),
            events: Rc::clone(&self.events),
            reg_event: self.reg_event.clone(),
        };
        // A block: it holds what it captures once, an `async fn` its arguments twice.
        Box::pin(async move {
            let (decision, stale) = serving.decide(&cx, &arrival).await;
            let incoming = Incoming::new(cx.clone(), arrival, decision);
            serving.run(cx, incoming, stale).await;
        })
    }

    fn handle_registration(&self, cx: &Cx, event: &RegistrationEvent) {
        if let Some(reg_event) = &self.reg_event {
            reg_event.handle_registration(cx, event);
        }
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

/// What serving one request needs.
struct Serving {
    rules: Arc<Rules>,
    journal: Arc<Mutex<Journal>>,
    participating: Rc<dyn Role>,
    controlling: Option<Rc<dyn Role>>,
    deferred: Option<Rc<dyn Role>>,
    events: Rc<dyn RegistrationEvents>,
    reg_event: Option<Rc<RegEvent>>,
}

impl Serving {
    /// The decision, and whether a digest response was right but for its age.
    async fn decide(&self, cx: &Cx, arrival: &Arrival) -> (Decision, bool) {
        let Arrival { source, peer_names, request, .. } = arrival;
        let now = cx.now();
        let proof = self.rules.gate.as_ref().map_or(Proof::None, |gate| gate.prove(request, now));
        let proven = match &proof {
            Proof::Identity(identity) => Some(identity),
            Proof::None | Proof::Rejected { .. } => None,
        };
        let in_session = cx.0.sessions.owns(request)
            || self.reg_event.as_ref().is_some_and(|events| events.owns(request));
        let context = Context { in_session, session: self.session(request), proven };
        let decider = &self.rules.decider;
        let decision = decider.decide(request, source, peer_names, context, now).await;
        self.record(now, source, request, &decision);
        if decision.ends_registration() {
            Box::pin(self.end_registration(cx, &decision)).await;
        }
        let stale = proof == Proof::Rejected { stale: true };
        (decision, stale)
    }

    async fn run(&self, cx: Cx, incoming: Incoming, stale: bool) {
        match incoming.decision().role.clone() {
            Function::Participating(_) => {
                Rc::clone(&self.participating).transaction(cx, incoming).await;
            }
            // In boxes: what is served most would else carry room for them.
            Function::Registration => Box::pin(self.register(&cx, incoming)).await,
            Function::Server => {
                let reply = options(incoming.request(), &self.rules.decider.services);
                incoming.reply(&reply);
            }
            Function::PassThrough => {
                if !is_initial(incoming.request()) {
                    self.participating.passed(&cx, incoming.request());
                }
                let downstream = self.rules.refusals.downstream();
                Box::pin(forward::pass(cx, incoming, downstream)).await;
            }
            Function::Refused(refused) => self.refuse(&cx, &refused, incoming, stale),
            Function::Dropped => incoming.abandon(),
            Function::Session => match &self.reg_event {
                Some(reg_event) if reg_event.owns(incoming.request()) => {
                    reg_event.deliver(incoming);
                }
                Some(_) | None => cx.0.sessions.deliver(&cx, incoming),
            },
            Function::Controlling(_) => Box::pin(self.control(cx, incoming)).await,
            // Decided only for what `Services::running` says runs here; dropping it answers 480.
            Function::Deferred => match self.deferred.clone() {
                Some(deferred) => deferred.transaction(cx, incoming).await,
                None => drop(incoming),
            },
            Function::History => drop(incoming),
        }
    }

    /// What is known of the session that an initial request is addressed to.
    fn session(&self, request: &Request) -> SessionState {
        // No session identity takes a MESSAGE: what is served most is not looked at.
        let asked = self.controlling.as_ref().filter(|_| request.method() != Method::Message);
        let Some(controlling) = asked else { return SessionState::Unknown };
        let identity = request.uri().and_then(|uri| Aor::from_uri(&uri));
        let services = &self.rules.decider.services;
        let session = |identity: &Aor| services.service(identity) == Some(Service::Session);
        identity.filter(session).map_or(SessionState::Unknown, |it| controlling.session(&it))
    }

    /// A request to a service of the controlling function; that of the originator has its say
    /// before (OMA-TS-SIMPLE_IM §7.1.1).
    async fn control(&self, cx: Cx, mut incoming: Incoming) {
        let Some(controlling) = self.controlling.clone() else { return drop(incoming) };
        let permit = match incoming.decision().case() {
            SessionCase::Originating => self.participating.permit(&cx, &incoming).await,
            SessionCase::Terminating => Ok(Permit::default()),
        };
        match permit {
            Ok(permit) => {
                incoming.hold(permit);
                controlling.transaction(cx, incoming).await;
            }
            Err(reply) => incoming.reply(&reply),
        }
    }

    fn refuse(&self, cx: &Cx, refused: &Refusal, incoming: Incoming, stale: bool) {
        let reply = refusal(refused, &self.rules.refusals);
        let challenged = matches!(refused, Refusal::Challenge(Challenge::Uas | Challenge::Proxy));
        match self.rules.gate.as_ref().filter(|_| challenged) {
            Some(gate) => {
                let mut entropy = || cx.random();
                incoming.reply(&gate.challenge(reply, stale, cx.now(), &mut entropy));
            }
            None => incoming.reply(&reply),
        }
    }

    /// The third-party REGISTER; what follows from it comes after the answer.
    async fn register(&self, cx: &Cx, incoming: Incoming) {
        let Rules { decider, registrar, .. } = &*self.rules;
        let request = incoming.request();
        let outcome = registrar.third_party(request, &decider.services, cx.now()).await;
        incoming.reply(&outcome.reply);
        if let Some(event) = outcome.event {
            self.tell(cx, &event);
        }
    }

    fn tell(&self, cx: &Cx, event: &RegistrationEvent) {
        self.events.handle_registration(cx, event);
        if self.reg_event.is_some() {
            reg_event::pass_on(cx, event);
        }
    }

    /// The core says that the user is gone (CORE-065).
    async fn end_registration(&self, cx: &Cx, decision: &Decision) {
        let Some(user) = &decision.user else { return };
        match self.rules.registrar.unregistered(user).await {
            Ok(Some(event)) => self.tell(cx, &event),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "registration not ended"),
        }
    }

    fn record(&self, now: Millis, source: &Source, request: &Request, decision: &Decision) {
        tracing::debug!(
            call_id = %String::from_utf8_lossy(request.call_id()),
            branch = request.top_via().and_then(|via| via.branch()),
            method = request.method().as_str(),
            reason = %decision.reason,
            "decided"
        );
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.record(now, source, request, decision);
    }
}
