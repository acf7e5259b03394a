//! What the subscribers of the conference event package are told (RFC 4575 §3, §4): full and
//! partial documents.
//!
//! Every change of a user has a number, the revision. A subscriber who knows the state of one
//! revision is told the users that changed after it, each once and as he is now. That is rendered
//! once for all who know the same revision, whatever the versions of their subscriptions are.
//! So a join costs its own element for each subscriber, and nothing for those who are in already.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use bytes::Bytes;
use parlance_content::conference_info::{
    ConferenceState, Description, Elements, User, UserChange, deleted,
};

/// Users who are gone and are still told as gone to those who have not heard of it. Local limit:
/// whoever has not heard of older ones gets a full document instead.
const GONE_MAX: usize = 1024;

/// The state of one conference, as far as others may see it.
#[derive(Debug)]
pub(super) struct State {
    entity: String,
    description: Description,
    state: ConferenceState,
    rows: HashMap<Rc<str>, Row>,
    /// The rows by their last change.
    changes: BTreeMap<u64, Rc<str>>,
    /// The rows of users who take part, by when they came.
    order: BTreeMap<u64, Rc<str>>,
    revision: u64,
    /// Changes up to this one are not known one by one any more.
    forgotten: u64,
    /// When `conference-state` changed.
    state_changed: u64,
    gone: usize,
    shows_gone: bool,
    /// What was rendered for the present revision, by the revision that the subscriber knows.
    rendered: HashMap<u64, Rc<Elements>>,
    whole: Option<Rc<Elements>>,
}

/// One user.
#[derive(Debug)]
struct Row {
    /// His element, written once for everybody; `None`: he is not told about any more.
    written: Option<Box<str>>,
    changed: u64,
    came: u64,
    gone: bool,
}

/// What one subscriber knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The version of the last document; 0: none was sent.
    version: u32,
    revision: u64,
}

impl State {
    /// The state of the conference `entity`. `shows_gone`: full documents have those who left.
    pub(super) fn new(entity: String, description: Description, shows_gone: bool) -> Self {
        Self {
            entity,
            description,
            state: ConferenceState { user_count: Some(0), active: Some(true), locked: Some(false) },
            rows: HashMap::new(),
            changes: BTreeMap::new(),
            order: BTreeMap::new(),
            revision: 1,
            forgotten: 0,
            state_changed: 1,
            gone: 0,
            shows_gone,
            rendered: HashMap::new(),
            whole: None,
        }
    }

    /// The number of the last change.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// A user is as told here from now on; `gone`: all his endpoints are disconnected.
    pub(super) fn tell(&mut self, user: User, gone: bool) {
        let entity: Rc<str> = user.entity.as_str().into();
        self.put(entity, Some(user.to_string().into()), gone);
    }

    /// The user with this entity is not told about any more.
    pub(super) fn withdraw(&mut self, entity: &str) {
        if self.rows.get(entity).is_some_and(|row| row.written.is_some()) {
            self.put(entity.into(), None, true);
        }
    }

    /// Changes what `conference-state` says.
    pub(super) fn set_state(&mut self, state: ConferenceState) {
        if self.state != state {
            self.state = state;
            self.change();
            self.state_changed = self.revision;
        }
    }

    fn change(&mut self) {
        self.revision += 1;
        self.rendered.clear();
        self.whole = None;
    }

