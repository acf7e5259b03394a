//! Deferred messages in the file.

use std::ops::Bound::{Excluded, Included, Unbounded};

use redb::ReadableTable;

use super::inbox_records::{Head, State};
use super::keys::{self, Agenda};
use super::tables::{AGENDA, BODIES, INBOX, Tables, due_entries, readable};
use super::{Embedded, Reading};
use crate::identity::check_identity;
use crate::{
    Accepted, Attempt, Counts, Fence, Inboxes, Item, Millis, NewItem, PAGE_MAX, Pending, Quota,
    Seq, Settlement, StoreError, UserId, Withdrawn,
};

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

fn body_context<'a>(user: &'a str, seq: &'a [u8; 8]) -> [&'a [u8]; 3] {
    [b"body", user.as_bytes(), seq]
}

impl Tables<'_> {
    pub(super) fn state(&self, user: &str) -> Result<Option<State>, StoreError> {
        State::load(&*self.inbox, user)
    }

    pub(super) fn save(&mut self, user: &str, state: &State) -> Result<(), StoreError> {
        self.inbox.insert(keys::state(user).as_slice(), state.write().as_slice())?;
        Ok(())
    }

    /// Changes when the inbox is due, in the state and in the agenda.
    fn set_due(
        &mut self,
        user: &str,
        state: &mut State,
        due: Option<Millis>,
    ) -> Result<(), StoreError> {
        if state.due == due {
            return Ok(());
        }
        if let Some(old) = state.due {
            self.strike(Agenda::Due, old, user, None)?;
        }
        if let Some(new) = due {
            self.note(Agenda::Due, new, user, None)?;
        }
        state.due = due;
        Ok(())
    }

    fn head(&self, user: &str, seq: Seq) -> Result<Option<Head>, StoreError> {
        let row = self.inbox.get(keys::item(user, seq).as_slice())?;
        row.map(|row| Head::open(self.seal, user, seq, row.value())).transpose()
    }

    fn accept(
        &mut self,
        item: &NewItem,
        quota: Quota,
        now: Millis,
    ) -> Result<Accepted, StoreError> {
        item.check()?;
        self.now = self.now.max(Some(now));
        let user = item.recipient.as_str();
        let mut state = self.state(user)?.unwrap_or_default();
        if let Some(seq) = self.known(user, &state, &item.dedup, now)? {
            return Ok(Accepted::Duplicate(seq));
        }
        let size = item.payload.len() as u64;
        let octets = state.octets.saturating_add(size);
        if state.items >= quota.items_max || octets > quota.octets_max {
            return Ok(Accepted::Full);
        }
        state.last = state.last.saturating_add(1);
        state.items = state.items.saturating_add(1);
        state.octets = octets;
        let seq = Seq(state.last);
        self.remember(user, &mut state, &item.dedup, seq, now)?;
        let leased = Some(state.leased_until).filter(|until| *until > now);
        let due = [state.due, item.due, leased].into_iter().flatten().min();
        self.set_due(user, &mut state, due)?;
        self.note(Agenda::Expire, item.expires, user, Some(seq))?;
        self.counters.bodies = self.counters.bodies.saturating_add(1);
        let head = Head {
            body: self.counters.bodies,
            octets: size,
            received: item.received,
            expires: item.expires,
            wants_negative_delivery: item.wants_negative_delivery,
            private: item.private,
            originator: item.originator.clone(),
            sending: None,
            attempt: None,
        };
        let row = head.seal(self.seal, user, seq);
        self.inbox.insert(keys::item(user, seq).as_slice(), row.as_slice())?;
        let body = self.seal.seal(&body_context(user, &seq.0.to_be_bytes()), &item.payload);
        self.bodies.insert(head.body, body.as_slice())?;
        self.save(user, &state)?;
        Ok(Accepted::Stored(seq))
    }

    fn lease(
        &mut self,
        user: &UserId,
        holder: u64,
        until: Millis,
        now: Millis,
    ) -> Result<Option<Fence>, StoreError> {
        check_identity(user.as_str())?;
        let mut state = self.state(user.as_str())?.unwrap_or_default();
        let live = state.leased_until > now;
        if live && state.holder != holder {
            return Ok(None);
        }
        if !live {
            state.token = state.token.saturating_add(1).max(now.0);
            state.holder = holder;
        }
        state.leased_until = until;
        if state.items > 0 {
            self.set_due(user.as_str(), &mut state, Some(until))?;
        }
        self.save(user.as_str(), &state)?;
        Ok(Some(Fence { user: user.clone(), token: state.token }))
    }

    fn fenced(&self, fence: &Fence) -> Result<State, StoreError> {
        let state = self.state(fence.user.as_str())?.ok_or(StoreError::Fenced)?;
        if state.token == fence.token { Ok(state) } else { Err(StoreError::Fenced) }
    }

    fn release(&mut self, fence: &Fence) -> Result<(), StoreError> {
        let mut state = self.fenced(fence)?;
        state.token = state.token.saturating_add(1);
        state.epoch = state.epoch.saturating_add(1);
        state.leased_until = Millis(0);
        self.set_due(fence.user.as_str(), &mut state, None)?;
        self.save(fence.user.as_str(), &state)
    }

    fn attempt(&mut self, fence: &Fence, seq: Seq, attempt: &Attempt) -> Result<bool, StoreError> {
        attempt.check()?;
        let state = self.fenced(fence)?;
        let user = fence.user.as_str();
        let Some(head) = self.head(user, seq)? else { return Ok(false) };
        let head = Head { sending: Some(state.epoch), attempt: Some(attempt.clone()), ..head };
        let row = head.seal(self.seal, user, seq);
        self.inbox.insert(keys::item(user, seq).as_slice(), row.as_slice())?;
        Ok(true)
    }

    fn drop_item(&mut self, user: &str, mut state: State, seq: Seq) -> Result<bool, StoreError> {
        let Some(head) = self.head(user, seq)? else { return Ok(false) };
        self.inbox.remove(keys::item(user, seq).as_slice())?;
        self.bodies.remove(head.body)?;
        self.strike(Agenda::Expire, head.expires, user, Some(seq))?;
        state.items = state.items.saturating_sub(1);
        state.octets = state.octets.saturating_sub(head.octets);
        if state.items == 0 {
            state.failures = 0;
            self.set_due(user, &mut state, None)?;
        }
        self.save(user, &state)?;
        Ok(true)
    }

    fn settle(&mut self, fence: &Fence, seq: Seq) -> Result<bool, StoreError> {
        let state = self.fenced(fence)?;
        self.drop_item(fence.user.as_str(), state, seq)
    }

    fn withdraw(&mut self, user: &str, seq: Seq, now: Millis) -> Result<Withdrawn, StoreError> {
        let Some(state) = self.state(user)? else { return Ok(Withdrawn::Gone) };
        let Some(head) = self.head(user, seq)? else { return Ok(Withdrawn::Gone) };
        if head.sending == Some(state.epoch) && state.leased_until > now {
            return Ok(Withdrawn::InFlight);
        }
        self.drop_item(user, state, seq)?;
        Ok(Withdrawn::Removed)
    }

    fn postpone(&mut self, fence: &Fence, until: Millis, failures: u32) -> Result<(), StoreError> {
        let mut state = self.fenced(fence)?;
        state.epoch = state.epoch.saturating_add(1);
        if state.items > 0 {
            state.failures = failures;
            self.set_due(fence.user.as_str(), &mut state, Some(until))?;
        }
        self.save(fence.user.as_str(), &state)
    }

    /// Removes the inbox of `user` and all that is remembered of it.
    pub(super) fn purge(&mut self, user: &UserId) -> Result<bool, StoreError> {
        let user = user.as_str();
        let Some(mut state) = self.state(user)? else { return Ok(false) };
        let (start, end) = (keys::item(user, Seq(0)), keys::after_user(user));
        let mut heads = Vec::new();
        for row in self.inbox.range(start.as_slice()..end.as_slice())? {
            let (key, row) = row?;
            let (_, _, rest) = keys::parse_inbox(key.value())?;
            let seq = keys::parse_seq(rest)?;
            // An unreadable one goes too; only its body and its index entry cannot be found.
            let head = readable(Head::open(self.seal, user, seq, row.value())).transpose()?;
            heads.extend(head.map(|head| (seq, head)));
        }
        for (seq, head) in heads {
            self.bodies.remove(head.body)?;
            self.strike(Agenda::Expire, head.expires, user, Some(seq))?;
        }
        self.set_due(user, &mut state, None)?;
        self.set_forget(user, &mut state, None)?;
        let start = keys::state(user);
        self.inbox.retain_in(start.as_slice()..end.as_slice(), |_, _| false)?;
        Ok(true)
    }
}

