//! The data directory: the store, and the secret that outlives the process.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand;
use parlance_store::{Embedded, OpenError, Store};

use crate::config::Config;

/// Why the data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory cannot be made.
    #[error("data directory {}: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The keys of encryption cannot be read.
    #[error("{}", .0.join("; "))]
    Keys(Vec<String>),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The thread that opens it died.
    #[error("opening the store was interrupted")]
    Interrupted,
    /// The file of the secret cannot be read or made.
    #[error("secret file {}: {error}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

/// Opens the store, and makes it when it is not there.
///
/// # Errors
/// [`StorageError`], with what to do about it.
pub async fn open(config: &Config) -> Result<Store, StorageError> {
    Ok(Store::of(open_embedded(config).await?))
}

/// The same for a server, which seals anew beside its work what `store.reseal` asks for.
///
/// # Errors
/// [`StorageError`], with what to do about it.
pub(crate) async fn open_to_serve(config: &Config) -> Result<Store, StorageError> {
    let embedded = open_embedded(config).await?;
    if config.store.reseal {
        tokio::spawn(reseal(Arc::clone(&embedded)));
    }
    Ok(Store::of(embedded))
}

async fn open_embedded(config: &Config) -> Result<Arc<Embedded>, StorageError> {
    make_directory(&config.store.path)?;
    let embedded = config.store.embedded().map_err(StorageError::Keys)?;
    // After a crash the whole file is read once.
    let opening = tokio::task::spawn_blocking(move || Embedded::open(embedded));
    Ok(Arc::new(opening.await.map_err(|_| StorageError::Interrupted)??))
}

async fn reseal(store: Arc<Embedded>) {
    match store.reseal().await {
        Ok(records) => tracing::info!(records, "everything stored is sealed with the first key"),
        Err(error) => {
            tracing::error!(%error, "sealing anew has stopped; a restart goes on with it")
        }
    }
}

/// Others may not even list it.
fn make_directory(path: &Path) -> Result<(), StorageError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| StorageError::Directory { path: path.to_owned(), error })
}

/// Name of the file with what names this node in leases.
const NODE: &str = "node.key";

/// What names this node in leases; made when it is not there. The lock of the store lets one
/// process run under it, so that after a crash the leases of the one before are its own.
///
/// # Errors
/// [`StorageError::Secret`].
pub(crate) fn node(config: &Config) -> Result<u64, StorageError> {
    let path = config.store.path.join(NODE);
    let octets = read_or_make(&path).map_err(|error| StorageError::Secret { path, error })?;
    let [a, b, c, d, e, f, g, h, ..] = octets;
    Ok(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// Name of the file with the secret that requests of our own are signed with.
const SECRET: &str = "marks.key";

/// The secret by which requests of our own are recognised after a restart too; made when it is not
/// there.
///
/// # Errors
/// [`StorageError::Secret`].
pub(crate) fn secret(config: &Config) -> Result<[u8; 32], StorageError> {
    let path = config.store.path.join(SECRET);
    read_or_make(&path).map_err(|error| StorageError::Secret { path, error })
}

fn read_or_make(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(octets) => <[u8; 32]>::try_from(octets.as_slice())
            .map_err(|_| io::Error::other("has not 32 octets; remove it, and a new one is made")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut octets = [0; 32];
            rand::fill(&mut octets).map_err(|_| io::Error::other("no random octets"))?;
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(&octets)?;
            file.sync_all()?;
            Ok(octets)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{StorageError, open, secret};
    use crate::config::Config;

    fn config(directory: &tempfile::TempDir) -> Config {
        let mut config = Config::default();
        config.store.path = directory.path().join("data");
        config
    }

    /// What opening says.
    async fn said(config: &Config) -> String {
        open(config).await.err().map(|error| error.to_string()).unwrap_or_default()
    }

    // Covers: SEC-020
    #[tokio::test]
    async fn the_data_are_for_their_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(&directory);
        open(&config).await.unwrap();
        let first = secret(&config).unwrap();
        assert_eq!(secret(&config).unwrap(), first, "it stays");
        let mode = |name: &str| {
            let meta = fs::metadata(config.store.path.join(name)).unwrap();
            meta.permissions().mode() & 0o777
        };
        let node = super::node(&config).unwrap();
        assert_eq!(super::node(&config).unwrap(), node, "it stays");
        let modes = ["", "marks.key", "node.key", "parlance.redb", "parlance.journal"].map(mode);
        assert_eq!(modes, [0o700, 0o600, 0o600, 0o600, 0o600]);
        fs::write(config.store.path.join("marks.key"), "short").unwrap();
        assert!(matches!(secret(&config), Err(StorageError::Secret { .. })));
    }

    #[tokio::test]
    async fn what_cannot_be_opened_is_refused_with_advice() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(&directory);
        let file = config.store.path.join("parlance.redb");
        drop(open(&config).await.unwrap());

        let mut octets = fs::read(&file).unwrap();
        let middle = octets.len() / 2;
        octets.truncate(middle);
        octets.iter_mut().skip(64).for_each(|octet| *octet ^= 0x5a);
        fs::write(&file, &octets).unwrap();
        let advice = said(&config).await;
        assert!(advice.contains("damaged") && advice.contains("restore"), "{advice}");

        fs::write(&file, "a text of somebody else").unwrap();
        let advice = said(&config).await;
        assert!(advice.contains("not a store") && advice.contains("move it away"), "{advice}");

        fs::remove_file(&file).unwrap();
        let _held = open(&config).await.unwrap();
        let advice = said(&config).await;
        assert!(advice.contains("in use by another process"), "{advice}");
    }

    // Covers: DF-014
    #[tokio::test]
    async fn a_sealed_store_needs_its_key() {
        use crate::config::Secret;
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(&directory);
        let key = |digit: &str| Some(Secret::from(digit.repeat(64)));
        config.store.key = key("a");
        drop(open(&config).await.unwrap());
        config.store.key = key("b");
        let advice = said(&config).await;
        assert!(advice.contains("key 1 is not the one"), "{advice}");
        config.store.key = key("a");
        assert_eq!(said(&config).await, "");
    }
}
