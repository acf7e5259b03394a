//! A pre-established session, from its 2xx to its end.
//!
//! | what happens | idle | attached |
//! |---|---|---|
//! | the client refreshes it | 200 | 200 |
//! | the client modifies it | 200 | 491 while somebody is called, else 488 |
//! | REFER | the call begins | 486 |
//! | REFER with `method=BYE` | 481 by NOTIFY | the attached dialog ends |
//! | an invitation | it is answered | it goes to the clients |
//! | the attached dialog ends | | idle |
//! | BYE, no refresh, lost media, the server stops | both end | both end |

use std::sync::Arc;

use parlance_isc::media::{Heard, Pair, PairEvent};
use parlance_isc::session::{
    Address, Body, Ended, Event, Inbox, Leg, LegTerms, Offer, Reason, WatcherId,
};
use parlance_isc::{Charging, Cx, Incoming, Media, Reply};
use parlance_sip::sdp::Sdp;
use parlance_sip::uri::Aor;
use parlance_sip::{ListenerId, Method, Request};
use parlance_store::UserId;
use tokio::sync::{mpsc, oneshot};

use super::super::chronicle::Chronicle;
use super::attached::{Line, Said, line};
use super::called::Call;
use super::calling::{self, Invitation};
use super::description::{self, ATTACHED, CLIENT, Described};
use super::establish::refused;
use super::refer::{self, Wanted};
use super::referral::Referrals;
use crate::policy::Policy;
use crate::refusal::{Refusal, refusal};

/// A session.
pub(super) struct Session {
    pub(super) cx: Cx,
    pub(super) media: Media,
    pub(super) policy: Arc<Policy>,
    /// The INVITE that established it.
    pub(super) request: Request,
    /// Its user.
    pub(super) user: UserId,
    /// His identity, as others know him.
    pub(super) identity: Aor,
    pub(super) listener: ListenerId,
    /// What our side of the client's leg says of itself.
    pub(super) terms: LegTerms,
    pub(super) address: Address,
    pub(super) leg: Leg,
    pub(super) pair: Pair,
    pub(super) client: Described,
    /// Whether the client has connected its media.
    pub(super) is_connected: bool,
    pub(super) attached: Option<Attached>,
    pub(super) referrals: Referrals,
    /// The user's history, when it is active as the session begins.
    pub(super) chronicle: Option<Chronicle>,
}

/// What it is attached to.
pub(super) struct Attached {
    line: Line,
    /// By which names it may be left.
    names: Vec<Aor>,
    /// What was offered and is not answered: it is being called.
    offered: Option<Sdp>,
    /// What was agreed.
    described: Option<Described>,
    /// The REFER whose sender waits to hear of the call.
    referral: Option<WatcherId>,
}

/// Why both dialogs end.
type Over = Option<Reason>;

impl Session {
    /// Serves it to its end.
    pub(super) async fn run(mut self, mut inbox: Inbox, mut calls: mpsc::Receiver<Call>) {
        let reason = loop {
            let over = tokio::select! {
                biased;
                event = inbox.next() => self.handle(event).await,
                event = self.pair.next() => self.media(event),
                said = said(&mut self.attached) => {
                    self.said(said).await;
                    None
                }
                call = calls.recv() => match call {
                    Some(call) => {
                        self.called(call).await;
                        None
                    }
                    // The client has begun another one.
                    None => Some(Some(Reason::sip(410, "replaced by another session"))),
                },
            };
            if let Some(reason) = over {
                break reason;
            }
        };
        self.pair.settle(ATTACHED).await;
        while let Some(event) = self.pair.told() {
            self.media(event);
        }
        self.detach(reason.clone());
        // Without effect when it has ended.
        self.leg.end(reason);
    }

