//! An INVITE of our own, and the dialogs its responses make (RFC 3261 §13.2; RFC 3262 §4).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use parlance_sip::dialog::invite_usage::InviteUsage;
use parlance_sip::dialog::{Dialog, DialogState, Role};
use parlance_sip::header::RSeq;
use parlance_sip::reliable::{ReliableReceiver, Verdict};
use parlance_sip::{Edits, HeaderName, Method, Request, Response};
use smallvec::SmallVec;

use super::ack::Ack;
use super::limits::{FORKS_MAX, PROVISIONALS_MAX, RETRIES_MAX};
use super::live::{LegState, Live};
use super::refresh::Timing;
use super::{Address, Body, Leg, LegTerms, Reason, wording};
use crate::forward::{self, Answers, Outcome, Waiting};
use crate::{Cx, NextHop};

/// How an INVITE of ours is getting on.
#[derive(Debug)]
pub enum Progress {
    /// A response of 101 to 199; a reliable one was acknowledged with PRACK.
    Provisional(Response),
    /// The first 2xx. The ACK was sent, unless the INVITE had no offer: then
    /// [`Leg::acknowledge`] must follow.
    Answered(Leg, Response),
    /// A final response of 300 to 699; acknowledged. 487 after [`Outgoing::cancel`].
    Failed(Response),
    /// None of them: no final response came (Timer B), there is nowhere to send it, or it was
    /// cancelled and the 2xx that crossed was ended with BYE.
    NoAnswer,
}

/// An INVITE of ours without a final response yet.
///
/// Dropped before its final response: cancelled, as soon as a provisional response allows it; a 2xx
/// that comes after all gets ACK and BYE. So does every 2xx of a further fork.
pub struct Outgoing {
    cx: Cx,
    uac: Rc<Uac>,
}

/// What its handle and its responses share.
pub(crate) struct Uac {
    hop: NextHop,
    terms: LegTerms,
    to: Address,
    state: RefCell<State>,
}

struct State {
    request: Request,
    waiting: Weak<RefCell<Waiting>>,
    told: VecDeque<Progress>,
    waker: Option<Waker>,
    /// Nobody wants the answer any more.
    cancelled: bool,
    /// The role has been told, or will be, how it ended.
    over: bool,
    early: SmallVec<[Early; 1]>,
    /// The dialogs that a 2xx made, by the peer's tag.
    answered: SmallVec<[(Box<str>, Rc<Ack>); 1]>,
    timing: Timing,
    retries: u8,
}

/// An early dialog with reliable provisional responses.
struct Early {
    live: Rc<Live>,
    receiver: ReliableReceiver,
}

impl Cx {
    /// Sends an INVITE of ours to `hop`; the events of its leg go to `to`.
    ///
    /// The role builds the request, with its `Contact` (that of `terms`), CSeq and body, and with a
    /// `Record-Route` that leads here when its `Contact` does not. `Allow`,
    /// `Supported` and the session timer are added where it has none. An INVITE without an offer
    /// must not allow reliable provisional responses: a PRACK would have to carry the answer.
    pub fn invite(
        &self,
        request: Request,
        hop: NextHop,
        terms: LegTerms,
        to: &Address,
    ) -> Outgoing {
        let timing = Timing::new(terms.timer);
        let request = completed(request, &terms, &timing);
        let uac = Rc::new(Uac {
            hop,
            terms,
            to: to.clone(),
            state: RefCell::new(State {
                request,
                waiting: Weak::new(),
                told: VecDeque::new(),
                waker: None,
                cancelled: false,
                over: false,
                early: SmallVec::new(),
                answered: SmallVec::new(),
                timing,
                retries: 0,
            }),
        });
        uac.launch(self);
        Outgoing { cx: self.clone(), uac }
    }
}

