//! Requests addressed to a service hosted here (OMA-TS-SIMPLE_IM §7.1, §7.4.1.1).

use parlance_sip::header::Event;
use parlance_sip::{HeaderName, Method, Request};

use super::{Choice, Facts, Function, Reason, Refusal, SessionState, nested, proxy, uas};
use crate::SessionCase;
use crate::feature;
use crate::service::Service;
use crate::trust::{Authentication, authenticate};

/// In the order of RFC 3261 §8.2: the method, the target, what is required, the body; then who
/// asks.
pub(super) fn choose(request: &Request, facts: &Facts<'_>, service: Service) -> Choice {
    let reason = Reason::Service(service);
    if request.method() == Method::Ack {
        return Choice::of(Function::Dropped, reason);
    }
    if !facts.services.running.runs(service) {
        return Choice::refuse(Refusal::NotFound, Reason::NotRunning(service));
    }
    if let Some(refusal) = uas::method(request, service.methods()) {
        return Choice::refuse(refusal, reason);
    }
    if service == Service::Session {
        match facts.session {
            SessionState::Running => {}
            SessionState::Ended => return Choice::refuse(Refusal::Gone, Reason::SessionEnded),
            SessionState::Unknown => return Choice::refuse(Refusal::NotFound, Reason::NoSession),
        }
    }
    if let Some(refusal) = uas::extensions(request, uas::extensions_of(service)) {
        return Choice::refuse(refusal, reason);
    }
    if proxy::asks_unknown_privacy(request) {
        return Choice::refuse(Refusal::Privacy, Reason::Malformed(HeaderName::Privacy));
    }
    if request.method() == Method::Options {
        return Choice::of(Function::Server, Reason::Options);
    }
    if request.method() == Method::Subscribe
        && !is_of_reference(request, service)
        && let Some(refusal) = uas::event(request, service.events())
    {
        return Choice::refuse(refusal, reason);
    }
    if let Some(refusal) = uas::body(request, service.accepts()).or_else(|| uas::answer(request)) {
        return Choice::refuse(refusal, reason);
    }
    if matches!(service, Service::Group | Service::Exploder)
        && let Some(refusal) = nested::refusal(request, facts)
    {
        return Choice::refuse(refusal, Reason::Nested);
    }
    let originator = match authenticate(request, facts.peer, facts.served.case, true, facts.proven)
    {
        Authentication::Asserted(originator) => Some(originator),
        Authentication::Anonymous => None,
        Authentication::Challenge(challenge) => {
            return Choice::refuse(Refusal::Challenge(challenge), Reason::NotAuthenticated);
        }
        Authentication::Refuse => {
            return Choice::refuse(Refusal::NotAuthenticated, Reason::NotAuthenticated);
        }
    };
    // OMA-TS-SIMPLE_IM §7.2.2.1: these identities are for instant messaging only.
    let carries_a_message = matches!(request.method(), Method::Invite | Method::Message);
    if carries_a_message && !feature::asks_for_im(request) {
        return Choice::refuse(Refusal::NotIm, Reason::NotIm);
    }
    Choice { originator, ..Choice::of(function(service), reason) }
}

/// Whether a SUBSCRIBE is about what a REFER made at a focus (RFC 3515 §2.4.4), which says itself
/// what becomes of one that matches none: 403.
fn is_of_reference(request: &Request, service: Service) -> bool {
    let event = request.header::<Event<'_>>().ok().flatten();
    matches!(service, Service::Group | Service::Session)
        && event.is_some_and(|event| event.package().eq_ignore_ascii_case("refer"))
}

fn function(service: Service) -> Function {
    match service {
        Service::ConferenceFactory | Service::Exploder | Service::Group | Service::Session => {
            Function::Controlling(service)
        }
        Service::History => Function::History,
        Service::Deferred => Function::Deferred,
        Service::PreEstablished => Function::Participating(SessionCase::Originating),
    }
}
