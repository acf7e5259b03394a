//! MSRP load (RFC 4975) against a relay (RFC 4976) or a switch (RFC 7701) under test.
//!
//! One thread plays both ends of every session: it sends, answers, and knows of each message who
//! has it. A message comes from a template whose fixed-width fields are patched; nothing is
//! allocated for each. The generator shares no code with the server: its own framing, templates,
//! digest and WebSocket.
//!
//! The sessions come from the server under test as one line of JSON ([`Legs`]), with both URIs of
//! each as a negotiation in SDP would have settled them, or from a relay by AUTH. Members of a
//! group, a room or a pair, hear each other. Every message ends in a stamp: its group, its
//! sender, its number, when it was due, and a sum; so each copy is counted once, in order, and a
//! sample is timed and summed. `--verify` looks at every octet.
//!
//! A closed loop ([`Options::window`]) finds what a server can do; an open loop
//! ([`Options::rate`]) finds how late it is at a load it can bear. The report says when the
//! generator itself was the bottleneck.
//!
//! The generator's own limits, all local:
//!
//! - A connection with 256 KiB unsent gets nothing new until it has been written.
//! - A frame larger than 16 MiB ends its connection.
//! - Every certificate is taken; nothing here is confidential.
//!
//! [`floor()`] is what a server would cost without a protocol.

mod auth;
mod command;
mod engine;
mod floor;
pub(crate) mod frame;
mod legs;
mod link;
mod measure;
mod message;
mod options;
mod receive;
mod report;
mod session;
mod stamp;
mod tls;
mod websocket;

pub use command::{MsrpLoadError, command, run};
pub use floor::{FloorOptions, floor};
pub use legs::{Leg, Legs, Pair, Room};
pub use options::{FailureReport, Options};
pub use report::{Generator, Latency, Moment, Report, Server};
