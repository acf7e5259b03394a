//! What was agreed.

use std::net::IpAddr;

use parlance_sip::sdp::{
    Chatroom, FileTransfer, Fingerprint, MediaLine, MessageMedia, MsrpProto, Sdp,
};

use super::{PORT_DISCARD, Refusal, SameHost, Terms, bare};
use crate::endpoint::Accepts;
use crate::node::Hop;
use crate::session::FromRule;
use crate::uri::{MsrpUri, Scheme};

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This side does, and sends a SEND at once (RFC 4975 §5.4, RFC 6135 §4.2.2).
    Active,
    /// The peer does; nothing is sent in the session before its first request.
    Passive,
}

/// An MSRP session as both sides described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Who opens the connection.
    pub role: Role,
    /// Where this side connects to, when it does.
    pub hop: Option<Hop>,
    /// The own path, outermost relay first.
    pub own_path: Vec<MsrpUri>,
    /// The peer's path: the end of every To-Path, and the From-Path of its requests.
    pub peer_path: Vec<MsrpUri>,
    /// How the From-Path of its requests is compared: with `msrp-cema` something between may have
    /// changed all but the rightmost URI (RFC 6714).
    pub from_rule: FromRule,
    /// What the peer takes.
    pub accepts: Accepts,
    /// Whether messages with content may be sent to the peer; REPORTs and notifications always may.
    pub sends: bool,
    /// Whether messages with content may come.
    pub receives: bool,
    /// What the peer does of chat rooms, by its newest description (RFC 7701 §8).
    pub chatroom: Option<Chatroom>,
    /// The certificates the peer presents.
    pub fingerprints: Vec<Fingerprint>,
    /// The file, as the peer described it.
    pub file: Option<FileTransfer>,
}

/// What `msrp-cema` changes about a session (RFC 6714 §4).
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Whether `c=` and the port are connected to, and not the path.
    pub(super) to_shown: bool,
    pub(super) from_rule: FromRule,
}

impl Way {
    /// Nothing.
    pub(super) const PATH: Self = Self { to_shown: false, from_rule: FromRule::Whole };
    /// Both sides have it.
    pub(super) const SHOWN: Self = Self { to_shown: true, from_rule: FromRule::Rightmost };
}

impl Agreement {
    /// What `media` of the peer, on `line`, comes to.
    pub(super) fn new(
        line: &MediaLine<'_>,
        media: &MessageMedia,
        path: Vec<MsrpUri>,
        role: Role,
        way: Way,
        terms: &Terms,
    ) -> Result<Self, Refusal> {
        let accepts = Accepts {
            types: media.accept_types.clone(),
            wrapped: media.accept_wrapped_types.clone(),
            octets_max: media.max_size,
        };
        let usable = terms.sends.iter().any(|sent| accepts.form(sent).is_some());
        if !terms.sends.is_empty() && !usable {
            return Err(Refusal::Types);
        }
        let hop = match role {
            // Behind relays this side connects to its own one only.
            Role::Active if terms.has_relay() => None,
            Role::Active => Some(hop(line, media, &path, way.to_shown)?),
            Role::Passive => None,
        };
        Ok(Self {
            role,
            hop,
            own_path: terms.path.clone(),
            peer_path: path,
            from_rule: way.from_rule,
            accepts,
            sends: terms.direction.sends() && media.direction.receives(),
            receives: terms.direction.receives() && media.direction.sends(),
            chatroom: media.chatroom.clone(),
            fingerprints: media.fingerprints.clone(),
            file: media.file.clone(),
        })
    }

    /// The certificates one of which the peer shows when it connects to us. None of them: there is
    /// no TLS, or a relay is in between, whose connection it is then (RFC 4976 §9.2); those in the
    /// SDP are of the peer itself (RFC 4975 §14.4).
    pub fn peer_certificates(&self) -> &[Fingerprint] {
        match (&self.own_path[..], &self.peer_path[..]) {
            ([own], [_]) if own.parts().scheme == Scheme::Msrps => &self.fingerprints,
            _ => &[],
        }
    }

