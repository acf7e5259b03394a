//! Deferred messages: one inbox for each recipient (OMA-TS-SIMPLE_IM §7.3.1, RFC 3428 §7).
//!
//! An item is accepted once (by its dedup keys), waits in the order of arrival, and leaves by
//! being settled, withdrawn or purged. One lane at a time delivers for a recipient: it holds a
//! lease, and its fence is refused once a later lease was given out.
//!
//! | Item    | Operation            | Next    | Effect                                     |
//! |---------|----------------------|---------|--------------------------------------------|
//! | -       | accept               | waiting | counted, numbered, dedup keys remembered   |
//! | waiting | attempt              | sending | the request's identifiers are kept         |
//! | sending | attempt              | sending | the new identifiers replace the old        |
//! | sending | postpone, release    | waiting | the identifiers of the last attempt stay   |
//! | sending | the lease runs out   | waiting | likewise; the inbox is due                 |
//! | sending | withdraw             | sending | `InFlight`                                 |
//! | waiting | withdraw             | -       | `Removed`, payload gone, uncounted         |
//! | either  | settle               | -       | payload gone, uncounted                    |

use std::time::Duration;

use bytes::Bytes;

use crate::identity::check_identity;
use crate::{Millis, Pending, StoreError, UserId};

/// How long a message is recognised when it comes again, from its acceptance; local value.
pub const DEDUP_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Largest payload in octets; local limit. Larger ones are refused as [`StoreError::Invalid`].
pub const PAYLOAD_OCTETS_MAX: usize = 4 * 1024 * 1024;

/// Most entries one listing returns, whatever `limit` asks for; local limit.
pub const PAGE_MAX: usize = 10_000;

/// Most dedup keys of one message.
const DEDUP_KEYS_MAX: usize = 8;

/// Most dedup keys remembered for one recipient; local limit, some 45 messages a minute all day.
/// Above it messages are kept but not recognised when they come again.
pub(crate) const DEDUP_REMEMBERED_MAX: usize = 65_536;

/// Longest text in an [`Attempt`], and longest originator, in octets; local limit.
const TEXT_OCTETS_MAX: usize = 1024;

/// Numbers the items of one recipient, from 1, in the order of arrival. Never used twice while
/// the recipient exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// A hash by which a message is recognised when it comes again to the same recipient: of
/// originator, Call-ID, CSeq and From tag, or of originator and `imdn.Message-ID`.
pub type DedupKey = [u8; 16];

/// Proof of a lease. Operations with it fail once a later lease was given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Whose inbox is leased.
    pub user: UserId,
    /// Higher for a later lease.
    pub token: u64,
}

/// How much one inbox may hold. Reaching either bound, [`Inboxes::accept`] says `Full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Most items.
    pub items_max: u64,
    /// Most octets of payload.
    pub octets_max: u64,
}

/// What an inbox holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items, in flight ones included.
    pub items: u64,
    /// Octets of their payloads.
    pub octets: u64,
}

/// A message to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewItem {
    /// Whose inbox.
    pub recipient: UserId,
    /// Who sent it.
    pub originator: String,
    /// How it is recognised when it comes again; at most 8, none: never recognised.
    pub dedup: Vec<DedupKey>,
    /// When the server received it; kept with the message as its time stamp.
    pub received: Millis,
    /// When it stops being worth delivering.
    pub expires: Millis,
    /// When the inbox shall show up in [`Inboxes::due`], at the latest; `None`: no change.
    /// For a recipient who is there, so that a crash cannot leave the message unnoticed.
    pub due: Option<Millis>,
    /// The sender wants to hear when it cannot be delivered (RFC 5438 §6.3).
    pub wants_negative_delivery: bool,
    /// The sender asked for privacy (RFC 3323).
    pub private: bool,
    /// The SIP MESSAGE as octets.
    pub payload: Bytes,
}

