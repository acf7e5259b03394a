//! A session between two legs of ours, whose messages pass through a pair of MSRP sessions
//! (RFC 7092 §3.2; RFC 6714 §6.2).

mod bridge;
mod call;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parlance_isc::media::{MediaError, Pair, Towards};
use parlance_isc::session::{Body, Inbox, Invite, Leg, Lost, Outgoing, Progress, Reason};
use parlance_isc::{Cause, Cx, Media, SessionCase};
use parlance_msrp::relay::{PairConfig, PairSide};
use parlance_sip::sdp::Sdp;
use parlance_sip::uri::Aor;
use parlance_sip::{Request, Response};
use parlance_store::UserId;

use super::Seat;
use crate::event::Step;
use crate::passage::{Passage, note};
use crate::policy::{Policy, SessionMedia};
use crate::refusal::{Fate, Refusal, defers, fate, refusal};
use crate::role::Functions;
use bridge::Bridge;
use call::Call;

/// Whether a session is anchored: the operator wants it, somebody listens, and there is an offer of
/// MSRP and nothing else in the body. One with a focus is not: its URI must reach the user
/// (OMA-TS-SIMPLE_IM §7.2.4.2).
pub(crate) fn is_wanted(passage: &Passage<'_>) -> bool {
    let media = &passage.functions.media;
    passage.policy.session.media == SessionMedia::Anchor
        && (media.address(false).is_some() || media.address(true).is_some())
        && !call::is_focus(passage.request())
        && call::offer(passage.request()).is_some()
}

/// What is left of a passage once its INVITE is ours to answer.
pub(super) struct Serving<'a> {
    functions: &'a Functions,
    cx: &'a Cx,
    policy: Arc<Policy>,
    case: SessionCase,
    user: UserId,
    is_large: bool,
    is_known: bool,
    /// The INVITE as it came.
    request: Request,
}

/// Anchors a session. `amended` is the INVITE as it goes on; who is invited has `wait` to answer.
pub(crate) async fn serve(
    passage: Passage<'_>,
    seat: Seat,
    amended: Request,
    wait: Option<Duration>,
) {
    let serving = Serving {
        functions: passage.functions,
        cx: passage.cx,
        policy: Arc::clone(&passage.policy),
        case: passage.case,
        user: passage.user.clone(),
        is_large: passage.asked().is_large(),
        is_known: passage.decision().subscriber.user().is_some(),
        request: passage.request().clone(),
    };
    let call = Call::new(&passage, amended);
    let invite = serving.cx.take(passage.into_incoming());
    let Some(call) = call else { return serving.refuse(invite, &Refusal::Description) };
    let pair = match serving.open(&call).await {
        Ok(pair) => pair,
        Err(MediaError::NoListener) => return serving.refuse(invite, &Refusal::Description),
        Err(MediaError::Busy | MediaError::Gone) => {
            return serving.refuse(invite, &Refusal::Unreachable);
        }
    };
    serving.set_up(invite, call, pair, wait).await;
    drop(seat);
}

/// How long any other side may take to answer: a proxy's Timer C (RFC 3261 §16.6).
const ANSWER_MAX: Duration = Duration::from_secs(181);

/// How the invited side has answered.
enum Answered {
    Leg(Leg, Response),
    Failed(Response),
    Nobody,
    TooLate,
    /// The inviter went away.
    Lost,
}

