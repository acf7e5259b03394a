//! The role: what it is made of, and which procedure serves a request.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use metrics::{Counter, Gauge, counter, gauge};
use parlance_isc::decision::SessionState;
use parlance_isc::media::Media;
use parlance_isc::service::Service;
use parlance_isc::session::Event;
use parlance_isc::{Cx, Function, Incoming, Mode, Role, Task};
use parlance_sip::uri::Aor;
use parlance_sip::{ListenerId, Method};
use parlance_store::Millis;

use crate::explode::{Exploder, Exploding};
use crate::focus::Kind;
use crate::groups::Groups;
use crate::policy::Policy;
use crate::quota::Quota;
use crate::refusal::{Refusal, refusal};
use crate::register::Register;
use crate::session::begin::{self, Beginning};
use crate::session::{replace, watch};
use crate::table::Table;

/// What the controlling function of one shard is made of.
pub struct Setup {
    /// The groups that are hosted here.
    pub groups: Rc<dyn Groups>,
    /// The MSRP cores.
    pub media: Media,
    /// Where requests of our own are sent from.
    pub listener: ListenerId,
    /// What the user part of session identities begins with.
    pub prefix: String,
    /// The domain of session identities.
    pub domain: String,
    /// The sessions of all shards.
    pub quota: Arc<Quota>,
    /// Where the sessions of all shards are listed.
    pub register: Arc<Register>,
    /// Tells the wall-clock time.
    pub clock: parlance_isc::Clock,
}

/// The controlling function of one shard (OMA-TS-SIMPLE_IM §7.4).
pub struct Controlling {
    policy: Box<dyn Fn() -> Arc<Policy>>,
    hosted: Rc<Hosted>,
    exploding: Option<Rc<Exploding>>,
}

/// What all sessions of a shard share.
pub(crate) struct Hosted {
    pub(crate) groups: Rc<dyn Groups>,
    pub(crate) media: Media,
    pub(crate) listener: ListenerId,
    pub(crate) prefix: String,
    pub(crate) domain: String,
    pub(crate) quota: Arc<Quota>,
    pub(crate) register: Arc<Register>,
    pub(crate) table: RefCell<Table>,
    pub(crate) meter: Meter,
    clock: parlance_isc::Clock,
}

impl Hosted {
    /// Whether a group is hosted here under this identity.
    ///
    /// # Errors
    /// The groups cannot be asked.
    pub(crate) async fn is_group(&self, identity: &Aor) -> Result<bool, Refusal> {
        let group = self.groups.group(identity).await;
        group.map(|group| group.is_some()).map_err(|_| Refusal::Unavailable)
    }
}

impl Controlling {
    /// A function without sessions. `policy` gives what is in force; a session keeps what it began
    /// with.
    pub fn new(policy: impl Fn() -> Arc<Policy> + 'static, setup: Setup) -> Self {
        let Setup { groups, media, listener, prefix, domain, quota, register, clock } = setup;
        let hosted = Hosted {
            groups,
            media,
            listener,
            prefix,
            domain,
            quota,
            register,
            table: RefCell::default(),
            meter: Meter::new(),
            clock,
        };
        Self { policy: Box::new(policy), hosted: Rc::new(hosted), exploding: None }
    }

    /// Sends a MESSAGE to the exploder or to a group, and a large message to the conference factory
    /// or to a group, to each recipient; without it, they are refused.
    #[must_use]
    pub fn with_exploder(mut self, exploder: &Exploder) -> Self {
        self.exploding = Some(exploder.role(Rc::clone(&self.hosted.groups)));
        self
    }

    /// How many identities lead to sessions that run on this shard.
    pub fn running(&self) -> usize {
        self.hosted.table.borrow().len()
    }

    fn now(&self) -> Millis {
        self.hosted.clock.now()
    }

    async fn serve(self: Rc<Self>, cx: Cx, incoming: Incoming) {
        let policy = (self.policy)();
        if let Err(refused) = replace::of_request(incoming.request()) {
            return self.refuse(incoming, &refused, &policy);
        }
        let service = match incoming.decision().role {
            Function::Controlling(service) => service,
            // The participating function wants a session between two users to be a conference.
            Function::Participating(_) if incoming.request().method() == Method::Invite => {
                let invite = cx.take(incoming);
                let beginning = begin::one_to_one(&self.hosted, &invite).await;
                return self.begin(cx, policy, invite, beginning).await;
            }
            _ => return,
        };
        let is_large = incoming.decision().mode == Some(Mode::LargeMessageMode);
        if is_large && matches!(service, Service::Group | Service::ConferenceFactory) {
            return match &self.exploding {
                Some(exploding) => Box::pin(exploding.serve_large(&cx, incoming)).await,
                None => self.refuse(incoming, &Refusal::NotAllowed, &policy),
            };
        }
        match (service, incoming.request().method()) {
            (Service::ConferenceFactory, Method::Invite) => {
                let invite = cx.take(incoming);
                let mut beginning = begin::ad_hoc(&self.hosted, &invite, &policy).await;
                if let (Ok(listed), Some(exploding)) = (&beginning, &self.exploding) {
                    let agreed = exploding.agreed(&cx, &invite, listed.invitees(), &policy).await;
                    beginning = agreed.and(beginning);
                }
                self.begin(cx, policy, invite, beginning).await;
            }
            (Service::Group, Method::Invite) => self.call_group(cx, policy, incoming).await,
            (Service::Session, Method::Invite) => match self.find(&incoming) {
                Some(address) => give(&address, Event::Joining(cx.take(incoming))),
                None => self.refuse(incoming, &Refusal::Gone, &policy),
            },
            (Service::Group | Service::Session, Method::Refer | Method::Subscribe) => {
                match self.find(&incoming) {
                    Some(address) => give(&address, Event::Outside(incoming)),
                    None => self.refuse_absent(incoming, &policy).await,
                }
            }
            (Service::Exploder | Service::Group, Method::Message) => match &self.exploding {
                Some(exploding) => Box::pin(exploding.serve(&cx, incoming)).await,
                None => self.refuse(incoming, &Refusal::NotAllowed, &policy),
            },
            _ => self.refuse(incoming, &Refusal::NotAllowed, &policy),
        }
    }

