//! One item: its attempt, and what the outcome means for it.

use std::time::Duration;

use parlance_isc::{Origin, Way};
use parlance_sip::Request;
use parlance_sip::endpoint::shard_of_branch;
use parlance_store::{Attempt, Item, Millis, Seq, Settlement};

use super::{End, Fault, Round, Step};
use crate::message::Ids;
use crate::rest::Rest;
use crate::verdict::Verdict;
use crate::{keep, meter};

/// How often the end of an item is tried to be written, a second apart, before the round gives up.
const SETTLE_TRIES: u32 = 3;

impl Round<'_> {
    /// Sends one item if it can be sent.
    pub(super) async fn item(&mut self, item: &Item) -> Result<Step, Fault> {
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

    /// Whether the request as it is sent is small enough (RFC 3428 §8).
    fn fits(&self, request: &Request) -> bool {
        let shared = &self.keeper.shared;
        self.cx().octets(request, shared.listener) <= shared.policy().request_octets_max
    }

    /// Writes that an item ended. Tried again: what a client has must not be sent twice.
    async fn settle(&self, seq: Seq, how: Settlement) -> Result<bool, Fault> {
        let mut tries = 1;
        loop {
            match self.inboxes().settle(&self.fence, seq, how).await {
                Ok(settled) => {
                    self.lane.delivered.set(None);
                    self.keeper.shared.watched.changed(&self.lane.user);
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
}

/// The attempt that was in flight when its lane died. Its branch must name this shard, or its
/// responses would go to another.
fn in_flight(item: &Item, shard: u8) -> Option<&Attempt> {
    let attempt = item.attempt.as_ref()?;
    (shard_of_branch(&attempt.branch) == Some(shard)).then_some(attempt)
}

#[cfg(test)]
mod tests {
    use parlance_store::{Attempt, Item};

    use super::in_flight;
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
}
