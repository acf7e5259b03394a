//! Rewriting what an earlier key sealed, or none did, with the first configured key.

use std::ops::Bound::{Excluded, Unbounded};

use redb::ReadableTable;

use super::Embedded;
use super::explosions;
use super::inbox_records::Head;
use super::keys;
use super::people::{NAMES, PROFILE, REGISTRATION};
use super::redo::Logged;
use super::seal::Sealer;
use super::tables::Tables;
use crate::StoreError;

/// Records looked at in one operation; small, so that messages do not wait long behind it.
const STEP: usize = 256;

/// How far it is: the table and the last key done there.
#[derive(Clone, Debug)]
enum Place {
    Named(&'static str, Option<String>),
    Items(Vec<u8>),
    Audit(u64),
    Explosions(Vec<u8>),
    Done,
}

impl Embedded {
    /// Seals every record with the first configured key that is not yet, and returns how many
    /// there were. Afterwards the other keys need not be configured any more.
    ///
    /// Works in small steps beside everything else, and can be repeated when it was interrupted.
    pub async fn reseal(&self) -> Result<u64, StoreError> {
        let mut place = Place::Named(REGISTRATION, None);
        let mut rewritten = 0;
        loop {
            let from = place;
            let (count, next) =
                self.shared.change(64, move |tables| tables.reseal_step(from.clone())).await?;
            rewritten += count;
            if matches!(next, Place::Done) {
                break;
            }
            place = next;
        }
        self.shared.change(64, |tables| tables.drop_retired_epochs()).await?;
        Ok(rewritten)
    }
}

impl Tables<'_> {
    fn reseal_step(&mut self, place: Place) -> Result<(u64, Place), StoreError> {
        match place {
            Place::Named(what, after) => {
                let (table, following) = match what {
                    REGISTRATION => (&mut self.registrations, Place::Named(PROFILE, None)),
                    PROFILE => (&mut self.profiles, Place::Named(NAMES, None)),
                    _ => (&mut self.learnt, Place::Items(Vec::new())),
                };
                let (count, last) = reseal_named(table, self.seal, what, after.as_deref())?;
                Ok((count, last.map_or(following, |last| Place::Named(what, Some(last)))))
            }
            Place::Items(after) => {
                let (count, last) = self.reseal_items(&after)?;
                Ok((count, last.map_or(Place::Audit(0), Place::Items)))
            }
            Place::Audit(after) => {
                let (count, last) = self.reseal_audit(after)?;
                Ok((count, last.map_or(Place::Explosions(Vec::new()), Place::Audit)))
            }
            Place::Explosions(after) => {
                let (count, last) = self.reseal_explosions(&after)?;
                Ok((count, last.map_or(Place::Done, Place::Explosions)))
            }
            Place::Done => Ok((0, Place::Done)),
        }
    }

    fn reseal_items(&mut self, after: &[u8]) -> Result<(u64, Option<Vec<u8>>), StoreError> {
        let mut rows = Vec::new();
        for row in self.inbox.range::<&[u8]>((Excluded(after), Unbounded))?.take(STEP) {
            let (key, row) = row?;
            rows.push((key.value().to_vec(), row.value().to_vec()));
        }
        let mut count = 0;
        for (key, row) in &rows {
            let (user, kind, rest) = keys::parse_inbox(key)?;
            if kind != keys::ITEM {
                continue;
            }
            let seq = keys::parse_seq(rest)?;
            let head = Head::open(self.seal, user, seq, row)?;
            if !self.seal.is_current(row) {
                let sealed = head.seal(self.seal, user, seq);
                self.inbox.insert(key.as_slice(), sealed.as_slice())?;
                count += 1;
            }
            let body = self.bodies.get(head.body)?.map(|body| body.value().to_vec());
            if let Some(body) = body.filter(|body| !self.seal.is_current(body)) {
                let number = seq.0.to_be_bytes();
                let context: [&[u8]; 3] = [b"body", user.as_bytes(), &number];
                let plain = self.seal.open_record(&context, &body)?;
                self.bodies.insert(head.body, self.seal.seal(&context, &plain).as_slice())?;
                count += 1;
            }
        }
        Ok((count, rows.pop().map(|(key, _)| key)))
    }

    fn reseal_audit(&mut self, after: u64) -> Result<(u64, Option<u64>), StoreError> {
        let mut rows = Vec::new();
        for row in self.audit.range::<u64>((Excluded(after), Unbounded))?.take(STEP) {
            let (number, row) = row?;
            rows.push((number.value(), row.value().to_vec()));
        }
        let mut count = 0;
        for (number, row) in rows.iter().filter(|(_, row)| !self.seal.is_current(row)) {
            let octets = number.to_be_bytes();
            let context: [&[u8]; 2] = [b"audit", &octets];
            let plain = self.seal.open_record(&context, row)?;
            self.audit.insert(*number, self.seal.seal(&context, &plain).as_slice())?;
            count += 1;
        }
        Ok((count, rows.last().map(|(number, _)| *number)))
    }

    fn reseal_explosions(&mut self, after: &[u8]) -> Result<(u64, Option<Vec<u8>>), StoreError> {
        let mut rows = Vec::new();
        for row in self.explosions.range::<&[u8]>((Excluded(after), Unbounded))?.take(STEP) {
            let (key, row) = row?;
            rows.push((key.value().to_vec(), row.value().to_vec()));
        }
        let mut count = 0;
        let sealed = |key: &[u8]| matches!(key, [explosions::LIST | explosions::PAYLOAD, ..]);
        for (key, row) in rows.iter().filter(|(key, _)| sealed(key)) {
            if self.seal.is_current(row) {
                continue;
            }
            let context = explosions::context(key);
            let plain = self.seal.open_record(&context, row)?;
            self.explosions.insert(key.as_slice(), self.seal.seal(&context, &plain).as_slice())?;
            count += 1;
        }
        Ok((count, rows.pop().map(|(key, _)| key)))
    }

    fn drop_retired_epochs(&mut self) -> Result<(), StoreError> {
        for number in self.seal.retired() {
            self.epochs.remove(number)?;
        }
        Ok(())
    }
}

fn reseal_named(
    table: &mut Logged<'_, &'static str, &'static [u8]>,
    seal: &Sealer,
    what: &'static str,
    after: Option<&str>,
) -> Result<(u64, Option<String>), StoreError> {
    let start = after.map_or(Unbounded, Excluded);
    let mut rows = Vec::new();
    for row in table.range::<&str>((start, Unbounded))?.take(STEP) {
        let (user, row) = row?;
        rows.push((user.value().to_owned(), row.value().to_vec()));
    }
    let mut count = 0;
    for (user, row) in rows.iter().filter(|(_, row)| !seal.is_current(row)) {
        let context: [&[u8]; 2] = [what.as_bytes(), user.as_bytes()];
        let plain = seal.open_record(&context, row)?;
        table.insert(user.as_str(), seal.seal(&context, &plain).as_slice())?;
        count += 1;
    }
    Ok((count, rows.pop().map(|(user, _)| user)))
}
