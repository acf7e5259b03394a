//! Sessions: what our URIs name, and whom they belong to.
//!
//! A session is one URI that we handed out in SDP (or in a `Use-Path`), bound to one connection by
//! the first request for it (RFC 4975 §5.4), with the path of the peer. What is done with its
//! messages is its [`Usage`].

use hashbrown::{HashMap, HashTable};
use parlance_sip::sdp::Fingerprint;

use crate::node::ConnectionId;
use crate::path::session_id;
use crate::write::SEND_START;
use crate::{MsrpUri, Path, Scheme};

/// One session of a [`Node`](crate::Node); unique while the node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    index: u32,
    generation: u32,
}

impl SessionKey {
    /// No session has this key.
    pub const NOWHERE: Self = Self { index: u32::MAX, generation: u32::MAX };

    /// Its place, dense from 0 and used again after it ended.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// Who handles what comes in a session: the number is the place in the tables of that role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Messages end and begin here (RFC 4975).
    Endpoint(u32),
    /// One side of two sessions whose messages are passed on (B2BUA).
    Pair(u32),
    /// A URI of a `Use-Path` (RFC 4976).
    Grant(u32),
    /// A participant of a room (RFC 7701).
    Leg(u32),
}

/// How the `From-Path` of a request is compared with the path in the peer's SDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FromRule {
    /// All URIs, as RFC 4975 has it.
    #[default]
    Whole,
    /// Only the rightmost one: an intermediary may stand between (RFC 6714 §4, media gateways).
    Rightmost,
}

/// Where a URI of ours says that we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// `msrps` when the connection is protected.
    pub scheme: Scheme,
    /// Host name or address, an IPv6 address in brackets.
    pub host: Box<str>,
    /// The port of the listener.
    pub port: u16,
    /// `tcp`; `ws` for WebSocket.
    pub transport: &'static str,
}

/// Digits of the core's number in a session-id.
const CORE_DIGITS: usize = 2;
/// Random digits after it: 130 bits, more than the 80 of RFC 4975 §14.1.
const RANDOM_DIGITS: usize = 26;
/// Digits of base 32, lower case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

impl LocalAddress {
    /// A new URI here: its session-id has 128 random bits, after the number of the core.
    pub(crate) fn uri(&self, core: u8, entropy: &mut (dyn FnMut() -> u64 + Send)) -> MsrpUri {
        let mut id = String::with_capacity(CORE_DIGITS + RANDOM_DIGITS);
        push_digits(&mut id, u64::from(core), CORE_DIGITS);
        push_digits(&mut id, entropy(), RANDOM_DIGITS / 2);
        push_digits(&mut id, entropy(), RANDOM_DIGITS / 2);
        let Self { scheme, host, port, transport } = self;
        let text = format!("{}://{host}:{port}/{id};{transport}", scheme.as_str());
        MsrpUri::parse(text.as_bytes()).expect("the host was configured as one")
    }
}

/// The core whose node handed out this session-id, when it has the form of ours.
pub fn core_of(session_id: &[u8]) -> Option<u8> {
    if session_id.len() != CORE_DIGITS + RANDOM_DIGITS {
        return None;
    }
    let mut number = 0_usize;
    for octet in session_id.get(..CORE_DIGITS)?.iter().rev() {
        number = (number << 5) | DIGITS.iter().position(|digit| digit == octet)?;
    }
    u8::try_from(number).ok()
}

fn push_digits(text: &mut String, mut number: u64, digits: usize) {
    for _ in 0..digits {
        let digit = DIGITS.get((number & 31) as usize).copied().unwrap_or(b'0');
        text.push(char::from(digit));
        number >>= 5;
    }
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Who handles it.
    pub(crate) usage: Usage,
    /// The connection it is bound to.
    pub(crate) connection: Option<ConnectionId>,
    /// How `From-Path` is compared.
    pub(crate) from_rule: FromRule,
    /// The peer's path is that of the first request: its SDP has not come yet.
    pub(crate) claimed: bool,
    own: MsrpUri,
    /// [`SEND_START`] and `\r\nTo-Path: PEER\r\nFrom-Path: OWN\r\n`; empty before the peer's path
    /// is known.
    template: Box<[u8]>,
    /// Octets of the peer's path in it.
    peer_octets: u32,
    /// Whether that is one URI.
    single: bool,
    generation: u32,
}

