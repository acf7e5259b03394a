//! Conference state, `application/conference-info+xml` (RFC 4575): who is in a session.
//!
//! The model is plain: a [`Conference`] has a [`Description`], a [`ConferenceState`] and
//! [`User`]s with [`Endpoint`]s. A focus renders a whole conference or a set of changes once
//! ([`Elements`]) and stamps it with the version of each subscription. A subscriber reads a
//! [`Document`] and adds it to what it knows ([`ConferenceInfo`], §4.6).
//!
//! Left out, not written and passed over when read: `host-info`, `associated-aors`, `languages`,
//! `cascaded-focus`, `call-info` and sidebars. Most would tell more about a participant than the
//! others need, and this service has none of the rest.

mod read;
mod table;
mod write;

pub use self::read::{ConferenceInfoError, Document, EndpointRow, UserRow, Users};
pub use self::table::{Applied, ConferenceInfo};
pub use self::write::{Elements, UserChange, deleted};
use crate::xml::Namespace;

/// The media type (RFC 4575 §8.2).
pub const MEDIA_TYPE: &str = "application/conference-info+xml";

/// The namespace of the elements (RFC 4575 §4.2).
const NAMESPACE: Namespace = Namespace("urn:ietf:params:xml:ns:conference-info");

/// The namespace of `nickname` (RFC 7701 §11).
const XCON: &str = "urn:ietf:params:xml:ns:xcon-conference-info";

/// How much an element tells: its `state` (RFC 4575 §4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// Everything; an element without `state` is full.
    #[default]
    Full,
    /// What changed.
    Partial,
    /// That what it names is gone.
    Deleted,
}

/// A conference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conference {
    /// What it is (§5.3).
    pub description: Description,
    /// How it goes (§5.5).
    pub state: ConferenceState,
    /// Who is in it (§5.6).
    pub users: Vec<User>,
}

/// `conference-description` (RFC 4575 §5.3); always told as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// What a directory would show.
    pub display_text: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// More about it.
    pub free_text: Option<String>,
    /// Words to find it by, separated by blanks.
    pub keywords: Option<String>,
    /// The URIs to join it at (§5.3.1).
    pub conf_uris: Vec<ServiceUri>,
    /// What else there is (§5.3.2).
    pub service_uris: Vec<ServiceUri>,
    /// How many users may be in it (§5.3.3).
    pub maximum_user_count: Option<u32>,
    /// The media streams it has (§5.3.4).
    pub available_media: Vec<Medium>,
}

/// A URI of a conference and what it is for (RFC 4575 §5.3.1, §5.3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceUri {
    /// The URI.
    pub uri: String,
    /// What users call it.
    pub display_text: Option<String>,
    /// `participation`, `streaming`, `web-page`, `recording`, `event` or an extension.
    pub purpose: Option<String>,
}

/// A media stream of a conference (RFC 4575 §5.3.4) or of an endpoint (§5.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Medium {
    /// Names it: `label` of a stream of the conference, `id` of one of an endpoint.
    pub id: String,
    /// What users call it.
    pub display_text: Option<String>,
    /// The media type of SDP, `message` for MSRP.
    pub kind: Option<String>,
    /// `sendrecv`, `sendonly`, `recvonly` or `inactive`, as the participant sees it.
    pub status: Option<String>,
}

/// `conference-state` (RFC 4575 §5.5); always told as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConferenceState {
    /// How many users are in it, also those that are not told about.
    pub user_count: Option<u32>,
    /// Whether calling it now leads into it.
    pub active: Option<bool>,
    /// Whether nobody may be added.
    pub locked: Option<bool>,
}

/// A participant (RFC 4575 §5.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// His identity, or a pseudonym below `.invalid`; keys are compared octet by octet (§4.5).
    pub entity: String,
    /// The nickname he chose in the room (RFC 7701 §11).
    pub nickname: Option<String>,
    /// What users call him.
    pub display_text: Option<String>,
    /// What he is in the conference, for people to read (§5.6.3).
    pub roles: Vec<String>,
    /// The devices he is in it with.
    pub endpoints: Vec<Endpoint>,
}

