//! A request with changes made, to be read again here instead of being sent.

use bytes::BytesMut;
use parlance_sip::message::Limits;
use parlance_sip::{Edits, Message, Request};

/// `request` with `edits`; `None` when they leave no request. What was let in once is not measured
/// again.
pub(crate) fn edited(request: &Request, edits: &Edits) -> Option<Request> {
    let mut out = BytesMut::new();
    edits.write(request, &mut out);
    let limits = Limits {
        head_octets_max: usize::from(u16::MAX),
        fields_max: usize::from(u16::MAX),
        body_octets_max: usize::MAX,
    };
    Request::new(Message::parse_datagram(out.freeze(), &limits).ok()?).ok()
}
