//! Who of the operator's people looked at or changed what belongs to users.

use serde::{Deserialize, Serialize};

use std::time::Duration;

use crate::{Millis, Pending, UserId};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// The content of stored messages was read.
    ReadContent,
    /// The list of stored messages was read, without content.
    ListItems,
    /// A stored message was removed.
    RemoveItem,
    /// A profile or a registration was read.
    ReadProfile,
    /// It was read which conferences run, or who takes part in one.
    ReadSession,
    /// A profile was changed.
    ChangeProfile,
    /// Everything of the user was removed.
    Purge,
}

/// One access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub when: Millis,
    /// Who: the administrator's account as it authenticated.
    pub who: String,
    /// What.
    pub what: Access,
    /// Whose data.
    pub user: UserId,
    /// Anything more, such as the numbers of the items; empty when there is nothing.
    #[serde(default)]
    pub detail: String,
}

/// How much of the trail is kept; the oldest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLimits {
    /// Most entries; default 100,000 (some 20 MB).
    pub entries_max: u64,
    /// Oldest age; default 365 days.
    pub age_max: Duration,
}

impl Default for AuditLimits {
    fn default() -> AuditLimits {
        AuditLimits { entries_max: 100_000, age_max: Duration::from_secs(365 * 24 * 60 * 60) }
    }
}

/// The audit trail.
pub trait Audit: Send + Sync {
    /// Adds an entry and drops what is over the limits (a few at a time). Durable when the
    /// future resolves: to be waited for before content is given out.
    fn append(&self, entry: AuditEntry) -> Pending<'_, ()>;

    /// The newest entries, newest first, leaving out the first `skip`, at most `limit`.
    fn newest(&self, skip: usize, limit: usize) -> Pending<'_, Vec<AuditEntry>>;
}
