//! Small messages for all, written participant by participant.
//!
//! What a room is sent waits until the driver has read all that has come; then each participant is
//! written all of it. What that takes, its leg, its session, its connection and a buffer, is
//! fetched once for many messages, and the buffer is written out while the processor has it at
//! hand.
//!
//! **Invariant:** only what goes to everybody in the same way waits. Before anything else is done
//! in the room, what waits is written, so all messages go out in the order of their acceptance.

use bytes::Bytes;
use slab::Slab;

use super::answer::Token;
use super::copies::{Copies, FRAME_OCTETS, admit, append_headers};
use super::leg::Leg;
use super::media::MediaNumber;
use super::message::Letter;
use super::queue::Queue;
use super::room::Room;
use super::{Switch, SwitchConfig};
use crate::end_line::may_end;
use crate::header::{ByteRange, FailureReport};
use crate::node::ConnectionId;
use crate::node::connection::Connection;
use crate::node::cx::Cx;
use crate::node::row::Row;
use crate::transaction_id::Words;
use crate::write::{self, WHOLE_END};
use crate::{SHARED_OCTETS_MIN, TransactionId};

/// Octets that wait in one room at most, and less than one message more. Local limit: a buffer of
/// them stays in the cache of a core.
const OCTETS_MAX: usize = 32 * 1024;

/// Rounds whose memory is used again. Local limit.
const SPARE_MAX: usize = 16;

/// The messages of one room that wait.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// What all copies of each have in common, one after the other.
    octets: Vec<u8>,
    messages: Vec<Accepted>,
    /// How many legs of the room were written all of it.
    written: usize,
    /// For whom too much waited, once for each message.
    full: Vec<u32>,
}

/// A message that waits.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    /// How many octets all copies of it have in common.
    octets: usize,
    sender: u32,
    /// The participant whose leg the sender is.
    participant: u32,
    /// The number of its type; `None`: it has none.
    media: Option<MediaNumber>,
    /// Whether an end-line might be read in its body.
    dashes: bool,
}

impl Round {
    /// Writes what leg `at` gets; the connection, if that is anything.
    // By itself, so that what every copy needs stays in registers.
    #[inline(never)]
    fn fill(
        &mut self,
        config: &SwitchConfig,
        room: &Room,
        (at, leg): (u32, &mut Leg),
        row: &mut Row<'_>,
    ) -> Option<ConnectionId> {
        let waits = config.failure_report == FailureReport::Yes;
        let (mut rest, mut room_made) = (&self.octets[..], None);
        for message in &self.messages {
            let Some((common, after)) = rest.split_at_checked(message.octets) else { break };
            rest = after;
            let Accepted { sender, participant, media, dashes, .. } = *message;
            if !room.hears((at, leg.participant), (sender, Some(participant))) {
                continue;
            }
            if !media.is_none_or(|number| leg.accepts.takes_one_of(&room.media, number)) {
                continue;
            }
            let waits = waits.then(|| Token::Whole { media }.into());
            if *room_made.get_or_insert_with(|| self.make_room(config, &mut leg.queue, row)) {
                let free =
                    move |id: Words| !dashes || !TransactionId::occurs_in(&id.octets(), common);
                row.send_as(waits, free, |out, id, session| {
                    write::whole(out.tail(), id, session.send_template(), common);
                });
            } else if !write_one(config, &mut leg.queue, row, (common, dashes, waits)) {
                self.full.push(at);
            }
        }
        room_made.map(|_| row.id)
    }

    /// Makes room on a connection for a copy of all that waits; whether that much may wait there.
    fn make_room(&self, config: &SwitchConfig, queue: &mut Queue, row: &mut Row<'_>) -> bool {
        let each = FRAME_OCTETS + row.session.request_paths().len();
        let octets = self.octets.len() + self.messages.len() * each;
        let Connection { outbound, sessions, .. } = &mut *row.connection;
        outbound.reserve(octets);
        // It may be more than will be written, which no other session's octets are counted with.
        sessions.len() == 1 && admit(row.connection, queue, octets, config)
    }

    fn clear(&mut self) {
        self.octets.clear();
        self.messages.clear();
        self.full.clear();
        self.written = 0;
    }
}

