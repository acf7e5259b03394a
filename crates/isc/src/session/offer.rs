//! New offers and refreshes in a dialog: re-INVITE and UPDATE, both ways (RFC 3261 §14, RFC 3311).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use parlance_sip::dialog::accept::Accept;
use parlance_sip::dialog::invite_usage::Refresh;
use parlance_sip::{HeaderName, Method, Request, Response, ResponseBuilder};
use tokio::sync::oneshot;

use super::ack::Ack;
use super::limits::{RETRIES_MAX, RETRY_AFTER, UNACKNOWLEDGED_MAX};
use super::live::{Accepting, LegState, Live, overlap, refused};
use super::uas::Offered;
use super::{Body, Event, wording};
use crate::forward::{self, Answers, Outcome};
use crate::shard::Invited;
use crate::{Cx, Incoming, Reply};

/// A session description the peer offers in the dialog of a leg, or a re-INVITE that asks for one.
///
/// Dropped without an answer: 488, which leaves the session as it was.
pub struct Offer {
    cx: Cx,
    offered: Rc<Offered>,
}

impl Offer {
    /// The re-INVITE or UPDATE.
    pub fn request(&self) -> &Request {
        &self.offered.request
    }

    /// Starts a final response.
    pub fn response(&self, status: u16) -> ResponseBuilder {
        self.cx.with_server(ResponseBuilder::new(self.request(), status, ""))
    }

    /// Sends the 2xx, to a re-INVITE until its ACK: then [`Event::Confirmed`]. What
    /// [`super::Invite::accept`] adds is added. Without effect when the offer was cancelled or the
    /// leg is over.
    pub fn accept(self, response: ResponseBuilder, body: Body) {
        let Offered { server, request, answered, live } = &*self.offered;
        if answered.replace(true) {
            return;
        }
        self.offered.settle(response.status());
        accept(&self.cx, live, *server, request, response, body);
    }

    /// Sends a final response of 300 to 699: the session stays as it was.
    pub fn refuse(self, response: ResponseBuilder) {
        self.offered.refuse(&self.cx, response);
    }

    /// Sends what a refusal table says.
    pub fn reply(self, reply: &Reply) {
        let request = self.request();
        let response = ResponseBuilder::with_reason(request, reply.status, &reply.reason, "");
        let response = reply.add_headers(self.cx.with_server(response));
        self.offered.refuse(&self.cx, response);
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // Without effect when it was answered.
        self.offered.refuse(&self.cx, self.response(488));
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("request", self.request()).finish_non_exhaustive()
    }
}

/// A re-INVITE or UPDATE came.
pub(super) fn received(cx: &Cx, live: &Rc<Live>, incoming: Incoming) {
    let request = incoming.request();
    let invite = request.method() == Method::Invite;
    let offers = !request.body().is_empty();
    let checked = live.with_leg(|leg| check(cx, leg, request, invite, offers));
    match checked {
        None => return incoming.reply(&Reply::new(481)),
        Some(Err(reply)) => return incoming.reply(&reply),
        Some(Ok(())) => {}
    }
    let (arrival, ..) = incoming.into_parts();
    let (server, request) = (arrival.server, arrival.request);
    let answered = Cell::new(false);
    let offered = Rc::new(Offered { server, request, answered, live: Rc::clone(live) });
    let offer = Offer { cx: cx.clone(), offered: Rc::clone(&offered) };
    if !invite && !offers {
        let response = offer.response(200);
        return offer.accept(response, Body::none());
    }
    if invite {
        let now = Invited::Offered(Rc::downgrade(&offered));
        cx.0.invites.borrow_mut().insert(server, now);
    }
    let address = live.with_leg(|leg| {
        leg.offered = Rc::downgrade(&offered);
        leg.address.clone()
    });
    let given = match address.flatten() {
        Some(address) => address.give(Event::Offer(live.id, offer)),
        None => Err(Event::Offer(live.id, offer)),
    };
    if let Err(Event::Offer(_, offer)) = given {
        offer.reply(&overlap(RETRY_AFTER));
    }
}

