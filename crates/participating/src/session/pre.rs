//! Pre-established sessions (OMA-TS-SIMPLE_IM §7.2.3.2): a client has one session with its own
//! participating function for long, and is joined by it to other sessions one after the other.
//!
//! | what | where | OMA-TS-SIMPLE_IM |
//! |---|---|---|
//! | the INVITE that establishes one | [`establish`] | §7.2.3.2 |
//! | the session, from then to its end | [`standing`] | §7.2.3.4, §7.2.3.12, §7.2.4.6.2 |
//! | what a REFER in it asks for | [`refer`] | §7.2.3.6, §7.2.3.11.2 |
//! | what comes of a REFER, told by NOTIFY | [`referral`] | §7.2.3.6 |
//! | an INVITE in the name of the user | [`calling`] | §7.2.3.6 |
//! | an invitation answered for the user | [`called`] | §7.2.4.2.2 |
//! | the dialog that is attached | [`attached`] | §7.2.4.6.3 |
//! | what either side is told of the other | [`description`] | |
//! | which user has which | [`table`] | |
//!
//! The client's leg and the media are those of one task; the attached dialog is another task, which
//! may run on another shard: an invitation comes where its user's identity leads, the session
//! stands where it was established. The two talk over a [`attached::Line`]. The messages pass
//! through a pair of MSRP sessions whose far side is given from one attached session to the next.

mod attached;
mod called;
mod calling;
mod description;
mod establish;
mod refer;
mod referral;
mod standing;
mod table;

pub(crate) use called::answer;
pub(crate) use establish::serve;
pub use table::PreEstablished;
