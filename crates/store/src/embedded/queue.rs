//! Group commit: operations wait in a bounded queue, one committer at a time takes what is there
//! into one transaction, and all are answered when it is in the journal and on the disk.
//!
//! The committer runs under `spawn_blocking` and ends when the queue is empty. While it waits for
//! the disk the next group collects, so groups grow with the load by themselves; and before it
//! takes the next group it gives those it just answered a moment to come again.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::Durability;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::redo::Redo;
use super::tables::Tables;
use super::{Shared, open};
use crate::StoreError;

/// Longest wait for a group to gather; local value, about what a good disk takes to sync.
const GATHER_MAX: Duration = Duration::from_micros(500);

/// One operation of a group.
pub(super) trait Job: Send {
    /// Does it in the transaction. May be called again in another one when this one is given up.
    ///
    /// `Err` is a failure of the store; a refusal is an answer and must have written nothing.
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError>;

    /// Answers the caller: with `failure`, else with what `apply` found.
    fn answer(self: Box<Self>, failure: Option<StoreError>);

    /// Memory it pins.
    fn octets(&self) -> usize;
}

struct Task<T, W> {
    work: W,
    octets: usize,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Job for Task<T, W>
where
    T: Send,
    W: FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send,
{
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        self.outcome = Some(match (self.work)(tables) {
            Err(StoreError::Fenced) => Err(StoreError::Fenced),
            Err(StoreError::Conflict) => Err(StoreError::Conflict),
            Err(StoreError::Invalid(why)) => Err(StoreError::Invalid(why)),
            Err(failure) => return Err(failure),
            Ok(answer) => Ok(answer),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        let outcome = match failure {
            Some(failure) => Err(failure),
            None => self.outcome.unwrap_or(Err(StoreError::Interrupted)),
        };
        // The caller may have gone; the operation is done all the same.
        let _ = self.reply.send(outcome);
    }

    fn octets(&self) -> usize {
        self.octets
    }
}

/// The waiting operations.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// No committer runs.
    idle: Condvar,
    /// As many operations wait as the committer wants.
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Box<dyn Job>>,
    octets: usize,
    /// A committer is running or about to.
    running: bool,
    /// How many operations the committer waits for; 0: it does not.
    awaited: usize,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({})", self.lock().jobs.len())
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held; the queue is whole in any case.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No committer runs from now on.
    fn end(&self, waiting: &mut Waiting) {
        waiting.running = false;
        self.idle.notify_all();
    }

    /// Blocks until no committer runs.
    pub(super) fn wait_idle(&self) {
        let waiting = self.lock();
        drop(self.idle.wait_while(waiting, |waiting| waiting.running));
    }

    /// Lets the callers just answered come again: waits until nearly as many operations wait as
    /// the last group had. Without it every other group would have a few operations only.
    fn gather(&self, last: usize) {
        if last < 2 {
            return;
        }
        let mut waiting = self.lock();
        waiting.awaited = last - last / 4;
        let few = |waiting: &mut Waiting| waiting.jobs.len() < waiting.awaited;
        let (mut waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, GATHER_MAX, few)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.awaited = 0;
    }

    /// The next group. `None` when there is nothing to do: the committer has ended.
    fn take(&self, most: usize) -> Option<Vec<Box<dyn Job>>> {
        let mut waiting = self.lock();
        let count = most.min(waiting.jobs.len());
        let group: Vec<_> = waiting.jobs.drain(..count).collect();
        if group.is_empty() {
            self.end(&mut waiting);
            return None;
        }
        let octets: usize = group.iter().map(|job| job.octets()).sum();
        waiting.octets -= octets;
        Some(group)
    }
}

/// The claim to be the one committer. It ends also when the runtime drops it before it ran, or
/// when a commit panics: the next operation starts another.
struct Committer {
    shared: Arc<Shared>,
    ended: bool,
}

impl Drop for Committer {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.queue.end(&mut self.shared.queue.lock());
        }
    }
}

impl Committer {
    fn run(mut self) {
        while let Some(group) = self.shared.queue.take(self.shared.config.group_max) {
            let size = group.len();
            self.shared.commit_group(group);
            self.shared.queue.gather(size);
        }
        self.ended = true;
    }
}

