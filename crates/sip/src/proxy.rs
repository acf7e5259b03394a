//! The response context of a stateful proxy, RFC 3261 §16.7 to §16.10, and what RFC 5393 adds:
//! [`breadth`] (Max-Breadth) and [`loops`] (loop detection).
//!
//! | Input                         | Branch before  | Branch after | Output                       |
//! |-------------------------------|----------------|--------------|------------------------------|
//! | (new), or room for one more   | Waiting        | Pending      | `Start`, arm Timer C (INVITE)|
//! | 100                           | Pending        | Pending      | none                         |
//! | 101-199 to INVITE             | Pending        | Pending      | `Forward`, Timer C anew      |
//! | 2xx                           | Pending        | Answered     | `Forward`, cancel the others |
//! | 2xx to INVITE                 | Answered       | Answered     | `Forward`                    |
//! | 6xx                           | Pending        | Answered     | cancel the others            |
//! | 300-599                       | Pending        | Answered     | perhaps `Start` of another   |
//! | Timer C, something was heard  | Pending        | Pending      | `Cancel`                     |
//! | Timer C, nothing was heard    | Pending        | Answered     | as 408, and `Cancel`         |
//! | no answer                     | Pending        | Answered     | as 408                       |
//! | transport error               | Pending        | Answered     | as 503                       |
//! | CANCEL from upstream          | Pending        | Pending      | `Cancel`                     |
//! | client transaction terminated | any started    | Gone         | `Done` after the last        |
//! | the last Pending is Answered  | (all)          | the same     | `Best`, `Generate`, `Abandon`|
//!
//! Every pair not listed leaves the branch alone. After a 2xx, a 6xx or a CANCEL no branch is
//! started. Recursion on 3xx and 416 (§16.7 step 4) is left out: an application server does not
//! redirect on its own. Only INVITE is cancelled (§9.1).

mod branch;
pub mod breadth;
pub mod loops;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use branch::{Branch, Origin, rank};

/// A branch: the position of its target in the target set, from 0.
pub type BranchIndex = usize;

/// Targets tried in one context: as many as Max-Breadth allows in parallel. Local limit, the RFC
/// sets none: those of lowest priority beyond it are not tried.
pub const TARGETS_MAX: usize = breadth::MAX as usize;

/// What is known when the context is made.
#[derive(Clone, Debug)]
pub struct Forwarding<'a> {
    /// Whether the request is an INVITE.
    pub invite: bool,
    /// For each target its group; the groups are tried in ascending order, one after another, the
    /// targets of one group at the same time (§16.6, RFC 3841).
    pub groups: &'a [u16],
    /// `Max-Breadth` after [`breadth::incoming`].
    pub max_breadth: u8,
    /// Timer C, above 3 minutes ([`crate::Timers::timer_c`]).
    pub timer_c: Duration,
}

/// Why a request cannot be forwarded at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no target: 480 (RFC 3261 §16.5).
    #[error("no target")]
    NoTarget,
    /// Max-Breadth is used up: 440 (RFC 5393 §5.3.3).
    #[error("max-breadth exceeded")]
    Breadth,
}

impl Refusal {
    /// The status code of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::NoTarget => 480,
            Self::Breadth => 440,
        }
    }
}

/// What happened outside.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// A client transaction delivered a response.
    Response {
        /// Which branch.
        branch: BranchIndex,
        /// The status code, 100 to 699.
        status: u16,
    },
    /// A client transaction timed out.
    TimedOut {
        /// Which branch.
        branch: BranchIndex,
    },
    /// The request could not be sent to any address of the target.
    TransportFailed {
        /// Which branch.
        branch: BranchIndex,
    },
    /// A client transaction has terminated, whatever was said before.
    Terminated {
        /// Which branch.
        branch: BranchIndex,
    },
    /// CANCEL came for the request. The caller answers it with 200 (§16.10).
    Cancelled,
    /// Time has passed. Harmless when nothing is due.
    Timeout,
}

/// What the caller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Forward the request to this target, in a new client transaction.
    Start {
        /// Which target.
        branch: BranchIndex,
        /// For `Max-Breadth`.
        max_breadth: u8,
    },
    /// Forward the response just fed.
    Forward,
    /// Feed the client transaction of this INVITE a cancellation; it sends the CANCEL once a
    /// provisional response has come (§9.1).
    Cancel {
        /// Which branch.
        branch: BranchIndex,
    },
    /// Forward the final response of this branch. When it is 401 or 407 add the challenges of
    /// [`ResponseContext::challenging`].
    Best {
        /// Which branch.
        branch: BranchIndex,
    },
    /// Answer with a final response of our own: nobody gave one that may be forwarded.
    Generate {
        /// 408, or 500 when all that came was 503 (§16.7 step 6).
        status: u16,
    },
    /// Give no final response: a non-INVITE request timed out (RFC 4320 §4.2).
    Abandon,
    /// Every client transaction has terminated: drop the context.
    Done,
}

