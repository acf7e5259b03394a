//! Event state publication, RFC 3903: the compositor's table ([`Publications`]) and the publisher's
//! machine ([`publisher`]).
//!
//! What a PUBLISH does (RFC 3903 §4.1, Table 1; §6):
//!
//! | Body | SIP-If-Match | Expires | Operation                                             |
//! |------|--------------|---------|-------------------------------------------------------|
//! | yes  | no           | above 0 | initial: kept under a new entity-tag                  |
//! | yes  | no           | 0       | 200, and nothing is kept                              |
//! | no   | no           | any     | 400                                                   |
//! | no   | yes          | above 0 | refresh: the state stays, under a new entity-tag      |
//! | yes  | yes          | above 0 | modify: the state is replaced, under a new entity-tag |
//! | any  | yes          | 0       | remove                                                |
//!
//! An unknown entity-tag is 412. The order of the checks is that of RFC 3903 §6.

pub mod publisher;

pub use publisher::Publisher;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;

use crate::entropy::{Entropy, token};

/// The compositor's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seconds granted when the request names none. Default 3600 (RFC 3856 §6.4).
    pub expires_default: u32,
    /// A shorter duration above zero is refused with 423. Default 60.
    pub expires_min: u32,
    /// A longer duration is shortened to this. Default 3600.
    pub expires_max: u32,
    /// Publications kept for one resource and event. Local limit, the RFC sets none: a user has a
    /// handful of devices. Default 16; one more is refused with 503.
    pub per_resource_max: usize,
    /// Publications kept in all. Local limit. Default 1,000,000; one more is refused with 503.
    pub publications_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            expires_default: 3_600,
            expires_min: 60,
            expires_max: 3_600,
            per_resource_max: 16,
            publications_max: 1_000_000,
        }
    }
}

impl Limits {
    /// What a PUBLISH does, and for how many seconds what it leaves behind lasts (§6 steps 2 to 5).
    /// `is_current` says whether an entity-tag is one in force.
    ///
    /// # Errors
    /// Every [`Refusal`] but [`Refusal::Full`].
    pub fn judge(
        &self,
        request: &Publish<'_>,
        is_current: impl FnOnce(&str) -> bool,
    ) -> Result<(Operation, u32), Refusal> {
        if request.event.is_none() {
            return Err(Refusal::BadEvent);
        }
        let has_current = match *request.if_match {
            [] => false,
            [etag] if is_current(etag) => true,
            [_] => return Err(Refusal::Stale),
            [_, _, ..] => return Err(Refusal::Malformed),
        };
        let expires = self.grant(request.expires)?;
        if request.body.is_some_and(|body| !body.supported) {
            return Err(Refusal::UnsupportedBody);
        }
        let operation = match (has_current, request.body.is_some()) {
            (false, false) => return Err(Refusal::Malformed),
            (false, true) if expires > 0 => Operation::Initial,
            (true, false) if expires > 0 => Operation::Refresh,
            (true, true) if expires > 0 => Operation::Modify,
            (false, true) | (true, false | true) => Operation::Remove,
        };
        Ok((operation, expires))
    }

    fn grant(&self, expires: Option<u32>) -> Result<u32, Refusal> {
        let asked = expires.unwrap_or(self.expires_default);
        if expires.is_some() && asked > 0 && asked < self.expires_min {
            return Err(Refusal::TooBrief { min_expires: self.expires_min });
        }
        Ok(asked.min(self.expires_max))
    }
}

/// The facts of one PUBLISH for a resource we compose (another is 404, or forwarded).
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// The resource: the canonical Request-URI.
    pub resource: &'a str,
    /// The event package in `Event`; `None` when there is none or we do not support it.
    pub event: Option<&'a str>,
    /// The values of `SIP-If-Match`.
    pub if_match: &'a [&'a str],
    /// `Expires` in seconds.
    pub expires: Option<u32>,
    /// The body, with whether its type fits the event package; `None` when there is none.
    pub body: Option<Body<'a>>,
}

/// A body as it came.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// Whether `Content-Type` (and encoding) is understood for the event package.
    pub supported: bool,
    /// The octets.
    pub octets: &'a [u8],
}

/// What a PUBLISH did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// New state.
    Initial,
    /// The state lives longer; it has not changed.
    Refresh,
    /// The state was replaced.
    Modify,
    /// The state is gone.
    Remove,
}

/// What the 200 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// For `SIP-ETag`.
    pub etag: String,
    /// For `Expires`, in seconds.
    pub expires: u32,
    /// What was done. [`Operation::Refresh`] need not be told to watchers.
    pub operation: Operation,
}

