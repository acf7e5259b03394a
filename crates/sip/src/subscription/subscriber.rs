//! The subscriber's side of one subscription, RFC 6665 §4.1.
//!
//! | State      | Input                      | Next       | Output                              |
//! |------------|----------------------------|------------|-------------------------------------|
//! | (new)      |                            | Requesting | `Subscribe`, arm Timer N            |
//! | Requesting | 423 with a longer duration | Requesting | `Subscribe` with it                 |
//! | Requesting | any other failure          | Terminated | `Terminated`                        |
//! | Requesting | Timer N                    | Terminated | `Terminated`                        |
//! | Requesting, Established | NOTIFY active or pending | Established | `Accept`                 |
//! | Established | refresh time, refresh asked for | Established | `Subscribe`, arm Timer N     |
//! | Established | 2xx                       | Established | expiry anew                        |
//! | Established | refused for good          | Terminated | `Terminated`                        |
//! | Established | other failure             | Established | `Subscribe` once more before expiry |
//! | Established | Timer N, expiry           | Terminated | `Terminated`                        |
//! | any but Terminated | NOTIFY terminated  | Terminated | `Accept`, `Terminated`              |
//! | Requesting, Established | unsubscribe   | Leaving    | `Subscribe` with 0, arm Timer N     |
//! | Leaving    | NOTIFY not terminated      | Leaving    | `Accept`                            |
//! | Leaving    | Timer N, any failure       | Terminated | `Terminated`                        |
//! | Terminated | NOTIFY                     | Terminated | `Refuse`: 481                       |
//!
//! Every pair not listed leaves the state alone. A NOTIFY may come before the 2xx. `Terminated`
//! says whether and when to subscribe anew, in a new dialog.

use std::mem;
use std::time::{Duration, Instant};

use super::{Reason, SubscriptionState, ends_subscription};
use crate::Timers;
use crate::transaction::{Outputs, pop};

/// What happened outside.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// The SUBSCRIBE was answered.
    Response {
        /// The final status; 408 when none came.
        status: u16,
        /// `Expires` of a 2xx, `Min-Expires` of a 423, `Retry-After` of a failure; in seconds.
        seconds: Option<u32>,
    },
    /// A NOTIFY came in the dialog, or the first one for the subscription.
    Notify(SubscriptionState),
    /// We want the whole state anew. Without effect while a SUBSCRIBE waits for its NOTIFY.
    Refresh,
    /// We want no more notifications.
    Unsubscribe,
    /// Time has passed. Harmless when nothing is due.
    Timeout,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a SUBSCRIBE: the first outside a dialog, then inside it.
    Subscribe {
        /// For `Expires`, in seconds.
        expires: u32,
    },
    /// Answer the NOTIFY just fed with 200.
    Accept,
    /// Answer the NOTIFY just fed with 481.
    Refuse,
    /// The subscription is over: drop it and its dialog usage.
    Terminated(Again),
}

/// Whether to subscribe anew (RFC 6665 §4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// At once.
    Now,
    /// After this time.
    After(Duration),
    /// Not by itself.
    Never,
}

/// Tries with the duration of a 423. Local limit, the RFC sets none: an honest notifier asks once.
const BRIEF_TRIES_MAX: u8 = 2;

/// The wait before subscribing anew after a failure that names none. Local limit, as long as
/// Timer N: RFC 6665 sets none.
fn pause(timers: &Timers) -> Duration {
    timers.give_up()
}

/// One subscription at the subscriber.
#[derive(Debug)]
pub struct Subscriber {
    state: State,
    expires: u32,
    timers: Timers,
    outputs: Outputs<Output>,
}

#[derive(Debug)]
enum State {
    Requesting { timer_n: Instant, brief_tries: u8 },
    Established(Established),
    Leaving { timer_n: Instant },
    Terminated,
}

#[derive(Clone, Copy, Debug)]
struct Established {
    expires_at: Instant,
    refresh_at: Instant,
    /// Runs from the SUBSCRIBE to the NOTIFY.
    timer_n: Option<Instant>,
}

impl Established {
    fn new(now: Instant, seconds: u32) -> Self {
        let length = Duration::from_secs(u64::from(seconds));
        Self { expires_at: now + length, refresh_at: now + refresh_after(length), timer_n: None }
    }
}

/// When a subscription is refreshed: 600 s before its end, or at half when it is not longer than
/// 1200 s (TS 24.229 §5.1.1.3, as for the `reg` event).
fn refresh_after(length: Duration) -> Duration {
    let early = Duration::from_secs(600);
    if length > 2 * early { length - early } else { length / 2 }
}

