//! The server as subscriber to the `reg` event of its users (RFC 3680; CORE-021, CORE-059).
//!
//! A third-party REGISTER can be lost, and none comes when a registration runs out. Each user who
//! registers is therefore subscribed to at his S-CSCF, on the shard that owns his lane; what the
//! notifications say ends his registration or updates its contacts.
//!
//! A subscription begins with a REGISTER of the user and ends with his registration, or when the
//! notifier does not want it: then the user's next REGISTER tries again. After a restart the same
//! REGISTER makes a new one; the notifications of the old one get 481, which ends it (RFC 6665
//! §4.2.2).

mod message;
mod subscription;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;
use metrics::counter;
use parlance_sip::header::To;
use parlance_sip::{HeaderName, ListenerId, Request};
use parlance_store::{Registration, RegistrationId, UserId};
use tokio::sync::mpsc;

use crate::dispatch::{RegistrationEvents, Rules};
use crate::registration::RegistrationEvent;
use crate::{Cx, Incoming, Reply};
use message::Name;
use subscription::Following;

/// How the server subscribes to the `reg` event of its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegEventPolicy {
    /// The URI of the server in From and P-Asserted-Identity. The S-CSCF accepts the server name
    /// of its filter criteria (TS 24.229 §5.4.2.1.1).
    pub identity: String,
    /// The listener the requests leave from; its address stands in Contact.
    pub listener: ListenerId,
    /// `orig-ioi` of P-Charging-Vector for users whose REGISTER told none; default none.
    pub orig_ioi: Option<String>,
    /// The duration asked for, in seconds. Default 600,000, as a UE asks (TS 24.229 §5.1.1.3); the
    /// S-CSCF may shorten it. RFC 3680 §4.4 has 3761, which would double the load of REGISTER.
    pub expires: u32,
    /// Subscriptions of one shard, those that are ending included. Local limit, default 100,000:
    /// one takes some 4 KiB. A user beyond it is not subscribed to, until he refreshes his
    /// registration when there is room; meanwhile the third-party REGISTER alone counts for him.
    pub subscriptions_max: usize,
}

impl RegEventPolicy {
    /// The defaults, for the server of this URI.
    pub fn new(identity: impl Into<String>, listener: ListenerId) -> Self {
        Self {
            identity: identity.into(),
            listener,
            orig_ioi: None,
            expires: 600_000,
            subscriptions_max: 100_000,
        }
    }
}

/// Requests of one subscription that wait to be served. Local limit: a notifier waits for the
/// answer to one before it sends the next, and its next comes 5 s later (RFC 3680 §4.10). One
/// more is answered 500 with Retry-After.
const WAITING_MAX: usize = 4;

/// What reaches a subscription.
enum Event {
    /// A request in its dialog.
    Request(Box<Incoming>),
    /// It is not wanted any more.
    Stop,
}

/// The subscriptions of one shard.
pub(crate) struct RegEvent {
    policy: RegEventPolicy,
    rules: Rc<dyn Fn() -> Arc<Rules>>,
    events: Rc<dyn RegistrationEvents>,
    /// By our tag.
    dialogs: RefCell<HashMap<Box<str>, Open>>,
    users: RefCell<HashMap<UserId, Followed>>,
    serial: Cell<u64>,
}

/// A dialog that notifications may come in.
struct Open {
    call_id: Box<str>,
    mailbox: mpsc::Sender<Event>,
}

/// The one subscription of a user that counts.
struct Followed {
    serial: u64,
    id: RegistrationId,
    scscf: String,
    mailbox: mpsc::Sender<Event>,
}

impl RegEvent {
    pub(crate) fn new(
        policy: RegEventPolicy,
        rules: Rc<dyn Fn() -> Arc<Rules>>,
        events: Rc<dyn RegistrationEvents>,
    ) -> Self {
        let (dialogs, users) = (RefCell::default(), RefCell::default());
        Self { policy, rules, events, dialogs, users, serial: Cell::new(0) }
    }

    /// Whether `request` is in the dialog of a subscription here.
    pub(crate) fn owns(&self, request: &Request) -> bool {
        self.mailbox(request).is_some()
    }

