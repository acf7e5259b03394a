//! parlance-isc
