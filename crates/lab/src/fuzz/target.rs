//! The readers.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use parlance_content::cpim::Cpim;
use parlance_content::multipart::Multipart;
use parlance_content::{MediaType, cpim, imdn, multipart, sip_message};
use parlance_isc::ifc;
use parlance_sip::endpoint::{Input, Output};
use parlance_sip::frame::{Frame, Framer};
use parlance_sip::grammar::split_list;
use parlance_sip::header::{self, Header};
use parlance_sip::message::{Limits, check_request, check_response};
use parlance_sip::sdp::Sdp;
use parlance_sip::uri::{Aor, Uri};
use parlance_sip::{
    Endpoint, EndpointConfig, ListenerId, Message, Request, Response, ResponseBuilder, Source,
    Transport,
};
use tokio::time::Instant;

use super::{documents, msrp, msrp_node};

/// Something that reads what a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A datagram, and every check and typed header on what it holds.
    Message,
    /// Each typed header, on the input as one value and as a list.
    Headers,
    /// A URI.
    Uri,
    /// A session description.
    Sdp,
    /// A stream, whole and cut to pieces.
    Framer,
    /// `message/cpim` with its dispositions, and multipart bodies.
    Content,
    /// XML documents of every kind, and `message/sipfrag`.
    Documents,
    /// Filter criteria.
    Criteria,
    /// Everything a transaction layer does with it, over UDP and TCP.
    Endpoint,
    /// An MSRP stream, whole and cut to pieces.
    MsrpFramer,
    /// An MSRP URI and a path of them.
    MsrpUri,
    /// Each typed header of MSRP.
    MsrpHeaders,
    /// A room of the MSRP switch, behind one participant.
    MsrpSwitch,
    /// A pair and the MSRP relay, behind one peer.
    MsrpRelay,
    /// Panics on purpose.
    #[cfg(test)]
    Broken,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Message,
        Self::Headers,
        Self::Uri,
        Self::Sdp,
        Self::Framer,
        Self::Content,
        Self::Documents,
        Self::Criteria,
        Self::Endpoint,
        Self::MsrpFramer,
        Self::MsrpUri,
        Self::MsrpHeaders,
        Self::MsrpSwitch,
        Self::MsrpRelay,
    ];

    /// What it is called in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message parser",
            Self::Headers => "header parsers",
            Self::Uri => "URI parser",
            Self::Sdp => "SDP parser",
            Self::Framer => "stream framer",
            Self::Content => "CPIM and multipart",
            Self::Documents => "XML documents and sipfrag",
            Self::Criteria => "filter criteria",
            Self::Endpoint => "endpoint",
            Self::MsrpFramer => "MSRP framer",
            Self::MsrpUri => "MSRP URI parser",
            Self::MsrpHeaders => "MSRP header parsers",
            Self::MsrpSwitch => "MSRP switch",
            Self::MsrpRelay => "MSRP relay",
            #[cfg(test)]
            Self::Broken => "a reader that panics",
        }
    }

    /// Reads `input`; how many items (fields, values, parameters, parts, frames, outputs) came out.
    pub fn read(self, input: &[u8]) -> u64 {
        let octets = Bytes::copy_from_slice(input);
        let items = match self {
            Self::Message => message(octets),
            Self::Headers => headers(input),
            Self::Uri => uri(input),
            Self::Sdp => Sdp::parse(input).map_or(0, |sdp| session(&sdp)),
            Self::Framer => framer(input),
            Self::Content => content(&octets),
            Self::Documents => documents::documents(&octets),
            Self::Criteria => {
                let text = String::from_utf8_lossy(input);
                let read = ifc::profiles(&text).unwrap_or_default();
                read.iter().map(|profile| profile.criteria.len()).sum()
            }
            Self::Endpoint => endpoint(octets),
            Self::MsrpFramer => msrp::framer(input),
            Self::MsrpUri => msrp::uri(input),
            Self::MsrpHeaders => msrp::headers(input),
            Self::MsrpSwitch => msrp_node::switch(input),
            Self::MsrpRelay => msrp_node::relay(input),
            #[cfg(test)]
            Self::Broken => {
                assert!(!input.starts_with(b"boom"), "boom");
                0
            }
        };
        u64::try_from(items).unwrap_or(u64::MAX)
    }
}

