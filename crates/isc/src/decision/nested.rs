//! Whether a request went through a controlling function before (OMA-AD-SIMPLE_IM §5.3.2.1.3).

use parlance_content::MediaType;
use parlance_content::multipart::{Limits, Multipart, Part};
use parlance_sip::header::ContentDisposition;
use parlance_sip::{HeaderName, Method, Request};

use super::{Facts, Refusal};
use crate::feature;
use crate::mark::Origin;

/// The header a controlling function of this domain puts into exploded copies.
const EXPLODED: &[u8] = b"P-IM-Exploded";

/// The refusal of a request to a group or an exploder that another one sent; `None` when none did.
///
/// The same marks on a request to a user are normal, so this is asked for hosted groups only.
pub(super) fn refusal(request: &Request, facts: &Facts<'_>) -> Option<Refusal> {
    if facts.origin == Some(Origin::Controlling) {
        return Some(Refusal::Loop);
    }
    let marked = || facts.peer.is_inside() && request.named(EXPLODED).is_some();
    let is_nested = match request.method() {
        Method::Invite => feature::is_focus(request) || marked(),
        Method::Message => marked() || has_list_history(request),
        _ => false,
    };
    is_nested.then_some(Refusal::NestedGroup)
}

/// Whether the body has a part that says whom an exploder sent it to (RFC 5365 §7.3, RFC 5364 §5).
fn has_list_history(request: &Request) -> bool {
    const KIND: &str = "recipient-list-history";
    let whole = request.header::<ContentDisposition<'_>>().ok().flatten();
    if whole.is_some_and(|disposition| disposition.is(KIND)) {
        return true;
    }
    let content_type = request.field(HeaderName::ContentType).unwrap_or_default();
    let media = std::str::from_utf8(content_type).ok().and_then(|text| MediaType::parse(text).ok());
    let Some(media) = media.filter(MediaType::is_multipart) else { return false };
    let limits = Limits::default();
    let body = Multipart::parse(&media, &request.body_bytes(), &limits);
    body.is_ok_and(|body| any(body.parts(), &limits, KIND))
}

fn any(parts: &[Part], limits: &Limits, kind: &str) -> bool {
    parts.iter().any(|part| {
        let disposition = part.headers.content_disposition();
        disposition.is_some_and(|disposition| disposition.is(kind))
            || matches!(part.nested(limits), Some(Ok(inner)) if any(inner.parts(), limits, kind))
    })
}
