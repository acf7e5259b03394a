//! Where messages to a user can be held (OMA-TS-SIMPLE_IM §7.2.2.10.3).

use parlance_msrp::relay::{PairKey, PairSide};
use parlance_msrp::{HoldLimits, SessionKey};

use super::{AtCore, MediaError, Place};

/// Where messages to one side of a pair, or to one participant of a room, can be held, from any
/// shard. Cheap to clone. Without effect once the session has ended.
#[derive(Clone, Debug)]
pub struct Gate {
    place: Place,
    to: To,
}

/// Whose messages pass a gate.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    Side(PairKey, PairSide),
    Leg(SessionKey),
}

impl Gate {
    pub(super) fn new(place: &Place, to: To) -> Self {
        Self { place: place.clone(), to }
    }

    /// Holds messages from now on, up to `limits`
    /// ([`Node::hold_pair`](parlance_msrp::Node::hold_pair),
    /// [`Node::hold_leg`](parlance_msrp::Node::hold_leg)). What is asked of one core is done in the
    /// order in which it was asked.
    ///
    /// # Errors
    /// [`MediaError`]; nothing is held then.
    pub fn hold(&self, limits: HoldLimits) -> Result<(), MediaError> {
        let to = self.to;
        let hold = move |at: &mut AtCore<'_>| match to {
            To::Side(pair, side) => at.node.hold_pair(at.now, pair, side, limits),
            To::Leg(leg) => at.node.hold_leg(at.now, leg, limits),
        };
        Ok(self.place.cores.run(self.place.core, Box::new(hold))?)
    }

    /// Lets what was held go, and holds nothing any more.
    pub fn release(&self) {
        let to = self.to;
        let release = move |at: &mut AtCore<'_>| match to {
            To::Side(pair, side) => at.node.release_pair(at.now, pair, side),
            To::Leg(leg) => at.node.release_leg(at.now, leg),
        };
        self.place.cores.run_always(self.place.core, Box::new(release));
    }
}
