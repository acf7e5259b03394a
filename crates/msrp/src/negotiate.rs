//! What offer and answer agree on for an MSRP session (RFC 4975 §8).
//!
//! | question | answer | specification |
//! |---|---|---|
//! | who opens the connection | [`Role`] | RFC 4975 §8.5, RFC 6135 |
//! | where to, and who must be there | [`Hop`](crate::Hop) | RFC 4975 §6.2, RFC 6714, RFC 8122 |
//! | what may be sent | [`Accepts`](crate::endpoint::Accepts), [`Form`] | RFC 4975 §8.6 |
//! | which file | [`FileTransfers`] | RFC 5547 |
//! | why not at all | [`Refusal`] | |
//!
//! [`Terms`] say what this side declares. [`offer`] and [`answer`] write descriptions from it;
//! [`answer`] and [`conclude`] say what was agreed. Names are not resolved here: where RFC 6714
//! compares addresses, the caller is asked whether two hosts are the same; [`hosts_to_compare`]
//! says beforehand which.
//!
//! `holdconn` is read as no `setup` at all (RFC 6135 §4.2.1), `connection` is neither written nor
//! read (§4.4). `setup` is in everything written here, `passive` in no offer.

mod agreement;
mod anchor;
mod files;
mod form;
mod refusal;
mod unseen;

use parlance_sip::sdp::{
    Chatroom, Direction, FileTransfer, Fingerprint, MediaLine, MediaRanges, MessageMedia,
    MsrpProto, Sdp, Setup,
};

use self::agreement::Way;
pub use self::agreement::{Agreement, Role, hosts_to_compare};
pub use self::anchor::Anchor;
pub use self::files::{FileTransfers, FileVerdict, answer_file};
pub use self::form::Form;
pub use self::refusal::Refusal;
pub use self::unseen::{anchor_unseen, between, lendable};
use crate::uri::{MsrpUri, Scheme};

/// The port that stands where nobody listens (RFC 4145 §4.1): `discard`.
pub const PORT_DISCARD: u16 = 9;

/// What this side declares of one media line.
#[derive(Clone, Debug)]
pub struct Terms {
    /// `path`: the relays that act for this side, the outermost first, and the own URI last. Each
    /// has a port. Never empty.
    pub path: Vec<MsrpUri>,
    /// `accept-types`: what this side takes as it is.
    pub accept_types: MediaRanges,
    /// `accept-wrapped-types`: what it takes within a container, besides.
    pub accept_wrapped_types: MediaRanges,
    /// The types this side sends; the peer must take one of them. None: it sends nothing.
    pub sends: Vec<String>,
    /// `max-size` in octets.
    pub max_size: Option<u64>,
    /// Which way messages may go.
    pub direction: Direction,
    /// Whether `msrp-cema` is offered, and used when the peer offers it (RFC 6714).
    pub msrp_cema: bool,
    /// `chatroom` (RFC 7701 §8).
    pub chatroom: Option<Chatroom>,
    /// `fingerprint` of each certificate presented, when no authority vouches for it.
    pub fingerprints: Vec<Fingerprint>,
    /// The file the line is for.
    pub file: Option<FileTransfer>,
}

/// What came of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The session is as said.
    Agreed(Agreement),
    /// The peer refused the line with port 0.
    Refused,
    /// Something between changed addresses and cannot pass the connection on: offer again without
    /// `msrp-cema` (RFC 6714 §4.2).
    OfferWithoutCema,
}

/// Whether two hosts, as written in `c=` and in a URI, are the same: the caller resolves names
/// (RFC 6714 §4.4). It is asked only about texts that differ and are not both addresses.
pub type SameHost<'a> = &'a dyn Fn(&str, &str) -> bool;

impl Terms {
    /// Anything may be taken, either way, by `own`; nothing is said to be sent.
    pub fn anything(own: MsrpUri) -> Self {
        Self {
            path: vec![own],
            accept_types: "*".parse().unwrap_or_default(),
            accept_wrapped_types: MediaRanges::default(),
            sends: Vec::new(),
            max_size: None,
            direction: Direction::SendRecv,
            msrp_cema: false,
            chatroom: None,
            fingerprints: Vec::new(),
            file: None,
        }
    }

