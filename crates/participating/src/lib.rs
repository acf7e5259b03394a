//! parlance-participating
