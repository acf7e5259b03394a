//! The identities of one user, as a REGISTER names them.

use parlance_sip::Request;
use parlance_sip::header::PAssociatedUri;
use parlance_sip::uri::Aor;
use parlance_store::{LIST_MAX, Profiles, StoreError, UserId};

/// The implicit registration set, in order and without repetition; `None` when the REGISTER does
/// not tell it. More than [`LIST_MAX`] identities are cut off.
pub(super) fn associated(request: &Request) -> Option<Vec<Aor>> {
    let list = || request.list::<PAssociatedUri<'_>>().filter_map(Result::ok);
    list().next()?;
    let mut found: Vec<Aor> = Vec::new();
    for identity in list().flat_map(|element| element.uris()).filter_map(|uri| Aor::from_uri(&uri))
    {
        if found.len() < LIST_MAX && !found.contains(&identity) {
            found.push(identity);
        }
    }
    Some(found)
}

/// The user a set of identities belongs to: whoever is known by one of them, the registered one
/// first; else the first SIP identity of the set, which is the default one (TS 24.229 §5.4.1.2).
pub(super) async fn user(
    profiles: &dyn Profiles,
    registered: &Aor,
    associated: Option<&[Aor]>,
) -> Result<UserId, StoreError> {
    // A set that does not hold the registered identity is not that identity's.
    let associated = associated.filter(|set| set.contains(registered)).unwrap_or_default();
    for identity in std::iter::once(registered).chain(associated) {
        if let Some(user) = profiles.resolve(identity.as_str()).await? {
            return Ok(user);
        }
    }
    let default = associated.iter().find(|identity| identity.scheme() == "sip");
    Ok(UserId::from(default.unwrap_or(registered).as_str()))
}
