//! Messages that come (RFC 4975 §7.3).

use std::time::Instant;

use bytes::Bytes;

use super::answering::Unanswered;
use super::session::{Endpoint, PARTIALS_MAX};
use super::{Delivery, Description, Dropped, Event, LastAnswer, MessageKey, SuccessReports};
use crate::chunk::Place;
use crate::header::ByteRange;
use crate::node::cx::{Cx, Verdict};
use crate::node::receive::{Chunk, More};
use crate::report::Report;
use crate::{
    Continuation, Head, Method, Ranges, Reassembly, ReassemblyError, SHARED_OCTETS_MIN, Start,
};

/// A message that came in part.
#[derive(Debug)]
pub(super) struct Partial {
    message: MessageKey,
    description: Description,
    content: Content,
    /// When something of it came last.
    pub(super) last: Instant,
}

/// What came of a message.
#[derive(Debug)]
enum Content {
    /// All of it is held.
    Whole(Reassembly),
    /// It was given up as it came; with its length, once that is known.
    Pieces(Ranges, Option<u64>),
}

/// The chunk that is coming.
#[derive(Debug)]
pub(super) enum Current {
    /// Of a message whose next octet of this chunk goes to `position`.
    Of { message: MessageKey, position: u64 },
    /// Of a message that had come: nothing is done with it.
    Again { message_id: Box<[u8]>, place: Place, octets: u64, report: bool },
}

impl Endpoint {
    /// A request of any method.
    pub(super) fn head(&mut self, cx: &mut Cx, chunk: &Chunk<'_>) -> Verdict {
        let Start::Request { method, .. } = chunk.head.start else { return Verdict::Done };
        match method {
            Method::Send => match self.send(cx, chunk) {
                Ok(()) => self.take_over(Unanswered::of_chunk(chunk)),
                Err(code) => Verdict::Refuse(code),
            },
            Method::Report => {
                if let Some(report) = Report::read(chunk.head) {
                    self.reported(cx, &report);
                }
                Verdict::Done
            }
            Method::Auth | Method::Nickname | Method::Other(_) => Verdict::Refuse(501),
        }
    }

    /// More of a SEND.
    pub(super) fn body(&mut self, cx: &mut Cx, more: &More<'_>) -> Verdict {
        match self.take(cx, more.body, more.end, more.octets) {
            Ok(()) => self.take_over(Unanswered::of_rest(cx, more)),
            Err(code) => Verdict::Refuse(code),
        }
    }

    /// A SEND: with a body it is a chunk of a message (RFC 4975 §7.3.1).
    fn send(&mut self, cx: &mut Cx, chunk: &Chunk<'_>) -> Result<(), u16> {
        let Chunk { head, body, end, octets, .. } = *chunk;
        self.current = None;
        if !head.has_body {
            // It only says that the sender is there; or that it gives a message up.
            if end == Some(Continuation::Abort) {
                self.abort(cx, head.message_id);
            }
            return Ok(());
        }
        if !self.config.receives {
            return Err(403);
        }
        let message_id = head.message_id.ok_or(400_u16)?;
        let at = self.partial(message_id);
        if self.is_unanswered(message_id) {
            return Err(403);
        }
        let place = match Place::of(head.byte_range, self.octets_max()) {
            Ok(place) => place,
            Err(code) => {
                if let Some(at) = at {
                    self.drop_partial(cx, at, Dropped::Refused(code));
                }
                return Err(code);
            }
        };
        if let Some(partial) = at.and_then(|at| self.partials.get(at)) {
            self.current = Some(Current::Of { message: partial.message, position: place.start });
        } else if self.seen.contains(&cx.hasher, message_id) {
            let (message_id, report) = (message_id.into(), head.success_report);
            self.current = Some(Current::Again { message_id, place, octets: 0, report });
        } else {
            let description = self.describe(head)?;
            if place.start == 0
                && end == Some(Continuation::Last)
                && self.config.delivery == Delivery::Whole
            {
                let full = self.unanswered.len() >= PARTIALS_MAX;
                if full || body.len() as u64 > self.octets_max() {
                    return Err(413);
                }
                self.received(cx, description, shared(octets, body));
                return Ok(());
            }
            self.begin(cx, description, place)?;
        }
        self.take(cx, body, end, octets)
    }