/// Whether it may be looked at now.
fn check(
    cx: &Cx,
    leg: &mut LegState,
    request: &Request,
    invite: bool,
    offers: bool,
) -> Result<(), Reply> {
    let unknown = wording::not_understood(request, leg.terms.supported);
    if !unknown.is_empty() {
        return Err(Reply::new(420).with(HeaderName::Unsupported, unknown.join(", ")));
    }
    if leg.ending.is_some() {
        return Err(Reply::new(481));
    }
    if let Err(small) = leg.terms.timer.answer(&wording::session_request(request)) {
        return Err(Reply::new(422).with(HeaderName::MinSe, small.min_se));
    }
    if leg.accepting.len() >= UNACKNOWLEDGED_MAX {
        return Err(overlap(RETRY_AFTER));
    }
    let mut entropy = || cx.random();
    match invite {
        true => leg.usage.invite_received(offers, &mut entropy),
        false => leg.usage.update_received(offers, &mut entropy),
    }
    .map_err(refused)
}

fn accept(
    cx: &Cx,
    live: &Rc<Live>,
    server: parlance_sip::ServerKey,
    request: &Request,
    response: ResponseBuilder,
    body: Body,
) {
    let now = cx.0.instant();
    let status = response.status();
    if let Some(target) = wording::target(request) {
        live.state.borrow_mut().dialog.refresh_target(target);
    }
    let plain = live.with_leg(|leg| {
        let timer = leg.terms.timer.answer(&wording::session_request(request)).unwrap_or(None);
        let response = wording::dress(response, &leg.terms, timer);
        let bytes = wording::finish_response(response, &body);
        // Before the 2xx to its INVITE a session has no timer (RFC 4028 §7.2).
        if leg.address.is_some() {
            leg.timing.answered(now, request, timer);
        }
        if let Some(allowed) = wording::allows_update(request) {
            leg.usage.allow_received(allowed);
        }
        let offers = request.body().is_empty() && !body.is_empty();
        if !body.is_empty() {
            leg.session = body.description();
        }
        if request.method() != Method::Invite {
            return Some(bytes);
        }
        let machine = Some(Accept::new(now, &cx.timers(), bytes.clone()));
        let cseq = request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        leg.accepting.push(Accepting { server, cseq, status, bytes, machine, offers });
        None
    });
    if let Some(Some(bytes)) = plain {
        cx.respond(server, status, bytes);
    }
    live.turn(cx, None, None);
    live.free.notify_waiters();
}

/// Sends a re-INVITE of ours: see [`super::Leg::offer`].
pub(super) async fn offer(
    cx: &Cx,
    live: &Rc<Live>,
    body: Body,
    headers: Vec<(HeaderName, String)>,
) -> Outcome {
    let (tell, told) = oneshot::channel();
    let (own, live) = (cx.clone(), Rc::clone(live));
    cx.spawn(async move {
        let outcome = exchange(&own, &live, Method::Invite, body, &headers).await;
        // Nobody may be waiting any more.
        let _ = tell.send(outcome);
    });
    told.await.unwrap_or(Outcome::Cancelled)
}

/// Refreshes the session (RFC 4028 §7.4): by UPDATE when the peer allows it.
pub(super) fn refresh(cx: &Cx, live: &Rc<Live>) {
    let (own, live) = (cx.clone(), Rc::clone(live));
    cx.spawn(async move {
        let with = live.with_leg(|leg| (leg.usage.refresh(), leg.session.clone()));
        let Some((with, session)) = with else { return };
        if with == Refresh::Update {
            let outcome = exchange(&own, &live, Method::Update, Body::none(), &[]).await;
            match outcome {
                Outcome::Final(response) if matches!(response.status(), 405 | 501) => {
                    live.with_leg(|leg| leg.usage.allow_received(false));
                }
                _ => return,
            }
        }
        // What comes of it is acted upon there; without a 2xx the session ends in time.
        let _ = exchange(&own, &live, Method::Invite, session, &[]).await;
    });
}

/// Sends a session refresh request until it has an answer that counts.
async fn exchange(
    cx: &Cx,
    live: &Rc<Live>,
    method: Method<'static>,
    body: Body,
    headers: &[(HeaderName, String)],
) -> Outcome {
    let mut retries = 0;
    loop {
        if !turn(live, method, !body.is_empty()).await {
            return Outcome::Cancelled;
        }
        let outcome = match method {
            Method::Invite => reinvite(cx, live, &body, headers).await,
            _ => update(cx, live, &body, headers).await,
        };
        live.with_leg(|leg| match method {
            Method::Invite => leg.usage.invite_answered(),
            _ => leg.usage.update_answered(),
        });
        live.free.notify_waiters();
        let Outcome::Final(response) = &outcome else {
            live.heard(cx, method, &outcome);
            return outcome;
        };
        retries += 1;
        match response.status() {
            200..300 => {
                succeeded(cx, live, response, body);
                return outcome;
            }
            491 if retries <= RETRIES_MAX => {
                let wait = live.with_leg(|leg| leg.usage.glare_wait(&mut || cx.random()));
                let Some(wait) = wait else { return Outcome::Cancelled };
                cx.after(wait).await;
            }
            422 if retries <= RETRIES_MAX
                && live.with_leg(|leg| leg.timing.rejected(response)) == Some(true) => {}
            _ => {
                live.heard(cx, method, &outcome);
                return outcome;
            }
        }
    }
}

