//! Reliable provisional responses, RFC 3262: the UAS side and the UAC side.
//!
//! At the UAS ([`ReliableSender`]):
//!
//! | State    | Input                    | Next     | Output                                    |
//! |----------|--------------------------|----------|-------------------------------------------|
//! | Idle     | TU sends 101-199         | Waiting  | `Send` it                                 |
//! | Waiting  | TU sends 101-199         | Waiting  | none yet (§3: one at a time)              |
//! | Waiting  | T1, doubling             | Waiting  | `Send` it                                 |
//! | Waiting  | PRACK that matches       | Idle     | `AcceptPrack`; then the next in the queue |
//! | Waiting  | 64*T1                    | Finished | `GiveUp`: INVITE is refused with 504      |
//! | any      | PRACK that does not      | the same | `RefusePrack`: 481                        |
//! | any      | TU sends a final         | Finished | none                                      |
//! | Finished | PRACK that matches still | Finished | `AcceptPrack`                             |
//!
//! Every pair not listed leaves the state alone. At the UAC ([`ReliableReceiver`]) responses are
//! taken in order only.

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use bytes::Bytes;

use crate::Timers;
use crate::entropy::{Entropy, below};
use crate::timers::Backoff;
use crate::transaction::{Outputs, pop};

/// Whether a provisional response is sent reliably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provisional {
    /// With `Require: 100rel` and `RSeq`, until PRACK comes.
    Reliable,
    /// Once.
    Unreliable,
}

/// What the INVITE says about 100rel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rel100 {
    /// `Require: 100rel`.
    Required,
    /// `Supported: 100rel`.
    Supported,
    /// Neither.
    Absent,
}

impl Rel100 {
    /// How a provisional response is sent (RFC 3262 §3): a 100 never reliably, any other reliably
    /// when the peer requires it, and when it supports it and the TU wants so.
    pub fn provisional(self, status: u16, wanted: bool) -> Provisional {
        let reliably = match self {
            Self::Required => true,
            Self::Supported => wanted,
            Self::Absent => false,
        };
        if reliably && (101..200).contains(&status) {
            Provisional::Reliable
        } else {
            Provisional::Unreliable
        }
    }
}

/// Responses that may wait for the PRACK of an earlier one. Local limit, the RFC sets none: a
/// session set-up has a handful of them; one more is dropped with [`Output::Dropped`].
pub const QUEUE_MAX: usize = 8;

/// The UAS side: the reliable provisional responses to one INVITE.
#[derive(Debug)]
pub struct ReliableSender {
    state: State,
    next_rseq: u32,
    timers: Timers,
    queue: VecDeque<Response>,
    outputs: Outputs<Output>,
}

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The TU sends a provisional response of 101 to 199 that carries `Require: 100rel` and the
    /// `RSeq` of [`ReliableSender::next_rseq`].
    Respond {
        /// The whole response, ready to send.
        bytes: Bytes,
        /// Whether it carries a session description.
        session: bool,
    },
    /// A PRACK came in the dialog whose `RAck` names this INVITE's CSeq number and method.
    Prack {
        /// The response number in `RAck`.
        rseq: u32,
    },
    /// The TU gave the INVITE its final response.
    Final,
    /// Time has passed. Harmless when nothing is due.
    Timeout,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Pass [`ReliableSender::last`] to the INVITE server transaction.
    Send,
    /// Answer the PRACK just fed with 200.
    AcceptPrack,
    /// Answer the PRACK just fed with 481.
    RefusePrack,
    /// No PRACK came: refuse the INVITE with 504.
    GiveUp,
    /// The response just fed was not taken: [`QUEUE_MAX`] wait already, or a final was sent.
    Dropped,
}

#[derive(Debug)]
struct Response {
    rseq: u32,
    bytes: Bytes,
    session: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    Waiting { response: Response, resend: Backoff, give_up: Instant },
    Finished { outstanding: Option<u32> },
}

impl ReliableSender {
    /// Nothing sent yet. The first `RSeq` is random in 1 to 2**31 - 1 (RFC 3262 §3).
    pub fn new(timers: &Timers, entropy: &mut impl Entropy) -> Self {
        let random = below(entropy, (1 << 31) - 1);
        Self {
            state: State::Idle,
            next_rseq: u32::try_from(random).unwrap_or(0) + 1,
            timers: *timers,
            queue: VecDeque::new(),
            outputs: Outputs::new(),
        }
    }

