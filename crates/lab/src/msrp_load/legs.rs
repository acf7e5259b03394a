//! The sessions of a run: which URIs they have, and who is in a group with whom.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One end of a session that a server has prepared.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Leg {
    /// The server's URI: To-Path of what we send, and where we connect to.
    pub uri: String,
    /// Our URI, as an SDP answer would have told it to the server: From-Path of what we send.
    pub peer: String,
    /// Our participant URI, in a room.
    #[serde(default)]
    pub participant: String,
}

/// A room of an MSRP switch (RFC 7701).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Room {
    /// The room's URI.
    pub uri: String,
    /// Its participants.
    pub legs: Vec<Leg>,
}

/// Two sessions that a server has joined.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Pair {
    /// Its ends.
    pub legs: [Leg; 2],
}

/// What a server under test prints: one line of JSON. Other keys are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Legs {
    /// Rooms.
    #[serde(default)]
    pub rooms: Vec<Room>,
    /// Pairs.
    #[serde(default)]
    pub pairs: Vec<Pair>,
}

impl Legs {
    /// Reads the first line of `path`, or of standard input for `-`.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut text = String::new();
        if path == Path::new("-") {
            io::stdin().read_line(&mut text)?;
        } else {
            File::open(path)?.read_to_string(&mut text)?;
        }
        Ok(serde_json::from_str(text.trim())?)
    }
}

/// A session to be played: what stands in its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// To-Path of its requests.
    pub(crate) to_path: String,
    /// Our URI.
    pub(crate) from_path: String,
    /// Its participant URI; empty in a pair.
    pub(crate) participant: String,
    /// What it connects to.
    pub(crate) server: Target,
}

/// Sessions that hear each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The room's URI; empty in a pair.
    pub(crate) room: String,
    pub(crate) members: Vec<Member>,
}

/// What an MSRP URI says about connecting (RFC 4975 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) secure: bool,
    pub(crate) websocket: bool,
}

impl Target {
    /// Reads the parts of a URI; `None` when it is none, or has no port.
    pub(crate) fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "msrp" => false,
            "msrps" => true,
            _ => return None,
        };
        let end = rest.find(['/', ';']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        let authority = authority.rsplit('@').next()?;
        let (host, port) = authority.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let transport = after.split(';').nth(1).unwrap_or_default();
        let websocket = transport.eq_ignore_ascii_case("ws");
        Some(Self { host, port: port.parse().ok()?, secure, websocket })
    }

    /// Its address; a name is looked up.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        let mut found = (self.host.as_str(), self.port).to_socket_addrs()?;
        found.next().ok_or_else(|| io::Error::other(format!("{} has no address", self.host)))
    }
}

/// The groups that `legs` say, at most `rooms` and `pairs` of them. Not every URI may be one.
pub(crate) fn groups(
    legs: &Legs,
    rooms: Option<usize>,
    pairs: Option<usize>,
) -> Result<Vec<Group>, String> {
    let member = |leg: &Leg| {
        let server = Target::parse(&leg.uri).ok_or_else(|| leg.uri.clone())?;
        Ok(Member {
            to_path: leg.uri.clone(),
            from_path: leg.peer.clone(),
            participant: leg.participant.clone(),
            server,
        })
    };
    let group = |room: &str, legs: &[Leg]| {
        let members: Result<Vec<Member>, String> = legs.iter().map(member).collect();
        Ok(Group { room: room.to_owned(), members: members? })
    };
    let in_rooms = legs.rooms.iter().take(rooms.unwrap_or(usize::MAX));
    let in_pairs = legs.pairs.iter().take(pairs.unwrap_or(usize::MAX));
    let in_rooms = in_rooms.map(|room| group(&room.uri, &room.legs));
    in_rooms.chain(in_pairs.map(|pair| group("", &pair.legs))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        let parts = |uri: &str| {
            let target = Target::parse(uri)?;
            Some((target.host, target.port, target.secure, target.websocket))
        };
        let host = |host: &str| host.to_owned();
        assert_eq!(
            parts("msrp://127.0.0.1:2855/s4;tcp"),
            Some((host("127.0.0.1"), 2855, false, false))
        );
        assert_eq!(parts("msrps://alice@[::1]:9/s4;ws"), Some((host("::1"), 9, true, true)));
        assert_eq!(
            parts("MSRP://relay.example.com:80;tcp"),
            Some((host("relay.example.com"), 80, false, false))
        );
        for none in ["sip:a@b:1", "msrp://a/s4;tcp", "msrp://a:x/s4;tcp", "a:1"] {
            assert_eq!(parts(none), None, "{none}");
        }
    }

    #[test]
    fn what_a_server_prints_becomes_groups() {
        let text = r#"{"rooms":[{"uri":"sip:r@x","legs":[
            {"uri":"msrp://127.0.0.1:1/a;tcp","peer":"msrp://127.0.0.1:9/b;tcp","participant":"sip:p@x"}]}],
            "pairs":[{"legs":[{"uri":"msrp://127.0.0.1:1/c;tcp","peer":"msrp://127.0.0.1:9/d;tcp"},
            {"uri":"msrp://127.0.0.1:1/e;tcp","peer":"msrp://127.0.0.1:9/f;tcp","more":1}]}],"auth":{}}"#;
        let mut legs: Legs = serde_json::from_str(text).unwrap();
        let found = groups(&legs, None, None).unwrap();
        let sizes: Vec<_> =
            found.iter().map(|group| (group.room.as_str(), group.members.len())).collect();
        assert_eq!(sizes, [("sip:r@x", 1), ("", 2)]);
        assert_eq!(groups(&legs, Some(0), None).unwrap().len(), 1);
        legs.pairs[0].legs[0].uri = "nothing".to_owned();
        assert_eq!(groups(&legs, None, None), Err("nothing".to_owned()));
    }
}
