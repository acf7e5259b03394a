//! URIs of peers by which sessions of ours go, of all cores together.
//!
//! A session-id of ours says at which core its session is. A pair that is not seen has sessions
//! that go by the URI of the peer on the other side (RFC 6714 §6.2), and those say nothing of it.
//! Who has all cores keeps this beside them, and looks where a connection or a request belongs.
//!
//! One URI leads to one session: whoever lends the same again is refused, and his description has
//! to go on with a URI of ours.
//!
//! But a description may pass two pairs of ours, that of its writer and that of the user it is for.
//! Each needs the URI it shows to its own user, and what passes between the two goes by URIs of
//! ours. So a lender says by which URI of ours he can be met on that side, and the next pair takes
//! over what he has shown to nobody but it.

use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use crate::path::session_id;
use crate::session::core_of;
use crate::uri::MsrpUri;

/// The URIs, and at which core each is.
#[derive(Debug)]
pub struct LentUris {
    places: HashTable<Entry>,
    hasher: FixedState,
    max: usize,
    lendings: u64,
    refused: Refused,
}

#[derive(Debug)]
struct Entry {
    uri: MsrpUri,
    core: u8,
    ticket: Ticket,
    /// By which URI of ours its lender can be met instead.
    door: Option<MsrpUri>,
}

