//! One branch of a response context, and how its final response ranks (RFC 3261 §16.7).

use std::time::Instant;

/// One branch of a response context.
#[derive(Clone, Copy, Debug)]
pub(super) enum Branch {
    Waiting,
    Pending {
        share: u8,
        heard: bool,
        timer_c: Option<Instant>,
        cancelled: bool,
    },
    Answered {
        status: u16,
        origin: Origin,
        terminated: bool,
    },
    /// Terminated, or never started and not going to be.
    Skipped,
}

/// Where a final status comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Peer,
    Ourselves,
}

impl Branch {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting)
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self, Self::Pending { .. })
    }

    /// Whether its client transaction has terminated, or never was.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Waiting | Self::Pending { .. } => false,
            Self::Answered { terminated, .. } => *terminated,
            Self::Skipped => true,
        }
    }

    pub(super) fn timer_c(&self) -> Option<Instant> {
        match self {
            Self::Pending { timer_c, .. } => *timer_c,
            Self::Waiting | Self::Answered { .. } | Self::Skipped => None,
        }
    }

    /// A branch with a final response gives its share back (RFC 5393 §5.3.3.1).
    pub(super) fn share(&self) -> u8 {
        match self {
            Self::Pending { share, .. } => *share,
            Self::Waiting | Self::Answered { .. } | Self::Skipped => 0,
        }
    }
}

/// 6xx before all, then the lowest class; within 4xx what helps to send the request again before
/// the rest, and last what our own CANCEL or silence brought about (§16.7 step 6).
pub(super) fn rank(status: u16) -> (u16, u8) {
    let class = if status >= 600 { 0 } else { status / 100 };
    let within = match status {
        401 | 407 | 415 | 420 | 484 => 0,
        487 => 2,
        408 | 503 => 3,
        0..=400 | 402..=406 | 409..=414 | 416..=419 | 421..=483 | 485 | 486 | 488..=502 | 504.. => {
            1
        }
    };
    (class, within)
}
