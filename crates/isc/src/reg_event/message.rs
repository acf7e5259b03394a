//! The SUBSCRIBE that is sent and the NOTIFY that is read (RFC 6665 §4.1; RFC 3680 §4, §6).

use parlance_content::MediaType;
use parlance_content::reginfo::{self, Document};
use parlance_sip::dialog::{Dialog, DialogId, DialogState, Foundation, Role};
use parlance_sip::header::{
    Contact, Event, Expires, From, MinExpires, RecordRoute, RetryAfter,
    SubscriptionState as StateHeader, Substate,
};
use parlance_sip::subscription::{Reason, SubscriptionState};
use parlance_sip::uri::Uri;
use parlance_sip::{HeaderName, Method, Request, RequestBuilder, Response};
use parlance_store::Registration;

use super::RegEventPolicy;
use crate::wire::transport_parameter;
use crate::{Charging, Cx, MAX_FORWARDS, NextHop, Reply};

/// The event package (RFC 3680 §4.1).
const PACKAGE: &str = "reg";

/// What names the dialog at our end before the notifier has named it at his.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) call_id: Box<str>,
    pub(super) tag: Box<str>,
}

impl Name {
    pub(super) fn new(cx: &Cx) -> Self {
        let call_id = format!("{}{}", cx.tag(), cx.tag());
        Self { call_id: call_id.into(), tag: cx.tag().into() }
    }
}

/// What every SUBSCRIBE of one subscription says.
pub(super) struct Subject<'a> {
    pub(super) policy: &'a RegEventPolicy,
    pub(super) registration: &'a Registration,
    pub(super) name: &'a Name,
}

impl Subject<'_> {
    /// The identity subscribed to: the one whose REGISTER came first.
    pub(super) fn user(&self) -> Option<&str> {
        self.registration.public_ids.first().map(String::as_str)
    }

    /// The SUBSCRIBE outside a dialog, and where it goes: along a Route to the S-CSCF of the
    /// record, never with `orig`. `None` when the record holds what cannot stand in a header.
    pub(super) fn initial(&self, cx: &Cx, cseq: u32, expires: u32) -> Option<(Request, NextHop)> {
        let user = self.user()?;
        let scscf = self.registration.scscf.trim_matches(['<', '>']);
        let uri = Uri::parse(scscf.as_bytes()).ok()?;
        let hop = NextHop::of(&uri, self.policy.listener)?;
        let lr = if uri.as_sip()?.is_loose_router() { "" } else { ";lr" };
        let request = RequestBuilder::new(Method::Subscribe, user)
            .header(HeaderName::Route, format_args!("<{scscf}{lr}>"))
            .header(HeaderName::To, format_args!("<{user}>"));
        Some((self.finish(cx, request, cseq, expires)?, hop))
    }

    /// The SUBSCRIBE inside the dialog (RFC 3261 §12.2.1.1).
    pub(super) fn refresh(
        &self,
        cx: &Cx,
        dialog: &mut Dialog,
        expires: u32,
    ) -> Option<(Request, NextHop)> {
        let cseq = dialog.next_cseq()?;
        let routing = dialog.routing();
        let uri = Uri::parse(routing.next_hop.as_bytes()).ok()?;
        let hop = NextHop::of(&uri, self.policy.listener)?;
        let mut request = RequestBuilder::new(Method::Subscribe, &routing.request_uri);
        for route in &routing.routes {
            request = request.header(HeaderName::Route, route);
        }
        let (remote, tag) = (dialog.remote_uri(), &dialog.id().remote_tag);
        request = match tag.is_empty() {
            true => request.header(HeaderName::To, format_args!("<{remote}>")),
            false => request.header(HeaderName::To, format_args!("<{remote}>;tag={tag}")),
        };
        Some((self.finish(cx, request, cseq, expires)?, hop))
    }

    fn finish(&self, cx: &Cx, request: RequestBuilder, cseq: u32, expires: u32) -> Option<Request> {
        let RegEventPolicy { identity, listener, orig_ioi, .. } = self.policy;
        let local = cx.locals().at(*listener)?;
        let transport = transport_parameter(local.transport);
        let charging = Charging::of(cx, Some(self.registration), orig_ioi.as_deref());
        let request = request
            .header(HeaderName::MaxForwards, MAX_FORWARDS)
            .header(HeaderName::From, format_args!("<{identity}>;tag={}", self.name.tag))
            .header(HeaderName::CallId, &self.name.call_id)
            .header(HeaderName::CSeq, format_args!("{cseq} SUBSCRIBE"))
            .header(HeaderName::Contact, format_args!("<sip:{}{transport}>", local.sent_by))
            .header(HeaderName::PAssertedIdentity, format_args!("<{identity}>"));
        charging
            .put_on(request)
            .header(HeaderName::Event, PACKAGE)
            .header(HeaderName::Accept, reginfo::MEDIA_TYPE)
            .header(HeaderName::Expires, expires)
            .build(b"")
    }
}

