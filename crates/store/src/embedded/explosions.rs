//! Explosions in the file.
//!
//! | Key                   | Row                                              | Sealed |
//! |-----------------------|--------------------------------------------------|--------|
//! | `HEAD id`             | times, seed, number of recipients                | no     |
//! | `LIST id`             | the recipients                                   | yes    |
//! | `PAYLOAD id`          | what they are sent                               | yes    |
//! | `OUTCOME id place`    | what became of one of them                       | no     |
//! | `KNOWN dedup`         | the number of the explosion and until when       | no     |
//! | `AGE until dedup`     | nothing: what is to be forgotten when            | no     |
//!
//! A row of its own for each outcome makes settling one recipient cost the same however many there
//! are.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};

use redb::ReadableTable;

use super::codec::{Reader, Writer};
use super::seal::Sealer;
use super::tables::{EXPLOSIONS, Tables};
use super::{Embedded, Reading};
use crate::explosion::EXPLODED_REMEMBERED_MAX;
use crate::{
    Begun, DedupKey, EXPLODED_WINDOW, Explosion, ExplosionId, Explosions, Millis, NewExplosion,
    PAGE_MAX, Pending, StoreError,
};

/// Kinds of rows; the value is in the file.
const HEAD: u8 = 0;
pub(super) const LIST: u8 = 1;
pub(super) const PAYLOAD: u8 = 2;
const OUTCOME: u8 = 3;
const KNOWN: u8 = 4;
const AGE: u8 = 5;

/// The row of the meta table that counts.
const COUNTS: &str = "explosions";

/// Most messages that one acceptance forgets: more than it adds.
const FORGOTTEN_MAX: usize = 4;

fn damaged() -> StoreError {
    StoreError::Corrupt("unreadable explosion".into())
}

fn key(kind: u8, id: ExplosionId) -> [u8; 9] {
    let mut key = [kind; 9];
    key.iter_mut().skip(1).zip(id.0.to_be_bytes()).for_each(|(octet, from)| *octet = from);
    key
}

fn outcome_key(id: ExplosionId, place: u32) -> Vec<u8> {
    [key(OUTCOME, id).as_slice(), &place.to_be_bytes()].concat()
}

fn known_key(dedup: &DedupKey) -> Vec<u8> {
    [[KNOWN].as_slice(), dedup].concat()
}

fn age_key(until: Millis, dedup: &DedupKey) -> Vec<u8> {
    [[AGE].as_slice(), &until.0.to_be_bytes(), dedup].concat()
}

/// The number in a key behind its kind.
fn number(key: &[u8]) -> Result<ExplosionId, StoreError> {
    let octets = key.get(1..9).and_then(|octets| octets.try_into().ok()).ok_or_else(damaged)?;
    Ok(ExplosionId(u64::from_be_bytes(octets)))
}

/// What a record of the kind at the start of `key` is sealed with.
pub(super) fn context(key: &[u8]) -> [&[u8]; 2] {
    [b"explosion", key]
}

/// How many there were, are, and are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    last: u64,
    unfinished: u64,
    remembered: u64,
}

impl Counts {
    fn read(octets: &[u8]) -> Result<Counts, StoreError> {
        let mut reader = Reader::new(octets, 1, "explosion counts")?;
        let counts =
            Counts { last: reader.u64()?, unfinished: reader.u64()?, remembered: reader.u64()? };
        reader.end()?;
        Ok(counts)
    }

    fn write(self) -> Vec<u8> {
        let Counts { last, unfinished, remembered } = self;
        Writer::new(1).u64(last).u64(unfinished).u64(remembered).into_octets()
    }
}

/// An explosion without what is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    received: Millis,
    expires: Millis,
    seed: [u8; 16],
    recipients: u32,
}

impl Head {
    fn read(octets: &[u8]) -> Result<Head, StoreError> {
        let mut reader = Reader::new(octets, 1, "explosion")?;
        let head = Head {
            received: Millis(reader.u64()?),
            expires: Millis(reader.u64()?),
            seed: reader.array()?,
            recipients: reader.u32()?,
        };
        reader.end()?;
        Ok(head)
    }

    fn write(&self) -> Vec<u8> {
        let Head { received, expires, seed, recipients } = self;
        let writer = Writer::new(1).u64(received.0).u64(expires.0);
        writer.raw(seed).u32(*recipients).into_octets()
    }
}

