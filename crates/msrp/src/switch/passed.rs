//! Giving out what was passed on, for the history of those who want it.

use bytes::Bytes;
use slab::Slab;

use super::Scratch;
use super::event::{Event, Passed};
use super::leg::Leg;
use crate::node::cx::Cx;
use crate::{Continuation, node};

/// A chunk that was written to its recipients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    /// What its message is called in the room.
    pub(super) message_id: &'a [u8],
    /// Where it begins, from 0.
    pub(super) position: u64,
    /// Octets of [`Scratch::common`] that are not of its body.
    pub(super) head: usize,
    /// What follows the others of them.
    pub(super) rest: &'a [u8],
    /// How it ends.
    pub(super) end: Continuation,
}

/// Gives out a chunk that leg `at` has sent, if it `counts` and somebody wants that.
pub(super) fn give_out(
    cx: &mut Cx,
    legs: &Slab<Leg>,
    scratch: &mut Scratch,
    at: u32,
    piece: Piece<'_>,
    counts: bool,
) {
    let recipients = std::mem::take(&mut scratch.left.copied);
    let wants = |leg: &&Leg| counts && (leg.copies || !recipients.is_empty());
    let Some(leg) = legs.get(at as usize).filter(wants) else { return };
    let Piece { message_id, position, head, rest, end } = piece;
    let copied = scratch.common.get(head..).unwrap_or_default();
    cx.event(node::Event::Switch(Event::Passed(Box::new(Passed {
        sender: leg.session,
        for_sender: leg.copies,
        recipients,
        message_id: message_id.into(),
        position,
        body: Bytes::from([copied, rest].concat()),
        end,
    }))));
}
