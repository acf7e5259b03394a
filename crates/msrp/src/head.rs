//! The head of a request or response, read in one pass (RFC 4975 §9).

use memchr::memchr;

use crate::header::{self, ByteRange, ByteRangeError, FailureReport, Status};
use crate::{Continuation, FrameError, Limits, Path, TransactionId, end_line};

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
    /// Every header line after `From-Path` as it stands, each with its CRLF, without the empty line.
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
        let (name, value) = split_line(octets)?;
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
    /// A path has more URIs than [`Limits::uris_max`].
    #[error("a path has too many URIs")]
    TooManyUris,
    /// There are more headers than [`Limits::headers_max`].
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

/// The most octets of a Message-ID that is taken. Deviation: RFC 4975 §9 has 4 to 32 of few
/// characters; clients write UUIDs and addresses, and the value is only compared and copied.
const MESSAGE_ID_OCTETS_MAX: usize = 128;

/// What a look at the octets of a head found.
pub(crate) enum Scanned<'a> {
    /// It does not end here.
    Open,
    /// It cannot be read, nor its end be found.
    Broken(FrameError),
    /// A head that ends before octet `next`; with `end`, the message ends there too.
    Head {
        head: Result<Head<'a>, (MalformedHead<'a>, HeadError)>,
        next: usize,
        end: Option<Continuation>,
    },
}

/// Reads the head at the start of `octets`, when all of it is there.
pub(crate) fn scan<'a>(octets: &'a [u8], limits: &Limits) -> Scanned<'a> {
    let window = octets.get(..limits.head_octets_max).unwrap_or(octets);
    let (line, mut at) = match memchr(b'\n', window) {
        Some(end) => (window.get(..=end).unwrap_or_default(), end + 1),
        None if !may_start(window) => return Scanned::Broken(FrameError::StartLine),
        None => return open(window, limits),
    };
    let Some((start, error)) = start_line(line) else {
        return Scanned::Broken(FrameError::StartLine);
    };
    let mut fields = Fields { error, ..Fields::default() };
    loop {
        let rest = window.get(at..).unwrap_or_default();
        let Some(end) = memchr(b'\n', rest) else { return open(window, limits) };
        let line = rest.get(..=end).unwrap_or_default();
        let is_empty = line == b"\r\n";
        let end = if is_empty { None } else { end_line::read(line, start.id()) };
        if is_empty || end.is_some() {
            let next = at + line.len();
            let octets = window.get(..if is_empty { next } else { at }).unwrap_or_default();
            let head = fields.finish(start, octets, is_empty);
            return match head {
                Some(head) => Scanned::Head { head, next, end },
                None => Scanned::Broken(FrameError::FromPath),
            };
        }
        at += line.len();
        if let Err(error) = fields.line(line, at, limits) {
            fields.error.get_or_insert(error);
        }
    }
}

/// Whether `octets` may be the first of a start line.
pub(crate) fn may_start(octets: &[u8]) -> bool {
    octets.iter().zip(b"MSRP ").all(|(one, other)| one == other)
}

/// Whether `line` can be read as a start line.
pub(crate) fn is_start_line(line: &[u8]) -> bool {
    start_line(line).is_some()
}

/// Whether the head that starts with `head` ends with `line`.
pub(crate) fn is_last_line(head: &[u8], line: &[u8]) -> bool {
    line == b"\r\n" || id(head).is_some_and(|id| end_line::read(line, id).is_some())
}

fn open<'a>(window: &[u8], limits: &Limits) -> Scanned<'a> {
    if window.len() < limits.head_octets_max {
        return Scanned::Open;
    }
    Scanned::Broken(FrameError::HeadTooLong)
}

fn id(head: &[u8]) -> Option<&[u8]> {
    let rest = head.strip_prefix(b"MSRP ")?;
    rest.get(..memchr(b' ', rest.get(..=TransactionId::OCTETS_MAX).unwrap_or(rest))?)
}

/// Reads a start line; `None` when not even the transaction identifier can be read.
fn start_line(line: &[u8]) -> Option<(Start<'_>, Option<HeadError>)> {
    let line = line.strip_suffix(b"\r\n")?;
    let id = id(line)?;
    TransactionId::check(id).ok()?;
    let rest = line.get(b"MSRP ".len() + id.len() + 1..)?;
    if !rest.first().is_some_and(u8::is_ascii_digit) {
        let is_method = !rest.is_empty() && rest.iter().all(u8::is_ascii_uppercase);
        let start = Start::Request { id, method: Method::from_name(rest) };
        return Some((start, (!is_method).then_some(HeadError::Method)));
    }
    let code = rest.first_chunk().and_then(header::three_digits);
    let comment = match rest.get(3..) {
        Some([]) => Some(&b""[..]),
        Some([b' ', comment @ ..]) => Some(comment),
        _ => None,
    };
    let error = (code.is_none() || comment.is_none()).then_some(HeadError::StatusCode);
    let (code, comment) = (code.unwrap_or(0), comment.unwrap_or_default());
    Some((Start::Response { id, code, comment }, error))
}