/// Why a PUBLISH is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No event package, or one we do not support: 489 with `Allow-Events`.
    #[error("unknown event package")]
    BadEvent,
    /// Not a single entity-tag, or neither entity-tag nor body: 400.
    #[error("malformed publication")]
    Malformed,
    /// No publication has this entity-tag (any more): 412.
    #[error("entity-tag does not match")]
    Stale,
    /// The duration is too short: 423 with `Min-Expires`.
    #[error("interval too brief")]
    TooBrief {
        /// For `Min-Expires`, in seconds.
        min_expires: u32,
    },
    /// The body is of a type we do not understand for the event: 415 with `Accept`.
    #[error("unsupported body")]
    UnsupportedBody,
    /// No room: 503 with `Retry-After`.
    #[error("too many publications")]
    Full,
}

impl Refusal {
    /// The status code of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadEvent => 489,
            Self::Malformed => 400,
            Self::Stale => 412,
            Self::TooBrief { .. } => 423,
            Self::UnsupportedBody => 415,
            Self::Full => 503,
        }
    }
}

/// A publication that ran out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapsed {
    /// The resource whose state has changed.
    pub resource: Box<str>,
    /// The event package.
    pub event: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    resource: Box<str>,
    event: Box<str>,
}

#[derive(Clone, Debug)]
struct Publication {
    etag: Box<str>,
    state: Bytes,
    expires_at: Instant,
    /// Set apart from others that expire at the same instant.
    serial: u64,
}

/// The publications of all resources, each soft state under its entity-tag.
#[derive(Debug)]
pub struct Publications {
    limits: Limits,
    table: HashMap<Key, Vec<Publication>>,
    deadlines: BTreeSet<(Instant, u64, Key)>,
    next_serial: u64,
}

