//! A session that passes as at a record-routing proxy (RFC 3261 §16; RFC 4028 §8).

use std::time::Duration;

use parlance_isc::session::session_request;
use parlance_isc::{Forwarding, Outcome};
use parlance_sip::session_timer::ForwardedSession;
use parlance_sip::uri::Aor;
use parlance_sip::{Edits, HeaderName, Request, Response};

use super::{Seat, anchor, identities};
use crate::amend;
use crate::passage::Passage;
use crate::policy::Policy;
use crate::refusal::Refusal;

/// Puts the session timer into an INVITE on its way (RFC 4028 §8.1).
///
/// # Errors
/// [`Refusal::IntervalTooSmall`].
pub(crate) fn timed(
    request: &Request,
    policy: &Policy,
    edits: &mut Edits,
) -> Result<ForwardedSession, Refusal> {
    let asked = session_request(request);
    let timer = policy.session.timer().forward(&asked, true);
    let timer = timer.map_err(|small| Refusal::IntervalTooSmall(small.min_se))?;
    if let Some(interval) = timer.interval {
        let refresher = asked.session_expires.and_then(|expires| expires.refresher);
        let refresher = match refresher {
            Some(parlance_sip::session_timer::Refresher::Uac) => ";refresher=uac",
            Some(parlance_sip::session_timer::Refresher::Uas) => ";refresher=uas",
            None => "",
        };
        edits.set(request, HeaderName::SessionExpires, format_args!("{interval}{refresher}"));
    }
    if let Some(min_se) = timer.min_se {
        edits.set(request, HeaderName::MinSe, min_se);
    }
    Ok(timer)
}

/// Sends the INVITE on, or anchors the session; what it is answered is relayed.
pub(crate) async fn originating(passage: Passage<'_>, seat: Seat) {
    let Passage { policy, profile, .. } = &passage;
    let mut edits = amend::own_session(passage.request(), policy, profile);
    if anchor::is_wanted(&passage)
        && let Some(amended) = edits.apply(passage.request())
    {
        return anchor::serve(passage, seat, amended, None).await;
    }
    let timer = match timed(passage.request(), policy, &mut edits) {
        Ok(timer) => timer,
        Err(refused) => return passage.refuse(&refused),
    };
    let mut forwarding = passage.forward_session(edits, timer);
    let outcome = forwarding.outcome().await;
    finish(passage, seat, &timer, outcome);
}

/// What came of an INVITE that was sent on goes back.
pub(crate) fn finish(passage: Passage<'_>, seat: Seat, timer: &ForwardedSession, outcome: Outcome) {
    match outcome {
        Outcome::Relayed(response) => {
            for message in [&**passage.request(), &*response] {
                let seats = &passage.functions.seats;
                identities::keep(seats, &passage.user, message, passage.received);
            }
            keep(&passage, seat, timer, &response);
            passage.relayed(&response);
        }
        Outcome::Final(response) => {
            let target = passage.request().uri().and_then(|uri| Aor::from_uri(&uri));
            // The session is no more (OMA-TS-SIMPLE_IM §6.1.5.1).
            if let (404 | 410, Some(target)) = (response.status(), target) {
                passage.functions.seats.identities.forget(&passage.user, &target);
            }
            passage.finish(&response);
        }
        Outcome::Cancelled => passage.refuse(&Refusal::Cancelled),
        Outcome::Timeout | Outcome::Unreachable => passage.refuse(&Refusal::Unreachable),
    }
}

/// The session stands: its place in the count is its own until it ends.
fn keep(passage: &Passage<'_>, seat: Seat, timer: &ForwardedSession, response: &Response) {
    let answered = parlance_isc::session::session_expires(response);
    let inserted = timer.interval.filter(|_| timer.uac_supports);
    let interval = answered.map(|expires| expires.interval).or(inserted);
    let interval = interval.unwrap_or(passage.policy.session.lost_after_s);
    let interval = Duration::from_secs(interval.into());
    seat.keep(passage.request(), interval, passage.cx.now());
}

/// Waits for the answer of an invited user, as long as he may take (OMA-TS-SIMPLE_IM §7.2.4.2.3);
/// `None`: too long.
pub(crate) async fn answered(forwarding: &mut Forwarding, policy: &Policy) -> Option<Outcome> {
    let wait = Duration::from_secs(policy.session.answer_wait_s.into());
    tokio::time::timeout(wait, forwarding.outcome()).await.ok()
}
