//! What a UAS checks before it serves a request (RFC 3261 §8.2), and what it says it can do
//! (§11.2).

use parlance_content::Handling;
use parlance_content::MediaType;
use parlance_content::multipart::{Limits, Multipart, Part};
use parlance_sip::header::{Accept, ContentDisposition, ContentEncoding, Event, Require};
use parlance_sip::header::{SIP_IM, SIP_IM_LARGE_MESSAGE};
use parlance_sip::{HeaderName, Method, Request};

use super::{Refusal, server};
use crate::Reply;
use crate::service::{Destination, Service, Services};

/// The method is implemented, and allowed for the resource (§8.2.1).
pub(super) fn method(request: &Request, allowed: &[Method<'static>]) -> Option<Refusal> {
    let method = request.method();
    if !method.is_known() {
        return Some(Refusal::NotImplemented);
    }
    let names = || allowed.iter().map(Method::as_str).collect();
    (!allowed.contains(&method)).then(|| Refusal::MethodNotAllowed(names()))
}

/// What is required is understood (§8.2.2.3). Require means nothing in an ACK or CANCEL.
pub(super) fn extensions(request: &Request, understood: &[&str]) -> Option<Refusal> {
    if matches!(request.method(), Method::Ack | Method::Cancel) {
        return None;
    }
    let required = request.list::<Require<'_>>().filter_map(Result::ok);
    let unknown = required.filter(|tag| !understood.iter().any(|known| tag.is(known)));
    let unknown: Vec<String> = unknown.map(|tag| tag.as_str().to_owned()).collect();
    (!unknown.is_empty()).then_some(Refusal::BadExtension(unknown))
}

/// The event package a request names.
pub(super) fn event_name(request: &Request) -> Option<&str> {
    let event = request.header::<Event<'_>>().ok().flatten()?;
    Some(event.name())
}

/// The event package of a SUBSCRIBE is served (RFC 6665 §4.2.1.1).
pub(super) fn event(request: &Request, events: &[&'static str]) -> Option<Refusal> {
    let served = event_name(request).is_some_and(|event| events.contains(&event));
    (!served).then(|| Refusal::BadEvent(events.iter().map(|event| (*event).into()).collect()))
}

/// The body can be read, as far as it must be (§8.2.3): parts with `handling=optional` are passed
/// over. A MESSAGE may carry anything.
pub(super) fn body(request: &Request, accepted: &'static [&'static str]) -> Option<Refusal> {
    if request.body().is_empty() || request.method() == Method::Message {
        return None;
    }
    let disposition = request.header::<ContentDisposition<'_>>().ok().flatten();
    if disposition.is_some_and(|disposition| disposition.is_optional()) {
        return None;
    }
    let mut codings = request.list::<ContentEncoding<'_>>().filter_map(Result::ok);
    if codings.any(|coding| !coding.is_identity()) {
        return Some(Refusal::UnsupportedCoding);
    }
    let unsupported = || Some(Refusal::UnsupportedBody(accepted.to_vec()));
    let content_type = request.field(HeaderName::ContentType).unwrap_or_default();
    let media = std::str::from_utf8(content_type).ok().and_then(|text| MediaType::parse(text).ok());
    let Some(media) = media else { return unsupported() };
    if !media.is_multipart() {
        let known = accepted.iter().any(|accepted| media.is(accepted));
        return if known { None } else { unsupported() };
    }
    let limits = Limits::default();
    match Multipart::parse(&media, &request.body_bytes(), &limits) {
        Ok(body) if readable(body.parts(), accepted, &limits) => None,
        Ok(_) | Err(_) => unsupported(),
    }
}

/// An INVITE is answered with a session description, which its Accept must take; without one it
/// does (RFC 3261 §13.2.1, RFC 4475 §3.3.15).
pub(super) fn answer(request: &Request) -> Option<Refusal> {
    if request.method() != Method::Invite || !request.has(HeaderName::Accept) {
        return None;
    }
    let mut ranges = request.list::<Accept<'_>>().filter_map(Result::ok);
    let accepted = ranges.any(|range| range.covers("application", "sdp"));
    (!accepted).then_some(Refusal::NotAcceptable)
}

fn readable(parts: &[Part], accepted: &[&str], limits: &Limits) -> bool {
    parts.iter().all(|part| {
        let disposition = part.headers.content_disposition();
        let optional = disposition.is_some_and(|found| found.handling() == Handling::Optional);
        match part.nested(limits) {
            _ if optional => true,
            Some(Ok(inner)) => readable(inner.parts(), accepted, limits),
            Some(Err(_)) => false,
            None => accepted.iter().any(|accepted| part.headers.is_type(accepted)),
        }
    })
}

/// The option tags understood when `service` answers.
pub(super) fn extensions_of(service: Service) -> &'static [&'static str] {
    match service {
        Service::ConferenceFactory => {
            &["100rel", "timer", "pref", "norefersub", "multiple-refer", "recipient-list-invite"]
        }
        Service::Exploder => &["pref", "recipient-list-message"],
        Service::Group => &["100rel", "timer", "pref", "norefersub", "multiple-refer"],
        Service::Session => {
            &["100rel", "timer", "pref", "replaces", "norefersub", "multiple-refer", "tdialog"]
        }
        Service::History | Service::Deferred | Service::PreEstablished => {
            &["100rel", "timer", "pref"]
        }
    }
}

/// The answer to OPTIONS for a service or the server itself (§11.2): what may be sent there.
pub fn options(request: &Request, services: &Services) -> Reply {
    let destination = request.uri().map(|uri| services.destination(&uri));
    let service = match destination {
        Some(Destination::Service(service)) => Some(service),
        _ => None,
    };
    let methods = service.map_or(server::METHODS, Service::methods);
    let accepted = service.map_or(server::ACCEPTED, Service::accepts);
    let understood = service.map_or(server::EXTENSIONS, extensions_of);
    let events = service.map_or(&[][..], Service::events);
    let focus =
        matches!(service, Some(Service::ConferenceFactory | Service::Group | Service::Session));
    let contact = format!(
        "<{}>;{SIP_IM};{SIP_IM_LARGE_MESSAGE}{}",
        String::from_utf8_lossy(request.uri_text()),
        if focus { ";isfocus" } else { "" }
    );
    let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    Reply::new(200)
        .with(HeaderName::Allow, allow)
        .with(HeaderName::Accept, accepted.join(", "))
        .with(HeaderName::AcceptEncoding, "identity")
        .with(HeaderName::AcceptLanguage, "en")
        .with(HeaderName::Supported, understood.join(", "))
        .with(HeaderName::AllowEvents, events.join(", "))
        .with(HeaderName::Contact, contact)
}