    /// Gives a request to the subscription whose dialog it is in.
    pub(crate) fn deliver(&self, incoming: Incoming) {
        let Some(mailbox) = self.mailbox(incoming.request()) else {
            return incoming.reply(&Reply::new(481));
        };
        match mailbox.try_reserve() {
            Ok(place) => place.send(Event::Request(Box::new(incoming))),
            Err(mpsc::error::TrySendError::Full(())) => {
                incoming.reply(&Reply::new(500).with(HeaderName::RetryAfter, 1));
            }
            Err(mpsc::error::TrySendError::Closed(())) => incoming.reply(&Reply::new(481)),
        }
    }

    fn mailbox(&self, request: &Request) -> Option<mpsc::Sender<Event>> {
        let to = request.header::<To<'_>>().ok().flatten()?;
        let dialogs = self.dialogs.borrow();
        let open = dialogs.get(to.tag()?)?;
        (open.call_id.as_bytes() == request.call_id()).then(|| open.mailbox.clone())
    }

    /// Begins or ends a subscription as `event` wants it. Runs on the shard of the user.
    pub(crate) fn handle_registration(self: &Rc<Self>, cx: &Cx, event: &RegistrationEvent) {
        match event {
            RegistrationEvent::Registered { registration, .. } => self.follow(cx, registration),
            RegistrationEvent::Deregistered { user, .. } => self.stop(user),
        }
    }

    fn follow(self: &Rc<Self>, cx: &Cx, registration: &Arc<Registration>) {
        let Some(user) = &registration.user else { return };
        let same = self.users.borrow().get(user).is_some_and(|followed| {
            followed.id == registration.id && followed.scscf == registration.scscf
        });
        if same {
            return;
        }
        self.stop(user);
        // A subscription that ends has its dialog for a while, one that waits to begin only a user.
        let count_now = self.dialogs.borrow().len().max(self.users.borrow().len());
        if count_now >= self.policy.subscriptions_max {
            return count("full");
        }
        let serial = self.serial.get().wrapping_add(1);
        self.serial.set(serial);
        let (mailbox, waiting) = mpsc::channel(WAITING_MAX);
        let followed = Followed {
            serial,
            id: registration.id,
            scscf: registration.scscf.clone(),
            mailbox: mailbox.clone(),
        };
        self.users.borrow_mut().insert(user.clone(), followed);
        let following =
            Following::new(self, cx, user.clone(), Arc::clone(registration), mailbox, serial);
        cx.spawn(following.run(waiting));
    }

    /// Lets go of the user's subscription; the subscription itself sees to its end.
    fn stop(&self, user: &UserId) {
        let Some(followed) = self.users.borrow_mut().remove(user) else { return };
        // With its queue full the subscription finds at its next refresh that the user is gone.
        let _ = followed.mailbox.try_send(Event::Stop);
    }

    /// The subscription numbered `serial` is over.
    fn forget(&self, user: &UserId, serial: u64) {
        let mut users = self.users.borrow_mut();
        if users.get(user).is_some_and(|followed| followed.serial == serial) {
            users.remove(user);
        }
    }

    fn open(&self, name: &Name, mailbox: &mpsc::Sender<Event>) {
        let open = Open { call_id: name.call_id.clone(), mailbox: mailbox.clone() };
        self.dialogs.borrow_mut().insert(name.tag.clone(), open);
    }

    fn close(&self, name: &Name) {
        self.dialogs.borrow_mut().remove(&name.tag);
    }
}

/// Tells the shard that owns the user's lane what happened to his registration. The dispatcher does
/// so for what it serves itself; whoever ends registrations that ran out does it for those.
pub fn pass_on(cx: &Cx, event: &RegistrationEvent) {
    let user = match event {
        RegistrationEvent::Registered { registration, .. } => registration.user.clone(),
        RegistrationEvent::Deregistered { user, .. } => Some(user.clone()),
    };
    let Some(user) = user else { return };
    let event = event.clone();
    let told = cx.on_shard_of(user.as_str(), move |cx| {
        if let Some(dispatch) = cx.0.dispatch.get() {
            dispatch.handle_registration(&cx, &event);
        }
        Box::pin(std::future::ready(()))
    });
    if told.is_err() {
        count("busy");
    }
}

fn count(result: &'static str) {
    counter!("parlance_isc_reg_event_total", "result" => result).increment(1);
}
