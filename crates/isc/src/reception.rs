//! The end of an MSRP session that brings immediate messages: the server answers in the place of
//! those they are for, and takes what comes (OMA-TS-SIMPLE_IM §7.3.1.3, §7.4.2.1).
//!
//! | what | answer |
//! |---|---|
//! | a chunk before the last | 200 at once |
//! | the last chunk | what the role says: 200 when the message is durable |
//! | more octets than a message may have | 413 |
//! | BYE before the last chunk | what came is forgotten |
//! | the same offer again | 200, with the same answer |
//!
//! Who brings no whole message for [`ReceptionTerms::idle`] is sent BYE: so long one may take.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parlance_msrp::endpoint::{
    self, Accepts, Description, EndpointConfig, LastAnswer, SuccessReports,
};
use parlance_msrp::header::ByteRange;
use parlance_msrp::negotiate::{self, Terms};
use parlance_sip::ResponseBuilder;
use parlance_sip::sdp::{Direction, MediaRanges, Sdp};

use crate::Cx;
use crate::media::{Heard, Media, MediaError, MediaSession, Security, SessionEvent};
use crate::session::{Body, Event, Inbox, Invite, LegTerms};

/// How long after the end of the dialog messages are still taken; local value. Between us and the
/// sender relays may stand, and each answers for itself (RFC 4976 §3): he may have the answer to
/// his last chunk, and say BYE, while the chunk is on its way here.
const REST: Duration = Duration::from_secs(2);

/// How messages are received.
#[derive(Clone, Copy, Debug)]
pub struct ReceptionTerms {
    /// Octets of a message at most: `max-size` of our answer, and 413 beyond it.
    pub octets_max: u64,
    /// Who brings no whole message for so long is sent BYE.
    pub idle: Duration,
    /// Whether the sender is spoken to over TLS.
    pub security: Security,
}

/// Why there is no session as the INVITE offers it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unopened {
    /// There is no MSRP core that takes it.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// What is offered cannot be taken (RFC 3261 §21.4.26).
    #[error(transparent)]
    Offer(negotiate::Refusal),
}

/// The end of a session in which messages come. Dropped: the session ends.
#[derive(Debug)]
pub struct Reception {
    session: MediaSession,
    offer: Bytes,
    answer: Bytes,
    theirs: String,
    idle: Duration,
}

/// A whole message.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// What its first chunk said.
    pub description: &'a Description,
    /// Its content.
    pub body: &'a Bytes,
    /// The paths of the session: ours, and the sender's.
    pub paths: (&'a str, &'a str),
}

impl Arrived<'_> {
    /// The message as its sender's function hears of it.
    pub fn as_heard(&self) -> Heard {
        let Description { message_id, content_type, .. } = self.description;
        Heard::whole(message_id, content_type, self.body, true)
    }
}

impl Reception {
    /// Opens the session that an INVITE with this description offers. A message may be of any type
    /// (§7.3.2.1).
    ///
    /// # Errors
    /// [`Unopened`]; nothing is open then.
    pub async fn open(
        media: &Media,
        offer: Bytes,
        terms: &ReceptionTerms,
    ) -> Result<Self, Unopened> {
        let offered = Sdp::parse(&offer).map_err(|_| negotiate::Refusal::NoMessage);
        let offered = offered.map_err(Unopened::Offer)?;
        let any: MediaRanges = "*".parse().unwrap_or_default();
        let accepts =
            Accepts { types: any.clone(), wrapped: any, octets_max: Some(terms.octets_max) };
        let config = EndpointConfig {
            success_reports: SuccessReports::ByApplication,
            last_answer: LastAnswer::ByApplication,
            held_octets_max: terms.octets_max,
            incomplete: terms.idle,
            ..EndpointConfig::new(Arc::new(accepts))
        };
        let proto = offered.first_message().and_then(|(_, found)| Some(found.ok()?.proto));
        let secure = proto.map_or(Some(false), |proto| terms.security.answers(proto));
        let secure = secure.ok_or(Unopened::Offer(negotiate::Refusal::Scheme))?;
        let mut session = media.endpoint(secure, config).await?;
        let declared = Terms {
            max_size: Some(terms.octets_max),
            direction: Direction::RecvOnly,
            fingerprints: if secure { media.fingerprints() } else { Vec::new() },
            ..Terms::anything(session.uri().clone())
        };
        let hosts = media.hosts(&offered).await;
        let (answer, agreement) =
            negotiate::answer(&offered, &declared, 1, &hosts.same()).map_err(Unopened::Offer)?;
        session.agree(&agreement).await?;
        let theirs: Vec<_> = agreement.peer_path.iter().map(|uri| uri.as_str()).collect();
        let answer = answer.to_string().into_bytes().into();
        Ok(Self { theirs: theirs.join(" "), session, offer, answer, idle: terms.idle })
    }

    /// Our description, which the 200 carries.
    pub fn answer(&self) -> &Bytes {
        &self.answer
    }

    /// Sends the 200 and takes messages until somebody ends the session, and those that are on
    /// their way then; the session is over when this is. What `keep` says is the answer to the last
    /// chunk of a message: 200 promises that it is durable.
    pub async fn receive(
        mut self,
        cx: &Cx,
        invite: Invite,
        response: ResponseBuilder,
        terms: LegTerms,
        keep: impl AsyncFn(Arrived<'_>) -> u16,
    ) {
        let mut inbox = Inbox::new(cx);
        let body = Body::sdp(self.answer.clone());
        let Ok(leg) = invite.accept(response, body, terms, &inbox.address()) else { return };
        loop {
            tokio::select! {
                event = inbox.next() => match event {
                    Event::Ended(..) => break,
                    Event::Draining => break leg.end(None),
                    Event::Offer(_, offer) if offer.request().body_bytes() == self.offer => {
                        let response = offer.response(200);
                        offer.accept(response, Body::sdp(self.answer.clone()));
                    }
                    // Dropped, an offer is answered 488 and a request 480.
                    _ => {}
                },
                event = self.session.next() => match event {
                    SessionEvent::Message(event) => self.take(*event, &keep).await,
                    SessionEvent::Connected => {}
                    SessionEvent::Lost(_) => return leg.end(None),
                },
                () = cx.after(self.idle) => return leg.end(None),
            }
        }
        self.receive_rest(cx, &keep).await;
    }

    /// Takes what was on its way when the dialog ended.
    async fn receive_rest(&mut self, cx: &Cx, keep: &impl AsyncFn(Arrived<'_>) -> u16) {
        let mut rest = pin!(cx.after(REST));
        loop {
            tokio::select! {
                () = &mut rest => return,
                event = self.session.next() => match event {
                    SessionEvent::Message(event) => self.take(*event, keep).await,
                    SessionEvent::Connected => {}
                    SessionEvent::Lost(_) => return,
                },
            }
        }
    }

    /// A message came: the role keeps it, and only then is its last chunk answered.
    async fn take(&self, event: endpoint::Event, keep: &impl AsyncFn(Arrived<'_>) -> u16) {
        let endpoint::Event::Received { description, body, .. } = event else { return };
        let paths = (self.session.uri().as_str(), self.theirs.as_str());
        let code = keep(Arrived { description: &description, body: &body, paths }).await;
        // A core that is gone answers nothing: the sender's own timer tells him (RFC 4975 §7.2).
        let _ = self.session.answer(&description.message_id, code).await;
        if code == 200 && description.success_report {
            let whole = body.len() as u64;
            let range = ByteRange { start: 1, end: Some(whole), total: Some(whole) };
            let _ = self.session.report(&description.message_id, Some(range), 200).await;
        }
    }
}
