//! The lanes of one shard: who is served now and who waits for his turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parlance_isc::Cx;
use parlance_store::{RegistrationId, Seq, UserId};
use tokio::sync::mpsc;

use crate::deferred::{Deferred, Event, Shared};
use crate::imdn::Report;
use crate::lane::{self, Lane, Wake};
use crate::meter;
use crate::pace::Pace;

/// What the tasks of one shard share.
pub(crate) struct Keeper {
    pub(crate) cx: Cx,
    pub(crate) shared: Arc<Shared>,
    pub(crate) deferred: Deferred,
    pub(crate) pace: Pace,
    lanes: RefCell<HashMap<UserId, Rc<Lane>, RandomState>>,
    waiting: RefCell<Waiting>,
    reports: Cell<usize>,
}

/// Users for whom there was no lane yet, in order.
#[derive(Default)]
struct Waiting {
    order: VecDeque<UserId>,
    wakes: HashMap<UserId, Wake, RandomState>,
}

impl Waiting {
    /// False: there is no room.
    fn put(&mut self, user: UserId, wake: Wake, most: usize) -> bool {
        if let Some(known) = self.wakes.get_mut(&user) {
            known.merge(wake);
            return true;
        }
        // Who was taken off stays in the order until his turn.
        if self.order.len() >= most {
            return false;
        }
        self.order.push_back(user.clone());
        self.wakes.insert(user, wake);
        true
    }

    fn next(&mut self) -> Option<(UserId, Wake)> {
        while let Some(user) = self.order.pop_front() {
            if let Some(wake) = self.wakes.remove(&user) {
                return Some((user, wake));
            }
        }
        None
    }
}

impl Keeper {
    pub(crate) fn new(cx: Cx, shared: Arc<Shared>, deferred: Deferred) -> Rc<Keeper> {
        Rc::new(Keeper {
            cx,
            pace: Pace::new(shared.policy().messages_per_second),
            shared,
            deferred,
            lanes: RefCell::default(),
            waiting: RefCell::default(),
            reports: Cell::new(0),
        })
    }

    /// Serves events until the server stops.
    pub(crate) async fn run(self: Rc<Keeper>, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            self.handle_event(event);
        }
    }

    fn handle_event(self: &Rc<Self>, event: Event) {
        match event {
            Event::Registered { user, id } => self.registered(user, id),
            Event::Deregistered { user } => {
                self.waiting.borrow_mut().wakes.remove(&user);
                if let Some(lane) = self.lane(&user) {
                    lane.leave();
                }
            }
            Event::Changed { user } => self.wake(user, Wake::due()),
            Event::Item { user, seq } => self.wake(user, Wake::item(seq)),
            // Whoever has a lane is looked after.
            Event::Missed { user } if self.lane(&user).is_some() => {}
            Event::Missed { user } => self.wake(user, Wake::due()),
            Event::Due { user } => self.due(user),
            Event::Report(report) => self.report(*report),
        }
    }

    fn registered(self: &Rc<Self>, user: UserId, id: RegistrationId) {
        match self.lane(&user) {
            Some(lane) if lane.is_serving(id) => {}
            _ => self.wake(user, Wake::registered(id)),
        }
    }

    /// What is due shows up again as long as it is: without a free lane nothing is noted.
    fn due(self: &Rc<Self>, user: UserId) {
        let lanes = self.lanes.borrow().len();
        if lanes < self.shared.policy().lanes_max && self.lane(&user).is_none() {
            self.start(user, Wake::due());
        }
    }

    fn wake(self: &Rc<Self>, user: UserId, wake: Wake) {
        if let Some(lane) = self.lane(&user) {
            lane.wake(wake);
        } else if self.lanes.borrow().len() < self.shared.policy().lanes_max {
            self.start(user, wake);
        } else {
            let most = self.shared.policy().waiting_max;
            if !self.waiting.borrow_mut().put(user, wake, most) {
                self.deferred.miss();
            }
        }
    }

    fn lane(&self, user: &UserId) -> Option<Rc<Lane>> {
        self.lanes.borrow().get(user).map(Rc::clone)
    }

    fn start(self: &Rc<Self>, user: UserId, wake: Wake) {
        if *self.shared.stopping.borrow() {
            return;
        }
        let lane = Rc::new(Lane::new(user.clone(), wake));
        self.lanes.borrow_mut().insert(user, Rc::clone(&lane));
        self.shared.running.fetch_add(1, Ordering::AcqRel);
        self.cx.spawn(lane::run(Rc::clone(self), lane));
    }

    /// A lane has nothing left to do.
    pub(crate) fn end(self: &Rc<Self>, lane: &Lane) {
        self.lanes.borrow_mut().remove(&lane.user);
        self.shared.running.fetch_sub(1, Ordering::AcqRel);
        self.shared.ended.notify_waiters();
        let next = self.waiting.borrow_mut().next();
        if let Some((user, wake)) = next {
            self.start(user, wake);
        }
    }

    fn report(self: &Rc<Self>, report: Report) {
        if self.reports.get() >= self.shared.policy().reports_max {
            return meter::report("lost");
        }
        self.reports.set(self.reports.get() + 1);
        let keeper = Rc::clone(self);
        self.cx.spawn(async move {
            report.deliver(&keeper).await;
            keeper.reports.set(keeper.reports.get().saturating_sub(1));
        });
    }
}

impl Wake {
    fn registered(id: RegistrationId) -> Wake {
        Wake { registered: Some(id), ..Wake::default() }
    }

    fn due() -> Wake {
        Wake { due: true, ..Wake::default() }
    }

    fn item(seq: Seq) -> Wake {
        Wake { news: Some(seq), ..Wake::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Seq, Waiting, Wake};

    #[test]
    fn who_waits_keeps_his_place_and_is_counted_once() {
        let mut waiting = Waiting::default();
        assert!(waiting.put("a".into(), Wake::item(Seq(4)), 2));
        assert!(waiting.put("b".into(), Wake::due(), 2));
        assert!(!waiting.put("c".into(), Wake::due(), 2), "at the bound");
        assert!(waiting.put("a".into(), Wake::item(Seq(3)), 2), "he waits already");
        waiting.wakes.remove(&parlance_store::UserId::from("b"));
        let (user, wake) = waiting.next().unwrap();
        assert_eq!((user.as_str(), wake), ("a", Wake::item(Seq(3))));
        assert!(waiting.next().is_none(), "b has left");
        assert!(waiting.put("c".into(), Wake::due(), 2));
    }
}
