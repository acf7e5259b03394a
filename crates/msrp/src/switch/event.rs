//! What a switch tells the focus.

use bytes::Bytes;

use super::{Nickname, RoomId};
use crate::Continuation;
use crate::node::Lost;
use crate::session::SessionKey;

/// Something in a room that the focus has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A participant has another nickname, or none (RFC 7701 §7): it goes into the conference
    /// information.
    Nickname {
        /// Which room.
        room: RoomId,
        /// Which session.
        leg: SessionKey,
        /// What it is called now.
        nickname: Option<Nickname>,
    },
    /// A session has lost its connection, or could not be connected, and stays in the room without
    /// one ([`keeps_lost`](super::RoomConfig::keeps_lost)): it gets nothing until it has another.
    Suspended {
        /// Which room.
        room: RoomId,
        /// Which session.
        leg: SessionKey,
        /// Why.
        why: Lost,
    },
    /// A participant did not take its messages and was taken out of the room; the session has
    /// ended. The focus says BYE with a Reason of 503 (MSRP-070).
    Slow {
        /// Which room.
        room: RoomId,
        /// Which session.
        leg: SessionKey,
    },
    /// A chunk was passed on, and somebody it concerns wants it
    /// ([`Node::copy_leg`](crate::Node::copy_leg)).
    Passed(Box<Passed>),
}

impl Event {
    /// The session it is about.
    pub fn session(&self) -> Option<SessionKey> {
        match self {
            Self::Nickname { leg, .. } | Self::Slow { leg, .. } | Self::Suspended { leg, .. } => {
                Some(*leg)
            }
            Self::Passed(passed) => Some(passed.sender),
        }
    }
}

/// A chunk of a `message/cpim`, as its recipients get it. Not of what only says that somebody is
/// writing, and not of disposition notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The session of who has sent it.
    pub sender: SessionKey,
    /// Whether it is given out for him.
    pub for_sender: bool,
    /// The sessions of the recipients for whom it is given out.
    pub recipients: Vec<SessionKey>,
    /// What the message is called in the room.
    pub message_id: Box<[u8]>,
    /// Where the chunk begins, from 0.
    pub position: u64,
    /// Its octets.
    pub body: Bytes,
    /// How it ends.
    pub end: Continuation,
}

/// What was sent, without what only says that somebody is writing (RFC 3994) and without
/// disposition notifications (RFC 5438): what history and charging count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whole messages.
    pub messages: u64,
    /// Octets of them, the wrapper included.
    pub octets: u64,
}

impl Counts {
    pub(super) fn add(&mut self, octets: u64) {
        self.messages += 1;
        self.octets += octets;
    }
}
