//! The architecture rules that a compiler does not check.

#[cfg(test)]
#[path = "tidy/arrows.rs"]
mod arrows;
#[cfg(test)]
#[path = "tidy/glossary.rs"]
mod glossary;
#[cfg(test)]
#[path = "tidy/metadata.rs"]
mod metadata;
#[cfg(test)]
#[path = "tidy/ratchet.rs"]
mod ratchet;
#[cfg(test)]
#[path = "tidy/size.rs"]
mod size;
#[cfg(test)]
#[path = "tidy/source.rs"]
mod source;
#[cfg(test)]
#[path = "tidy/supply.rs"]
mod supply;
#[cfg(test)]
#[path = "tidy/tree.rs"]
mod tree;
