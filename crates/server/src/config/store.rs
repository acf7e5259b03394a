//! `[store]`: what must survive, and how it is sealed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parlance_store::{AuditLimits, EmbeddedConfig, SealKey};

use super::Secret;
use super::net::size;
use super::section::section;

section! {
    /// What must survive: registrations, profiles, stored messages, the audit trail. One process
    /// has it open.
    pub struct Store {
        /// Directory of the data; made when it is not there. Relative to the working directory. A
        /// copy of a store in use needs all its files, of the same moment.
        pub path: PathBuf = PathBuf::from("./parlance-data");
        /// Key that seals what is stored (AES-256-GCM): 64 hexadecimal digits, or `ID:DIGITS` with
        /// an ID of 1 to 4294967295 (1 when there is none). Better in the environment
        /// (PARLANCE_STORE__KEY) or in `key_file` than here.
        pub key: Option<Secret> = None, example "\"ID:DIGITS\"";
        /// File of such keys, one a line: the first seals, all open. To change the key, put a new
        /// one with another ID before the old one, and see `reseal`.
        pub key_file: Option<PathBuf> = None, example "\"/etc/parlance/store.key\"";
        /// Whether a start seals with the first key what another key sealed, or none did, while the
        /// server already serves. A line of the log says when all is done: then the other keys can
        /// go from `key_file`, and this back to false. Without it what was stored before stays as
        /// it is until it changes.
        pub reseal: bool = false;
        /// Records of each kind (registrations, profiles, names) kept in memory.
        pub cache_entries: u64 = 262_144, in 1_024..=67_108_864;
        /// Memory for pages of the file, in octets.
        pub page_cache_octets: u64 = 268_435_456, in 1_048_576..=1_099_511_627_776;
        /// Largest journal of changes that are not in the database yet, in octets. When it is full,
        /// changes wait until the database is written: more makes that rarer and longer, as a
        /// start after a crash.
        pub journal_octets_max: u64 = 67_108_864, in 1_048_576..=68_719_476_736;
        /// Changes that wait for a commit, at most; one more fails, and its request gets 480 with
        /// Retry-After.
        pub queue_max: u64 = 8_192, in 16..=1_048_576;
        /// Octets of the messages among them, at most.
        pub queue_octets_max: u64 = 67_108_864, in 4_194_304..=68_719_476_736;
        /// Changes in one commit, and so in one fsync, at most.
        pub group_max: u64 = 1_024, in 1..=65_536;
        /// Entries of the audit trail kept; the oldest go first.
        pub audit_entries_max: u64 = 100_000, in 1_000..=100_000_000;
        /// Days that they are kept.
        pub audit_age_days: u64 = 365, in 1..=36_500;
    }
}

/// Name of the file in the data directory.
const FILE: &str = "parlance.redb";

impl Store {
    /// What the embedded store is opened with.
    ///
    /// # Errors
    /// Each key that cannot be read, without quoting it.
    pub(crate) fn embedded(&self) -> Result<EmbeddedConfig, Vec<String>> {
        let day = Duration::from_secs(24 * 60 * 60);
        let age_max = day * u32::try_from(self.audit_age_days).unwrap_or(u32::MAX);
        Ok(EmbeddedConfig {
            keys: self.keys()?,
            cache_entries: size(self.cache_entries),
            page_cache_octets: size(self.page_cache_octets),
            journal_octets_max: self.journal_octets_max,
            queue_max: size(self.queue_max),
            queue_octets_max: size(self.queue_octets_max),
            group_max: size(self.group_max),
            audit: AuditLimits { entries_max: self.audit_entries_max, age_max },
            ..EmbeddedConfig::new(self.path.join(FILE))
        })
    }

