//! Reading a head in one pass.

use memchr::memchr;

use super::line::{self, Line};
use super::{
    Head, HeadError, MalformedHead, Start, StartLine, may_start, name_and_value, start_line,
};
use crate::header::{self, ByteRange, FailureReport};
use crate::{Continuation, FrameError, Limits, Path, end_line};

/// The most octets of a Message-ID that is taken. Deviation: RFC 4975 §9 has 4 to 32 of few
/// characters; clients write UUIDs and addresses, and the value is only compared and copied.
const MESSAGE_ID_OCTETS_MAX: usize = 128;

/// A head that was read, or what an answer needs of one that cannot be.
pub(crate) type Outcome<'a> = Result<Head<'a>, (MalformedHead<'a>, HeadError)>;

/// What a look at the octets of a head found.
pub(crate) enum Scanned<'a> {
    /// It does not end here.
    Open,
    /// It cannot be read, nor its end be found.
    Broken(FrameError),
    /// A head that ends before octet `next`; with `end`, the message ends there too.
    Head { head: Outcome<'a>, next: usize, end: Option<Continuation> },
}

/// Reads the head at the start of `octets`, when all of it is there.
pub(crate) fn scan<'a>(octets: &'a [u8], limits: &Limits) -> Scanned<'a> {
    let window = octets.get(..limits.head_octets_max).unwrap_or(octets);
    let open = || {
        let is_full = window.len() >= limits.head_octets_max;
        if is_full { Scanned::Broken(FrameError::HeadTooLong) } else { Scanned::Open }
    };
    let Some(first) = line::first(window) else {
        return if may_start(window) { open() } else { Scanned::Broken(FrameError::StartLine) };
    };
    let Some(StartLine { start, error }) = text(first).and_then(start_line) else {
        return Scanned::Broken(FrameError::StartLine);
    };
    let mut fields = Fields { error, ..Fields::default() };
    let mut at = first.len;
    loop {
        let Some(line) = line::first(window.get(at..).unwrap_or_default()) else { return open() };
        if let Some(last) = last(line, start.id()) {
            let next = at + line.len;
            let octets = window.get(..if last.is_none() { next } else { at }).unwrap_or_default();
            return match fields.finish(start, octets, last.is_none()) {
                Some(head) => Scanned::Head { head, next, end: last },
                None => Scanned::Broken(FrameError::FromPath),
            };
        }
        at += line.len;
        if let Err(error) = fields.line(line, at, limits) {
            fields.error.get_or_insert(error);
        }
    }
}

/// Whether `head`, whose last line starts at octet `from` and has its end, is enough to say what it
/// is: it has ended, or cannot be read.
pub(crate) fn is_enough(head: &[u8], from: usize) -> bool {
    let Some(line) = head.get(from..).and_then(line::first) else { return false };
    match line.octets.first() {
        _ if from == 0 => text(line).and_then(start_line).is_none(),
        None => line.is_text,
        Some(b'-') => start_line::id(head).is_some_and(|id| last(line, id).is_some()),
        Some(_) => false,
    }
}

/// Whether `line` ends the head of transaction `id`: the empty line, or the end-line and its flag.
#[inline]
fn last(line: Line<'_>, id: &[u8]) -> Option<Option<Continuation>> {
    match line.octets.first() {
        None if line.is_text => Some(None),
        Some(b'-') if line.is_text => end_line::read(line.octets, id).map(Some),
        _ => None,
    }
}

fn text(line: Line<'_>) -> Option<&[u8]> {
    line.is_text.then_some(line.octets)
}

/// What was found so far.
#[derive(Default)]
struct Fields<'a> {
    count: usize,
    to_path: Option<Path<'a>>,
    from_path: Option<Path<'a>>,
    /// Where the line after `From-Path` starts.
    rest: usize,
    message_id: Option<&'a [u8]>,
    byte_range: Option<ByteRange>,
    success_report: Option<bool>,
    failure_report: Option<FailureReport>,
    content_type: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
    error: Option<HeadError>,
}

/// The headers that are read in every head.
#[derive(Clone, Copy)]
enum Name {
    ToPath,
    FromPath,
    MessageId,
    ByteRange,
    SuccessReport,
    FailureReport,
    ContentType,
    Status,
}

