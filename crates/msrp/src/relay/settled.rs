//! Whether what was passed on to a side of a pair has arrived.
//!
//! A pair answers for itself, as a relay does (RFC 4976 §3), so a sender may leave while his last
//! message is on its way to the other side. Whoever ends that side too looks here first.

use super::back::Kind;
use super::pair::{PairKey, PairSide};
use crate::Node;

impl Node {
    /// Whether `side` of a pair has answered every SEND that it is to answer, and nothing waits
    /// until it is connected. What is held ([`hold_pair`](Self::hold_pair)) does not count; of one
    /// that is gone nothing is left.
    pub fn is_pair_settled(&self, pair: PairKey, side: PairSide) -> bool {
        let side = self.roles.relay.pair(pair).and_then(|pair| pair.side(side.index()));
        side.is_none_or(|side| {
            let is_awaited = |kind: &Kind| matches!(kind, Kind::Send { is_timed: true, .. });
            let mut kinds = side.forwarded.iter().map(|forwarded| &forwarded.kind);
            !side.waiting.is_for_connection() && !kinds.any(is_awaited)
        })
    }
}
