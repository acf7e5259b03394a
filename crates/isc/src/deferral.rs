//! How the participating function reaches the deferred one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use parlance_store::{Seq, UserId};

use crate::session::Invite;
use crate::{Cx, Incoming, Reply};

/// A future that stays on its shard.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Why a message is offered for deferral.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The user is not registered, or without the IM feature tag (DF-002).
    Unregistered,
    /// The user's visibility is off (PF-004).
    Invisible,
    /// The user switched the service off (PF-056).
    Inactive,
    /// The user's setting "store pager-mode messages" is on (DF-084).
    Setting,
    /// Older messages still wait; this one queues behind them (DF-083).
    Behind,
    /// The client could not be reached, or did not answer in time (PF-021, PF-034).
    Unanswered,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unregistered => "the recipient is not registered",
            Self::Invisible => "the recipient is set to offline",
            Self::Inactive => "the recipient switched the service off",
            Self::Setting => "the recipient has messages stored first",
            Self::Behind => "older messages wait for the recipient",
            Self::Unanswered => "the client did not take the message",
        })
    }
}

/// What became of an offer.
#[derive(Debug)]
pub enum Offered {
    /// It is durable: answer 202 (DF-003, DF-017).
    Stored(Seq),
    /// It was durable before (DF-086): answer 202.
    Duplicate,
    /// It is not stored; this is the answer, 480 with what there is to say (DF-003, DF-008,
    /// DF-016).
    Refused(Reply),
}

/// The deferred messaging function, towards the participating one.
pub trait Deferral {
    /// Whether messages wait for `user`, so that a new one must queue behind them.
    fn pending<'a>(&'a self, cx: &'a Cx, user: &'a UserId) -> Local<'a, bool>;

    /// Offers a MESSAGE for `user`. Dropped before it is ready: the message may be stored or not.
    fn offer<'a>(
        &'a self,
        cx: &'a Cx,
        user: &'a UserId,
        request: &'a Incoming,
        cause: Cause,
    ) -> Local<'a, Offered>;

    /// Answers an INVITE for an immediate message in the place of `user`'s client: with 200 as the
    /// end of the MSRP session, whose messages it keeps, or with 480 (DF-004, DF-005). Ready when
    /// the session is over. Dropped before: what came in part is forgotten.
    fn take<'a>(
        &'a self,
        cx: &'a Cx,
        user: &'a UserId,
        invite: Invite,
        cause: Cause,
    ) -> Local<'a, ()>;

    /// Looks at what waits for `user` anew, since his settings changed. Nothing follows by default.
    fn changed(&self, cx: &Cx, user: &UserId) {
        let _ = (cx, user);
    }

    /// Takes a stored message back, because the client has it after all.
    fn withdraw<'a>(&'a self, cx: &'a Cx, user: &'a UserId, seq: Seq) -> Local<'a, ()>;
}
