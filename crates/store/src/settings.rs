//! The settings that a user publishes, and what holds of those and the provisioned ones
//! (OMA-TS-SIMPLE_IM §6.1.2, §7.2.3.16; RFC 3903).

use serde::{Deserialize, Serialize};

use crate::{Deferral, Millis, Profile, Registration, StoreError, UserId, Visibility};

/// Longest entity-tag in octets; local limit. A longer one is refused as
/// [`StoreError::Invalid`].
const ETAG_OCTETS_MAX: usize = 128;

/// What a published document says; what it leaves out stays as provisioned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishedSettings {
    /// Whether he can be reached by IM at all (`active`).
    pub active: Option<bool>,
    /// Whether he takes part (`vis-status`).
    pub visibility: Option<Visibility>,
    /// Whether messages are kept while he is away (`offline-delivery`).
    pub offline_delivery: Option<bool>,
    /// How kept messages reach him (`offline-delivery`).
    pub deferral: Option<Deferral>,
    /// Whether sessions are kept in his history (`session-mode`).
    pub session_history: Option<bool>,
    /// Whether pager-mode and large messages are (`pager-large-mode`).
    pub pager_large_history: Option<bool>,
}

/// A publication: soft state under its entity-tag (RFC 3903 §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Publication {
    /// The entity-tag; not empty.
    pub etag: String,
    /// When it came.
    pub since: Millis,
    /// When it ends, unless it is refreshed.
    pub expires_at: Millis,
    /// What it says.
    pub settings: PublishedSettings,
}

/// What a user wants at a moment: what he published, and for the rest what is provisioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether he can be reached by IM at all.
    pub active: bool,
    /// Whether he takes part.
    pub visibility: Visibility,
    /// Whether messages are kept while he is away; `None`: operator and sender decide.
    pub offline_delivery: Option<bool>,
    /// How kept messages reach him.
    pub deferral: Deferral,
    /// Whether sessions are kept in his history.
    pub session_history: bool,
    /// Whether pager-mode and large messages are.
    pub pager_large_history: bool,
}

impl Publication {
    /// Refuses what no implementation takes.
    fn check(&self) -> Result<(), StoreError> {
        if self.etag.is_empty() || self.etag.len() > ETAG_OCTETS_MAX {
            return Err(StoreError::Invalid("entity-tag too short or too long"));
        }
        Ok(())
    }
}

impl Profile {
    /// The publication in force at `now`.
    pub fn publication(&self, now: Millis) -> Option<&Publication> {
        self.published.as_ref().filter(|publication| publication.expires_at > now)
    }

    /// What holds at `now`.
    pub fn settings(&self, now: Millis) -> Settings {
        let said = self.publication(now).map(|publication| publication.settings);
        let said = said.unwrap_or_default();
        let session_history = said.session_history.unwrap_or(self.session_history);
        let pager_large_history = said.pager_large_history.unwrap_or(self.pager_large_history);
        Settings {
            active: said.active.unwrap_or(true),
            visibility: said.visibility.unwrap_or(self.visibility),
            offline_delivery: said.offline_delivery.or(self.offline_delivery),
            deferral: said.deferral.unwrap_or(self.deferral),
            session_history: session_history && self.rights.history,
            pager_large_history: pager_large_history && self.rights.history,
        }
    }

    /// The profile of `user` with `publication` in the place of what he published, where `over` is
    /// the entity-tag in force. One rule for every implementation.
    pub(crate) fn publish(
        known: Option<&Profile>,
        user: &UserId,
        publication: Option<&Publication>,
        over: Option<&str>,
        now: Millis,
    ) -> Result<Profile, StoreError> {
        publication.map_or(Ok(()), Publication::check)?;
        let current = known.and_then(|profile| profile.publication(now));
        if over.is_some_and(|over| current.is_none_or(|current| current.etag != over)) {
            return Err(StoreError::Conflict);
        }
        let mut profile = match known {
            Some(known) => known.clone(),
            None => Profile::new(user.clone(), now).over(None)?,
        };
        profile.published = publication.cloned();
        Ok(profile)
    }

    /// The profile without what was published and ended with `registration`, or ran out by `now`;
    /// `None` when there is no such thing.
    pub(crate) fn without_published(&self, end: &End<'_>) -> Option<Profile> {
        let published = self.published.as_ref()?;
        let ended = match end {
            End::Deregistered(registration) => registration.serves_im(),
            // Who publishes before a late REGISTER is known here publishes for the new one.
            End::Lapsed(registration) => {
                registration.serves_im() && published.since < registration.lapses_at
            }
            End::RanOut(now) => published.expires_at <= *now,
        };
        ended.then(|| Profile { published: None, ..self.clone() })
    }
}

/// What ends a publication.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    /// The registration it was made in was ended.
    Deregistered(&'a Registration),
    /// That registration had lapsed when the next one came.
    Lapsed(&'a Registration),
    /// Its own time is over.
    RanOut(Millis),
}

impl Registration {
    /// Whether it was one for instant messages: settings are published within such.
    fn serves_im(&self) -> bool {
        self.contacts.is_empty() || self.contacts.iter().any(|contact| contact.has_im_tag)
    }
}

#[cfg(test)]
mod tests {
    use super::{Publication, PublishedSettings};
    use crate::{Deferral, Millis, Profile, Rights, StoreError, Visibility};

    // Covers: PF-055, PF-056
    #[test]
    fn what_is_published_goes_before_what_is_provisioned_until_it_runs_out() {
        let provisioned = Profile {
            visibility: Visibility::Hidden,
            deferral: Deferral::Notify,
            session_history: true,
            ..Profile::new("sip:a@b".into(), Millis(0))
        };
        let settings = PublishedSettings {
            active: Some(false),
            offline_delivery: Some(false),
            pager_large_history: Some(true),
            ..PublishedSettings::default()
        };
        let expires_at = Millis(100);
        let publication = Publication { etag: "e".into(), since: Millis(1), expires_at, settings };
        let profile = Profile { published: Some(publication), ..provisioned.clone() };
        let found = profile.settings(Millis(99));
        assert_eq!((found.active, found.offline_delivery), (false, Some(false)));
        assert!(found.pager_large_history && found.session_history);
        assert_eq!((found.visibility, found.deferral), (Visibility::Hidden, Deferral::Notify));
        let rights = Rights { history: false, ..Rights::default() };
        let without = Profile { rights, ..profile.clone() }.settings(Millis(99));
        assert!(!without.pager_large_history && !without.session_history);
        let after = profile.settings(Millis(100));
        assert_eq!(after, provisioned.settings(Millis(100)));
        assert!(after.active && after.offline_delivery.is_none() && !after.pager_large_history);
    }

    #[test]
    fn entity_tags_are_bounded() {
        let with = |etag: String| {
            let publication = Publication { etag, ..Publication::default() };
            Profile::publish(None, &"sip:a@b".into(), Some(&publication), None, Millis(0))
        };
        assert!(with("e".repeat(128)).is_ok());
        for etag in [String::new(), "e".repeat(129)] {
            let refused = with(etag);
            assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
        }
    }
}