    /// The own URI.
    fn own(&self) -> Option<&MsrpUri> {
        self.path.last()
    }

    /// How MSRP is carried on the first hop of the path.
    fn proto(&self) -> MsrpProto {
        match self.path.first().map(|uri| uri.parts().scheme) {
            Some(Scheme::Msrps) => MsrpProto::Tls,
            Some(Scheme::Msrp) | None => MsrpProto::Tcp,
        }
    }

    /// The URI that `c=` and the port repeat: the own one, behind a relay with `msrp-cema` the
    /// relay's (RFC 6714 §4.2).
    fn shown(&self, msrp_cema: bool) -> Option<&MsrpUri> {
        if msrp_cema { self.path.first() } else { self.own() }
    }

    /// Whether a relay acts for this side.
    fn has_relay(&self) -> bool {
        self.path.len() > 1
    }

    fn media(&self, setup: Setup, msrp_cema: bool) -> MessageMedia {
        MessageMedia {
            port: self.shown(msrp_cema).and_then(|uri| uri.parts().port).unwrap_or(PORT_DISCARD),
            proto: self.proto(),
            accept_types: self.accept_types.clone(),
            accept_wrapped_types: self.accept_wrapped_types.clone(),
            path: self.path.iter().map(|uri| uri.as_str().to_owned()).collect(),
            max_size: self.max_size,
            setup: Some(setup),
            direction: self.direction,
            msrp_cema,
            chatroom: self.chatroom.clone(),
            fingerprints: self.fingerprints.clone(),
            file: self.file.clone(),
        }
    }

    /// An empty description from this side.
    fn description(&self, session_id: u64, msrp_cema: bool) -> Sdp {
        let host = self.shown(msrp_cema).map(|uri| bare(uri.parts().host)).unwrap_or_default();
        Sdp::new("-", session_id, 1, host)
    }
}

/// An offer of one session, to be sent as it is or, in a session that exists,
/// [`following`](Sdp::following) the description before it. `session_id` goes into `o=`.
pub fn offer(terms: &Terms, session_id: u64) -> Sdp {
    let mut sdp = terms.description(session_id, terms.msrp_cema);
    // The server can be reached, and a relay is reached anyway (RFC 6135 §4.2.2).
    sdp.push_message(&terms.media(Setup::ActPass, terms.msrp_cema));
    sdp
}

/// Answers an offer: its first MSRP line that can be taken is, all other lines are refused.
///
/// # Errors
/// The [`Refusal`] of the first MSRP line when none can be taken.
pub fn answer(
    offer: &Sdp,
    terms: &Terms,
    session_id: u64,
    same_host: SameHost<'_>,
) -> Result<(Sdp, Agreement), Refusal> {
    let mut refusal = None;
    let taken = offer.media().enumerate().find_map(|(index, line)| {
        match answer_line(&line, terms, same_host)? {
            Ok((media, agreement)) => Some((index, media, agreement)),
            Err(error) => {
                refusal.get_or_insert(error);
                None
            }
        }
    });
    let (taken, media, agreement) = taken.ok_or(refusal.unwrap_or(Refusal::NoMessage))?;
    let mut sdp = terms.description(session_id, media.msrp_cema);
    for (index, line) in offer.media().enumerate() {
        if index == taken { sdp.push_message(&media) } else { sdp.push_refused(&line) }
    }
    Ok((sdp, agreement))
}

