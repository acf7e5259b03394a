//! An INVITE in the name of the user of a pre-established session (OMA-TS-SIMPLE_IM §7.2.3.6).
//!
//! It goes the way of the user's own (TS 24.229 §5.7.3): his S-CSCF applies his filter criteria to
//! it, so that it comes to the server again as any session that he begins, and is judged, counted
//! and served as one.

use std::time::Duration;

use bytes::Bytes;
use parlance_content::multipart::{Builder, NewPart};
use parlance_content::resource_lists::{MEDIA_TYPE, RECIPIENT_LIST};
use parlance_isc::session::{Body, Inbox, LegTerms, Outgoing, Progress};
use parlance_isc::{Charging, Cx, MAX_FORWARDS, Way};
use parlance_sip::header::{Contact, From, NameAddr, PAssertedIdentity, Params};
use parlance_sip::message::reason_phrase;
use parlance_sip::sdp::Sdp;
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, ListenerId, Message, Method, Request, RequestBuilder, Response};

use super::attached::{Answerer, Far};

/// How long whoever is called may take to answer: a proxy's Timer C (RFC 3261 §16.6).
const ANSWER_MAX: Duration = Duration::from_secs(181);

/// The fields of the INVITE that established the session which every one in the user's name has as
/// well: who he is, what he wants to be known, whom he wants to reach.
const KEPT: [HeaderName; 3] =
    [HeaderName::PAssertedIdentity, HeaderName::Privacy, HeaderName::AcceptContact];

/// What an INVITE is made of.
pub(super) struct Invitation {
    /// The INVITE that established the session.
    pub(super) established_by: Request,
    pub(super) user: Aor,
    pub(super) target: String,
    pub(super) list: Option<Bytes>,
    pub(super) referred_by: Option<String>,
    pub(super) offered: Sdp,
    pub(super) terms: LegTerms,
    pub(super) listener: ListenerId,
    /// A dialog of its own (RFC 7315 §4.6).
    pub(super) charging: Charging,
}

impl Invitation {
    /// The request; `None` when a value of it cannot stand in one.
    fn request(&self, cx: &Cx, way: &Way) -> Option<Request> {
        let from = self.established_by.header::<From<'_>>().ok().flatten()?.address();
        let from = NameAddr { params: Params::default(), ..from };
        let mut request = RequestBuilder::new(Method::Invite, &self.target);
        if let Some(route) = &way.route {
            request = request.header(HeaderName::Route, route);
        }
        request = (self.charging)
            .put_on(request)
            .header(HeaderName::MaxForwards, MAX_FORWARDS)
            .header(HeaderName::From, format_args!("{from};tag={}", cx.tag()))
            .header(HeaderName::To, format_args!("<{}>", self.target))
            .header(HeaderName::CallId, format_args!("{}{}", cx.tag(), cx.tag()))
            .header(HeaderName::CSeq, "1 INVITE")
            .header(HeaderName::Contact, &self.terms.contact);
        for name in KEPT {
            for value in self.established_by.values(name) {
                request = request.octets(name.as_str().as_bytes(), value);
            }
        }
        if let Some(referred_by) = &self.referred_by {
            request = request.header(HeaderName::ReferredBy, referred_by);
        }
        self.with_body(request, cx)
    }

    fn with_body(&self, request: RequestBuilder, cx: &Cx) -> Option<Request> {
        const SDP: &str = "application/sdp";
        let offer = self.offered.to_string();
        let Some(list) = &self.list else {
            return request.header(HeaderName::ContentType, SDP).build(offer.as_bytes());
        };
        let mut list = NewPart::new(MEDIA_TYPE, list.clone());
        list.content_disposition = Some(RECIPIENT_LIST.to_owned());
        let parts = Builder::mixed().part(NewPart::new(SDP, offer)).part(list);
        let body = parts.build(&cx.tag()).ok()?;
        request
            .header(HeaderName::Require, "recipient-list-invite")
            .header(HeaderName::ContentType, body.content_type)
            .build(&body.body)
    }
}

/// Calls, and serves the dialog that comes of it until it or the session is over.
pub(super) async fn call(cx: Cx, invitation: Invitation, mut far: Far) {
    let Invitation { user, target, listener, .. } = &invitation;
    let way = tokio::select! {
        way = Way::for_user(&cx, user, target, *listener) => way,
        _ = far.stopped() => return,
    };
    let made = way.and_then(|way| Some((invitation.request(&cx, &way)?, way.hop)));
    let Some((request, hop)) = made else {
        return far.refused(400, reason_phrase(400)).await;
    };
    let inbox = Inbox::new(&cx);
    let outgoing = cx.invite(request, hop, invitation.terms, &inbox.address());
    let own = Body::sdp(invitation.offered.to_string());
    wait(outgoing, own, inbox, far).await;
}

async fn wait(mut outgoing: Outgoing, own: Body, inbox: Inbox, mut far: Far) {
    let late = tokio::time::sleep(ANSWER_MAX);
    tokio::pin!(late);
    loop {
        let progress = tokio::select! {
            biased;
            reason = far.stopped() => return outgoing.cancel(reason),
            progress = outgoing.next() => progress,
            // Dropped, it is cancelled.
            () = &mut late => return far.refused(408, reason_phrase(408)).await,
        };
        match progress {
            Progress::Provisional(response) => far.progress(response.status(), &reason(&response)),
            Progress::Answered(leg, response) => {
                // A list is not sent again.
                leg.repeat(own);
                let answer = Sdp::parse(response.body()).ok();
                return far.accepted(leg, inbox, answer, answerer(&response)).await;
            }
            Progress::Failed(response) => {
                return far.refused(response.status(), &reason(&response)).await;
            }
            Progress::NoAnswer => return far.refused(408, reason_phrase(408)).await,
        }
    }
}

fn reason(response: &Response) -> String {
    match response.start_line() {
        parlance_sip::message::StartLine::Status { reason, .. } => {
            String::from_utf8_lossy(reason).into_owned()
        }
        parlance_sip::message::StartLine::Request { .. } => String::new(),
    }
}

fn answerer(response: &Response) -> Answerer {
    let mut contacts = response.list::<Contact<'_>>().filter_map(Result::ok);
    let contact = contacts.next().map(|contact| contact.to_string());
    Answerer { names: names(response), contact }
}

/// By which names whoever sent `message` goes.
pub(super) fn names(message: &Message) -> Vec<Aor> {
    let contacts = message.list::<Contact<'_>>().filter_map(Result::ok);
    let contacts = contacts.filter_map(|contact| Aor::from_uri(&contact.address()?.uri));
    let asserted = message.list::<PAssertedIdentity<'_>>().filter_map(Result::ok);
    let asserted = asserted.filter_map(|identity| Aor::from_uri(&identity.uri));
    contacts.chain(asserted).collect()
}
