//! Subscriptions to what a session has to tell (RFC 6665 §4.2; RFC 3515 §2.4.4; RFC 4488).

use std::fmt;
use std::rc::Rc;

use parlance_sip::dialog::DialogState;
use parlance_sip::header::{Event as EventHeader, Header, ReferSub};
use parlance_sip::subscription::notifier::{self, Authorisation, Cause, Input, Limits};
use parlance_sip::subscription::{Notifier, SubscriptionState};
use parlance_sip::{HeaderName, Method, Request, ResponseBuilder};

use super::limits::RETRY_AFTER;
use super::live::Live;
use super::{Address, Body, Event, WatcherId, wording};
use crate::forward::send_beside;
use crate::{Cx, Incoming, Outcome, Reply};

/// What a subscriber is granted.
#[derive(Clone, Debug)]
pub struct WatchTerms {
    /// The event packages served there; another gets 489.
    pub packages: &'static [&'static str],
    /// Durations and pace.
    pub limits: Limits,
    /// The whole `Contact` value; inside a leg's dialog the leg's own counts.
    pub contact: String,
    /// Further header fields of every NOTIFY.
    pub headers: Vec<(HeaderName, String)>,
}

/// A subscription to us.
///
/// Dropped: the last NOTIFY says `terminated;reason=noresource`.
pub struct Watcher {
    cx: Cx,
    id: WatcherId,
    live: Rc<Live>,
    ended: bool,
}

/// A NOTIFY that is due now.
///
/// Dropped: it is sent without a body.
pub struct Due {
    cx: Cx,
    id: WatcherId,
    live: Rc<Live>,
    state: SubscriptionState,
    full: bool,
    sent: bool,
}

/// One subscription in a dialog.
pub(super) struct Watching {
    pub(super) id: WatcherId,
    pub(super) machine: Notifier,
    limits: Limits,
    /// The value for `Event` in every NOTIFY.
    event: String,
    address: Option<Address>,
    /// The next NOTIFY shows the whole state.
    full: bool,
    /// The role has ended it.
    ended: bool,
    headers: Vec<(HeaderName, String)>,
}

impl Cx {
    /// Serves a SUBSCRIBE, outside a dialog or in that of a leg, which the subscription then shares
    /// (RFC 6665 §4.5.1): answers it with 200 and a first NOTIFY becomes due, or with 489, 423, 400
    /// or 480. Refreshes and the end are seen to below.
    pub fn watch(&self, incoming: Incoming, terms: &WatchTerms, to: &Address) -> Option<Watcher> {
        let request = incoming.request();
        let event = request.header::<EventHeader<'_>>().ok().flatten();
        let known = event.is_some_and(|event| terms.packages.contains(&event.name()));
        let expires = match terms.limits.admit(known, wording::expires(request)) {
            Ok(expires) => expires,
            Err(refusal) => {
                incoming.reply(&refused(&refusal, terms.packages));
                return None;
            }
        };
        let event = event.map(|event| event.to_string()).unwrap_or_default();
        let accept = |response: ResponseBuilder| response.header(HeaderName::Expires, expires);
        self.subscribe(incoming, 200, accept, terms, (event, expires), to)
    }

    /// Serves the implicit subscription of a REFER (RFC 3515 §2.4.4): answers it with 202, or with
    /// 200 and no subscription when it says `Refer-Sub: false` (RFC 4488 §4). The duration is the
    /// default of the limits. The NOTIFYs carry `message/sipfrag` bodies.
    pub fn watch_refer(
        &self,
        incoming: Incoming,
        terms: &WatchTerms,
        to: &Address,
    ) -> Option<Watcher> {
        let request = incoming.request();
        let sub = request.header::<ReferSub<'_>>().ok().flatten();
        if sub.is_some_and(|sub| !sub.is_true()) {
            incoming.reply(&Reply::new(200).with(HeaderName::ReferSub, "false"));
            return None;
        }
        // RFC 3515 §2.4.6: the number of the REFER tells apart those of one dialog.
        let cseq = request.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let event = format!("refer;id={cseq}");
        let expires = terms.limits.expires_default;
        self.subscribe(incoming, 202, |response| response, terms, (event, expires), to)
    }

