//! What recipients answer to copies (RFC 4975 §7.1.1, §7.1.2, §10): nothing of it reaches the
//! sender (RFC 7701 §6.3).

use super::Switch;
use super::copies::Copies;
use super::media::MediaNumber;
use super::message::Stage;
use crate::Head;
use crate::header::FailureReport;
use crate::node::Lost;
use crate::node::cx::Cx;

/// What a response to a copy is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A whole message with content of that type.
    Whole { media: Option<MediaNumber> },
    /// A chunk of message `number` of the leg `sender`.
    Piece { sender: u32, number: u32 },
}

/// The bit that only whole messages have.
const WHOLE: u64 = 1 << 63;

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        match token {
            Token::Whole { media } => WHOLE | media.map_or(0xff, |media| Self::from(media.value())),
            Token::Piece { sender, number } => {
                (Self::from(sender) << 32 | Self::from(number)) & !WHOLE
            }
        }
    }
}

impl From<u64> for Token {
    fn from(token: u64) -> Self {
        if token & WHOLE == 0 {
            let number = (token & u64::from(u32::MAX)) as u32;
            return Self::Piece { sender: (token >> 32) as u32, number };
        }
        Self::Whole { media: MediaNumber::from_value((token & 0xff) as u8) }
    }
}

impl Switch {
    /// The response to what was sent with `token`.
    pub(crate) fn response(&mut self, cx: &mut Cx, at: u32, token: u64, code: u16) {
        if code == 200 {
            return;
        }
        let token = Token::from(token);
        match code {
            408 => return self.unanswered(cx, at, token.into()),
            415 => self.refuse_type(at, token),
            _ => self.stray(cx, at, code),
        }
        if let Token::Piece { sender, number } = token {
            self.stop(cx, at, (sender, number), code);
        }
    }

    /// A response that was not waited for.
    pub(crate) fn stray(&mut self, cx: &mut Cx, at: u32, code: u16) {
        let Some(leg) = self.legs.get(at as usize) else { return };
        match code {
            481 => cx.fail(leg.session, Lost::Unknown),
            506 => cx.fail(leg.session, Lost::Elsewhere),
            // A message that is whole already cannot be stopped, and nobody asks what became of it.
            _ => {}
        }
    }

    /// What was sent with `token` was not answered within 30 s, or its connection is gone. That
    /// counts as dropped when an answer was asked for.
    pub(crate) fn unanswered(&mut self, cx: &mut Cx, at: u32, token: u64) {
        if self.config.failure_report != FailureReport::Yes {
            return;
        }
        if let Token::Piece { sender, number } = Token::from(token) {
            self.stop(cx, at, (sender, number), 408);
        }
        self.count_drop(cx, at);
    }

    /// A REPORT of a recipient: one that says that a message failed stops it on this leg.
    pub(super) fn reported(&mut self, cx: &mut Cx, at: u32, head: &Head<'_>) {
        let Some((status, id)) = head.status().zip(head.message_id) else { return };
        if status.namespace != 0 || status.code == 200 {
            return;
        }
        let Some(leg) = self.legs.get(at as usize) else { return };
        let Some(room) = self.rooms.get(leg.room as usize) else { return };
        let mut found = None;
        for sender in &room.legs {
            let Some(leg) = self.legs.get(*sender as usize) else { continue };
            for message in &leg.open {
                if let Stage::Passing(passage) = &message.stage
                    && passage.copy_id.as_deref().unwrap_or(&message.id) == id
                    && passage.targets.iter().any(|target| target.leg == at)
                {
                    found = Some((*sender, message.number));
                }
            }
        }
        if let Some(message) = found {
            self.stop(cx, at, message, status.code);
        }
    }

    /// A message goes no further on one leg. It ends with `#` there, unless the recipient has said
    /// that it takes no more of it (413; RFC 4975 §10.6).
    fn stop(&mut self, cx: &mut Cx, at: u32, (sender, number): (u32, u32), code: u16) {
        self.write_out_of(cx, at);
        let Self { legs, scratch, config, .. } = self;
        let Some(leg) = legs.get_mut(sender as usize) else { return };
        let Some(place) = leg.numbered(number) else { return };
        let Some(message) = leg.open.get_mut(place) else { return };
        let Stage::Passing(passage) = &mut message.stage else { return };
        let Some(target) = passage.targets.iter().position(|target| target.leg == at) else {
            return;
        };
        let target = passage.targets.remove(target);
        if code != 413 && message.write_abort(&mut scratch.common, config.failure_report) {
            Copies::abort(&scratch.common).end(cx, legs, target);
        }
    }

    /// The recipient does not take content of this type after all (RFC 4975 §10.7).
    fn refuse_type(&mut self, at: u32, token: Token) {
        let media = match token {
            Token::Whole { media } => media,
            Token::Piece { sender, number } => self.legs.get(sender as usize).and_then(|leg| {
                match &leg.open.get(leg.numbered(number)?)?.stage {
                    Stage::Passing(passage) => passage.letter.media,
                    Stage::Headers(..) | Stage::Duplicate => None,
                }
            }),
        };
        if let Some(leg) = self.legs.get_mut(at as usize)
            && let Some(media) = media
        {
            leg.accepts.refuse(media);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let media = MediaNumber::from_value(31);
        #[rustfmt::skip]
        let table = [
            Token::Whole { media: None },
            Token::Whole { media },
            Token::Whole { media: MediaNumber::from_value(0) },
            Token::Piece { sender: 0, number: 0 },
            Token::Piece { sender: 7, number: u32::MAX },
        ];
        for token in table {
            let written = u64::from(token);
            assert_eq!(Token::from(written), token);
            assert!(written < u64::MAX, "which is the node's");
        }
        assert!(media.is_some() && MediaNumber::from_value(32).is_none());
    }
}
