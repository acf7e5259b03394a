//! The application server's side of ISC (3GPP TS 24.229 §5.7) and the contract of a role.

mod clock;
mod cx;
mod deferral;
mod forward;
mod incoming;
mod node;
mod private;
mod reply;
mod role;
mod shard;
mod wire;

pub use clock::Clock;
pub use cx::{Busy, Cx};
pub use deferral::{Cause, Deferral, Local, Offered};
pub use forward::{Forwarding, LANE_WAITING_MAX, MAX_FORWARDS, Outcome, pass};
pub use incoming::Incoming;
pub use node::Node;
pub use private::{Private, show_private};
pub use reply::Reply;
pub use role::{Role, Task};
pub use shard::{Arrival, Dispatch, Shard, ShardInput};
pub use wire::{Local as Socket, Locals, Lookup, NextHop, Targets, Wire};
