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

mod item;
mod lease;

use std::sync::Arc;
use std::time::Duration;

use parlance_isc::{Charging, Cx, Origin, Outcome, Way};
use parlance_sip::Request;
use parlance_store::{Fence, Inboxes, Millis, Registration, Seq, StoreError};
use tokio::time::Instant;

use crate::keeper::Keeper;
use crate::lane::{Lane, Wake};
use crate::message::{Envelope, Ids};
use crate::rest::Rest;
use crate::verdict::Verdict;
use crate::{Delivery, meter, offer};

/// How many items are read at a time: what a lane holds in memory.
const PAGE: usize = 16;

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
    let leased_until = now + keeper.shared.policy().lease;
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
            let settled = Instant::now() + self.keeper.shared.policy().settle;
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
        Ok(shared.delivery(&profile, self.cx().now()))
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

    fn back_off(&self, asked: Option<Duration>) -> End {
        let (rest, wait) = self.rest.failed(&self.keeper.shared.policy(), asked);
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
        let policy = self.keeper.shared.policy();
        make(&Envelope {
            shared: &self.keeper.shared,
            way,
            to: public_id(registration, self.lane.user.as_str()),
            ids,
            charging: Charging::of(self.cx(), Some(registration), policy.orig_ioi.as_deref()),
        })
    }

    fn branch(&self, origin: Origin, request: &Request) -> String {
        let cx = self.cx();
        self.keeper.shared.marks.branch(origin, cx.shard(), cx.random(), request)
    }

    async fn send(&mut self, request: Request, way: &Way, branch: &str) -> Result<Outcome, Fault> {
        self.sent_before = true;
        let cx = self.cx().clone();
        self.hold(cx.send(request, way.hop.clone(), Some(branch))).await
    }

    async fn present(&self) -> Result<Option<Arc<Registration>>, Fault> {
        let user = &self.lane.user;
        let profile = offer::profile(&*self.keeper.shared.profiles, user).await?;
        Ok(offer::present(self.cx(), user, &profile).await?)
    }
}

/// The identity to address: the user's own if the registration names it, else its first.
fn public_id<'a>(registration: &'a Registration, user: &'a str) -> &'a str {
    let ids = &registration.public_ids;
    let own = ids.iter().find(|id| id.as_str() == user);
    own.or(ids.first()).map_or(user, String::as_str)
}

#[cfg(test)]
mod tests {
    use parlance_store::Registration;

    use super::public_id;

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
