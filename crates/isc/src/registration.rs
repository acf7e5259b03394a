//! Registrations as the core reports them: the third-party REGISTER (TS 24.229 §5.4.1.7, §5.7.1.1;
//! OMA-TS-SIMPLE_IM §7.2.1).
//!
//! An S-CSCF sends each one with a new Call-ID and the same CSeq, so that only To tells whom it is
//! about; and it sends none when a registration runs out. Every answer here is a 2xx or a 4xx:
//! after a 408, a 5xx or silence an S-CSCF may de-register the user.

mod availability;
mod contacts;
mod identities;
mod notified;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use availability::{Availability, availability, has_im_contact};
use contacts::Told;
pub(crate) use notified::{Notification, Verdict, verdict};
use parlance_sip::header::{
    Contact, Expires, From as FromHeader, PChargingFunctionAddresses, PChargingVector, To, Value,
};
use parlance_sip::message::Fault;
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Request};
use parlance_store::{
    Binding, Bound, ChargingAddresses, Creation, Millis, Profile, Profiles, Registration,
    Registrations, StoreError, UserId,
};

use crate::decision::{Provisioning, Refusal, RefusalPolicy, refusal};
use crate::service::Services;
use crate::{Private, Reply};

/// What is answered for a user who does not have the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownUser {
    /// 404.
    #[default]
    NotFound,
    /// 200, and nothing is kept: for cores that de-register a user on a 4xx.
    Ignore,
}

/// How the operator wants registrations kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationPolicy {
    /// How long a binding counts after its expiry, for a refresh that is late. Default 30 s.
    pub grace: Duration,
    /// Who says which users have the service; default the core. Then the first registration of a
    /// user makes his profile.
    pub provisioning: Provisioning,
    /// What is answered for a user who does not have it; default 404.
    pub unknown_user: UnknownUser,
    /// How refusals are worded.
    pub refusals: RefusalPolicy,
}

impl Default for RegistrationPolicy {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(30),
            provisioning: Provisioning::default(),
            unknown_user: UnknownUser::default(),
            refusals: RefusalPolicy::default(),
        }
    }
}

/// Why a registration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The core said so: `Expires: 0`.
    ByCore,
    /// The last contact with the feature tag of the service lost it, or went. Others may be left.
    TagLost,
    /// It ran out, and its grace with it.
    Lapsed,
    /// A terminating request says that the user is not registered.
    Unregistered,
    /// A notification of the `reg` event says so: the registration is terminated, or no contact
    /// is left (RFC 3680).
    Notified,
}

/// What happened to a registration.
#[derive(Clone, PartialEq, Eq)]
pub enum RegistrationEvent {
    /// The user is registered.
    Registered {
        /// As it is now.
        registration: Arc<Registration>,
        /// He was not before. What happens once for a registration happens for these only.
        new: bool,
        /// He has a profile only now: he never registered before.
        first_ever: bool,
    },
    /// The user is no longer registered.
    Deregistered {
        /// Who.
        user: UserId,
        /// As it was.
        registration: Arc<Registration>,
        /// Why.
        why: Ended,
    },
}

impl fmt::Debug for RegistrationEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered { registration, new, first_ever } => f
                .debug_struct("Registered")
                .field("user", &Private(registration.user.as_ref()))
                .field("new", new)
                .field("first_ever", first_ever)
                .finish_non_exhaustive(),
            Self::Deregistered { user, why, .. } => f
                .debug_struct("Deregistered")
                .field("user", &Private(user))
                .field("why", why)
                .finish_non_exhaustive(),
        }
    }
}

/// What a REGISTER led to: the answer, and what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The final response.
    pub reply: Reply,
    /// What happened, if anything did. The answer goes first.
    pub event: Option<RegistrationEvent>,
}

/// Keeps the registrations.
pub struct Registrar {
    profiles: Arc<dyn Profiles>,
    registrations: Arc<dyn Registrations>,
    policy: RegistrationPolicy,
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// Why a REGISTER changed nothing.
enum Failure {
    Refused(Refusal),
    /// The operator wants such users ignored.
    Ignored,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // An identity or a list that no store takes is the peer's mistake.
        if let StoreError::Invalid(what) = error {
            tracing::warn!(what, "third-party REGISTER with unusable values");
            return Self::Refused(Refusal::Malformed(Fault::Header(HeaderName::To)));
        }
        tracing::error!(%error, "registration not stored");
        Self::Refused(Refusal::StoreUnavailable)
    }
}

impl Registrar {
    /// Keeps registrations in these stores.
    pub fn new(
        profiles: Arc<dyn Profiles>,
        registrations: Arc<dyn Registrations>,
        policy: RegistrationPolicy,
    ) -> Self {
        Self { profiles, registrations, policy }
    }