impl NewItem {
    /// Refuses what no implementation takes.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        check_identity(self.recipient.as_str())?;
        if self.payload.len() > PAYLOAD_OCTETS_MAX {
            return Err(StoreError::Invalid("payload too large"));
        }
        if self.originator.len() > TEXT_OCTETS_MAX {
            return Err(StoreError::Invalid("originator too long"));
        }
        if self.dedup.len() > DEDUP_KEYS_MAX {
            return Err(StoreError::Invalid("too many dedup keys"));
        }
        Ok(())
    }

    /// The item it becomes.
    pub(crate) fn numbered(self, seq: Seq) -> Item {
        Item {
            seq,
            recipient: self.recipient,
            originator: self.originator,
            received: self.received,
            expires: self.expires,
            wants_negative_delivery: self.wants_negative_delivery,
            private: self.private,
            attempt: None,
            payload: self.payload,
        }
    }
}

/// The identifiers of a request that carries an item, kept before it is sent, so that after a
/// crash the same request is sent again and the client recognises it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Its Call-ID.
    pub call_id: String,
    /// Its CSeq number.
    pub cseq: u32,
    /// The tag in its From.
    pub from_tag: String,
    /// The branch of its top Via.
    pub branch: String,
    /// When it was first sent.
    pub started: Millis,
}

impl Attempt {
    /// Refuses what no implementation takes.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let texts = [&self.call_id, &self.from_tag, &self.branch];
        if texts.iter().any(|text| text.len() > TEXT_OCTETS_MAX) {
            return Err(StoreError::Invalid("attempt identifier too long"));
        }
        Ok(())
    }
}

/// A kept message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number.
    pub seq: Seq,
    /// Whose inbox.
    pub recipient: UserId,
    /// Who sent it.
    pub originator: String,
    /// When the server received it.
    pub received: Millis,
    /// When it stops being worth delivering.
    pub expires: Millis,
    /// The sender wants to hear when it cannot be delivered.
    pub wants_negative_delivery: bool,
    /// The sender asked for privacy.
    pub private: bool,
    /// The last attempt to deliver it.
    pub attempt: Option<Attempt>,
    /// The SIP MESSAGE as octets.
    pub payload: Bytes,
}

/// What became of a message to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is kept, durably.
    Stored(Seq),
    /// It was kept before, under this number; it may have been delivered since.
    Duplicate(Seq),
    /// The quota leaves no room. Nothing is kept.
    Full,
}

/// How an item ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The client took it.
    Delivered,
    /// It can never be delivered.
    Refused,
    /// Its time is over.
    Expired,
}

impl Settlement {
    /// Counts the end of an item in `parlance_store_settled_total`.
    pub(crate) fn count(self, settled: bool) {
        let how = match self {
            Settlement::Delivered => "delivered",
            Settlement::Refused => "refused",
            Settlement::Expired => "expired",
        };
        metrics::counter!("parlance_store_settled_total", "how" => how)
            .increment(u64::from(settled));
    }
}

/// What [`Inboxes::withdraw`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// The item was there and is removed.
    Removed,
    /// The holder of the lease is sending it; nothing was changed.
    InFlight,
    /// No such item.
    Gone,
}

/// The inboxes of all recipients.
pub trait Inboxes: Send + Sync {
    /// Keeps a message, unless it came before or there is no room: in this order.
    ///
    /// A message is recognised for [`DEDUP_WINDOW`] after its acceptance, also when it was
    /// delivered. At most 65,536 keys are remembered for a recipient; above that messages are
    /// kept but not recognised again.
    fn accept(&self, item: NewItem, quota: Quota, now: Millis) -> Pending<'_, Accepted>;

