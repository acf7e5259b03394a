//! What was said in a session, for the history of one who takes part.

use bytes::Bytes;
use parlance_msrp::Continuation;
use parlance_msrp::header::ByteRange;
use parlance_msrp::relay::{PairSide, Passage, PassageHead};
use parlance_msrp::switch::Passed;

/// A chunk of a message, or the part of one that was read at a time.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Whether he has sent it; else it came for him.
    pub is_sent: bool,
    /// Of which message it is; `None` for more of the chunk before.
    pub head: Option<PassageHead>,
    /// The octets.
    pub body: Bytes,
    /// How the chunk ends, when it does here.
    pub end: Option<Continuation>,
}

impl Heard {
    /// What has passed a pair, of which `his` is the side of whose history it is.
    pub fn of(passage: Passage, his: PairSide) -> Self {
        let Passage { side, message: head, body, end, .. } = passage;
        Self { is_sent: side == his, head, body, end }
    }

    /// What was said in a room.
    pub fn in_room(passed: &Passed, is_sent: bool) -> Self {
        let start = passed.position.saturating_add(1);
        let head = PassageHead {
            message_id: passed.message_id.clone(),
            byte_range: Some(ByteRange { start, end: None, total: None }),
            content_type: Some(b"message/cpim".as_slice().into()),
        };
        Self { is_sent, head: Some(head), body: passed.body.clone(), end: Some(passed.end) }
    }

    /// A whole message.
    pub fn whole(message_id: &[u8], content_type: &str, body: &Bytes, is_sent: bool) -> Self {
        let head = PassageHead {
            message_id: message_id.into(),
            byte_range: None,
            content_type: Some(content_type.as_bytes().into()),
        };
        let (body, end) = (body.clone(), Some(Continuation::Last));
        Self { is_sent, head: Some(head), body, end }
    }
}