/// Name and value of a header line with its CRLF.
fn split_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(b"\r\n")?;
    let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
    Some((name, value.get(1..)?.trim_ascii()))
}

/// What was found so far.
#[derive(Default)]
struct Fields<'a> {
    count: usize,
    to_path: Option<Path<'a>>,
    from_path: Option<Path<'a>>,
    rest_at: usize,
    message_id: Option<&'a [u8]>,
    byte_range: Option<ByteRange>,
    success_report: Option<bool>,
    failure_report: Option<FailureReport>,
    content_type: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
    error: Option<HeadError>,
}

impl<'a> Fields<'a> {
    /// Takes one header line, which ends before octet `next` of the head.
    fn line(&mut self, line: &'a [u8], next: usize, limits: &Limits) -> Result<(), HeadError> {
        let (name, value) = split_line(line).ok_or(HeadError::Line)?;
        let is_name = name.first().is_some_and(u8::is_ascii_alphabetic)
            && name.iter().all(|octet| header::is_token_octet(*octet));
        let is_value =
            value.iter().all(|octet| *octet == b'\t' || (*octet >= 0x20 && *octet != 0x7F));
        if !is_name || !is_value {
            return Err(HeadError::Line);
        }
        self.count += 1;
        let known = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if known(b"To-Path") {
            once(&mut self.to_path, path(value, limits)?)?;
            self.position(1)?;
        } else if known(b"From-Path") {
            // Even one with too many URIs says where the answer goes.
            once(&mut self.from_path, Path::new(value))?;
            self.rest_at = next;
            path(value, limits)?;
            self.position(2)?;
        } else if known(b"Message-ID") {
            let visible = value.iter().all(u8::is_ascii_graphic);
            if value.is_empty() || value.len() > MESSAGE_ID_OCTETS_MAX || !visible {
                return Err(HeadError::MessageId);
            }
            once(&mut self.message_id, value)?;
        } else if known(b"Byte-Range") {
            once(&mut self.byte_range, ByteRange::parse(value)?)?;
        } else if known(b"Success-Report") {
            once(&mut self.success_report, header::success_report(value)?)?;
        } else if known(b"Failure-Report") {
            once(&mut self.failure_report, FailureReport::parse(value)?)?;
        } else if known(b"Content-Type") {
            once(&mut self.content_type, value)?;
        } else if known(b"Status") {
            once(&mut self.status, value)?;
        }
        if self.count > limits.headers_max { Err(HeadError::TooManyHeaders) } else { Ok(()) }
    }

    fn position(&self, place: usize) -> Result<(), HeadError> {
        if self.count == place { Ok(()) } else { Err(HeadError::Paths) }
    }

    /// The head, when it has a `From-Path`.
    fn finish(
        self,
        start: Start<'a>,
        octets: &'a [u8],
        has_body: bool,
    ) -> Option<Result<Head<'a>, (MalformedHead<'a>, HeadError)>> {
        let from_path = self.from_path.filter(|path| !path.as_bytes().is_empty())?;
        let failure_report = self.failure_report.unwrap_or_default();
        let missing = has_body && self.content_type.is_none();
        let error = self.error.or(missing.then_some(HeadError::ContentTypeMissing));
        let to_path = self.to_path.ok_or(HeadError::Paths);
        let to_path = match error.map_or(to_path, Err) {
            Ok(to_path) => to_path,
            Err(error) => {
                let to_path = self.to_path;
                return Some(Err((
                    MalformedHead { start, to_path, from_path, failure_report },
                    error,
                )));
            }
        };
        let rest_end = octets.len() - if has_body { b"\r\n".len() } else { 0 };
        Some(Ok(Head {
            start,
            to_path,
            from_path,
            message_id: self.message_id,
            byte_range: self.byte_range,
            success_report: self.success_report.unwrap_or(false),
            failure_report,
            content_type: self.content_type,
            status: self.status,
            rest: octets.get(self.rest_at..rest_end).unwrap_or_default(),
            raw: octets,
            has_body,
        }))
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), HeadError> {
    if place.is_some() {
        return Err(HeadError::Repeated);
    }
    *place = Some(value);
    Ok(())
}

fn path<'a>(value: &'a [u8], limits: &Limits) -> Result<Path<'a>, HeadError> {
    let path = Path::new(value);
    if path.as_bytes().is_empty() {
        return Err(HeadError::Paths);
    }
    if path.iter().nth(limits.uris_max).is_some() {
        return Err(HeadError::TooManyUris);
    }
    Ok(path)
}
