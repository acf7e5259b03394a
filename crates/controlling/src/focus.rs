//! The focus of one session: who takes part and who may, without any input or output
//! (OMA-TS-SIMPLE_IM §7.4.3).
//!
//! | question | answer |
//! |---|---|
//! | who may begin, join, invite, remove, watch | [`admission`] (§7.4.3.7, §7.4.3.14) |
//! | who takes part and how far he is | `roster`, `participant` (RFC 4575 §5.6, §5.7) |
//! | by what the others know him | `pseudonym` (§8.3) |
//! | who may come back | `memory` (§7.4.3.5) |
//! | whether the session goes on | `release` (§7.4.3.16) |
//! | what subscribers are told | `state` (RFC 4575) |

pub mod admission;
mod memory;
mod participant;
mod pseudonym;
mod release;
mod roster;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use parlance_content::conference_info::{
    self, ConferenceState, Description, DisconnectionMethod, JoiningMethod, Status,
};
use parlance_sip::uri::Aor;
use parlance_store::Millis;

pub use participant::{Caller, Endpoint, EndpointId, Shown, User, did_not_come};
pub use release::Release;
pub use roster::Counts;
pub use state::Seen;

use crate::groups::Group;
use crate::policy::Policy;
use memory::Memory;
use roster::{Entry, Roster, UserId};
use state::State;

/// What kind of session it is (OMA-TS-SIMPLE_IM §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One user and another one. It becomes an ad-hoc session when somebody is added.
    OneToOne,
    /// Users whom somebody put together.
    AdHoc,
    /// A group whose members are all invited.
    PreArranged,
    /// A group which users join by themselves.
    Chat,
}

impl Kind {
    /// The value of the parameter `session` (OMA-TS-SIMPLE_IM §7.4.4.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "1-1",
            Self::AdHoc => "adhoc",
            Self::PreArranged => "prearranged",
            Self::Chat => "chat",
        }
    }
}

/// What a session is at its beginning.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What kind it is.
    pub kind: Kind,
    /// The session identity, or for a chat room the group identity: the URI of the focus.
    pub entity: String,
    /// Who begins it; he keeps the rights of the owner (CF-067).
    pub creator: Aor,
    /// What it is about.
    pub subject: Option<String>,
    /// The group, when it is one's.
    pub group: Option<Arc<Group>>,
}

/// The focus of one session.
#[derive(Debug)]
pub struct Focus {
    setup: Setup,
    policy: Arc<Policy>,
    roster: Roster,
    memory: Memory,
    state: State,
    /// Most users that took a place at once so far.
    peak: usize,
    /// Whether the creator was in and has left.
    creator_left: bool,
    /// Whether a key participant was in.
    had_key_participant: bool,
    /// When it is: rules may hold for some time only.
    now: Millis,
}

impl Focus {
    /// A focus without participants.
    pub fn new(setup: Setup, policy: Arc<Policy>) -> Self {
        let group = setup.group.as_deref();
        let description = Description {
            display_text: group.and_then(Group::display_name).map(str::to_owned),
            subject: setup.subject.clone().or_else(|| Some(group?.subject()?.to_owned())),
            maximum_user_count: u32::try_from(policy.participants_max(group)).ok(),
            ..Description::default()
        };
        let state = State::new(setup.entity.clone(), description, policy.shows_left_users);
        Self {
            setup,
            policy,
            roster: Roster::default(),
            memory: Memory::default(),
            state,
            peak: 0,
            creator_left: false,
            had_key_participant: false,
            now: Millis(0),
        }
    }

    /// Says when it is. To be called before anything that asks for rights.
    pub fn at(&mut self, now: Millis) {
        self.now = now;
    }

    /// What kind of session it is now.
    pub fn kind(&self) -> Kind {
        self.setup.kind
    }

    /// Its URI.
    pub fn entity(&self) -> &str {
        &self.setup.entity
    }

    /// What it is about.
    pub fn subject(&self) -> Option<&str> {
        let group = self.setup.group.as_deref();
        self.setup.subject.as_deref().or_else(|| group?.subject())
    }