impl Publications {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, table: HashMap::new(), deadlines: BTreeSet::new(), next_serial: 0 }
    }

    /// Processes one PUBLISH completely or not at all (RFC 3903 §6).
    pub fn publish(
        &mut self,
        now: Instant,
        request: &Publish<'_>,
        entropy: &mut impl Entropy,
    ) -> Result<Published, Refusal> {
        let event = request.event.ok_or(Refusal::BadEvent)?;
        let key = Key { resource: request.resource.into(), event: event.into() };
        let mut current = None;
        let (operation, expires) = self.limits.judge(request, |etag| {
            current = self.find(now, &key, etag);
            current.is_some()
        })?;
        let state = request.body.map(|body| Bytes::copy_from_slice(body.octets));
        if operation == Operation::Initial && !self.has_room(&key) {
            return Err(Refusal::Full);
        }
        // 128 random bits: no entity-tag of this resource comes twice (§6 step 6).
        let etag = token(entropy, 2);
        let kept = current.map(|current| self.take(&key, current));
        if let Some(state) = state.or(kept).filter(|_| operation != Operation::Remove) {
            self.keep(now, key, &etag, expires, state);
        }
        Ok(Published { etag, expires, operation })
    }

    /// The states published for a resource, oldest first, those that ran out left out.
    pub fn states(&self, now: Instant, resource: &str, event: &str) -> Vec<Bytes> {
        let key = Key { resource: resource.into(), event: event.into() };
        let live = |publication: &&Publication| publication.expires_at > now;
        let all = self.table.get(&key).into_iter().flatten();
        all.filter(live).map(|publication| publication.state.clone()).collect()
    }

    /// When the next publication runs out.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _, _)| *at)
    }

    /// Drops one publication that ran out; `None` when there is none (any more).
    pub fn poll_lapsed(&mut self, now: Instant) -> Option<Lapsed> {
        let (at, serial, key) = self.deadlines.first()?.clone();
        if at > now {
            return None;
        }
        self.take(&key, serial);
        let Key { resource, event } = key;
        Some(Lapsed { resource, event })
    }

    /// How many are kept, those that ran out included until they are polled.
    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    fn has_room(&self, key: &Key) -> bool {
        let of_resource = self.table.get(key).map_or(0, Vec::len);
        of_resource < self.limits.per_resource_max && self.len() < self.limits.publications_max
    }

    /// The serial number of the live publication with this entity-tag.
    fn find(&self, now: Instant, key: &Key, etag: &str) -> Option<u64> {
        self.table
            .get(key)?
            .iter()
            .find(|publication| *publication.etag == *etag && publication.expires_at > now)
            .map(|publication| publication.serial)
    }

    fn take(&mut self, key: &Key, serial: u64) -> Bytes {
        let Some(list) = self.table.get_mut(key) else { return Bytes::new() };
        let found = list.iter().position(|publication| publication.serial == serial);
        let taken = found.map(|index| list.remove(index));
        if list.is_empty() {
            self.table.remove(key);
        }
        let Some(publication) = taken else { return Bytes::new() };
        self.deadlines.remove(&(publication.expires_at, serial, key.clone()));
        publication.state
    }

    fn keep(&mut self, now: Instant, key: Key, etag: &str, expires: u32, state: Bytes) {
        let expires_at = now + Duration::from_secs(u64::from(expires));
        let serial = self.next_serial;
        self.next_serial += 1;
        self.deadlines.insert((expires_at, serial, key.clone()));
        let publication = Publication { etag: etag.into(), state, expires_at, serial };
        self.table.entry(key).or_default().push(publication);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::entropy::seeded;
    use crate::test_epoch;

    const BODY: Option<Body<'static>> = Some(Body { supported: true, octets: b"open" });

    fn publish<'a>(
        if_match: &'a [&'a str],
        expires: Option<u32>,
        body: Option<Body<'a>>,
    ) -> Publish<'a> {
        Publish { resource: "sip:a@b", event: Some("presence"), if_match, expires, body }
    }

    fn states(table: &Publications, now: Instant) -> Vec<Bytes> {
        table.states(now, "sip:a@b", "presence")
    }

    // Covers: CORE-049
    #[test]
    fn a_publication_lives_by_its_entity_tag() {
        let (now, mut entropy) = (test_epoch(), seeded(1));
        let mut table = Publications::new(Limits::default());
        let first = table.publish(now, &publish(&[], Some(600), BODY), &mut entropy).unwrap();
        assert_eq!((first.expires, first.operation), (600, Operation::Initial));
        assert_eq!(states(&table, now), ["open"]);

        let old = [first.etag.as_str()];
        let second = table.publish(now, &publish(&old, Some(900), None), &mut entropy).unwrap();
        assert_eq!((second.expires, second.operation), (900, Operation::Refresh));
        assert_ne!(second.etag, first.etag, "each success has a new entity-tag");
        assert_eq!(states(&table, now), ["open"], "a refresh leaves the state alone");
        let stale = table.publish(now, &publish(&old, Some(900), None), &mut entropy);
        assert_eq!(stale, Err(Refusal::Stale));

        let old = [second.etag.as_str()];
        let closed = Some(Body { supported: true, octets: b"closed" });
        let third = table.publish(now, &publish(&old, None, closed), &mut entropy).unwrap();
        assert_eq!((third.expires, third.operation), (3_600, Operation::Modify));
        assert_eq!(states(&table, now), ["closed"]);

        let old = [third.etag.as_str()];
        let gone = table.publish(now, &publish(&old, Some(0), None), &mut entropy).unwrap();
        assert_eq!((gone.expires, gone.operation), (0, Operation::Remove));
        assert!(states(&table, now).is_empty() && table.is_empty());
        assert_eq!(table.poll_timeout(), None);
    }

    // Covers: CORE-049
    #[test]
    fn refusals_come_in_the_order_of_the_rfc() {
        let (now, mut entropy) = (test_epoch(), seeded(1));
        let mut table = Publications::new(Limits::default());
        let odd = Some(Body { supported: false, octets: b"x" });
        let brief = Refusal::TooBrief { min_expires: 60 };
        let no_event = |if_match| Publish { event: None, ..publish(if_match, Some(1), odd) };
        #[rustfmt::skip]
        let refused = [
            (no_event(&["x"]),                      Refusal::BadEvent,        489),
            (publish(&["x", "y"], Some(1), odd),    Refusal::Malformed,       400),
            (publish(&["x"], Some(1), odd),         Refusal::Stale,           412),
            (publish(&[], Some(1), odd),            brief,                    423),
            (publish(&[], Some(59), BODY),          brief,                    423),
            (publish(&[], Some(60), odd),           Refusal::UnsupportedBody, 415),
            (publish(&[], Some(60), None),          Refusal::Malformed,       400),
            (publish(&[], Some(0), None),           Refusal::Malformed,       400),
        ];
        for (request, refusal, status) in refused {
            let result = table.publish(now, &request, &mut entropy);
            assert_eq!(result, Err(refusal), "{request:?}");
            assert_eq!(refusal.status(), status);
        }
        assert_eq!(Refusal::Full.status(), 503);
        assert!(table.is_empty(), "a refused request changes nothing");
    }

    // Covers: CORE-049
    #[test]
    fn a_refused_modification_leaves_the_publication() {
        let (now, mut entropy) = (test_epoch(), seeded(1));
        let mut table = Publications::new(Limits::default());
        let first = table.publish(now, &publish(&[], Some(600), BODY), &mut entropy).unwrap();
        let old = [first.etag.as_str()];
        let odd = Some(Body { supported: false, octets: b"x" });
        assert!(table.publish(now, &publish(&old, Some(5), None), &mut entropy).is_err());
        assert!(table.publish(now, &publish(&old, None, odd), &mut entropy).is_err());
        assert_eq!(states(&table, now), ["open"]);
        assert!(table.publish(now, &publish(&old, None, None), &mut entropy).is_ok());
    }

    // Covers: CORE-049
    #[test]
    fn durations_are_shortened_and_zero_keeps_nothing() {
        let (now, mut entropy) = (test_epoch(), seeded(1));
        let mut table = Publications::new(Limits::default());
        let long = table.publish(now, &publish(&[], Some(9_999), BODY), &mut entropy).unwrap();
        assert_eq!(long.expires, 3_600);
        let zero = table.publish(now, &publish(&[], Some(0), BODY), &mut entropy).unwrap();
        assert_eq!((zero.expires, zero.operation), (0, Operation::Remove));
        assert_eq!(table.len(), 1);
    }

    // Covers: CORE-049
    #[test]
    fn publications_run_out() {
        let (start, mut entropy) = (test_epoch(), seeded(1));
        let after = |secs| start + Duration::from_secs(secs);
        let mut table = Publications::new(Limits::default());
        let first = table.publish(start, &publish(&[], Some(60), BODY), &mut entropy).unwrap();
        table.publish(start, &publish(&[], Some(90), BODY), &mut entropy).unwrap();
        assert_eq!(states(&table, after(59)).len(), 2);
        assert_eq!(table.poll_timeout(), Some(after(60)));
        assert_eq!(table.poll_lapsed(after(59)), None);
        assert_eq!(states(&table, after(60)).len(), 1);
        let old = [first.etag.as_str()];
        let late = table.publish(after(60), &publish(&old, Some(60), None), &mut entropy);
        assert_eq!(late, Err(Refusal::Stale), "even before it was polled");
        let lapsed = table.poll_lapsed(after(60)).unwrap();
        assert_eq!((&*lapsed.resource, &*lapsed.event), ("sip:a@b", "presence"));
        assert_eq!(table.poll_lapsed(after(60)), None);
        assert_eq!(table.poll_timeout(), Some(after(90)));
        assert!(table.poll_lapsed(after(99)).is_some());
        assert!(table.is_empty());
    }

    #[test]
    fn resources_and_events_are_apart() {
        let (now, mut entropy) = (test_epoch(), seeded(1));
        let mut table = Publications::new(Limits::default());
        let first = table.publish(now, &publish(&[], None, BODY), &mut entropy).unwrap();
        let old = [first.etag.as_str()];
        let other = Publish { resource: "sip:c@d", ..publish(&old, None, None) };
        assert_eq!(table.publish(now, &other, &mut entropy), Err(Refusal::Stale));
        let other = Publish { event: Some("im-settings"), ..publish(&old, None, None) };
        assert_eq!(table.publish(now, &other, &mut entropy), Err(Refusal::Stale));
        assert!(table.states(now, "sip:a@b", "im-settings").is_empty());
    }

    #[test]
    fn the_table_is_bounded() {
        let (now, mut entropy) = (test_epoch(), seeded(1));
        let limits = Limits { per_resource_max: 2, publications_max: 3, ..Limits::default() };
        let mut table = Publications::new(limits);
        let request = publish(&[], Some(600), BODY);
        let other = Publish { resource: "sip:c@d", ..request };
        let first = table.publish(now, &request, &mut entropy).unwrap();
        table.publish(now, &request, &mut entropy).unwrap();
        assert_eq!(table.publish(now, &request, &mut entropy), Err(Refusal::Full));
        table.publish(now, &other, &mut entropy).unwrap();
        assert_eq!(table.publish(now, &other, &mut entropy), Err(Refusal::Full));
        let old = [first.etag.as_str()];
        assert!(table.publish(now, &publish(&old, None, BODY), &mut entropy).is_ok());
        assert_eq!(table.len(), 3);
    }

    proptest! {
        #[test]
        fn the_deadlines_and_the_table_agree(
            steps in proptest::collection::vec(
                (0_u64..900, 0_usize..6, proptest::option::of(0_u32..2_000), proptest::bool::ANY),
                0..40,
            ),
        ) {
            let (mut now, mut entropy) = (test_epoch(), seeded(1));
            let mut table = Publications::new(Limits { per_resource_max: 4, ..Limits::default() });
            let mut etags: Vec<String> = Vec::new();
            for (secs, which, expires, body) in steps {
                now += Duration::from_secs(secs);
                let etag = etags.get(which).map(String::as_str);
                let request = publish(etag.as_slice(), expires, BODY.filter(|_| body));
                if let Ok(published) = table.publish(now, &request, &mut entropy) {
                    etags.insert(0, published.etag);
                }
                while table.poll_lapsed(now).is_some() {}
                prop_assert!(table.len() == states(&table, now).len());
                prop_assert!(table.len() <= 4);
            }
        }
    }
}
