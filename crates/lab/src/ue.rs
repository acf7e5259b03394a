//! Scripted UEs. What they say is built, and what they hear is read, by `rsip`; session
//! descriptions by `sdp-rs`: somebody else's implementation on the other end.
//!
//! `rsip` builds heads; bodies are appended as octets, because its own `Display` of a message
//! replaces what is not UTF-8. What it refuses to read (folded lines, compact forms, IPv6 hosts,
//! `tel:`) is kept in [`Ue::unreadable`], and what it cannot say goes through
//! [`crate::raw::RawUe`].

mod call;
mod chat;
mod conference;
mod cpim;
mod msrp;
mod sdp;
mod state;

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rsip::headers::{ContentType, Expires, UntypedHeader};
use rsip::{Header, Method};
use tokio::time::Instant;

use crate::network::{Link, Streams};
use crate::transaction;

pub use call::{Call, Dialog, Ringing};
pub use chat::{Chat, Invitation};
pub use conference::{Conference, Participant, Watch};
pub use cpim::Cpim;
use msrp::Client;
pub use msrp::{Reported, Said};
use state::{State, answer_of};

/// How a UE is set up.
#[derive(Clone, Debug)]
pub struct UeConfig {
    /// The public identity, a sip URI.
    pub identity: String,
    /// The core.
    pub core: SocketAddr,
    /// The seed of tags, branches and Call-IDs. Differs between UEs of one scenario.
    pub seed: u64,
}

/// What a UE does with a request. It sends no 100: its transactions do not need one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers at once with this status.
    Answer(u16),
    /// It answers with this status after a while.
    After(Duration, u16),
    /// It takes the request and never answers; an INVITE rings.
    Silent,
    /// The packet is lost, and so is each repetition.
    Drop,
}

/// A request a UE got, once however often it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// When it came first.
    pub at: Instant,
    /// The request, as `rsip` reads it, with its body.
    pub request: rsip::Request,
    /// What the UE answered; `None` when it did not.
    pub status: Option<u16>,
}

impl Received {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.request.body).into_owned()
    }

    /// The value of a header field of that name; the first, as written.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.request.headers, name)
    }
}

/// A final response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status; 408 when none came (RFC 3261 §8.1.3.1).
    pub status: u16,
    /// Whether no response came and the status is the UE's own conclusion.
    pub timed_out: bool,
    /// When.
    pub at: Instant,
    /// The header fields of the response.
    pub headers: rsip::Headers,
}

impl Answer {
    /// The value of a header field of that name; the first, as written.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.headers, name)
    }
}

