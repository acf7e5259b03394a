//! Places of which there are only so many: for copies on their way, for large messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many places are taken, on all shards, and who waits for one.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: AtomicUsize,
    freed: Notify,
}

/// A place; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Places {
    /// Takes a place when fewer than `most` are taken.
    pub(super) fn take(self: &Arc<Self>, most: usize) -> Option<Place> {
        let more = |taken: usize| (taken < most).then(|| taken + 1);
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.ok().map(|_| Place(Arc::clone(self)))
    }

    /// Takes a place, when one is free: whoever waits longest comes first. `most` says each time
    /// how many there are, at least one.
    pub(super) async fn wait(self: &Arc<Self>, most: impl Fn() -> usize) -> Place {
        loop {
            let most = most().max(1);
            if let Some(place) = self.take(most) {
                // Several may have become free at once.
                if self.taken.load(Ordering::Acquire) < most {
                    self.freed.notify_one();
                }
                return place;
            }
            self.freed.notified().await;
        }
    }

    /// Takes a place whether one is free or not: for what was begun before.
    pub(super) fn take_anyway(self: &Arc<Self>) -> Place {
        self.taken.fetch_add(1, Ordering::AcqRel);
        Place(Arc::clone(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Places;

    #[tokio::test]
    async fn there_are_only_so_many() {
        let places: Arc<Places> = Arc::default();
        let first = places.take(2).unwrap();
        let second = places.wait(|| 2).await;
        assert!(places.take(2).is_none());
        let forced = places.take_anyway();
        drop(first);
        assert!(places.take(2).is_none(), "the third counts");
        drop((second, forced));
        assert!(places.take(1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_come_in_as_places_become_free() {
        let places: Arc<Places> = Arc::default();
        let held = [places.take_anyway(), places.take_anyway()];
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let places = Arc::clone(&places);
                tokio::spawn(async move { drop(places.wait(|| 2).await) })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        drop(held);
        for task in waiting {
            task.await.unwrap();
        }
        // A limit of none would be for ever.
        drop(places.wait(|| 0).await);
    }
}
