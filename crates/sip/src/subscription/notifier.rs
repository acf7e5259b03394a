//! The notifier's side of one subscription, RFC 6665 §4.2.
//!
//! | State           | Input                       | Next       | Output                          |
//! |-----------------|-----------------------------|------------|---------------------------------|
//! | (new)           | SUBSCRIBE, authorised       | Active     | `Notify` active                 |
//! | (new)           | SUBSCRIBE, not decided      | Pending    | `Notify` pending                |
//! | (new)           | SUBSCRIBE, Expires: 0       | Ending     | `Notify` terminated;timeout     |
//! | Pending         | authorised                  | Active     | `Notify` active                 |
//! | Active          | state changed               | Active     | `Notify` active, paced          |
//! | Pending         | state changed               | Pending    | none: it may not be seen        |
//! | Pending, Active | SUBSCRIBE, Expires above 0  | the same   | `Notify` at once, expiry anew   |
//! | Pending, Active | SUBSCRIBE, Expires: 0       | Ending     | `Notify` terminated;timeout     |
//! | Pending, Active | expiry                      | Ending     | `Notify` terminated;timeout     |
//! | Pending, Active | ended locally               | Ending     | `Notify` terminated, by cause   |
//! | Pending, Active | NOTIFY refused for good     | Removed    | `Removed`                       |
//! | Pending, Active | NOTIFY answered otherwise   | the same   | `Notify` when one was held back |
//! | Ending          | NOTIFY answered             | Removed    | `Removed`                       |
//!
//! Every pair not listed leaves the state alone. One NOTIFY is in flight at a time, so that they
//! arrive in order; what happens meanwhile is told by one more NOTIFY after its answer. A NOTIFY
//! is answered once: with its final status, or 408 when none came (Timer F).

use std::mem;
use std::time::{Duration, Instant};

use super::{Reason, SubscriptionState, ends_subscription, seconds};
use crate::transaction::{Outputs, pop};

/// The notifier's limits for one event package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seconds granted when the request names none. RFC 6665 leaves it to the package.
    pub expires_default: u32,
    /// A shorter duration is refused with 423, when it is also below one hour.
    pub expires_min: u32,
    /// A longer duration is shortened to this.
    pub expires_max: u32,
    /// The least time between two NOTIFYs about changes; zero sends each at once.
    pub pace: Duration,
}

/// Why a SUBSCRIBE is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The event package is unknown or none is named: 489 with `Allow-Events`.
    #[error("unknown event package")]
    BadEvent,
    /// The duration is too short: 423 with `Min-Expires`.
    #[error("interval too brief")]
    TooBrief {
        /// For `Min-Expires`, in seconds.
        min_expires: u32,
    },
}

impl Refusal {
    /// The status code of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadEvent => 489,
            Self::TooBrief { .. } => 423,
        }
    }
}

/// A duration of one hour or more is never too brief (RFC 6665 §4.2.1.1).
const NEVER_TOO_BRIEF_SECS: u32 = 3_600;

impl Limits {
    /// The seconds to grant, for `Expires` in the 200, or the refusal. The answer to an accepted
    /// SUBSCRIBE is 200, not 202 (RFC 6665 §8.3.1).
    ///
    /// `Expires: 0` is a fetch or an end and always accepted. A granted duration is never longer
    /// than the one asked for (RFC 6665 §4.2.1.1).
    pub fn admit(&self, event_known: bool, expires: Option<u32>) -> Result<u32, Refusal> {
        if !event_known {
            return Err(Refusal::BadEvent);
        }
        let Some(asked) = expires else { return Ok(self.expires_default.min(self.expires_max)) };
        if asked > 0 && asked < NEVER_TOO_BRIEF_SECS && asked < self.expires_min {
            return Err(Refusal::TooBrief { min_expires: self.expires_min });
        }
        Ok(asked.min(self.expires_max))
    }
}

/// Why the notifier ends a subscription by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The subscriber is not registered any more: `timeout`.
    Deregistered,
    /// What was watched does not exist any more: `noresource`.
    ResourceGone,
    /// The server stops or hands the subscription over: `deactivated`.
    Shutdown,
    /// Authorisation was refused or withdrawn: `rejected`.
    Rejected,
    /// Authorisation could not be had in time: `giveup`.
    Undecided {
        /// Seconds after which another try makes sense.
        retry_after: Option<u32>,
    },
    /// The server cannot serve it now: `probation`.
    Overload {
        /// Seconds after which another try makes sense.
        retry_after: Option<u32>,
    },
    /// The state will not change: `invariant`, with a retry-after of a year for older subscribers
    /// (RFC 6665 §4.1.3).
    Invariant,
}