    /// The group, when it is one's.
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.setup.group.as_ref()
    }

    /// The group as it is now.
    pub fn set_group(&mut self, group: Arc<Group>) {
        self.setup.group = Some(group);
    }

    /// Who began it.
    pub fn creator(&self) -> &Aor {
        &self.setup.creator
    }

    /// How the operator wants it.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// How many there are.
    pub fn counts(&self) -> Counts {
        self.roster.counts()
    }

    /// Everybody who takes part or is on his way in.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.roster.users().map(|(_, user)| user).filter(|user| user.takes_place())
    }

    /// The same, as the others may see them.
    pub fn shown_users(&self) -> impl Iterator<Item = conference_info::User> {
        self.users().map(shown)
    }

    /// Whose endpoint it is.
    pub fn user_of(&self, endpoint: EndpointId) -> Option<&User> {
        self.roster.user_of(endpoint).map(|(_, user)| user)
    }

    /// The URI by which the others know whose endpoint it is.
    pub fn shown_uri(&self, endpoint: EndpointId) -> Option<String> {
        self.user_of(endpoint).map(|user| match user.shown {
            Shown::Open => user.address.as_str().to_owned(),
            Shown::Pseudonym(number) | Shown::UntilConnected(number) => pseudonym::uri(number),
        })
    }

    /// Somebody who was admitted calls.
    pub fn dial_in(&mut self, caller: &Caller) -> EndpointId {
        self.add(caller, JoiningMethod::DialedIn, false)
    }

    /// Somebody is called; `hidden`: nobody is to know before he is in. He may come by himself
    /// from now on.
    pub fn dial_out(&mut self, callee: &Caller, hidden: bool) -> EndpointId {
        self.memory.invite(&callee.names());
        self.add(callee, JoiningMethod::DialedOut, hidden)
    }

    fn add(&mut self, caller: &Caller, joining: JoiningMethod, hidden: bool) -> EndpointId {
        let key_participant = self.rights(&caller.names()).key_participant;
        let entry = Entry { joining, hidden, key_participant };
        let (user, endpoint) = self.roster.add(caller, entry);
        self.publish(user);
        endpoint
    }

    /// The client of somebody who is called rings.
    pub fn alerting(&mut self, endpoint: EndpointId) {
        self.set_status(endpoint, Status::Alerting);
    }

    /// A session takes or sends nothing for a while, or does again.
    pub fn hold(&mut self, endpoint: EndpointId, is_held: bool) {
        let status = if is_held { Status::OnHold } else { Status::Connected };
        let is_in = self.roster.endpoint(endpoint).is_some_and(|endpoint| {
            participant::is_in(endpoint.status) && endpoint.status != status
        });
        if is_in {
            self.set_status(endpoint, status);
        }
    }

    /// Somebody is being removed.
    pub fn disconnecting(&mut self, endpoint: EndpointId) {
        self.set_status(endpoint, Status::Disconnecting);
    }

    fn set_status(&mut self, endpoint: EndpointId, status: Status) {
        if let Some(user) = self.roster.set_status(endpoint, status) {
            self.publish(user);
        }
    }

    /// Somebody is in, at `contact`. `anonymous`: he does not want to be known, which he may say
    /// with his answer only.
    pub fn connected(&mut self, endpoint: EndpointId, contact: &str, anonymous: bool) {
        let Some(user) = self.roster.connect(endpoint, contact) else { return };
        if let Some(before) = self.roster.show(user, anonymous) {
            self.withdraw(user, before);
        }
        self.had_key_participant |= self.roster.counts().key_participants > 0;
        self.publish(user);
    }

    /// Somebody who was called does not want to be known, as he says with his answer (CF-041).
    pub fn hide(&mut self, endpoint: EndpointId) {
        let Some((user, _)) = self.roster.user_of(endpoint) else { return };
        if let Some(before) = self.roster.show(user, true) {
            self.withdraw(user, before);
            self.publish(user);
        }
    }

    /// Names somebody who had no name, by what his client says.
    pub fn name(&mut self, endpoint: EndpointId, display_name: &str) {
        if let Some((user, _)) = self.roster.user_of(endpoint) {
            self.roster.set_display_name(user, display_name);
            self.publish(user);
        }
    }

    /// Somebody has another nickname, or none.
    pub fn nickname(&mut self, endpoint: EndpointId, nickname: Option<&str>) {
        let Some((user, _)) = self.roster.user_of(endpoint) else { return };
        if self.roster.set_nickname(user, nickname) {
            self.publish(user);
        }
    }

    /// An endpoint is gone; whether it was there.
    pub fn leave(&mut self, endpoint: EndpointId, why: DisconnectionMethod) -> bool {
        let Some(user) = self.roster.leave(endpoint, why) else { return false };
        let Some(found) = self.roster.user(user) else { return false };
        let names: Vec<Aor> =
            std::iter::once(&found.address).chain(&found.alias).cloned().collect();
        let is_gone = !found.takes_place();
        if why == DisconnectionMethod::Booted {
            self.memory.expel(&names);
        } else {
            self.memory.leave(&names);
        }
        self.creator_left |= is_gone && names.contains(&self.setup.creator);
        self.publish(user);
        if is_gone {
            // His pseudonym and his place in the documents stay; the rest of him goes.
            self.roster.forget(user);
        }
        true
    }

    /// The session has one more kind of user in it: from one-to-one to ad-hoc.
    pub fn extend(&mut self) {
        if self.setup.kind == Kind::OneToOne {
            self.setup.kind = Kind::AdHoc;
        }
    }

    /// The endpoints of whoever the others know, or the operator knows, by this URI.
    pub fn endpoints_of(&self, uri: &Aor) -> Vec<EndpointId> {
        let names = std::slice::from_ref(uri);
        let shown = self.roster.shown_as(uri).map(|(id, _)| id);
        let named = self.roster.named(names).map(|(id, _)| id);
        let mut users: Vec<UserId> = shown.into_iter().chain(named).collect();
        users.sort_unstable();
        users.dedup();
        let users = users.into_iter().filter_map(|id| self.roster.user(id));
        let endpoints = users.flat_map(|user| &user.endpoints);
        let present = endpoints.filter(|endpoint| participant::takes_place(endpoint.status));
        present.map(|endpoint| endpoint.id).collect()
    }

    /// Whether one of these identities is in the session now.
    pub fn is_in(&self, names: &[Aor]) -> bool {
        self.roster.named(names).any(|(_, user)| user.is_in())
    }

    /// Whether one of these identities takes a place: is in, or on the way in.
    pub fn takes_place(&self, names: &[Aor]) -> bool {
        self.roster.named(names).any(|(_, user)| user.takes_place())
    }

    /// The number of the last change that subscribers are told of.
    pub fn revision(&self) -> u64 {
        self.state.revision()
    }

    /// Whether something has changed that a subscriber has not been told.
    pub fn has_news(&self, seen: &Seen) -> bool {
        self.state.has_news(seen)
    }

    /// The document that brings a subscriber up to date (RFC 4575 §4.3).
    pub fn document(&mut self, seen: &mut Seen, full: bool) -> Option<Bytes> {
        self.state.document(seen, full)
    }

    /// The last document of a subscriber, when the session is over.
    pub fn last_document(&self, seen: &Seen) -> Bytes {
        self.state.deleted(seen)
    }

    /// What was shown of a user as `before` is not true any more.
    fn withdraw(&mut self, user: UserId, before: Shown) {
        let Some(found) = self.roster.user(user) else { return };
        let entity = match before {
            Shown::Open => found.address.as_str().to_owned(),
            Shown::Pseudonym(number) | Shown::UntilConnected(number) => pseudonym::uri(number),
        };
        self.state.withdraw(&entity);
    }

    /// Tells the subscribers how a user is now.
    fn publish(&mut self, user: UserId) {
        let Some(found) = self.roster.user(user) else { return };
        self.state.tell(shown(found), !found.takes_place());
        let counts = self.roster.counts();
        self.peak = self.peak.max(counts.places);
        self.state.set_state(ConferenceState {
            user_count: u32::try_from(counts.inside).ok(),
            active: Some(true),
            locked: Some(false),
        });
    }
}

