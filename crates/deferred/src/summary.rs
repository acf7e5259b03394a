//! Who asks how many messages wait for him: the event package `message-summary` (OMA-TS-SIMPLE_IM
//! §7.3.1.9, RFC 3842).
//!
//! | what | answer |
//! |---|---|
//! | SUBSCRIBE of the user, to himself or to this function | 200, and a NOTIFY at once |
//! | of anybody else | 403 |
//! | a message is kept, delivered, given up | a NOTIFY, at its pace |
//! | the user is no longer registered | the last NOTIFY, `terminated;reason=timeout` |
//!
//! All that is kept counts as new: what was delivered is not kept.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use parlance_isc::service::Service;
use parlance_isc::session::{Body, Event, Inbox, WatchTerms};
use parlance_isc::{Cx, Decision, Incoming, Reason, Reply, Role, SessionCase, Task};
use parlance_sip::header::Accept;
use parlance_sip::subscription::notifier::{Cause, Limits};
use parlance_sip::uri::Aor;
use parlance_sip::{HeaderName, Request};
use parlance_store::{Inboxes, Profiles, Seq, StoreError, UserId};
use tokio::sync::watch;

use crate::deferred::Deferred;
use crate::session::contact;
use crate::{keep, large};

/// The media type of the summary (RFC 3842 §3.5).
const MEDIA_TYPE: &str = "application/simple-message-summary";

/// Durations, and how often a change is told (RFC 3842 §3.4, §3.11).
const LIMITS: Limits = Limits {
    expires_default: 3_600,
    expires_min: 60,
    expires_max: 86_400,
    pace: Duration::from_secs(5),
};

/// Messages of one inbox that are looked at for a summary; local limit. Those beyond count as
/// pager-mode messages that are not urgent.
const LOOKED_AT_MAX: usize = 1_000;

/// Messages read at a time, with what they hold; local limit.
const PAGE: usize = 50;

/// Seconds until a subscriber should try again for whom there is no room.
const RETRY_AFTER_S: u32 = 30;

/// The inboxes that somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    users: Mutex<HashMap<UserId, watch::Sender<bool>>>,
    /// How many; nothing is locked while there is none.
    watchers: AtomicUsize,
}

/// One who watches; dropped, he does no more.
struct Watching<'a> {
    watched: &'a Watched,
    user: UserId,
    /// Changes with the inbox; true when the user is gone.
    news: watch::Receiver<bool>,
}

impl Watched {
    /// The inbox of `user` changed.
    pub(crate) fn changed(&self, user: &UserId) {
        self.tell(user, false);
    }

    /// He is no longer registered.
    pub(crate) fn gone(&self, user: &UserId) {
        self.tell(user, true);
    }

    fn tell(&self, user: &UserId, gone: bool) {
        if self.watchers.load(Ordering::Acquire) == 0 {
            return;
        }
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(news) = users.get(user) {
            news.send_modify(|is_gone| *is_gone |= gone);
        }
    }

    /// `None` when `most` watch already.
    fn watch(&self, user: &UserId, most: usize) -> Option<Watching<'_>> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if self.watchers.load(Ordering::Acquire) >= most {
            return None;
        }
        self.watchers.fetch_add(1, Ordering::AcqRel);
        let news = users.entry(user.clone()).or_insert_with(|| watch::Sender::new(false));
        // Who was gone is here again: he asks.
        news.send_modify(|is_gone| *is_gone = false);
        Some(Watching { watched: self, user: user.clone(), news: news.subscribe() })
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let mut users = self.watched.users.lock().unwrap_or_else(PoisonError::into_inner);
        self.watched.watchers.fetch_sub(1, Ordering::AcqRel);
        // This one's receiver is dropped after this.
        if users.get(&self.user).is_some_and(|news| news.receiver_count() <= 1) {
            users.remove(&self.user);
        }
    }
}

impl Role for Deferred {
    /// Serves a SUBSCRIBE to `message-summary` until the subscription is over. Retrieval is not
    /// here: anything else is answered 405.
    fn transaction(self: Rc<Self>, cx: Cx, request: Incoming) -> Task {
        Box::pin(async move {
            if request.request().method() != parlance_sip::Method::Subscribe {
                return request.reply(&Reply::new(405).with(HeaderName::Allow, "SUBSCRIBE"));
            }
            self.summarise(&cx, request).await;
        })
    }
}

