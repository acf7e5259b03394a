//! Requests of and to users (OMA-TS-SIMPLE_IM §7.1, §7.2).

use parlance_sip::header::{Event, From};
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Method, Request};

use super::{Choice, Facts, Function, Provisioning, Reason, Refusal, proxy};
use crate::SessionCase;
use crate::feature;
use crate::ifc::{self, Subject, evaluate};
use crate::mark::Origin;
use crate::served_user::Subscriber;
use crate::service::Destination;
use crate::trust::{Authentication, Originator, PeerKind, authenticate, is_anonymous};

/// A user's request: served if it asks for instant messaging, else passed on unchanged.
pub(super) fn choose(request: &Request, facts: &Facts<'_>, destination: Destination) -> Choice {
    if let Some(origin) = facts.origin.filter(|origin| is_passed_on(*origin, facts)) {
        return proxy::pass(request, facts, Reason::Own(origin));
    }
    if is_relay_for_strangers(facts, destination) {
        return Choice::refuse(Refusal::NotFound, Reason::ForeignDomain);
    }
    if let Some(choice) = event_served_here(request, facts, destination) {
        return choice;
    }
    if !feature::asks_for_im(request) {
        return proxy::pass(request, facts, Reason::NotIm);
    }
    if !in_filter(request, facts) {
        return proxy::pass(request, facts, Reason::NotInFilter);
    }
    match request.method() {
        Method::Invite | Method::Message => {
            let reason = match facts.served.case {
                SessionCase::Originating => Reason::Originating,
                SessionCase::Terminating => Reason::Terminating,
            };
            participating(request, facts, reason)
        }
        Method::Refer | Method::Subscribe if is_asked_of_a_focus(request, facts) => {
            participating(request, facts, Reason::Originating)
        }
        _ => proxy::pass(request, facts, Reason::OnlyPassed),
    }
}

/// Whether a served user asks a focus for something: to bring somebody in, or for the state of the
/// conference (OMA-TS-SIMPLE_IM §7.2.3.8, §7.2.3.9).
fn is_asked_of_a_focus(request: &Request, facts: &Facts<'_>) -> bool {
    let event = request.header::<Event<'_>>().ok().flatten();
    let conference = event.is_some_and(|event| event.name() == "conference");
    facts.served.case == SessionCase::Originating
        && (request.method() == Method::Refer || conference)
}

/// Whether a request of the server's own goes on without being served again: any on the way out,
/// and what its recipient is owed on the way in. Copies of the controlling function are ordinary
/// messages to their recipients.
fn is_passed_on(origin: Origin, facts: &Facts<'_>) -> bool {
    match (facts.served.case, origin) {
        (SessionCase::Originating, _) => true,
        (SessionCase::Terminating, Origin::Deferred | Origin::Notification) => true,
        (SessionCase::Terminating, Origin::Controlling) => false,
    }
}

/// Whether a request concerns none of our domains: the server is no open relay. Another domain
/// sends to our users only; a core that names the served user may have changed the Request-URI
/// since.
fn is_relay_for_strangers(facts: &Facts<'_>, destination: Destination) -> bool {
    let served = facts.served;
    if served.case == SessionCase::Originating {
        return facts.peer.kind() == Some(PeerKind::InterDomain);
    }
    match served.identity.as_ref().filter(|_| served.named_by_core) {
        Some(identity) => identity.domain().is_some() && !facts.services.serves(identity),
        None => destination == Destination::Foreign,
    }
}

/// PUBLISH and SUBSCRIBE for event packages served here need no feature tag; every other one is
/// the business of whom it is addressed to.
fn event_served_here(
    request: &Request,
    facts: &Facts<'_>,
    destination: Destination,
) -> Option<Choice> {
    let running = &facts.services.running;
    let event = request.header::<Event<'_>>().ok().flatten()?;
    let is_local = matches!(destination, Destination::Local | Destination::Telephone);
    let reason = match request.method() {
        Method::Publish
            if running.settings
                && is_local
                && facts.served.case == SessionCase::Originating
                && event.name() == facts.services.settings_event =>
        {
            Reason::Settings
        }
        Method::Subscribe if running.deferred && is_local && event.name() == "message-summary" => {
            Reason::MessageSummary
        }
        _ => return None,
    };
    let choice = participating(request, facts, reason);
    let deferred =
        reason == Reason::MessageSummary && matches!(choice.role, Function::Participating(_));
    Some(if deferred { Choice { role: Function::Deferred, ..choice } } else { choice })
}

