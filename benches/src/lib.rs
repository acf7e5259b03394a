//! Measuring helpers shared by the benchmarks.

pub mod allocations;
pub mod msrp;
pub mod server;
pub mod signalling;
pub mod timing;
