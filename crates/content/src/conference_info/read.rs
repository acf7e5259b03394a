//! Reading documents.

use roxmltree::Node;

use super::{
    ConferenceState, Description, DisconnectionMethod, Endpoint, Execution, Extent, JoiningMethod,
    Medium, NAMESPACE, ServiceUri, Status, User, XCON,
};
use crate::xml::{Limits, XmlError};

/// How much is read. Local limit: a user takes some 500 octets and 30 nodes.
const LIMITS: Limits = Limits { bytes_max: 2 * 1024 * 1024, nodes_max: 256 * 1024 };

/// Most rows of one kind below one element: users, endpoints, media, URIs. Local limit: no session
/// has more participants.
pub(super) const ROWS_MAX: usize = 4096;

/// What one notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The conference URI.
    pub entity: String,
    /// Its number within the subscription.
    pub version: u32,
    /// How much it tells. Of a deleted conference nothing else is read.
    pub extent: Extent,
    /// `conference-description`, complete when it is there.
    pub description: Option<Description>,
    /// `conference-state`, complete when it is there.
    pub state: Option<ConferenceState>,
    /// `users`.
    pub users: Option<Users>,
}

/// The users of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    /// How much they tell about all there are.
    pub extent: Extent,
    /// Each of them.
    pub rows: Vec<UserRow>,
}

/// A user of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// How much it tells about him.
    pub extent: Extent,
    /// What it tells, without endpoints; what it does not tell is empty.
    pub user: User,
    /// His endpoints.
    pub endpoints: Vec<EndpointRow>,
}

/// An endpoint of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRow {
    /// How much it tells about it.
    pub extent: Extent,
    /// What it tells; what it does not tell is empty.
    pub endpoint: Endpoint,
}

/// Why a document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConferenceInfoError {
    /// It is no such document; one longer than 2 MiB or with more than 262,144 nodes is too large.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// It has more than 4096 users, endpoints of a user, media or URIs.
    #[error("document has too many rows")]
    Rows,
    /// `version` is missing or no number of 32 bits.
    #[error("version is missing or no number")]
    Version,
    /// A `state` is none of those there are.
    #[error("a state is unknown")]
    State,
    /// A key is missing, empty or there twice (§4.5).
    #[error("a key is missing or not the only one")]
    Key,
    /// A number, a truth value, a status or a method is none.
    #[error("a value is none of its kind")]
    Value,
}

use ConferenceInfoError::{Key, Rows, State, Value, Version};

impl Document {
    /// Reads a document. Elements and attributes of other namespaces are passed over, except
    /// `nickname` (RFC 7701).
    ///
    /// # Errors
    /// [`ConferenceInfoError`].
    pub fn parse(octets: &[u8]) -> Result<Self, ConferenceInfoError> {
        let document = NAMESPACE.parse(octets, LIMITS, "conference-info")?;
        let root = document.root_element();
        let version = root.attribute("version").and_then(|version| version.trim().parse().ok());
        let mut read = Self {
            entity: key(root, "entity")?,
            version: version.ok_or(Version)?,
            extent: extent(root, Extent::Partial)?,
            description: None,
            state: None,
            users: None,
        };
        if read.extent != Extent::Deleted {
            let child = |name| NAMESPACE.child(root, name);
            read.description = child("conference-description").map(description).transpose()?;
            read.state = child("conference-state").map(state).transpose()?;
            read.users = child("users").map(|node| users(node, read.extent)).transpose()?;
        }
        Ok(read)
    }
}

/// The `state` of `node`: what is inside a full element is full, whatever it says, unless it is
/// deleted (§4.4).
fn extent(node: Node<'_, '_>, parent: Extent) -> Result<Extent, ConferenceInfoError> {
    let said = node.attribute("state").unwrap_or("full").trim();
    let known = Extent::ALL.iter().find(|(_, name)| *name == said).ok_or(State)?.0;
    Ok(if known == Extent::Partial && parent == Extent::Full { Extent::Full } else { known })
}

fn description(node: Node<'_, '_>) -> Result<Description, ConferenceInfoError> {
    let media = NAMESPACE.child(node, "available-media");
    let media = media.map(|node| rows(node, "entry", |node| medium(node, "label"), |row| &row.id));
    Ok(Description {
        display_text: string(node, "display-text"),
        subject: string(node, "subject"),
        free_text: string(node, "free-text"),
        keywords: string(node, "keywords"),
        conf_uris: uris(node, "conf-uris")?,
        service_uris: uris(node, "service-uris")?,
        maximum_user_count: number(node, "maximum-user-count")?,
        available_media: media.transpose()?.unwrap_or_default(),
    })
}

fn uris(parent: Node<'_, '_>, name: &str) -> Result<Vec<ServiceUri>, ConferenceInfoError> {
    let Some(node) = NAMESPACE.child(parent, name) else { return Ok(Vec::new()) };
    let read = |node: Node<'_, '_>| {
        Ok(ServiceUri {
            uri: NAMESPACE.token(node, "uri").ok_or(Key)?.to_owned(),
            display_text: string(node, "display-text"),
            purpose: string(node, "purpose"),
        })
    };
    rows(node, "entry", read, |row| &row.uri)
}