/// A message that is there, all of it, as it will be passed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<'a> {
    /// What it is called then.
    pub(super) id: &'a [u8],
    pub(super) range: ByteRange,
    pub(super) body: &'a [u8],
    /// What `body` is a slice of.
    pub(super) octets: &'a Bytes,
}

/// Writes one copy of many, unless too much waits; whether it did.
#[cold]
fn write_one(
    config: &SwitchConfig,
    queue: &mut Queue,
    row: &mut Row<'_>,
    (common, dashes, waits): (&[u8], bool, Option<u64>),
) -> bool {
    let common = common.strip_suffix(WHOLE_END).unwrap_or(common);
    Copies::whole(common, dashes, waits).write_in(row, queue, config)
}

/// Whether a message for all may wait in a room, which has so many octets: nobody there is held,
/// and nothing is given out.
pub(super) fn may_wait(room: &Room, legs: &Slab<Leg>, octets: usize) -> bool {
    let plain =
        |place: &u32| legs.get(*place as usize).is_none_or(|leg| leg.hold.is_none() && !leg.copies);
    octets < SHARED_OCTETS_MIN && (room.round.is_some() || room.legs.iter().all(plain))
}

impl Switch {
    /// Puts a message off, of leg `at`.
    pub(super) fn put_off(&mut self, cx: &mut Cx, at: u32, letter: &Letter, whole: &Whole<'_>) {
        let Some(leg) = self.legs.get(at as usize) else { return };
        let (place, participant) = (leg.room, leg.participant);
        let Some(room) = self.rooms.get_mut(place as usize) else { return };
        let round = room.round.get_or_insert_with(|| self.spare.pop().unwrap_or_default());
        let start = round.octets.len();
        append_headers(&mut round.octets, whole.id, whole.range, self.config.failure_report);
        let rest = letter.edit.open(whole.body, &mut round.octets);
        round.octets.extend_from_slice(rest);
        round.octets.extend_from_slice(WHOLE_END);
        let octets = round.octets.len() - start;
        let (media, dashes) = (letter.media, may_end(whole.body));
        round.messages.push(Accepted { octets, sender: at, participant, media, dashes });
        if !room.waits {
            room.waits = true;
            self.waiting.push(place);
        }
        if round.octets.len() >= OCTETS_MAX {
            self.write_out(cx, place);
        }
    }

    /// Writes what one more participant gets of all that waits; the connection it is written on.
    /// `None`: nothing waits any more.
    pub(crate) fn write_row(&mut self, cx: &mut Cx) -> Option<ConnectionId> {
        while let Some(place) = self.waiting.last().copied() {
            if let Some(connection) = self.write_row_of(cx, place) {
                return Some(connection);
            }
            self.waiting.pop();
            if let Some(room) = self.rooms.get_mut(place as usize) {
                room.waits = false;
            }
        }
        None
    }

    /// Writes all that waits in the room of leg `at`.
    pub(super) fn write_out_of(&mut self, cx: &mut Cx, at: u32) {
        if let Some(leg) = self.legs.get(at as usize) {
            self.write_out(cx, leg.room);
        }
    }

    /// Writes all that waits in a room.
    pub(super) fn write_out(&mut self, cx: &mut Cx, place: u32) {
        while self.write_row_of(cx, place).is_some() {}
    }

    /// The same as [`write_row`](Self::write_row) for one room.
    fn write_row_of(&mut self, cx: &mut Cx, place: u32) -> Option<ConnectionId> {
        let Self { config, rooms, legs, .. } = self;
        let room = rooms.get_mut(place as usize)?;
        let mut round = room.round.take()?;
        while let Some(at) = room.legs.get(round.written).copied() {
            round.written += 1;
            let Some(leg) = legs.get_mut(at as usize) else { continue };
            let session = leg.session;
            let filled = cx.row(None, session, |row| round.fill(config, room, (at, leg), row));
            // Whoever is gone or not there yet gets nothing.
            if let Ok(Some(connection)) = filled {
                room.round = Some(round);
                return Some(connection);
            }
        }
        for at in std::mem::take(&mut round.full) {
            self.count_drop(cx, at);
        }
        if self.spare.len() < SPARE_MAX {
            round.clear();
            self.spare.push(round);
        }
        None
    }
}