fn read_list(octets: &[u8]) -> Result<Vec<String>, StoreError> {
    let mut reader = Reader::new(octets, 1, "recipients")?;
    let count = reader.u32()?;
    let recipients = (0..count).map(|_| reader.text()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(recipients)
}

fn write_list(recipients: &[String]) -> Vec<u8> {
    let count = u32::try_from(recipients.len()).expect("checked to be at most 4096");
    let writer = Writer::new(1).u32(count);
    recipients.iter().fold(writer, |writer, recipient| writer.text(recipient)).into_octets()
}

impl Tables<'_> {
    fn begin(&mut self, new: &NewExplosion, most: u64, now: Millis) -> Result<Begun, StoreError> {
        new.check()?;
        let mut counts = self.explosion_counts()?;
        if let Some((id, until)) = self.known_explosion(&new.dedup)? {
            if until > now {
                return Ok(Begun::Duplicate(id));
            }
            self.forget_explosion(&mut counts, until, &new.dedup)?;
        }
        if counts.unfinished >= most {
            return Ok(Begun::Full);
        }
        self.forget_explosions(&mut counts, now)?;
        counts.last = counts.last.saturating_add(1);
        counts.unfinished = counts.unfinished.saturating_add(1);
        counts.remembered = counts.remembered.saturating_add(1);
        let id = ExplosionId(counts.last);
        let until = now + EXPLODED_WINDOW;
        let known = Writer::new(1).u64(id.0).u64(until.0).into_octets();
        self.explosions.insert(known_key(&new.dedup).as_slice(), known.as_slice())?;
        self.explosions.insert(age_key(until, &new.dedup).as_slice(), [].as_slice())?;
        let head = Head {
            received: new.received,
            expires: new.expires,
            seed: new.seed,
            recipients: u32::try_from(new.recipients.len()).map_err(|_| damaged())?,
        };
        self.explosions.insert(key(HEAD, id).as_slice(), head.write().as_slice())?;
        let list = write_list(&new.recipients);
        for (kind, plain) in [(LIST, list.as_slice()), (PAYLOAD, &new.payload)] {
            let key = key(kind, id);
            let sealed = self.seal.seal(&context(&key), plain);
            self.explosions.insert(key.as_slice(), sealed.as_slice())?;
        }
        self.meta.insert(COUNTS, counts.write().as_slice())?;
        Ok(Begun::New(id))
    }

    fn explosion_counts(&self) -> Result<Counts, StoreError> {
        let row = self.meta.get(COUNTS)?;
        Ok(row.map(|row| Counts::read(row.value())).transpose()?.unwrap_or_default())
    }

    fn known_explosion(
        &self,
        dedup: &DedupKey,
    ) -> Result<Option<(ExplosionId, Millis)>, StoreError> {
        let row = self.explosions.get(known_key(dedup).as_slice())?;
        row.map(|row| read_known(row.value())).transpose()
    }

    /// Forgets what aged, and what is too much.
    fn forget_explosions(&mut self, counts: &mut Counts, now: Millis) -> Result<(), StoreError> {
        let mut old = Vec::new();
        let range = self.explosions.range::<&[u8]>([AGE].as_slice()..[AGE + 1].as_slice())?;
        for row in range.take(FORGOTTEN_MAX) {
            let (key, _) = row?;
            let (until, dedup) = key
                .value()
                .get(1..)
                .and_then(|rest| rest.split_first_chunk())
                .ok_or_else(damaged)?;
            let until = Millis(u64::from_be_bytes(*until));
            let dedup: DedupKey = dedup.try_into().map_err(|_| damaged())?;
            let over = counts.remembered.saturating_sub(old.len() as u64);
            if until > now && over < EXPLODED_REMEMBERED_MAX {
                break;
            }
            old.push((until, dedup));
        }
        for (until, dedup) in old {
            self.forget_explosion(counts, until, &dedup)?;
        }
        Ok(())
    }

    fn forget_explosion(
        &mut self,
        counts: &mut Counts,
        until: Millis,
        dedup: &DedupKey,
    ) -> Result<(), StoreError> {
        self.explosions.remove(age_key(until, dedup).as_slice())?;
        self.explosions.remove(known_key(dedup).as_slice())?;
        counts.remembered = counts.remembered.saturating_sub(1);
        Ok(())
    }

    fn settle_recipient(
        &mut self,
        id: ExplosionId,
        place: u32,
        outcome: u16,
    ) -> Result<bool, StoreError> {
        let head = self.explosions.get(key(HEAD, id).as_slice())?;
        let Some(head) = head.map(|row| Head::read(row.value())).transpose()? else {
            return Ok(false);
        };
        let row_key = outcome_key(id, place);
        if place >= head.recipients || self.explosions.get(row_key.as_slice())?.is_some() {
            return Ok(false);
        }
        self.explosions.insert(row_key.as_slice(), outcome.to_be_bytes().as_slice())?;
        Ok(true)
    }

    fn finish_explosion(&mut self, id: ExplosionId) -> Result<bool, StoreError> {
        if self.explosions.get(key(HEAD, id).as_slice())?.is_none() {
            return Ok(false);
        }
        for kind in [HEAD, LIST, PAYLOAD] {
            self.explosions.remove(key(kind, id).as_slice())?;
        }
        let (start, end) = (outcome_key(id, 0), outcome_key(id, u32::MAX));
        let range = (Included(start.as_slice()), Included(end.as_slice()));
        self.explosions.retain_in::<&[u8]>(range, |_, _| false)?;
        let mut counts = self.explosion_counts()?;
        counts.unfinished = counts.unfinished.saturating_sub(1);
        self.meta.insert(COUNTS, counts.write().as_slice())?;
        Ok(true)
    }
}

