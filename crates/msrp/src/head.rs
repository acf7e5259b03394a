//! The head of a request or response, read in one pass (RFC 4975 §9).

use memchr::memchr;

use crate::Path;
use crate::header::{self, ByteRange, ByteRangeError, FailureReport, Status};

mod line;
mod scan;
mod start_line;

pub(crate) use scan::{Scanned, is_enough, scan};
pub(crate) use start_line::may_start;
use start_line::{StartLine, start_line};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// `SEND` (RFC 4975 §7.1.1).
    Send,
    /// `REPORT` (RFC 4975 §7.1.2).
    Report,
    /// `AUTH` (RFC 4976 §5.1).
    Auth,
    /// `NICKNAME` (RFC 7701 §7.1).
    Nickname,
    /// Any other.
    Other(&'a [u8]),
}

impl<'a> Method<'a> {
    /// The method that `name` names.
    pub fn from_name(name: &'a [u8]) -> Self {
        match name {
            b"SEND" => Self::Send,
            b"REPORT" => Self::Report,
            b"AUTH" => Self::Auth,
            b"NICKNAME" => Self::Nickname,
            other => Self::Other(other),
        }
    }

    /// The method as it is written.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Send => b"SEND",
            Self::Report => b"REPORT",
            Self::Auth => b"AUTH",
            Self::Nickname => b"NICKNAME",
            Self::Other(name) => name,
        }
    }
}

/// A start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// `MSRP transact-id method`
    Request {
        /// The transaction identifier, 4 to 32 octets.
        id: &'a [u8],
        /// What it asks for.
        method: Method<'a>,
    },
    /// `MSRP transact-id status-code [comment]`
    Response {
        /// The transaction identifier of the request.
        id: &'a [u8],
        /// The status code, 0 to 999.
        code: u16,
        /// The comment; empty when there is none.
        comment: &'a [u8],
    },
}

impl<'a> Start<'a> {
    /// The transaction identifier.
    pub fn id(self) -> &'a [u8] {
        match self {
            Self::Request { id, .. } | Self::Response { id, .. } => id,
        }
    }

    /// Whether it is a SEND, whose body is a chunk and may be of any size.
    pub fn is_send(self) -> bool {
        matches!(self, Self::Request { method: Method::Send, .. })
    }
}

/// The head of a request or response: its octets, and where in them what everybody asks for is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The start line.
    pub start: Start<'a>,
    /// `To-Path`.
    pub to_path: Path<'a>,
    /// `From-Path`.
    pub from_path: Path<'a>,
    /// `Message-ID`.
    pub message_id: Option<&'a [u8]>,
    /// `Byte-Range`; none is [`ByteRange::WHOLE`].
    pub byte_range: Option<ByteRange>,
    /// `Success-Report`: yes; none is no.
    pub success_report: bool,
    /// `Failure-Report`; none is yes.
    pub failure_report: FailureReport,
    /// `Content-Type`.
    pub content_type: Option<&'a [u8]>,
    /// `Status`, as it stands.
    pub status: Option<&'a [u8]>,
    /// Every header line after `From-Path` as it stands, with its CRLF, without the empty line.
    pub rest: &'a [u8],
    /// Every octet up to the end-line or the body: the start line, the headers, and the empty line
    /// when there is one.
    pub raw: &'a [u8],
    /// Whether a body follows, which may be empty; without one there is no empty line, and no CRLF
    /// before the end-line that is not the last header's.
    pub has_body: bool,
}

impl<'a> Head<'a> {
    /// The transaction identifier.
    pub fn id(&self) -> &'a [u8] {
        self.start.id()
    }

    /// `Status`, read; `None` when it is missing or wrong.
    pub fn status(&self) -> Option<Status<'a>> {
        self.status.and_then(|value| Status::parse(value).ok())
    }

    /// The header lines after `From-Path`.
    pub fn lines(&self) -> Lines<'a> {
        Lines(self.rest)
    }

    /// The value of the first header after `From-Path` that is called `name`, whatever its case.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        let mut lines = self.lines();
        lines.find(|line| line.name.eq_ignore_ascii_case(name.as_bytes())).map(|line| line.value)
    }
}

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The name as written.
    pub name: &'a [u8],
    /// The value without white space around it.
    pub value: &'a [u8],
    /// The line as it stands, with its CRLF.
    pub octets: &'a [u8],
}

/// The header lines of a head, in order.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let (octets, rest) = self.0.split_at_checked(memchr(b'\n', self.0)? + 1)?;
        self.0 = rest;
        let (name, value) = name_and_value(octets.strip_suffix(b"\r\n")?)?;
        Some(Line { name, value, octets })
    }
}

/// What is wrong with a head whose end and `From-Path` were found: it is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The method is not capital letters.
    #[error("the method is not capital letters")]
    Method,
    /// The status code of a response is not three digits, or its comment does not follow a space.
    #[error("the status code is not three digits")]
    StatusCode,
    /// A line is not `name ":" value`, is folded, has a control character or does not end in CRLF.
    #[error("a header line is not a name, a colon and a value")]
    Line,
    /// The first line is not `To-Path` or the second not `From-Path`.
    #[error("To-Path and From-Path are not the first headers")]
    Paths,
    /// A path has more URIs than [`crate::Limits::uris_max`].
    #[error("a path has too many URIs")]
    TooManyUris,
    /// There are more headers than [`crate::Limits::headers_max`].
    #[error("there are too many headers")]
    TooManyHeaders,
    /// A header that is allowed once is there twice.
    #[error("a header is there twice")]
    Repeated,
    /// `Message-ID` is empty, too long, or not of visible characters.
    #[error("Message-ID is not an identifier")]
    MessageId,
    /// `Byte-Range` is wrong.
    #[error(transparent)]
    ByteRange(#[from] ByteRangeError),
    /// `Success-Report` is wrong.
    #[error(transparent)]
    SuccessReport(#[from] header::SuccessReportError),
    /// `Failure-Report` is wrong.
    #[error(transparent)]
    FailureReport(#[from] header::FailureReportError),
    /// There is a body without `Content-Type` (RFC 4975 §7.1).
    #[error("there is a body without Content-Type")]
    ContentTypeMissing,
}

/// As much of a head that cannot be read as an answer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedHead<'a> {
    /// The start line; a method or code that is wrong is as it stands, or 0. A response is not
    /// answered.
    pub start: Start<'a>,
    /// `To-Path`, when it was found.
    pub to_path: Option<Path<'a>>,
    /// `From-Path`.
    pub from_path: Path<'a>,
    /// `Failure-Report`, when it could be read: no means no answer.
    pub failure_report: FailureReport,
}

/// Name and value of a header line without its CRLF, read slowly.
fn name_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
    Some((name, value.get(1..)?.trim_ascii()))
}
