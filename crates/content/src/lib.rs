//! parlance-content
