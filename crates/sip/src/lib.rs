//! parlance-sip
