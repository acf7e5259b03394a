//! parlance-deferred
