//! Recognising a message that comes again (RFC 3428 §7, and clients that send anew).
//!
//! The keys of the latest messages lie in the state of the inbox, which an acceptance reads and
//! writes anyway. What is more goes to rows of its own, one a key. The agenda has one entry for a
//! recipient, at the time his oldest keys age out.

use redb::ReadableTable;

use super::inbox_records::{Remembered, State};
use super::keys::{self, Agenda};
use super::tables::Tables;
use crate::inbox::DEDUP_REMEMBERED_MAX;
use crate::{DEDUP_WINDOW, DedupKey, Millis, Seq, StoreError};

/// Most messages whose keys lie in the state; local value: a day of most users, in half a page.
const RECENT_MAX: usize = 24;

/// Most recipients whose aged keys one group removes. Each recipient comes up once in a window, so
/// that at two hundred groups a second seventy million of them are kept up with.
const FORGETTING_MAX: usize = 4;

/// A row: the number of the item and until when it counts.
fn read_row(row: &[u8]) -> Result<(Seq, Millis), StoreError> {
    let damaged = || StoreError::Corrupt("unreadable dedup row".into());
    let (seq, rest) = row.split_first_chunk().ok_or_else(damaged)?;
    let until = rest.try_into().map_err(|_| damaged())?;
    Ok((Seq(u64::from_be_bytes(*seq)), Millis(u64::from_be_bytes(until))))
}

impl Tables<'_> {
    /// The number of the item that had one of `dedup`.
    pub(super) fn known(
        &self,
        user: &str,
        state: &State,
        dedup: &[DedupKey],
        now: Millis,
    ) -> Result<Option<Seq>, StoreError> {
        let mut recent = state.recent.iter().filter(|message| message.until > now);
        if let Some(message) = recent.find(|m| m.keys.iter().any(|key| dedup.contains(key))) {
            return Ok(Some(message.seq));
        }
        if state.spilled == 0 {
            return Ok(None);
        }
        for key in dedup {
            if let Some(row) = self.inbox.get(keys::dedup(user, key).as_slice())? {
                let (seq, until) = read_row(row.value())?;
                if until > now {
                    return Ok(Some(seq));
                }
            }
        }
        Ok(None)
    }

    /// Remembers the keys of the new item `seq`, if the bound leaves room.
    pub(super) fn remember(
        &mut self,
        user: &str,
        state: &mut State,
        dedup: &[DedupKey],
        seq: Seq,
        now: Millis,
    ) -> Result<(), StoreError> {
        let most = DEDUP_REMEMBERED_MAX as u64;
        let mut wanted = dedup.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let aged = state.forget.is_some_and(|when| when <= now);
        if aged && state.remembered() + wanted.len() as u64 > most {
            self.forget(user, state, now)?;
        }
        if wanted.is_empty() || state.remembered() + wanted.len() as u64 > most {
            return Ok(());
        }
        let until = now + DEDUP_WINDOW;
        state.recent.retain(|message| message.until > now);
        if state.recent.len() >= RECENT_MAX {
            let oldest = state.recent.remove(0);
            self.spill(user, state, &oldest)?;
        }
        state.recent.push(Remembered { seq, until, keys: wanted });
        if state.forget.is_none_or(|when| when > until) {
            self.set_forget(user, state, Some(until))?;
        }
        Ok(())
    }

    fn spill(
        &mut self,
        user: &str,
        state: &mut State,
        message: &Remembered,
    ) -> Result<(), StoreError> {
        let mut row = [0; 16];
        let (first, second) = row.split_at_mut(8);
        first.copy_from_slice(&message.seq.0.to_be_bytes());
        second.copy_from_slice(&message.until.0.to_be_bytes());
        for key in &message.keys {
            let replaced = self.inbox.insert(keys::dedup(user, key).as_slice(), row.as_slice())?;
            state.spilled += u64::from(!replaced);
        }
        Ok(())
    }

    /// Changes when the oldest keys age out, in the state and in the agenda.
    pub(super) fn set_forget(
        &mut self,
        user: &str,
        state: &mut State,
        when: Option<Millis>,
    ) -> Result<(), StoreError> {
        if let Some(old) = state.forget {
            self.strike(Agenda::Forget, old, user, None)?;
        }
        if let Some(new) = when {
            self.note(Agenda::Forget, new, user, None)?;
        }
        state.forget = when;
        Ok(())
    }

    /// Removes the aged keys of `user`.
    fn forget(&mut self, user: &str, state: &mut State, now: Millis) -> Result<(), StoreError> {
        state.recent.retain(|message| message.until > now);
        let mut next = state.recent.iter().map(|message| message.until).min();
        if state.spilled > 0 {
            let start = keys::inbox(user, keys::DEDUP, &[]);
            let end = keys::inbox(user, keys::DEDUP + 1, &[]);
            let (mut left, mut damage) = (0, None);
            let keep = |_: &[u8], row: &[u8]| match read_row(row) {
                Ok((_, until)) if until <= now => false,
                Ok((_, until)) => {
                    left += 1;
                    next = Some(next.map_or(until, |next| next.min(until)));
                    true
                }
                Err(error) => {
                    damage = Some(error);
                    true
                }
            };
            self.inbox.retain_in(start.as_slice()..end.as_slice(), keep)?;
            if let Some(damage) = damage {
                return Err(damage);
            }
            state.spilled = left;
        }
        self.set_forget(user, state, next)
    }

    /// Housekeeping at the end of a group with acceptances: a few recipients at a time.
    pub(super) fn forget_old_keys(&mut self) -> Result<(), StoreError> {
        let Some(now) = self.now else { return Ok(()) };
        let (start, end) = keys::agenda_until(Agenda::Forget, now);
        let mut due = Vec::new();
        for entry in self.agenda.range(start.as_slice()..end.as_slice())?.take(FORGETTING_MAX) {
            due.push(entry?.0.value().to_vec());
        }
        for key in due {
            self.agenda.remove(key.as_slice())?;
            let (user, _) = keys::parse_agenda(&key)?;
            match self.forget_of(user, now) {
                // His own operations meet it; it must not stop everybody's.
                Err(StoreError::Corrupt(why)) => tracing::error!(why, "damaged inbox"),
                done => done?,
            }
        }
        Ok(())
    }

    fn forget_of(&mut self, user: &str, now: Millis) -> Result<(), StoreError> {
        let Some(mut state) = self.state(user)? else { return Ok(()) };
        self.forget(user, &mut state, now)?;
        self.save(user, &state)
    }
}
