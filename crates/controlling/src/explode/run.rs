//! Sending the copies: a few at a time, each where the lane of its recipient is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parlance_isc::{Cx, Origin, Outcome, Way};
use parlance_sip::uri::Aor;
use parlance_store::{Explosion, ExplosionId, Millis};
use tokio::sync::mpsc;

use super::copy::Copy;
use super::job::{Ids, Job, Recipient};
use super::places::Place;
use super::{Exploder, Running};

/// How long a store or a shard that has no time is left alone.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// How often a copy that could not leave is tried again: a lane may be full, or a connection be
/// made. Each pause is twice the one before.
pub(super) const TRIES: u32 = 4;

/// The statuses that stand for what is none: nobody answered; nobody could be reached.
pub(super) const NO_ANSWER: u16 = 408;
pub(super) const UNREACHABLE: u16 = 503;
/// Of a recipient to whom nothing was sent, as it is too late.
const TOO_LATE: u16 = 480;
/// Of a group among the recipients.
const NESTED: u16 = 403;

/// A copy that is to be sent, as it goes to the shard of its recipient.
#[derive(Clone)]
pub(super) struct Errand {
    pub(super) exploder: Exploder,
    id: ExplosionId,
    pub(super) place: u32,
    pub(super) job: Arc<Job>,
    pub(super) recipient: Recipient,
    pub(super) seed: [u8; 16],
    pub(super) expires: Millis,
    done: mpsc::Sender<Done>,
    /// Its place among all copies on their way.
    _place: Arc<Place>,
}

/// A recipient, and what became of the copy; `None`: it is left to the next start.
type Done = (u32, Option<u16>);

impl Exploder {
    /// Sends the copies that are not done, tells the sender how it went, and ends the explosion.
    /// When the server stops, what is left is left to the next start.
    pub(super) async fn run(&self, cx: &Cx, explosion: Explosion, _running: Running) {
        let Explosion { id, expires, seed, payload, recipients, mut outcomes, .. } = explosion;
        let Some(job) = Job::read(&payload).map(Arc::new) else {
            tracing::error!(id = id.0, "what is kept of an explosion cannot be read");
            return self.finish(cx, id).await;
        };
        let _large = job.about.is_large().then(|| self.0.larges.take_anyway());
        let ways = if job.about.is_large() { &self.0.in_flight_large } else { &self.0.in_flight };
        let outstanding = self.policy().explode.outstanding_max.max(1) as usize;
        let (done, mut finished) = mpsc::channel(outstanding);
        let mut in_flight = 0;
        let count = recipients.len();
        for (place, record) in (0_u32..).zip(&recipients) {
            if outcomes.contains_key(&place) {
                continue;
            }
            if in_flight >= outstanding {
                in_flight -= receive(&mut finished, &mut outcomes).await;
            }
            let most = || self.policy().explode.in_flight_max as usize;
            let in_flight_place = Arc::new(ways.wait(most).await);
            if self.is_stopping() {
                break;
            }
            let recipient = Recipient::read(record).unwrap_or_default();
            let errand = Errand {
                exploder: self.clone(),
                id,
                place,
                job: Arc::clone(&job),
                recipient,
                seed,
                expires,
                done: done.clone(),
                _place: in_flight_place,
            };
            errand.dispatch(cx).await;
            in_flight += 1;
        }
        while in_flight > 0 {
            in_flight -= receive(&mut finished, &mut outcomes).await;
        }
        if outcomes.len() < count {
            return;
        }
        self.report(cx, &job, &recipients, &outcomes, seed).await;
        self.finish(cx, id).await;
    }

    async fn finish(&self, cx: &Cx, id: ExplosionId) {
        while let Err(error) = self.0.setup.explosions.finish(id).await {
            tracing::warn!(%error, "the end of an explosion cannot be written yet");
            if !error.is_temporary() || self.is_stopping() {
                return;
            }
            cx.after(RETRY).await;
        }
    }
}

/// Waits for one copy to be done.
async fn receive(finished: &mut mpsc::Receiver<Done>, outcomes: &mut BTreeMap<u32, u16>) -> usize {
    if let Some((place, Some(outcome))) = finished.recv().await {
        outcomes.insert(place, outcome);
    }
    1
}

impl Errand {
    /// Hands the copy to the shard of its recipient, when that has room.
    async fn dispatch(self, cx: &Cx) {
        let address = Aor::parse(&self.recipient.uri);
        let lane = address.as_ref().map_or("", |address| address.as_str()).to_owned();
        loop {
            let errand = self.clone();
            let handed =
                cx.on_shard_of(&lane, move |cx| Box::pin(async move { errand.go(&cx).await }));
            if handed.is_ok() {
                return;
            }
            cx.after(RETRY / 10).await;
        }
    }

    async fn go(self, cx: &Cx) {
        let Some(outcome) = self.send(cx).await else {
            let _ = self.done.send((self.place, None)).await;
            return;
        };
        let how = if (200..300).contains(&outcome) { "delivered" } else { "failed" };
        metrics::counter!("parlance_exploded_total", "how" => how).increment(1);
        let explosions = &self.exploder.0.setup.explosions;
        while let Err(error) = explosions.settle(self.id, self.place, outcome).await {
            tracing::warn!(%error, "what became of a copy cannot be written yet");
            if !error.is_temporary() || self.exploder.is_stopping() {
                break;
            }
            cx.after(RETRY).await;
        }
        // The receiver may have gone with its shard.
        let _ = self.done.send((self.place, Some(outcome))).await;
    }

    /// Sends the copy; a status of SIP says what became of it. `None`: the server stops, and the
    /// next start sends it.
    async fn send(&self, cx: &Cx) -> Option<u16> {
        if self.recipient.nested {
            return Some(NESTED);
        }
        if self.expires <= cx.now() {
            return Some(TOO_LATE);
        }
        let Ok(address) = Aor::parse(&self.recipient.uri) else { return Some(UNREACHABLE) };
        if self.job.about.is_large() {
            return self.send_large(cx, &address).await;
        }
        Some(self.send_message(cx, &address).await)
    }

    async fn send_message(&self, cx: &Cx, address: &Aor) -> u16 {
        let setup = &self.exploder.0.setup;
        let way = Way::to(cx, address, &self.recipient.uri, setup.listener).await;
        let Some(way) = way else { return UNREACHABLE };
        let domain = setup.domains.first().map_or("localhost", String::as_str);
        let ids = Ids::of(&self.seed, self.place, domain);
        let policy = self.exploder.policy();
        let (template, recipient) = (&self.job.template, &self.recipient);
        let copy = Copy { cx, policy: &policy, way: &way, template, recipient, ids: &ids }.build();
        let Some(copy) = copy else {
            tracing::warn!("a copy cannot be made from what is kept");
            return UNREACHABLE;
        };
        let branch = setup.marks.branch(Origin::Controlling, cx.shard(), ids.random, &copy);
        let mut pause = RETRY;
        for _ in 1..TRIES {
            match cx.send(copy.clone(), way.hop.clone(), Some(&branch)).await {
                Outcome::Final(response) => return response.status(),
                Outcome::Timeout => return NO_ANSWER,
                Outcome::Unreachable if self.exploder.is_stopping() => return UNREACHABLE,
                Outcome::Unreachable => cx.after(pause).await,
                // Those are for INVITE.
                Outcome::Relayed(_) | Outcome::Cancelled => return UNREACHABLE,
            }
            pause *= 2;
        }
        UNREACHABLE
    }
}