impl Deferred {
    async fn summarise(&self, cx: &Cx, incoming: Incoming) {
        let shared = self.shared();
        let busy = Reply::new(480).with(HeaderName::RetryAfter, RETRY_AFTER_S);
        let profiles = &*cx.node().profiles;
        let owner = owner(incoming.request(), incoming.decision(), &shared.service, profiles).await;
        let user = match owner {
            Ok(Some(user)) => user,
            Ok(None) => return incoming.reply(&Reply::new(403)),
            Err(error) => {
                tracing::warn!(%error, "whose inbox is asked for cannot be found out");
                return incoming.reply(&busy);
            }
        };
        if !takes_summary(incoming.request()) {
            return incoming.reply(&Reply::new(406));
        }
        let most = shared.policy().summaries_max;
        let Some(mut watching) = shared.watched.watch(&user, most) else {
            return incoming.reply(&busy);
        };
        let mut inbox = Inbox::new(cx);
        let terms = WatchTerms {
            packages: &["message-summary"],
            limits: LIMITS,
            contact: contact(cx, shared),
            headers: Vec::new(),
        };
        let mut watcher = cx.watch(incoming, &terms, &inbox.address());
        if watcher.is_none() {
            return;
        }
        loop {
            tokio::select! {
                event = inbox.next() => match event {
                    Event::Notify(_, due) => {
                        let is_last = due.is_last();
                        match summary(&*shared.inboxes, &user).await {
                            Ok(text) => due.send(&Body::new(MEDIA_TYPE, text)),
                            Err(error) => {
                                tracing::warn!(%error, "an inbox cannot be summed up");
                                due.send_without_body();
                            }
                        }
                        if is_last {
                            return;
                        }
                    }
                    Event::Draining => {
                        watcher.take().into_iter().for_each(|it| it.end(Cause::Shutdown));
                    }
                    Event::Unwatched(_) => return,
                    _ => {}
                },
                news = watching.news.changed(), if watcher.is_some() => {
                    let gone = news.is_err() || *watching.news.borrow_and_update();
                    match &watcher {
                        Some(watcher) if !gone => watcher.changed(),
                        _ => watcher.take().into_iter().for_each(|it| it.end(Cause::Deregistered)),
                    }
                }
            }
        }
    }
}

/// Whose inbox is watched: the user's own, by himself. Where the core serves this function and not
/// a user, that is who asks.
async fn owner(
    request: &Request,
    decision: &Decision,
    service: &str,
    profiles: &dyn Profiles,
) -> Result<Option<UserId>, StoreError> {
    let Some(asks) = decision.originator.as_ref().map(|asks| &asks.address) else {
        return Ok(None);
    };
    let Some(target) = request.uri().and_then(|uri| Aor::from_uri(&uri)) else { return Ok(None) };
    let is_service =
        decision.reason == Reason::Service(Service::Deferred) || target.as_str() == service;
    if is_service && decision.case() == SessionCase::Terminating {
        return profiles.resolve(asks.as_str()).await;
    }
    let served = decision.served.identity.as_ref();
    let is_his = |identity: &Aor| served == Some(identity) || decision.subscriber.has(identity);
    let may_ask = is_his(asks) && (is_his(&target) || is_service);
    Ok(decision.user.clone().filter(|_| may_ask))
}

/// Whether the subscriber takes the summary; the package has no other (RFC 3842 §3.6).
fn takes_summary(request: &Request) -> bool {
    let mut accepted = request.list::<Accept<'_>>().filter_map(Result::ok).peekable();
    accepted.peek().is_none()
        || accepted.any(|range| range.0.covers("application", "simple-message-summary"))
}

/// How many there are of a kind, and how many of them are urgent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    all: u64,
    urgent: u64,
}