/// One lending of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// How often a URI was not lent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// A session went by it.
    pub taken: u64,
    /// There were as many as there may be.
    pub full: u64,
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
        let (places, hasher) = (HashTable::new(), FixedState::with_seed(seed));
        Self { places, hasher, max, lendings: 0, refused: Refused::default() }
    }

    /// A session at `core` goes by `uri` from now on. Until that is [settled](Self::settle), the
    /// next pair that the description passes may take it over, and meet the lender at `door`.
    ///
    /// # Errors
    /// [`LendError`]; nothing has changed then.
    pub fn lend(
        &mut self,
        uri: &MsrpUri,
        core: u8,
        door: Option<&MsrpUri>,
    ) -> Result<Ticket, LendError> {
        let id = session_id(uri.as_bytes()).ok_or(LendError::NoSession)?;
        if self.get(uri.as_bytes()).is_some() {
            self.refused.taken += 1;
            return Err(LendError::Taken);
        }
        if self.places.len() >= self.max {
            self.refused.full += 1;
            return Err(LendError::Full);
        }
        let hash = self.hasher.hash_one(id);
        self.lendings += 1;
        let (ticket, hasher) = (Ticket(self.lendings), &self.hasher);
        let entry = Entry { uri: uri.clone(), core, ticket, door: door.cloned() };
        self.places.insert_unique(hash, entry, |entry| hash_of(hasher, &entry.uri));
        Ok(ticket)
    }

    /// A session at `core` goes by `uri` from now on, and not that of who lent it: the URI of ours
    /// by which he is met. `None`: nobody has lent it, or he did not mean this.
    pub fn take_over(&mut self, uri: &MsrpUri, core: u8) -> Option<(Ticket, MsrpUri)> {
        let hash = hash_of(&self.hasher, uri);
        let entry = self.places.find_mut(hash, |entry| entry.uri == *uri)?;
        let door = entry.door.take()?;
        self.lendings += 1;
        (entry.core, entry.ticket) = (core, Ticket(self.lendings));
        Some((entry.ticket, door))
    }

    /// It is known to whom `uri` was shown: nobody takes it over any more. `false`: somebody has.
    pub fn settle(&mut self, uri: &MsrpUri, ticket: Ticket) -> bool {
        let is_it = |entry: &Entry| entry.uri == *uri && entry.ticket == ticket;
        let found = self.places.find_mut(hash_of(&self.hasher, uri), is_it);
        found.map(|entry| entry.door = None).is_some()
    }

    /// No session goes by `uri` any more. Without effect when it was taken over.
    pub fn give_back(&mut self, uri: &MsrpUri, ticket: Ticket) {
        let is_it = |entry: &Entry| entry.uri == *uri && entry.ticket == ticket;
        if let Ok(found) = self.places.find_entry(hash_of(&self.hasher, uri), is_it) {
            found.remove();
        }
        if self.places.len() * 4 < self.places.capacity() {
            let hasher = &self.hasher;
            self.places.shrink_to(2 * self.places.len(), |entry| hash_of(hasher, &entry.uri));
        }
    }

    /// The core of the session that goes by an equivalent URI (RFC 4975 §6.1).
    pub fn get(&self, uri: &[u8]) -> Option<u8> {
        if self.places.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(session_id(uri)?);
        self.places.find(hash, |entry| entry.uri.matches(uri)).map(|entry| entry.core)
    }

    /// The core of the session that `uri` names: by a URI that was lent, else by a session-id of
    /// ours. A URI that was lent may have an id as ours have, when it is of another server.
    pub fn core_of(&self, uri: &[u8]) -> Option<u8> {
        self.get(uri).or_else(|| core_of(session_id(uri)?))
    }

    /// How often one was not lent so far.
    pub fn refused(&self) -> Refused {
        self.refused
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
        let ticket = lent.lend(&alice, 3, None).unwrap();
        let same = "MSRP://u@ALICE.example:7777/iau39soe2843z;TCP;x";
        assert_eq!(lent.get(same.as_bytes()), Some(3));
        assert_eq!(lent.lend(&uri(same), 4, None), Err(LendError::Taken), "nobody else gets it");
        assert_eq!(lent.get(alice.as_bytes()), Some(3), "and who had it keeps it");
        for other in ["msrp://alice.example:7778/iau39soe2843z;tcp", "nonsense", ""] {
            assert_eq!(lent.get(other.as_bytes()), None, "{other}");
        }
        lent.give_back(&alice, ticket);
        assert_eq!((lent.get(alice.as_bytes()), lent.len()), (None, 0));
        assert!(lent.lend(&alice, 4, None).is_ok());
        let nowhere = lent.lend(&uri("msrp://a.example:1;tcp"), 0, None);
        assert_eq!(nowhere, Err(LendError::NoSession));
        assert_eq!(lent.refused(), Refused { taken: 1, full: 0 });
    }

    #[test]
    fn there_are_as_many_as_there_may_be_and_no_more() {
        let mut lent = LentUris::new(100, 7);
        let numbered = |number: usize| uri(&format!("msrp://a.example:7777/session{number};tcp"));
        let tickets: Vec<_> =
            (0..100).map(|number| lent.lend(&numbered(number), 1, None).unwrap()).collect();
        assert_eq!(lent.lend(&numbered(100), 1, None), Err(LendError::Full));
        lent.give_back(&numbered(100), tickets[0]);
        lent.give_back(&numbered(1), tickets[0]);
        assert_eq!(lent.len(), 100, "what was not lent so is not given back");
        lent.give_back(&numbered(0), tickets[0]);
        let last = lent.lend(&numbered(100), 1, None).unwrap();
        lent.give_back(&numbered(100), last);
        for (number, ticket) in tickets.into_iter().enumerate().skip(1) {
            assert_eq!(lent.get(numbered(number).as_bytes()), Some(1), "{number}");
            lent.give_back(&numbered(number), ticket);
        }
        assert!(lent.is_empty() && lent.places.capacity() < 16, "and nothing stays of a burst");
        assert_eq!(lent.refused(), Refused { taken: 0, full: 1 });
    }

    // Covers: MSRP-048
    #[test]
    fn the_next_pair_takes_over_what_is_not_settled() {
        let mut lent = LentUris::new(2, 7);
        let alice = uri("msrp://alice.example:7777/iau39soe2843z;tcp");
        let door = uri("msrp://im.test:2855/300000000000000000000000abcd;tcp");
        assert_eq!(lent.take_over(&alice, 5), None, "nobody has lent it");
        let first = lent.lend(&alice, 3, Some(&door)).unwrap();
        let (second, met) = lent.take_over(&alice, 5).unwrap();
        assert_eq!((met, lent.get(alice.as_bytes())), (door.clone(), Some(5)));
        assert_eq!(lent.take_over(&alice, 6), None, "only once");
        lent.give_back(&alice, first);
        assert_eq!(lent.get(alice.as_bytes()), Some(5), "it is of another now");
        lent.give_back(&alice, second);
        assert!(lent.is_empty());
        let ticket = lent.lend(&alice, 3, Some(&door)).unwrap();
        assert!(!lent.settle(&alice, first), "who has given it back has no say");
        assert!(lent.take_over(&alice, 5).is_some());
        assert!(!lent.settle(&alice, ticket), "somebody has taken it over");
        let other = uri("msrp://bob.example:8888/9di4eae923wzd;tcp");
        let ticket = lent.lend(&other, 3, Some(&door)).unwrap();
        assert!(lent.settle(&other, ticket));
        assert_eq!(lent.take_over(&other, 5), None);
        assert_eq!(lent.get(other.as_bytes()), Some(3));
    }

    #[test]
    fn a_uri_of_another_server_is_not_taken_for_ours() {
        let mut lent = LentUris::new(2, 7);
        let ours = "msrp://im.test:2855/300000000000000000000000abcd;tcp";
        let theirs = "msrp://other.test:2855/300000000000000000000000abcd;tcp";
        assert_eq!(lent.core_of(ours.as_bytes()), Some(3));
        lent.lend(&uri(theirs), 1, None).unwrap();
        assert_eq!(lent.core_of(ours.as_bytes()), Some(3));
        assert_eq!(lent.core_of(theirs.as_bytes()), Some(1));
        assert_eq!(lent.core_of(b"msrp://a/b;tcp"), None);
    }
}
