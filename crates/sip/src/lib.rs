//! SIP, sans-IO: messages, URIs, headers and SDP, and the machines that run over them.
//!
//! | what | where | specification |
//! |---|---|---|
//! | a message as octets and an index | [`Message`], [`Edits`] | RFC 3261 §7, §16.6 |
//! | framing on streams | [`frame`] | RFC 3261 §18.3, RFC 5626 §4.4.1 |
//! | URIs and their comparison | [`uri`] | RFC 3261 §19.1, RFC 3966 |
//! | header fields | [`header`] | RFC 3261 §20 and the RFC named at each |
//! | session descriptions | [`sdp`] | RFC 4566, RFC 4975 §8 |
//! | transactions | [`transaction`], [`Endpoint`] | RFC 3261 §17, RFC 4320, RFC 6026 |
//! | dialogs and their INVITE usage | [`dialog`] | RFC 3261 §12 to §15 |
//! | acknowledged provisional responses | [`reliable`] | RFC 3262 |
//! | session timers | [`session_timer`] | RFC 4028 |
//! | proxying | [`proxy`] | RFC 3261 §16, RFC 5393 |
//! | standing between two dialogs | [`b2bua`] | RFC 3261 §6 |
//! | subscriptions and publications | [`subscription`], [`publication`] | RFC 6665, RFC 3903 |
//! | finding the next hop | [`locate`] | RFC 3263 |
//! | digest authentication | [`digest`] | RFC 3261 §22, RFC 7616, RFC 8760 |
//!
//! Start with [`Message`] for what is on the wire and with [`Endpoint`] for what happens to it.
//! Left out: SigComp, S/MIME, multicast, WebSocket.
//!
//! **Invariants:** no socket, clock, thread, lock or system randomness is reached from here: time
//! and random numbers are arguments. Nothing a peer can send makes anything here panic, and every
//! parser looks at each octet a bounded number of times.

pub mod b2bua;
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

/// Says that octets were looked at. Tests count them: none is looked at too often.
#[inline(always)]
pub(crate) fn examined(octets: usize) {
    #[cfg(test)]
    EXAMINED.set(EXAMINED.get() + octets);
    #[cfg(not(test))]
    let _ = octets;
}

#[cfg(test)]
thread_local! {
    /// Octets that readers of this thread have looked at.
    pub(crate) static EXAMINED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// An arbitrary origin for virtual time in tests.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary origin for virtual time")]
pub(crate) fn test_epoch() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
mod tests;
