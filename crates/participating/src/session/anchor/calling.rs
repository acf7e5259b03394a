//! Calling the invited side with the inviter's offer (OMA-TS-SIMPLE_IM §7.2.3.3, §7.2.4.2).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parlance_isc::media::Pair;
use parlance_isc::session::{Body, Inbox, Invite, Outgoing, Progress, Reason};
use parlance_msrp::relay::{Filter, PairSide};
use parlance_sip::Response;
use parlance_sip::header::To;
use tokio::sync::Notify;

use super::bridge::Bridge;
use super::call::{Call, Offered};
use super::exchange::{Exchange, joined};
use super::{Answered, Serving, if_his, reason_of};
use crate::event::Step;
use crate::refusal::Refusal;
use crate::session::control::Asks;
use crate::session::description::Described;

/// How long any other side may take to answer: a proxy's Timer C (RFC 3261 §16.6).
const ANSWER_MAX: Duration = Duration::from_secs(181);

/// Answers in provisional responses that are remembered, one of each fork. Beyond: the oldest goes.
/// Local limit.
const EARLY_MAX: usize = 16;

/// An offer as it came and as it goes on.
pub(super) struct Passed<'a> {
    offer: &'a Offered,
    exchange: Exchange<'a>,
    pair: Pair,
    /// The answers in provisional responses, by the tag of who gave them: the 2xx may have none
    /// then (RFC 3261 §13.2.1).
    early: Vec<(String, Described)>,
}

impl Serving<'_> {
    /// Calls the other side, and joins the two when it has answered.
    pub(super) async fn call_with_offer(self, invite: Invite, call: Call, wait: Option<Duration>) {
        let Some(offer) = &call.offer else { return };
        let media = &self.functions.media;
        let mut pair = match self.open(&call, PairSide::Offerer, offer.proto).await {
            Ok(pair) => pair,
            Err(refused) => return self.refuse(invite, &refused),
        };
        let (sdp, manner) = ((&offer.described.sdp, offer.line), self.manner(&call));
        let begun = Exchange::begin(media, &mut pair, PairSide::Offerer, sdp, manner, None).await;
        let request = begun.and_then(|exchange| {
            Some((call.request(self.cx, &offer.described.with(&exchange.passed))?, exchange))
        });
        let Some((request, exchange)) = request else {
            return self.refuse(invite, &Refusal::Description);
        };
        let mut inbox = Inbox::new(self.cx);
        let terms = call.terms(&self.policy, &self.request);
        let outgoing = self.cx.invite(request, call.hop.clone(), terms, &inbox.address());
        self.note(Step::Forwarded);
        self.functions.meter.forwarded.increment(1);
        let mut passed = Passed { offer, exchange, pair, early: Vec::new() };
        let answered = self.answered(&invite, &call, Some(&mut passed), outgoing, wait).await;
        if let Answered::Leg(..) = answered {
            return self.join(invite, &call, passed, answered, &mut inbox).await;
        }
        drop((passed, inbox));
        self.failed(invite, &call, answered).await;
    }

    /// Joins the two legs, until the session ends.
    async fn join(
        self,
        invite: Invite,
        call: &Call,
        passed: Passed<'_>,
        answered: Answered,
        inbox: &mut Inbox,
    ) {
        let Answered::Leg(leg, response) = answered else { return };
        let his = |side| self.side() == side;
        let Passed { offer, mut exchange, mut pair, early } = passed;
        let answer = Described::of(&response).or_else(|| found(&early, &response));
        let joined = tokio::select! {
            biased;
            lost = invite.cancelled() => {
                leg.end(reason_of(&lost));
                return self.note(Step::Answered(487));
            }
            joined = joined(&mut exchange, &mut pair, &leg, answer, inbox) => joined,
        };
        let Some((answer, theirs, mut shown)) = joined else {
            leg.end(Some(Reason::sip(488, "session description")));
            return self.refuse(invite, &Refusal::Description);
        };
        let control = match self.take_part(&pair) {
            Ok(control) => control,
            Err(refused) => {
                leg.end(Some(Reason::sip(503, "no room")));
                return self.refuse(invite, &refused);
            }
        };
        let asks = if_his(his(PairSide::Offerer), offer.asks);
        if control.ask(asks).is_ok() {
            asks.tell(&mut shown);
        }
        // His are answered nowhere: he has given the answer.
        let _ = control.ask(if_his(his(PairSide::Answerer), theirs));
        for message in [&*self.request, &*response] {
            self.keep_identity(message);
        }
        self.note(Step::Answered(response.status()));
        let terms = call.terms(&self.policy, &response);
        let (ok, body) = (call.answer(&invite, &response), answer.with(&shown));
        match invite.accept(ok, body, terms, &inbox.address()) {
            Ok(caller) => {
                let legs = [caller, leg].map(Rc::new);
                let line = (offer.line, exchange.manner);
                let shown = [shown, exchange.passed];
                Bridge::new(self, control, pair, legs, shown, line).run(inbox).await;
            }
            // Cancelled in this very moment.
            Err(lost) => leg.end(reason_of(&lost)),
        }
    }

    /// Waits for the answer of the invited side. Dropped before, its INVITE is cancelled.
    pub(super) async fn answered(
        &self,
        invite: &Invite,
        call: &Call,
        mut passed: Option<&mut Passed<'_>>,
        mut outgoing: Outgoing,
        wait: Option<Duration>,
    ) -> Answered {
        let late = tokio::time::sleep(wait.unwrap_or(ANSWER_MAX));
        tokio::pin!(late);
        loop {
            tokio::select! {
                biased;
                lost = invite.cancelled() => {
                    outgoing.cancel(reason_of(&lost));
                    return Answered::Lost;
                }
                progress = outgoing.next() => match progress {
                    Progress::Provisional(response) => {
                        self.progress(invite, call, passed.as_deref_mut(), &response);
                    }
                    Progress::Answered(leg, response) => return Answered::Leg(leg, response),
                    Progress::Failed(response) => return Answered::Failed(response),
                    Progress::NoAnswer => return Answered::Nobody,
                },
                () = &mut late => return Answered::TooLate,
            }
        }
    }

    /// Passes a provisional response on, with the description that it may have.
    fn progress(
        &self,
        invite: &Invite,
        call: &Call,
        passed: Option<&mut Passed<'_>>,
        response: &Response,
    ) {
        let terms = call.terms(&self.policy, response);
        let answer = Described::of(response);
        let body = match (passed, answer) {
            (Some(passed), Some(mut answer)) => {
                Asks::take(&mut answer.sdp);
                let body = self.preview(passed, &answer);
                passed.remember(response, answer);
                body
            }
            (None, _) | (_, None) => None,
        };
        let shown = call.answer(invite, response);
        invite.progress(shown, &body.unwrap_or_default(), &terms);
    }

    /// An answer in a provisional response, as it goes to the inviter. The pair is told with the
    /// 2xx, of one fork.
    fn preview(&self, passed: &Passed<'_>, answer: &Described) -> Option<Body> {
        Some(answer.with(&passed.exchange.preview(&passed.pair, &answer.sdp)?))
    }
}

