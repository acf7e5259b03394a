//! The architecture rules that a compiler does not check.
