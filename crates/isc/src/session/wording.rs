//! What is read from, and written into, the messages that make dialogs and refresh sessions.

use parlance_sip::dialog::{Dialog, DialogId, DialogState, Foundation, Role};
use parlance_sip::header::{
    Allow, Contact, Expires, From, MinSe, RecordRoute, Refresher as Side, Require, SessionExpires,
    Supported, To,
};
use parlance_sip::session_timer::{self, Refresher, SessionAnswer, SessionRequest};
use parlance_sip::uri::Uri;
use parlance_sip::{HeaderName, ListenerId, Message, Method, Request, RequestBuilder, Response};
use parlance_sip::{ResponseBuilder, reliable::Rel100};

use super::{Body, LegTerms};
use crate::{MAX_FORWARDS, NextHop};

/// The `Contact` URI: the remote target.
pub(super) fn target(message: &Message) -> Option<Box<str>> {
    let contact = message.list::<Contact<'_>>().find_map(Result::ok)?;
    Some(contact.address()?.uri.to_string().into())
}

/// The tag in `To`; empty without one.
pub(super) fn to_tag(message: &Message) -> Box<str> {
    let to = message.header::<To<'_>>().ok().flatten();
    to.and_then(|to| to.tag()).unwrap_or_default().into()
}

fn record_routes(message: &Message) -> Vec<Box<str>> {
    let hops = message.list::<RecordRoute<'_>>().filter_map(Result::ok);
    hops.map(|hop| hop.to_string().into()).collect()
}

/// Those of a response, without ours in the request: it began the route set, and a request of ours
/// does not go through ourselves (RFC 3261 §12.1.2).
fn record_routes_beyond(request: &Request, response: &Response) -> Vec<Box<str>> {
    let (mut own, mut routes) = (record_routes(request), record_routes(response));
    while let Some(ours) = own.pop()
        && routes.last() == Some(&ours)
    {
        routes.pop();
    }
    routes
}

fn call_id(message: &Message) -> Box<str> {
    String::from_utf8_lossy(message.call_id()).into()
}

fn is_secure(request: &Request) -> bool {
    request.uri().is_some_and(|uri| uri.as_sip().is_some_and(|sip| sip.secure))
}

/// The dialog that a request to us makes (RFC 3261 §12.1.1); `None` without a usable `Contact`.
pub(super) fn dialog_uas(request: &Request, tag: &str, state: DialogState) -> Option<Dialog> {
    let from = request.header::<From<'_>>().ok().flatten()?;
    let to = request.header::<To<'_>>().ok().flatten()?;
    Some(Dialog::new(Foundation {
        role: Role::Uas,
        id: DialogId {
            call_id: call_id(request),
            local_tag: tag.into(),
            remote_tag: from.tag().unwrap_or_default().into(),
        },
        local_uri: to.uri().to_string().into(),
        remote_uri: from.uri().to_string().into(),
        remote_target: target(request)?,
        cseq: request.cseq()?.number,
        record_routes: record_routes(request),
        secure: is_secure(request),
        state,
    }))
}

/// The dialog that a response to our request makes (RFC 3261 §12.1.2). A peer that forgot its
/// `Contact` is found where the request went.
pub(super) fn dialog_uac(
    request: &Request,
    response: &Response,
    state: DialogState,
) -> Option<Dialog> {
    let from = request.header::<From<'_>>().ok().flatten()?;
    let to = request.header::<To<'_>>().ok().flatten()?;
    let sent_to = || String::from_utf8_lossy(request.uri_text()).into();
    Some(Dialog::new(Foundation {
        role: Role::Uac,
        id: DialogId {
            call_id: call_id(request),
            local_tag: from.tag().unwrap_or_default().into(),
            remote_tag: to_tag(response),
        },
        local_uri: from.uri().to_string().into(),
        remote_uri: to.uri().to_string().into(),
        remote_target: target(response).unwrap_or_else(sent_to),
        cseq: request.cseq()?.number,
        record_routes: record_routes_beyond(request, response),
        secure: is_secure(request),
        state,
    }))
}

/// The `Record-Route` of a 2xx, which confirms an early dialog (RFC 3261 §13.2.2.4).
pub(super) fn confirm(dialog: &mut Dialog, request: &Request, response: &Response) {
    dialog.confirm(record_routes_beyond(request, response));
    if let Some(target) = target(response) {
        dialog.refresh_target(target);
    }
}

/// Starts a request inside `dialog` (RFC 3261 §12.2.1.1), and where it goes; `None` when the remote
/// target cannot be sent to.
pub(super) fn request_within(
    dialog: &Dialog,
    method: Method<'static>,
    cseq: u32,
    listener: ListenerId,
) -> Option<(RequestBuilder, NextHop)> {
    let routing = dialog.routing();
    let hop = NextHop::of(&Uri::parse(routing.next_hop.as_bytes()).ok()?, listener)?;
    let mut request = RequestBuilder::new(method, &routing.request_uri);
    for route in &routing.routes {
        request = request.header(HeaderName::Route, route);
    }
    let id = dialog.id();
    let request = request
        .header(HeaderName::MaxForwards, MAX_FORWARDS)
        .header(HeaderName::From, tagged(dialog.local_uri(), &id.local_tag))
        .header(HeaderName::To, tagged(dialog.remote_uri(), &id.remote_tag))
        .header(HeaderName::CallId, &id.call_id)
        .header(HeaderName::CSeq, format_args!("{cseq} {method}"));
    Some((request, hop))
}