const TO_PATH: &[u8] = b"\r\nTo-Path: ";
const FROM_PATH: &[u8] = b"\r\nFrom-Path: ";

impl Session {
    /// Our URI.
    pub(crate) fn own(&self) -> &MsrpUri {
        &self.own
    }

    /// The path of the peer, as it is written into `To-Path`; `None` before it is known.
    pub(crate) fn peer(&self) -> Option<Path<'_>> {
        let start = SEND_START.len() + TO_PATH.len();
        let end = start + self.peer_octets as usize;
        self.template.get(start..end).map(Path::of)
    }

    /// The first URI of the path of the peer: what its responses come from (RFC 4975 §7.2).
    #[inline]
    pub(crate) fn first_peer(&self) -> Option<&[u8]> {
        let peer = self.peer()?;
        Some(if self.single { peer.as_bytes() } else { peer.first() })
    }

    /// `\r\nTo-Path: ..\r\nFrom-Path: ..\r\n` of a request; empty before the peer's path is known.
    pub(crate) fn request_paths(&self) -> &[u8] {
        self.template.get(SEND_START.len()..).unwrap_or_default()
    }

    /// What a SEND starts with, up to those, with an identifier that is not its own; empty before
    /// the peer's path is known.
    #[inline]
    pub(crate) fn send_template(&self) -> &[u8] {
        &self.template
    }

    /// The same for a response to what came from `from`, when it is the same: the peer's path is
    /// this one URI (RFC 4975 §7.2).
    pub(crate) fn response_paths(&self, from: Path<'_>) -> Option<&[u8]> {
        (self.single && self.peer() == Some(from)).then(|| self.request_paths())
    }

    /// Whether a request with this `From-Path` is of the peer: the same octets, or equivalent URIs
    /// (RFC 4975 §6.1). Anything is while its path is not known.
    pub(crate) fn is_from_peer(&self, from: Path<'_>) -> bool {
        let Some(peer) = self.peer() else { return true };
        if peer == from {
            return true;
        }
        match self.from_rule {
            FromRule::Rightmost => same_uri(peer.last(), from.last()),
            FromRule::Whole => {
                let mut ours = peer.iter();
                from.iter().all(|uri| ours.next().is_some_and(|own| same_uri(own, uri)))
                    && ours.next().is_none()
            }
        }
    }

    /// Whether `path` in an SDP of the peer is another than the one in its SDP before.
    pub(crate) fn is_replaced_by(&self, path: Path<'_>) -> bool {
        let known = self.peer().filter(|_| !self.claimed);
        known.is_some_and(|known| known != path && !self.is_from_peer(path))
    }

    pub(crate) fn set_peer(&mut self, path: Path<'_>) {
        let own = self.own.as_bytes();
        let peer = path.as_bytes();
        self.template = [SEND_START, TO_PATH, peer, FROM_PATH, own, b"\r\n"].concat().into();
        self.single = path.is_single();
        self.peer_octets = u32::try_from(peer.len()).unwrap_or(u32::MAX);
    }
}

fn same_uri(one: &[u8], other: &[u8]) -> bool {
    one == other || MsrpUri::parse(one).is_ok_and(|one| one.matches(other))
}

/// The sessions of a node.
#[derive(Debug)]
pub(crate) struct Sessions {
    core: u8,
    slots: slab::Slab<Session>,
    /// The certificates one of which the peer shows, by the place in `slots`: few have any.
    fingerprints: HashMap<u32, Box<[Fingerprint]>, foldhash::fast::FixedState>,
    /// Places in `slots`, by the session-id of the own URI.
    table: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    generation: u32,
}

