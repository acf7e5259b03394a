//! The settings that a user publishes (OMA-TS-SIMPLE_IM §6.1.2, §7.2.3.16; RFC 3903 §6).
//!
//! The last document counts, whichever of his clients it is from: the server composes nothing. It
//! holds until it runs out, is removed, or the registration ends in which it was published.

use std::sync::Arc;
use std::time::Duration;

use parlance_content::MediaType;
use parlance_content::im_settings::{ImSettings, MEDIA_TYPE, OfflineDelivery, VisStatus};
use parlance_isc::served_user::{Subscriber, look_up};
use parlance_isc::{Cx, Decision, Incoming, Private, Rate, Reply};
use parlance_sip::header::{ContentEncoding, Event, Expires, Header, SipIfMatch};
use parlance_sip::publication::{self, Body, Limits, Operation, Publish};
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Request};
use parlance_store::{
    Deferral, Millis, Profile, Profiles, Publication, PublishedSettings, StoreError, UserId,
    Visibility,
};

use crate::content::content_type;
use crate::policy::Policy;
use crate::refusal::{Refusal, refusal};
use crate::role::Functions;

/// How long a PUBLISH waits for the third-party REGISTER that it overtook: a client publishes as
/// soon as it is registered (§6.1.1.2), and the S-CSCF tells us after it told the client. Together
/// less than the 3 s after which an S-CSCF goes on without us; local value.
const REGISTER_TRIES: usize = 20;
const REGISTER_PAUSE: Duration = Duration::from_millis(100);

/// Serves a PUBLISH of a user. It is answered 200 when what it says is durable.
pub(crate) async fn serve(functions: &Functions, cx: &Cx, policy: &Policy, incoming: Incoming) {
    match publish(functions, cx, policy, incoming.request(), incoming.decision()).await {
        Ok((user, reply)) => {
            incoming.reply(&reply);
            if let Some(deferral) = &functions.deferral {
                deferral.changed(cx, &user);
            }
        }
        Err(refused) => {
            functions.meter.refused(&refused);
            let call_id = String::from_utf8_lossy(incoming.request().call_id());
            tracing::debug!(%call_id, why = refused.label(), "settings not taken");
            incoming.reply(&refusal(&refused, policy));
        }
    }
}

/// In the order of RFC 3903 §6.
async fn publish(
    functions: &Functions,
    cx: &Cx,
    policy: &Policy,
    request: &Request,
    decision: &Decision,
) -> Result<(UserId, Reply), Refusal> {
    let (user, profile) = owner(cx, request, decision).await?;
    let rate = Rate { per_second: policy.rate_per_user, burst: policy.rate_burst };
    functions.rates.take(&user, rate, cx.now()).map_err(Refusal::TooMany)?;
    let now = cx.now();
    let current = profile.as_ref().and_then(|profile| profile.publication(now));
    let asked = Asked::read(request)?;
    let (operation, expires) = asked.judge(&policy.settings.limits(), request, current)?;
    let settings = match (operation, current) {
        (Operation::Refresh, Some(current)) => current.settings,
        (Operation::Remove, _) if request.body().is_empty() => PublishedSettings::default(),
        _ => read(request)?,
    };
    let etag = format!("{:016x}{:016x}", cx.random(), cx.random());
    let expires_at = now + Duration::from_secs(expires.into());
    let publication = Publication { etag: etag.clone(), since: now, expires_at, settings };
    let publication = (operation != Operation::Remove).then_some(publication);
    let over = asked.if_match.first().copied();
    if publication.is_some() || over.is_some() {
        let done = cx.node().profiles.publish(&user, publication, over, now).await;
        done.map_err(|error| fault(&error))?;
    }
    let reply = Reply::new(200).with(HeaderName::SipETag, etag);
    Ok((user, reply.with(HeaderName::Expires, expires)))
}

/// Whose settings they are, and what is kept about him: nobody publishes those of another.
async fn owner(
    cx: &Cx,
    request: &Request,
    decision: &Decision,
) -> Result<(UserId, Option<Arc<Profile>>), Refusal> {
    let served = decision.served.identity.as_ref().ok_or(Refusal::NotAuthorised)?;
    let subscriber = registered(cx, served, &decision.subscriber).await?;
    let target = request.uri().and_then(|uri| Aor::from_uri(&uri));
    let is_own = |target: &Aor| target == served || subscriber.has(target);
    if !target.as_ref().is_some_and(is_own) {
        return Err(Refusal::SettingsOfAnother);
    }
    match &subscriber {
        Subscriber::Known { user, profile, .. } => Ok((user.clone(), profile.clone())),
        // A number is an alias, but nobody says of whom.
        Subscriber::Unknown if served.scheme() == "tel" => Err(Refusal::NotRegistered),
        Subscriber::Unknown => Ok((UserId::from(served.as_str()), None)),
    }
}