fn tagged(uri: &str, tag: &str) -> String {
    if tag.is_empty() { format!("<{uri}>") } else { format!("<{uri}>;tag={tag}") }
}

/// Ends a request with `body`.
pub(super) fn finish(request: RequestBuilder, body: &Body) -> Option<Request> {
    match body.is_empty() {
        true => request.build(b""),
        false => request.header(HeaderName::ContentType, body.content_type()).build(body.octets()),
    }
}

/// Ends a response with `body`.
pub(super) fn finish_response(response: ResponseBuilder, body: &Body) -> bytes::Bytes {
    match body.is_empty() {
        true => response.build(),
        false => {
            response.header(HeaderName::ContentType, body.content_type()).with_body(body.octets())
        }
    }
}

/// What our side says about itself in an INVITE or UPDATE and in a 2xx to one.
pub(super) fn abilities(terms: &LegTerms) -> [(HeaderName, String); 3] {
    let allow: Vec<&str> = terms.allow.iter().map(Method::as_str).collect();
    [
        (HeaderName::Contact, terms.contact.clone()),
        (HeaderName::Allow, allow.join(", ")),
        (HeaderName::Supported, terms.supported.join(", ")),
    ]
}

/// Adds to a 2xx what makes or refreshes the session (RFC 3261 §13.3.1.4, RFC 4028 §9).
pub(super) fn dress(
    response: ResponseBuilder,
    terms: &LegTerms,
    timer: Option<SessionAnswer>,
) -> ResponseBuilder {
    let response = abilities(terms)
        .iter()
        .fold(response, |response, (name, value)| response.header(*name, value));
    let Some(timer) = timer else { return response };
    let expires = SessionExpires::new(timer.interval, Some(side(timer.refresher)));
    let response = response.header(HeaderName::SessionExpires, expires);
    match timer.require_timer {
        true => response.header(HeaderName::Require, "timer"),
        false => response,
    }
}

pub(super) fn side(refresher: Refresher) -> Side {
    match refresher {
        Refresher::Uac => Side::Uac,
        Refresher::Uas => Side::Uas,
    }
}

/// What a session refresh request says about timers (RFC 4028 §9).
pub fn session_request(request: &Message) -> SessionRequest {
    SessionRequest {
        supports_timer: supports(request, "timer"),
        session_expires: session_expires(request),
        min_se: request.header::<MinSe>().ok().flatten().map(|min_se| min_se.0),
    }
}

/// `Session-Expires`, of a request or response.
pub fn session_expires(message: &Message) -> Option<session_timer::SessionExpires> {
    let expires = message.header::<SessionExpires<'_>>().ok().flatten()?;
    let refresher = expires.refresher().map(|side| match side {
        Side::Uac => Refresher::Uac,
        Side::Uas => Refresher::Uas,
    });
    Some(session_timer::SessionExpires { interval: expires.seconds, refresher })
}

pub(super) fn min_se(message: &Message) -> Option<u32> {
    message.header::<MinSe>().ok().flatten().map(|min_se| min_se.0)
}

/// Whether an option tag stands in `Supported` or `Require`.
pub(super) fn supports(message: &Message, tag: &str) -> bool {
    let mut supported = message.list::<Supported<'_>>().filter_map(Result::ok);
    supported.any(|token| token.is(tag)) || requires(message, tag)
}

pub(super) fn requires(message: &Message, tag: &str) -> bool {
    let mut required = message.list::<Require<'_>>().filter_map(Result::ok);
    required.any(|token| token.is(tag))
}

/// The option tags required that are none of `understood` (RFC 3261 §8.2.2.3).
pub(super) fn not_understood(request: &Message, understood: &[&str]) -> Vec<String> {
    let required = request.list::<Require<'_>>().filter_map(Result::ok);
    let unknown = required.filter(|token| !understood.iter().any(|known| token.is(known)));
    unknown.map(|token| token.as_str().to_owned()).collect()
}

/// What the INVITE says about reliable provisional responses (RFC 3262 §3).
pub(super) fn rel100(request: &Message) -> Rel100 {
    if requires(request, "100rel") {
        Rel100::Required
    } else if supports(request, "100rel") {
        Rel100::Supported
    } else {
        Rel100::Absent
    }
}

/// Whether `Allow` lists UPDATE; `None` without an `Allow`.
pub(super) fn allows_update(message: &Message) -> Option<bool> {
    message.has(HeaderName::Allow).then(|| {
        let mut allowed = message.list::<Allow<'_>>().filter_map(Result::ok);
        allowed.any(|allow| allow.0 == Method::Update)
    })
}

/// `Expires` in seconds.
pub(super) fn expires(message: &Message) -> Option<u32> {
    message.header::<Expires>().ok().flatten().map(|expires| expires.0)
}
