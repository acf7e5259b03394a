//! parlance-net
