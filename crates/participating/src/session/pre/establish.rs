//! The INVITE that establishes a session ahead of time (OMA-TS-SIMPLE_IM §7.2.3.2).

use std::sync::Arc;

use parlance_isc::media::{MediaError, Pair, Towards};
use parlance_isc::session::{Body, Inbox, LegTerms, Lost};
use parlance_isc::{Mode, Rate, Reply, transport_parameter};
use parlance_msrp::relay::PairConfig;
use parlance_sip::Method;
use parlance_sip::header::{Contact, SIP_IM};
use parlance_sip::uri::Aor;

use super::super::chronicle::Chronicle;
use super::super::description::Described as Whole;
use super::description::{self, ATTACHED, CLIENT, Described};
use super::referral::Referrals;
use super::standing::Session;
use super::table::{Full, Limits};
use crate::event::Step;
use crate::passage::{Passage, note};
use crate::refusal::Refusal;

/// Serves a request to the service. An INVITE outside any dialog is all that it has a use for.
pub(crate) async fn serve(passage: Passage<'_>) {
    if passage.request().method() != Method::Invite {
        return passage.into_incoming().reply(&Reply::new(481));
    }
    let chronicle = Chronicle::begin(&passage.asked(), Some(Mode::SessionMode), passage.cx);
    let established = match check(&passage) {
        Ok(()) => agree(&passage, chronicle.is_some()).await,
        Err(refused) => Err(refused),
    };
    match established {
        Ok((client, pair)) => begin(passage, client, pair, chronicle).await,
        Err(refused) => passage.refuse(&refused),
    }
}

/// Whether the user may have one (§7.2.2.1).
fn check(passage: &Passage<'_>) -> Result<(), Refusal> {
    let profile = &passage.profile;
    if !profile.provisioned || profile.barred {
        return Err(Refusal::NotAuthorised);
    }
    passage.asked().check_rights()?;
    let policy = &passage.policy;
    let rate = Rate { per_second: policy.rate_per_user, burst: policy.rate_burst };
    let taken = passage.functions.rates.take(&passage.user, rate, passage.received);
    taken.map_err(Refusal::TooMany)
}

/// Opens the media, which gives out `copies` of what passes, and answers the offer.
async fn agree(passage: &Passage<'_>, copies: bool) -> Result<(Described, Pair), Refusal> {
    let media = &passage.functions.media;
    let offer = Whole::of(passage.request()).ok_or(Refusal::Description)?.sdp;
    let proto = description::proto(&offer).ok_or(Refusal::Description)?;
    let domain = passage.decision().served.identity.as_ref().and_then(Aor::domain);
    let rule = media.tls().of(domain.unwrap_or_default());
    let secure = rule.answers(proto).ok_or(Refusal::Description)?;
    let towards = Towards { offerer: secure, answerer: secure };
    let config = PairConfig { copies, ..PairConfig::default() };
    let mut pair = media.pair(towards, config).await.map_err(refused)?;
    // Nobody is there yet.
    pair.vacate(ATTACHED);
    let session_id = passage.cx.random() >> 1;
    let client = description::answer_client(&offer, &pair, media, session_id).await;
    let client = client.ok_or(Refusal::Description)?;
    pair.agree(CLIENT, &client.agreement).await.map_err(refused)?;
    Ok((client, pair))
}

/// Why there is no media.
pub(super) fn refused(error: MediaError) -> Refusal {
    match error {
        MediaError::NoListener => Refusal::Description,
        MediaError::Busy | MediaError::Gone => Refusal::Unreachable,
    }
}

/// Answers, and serves the session to its end.
async fn begin(passage: Passage<'_>, client: Described, pair: Pair, chronicle: Option<Chronicle>) {
    let Passage { functions, cx, policy, user, .. } = &passage;
    let own = &policy.pre_established;
    let limits = Limits { per_user: own.per_user_max, per_shard: own.per_shard_max };
    let entered = functions.pre_established.enter(user, &device(&passage), cx.shard(), limits);
    let (place, calls) = match entered {
        Ok(entered) => entered,
        Err(full) => {
            let refused = match full {
                Full::User => Refusal::TooManySessions(passage.case),
                Full::Shard => Refusal::Unreachable,
            };
            return passage.refuse(&refused);
        }
    };
    let Some(terms) = terms(&passage, &[Method::Refer]) else {
        return passage.refuse(&Refusal::Unreachable);
    };
    let Some(identity) = identity(&passage) else {
        return passage.refuse(&Refusal::NotAuthorised);
    };
    let (functions, cx, case) = (passage.functions, passage.cx, passage.case);
    let (policy, user) = (Arc::clone(&passage.policy), passage.user.clone());
    let (request, listener) = (passage.request().clone(), passage.source().listener);
    let invite = cx.take(passage.into_incoming());
    let inbox = Inbox::new(cx);
    let (ok, shown) = (invite.response(200), Body::sdp(client.shown.to_string()));
    let accepted = invite.accept(ok, shown, terms.clone(), &inbox.address());
    let leg = match accepted {
        Ok(leg) => leg,
        Err(lost) => {
            let status = lost_status(&lost);
            return note(functions, cx, case, &user, &request, Step::Answered(status));
        }
    };
    note(functions, cx, case, &user, &request, Step::Answered(200));
    let address = inbox.address();
    let session = Session {
        cx: cx.clone(),
        media: functions.media.clone(),
        policy,
        request,
        user,
        identity,
        listener,
        terms,
        address,
        leg,
        pair,
        client,
        is_connected: false,
        attached: None,
        referrals: Referrals::default(),
        chronicle,
    };
    session.run(inbox, calls).await;
    drop(place);
}

/// What the INVITE was answered that could not be accepted.
fn lost_status(lost: &Lost) -> u16 {
    match lost {
        Lost::Cancelled(_) => 487,
        Lost::NotAcknowledged => 504,
        Lost::IntervalTooSmall => 422,
        Lost::Malformed => 400,
        Lost::Busy => 480,
    }
}

/// The user, as others know him.
fn identity(passage: &Passage<'_>) -> Option<Aor> {
    let decision = passage.decision();
    let originator = decision.originator.as_ref().map(|originator| originator.address.clone());
    originator.or_else(|| decision.served.identity.clone())
}

/// The client, as told from the user's others: by its instance, or by where it is (RFC 5626 §4.1).
fn device(passage: &Passage<'_>) -> String {
    let mut contacts = passage.request().list::<Contact<'_>>().filter_map(Result::ok);
    let Some(contact) = contacts.next() else { return String::new() };
    match (contact.instance(), contact.address()) {
        (Some(instance), _) => instance.to_ascii_lowercase(),
        (None, Some(address)) => address.uri.to_string(),
        (None, None) => String::new(),
    }
}

/// What our side of a dialog says of itself; `more` is taken besides what belongs to a session.
/// `None`: it came in nowhere.
pub(super) fn terms(passage: &Passage<'_>, more: &[Method<'static>]) -> Option<LegTerms> {
    use Method::{Ack, Bye, Cancel, Invite, Options, Prack, Refer, Update};
    let local = passage.cx.node().locals.at(passage.source().listener)?;
    let transport = transport_parameter(local.transport);
    let mut terms = LegTerms::new(format!("<sip:{}{transport}>;{SIP_IM}", local.sent_by));
    terms.timer = passage.policy.session.timer();
    if !more.is_empty() {
        terms.allow = &[Invite, Ack, Cancel, Bye, Prack, Update, Options, Refer];
        terms.supported = &["100rel", "timer", "norefersub", "multiple-refer"];
    }
    Some(terms)
}
