//! Encryption at rest: AES-256-GCM (NIST SP 800-38D) over records, keys from the configuration.
//!
//! A configured key never seals anything itself. Each opening of the file draws a salt and derives
//! a key of its own with HKDF-SHA-256 (RFC 5869); under that key the nonce is a counter, so no
//! nonce is used twice, also not by a write that a crash left half done. The file keeps, for each
//! such epoch, the id of the configured key, the salt and a sealed check value.
//!
//! A record is `0 octets` when it is not sealed, else `1 epoch(4) counter(8) ciphertext tag(16)`.
//! The additional data names the table and the key of the record, so that one cannot stand in for
//! another. Identities in keys, times and sizes are not hidden.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::OpenError;
use super::codec::{Reader, Writer};
use crate::StoreError;

/// Octets a sealed record has beside its content.
pub(super) const OVERHEAD: usize = 1 + 4 + 8 + 16;

const SALT_OCTETS: usize = 16;
const CHECK: &[u8] = b"parlance";
const CHECK_CONTEXT: [&[u8]; 1] = [b"check"];

/// A configured key. Its octets are wiped on drop and never printed.
#[derive(Clone)]
pub struct SealKey {
    /// Names the key in the file: a new secret needs a new id.
    pub id: u32,
    secret: Zeroizing<[u8; 32]>,
}

impl SealKey {
    /// A key of 256 bits.
    pub fn new(id: u32, secret: [u8; 32]) -> SealKey {
        SealKey { id, secret: Zeroizing::new(secret) }
    }

    fn derive(&self, salt: &[u8]) -> LessSafeKey {
        let extracted = Salt::new(HKDF_SHA256, salt).extract(self.secret.as_ref());
        let expanded = extracted.expand(&[b"parlance store epoch"], &AES_256_GCM);
        let expanded = expanded.expect("32 octets are within what HKDF gives");
        LessSafeKey::new(UnboundKey::from(expanded))
    }
}

impl Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey {{ id: {}, secret: … }}", self.id)
    }
}

/// A row of the epochs table: its number and its octets.
pub(super) type Row = (u32, Vec<u8>);

/// One opening of the file with a key.
struct Epoch {
    key_id: u32,
    key: LessSafeKey,
}

/// Seals and opens records.
pub(super) struct Sealer {
    epochs: HashMap<u32, Epoch>,
    /// The epoch of this opening; `None`: records are not sealed.
    current: Option<u32>,
    counter: AtomicU64,
}

impl Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("current", &self.current).finish_non_exhaustive()
    }
}

impl Sealer {
    /// Checks `keys` against the epochs the file knows and begins a new one with the first key.
    /// Returns the row to write for it.
    pub(super) fn open(keys: &[SealKey], rows: &[Row]) -> Result<(Sealer, Option<Row>), OpenError> {
        let mut epochs = HashMap::new();
        for (number, row) in rows {
            epochs.insert(*number, Epoch::read(keys, *number, row)?);
        }
        let Some(first) = keys.first() else {
            return Ok((Sealer { epochs, ..Sealer::none() }, None));
        };
        let number = rows.iter().map(|(number, _)| *number).max().unwrap_or(0).checked_add(1);
        let number = number.ok_or(OpenError::Randomness)?;
        let mut salt = [0; SALT_OCTETS];
        rand::fill(&mut salt).map_err(|_| OpenError::Randomness)?;
        epochs.insert(number, Epoch { key_id: first.id, key: first.derive(&salt) });
        let sealer = Sealer { epochs, current: Some(number), counter: AtomicU64::new(0) };
        let check = sealer.seal(&CHECK_CONTEXT, CHECK);
        let [high, low] = halves(&salt);
        let mut row = Writer::new(1).u32(first.id).u64(high).u64(low).into_octets();
        row.extend_from_slice(&check);
        Ok((sealer, Some((number, row))))
    }

    /// One without keys: it seals nothing, and opens what is not sealed.
    pub(super) fn none() -> Sealer {
        Sealer { epochs: HashMap::new(), current: None, counter: AtomicU64::new(0) }
    }

