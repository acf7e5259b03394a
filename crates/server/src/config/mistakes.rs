//! What is wrong with a configuration.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key, `section.key`; for what concerns no key, the file or the variable.
    pub key: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// A single mistake.
    pub fn one(key: &str, what: String) -> Self {
        Self(vec![Mistake { key: key.to_owned(), what }])
    }

    /// Adds a mistake.
    pub fn add(&mut self, key: &str, what: String) {
        self.0.push(Mistake { key: key.to_owned(), what });
    }

    /// Adds those of `other`.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes, in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.0.iter().enumerate() {
            let end = if position == 0 { "" } else { "\n" };
            write!(f, "{end}{}: {}", mistake.key, mistake.what)?;
        }
        Ok(())
    }
}
