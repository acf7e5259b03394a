//! The embedded store: a database and its journal, durable, with group commit.
//!
//! A change is in the journal and on the disk (fsync) when its future resolves; the database has it
//! in memory at once and on the disk when the journal is full. The files are locked by the process
//! that has them open. After a failure of the database it is opened again before the next group, at
//! most once a second, so that a full disk needs no restart once there is room.

mod cache;
mod codec;
mod dedup;
mod explosions;
mod inbox_records;
mod inboxes;
mod journal;
mod keys;
mod migrate;
mod open;
mod people;
mod queue;
mod redo;
mod reseal;
mod seal;
mod tables;
mod trail;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use redb::ReadTransaction;
use thiserror::Error;
use tokio::sync::Semaphore;

pub use seal::SealKey;

use crate::{AuditLimits, Profile, Registration, StoreError, UserId};

/// How the embedded store works.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The database; made when there is none. Its directory must exist. The journal lies beside
    /// it, with the extension `journal`; a copy of a store that was not closed needs both.
    pub path: PathBuf,
    /// Keys of encryption at rest (AES-256-GCM): the first seals, all open. Empty (default):
    /// nothing is sealed. A key may be left out once [`Embedded::reseal`] has rewritten what it
    /// sealed. Content, originators, registrations and profiles are sealed; the identities records
    /// are found by, times and sizes are not. A file that has sealed records needs its key ever
    /// after.
    pub keys: Vec<SealKey>,
    /// Most records of each kind (registrations, profiles, names) kept decoded in memory; default
    /// 262,144. A registration takes about 1.3 KB, a default profile 0.3 KB, a name 0.1 KB.
    pub cache_entries: usize,
    /// Memory for pages of the file, in octets; default 512 MiB.
    pub page_cache_octets: usize,
    /// Largest journal, in octets; default 64 MiB. When it is full, a group waits until the
    /// database is written. More makes that rarer and longer, as a start after a crash.
    pub journal_octets_max: u64,
    /// Most operations that wait for a commit; default 8,192. More are refused as `Busy`.
    pub queue_max: usize,
    /// Most octets of the payloads among them; default 64 MiB. More are refused as `Busy`.
    pub queue_octets_max: usize,
    /// Most operations in one commit; default 1,024.
    pub group_max: usize,
    /// How much of the audit trail is kept.
    pub audit: AuditLimits,
}

impl EmbeddedConfig {
    /// The defaults, with the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> EmbeddedConfig {
        EmbeddedConfig {
            path: path.into(),
            keys: Vec::new(),
            cache_entries: 262_144,
            page_cache_octets: 512 << 20,
            journal_octets_max: 64 << 20,
            queue_max: 8192,
            queue_octets_max: 64 << 20,
            group_max: 1024,
            audit: AuditLimits::default(),
        }
    }
}

/// Why the file cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("{0} is in use by another process: stop that one, or give this one its own file")]
    Locked(PathBuf),
    /// It is something else.
    #[error("{0} is not a store of this program: move it away, or name another file")]
    Foreign(PathBuf),
    /// A later version of the program wrote it.
    #[error(
        "the store has layout {found}, this program knows up to {known}: run the later version, \
         or restore the copy made before the upgrade"
    )]
    Newer {
        /// Layout of the file.
        found: u32,
        /// Latest layout known.
        known: u32,
    },
    /// It is damaged.
    #[error("the store is damaged ({0}): restore it from a copy, or move it away to start empty")]
    Corrupt(String),
    /// Its journal is not there, or is not the right one.
    #[error("the journal {path} {why}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Records are sealed with a key that is not configured.
    #[error("records of the store are sealed with key {0}, which is not configured: configure it")]
    KeyMissing(u32),
    /// The configured key of that id is another one.
    #[error("key {0} is not the one the store was sealed with: configure the right one")]
    WrongKey(u32),
    /// The system gave no random octets.
    #[error("no random octets for a sealing key")]
    Randomness,
    /// Reading or writing failed.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] StoreError),
}

/// The embedded store. Start with [`Embedded::open`].
///
/// Its futures need a tokio runtime around them.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
}

/// Opens the files; called again after a failure of the disk.
type Opener = Box<dyn Fn() -> Result<open::Files, OpenError> + Send + Sync>;

/// Most readers of the file at a time; the others wait. Local value: enough to keep a disk busy,
/// few enough to leave the blocking threads to others.
const READERS_MAX: usize = 16;

struct Shared {
    config: EmbeddedConfig,
    opener: Opener,
    database: RwLock<open::Handle>,
    seal: seal::Sealer,
    queue: queue::Queue,
    readers: Semaphore,
    waiting: AtomicU64,
    registrations: cache::Records<UserId, Arc<Registration>>,
    profiles: cache::Records<UserId, Arc<Profile>>,
    owners: cache::Records<Box<str>, UserId>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("path", &self.config.path).finish_non_exhaustive()
    }
}

/// A reader's view of the file.
struct Reading<'a> {
    transaction: ReadTransaction,
    seal: &'a seal::Sealer,
    shared: &'a Shared,
}

impl Shared {
    /// Reads with `work` on a thread that may wait for the disk.
    async fn read<A: Send + 'static, T: Send + 'static>(
        self: &Arc<Self>,
        argument: A,
        work: impl FnOnce(&Reading<'_>, A) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _permit = self.readers.acquire().await.map_err(|_| StoreError::Interrupted)?;
        let shared = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let transaction = shared.begin_read()?;
            work(&Reading { transaction, seal: &shared.seal, shared: &shared }, argument)
        });
        reading.await.unwrap_or(Err(StoreError::Interrupted))
    }

    /// Brings the memory beside the file in step with a commit.
    fn apply(&self, finished: tables::Finished) {
        self.waiting.store(finished.waiting, Ordering::Relaxed);
        for change in finished.changes {
            match change {
                tables::Change::Registration(user, record) => self.registrations.put(user, record),
                tables::Change::Profile(user, record) => self.profiles.put(user, record),
                tables::Change::Owner(name, user) => self.owners.put(name.into(), user),
            }
        }
    }

    fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
