//! Who is told who takes part: the conference event package (OMA-TS-SIMPLE_IM §7.4.3.12, RFC 4575).

use parlance_content::conference_info::MEDIA_TYPE;
use parlance_isc::session::{Body, Due, WatchTerms, Watcher, WatcherId};
use parlance_isc::{Incoming, Reply};
use parlance_sip::Request;
use parlance_sip::header::{Accept, Event};
use parlance_sip::subscription::notifier::{Cause, Limits};
use parlance_sip::uri::Aor;

use super::Session;
use crate::focus::Seen;
use crate::policy::seconds_of;
use crate::refusal::Refusal;

/// The event package of a session.
const CONFERENCE: &str = "conference";

/// Longest subscription to a session without an end of its own, in seconds. Local limit: a day.
const EXPIRES_MAX: u32 = 86_400;

/// A subscription.
pub(super) struct Watching {
    /// `None` once it was ended; its last NOTIFY is on its way then.
    watcher: Option<Watcher>,
    names: Vec<Aor>,
    seen: Seen,
}

impl Session {
    /// A SUBSCRIBE (CF-057): to who takes part, by a participant who may see that.
    pub(super) fn subscribe(&mut self, names: Vec<Aor>, incoming: Incoming) {
        if is_of_reference(incoming.request()) {
            return incoming.reply(&self.reply(&Refusal::NotAllowed));
        }
        if let Err(refused) = self.focus.may_watch(&names) {
            return incoming.reply(&self.reply(&refused));
        }
        if !takes_document(incoming.request()) {
            return incoming.reply(&Reply::new(406));
        }
        let policy = self.policy();
        let max = usize::try_from(policy.watchers_max).unwrap_or(usize::MAX);
        if self.watchers.len() >= max {
            return incoming.reply(&self.reply(&Refusal::Unavailable));
        }
        let left = self.timers.end.map(|end| end.saturating_duration_since(self.now()).as_secs());
        let expires_max = left.and_then(|left| u32::try_from(left).ok()).unwrap_or(EXPIRES_MAX);
        let limits = Limits {
            expires_default: policy.subscription_s,
            expires_min: policy.subscription_s_min,
            expires_max: expires_max.min(EXPIRES_MAX),
            pace: seconds_of(policy.notify_pace_s),
        };
        let contact = self.contact();
        let terms = WatchTerms { packages: &[CONFERENCE], limits, contact, headers: Vec::new() };
        if let Some(watcher) = self.cx.watch(incoming, &terms, &self.address) {
            // Nobody waits for what he is told at once.
            if self.watchers.is_empty() {
                self.timers.told = self.focus.revision();
            }
            let id = watcher.id();
            let watching = Watching { watcher: Some(watcher), names, seen: Seen::default() };
            self.watchers.insert(id, watching);
        }
    }

    /// A NOTIFY is due: the document that brings its subscriber up to date.
    pub(super) fn notify(&mut self, id: WatcherId, due: Due) {
        if self.referrals.contains_key(&id) {
            return self.notify_referral(id, due);
        }
        let Some(watching) = self.watchers.get_mut(&id) else { return };
        let is_last = due.is_last();
        let document = match &watching.watcher {
            Some(_) => self.focus.document(&mut watching.seen, due.is_full()),
            // Whoever left is told nothing any more; all others are told that it is over.
            None if self.ending.is_some() => Some(self.focus.last_document(&watching.seen)),
            None => None,
        };
        if is_last {
            self.watchers.remove(&id);
        }
        match document {
            Some(document) => due.send(&Body::new(MEDIA_TYPE, document)),
            None => due.send_without_body(),
        }
    }

    /// A subscription is over.
    pub(super) fn unwatched(&mut self, id: WatcherId) {
        self.watchers.remove(&id);
        self.referrals.remove(&id);
    }

    /// Sees to it that subscribers hear of what has changed: all at the same time, so that most of
    /// them know the same and are told the same, and not sooner after the last time than one
    /// subscriber may be told.
    pub(super) fn tell_watchers(&mut self) {
        if self.focus.revision() == self.timers.told || self.watchers.is_empty() {
            return;
        }
        let now = self.now();
        let pace = seconds_of(self.focus.policy().notify_pace_s);
        let at = self.timers.told_at.map_or(now, |told_at| now.max(told_at + pace));
        self.timers.tell.get_or_insert(at);
    }

    pub(super) fn watchers_changed(&mut self) {
        self.timers.told = self.focus.revision();
        for watching in self.watchers.values().filter(|it| self.focus.has_news(&it.seen)) {
            if let Some(watcher) = &watching.watcher {
                watcher.changed();
            }
        }
    }

    /// Ends the subscriptions of somebody who takes no part any more.
    pub(super) fn unwatch(&mut self, names: &[Aor]) {
        if self.focus.takes_place(names) {
            return;
        }
        for watching in self.watchers.values_mut() {
            if watching.names.iter().any(|name| names.contains(name))
                && let Some(watcher) = watching.watcher.take()
            {
                watcher.end(Cause::ResourceGone);
            }
        }
    }

    /// Ends all subscriptions with one more NOTIFY each (CF-061).
    pub(super) fn end_watchers(&mut self) {
        for watching in self.watchers.values_mut() {
            if let Some(watcher) = watching.watcher.take() {
                watcher.end(Cause::ResourceGone);
            }
        }
    }
}

/// Whether a SUBSCRIBE is about what a REFER made (RFC 3515 §2.4.4). One that refreshes that is in
/// its dialog and never comes to a focus; any other matches nothing (CF-080).
pub(crate) fn is_of_reference(request: &Request) -> bool {
    let event = request.header::<Event<'_>>().ok().flatten();
    event.is_some_and(|event| event.package().eq_ignore_ascii_case("refer"))
}

/// Whether a subscriber takes the document; the package has no other (RFC 4575 §3.3).
fn takes_document(request: &Request) -> bool {
    let mut accepted = request.list::<Accept<'_>>().filter_map(Result::ok).peekable();
    accepted.peek().is_none()
        || accepted.any(|range| range.0.covers("application", "conference-info+xml"))
}