/// A device of a participant (RFC 4575 §5.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The only one of its user, such as the Contact URI; of a user who asked for privacy, his
    /// pseudonym.
    pub entity: String,
    /// What users call it.
    pub display_text: Option<String>,
    /// Who had it brought in, and when (§5.7.2).
    pub referred: Option<Execution>,
    /// What state it is in.
    pub status: Option<Status>,
    /// How it came.
    pub joining_method: Option<JoiningMethod>,
    /// When and why it came, and whose doing that was (§5.7.5).
    pub joining_info: Option<Execution>,
    /// How it went.
    pub disconnection_method: Option<DisconnectionMethod>,
    /// When and why it went, and whose doing that was (§5.7.7).
    pub disconnection_info: Option<Execution>,
    /// Its media streams (§5.8).
    pub media: Vec<Medium>,
}

/// When and why something was done, and by whom (RFC 4575 §5.7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Execution {
    /// An XML `dateTime`, should be UTC.
    pub when: Option<String>,
    /// Should be a `Reason` header field (RFC 3326).
    pub reason: Option<String>,
    /// The URI of who did it.
    pub by: Option<String>,
}

/// The state of an endpoint (RFC 4575 §5.7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not there yet, but awaited.
    Pending,
    /// The focus calls it.
    DialingOut,
    /// It calls the focus.
    DialingIn,
    /// It rings.
    Alerting,
    /// It has a dialog, but nothing is sent to it or taken from it.
    OnHold,
    /// It takes part.
    Connected,
    /// It receives, and what it sends goes nowhere.
    MutedViaFocus,
    /// It is being removed.
    Disconnecting,
    /// It has no dialog any more.
    Disconnected,
}

/// How an endpoint came into a conference (RFC 4575 §5.7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoiningMethod {
    /// It called the focus.
    DialedIn,
    /// The focus called it.
    DialedOut,
    /// It is the focus.
    FocusOwner,
}

/// How an endpoint left a conference (RFC 4575 §5.7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectionMethod {
    /// It sent a BYE.
    Departed,
    /// The focus sent it one, or did not let it in.
    Booted,
    /// It could not be brought in.
    Failed,
    /// It answered 486.
    Busy,
}

impl Extent {
    const ALL: [(Self, &str); 3] =
        [(Self::Full, "full"), (Self::Partial, "partial"), (Self::Deleted, "deleted")];
}

impl Status {
    const ALL: [(Self, &str); 9] = [
        (Self::Pending, "pending"),
        (Self::DialingOut, "dialing-out"),
        (Self::DialingIn, "dialing-in"),
        (Self::Alerting, "alerting"),
        (Self::OnHold, "on-hold"),
        (Self::Connected, "connected"),
        (Self::MutedViaFocus, "muted-via-focus"),
        (Self::Disconnecting, "disconnecting"),
        (Self::Disconnected, "disconnected"),
    ];
}

impl JoiningMethod {
    const ALL: [(Self, &str); 3] = [
        (Self::DialedIn, "dialed-in"),
        (Self::DialedOut, "dialed-out"),
        (Self::FocusOwner, "focus-owner"),
    ];
}

impl DisconnectionMethod {
    const ALL: [(Self, &str); 4] = [
        (Self::Departed, "departed"),
        (Self::Booted, "booted"),
        (Self::Failed, "failed"),
        (Self::Busy, "busy"),
    ];
}

/// What is written for `value`.
fn token<T: Copy + PartialEq>(all: &[(T, &'static str)], value: T) -> &'static str {
    let row = all.iter().find(|(known, _)| *known == value);
    row.expect("a table has a row for each value").1
}

#[cfg(test)]
mod tests;