impl Outgoing {
    /// What happens next. After anything but [`Progress::Provisional`] nothing does.
    ///
    /// There is no limit to the time between a provisional and a final response: that is for the
    /// role to set. Cancel-safe: what is not taken stays.
    pub async fn next(&mut self) -> Progress {
        poll_fn(|context| {
            let mut state = self.uac.state.borrow_mut();
            if let Some(progress) = state.told.pop_front() {
                return Poll::Ready(progress);
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Cancels the INVITE (RFC 3261 §9.1), once; [`Outgoing::next`] tells what came of it.
    pub fn cancel(&mut self, reason: Option<Reason>) {
        self.uac.cancel(&self.cx, reason);
    }

    /// The INVITE as it was sent, for its Call-ID and tag.
    pub fn request(&self) -> Request {
        self.uac.state.borrow().request.clone()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.uac.cancel(&self.cx, None);
        // Taken out first: a leg that is dropped sends BYE.
        let left = std::mem::take(&mut self.uac.state.borrow_mut().told);
        drop(left);
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

impl Uac {
    fn launch(self: &Rc<Self>, cx: &Cx) {
        let request = self.state.borrow().request.clone();
        let answers = Rc::clone(self) as Rc<dyn Answers>;
        let waiting = forward::invite(cx, request, self.hop.clone(), answers);
        self.state.borrow_mut().waiting = Rc::downgrade(&waiting);
    }

    fn cancel(&self, cx: &Cx, reason: Option<Reason>) {
        let waiting = {
            let mut state = self.state.borrow_mut();
            if state.over || std::mem::replace(&mut state.cancelled, true) {
                return;
            }
            state.waiting.upgrade()
        };
        if let Some(waiting) = waiting {
            cx.0.cancel_for(&waiting, reason.map(|reason| reason.to_string()));
        }
    }

    fn tell(&self, progress: Progress) {
        let mut state = self.state.borrow_mut();
        let waiting = state.told.len();
        let dropped = match &progress {
            Progress::Provisional(_) if waiting >= PROVISIONALS_MAX => state.told.pop_front(),
            _ => None,
        };
        state.told.push_back(progress);
        let waker = state.waker.take();
        drop(state);
        drop(dropped);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notes the end; whether it is the first.
    fn end(&self) -> bool {
        !std::mem::replace(&mut self.state.borrow_mut().over, true)
    }

    /// Forgets the early dialogs, but for the one that is given back.
    fn leave_early(&self, cx: &Cx, tag: Option<&str>) -> Option<Rc<Live>> {
        let early = std::mem::take(&mut self.state.borrow_mut().early);
        let mut found = None;
        for Early { live, .. } in early {
            if tag == Some(&*live.name.remote_tag) {
                found = Some(live);
            } else {
                live.finish(cx, None, None);
            }
        }
        found
    }

    /// Acknowledges a reliable provisional response; whether it counts (RFC 3262 §4).
    fn acknowledge_early(self: &Rc<Self>, cx: &Cx, response: &Response) -> bool {
        let rseq = response.header::<RSeq>().ok().flatten().map(|rseq| rseq.0);
        let Some(rseq) = rseq.filter(|_| wording::requires(response, "100rel")) else {
            return true;
        };
        let tag = wording::to_tag(response);
        let found = {
            let mut state = self.state.borrow_mut();
            let mut early = state.early.iter_mut();
            early
                .find(|early| early.live.name.remote_tag == tag)
                .map(|early| (Rc::clone(&early.live), early.receiver.receive(rseq)))
        };
        let (live, verdict) = match found {
            Some(found) => found,
            None => match self.open_early(cx, response, rseq) {
                Some(live) => (live, Verdict::Acknowledge),
                None => return false,
            },
        };
        match verdict {
            Verdict::Acknowledge => {
                self.prack(cx, &live, rseq);
                true
            }
            Verdict::Repeated | Verdict::OutOfOrder => false,
        }
    }

    fn open_early(&self, cx: &Cx, response: &Response, rseq: u32) -> Option<Rc<Live>> {
        let (request, full) = {
            let state = self.state.borrow();
            (state.request.clone(), state.early.len() >= FORKS_MAX)
        };
        let dialog = wording::dialog_uac(&request, response, DialogState::Early)?;
        if full {
            return None;
        }
        let live = self.open(cx, dialog, response)?;
        let mut receiver = ReliableReceiver::new();
        receiver.receive(rseq);
        self.state.borrow_mut().early.push(Early { live: Rc::clone(&live), receiver });
        Some(live)
    }

    fn open(&self, cx: &Cx, dialog: Dialog, response: &Response) -> Option<Rc<Live>> {
        let mut usage = InviteUsage::new(Role::Uac);
        usage.allow_received(wording::allows_update(response).unwrap_or(false));
        // The first INVITE of a dialog meets no other.
        let _ = usage.send_invite(!self.state.borrow().request.body().is_empty());
        let timing = self.state.borrow().timing.clone();
        let leg = LegState::new(usage, self.terms.clone(), timing);
        let contact = self.terms.contact.clone();
        Live::open(cx, dialog, self.hop.listener, contact, Some(leg)).ok()
    }

    fn prack(&self, cx: &Cx, live: &Rc<Live>, rseq: u32) {
        let cseq = self.cseq();
        let mut headers = self.terms.headers.clone();
        headers.push((HeaderName::RAck, format!("{rseq} {cseq} INVITE")));
        let made = live.build(Method::Prack, &headers, &Body::none());
        let Some((request, hop)) = made else { return };
        let cx = cx.clone();
        cx.clone().spawn(async move {
            // A PRACK without an answer ends nothing: the 2xx or its absence tells.
            let _ = forward::send_beside(&cx, request, hop, None).await;
        });
    }

    fn cseq(&self) -> u32 {
        self.state.borrow().request.cseq().map(|cseq| cseq.number).unwrap_or_default()
    }

    fn offers(&self) -> bool {
        !self.state.borrow().request.body().is_empty()
    }

    /// The first 2xx makes the leg.
    fn answered(self: &Rc<Self>, cx: &Cx, response: Response, ack: &Rc<Ack>) {
        let early = self.leave_early(cx, Some(&wording::to_tag(&response)));
        let request = self.state.borrow().request.clone();
        let live = early.or_else(|| {
            let dialog = wording::dialog_uac(&request, &response, DialogState::Early)?;
            self.open(cx, dialog, &response)
        });
        let Some(live) = live else {
            // No room: acknowledged and ended at once.
            self.decline(cx, &response, ack);
            return self.tell(Progress::NoAnswer);
        };
        let offers = self.offers();
        let dialog = {
            let mut state = live.state.borrow_mut();
            wording::confirm(&mut state.dialog, &request, &response);
            if let Some(leg) = state.leg.as_mut() {
                leg.address = Some(self.to.clone());
                leg.usage.invite_answered();
                if let Some(allowed) = wording::allows_update(&response) {
                    leg.usage.allow_received(allowed);
                }
                leg.timing.established();
                leg.timing.accepted(cx.0.instant(), &response);
                leg.session = Body::of(&request).description();
                if !offers {
                    leg.unacknowledged = Some(Rc::clone(ack));
                }
            }
            state.dialog.clone()
        };
        if offers {
            ack.send(cx, &dialog, self.hop.listener, &self.terms.headers, &Body::none());
        }
        live.moved.notify_one();
        self.tell(Progress::Answered(Leg::new(cx.clone(), live), response));
    }

    /// A 2xx nobody wants: ACK and BYE (RFC 3261 §13.2.2.4).
    fn decline(&self, cx: &Cx, response: &Response, ack: &Rc<Ack>) {
        let request = self.state.borrow().request.clone();
        let dialog = wording::dialog_uac(&request, response, DialogState::Confirmed);
        let Some(mut dialog) = dialog else { return };
        let (listener, headers) = (self.hop.listener, &self.terms.headers);
        ack.send(cx, &dialog, listener, headers, &Body::none());
        let bye = dialog
            .next_cseq()
            .and_then(|cseq| wording::request_within(&dialog, Method::Bye, cseq, listener));
        let Some((builder, hop)) = bye else { return };
        let builder =
            headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
        let Some(bye) = wording::finish(builder, &Body::none()) else { return };
        let cx = cx.clone();
        cx.clone().spawn(async move {
            // Whatever is answered, the dialog is over.
            let _ = forward::send_beside(&cx, bye, hop, None).await;
        });
    }

    /// A 422 came: asks again for a longer interval, when there is one (RFC 4028 §7.3).
    fn asks_again(self: &Rc<Self>, cx: &Cx, response: &Response) -> bool {
        {
            let mut state = self.state.borrow_mut();
            if response.status() != 422
                || state.cancelled
                || state.retries >= RETRIES_MAX
                || !state.timing.rejected(response)
            {
                return false;
            }
            state.retries += 1;
            let cseq = state.request.cseq().map(|cseq| cseq.number).unwrap_or_default();
            let mut edits = Edits::new();
            let number = format_args!("{} INVITE", cseq.saturating_add(1)).to_string();
            edits.set(&state.request, HeaderName::CSeq, number);
            for (name, value) in state.timing.values() {
                edits.set(&state.request, name, value);
            }
            let Some(request) = edits.apply(&state.request) else { return false };
            state.request = request;
        }
        self.leave_early(cx, None);
        self.launch(cx);
        true
    }
}

impl Answers for Uac {
    fn provisional(self: Rc<Self>, cx: &Cx, response: Response) {
        let over = {
            let state = self.state.borrow();
            state.over || state.cancelled
        };
        if !over && self.acknowledge_early(cx, &response) {
            self.tell(Progress::Provisional(response));
        }
    }

    fn success(self: Rc<Self>, cx: &Cx, response: Response) {
        let tag = wording::to_tag(&response);
        let (known, full) = {
            let state = self.state.borrow();
            let known = state.answered.iter().find(|(known, _)| *known == tag);
            (known.map(|(_, ack)| Rc::clone(ack)), state.answered.len() >= FORKS_MAX)
        };
        if let Some(ack) = known {
            return ack.again(cx);
        }
        if full {
            return;
        }
        let ack = Rc::new(Ack::new(self.cseq()));
        self.state.borrow_mut().answered.push((tag, Rc::clone(&ack)));
        let first = self.end();
        if first && !self.state.borrow().cancelled {
            return self.answered(cx, response, &ack);
        }
        self.leave_early(cx, None);
        self.decline(cx, &response, &ack);
        if first {
            self.tell(Progress::NoAnswer);
        }
    }

    fn failed(self: Rc<Self>, cx: &Cx, outcome: Outcome) {
        if let Outcome::Final(response) = &outcome
            && self.asks_again(cx, response)
        {
            return;
        }
        self.leave_early(cx, None);
        if !self.end() {
            return;
        }
        self.tell(match outcome {
            Outcome::Final(response) => Progress::Failed(response),
            Outcome::Relayed(_) | Outcome::Timeout | Outcome::Unreachable | Outcome::Cancelled => {
                Progress::NoAnswer
            }
        });
    }
}

/// The INVITE with what our side says about itself, where the role has not said so.
fn completed(request: Request, terms: &LegTerms, timing: &Timing) -> Request {
    let mut edits = Edits::new();
    for (name, value) in wording::abilities(terms) {
        match name {
            HeaderName::Supported if wording::supports(&request, "timer") => {}
            HeaderName::Supported if request.has(name) => edits.append(name, "timer"),
            _ if request.has(name) => {}
            _ => edits.append(name, value),
        }
    }
    for (name, value) in timing.values() {
        edits.set(&request, name, value);
    }
    edits.apply(&request).unwrap_or(request)
}
