//! The IM profile of a user (OMA-TS-SIMPLE_IM §7.2.1, OMA-TS-IM_XDM) and the names he goes by.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::identity::check_identity;
use crate::{Cached, LIST_MAX, Millis, Pending, Publication, StoreError, UserId};

/// Most entries in one access list of a profile, and in all its named lists together; local limit.
const ENTRIES_MAX: usize = 1024;

/// Longest name of a list in octets; local limit.
const LIST_NAME_OCTETS_MAX: usize = 64;

/// Whom an access list entry means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// One identity, in canonical form.
    Identity(String),
    /// Everybody of a domain.
    Domain(String),
    /// Everybody who asked for privacy or has no asserted identity.
    Anonymous,
    /// The members of one of [`Profile::lists`], or of a list kept elsewhere, by its name.
    List(String),
}

/// What a sender on the reject list gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectAnswer {
    /// `403 Forbidden`.
    #[default]
    Forbidden,
    /// `480 Temporarily Unavailable`, as if the user were away.
    Unavailable,
    /// `200 OK`, and the message is dropped.
    Silent,
}

/// What happens to requests of anonymous senders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnonymousPolicy {
    /// As the operator decides for all.
    #[default]
    Operator,
    /// They are accepted.
    Accept,
    /// They are refused.
    Reject,
}

/// Whether the user takes part at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Visibility {
    /// He does, when registered.
    #[default]
    Visible,
    /// He does, but others are not told that he is there.
    Hidden,
    /// He counts as away.
    Offline,
}

/// How stored messages reach the user when he comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deferral {
    /// As the operator decides for all.
    #[default]
    Operator,
    /// A notification tells him; he retrieves.
    Notify,
    /// They are sent as SIP MESSAGEs.
    PushMessage,
    /// They are sent over MSRP.
    PushMsrp,
    /// Nothing is sent; he asks.
    None,
}

/// What the user may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rights {
    /// Sending pager-mode messages.
    pub pager: bool,
    /// Sending large messages.
    pub large: bool,
    /// Sessions.
    pub session: bool,
    /// Messages kept while he is away.
    pub deferred: bool,
    /// Sending group advertisements.
    pub group_advertisement: bool,
    /// Beginning a conference of more than two that is no group.
    pub ad_hoc_group: bool,
    /// Sending one message to a list.
    pub exploder: bool,
    /// Sending files in a session.
    pub file_transfer: bool,
    /// Keeping a history.
    pub history: bool,
    /// Hiding his identity.
    pub anonymity: bool,
    /// Taking others out of a session.
    pub expel: bool,
}

impl Default for Rights {
    /// Everything.
    fn default() -> Rights {
        Rights {
            pager: true,
            large: true,
            session: true,
            deferred: true,
            group_advertisement: true,
            ad_hoc_group: true,
            exploder: true,
            file_transfer: true,
            history: true,
            anonymity: true,
            expel: true,
        }
    }
}

/// The settings of a user. `Default` is what a user has who never changed anything.
///
/// Kept as JSON with a default for every field; fields this version does not know are carried
/// in [`Profile::other`] and written back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Whose it is.
    pub user: UserId,
    /// Counts the changes, from 1; the store sets it. 0 in [`Profiles::put`] means "whatever is
    /// there".
    pub revision: u64,
    /// When it was created.
    pub created: Millis,
    /// Other identities of the user, `sip:` and `tel:`, provisioned by the operator.
    pub aliases: Vec<String>,
    /// Whether the user may use the service at all.
    pub provisioned: bool,
    /// What he may use of it.
    pub rights: Rights,
    /// Barred by the operator.
    pub barred: bool,
    /// Senders that are accepted whatever [`Profile::reject`] says.
    pub accept: Vec<Entry>,
    /// Senders that are refused.
    pub reject: Vec<Entry>,
    /// How they are refused.
    pub reject_answer: RejectAnswer,
    /// Lists that entries refer to ([`Entry::List`]), by name; of identities and domains.
    pub lists: BTreeMap<String, Vec<Entry>>,
    /// What happens to anonymous senders.
    pub anonymous: AnonymousPolicy,
    /// Whether he takes part.
    pub visibility: Visibility,
    /// Whether messages are kept while he is away (`offline-delivery`); `None`: as the operator
    /// decides for all, or the sender for one.
    pub offline_delivery: Option<bool>,
    /// How kept messages reach him.
    pub deferral: Deferral,
    /// Keep pager-mode messages even while he is there.
    pub store_pager_mode: bool,
    /// Originators whose messages may be kept (`allow-offline-storage`); `None`: everybody's.
    pub offline_storage: Option<Vec<Entry>>,
    /// Hide his identity in what he sends.
    pub always_anonymous: bool,
    /// Inviters whose sessions his client may accept without asking him.
    pub auto_answer: Vec<Entry>,
    /// Inviters who may have his client answer at once whatever he set there
    /// (`allow-manual-answer-override`).
    pub answer_override: Vec<Entry>,
    /// Content types he does not want, `type/subtype` or `type/*`, lower case.
    pub blocked_content: Vec<String>,
    /// He wants no group advertisements (`block-group-advertisement`).
    pub block_group_advertisements: bool,
    /// He wants no instant personal alerts.
    pub block_personal_alerts: bool,
    /// Largest message body he takes, in octets; `None`: the operator's limit.
    pub message_octets_max: Option<u32>,
    /// He is told in the end how a message to a list or group went.
    pub explosion_reports: bool,
    /// Whether sessions are kept in his history.
    pub session_history: bool,
    /// Whether pager-mode and large messages are kept in his history.
    pub pager_large_history: bool,
    /// What he published; [`Profile::settings`] says what holds. [`Profiles::publish`] alone
    /// changes it: [`Profiles::put`] keeps what is there.
    pub published: Option<Publication>,
    /// Fields a later version wrote.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            user: UserId::from(""),
            revision: 0,
            created: Millis(0),
            aliases: Vec::new(),
            provisioned: true,
            rights: Rights::default(),
            barred: false,
            accept: Vec::new(),
            reject: Vec::new(),
            reject_answer: RejectAnswer::default(),
            lists: BTreeMap::new(),
            anonymous: AnonymousPolicy::default(),
            visibility: Visibility::default(),
            offline_delivery: None,
            deferral: Deferral::default(),
            store_pager_mode: false,
            offline_storage: None,
            always_anonymous: false,
            auto_answer: Vec::new(),
            answer_override: Vec::new(),
            blocked_content: Vec::new(),
            block_group_advertisements: false,
            block_personal_alerts: false,
            message_octets_max: None,
            explosion_reports: false,
            session_history: false,
            pager_large_history: false,
            published: None,
            other: Map::new(),
        }
    }
}

