//! INVITE client transaction, RFC 3261 §17.1.1 with Figure 5 of RFC 6026.
//!
//! | State      | Input           | Next       | Output                                        |
//! |------------|-----------------|------------|-----------------------------------------------|
//! | (new)      |                 | Calling    | `Send`, arm Timers A and B                    |
//! | Calling    | Timer A         | Calling    | `Send`, A doubles                             |
//! | Calling    | Timer B         | Terminated | `TimedOut`, `Terminated`                      |
//! | Calling    | transport error | Terminated | `TransportFailed`, `Terminated`               |
//! | Calling    | TU cancels      | Calling    | none yet (§9.1)                               |
//! | Calling    | 1xx             | Proceeding | `Deliver`; `SendCancel` when the TU cancelled |
//! | Proceeding | 1xx             | Proceeding | `Deliver`                                     |
//! | Proceeding | TU cancels      | Proceeding | `SendCancel` once, arm the give-up timer      |
//! | Proceeding | give-up timer   | Terminated | `TimedOut`, `Terminated` (§9.1)               |
//! | Calling, Proceeding | 2xx     | Accepted  | `Deliver`, arm Timer M                        |
//! | Calling, Proceeding | 300-699 | Completed | `SendAck`, `Deliver`, arm Timer D             |
//! | Accepted   | 2xx             | Accepted   | `Deliver`                                     |
//! | Accepted   | Timer M         | Terminated | `Terminated`                                  |
//! | Completed  | 300-699         | Completed  | `SendAck`                                     |
//! | Completed  | transport error | Terminated | `TransportFailed`, `Terminated`               |
//! | Completed  | Timer D         | Terminated | `Terminated`                                  |
//!
//! Every pair not listed leaves the state alone. The TU acknowledges every 2xx; the machine repeats
//! only the ACK for a non-2xx, which the caller builds (§17.1.1.3). Timer A runs over unreliable
//! transports only. What limits the wait in Proceeding is Timer C at a proxy (§16.8) and the TU's
//! own patience at a UAC.

use std::mem;
use std::time::Instant;

use bytes::Bytes;

use super::{Outputs, pop};
use crate::timers::Backoff;
use crate::{Reliability, Timers};

/// One INVITE client transaction, from the INVITE to Terminated.
#[derive(Debug)]
pub struct InviteClient {
    state: State,
    timers: Timers,
    reliability: Reliability,
    outputs: Outputs<Output>,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A response arrived that matches the transaction (RFC 3261 §17.1.3).
    Response {
        /// The status code, 100 to 699.
        status: u16,
        /// The ACK for a status of 300 to 699 (RFC 3261 §17.1.1.3), ready to send. Needed only
        /// while [`InviteClient::wants_ack`]; ignored otherwise. Without it no ACK is sent.
        ack: Option<Bytes>,
    },
    /// The TU wants the INVITE cancelled (RFC 3261 §9.1).
    Cancel,
    /// Time has passed. Harmless when nothing is due.
    Timeout,
    /// The INVITE or the ACK could not be sent.
    TransportError,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put [`InviteClient::last`], the INVITE, on the wire.
    Send,
    /// Put [`InviteClient::last`], now the ACK, on the wire: same address, port and transport as
    /// the INVITE.
    SendAck,
    /// Send the CANCEL, in a client transaction of its own.
    SendCancel,
    /// Give the response just fed to the TU.
    Deliver,
    /// Tell the TU that no response came (Timer B), or no final one after CANCEL.
    TimedOut,
    /// Tell the TU that the INVITE or the ACK could not be sent.
    TransportFailed,
    /// Drop the transaction.
    Terminated,
}

#[derive(Debug)]
enum State {
    Calling { invite: Bytes, timer_a: Option<Backoff>, timer_b: Instant, cancelled: bool },
    Proceeding { invite: Bytes, give_up: Option<Instant> },
    Accepted { timer_m: Instant },
    Completed { ack: Option<Bytes>, timer_d: Instant },
    Terminated,
}

