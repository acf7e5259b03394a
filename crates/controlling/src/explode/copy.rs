//! The copies (RFC 5365 §7.3, §7.4; RFC 5364 §7).

use bytes::Bytes;
use parlance_content::multipart::{Builder, NewPart};
use parlance_content::resource_lists::{
    self, DisplayName, MEDIA_TYPE, RECIPIENT_LIST, RECIPIENT_LIST_HISTORY,
};
use parlance_isc::trust::Originator;
use parlance_isc::{Cx, MAX_FORWARDS, Way};
use parlance_msrp::endpoint::Description;
use parlance_sip::header::{
    Authorization, Encode, From, Header, NameAddr, Params, Privacy, ProxyAuthorization, SIP_IM,
    SIP_IM_LARGE_MESSAGE,
};
use parlance_sip::sdp::Sdp;
use parlance_sip::{HeaderName, Method, Request, RequestBuilder};

use super::job::{About, Ids, Recipient};
use crate::caller;
use crate::list::{self, Body, Invitee};
use crate::policy::Policy;

/// `Max-Breadth` of a request that nobody sent on yet (RFC 5393 §5.3.3).
const MAX_BREADTH: u32 = 60;

/// Octets that each copy has of its own: Request-URI, Via, To, Call-ID and the like.
pub(super) const OWN_OCTETS: usize = 350;

/// Says to others of this domain that a copy is one (`isc` refuses it where groups would nest).
const EXPLODED: &[u8] = b"P-IM-Exploded";

/// Whose message it is when the sender wants to stay unknown (RFC 3323 §4.1.1.3).
const ANONYMOUS: &[u8] = b"\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// Whether a field is what the sender says about the message as a whole: it goes into the copies
/// (RFC 5365 §7.3).
fn is_said(name: HeaderName, written: &[u8]) -> bool {
    match name {
        HeaderName::AcceptContact
        | HeaderName::Subject
        | HeaderName::Date
        | HeaderName::Expires
        | HeaderName::Privacy => true,
        HeaderName::Other => [b"priority".as_slice(), b"in-reply-to"]
            .iter()
            .any(|name| written.eq_ignore_ascii_case(name)),
        _ => false,
    }
}

/// What a message says, without the lists of its recipients.
#[derive(Clone, Debug)]
pub(super) struct Content {
    /// Header fields about the content as a whole, when it is not written anew.
    fields: Vec<(String, String)>,
    body: Bytes,
    /// Its parts, when there are several.
    parts: Vec<NewPart>,
}

