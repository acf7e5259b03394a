//! A large message to one recipient: a session for it alone (OMA-TS-SIMPLE_IM §7.4.2.2).
//!
//! | what comes of the INVITE, or of the message | next |
//! |---|---|
//! | 2xx, and all of the message is answered 200 | BYE; delivered |
//! | 2xx that cannot be used | BYE; 488, or 415 when the type is not taken |
//! | the message is refused, or larger than is taken | BYE; that code |
//! | 488, 606 or a refused line | again without TLS, when that may be; else that code |
//! | 3xx | once where it says, within the domain |
//! | any other final response | that code: his own server has had its say (§7.4.1.6) |
//! | no answer in `ring_s` | CANCEL; 408 |
//! | BYE before the end | 480 |
//! | it does not come through in `large_transfer_s` | BYE; 408 |
//! | nobody answers, the connection breaks | again, a few times; then 503 |
//! | the server stops before it is answered | CANCEL; the next start goes on |
//!
//! An INVITE that is sent again is a new one. The message keeps its Message-ID, by which a
//! recipient knows that he has had it (RFC 4975 §5.4).

use std::time::Duration;

use bytes::Bytes;
use parlance_content::cpim;
use parlance_content::date_time;
use parlance_isc::media::{Media, MediaError, MediaSession, SendFailure, SessionEvent};
use parlance_isc::session::{Event, Inbox, Leg, LegTerms, Outgoing, Progress, Reason};
use parlance_isc::{Cx, Way};
use parlance_msrp::endpoint::{self, Accepts, EndpointConfig, Failure, Message, SendError};
use parlance_msrp::negotiate::{self, Agreement, Form, Outcome, Terms};
use parlance_sip::header::From;
use parlance_sip::sdp::{Direction, Sdp};
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Request, Response};
use tokio::time::{Instant, sleep_until};

use super::copy::Copy;
use super::job::Ids;
use super::run::{Errand, NO_ANSWER, RETRY, TRIES, UNREACHABLE};
use crate::caller;
use crate::policy::{Policy, seconds_of};

/// Of a recipient who ended the session before he had the message.
const LEFT: u16 = 480;
/// The session, the type, and the size are not for him.
const NOT_ACCEPTABLE: u16 = 488;
const UNSUPPORTED: u16 = 415;
const TOO_LARGE: u16 = 413;

/// How long the end of the message may take to be told after the recipient ended the session; local
/// value. Who has all of it may end the session sooner than his last response is read.
const LAST_RESPONSE: Duration = Duration::from_secs(2);

/// What came of one attempt.
enum Attempt {
    /// It is over, with this status.
    Over(u16),
    /// Not with this security; with another it may be. Else it is over, with this status.
    Otherwise(u16),
    /// He is somewhere else.
    Moved(u16, String),
    /// Nothing was heard of him.
    Lost,
    /// The server stops.
    Stopped,
}

/// A session that was agreed on.
struct Open {
    leg: Leg,
    inbox: Inbox,
    session: MediaSession,
    agreement: Agreement,
}

impl Errand {
    /// Sends the message; a status of SIP says what became of it. `None`: the server stops, and
    /// the next start sends it.
    pub(super) async fn send_large(&self, cx: &Cx, address: &Aor) -> Option<u16> {
        let media = &self.exploder.0.setup.media;
        let rule = media.tls().of(address.domain().unwrap_or_default());
        let mut securities = rule.offers(media.address(true).is_some()).iter();
        let Some(mut secure) = securities.next() else { return Some(NOT_ACCEPTABLE) };
        let mut uri = self.recipient.uri.clone();
        let (mut redirected, mut tries, mut pause) = (false, 1, RETRY);
        loop {
            if self.exploder.is_stopping() {
                return None;
            }
            let policy = self.exploder.policy();
            match self.attempt(cx, &policy, &uri, *secure).await {
                Attempt::Over(status) => return Some(status),
                Attempt::Stopped => return None,
                Attempt::Otherwise(status) => match securities.next() {
                    Some(next) => secure = next,
                    None => return Some(status),
                },
                Attempt::Moved(status, to) => {
                    if redirected || !policy.redirects || !same_domain(address, &to) {
                        return Some(status);
                    }
                    (uri, redirected) = (to, true);
                }
                Attempt::Lost => {
                    tries += 1;
                    if tries > TRIES || self.expires <= cx.now() {
                        return Some(UNREACHABLE);
                    }
                    cx.after(pause).await;
                    pause *= 2;
                }
            }
        }
    }

