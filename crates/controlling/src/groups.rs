//! The groups that are hosted here: chat rooms and pre-arranged groups (OMA-TS-SIMPLE_IM §7.4.3.4,
//! §7.4.3.6; the document: OMA-TS-XDM_Group).

mod files;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use parlance_content::common_policy::{Asker, Condition, Identity, Ruleset};
use parlance_content::list_service::{self, GroupError};
use parlance_isc::Local;
use parlance_sip::uri::Aor;
use parlance_store::Millis;

pub use files::{FileFault, GroupFiles, Why};

/// Where hosted groups are kept.
///
/// A group may change or go at any time; who runs a session of it asks again now and then.
pub trait Groups {
    /// The group of this identity; `None`: none is hosted here.
    fn group<'a>(
        &'a self,
        identity: &'a Aor,
    ) -> Local<'a, Result<Option<Arc<Group>>, GroupsUnavailable>>;
}

/// The groups cannot be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the groups cannot be read now")]
pub struct GroupsUnavailable;

/// A group: its members and what they may do.
#[derive(Clone, PartialEq, Eq)]
pub struct Group {
    identity: Aor,
    members: Vec<Member>,
    names: HashSet<Aor>,
    required: Vec<Aor>,
    document: list_service::Group,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub address: Aor,
    /// His URI as the group has it.
    pub uri: String,
    /// What users call him.
    pub display_name: Option<String>,
}

/// Why a group document is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupFault {
    /// It cannot be read.
    #[error(transparent)]
    Document(#[from] GroupError),
    /// A URI in it names nobody.
    #[error("{0} names nobody")]
    Uri(String),
    /// Its members are lists elsewhere, which nobody here can read.
    #[error("external lists are not followed")]
    External,
}

/// Somebody who wants something of a group.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The identities he goes by.
    pub names: &'a [Aor],
    /// Whether he asked not to be known.
    pub anonymous: bool,
    /// When he asks.
    pub now: Millis,
}

/// What one user may do in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// A rule names him and keeps him out.
    pub blocked: bool,
    /// To join (`join-handling`).
    pub join: bool,
    /// To begin a session (`allow-initiate-conference`).
    pub initiate: bool,
    /// To see who takes part (`allow-conference-state`).
    pub see_state: bool,
    /// To have others invited (`allow-invite-users-dynamically`).
    pub invite: bool,
    /// To have others removed (`allow-expelling`).
    pub expel: bool,
    /// To take part without being known (`allow-anonymity`).
    pub anonymity: bool,
    /// To send private messages (`allow-private-message`).
    pub private_messages: bool,
    /// A session needs one of those who have it (`is-key-participant`).
    pub key_participant: bool,
}

impl Group {
    /// Reads a group document.
    ///
    /// # Errors
    /// [`GroupFault`]; its text tells the owner of the document what is wrong.
    pub fn read(octets: &[u8]) -> Result<Self, GroupFault> {
        Self::new(list_service::Group::parse(octets)?)
    }

    /// The group that a document describes.
    ///
    /// # Errors
    /// [`GroupFault`].
    pub fn new(document: list_service::Group) -> Result<Self, GroupFault> {
        let aor = |uri: &String| Aor::parse(uri).map_err(|_| GroupFault::Uri(uri.clone()));
        if !document.externals.is_empty() {
            return Err(GroupFault::External);
        }
        let mut members = Vec::with_capacity(document.entries.len());
        let mut names = HashSet::new();
        for entry in &document.entries {
            let address = aor(&entry.uri)?;
            // Two spellings of one user are one member.
            if names.insert(address.clone()) {
                let display_name = entry.display_name.as_ref().map(|name| name.text.clone());
                members.push(Member { address, uri: entry.uri.clone(), display_name });
            }
        }
        let required = document.required_participants.iter().map(aor).collect::<Result<_, _>>()?;
        Ok(Self { identity: aor(&document.uri)?, members, names, required, document })
    }

    /// Its identity, which is called to enter it.
    pub fn identity(&self) -> &Aor {
        &self.identity
    }

    /// Its members, in the order of the document, each once.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What users call it.
    pub fn display_name(&self) -> Option<&str> {
        self.document.display_name(None)
    }

    /// What its sessions are about.
    pub fn subject(&self) -> Option<&str> {
        self.document.subject.as_deref()
    }

    /// Whether a session invites all members: a pre-arranged group. Otherwise it is a chat room.
    pub fn invites_members(&self) -> bool {
        self.document.invite_members
    }

