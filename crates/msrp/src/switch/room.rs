//! Who is in a room, and who gets a message.

use std::time::Instant;

use hashbrown::HashMap;
use parlance_sip::sdp::MediaRanges;
use parlance_sip::uri::Aor;
use slab::Slab;

use super::identity::{Identity, IdentityError, aor};
use super::leg::{Leg, Pseudonym};
use super::media::{Accepts, MediaNumber, MediaTypes};
use super::nickname::{Nickname, NicknameError, Nicknames};
use super::recent::Recent;
use super::refusal::Refusal;
use super::round::Round;
use super::{Counts, LegConfig, RoomConfig};
use crate::session::SessionKey;

/// One room of a switch; unique while the switch lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// One room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) generation: u32,
    pub(super) policy: RoomConfig,
    pub(super) identity: Identity,
    pub(super) participants: Slab<Participant>,
    /// Whose each URI and each pseudonym is.
    names: HashMap<Aor, Name>,
    /// All legs, by place in the switch, in the order they came.
    pub(super) legs: Vec<u32>,
    pub(super) media: MediaTypes,
    /// The content that the policy allows.
    allows: Accepts,
    pub(super) recent: Recent,
    pub(super) nicknames: Nicknames,
    pub(super) counts: Counts,
    /// What it was sent that is not written yet.
    pub(super) round: Option<Round>,
    /// Whether it is among the rooms that have such.
    pub(super) waits: bool,
}

/// Somebody with one URI and one or more sessions.
#[derive(Debug)]
pub(super) struct Participant {
    /// The URI that is told others.
    pub(super) uri: Box<str>,
    pub(super) legs: Vec<u32>,
}

/// What a name in `To` leads to.
#[derive(Clone, Copy, Debug)]
struct Name {
    participant: u32,
    /// Legs that are known by it.
    legs: u32,
}

/// One recipient of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) leg: u32,
    pub(super) session: SessionKey,
}

/// Why a room was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// Its URIs are none.
    #[error(transparent)]
    Uris(#[from] IdentityError),
    /// A reserved nickname is none.
    #[error(transparent)]
    Nickname(#[from] NicknameError),
}

/// Why nobody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// There is no such room.
    #[error("there is no such room")]
    NoSuchRoom,
    /// The room has as many sessions as it may.
    #[error("the room is full")]
    Full,
    /// The URI takes part already and the policy allows one session (RFC 7701 §4.1): 403.
    #[error("the participant has a session already")]
    Simultaneous,
    /// `accept-types` has no `message/cpim` (RFC 7701 §5.2): 488.
    #[error("the participant does not take message/cpim")]
    NoCpim,
    /// The URIs or the pseudonym are none.
    #[error(transparent)]
    Uris(#[from] IdentityError),
    /// The pseudonym or one of the URIs is the room's or somebody else's, or there is no pseudonym
    /// where one is needed.
    #[error("the pseudonym is missing, or a URI is not the participant's alone")]
    Name,
}

/// What a message says of itself, when its headers have been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    /// How many `To` headers there are.
    pub(super) to_count: usize,
    /// The URI in the first.
    pub(super) to: &'a [u8],
    /// The type of its content.
    pub(super) media_type: Option<&'a str>,
    /// Whether it is a disposition notification.
    pub(super) is_imdn: bool,
}

impl Room {
    pub(super) fn new(policy: RoomConfig, generation: u32, seed: u64) -> Result<Self, RoomError> {
        let reserved: Result<Vec<_>, _> =
            policy.reserved_nicknames.iter().map(|name| Nickname::new(name)).collect();
        Ok(Self {
            generation,
            identity: Identity::new(&policy.uris)?,
            allows: Accepts::new(policy.wrapped_types.clone(), MediaRanges::default()),
            nicknames: Nicknames::new(&reserved?, policy.nickname_quarantine),
            policy,
            participants: Slab::new(),
            names: HashMap::new(),
            legs: Vec::new(),
            media: MediaTypes::default(),
            recent: Recent::new(seed),
            counts: Counts::default(),
            round: None,
            waits: false,
        })
    }