    /// The record for `plain`; `context` names where it will lie.
    pub(super) fn seal(&self, context: &[&[u8]], plain: &[u8]) -> Vec<u8> {
        let sealing = self.current.and_then(|number| Some((number, self.epochs.get(&number)?)));
        let Some((number, epoch)) = sealing else {
            let mut record = Vec::with_capacity(1 + plain.len());
            record.push(0);
            record.extend_from_slice(plain);
            return record;
        };
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut record = Vec::with_capacity(OVERHEAD + plain.len());
        record.push(1);
        record.extend_from_slice(&number.to_be_bytes());
        record.extend_from_slice(&counter.to_be_bytes());
        let head = record.len();
        record.extend_from_slice(plain);
        let (_, body) = record.split_at_mut(head);
        let aad = Aad::from(additional(context));
        let tag = epoch.key.seal_in_place_separate_tag(nonce(counter), aad, body);
        let tag = tag.expect("records are far below the 64 GiB that GCM takes");
        record.extend_from_slice(tag.as_ref());
        record
    }

    /// The content of `record`, which lay where `context` says.
    pub(super) fn open_record(
        &self,
        context: &[&[u8]],
        record: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let damaged = |why: &str| StoreError::Corrupt(format!("{why} record"));
        match record {
            [0, plain @ ..] => Ok(plain.to_vec()),
            [1, rest @ ..] => {
                let (number, rest) = rest.split_first_chunk().ok_or_else(|| damaged("short"))?;
                let (counter, sealed) = rest.split_first_chunk().ok_or_else(|| damaged("short"))?;
                let number = u32::from_be_bytes(*number);
                let epoch = self.epochs.get(&number).ok_or_else(|| damaged("unknown key for"))?;
                let nonce = nonce(u64::from_be_bytes(*counter));
                let mut sealed = sealed.to_vec();
                let plain =
                    epoch.key.open_in_place(nonce, Aad::from(additional(context)), &mut sealed);
                let length = plain.map_err(|_| damaged("forged or damaged"))?.len();
                sealed.truncate(length);
                Ok(sealed)
            }
            _ => Err(damaged("unknown kind of")),
        }
    }