impl Subscriber {
    /// Starts with the first [`Output::Subscribe`] queued.
    pub fn new(now: Instant, timers: &Timers, expires: u32) -> Self {
        let mut outputs = Outputs::new();
        outputs.push(Output::Subscribe { expires });
        let state = State::Requesting { timer_n: now + timers.give_up(), brief_tries: 0 };
        Self { state, expires, timers: *timers, outputs }
    }

    /// Feeds one input at time `now`. Drain the outputs after each.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let state = mem::replace(&mut self.state, State::Terminated);
        self.state = self.next(now, state, input);
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        pop(&mut self.outputs)
    }

    /// When to call again with [`Input::Timeout`]; `None` while no timer runs.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Requesting { timer_n, .. } | State::Leaving { timer_n } => Some(*timer_n),
            State::Established(established) => {
                let due = established.refresh_at.min(established.expires_at);
                Some(established.timer_n.map_or(due, |timer_n| timer_n.min(due)))
            }
            State::Terminated => None,
        }
    }

    fn next(&mut self, now: Instant, state: State, input: Input) -> State {
        use State::{Established as Est, Leaving, Requesting, Terminated};
        match (state, input) {
            (state, Input::Notify(notified)) => self.notified(now, state, notified),
            (Requesting { timer_n, brief_tries }, Input::Response { status, seconds }) => {
                self.requested(now, (timer_n, brief_tries), status, seconds)
            }
            (Est(established), Input::Response { status, seconds }) => {
                self.refreshed(now, established, status, seconds)
            }
            (Leaving { timer_n }, Input::Response { status, .. }) => {
                if status >= 300 {
                    self.terminated(Again::Never)
                } else {
                    Leaving { timer_n }
                }
            }
            (Requesting { .. } | Est(_), Input::Unsubscribe) => {
                self.outputs.push(Output::Subscribe { expires: 0 });
                Leaving { timer_n: now + self.timers.give_up() }
            }
            (Requesting { timer_n, .. }, Input::Timeout) if timer_n <= now => {
                self.terminated(Again::After(pause(&self.timers)))
            }
            (Est(established), Input::Timeout) => self.due(now, established),
            (Est(established), Input::Refresh) if established.timer_n.is_none() => {
                self.refresh(now, established)
            }
            (Leaving { timer_n }, Input::Timeout) if timer_n <= now => {
                self.terminated(Again::Never)
            }
            (state @ Est(_), Input::Refresh)
            | (state @ Requesting { .. }, Input::Refresh | Input::Timeout)
            | (state @ Leaving { .. }, Input::Refresh | Input::Unsubscribe | Input::Timeout)
            | (state @ Terminated, Input::Response { .. } | Input::Refresh | Input::Unsubscribe)
            | (state @ Terminated, Input::Timeout) => state,
        }
    }

    fn notified(&mut self, now: Instant, state: State, notified: SubscriptionState) -> State {
        use State::{Established as Est, Leaving, Requesting, Terminated};
        let seconds = match (&state, notified) {
            (
                Terminated,
                SubscriptionState::Active { .. }
                | SubscriptionState::Pending { .. }
                | SubscriptionState::Terminated { .. },
            ) => {
                self.outputs.push(Output::Refuse);
                return Terminated;
            }
            (
                Requesting { .. } | Est(_) | Leaving { .. },
                SubscriptionState::Terminated { reason, retry_after },
            ) => {
                self.outputs.push(Output::Accept);
                let left = matches!(state, Leaving { .. });
                return self.terminated(if left {
                    Again::Never
                } else {
                    again(reason, retry_after)
                });
            }
            (
                Requesting { .. } | Est(_) | Leaving { .. },
                SubscriptionState::Active { expires } | SubscriptionState::Pending { expires },
            ) => expires,
        };
        self.outputs.push(Output::Accept);
        match (state, seconds) {
            (Requesting { .. } | Est(_), Some(seconds)) => {
                Est(Established::new(now, seconds.min(self.expires)))
            }
            (Requesting { .. }, None) => Est(Established::new(now, self.expires)),
            (Est(established), None) => Est(Established { timer_n: None, ..established }),
            (state @ (Leaving { .. } | Terminated), Some(_) | None) => state,
        }
    }

    /// The first SUBSCRIBE was answered.
    fn requested(
        &mut self,
        now: Instant,
        (timer_n, brief_tries): (Instant, u8),
        status: u16,
        seconds: Option<u32>,
    ) -> State {
        if status < 200 {
            return State::Requesting { timer_n, brief_tries };
        }
        if status < 300 {
            // The NOTIFY decides; until then only the granted time is kept.
            self.grant(seconds);
            return State::Requesting { timer_n, brief_tries };
        }
        let longer = seconds.filter(|seconds| status == 423 && *seconds > self.expires);
        match longer {
            Some(longer) if brief_tries < BRIEF_TRIES_MAX => {
                self.expires = longer;
                self.outputs.push(Output::Subscribe { expires: longer });
                let timer_n = now + self.timers.give_up();
                State::Requesting { timer_n, brief_tries: brief_tries + 1 }
            }
            Some(_) | None => {
                let again = match (status, seconds) {
                    (423 | 489, Some(_) | None) => Again::Never,
                    (400..=407 | 409..=479 | 486..=488 | 490..=499 | 501 | 600.., None) => {
                        Again::Never
                    }
                    (_, Some(seconds)) => Again::After(Duration::from_secs(u64::from(seconds))),
                    (_, None) => Again::After(pause(&self.timers)),
                };
                self.terminated(again)
            }
        }
    }

    /// A refresh was answered.
    fn refreshed(
        &mut self,
        now: Instant,
        established: Established,
        status: u16,
        seconds: Option<u32>,
    ) -> State {
        match status {
            0..200 => State::Established(established),
            200..300 => {
                self.grant(seconds);
                let timer_n = established.timer_n;
                State::Established(Established { timer_n, ..Established::new(now, self.expires) })
            }
            300.. if ends_subscription(status) => self.terminated(Again::Now),
            300.. => {
                // Still valid until it expires (§4.1.2.2). One more try half-way to the end.
                let left = established.expires_at.saturating_duration_since(now);
                let wait = seconds.map_or(left / 2, |after| Duration::from_secs(u64::from(after)));
                let refresh_at = now + wait.max(left / 2);
                State::Established(Established { refresh_at, timer_n: None, ..established })
            }
        }
    }

    /// A timer may be due in Established.
    fn due(&mut self, now: Instant, established: Established) -> State {
        let silent = established.timer_n.is_some_and(|timer_n| timer_n <= now);
        if silent || established.expires_at <= now {
            return self.terminated(Again::Now);
        }
        if established.refresh_at > now {
            return State::Established(established);
        }
        self.refresh(now, established)
    }

    /// Asks anew.
    fn refresh(&mut self, now: Instant, established: Established) -> State {
        self.outputs.push(Output::Subscribe { expires: self.expires });
        let timer_n = Some(now + self.timers.give_up());
        // The next try, if any, is set by the answer.
        State::Established(Established {
            refresh_at: established.expires_at,
            timer_n,
            ..established
        })
    }

    /// A 2xx may shorten what was asked for, never lengthen it (§4.1.2.1).
    fn grant(&mut self, seconds: Option<u32>) {
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
            self.expires = self.expires.min(seconds);
        }
    }

    fn terminated(&mut self, again: Again) -> State {
        self.outputs.push(Output::Terminated(again));
        State::Terminated
    }
}

