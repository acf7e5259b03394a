//! What an operator sets for a switch, a focus for a room, and SDP for a participant.

use std::time::Duration;

use parlance_sip::sdp::{Chatroom, MediaRanges};

use crate::header::FailureReport;

/// How a switch treats all its rooms.
#[derive(Clone, Debug)]
pub struct SwitchConfig {
    /// What is asked of the recipients of copies; partial. With yes every copy is answered, and
    /// one that is not within 30 s counts as dropped.
    pub failure_report: FailureReport,
    /// Octets that may wait to be written for one participant; 8 MiB. A message that would be more
    /// is dropped for that participant.
    pub queue_octets_max: usize,
    /// Messages dropped one after the other for one participant after which the participant is
    /// taken out; 32.
    pub drops_max: u32,
    /// How long a message may wait for its next chunk; 540 s (RFC 7701 §6.1).
    pub chunk_timeout: Duration,
    /// Messages that one participant may have begun and not ended; 16. One more is answered 413.
    pub open_messages_max: usize,
    /// Participants of one room, each session counted; 1000.
    pub legs_max: usize,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        Self {
            failure_report: FailureReport::Partial,
            queue_octets_max: 8 * 1024 * 1024,
            drops_max: 32,
            chunk_timeout: Duration::from_secs(540),
            open_messages_max: 16,
            legs_max: 1000,
        }
    }
}

/// The policy of one room (RFC 7701 §4.1).
#[derive(Clone, Debug)]
pub struct RoomConfig {
    /// The URIs of the room, 1 to 8: the group identity or the session identity. The first is what
    /// the room itself writes.
    pub uris: Vec<String>,
    /// Whether private messages are allowed; yes.
    pub private_messages: bool,
    /// Whether nicknames are allowed; yes.
    pub nicknames: bool,
    /// What nobody may be called.
    pub reserved_nicknames: Vec<String>,
    /// How long a nickname that was given up is kept for who had it; 0.
    pub nickname_quarantine: Duration,
    /// The content that may be sent; `*`.
    pub wrapped_types: MediaRanges,
    /// Octets of a message; `None` is no limit. More are answered 413.
    pub message_octets_max: Option<u64>,
    /// Whether a message that is not wrapped is wrapped by the switch, as one to the room; no.
    pub wraps: bool,
    /// Whether one participant URI may have several sessions; yes.
    pub simultaneous_access: bool,
    /// Whether messages are copied to other sessions of the URI that sent them; no.
    pub own_sessions: bool,
    /// Whether a participant whose SDP has no `chatroom` is told what this is (RFC 7701 §8); yes.
    /// Not for one-to-one sessions.
    pub welcome: bool,
    /// Whether a session without a connection, lost or not made, stays in the room for the focus to
    /// have it connected again or taken out; no.
    ///
    /// Deviation: RFC 4975 §5.4 wants a new SDP exchange for a session whose connection has failed.
    /// A peer that connects again with the paths that were agreed is let in as well: nobody but
    /// that peer knows both (§14.1).
    pub keeps_lost: bool,
}

impl RoomConfig {
    /// A room of `uris` with the policy that each field names as its default.
    pub fn new(uris: Vec<String>) -> Self {
        Self {
            uris,
            private_messages: true,
            nicknames: true,
            reserved_nicknames: Vec::new(),
            nickname_quarantine: Duration::ZERO,
            wrapped_types: anything(),
            message_octets_max: None,
            wraps: false,
            simultaneous_access: true,
            own_sessions: false,
            welcome: true,
            keeps_lost: false,
        }
    }
}

/// One session of a participant, as the focus and the SDP of the participant tell it.
#[derive(Clone, Debug)]
pub struct LegConfig {
    /// The URIs of the participant, 1 to 8: the SIP, tel or IM URIs by which others know it, the
    /// first the one that is told them.
    pub uris: Vec<String>,
    /// The anonymous URI or pseudonym; it names nobody else in the room.
    pub pseudonym: Option<String>,
    /// Whether others may know the pseudonym only (RFC 7701 §5.2). Needs one.
    pub anonymous: bool,
    /// `a=chatroom` of the participant (RFC 7701 §8).
    pub chatroom: Option<Chatroom>,
    /// Whether the participant may send private messages, where the room allows them; yes.
    pub private_messages: bool,
    /// `a=accept-types`; has `message/cpim` (RFC 7701 §5.2).
    pub accept_types: MediaRanges,
    /// `a=accept-wrapped-types`.
    pub accept_wrapped_types: MediaRanges,
}

impl LegConfig {
    /// A participant of one URI whose client does all of RFC 7701 and takes any content.
    pub fn new(uri: &str) -> Self {
        let chatroom = Chatroom { nickname: true, private_messages: true, others: Vec::new() };
        Self {
            uris: vec![uri.to_owned()],
            pseudonym: None,
            anonymous: false,
            chatroom: Some(chatroom),
            private_messages: true,
            accept_types: anything(),
            accept_wrapped_types: anything(),
        }
    }
}

fn anything() -> MediaRanges {
    "*".parse().expect("a wildcard is a media range")
}
