//! INVITE server transaction, RFC 3261 §17.2.1 with Figure 7 of RFC 6026.
//!
//! | State      | Input            | Next       | Output                                  |
//! |------------|------------------|------------|-----------------------------------------|
//! | Proceeding | INVITE again     | Proceeding | `Send` the last 1xx, if there is one    |
//! | Proceeding | TU sends 1xx     | Proceeding | `Send` it                               |
//! | Proceeding | TU sends 2xx     | Accepted   | `Send` it, arm Timer L                  |
//! | Proceeding | TU sends 300-699 | Completed  | `Send` it, arm Timers G and H           |
//! | Accepted   | INVITE again     | Accepted   | none (absorbed)                         |
//! | Accepted   | TU sends 2xx     | Accepted   | `Send` it                               |
//! | Accepted   | ACK              | Accepted   | `DeliverAck`                            |
//! | Accepted   | Timer L          | Terminated | `Terminated`                            |
//! | Completed  | INVITE again     | Completed  | `Send` the final again                  |
//! | Completed  | Timer G          | Completed  | `Send` the final again, G doubles to T2 |
//! | Completed  | ACK              | Confirmed  | none, arm Timer I                       |
//! | Completed  | Timer H          | Terminated | `TimedOut`, `Terminated`                |
//! | Confirmed  | Timer I          | Terminated | `Terminated`                            |
//! | any of the first three | transport error | the same | `TransportFailed`             |
//!
//! Every pair not listed leaves the state alone. The TU repeats the 2xx until the ACK comes
//! (RFC 3261 §13.3.1.4), and sends the 100 when nothing else was sent for 200 ms. Timer G runs
//! over unreliable transports only.

use std::mem;
use std::time::Instant;

use bytes::Bytes;

use super::{Outputs, pop};
use crate::timers::Backoff;
use crate::{Reliability, Timers};

/// One INVITE server transaction, from the first INVITE to Terminated.
#[derive(Debug)]
pub struct InviteServer {
    state: State,
    timers: Timers,
    reliability: Reliability,
    outputs: Outputs<Output>,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The INVITE came again: same branch, sent-by and method (RFC 3261 §17.2.3).
    Retransmit,
    /// An ACK came that matches the transaction (RFC 3261 §17.2.3).
    Ack,
    /// The TU answers.
    Respond {
        /// The status code, 100 to 699.
        status: u16,
        /// The whole response, ready to send.
        bytes: Bytes,
    },
    /// Time has passed. Harmless when nothing is due.
    Timeout,
    /// A response could not be sent, whatever address was tried (RFC 3263 §5).
    TransportError,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put [`InviteServer::last`] on the wire.
    Send,
    /// Give the ACK just fed to the TU: it has the transaction's branch, but acknowledges a 2xx.
    DeliverAck,
    /// Tell the TU that no ACK came for its final response (Timer H).
    TimedOut,
    /// Tell the TU that its response was lost.
    TransportFailed,
    /// Drop the transaction.
    Terminated,
}

#[derive(Debug)]
enum State {
    Proceeding { last: Option<Bytes> },
    Accepted { last: Bytes, timer_l: Instant },
    Completed { last: Bytes, timer_g: Option<Backoff>, timer_h: Instant },
    Confirmed { timer_i: Instant },
    Terminated,
}

