//! A message to a served user (OMA-TS-SIMPLE_IM §7.2.4.1, §7.2.2.6).

use parlance_isc::registration::has_im_contact;
use parlance_isc::{Cause, Forwarding, Outcome, SessionCase};
use parlance_store::{RejectAnswer, Visibility};

use crate::access::{self, Sender};
use crate::amend;
use crate::content::{self, Limits};
use crate::event::Step;
use crate::lifetime::{Lifetime, must_not_queue};
use crate::passage::{Passage, note};
use crate::refusal::{Refusal, defers};

/// Serves the recipient: his rules, then delivery or deferral.
pub(crate) async fn serve(passage: Passage<'_>) {
    if let Err(refused) = check(&passage).await {
        if refused == Refusal::Rejected(RejectAnswer::Silent) {
            passage.functions.meter.discarded.increment(1);
        }
        return passage.refuse(&refused);
    }
    let away = match away(&passage) {
        Some(cause) => Some(cause),
        None => waits(&passage).await,
    };
    match away {
        // In a box, as are those below: most messages are delivered, and need no room for it.
        Some(cause) => _ = Box::pin(passage.defer(cause, &Refusal::NotStored)).await,
        None => deliver(passage).await,
    }
}

/// Access rules, service authorisation, limits (§7.2.4.1). Limits hold for what is stored, too, so
/// they come before anything is.
async fn check(passage: &Passage<'_>) -> Result<(), Refusal> {
    let Passage { policy, profile, functions, .. } = passage;
    let request = passage.request();
    let sender = Sender::of(request, passage.decision());
    access::admit(&sender, profile, policy, functions.lists.as_deref()).await?;
    passage.check_rights()?;
    unblocked(passage)?;
    let limits = Limits {
        policy,
        blocked: &profile.blocked_content,
        octets_max: profile.message_octets_max,
    };
    content::check(request, limits, functions.filter.as_deref()).await?;
    if passage.lifetime().is_over(passage.received) {
        return Err(Refusal::Expired);
    }
    Ok(())
}

/// Refuses the kinds of messages that the user blocks: group advertisements as he has senders
/// refused (§7.2.4.7), instant personal alerts with 403 (§6.2.4).
fn unblocked(passage: &Passage<'_>) -> Result<(), Refusal> {
    let Passage { policy, profile, .. } = passage;
    let is = |types: &[String]| content::holds(passage.request(), types);
    if profile.block_group_advertisements && is(&policy.group_advertisement_types) {
        return Err(Refusal::Rejected(profile.reject_answer));
    }
    if profile.block_personal_alerts && is(&policy.personal_alert_types) {
        return Err(Refusal::Rejected(RejectAnswer::Forbidden));
    }
    Ok(())
}

/// Why the user cannot be reached, if he cannot (§7.2.1).
///
/// What the core says of his registration goes before what is kept here; where it says that he is
/// registered and nothing is kept, it is believed.
pub(crate) fn away(passage: &Passage<'_>) -> Option<Cause> {
    let decision = passage.decision();
    let registration = decision.subscriber.registration();
    let has_client = registration.is_none_or(|registration| has_im_contact(registration));
    let settings = passage.profile.settings(passage.received);
    if settings.visibility == Visibility::Offline {
        Some(Cause::Invisible)
    } else if !settings.active {
        Some(Cause::Inactive)
    } else if !decision.is_registered() || !has_client {
        Some(Cause::Unregistered)
    } else {
        None
    }
}

/// Why a message to a user who can be reached is stored all the same. What must not be stored does
/// not wait for anything: it is delivered now or never.
async fn waits(passage: &Passage<'_>) -> Option<Cause> {
    if passage.lifetime() == Lifetime::Immediate || must_not_queue(passage.request()) {
        return None;
    }
    if passage.profile.store_pager_mode {
        return Some(Cause::Setting);
    }
    let deferral = passage.functions.deferral.as_deref()?;
    deferral.pending(passage.cx, &passage.user).await.then_some(Cause::Behind)
}

/// Sends the message to the client and decides within `deliver_wait`, before the sender's Timer F
/// (RFC 4320 §4.2). With several clients the S-CSCF forks, and its one 2xx is theirs.
async fn deliver(passage: Passage<'_>) {
    let edits = amend::passing(passage.request(), &passage.policy, passage.received);
    let mut forwarding = passage.forward(edits);
    let wait = passage.policy.deliver_wait();
    let outcome = tokio::time::timeout(wait, forwarding.outcome()).await;
    let is_known = passage.decision().subscriber.user().is_some();
    let failed = match outcome {
        Ok(Outcome::Final(response)) if defers(response.status(), is_known, &passage.policy) => {
            Some(passage.instead_of(response.status()))
        }
        Ok(Outcome::Final(response)) => return passage.finish(&response),
        // The last two are for INVITE.
        Ok(Outcome::Timeout | Outcome::Unreachable | Outcome::Relayed(_) | Outcome::Cancelled) => {
            Some(Refusal::Unreachable)
        }
        Err(_) => None,
    };
    match failed {
        Some(otherwise) => {
            Box::pin(passage.defer(Cause::Unanswered, &otherwise)).await;
        }
        None => Box::pin(store_meanwhile(passage, forwarding)).await,
    }
}

/// Stores a message that is still on its way to the client. The client may have it after all, and
/// must not get it twice: a late 2xx takes the stored one back.
async fn store_meanwhile(passage: Passage<'_>, mut forwarding: Forwarding) {
    let Passage { functions, cx, .. } = passage;
    let (user, request) = (passage.user.clone(), passage.request().clone());
    let stored = passage.defer(Cause::Unanswered, &Refusal::NotStored).await;
    let Some(seq) = stored else { return };
    if let Outcome::Final(late) = forwarding.outcome().await
        && late.is_success()
        && let Some(deferral) = functions.deferral.as_deref()
    {
        deferral.withdraw(cx, &user, seq).await;
        functions.meter.late.increment(1);
        let case = SessionCase::Terminating;
        note(functions, cx, case, &user, &request, Step::DeliveredLate);
    }
}
