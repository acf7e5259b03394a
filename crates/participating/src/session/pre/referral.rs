//! What comes of REFERs, told by NOTIFY (RFC 3515 §2.4.4, §2.4.5).

use std::time::Duration;

use parlance_content::sipfrag::CONTENT_TYPE;
use parlance_isc::session::{Address, Body, Due, WatchTerms, Watcher, WatcherId};
use parlance_isc::{Cx, Incoming};
use parlance_sip::subscription::notifier::{Cause, Limits};

/// REFERs of one session whose result is not told yet, at most; one more is refused. Local limit:
/// one is enough, a few may still wait for the answer to their last NOTIFY.
const REFERRALS_MAX: usize = 4;

/// Seconds of the subscription that a REFER makes, longer than a call may ring: it ends with the
/// result.
const REFER_EXPIRES: u32 = 600;

/// The REFERs whose sender is told what comes of them.
#[derive(Debug, Default)]
pub(super) struct Referrals(Vec<Referral>);

#[derive(Debug)]
struct Referral {
    id: WatcherId,
    /// `None` once the result is known.
    watcher: Option<Watcher>,
    line: String,
}

impl Referrals {
    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < REFERRALS_MAX
    }

    /// Answers a REFER, with a subscription unless its sender wants none (RFC 4488).
    pub(super) fn watch(
        &mut self,
        cx: &Cx,
        incoming: Incoming,
        contact: &str,
        to: &Address,
    ) -> Option<WatcherId> {
        let limits = Limits {
            expires_default: REFER_EXPIRES,
            expires_min: REFER_EXPIRES,
            expires_max: REFER_EXPIRES,
            pace: Duration::ZERO,
        };
        let contact = contact.to_owned();
        let terms = WatchTerms { packages: &[], limits, contact, headers: Vec::new() };
        let watcher = cx.watch_refer(incoming, &terms, to)?;
        let id = watcher.id();
        let line = "SIP/2.0 100 Trying\r\n".to_owned();
        self.0.push(Referral { id, watcher: Some(watcher), line });
        Some(id)
    }

    /// How it gets on.
    pub(super) fn tell(&mut self, id: Option<WatcherId>, status: u16, reason: &str) {
        let Some(referral) = self.open(id) else { return };
        referral.line = line(status, reason);
        if let Some(watcher) = &referral.watcher {
            watcher.changed();
        }
    }

    /// What came of it: the last that is told.
    pub(super) fn over(&mut self, id: Option<WatcherId>, status: u16, reason: &str) {
        self.close(id, line(status, reason));
    }

    /// It is joined to a session, whose identity is in this `Contact`: the client learns it nowhere
    /// else (RFC 3420 §3.1).
    pub(super) fn joined(&mut self, id: Option<WatcherId>, contact: Option<&str>) {
        let contact = contact.map(|contact| format!("Contact: {contact}\r\n"));
        self.close(id, line(200, "OK") + contact.as_deref().unwrap_or_default());
    }

    fn close(&mut self, id: Option<WatcherId>, told: String) {
        let Some(referral) = self.open(id) else { return };
        referral.line = told;
        if let Some(watcher) = referral.watcher.take() {
            watcher.end(Cause::ResourceGone);
        }
    }

    /// A NOTIFY is due.
    pub(super) fn notify(&mut self, id: WatcherId, due: Due) {
        let found = self.0.iter().find(|referral| referral.id == id);
        let Some(referral) = found else { return };
        let body = Body::new(CONTENT_TYPE, referral.line.clone());
        if due.is_last() {
            self.0.retain(|referral| referral.id != id);
        }
        due.send(&body);
    }

    /// Nobody wants to know any more.
    pub(super) fn unwatched(&mut self, id: WatcherId) {
        self.0.retain(|referral| referral.id != id);
    }

    fn open(&mut self, id: Option<WatcherId>) -> Option<&mut Referral> {
        let mut all = self.0.iter_mut();
        all.find(|referral| Some(referral.id) == id && referral.watcher.is_some())
    }
}

fn line(status: u16, reason: &str) -> String {
    let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
    format!("SIP/2.0 {status} {reason}\r\n")
}
