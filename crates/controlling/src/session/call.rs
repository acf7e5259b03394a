//! Whom a session calls (OMA-TS-SIMPLE_IM §7.4.4.1 to §7.4.4.3).

use std::sync::Arc;

use parlance_content::conference_info::DisconnectionMethod;
use parlance_isc::media::RoomLeg;
use parlance_isc::session::{Leg, Outgoing, Progress, Reason, WatcherId};
use parlance_isc::{Outcome, Way};
use parlance_msrp::negotiate::{self, Terms};
use parlance_sip::Response;
use parlance_sip::dialog::DialogId;
use parlance_sip::sdp::Sdp;
use parlance_sip::uri::Aor;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::{Cancel, Description, Inside, Participant, Session, Stage, replace};
use crate::caller;
use crate::describe::{self, Concluded, Described};
use crate::focus::{Caller, EndpointId, did_not_come};
use crate::groups::{Group, GroupsUnavailable};
use crate::list::Invitee;
use crate::policy::seconds_of;
use crate::refusal::Refusal;
use crate::session::invitation::Invitation;
use crate::session::modify::Reoffered;

/// Somebody who is called.
pub(super) struct Call {
    invitee: Invitee,
    by: Caller,
    /// The REFER that wants it, and what it said of itself.
    referral: Option<WatcherId>,
    referred_by: Option<String>,
    offer: Sdp,
    terms: Terms,
    /// How else his MSRP may be offered, when this is refused: with TLS or without.
    otherwise: &'static [bool],
    /// Whether a redirection was followed.
    redirected: bool,
    /// The early dialogs that the callee's side has made.
    pub(super) early: Vec<DialogId>,
    /// Dropped, the call is cancelled.
    _cancel: Cancel,
}

impl Call {
    /// The REFER that wants it.
    pub(super) fn referral(&self) -> Option<WatcherId> {
        self.referral
    }

    /// The same; it hears no more of the call.
    pub(super) fn take_referral(&mut self) -> Option<WatcherId> {
        self.referral.take()
    }
}

/// What came of something that took time.
pub(super) enum Done {
    /// A provisional response to a call.
    Progress(Calling, Response),
    /// A 2xx.
    Answered(EndpointId, Leg, Response),
    /// The call failed.
    Failed(EndpointId, Failure),
    /// A new offer of ours was answered.
    Offered(Box<Reoffered>),
    /// The group was looked for.
    Group(Result<Option<Arc<Group>>, GroupsUnavailable>),
}

/// Why a call failed.
pub(super) struct Failure {
    status: u16,
    reason: String,
    /// Where else he might be (a 3xx).
    contact: Option<String>,
}

/// A call under way.
pub(super) struct Calling {
    endpoint: EndpointId,
    outgoing: Outgoing,
    deadline: Instant,
    cancelled: oneshot::Receiver<()>,
}

impl Calling {
    /// Waits for the next response. The call is cancelled when its time is over or the other end
    /// of `cancelled` is gone (CF-072, CF-073): dropping the INVITE sees to CANCEL, and to a 2xx
    /// that crosses it.
    async fn next(mut self) -> Done {
        let endpoint = self.endpoint;
        let failed = |status, reason: &str| {
            Done::Failed(endpoint, Failure { status, reason: reason.to_owned(), contact: None })
        };
        tokio::select! {
            progress = self.outgoing.next() => match progress {
                Progress::Provisional(response) => Done::Progress(self, response),
                Progress::Answered(leg, response) => Done::Answered(endpoint, leg, response),
                Progress::Failed(response) => {
                    let contact = caller::contact(&response);
                    let redirects = (300..400).contains(&response.status());
                    let contact = Some(contact).filter(|uri| redirects && !uri.is_empty());
                    let reason = reason_of(&response);
                    Done::Failed(endpoint, Failure { status: response.status(), reason, contact })
                }
                Progress::NoAnswer => failed(408, "Request Timeout"),
            },
            () = sleep_until(self.deadline) => failed(408, "Request Timeout"),
            _ = &mut self.cancelled => failed(487, "Request Terminated"),
        }
    }
}

fn reason_of(response: &Response) -> String {
    match response.start_line() {
        parlance_sip::message::StartLine::Status { reason, .. } => {
            String::from_utf8_lossy(reason).into_owned()
        }
        parlance_sip::message::StartLine::Request { .. } => String::new(),
    }
}

impl Session {
    /// Calls everybody on a list at once (CF-031).
    pub(super) async fn invite_all(&mut self, by: &Caller, invitees: &[Invitee]) {
        let history = self.history(invitees);
        for invitee in invitees {
            self.call(by, invitee.clone(), None, None, history.clone()).await;
        }
    }

