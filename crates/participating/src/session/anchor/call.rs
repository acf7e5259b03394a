//! What goes from the inviter's leg of an anchored session to the other, and back.

use parlance_isc::served_user::remaining_route;
use parlance_isc::session::{Body, Invite, LegTerms};
use parlance_isc::{Cx, MAX_FORWARDS, NextHop, transport_parameter};
use parlance_sip::b2bua::is_end_to_end;
use parlance_sip::header::{
    Contact, From, MaxForwards, NameAddr, Params, Privacy, PrivacyValue, Require, Route, To,
};
use parlance_sip::sdp::MsrpProto;
use parlance_sip::uri::{Aor, Uri};
use parlance_sip::{
    HeaderName, Message, Method, Request, RequestBuilder, Response, ResponseBuilder,
};

use crate::passage::Passage;
use crate::policy::Policy;
use crate::session::control::Asks;
use crate::session::description::Described;

/// The caller of whom the other side shall learn nothing (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// A session on its way from one leg to the other.
pub(super) struct Call {
    /// The INVITE as it goes on, but for what belongs to a leg.
    amended: Request,
    /// What the inviter offers; `None`: the invited side is to make the offer.
    pub(super) offer: Option<Offered>,
    pub(super) caller: Option<Aor>,
    pub(super) called: Option<Aor>,
    routes: Vec<String>,
    pub(super) hop: NextHop,
    /// Our URI in Contact, and in Record-Route where a focus has its own there.
    contact: String,
    record_route: String,
}

/// An offer of MSRP, and what its writer asks of his own function.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    /// As it came, but without what is asked for.
    pub(super) described: Described,
    pub(super) asks: Asks,
    /// The line of it that is the session.
    pub(super) line: usize,
    pub(super) proto: MsrpProto,
}

impl Offered {
    /// The offer in the body of a message.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let mut described = Described::of(message)?;
        let (line, media) = described.sdp.first_message()?;
        let proto = media.ok()?.proto;
        let asks = Asks::take(&mut described.sdp);
        Some(Self { described, asks, line, proto })
    }
}

/// Whether a session that an INVITE begins can be anchored: it offers MSRP, or wants an offer.
pub(super) fn is_anchorable(request: &Request) -> bool {
    request.body().is_empty() || Offered::of(request).is_some()
}

impl Call {
    /// Reads what there is to read; `None` when there is nowhere to send it.
    pub(super) fn new(passage: &Passage<'_>, amended: Request) -> Option<Self> {
        let request = passage.request();
        let listener = passage.source().listener;
        let node = passage.cx.node();
        let routes: Vec<String> = remaining_route(request, &passage.decision().served)
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        let first = remaining_route(request, &passage.decision().served).next();
        let hop = match (first, &node.next_hop) {
            (Some(value), _) => NextHop::of(&route(value)?, listener)?,
            (None, Some(next)) => NextHop { listener, ..next.clone() },
            (None, None) => NextHop::of(&request.uri()?, listener)?,
        };
        let local = node.locals.at(listener)?;
        let transport = transport_parameter(local.transport);
        let from = request.header::<From<'_>>().ok().flatten();
        let contact = format!("<sip:{}{transport}>", local.sent_by);
        let record_route = format!("<sip:{}{transport};lr>", local.sent_by);
        Some(Self {
            offer: Offered::of(request),
            caller: from.and_then(|from| Aor::from_uri(&from.uri())),
            called: request.uri().and_then(|uri| Aor::from_uri(&uri)),
            amended,
            routes,
            hop,
            contact,
            record_route,
        })
    }

    /// The INVITE of the other leg, with this body. Names of the first leg do not go on, nor does
    /// who is anonymous (SEC-042, SEC-047).
    pub(super) fn request(&self, cx: &Cx, body: &Body) -> Option<Request> {
        let request = &self.amended;
        let hops = match request.header::<MaxForwards>() {
            Ok(Some(MaxForwards(hops))) => hops.checked_sub(1)?,
            Ok(None) | Err(_) => MAX_FORWARDS,
        };
        let from = match is_anonymous(request) {
            true => ANONYMOUS.to_owned(),
            false => {
                let address = request.header::<From<'_>>().ok().flatten()?.address();
                NameAddr { params: Params::default(), ..address }.to_string()
            }
        };
        let to = request.header::<To<'_>>().ok().flatten()?.address().to_string();
        let mut builder =
            RequestBuilder::new(Method::Invite, String::from_utf8_lossy(request.uri_text()));
        for route in &self.routes {
            builder = builder.header(HeaderName::Route, route);
        }
        builder = builder
            .header(HeaderName::MaxForwards, hops)
            .header(HeaderName::From, format_args!("{from};tag={}", cx.tag()))
            .header(HeaderName::To, to)
            .header(HeaderName::CallId, format_args!("{}{}", cx.tag(), cx.tag()))
            .header(HeaderName::CSeq, "1 INVITE")
            .header(HeaderName::Contact, self.contact(request));
        if is_focus(request) {
            builder = builder.header(HeaderName::RecordRoute, &self.record_route);
        }
        if let Some(required) = required(request) {
            builder = builder.header(HeaderName::Require, required);
        }
        builder =
            passing(request).fold(builder, |builder, (_, name, value)| builder.octets(name, value));
        match body.is_empty() {
            true => builder.build(b""),
            false => {
                builder.header(HeaderName::ContentType, body.content_type()).build(body.octets())
            }
        }
    }