    async fn handle(&mut self, event: Event) -> Option<Over> {
        match event {
            Event::Ended(_, ended) => return Some(why(&ended)),
            Event::Draining => return Some(Some(Reason::sip(503, "the server stops"))),
            Event::Offer(_, offer) => self.modified(offer).await,
            Event::Request(_, incoming) => match incoming.request().method() {
                Method::Refer => self.referred(incoming).await,
                // OPTIONS: nothing else is allowed.
                _ => incoming.reply(&Reply::new(200)),
            },
            Event::Notify(id, due) => self.referrals.notify(id, due),
            Event::Unwatched(id) => self.referrals.unwatched(id),
            Event::Confirmed(_) | Event::Answer(..) => {}
            Event::Joining(_) | Event::Outside(_) => {}
        }
        None
    }

    fn media(&mut self, event: PairEvent) -> Option<Over> {
        let lost = || Some(Reason::sip(503, "media lost"));
        match event {
            PairEvent::Connected(CLIENT) => self.is_connected = true,
            PairEvent::Connected(_) => {}
            PairEvent::Passed(passage) => {
                if let Some(chronicle) = &mut self.chronicle {
                    chronicle.take(Heard::of(*passage, CLIENT));
                }
            }
            PairEvent::Lost(ATTACHED, _) => self.detach(lost()),
            PairEvent::Lost(..) | PairEvent::Gone => return Some(lost()),
        }
        None
    }

    /// The client modifies the session (§7.2.3.4).
    async fn modified(&mut self, offer: Offer) {
        if offer.request().body().is_empty() {
            // A refresh that wants our description: it stands as it is.
            let response = offer.response(200);
            return offer.accept(response, Body::sdp(self.client.shown.to_string()));
        }
        let Ok(sdp) = Sdp::parse(offer.request().body()) else { return drop(offer) };
        let said = sdp.first_message().and_then(|(_, said)| said.ok());
        let is_same = said.as_ref() == Some(&self.client.said);
        if let Some(attached) = self.attached.as_ref().filter(|_| !is_same) {
            let busy =
                if attached.offered.is_some() { Refusal::Pending } else { Refusal::Description };
            return offer.reply(&refusal(&busy, &self.policy));
        }
        if !is_same && !self.renegotiate(&sdp).await {
            return drop(offer);
        }
        let response = offer.response(200);
        offer.accept(response, Body::sdp(self.client.shown.to_string()));
    }

    /// Takes another description of the client; whether it can be taken.
    async fn renegotiate(&mut self, sdp: &Sdp) -> bool {
        let Some(mut client) = self.answer_client(sdp).await else { return false };
        if !client.agreement.continues(&self.client.agreement) {
            // Another path: a session of its own, to which nobody else is let in (RFC 4975 §8.4).
            let rule = self.media.tls().of(self.identity.domain().unwrap_or_default());
            let secure = rule.answers(client.said.proto);
            let Some(secure) = secure else { return false };
            self.is_connected = false;
            if self.pair.renew(CLIENT, secure, &self.media).await.is_err() {
                return false;
            }
            let Some(renewed) = self.answer_client(sdp).await else { return false };
            client = renewed;
        }
        if self.pair.agree(CLIENT, &client.agreement).await.is_err() {
            return false;
        }
        client.shown = client.shown.following(&self.client.shown);
        self.client = client;
        true
    }

    async fn answer_client(&self, offer: &Sdp) -> Option<Described> {
        let session_id = self.cx.random() >> 1;
        description::answer_client(offer, &self.pair, &self.media, session_id).await
    }

    /// The client asks to be joined to a session, or to leave it (§7.2.3.6, §7.2.3.11.2).
    async fn referred(&mut self, incoming: Incoming) {
        let wanted = match refer::wanted(incoming.request()) {
            Ok(_) if !self.referrals.has_room() => Err(Refusal::Unreachable),
            wanted => wanted,
        };
        let called = match wanted {
            Ok(Wanted::Leave(who)) => return self.leave(incoming, who.as_ref()).await,
            Ok(Wanted::Call { .. }) if self.attached.is_some() => Err(Refusal::Attached),
            Ok(Wanted::Call { target, list }) => {
                let factory = || self.policy.pre_established.factory.clone();
                match target.or_else(factory) {
                    Some(target) => self.call(target, list, incoming.request()).await,
                    None => Err(Refusal::BadReferTo),
                }
            }
            Err(refused) => Err(refused),
        };
        match called {
            Ok(attached) => {
                let referral = self.watch(incoming);
                self.attached = Some(Attached { referral, ..attached });
            }
            Err(refused) => incoming.reply(&refusal(&refused, &self.policy)),
        }
    }

