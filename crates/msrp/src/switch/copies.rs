//! Writing one chunk to many: what all have in common once, what is each one's own in between.

use bytes::Bytes;
use slab::Slab;

use super::SwitchConfig;
use super::leg::Leg;
use super::queue::{Queue, Waiting};
use super::room::Target;
use crate::header::{ByteRange, FailureReport};
use crate::node::connection::Connection;
use crate::node::cx::{Cx, Unsent};
use crate::node::row::Row;
use crate::session::SessionKey;
use crate::{Continuation, Outbound, SHARED_OCTETS_MIN, TransactionId, write};

/// Octets of a request besides the common part and the paths: `MSRP`, `SEND`, the transaction
/// identifier twice, the end-line.
pub(super) const FRAME_OCTETS: usize = 96;

/// Room that is made with the first copy on a connection.
const FIRST_OCTETS: usize = 4096;

/// A chunk as all its recipients get it, but for start line, paths and end-line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copies<'a> {
    /// The header fields, the empty line, and as much of the body as is copied.
    pub(super) common: &'a [u8],
    /// The rest of the body, by reference.
    pub(super) rest: &'a [u8],
    /// What `rest` is a slice of.
    pub(super) octets: &'a Bytes,
    /// Whether an end-line might be read in the body: its transaction identifier is looked at then.
    pub(super) dashes: bool,
    /// Whether a message begins with it.
    pub(super) begins: bool,
    /// How the chunk ends.
    pub(super) flag: Continuation,
    /// What a response is told by, when one is waited for.
    pub(super) waits: Option<u64>,
}

/// What became of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// It is on its way; whether it is given out too ([`Leg::copies`]).
    Sent(bool),
    /// The participant is gone, or has not connected yet.
    Gone,
    /// Too much waits already.
    Full,
    /// The participant is held, and too much is kept already.
    Unkept,
}

/// Those of the recipients with whom something is still to be done.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Who did not get it because too much waits.
    pub(super) full: Vec<Target>,
    /// For whom it could not be kept.
    pub(super) unkept: Vec<Target>,
    /// The sessions for which it is given out.
    pub(super) copied: Vec<SessionKey>,
}

/// What an empty body is a slice of.
static NOTHING: Bytes = Bytes::new();

impl<'a> Copies<'a> {
    /// An empty chunk that ends a message with `#`.
    pub(super) fn abort(common: &'a [u8]) -> Self {
        let (rest, octets, flag) = (&b""[..], &NOTHING, Continuation::Abort);
        Self { common, rest, octets, dashes: false, begins: false, flag, waits: None }
    }

    /// A whole message that is copied all of it.
    pub(super) fn whole(common: &'a [u8], dashes: bool, waits: Option<u64>) -> Self {
        let (rest, octets, flag) = (&b""[..], &NOTHING, Continuation::Last);
        Self { common, rest, octets, dashes, begins: true, flag, waits }
    }

    /// Writes one for each of `targets`. Who did not get it is taken out, and is in `left` unless
    /// he is gone.
    pub(super) fn send(
        &self,
        cx: &mut Cx,
        legs: &mut Slab<Leg>,
        config: &SwitchConfig,
        targets: &mut Vec<Target>,
        left: &mut Left,
    ) {
        targets.retain(|target| {
            let copied = self.send_one(cx, legs, config, *target);
            match copied {
                Copied::Sent(true) => left.copied.push(target.session),
                Copied::Full => left.full.push(*target),
                Copied::Unkept => left.unkept.push(*target),
                Copied::Sent(false) | Copied::Gone => {}
            }
            matches!(copied, Copied::Sent(_))
        });
    }

    /// Writes one for `target`.
    pub(super) fn send_one(
        &self,
        cx: &mut Cx,
        legs: &mut Slab<Leg>,
        config: &SwitchConfig,
        target: Target,
    ) -> Copied {
        let Some(leg) = legs.get_mut(target.leg as usize) else { return Copied::Gone };
        if leg.hold.is_some() {
            return self.keep_one(cx, leg);
        }
        let (queue, copies) = (&mut leg.queue, leg.copies);
        match cx.row(None, target.session, |row| self.write_in(row, queue, config)) {
            Ok(true) => Copied::Sent(copies),
            Ok(false) => Copied::Full,
            Err(Unsent::Unbound | Unsent::Gone) => Copied::Gone,
        }
    }

    /// Writes one, unless too much waits for the leg; whether it did.
    #[inline]
    pub(super) fn write_in(
        &self,
        row: &mut Row<'_>,
        queue: &mut Queue,
        config: &SwitchConfig,
    ) -> bool {
        let paths = row.session.request_paths().len();
        let octets = FRAME_OCTETS + paths + self.common.len() + self.rest.len();
        let admitted = admit(row.connection, queue, octets, config);
        if admitted {
            self.write_anyway(row);
        }
        admitted
    }

    /// Writes one, however much waits.
    #[inline]
    fn write_anyway(&self, row: &mut Row<'_>) {
        let free = |id: &[u8]| self.is_free(id);
        row.send(self.waits, free, |out, id, session| self.write(out, id, session.request_paths()));
    }

