//! The function as the rest of the server sees it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use parlance_isc::media::Media;
use parlance_isc::registration::RegistrationEvent;
use parlance_isc::session::Invite;
use parlance_isc::{
    Cause, Cx, Decision, Deferral, Incoming, Local, Marks, Offered, Private, RegistrationEvents,
};
use parlance_sip::ListenerId;
use parlance_sip::uri::Aor;
use parlance_store::{Inboxes, Item, Profiles, RegistrationId, Seq, UserId, Withdrawn};
use tokio::sync::{Notify, mpsc, watch};

use crate::imdn::Report;
use crate::keep::Dedup;
use crate::keeper::Keeper;
use crate::rules::Sender;
use crate::summary::Watched;
use crate::{Policy, keep, meter, sweep};

/// Events that may wait for one shard; local limit. Beyond, an event is dropped and counted, and
/// the next sweep looks through all inboxes.
const EVENTS_MAX: usize = 4096;

/// How often [`Deferred::withdraw`] asks again while the item is being sent, and how long it waits
/// in between: together longer than a request is in flight (64*T1, RFC 3261 §17.1.2.2).
const WITHDRAW_TRIES: usize = 20;
const WITHDRAW_PAUSE: Duration = Duration::from_secs(5);

/// What the function needs to know at its start.
#[derive(Clone)]
pub struct Setup {
    /// What the operator decides; without [`Policy::mistakes`].
    pub policy: Policy,
    /// The secret of the server, the one its [`Marks`] are made from: the same on all nodes and
    /// after a restart.
    pub secret: [u8; 32],
    /// Names this node in leases. The same after a restart, when the node runs once at a time:
    /// then it goes on at once with what a crash interrupted.
    pub holder: u64,
    /// The first domain served: stands in the service URI, in Call-IDs and in Warnings.
    pub domain: String,
    /// The listener that requests of this function are sent from.
    pub listener: ListenerId,
    /// How many shards there are.
    pub shards: usize,
    /// Deferred messages, the same as the node's.
    pub inboxes: Arc<dyn Inboxes>,
    /// What users may do and want, the same as the node's.
    pub profiles: Arc<dyn Profiles>,
    /// MSRP, the same as the other roles'. Without cores large messages are not kept.
    pub media: Media,
}

/// The deferred messaging function. Cheap to clone; one for all shards.
///
/// Every shard calls [`Deferred::start`] once. The registration side tells its events
/// ([`RegistrationEvents`]), the participating function offers messages ([`Deferral`]).
#[derive(Clone)]
pub struct Deferred(Arc<Shared>);

/// What all shards share; nothing in it is waited for.
pub(crate) struct Shared {
    policy: watch::Sender<Arc<Policy>>,
    pub(crate) marks: Marks,
    pub(crate) dedup: Dedup,
    pub(crate) holder: u64,
    pub(crate) domain: String,
    /// The URI of this function.
    pub(crate) service: String,
    pub(crate) listener: ListenerId,
    pub(crate) inboxes: Arc<dyn Inboxes>,
    pub(crate) profiles: Arc<dyn Profiles>,
    pub(crate) media: Media,
    /// Sessions in which large messages come, on all shards.
    pub(crate) sessions: AtomicUsize,
    posts: Vec<Post>,
    /// Set when an event was dropped: the next sweep looks through all inboxes.
    pub(crate) missed: AtomicBool,
    /// Lanes that run, on all shards.
    pub(crate) running: AtomicUsize,
    /// A lane ended.
    pub(crate) ended: Notify,
    /// Whether the server stops.
    pub(crate) stopping: watch::Sender<bool>,
    /// The inboxes that somebody watches.
    pub(crate) watched: Watched,
}

impl Shared {
    /// What the operator decides at the moment.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }
}

/// The way to the keeper of one shard.
struct Post {
    events: mpsc::Sender<Event>,
    /// Taken once, by the keeper.
    keeper: Mutex<Option<mpsc::Receiver<Event>>>,
}

