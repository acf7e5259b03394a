//! The role between a scripted network and an MSRP core without sockets, in paused time.

mod adding;
mod administering;
mod factory;
mod groups;
mod leaving;
pub(crate) mod media;
mod modifying;
mod passing;
mod reconnecting;
mod replacing;
mod telling;
mod world;
