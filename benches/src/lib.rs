//! Measuring helpers shared by the benchmarks.

pub mod allocations;
pub mod msrp;
pub mod timing;