impl Content {
    /// That of a request whose body was taken apart; `None` when nothing is left. One part that is
    /// left is the content by itself.
    pub(super) fn of(request: &Request, body: &Body) -> Option<Self> {
        if body.single.is_some() {
            let fields = request.fields().filter_map(|(name, written, value)| {
                let full = name.as_str();
                let name = if full.is_empty() { text(written)? } else { full };
                let about = name.len() > 8
                    && name.as_bytes().get(..8)?.eq_ignore_ascii_case(b"content-")
                    && !name.eq_ignore_ascii_case("content-length");
                let about = about || name.eq_ignore_ascii_case("mime-version");
                about.then(|| Some((name.to_owned(), text(value)?.to_owned())))?
            });
            let fields = fields.collect();
            return Some(Self { fields, body: request.body_bytes(), parts: Vec::new() });
        }
        // A list nobody here could read, such as an encrypted one, is for this service as well.
        let parts = body.parts.iter().filter(|part| {
            let disposition = part.headers.content_disposition();
            !disposition.is_some_and(|kind| kind.is(RECIPIENT_LIST))
        });
        let parts: Vec<_> = parts.collect();
        match parts.as_slice() {
            [] => None,
            [part] => {
                let about = |name: &str| {
                    name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("content-"))
                        && !name.eq_ignore_ascii_case("content-length")
                };
                let fields = part.headers.iter().filter(|(name, _)| about(name));
                let mut fields: Vec<_> =
                    fields.map(|(name, value)| (name.to_owned(), one_line(value))).collect();
                if part.headers.content_type().is_none() {
                    fields.push(("Content-Type".to_owned(), "text/plain".to_owned()));
                }
                Some(Self { fields, body: part.body.clone(), parts: Vec::new() })
            }
            _ => {
                let parts = parts.into_iter().map(|part| {
                    let value = |name| part.headers.value(name).map(one_line);
                    let mut new = NewPart::new(
                        value("Content-Type").unwrap_or_else(|| "text/plain".to_owned()),
                        part.body.clone(),
                    );
                    new.content_disposition = value("Content-Disposition");
                    new.content_id =
                        part.headers.content_id().map(|id| id.trim_matches(['<', '>']).to_owned());
                    new.transfer_encoding = value("Content-Transfer-Encoding");
                    new
                });
                Some(Self { fields: Vec::new(), body: Bytes::new(), parts: parts.collect() })
            }
        }
    }

    /// That of a message which came over MSRP. Its content is binary there (RFC 4975 §7.1.1).
    pub(super) fn of_send(description: &Description, body: &Bytes) -> Self {
        let mut fields = vec![("Content-Type".to_owned(), description.content_type.to_string())];
        let lines = description.headers.split(|octet| *octet == b'\n');
        fields.extend(lines.filter_map(|line| {
            let (name, value) = text(line)?.split_once(':')?;
            let lower = name.trim().to_ascii_lowercase();
            let describes = lower.starts_with("content-")
                && !["content-type", "content-length", "content-transfer-encoding"]
                    .contains(&lower.as_str());
            describes.then(|| (name.trim().to_owned(), value.trim().to_owned()))
        }));
        Self { fields, body: body.clone(), parts: Vec::new() }
    }

    /// How large it is, the framing of parts not counted.
    pub(super) fn octets(&self) -> usize {
        self.body.len() + self.parts.iter().map(|part| part.body.len()).sum::<usize>()
    }

    /// The header fields and the body, with `history` as a further part.
    fn written(&self, history: Option<&str>, seed: &str) -> Option<(Vec<(String, String)>, Bytes)> {
        let mut parts = self.parts.clone();
        if let Some(history) = history {
            if parts.is_empty() {
                parts.push(self.as_part());
            }
            parts.push(of_list(history));
        }
        if parts.is_empty() {
            return Some((self.fields.clone(), self.body.clone()));
        }
        let parts = parts.into_iter().fold(Builder::mixed(), Builder::part);
        let built = parts.build(seed).ok()?;
        Some((vec![("Content-Type".to_owned(), built.content_type)], built.body))
    }

    fn as_part(&self) -> NewPart {
        let value = |name: &str| {
            let mut fields = self.fields.iter();
            let found = fields.find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| one_line(value))
        };
        let content_type = value("Content-Type").unwrap_or_else(|| "text/plain".to_owned());
        let mut part = NewPart::new(content_type, self.body.clone());
        part.content_disposition = value("Content-Disposition");
        part.content_id = value("Content-ID").map(|id| id.trim_matches(['<', '>']).to_owned());
        part.transfer_encoding = value("Content-Transfer-Encoding");
        part
    }
}

/// What the template of the copies is made of.
pub(super) struct Template<'a> {
    pub(super) request: &'a Request,
    pub(super) originator: &'a Originator,
    /// Whether what the peer asserts is believed.
    pub(super) is_inside: bool,
    /// The realms of this server.
    pub(super) domains: &'a [String],
    /// The group, if it is one.
    pub(super) group: Option<&'a [u8]>,
    pub(super) policy: &'a Policy,
}

