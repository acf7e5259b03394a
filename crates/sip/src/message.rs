//! The lazy message: octets and an index into them (RFC 3261 §7).
//!
//! One pass finds the start line, the header fields and the body; nothing is copied, unfolded or
//! decoded. A header is parsed when somebody asks for it, and what nobody touches is sent on octet
//! for octet: change a message with [`Edits`], make one with [`ResponseBuilder`] or
//! [`RequestBuilder`].
//!
//! **Invariant:** a `Message` owns no decoded copy of any header, so it cannot disagree with its
//! octets.

use std::fmt;
use std::ops::{Deref, Range};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::grammar::split_list;
use crate::header::{CSeq, Header, HeaderError, ListHeader, Via};
use crate::uri::Uri;
use crate::{HeaderName, Method};

mod build;
mod check;
mod edit;
mod scan;

pub use build::{RequestBuilder, ResponseBuilder, reason_phrase};
pub use check::{check_request, check_response};
pub(crate) use check::{check_request_behind, read_response};
pub use edit::Edits;
pub(crate) use scan::{HeadIndex, index_head};

/// What a message may weigh. Values we chose ourselves; the RFCs set none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of start line and header fields together. Default 16 KiB, at most 65,535; a longer
    /// head is a [`Fault::HeadSize`].
    pub head_octets_max: usize,
    /// Header fields. Default 256; more is a [`Fault::FieldCount`].
    pub fields_max: usize,
    /// Octets of the body. Default 256 KiB; a longer one is a [`Fault::BodySize`].
    pub body_octets_max: usize,
}

impl Limits {
    /// As much as can be indexed: for what was let in, or written here, before.
    pub const LARGEST: Self = Self {
        head_octets_max: u16::MAX as usize,
        fields_max: u16::MAX as usize,
        body_octets_max: usize::MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_octets_max: 16 * 1024, fields_max: 256, body_octets_max: 256 * 1024 }
    }
}

/// What is wrong with a message, named so that a 400 can say it in its reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The first line is neither a request line nor a status line (RFC 3261 §7.1, §7.2).
    #[error("Bad Start Line")]
    StartLine,
    /// The Request-URI is no URI, or has white space or angle brackets (RFC 3261 §7.1).
    #[error("Bad Request-URI")]
    RequestUri,
    /// The SIP version is not 2.0; the answer is 505 (RFC 3261 §21.5.6).
    #[error("Version Not Supported")]
    Version,
    /// A line of the head has no colon, no name, or ends in a lone CR or LF.
    #[error("Bad Header Line")]
    HeaderLine,
    /// A header field is missing that every message must have (RFC 3261 §8.1.1).
    #[error("Missing {0}")]
    Missing(HeaderName),
    /// A header field breaks its grammar.
    #[error("Bad {0}")]
    Header(HeaderName),
    /// A header field stands twice that may stand once only (RFC 3261 §7.3.1).
    #[error("Repeated {0}")]
    Repeated(HeaderName),
    /// `CSeq` names another method than the request line (RFC 3261 §8.1.1.5).
    #[error("CSeq Method Mismatch")]
    MethodMismatch,
    /// The head is longer than [`Limits::head_octets_max`].
    #[error("Head Too Long")]
    HeadSize,
    /// More header fields than [`Limits::fields_max`].
    #[error("Too Many Header Fields")]
    FieldCount,
    /// The body is longer than [`Limits::body_octets_max`].
    #[error("Body Too Long")]
    BodySize,
}

impl Fault {
    /// The status code of the answer to a request with this fault.
    ///
    /// A 513 (RFC 3261 §21.5.7) is not among them: over ISC it would make the S-CSCF go on without
    /// the server. What is too long is the sender's to change, which a 4xx says as well.
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::BodySize => 413,
            Self::StartLine
            | Self::RequestUri
            | Self::HeaderLine
            | Self::Missing(_)
            | Self::Header(_)
            | Self::Repeated(_)
            | Self::MethodMismatch
            | Self::HeadSize
            | Self::FieldCount => 400,
        }
    }
}

impl From<HeaderError> for Fault {
    fn from(error: HeaderError) -> Self {
        Self::Header(error.name)
    }
}

/// A message that breaks the grammar, with as much of it as could be read.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// What is wrong; the first fault found.
    pub fault: Fault,
    /// The message as far as it could be indexed, enough to answer a request with 400.
    pub message: Option<Message>,
}

/// A span of the head. Heads are shorter than 64 KiB, so sixteen bits do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    at: u16,
    len: u16,
}