impl Cause {
    fn state(self) -> SubscriptionState {
        let (reason, retry_after) = match self {
            Self::Deregistered => (Reason::Timeout, None),
            Self::ResourceGone => (Reason::NoResource, None),
            Self::Shutdown => (Reason::Deactivated, None),
            Self::Rejected => (Reason::Rejected, None),
            Self::Undecided { retry_after } => (Reason::GiveUp, retry_after),
            Self::Overload { retry_after } => (Reason::Probation, retry_after),
            Self::Invariant => (Reason::Invariant, Some(31_536_000)),
        };
        SubscriptionState::Terminated { reason: Some(reason), retry_after }
    }
}

/// Expired, unsubscribed and fetched (RFC 6665 §4.1.3, §4.4.3).
const TIMED_OUT: SubscriptionState =
    SubscriptionState::Terminated { reason: Some(Reason::Timeout), retry_after: None };

/// Whether the subscriber may see the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorisation {
    /// It may.
    Granted,
    /// Not decided yet.
    Undecided,
}

/// What happened outside.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// A SUBSCRIBE in the dialog was answered with 200 and this duration ([`Limits::admit`]).
    Subscribe {
        /// Seconds granted; 0 ends the subscription.
        expires: u32,
    },
    /// Authorisation was given.
    Authorised,
    /// What is watched has changed.
    Changed,
    /// The notifier ends the subscription.
    End(Cause),
    /// The NOTIFY was answered.
    Answered {
        /// The final status; 408 when none came.
        status: u16,
    },
    /// Time has passed. Harmless when nothing is due.
    Timeout,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a NOTIFY with this `Subscription-State`. `Pending` and `Rejected` must not show the
    /// state of the resource.
    Notify(SubscriptionState),
    /// The subscription is over: drop it and its dialog usage.
    Removed,
}

/// One subscription at the notifier.
#[derive(Debug)]
pub struct Notifier {
    state: State,
    /// Whether a NOTIFY is unanswered.
    in_flight: bool,
    pace: Duration,
    outputs: Outputs<Output>,
}

#[derive(Debug)]
enum State {
    Pending(Live),
    Active(Live),
    /// The last NOTIFY: `unsent` while an earlier one is unanswered.
    Ending {
        unsent: Option<SubscriptionState>,
    },
    Removed,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    expires_at: Instant,
    /// What waits for the answer of the NOTIFY in flight or for the pace.
    due: Due,
    /// When a change may be told again.
    next_change_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// A change: at the pace.
    Change,
    /// The answer to a SUBSCRIBE or a new authorisation: at once.
    AtOnce,
}

impl Notifier {
    /// A SUBSCRIBE was answered with 200 and this duration; the NOTIFY that must follow at once is
    /// queued.
    pub fn new(now: Instant, limits: &Limits, expires: u32, authorisation: Authorisation) -> Self {
        let mut notifier = Self {
            state: State::Removed,
            in_flight: false,
            pace: limits.pace,
            outputs: Outputs::new(),
        };
        let live = Live {
            expires_at: now + Duration::from_secs(u64::from(expires)),
            due: Due::AtOnce,
            next_change_at: now,
        };
        notifier.state = match (expires, authorisation) {
            (0, Authorisation::Granted | Authorisation::Undecided) => notifier.end(TIMED_OUT),
            (1.., Authorisation::Granted) => notifier.active(now, live),
            (1.., Authorisation::Undecided) => notifier.pending(now, live),
        };
        notifier
    }