/// Waits until the request may be sent; `false` when the leg is over.
async fn turn(live: &Live, method: Method<'static>, offers: bool) -> bool {
    loop {
        let freed = live.free.notified();
        let turn = live.with_leg(|leg| match (leg.ending.is_some(), method) {
            (true, _) => None,
            (false, Method::Invite) => Some(leg.usage.send_invite(offers)),
            (false, _) => Some(leg.usage.send_update(offers)),
        });
        match turn.flatten() {
            None => return false,
            Some(Ok(())) => return true,
            Some(Err(_)) => freed.await,
        }
    }
}

fn succeeded(cx: &Cx, live: &Rc<Live>, response: &Response, body: Body) {
    live.refresh_target(response);
    live.with_leg(|leg| {
        leg.timing.accepted(cx.0.instant(), response);
        if let Some(allowed) = wording::allows_update(response) {
            leg.usage.allow_received(allowed);
        }
        if !body.is_empty() {
            leg.session = body.description();
        }
    });
    live.moved.notify_one();
}

/// The header fields of a refresh: what our side can do, and its timer.
fn refreshing(live: &Live, headers: &[(HeaderName, String)]) -> Vec<(HeaderName, String)> {
    let own = live.with_leg(|leg| {
        let mut own = leg.terms.headers.clone();
        let able = wording::abilities(&leg.terms).into_iter().map(|(name, value)| match name {
            // PRACK would need a dialog state of its own here; nothing is gained by it.
            HeaderName::Supported => {
                let tags = leg.terms.supported.iter().filter(|tag| **tag != "100rel");
                (name, tags.copied().collect::<Vec<_>>().join(", "))
            }
            _ => (name, value),
        });
        own.extend(able);
        own.extend(leg.timing.values());
        own
    });
    let mut all = own.unwrap_or_default();
    all.extend_from_slice(headers);
    all
}

async fn update(
    cx: &Cx,
    live: &Rc<Live>,
    body: &Body,
    headers: &[(HeaderName, String)],
) -> Outcome {
    let made = live.build(Method::Update, &refreshing(live, headers), body);
    let Some((request, hop)) = made else { return Outcome::Unreachable };
    forward::send_beside(cx, request, hop, None).await
}

async fn reinvite(
    cx: &Cx,
    live: &Rc<Live>,
    body: &Body,
    headers: &[(HeaderName, String)],
) -> Outcome {
    let made = live.build(Method::Invite, &refreshing(live, headers), body);
    let Some((request, hop)) = made else { return Outcome::Unreachable };
    let cseq = request.cseq().map(|cseq| cseq.number).unwrap_or_default();
    let (tell, told) = oneshot::channel();
    let answers = Rc::new(Reinvite {
        live: Rc::clone(live),
        ack: Rc::new(Ack::new(cseq)),
        offers: !body.is_empty(),
        tell: RefCell::new(Some(tell)),
    });
    forward::invite(cx, request, hop, answers);
    told.await.unwrap_or(Outcome::Unreachable)
}

/// A re-INVITE of ours.
struct Reinvite {
    live: Rc<Live>,
    ack: Rc<Ack>,
    offers: bool,
    tell: RefCell<Option<oneshot::Sender<Outcome>>>,
}

impl Answers for Reinvite {
    fn provisional(self: Rc<Self>, _: &Cx, _: Response) {}

    fn success(self: Rc<Self>, cx: &Cx, response: Response) {
        let Some(tell) = self.tell.take() else { return self.ack.again(cx) };
        self.live.refresh_target(&response);
        let dialog = self.live.state.borrow().dialog.clone();
        let headers = self.live.with_leg(|leg| {
            if !self.offers {
                leg.unacknowledged = Some(Rc::clone(&self.ack));
            }
            leg.terms.headers.clone()
        });
        if self.offers || headers.is_none() {
            let headers = headers.unwrap_or_default();
            self.ack.send(cx, &dialog, self.live.listener, &headers, &Body::none());
        }
        let _ = tell.send(Outcome::Final(response));
    }

    fn failed(self: Rc<Self>, _: &Cx, outcome: Outcome) {
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(outcome);
        }
    }
}