/// Whether a final response was given on the server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Branches may be started.
    Open,
    /// No more branches; a final response is still to come.
    Closing,
    /// A final response was given.
    Decided,
    /// All is over.
    Done,
}

/// The branches of one forwarded request and the choice of what is answered.
#[derive(Debug)]
pub struct ResponseContext {
    invite: bool,
    groups: Vec<u16>,
    branches: Vec<Branch>,
    /// The branches with a final response, the first to come first.
    answered: Vec<BranchIndex>,
    stage: Stage,
    max_breadth: u8,
    timer_c: Duration,
    outputs: VecDeque<Output>,
}

impl ResponseContext {
    /// Starts the branches of the first group, as many as Max-Breadth allows; the others follow
    /// one by one as these are answered.
    pub fn new(now: Instant, forwarding: &Forwarding<'_>) -> Result<Self, Refusal> {
        if forwarding.groups.is_empty() {
            return Err(Refusal::NoTarget);
        }
        if forwarding.max_breadth == 0 {
            return Err(Refusal::Breadth);
        }
        let mut ranked: Vec<BranchIndex> = (0..forwarding.groups.len()).collect();
        ranked.sort_by_key(|branch| forwarding.groups.get(*branch));
        let mut branches = vec![Branch::Skipped; forwarding.groups.len()];
        for branch in ranked.into_iter().take(TARGETS_MAX) {
            if let Some(slot) = branches.get_mut(branch) {
                *slot = Branch::Waiting;
            }
        }
        let mut context = Self {
            invite: forwarding.invite,
            groups: forwarding.groups.to_vec(),
            branches,
            answered: Vec::new(),
            stage: Stage::Open,
            max_breadth: forwarding.max_breadth,
            timer_c: forwarding.timer_c,
            outputs: VecDeque::new(),
        };
        context.start_branches(now);
        Ok(context)
    }