    /// Leases the inbox of `user` until `until`. `None` while another holder has it.
    ///
    /// The present holder prolongs its lease and keeps its fence; after the lease ran out
    /// everybody gets a new, higher one. `holder` names a node that runs once at a time: started
    /// again it has its leases still. An inbox that holds items is due at `until`, so that somebody
    /// takes over when the holder dies.
    fn lease<'a>(
        &'a self,
        user: &'a UserId,
        holder: u64,
        until: Millis,
        now: Millis,
    ) -> Pending<'a, Option<Fence>>;

    /// Gives the lease back, and with it the due time: nothing is tried until somebody leases.
    fn release<'a>(&'a self, fence: &'a Fence) -> Pending<'a, ()>;

    /// The items of `user` after `after`, in order, at most `limit`.
    fn head<'a>(&'a self, user: &'a UserId, after: Seq, limit: usize) -> Pending<'a, Vec<Item>>;

    /// Notes that the item is being sent. To be waited for before the request leaves. False: the
    /// item is gone, do not send it.
    fn attempt<'a>(&'a self, fence: &'a Fence, seq: Seq, attempt: Attempt) -> Pending<'a, bool>;

    /// Ends an item. When the inbox is empty after it, its back-off is forgotten. False: it was
    /// gone already.
    fn settle<'a>(&'a self, fence: &'a Fence, seq: Seq, how: Settlement) -> Pending<'a, bool>;

    /// Removes an item that nobody is sending (a late 2xx, expiry, the owner). Needs no lease.
    fn withdraw<'a>(&'a self, user: &'a UserId, seq: Seq, now: Millis) -> Pending<'a, Withdrawn>;

    /// Ends the attempts in hand, and lets the inbox be due again at `until` after `failures`
    /// failed attempts in a row. The lease stays.
    fn postpone<'a>(&'a self, fence: &'a Fence, until: Millis, failures: u32) -> Pending<'a, ()>;

    /// The failures in a row last told to [`Inboxes::postpone`]; 0 for an empty inbox.
    fn failures<'a>(&'a self, user: &'a UserId) -> Pending<'a, u32>;

    /// The recipients whose inbox holds items and is due by `now`, the longest due first, at
    /// most `limit`.
    fn due(&self, now: Millis, limit: usize) -> Pending<'_, Vec<UserId>>;

    /// What the inbox of `user` holds.
    fn counts<'a>(&'a self, user: &'a UserId) -> Pending<'a, Counts>;

    /// The items that expired by `now`, oldest expiry first, at most `limit`.
    fn expired(&self, now: Millis, limit: usize) -> Pending<'_, Vec<Item>>;

    /// The recipients with items, after `after`, in order, at most `limit`: for the start of a
    /// server and for the operator.
    fn recipients<'a>(
        &'a self,
        after: Option<&'a UserId>,
        limit: usize,
    ) -> Pending<'a, Vec<UserId>>;

    /// All items of all inboxes; at once, may lag behind by the operations in hand.
    fn waiting(&self) -> u64;

    /// Builds the indexes by time anew from the records and says how many entries they have. To be
    /// called when they are suspected to be wrong; slow.
    fn rebuild(&self) -> Pending<'_, u64>;
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Bytes, DEDUP_KEYS_MAX, NewItem, PAYLOAD_OCTETS_MAX, TEXT_OCTETS_MAX};
    use crate::{StoreError, conformance::item};

    #[test]
    fn items_are_bounded() {
        let at_limit = NewItem {
            originator: "x".repeat(TEXT_OCTETS_MAX),
            dedup: vec![[0; 16]; DEDUP_KEYS_MAX],
            payload: Bytes::from(vec![0; PAYLOAD_OCTETS_MAX]),
            ..item("sip:a@b", 1)
        };
        assert_eq!(at_limit.check(), Ok(()));
        type Change = fn(&mut NewItem);
        let over = |change: Change| {
            let mut item = at_limit.clone();
            change(&mut item);
            item.check()
        };
        #[rustfmt::skip]
        let table: [(Change, &str); 3] = [
            (|item| item.originator.push('x'), "originator too long"),
            (|item| item.dedup.push([0; 16]), "too many dedup keys"),
            (|item| item.payload = vec![0; PAYLOAD_OCTETS_MAX + 1].into(), "payload too large"),
        ];
        for (change, why) in table {
            assert_eq!(over(change), Err(StoreError::Invalid(why)));
        }
    }

    #[test]
    fn attempts_are_bounded() {
        let attempt = Attempt { call_id: "x".repeat(TEXT_OCTETS_MAX), ..Attempt::default() };
        assert_eq!(attempt.check(), Ok(()));
        let over = Attempt { branch: "x".repeat(TEXT_OCTETS_MAX + 1), ..Attempt::default() };
        assert_eq!(over.check(), Err(StoreError::Invalid("attempt identifier too long")));
    }
}