impl Profile {
    /// The default profile of `user`, created at `now`.
    pub fn new(user: UserId, now: Millis) -> Profile {
        Profile { user, created: now, ..Profile::default() }
    }

    /// Refuses what no implementation takes.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        check_identity(self.user.as_str())?;
        self.aliases.iter().try_for_each(|alias| check_identity(alias))?;
        let storage = self.offline_storage.as_ref().map_or(0, Vec::len);
        if self.aliases.len() > LIST_MAX
            || self.blocked_content.len() > LIST_MAX
            || storage > ENTRIES_MAX
            || [&self.accept, &self.reject, &self.auto_answer, &self.answer_override]
                .into_iter()
                .any(|entries| entries.len() > ENTRIES_MAX)
        {
            return Err(StoreError::Invalid("list too long"));
        }
        self.check_lists()
    }

    fn check_lists(&self) -> Result<(), StoreError> {
        let is_name = |name: &String| (1..=LIST_NAME_OCTETS_MAX).contains(&name.len());
        if !self.lists.keys().all(is_name) {
            return Err(StoreError::Invalid("list name too short or too long"));
        }
        let members = self.lists.values().map(Vec::len).sum::<usize>();
        if self.lists.len() > LIST_MAX || members > ENTRIES_MAX {
            return Err(StoreError::Invalid("list too long"));
        }
        let is_member = |entry: &Entry| matches!(entry, Entry::Identity(_) | Entry::Domain(_));
        if !self.lists.values().flatten().all(is_member) {
            return Err(StoreError::Invalid("a list holds identities and domains"));
        }
        Ok(())
    }

    /// The record to write over `known`, or the refusal. One rule for every implementation.
    pub(crate) fn over(mut self, known: Option<&Profile>) -> Result<Profile, StoreError> {
        let revision = known.map_or(0, |profile| profile.revision);
        if self.revision != 0 && self.revision != revision {
            return Err(StoreError::Conflict);
        }
        self.revision = revision.saturating_add(1);
        self.published = known.and_then(|profile| profile.published.clone());
        Ok(self)
    }

    /// Every identity the profile claims: the user's own and the aliases.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.user.as_str()).chain(self.aliases.iter().map(String::as_str))
    }
}

/// Whether [`Profiles::create_default`] made something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The user had no profile; he has the default one now.
    Created(Arc<Profile>),
    /// He had this one.
    Existing(Arc<Profile>),
}

/// The profiles of all users, and the identities that lead to them.
///
/// An identity leads to one user. Of two claims the provisioned one wins over one learnt from a
/// registration, and of equals the later.
pub trait Profiles: Send + Sync {
    /// The profile of `user`.
    fn profile<'a>(&'a self, user: &'a UserId) -> Pending<'a, Option<Arc<Profile>>>;

    /// [`Profiles::profile`] without waiting, for every relayed message.
    fn cached(&self, user: &str) -> Cached<Arc<Profile>>;

    /// Gives `user` the default profile if there is none.
    fn create_default<'a>(&'a self, user: &'a UserId, now: Millis) -> Pending<'a, Creation>;

    /// Writes a profile and returns it with its new revision.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the revision is neither 0 nor that of the record there.
    fn put(&self, profile: Profile) -> Pending<'_, Arc<Profile>>;

