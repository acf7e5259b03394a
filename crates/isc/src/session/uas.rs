//! An INVITE that was received and has no final response yet: what its handle, CANCEL and BYE
//! share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use parlance_sip::dialog::DialogState;
use parlance_sip::dialog::Role;
use parlance_sip::dialog::accept::Accept;
use parlance_sip::dialog::invite_usage::InviteUsage;
use parlance_sip::reliable::{self, Provisional, ReliableSender};
use parlance_sip::{HeaderName, Request, ResponseBuilder, ServerKey};

use super::invite::Lost;
use super::limits::RETRY_AFTER;
use super::live::{Accepting, Early, LegState, Live};
use super::refresh::Timing;
use super::{Address, Body, LegTerms, wording};
use crate::{Arrival, Cx, Decision};

/// An INVITE outside a dialog, taken by a role.
pub(crate) struct Taken {
    pub(super) arrival: Arrival,
    pub(super) decision: Decision,
    /// Our tag in every response.
    pub(super) tag: String,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    answered: bool,
    lost: Option<Lost>,
    /// Begins the route set, where our `Contact` does not lead here.
    record_route: Option<String>,
    live: Option<Rc<Live>>,
    waker: Option<Waker>,
}

impl Taken {
    pub(super) fn new(cx: &Cx, arrival: Arrival, decision: Decision) -> Rc<Self> {
        Rc::new(Self { arrival, decision, tag: cx.tag(), state: RefCell::default() })
    }

    pub(super) fn request(&self) -> &Request {
        &self.arrival.request
    }

    fn server(&self) -> ServerKey {
        self.arrival.server
    }

    pub(super) fn is_answered(&self) -> bool {
        self.state.borrow().answered
    }

    pub(super) fn lost(&self) -> Option<Lost> {
        self.state.borrow().lost.clone()
    }

    pub(super) fn record_route(&self, value: String) {
        self.state.borrow_mut().record_route = Some(value);
    }

    pub(super) fn wake_by(&self, waker: Waker) {
        self.state.borrow_mut().waker = Some(waker);
    }

    pub(super) fn response(&self, cx: &Cx, status: u16) -> ResponseBuilder {
        let response = ResponseBuilder::new(self.request(), status, &self.tag);
        let response = cx.with_server(response);
        let own = self.state.borrow().record_route.clone().filter(|_| (101..300).contains(&status));
        let response = match own {
            Some(own) => response.header(HeaderName::RecordRoute, own),
            None => response,
        };
        match status {
            101..300 => response.copy(self.request(), HeaderName::RecordRoute),
            _ => response,
        }
    }

    /// CANCEL came, or BYE in the early dialog: 487 (RFC 3261 §9.2, §15.1.2).
    pub(crate) fn cancelled(&self, cx: &Cx, cancel: Request) {
        self.lose(cx, Lost::Cancelled(cancel), self.response(cx, 487));
    }

    /// A reliable provisional response was not acknowledged (RFC 3262 §3).
    pub(super) fn not_pracked(&self, cx: &Cx) {
        let response = self.response(cx, 504);
        if self.is_answered() {
            // The 2xx was held back.
            return cx.respond(self.server(), 504, response.build());
        }
        self.lose(cx, Lost::NotAcknowledged, response);
    }