    /// Feeds one input at time `now`. Drain the outputs after each.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Response { branch, status: 100..200 } if self.is_pending(branch) => {
                self.provisional(now, branch, input);
            }
            Input::Response { branch, status: 200..300 } => self.success(branch),
            Input::Response { branch, status: status @ 300.. } => {
                self.answer(now, branch, status, Origin::Peer);
            }
            Input::Response { status: 0..200, .. } => {}
            Input::TimedOut { branch } => self.answer(now, branch, 408, Origin::Ourselves),
            Input::TransportFailed { branch } => {
                self.answer(now, branch, 503, Origin::Ourselves);
            }
            Input::Terminated { branch } => {
                // Without a final response first it counts as a time-out.
                self.answer(now, branch, 408, Origin::Ourselves);
                self.terminated(branch);
            }
            Input::Cancelled => {
                self.close();
                self.settle(now);
            }
            Input::Timeout => self.timeout(now),
        }
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call again with [`Input::Timeout`]; `None` while no timer runs.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.branches.iter().filter_map(|branch| branch.timer_c()).min()
    }

    /// The branches answered with 401 or 407, the first first: their challenges all go into the
    /// forwarded 401 or 407 (RFC 3261 §16.7 step 7, RFC 8760 §2.5).
    pub fn challenging(&self) -> impl Iterator<Item = BranchIndex> {
        self.answered
            .iter()
            .copied()
            .filter(|branch| matches!(self.final_of(*branch), Some((401 | 407, _))))
    }

    /// Whether a final response was given.
    pub fn is_decided(&self) -> bool {
        match self.stage {
            Stage::Open | Stage::Closing => false,
            Stage::Decided | Stage::Done => true,
        }
    }

    fn is_pending(&self, branch: BranchIndex) -> bool {
        self.branches.get(branch).is_some_and(Branch::is_pending)
    }

    fn final_of(&self, branch: BranchIndex) -> Option<(u16, Origin)> {
        match self.branches.get(branch)? {
            Branch::Answered { status, origin, .. } => Some((*status, *origin)),
            Branch::Waiting | Branch::Pending { .. } | Branch::Skipped => None,
        }
    }

    fn provisional(&mut self, now: Instant, branch: BranchIndex, input: Input) {
        let trying = matches!(input, Input::Response { status: 100, .. });
        let timer = self.timer_c;
        if let Some(Branch::Pending { heard, timer_c, cancelled, .. }) =
            self.branches.get_mut(branch)
        {
            *heard = true;
            // §16.7 step 2: anything but 100 starts it anew, unless it has fired already.
            if !trying && self.invite && !*cancelled {
                *timer_c = Some(now + timer);
            }
        }
        // A provisional response other than 100 is given to INVITE only (RFC 4320 §4.1).
        if !trying && self.invite && !self.is_decided() {
            self.outputs.push_back(Output::Forward);
        }
    }

    fn success(&mut self, branch: BranchIndex) {
        let was_pending = self.is_pending(branch);
        let repeated = self.invite && self.final_of(branch).is_some();
        if was_pending {
            self.set_answered(branch, 200, Origin::Peer);
        } else if !repeated {
            return;
        }
        let first = !self.is_decided();
        if first || self.invite {
            self.outputs.push_back(Output::Forward);
        }
        if first {
            self.close();
            self.stage = Stage::Decided;
        }
    }

    /// A final response other than 2xx, or what stands for one.
    fn answer(&mut self, now: Instant, branch: BranchIndex, status: u16, origin: Origin) {
        if !self.is_pending(branch) {
            return;
        }
        self.set_answered(branch, status, origin);
        if status >= 600 {
            self.close();
        }
        self.settle(now);
    }

    fn set_answered(&mut self, branch: BranchIndex, status: u16, origin: Origin) {
        if let Some(slot) = self.branches.get_mut(branch) {
            *slot = Branch::Answered { status, origin, terminated: false };
            self.answered.push(branch);
        }
    }

    fn terminated(&mut self, branch: BranchIndex) {
        if let Some(Branch::Answered { terminated, .. }) = self.branches.get_mut(branch) {
            *terminated = true;
        }
        if self.stage == Stage::Decided && self.branches.iter().all(Branch::is_over) {
            self.stage = Stage::Done;
            self.outputs.push_back(Output::Done);
        }
    }

    /// Starts no more branches and cancels the pending ones (§16.7 step 10).
    fn close(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Closing;
        }
        for (branch, slot) in self.branches.iter_mut().enumerate() {
            match slot {
                Branch::Waiting => *slot = Branch::Skipped,
                Branch::Pending { cancelled, timer_c, .. } if self.invite && !*cancelled => {
                    *cancelled = true;
                    *timer_c = None;
                    self.outputs.push_back(Output::Cancel { branch });
                }
                Branch::Pending { .. } | Branch::Answered { .. } | Branch::Skipped => {}
            }
        }
    }

    fn timeout(&mut self, now: Instant) {
        let due = |slot: &Branch| slot.timer_c().is_some_and(|timer_c| timer_c <= now);
        while let Some(branch) = self.branches.iter().position(due) {
            let Some(Branch::Pending { heard, timer_c, cancelled, .. }) =
                self.branches.get_mut(branch)
            else {
                return;
            };
            // §16.8. The transaction is ended in both cases.
            let silent = !*heard;
            *timer_c = None;
            *cancelled = true;
            self.outputs.push_back(Output::Cancel { branch });
            if silent {
                self.answer(now, branch, 408, Origin::Ourselves);
            }
        }
    }

    /// Starts what may be started; when nothing is pending any more, decides.
    fn settle(&mut self, now: Instant) {
        if self.stage == Stage::Open {
            self.start_branches(now);
        }
        if self.is_decided() || self.branches.iter().any(Branch::is_pending) {
            return;
        }
        self.stage = Stage::Decided;
        let output = match self.best() {
            Some((branch, _, Origin::Peer)) => Output::Best { branch },
            Some((_, status, Origin::Ourselves)) => Output::Generate { status },
            None if self.invite => Output::Generate { status: 408 },
            None => Output::Abandon,
        };
        self.outputs.push_back(output);
    }

    /// The best final response (§16.7 step 6), and whose it is.
    fn best(&self) -> Option<(BranchIndex, u16, Origin)> {
        let candidates = self.answered.iter().filter_map(|branch| {
            let (status, origin) = self.final_of(*branch)?;
            // Neither generated nor relayed for anything but INVITE (RFC 4320 §4.2).
            (status != 408 || self.invite).then_some((*branch, status, origin))
        });
        // Of equals, the first to come.
        let (branch, status, origin) = candidates.min_by_key(|(_, status, _)| rank(*status))?;
        // A 503 says something about that target, not about us: 500 instead.
        Some(if status == 503 {
            (branch, 500, Origin::Ourselves)
        } else {
            (branch, status, origin)
        })
    }

    fn start_branches(&mut self, now: Instant) {
        // The next group waits until all of this one are answered.
        let busy = self.groups_where(Branch::is_pending).max();
        let Some(next) = self.groups_where(Branch::is_waiting).min() else { return };
        if busy.is_some_and(|busy| busy != next) {
            return;
        }
        let members = self.branches.iter().zip(&self.groups).enumerate();
        let waiting: Vec<BranchIndex> = members
            .filter(|(_, (branch, group))| branch.is_waiting() && **group == next)
            .map(|(index, _)| index)
            .collect();
        let used: u8 = self.branches.iter().map(Branch::share).fold(0, u8::saturating_add);
        let shares = breadth::split(self.max_breadth.saturating_sub(used), waiting.len());
        for (branch, share) in waiting.into_iter().zip(shares) {
            let timer_c = self.invite.then(|| now + self.timer_c);
            if let Some(slot) = self.branches.get_mut(branch) {
                *slot = Branch::Pending { share, heard: false, timer_c, cancelled: false };
                self.outputs.push_back(Output::Start { branch, max_breadth: share });
            }
        }
    }

    fn groups_where(&self, wanted: fn(&Branch) -> bool) -> impl Iterator<Item = u16> {
        let members = self.branches.iter().zip(&self.groups);
        members.filter(move |(branch, _)| wanted(branch)).map(|(_, group)| *group)
    }
}

#[cfg(test)]
mod tests;
