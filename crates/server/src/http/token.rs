//! The token that opens the administration interface.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;

use crate::config::{Config, Secret};

/// Random octets of a generated token.
const OCTETS: usize = 32;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or made.
    #[error("admin token file {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Others can read the file.
    #[error("admin token file {} can be read by others (mode {mode:o}): chmod 600", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is empty.
    #[error("admin token file {} is empty: remove it, and a new one is made", .0.display())]
    Empty(PathBuf),
}

/// The token of the configuration, else that of the file, which is made when it is not there.
///
/// # Errors
/// [`TokenError`].
pub fn admin_token(config: &Config) -> Result<Secret, TokenError> {
    let path = config.admin_token_path();
    match read_admin_token(config) {
        Err(TokenError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            make(&path).map_err(|error| TokenError::File { path, error })
        }
        read => read,
    }
}

/// The token of the configuration, else that of the file.
///
/// # Errors
/// [`TokenError`].
pub fn read_admin_token(config: &Config) -> Result<Secret, TokenError> {
    if let Some(token) = &config.http.admin_token {
        return Ok(token.clone());
    }
    let path = config.admin_token_path();
    let read = fs::metadata(&path).and_then(|meta| Ok((meta, fs::read_to_string(&path)?)));
    let (meta, text) = match read {
        Ok(read) => read,
        Err(error) => return Err(TokenError::File { path, error }),
    };
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TokenError::Readable { path, mode });
    }
    match text.trim() {
        "" => Err(TokenError::Empty(path)),
        token => Ok(Secret::from(token.to_owned())),
    }
}

fn make(path: &PathBuf) -> io::Result<Secret> {
    let mut octets = [0; OCTETS];
    rand::fill(&mut octets).map_err(|_| io::Error::other("no random octets"))?;
    let token: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    Ok(Secret::from(token))
}

/// Whether `given` is the token; takes as long for a wrong one as for the right one.
pub(super) fn is_token(token: &Secret, given: &str) -> bool {
    verify_slices_are_equal(token.reveal().as_bytes(), given.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{TokenError, admin_token, is_token, read_admin_token};
    use crate::config::{Config, Secret};

    // Covers: SEC-034
    #[test]
    fn a_token_is_made_once_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.path = directory.path().to_owned();
        let path = config.admin_token_path();
        assert!(matches!(read_admin_token(&config), Err(TokenError::File { .. })));

        let token = admin_token(&config).unwrap();
        assert_eq!(token.reveal().len(), 64);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(admin_token(&config).unwrap(), token, "it stays");
        assert!(is_token(&token, token.reveal()));
        assert!(!is_token(&token, "") && !is_token(&token, &token.reveal()[1..]));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(admin_token(&config), Err(TokenError::Readable { mode: 0o644, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "\n").unwrap();
        assert!(matches!(admin_token(&config), Err(TokenError::Empty(_))));

        config.http.admin_token = Some(Secret::from("configured".to_owned()));
        assert_eq!(admin_token(&config).unwrap().reveal(), "configured");
    }
}