    /// The charging headers of a request in the name of the user.
    async fn charging(&self) -> Charging {
        let found = self.cx.node().registrations.lookup(&self.user).await.ok().flatten();
        Charging::of(&self.cx, found.as_deref(), self.policy.ioi.as_deref())
    }

    /// Calls `target` in the name of the user.
    async fn call(
        &mut self,
        target: String,
        list: Option<bytes::Bytes>,
        refer: &Request,
    ) -> Result<Attached, Refusal> {
        let called = target.parse::<Aor>().map_err(|_| Refusal::BadReferTo)?;
        let rule = self.media.tls().of(called.domain().unwrap_or_default());
        let has_tls = self.media.address(true).is_some();
        let secure = rule.offers(has_tls).first().copied().ok_or(Refusal::Description)?;
        self.pair.renew(ATTACHED, secure, &self.media).await.map_err(refused)?;
        let session_id = self.cx.random() >> 1;
        let offered = description::offer(&self.client, &self.pair, &self.media, session_id);
        let own = LegTerms::new(self.terms.contact.clone());
        let invitation = Invitation {
            established_by: self.request.clone(),
            user: self.identity.clone(),
            target,
            list,
            referred_by: refer::referred_by(refer, &self.identity),
            offered: offered.clone(),
            terms: LegTerms { timer: self.terms.timer, ..own },
            listener: self.listener,
            charging: self.charging().await,
        };
        let (line, far) = line();
        self.cx.spawn(calling::call(self.cx.clone(), invitation, far));
        let (offered, described, referral) = (Some(offered), None, None);
        Ok(Attached { line, names: vec![called], offered, described, referral })
    }

    fn watch(&mut self, incoming: Incoming) -> Option<WatcherId> {
        self.referrals.watch(&self.cx, incoming, &self.terms.contact, &self.address)
    }

    /// Leaves what it is attached to, when that is meant, and stays itself.
    async fn leave(&mut self, incoming: Incoming, who: Option<&Aor>) {
        let is_meant = |attached: &Attached| who.is_some_and(|who| attached.names.contains(who));
        let is_there = self.attached.as_ref().is_some_and(is_meant);
        let referral = self.watch(incoming);
        let (status, reason) =
            if is_there { (200, "OK") } else { (481, "Call/Transaction Does Not Exist") };
        if is_there {
            self.pair.settle(ATTACHED).await;
            self.detach(None);
        }
        self.referrals.over(referral, status, reason);
    }

    /// Lets go of what it is attached to.
    fn detach(&mut self, reason: Option<Reason>) {
        let Some(Attached { line, referral, .. }) = self.attached.take() else { return };
        line.end(reason);
        self.pair.vacate(ATTACHED);
        self.referrals.over(referral, 487, "Request Terminated");
    }

    /// The attached dialog says something; `None`: it is over.
    async fn said(&mut self, said: Option<Said>) {
        let referral = self.attached.as_ref().and_then(|attached| attached.referral);
        match said {
            Some(Said::Provisional(status, reason)) => {
                self.referrals.tell(referral, status, &reason);
            }
            Some(Said::Accepted { answer, by, taken }) => {
                let fits = self.accepted(&answer, by.names).await;
                match fits {
                    true => self.referrals.joined(referral, by.contact.as_deref()),
                    false => self.referrals.over(referral, 488, "Not Acceptable Here"),
                }
                if !fits || taken.send(true).is_err() {
                    self.detach(Some(Reason::sip(488, "session description")));
                }
            }
            Some(Said::Refused(status, reason)) => {
                self.referrals.over(referral, status, &reason);
                self.detach(None);
            }
            Some(Said::Offered { offer, answer }) => self.offered(offer, answer).await,
            None => self.detach(None),
        }
    }

