//! Registrations, profiles and names in the file.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use redb::ReadableTable;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Embedded;
use super::keys::Agenda;
use super::redo::Logged;
use super::seal::Sealer;
use super::tables::{
    AGENDA, Change, OWNERS, PROFILES, REGISTRATIONS, Tables, due_entries, read_owner, readable,
};
use crate::identity::check_identity;
use crate::names::{claim, claim_own, forget, learn};
use crate::registration::told_names;
use crate::settings::End;
use crate::{
    Binding, Bound, Cached, Creation, Millis, PAGE_MAX, Pending, Profile, Profiles, Publication,
    Registration, RegistrationId, Registrations, StoreError, UserId,
};

/// The record of `user` in a table of sealed JSON.
fn load<T: DeserializeOwned>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    seal: &Sealer,
    what: &'static str,
    user: &str,
) -> Result<Option<T>, StoreError> {
    let Some(row) = table.get(user)? else { return Ok(None) };
    decode(seal, what, user, row.value()).map(Some)
}

fn decode<T: DeserializeOwned>(
    seal: &Sealer,
    what: &'static str,
    user: &str,
    row: &[u8],
) -> Result<T, StoreError> {
    let json = seal.open_record(&[what.as_bytes(), user.as_bytes()], row)?;
    let read = serde_json::from_slice(&json);
    read.map_err(|error| StoreError::Corrupt(format!("unreadable {what}: {error}")))
}

fn save<T: Serialize>(
    table: &mut Logged<'_, &'static str, &'static [u8]>,
    seal: &Sealer,
    what: &'static str,
    user: &str,
    record: &T,
) -> Result<(), StoreError> {
    let json = serde_json::to_vec(record).expect("the records have string keys only");
    let row = seal.seal(&[what.as_bytes(), user.as_bytes()], &json);
    table.insert(user, row.as_slice())?;
    Ok(())
}

pub(super) const REGISTRATION: &str = "registration";
pub(super) const PROFILE: &str = "profile";
pub(super) const NAMES: &str = "names";

