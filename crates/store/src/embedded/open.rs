//! Opening the file, and opening it again after the disk failed.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::rand;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable,
    StorageError, TableHandle, WriteTransaction,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::cache::Records;
use super::journal::{Journal, JournalError, Medium};
use super::migrate::check_schema;
use super::queue::Queue;
use super::redo::Redo;
use super::seal::Sealer;
use super::tables::{EPOCHS, META, Tables};
use super::{Embedded, EmbeddedConfig, OpenError, Opener, READERS_MAX, Shared};
use crate::StoreError;

/// First octets of every file of the database underneath.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// How long a failed file is left alone before it is opened again; local value: opening does the
/// journal again.
const REOPEN_WAIT: Duration = Duration::from_secs(1);

/// The files of a store.
pub(super) struct Files {
    pub(super) database: Database,
    pub(super) journal: Medium,
}

/// The open store.
pub(super) struct Open {
    pub(super) database: Database,
    journal: Mutex<Journal>,
}

/// The open store, or why there is none.
pub(super) enum Handle {
    Open(Open),
    Failed { why: StoreError, retry: Option<Instant> },
    Closed,
}

impl Open {
    /// For the committer.
    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        // A panic while it is held ends the use of the database, and with it of this journal.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts everything into the database, so that it is whole without its journal.
    fn close(&self) -> Result<(), OpenError> {
        let transaction = self.database.begin_write().map_err(StoreError::from)?;
        let mark = self.journal().mark().next(true);
        let (none, off) = (Sealer::none(), Redo::off());
        Tables::open(&transaction, &none, &off)?.set_journal(mark)?;
        Ok(commit_durably(transaction)?)
    }
}

/// Commits to the disk, and so that opening after a crash need not read the whole file.
pub(super) fn commit_durably(mut transaction: WriteTransaction) -> Result<(), StoreError> {
    transaction.set_quick_repair(true);
    Ok(transaction.commit()?)
}

impl Embedded {
    /// Opens the files of `config`, makes them when there are none, and brings them to the present
    /// layout. Blocks; after a crash the journal is done again (some seconds at its bound).
    ///
    /// # Errors
    /// [`OpenError`]; the files are as they were.
    pub fn open(config: EmbeddedConfig) -> Result<Embedded, OpenError> {
        let (path, cache) = (config.path.clone(), config.page_cache_octets);
        Embedded::open_with(config, Box::new(move || open_files(&path, cache)))
    }

    /// The same over any files.
    pub(super) fn open_with(config: EmbeddedConfig, opener: Opener) -> Result<Embedded, OpenError> {
        let files = opener()?;
        let (open, seal, waiting) = guarded(|| prepare(files, &config))?;
        let entries = config.cache_entries.max(1);
        Ok(Embedded {
            shared: Arc::new(Shared {
                opener,
                database: RwLock::new(Handle::Open(open)),
                seal,
                queue: Queue::default(),
                readers: Semaphore::new(READERS_MAX),
                waiting: AtomicU64::new(waiting),
                registrations: Records::new(entries),
                profiles: Records::new(entries),
                owners: Records::new(entries),
                config,
            }),
        })
    }
}

impl Drop for Embedded {
    /// Finishes the operations in hand and gives the files back. Blocks as long as they take.
    fn drop(&mut self) {
        self.shared.queue.wait_idle();
        let mut handle = self.shared.database.write().unwrap_or_else(PoisonError::into_inner);
        if let Handle::Open(open) = &*handle
            && let Err(error) = guarded(|| open.close())
        {
            tracing::warn!(%error, "the journal is left to the next start");
        }
        *handle = Handle::Closed;
    }
}

/// Damaged pages may make the database underneath panic; to our callers that is damage.
fn guarded<T>(work: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(OpenError::Corrupt("inconsistent pages".into())))
}

/// Where the journal of the database at `path` is.
fn journal_path(path: &Path) -> PathBuf {
    path.with_extension("journal")
}

