//! Taking a message: whether it may be exploded, and to whom (OMA-TS-SIMPLE_IM §7.4.1.1, §7.4.1.6,
//! §7.4.1.7; RFC 5365 §7).
//!
//! That it did not come from another exploder and that its sender is authenticated was decided
//! before.

use std::time::Duration;

use parlance_content::Handling;
use parlance_content::cpim::{self, Cpim};
use parlance_content::imdn::Asked;
use parlance_isc::served_user::look_up;
use parlance_isc::service::Service;
use parlance_isc::trust::Originator;
use parlance_isc::{Cx, Function, Incoming, Rate};
use parlance_sip::Request;
use parlance_sip::header::Require;
use parlance_sip::uri::Aor;
use parlance_store::{Begun, DedupKey, Explosion, Millis, NewExplosion, UserId};

use super::copy::{Content, Template};
use super::job::{About, Job, Recipient, deadline, dedup};
use super::{Exploding, Running};
use crate::caller;
use crate::groups::Who;
use crate::list::{Body, Invitee, invitees};
use crate::policy::Policy;
use crate::refusal::{Refusal, refusal};

/// The extension that makes a list of recipients one (RFC 5365 §9).
const RECIPIENT_LIST_MESSAGE: &str = "recipient-list-message";

/// What a sender uses the function for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A MESSAGE.
    Pager,
    /// A large message.
    Large,
}

impl Exploding {
    /// Serves a MESSAGE to the exploder or to a group: checks, keeps, answers, and sends the
    /// copies.
    pub(crate) async fn serve(&self, cx: &Cx, incoming: Incoming) {
        let policy = self.exploder.policy();
        // Counted from here on, so that a server that stops waits for what it has answered 202.
        let running = Running::new(&self.exploder);
        match self.accept(cx, &incoming, &policy).await {
            Ok(accepted) => {
                let response = incoming.response(202);
                incoming.answer(response);
                metrics::counter!("parlance_explosions_total").increment(1);
                if let Some(explosion) = accepted {
                    Box::pin(self.exploder.run(cx, explosion, running)).await;
                }
            }
            Err(refused) => {
                let why = refused.label();
                metrics::counter!("parlance_controlling_refused_total", "why" => why).increment(1);
                incoming.reply(&refusal(&refused, &policy));
            }
        }
    }

