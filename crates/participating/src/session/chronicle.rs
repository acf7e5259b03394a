//! Putting the messages of a session together for the history of its user
//! (OMA-TS-SIMPLE_IM §7.2.2.4; RFC 4975 §7.3.1).

use bytes::Bytes;
use metrics::counter;
use parlance_msrp::relay::{PairSide, Passage, PassageHead};
use parlance_msrp::{Continuation, Reassembly};

/// Messages that come at a time. Beyond: the oldest is not kept. Local limit; a client sends one
/// after the other, or a few mixed.
const COMING_MAX: usize = 16;

/// The messages of a session that are still coming.
pub(super) struct Chronicle {
    octets_max: u64,
    coming: Vec<Coming>,
    /// The chunk that is coming from either side, by its message and position.
    chunks: [Option<(Box<[u8]>, u64)>; 2],
}

/// A message of which something is there.
struct Coming {
    side: PairSide,
    message_id: Box<[u8]>,
    content_type: String,
    body: Reassembly,
}

/// A message that has passed as a whole.
pub(super) struct Whole {
    /// Who has sent it.
    pub(super) side: PairSide,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl Chronicle {
    /// Puts together messages of up to `octets_max` octets.
    pub(super) fn new(octets_max: u64) -> Self {
        Self { octets_max, coming: Vec::new(), chunks: [None, None] }
    }

    /// Takes what has passed; the message of which that was the last.
    pub(super) fn take(&mut self, passage: Passage) -> Option<Whole> {
        let Passage { side, message, body, end, .. } = passage;
        let chunk = match message {
            Some(head) => Some(self.begin(side, head)),
            None => self.chunk(side).take(),
        };
        let (message_id, position) = chunk?;
        let found =
            self.coming.iter().position(|it| it.side == side && it.message_id == message_id);
        let place = found?;
        let next = position.saturating_add(body.len() as u64);
        let coming = self.coming.get_mut(place);
        let fits = coming.is_some_and(|coming| {
            let fits = coming.body.write(position, &body).is_ok();
            if end == Some(Continuation::Last) {
                coming.body.finish(next);
            }
            fits
        });
        if !fits || end == Some(Continuation::Abort) {
            self.coming.swap_remove(place);
            counter!("parlance_history_messages_lost_total").increment(1);
            return None;
        }
        if end.is_none() {
            *self.chunk(side) = Some((message_id, next));
        }
        if !self.coming.get(place).is_some_and(|coming| coming.body.is_complete()) {
            return None;
        }
        let Coming { content_type, body, .. } = self.coming.swap_remove(place);
        Some(Whole { side, content_type, body: body.into_message()? })
    }

    fn chunk(&mut self, side: PairSide) -> &mut Option<(Box<[u8]>, u64)> {
        let [offerer, answerer] = &mut self.chunks;
        match side {
            PairSide::Offerer => offerer,
            PairSide::Answerer => answerer,
        }
    }

    /// A chunk begins: of which message, and where in it, from 0.
    fn begin(&mut self, side: PairSide, head: PassageHead) -> (Box<[u8]>, u64) {
        let PassageHead { message_id, byte_range, content_type } = head;
        let known = self.coming.iter().any(|it| it.side == side && it.message_id == message_id);
        if !known {
            if self.coming.len() >= COMING_MAX {
                self.coming.remove(0);
                counter!("parlance_history_messages_lost_total").increment(1);
            }
            let content_type = content_type.unwrap_or_default();
            self.coming.push(Coming {
                side,
                message_id: message_id.clone(),
                content_type: String::from_utf8_lossy(&content_type).into_owned(),
                body: Reassembly::new(self.octets_max),
            });
        }
        let position = byte_range.map_or(0, |range| range.start.saturating_sub(1));
        (message_id, position)
    }
}