impl Passed<'_> {
    fn remember(&mut self, response: &Response, answer: Described) {
        let tag = tag(response);
        self.early.retain(|(known, _)| *known != tag);
        if self.early.len() >= EARLY_MAX {
            self.early.remove(0);
        }
        self.early.push((tag, answer));
    }
}

/// The answer that came before the 2xx, of the same fork; it is the whole body of that now.
fn found(early: &[(String, Described)], response: &Response) -> Option<Described> {
    let tag = tag(response);
    let (_, answer) = early.iter().find(|(known, _)| *known == tag)?;
    Some(answer.alone())
}

fn tag(response: &Response) -> String {
    let to = response.header::<To<'_>>().ok().flatten();
    to.and_then(|to| to.tag()).unwrap_or_default().to_owned()
}

/// Lets one message of the inviter pass and nothing back (OMA-TS-SIMPLE_IM §7.2.2.5); `misused` is
/// told of anything else, which is refused.
pub(super) fn one_message(misused: Arc<Notify>) -> Filter {
    let mut first: Option<Box<[u8]>> = None;
    Box::new(move |side, head, _| {
        let Some(head) = head.filter(|head| head.start.is_send()) else { return Ok(()) };
        let id = head.message_id.unwrap_or_default();
        let is_it = side == PairSide::Offerer && **first.get_or_insert_with(|| id.into()) == *id;
        if is_it {
            return Ok(());
        }
        misused.notify_one();
        Err(403)
    })
}
