//! What the scenarios across the crates have in common: the server as a process of its own.

pub mod process;
