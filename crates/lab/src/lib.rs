//! The lab: the other end of Parlance's scenarios, and the load it is measured under.
//!
//! [`load`] plays pager-mode load against a server over real sockets (RFC 3428, RFC 3261 and the
//! ISC headers of RFC 5502, RFC 7315). Start from [`load::Options`] and [`load::run`].
//!
//! **Invariant:** the load generator shares no code with the server it measures: its own sockets,
//! its own scanner, messages from templates.

pub mod load;
