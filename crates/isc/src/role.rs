//! What a role is to the rest of the server.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use parlance_sip::Request;
use parlance_sip::sdp::Sdp;
use parlance_sip::uri::Aor;

use crate::decision::SessionState;
use crate::media::{Gate, Heard};
use crate::{Cx, Incoming, Local, Reply};

/// The work of one role for one request; it stays on its shard.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What a role lent to a service; dropped, it has it back.
pub type Permit = Option<Box<dyn Lent>>;

/// What a role has lent with an INVITE or a MESSAGE of its user: it hears of the session, or of the
/// answer. What was lent for a session that never stands is dropped without a word.
pub trait Lent {
    /// The session stands: its 2xx has gone. Nothing follows by default.
    fn started(&mut self) {}

    /// The session is over for who sent the INVITE, and why, as a status code: 200 after a BYE of
    /// either side, 408 when he is not there any more, 503 when the server stops. Nothing follows
    /// by default.
    fn ended(&mut self, cause: u16) {
        let _ = cause;
    }

    /// Whether it wants to hear what is said in the session ([`Lent::heard`]). It does not by
    /// default.
    fn listens(&self) -> bool {
        false
    }

    /// He has said something in the session, or has heard it. Nothing follows by default.
    fn heard(&mut self, heard: Heard) {
        let _ = heard;
    }

    /// What he gets in the session passes `gate`, where it can be held. Told before the session
    /// stands. Nothing follows by default.
    fn gated(&mut self, gate: Gate) {
        let _ = gate;
    }

    /// He has offered or answered `his` description, in which he may ask something of his own
    /// function; our `answer` to an offer may say what holds now. Nothing follows by default.
    fn described(&mut self, his: &Sdp, answer: Option<&mut Sdp>) {
        let _ = (his, answer);
    }

    /// A request that begins no session has this final response. Nothing follows by default.
    fn answered(&mut self, status: u16) {
        let _ = status;
    }
}

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

    /// Whether the user that a request serves may make it of a service hosted here. The request
    /// holds what comes back until it is answered; of an INVITE it goes on with whoever answers it
    /// ([`crate::session::Invite::take_permit`]). Everybody may by default.
    ///
    /// # Errors
    /// The answer to the request.
    fn permit<'a>(&'a self, cx: &'a Cx, request: &'a Incoming) -> Local<'a, Result<Permit, Reply>> {
        let _ = (cx, request);
        Box::pin(std::future::ready(Ok(Permit::default())))
    }

    /// Hears of a request in a dialog that passes here as at a proxy. Nothing follows by default.
    fn passed(&self, cx: &Cx, request: &Request) {
        let _ = (cx, request);
    }

    /// What this role knows, on this shard, of the session of that identity. Nothing by default.
    fn session(&self, identity: &Aor) -> SessionState {
        let _ = identity;
        SessionState::Unknown
    }
}
