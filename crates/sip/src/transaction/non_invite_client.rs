//! Non-INVITE client transaction, RFC 3261 §17.1.2, Figure 6.
//!
//! | State              | Input             | Next       | Output                           |
//! |--------------------|-------------------|------------|----------------------------------|
//! | (new)              |                   | Trying     | `Send`, arm Timers E and F       |
//! | Trying             | Timer E           | Trying     | `Send`, E doubles to T2          |
//! | Trying, Proceeding | 1xx               | Proceeding | `Deliver`                        |
//! | Proceeding         | Timer E           | Proceeding | `Send`, E is T2                  |
//! | Trying, Proceeding | 200-699           | Completed  | `Deliver`, arm Timer K           |
//! | Trying, Proceeding | Timer F           | Terminated | `TimedOut`, `Terminated`         |
//! | Trying, Proceeding | transport error   | Terminated | `TransportFailed`, `Terminated`  |
//! | Completed          | any response      | Completed  | none (absorbed)                  |
//! | Completed          | Timer K           | Terminated | `Terminated`                     |
//!
//! Every pair not listed leaves the state alone. Timer E runs over unreliable transports only.

use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Outputs, pop};
use crate::timers::Backoff;
use crate::{Reliability, Timers};

/// One non-INVITE client transaction, from the request to Terminated.
#[derive(Debug)]
pub struct NonInviteClient {
    state: State,
    outputs: Outputs<Output>,
}

/// What happened outside.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// A response arrived that matches the transaction (RFC 3261 §17.1.3).
    Response {
        /// The status code, 100 to 699.
        status: u16,
    },
    /// Time has passed. Harmless when nothing is due.
    Timeout,
    /// The request could not be sent.
    TransportError,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put [`NonInviteClient::take_request`] on the wire.
    Send,
    /// Give the response just fed to the TU.
    Deliver,
    /// Tell the TU that no final response came (Timer F).
    TimedOut,
    /// Tell the TU that the request could not be sent.
    TransportFailed,
    /// Drop the transaction.
    Terminated,
}

#[derive(Debug)]
enum State {
    Trying(Pending),
    Proceeding(Pending),
    Completed { timer_k: Instant },
    Terminated,
}

/// What a transaction without a final response needs.
#[derive(Debug)]
struct Pending {
    /// Empty once it was given away.
    request: Bytes,
    timer_e: Option<Backoff>,
    timer_f: Instant,
    timer_k: Duration,
}