    /// Serves a third-party REGISTER of a trusted neighbour at `now`. The binding is durable when
    /// the answer is there. Path and Event are not looked at.
    ///
    /// Two REGISTERs for one user at the same moment are each kept whole; which contacts the later
    /// one finds is then open.
    pub async fn third_party(
        &self,
        request: &Request,
        services: &Services,
        now: Millis,
    ) -> Outcome {
        match self.serve(request, services, now).await {
            Ok((expires, event)) => Outcome { reply: accepted(expires), event },
            Err(Failure::Ignored) => {
                let expires = expires(request).unwrap_or_default();
                Outcome { reply: accepted(expires), event: None }
            }
            Err(Failure::Refused(refused)) => {
                Outcome { reply: refusal(&refused, &self.policy.refusals), event: None }
            }
        }
    }

    /// Ends the registration of a user whom a terminating request of the core calls unregistered,
    /// whatever its own timer says (RFC 5502 §6).
    ///
    /// # Errors
    /// Those of the store.
    pub async fn unregistered(
        &self,
        user: &UserId,
    ) -> Result<Option<RegistrationEvent>, StoreError> {
        let was = self.registrations.unbind(user).await?;
        Ok(ended(user.clone(), was, Ended::Unregistered))
    }

    /// Ends what ran out by `now`, at most `limit` registrations; to be called every second or so.
    ///
    /// # Errors
    /// Those of the store; what ended before stays ended.
    pub async fn lapse(
        &self,
        now: Millis,
        limit: usize,
    ) -> Result<Vec<RegistrationEvent>, StoreError> {
        let mut events = Vec::new();
        for registration in self.registrations.lapsed(now, limit).await? {
            let Some(user) = registration.user.clone() else { continue };
            let was = self.registrations.lapse(&user, now).await?;
            events.extend(ended(user, was, Ended::Lapsed));
        }
        Ok(events)
    }

    async fn serve(
        &self,
        request: &Request,
        services: &Services,
        now: Millis,
    ) -> Result<(u32, Option<RegistrationEvent>), Failure> {
        let expires = expires(request)?;
        let public_id = registered_identity(request)?;
        if public_id.domain().is_some() && !services.serves(&public_id) {
            return Err(self.unknown_user());
        }
        let associated = identities::associated(request);
        let user = identities::user(&*self.profiles, &public_id, associated.as_deref()).await?;
        let profile = self.profiles.profile(&user).await?;
        if !self.has_service(profile.as_deref()) {
            return Err(self.unknown_user());
        }
        let known = self.registrations.lookup(&user).await?;
        let known = known.filter(|known| !known.has_lapsed(now));
        let (call_id, cseq) = sequence(request)?;
        // Of one Call-ID a CSeq that is not higher is late or repeated (RFC 3261 §10.3 step 7).
        if known.as_ref().is_some_and(|known| known.call_id == call_id && cseq <= known.cseq) {
            return Err(Refusal::StaleRegister.into());
        }
        if expires == 0 {
            let was = self.registrations.unbind(&user).await?;
            return Ok((expires, ended(user, was, Ended::ByCore)));
        }
        let told = Told::read(request);
        let contacts = told.map(|told| told.merge(known.as_deref()));
        let has_tag = match &contacts {
            Some(contacts) => contacts.iter().any(|contact| contact.has_im_tag),
            None => known.as_deref().is_none_or(has_im_contact),
        };
        let was = self.end_at_change(&user, known.as_deref(), has_tag).await?;
        if contacts.as_ref().is_some_and(Vec::is_empty) {
            return Ok((expires, ended(user, was, Ended::TagLost)));
        }
        let binding = Binding {
            user: user.clone(),
            public_id: public_id.to_string(),
            aliases: associated.map(|aliases| aliases.iter().map(Aor::to_string).collect()),
            scscf: scscf(request)?,
            expires,
            grace: self.policy.grace,
            contacts,
            charging: charging(request).or_else(|| was.as_ref().map(|was| was.charging.clone())),
            orig_ioi: orig_ioi(request)
                .or_else(|| was.as_ref().and_then(|was| was.orig_ioi.clone())),
            barred: profile.as_ref().is_some_and(|profile| profile.barred),
            call_id,
            cseq,
        };
        let (registration, new) = match self.registrations.bind(binding, now).await? {
            Bound::New(registration) => (registration, true),
            Bound::Refreshed(registration) => (registration, false),
            Bound::Stale => return Err(Refusal::StaleRegister.into()),
        };
        if !has_tag {
            return Ok((expires, ended(user, was, Ended::TagLost)));
        }
        // After the binding: were it the other way round, a crash in between would lose the news
        // that this is the first registration.
        let creation = self.profiles.create_default(&user, now).await?;
        let first_ever = matches!(creation, Creation::Created(_));
        Ok((expires, Some(RegistrationEvent::Registered { registration, new, first_ever })))
    }

