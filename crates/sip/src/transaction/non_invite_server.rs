//! Non-INVITE server transaction, RFC 3261 §17.2.2, Figure 8.
//!
//! | State                 | Input             | Next       | Output                       |
//! |-----------------------|-------------------|------------|------------------------------|
//! | Trying                | request again     | Trying     | none (absorbed)              |
//! | Trying, Proceeding    | TU sends 1xx      | Proceeding | `Send` it                    |
//! | Trying, Proceeding    | TU sends 200-699  | Completed  | `Send` it, arm Timer J       |
//! | Trying, Proceeding    | TU gives up       | Terminated | `Terminated`                 |
//! | Proceeding            | request again     | Proceeding | `Send` the last 1xx          |
//! | Completed             | request again     | Completed  | `Send` the final again       |
//! | Completed             | TU sends any      | Completed  | none (discarded)             |
//! | Completed             | Timer J           | Terminated | `Terminated`                 |
//! | Proceeding, Completed | transport error   | the same   | `TransportFailed`            |
//!
//! Every pair not listed leaves the state alone. A transport error does not end the transaction,
//! against Figure 8: RFC 6026 §8.8 replaced §17.2.4, or a request repeated after a lost response
//! would be processed a second time. "TU gives up" is RFC 4320 §4.2: no 408, so no answer at all.
//! RFC 4320 §4.1 narrows which 1xx the TU may send; that is the TU's duty, not this machine's.

use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Outputs, pop};
use crate::{Reliability, Timers};

/// One non-INVITE server transaction, from the first request to Terminated.
///
/// Millions of these wait for Timer J at a time, so it keeps no timer values it does not need.
#[derive(Debug)]
pub struct NonInviteServer {
    state: State,
    outputs: Outputs<Output>,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The request came again: same branch, sent-by and method (RFC 3261 §17.2.3).
    Retransmit,
    /// The TU answers.
    Respond {
        /// The status code, 100 to 699.
        status: u16,
        /// The whole response, ready to send.
        bytes: Bytes,
    },
    /// The TU will not answer any more (RFC 4320 §4.2).
    Abandon,
    /// Time has passed. Harmless when nothing is due.
    Timeout,
    /// A response could not be sent, whatever address was tried (RFC 3263 §5).
    TransportError,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put [`NonInviteServer::last`] on the wire.
    Send,
    /// Tell the TU that its response was lost.
    TransportFailed,
    /// Drop the transaction.
    Terminated,
}

#[derive(Debug)]
enum State {
    Trying { timer_j: Duration },
    Proceeding { last: Bytes, timer_j: Duration },
    Completed { last: Bytes, timer_j: Instant },
    Terminated,
}

impl NonInviteServer {
    /// Starts in Trying; the caller has already handed the request to the TU.
    pub fn new(timers: &Timers, reliability: Reliability) -> Self {
        let state = State::Trying { timer_j: timers.timer_j(reliability) };
        Self { state, outputs: Outputs::new() }
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
        match self.state {
            State::Completed { timer_j, .. } => Some(timer_j),
            State::Trying { .. } | State::Proceeding { .. } | State::Terminated => None,
        }
    }

    /// The last response given by the TU; `None` before the first and after Terminated.
    pub fn last(&self) -> Option<&Bytes> {
        match &self.state {
            State::Proceeding { last, .. } | State::Completed { last, .. } => Some(last),
            State::Trying { .. } | State::Terminated => None,
        }
    }

    /// Whether a final response was given (or none will be).
    pub fn is_answered(&self) -> bool {
        match self.state {
            State::Trying { .. } | State::Proceeding { .. } => false,
            State::Completed { .. } | State::Terminated => true,
        }
    }

