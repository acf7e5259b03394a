//! A session that a served user begins (OMA-TS-SIMPLE_IM §7.2.2.1, §7.2.3.3, §7.2.3.5).

use std::rc::Rc;

use parlance_isc::{Cx, Decision, Mode, Permit, Rate, SessionCase};
use parlance_sip::header::Privacy;
use parlance_sip::uri::Aor;
use parlance_sip::{Method, Request};
use parlance_store::{Millis, Profile, UserId};

use super::chronicle::Chronicle;
use super::description::{self, Described};
use super::hosted::{Controlled, Hosted, Posted, Told};
use super::{Seat, proxy, refer};
use crate::passage::Passage;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::rights;
use crate::role::Functions;

/// Serves the INVITE of a user to another user, or to a group or session elsewhere.
pub(crate) async fn serve(passage: Passage<'_>) {
    let seat = match passage.asked().begin() {
        Ok(seat) => seat,
        Err(refused) => return passage.refuse(&refused),
    };
    // §7.2.3.3: not between the two themselves, so a conference of a list of one.
    let conference = passage.asked().is_conference();
    if let Some(controlling) = passage.functions.controlling.as_ref().filter(|_| conference) {
        let (controlling, cx) = (Rc::clone(controlling), passage.cx.clone());
        let lent = passage.lend(seat);
        let mut incoming = passage.into_incoming();
        incoming.hold(lent);
        return controlling.transaction(cx, incoming).await;
    }
    proxy::originating(passage, seat).await;
}

/// A request of a user, as far as it is judged before anybody acts on it.
pub(crate) struct Asked<'a> {
    pub(crate) functions: &'a Functions,
    pub(crate) policy: &'a Policy,
    pub(crate) profile: &'a Profile,
    pub(crate) user: &'a UserId,
    pub(crate) request: &'a Request,
    pub(crate) decision: &'a Decision,
    pub(crate) case: SessionCase,
    pub(crate) received: Millis,
}

impl Asked<'_> {
    fn mode(&self) -> Option<Mode> {
        self.decision.mode
    }

    pub(crate) fn is_large(&self) -> bool {
        self.mode() == Some(Mode::LargeMessageMode)
    }

    /// Whether the user may use sessions, or send large messages (§7.2.2.1).
    ///
    /// # Errors
    /// The refusal when he may not.
    pub(crate) fn check_rights(&self) -> Result<(), Refusal> {
        let registration = self.decision.subscriber.registration();
        let barred = registration.is_some_and(|registration| registration.barred);
        let rights = &self.profile.rights;
        let granted = match self.mode() {
            Some(Mode::LargeMessageMode) => rights.large,
            Some(Mode::PagerMode) => rights.pager,
            Some(Mode::SessionMode) | None => rights.session,
        };
        if barred || !granted { Err(Refusal::NotAuthorised) } else { Ok(()) }
    }

    /// Whether he may make this request of his own.
    ///
    /// # Errors
    /// [`Refusal::NotAuthorised`].
    pub(crate) fn check_request(&self) -> Result<(), Refusal> {
        match self.case {
            SessionCase::Originating => {
                rights::check(self.request, self.decision, self.policy, self.profile)
            }
            SessionCase::Terminating => Ok(()),
        }
    }

    /// Refuses an immediate message whose description says that it is larger than it may be.
    ///
    /// # Errors
    /// [`Refusal::SizeExceeded`].
    pub(crate) fn check_size(&self) -> Result<(), Refusal> {
        if !self.is_large() {
            return Ok(());
        }
        let octets_max = self.policy.session.large_octets_max;
        let described = Described::of(self.request);
        let size = described.and_then(|described| description::size(&described.sdp));
        if size.is_some_and(|size| size > octets_max) {
            return Err(Refusal::SizeExceeded(u32::try_from(octets_max).unwrap_or(u32::MAX)));
        }
        Ok(())
    }

    /// Takes a place in the count of the user's sessions; an immediate message needs none.
    ///
    /// # Errors
    /// [`Refusal::TooManySessions`].
    pub(crate) fn seat(&self) -> Result<Seat, Refusal> {
        let max = match self.mode() {
            Some(Mode::SessionMode) => self.policy.session.sessions_max,
            Some(Mode::LargeMessageMode | Mode::PagerMode) | None => 0,
        };
        let seat = self.functions.seats.take(self.user, self.case, max, self.received);
        seat.ok_or(Refusal::TooManySessions(self.case))
    }

    /// What the operator asks of who begins a session, in the order of §7.2.2.1. The place in the
    /// count of his sessions is his until it is dropped.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn begin(&self) -> Result<Seat, Refusal> {
        self.check_rights()?;
        self.check_request()?;
        self.check_size()?;
        if let Some(target) = self.request.uri().and_then(|uri| Aor::from_uri(&uri))
            && self.policy.blocked_targets.iter().any(|pattern| pattern.covers(&target))
        {
            return Err(Refusal::BlockedTarget);
        }
        let privacy = self.request.header::<Privacy<'_>>().ok().flatten();
        if privacy.is_some_and(|privacy| privacy.is_critical_and_unknown()) {
            return Err(Refusal::Privacy);
        }
        let rate = Rate { per_second: self.policy.rate_per_user, burst: self.policy.rate_burst };
        let taken = self.functions.rates.take(self.user, rate, self.received);
        taken.map_err(Refusal::TooMany)?;
        self.seat()
    }

    /// Whether the conversation becomes a conference: with a user of the same domain. What an
    /// identity elsewhere is, a user or a group, is for its own server to say (§7.1.1), and what
    /// the user rejoins is one already (§7.2.3.5).
    fn is_conference(&self) -> bool {
        let target = self.request.uri().and_then(|uri| Aor::from_uri(&uri));
        let same_domain = target.as_ref().is_some_and(|target| {
            let own = self.decision.served.identity.as_ref();
            target.domain().is_none() || own.is_some_and(|own| own.domain() == target.domain())
        });
        let identities = &self.functions.seats.identities;
        let is_rejoined = |target: &Aor| identities.knows(self.user, target, self.received);
        let conversation = self.mode() == Some(Mode::SessionMode);
        let between_users = conversation && same_domain && !self.policy.session.peer_to_peer;
        between_users && !target.as_ref().is_some_and(is_rejoined)
    }

    /// Whether the user may make this request of a service hosted here; for a session, his place.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn permit(&self, cx: &Cx) -> Result<Permit, Refusal> {
        match self.request.method() {
            Method::Invite => self.begin().map(|seat| self.lend(cx, seat)),
            Method::Message => {
                self.check_rights()?;
                self.check_request()?;
                let own = Chronicle::begin(self, self.mode(), cx);
                Ok(own.map(|own| Box::new(Posted(own)) as _))
            }
            _ => refer::check(self).map(|()| None),
        }
    }

    /// What goes with an INVITE to a service hosted here.
    pub(crate) fn lend(&self, cx: &Cx, seat: Seat) -> Permit {
        let told = self.functions.events.as_ref().map(|events| Told {
            events: Rc::clone(events),
            cx: cx.clone(),
            case: self.case,
            user: self.user.clone(),
            request: self.request.clone(),
        });
        let limits = self.policy.session.hold_limits();
        let controlled = Controlled::new(&self.functions.seats.controls, self.user, limits);
        let chronicle = Chronicle::begin(self, self.mode(), cx);
        Some(Box::new(Hosted::new(seat, controlled, told, chronicle)))
    }
}
