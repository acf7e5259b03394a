//! The four transaction machines of RFC 3261 §17, as amended by RFC 6026 and RFC 4320.
//!
//! One module per figure. They share the timer values and nothing else:
//!
//! - [`invite_client`]: Figure 5 of RFC 6026
//! - [`non_invite_client`]: Figure 6 of RFC 3261
//! - [`invite_server`]: Figure 7 of RFC 6026
//! - [`non_invite_server`]: Figure 8 of RFC 3261
//!
//! A machine knows no message: it is told facts (a status code, that the request came again) and
//! keeps the octets it may have to send again. Outputs carry no payload; `Send` means "transmit
//! what `last` gives". Drain the outputs after each input, so that `last` and the response just
//! fed are the ones meant.
//!
//! Which messages belong to which machine (§17.1.3, §17.2.3) is decided by whoever holds them.

pub mod invite_client;
pub mod invite_server;
pub mod non_invite_client;
pub mod non_invite_server;

use smallvec::SmallVec;

pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use non_invite_client::NonInviteClient;
pub use non_invite_server::NonInviteServer;

/// Outputs not yet drained. One input gives at most three, so nothing is allocated.
pub(crate) type Outputs<T> = SmallVec<[T; 4]>;

/// Takes the oldest output.
pub(crate) fn pop<T: Copy>(outputs: &mut Outputs<T>) -> Option<T> {
    (!outputs.is_empty()).then(|| outputs.remove(0))
}
