//! The participating IM function (OMA-TS-SIMPLE_IM §7.2) for messages and sessions, for who sends
//! or invites and for who receives or is invited, the settings that users publish, and the passing
//! through of every other request of a served user.
//!
//! Start from [`Participating`], which is a role of `parlance-isc`. [`Policy`] is the operator's
//! configuration; [`welcome`] tells a user about his new profile.
//!
//! Covers OMA-TS-SIMPLE_IM §7.2.2.1, §7.2.2.4, §7.2.2.6 and §7.2.4.1 for MESSAGE, §7.2.3 and
//! §7.2.4.2 for sessions, §7.2.3.16, with RFC 3428, RFC 3323, RFC 3325, RFC 3903, RFC 4028 and
//! RFC 5079. Left out: presence; the answers of the deferred function, which it gives itself.
//!
//! **Invariant:** no state is kept between messages but how much each user has sent lately
//! (OMA-TS-SIMPLE_IM §7.1.3.1); of sessions how many each takes part in, which is primary or locks
//! the others (§7.2.2.10), and by which identity it is rejoined (§7.2.3.5).
//! **Invariant:** the body of a message is never changed, and of its head only what
//! [`Policy`] and `amend` name.
//! **Invariant:** no 408 is sent, and no 5xx but one that an RFC demands or the operator wants
//! relayed: over ISC it would make the S-CSCF go on without the server.

mod access;
mod amend;
mod content;
mod event;
mod history;
mod lifetime;
mod originating;
mod passage;
mod policy;
mod refusal;
mod rights;
mod role;
mod session;
mod settings;
mod target;
mod terminating;
mod welcome;

#[cfg(test)]
mod tests;

pub use access::Lists;
pub use content::{ContentFilter, Part, Verdict};
pub use event::{Ended, Event, EventSink, Step, Traffic, Volume};
pub use history::{History, Message};
pub use policy::{AnonymousAnswer, ExcessAnswer, Notice, Policy, PolicyMistake};
pub use policy::{GROUP_ADVERTISEMENT, PERSONAL_ALERT};
pub use policy::{PreEstablishedPolicy, SessionMedia};
pub use policy::{SessionPolicy, SettingsPolicy, SizeAnswer, Warnings};
pub use refusal::{Refusal, refusal, stored};
pub use role::Participating;
pub use session::{PreEstablished, Seats};
pub use settings::end_published;
pub use target::{TargetError, TargetPattern};
pub use welcome::welcome;