impl NonInviteClient {
    /// Starts in Trying with [`Output::Send`] queued.
    pub fn new(now: Instant, timers: &Timers, reliability: Reliability, request: Bytes) -> Self {
        let pending = Pending {
            request,
            timer_e: timers.timer_e(now, reliability),
            timer_f: now + timers.timer_f(),
            timer_k: timers.timer_k(reliability),
        };
        let mut outputs = Outputs::new();
        outputs.push(Output::Send);
        Self { state: State::Trying(pending), outputs }
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
            State::Trying(pending) | State::Proceeding(pending) => Some(pending.due()),
            State::Completed { timer_k } => Some(*timer_k),
            State::Terminated => None,
        }
    }

    /// The request, to be sent; `None` once a final response came. Over a reliable transport it is
    /// sent once only, and given away: what waits for its response weighs no more than it must.
    pub fn take_request(&mut self) -> Option<Bytes> {
        match &mut self.state {
            State::Trying(pending) | State::Proceeding(pending) if pending.timer_e.is_none() => {
                Some(mem::take(&mut pending.request))
            }
            State::Trying(pending) | State::Proceeding(pending) => Some(pending.request.clone()),
            State::Completed { .. } | State::Terminated => None,
        }
    }

    fn next(&mut self, now: Instant, state: State, input: Input) -> State {
        use State::{Completed, Proceeding, Terminated, Trying};
        match (state, input) {
            (Trying(mut pending), Input::Response { status }) if status < 200 => {
                self.outputs.push(Output::Deliver);
                if let Some(timer_e) = &mut pending.timer_e {
                    timer_e.jump_to_cap();
                }
                Proceeding(pending)
            }
            (Proceeding(pending), Input::Response { status }) if status < 200 => {
                self.outputs.push(Output::Deliver);
                Proceeding(pending)
            }
            (Trying(pending) | Proceeding(pending), Input::Response { .. }) => {
                self.outputs.push(Output::Deliver);
                Completed { timer_k: now + pending.timer_k }
            }
            (Trying(pending) | Proceeding(pending), Input::Timeout) if pending.timer_f <= now => {
                self.outputs.push(Output::TimedOut);
                self.outputs.push(Output::Terminated);
                Terminated
            }
            (Trying(mut pending), Input::Timeout) => {
                self.resend(now, &mut pending);
                Trying(pending)
            }
            (Proceeding(mut pending), Input::Timeout) => {
                self.resend(now, &mut pending);
                Proceeding(pending)
            }
            (Trying(_) | Proceeding(_), Input::TransportError) => {
                self.outputs.push(Output::TransportFailed);
                self.outputs.push(Output::Terminated);
                Terminated
            }
            (Completed { timer_k }, Input::Timeout) if timer_k <= now => {
                self.outputs.push(Output::Terminated);
                Terminated
            }
            (
                state @ Completed { .. },
                Input::Response { .. } | Input::Timeout | Input::TransportError,
            ) => state,
            (Terminated, Input::Response { .. } | Input::Timeout | Input::TransportError) => {
                Terminated
            }
        }
    }

    fn resend(&mut self, now: Instant, pending: &mut Pending) {
        if pending.timer_e.as_mut().is_some_and(|timer_e| timer_e.fires(now)) {
            self.outputs.push(Output::Send);
        }
    }
}

