//! How many connections there may be: in total, and from one source (SEC-012).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the connections of one kind of listener, from any thread.
#[derive(Debug)]
pub(crate) struct Admissions {
    total_max: usize,
    per_source_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    admitted: usize,
    by_source: HashMap<IpAddr, usize>,
    closed: bool,
}

/// Why there is no room for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are as many as allowed, or none are taken any more.
    Total,
    /// That source has as many as allowed.
    Source,
}

/// Room for one connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    admissions: Arc<Admissions>,
    source: Option<IpAddr>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.admissions.counts();
        counts.admitted = counts.admitted.saturating_sub(1);
        if let Some(source) = self.source {
            let left = counts.by_source.get(&source).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                counts.by_source.remove(&source);
            } else {
                counts.by_source.insert(source, left);
            }
        }
    }
}

impl Admissions {
    /// Room for `total_max` connections, of which `per_source_max` may be from one source.
    pub(crate) fn new(total_max: usize, per_source_max: usize) -> Self {
        Self { total_max, per_source_max, counts: Mutex::default() }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Each change is complete in itself, so what a panic left behind is still usable.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for one connection; `source` is whom it counts against, if anybody.
    pub(crate) fn admit(self: &Arc<Self>, source: Option<IpAddr>) -> Result<Admission, Full> {
        let mut counts = self.counts();
        if counts.closed || counts.admitted >= self.total_max {
            return Err(Full::Total);
        }
        if let Some(source) = source {
            let count = counts.by_source.get(&source).copied().unwrap_or(0);
            if count >= self.per_source_max {
                return Err(Full::Source);
            }
            counts.by_source.insert(source, count + 1);
        }
        counts.admitted += 1;
        Ok(Admission { admissions: Arc::clone(self), source })
    }

    /// Admits nothing any more.
    pub(crate) fn close(&self) {
        self.counts().closed = true;
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.counts().admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: SEC-012
    #[test]
    fn room_is_bounded_and_given_back() {
        let admissions = Arc::new(Admissions::new(3, 2));
        let source = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        let first = admissions.admit(source(1)).unwrap();
        let _second = admissions.admit(source(1)).unwrap();
        assert_eq!(admissions.admit(source(1)).unwrap_err(), Full::Source);
        let _other = admissions.admit(source(2)).unwrap();
        assert_eq!(admissions.admit(source(3)).unwrap_err(), Full::Total);
        assert_eq!(admissions.admit(None).unwrap_err(), Full::Total);
        drop(first);
        let _again = admissions.admit(source(1)).unwrap();
        assert_eq!(admissions.len(), 3);
        admissions.close();
        assert_eq!(admissions.admit(None).unwrap_err(), Full::Total, "closed");
        assert_eq!(admissions.counts().by_source.len(), 2, "a refused source is not remembered");
    }
}