/// Applies the filter criteria for a core that has none.
fn in_filter(request: &Request, facts: &Facts<'_>) -> bool {
    if facts.peer.kind() != Some(PeerKind::Proxy) {
        return true;
    }
    let away = match facts.served.registered {
        Some(registered) => !registered,
        None => facts.subscriber.is_none_or(|subscriber| subscriber.registration().is_none()),
    };
    let session_case = match (facts.served.case, away) {
        (SessionCase::Originating, false) => ifc::SessionCase::Originating,
        (SessionCase::Originating, true) => ifc::SessionCase::OriginatingUnregistered,
        (SessionCase::Terminating, false) => ifc::SessionCase::TerminatingRegistered,
        (SessionCase::Terminating, true) => ifc::SessionCase::TerminatingUnregistered,
    };
    let subject = Subject { request, session_case, registration: None };
    !evaluate(facts.filter, &subject).is_empty()
}

/// What stands before the participating function: a proxy's checks, who asks, who is served.
fn participating(request: &Request, facts: &Facts<'_>, reason: Reason) -> Choice {
    if let Some((refusal, reason)) = proxy::check(request, facts) {
        return Choice::refuse(refusal, reason);
    }
    if proxy::asks_unknown_privacy(request) {
        return Choice::refuse(Refusal::Privacy, Reason::Malformed(HeaderName::Privacy));
    }
    let case = facts.served.case;
    let originator = match authenticate(request, facts.peer, case, false, facts.proven) {
        Authentication::Asserted(originator) => Some(originator),
        Authentication::Anonymous => None,
        Authentication::Challenge(challenge) => {
            return Choice::refuse(Refusal::Challenge(challenge), Reason::NotAuthenticated);
        }
        Authentication::Refuse => {
            return Choice::refuse(Refusal::NotAuthenticated, Reason::NotAuthenticated);
        }
    };
    if let Some((refusal, reason)) = unserved(facts) {
        return Choice::refuse(refusal, reason);
    }
    if case == SessionCase::Originating
        && facts.policy.from_must_match
        && !from_matches(request, originator.as_ref(), facts)
    {
        return Choice::refuse(Refusal::ForeignFrom, Reason::ForeignFrom);
    }
    Choice { originator, ..Choice::of(Function::Participating(case), reason) }
}

/// Why the user on this side is not served, if he is not.
fn unserved(facts: &Facts<'_>) -> Option<(Refusal, Reason)> {
    let Some(identity) = facts.served.identity.as_ref() else {
        return Some((Refusal::NotAuthenticated, Reason::NotAuthenticated));
    };
    let Some(subscriber) = facts.subscriber else {
        return Some((Refusal::StoreUnavailable, Reason::StoreUnavailable));
    };
    let terminating = facts.served.case == SessionCase::Terminating;
    if identity.domain().is_some() && !facts.services.serves(identity) {
        let refusal = if terminating { Refusal::NotFound } else { Refusal::NotProvisioned };
        return Some((refusal, Reason::ForeignDomain));
    }
    let by_core = facts.policy.provisioning == Provisioning::ByCore;
    match subscriber {
        Subscriber::Known { profile: Some(profile), .. } => {
            let served = profile.provisioned && !profile.barred;
            (!served).then_some((Refusal::NotProvisioned, Reason::NotProvisioned))
        }
        Subscriber::Known { profile: None, .. } if by_core => None,
        Subscriber::Known { .. } => Some((Refusal::NotProvisioned, Reason::NotProvisioned)),
        // An originating request comes before the third-party REGISTER now and then.
        Subscriber::Unknown if !terminating && by_core => None,
        Subscriber::Unknown if !terminating => {
            Some((Refusal::NotProvisioned, Reason::NotProvisioned))
        }
        // A user the core names is a user, even if he never registered; a number must be mapped.
        Subscriber::Unknown => {
            let named = facts.served.named_by_core && identity.scheme() != "tel" && by_core;
            (!named).then_some((Refusal::NotFound, Reason::UnknownUser))
        }
    }
}

/// Whether From is anonymous or an identity of the originator: nobody speaks as somebody else.
fn from_matches(request: &Request, originator: Option<&Originator>, facts: &Facts<'_>) -> bool {
    let served = facts.served.identity.as_ref();
    // Nearly always he writes his identity as the core does, and then nothing need be read.
    if served.is_some_and(|identity| begins_with(request.field(HeaderName::From), identity)) {
        return true;
    }
    let from = request.header::<From<'_>>().ok().flatten();
    let Some(from) = from.and_then(|from| Aor::from_uri(&from.uri())) else { return false };
    is_anonymous(&from)
        || originator.is_some_and(|originator| originator.is(&from))
        || served == Some(&from)
        || facts.subscriber.is_some_and(|subscriber| subscriber.has(&from))
}

/// Whether a field is an address without a display name, and its URI this identity to the octet.
fn begins_with(field: Option<&[u8]>, identity: &Aor) -> bool {
    let uri = field.and_then(|field| field.strip_prefix(b"<"));
    let rest = uri.and_then(|uri| uri.strip_prefix(identity.as_str().as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(b">"))
}
