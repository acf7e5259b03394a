//! A session to which a served user is invited (OMA-TS-SIMPLE_IM §7.2.4.1, §7.2.4.2).

use std::time::Duration;

use parlance_isc::{Cause, Outcome};
use parlance_sip::header::{AnswerMode, Header};
use parlance_sip::{HeaderName, Request};
use parlance_store::RejectAnswer;

use super::{Seat, anchor, pre, proxy};
use crate::access::{self, Sender};
use crate::amend;
use crate::event::Step;
use crate::passage::Passage;
use crate::refusal::{Refusal, defers};
use crate::terminating::away;

/// Serves the invited user: his rules, then the invitation or, for an immediate message, deferral.
pub(crate) async fn serve(passage: Passage<'_>) {
    if let Err(refused) = check(&passage).await {
        return passage.refuse(&refused);
    }
    if let Some(cause) = away(&passage) {
        return defer(passage, cause, &Refusal::NotStored).await;
    }
    if passage.functions.seats.controls.is_locked(&passage.user) {
        // Another session of his has all his attention (§7.2.3.14.3).
        return defer(passage, Cause::Unanswered, &Refusal::Locked).await;
    }
    match passage.asked().seat() {
        Ok(seat) => invite(passage, seat).await,
        Err(refused) => passage.refuse(&refused),
    }
}

/// Access rules, service authorisation, size (§7.2.4.1).
async fn check(passage: &Passage<'_>) -> Result<(), Refusal> {
    let Passage { policy, profile, functions, .. } = passage;
    let sender = Sender::of(passage.request(), passage.decision());
    let admitted = access::admit(&sender, profile, policy, functions.lists.as_deref()).await;
    admitted.map_err(|refused| match refused {
        // Nobody can be invited in silence: he is away, as far as the inviter is told.
        Refusal::Rejected(RejectAnswer::Silent) => Refusal::Rejected(RejectAnswer::Unavailable),
        refused => refused,
    })?;
    let asked = passage.asked();
    asked.check_rights()?;
    if asks_to_override(passage.request())
        && !access::is_among(&sender, &profile.answer_override, profile, functions.lists.as_deref())
            .await
    {
        return Err(Refusal::AnswerOverride);
    }
    asked.check_size()
}

/// Whether the inviter wants the client to answer at once, whatever its user set (RFC 5373 §4).
fn asks_to_override(request: &Request) -> bool {
    let mode = request.named(b"Priv-Answer-Mode").map(AnswerMode::parse);
    mode.is_some_and(|mode| mode.is_ok_and(|mode| mode.is_auto()))
}

/// Invites the user's clients, as long as they may take to answer.
async fn invite(mut passage: Passage<'_>, mut seat: Seat) {
    let auto = is_answered_for(&passage).await;
    // §7.2.4.2.2: where he has a session for it, nobody is asked at all.
    if auto {
        (passage, seat) = match pre::answer(passage, seat).await {
            Ok(()) => return,
            Err(not_answered) => not_answered,
        };
    }
    let Passage { policy, .. } = &passage;
    let request = passage.request();
    let mut edits = amend::session(request, policy);
    // RFC 5373 §4: the user has said so in his settings; what the inviter asks for is not enough.
    if auto {
        edits.set(request, HeaderName::AnswerMode, "Auto");
    }
    if anchor::is_wanted(&passage)
        && let Some(amended) = edits.apply(request)
    {
        let wait = Duration::from_secs(policy.session.answer_wait_s.into());
        return anchor::serve(passage, seat, amended, Some(wait)).await;
    }
    let timer = match proxy::timed(request, policy, &mut edits) {
        Ok(timer) => timer,
        Err(refused) => return passage.refuse(&refused),
    };
    let mut forwarding = passage.forward_session(edits, timer);
    let Some(outcome) = proxy::answered(&mut forwarding, policy).await else {
        // Dropped, it is cancelled.
        drop(forwarding);
        return defer(passage, Cause::Unanswered, &Refusal::NoAnswer).await;
    };
    let large = passage.asked().is_large();
    let is_known = passage.decision().subscriber.user().is_some();
    match outcome {
        Outcome::Final(response)
            if large && defers(response.status(), is_known, &passage.policy) =>
        {
            let otherwise = passage.instead_of(response.status());
            defer(passage, Cause::Unanswered, &otherwise).await;
        }
        Outcome::Timeout | Outcome::Unreachable if large => {
            defer(passage, Cause::Unanswered, &Refusal::Unreachable).await;
        }
        outcome => proxy::finish(passage, seat, &timer, outcome),
    }
}

/// Whether the user lets this inviter in without being asked.
async fn is_answered_for(passage: &Passage<'_>) -> bool {
    let Passage { profile, functions, .. } = passage;
    let sender = Sender::of(passage.request(), passage.decision());
    let lists = functions.lists.as_deref();
    access::is_among(&sender, &profile.auto_answer, profile, lists).await
}

/// An immediate message may be stored (§7.2.2.6.2); a conversation never is.
async fn defer(passage: Passage<'_>, cause: Cause, otherwise: &Refusal) {
    let large = passage.asked().is_large();
    let deferral = passage.functions.deferral.clone().filter(|_| large);
    let Some(deferral) = deferral else { return passage.refuse(otherwise) };
    passage.functions.meter.deferred.increment(1);
    passage.note(Step::Deferred(cause));
    let (cx, user) = (passage.cx.clone(), passage.user.clone());
    let invite = cx.take(passage.into_incoming());
    deferral.take(&cx, &user, invite, cause).await;
}
