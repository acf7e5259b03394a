//! Rooms: every message of a participant goes to all others (RFC 7701).

use crate::node::Lost;
use crate::node::cx::{Cx, Verdict};
use crate::node::receive::{Chunk, More};

/// Something of a room that the application has to know.
#[derive(Debug)]
pub enum Event {}

/// The rooms of a node.
#[derive(Debug, Default)]
pub(crate) struct Switch {}

impl Switch {
    /// A request of any method of a participant; the common checks have been made.
    pub(crate) fn head(&mut self, _: &mut Cx, _leg: u32, _: &Chunk<'_>) -> Verdict {
        Verdict::Refuse(481)
    }

    /// More of the body of a request that was accepted.
    pub(crate) fn body(&mut self, _: &mut Cx, _leg: u32, _: &More<'_>) -> Verdict {
        Verdict::Refuse(481)
    }

    /// The response to what was sent with `token`.
    pub(crate) fn response(&mut self, _: &mut Cx, _leg: u32, _token: u64, _code: u16) {}

    /// A response that was not waited for.
    pub(crate) fn stray(&mut self, _: &mut Cx, _leg: u32, _code: u16) {}

    /// What was sent with `token` was not answered within 30 s, or its connection is gone.
    pub(crate) fn unanswered(&mut self, _: &mut Cx, _leg: u32, _token: u64) {}

    /// The leg is bound: requests can go.
    pub(crate) fn bound(&mut self, _: &mut Cx, _leg: u32) {}

    /// The leg has failed, and its session is gone when this returns.
    pub(crate) fn lost(&mut self, _: &mut Cx, _leg: u32, _: Lost) {}

    /// The timer of a leg.
    pub(crate) fn timeout(&mut self, _: &mut Cx, _leg: u32) {}

    /// The timer of a room.
    pub(crate) fn room_timeout(&mut self, _: &mut Cx, _room: u32) {}
}
