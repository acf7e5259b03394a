//! Taking a large message for many: the function is the end of the MSRP session in which it comes
//! (OMA-TS-SIMPLE_IM §7.4.1.3, §7.4.2).
//!
//! | what | answer |
//! |---|---|
//! | INVITE, the message may be sent on | 200 |
//! | INVITE, it may not | as [`refusal`](crate::refusal()) says |
//! | the last chunk | 200 when the message is durable with all its recipients |
//! | the same, when it cannot be kept | 413 when the server has too much, else 403 |
//!
//! From then on it is an explosion like any other. What is small enough goes as a MESSAGE, the
//! rest in a session with each recipient ([`super::session`]).

use std::cell::{Cell, RefCell};
use std::time::Duration;

use parlance_isc::reception::{Arrived, Reception, ReceptionTerms, Unopened};
use parlance_isc::service::Service;
use parlance_isc::session::{Invite, LegTerms};
use parlance_isc::trust::Originator;
use parlance_isc::{Cx, Function, Incoming, transport_parameter};
use parlance_sip::Request;
use parlance_sip::header::SIP_IM;
use parlance_sip::sdp::Sdp;
use parlance_sip::uri::Uri;
use parlance_store::{Explosion, Millis, NewExplosion};

use super::accept::{Use, listed_for_invite, seed, service_names, wants_notifications};
use super::copy::{Content, OWN_OCTETS, Template, history};
use super::job::{About, Job, deadline, dedup_of_send};
use super::{Exploding, Running};
use crate::describe;
use crate::list::Invitee;
use crate::policy::Policy;
use crate::refusal::{Refusal, refusal};
use crate::session::begin;

/// A sender who may send a message, and to whom.
struct Admitted {
    originator: Originator,
    is_inside: bool,
    is_group: bool,
    wants_report: bool,
    recipients: Vec<Invitee>,
    /// The description that he offered.
    description: bytes::Bytes,
    /// When the message stops being worth sending, as he says.
    deadline: Option<Millis>,
    /// Whether the next message is charged already.
    is_paid: Cell<bool>,
}

