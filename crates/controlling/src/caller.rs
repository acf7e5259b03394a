//! What a message says of the user who sent it.

use parlance_isc::trust::Originator;
use parlance_sip::Message;
use parlance_sip::header::{Contact, From, PAssertedIdentity, Privacy, PrivacyValue, To};

use crate::focus::Caller;

/// Who sent a request: `originator` is authenticated, the rest is as the request says.
pub(crate) fn of_request(request: &Message, originator: &Originator) -> Caller {
    Caller {
        address: originator.address.clone(),
        alias: originator.alias.clone(),
        display_name: asserted_name(request).or_else(|| from_name(request)),
        anonymous: is_anonymous(request),
        contact: contact(request),
    }
}

/// Whether the sender asks not to be known: `id`, or what withholds the identity altogether
/// (RFC 3323 §4.2, RFC 3325 §9.3).
pub(crate) fn is_anonymous(message: &Message) -> bool {
    let privacy = message.header::<Privacy<'_>>().ok().flatten();
    privacy.is_some_and(|privacy| {
        !privacy.is_none()
            && [PrivacyValue::Id, PrivacyValue::User, PrivacyValue::Header]
                .into_iter()
                .any(|value| privacy.has(value))
    })
}

/// The URI of the first Contact; empty without one.
pub(crate) fn contact(message: &Message) -> String {
    let contact = message.list::<Contact<'_>>().find_map(Result::ok);
    let address = contact.and_then(|contact| Some(contact.address()?.uri.to_string()));
    address.unwrap_or_default()
}

fn asserted_name(message: &Message) -> Option<String> {
    let mut asserted = message.list::<PAssertedIdentity<'_>>().filter_map(Result::ok);
    asserted.find_map(|identity| text(identity.display_name()?))
}

fn from_name(message: &Message) -> Option<String> {
    let from = message.header::<From<'_>>().ok().flatten()?;
    text(from.address().display_name()?)
}

/// What the one who was called is called, as his answer says.
pub(crate) fn answerer_name(response: &Message) -> Option<String> {
    let to = || {
        let to = response.header::<To<'_>>().ok().flatten()?;
        text(to.address().display_name()?)
    };
    asserted_name(response).or_else(to)
}

fn text(name: std::borrow::Cow<'_, [u8]>) -> Option<String> {
    let name = String::from_utf8(name.into_owned()).ok()?;
    let name = name.trim();
    (!name.is_empty() && !name.chars().any(char::is_control)).then(|| name.to_owned())
}
