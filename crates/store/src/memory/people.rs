//! Registrations and profiles in memory.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::{Memory, State};
use crate::identity::check_identity;
use crate::names::{claim, claim_own, forget, learn};
use crate::registration::told_names;
use crate::settings::End;
use crate::{
    Binding, Bound, Cached, Creation, Millis, PAGE_MAX, Pending, Profile, Profiles, Publication,
    Registration, RegistrationId, Registrations, StoreError, UserId,
};

impl State {
    fn bind(&mut self, binding: &Binding, now: Millis) -> Result<Bound, StoreError> {
        binding.check()?;
        let user = &binding.user;
        let known = self.registrations.get(user).cloned();
        let id = RegistrationId(self.registered + 1);
        let Some(bound) = Registration::after(known.as_deref(), binding, id, now) else {
            return Ok(Bound::Stale);
        };
        let (Bound::New(record) | Bound::Refreshed(record)) = &bound else { return Ok(bound) };
        if record.id == id {
            self.registered += 1;
        }
        let old = self.learnt.get(user).cloned().unwrap_or_default();
        let told = told_names(record, &old, binding);
        learn(self, user, &old, &told)?;
        self.learnt.insert(user.clone(), told);
        if let Some(known) = known {
            self.lapses.remove(&(known.lapses_at, user.clone()));
            if record.id == id {
                self.end_published(user, &End::Lapsed(&known));
            }
        }
        self.lapses.insert((record.lapses_at, user.clone()));
        self.registrations.insert(user.clone(), record.clone());
        Ok(bound)
    }

    fn unbind(&mut self, user: &UserId, lapsed: Option<Millis>) -> Option<Arc<Registration>> {
        let known = self.registrations.get(user)?;
        if lapsed.is_some_and(|now| !known.has_lapsed(now)) {
            return None;
        }
        let ended = self.registrations.remove(user)?;
        self.lapses.remove(&(ended.lapses_at, user.clone()));
        self.end_published(user, &End::Deregistered(&ended));
        Some(ended)
    }

    fn publish(
        &mut self,
        user: &UserId,
        publication: Option<&Publication>,
        over: Option<&str>,
        now: Millis,
    ) -> Result<Arc<Profile>, StoreError> {
        check_identity(user.as_str())?;
        let known = self.profiles.get(user).cloned();
        let profile = Profile::publish(known.as_deref(), user, publication, over, now)?;
        if known.is_none() {
            claim_own(self, user)?;
        }
        let profile = Arc::new(profile);
        self.profiles.insert(user.clone(), profile.clone());
        Ok(profile)
    }

    /// Forgets what `user` published, if that is ended so; whether it is.
    fn end_published(&mut self, user: &UserId, end: &End<'_>) -> bool {
        let known = self.profiles.get(user);
        let Some(profile) = known.and_then(|known| known.without_published(end)) else {
            return false;
        };
        self.profiles.insert(user.clone(), Arc::new(profile));
        true
    }

    fn put(&mut self, profile: Profile) -> Result<Arc<Profile>, StoreError> {
        profile.check()?;
        let known = self.profiles.get(&profile.user).cloned();
        let profile = profile.over(known.as_deref())?;
        let old = known.map(|known| known.names().map(str::to_owned).collect::<Vec<_>>());
        let new: Vec<_> = profile.names().map(str::to_owned).collect();
        let learnt = self.learnt.get(&profile.user).cloned().unwrap_or_default();
        claim(self, &profile.user, &old.unwrap_or_default(), &new, &learnt)?;
        let profile = Arc::new(profile);
        self.profiles.insert(profile.user.clone(), profile.clone());
        Ok(profile)
    }

    fn create_default(&mut self, user: &UserId, now: Millis) -> Result<Creation, StoreError> {
        check_identity(user.as_str())?;
        if let Some(known) = self.profiles.get(user) {
            return Ok(Creation::Existing(known.clone()));
        }
        claim_own(self, user)?;
        let profile = Arc::new(Profile::new(user.clone(), now).over(None)?);
        self.profiles.insert(user.clone(), profile.clone());
        Ok(Creation::Created(profile))
    }

    fn remove(&mut self, user: &UserId) -> Result<bool, StoreError> {
        let registration = self.unbind(user, None);
        let profile = self.profiles.remove(user);
        let learnt = self.learnt.remove(user).unwrap_or_default();
        let claimed: Vec<_> = profile.iter().flat_map(|profile| profile.names()).collect();
        let names = learnt.iter().map(String::as_str).chain(claimed);
        forget(self, user, names)?;
        let inbox = self.inboxes.purge(user);
        Ok(registration.is_some() || profile.is_some() || !learnt.is_empty() || inbox)
    }
}