impl Serving<'_> {
    /// Opens the pair, with the security of either side (SEC-010).
    async fn open(&self, call: &Call) -> Result<Pair, MediaError> {
        let media = &self.functions.media;
        let rule = |identity: &Option<Aor>| {
            let domain = identity.as_ref().and_then(|identity| identity.domain());
            media.tls().of(domain.unwrap_or_default())
        };
        let has_tls = media.address(true).is_some();
        let offerer = rule(&call.caller).answers(call.proto);
        let answerer = rule(&call.called).offers(has_tls).first().copied();
        let (offerer, answerer) = offerer.zip(answerer).ok_or(MediaError::NoListener)?;
        let max_size = self.is_large.then_some(self.policy.session.large_octets_max);
        let config = PairConfig { max_size, copies: false, filter: None };
        media.pair(Towards { offerer, answerer }, config).await
    }

    /// Calls the other side, and joins the two when it has answered.
    async fn set_up(self, invite: Invite, call: Call, mut pair: Pair, wait: Option<Duration>) {
        let media = &self.functions.media;
        let anchor = pair.anchor(PairSide::Answerer, media);
        let offered = anchor.offer(&call.offer, call.line);
        let request = offered.as_ref().and_then(|offered| call.request(self.cx, offered));
        let (Some(offered), Some(request)) = (offered, request) else {
            return self.refuse(invite, &Refusal::Description);
        };
        let mut inbox = Inbox::new(self.cx);
        let terms = call.terms(&self.policy, &self.request);
        let outgoing = self.cx.invite(request, call.hop.clone(), terms, &inbox.address());
        self.note(Step::Forwarded);
        self.functions.meter.forwarded.increment(1);
        let answered = self.answered(&invite, &call, outgoing, wait).await;
        let Answered::Leg(leg, response) = answered else {
            drop((pair, inbox));
            return self.failed(invite, &call, answered).await;
        };
        let Some(answer) = join(media, &call, &mut pair, &offered, &response).await else {
            leg.end(Some(Reason::sip(488, "session description")));
            return self.refuse(invite, &Refusal::Description);
        };
        self.note(Step::Answered(response.status()));
        let terms = call.terms(&self.policy, &response);
        let (ok, body) = (call.answer(&invite, &response), Body::sdp(answer.to_string()));
        match invite.accept(ok, body, terms, &inbox.address()) {
            Ok(caller) => {
                let (legs, shown) = ([caller, leg].map(Rc::new), [answer, offered]);
                let (cx, media, line) = (self.cx.clone(), media.clone(), call.line);
                Bridge { cx, media, pair, legs, shown, line }.run(&mut inbox).await;
            }
            // Cancelled in this very moment.
            Err(lost) => leg.end(reason_of(&lost)),
        }
    }

    /// There is no session: says so to the inviter, or stores what he meant to send.
    async fn failed(&self, invite: Invite, call: &Call, answered: Answered) {
        let away = match &answered {
            Answered::Failed(response) => defers(response.status(), self.is_known, &self.policy),
            Answered::Nobody | Answered::TooLate => true,
            Answered::Leg(..) | Answered::Lost => false,
        };
        let terminating = self.case == SessionCase::Terminating;
        let deferral = self.functions.deferral.clone();
        // An immediate message may be stored for the invited user (§7.2.2.6.2).
        if let Some(deferral) = deferral.filter(|_| away && terminating && self.is_large) {
            self.functions.meter.deferred.increment(1);
            self.note(Step::Deferred(Cause::Unanswered));
            return deferral.take(self.cx, &self.user, invite, Cause::Unanswered).await;
        }
        match answered {
            Answered::Failed(response) => match fate(response.status(), &self.policy) {
                Fate::Relay => {
                    self.note(Step::Answered(response.status()));
                    let refusal = call.answer(&invite, &response);
                    invite.refuse(refusal);
                }
                Fate::Convert => self.refuse(invite, &Refusal::Downstream(response.status())),
            },
            Answered::TooLate => self.refuse(invite, &Refusal::NoAnswer),
            Answered::Nobody | Answered::Leg(..) => self.refuse(invite, &Refusal::Unreachable),
            // It has its answer.
            Answered::Lost => self.note(Step::Answered(487)),
        }
    }

    /// Waits for the answer of the invited side. Dropped before, its INVITE is cancelled.
    async fn answered(
        &self,
        invite: &Invite,
        call: &Call,
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
                        let terms = call.terms(&self.policy, &response);
                        let shown = invite.response(response.status());
                        invite.progress(shown, &Body::none(), &terms);
                    }
                    Progress::Answered(leg, response) => return Answered::Leg(leg, response),
                    Progress::Failed(response) => return Answered::Failed(response),
                    Progress::NoAnswer => return Answered::Nobody,
                },
                () = &mut late => return Answered::TooLate,
            }
        }
    }

    fn refuse(&self, invite: Invite, refused: &Refusal) {
        self.functions.meter.refused(refused);
        let reply = refusal(refused, &self.policy);
        self.note(Step::Answered(reply.status));
        invite.reply(&reply);
    }

    fn note(&self, step: Step) {
        note(self.functions, self.cx, self.case, &self.user, &self.request, step);
    }
}

/// Why the inviter went away, as he says it (RFC 3326).
fn reason_of(lost: &Lost) -> Option<Reason> {
    match lost {
        Lost::Cancelled(request) => Reason::of(request),
        Lost::NotAcknowledged | Lost::IntervalTooSmall | Lost::Malformed | Lost::Busy => None,
    }
}

/// Tells the pair what both sides have described; the answer as it goes to the inviter. `None`: it
/// cannot be.
async fn join(
    media: &Media,
    call: &Call,
    pair: &mut Pair,
    offered: &Sdp,
    response: &Response,
) -> Option<Sdp> {
    let answer = Sdp::parse(response.body()).ok()?;
    bridge::agree(media, pair, PairSide::Offerer, (&call.offer, offered), &answer, call.line).await
}