    /// Calls one user in the name of `by`.
    pub(super) async fn call(
        &mut self,
        by: &Caller,
        invitee: Invitee,
        referral: Option<WatcherId>,
        referred_by: Option<String>,
        history: Option<Arc<str>>,
    ) {
        let callee = Caller {
            display_name: invitee.display_name.clone(),
            ..Caller::new(invitee.address.clone())
        };
        let endpoint = self.focus.dial_out(&callee, invitee.is_hidden());
        let tls = self.hosted.media.tls().of(callee.address.domain().unwrap_or_default());
        let securities = tls.offers(self.hosted.media.address(true).is_some());
        let attempt = Attempt { invitee, by: by.clone(), referral, referred_by, history };
        self.attempt(endpoint, callee, attempt, securities, false).await;
    }

    /// Sends the INVITE; `securities`: how MSRP may be offered, the first now.
    async fn attempt(
        &mut self,
        endpoint: EndpointId,
        callee: Caller,
        attempt: Attempt,
        securities: &'static [bool],
        redirected: bool,
    ) {
        let sent = self.send_invite(endpoint, &callee, &attempt, securities, redirected).await;
        match sent {
            Ok((participant, calling)) => {
                self.keys.insert(participant.room_leg.key(), endpoint);
                self.participants.insert(endpoint, participant);
                self.work.push(Box::pin(calling.next()));
            }
            Err(_) => {
                self.focus.leave(endpoint, DisconnectionMethod::Failed);
                self.referral_is_over(attempt.referral, 480, "Temporarily Unavailable");
                self.founder_hears_refusal(480);
            }
        }
    }

    async fn send_invite(
        &mut self,
        endpoint: EndpointId,
        callee: &Caller,
        attempt: &Attempt,
        securities: &'static [bool],
        redirected: bool,
    ) -> Result<(Participant, Calling), Refusal> {
        let (secure, otherwise) = securities.split_first().ok_or(Refusal::Unavailable)?;
        let room_leg = self.join_room(endpoint, callee, *secure).await?;
        let terms = describe::terms(&self.focus, &self.hosted.media, callee, &room_leg, *secure);
        let offer = negotiate::offer(&terms, self.cx.random() >> 1);
        let Invitee { uri, address, .. } = &attempt.invitee;
        let way = Way::to(&self.cx, address, uri, self.hosted.listener).await;
        let way = way.ok_or(Refusal::Unavailable)?;
        let request = Invitation {
            cx: &self.cx,
            focus: &self.focus,
            by: &attempt.by,
            invitee: &self.with_own_dialog(&attempt.invitee),
            referred_by: attempt.referred_by.as_deref(),
            history: attempt.history.as_deref(),
            contact: &self.contact(),
        }
        .build(&way, &offer)
        .ok_or(Refusal::Malformed("Bad URI"))?;
        let outgoing = self.cx.invite(request, way.hop, self.terms(), &self.address);
        let (cancel, cancelled) = oneshot::channel();
        let deadline = self.now() + seconds_of(self.focus.policy().ring_s);
        let call = Call {
            invitee: attempt.invitee.clone(),
            by: attempt.by.clone(),
            referral: attempt.referral,
            referred_by: attempt.referred_by.clone(),
            offer,
            terms,
            otherwise,
            redirected,
            early: Vec::new(),
            _cancel: cancel,
        };
        let participant = Participant {
            caller: callee.clone(),
            room_leg,
            secure: *secure,
            stage: Stage::Calling(Box::new(call)),
            _permit: None,
            lent: None,
            _present: None,
        };
        self.hosted.meter.called();
        Ok((participant, Calling { endpoint, outgoing, deadline, cancelled }))
    }

    /// A provisional response came.
    pub(super) fn progress(&mut self, calling: Calling, response: &Response) {
        let called = self.participants.get_mut(&calling.endpoint);
        let is_known = called.is_some();
        if let Some(Stage::Calling(call)) = called.map(|called| &mut called.stage)
            && let Some(dialog) = replace::early_dialog(response)
        {
            replace::note_early(&mut call.early, dialog);
        }
        if response.status() == 180 && is_known {
            self.focus.alerting(calling.endpoint);
            self.founder_hears_ringing();
        }
        self.work.push(Box::pin(calling.next()));
    }