    /// Feeds one input at time `now`. Drain the outputs after each.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let state = mem::replace(&mut self.state, State::Removed);
        self.state = self.next(now, state, input);
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        pop(&mut self.outputs)
    }

    /// When to call again with [`Input::Timeout`]; `None` while no timer runs.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Pending(live) | State::Active(live) => {
                let paced = live.due == Due::Change && !self.in_flight;
                Some(if paced { live.expires_at.min(live.next_change_at) } else { live.expires_at })
            }
            State::Ending { .. } | State::Removed => None,
        }
    }

    /// Whether the subscriber may see the state now.
    pub fn is_active(&self) -> bool {
        match self.state {
            State::Active(_) => true,
            State::Pending(_) | State::Ending { .. } | State::Removed => false,
        }
    }

    fn next(&mut self, now: Instant, state: State, input: Input) -> State {
        use State::{Active, Ending, Pending, Removed};
        match (state, input) {
            (Pending(_) | Active(_), Input::Subscribe { expires: 0 }) => self.end(TIMED_OUT),
            (Pending(live), Input::Subscribe { expires }) => {
                self.pending(now, live.refreshed(now, expires))
            }
            (Active(live), Input::Subscribe { expires }) => {
                self.active(now, live.refreshed(now, expires))
            }
            (Pending(live), Input::Authorised) => {
                self.active(now, Live { due: Due::AtOnce, ..live })
            }
            (Active(live), Input::Changed) => {
                let due = if live.due == Due::Nothing { Due::Change } else { live.due };
                self.active(now, Live { due, ..live })
            }
            (Pending(_) | Active(_), Input::End(cause)) => self.end(cause.state()),
            (Pending(live) | Active(live), Input::Timeout) if live.expires_at <= now => {
                self.end(TIMED_OUT)
            }
            (Pending(_) | Active(_), Input::Answered { status }) if ends_subscription(status) => {
                self.outputs.push(Output::Removed);
                Removed
            }
            (Pending(live), Input::Answered { status }) => {
                self.in_flight &= status < 200;
                self.pending(now, live)
            }
            (Active(live), Input::Answered { status }) => {
                self.in_flight &= status < 200;
                self.active(now, live)
            }
            (Ending { unsent: Some(last) }, Input::Answered { status })
                if status >= 200 && !ends_subscription(status) =>
            {
                self.in_flight = false;
                self.end(last)
            }
            (Ending { .. }, Input::Answered { status }) if status >= 200 => {
                self.outputs.push(Output::Removed);
                Removed
            }
            (Pending(live), Input::Timeout) => self.pending(now, live),
            (Active(live), Input::Timeout) => self.active(now, live),
            (state @ Pending(_), Input::Changed)
            | (state @ Active(_), Input::Authorised)
            | (
                state @ (Ending { .. } | Removed),
                Input::Subscribe { .. }
                | Input::Authorised
                | Input::Changed
                | Input::End(_)
                | Input::Answered { .. }
                | Input::Timeout,
            ) => state,
        }
    }

    fn pending(&mut self, now: Instant, live: Live) -> State {
        let state = SubscriptionState::Pending { expires: Some(live.remaining(now)) };
        State::Pending(self.notify_if_due(now, live, state))
    }

    fn active(&mut self, now: Instant, live: Live) -> State {
        let state = SubscriptionState::Active { expires: Some(live.remaining(now)) };
        State::Active(self.notify_if_due(now, live, state))
    }

    fn notify_if_due(&mut self, now: Instant, live: Live, state: SubscriptionState) -> Live {
        let due = match live.due {
            Due::Nothing => false,
            Due::Change => live.next_change_at <= now,
            Due::AtOnce => true,
        };
        if !due || self.in_flight {
            return live;
        }
        self.in_flight = true;
        self.outputs.push(Output::Notify(state));
        Live { due: Due::Nothing, next_change_at: now + self.pace, ..live }
    }

    fn end(&mut self, last: SubscriptionState) -> State {
        if self.in_flight {
            return State::Ending { unsent: Some(last) };
        }
        self.in_flight = true;
        self.outputs.push(Output::Notify(last));
        State::Ending { unsent: None }
    }
}

impl Live {
    fn refreshed(self, now: Instant, expires: u32) -> Self {
        let expires_at = now + Duration::from_secs(u64::from(expires));
        Self { expires_at, due: Due::AtOnce, ..self }
    }