impl InviteServer {
    /// Starts in Proceeding; the caller has already handed the INVITE to the TU.
    pub fn new(timers: &Timers, reliability: Reliability) -> Self {
        let state = State::Proceeding { last: None };
        Self { state, timers: *timers, reliability, outputs: Outputs::new() }
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
            State::Accepted { timer_l, .. } => Some(*timer_l),
            State::Completed { timer_g, timer_h, .. } => {
                Some(timer_g.map_or(*timer_h, |timer_g| timer_g.due().min(*timer_h)))
            }
            State::Confirmed { timer_i } => Some(*timer_i),
            State::Proceeding { .. } | State::Terminated => None,
        }
    }

    /// The last response given by the TU; `None` before the first, and once it was acknowledged.
    pub fn last(&self) -> Option<&Bytes> {
        match &self.state {
            State::Proceeding { last } => last.as_ref(),
            State::Accepted { last, .. } | State::Completed { last, .. } => Some(last),
            State::Confirmed { .. } | State::Terminated => None,
        }
    }

    /// Whether a final response was given. A CANCEL has no effect then (RFC 3261 §9.2).
    pub fn is_answered(&self) -> bool {
        match self.state {
            State::Proceeding { .. } => false,
            State::Accepted { .. }
            | State::Completed { .. }
            | State::Confirmed { .. }
            | State::Terminated => true,
        }
    }

    fn next(&mut self, now: Instant, state: State, input: Input) -> State {
        use State::{Accepted, Completed, Confirmed, Proceeding, Terminated};
        match (state, input) {
            (Proceeding { last }, Input::Retransmit) => {
                if last.is_some() {
                    self.outputs.push(Output::Send);
                }
                Proceeding { last }
            }
            (Proceeding { .. }, Input::Respond { status, bytes }) => {
                self.outputs.push(Output::Send);
                self.answered(now, status, bytes)
            }
            (Accepted { timer_l, .. }, Input::Respond { status, bytes })
                if (200..300).contains(&status) =>
            {
                self.outputs.push(Output::Send);
                Accepted { last: bytes, timer_l }
            }
            (state @ Accepted { .. }, Input::Ack) => {
                self.outputs.push(Output::DeliverAck);
                state
            }
            (Accepted { timer_l, .. }, Input::Timeout) if timer_l <= now => self.terminated(),
            (state @ Completed { .. }, Input::Retransmit) => {
                self.outputs.push(Output::Send);
                state
            }
            (Completed { .. }, Input::Ack) => {
                Confirmed { timer_i: now + self.timers.timer_i(self.reliability) }
            }
            (Completed { timer_h, .. }, Input::Timeout) if timer_h <= now => {
                self.outputs.push(Output::TimedOut);
                self.terminated()
            }
            (Completed { last, mut timer_g, timer_h }, Input::Timeout) => {
                if timer_g.as_mut().is_some_and(|timer_g| timer_g.fires(now)) {
                    self.outputs.push(Output::Send);
                }
                Completed { last, timer_g, timer_h }
            }
            (Confirmed { timer_i }, Input::Timeout) if timer_i <= now => self.terminated(),
            (
                state @ (Proceeding { .. } | Accepted { .. } | Completed { .. }),
                Input::TransportError,
            ) => {
                self.outputs.push(Output::TransportFailed);
                state
            }
            (state @ Proceeding { .. }, Input::Ack | Input::Timeout)
            | (
                state @ Accepted { .. },
                Input::Retransmit | Input::Respond { .. } | Input::Timeout,
            )
            | (state @ Completed { .. }, Input::Respond { .. })
            | (
                state @ (Confirmed { .. } | Terminated),
                Input::Retransmit
                | Input::Ack
                | Input::Respond { .. }
                | Input::Timeout
                | Input::TransportError,
            ) => state,
        }
    }

    /// The state after the TU's answer in Proceeding.
    fn answered(&self, now: Instant, status: u16, bytes: Bytes) -> State {
        if status < 200 {
            State::Proceeding { last: Some(bytes) }
        } else if status < 300 {
            State::Accepted { last: bytes, timer_l: now + self.timers.timer_l() }
        } else {
            State::Completed {
                last: bytes,
                timer_g: self.timers.timer_g(now, self.reliability),
                timer_h: now + self.timers.timer_h(),
            }
        }
    }

    fn terminated(&mut self) -> State {
        self.outputs.push(Output::Terminated);
        State::Terminated
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

    use super::*;
    use crate::test_epoch;
    use Input::{Ack, Retransmit, Timeout, TransportError};
    use Reliability::{Reliable, Unreliable};

    fn render(txn: &mut InviteServer, ms: u128, seen: &mut Vec<String>) {
        while let Some(output) = txn.poll_output() {
            seen.push(match output {
                Output::Send => {
                    let last = txn.last().expect("there is something to send");
                    format!("{ms}:{}", String::from_utf8_lossy(last))
                }
                Output::DeliverAck => format!("{ms}:ack"),
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
        let mut txn = InviteServer::new(&Timers::default(), reliability);
        let mut seen = Vec::new();
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
        Input::Respond { status, bytes: Bytes::from(status.to_string()) }
    }

    // Covers: CORE-004
    #[test]
    fn proceeding_repeats_the_last_provisional_response() {
        check(Unreliable, vec![(0, Retransmit), (1, Ack), (2, Timeout)], 9, "");
        check(
            Unreliable,
            vec![(0, rsp(100)), (1, rsp(180)), (500, Retransmit)],
            99_999,
            "0:100 1:180 500:180",
        );
    }

    // Covers: CORE-005
    #[test]
    fn accepted_absorbs_invites_and_passes_acks_on_until_timer_l() {
        for reliability in [Reliable, Unreliable] {
            check(
                reliability,
                vec![(0, rsp(200)), (500, Retransmit), (600, Ack), (700, Ack)],
                99_999,
                "0:200 600:ack 700:ack 32000:terminated",
            );
        }
    }

    // Covers: CORE-005
    #[test]
    fn accepted_sends_only_the_2xx_the_tu_repeats() {
        check(
            Unreliable,
            vec![(0, rsp(180)), (9, rsp(200)), (509, rsp(200)), (510, rsp(180)), (511, rsp(486))],
            99_999,
            "0:180 9:200 509:200 32009:terminated",
        );
    }

    // Covers: CORE-004
    #[test]
    fn completed_repeats_the_final_response_until_timer_h() {
        check(
            Unreliable,
            vec![(0, rsp(486))],
            99_999,
            "0:486 500:486 1500:486 3500:486 7500:486 11500:486 15500:486 19500:486 23500:486 \
             27500:486 31500:486 32000:timeout 32000:terminated",
        );
        check(Reliable, vec![(0, rsp(486))], 99_999, "0:486 32000:timeout 32000:terminated");
        check(
            Unreliable,
            vec![(0, rsp(486)), (100, Retransmit), (200, rsp(200)), (300, rsp(500))],
            400,
            "0:486 100:486",
        );
    }

    // Covers: CORE-004
    #[test]
    fn confirmed_absorbs_until_timer_i() {
        check(
            Unreliable,
            vec![(0, rsp(404)), (100, Ack), (200, Ack), (300, Retransmit), (400, rsp(200))],
            99_999,
            "0:404 5100:terminated",
        );
        check(Reliable, vec![(0, rsp(404)), (100, Ack)], 99_999, "0:404 100:terminated");
        check(Unreliable, vec![(0, rsp(404)), (100, Ack), (200, TransportError)], 300, "0:404");
    }

    // RFC 6026 §7.1: a transport error never discards the state.
    // Covers: CORE-005
    #[test]
    fn transport_error_keeps_the_state() {
        check(
            Unreliable,
            vec![(0, rsp(180)), (1, TransportError), (500, Retransmit)],
            600,
            "0:180 1:failed 500:180",
        );
        check(
            Reliable,
            vec![(0, rsp(200)), (1, TransportError), (500, Retransmit)],
            99_999,
            "0:200 1:failed 32000:terminated",
        );
        check(
            Reliable,
            vec![(0, rsp(486)), (1, TransportError), (500, Retransmit), (600, Ack)],
            99_999,
            "0:486 1:failed 500:486 600:terminated",
        );
    }

    #[test]
    fn terminated_is_final() {
        let after = vec![
            (0, rsp(404)),
            (1, Ack),
            (1, Timeout),
            (2, Retransmit),
            (3, Ack),
            (4, rsp(200)),
            (5, TransportError),
        ];
        check(Reliable, after, 99_999, "0:404 1:terminated");
    }

    #[test]
    fn what_is_not_needed_is_dropped() {
        let start = test_epoch();
        let mut txn = InviteServer::new(&Timers::default(), Unreliable);
        assert!(!txn.is_answered());
        txn.handle_input(start, rsp(486));
        assert!(txn.is_answered() && txn.last().is_some());
        txn.handle_input(start, Ack);
        assert_eq!(txn.last(), None);
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Retransmit),
            Just(Ack),
            any::<u16>().prop_map(rsp),
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
            let mut txn = InviteServer::new(&Timers::default(), reliability);
            let mut terminated = 0;
            let end = [(0, rsp(486)), (32_000, Timeout)];
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