/// The number of an explosion, and until when its message is recognised.
fn read_known(octets: &[u8]) -> Result<(ExplosionId, Millis), StoreError> {
    let mut reader = Reader::new(octets, 1, "known explosion")?;
    let known = (ExplosionId(reader.u64()?), Millis(reader.u64()?));
    reader.end()?;
    Ok(known)
}

fn load(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    seal: &Sealer,
    id: ExplosionId,
) -> Result<Option<Explosion>, StoreError> {
    let Some(row) = table.get(key(HEAD, id).as_slice())? else { return Ok(None) };
    let head = Head::read(row.value())?;
    let sealed = |kind| {
        let key = key(kind, id);
        let row = table.get(key.as_slice())?.ok_or_else(damaged)?;
        seal.open_record(&context(&key), row.value())
    };
    let recipients = read_list(&sealed(LIST)?)?;
    let payload = sealed(PAYLOAD)?;
    let mut outcomes = BTreeMap::new();
    let (start, end) = (outcome_key(id, 0), outcome_key(id, u32::MAX));
    let range = (Included(start.as_slice()), Included(end.as_slice()));
    for row in table.range::<&[u8]>(range)? {
        let (key, row) = row?;
        let place = key.value().get(9..).and_then(|place| place.try_into().ok());
        let outcome = row.value().try_into().ok();
        let (Some(place), Some(outcome)) = (place, outcome) else { return Err(damaged()) };
        outcomes.insert(u32::from_be_bytes(place), u16::from_be_bytes(outcome));
    }
    Ok(Some(Explosion {
        id,
        received: head.received,
        expires: head.expires,
        seed: head.seed,
        payload: payload.into(),
        recipients,
        outcomes,
    }))
}

impl Reading<'_> {
    fn explosions(&self, after: ExplosionId, limit: usize) -> Result<Vec<ExplosionId>, StoreError> {
        let table = self.transaction.open_table(EXPLOSIONS)?;
        let (start, end) = (key(HEAD, after), [LIST]);
        let range = (Excluded(start.as_slice()), Excluded(end.as_slice()));
        table.range::<&[u8]>(range)?.take(limit).map(|row| number(row?.0.value())).collect()
    }
}

impl Explosions for Embedded {
    fn begin(&self, explosion: NewExplosion, most: u64, now: Millis) -> Pending<'_, Begun> {
        let listed: usize = explosion.recipients.iter().map(String::len).sum();
        let octets = explosion.payload.len() + listed + 512;
        Box::pin(self.shared.change(octets, move |tables| tables.begin(&explosion, most, now)))
    }

    fn known(&self, dedup: DedupKey, now: Millis) -> Pending<'_, Option<ExplosionId>> {
        Box::pin(self.shared.read((), move |reading, ()| {
            let table = reading.transaction.open_table(EXPLOSIONS)?;
            let row = table.get(known_key(&dedup).as_slice())?;
            let known = row.map(|row| read_known(row.value())).transpose()?;
            Ok(known.filter(|(_, until)| *until > now).map(|(id, _)| id))
        }))
    }

    fn settle(&self, id: ExplosionId, place: u32, outcome: u16) -> Pending<'_, bool> {
        Box::pin(self.shared.change(64, move |t| t.settle_recipient(id, place, outcome)))
    }

    fn finish(&self, id: ExplosionId) -> Pending<'_, bool> {
        Box::pin(self.shared.change(64, move |tables| tables.finish_explosion(id)))
    }

    fn explosion(&self, id: ExplosionId) -> Pending<'_, Option<Explosion>> {
        Box::pin(self.shared.read((), move |reading, ()| {
            load(&reading.transaction.open_table(EXPLOSIONS)?, reading.seal, id)
        }))
    }

    fn explosions(&self, after: ExplosionId, limit: usize) -> Pending<'_, Vec<ExplosionId>> {
        Box::pin(
            self.shared.read((), move |reading, ()| reading.explosions(after, limit.min(PAGE_MAX))),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Counts, Head, Millis, number, read_known, read_list, write_list};

    #[test]
    fn reads_what_it_writes() {
        let head = Head { received: Millis(2), expires: Millis(3), seed: [4; 16], recipients: 5 };
        assert_eq!(Head::read(&head.write()), Ok(head));
        let counts = Counts { last: 6, unfinished: 7, remembered: 8 };
        assert_eq!(Counts::read(&counts.write()), Ok(counts));
        let list = vec!["sip:a@h".to_owned(), String::new(), "é".to_owned()];
        assert_eq!(read_list(&write_list(&list)), Ok(list));
    }

    proptest! {
        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
            let layout = [&[1], octets.as_slice()].concat();
            for octets in [octets, layout] {
                let _ = (Head::read(&octets), Counts::read(&octets));
                let _ = (read_list(&octets), number(&octets), read_known(&octets));
            }
        }
    }
}