    /// Whether this goes on with the session of `previous`, an earlier agreement of the same
    /// dialog: nobody has other URIs, so connection and messages stay (RFC 4975 §8.4).
    pub fn continues(&self, previous: &Self) -> bool {
        self.own_path == previous.own_path && self.peer_path == previous.peer_path
    }
}

/// The peer's path, its URIs read.
pub(super) fn peer_path(media: &MessageMedia) -> Result<Vec<MsrpUri>, Refusal> {
    let uris = media.path.iter().map(|uri| uri.parse().map_err(Refusal::Uri));
    let path: Vec<MsrpUri> = uris.collect::<Result<_, _>>()?;
    if path.iter().any(|uri| uri.parts().port.is_none()) {
        return Err(Refusal::NoPort);
    }
    let scheme = match media.proto {
        MsrpProto::Tcp => Scheme::Msrp,
        MsrpProto::Tls => Scheme::Msrps,
    };
    if path.first().is_some_and(|uri| uri.parts().scheme != scheme) {
        return Err(Refusal::Scheme);
    }
    Ok(path)
}

/// Whether `c=` and the port are those of a URI of the path (RFC 6714 §4.4).
pub(super) fn shows_path(line: &MediaLine<'_>, path: &[MsrpUri], same_host: SameHost<'_>) -> bool {
    let Some(shown) = line.connection() else { return true };
    let mut near = path.iter().filter(|uri| uri.parts().port == Some(line.port()));
    near.any(|uri| match is_as_written(shown, uri) {
        Some(same) => same,
        None => same_host(shown, bare(uri.parts().host)),
    })
}

/// The hosts of a description that only the DNS can compare: one shown in `c=`, and one of a URI of
/// the path that has the port of the line (RFC 6714 §4.4). Nearly always there are none.
pub fn hosts_to_compare(description: &Sdp) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in description.media() {
        let (Some(shown), Some(Ok(media))) = (line.connection(), line.message()) else { continue };
        let uris = media.path.iter().filter_map(|uri| uri.parse::<MsrpUri>().ok());
        let near = uris.filter(|uri| uri.parts().port == Some(line.port()));
        let named = near.filter(|uri| is_as_written(shown, uri).is_none());
        found.extend(named.map(|uri| (shown.to_owned(), bare(uri.parts().host).to_owned())));
    }
    found
}

/// Whether what `c=` shows is the host of `uri`, where both texts say it; `None`: one is a name.
fn is_as_written(shown: &str, uri: &MsrpUri) -> Option<bool> {
    let uri = uri.parts();
    if bare(uri.host).eq_ignore_ascii_case(shown) {
        return Some(true);
    }
    Some(uri.address()? == shown.parse::<IpAddr>().ok()?)
}

/// Where this side connects to, and whom it must find there: the host of the URI, wherever the
/// connection goes (RFC 4975 §14.2, RFC 6714 §7.5).
fn hop(
    line: &MediaLine<'_>,
    media: &MessageMedia,
    path: &[MsrpUri],
    to_shown: bool,
) -> Result<Hop, Refusal> {
    let first = path.first().ok_or(Refusal::NoPort)?.parts();
    let shown = line.connection().filter(|_| to_shown);
    let through = shown.map(|host| (Box::from(host), line.port()));
    let port = through.as_ref().map_or(first.port, |(_, port)| Some(*port));
    if port == Some(PORT_DISCARD) || !first.transport.eq_ignore_ascii_case("tcp") {
        return Err(Refusal::Unreachable);
    }
    Ok(Hop {
        secure: first.scheme == Scheme::Msrps,
        host: first.host.into(),
        port: first.port,
        through,
        fingerprints: media.fingerprints.clone(),
    })
}
