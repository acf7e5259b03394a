//! Participants whose MSRP connection is lost or cannot be made (RFC 4975 §5.4): for a while the
//! focus connects again where that is for it to do, or waits for the participant to, or to send
//! another description; then they are taken out (CF-060).
//!
//! | what happens            | while nothing was lost       | during the time              |
//! |-------------------------|------------------------------|------------------------------|
//! | the connection is lost  | the time begins              | connects again, later        |
//! | the peer says 481       | he is taken out              | waits for a new description  |
//! | a connection stands     | nothing                      | waits whether it lasts       |
//! | the time is over        | -                            | he stays if it stands        |

use std::time::Duration;

use parlance_msrp::Lost;
use tokio::time::Instant;

use super::{Session, end};
use crate::focus::EndpointId;
use crate::policy::limit;

/// The wait before the first further attempt to connect; it doubles with each. Local value.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// A participant who was lost.
#[derive(Debug)]
pub(super) struct Loss {
    /// When he is taken out, unless a connection stands then.
    until: Instant,
    /// When it is tried to connect to him again.
    again: Option<Instant>,
    /// The wait before the attempt after that.
    wait: Duration,
    /// Whether a connection stands.
    connected: bool,
}

impl Loss {
    fn due(&self) -> Instant {
        self.again.map_or(self.until, |again| again.min(self.until))
    }
}

impl Session {
    /// A participant has no MSRP connection.
    pub(super) fn suspended(&mut self, endpoint: EndpointId, why: Lost) {
        let unknown = why == Lost::Unknown;
        let grace = limit(self.focus.policy().reconnect_s);
        let grace = grace.filter(|_| !unknown || self.losses.contains_key(&endpoint));
        let participant = self.participants.get(&endpoint);
        let (Some(grace), Some(participant)) = (grace, participant) else {
            return self.lost(endpoint, end::MEDIA_LOST);
        };
        let (now, is_active) = (self.now(), participant.room_leg.is_active());
        let loss = self.losses.entry(endpoint).or_insert(Loss {
            until: now + grace,
            again: None,
            wait: FIRST_WAIT,
            connected: false,
        });
        loss.connected = false;
        loss.again = (is_active && !unknown).then(|| now + loss.wait);
        loss.wait *= 2;
        self.arm_reconnect();
    }

    /// The connection of a participant stands.
    pub(super) fn connected(&mut self, endpoint: EndpointId) {
        if let Some(loss) = self.losses.get_mut(&endpoint) {
            (loss.connected, loss.again) = (true, None);
            self.arm_reconnect();
        }
    }

    /// A participant is not there any more.
    pub(super) fn forget_loss(&mut self, endpoint: EndpointId) {
        if self.losses.remove(&endpoint).is_some() {
            self.arm_reconnect();
        }
    }

    /// Connects again to whom it is time, and takes out those whose time is over.
    pub(super) async fn look_after_lost(&mut self, now: Instant) {
        let due = self.losses.iter().filter(|(_, loss)| loss.due() <= now);
        let due: Vec<EndpointId> = due.map(|(endpoint, _)| *endpoint).collect();
        for endpoint in due {
            let Some(loss) = self.losses.get_mut(&endpoint) else { continue };
            if loss.until <= now {
                match loss.connected {
                    true => self.forget_loss(endpoint),
                    false => self.lost(endpoint, end::MEDIA_LOST),
                }
                continue;
            }
            loss.again = None;
            let Some(participant) = self.participants.get(&endpoint) else { continue };
            if participant.room_leg.reconnect().await.is_err() {
                // The core has too much to do: later.
                loss.again = Some(now + loss.wait);
            }
        }
        self.arm_reconnect();
    }

    fn arm_reconnect(&mut self) {
        self.timers.reconnect = self.losses.values().map(Loss::due).min();
    }
}
