//! The transaction layer of one shard: it matches messages to transactions, runs the machines of
//! [`crate::transaction`] and their timers, and answers what needs no transaction user
//! (RFC 3261 §17, §18.2, §9.2; RFC 4320; RFC 3581).
//!
//! The transaction user (TU) above is told of new requests, of responses and of failures, and
//! answers with [`Endpoint::respond`]. Requests go out with [`Endpoint::request`].
//!
//! **Invariants:** a message that matches nothing leaves no state behind. Every table has a limit
//! ([`EndpointConfig`]); at the limit a new request gets 503 and is forgotten.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::entropy::Entropy;
use crate::header::Via;
use crate::message::{Edits, Fault, Limits, Malformed, Message, Request, Response};
use crate::message::{ResponseBuilder, check_request_behind, read_response};
use crate::{HeaderName, Method, Source, Target, Timers};

mod branch;
mod client;
mod key;
mod server;
mod tag;
mod wheel;

pub use branch::shard as shard_of_branch;
pub use key::{shard_of, shard_of_ack, shard_of_spread, shard_of_uri};
pub use tag::shard as shard_of_tag;

use client::Clients;
use server::Servers;
use wheel::Wheel;

/// How an endpoint is set up.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// The timers; RFC 3261 by default.
    pub timers: Timers,
    /// Which shard this is; stands in every branch, so that responses find back.
    pub shard: u8,
    /// The `host:port` of our `Via` for each listener, by its number.
    pub sent_by: Vec<String>,
    /// Server transactions kept at most, answered ones included. Default 2,000,000 (at 40,000 a
    /// second and 64*T1 there are 1,280,000). Beyond: 503 to initial requests. Requests inside
    /// dialogs and CANCEL may take an eighth more, then they get 503 as well.
    pub server_transactions_max: usize,
    /// Server transactions not yet answered, at most. Default 50,000. Beyond: 503.
    pub unanswered_max: usize,
    /// Client transactions at most. Default 200,000. Beyond: [`Overload`].
    pub client_transactions_max: usize,
    /// How long the sender of a refused request is asked to wait. Default 5 s.
    pub retry_after: Duration,
    /// The value of `Server` in responses made here; empty for none.
    pub server: String,
}

impl EndpointConfig {
    /// How many server transactions there can be, those inside dialogs included.
    fn server_transactions_end(&self) -> usize {
        self.server_transactions_max.saturating_add(self.server_transactions_max / 8)
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            timers: Timers::default(),
            shard: 0,
            sent_by: Vec::new(),
            server_transactions_max: 2_000_000,
            unanswered_max: 50_000,
            client_transactions_max: 200_000,
            retry_after: Duration::from_secs(5),
            server: String::new(),
        }
    }
}

/// A server transaction of this endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerKey {
    index: u32,
    generation: u32,
}

/// A client transaction of this endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    index: u32,
    generation: u32,
}

