//! The users of a core without IMS: what the server knows of their passwords (RFC 7616 §3.4.2).

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use parlance_isc::{Ha1, Secrets};
use parlance_sip::uri::Aor;

/// Most lines of the file; local limit, some 200 MB of memory.
const LINES_MAX: usize = 1_000_000;

/// Digits of HA1 for MD5 and for SHA-256.
const MD5_DIGITS: usize = 32;
const SHA256_DIGITS: usize = 64;

/// User names with the hashes of name, realm and password. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(HashMap<(String, String), Hashes>);

#[derive(Clone, Default, PartialEq, Eq)]
struct Hashes {
    md5: String,
    sha256: String,
}

impl Credentials {
    /// Reads a file with `user:realm:HA1` in each line; a user may have a line for each algorithm.
    ///
    /// # Errors
    /// What is wrong with each line, without quoting its hash.
    pub fn read(file: &Path) -> Result<Self, Vec<String>> {
        let shown = file.display();
        let text =
            std::fs::read_to_string(file).map_err(|error| vec![format!("{shown}: {error}")])?;
        Self::parse(&text).map_err(|wrong| {
            wrong.into_iter().map(|(line, why)| format!("{shown} line {line}: {why}")).collect()
        })
    }

    fn parse(text: &str) -> Result<Self, Vec<(usize, &'static str)>> {
        let (mut users, mut wrong) = (Self::default(), Vec::new());
        for (position, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let taken = if position < LINES_MAX { users.take(line) } else { Err("too many lines") };
            if let Err(why) = taken {
                wrong.push((position + 1, why));
            }
        }
        if wrong.is_empty() { Ok(users) } else { Err(wrong) }
    }

    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        const SHAPE: &str = "not user:realm:HA1";
        let (names, ha1) = line.rsplit_once(':').ok_or(SHAPE)?;
        let (user, realm) = names.split_once(':').ok_or(SHAPE)?;
        if user.is_empty() || realm.is_empty() {
            return Err(SHAPE);
        }
        if !ha1.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err("HA1 is not hexadecimal");
        }
        let hashes = self.0.entry((user.to_owned(), realm.to_owned())).or_default();
        let place = match ha1.len() {
            MD5_DIGITS => &mut hashes.md5,
            SHA256_DIGITS => &mut hashes.sha256,
            _ => return Err("HA1 has neither 32 nor 64 digits"),
        };
        if !place.is_empty() {
            return Err("the user has this hash already");
        }
        *place = ha1.to_ascii_lowercase();
        Ok(())
    }

    /// The hashes of a user of a realm, for MD5 and SHA-256; empty where the file has none.
    pub fn hashes(&self, user: &str, realm: &str) -> Option<(&str, &str)> {
        let hashes = self.0.get(&(user.to_owned(), realm.to_owned()))?;
        Some((&hashes.md5, &hashes.sha256))
    }

    /// The users of one realm, as the gate of that realm asks for them.
    pub fn of_realm(self, realm: &str) -> impl Secrets + use<> {
        Realm { realm: realm.to_owned(), credentials: self }
    }
}

/// The users of one realm.
struct Realm {
    realm: String,
    credentials: Credentials,
}

impl Secrets for Realm {
    /// An algorithm whose hash is not in the file never matches. The identity is that of the user
    /// in the realm, which is the domain.
    fn of(&self, username: &str) -> Option<Ha1> {
        let hashes = self.credentials.0.get(&(username.to_owned(), self.realm.clone()))?;
        let identity = Aor::parse(&format!("sip:{username}@{}", self.realm)).ok()?;
        Some(Ha1 { identity, md5: hashes.md5.clone(), sha256: hashes.sha256.clone() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} users)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use parlance_isc::Secrets;
    use parlance_sip::digest::{Algorithm, ha1};

    use super::Credentials;

    // Covers: SEC-020
    #[test]
    fn users_are_read_and_never_printed() {
        let (md5, sha256) = (
            ha1(Algorithm::Md5, "alice", "ims.test", "secret"),
            ha1(Algorithm::Sha256, "alice", "ims.test", "secret"),
        );
        let text = format!("# users\n\nalice:ims.test:{md5}\nalice:ims.test:{sha256}\n");
        let users = Credentials::parse(&text).unwrap();
        assert_eq!(format!("{users:?}"), "Credentials(1 users)");
        assert!(users.clone().of_realm("elsewhere.test").of("alice").is_none());
        let found = users.of_realm("ims.test").of("alice").unwrap();
        assert_eq!((found.md5, found.sha256), (md5, sha256));
        assert_eq!(found.identity.as_str(), "sip:alice@ims.test");
    }

    #[test]
    fn every_wrong_line_is_named() {
        let digits = "0".repeat(32);
        let text =
            format!("alice\nalice::{digits}\nbob:r:{digits}\nbob:r:{digits}\neve:r:xyz\nz:r:00");
        #[rustfmt::skip]
        let wrong = vec![
            (1, "not user:realm:HA1"),
            (2, "not user:realm:HA1"),
            (4, "the user has this hash already"),
            (5, "HA1 is not hexadecimal"),
            (6, "HA1 has neither 32 nor 64 digits"),
        ];
        assert_eq!(Credentials::parse(&text).unwrap_err(), wrong);
    }
}
