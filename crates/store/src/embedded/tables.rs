//! The tables of the file, and one write transaction over them.
//!
//! Bodies lie in a table of their own in the order of their arrival, so that a group of messages
//! is written to neighbouring pages; everything else about a recipient lies beside each other, so
//! that accepting a message touches one page of his. With the bodies among those, a group writes
//! several times the pages.

use std::sync::Arc;

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use super::codec::{Reader, Writer};
use super::journal::Mark;
use super::keys::{self, Agenda};
use super::redo::{Logged, Redo};
use super::seal::Sealer;
use crate::names::{Owner, Owners};
use crate::{Millis, Profile, Registration, Seq, StoreError, UserId};

type Octets = &'static [u8];

/// `schema`, `counters` and `journal`.
pub(super) const META: TableDefinition<&str, Octets> = TableDefinition::new("meta");
/// Sealing epochs.
pub(super) const EPOCHS: TableDefinition<u32, Octets> = TableDefinition::new("epochs");
/// User to registration.
pub(super) const REGISTRATIONS: TableDefinition<&str, Octets> =
    TableDefinition::new("registrations");
/// User to profile.
pub(super) const PROFILES: TableDefinition<&str, Octets> = TableDefinition::new("profiles");
/// User to the names his registrations told.
pub(super) const LEARNT: TableDefinition<&str, Octets> = TableDefinition::new("learnt");
/// Identity to owner.
pub(super) const OWNERS: TableDefinition<&str, Octets> = TableDefinition::new("owners");
/// State, dedup keys and items of recipients; see [`keys`].
pub(super) const INBOX: TableDefinition<Octets, Octets> = TableDefinition::new("inbox");
/// Payloads, by their number.
pub(super) const BODIES: TableDefinition<u64, Octets> = TableDefinition::new("bodies");
/// What is to happen when; see [`keys`].
pub(super) const AGENDA: TableDefinition<Octets, ()> = TableDefinition::new("agenda");
/// The audit trail, by number.
pub(super) const AUDIT: TableDefinition<u64, Octets> = TableDefinition::new("audit");

/// What is being exploded; see [`super::explosions`].
pub(super) const EXPLOSIONS: TableDefinition<Octets, Octets> = TableDefinition::new("explosions");

/// The row of [`META`] with what the database tells about its journal.
const JOURNAL: &str = "journal";

/// What a commit changes in the memory beside the file.
#[derive(Debug)]
pub(super) enum Change {
    Registration(UserId, Option<Arc<Registration>>),
    Profile(UserId, Option<Arc<Profile>>),
    Owner(String, Option<UserId>),
}

/// What is left to do after the commit.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) changes: Vec<Change>,
    /// Items in all inboxes.
    pub(super) waiting: u64,
}

/// Numbers given out so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) bodies: u64,
    pub(super) registrations: u64,
    pub(super) audited: u64,
}

impl Counters {
    pub(super) fn read(octets: &[u8]) -> Result<Counters, StoreError> {
        let mut reader = Reader::new(octets, 1, "counters")?;
        let counters = Counters {
            bodies: reader.u64()?,
            registrations: reader.u64()?,
            audited: reader.u64()?,
        };
        reader.end()?;
        Ok(counters)
    }

    fn write(self) -> Vec<u8> {
        let Counters { bodies, registrations, audited } = self;
        Writer::new(1).u64(bodies).u64(registrations).u64(audited).into_octets()
    }
}