/// What the reason of a terminated subscription asks for (RFC 6665 §4.1.3).
fn again(reason: Option<Reason>, retry_after: Option<u32>) -> Again {
    let after = || match retry_after {
        Some(seconds) => Again::After(Duration::from_secs(u64::from(seconds))),
        None => Again::Now,
    };
    match reason {
        Some(Reason::Deactivated | Reason::Timeout) => Again::Now,
        Some(Reason::Probation | Reason::GiveUp) | None => after(),
        Some(Reason::Rejected | Reason::NoResource | Reason::Invariant) => Again::Never,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

    use super::*;
    use crate::test_epoch;
    use Input::{Refresh, Timeout, Unsubscribe};

    /// A subscription of 3600 s; feeds `inputs` as (seconds since start, input), lets every timer
    /// that is due before the next input (at the end: before `until`) fire on time.
    #[track_caller]
    fn check(inputs: Vec<(u64, Input)>, until: u64, expect: &str) {
        let start = test_epoch();
        let mut subscriber = Subscriber::new(start, &Timers::default(), 3_600);
        let mut seen = Vec::new();
        let mut render = |subscriber: &mut Subscriber, now: Instant| {
            let at = (now - start).as_secs();
            while let Some(output) = subscriber.poll_output() {
                seen.push(match output {
                    Output::Subscribe { expires } => format!("{at}:subscribe={expires}"),
                    Output::Accept => format!("{at}:200"),
                    Output::Refuse => format!("{at}:481"),
                    Output::Terminated(Again::Now) => format!("{at}:over"),
                    Output::Terminated(Again::Never) => format!("{at}:never"),
                    Output::Terminated(Again::After(wait)) => {
                        format!("{at}:after={}", wait.as_secs())
                    }
                });
            }
        };
        render(&mut subscriber, start);
        let steps = inputs.into_iter().map(|(at, input)| (at, Some(input)));
        for (at, input) in steps.chain([(until, None)]) {
            let until = start + Duration::from_secs(at);
            while let Some(due) = subscriber.poll_timeout().filter(|due| *due < until) {
                subscriber.handle_input(due, Timeout);
                render(&mut subscriber, due);
            }
            if let Some(input) = input {
                subscriber.handle_input(until, input);
                render(&mut subscriber, until);
            }
        }
        assert_eq!(seen.join(" "), expect);
    }

    fn rsp(status: u16, seconds: Option<u32>) -> Input {
        Input::Response { status, seconds }
    }

    fn active(expires: Option<u32>) -> Input {
        Input::Notify(SubscriptionState::Active { expires })
    }

    fn pending(expires: Option<u32>) -> Input {
        Input::Notify(SubscriptionState::Pending { expires })
    }

    fn over(reason: Option<Reason>, retry_after: Option<u32>) -> Input {
        Input::Notify(SubscriptionState::Terminated { reason, retry_after })
    }

    // Covers: CORE-048
    #[test]
    fn a_subscription_is_established_by_notify_and_refreshed_in_time() {
        check(
            vec![(0, rsp(200, Some(3_600))), (1, active(Some(3_600)))],
            3_100,
            "0:subscribe=3600 1:200 3001:subscribe=3600 3033:over",
        );
        check(
            vec![
                (1, pending(Some(1_000))),
                (2, rsp(200, Some(1_000))),
                (503, rsp(200, Some(1_000))),
                (504, active(Some(1_000))),
            ],
            540,
            "0:subscribe=3600 1:200 502:subscribe=1000 504:200",
        );
        check(
            vec![(0, rsp(200, Some(600))), (1, active(None))],
            302,
            "0:subscribe=3600 1:200 301:subscribe=600",
        );
    }

    // Covers: CORE-048
    #[test]
    fn without_a_notify_the_subscription_has_failed() {
        check(
            vec![(0, rsp(200, Some(3_600))), (40, active(Some(9)))],
            99,
            "0:subscribe=3600 32:after=32 40:481",
        );
    }

    // Covers: CORE-048
    #[test]
    fn a_423_is_tried_again_with_the_longer_duration() {
        check(
            vec![(0, rsp(423, Some(7_200))), (1, active(Some(7_200)))],
            6_000,
            "0:subscribe=3600 0:subscribe=7200 1:200",
        );
        check(vec![(0, rsp(423, Some(60)))], 9, "0:subscribe=3600 0:never");
        check(vec![(0, rsp(423, None))], 9, "0:subscribe=3600 0:never");
        check(
            vec![
                (0, rsp(423, Some(4_000))),
                (1, rsp(423, Some(5_000))),
                (2, rsp(423, Some(6_000))),
            ],
            9,
            "0:subscribe=3600 0:subscribe=4000 1:subscribe=5000 2:never",
        );
    }

    #[test]
    fn a_refused_subscription_says_when_to_try_again() {
        #[rustfmt::skip]
        let table = [
            (rsp(100, None),     "0:subscribe=3600 32:after=32"),
            (rsp(489, Some(5)),  "0:subscribe=3600 0:never"),
            (rsp(403, None),     "0:subscribe=3600 0:never"),
            (rsp(404, None),     "0:subscribe=3600 0:never"),
            (rsp(603, None),     "0:subscribe=3600 0:never"),
            (rsp(480, Some(90)), "0:subscribe=3600 0:after=90"),
            (rsp(480, None),     "0:subscribe=3600 0:after=32"),
            (rsp(503, Some(10)), "0:subscribe=3600 0:after=10"),
            (rsp(408, None),     "0:subscribe=3600 0:after=32"),
        ];
        for (input, expect) in table {
            check(vec![(0, input)], 99, expect);
        }
    }

    // Covers: CORE-048
    #[test]
    fn a_terminated_notify_says_when_to_try_again() {
        #[rustfmt::skip]
        let table = [
            (Some(Reason::Deactivated), Some(9), "over"),
            (Some(Reason::Timeout),     Some(9), "over"),
            (Some(Reason::Probation),   Some(9), "after=9"),
            (Some(Reason::Probation),   None,    "over"),
            (Some(Reason::GiveUp),      Some(9), "after=9"),
            (Some(Reason::Rejected),    Some(9), "never"),
            (Some(Reason::NoResource),  None,    "never"),
            (Some(Reason::Invariant),   Some(9), "never"),
            (None,                      Some(9), "after=9"),
            (None,                      None,    "over"),
        ];
        for (reason, retry_after, again) in table {
            let first = format!("0:subscribe=3600 1:200 1:{again}");
            check(vec![(1, over(reason, retry_after))], 9, &first);
            let later = format!("0:subscribe=3600 1:200 2:200 2:{again} 3:481");
            let inputs = vec![(1, active(None)), (2, over(reason, retry_after)), (3, active(None))];
            check(inputs, 9, &later);
        }
    }

    // Covers: CORE-048
    #[test]
    fn a_failed_refresh_keeps_the_subscription_until_it_expires() {
        check(
            vec![(0, active(Some(1_000))), (501, rsp(503, None))],
            1_001,
            "0:subscribe=3600 0:200 500:subscribe=3600 750:subscribe=3600 782:over",
        );
        check(
            vec![(0, active(Some(1_000))), (501, rsp(503, Some(9_999)))],
            1_001,
            "0:subscribe=3600 0:200 500:subscribe=3600 1000:over",
        );
        check(
            vec![(0, active(Some(1_000))), (501, rsp(481, None)), (502, rsp(200, None))],
            1_001,
            "0:subscribe=3600 0:200 500:subscribe=3600 501:over",
        );
    }

    #[test]
    fn the_whole_state_is_asked_for_once_at_a_time() {
        check(
            vec![
                (0, Refresh),
                (1, active(Some(1_000))),
                (2, Refresh),
                (3, Refresh),
                (4, rsp(200, Some(1_000))),
                (5, active(Some(999))),
                (6, Refresh),
                (7, Unsubscribe),
                (8, Refresh),
                (9, over(None, None)),
                (10, Refresh),
            ],
            99,
            "0:subscribe=3600 1:200 2:subscribe=3600 5:200 6:subscribe=1000 7:subscribe=0 9:200 \
             9:never",
        );
    }

    // Covers: CORE-048
    #[test]
    fn unsubscribing_waits_for_the_last_notify() {
        check(
            vec![(0, active(None)), (5, Unsubscribe), (6, rsp(200, Some(0))), (7, active(None))],
            99,
            "0:subscribe=3600 0:200 5:subscribe=0 7:200 37:never",
        );
        check(
            vec![(5, Unsubscribe), (6, Unsubscribe), (7, over(Some(Reason::Timeout), None))],
            99,
            "0:subscribe=3600 5:subscribe=0 7:200 7:never",
        );
        check(
            vec![(5, Unsubscribe), (6, rsp(300, None)), (7, Unsubscribe), (8, Timeout)],
            99,
            "0:subscribe=3600 5:subscribe=0 6:never",
        );
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![
            any::<(u16, Option<u32>)>().prop_map(|(status, seconds)| rsp(status, seconds)),
            any::<Option<u32>>().prop_map(active),
            any::<Option<u32>>().prop_map(pending),
            Just(over(None, None)),
            Just(Refresh),
            Just(Unsubscribe),
            Just(Timeout),
        ]
    }

    proptest! {
        #[test]
        fn an_ended_subscription_terminates_once(
            steps in proptest::collection::vec((0_u64..900, inputs()), 0..40),
        ) {
            let mut now = test_epoch();
            let mut subscriber = Subscriber::new(now, &Timers::default(), 3_600);
            let mut terminated = 0;
            for (secs, input) in steps.into_iter().chain([(0, Unsubscribe), (32, Timeout)]) {
                now += Duration::from_secs(secs);
                subscriber.handle_input(now, input);
                while let Some(output) = subscriber.poll_output() {
                    terminated += usize::from(matches!(output, Output::Terminated(_)));
                }
            }
            prop_assert!(terminated == 1);
            prop_assert!(subscriber.poll_timeout().is_none());
        }
    }
}