/// A user as the others may see him: nothing of somebody who does not want to be known but his
/// pseudonym and the nickname he chose (CF-059).
fn shown(user: &User) -> conference_info::User {
    let (entity, display_text, is_open) = match user.shown {
        Shown::Open => (user.address.as_str().to_owned(), user.display_name.clone(), true),
        Shown::Pseudonym(number) | Shown::UntilConnected(number) => {
            (pseudonym::uri(number), Some(pseudonym::display_text(number)), false)
        }
    };
    let mut endpoints: Vec<conference_info::Endpoint> = Vec::with_capacity(user.endpoints.len());
    for endpoint in &user.endpoints {
        let contact = if is_open { endpoint.contact.as_str() } else { "" };
        let name = if contact.is_empty() { &entity } else { contact };
        let is_taken = endpoints.iter().any(|other| other.entity == name);
        let name = if is_taken {
            // Keys differ (RFC 4575 §4.5).
            format!("{name};endpoint={}", endpoint.id.0)
        } else {
            name.to_owned()
        };
        endpoints.push(conference_info::Endpoint {
            entity: name,
            status: Some(endpoint.status),
            joining_method: Some(endpoint.joining),
            disconnection_method: endpoint.leaving,
            ..conference_info::Endpoint::default()
        });
    }
    let nickname = user.nickname.clone();
    conference_info::User { entity, nickname, display_text, roles: Vec::new(), endpoints }
}
