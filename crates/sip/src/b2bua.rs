//! The core of a back-to-back user agent: what of a message on one leg goes to the other
//! (RFC 3261 §6, "B2BUA"; RFC 7092 §3.1 calls this a signalling-only B2BUA).
//!
//! Each leg is a dialog of its own, with its own Call-ID, tags, sequence numbers, route set and
//! Contact; transactions and timers of the two legs know nothing of each other. What the users say
//! to each other is carried over octet for octet: every header field that belongs neither to a hop
//! nor to a dialog, known or not, and the body.
//!
//! Reliable provisional responses and session timers run on each leg for themselves, so RSeq, RAck,
//! Session-Expires and Min-SE are not carried over.

use crate::dialog::Dialog;
use crate::header::MaxForwards;
use crate::message::{Request, RequestBuilder, Response, ResponseBuilder};
use crate::{HeaderName, Message, Method};

/// Max-Forwards when a request came without one (RFC 3261 §16.6 step 3).
const MAX_FORWARDS: u8 = 70;

/// Why a request is not carried over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum B2buaError {
    /// Max-Forwards is used up: 483.
    #[error("too many hops")]
    TooManyHops,
    /// The other leg's dialog is over: 481.
    #[error("the other leg is gone")]
    Gone,
    /// A value given for the new leg makes no well-formed message: 500.
    #[error("a value for the new leg is malformed")]
    Value,
}

impl B2buaError {
    /// The status code of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::TooManyHops => 483,
            Self::Gone => 481,
            Self::Value => 500,
        }
    }
}

/// What the first request on a new leg gets instead of what it had.
#[derive(Clone, Debug)]
pub struct NewLeg<'a> {
    /// The Request-URI.
    pub request_uri: &'a str,
    /// The whole `From`, with our tag: the caller's, or anonymous (RFC 3323 §4.1).
    pub from: &'a str,
    /// The whole `To`, without a tag.
    pub to: &'a str,
    /// Our Call-ID.
    pub call_id: &'a str,
    /// Our Contact, with its feature parameters.
    pub contact: &'a str,
    /// The `Route` values, in order.
    pub routes: &'a [&'a str],
}

/// Makes the first request of the other leg.
///
/// # Errors
/// [`B2buaError::TooManyHops`], [`B2buaError::Value`].
pub fn initial_request(request: &Request, leg: &NewLeg<'_>) -> Result<Request, B2buaError> {
    let mut builder = RequestBuilder::new(request.method(), leg.request_uri);
    for route in leg.routes {
        builder = builder.header(HeaderName::Route, route);
    }
    builder = builder
        .header(HeaderName::MaxForwards, hops_left(request)?)
        .header(HeaderName::From, leg.from)
        .header(HeaderName::To, leg.to)
        .header(HeaderName::CallId, leg.call_id)
        .header(HeaderName::CSeq, format_args!("1 {}", request.method()))
        .header(HeaderName::Contact, leg.contact);
    carry_over(builder, request).build(request.body()).ok_or(B2buaError::Value)
}

/// Makes the request that stands for `request` in the dialog of the other leg. An ACK gets the
/// sequence number of the INVITE it acknowledges there, any other request the next one.
///
/// # Errors
/// [`B2buaError::TooManyHops`], [`B2buaError::Gone`], [`B2buaError::Value`].
pub fn request_within(
    request: &Request,
    other: &mut Dialog,
    contact: &str,
    acknowledged: Option<u32>,
) -> Result<Request, B2buaError> {
    let hops = hops_left(request)?;
    let method = request.method();
    let number = match acknowledged.filter(|_| method == Method::Ack) {
        Some(number) => number,
        None => other.next_cseq().ok_or(B2buaError::Gone)?,
    };
    let routing = other.routing();
    let mut builder = RequestBuilder::new(method, &routing.request_uri);
    for route in &routing.routes {
        builder = builder.header(HeaderName::Route, route);
    }
    let id = other.id();
    builder = builder
        .header(HeaderName::MaxForwards, hops)
        .header(HeaderName::From, tagged(other.local_uri(), &id.local_tag))
        .header(HeaderName::To, tagged(other.remote_uri(), &id.remote_tag))
        .header(HeaderName::CallId, &id.call_id)
        .header(HeaderName::CSeq, format_args!("{number} {method}"));
    if refreshes_target(method) {
        builder = builder.header(HeaderName::Contact, contact);
    }
    carry_over(builder, request).build(request.body()).ok_or(B2buaError::Value)
}