    /// What our leg towards one side says of itself: as `peer`, on the other leg, does.
    pub(super) fn terms(&self, policy: &Policy, peer: &Message) -> LegTerms {
        use Method::{
            Ack, Bye, Cancel, Info, Invite, Message, Notify, Options, Prack, Refer, Subscribe,
            Update,
        };
        LegTerms {
            timer: policy.session.timer(),
            allow: &[
                Invite, Ack, Cancel, Bye, Prack, Update, Info, Message, Refer, Subscribe, Notify,
                Options,
            ],
            ..LegTerms::new(self.contact(peer))
        }
    }

    /// The same for an INVITE of ours without an offer: what has to be answered with the PRACK is
    /// not wanted (RFC 3262 §5).
    pub(super) fn terms_without_offer(&self, policy: &Policy, peer: &Message) -> LegTerms {
        LegTerms { supported: &["timer", "norefersub"], ..self.terms(policy, peer) }
    }

    /// Our Contact with the feature parameters that the peer of the other leg has. That of a focus
    /// stays: its URI is the identity of the session, by which others join and ask
    /// (OMA-TS-SIMPLE_IM §7.2.4.2).
    fn contact(&self, peer: &Message) -> String {
        let contact = peer.list::<Contact<'_>>().find_map(Result::ok);
        let mut text = self.contact.clone();
        let Some(contact) = contact else { return text };
        if is_focus(peer) {
            return contact.to_string();
        }
        // The instance is the peer's own (RFC 5626 §4.1).
        let features = contact.features();
        for feature in features.iter().filter(|it| !it.tag.eq_ignore_ascii_case("+sip.instance")) {
            text.push(';');
            text.push_str(feature.tag);
            if let Some(value) = feature.value {
                text.push('=');
                text.push_str(&String::from_utf8_lossy(value.raw()));
            }
        }
        text
    }

    /// What the other side has answered, towards the inviter.
    pub(super) fn answer(&self, invite: &Invite, response: &Response) -> ResponseBuilder {
        if is_focus(response) {
            invite.record_route(&self.record_route);
        }
        let own = invite.response(response.status());
        passing(response).fold(own, |own, (_, name, value)| own.octets(name, value))
    }
}

fn route(value: &[u8]) -> Option<Uri<'_>> {
    use parlance_sip::header::Header;
    Some(Route::parse(value).ok()?.uri)
}

/// What the inviter requires of whom he invites, not of the next leg.
fn required(request: &Request) -> Option<String> {
    let of_leg = ["100rel", "timer", "norefersub"];
    let tags = request.list::<Require<'_>>().filter_map(Result::ok);
    let tags = tags.filter(|tag| !of_leg.iter().any(|own| tag.is(own)));
    let tags: Vec<_> = tags.map(|tag| tag.as_str().to_owned()).collect();
    (!tags.is_empty()).then(|| tags.join(", "))
}

/// Whether a focus speaks (RFC 4579 §5.1).
pub(crate) fn is_focus(message: &Message) -> bool {
    let mut contacts = message.list::<Contact<'_>>().filter_map(Result::ok);
    contacts.any(|contact| contact.features().first("isfocus").is_some())
}

/// Whether the other side shall not learn who calls (RFC 3323 §4.1; RFC 3325 §7).
fn is_anonymous(request: &Request) -> bool {
    let privacy = request.header::<Privacy<'_>>().ok().flatten();
    privacy.is_some_and(|privacy| {
        !privacy.is_none() && (privacy.has(PrivacyValue::Id) || privacy.has(PrivacyValue::User))
    })
}

/// The fields of a message that go on: what the users say to each other, without what each leg says
/// of itself.
fn passing(message: &Message) -> impl Iterator<Item = (HeaderName, &[u8], &[u8])> {
    message.fields().filter(|(name, ..)| {
        let of_leg = matches!(
            name,
            HeaderName::Supported
                | HeaderName::Require
                | HeaderName::Allow
                | HeaderName::ContentType
                | HeaderName::RetryAfter
        );
        is_end_to_end(*name) && !of_leg
    })
}

/// [`passing`], for fields whose name is known.
pub(super) fn carried(message: &Message) -> Vec<(HeaderName, String)> {
    passing(message)
        .filter(|(name, ..)| *name != HeaderName::Other)
        .map(|(name, _, value)| (name, String::from_utf8_lossy(value).into_owned()))
        .collect()
}