    fn remaining(&self, now: Instant) -> u32 {
        seconds(self.expires_at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

    use super::*;
    use crate::test_epoch;
    use Input::{Authorised, Changed, End, Timeout};

    const LIMITS: Limits = Limits {
        expires_default: 3_600,
        expires_min: 60,
        expires_max: 7_200,
        pace: Duration::ZERO,
    };

    /// A subscription of `expires` seconds; feeds `inputs` as (seconds since start, input), lets
    /// every timer that is due before the next input (at the end: before `until`) fire on time.
    #[track_caller]
    fn check_with(
        limits: &Limits,
        expires: u32,
        authorisation: Authorisation,
        inputs: Vec<(u64, Input)>,
        until: u64,
        expect: &str,
    ) {
        let start = test_epoch();
        let mut notifier = Notifier::new(start, limits, expires, authorisation);
        let mut seen = Vec::new();
        let mut render = |notifier: &mut Notifier, now: Instant| {
            let at = (now - start).as_secs();
            while let Some(output) = notifier.poll_output() {
                seen.push(match output {
                    Output::Notify(state) => format!("{at}:{state}"),
                    Output::Removed => format!("{at}:removed"),
                });
            }
        };
        render(&mut notifier, start);
        let steps = inputs.into_iter().map(|(at, input)| (at, Some(input)));
        for (at, input) in steps.chain([(until, None)]) {
            let until = start + Duration::from_secs(at);
            while let Some(due) = notifier.poll_timeout().filter(|due| *due < until) {
                notifier.handle_input(due, Timeout);
                render(&mut notifier, due);
            }
            if let Some(input) = input {
                notifier.handle_input(until, input);
                render(&mut notifier, until);
            }
        }
        assert_eq!(seen.join(" "), expect);
    }

    #[track_caller]
    fn check(expires: u32, inputs: Vec<(u64, Input)>, until: u64, expect: &str) {
        check_with(&LIMITS, expires, Authorisation::Granted, inputs, until, expect);
    }

    fn answered(status: u16) -> Input {
        Input::Answered { status }
    }

    fn subscribe(expires: u32) -> Input {
        Input::Subscribe { expires }
    }

    // Covers: CORE-048
    #[test]
    fn durations_are_granted_or_refused() {
        let brief = Err(Refusal::TooBrief { min_expires: 60 });
        #[rustfmt::skip]
        let table = [
            (LIMITS, true,  Some(0),     Ok(0)),     // a fetch or an end
            (LIMITS, true,  Some(1),     brief),
            (LIMITS, true,  Some(59),    brief),
            (LIMITS, true,  Some(60),    Ok(60)),
            (LIMITS, true,  Some(9_000), Ok(7_200)),
            (LIMITS, true,  None,        Ok(3_600)),
            (LIMITS, false, Some(60),    Err(Refusal::BadEvent)),
            (LIMITS, false, Some(1),     Err(Refusal::BadEvent)),
            // An hour is never too brief, whatever the minimum.
            (Limits { expires_min: 7_200, ..LIMITS }, true, Some(3_600), Ok(3_600)),
            (
                Limits { expires_min: 7_200, ..LIMITS }, true, Some(3_599),
                Err(Refusal::TooBrief { min_expires: 7_200 }),
            ),
            (Limits { expires_default: 9_000, ..LIMITS }, true, None, Ok(7_200)),
        ];
        for (limits, known, expires, expected) in table {
            assert_eq!(limits.admit(known, expires), expected, "{known} {expires:?}");
        }
        assert_eq!(Refusal::BadEvent.status(), 489);
        assert_eq!(Refusal::TooBrief { min_expires: 60 }.status(), 423);
    }

    // Covers: CORE-048
    #[test]
    fn a_subscription_is_notified_at_once_and_on_changes() {
        check(
            600,
            vec![(0, answered(200)), (10, Changed), (11, answered(200)), (12, Changed)],
            20,
            "0:active;expires=600 10:active;expires=590 12:active;expires=588",
        );
    }

    // Covers: CORE-048
    #[test]
    fn changes_while_a_notify_is_in_flight_are_one_notify() {
        check(
            600,
            vec![(1, Changed), (2, Changed), (3, answered(100)), (4, answered(200))],
            20,
            "0:active;expires=600 4:active;expires=596",
        );
    }

    // Covers: CORE-048
    #[test]
    fn a_refresh_is_notified_and_starts_the_time_anew() {
        check(
            600,
            vec![(1, answered(200)), (500, subscribe(600)), (501, answered(200))],
            2_000,
            "0:active;expires=600 500:active;expires=600 1100:terminated;reason=timeout",
        );
        check(
            600,
            vec![(1, subscribe(300)), (2, answered(200))],
            3,
            "0:active;expires=600 2:active;expires=299",
        );
    }

    // Covers: CORE-048
    #[test]
    fn a_pending_subscription_shows_nothing_until_it_is_authorised() {
        let undecided = |inputs, until, expect| {
            check_with(&LIMITS, 600, Authorisation::Undecided, inputs, until, expect);
        };
        undecided(
            vec![(0, answered(200)), (5, Changed), (6, Authorised), (7, answered(200))],
            9,
            "0:pending;expires=600 6:active;expires=594",
        );
        undecided(
            vec![(0, answered(200)), (5, subscribe(600)), (6, answered(200)), (7, Authorised)],
            9,
            "0:pending;expires=600 5:pending;expires=600 7:active;expires=598",
        );
        undecided(
            vec![(0, answered(200)), (9, Timeout)],
            601,
            "0:pending;expires=600 600:terminated;reason=timeout",
        );
        undecided(
            vec![(0, answered(200)), (9, End(Cause::Rejected)), (9, answered(200))],
            601,
            "0:pending;expires=600 9:terminated;reason=rejected 9:removed",
        );
        undecided(vec![(0, answered(481))], 601, "0:pending;expires=600 0:removed");
        undecided(
            vec![(0, answered(200)), (9, subscribe(0))],
            601,
            "0:pending;expires=600 9:terminated;reason=timeout",
        );
    }

    // Covers: CORE-048
    #[test]
    fn a_fetch_is_answered_with_one_terminated_notify() {
        check(0, vec![(1, answered(200))], 9, "0:terminated;reason=timeout 1:removed");
        check(
            600,
            vec![(0, answered(200)), (9, subscribe(0)), (9, Changed), (10, answered(481))],
            999,
            "0:active;expires=600 9:terminated;reason=timeout 10:removed",
        );
    }

    // Covers: CORE-048
    #[test]
    fn reasons_follow_the_cause() {
        let some = |retry_after| Some(retry_after);
        #[rustfmt::skip]
        let table = [
            (Cause::Deregistered,                         "timeout"),
            (Cause::ResourceGone,                         "noresource"),
            (Cause::Shutdown,                             "deactivated"),
            (Cause::Rejected,                             "rejected"),
            (Cause::Undecided { retry_after: some(60) },  "giveup;retry-after=60"),
            (Cause::Overload { retry_after: some(30) },   "probation;retry-after=30"),
            (Cause::Overload { retry_after: None },       "probation"),
            (Cause::Invariant,                            "invariant;retry-after=31536000"),
        ];
        for (cause, reason) in table {
            let inputs = vec![(0, answered(200)), (9, End(cause)), (9, answered(200))];
            let expect = format!("0:active;expires=600 9:terminated;reason={reason} 9:removed");
            check(600, inputs, 999, &expect);
        }
    }

    #[test]
    fn the_end_waits_for_the_notify_in_flight() {
        check(
            600,
            vec![(9, End(Cause::ResourceGone)), (10, answered(180)), (11, answered(500))],
            999,
            "0:active;expires=600 11:terminated;reason=noresource",
        );
        check(
            600,
            vec![(9, End(Cause::ResourceGone)), (10, answered(408)), (11, answered(200))],
            999,
            "0:active;expires=600 10:removed",
        );
        check(600, vec![], 999, "0:active;expires=600");
    }

    // Covers: CORE-048
    #[test]
    fn a_notify_refused_for_good_removes_the_subscription() {
        for status in [404, 408, 481, 489, 604] {
            check(600, vec![(9, answered(status)), (10, Changed)], 999, {
                "0:active;expires=600 9:removed"
            });
        }
        check(
            600,
            vec![(9, answered(503)), (10, Changed)],
            20,
            "0:active;expires=600 10:active;expires=590",
        );
    }

    #[test]
    fn changes_are_paced_but_answers_are_not() {
        let limits = Limits { pace: Duration::from_secs(5), ..LIMITS };
        let inputs = vec![
            (0, answered(200)),
            (1, Changed),
            (2, Changed),
            (6, answered(200)),
            (7, Changed),
            (8, subscribe(600)),
            (9, answered(200)),
        ];
        check_with(&limits, 600, Authorisation::Granted, inputs, 30, {
            "0:active;expires=600 5:active;expires=595 8:active;expires=600"
        });
    }

    #[test]
    fn only_an_active_subscription_may_be_seen() {
        let now = test_epoch();
        let mut notifier = Notifier::new(now, &LIMITS, 600, Authorisation::Undecided);
        assert!(!notifier.is_active());
        notifier.handle_input(now, Authorised);
        notifier.handle_input(now, Authorised);
        assert!(notifier.is_active());
        notifier.handle_input(now, End(Cause::Shutdown));
        assert!(!notifier.is_active());
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![
            any::<u32>().prop_map(subscribe),
            Just(Authorised),
            Just(Changed),
            Just(End(Cause::Shutdown)),
            any::<u16>().prop_map(answered),
            Just(Timeout),
        ]
    }

    proptest! {
        #[test]
        fn an_ended_subscription_is_removed_once(
            expires: u32, steps in proptest::collection::vec((0_u64..900, inputs()), 0..40),
        ) {
            let mut now = test_epoch();
            let mut notifier = Notifier::new(now, &LIMITS, expires, Authorisation::Granted);
            let mut removed = 0;
            let end = [(0, End(Cause::Shutdown)), (0, answered(200)), (0, answered(200))];
            for (secs, input) in steps.into_iter().chain(end) {
                now += Duration::from_secs(secs);
                notifier.handle_input(now, input);
                while let Some(output) = notifier.poll_output() {
                    removed += usize::from(output == Output::Removed);
                }
            }
            prop_assert!(removed == 1);
            prop_assert!(notifier.poll_timeout().is_none());
        }
    }
}
