//! Pairs whose peers change: one side gets a new session, the other one stays as it is.
//!
//! So a client can have one session for long, and be joined to others one after the other. Between
//! two of them what it sends is answered 403. What was begun towards one peer does not go on to
//! the next: a chunk of it is answered 413, which stops the message (RFC 4975 §10.5).

use std::collections::VecDeque;
use std::time::Instant;

use smallvec::SmallVec;

use crate::node::cx::Cx;
use crate::node::receive::Chunk;
use crate::relay::Relay;
use crate::relay::back::Passed;
use crate::relay::pair::{PairKey, PairSide};
use crate::session::{LocalAddress, SessionKey, Usage};
use crate::{Continuation, Node};

/// Messages in several chunks that may be under way to one peer. Local limit; the oldest is stopped
/// with 413 when there are more.
const BEGUN_MAX: usize = 64;

/// Messages of which a part has passed to a peer and more is to come, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Begun(VecDeque<SmallVec<[u8; 32]>>);

impl Begun {
    /// Whether a chunk belongs to a message that began here, which it does when it begins one.
    fn takes(&mut self, message_id: &[u8], start: u64, end: Option<Continuation>) -> bool {
        let known = self.0.iter().position(|begun| begun[..] == *message_id);
        let goes_on = !matches!(end, Some(Continuation::Last | Continuation::Abort));
        match known {
            Some(at) if !goes_on => {
                self.0.remove(at);
                true
            }
            Some(_) => true,
            None if start > 1 => false,
            None => {
                if goes_on {
                    if self.0.len() >= BEGUN_MAX {
                        self.0.pop_front();
                    }
                    self.0.push_back(message_id.into());
                }
                true
            }
        }
    }
}

impl Node {
    /// Ends the session of one side of a pair, until [`renew_pair_side`](Self::renew_pair_side)
    /// opens another. What its peer had not answered has failed with 481.
    pub fn vacate_pair_side(&mut self, now: Instant, pair: PairKey, side: PairSide) {
        self.command(now, |roles| roles.relay.vacate(&mut roles.cx, pair, side));
    }

    /// Gives one side of a pair a new session with a new URI at `address`, for another peer or
    /// another path of the same one; the session before it has ended. `None`: there is no such
    /// pair.
    pub fn renew_pair_side(
        &mut self,
        now: Instant,
        pair: PairKey,
        side: PairSide,
        address: &LocalAddress,
    ) -> Option<SessionKey> {
        self.command(now, |roles| {
            let number = roles.relay.vacate(&mut roles.cx, pair, side)?;
            let session = roles.cx.open(address, Usage::Pair(number));
            roles.relay.pair_side_mut(number)?.session = session;
            Some(session)
        })
    }
}

impl Relay {
    /// Empties a side; its number. `None`: there is no such pair.
    fn vacate(&mut self, cx: &mut Cx, pair: PairKey, side: PairSide) -> Option<u32> {
        self.pair(pair)?;
        let number = pair.number(side);
        self.end_beside(cx, number);
        self.empty(cx, number)?;
        Some(number)
    }

    /// Ends the session of a side; what its peer had not answered has failed with 481.
    pub(super) fn empty(&mut self, cx: &mut Cx, number: u32) -> Option<()> {
        let side = self.pair_side_mut(number)?;
        let session = side.session;
        side.begun = Some(Begun::default());
        let mut unanswered = std::mem::take(&mut side.forwarded);
        if cx.sessions.get(session).is_some() {
            while let Some(forwarded) = unanswered.pop() {
                self.report(cx, session, &forwarded, 481);
            }
            self.stop_passing(cx, number);
        }
        self.pair_lost(cx, number);
        cx.end(session);
        Some(())
    }

    /// Whether another peer may come to this side.
    pub(super) fn may_be_renewed(&mut self, number: u32) -> bool {
        self.pair_side_mut(number).is_some_and(|side| side.begun.is_some())
    }

    /// Whether the message that a chunk belongs to began towards the peer that is on this side now.
    pub(super) fn has_begun(&mut self, number: u32, chunk: &Chunk<'_>) -> bool {
        let begun = self.pair_side_mut(number).and_then(|side| side.begun.as_mut());
        let Some(begun) = begun.filter(|_| chunk.head.start.is_send()) else { return true };
        let range = Passed::of(chunk.head, chunk.body.len());
        begun.takes(chunk.head.message_id.unwrap_or_default(), range.start, chunk.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_began_here_goes_on() {
        use Continuation::{Abort, Last, More};
        let mut begun = Begun::default();
        #[rustfmt::skip]
        let table = [
            (&b"whole"[..], 1, Some(Last),  true),
            (b"whole",      2, Some(Last),  false),
            (b"parts",      1, Some(More),  true),
            (b"stream",     1, None,        true),
            (b"parts",      9, Some(More),  true),
            (b"parts",     19, Some(Last),  true),
            (b"parts",     29, Some(Last),  false),
            (b"stream",     5, Some(Abort), true),
            (b"stream",     9, Some(More),  false),
            (b"foreign",    3, Some(More),  false),
        ];
        for (message_id, start, end, expected) in table {
            assert_eq!(begun.takes(message_id, start, end), expected, "{message_id:?} {start}");
        }
        assert!(begun.0.is_empty());
        for number in 0..=BEGUN_MAX {
            assert!(begun.takes(format!("m{number}").as_bytes(), 1, Some(More)));
        }
        assert!(!begun.takes(b"m0", 2, Some(More)), "the oldest is stopped");
        assert!(begun.takes(b"m1", 2, Some(More)));
        assert_eq!(begun.0.len(), BEGUN_MAX);
    }
}