/// All tables in one write transaction.
pub(super) struct Tables<'t> {
    pub(super) meta: Logged<'t, &'static str, Octets>,
    pub(super) epochs: Logged<'t, u32, Octets>,
    pub(super) registrations: Logged<'t, &'static str, Octets>,
    pub(super) profiles: Logged<'t, &'static str, Octets>,
    pub(super) learnt: Logged<'t, &'static str, Octets>,
    pub(super) owners: Logged<'t, &'static str, Octets>,
    pub(super) inbox: Logged<'t, Octets, Octets>,
    pub(super) bodies: Logged<'t, u64, Octets>,
    pub(super) agenda: Logged<'t, Octets, ()>,
    pub(super) audit: Logged<'t, u64, Octets>,
    pub(super) explosions: Logged<'t, Octets, Octets>,
    pub(super) counters: Counters,
    written: Counters,
    pub(super) seal: &'t Sealer,
    pub(super) changes: Vec<Change>,
    /// The latest time an acceptance of this group told: for housekeeping.
    pub(super) now: Option<Millis>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        seal: &'t Sealer,
        redo: &'t Redo,
    ) -> Result<Tables<'t>, StoreError> {
        let meta = Logged::new(transaction.open_table(META)?, 0, redo);
        let counters = match meta.get("counters")? {
            Some(row) => Counters::read(row.value())?,
            None => Counters::default(),
        };
        Ok(Tables {
            meta,
            epochs: Logged::new(transaction.open_table(EPOCHS)?, 1, redo),
            registrations: Logged::new(transaction.open_table(REGISTRATIONS)?, 2, redo),
            profiles: Logged::new(transaction.open_table(PROFILES)?, 3, redo),
            learnt: Logged::new(transaction.open_table(LEARNT)?, 4, redo),
            owners: Logged::new(transaction.open_table(OWNERS)?, 5, redo),
            inbox: Logged::new(transaction.open_table(INBOX)?, 6, redo),
            bodies: Logged::new(transaction.open_table(BODIES)?, 7, redo),
            agenda: Logged::new(transaction.open_table(AGENDA)?, 8, redo),
            audit: Logged::new(transaction.open_table(AUDIT)?, 9, redo),
            explosions: Logged::new(transaction.open_table(EXPLOSIONS)?, 10, redo),
            counters,
            written: counters,
            seal,
            changes: Vec::new(),
            now: None,
        })
    }

    /// Writes what is kept once for the group; to be called before the commit.
    pub(super) fn finish(&mut self) -> Result<Finished, StoreError> {
        if self.counters != self.written {
            self.meta.insert("counters", self.counters.write().as_slice())?;
            self.written = self.counters;
        }
        let changes = std::mem::take(&mut self.changes);
        Ok(Finished { changes, waiting: self.bodies.len()? })
    }

    /// What the database tells about its journal; a new one, and one from before there were
    /// journals, tells nothing.
    pub(super) fn journal(&self) -> Result<Option<Mark>, StoreError> {
        self.meta.get(JOURNAL)?.map(|row| Mark::read(row.value())).transpose()
    }

    /// Tells it; for a durable commit only.
    pub(super) fn set_journal(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.meta.insert(JOURNAL, mark.write().as_slice())?;
        Ok(())
    }

    pub(super) fn note(
        &mut self,
        kind: Agenda,
        when: Millis,
        user: &str,
        seq: Option<Seq>,
    ) -> Result<(), StoreError> {
        self.agenda.insert(keys::agenda(kind, when, user, seq).as_slice(), ())?;
        Ok(())
    }

    pub(super) fn strike(
        &mut self,
        kind: Agenda,
        when: Millis,
        user: &str,
        seq: Option<Seq>,
    ) -> Result<(), StoreError> {
        self.agenda.remove(keys::agenda(kind, when, user, seq).as_slice())?;
        Ok(())
    }
}

/// The owner a row of [`OWNERS`] names.
pub(super) fn read_owner(octets: &[u8]) -> Result<Owner, StoreError> {
    let mut reader = Reader::new(octets, 1, "owner")?;
    let provisioned = reader.u8()? != 0;
    let user = UserId::from(reader.text()?);
    reader.end()?;
    Ok(Owner { user, provisioned })
}

impl Owners for Tables<'_> {
    fn owner(&self, name: &str) -> Result<Option<Owner>, StoreError> {
        self.owners.get(name)?.map(|row| read_owner(row.value())).transpose()
    }

    fn set_owner(&mut self, name: &str, owner: Option<Owner>) -> Result<(), StoreError> {
        match &owner {
            Some(Owner { user, provisioned }) => {
                let row = Writer::new(1).u8(u8::from(*provisioned)).text(user.as_str());
                self.owners.insert(name, row.into_octets().as_slice())?;
            }
            None => {
                self.owners.remove(name)?;
            }
        }
        self.changes.push(Change::Owner(name.to_owned(), owner.map(|owner| owner.user)));
        Ok(())
    }
}

/// Leaves out a damaged record of a listing, so that it does not hide the others.
pub(super) fn readable<T>(record: Result<T, StoreError>) -> Option<Result<T, StoreError>> {
    match record {
        Err(StoreError::Corrupt(why)) => {
            tracing::error!(why, "damaged record left out");
            None
        }
        other => Some(other),
    }
}

/// Entries of one kind that are due by `now`, at most `limit`.
pub(super) fn due_entries(
    agenda: &impl ReadableTable<Octets, ()>,
    kind: Agenda,
    now: Millis,
    limit: usize,
) -> Result<Vec<(UserId, Option<Seq>)>, StoreError> {
    let (start, end) = keys::agenda_until(kind, now);
    let mut due = Vec::new();
    for entry in agenda.range(start.as_slice()..end.as_slice())?.take(limit) {
        let (key, _) = entry?;
        let (user, seq) = keys::parse_agenda(key.value())?;
        due.push((UserId::from(user), seq));
    }
    Ok(due)
}
