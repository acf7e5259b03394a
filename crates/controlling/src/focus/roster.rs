//! Who takes part: users by place, endpoints by number, and what is counted of them.

use std::collections::HashMap;

use parlance_content::conference_info::{DisconnectionMethod, JoiningMethod, Status};
use parlance_sip::uri::Aor;

use super::participant::{Caller, Endpoint, EndpointId, Shown, User};
use super::pseudonym::{self, Pseudonyms};

/// A user's place; used again only when he is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct UserId(pub(crate) u32);

/// Everybody who takes part or is on his way in, and who has just gone.
#[derive(Debug, Default)]
pub(super) struct Roster {
    users: HashMap<UserId, User>,
    /// Whose each identity is. One identity can have an open and an anonymous user.
    names: HashMap<Aor, Vec<UserId>>,
    endpoints: HashMap<EndpointId, UserId>,
    next_user: u32,
    next_endpoint: u32,
    counts: Counts,
    pseudonyms: Pseudonyms,
}

/// How many users there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users that take a place: in, or on their way in (CF-039).
    pub places: usize,
    /// Users that are in.
    pub inside: usize,
    /// Key participants that are in.
    pub(super) key_participants: usize,
}

/// How somebody is let in or called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// How he comes in.
    pub(super) joining: JoiningMethod,
    /// Whether nobody is to know of him before he is in.
    pub(super) hidden: bool,
    /// Whether a group needs one like him.
    pub(super) key_participant: bool,
}

impl Roster {
    /// How many there are.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// All users, those who are gone and not yet forgotten included.
    pub(super) fn users(&self) -> impl Iterator<Item = (UserId, &User)> {
        self.users.iter().map(|(id, user)| (*id, user))
    }