    /// Puts `publication`, or nothing, in the place of what `user` published before, and gives him
    /// the default profile if there is none. Where `over` is given, it is the entity-tag that must
    /// be in force at `now`. The revision stays. Ends with the registration in which it was made.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another entity-tag is in force, or none.
    fn publish<'a>(
        &'a self,
        user: &'a UserId,
        publication: Option<Publication>,
        over: Option<&'a str>,
        now: Millis,
    ) -> Pending<'a, Arc<Profile>>;

    /// Users whose publication has run out by `now`, the longest first, at most `limit`. The caller
    /// ends each with [`Profiles::end_publication`].
    fn lapsed_publications(&self, now: Millis, limit: usize) -> Pending<'_, Vec<UserId>>;

    /// Forgets what `user` published if it has run out by `now`, and says whether it had. When
    /// several nodes sweep, one of them is told so.
    fn end_publication<'a>(&'a self, user: &'a UserId, now: Millis) -> Pending<'a, bool>;

    /// Removes everything kept about `user`: profile, registration, names, stored messages and
    /// what is remembered of them. The audit trail stays. Says whether there was anything.
    fn remove<'a>(&'a self, user: &'a UserId) -> Pending<'a, bool>;

    /// The user an identity belongs to: by a profile, or by the last registration that named it.
    fn resolve<'a>(&'a self, identity: &'a str) -> Pending<'a, Option<UserId>>;

    /// [`Profiles::resolve`] without waiting, for every relayed message.
    fn resolve_cached(&self, identity: &str) -> Cached<UserId>;

    /// The profiles after `after` in the order of their users, at most `limit`.
    fn list<'a>(
        &'a self,
        after: Option<&'a UserId>,
        limit: usize,
    ) -> Pending<'a, Vec<Arc<Profile>>>;
}

#[cfg(test)]
mod tests {
    use super::{Deferral, Entry, Millis, Profile, RejectAnswer, Rights};
    use crate::{LIST_MAX, StoreError};

    #[test]
    fn an_empty_record_is_the_default() {
        let read: Profile = serde_json::from_str("{}").unwrap();
        assert_eq!(read, Profile::default());
        assert!(read.provisioned && read.offline_delivery.is_none());
        assert_eq!(read.rights, Rights::default());
    }

    #[test]
    fn unknown_fields_are_carried_on() {
        let later = r#"{"user":"sip:a@b","deferral":"push-msrp","colour":{"of":"paper"}}"#;
        let read: Profile = serde_json::from_str(later).unwrap();
        assert_eq!(read.deferral, Deferral::PushMsrp);
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(written.pointer("/colour/of").and_then(|v| v.as_str()), Some("paper"));
    }

    #[test]
    fn reads_what_it_writes() {
        let profile = Profile {
            aliases: vec!["tel:+15551234".into()],
            reject: vec![Entry::Domain("spam.test".into()), Entry::Anonymous],
            reject_answer: RejectAnswer::Silent,
            offline_storage: Some(vec![Entry::List("friends".into())]),
            lists: [("friends".to_owned(), vec![Entry::Domain("ims.test".into())])].into(),
            message_octets_max: Some(1300),
            ..Profile::new("sip:alice@ims.test".into(), Millis(7))
        };
        let json = serde_json::to_vec(&profile).unwrap();
        assert_eq!(serde_json::from_slice::<Profile>(&json).unwrap(), profile);
    }

    #[test]
    fn lists_are_bounded() {
        let with = |count| Profile {
            aliases: vec!["tel:+1".into(); count],
            ..Profile::new("sip:a@b".into(), Millis(0))
        };
        assert_eq!(with(LIST_MAX).check(), Ok(()));
        assert_eq!(with(LIST_MAX + 1).check(), Err(StoreError::Invalid("list too long")));
    }

    // Covers: PF-081
    #[test]
    fn named_lists_are_bounded_and_flat() {
        let check = |lists: Vec<(String, Vec<Entry>)>| {
            let lists = lists.into_iter().collect();
            Profile { lists, ..Profile::new("sip:a@b".into(), Millis(0)) }.check()
        };
        let members = |count| vec![Entry::Identity("sip:x@y".into()); count];
        let many = |count| (0..count).map(|number| (number.to_string(), Vec::new())).collect();
        let too_long = Err(StoreError::Invalid("list too long"));
        assert_eq!(check(vec![("f".repeat(64), members(1000)), ("g".into(), members(24))]), Ok(()));
        assert_eq!(check(vec![("f".into(), members(1000)), ("g".into(), members(25))]), too_long);
        assert_eq!(check(many(LIST_MAX)), Ok(()));
        assert_eq!(check(many(LIST_MAX + 1)), too_long);
        for name in [String::new(), "f".repeat(65)] {
            let refused = check(vec![(name, Vec::new())]);
            assert_eq!(refused, Err(StoreError::Invalid("list name too short or too long")));
        }
        for member in [Entry::List("g".into()), Entry::Anonymous] {
            let refused = check(vec![("f".into(), vec![member])]);
            assert_eq!(refused, Err(StoreError::Invalid("a list holds identities and domains")));
        }
    }
}
