//! The threads that receive.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;

/// The runtimes that the listeners and connections of a [`crate::Net`] are shared out over.
#[derive(Debug)]
pub struct Runtimes {
    first: Handle,
    others: Vec<Handle>,
    turn: AtomicUsize,
}

impl Runtimes {
    /// At least one.
    pub fn new(first: Handle, others: Vec<Handle>) -> Self {
        Self { first, others, turn: AtomicUsize::new(0) }
    }

    /// Where connections are accepted.
    pub(crate) fn first(&self) -> &Handle {
        &self.first
    }

    /// The one whose turn it is.
    pub(crate) fn next(&self) -> &Handle {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % (self.others.len() + 1);
        self.others.get(turn).unwrap_or(&self.first)
    }
}