    async fn attempt(&self, cx: &Cx, policy: &Policy, uri: &str, secure: bool) -> Attempt {
        let media = &self.exploder.0.setup.media;
        let config =
            EndpointConfig { receives: false, ..EndpointConfig::new(Accepts::default().into()) };
        let session = match media.endpoint(secure, config).await {
            Ok(session) => session,
            Err(MediaError::NoListener) => return Attempt::Otherwise(NOT_ACCEPTABLE),
            Err(MediaError::Busy | MediaError::Gone) => return Attempt::Lost,
        };
        let fingerprints = if secure { media.fingerprints() } else { Vec::new() };
        let terms = Terms { fingerprints, ..self.terms(&session) };
        let number = cx.random() >> 1;
        let offer = negotiate::offer(&terms, number);
        let inbox = Inbox::new(cx);
        let Some(outgoing) = self.invite(cx, policy, uri, &offer, &inbox).await else {
            return Attempt::Over(UNREACHABLE);
        };
        let ring = Instant::now() + seconds_of(policy.ring_s);
        let (leg, response, inbox) = match answered(outgoing, inbox, ring).await {
            Ok(answered) => answered,
            Err(attempt) => return attempt,
        };
        let refuse = |leg: Leg, status: u16| {
            leg.end(Some(Reason::sip(status, "Not Acceptable Here")));
        };
        let agreement = match conclude(number, response.body(), &terms, media).await {
            Ok(Outcome::Agreed(agreement)) if agreement.sends => agreement,
            Ok(Outcome::Refused) => {
                refuse(leg, NOT_ACCEPTABLE);
                return Attempt::Otherwise(NOT_ACCEPTABLE);
            }
            // The recipient takes nothing.
            Ok(Outcome::Agreed(_) | Outcome::OfferWithoutCema) => {
                refuse(leg, NOT_ACCEPTABLE);
                return Attempt::Over(NOT_ACCEPTABLE);
            }
            Err(why) => {
                refuse(leg, NOT_ACCEPTABLE);
                let status = match why {
                    negotiate::Refusal::Types => UNSUPPORTED,
                    _ => NOT_ACCEPTABLE,
                };
                return Attempt::Over(status);
            }
        };
        let open = Open { leg, inbox, session, agreement };
        self.transfer(cx, policy, open).await
    }

    /// What we declare: we send, and only this.
    fn terms(&self, session: &MediaSession) -> Terms {
        let offered = self.job.about.offer.as_deref().unwrap_or_default();
        let file = Sdp::parse(offered.as_bytes()).ok().and_then(|offered| {
            let (_, media) = offered.first_message()?;
            media.ok()?.file
        });
        Terms {
            path: vec![session.uri().clone()],
            accept_types: "*".parse().unwrap_or_default(),
            accept_wrapped_types: Default::default(),
            sends: vec![content_type(&self.job.template)],
            max_size: None,
            direction: Direction::SendOnly,
            msrp_cema: false,
            chatroom: None,
            fingerprints: Vec::new(),
            file,
        }
    }