/// The summary of an inbox (RFC 3842 §3.5, §5.2).
async fn summary(inboxes: &dyn Inboxes, user: &UserId) -> Result<String, StoreError> {
    let (mut pager, mut large) = (Count::default(), Count::default());
    let (mut after, mut looked_at) = (Seq(0), 0);
    while looked_at < LOOKED_AT_MAX {
        let items = inboxes.head(user, after, PAGE).await?;
        let Some(last) = items.last() else { break };
        after = last.seq;
        looked_at += items.len();
        for request in items.iter().filter_map(|item| keep::read(&item.payload)) {
            let count = if large::is_large(&request) { &mut large } else { &mut pager };
            count.all += 1;
            count.urgent += u64::from(is_urgent(&request));
        }
    }
    if looked_at >= LOOKED_AT_MAX {
        let items = inboxes.counts(user).await?.items;
        pager.all += items.saturating_sub(pager.all + large.all);
    }
    Ok(written(user, pager, large))
}

fn is_urgent(request: &Request) -> bool {
    let priority = request.named(b"Priority").unwrap_or_default();
    [&b"urgent"[..], b"emergency"].iter().any(|known| priority.eq_ignore_ascii_case(known))
}

fn written(user: &UserId, pager: Count, large: Count) -> String {
    let waiting = if pager.all + large.all > 0 { "yes" } else { "no" };
    let mut text = format!("Messages-Waiting: {waiting}\r\nMessage-Account: {user}\r\n");
    for (class, count) in [("Pager", pager), ("Multimedia", large)] {
        let Count { all, urgent } = count;
        // Writing to a text cannot fail.
        let _ = write!(text, "{class}-Message: {all}/0 ({urgent}/0)\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Count, Watched, is_urgent, owner, summary, takes_summary, written};
    use crate::scenario::request;
    use parlance_isc::served_user::{Evidence, ServedUser, Subscriber};
    use parlance_isc::service::Service;
    use parlance_isc::trust::{Originator, Peer};
    use parlance_isc::{Decision, Function, Reason, SessionCase};
    use parlance_store::{Inboxes, Memory, Millis, NewItem, Profile, Profiles, Quota};

    const SERVICE: &str = "sip:im-deferred@ims.test";
    const BOB: &str = "sip:bob@ims.test";

    // Covers: DF-021
    #[test]
    fn a_summary_counts_what_is_new_and_what_is_urgent() {
        let none = written(&BOB.into(), Count::default(), Count::default());
        assert_eq!(
            none,
            "Messages-Waiting: no\r\nMessage-Account: sip:bob@ims.test\r\n\
             Pager-Message: 0/0 (0/0)\r\nMultimedia-Message: 0/0 (0/0)\r\n"
        );
        let some = written(&BOB.into(), Count { all: 3, urgent: 1 }, Count { all: 1, urgent: 0 });
        assert_eq!(
            some,
            "Messages-Waiting: yes\r\nMessage-Account: sip:bob@ims.test\r\n\
             Pager-Message: 3/0 (1/0)\r\nMultimedia-Message: 1/0 (0/0)\r\n"
        );
        let with =
            |headers: &str| request(&format!("MESSAGE sip:b@h SIP/2.0\r\n{headers}\r\n\r\n"));
        let table = [
            ("Priority: URGENT", true),
            ("Priority: emergency", true),
            ("Priority: normal", false),
            ("Subject: urgent", false),
        ];
        for (header, expected) in table {
            assert_eq!(is_urgent(&with(header)), expected, "{header}");
        }
    }

    /// The decision about a SUBSCRIBE of `asks` for the user, or the service, `served`.
    fn decision(asks: &str, case: SessionCase, served: &str, reason: Reason) -> Decision {
        let user = (served == BOB).then(|| BOB.into());
        let subscriber = match user.clone() {
            Some(user) => Subscriber::Known { user, profile: None, registration: None },
            None => Subscriber::Unknown,
        };
        let served = ServedUser {
            case,
            evidence: Evidence::ServedUser,
            identity: served.parse().ok(),
            registered: None,
            named_by_core: true,
            route_is_ours: true,
        };
        Decision {
            role: Function::Deferred,
            reason,
            peer: Peer::Untrusted,
            served,
            user,
            subscriber,
            originator: asks.parse().ok().map(|address| Originator { address, alias: None }),
            mode: None,
            origin: None,
        }
    }

    // Covers: DF-020
    #[tokio::test]
    async fn a_summary_is_for_the_owner() {
        use SessionCase::{Originating, Terminating};
        const OTHER: &str = "sip:im-deferred@ims.test";
        const EVE: &str = "sip:eve@other.test";
        const ASKED: Reason = Reason::Service(Service::Deferred);
        let store = Memory::new();
        store.put(Profile::new(BOB.into(), Millis(0))).await.unwrap();
        #[rustfmt::skip]
        let table = [
            (BOB, Originating, BOB,     BOB,     Reason::MessageSummary, true),
            (BOB, Originating, BOB,     SERVICE, Reason::MessageSummary, true),
            (BOB, Originating, BOB,     OTHER,   ASKED,                  true),
            (BOB, Originating, BOB,     EVE,     Reason::MessageSummary, false),
            (EVE, Terminating, BOB,     BOB,     Reason::MessageSummary, false),
            (EVE, Originating, BOB,     OTHER,   ASKED,                  false),
            ("",  Originating, BOB,     BOB,     Reason::MessageSummary, false),
            // The core serves the function.
            (BOB, Terminating, SERVICE, SERVICE, ASKED,                  true),
            (BOB, Terminating, OTHER,   OTHER,   ASKED,                  true),
            (EVE, Terminating, OTHER,   OTHER,   ASKED,                  false),
            ("",  Terminating, OTHER,   OTHER,   ASKED,                  false),
        ];
        for (asks, case, served, target, reason, expected) in table {
            let request = request(&format!("SUBSCRIBE {target} SIP/2.0\r\n\r\n"));
            let decision = decision(asks, case, served, reason);
            let found = owner(&request, &decision, SERVICE, &store).await.unwrap();
            let expected = expected.then(|| BOB.into());
            assert_eq!(found, expected, "{asks} {case:?} {served} {target}");
        }
    }

    // Covers: DF-020
    #[test]
    fn the_subscriber_must_take_the_one_type_there_is() {
        let with =
            |headers: &str| request(&format!("SUBSCRIBE sip:b@h SIP/2.0\r\n{headers}\r\n\r\n"));
        assert!(takes_summary(&with("Subject: x")));
        assert!(takes_summary(&with("Accept: text/plain, application/simple-message-summary")));
        assert!(takes_summary(&with("Accept: application/*")));
        assert!(!takes_summary(&with("Accept: application/pidf+xml")));
    }

    #[tokio::test]
    async fn an_inbox_of_any_size_is_summed_up() {
        let store = Memory::new();
        for number in 0..1_060 {
            let urgent = if number % 2 == 0 { "Priority: urgent\r\n" } else { "" };
            let method = if number % 4 == 0 { "INVITE" } else { "MESSAGE" };
            let item = NewItem {
                recipient: BOB.into(),
                originator: "sip:alice@ims.test".into(),
                dedup: Vec::new(),
                received: Millis(0),
                expires: Millis::MAX,
                due: None,
                wants_negative_delivery: false,
                private: false,
                payload: format!("{method} {BOB} SIP/2.0\r\n{urgent}\r\n").into(),
            };
            let quota = Quota { items_max: 2_000, octets_max: 1 << 20 };
            store.accept(item, quota, Millis(0)).await.unwrap();
        }
        let text = summary(&store, &BOB.into()).await.unwrap();
        // A thousand are looked at.
        assert!(text.contains("Pager-Message: 810/0 (250/0)\r\n"), "{text}");
        assert!(text.contains("Multimedia-Message: 250/0 (250/0)\r\n"), "{text}");
    }

    #[test]
    fn who_watches_is_counted_and_forgotten() {
        let watched = Watched::default();
        let one = watched.watch(&BOB.into(), 2).unwrap();
        let two = watched.watch(&BOB.into(), 2).unwrap();
        assert!(watched.watch(&"sip:carol@ims.test".into(), 2).is_none(), "at the bound");
        watched.changed(&BOB.into());
        assert!(one.news.has_changed().unwrap() && !*one.news.borrow());
        watched.gone(&BOB.into());
        watched.changed(&BOB.into());
        assert!(*two.news.borrow(), "gone stays gone");
        drop(one);
        assert_eq!(watched.users.lock().unwrap().len(), 1);
        drop(two);
        assert!(watched.users.lock().unwrap().is_empty());
        watched.changed(&BOB.into());
    }
}
