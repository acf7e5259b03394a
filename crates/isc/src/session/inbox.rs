//! The mailbox of one session.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::Event;
use crate::Cx;

/// The mailbox of one session; a role holds it and takes the events in order.
///
/// What peers can multiply (INVITEs, offers, requests) is bounded by
/// [`super::SessionLimits::events_max`]; what comes once for each leg or subscription is always
/// taken. Dropped: what waits is dropped with it, which answers it, and nothing more is taken.
pub struct Inbox(Rc<Mailbox>);

/// Where the events of a session are given. Cheap to clone; stays on its shard.
#[derive(Clone)]
pub struct Address(Rc<Mailbox>);

/// Both ends of a mailbox.
pub(crate) struct Mailbox {
    waiting: RefCell<VecDeque<Event>>,
    waker: Cell<Option<Waker>>,
    closed: Cell<bool>,
    events_max: usize,
}

impl Inbox {
    /// An empty mailbox on this shard.
    pub fn new(cx: &Cx) -> Self {
        let mailbox = Rc::new(Mailbox {
            waiting: RefCell::default(),
            waker: Cell::default(),
            closed: Cell::new(false),
            events_max: cx.0.sessions.limits().events_max,
        });
        cx.0.sessions.opened(&mailbox);
        Self(mailbox)
    }

    /// Where its events are given.
    pub fn address(&self) -> Address {
        Address(Rc::clone(&self.0))
    }

    /// The next event. Cancel-safe: what is not taken stays.
    pub async fn next(&mut self) -> Event {
        poll_fn(|context| {
            if let Some(event) = self.0.waiting.borrow_mut().pop_front() {
                return Poll::Ready(event);
            }
            self.0.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.closed.set(true);
        // Taken out first: an event that is dropped may look here.
        let left = std::mem::take(&mut *self.0.waiting.borrow_mut());
        drop(left);
    }
}

impl Address {
    /// Gives an event to the session.
    ///
    /// # Errors
    /// The event, when the mailbox is full or the session is over.
    pub fn give(&self, event: Event) -> Result<(), Event> {
        self.0.give(event)
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }
}

impl Mailbox {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub(super) fn give(&self, event: Event) -> Result<(), Event> {
        let full = is_bounded(&event) && self.waiting.borrow().len() >= self.events_max;
        if full || self.closed.get() {
            return Err(event);
        }
        self.waiting.borrow_mut().push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }
}

/// Whether peers decide how many of these there are.
fn is_bounded(event: &Event) -> bool {
    match event {
        Event::Joining(_) | Event::Outside(_) | Event::Offer(..) | Event::Request(..) => true,
        Event::Answer(..)
        | Event::Confirmed(_)
        | Event::Ended(..)
        | Event::Notify(..)
        | Event::Unwatched(_)
        | Event::Draining => false,
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("waiting", &self.0.waiting.borrow().len()).finish()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("closed", &self.0.closed.get()).finish()
    }
}