    /// Sends the INVITE; `None` when there is no way, or it cannot be written.
    async fn invite(
        &self,
        cx: &Cx,
        policy: &Policy,
        uri: &str,
        offer: &Sdp,
        inbox: &Inbox,
    ) -> Option<Outgoing> {
        let setup = &self.exploder.0.setup;
        let about = &self.job.about;
        let way = Way::to(cx, &Aor::parse(uri).ok()?, uri, setup.listener).await?;
        let domain = setup.domains.first().map_or("localhost", String::as_str);
        let call_id = format!("{}{}@{domain}", cx.tag(), cx.tag());
        let ids = Ids { call_id, from_tag: cx.tag(), random: cx.random() };
        let recipient = super::job::Recipient { uri: uri.to_owned(), ..self.recipient.clone() };
        let contact = self.exploder.contact(cx, about.service.as_bytes());
        let copy = Copy {
            cx,
            policy,
            way: &way,
            template: &self.job.template,
            recipient: &recipient,
            ids: &ids,
        };
        let request = copy.invite(offer, about.history.as_deref(), &contact)?;
        Some(cx.invite(request, way.hop, LegTerms::new(contact), &inbox.address()))
    }

    /// Sends the message in the session, and ends it.
    async fn transfer(&self, cx: &Cx, policy: &Policy, open: Open) -> Attempt {
        let Open { leg, inbox, mut session, agreement } = open;
        let message = match self.message(cx, &agreement) {
            Ok(message) => message,
            Err(status) => {
                leg.end(None);
                return Attempt::Over(status);
            }
        };
        if session.agree(&agreement).await.is_err() {
            leg.end(None);
            return Attempt::Lost;
        }
        if let Err(failure) = session.send(message).await {
            leg.end(None);
            return not_sent(failure);
        }
        let deadline = Instant::now() + seconds_of(policy.explode.large_transfer_s);
        let came = sent(&mut session, inbox, deadline).await;
        leg.end(None);
        came
    }

    /// The message as this recipient takes it; else the status that says why he does not.
    fn message(&self, cx: &Cx, agreement: &Agreement) -> Result<Message, u16> {
        let template = &self.job.template;
        let (accepts, content_type) = (&agreement.accepts, content_type(template));
        let body = template.body_bytes();
        let is_cpim = content_type
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("message/cpim"));
        let form = match accepts.form(&content_type).ok_or(UNSUPPORTED)? {
            _ if is_cpim => Form::Bare,
            form => form,
        };
        let message_id = Ids::of(&self.seed, self.place, "").from_tag;
        let message = match form {
            Form::Bare => {
                let headers: Vec<u8> = described(template)
                    .flat_map(|(name, value)| [name, b": ", value, b"\r\n"].concat())
                    .collect();
                Message { headers: headers.into(), ..Message::new(&content_type, body) }
            }
            Form::Wrapped => {
                let wrapped = self.wrapped(cx, &content_type, &body).ok_or(UNSUPPORTED)?;
                let wrapped_type = Some(content_type.into());
                Message { wrapped_type, ..Message::new("message/cpim", wrapped) }
            }
        };
        Ok(Message { message_id: Some(message_id.into()), ..message })
    }

    /// The content in a wrapper, for who takes it so only (RFC 4975 §8.6).
    fn wrapped(&self, cx: &Cx, content_type: &str, body: &Bytes) -> Option<Bytes> {
        let from = self.job.template.header::<From<'_>>().ok()??.uri().to_string();
        let now = date_time::text(i64::try_from(cx.now().0 / 1000).ok()?)?;
        let builder = cpim::Builder::new().from("", &from).to("", &self.recipient.uri);
        let fields = described(&self.job.template)
            .map(|(name, value)| {
                Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
            })
            .collect::<Option<Vec<_>>>()?;
        let fields = [&[("Content-Type", content_type)][..], &fields].concat();
        builder.date_time(&now).build(&fields, body).ok()
    }
}

/// Waits for the answer; else what came of the attempt.
async fn answered(
    mut outgoing: Outgoing,
    mut inbox: Inbox,
    ring: Instant,
) -> Result<(Leg, Response, Inbox), Attempt> {
    loop {
        tokio::select! {
            progress = outgoing.next() => match progress {
                Progress::Provisional(_) => {}
                Progress::Answered(leg, response) => return Ok((leg, response, inbox)),
                Progress::Failed(response) => return Err(failed(&response)),
                Progress::NoAnswer => return Err(Attempt::Lost),
            },
            event = inbox.next() => if matches!(event, Event::Draining) {
                return Err(Attempt::Stopped);
            },
            () = sleep_until(ring) => return Err(Attempt::Over(NO_ANSWER)),
        }
    }
}