impl Reading<'_> {
    /// The item `seq` of `user` with its payload, whose head is `row`.
    fn item(
        &self,
        bodies: &impl ReadableTable<u64, &'static [u8]>,
        user: &UserId,
        seq: Seq,
        row: &[u8],
    ) -> Result<Item, StoreError> {
        let head = Head::open(self.seal, user.as_str(), seq, row)?;
        let body = bodies.get(head.body)?.ok_or_else(|| damaged("missing payload"))?;
        let number = seq.0.to_be_bytes();
        let context = body_context(user.as_str(), &number);
        let payload = self.seal.open_record(&context, body.value())?;
        Ok(head.with_payload(user, seq, payload))
    }

    fn items(&self, user: &UserId, after: Seq, limit: usize) -> Result<Vec<Item>, StoreError> {
        let inbox = self.transaction.open_table(INBOX)?;
        let bodies = self.transaction.open_table(BODIES)?;
        let start = keys::item(user.as_str(), after);
        let end = keys::after_user(user.as_str());
        let rows = inbox.range::<&[u8]>((Excluded(&*start), Excluded(&*end)))?.take(limit);
        rows.map(|row| {
            let (key, row) = row?;
            let (_, _, rest) = keys::parse_inbox(key.value())?;
            self.item(&bodies, user, keys::parse_seq(rest)?, row.value())
        })
        .collect()
    }

    fn expired(&self, now: Millis, limit: usize) -> Result<Vec<Item>, StoreError> {
        let agenda = self.transaction.open_table(AGENDA)?;
        let inbox = self.transaction.open_table(INBOX)?;
        let bodies = self.transaction.open_table(BODIES)?;
        let mut items = Vec::new();
        for (user, seq) in due_entries(&agenda, Agenda::Expire, now, limit)? {
            let seq = seq.ok_or_else(|| damaged("unreadable agenda key"))?;
            if let Some(row) = inbox.get(keys::item(user.as_str(), seq).as_slice())? {
                let item = self.item(&bodies, &user, seq, row.value());
                items.extend(readable(item).transpose()?);
            }
        }
        Ok(items)
    }

    /// Skips from the state of one recipient to that of the next.
    fn recipients(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<UserId>, StoreError> {
        let inbox = self.transaction.open_table(INBOX)?;
        let mut found = Vec::new();
        let mut start = after.map(|user| keys::after_user(user.as_str()));
        while found.len() < limit {
            let bound = start.as_deref().map_or(Unbounded, Included);
            let Some(row) = inbox.range::<&[u8]>((bound, Unbounded))?.next() else { break };
            let (key, row) = row?;
            let (user, kind, _) = keys::parse_inbox(key.value())?;
            if kind == keys::STATE && State::read(row.value())?.items > 0 {
                found.push(UserId::from(user));
            }
            start = Some(keys::after_user(user));
        }
        Ok(found)
    }
}

