//! Messages on their way to the many recipients of a list or group (OMA-TS-SIMPLE_IM §7.4.1.6,
//! RFC 5365): what was promised by a 202 and is not done yet.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::inbox::PAYLOAD_OCTETS_MAX;
use crate::{DedupKey, Millis, Pending, StoreError};

/// Most recipients of one explosion; local limit.
pub const RECIPIENTS_MAX: usize = 4096;

/// Longest record of a recipient in octets; local limit: a URI and some header fields.
pub const RECIPIENT_OCTETS_MAX: usize = 4096;

/// How long a message is recognised after it came: as long as a client may send it again in the
/// same or in a further transaction (RFC 3261 §17.1.2.2), and a restart takes.
pub const EXPLODED_WINDOW: Duration = Duration::from_secs(600);

/// Most messages that are recognised when they come again; local limit. Above it the oldest are
/// forgotten first.
pub(crate) const EXPLODED_REMEMBERED_MAX: u64 = 65_536;

/// Numbers the explosions, from 1, in the order of arrival. Never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExplosionId(pub u64);

/// A message to explode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewExplosion {
    /// How it is recognised when it comes again.
    pub dedup: DedupKey,
    /// When it came.
    pub received: Millis,
    /// When it stops being worth sending.
    pub expires: Millis,
    /// What the identifiers of its requests are made from: the same for a request that is sent
    /// again after a crash. Random.
    pub seed: [u8; 16],
    /// What each recipient is sent, as the exploder wrote it.
    pub payload: Bytes,
    /// The recipients, as the exploder wrote them; at most [`RECIPIENTS_MAX`].
    pub recipients: Vec<String>,
}

impl NewExplosion {
    /// Refuses what no implementation takes.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.payload.len() > PAYLOAD_OCTETS_MAX {
            return Err(StoreError::Invalid("payload too large"));
        }
        if self.recipients.len() > RECIPIENTS_MAX {
            return Err(StoreError::Invalid("too many recipients"));
        }
        if self.recipients.iter().any(|recipient| recipient.len() > RECIPIENT_OCTETS_MAX) {
            return Err(StoreError::Invalid("recipient too long"));
        }
        Ok(())
    }

    /// The explosion it becomes.
    pub(crate) fn numbered(self, id: ExplosionId) -> Explosion {
        Explosion {
            id,
            received: self.received,
            expires: self.expires,
            seed: self.seed,
            payload: self.payload,
            recipients: self.recipients,
            outcomes: BTreeMap::new(),
        }
    }
}

/// An explosion that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explosion {
    /// Its number.
    pub id: ExplosionId,
    /// When the message came.
    pub received: Millis,
    /// When it stops being worth sending.
    pub expires: Millis,
    /// What the identifiers of its requests are made from.
    pub seed: [u8; 16],
    /// What each recipient is sent.
    pub payload: Bytes,
    /// The recipients.
    pub recipients: Vec<String>,
    /// What became of those that are done, by their place in `recipients`.
    pub outcomes: BTreeMap<u32, u16>,
}

/// What became of a message to explode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is kept, durably.
    New(ExplosionId),
    /// It was kept before, under this number; it may be finished since.
    Duplicate(ExplosionId),
    /// There are as many as may be. Nothing is kept.
    Full,
}

/// What is being exploded.
///
/// They belong to the node that has the store, whose start goes on with all of them: a file is used
/// by one process at a time.
pub trait Explosions: Send + Sync {
    /// Keeps a message to explode, unless it came before or there are `most` already: in this
    /// order. It is recognised for [`EXPLODED_WINDOW`], also when it is finished.
    fn begin(&self, explosion: NewExplosion, most: u64, now: Millis) -> Pending<'_, Begun>;

    /// The explosion of a message that came before, as long as it is recognised.
    fn known(&self, dedup: DedupKey, now: Millis) -> Pending<'_, Option<ExplosionId>>;

    /// Notes what became of the recipient at `place`, a status of SIP. False: the explosion is
    /// finished, or that one was done already.
    fn settle(&self, id: ExplosionId, place: u32, outcome: u16) -> Pending<'_, bool>;

    /// Ends an explosion. False: it was finished already.
    fn finish(&self, id: ExplosionId) -> Pending<'_, bool>;

    /// What is kept of an explosion that is not finished.
    fn explosion(&self, id: ExplosionId) -> Pending<'_, Option<Explosion>>;

    /// The explosions that are not finished, after `after`, in order, at most `limit`: for the
    /// start of a server.
    fn explosions(&self, after: ExplosionId, limit: usize) -> Pending<'_, Vec<ExplosionId>>;
}

#[cfg(test)]
mod tests {
    use super::{NewExplosion, PAYLOAD_OCTETS_MAX, RECIPIENT_OCTETS_MAX, RECIPIENTS_MAX};
    use crate::{StoreError, conformance::explosion};

    #[test]
    fn explosions_are_bounded() {
        let at_limit = NewExplosion {
            payload: vec![0; PAYLOAD_OCTETS_MAX].into(),
            recipients: vec!["x".repeat(RECIPIENT_OCTETS_MAX); RECIPIENTS_MAX],
            ..explosion(1)
        };
        assert_eq!(at_limit.check(), Ok(()));
        type Change = fn(&mut NewExplosion);
        #[rustfmt::skip]
        let table: [(Change, &str); 3] = [
            (|new| new.payload = vec![0; PAYLOAD_OCTETS_MAX + 1].into(), "payload too large"),
            (|new| new.recipients.push(String::new()), "too many recipients"),
            (|new| new.recipients[7].push('x'), "recipient too long"),
        ];
        for (change, why) in table {
            let mut over = at_limit.clone();
            change(&mut over);
            assert_eq!(over.check(), Err(StoreError::Invalid(why)));
        }
    }
}
