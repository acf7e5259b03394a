//! The publisher's side of one publication, RFC 3903 §4 and §5.
//!
//! | State     | Input                        | Next       | Output                               |
//! |-----------|------------------------------|------------|--------------------------------------|
//! | (new)     |                              | Publishing | `Publish`: body, no entity-tag       |
//! | Publishing| 2xx                          | Published  | arm the refresh at half the duration |
//! | Publishing| 412                          | Publishing | `Publish`: body, no entity-tag       |
//! | Publishing| 423 with a longer duration   | Publishing | `Publish` again, with it             |
//! | Publishing| any other failure            | Failed     | `Failed`                             |
//! | Publishing| changed, or to be removed    | Publishing | none yet (§4: one at a time)         |
//! | Published | changed                      | Publishing | `Publish`: body, entity-tag          |
//! | Published | refresh time                 | Publishing | `Publish`: no body, entity-tag       |
//! | Published | to be removed                | Publishing | `Publish`: no body, Expires 0        |
//! | Failed    | changed                      | Publishing | `Publish`: body, no entity-tag       |
//! | Publishing| final response to a removal  | Removed    | `Removed`                            |
//! | Failed    | to be removed                | Removed    | `Removed`                            |
//!
//! Every pair not listed leaves the state alone.

use std::mem;
use std::time::{Duration, Instant};

use crate::transaction::{Outputs, pop};

/// What happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The PUBLISH was answered.
    Response {
        /// The final status; 408 when none came.
        status: u16,
        /// `SIP-ETag`.
        etag: Option<Box<str>>,
        /// `Expires` of a 2xx, `Min-Expires` of a 423; in seconds.
        seconds: Option<u32>,
    },
    /// The state to publish has changed.
    Changed,
    /// The state is to be published no more.
    Remove,
    /// Time has passed. Harmless when nothing is due.
    Timeout,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a PUBLISH, with [`Publisher::etag`] in `SIP-If-Match` when there is one.
    Publish {
        /// Whether it carries the state.
        body: bool,
        /// For `Expires`, in seconds.
        expires: u32,
    },
    /// Nothing is published now: tell the owner, who may say `Changed` later.
    Failed {
        /// The status code.
        status: u16,
    },
    /// Drop the publication.
    Removed,
}

/// Tries after 412 or 423 in a row. Local limit, the RFC sets none: more would be a loop.
const TRIES_MAX: u8 = 3;

/// One publication at the publisher.
#[derive(Debug)]
pub struct Publisher {
    state: State,
    etag: Option<Box<str>>,
    expires: u32,
    outputs: Outputs<Output>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Publishing { kind: Kind, next: Next, tries: u8 },
    Published { refresh_at: Instant },
    Failed,
    Removed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    State,
    Refresh,
    Removal,
}

/// What waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Change,
    Removal,
}

impl Publisher {
    /// Starts with the initial publication queued.
    pub fn new(expires: u32) -> Self {
        let mut publisher =
            Self { state: State::Removed, etag: None, expires, outputs: Outputs::new() };
        publisher.state = publisher.send(Kind::State, 0);
        publisher
    }

