//! What a proxy checks before it sends a request on (RFC 3261 §16.3).

use parlance_sip::header::{MaxBreadth, MaxForwards, Privacy, ProxyRequire};
use parlance_sip::uri::Uri;
use parlance_sip::{HeaderName, Method, Request};

use super::{Choice, Facts, Function, Reason, Refusal};
use crate::SessionCase;

/// The extensions a proxy here understands (RFC 3323 §5).
const UNDERSTOOD: [&str; 1] = ["privacy"];

/// Sends the request on along its Route, unless a proxy must refuse it. An unknown method goes on
/// like any other (RFC 3261 §16.3).
pub(super) fn pass(request: &Request, facts: &Facts<'_>, reason: Reason) -> Choice {
    match check(request, facts) {
        None => Choice::of(Function::PassThrough, reason),
        // An ACK has no answer, and what it acknowledges has gone this way before.
        Some(_) if request.method() == Method::Ack => Choice::of(Function::PassThrough, reason),
        Some((refusal, reason)) => Choice::refuse(refusal, reason),
    }
}

/// Whether privacy is asked for as critical that nobody here knows (RFC 3323 §5).
pub(super) fn asks_unknown_privacy(request: &Request) -> bool {
    let privacy = request.header::<Privacy<'_>>().ok().flatten();
    privacy.is_some_and(|privacy| privacy.is_critical_and_unknown())
}

/// Whether the Request-URI, known to be one, is a SIP, SIPS or tel URI.
fn scheme_is_known(request: &Request) -> bool {
    let scheme = request.uri_text().split(|octet| *octet == b':').next().unwrap_or_default();
    [&b"sip"[..], b"sips", b"tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Whether it is for a telephone number that cannot go on to whoever maps it (RFC 3261 §16.5): the
/// core, along the Route or at the next hop. On the terminating side the aliases map it.
fn is_number_of_nobody(request: &Request, facts: &Facts<'_>) -> bool {
    facts.served.case == SessionCase::Originating
        && !facts.services.next_hop
        && !facts.goes_on(request)
        && matches!(request.uri(), Some(Uri::Tel(_)))
}

/// Why a proxy must refuse the request, if it must.
pub(super) fn check(request: &Request, facts: &Facts<'_>) -> Option<(Refusal, Reason)> {
    if !scheme_is_known(request) && !facts.goes_on(request) {
        return Some((Refusal::UnsupportedScheme, Reason::UnsupportedScheme));
    }
    if is_number_of_nobody(request, facts) {
        return Some((Refusal::NotFound, Reason::UnknownNumber));
    }
    let hops = request.header::<MaxForwards>().ok().flatten();
    if hops == Some(MaxForwards(0)) {
        return Some((Refusal::TooManyHops, Reason::TooManyHops));
    }
    // RFC 5393 §5.3.3: not even one branch is left.
    if request.header::<MaxBreadth>().ok().flatten() == Some(MaxBreadth(0)) {
        return Some((Refusal::TooBroad, Reason::TooBroad));
    }
    let required = request.list::<ProxyRequire<'_>>().filter_map(Result::ok);
    let unknown = required.filter(|tag| !UNDERSTOOD.iter().any(|known| tag.is(known)));
    let unknown: Vec<String> = unknown.map(|tag| tag.as_str().to_owned()).collect();
    if unknown.is_empty() {
        return None;
    }
    Some((Refusal::BadExtension(unknown), Reason::Malformed(HeaderName::ProxyRequire)))
}