    fn next(&mut self, now: Instant, state: State, input: Input) -> State {
        use State::{Completed, Proceeding, Terminated, Trying};
        match (state, input) {
            (state @ Trying { .. }, Input::Retransmit) => state,
            (state @ (Proceeding { .. } | Completed { .. }), Input::Retransmit) => {
                self.outputs.push(Output::Send);
                state
            }
            (Trying { timer_j } | Proceeding { timer_j, .. }, Input::Respond { status, bytes }) => {
                self.outputs.push(Output::Send);
                if status < 200 {
                    Proceeding { last: bytes, timer_j }
                } else {
                    Completed { last: bytes, timer_j: now + timer_j }
                }
            }
            (state @ Completed { .. }, Input::Respond { .. } | Input::Abandon) => state,
            (Trying { .. } | Proceeding { .. }, Input::Abandon) => {
                self.outputs.push(Output::Terminated);
                Terminated
            }
            (Completed { timer_j, .. }, Input::Timeout) if timer_j <= now => {
                self.outputs.push(Output::Terminated);
                Terminated
            }
            (state @ (Trying { .. } | Proceeding { .. } | Completed { .. }), Input::Timeout) => {
                state
            }
            (state @ Trying { .. }, Input::TransportError) => state,
            (state @ (Proceeding { .. } | Completed { .. }), Input::TransportError) => {
                self.outputs.push(Output::TransportFailed);
                state
            }
            (
                Terminated,
                Input::Retransmit
                | Input::Respond { .. }
                | Input::Abandon
                | Input::Timeout
                | Input::TransportError,
            ) => Terminated,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

    use super::*;
    use crate::test_epoch;
    use Input::{Abandon, Retransmit, Timeout, TransportError};
    use Reliability::{Reliable, Unreliable};

    /// Feeds `inputs` as (milliseconds since start, input); renders what came out.
    #[track_caller]
    fn check(reliability: Reliability, inputs: Vec<(u64, Input)>, expect: &str) {
        let start = test_epoch();
        let mut txn = NonInviteServer::new(&Timers::default(), reliability);
        let mut seen = Vec::new();
        for (ms, input) in inputs {
            txn.handle_input(start + Duration::from_millis(ms), input);
            while let Some(output) = txn.poll_output() {
                seen.push(match output {
                    Output::Send => {
                        let last = txn.last().expect("there is something to send");
                        format!("{ms}:{}", String::from_utf8_lossy(last))
                    }
                    Output::TransportFailed => format!("{ms}:failed"),
                    Output::Terminated => format!("{ms}:terminated"),
                });
            }
        }
        assert_eq!(seen.join(" "), expect);
    }

    fn rsp(status: u16) -> Input {
        Input::Respond { status, bytes: Bytes::from(status.to_string()) }
    }

    // Covers: CORE-004
    #[test]
    fn retransmissions_are_answered_from_the_last_response() {
        check(Unreliable, vec![(0, Retransmit)], "");
        check(Unreliable, vec![(0, rsp(100)), (500, Retransmit)], "0:100 500:100");
        check(Unreliable, vec![(0, rsp(202)), (500, Retransmit)], "0:202 500:202");
        check(
            Unreliable,
            vec![(0, rsp(100)), (1, rsp(100)), (2, rsp(404)), (500, Retransmit)],
            "0:100 1:100 2:404 500:404",
        );
        check(Unreliable, vec![(0, rsp(202)), (9, rsp(500)), (500, Retransmit)], "0:202 500:202");
        check(Unreliable, vec![(0, rsp(202)), (9, rsp(100)), (500, Retransmit)], "0:202 500:202");
    }

    // Covers: CORE-004
    #[test]
    fn timer_j_ends_the_transaction() {
        check(Unreliable, vec![(0, rsp(200)), (31_999, Timeout)], "0:200");
        check(
            Unreliable,
            vec![(0, rsp(200)), (32_000, Timeout), (32_001, Retransmit)],
            "0:200 32000:terminated",
        );
        check(Reliable, vec![(0, rsp(200)), (0, Timeout)], "0:200 0:terminated");
        check(Unreliable, vec![(99_999, Timeout), (99_999, rsp(200))], "99999:200");
    }

    #[test]
    fn the_deadline_is_timer_j_only() {
        let start = test_epoch();
        let mut txn = NonInviteServer::new(&Timers::default(), Unreliable);
        assert_eq!(txn.poll_timeout(), None);
        txn.handle_input(start, rsp(100));
        assert_eq!(txn.poll_timeout(), None);
        assert!(!txn.is_answered());
        txn.handle_input(start, rsp(200));
        assert_eq!(txn.poll_timeout(), Some(start + Duration::from_secs(32)));
        assert!(txn.is_answered());
    }

    // RFC 6026 §8.8: the TU hears of it, retransmissions are still absorbed.
    #[test]
    fn transport_error_keeps_the_state() {
        check(Unreliable, vec![(0, TransportError)], "");
        check(
            Unreliable,
            vec![(0, rsp(100)), (1, TransportError), (500, Retransmit)],
            "0:100 1:failed 500:100",
        );
        check(
            Unreliable,
            vec![(0, rsp(200)), (1, TransportError), (500, Retransmit), (32_000, Timeout)],
            "0:200 1:failed 500:200 32000:terminated",
        );
    }

    // RFC 4320 §4.2: an element that cannot answer in time sends nothing.
    // Covers: CORE-061
    #[test]
    fn giving_up_ends_the_transaction_without_an_answer() {
        check(Unreliable, vec![(0, Abandon), (1, rsp(200))], "0:terminated");
        check(Unreliable, vec![(0, rsp(100)), (9, Abandon), (10, rsp(408))], "0:100 9:terminated");
        check(Unreliable, vec![(0, rsp(200)), (1, Abandon), (2, Retransmit)], "0:200 2:200");
    }

    #[test]
    fn size_is_bounded() {
        assert!(size_of::<NonInviteServer>() <= 80, "{}", size_of::<NonInviteServer>());
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Retransmit),
            any::<u16>().prop_map(rsp),
            Just(Abandon),
            Just(Timeout),
            Just(TransportError),
        ]
    }

    proptest! {
        #[test]
        fn every_answered_transaction_terminates_once(
            steps in proptest::collection::vec((0_u64..40_000, inputs()), 0..40), reliable: bool,
        ) {
            let reliability = if reliable { Reliable } else { Unreliable };
            let mut now = test_epoch();
            let mut txn = NonInviteServer::new(&Timers::default(), reliability);
            let mut terminated = 0;
            let end = [(0, rsp(200)), (32_000, Timeout)];
            for (ms, input) in steps.into_iter().chain(end) {
                now += Duration::from_millis(ms);
                txn.handle_input(now, input);
                while let Some(output) = txn.poll_output() {
                    terminated += usize::from(output == Output::Terminated);
                }
            }
            prop_assert!(terminated == 1);
            prop_assert!(txn.poll_timeout().is_none() && txn.last().is_none());
        }
    }
}
