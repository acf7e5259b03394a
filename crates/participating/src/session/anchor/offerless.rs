//! Calling the invited side without an offer: its 2xx has one, and the inviter's ACK the answer
//! (RFC 3261 §13.2.1).

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use parlance_isc::session::{Body, Event, Inbox, Invite, Leg, Reason};
use parlance_msrp::relay::PairSide;
use parlance_sip::Response;
use parlance_sip::sdp::Sdp;

use super::bridge::Bridge;
use super::call::{Call, Offered};
use super::exchange::{Exchange, joined};
use super::{Answered, Serving, if_his, reason_of};
use crate::event::Step;
use crate::refusal::Refusal;
use crate::session::description::Described;

impl Serving<'_> {
    /// Calls the other side, and joins the two when both have described themselves.
    pub(super) async fn call_without_offer(
        self,
        invite: Invite,
        call: Call,
        wait: Option<Duration>,
    ) {
        let Some(request) = call.request(self.cx, &Body::none()) else {
            return self.refuse(invite, &Refusal::Description);
        };
        let mut inbox = Inbox::new(self.cx);
        let terms = call.terms_without_offer(&self.policy, &self.request);
        let outgoing = self.cx.invite(request, call.hop.clone(), terms, &inbox.address());
        self.note(Step::Forwarded);
        self.functions.meter.forwarded.increment(1);
        let answered = self.answered(&invite, &call, None, outgoing, wait).await;
        match answered {
            Answered::Leg(leg, response) => {
                self.offered(invite, &call, leg, &response, &mut inbox).await;
            }
            answered => {
                drop(inbox);
                self.failed(invite, &call, answered).await;
            }
        }
    }

    /// The invited side has made an offer: passes it on, and the answer back.
    async fn offered(
        self,
        invite: Invite,
        call: &Call,
        leg: Leg,
        response: &Response,
        inbox: &mut Inbox,
    ) {
        let bad = Some(Reason::sip(488, "session description"));
        let media = &self.functions.media;
        let refused = |refused: &Refusal, invite| {
            leg.end(bad.clone());
            self.refuse(invite, refused);
        };
        let Some(offer) = Offered::of(response) else {
            return refused(&Refusal::Description, invite);
        };
        let mut pair = match self.open(call, PairSide::Answerer, offer.proto).await {
            Ok(pair) => pair,
            Err(why) => return refused(&why, invite),
        };
        let control = match self.take_part(&pair) {
            Ok(control) => control,
            Err(why) => return refused(&why, invite),
        };
        let (sdp, manner) = ((&offer.described.sdp, offer.line), self.manner(call));
        let begun = Exchange::begin(media, &mut pair, PairSide::Answerer, sdp, manner, None).await;
        let Some(mut exchange) = begun else { return refused(&Refusal::Description, invite) };
        for message in [&*self.request, response] {
            self.keep_identity(message);
        }
        self.note(Step::Answered(response.status()));
        let terms = call.terms(&self.policy, response);
        let (ok, body) = (call.answer(&invite, response), offer.described.with(&exchange.passed));
        let caller = match invite.accept(ok, body, terms, &inbox.address()) {
            Ok(caller) => caller,
            Err(lost) => return leg.end(reason_of(&lost)),
        };
        // Dropped, both legs end; the invited side's is acknowledged then.
        let Some(answer) = answer(&caller, inbox).await else { return };
        let answer = Sdp::parse(&answer).ok().map(Described::from);
        let joined = joined(&mut exchange, &mut pair, &caller, answer, inbox).await;
        let Some((_, theirs, mut shown)) = joined else {
            caller.end(bad.clone());
            return leg.end(bad);
        };
        let _ = control.ask(if_his(self.side() == PairSide::Offerer, theirs));
        let asks = if_his(self.side() == PairSide::Answerer, offer.asks);
        if control.ask(asks).is_ok() {
            asks.tell(&mut shown);
        }
        leg.acknowledge(Body::sdp(shown.to_string()));
        let (legs, line) = ([caller, leg].map(Rc::new), (offer.line, exchange.manner));
        let shown = [exchange.passed, shown];
        Bridge::new(self, control, pair, legs, shown, line).run(inbox).await;
    }
}

/// The answer in the ACK of the inviter; `None`: the session is over, or the ACK had none.
async fn answer(caller: &Leg, inbox: &mut Inbox) -> Option<Bytes> {
    loop {
        match inbox.next().await {
            Event::Answer(id, answer) if id == caller.id() => return Some(answer),
            Event::Confirmed(id) if id == caller.id() => return None,
            Event::Ended(..) | Event::Draining => return None,
            // Too early for anything else: dropped, it is answered.
            Event::Offer(..) | Event::Request(..) | Event::Joining(_) | Event::Outside(_) => {}
            Event::Answer(..) | Event::Confirmed(_) => {}
            Event::Notify(..) | Event::Unwatched(_) => {}
        }
    }
}