    fn lose(&self, cx: &Cx, lost: Lost, response: ResponseBuilder) {
        if self.is_answered() {
            return;
        }
        self.state.borrow_mut().lost = Some(lost);
        self.refuse(cx, response);
        let waker = self.state.borrow_mut().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Sends a final response other than 2xx; without effect after another final one.
    pub(super) fn refuse(&self, cx: &Cx, response: ResponseBuilder) {
        self.refuse_with(cx, response.status(), response.build());
    }

    pub(super) fn refuse_with(&self, cx: &Cx, status: u16, bytes: bytes::Bytes) {
        let live = {
            let mut state = self.state.borrow_mut();
            if std::mem::replace(&mut state.answered, true) {
                return;
            }
            state.live.take()
        };
        cx.respond(self.server(), status, bytes);
        if let Some(live) = live {
            live.finish(cx, None, None);
        }
    }

    /// Sends a provisional response of 101 to 199, reliably when the peer requires it.
    pub(super) fn progress(
        self: &Rc<Self>,
        cx: &Cx,
        response: ResponseBuilder,
        terms: &LegTerms,
        body: &Body,
    ) {
        let status = response.status();
        if self.is_answered() || !(101..200).contains(&status) {
            return;
        }
        let response = response.header(HeaderName::Contact, &terms.contact);
        let live = self.live(cx, terms).ok();
        let reliably = wording::rel100(self.request()).provisional(status, false);
        let (Provisional::Reliable, Some(live)) = (reliably, live) else {
            return cx.respond(self.server(), status, wording::finish_response(response, body));
        };
        let now = cx.0.instant();
        live.with_leg(|leg| {
            let Some(early) = leg.early.as_mut() else { return };
            let response = response
                .header(HeaderName::Require, "100rel")
                .header(HeaderName::RSeq, early.reliable.next_rseq());
            let bytes = wording::finish_response(response, body);
            let session = !body.is_empty();
            early.reliable.handle_input(now, reliable::Input::Respond { bytes, session });
        });
        live.turn(cx, None, None);
    }

    /// The dialog, made when it is not there yet (RFC 3261 §12.1.1).
    fn live(self: &Rc<Self>, cx: &Cx, terms: &LegTerms) -> Result<Rc<Live>, Lost> {
        if let Some(live) = &self.state.borrow().live {
            return Ok(Rc::clone(live));
        }
        let request = self.request();
        let dialog = wording::dialog_uas(request, &self.tag, DialogState::Early);
        let dialog = dialog.ok_or(Lost::Malformed)?;
        let mut usage = InviteUsage::new(Role::Uas);
        usage.allow_received(wording::allows_update(request).unwrap_or(false));
        // The first INVITE of a dialog meets no other.
        let _ = usage.invite_received(!request.body().is_empty(), &mut || cx.random());
        let mut leg = LegState::new(usage, terms.clone(), Timing::new(terms.timer));
        leg.early = Some(Early {
            taken: Rc::downgrade(self),
            server: self.server(),
            cseq: request.cseq().map(|cseq| cseq.number).unwrap_or_default(),
            reliable: ReliableSender::new(&cx.timers(), &mut || cx.random()),
            held: None,
        });
        let listener = self.arrival.source.listener;
        let live = Live::open(cx, dialog, listener, terms.contact.clone(), Some(leg));
        let live = live.map_err(|_| Lost::Busy)?;
        self.state.borrow_mut().live = Some(Rc::clone(&live));
        Ok(live)
    }

    /// Sends the 2xx, or what the INVITE gets instead.
    pub(super) fn accept(
        self: &Rc<Self>,
        cx: &Cx,
        response: ResponseBuilder,
        body: Body,
        terms: LegTerms,
        to: &Address,
    ) -> Result<Rc<Live>, Lost> {
        if let Some(lost) = self.lost() {
            return Err(lost);
        }
        let asked = wording::session_request(self.request());
        let timer = match terms.timer.answer(&asked) {
            Ok(timer) => timer,
            Err(small) => {
                let response = self.response(cx, 422).header(HeaderName::MinSe, small.min_se);
                self.refuse(cx, response);
                return Err(Lost::IntervalTooSmall);
            }
        };
        let live = self.live(cx, &terms).inspect_err(|lost| {
            let response = match lost {
                Lost::Malformed => self.response(cx, 400),
                _ => self.response(cx, 480).header(HeaderName::RetryAfter, RETRY_AFTER),
            };
            self.refuse(cx, response);
        })?;
        let status = response.status();
        let response = wording::dress(response, &terms, timer);
        let bytes = wording::finish_response(response, &body);
        self.state.borrow_mut().answered = true;
        let offers = self.request().body().is_empty() && !body.is_empty();
        let (server, now) = (self.server(), cx.0.instant());
        let mut state = live.state.borrow_mut();
        state.dialog.confirm(Vec::new());
        state.contact.clone_from(&terms.contact);
        if let Some(leg) = state.leg.as_mut() {
            leg.address = Some(to.clone());
            leg.usage.answer_invite(status);
            leg.timing = Timing::new(terms.timer);
            leg.timing.answered(now, self.request(), timer);
            leg.terms = terms;
            leg.session = body.description();
            let mut accepting = Accepting {
                server,
                cseq: self.request().cseq().map(|cseq| cseq.number).unwrap_or_default(),
                status,
                bytes,
                machine: None,
                offers,
            };
            match leg.early.as_mut() {
                Some(early) if early.reliable.holds_success() => {
                    early.held = Some((accepting, Rc::clone(self)));
                }
                early => {
                    if let Some(early) = early {
                        early.reliable.handle_input(now, reliable::Input::Final);
                    }
                    let machine = Accept::new(now, &cx.timers(), accepting.bytes.clone());
                    accepting.machine = Some(machine);
                    leg.accepting.push(accepting);
                }
            }
        }
        drop(state);
        live.turn(cx, None, None);
        Ok(live)
    }
}

/// A re-INVITE or UPDATE that has no final response yet.
pub(crate) struct Offered {
    pub(super) server: ServerKey,
    pub(super) request: Rc<Request>,
    pub(super) answered: Cell<bool>,
    pub(super) live: Rc<Live>,
}

impl Offered {
    /// CANCEL came for the re-INVITE, or BYE: 487 (RFC 3261 §9.2, §15.1.2).
    pub(crate) fn over(&self, cx: &Cx) {
        let response = ResponseBuilder::new(&self.request, 487, "");
        self.refuse(cx, cx.with_server(response));
    }

    /// Sends a final response other than 2xx; without effect after another final one.
    pub(super) fn refuse(&self, cx: &Cx, response: ResponseBuilder) {
        if self.answered.replace(true) {
            return;
        }
        let status = response.status();
        self.settle(status);
        cx.respond(self.server, status, response.build());
        self.live.free.notify_waiters();
    }

    /// Notes in the dialog that the offer has its final response.
    pub(super) fn settle(&self, status: u16) {
        let invite = self.request.method() == parlance_sip::Method::Invite;
        self.live.with_leg(|leg| match invite {
            true => leg.usage.answer_invite(status),
            false => leg.usage.answer_update(),
        });
    }
}