/// Answers one offered line; `None` when it carries no MSRP or is refused already.
pub fn answer_line(
    line: &MediaLine<'_>,
    terms: &Terms,
    same_host: SameHost<'_>,
) -> Option<Result<(MessageMedia, Agreement), Refusal>> {
    if line.is_refused() {
        return None;
    }
    let offered = line.message()?.map_err(Refusal::Media);
    Some(offered.and_then(|offered| {
        let path = agreement::peer_path(&offered)?;
        // Behind a relay an answer may have TLS where none was offered (RFC 4976 §11), not less.
        if offered.proto == MsrpProto::Tls && terms.proto() == MsrpProto::Tcp {
            return Err(Refusal::Scheme);
        }
        let shows_path = agreement::shows_path(line, &path, same_host);
        if !offered.msrp_cema && !shows_path {
            return Err(Refusal::Middlebox);
        }
        // The server can be reached: it waits whenever the offer lets it.
        let role = match heard(offered.setup) {
            Some(Setup::Passive) => Role::Active,
            Some(Setup::Active | Setup::ActPass | Setup::HoldConn) | None => Role::Passive,
        };
        let msrp_cema = offered.msrp_cema && terms.msrp_cema && {
            let offerer_has_relay = path.len() > 1;
            let offerer_connects = matches!(heard(offered.setup), None | Some(Setup::Active));
            // RFC 6714 §4.3, its three conditions.
            !(offerer_has_relay && (terms.has_relay() || offerer_connects))
                && !(terms.has_relay() && role == Role::Active)
        };
        if offered.msrp_cema && !msrp_cema && !shows_path && role == Role::Active {
            return Err(Refusal::Middlebox);
        }
        let setup = match role {
            Role::Active => Setup::Active,
            Role::Passive => Setup::Passive,
        };
        let mut media = terms.media(setup, msrp_cema);
        media.direction = meet(offered.direction, terms.direction);
        media.file = offered.file.as_ref().map(|file| answer_file(file, media.direction));
        let way = if msrp_cema { Way::SHOWN } else { Way::PATH };
        let agreement = Agreement::new(line, &offered, path, role, way, terms)?;
        Ok((media, agreement))
    }))
}

/// What the answer to our offer, made with `terms`, comes to.
///
/// # Errors
/// A [`Refusal`] that no new offer can mend: the session ends.
pub fn conclude(
    offer: &Sdp,
    answer: &Sdp,
    terms: &Terms,
    same_host: SameHost<'_>,
) -> Result<Outcome, Refusal> {
    offer.check_answer(answer).map_err(Refusal::Answer)?;
    let offered = offer.first_message().and_then(|(at, media)| Some((at, media.ok()?)));
    let (index, offered) = offered.ok_or(Refusal::NoMessage)?;
    let line = answer.media().nth(index).ok_or(Refusal::NoMessage)?;
    if line.is_refused() {
        return Ok(Outcome::Refused);
    }
    let answered = line.message().ok_or(Refusal::NoMessage)?.map_err(Refusal::Media)?;
    let path = agreement::peer_path(&answered)?;
    let role = match heard(answered.setup) {
        Some(Setup::Active) => Role::Passive,
        // Without it the offerer connects (RFC 4975 §8.5).
        Some(Setup::Passive | Setup::ActPass | Setup::HoldConn) | None => Role::Active,
    };
    let msrp_cema = offered.msrp_cema && answered.msrp_cema;
    let mut way = if msrp_cema { Way::SHOWN } else { Way::PATH };
    if offered.msrp_cema && !msrp_cema && !agreement::shows_path(&line, &path, same_host) {
        let behind_relay = terms.has_relay() || path.len() > 1;
        if role == Role::Passive || behind_relay {
            return Ok(Outcome::OfferWithoutCema);
        }
        // Who waits for a connection need not know of it (§4.2, its last paragraph).
        way.to_shown = true;
    }
    let agreement = Agreement::new(&line, &answered, path, role, way, terms)?;
    Ok(Outcome::Agreed(agreement))
}

/// `setup` as RFC 6135 §4.2.1 hears it.
fn heard(setup: Option<Setup>) -> Option<Setup> {
    setup.filter(|setup| *setup != Setup::HoldConn)
}

/// The direction of an answer: what was offered and is wanted (RFC 3264 §6.1).
fn meet(offered: Direction, own: Direction) -> Direction {
    match (offered.receives() && own.sends(), offered.sends() && own.receives()) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

/// A host without the brackets that an IPv6 address has in a URI.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests;
