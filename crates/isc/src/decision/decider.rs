//! Collects what a decision rests on.

use std::fmt;
use std::sync::Arc;

use parlance_sip::uri::Aor;
use parlance_sip::{Request, Source};
use parlance_store::{Millis, Profiles, Registrations, StoreError};

use super::{Decision, DecisionPolicy, Facts, SessionState, choose};
use crate::ifc::InitialFilterCriteria;
use crate::mark::Marks;
use crate::served_user::{Subscriber, look_up, served_user};
use crate::service::Services;
use crate::trust::Trust;

/// What the server decides with. Built once, shared by every shard.
pub struct Decider {
    /// Who is trusted.
    pub trust: Trust,
    /// What the server hosts.
    pub services: Services,
    /// How it recognises its own requests.
    pub marks: Marks,
    /// The criteria applied for neighbours that have none.
    pub filter: Vec<InitialFilterCriteria>,
    /// How the operator wants it.
    pub policy: DecisionPolicy,
    /// Settings and aliases.
    pub profiles: Arc<dyn Profiles>,
    /// Who is registered.
    pub registrations: Arc<dyn Registrations>,
}

/// What only the running half knows of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Whether its dialog belongs to a session here.
    pub in_session: bool,
    /// The session its Request-URI names.
    pub session: SessionState,
    /// The identity a digest response in it proved.
    pub proven: Option<&'a Aor>,
}

impl Decider {
    /// Decides who serves `request`, which came from `source` with these names in its certificate.
    /// Waits only when the store has not at hand what it knows of the served user.
    pub async fn decide(
        &self,
        request: &Request,
        source: &Source,
        names: &[String],
        context: Context<'_>,
        now: Millis,
    ) -> Decision {
        let peer = self.trust.of(source, names);
        let Context { in_session, session, proven } = context;
        let served = served_user(request, &peer, source.listener, &self.services, proven);
        // A request in a session has its answer there; the order of requests must not depend on how
        // long the store takes.
        let asks = peer.kind().is_some() && !in_session;
        let subscriber = match served.identity.as_ref().filter(|_| asks) {
            Some(identity) => self.subscriber(identity, now).await.ok(),
            None => Some(Subscriber::Unknown),
        };
        let facts = Facts {
            peer: &peer,
            transport: source.transport,
            services: &self.services,
            served: &served,
            subscriber: subscriber.as_ref(),
            origin: self.marks.recognise(request),
            in_session,
            session,
            proven,
            filter: &self.filter,
            policy: &self.policy,
        };
        let origin = facts.origin;
        choose(request, &facts).into_decision(request, peer, served, subscriber, origin)
    }

    async fn subscriber(&self, identity: &Aor, now: Millis) -> Result<Subscriber, StoreError> {
        look_up(&*self.profiles, &*self.registrations, identity, now).await.inspect_err(|error| {
            tracing::warn!(%error, "the served user could not be looked up");
        })
    }
}

impl fmt::Debug for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decider").field("services", &self.services).finish_non_exhaustive()
    }
}
