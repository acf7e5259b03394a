//! SIP, sans-IO: messages, URIs, headers, SDP and the machines of RFC 3261 and its extensions.

pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod entropy;
pub mod frame;
pub mod grammar;
pub mod header;
pub mod locate;
pub mod message;
mod method;
mod name;
pub mod proxy;
pub mod publication;
pub mod reliable;
pub mod sdp;
pub mod session_timer;
pub mod subscription;
mod timers;
pub mod transaction;
mod transport;
pub mod uri;

pub use endpoint::{ClientKey, Endpoint, EndpointConfig, ServerKey};
pub use entropy::Entropy;
pub use message::{Edits, Message, Request, RequestBuilder, Response, ResponseBuilder};
pub use method::Method;
pub use name::HeaderName;
pub use timers::{Reliability, Timers};
pub use transport::{ConnectionId, ListenerId, Source, Target, Transport};

/// An arbitrary origin for virtual time in tests.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary origin for virtual time")]
pub(crate) fn test_epoch() -> std::time::Instant {
    std::time::Instant::now()
}
