//! What a role is to the rest of the server.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use parlance_sip::uri::Aor;

use crate::decision::SessionState;
use crate::{Cx, Incoming};

/// The work of one role for one request; it stays on its shard.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

/// A role of the server: participating, controlling or deferred.
///
/// A role is plain `async` code over the handles of this crate. Retransmission, transaction timers
/// and the races of the wire live below it. Every future here may be dropped at any await; what
/// that does on the wire is written at the handle.
pub trait Role {
    /// Serves one request. The task may outlive its answer, to wait for a late response.
    ///
    /// The first request of a session comes here as well ([`Cx::take`], [`Cx::watch`]); then the
    /// task may run as long as the session.
    fn transaction(self: Rc<Self>, cx: Cx, request: Incoming) -> Task;

    /// What this role knows, on this shard, of the session of that identity. Nothing by default.
    fn session(&self, identity: &Aor) -> SessionState {
        let _ = identity;
        SessionState::Unknown
    }
}