fn message(octets: Bytes) -> usize {
    let message = match Message::parse_datagram(octets, &Limits::default()) {
        Ok(message) => message,
        Err(malformed) => match malformed.message {
            Some(message) => message,
            None => return 0,
        },
    };
    let mut items = 0;
    for (_, _, value) in message.fields() {
        items += 1 + split_list(value).count();
    }
    items += usize::from(message.top_via().is_some()) + usize::from(message.cseq().is_some());
    match Request::new(message) {
        Ok(request) => {
            let answer = ResponseBuilder::new(&request, 400, "tag").build();
            let aor = request.uri().and_then(|uri| Aor::from_uri(&uri));
            items + usize::from(check_request(&request).is_ok()) + usize::from(aor.is_some())
                - usize::from(answer.is_empty())
        }
        Err(message) => {
            let Ok(response) = Response::new(message) else { return items };
            items + usize::from(check_response(&response).is_ok())
        }
    }
}

/// Reads one value as `H`, alone and as each element of a list; what was read is written again.
fn one<'a, H: Header<'a>>(value: &'a [u8]) -> usize {
    let mut items = 0;
    let mut out = Vec::new();
    for element in std::iter::once(value).chain(split_list(value)) {
        if let Ok(header) = H::parse(element) {
            items += 1;
            header.write_to(&mut out);
        }
    }
    // What a list gives out is its own octets once more, and the whole value may be one element.
    assert!(out.len() <= 4 * value.len() + 256, "{} octets became {}", value.len(), out.len());
    items
}

