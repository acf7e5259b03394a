//! The session half of the contract of a role: dialogs in which the server is a user agent.
//!
//! | what | where | specification |
//! |---|---|---|
//! | the mailbox of one session | [`Inbox`], [`Address`], [`Event`] | |
//! | an INVITE received | [`Invite`] | RFC 3261 §13.3, §9.2; RFC 3262 §3 |
//! | an INVITE sent | [`Outgoing`], [`Progress`] | RFC 3261 §13.2, §9.1; RFC 3262 §4 |
//! | an established dialog | [`Leg`] | RFC 3261 §12.2, §15 |
//! | a new offer in it | [`Offer`], [`Leg::offer`] | RFC 3261 §14; RFC 3311 |
//! | a subscription to us | [`Watcher`], [`Due`] | RFC 6665 §4.2; RFC 3515; RFC 4488 |
//! | session timers | below all of these | RFC 4028 |
//!
//! A role is one task with one [`Inbox`]; what happens in the dialogs of its session comes there in
//! order. Sequence numbers, route sets, ACK and PRACK, repetitions, glare and timers live below.
//!
//! **Invariants:** only dropping a handle has an effect on the wire, every future may be dropped
//! at any await. No message is lost silently: what a full mailbox cannot take is answered.

mod ack;
mod inbox;
mod invite;
mod leg;
mod limits;
mod live;
mod offer;
mod outgoing;
mod refresh;
mod table;
#[cfg(test)]
mod tests;
mod uas;
mod watcher;
mod wording;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use parlance_content::MediaType;
use parlance_content::multipart::{Limits, Multipart};
use parlance_sip::header::Reason as ReasonHeader;
use parlance_sip::session_timer::Policy;
use parlance_sip::{HeaderName, Message, Method, Request};

pub use inbox::{Address, Inbox};
pub use invite::{Invite, Lost};
pub use leg::Leg;
pub use limits::SessionLimits;
pub use offer::Offer;
pub use outgoing::{Outgoing, Progress};
pub(crate) use table::{Sessions, pass_ack};
pub(crate) use uas::{Offered, Taken};
pub use watcher::{Due, WatchTerms, Watcher};
pub use wording::{session_expires, session_request};

use crate::Incoming;

/// Names a leg on its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub(crate) u64);

/// Names a subscription on its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatcherId(pub(crate) u64);

/// What happens in a session, in order of arrival.
#[derive(Debug)]
pub enum Event {
    /// Given by the role itself: an INVITE to this session.
    Joining(Invite),
    /// Given by the role itself: a request to this session outside any dialog.
    Outside(Incoming),
    /// The peer offers a new session description: re-INVITE, with or without one, or UPDATE.
    Offer(LegId, Offer),
    /// The answer in the ACK to a 2xx of ours that carried the offer.
    Answer(LegId, Bytes),
    /// The ACK to a 2xx of ours came.
    Confirmed(LegId),
    /// Another request in the dialog of a leg: REFER, SUBSCRIBE, INFO, MESSAGE, NOTIFY, OPTIONS.
    Request(LegId, Incoming),
    /// The leg is over; nothing more comes for it. Not for one that the role ended itself.
    Ended(LegId, Ended),
    /// A NOTIFY is due now.
    Notify(WatcherId, Due),
    /// The subscription is over. Not for one that the role ended itself.
    Unwatched(WatcherId),
    /// The server stops: the session ends in good order.
    Draining,
}

/// Why a leg is over.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The peer sent BYE, which was answered with 200; it may have a `Reason`.
    Bye(Request),
    /// No ACK came for a 2xx of ours; BYE was sent (RFC 3261 §13.3.1.4).
    NoAck,
    /// The session was not refreshed in time; BYE was sent (RFC 4028 §10).
    NotRefreshed,
    /// A request of ours was answered 481, or with nothing (408); after the latter BYE was sent
    /// (RFC 3261 §12.2.1.2).
    Gone(u16),
}

/// What our side of a leg says about itself.
#[derive(Clone, Debug)]
pub struct LegTerms {
    /// The whole `Contact` value, with `isfocus` and other feature parameters.
    pub contact: String,
    /// The session timer; RFC 4028 by default.
    pub timer: Policy,
    /// The option tags of `Supported`. Default `100rel`, `timer`, `norefersub`.
    pub supported: &'static [&'static str],
    /// The methods of `Allow`; any other is answered 405. Default: those that belong to a session
    /// itself (INVITE, ACK, CANCEL, BYE, PRACK, UPDATE) and OPTIONS.
    pub allow: &'static [Method<'static>],
    /// Header fields of every request of ours in the dialog, the INVITE apart.
    pub headers: Vec<(HeaderName, String)>,
}

impl LegTerms {
    /// The defaults, with this `Contact`.
    pub fn new(contact: impl Into<String>) -> Self {
        use Method::{Ack, Bye, Cancel, Invite, Options, Prack, Update};
        Self {
            contact: contact.into(),
            timer: Policy::default(),
            supported: &["100rel", "timer", "norefersub"],
            allow: &[Invite, Ack, Cancel, Bye, Prack, Update, Options],
            headers: Vec::new(),
        }
    }
}

/// A body with its type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    content_type: Cow<'static, str>,
    octets: Bytes,
}

impl Body {
    /// A body of this `Content-Type`.
    pub fn new(content_type: impl Into<Cow<'static, str>>, octets: impl Into<Bytes>) -> Self {
        Self { content_type: content_type.into(), octets: octets.into() }
    }

    /// A session description.
    pub fn sdp(octets: impl Into<Bytes>) -> Self {
        Self::new("application/sdp", octets)
    }

    /// No body.
    pub fn none() -> Self {
        Self::default()
    }

    /// The body of a message, with its `Content-Type`.
    pub fn of(message: &Message) -> Self {
        let content_type = message.field(HeaderName::ContentType).unwrap_or_default();
        let content_type = String::from_utf8_lossy(content_type).into_owned();
        Self::new(content_type, Bytes::copy_from_slice(message.body()))
    }

    /// The session description alone, of a body of several parts: what a refresh repeats. A list of
    /// users in it belongs to the first INVITE only (RFC 5366 §3.2).
    pub(crate) fn description(self) -> Self {
        let found = {
            let media = MediaType::parse(&self.content_type).ok().filter(MediaType::is_multipart);
            media.and_then(|media| {
                let body = Multipart::parse(&media, &self.octets, &Limits::default()).ok()?;
                let mut parts = body.into_parts().into_iter();
                parts.find(|part| part.headers.is_type("application/sdp"))
            })
        };
        found.map_or(self, |part| Self::sdp(part.body))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Its `Content-Type`; empty for none.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The octets.
    pub fn octets(&self) -> &Bytes {
        &self.octets
    }
}

/// Why a BYE or CANCEL is sent: the whole `Reason` value (RFC 3326).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// A reason in terms of a SIP status code.
    pub fn sip(cause: u16, text: &str) -> Self {
        let text = text.replace(['"', '\\', '\r', '\n'], "");
        Self(format!("SIP;cause={cause};text=\"{text}\""))
    }

    /// What the peer gave as its reasons, to be passed on.
    pub fn of(message: &Message) -> Option<Self> {
        let given = message.list::<ReasonHeader<'_>>().filter_map(Result::ok);
        let given: Vec<String> = given.map(|reason| reason.to_string()).collect();
        (!given.is_empty()).then(|| Self(given.join(", ")))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
