//! What a handle holds at a core, and ends when it is dropped.

use parlance_msrp::SessionKey;
use parlance_msrp::relay::{PairCounts, PairKey, PairSide};
use parlance_msrp::switch::RoomId;

use super::{AtCore, Place};

/// What is open at a core.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Endpoint(SessionKey),
    Pair(PairKey),
    Room(RoomId),
    Leg(SessionKey),
}

impl What {
    fn end(self, at: &mut AtCore<'_>) {
        match self {
            Self::Endpoint(session) => {
                at.node.end_endpoint(at.now, session);
                at.sinks.unsubscribe(session);
            }
            Self::Pair(pair) => {
                end_pair(at, pair);
            }
            // Its legs are handles of their own.
            Self::Room(room) => at.node.close_room(at.now, room),
            Self::Leg(session) => {
                at.node.remove_leg(at.now, session);
                at.sinks.unsubscribe(session);
            }
        }
    }
}

/// Ends a pair with the sessions that it has by now; what has passed.
pub(super) fn end_pair(at: &mut AtCore<'_>, pair: PairKey) -> Option<PairCounts> {
    for side in [PairSide::Offerer, PairSide::Answerer] {
        let sessions = [at.node.pair_session(pair, side), at.node.beside(pair, side)];
        for session in sessions.into_iter().flatten() {
            at.sinks.unsubscribe(session);
        }
    }
    at.node.end_pair(at.now, pair)
}

/// Ends what is open when dropped.
#[derive(Debug)]
pub(super) struct Held {
    place: Place,
    what: What,
}

impl Held {
    pub(super) fn new(place: Place, what: What) -> Self {
        Self { place, what }
    }

    /// Where it is.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let what = self.what;
        self.place.cores.run_always(self.place.core, Box::new(move |at| what.end(at)));
    }
}
