//! Requests addressed to the server itself.

use std::borrow::Cow;

use parlance_sip::{Method, Request};

use super::{Choice, Facts, Function, Reason, Refusal, uas};

/// The methods the server itself takes.
pub(super) const METHODS: &[Method<'static>] = &[Method::Options, Method::Register];

/// The extensions it understands: what an S-CSCF may require of a third-party REGISTER.
pub(super) const EXTENSIONS: &[&str] = &["path", "pref", "gruu"];

/// The bodies it reads.
pub(super) const ACCEPTED: &[&str] =
    &["message/sip", "multipart/mixed", "application/3gpp-ims+xml"];

/// Nothing but OPTIONS is for the server itself; the rest has the refusal that fits its method.
pub(super) fn choose(request: &Request, facts: &Facts<'_>) -> Choice {
    let refusal = match request.method() {
        Method::Options => {
            return match uas::extensions(request, EXTENSIONS) {
                None => Choice::of(Function::Server, Reason::Options),
                Some(refusal) => Choice::refuse(refusal, Reason::Options),
            };
        }
        Method::Ack => return Choice::of(Function::Dropped, Reason::ToServer),
        // Nobody by that name (OMA-TS-SIMPLE_IM §7.1.1, §7.1.3).
        Method::Invite | Method::Message => Refusal::NotFound,
        Method::Subscribe => Refusal::BadEvent(served_events(facts)),
        // A CANCEL that comes this far matched no transaction (RFC 3261 §9.2).
        Method::Cancel
        | Method::Bye
        | Method::Prack
        | Method::Update
        | Method::Info
        | Method::Notify => Refusal::NoDialog,
        // No state of its own can be published to it, whatever the event (RFC 3903 §6 steps 1, 2).
        Method::Publish if facts.services.running.settings => match uas::event_name(request) {
            Some(event) if event == facts.services.settings_event => Refusal::NotFound,
            Some(_) | None => Refusal::BadEvent(vec![facts.services.settings_event.clone().into()]),
        },
        Method::Register | Method::Publish | Method::Refer | Method::Other(_) => {
            let refusal = uas::method(request, METHODS);
            refusal.unwrap_or(Refusal::NotFound)
        }
    };
    Choice::refuse(refusal, Reason::ToServer)
}

/// Every event package that is served somewhere here.
fn served_events(facts: &Facts<'_>) -> Vec<Cow<'static, str>> {
    let running = &facts.services.running;
    let conference = running.controlling.then_some("conference");
    let summary = running.deferred.then_some("message-summary");
    conference.into_iter().chain(summary).map(Cow::Borrowed).collect()
}
