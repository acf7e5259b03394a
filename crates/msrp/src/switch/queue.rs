//! How much may wait to be written for one participant (RFC 7701 §6.4).

/// Counts what waits for one session among all that waits on its connection, and what was dropped.
///
/// The connection knows what waits on it. That is the session's own as long as the connection has
/// no other; on a shared one two sums are kept, of what was queued before a mark and since, and
/// when the mark is written the first sum is gone. They never say less than what waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The octet of the connection up to which `before` was queued.
    mark: u64,
    before: u64,
    since: u64,
    /// Messages dropped since the last time nothing waited.
    dropped: u32,
}

/// What the connection of a session says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Octets that were ever queued.
    pub(super) queued: u64,
    /// Octets that wait.
    pub(super) waiting: u64,
    /// Octets of memory that they hold.
    pub(super) pinned: u64,
    /// Whether other sessions use it too.
    pub(super) shared: bool,
}

impl Queue {
    /// Whether `octets` more may wait without there being more than `max`. They are counted then.
    #[inline]
    pub(super) fn admit(&mut self, on: Waiting, octets: u64, max: u64) -> bool {
        if on.waiting == 0 {
            self.dropped = 0;
        }
        if on.queued - on.waiting >= self.mark {
            (self.before, self.since) = (self.since, 0);
            self.mark = on.queued;
        }
        let own = if on.shared { (self.before + self.since).min(on.waiting) } else { on.pinned };
        let fits = own + octets <= max;
        if fits {
            self.since += octets;
        }
        fits
    }

    /// Counts a message that was dropped. Whether there were more than `max`.
    pub(super) fn drop_one(&mut self, max: u32) -> bool {
        self.dropped += 1;
        self.dropped > max
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn alone_the_connection_is_the_measure() {
        let mut queue = Queue::default();
        let on = |waiting| Waiting { queued: 1000, waiting, pinned: waiting, shared: false };
        assert!(queue.admit(on(0), 100, 100));
        assert!(queue.admit(on(90), 10, 100));
        assert!(!queue.admit(on(91), 10, 100));
    }

    // Covers: MSRP-070
    #[test]
    fn drops_are_forgiven_when_nothing_waits() {
        let mut queue = Queue::default();
        let on = |waiting| Waiting { queued: 1000, waiting, pinned: waiting, shared: false };
        assert!(!queue.drop_one(2) && !queue.drop_one(2));
        queue.admit(on(10), 1, 100);
        assert!(queue.drop_one(2));
        queue.admit(on(0), 1, 100);
        assert!(!queue.drop_one(2));
    }

    proptest! {
        /// On a shared connection a session is never let over its limit, and is let in when nothing
        /// waits.
        #[test]
        fn shared_with_others(
            steps in prop::collection::vec((any::<bool>(), 1_u64..40, 0_u64..60), 1..200)
        ) {
            const MAX: u64 = 100;
            let mut queue = Queue::default();
            // What waits, in order: whose it is and how much.
            let mut line: std::collections::VecDeque<(bool, u64)> = Default::default();
            let mut queued = 0;
            for (ours, octets, written) in steps {
                let waiting: u64 = line.iter().map(|(_, octets)| octets).sum();
                let own: u64 = line.iter().filter(|(ours, _)| *ours).map(|(_, n)| n).sum();
                let on = Waiting { queued, waiting, pinned: 2 * waiting, shared: true };
                let admitted = if ours { queue.admit(on, octets, MAX) } else { true };
                if ours && admitted {
                    prop_assert!(own + octets <= MAX);
                }
                if ours && !admitted {
                    prop_assert!(waiting > 0);
                }
                if admitted {
                    line.push_back((ours, octets));
                    queued += octets;
                }
                let mut left = written;
                while let Some((_, first)) = line.front_mut() {
                    let taken = left.min(*first);
                    *first -= taken;
                    left -= taken;
                    if *first > 0 {
                        break;
                    }
                    line.pop_front();
                }
            }
        }
    }
}
