//! Putting the messages of a session together for the history of its user
//! (OMA-TS-SIMPLE_IM §7.2.2.4; RFC 4975 §7.3.1).

use std::rc::Rc;

use bytes::Bytes;
use metrics::counter;
use parlance_isc::media::Heard;
use parlance_isc::{Cx, Mode};
use parlance_msrp::relay::PassageHead;
use parlance_msrp::{Continuation, Reassembly};
use parlance_sip::Request;
use parlance_store::UserId;

use super::Asked;
use crate::content::content_type;
use crate::history::{History, Message};

/// Messages that come at a time. Beyond: the oldest is not kept. Local limit; a client sends one
/// after the other, or a few mixed.
const COMING_MAX: usize = 16;

/// The history of a user, as far as one session of his goes, or one MESSAGE.
pub(crate) struct Chronicle {
    history: Rc<dyn History>,
    cx: Cx,
    user: UserId,
    mode: Mode,
    /// The INVITE that began it, or the MESSAGE.
    request: Request,
    assembly: Assembly,
}

impl Chronicle {
    /// That of what is asked for; `None` when the history of its user is not active for this mode.
    pub(crate) fn begin(asked: &Asked<'_>, mode: Option<Mode>, cx: &Cx) -> Option<Self> {
        let Asked { functions, policy, profile, received, .. } = asked;
        let mode = mode?;
        let keeps = functions.keeps(profile, Some(mode), *received);
        Some(Self {
            history: Rc::clone(functions.history.as_ref().filter(|_| keeps)?),
            cx: cx.clone(),
            user: asked.user.clone(),
            mode,
            request: asked.request.clone(),
            assembly: Assembly::new(policy.session.history_octets_max),
        })
    }

    /// Takes what was heard; a message of which that was the last goes into the history.
    pub(crate) fn take(&mut self, heard: Heard) {
        if let Some(Whole { is_sent, content_type, body }) = self.assembly.take(heard) {
            self.keep(is_sent, &content_type, &body);
        }
    }

    /// Keeps the request itself, a MESSAGE that its user has sent.
    pub(crate) fn keep_request(&self) {
        self.keep(true, &content_type(&self.request), self.request.body());
    }

    fn keep(&self, is_sent: bool, content_type: &str, body: &[u8]) {
        let Self { history, cx, user, mode, request, .. } = self;
        let message =
            Message { at: cx.now(), user, mode: *mode, is_sent, request, content_type, body };
        message.keep_in(&**history);
    }
}

/// The messages of a session that are still coming.
struct Assembly {
    octets_max: u64,
    coming: Vec<Coming>,
    /// The chunk that is coming from either side, by its message and position.
    chunks: [Option<(Box<[u8]>, u64)>; 2],
}

/// A message of which something is there.
struct Coming {
    is_sent: bool,
    message_id: Box<[u8]>,
    content_type: String,
    body: Reassembly,
}

/// A message that has passed as a whole.
struct Whole {
    is_sent: bool,
    content_type: String,
    body: Bytes,
}

impl Assembly {
    /// Puts together messages of up to `octets_max` octets.
    fn new(octets_max: u64) -> Self {
        Self { octets_max, coming: Vec::new(), chunks: [None, None] }
    }

    /// Takes what has passed; the message of which that was the last.
    fn take(&mut self, heard: Heard) -> Option<Whole> {
        let Heard { is_sent, head, body, end } = heard;
        let chunk = match head {
            Some(head) => Some(self.begin(is_sent, head)),
            None => self.chunk(is_sent).take(),
        };
        let (message_id, position) = chunk?;
        let found =
            self.coming.iter().position(|it| it.is_sent == is_sent && it.message_id == message_id);
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
            *self.chunk(is_sent) = Some((message_id, next));
        }
        if !self.coming.get(place).is_some_and(|coming| coming.body.is_complete()) {
            return None;
        }
        let Coming { content_type, body, .. } = self.coming.swap_remove(place);
        Some(Whole { is_sent, content_type, body: body.into_message()? })
    }

    fn chunk(&mut self, is_sent: bool) -> &mut Option<(Box<[u8]>, u64)> {
        let [sent, got] = &mut self.chunks;
        if is_sent { sent } else { got }
    }

    /// A chunk begins: of which message, and where in it, from 0.
    fn begin(&mut self, is_sent: bool, head: PassageHead) -> (Box<[u8]>, u64) {
        let PassageHead { message_id, byte_range, content_type } = head;
        let known =
            self.coming.iter().any(|it| it.is_sent == is_sent && it.message_id == message_id);
        if !known {
            if self.coming.len() >= COMING_MAX {
                self.coming.remove(0);
                counter!("parlance_history_messages_lost_total").increment(1);
            }
            let content_type = content_type.unwrap_or_default();
            self.coming.push(Coming {
                is_sent,
                message_id: message_id.clone(),
                content_type: String::from_utf8_lossy(&content_type).into_owned(),
                body: Reassembly::new(self.octets_max),
            });
        }
        let position = byte_range.map_or(0, |range| range.start.saturating_sub(1));
        (message_id, position)
    }
}
