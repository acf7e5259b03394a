//! How participants leave and sessions end (OMA-TS-SIMPLE_IM §7.4.3.10, §7.4.3.11, §7.4.3.16,
//! §7.4.4.4).

use std::time::Duration;

use parlance_content::conference_info::DisconnectionMethod::{self, Booted, Departed, Failed};
use parlance_isc::session::{Ended, Event, LegId, Reason};
use parlance_sip::Timers as SipTimers;
use parlance_store::Millis;
use tokio::time::{Instant, timeout_at};

use super::{Participant, Session, Stage, replace};
use crate::focus::{EndpointId, Kind, Release};
use crate::policy::limit;
use crate::refusal::Refusal;

/// Why somebody is removed: what the others are told, and what he is told in his BYE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Why {
    method: DisconnectionMethod,
    reason: (u16, &'static str),
}

/// He goes himself.
pub(super) const DEPARTED: Why = Why { method: Departed, reason: (200, "Call completed") };
/// Somebody had him removed.
pub(super) const EXPELLED: Why = Why { method: Booted, reason: (410, "Gone") };
/// Another dialog of his took the place of this one (RFC 3891 §3).
pub(super) const REPLACED: Why = Why { method: Departed, reason: (200, "Replaced") };
/// His MSRP session is gone.
pub(super) const MEDIA_LOST: Why = Why { method: Failed, reason: (480, "MSRP session lost") };
/// He did not take his messages (MSRP-070).
pub(super) const TOO_SLOW: Why = Why { method: Failed, reason: (503, "MSRP session too slow") };
/// His description cannot be used.
pub(super) const NOT_ACCEPTABLE: Why = Why { method: Failed, reason: (488, "Not Acceptable Here") };

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// By the rules of its kind, or because it has not begun.
    Over,
    /// The founder cancelled.
    Cancelled,
    /// Nobody has said anything for too long.
    Idle,
    /// It has lasted as long as it may.
    TooLong,
    /// Its group is no more.
    GroupGone,
    /// The server stops.
    Draining,
}

impl Ending {
    fn reason(self) -> Reason {
        match self {
            Self::Over => Reason::sip(200, "Call completed"),
            Self::Cancelled => Reason::sip(487, "Request Terminated"),
            Self::Idle => Reason::sip(480, "Session idle"),
            Self::TooLong => Reason::sip(480, "Session time is over"),
            Self::GroupGone => Reason::sip(410, "Gone"),
            Self::Draining => Reason::sip(480, "Service stops"),
        }
    }
}