    /// Takes `body` of the chunk that is coming; 413 when its message was given up meanwhile, so
    /// that the sender stops (RFC 4975 §10.5; 408 is for relays, §10.4).
    fn take(
        &mut self,
        cx: &mut Cx,
        body: &[u8],
        end: Option<Continuation>,
        octets: &Bytes,
    ) -> Result<(), u16> {
        match self.current.take() {
            None => Ok(()),
            Some(Current::Again { message_id, place, octets, report }) => {
                let octets = octets + body.len() as u64;
                match end {
                    None => {
                        let again = Current::Again { message_id, place, octets, report };
                        self.current = Some(again);
                    }
                    Some(Continuation::Abort) => {}
                    Some(_) if report => self.report_again(cx, message_id, place, octets),
                    Some(_) => {}
                }
                Ok(())
            }
            Some(Current::Of { message, position }) => {
                let same = |partial: &Partial| partial.message == message;
                let at = self.partials.iter().position(same).ok_or(413_u16)?;
                if let Err(code) = self.write(cx, at, position, body, octets) {
                    self.drop_partial(cx, at, Dropped::Refused(code));
                    return Err(code);
                }
                let position = position + body.len() as u64;
                match end {
                    None => self.current = Some(Current::Of { message, position }),
                    Some(Continuation::Abort) => self.drop_partial(cx, at, Dropped::Aborted),
                    Some(Continuation::More) => self.complete(cx, at, None),
                    Some(Continuation::Last) => self.complete(cx, at, Some(position)),
                }
                Ok(())
            }
        }
    }

    /// What a first chunk says of its message; 415 when its type is not taken.
    fn describe(&self, head: &Head<'_>) -> Result<Description, u16> {
        let content_type = head.content_type.and_then(|value| std::str::from_utf8(value).ok());
        let content_type = content_type.filter(|value| self.config.accepts.takes(value));
        Ok(Description {
            message_id: head.message_id.unwrap_or_default().into(),
            content_type: content_type.ok_or(415_u16)?.into(),
            headers: head.rest.into(),
            success_report: head.success_report,
        })
    }

    /// A message of which the first chunk came.
    fn begin(&mut self, cx: &mut Cx, description: Description, place: Place) -> Result<(), u16> {
        if self.partials.len() + self.unanswered.len() >= PARTIALS_MAX {
            return Err(413);
        }
        let (message, session) = (self.number(), self.key());
        let content = match self.config.delivery {
            Delivery::Whole => Content::Whole(Reassembly::new(self.octets_max())),
            Delivery::Pieces => {
                let (description, total) = (description.clone(), place.total);
                Self::tell(cx, Event::Begun { session, message, description, total });
                Content::Pieces(Ranges::default(), None)
            }
        };
        self.partials.push(Partial { message, description, content, last: cx.now });
        self.current = Some(Current::Of { message, position: place.start });
        self.arm(cx);
        Ok(())
    }

    /// Puts `body` into its message; 413 when that gets too long, or has too many gaps.
    fn write(
        &mut self,
        cx: &mut Cx,
        at: usize,
        position: u64,
        body: &[u8],
        octets: &Bytes,
    ) -> Result<(), u16> {
        let (session, octets_max) = (self.key(), self.octets_max());
        let held: u64 = self.partials.iter().map(Partial::held).sum();
        let Some(partial) = self.partials.get_mut(at) else { return Ok(()) };
        partial.last = cx.now;
        let refused = |_: ReassemblyError| 413_u16;
        match &mut partial.content {
            Content::Whole(reassembly) => {
                if held + body.len() as u64 > self.config.held_octets_max {
                    return Err(413);
                }
                reassembly.write(position, body).map_err(refused)
            }
            Content::Pieces(ranges, _) => {
                let end = position.checked_add(body.len() as u64).ok_or(413_u16)?;
                if end > octets_max {
                    return Err(413);
                }
                ranges.insert(position, end).map_err(refused)?;
                if !body.is_empty() {
                    let (message, octets) = (partial.message, shared(octets, body));
                    Self::tell(cx, Event::Piece { session, message, position, octets });
                }
                Ok(())
            }
        }
    }

    /// A chunk ended; with `length` it was the last of the message. Delivers what is complete.
    fn complete(&mut self, cx: &mut Cx, at: usize, length: Option<u64>) {
        let Some(partial) = self.partials.get_mut(at) else { return };
        let complete = match &mut partial.content {
            Content::Whole(reassembly) => {
                if let Some(length) = length {
                    reassembly.finish(length);
                }
                reassembly.is_complete()
            }
            Content::Pieces(ranges, known) => {
                *known = length.or(*known);
                known.is_some_and(|length| ranges.cover(length))
            }
        };
        if !complete {
            return;
        }
        let Partial { message, description, content, .. } = self.partials.swap_remove(at);
        match content {
            Content::Whole(reassembly) => {
                if let Some(body) = reassembly.into_message() {
                    self.received(cx, description, body);
                }
            }
            Content::Pieces(_, length) => {
                let (session, length) = (self.key(), length.unwrap_or(0));
                self.arrived(cx, &description, length);
                Self::tell(cx, Event::Completed { session, message, length });
            }
        }
    }

