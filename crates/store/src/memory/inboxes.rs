//! Deferred messages in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

use super::{Memory, State};
use crate::inbox::DEDUP_REMEMBERED_MAX;
use crate::{
    Accepted, Attempt, Counts, DEDUP_WINDOW, DedupKey, Fence, Inboxes, Item, Millis, NewItem,
    PAGE_MAX, Pending, Quota, Seq, Settlement, StoreError, UserId, Withdrawn,
};

/// The inboxes and their indexes by time.
#[derive(Debug, Default)]
pub(super) struct All {
    boxes: BTreeMap<UserId, Inbox>,
    due: BTreeSet<(Millis, UserId)>,
    expiry: BTreeSet<(Millis, UserId, Seq)>,
    waiting: u64,
}

#[derive(Debug, Default)]
struct Inbox {
    items: BTreeMap<Seq, Held>,
    last: u64,
    octets: u64,
    dedup: HashMap<DedupKey, (Seq, Millis)>,
    holder: u64,
    leased_until: Millis,
    token: u64,
    /// Attempts of an earlier epoch are over.
    epoch: u64,
    due: Option<Millis>,
    failures: u32,
}

#[derive(Debug)]
struct Held {
    item: Item,
    /// The epoch of the last attempt.
    sending: Option<u64>,
}

impl Inbox {
    fn remembered(&self, keys: &[DedupKey], now: Millis) -> Option<Seq> {
        let known = keys.iter().filter_map(|key| self.dedup.get(key));
        known.filter(|(_, until)| *until > now).map(|(seq, _)| *seq).next()
    }

    fn remember(&mut self, keys: &[DedupKey], seq: Seq, now: Millis) {
        if self.dedup.len() + keys.len() > DEDUP_REMEMBERED_MAX {
            self.dedup.retain(|_, (_, until)| *until > now);
        }
        if self.dedup.len() + keys.len() <= DEDUP_REMEMBERED_MAX {
            self.dedup.extend(keys.iter().map(|key| (*key, (seq, now + DEDUP_WINDOW))));
        }
    }
}

impl All {
    fn set_due(&mut self, user: &UserId, due: Option<Millis>) {
        let Some(inbox) = self.boxes.get_mut(user) else { return };
        if let Some(old) = std::mem::replace(&mut inbox.due, due) {
            self.due.remove(&(old, user.clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, user.clone()));
        }
    }

    fn accept(&mut self, item: NewItem, quota: Quota, now: Millis) -> Result<Accepted, StoreError> {
        item.check()?;
        let user = item.recipient.clone();
        let inbox = self.boxes.entry(user.clone()).or_default();
        if let Some(seq) = inbox.remembered(&item.dedup, now) {
            return Ok(Accepted::Duplicate(seq));
        }
        let octets = inbox.octets.saturating_add(item.payload.len() as u64);
        if inbox.items.len() as u64 >= quota.items_max || octets > quota.octets_max {
            return Ok(Accepted::Full);
        }
        inbox.last += 1;
        inbox.octets = octets;
        let seq = Seq(inbox.last);
        inbox.remember(&item.dedup, seq, now);
        let leased = Some(inbox.leased_until).filter(|until| *until > now);
        let due = [inbox.due, item.due, leased].into_iter().flatten().min();
        self.expiry.insert((item.expires, user.clone(), seq));
        self.waiting += 1;
        inbox.items.insert(seq, Held { item: item.numbered(seq), sending: None });
        self.set_due(&user, due);
        Ok(Accepted::Stored(seq))
    }

    fn lease(
        &mut self,
        user: &UserId,
        holder: u64,
        until: Millis,
        now: Millis,
    ) -> Result<Option<Fence>, StoreError> {
        crate::identity::check_identity(user.as_str())?;
        let inbox = self.boxes.entry(user.clone()).or_default();
        let live = inbox.leased_until > now;
        if live && inbox.holder != holder {
            return Ok(None);
        }
        if !live {
            inbox.token = (inbox.token + 1).max(now.0);
            inbox.holder = holder;
        }
        inbox.leased_until = until;
        let token = inbox.token;
        if !inbox.items.is_empty() {
            self.set_due(user, Some(until));
        }
        Ok(Some(Fence { user: user.clone(), token }))
    }