impl Pending {
    fn due(&self) -> Instant {
        self.timer_e.map_or(self.timer_f, |timer_e| timer_e.due().min(self.timer_f))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

    use super::*;
    use crate::test_epoch;
    use Input::{Timeout, TransportError};
    use Reliability::{Reliable, Unreliable};

    fn render(txn: &mut NonInviteClient, ms: u128, seen: &mut Vec<String>) {
        while let Some(output) = txn.poll_output() {
            seen.push(match output {
                Output::Send => {
                    assert_eq!(txn.take_request().expect("there is something to send"), "MESSAGE");
                    format!("{ms}:send")
                }
                Output::Deliver => format!("{ms}:deliver"),
                Output::TimedOut => format!("{ms}:timeout"),
                Output::TransportFailed => format!("{ms}:failed"),
                Output::Terminated => format!("{ms}:terminated"),
            });
        }
    }

    /// Feeds `inputs` as (milliseconds since start, input), lets every timer that is due before
    /// the next input (at the end: before `until`) fire on time; renders what came out.
    #[track_caller]
    fn check(reliability: Reliability, inputs: Vec<(u64, Input)>, until: u64, expect: &str) {
        let start = test_epoch();
        let request = Bytes::from_static(b"MESSAGE");
        let mut txn = NonInviteClient::new(start, &Timers::default(), reliability, request);
        let mut seen = Vec::new();
        render(&mut txn, 0, &mut seen);
        let steps = inputs.into_iter().map(|(ms, input)| (ms, Some(input)));
        for (ms, input) in steps.chain([(until, None)]) {
            let until = start + Duration::from_millis(ms);
            while let Some(due) = txn.poll_timeout().filter(|due| *due < until) {
                txn.handle_input(due, Timeout);
                render(&mut txn, (due - start).as_millis(), &mut seen);
            }
            if let Some(input) = input {
                txn.handle_input(until, input);
                render(&mut txn, u128::from(ms), &mut seen);
            }
        }
        assert_eq!(seen.join(" "), expect);
    }

    fn rsp(status: u16) -> Input {
        Input::Response { status }
    }

    // Covers: CORE-004
    #[test]
    fn timer_e_doubles_to_t2_and_timer_f_gives_up() {
        check(
            Unreliable,
            vec![],
            99_999,
            "0:send 500:send 1500:send 3500:send 7500:send 11500:send 15500:send 19500:send \
             23500:send 27500:send 31500:send 32000:timeout 32000:terminated",
        );
        check(Reliable, vec![], 99_999, "0:send 32000:timeout 32000:terminated");
    }

    // Covers: CORE-004
    #[test]
    fn after_a_provisional_response_timer_e_is_t2() {
        check(
            Unreliable,
            vec![(600, rsp(100)), (700, rsp(100))],
            33_000,
            "0:send 500:send 600:deliver 700:deliver 1500:send 5500:send 9500:send 13500:send \
             17500:send 21500:send 25500:send 29500:send 32000:timeout 32000:terminated",
        );
        check(
            Reliable,
            vec![(600, rsp(100))],
            33_000,
            "0:send 600:deliver 32000:timeout 32000:terminated",
        );
    }

    // Covers: CORE-004
    #[test]
    fn a_final_response_is_delivered_once_and_timer_k_ends() {
        let twice = || vec![(200, rsp(202)), (300, rsp(202)), (400, rsp(100))];
        check(Unreliable, twice(), 99_999, "0:send 200:deliver 5200:terminated");
        check(Reliable, twice(), 99_999, "0:send 200:deliver 200:terminated");
        check(
            Unreliable,
            vec![(10, rsp(199)), (15, rsp(199)), (20, rsp(200))],
            99_999,
            "0:send 10:deliver 15:deliver 20:deliver 5020:terminated",
        );
    }

    #[test]
    fn transport_error_ends_the_wait() {
        check(Unreliable, vec![(9, TransportError)], 50, "0:send 9:failed 9:terminated");
        check(
            Reliable,
            vec![(8, rsp(100)), (9, TransportError)],
            50,
            "0:send 8:deliver 9:failed 9:terminated",
        );
        check(
            Unreliable,
            vec![(8, rsp(200)), (9, TransportError)],
            9_999,
            "0:send 8:deliver 5008:terminated",
        );
    }

    #[test]
    fn early_timeouts_are_harmless_and_terminated_is_final() {
        check(Unreliable, vec![(1, Timeout), (2, Timeout)], 3, "0:send");
        check(
            Reliable,
            vec![(1, TransportError), (2, rsp(200)), (3, Timeout), (4, TransportError)],
            9,
            "0:send 1:failed 1:terminated",
        );
    }

    #[test]
    fn the_request_is_dropped_with_the_final_response() {
        let start = test_epoch();
        let request = Bytes::from_static(b"MESSAGE");
        let mut txn = NonInviteClient::new(start, &Timers::default(), Unreliable, request);
        txn.handle_input(start, rsp(200));
        assert_eq!(txn.take_request(), None);
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![any::<u16>().prop_map(rsp), Just(Timeout), Just(TransportError)]
    }

    proptest! {
        #[test]
        fn every_transaction_terminates_once(
            steps in proptest::collection::vec((0_u64..9_000, inputs()), 0..40), reliable: bool,
        ) {
            let reliability = if reliable { Reliable } else { Unreliable };
            let mut now = test_epoch();
            let mut txn =
                NonInviteClient::new(now, &Timers::default(), reliability, Bytes::new());
            let mut terminated = 0;
            let end = [(32_000, Timeout), (5_000, Timeout)];
            for (ms, input) in steps.into_iter().chain(end) {
                now += Duration::from_millis(ms);
                txn.handle_input(now, input);
                while let Some(output) = txn.poll_output() {
                    terminated += usize::from(output == Output::Terminated);
                }
            }
            prop_assert!(terminated == 1);
            prop_assert!(txn.poll_timeout().is_none() && txn.take_request().is_none());
        }
    }
}
