//! One dialog in which the server is a user agent: its state, its usages (RFC 5057) and their
//! machines.
//!
//! The shard gives it requests, ACKs and time; it sends what its machines want and tells the role
//! by its mailbox. No borrow of the state is held while something is sent or told.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Instant;

use bytes::Bytes;
use parlance_sip::dialog::accept::{self, Accept};
use parlance_sip::dialog::invite_usage::InviteUsage;
use parlance_sip::dialog::{Dialog, DialogId, DialogRefusal};
use parlance_sip::reliable::{self, ReliableSender};
use parlance_sip::subscription::{SubscriptionState, notifier};
use parlance_sip::{HeaderName, ListenerId, Method, Request, Response, ServerKey};
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use super::ack::Ack;
use super::refresh::{self, Timing};
use super::table::Full;
use super::uas::{Offered, Taken};
use super::watcher::Watching;
use super::{Address, Body, Ended, Event, LegId, LegTerms, Reason, offer, wording};
use crate::forward::{self, Outcome};
use crate::shard::sleep_until;
use crate::{Cx, Incoming, NextHop, Reply};

/// One dialog.
pub(crate) struct Live {
    pub(super) id: LegId,
    pub(super) name: DialogId,
    pub(super) listener: ListenerId,
    pub(super) state: RefCell<State>,
    /// Requests of ours that must have their answer before the dialog is forgotten.
    closing: Cell<usize>,
    closed: Cell<bool>,
    /// A deadline may have changed.
    pub(super) moved: Notify,
    /// An INVITE, UPDATE or offer is through: whoever waits for its turn may look again.
    pub(super) free: Notify,
}

/// What changes in a dialog.
pub(super) struct State {
    pub(super) dialog: Dialog,
    /// Our `Contact`.
    pub(super) contact: String,
    /// The INVITE usage.
    pub(super) leg: Option<LegState>,
    /// The SUBSCRIBE and REFER usages.
    pub(super) watchers: SmallVec<[Watching; 1]>,
}

/// The INVITE usage of a dialog.
pub(super) struct LegState {
    pub(super) usage: InviteUsage,
    /// Where its events go; `None` while it is early, and once the role has let go of it.
    pub(super) address: Option<Address>,
    pub(super) terms: LegTerms,
    /// The INVITE of the peer's that made the dialog, until its ACK.
    pub(super) early: Option<Early>,
    pub(super) accepting: SmallVec<[Accepting; 1]>,
    /// The peer's offer that the role has not answered.
    pub(super) offered: Weak<Offered>,
    /// The ACK that waits for the role's answer.
    pub(super) unacknowledged: Option<Rc<Ack>>,
    pub(super) timing: Timing,
    /// Our session description, for a refresh by re-INVITE.
    pub(super) session: Body,
    /// The role has ended it; BYE waits for the ACK of our 2xx (RFC 3261 §15).
    pub(super) ending: Option<Option<Reason>>,
}

/// An INVITE received that makes the dialog.
pub(super) struct Early {
    pub(super) taken: Weak<Taken>,
    pub(super) server: ServerKey,
    pub(super) cseq: u32,
    pub(super) reliable: ReliableSender,
    /// The 2xx, while a PRACK is missing (RFC 3262 §3), and the INVITE, should none come.
    pub(super) held: Option<(Accepting, Rc<Taken>)>,
}

/// A 2xx of ours to an INVITE, until its ACK.
pub(super) struct Accepting {
    pub(super) server: ServerKey,
    pub(super) cseq: u32,
    pub(super) status: u16,
    pub(super) bytes: Bytes,
    pub(super) machine: Option<Accept>,
    /// The ACK carries the answer.
    pub(super) offers: bool,
}

/// What a machine wants done.
enum Act {
    Respond(ServerKey, u16, Bytes),
    Confirmed,
    NoAck,
    GiveUp(Weak<Taken>),
    AcceptPrack,
    RefusePrack,
    Notify(usize, SubscriptionState),
    Removed(usize),
}

