//! What a group changes in the tables, as a record for the journal, and doing it again.
//!
//! A record is a sequence of `table(1) change(1) key-length(4) key [value-length(4) value]`, in
//! the order in which the changes were made.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::ops::{Deref, RangeBounds};

use redb::{Key, Table, Value};

use super::journal::FRAME_HEAD;
use super::tables::Tables;
use crate::StoreError;

const REMOVE: u8 = 0;
const PUT: u8 = 1;

/// Collects the changes of a group.
#[derive(Debug)]
pub(super) struct Redo {
    /// The record behind room for the head of its frame; empty when it grew too large.
    frame: RefCell<Vec<u8>>,
    octets_max: usize,
}

impl Redo {
    /// For a record of at most `octets_max` octets.
    pub(super) fn new(octets_max: usize) -> Redo {
        Redo { frame: RefCell::new(vec![0; FRAME_HEAD]), octets_max }
    }

    /// For changes that are committed durably.
    pub(super) fn off() -> Redo {
        Redo { frame: RefCell::new(Vec::new()), octets_max: 0 }
    }

    fn note(&self, table: u8, change: u8, key: &[u8], value: Option<&[u8]>) {
        let mut frame = self.frame.borrow_mut();
        if frame.is_empty() {
            return;
        }
        frame.extend_from_slice(&[table, change]);
        for part in [Some(key), value].into_iter().flatten() {
            frame.extend_from_slice(&(part.len() as u32).to_be_bytes());
            frame.extend_from_slice(part);
        }
        if frame.len() - FRAME_HEAD > self.octets_max {
            *frame = Vec::new();
        }
    }

    /// Whether the record grew too large.
    pub(super) fn overflowed(&self) -> bool {
        self.frame.borrow().is_empty()
    }

    /// The frame; `None` when nothing was changed.
    pub(super) fn into_frame(self) -> Option<Vec<u8>> {
        Some(self.frame.into_inner()).filter(|frame| frame.len() > FRAME_HEAD)
    }
}

/// A table whose changes are noted.
pub(super) struct Logged<'t, K: Key + 'static, V: Value + 'static> {
    table: Table<'t, K, V>,
    number: u8,
    redo: &'t Redo,
}

impl<'t, K: Key + 'static, V: Value + 'static> Logged<'t, K, V> {
    /// `number` names the table in records, for ever.
    pub(super) fn new(table: Table<'t, K, V>, number: u8, redo: &'t Redo) -> Logged<'t, K, V> {
        Logged { table, number, redo }
    }

    /// Puts a row, and says whether it replaced one.
    pub(super) fn insert<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> Result<bool, StoreError> {
        let (octets, row) = (K::as_bytes(key.borrow()), V::as_bytes(value.borrow()));
        self.redo.note(self.number, PUT, octets.as_ref(), Some(row.as_ref()));
        Ok(self.table.insert(key.borrow(), value.borrow())?.is_some())
    }

    pub(super) fn remove<'k>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<(), StoreError> {
        self.redo.note(self.number, REMOVE, K::as_bytes(key.borrow()).as_ref(), None);
        self.table.remove(key.borrow())?;
        Ok(())
    }

    /// Removes the rows of `range` that `keep` does not want.
    pub(super) fn retain_in<'k, R: Borrow<K::SelfType<'k>> + 'k>(
        &mut self,
        range: impl RangeBounds<R> + 'k,
        mut keep: impl for<'f> FnMut(K::SelfType<'f>, V::SelfType<'f>) -> bool,
    ) -> Result<(), StoreError> {
        let (redo, number) = (self.redo, self.number);
        for row in self.table.extract_from_if(range, |key, value| !keep(key, value))? {
            let (key, _) = row?;
            redo.note(number, REMOVE, K::as_bytes(&key.value()).as_ref(), None);
        }
        Ok(())
    }

    fn redo(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        let fits = |width: Option<usize>, octets: &[u8]| width.is_none_or(|w| w == octets.len());
        if !fits(K::fixed_width(), key) || value.is_some_and(|v| !fits(V::fixed_width(), v)) {
            return Err(damaged());
        }
        match value {
            Some(value) => drop(self.table.insert(K::from_bytes(key), V::from_bytes(value))?),
            None => drop(self.table.remove(K::from_bytes(key))?),
        }
        Ok(())
    }
}

impl<'t, K: Key + 'static, V: Value + 'static> Deref for Logged<'t, K, V> {
    type Target = Table<'t, K, V>;

    fn deref(&self) -> &Table<'t, K, V> {
        &self.table
    }
}

fn damaged() -> StoreError {
    StoreError::Corrupt("unreadable journal record".into())
}

/// Takes a length and as many octets off `rest`.
fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], StoreError> {
    let (length, octets) = rest.split_first_chunk().ok_or_else(damaged)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (part, left) = octets.split_at_checked(length).ok_or_else(damaged)?;
    *rest = left;
    Ok(part)
}

impl Tables<'_> {
    /// Does the changes of `record` again.
    pub(super) fn redo(&mut self, record: &[u8]) -> Result<(), StoreError> {
        let mut rest = record;
        while let [number, change, left @ ..] = rest {
            rest = left;
            let key = part(&mut rest)?;
            let value = match *change {
                PUT => Some(part(&mut rest)?),
                REMOVE => None,
                _ => return Err(damaged()),
            };
            match number {
                0 => self.meta.redo(key, value)?,
                1 => self.epochs.redo(key, value)?,
                2 => self.registrations.redo(key, value)?,
                3 => self.profiles.redo(key, value)?,
                4 => self.learnt.redo(key, value)?,
                5 => self.owners.redo(key, value)?,
                6 => self.inbox.redo(key, value)?,
                7 => self.bodies.redo(key, value)?,
                8 => self.agenda.redo(key, value)?,
                9 => self.audit.redo(key, value)?,
                10 => self.explosions.redo(key, value)?,
                _ => return Err(damaged()),
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(damaged()) }
    }
}