    fn subscribe(
        &self,
        incoming: Incoming,
        status: u16,
        complete: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
        terms: &WatchTerms,
        (event, expires): (String, u32),
        to: &Address,
    ) -> Option<Watcher> {
        let busy = || Reply::new(480).with(HeaderName::RetryAfter, RETRY_AFTER);
        let tag = self.tag();
        let request = incoming.request().clone();
        let live = match self.0.sessions.find(&request) {
            Some(live) => live,
            None => {
                let made = wording::dialog_uas(&request, &tag, DialogState::Confirmed);
                let Some(dialog) = made else {
                    incoming.reply(&Reply::new(400));
                    return None;
                };
                let listener = incoming.source().listener;
                match Live::open(self, dialog, listener, terms.contact.clone(), None) {
                    Ok(live) => live,
                    Err(_) => {
                        incoming.reply(&busy());
                        return None;
                    }
                }
            }
        };
        if live.state.borrow().watchers.len() >= self.0.sessions.limits().watchers_max {
            incoming.reply(&busy());
            return None;
        }
        let response = ResponseBuilder::new(&request, status, &tag)
            .copy(&request, HeaderName::RecordRoute)
            .header(HeaderName::Contact, &live.state.borrow().contact);
        incoming.answer(complete(self.with_server(response)));
        let id = WatcherId(self.0.sessions.next());
        let now = self.0.instant();
        let machine = Notifier::new(now, &terms.limits, expires, Authorisation::Granted);
        let address = Some(to.clone());
        let limits = terms.limits;
        let headers = terms.headers.clone();
        let (full, ended) = (true, false);
        let watching = Watching { id, machine, limits, event, address, full, ended, headers };
        let target = wording::target(&request);
        {
            let mut state = live.state.borrow_mut();
            state.watchers.push(watching);
            if let Some(target) = target {
                state.dialog.refresh_target(target);
            }
        }
        live.turn(self, None, None);
        Some(Watcher { cx: self.clone(), id, live, ended: false })
    }
}

fn refused(refusal: &notifier::Refusal, packages: &[&str]) -> Reply {
    let reply = Reply::new(refusal.status());
    match refusal {
        notifier::Refusal::BadEvent => reply.with(HeaderName::AllowEvents, packages.join(", ")),
        notifier::Refusal::TooBrief { min_expires } => {
            reply.with(HeaderName::MinExpires, min_expires)
        }
    }
}

impl Watcher {
    /// Names it in events.
    pub fn id(&self) -> WatcherId {
        self.id
    }

    /// What is watched has changed: a NOTIFY becomes due, at the pace of the limits.
    pub fn changed(&self) {
        self.live.feed_watcher(&self.cx, self.id, Input::Changed);
    }

    /// Whether the subscription is over.
    pub fn is_over(&self) -> bool {
        !self.live.state.borrow().watchers.iter().any(|watching| watching.id == self.id)
    }

