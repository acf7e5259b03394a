//! The user behind an identity.

use std::sync::Arc;

use parlance_sip::uri::Aor;
use parlance_store::{Cached, Millis, Profile, Profiles, Registration, Registrations};
use parlance_store::{StoreError, UserId};

/// What is kept about the user an identity belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscriber {
    /// The identity belongs to a user.
    Known {
        /// Who it is.
        user: UserId,
        /// His settings; `None` when there are none yet.
        profile: Option<Arc<Profile>>,
        /// His registration, unless it has lapsed.
        registration: Option<Arc<Registration>>,
    },
    /// Nobody is known by it.
    Unknown,
}

impl Subscriber {
    /// Who it is; `None` when nobody is known.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::Known { user, .. } => Some(user),
            Self::Unknown => None,
        }
    }

    /// His settings, when there are any.
    pub fn profile(&self) -> Option<&Arc<Profile>> {
        match self {
            Self::Known { profile, .. } => profile.as_ref(),
            Self::Unknown => None,
        }
    }

    /// His registration, when there is one.
    pub fn registration(&self) -> Option<&Arc<Registration>> {
        match self {
            Self::Known { registration, .. } => registration.as_ref(),
            Self::Unknown => None,
        }
    }

    /// Whether `identity` is one of his: in his registration or among his aliases.
    pub fn has(&self, identity: &Aor) -> bool {
        let is = |text: &String| text == identity.as_str();
        self.user().is_some_and(|user| user.as_str() == identity.as_str())
            || self.profile().is_some_and(|profile| profile.aliases.iter().any(is))
            || self.registration().is_some_and(|registration| {
                registration.public_ids.iter().chain(&registration.aliases).any(is)
            })
    }
}

/// Finds the user an identity belongs to, sip or tel, with settings and registration. Does not wait
/// when the store has all three at hand.
///
/// # Errors
/// Those of the store.
pub async fn look_up(
    profiles: &dyn Profiles,
    registrations: &dyn Registrations,
    identity: &Aor,
    now: Millis,
) -> Result<Subscriber, StoreError> {
    let user = match profiles.resolve_cached(identity.as_str()) {
        Cached::Known(user) => user,
        Cached::Unknown => profiles.resolve(identity.as_str()).await?,
    };
    let Some(user) = user else { return Ok(Subscriber::Unknown) };
    let profile = match profiles.cached(user.as_str()) {
        Cached::Known(profile) => profile,
        Cached::Unknown => profiles.profile(&user).await?,
    };
    let registration = match registrations.cached(user.as_str()) {
        Cached::Known(registration) => registration,
        Cached::Unknown => registrations.lookup(&user).await?,
    };
    let registration = registration.filter(|registration| !registration.has_lapsed(now));
    Ok(Subscriber::Known { user, profile, registration })
}

#[cfg(test)]
mod tests {
    use parlance_store::{Millis, Profile, Store};

    use super::{Subscriber, look_up};

    // Covers: CORE-040
    #[tokio::test]
    async fn a_number_leads_to_its_user() {
        let store = Store::memory();
        let profile = Profile {
            aliases: vec!["tel:+15550000002".into()],
            ..Profile::new("sip:bob@ims.test".into(), Millis(1))
        };
        store.profiles.put(profile).await.unwrap();
        let of = async |text: &str| {
            let identity = text.parse().unwrap();
            look_up(&*store.profiles, &*store.registrations, &identity, Millis(2)).await.unwrap()
        };
        let bob = of("tel:+1-555-000-0002").await;
        assert_eq!(bob.user().unwrap().as_str(), "sip:bob@ims.test");
        assert!(bob.has(&"tel:+15550000002".parse().unwrap()));
        assert!(bob.has(&"sip:bob@ims.test".parse().unwrap()));
        assert!(!bob.has(&"sip:eve@ims.test".parse().unwrap()));
        assert_eq!(of("tel:+15550000003").await, Subscriber::Unknown);
    }
}
