//! Explosions in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use super::Memory;
use crate::explosion::EXPLODED_REMEMBERED_MAX;
use crate::{
    Begun, DedupKey, EXPLODED_WINDOW, Explosion, ExplosionId, Explosions, Millis, NewExplosion,
    PAGE_MAX, Pending,
};

/// All explosions, and what is remembered of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Exploding {
    last: u64,
    all: BTreeMap<ExplosionId, Explosion>,
    known: HashMap<DedupKey, (ExplosionId, Millis)>,
    ages: BTreeSet<(Millis, DedupKey)>,
}

impl Exploding {
    fn begin(&mut self, new: NewExplosion, most: u64, now: Millis) -> Begun {
        self.forget(now);
        if let Some((id, _)) = self.known.get(&new.dedup) {
            return Begun::Duplicate(*id);
        }
        if self.all.len() as u64 >= most {
            return Begun::Full;
        }
        self.last += 1;
        let id = ExplosionId(self.last);
        let until = now + EXPLODED_WINDOW;
        self.known.insert(new.dedup, (id, until));
        self.ages.insert((until, new.dedup));
        self.all.insert(id, new.numbered(id));
        Begun::New(id)
    }

    fn forget(&mut self, now: Millis) {
        while let Some(&(until, key)) = self.ages.first() {
            if until > now && (self.ages.len() as u64) < EXPLODED_REMEMBERED_MAX {
                break;
            }
            self.ages.remove(&(until, key));
            self.known.remove(&key);
        }
    }

    fn settle(&mut self, id: ExplosionId, place: u32, outcome: u16) -> bool {
        let Some(explosion) = self.all.get_mut(&id) else { return false };
        let there = usize::try_from(place).is_ok_and(|place| place < explosion.recipients.len());
        if !there || explosion.outcomes.contains_key(&place) {
            return false;
        }
        explosion.outcomes.insert(place, outcome);
        true
    }
}

impl Explosions for Memory {
    fn begin(&self, explosion: NewExplosion, most: u64, now: Millis) -> Pending<'_, Begun> {
        self.run(move |state| {
            explosion.check()?;
            Ok(state.exploding.begin(explosion, most, now))
        })
    }

    fn known(&self, dedup: DedupKey, now: Millis) -> Pending<'_, Option<ExplosionId>> {
        self.run(move |state| {
            let known = state.exploding.known.get(&dedup);
            Ok(known.filter(|(_, until)| *until > now).map(|(id, _)| *id))
        })
    }

    fn settle(&self, id: ExplosionId, place: u32, outcome: u16) -> Pending<'_, bool> {
        self.run(move |state| Ok(state.exploding.settle(id, place, outcome)))
    }

    fn finish(&self, id: ExplosionId) -> Pending<'_, bool> {
        self.run(move |state| Ok(state.exploding.all.remove(&id).is_some()))
    }

    fn explosion(&self, id: ExplosionId) -> Pending<'_, Option<Explosion>> {
        self.run(move |state| Ok(state.exploding.all.get(&id).cloned()))
    }

    fn explosions(&self, after: ExplosionId, limit: usize) -> Pending<'_, Vec<ExplosionId>> {
        self.run(move |state| {
            let later = state.exploding.all.range((Excluded(after), Unbounded));
            Ok(later.map(|(id, _)| *id).take(limit.min(PAGE_MAX)).collect())
        })
    }
}
