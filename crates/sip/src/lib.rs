//! SIP, sans-IO: messages, URIs, headers, SDP and the machines of RFC 3261 and its extensions.

pub mod grammar;
pub mod header;
mod method;
mod name;
mod timers;
pub mod transaction;
mod transport;
pub mod uri;

pub use method::Method;
pub use name::HeaderName;
pub use timers::{Reliability, Timers};
pub use transport::{ConnectionId, ListenerId, Source, Target, Transport};