impl Inboxes for Embedded {
    fn accept(&self, item: NewItem, quota: Quota, now: Millis) -> Pending<'_, Accepted> {
        let octets = item.payload.len() + 512;
        Box::pin(self.shared.change(octets, move |tables| tables.accept(&item, quota, now)))
    }

    fn lease<'a>(
        &'a self,
        user: &'a UserId,
        holder: u64,
        until: Millis,
        now: Millis,
    ) -> Pending<'a, Option<Fence>> {
        let user = user.clone();
        Box::pin(self.shared.change(64, move |tables| tables.lease(&user, holder, until, now)))
    }

    fn release<'a>(&'a self, fence: &'a Fence) -> Pending<'a, ()> {
        let fence = fence.clone();
        Box::pin(self.shared.change(64, move |tables| tables.release(&fence)))
    }

    fn head<'a>(&'a self, user: &'a UserId, after: Seq, limit: usize) -> Pending<'a, Vec<Item>> {
        Box::pin(self.shared.read(user.clone(), move |reading, user| {
            reading.items(&user, after, limit.min(PAGE_MAX))
        }))
    }

    fn attempt<'a>(&'a self, fence: &'a Fence, seq: Seq, attempt: Attempt) -> Pending<'a, bool> {
        let fence = fence.clone();
        Box::pin(self.shared.change(512, move |tables| tables.attempt(&fence, seq, &attempt)))
    }

    fn settle<'a>(&'a self, fence: &'a Fence, seq: Seq, how: Settlement) -> Pending<'a, bool> {
        let fence = fence.clone();
        Box::pin(async move {
            let settled = self.shared.change(64, move |tables| tables.settle(&fence, seq)).await?;
            how.count(settled);
            Ok(settled)
        })
    }

    fn withdraw<'a>(&'a self, user: &'a UserId, seq: Seq, now: Millis) -> Pending<'a, Withdrawn> {
        let user = user.clone();
        Box::pin(self.shared.change(64, move |tables| tables.withdraw(user.as_str(), seq, now)))
    }

    fn postpone<'a>(&'a self, fence: &'a Fence, until: Millis, failures: u32) -> Pending<'a, ()> {
        let fence = fence.clone();
        Box::pin(self.shared.change(64, move |tables| tables.postpone(&fence, until, failures)))
    }

    fn failures<'a>(&'a self, user: &'a UserId) -> Pending<'a, u32> {
        Box::pin(self.shared.read(user.clone(), |reading, user| {
            let state = State::load(&reading.transaction.open_table(INBOX)?, user.as_str())?;
            Ok(state.map_or(0, |state| state.failures))
        }))
    }

    fn due(&self, now: Millis, limit: usize) -> Pending<'_, Vec<UserId>> {
        Box::pin(self.shared.read((), move |reading, ()| {
            let agenda = reading.transaction.open_table(AGENDA)?;
            let due = due_entries(&agenda, Agenda::Due, now, limit.min(PAGE_MAX))?;
            Ok(due.into_iter().map(|(user, _)| user).collect())
        }))
    }

    fn counts<'a>(&'a self, user: &'a UserId) -> Pending<'a, Counts> {
        Box::pin(self.shared.read(user.clone(), |reading, user| {
            let state = State::load(&reading.transaction.open_table(INBOX)?, user.as_str())?;
            let state = state.unwrap_or_default();
            Ok(Counts { items: state.items, octets: state.octets })
        }))
    }

    fn expired(&self, now: Millis, limit: usize) -> Pending<'_, Vec<Item>> {
        Box::pin(self.shared.read((), move |reading, ()| reading.expired(now, limit.min(PAGE_MAX))))
    }

    fn recipients<'a>(
        &'a self,
        after: Option<&'a UserId>,
        limit: usize,
    ) -> Pending<'a, Vec<UserId>> {
        Box::pin(self.shared.read(after.cloned(), move |reading, after| {
            reading.recipients(after.as_ref(), limit.min(PAGE_MAX))
        }))
    }

    fn waiting(&self) -> u64 {
        self.shared.waiting()
    }

    fn rebuild(&self) -> Pending<'_, u64> {
        Box::pin(self.shared.change(64, |tables| tables.rebuild_agenda()))
    }
}
