//! One message on its way through the function, and the answer it owes.

use std::sync::Arc;

use parlance_isc::{
    Cause, Cx, Decision, Fate, Forwarding, Incoming, Mode, Offered, Permit, Private, Reply,
    SessionCase,
};
use parlance_sip::header::PChargingVector;
use parlance_sip::session_timer::ForwardedSession;
use parlance_sip::{Edits, HeaderName, Method, Request, Response, Source};
use parlance_store::{Millis, Profile, Seq, UserId};

use crate::content::content_type;
use crate::event::{Event, Step};
use crate::history::Message;
use crate::lifetime::Lifetime;
use crate::policy::Policy;
use crate::refusal::{Refusal, refusal, stored};
use crate::role::Functions;
use crate::session::{Asked, Seat};

/// One message on its way. Dropped, it is answered 480.
pub(crate) struct Passage<'a> {
    pub(crate) functions: &'a Functions,
    pub(crate) cx: &'a Cx,
    pub(crate) policy: Arc<Policy>,
    pub(crate) case: SessionCase,
    pub(crate) user: UserId,
    pub(crate) profile: Arc<Profile>,
    /// When it came.
    pub(crate) received: Millis,
    incoming: Incoming,
}

impl<'a> Passage<'a> {
    /// A message that serves a user; gives it back when the decision names none.
    pub(crate) fn new(
        functions: &'a Functions,
        cx: &'a Cx,
        policy: Arc<Policy>,
        case: SessionCase,
        incoming: Incoming,
    ) -> Result<Self, Incoming> {
        let Some(user) = incoming.decision().user.clone() else { return Err(incoming) };
        let received = cx.now();
        let profile = functions.profile_of(incoming.decision());
        let passage = Self { functions, cx, policy, case, user, profile, received, incoming };
        passage.note(Step::Received);
        Ok(passage)
    }

    pub(crate) fn request(&self) -> &Request {
        self.incoming.request()
    }

    pub(crate) fn decision(&self) -> &Decision {
        self.incoming.decision()
    }

    /// Where it came from.
    pub(crate) fn source(&self) -> &Source {
        self.incoming.source()
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        Lifetime::of(self.request(), self.received)
    }

    /// Whether the user may use pager mode (OMA-TS-SIMPLE_IM §7.2.2.1).
    ///
    /// # Errors
    /// The refusal when he may not.
    pub(crate) fn check_rights(&self) -> Result<(), Refusal> {
        let registration = self.decision().subscriber.registration();
        let barred = registration.is_some_and(|registration| registration.barred);
        if barred || !self.profile.rights.pager { Err(Refusal::NotAuthorised) } else { Ok(()) }
    }