    fn fenced(&mut self, fence: &Fence) -> Result<&mut Inbox, StoreError> {
        let inbox = self.boxes.get_mut(&fence.user).ok_or(StoreError::Fenced)?;
        if inbox.token == fence.token { Ok(inbox) } else { Err(StoreError::Fenced) }
    }

    fn release(&mut self, fence: &Fence) -> Result<(), StoreError> {
        let inbox = self.fenced(fence)?;
        inbox.token += 1;
        inbox.epoch += 1;
        inbox.leased_until = Millis(0);
        self.set_due(&fence.user, None);
        Ok(())
    }

    fn attempt(&mut self, fence: &Fence, seq: Seq, attempt: Attempt) -> Result<bool, StoreError> {
        attempt.check()?;
        let inbox = self.fenced(fence)?;
        let Some(held) = inbox.items.get_mut(&seq) else { return Ok(false) };
        held.sending = Some(inbox.epoch);
        held.item.attempt = Some(attempt);
        Ok(true)
    }

    fn drop_item(&mut self, user: &UserId, seq: Seq) -> bool {
        let Some(inbox) = self.boxes.get_mut(user) else { return false };
        let Some(held) = inbox.items.remove(&seq) else { return false };
        inbox.octets -= held.item.payload.len() as u64;
        self.waiting -= 1;
        self.expiry.remove(&(held.item.expires, user.clone(), seq));
        if inbox.items.is_empty() {
            inbox.failures = 0;
            self.set_due(user, None);
        }
        true
    }

    fn withdraw(&mut self, user: &UserId, seq: Seq, now: Millis) -> Withdrawn {
        let Some(inbox) = self.boxes.get(user) else { return Withdrawn::Gone };
        let sending = inbox.items.get(&seq).and_then(|held| held.sending);
        if sending == Some(inbox.epoch) && inbox.leased_until > now {
            return Withdrawn::InFlight;
        }
        if self.drop_item(user, seq) { Withdrawn::Removed } else { Withdrawn::Gone }
    }

    fn postpone(&mut self, fence: &Fence, until: Millis, failures: u32) -> Result<(), StoreError> {
        let inbox = self.fenced(fence)?;
        inbox.epoch += 1;
        if !inbox.items.is_empty() {
            inbox.failures = failures;
            self.set_due(&fence.user, Some(until));
        }
        Ok(())
    }

    pub(super) fn purge(&mut self, user: &UserId) -> bool {
        self.set_due(user, None);
        let Some(inbox) = self.boxes.remove(user) else { return false };
        for (seq, held) in &inbox.items {
            self.expiry.remove(&(held.item.expires, user.clone(), *seq));
        }
        self.waiting -= inbox.items.len() as u64;
        true
    }

    fn expired(&self, now: Millis, limit: usize) -> Vec<Item> {
        let due = self.expiry.iter().take_while(|(when, _, _)| *when <= now).take(limit);
        due.filter_map(|(_, user, seq)| Some(self.boxes.get(user)?.items.get(seq)?.item.clone()))
            .collect()
    }

    fn head(&self, user: &UserId, after: Seq, limit: usize) -> Vec<Item> {
        let Some(inbox) = self.boxes.get(user) else { return Vec::new() };
        let rest = inbox.items.range((Excluded(after), Unbounded)).take(limit);
        rest.map(|(_, held)| held.item.clone()).collect()
    }

    fn recipients(&self, after: Option<&UserId>, limit: usize) -> Vec<UserId> {
        let start = after.map_or(Unbounded, |user| Excluded(user.clone()));
        let rest = self.boxes.range((start, Unbounded));
        let held = rest.filter(|(_, inbox)| !inbox.items.is_empty()).take(limit);
        held.map(|(user, _)| user.clone()).collect()
    }
}

