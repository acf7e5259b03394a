//! MSRP, sans-IO: chunks on connections, and what endpoints, relays and switches do with them.
//!
//! | what | where | specification |
//! |---|---|---|
//! | URIs, their comparison, and paths of them | [`MsrpUri`], [`Path`] | RFC 4975 §6, RFC 7977 §5.2 |
//! | transaction identifiers | [`TransactionId`] | RFC 4975 §7.1 |
//! | header fields | [`header`] | RFC 4975 §9, RFC 4976 §7, RFC 7701 §7.1 |
//! | a head, read in one pass | [`Head`] | RFC 4975 §9 |
//! | framing, whatever the reads | [`Framer`], [`Piece`] | RFC 4975 §7.3.1 |
//! | writing heads, responses, reports | [`write`] | RFC 4975 §7.1, §7.2 |
//! | what waits to be written | [`Outbound`] | |
//!
//! **Invariants:** no socket, clock, thread, lock or system randomness is reached from here: time
//! and random numbers are arguments. Nothing a peer can send makes anything here panic, and every
//! reader looks at each octet a bounded number of times.

mod end_line;
mod frame;
mod head;
pub mod header;
mod outbound;
pub mod path;
mod transaction_id;
mod uri;
pub mod write;

pub use end_line::Continuation;
pub use frame::{FrameError, Framer, Limits, Piece};
pub use head::{Head, HeadError, Line, Lines, MalformedHead, Method, Start};
pub use outbound::{Marks, Outbound, SHARED_OCTETS_MIN};
pub use path::Path;
pub use transaction_id::{TransactionId, TransactionIdError};
pub use uri::{MsrpUri, Scheme, UriError, UriRef};
