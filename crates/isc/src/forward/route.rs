//! Where a request goes next, and the changes of a proxy (RFC 3261 §16.4 to §16.6).

use parlance_sip::grammar::split_list;
use parlance_sip::header::{Header, MaxBreadth, MaxForwards, Route};
use parlance_sip::proxy::breadth;
use parlance_sip::uri::Uri;
use parlance_sip::{Edits, HeaderName, ListenerId, Request, Source};

use super::MAX_FORWARDS;
use super::target::send_stateless;
use crate::wire::NextHop;
use crate::{Cx, Incoming};

/// Adds the changes a proxy makes, and finds the next hop (RFC 3261 §16.4, §16.6); `None` when
/// there is none, or it cannot be read.
pub(super) fn prepare(cx: &Cx, incoming: &Incoming, edits: &mut Edits) -> Option<NextHop> {
    let request = incoming.request();
    let named = incoming.decision().served.route_is_ours;
    let hop = route(cx, request, edits, incoming.source().listener, named)?;
    let left = match request.header::<MaxForwards>() {
        Ok(Some(MaxForwards(hops))) => hops.saturating_sub(1),
        Ok(None) | Err(_) => MAX_FORWARDS,
    };
    edits.set(request, HeaderName::MaxForwards, left);
    // RFC 5393 §5.3.3. There is one branch at a time here: it gets all there is.
    if !matches!(request.header(), Ok(Some(MaxBreadth(left))) if left <= u32::from(breadth::MAX)) {
        edits.set(request, HeaderName::MaxBreadth, breadth::MAX);
    }
    edits.remove(request, HeaderName::PServedUser);
    incoming.decision().peer.strip(request, edits);
    Some(hop)
}

/// Takes our `Route` off and finds the next hop. What remains is not touched (CORE-032).
///
/// `named` says that the first one is ours, whatever it is called; a dialog may have two of ours
/// in a row, one for each side.
fn route(
    cx: &Cx,
    request: &Request,
    edits: &mut Edits,
    from: ListenerId,
    named: bool,
) -> Option<NextHop> {
    if let Some(hop) = from_strict(cx, request, edits, from) {
        return hop;
    }
    // The one that is named was read when that was found out.
    let mut ours = usize::from(named);
    let mut uri = None;
    for value in request.values(HeaderName::Route).flat_map(split_list).skip(ours) {
        let route = Route::parse(value).ok()?;
        if !is_ours(cx, &route.uri) {
            uri = Some(route.uri);
            break;
        }
        ours += 1;
    }
    match uri {
        // RFC 3261 §16.6 step 6: a strict router wants itself as Request-URI.
        Some(Uri::Sip(sip)) if !sip.is_loose_router() => {
            strict(request, edits, ours, &Uri::Sip(sip));
        }
        _ => edits.remove_values(request, HeaderName::Route, ours),
    }
    match uri {
        Some(uri) => NextHop::of(&uri, from),
        None => match &cx.node().next_hop {
            Some(hop) => Some(NextHop { listener: from, ..hop.clone() }),
            None => NextHop::of(&request.uri()?, from),
        },
    }
}

/// A strict router before us put what we record-routed with in place of the target, and the target
/// at the end of the routes: undoes that (RFC 3261 §16.4). `None` when none did.
fn from_strict(
    cx: &Cx,
    request: &Request,
    edits: &mut Edits,
    from: ListenerId,
) -> Option<Option<NextHop>> {
    // What we record-route with names no user, and nothing but a user brings an "@" into a URI.
    if request.uri_text().contains(&b'@') {
        return None;
    }
    let uri = request.uri()?;
    let recorded = uri.as_sip().is_some_and(|sip| sip.user.is_none() && sip.is_loose_router());
    if !recorded || !is_ours(cx, &uri) {
        return None;
    }
    let routes: Vec<_> = request.list::<Route<'_>>().map_while(Result::ok).collect();
    let (target, before) = routes.split_last()?;
    let ours = before.iter().take_while(|route| is_ours(cx, &route.uri)).count();
    edits.request_uri(target.uri);
    let all = request.values(HeaderName::Route).flat_map(split_list);
    let rest: Vec<_> =
        all.take(before.len()).skip(ours).map(|value| String::from_utf8_lossy(value)).collect();
    match rest.is_empty() {
        true => edits.remove(request, HeaderName::Route),
        false => edits.set(request, HeaderName::Route, rest.join(", ")),
    }
    Some(match (before.get(ours), &cx.node().next_hop) {
        (Some(next), _) => NextHop::of(&next.uri, from),
        (None, Some(hop)) => Some(NextHop { listener: from, ..hop.clone() }),
        (None, None) => NextHop::of(&target.uri, from),
    })
}

/// The Request-URI goes to the end of the routes, the first route becomes the Request-URI.
fn strict(request: &Request, edits: &mut Edits, ours: usize, uri: &Uri<'_>) {
    let rest: Vec<String> = request
        .values(HeaderName::Route)
        .flat_map(split_list)
        .skip(ours + 1)
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .chain([format!("<{}>", String::from_utf8_lossy(request.uri_text()))])
        .collect();
    edits.set(request, HeaderName::Route, rest.join(", "));
    edits.request_uri(uri);
}

fn is_ours(cx: &Cx, uri: &Uri<'_>) -> bool {
    match uri {
        Uri::Sip(sip) => {
            let host = sip.host.as_str().trim_matches(['[', ']']);
            cx.locals().is_ours(host, sip.port)
        }
        Uri::Tel(_) | Uri::Other(_) => false,
    }
}

/// Whether a `Route` is left behind those that are ours: the request is for somebody else.
pub(crate) fn goes_on(cx: &Cx, request: &Request) -> bool {
    let mut routes = request.list::<Route<'_>>();
    routes.any(|route| route.is_ok_and(|route| !is_ours(cx, &route.uri)))
}

/// Sends an ACK on, statelessly (RFC 3261 §16.7: an ACK for a 2xx is a request of its own).
pub(crate) fn pass_ack(cx: &Cx, source: Source, request: &Request) {
    let mut edits = Edits::new();
    let Some(hop) = route(cx, request, &mut edits, source.listener, false) else { return };
    let left = match request.header::<MaxForwards>() {
        Ok(Some(MaxForwards(0))) => return,
        Ok(Some(MaxForwards(hops))) => hops - 1,
        Ok(None) | Err(_) => MAX_FORWARDS,
    };
    edits.set(request, HeaderName::MaxForwards, left);
    send_stateless(cx, request.clone(), hop, edits);
}

/// Sends a CANCEL on whose INVITE is not known here, statelessly (RFC 3261 §16.10). It is left
/// without an answer, and its transaction is forgotten, so that each repetition goes on as well.
pub(super) fn pass_cancel(cx: &Cx, incoming: Incoming) {
    let mut edits = Edits::new();
    if let Some(hop) = prepare(cx, &incoming, &mut edits) {
        send_stateless(cx, incoming.request().clone(), hop, edits);
    }
    incoming.abandon();
}
