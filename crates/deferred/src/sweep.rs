//! What looks after the inboxes by itself: whose time has come, and what is too old.

use std::sync::atomic::Ordering;
use std::time::Duration;

use parlance_isc::Cx;
use parlance_store::{Cached, StoreError, UserId, Withdrawn};

use crate::deferred::{Deferred, Event};
use crate::meter;
use crate::rest::Rest;

/// Inboxes read at a time; local limit.
const PAGE: usize = 1000;

/// Expired items read at a time, with what they hold; local limit.
const EXPIRED_PAGE: usize = 100;

/// How long the search waits when the shards have no room for more.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Wakes the lanes whose back-off is over, or whose holder died.
pub(crate) async fn due(deferred: Deferred, cx: Cx) {
    loop {
        match deferred.shared().inboxes.due(cx.now(), PAGE).await {
            Ok(users) => {
                for user in users {
                    deferred.post(&cx, Event::Due { user });
                }
            }
            Err(error) => tracing::warn!(%error, "who is due cannot be found"),
        }
        cx.after(deferred.shared().policy().due_interval).await;
    }
}

/// Looks for what was missed, at the start of the server and when an event found no room, and
/// removes what is too old.
pub(crate) async fn sweep(deferred: Deferred, cx: Cx) {
    loop {
        if deferred.shared().missed.swap(false, Ordering::AcqRel)
            && let Err(error) = find_missed(&deferred, &cx).await
        {
            tracing::warn!(%error, "the inboxes cannot be looked through");
            deferred.miss();
        }
        if let Err(error) = remove_expired(&deferred, &cx).await {
            tracing::warn!(%error, "expired messages cannot be removed");
        }
        cx.after(deferred.shared().policy().sweep_interval).await;
    }
}

/// Wakes the lanes of users who are registered and whose inbox does not rest: their messages came,
/// or they did, when nobody was told.
async fn find_missed(deferred: &Deferred, cx: &Cx) -> Result<(), StoreError> {
    let inboxes = &deferred.shared().inboxes;
    let mut after: Option<UserId> = None;
    loop {
        let users = inboxes.recipients(after.as_ref(), PAGE).await?;
        let Some(last) = users.last() else { return Ok(()) };
        after = Some(last.clone());
        for user in users {
            if is_registered(cx, &user).await?
                && Rest::of(inboxes.failures(&user).await?) == Rest::Ready
            {
                while !deferred.post(cx, Event::Missed { user: user.clone() }) {
                    cx.after(BUSY_PAUSE).await;
                }
            }
        }
    }
}

async fn is_registered(cx: &Cx, user: &UserId) -> Result<bool, StoreError> {
    let registrations = &cx.node().registrations;
    let found = match registrations.cached(user.as_str()) {
        Cached::Known(found) => found,
        Cached::Unknown => registrations.lookup(user).await?,
    };
    Ok(found.is_some_and(|registration| !registration.has_lapsed(cx.now())))
}

/// Removes what is too old, and has the senders told who asked for it. What is being sent is left
/// to its lane.
async fn remove_expired(deferred: &Deferred, cx: &Cx) -> Result<(), StoreError> {
    let inboxes = &deferred.shared().inboxes;
    loop {
        let items = inboxes.expired(cx.now(), EXPIRED_PAGE).await?;
        let mut removed = 0;
        for item in &items {
            // First removed, then told: never two notifications about one message.
            let withdrawn = inboxes.withdraw(&item.recipient, item.seq, cx.now()).await?;
            if withdrawn == Withdrawn::Removed {
                removed += 1;
                deferred.shared().watched.changed(&item.recipient);
                deferred.report(cx, item);
            }
        }
        meter::expired(removed);
        if removed == 0 || items.len() < EXPIRED_PAGE {
            return Ok(());
        }
    }
}
