//! The switch of chat rooms: every message of a participant goes to all others (RFC 7701).
//!
//! To each participant the switch is an endpoint of RFC 4975: it answers and reports for itself,
//! and nothing a recipient says reaches the sender. A message is passed on chunk by chunk as soon
//! as its `message/cpim` headers are there; it is kept only for who is held.
//!
//! | What | Where |
//! |---|---|
//! | who is in a room, who gets a message | `switch/room.rs` |
//! | messages as they come | `switch/receive.rs`, `switch/message.rs` |
//! | writing one chunk to many | `switch/copies.rs`, `switch/queue.rs` |
//! | writing many messages to one | `switch/round.rs` |
//! | what is kept for who wants none for now | `switch/hold.rs` |
//! | what recipients answer | `switch/answer.rs` |
//! | nicknames (RFC 7701 §7) | `switch/nickname.rs` |
//! | messages for a history | `switch/passed.rs` |
//! | what the room itself says | `switch/say.rs` |
//! | what the focus asks for | `switch/command.rs` |
//!
//! **Invariant:** no participant waits for another: what is too much for one is dropped for that
//! one (RFC 7701 §6.4).
//! **Invariant:** messages go out in the order in which they were accepted, on every leg the same.

mod answer;
mod command;
mod config;
mod copies;
mod event;
mod hold;
mod identity;
mod leg;
mod media;
mod message;
mod nickname;
mod passed;
mod queue;
mod receive;
mod recent;
mod refusal;
mod room;
mod round;
mod say;

use std::time::Instant;

use slab::Slab;

pub use self::config::{LegConfig, RoomConfig, SwitchConfig};
pub use self::event::{Counts, Event, Passed};
pub use self::identity::{IdentityError, URIS_MAX};
pub use self::nickname::{Nickname, NicknameError, Nicknames, OCTETS_MAX, QUARANTINED_MAX, Taken};
pub use self::room::{JoinError, RoomError, RoomId};

use self::copies::Left;
use self::leg::Leg;
use self::message::Message;
use self::queue::Queue;
use self::refusal::Refusal;
use self::room::{Room, Target};
use self::round::Round;
use crate::node::cx::{Cx, Verdict};
use crate::node::receive::{Chunk, More};
use crate::node::timers::Timer;
use crate::node::{self, CloseReason, Lost};
use crate::{Head, Method, Start};

/// The rooms of a node.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    config: SwitchConfig,
    rooms: Slab<Room>,
    legs: Slab<Leg>,
    generation: u32,
    /// The number of the message that began last.
    number: u32,
    scratch: Scratch,
    /// Rooms with messages that are not written yet.
    waiting: Vec<u32>,
    /// Memory for such.
    spare: Vec<Round>,
    /// Reports that are written after the response.
    reports: Vec<say::Report>,
}

/// Memory that every message uses again.
#[derive(Debug, Default)]
struct Scratch {
    /// What all copies of a chunk have in common.
    common: Vec<u8>,
    /// Who gets the message.
    targets: Vec<Target>,
    /// With whom of them something is still to be done.
    left: Left,
}

impl Switch {
    /// A request of any method of a participant; the common checks have been made.
    pub(crate) fn head(&mut self, cx: &mut Cx, leg: u32, chunk: &Chunk<'_>) -> Verdict {
        let Start::Request { method, .. } = chunk.head.start else { return Verdict::Done };
        let done = match method {
            Method::Send => self.send(cx, leg, chunk),
            Method::Nickname => self.nickname(cx, leg, chunk.head),
            Method::Report => {
                self.reported(cx, leg, chunk.head);
                Ok(())
            }
            Method::Auth | Method::Other(_) => Err(Refusal::Method),
        };
        verdict(done)
    }

    /// More of the body of a request that was accepted.
    pub(crate) fn body(&mut self, cx: &mut Cx, at: u32, more: &More<'_>) -> Verdict {
        let Some(leg) = self.legs.get_mut(at as usize) else { return Verdict::Done };
        // The body of what is no message does not matter.
        let Some(number) = leg.running else { return Verdict::Accept };
        let Some(place) = leg.numbered(number) else { return Verdict::Done };
        let message = leg.open.swap_remove(place);
        verdict(self.piece(cx, at, message, more.body, more.octets, more.end))
    }

    /// The leg is bound: requests can go.
    pub(crate) fn bound(&mut self, cx: &mut Cx, at: u32) {
        self.welcome(cx, at);
    }

    /// The leg has failed: whether it stays in its room without a connection, as the policy of the
    /// room has it. The messages that it has begun are aborted, and may come again.
    pub(crate) fn suspend(&mut self, cx: &mut Cx, at: u32, why: Lost) -> bool {
        let Some(leg) = self.legs.get_mut(at as usize) else { return false };
        let Some(room) = self.rooms.get(leg.room as usize) else { return false };
        if !room.policy.keeps_lost || !may_come_back(why) {
            return false;
        }
        let room = RoomId { index: leg.room, generation: room.generation };
        let session = leg.session;
        self.write_out_of(cx, at);
        let Some(leg) = self.legs.get_mut(at as usize) else { return false };
        (leg.running, leg.refused, leg.queue) = (None, None, Queue::default());
        for message in std::mem::take(&mut leg.open) {
            self.abort(cx, at, message);
        }
        cx.detach(session);
        cx.event(node::Event::Switch(Event::Suspended { room, leg: session, why }));
        true
    }

