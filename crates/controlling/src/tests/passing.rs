//! What stands for the participating function.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use parlance_isc::{Cx, Downstream, Incoming, Lent, Local, Permit, Reply, Role, Task, pass};
use parlance_sip::Method;
use parlance_sip::sdp::Sdp;

use crate::role::Controlling;

/// Has a session between two users be a conference, and lends whoever calls a place.
pub(super) struct Passing {
    controlling: Rc<Controlling>,
    lent: Rc<Loans>,
}

/// What is lent at the moment, and what was heard of it.
#[derive(Default)]
pub(super) struct Loans {
    count: Cell<u32>,
    heard: RefCell<Vec<Heard>>,
    asked: RefCell<Vec<String>>,
}

/// What was heard of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Started,
    Ended(u16),
}

impl Loans {
    /// How many there are.
    pub(super) fn get(&self) -> u32 {
        self.count.get()
    }

    /// What was heard since this was asked last.
    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.take()
    }

    /// What was asked of it in descriptions.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.take()
    }
}

/// A place that was lent.
struct Place(Rc<Loans>);

impl Passing {
    pub(super) fn new(controlling: &Rc<Controlling>, lent: &Rc<Loans>) -> Self {
        Self { controlling: Rc::clone(controlling), lent: Rc::clone(lent) }
    }

    fn lend(&self) -> Permit {
        self.lent.count.set(self.lent.get() + 1);
        Some(Box::new(Place(Rc::clone(&self.lent))))
    }
}

impl Lent for Place {
    fn started(&mut self) {
        self.0.heard.borrow_mut().push(Heard::Started);
    }

    fn ended(&mut self, cause: u16) {
        self.0.heard.borrow_mut().push(Heard::Ended(cause));
    }

    fn described(&mut self, his: &Sdp, answer: Option<&mut Sdp>) {
        let Some(asked) = his.session_attribute(ASKED) else { return };
        self.0.asked.borrow_mut().push(asked.to_owned());
        if let Some(answer) = answer {
            answer.set_session_attribute(TOLD, Some(asked));
        }
    }
}

/// What a client asks its own function in these tests, and what it is told.
pub(super) const ASKED: &str = "im-asked";
pub(super) const TOLD: &str = "im-told";

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.set(self.0.get() - 1);
    }
}

impl Role for Passing {
    fn transaction(self: Rc<Self>, cx: Cx, mut request: Incoming) -> Task {
        if request.request().method() == Method::Invite {
            request.hold(self.lend());
            return Rc::clone(&self.controlling).transaction(cx, request);
        }
        Box::pin(pass(cx, request, Downstream::default()))
    }

    fn permit<'a>(&'a self, _: &'a Cx, request: &'a Incoming) -> Local<'a, Result<Permit, Reply>> {
        let is_invite = request.request().method() == Method::Invite;
        Box::pin(std::future::ready(Ok(if is_invite { self.lend() } else { None })))
    }
}
