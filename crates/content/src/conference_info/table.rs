//! What the documents of one subscription add up to (RFC 4575 §4.6).

use super::read::ROWS_MAX;
use super::{Conference, Document, Endpoint, EndpointRow, Extent, Medium, User, UserRow, Users};

/// The conference that one subscription tells about.
///
/// A new subscription begins with a new one: versions count within one. No more than 4096 users
/// with as many endpoints each are kept; what changes would add beyond is left out, and the whole
/// state is asked for as after a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConferenceInfo {
    version: Option<u32>,
    is_complete: bool,
    is_over: bool,
    conference: Conference,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Its version is not above the last: it is late or repeated, and was dropped.
    Stale,
    /// It was taken, and nothing is missing.
    Taken,
    /// What was told before it is missing: a refresh SUBSCRIBE brings the whole state.
    Incomplete,
    /// The conference is over: SUBSCRIBE with Expires 0.
    Over,
}

impl ConferenceInfo {
    /// One that nothing was told to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a document.
    pub fn apply(&mut self, document: Document) -> Applied {
        let Document { version, extent, description, state, users, .. } = document;
        let last = self.version;
        if last.is_some_and(|last| version <= last) {
            return Applied::Stale;
        }
        match extent {
            Extent::Deleted => {
                *self = Self { version: Some(version), is_over: true, ..Self::default() };
                return Applied::Over;
            }
            Extent::Full => {
                self.conference = Conference::default();
                self.is_complete = true;
            }
            Extent::Partial => {
                let follows = last.and_then(|last| last.checked_add(1)) == Some(version);
                if !follows || !self.is_complete {
                    self.is_complete = false;
                    return Applied::Incomplete;
                }
            }
        }
        self.version = Some(version);
        if let Some(description) = description {
            self.conference.description = description;
        }
        if let Some(state) = state {
            self.conference.state = state;
        }
        if let Some(users) = users {
            self.is_complete &= update_users(&mut self.conference.users, users);
        }
        if self.is_complete { Applied::Taken } else { Applied::Incomplete }
    }

    /// What is known of the conference.
    pub fn conference(&self) -> &Conference {
        &self.conference
    }

    /// The user with this `entity`.
    pub fn user(&self, entity: &str) -> Option<&User> {
        self.conference.users.iter().find(|user| user.entity == entity)
    }

    /// The version of the last document taken.
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// Whether nothing is missing: a full document came, and every one after it.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether the conference ceased to exist.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

/// Whether there was room for all.
fn update_users(users: &mut Vec<User>, told: Users) -> bool {
    match told.extent {
        Extent::Full => users.clear(),
        Extent::Partial => {}
        Extent::Deleted => {
            users.clear();
            return true;
        }
    }
    let mut room = true;
    for UserRow { extent, user, endpoints } in told.rows {
        let is_full = users.len() >= ROWS_MAX;
        let known = users.iter_mut().find(|known| known.entity == user.entity);
        let known = match (extent, known) {
            (Extent::Deleted, _) => {
                users.retain(|known| known.entity != user.entity);
                continue;
            }
            (Extent::Full, Some(known)) => {
                *known = user;
                known
            }
            (Extent::Partial, Some(known)) => {
                merge_user(known, user);
                known
            }
            (Extent::Full | Extent::Partial, None) if is_full => {
                room = false;
                continue;
            }
            (Extent::Full | Extent::Partial, None) => users.push_mut(user),
        };
        room &= update_endpoints(&mut known.endpoints, endpoints);
    }
    room
}

fn merge_user(known: &mut User, told: User) {
    replace(&mut known.nickname, told.nickname);
    replace(&mut known.display_text, told.display_text);
    if !told.roles.is_empty() {
        known.roles = told.roles;
    }
}

fn update_endpoints(endpoints: &mut Vec<Endpoint>, rows: Vec<EndpointRow>) -> bool {
    let mut room = true;
    for EndpointRow { extent, endpoint } in rows {
        let is_full = endpoints.len() >= ROWS_MAX;
        let known = endpoints.iter_mut().find(|known| known.entity == endpoint.entity);
        match (extent, known) {
            (Extent::Deleted, _) => endpoints.retain(|known| known.entity != endpoint.entity),
            (Extent::Full, Some(known)) => *known = endpoint,
            (Extent::Partial, Some(known)) => room &= merge_endpoint(known, endpoint),
            (Extent::Full | Extent::Partial, None) if is_full => room = false,
            (Extent::Full | Extent::Partial, None) => endpoints.push(endpoint),
        }
    }
    room
}

fn merge_endpoint(known: &mut Endpoint, told: Endpoint) -> bool {
    replace(&mut known.display_text, told.display_text);
    replace(&mut known.referred, told.referred);
    replace(&mut known.status, told.status);
    replace(&mut known.joining_method, told.joining_method);
    replace(&mut known.joining_info, told.joining_info);
    replace(&mut known.disconnection_method, told.disconnection_method);
    replace(&mut known.disconnection_info, told.disconnection_info);
    merge_media(&mut known.media, told.media)
}

fn merge_media(media: &mut Vec<Medium>, told: Vec<Medium>) -> bool {
    let mut room = true;
    for medium in told {
        let is_full = media.len() >= ROWS_MAX;
        match media.iter_mut().find(|known| known.id == medium.id) {
            Some(known) => *known = medium,
            None if is_full => room = false,
            None => media.push(medium),
        }
    }
    room
}

fn replace<T>(known: &mut Option<T>, told: Option<T>) {
    if told.is_some() {
        *known = told;
    }
}