impl ClientKey {
    /// The key as one number, for the transport to name a message that could not be sent.
    pub fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Reads [`ClientKey::token`] back.
    pub fn from_token(token: u64) -> Self {
        Self { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// The table of client transactions is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many client transactions")]
pub struct Overload;

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// A message arrived.
    Message {
        /// Where it came from.
        source: Source,
        /// The message, its header values not yet checked.
        message: Message,
    },
    /// Something arrived that is no whole message.
    Malformed {
        /// Where it came from.
        source: Source,
        /// What of it could be read.
        malformed: Box<Malformed>,
    },
    /// A request of the client transaction could not be sent.
    Undeliverable {
        /// Whose request it was.
        client: ClientKey,
    },
    /// Time has passed. Harmless when nothing is due.
    Timeout,
}

/// What the caller must do, in order.
#[derive(Debug)]
pub enum Output {
    /// Put these octets on the wire.
    Transmit {
        /// Where to.
        target: Target,
        /// The whole message.
        bytes: Bytes,
        /// Whose request it is; `None` for a response or an ACK.
        client: Option<ClientKey>,
    },
    /// A new request for the TU, checked and with `received` and `rport` filled in. CANCEL comes
    /// only when it matches no transaction.
    Request {
        /// Its transaction.
        server: ServerKey,
        /// Where it came from.
        source: Source,
        /// The request.
        request: Request,
    },
    /// An ACK that is no part of a transaction here: it acknowledges a 2xx (RFC 3261 §13.2.2.4).
    Ack {
        /// Where it came from.
        source: Source,
        /// The ACK.
        request: Request,
    },
    /// A CANCEL for an INVITE that has no final response yet; it was answered with 200.
    Cancelled {
        /// The INVITE's transaction.
        server: ServerKey,
        /// The CANCEL, for its Reason.
        cancel: Request,
    },
    /// A response for the TU.
    Response {
        /// The transaction it belongs to.
        client: ClientKey,
        /// The response.
        response: Response,
    },
    /// A client transaction ended without a final response.
    Failed {
        /// The transaction.
        client: ClientKey,
        /// Why.
        failure: Failure,
    },
    /// The client transaction of an INVITE is over: no further 2xx can come.
    Ended {
        /// The transaction.
        client: ClientKey,
    },
    /// The server transaction of an INVITE is over.
    Closed {
        /// The transaction.
        server: ServerKey,
    },
    /// The TU's final response was not acknowledged (Timer H) or could not be sent.
    Unacknowledged {
        /// The transaction.
        server: ServerKey,
    },
    /// Something was dropped, for the counters.
    Dropped(Drop),
}

/// Why a client transaction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Timer B or F: no final response.
    Timeout,
    /// The transport could not send it.
    Transport,
}

/// Why a message was dropped or refused without the TU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// A malformed response, or a malformed request that cannot be answered.
    Malformed(Fault),
    /// A malformed request, answered as [`Fault::status`] says.
    Refused(Fault),
    /// A response that matches no client transaction (RFC 6026 §8.9).
    StrayResponse,
    /// Overload: answered 503.
    Overload,
}

/// Entries of the timer wheel.
#[derive(Clone, Copy, Debug)]
enum Armed {
    Server(ServerKey),
    Client(ClientKey),
}

/// Room for messages that go out, taken at a time; local value.
const BUFFER_OCTETS: usize = 32 * 1024;

/// The transaction layer of one shard.
pub struct Endpoint {
    config: EndpointConfig,
    entropy: Box<dyn Entropy>,
    servers: Servers,
    clients: Clients,
    wheel: Wheel<Armed>,
    outputs: VecDeque<Output>,
    /// What is written is cut off its front; one allocation serves many messages.
    buffer: BytesMut,
    due: Vec<Armed>,
}

impl Endpoint {
    /// An endpoint without transactions. Room for the configured number is reserved at once, so
    /// that no table grows later (untouched memory costs nothing).
    pub fn new(config: EndpointConfig, mut entropy: Box<dyn Entropy>) -> Self {
        Self {
            servers: Servers::new(config.server_transactions_end(), entropy.as_mut()),
            clients: Clients::new(config.client_transactions_max),
            wheel: Wheel::new(),
            outputs: VecDeque::new(),
            buffer: BytesMut::new(),
            due: Vec::new(),
            config,
            entropy,
        }
    }