/// What happened, for the shard of the user.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A new registration began.
    Registered { user: UserId, id: RegistrationId },
    /// The user is gone.
    Deregistered { user: UserId },
    /// His settings changed, or for another reason what waits should be looked at.
    Changed { user: UserId },
    /// A message was kept for him.
    Item { user: UserId, seq: Seq },
    /// He may not have been looked after.
    Missed { user: UserId },
    /// The store says that his inbox is due.
    Due { user: UserId },
    /// A sender is to be told what became of his message.
    Report(Box<Report>),
}

impl Event {
    /// Whose shard it is for.
    fn subject(&self) -> &str {
        match self {
            Event::Registered { user, .. }
            | Event::Deregistered { user }
            | Event::Changed { user }
            | Event::Item { user, .. }
            | Event::Missed { user }
            | Event::Due { user } => user.as_str(),
            Event::Report(report) => &report.originator,
        }
    }
}

impl Deferred {
    /// The function, not yet running.
    pub fn new(setup: Setup) -> Deferred {
        let Setup { policy, secret, holder, domain, listener, shards, .. } = setup;
        let Setup { inboxes, profiles, media, .. } = setup;
        let post = |_| {
            let (events, keeper) = mpsc::channel(EVENTS_MAX);
            Post { events, keeper: Mutex::new(Some(keeper)) }
        };
        let service = policy.service_uri.clone();
        Deferred(Arc::new(Shared {
            marks: Marks::new(secret),
            dedup: Dedup::new(&secret),
            holder,
            service: service.unwrap_or_else(|| format!("sip:im-deferred@{domain}")),
            domain,
            listener,
            inboxes,
            profiles,
            media,
            sessions: AtomicUsize::new(0),
            posts: (0..shards).map(post).collect(),
            missed: AtomicBool::new(true),
            running: AtomicUsize::new(0),
            ended: Notify::new(),
            stopping: watch::Sender::new(false),
            watched: Watched::default(),
            policy: watch::Sender::new(Arc::new(policy)),
        }))
    }

    /// Starts the lanes of one shard, and on shard 0 the search for what is due or too old. To be
    /// called once on each shard; later calls do nothing.
    pub fn start(&self, cx: &Cx) {
        let Some(post) = self.0.posts.get(usize::from(cx.shard())) else { return };
        let events = post.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(events) = events else { return };
        let keeper = Keeper::new(cx.clone(), Arc::clone(&self.0), self.clone());
        cx.spawn(keeper.run(events));
        if cx.shard() == 0 {
            cx.spawn(sweep::due(self.clone(), cx.clone()));
            cx.spawn(sweep::sweep(self.clone(), cx.clone()));
        }
    }

    /// Takes what the operator decides now; without [`Policy::mistakes`]. The pace and the service
    /// URI stay, and what is under way ends by the old one.
    pub fn reload(&self, policy: Policy) {
        self.0.policy.send_replace(Arc::new(policy));
    }

    /// A REGISTER was applied. Delivery begins when the registration is `new`
    /// ([`parlance_store::Bound::New`]), once, however many identities follow; a refresh does
    /// nothing.
    pub fn registered(&self, cx: &Cx, user: &UserId, id: RegistrationId, new: bool) {
        if new {
            self.post(cx, Event::Registered { user: user.clone(), id });
        }
    }

    /// A registration ended or lapsed: nothing further is sent.
    pub fn deregistered(&self, cx: &Cx, user: &UserId) {
        self.0.watched.gone(user);
        self.post(cx, Event::Deregistered { user: user.clone() });
    }

    /// The user's settings changed (he is visible again, wants messages pushed): what waits is
    /// looked at anew.
    pub fn changed(&self, cx: &Cx, user: &UserId) {
        self.0.watched.changed(user);
        self.post(cx, Event::Changed { user: user.clone() });
    }

