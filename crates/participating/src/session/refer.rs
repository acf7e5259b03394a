//! What a served user asks of a focus: to bring somebody into a session or out of it, and to hear
//! who takes part (OMA-TS-SIMPLE_IM §7.2.2.3, §7.2.3.8, §7.2.3.9).

use parlance_isc::{Outcome, SessionCase};
use parlance_sip::header::ReferTo;
use parlance_sip::{HeaderName, Method};

use super::Asked;
use crate::amend;
use crate::passage::Passage;
use crate::refusal::Refusal;

/// Serves a REFER or SUBSCRIBE: authorises it and sends it on. What follows in its dialog passes.
pub(crate) async fn serve(passage: Passage<'_>) {
    if let Err(refused) = check(&passage.asked()) {
        return passage.refuse(&refused);
    }
    let edits = match passage.case {
        SessionCase::Originating => {
            amend::own_session(passage.request(), &passage.policy, &passage.profile)
        }
        SessionCase::Terminating => amend::session(passage.request(), &passage.policy),
    };
    let mut forwarding = passage.forward(edits);
    match forwarding.outcome().await {
        Outcome::Final(response) => passage.finish(&response),
        // RFC 4320 §4.2.
        Outcome::Timeout => passage.abandon(),
        Outcome::Unreachable | Outcome::Relayed(_) | Outcome::Cancelled => {
            passage.refuse(&Refusal::Unreachable);
        }
    }
}

/// Whether the user may ask for it.
///
/// # Errors
/// The refusal.
pub(crate) fn check(asked: &Asked<'_>) -> Result<(), Refusal> {
    let granted = asked.check_rights();
    match asked.request.method() {
        Method::Subscribe => granted.map_err(|_| Refusal::NotSubscribable),
        Method::Refer => {
            granted?;
            refer_to(asked)?;
            asked.check_request()
        }
        _ => granted,
    }
}

/// A REFER has one target, and is for an INVITE or a BYE (RFC 3515 §2.4.2; RFC 3261 §19.1.1).
fn refer_to(asked: &Asked<'_>) -> Result<(), Refusal> {
    if asked.request.values(HeaderName::ReferTo).count() != 1 {
        return Err(Refusal::BadReferTo);
    }
    let refer_to = asked.request.header::<ReferTo<'_>>().map_err(|_| Refusal::BadReferTo)?;
    let refer_to = refer_to.ok_or(Refusal::BadReferTo)?;
    match refer_to.uri.as_sip().and_then(|sip| sip.params.value("method")) {
        None | Some("INVITE" | "BYE") => Ok(()),
        Some(_) => Err(Refusal::ReferMethod),
    }
}
