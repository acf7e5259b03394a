//! What all shards of one server share.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::FixedState;
use parlance_store::{Inboxes, Profiles, Registrations};
use tokio::sync::mpsc;

use crate::cx::Busy;
use crate::shard::ShardInput;
use crate::wire::{Locals, NextHop};
use crate::{Clock, Cx, Task};

/// What all shards of one server share.
pub struct Node {
    /// Wall-clock time.
    pub clock: Clock,
    /// Our sockets.
    pub locals: Locals,
    /// Where a request without a further `Route` goes; `None`: where its Request-URI says.
    pub next_hop: Option<NextHop>,
    /// Octets a request may have over UDP. Default 1300 (RFC 3261 §18.1.1).
    pub udp_octets_max: usize,
    /// How long a request may have waited in a shard's queue before it is answered 503.
    /// Default 1 s: the S-CSCF has asked twice by then.
    pub lag_max: Duration,
    /// Who is registered.
    pub registrations: Arc<dyn Registrations>,
    /// What users may do and want.
    pub profiles: Arc<dyn Profiles>,
    /// Deferred messages.
    pub inboxes: Arc<dyn Inboxes>,
    /// The queues of the shards.
    pub shards: Vec<mpsc::Sender<ShardInput>>,
}

impl Node {
    /// Runs a task on the shard that owns `user`'s lane.
    ///
    /// # Errors
    /// [`Busy`] when that shard's queue is full; nothing is run.
    pub fn on_shard_of(
        &self,
        user: &str,
        task: impl FnOnce(Cx) -> Task + Send + 'static,
    ) -> Result<(), Busy> {
        let shards = u64::try_from(self.shards.len()).unwrap_or(1).max(1);
        let shard = FixedState::with_seed(1).hash_one(user) % shards;
        let queue = usize::try_from(shard).ok().and_then(|shard| self.shards.get(shard));
        let run = ShardInput::Run(Box::new(task));
        queue.ok_or(Busy)?.try_send(run).map_err(|_| Busy)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}
