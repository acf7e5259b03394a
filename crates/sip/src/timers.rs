//! Timer values of the transaction layer (RFC 3261 §17 and Appendix A, Table 4; RFC 6026).
//!
//! | Timer | Value here                    | For                                            |
//! |-------|-------------------------------|------------------------------------------------|
//! | A     | T1, doubling; UDP only        | INVITE request again                           |
//! | B     | 64*T1                         | INVITE client gives up                         |
//! | C     | `c`, above 3 min              | proxy waits for a final response to INVITE     |
//! | D     | `d`, at least 32 s; TCP 0     | ACK again for a repeated non-2xx final         |
//! | E     | T1, doubling to T2; UDP only  | non-INVITE request again                       |
//! | F     | 64*T1                         | non-INVITE client gives up                     |
//! | G     | T1, doubling to T2; UDP only  | non-2xx final to INVITE again                  |
//! | H     | 64*T1                         | INVITE server waits for ACK                    |
//! | I     | T4; TCP 0                     | INVITE server absorbs ACKs                     |
//! | J     | 64*T1; TCP 0                  | non-INVITE server answers repeated requests    |
//! | K     | T4; TCP 0                     | non-INVITE client absorbs repeated responses   |
//! | L     | 64*T1                         | INVITE server absorbs INVITEs after 2xx        |
//! | M     | 64*T1                         | INVITE client passes further 2xx on            |

use std::time::{Duration, Instant};

/// Whether the transport repairs loss by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// TCP, TLS, SCTP.
    Reliable,
    /// UDP.
    Unreliable,
}

/// The base values; every named timer is derived from them, never written out again.
///
/// Tests shorten them; in operation the defaults are those of RFC 3261.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip time estimate. Default 500 ms (RFC 3261 §17.1.1.1).
    pub t1: Duration,
    /// Longest interval between retransmissions. Default 4 s (RFC 3261 §17.1.2.2).
    pub t2: Duration,
    /// Longest time a message stays in the network. Default 5 s (RFC 3261 §17.1.2.2).
    pub t4: Duration,
    /// Timer C. Default 181 s; must be above 3 minutes (RFC 3261 §16.6 step 11).
    pub c: Duration,
    /// Timer D over UDP. Default 33 s; Table 4 asks for more than 32 s, whatever T1 is.
    pub d: Duration,
    /// How long the TU may take before a 100 is sent to an INVITE (RFC 3261 §17.2.1) and, over a
    /// reliable transport, to any other request (RFC 4320 §4.1 leaves the time open there).
    /// Default 200 ms.
    pub trying: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            c: Duration::from_secs(181),
            d: Duration::from_secs(33),
            trying: Duration::from_millis(200),
        }
    }
}

impl Timers {
    /// Timer A: when an INVITE is sent again; T1, doubling. `None` over a reliable transport.
    pub(crate) fn timer_a(&self, now: Instant, reliability: Reliability) -> Option<Backoff> {
        // Timer B ends the doubling, so it serves as the cap.
        self.backoff(now, reliability, self.timer_b())
    }

    /// Timer B: how long an INVITE client transaction waits for any response; 64*T1.
    pub fn timer_b(&self) -> Duration {
        self.sixty_four_t1()
    }

    /// Timer C: how long a proxy waits for a final response after the last provisional one.
    pub fn timer_c(&self) -> Duration {
        self.c
    }

    /// Timer D: how long an INVITE client transaction repeats its ACK; zero when reliable.
    pub fn timer_d(&self, reliability: Reliability) -> Duration {
        unless_reliable(reliability, self.d)
    }

    /// Timer E: when a non-INVITE request is sent again; T1, doubling to T2. `None` over a
    /// reliable transport.
    pub(crate) fn timer_e(&self, now: Instant, reliability: Reliability) -> Option<Backoff> {
        self.backoff(now, reliability, self.t2)
    }

    /// Timer F: how long a non-INVITE client transaction waits for a final response; 64*T1.
    pub fn timer_f(&self) -> Duration {
        self.sixty_four_t1()
    }

    /// Timer G: when a non-2xx final response to INVITE is sent again; T1, doubling to T2.
    /// `None` over a reliable transport.
    pub(crate) fn timer_g(&self, now: Instant, reliability: Reliability) -> Option<Backoff> {
        self.backoff(now, reliability, self.t2)
    }