impl InviteClient {
    /// Starts in Calling with [`Output::Send`] queued.
    pub fn new(now: Instant, timers: &Timers, reliability: Reliability, invite: Bytes) -> Self {
        let state = State::Calling {
            invite,
            timer_a: timers.timer_a(now, reliability),
            timer_b: now + timers.timer_b(),
            cancelled: false,
        };
        let mut outputs = Outputs::new();
        outputs.push(Output::Send);
        Self { state, timers: *timers, reliability, outputs }
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
            State::Calling { timer_a, timer_b, .. } => {
                Some(timer_a.map_or(*timer_b, |timer_a| timer_a.due().min(*timer_b)))
            }
            State::Proceeding { give_up, .. } => *give_up,
            State::Accepted { timer_m } => Some(*timer_m),
            State::Completed { timer_d, .. } => Some(*timer_d),
            State::Terminated => None,
        }
    }

    /// The INVITE until a final response came, then the ACK of a non-2xx.
    pub fn last(&self) -> Option<&Bytes> {
        match &self.state {
            State::Calling { invite, .. } | State::Proceeding { invite, .. } => Some(invite),
            State::Completed { ack, .. } => ack.as_ref(),
            State::Accepted { .. } | State::Terminated => None,
        }
    }

    /// Whether the next final response of 300 to 699 needs an ACK from the caller.
    pub fn wants_ack(&self) -> bool {
        match self.state {
            State::Calling { .. } | State::Proceeding { .. } => true,
            State::Accepted { .. } | State::Completed { .. } | State::Terminated => false,
        }
    }

    fn next(&mut self, now: Instant, state: State, input: Input) -> State {
        use State::{Accepted, Calling, Completed, Proceeding, Terminated};
        match (state, input) {
            (Calling { invite, cancelled, .. }, Input::Response { status, .. }) if status < 200 => {
                self.outputs.push(Output::Deliver);
                let give_up = cancelled.then(|| self.cancel(now));
                Proceeding { invite, give_up }
            }
            (state @ Proceeding { .. }, Input::Response { status, .. }) if status < 200 => {
                self.outputs.push(Output::Deliver);
                state
            }
            (Calling { .. } | Proceeding { .. }, Input::Response { status, ack }) => {
                self.answered(now, status, ack)
            }
            (Calling { invite, timer_a, timer_b, .. }, Input::Cancel) => {
                Calling { invite, timer_a, timer_b, cancelled: true }
            }
            (Proceeding { invite, give_up }, Input::Cancel) => {
                let give_up = give_up.unwrap_or_else(|| self.cancel(now));
                Proceeding { invite, give_up: Some(give_up) }
            }
            (Calling { timer_b, .. }, Input::Timeout) if timer_b <= now => {
                self.outputs.push(Output::TimedOut);
                self.terminated()
            }
            (Calling { invite, mut timer_a, timer_b, cancelled }, Input::Timeout) => {
                if timer_a.as_mut().is_some_and(|timer_a| timer_a.fires(now)) {
                    self.outputs.push(Output::Send);
                }
                Calling { invite, timer_a, timer_b, cancelled }
            }
            (Proceeding { give_up: Some(give_up), .. }, Input::Timeout) if give_up <= now => {
                self.outputs.push(Output::TimedOut);
                self.terminated()
            }
            (Calling { .. } | Completed { .. }, Input::TransportError) => {
                self.outputs.push(Output::TransportFailed);
                self.terminated()
            }
            (state @ Accepted { .. }, Input::Response { status, .. })
                if (200..300).contains(&status) =>
            {
                self.outputs.push(Output::Deliver);
                state
            }
            (Accepted { timer_m }, Input::Timeout) if timer_m <= now => self.terminated(),
            (Completed { timer_d, .. }, Input::Timeout) if timer_d <= now => self.terminated(),
            (Completed { ack: Some(ack), timer_d }, Input::Response { status, .. })
                if status >= 300 =>
            {
                self.outputs.push(Output::SendAck);
                Completed { ack: Some(ack), timer_d }
            }
            (state @ Proceeding { .. }, Input::Timeout | Input::TransportError)
            | (
                state @ Accepted { .. },
                Input::Response { .. } | Input::Cancel | Input::Timeout | Input::TransportError,
            )
            | (state @ Completed { .. }, Input::Response { .. } | Input::Cancel | Input::Timeout)
            | (
                state @ Terminated,
                Input::Response { .. } | Input::Cancel | Input::Timeout | Input::TransportError,
            ) => state,
        }
    }

    /// The state after the first final response.
    fn answered(&mut self, now: Instant, status: u16, ack: Option<Bytes>) -> State {
        if status < 300 {
            self.outputs.push(Output::Deliver);
            return State::Accepted { timer_m: now + self.timers.timer_m() };
        }
        if ack.is_some() {
            self.outputs.push(Output::SendAck);
        }
        self.outputs.push(Output::Deliver);
        State::Completed { ack, timer_d: now + self.timers.timer_d(self.reliability) }
    }

    /// Asks for the CANCEL; gives the time at which a final response is not waited for any more.
    fn cancel(&mut self, now: Instant) -> Instant {
        self.outputs.push(Output::SendCancel);
        now + self.timers.give_up()
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
    use Input::{Cancel, Timeout, TransportError};
    use Reliability::{Reliable, Unreliable};

    fn render(txn: &mut InviteClient, ms: u128, seen: &mut Vec<String>) {
        while let Some(output) = txn.poll_output() {
            seen.push(match output {
                Output::Send => {
                    assert_eq!(txn.last().expect("there is something to send"), "INVITE");
                    format!("{ms}:send")
                }
                Output::SendAck => {
                    assert_eq!(txn.last().expect("there is something to send"), "ACK");
                    format!("{ms}:ack")
                }
                Output::SendCancel => format!("{ms}:cancel"),
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
        let invite = Bytes::from_static(b"INVITE");
        let mut txn = InviteClient::new(start, &Timers::default(), reliability, invite);
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
        Input::Response { status, ack: (status >= 300).then(|| Bytes::from_static(b"ACK")) }
    }

    // Covers: CORE-004
    #[test]
    fn timer_a_doubles_and_timer_b_gives_up() {
        check(
            Unreliable,
            vec![],
            99_999,
            "0:send 500:send 1500:send 3500:send 7500:send 15500:send 31500:send 32000:timeout \
             32000:terminated",
        );
        check(Reliable, vec![], 99_999, "0:send 32000:timeout 32000:terminated");
    }

    // Covers: CORE-004
    #[test]
    fn a_provisional_response_stops_both_timers() {
        check(
            Unreliable,
            vec![(600, rsp(100)), (700, rsp(180)), (90_000, rsp(183))],
            99_999,
            "0:send 500:send 600:deliver 700:deliver 90000:deliver",
        );
    }

    // Covers: CORE-004
    #[test]
    fn a_failure_is_acknowledged_each_time_and_delivered_once() {
        check(
            Unreliable,
            vec![(10, rsp(486)), (600, rsp(486)), (700, rsp(200)), (800, rsp(180)), (900, Cancel)],
            99_999,
            "0:send 10:ack 10:deliver 600:ack 33010:terminated",
        );
        check(
            Unreliable,
            vec![(10, rsp(180)), (20, rsp(302))],
            50,
            "0:send 10:deliver 20:ack 20:deliver",
        );
        check(Reliable, vec![(10, rsp(486))], 99, "0:send 10:ack 10:deliver 10:terminated");
    }

    #[test]
    fn without_an_ack_none_is_sent() {
        let bare = || Input::Response { status: 486, ack: None };
        check(Unreliable, vec![(1, bare()), (2, bare())], 9, "0:send 1:deliver");
    }

    // Covers: CORE-005
    #[test]
    fn every_2xx_is_delivered_until_timer_m() {
        for reliability in [Reliable, Unreliable] {
            check(
                reliability,
                vec![(10, rsp(200)), (400, rsp(200)), (450, rsp(486)), (460, rsp(180))],
                99_999,
                "0:send 10:deliver 400:deliver 32010:terminated",
            );
        }
        check(
            Reliable,
            vec![(10, rsp(180)), (20, rsp(200)), (30, TransportError), (40, Cancel)],
            99_999,
            "0:send 10:deliver 20:deliver 32020:terminated",
        );
    }

    #[test]
    fn transport_error_ends_the_transaction() {
        check(Unreliable, vec![(9, TransportError)], 50, "0:send 9:failed 9:terminated");
        check(Unreliable, vec![(8, rsp(180)), (9, TransportError)], 50, "0:send 8:deliver");
        check(
            Unreliable,
            vec![(8, rsp(486)), (9, TransportError)],
            50,
            "0:send 8:ack 8:deliver 9:failed 9:terminated",
        );
    }

    // RFC 3261 §9.1: no CANCEL before a provisional response; 64*T1 later nobody waits.
    #[test]
    fn cancel_waits_for_a_provisional_response() {
        check(
            Reliable,
            vec![(10, Cancel), (20, rsp(100)), (30, Cancel)],
            99_999,
            "0:send 20:deliver 20:cancel 32020:timeout 32020:terminated",
        );
        check(
            Reliable,
            vec![(10, rsp(180)), (20, Cancel), (30, Cancel), (40, rsp(487))],
            99_999,
            "0:send 10:deliver 20:cancel 40:ack 40:deliver 40:terminated",
        );
        check(Reliable, vec![(10, Cancel), (20, rsp(200))], 50, "0:send 20:deliver");
        check(Reliable, vec![(10, Cancel)], 99_999, "0:send 32000:timeout 32000:terminated");
    }

    #[test]
    fn terminated_is_final() {
        let after = vec![
            (1, TransportError),
            (2, rsp(200)),
            (3, Timeout),
            (4, Cancel),
            (5, TransportError),
        ];
        check(Reliable, after, 99_999, "0:send 1:failed 1:terminated");
    }

    #[test]
    fn the_invite_is_dropped_with_the_final_response() {
        let start = test_epoch();
        let invite = Bytes::from_static(b"INVITE");
        let mut txn = InviteClient::new(start, &Timers::default(), Unreliable, invite);
        assert!(txn.wants_ack());
        txn.handle_input(start, rsp(200));
        assert!(!txn.wants_ack());
        assert_eq!(txn.last(), None);
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![any::<u16>().prop_map(rsp), Just(Cancel), Just(Timeout), Just(TransportError),]
    }

    proptest! {
        #[test]
        fn every_cancelled_transaction_terminates_once(
            steps in proptest::collection::vec((0_u64..9_000, inputs()), 0..40), reliable: bool,
        ) {
            let reliability = if reliable { Reliable } else { Unreliable };
            let mut now = test_epoch();
            let mut txn = InviteClient::new(now, &Timers::default(), reliability, Bytes::new());
            let mut terminated = 0;
            let end = [(0, Cancel), (33_000, Timeout)];
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
