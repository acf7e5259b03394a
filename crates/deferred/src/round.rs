//! One pass over an inbox: push or notification, under a lease (OMA-TS-SIMPLE_IM §7.3.4,
//! Appendix H 10.2).
//!
//! | What happens to an item    | Next for it             | Next for the lane                  |
//! |----------------------------|-------------------------|------------------------------------|
//! | its time is over           | removed, sender told    | next item                          |
//! | larger than may be sent    | stays                   | next item; at the end notification |
//! | 2xx                        | removed                 | next item                          |
//! | refused for what it is     | removed, sender told    | next item                          |
//! | user declines              | stays                   | rests until he registers anew      |
//! | anything else              | stays                   | rests for the back-off             |
//! | user gone                  | stays                   | ends; the next registration counts |
//! | server stops               | stays                   | ends; due at once                  |

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parlance_isc::{Cx, Origin, Outcome};
use parlance_sip::Request;
use parlance_sip::endpoint::shard_of_branch;
use parlance_store::{
    Attempt, Fence, Inboxes, Item, Millis, Registration, Seq, Settlement, StoreError,
};
use tokio::time::Instant;

use crate::imdn::icid;
use crate::keeper::Keeper;
use crate::lane::{Lane, Wake};
use crate::message::{Envelope, Ids, Way};
use crate::rest::Rest;
use crate::verdict::Verdict;
use crate::{Delivery, keep, meter, offer};

/// How many items are read at a time: what a lane holds in memory.
const PAGE: usize = 16;

/// How often the end of an item is tried to be written, a second apart, before the round gives up.
const SETTLE_TRIES: u32 = 3;

/// The length of a branch that [`parlance_isc::Marks`] makes.
const BRANCH_OCTETS: usize = 43;

/// Why a round could not be finished. What it left is due when its lease is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The store failed, or somebody else took the lease over.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else has the lease, and may not know of the new registration.
    #[error("another node holds the inbox")]
    Held,
}

impl Fault {
    /// Whether the round may succeed later. Who took the lease over does the work.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Fault::Store(error) => error.is_temporary(),
            Fault::Held => true,
        }
    }
}

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everything is delivered.
    Empty,
    /// The user is not there, or wants nothing sent: nothing is tried until an event.
    Away,
    /// The server stops: somebody else goes on at once.
    Stopping,
    /// Nothing is tried before a point in time, or without the event that ends the rest.
    Resting(Rest, Millis),
}

/// What became of one item.
enum Step {
    /// It is gone.
    Gone,
    /// It is too large to be sent and stays.
    Stays,
    /// The round ends here.
    Ends(End),
}

struct Round<'a> {
    keeper: &'a Keeper,
    lane: &'a Lane,
    wake: Wake,
    rest: Rest,
    fence: Fence,
    leased_until: Millis,
    sent_before: bool,
}

/// Looks through the inbox of the lane once.
pub(crate) async fn run(keeper: &Keeper, lane: &Lane, wake: Wake) -> Result<(), Fault> {
    let inboxes = &keeper.shared.inboxes;
    if inboxes.counts(&lane.user).await?.items == 0 {
        return Ok(());
    }
    let rest = Rest::of(inboxes.failures(&lane.user).await?);
    if !wake.ends(rest) {
        return Ok(());
    }
    let now = keeper.cx.now();
    let leased_until = now + keeper.shared.policy.lease;
    let lease = inboxes.lease(&lane.user, keeper.shared.holder, leased_until, now).await?;
    let Some(fence) = lease else {
        // Due at the end of that lease; only of a registration its holder may not know.
        return if wake.registered.is_some() { Err(Fault::Held) } else { Ok(()) };
    };
    let mut round = Round { keeper, lane, wake, rest, fence, leased_until, sent_before: false };
    let end = round.deliver().await?;
    round.finish(end).await
}

