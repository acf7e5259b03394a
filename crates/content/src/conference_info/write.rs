//! Writing documents.

use std::borrow::Cow;
use std::fmt::{self, Write};

use bytes::Bytes;

use super::{
    Conference, ConferenceState, Description, DisconnectionMethod, Endpoint, Execution, Extent,
    JoiningMethod, Medium, NAMESPACE, ServiceUri, Status, User, XCON, token,
};
use crate::xml::{DECLARATION, text};

/// What is inside the root element of a full or partial document, rendered.
///
/// It is the same for every subscriber who is told the same, so it is rendered once; the head with
/// the version of the subscription is written in front of it ([`Elements::document`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elements {
    extent: Extent,
    inner: String,
}

/// What became of a user, as a partial document tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserChange<'a> {
    /// He is new, or more of him changed than the rows below say: everything about him.
    Whole(Cow<'a, User>),
    /// The same, as the `Display` of the [`User`] wrote it before.
    Written(&'a str),
    /// Only these endpoints of the user with this `entity` changed: everything about them.
    Endpoints(&'a str, &'a [Endpoint]),
    /// The user with this `entity` is not told about any more.
    Deleted(&'a str),
}

impl Elements {
    /// Everything about a conference (RFC 4575 §5.2).
    pub fn full(conference: &Conference) -> Self {
        let Conference { description, state, users } = conference;
        Self::of_users(description, state, users)
    }

    /// Everything about a conference whose users are somewhere else: each is a [`User`], or what
    /// its `Display` wrote before.
    pub fn of_users<U: fmt::Display>(
        description: &Description,
        state: &ConferenceState,
        users: impl IntoIterator<Item = U>,
    ) -> Self {
        let inner = rendered(|out| {
            // Both are in every full document, also when empty (§5.2).
            write_description(out, description)?;
            if *state != ConferenceState::default() {
                write_state(out, state)?;
            }
            out.write_str("<users>")?;
            for user in users {
                write!(out, "\r\n{user}")?;
            }
            out.write_str("</users>")
        });
        Self { extent: Extent::Full, inner }
    }

    /// What changed; what is not given stays as it was. The cost is that of what is given.
    pub fn partial<'a>(
        description: Option<&Description>,
        state: Option<&ConferenceState>,
        users: impl IntoIterator<Item = UserChange<'a>>,
    ) -> Self {
        let inner = rendered(|out| {
            if let Some(description) = description {
                write_description(out, description)?;
            }
            if let Some(state) = state {
                write_state(out, state)?;
            }
            let mut users = users.into_iter().peekable();
            if users.peek().is_none() {
                return Ok(());
            }
            out.write_str("<users state=\"partial\">")?;
            for change in users {
                out.write_str("\r\n")?;
                write_change(out, &change)?;
            }
            out.write_str("</users>")
        });
        Self { extent: Extent::Partial, inner }
    }

    /// Whether they tell everything.
    pub fn is_full(&self) -> bool {
        self.extent == Extent::Full
    }

    /// The document about the conference `entity` with the `version` of a subscription (§5.2): a
    /// partial one is one more than the one before.
    pub fn document(&self, entity: &str, version: u32) -> Bytes {
        document(entity, self.extent, version, &self.inner)
    }
}

/// The document that tells that the conference `entity` is over (RFC 4575 §4.6).
pub fn deleted(entity: &str, version: u32) -> Bytes {
    document(entity, Extent::Deleted, version, "")
}

fn document(entity: &str, extent: Extent, version: u32, inner: &str) -> Bytes {
    let mut out = String::with_capacity(320 + entity.len() + inner.len());
    let written = rendered_into(&mut out, |out| {
        write!(out, "{DECLARATION}<conference-info xmlns=\"{}\"", NAMESPACE.0)?;
        write!(out, " xmlns:xcon=\"{XCON}\"")?;
        attribute(out, "entity", entity)?;
        write!(out, " state=\"{}\" version=\"{version}\">", token(&Extent::ALL, extent))?;
        out.write_str(inner)?;
        out.write_str("</conference-info>\r\n")
    });
    Bytes::from(written)
}

fn rendered(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    rendered_into(&mut String::new(), write)
}

fn rendered_into(out: &mut String, write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    write(out).expect("writing to a String does not fail");
    std::mem::take(out)
}

fn write_description(out: &mut String, description: &Description) -> fmt::Result {
    let Description { display_text, subject, free_text, keywords, .. } = description;
    out.write_str("<conference-description>")?;
    optional(out, "display-text", display_text.as_deref())?;
    optional(out, "subject", subject.as_deref())?;
    optional(out, "free-text", free_text.as_deref())?;
    optional(out, "keywords", keywords.as_deref())?;
    write_uris(out, "conf-uris", &description.conf_uris)?;
    write_uris(out, "service-uris", &description.service_uris)?;
    if let Some(count) = description.maximum_user_count {
        write!(out, "<maximum-user-count>{count}</maximum-user-count>")?;
    }
    if !description.available_media.is_empty() {
        out.write_str("<available-media>")?;
        for medium in &description.available_media {
            write_medium(out, "entry", "label", medium)?;
        }
        out.write_str("</available-media>")?;
    }
    out.write_str("</conference-description>")
}

fn write_uris(out: &mut String, name: &str, uris: &[ServiceUri]) -> fmt::Result {
    if uris.is_empty() {
        return Ok(());
    }
    write!(out, "<{name}>")?;
    for ServiceUri { uri, display_text, purpose } in uris {
        out.write_str("<entry>")?;
        optional(out, "uri", Some(uri))?;
        optional(out, "display-text", display_text.as_deref())?;
        optional(out, "purpose", purpose.as_deref())?;
        out.write_str("</entry>")?;
    }
    write!(out, "</{name}>")
}

fn write_medium(out: &mut impl Write, name: &str, key: &str, medium: &Medium) -> fmt::Result {
    write!(out, "<{name}")?;
    attribute(out, key, &medium.id)?;
    out.write_char('>')?;
    optional(out, "display-text", medium.display_text.as_deref())?;
    optional(out, "type", medium.kind.as_deref())?;
    optional(out, "status", medium.status.as_deref())?;
    write!(out, "</{name}>")
}

fn write_state(out: &mut String, state: &ConferenceState) -> fmt::Result {
    out.write_str("<conference-state>")?;
    if let Some(count) = state.user_count {
        write!(out, "<user-count>{count}</user-count>")?;
    }
    for (name, value) in [("active", state.active), ("locked", state.locked)] {
        if let Some(value) = value {
            write!(out, "<{name}>{value}</{name}>")?;
        }
    }
    out.write_str("</conference-state>")
}

fn write_change(out: &mut String, change: &UserChange<'_>) -> fmt::Result {
    match change {
        UserChange::Whole(user) => write!(out, "{user}"),
        UserChange::Written(element) => out.write_str(element),
        UserChange::Endpoints(entity, endpoints) => {
            out.write_str("<user")?;
            attribute(out, "entity", entity)?;
            out.write_str(" state=\"partial\">")?;
            for endpoint in *endpoints {
                write_endpoint(out, endpoint)?;
            }
            out.write_str("</user>")
        }
        UserChange::Deleted(entity) => {
            out.write_str("<user")?;
            attribute(out, "entity", entity)?;
            out.write_str(" state=\"deleted\"/>")
        }
    }
}

/// Writes the element of a user with everything about him.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_user(f, self)
    }
}