    /// Feeds one input at time `now`. May be called again before the outputs are drained.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Message { source, message } => match Request::new(message) {
                Ok(request) => self.handle_request(now, source, request),
                Err(message) => self.handle_response(now, message),
            },
            Input::Malformed { source, malformed } => self.refuse(source, *malformed),
            Input::Undeliverable { client } => self.undeliverable(now, client),
            Input::Timeout => self.handle_timeout(now),
        }
    }

    /// The next thing to do; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call again with [`Input::Timeout`]; `None` while no timer runs.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.next_due()
    }

    /// A tag of our own: 64 random bits (RFC 3261 §19.3) behind the number of this shard, so that
    /// requests inside the dialog find back ([`shard_of`]).
    pub fn tag(&mut self) -> String {
        tag::text(self.config.shard, self.entropy.next_u64())
    }

    /// 64 random bits.
    pub fn random(&mut self) -> u64 {
        self.entropy.next_u64()
    }

    /// How many transactions there are: (server, of these unanswered, client).
    pub fn load(&self) -> (usize, usize, usize) {
        (self.servers.len(), self.servers.unanswered(), self.clients.len())
    }

    /// The configuration.
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }

    /// Makes room in the buffer that messages are written to.
    fn write(&mut self, message: &Message, edits: &Edits) -> Bytes {
        edits.write(message, &mut self.buffer);
        let bytes = self.buffer.split().freeze();
        if self.buffer.capacity() < 4096 {
            // The same room again, if what was written there has gone out.
            self.buffer.reserve(BUFFER_OCTETS);
        }
        bytes
    }

    fn handle_request(&mut self, now: Instant, source: Source, request: Request) {
        let via = request.top_via();
        let keys = self.servers.keys();
        let key = keys.server(&request, via.as_ref(), request.method(), source.listener);
        let whole = via.filter(|via| !is_amended(via, &source));
        let back = whole.map(|via| response_target(Some(&via), &source));
        if let Some(server) = self.servers.find(key) {
            return self.handle_again(now, server, source, request);
        }
        if let Err(fault) = check_request_behind(&request, via) {
            let malformed = Malformed { fault, message: Some(request.into_message()) };
            return self.refuse(source, malformed);
        }
        match request.method() {
            // That of a stateless answer ends here, as it would in a transaction.
            Method::Ack if self.is_of_stateless(&source, &request) => {}
            Method::Ack => self.outputs.push_back(Output::Ack { source, request }),
            _ if self.servers.len() >= self.config.server_transactions_end() => {
                self.overload(source, &request);
            }
            Method::Cancel => self.handle_cancel(now, key, source, request, back),
            _ if self.is_full() && is_initial(&request) => self.overload(source, &request),
            _ => self.open_server(now, key, source, request, back),
        }
    }

    /// Whether an initial request would be one too many.
    fn is_full(&self) -> bool {
        self.servers.len() >= self.config.server_transactions_max
            || self.servers.unanswered() >= self.config.unanswered_max
    }

    /// Answers 503 and keeps nothing (CORE-055).
    pub fn overload(&mut self, source: Source, request: &Request) {
        let after = self.config.retry_after.as_secs().max(1);
        self.answer_stateless(source, request, |request, tag| {
            ResponseBuilder::new(request, 503, tag).header(HeaderName::RetryAfter, after)
        });
        self.outputs.push_back(Output::Dropped(Drop::Overload));
    }

    /// Answers `status` and keeps nothing: to a request from nobody we trust, for instance.
    pub fn turn_away(&mut self, source: Source, request: &Request, status: u16) {
        self.answer_stateless(source, request, |request, tag| {
            ResponseBuilder::new(request, status, tag)
        });
    }

    /// Sends a response that no transaction will repeat (RFC 3261 §8.2.7). An ACK is never
    /// answered.
    fn answer_stateless(
        &mut self,
        source: Source,
        request: &Request,
        response: impl FnOnce(&Request, &str) -> ResponseBuilder,
    ) {
        if request.method() == Method::Ack {
            return;
        }
        let tag = self.stateless_tag(&source, request);
        let (request, target) = arrived(request.clone(), &source);
        let bytes = self.finish(response(&request, &tag));
        self.outputs.push_back(Output::Transmit { target, bytes, client: None });
    }

    fn stateless_tag(&self, source: &Source, request: &Request) -> String {
        tag::text(self.config.shard, self.servers.keys().stateless(request, source.listener))
    }

    /// Whether an ACK is for an answer of which nothing was kept.
    fn is_of_stateless(&self, source: &Source, ack: &Request) -> bool {
        let to = ack.header::<crate::header::To<'_>>().ok().flatten();
        let told = to.and_then(|to| to.tag());
        told.is_some_and(|told| told == self.stateless_tag(source, ack))
    }

    fn finish(&self, response: ResponseBuilder) -> Bytes {
        if self.config.server.is_empty() {
            return response.build();
        }
        response.header(HeaderName::Server, &self.config.server).build()
    }

    /// A request that breaks the grammar or a limit is answered as [`Fault::status`] says;
    /// everything else that does is dropped.
    fn refuse(&mut self, source: Source, malformed: Malformed) {
        let fault = malformed.fault;
        let request = malformed.message.and_then(|message| Request::new(message).ok());
        // Without a readable Via and CSeq nobody could match the answer.
        let answerable = request
            .filter(|request| request.method() != Method::Ack && request.has(HeaderName::Via));
        let Some(request) = answerable else {
            self.outputs.push_back(Output::Dropped(Drop::Malformed(fault)));
            return;
        };
        self.answer_stateless(source, &request, |request, tag| {
            ResponseBuilder::with_reason(request, fault.status(), &fault.to_string(), tag)
        });
        self.outputs.push_back(Output::Dropped(Drop::Refused(fault)));
    }

    fn handle_response(&mut self, now: Instant, message: Message) {
        let Ok(response) = Response::new(message) else { return };
        match read_response(&response) {
            Ok((via, cseq)) => {
                let client = via.branch().and_then(|branch| self.client(branch, cseq.method));
                let invite = cseq.method == Method::Invite;
                self.response(now, client, invite, response);
            }
            Err(fault) => self.outputs.push_back(Output::Dropped(Drop::Malformed(fault))),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.fire(now, &mut due);
        for armed in due.drain(..) {
            match armed {
                Armed::Server(server) => self.server_timeout(now, server),
                Armed::Client(client) => self.client_timeout(now, client),
            }
        }
        self.due = due;
    }
}

