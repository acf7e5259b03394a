//! What either side of a pre-established session is told of the other (RFC 3264, RFC 4975 §8).
//!
//! The client does not hear of the sessions that it is attached to, so it is told at once that
//! anything may come and go. Who is attached is told what the client has said.

use parlance_isc::Media;
use parlance_isc::media::Pair;
use parlance_msrp::negotiate::{self, Agreement, Outcome, Terms};
use parlance_msrp::relay::PairSide;
use parlance_sip::sdp::{MessageMedia, MsrpProto, Sdp};

/// The side of the pair where the client is.
pub(super) const CLIENT: PairSide = PairSide::Offerer;

/// The side of the pair where those are whom it is attached to.
pub(super) const ATTACHED: PairSide = PairSide::Answerer;

/// A side as it and we have described it.
#[derive(Clone, Debug)]
pub(super) struct Described {
    /// What it has said.
    pub(super) said: MessageMedia,
    /// What we have said.
    pub(super) shown: Sdp,
    pub(super) agreement: Agreement,
}

/// How the first MSRP line of an offer is carried; `None`: it has none that can be read.
pub(super) fn proto(offer: &Sdp) -> Option<MsrpProto> {
    Some(offer.first_message()?.1.ok()?.proto)
}

/// What we say to the client: anything may come.
fn to_client(pair: &Pair, media: &Media) -> Terms {
    let fingerprints = pair.anchor(CLIENT, media).fingerprints;
    Terms { fingerprints, ..pair.terms(CLIENT) }
}

/// What we say for the client to whom it is attached to.
fn for_client(client: &MessageMedia, pair: &Pair, media: &Media) -> Terms {
    Terms {
        accept_types: client.accept_types.clone(),
        accept_wrapped_types: client.accept_wrapped_types.clone(),
        max_size: client.max_size,
        direction: client.direction,
        chatroom: client.chatroom.clone(),
        fingerprints: pair.anchor(ATTACHED, media).fingerprints,
        ..pair.terms(ATTACHED)
    }
}

/// Answers `offer` with `terms`; `None` when it cannot be taken. A line for one file is not: the
/// session is for what comes later.
async fn answer(offer: &Sdp, terms: &Terms, media: &Media, session_id: u64) -> Option<Described> {
    let hosts = media.hosts(offer).await;
    let (shown, agreement) = negotiate::answer(offer, terms, session_id, &hosts.same()).ok()?;
    let (index, _) = shown.first_message()?;
    let said = offer.media().nth(index)?.message()?.ok()?;
    said.file.is_none().then_some(Described { said, shown, agreement })
}

/// Answers the offer of the client.
pub(super) async fn answer_client(
    offer: &Sdp,
    pair: &Pair,
    media: &Media,
    session_id: u64,
) -> Option<Described> {
    answer(offer, &to_client(pair, media), media, session_id).await
}

/// Answers the offer of who is attached, for the client.
pub(super) async fn answer_attached(
    offer: &Sdp,
    client: &Described,
    pair: &Pair,
    media: &Media,
    session_id: u64,
) -> Option<Described> {
    answer(offer, &for_client(&client.said, pair, media), media, session_id).await
}

/// The offer to who is called, for the client.
pub(super) fn offer(client: &Described, pair: &Pair, media: &Media, session_id: u64) -> Sdp {
    negotiate::offer(&for_client(&client.said, pair, media), session_id)
}

/// What the answer of who was called comes to; `None`: it cannot be taken.
pub(super) async fn conclude(
    offered: &Sdp,
    answer: &Sdp,
    client: &Described,
    pair: &Pair,
    media: &Media,
) -> Option<Described> {
    let terms = for_client(&client.said, pair, media);
    let hosts = media.hosts(answer).await;
    let concluded = negotiate::conclude(offered, answer, &terms, &hosts.same()).ok()?;
    let Outcome::Agreed(agreement) = concluded else { return None };
    let said = answer.first_message()?.1.ok()?;
    Some(Described { said, shown: offered.clone(), agreement })
}

/// Whether the offer is with TLS; `None`: there is none that can be read.
pub(super) fn is_secure(offer: &Sdp) -> Option<bool> {
    proto(offer).map(|proto| proto == MsrpProto::Tls)
}