fn medium(node: Node<'_, '_>, name: &str) -> Result<Medium, ConferenceInfoError> {
    Ok(Medium {
        id: key(node, name)?,
        display_text: string(node, "display-text"),
        kind: string(node, "type"),
        status: string(node, "status"),
    })
}

fn state(node: Node<'_, '_>) -> Result<ConferenceState, ConferenceInfoError> {
    Ok(ConferenceState {
        user_count: number(node, "user-count")?,
        active: truth(node, "active")?,
        locked: truth(node, "locked")?,
    })
}

fn users(node: Node<'_, '_>, parent: Extent) -> Result<Users, ConferenceInfoError> {
    let extent = extent(node, parent)?;
    let rows = rows(node, "user", |node| user(node, extent), |row| &row.user.entity)?;
    Ok(Users { extent, rows })
}

fn user(node: Node<'_, '_>, parent: Extent) -> Result<UserRow, ConferenceInfoError> {
    let extent = extent(node, parent)?;
    let roles = NAMESPACE.child(node, "roles").into_iter();
    let roles = roles.flat_map(|roles| NAMESPACE.children(roles, "entry"));
    let user = User {
        entity: key(node, "entity")?,
        nickname: node.attribute((XCON, "nickname")).map(str::to_owned),
        display_text: string(node, "display-text"),
        roles: roles.filter_map(|role| role.text()).map(str::to_owned).collect(),
        endpoints: Vec::new(),
    };
    let endpoints =
        rows(node, "endpoint", |node| endpoint(node, extent), |row| &row.endpoint.entity)?;
    Ok(UserRow { extent, user, endpoints })
}

fn endpoint(node: Node<'_, '_>, parent: Extent) -> Result<EndpointRow, ConferenceInfoError> {
    let endpoint = Endpoint {
        entity: key(node, "entity")?,
        display_text: string(node, "display-text"),
        referred: execution(node, "referred"),
        status: known(node, "status", &Status::ALL)?,
        joining_method: known(node, "joining-method", &JoiningMethod::ALL)?,
        joining_info: execution(node, "joining-info"),
        disconnection_method: known(node, "disconnection-method", &DisconnectionMethod::ALL)?,
        disconnection_info: execution(node, "disconnection-info"),
        media: rows(node, "media", |node| medium(node, "id"), |row| &row.id)?,
    };
    Ok(EndpointRow { extent: extent(node, parent)?, endpoint })
}

fn execution(parent: Node<'_, '_>, name: &str) -> Option<Execution> {
    let node = NAMESPACE.child(parent, name)?;
    Some(Execution {
        when: string(node, "when"),
        reason: string(node, "reason"),
        by: string(node, "by"),
    })
}

/// The children called `name`, each read with `read`; no two of them may share their key.
fn rows<T>(
    parent: Node<'_, '_>,
    name: &str,
    read: impl Fn(Node<'_, '_>) -> Result<T, ConferenceInfoError>,
    key: impl Fn(&T) -> &String,
) -> Result<Vec<T>, ConferenceInfoError> {
    let mut rows: Vec<T> = Vec::new();
    for node in NAMESPACE.children(parent, name) {
        if rows.len() >= ROWS_MAX {
            return Err(Rows);
        }
        rows.push(read(node)?);
    }
    let mut keys: Vec<&String> = rows.iter().map(key).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair.first() == pair.last()) { Err(Key) } else { Ok(rows) }
}

fn key(node: Node<'_, '_>, attribute: &str) -> Result<String, ConferenceInfoError> {
    let value = node.attribute(attribute).unwrap_or_default();
    if value.trim().is_empty() { Err(Key) } else { Ok(value.to_owned()) }
}

/// The text of the first child called `name`, blanks included; empty when it has none.
fn string(parent: Node<'_, '_>, name: &str) -> Option<String> {
    let child = NAMESPACE.child(parent, name)?;
    Some(child.text().unwrap_or_default().to_owned())
}

fn number(parent: Node<'_, '_>, name: &str) -> Result<Option<u32>, ConferenceInfoError> {
    let Some(text) = NAMESPACE.token(parent, name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Value)
}

fn truth(parent: Node<'_, '_>, name: &str) -> Result<Option<bool>, ConferenceInfoError> {
    match NAMESPACE.token(parent, name) {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(Value),
    }
}

fn known<T: Copy>(
    parent: Node<'_, '_>,
    name: &str,
    all: &[(T, &str)],
) -> Result<Option<T>, ConferenceInfoError> {
    let Some(text) = NAMESPACE.token(parent, name) else { return Ok(None) };
    let row = all.iter().find(|(_, known)| *known == text).ok_or(Value)?;
    Ok(Some(row.0))
}