impl Tables<'_> {
    fn learnt_names(&self, user: &UserId) -> Result<Vec<String>, StoreError> {
        Ok(load(&*self.learnt, self.seal, NAMES, user.as_str())?.unwrap_or_default())
    }

    fn bind(&mut self, binding: &Binding, now: Millis) -> Result<Bound, StoreError> {
        binding.check()?;
        let user = &binding.user;
        let known: Option<Registration> =
            load(&*self.registrations, self.seal, REGISTRATION, user.as_str())?;
        let id = RegistrationId(self.counters.registrations.saturating_add(1));
        let Some(bound) = Registration::after(known.as_ref(), binding, id, now) else {
            return Ok(Bound::Stale);
        };
        let (Bound::New(record) | Bound::Refreshed(record)) = &bound else { return Ok(bound) };
        if record.id == id {
            self.counters.registrations = id.0;
        }
        let old = self.learnt_names(user)?;
        let told = told_names(record, &old, binding);
        learn(self, user, &old, &told)?;
        if told != old {
            save(&mut self.learnt, self.seal, NAMES, user.as_str(), &told)?;
        }
        if let Some(known) = known {
            self.strike(Agenda::Lapse, known.lapses_at, user.as_str(), None)?;
            if record.id == id {
                self.end_published(user, &End::Lapsed(&known))?;
            }
        }
        self.note(Agenda::Lapse, record.lapses_at, user.as_str(), None)?;
        save(&mut self.registrations, self.seal, REGISTRATION, user.as_str(), &**record)?;
        self.changes.push(Change::Registration(user.clone(), Some(record.clone())));
        Ok(bound)
    }

    fn unbind(
        &mut self,
        user: &UserId,
        lapsed: Option<Millis>,
    ) -> Result<Option<Arc<Registration>>, StoreError> {
        let known: Option<Registration> =
            load(&*self.registrations, self.seal, REGISTRATION, user.as_str())?;
        let Some(known) = known else { return Ok(None) };
        if lapsed.is_some_and(|now| !known.has_lapsed(now)) {
            return Ok(None);
        }
        self.registrations.remove(user.as_str())?;
        self.strike(Agenda::Lapse, known.lapses_at, user.as_str(), None)?;
        self.changes.push(Change::Registration(user.clone(), None));
        self.end_published(user, &End::Deregistered(&known))?;
        Ok(Some(Arc::new(known)))
    }

    fn write_profile(&mut self, profile: Profile) -> Result<Arc<Profile>, StoreError> {
        let profile = Arc::new(profile);
        let user = profile.user.clone();
        save(&mut self.profiles, self.seal, PROFILE, user.as_str(), &*profile)?;
        self.changes.push(Change::Profile(user, Some(profile.clone())));
        Ok(profile)
    }

    fn put(&mut self, profile: Profile) -> Result<Arc<Profile>, StoreError> {
        profile.check()?;
        let user = profile.user.clone();
        let known: Option<Profile> = load(&*self.profiles, self.seal, PROFILE, user.as_str())?;
        let profile = profile.over(known.as_ref())?;
        let old = known.map(|known| known.names().map(str::to_owned).collect::<Vec<_>>());
        let new: Vec<_> = profile.names().map(str::to_owned).collect();
        let learnt = self.learnt_names(&user)?;
        claim(self, &user, &old.unwrap_or_default(), &new, &learnt)?;
        self.write_profile(profile)
    }

    fn create_default(&mut self, user: &UserId, now: Millis) -> Result<Creation, StoreError> {
        check_identity(user.as_str())?;
        if let Some(known) = load(&*self.profiles, self.seal, PROFILE, user.as_str())? {
            return Ok(Creation::Existing(Arc::new(known)));
        }
        claim_own(self, user)?;
        let profile = Profile::new(user.clone(), now).over(None)?;
        Ok(Creation::Created(self.write_profile(profile)?))
    }

    fn publish(
        &mut self,
        user: &UserId,
        publication: Option<&Publication>,
        over: Option<&str>,
        now: Millis,
    ) -> Result<Arc<Profile>, StoreError> {
        check_identity(user.as_str())?;
        let known: Option<Profile> = load(&*self.profiles, self.seal, PROFILE, user.as_str())?;
        let profile = Profile::publish(known.as_ref(), user, publication, over, now)?;
        match &known {
            Some(known) => self.strike_published(known)?,
            None => claim_own(self, user)?,
        }
        if let Some(publication) = publication {
            self.note(Agenda::Publication, publication.expires_at, user.as_str(), None)?;
        }
        self.write_profile(profile)
    }

    /// Forgets what `user` published, if that is ended so; whether it is.
    fn end_published(&mut self, user: &UserId, end: &End<'_>) -> Result<bool, StoreError> {
        let known: Option<Profile> = load(&*self.profiles, self.seal, PROFILE, user.as_str())?;
        let Some(known) = known else { return Ok(false) };
        let Some(profile) = known.without_published(end) else { return Ok(false) };
        self.strike_published(&known)?;
        self.write_profile(profile)?;
        Ok(true)
    }

    fn strike_published(&mut self, profile: &Profile) -> Result<(), StoreError> {
        let Some(published) = &profile.published else { return Ok(()) };
        self.strike(Agenda::Publication, published.expires_at, profile.user.as_str(), None)
    }

    fn remove(&mut self, user: &UserId) -> Result<bool, StoreError> {
        let registration = self.unbind(user, None)?;
        let profile: Option<Profile> = load(&*self.profiles, self.seal, PROFILE, user.as_str())?;
        profile.as_ref().map_or(Ok(()), |profile| self.strike_published(profile))?;
        self.profiles.remove(user.as_str())?;
        self.changes.push(Change::Profile(user.clone(), None));
        let learnt = self.learnt_names(user)?;
        self.learnt.remove(user.as_str())?;
        let claimed: Vec<_> = profile.iter().flat_map(|profile| profile.names()).collect();
        forget(self, user, learnt.iter().map(String::as_str).chain(claimed))?;
        let inbox = self.purge(user)?;
        Ok(registration.is_some() || profile.is_some() || !learnt.is_empty() || inbox)
    }
}

impl Registrations for Embedded {
    fn bind(&self, binding: Binding, now: Millis) -> Pending<'_, Bound> {
        Box::pin(self.shared.change(1024, move |tables| tables.bind(&binding, now)))
    }

    fn unbind<'a>(&'a self, user: &'a UserId) -> Pending<'a, Option<Arc<Registration>>> {
        let user = user.clone();
        Box::pin(self.shared.change(64, move |tables| tables.unbind(&user, None)))
    }

    fn lapse<'a>(
        &'a self,
        user: &'a UserId,
        now: Millis,
    ) -> Pending<'a, Option<Arc<Registration>>> {
        let user = user.clone();
        Box::pin(self.shared.change(64, move |tables| tables.unbind(&user, Some(now))))
    }

    fn lookup<'a>(&'a self, user: &'a UserId) -> Pending<'a, Option<Arc<Registration>>> {
        if let Cached::Known(known) = self.shared.registrations.look(user) {
            return Box::pin(std::future::ready(Ok(known)));
        }
        let ticket = self.shared.registrations.ticket(user);
        Box::pin(self.shared.read(user.clone(), move |reading, user| {
            let table = reading.transaction.open_table(REGISTRATIONS)?;
            let found = load(&table, reading.seal, REGISTRATION, user.as_str())?.map(Arc::new);
            reading.shared.registrations.fill(ticket, &user, user.clone(), found.clone());
            Ok(found)
        }))
    }

    fn cached(&self, user: &str) -> Cached<Arc<Registration>> {
        self.shared.registrations.look(user)
    }

    fn lapsed(&self, now: Millis, limit: usize) -> Pending<'_, Vec<Arc<Registration>>> {
        Box::pin(self.shared.read((), move |reading, ()| {
            let agenda = reading.transaction.open_table(AGENDA)?;
            let table = reading.transaction.open_table(REGISTRATIONS)?;
            let due = due_entries(&agenda, Agenda::Lapse, now, limit.min(PAGE_MAX))?;
            let records = due.iter().filter_map(|(user, _)| {
                load(&table, reading.seal, REGISTRATION, user.as_str()).transpose()
            });
            records.filter_map(readable).map(|record| record.map(Arc::new)).collect()
        }))
    }
}

