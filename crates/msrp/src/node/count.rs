//! What a node counts.

/// Counters since a node began, of what passed its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Octets that came.
    pub octets_received: u64,
    /// Octets queued to be written, on connections that are gone.
    pub octets_queued: u64,
    /// Requests that came, of all methods.
    pub requests: u64,
    /// 200s written.
    pub accepted: u64,
    /// Other responses written.
    pub refused: u64,
    /// Requests of ours that nobody answered in time, or whose connection was lost before.
    pub unanswered: u64,
}

impl Counts {
    pub(crate) fn received(&mut self, octets: usize) {
        self.octets_received += octets as u64;
    }

    pub(crate) fn answered(&mut self, code: u16) {
        if code == 200 {
            self.accepted += 1;
        } else {
            self.refused += 1;
        }
    }
}