    fn put(&mut self, entity: Rc<str>, written: Option<Box<str>>, gone: bool) {
        self.change();
        let changed = self.revision;
        let before = self.rows.remove(&entity);
        let came = match &before {
            Some(row) if !row.gone => row.came,
            Some(_) | None => changed,
        };
        if let Some(row) = &before {
            self.changes.remove(&row.changed);
            self.order.remove(&row.came);
            self.gone -= usize::from(row.gone);
        }
        self.gone += usize::from(gone);
        self.changes.insert(changed, entity.clone());
        self.order.insert(came, entity.clone());
        self.rows.insert(entity, Row { written, changed, came, gone });
        if self.gone > GONE_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets who has been gone for longest.
    fn forget_oldest(&mut self) {
        let mut oldest = self.changes.iter();
        let oldest = oldest.find(|(_, entity)| self.rows.get(*entity).is_some_and(|row| row.gone));
        let Some((changed, entity)) = oldest.map(|(at, entity)| (*at, entity.clone())) else {
            return;
        };
        self.changes.remove(&changed);
        if let Some(row) = self.rows.remove(&entity) {
            self.order.remove(&row.came);
            self.gone -= 1;
        }
        self.forgotten = changed;
    }

    /// Whether something has changed that a subscriber has not been told. One who was told nothing
    /// yet is about to be told everything.
    pub(super) fn has_news(&self, seen: &Seen) -> bool {
        seen.version > 0 && seen.revision < self.revision
    }

    /// The document that brings a subscriber up to date; `full`: it tells everything, as after
    /// every SUBSCRIBE. `None`: nothing has changed.
    pub(super) fn document(&mut self, seen: &mut Seen, full: bool) -> Option<Bytes> {
        let changed = seen.revision < self.revision;
        let full = full || seen.version == 0 || seen.revision < self.forgotten;
        if !full && !changed {
            return None;
        }
        let elements = if full { self.whole() } else { self.changes_since(seen.revision) };
        // A full document about what is known already has the version that told it (§5.2).
        if changed || seen.version == 0 {
            seen.version = seen.version.wrapping_add(1).max(1);
        }
        seen.revision = self.revision;
        Some(elements.document(&self.entity, seen.version))
    }

    /// The last document of a subscriber, when the conference is over.
    pub(super) fn deleted(&self, seen: &Seen) -> Bytes {
        deleted(&self.entity, seen.version.wrapping_add(1).max(1))
    }

    fn whole(&mut self) -> Rc<Elements> {
        if let Some(whole) = &self.whole {
            return whole.clone();
        }
        let shown = |row: &&Row| !row.gone || self.shows_gone;
        let rows = self.order.values().filter_map(|entity| self.rows.get(entity)).filter(shown);
        let users = rows.filter_map(|row| row.written.as_deref());
        let whole = Rc::new(Elements::of_users(&self.description, &self.state, users));
        self.whole = Some(whole.clone());
        whole
    }

    fn changes_since(&mut self, revision: u64) -> Rc<Elements> {
        if let Some(rendered) = self.rendered.get(&revision) {
            return rendered.clone();
        }
        let state = (self.state_changed > revision).then_some(&self.state);
        let changes = self.changes.range(revision.saturating_add(1)..);
        let users = changes.filter_map(|(_, entity)| {
            let row = self.rows.get(entity)?;
            Some(match &row.written {
                Some(written) => UserChange::Written(written),
                None => UserChange::Deleted(entity),
            })
        });
        let elements = Rc::new(Elements::partial(None, state, users));
        self.rendered.insert(revision, elements.clone());
        elements
    }

    /// How many documents are rendered and kept.
    #[cfg(test)]
    fn kept(&self) -> usize {
        self.rendered.len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parlance_content::conference_info::{
        Applied, ConferenceInfo, ConferenceState, Description, Document, Endpoint, Extent, Status,
        User,
    };

    use super::{GONE_MAX, Seen, State};

    fn user(name: &str, status: Status) -> User {
        let entity = format!("sip:{name}@ims.test");
        let endpoint =
            Endpoint { entity: entity.clone(), status: Some(status), ..Endpoint::default() };
        User { entity, endpoints: vec![endpoint], ..User::default() }
    }

    fn state() -> State {
        let description = Description { subject: Some("Plans".into()), ..Description::default() };
        State::new("sip:s@ims.test".into(), description, false)
    }

    fn read(document: Option<Bytes>) -> Document {
        Document::parse(&document.expect("there is something to tell")).unwrap()
    }

    fn entities(document: &Document) -> Vec<(&str, Extent)> {
        let rows = document.users.iter().flat_map(|users| &users.rows);
        rows.map(|row| (row.user.entity.as_str(), row.extent)).collect()
    }

    // Covers: CF-058, CF-083
    #[test]
    fn versions_count_up_by_one_and_a_refresh_repeats() {
        let mut state = state();
        let mut seen = Seen::default();
        state.tell(user("alice", Status::Connected), false);
        let first = read(state.document(&mut seen, false));
        assert_eq!((first.extent, first.version), (Extent::Full, 1));
        assert!(first.description.is_some() && first.users.is_some());
        assert_eq!(state.document(&mut seen, false), None, "nothing has changed");
        let again = read(state.document(&mut seen, true));
        assert_eq!((again.extent, again.version), (Extent::Full, 1));

        state.tell(user("bob", Status::DialingOut), false);
        state.tell(user("bob", Status::Connected), false);
        let second = read(state.document(&mut seen, false));
        assert_eq!((second.extent, second.version), (Extent::Partial, 2));
        assert_eq!(entities(&second), [("sip:bob@ims.test", Extent::Full)]);
        assert_eq!(second.state, None, "the state is as it was");

        state.set_state(ConferenceState { user_count: Some(2), ..ConferenceState::default() });
        let third = read(state.document(&mut seen, false));
        assert_eq!((third.version, third.users.is_none()), (3, true));
        assert_eq!(third.state.and_then(|state| state.user_count), Some(2));

        state.tell(user("alice", Status::Disconnected), true);
        let fourth = read(state.document(&mut seen, true));
        assert_eq!((fourth.extent, fourth.version), (Extent::Full, 4));
        assert_eq!(entities(&fourth), [("sip:bob@ims.test", Extent::Full)]);
        let last = Document::parse(&state.deleted(&seen)).unwrap();
        assert_eq!((last.extent, last.version), (Extent::Deleted, 5));
    }

    // Covers: CF-083
    #[test]
    fn who_left_is_told_once() {
        let mut state = state();
        let (mut known, mut late) = (Seen::default(), Seen::default());
        state.tell(user("alice", Status::Connected), false);
        state.document(&mut known, false);
        state.tell(user("alice", Status::Disconnected), true);
        let told = read(state.document(&mut known, false));
        let endpoint = &told.users.as_ref().unwrap().rows[0].endpoints[0].endpoint;
        assert_eq!(endpoint.status, Some(Status::Disconnected));
        assert_eq!(state.document(&mut known, false), None);
        assert!(entities(&read(state.document(&mut late, false))).is_empty());

        let mut shows = State::new("sip:s@ims.test".into(), Description::default(), true);
        shows.tell(user("alice", Status::Disconnected), true);
        let whole = read(shows.document(&mut Seen::default(), true));
        assert_eq!(entities(&whole).len(), 1, "the operator wants them shown");
    }

    // Covers: CF-081
    #[test]
    fn a_pseudonym_can_be_taken_back() {
        let mut state = state();
        let mut seen = Seen::default();
        state.tell(user("anonymous1", Status::DialingOut), false);
        state.document(&mut seen, false);
        state.withdraw("sip:anonymous1@ims.test");
        state.tell(user("carol", Status::Connected), false);
        let told = read(state.document(&mut seen, false));
        let expected =
            [("sip:anonymous1@ims.test", Extent::Deleted), ("sip:carol@ims.test", Extent::Full)];
        assert_eq!(entities(&told), expected);
        state.withdraw("sip:nobody@ims.test");
        assert_eq!(state.document(&mut seen, false), None);
    }

    // Covers: CF-058
    #[test]
    fn all_who_know_the_same_share_what_is_rendered() {
        let mut state = state();
        let mut all = [Seen::default(); 5];
        for (at, seen) in all.iter_mut().enumerate() {
            // Their versions differ.
            for change in 0..=at {
                state.tell(user(&format!("u{at}-{change}"), Status::Connected), false);
                state.document(seen, false);
            }
        }
        for seen in &mut all {
            state.document(seen, false);
        }
        state.tell(user("dave", Status::Connected), false);
        let told = all.each_mut().map(|seen| read(state.document(seen, false)));
        assert_eq!(state.kept(), 1, "one change, one rendering");
        let versions = told.each_ref().map(|document| document.version);
        assert_eq!(versions, [3, 4, 5, 6, 6]);
        assert!(told.iter().all(|told| entities(told) == [("sip:dave@ims.test", Extent::Full)]));
    }

    // Covers: CF-058
    #[test]
    fn who_missed_too_much_is_told_everything() {
        let mut state = state();
        let mut seen = Seen::default();
        state.tell(user("alice", Status::Connected), false);
        state.document(&mut seen, false);
        for number in 0..=GONE_MAX {
            state.tell(user(&format!("u{number}"), Status::Disconnected), true);
        }
        assert_eq!(state.rows.len(), GONE_MAX + 1, "alice, and those who are gone");
        let told = read(state.document(&mut seen, false));
        assert_eq!((told.extent, told.version), (Extent::Full, 2));
        assert_eq!(entities(&told), [("sip:alice@ims.test", Extent::Full)]);
    }

    // Covers: CF-058
    #[test]
    fn partial_documents_add_up_to_the_full_one() {
        let mut state = state();
        let (mut seen, mut table) = (Seen::default(), ConferenceInfo::new());
        for step in 0..200_u32 {
            let name = format!("u{}", step * 7 % 13);
            match step % 5 {
                0 => state.tell(user(&name, Status::Disconnected), true),
                1 => state.withdraw(&format!("sip:{name}@ims.test")),
                _ => state.tell(user(&name, Status::Connected), false),
            }
            if step % 3 == 0 {
                let full = step % 30 == 0;
                if let Some(document) = state.document(&mut seen, full) {
                    apply(&mut table, &document, full);
                }
            }
        }
        if let Some(document) = state.document(&mut seen, false) {
            apply(&mut table, &document, false);
        }
        let whole = state.document(&mut Seen::default(), true);
        let rows = read(whole).users.unwrap().rows;
        let mut expected: Vec<_> = rows.iter().map(|row| row.user.entity.clone()).collect();
        let is_gone = |user: &&User| user.endpoints[0].status == Some(Status::Disconnected);
        let users = table.conference().users.iter().filter(|user| !is_gone(user));
        let mut found: Vec<_> = users.map(|user| user.entity.clone()).collect();
        expected.sort();
        found.sort();
        assert!(!found.is_empty());
        assert_eq!(found, expected);
    }

    fn apply(table: &mut ConferenceInfo, document: &Bytes, full: bool) {
        let applied = table.apply(Document::parse(document).unwrap());
        // A refresh without a change has the version of what it repeats.
        assert!(applied == Applied::Taken || full && applied == Applied::Stale, "{applied:?}");
    }
}