    /// Somebody accepted.
    pub(super) async fn answered(&mut self, endpoint: EndpointId, leg: Leg, response: &Response) {
        let Some(mut participant) = self.participants.remove(&endpoint) else {
            return leg.end(Some(Reason::sip(487, "Request Terminated")));
        };
        let Stage::Calling(call) = participant.stage else { return };
        let is_anonymous = caller::is_anonymous(response);
        let hidden = !is_anonymous || self.hide(endpoint, &participant.room_leg).await;
        let (body, media) = (response.body(), &self.hosted.media);
        let concluded = describe::conclude(&call.offer, body, &call.terms, media).await;
        let description = match concluded {
            // Nobody takes part under a name that he withholds.
            _ if !hidden => None,
            Ok(Concluded::Agreed(agreement)) => {
                let agreed = participant.room_leg.agree(&agreement).await;
                let described = Described { own: call.offer, agreement };
                agreed.ok().map(|()| Description::Agreed(Box::new(described)))
            }
            Ok(Concluded::WithoutCema) => {
                let terms = Box::new(Terms { msrp_cema: false, ..call.terms });
                Some(Description::Offered { own: call.offer, terms, before: None })
            }
            Err(_) => None,
        };
        let Some(description) = description else {
            // A description that cannot be used is no session (RFC 3264 §6).
            leg.end(Some(Reason::sip(488, "Not Acceptable Here")));
            self.keys.remove(&participant.room_leg.key());
            self.focus.leave(endpoint, DisconnectionMethod::Failed);
            self.referral_is_over(call.referral, 488, "Not Acceptable Here");
            return self.founder_hears_refusal(488);
        };
        let again = matches!(description, Description::Offered { .. });
        let contact = caller::contact(response);
        self.legs.insert(leg.id(), endpoint);
        participant.caller.contact.clone_from(&contact);
        participant.caller.anonymous |= is_anonymous;
        participant._present = Some(self.hosted.meter.joined());
        let dialog = Some(leg.dialog().id().clone());
        participant.stage = Stage::In(Box::new(Inside { leg: Some(leg), dialog, description }));
        self.participants.insert(endpoint, participant);
        if let Some(name) = caller::answerer_name(response).filter(|_| !is_anonymous) {
            self.focus.name(endpoint, &name);
        }
        self.focus.connected(endpoint, &contact, is_anonymous);
        self.referral_is_over(call.referral, 200, "OK");
        if again {
            self.offer_again(endpoint);
        }
        self.answer_founder_if_ready();
    }

    /// Has somebody known by a pseudonym only, in the room and to subscribers; whether he is.
    async fn hide(&mut self, endpoint: EndpointId, room_leg: &RoomLeg) -> bool {
        self.focus.hide(endpoint);
        match self.focus.shown_uri(endpoint) {
            Some(pseudonym) => room_leg.hide(pseudonym).await.is_ok(),
            None => false,
        }
    }

    /// A call failed. It is tried again where the callee was moved to, or without TLS.
    pub(super) async fn failed(&mut self, endpoint: EndpointId, failure: Failure) {
        let Some(participant) = self.participants.remove(&endpoint) else { return };
        self.keys.remove(&participant.room_leg.key());
        let Stage::Calling(call) = participant.stage else { return };
        let Call { mut invitee, by, referral, referred_by, otherwise, redirected, .. } = *call;
        let attempt = |invitee| Attempt { invitee, by, referral, referred_by, history: None };
        // The room has no place for both at once.
        drop(participant.room_leg);
        if failure.status == 488 && !otherwise.is_empty() {
            let attempt = attempt(invitee);
            return self
                .attempt(endpoint, participant.caller, attempt, otherwise, redirected)
                .await;
        }
        let moved = failure.contact.filter(|uri| self.may_follow(redirected, &invitee, uri));
        if let Some(uri) = moved {
            invitee.uri = uri;
            let securities = if participant.secure { &[true][..] } else { &[false][..] };
            let attempt = attempt(invitee);
            return self.attempt(endpoint, participant.caller, attempt, securities, true).await;
        }
        self.focus.leave(endpoint, did_not_come(failure.status));
        self.referral_is_over(referral, failure.status, &failure.reason);
        self.founder_hears_refusal(failure.status);
    }

    /// A redirection is followed once, within the domain (CF-072).
    fn may_follow(&self, redirected: bool, invitee: &Invitee, uri: &str) -> bool {
        let same_domain = Aor::parse(uri)
            .is_ok_and(|to| to.domain().is_some() && to.domain() == invitee.address.domain());
        self.focus.policy().redirects && !redirected && same_domain
    }
}

/// What does not change from one INVITE to a user to the next.
struct Attempt {
    invitee: Invitee,
    by: Caller,
    referral: Option<WatcherId>,
    referred_by: Option<String>,
    history: Option<Arc<str>>,
}

/// The answer in the final response to an offer of ours.
pub(super) fn answer_of(outcome: &Outcome) -> Option<&Response> {
    match outcome {
        Outcome::Final(response) | Outcome::Relayed(response) => {
            response.is_success().then_some(response)
        }
        Outcome::Timeout | Outcome::Unreachable | Outcome::Cancelled => None,
    }
}