impl Inboxes for Memory {
    fn accept(&self, item: NewItem, quota: Quota, now: Millis) -> Pending<'_, Accepted> {
        self.run(move |state| state.inboxes.accept(item, quota, now))
    }

    fn lease<'a>(
        &'a self,
        user: &'a UserId,
        holder: u64,
        until: Millis,
        now: Millis,
    ) -> Pending<'a, Option<Fence>> {
        self.run(move |state| state.inboxes.lease(user, holder, until, now))
    }

    fn release<'a>(&'a self, fence: &'a Fence) -> Pending<'a, ()> {
        self.run(|state| state.inboxes.release(fence))
    }

    fn head<'a>(&'a self, user: &'a UserId, after: Seq, limit: usize) -> Pending<'a, Vec<Item>> {
        self.run(move |state| Ok(state.inboxes.head(user, after, limit.min(PAGE_MAX))))
    }

    fn attempt<'a>(&'a self, fence: &'a Fence, seq: Seq, attempt: Attempt) -> Pending<'a, bool> {
        self.run(move |state| state.inboxes.attempt(fence, seq, attempt))
    }

    fn settle<'a>(&'a self, fence: &'a Fence, seq: Seq, how: Settlement) -> Pending<'a, bool> {
        self.run(move |state| {
            state.inboxes.fenced(fence)?;
            let settled = state.inboxes.drop_item(&fence.user, seq);
            how.count(settled);
            Ok(settled)
        })
    }

    fn withdraw<'a>(&'a self, user: &'a UserId, seq: Seq, now: Millis) -> Pending<'a, Withdrawn> {
        self.run(move |state| Ok(state.inboxes.withdraw(user, seq, now)))
    }

    fn postpone<'a>(&'a self, fence: &'a Fence, until: Millis, failures: u32) -> Pending<'a, ()> {
        self.run(move |state| state.inboxes.postpone(fence, until, failures))
    }

    fn failures<'a>(&'a self, user: &'a UserId) -> Pending<'a, u32> {
        self.run(|state| Ok(state.inboxes.boxes.get(user).map_or(0, |inbox| inbox.failures)))
    }

    fn due(&self, now: Millis, limit: usize) -> Pending<'_, Vec<UserId>> {
        self.run(move |state| {
            let due = state.inboxes.due.iter().take_while(|(when, _)| *when <= now);
            Ok(due.take(limit.min(PAGE_MAX)).map(|(_, user)| user.clone()).collect())
        })
    }

    fn counts<'a>(&'a self, user: &'a UserId) -> Pending<'a, Counts> {
        self.run(|state| {
            let inbox = state.inboxes.boxes.get(user);
            Ok(inbox.map_or(Counts::default(), |inbox| Counts {
                items: inbox.items.len() as u64,
                octets: inbox.octets,
            }))
        })
    }

    fn expired(&self, now: Millis, limit: usize) -> Pending<'_, Vec<Item>> {
        self.run(move |state| Ok(state.inboxes.expired(now, limit.min(PAGE_MAX))))
    }

    fn recipients<'a>(
        &'a self,
        after: Option<&'a UserId>,
        limit: usize,
    ) -> Pending<'a, Vec<UserId>> {
        self.run(move |state| Ok(state.inboxes.recipients(after, limit.min(PAGE_MAX))))
    }

    fn waiting(&self) -> u64 {
        self.at_once(|state| Ok(state.inboxes.waiting)).unwrap_or(0)
    }

    fn rebuild(&self) -> Pending<'_, u64> {
        self.run(|state| {
            let State { registrations, lapses, inboxes, .. } = state;
            *lapses = registrations.iter().map(|(u, r)| (r.lapses_at, u.clone())).collect();
            let All { boxes, due, expiry, .. } = inboxes;
            due.clear();
            expiry.clear();
            for (user, inbox) in boxes {
                due.extend(inbox.due.map(|when| (when, user.clone())));
                expiry.extend(
                    inbox.items.iter().map(|(seq, held)| (held.item.expires, user.clone(), *seq)),
                );
            }
            Ok((lapses.len() + due.len() + expiry.len()) as u64)
        })
    }
}