/// `Expires` of a 2xx, `Min-Expires` of a 423, `Retry-After` of another failure; in seconds.
pub(super) fn seconds(response: &Response) -> Option<u32> {
    match response.status() {
        200..300 => response.header::<Expires>().ok().flatten().map(|expires| expires.0),
        423 => response.header::<MinExpires>().ok().flatten().map(|expires| expires.0),
        _ => response.header::<RetryAfter<'_>>().ok().flatten().map(|after| after.seconds),
    }
}

/// The Contact URI of a message: the remote target.
pub(super) fn target(message: &parlance_sip::Message) -> Option<Box<str>> {
    let contact = message.list::<Contact<'_>>().find_map(Result::ok)?;
    Some(contact.address()?.uri.to_string().into())
}

/// What a NOTIFY says.
#[derive(Debug)]
pub(super) struct Notified {
    pub(super) state: SubscriptionState,
    /// Without a body, nothing is told.
    pub(super) document: Option<Document>,
}

impl Notified {
    /// Reads a request in the dialog of the subscription; the answer it gets when it is no NOTIFY
    /// that can be used (RFC 6665 §4.1.3, §8.3.2; RFC 3261 §8.2.3).
    pub(super) fn read(request: &Request) -> Result<Self, Reply> {
        if request.method() != Method::Notify {
            return Err(Reply::new(405).with(HeaderName::Allow, Method::Notify.as_str()));
        }
        let event = request.header::<Event<'_>>().map_err(|_| Reply::new(400))?;
        match event {
            Some(event) if event.name() != PACKAGE => {
                return Err(Reply::new(489).with(HeaderName::AllowEvents, PACKAGE));
            }
            // We gave the subscription no `id`: this is about another one (RFC 6665 §4.4.1).
            Some(event) if event.id().is_some() => return Err(Reply::new(481)),
            Some(_) => {}
            None => return Err(Reply::new(400)),
        }
        let state = request.header::<StateHeader<'_>>().ok().flatten();
        let state = state.as_ref().map(state_of).ok_or_else(|| Reply::new(400))?;
        if request.body().is_empty() {
            return Ok(Self { state, document: None });
        }
        let content_type = request.field(HeaderName::ContentType).unwrap_or_default();
        let text = std::str::from_utf8(content_type).ok();
        let media = text.and_then(|text| MediaType::parse(text).ok());
        if !media.is_some_and(|media| media.is(reginfo::MEDIA_TYPE)) {
            return Err(Reply::new(415).with(HeaderName::Accept, reginfo::MEDIA_TYPE));
        }
        let document = Document::parse(request.body()).map_err(|error| {
            tracing::warn!(%error, "a notification of the reg event cannot be read");
            Reply::new(400)
        })?;
        Ok(Self { state, document: Some(document) })
    }
}

fn state_of(header: &StateHeader<'_>) -> SubscriptionState {
    let expires = header.expires();
    match header.state() {
        Substate::Pending => SubscriptionState::Pending { expires },
        Substate::Terminated => SubscriptionState::Terminated {
            reason: header.reason().and_then(Reason::from_token),
            retry_after: header.retry_after(),
        },
        // RFC 6665 §4.1.3: an extension counts as active.
        Substate::Active | Substate::Other(_) => SubscriptionState::Active { expires },
    }
}

/// The notifier's tag.
pub(super) fn remote_tag(notify: &Request) -> Box<str> {
    let from = notify.header::<From<'_>>().ok().flatten();
    from.and_then(|from| from.tag()).unwrap_or_default().into()
}

/// The dialog that a NOTIFY makes (RFC 6665 §4.4.1), `cseq` being our last number; `None` without a
/// usable Contact.
pub(super) fn dialog(notify: &Request, subject: &Subject<'_>, cseq: u32) -> Option<Dialog> {
    let Name { call_id, tag } = subject.name.clone();
    let hops = notify.list::<RecordRoute<'_>>().filter_map(Result::ok);
    let mut record_routes: Vec<Box<str>> = hops.map(|hop| hop.to_string().into()).collect();
    // The route set of a request received is taken in order (RFC 3261 §12.1.1), of a response in
    // reverse. Else we are the UAC: the SUBSCRIBE and its numbers are ours.
    record_routes.reverse();
    Some(Dialog::new(Foundation {
        role: Role::Uac,
        id: DialogId { call_id, local_tag: tag, remote_tag: remote_tag(notify) },
        local_uri: subject.policy.identity.as_str().into(),
        remote_uri: subject.user()?.into(),
        remote_target: target(notify)?,
        cseq,
        record_routes,
        secure: false,
        state: DialogState::Confirmed,
    }))
}
