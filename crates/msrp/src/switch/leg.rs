//! One session of a participant, as the room sees it.

use std::time::Instant;

use parlance_sip::sdp::Chatroom;

use super::hold::Hold;
use super::identity::{Identity, IdentityError};
use super::media::Accepts;
use super::message::Message;
use super::nickname::Nickname;
use super::queue::Queue;
use super::refusal::Refusal;
use super::{Counts, LegConfig};
use crate::session::SessionKey;

/// One session of a participant.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) session: SessionKey,
    /// Its room, by place.
    pub(super) room: u32,
    /// Its participant, by place in the room.
    pub(super) participant: u32,
    /// Its number among those whose Message-IDs the room remembers.
    pub(super) number: u32,
    pub(super) identity: Identity,
    pub(super) pseudonym: Option<Box<Pseudonym>>,
    /// Whether others know the pseudonym only.
    pub(super) anonymous: bool,
    pub(super) chatroom: Option<Chatroom>,
    /// Whether private messages may be sent.
    pub(super) private_messages: bool,
    pub(super) accepts: Accepts,
    pub(super) nickname: Option<Nickname>,
    /// Messages that have begun and not ended.
    pub(super) open: Vec<Message>,
    /// The number of the one whose chunk is being received.
    pub(super) running: Option<u32>,
    /// The message that was refused last: what of it is still on its way gets the same answer.
    pub(super) refused: Option<(Box<[u8]>, Refusal)>,
    pub(super) queue: Queue,
    /// What is kept while it is held.
    pub(super) hold: Option<Box<Hold>>,
    pub(super) counts: Counts,
    /// Whether what it sends and gets is given out as [`Event::Passed`](super::Event::Passed).
    pub(super) copies: bool,
    /// When its timer is called next.
    pub(super) armed: Option<Instant>,
}

/// The one name of somebody whose URI is not told.
#[derive(Debug)]
pub(super) struct Pseudonym {
    /// As it is written in messages.
    pub(super) uri: Box<str>,
    pub(super) identity: Identity,
}

impl Pseudonym {
    pub(super) fn new(uri: &str) -> Result<Self, IdentityError> {
        let identity = Identity::new(&[uri.to_owned()])?;
        Ok(Self { uri: uri.into(), identity })
    }
}

impl Leg {
    pub(super) fn new(
        config: &LegConfig,
        session: SessionKey,
        (room, (participant, number)): (u32, (u32, u32)),
        identity: Identity,
        pseudonym: Option<Pseudonym>,
    ) -> Self {
        Self {
            session,
            room,
            participant,
            number,
            identity,
            pseudonym: pseudonym.map(Box::new),
            anonymous: config.anonymous,
            chatroom: config.chatroom.clone(),
            private_messages: config.private_messages,
            accepts: Accepts::new(config.accept_types.clone(), config.accept_wrapped_types.clone()),
            nickname: None,
            open: Vec::new(),
            running: None,
            refused: None,
            queue: Queue::default(),
            hold: None,
            counts: Counts::default(),
            copies: false,
            armed: None,
        }
    }

    /// Whether `uri`, the `From` of a message, is this participant (RFC 7701 §6.1).
    pub(super) fn is_called(&mut self, uri: &[u8]) -> bool {
        let pseudonym = |leg: &mut Self| leg.pseudonym.as_mut().map(|own| own.identity.is(uri));
        self.identity.is(uri) || pseudonym(self) == Some(true)
    }

    /// The URI that others know the participant by.
    pub(super) fn shown_uri<'a>(&'a self, participant: &'a str) -> &'a str {
        match &self.pseudonym {
            Some(pseudonym) if self.anonymous => &pseudonym.uri,
            Some(_) | None => participant,
        }
    }

    /// Whether the client can tell a private message from one to all (RFC 7701 §8).
    pub(super) fn takes_private_messages(&self) -> bool {
        self.chatroom.as_ref().is_some_and(|chatroom| chatroom.private_messages)
    }

    /// The message that its sender calls `id`.
    pub(super) fn open_at(&self, id: &[u8]) -> Option<usize> {
        self.open.iter().position(|message| *message.id == *id)
    }

    /// The message with this number.
    pub(super) fn numbered(&self, number: u32) -> Option<usize> {
        self.open.iter().position(|message| message.number == number)
    }
}