    /// One user.
    pub(super) fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(&id)
    }

    /// Whose endpoint it is.
    pub(super) fn user_of(&self, endpoint: EndpointId) -> Option<(UserId, &User)> {
        let id = *self.endpoints.get(&endpoint)?;
        Some((id, self.users.get(&id)?))
    }

    /// An endpoint.
    pub(super) fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        let (_, user) = self.user_of(id)?;
        user.endpoints.iter().find(|endpoint| endpoint.id == id)
    }

    /// The users with one of these identities.
    pub(super) fn named<'a>(
        &'a self,
        names: &'a [Aor],
    ) -> impl Iterator<Item = (UserId, &'a User)> {
        let ids = names.iter().filter_map(|name| self.names.get(name)).flatten();
        ids.filter_map(|id| Some((*id, self.users.get(id)?)))
    }

    /// The user that others know by this URI: an open one by his address, another one by his
    /// pseudonym.
    pub(super) fn shown_as(&self, uri: &Aor) -> Option<(UserId, &User)> {
        let by_name = self.names.get(uri).into_iter().flatten();
        let by_name = by_name.filter_map(|id| Some((*id, self.users.get(id)?)));
        let open = by_name.into_iter().find(|(_, user)| user.shown == Shown::Open);
        open.or_else(|| {
            let number = pseudonym::number(uri)?;
            self.users().find(|(_, user)| match user.shown {
                Shown::Open => false,
                Shown::Pseudonym(own) | Shown::UntilConnected(own) => own == number,
            })
        })
    }

    /// Takes in an endpoint of a user who calls or is called.
    pub(super) fn add(&mut self, caller: &Caller, entry: Entry) -> (UserId, EndpointId) {
        let id = EndpointId(self.next_endpoint);
        self.next_endpoint = self.next_endpoint.saturating_add(1);
        let (user, before) = self.find_or_add(caller, entry);
        let status = match entry.joining {
            JoiningMethod::DialedOut => Status::DialingOut,
            JoiningMethod::DialedIn | JoiningMethod::FocusOwner => Status::DialingIn,
        };
        let contact = caller.contact.clone();
        let endpoint = Endpoint { id, status, joining: entry.joining, leaving: None, contact };
        self.endpoints.insert(id, user);
        if let Some(found) = self.users.get_mut(&user) {
            // Who comes back begins anew.
            if !found.takes_place() {
                let gone = found.endpoints.drain(..).map(|endpoint| endpoint.id);
                for id in gone {
                    self.endpoints.remove(&id);
                }
            }
            found.key_participant |= entry.key_participant;
            found.endpoints.push(endpoint);
        }
        self.recount(user, before);
        (user, id)
    }

    fn find_or_add(&mut self, caller: &Caller, entry: Entry) -> (UserId, Presence) {
        let names = caller.names();
        let same = |user: &User| match user.shown {
            Shown::Open => !caller.anonymous,
            Shown::Pseudonym(_) => caller.anonymous,
            Shown::UntilConnected(_) => !caller.anonymous,
        };
        let known = self.named(&names).find(|(_, user)| same(user)).map(|(id, _)| id);
        if let Some(id) = known {
            return (id, self.presence(id));
        }
        let shown = match (caller.anonymous, entry.hidden) {
            (true, _) => Shown::Pseudonym(self.pseudonyms.of(&caller.address)),
            (false, true) => Shown::UntilConnected(self.pseudonyms.of(&caller.address)),
            (false, false) => Shown::Open,
        };
        let id = UserId(self.next_user);
        self.next_user = self.next_user.saturating_add(1);
        for name in &names {
            self.names.entry(name.clone()).or_default().push(id);
        }
        let user = User {
            address: caller.address.clone(),
            alias: caller.alias.clone(),
            display_name: caller.display_name.clone(),
            nickname: None,
            shown,
            key_participant: false,
            endpoints: Vec::new(),
        };
        self.users.insert(id, user);
        (id, Presence::default())
    }

    /// Changes how far an endpoint is; the user, when there is such an endpoint and it changed.
    pub(super) fn set_status(&mut self, id: EndpointId, status: Status) -> Option<UserId> {
        self.change(id, |endpoint| {
            let changes = endpoint.status != status && endpoint.status != Status::Disconnected;
            if changes {
                endpoint.status = status;
            }
            changes
        })
    }

    /// An endpoint is in, at `contact`.
    pub(super) fn connect(&mut self, id: EndpointId, contact: &str) -> Option<UserId> {
        self.change(id, |endpoint| {
            endpoint.status = Status::Connected;
            if !contact.is_empty() {
                contact.clone_into(&mut endpoint.contact);
            }
            true
        })
    }

    /// An endpoint is gone; `None` when it was before.
    pub(super) fn leave(&mut self, id: EndpointId, why: DisconnectionMethod) -> Option<UserId> {
        self.change(id, |endpoint| {
            if endpoint.status == Status::Disconnected {
                return false;
            }
            endpoint.status = Status::Disconnected;
            endpoint.leaving = Some(why);
            true
        })
    }

    fn change(
        &mut self,
        id: EndpointId,
        change: impl FnOnce(&mut Endpoint) -> bool,
    ) -> Option<UserId> {
        let user = *self.endpoints.get(&id)?;
        let before = self.presence(user);
        let found = self.users.get_mut(&user)?;
        let endpoint = found.endpoints.iter_mut().find(|endpoint| endpoint.id == id)?;
        let changed = change(endpoint);
        self.recount(user, before);
        changed.then_some(user)
    }

    /// Gives a user another nickname; whether it is another one.
    pub(super) fn set_nickname(&mut self, id: UserId, nickname: Option<&str>) -> bool {
        let Some(user) = self.users.get_mut(&id) else { return false };
        let changes = user.nickname.as_deref() != nickname;
        user.nickname = nickname.map(str::to_owned);
        changes
    }

    /// Names a user who had no name yet.
    pub(super) fn set_display_name(&mut self, id: UserId, name: &str) {
        if let Some(user) = self.users.get_mut(&id) {
            user.display_name.get_or_insert_with(|| name.to_owned());
        }
    }

    /// Shows a user otherwise from now on; as what he was shown before.
    pub(super) fn show(&mut self, id: UserId, anonymous: bool) -> Option<Shown> {
        let user = self.users.get_mut(&id)?;
        let before = user.shown;
        let shown = match (before, anonymous) {
            (Shown::Pseudonym(_), _) => before,
            (Shown::UntilConnected(number), true) => Shown::Pseudonym(number),
            (Shown::Open, true) => Shown::Pseudonym(self.pseudonyms.of(&user.address)),
            (Shown::Open | Shown::UntilConnected(_), false) => Shown::Open,
        };
        user.shown = shown;
        (before != shown).then_some(before)
    }

    /// Forgets a user who is gone; his pseudonym is kept for him (CF-041).
    pub(super) fn forget(&mut self, id: UserId) -> Option<User> {
        if self.users.get(&id)?.takes_place() {
            return None;
        }
        let user = self.users.remove(&id)?;
        for endpoint in &user.endpoints {
            self.endpoints.remove(&endpoint.id);
        }
        for name in std::iter::once(&user.address).chain(&user.alias) {
            if let Some(ids) = self.names.get_mut(name) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.names.remove(name);
                }
            }
        }
        Some(user)
    }

    fn presence(&self, id: UserId) -> Presence {
        let user = self.users.get(&id);
        user.map_or_else(Presence::default, |user| Presence {
            place: user.takes_place(),
            inside: user.is_in(),
            key: user.is_in() && user.key_participant,
        })
    }

    /// Counts what has changed of one user.
    fn recount(&mut self, id: UserId, before: Presence) {
        let after = self.presence(id);
        let step = |count: &mut usize, before: bool, after: bool| match (before, after) {
            (false, true) => *count += 1,
            (true, false) => *count = count.saturating_sub(1),
            (true, true) | (false, false) => {}
        };
        step(&mut self.counts.places, before.place, after.place);
        step(&mut self.counts.inside, before.inside, after.inside);
        step(&mut self.counts.key_participants, before.key, after.key);
    }
}

/// What is counted of one user.
#[derive(Clone, Copy, Debug, Default)]
struct Presence {
    place: bool,
    inside: bool,
    key: bool,
}
