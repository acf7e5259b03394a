//! Measuring helpers shared by the benchmarks.