    /// Timer H: how long an INVITE server transaction waits for the ACK; 64*T1.
    pub fn timer_h(&self) -> Duration {
        self.sixty_four_t1()
    }

    /// Timer I: how long an INVITE server transaction absorbs further ACKs; T4, or zero when
    /// reliable.
    pub fn timer_i(&self, reliability: Reliability) -> Duration {
        unless_reliable(reliability, self.t4)
    }

    /// Timer J: how long a completed non-INVITE server transaction answers retransmissions.
    ///
    /// 64*T1 on unreliable transports, zero on reliable ones (RFC 3261 §17.2.2).
    pub fn timer_j(&self, reliability: Reliability) -> Duration {
        unless_reliable(reliability, self.sixty_four_t1())
    }

    /// Timer K: how long a completed non-INVITE client transaction absorbs further responses; T4,
    /// or zero when reliable.
    pub fn timer_k(&self, reliability: Reliability) -> Duration {
        unless_reliable(reliability, self.t4)
    }

    /// Timer L: how long an accepted INVITE server transaction absorbs INVITEs; 64*T1 on all
    /// transports (RFC 6026 §8.7).
    pub fn timer_l(&self) -> Duration {
        self.sixty_four_t1()
    }

    /// Timer M: how long an accepted INVITE client transaction passes 2xx on; 64*T1 on all
    /// transports (RFC 6026 §8.4).
    pub fn timer_m(&self) -> Duration {
        self.sixty_four_t1()
    }

    /// How long an INVITE may go unanswered before the server sends 100 (RFC 3261 §17.2.1).
    pub fn trying_invite(&self) -> Duration {
        self.trying
    }

    /// How long another request may go unanswered before the server sends 100 (RFC 4320 §4.1).
    ///
    /// Over an unreliable transport that is the time after which the client's Timer E is reset to
    /// T2 (3.5 s by default), neither earlier nor later; over a reliable one [`Timers::trying`],
    /// but never later than that.
    pub fn trying_non_invite(&self, reliability: Reliability) -> Duration {
        let mut until_t2 = Duration::ZERO;
        let mut interval = self.t1;
        while interval < self.t2 && !interval.is_zero() {
            until_t2 = until_t2.saturating_add(interval);
            interval = interval.saturating_mul(2);
        }
        match reliability {
            Reliability::Reliable => self.trying.min(until_t2),
            Reliability::Unreliable => until_t2,
        }
    }

    /// How long a 2xx to INVITE waits for its ACK (RFC 3261 §13.3.1.4) and a reliable provisional
    /// response for its PRACK (RFC 3262 §3), and how long a cancelled INVITE is waited for
    /// (RFC 3261 §9.1); 64*T1.
    pub fn give_up(&self) -> Duration {
        self.sixty_four_t1()
    }

    fn backoff(&self, now: Instant, reliability: Reliability, cap: Duration) -> Option<Backoff> {
        match reliability {
            Reliability::Reliable => None,
            Reliability::Unreliable => Some(Backoff::new(now, self.t1, cap)),
        }
    }

    fn sixty_four_t1(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}

fn unless_reliable(reliability: Reliability, unreliable: Duration) -> Duration {
    match reliability {
        Reliability::Reliable => Duration::ZERO,
        Reliability::Unreliable => unreliable,
    }
}

/// A retransmission timer whose interval doubles up to a cap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    due: Instant,
    interval: Duration,
    cap: Duration,
}

impl Backoff {
    /// Fires first after `first`, then after twice that and so on, never above `cap` apart.
    pub(crate) fn new(now: Instant, first: Duration, cap: Duration) -> Self {
        let interval = first.min(cap);
        Self { due: now + interval, interval, cap }
    }

    /// When it fires next.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Whether it fired; if so it is set again. A late call fires once, not once per interval.
    pub(crate) fn fires(&mut self, now: Instant) -> bool {
        if now < self.due {
            return false;
        }
        self.interval = self.interval.saturating_mul(2).min(self.cap);
        self.due = now + self.interval;
        true
    }

