//! The session descriptions of the switch: what it offers and what it answers (RFC 7701 §8,
//! OMA-TS-SIMPLE_IM §7.4.3.7).

use parlance_isc::media::{Hosts, Media, RoomLeg};
use parlance_msrp::negotiate::{self, Agreement, Outcome, Terms};
use parlance_msrp::switch::{LegConfig, RoomConfig};
use parlance_sip::sdp::{Chatroom, Direction, MediaRanges, MsrpProto, Sdp};

use crate::focus::{Caller, Focus};
use crate::policy::Policy;
use crate::refusal::Refusal;

/// The wrapper of every message in a room (RFC 7701 §6).
const CPIM: &str = "message/cpim";

/// The text of the Warning with each code (RFC 3261 §20.43).
fn text(code: u16) -> &'static str {
    match code {
        302 => "Incompatible transport protocol",
        304 => "Media type not available",
        305 => "Incompatible media format",
        306 => "Attribute not understood",
        _ => "Session description not acceptable",
    }
}

/// Reads a description.
///
/// # Errors
/// It cannot be read, or has no MSRP line that can.
pub(crate) fn read(octets: &[u8]) -> Result<Sdp, Refusal> {
    Sdp::parse(octets).map_err(|_| Refusal::Media(399, "Session description cannot be read"))
}

/// A description that cannot be taken.
pub(crate) fn refused(refusal: negotiate::Refusal) -> Refusal {
    let code = refusal.warning();
    Refusal::Media(code, text(code))
}

/// Whether an offer wants TLS; `None`: it has no MSRP line.
pub(crate) fn wants_tls(offer: &Sdp) -> Option<bool> {
    let mut lines = offer.media().filter(|line| !line.is_refused());
    let media = lines.find_map(|line| line.message()?.ok())?;
    Some(media.proto == MsrpProto::Tls)
}

/// The room of a session.
pub(crate) fn room(focus: &Focus, identities: Vec<String>) -> RoomConfig {
    let policy = focus.policy();
    let is_room = focus.is_room();
    RoomConfig {
        // Who may send them is said of each participant.
        private_messages: is_room,
        nicknames: is_room && policy.nicknames,
        reserved_nicknames: policy.reserved_nicknames.clone(),
        wrapped_types: wrapped(policy),
        message_octets_max: Some(policy.message_octets_max),
        wraps: policy.wraps,
        welcome: is_room,
        keeps_lost: true,
        ..RoomConfig::new(identities)
    }
}

/// A participant as the room has to know him; `shown`: his pseudonym, if the others know that only.
pub(crate) fn leg(focus: &Focus, caller: &Caller, shown: Option<String>) -> LegConfig {
    let mut config = LegConfig::new(caller.address.as_str());
    config.private_messages = focus.may_send_privately(&caller.names());
    config.uris.extend(caller.alias.as_ref().map(|alias| alias.as_str().to_owned()));
    config.anonymous = shown.is_some();
    config.pseudonym = shown;
    config
}

/// What the switch declares towards one participant.
pub(crate) fn terms(
    focus: &Focus,
    media: &Media,
    caller: &Caller,
    leg: &RoomLeg,
    secure: bool,
) -> Terms {
    let policy = focus.policy();
    let own = if policy.wraps { format!("{CPIM} {}", policy.wrapped_types) } else { CPIM.into() };
    let chatroom = focus.is_room().then(|| Chatroom {
        nickname: policy.nicknames,
        private_messages: focus.may_send_privately(&caller.names()),
        others: Vec::new(),
    });
    Terms {
        path: vec![leg.uri().clone()],
        accept_types: own.parse().unwrap_or_default(),
        accept_wrapped_types: wrapped(policy),
        sends: vec![CPIM.to_owned()],
        max_size: Some(policy.message_octets_max),
        direction: Direction::SendRecv,
        msrp_cema: true,
        chatroom,
        fingerprints: if secure { media.fingerprints() } else { Vec::new() },
        file: None,
    }
}

fn wrapped(policy: &Policy) -> MediaRanges {
    policy.wrapped_types.parse().unwrap_or_default()
}

/// A session that was agreed on with a participant, and our side of it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    /// Our last description.
    pub(crate) own: Sdp,
    /// What was agreed.
    pub(crate) agreement: Agreement,
}

impl Described {
    /// Whether the participant has put the session on hold: he sends nothing, or nothing is to be
    /// sent to him.
    pub(crate) fn is_on_hold(&self) -> bool {
        !self.agreement.sends || !self.agreement.receives
    }
}

/// Answers an offer; `number` goes into `o=`, unless there is `before`: our description before it,
/// in a session that exists. `hosts` are those of the offer.
///
/// # Errors
/// Nothing of it can be taken.
pub(crate) fn answer(
    offer: &Sdp,
    terms: &Terms,
    number: u64,
    before: Option<&Sdp>,
    hosts: &Hosts,
) -> Result<Described, Refusal> {
    let (own, agreement) =
        negotiate::answer(offer, terms, number, &hosts.same()).map_err(refused)?;
    let own = match before {
        Some(before) => own.following(before),
        None => own,
    };
    Ok(Described { own, agreement })
}

/// What came of an offer of ours.
#[derive(Debug)]
pub(crate) enum Concluded {
    /// The session is agreed on.
    Agreed(Agreement),
    /// It has to be offered again without `msrp-cema` (RFC 6714 §4.2).
    WithoutCema,
}

/// Reads the answer to `offer`.
///
/// # Errors
/// There is no session.
pub(crate) async fn conclude(
    offer: &Sdp,
    octets: &[u8],
    terms: &Terms,
    media: &Media,
) -> Result<Concluded, Refusal> {
    let answer = read(octets)?;
    let hosts = media.hosts(&answer).await;
    match negotiate::conclude(offer, &answer, terms, &hosts.same()).map_err(refused)? {
        Outcome::Agreed(agreement) => Ok(Concluded::Agreed(agreement)),
        Outcome::Refused => Err(Refusal::Media(305, text(305))),
        Outcome::OfferWithoutCema => Ok(Concluded::WithoutCema),
    }
}
