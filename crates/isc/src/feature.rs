//! The feature tags of the service in a request (OMA-TS-SIMPLE_IM §6.1.3.1, RFC 3840, RFC 3841).

use parlance_sip::header::{
    AcceptContact, Contact, Features, SIP_IM, SIP_IM_LARGE_MESSAGE, SIP_IM_SYSTEM_MESSAGE, Term,
};
use parlance_sip::{HeaderName, Method, Request};

/// How an instant message is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// In a MESSAGE.
    PagerMode,
    /// In a session opened for one message.
    LargeMessageMode,
    /// In a session for a conversation.
    SessionMode,
}

/// Whether one of `features` says that this service is meant.
pub fn has_im_tag(features: &Features<'_>) -> bool {
    [SIP_IM, SIP_IM_LARGE_MESSAGE, SIP_IM_SYSTEM_MESSAGE].iter().any(|tag| is_set(features, tag))
}

/// Whether `Accept-Contact` asks for this service, with or without `require` and `explicit`.
pub fn asks_for_im(request: &Request) -> bool {
    // Nearly always it is written so, and then nothing need be read.
    let usual =
        request.field(HeaderName::AcceptContact).and_then(|value| value.strip_prefix(b"*;"));
    usual == Some(SIP_IM.as_bytes())
        || accepted(request).any(|accept| has_im_tag(&accept.features()))
}

/// How the request carries its message; `None` for methods that carry none.
///
/// `Accept-Contact` says which session an INVITE opens. Contact is looked at only when that says
/// nothing of this service: there the tags may be capabilities.
pub(crate) fn mode(request: &Request) -> Option<Mode> {
    match request.method() {
        Method::Message => Some(Mode::PagerMode),
        Method::Invite => {
            let large = |features: Features<'_>| is_set(&features, SIP_IM_LARGE_MESSAGE);
            let is_large = if asks_for_im(request) {
                accepted(request).any(|accept| large(accept.features()))
            } else {
                contacts(request).any(|contact| large(contact.features()))
            };
            Some(if is_large { Mode::LargeMessageMode } else { Mode::SessionMode })
        }
        _ => None,
    }
}

/// Whether a Contact of the request is a focus (RFC 4579 §5.1).
pub(crate) fn is_focus(request: &Request) -> bool {
    contacts(request).any(|contact| is_set(&contact.features(), "isfocus"))
}

/// What is malformed among preferences states none (RFC 3841 §7.2 knows no refusal).
fn accepted(request: &Request) -> impl Iterator<Item = AcceptContact<'_>> {
    request.list::<AcceptContact<'_>>().filter_map(Result::ok)
}

fn contacts(request: &Request) -> impl Iterator<Item = Contact<'_>> {
    request.list::<Contact<'_>>().filter_map(Result::ok)
}

/// A tag that is there and not merely `FALSE`.
fn is_set(features: &Features<'_>, tag: &str) -> bool {
    features
        .first(tag)
        .is_some_and(|feature| feature.terms().any(|term| term != Term::Boolean(false)))
}

#[cfg(test)]
mod tests {
    use super::{Mode, asks_for_im, is_focus, mode};
    use crate::fixture::request;

    // Covers: CORE-034, CORE-035
    #[test]
    fn the_tag_counts_in_every_form() {
        let table = [
            ("*;+g.oma.sip-im", true),
            ("*;+g.oma.sip-im;require;explicit", true),
            ("*;+G.OMA.SIP-IM", true),
            ("*;+g.oma.sip-im=\"TRUE\"", true),
            ("*;+g.oma.sip-im=\"FALSE\"", false),
            ("*;audio, *;+g.oma.sip-im", true),
            ("*;+g.oma.sip-im.large-message", true),
            ("*;+g.oma.sip-im.system-message", true),
            ("*;+g.oma.sip-image", false),
            ("*;audio;require", false),
            ("garbage", false),
        ];
        for (value, expected) in table {
            let text = format!("MESSAGE sip:b@h SIP/2.0\r\nAccept-Contact: {value}\r\n\r\n");
            assert_eq!(asks_for_im(&request(&text)), expected, "{value}");
        }
        assert!(asks_for_im(&request("MESSAGE sip:b@h SIP/2.0\r\na: *;+g.oma.sip-im\r\n\r\n")));
        assert!(!asks_for_im(&request("MESSAGE sip:b@h SIP/2.0\r\n\r\n")));
    }

    // Covers: ROLE-009, CORE-035
    #[test]
    fn the_tag_tells_a_large_message_from_a_conversation() {
        const CONTACT: &str = "Contact: <sip:a@h>;+g.oma.sip-im;+g.oma.sip-im.large-message";
        #[rustfmt::skip]
        let table = [
            ("INVITE", "Accept-Contact: *;+g.oma.sip-im", Some(Mode::SessionMode)),
            ("INVITE", "Accept-Contact: *;+g.oma.sip-im.large-message", Some(Mode::LargeMessageMode)),
            ("INVITE", "Accept-Contact: *;+g.oma.sip-im;+G.OMA.SIP-IM.LARGE-MESSAGE",
                Some(Mode::LargeMessageMode)),
            ("INVITE", CONTACT, Some(Mode::LargeMessageMode)),
            ("INVITE", "Subject: x", Some(Mode::SessionMode)),
            ("MESSAGE", "Accept-Contact: *;+g.oma.sip-im", Some(Mode::PagerMode)),
            ("REFER", "Accept-Contact: *;+g.oma.sip-im", None),
        ];
        for (method, header, expected) in table {
            let text = format!("{method} sip:b@h SIP/2.0\r\n{header}\r\n\r\n");
            assert_eq!(mode(&request(&text)), expected, "{text}");
        }
        // In Contact the tag is a capability once Accept-Contact says what is meant.
        let both = format!("INVITE sip:b@h SIP/2.0\r\na: *;+g.oma.sip-im\r\n{CONTACT}\r\n\r\n");
        assert_eq!(mode(&request(&both)), Some(Mode::SessionMode));
    }

    #[test]
    fn a_focus_says_so() {
        let of = |contact: &str| {
            is_focus(&request(&format!("INVITE sip:b@h SIP/2.0\r\nContact: {contact}\r\n\r\n")))
        };
        assert!(of("<sip:s@h>;isfocus") && of("<sip:s@h>;+g.oma.sip-im;isfocus"));
        assert!(!of("<sip:s@h>") && !of("<sip:s@h;isfocus>"));
    }
}
