//! The exploder: one message in, one to each recipient of a list or member of a group out, in
//! MESSAGEs (OMA-TS-SIMPLE_IM §7.4.1.6, §7.4.1.7; RFC 5365) or over MSRP (§7.4.1.3, §7.4.2).
//!
//! A message is checked, kept with its recipients, and then answered 202. Its copies go out a few
//! at a time; what became of each is written down, so that after a crash the node goes on where it
//! was, and a copy that was in flight is sent again as the same request. What a recipient's side
//! answers changes nothing for the sender (§7.4.1.6), who is told of failures if he asked.
//!
//! Left out: notifications that recipients send about a message to a group go past this server, as
//! it does not put itself on their way (RFC 5438 §7.2.1); lists that are elsewhere are not
//! followed; asking recipients for their consent (RFC 5360): the operator says who gave it.
//!
//! **Invariant:** a 202, or a 200 to the last chunk, is answered only after the store said that the
//! explosion is durable.
//! **Invariant:** the identifiers of a copy follow from what is kept, so they are the same whenever
//! it is sent: of a MESSAGE all of them, over MSRP the Message-ID.
//! **Invariant:** copies go to the shard of their recipient, where the lane of a URI lets one
//! MESSAGE at a time through.

mod accept;
mod consent;
mod copy;
mod job;
mod large;
mod places;
mod policy;
mod report;
mod run;
#[cfg(test)]
mod scenario;
mod session;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parlance_isc::{Cx, Incoming, Marks, Media, Rates, Role, Task};
use parlance_sip::{ListenerId, Method};
use parlance_store::{ExplosionId, Explosions};
use tokio::sync::{Notify, watch};

pub use self::consent::ConsentOf;
use self::places::Places;
pub use self::policy::ExplodePolicy;
use crate::{Groups, Policy};

/// How many unfinished explosions are read at a time at the start.
const PAGE: usize = 100;

/// What the exploder is made of; one for all shards.
pub struct ExploderSetup {
    /// Signs the branches of what is sent; the same on all nodes and after a restart.
    pub marks: Marks,
    /// The domains served; the first stands in Call-IDs.
    pub domains: Vec<String>,
    /// Where copies are sent from.
    pub listener: ListenerId,
    /// The MSRP cores, for large messages; without them those are refused.
    pub media: Media,
    /// What is on its way.
    pub explosions: Arc<dyn Explosions>,
}

/// The exploder. Cheap to clone; one for all shards.
///
/// Every shard calls [`Exploder::start`] once, and serves requests with [`Exploder::role`].
#[derive(Clone)]
pub struct Exploder(Arc<Shared>);

/// What all shards share.
pub(crate) struct Shared {
    setup: ExploderSetup,
    policy: Box<dyn Fn() -> Arc<Policy> + Send + Sync>,
    /// What users have had exploded lately.
    rates: Rates,
    /// Whether what a crash left is being looked for, or was.
    started: AtomicBool,
    /// Explosions under way, on all shards.
    running: AtomicUsize,
    /// Copies on their way, of all explosions; those that go in sessions apart, as somebody who
    /// rings takes long.
    in_flight: Arc<Places>,
    in_flight_large: Arc<Places>,
    /// Sessions in which large messages come, and large messages that are being exploded.
    receptions: Arc<Places>,
    larges: Arc<Places>,
    /// One of them ended.
    ended: Notify,
    stopping: watch::Sender<bool>,
}

impl Exploder {
    /// An exploder that has nothing to do. `policy` gives what is in force; an explosion keeps what
    /// it began with.
    pub fn new(
        policy: impl Fn() -> Arc<Policy> + Send + Sync + 'static,
        setup: ExploderSetup,
    ) -> Self {
        Self(Arc::new(Shared {
            setup,
            policy: Box::new(policy),
            rates: Rates::new(),
            started: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            in_flight: Arc::default(),
            in_flight_large: Arc::default(),
            receptions: Arc::default(),
            larges: Arc::default(),
            ended: Notify::new(),
            stopping: watch::Sender::new(false),
        }))
    }

    /// Goes on with what was not finished before the server stopped. To be called on each shard;
    /// the first call does it.
    pub fn start(&self, cx: &Cx) {
        if !self.0.started.swap(true, Ordering::AcqRel) {
            cx.spawn(self.clone().resume(cx.clone()));
        }
    }

    /// The role on one shard, for the groups that are hosted here.
    pub fn role(&self, groups: Rc<dyn Groups>) -> Rc<Exploding> {
        Rc::new(Exploding { exploder: self.clone(), groups })
    }

    /// Ends what is under way and is ready when the last copy in flight is answered, up to 64*T1:
    /// no further copy is sent. The next start goes on. The caller bounds the wait.
    pub async fn drain(&self) {
        self.0.stopping.send_replace(true);
        loop {
            let ended = self.0.ended.notified();
            if self.0.running.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }

    /// How many explosions are under way.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::Acquire)
    }

    async fn resume(self, cx: Cx) {
        let mut after = ExplosionId(0);
        loop {
            let explosions = &self.0.setup.explosions;
            let page = match explosions.explosions(after, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "what was being exploded cannot be read yet");
                    cx.after(run::RETRY).await;
                    continue;
                }
            };
            let Some(last) = page.last().copied() else { return };
            for id in page {
                match explosions.explosion(id).await {
                    Ok(Some(explosion)) => {
                        let (exploder, cx) = (self.clone(), cx.clone());
                        let running = Running::new(&self);
                        cx.clone()
                            .spawn(async move { exploder.run(&cx, explosion, running).await });
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, id = id.0, "an explosion is unreadable"),
                }
            }
            after = last;
        }
    }

    fn policy(&self) -> Arc<Policy> {
        (self.0.policy)()
    }

    fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }
}

impl fmt::Debug for Exploder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exploder").field("running", &self.running()).finish_non_exhaustive()
    }
}

/// The exploder on one shard.
pub struct Exploding {
    exploder: Exploder,
    groups: Rc<dyn Groups>,
}

impl Role for Exploding {
    /// Serves a MESSAGE to the exploder or to a group; the task lasts until the last copy is
    /// answered. Or the INVITE for a large message to a list or group.
    fn transaction(self: Rc<Self>, cx: Cx, request: Incoming) -> Task {
        Box::pin(async move {
            match request.request().method() {
                Method::Invite => self.serve_large(&cx, request).await,
                _ => self.serve(&cx, request).await,
            }
        })
    }
}

impl fmt::Debug for Exploding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exploder.fmt(f)
    }
}

/// An explosion under way, counted until this is dropped.
struct Running(Exploder);

impl Running {
    fn new(exploder: &Exploder) -> Self {
        exploder.0.running.fetch_add(1, Ordering::AcqRel);
        metrics::gauge!("parlance_explosions").increment(1.0);
        Self(exploder.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::AcqRel);
        metrics::gauge!("parlance_explosions").decrement(1.0);
        self.0.0.ended.notify_waiters();
    }
}