impl Span {
    fn range(self) -> Range<usize> {
        usize::from(self.at)..usize::from(self.at) + usize::from(self.len)
    }

    fn end(self) -> usize {
        usize::from(self.at) + usize::from(self.len)
    }
}

/// One header field of the index.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: HeaderName,
    name_len: u8,
    /// Where the line begins.
    at: u16,
    value: Span,
}

#[derive(Clone, Copy, Debug)]
enum Start {
    Request { method: Span, uri: Span },
    Status { code: u16, reason: Span },
}

/// Where in the octets of a message things are.
#[derive(Debug)]
struct Index {
    start: Start,
    fields: SmallVec<[Field; 32]>,
    /// Where the empty line that ends the head begins.
    head_end: u16,
    body_at: u32,
}

impl Clone for Index {
    /// All at once: derived, the fields would be copied one by one.
    fn clone(&self) -> Self {
        Self { fields: SmallVec::from_slice(&self.fields), ..*self }
    }
}

/// One SIP message: its octets and where in them things are.
#[derive(Clone)]
pub struct Message {
    bytes: Bytes,
    index: Index,
    body_end: u32,
}

/// The first line of a message (RFC 3261 §7.1, §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A request line.
    Request {
        /// The method, octet for octet.
        method: Method<'a>,
        /// The Request-URI, octet for octet.
        uri: &'a [u8],
    },
    /// A status line.
    Status {
        /// 100 to 699.
        code: u16,
        /// The reason phrase, possibly empty, possibly not UTF-8.
        reason: &'a [u8],
    },
}

impl Message {
    /// Indexes one datagram (RFC 3261 §18.3: octets beyond Content-Length are ignored, without
    /// Content-Length the body reaches to the end).
    ///
    /// # Errors
    /// [`Malformed`] with the first fault; header values are not looked at, [`check_request`] and
    /// [`check_response`] do that.
    pub fn parse_datagram(bytes: Bytes, limits: &Limits) -> Result<Self, Box<Malformed>> {
        scan::datagram(bytes, limits)
    }

    /// The octets of the whole message, without what a datagram held beyond its body.
    pub fn bytes(&self) -> Bytes {
        self.bytes.slice(..self.body_end as usize)
    }

    /// The first line.
    pub fn start_line(&self) -> StartLine<'_> {
        match self.index.start {
            Start::Request { method, uri } => StartLine::Request {
                method: Method::parse(self.at(method)).unwrap_or(Method::Other("")),
                uri: self.at(uri),
            },
            Start::Status { code, reason } => StartLine::Status { code, reason: self.at(reason) },
        }
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.index.start, Start::Request { .. })
    }

    /// The header fields in order: name, name as written, value without surrounding white space.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, &[u8], &[u8])> {
        self.index.fields.iter().map(|field| {
            let name = Span { at: field.at, len: u16::from(field.name_len) };
            (field.name, self.at(name), self.at(field.value))
        })
    }

    /// The value of the first field called `name`; folding is still in it.
    pub fn field(&self, name: HeaderName) -> Option<&[u8]> {
        self.index_of(name).map(|index| self.value_at(index))
    }

    /// The values of every field called `name`, in order.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        let named = self.index.fields.iter().filter(move |field| field.name == name);
        named.map(|field| self.at(field.value))
    }

    /// The first field with a name this workspace has no variant for, whatever its case.
    pub fn named(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields().find(|(_, text, _)| text.eq_ignore_ascii_case(name)).map(|(.., value)| value)
    }

    /// Whether a field called `name` is there.
    pub fn has(&self, name: HeaderName) -> bool {
        self.index_of(name).is_some()
    }

    /// Parses the first field of the header `H`; `None` when there is none.
    ///
    /// # Errors
    /// Those of `H`.
    pub fn header<'a, H: Header<'a>>(&'a self) -> Result<Option<H>, HeaderError> {
        self.field(H::NAME).map(H::parse).transpose()
    }

    /// Parses every value of the list header `H`, over all its fields in order (CORE-067).
    pub fn list<'a, H: ListHeader<'a>>(&'a self) -> impl Iterator<Item = Result<H, HeaderError>> {
        self.values(H::NAME).flat_map(split_list).map(H::parse)
    }

    /// The topmost `Via`; `None` when there is none or it is malformed.
    pub fn top_via(&self) -> Option<Via<'_>> {
        self.list::<Via<'_>>().next()?.ok()
    }

    /// The `CSeq`; `None` when there is none or it is malformed.
    pub fn cseq(&self) -> Option<CSeq<'_>> {
        self.header::<CSeq<'_>>().ok()?
    }

    /// The `Call-ID`, octet for octet; empty when there is none.
    pub fn call_id(&self) -> &[u8] {
        self.field(HeaderName::CallId).unwrap_or_default()
    }

    /// The body; empty when there is none.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(self.index.body_at as usize..self.body_end as usize).unwrap_or_default()
    }

    /// The body, sharing the octets of the message.
    pub fn body_bytes(&self) -> Bytes {
        self.bytes.slice(self.index.body_at as usize..self.body_end as usize)
    }

    /// The same message in octets of its own, when it is to be kept for long: a message received
    /// in a datagram shares the receive slab and would keep all of it alive.
    pub fn detached(&self) -> Self {
        let end = self.body_end as usize;
        let bytes = Bytes::copy_from_slice(self.bytes.get(..end).unwrap_or_default());
        Self { bytes, index: self.index.clone(), body_end: self.body_end }
    }

    fn at(&self, span: Span) -> &[u8] {
        self.bytes.get(span.range()).unwrap_or_default()
    }

    fn index_of(&self, name: HeaderName) -> Option<usize> {
        self.index_from(name, 0)
    }

    /// The first field called `name` from field `first` on.
    #[inline]
    fn index_from(&self, name: HeaderName, first: usize) -> Option<usize> {
        let rest = self.index.fields.get(first..)?;
        rest.iter().position(|field| field.name == name).map(|at| first + at)
    }

    fn value_at(&self, index: usize) -> &[u8] {
        self.index.fields.get(index).map_or(&[], |field| self.at(field.value))
    }

    /// Where the line of field `index` begins; past the last one, where the head ends.
    fn line_at(&self, index: usize) -> usize {
        usize::from(self.index.fields.get(index).map_or(self.index.head_end, |field| field.at))
    }
}