impl Round<'_> {
    fn cx(&self) -> &Cx {
        &self.keeper.cx
    }

    fn inboxes(&self) -> &dyn Inboxes {
        &*self.keeper.shared.inboxes
    }

    async fn deliver(&mut self) -> Result<End, Fault> {
        let delivery = self.delivery().await?;
        if delivery == Delivery::None {
            return Ok(End::Away);
        }
        if self.rest != Rest::Ready && (self.wake.registered.is_some() || self.rest == Rest::Told) {
            // Durable, so that a crash while settling does not leave the old rest behind.
            self.rest = Rest::Ready;
            let until = self.leased_until;
            self.inboxes().postpone(&self.fence, until, Rest::Ready.failures()).await?;
        }
        let collects = delivery != Delivery::PushMessage && !self.wake.due;
        if self.wake.registered.is_some() || collects {
            let settled = Instant::now() + self.keeper.shared.policy.settle;
            if let Some(end) = self.wait_until(settled).await? {
                return Ok(end);
            }
        }
        match delivery {
            Delivery::PushMessage => self.push().await,
            Delivery::Notify | Delivery::PushMsrp | Delivery::None => self.notify().await,
        }
    }

    async fn delivery(&self) -> Result<Delivery, Fault> {
        let shared = &self.keeper.shared;
        let profile = offer::profile(&*shared.profiles, &self.lane.user).await?;
        Ok(shared.delivery(&profile))
    }

    /// Sends what can be sent, in order (DF-012), and tells of the rest.
    async fn push(&mut self) -> Result<End, Fault> {
        let (mut after, mut stay, mut untold) = (Seq(0), false, false);
        loop {
            let page = self.inboxes().head(&self.lane.user, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for item in &page {
                match self.item(item).await? {
                    Step::Gone => {}
                    Step::Stays => {
                        stay = true;
                        untold |= self.wake.is_news(item.seq);
                    }
                    Step::Ends(end) => return Ok(end),
                }
            }
        }
        match (stay, untold) {
            (_, true) => self.notify().await,
            (true, false) => Ok(End::Resting(Rest::Told, Millis::MAX)),
            (false, false) => Ok(End::Empty),
        }
    }

    async fn item(&mut self, item: &Item) -> Result<Step, Fault> {
        if self.lane.delivered.get() == Some(item.seq) {
            self.settle(item.seq, Settlement::Delivered).await?;
            return Ok(Step::Gone);
        }
        if item.expires > self.cx().now()
            && let Some(end) = self.turn().await?
        {
            return Ok(Step::Ends(end));
        }
        if item.expires <= self.cx().now() {
            return self.give_up(item, Settlement::Expired).await;
        }
        let Some(registration) = self.present().await? else { return Ok(Step::Ends(End::Away)) };
        let Some(way) = Way::to_scscf(&registration.scscf, self.keeper.shared.listener) else {
            tracing::warn!("the S-CSCF told by a registration is no SIP URI");
            return Ok(Step::Ends(End::Away));
        };
        let attempt = in_flight(item, self.cx().shard());
        let ids = match attempt {
            Some(attempt) => Ids::of(attempt),
            None => Ids::fresh(self.cx(), &self.keeper.shared.domain),
        };
        let made = self.envelope(&registration, &way, &ids, |envelope| {
            envelope.push(item, &keep::read(&item.payload)?)
        });
        let Some(request) = made else {
            tracing::warn!("a kept message cannot be read");
            return self.give_up(item, Settlement::Refused).await;
        };
        if !self.fits(&request) {
            return Ok(Step::Stays);
        }
        let branch = attempt.map_or_else(
            || self.branch(Origin::Deferred, &request),
            |attempt| attempt.branch.clone(),
        );
        self.prolong_for_sending().await?;
        let started = attempt.map_or(self.cx().now(), |attempt| attempt.started);
        let noted = Attempt {
            call_id: ids.call_id,
            cseq: ids.cseq,
            from_tag: ids.from_tag,
            branch: branch.clone(),
            started,
        };
        if !self.inboxes().attempt(&self.fence, item.seq, noted).await? {
            return Ok(Step::Gone);
        }
        let outcome = self.send(request, &way, &branch).await?;
        self.after(item, Verdict::of(&outcome)).await
    }

    /// What the outcome of an attempt means.
    async fn after(&mut self, item: &Item, verdict: Verdict) -> Result<Step, Fault> {
        match verdict {
            Verdict::Delivered => {
                self.lane.delivered.set(Some(item.seq));
                self.settle(item.seq, Settlement::Delivered).await?;
                meter::delivery("delivered");
                Ok(Step::Gone)
            }
            Verdict::Refused => {
                meter::delivery("refused");
                self.give_up(item, Settlement::Refused).await
            }
            Verdict::Declined => {
                meter::delivery("declined");
                self.forget_attempt(item.seq).await?;
                Ok(Step::Ends(End::Resting(Rest::Declined, Millis::MAX)))
            }
            Verdict::Later(asked) => {
                meter::delivery("failed");
                self.forget_attempt(item.seq).await?;
                Ok(Step::Ends(self.back_off(asked)))
            }
        }
    }

    fn back_off(&self, asked: Option<Duration>) -> End {
        let (rest, wait) = self.rest.failed(&self.keeper.shared.policy, asked);
        End::Resting(rest, self.cx().now() + wait)
    }

    /// A MESSAGE that tells how many there are (DF-060).
    async fn notify(&mut self) -> Result<End, Fault> {
        if let Some(end) = self.turn().await? {
            return Ok(end);
        }
        let Some(registration) = self.present().await? else { return Ok(End::Away) };
        let count = self.inboxes().counts(&self.lane.user).await?.items;
        if count == 0 {
            return Ok(End::Empty);
        }
        let Some(way) = Way::to_scscf(&registration.scscf, self.keeper.shared.listener) else {
            return Ok(End::Away);
        };
        let ids = Ids::fresh(self.cx(), &self.keeper.shared.domain);
        let made =
            self.envelope(&registration, &way, &ids, |envelope| envelope.notification(count));
        let Some(request) = made else { return Ok(End::Away) };
        let branch = self.branch(Origin::Notification, &request);
        self.prolong_for_sending().await?;
        let outcome = self.send(request, &way, &branch).await?;
        Ok(match Verdict::of(&outcome) {
            Verdict::Delivered => {
                meter::notification("delivered");
                End::Resting(Rest::Told, Millis::MAX)
            }
            Verdict::Declined | Verdict::Refused => {
                meter::notification("declined");
                End::Resting(Rest::Declined, Millis::MAX)
            }
            Verdict::Later(asked) => {
                meter::notification("failed");
                self.back_off(asked)
            }
        })
    }

    fn envelope(
        &self,
        registration: &Registration,
        way: &Way,
        ids: &Ids,
        make: impl FnOnce(&Envelope<'_>) -> Option<Request>,
    ) -> Option<Request> {
        make(&Envelope {
            shared: &self.keeper.shared,
            way,
            to: public_id(registration, self.lane.user.as_str()),
            ids,
            icid: icid(self.cx()),
            registration: Some(registration),
        })
    }

    fn branch(&self, origin: Origin, request: &Request) -> String {
        let cx = self.cx();
        self.keeper.shared.marks.branch(origin, cx.shard(), cx.random(), request)
    }

    /// Whether the request with its `Via` is small enough (RFC 3428 §8).
    fn fits(&self, request: &Request) -> bool {
        let local = self.cx().node().locals.at(self.keeper.shared.listener);
        let sent_by = local.map_or(0, |local| local.sent_by.len());
        let via = "Via: SIP/2.0/UDP ;branch=\r\n".len() + sent_by + BRANCH_OCTETS;
        request.bytes().len() + via <= self.keeper.shared.policy.request_octets_max
    }

    async fn send(&mut self, request: Request, way: &Way, branch: &str) -> Result<Outcome, Fault> {
        self.sent_before = true;
        let cx = self.cx().clone();
        self.hold(cx.send(request, way.hop.clone(), Some(branch))).await
    }

    /// Waits for this user's next turn and a place in the pace of the shard; says when the round
    /// ends instead.
    async fn turn(&mut self) -> Result<Option<End>, Fault> {
        let pause = match self.sent_before {
            true => self.keeper.shared.policy.pause,
            false => Duration::ZERO,
        };
        if let Some(end) = self.wait_until(Instant::now() + pause).await? {
            return Ok(Some(end));
        }
        self.wait_until(self.keeper.pace.place()).await
    }

    /// Waits, unless the user leaves or the server stops.
    async fn wait_until(&mut self, at: Instant) -> Result<Option<End>, Fault> {
        let (keeper, lane) = (self.keeper, self.lane);
        let mut stopping = keeper.shared.stopping.subscribe();
        let waited = self.hold(async move {
            if at > Instant::now() {
                tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = lane.nudge.notified() => {}
                    // The sender lives as long as the keeper.
                    _ = stopping.wait_for(|stopping| *stopping) => {}
                }
            }
        });
        waited.await?;
        Ok(match (*keeper.shared.stopping.borrow(), lane.is_gone()) {
            (true, _) => Some(End::Stopping),
            (false, true) => Some(End::Away),
            (false, false) => None,
        })
    }

    /// Does `work` while the lease is kept.
    async fn hold<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Fault> {
        let mut work = pin!(work);
        loop {
            let third = self.keeper.shared.policy.lease / 3;
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(third) => self.prolong().await?,
            }
        }
    }

    async fn prolong(&mut self) -> Result<(), Fault> {
        let now = self.cx().now();
        let until = now + self.keeper.shared.policy.lease;
        let holder = self.keeper.shared.holder;
        let fence = self.inboxes().lease(&self.lane.user, holder, until, now).await?;
        if fence.as_ref() != Some(&self.fence) {
            return Err(Fault::Store(StoreError::Fenced));
        }
        self.leased_until = until;
        Ok(())
    }

    /// Before something is sent at least two thirds of the lease must be left.
    async fn prolong_for_sending(&mut self) -> Result<(), Fault> {
        let left = self.leased_until.since(self.cx().now());
        if left < 2 * self.keeper.shared.policy.lease / 3 {
            self.prolong().await?;
        }
        Ok(())
    }

    async fn present(&self) -> Result<Option<Arc<Registration>>, Fault> {
        let user = &self.lane.user;
        let profile = offer::profile(&*self.keeper.shared.profiles, user).await?;
        Ok(offer::present(self.cx(), user, &profile).await?)
    }

    /// Writes that an item ended. Tried again: what a client has must not be sent twice.
    async fn settle(&self, seq: Seq, how: Settlement) -> Result<bool, Fault> {
        let mut tries = 1;
        loop {
            match self.inboxes().settle(&self.fence, seq, how).await {
                Ok(settled) => {
                    self.lane.delivered.set(None);
                    return Ok(settled);
                }
                Err(error) if error.is_temporary() && tries < SETTLE_TRIES => {
                    tries += 1;
                    self.cx().after(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends an item that will not be delivered; whoever removes it tells the sender.
    async fn give_up(&self, item: &Item, how: Settlement) -> Result<Step, Fault> {
        if self.settle(item.seq, how).await? {
            if how == Settlement::Expired {
                meter::expired(1);
            }
            self.keeper.deferred.report(self.cx(), item);
        }
        Ok(Step::Gone)
    }

    /// Writes that an attempt is over, so that the next is not taken for the same one.
    async fn forget_attempt(&self, seq: Seq) -> Result<(), Fault> {
        self.inboxes().attempt(&self.fence, seq, Attempt::default()).await?;
        Ok(())
    }

    /// Gives the inbox out of hand.
    async fn finish(self, end: End) -> Result<(), Fault> {
        let now = self.cx().now();
        match end {
            End::Away => {
                self.inboxes().postpone(&self.fence, now, Rest::Ready.failures()).await?;
                self.inboxes().release(&self.fence).await?;
            }
            // A lease that ends now leaves the inbox due now if it holds anything, what came this
            // moment included.
            End::Empty | End::Stopping => self.let_go(now).await?,
            End::Resting(rest, until) => {
                self.let_go(now).await?;
                self.inboxes().postpone(&self.fence, until, rest.failures()).await?;
            }
        }
        Ok(())
    }

    async fn let_go(&self, now: Millis) -> Result<(), Fault> {
        let holder = self.keeper.shared.holder;
        self.inboxes().lease(&self.lane.user, holder, now, now).await?;
        Ok(())
    }
}

/// The identity to address: the user's own if the registration names it, else its first.
fn public_id<'a>(registration: &'a Registration, user: &'a str) -> &'a str {
    let ids = &registration.public_ids;
    let own = ids.iter().find(|id| id.as_str() == user);
    own.or(ids.first()).map_or(user, String::as_str)
}

/// The attempt that was in flight when its lane died. Its branch must name this shard, or its
/// responses would go to another.
fn in_flight(item: &Item, shard: u8) -> Option<&Attempt> {
    let attempt = item.attempt.as_ref()?;
    (shard_of_branch(&attempt.branch) == Some(shard)).then_some(attempt)
}

#[cfg(test)]
mod tests {
    use parlance_store::{Attempt, Item, Registration};

    use super::{in_flight, public_id};
    use crate::scenario::{item, request};

    #[test]
    fn only_what_was_in_flight_on_this_shard_is_repeated() {
        let plain = item(&request("MESSAGE sip:b@h SIP/2.0\r\n\r\n"));
        let with = |branch: &str| Item {
            attempt: Some(Attempt { branch: branch.into(), ..Attempt::default() }),
            ..plain.clone()
        };
        assert!(in_flight(&with("z9hG4bK-02d0123"), 2).is_some());
        assert!(in_flight(&with("z9hG4bK-02d0123"), 1).is_none(), "its responses go elsewhere");
        assert!(in_flight(&with(""), 0).is_none(), "it failed");
        assert!(in_flight(&plain, 0).is_none());
    }

    #[test]
    fn the_address_is_an_identity_that_was_registered() {
        let registration = |ids: &[&str]| Registration {
            public_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..Registration::default()
        };
        let user = "sip:bob@ims.test";
        assert_eq!(public_id(&registration(&["sip:b@x", user]), user), user);
        assert_eq!(public_id(&registration(&["sip:b@x", "sip:c@x"]), user), "sip:b@x");
        assert_eq!(public_id(&registration(&[]), user), user);
    }
}