/// Starts the response to `request` that stands for `response` of the other leg. Body and further
/// header fields are the caller's to add; `contact` stands in what makes or refreshes a dialog.
pub fn response_for(
    request: &Request,
    response: &Response,
    to_tag: &str,
    contact: &str,
) -> ResponseBuilder {
    let mut builder = ResponseBuilder::new(request, response.status(), to_tag);
    if refreshes_target(request.method()) && response.status() < 300 {
        builder =
            builder.copy(request, HeaderName::RecordRoute).header(HeaderName::Contact, contact);
    }
    for (name, text, value) in response.fields() {
        if is_end_to_end(name) {
            builder = builder.octets(text, value);
        }
    }
    builder
}

/// Whether a field is said by one user to the other, and so belongs on both legs.
pub fn is_end_to_end(name: HeaderName) -> bool {
    !matches!(
        name,
        HeaderName::Via
            | HeaderName::Route
            | HeaderName::RecordRoute
            | HeaderName::Path
            | HeaderName::MaxForwards
            | HeaderName::MaxBreadth
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::Contact
            | HeaderName::ContentLength
            | HeaderName::RSeq
            | HeaderName::RAck
            | HeaderName::SessionExpires
            | HeaderName::MinSe
            | HeaderName::Timestamp
            | HeaderName::PServedUser
            | HeaderName::PPreferredIdentity
            | HeaderName::Authorization
            | HeaderName::ProxyAuthorization
            | HeaderName::ProxyAuthenticate
            | HeaderName::WwwAuthenticate
            | HeaderName::ProxyRequire
            | HeaderName::Server
    )
}

/// Whether the request makes a dialog or moves its remote target (RFC 3261 §12, RFC 6665).
fn refreshes_target(method: Method<'_>) -> bool {
    matches!(
        method,
        Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer
    )
}

fn tagged(uri: &str, tag: &str) -> String {
    if tag.is_empty() { format!("<{uri}>") } else { format!("<{uri}>;tag={tag}") }
}

/// The Max-Forwards of the other leg (CORE-012).
fn hops_left(request: &Request) -> Result<u8, B2buaError> {
    match request.header::<MaxForwards>() {
        Ok(Some(MaxForwards(hops))) => hops.checked_sub(1).ok_or(B2buaError::TooManyHops),
        Ok(None) | Err(_) => Ok(MAX_FORWARDS),
    }
}

