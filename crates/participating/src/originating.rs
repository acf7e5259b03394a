//! A message of a served user on its way out (OMA-TS-SIMPLE_IM §7.2.2.1, §7.2.2.4, §7.2.2.9).

use parlance_isc::{Outcome, Rate};
use parlance_sip::header::Privacy;
use parlance_sip::uri::Aor;

use crate::amend;
use crate::content::{self, Limits};
use crate::passage::Passage;
use crate::refusal::Refusal;
use crate::rights;

/// Serves the sender: policy, then on towards the recipient, and his final response back.
///
/// That the sender is authenticated, provisioned, and himself in From was decided before.
pub(crate) async fn serve(passage: Passage<'_>) {
    if let Err(refused) = check(&passage).await {
        return passage.refuse(&refused);
    }
    let request = passage.request();
    let edits = amend::originating(request, &passage.policy, &passage.profile, passage.received);
    let mut forwarding = passage.forward(edits);
    match forwarding.outcome().await {
        Outcome::Final(response) => passage.finish(&response),
        // A 408 would be too late for everybody; the sender's own Timer F ends it (RFC 4320 §4.2).
        Outcome::Timeout => passage.abandon(),
        // The last two are for INVITE.
        Outcome::Unreachable | Outcome::Relayed(_) | Outcome::Cancelled => {
            passage.refuse(&Refusal::Unreachable);
        }
    }
}

/// What the operator asks of a sender, in the order of §7.2.2.1.
async fn check(passage: &Passage<'_>) -> Result<(), Refusal> {
    let Passage { policy, functions, user, .. } = passage;
    let request = passage.request();
    passage.check_rights()?;
    rights::check(request, passage.decision(), policy, &passage.profile)?;
    let limits = Limits { policy, blocked: &[], octets_max: None };
    content::check(request, limits, functions.filter.as_deref()).await?;
    if policy.cpim_from_must_match && !content::cpim_from_is_his(request, passage.decision()) {
        return Err(Refusal::ForeignFrom);
    }
    if !policy.blocked_targets.is_empty()
        && let Some(target) = request.uri().and_then(|uri| Aor::from_uri(&uri))
        && policy.blocked_targets.iter().any(|pattern| pattern.covers(&target))
    {
        return Err(Refusal::BlockedTarget);
    }
    let privacy = request.header::<Privacy<'_>>().ok().flatten();
    if privacy.is_some_and(|privacy| privacy.is_critical_and_unknown()) {
        return Err(Refusal::Privacy);
    }
    if passage.lifetime().is_over(passage.received) {
        return Err(Refusal::Expired);
    }
    let rate = Rate { per_second: policy.rate_per_user, burst: policy.rate_burst };
    functions.rates.take(user, rate, passage.received).map_err(Refusal::TooMany)
}