impl Exploding {
    /// Serves an INVITE for a large message to a list or to a group. Ready when the session is
    /// over; what came in it is sent on by tasks of its own.
    pub(crate) async fn serve_large(&self, cx: &Cx, incoming: Incoming) {
        let policy = self.exploder.policy();
        let mut invite = cx.take(incoming);
        let refuse = |invite: Invite, refused: &Refusal| {
            let why = refused.label();
            metrics::counter!("parlance_controlling_refused_total", "why" => why).increment(1);
            invite.reply(&refusal(refused, &policy));
        };
        let admitted = tokio::select! {
            admitted = self.admit(cx, &invite, &policy) => admitted,
            // It was answered 487.
            _ = invite.cancelled() => return,
        };
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return refuse(invite, &refused),
        };
        let most = policy.explode.large_max as usize;
        let Some(_place) = self.exploder.0.receptions.take(most) else {
            return refuse(invite, &Refusal::TooManySessions);
        };
        let media = &self.exploder.0.setup.media;
        let terms = ReceptionTerms {
            octets_max: policy.explode.large_octets_max.into(),
            idle: Duration::from_secs(policy.explode.large_idle_s.into()),
            security: media.tls().of(admitted.originator.address.domain().unwrap_or_default()),
        };
        let opened = tokio::select! {
            opened = Reception::open(media, admitted.description.clone(), &terms) => opened,
            _ = invite.cancelled() => return,
        };
        let reception = match opened {
            Ok(reception) => reception,
            Err(Unopened::Media(_)) => return refuse(invite, &Refusal::Unavailable),
            Err(Unopened::Offer(why)) => return refuse(invite, &describe::refused(why)),
        };
        let (request, response) = (invite.request().clone(), invite.response(200));
        let terms = LegTerms::new(self.exploder.contact(cx, request.uri_text()));
        let lent = RefCell::new(invite.take_permit());
        let keep = async |arrived: Arrived<'_>| {
            let code = self.keep(cx, &request, &admitted, arrived).await;
            if let (200, Some(lent)) = (code, &mut *lent.borrow_mut()) {
                lent.heard(arrived.as_heard());
            }
            code
        };
        reception.receive(cx, invite, response, terms, keep).await;
    }

    /// Whether the message may be sent, and to whom: in the order of §7.4.1.1.
    async fn admit(&self, cx: &Cx, invite: &Invite, policy: &Policy) -> Result<Admitted, Refusal> {
        let (request, decision) = (invite.request(), invite.decision());
        let originator = decision.originator.as_ref().ok_or(Refusal::NotAllowed)?;
        let wants_report = self.check_service(cx, originator, Use::Large).await?;
        let body = begin::read(invite)?;
        let is_group = decision.role == Function::Controlling(Service::Group);
        let recipients = match is_group {
            true => self.members(cx, request, &body, originator, policy, Use::Large).await?,
            false => listed_for_invite(&body, originator, policy)?,
        };
        if recipients.is_empty() {
            return Err(Refusal::NobodyThere);
        }
        if !is_group {
            let names = service_names(originator, request);
            self.check_consent(cx, &names, &recipients, &policy.explode).await?;
        }
        let description = body.description().unwrap_or_default();
        let offer = describe::read(&description)?;
        let told = offer.first_message().and_then(|(_, media)| media.ok()?.file?.selector.size);
        let octets_max = policy.explode.large_octets_max;
        if told.is_some_and(|octets| octets > octets_max.into()) {
            return Err(Refusal::TooLarge(octets_max));
        }
        let (now, deadline) = (cx.now(), deadline(request, cx.now()));
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Refusal::Expired);
        }
        self.check_rate(cx, originator, recipients.len(), policy)?;
        Ok(Admitted {
            originator: originator.clone(),
            is_inside: decision.peer.is_inside(),
            is_group,
            wants_report,
            recipients,
            description,
            deadline,
            is_paid: Cell::new(true),
        })
    }

    /// A message came: it is kept, and from then on sent on. The answer to its last chunk.
    async fn keep(
        &self,
        cx: &Cx,
        request: &Request,
        admitted: &Admitted,
        arrived: Arrived<'_>,
    ) -> u16 {
        let running = Running::new(&self.exploder);
        match self.begin_large(cx, request, admitted, arrived).await {
            Ok(Some(explosion)) => {
                metrics::counter!("parlance_explosions_total").increment(1);
                let (exploder, cx) = (self.exploder.clone(), cx.clone());
                cx.clone().spawn(async move { exploder.run(&cx, explosion, running).await });
                200
            }
            Ok(None) => 200,
            Err(refused) => {
                let why = refused.label();
                metrics::counter!("parlance_controlling_refused_total", "why" => why).increment(1);
                if refused == Refusal::TooManySessions { 413 } else { 403 }
            }
        }
    }

    /// The explosion, durably kept; `None`: it is the same as one before.
    async fn begin_large(
        &self,
        cx: &Cx,
        request: &Request,
        admitted: &Admitted,
        arrived: Arrived<'_>,
    ) -> Result<Option<Explosion>, Refusal> {
        let policy = &*self.exploder.policy();
        let (originator, now) = (&admitted.originator, cx.now());
        let dedup =
            dedup_of_send(originator.address.as_str(), request, &arrived.description.message_id);
        if self.is_known(dedup, now).await? {
            return Ok(None);
        }
        if !admitted.is_paid.replace(false) {
            self.check_rate(cx, originator, admitted.recipients.len(), policy)?;
        }
        if self.exploder.0.larges.take(policy.explode.large_max as usize).is_none() {
            return Err(Refusal::TooManySessions);
        }
        let content = Content::of_send(arrived.description, arrived.body);
        let template = Template {
            request,
            originator,
            is_inside: admitted.is_inside,
            domains: &self.exploder.0.setup.domains,
            group: admitted.is_group.then(|| request.uri_text()),
            policy,
        };
        let seen = if admitted.is_group { &[] } else { admitted.recipients.as_slice() };
        let small = template.build(content.clone(), seen, &cx.tag());
        let small = small.filter(|small| admitted.fits(small, policy));
        let is_large = small.is_none();
        let template = match small {
            Some(small) => Some(small),
            None => template.build_large(&content, &cx.tag()),
        };
        let template = template.ok_or(Refusal::Malformed("Bad content"))?;
        let history = policy.list_history.then(|| history(seen)).flatten();
        let about = About {
            originator: originator.address.to_string(),
            service: String::from_utf8_lossy(request.uri_text()).into_owned(),
            is_group: admitted.is_group,
            notify: wants_notifications(&template),
            report: admitted.wants_report,
            offer: is_large.then(|| String::from_utf8_lossy(&admitted.description).into_owned()),
            history: history.filter(|_| is_large),
        };
        let give_up = now + Duration::from_secs(policy.explode.give_up_s.into());
        let new = NewExplosion {
            dedup,
            received: now,
            expires: admitted.deadline.map_or(give_up, |deadline| deadline.min(give_up)),
            seed: seed(cx),
            payload: Job { about, template }.write(),
            recipients: self.records(admitted.recipients.clone()).await?,
        };
        self.begin(cx, new, policy).await
    }
}

impl Admitted {
    /// Whether the message goes as a MESSAGE (§7.4.2.2): all of it within what a MESSAGE may have
    /// (RFC 3428 §8), and no file, which is described by its session (RFC 5547).
    fn fits(&self, copy: &Request, policy: &Policy) -> bool {
        let is_file = Sdp::parse(&self.description).ok().is_some_and(|offer| {
            let media = offer.first_message().and_then(|(_, media)| media.ok());
            media.is_some_and(|media| media.file.is_some())
        });
        let explode = &policy.explode;
        explode.large_as_message
            && !is_file
            && copy.body().len() <= explode.content_octets_max as usize
            && copy.bytes().len() + OWN_OCTETS <= explode.copy_octets_max as usize
    }
}

impl super::Exploder {
    /// Our `Contact` in the name of a service: where requests of the dialog reach this server.
    pub(super) fn contact(&self, cx: &Cx, service: &[u8]) -> String {
        let setup = &self.0.setup;
        let uri = Uri::parse(service).ok();
        let user = uri.as_ref().and_then(|uri| uri.as_sip()?.user).unwrap_or("im-exploder");
        let local = cx.node().locals.at(setup.listener);
        let domain = setup.domains.first().map_or("localhost", String::as_str);
        let sent_by = local.map_or(domain, |local| &local.sent_by);
        let transport = local.map(|local| transport_parameter(local.transport)).unwrap_or_default();
        format!("<sip:{user}@{sent_by}{transport}>;{SIP_IM}")
    }
}
