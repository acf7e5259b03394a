//! Trying the next candidate (RFC 3263 §4.3).

use smallvec::SmallVec;

/// The places one request may go to, the one being tried first: a [`super::Candidate`] each, or
/// whatever its driver makes of one.
#[derive(Clone, Debug)]
pub struct FailOver<T> {
    /// The next one last.
    left: SmallVec<[T; 2]>,
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
pub enum Next<T> {
    /// Send the request again to this one, with a new branch.
    Try(T),
    /// The attempt failed and nobody is left to try: its end is the end.
    Exhausted,
    /// The attempt was no failure in the sense of §4.3: its end is the end.
    Settled,
}

impl<T: Copy> FailOver<T> {
    /// Starts with the first of `candidates`.
    pub fn new(candidates: impl IntoIterator<Item = T>) -> Self {
        let mut left: SmallVec<[T; 2]> = candidates.into_iter().collect();
        left.reverse();
        Self { left }
    }

    /// The candidate to try now; `None` when there is none left.
    pub fn current(&self) -> Option<T> {
        self.left.last().copied()
    }

    /// Whether nobody is left to try after [`FailOver::current`].
    pub fn is_last(&self) -> bool {
        self.left.len() <= 1
    }

    /// Forgets them all: nobody is to be tried any more.
    pub fn give_up(&mut self) {
        self.left.clear();
    }

    /// Takes the end of the attempt at [`FailOver::current`].
    ///
    /// A 503, a transport error and a timeout without any response are failures; every other end
    /// settles the request, a 500 and a timeout after a 180 too.
    pub fn handle_attempt(&mut self, attempt: Attempt) -> Next<T> {
        let failure = match attempt {
            Attempt::Status(status) => status == 503,
            Attempt::TransportError => true,
            Attempt::Timeout { provisional } => !provisional,
        };
        if !failure {
            self.give_up();
            return Next::Settled;
        }
        self.left.pop();
        self.current().map_or(Next::Exhausted, Next::Try)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: CORE-014
    #[test]
    fn failures_move_on_and_other_ends_do_not() {
        let moves = Next::Try(2);
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
            let mut failover = FailOver::new([1, 2]);
            assert_eq!((failover.current(), failover.is_last()), (Some(1), false));
            assert_eq!(failover.handle_attempt(attempt), next, "{attempt:?}");
            let after = if next == moves { Some(2) } else { None };
            assert_eq!(failover.current(), after, "{attempt:?}");
        }
    }

    #[test]
    fn the_list_ends() {
        let mut failover = FailOver::new([1, 2]);
        assert_eq!(failover.handle_attempt(Attempt::Status(503)), Next::Try(2));
        assert_eq!(failover.handle_attempt(Attempt::Status(503)), Next::Exhausted);
        assert_eq!(failover.handle_attempt(Attempt::Status(503)), Next::Exhausted);
        assert_eq!(FailOver::<u16>::new([]).current(), None);
    }
}