    /// What there is to judge about a session.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked {
            functions: self.functions,
            policy: &self.policy,
            profile: &self.profile,
            user: &self.user,
            request: self.request(),
            decision: self.decision(),
            case: self.case,
            received: self.received,
        }
    }

    /// Sends an INVITE on, with what was done about its session timer.
    pub(crate) fn forward_session(&self, edits: Edits, timer: ForwardedSession) -> Forwarding {
        self.note(Step::Forwarded);
        self.functions.meter.forwarded.increment(1);
        self.cx.forward_session(&self.incoming, edits, timer)
    }

    /// The 2xx went back as it came.
    pub(crate) fn relayed(self, response: &Response) {
        self.note(Step::Answered(response.status()));
        self.note(Step::Started);
        self.incoming.done();
    }

    /// What goes with an INVITE to a service hosted here, which answers it.
    pub(crate) fn lend(&self, seat: Seat) -> Permit {
        self.note(Step::Forwarded);
        self.asked().lend(self.cx, seat)
    }

    /// Gives the request to whoever answers it instead.
    pub(crate) fn into_incoming(self) -> Incoming {
        self.incoming
    }

    /// Sends the message on.
    pub(crate) fn forward(&self, edits: Edits) -> Forwarding {
        self.note(Step::Forwarded);
        self.functions.meter.forwarded.increment(1);
        self.cx.forward(&self.incoming, edits)
    }

    /// What a final response of downstream is answered with when it is not relayed.
    pub(crate) fn instead_of(&self, status: u16) -> Refusal {
        match self.policy.downstream().fate(status) {
            Fate::Relay => Refusal::NotStored,
            Fate::Convert => Refusal::Downstream(status),
        }
    }

    /// Sends a final response of downstream back, or what stands for it. A message that was taken
    /// is kept in the history of the user (§7.2.2.4).
    pub(crate) fn finish(self, response: &Response) {
        if (200..300).contains(&response.status()) {
            self.keep();
        }
        match self.policy.downstream().fate(response.status()) {
            Fate::Relay => {
                self.note(Step::Answered(response.status()));
                self.incoming.relay(response);
            }
            Fate::Convert => self.refuse(&Refusal::Downstream(response.status())),
        }
    }

    fn keep(&self) {
        let Some(history) = self.functions.history.as_deref() else { return };
        let (mode, now) = (self.decision().mode, self.cx.now());
        let is_message = || self.request().method() == Method::Message;
        if !self.functions.keeps(&self.profile, mode, now) || !is_message() {
            return;
        }
        let message = Message {
            at: now,
            user: &self.user,
            mode: mode.unwrap_or(Mode::PagerMode),
            is_sent: self.case == SessionCase::Originating,
            request: self.request(),
            content_type: &content_type(self.request()),
            body: self.request().body(),
        };
        message.keep_in(history);
    }

    /// Answers with a refusal.
    pub(crate) fn refuse(self, refused: &Refusal) {
        self.functions.meter.refused(refused);
        self.log(refused);
        let reply = refusal(refused, &self.policy);
        self.answer(reply);
    }

    /// Leaves the message without an answer: the time for one is over.
    pub(crate) fn abandon(self) {
        self.note(Step::Abandoned);
        self.incoming.abandon();
    }

    /// Offers the message for deferral and answers with what came of it, or with `otherwise` when
    /// it cannot be offered. The number under which it is stored now, if it was not before.
    pub(crate) async fn defer(self, cause: Cause, otherwise: &Refusal) -> Option<Seq> {
        let lifetime = self.lifetime();
        if lifetime.is_over(self.cx.now()) {
            self.refuse(&Refusal::Expired);
            return None;
        }
        let deferral = self.functions.deferral.as_deref();
        let Some(deferral) = deferral.filter(|_| lifetime != Lifetime::Immediate) else {
            self.refuse(otherwise);
            return None;
        };
        match deferral.offer(self.cx, &self.user, &self.incoming, cause).await {
            Offered::Stored(seq) => {
                self.functions.meter.deferred.increment(1);
                self.note(Step::Deferred(cause));
                self.answer(stored());
                Some(seq)
            }
            Offered::Duplicate => {
                self.answer(stored());
                None
            }
            Offered::Refused(reply) => {
                self.functions.meter.refused(&Refusal::NotStored);
                self.answer(reply);
                None
            }
        }
    }

    /// Tells the sink what happened.
    pub(crate) fn note(&self, step: Step) {
        note(self.functions, self.cx, self.case, &self.user, self.request(), step);
    }

    /// Who sends too much is worth a warning, but no more than one a second: the log must not
    /// become the flood (OMA-TS-SIMPLE_IM §8.1.5.1).
    fn log(&self, refused: &Refusal) {
        let call_id = String::from_utf8_lossy(self.request().call_id());
        let is_flood = matches!(refused, Refusal::TooMany(_));
        if is_flood && self.functions.meter.may_warn(self.received) {
            let user = Private(&self.user);
            tracing::warn!(%call_id, %user, "a user sends more than the rate allows");
        } else {
            tracing::debug!(%call_id, why = refused.label(), "message not delivered");
        }
    }

    fn answer(self, reply: Reply) {
        self.note(Step::Answered(reply.status));
        let reply = match self.charging_vector() {
            Some(vector) => reply.with(HeaderName::PChargingVector, vector),
            None => reply,
        };
        self.incoming.reply(&reply);
    }

    /// The charging vector of an answer given for the recipient: that of the request, completed
    /// with our side of it (RFC 7315 §4.6).
    fn charging_vector(&self) -> Option<String> {
        if self.case == SessionCase::Originating {
            return None;
        }
        let vector = self.request().header::<PChargingVector<'_>>().ok().flatten()?;
        let ioi = self.policy.ioi.as_ref().filter(|_| vector.term_ioi().is_none());
        Some(match ioi {
            Some(ioi) => format!("{vector};term-ioi=\"{ioi}\""),
            None => vector.to_string(),
        })
    }
}

/// Tells the sink of `functions` what happened to a message that may be answered already.
pub(crate) fn note(
    functions: &Functions,
    cx: &Cx,
    case: SessionCase,
    user: &UserId,
    request: &Request,
    step: Step,
) {
    if let Some(events) = &functions.events {
        events.record(&Event { at: cx.now(), case, user, request, step });
    }
}
