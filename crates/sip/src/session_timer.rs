//! Session timers, RFC 4028: what stands in requests and responses, and when a session is
//! refreshed or ended.
//!
//! Pure arithmetic over the header values; the same at a UAC ([`SessionOffer`]), a UAS
//! ([`Policy::answer`]) and a proxy ([`Policy::forward`], [`proxied_answer`]). Intervals are whole
//! seconds, as on the wire.
//!
//! The refresher in a 2xx (RFC 4028 §9, Table 2, with our choice in the fourth row):
//!
//! | UAC supports timer | refresher in request | in response      | `Require: timer` |
//! |--------------------|----------------------|------------------|------------------|
//! | no                 | any                  | uas              | no               |
//! | yes                | none                 | `Policy::prefer` | yes              |
//! | yes                | uac                  | uac              | yes              |
//! | yes                | uas                  | uas              | yes              |

use std::time::{Duration, Instant};

/// The least session interval, and what a missing `Min-SE` means: 90 s (RFC 4028 §4, §5).
pub const MIN_SE_LEAST: u32 = 90;

/// Who sends the refreshes (RFC 4028 §4, `refresher` parameter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The UAC of the transaction that carries the header field.
    Uac,
    /// Its UAS.
    Uas,
}

/// The value of `Session-Expires`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The session interval in seconds.
    pub interval: u32,
    /// Who refreshes; may be missing in a request.
    pub refresher: Option<Refresher>,
}

/// What a session refresh request (INVITE, UPDATE) says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionRequest {
    /// `Supported: timer`.
    pub supports_timer: bool,
    /// `Session-Expires`.
    pub session_expires: Option<SessionExpires>,
    /// `Min-SE` in seconds.
    pub min_se: Option<u32>,
}

/// What we want for our sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The interval asked for and the longest accepted. Default 1800 s (RFC 4028 §4).
    pub interval: u32,
    /// The shortest interval accepted. Default 90 s; a lower one counts as 90 s (RFC 4028 §9).
    pub min_se: u32,
    /// Who refreshes when the UAC supports the timer and leaves the choice. Default the UAC.
    pub prefer: Refresher,
    /// The longest interval a 422 may ask us for. Default 86400 s; local limit, the RFC sets none:
    /// beyond a day the timer would end no dead session.
    pub interval_max: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { interval: 1_800, min_se: MIN_SE_LEAST, prefer: Refresher::Uac, interval_max: 86_400 }
    }
}

/// The interval is too small: answer 422 with this `Min-SE` (RFC 4028 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session interval too small")]
pub struct TooSmall {
    /// For `Min-SE`, in seconds.
    pub min_se: u32,
}

/// What a UAS writes into its 2xx (RFC 4028 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionAnswer {
    /// For `Session-Expires`, in seconds.
    pub interval: u32,
    /// For its `refresher` parameter.
    pub refresher: Refresher,
    /// Whether `Require: timer` is added.
    pub require_timer: bool,
}

/// What a proxy writes into a forwarded request (RFC 4028 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedSession {
    /// `Session-Expires` after forwarding; the refresher parameter is kept as it is. `None` when
    /// there was none and the proxy asks for none.
    pub interval: Option<u32>,
    /// `Min-SE` after forwarding; `None` when there is none.
    pub min_se: Option<u32>,
    /// Whether the UAC supports the timer; remembered for the response.
    pub uac_supports: bool,
}

/// What a proxy does with `Session-Expires` in a 2xx (RFC 4028 §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedAnswer {
    /// Forward it as it is.
    Unchanged,
    /// Insert `Session-Expires` with `refresher=uac`, and add `timer` to `Require`.
    Insert {
        /// The interval in seconds.
        interval: u32,
    },
}

impl Policy {
    /// The smallest interval we accept.
    fn least(&self) -> u32 {
        self.min_se.max(MIN_SE_LEAST)
    }