impl Template<'_> {
    /// A MESSAGE with everything that all copies have; `None` when it cannot be written. The list
    /// of `recipients` as they may see it goes along if there is room.
    pub(super) fn build(
        &self,
        content: Content,
        recipients: &[Invitee],
        seed: &str,
    ) -> Option<Request> {
        let history = self.policy.list_history.then(|| history(recipients)).flatten();
        if let Some(history) = history {
            let with = self.with_content(&content, Some(&history), SIP_IM, seed)?;
            let room = self.policy.explode.copy_octets_max as usize;
            if with.bytes().len() + OWN_OCTETS <= room {
                return Some(with);
            }
        }
        self.with_content(&content, None, SIP_IM, seed)
    }

    /// The same for a message that goes in sessions, whose INVITEs tell of the other recipients.
    pub(super) fn build_large(&self, content: &Content, seed: &str) -> Option<Request> {
        self.with_content(content, None, SIP_IM_LARGE_MESSAGE, seed)
    }

    fn with_content(
        &self,
        content: &Content,
        history: Option<&str>,
        tag: &str,
        seed: &str,
    ) -> Option<Request> {
        let request = self.request;
        let anonymous = caller::is_anonymous(request);
        let from = if anonymous { ANONYMOUS.to_vec() } else { sender(request)? };
        let mut template = RequestBuilder::new("MESSAGE", "sip:copy.invalid")
            .octets(HeaderName::From.as_str().as_bytes(), &from);
        for (name, value) in self.asserted() {
            template = template.octets(name.as_str().as_bytes(), &value);
        }
        // Of an INVITE it says that a large message comes, which may go on as a small one.
        let is_invite = request.method() == Method::Invite;
        for (name, written, value) in request.fields() {
            if is_said(name, written) && !(is_invite && name == HeaderName::AcceptContact) {
                let full = name.as_str().as_bytes();
                template = template.octets(if full.is_empty() { written } else { full }, value);
            }
        }
        if is_invite || !request.has(HeaderName::AcceptContact) {
            let tag = format!("*;{tag};require;explicit");
            template = template.header(HeaderName::AcceptContact, tag);
        }
        for (name, value) in self.foreign_credentials() {
            template = template.octets(name.as_str().as_bytes(), value);
        }
        if let Some(group) = self.group.filter(|_| self.policy.explode.referred_by) {
            let value = [b"<", group, b">"].concat();
            template = template.octets(HeaderName::ReferredBy.as_str().as_bytes(), &value);
        }
        let (fields, body) = content.written(history, seed)?;
        for (name, value) in fields {
            template = template.octets(name.as_bytes(), value.as_bytes());
        }
        template.build(&body)
    }

    /// Who the sender is: as the core asserts it, else as he was authenticated.
    fn asserted(&self) -> Vec<(HeaderName, Vec<u8>)> {
        let name = HeaderName::PAssertedIdentity;
        if self.is_inside && self.request.has(name) {
            return self.request.values(name).map(|value| (name, value.to_vec())).collect();
        }
        let Originator { address, alias, .. } = self.originator;
        let identities = std::iter::once(address).chain(alias);
        identities.map(|identity| (name, format!("<{identity}>").into_bytes())).collect()
    }

    /// Credentials for another realm than ours: those for ours are spent (RFC 5365 §7.3).
    fn foreign_credentials(&self) -> impl Iterator<Item = (HeaderName, &[u8])> {
        let is_ours = |realm: Option<&str>| {
            realm.is_none_or(|realm| self.domains.iter().any(|own| own.eq_ignore_ascii_case(realm)))
        };
        let names = [HeaderName::Authorization, HeaderName::ProxyAuthorization];
        let all = names
            .into_iter()
            .flat_map(|name| self.request.values(name).map(move |value| (name, value)));
        all.filter(move |(name, value)| {
            let realm = if *name == HeaderName::Authorization {
                Authorization::parse(value).ok().and_then(|it| it.value("realm")?.as_str())
            } else {
                ProxyAuthorization::parse(value).ok().and_then(|it| it.value("realm")?.as_str())
            };
            !is_ours(realm)
        })
    }
}

/// From without its tag and other parameters.
fn sender(request: &Request) -> Option<Vec<u8>> {
    let from = request.header::<From<'_>>().ok()??;
    let mut written = Vec::new();
    NameAddr { params: Params::default(), ..from.address() }.write_to(&mut written);
    Some(written)
}

/// The list of those who may see one another; `None` when nobody is seen (RFC 5364 §6).
pub(super) fn history(recipients: &[Invitee]) -> Option<String> {
    let recipients: Vec<_> = recipients
        .iter()
        .map(|invitee| resource_lists::Recipient {
            uri: invitee.uri.clone(),
            display_name: invitee
                .display_name
                .clone()
                .map(|text| DisplayName { text, language: None }),
            copy_control: invitee.copy_control,
            anonymize: invitee.anonymize,
        })
        .collect();
    resource_lists::history(&recipients).map(|list| list.to_string())
}

fn of_list(history: &str) -> NewPart {
    let mut part = NewPart::new(MEDIA_TYPE, history.to_owned());
    part.content_disposition = Some(format!("{RECIPIENT_LIST_HISTORY}; handling=optional"));
    part
}

/// Whether a header field is about the content.
fn is_about_content(name: &[u8]) -> bool {
    let starts = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
    starts || name.eq_ignore_ascii_case(b"mime-version")
}

/// What one copy is made of.
pub(super) struct Copy<'a> {
    pub(super) cx: &'a Cx,
    pub(super) policy: &'a Policy,
    pub(super) way: &'a Way,
    pub(super) template: &'a Request,
    pub(super) recipient: &'a Recipient,
    pub(super) ids: &'a Ids,
}

