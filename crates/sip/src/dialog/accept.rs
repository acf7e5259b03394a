//! The 2xx to INVITE at the UAS until its ACK, RFC 3261 §13.3.1.4.
//!
//! | State   | Input                | Next  | Output                                |
//! |---------|----------------------|-------|---------------------------------------|
//! | (new)   |                      | Sent  | `Send`                                |
//! | Sent    | T1, doubling to T2   | Sent  | `Send`                                |
//! | Sent    | ACK                  | Done  | `Acknowledged`                        |
//! | Sent    | 64*T1                | Done  | `GiveUp`: the TU sends BYE            |
//! | Sent    | the dialog ends      | Done  | none                                  |
//!
//! Every pair not listed leaves the state alone. The response is repeated over every transport: it
//! is reliable end to end, and a later hop may be UDP.

use std::mem;
use std::time::Instant;

use bytes::Bytes;

use crate::Timers;
use crate::timers::Backoff;
use crate::transaction::{Outputs, pop};

/// One 2xx to INVITE, sent until it is acknowledged.
#[derive(Debug)]
pub struct Accept {
    state: State,
    outputs: Outputs<Output>,
}

/// What happened outside.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// The ACK came: same dialog, same CSeq number as the INVITE.
    Ack,
    /// The dialog ended before the ACK, by BYE for example.
    Ended,
    /// Time has passed. Harmless when nothing is due.
    Timeout,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put [`Accept::last`] on the wire.
    Send,
    /// Tell the TU that the session is confirmed.
    Acknowledged,
    /// No ACK came: the dialog is confirmed, but the TU ends the session with a BYE.
    GiveUp,
}

#[derive(Debug)]
enum State {
    Sent { response: Bytes, resend: Backoff, give_up: Instant },
    Done,
}

impl Accept {
    /// Starts with [`Output::Send`] queued.
    pub fn new(now: Instant, timers: &Timers, response: Bytes) -> Self {
        let resend = Backoff::new(now, timers.t1, timers.t2);
        let give_up = now + timers.give_up();
        let mut outputs = Outputs::new();
        outputs.push(Output::Send);
        Self { state: State::Sent { response, resend, give_up }, outputs }
    }

    /// Feeds one input at time `now`. Drain the outputs after each.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let state = mem::replace(&mut self.state, State::Done);
        self.state = self.next(now, state, input);
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        pop(&mut self.outputs)
    }

    /// When to call again with [`Input::Timeout`]; `None` when the machine has done its work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Sent { resend, give_up, .. } => Some(resend.due().min(*give_up)),
            State::Done => None,
        }
    }

    /// The response; `None` when it is not needed any more.
    pub fn last(&self) -> Option<&Bytes> {
        match &self.state {
            State::Sent { response, .. } => Some(response),
            State::Done => None,
        }
    }

    fn next(&mut self, now: Instant, state: State, input: Input) -> State {
        match (state, input) {
            (State::Sent { .. }, Input::Ack) => {
                self.outputs.push(Output::Acknowledged);
                State::Done
            }
            (State::Sent { .. }, Input::Ended) => State::Done,
            (State::Sent { give_up, .. }, Input::Timeout) if give_up <= now => {
                self.outputs.push(Output::GiveUp);
                State::Done
            }
            (State::Sent { response, mut resend, give_up }, Input::Timeout) => {
                if resend.fires(now) {
                    self.outputs.push(Output::Send);
                }
                State::Sent { response, resend, give_up }
            }
            (State::Done, Input::Ack | Input::Ended | Input::Timeout) => State::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{Just, Strategy, prop_assert, prop_oneof, proptest};

    use super::*;
    use crate::test_epoch;
    use Input::{Ack, Ended, Timeout};

    /// Feeds `inputs` as (milliseconds since start, input), lets every timer that is due before
    /// the next input (at the end: before `until`) fire on time; renders what came out.
    #[track_caller]
    fn check(inputs: Vec<(u64, Input)>, until: u64, expect: &str) {
        let start = test_epoch();
        let mut accept = Accept::new(start, &Timers::default(), Bytes::from_static(b"200"));
        let mut seen = Vec::new();
        let mut render = |accept: &mut Accept, now: Instant| {
            let ms = (now - start).as_millis();
            while let Some(output) = accept.poll_output() {
                assert!(output != Output::Send || accept.last().is_some());
                seen.push(match output {
                    Output::Send => format!("{ms}:send"),
                    Output::Acknowledged => format!("{ms}:acknowledged"),
                    Output::GiveUp => format!("{ms}:bye"),
                });
            }
        };
        render(&mut accept, start);
        let steps = inputs.into_iter().map(|(ms, input)| (ms, Some(input)));
        for (ms, input) in steps.chain([(until, None)]) {
            let until = start + Duration::from_millis(ms);
            while let Some(due) = accept.poll_timeout().filter(|due| *due < until) {
                accept.handle_input(due, Timeout);
                render(&mut accept, due);
            }
            if let Some(input) = input {
                accept.handle_input(until, input);
                render(&mut accept, until);
            }
        }
        assert_eq!(seen.join(" "), expect);
    }

    // Covers: CORE-007
    #[test]
    fn the_2xx_is_repeated_until_the_ack() {
        check(vec![(100, Ack), (200, Ack)], 99_999, "0:send 100:acknowledged");
        check(
            vec![(1, Timeout), (4_000, Ack)],
            99_999,
            "0:send 500:send 1500:send 3500:send 4000:acknowledged",
        );
    }

    // Covers: CORE-007
    #[test]
    fn without_an_ack_the_session_is_ended() {
        check(
            vec![],
            99_999,
            "0:send 500:send 1500:send 3500:send 7500:send 11500:send 15500:send 19500:send \
             23500:send 27500:send 31500:send 32000:bye",
        );
        check(vec![(32_000, Timeout), (32_001, Ack), (32_002, Ended)], 33_000, {
            "0:send 500:send 1500:send 3500:send 7500:send 11500:send 15500:send 19500:send \
             23500:send 27500:send 31500:send 32000:bye"
        });
    }

    #[test]
    fn the_end_of_the_dialog_stops_it() {
        check(vec![(600, Ended), (700, Ack)], 99_999, "0:send 500:send");
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![Just(Ack), Just(Ended), Just(Timeout), Just(Timeout), Just(Timeout)]
    }

    proptest! {
        #[test]
        fn it_always_comes_to_an_end(
            steps in proptest::collection::vec((0_u64..9_000, inputs()), 0..40),
        ) {
            let mut now = test_epoch();
            let mut accept = Accept::new(now, &Timers::default(), Bytes::new());
            let mut ends = 0;
            for (ms, input) in steps.into_iter().chain([(32_000, Timeout)]) {
                now += Duration::from_millis(ms);
                accept.handle_input(now, input);
                while let Some(output) = accept.poll_output() {
                    ends += usize::from(output != Output::Send);
                }
            }
            prop_assert!(ends <= 1 && accept.poll_timeout().is_none() && accept.last().is_none());
        }
    }
}