fn open_files(path: &Path, cache: usize) -> Result<Files, OpenError> {
    // Its lock holds for both.
    let database = open_file(path, cache)?;
    let path = journal_path(path);
    let made = !path.exists();
    let file = options().open(&path).map_err(StoreError::from)?;
    let file = FileBackend::new(file).map_err(StoreError::from)?;
    if made {
        sync_directory(&path)?;
    }
    Ok(Files { database, journal: Medium { file: Box::new(file), made } })
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// The name of a new file must survive as well as its content.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?)
}

fn open_file(path: &Path, cache: usize) -> Result<Database, OpenError> {
    let existed = path.exists();
    let mut file = options().open(path).map_err(StoreError::from)?;
    let mut head = Vec::new();
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut head).map_err(StoreError::from)?;
    if !head.is_empty() && head != MAGIC {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    file.rewind().map_err(StoreError::from)?;
    let database = guarded(|| {
        Builder::new().set_cache_size(cache).create_file(file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::Locked(path.to_owned()),
            DatabaseError::UpgradeRequired(_) => OpenError::Foreign(path.to_owned()),
            DatabaseError::Storage(StorageError::Corrupted(why)) => OpenError::Corrupt(why),
            DatabaseError::Storage(StorageError::Io(error))
                if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                OpenError::Corrupt(error.to_string())
            }
            other => OpenError::Store(other.into()),
        })
    })?;
    if !existed {
        sync_directory(path)?;
    }
    Ok(database)
}

/// Checks version and keys, does the journal again, migrates, and begins a sealing epoch; in one
/// transaction.
fn prepare(files: Files, config: &EmbeddedConfig) -> Result<(Open, Sealer, u64), OpenError> {
    let Files { database, journal } = files;
    let transaction = database.begin_write().map_err(StoreError::from)?;
    check_ours(&transaction, &config.path)?;
    check_schema(&transaction)?;
    let mut journal = recover(&transaction, journal, config)?;
    let seal = begin_epoch(&transaction, config)?;
    let mark = journal.mark().next(false);
    let off = Redo::off();
    let mut tables = Tables::open(&transaction, &seal, &off)?;
    tables.migrate()?;
    tables.set_journal(mark)?;
    let finished = tables.finish()?;
    drop(tables);
    commit_durably(transaction)?;
    journal.begin(mark);
    Ok((Open { database, journal: Mutex::new(journal) }, seal, finished.waiting))
}

fn begin_epoch(
    transaction: &WriteTransaction,
    config: &EmbeddedConfig,
) -> Result<Sealer, OpenError> {
    let mut epochs = transaction.open_table(EPOCHS).map_err(StoreError::from)?;
    let mut rows = Vec::new();
    for row in epochs.iter().map_err(StoreError::from)? {
        let (number, row) = row.map_err(StoreError::from)?;
        rows.push((number.value(), row.value().to_vec()));
    }
    let (seal, row) = Sealer::open(&config.keys, &rows)?;
    if let Some((number, row)) = row {
        epochs.insert(number, row.as_slice()).map_err(StoreError::from)?;
    }
    Ok(seal)
}

/// Does what the journal has beyond the database again.
fn recover(
    transaction: &WriteTransaction,
    medium: Medium,
    config: &EmbeddedConfig,
) -> Result<Journal, OpenError> {
    let (none, off) = (Sealer::none(), Redo::off());
    let mut tables = Tables::open(transaction, &none, &off)?;
    let mut fresh = [0; 16];
    rand::fill(&mut fresh).map_err(|_| OpenError::Randomness)?;
    let path = journal_path(&config.path);
    let opened = Journal::open(medium, tables.journal()?, fresh, config.journal_octets_max);
    let replayed = opened.and_then(|mut journal| {
        let groups = journal.replay(|record| tables.redo(record))?;
        Ok((journal, groups))
    });
    match replayed {
        Ok((journal, groups)) => {
            if groups > 0 {
                tracing::info!(groups, "the journal was done again");
            }
            Ok(journal)
        }
        Err(JournalError::Store(why)) => Err(why.into()),
        Err(why) => {
            if matches!(why, JournalError::Missing) {
                // It was made just now; the next start must not take it for an empty one.
                std::fs::remove_file(&path).map_err(StoreError::from)?;
            }
            Err(OpenError::Journal { path, why: why.to_string() })
        }
    }
}