macro_rules! every {
    ($value:expr, $($header:ident)*) => {
        0 $(+ one::<header::$header<'_>>($value))*
    };
}

macro_rules! every_owned {
    ($value:expr, $($header:ident)*) => {
        0 $(+ one::<header::$header>($value))*
    };
}

fn headers(value: &[u8]) -> usize {
    let borrowed = every!(
        value,
        AcceptContact RejectContact Authorization ProxyAuthenticate ProxyAuthorization
        WwwAuthenticate CallId Contact ContentType Accept CSeq AllowEvents Event SubscriptionState
        From To PAssertedIdentity PCalledPartyId PPreferredIdentity PAssociatedUri
        PChargingFunctionAddresses PChargingVector PServedUser Privacy RAck Reason Warning ReferTo
        ReferredBy Replaces RequestDisposition Path RecordRoute Route ServiceRoute Server Subject
        UserAgent Allow ProxyRequire Require SipETag SipIfMatch Supported Unsupported
        AcceptEncoding AcceptLanguage AnswerMode ContentDisposition ContentEncoding ReferSub Via
    );
    let owned = every_owned!(
        value,
        ContentLength MaxBreadth MaxForwards RSeq Date Expires MinExpires MinSe RetryAfter
        SessionExpires Timestamp
    );
    borrowed + owned
}

fn uri(input: &[u8]) -> usize {
    let Ok(uri) = Uri::parse(input) else { return 0 };
    assert!(uri.equivalent(&uri), "a URI differs from itself");
    let aor = Aor::from_uri(&uri);
    let again = uri.to_string();
    let again = Uri::parse(again.as_bytes()).expect("what was written can be read");
    assert!(uri.equivalent(&again), "a URI differs from what it writes");
    let params =
        uri.as_sip().map_or(0, |sip| sip.params.iter().count() + sip.headers.iter().count());
    1 + params + usize::from(aor.is_some())
}

fn session(sdp: &Sdp) -> usize {
    let mut items = sdp.origin().username.len();
    let mut again = Sdp::new("-", 1, 1, "192.0.2.1");
    for line in sdp.media() {
        items += usize::from(!line.is_refused());
        items += line.fingerprints().map_or(0, |fingerprints| fingerprints.len());
        let Some(Ok(media)) = line.message() else { continue };
        items += 1 + media.path.len() + usize::from(media.file.is_some());
        items += media.chatroom.as_ref().map_or(0, |chatroom| chatroom.others.len());
        again.push_message(&media);
        let written = again.media().last().and_then(|line| line.message());
        assert_eq!(written, Some(Ok(media)), "a media line differs from what it writes");
    }
    items
}

fn frames(framer: &mut Framer) -> Vec<Option<Bytes>> {
    let mut frames = Vec::new();
    while let Some(frame) = framer.next_frame() {
        frames.push(match frame {
            Frame::Message(message) => Some(message.bytes()),
            Frame::Ping | Frame::Malformed(_) => None,
        });
    }
    frames
}

/// However a stream is cut, the frames are the same.
fn framer(input: &[u8]) -> usize {
    let mut whole = Framer::new(Limits::default());
    whole.buffer().extend_from_slice(input);
    let expected = frames(&mut whole);
    let length = input.iter().fold(0_usize, |sum, octet| sum.wrapping_add(usize::from(*octet)));
    let mut cut = Framer::new(Limits::default());
    let mut found = Vec::new();
    for piece in input.chunks(1 + length % 97) {
        cut.buffer().extend_from_slice(piece);
        found.extend(frames(&mut cut));
    }
    assert_eq!(found, expected, "the cuts changed the frames");
    found.len()
}

fn content(octets: &Bytes) -> usize {
    let mut items = 0;
    if let Ok(message) = Cpim::parse(octets, &cpim::Limits::default()) {
        items += message.headers().count() + message.to().count() + message.subjects().count();
        items += usize::from(imdn::message_id(&message).is_some());
        items += imdn::record_routes(&message).len() + imdn::routes(&message).len();
        items += imdn::documents(&message).map_or(0, |documents| documents.len());
        items += usize::from(message.date_time().is_some());
    }
    let limits = multipart::Limits::default();
    for boundary in ["multipart/mixed;boundary=b", "multipart/mixed;boundary=\"x y\""] {
        let Ok(media) = MediaType::parse(boundary) else { continue };
        items += Multipart::parse(&media, octets, &limits).map_or(0, |body| body.parts().len());
        items += sip_message::embedded(&media, octets, &limits).map_or(0, |found| found.len());
    }
    let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let media = std::str::from_utf8(line).ok().and_then(|line| MediaType::parse(line).ok());
    items + usize::from(media.is_some())
}

/// One message over each transport; new requests are answered, and all timers run out.
fn endpoint(octets: Bytes) -> usize {
    let config = EndpointConfig {
        sent_by: vec!["192.0.2.20:5060".to_owned(); 2],
        ..EndpointConfig::default()
    };
    let mut number = 0;
    let mut endpoint = Endpoint::new(
        config,
        Box::new(move || {
            number += 1;
            number
        }),
    );
    let mut now = Instant::now().into_std();
    let mut items = 0;
    for (listener, transport) in [Transport::Udp, Transport::Tcp].into_iter().enumerate() {
        let listener = ListenerId(u16::try_from(listener).unwrap_or(0));
        let remote = SocketAddr::from(([192, 0, 2, 9], 5060));
        let source = Source { transport, remote, listener, connection: None, verified: false };
        let input = match Message::parse_datagram(octets.clone(), &Limits::default()) {
            Ok(message) => Input::Message { source, message },
            Err(malformed) => Input::Malformed { source, malformed },
        };
        endpoint.handle_input(now, input);
        items += drain(&mut endpoint, now);
    }
    for _ in 0..64 {
        let Some(due) = endpoint.poll_timeout() else { break };
        now = due.max(now) + Duration::from_millis(1);
        endpoint.handle_input(now, Input::Timeout);
        items += drain(&mut endpoint, now);
    }
    items
}

fn drain(endpoint: &mut Endpoint, now: std::time::Instant) -> usize {
    let mut items = 0;
    while let Some(output) = endpoint.poll_output() {
        items += 1;
        if let Output::Request { server, request, .. } = output {
            let answer = ResponseBuilder::new(&request, 200, "tag").build();
            endpoint.respond(now, server, 200, answer);
        }
    }
    items
}