    /// The `RSeq` the next response fed must carry.
    pub fn next_rseq(&self) -> u32 {
        self.next_rseq
    }

    /// Whether a 2xx must wait: a response with a session description is not acknowledged yet
    /// (RFC 3262 §3, §5). Ask again after [`Output::AcceptPrack`].
    pub fn holds_success(&self) -> bool {
        let waiting = match &self.state {
            State::Waiting { response, .. } => response.session,
            State::Idle | State::Finished { .. } => false,
        };
        waiting || self.queue.iter().any(|response| response.session)
    }

    /// Feeds one input at time `now`. Drain the outputs after each.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let state = mem::replace(&mut self.state, State::Idle);
        self.state = self.next(now, state, input);
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        pop(&mut self.outputs)
    }

    /// When to call again with [`Input::Timeout`]; `None` while no timer runs.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { resend, give_up, .. } => Some(resend.due().min(*give_up)),
            State::Idle | State::Finished { .. } => None,
        }
    }

    /// The response that waits for its PRACK.
    pub fn last(&self) -> Option<&Bytes> {
        match &self.state {
            State::Waiting { response, .. } => Some(&response.bytes),
            State::Idle | State::Finished { .. } => None,
        }
    }

    fn next(&mut self, now: Instant, state: State, input: Input) -> State {
        use State::{Finished, Idle, Waiting};
        match (state, input) {
            (Idle, Input::Respond { bytes, session }) => {
                let response = self.numbered(bytes, session);
                self.send(now, response)
            }
            (state @ Waiting { .. }, Input::Respond { bytes, session }) => {
                if self.queue.len() < QUEUE_MAX {
                    let response = self.numbered(bytes, session);
                    self.queue.push_back(response);
                } else {
                    self.outputs.push(Output::Dropped);
                }
                state
            }
            (Waiting { response, .. }, Input::Prack { rseq }) if rseq == response.rseq => {
                self.outputs.push(Output::AcceptPrack);
                match self.queue.pop_front() {
                    Some(next) => self.send(now, next),
                    None => Idle,
                }
            }
            (Waiting { response, .. }, Input::Final) => {
                self.queue.clear();
                Finished { outstanding: Some(response.rseq) }
            }
            (Waiting { give_up, .. }, Input::Timeout) if give_up <= now => {
                self.queue.clear();
                self.outputs.push(Output::GiveUp);
                Finished { outstanding: None }
            }
            (Waiting { response, mut resend, give_up }, Input::Timeout) => {
                if resend.fires(now) {
                    self.outputs.push(Output::Send);
                }
                Waiting { response, resend, give_up }
            }
            (Finished { outstanding: Some(rseq) }, Input::Prack { rseq: acknowledged })
                if rseq == acknowledged =>
            {
                self.outputs.push(Output::AcceptPrack);
                Finished { outstanding: None }
            }
            (state @ (Idle | Waiting { .. } | Finished { .. }), Input::Prack { .. }) => {
                self.outputs.push(Output::RefusePrack);
                state
            }
            (state @ Finished { .. }, Input::Respond { .. }) => {
                self.outputs.push(Output::Dropped);
                state
            }
            (Idle, Input::Final) => Finished { outstanding: None },
            (Idle, Input::Timeout) => Idle,
            (state @ Finished { .. }, Input::Final | Input::Timeout) => state,
        }
    }

    fn numbered(&mut self, bytes: Bytes, session: bool) -> Response {
        let rseq = self.next_rseq;
        // The first is at most 2**31 - 1 and few follow, so this never wraps (RFC 3262 §3).
        self.next_rseq = self.next_rseq.saturating_add(1);
        Response { rseq, bytes, session }
    }

    fn send(&mut self, now: Instant, response: Response) -> State {
        self.outputs.push(Output::Send);
        let give_up = self.timers.give_up();
        // Not capped at T2, unlike a 2xx (RFC 3262 §3).
        let resend = Backoff::new(now, self.timers.t1, give_up);
        State::Waiting { response, resend, give_up: now + give_up }
    }
}