fn write_user(out: &mut impl Write, user: &User) -> fmt::Result {
    out.write_str("<user")?;
    attribute(out, "entity", &user.entity)?;
    out.write_str(" state=\"full\"")?;
    if let Some(nickname) = &user.nickname {
        attribute(out, "xcon:nickname", nickname)?;
    }
    out.write_char('>')?;
    optional(out, "display-text", user.display_text.as_deref())?;
    if !user.roles.is_empty() {
        out.write_str("<roles>")?;
        for role in &user.roles {
            optional(out, "entry", Some(role))?;
        }
        out.write_str("</roles>")?;
    }
    for endpoint in &user.endpoints {
        write_endpoint(out, endpoint)?;
    }
    out.write_str("</user>")
}

fn write_endpoint(out: &mut impl Write, endpoint: &Endpoint) -> fmt::Result {
    out.write_str("<endpoint")?;
    attribute(out, "entity", &endpoint.entity)?;
    out.write_str(" state=\"full\">")?;
    optional(out, "display-text", endpoint.display_text.as_deref())?;
    write_execution(out, "referred", endpoint.referred.as_ref())?;
    let status = endpoint.status.map(|status| token(&Status::ALL, status));
    optional(out, "status", status)?;
    let joined = endpoint.joining_method.map(|method| token(&JoiningMethod::ALL, method));
    optional(out, "joining-method", joined)?;
    write_execution(out, "joining-info", endpoint.joining_info.as_ref())?;
    let left = endpoint.disconnection_method;
    let left = left.map(|method| token(&DisconnectionMethod::ALL, method));
    optional(out, "disconnection-method", left)?;
    write_execution(out, "disconnection-info", endpoint.disconnection_info.as_ref())?;
    for medium in &endpoint.media {
        write_medium(out, "media", "id", medium)?;
    }
    out.write_str("</endpoint>")
}

fn write_execution(out: &mut impl Write, name: &str, execution: Option<&Execution>) -> fmt::Result {
    let Some(Execution { when, reason, by }) = execution else { return Ok(()) };
    write!(out, "<{name}>")?;
    optional(out, "when", when.as_deref())?;
    optional(out, "reason", reason.as_deref())?;
    optional(out, "by", by.as_deref())?;
    write!(out, "</{name}>")
}

fn optional(out: &mut impl Write, name: &str, value: Option<&str>) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    write!(out, "<{name}>")?;
    text(out, value)?;
    write!(out, "</{name}>")
}

fn attribute(out: &mut impl Write, name: &str, value: &str) -> fmt::Result {
    write!(out, " {name}=\"")?;
    text(out, value)?;
    out.write_char('"')
}