    /// The explosion, durably kept; `None`: it is the same as one before.
    async fn accept(
        &self,
        cx: &Cx,
        incoming: &Incoming,
        policy: &Policy,
    ) -> Result<Option<Explosion>, Refusal> {
        let request = incoming.request();
        let decision = incoming.decision();
        let originator = decision.originator.as_ref().ok_or(Refusal::NotAllowed)?;
        let wants_report = self.check_service(cx, originator, Use::Pager).await?;
        let body = Body::read(request)?;
        let Function::Controlling(service) = decision.role else {
            return Err(Refusal::NotAllowed);
        };
        let is_group = service == Service::Group;
        let recipients = self.recipients(cx, request, &body, originator, is_group, policy).await?;
        let content = Content::of(request, &body).ok_or(Refusal::Malformed("No message"))?;
        if content.octets() > policy.explode.content_octets_max as usize {
            return Err(Refusal::TooLarge(policy.explode.content_octets_max));
        }
        let now = cx.now();
        let deadline = deadline(request, now);
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Refusal::Expired);
        }
        let dedup = dedup(originator.address.as_str(), request);
        if self.is_known(dedup, now).await? {
            return Ok(None);
        }
        self.check_rate(cx, originator, recipients.len(), policy)?;
        let template = Template {
            request,
            originator,
            is_inside: decision.peer.is_inside(),
            domains: &self.exploder.0.setup.domains,
            group: is_group.then(|| request.uri_text()),
            policy,
        };
        let seen = if is_group { &[] } else { recipients.as_slice() };
        let template = template.build(content, seen, &cx.tag());
        let template = template.ok_or(Refusal::Malformed("Bad content"))?;
        let about = About {
            originator: originator.address.to_string(),
            service: String::from_utf8_lossy(request.uri_text()).into_owned(),
            is_group,
            notify: wants_notifications(&template),
            report: wants_report,
            ..About::default()
        };
        let give_up = now + Duration::from_secs(policy.explode.give_up_s.into());
        let new = NewExplosion {
            dedup,
            received: now,
            expires: deadline.map_or(give_up, |deadline| deadline.min(give_up)),
            seed: seed(cx),
            payload: Job { about, template }.write(),
            recipients: self.records(recipients).await?,
        };
        self.begin(cx, new, policy).await
    }

    /// To whom a MESSAGE to a group, or with a list, goes.
    async fn recipients(
        &self,
        cx: &Cx,
        request: &Request,
        body: &Body,
        originator: &Originator,
        is_group: bool,
        policy: &Policy,
    ) -> Result<Vec<Invitee>, Refusal> {
        let recipients = match is_group {
            true => self.members(cx, request, body, originator, policy, Use::Pager).await?,
            false => listed(request, body, originator, policy)?,
        };
        if recipients.is_empty() {
            return Err(Refusal::NobodyThere);
        }
        if !is_group {
            let names = service_names(originator, request);
            self.check_consent(cx, &names, &recipients, &policy.explode).await?;
        }
        Ok(recipients)
    }

    /// Whether the message came before and is recognised: it costs its sender nothing.
    pub(super) async fn is_known(&self, dedup: DedupKey, now: Millis) -> Result<bool, Refusal> {
        let known = self.exploder.0.setup.explosions.known(dedup, now).await;
        known.map(|known| known.is_some()).map_err(|error| {
            tracing::warn!(%error, "whether a message to many came before cannot be read");
            Refusal::Unavailable
        })
    }

    pub(super) async fn begin(
        &self,
        cx: &Cx,
        new: NewExplosion,
        policy: &Policy,
    ) -> Result<Option<Explosion>, Refusal> {
        let explosions = &self.exploder.0.setup.explosions;
        let most = u64::from(policy.explode.explosions_max);
        let begun = explosions.begin(new.clone(), most, cx.now()).await;
        match begun {
            Ok(Begun::New(id)) => Ok(Some(Explosion {
                id,
                received: new.received,
                expires: new.expires,
                seed: new.seed,
                payload: new.payload,
                recipients: new.recipients,
                outcomes: std::collections::BTreeMap::new(),
            })),
            Ok(Begun::Duplicate(_)) => Ok(None),
            Ok(Begun::Full) => Err(Refusal::TooManySessions),
            Err(error) => {
                tracing::warn!(%error, "a message to many cannot be kept");
                Err(Refusal::Unavailable)
            }
        }
    }

    /// Whether the sender may use the service, as far as he is a user here; says whether he wants
    /// to be told how it went.
    pub(super) async fn check_service(
        &self,
        cx: &Cx,
        originator: &Originator,
        used: Use,
    ) -> Result<bool, Refusal> {
        let node = cx.node();
        let known =
            look_up(&*node.profiles, &*node.registrations, &originator.address, cx.now()).await;
        let known = known.map_err(|_| Refusal::Unavailable)?;
        let Some(profile) = known.profile() else { return Ok(false) };
        let granted = match used {
            Use::Pager => profile.rights.pager,
            Use::Large => profile.rights.large,
        };
        if profile.barred || !profile.provisioned || !granted {
            return Err(Refusal::NotAuthorised);
        }
        Ok(profile.explosion_reports)
    }

    /// The members of the group the request is addressed to, without the sender.
    pub(super) async fn members(
        &self,
        cx: &Cx,
        request: &Request,
        body: &Body,
        originator: &Originator,
        policy: &Policy,
        used: Use,
    ) -> Result<Vec<Invitee>, Refusal> {
        if !body.lists.is_empty() {
            return Err(Refusal::Malformed("A group takes no list"));
        }
        let identity = request.uri().and_then(|uri| Aor::from_uri(&uri));
        let identity = identity.ok_or(Refusal::NotFound)?;
        let group = self.groups.group(&identity).await.map_err(|_| Refusal::Unavailable)?;
        let group = group.ok_or(Refusal::NotFound)?;
        if !group.supports(&policy.enablers) {
            return Err(Refusal::NotAllowed);
        }
        let names = names(originator);
        let anonymous = caller::is_anonymous(request);
        let rights = group.rights(Who { names: &names, anonymous, now: cx.now() });
        match rights {
            rights if rights.blocked => return Err(Refusal::Blocked),
            rights if !rights.join => return Err(Refusal::NotMember),
            // It is a session that he begins (§7.4.1.3).
            rights if used == Use::Large && !rights.initiate => return Err(Refusal::NotAllowed),
            rights if anonymous && !rights.anonymity => return Err(Refusal::Anonymous),
            _ => {}
        }
        let others = group.members().iter().filter(|member| !names.contains(&member.address));
        others.map(|member| Invitee::new(&member.uri)).collect()
    }

    pub(super) fn check_rate(
        &self,
        cx: &Cx,
        originator: &Originator,
        copies: usize,
        policy: &Policy,
    ) -> Result<(), Refusal> {
        let explode = &policy.explode;
        let rate = Rate { per_second: explode.copies_per_second, burst: explode.copies_burst };
        let user = UserId::from(originator.address.as_str());
        let copies = u32::try_from(copies).unwrap_or(u32::MAX);
        let taken = self.exploder.0.rates.take_many(&user, copies, rate, cx.now());
        taken.map_err(Refusal::TooMuch)
    }

    /// The recipients as they are kept. A hosted group among them gets nothing: groups do not
    /// nest (OMA-AD-SIMPLE_IM §5.3.2.1.3).
    pub(super) async fn records(&self, recipients: Vec<Invitee>) -> Result<Vec<String>, Refusal> {
        let mut records = Vec::with_capacity(recipients.len());
        for Invitee { address, uri, headers, .. } in recipients {
            let group = self.groups.group(&address).await.map_err(|_| Refusal::Unavailable)?;
            // Replaces is for an INVITE.
            let headers = headers.into_iter().filter(|(name, _)| *name != "Replaces");
            let headers = headers.map(|(name, value)| (name.to_owned(), value)).collect();
            records.push(Recipient { uri, headers, nested: group.is_some() }.write());
        }
        Ok(records)
    }
}