    /// Ends all lanes and is ready when the last one has: a request in flight is waited for, up to
    /// 64*T1, nothing new is sent. What is kept is due at once for whoever starts next. The caller
    /// bounds the wait.
    pub async fn drain(&self) {
        self.0.stopping.send_replace(true);
        loop {
            let ended = self.0.ended.notified();
            if self.0.running.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Tells the shard of the user. Says whether there was room; if not the event is dropped, and
    /// the next sweep makes up for it.
    pub(crate) fn post(&self, cx: &Cx, event: Event) -> bool {
        let (me, subject) = (self.clone(), event.subject().to_owned());
        let sent = cx.on_shard_of(&subject, move |cx| {
            me.arrive(&cx, event);
            Box::pin(std::future::ready(()))
        });
        if sent.is_err() {
            self.miss();
        }
        sent.is_ok()
    }

    fn arrive(&self, cx: &Cx, event: Event) {
        let post = self.0.posts.get(usize::from(cx.shard()));
        if post.is_none_or(|post| post.events.try_send(event).is_err()) {
            self.miss();
        }
    }

    /// An event found no room, or the store failed too often: the next sweep makes up for it.
    pub(crate) fn miss(&self) {
        meter::left("missed");
        self.0.missed.store(true, Ordering::Release);
    }

    /// Has the sender told that his message was given up, if he asked.
    pub(crate) fn report(&self, cx: &Cx, item: &Item) {
        if let Some(report) = Report::failed(item) {
            self.post(cx, Event::Report(Box::new(report)));
        }
    }

    async fn take_back(&self, cx: &Cx, user: &UserId, seq: Seq) {
        for attempt in 0..WITHDRAW_TRIES {
            if attempt > 0 {
                cx.after(WITHDRAW_PAUSE).await;
            }
            match self.0.inboxes.withdraw(user, seq, cx.now()).await {
                Ok(Withdrawn::Removed) => {
                    self.0.watched.changed(user);
                    return meter::delivery("withdrawn");
                }
                Ok(Withdrawn::Gone) => return,
                // It is on its way a second time; when that fails it is removed all the same.
                Ok(Withdrawn::InFlight) => {}
                Err(error) => {
                    let user = Private(user);
                    tracing::warn!(%user, %error, "a delivered message could not be withdrawn");
                }
            }
        }
        meter::left("withdraw");
    }
}

/// The identities of who sent a request.
fn identities(decision: &Decision) -> Vec<Aor> {
    let known = decision.originator.iter();
    known.flat_map(|known| [Some(known.address.clone()), known.alias.clone()]).flatten().collect()
}

impl Deferral for Deferred {
    fn pending<'a>(&'a self, cx: &'a Cx, user: &'a UserId) -> Local<'a, bool> {
        Box::pin(self.is_pending(cx, user))
    }

    fn changed(&self, cx: &Cx, user: &UserId) {
        Deferred::changed(self, cx, user);
    }

    fn offer<'a>(
        &'a self,
        cx: &'a Cx,
        user: &'a UserId,
        request: &'a Incoming,
        cause: Cause,
    ) -> Local<'a, Offered> {
        Box::pin(async move {
            let identities = identities(request.decision());
            let private = keep::is_private(request.request());
            let sender = Sender { identities: &identities, private };
            self.offer_from(cx, user, request.request(), &sender, cause).await
        })
    }

    fn take<'a>(
        &'a self,
        cx: &'a Cx,
        user: &'a UserId,
        invite: Invite,
        cause: Cause,
    ) -> Local<'a, ()> {
        Box::pin(async move {
            let identities = identities(invite.decision());
            let private = keep::is_private(invite.request());
            let sender = Sender { identities: &identities, private };
            self.take_session(cx, user, invite, &sender, cause).await;
        })
    }

    fn withdraw<'a>(&'a self, cx: &'a Cx, user: &'a UserId, seq: Seq) -> Local<'a, ()> {
        Box::pin(self.take_back(cx, user, seq))
    }
}

impl RegistrationEvents for Deferred {
    /// [`Deferred::registered`] and [`Deferred::deregistered`], as the event says.
    fn handle_registration(&self, cx: &Cx, event: &RegistrationEvent) {
        match event {
            RegistrationEvent::Registered { registration, new, .. } => {
                if let Some(user) = &registration.user {
                    self.registered(cx, user, registration.id, *new);
                }
            }
            RegistrationEvent::Deregistered { user, .. } => self.deregistered(cx, user),
        }
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("service", &self.0.service).finish_non_exhaustive()
    }
}
