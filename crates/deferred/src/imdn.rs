//! Telling a sender that his message is stored, or will not be delivered (RFC 5438 §8, §9).
//!
//! After its 202 this function has the duty to deliver, so it is the one to report a failure, but
//! never a delivery: what a client answers tells nothing about the user (§12.2).
//!
//! | What                       | Asked for with      | Sent                                |
//! |----------------------------|---------------------|-------------------------------------|
//! | the store has the message  | `processing`        | `stored` (§8.1), tried once         |
//! | it ends undelivered        | `negative-delivery` | `failed` (§8.2), tried several times |
//!
//! Each follows a change of the store that happens once for a message, so none is sent twice. A
//! crash in between loses it: §8 forbids two, and §12.2 asks for none.
//!
//! Deviation: §8 sends a notification along `IMDN-Route`, which is copied from a body anybody can
//! write. It is written into the notification, but the request goes to the asserted originator, so
//! that nobody can make this server send messages to a third party.

use bytes::Bytes;
use parlance_content::cpim::Cpim;
use parlance_content::date_time;
use parlance_content::imdn::{DeliveryStatus, Disposition, Envelope, Imdn, ProcessingStatus};
use parlance_isc::{Charging, Origin, Private, Way};
use parlance_store::{Item, Millis, NewItem, UserId};

use crate::deferred::Shared;
use crate::keeper::Keeper;
use crate::message::{self, Ids};
use crate::verdict::Verdict;
use crate::{Policy, keep, meter};

/// The message will not be delivered.
pub(crate) const FAILED: Disposition = Disposition::Delivery(DeliveryStatus::Failed);

/// The message waits in the store.
pub(crate) const STORED: Disposition = Disposition::Processing(ProcessingStatus::Stored);

/// A notification to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Who gets it.
    pub(crate) originator: String,
    disposition: Disposition,
    received: Millis,
    payload: Bytes,
}

impl Report {
    /// The report of a failure, if the sender asked for one and can be reached.
    pub(crate) fn failed(item: &Item) -> Option<Report> {
        let asked = item.wants_negative_delivery && !item.originator.is_empty();
        asked.then(|| Report {
            originator: item.originator.clone(),
            disposition: FAILED,
            received: item.received,
            payload: item.payload.clone(),
        })
    }

    /// The report that `item`, whose content is `cpim`, is stored; as [`Report::failed`].
    pub(crate) fn stored(item: &NewItem, cpim: Option<&Cpim>) -> Option<Report> {
        let asked = keep::asks_for(STORED, cpim) && !item.originator.is_empty();
        asked.then(|| Report {
            originator: item.originator.clone(),
            disposition: STORED,
            received: item.received,
            payload: item.payload.clone(),
        })
    }

    /// The `message/cpim` body; `None` when the message did not ask for it after all.
    fn body(&self, shared: &Shared, message_id: &str, now: Millis) -> Option<Bytes> {
        let stored = keep::read(&self.payload)?;
        let cpim = keep::kept_cpim(&stored)?;
        let envelope = Envelope {
            from: &shared.service,
            to: &self.originator,
            message_id,
            date_time: &rfc3339(now)?,
        };
        let document = Imdn::about(&cpim, self.disposition, &rfc3339(self.received)?)?;
        document.wrap(&cpim, &envelope).ok()
    }

    /// How often it is tried again. That a message is stored is no news later, and must not take
    /// the room of failures.
    fn retries(&self, policy: &Policy) -> u32 {
        if self.disposition == STORED { 0 } else { policy.report_retries }
    }

    /// Sends it, again after a back-off when it fails, and counts it as lost in the end.
    pub(crate) async fn deliver(self, keeper: &Keeper) {
        let shared = &keeper.shared;
        let message_id = format!("{:016x}{:016x}", keeper.cx.random(), keeper.cx.random());
        let Some(body) = self.body(shared, &message_id, keeper.cx.now()) else {
            return meter::report("impossible");
        };
        for failures in 0..=self.retries(&shared.policy()) {
            if failures > 0 {
                keeper.cx.after(shared.policy().back_off(failures)).await;
            }
            tokio::time::sleep_until(keeper.pace.place()).await;
            match self.attempt(keeper, &body).await {
                Some(Verdict::Delivered) => return meter::report("delivered"),
                Some(Verdict::Refused | Verdict::Declined) => return meter::report("refused"),
                Some(Verdict::Later(_)) | None => {}
            }
        }
        let originator = Private(&self.originator);
        tracing::warn!(%originator, "a disposition notification could not be delivered");
        meter::report("lost");
    }

    /// One attempt; `None` when there was no way to go.
    async fn attempt(&self, keeper: &Keeper, body: &[u8]) -> Option<Verdict> {
        let (cx, shared) = (&keeper.cx, &keeper.shared);
        let user = cx.node().profiles.resolve(&self.originator).await.ok()?;
        let user = user.unwrap_or_else(|| UserId::from(self.originator.as_str()));
        let registration = cx.node().registrations.lookup(&user).await.ok()?;
        let registration = registration.filter(|found| !found.has_lapsed(cx.now()));
        let way = match &registration {
            Some(registration) => Way::to_scscf(&registration.scscf, shared.listener)?,
            None => Way::onwards(cx, &self.originator, shared.listener)?,
        };
        let policy = shared.policy();
        let request = message::Envelope {
            shared,
            way: &way,
            to: &self.originator,
            ids: &Ids::fresh(cx, &shared.domain),
            charging: Charging::of(cx, registration.as_deref(), policy.orig_ioi.as_deref()),
        }
        .report(body)?;
        let branch = shared.marks.branch(Origin::Notification, cx.shard(), cx.random(), &request);
        Some(Verdict::of(&cx.send(request, way.hop.clone(), Some(&branch)).await))
    }
}

/// A time as RFC 3339 writes it, in UTC; `None` from the year 10000 on.
fn rfc3339(time: Millis) -> Option<String> {
    date_time::text(i64::try_from(time.0 / 1000).ok()?)
}

#[cfg(test)]
mod tests {
    use super::{Millis, rfc3339};

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        let table = [
            (1_141_208_130_999, "2006-03-01T10:15:30Z"),
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
        ];
        for (time, text) in table {
            assert_eq!(rfc3339(Millis(time)).as_deref(), Some(text));
        }
        assert_eq!(rfc3339(Millis::MAX), None);
    }
}