impl LegState {
    pub(super) fn new(usage: InviteUsage, terms: LegTerms, timing: Timing) -> Self {
        Self {
            usage,
            address: None,
            terms,
            early: None,
            accepting: SmallVec::new(),
            offered: Weak::new(),
            unacknowledged: None,
            timing,
            session: Body::none(),
            ending: None,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let reliable = self.early.as_ref().and_then(|early| early.reliable.poll_timeout());
        let accepting = self.accepting.iter().filter_map(|accepting| accepting.machine.as_ref());
        let accepting = accepting.filter_map(Accept::poll_timeout);
        accepting.chain(reliable).chain(self.timing.poll_timeout()).min()
    }

    fn next_act(&mut self) -> Option<Act> {
        if let Some(act) = self.early.as_mut().and_then(Early::next_act) {
            return Some(act);
        }
        for accepting in &mut self.accepting {
            let Some(machine) = accepting.machine.as_mut() else { continue };
            match machine.poll_output() {
                None => {}
                Some(accept::Output::Send) => {
                    let bytes = accepting.bytes.clone();
                    return Some(Act::Respond(accepting.server, accepting.status, bytes));
                }
                Some(accept::Output::Acknowledged) => return Some(Act::Confirmed),
                Some(accept::Output::GiveUp) => return Some(Act::NoAck),
            }
        }
        None
    }
}

impl Early {
    fn next_act(&mut self) -> Option<Act> {
        Some(match self.reliable.poll_output()? {
            reliable::Output::Send => {
                let bytes = self.reliable.last().cloned().unwrap_or_default();
                Act::Respond(self.server, status_of(&bytes), bytes)
            }
            reliable::Output::AcceptPrack => Act::AcceptPrack,
            reliable::Output::RefusePrack => Act::RefusePrack,
            reliable::Output::GiveUp => Act::GiveUp(Weak::clone(&self.taken)),
            // Said where it is fed.
            reliable::Output::Dropped => return self.next_act(),
        })
    }
}

/// The status code of a response of ours.
fn status_of(bytes: &[u8]) -> u16 {
    let digits = bytes.get(8..11).unwrap_or_default();
    digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit.wrapping_sub(b'0')))
}

impl State {
    fn next_act(&mut self) -> Option<Act> {
        if let Some(act) = self.leg.as_mut().and_then(LegState::next_act) {
            return Some(act);
        }
        for (index, watching) in self.watchers.iter_mut().enumerate() {
            match watching.machine.poll_output() {
                None => {}
                Some(notifier::Output::Notify(state)) => return Some(Act::Notify(index, state)),
                Some(notifier::Output::Removed) => return Some(Act::Removed(index)),
            }
        }
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let leg = self.leg.as_ref().and_then(LegState::poll_timeout);
        let watchers = self.watchers.iter().filter_map(|watching| watching.machine.poll_timeout());
        watchers.chain(leg).min()
    }
}

