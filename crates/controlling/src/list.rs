//! The list of recipients in a request to a URI-list service (RFC 5363, RFC 5366, RFC 5368).
//!
//! [`Body::read`] takes the body apart, [`invitees`] says whom its lists name. Several lists in one
//! request count as one (RFC 5363 §4.1). An `entry-ref` or `external` is not followed: nothing here
//! holds documents they could name.

use bytes::Bytes;
use parlance_content::multipart::{Limits, Multipart, Part};
use parlance_content::resource_lists::{
    self, CopyControl, MEDIA_TYPE, RECIPIENT_LIST, ResourceLists,
};
use parlance_content::{ContentDisposition, MediaType};
use parlance_sip::uri::{Aor, Uri, UriHeaders, unescape};
use parlance_sip::{HeaderName, Request};

use crate::refusal::Refusal;

/// The type of a session description.
pub const SDP: &str = "application/sdp";

/// The header fields that an entry's URI may set in the request to it (RFC 5365 §7.2 leaves this to
/// the server). Whatever else it says is dropped: it would be said in somebody else's name.
const URI_HEADERS: [&str; 5] =
    ["Accept-Contact", "Reject-Contact", "Request-Disposition", "Priority", "Subject"];

/// What may be set for an INVITE besides (RFC 3891).
const REPLACES: &str = "Replaces";

/// The body of a request, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The lists of recipients.
    pub lists: Vec<ListPart>,
    /// The body when it is no `multipart/*` and no list: type and octets.
    pub single: Option<(String, Bytes)>,
    /// What else is in a `multipart/*`.
    pub parts: Vec<Part>,
}

/// One list of recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPart {
    /// Its Content-ID, without angle brackets, if it has one.
    pub content_id: Option<String>,
    /// The document.
    pub octets: Bytes,
}

/// Somebody whom a list names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitee {
    /// Who it is.
    pub address: Aor,
    /// Where the request goes: the URI without `method` and headers.
    pub uri: String,
    /// What the list calls him.
    pub display_name: Option<String>,
    /// What the others may know of him.
    pub copy_control: CopyControl,
    /// Whether the others are not to see his URI.
    pub anonymize: bool,
    /// The `method` of the entry, in capitals, if it says one. Only a REFER heeds it.
    pub method: Option<String>,
    /// Header fields for the request to him.
    pub headers: Vec<(&'static str, String)>,
}

impl Invitee {
    /// Somebody who is named without a list.
    ///
    /// # Errors
    /// The URI is none of a user.
    pub fn new(uri: &str) -> Result<Self, Refusal> {
        invitee(uri).ok_or(Refusal::Malformed("Bad URI"))
    }

    /// Whether the others are not to know who he is before he is in (CF-081).
    pub fn is_hidden(&self) -> bool {
        self.anonymize || self.copy_control == CopyControl::Bcc
    }
}

impl Body {
    /// Takes the body of `request` apart.
    ///
    /// # Errors
    /// Its type or its parts cannot be read.
    pub fn read(request: &Request) -> Result<Self, Refusal> {
        let mut body = Self::default();
        if request.body().is_empty() {
            return Ok(body);
        }
        let text = |name| request.field(name).and_then(|value| std::str::from_utf8(value).ok());
        let content_type = text(HeaderName::ContentType).unwrap_or_default();
        let media = MediaType::parse(content_type);
        let media = media.map_err(|_| Refusal::Malformed("Bad Content-Type"))?;
        if media.is_multipart() {
            let parts = Multipart::parse(&media, &request.body_bytes(), &Limits::default());
            let parts = parts.map_err(|_| Refusal::Malformed("Bad multipart body"))?.into_parts();
            for part in parts {
                body.take(part);
            }
            return Ok(body);
        }
        let disposition = text(HeaderName::ContentDisposition).map(ContentDisposition::parse);
        let octets = request.body_bytes();
        if media.is(MEDIA_TYPE) && disposition.is_some_and(|kind| kind.is(RECIPIENT_LIST)) {
            body.lists.push(ListPart { content_id: None, octets });
        } else {
            body.single = Some((content_type.to_owned(), octets));
        }
        Ok(body)
    }

    fn take(&mut self, part: Part) {
        let disposition = part.headers.content_disposition();
        let is_list = part.headers.is_type(MEDIA_TYPE)
            && disposition.is_some_and(|kind| kind.is(RECIPIENT_LIST));
        if !is_list {
            self.parts.push(part);
            return;
        }
        let id = part.headers.content_id();
        let id = id.map(|id| id.trim_matches(['<', '>', ' ']).to_owned());
        self.lists.push(ListPart { content_id: id, octets: part.body });
    }

