//! Why an inbox with items rests, as the store keeps it beside the inbox.

use std::time::Duration;

use crate::Policy;

/// Why nothing is being sent for an inbox that holds items.
///
/// Kept durably in the failure count of the inbox ([`parlance_store::Inboxes::postpone`]); the two
/// highest counts, which no back-off reaches, stand for the two rests that only an event ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It does not: what is there may be sent at once.
    Ready,
    /// So many deliveries in a row failed; it is due again when the back-off is over.
    BackOff(u32),
    /// The user was told and acts himself, or there is nothing that could be sent: until something
    /// new comes, or he registers anew.
    Told,
    /// The user does not want to be disturbed (DF-081): until he registers anew.
    Declined,
}

const TOLD: u32 = u32::MAX;
const DECLINED: u32 = u32::MAX - 1;

impl Rest {
    /// Reads the failure count of an inbox.
    pub(crate) fn of(failures: u32) -> Rest {
        match failures {
            0 => Rest::Ready,
            TOLD => Rest::Told,
            DECLINED => Rest::Declined,
            failures => Rest::BackOff(failures),
        }
    }

    /// The failure count that says so.
    pub(crate) fn failures(self) -> u32 {
        match self {
            Rest::Ready => 0,
            Rest::BackOff(failures) => failures.clamp(1, DECLINED - 1),
            Rest::Told => TOLD,
            Rest::Declined => DECLINED,
        }
    }

    /// After one more failure, and how long it lasts; `asked` is what the other side asked for
    /// (RFC 3261 §20.33), honoured up to the longest wait.
    pub(crate) fn failed(self, policy: &Policy, asked: Option<Duration>) -> (Rest, Duration) {
        let failures = match self {
            Rest::BackOff(failures) => failures.saturating_add(1),
            Rest::Ready | Rest::Told | Rest::Declined => 1,
        };
        let asked = asked.unwrap_or_default().min(policy.retry_max);
        (Rest::BackOff(failures), policy.back_off(failures).max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::{DECLINED, Duration, Policy, Rest};

    #[test]
    fn the_count_tells_the_rest() {
        for rest in [Rest::Ready, Rest::BackOff(1), Rest::BackOff(7), Rest::Told, Rest::Declined] {
            assert_eq!(Rest::of(rest.failures()), rest);
        }
        let most = Rest::BackOff(u32::MAX).failures();
        assert_eq!(Rest::of(most), Rest::BackOff(DECLINED - 1));
    }

    // Covers: DF-065
    #[test]
    fn each_failure_waits_longer() {
        let policy = Policy::default();
        let wait = |rest: Rest, asked: Option<u64>| {
            let (rest, wait) = rest.failed(&policy, asked.map(Duration::from_secs));
            (rest, wait.as_secs())
        };
        assert_eq!(wait(Rest::Ready, None), (Rest::BackOff(1), 60));
        assert_eq!(wait(Rest::Told, None), (Rest::BackOff(1), 60));
        assert_eq!(wait(Rest::BackOff(1), None), (Rest::BackOff(2), 120));
        assert_eq!(wait(Rest::BackOff(1), Some(100)), (Rest::BackOff(2), 120));
        assert_eq!(wait(Rest::BackOff(1), Some(300)), (Rest::BackOff(2), 300));
        assert_eq!(wait(Rest::Ready, Some(1 << 40)), (Rest::BackOff(1), 3600));
    }
}
