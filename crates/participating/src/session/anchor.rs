//! A session between two legs of ours, whose messages pass through a pair of MSRP sessions
//! (RFC 7092 §3.2; RFC 6714 §6.2).
//!
//! The description of either side goes on with our URI in the place of the peer's, wherever it
//! stands in the body, or with the peer's own when the operator wants that and the clients can do
//! it, see `exchange`; what is around it goes on octet for octet. The Contact of a focus stays as
//! it is, and Record-Route leads the requests of its peer here.

mod bridge;
mod call;
mod calling;
mod exchange;
mod offerless;

use std::sync::Arc;
use std::time::Duration;

use parlance_isc::media::{MediaError, Pair, Security, Towards};
use parlance_isc::session::{Invite, Leg, Lost, Reason};
use parlance_isc::{Cause, Cx, Fate, SessionCase};
use parlance_msrp::relay::{PairConfig, PairSide};
use parlance_sip::sdp::MsrpProto;
use parlance_sip::uri::Aor;
use parlance_sip::{Message, Request, Response};
use parlance_store::UserId;
use tokio::sync::Notify;

use super::Seat;
use super::chronicle::Chronicle;
use super::control::{Asks, Control};
use super::identities;
use crate::event::Step;
use crate::passage::{Passage, note};
use crate::policy::{Policy, SessionMedia};
use crate::refusal::{Refusal, defers, refusal};
use crate::role::Functions;
use call::{Call, Offered};
use exchange::Manner;

pub(crate) use call::is_focus;

/// Whether a session is anchored: somebody listens, its INVITE offers MSRP or wants an offer, and
/// the operator wants it. Else it is when the user's client asks for what only an anchored session
/// can be (PF-071, PF-072), or its messages are to be kept in his history.
pub(crate) fn is_wanted(passage: &Passage<'_>) -> bool {
    let (media, request) = (&passage.functions.media, passage.request());
    let listens = media.address(false).is_some() || media.address(true).is_some();
    let asks = || {
        passage.case == SessionCase::Originating
            && Offered::of(request).is_some_and(|offered| offered.asks.is_some())
    };
    listens
        && call::is_anchorable(request)
        && (passage.policy.session.media != SessionMedia::Proxy
            || passage.functions.keeps(&passage.profile, passage.decision().mode, passage.received)
            || asks())
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
    /// The user's history, when it is active as the session begins.
    chronicle: Option<Chronicle>,
    /// Told when an immediate message is misused.
    misused: Arc<Notify>,
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
        chronicle: Chronicle::begin(&passage.asked(), passage.decision().mode, passage.cx),
        misused: Arc::default(),
        request: passage.request().clone(),
    };
    let call = Call::new(&passage, amended);
    let invite = serving.cx.take(passage.into_incoming());
    match call {
        Some(call) if call.offer.is_some() => serving.call_with_offer(invite, call, wait).await,
        Some(call) => serving.call_without_offer(invite, call, wait).await,
        None => serving.refuse(invite, &Refusal::Description),
    }
    drop(seat);
}

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
    /// On which side of the pair the user is.
    fn side(&self) -> PairSide {
        match self.case {
            SessionCase::Originating => PairSide::Offerer,
            SessionCase::Terminating => PairSide::Answerer,
        }
    }

    /// Whether clients that know `msrp-cema` see nothing of us. What passes to and fro is not
    /// protected then, so neither may insist on TLS. An immediate message has a largest size that
    /// both are to be told.
    fn manner(&self, call: &Call) -> Manner {
        let rules = [self.rule(&call.caller), self.rule(&call.called)];
        let is_wanted = self.policy.session.media == SessionMedia::Cema;
        match is_wanted && !self.is_large && rules.iter().all(|rule| rule.allows_plain()) {
            true => Manner::Unseen,
            false => Manner::Seen,
        }
    }

    /// The security of a side (SEC-010).
    fn rule(&self, identity: &Option<Aor>) -> Security {
        let domain = identity.as_ref().and_then(|identity| identity.domain());
        self.functions.media.tls().of(domain.unwrap_or_default())
    }

    /// Opens the pair, with the security of either side: `side` has made the offer, of MSRP carried
    /// by `proto`.
    async fn open(&self, call: &Call, side: PairSide, proto: MsrpProto) -> Result<Pair, Refusal> {
        let media = &self.functions.media;
        let has_tls = media.address(true).is_some();
        let (caller, called) = (self.rule(&call.caller), self.rule(&call.called));
        let secure = match side {
            PairSide::Offerer => caller.answers(proto).zip(called.offers(has_tls).first().copied()),
            PairSide::Answerer => {
                caller.offers(has_tls).first().copied().zip(called.answers(proto))
            }
        };
        let (offerer, answerer) = secure.ok_or(Refusal::Description)?;
        let max_size = self.is_large.then_some(self.policy.session.large_octets_max);
        let is_strict = self.is_large && self.policy.session.large_is_strict;
        let filter = is_strict.then(|| calling::one_message(Arc::clone(&self.misused)));
        let config = PairConfig { max_size, copies: self.chronicle.is_some(), filter };
        let opened = media.pair(Towards { offerer, answerer }, config).await;
        opened.map_err(|error| match error {
            MediaError::NoListener => Refusal::Description,
            MediaError::Busy | MediaError::Gone => Refusal::Unreachable,
        })
    }

    /// Puts the session among those of the user; another of his may hold it.
    fn take_part(&self, pair: &Pair) -> Result<Control, Refusal> {
        let limits = self.policy.session.hold_limits();
        let controls = &self.functions.seats.controls;
        let joined = controls.join(&self.user, pair.gate(self.side()), limits);
        joined.map_err(|_| Refusal::Unreachable)
    }

    /// Keeps the identity of the conference that the user is about to take part in.
    fn keep_identity(&self, message: &Message) {
        identities::keep(&self.functions.seats, &self.user, message, self.cx.now());
    }

    /// There is no session: says so to the inviter, or stores what he meant to send.
    async fn failed(&self, invite: Invite, call: &Call, answered: Answered) {
        if let (Answered::Failed(response), Some(called)) = (&answered, &call.called)
            && matches!(response.status(), 404 | 410)
        {
            // The session is no more (OMA-TS-SIMPLE_IM §6.1.5.1).
            self.functions.seats.identities.forget(&self.user, called);
        }
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
            Answered::Failed(response) => match self.policy.downstream().fate(response.status()) {
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

/// What the user asks for, when the description is his own.
fn if_his(is_his: bool, asks: Asks) -> Asks {
    if is_his { asks } else { Asks::default() }
}

/// Why the inviter went away, as he says it (RFC 3326).
fn reason_of(lost: &Lost) -> Option<Reason> {
    match lost {
        Lost::Cancelled(request) => Reason::of(request),
        Lost::NotAcknowledged | Lost::IntervalTooSmall | Lost::Malformed | Lost::Busy => None,
    }
}