/// Whether a request is outside any dialog (RFC 3261 §12.2: no To tag).
pub fn is_initial(request: &Message) -> bool {
    // Most end with the URI: a look at the last octet spares them the parser.
    if request.field(HeaderName::To).is_none_or(|value| value.ends_with(b">")) {
        return true;
    }
    let to = request.header::<crate::header::To<'_>>().ok().flatten();
    to.is_none_or(|to| to.tag().is_none())
}

/// The request with `received` and `rport` in its top `Via`, when they must be there
/// (RFC 3261 §18.2.1, RFC 3581 §4), and where its response goes.
fn arrived(request: Request, source: &Source) -> (Request, Target) {
    let via = request.top_via();
    match via.and_then(|via| received(&request, via, source)) {
        Some(amended) => {
            let target = response_target(amended.top_via().as_ref(), source);
            (amended, target)
        }
        None => {
            let target = response_target(via.as_ref(), source);
            (request, target)
        }
    }
}

/// For a message that was let in before, or is ours: only what an index holds limits it.
const ACCEPTED: Limits = Limits {
    head_octets_max: u16::MAX as usize,
    fields_max: u16::MAX as usize,
    body_octets_max: usize::MAX,
};

/// Whether the top `Via` must say where the request came from.
fn is_amended(via: &Via<'_>, source: &Source) -> bool {
    let ip = source.remote.ip().to_canonical();
    let same_host = via.sent_by.host.ip() == Some(ip);
    via.rport() == Some(None) || !(same_host || via.received() == Some(ip))
}

/// The amended request; `None` when it may stay as it is.
fn received(request: &Request, via: Via<'_>, source: &Source) -> Option<Request> {
    if !is_amended(&via, source) {
        return None;
    }
    let ip = source.remote.ip().to_canonical();
    let rport = (via.rport() == Some(None)).then(|| source.remote.port());
    let mut edits = Edits::new();
    edits.set_first_value(request, HeaderName::Via, Received { via, ip, rport });
    let mut out = BytesMut::new();
    edits.write(request, &mut out);
    let message = match Message::parse_datagram(out.freeze(), &ACCEPTED) {
        Ok(message) => message,
        Err(malformed) => malformed.message?,
    };
    Request::new(message).ok()
}

/// A `Via` with what the transport layer adds.
struct Received<'a> {
    via: Via<'a>,
    ip: IpAddr,
    rport: Option<u16>,
}

impl fmt::Display for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Via { protocol, version, transport_token, sent_by, params, .. } = &self.via;
        write!(f, "{protocol}/{version}/{transport_token} {sent_by}")?;
        for param in params.iter() {
            match self.rport {
                _ if param.is("received") => {}
                Some(port) if param.is("rport") => write!(f, ";rport={port}")?,
                _ => {
                    write!(f, ";{}", param.name)?;
                    if let Some(value) = param.value {
                        write!(f, "={}", String::from_utf8_lossy(value.raw()))?;
                    }
                }
            }
        }
        write!(f, ";received={}", self.ip)
    }
}

/// Where the response to a request goes (RFC 3261 §18.2.2, RFC 3581 §4).
///
/// Deviation: `maddr` is not followed (RFC 3261 §18.2.2 says MUST); no peer of an application
/// server multicasts, and following it would let anybody aim our answers.
fn response_target(via: Option<&Via<'_>>, source: &Source) -> Target {
    let mut target = source.back();
    let rport = via.and_then(|via| via.rport().flatten());
    let rport = rport.filter(|_| !target.transport.is_reliable());
    let sent_by = via.and_then(|via| via.sent_by.port);
    let port = rport.or(sent_by).unwrap_or_else(|| target.transport.default_port());
    target.remote.set_port(port);
    target
}

#[cfg(test)]
mod tests;
