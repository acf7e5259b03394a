//! Event subscriptions, RFC 6665: the [`notifier`] and the [`subscriber`].
//!
//! Both know no message and no event package: they are told facts and say which SUBSCRIBE or NOTIFY
//! is due. Which dialog it is sent in, and with what body, is the caller's part.

pub mod notifier;
pub mod subscriber;

pub use notifier::Notifier;
pub use subscriber::Subscriber;

use std::fmt;
use std::time::Duration;

/// Why a subscription ends (RFC 6665 §4.1.3, `reason` parameter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Subscribe again at once, perhaps elsewhere.
    Deactivated,
    /// Subscribe again later.
    Probation,
    /// Not authorised (any more): do not subscribe again.
    Rejected,
    /// It expired, or was a fetch.
    Timeout,
    /// Authorisation could not be had in time.
    GiveUp,
    /// The resource is gone: do not subscribe again.
    NoResource,
    /// The state will not change: do not subscribe again.
    Invariant,
}

const REASONS: [(&str, Reason); 7] = [
    ("deactivated", Reason::Deactivated),
    ("probation", Reason::Probation),
    ("rejected", Reason::Rejected),
    ("timeout", Reason::Timeout),
    ("giveup", Reason::GiveUp),
    ("noresource", Reason::NoResource),
    ("invariant", Reason::Invariant),
];

impl Reason {
    /// Reads the parameter value, whatever its case; `None` when it is not one of RFC 6665.
    pub fn from_token(token: &str) -> Option<Self> {
        REASONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(token)).map(|(_, reason)| *reason)
    }

    /// The parameter value.
    pub fn token(self) -> &'static str {
        REASONS.iter().find(|(_, reason)| *reason == self).map_or("", |(name, _)| name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

/// What `Subscription-State` says (RFC 6665 §4.2.2). `Display` writes the header field value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Accepted and authorised.
    Active {
        /// Seconds left; a NOTIFY from a peer may omit it.
        expires: Option<u32>,
    },
    /// Accepted, not authorised yet.
    Pending {
        /// Seconds left; a NOTIFY from a peer may omit it.
        expires: Option<u32>,
    },
    /// Over.
    Terminated {
        /// Why; a NOTIFY from a peer may omit it or name one that is unknown here.
        reason: Option<Reason>,
        /// Seconds to wait before subscribing again.
        retry_after: Option<u32>,
    },
}

impl fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, expires) = match self {
            Self::Active { expires } => ("active", *expires),
            Self::Pending { expires } => ("pending", *expires),
            Self::Terminated { reason, retry_after } => {
                f.write_str("terminated")?;
                if let Some(reason) = reason {
                    write!(f, ";reason={reason}")?;
                }
                return match retry_after {
                    Some(seconds) => write!(f, ";retry-after={seconds}"),
                    None => Ok(()),
                };
            }
        };
        f.write_str(name)?;
        match expires {
            Some(seconds) => write!(f, ";expires={seconds}"),
            None => Ok(()),
        }
    }
}

/// Whether a final response to SUBSCRIBE or NOTIFY inside the dialog ends the subscription
/// (RFC 6665 §4.1.2.2, §4.2.2). 408 stands for no answer at all.
pub fn ends_subscription(status: u16) -> bool {
    matches!(status, 404 | 405 | 408 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}

/// Whole seconds, rounded up, so that a peer never refreshes too late by our rounding down.
fn seconds(duration: Duration) -> u32 {
    let whole = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    u32::try_from(whole).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: CORE-048
    #[test]
    fn states_are_written() {
        #[rustfmt::skip]
        let table = [
            (SubscriptionState::Active { expires: Some(600) },  "active;expires=600"),
            (SubscriptionState::Pending { expires: Some(60) },  "pending;expires=60"),
            (SubscriptionState::Pending { expires: None },      "pending"),
            (SubscriptionState::Terminated { reason: None, retry_after: None }, "terminated"),
            (
                SubscriptionState::Terminated {
                    reason: Some(Reason::Probation), retry_after: Some(30),
                },
                "terminated;reason=probation;retry-after=30",
            ),
        ];
        for (state, text) in table {
            assert_eq!(state.to_string(), text);
        }
    }

    // Covers: CORE-048
    #[test]
    fn reasons_are_read_and_written() {
        for name in
            ["deactivated", "probation", "rejected", "timeout", "giveup", "noresource", "invariant"]
        {
            let reason = Reason::from_token(name).expect(name);
            assert_eq!(reason.to_string(), name);
            assert_eq!(Reason::from_token(&name.to_uppercase()), Some(reason));
        }
        assert_eq!(Reason::from_token("expired"), None);
    }

    // Covers: CORE-048
    #[test]
    fn the_responses_that_end_a_subscription() {
        for status in [404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604] {
            assert!(ends_subscription(status), "{status}");
        }
        for status in [200, 202, 401, 403, 407, 423, 479, 486, 491, 500, 503, 600, 603] {
            assert!(!ends_subscription(status), "{status}");
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
        assert_eq!(seconds(Duration::MAX), u32::MAX);
    }
}