impl Registrations for Memory {
    fn bind(&self, binding: Binding, now: Millis) -> Pending<'_, Bound> {
        self.run(move |state| state.bind(&binding, now))
    }

    fn unbind<'a>(&'a self, user: &'a UserId) -> Pending<'a, Option<Arc<Registration>>> {
        self.run(|state| Ok(state.unbind(user, None)))
    }

    fn lapse<'a>(
        &'a self,
        user: &'a UserId,
        now: Millis,
    ) -> Pending<'a, Option<Arc<Registration>>> {
        self.run(move |state| Ok(state.unbind(user, Some(now))))
    }

    fn lookup<'a>(&'a self, user: &'a UserId) -> Pending<'a, Option<Arc<Registration>>> {
        self.run(|state| Ok(state.registrations.get(user).cloned()))
    }

    fn cached(&self, user: &str) -> Cached<Arc<Registration>> {
        self.at_once(|state| Ok(Cached::Known(state.registrations.get(user).cloned())))
            .unwrap_or(Cached::Unknown)
    }

    fn lapsed(&self, now: Millis, limit: usize) -> Pending<'_, Vec<Arc<Registration>>> {
        self.run(move |state| {
            let due = state.lapses.iter().take_while(|(when, _)| *when <= now);
            let records = due.filter_map(|(_, user)| state.registrations.get(user).cloned());
            Ok(records.take(limit.min(PAGE_MAX)).collect())
        })
    }
}

impl Profiles for Memory {
    fn profile<'a>(&'a self, user: &'a UserId) -> Pending<'a, Option<Arc<Profile>>> {
        self.run(|state| Ok(state.profiles.get(user).cloned()))
    }

    fn cached(&self, user: &str) -> Cached<Arc<Profile>> {
        self.at_once(|state| Ok(Cached::Known(state.profiles.get(user).cloned())))
            .unwrap_or(Cached::Unknown)
    }

    fn create_default<'a>(&'a self, user: &'a UserId, now: Millis) -> Pending<'a, Creation> {
        self.run(move |state| state.create_default(user, now))
    }

    fn put(&self, profile: Profile) -> Pending<'_, Arc<Profile>> {
        self.run(move |state| state.put(profile))
    }

    fn publish<'a>(
        &'a self,
        user: &'a UserId,
        publication: Option<Publication>,
        over: Option<&'a str>,
        now: Millis,
    ) -> Pending<'a, Arc<Profile>> {
        self.run(move |state| state.publish(user, publication.as_ref(), over, now))
    }

    fn lapsed_publications(&self, now: Millis, limit: usize) -> Pending<'_, Vec<UserId>> {
        self.run(move |state| {
            let published = state.profiles.values().filter_map(|profile| {
                let expires_at = profile.published.as_ref()?.expires_at;
                (expires_at <= now).then(|| (expires_at, profile.user.clone()))
            });
            let mut due: Vec<_> = published.collect();
            due.sort();
            due.truncate(limit.min(PAGE_MAX));
            Ok(due.into_iter().map(|(_, user)| user).collect())
        })
    }

    fn end_publication<'a>(&'a self, user: &'a UserId, now: Millis) -> Pending<'a, bool> {
        self.run(move |state| Ok(state.end_published(user, &End::RanOut(now))))
    }

    fn remove<'a>(&'a self, user: &'a UserId) -> Pending<'a, bool> {
        self.run(|state| state.remove(user))
    }

    fn resolve<'a>(&'a self, identity: &'a str) -> Pending<'a, Option<UserId>> {
        self.run(move |state| Ok(state.owners.get(identity).map(|owner| owner.user.clone())))
    }

    fn resolve_cached(&self, identity: &str) -> Cached<UserId> {
        self.at_once(|state| {
            Ok(Cached::Known(state.owners.get(identity).map(|owner| owner.user.clone())))
        })
        .unwrap_or(Cached::Unknown)
    }

    fn list<'a>(
        &'a self,
        after: Option<&'a UserId>,
        limit: usize,
    ) -> Pending<'a, Vec<Arc<Profile>>> {
        self.run(move |state| {
            let start = after.map_or(Unbounded, |user| Excluded(user.clone()));
            let page = state.profiles.range((start, Unbounded)).take(limit.min(PAGE_MAX));
            Ok(page.map(|(_, profile)| profile.clone()).collect())
        })
    }
}
