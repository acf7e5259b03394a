//! The architecture rules that a compiler does not check.

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/metadata.rs"]
mod metadata;
#[path = "tidy/ratchet.rs"]
mod ratchet;
#[path = "tidy/size.rs"]
mod size;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/supply.rs"]
mod supply;
#[path = "tidy/tree.rs"]
mod tree;
