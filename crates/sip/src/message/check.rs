//! What must be right in a message before anybody acts on it (RFC 3261 §8.1.1, §8.2, §16.3).
//!
//! These checks hold for every element, proxy or UAS. What only a UAS refuses (an unknown method,
//! a required extension, a body it cannot read) is decided where the request is served.

use super::{Fault, Message, Request, Response};
use crate::HeaderName;
use crate::grammar::split_list;
use crate::header::{CSeq, CallId, Contact, From, Header, HeaderError, ListHeader};
use crate::header::{MaxForwards, Route, Via};
use crate::name::HeaderNames;
use crate::uri::Uri;

/// Header fields that stand once at the most and are acted on here (RFC 4475 §3.3.8).
const ONCE: HeaderNames = HeaderNames::of(&[
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
]);

/// Header fields that are looked at here.
const CHECKED: HeaderNames =
    ONCE.with(HeaderNames::of(&[HeaderName::Contact, HeaderName::Route, HeaderName::Via]));

/// Header fields of every message (RFC 3261 §8.1.1); of a response because it copies them.
pub(super) const REQUIRED: [HeaderName; 5] =
    [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];

/// Checks a request; the fault names the header for the reason phrase of the 400.
///
/// # Errors
/// The first [`Fault`] in the order of the header fields; missing ones come last.
pub fn check_request(request: &Request) -> Result<(), Fault> {
    check_request_behind(request, None)
}

/// [`check_request`] for who has read the top `Via` already.
pub(crate) fn check_request_behind(request: &Request, via: Option<Via<'_>>) -> Result<(), Fault> {
    let uri = Uri::parse(request.uri_text()).map_err(|_| Fault::RequestUri)?;
    // RFC 3261 §19.1.1, table 1: a Request-URI has none (RFC 4475 §3.1.2.11).
    if uri.as_sip().is_some_and(|uri| !uri.headers.is_empty()) {
        return Err(Fault::RequestUri);
    }
    let (_, cseq) = check_fields(request, via)?;
    if cseq.method == request.method() { Ok(()) } else { Err(Fault::MethodMismatch) }
}

/// Checks a response; one with a fault is dropped (RFC 4475 §3.1.2.5).
///
/// # Errors
/// The first [`Fault`].
pub fn check_response(response: &Response) -> Result<(), Fault> {
    read_response(response).map(|_| ())
}

/// [`check_response`], giving what names the transaction.
pub(crate) fn read_response(response: &Response) -> Result<(Via<'_>, CSeq<'_>), Fault> {
    check_fields(response, None)
}

/// Checks the header fields; top `Via` and `CSeq` are what the caller has a use for. `top` is that
/// `Via` when it was read before. One piece with its callers: what they do not keep is not made.
#[inline(always)]
fn check_fields<'a>(
    message: &'a Message,
    top: Option<Via<'a>>,
) -> Result<(Via<'a>, CSeq<'a>), Fault> {
    let mut seen = HeaderNames::default();
    let (mut via, mut cseq) = (None, None);
    for field in &message.index.fields {
        let name = field.name;
        if !CHECKED.contains(name) {
            continue;
        }
        let value = message.at(field.value);
        let again = !seen.insert(name);
        if again && ONCE.contains(name) {
            return Err(Fault::Repeated(name));
        }
        match name {
            HeaderName::Via | HeaderName::Route if again => {}
            HeaderName::Via if top.is_some() && !value.is_empty() => via = top,
            HeaderName::Via => via = split_list(value).next().map(Via::parse).transpose()?,
            HeaderName::CSeq => cseq = Some(CSeq::parse(value)?),
            _ => check_value(name, value)?,
        }
    }
    if let Some(name) = REQUIRED.into_iter().find(|name| !seen.contains(*name)) {
        return Err(Fault::Missing(name));
    }
    // An empty list of hops is none.
    via.zip(cseq).ok_or(Fault::Header(HeaderName::Via))
}

/// Checks a value we act on, but for the two that are kept. What only others act on is not judged,
/// but sent on as it came (RFC 3261 §16.3 item 1): the hops below the top `Via`, and the routes
/// behind the first, of which whoever takes that one off looks at the next.
#[inline(always)]
fn check_value(name: HeaderName, value: &[u8]) -> Result<(), HeaderError> {
    match name {
        HeaderName::Route => each::<Route<'_>>(split_list(value).take(1)),
        HeaderName::Contact => each::<Contact<'_>>(split_list(value)),
        // A To is written as a From is.
        HeaderName::From | HeaderName::To => {
            From::parse(value).map(|_| ()).map_err(|error| error.fault.at(name))
        }
        HeaderName::CallId => CallId::parse(value).map(|_| ()),
        HeaderName::MaxForwards => MaxForwards::parse(value).map(|_| ()),
        _ => Ok(()),
    }
}

fn each<'a, H: ListHeader<'a>>(
    mut values: impl Iterator<Item = &'a [u8]>,
) -> Result<(), HeaderError> {
    values.try_for_each(|value| H::parse(value).map(|_| ()))
}