impl Shared {
    /// Does `work` in the next group and waits for its answer.
    pub(super) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        octets: usize,
        work: impl FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(Task { work, octets, outcome: None, reply }))?;
        answer.await.unwrap_or(Err(StoreError::Interrupted))
    }

    fn enqueue(self: &Arc<Self>, job: Box<dyn Job>) -> Result<(), StoreError> {
        let runtime = Handle::try_current().map_err(|_| StoreError::Interrupted)?;
        let mut waiting = self.queue.lock();
        let octets = waiting.octets.saturating_add(job.octets());
        if waiting.jobs.len() >= self.config.queue_max
            || (octets > self.config.queue_octets_max && !waiting.jobs.is_empty())
        {
            metrics::counter!("parlance_store_busy_total").increment(1);
            return Err(StoreError::Busy);
        }
        waiting.octets = octets;
        waiting.jobs.push_back(job);
        if waiting.awaited > 0 && waiting.jobs.len() >= waiting.awaited {
            self.queue.arrived.notify_one();
        }
        let start = !std::mem::replace(&mut waiting.running, true);
        drop(waiting);
        if start {
            let committer = Committer { shared: self.clone(), ended: false };
            runtime.spawn_blocking(move || committer.run());
        }
        Ok(())
    }

    /// Commits `group`; an operation that meets damaged data is answered so and left out.
    fn commit_group(&self, mut group: Vec<Box<dyn Job>>) {
        metrics::counter!("parlance_store_commits_total").increment(1);
        metrics::counter!("parlance_store_changes_total").increment(group.len() as u64);
        while !group.is_empty() {
            // Damaged pages may make the database underneath panic.
            let tried = catch_unwind(AssertUnwindSafe(|| self.try_commit(&mut group)));
            let damaged = || StoreError::Corrupt("inconsistent pages".into());
            match tried.unwrap_or_else(|_| Err(Failed::Database(damaged()))) {
                Ok(()) => return group.into_iter().for_each(|job| job.answer(None)),
                Err(Failed::Operation(at, StoreError::Corrupt(why))) if at < group.len() => {
                    tracing::error!(why, "damaged data in the store");
                    group.swap_remove(at).answer(Some(StoreError::Corrupt(why)));
                }
                Err(Failed::Applying(failure)) => {
                    self.distrust(&failure);
                    tracing::error!(%failure, "the store failed; the journal has the group");
                    return group.into_iter().for_each(|job| job.answer(None));
                }
                Err(Failed::Journal(failure)) => return refuse(group, failure),
                Err(Failed::Operation(_, failure) | Failed::Database(failure)) => {
                    self.distrust(&failure);
                    return refuse(group, failure);
                }
            }
        }
    }

    /// One transaction. On failure nothing of it is kept, except when applying failed.
    fn try_commit(&self, group: &mut [Box<dyn Job>]) -> Result<(), Failed> {
        let committed = self.with_database(|open| {
            let mut journal = open.journal();
            let mut transaction = open.database.begin_write()?;
            let redo = Redo::new(journal.room());
            let mut tables = Tables::open(&transaction, &self.seal, &redo)?;
            for (at, job) in group.iter_mut().enumerate() {
                job.apply(&mut tables).map_err(|error| Failed::Operation(at, error))?;
            }
            tables.forget_old_keys()?;
            let finished = tables.finish()?;
            if redo.overflowed() {
                let mark = journal.mark().next(false);
                tables.set_journal(mark)?;
                drop(tables);
                open::commit_durably(transaction)?;
                journal.begin(mark);
                self.apply(finished);
                return Ok(());
            }
            drop(tables);
            let Some(frame) = redo.into_frame() else { return Ok(transaction.abort()?) };
            transaction.set_durability(Durability::None)?;
            journal.append(frame).map_err(Failed::Journal)?;
            let applied = transaction.commit();
            self.apply(finished);
            applied.map_err(|error| Failed::Applying(error.into()))
        });
        committed.unwrap_or_else(|error| Err(Failed::Database(error)))
    }
}

/// How a group failed.
enum Failed {
    /// The operation of this number met it.
    Operation(usize, StoreError),
    /// The journal did not take the group, and the database is as before.
    Journal(StoreError),
    /// The database failed, and is not to be used any more.
    Database(StoreError),
    /// Likewise, but the group is in the journal, and so done.
    Applying(StoreError),
}

impl<E: Into<StoreError>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed::Database(error.into())
    }
}

fn refuse(group: Vec<Box<dyn Job>>, failure: StoreError) {
    tracing::error!(%failure, operations = group.len(), "the store failed");
    metrics::counter!("parlance_store_failed_groups_total").increment(1);
    group.into_iter().for_each(|job| job.answer(Some(failure.clone())));
}