    /// Keeps one for a leg that is held.
    fn keep_one(&self, cx: &Cx, leg: &mut Leg) -> Copied {
        let is_bound = cx.sessions.get(leg.session).is_some_and(|it| it.connection.is_some());
        match leg.hold.as_mut().filter(|_| is_bound).map(|hold| hold.keep(self)) {
            Some(true) => Copied::Sent(leg.copies),
            Some(false) => Copied::Unkept,
            None => Copied::Gone,
        }
    }

    /// Ends a message for `target`: behind what is kept of it, where the leg is held.
    pub(super) fn end(&self, cx: &mut Cx, legs: &mut Slab<Leg>, target: Target) {
        let leg = legs.get_mut(target.leg as usize).filter(|leg| leg.session == target.session);
        match leg.and_then(|leg| leg.hold.as_mut()) {
            Some(hold) => hold.keep_anyway(self),
            None => self.send_anyway(cx, target),
        }
    }

    /// Writes one for `target` however much waits: what is small and once in a while, or was kept.
    pub(super) fn send_anyway(&self, cx: &mut Cx, target: Target) {
        // Whoever is gone needs it no more.
        let _ = cx.row(None, target.session, |row| self.write_anyway(row));
    }

    /// Whether `id` does not stand in the body (RFC 4975 §7.1).
    #[inline]
    fn is_free(&self, id: &[u8]) -> bool {
        let occurs = |octets| TransactionId::occurs_in(id, octets);
        !self.dashes || !(occurs(self.common) || occurs(self.rest))
    }

    fn write(&self, out: &mut Outbound, id: &[u8], paths: &[u8]) {
        let tail = out.tail();
        let octets = FRAME_OCTETS + paths.len() + self.common.len();
        // The first of a row makes room for a few more: growing would copy them again.
        tail.reserve(if tail.capacity() == 0 { octets.max(FIRST_OCTETS) } else { octets });
        write::send_start(tail, id);
        tail.extend_from_slice(paths);
        tail.extend_from_slice(self.common);
        if self.rest.is_empty() {
            return write::body_end(tail, id, self.flag);
        }
        out.share_part(self.octets, self.rest);
        write::body_end(out.tail(), id, self.flag);
    }
}

/// Whether so many octets more may wait on the connection of a leg; they are counted then.
#[inline]
pub(super) fn admit(
    connection: &Connection,
    queue: &mut Queue,
    octets: usize,
    config: &SwitchConfig,
) -> bool {
    let Connection { outbound, sessions, .. } = connection;
    let on = Waiting {
        queued: outbound.queued_total(),
        waiting: outbound.len() as u64,
        pinned: outbound.pinned() as u64,
        shared: sessions.len() > 1,
    };
    queue.admit(on, octets as u64, config.queue_octets_max as u64)
}

/// Writes the header fields of a copy and the empty line, and nothing else.
pub(super) fn headers(
    out: &mut Vec<u8>,
    id: &[u8],
    range: ByteRange,
    failure_report: FailureReport,
) {
    out.clear();
    append_headers(out, id, range, failure_report);
}

/// Appends the header fields of a copy and the empty line.
///
/// `Success-Report` is absent, which is no (RFC 4975 §7.1.1): the switch reports for itself
/// (RFC 7701 §6.3).
pub(super) fn append_headers(
    out: &mut Vec<u8>,
    id: &[u8],
    range: ByteRange,
    failure_report: FailureReport,
) {
    for part in [b"Message-ID: ", id, b"\r\n"] {
        out.extend_from_slice(part);
    }
    write::byte_range(out, range);
    out.extend_from_slice(match failure_report {
        FailureReport::Yes => b"",
        FailureReport::Partial => b"Failure-Report: partial\r\n",
        FailureReport::No => b"Failure-Report: no\r\n",
    });
    out.extend_from_slice(b"Content-Type: message/cpim\r\n\r\n");
}

/// Appends `body` to the common part when it is small; gives what is to be shared.
pub(super) fn copy_small<'a>(common: &mut Vec<u8>, body: &'a [u8]) -> &'a [u8] {
    if body.len() >= SHARED_OCTETS_MIN {
        return body;
    }
    common.extend_from_slice(body);
    b""
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: MSRP-067
    #[test]
    fn writes_headers() {
        let range = ByteRange { start: 1, end: None, total: None };
        let far = ByteRange { start: 1040, end: Some(u64::MAX), total: Some(u64::MAX) };
        #[rustfmt::skip]
        let table = [
            (range, FailureReport::Yes,     "1-*/*",                                             ""),
            (range, FailureReport::Partial, "1-*/*",      "\r\nFailure-Report: partial"),
            (far,   FailureReport::No,      "1040-18446744073709551615/18446744073709551615", "\r\nFailure-Report: no"),
        ];
        for (range, failure_report, written, asked) in table {
            let mut out = b"what was there".to_vec();
            headers(&mut out, b"99s9s2", range, failure_report);
            let expect = format!(
                "Message-ID: 99s9s2\r\nByte-Range: {written}{asked}\r\n\
                 Content-Type: message/cpim\r\n\r\n"
            );
            assert_eq!(String::from_utf8(out).unwrap(), expect);
            assert_eq!(range.to_string(), written);
        }
    }
}