impl Live {
    /// Takes a dialog into the table of the shard and starts its timers.
    pub(super) fn open(
        cx: &Cx,
        dialog: Dialog,
        listener: ListenerId,
        contact: String,
        leg: Option<LegState>,
    ) -> Result<Rc<Self>, Full> {
        let live = Rc::new(Self {
            id: LegId(cx.0.sessions.next()),
            name: dialog.id().clone(),
            listener,
            state: RefCell::new(State { dialog, contact, leg, watchers: SmallVec::new() }),
            closing: Cell::new(0),
            closed: Cell::new(false),
            moved: Notify::new(),
            free: Notify::new(),
        });
        cx.0.sessions.insert(&live)?;
        cx.spawn(drive(cx.clone(), Rc::clone(&live)));
        Ok(live)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether the INVITE usage is there.
    pub(super) fn has_leg(&self) -> bool {
        self.state.borrow().leg.is_some()
    }

    /// Changes the INVITE usage; `None` when it is over.
    pub(super) fn with_leg<T>(&self, change: impl FnOnce(&mut LegState) -> T) -> Option<T> {
        self.state.borrow_mut().leg.as_mut().map(change)
    }

    /// Does what the machines want. `prack` is the one just fed, `answer` the body of the ACK.
    pub(super) fn turn(
        self: &Rc<Self>,
        cx: &Cx,
        mut prack: Option<Incoming>,
        mut answer: Option<Bytes>,
    ) {
        loop {
            let Some(act) = self.state.borrow_mut().next_act() else { break };
            match act {
                Act::Respond(server, status, bytes) => cx.respond(server, status, bytes),
                Act::Confirmed => self.confirmed(cx, answer.take()),
                Act::NoAck => self.not_acknowledged(cx),
                Act::GiveUp(taken) => self.not_pracked(cx, &taken),
                Act::AcceptPrack => {
                    if let Some(prack) = prack.take() {
                        prack.reply(&Reply::new(200));
                    }
                    self.release_held(cx);
                }
                Act::RefusePrack => {
                    if let Some(prack) = prack.take() {
                        prack.reply(&Reply::new(481));
                    }
                }
                Act::Notify(index, state) => self.notify_due(cx, index, state),
                Act::Removed(index) => self.unwatched(cx, index),
            }
        }
        self.moved.notify_one();
    }

    fn due(&self) -> Option<Instant> {
        self.state.borrow().poll_timeout()
    }

    fn handle_timeout(self: &Rc<Self>, cx: &Cx) {
        let now = cx.0.instant();
        let due = {
            let state = &mut *self.state.borrow_mut();
            for watching in &mut state.watchers {
                watching.machine.handle_input(now, notifier::Input::Timeout);
            }
            state.leg.as_mut().and_then(|leg| {
                if let Some(early) = &mut leg.early {
                    early.reliable.handle_input(now, reliable::Input::Timeout);
                }
                for machine in leg.accepting.iter_mut().filter_map(|it| it.machine.as_mut()) {
                    machine.handle_input(now, accept::Input::Timeout);
                }
                leg.timing.handle_timeout(now)
            })
        };
        self.turn(cx, None, None);
        match due {
            Some(refresh::Due::Refresh) => offer::refresh(cx, self),
            Some(refresh::Due::Expired) => self.expired(cx),
            None => {}
        }
    }

    /// Serves a request in the dialog.
    pub(super) fn handle(self: &Rc<Self>, cx: &Cx, incoming: Incoming) {
        let cseq = incoming.request().cseq().map(|cseq| cseq.number).unwrap_or_default();
        let received = self.state.borrow_mut().dialog.receive(cseq);
        if let Err(refusal) = received {
            return incoming.reply(&refused(refusal));
        }
        match incoming.request().method() {
            Method::Bye => self.bye_received(cx, incoming),
            Method::Invite | Method::Update => offer::received(cx, self, incoming),
            Method::Prack => self.prack_received(cx, incoming),
            Method::Subscribe if self.watched_by(incoming.request()).is_some() => {
                self.resubscribed(cx, incoming);
            }
            _ => self.request_received(incoming),
        }
    }

    fn request_received(&self, incoming: Incoming) {
        let (allowed, address) = match &self.state.borrow().leg {
            Some(leg) => {
                let method = incoming.request().method();
                (leg.terms.allow.contains(&method).then_some(()).ok_or(leg.terms.allow), {
                    leg.address.clone()
                })
            }
            None => (Ok(()), None),
        };
        if let Err(allowed) = allowed {
            let status = if incoming.request().method().is_known() { 405 } else { 501 };
            let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
            return incoming.reply(&Reply::new(status).with(HeaderName::Allow, names.join(", ")));
        }
        let Some(address) = address else { return incoming.reply(&Reply::new(481)) };
        if let Err(Event::Request(_, incoming)) = address.give(Event::Request(self.id, incoming)) {
            incoming.reply(&overlap(super::limits::RETRY_AFTER));
        }
    }

    fn prack_received(self: &Rc<Self>, cx: &Cx, incoming: Incoming) {
        let rack = incoming.request().header::<parlance_sip::header::RAck<'_>>().ok().flatten();
        let fed = rack.and_then(|rack| {
            let now = cx.0.instant();
            self.with_leg(|leg| {
                let early = leg.early.as_mut()?;
                if rack.cseq != early.cseq || rack.method != Method::Invite {
                    return None;
                }
                let held = early.reliable.holds_success();
                let input = reliable::Input::Prack { rseq: rack.rseq };
                early.reliable.handle_input(now, input);
                if held && !early.reliable.holds_success() {
                    leg.usage.offer_answered();
                }
                Some(())
            })?
        });
        match fed {
            Some(()) => self.turn(cx, Some(incoming), None),
            None => incoming.reply(&Reply::new(481)),
        }
    }

    /// No PRACK came: the INVITE is refused, accepted or not (RFC 3262 §3).
    fn not_pracked(self: &Rc<Self>, cx: &Cx, taken: &Weak<Taken>) {
        let Some(taken) = taken.upgrade() else { return };
        taken.not_pracked(cx);
        self.finish(cx, Some(Ended::NoAck), None);
    }

    /// The 2xx that waited for the last PRACK goes out.
    fn release_held(self: &Rc<Self>, cx: &Cx) {
        let timers = cx.timers();
        self.with_leg(|leg| {
            let Some(early) = leg.early.as_mut().filter(|early| !early.reliable.holds_success())
            else {
                return;
            };
            let Some((mut held, _)) = early.held.take() else { return };
            early.reliable.handle_input(cx.0.instant(), reliable::Input::Final);
            held.machine = Some(Accept::new(cx.0.instant(), &timers, held.bytes.clone()));
            leg.accepting.push(held);
        });
    }

    /// The ACK for a 2xx of ours came.
    pub(super) fn acknowledged(self: &Rc<Self>, cx: &Cx, ack: &Request) {
        let number = ack.cseq().map(|cseq| cseq.number);
        let now = cx.0.instant();
        let offers = self.with_leg(|leg| {
            let accepting = leg.accepting.iter_mut().find(|it| Some(it.cseq) == number)?;
            accepting.machine.as_mut()?.handle_input(now, accept::Input::Ack);
            Some(accepting.offers)
        });
        if let Some(offers) = offers.flatten() {
            let answer = offers.then(|| Bytes::copy_from_slice(ack.body()));
            self.turn(cx, None, answer);
        }
    }

    fn confirmed(self: &Rc<Self>, cx: &Cx, answer: Option<Bytes>) {
        let ending = self.with_leg(|leg| {
            leg.accepting.retain(|it| it.machine.as_ref().is_none_or(|it| it.last().is_some()));
            leg.early = None;
            leg.usage.acknowledged();
            (leg.ending.take(), leg.address.clone())
        });
        self.free.notify_waiters();
        match ending {
            Some((Some(reason), _)) => self.finish(cx, None, Some(reason)),
            Some((None, Some(address))) => {
                if let Some(answer) = answer {
                    let _ = address.give(Event::Answer(self.id, answer));
                }
                // What the mailbox does not take, a session that is over does not miss.
                let _ = address.give(Event::Confirmed(self.id));
            }
            Some((None, None)) | None => {}
        }
    }

    fn not_acknowledged(self: &Rc<Self>, cx: &Cx) {
        let ending = self.with_leg(|leg| leg.ending.take()).flatten();
        let reason = ending.unwrap_or_else(|| Some(Reason::sip(408, "no ACK")));
        self.finish(cx, Some(Ended::NoAck), Some(reason));
    }

    fn expired(self: &Rc<Self>, cx: &Cx) {
        let reason = Reason::sip(408, "session not refreshed");
        self.finish(cx, Some(Ended::NotRefreshed), Some(Some(reason)));
    }

    fn bye_received(self: &Rc<Self>, cx: &Cx, incoming: Incoming) {
        let early = self.with_leg(|leg| leg.early.as_ref().map(|early| Weak::clone(&early.taken)));
        let bye = incoming.request().clone();
        if !self.has_leg() && self.closing.get() == 0 {
            return incoming.reply(&Reply::new(481));
        }
        incoming.reply(&Reply::new(200));
        match early.flatten().and_then(|taken| taken.upgrade()) {
            Some(taken) if !taken.is_answered() => taken.cancelled(cx, bye),
            Some(_) | None => self.finish(cx, Some(Ended::Bye(bye)), None),
        }
    }

    /// A request of ours was answered: whether that ends the leg (RFC 3261 §12.2.1.2, RFC 5057).
    pub(super) fn heard(self: &Rc<Self>, cx: &Cx, method: Method<'static>, outcome: &Outcome) {
        let (gone, bye) = match outcome {
            Outcome::Final(response) if response.is_success() => {
                if matches!(method, Method::Update | Method::Subscribe | Method::Invite) {
                    self.refresh_target(response);
                }
                return;
            }
            Outcome::Final(response) => match response.status() {
                481 => (481, None),
                408 => (408, Some(None)),
                _ => return,
            },
            Outcome::Timeout => (408, Some(None)),
            Outcome::Relayed(_) | Outcome::Unreachable | Outcome::Cancelled => return,
        };
        // These have usages of their own.
        if !matches!(method, Method::Notify | Method::Subscribe | Method::Bye) {
            self.finish(cx, Some(Ended::Gone(gone)), bye);
        }
    }

    pub(super) fn refresh_target(&self, response: &Response) {
        if let Some(target) = wording::target(response) {
            self.state.borrow_mut().dialog.refresh_target(target);
        }
    }

    /// Ends the INVITE usage: with a BYE when `bye` says so, telling the role when `ended` does.
    pub(super) fn finish(
        self: &Rc<Self>,
        cx: &Cx,
        ended: Option<Ended>,
        bye: Option<Option<Reason>>,
    ) {
        let Some(leg) = self.state.borrow_mut().leg.take() else { return };
        if let Some(offered) = leg.offered.upgrade() {
            offered.over(cx);
        }
        if let Some(ack) = &leg.unacknowledged {
            let dialog = self.state.borrow().dialog.clone();
            ack.send(cx, &dialog, self.listener, &leg.terms.headers, &Body::none());
        }
        if let Some(reason) = bye {
            self.send_bye(cx, reason, &leg.terms.headers);
        }
        if let (Some(ended), Some(address)) = (ended, &leg.address) {
            let _ = address.give(Event::Ended(self.id, ended));
        }
        self.free.notify_waiters();
        self.close_if_done(cx);
    }

    fn send_bye(
        self: &Rc<Self>,
        cx: &Cx,
        reason: Option<Reason>,
        headers: &[(HeaderName, String)],
    ) {
        let mut headers = headers.to_vec();
        headers.extend(reason.map(|reason| (HeaderName::Reason, reason.to_string())));
        let made = self.build(Method::Bye, &headers, &Body::none());
        let Some((request, hop)) = made else { return };
        self.closing.set(self.closing.get() + 1);
        let (cx, live) = (cx.clone(), Rc::clone(self));
        cx.clone().spawn(async move {
            // Whatever is answered, the dialog is over (RFC 3261 §15.1.1).
            let _ = forward::send_beside(&cx, request, hop, None).await;
            live.closing.set(live.closing.get() - 1);
            live.close_if_done(&cx);
        });
    }

    /// Forgets the dialog when no usage is left (RFC 5057 §4.1).
    pub(super) fn close_if_done(&self, cx: &Cx) {
        let used = {
            let state = self.state.borrow();
            state.leg.is_some() || !state.watchers.is_empty()
        };
        if used || self.closing.get() > 0 || self.closed.replace(true) {
            return;
        }
        cx.0.sessions.remove(self);
        self.moved.notify_one();
    }

    /// Makes the next request in the dialog.
    pub(super) fn build(
        &self,
        method: Method<'static>,
        headers: &[(HeaderName, String)],
        body: &Body,
    ) -> Option<(Request, NextHop)> {
        let mut state = self.state.borrow_mut();
        let cseq = state.dialog.next_cseq()?;
        let (builder, hop) = wording::request_within(&state.dialog, method, cseq, self.listener)?;
        let builder = match method {
            Method::Subscribe | Method::Notify | Method::Refer => {
                builder.header(HeaderName::Contact, &state.contact)
            }
            _ => builder,
        };
        let builder =
            headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
        Some((wording::finish(builder, body)?, hop))
    }

    /// Sends a request in the dialog and waits for its answer. Dropped: the answer still counts.
    pub(super) async fn send(
        self: &Rc<Self>,
        cx: &Cx,
        method: Method<'static>,
        headers: &[(HeaderName, String)],
        body: &Body,
    ) -> Outcome {
        let Some((request, hop)) = self.build(method, headers, body) else {
            return Outcome::Unreachable;
        };
        let (tell, told) = oneshot::channel();
        let (live, own) = (Rc::clone(self), cx.clone());
        cx.spawn(async move {
            let outcome = forward::send_beside(&own, request, hop, None).await;
            live.heard(&own, method, &outcome);
            // Nobody may be waiting any more.
            let _ = tell.send(outcome);
        });
        told.await.unwrap_or(Outcome::Unreachable)
    }
}

/// The answer to a request that is refused by the state of its dialog.
pub(super) fn refused(refusal: DialogRefusal) -> Reply {
    match refusal {
        DialogRefusal::Overlap { retry_after_secs } => overlap(u32::from(retry_after_secs)),
        DialogRefusal::Unknown | DialogRefusal::OutOfOrder | DialogRefusal::Glare => {
            Reply::new(refusal.status())
        }
    }
}

/// 500: not now (RFC 3261 §14.2).
pub(super) fn overlap(retry_after: u32) -> Reply {
    Reply::new(500).with(HeaderName::RetryAfter, retry_after)
}

/// Runs the timers of a dialog until it is forgotten.
async fn drive(cx: Cx, live: Rc<Live>) {
    while !live.is_closed() {
        let due = live.due();
        tokio::select! {
            () = live.moved.notified() => {}
            () = sleep_until(due) => live.handle_timeout(&cx),
        }
    }
}