/// Opens the files again after a failure, under the same sealing epoch.
fn prepare_again(files: Files, config: &EmbeddedConfig) -> Result<(Open, u64), OpenError> {
    let Files { database, journal } = files;
    let transaction = database.begin_write().map_err(StoreError::from)?;
    let mut journal = recover(&transaction, journal, config)?;
    let mark = journal.mark().next(false);
    let (none, off) = (Sealer::none(), Redo::off());
    let mut tables = Tables::open(&transaction, &none, &off)?;
    tables.set_journal(mark)?;
    let finished = tables.finish()?;
    drop(tables);
    commit_durably(transaction)?;
    journal.begin(mark);
    Ok((Open { database, journal: Mutex::new(journal) }, finished.waiting))
}

/// A database of another program has tables, but not ours.
fn check_ours(transaction: &WriteTransaction, path: &Path) -> Result<(), OpenError> {
    let mut names = transaction.list_tables().map_err(StoreError::from)?.peekable();
    if names.peek().is_some() && !names.any(|name| name.name() == META.name()) {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    Ok(())
}

impl Shared {
    /// Runs `work` on the database, opening it again first if the disk failed before.
    pub(super) fn with_database<T>(&self, work: impl FnOnce(&Open) -> T) -> Result<T, StoreError> {
        loop {
            let handle = self.database.read().unwrap_or_else(PoisonError::into_inner);
            if let Handle::Open(open) = &*handle {
                return Ok(work(open));
            }
            drop(handle);
            self.reopen()?;
        }
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut handle = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let (why, retry) = match &*handle {
            Handle::Open(_) => return Ok(()),
            Handle::Closed => return Err(StoreError::Interrupted),
            Handle::Failed { why, retry } => (why, *retry),
        };
        let now = Instant::now();
        if retry.is_some_and(|retry| now < retry) {
            return Err(why.clone());
        }
        let opened =
            (self.opener)().and_then(|files| guarded(|| prepare_again(files, &self.config)));
        match opened {
            Ok((open, waiting)) => {
                // What the failed commit left is only known now.
                self.registrations.clear();
                self.profiles.clear();
                self.owners.clear();
                self.waiting.store(waiting, Ordering::Relaxed);
                *handle = Handle::Open(open);
                tracing::info!("the store works again");
                Ok(())
            }
            Err(error) => {
                let why = match error {
                    OpenError::Store(why) => why,
                    other => StoreError::Corrupt(other.to_string()),
                };
                *handle = Handle::Failed { why: why.clone(), retry: Some(now + REOPEN_WAIT) };
                Err(why)
            }
        }
    }

    /// After `why` the open database is not to be used any more.
    pub(super) fn distrust(&self, why: &StoreError) {
        let mut handle = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*handle, Handle::Open(_)) {
            // The first new attempt may come at once: the failure may be over.
            *handle = Handle::Failed { why: why.clone(), retry: None };
        }
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.with_database(|open| open.database.begin_read().map_err(StoreError::from))?
    }
}

/// What went wrong underneath, in our words.
fn translate(error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => error.into(),
        redb::Error::Corrupted(why) => StoreError::Corrupt(why),
        other @ (redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_)) => StoreError::Corrupt(other.to_string()),
        other => StoreError::Io { kind: ErrorKind::Other, message: other.to_string() },
    }
}

macro_rules! translated {
    ($($error:ident),+) => {
        $(impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> StoreError {
                translate(error.into())
            }
        })+
    };
}

translated!(
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    DatabaseError,
    SetDurabilityError
);
