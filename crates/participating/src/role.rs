//! The role: what it is made of, and which procedure serves a request.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use parlance_isc::{
    Cx, Deferral, Function, Incoming, Rates, Role, SessionCase, Task, pass, pass_with,
};
use parlance_sip::Method;
use parlance_store::Millis;

use crate::access::Lists;
use crate::content::ContentFilter;
use crate::event::EventSink;
use crate::passage::Passage;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::{amend, originating, terminating};

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
    pub(crate) rates: Arc<Rates>,
    pub(crate) meter: Meter,
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
            rates,
            meter: Meter::new(),
        };
        Self { policy: Box::new(policy), functions }
    }

    /// Offers what cannot be delivered to the deferred function; without one it is answered 480.
    #[must_use]
    pub fn with_deferral(mut self, deferral: Rc<dyn Deferral>) -> Self {
        self.functions.deferral = Some(deferral);
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

    /// Tells `events` what happens to every message.
    #[must_use]
    pub fn with_events(mut self, events: Rc<dyn EventSink>) -> Self {
        self.functions.events = Some(events);
        self
    }

    async fn serve(self: Rc<Self>, cx: Cx, incoming: Incoming) {
        let is_message = incoming.request().method() == Method::Message;
        let Function::Participating(case) = incoming.decision().role else {
            return Box::pin(pass(cx, incoming)).await;
        };
        if !is_message {
            let edits = amend::untouched(incoming.request());
            return Box::pin(pass_with(cx, incoming, edits)).await;
        }
        let policy = (self.policy)();
        match Passage::new(&self.functions, &cx, policy, case, incoming) {
            Ok(passage) => match case {
                SessionCase::Originating => originating::serve(passage).await,
                SessionCase::Terminating => terminating::serve(passage).await,
            },
            // Nobody is served, so nothing is to be done for him.
            Err(incoming) => Box::pin(pass(cx.clone(), incoming)).await,
        }
    }
}

impl Role for Participating {
    /// Serves a MESSAGE; every other method passes through, with nothing
    /// changed but P-Preferred-Identity.
    fn transaction(self: Rc<Self>, cx: Cx, request: Incoming) -> Task {
        Box::pin(self.serve(cx, request))
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