    /// All of a message is there.
    fn received(&mut self, cx: &mut Cx, description: Description, body: Bytes) {
        self.arrived(cx, &description, body.len() as u64);
        let session = self.key();
        Self::tell(cx, Event::Received { session, description, body });
    }

    /// Remembers a message, and reports it when its sender asks for that (RFC 4975 §7.1.3).
    fn arrived(&mut self, cx: &mut Cx, description: &Description, length: u64) {
        match self.config.last_answer {
            LastAnswer::Received => _ = self.seen.insert(&cx.hasher, &description.message_id),
            // It has come when the application says so.
            LastAnswer::ByApplication => self.completed = Some(description.message_id.clone()),
        }
        if description.success_report && self.config.success_reports == SuccessReports::Received {
            let range = ByteRange { start: 1, end: Some(length), total: Some(length) };
            self.report_later(cx, description.message_id.clone(), range);
        }
    }

    fn report_later(&mut self, cx: &mut Cx, message_id: Box<[u8]>, range: ByteRange) {
        self.reports.push((message_id, range));
        cx.report_later(self.key());
    }

    /// Sends the success REPORTs that had to wait for the response.
    pub(super) fn report_now(&mut self, cx: &mut Cx) {
        for (message_id, range) in std::mem::take(&mut self.reports) {
            self.report(cx, &message_id, Some(range), 200);
        }
    }

    /// A chunk of a message that had come is reported as the first time.
    fn report_again(&mut self, cx: &mut Cx, message_id: Box<[u8]>, place: Place, octets: u64) {
        match self.config.success_reports {
            SuccessReports::Received => {
                let end = place.start + octets;
                let start = if octets == 0 { 1 } else { place.start + 1 };
                let end = if octets == 0 { 0 } else { end };
                let range = ByteRange { start, end: Some(end), total: place.total };
                self.report_later(cx, message_id, range);
            }
            SuccessReports::ByApplication => {
                let session = self.key();
                Self::tell(cx, Event::Repeated { session, message_id });
            }
        }
    }

    /// Sends a REPORT.
    pub(super) fn report(
        &self,
        cx: &mut Cx,
        message_id: &[u8],
        range: Option<ByteRange>,
        code: u16,
    ) {
        let report = Report { message_id, range, code };
        // A session without a connection has nobody to report to (RFC 4975 §7.1.2).
        let _ = cx.send(self.key(), None, |out, id, session| report.write(out, id, session));
        cx.count_report(self.key());
    }

    /// The sender gives a message up.
    fn abort(&mut self, cx: &mut Cx, message_id: Option<&[u8]>) {
        if let Some(at) = message_id.and_then(|message_id| self.partial(message_id)) {
            self.drop_partial(cx, at, Dropped::Aborted);
        }
    }

    pub(super) fn drop_partial(&mut self, cx: &mut Cx, at: usize, why: Dropped) {
        let (session, message) = (self.key(), self.partials.swap_remove(at).message);
        Self::tell(cx, Event::Dropped { session, message, why });
    }

    fn partial(&self, message_id: &[u8]) -> Option<usize> {
        self.partials.iter().position(|partial| *partial.description.message_id == *message_id)
    }

    /// The most octets that a message may have.
    fn octets_max(&self) -> u64 {
        let held = match self.config.delivery {
            Delivery::Whole => self.config.held_octets_max,
            Delivery::Pieces => u64::MAX,
        };
        self.config.accepts.octets_max.unwrap_or(u64::MAX).min(held)
    }
}

impl Partial {
    /// Octets in memory.
    fn held(&self) -> u64 {
        match &self.content {
            Content::Whole(reassembly) => reassembly.octets(),
            Content::Pieces(..) => 0,
        }
    }
}

/// `part` of `whole` by reference when it is large, else a copy: a small one would hold all of what
/// was read in memory.
fn shared(whole: &Bytes, part: &[u8]) -> Bytes {
    if part.len() < SHARED_OCTETS_MIN {
        Bytes::copy_from_slice(part)
    } else {
        whole.slice_ref(part)
    }
}
