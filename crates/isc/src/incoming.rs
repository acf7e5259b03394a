//! A request as a role sees it, and the one answer it owes.

use std::fmt;
use std::rc::Rc;

use parlance_sip::{HeaderName, Method, Request, Response, ResponseBuilder, ServerKey, Source};

use crate::{Arrival, Cx, Decision, Permit, Reply};

/// A request that waits for its answer.
///
/// Dropped without one, a 480 is sent (an ACK is never answered): a role that fails still leaves
/// the sender with a final response.
pub struct Incoming {
    cx: Cx,
    asked: Box<Asked>,
    answered: bool,
}

/// What was asked: in a box, as it moves from future to future.
struct Asked {
    arrival: Arrival,
    decision: Decision,
    permit: Permit,
}

impl Incoming {
    pub(crate) fn new(cx: Cx, arrival: Arrival, decision: Decision) -> Self {
        Self { cx, asked: Box::new(Asked { arrival, decision, permit: None }), answered: false }
    }

    /// The request.
    pub fn request(&self) -> &Request {
        &self.asked.arrival.request
    }

    /// The request, to be kept as long as what is made of it.
    pub(crate) fn shared_request(&self) -> Rc<Request> {
        Rc::clone(&self.asked.arrival.request)
    }

    /// Where it came from.
    pub fn source(&self) -> &Source {
        &self.asked.arrival.source
    }

    /// Whom it serves, on which side, and why it came to this role.
    pub fn decision(&self) -> &Decision {
        &self.asked.decision
    }

    /// Has the request, and an INVITE that is made of it, hold what a role lent for it.
    pub fn hold(&mut self, permit: Permit) {
        self.asked.permit = permit;
    }

    pub(crate) fn server(&self) -> ServerKey {
        self.asked.arrival.server
    }

    /// Starts a response of our own, with a To tag and `Server`.
    pub fn response(&self, status: u16) -> ResponseBuilder {
        let response = ResponseBuilder::new(self.request(), status, &self.cx.tag());
        self.cx.with_server(response)
    }

    /// Sends the final response.
    pub fn answer(mut self, response: ResponseBuilder) {
        self.send(response);
    }

    /// Sends what a refusal table says.
    pub fn reply(mut self, reply: &Reply) {
        let tag = self.cx.tag();
        let response =
            ResponseBuilder::with_reason(self.request(), reply.status, &reply.reason, &tag);
        let response = reply.add_headers(self.cx.with_server(response));
        self.send(response);
    }

    /// Sends on a response from downstream, with our `Via` taken off (RFC 3261 §16.7 step 8).
    pub fn relay(mut self, response: &Response) {
        self.answered = true;
        self.cx.relay(self.server(), response);
    }

    /// Leaves the request without an answer: all that is left when the time for one is over
    /// (RFC 4320 §4.2). For an INVITE it answers 480.
    pub fn abandon(mut self) {
        if self.request().method() == Method::Invite {
            return;
        }
        self.answered = true;
        self.cx.abandon(self.server());
    }

    /// Gives request and decision to whoever answers from now on.
    pub(crate) fn into_parts(mut self) -> (Arrival, Decision, Permit) {
        self.answered = true;
        let Asked { arrival, decision, permit } = &mut *self.asked;
        (arrival.clone(), decision.clone(), permit.take())
    }

    /// Notes that the final response went out by itself: an INVITE's 2xx, which is relayed as it
    /// comes ([`crate::Outcome::Relayed`]).
    pub fn done(mut self) {
        self.answered = true;
    }

    fn send(&mut self, response: ResponseBuilder) {
        self.answered = true;
        let status = response.status();
        if let Some(lent) = &mut self.asked.permit {
            lent.answered(status);
        }
        self.cx.respond(self.server(), status, response.build());
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.answered || self.request().method() == Method::Ack {
            return;
        }
        let response = self.response(480).header(HeaderName::RetryAfter, 5);
        self.send(response);
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("request", self.request()).finish_non_exhaustive()
    }
}
