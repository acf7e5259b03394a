//! What the room itself says: reports and the welcome (RFC 7701 §6.3, §8).

use parlance_content::cpim::Builder;
use slab::Slab;

use super::Switch;
use super::copies::{Copies, copy_small, headers};
use super::leg::Leg;
use super::room::{Participant, Target};
use crate::header::{ByteRange, FailureReport};
use crate::node::cx::Cx;
use crate::{Continuation, write};

/// Most participants that a welcome names; the others are counted. Local limit.
const NAMED_MAX: usize = 50;

/// What others know a participant by: the URI, if one of its sessions is not anonymous.
fn shown<'a>(legs: &'a Slab<Leg>, participant: &'a Participant) -> &'a str {
    let mut own = participant.legs.iter().filter_map(|place| legs.get(*place as usize));
    let open = own.clone().find(|leg| !leg.anonymous);
    open.or_else(|| own.next()).map_or("", |leg| leg.shown_uri(&participant.uri))
}

/// A REPORT of what became of a message.
#[derive(Debug)]
pub(super) struct Report {
    leg: u32,
    id: Box<[u8]>,
    range: ByteRange,
    status: &'static [u8],
    body: Option<Box<[u8]>>,
}

impl Report {
    fn write(&self, out: &mut Vec<u8>, id: &[u8], paths: &[u8]) {
        for part in [b"MSRP ", id, b" REPORT", paths] {
            out.extend_from_slice(part);
        }
        write::header(out, "Message-ID", &self.id);
        write::byte_range(out, self.range);
        write::header(out, "Status", self.status);
        let Some(body) = &self.body else {
            return write::end_line(out, id, Continuation::Last);
        };
        write::header(out, "Content-Type", b"message/cpim");
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        write::body_end(out, id, Continuation::Last);
    }
}

impl Switch {
    /// The sender is to hear that all of a message has come, if it wants to (RFC 4975 §7.1.2). The
    /// report about a private message says whose it is: `body` (RFC 7701 §6.2).
    pub(super) fn report_received(
        &mut self,
        cx: &mut Cx,
        at: u32,
        wanted: bool,
        (id, length): (&[u8], u64),
        body: Option<Box<[u8]>>,
    ) {
        if wanted {
            let range = ByteRange { start: 1, end: Some(length), total: Some(length) };
            self.report(cx, Report { leg: at, id: id.into(), range, status: b"000 200 OK", body });
        }
    }

    /// The sender is to hear that a chunk could not be kept for somebody who is held, if it wants
    /// to know what fails.
    pub(super) fn report_unkept(
        &mut self,
        cx: &mut Cx,
        at: u32,
        wanted: FailureReport,
        (id, range): (&[u8], ByteRange),
    ) {
        let is_unkept = !self.scratch.left.unkept.is_empty();
        self.scratch.left.unkept.clear();
        if is_unkept && wanted != FailureReport::No {
            let status = b"000 408 Request Timeout";
            self.report(cx, Report { leg: at, id: id.into(), range, status, body: None });
        }
    }

    fn report(&mut self, cx: &mut Cx, report: Report) {
        if let Some(leg) = self.legs.get(report.leg as usize) {
            cx.report_later(leg.session);
            self.reports.push(report);
        }
    }

    /// Writes the reports of a leg; the response is written.
    pub(crate) fn report_now(&mut self, cx: &mut Cx, at: u32) {
        let Some(leg) = self.legs.get(at as usize) else { return };
        for report in self.reports.extract_if(.., |report| report.leg == at) {
            // A sender that is gone by now needs no report.
            let _ = cx.send(leg.session, None, |out, id, session| {
                report.write(out.tail(), id, session.request_paths());
            });
            cx.count_report(leg.session);
        }
    }

    /// Tells a participant whose client knows nothing of chat rooms that this is one, and who is in
    /// it (RFC 7701 §8).
    pub(super) fn welcome(&mut self, cx: &mut Cx, at: u32) {
        self.write_out_of(cx, at);
        let Some(leg) = self.legs.get_mut(at as usize) else { return };
        let Some(room) = self.rooms.get_mut(leg.room as usize) else { return };
        let media = room.media.number("text/plain");
        if leg.chatroom.is_some() || !room.policy.welcome || !leg.accepts.takes(media, "text/plain")
        {
            return;
        }
        let target = Target { leg: at, session: leg.session };
        let participant = leg.participant;
        let mut text = format!("This is the chat room {}. Taking part:", room.uri());
        let mut others = 0;
        for (place, other) in &room.participants {
            if place == participant as usize {
                continue;
            }
            others += 1;
            if others <= NAMED_MAX {
                text.push_str(if others == 1 { " " } else { ", " });
                text.push_str(shown(&self.legs, other));
            }
        }
        match others.saturating_sub(NAMED_MAX) {
            0 if others == 0 => text.push_str(" nobody else."),
            0 => text.push('.'),
            more => text.push_str(&format!(" and {more} more.")),
        }
        let head = Builder::new().from("", room.uri()).to("", room.uri_of(participant));
        let fields = [("Content-Type", "text/plain; charset=utf-8")];
        let Ok(body) = head.build(&fields, text.as_bytes()) else { return };
        let id = cx.message_id();
        let length = body.len() as u64;
        let range = ByteRange { start: 1, end: None, total: Some(length) };
        let common = &mut self.scratch.common;
        headers(common, &id, range, self.config.failure_report);
        let rest = copy_small(common, &body);
        let flag = Continuation::Last;
        let (octets, dashes, begins) = (&body, false, true);
        Copies { common, rest, octets, dashes, begins, flag, waits: None }.send_anyway(cx, target);
    }
}