    /// Most participants of a session; `None`: as many as the operator allows.
    pub fn participants_max(&self) -> Option<u32> {
        self.document.max_participant_count
    }

    /// Participants that a session needs to begin, the first included.
    pub fn participants_min(&self) -> u32 {
        self.document.min_participant_count.unwrap_or(0)
    }

    /// Users without whom a session does not begin.
    pub fn required(&self) -> &[Aor] {
        &self.required
    }

    /// Whether one of the services by these names may use it.
    pub fn supports(&self, enablers: &[String]) -> bool {
        let mut enablers = enablers.iter();
        self.document.supported_services.is_empty()
            || enablers.any(|enabler| self.document.supports(enabler))
    }

    /// Whether one of these identities is a member's.
    pub fn is_member(&self, names: &[Aor]) -> bool {
        names.iter().any(|name| self.names.contains(name))
    }

    /// What a user may do. Without any rule members may join, begin and see a session, and send
    /// private messages.
    pub fn rights(&self, who: Who<'_>) -> Rights {
        let is_member = self.is_member(who.names);
        if self.document.ruleset.rules.is_empty() {
            return Rights {
                join: is_member,
                initiate: is_member,
                see_state: is_member,
                private_messages: is_member,
                ..Rights::default()
            };
        }
        self.ask(who, |asker| {
            let rights = self.document.rights(asker);
            let is = |right: Option<bool>| right == Some(true);
            Rights {
                blocked: self.blocks(asker),
                join: is(rights.join_handling),
                initiate: is(rights.allow_initiate_conference),
                see_state: is(rights.allow_conference_state),
                invite: is(rights.allow_invite_users_dynamically),
                expel: is(rights.allow_expelling),
                anonymity: is(rights.allow_anonymity),
                private_messages: is(rights.allow_private_message),
                key_participant: is(rights.is_key_participant),
            }
        })
    }

    /// Whether a rule that names the user by his identity says `join-handling` false: he is kept
    /// out, whatever rules for many say (OMA-TS-SIMPLE_IM §7.4.3.7, "blocked").
    fn blocks(&self, asker: &Asker<'_>) -> bool {
        self.document.ruleset.matching(asker).any(|rule| {
            let named = rule.conditions.iter().any(|condition| match condition {
                Condition::Identity(all) => all.iter().any(|identity| match identity {
                    Identity::One(uri) => (asker.is)(uri),
                    Identity::Many { .. } => false,
                }),
                _ => false,
            });
            named && says(&rule.actions, "join-handling", &["false", "0"])
        })
    }

    /// Whether a user may join at other times than now, by rules that hold for some time only
    /// (RFC 4745 §7.4): the group is closed to him.
    pub fn is_closed_to(&self, who: Who<'_>) -> bool {
        let mut ruleset: Ruleset = self.document.ruleset.clone();
        let timed = |condition: &Condition| matches!(condition, Condition::Validity(_));
        if !ruleset.rules.iter().flat_map(|rule| &rule.conditions).any(timed) {
            return false;
        }
        for rule in &mut ruleset.rules {
            rule.conditions.retain(|condition| !timed(condition));
        }
        let document = list_service::Group { ruleset, ..self.document.clone() };
        let always = Self { document, ..self.clone() };
        !self.rights(who).join && always.rights(who).join
    }

    /// Whether a session needs a key participant: some rule makes one.
    pub fn has_key_participants(&self) -> bool {
        let mut rules = self.document.ruleset.rules.iter();
        rules.any(|rule| says(&rule.actions, "is-key-participant", &["true", "1"]))
    }

    fn ask<T>(&self, who: Who<'_>, ask: impl FnOnce(&Asker<'_>) -> T) -> T {
        let is = |uri: &str| Aor::parse(uri).is_ok_and(|uri| who.names.contains(&uri));
        let domain = who.names.iter().find_map(Aor::domain).unwrap_or_default();
        ask(&Asker {
            is: &is,
            domain,
            is_member: self.is_member(who.names),
            is_on: &|_| false,
            is_anonymous: who.anonymous,
            now: i64::try_from(who.now.0 / 1000).unwrap_or(i64::MAX),
        })
    }
}

fn says(actions: &[parlance_content::common_policy::Action], name: &str, values: &[&str]) -> bool {
    actions.iter().any(|action| action.name == name && values.contains(&action.value.as_str()))
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