    /// Whether `record` is sealed as a new one would be: with the first configured key.
    pub(super) fn is_current(&self, record: &[u8]) -> bool {
        let now = self.current.and_then(|number| self.epochs.get(&number)).map(|e| e.key_id);
        let number = match record {
            [1, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
            _ => None,
        };
        number.and_then(|number| self.epochs.get(&number)).map(|epoch| epoch.key_id) == now
    }

    /// The epochs of keys other than the first configured one.
    pub(super) fn retired(&self) -> Vec<u32> {
        let now = self.current.and_then(|number| self.epochs.get(&number)).map(|e| e.key_id);
        let others = self.epochs.iter().filter(|(_, epoch)| Some(epoch.key_id) != now);
        others.map(|(number, _)| *number).collect()
    }
}

impl Epoch {
    fn read(keys: &[SealKey], number: u32, row: &[u8]) -> Result<Epoch, OpenError> {
        let damaged = |_| OpenError::Corrupt("unreadable epoch row".into());
        let head = row.get(..1 + 4 + SALT_OCTETS).unwrap_or_default();
        let mut reader = Reader::new(head, 1, "epoch row").map_err(damaged)?;
        let key_id = reader.u32().map_err(damaged)?;
        let (high, low) = (reader.u64().map_err(damaged)?, reader.u64().map_err(damaged)?);
        let key = keys.iter().find(|key| key.id == key_id);
        let key = key.ok_or(OpenError::KeyMissing(key_id))?;
        let salt = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        let epoch = Epoch { key_id, key: key.derive(&salt) };
        let check = row.get(head.len()..).unwrap_or_default();
        let probe = Sealer {
            epochs: HashMap::from([(number, epoch)]),
            current: Some(number),
            counter: AtomicU64::new(0),
        };
        let opened = probe.open_record(&CHECK_CONTEXT, check);
        if opened.as_deref() != Ok(CHECK) || check.first() != Some(&1) {
            return Err(OpenError::WrongKey(key_id));
        }
        probe.epochs.into_values().next().ok_or(OpenError::WrongKey(key_id))
    }
}

fn halves(salt: &[u8; SALT_OCTETS]) -> [u64; 2] {
    let whole = u128::from_be_bytes(*salt);
    [(whole >> 64) as u64, whole as u64]
}

fn nonce(counter: u64) -> Nonce {
    let mut octets = [0; NONCE_LEN];
    for (octet, from) in octets.iter_mut().skip(NONCE_LEN - 8).zip(counter.to_be_bytes()) {
        *octet = from;
    }
    Nonce::assume_unique_for_key(octets)
}

/// The parts with their lengths, so that no two contexts give the same octets.
fn additional(context: &[&[u8]]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(64);
    for part in context {
        octets.extend_from_slice(&(part.len() as u32).to_be_bytes());
        octets.extend_from_slice(part);
    }
    octets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{OVERHEAD, OpenError, Row, SealKey, Sealer, StoreError};

    fn key(id: u32, octet: u8) -> SealKey {
        SealKey::new(id, [octet; 32])
    }

    fn open(keys: &[SealKey], rows: &mut Vec<Row>) -> Result<Sealer, OpenError> {
        let (sealer, row) = Sealer::open(keys, rows)?;
        rows.extend(row);
        Ok(sealer)
    }

    // Covers: DF-014, STO-015
    #[test]
    fn content_is_hidden_and_bound_to_its_place() {
        let sealer = open(&[key(1, 7)], &mut Vec::new()).unwrap();
        let place: [&[u8]; 2] = [b"item", b"sip:alice@ims.test"];
        let record = sealer.seal(&place, b"the secret word");
        assert_eq!(record.len(), OVERHEAD + 15);
        assert!(!record.windows(6).any(|window| window == b"secret"));
        assert_eq!(sealer.open_record(&place, &record).unwrap(), b"the secret word");
        let elsewhere: [&[u8]; 2] = [b"item", b"sip:mallory@ims.test"];
        assert!(matches!(sealer.open_record(&elsewhere, &record), Err(StoreError::Corrupt(_))));
        assert_ne!(sealer.seal(&place, b"the secret word"), record, "another nonce");
        for at in 0..record.len() {
            let mut forged = record.clone();
            forged[at] ^= 1;
            assert_ne!(sealer.open_record(&place, &forged).ok().as_deref(), Some(&record[..]));
            let got = sealer.open_record(&place, &forged);
            assert!(got.as_deref() != Ok(b"the secret word"), "octet {at}");
        }
    }

    // Covers: DF-014
    #[test]
    fn keys_are_checked_and_rotate() {
        let mut rows = Vec::new();
        let old = open(&[key(1, 7)], &mut rows).unwrap().seal(&[b"x"], b"old");
        let error = |keys: &[SealKey]| Sealer::open(keys, &rows).map(|_| ()).unwrap_err();
        assert!(matches!(error(&[key(1, 8)]), OpenError::WrongKey(1)));
        assert!(matches!(error(&[key(2, 7)]), OpenError::KeyMissing(1)));
        assert!(matches!(error(&[]), OpenError::KeyMissing(1)));
        let sealer = open(&[key(2, 9), key(1, 7)], &mut rows).unwrap();
        assert_eq!(sealer.open_record(&[b"x"], &old).unwrap(), b"old");
        let new = sealer.seal(&[b"x"], b"new");
        assert!(sealer.is_current(&new) && !sealer.is_current(&old));
        assert_eq!(sealer.retired(), [1]);
        let again = open(&[key(2, 9), key(1, 7)], &mut rows).unwrap();
        assert!(again.is_current(&new), "the same key, another epoch");
        assert_eq!(again.open_record(&[b"x"], &new).unwrap(), b"new");
    }

    #[test]
    fn records_from_before_encryption_stay_readable() {
        let plain = open(&[], &mut Vec::new()).unwrap().seal(&[b"x"], b"early");
        let sealer = open(&[key(1, 7)], &mut Vec::new()).unwrap();
        assert_eq!(sealer.open_record(&[b"x"], &plain).unwrap(), b"early");
        assert!(!sealer.is_current(&plain));
    }

    #[test]
    fn secrets_are_not_printed() {
        let printed = format!("{:?} {:?}", key(5, 77), open(&[key(5, 77)], &mut Vec::new()));
        assert!(!printed.contains("77"), "{printed}");
    }

    proptest! {
        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            let sealer = open(&[key(1, 7)], &mut Vec::new()).unwrap();
            let _ = sealer.open_record(&[b"x"], &octets);
            let _ = Sealer::open(&[key(1, 7)], &[(1, octets.clone())]);
            let _ = sealer.is_current(&octets);
        }
    }
}