    /// Ends the subscription with one more NOTIFY. It becomes due as the others do, so that the
    /// role gives its body; no [`Event::Unwatched`] follows.
    pub fn end(mut self, cause: Cause) {
        self.ended = true;
        self.live.with_watcher(self.id, |watching| watching.ended = true);
        self.live.feed_watcher(&self.cx, self.id, Input::End(cause));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.live.with_watcher(self.id, |watching| watching.address = None);
        self.live.feed_watcher(&self.cx, self.id, Input::End(Cause::ResourceGone));
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Due {
    /// Whether the whole state must be shown: in the first NOTIFY, and after a refresh
    /// (RFC 6665 §4.2.1.2).
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether it is the last one.
    pub fn is_last(&self) -> bool {
        matches!(self.state, SubscriptionState::Terminated { .. })
    }

    /// Sends it with this body.
    pub fn send(mut self, body: &Body) {
        self.sent = true;
        self.notify(body);
    }

    /// Sends it with `Subscription-State` alone.
    pub fn send_without_body(self) {
        drop(self);
    }

    fn notify(&self, body: &Body) {
        let headers = self.live.with_watcher(self.id, |watching| {
            let mut headers = watching.headers.clone();
            headers.push((HeaderName::Event, watching.event.clone()));
            headers.push((HeaderName::SubscriptionState, self.state.to_string()));
            headers
        });
        let Some(headers) = headers else { return };
        let made = self.live.build(Method::Notify, &headers, body);
        let (cx, live, id) = (self.cx.clone(), Rc::clone(&self.live), self.id);
        cx.clone().spawn(async move {
            let status = match made {
                // It has no number left, or nowhere to go.
                None => 481,
                Some((request, hop)) => match send_beside(&cx, request, hop, None).await {
                    Outcome::Final(response) | Outcome::Relayed(response) => response.status(),
                    Outcome::Timeout | Outcome::Cancelled => 408,
                    Outcome::Unreachable => 503,
                },
            };
            live.feed_watcher(&cx, id, Input::Answered { status });
        });
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        if !self.sent {
            self.notify(&Body::none());
        }
    }
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Due").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Watching {
    /// Whether an `Event` value names this subscription (RFC 6665 §8.2.1).
    fn is_named(&self, event: &EventHeader<'_>) -> bool {
        let own = EventHeader::parse(self.event.as_bytes()).ok();
        own.is_some_and(|own| own.name() == event.name() && own.id() == event.id())
    }
}

impl Live {
    fn with_watcher<T>(&self, id: WatcherId, change: impl FnOnce(&mut Watching) -> T) -> Option<T> {
        let mut state = self.state.borrow_mut();
        state.watchers.iter_mut().find(|watching| watching.id == id).map(change)
    }

    fn feed_watcher(self: &Rc<Self>, cx: &Cx, id: WatcherId, input: Input) {
        let now = cx.0.instant();
        self.with_watcher(id, |watching| watching.machine.handle_input(now, input));
        self.turn(cx, None, None);
    }

    /// The subscription that a SUBSCRIBE in the dialog refreshes or ends.
    pub(super) fn watched_by(&self, request: &Request) -> Option<WatcherId> {
        let event = request.header::<EventHeader<'_>>().ok().flatten()?;
        let state = self.state.borrow();
        state.watchers.iter().find(|watching| watching.is_named(&event)).map(|found| found.id)
    }

    /// A SUBSCRIBE refreshes or ends a subscription (RFC 6665 §4.2.1.4).
    pub(super) fn resubscribed(self: &Rc<Self>, cx: &Cx, incoming: Incoming) {
        let request = incoming.request().clone();
        let Some(id) = self.watched_by(&request) else {
            return incoming.reply(&Reply::new(481));
        };
        let limits = self.with_watcher(id, |watching| watching.limits);
        let admitted = limits.map(|limits| limits.admit(true, wording::expires(&request)));
        let expires = match admitted {
            Some(Ok(expires)) => expires,
            Some(Err(refusal)) => return incoming.reply(&refused(&refusal, &[])),
            None => return incoming.reply(&Reply::new(481)),
        };
        let response = incoming.response(200).header(HeaderName::Expires, expires);
        let response = {
            let mut state = self.state.borrow_mut();
            if let Some(target) = wording::target(&request) {
                state.dialog.refresh_target(target);
            }
            response.header(HeaderName::Contact, &state.contact)
        };
        incoming.answer(response);
        self.with_watcher(id, |watching| watching.full = true);
        self.feed_watcher(cx, id, Input::Subscribe { expires });
    }

    /// The machine wants a NOTIFY sent.
    pub(super) fn notify_due(
        self: &Rc<Self>,
        cx: &Cx,
        index: usize,
        subscription: SubscriptionState,
    ) {
        let watching = {
            let mut state = self.state.borrow_mut();
            state.watchers.get_mut(index).map(|watching| {
                (watching.id, watching.address.clone(), std::mem::take(&mut watching.full))
            })
        };
        let Some((id, address, full)) = watching else { return };
        let (cx, live) = (cx.clone(), Rc::clone(self));
        let due = Due { cx, id, live, state: subscription, full, sent: false };
        match address {
            // A session that is over gives no body: dropping it sends it without one.
            Some(address) => drop(address.give(Event::Notify(id, due))),
            None => drop(due),
        }
    }

    /// The machine has ended the subscription.
    pub(super) fn unwatched(&self, cx: &Cx, index: usize) {
        let watching = {
            let mut state = self.state.borrow_mut();
            (index < state.watchers.len()).then(|| state.watchers.remove(index))
        };
        if let Some(Watching { id, address: Some(address), ended: false, .. }) = watching {
            let _ = address.give(Event::Unwatched(id));
        }
        self.close_if_done(cx);
    }
}
