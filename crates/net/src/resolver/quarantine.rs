//! Who failed lately, and is therefore tried last (RFC 3263 §4.3, RFC 3261 §21.5.4).

use std::collections::HashMap;
use std::time::Duration;

use parlance_sip::locate::Candidate;
use tokio::time::Instant;

/// Targets remembered. Local limit: beyond it a failing target is simply tried in its turn.
const TARGETS_MAX: usize = 1024;

/// The longest a target is tried last, whatever its Retry-After says. Local limit: an operator who
/// repaired it should not have to restart us.
const QUARANTINE_MAX: Duration = Duration::from_secs(600);

/// The failed targets, and until when each is tried last.
#[derive(Debug)]
pub(super) struct Quarantine {
    default: Duration,
    until: HashMap<Candidate, Instant>,
}

impl Quarantine {
    pub(super) fn new(default: Duration) -> Self {
        Self { default, until: HashMap::new() }
    }

    pub(super) fn add(&mut self, now: Instant, candidate: Candidate, wait: Option<Duration>) {
        if self.until.len() >= TARGETS_MAX {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < TARGETS_MAX || self.until.contains_key(&candidate) {
            let wait = wait.unwrap_or(self.default).min(QUARANTINE_MAX);
            self.until.insert(candidate, now + wait);
        }
    }

    /// The same candidates, those that failed last; otherwise in the same order.
    pub(super) fn order(&self, now: Instant, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        if !self.until.is_empty() {
            let failed = |one: &Candidate| self.until.get(one).is_some_and(|until| *until > now);
            candidates.sort_by_key(failed);
        }
        candidates
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::Transport;

    use super::*;

    fn candidate(port: u16) -> Candidate {
        Candidate { transport: Transport::Udp, address: ([192, 0, 2, 1], port).into() }
    }

    fn ports(quarantine: &Quarantine, now: Instant) -> Vec<u16> {
        let candidates = quarantine.order(now, [1, 2, 3].map(candidate).into());
        candidates.iter().map(|candidate| candidate.address.port()).collect()
    }

    // Covers: CORE-014
    #[test]
    fn who_failed_is_tried_last_for_a_while() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut quarantine = Quarantine::new(Duration::from_secs(30));
        assert_eq!(ports(&quarantine, start), [1, 2, 3]);
        quarantine.add(start, candidate(1), None);
        quarantine.add(start, candidate(2), Some(Duration::from_secs(5)));
        assert_eq!(ports(&quarantine, after(4)), [3, 1, 2]);
        assert_eq!(ports(&quarantine, after(5)), [2, 3, 1]);
        assert_eq!(ports(&quarantine, after(30)), [1, 2, 3]);
        quarantine.add(start, candidate(1), Some(Duration::from_secs(86_400)));
        assert_eq!(ports(&quarantine, after(599)), [2, 3, 1]);
        assert_eq!(ports(&quarantine, after(600)), [1, 2, 3]);
    }

    #[test]
    fn the_table_is_bounded() {
        let start = Instant::now();
        let mut quarantine = Quarantine::new(Duration::from_secs(30));
        for port in 0..2000 {
            quarantine.add(start, candidate(port), None);
        }
        assert_eq!(quarantine.until.len(), TARGETS_MAX);
        assert_eq!(ports(&quarantine, start), [1, 2, 3], "all of them failed");
        quarantine.add(start + Duration::from_secs(30), candidate(3000), None);
        assert_eq!(quarantine.until.len(), 1, "those whose time is over made room");
    }
}
