//! The version of the layout, and the way from each version to the next.
//!
//! | Version | What changed                                                                     |
//! |---------|----------------------------------------------------------------------------------|
//! | 1       | registrations, profiles, names, inboxes, bodies, audit trail                     |
//! | 2       | the agenda: what lapses, is due, expires and ages out, in the order of time      |
//! | 3       | the journal, in a file beside: an older program would lose what is in it         |
//! | 4       | explosions: an older program would not go on with them                            |
//! | 5       | published settings: an older program would not end them                          |
//!
//! A file of a later version than ours is refused: an older program would not keep what it does
//! not know. Fields added to JSON records need no new version.

use redb::{ReadableTable, WriteTransaction};

use super::OpenError;
use super::inbox_records::{Head, State};
use super::keys::{self, Agenda};
use super::people::{PROFILE, REGISTRATION};
use super::tables::{META, Tables};
use crate::{Millis, Profile, Registration, Seq, StoreError};

/// The version this program writes.
pub(super) const SCHEMA: u32 = 5;

/// One step from a version to the next.
type Step = fn(&mut Tables<'_>) -> Result<(), StoreError>;

/// From version 1 to 2, and so on.
const STEPS: [Step; SCHEMA as usize - 1] =
    [|tables| tables.rebuild_agenda().map(|_| ()), |_| Ok(()), |_| Ok(()), |_| Ok(())];

/// The version of the file; a new file has none.
fn found(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<u32>, OpenError> {
    let Some(row) = meta.get("schema").map_err(StoreError::from)? else { return Ok(None) };
    let octets = row.value().try_into();
    let octets = octets.map_err(|_| OpenError::Corrupt("unreadable version".into()))?;
    Ok(Some(u32::from_be_bytes(octets)))
}

/// Refuses a later version, before anything else of the file is touched.
pub(super) fn check_schema(transaction: &WriteTransaction) -> Result<(), OpenError> {
    let meta = transaction.open_table(META).map_err(StoreError::from)?;
    match found(&meta)? {
        Some(found) if found > SCHEMA => Err(OpenError::Newer { found, known: SCHEMA }),
        Some(0) => Err(OpenError::Corrupt("version 0".into())),
        Some(_) | None => Ok(()),
    }
}

impl Tables<'_> {
    /// Brings the file to [`SCHEMA`], in the transaction in hand. A new file is given it at once.
    pub(super) fn migrate(&mut self) -> Result<(), OpenError> {
        let found = found(&*self.meta)?.unwrap_or(SCHEMA);
        let done = usize::try_from(found).unwrap_or(0).saturating_sub(1);
        for (step, work) in STEPS.iter().enumerate().skip(done) {
            tracing::info!(from = step + 1, to = step + 2, "migrating the store");
            work(self)?;
        }
        let schema = SCHEMA.to_be_bytes();
        self.meta.insert("schema", schema.as_slice())?;
        Ok(())
    }

    /// Writes the agenda anew from the records.
    pub(super) fn rebuild_agenda(&mut self) -> Result<u64, StoreError> {
        self.agenda.retain_in::<&[u8]>(.., |_, ()| false)?;
        let mut entries: Vec<(Agenda, Millis, String, Option<Seq>)> = Vec::new();
        for row in self.registrations.iter()? {
            let (user, row) = row?;
            let context: [&[u8]; 2] = [REGISTRATION.as_bytes(), user.value().as_bytes()];
            let json = self.seal.open_record(&context, row.value())?;
            let record: Registration = serde_json::from_slice(&json)
                .map_err(|error| StoreError::Corrupt(format!("registration: {error}")))?;
            entries.push((Agenda::Lapse, record.lapses_at, user.value().to_owned(), None));
        }
        for row in self.profiles.iter()? {
            let (user, row) = row?;
            let context: [&[u8]; 2] = [PROFILE.as_bytes(), user.value().as_bytes()];
            let json = self.seal.open_record(&context, row.value())?;
            let record: Profile = serde_json::from_slice(&json)
                .map_err(|error| StoreError::Corrupt(format!("profile: {error}")))?;
            if let Some(published) = record.published {
                let user = user.value().to_owned();
                entries.push((Agenda::Publication, published.expires_at, user, None));
            }
        }
        for row in self.inbox.iter()? {
            let (key, row) = row?;
            let (user, kind, rest) = keys::parse_inbox(key.value())?;
            if kind == keys::STATE {
                let State { due, forget, .. } = State::read(row.value())?;
                let times = [(Agenda::Due, due), (Agenda::Forget, forget)];
                entries.extend(times.into_iter().filter_map(|(kind, when)| {
                    when.map(|when| (kind, when, user.to_owned(), None))
                }));
            } else if kind == keys::ITEM {
                let seq = keys::parse_seq(rest)?;
                let head = Head::open(self.seal, user, seq, row.value())?;
                entries.push((Agenda::Expire, head.expires, user.to_owned(), Some(seq)));
            }
        }
        let count = entries.len() as u64;
        for (kind, when, user, seq) in entries {
            self.note(kind, when, &user, seq)?;
        }
        Ok(count)
    }
}