impl Copy<'_> {
    /// The MESSAGE; `None` when a value of it cannot stand in one.
    pub(super) fn build(&self) -> Option<Request> {
        self.head(Method::Message).build(self.template.body())
    }

    /// The INVITE to a session in which the message comes; the list of all recipients goes along.
    /// `None` when a value of it cannot stand in one.
    pub(super) fn invite(
        &self,
        offer: &Sdp,
        history: Option<&str>,
        contact: &str,
    ) -> Option<Request> {
        let invite = self.head(Method::Invite).header(HeaderName::Contact, contact);
        let offer = offer.to_string();
        let Some(history) = history else {
            return invite.header(HeaderName::ContentType, list::SDP).build(offer.as_bytes());
        };
        let parts = Builder::mixed().part(NewPart::new(list::SDP, offer)).part(of_list(history));
        let body = parts.build(&self.cx.tag()).ok()?;
        invite.header(HeaderName::ContentType, body.content_type).build(&body.body)
    }

    /// The header fields; of an INVITE without those about the content.
    fn head(&self, method: Method<'static>) -> RequestBuilder {
        let Self { recipient, template, .. } = self;
        let is_invite = method == Method::Invite;
        let mut copy = RequestBuilder::new(method, &recipient.uri)
            .header(HeaderName::MaxForwards, MAX_FORWARDS)
            .header(HeaderName::MaxBreadth, MAX_BREADTH);
        if let Some(route) = &self.way.route {
            copy = copy.header(HeaderName::Route, route);
        }
        copy = copy
            .header(HeaderName::To, format_args!("<{}>", recipient.uri))
            .header(HeaderName::CallId, &self.ids.call_id)
            .header(HeaderName::CSeq, format_args!("1 {}", method.as_str()))
            .header(HeaderName::PChargingVector, charging(self.cx, self.policy))
            .octets(EXPLODED, b"1");
        let own = |name: &[u8]| {
            let mut headers = recipient.headers.iter();
            headers.any(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
        };
        for (name, written, value) in template.fields() {
            let full = name.as_str().as_bytes();
            let full = if full.is_empty() { written } else { full };
            match name {
                HeaderName::ContentLength => continue,
                _ if is_invite && is_about_content(full) => continue,
                HeaderName::PAssertedIdentity if !self.may_assert() => continue,
                HeaderName::From => {
                    let tagged = [value, b";tag=", self.ids.from_tag.as_bytes()].concat();
                    copy = copy.octets(full, &tagged);
                }
                // That a large message comes is not for a list to change.
                HeaderName::AcceptContact if is_invite => copy = copy.octets(full, value),
                _ if own(full) => continue,
                _ => copy = copy.octets(full, value),
            }
        }
        for (name, value) in &recipient.headers {
            copy = copy.octets(name.as_bytes(), value.as_bytes());
        }
        copy
    }

    /// Whether the next hop may learn who the sender is: one of the core may; where a URI alone
    /// leads only if he says that nothing is to be hidden (RFC 3325 §7).
    fn may_assert(&self) -> bool {
        let privacy = self.template.header::<Privacy<'_>>().ok().flatten();
        self.way.route.is_some() || privacy.is_some_and(|privacy| privacy.is_none())
    }
}

/// What tells the sender how it went is made of.
pub(super) struct Notice<'a> {
    pub(super) cx: &'a Cx,
    pub(super) policy: &'a Policy,
    pub(super) way: &'a Way,
    pub(super) about: &'a About,
    pub(super) ids: &'a Ids,
}

impl Notice<'_> {
    /// A MESSAGE of the service to the sender.
    pub(super) fn build(&self, content_type: &str, body: &[u8]) -> Option<Request> {
        let About { originator, service, .. } = self.about;
        let mut notice = RequestBuilder::new("MESSAGE", originator)
            .header(HeaderName::MaxForwards, MAX_FORWARDS);
        if let Some(route) = &self.way.route {
            notice = notice.header(HeaderName::Route, route);
        }
        notice
            .header(HeaderName::From, format_args!("<{service}>;tag={}", self.ids.from_tag))
            .header(HeaderName::To, format_args!("<{originator}>"))
            .header(HeaderName::CallId, &self.ids.call_id)
            .header(HeaderName::CSeq, "1 MESSAGE")
            .header(HeaderName::PAssertedIdentity, format_args!("<{service}>"))
            .header(HeaderName::PChargingVector, charging(self.cx, self.policy))
            .header(HeaderName::AcceptContact, format_args!("*;{SIP_IM}"))
            .header(HeaderName::ContentType, content_type)
            .build(body)
    }
}

/// A new charging identifier: each copy is a transaction of its own (RFC 7315 §4.6).
fn charging(cx: &Cx, policy: &Policy) -> String {
    parlance_isc::charging_vector(cx, None, policy.ioi.as_deref())
}

fn text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok()
}

/// A folded value as one line.
fn one_line(value: &str) -> String {
    value
        .split(['\r', '\n'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
