//! What must be right in a message before anybody acts on it (RFC 3261 §8.1.1, §8.2, §16.3).
//!
//! These checks hold for every element, proxy or UAS. What only a UAS refuses (an unknown method,
//! a required extension, a body it cannot read) is decided where the request is served.

use super::{Fault, Message, Request, Response};
use crate::HeaderName;
use crate::grammar::split_list;
use crate::header::{CSeq, CallId, Contact, From, Header, HeaderError, ListHeader};
use crate::header::{MaxForwards, Route, To, Via};
use crate::name::HeaderNames;
use crate::uri::Uri;

/// Header fields that stand once at the most and are acted on here (RFC 4475 §3.3.8).
const ONCE: [HeaderName; 14] = [
    HeaderName::CallId,
    HeaderName::ContentDisposition,
    HeaderName::ContentType,
    HeaderName::CSeq,
    HeaderName::Date,
    HeaderName::Event,
    HeaderName::Expires,
    HeaderName::From,
    HeaderName::MaxForwards,
    HeaderName::PServedUser,
    HeaderName::ReferTo,
    HeaderName::SessionExpires,
    HeaderName::SubscriptionState,
    HeaderName::To,
];

/// Header fields of every message (RFC 3261 §8.1.1); of a response because it copies them.
const REQUIRED: [HeaderName; 5] =
    [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];

/// Checks a request; the fault names the header for the reason phrase of the 400.
///
/// # Errors
/// The first [`Fault`] in the order of the header fields; missing ones come last.
pub fn check_request(request: &Request) -> Result<(), Fault> {
    let uri = Uri::parse(request.uri_text()).map_err(|_| Fault::RequestUri)?;
    // RFC 3261 §19.1.1, table 1: a Request-URI has none (RFC 4475 §3.1.2.11).
    if uri.as_sip().is_some_and(|uri| !uri.headers.is_empty()) {
        return Err(Fault::RequestUri);
    }
    check_fields(request)?;
    let cseq = request.cseq().ok_or(Fault::Header(HeaderName::CSeq))?;
    if cseq.method == request.method() { Ok(()) } else { Err(Fault::MethodMismatch) }
}

/// Checks a response; one with a fault is dropped (RFC 4475 §3.1.2.5).
///
/// # Errors
/// The first [`Fault`].
pub fn check_response(response: &Response) -> Result<(), Fault> {
    check_fields(response)
}

fn check_fields(message: &Message) -> Result<(), Fault> {
    let mut seen = HeaderNames::new();
    for (name, _, value) in message.fields() {
        let again = !seen.insert(name);
        if again && ONCE.contains(&name) {
            return Err(Fault::Repeated(name));
        }
        match name {
            HeaderName::Via | HeaderName::Route if again => {}
            _ => check_value(name, value)?,
        }
    }
    match REQUIRED.into_iter().find(|name| !seen.contains(*name)) {
        Some(name) => Err(Fault::Missing(name)),
        None => Ok(()),
    }
}

/// Checks a value we act on. What only others act on is not judged, but sent on as it came
/// (RFC 3261 §16.3 item 1): the hops below the top `Via`, and the routes behind the next.
fn check_value(name: HeaderName, value: &[u8]) -> Result<(), HeaderError> {
    match name {
        HeaderName::Via => first::<Via<'_>>(value, 1),
        HeaderName::Route => first::<Route<'_>>(value, 2),
        HeaderName::Contact => first::<Contact<'_>>(value, usize::MAX),
        HeaderName::From => From::parse(value).map(|_| ()),
        HeaderName::To => To::parse(value).map(|_| ()),
        HeaderName::CallId => CallId::parse(value).map(|_| ()),
        HeaderName::CSeq => CSeq::parse(value).map(|_| ()),
        HeaderName::MaxForwards => MaxForwards::parse(value).map(|_| ()),
        _ => Ok(()),
    }
}

fn first<'a, H: ListHeader<'a>>(value: &'a [u8], count: usize) -> Result<(), HeaderError> {
    split_list(value).take(count).try_for_each(|value| H::parse(value).map(|_| ()))
}