    /// The session description in it.
    pub fn description(&self) -> Option<Bytes> {
        if let Some((content_type, octets)) = &self.single {
            let media = MediaType::parse(content_type).ok()?;
            return media.is(SDP).then(|| octets.clone());
        }
        let part = self.parts.iter().find(|part| part.headers.is_type(SDP))?;
        Some(part.body.clone())
    }

    /// Whether there is something in it that whoever sent it wants understood, and that is no
    /// session description (RFC 3261 §20.11: `handling` is `required` unless it says otherwise).
    pub fn asks_for_more(&self) -> bool {
        use parlance_content::Handling;
        let required = |part: &Part| {
            !part.headers.is_type(SDP)
                && part.headers.content_disposition().map(|kind| kind.handling())
                    != Some(Handling::Optional)
        };
        match &self.single {
            Some(_) => self.description().is_none(),
            None => self.parts.iter().any(required),
        }
    }

    /// The list with this Content-ID.
    pub fn list(&self, content_id: &str) -> Option<&ListPart> {
        self.lists.iter().find(|list| list.content_id.as_deref() == Some(content_id))
    }
}

/// Whom `lists` name: each once, with the highest copy level of the entries that name him, and
/// without those who go by one of the names of `sender` (CF-006).
///
/// Entries that name nobody a request could go to, such as `mailto:`, are left out.
///
/// # Errors
/// A list or a URI in it cannot be read, or there are more than `max` of them.
pub fn invitees<'a>(
    lists: impl IntoIterator<Item = &'a ListPart>,
    sender: &[Aor],
    max: usize,
) -> Result<Vec<Invitee>, Refusal> {
    let mut entries = Vec::new();
    for list in lists {
        let read = ResourceLists::parse(&list.octets, &resource_lists::Limits::default());
        entries.extend(read.map_err(|_| Refusal::Malformed("Bad recipient list"))?.entries());
    }
    if entries.iter().any(|entry| Uri::parse(entry.uri.as_bytes()).is_err()) {
        return Err(Refusal::Malformed("Bad URI in recipient list"));
    }
    let key = |uri: &str| Aor::parse(uri).ok().filter(|address| !sender.contains(address));
    let recipients = resource_lists::recipients(entries, key);
    if recipients.len() > max {
        return Err(Refusal::ListTooLong);
    }
    let invitees = recipients.into_iter().filter_map(|recipient| {
        Some(Invitee {
            display_name: recipient.display_name.map(|name| name.text),
            copy_control: recipient.copy_control,
            anonymize: recipient.anonymize,
            ..invitee(&recipient.uri)?
        })
    });
    Ok(invitees.collect())
}

/// Whom one URI names. What of it belongs into a request and not into its Request-URI is taken
/// apart (RFC 3261 §19.1.1, Table 1; CF-007).
fn invitee(text: &str) -> Option<Invitee> {
    let uri = Uri::parse(text.as_bytes()).ok()?;
    let address = Aor::from_uri(&uri)?;
    let mut found = Invitee {
        address,
        uri: text.to_owned(),
        display_name: None,
        copy_control: CopyControl::To,
        anonymize: false,
        method: None,
        headers: Vec::new(),
    };
    let Some(sip) = uri.as_sip() else { return Some(found) };
    // RFC 5368 prints the method as a header (§4, CF-009).
    let method = sip.params.value("method").or_else(|| header(sip.headers, "method"));
    found.method = method.map(str::to_ascii_uppercase);
    for name in URI_HEADERS.into_iter().chain([REPLACES]) {
        let Some(value) = header(sip.headers, name) else { continue };
        let value = String::from_utf8_lossy(&unescape(value)).into_owned();
        if !value.chars().any(char::is_control) {
            found.headers.push((name, value));
        }
    }
    found.uri = bare(text, &uri);
    Some(found)
}

fn header<'a>(headers: UriHeaders<'a>, name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A URI without `method` and without headers.
fn bare(text: &str, uri: &Uri<'_>) -> String {
    let Some(sip) = uri.as_sip() else { return text.to_owned() };
    let mut out = format!("{}:", sip.scheme());
    if let Some(user) = sip.user {
        out.push_str(user);
        if let Some(password) = sip.password {
            out.push(':');
            out.push_str(password);
        }
        out.push('@');
    }
    out.push_str(sip.host.as_str());
    if let Some(port) = sip.port {
        out.push_str(&format!(":{port}"));
    }
    for (name, value) in sip.params.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("method"))
    {
        out.push(';');
        out.push_str(name);
        if let Some(value) = value {
            out.push('=');
            out.push_str(value);
        }
    }
    out
}

#[cfg(test)]
mod tests;