    /// Who was called has answered; whether it fits.
    async fn accepted(&mut self, answer: &Sdp, names: Vec<Aor>) -> bool {
        let Self { attached: Some(attached), client, pair, media, .. } = self else { return false };
        let Some(offered) = attached.offered.take() else { return false };
        let described = description::conclude(&offered, answer, client, pair, media).await;
        let Some(described) = described else { return false };
        attached.names.extend(names);
        let agreed = pair.agree(ATTACHED, &described.agreement).await.is_ok();
        attached.described = Some(described);
        agreed
    }

    /// Whoever is attached modifies his session, or wants to hear of ours.
    async fn offered(&mut self, offer: Option<Sdp>, answer: oneshot::Sender<Option<Sdp>>) {
        let before = self.attached.as_ref().and_then(|attached| attached.described.clone());
        // Nobody may wait any more, then it is over and that is told next.
        let _ = match (before, offer) {
            (None, _) => answer.send(None),
            (Some(before), None) => answer.send(Some(before.shown)),
            (Some(before), Some(offer)) => answer.send(self.attach_anew(&before, &offer).await),
        };
    }

    async fn attach_anew(&mut self, before: &Described, offer: &Sdp) -> Option<Sdp> {
        let mut described = self.answer_attached(offer).await?;
        if !described.agreement.continues(&before.agreement) {
            let secure = description::is_secure(offer)?;
            self.media.address(secure)?;
            if self.pair.renew(ATTACHED, secure, &self.media).await.is_err() {
                self.detach(Some(Reason::sip(503, "media lost")));
                return None;
            }
            described = self.answer_attached(offer).await?;
        }
        self.pair.agree(ATTACHED, &described.agreement).await.ok()?;
        described.shown = described.shown.following(&before.shown);
        let shown = described.shown.clone();
        if let Some(attached) = &mut self.attached {
            attached.described = Some(described);
        }
        Some(shown)
    }

    async fn answer_attached(&self, offer: &Sdp) -> Option<Described> {
        let session_id = self.cx.random() >> 1;
        let Self { client, pair, media, .. } = self;
        description::answer_attached(offer, client, pair, media, session_id).await
    }

    /// An invitation is to be answered for the user (§7.2.4.2.2).
    async fn called(&mut self, call: Call) {
        let Call { offer, caller, names, line, answer } = call;
        let domain = caller.as_ref().and_then(Aor::domain);
        let rule = self.media.tls().of(domain.unwrap_or_default());
        let secure = description::proto(&offer).and_then(|proto| rule.answers(proto));
        let secure = secure.filter(|_| self.attached.is_none() && self.is_connected);
        // Dropped, the answer is that it cannot be taken.
        let Some(secure) = secure else { return };
        if self.pair.renew(ATTACHED, secure, &self.media).await.is_err() {
            return self.pair.vacate(ATTACHED);
        }
        let Some(described) = self.answer_attached(&offer).await else {
            return self.pair.vacate(ATTACHED);
        };
        if self.pair.agree(ATTACHED, &described.agreement).await.is_err() {
            return self.pair.vacate(ATTACHED);
        }
        let shown = described.shown.clone();
        let (offered, described, referral) = (None, Some(described), None);
        self.attached = Some(Attached { line, names, offered, described, referral });
        if answer.send(Some(shown)).is_err() {
            self.detach(None);
        }
    }
}

/// What the attached dialog says next; nothing without one.
async fn said(attached: &mut Option<Attached>) -> Option<Said> {
    match attached {
        Some(attached) => attached.line.next().await,
        None => std::future::pending().await,
    }
}

/// Why the attached dialog ends with the client's.
fn why(ended: &Ended) -> Over {
    match ended {
        Ended::Bye(bye) => Reason::of(bye),
        Ended::NotRefreshed => Some(Reason::sip(408, "session not refreshed")),
        Ended::NoAck => Some(Reason::sip(408, "no ACK")),
        Ended::Gone(status) => Some(Reason::sip(*status, "the client is gone")),
    }
}
