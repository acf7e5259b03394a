//! Sessions on virtual time: what a peer sees, and what the role is told.

mod bench;
mod offers;
mod shards;
mod timers;
mod uac;
mod uas;
mod watchers;
