//! URIs of peers by which sessions of ours go, of all cores together.
//!
//! A session-id of ours says at which core its session is. A pair that is not seen has sessions
//! that go by the URI of the peer on the other side (RFC 6714 §6.2), and those say nothing of it.
//! Who has all cores keeps this beside them, and looks where a connection or a request belongs.
//!
//! One URI leads to one session: whoever lends the same again is refused, and his description has
//! to go on with a URI of ours.

use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use crate::path::session_id;
use crate::session::core_of;
use crate::uri::MsrpUri;

/// The URIs, and at which core each is.
#[derive(Debug)]
pub struct LentUris {
    places: HashTable<(MsrpUri, u8)>,
    hasher: FixedState,
    max: usize,
}

/// Why a URI is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LendError {
    /// It has no session-id.
    #[error("the URI names no session")]
    NoSession,
    /// A session goes by it already (RFC 4975 §14.1: nobody else can have it).
    #[error("a session goes by this URI already")]
    Taken,
    /// There are as many as there may be.
    #[error("too many sessions go by the URI of a peer")]
    Full,
}

impl LentUris {
    /// Room for `max` URIs. `seed` cannot be guessed by peers, who choose the URIs.
    pub fn new(max: usize, seed: u64) -> Self {
        Self { places: HashTable::new(), hasher: FixedState::with_seed(seed), max }
    }

    /// A session at `core` goes by `uri` from now on.
    ///
    /// # Errors
    /// [`LendError`]; nothing has changed then.
    pub fn lend(&mut self, uri: &MsrpUri, core: u8) -> Result<(), LendError> {
        let id = session_id(uri.as_bytes()).ok_or(LendError::NoSession)?;
        if self.get(uri.as_bytes()).is_some() {
            return Err(LendError::Taken);
        }
        if self.places.len() >= self.max {
            return Err(LendError::Full);
        }
        let hash = self.hasher.hash_one(id);
        let hasher = &self.hasher;
        self.places.insert_unique(hash, (uri.clone(), core), |(uri, _)| hash_of(hasher, uri));
        Ok(())
    }

    /// No session goes by `uri` any more.
    pub fn give_back(&mut self, uri: &MsrpUri) {
        let hash = hash_of(&self.hasher, uri);
        if let Ok(found) = self.places.find_entry(hash, |(lent, _)| lent == uri) {
            found.remove();
        }
        if self.places.len() * 4 < self.places.capacity() {
            let hasher = &self.hasher;
            self.places.shrink_to(2 * self.places.len(), |(uri, _)| hash_of(hasher, uri));
        }
    }

    /// The core of the session that goes by an equivalent URI (RFC 4975 §6.1).
    pub fn get(&self, uri: &[u8]) -> Option<u8> {
        if self.places.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(session_id(uri)?);
        self.places.find(hash, |(lent, _)| lent.matches(uri)).map(|(_, core)| *core)
    }

    /// The core of the session that `uri` names: by a URI that was lent, else by a session-id of
    /// ours. A URI that was lent may have an id as ours have, when it is of another server.
    pub fn core_of(&self, uri: &[u8]) -> Option<u8> {
        self.get(uri).or_else(|| core_of(session_id(uri)?))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

fn hash_of(hasher: &FixedState, uri: &MsrpUri) -> u64 {
    hasher.hash_one(session_id(uri.as_bytes()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> MsrpUri {
        text.parse().unwrap()
    }

    // Covers: MSRP-048, MSRP-082
    #[test]
    fn a_uri_leads_to_one_core_until_it_is_given_back() {
        let mut lent = LentUris::new(2, 7);
        let alice = uri("msrp://alice.example:7777/iau39soe2843z;tcp");
        assert_eq!(lent.lend(&alice, 3), Ok(()));
        let same = "MSRP://u@ALICE.example:7777/iau39soe2843z;TCP;x";
        assert_eq!(lent.get(same.as_bytes()), Some(3));
        assert_eq!(lent.lend(&uri(same), 4), Err(LendError::Taken), "nobody else gets it");
        assert_eq!(lent.get(alice.as_bytes()), Some(3), "and who had it keeps it");
        for other in ["msrp://alice.example:7778/iau39soe2843z;tcp", "nonsense", ""] {
            assert_eq!(lent.get(other.as_bytes()), None, "{other}");
        }
        lent.give_back(&alice);
        assert_eq!((lent.get(alice.as_bytes()), lent.len()), (None, 0));
        assert_eq!(lent.lend(&alice, 4), Ok(()));
        assert_eq!(lent.lend(&uri("msrp://a.example:1;tcp"), 0), Err(LendError::NoSession));
    }

    #[test]
    fn there_are_as_many_as_there_may_be_and_no_more() {
        let mut lent = LentUris::new(100, 7);
        let numbered = |number: usize| uri(&format!("msrp://a.example:7777/session{number};tcp"));
        for number in 0..100 {
            assert_eq!(lent.lend(&numbered(number), 1), Ok(()));
        }
        assert_eq!(lent.lend(&numbered(100), 1), Err(LendError::Full));
        lent.give_back(&numbered(100));
        assert_eq!(lent.len(), 100, "what was never lent is not given back");
        lent.give_back(&numbered(0));
        assert_eq!(lent.lend(&numbered(100), 1), Ok(()));
        for number in 1..=100 {
            assert_eq!(lent.get(numbered(number).as_bytes()), Some(1), "{number}");
            lent.give_back(&numbered(number));
        }
        assert!(lent.is_empty() && lent.places.capacity() < 16, "and nothing stays of a burst");
    }

    #[test]
    fn a_uri_of_another_server_is_not_taken_for_ours() {
        let mut lent = LentUris::new(2, 7);
        let ours = "msrp://im.test:2855/300000000000000000000000abcd;tcp";
        let theirs = "msrp://other.test:2855/300000000000000000000000abcd;tcp";
        assert_eq!(lent.core_of(ours.as_bytes()), Some(3));
        lent.lend(&uri(theirs), 1).unwrap();
        assert_eq!(lent.core_of(ours.as_bytes()), Some(3));
        assert_eq!(lent.core_of(theirs.as_bytes()), Some(1));
        assert_eq!(lent.core_of(b"msrp://a/b;tcp"), None);
    }
}
