//! Group documents of OMA Group XDM, `application/vnd.oma.poc.groups+xml`: who is in a group and
//! what its members may do.
//!
//! [`Group`] is the document; [`Group::rights`] what its rules give to one user. Elements of other
//! namespaces, and those nobody here acts on (`schedule`, `age-restrictions`, advertisement), are
//! passed over.

use std::collections::HashSet;

use roxmltree::Node;

use crate::common_policy::{Asker, Rule, Ruleset, RulesetError, combined};
use crate::resource_lists::DisplayName;
use crate::xml::{Limits, Namespace, XML, XmlError};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.oma.poc.groups+xml";

/// The namespace of the elements.
const NAMESPACE: Namespace = Namespace("urn:oma:xml:poc:list-service");

/// The namespace of the elements that came later.
const EXTENSIONS: Namespace = Namespace("urn:oma:xml:xdm:extensions");

/// The namespace of display names of entries.
const RESOURCE_LISTS: Namespace = Namespace("urn:ietf:params:xml:ns:resource-lists");

/// How much is read. Local limit: an entry with a name takes some 120 octets and 6 nodes.
const LIMITS: Limits = Limits { bytes_max: 1024 * 1024, nodes_max: 64 * 1024 };

/// Most entries and references on the list. Local limit, four times the largest session.
pub const MEMBERS_MAX: usize = 4096;

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its identity, a SIP URI.
    pub uri: String,
    /// What users call it, in one language or several.
    pub display_names: Vec<DisplayName>,
    /// What it is about.
    pub subject: Option<String>,
    /// Who is in it, by themselves, at most [`MEMBERS_MAX`].
    pub entries: Vec<Entry>,
    /// The lists elsewhere whose entries are in it too: the `anchor` of each.
    pub externals: Vec<String>,
    /// Whether a session begins with inviting all (pre-arranged group); without it they come by
    /// themselves (chat group).
    pub invite_members: bool,
    /// How many may be in a session at a time, one or more; no limit of its own without.
    pub max_participant_count: Option<u32>,
    /// How many a session needs.
    pub min_participant_count: Option<u32>,
    /// Who must be there for a session.
    pub required_participants: Vec<String>,
    /// The services it may be used with (`enabler`); all when there are none.
    pub supported_services: Vec<String>,
    /// Whether a search finds it; not without.
    pub searchable: bool,
    /// What its members, and others, may do.
    pub ruleset: Ruleset,
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// His URI.
    pub uri: String,
    /// What users call him.
    pub display_name: Option<DisplayName>,
}

/// What the rules of a group give to one user: true, false, or `None` when no rule that matches
/// says anything. A rule that gives wins over one that does not (RFC 4745 §10.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// `join-handling`: he may join.
    pub join_handling: Option<bool>,
    /// `allow-initiate-conference`: he may begin a session.
    pub allow_initiate_conference: Option<bool>,
    /// `allow-conference-state`: he may see who is there.
    pub allow_conference_state: Option<bool>,
    /// `allow-invite-users-dynamically`: he may bring others in.
    pub allow_invite_users_dynamically: Option<bool>,
    /// `allow-anonymity`: he may hide who he is.
    pub allow_anonymity: Option<bool>,
    /// `is-key-participant`: a session is there as long as one such is.
    pub is_key_participant: Option<bool>,
    /// `allow-expelling`: he may put others out.
    pub allow_expelling: Option<bool>,
    /// `allow-private-message`: he may write to one participant alone.
    pub allow_private_message: Option<bool>,
    /// `allow-subconf`: he may begin a session with some of the participants.
    pub allow_subconf: Option<bool>,
    /// `allow-media-handling`: he may change which media the session has.
    pub allow_media_handling: Option<bool>,
}

