//! Which core has a session, for all cores and whoever opens sessions there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use parlance_msrp::path::session_id;
use parlance_msrp::{LentUris, Refused, core_of};

use super::meter::LentMeter;

/// [`LentUris`] that cores share. They look only at a new connection, and at a request for a
/// session that they do not have; nothing is locked while nothing is lent.
#[derive(Debug)]
pub(crate) struct Lent {
    count: AtomicUsize,
    uris: RwLock<LentUris>,
    meter: LentMeter,
}

impl Lent {
    pub(crate) fn new(max: usize, seed: u64) -> Self {
        let uris = RwLock::new(LentUris::new(max, seed));
        Self { count: AtomicUsize::new(0), uris, meter: LentMeter::new() }
    }

    /// Does something with them.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut LentUris) -> T) -> T {
        // One operation is complete in itself, so what a panic left behind is still usable.
        let mut uris = self.uris.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut uris);
        self.count.store(uris.len(), Ordering::Release);
        self.meter.lent.set(uris.len() as f64);
        let Refused { taken, full } = uris.refused();
        self.meter.taken.absolute(taken);
        self.meter.full.absolute(full);
        changed
    }

    /// The core of the session that `uri` names.
    pub(crate) fn core_of(&self, uri: &[u8]) -> Option<u8> {
        if self.count.load(Ordering::Acquire) == 0 {
            return core_of(session_id(uri)?);
        }
        self.uris.read().unwrap_or_else(PoisonError::into_inner).core_of(uri)
    }
}