impl fmt::Debug for Message {
    /// Start line and Call-ID only: header values and bodies are the users' (SEC-020).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Message");
        match self.start_line() {
            StartLine::Request { method, .. } => shown.field("method", &method.as_str()),
            StartLine::Status { code, .. } => shown.field("status", &code),
        };
        shown.field("call_id", &String::from_utf8_lossy(self.call_id())).finish_non_exhaustive()
    }
}

/// A message that is a request.
#[derive(Clone, Debug)]
pub struct Request(Message);

impl Request {
    /// The request in `message`, which is given back when it is a response.
    ///
    /// # Errors
    /// The message, unchanged.
    pub fn new(message: Message) -> Result<Self, Message> {
        if message.is_request() { Ok(Self(message)) } else { Err(message) }
    }

    /// The method.
    pub fn method(&self) -> Method<'_> {
        match self.0.start_line() {
            StartLine::Request { method, .. } => method,
            StartLine::Status { .. } => Method::Other(""),
        }
    }

    /// The Request-URI, octet for octet.
    pub fn uri_text(&self) -> &[u8] {
        match self.0.index.start {
            Start::Request { uri, .. } => self.0.at(uri),
            Start::Status { .. } => b"",
        }
    }

    /// The Request-URI; `None` when it is no URI.
    pub fn uri(&self) -> Option<Uri<'_>> {
        Uri::parse(self.uri_text()).ok()
    }

    /// The message itself.
    pub fn into_message(self) -> Message {
        self.0
    }

    /// [`Message::detached`].
    pub fn detached(&self) -> Self {
        Self(self.0.detached())
    }
}

impl Deref for Request {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.0
    }
}

/// A message that is a response.
#[derive(Clone, Debug)]
pub struct Response(Message);

impl Response {
    /// The response in `message`, which is given back when it is a request.
    ///
    /// # Errors
    /// The message, unchanged.
    pub fn new(message: Message) -> Result<Self, Message> {
        if message.is_request() { Err(message) } else { Ok(Self(message)) }
    }

    /// The status code, 100 to 699.
    pub fn status(&self) -> u16 {
        match self.0.index.start {
            Start::Status { code, .. } => code,
            Start::Request { .. } => 0,
        }
    }

    /// Whether the status is 1xx.
    pub fn is_provisional(&self) -> bool {
        self.status() < 200
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status())
    }

    /// The message itself.
    pub fn into_message(self) -> Message {
        self.0
    }
}

impl Deref for Response {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.0
    }
}
