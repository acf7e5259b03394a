//! parlance-store
