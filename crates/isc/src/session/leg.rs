//! An established INVITE dialog, as a role sees it.

use std::fmt;
use std::rc::Rc;

use parlance_sip::dialog::Dialog;
use parlance_sip::{HeaderName, Method};

use super::live::Live;
use super::{Body, LegId, Reason, offer};
use crate::{Cx, Outcome};

/// One leg of a session: an INVITE dialog confirmed by a 2xx.
///
/// Dropped: BYE, as with [`Leg::end`].
pub struct Leg {
    cx: Cx,
    live: Rc<Live>,
}

impl Leg {
    pub(super) fn new(cx: Cx, live: Rc<Live>) -> Self {
        Self { cx, live }
    }

    /// Names it in events.
    pub fn id(&self) -> LegId {
        self.live.id
    }

    /// The dialog as it is now: Call-ID, tags, URIs, remote target, for `Replaces`, `Join` and
    /// records.
    pub fn dialog(&self) -> Dialog {
        self.live.state.borrow().dialog.clone()
    }

    /// Whether the leg is over.
    pub fn is_over(&self) -> bool {
        !self.live.has_leg()
    }

    /// Sends the ACK that carries our answer, when the 2xx to an INVITE of ours carried the offer.
    /// Without effect otherwise.
    pub fn acknowledge(&self, answer: Body) {
        let waiting = self.live.with_leg(|leg| {
            let ack = leg.unacknowledged.take()?;
            leg.session = answer.clone().description();
            Some((ack, leg.terms.headers.clone()))
        });
        if let Some(Some((ack, headers))) = waiting {
            let dialog = self.dialog();
            ack.send(&self.cx, &dialog, self.live.listener, &headers, &answer);
        }
    }

    /// What a refresh by re-INVITE repeats from now on, when our INVITE had more in its body than
    /// the description of our side (RFC 4028 §7.4).
    pub fn repeat(&self, description: Body) {
        self.live.with_leg(|leg| leg.session = description);
    }

    /// Sends a request in the dialog and waits for its final response. 481 and silence end the leg
    /// ([`super::Ended::Gone`]). [`Outcome::Unreachable`] when the leg is over or there is nowhere
    /// to send to. Not for INVITE and BYE.
    ///
    /// Dropped once it was polled: the request is on its way, its answer counts all the same.
    pub async fn request(
        &self,
        method: Method<'static>,
        headers: &[(HeaderName, String)],
        body: &Body,
    ) -> Outcome {
        let Some(mut all) = self.live.with_leg(|leg| leg.terms.headers.clone()) else {
            return Outcome::Unreachable;
        };
        all.extend_from_slice(headers);
        self.live.send(&self.cx, method, &all, body).await
    }

    /// Sends a re-INVITE with this offer and waits for its final response; the ACK is sent below.
    /// It waits until no other INVITE or offer is under way, and tries again after 491
    /// (RFC 3261 §14.1) and 422. Without a body the 2xx has the offer and [`Leg::acknowledge`] must
    /// follow.
    ///
    /// Dropped once it was polled: it is sent nevertheless.
    pub async fn offer(&self, body: Body, headers: &[(HeaderName, String)]) -> Outcome {
        offer::offer(&self.cx, &self.live, body, headers.to_vec()).await
    }

    /// Ends the leg with BYE. A 2xx of ours that has no ACK yet is waited for, or given up
    /// (RFC 3261 §15). Without effect when the leg is over.
    pub fn end(&self, reason: Option<Reason>) {
        let waits = self.live.with_leg(|leg| {
            leg.address = None;
            let waits = !leg.accepting.is_empty()
                || leg.early.as_ref().is_some_and(|early| early.held.is_some());
            if waits {
                leg.ending = Some(reason.clone());
            }
            waits
        });
        if waits == Some(false) {
            self.live.finish(&self.cx, None, Some(reason));
        }
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        let ended = self.live.with_leg(|leg| leg.ending.is_some());
        if ended == Some(false) {
            self.end(None);
        }
    }
}

impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leg").field("id", &self.id()).finish_non_exhaustive()
    }
}
