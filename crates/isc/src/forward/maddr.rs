//! A Request-URI that leads to us by its `maddr` (RFC 3261 §16.4).

use parlance_sip::uri::SipUri;
use parlance_sip::{Edits, ListenerId, Request, Transport};

use crate::wire::Locals;

/// `request` as if its Request-URI had no `maddr`, where that is ours and the request came to
/// `listener` by the port and transport that the URI says; these two go as well. `None`: it stays
/// as it is. One that came by another way goes on to where its URI leads.
pub(crate) fn without_our_maddr(
    locals: &Locals,
    listener: ListenerId,
    request: &Request,
) -> Option<Request> {
    // Hardly any Request-URI has parameters.
    if !request.uri_text().contains(&b';') {
        return None;
    }
    let uri = request.uri()?;
    let uri = uri.as_sip()?;
    let (maddr, transport, came) = (uri.maddr()?, transport(uri)?, locals.at(listener)?);
    let port = uri.port.unwrap_or(transport.default_port());
    let host = maddr.as_str().trim_matches(['[', ']']);
    if transport != came.transport || Some(port) != came.port() || !locals.is_ours(host, Some(port))
    {
        return None;
    }
    let mut edits = Edits::new();
    edits.request_uri(SipUri { port: None, ..*uri }.without(&["maddr", "transport"]));
    edits.apply(request)
}

/// The transport that a URI says; `None` when it is one that we do not have.
fn transport(uri: &SipUri<'_>) -> Option<Transport> {
    match uri.params.has("transport") {
        true => uri.transport(),
        false if uri.secure => Some(Transport::Tls),
        false => Some(Transport::Udp),
    }
}
