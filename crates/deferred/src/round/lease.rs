//! Waiting and sending under a lease, and giving it back.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use parlance_store::{Millis, StoreError};
use tokio::time::Instant;

use super::{End, Fault, Round};
use crate::rest::Rest;

impl Round<'_> {
    /// Waits for this user's next turn and a place in the pace of the shard; says when the round
    /// ends instead.
    pub(super) async fn turn(&mut self) -> Result<Option<End>, Fault> {
        let pause = match self.sent_before {
            true => self.keeper.shared.policy().pause,
            false => Duration::ZERO,
        };
        if let Some(end) = self.wait_until(Instant::now() + pause).await? {
            return Ok(Some(end));
        }
        self.wait_until(self.keeper.pace.place()).await
    }

    /// Waits; less long when the user leaves or the server stops, which ends the round.
    pub(super) async fn wait_until(&mut self, at: Instant) -> Result<Option<End>, Fault> {
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
        let stops = *keeper.shared.stopping.borrow();
        Ok(stops.then_some(End::Stopping))
    }

    /// Does `work` while the lease is kept.
    pub(super) async fn hold<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Fault> {
        let mut work = pin!(work);
        loop {
            let third = self.keeper.shared.policy().lease / 3;
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(third) => self.prolong().await?,
            }
        }
    }

    async fn prolong(&mut self) -> Result<(), Fault> {
        let now = self.cx().now();
        let until = now + self.keeper.shared.policy().lease;
        let holder = self.keeper.shared.holder;
        let fence = self.inboxes().lease(&self.lane.user, holder, until, now).await?;
        if fence.as_ref() != Some(&self.fence) {
            return Err(Fault::Store(StoreError::Fenced));
        }
        self.leased_until = until;
        Ok(())
    }

    /// Before something is sent at least two thirds of the lease must be left.
    pub(super) async fn prolong_for_sending(&mut self) -> Result<(), Fault> {
        let left = self.leased_until.since(self.cx().now());
        if left < 2 * self.keeper.shared.policy().lease / 3 {
            self.prolong().await?;
        }
        Ok(())
    }

    /// Gives the inbox out of hand.
    pub(super) async fn finish(self, end: End) -> Result<(), Fault> {
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