impl Name {
    const ALL: [(Self, &'static [u8]); 8] = [
        (Self::ToPath, b"To-Path:"),
        (Self::FromPath, b"From-Path:"),
        (Self::MessageId, b"Message-ID:"),
        (Self::ByteRange, b"Byte-Range:"),
        (Self::SuccessReport, b"Success-Report:"),
        (Self::FailureReport, b"Failure-Report:"),
        (Self::ContentType, b"Content-Type:"),
        (Self::Status, b"Status:"),
    ];

    /// The header that starts `line`, and its value, when it is written as in RFC 4975.
    #[inline]
    fn exact(line: &[u8]) -> Option<(Self, &[u8])> {
        let (name, value) = match line.first()? {
            b'T' => (Self::ToPath, line.strip_prefix(b"To-Path: ")?),
            b'F' => match line.strip_prefix(b"From-Path: ") {
                Some(value) => (Self::FromPath, value),
                None => (Self::FailureReport, line.strip_prefix(b"Failure-Report: ")?),
            },
            b'M' => (Self::MessageId, line.strip_prefix(b"Message-ID: ")?),
            b'B' => (Self::ByteRange, line.strip_prefix(b"Byte-Range: ")?),
            b'C' => (Self::ContentType, line.strip_prefix(b"Content-Type: ")?),
            b'S' => match line.strip_prefix(b"Success-Report: ") {
                Some(value) => (Self::SuccessReport, value),
                None => (Self::Status, line.strip_prefix(b"Status: ")?),
            },
            _ => return None,
        };
        Some((name, trim(value)))
    }

    /// The same, however it is written; `None` is another header.
    fn any(line: &[u8]) -> Result<Option<(Self, &[u8])>, HeadError> {
        let (name, value) = name_and_value(line).ok_or(HeadError::Line)?;
        let is_name = name.first().is_some_and(u8::is_ascii_alphabetic)
            && name.iter().all(|octet| header::is_token_octet(*octet));
        if !is_name {
            return Err(HeadError::Line);
        }
        let with_colon = line.get(..=name.len()).unwrap_or_default();
        let known = Self::ALL.iter().find(|(_, known)| with_colon.eq_ignore_ascii_case(known));
        Ok(known.map(|(known, _)| (*known, value)))
    }
}

impl<'a> Fields<'a> {
    /// Takes one header line, after which the next starts at octet `next` of the head.
    #[inline]
    fn line(&mut self, line: Line<'a>, next: usize, limits: &Limits) -> Result<(), HeadError> {
        let line = text(line).ok_or(HeadError::Line)?;
        let named = match Name::exact(line) {
            Some(named) => Some(named),
            None => Name::any(line)?,
        };
        self.count += 1;
        if let Some((name, value)) = named {
            self.field(name, value, next, limits)?;
        }
        if self.count > limits.headers_max { Err(HeadError::TooManyHeaders) } else { Ok(()) }
    }

    #[inline]
    fn field(
        &mut self,
        name: Name,
        value: &'a [u8],
        next: usize,
        limits: &Limits,
    ) -> Result<(), HeadError> {
        match name {
            Name::ToPath => {
                once(&mut self.to_path, Path::new(value))?;
                check_path(value, limits)?;
                self.at_place(1)
            }
            Name::FromPath => {
                once(&mut self.from_path, Path::new(value))?;
                self.rest = next;
                check_path(value, limits)?;
                self.at_place(2)
            }
            Name::MessageId => once(&mut self.message_id, message_id(value)?),
            Name::ByteRange => once(&mut self.byte_range, ByteRange::parse(value)?),
            Name::SuccessReport => once(&mut self.success_report, header::success_report(value)?),
            Name::FailureReport => once(&mut self.failure_report, FailureReport::parse(value)?),
            Name::ContentType => once(&mut self.content_type, value),
            Name::Status => once(&mut self.status, value),
        }
    }

    fn at_place(&self, place: usize) -> Result<(), HeadError> {
        if self.count == place { Ok(()) } else { Err(HeadError::Paths) }
    }

    /// The head that `octets` are, when it has a `From-Path`.
    #[inline]
    fn finish(self, start: Start<'a>, octets: &'a [u8], has_body: bool) -> Option<Outcome<'a>> {
        let from_path = self.from_path.filter(|path| !path.is_empty())?;
        let failure_report = self.failure_report.unwrap_or_default();
        let is_missing = has_body && self.content_type.is_none();
        let error = self.error.or(is_missing.then_some(HeadError::ContentTypeMissing));
        let to_path = match (self.to_path, error) {
            (Some(to_path), None) => to_path,
            (to_path, error) => {
                let head = MalformedHead { start, to_path, from_path, failure_report };
                return Some(Err((head, error.unwrap_or(HeadError::Paths))));
            }
        };
        let rest = octets.get(self.rest..).unwrap_or_default();
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
            rest: if has_body { rest.strip_suffix(b"\r\n").unwrap_or(rest) } else { rest },
            raw: octets,
            has_body,
        }))
    }
}

/// `value` without white space around it, of which there is rarely any.
#[inline]
fn trim(value: &[u8]) -> &[u8] {
    let is_white = |octet: &u8| matches!(octet, b' ' | b'\t');
    let has_white = value.first().is_some_and(is_white) || value.last().is_some_and(is_white);
    if has_white { value.trim_ascii() } else { value }
}

#[inline]
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), HeadError> {
    if place.is_some() {
        return Err(HeadError::Repeated);
    }
    *place = Some(value);
    Ok(())
}

fn check_path(value: &[u8], limits: &Limits) -> Result<(), HeadError> {
    if value.is_empty() {
        return Err(HeadError::Paths);
    }
    if memchr(b' ', value).is_some() && Path::new(value).iter().nth(limits.uris_max).is_some() {
        return Err(HeadError::TooManyUris);
    }
    Ok(())
}

fn message_id(value: &[u8]) -> Result<&[u8], HeadError> {
    // A fold, not a search: it looks at many octets at once.
    let is_visible = value.iter().fold(true, |all, octet| all & octet.is_ascii_graphic());
    let is_length = (1..=MESSAGE_ID_OCTETS_MAX).contains(&value.len());
    if is_visible && is_length { Ok(value) } else { Err(HeadError::MessageId) }
}
