//! MSRP, sans-IO: chunks on connections, and what endpoints, relays and switches do with them.
//!
//! | what | where | specification |
//! |---|---|---|
//! | URIs, their comparison, and paths of them | [`MsrpUri`], [`Path`] | RFC 4975 §6, RFC 7977 §5 |
//! | transaction identifiers | [`TransactionId`] | RFC 4975 §7.1 |
//! | header fields | [`header`] | RFC 4975 §9, RFC 4976 §7, RFC 7701 §7.1 |
//! | a head, read in one pass | [`Head`] | RFC 4975 §9 |
//! | framing, whatever the reads | [`Framer`], [`Piece`] | RFC 4975 §7.3.1 |
//! | writing heads, responses, reports | [`mod@write`] | RFC 4975 §7.1, §7.2 |
//! | what waits to be written | [`Outbound`] | |
//! | all connections and sessions of a core | [`Node`] | RFC 4975 §5.4, §7.3 |
//! | sessions whose messages begin or end here | [`endpoint`] | RFC 4975 §7, §10 |
//! | messages that pass through | [`relay`] | RFC 4976, RFC 6714 §6.2 |
//! | rooms | [`switch`] | RFC 7701 |
//! | what offer and answer agree on | [`negotiate`] | RFC 4975 §8, RFC 6135, RFC 6714, RFC 5547 |
//!
//! Start with [`Node`]. A quiet session with a connection of its own takes 1.5 KiB in here, its
//! texts included; what a message in progress takes more has the limits named at each role.
//!
//! **Invariants:** no socket, clock, thread, lock or system randomness is reached from here: time
//! and random numbers are arguments. Nothing a peer can send makes anything here panic, and every
//! reader looks at each octet a bounded number of times.

mod chunk;
mod end_line;
pub mod endpoint;
mod frame;
mod head;
pub mod header;
mod hold;
mod lead;
mod lent;
pub mod negotiate;
pub mod node;
mod outbound;
pub mod path;
mod pending;
mod reassembly;
pub mod relay;
mod report;
mod seen;
mod session;
pub mod switch;
mod transaction_id;
mod uri;
pub mod write;

pub use chunk::{CHUNK_OCTETS_MAX, INTERRUPTIBLE_OCTETS_MIN};
pub use end_line::Continuation;
pub use frame::{FrameError, Framer, Limits, Piece};
pub use head::{Head, HeadError, Line, Lines, MalformedHead, Method, Start};
pub use hold::HoldLimits;
pub use lead::{LEAD_OCTETS_MAX, Lead, lead};
pub use lent::{LendError, LentUris, Refused, Ticket};
pub use node::{
    CertificateHash, CloseReason, ConnectError, ConnectionId, Counts, Event, Hop, Input, Lost,
    Node, NodeConfig, Output, Peer, Places, REFUSAL_CODES, Standing, Tls,
};
pub use outbound::{Marks, Outbound, SHARED_OCTETS_MIN};
pub use path::Path;
pub use pending::{PENDING_MAX, RESPONSE_DELAY};
pub use reassembly::{RANGES_MAX, Ranges, Reassembly, ReassemblyError};
pub use seen::SEEN_MAX;
pub use session::{FromRule, LocalAddress, SessionKey, Usage, core_of};
pub use transaction_id::{TransactionId, TransactionIdError};
pub use uri::{MsrpUri, Scheme, UriError, UriRef};

/// Says that octets were looked at. Tests count them: none is looked at too often.
#[inline]
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

/// A repeatable generator for tests (SplitMix64).
#[cfg(test)]
pub(crate) fn seeded(mut seed: u64) -> impl FnMut() -> u64 + Send {
    move || {
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
