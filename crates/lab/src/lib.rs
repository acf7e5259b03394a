//! The lab: the other end of Parlance's scenarios, and the load it is measured under.
//!
//! [`load`] plays pager-mode load against a server over real sockets (RFC 3428, RFC 3261 and the
//! ISC headers of RFC 5502, RFC 7315). Start from [`load::Options`] and [`load::run`].
//! [`msrp_load`] plays session-mode load against an MSRP relay or switch (RFC 4975, RFC 4976,
//! RFC 7701), and has the floor that such a server can be compared with.
//!
//! The virtual half is everything a scenario needs around the server: a [`network`] that loses,
//! delays, copies and reorders with a seed, a small SIP/IP [`core`], scripted UEs ([`ue`],
//! [`raw`]). [`flow`] plays what the service does in it, and draws it.
//!
//! **Invariant:** the virtual half reads tokio's clock only, so that a scenario runs on virtual
//! time, and one seed gives one course of events.
//!
//! **Invariant:** the load generators share no code with the server they measure: their own
//! sockets, their own scanners, messages from templates.

pub mod core;
pub mod demo;
pub mod flow;
pub mod fuzz;
pub mod load;
pub mod msrp_load;
pub mod network;
pub mod raw;
pub mod transaction;
pub mod ue;
pub mod world;