    /// The entity-tag for `SIP-If-Match`; `None` for an initial publication.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
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
        match self.state {
            State::Published { refresh_at } => Some(refresh_at),
            State::Publishing { .. } | State::Failed | State::Removed => None,
        }
    }

    fn next(&mut self, now: Instant, state: State, input: Input) -> State {
        use State::{Failed, Published, Publishing, Removed};
        match (state, input) {
            (Publishing { kind, next, tries }, Input::Response { status, etag, seconds }) => {
                if status < 200 {
                    return state;
                }
                if kind == Kind::Removal {
                    return self.removed();
                }
                match self.answered(now, kind, tries, (status, etag, seconds)) {
                    settled @ (Published { .. } | Failed) => self.go_on(settled, next),
                    Publishing { kind, tries, .. } => Publishing { kind, next, tries },
                    Removed => Removed,
                }
            }
            (Publishing { kind, next: Next::Nothing, tries }, Input::Changed) => {
                Publishing { kind, next: Next::Change, tries }
            }
            (Publishing { kind, tries, .. }, Input::Remove) => {
                Publishing { kind, next: Next::Removal, tries }
            }
            (Published { .. } | Failed, Input::Changed) => self.send(Kind::State, 0),
            (Published { .. }, Input::Remove) => self.send(Kind::Removal, 0),
            (Published { refresh_at }, Input::Timeout) if refresh_at <= now => {
                self.send(Kind::Refresh, 0)
            }
            (Failed, Input::Remove) => self.removed(),
            (Publishing { next: Next::Change | Next::Removal, .. }, Input::Changed)
            | (Publishing { .. }, Input::Timeout)
            | (Published { .. }, Input::Response { .. } | Input::Timeout)
            | (Failed, Input::Response { .. } | Input::Timeout)
            | (Removed, Input::Response { .. } | Input::Changed)
            | (Removed, Input::Remove | Input::Timeout) => state,
        }
    }

    /// The state after a final response to anything but a removal.
    fn answered(
        &mut self,
        now: Instant,
        kind: Kind,
        tries: u8,
        (status, etag, seconds): (u16, Option<Box<str>>, Option<u32>),
    ) -> State {
        let longer = seconds.filter(|seconds| *seconds > self.expires);
        match (status, longer) {
            (200..300, Some(_) | None) => {
                self.etag = etag;
                let granted = seconds.map_or(self.expires, |seconds| seconds.min(self.expires));
                let half = Duration::from_secs(u64::from(granted.max(2) / 2));
                State::Published { refresh_at: now + half }
            }
            (412, Some(_) | None) if self.etag.is_some() && tries < TRIES_MAX => {
                // The state is gone at the compositor: publish it anew (§5).
                self.etag = None;
                self.send(Kind::State, tries + 1)
            }
            (423, Some(longer)) if tries < TRIES_MAX => {
                self.expires = longer;
                self.send(kind, tries + 1)
            }
            (0..200 | 300.., Some(_) | None) => {
                self.etag = None;
                self.outputs.push(Output::Failed { status });
                State::Failed
            }
        }
    }

    /// What was held back while the last PUBLISH was unanswered.
    fn go_on(&mut self, settled: State, next: Next) -> State {
        match (next, self.etag.is_some()) {
            (Next::Nothing, true | false) => settled,
            (Next::Change, true | false) => self.send(Kind::State, 0),
            (Next::Removal, true) => self.send(Kind::Removal, 0),
            (Next::Removal, false) => self.removed(),
        }
    }

    fn send(&mut self, kind: Kind, tries: u8) -> State {
        // Without an entity-tag there is nothing to refresh or remove: only the state itself.
        let kind = if kind == Kind::Refresh && self.etag.is_none() { Kind::State } else { kind };
        let (body, expires) = match kind {
            Kind::State => (true, self.expires),
            Kind::Refresh => (false, self.expires),
            Kind::Removal => (false, 0),
        };
        if kind == Kind::Removal && self.etag.is_none() {
            return self.removed();
        }
        self.outputs.push(Output::Publish { body, expires });
        State::Publishing { kind, next: Next::Nothing, tries }
    }

    fn removed(&mut self) -> State {
        self.outputs.push(Output::Removed);
        State::Removed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

    use super::*;
    use crate::test_epoch;
    use Input::{Changed, Remove, Timeout};

    /// A publication of 600 s; feeds `inputs` as (seconds since start, input), lets every timer
    /// that is due before the next input (at the end: before `until`) fire on time.
    #[track_caller]
    fn check(inputs: Vec<(u64, Input)>, until: u64, expect: &str) {
        let start = test_epoch();
        let mut publisher = Publisher::new(600);
        let mut seen = Vec::new();
        let mut render = |publisher: &mut Publisher, now: Instant| {
            let at = (now - start).as_secs();
            while let Some(output) = publisher.poll_output() {
                seen.push(match output {
                    Output::Publish { body, expires } => {
                        let body = if body { "body," } else { "" };
                        format!("{at}:{body}{},{expires}", publisher.etag().unwrap_or("-"))
                    }
                    Output::Failed { status } => format!("{at}:failed={status}"),
                    Output::Removed => format!("{at}:removed"),
                });
            }
        };
        render(&mut publisher, start);
        let steps = inputs.into_iter().map(|(at, input)| (at, Some(input)));
        for (at, input) in steps.chain([(until, None)]) {
            let until = start + Duration::from_secs(at);
            while let Some(due) = publisher.poll_timeout().filter(|due| *due < until) {
                publisher.handle_input(due, Timeout);
                render(&mut publisher, due);
            }
            if let Some(input) = input {
                publisher.handle_input(until, input);
                render(&mut publisher, until);
            }
        }
        assert_eq!(seen.join(" "), expect);
    }

    fn ok(etag: &str, expires: u32) -> Input {
        Input::Response { status: 200, etag: Some(etag.into()), seconds: Some(expires) }
    }

    fn fail(status: u16, seconds: Option<u32>) -> Input {
        Input::Response { status, etag: None, seconds }
    }

    // Covers: CORE-049
    #[test]
    fn a_publication_is_refreshed_without_a_body() {
        check(
            vec![(0, ok("a", 600)), (301, ok("b", 400))],
            502,
            "0:body,-,600 300:a,600 501:b,600",
        );
    }

    // Covers: CORE-049
    #[test]
    fn a_change_waits_for_the_answer() {
        check(
            vec![(1, Changed), (2, Changed), (3, ok("a", 600)), (4, ok("b", 600)), (5, Changed)],
            6,
            "0:body,-,600 3:body,a,600 5:body,b,600",
        );
    }

    // Covers: CORE-049
    #[test]
    fn after_412_the_state_is_published_anew() {
        check(
            vec![(0, ok("a", 600)), (301, fail(412, None)), (302, ok("b", 600))],
            303,
            "0:body,-,600 300:a,600 301:body,-,600",
        );
        check(
            vec![(0, fail(412, None)), (1, Changed)],
            2,
            "0:body,-,600 0:failed=412 1:body,-,600",
        );
    }

    // Covers: CORE-049
    #[test]
    fn after_423_the_duration_is_longer() {
        check(vec![(0, fail(423, Some(900)))], 1, "0:body,-,600 0:body,-,900");
        check(vec![(0, fail(423, Some(600)))], 1, "0:body,-,600 0:failed=423");
        check(
            vec![
                (0, fail(423, Some(900))),
                (1, fail(423, Some(901))),
                (2, fail(423, Some(902))),
                (3, fail(423, Some(903))),
            ],
            4,
            "0:body,-,600 0:body,-,900 1:body,-,901 2:body,-,902 3:failed=423",
        );
    }

    // Covers: CORE-049
    #[test]
    fn a_removal_has_no_body_and_expires_0() {
        check(
            vec![(0, ok("a", 600)), (1, Remove), (2, fail(100, None)), (3, ok("b", 0))],
            999,
            "0:body,-,600 1:a,0 3:removed",
        );
        check(
            vec![(0, Remove), (1, Changed), (2, ok("a", 600)), (3, fail(412, None))],
            999,
            "0:body,-,600 2:a,0 3:removed",
        );
        check(vec![(0, Remove), (1, fail(503, None))], 9, "0:body,-,600 1:failed=503 1:removed");
        check(
            vec![(0, fail(503, None)), (1, Remove), (2, Remove), (3, Changed), (4, ok("a", 1))],
            9,
            "0:body,-,600 0:failed=503 1:removed",
        );
    }

    #[test]
    fn after_a_failure_the_entity_tag_is_forgotten() {
        check(
            vec![(0, ok("a", 600)), (1, Changed), (2, fail(503, None)), (3, Changed)],
            4,
            "0:body,-,600 1:body,a,600 2:failed=503 3:body,-,600",
        );
    }

    #[test]
    fn a_zero_duration_does_not_spin() {
        check(vec![(0, ok("a", 0))], 2, "0:body,-,600 1:a,600");
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![
            any::<(u16, Option<u32>)>().prop_map(|(status, seconds)| fail(status, seconds)),
            any::<u32>().prop_map(|expires| ok("x", expires)),
            Just(Changed),
            Just(Remove),
            Just(Timeout),
        ]
    }

    proptest! {
        #[test]
        fn a_removed_publication_ends_once(
            steps in proptest::collection::vec((0_u64..900, inputs()), 0..40),
        ) {
            let mut now = test_epoch();
            let mut publisher = Publisher::new(600);
            let mut removed = 0;
            let end = [(0, Remove), (0, fail(500, None)), (0, fail(500, None))];
            for (secs, input) in steps.into_iter().chain(end) {
                now += Duration::from_secs(secs);
                publisher.handle_input(now, input);
                while let Some(output) = publisher.poll_output() {
                    removed += usize::from(output == Output::Removed);
                }
            }
            prop_assert!(removed == 1);
            prop_assert!(publisher.poll_timeout().is_none());
        }
    }
}