fn carry_over(builder: RequestBuilder, message: &Message) -> RequestBuilder {
    message
        .fields()
        .filter(|(name, ..)| is_end_to_end(*name))
        .fold(builder, |builder, (_, text, value)| builder.octets(text, value))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::dialog::{DialogId, DialogState, Foundation, Role};
    use crate::message::Limits;

    fn request(text: &str) -> Request {
        let bytes = Bytes::from(text.replace('|', "\r\n"));
        Request::new(Message::parse_datagram(bytes, &Limits::default()).unwrap()).unwrap()
    }

    fn text(message: &Message) -> String {
        String::from_utf8(message.bytes().to_vec()).unwrap().replace("\r\n", "|")
    }

    const INVITE: &str = "INVITE sip:bob@h SIP/2.0|Via: SIP/2.0/UDP a;branch=z9hG4bK1|\
        Route: <sip:us;lr>|Record-Route: <sip:r;lr>|Max-Forwards: 68|From: <sip:alice@h>;tag=1|\
        To: <sip:bob@h>|Call-ID: a1|CSeq: 7 INVITE|Contact: <sip:alice@a>|Session-Expires: 1800|\
        P-Served-User: <sip:alice@h>|s:Lunch?|X-Odd:B|Accept-Contact: *;+g.oma.sip-im|\
        Content-Type: text/plain|Content-Length: 2||hi";

    fn leg() -> NewLeg<'static> {
        NewLeg {
            request_uri: "sip:bob@home2",
            from: "<sip:alice@h>;tag=ours",
            to: "<sip:bob@h>",
            call_id: "b1",
            contact: "<sip:us>;+g.oma.sip-im",
            routes: &["<sip:scscf;lr>"],
        }
    }

    // Covers: CORE-001, CORE-012
    #[test]
    fn the_first_request_of_the_other_leg_is_its_own() {
        let made = initial_request(&request(INVITE), &leg()).unwrap();
        assert_eq!(
            text(&made),
            "INVITE sip:bob@home2 SIP/2.0|Route: <sip:scscf;lr>|Max-Forwards: 67|\
             From: <sip:alice@h>;tag=ours|To: <sip:bob@h>|Call-ID: b1|CSeq: 1 INVITE|\
             Contact: <sip:us>;+g.oma.sip-im|s: Lunch?|X-Odd: B|\
             Accept-Contact: *;+g.oma.sip-im|Content-Type: text/plain|Content-Length: 2||hi"
        );
    }

    // Covers: CORE-012
    #[test]
    fn hops_are_counted_over_both_legs() {
        let with = |hops: &str| request(&INVITE.replace("Max-Forwards: 68|", hops));
        let used_up = initial_request(&with("Max-Forwards: 0|"), &leg());
        assert_eq!(used_up.map(|_| ()), Err(B2buaError::TooManyHops));
        assert_eq!(B2buaError::TooManyHops.status(), 483);
        let made = initial_request(&with(""), &leg()).unwrap();
        assert_eq!(made.field(HeaderName::MaxForwards), Some(&b"70"[..]));
    }

    fn dialog() -> Dialog {
        Dialog::new(Foundation {
            role: Role::Uac,
            id: DialogId {
                call_id: "b1".into(),
                local_tag: "ours".into(),
                remote_tag: "bobs".into(),
            },
            local_uri: "sip:alice@h".into(),
            remote_uri: "sip:bob@h".into(),
            remote_target: "sip:bob@device".into(),
            cseq: 1,
            record_routes: vec!["<sip:near;lr>".into(), "<sip:scscf;lr>".into()],
            secure: false,
            state: DialogState::Confirmed,
        })
    }

    // Covers: CORE-008
    #[test]
    fn a_request_inside_goes_by_the_other_dialog() {
        let mut other = dialog();
        let bye = INVITE.replace("INVITE", "BYE").replace("CSeq: 7", "CSeq: 9");
        let made = request_within(&request(&bye), &mut other, "<sip:us>", None).unwrap();
        assert_eq!(
            text(&made),
            "BYE sip:bob@device SIP/2.0|Route: <sip:scscf;lr>|Route: <sip:near;lr>|\
             Max-Forwards: 67|From: <sip:alice@h>;tag=ours|To: <sip:bob@h>;tag=bobs|Call-ID: b1|\
             CSeq: 2 BYE|s: Lunch?|X-Odd: B|Accept-Contact: *;+g.oma.sip-im|\
             Content-Type: text/plain|Content-Length: 2||hi"
        );
        let ack = INVITE.replace("INVITE", "ACK");
        let made = request_within(&request(&ack), &mut other, "<sip:us>", Some(1)).unwrap();
        assert_eq!(made.field(HeaderName::CSeq), Some(&b"1 ACK"[..]));
        other.terminate();
        let gone = request_within(&request(&bye), &mut other, "<sip:us>", None);
        assert_eq!(gone.map(|_| ()), Err(B2buaError::Gone));
    }

    #[test]
    fn a_response_goes_back_in_the_transaction_of_its_own_leg() {
        let answer = "SIP/2.0 200 OK|Via: SIP/2.0/UDP us;branch=z9hG4bK2|To: <sip:bob@h>;tag=bobs|\
            From: <sip:alice@h>;tag=ours|Call-ID: b1|CSeq: 1 INVITE|Record-Route: <sip:near;lr>|\
            Contact: <sip:bob@device>|Session-Expires: 900|X-Odd:C|Content-Length: 0||";
        let bytes = Bytes::from(answer.replace('|', "\r\n"));
        let answer = Message::parse_datagram(bytes, &Limits::default()).unwrap();
        let answer = Response::new(answer).unwrap();
        let made = response_for(&request(INVITE), &answer, "mine", "<sip:us>").build();
        let made = String::from_utf8(made.to_vec()).unwrap().replace("\r\n", "|");
        assert_eq!(
            made,
            "SIP/2.0 200 OK|Via: SIP/2.0/UDP a;branch=z9hG4bK1|To: <sip:bob@h>;tag=mine|\
             From: <sip:alice@h>;tag=1|Call-ID: a1|CSeq: 7 INVITE|Record-Route: <sip:r;lr>|\
             Contact: <sip:us>|X-Odd: C|Content-Length: 0||"
        );
    }
}
