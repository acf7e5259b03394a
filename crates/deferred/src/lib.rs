//! The deferred messaging function: store and forward for MESSAGE (OMA-TS-SIMPLE_IM §7.3,
//! RFC 3428 §7).
//!
//! A message whose recipient is away is offered ([`parlance_isc::Deferral::offer`]), kept durably
//! and answered 202. When a registration says that the recipient is back, his lane pushes what is
//! kept, one MESSAGE at a time and in the order of arrival, or tells him how much is kept, as he
//! or the operator wants it. What grows too old is removed, and its sender told if he asked.
//! Start with [`Deferred`].
//!
//! Covers OMA-TS-SIMPLE_IM §7.3.1 (storing), §7.3.4 (notifications) and the order, pacing and
//! retries of a push for pager mode; RFC 3428 §7 and §8; the `stored` and negative delivery
//! notifications of RFC 5438; §7.3.1.3 and §7.3.1.8 (large messages), §7.3.1.9 (`message-summary`,
//! RFC 3842). Left out: retrieval by the user, push over MSRP.
//!
//! **Invariant**: a 202 is answered only after the store said that the message is durable.
//! **Invariant**: for one recipient one lane runs at a time in the whole system (a lease of the
//! store), and it has one request in flight.
//! **Invariant**: the identifiers of a request are durable before it is sent; a request that was in
//! flight at a crash is sent again with the same ones, any other attempt has new ones.
//! **Invariant**: nothing is sent to a user who is not registered.

mod deferred;
mod imdn;
mod keep;
mod keeper;
mod lane;
mod large;
mod message;
mod meter;
mod offer;
mod pace;
mod policy;
mod refusal;
mod rest;
mod round;
mod rules;
#[cfg(test)]
mod scenario;
mod session;
mod summary;
mod sweep;
mod verdict;

pub use deferred::{Deferred, Setup};
pub use policy::{Delivery, Policy};