    /// The keys that are configured, the one that seals first.
    ///
    /// # Errors
    /// What is wrong with each, without quoting it.
    pub(crate) fn keys(&self) -> Result<Vec<SealKey>, Vec<String>> {
        match (&self.key, &self.key_file) {
            (Some(key), _) => seal_key(key.reveal()).map(|key| vec![key]).map_err(|why| vec![why]),
            (None, Some(file)) => read_keys(file),
            (None, None) => Ok(Vec::new()),
        }
    }
}

fn read_keys(file: &Path) -> Result<Vec<SealKey>, Vec<String>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| vec![format!("{}: {error}", file.display())])?;
    let lines = text.lines().enumerate().filter(|(_, line)| !is_blank(line));
    let (mut keys, mut wrong) = (Vec::<SealKey>::new(), Vec::new());
    for (number, line) in lines {
        let place = format!("{} line {}", file.display(), number + 1);
        match seal_key(line) {
            Ok(key) if keys.iter().any(|known| known.id == key.id) => {
                wrong.push(format!("{place}: the ID {} stands twice", key.id));
            }
            Ok(key) => keys.push(key),
            Err(why) => wrong.push(format!("{place}: {why}")),
        }
    }
    if keys.is_empty() && wrong.is_empty() {
        wrong.push(format!("{}: no key", file.display()));
    }
    if wrong.is_empty() { Ok(keys) } else { Err(wrong) }
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

/// Reads `DIGITS` or `ID:DIGITS`.
fn seal_key(text: &str) -> Result<SealKey, String> {
    let text = text.trim();
    let (id, digits) = text.split_once(':').unwrap_or(("1", text));
    let id = id.parse::<u32>().ok().filter(|id| *id > 0);
    let id = id.ok_or("the ID of the key must be a number from 1")?;
    let secret = octets(digits).ok_or("the key must have 64 hexadecimal digits")?;
    Ok(SealKey::new(id, secret))
}

fn octets(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut octets = [0; 32];
    for (position, octet) in octets.iter_mut().enumerate() {
        *octet = u8::from_str_radix(digits.get(2 * position..2 * position + 2)?, 16).ok()?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::{Store, octets, seal_key};
    use crate::config::Secret;

    const DIGITS: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F";

    // Covers: DF-014
    #[test]
    fn keys_are_read() {
        assert_eq!(seal_key(DIGITS).unwrap().id, 1);
        assert_eq!(seal_key(&format!(" 7:{DIGITS}\n")).unwrap().id, 7);
        assert_eq!(octets(DIGITS).unwrap()[31], 0x1f);
        for text in ["", "0:", "x:00", &DIGITS[1..], &format!("0:{DIGITS}"), &format!("{DIGITS}0")]
        {
            assert!(seal_key(text).is_err(), "{text}");
        }
        // Multi-octet characters of the right total length.
        assert!(seal_key(&"é".repeat(32)).is_err());
    }

    // Covers: DF-014, SEC-020
    #[test]
    fn a_key_file_holds_several_and_its_faults_do_not_quote_them() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys");
        let store = Store { key_file: Some(file.clone()), ..Store::default() };
        std::fs::write(&file, format!("# new\n2:{DIGITS}\n\n1:{DIGITS}\n")).unwrap();
        let ids: Vec<u32> = store.keys().unwrap().iter().map(|key| key.id).collect();
        assert_eq!(ids, [2, 1]);
        std::fs::write(&file, format!("2:{DIGITS}\n2:{DIGITS}\nsecret words\n")).unwrap();
        let wrong = store.keys().unwrap_err();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].ends_with("line 2: the ID 2 stands twice"), "{wrong:?}");
        assert!(!wrong.concat().contains("secret words") && !wrong.concat().contains(DIGITS));
        std::fs::write(&file, "# none\n").unwrap();
        assert!(store.keys().unwrap_err()[0].ends_with("no key"));
        let inline = Store { key: Some(Secret::from(DIGITS.to_owned())), ..Store::default() };
        assert_eq!(inline.keys().unwrap().len(), 1);
    }
}
