//! Session descriptions (RFC 4566, RFC 8866) and what an offer and an answer say (RFC 3264).
//!
//! The grammar is that of the `sdp-types` crate; this module adds the limits, the attributes of
//! MSRP (RFC 4975 §8, RFC 5547, RFC 6135, RFC 6714, RFC 7701, RFC 8122) and the comparison of an
//! answer with its offer.
//!
//! Taken: bare LF, a missing last line end, `s=` or `t=` missing, lines of an unknown letter (they
//! are dropped), host names where an address stands. Refused: a line without `=`, a missing `o=`,
//! a number beyond its size. A description that is only passed on is passed on in its octets and
//! never printed from here.

mod answer;
mod chatroom;
mod edit;
mod file_date;
mod file_range;
mod file_selector;
mod file_transfer;
mod fingerprint;
mod media_ranges;
mod message;

use std::fmt;
use std::net::Ipv6Addr;

pub use self::answer::{AnswerError, Revision};
pub use self::chatroom::Chatroom;
pub use self::edit::MediaEdit;
pub use self::file_date::{FileDate, FileDateError};
pub use self::file_range::{FileRange, FileRangeError};
pub use self::file_selector::{FileSelector, FileSelectorError};
pub use self::file_transfer::FileTransfer;
pub use self::fingerprint::{Fingerprint, FingerprintError, HashFunction};
pub use self::media_ranges::{MediaRanges, MediaRangesError};
pub use self::message::{MediaError, MessageMedia, MsrpProto};

/// Longest description that is read. Local limit: one with every attribute known here is 1 KiB.
pub const SDP_BYTES_MAX: usize = 16 * 1024;

/// Most media lines that are read. Local limit: a session of ours has one or two.
pub const MEDIA_LINES_MAX: usize = 32;

/// A session description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp {
    session: sdp_types::Session,
}

/// Why a session description was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`SDP_BYTES_MAX`].
    #[error("session description is too long")]
    TooLong,
    /// More than [`MEDIA_LINES_MAX`] media lines.
    #[error("session description has too many media lines")]
    TooManyMedia,
    /// There is no `o=` line before the media lines (RFC 4566 §5.2).
    #[error("session description has no origin")]
    NoOrigin,
    /// The description is not one.
    #[error("session description: {0}")]
    Syntax(#[from] sdp_types::ParserError),
}

/// The `o=` line: which session, and which version of its description (RFC 4566 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The user; `-` when the host has no users.
    pub username: &'a str,
    /// The session, unique with the other fields but the version.
    pub session_id: &'a str,
    /// The version; grows by one with each change (RFC 3264 §8).
    pub version: u64,
    /// The host that made the description, a name or an address.
    pub address: &'a str,
}

/// Which way media flows, as seen by who wrote the description (RFC 4566 §6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// `sendrecv`, also when nothing is written.
    #[default]
    SendRecv,
    /// `sendonly`.
    SendOnly,
    /// `recvonly`.
    RecvOnly,
    /// `inactive`.
    Inactive,
}

/// Who opens the connection (RFC 4145 §4, `setup`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The writer opens it.
    Active,
    /// The writer waits for it.
    Passive,
    /// The answerer chooses. Only in an offer.
    ActPass,
    /// Nobody opens it yet.
    HoldConn,
}

/// One media line with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct MediaLine<'a> {
    session: &'a sdp_types::Session,
    media: &'a sdp_types::Media,
}

impl Sdp {
    /// Reads a description.
    pub fn parse(octets: &[u8]) -> Result<Self, SdpError> {
        if octets.len() > SDP_BYTES_MAX {
            return Err(SdpError::TooLong);
        }
        let lines = || octets.split(|octet| *octet == b'\n');
        let media_lines = lines().filter(|line| line.starts_with(b"m=")).count();
        if media_lines > MEDIA_LINES_MAX {
            return Err(SdpError::TooManyMedia);
        }
        let session = sdp_types::Session::parse(octets)?;
        // sdp-types puts a placeholder where there is none, and a later offer would look like
        // another version of it.
        let mut head = lines().take_while(|line| !line.starts_with(b"m="));
        if !head.any(|line| line.starts_with(b"o=")) {
            return Err(SdpError::NoOrigin);
        }
        Ok(Self { session })
    }