    /// The 422 of a proxy or a UAS: only for a UAC that supports the timer, since another could not
    /// act on it (RFC 4028 §8.1, §9).
    fn check(&self, request: &SessionRequest) -> Result<(), TooSmall> {
        let min_se = self.least();
        let small = request.session_expires.is_some_and(|expires| expires.interval < min_se);
        if request.supports_timer && small { Err(TooSmall { min_se }) } else { Ok(()) }
    }

    /// What a UAS answers with; `None`: no session timer.
    ///
    /// The interval asked for may be shortened, not below the request's `Min-SE`, and is never
    /// lengthened. From a UAC without support an interval below 90 s is answered without a timer:
    /// there is no valid value to give, and refreshing so often is an attack, not a session.
    pub fn answer(&self, request: &SessionRequest) -> Result<Option<SessionAnswer>, TooSmall> {
        self.check(request)?;
        let floor = request.min_se.unwrap_or(MIN_SE_LEAST).max(self.least());
        let interval = match request.session_expires {
            Some(expires) if expires.interval < MIN_SE_LEAST => return Ok(None),
            Some(expires) => expires.interval.min(self.interval.max(floor)),
            None => self.interval.max(floor),
        };
        let asked = request.session_expires.and_then(|expires| expires.refresher);
        let refresher = match (request.supports_timer, asked) {
            (false, Some(_) | None) => Refresher::Uas,
            (true, Some(chosen)) => chosen,
            (true, None) => self.prefer,
        };
        // MUST for uac; SHOULD for uas when the UAC supports it (RFC 4028 §9).
        let require_timer = request.supports_timer;
        Ok(Some(SessionAnswer { interval, refresher, require_timer }))
    }

    /// What a proxy forwards. With `insert` it asks for a timer where the UAC did not; then it
    /// should be on the route of what follows (Record-Route).
    pub fn forward(
        &self,
        request: &SessionRequest,
        insert: bool,
    ) -> Result<ForwardedSession, TooSmall> {
        self.check(request)?;
        let SessionRequest { supports_timer: uac_supports, session_expires, min_se } = *request;
        let small = session_expires.is_some_and(|expires| expires.interval < self.least());
        // Min-SE is not touched when the UAC supports the timer (RFC 4028 §8.1).
        let min_se = match (uac_supports, small) {
            (false, true) => Some(min_se.unwrap_or(MIN_SE_LEAST).max(self.least())),
            (true, true | false) | (false, false) => min_se,
        };
        let floor = min_se.unwrap_or(MIN_SE_LEAST);
        let interval = match session_expires {
            Some(expires) => Some(expires.interval.min(self.interval).max(floor)),
            None => insert.then(|| self.interval.max(floor)),
        };
        Ok(ForwardedSession { interval, min_se, uac_supports })
    }
}

/// What a proxy does with a 2xx, given what it forwarded (RFC 4028 §8.2).
pub fn proxied_answer(forwarded: &ForwardedSession, has_session_expires: bool) -> ForwardedAnswer {
    match forwarded.interval {
        // The UAS does not support the timer; the UAC does, and refreshes alone.
        Some(interval) if forwarded.uac_supports && !has_session_expires => {
            ForwardedAnswer::Insert { interval }
        }
        Some(_) | None => ForwardedAnswer::Unchanged,
    }
}

/// What a UAC writes into its requests, and has learnt (RFC 4028 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOffer {
    policy: Policy,
    interval: u32,
    min_se: Option<u32>,
}

impl SessionOffer {
    /// For the first request.
    pub fn new(policy: Policy) -> Self {
        Self { policy, interval: policy.interval.max(policy.least()), min_se: None }
    }

    /// For `Session-Expires`, in seconds: at least `Min-SE`.
    pub fn interval(&self) -> u32 {
        self.interval.max(self.min_se.unwrap_or(MIN_SE_LEAST))
    }

    /// For `Min-SE`: the largest value seen; `None`, no header field, before the first
    /// (RFC 4028 §7.4).
    pub fn min_se(&self) -> Option<u32> {
        self.min_se
    }

