//! What stands for the participating function.

use std::cell::Cell;
use std::rc::Rc;

use parlance_isc::{Cx, Incoming, Local, Permit, Reply, Role, Task, pass};
use parlance_sip::Method;

use crate::role::Controlling;

/// Has a session between two users be a conference, and lends whoever calls a place.
pub(super) struct Passing {
    controlling: Rc<Controlling>,
    lent: Rc<Cell<u32>>,
}

/// A place that was lent.
struct Place(Rc<Cell<u32>>);

impl Passing {
    pub(super) fn new(controlling: &Rc<Controlling>, lent: &Rc<Cell<u32>>) -> Self {
        Self { controlling: Rc::clone(controlling), lent: Rc::clone(lent) }
    }

    fn lend(&self) -> Permit {
        self.lent.set(self.lent.get() + 1);
        Some(Box::new(Place(Rc::clone(&self.lent))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Role for Passing {
    fn transaction(self: Rc<Self>, cx: Cx, mut request: Incoming) -> Task {
        if request.request().method() == Method::Invite {
            request.hold(self.lend());
            return Rc::clone(&self.controlling).transaction(cx, request);
        }
        Box::pin(pass(cx, request))
    }

    fn permit<'a>(&'a self, _: &'a Cx, request: &'a Incoming) -> Local<'a, Result<Permit, Reply>> {
        let is_invite = request.request().method() == Method::Invite;
        Box::pin(std::future::ready(Ok(if is_invite { self.lend() } else { None })))
    }
}
