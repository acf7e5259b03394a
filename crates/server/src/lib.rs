//! parlance-server