    /// A request in the dialog had this `Min-SE`.
    pub fn min_se_received(&mut self, min_se: u32) {
        let bounded = min_se.clamp(MIN_SE_LEAST, self.policy.interval_max.max(MIN_SE_LEAST));
        self.min_se = Some(self.min_se.map_or(bounded, |seen| seen.max(bounded)));
    }

    /// A 422 came with this `Min-SE`. Whether to try again with the new values: not when the 422
    /// asks for no more than was offered, which would never end, nor for more than we grant.
    pub fn rejected(&mut self, min_se: Option<u32>) -> bool {
        match min_se {
            Some(min_se) if min_se > self.interval() && min_se <= self.policy.interval_max => {
                self.min_se_received(min_se);
                true
            }
            Some(_) | None => false,
        }
    }

    /// The dialog was established: what was learnt for the Call-ID alone is forgotten, and only
    /// what comes in the dialog counts (RFC 4028 §7.4).
    pub fn established(&mut self) {
        self.interval = self.interval();
        self.min_se = None;
    }

    /// A 2xx came: the session interval and who refreshes (RFC 4028 §7.2).
    ///
    /// Without `Session-Expires` the peer does not support the timer; we go on alone with what was
    /// asked for. A missing refresher parameter counts as `uac`: a refresh too many does no harm.
    pub fn accepted(&mut self, answer: Option<SessionExpires>) -> (u32, Refresher) {
        if let Some(expires) = answer {
            self.interval = expires.interval.max(MIN_SE_LEAST);
        }
        let refresher = answer.and_then(|expires| expires.refresher).unwrap_or(Refresher::Uac);
        (self.interval(), refresher)
    }
}

/// The deadlines of one session interval (RFC 4028 §7.2, §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// When we send the refresh: half the interval; `None` when the peer does.
    pub refresh_at: Option<Instant>,
    /// When we send BYE unless a 2xx to a refresh came: min(32 s, interval/3) before the end.
    pub bye_at: Instant,
}