    /// A description without media; `o=` and `c=` are of `host`, an address (IPv6 without brackets)
    /// or a name; the session has no name and no end.
    ///
    /// A `username` or `host` that is empty or has a blank cannot be written; the user becomes
    /// `-`, the host the address that no host has.
    pub fn new(username: &str, session_id: u64, version: u64, host: &str) -> Self {
        let writes = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
        let host = if writes(host) { host } else { "0.0.0.0" };
        let (net, kind) = (sdp_types::NetType::In, address_type(host));
        let mut origin = sdp_types::Origin::new(session_id, version, net, kind, host);
        if writes(username) && username != "-" {
            origin.set_username(username);
        }
        let mut session = sdp_types::Session::new(origin, "-");
        session.set_connection(connection(host));
        session.add_time(sdp_types::Time::new(0, 0));
        Self { session }
    }

    /// Adds a media line behind the others.
    pub fn push_message(&mut self, media: &MessageMedia) {
        self.session.add_media(media.to_media());
    }

    /// Adds the refusal of an offered line: port 0 (RFC 3264 §6), with what is repeated of its file
    /// (RFC 5547 §8.3).
    pub fn push_refused(&mut self, offered: &MediaLine<'_>) {
        let mut media = sdp_types::Media::new(
            sdp_types::MediaType::Message,
            0,
            sdp_types::TransportProto::Other(offered.media.proto.clone()),
            &offered.media.fmt,
        );
        media.media.clone_from(&offered.media.media);
        file_transfer::mirror(offered, &mut media);
        self.session.add_media(media);
    }

    /// The media line at `index`, from 0, to be changed; what is not changed stays as it is.
    pub fn edit(&mut self, index: usize) -> Option<MediaEdit<'_>> {
        self.session.medias.get_mut(index).map(MediaEdit::new)
    }

    /// The value of a session-level attribute, the first of its name; empty for one without value.
    pub fn session_attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.session.attributes.iter();
        let found = attributes.find(|one| one.attribute == name)?;
        Some(found.value.as_deref().unwrap_or_default())
    }

    /// Adds a session-level attribute behind the others, in the place of those of its name; without
    /// a value these only go.
    pub fn set_session_attribute(&mut self, name: &str, value: Option<&str>) {
        let attributes = &mut self.session.attributes;
        attributes.retain(|one| one.attribute != name);
        if let Some(value) = value {
            let (attribute, value) = (name.to_owned(), Some(value.to_owned()));
            attributes.push(sdp_types::Attribute { attribute, value });
        }
    }

    /// This description as the next one after `previous` of the same session: it takes over the
    /// `o=` line, with the next version unless nothing else differs (RFC 3264 §8, RFC 4975 §8.4).
    pub fn following(mut self, previous: &Self) -> Self {
        self.session.origin.clone_from(&previous.session.origin);
        if self != *previous {
            let version = &mut self.session.origin.sess_version;
            *version = version.saturating_add(1);
        }
        self
    }

    /// The `o=` line.
    pub fn origin(&self) -> Origin<'_> {
        let origin = &self.session.origin;
        Origin {
            username: origin.username.as_deref().unwrap_or("-"),
            session_id: &origin.sess_id,
            version: origin.sess_version,
            address: &origin.unicast_address,
        }
    }

    /// The media lines, in order; their number and order never change in a session (RFC 3264 §8).
    pub fn media(&self) -> impl ExactSizeIterator<Item = MediaLine<'_>> {
        self.session.medias.iter().map(|media| MediaLine { session: &self.session, media })
    }

    /// The first media line that carries MSRP and was not refused, with its position from 0.
    pub fn first_message(&self) -> Option<(usize, Result<MessageMedia, MediaError>)> {
        let mut lines = self.media().enumerate();
        lines.find_map(|(index, line)| {
            (!line.is_refused()).then(|| line.message()).flatten().map(|read| (index, read))
        })
    }
}

impl fmt::Display for Sdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}