    fn has_service(&self, profile: Option<&Profile>) -> bool {
        match (profile, self.policy.provisioning) {
            (Some(profile), _) => profile.provisioned,
            (None, Provisioning::ByCore) => true,
            (None, Provisioning::ByOperator) => false,
        }
    }

    /// For instant messages a registration begins and ends with the feature tag, so that one that
    /// has it again has another number. Without it the binding is kept all the same: a core that
    /// calls the user registered would otherwise be believed (PF-004). Returns what ended.
    async fn end_at_change(
        &self,
        user: &UserId,
        known: Option<&Registration>,
        has_tag: bool,
    ) -> Result<Option<Arc<Registration>>, StoreError> {
        match known {
            Some(known) if has_im_contact(known) != has_tag => {
                self.registrations.unbind(user).await
            }
            Some(_) | None => Ok(None),
        }
    }

    fn unknown_user(&self) -> Failure {
        match self.policy.unknown_user {
            UnknownUser::NotFound => Refusal::NotFound.into(),
            UnknownUser::Ignore => Failure::Ignored,
        }
    }
}

fn accepted(expires: u32) -> Reply {
    Reply::new(200).with(HeaderName::Expires, expires)
}

/// A registration without the feature tag was none for instant messages: nothing happened.
fn ended(user: UserId, was: Option<Arc<Registration>>, why: Ended) -> Option<RegistrationEvent> {
    was.filter(|was| has_im_contact(was)).map(|registration| RegistrationEvent::Deregistered {
        user,
        registration,
        why,
    })
}

/// The period, from Expires or else from Contact (RFC 3261 §10.2.1.1).
fn expires(request: &Request) -> Result<u32, Refusal> {
    let bad = |_| Refusal::Malformed(Fault::Header(HeaderName::Expires));
    if let Some(expires) = request.header::<Expires>().map_err(bad)? {
        return Ok(expires.0);
    }
    let contact = request.list::<Contact<'_>>().find_map(Result::ok);
    let missing = Refusal::Malformed(Fault::Missing(HeaderName::Expires));
    contact.and_then(|contact| contact.expires()).ok_or(missing)
}

/// The registered identity, in To.
fn registered_identity(request: &Request) -> Result<Aor, Refusal> {
    let bad = || Refusal::Malformed(Fault::Header(HeaderName::To));
    match request.header::<To<'_>>() {
        Ok(Some(to)) => Aor::from_uri(&to.uri()).ok_or_else(bad),
        Ok(None) => Err(Refusal::Malformed(Fault::Missing(HeaderName::To))),
        Err(_) => Err(bad()),
    }
}

/// Call-ID and CSeq number.
fn sequence(request: &Request) -> Result<(String, u32), Refusal> {
    let cseq = request.cseq().ok_or(Refusal::Malformed(Fault::Header(HeaderName::CSeq)))?;
    Ok((String::from_utf8_lossy(request.call_id()).into_owned(), cseq.number))
}

/// The S-CSCF: Contact, or From where that is missing.
fn scscf(request: &Request) -> Result<String, Refusal> {
    let contact = request.list::<Contact<'_>>().find_map(Result::ok);
    if let Some(address) = contact.as_ref().and_then(Contact::address) {
        return Ok(address.uri.to_string());
    }
    let from = request.header::<FromHeader<'_>>().ok().flatten();
    let missing = Refusal::Malformed(Fault::Missing(HeaderName::Contact));
    from.map(|from| from.uri().to_string()).ok_or(missing)
}

fn charging(request: &Request) -> Option<ChargingAddresses> {
    let list = || request.list::<PChargingFunctionAddresses<'_>>().filter_map(Result::ok);
    list().next()?;
    Some(ChargingAddresses {
        ccf: list().flat_map(|element| element.ccf()).map(text).collect(),
        ecf: list().flat_map(|element| element.ecf()).map(text).collect(),
    })
}

/// Only the operator is kept: the identifier beside it names this registration and nothing else
/// (RFC 7315 §4.6).
fn orig_ioi(request: &Request) -> Option<String> {
    let vector = request.header::<PChargingVector<'_>>().ok().flatten()?;
    vector.orig_ioi().map(text)
}

fn text(value: Value<'_>) -> String {
    String::from_utf8_lossy(&value.unquoted()).into_owned()
}

#[cfg(test)]
mod tests;
