//! The ACK for a 2xx at the UAC, RFC 3261 §13.2.2.4.
//!
//! | State   | Input        | Next    | Output          |
//! |---------|--------------|---------|-----------------|
//! | (new)   |              | Waiting | `Send` the ACK  |
//! | Waiting | 2xx again    | Waiting | `Send` the ACK  |
//! | Waiting | 64*T1        | Done    | `Done`          |
//!
//! One for each dialog a 2xx made: a forked INVITE may have several. The ACK of the first 2xx is
//! kept, since each repeated 2xx shows that the last ACK was lost.

use std::mem;
use std::time::Instant;

use bytes::Bytes;

use crate::Timers;
use crate::transaction::{Outputs, pop};

/// One ACK for a 2xx, sent again whenever the 2xx comes again.
#[derive(Debug)]
pub struct Acknowledge {
    state: State,
    outputs: Outputs<Output>,
}

/// What happened outside.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// A 2xx of the same dialog and CSeq came again.
    Repeated,
    /// Time has passed. Harmless when nothing is due.
    Timeout,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put [`Acknowledge::last`] on the wire.
    Send,
    /// No repeated 2xx is expected any more: drop the machine.
    Done,
}

#[derive(Debug)]
enum State {
    Waiting { ack: Bytes, until: Instant },
    Done,
}

impl Acknowledge {
    /// Starts with [`Output::Send`] queued.
    pub fn new(now: Instant, timers: &Timers, ack: Bytes) -> Self {
        let mut outputs = Outputs::new();
        outputs.push(Output::Send);
        Self { state: State::Waiting { ack, until: now + timers.give_up() }, outputs }
    }

    /// Feeds one input at time `now`. Drain the outputs after each.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let state = mem::replace(&mut self.state, State::Done);
        self.state = match (state, input) {
            (state @ State::Waiting { .. }, Input::Repeated) => {
                self.outputs.push(Output::Send);
                state
            }
            (State::Waiting { until, .. }, Input::Timeout) if until <= now => {
                self.outputs.push(Output::Done);
                State::Done
            }
            (state @ State::Waiting { .. }, Input::Timeout) => state,
            (State::Done, Input::Repeated | Input::Timeout) => State::Done,
        };
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        pop(&mut self.outputs)
    }

    /// When to call again with [`Input::Timeout`]; `None` when the machine has done its work.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until, .. } => Some(*until),
            State::Done => None,
        }
    }

    /// The ACK; `None` when it is not needed any more.
    pub fn last(&self) -> Option<&Bytes> {
        match &self.state {
            State::Waiting { ack, .. } => Some(ack),
            State::Done => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test_epoch;
    use Input::{Repeated, Timeout};

    #[track_caller]
    fn check(inputs: Vec<(u64, Input)>, expect: &str) {
        let start = test_epoch();
        let mut machine = Acknowledge::new(start, &Timers::default(), Bytes::from_static(b"ACK"));
        assert_eq!(machine.poll_timeout(), Some(start + Duration::from_secs(32)));
        assert_eq!(machine.poll_output(), Some(Output::Send));
        let mut seen = Vec::new();
        for (ms, input) in inputs {
            machine.handle_input(start + Duration::from_millis(ms), input);
            while let Some(output) = machine.poll_output() {
                assert_eq!(output == Output::Send, machine.last().is_some());
                seen.push(format!("{ms}:{output:?}"));
            }
        }
        assert_eq!(seen.join(" "), expect);
    }

    // RFC 3261 §13.2.2.4: "an ACK for each" 2xx.
    #[test]
    fn each_repeated_2xx_is_acknowledged_again() {
        check(vec![(500, Repeated), (1_500, Repeated)], "500:Send 1500:Send");
        check(
            vec![(31_999, Timeout), (32_000, Timeout), (32_001, Repeated), (32_002, Timeout)],
            "32000:Done",
        );
    }
}