    /// An INVITE to a group: to its session if one runs, else it begins one.
    async fn call_group(&self, cx: Cx, policy: Arc<Policy>, incoming: Incoming) {
        if let Some(address) = self.find(&incoming) {
            return give(&address, Event::Joining(cx.take(incoming)));
        }
        let identity = incoming.request().uri().and_then(|uri| Aor::from_uri(&uri));
        let Some(identity) = identity else {
            return self.refuse(incoming, &Refusal::NotFound, &policy);
        };
        let group = self.hosted.groups.group(&identity).await;
        let invite = cx.take(incoming);
        let beginning = match group {
            Ok(Some(group)) => begin::of_group(&cx, &invite, group, &policy),
            Ok(None) => Err(Refusal::NotFound),
            Err(_) => Err(Refusal::Unavailable),
        };
        self.begin(cx, policy, invite, beginning).await;
    }

    async fn begin(
        &self,
        cx: Cx,
        policy: Arc<Policy>,
        invite: parlance_isc::session::Invite,
        beginning: Result<Beginning, Refusal>,
    ) {
        match beginning {
            Ok(beginning) => {
                let hosted = Rc::clone(&self.hosted);
                Box::pin(begin::run(cx, hosted, policy, invite, beginning)).await;
            }
            Err(refused) => {
                self.hosted.meter.refused(&refused);
                invite.reply(&refusal(&refused, &policy));
            }
        }
    }

    /// A request to a group or session without one that runs.
    async fn refuse_absent(&self, incoming: Incoming, policy: &Policy) {
        let identity = incoming.request().uri().and_then(|uri| Aor::from_uri(&uri));
        let refused = match identity {
            Some(_) if watch::is_of_reference(incoming.request()) => Refusal::NotAllowed,
            Some(identity) => match self.hosted.is_group(&identity).await {
                Ok(true) => Refusal::NobodyThere,
                Ok(false) => Refusal::NotFound,
                Err(refused) => refused,
            },
            None => Refusal::NotFound,
        };
        self.refuse(incoming, &refused, policy);
    }

    /// The session that a request is addressed to.
    fn find(&self, incoming: &Incoming) -> Option<parlance_isc::session::Address> {
        let identity = Aor::from_uri(&incoming.request().uri()?)?;
        self.hosted.table.borrow().find(&identity)
    }

    fn refuse(&self, incoming: Incoming, refused: &Refusal, policy: &Policy) {
        self.hosted.meter.refused(refused);
        incoming.reply(&refusal(refused, policy));
    }
}

/// Gives an event to a session. One that has too much to do, or has just ended, does not take it:
/// dropping it answers 480.
fn give(address: &parlance_isc::session::Address, event: Event) {
    if let Err(event) = address.give(event) {
        drop(event);
    }
}

impl Role for Controlling {
    /// Serves what is addressed to the conference factory, the exploder, a group or a session, and
    /// the INVITE of one user to another that the participating function hands over. The task of
    /// an INVITE that begins a session lasts as long as the session.
    fn transaction(self: Rc<Self>, cx: Cx, request: Incoming) -> Task {
        Box::pin(self.serve(cx, request))
    }

    fn session(&self, identity: &Aor) -> SessionState {
        self.hosted.table.borrow().state(identity, self.now())
    }
}

impl fmt::Debug for Controlling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controlling").field("running", &self.running()).finish_non_exhaustive()
    }
}

/// A participant who is in.
pub(crate) struct Present(Gauge);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The counters; all shards add to the same.
pub(crate) struct Meter {
    sessions: Gauge,
    participants: Gauge,
    called: Counter,
}

impl Meter {
    fn new() -> Self {
        Self {
            sessions: gauge!("parlance_controlling_sessions"),
            participants: gauge!("parlance_controlling_participants"),
            called: counter!("parlance_controlling_invitations_total"),
        }
    }

    pub(crate) fn begun(&self, kind: Kind) {
        self.sessions.increment(1.0);
        counter!("parlance_controlling_sessions_total", "kind" => kind.as_str()).increment(1);
    }

    pub(crate) fn ended(&self, why: &'static str) {
        self.sessions.decrement(1.0);
        counter!("parlance_controlling_sessions_ended_total", "why" => why).increment(1);
    }

    pub(crate) fn called(&self) {
        self.called.increment(1);
    }

    /// Counts a participant for as long as what is returned lives.
    pub(crate) fn joined(&self) -> Present {
        self.participants.increment(1.0);
        Present(self.participants.clone())
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        counter!("parlance_controlling_refused_total", "why" => refusal.label()).increment(1);
    }
}