/// The user, registered if that takes no longer than it may; one whose REGISTERs nobody tells us
/// publishes all the same.
async fn registered(cx: &Cx, served: &Aor, known: &Subscriber) -> Result<Subscriber, Refusal> {
    let mut found = known.clone();
    let node = cx.node();
    for _ in 0..REGISTER_TRIES {
        if found.registration().is_some() {
            break;
        }
        cx.after(REGISTER_PAUSE).await;
        let looked = look_up(&*node.profiles, &*node.registrations, served, cx.now()).await;
        found = looked.map_err(|error| fault(&error))?;
    }
    Ok(found)
}

fn fault(error: &StoreError) -> Refusal {
    match error {
        // Another of his clients was faster.
        StoreError::Conflict => Refusal::Publication(publication::Refusal::Stale),
        StoreError::Invalid(_) => Refusal::NotAuthorised,
        error => {
            tracing::error!(%error, "published settings not stored");
            Refusal::Fault
        }
    }
}

/// What a PUBLISH asks for in its head.
struct Asked<'a> {
    if_match: Vec<&'a str>,
    expires: Option<u32>,
}

impl<'a> Asked<'a> {
    fn read(request: &'a Request) -> Result<Self, Refusal> {
        let malformed = |_| Refusal::Publication(publication::Refusal::Malformed);
        let tags = request.values(HeaderName::SipIfMatch).map(SipIfMatch::parse);
        let if_match = tags.map(|tag| tag.map(|tag| tag.as_str())).collect::<Result<_, _>>();
        let if_match = if_match.map_err(malformed)?;
        let expires = request.header::<Expires>().map_err(malformed)?.map(|expires| expires.0);
        Ok(Self { if_match, expires })
    }

    fn judge(
        &self,
        limits: &Limits,
        request: &Request,
        current: Option<&Publication>,
    ) -> Result<(Operation, u32), Refusal> {
        let event = request.header::<Event<'_>>().ok().flatten();
        let body = (!request.body().is_empty())
            .then(|| Body { supported: is_settings(request), octets: request.body() });
        let facts = Publish {
            resource: "",
            event: event.as_ref().map(|event| event.name()),
            if_match: &self.if_match,
            expires: self.expires,
            body,
        };
        let is_current = |etag: &str| current.is_some_and(|current| current.etag == etag);
        limits.judge(&facts, is_current).map_err(Refusal::Publication)
    }
}

fn is_settings(request: &Request) -> bool {
    MediaType::parse(&content_type(request)).is_ok_and(|media| media.is(MEDIA_TYPE))
}

/// What the document says.
fn read(request: &Request) -> Result<PublishedSettings, Refusal> {
    let mut codings = request.list::<ContentEncoding<'_>>().filter_map(Result::ok);
    if codings.any(|coding| !coding.is_identity()) {
        return Err(Refusal::SettingsCoding);
    }
    let document = ImSettings::parse(request.body());
    let document = document.map_err(|error| Refusal::SettingsDocument(error.to_string()))?;
    Ok(settings(&document))
}

/// A document in the terms of a profile (§7.2.3.16).
fn settings(document: &ImSettings) -> PublishedSettings {
    let (offline_delivery, deferral) = match document.offline_delivery {
        None => (None, None),
        Some(OfflineDelivery::Store) => (Some(true), Some(Deferral::None)),
        Some(OfflineDelivery::Push) => (Some(true), Some(Deferral::PushMessage)),
        Some(OfflineDelivery::Notify) => (Some(true), Some(Deferral::Notify)),
        Some(OfflineDelivery::Reject) => (Some(false), None),
    };
    PublishedSettings {
        active: document.active,
        visibility: document.vis_status.map(|status| match status {
            VisStatus::Visible => Visibility::Visible,
            VisStatus::Hidden => Visibility::Hidden,
            VisStatus::Offline => Visibility::Offline,
        }),
        offline_delivery,
        deferral,
        session_history: document.session_history,
        pager_large_history: document.pager_large_history,
    }
}

/// Ends what users published and has run out by `now`, at most `limit` publications; to be called
/// every second or so. Returns the users for whom what is provisioned holds again.
///
/// # Errors
/// Those of the store; what ended before stays ended.
pub async fn end_published(
    profiles: &dyn Profiles,
    now: Millis,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let mut ended = Vec::new();
    for user in profiles.lapsed_publications(now, limit).await? {
        if profiles.end_publication(&user, now).await? {
            tracing::debug!(user = %Private(&user), "published settings ran out");
            ended.push(user);
        }
    }
    Ok(ended)
}
