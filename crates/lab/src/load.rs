//! Pager-mode load (RFC 3428) against a server under test.
//!
//! One thread plays both neighbours of the server: the S-CSCF that sends MESSAGEs to it, and the
//! next hop that receives what it forwards and answers 200. Every message comes from a template
//! whose fixed-width fields are patched; nothing is allocated per message.
//!
//! The generator's own limits, all local:
//!
//! - The table of outstanding transactions is a ring of [`Options::outstanding`] places. When a
//!   new transaction meets a place still in use, the old one is declared lost if its timer has
//!   run out; otherwise the new one is held back until the place is free, which is counted, makes
//!   the run unclean and names the generator as the bottleneck.
//! - At most [`Options::connections`] connections per address are opened and 64 are kept in all.
//! - A message longer than 8 KiB on a datagram, or 64 KiB on a stream, is not handled.
//!
//! Deviation: RFC 3261 §18.2.2 sends a response to the sent-by of the topmost Via; the next hop
//! played here answers to the address the datagram came from, as RFC 3581 does with `rport`. For
//! a server that sends from its listening port the two are the same.

pub(crate) mod clock;
mod command;
mod echo;
mod engine;
mod link;
mod measure;
mod message;
pub(crate) mod options;
mod pending;
mod plan;
pub(crate) mod process;
mod report;
mod search;
mod template;

pub use command::{LoadError, command, run};
pub use echo::{Echo, EchoOptions};
pub use options::{Options, Scenario, Transport};
pub use report::{Answers, Generator, Latency, Report, Server, Trial};
