//! What can go wrong, by who is at fault.

use std::future::Future;
use std::io;
use std::pin::Pin;

use thiserror::Error;

/// The answer of a store operation, on its way.
///
/// A change begins when the future is first polled. Dropping it later does not undo the change:
/// the outcome is then unknown to the caller.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why an operation failed. Nothing was changed, except after [`StoreError::Interrupted`] and
/// [`StoreError::Io`], where it is unknown. Every operation may be repeated; one that was done is
/// then told as such (`Duplicate`, `Gone`, `Stale`, false).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// Overload: the queue of operations is full. Try later (`480` with `Retry-After`).
    #[error("the store is overloaded")]
    Busy,
    /// The outside: no space is left on the device or in its quota.
    #[error("no space left for the store: {0}")]
    Full(String),
    /// The local caller: its lease was taken over. It must stop sending for this recipient.
    #[error("the lease was taken over")]
    Fenced,
    /// The local caller: the record was changed since it was read. Read again.
    #[error("the record was changed meanwhile")]
    Conflict,
    /// The local caller: an argument no implementation accepts.
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    /// The outside: what was read back is not what was written.
    #[error("the stored data is damaged: {0}")]
    Corrupt(String),
    /// The outside: reading or writing failed.
    #[error("the store failed: {message}")]
    Io {
        /// What the operating system reported.
        kind: io::ErrorKind,
        /// The same in words.
        message: String,
    },
    /// The runtime stopped before the answer came; the change may or may not have been made.
    #[error("the store stopped before it answered")]
    Interrupted,
}

impl StoreError {
    /// True for failures that a later attempt may not meet again.
    pub fn is_temporary(&self) -> bool {
        match self {
            StoreError::Busy
            | StoreError::Full(_)
            | StoreError::Io { .. }
            | StoreError::Interrupted => true,
            StoreError::Fenced
            | StoreError::Conflict
            | StoreError::Invalid(_)
            | StoreError::Corrupt(_) => false,
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => StoreError::Full(error.to_string()),
            kind => StoreError::Io { kind, message: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{StoreError, io};

    #[test]
    fn no_space_is_told_apart_from_other_failures() {
        let full: StoreError = io::Error::from(io::ErrorKind::StorageFull).into();
        assert!(matches!(full, StoreError::Full(_)), "{full:?}");
        let other: StoreError = io::Error::from(io::ErrorKind::PermissionDenied).into();
        assert!(matches!(other, StoreError::Io { .. }), "{other:?}");
        assert!(full.is_temporary() && !StoreError::Fenced.is_temporary());
    }
}
