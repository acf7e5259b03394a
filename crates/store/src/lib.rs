//! What must survive: registrations, profiles, deferred messages and the audit trail.
//!
//! One trait for each thing kept ([`Registrations`], [`Profiles`], [`Inboxes`], [`Explosions`],
//! [`Audit`]), two implementations of all five: [`Embedded`] (one file, durable, group commit,
//! optionally sealed) and [`Memory`] (scenarios on virtual time). [`Store`] bundles the five; start
//! there. The suite in `conformance` (feature `conformance`) is the contract in executable form.
//!
//! Covers what RFC 3261 §10.3, RFC 3428 §7 (a 202 promises delivery) and OMA-TS-SIMPLE_IM §7.2.1
//! and §7.3.1 ask to be kept. Conversation history, XDM documents and room locations are not here.
//!
//! **Invariant**: no clock and no randomness from the system decides anything a caller can see;
//! the time is an argument. (Sealing salts come from the cryptographic library.)
//! **Invariant**: each operation concerns one user or one explosion, is atomic, and can be written
//! as one script on one slot of a clustered key-value store. Indexes across users may lag and can
//! be rebuilt.
//! **Invariant**: a future that resolves to `Ok` after a change means the change is durable.
//! **Invariant**: no private threads. Commits run under `spawn_blocking`, where a paused clock
//! sees them.

mod audit;
mod bundle;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod embedded;
mod error;
mod explosion;
mod identity;
mod inbox;
mod memory;
mod names;
mod profile;
mod registration;
mod settings;
mod time;

pub use audit::{Access, Audit, AuditEntry, AuditLimits};
pub use bundle::Store;
pub use embedded::{Embedded, EmbeddedConfig, OpenError, SealKey};
pub use error::{Pending, StoreError};
pub use explosion::{
    Begun, EXPLODED_WINDOW, Explosion, ExplosionId, Explosions, NewExplosion, RECIPIENT_OCTETS_MAX,
    RECIPIENTS_MAX,
};
pub use identity::{Cached, IDENTITY_OCTETS_MAX, UserId};
pub use inbox::{
    Accepted, Attempt, Counts, DEDUP_WINDOW, DedupKey, Fence, Inboxes, Item, NewItem, PAGE_MAX,
    PAYLOAD_OCTETS_MAX, Quota, Seq, Settlement, Withdrawn,
};
pub use memory::Memory;
pub use profile::{
    AnonymousPolicy, Creation, Deferral, Entry, Profile, Profiles, RejectAnswer, Rights, Visibility,
};
pub use registration::{
    Binding, Bound, ChargingAddresses, Contact, LIST_MAX, Registration, RegistrationId,
    Registrations,
};
pub use settings::{Publication, PublishedSettings, Settings};
pub use time::Millis;
