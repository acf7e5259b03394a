//! Whether a user can be reached for instant messaging.

use parlance_store::{Millis, Profile, Registration, Visibility};

/// Whether a user can be reached, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// He can.
    Available,
    /// He is not registered, or with no client that has the feature tag.
    NotRegistered,
    /// He set his visibility to offline.
    Invisible,
    /// He switched the service off.
    Inactive,
    /// His presence says closed.
    Closed,
}

/// Whether a user can be reached: registered with the feature tag, neither invisible nor
/// inactive, and, where
/// presence is used, not closed (OMA-TS-SIMPLE_IM §7.2.1).
///
/// `presence` is whether his presence says open; `None` when it is not used or says nothing.
pub fn availability(
    registration: Option<&Registration>,
    profile: Option<&Profile>,
    presence: Option<bool>,
    now: Millis,
) -> Availability {
    let live = registration.filter(|registration| !registration.has_lapsed(now));
    let settings = profile.map(|profile| profile.settings(now));
    if !live.is_some_and(has_im_contact) {
        Availability::NotRegistered
    } else if settings.is_some_and(|settings| settings.visibility == Visibility::Offline) {
        Availability::Invisible
    } else if settings.is_some_and(|settings| !settings.active) {
        Availability::Inactive
    } else if presence == Some(false) {
        Availability::Closed
    } else {
        Availability::Available
    }
}

/// Whether a contact has the feature tag. Where no REGISTER showed any contact, the filter
/// criterion that led here says so itself.
pub fn has_im_contact(registration: &Registration) -> bool {
    let contacts = &registration.contacts;
    contacts.is_empty() || contacts.iter().any(|contact| contact.has_im_tag)
}

#[cfg(test)]
mod tests {
    use parlance_store::{Contact, Millis, Profile, Publication, PublishedSettings};
    use parlance_store::{Registration, Visibility};

    use super::{Availability, availability};

    // Covers: PF-004, PF-056, CORE-022
    #[test]
    fn a_user_is_available_when_everything_says_so() {
        let contact = |has_im_tag| Contact { has_im_tag, ..Contact::default() };
        let registration = |contacts: &[bool]| Registration {
            lapses_at: Millis(100),
            contacts: contacts.iter().map(|tag| contact(*tag)).collect(),
            ..Registration::default()
        };
        let visible = Profile::default();
        let offline = Profile { visibility: Visibility::Offline, ..Profile::default() };
        let publication = |settings| {
            let expires_at = Millis(60);
            Some(Publication { expires_at, settings, ..Publication::default() })
        };
        let inactive = PublishedSettings { active: Some(false), ..PublishedSettings::default() };
        let inactive = Profile { published: publication(inactive), ..Profile::default() };
        let hidden = Some(Visibility::Hidden);
        let hidden = PublishedSettings { visibility: hidden, ..PublishedSettings::default() };
        let hidden = Profile { published: publication(hidden), ..offline.clone() };
        use Availability::{Available, Closed, Inactive, Invisible, NotRegistered};
        #[rustfmt::skip]
        let table = [
            (Some(registration(&[true])),        &visible, None,        50, Available),
            (Some(registration(&[false, true])), &visible, Some(true),  50, Available),
            (Some(registration(&[])),            &visible, None,        50, Available),
            (Some(registration(&[false])),       &visible, None,        50, NotRegistered),
            (Some(registration(&[true])),        &visible, None,       100, NotRegistered),
            (None,                               &visible, None,        50, NotRegistered),
            (Some(registration(&[true])),        &offline, None,        50, Invisible),
            (Some(registration(&[true])),        &visible, Some(false), 50, Closed),
            (Some(registration(&[true])),        &inactive, None,       59, Inactive),
            (Some(registration(&[true])),        &inactive, None,       60, Available),
            (Some(registration(&[true])),        &hidden,  None,        59, Available),
            (Some(registration(&[true])),        &hidden,  None,        60, Invisible),
        ];
        for (registration, profile, presence, now, expected) in table {
            let found = availability(registration.as_ref(), Some(profile), presence, Millis(now));
            assert_eq!(found, expected, "{registration:?}");
        }
        let registered = registration(&[true]);
        assert_eq!(availability(Some(&registered), None, None, Millis(1)), Available);
    }
}
