//! The contacts of a user, as the client's REGISTER inside the third-party one shows them.

use parlance_content::{MediaType, multipart, sip_message};
use parlance_sip::header::{Contact, Expires};
use parlance_sip::message::Limits;
use parlance_sip::uri::Uri;
use parlance_sip::{HeaderName, Message, Request};
use parlance_store::{self as store, LIST_MAX, Registration};

use crate::feature::has_im_tag;

/// What a client's REGISTER changes about its user's contacts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Every contact goes first: `Contact: *` with `Expires: 0`.
    all_gone: bool,
    /// Contacts in order, and whether each stays.
    contacts: Vec<(store::Contact, bool)>,
    /// What the answer to it says is registered; `None` without one.
    left: Option<Vec<store::Contact>>,
}

impl Told {
    /// Reads the body of a third-party REGISTER; `None` when it tells nothing about contacts: no
    /// such body, one that cannot be read, or one without a good Contact: without any it only asks.
    pub(super) fn read(request: &Request) -> Option<Self> {
        let content_type = std::str::from_utf8(request.field(HeaderName::ContentType)?).ok()?;
        let media = MediaType::parse(content_type).ok()?;
        let limits = multipart::Limits::default();
        let found = sip_message::embedded(&media, &request.body_bytes(), &limits);
        let messages = found.unwrap_or_else(|error| {
            tracing::debug!(%error, "the body of a third-party REGISTER cannot be read");
            Vec::new()
        });
        let messages = messages
            .into_iter()
            .filter_map(|octets| Message::parse_datagram(octets, &Limits::default()).ok());
        let (requests, responses): (Vec<_>, Vec<_>) = messages.partition(Message::is_request);
        let register = requests.iter().find(|message| message.has(HeaderName::Contact))?;
        let mut told = Self::of(register);
        if told.contacts.is_empty() && !told.all_gone {
            return None;
        }
        let answer = responses.iter().find(|message| message.has(HeaderName::Contact));
        told.left = answer.map(|answer| {
            let contacts = answer.list::<Contact<'_>>().filter_map(Result::ok);
            contacts.filter_map(|contact| kept(&contact)).collect()
        });
        Some(told)
    }

    fn of(register: &Message) -> Self {
        let default = register.header::<Expires>().ok().flatten().map(|expires| expires.0);
        let mut told = Self::default();
        for contact in register.list::<Contact<'_>>().filter_map(Result::ok) {
            let stays = contact.expires().or(default) != Some(0);
            match kept(&contact) {
                Some(contact) => told.contacts.push((contact, stays)),
                None => told.all_gone = default == Some(0),
            }
        }
        told
    }

    /// The contacts of the user after it. Above [`LIST_MAX`] the oldest go.
    pub(super) fn merge(self, known: Option<&Registration>) -> Vec<store::Contact> {
        let mut contacts = match known {
            Some(known) if !self.all_gone => known.contacts.clone(),
            _ => Vec::new(),
        };
        if let Some(left) = &self.left {
            contacts.retain(|contact| left.iter().any(|left| is_same(left, contact)));
        }
        for (contact, stays) in self.contacts {
            contacts.retain(|known| !is_same(known, &contact));
            if stays {
                contacts.push(contact);
            }
        }
        let excess = contacts.len().saturating_sub(LIST_MAX);
        contacts.drain(..excess);
        contacts
    }
}

/// Whether two are the contact of one device: by its instance, or else by URI.
pub(super) fn is_same(one: &store::Contact, two: &store::Contact) -> bool {
    if let (Some(one), Some(two)) = (&one.instance, &two.instance) {
        return one == two;
    }
    let parsed = (Uri::parse(one.uri.as_bytes()), Uri::parse(two.uri.as_bytes()));
    match parsed {
        (Ok(one), Ok(two)) => one.equivalent(&two),
        _ => one.uri == two.uri,
    }
}

/// What is kept of a contact; `None` for `*`.
pub(super) fn kept(contact: &Contact<'_>) -> Option<store::Contact> {
    let uri = contact.address()?.uri.to_string();
    let features = contact.features();
    let tags = features
        .iter()
        .filter(|feature| !feature.tag.eq_ignore_ascii_case("+sip.instance"))
        .map(|feature| match feature.value {
            None => feature.tag.to_owned(),
            Some(value) => format!("{}={value}", feature.tag),
        });
    Some(store::Contact {
        uri,
        instance: contact.instance().map(str::to_owned),
        tags: tags.take(LIST_MAX).collect(),
        has_im_tag: has_im_tag(&features),
    })
}
