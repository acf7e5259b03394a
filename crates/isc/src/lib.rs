//! The application server's side of ISC (3GPP TS 24.229 §5.7) and the contract of a role.
//!
//! A request that `sip` has matched to a transaction comes here and is decided about, once: is the
//! peer trusted ([`trust`]), whom does it serve and on which side ([`served_user`]), and which
//! function takes it ([`decision`]). The third-party REGISTER is served here ([`registration`]);
//! filter criteria are read, evaluated and written ([`ifc`]); every decision is kept with its
//! reason ([`journal`]). Where the operator wants it, the server subscribes to the `reg` event of
//! each registered user as well ([`RegEventPolicy`]).
//!
//! A [`Shard`] runs the machines of `sip` and the roles over them. A role is `async` code over
//! [`Cx`] (the shard), [`Incoming`] (a request and its answer) and [`Forwarding`] (a request sent
//! on). What is outside a shard is a [`Wire`]: sockets in the server, a simulated network in the
//! lab.
//!
//! In a session ([`session`]) the server is a user agent: a role takes and sends INVITEs, and holds
//! legs and subscriptions. Its MSRP sessions, pairs and rooms are handles of [`Media`] over the
//! machines of `msrp`, which run on cores of their own behind [`media::MediaCores`].
//!
//! Start with [`decision::decide`].
//!
//! **Invariants:** one decision for a request, made before any role sees it. Roles share a shard's
//! state only through the handles; nothing here depends on how the network is made.

mod charging;
mod clock;
mod cx;
pub mod decision;
mod deferral;
mod description;
mod dispatch;
mod feature;
#[cfg(test)]
mod fixture;
mod forward;
mod gate;
pub mod ifc;
mod incoming;
pub mod journal;
mod mark;
pub mod media;
mod node;
mod private;
mod rate;
pub mod reception;
mod reg_event;
pub mod registration;
mod reply;
mod role;
pub mod served_user;
pub mod service;
pub mod session;
mod shard;
pub mod trust;
mod way;
mod wire;

pub use charging::{Charging, charging_vector};
pub use clock::Clock;
pub use cx::{Busy, Cx};
pub use decision::{Decider, Decision, Function, Reason, Refusal, RefusalPolicy, refusal, warning};
pub use deferral::{Cause, Deferral, Local, Offered};
pub use description::session_description;
pub use dispatch::{Dispatcher, RegistrationEvents, Rules};
pub use feature::{Mode, asks_for_im, has_im_tag};
pub use forward::{
    Downstream, Fate, Forwarding, LANE_WAITING_MAX, MAX_FORWARDS, Outcome, pass, pass_with,
};
pub use gate::{Gate, Ha1, Proof, Secrets};
pub use incoming::Incoming;
pub use mark::{Marks, Origin};
pub use media::{Media, MediaError};
pub use node::Node;
pub use parlance_sip::header::SessionCase;
pub use private::{Private, show_private};
pub use rate::{Rate, Rates};
pub use reg_event::{RegEventPolicy, pass_on};
pub use reply::Reply;
pub use role::{Lent, Permit, Role, Task};
pub use shard::{Arrival, Dispatch, Shard, ShardInput};
pub use way::Way;
pub use wire::{Local as Socket, Locals, Lookup, NextHop, Targets, Wire, transport_parameter};
