//! Which function of the server serves a request, and why: decided once, here.
//!
//! The order is that of the life of a request: is the neighbour trusted; whom does the request
//! serve and on which side; does it belong to a dialog, to a service hosted here, to the server
//! itself, or is it a user's request passing through (OMA-TS-SIMPLE_IM §7.1). [`decide`] is a
//! function of the request and of [`Facts`]; [`Decider`] collects the facts.

mod decider;
mod nested;
mod proxy;
mod reason;
mod refusal;
mod server;
mod service;
mod uas;
mod user;

use std::fmt;

use parlance_sip::endpoint::is_initial;
use parlance_sip::header::{From, Header, Route, SessionCase, To};
use parlance_sip::message::Fault;
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Method, Request, Transport};
use parlance_store::UserId;

pub use decider::{Context, Decider};
pub use reason::Reason;
pub use refusal::{Refusal, RefusalPolicy, refusal, warning};
pub use uas::options;

use crate::Private;
use crate::feature::{self, Mode};
use crate::ifc::InitialFilterCriteria;
use crate::mark::Origin;
use crate::served_user::{ServedUser, Subscriber, remaining_route};
use crate::service::{Destination, Service, Services};
use crate::trust::{Admission, Originator, Peer};

/// Who serves a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Function {
    /// The participating function, for the user on this side.
    Participating(SessionCase),
    /// The controlling function. For the conference factory the participating function of the
    /// originator has its say as well.
    Controlling(Service),
    /// The deferred function, called by its user: retrieval, `message-summary`.
    Deferred,
    /// Conversation history.
    History,
    /// The third-party REGISTER procedure.
    Registration,
    /// A session here whose dialog the request belongs to: it has the function that was fixed when
    /// the session was set up.
    Session,
    /// The server answers for itself: OPTIONS.
    Server,
    /// Nobody: the request goes on along its Route.
    PassThrough,
    /// Nobody: the request is answered.
    Refused(Refusal),
    /// Nobody, and there is no answer: an ACK.
    Dropped,
}

/// A decision, with what it rests on.
#[derive(Clone)]
pub struct Decision {
    /// Who serves the request.
    pub role: Function,
    /// Why.
    pub reason: Reason,
    /// Which neighbour it came from; [`Peer::strip`] says what of it does not go further.
    pub peer: Peer,
    /// Whom it serves, as it says itself.
    pub served: ServedUser,
    /// The served user, resolved; `None` when nobody is served or known.
    pub user: Option<UserId>,
    /// What is kept about him.
    pub subscriber: Subscriber,
    /// Who sent it; `None` when that was not asked, or is withheld.
    pub originator: Option<Originator>,
    /// How it carries a message.
    pub mode: Option<Mode>,
    /// Which part of this server sent it, if one did.
    pub origin: Option<Origin>,
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("role", &self.role)
            .field("reason", &self.reason)
            .field("user", &Private(self.user.as_ref()))
            .finish_non_exhaustive()
    }
}

impl Decision {
    /// On which side of the request the served user stands.
    pub fn case(&self) -> SessionCase {
        self.served.case
    }

    /// Whether the served user counts as registered. What the core says goes before what is kept
    /// here, both ways (RFC 5502 §6).
    pub fn is_registered(&self) -> bool {
        self.served.registered.unwrap_or_else(|| self.subscriber.registration().is_some())
    }

    /// Whether the core says that a user is gone whom we still have as registered: the binding
    /// ends then, whatever its own timer says.
    pub fn ends_registration(&self) -> bool {
        self.served.case == SessionCase::Terminating
            && self.served.registered == Some(false)
            && self.subscriber.registration().is_some()
    }
}

/// What is known of the session a Request-URI names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionState {
    /// It is no session identity, or one never heard of.
    #[default]
    Unknown,
    /// It runs.
    Running,
    /// It ended a short while ago.
    Ended,
}

/// Who says which users have the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provisioning {
    /// The core: a user whose filter criteria lead here has it, unless a profile says otherwise.
    #[default]
    ByCore,
    /// The operator, here: a user without a profile does not have it.
    ByOperator,
}

/// How the operator wants decisions made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionPolicy {
    /// Who says which users have the service; default the core.
    pub provisioning: Provisioning,
    /// Whether From of an originating request must be one of the originator's identities or
    /// anonymous; default true.
    pub from_must_match: bool,
}

impl Default for DecisionPolicy {
    fn default() -> Self {
        Self { provisioning: Provisioning::default(), from_must_match: true }
    }
}

/// What a decision rests on, besides the request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who sent it to us.
    pub peer: &'a Peer,
    /// Over which transport.
    pub transport: Transport,
    /// What the server hosts.
    pub services: &'a Services,
    /// Whom it serves.
    pub served: &'a ServedUser,
    /// What is kept about him; `None` when the store could not say.
    pub subscriber: Option<&'a Subscriber>,
    /// Which part of this server sent it.
    pub origin: Option<Origin>,
    /// Whether its dialog belongs to a session here.
    pub in_session: bool,
    /// The session its Request-URI names.
    pub session: SessionState,
    /// The identity a digest response in it proved.
    pub proven: Option<&'a Aor>,
    /// What is served for neighbours that have no filter of their own.
    pub filter: &'a [InitialFilterCriteria],
    /// How the operator wants it.
    pub policy: &'a DecisionPolicy,
}

impl Facts<'_> {
    /// Whether a Route is left once ours is off.
    fn goes_on(&self, request: &Request) -> bool {
        remaining_route(request, self.served).next().is_some()
    }
}

