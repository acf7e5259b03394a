//! An INVITE received, as a role sees it.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use parlance_sip::{Request, ResponseBuilder, Source};

use super::uas::Taken;
use super::{Address, Body, Leg, LegTerms};
use crate::shard::Invited;
use crate::{Cx, Decision, Incoming, Permit, Reply};

/// An INVITE outside a dialog that waits for its answer. All its responses have one To tag.
///
/// Dropped without an answer: 480.
pub struct Invite {
    cx: Cx,
    taken: Rc<Taken>,
    permit: Permit,
}

/// Why an INVITE cannot be accepted any more; it has its final response.
#[derive(Clone, Debug)]
pub enum Lost {
    /// The peer sent this CANCEL, or BYE in the early dialog: 487.
    Cancelled(Request),
    /// No PRACK came for a reliable provisional response: 504 (RFC 3262 §3).
    NotAcknowledged,
    /// The session interval asked for is too small: 422 (RFC 4028 §9).
    IntervalTooSmall,
    /// It has no usable `Contact`: 400.
    Malformed,
    /// There is no room for another dialog: 480 with Retry-After.
    Busy,
}

impl Cx {
    /// Takes an INVITE outside a dialog as a UAS. One that was cancelled meanwhile gets its 487 at
    /// once; [`Invite::cancelled`] and [`Invite::accept`] say so.
    pub fn take(&self, incoming: Incoming) -> Invite {
        let (arrival, decision, permit) = incoming.into_parts();
        let server = arrival.server;
        let taken = Taken::new(self, arrival, decision);
        let now = Invited::Taken(Rc::downgrade(&taken));
        let before = self.0.invites.borrow_mut().insert(server, now);
        if let Some(Invited::Cancelled(cancel)) = before {
            taken.cancelled(self, cancel);
        }
        Invite { cx: self.clone(), taken, permit }
    }
}

impl Invite {
    /// The INVITE.
    pub fn request(&self) -> &Request {
        self.taken.request()
    }

    /// What a role lent for it, to be held as long as the session of whoever sent it; otherwise it
    /// is given back with the INVITE.
    pub fn take_permit(&mut self) -> Permit {
        self.permit.take()
    }

    /// Where it came from.
    pub fn source(&self) -> &Source {
        &self.taken.arrival.source
    }

    /// Whom it serves, on which side, and why it came to this role.
    pub fn decision(&self) -> &Decision {
        &self.taken.decision
    }

    /// Starts a response with our To tag and `Server`, in 101 to 299 with the `Record-Route`s.
    pub fn response(&self, status: u16) -> ResponseBuilder {
        self.taken.response(&self.cx, status)
    }

    /// Has every response of 101 to 299 from now on lead requests of the peer here by this
    /// `Record-Route`, when the `Contact` of the leg leads elsewhere: to a focus, whose URI the
    /// peer has to know (RFC 4579 §5.1).
    pub fn record_route(&self, value: impl Into<String>) {
        self.taken.record_route(value.into());
    }

    /// Sends a provisional response of 101 to 199; `Contact` is added. It goes reliably, until the
    /// PRACK, when the peer requires so (RFC 3262 §3); then at most nine wait at a time.
    pub fn progress(&self, response: ResponseBuilder, body: &Body, terms: &LegTerms) {
        self.taken.progress(&self.cx, response, terms, body);
    }

    /// Waits until the INVITE is lost: by CANCEL most likely, which was answered. Cancel-safe.
    pub async fn cancelled(&self) -> Lost {
        poll_fn(|context| match self.taken.lost() {
            Some(lost) => Poll::Ready(lost),
            None => {
                self.taken.wake_by(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Sends the 2xx and makes the leg, whose events go to `to`. `Contact`, `Allow`, `Supported`
    /// and the session timer are added. The 2xx is repeated until its ACK (then
    /// [`super::Event::Confirmed`]); without one BYE follows ([`super::Ended::NoAck`]).
    ///
    /// # Errors
    /// [`Lost`]; the INVITE has its final response then.
    pub fn accept(
        self,
        response: ResponseBuilder,
        body: Body,
        terms: LegTerms,
        to: &Address,
    ) -> Result<Leg, Lost> {
        let live = self.taken.accept(&self.cx, response, body, terms, to)?;
        Ok(Leg::new(self.cx.clone(), live))
    }

    /// Sends a final response of 300 to 699.
    pub fn refuse(self, response: ResponseBuilder) {
        self.taken.refuse(&self.cx, response);
    }

    /// [`Invite::refuse`] with a body.
    pub fn refuse_with(self, response: ResponseBuilder, body: &Body) {
        let status = response.status();
        let bytes = super::wording::finish_response(response, body);
        self.taken.refuse_with(&self.cx, status, bytes);
    }

    /// Sends what a refusal table says.
    pub fn reply(self, reply: &Reply) {
        let request = self.taken.request();
        let response =
            ResponseBuilder::with_reason(request, reply.status, &reply.reason, &self.taken.tag);
        self.taken.refuse(&self.cx, reply.add_headers(self.cx.with_server(response)));
    }
}

impl Drop for Invite {
    fn drop(&mut self) {
        if !self.taken.is_answered() {
            self.taken.refuse(&self.cx, self.taken.response(&self.cx, 480));
        }
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite").field("request", self.taken.request()).finish_non_exhaustive()
    }
}
