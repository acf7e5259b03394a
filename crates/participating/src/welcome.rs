//! The message to a user who registered for the first time (OMA-TS-SIMPLE_IM §7.2.1).

use std::sync::Arc;

use metrics::counter;
use parlance_isc::{Charging, Cx, MAX_FORWARDS, Marks, NextHop, Node, Origin, Outcome};
use parlance_sip::uri::Uri;
use parlance_sip::{HeaderName, ListenerId, Method, Request, RequestBuilder};
use parlance_store::Registration;

use crate::policy::{Notice, Policy};

/// Tells the user of `registration` about his new profile, on the shard that owns his lane.
///
/// Called once, when the profile is made. The message goes to the S-CSCF that registered him; it
/// comes back to the server through the user's own filter criteria, and `marks` makes it known
/// there. Nothing is repeated or stored: a user who misses it has lost nothing, and the failure is
/// counted.
pub fn welcome(
    node: &Node,
    policy: &Arc<Policy>,
    marks: &Marks,
    registration: &Arc<Registration>,
    listener: ListenerId,
) {
    if !policy.notice.enabled {
        return;
    }
    let Some(user) = registration.user.clone() else { return };
    let (policy, marks) = (Arc::clone(policy), marks.clone());
    let registration = Arc::clone(registration);
    let run = node.on_shard_of(user.as_str(), move |cx| {
        Box::pin(async move {
            let sent = send(&cx, &policy, &marks, &registration, listener).await;
            count(if sent { "taken" } else { "failed" });
        })
    });
    if run.is_err() {
        count("busy");
    }
}

fn count(result: &'static str) {
    counter!("parlance_participating_welcomes_total", "result" => result).increment(1);
}

/// Sends the notice; whether somebody took it.
async fn send(
    cx: &Cx,
    policy: &Policy,
    marks: &Marks,
    registration: &Registration,
    listener: ListenerId,
) -> bool {
    let hop =
        Uri::parse(registration.scscf.as_bytes()).ok().and_then(|uri| NextHop::of(&uri, listener));
    let (Some(hop), Some(request)) = (hop, build(cx, policy, registration)) else {
        return false;
    };
    let branch = marks.branch(Origin::Notification, cx.shard(), cx.random(), &request);
    match cx.send(request, hop, Some(&branch)).await {
        Outcome::Final(response) | Outcome::Relayed(response) => response.is_success(),
        Outcome::Timeout | Outcome::Unreachable | Outcome::Cancelled => false,
    }
}

/// The request; `None` when an identity holds what cannot stand in a header.
fn build(cx: &Cx, policy: &Policy, registration: &Registration) -> Option<Request> {
    let user = registration.user.as_ref()?;
    let scscf = registration.scscf.trim_matches(['<', '>']);
    // A loose router, or it would take the Route for the target (RFC 3261 §16.12.1.1).
    let lr = if scscf.contains(";lr") { "" } else { ";lr" };
    let Notice { from, text, feature_tag, .. } = &policy.notice;
    let charging = Charging::of(cx, Some(registration), policy.ioi.as_deref());
    charging
        .put_on(RequestBuilder::new(Method::Message, user))
        .header(HeaderName::Route, format_args!("<{scscf}{lr}>"))
        .header(HeaderName::MaxForwards, MAX_FORWARDS)
        .header(HeaderName::From, format_args!("<{from}>;tag={}", cx.tag()))
        .header(HeaderName::To, format_args!("<{user}>"))
        .header(HeaderName::CallId, format_args!("{}{}", cx.tag(), cx.tag()))
        .header(HeaderName::CSeq, "1 MESSAGE")
        .header(HeaderName::PAssertedIdentity, format_args!("<{from}>"))
        .header(HeaderName::AcceptContact, format_args!("*;{feature_tag}"))
        .header(HeaderName::ContentType, "text/plain;charset=utf-8")
        .build(text.as_bytes())
}