impl<'a> MediaLine<'a> {
    /// The kind of media: `message`, `audio`.
    pub fn kind(&self) -> &'a str {
        &self.media.media
    }

    /// The port; 0 when the line is refused or ended (RFC 3264 §6, §8.2).
    pub fn port(&self) -> u16 {
        self.media.port
    }

    /// Whether the line is refused or ended.
    pub fn is_refused(&self) -> bool {
        self.media.port == 0
    }

    /// The transport protocol as written.
    pub fn proto(&self) -> &'a str {
        &self.media.proto
    }

    /// The host of the connection, a name or an address: of the line, else of the session.
    pub fn connection(&self) -> Option<&'a str> {
        let own = self.media.connections.first();
        let found = own.or(self.session.connection.as_ref())?;
        Some(&found.connection_address)
    }

    /// Which way media flows: of the line, else of the session, else [`Direction::SendRecv`].
    pub fn direction(&self) -> Direction {
        let of = |attributes: &[sdp_types::Attribute]| {
            attributes.iter().find_map(|attribute| Direction::from_name(&attribute.attribute))
        };
        of(&self.media.attributes).or_else(|| of(&self.session.attributes)).unwrap_or_default()
    }

    /// Who opens the connection: of the line, else of the session; `None` when neither says.
    pub fn setup(&self) -> Result<Option<Setup>, MediaError> {
        let session = || self.session.get_first_attribute_value("setup");
        match self.media.get_first_attribute_value("setup").or_else(session) {
            None => Ok(None),
            Some(value) => value
                .and_then(|value| Setup::from_name(value.trim()))
                .map(Some)
                .ok_or(MediaError::Setup),
        }
    }

    /// The certificates that may be presented: of the line, else of the session (RFC 8122 §5).
    pub fn fingerprints(&self) -> Result<Vec<Fingerprint>, MediaError> {
        let of = |attributes: &[sdp_types::Attribute]| {
            let fingerprints = attributes.iter().filter(|one| one.attribute == "fingerprint");
            fingerprints
                .map(|one| one.value.as_deref().unwrap_or_default().parse())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| MediaError::Fingerprint)
        };
        let own = of(&self.media.attributes)?;
        if own.is_empty() { of(&self.session.attributes) } else { Ok(own) }
    }

    /// The value of the first attribute `a=name:value` of the line; empty for `a=name`.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        let mut attributes = self.media.attributes.iter();
        let found = attributes.find(|attribute| attribute.attribute == name)?;
        Some(found.value.as_deref().unwrap_or_default())
    }

    /// The line as one that carries MSRP; `None` when it carries something else.
    pub fn message(&self) -> Option<Result<MessageMedia, MediaError>> {
        MessageMedia::read(self)
    }
}

/// `IP6` for an IPv6 address, `IP4` for one of IPv4 and for names.
fn address_type(host: &str) -> sdp_types::AddrType {
    if host.parse::<Ipv6Addr>().is_ok() {
        sdp_types::AddrType::Ip6
    } else {
        sdp_types::AddrType::Ip4
    }
}

fn connection(host: &str) -> sdp_types::Connection {
    sdp_types::Connection::new(sdp_types::NetType::In, address_type(host), host)
}

impl Direction {
    const NAMES: [(&'static str, Self); 4] = [
        ("sendrecv", Self::SendRecv),
        ("sendonly", Self::SendOnly),
        ("recvonly", Self::RecvOnly),
        ("inactive", Self::Inactive),
    ];

    fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(text, _)| *text == name).map(|(_, direction)| *direction)
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The same flow as seen from the other side.
    pub fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            Self::SendRecv | Self::Inactive => self,
        }
    }

    /// Whether the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// Whether `answer` may answer this offer (RFC 3264 §6.1).
    pub fn permits(self, answer: Self) -> bool {
        (!answer.sends() || self.receives()) && (!answer.receives() || self.sends())
    }
}

impl Setup {
    const NAMES: [(&'static str, Self); 4] = [
        ("active", Self::Active),
        ("passive", Self::Passive),
        ("actpass", Self::ActPass),
        ("holdconn", Self::HoldConn),
    ];

    fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(text, _)| *text == name).map(|(_, setup)| *setup)
    }

    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }

    /// Whether `answer` may answer this offer (RFC 4145 §4.1).
    pub fn permits(self, answer: Self) -> bool {
        match (self, answer) {
            (_, Self::ActPass) => false,
            (_, Self::HoldConn) => true,
            (Self::Active, Self::Passive)
            | (Self::Passive, Self::Active)
            | (Self::ActPass, Self::Active | Self::Passive) => true,
            (Self::Active, Self::Active)
            | (Self::Passive, Self::Passive)
            | (Self::HoldConn, Self::Active | Self::Passive) => false,
        }
    }
}

#[cfg(test)]
mod tests;