impl Sessions {
    pub(crate) fn new(core: u8, seed: u64) -> Self {
        let hasher = foldhash::fast::FixedState::with_seed(seed);
        Self {
            core,
            slots: slab::Slab::new(),
            fingerprints: HashMap::with_hasher(hasher.clone()),
            table: HashTable::new(),
            hasher,
            generation: 0,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// A new session with a new URI at `address`.
    pub(crate) fn open(
        &mut self,
        address: &LocalAddress,
        entropy: &mut (dyn FnMut() -> u64 + Send),
        usage: Usage,
    ) -> SessionKey {
        let own = address.uri(self.core, entropy);
        self.open_as(own, usage)
    }

    /// A new session with this URI, which the caller answers for: nothing has it, and its
    /// session-id cannot be guessed. A URI without session-id is never found.
    pub(crate) fn open_as(&mut self, own: MsrpUri, usage: Usage) -> SessionKey {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let hash = hash(&self.hasher, session_id(own.as_bytes()).unwrap_or_default());
        let index = self.slots.insert(Session {
            usage,
            connection: None,
            from_rule: FromRule::Whole,
            claimed: false,
            own,
            template: Box::default(),
            peer_octets: 0,
            single: false,
            generation,
        });
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.table.insert_unique(hash, index, |&place| hash_of(slots, hasher, place));
        SessionKey { index, generation }
    }

    /// The peer's path, from its SDP, and how it is compared. Whether that is, or may be, the peer
    /// that had the session before it was known.
    pub(crate) fn set_peer(&mut self, key: SessionKey, path: Path<'_>, rule: FromRule) -> bool {
        let Some(session) = self.get_mut(key) else { return true };
        session.from_rule = rule;
        let claimed = session.claimed.then(|| session.peer().map(|peer| peer.as_bytes().to_vec()));
        session.claimed = false;
        session.set_peer(path);
        claimed.flatten().is_none_or(|by| session.is_from_peer(Path::new(&by)))
    }

    /// The certificates one of which the peer shows, from its SDP.
    pub(crate) fn set_fingerprints(&mut self, key: SessionKey, fingerprints: &[Fingerprint]) {
        if fingerprints.is_empty() {
            self.fingerprints.remove(&key.index);
        } else if self.get(key).is_some() {
            self.fingerprints.insert(key.index, fingerprints.into());
        }
    }

    /// Those; none of them: it need not show any.
    pub(crate) fn fingerprints(&self, key: SessionKey) -> &[Fingerprint] {
        self.fingerprints.get(&key.index).map(|found| &**found).unwrap_or_default()
    }

    pub(crate) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.slots.get(key.index()).filter(|session| session.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.slots.get_mut(key.index()).filter(|session| session.generation == key.generation)
    }

    /// The session that `uri` names (RFC 4975 §6.1).
    pub(crate) fn find(&self, uri: &[u8]) -> Option<SessionKey> {
        let id = session_id(uri)?;
        let place = self.table.find(hash(&self.hasher, id), |&place| {
            self.slots.get(place as usize).is_some_and(|session| session.own.matches(uri))
        })?;
        let session = self.slots.get(*place as usize)?;
        Some(SessionKey { index: *place, generation: session.generation })
    }

    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Session> {
        self.get(key)?;
        let hash = hash_of(&self.slots, &self.hasher, key.index);
        if let Ok(entry) = self.table.find_entry(hash, |&place| place == key.index) {
            entry.remove();
        }
        self.fingerprints.remove(&key.index);
        self.slots.try_remove(key.index())
    }
}

fn hash(hasher: &foldhash::fast::FixedState, id: &[u8]) -> u64 {
    use std::hash::BuildHasher as _;
    hasher.hash_one(id)
}

fn hash_of(slots: &slab::Slab<Session>, hasher: &foldhash::fast::FixedState, place: u32) -> u64 {
    let id = slots.get(place as usize).and_then(|session| session_id(session.own.as_bytes()));
    hash(hasher, id.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded;

    fn address() -> LocalAddress {
        LocalAddress {
            scheme: Scheme::Msrp,
            host: "im.example.com".into(),
            port: 2855,
            transport: "tcp",
        }
    }

    // Covers: MSRP-014
    #[test]
    fn a_session_id_has_all_the_random_bits_and_the_core() {
        let mut seen = std::collections::BTreeSet::new();
        for bit in 0..128 {
            let mut numbers = [1_u128 << bit, (1_u128 << bit) >> 64].into_iter();
            let mut entropy = || numbers.next().map_or(0, |number| number as u64);
            let uri = address().uri(5, &mut entropy);
            let id = session_id(uri.as_bytes()).unwrap().to_vec();
            assert_eq!(core_of(&id), Some(5));
            seen.insert(id);
        }
        assert_eq!(seen.len(), 128);
        for core in [0, 31, 32, 255] {
            let uri = address().uri(core, &mut seeded(1));
            assert_eq!(core_of(session_id(uri.as_bytes()).unwrap()), Some(core));
        }
        assert_eq!(core_of(b"9di4eae923wzd"), None);
        assert_eq!(core_of(&[b'.'; 28]), None);
    }

    // Covers: MSRP-082
    #[test]
    fn a_session_is_found_by_an_equivalent_uri_only() {
        let mut sessions = Sessions::new(0, 7);
        let own: MsrpUri = "msrp://Bob.example.com:8888/9di4eae923wzd;tcp".parse().unwrap();
        let key = sessions.open_as(own, Usage::Endpoint(0));
        #[rustfmt::skip]
        let table = [
            ("msrp://Bob.example.com:8888/9di4eae923wzd;tcp",     true),
            ("MSRP://u@bob.EXAMPLE.com:8888/9di4eae923wzd;TCP;x", true),
            ("msrps://bob.example.com:8888/9di4eae923wzd;tcp",    false),
            ("msrp://bob.example.com/9di4eae923wzd;tcp",          false),
            ("msrp://bob.example.com:8888/9DI4eae923wzd;tcp",     false),
            ("msrp://bob.example.com:8888;tcp",                   false),
            ("msrp://bob.example.com:8888/9di4eae923wzd;ws",      false),
            ("nonsense",                                          false),
        ];
        for (uri, found) in table {
            assert_eq!(sessions.find(uri.as_bytes()), found.then_some(key), "{uri}");
        }
        assert!(sessions.remove(key).is_some());
        assert!(sessions.remove(key).is_none());
        assert_eq!(sessions.find(table[0].0.as_bytes()), None);
        let again = sessions.open(&address(), &mut seeded(3), Usage::Endpoint(1));
        assert_eq!(again.index(), key.index());
        assert!(sessions.get(key).is_none(), "a key is not used twice");
        let uri = sessions.get(again).unwrap().own().clone();
        assert_eq!(sessions.find(uri.as_bytes()), Some(again));
    }

    // Covers: MSRP-017
    #[test]
    fn the_from_path_is_compared_by_the_rule_of_the_session() {
        let mut sessions = Sessions::new(0, 7);
        let key = sessions.open(&address(), &mut seeded(3), Usage::Endpoint(1));
        let from = |sessions: &Sessions, path: &str| {
            sessions.get(key).unwrap().is_from_peer(Path::new(path.as_bytes()))
        };
        let path = "msrp://r.example.com:9/r;tcp msrp://a.example.com:7/a;tcp";
        assert!(from(&sessions, path), "nothing is known of the peer");
        sessions.set_peer(key, Path::new(path.as_bytes()), FromRule::Whole);
        assert!(from(&sessions, path));
        assert!(from(&sessions, "msrp://R.example.com:9/r;tcp msrp://a.EXAMPLE.com:7/a;tcp"));
        assert!(!from(&sessions, "msrp://a.example.com:7/a;tcp"));
        assert!(!from(&sessions, "msrp://x.example.com:9/r;tcp msrp://a.example.com:7/a;tcp"));
        assert!(!from(&sessions, &format!("{path} msrp://b.example.com:7/b;tcp")));
        sessions.set_peer(key, Path::new(path.as_bytes()), FromRule::Rightmost);
        assert!(from(&sessions, "msrp://a.example.com:7/a;tcp"));
        assert!(!from(&sessions, "msrp://r.example.com:9/r;tcp"));
    }

    #[test]
    fn paths_are_written_once_for_all_requests() {
        let mut sessions = Sessions::new(0, 7);
        let own: MsrpUri = "msrp://bob.example.com:8888/9di4;tcp".parse().unwrap();
        let key = sessions.open_as(own, Usage::Endpoint(0));
        assert_eq!(sessions.get(key).unwrap().peer(), None);
        assert_eq!(sessions.get(key).unwrap().request_paths(), b"");
        let peer = Path::new(b"msrp://alice.example.com:7777/iau3;tcp");
        sessions.set_peer(key, peer, FromRule::Whole);
        let session = sessions.get(key).unwrap();
        assert_eq!(session.peer(), Some(peer));
        assert_eq!(
            session.request_paths(),
            b"\r\nTo-Path: msrp://alice.example.com:7777/iau3;tcp\r\nFrom-Path: \
              msrp://bob.example.com:8888/9di4;tcp\r\n"
        );
        assert_eq!(session.response_paths(peer), Some(session.request_paths()));
        assert_eq!(session.response_paths(Path::new(b"msrp://a:7/a;tcp")), None);
        let path = Path::new(b"msrp://r:9/r;tcp msrp://a:7/a;tcp");
        sessions.set_peer(key, path, FromRule::Whole);
        assert_eq!(sessions.get(key).unwrap().response_paths(path), None);
    }
}
