//! Messages that pass through: RFC 4976 relaying and anchored pairs.

use crate::Head;
use crate::node::cx::{Cx, Verdict};
use crate::node::receive::{Chunk, More};
use crate::node::{ConnectionId, Lost};
use crate::session::{SessionKey, Usage};

/// Something of the relay that the application has to know.
#[derive(Debug)]
pub enum Event {}

impl Event {
    /// The session it is about.
    pub fn session(&self) -> Option<SessionKey> {
        match *self {}
    }
}

/// The relay of a node.
#[derive(Debug, Default)]
pub(crate) struct Relay {}

impl Relay {
    /// A request of any method for `chunk.session`. For a pair the common checks have been made,
    /// for a URI of a `Use-Path` none.
    pub(crate) fn head(&mut self, _: &mut Cx, _: Usage, _: &Chunk<'_>) -> Verdict {
        Verdict::Refuse(481)
    }

    /// More of the body of a request that was accepted.
    pub(crate) fn body(&mut self, _: &mut Cx, _: Usage, _: &More<'_>) -> Verdict {
        Verdict::Refuse(481)
    }

    /// A request whose `To-Path` is no session of ours: an AUTH, or something for nobody (481).
    pub(crate) fn outside(&mut self, _: &mut Cx, _: &Chunk<'_>) -> Verdict {
        Verdict::Refuse(481)
    }

    /// The response to what was sent with `token`.
    pub(crate) fn response(&mut self, _: &mut Cx, _: SessionKey, _: u64, _: &Head<'_>, _: u16) {}

    /// A response that was not waited for.
    pub(crate) fn stray(&mut self, _: &mut Cx, _: SessionKey, _: &Head<'_>, _: u16) {}

    /// What was sent with `token` was not answered within 30 s, or its connection is gone.
    pub(crate) fn unanswered(&mut self, _: &mut Cx, _: SessionKey, _: u64) {}

    /// The session is bound: requests can go.
    pub(crate) fn bound(&mut self, _: &mut Cx, _: SessionKey) {}

    /// The session has failed, and is gone when this returns.
    pub(crate) fn lost(&mut self, _: &mut Cx, _: SessionKey, _: Lost) {}

    /// The connection is gone; its sessions follow.
    pub(crate) fn gone(&mut self, _: &mut Cx, _: ConnectionId) {}

    /// The timer of the session.
    pub(crate) fn timeout(&mut self, _: &mut Cx, _: SessionKey) {}

    /// A timer of the relay itself.
    pub(crate) fn relay_timeout(&mut self, _: &mut Cx, _: u32) {}
}