/// A step's outcome: who serves, why, and who sent it if that was found out.
pub(crate) struct Choice {
    role: Function,
    reason: Reason,
    originator: Option<Originator>,
}

impl Choice {
    /// The decision, with the facts it rests on.
    fn into_decision(
        self,
        request: &Request,
        peer: Peer,
        served: ServedUser,
        subscriber: Option<Subscriber>,
        origin: Option<Origin>,
    ) -> Decision {
        let Self { role, reason, originator } = self;
        let subscriber = subscriber.unwrap_or(Subscriber::Unknown);
        // A user nothing is kept about yet goes by the identity the core served him under.
        let user = subscriber.user().cloned().or_else(|| {
            let serves = matches!(role, Function::Participating(_));
            let identity = served.identity.as_ref().filter(|_| serves)?;
            Some(UserId::from(identity.as_str()))
        });
        let mode = feature::mode(request);
        Decision { role, reason, peer, served, user, subscriber, originator, mode, origin }
    }

    fn of(role: Function, reason: Reason) -> Self {
        Self { role, reason, originator: None }
    }

    fn refuse(refusal: Refusal, reason: Reason) -> Self {
        Self::of(Function::Refused(refusal), reason)
    }
}

/// Decides who serves `request`.
pub fn decide(request: &Request, facts: &Facts<'_>) -> Decision {
    let (peer, served) = (facts.peer.clone(), facts.served.clone());
    let (subscriber, origin) = (facts.subscriber.cloned(), facts.origin);
    choose(request, facts).into_decision(request, peer, served, subscriber, origin)
}

fn choose(request: &Request, facts: &Facts<'_>) -> Choice {
    match facts.peer.admit(request.method(), facts.transport) {
        Admission::Admit => {}
        Admission::Refuse => return Choice::refuse(Refusal::Untrusted, Reason::UntrustedPeer),
        Admission::Drop => return Choice::of(Function::Dropped, Reason::UntrustedPeer),
    }
    if !next_hop_is_readable(request, facts) {
        let reason = Reason::Malformed(HeaderName::Route);
        return match request.method() {
            Method::Ack => Choice::of(Function::Dropped, reason),
            _ => Choice::refuse(Refusal::Malformed(Fault::Header(HeaderName::Route)), reason),
        };
    }
    if !is_initial(request) {
        return in_dialog(request, facts);
    }
    let destination =
        request.uri().map_or(Destination::Unsupported, |uri| facts.services.destination(&uri));
    match destination {
        Destination::Service(service) => service::choose(request, facts, service),
        Destination::Server if request.method() == Method::Register => register(request, facts),
        // A loose router before us may leave our own address as the target (RFC 3261 §16.4); with
        // a Route left the request is for somebody else.
        Destination::Server if !facts.goes_on(request) => server::choose(request, facts),
        Destination::Server
        | Destination::Local
        | Destination::Telephone
        | Destination::Foreign
        | Destination::Unsupported => user::choose(request, facts, destination),
    }
}

/// Whether the Route after ours can be acted on: when the message was checked it was not yet known
/// which one that is (RFC 3261 §16.3 item 1, §16.4).
fn next_hop_is_readable(request: &Request, facts: &Facts<'_>) -> bool {
    let next = remaining_route(request, facts.served).next();
    next.is_none_or(|value| Route::parse(value).is_ok())
}

/// A request in a dialog goes where its dialog is; it is not looked at otherwise (RFC 3261 §12.2).
/// One on its way there may pass here as at a proxy before: then a Route is left.
fn in_dialog(request: &Request, facts: &Facts<'_>) -> Choice {
    if facts.in_session && !facts.goes_on(request) {
        return Choice::of(Function::Session, Reason::InDialogHere);
    }
    // A session identity leads nowhere but here: it is the Contact of a focus.
    let is_ours = request.uri().is_some_and(|uri| {
        uri.as_sip().is_some_and(|uri| facts.services.is_own(uri))
            || facts.services.destination(&uri) == Destination::Service(Service::Session)
    });
    if is_ours && !facts.goes_on(request) {
        return match request.method() {
            Method::Ack => Choice::of(Function::Dropped, Reason::NoDialog),
            _ => Choice::refuse(Refusal::NoDialog, Reason::NoDialog),
        };
    }
    proxy::pass(request, facts, Reason::InDialog)
}

/// A REGISTER is served when the core sends it for a user; a user's own is not for us (TS 24.229
/// §5.4.1.7).
fn register(request: &Request, facts: &Facts<'_>) -> Choice {
    if !facts.peer.is_inside() {
        return Choice::refuse(Refusal::Untrusted, Reason::UntrustedPeer);
    }
    let from = request.header::<From<'_>>().ok().flatten();
    let to = request.header::<To<'_>>().ok().flatten();
    let from = from.and_then(|from| Aor::from_uri(&from.uri()));
    let to = to.and_then(|to| Aor::from_uri(&to.uri()));
    if from.is_some() && from == to {
        let allowed = server::METHODS.iter().filter(|method| **method != Method::Register);
        let refusal = Refusal::MethodNotAllowed(allowed.map(Method::as_str).collect());
        return Choice::refuse(refusal, Reason::FirstPartyRegister);
    }
    if let Some(refusal) = uas::extensions(request, server::EXTENSIONS) {
        return Choice::refuse(refusal, Reason::Malformed(HeaderName::Require));
    }
    Choice::of(Function::Registration, Reason::ThirdPartyRegister)
}

#[cfg(test)]
mod tests;
