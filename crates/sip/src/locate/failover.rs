//! Trying the next candidate (RFC 3263 §4.3).

use std::collections::VecDeque;

use super::Candidate;

/// The candidates of one request, the one being tried first.
#[derive(Clone, Debug)]
pub struct FailOver {
    candidates: VecDeque<Candidate>,
}

/// How an attempt at a candidate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// With this final status, 200 to 699.
    Status(u16),
    /// The transport could not send, or told of a fatal error.
    TransportError,
    /// Timer B or Timer F fired.
    Timeout {
        /// Whether there had been a provisional response: then the server was reached.
        provisional: bool,
    },
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the request again to this one, with a new branch.
    Try(Candidate),
    /// The attempt failed and nobody is left to try: its end is the end.
    Exhausted,
    /// The attempt was no failure in the sense of §4.3: its end is the end.
    Settled,
}

impl FailOver {
    /// Starts with the first of `candidates`.
    pub fn new(candidates: Vec<Candidate>) -> Self {
        Self { candidates: candidates.into() }
    }

    /// The candidate to try now; `None` when there is none left.
    pub fn current(&self) -> Option<Candidate> {
        self.candidates.front().copied()
    }

    /// Takes the end of the attempt at [`FailOver::current`].
    ///
    /// A 503, a transport error and a timeout without any response are failures; every other end
    /// settles the request, a 500 and a timeout after a 180 too.
    pub fn handle_attempt(&mut self, attempt: Attempt) -> Next {
        let failure = match attempt {
            Attempt::Status(status) => status == 503,
            Attempt::TransportError => true,
            Attempt::Timeout { provisional } => !provisional,
        };
        if !failure {
            self.candidates.clear();
            return Next::Settled;
        }
        self.candidates.pop_front();
        self.current().map_or(Next::Exhausted, Next::Try)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transport;

    fn candidate(port: u16) -> Candidate {
        Candidate { transport: Transport::Udp, address: ([192, 0, 2, 1], port).into() }
    }

    // Covers: CORE-014
    #[test]
    fn failures_move_on_and_other_ends_do_not() {
        let moves = Next::Try(candidate(2));
        #[rustfmt::skip]
        let table = [
            (Attempt::Status(503),                    moves),
            (Attempt::TransportError,                 moves),
            (Attempt::Timeout { provisional: false }, moves),
            (Attempt::Timeout { provisional: true },  Next::Settled),
            (Attempt::Status(200),                    Next::Settled),
            (Attempt::Status(408),                    Next::Settled),
            (Attempt::Status(500),                    Next::Settled),
            (Attempt::Status(603),                    Next::Settled),
        ];
        for (attempt, next) in table {
            let mut failover = FailOver::new(vec![candidate(1), candidate(2)]);
            assert_eq!(failover.current(), Some(candidate(1)));
            assert_eq!(failover.handle_attempt(attempt), next, "{attempt:?}");
            let after = if next == moves { Some(candidate(2)) } else { None };
            assert_eq!(failover.current(), after, "{attempt:?}");
        }
    }

    #[test]
    fn the_list_ends() {
        let mut failover = FailOver::new(vec![candidate(1), candidate(2)]);
        assert_eq!(failover.handle_attempt(Attempt::Status(503)), Next::Try(candidate(2)));
        assert_eq!(failover.handle_attempt(Attempt::Status(503)), Next::Exhausted);
        assert_eq!(failover.handle_attempt(Attempt::Status(503)), Next::Exhausted);
        assert_eq!(FailOver::new(vec![]).current(), None);
    }
}