    /// The leg has failed, and its session is gone when this returns.
    pub(crate) fn lost(&mut self, cx: &mut Cx, at: u32, _: Lost) {
        self.take_out(cx, at);
    }

    /// The timer of a leg: messages that wait for their next chunk too long are given up on.
    pub(crate) fn timeout(&mut self, cx: &mut Cx, at: u32) {
        let Some(leg) = self.legs.get_mut(at as usize) else { return };
        leg.armed = None;
        let open = std::mem::take(&mut leg.open).into_iter();
        let (late, open) = open.partition(|message| message.deadline <= cx.now);
        leg.open = open;
        let late: Vec<Message> = late;
        for message in late {
            self.abort(cx, at, message);
        }
        self.arm(cx, at);
    }

    /// Calls the timer of a leg when its first deadline comes, or before.
    fn arm(&mut self, cx: &mut Cx, at: u32) {
        let Some(leg) = self.legs.get_mut(at as usize) else { return };
        let first: Option<Instant> = leg.open.iter().map(|message| message.deadline).min();
        if let Some(first) = first
            && leg.armed.is_none_or(|armed| first < armed)
        {
            leg.armed = Some(first);
            cx.timers.arm(first, Timer::Session(leg.session));
        }
    }

    /// `Use-Nickname` (RFC 7701 §7.1 to §7.3).
    fn nickname(&mut self, cx: &mut Cx, at: u32, head: &Head<'_>) -> Result<(), Refusal> {
        let Some(leg) = self.legs.get_mut(at as usize) else { return Ok(()) };
        let Some(room) = self.rooms.get_mut(leg.room as usize) else { return Ok(()) };
        let understood = leg.chatroom.as_ref().is_some_and(|chatroom| chatroom.nickname);
        if !room.policy.nicknames || !understood {
            return Err(Refusal::NicknamesOff);
        }
        let value = head.value("Use-Nickname").ok_or(Refusal::MalformedNickname)?;
        let wanted = Nickname::parse(value).map_err(|_| Refusal::MalformedNickname)?;
        let same = match (&leg.nickname, &wanted) {
            (Some(old), Some(new)) => old.is_same(new),
            (None, None) => true,
            _ => false,
        };
        if !same {
            if let Some(new) = &wanted {
                let owner = leg.identity.uris().first().ok_or(Refusal::NicknamesOff)?;
                let claimed = room.nicknames.claim(cx.now, owner, new);
                claimed.map_err(|Taken| Refusal::NicknameTaken)?;
            }
            if let Some(old) = &leg.nickname {
                room.nicknames.release(cx.now, old);
            }
        }
        if leg.nickname != wanted {
            leg.nickname.clone_from(&wanted);
            let id = RoomId { index: leg.room, generation: room.generation };
            let event = Event::Nickname { room: id, leg: leg.session, nickname: wanted };
            cx.event(node::Event::Switch(event));
        }
        Ok(())
    }

    /// Takes a leg out of its room; the messages it has begun are aborted.
    fn take_out(&mut self, cx: &mut Cx, at: u32) {
        self.write_out_of(cx, at);
        let Some(leg) = self.legs.get_mut(at as usize) else { return };
        for message in std::mem::take(&mut leg.open) {
            self.abort(cx, at, message);
        }
        let Some(leg) = self.legs.try_remove(at as usize) else { return };
        if let Some(room) = self.rooms.get_mut(leg.room as usize) {
            room.leave(cx.now, at, leg);
        }
    }

    /// Counts what was dropped for those for whom too much waits; who has too many dropped is taken
    /// out.
    fn count_drops(&mut self, cx: &mut Cx) {
        if self.scratch.left.full.is_empty() {
            return;
        }
        for target in std::mem::take(&mut self.scratch.left.full) {
            self.count_drop(cx, target.leg);
        }
    }

    fn count_drop(&mut self, cx: &mut Cx, at: u32) {
        let Some(leg) = self.legs.get_mut(at as usize) else { return };
        if !leg.queue.drop_one(self.config.drops_max) {
            return;
        }
        let (session, room) = (leg.session, leg.room);
        if let Some(found) = self.rooms.get(room as usize) {
            let room = RoomId { index: room, generation: found.generation };
            cx.event(node::Event::Switch(Event::Slow { room, leg: session }));
        }
        self.take_out(cx, at);
        // What waits on a connection of its own would wait for ever.
        let connection = cx.sessions.get(session).and_then(|session| session.connection);
        cx.end(session);
        if let Some(connection) = connection
            && cx.connections.get(connection).is_some_and(|found| found.sessions.is_empty())
        {
            cx.close(connection, CloseReason::Slow);
        }
    }
}

/// Whether a session that failed so can be taken up again: there was no connection, or the peer
/// did not know the session on it, which a description of the peer may change.
fn may_come_back(why: Lost) -> bool {
    match why {
        Lost::Connection | Lost::Unconnected(_) | Lost::Unknown => true,
        Lost::Elsewhere
        | Lost::Unanswered
        | Lost::Unreceived
        | Lost::Path
        | Lost::Certificate
        | Lost::Role => false,
    }
}

fn verdict(done: Result<(), Refusal>) -> Verdict {
    match done {
        Ok(()) => Verdict::Accept,
        Err(refusal) => Verdict::Refuse(refusal.code()),
    }
}

#[cfg(test)]
mod tests;