impl Profiles for Embedded {
    fn profile<'a>(&'a self, user: &'a UserId) -> Pending<'a, Option<Arc<Profile>>> {
        if let Cached::Known(known) = self.shared.profiles.look(user) {
            return Box::pin(std::future::ready(Ok(known)));
        }
        let ticket = self.shared.profiles.ticket(user);
        Box::pin(self.shared.read(user.clone(), move |reading, user| {
            let table = reading.transaction.open_table(PROFILES)?;
            let found = load(&table, reading.seal, PROFILE, user.as_str())?.map(Arc::new);
            reading.shared.profiles.fill(ticket, &user, user.clone(), found.clone());
            Ok(found)
        }))
    }

    fn cached(&self, user: &str) -> Cached<Arc<Profile>> {
        self.shared.profiles.look(user)
    }

    fn create_default<'a>(&'a self, user: &'a UserId, now: Millis) -> Pending<'a, Creation> {
        let user = user.clone();
        Box::pin(self.shared.change(1024, move |tables| tables.create_default(&user, now)))
    }

    fn put(&self, profile: Profile) -> Pending<'_, Arc<Profile>> {
        Box::pin(self.shared.change(4096, move |tables| tables.put(profile.clone())))
    }

    fn publish<'a>(
        &'a self,
        user: &'a UserId,
        publication: Option<Publication>,
        over: Option<&'a str>,
        now: Millis,
    ) -> Pending<'a, Arc<Profile>> {
        let (user, over) = (user.clone(), over.map(str::to_owned));
        Box::pin(self.shared.change(1024, move |tables| {
            tables.publish(&user, publication.as_ref(), over.as_deref(), now)
        }))
    }

    fn lapsed_publications(&self, now: Millis, limit: usize) -> Pending<'_, Vec<UserId>> {
        Box::pin(self.shared.read((), move |reading, ()| {
            let agenda = reading.transaction.open_table(AGENDA)?;
            let due = due_entries(&agenda, Agenda::Publication, now, limit.min(PAGE_MAX))?;
            Ok(due.into_iter().map(|(user, _)| user).collect())
        }))
    }

    fn end_publication<'a>(&'a self, user: &'a UserId, now: Millis) -> Pending<'a, bool> {
        let user = user.clone();
        Box::pin(
            self.shared.change(64, move |tables| tables.end_published(&user, &End::RanOut(now))),
        )
    }

    fn remove<'a>(&'a self, user: &'a UserId) -> Pending<'a, bool> {
        let user = user.clone();
        Box::pin(self.shared.change(64, move |tables| tables.remove(&user)))
    }

    fn resolve<'a>(&'a self, identity: &'a str) -> Pending<'a, Option<UserId>> {
        if let Cached::Known(known) = self.shared.owners.look(identity) {
            return Box::pin(std::future::ready(Ok(known)));
        }
        let ticket = self.shared.owners.ticket(identity);
        Box::pin(self.shared.read(identity.to_owned(), move |reading, identity| {
            let table = reading.transaction.open_table(OWNERS)?;
            let row = table.get(identity.as_str())?;
            let owner = row.map(|row| read_owner(row.value())).transpose()?;
            let user = owner.map(|owner| owner.user);
            let own = identity.as_str().into();
            reading.shared.owners.fill(ticket, identity.as_str(), own, user.clone());
            Ok(user)
        }))
    }

    fn resolve_cached(&self, identity: &str) -> Cached<UserId> {
        self.shared.owners.look(identity)
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a UserId>,
        limit: usize,
    ) -> Pending<'a, Vec<Arc<Profile>>> {
        Box::pin(self.shared.read(after.cloned(), move |reading, after| {
            let table = reading.transaction.open_table(PROFILES)?;
            let start = after.as_ref().map_or(Unbounded, |user| Excluded(user.as_str()));
            let rows = table.range::<&str>((start, Unbounded))?.take(limit.min(PAGE_MAX));
            rows.map(|row| {
                let (user, row) = row?;
                decode(reading.seal, PROFILE, user.value(), row.value()).map(Arc::new)
            })
            .collect()
        }))
    }
}
