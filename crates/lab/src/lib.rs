//! parlance-lab