    /// From the next firing on, the cap is the interval (RFC 3261 §17.1.2.2, Proceeding).
    pub(crate) fn jump_to_cap(&mut self) {
        self.interval = self.cap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_epoch;
    use Reliability::{Reliable, Unreliable};

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    // Covers: CORE-004, CORE-005
    #[test]
    fn defaults_follow_table_4() {
        let timers = Timers::default();
        #[rustfmt::skip]
        let table = [
            ("B", timers.timer_b(),           ms(32_000)),
            ("D", timers.timer_d(Reliable),   ms(0)),
            ("F", timers.timer_f(),           ms(32_000)),
            ("H", timers.timer_h(),           ms(32_000)),
            ("I", timers.timer_i(Unreliable), ms(5_000)),
            ("I", timers.timer_i(Reliable),   ms(0)),
            ("J", timers.timer_j(Unreliable), ms(32_000)),
            ("J", timers.timer_j(Reliable),   ms(0)),
            ("K", timers.timer_k(Unreliable), ms(5_000)),
            ("K", timers.timer_k(Reliable),   ms(0)),
            ("L", timers.timer_l(),           ms(32_000)),
            ("M", timers.timer_m(),           ms(32_000)),
        ];
        for (name, value, expected) in table {
            assert_eq!(value, expected, "timer {name}");
        }
        assert!(timers.timer_c() > ms(180_000), "timer C is above 3 minutes");
        assert!(timers.timer_d(Unreliable) > ms(32_000), "timer D is above 32 s");
    }

    // Covers: CORE-004
    #[test]
    fn every_timer_follows_the_configured_base() {
        let timers =
            Timers { t1: ms(10), t2: ms(40), t4: ms(50), c: ms(7), d: ms(8), trying: ms(1) };
        assert_eq!(timers.timer_b(), ms(640));
        assert_eq!(timers.timer_c(), ms(7));
        assert_eq!(timers.timer_d(Unreliable), ms(8));
        assert_eq!(timers.timer_i(Unreliable), ms(50));
        assert_eq!(timers.timer_l(), ms(640));
        assert_eq!(timers.trying_non_invite(Unreliable), ms(10 + 20));
        assert_eq!(timers.trying_non_invite(Reliable), ms(1));
    }

    /// Renders the first `count` firing times in milliseconds.
    fn firings(backoff: Option<Backoff>, start: Instant, count: usize) -> Vec<u128> {
        let Some(mut backoff) = backoff else { return Vec::new() };
        let mut seen = Vec::new();
        while seen.len() < count {
            let now = backoff.due();
            assert!(backoff.fires(now));
            seen.push((now - start).as_millis());
        }
        seen
    }

    // Covers: CORE-004
    #[test]
    fn retransmission_intervals_double() {
        let timers = Timers::default();
        let start = test_epoch();
        let a = firings(timers.timer_a(start, Unreliable), start, 6);
        assert_eq!(a, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
        let e = firings(timers.timer_e(start, Unreliable), start, 6);
        assert_eq!(e, [500, 1_500, 3_500, 7_500, 11_500, 15_500]);
        let g = firings(timers.timer_g(start, Unreliable), start, 6);
        assert_eq!(g, e);
        assert!(timers.timer_a(start, Reliable).is_none());
        assert!(timers.timer_e(start, Reliable).is_none());
        assert!(timers.timer_g(start, Reliable).is_none());
    }

    #[test]
    fn a_late_call_fires_once() {
        let start = test_epoch();
        let mut backoff = Backoff::new(start, ms(500), ms(4_000));
        assert!(!backoff.fires(start + ms(499)));
        assert!(backoff.fires(start + ms(9_000)));
        assert!(!backoff.fires(start + ms(9_000)));
        assert_eq!(backoff.due(), start + ms(10_000));
    }

    // RFC 4320 §4.1: not before the time it takes "Timer E to be reset to T2".
    // Covers: CORE-004, CORE-061
    #[test]
    fn the_100_to_a_non_invite_waits_for_timer_e_to_reach_t2() {
        let timers = Timers::default();
        assert_eq!(timers.trying_non_invite(Unreliable), ms(3_500));
        assert_eq!(timers.trying_non_invite(Reliable), ms(200));
        assert_eq!(timers.trying_invite(), ms(200));
        let slow = Timers { trying: ms(60_000), ..timers };
        assert_eq!(slow.trying_non_invite(Reliable), ms(3_500), "never later than over UDP");
        let zero = Timers { t1: ms(0), ..timers };
        assert_eq!(zero.trying_non_invite(Unreliable), ms(0), "and it ends");
    }
}
