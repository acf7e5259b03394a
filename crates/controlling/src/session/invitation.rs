//! The INVITE to somebody who is called (OMA-TS-SIMPLE_IM §7.4.4.1, §7.4.4.2; RFC 5366 §7).

use std::sync::Arc;

use parlance_content::multipart::{Builder, NewPart};
use parlance_content::resource_lists::{
    self, DisplayName, MEDIA_TYPE, RECIPIENT_LIST_HISTORY, Recipient,
};
use parlance_isc::{Cx, MAX_FORWARDS, Way, charging_vector};
use parlance_sip::header::SIP_IM;
use parlance_sip::sdp::Sdp;
use parlance_sip::{HeaderName, Method, Request, RequestBuilder};

use super::Session;
use crate::focus::{Caller, Focus};
use crate::list::{Invitee, SDP};

/// The From of somebody who is not to be known (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// What an INVITE is made of.
pub(super) struct Invitation<'a> {
    pub(super) cx: &'a Cx,
    pub(super) focus: &'a Focus,
    /// In whose name.
    pub(super) by: &'a Caller,
    pub(super) invitee: &'a Invitee,
    pub(super) referred_by: Option<&'a str>,
    /// The list that everybody may see.
    pub(super) history: Option<&'a str>,
    pub(super) contact: &'a str,
}

impl Invitation<'_> {
    /// The request; `None` when a value of it cannot stand in one.
    pub(super) fn build(&self, way: &Way, offer: &Sdp) -> Option<Request> {
        let Self { cx, focus, by, invitee, .. } = self;
        let address = format!("<{}>", by.address);
        let named = match &by.display_name {
            Some(name) => format!("{} {address}", quoted(name)),
            None => address,
        };
        let from = if by.anonymous { ANONYMOUS } else { &named };
        let mut request = RequestBuilder::new(Method::Invite, &invitee.uri);
        if let Some(route) = &way.route {
            request = request.header(HeaderName::Route, route);
        }
        request = request
            .header(HeaderName::MaxForwards, MAX_FORWARDS)
            .header(HeaderName::From, format_args!("{from};tag={}", cx.tag()))
            .header(HeaderName::To, format_args!("<{}>", invitee.uri))
            .header(HeaderName::CallId, format_args!("{}{}", cx.tag(), cx.tag()))
            .header(HeaderName::CSeq, "1 INVITE")
            .header(HeaderName::Contact, self.contact)
            .header(HeaderName::PAssertedIdentity, &named)
            .header(HeaderName::PChargingVector, self.charging())
            .header(HeaderName::AcceptContact, format_args!("*;{SIP_IM};require;explicit"))
            .header(HeaderName::AllowEvents, "conference");
        if by.anonymous {
            request = request.header(HeaderName::Privacy, "id");
        }
        if let Some(referred_by) = self.referred_by {
            request = request.header(HeaderName::ReferredBy, referred_by);
        }
        let is_set = |name: &str| invitee.headers.iter().any(|(known, _)| *known == name);
        let group = focus.group().and_then(|group| group.display_name());
        if let Some(subject) = focus.subject().or(group).filter(|_| !is_set("Subject")) {
            request = request.header(HeaderName::Subject, subject);
        }
        for (name, value) in &invitee.headers {
            request = request.octets(name.as_bytes(), value.as_bytes());
        }
        self.with_body(request, offer)
    }

    fn with_body(&self, request: RequestBuilder, offer: &Sdp) -> Option<Request> {
        let offer = offer.to_string();
        let Some(history) = self.history else {
            return request.header(HeaderName::ContentType, SDP).build(offer.as_bytes());
        };
        let mut list = NewPart::new(MEDIA_TYPE, history.to_owned());
        list.content_disposition = Some(format!("{RECIPIENT_LIST_HISTORY}; handling=optional"));
        let parts = Builder::mixed().part(NewPart::new(SDP, offer)).part(list);
        let body = parts.build(&self.cx.tag()).ok()?;
        request.header(HeaderName::ContentType, body.content_type).build(&body.body)
    }

    /// A new charging identifier: this is a dialog of its own (RFC 7315 §4.6).
    fn charging(&self) -> String {
        charging_vector(self.cx, None, self.focus.policy().ioi.as_deref())
    }
}

impl Session {
    /// The list of those who are invited together, as each of them may see it (RFC 5364 §6). A
    /// group's members are known by its document.
    pub(super) fn history(&self, invitees: &[Invitee]) -> Option<Arc<str>> {
        if !self.focus.policy().list_history || self.focus.group().is_some() {
            return None;
        }
        let recipients: Vec<Recipient> = invitees
            .iter()
            .map(|invitee| Recipient {
                uri: invitee.uri.clone(),
                display_name: invitee
                    .display_name
                    .clone()
                    .map(|text| DisplayName { text, language: None }),
                copy_control: invitee.copy_control,
                anonymize: invitee.anonymize,
            })
            .collect();
        let list = resource_lists::history(&recipients)?;
        Some(list.to_string().into())
    }
}

/// A display name in quotation marks (RFC 3261 §25.1).
pub(super) fn quoted(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}