/// What the UAC does with a reliable provisional response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Process it and send PRACK.
    Acknowledge,
    /// It came before: discard it; the PRACK is repeated by its own transaction.
    Repeated,
    /// One before it is missing: discard it without PRACK; the peer will repeat both.
    OutOfOrder,
}

/// The UAC side: the order of reliable provisional responses in one early dialog (RFC 3262 §4).
#[derive(Clone, Debug, Default)]
pub struct ReliableReceiver {
    last: Option<u32>,
}

impl ReliableReceiver {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A response of 101 to 199 with `Require: 100rel` came, with this `RSeq`.
    pub fn receive(&mut self, rseq: u32) -> Verdict {
        let expected = self.last.map_or(Some(rseq), |last| last.checked_add(1));
        if expected == Some(rseq) {
            self.last = Some(rseq);
            Verdict::Acknowledge
        } else if self.last.is_some_and(|last| rseq <= last) {
            Verdict::Repeated
        } else {
            Verdict::OutOfOrder
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

    use super::*;
    use crate::entropy::seeded;
    use crate::test_epoch;
    use Input::{Final, Timeout};

    /// The first `RSeq` is 18. Feeds `inputs` as (milliseconds since start, input), lets every
    /// timer that is due before the next input (at the end: before `until`) fire on time.
    #[track_caller]
    fn check(inputs: Vec<(u64, Input)>, until: u64, expect: &str) {
        let start = test_epoch();
        let mut sender = ReliableSender::new(&Timers::default(), &mut || 35 << 32);
        assert_eq!(sender.next_rseq(), 18);
        let mut seen = Vec::new();
        let mut render = |sender: &mut ReliableSender, now: Instant| {
            let ms = (now - start).as_millis();
            while let Some(output) = sender.poll_output() {
                seen.push(match output {
                    Output::Send => {
                        let last = sender.last().expect("there is something to send");
                        format!("{ms}:{}", String::from_utf8_lossy(last))
                    }
                    Output::AcceptPrack => format!("{ms}:200"),
                    Output::RefusePrack => format!("{ms}:481"),
                    Output::GiveUp => format!("{ms}:504"),
                    Output::Dropped => format!("{ms}:dropped"),
                });
            }
        };
        let steps = inputs.into_iter().map(|(ms, input)| (ms, Some(input)));
        for (ms, input) in steps.chain([(until, None)]) {
            let until = start + Duration::from_millis(ms);
            while let Some(due) = sender.poll_timeout().filter(|due| *due < until) {
                sender.handle_input(due, Timeout);
                render(&mut sender, due);
            }
            if let Some(input) = input {
                sender.handle_input(until, input);
                render(&mut sender, until);
            }
        }
        assert_eq!(seen.join(" "), expect);
    }

    fn rsp(name: &'static str) -> Input {
        Input::Respond { bytes: Bytes::from_static(name.as_bytes()), session: true }
    }

    fn prack(rseq: u32) -> Input {
        Input::Prack { rseq }
    }

    // Covers: CORE-044
    #[test]
    fn a_response_is_repeated_until_its_prack() {
        check(
            vec![(0, rsp("a")), (2_000, prack(18)), (3_000, prack(18))],
            99_999,
            "0:a 500:a 1500:a 2000:200 3000:481",
        );
        check(vec![(0, rsp("a")), (10, prack(17)), (20, prack(19))], 30, "0:a 10:481 20:481");
        check(vec![(0, prack(18)), (1, Timeout)], 9, "0:481");
    }

    // Covers: CORE-044
    #[test]
    fn without_a_prack_the_invite_is_refused_with_504() {
        check(
            vec![(0, rsp("a")), (1, rsp("b"))],
            99_999,
            "0:a 500:a 1500:a 3500:a 7500:a 15500:a 31500:a 32000:504",
        );
    }

    // RFC 3262 §3: the next one is sent when the first is acknowledged, numbered one higher.
    // Covers: CORE-044
    #[test]
    fn responses_are_sent_one_at_a_time() {
        check(
            vec![(0, rsp("a")), (10, rsp("b")), (20, prack(19)), (30, prack(18)), (40, prack(19))],
            99_999,
            "0:a 20:481 30:200 30:b 40:200",
        );
    }

    #[test]
    fn a_final_response_stops_the_repetition_but_not_the_prack() {
        check(
            vec![(0, rsp("a")), (10, rsp("b")), (20, Final), (600, prack(18)), (700, prack(18))],
            99_999,
            "0:a 600:200 700:481",
        );
        check(
            vec![(0, Final), (1, rsp("a")), (2, Final), (3, Timeout), (4, prack(18))],
            9,
            "1:dropped 4:481",
        );
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut inputs = vec![(0, rsp("a"))];
        inputs.extend((0..QUEUE_MAX).map(|_| (1, rsp("b"))));
        inputs.extend([(2, rsp("c")), (3, prack(18))]);
        check(inputs, 4, "0:a 2:dropped 3:200 3:b");
    }

    // Covers: CORE-044
    #[test]
    fn a_2xx_waits_for_the_prack_of_a_session_description() {
        let now = test_epoch();
        let mut sender = ReliableSender::new(&Timers::default(), &mut seeded(1));
        assert!(!sender.holds_success());
        let rseq = sender.next_rseq();
        sender.handle_input(now, rsp("183"));
        assert!(sender.holds_success());
        sender.handle_input(now, prack(rseq));
        assert!(!sender.holds_success());
        sender.handle_input(now, Input::Respond { bytes: Bytes::new(), session: false });
        assert!(!sender.holds_success());
        sender.handle_input(now, rsp("183"));
        assert!(sender.holds_success(), "one that waits in the queue holds it too");
    }

    // Covers: CORE-044
    #[test]
    fn require_and_supported_decide() {
        use Provisional::{Reliable, Unreliable};
        #[rustfmt::skip]
        let table = [
            (Rel100::Required,  100, true,  Unreliable),
            (Rel100::Required,  180, false, Reliable),
            (Rel100::Required,  200, true,  Unreliable),
            (Rel100::Supported, 183, true,  Reliable),
            (Rel100::Supported, 183, false, Unreliable),
            (Rel100::Absent,    183, true,  Unreliable),
        ];
        for (said, status, wanted, expected) in table {
            assert_eq!(said.provisional(status, wanted), expected, "{said:?} {status} {wanted}");
        }
    }

    #[test]
    fn the_first_number_is_in_range() {
        let timers = Timers::default();
        assert_eq!(ReliableSender::new(&timers, &mut || 0).next_rseq(), 1);
        let highest = ReliableSender::new(&timers, &mut || u64::MAX).next_rseq();
        assert_eq!(highest, (1 << 31) - 1);
    }

    // Covers: CORE-044
    #[test]
    fn the_uac_acknowledges_in_order_only() {
        use Verdict::{Acknowledge, OutOfOrder, Repeated};
        let mut receiver = ReliableReceiver::new();
        #[rustfmt::skip]
        let table = [
            (7,        Acknowledge), // whatever the first is
            (7,        Repeated),
            (9,        OutOfOrder),
            (8,        Acknowledge),
            (9,        Acknowledge),
            (7,        Repeated),
            (u32::MAX, OutOfOrder),
        ];
        for (rseq, verdict) in table {
            assert_eq!(receiver.receive(rseq), verdict, "{rseq}");
        }
        let mut at_the_end = ReliableReceiver::new();
        assert_eq!(at_the_end.receive(u32::MAX), Acknowledge);
        assert_eq!(at_the_end.receive(0), Repeated);
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(rsp("x")),
            any::<u32>().prop_map(prack),
            (1_u32..20).prop_map(prack),
            Just(Final),
            Just(Timeout),
        ]
    }

    proptest! {
        #[test]
        fn no_timer_outlives_the_last_response(
            steps in proptest::collection::vec((0_u64..9_000, inputs()), 0..40),
        ) {
            let mut now = test_epoch();
            let mut sender = ReliableSender::new(&Timers::default(), &mut || 0);
            for (ms, input) in steps.into_iter().chain([(32_000, Timeout)]) {
                now += Duration::from_millis(ms);
                sender.handle_input(now, input);
                while sender.poll_output().is_some() {}
            }
            prop_assert!(sender.poll_timeout().is_none() && !sender.holds_success());
        }
    }
}