/// Finds a header field by its name in a list.
fn header(headers: &rsip::Headers, name: &str) -> Option<String> {
    headers.iter().find_map(|header| {
        let text = header.to_string();
        let (found, value) = text.split_once(':')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// A request to be sent, as far as the script decides it.
#[derive(Clone, Debug)]
pub struct Draft {
    method: Method,
    target: String,
    to: String,
    content_type: Option<String>,
    body: Bytes,
    more: Vec<(String, String)>,
}

/// The feature preference of an IM client (OMA-TS-SIMPLE_IM Appendix C).
pub const ACCEPT_CONTACT: &str = "*;+g.oma.sip-im";

impl Draft {
    /// A text message to `target`, asking for the IM service.
    pub fn message(target: &str, text: &str) -> Self {
        Self::untagged(target, text).header("Accept-Contact", ACCEPT_CONTACT)
    }

    /// A text message to `target` that does not ask for the IM service.
    pub fn untagged(target: &str, text: &str) -> Self {
        Self::new(Method::Message, target)
            .header("User-Agent", "IM-client/OMA1.0 lab")
            .body("text/plain", text.as_bytes())
    }

    /// A request to `target`.
    pub fn new(method: Method, target: &str) -> Self {
        let target = target.to_owned();
        let (content_type, body, more) = (None, Bytes::new(), Vec::new());
        Self { method, to: target.clone(), target, content_type, body, more }
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.more.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, content_type: &str, octets: &[u8]) -> Self {
        self.content_type = Some(content_type.to_owned());
        self.body = Bytes::copy_from_slice(octets);
        self
    }

    /// Addresses the request to somebody else than its target says (`To`).
    #[must_use]
    pub fn to(mut self, to: &str) -> Self {
        self.to = to.to_owned();
        self
    }

    fn headers(&self) -> Vec<Header> {
        let other = |(name, value): &(String, String)| Header::Other(name.clone(), value.clone());
        let mut headers: Vec<Header> = self.more.iter().map(other).collect();
        headers.extend(self.content_type.iter().map(|kind| ContentType::new(kind.as_str()).into()));
        headers
    }
}

/// A running UE. Cheap to clone.
#[derive(Clone)]
pub struct Ue(Rc<RefCell<State>>);

impl Ue {
    /// Starts a UE at `link`. Must be called on a `LocalSet`: the UE is a task there.
    pub fn start(link: Link, config: UeConfig) -> Self {
        let state = Rc::new(RefCell::new(State::new(link.outlet(), config)));
        tokio::task::spawn_local(run(Rc::clone(&state), link));
        Self(state)
    }

    /// Gives it MSRP at a host of streams, so that it can take part in sessions. Must be called on
    /// a `LocalSet`.
    ///
    /// # Errors
    /// The socket cannot be bound; never on the simulated network.
    pub fn with_msrp(self, streams: Streams) -> std::io::Result<Self> {
        let seed = self.0.borrow().config.seed;
        self.0.borrow_mut().msrp = Some(Client::start(streams, seed)?);
        Ok(self)
    }

    /// The public identity.
    pub fn identity(&self) -> String {
        self.0.borrow().config.identity.clone()
    }

    /// The address of the UE.
    pub fn address(&self) -> SocketAddr {
        self.0.borrow().local
    }

    /// Registers for ten minutes as an IM client; refreshes when registered already.
    pub async fn register(&self) -> Answer {
        self.register_with(Duration::from_secs(600), true).await
    }

    /// Ends the registration.
    pub async fn deregister(&self) -> Answer {
        self.register_with(Duration::ZERO, true).await
    }

    /// Registers for `period`, with or without the IM feature tag.
    pub async fn register_with(&self, period: Duration, im: bool) -> Answer {
        let draft = self.0.borrow().register_draft(im);
        let seconds = u32::try_from(period.as_secs()).unwrap_or(u32::MAX);
        let expires = Header::Expires(Expires::from(seconds));
        self.perform(draft, vec![expires]).await
    }

    /// Sends a text message that asks for the IM service, and waits for its final answer.
    pub async fn message(&self, target: &str, text: &str) -> Answer {
        self.send(Draft::message(target, text)).await
    }

    /// Sends a request and waits for its final answer. Dropped: the request stays sent.
    pub async fn send(&self, draft: Draft) -> Answer {
        self.perform(draft, Vec::new()).await
    }

    async fn perform(&self, draft: Draft, more: Vec<Header>) -> Answer {
        let outcome = self.0.borrow_mut().send(&draft, more);
        answer_of(outcome).await
    }

    /// Whether it has `msrp-cema` in its descriptions from now on (RFC 6714). Default: no.
    pub fn set_cema(&self, cema: bool) {
        self.0.borrow_mut().negotiation.cema = cema;
    }

    /// Whether it lets others connect when it answers, from now on. Default: no, it connects when
    /// it may.
    pub fn set_waiting(&self, waits: bool) {
        self.0.borrow_mut().negotiation.waits = waits;
    }

    /// What the UE does with requests from now on, beyond what is scripted.
    pub fn behave(&self, behaviour: Behaviour) {
        self.0.borrow_mut().behaviour = behaviour;
    }

    /// What the UE does with the next requests, one each.
    pub fn script(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.0.borrow_mut().script.extend(behaviours);
    }

    /// The requests it got, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.0.borrow().received.clone()
    }

    /// The bodies of the MESSAGEs it got and answered with 2xx, oldest first.
    pub fn texts(&self) -> Vec<String> {
        let took = |received: &&Received| {
            received.request.method == Method::Message
                && received.status.is_some_and(|status| status < 300)
        };
        self.0.borrow().received.iter().filter(took).map(Received::text).collect()
    }

    /// Forgets what is over: requests that were answered, sessions that have ended. What a script
    /// has in its hands stays as it is. For runs of hours; others want to look back.
    pub fn forget(&self) {
        self.0.borrow_mut().forget();
    }

    /// What `rsip` could not read.
    pub fn unreadable(&self) -> Vec<Bytes> {
        self.0.borrow().unreadable.clone()
    }

    /// Final responses that came to a transaction that had one with another status: a fault of
    /// the network's other end, never of the network.
    pub fn contradictions(&self) -> usize {
        self.0.borrow().contradictions
    }

    /// Requests it sent again, and requests that came to it again.
    pub fn repeats(&self) -> (u64, u64) {
        self.0.borrow().transactions.repeats()
    }
}

impl fmt::Debug for Ue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ue({})", self.identity())
    }
}

async fn run(state: Rc<RefCell<State>>, mut link: Link) {
    loop {
        let due = state.borrow().deadline();
        tokio::select! {
            biased;
            packet = link.recv() => {
                let Some(packet) = packet else { return };
                state.borrow_mut().receive(packet);
            }
            () = transaction::until(due) => state.borrow_mut().tick(),
            // A script sent something: its timers may be the next.
            () = State::changed(&state) => {}
        }
    }
}
