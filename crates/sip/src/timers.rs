//! Transaction timer values (RFC 3261 §17 and Appendix A, Table 4).

use std::time::Duration;

/// Whether the transport repairs loss by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// TCP, TLS, SCTP.
    Reliable,
    /// UDP.
    Unreliable,
}

/// The base values; every named timer is derived from them, never written out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip time estimate. Default 500 ms (RFC 3261 §17.1.1.1).
    pub t1: Duration,
    /// Longest interval between retransmissions. Default 4 s (RFC 3261 §17.1.2.2).
    pub t2: Duration,
    /// Longest time a message stays in the network. Default 5 s (RFC 3261 §17.1.2.2).
    pub t4: Duration,
}

impl Timers {
    /// Timer J: how long a completed non-INVITE server transaction answers retransmissions.
    ///
    /// 64*T1 on unreliable transports, zero on reliable ones (RFC 3261 §17.2.2).
    pub fn timer_j(&self, reliability: Reliability) -> Duration {
        match reliability {
            Reliability::Reliable => Duration::ZERO,
            Reliability::Unreliable => 64 * self.t1,
        }
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