impl SessionTimer {
    /// From the 2xx that was just sent or received. A new one replaces it with every 2xx to a
    /// session refresh request; nothing else prolongs the session.
    pub fn new(now: Instant, interval: u32, we_refresh: bool) -> Self {
        let interval = Duration::from_secs(u64::from(interval));
        let early = (interval / 3).min(Duration::from_secs(32));
        Self {
            refresh_at: we_refresh.then(|| now + interval / 2),
            bye_at: now + interval.saturating_sub(early),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::test_epoch;
    use Refresher::{Uac, Uas};

    fn request(
        supports_timer: bool,
        interval: Option<u32>,
        refresher: Option<Refresher>,
        min_se: Option<u32>,
    ) -> SessionRequest {
        let session_expires = interval.map(|interval| SessionExpires { interval, refresher });
        SessionRequest { supports_timer, session_expires, min_se }
    }

    // Covers: CORE-041, CORE-042
    #[test]
    fn the_uas_answers() {
        let policy = Policy { min_se: 120, ..Policy::default() };
        #[rustfmt::skip]
        let table = [
            // supports, SE,       refresher, Min-SE,      answer: interval, refresher, Require
            (true,  Some(1_800), None,      None,        Ok(Some((1_800, Uac, true)))),
            (true,  Some(1_800), Some(Uas), None,        Ok(Some((1_800, Uas, true)))),
            (true,  Some(1_800), Some(Uac), None,        Ok(Some((1_800, Uac, true)))),
            (true,  Some(7_200), None,      None,        Ok(Some((1_800, Uac, true)))),
            (true,  Some(7_200), None,      Some(3_600), Ok(Some((3_600, Uac, true)))),
            (true,  Some(600),   None,      None,        Ok(Some((600,   Uac, true)))),
            (true,  Some(600),   None,      Some(900),   Ok(Some((600,   Uac, true)))), // never up
            (true,  Some(120),   None,      None,        Ok(Some((120,   Uac, true)))),
            (true,  Some(119),   None,      None,        Err(TooSmall { min_se: 120 })),
            (true,  None,        None,      None,        Ok(Some((1_800, Uac, true)))),
            (true,  None,        None,      Some(3_600), Ok(Some((3_600, Uac, true)))),
            (false, None,        None,      None,        Ok(Some((1_800, Uas, false)))),
            (false, Some(1_800), None,      None,        Ok(Some((1_800, Uas, false)))),
            (false, Some(1_800), Some(Uac), None,        Ok(Some((1_800, Uas, false)))),
            (false, Some(100),   None,      None,        Ok(Some((100,   Uas, false)))), // no 422
            (false, Some(1),     None,      None,        Ok(None)),
        ];
        for (supports, interval, refresher, min_se, expected) in table {
            let request = request(supports, interval, refresher, min_se);
            let answer = policy.answer(&request).map(|answer| {
                answer.map(|answer| (answer.interval, answer.refresher, answer.require_timer))
            });
            assert_eq!(answer, expected, "{request:?}");
        }
        let uas = Policy { prefer: Uas, ..Policy::default() };
        let answer = uas.answer(&request(true, Some(1_800), None, None)).unwrap().unwrap();
        assert_eq!((answer.refresher, answer.require_timer), (Uas, true));
    }

    // Covers: CORE-041
    #[test]
    fn defaults_and_the_absolute_minimum() {
        assert_eq!(Policy::default().interval, 1_800);
        let low = Policy { min_se: 10, ..Policy::default() };
        assert_eq!(
            low.answer(&request(true, Some(89), None, None)),
            Err(TooSmall { min_se: 90 }),
            "Min-SE is never below 90 s"
        );
    }

    // Covers: CORE-041
    #[test]
    fn the_proxy_forwards() {
        let policy = Policy { min_se: 600, ..Policy::default() };
        #[rustfmt::skip]
        let table = [
            // supports, SE,       Min-SE,      insert, forwarded: SE, Min-SE
            (true,  None,        None,        false, Ok((None,        None))),
            (true,  None,        None,        true,  Ok((Some(1_800), None))),
            (true,  None,        Some(3_600), true,  Ok((Some(3_600), Some(3_600)))),
            (true,  Some(900),   None,        true,  Ok((Some(900),   None))), // never up
            (true,  Some(7_200), None,        true,  Ok((Some(1_800), None))),
            (true,  Some(7_200), Some(3_600), true,  Ok((Some(3_600), Some(3_600)))),
            (true,  Some(900),   Some(950),   true,  Ok((Some(950),   Some(950)))),
            (true,  Some(599),   None,        true,  Err(TooSmall { min_se: 600 })),
            (false, Some(300),   None,        false, Ok((Some(600),   Some(600)))),
            (false, Some(300),   Some(200),   false, Ok((Some(600),   Some(600)))),
            (false, Some(300),   Some(700),   false, Ok((Some(700),   Some(700)))),
            (false, Some(900),   None,        false, Ok((Some(900),   None))),
            (false, None,        None,        true,  Ok((Some(1_800), None))),
        ];
        for (supports, interval, min_se, insert, expected) in table {
            let request = request(supports, interval, None, min_se);
            let forwarded = policy
                .forward(&request, insert)
                .map(|forwarded| (forwarded.interval, forwarded.min_se));
            assert_eq!(forwarded, expected, "{request:?}");
        }
    }

    // Covers: CORE-041, CORE-042
    #[test]
    fn the_proxy_completes_the_answer_of_a_uas_without_support() {
        use ForwardedAnswer::{Insert, Unchanged};
        #[rustfmt::skip]
        let table = [
            // UAC supports, asked, UAS answered with Session-Expires
            (true,  Some(1_800), false, Insert { interval: 1_800 }),
            (true,  Some(1_800), true,  Unchanged),
            (false, Some(1_800), false, Unchanged),
            (true,  None,        false, Unchanged),
        ];
        for (uac_supports, interval, answered, expected) in table {
            let forwarded = ForwardedSession { interval, min_se: None, uac_supports };
            assert_eq!(proxied_answer(&forwarded, answered), expected, "{forwarded:?}");
        }
    }

    // Covers: CORE-041
    #[test]
    fn the_uac_tries_again_after_422_while_it_makes_sense() {
        let mut offer = SessionOffer::new(Policy { interval: 300, ..Policy::default() });
        assert_eq!((offer.interval(), offer.min_se()), (300, None));
        assert!(offer.rejected(Some(600)));
        assert_eq!((offer.interval(), offer.min_se()), (600, Some(600)));
        assert!(!offer.rejected(Some(600)), "asks for nothing new");
        assert!(!offer.rejected(Some(90_000)), "more than a day");
        assert!(!offer.rejected(None));
        assert!(offer.rejected(Some(900)));
        assert_eq!((offer.interval(), offer.min_se()), (900, Some(900)));
        offer.established();
        assert_eq!((offer.interval(), offer.min_se()), (900, None));
        offer.min_se_received(1_000);
        offer.min_se_received(950);
        assert_eq!((offer.interval(), offer.min_se()), (1_000, Some(1_000)));
        offer.min_se_received(u32::MAX);
        assert_eq!(offer.min_se(), Some(86_400));
    }

    // Covers: CORE-041, CORE-042
    #[test]
    fn the_uac_takes_the_answer() {
        let answer = |interval, refresher| Some(SessionExpires { interval, refresher });
        #[rustfmt::skip]
        let table = [
            (answer(900, Some(Uac)), (900,   Uac)),
            (answer(900, Some(Uas)), (900,   Uas)),
            (answer(900, None),      (900,   Uac)),
            (answer(1,   Some(Uac)), (90,    Uac)),
            (None,                   (1_800, Uac)), // the peer does not support it
        ];
        for (answer, expected) in table {
            let mut offer = SessionOffer::new(Policy::default());
            assert_eq!(offer.accepted(answer), expected, "{answer:?}");
            assert_eq!(offer.interval(), expected.0, "the next refresh asks for the same");
        }
    }

    // Covers: CORE-041
    #[test]
    fn refresh_at_half_and_bye_before_the_end() {
        let now = test_epoch();
        let secs = Duration::from_secs;
        #[rustfmt::skip]
        let table = [
            (1_800, secs(900), secs(1_800 - 32)),
            (96,    secs(48),  secs(96 - 32)),
            (90,    secs(45),  secs(90 - 30)),
        ];
        for (interval, refresh, bye) in table {
            let ours = SessionTimer::new(now, interval, true);
            assert_eq!((ours.refresh_at, ours.bye_at), (Some(now + refresh), now + bye));
            let theirs = SessionTimer::new(now, interval, false);
            assert_eq!((theirs.refresh_at, theirs.bye_at), (None, now + bye));
        }
    }

    proptest! {
        #[test]
        fn the_rfc_holds_for_every_value(
            supports: bool, interval: Option<u32>, min_se: Option<u32>, insert: bool,
            ours: u32, least: u32,
        ) {
            let policy = Policy { interval: ours, min_se: least, ..Policy::default() };
            let request = request(supports, interval, None, min_se);
            let answer = policy.answer(&request);
            let forwarded = policy.forward(&request, insert);
            if !supports {
                prop_assert!(answer.is_ok() && forwarded.is_ok());
            }
            if let (Ok(Some(answer)), Some(asked)) = (answer, interval) {
                prop_assert!(answer.interval <= asked);
            }
            if let Ok(forwarded) = forwarded {
                prop_assert!(!supports || forwarded.min_se == min_se);
                let floor = forwarded.min_se.unwrap_or(MIN_SE_LEAST);
                prop_assert!(forwarded.interval.is_none_or(|interval| interval >= floor));
            }
        }
    }
}
