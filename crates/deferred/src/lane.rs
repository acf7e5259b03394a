//! One recipient's lane: at most one in the whole system sends to him, from one inbox, in order.
//!
//! A lane exists while there is something to look at. Each round looks through the inbox once
//! ([`crate::round`]); what happens meanwhile asks for another.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use parlance_isc::Private;
use parlance_store::{RegistrationId, Seq, UserId};
use tokio::sync::Notify;

use crate::keeper::Keeper;
use crate::rest::Rest;
use crate::round::{self, Fault};

/// How often a round is tried again when the store fails or a dead holder still has the lease, and
/// how long the lane waits in between; local values. Then it is left to the due index.
const FAULTS_MAX: u32 = 12;
const FAULT_PAUSE: Duration = Duration::from_secs(5);

/// Why a lane looks at an inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wake {
    /// A new registration began; the latest.
    pub(crate) registered: Option<RegistrationId>,
    /// Items were kept; the first of them.
    pub(crate) news: Option<Seq>,
    /// The time of the inbox has come.
    pub(crate) due: bool,
}

impl Wake {
    /// Both.
    pub(crate) fn merge(&mut self, other: Wake) {
        self.registered = self.registered.max(other.registered);
        self.news = match (self.news, other.news) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        self.due |= other.due;
    }

    /// Whether it ends `rest`: a registration every one, its time a back-off, a new item none that
    /// is there to protect the user.
    pub(crate) fn ends(self, rest: Rest) -> bool {
        match rest {
            Rest::Ready | Rest::Told => true,
            Rest::BackOff(_) => self.due || self.registered.is_some(),
            Rest::Declined => self.registered.is_some(),
        }
    }

    /// Whether the user does not know of the item `seq` yet (DF-064).
    pub(crate) fn is_news(self, seq: Seq) -> bool {
        self.due || self.registered.is_some() || self.news.is_some_and(|news| seq >= news)
    }
}

/// A lane, as its keeper and its task know it.
pub(crate) struct Lane {
    pub(crate) user: UserId,
    wake: Cell<Option<Wake>>,
    /// The latest registration it was woken for.
    registration: Cell<Option<RegistrationId>>,
    /// Cuts a wait short.
    pub(crate) nudge: Notify,
    /// The item a client took, until the store knows.
    pub(crate) delivered: Cell<Option<Seq>>,
}

impl Lane {
    pub(crate) fn new(user: UserId, wake: Wake) -> Lane {
        Lane {
            user,
            wake: Cell::new(Some(wake)),
            registration: Cell::new(wake.registered),
            nudge: Notify::new(),
            delivered: Cell::new(None),
        }
    }

    /// Asks for another round.
    pub(crate) fn wake(&self, wake: Wake) {
        self.registration.set(self.registration.get().max(wake.registered));
        let mut merged = self.wake.get().unwrap_or_default();
        merged.merge(wake);
        self.wake.set(Some(merged));
    }

    /// Whether it was woken for that registration already (DF-085).
    pub(crate) fn is_serving(&self, id: RegistrationId) -> bool {
        self.registration.get() >= Some(id)
    }

    /// The user is gone (DF-061): what the lane waits for is not worth waiting for, and no other
    /// round is needed. Before it sends it asks the store whether he is there in any case.
    pub(crate) fn leave(&self) {
        self.wake.set(None);
        self.nudge.notify_one();
    }
}

/// Runs the rounds of a lane until nothing asks for another.
pub(crate) async fn run(keeper: Rc<Keeper>, lane: Rc<Lane>) {
    let mut faults = 0;
    while let Some(wake) = lane.wake.take() {
        match round::run(&keeper, &lane, wake).await {
            Ok(()) => faults = 0,
            Err(fault) if fault.is_passing() && faults < FAULTS_MAX => {
                faults += 1;
                log(&lane.user, &fault);
                lane.wake(wake);
                keeper.cx.after(FAULT_PAUSE).await;
            }
            Err(fault) => {
                log(&lane.user, &fault);
                keeper.deferred.miss();
            }
        }
        if *keeper.shared.stopping.borrow() {
            break;
        }
    }
    keeper.end(&lane);
}

fn log(user: &UserId, fault: &Fault) {
    tracing::warn!(user = %Private(user), %fault, "stored messages wait");
}

#[cfg(test)]
mod tests {
    use super::{Lane, RegistrationId, Rest, Seq, Wake};

    // Covers: DF-064, DF-065, DF-081
    #[test]
    fn what_wakes_must_outweigh_the_rest() {
        let registered = Wake { registered: Some(RegistrationId(1)), ..Wake::default() };
        let item = Wake { news: Some(Seq(3)), ..Wake::default() };
        let due = Wake { due: true, ..Wake::default() };
        #[rustfmt::skip]
        let table = [
            (Rest::Ready,      [true,  true,  true]),
            (Rest::Told,       [true,  true,  true]),
            (Rest::BackOff(1), [true,  false, true]),
            (Rest::Declined,   [true,  false, false]),
        ];
        for (rest, expected) in table {
            let found = [registered, item, due].map(|wake| wake.ends(rest));
            assert_eq!(found, expected, "{rest:?}");
        }
        assert!(!item.is_news(Seq(2)) && item.is_news(Seq(3)));
        assert!(registered.is_news(Seq(1)) && due.is_news(Seq(1)));
        let mut merged = item;
        merged.merge(Wake { news: Some(Seq(2)), ..Wake::default() });
        assert_eq!(merged.news, Some(Seq(2)));
        merged.merge(registered);
        assert_eq!((merged.news, merged.registered), (Some(Seq(2)), Some(RegistrationId(1))));
    }

    // Covers: DF-085
    #[test]
    fn a_registration_is_served_once() {
        let lane = Lane::new("a".into(), Wake::default());
        assert!(!lane.is_serving(RegistrationId(1)));
        lane.wake(Wake { registered: Some(RegistrationId(4)), ..Wake::default() });
        assert!(lane.is_serving(RegistrationId(4)) && lane.is_serving(RegistrationId(3)));
        assert!(!lane.is_serving(RegistrationId(5)));
        lane.leave();
        assert!(lane.wake.take().is_none());
    }
}
