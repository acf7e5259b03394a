//! Where a request is sent, one target after the other (RFC 3263 §4.3, RFC 3261 §18.1.1).

use std::rc::Rc;

use parlance_sip::endpoint::is_initial;
use parlance_sip::locate::{Attempt, FailOver, Next};
use parlance_sip::{Edits, HeaderName, ListenerId, Method, Request, Target};

use super::{Outcome, Shared, Waiting, conclude, with_product};
use crate::Cx;
use crate::wire::{NextHop, Targets, transport_parameter};

/// Finds the targets and sends to the first; at once when no question must be asked.
pub(super) fn launch(cx: &Cx, shared: &Shared, mut hop: NextHop, edits: &mut Edits) {
    hop.place.large = is_large(cx, &shared.borrow().request, edits, hop.listener);
    if let Some(targets) = hop.numeric(cx.locals()) {
        begin(cx, shared, &targets, edits);
        return;
    }
    let (cx, shared, mut edits) = (cx.clone(), Rc::clone(shared), std::mem::take(edits));
    cx.clone().spawn(async move {
        let targets = cx.0.wire.lookup(&hop).await;
        begin(&cx, &shared, &targets, &mut edits);
    });
}

fn begin(cx: &Cx, shared: &Shared, targets: &Targets, edits: &mut Edits) {
    if shared.borrow().cancelled {
        return conclude(cx, shared, Outcome::Cancelled);
    }
    let mut waiting = shared.borrow_mut();
    waiting.targets = FailOver::new(near(cx, targets, waiting.from));
    let first = waiting.targets.current();
    if !waiting.targets.is_last() {
        waiting.edits = Some(Box::new(edits.clone()));
    }
    drop(waiting);
    if !first.is_some_and(|target| send_to(cx, shared, target, edits)) {
        tried(cx, shared, Attempt::TransportError, Outcome::Unreachable);
    }
}

/// How many octets a request has on the wire when `edits` and our `Via` are made, at most; a
/// `Record-Route` comes on top.
fn octets(cx: &Cx, request: &Request, edits: &Edits, from: ListenerId) -> usize {
    let sent_by = cx.locals().at(from).map_or(0, |local| local.sent_by.len());
    let via = "Via: SIP/2.0/UDP ;branch=\r\n".len() + sent_by + BRANCH_OCTETS;
    request.bytes().len() + edits.octets_added() + via
}

/// How many octets a request of our own has on the wire, at most.
pub(crate) fn own_octets(cx: &Cx, request: &Request, from: ListenerId) -> usize {
    octets(cx, request, &with_product(cx, request), from)
}

/// The longest branch: one that [`crate::Marks`] made, and the number of a further try.
const BRANCH_OCTETS: usize = 43 + ".99".len();

/// Whether a request is too large for UDP (RFC 3261 §18.1.1).
fn is_large(cx: &Cx, request: &Request, edits: &Edits, from: ListenerId) -> bool {
    octets(cx, request, edits, from) > cx.node().udp_octets_max
}

/// The targets with the listener to send from, as far as there is one.
fn near(cx: &Cx, targets: &Targets, from: ListenerId) -> impl Iterator<Item = Target> {
    targets.iter().filter_map(move |target| {
        let listener = cx.locals().near(from, target.transport)?;
        Some(Target { listener, ..*target })
    })
}

/// An attempt at a target ended: the next one is tried (RFC 3263 §4.3), or the request ends with
/// `outcome`.
pub(super) fn tried(cx: &Cx, shared: &Shared, mut attempt: Attempt, mut outcome: Outcome) {
    loop {
        let mut waiting = shared.borrow_mut();
        let Next::Try(target) = waiting.targets.handle_attempt(attempt) else {
            // Whoever cancelled an INVITE gets 487 (RFC 3261 §9.2) where nobody answered.
            let cancelled = waiting.cancelled && !matches!(outcome, Outcome::Final(_));
            drop(waiting);
            return conclude(cx, shared, if cancelled { Outcome::Cancelled } else { outcome });
        };
        waiting.tries = waiting.tries.saturating_add(1);
        let mut edits = waiting.edits.as_deref().cloned().unwrap_or_default();
        drop(waiting);
        if send_to(cx, shared, target, &mut edits) {
            return;
        }
        (attempt, outcome) = (Attempt::TransportError, Outcome::Unreachable);
    }
}

/// Sends to one target; whether there was room for another transaction.
fn send_to(cx: &Cx, shared: &Shared, target: Target, edits: &mut Edits) -> bool {
    let mut waiting = shared.borrow_mut();
    add_record_route(cx, &waiting, target, edits);
    let now = cx.0.instant();
    let mut endpoint = cx.0.endpoint.borrow_mut();
    let sent = match waiting.named() {
        Some(branch) => endpoint.request_named(now, &waiting.request, edits, target, &branch),
        None => endpoint.request(now, &waiting.request, edits, target),
    };
    drop(endpoint);
    let Ok(client) = sent else { return false };
    waiting.client = Some(client);
    waiting.heard = false;
    if waiting.is_invite {
        waiting.progress();
    }
    drop(waiting);
    cx.0.clients.borrow_mut().insert(client, Rc::clone(shared));
    cx.0.drain();
    true
}

/// Puts us into the route set of a dialog that the request may open (RFC 3261 §16.6 step 4); once
/// for each side when request and target use different sockets.
fn add_record_route(cx: &Cx, waiting: &Waiting, target: Target, edits: &mut Edits) {
    let opens =
        matches!(waiting.request.method(), Method::Invite | Method::Subscribe | Method::Refer);
    if waiting.server.is_none() || !opens || !is_initial(&waiting.request) {
        return;
    }
    let mut before = None;
    for side in [waiting.from, target.listener].into_iter().filter_map(|id| cx.locals().at(id)) {
        let transport = transport_parameter(side.transport);
        let uri = format!("<sip:{}{transport};lr>", side.sent_by);
        if before.as_ref() != Some(&uri) {
            edits.prepend(&waiting.request, HeaderName::RecordRoute, &uri);
        }
        before = Some(uri);
    }
}

/// Sends a request without a transaction.
pub(super) fn send_stateless(cx: &Cx, request: Request, mut hop: NextHop, edits: Edits) {
    hop.place.large = is_large(cx, &request, &edits, hop.listener);
    let listener = hop.listener;
    let send = move |cx: &Cx, found: &Targets| {
        if let Some(target) = near(cx, found, listener).next() {
            cx.0.endpoint.borrow_mut().request_stateless(&request, edits, target);
            cx.0.drain();
        }
    };
    match hop.numeric(cx.locals()) {
        Some(targets) => send(cx, &targets),
        None => {
            let cx = cx.clone();
            cx.clone().spawn(async move { send(&cx, &cx.0.wire.lookup(&hop).await) });
        }
    }
}