/// What a final response of 300 to 699 means.
fn failed(response: &Response) -> Attempt {
    let status = response.status();
    match status {
        300..=399 => match caller::contact(response) {
            uri if uri.is_empty() => Attempt::Over(status),
            uri => Attempt::Moved(status, uri),
        },
        NOT_ACCEPTABLE | 606 => Attempt::Otherwise(status),
        _ => Attempt::Over(status),
    }
}

fn same_domain(address: &Aor, uri: &str) -> bool {
    let domain = address.domain();
    domain.is_some() && Aor::parse(uri).is_ok_and(|to| to.domain() == domain)
}

/// What the answer to our offer comes to. A client that says `sendrecv` where it may say `recvonly`
/// only (RFC 3264 §6.1) takes the message all the same.
async fn conclude(
    number: u64,
    answer: &[u8],
    terms: &Terms,
    media: &Media,
) -> Result<Outcome, negotiate::Refusal> {
    let answer = Sdp::parse(answer).map_err(|_| negotiate::Refusal::NoMessage)?;
    let any_way = Terms { direction: Direction::SendRecv, ..terms.clone() };
    let hosts = media.hosts(&answer).await;
    negotiate::conclude(&negotiate::offer(&any_way, number), &answer, terms, &hosts.same())
}

/// Waits until all of the message is answered, or it is clear that it will not be.
async fn sent(session: &mut MediaSession, mut inbox: Inbox, mut deadline: Instant) -> Attempt {
    let mut left = false;
    loop {
        tokio::select! {
            biased;
            event = session.next() => match event {
                SessionEvent::Message(event) => match *event {
                    endpoint::Event::Sent { .. } => return Attempt::Over(200),
                    endpoint::Event::Failed { why, .. } => match why {
                        Failure::Code(code) => return Attempt::Over(code),
                        Failure::Ended | Failure::Aborted if left => return Attempt::Over(LEFT),
                        Failure::Ended | Failure::Aborted => return Attempt::Lost,
                    },
                    _ => {}
                },
                SessionEvent::Connected => {}
                SessionEvent::Lost(_) if left => return Attempt::Over(LEFT),
                SessionEvent::Lost(_) => return Attempt::Lost,
            },
            event = inbox.next() => if matches!(event, Event::Ended(..)) {
                left = true;
                deadline = deadline.min(Instant::now() + LAST_RESPONSE);
            },
            () = sleep_until(deadline) => {
                return Attempt::Over(if left { LEFT } else { NO_ANSWER });
            }
        }
    }
}

fn not_sent(failure: SendFailure) -> Attempt {
    match failure {
        SendFailure::Refused(SendError::Long) => Attempt::Over(TOO_LARGE),
        SendFailure::Refused(SendError::Type | SendError::Cpim | SendError::Header) => {
            Attempt::Over(UNSUPPORTED)
        }
        SendFailure::Refused(SendError::Session | SendError::Full) | SendFailure::Media(_) => {
            Attempt::Lost
        }
    }
}

/// The type of the content.
fn content_type(template: &Request) -> String {
    let value = template.field(HeaderName::ContentType).unwrap_or(b"text/plain");
    String::from_utf8_lossy(value).into_owned()
}

/// What else describes the content. MSRP is binary: nothing is encoded (RFC 4975 §7.1.1).
fn described(template: &Request) -> impl Iterator<Item = (&[u8], &[u8])> {
    const NOT: [&str; 3] = ["content-type", "content-length", "content-transfer-encoding"];
    template.fields().filter_map(|(name, written, value)| {
        let name = if name.as_str().is_empty() { written } else { name.as_str().as_bytes() };
        let lower = name.to_ascii_lowercase();
        let describes = lower.starts_with(b"content-");
        (describes && !NOT.iter().any(|other| other.as_bytes() == lower)).then_some((name, value))
    })
}
