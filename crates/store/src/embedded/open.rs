//! Opening the file, and opening it again after the disk failed.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageError, TableHandle, WriteTransaction,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::cache::Records;
use super::migrate::check_schema;
use super::queue::Queue;
use super::seal::Sealer;
use super::tables::{BODIES, EPOCHS, META, Tables};
use super::{Embedded, EmbeddedConfig, OpenError, Opener, READERS_MAX, Shared};
use crate::StoreError;

/// First octets of every file of the database underneath.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// How long a failed file is left alone before it is opened again; local value: opening after a
/// failure reads the whole file.
const REOPEN_WAIT: Duration = Duration::from_secs(1);

/// The open database, or why there is none.
pub(super) enum Handle {
    Open(Database),
    Failed { why: StoreError, retry: Option<Instant> },
    Closed,
}

impl Embedded {
    /// Opens the file of `config`, makes it when there is none, and brings it to the present
    /// layout. Blocks; after a crash it reads the whole file once (some two seconds a gigabyte).
    ///
    /// # Errors
    /// [`OpenError`]; the file is as it was.
    pub fn open(config: EmbeddedConfig) -> Result<Embedded, OpenError> {
        let (path, cache) = (config.path.clone(), config.page_cache_octets);
        Embedded::open_with(config, Box::new(move || open_file(&path, cache)))
    }

    /// The same over any database.
    pub(super) fn open_with(config: EmbeddedConfig, opener: Opener) -> Result<Embedded, OpenError> {
        let database = opener()?;
        let (seal, waiting) = guarded(|| prepare(&database, &config))?;
        let entries = config.cache_entries.max(1);
        Ok(Embedded {
            shared: Arc::new(Shared {
                opener,
                database: RwLock::new(Handle::Open(database)),
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
    /// Finishes the operations in hand and gives the file back. Blocks as long as they take.
    fn drop(&mut self) {
        self.shared.queue.wait_idle();
        let mut handle = self.shared.database.write().unwrap_or_else(PoisonError::into_inner);
        *handle = Handle::Closed;
    }
}

/// Damaged pages may make the database underneath panic; to our callers that is damage.
fn guarded<T>(work: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(OpenError::Corrupt("inconsistent pages".into())))
}

fn open_file(path: &Path, cache: usize) -> Result<Database, OpenError> {
    let existed = path.exists();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path).map_err(StoreError::from)?;
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
        // The name of the new file must survive as well as its content.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(parent.unwrap_or(Path::new("."))).map_err(StoreError::from)?;
        directory.sync_all().map_err(StoreError::from)?;
    }
    Ok(database)
}

/// Checks version and keys, migrates, and begins a sealing epoch; in one transaction.
fn prepare(database: &Database, config: &EmbeddedConfig) -> Result<(Sealer, u64), OpenError> {
    let transaction = database.begin_write().map_err(StoreError::from)?;
    check_ours(&transaction, &config.path)?;
    check_schema(&transaction)?;
    let seal = {
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
        seal
    };
    let mut tables = Tables::open(&transaction, &seal)?;
    tables.migrate()?;
    let finished = tables.finish()?;
    transaction.commit().map_err(StoreError::from)?;
    Ok((seal, finished.waiting))
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
    pub(super) fn with_database<T>(
        &self,
        work: impl FnOnce(&Database) -> T,
    ) -> Result<T, StoreError> {
        loop {
            let handle = self.database.read().unwrap_or_else(PoisonError::into_inner);
            if let Handle::Open(database) = &*handle {
                return Ok(work(database));
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
        let opened = (self.opener)().and_then(|database| {
            let waiting = guarded(|| count(&database))?;
            Ok((database, waiting))
        });
        match opened {
            Ok((database, waiting)) => {
                // What the failed commit left is only known now.
                self.registrations.clear();
                self.profiles.clear();
                self.owners.clear();
                self.waiting.store(waiting, Ordering::Relaxed);
                *handle = Handle::Open(database);
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
        self.with_database(|database| database.begin_read().map_err(StoreError::from))?
    }
}

fn count(database: &Database) -> Result<u64, OpenError> {
    let transaction = database.begin_read().map_err(StoreError::from)?;
    let bodies = transaction.open_table(BODIES).map_err(StoreError::from)?;
    Ok(bodies.len().map_err(StoreError::from)?)
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

translated!(StorageError, TableError, TransactionError, CommitError, DatabaseError);