    /// Replaces the policy.
    pub(super) fn set_policy(&mut self, policy: RoomConfig) -> Result<(), RoomError> {
        self.identity = Identity::new(&policy.uris)?;
        self.allows = Accepts::new(policy.wrapped_types.clone(), MediaRanges::default());
        self.policy = policy;
        Ok(())
    }

    /// What the room itself writes as its URI.
    pub(super) fn uri(&self) -> &str {
        self.policy.uris.first().map_or("", String::as_str)
    }

    /// Lets a session in, which will be `leg`; its participant, by place, and its number among
    /// those whose Message-IDs are remembered.
    pub(super) fn join(
        &mut self,
        config: &LegConfig,
        identity: &Identity,
        pseudonym: Option<&Pseudonym>,
        leg: u32,
    ) -> Result<(u32, u32), JoinError> {
        if !config.accept_types.admits("message/cpim") {
            return Err(JoinError::NoCpim);
        }
        if config.anonymous && pseudonym.is_none() {
            return Err(JoinError::Name);
        }
        let known = identity.uris().iter().find_map(|uri| self.names.get(uri));
        let known = known.map(|name| name.participant);
        if known.is_some() && !self.policy.simultaneous_access {
            return Err(JoinError::Simultaneous);
        }
        let names = names(identity, pseudonym);
        let foreign = |uri: &Aor| {
            self.identity.uris().contains(uri)
                || self.names.get(uri).is_some_and(|name| Some(name.participant) != known)
        };
        if names.clone().any(foreign) {
            return Err(JoinError::Name);
        }
        let participant = known.unwrap_or_else(|| {
            let uri = config.uris.first().map(|uri| uri.as_str().into()).unwrap_or_default();
            let place = self.participants.insert(Participant { uri, legs: Vec::new() });
            u32::try_from(place).unwrap_or(u32::MAX)
        });
        for name in names {
            self.names.entry(name.clone()).or_insert(Name { participant, legs: 0 }).legs += 1;
        }
        if let Some(found) = self.participants.get_mut(participant as usize) {
            found.legs.push(leg);
        }
        self.legs.push(leg);
        Ok((participant, self.recent.join()))
    }

    /// A participant goes by another pseudonym.
    pub(super) fn rename(
        &mut self,
        participant: u32,
        before: Option<&Pseudonym>,
        pseudonym: &Pseudonym,
    ) -> Result<(), JoinError> {
        let foreign = |uri: &Aor| {
            self.identity.uris().contains(uri)
                || self.names.get(uri).is_some_and(|name| name.participant != participant)
        };
        if pseudonym.identity.uris().iter().any(foreign) {
            return Err(JoinError::Name);
        }
        for name in before.into_iter().flat_map(|own| own.identity.uris()) {
            self.forget(name);
        }
        for name in pseudonym.identity.uris() {
            self.names.entry(name.clone()).or_insert(Name { participant, legs: 0 }).legs += 1;
        }
        Ok(())
    }

    /// One leg less is known by a name.
    fn forget(&mut self, name: &Aor) {
        if let Some(found) = self.names.get_mut(name) {
            found.legs -= 1;
            if found.legs == 0 {
                self.names.remove(name);
            }
        }
    }

    /// A session is gone.
    pub(super) fn leave(&mut self, now: Instant, place: u32, leg: Leg) {
        for name in names(&leg.identity, leg.pseudonym.as_deref()) {
            self.forget(name);
        }
        if let Some(nickname) = &leg.nickname {
            self.nicknames.release(now, nickname);
        }
        self.recent.leave(leg.number);
        self.legs.retain(|other| *other != place);
        if let Some(found) = self.participants.get_mut(leg.participant as usize) {
            found.legs.retain(|other| *other != place);
            if found.legs.is_empty() {
                self.participants.remove(leg.participant as usize);
            }
        }
    }

    /// The URI of a participant, as others are told it.
    pub(super) fn uri_of(&self, participant: u32) -> &str {
        self.participants.get(participant as usize).map_or("", |found| &found.uri)
    }