impl Session {
    /// Notes that the session is to end.
    pub(super) fn end_with(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// The dialog of a participant is over.
    pub(super) fn leg_ended(&mut self, leg: LegId, ended: &Ended) {
        let Some(endpoint) = self.legs.remove(&leg) else { return };
        let method = match ended {
            Ended::Bye(_) => Departed,
            Ended::NoAck | Ended::NotRefreshed | Ended::Gone(_) => Failed,
        };
        self.forget(endpoint, method);
    }

    /// Somebody was lost.
    pub(super) fn lost(&mut self, endpoint: EndpointId, why: Why) {
        self.remove(endpoint, why);
    }

    /// Takes a participant out, with BYE or CANCEL. What waits to be written on his MSRP connection
    /// still is.
    pub(super) fn remove(&mut self, endpoint: EndpointId, why: Why) {
        if let Some(participant) = self.participants.get_mut(&endpoint)
            && let Stage::In(inside) = &mut participant.stage
            && let Some(leg) = inside.leg.take()
        {
            self.legs.remove(&leg.id());
            let (cause, text) = why.reason;
            leg.end(Some(Reason::sip(cause, text)));
        }
        self.forget(endpoint, why.method);
    }

    /// Takes out a participant who has no dialog any more.
    pub(super) fn forget(&mut self, endpoint: EndpointId, method: DisconnectionMethod) {
        self.legs.retain(|_, other| *other != endpoint);
        if self.founder.as_ref().is_some_and(|founder| founder.endpoint == endpoint) {
            self.refuse_founder(&Refusal::NobodyThere);
        }
        self.focus.leave(endpoint, method);
        let Some(participant) = self.participants.remove(&endpoint) else { return };
        let Participant { caller, room_leg, stage, lent, .. } = participant;
        if let Some(mut lent) = lent {
            lent.ended(if method == Failed { 408 } else { 200 });
        }
        self.keys.remove(&room_leg.key());
        self.forget_loss(endpoint);
        match stage {
            Stage::Calling(call) => {
                self.referral_is_over(call.referral(), 487, "Request Terminated");
            }
            Stage::In(inside) => {
                if let Some(dialog) = inside.dialog {
                    replace::note_ended(&mut self.ended, dialog);
                }
            }
        }
        self.unwatch(&caller.names());
    }

    /// Ends the session when the rules of its kind say so. An empty chat room waits a while.
    pub(super) fn check_release(&mut self) {
        let release = self.focus.release();
        let waits = limit(self.focus.policy().empty_room_s);
        match (release, waits) {
            (None, _) => self.timers.empty = None,
            (Some(Release::Empty), Some(wait)) if self.focus.kind() == Kind::Chat => {
                let at = self.now() + wait;
                self.timers.empty.get_or_insert(at);
            }
            (Some(_), _) => self.end_with(Ending::Over),
        }
    }

    /// Ends everything that is left, and tells everybody.
    pub(super) async fn finish(mut self) {
        self.hear_room();
        let ending = self.ending.unwrap_or(Ending::Over);
        let now = self.cx.now();
        let until = Millis(now.0.saturating_add(1000 * u64::from(self.focus.policy().ended_s)));
        self.hosted.table.borrow_mut().end(&self.identities, until, now);
        self.registered = None;
        self.refuse_founder(&Refusal::NobodyThere);
        // Calls under way are cancelled by dropping them.
        self.work.clear();
        let reason = ending.reason();
        let cause = if matches!(ending, Ending::Draining) { 503 } else { 200 };
        for (_, participant) in std::mem::take(&mut self.participants) {
            if let Some(mut lent) = participant.lent {
                lent.ended(cause);
            }
            if let Stage::In(inside) = participant.stage
                && let Some(leg) = inside.leg
            {
                leg.end(Some(reason.clone()));
            }
        }
        let referrals: Vec<_> = self.referrals.keys().copied().collect();
        for referral in referrals {
            self.referral_is_over(Some(referral), 487, "Request Terminated");
        }
        self.end_watchers();
        let last = Instant::now() + last_words();
        while !(self.watchers.is_empty() && self.referrals.is_empty()) {
            match timeout_at(last, self.inbox.next()).await {
                Ok(event) => self.after_the_end(event),
                Err(_) => break,
            }
        }
        self.hosted.meter.ended(ending.label());
        // What was said is nobody's concern yet; the room is closed whether it tells or not.
        let _ = self.room.close().await;
    }

    fn after_the_end(&mut self, event: Event) {
        match event {
            Event::Notify(watcher, due) => self.notify(watcher, due),
            Event::Unwatched(watcher) => self.unwatched(watcher),
            Event::Joining(invite) => invite.reply(&self.reply(&Refusal::Gone)),
            Event::Outside(incoming) => incoming.reply(&self.reply(&Refusal::Gone)),
            Event::Offer(..)
            | Event::Answer(..)
            | Event::Confirmed(_)
            | Event::Request(..)
            | Event::Ended(..)
            | Event::Draining => {}
        }
    }
}

/// How long the last NOTIFYs may take: one that is under way, and the last one (Timer F of both).
fn last_words() -> Duration {
    2 * 64 * SipTimers::default().t1
}

impl Ending {
    fn label(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::Cancelled => "cancelled",
            Self::Idle => "idle",
            Self::TooLong => "too-long",
            Self::GroupGone => "group-gone",
            Self::Draining => "draining",
        }
    }
}