/// Why a document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// It is no such document; one longer than 1 MiB or with more than 65,536 nodes is too large.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// There is no `list-service`, or more than one.
    #[error("list-service is missing or not the only one")]
    ListService,
    /// The list has more than 4096 entries and references, or another list is as long.
    #[error("list has too many entries")]
    Members,
    /// An element or attribute that must be there is missing or empty.
    #[error("{0} is missing or empty")]
    Missing(&'static str),
    /// An element has a value that is none of its kind.
    #[error("{0} has a value that it cannot have")]
    Value(&'static str),
    /// Two of these are equal.
    #[error("{0} is there twice")]
    Twice(&'static str),
    /// A session would need more than it may have.
    #[error("min-participant-count is above max-participant-count")]
    Counts,
    /// The rules cannot be read.
    #[error(transparent)]
    Ruleset(#[from] RulesetError),
}

impl Group {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// [`GroupError`]; its text tells the owner of the document what is wrong.
    pub fn parse(octets: &[u8]) -> Result<Self, GroupError> {
        let document = NAMESPACE.parse(octets, LIMITS, "group")?;
        let mut services = NAMESPACE.children(document.root_element(), "list-service");
        let (Some(service), None) = (services.next(), services.next()) else {
            return Err(GroupError::ListService);
        };
        let list = NAMESPACE.child(service, "list");
        let group = Self {
            uri: uri(service, "uri", "uri of list-service")?,
            display_names: display_names(service)?,
            subject: EXTENSIONS.token(service, "subject").map(str::to_owned),
            entries: list.map_or(Ok(Vec::new()), entries)?,
            externals: list.map_or(Ok(Vec::new()), externals)?,
            invite_members: truth(NAMESPACE, service, "invite-members")?.unwrap_or(false),
            max_participant_count: count(NAMESPACE, service, "max-participant-count")?,
            min_participant_count: count(EXTENSIONS, service, "min-participant-count")?,
            required_participants: named(service, "required-participants-list", "entry", "uri")?,
            supported_services: named(service, "supported-services", "service", "enabler")?,
            searchable: truth(EXTENSIONS, service, "searchable")?.unwrap_or(false),
            ruleset: Ruleset::read(service)?.unwrap_or_default(),
        };
        match (group.min_participant_count, group.max_participant_count) {
            (Some(min), Some(max)) if min > max => return Err(GroupError::Counts),
            _ => {}
        }
        if group.entries.len() + group.externals.len() > MEMBERS_MAX {
            return Err(GroupError::Members);
        }
        group.check_actions()?;
        Ok(group)
    }

    /// The name to show, in `language` if there is one.
    pub fn display_name(&self, language: Option<&str>) -> Option<&str> {
        let in_language = self
            .display_names
            .iter()
            .find(|name| language.is_some() && name.language.as_deref() == language);
        in_language.or(self.display_names.first()).map(|name| name.text.as_str())
    }

    /// Whether it may be used with a service; of no service named all are.
    pub fn supports(&self, enabler: &str) -> bool {
        self.supported_services.is_empty()
            || self.supported_services.iter().any(|service| service == enabler)
    }

    /// What the rules give to the one who asks (RFC 4745 §10).
    pub fn rights(&self, asker: &Asker<'_>) -> Rights {
        let matching: Vec<&Rule> = self.ruleset.matching(asker).collect();
        let mut rights = Rights::default();
        for (name, place) in rights.places() {
            *place = combined(matching.iter().copied(), &[NAMESPACE.0, EXTENSIONS.0], name);
        }
        rights
    }

    /// That every action known here is a truth value: one misspelled would deny silently.
    fn check_actions(&self) -> Result<(), GroupError> {
        for action in self.ruleset.rules.iter().flat_map(|rule| &rule.actions) {
            let mut rights = Rights::default();
            let ours = [NAMESPACE.0, EXTENSIONS.0].contains(&action.namespace.as_str());
            let known = rights.places().into_iter().find(|(name, _)| ours && *name == action.name);
            match (known, action.value.as_str()) {
                (None, _) | (Some(_), "true" | "1" | "false" | "0") => {}
                (Some((name, _)), _) => return Err(GroupError::Value(name)),
            }
        }
        Ok(())
    }
}

impl Rights {
    /// The element of each right.
    fn places(&mut self) -> [(&'static str, &mut Option<bool>); 10] {
        [
            ("join-handling", &mut self.join_handling),
            ("allow-initiate-conference", &mut self.allow_initiate_conference),
            ("allow-conference-state", &mut self.allow_conference_state),
            ("allow-invite-users-dynamically", &mut self.allow_invite_users_dynamically),
            ("allow-anonymity", &mut self.allow_anonymity),
            ("is-key-participant", &mut self.is_key_participant),
            ("allow-expelling", &mut self.allow_expelling),
            ("allow-private-message", &mut self.allow_private_message),
            ("allow-subconf", &mut self.allow_subconf),
            ("allow-media-handling", &mut self.allow_media_handling),
        ]
    }
}

fn entries(list: Node<'_, '_>) -> Result<Vec<Entry>, GroupError> {
    let mut known = HashSet::new();
    let mut found = Vec::new();
    for node in either(list, "entry") {
        if found.len() >= MEMBERS_MAX {
            return Err(GroupError::Members);
        }
        let entry = Entry {
            uri: uri(node, "uri", "uri of entry")?,
            display_name: display_names(node)?.into_iter().next(),
        };
        if !known.insert(entry.uri.clone()) {
            return Err(GroupError::Twice("uri of entry"));
        }
        found.push(entry);
    }
    Ok(found)
}

fn externals(list: Node<'_, '_>) -> Result<Vec<String>, GroupError> {
    let anchors = either(list, "external").map(|node| uri(node, "anchor", "anchor of external"));
    bounded(anchors)
}

/// The texts of an attribute in a list of its own, of the extensions.
fn named(
    service: Node<'_, '_>,
    list: &'static str,
    name: &str,
    attribute: &str,
) -> Result<Vec<String>, GroupError> {
    let Some(list_node) = EXTENSIONS.child(service, list) else { return Ok(Vec::new()) };
    let rows = list_node.children().filter(|node| node.tag_name().name() == name);
    bounded(rows.map(|node| uri(node, attribute, list)))
}

fn display_names(parent: Node<'_, '_>) -> Result<Vec<DisplayName>, GroupError> {
    bounded(either(parent, "display-name").map(|node| {
        Ok(DisplayName {
            text: node.text().unwrap_or_default().trim().to_owned(),
            language: node.attribute((XML, "lang")).map(str::to_owned),
        })
    }))
}

/// The children called `name`, of this document or as a resource list has them.
fn either<'a, 'i>(parent: Node<'a, 'i>, name: &str) -> impl Iterator<Item = Node<'a, 'i>> {
    let is = move |node: &Node<'a, 'i>| NAMESPACE.is(*node, name) || RESOURCE_LISTS.is(*node, name);
    parent.children().filter(is)
}

fn bounded<T>(rows: impl Iterator<Item = Result<T, GroupError>>) -> Result<Vec<T>, GroupError> {
    let mut found = Vec::new();
    for row in rows {
        if found.len() >= MEMBERS_MAX {
            return Err(GroupError::Members);
        }
        found.push(row?);
    }
    Ok(found)
}

fn uri(node: Node<'_, '_>, name: &str, what: &'static str) -> Result<String, GroupError> {
    let value = node.attribute(name).unwrap_or_default().trim();
    if value.is_empty() { Err(GroupError::Missing(what)) } else { Ok(value.to_owned()) }
}

fn truth(
    namespace: Namespace,
    parent: Node<'_, '_>,
    name: &'static str,
) -> Result<Option<bool>, GroupError> {
    let Some(node) = namespace.child(parent, name) else { return Ok(None) };
    match node.text().unwrap_or_default().trim() {
        "true" | "1" => Ok(Some(true)),
        "false" | "0" => Ok(Some(false)),
        _ => Err(GroupError::Value(name)),
    }
}

/// A number of participants, one or more.
fn count(
    namespace: Namespace,
    parent: Node<'_, '_>,
    name: &'static str,
) -> Result<Option<u32>, GroupError> {
    let Some(node) = namespace.child(parent, name) else { return Ok(None) };
    let number = node.text().unwrap_or_default().trim().parse();
    match number {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(GroupError::Value(name)),
    }
}

#[cfg(test)]
mod tests;