    /// Checks who a message of `sender` is for (RFC 7701 §6.1, §6.2): the number of its type, and
    /// the participant it is for, by place, when it is private.
    pub(super) fn route(
        &mut self,
        legs: &Slab<Leg>,
        sender: u32,
        address: &Address<'_>,
    ) -> Result<(Option<MediaNumber>, Option<u32>), Refusal> {
        let number = address.media_type.and_then(|media_type| self.media.number(media_type));
        if !address.media_type.is_none_or(|media_type| self.allows.takes(number, media_type)) {
            return Err(Refusal::Type);
        }
        let private = match address.to_count {
            0 => return Err(Refusal::NoSuchRecipient),
            1 => !self.identity.is(address.to),
            _ => return Err(Refusal::SeveralTo),
        };
        let allowed = legs.get(sender as usize).is_some_and(|leg| leg.private_messages);
        let to = private.then(|| self.recipient(legs, address, allowed)).transpose()?;
        Ok((number, to))
    }

    /// Fills `targets` with those who get a message: participant `to` of them, or all.
    pub(super) fn targets(
        &self,
        legs: &mut Slab<Leg>,
        sender: u32,
        address: &Address<'_>,
        (number, to): (Option<MediaNumber>, Option<u32>),
        targets: &mut Vec<Target>,
    ) {
        targets.clear();
        let own = legs.get(sender as usize).map(|leg| leg.participant);
        let all = match to {
            Some(to) => self.participants.get(to as usize).map(|found| &found.legs),
            None => Some(&self.legs),
        };
        for place in all.into_iter().flatten() {
            let Some(leg) = legs.get_mut(*place as usize) else { continue };
            let takes_private = to.is_none() || address.is_imdn || leg.takes_private_messages();
            let takes_type =
                address.media_type.is_none_or(|media_type| leg.accepts.takes(number, media_type));
            let hears = self.hears((*place, leg.participant), (sender, own));
            if hears && takes_private && takes_type {
                targets.push(Target { leg: *place, session: leg.session });
            }
        }
    }

    /// Whether a leg hears what another one says; each with its participant.
    #[inline]
    pub(super) fn hears(
        &self,
        (leg, participant): (u32, u32),
        (sender, own): (u32, Option<u32>),
    ) -> bool {
        leg != sender && (self.policy.own_sessions || Some(participant) != own)
    }

    /// Whom a private message is for, by place; `allowed`: its sender may send such.
    ///
    /// A disposition notification is no private message: it goes to the sender of the message it is
    /// about, whatever the policy and the client say of private messages.
    fn recipient(
        &self,
        legs: &Slab<Leg>,
        address: &Address<'_>,
        allowed: bool,
    ) -> Result<u32, Refusal> {
        let may_be_sent = address.is_imdn || self.policy.private_messages && allowed;
        if !may_be_sent {
            return Err(Refusal::PrivateMessagesOff);
        }
        let name = aor(address.to).ok_or(Refusal::NoSuchRecipient)?;
        let place = self.names.get(&name).ok_or(Refusal::NoSuchRecipient)?.participant;
        let found = self.participants.get(place as usize);
        let all = found.map(|found| &*found.legs).unwrap_or_default();
        let known_by = |leg: &Leg| {
            let by_pseudonym =
                leg.pseudonym.as_ref().is_some_and(|own| own.identity.uris().contains(&name));
            by_pseudonym || !leg.anonymous
        };
        let mut named = all.iter().filter_map(|place| legs.get(*place as usize));
        if !named.clone().any(known_by) {
            // Whoever is anonymous is not there under the own URI.
            return Err(Refusal::NoSuchRecipient);
        }
        if !address.is_imdn && !named.any(Leg::takes_private_messages) {
            return Err(Refusal::PrivateMessagesUnsupported);
        }
        Ok(place)
    }
}

fn names<'a>(
    identity: &'a Identity,
    pseudonym: Option<&'a Pseudonym>,
) -> impl Iterator<Item = &'a Aor> + Clone {
    let pseudonym = pseudonym.into_iter().flat_map(|own| own.identity.uris());
    identity.uris().iter().chain(pseudonym)
}