/// Whom the lists of the request name, without the sender.
fn listed(
    request: &Request,
    body: &Body,
    originator: &Originator,
    policy: &Policy,
) -> Result<Vec<Invitee>, Refusal> {
    let mut required = request.list::<Require<'_>>().filter_map(Result::ok);
    if !required.any(|tag| tag.is(RECIPIENT_LIST_MESSAGE)) {
        return Err(Refusal::Malformed("No Require: recipient-list-message"));
    }
    if body.lists.is_empty() {
        return Err(Refusal::Malformed("No recipient list"));
    }
    invitees(&body.lists, &names(originator), policy.adhoc_group_size_max as usize)
}

/// The same for an INVITE (CF-004): without a list there is nobody the message could go to.
pub(super) fn listed_for_invite(
    body: &Body,
    originator: &Originator,
    policy: &Policy,
) -> Result<Vec<Invitee>, Refusal> {
    if body.lists.is_empty() {
        return Err(Refusal::Malformed("A large message goes to users or groups"));
    }
    invitees(&body.lists, &names(originator), policy.adhoc_group_size_max as usize)
}

/// Who sends to the recipients of a list: its sender, and the service that he uses.
pub(super) fn service_names(originator: &Originator, request: &Request) -> Vec<Aor> {
    let mut names = names(originator);
    names.extend(request.uri().and_then(|uri| Aor::from_uri(&uri)));
    names
}

fn names(originator: &Originator) -> Vec<Aor> {
    let alias = originator.alias.iter().cloned();
    std::iter::once(originator.address.clone()).chain(alias).collect()
}

/// Whether the sender of a `message/cpim` asks to be notified of failures (RFC 5438 §6.2).
pub(super) fn wants_notifications(template: &Request) -> bool {
    cpim_of(template).is_some_and(|cpim| Asked::of(&cpim).negative_delivery)
}

/// The `message/cpim` that a copy carries: as its whole content, or as the one part of it that must
/// be understood.
pub(super) fn cpim_of(template: &Request) -> Option<Cpim> {
    let read = |octets| Cpim::parse(octets, &cpim::Limits::default()).ok();
    let body = Body::read(template).ok()?;
    if let Some((content_type, octets)) = &body.single {
        let media = parlance_content::MediaType::parse(content_type).ok()?;
        return if media.is("message/cpim") { read(octets) } else { None };
    }
    let needed = |part: &&parlance_content::multipart::Part| {
        part.headers.content_disposition().map(|kind| kind.handling()) != Some(Handling::Optional)
    };
    let mut needed = body.parts.iter().filter(needed);
    let (part, None) = (needed.next()?, needed.next()) else { return None };
    if part.headers.is_type("message/cpim") { read(&part.body) } else { None }
}

pub(super) fn seed(cx: &Cx) -> [u8; 16] {
    let mut seed = [0; 16];
    let words = [cx.random(), cx.random()].map(u64::to_be_bytes);
    seed.iter_mut().zip(words.as_flattened()).for_each(|(octet, from)| *octet = *from);
    seed
}
