//! Session timers of one leg (RFC 4028).

use std::time::Instant;

use parlance_sip::header::SessionExpires;
use parlance_sip::session_timer::{Policy, Refresher, SessionAnswer, SessionOffer, SessionTimer};
use parlance_sip::{HeaderName, Message, Request, Response, session_timer};

use super::wording;

/// What one leg has agreed about refreshes.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    offer: SessionOffer,
    timer: Option<SessionTimer>,
    /// Whether the refreshes are ours; `None` before it was agreed.
    ours: Option<bool>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Refresh,
    Expired,
}

impl Timing {
    pub(super) fn new(policy: Policy) -> Self {
        Self { offer: SessionOffer::new(policy), timer: None, ours: None }
    }

    /// `Session-Expires` and `Min-SE` for a request of ours (RFC 4028 §7.1, §7.4).
    pub(super) fn values(&self) -> Vec<(HeaderName, String)> {
        let refresher = self.ours.map(|ours| if ours { Refresher::Uac } else { Refresher::Uas });
        let expires = SessionExpires::new(self.offer.interval(), refresher.map(wording::side));
        let mut values = vec![(HeaderName::SessionExpires, expires.to_string())];
        if let Some(min_se) = self.offer.min_se() {
            values.push((HeaderName::MinSe, min_se.to_string()));
        }
        values
    }

    /// A session refresh request of the peer's was accepted with `answer`.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        request: &Request,
        answer: Option<SessionAnswer>,
    ) {
        if let Some(min_se) = wording::min_se(request) {
            self.offer.min_se_received(min_se);
        }
        let Some(SessionAnswer { interval, refresher, .. }) = answer else {
            self.timer = None;
            return;
        };
        let refresher = Some(refresher);
        let (interval, refresher) =
            self.offer.accepted(Some(session_timer::SessionExpires { interval, refresher }));
        self.start(now, interval, refresher == Refresher::Uas);
    }

    /// The 2xx to a session refresh request of ours came.
    pub(super) fn accepted(&mut self, now: Instant, response: &Message) {
        let (interval, refresher) = self.offer.accepted(wording::session_expires(response));
        self.start(now, interval, refresher == Refresher::Uac);
    }

    fn start(&mut self, now: Instant, interval: u32, ours: bool) {
        self.ours = Some(ours);
        self.timer = Some(SessionTimer::new(now, interval, ours));
    }

    /// The dialog was made by the response to our request: what was learnt outside it is forgotten.
    pub(super) fn established(&mut self) {
        self.offer.established();
    }

    /// A 422 came: whether to ask again, for more.
    pub(super) fn rejected(&mut self, response: &Response) -> bool {
        self.offer.rejected(wording::min_se(response))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timer = self.timer?;
        Some(timer.refresh_at.map_or(timer.bye_at, |refresh_at| refresh_at.min(timer.bye_at)))
    }

    /// What is due; each thing is told once.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        let timer = self.timer.as_mut()?;
        if timer.bye_at <= now {
            self.timer = None;
            return Some(Due::Expired);
        }
        timer.refresh_at.take_if(|refresh_at| *refresh_at <= now).map(|_| Due::Refresh)
    }
}
