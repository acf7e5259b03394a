//! Framing on streams by Content-Length (RFC 3261 §7.5, §18.3), with keep-alives (RFC 5626 §4.4.1).
//!
//! The framer looks at every octet of a head once, however the stream is cut into reads, and takes
//! a message out of its buffer without copying it.

use bytes::{Buf, BytesMut};
use memchr::memmem;

use crate::grammar::searched;
use crate::message::{Fault, HeadIndex, Limits, Malformed, Message, index_head};
use crate::{HeaderName, examined};

/// What stands next in the stream.
#[derive(Debug)]
pub enum Frame {
    /// A whole message.
    Message(Message),
    /// A double CRLF between messages: the peer asks whether we live; the answer is one CRLF.
    Ping,
    /// A head that cannot be framed. Nothing behind it can be trusted: answer it when it is a
    /// request, then close.
    Malformed(Box<Malformed>),
}

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    buffer: BytesMut,
    head_end: memmem::Finder<'static>,
    /// How much of the head was searched for its end already.
    searched: usize,
    /// The head and how long its body will be, once the head is there.
    head: Option<(HeadIndex, usize)>,
    broken: bool,
}

const HEAD_END: &[u8] = b"\r\n\r\n";

impl Framer {
    /// An empty framer.
    pub fn new(limits: Limits) -> Self {
        let head_end = memmem::Finder::new(HEAD_END);
        Self { limits, buffer: BytesMut::new(), head_end, searched: 0, head: None, broken: false }
    }

    /// The buffer to read into; call [`Framer::next_frame`] afterwards.
    ///
    /// It never holds more than one message of the largest size and one read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether a message has begun and is not whole yet: the time to be strict about slow peers.
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next frame; `None` until more is read, and for ever after a malformed one.
    pub fn next_frame(&mut self) -> Option<Frame> {
        if self.broken {
            return None;
        }
        if self.head.is_none() {
            if self.searched == 0 {
                self.skip_line_ends();
                if self.buffer.starts_with(HEAD_END) {
                    self.buffer.advance(HEAD_END.len());
                    return Some(Frame::Ping);
                }
                if HEAD_END.starts_with(&self.buffer) {
                    return None;
                }
            }
            match self.find_head()? {
                Ok(head) => self.head = Some(head),
                Err(malformed) => {
                    self.broken = true;
                    return Some(Frame::Malformed(malformed));
                }
            }
        }
        let whole = self.head.as_ref().map_or(0, |(head, length)| head.len() + length);
        if self.buffer.len() < whole {
            return None;
        }
        self.searched = 0;
        let (head, length) = self.head.take()?;
        let bytes = self.buffer.split_to(whole).freeze();
        Some(match head.with_body(bytes, length, &self.limits) {
            Ok(message) => Frame::Message(message),
            // The length was right, so the stream is still in step: the peer may go on.
            Err(malformed) => Frame::Malformed(malformed),
        })
    }

    /// Whether the stream is out of step and must be closed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Drops line ends before a message, but neither a ping nor what may become one.
    fn skip_line_ends(&mut self) {
        while matches!(self.buffer.first(), Some(b'\r' | b'\n')) {
            examined(HEAD_END.len());
            let ping = self.buffer.starts_with(HEAD_END) || HEAD_END.starts_with(&self.buffer);
            if ping {
                return;
            }
            self.buffer.advance(1);
        }
    }

    /// Finds the end of the head, and in it how long the body is.
    fn find_head(&mut self) -> Option<Result<(HeadIndex, usize), Box<Malformed>>> {
        let from = self.searched.saturating_sub(HEAD_END.len() - 1);
        let new = self.buffer.get(from..)?;
        let is_whole = searched(new, self.head_end.find(new)).is_some();
        if !is_whole {
            self.searched = self.buffer.len();
            if self.searched <= self.limits.head_octets_max {
                return None;
            }
        }
        Some(self.measure(is_whole))
    }

    /// Indexes the head, of which the end was seen if it `is_whole`.
    fn measure(&mut self, is_whole: bool) -> Result<(HeadIndex, usize), Box<Malformed>> {
        let head = index_head(&self.buffer, &self.limits).map_err(|fault| {
            let fault = if is_whole { fault } else { Fault::HeadSize };
            Box::new(Malformed { fault, message: None })
        })?;
        let fault = match (head.fault, head.content_length) {
            // With a lone LF for a line end it is not certain where the head ends; of one beyond
            // the limits the end was not looked for.
            (Some(fault @ (Fault::HeaderLine | Fault::HeadSize | Fault::FieldCount)), _) => fault,
            _ if !is_whole => Fault::HeadSize,
            (_, Ok(Some(length))) if length <= self.limits.body_octets_max => {
                return Ok((head, length));
            }
            (_, Ok(Some(_))) => Fault::BodySize,
            // RFC 3261 §20.14: over a stream the header must be there.
            (_, Ok(None)) => Fault::Missing(HeaderName::ContentLength),
            (_, Err(fault)) => fault,
        };
        let bytes = self.buffer.split_to(head.len()).freeze();
        let message = match head.with_body(bytes, 0, &self.limits) {
            Ok(message) => Some(message),
            Err(malformed) => malformed.message,
        };
        Err(Box::new(Malformed { fault, message }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `pieces` and renders the frames.
    fn run(limits: Limits, pieces: &[&[u8]]) -> Vec<String> {
        let mut framer = Framer::new(limits);
        let mut seen = Vec::new();
        for piece in pieces {
            framer.buffer().extend_from_slice(piece);
            while let Some(frame) = framer.next_frame() {
                seen.push(match frame {
                    Frame::Message(message) => {
                        format!("message {}", message.body().escape_ascii())
                    }
                    Frame::Ping => "ping".to_owned(),
                    Frame::Malformed(malformed) => format!("malformed {}", malformed.fault),
                });
            }
        }
        seen
    }

    #[track_caller]
    fn check(stream: &str, expect: &[&str]) {
        assert_eq!(run(Limits::default(), &[stream.as_bytes()]), expect, "{stream}");
    }

    // Covers: CORE-001, CORE-060
    #[test]
    fn frames_by_content_length() {
        let one = "MESSAGE sip:b@h SIP/2.0\r\nl: 3\r\n\r\nabc";
        check(one, &["message abc"]);
        check(&format!("\r\n\r\n{one}\r\n{one}"), &["ping", "message abc", "message abc"]);
        check(&format!("{one}\r\n\r\n"), &["message abc", "ping"]);
        check("MESSAGE sip:b@h SIP/2.0\r\nX: y\r\n\r\n", &["malformed Missing Content-Length"]);
        check("MESSAGE sip:b@h SIP/2.0\r\nl: -1\r\n\r\n", &["malformed Bad Content-Length"]);
        check("MESSAGE sip:b@h SIP/2.0\r\nl: 1\r\nl: 2\r\n\r\n", &["malformed Bad Content-Length"]);
        check("MESSAGE sip:b@h SIP/2.0\r\nl: 9\r\n\r\n12345678", &[]);
        // A head that is out of step ends the stream; one with a fault of its own does not.
        check(&format!("nonsense\r\n\r\n{one}"), &["malformed Bad Start Line"]);
        check(
            &format!("MESSAGE sip:b@h SIP/7.0\r\nl: 0\r\n\r\n{one}"),
            &["malformed Version Not Supported", "message abc"],
        );
    }

    // Covers: SEC-012
    #[test]
    fn an_endless_head_or_body_is_refused_at_the_limit() {
        let limits = Limits { head_octets_max: 64, fields_max: 9, body_octets_max: 3 };
        let endless = "x".repeat(65);
        assert_eq!(run(limits, &[endless.as_bytes()]), ["malformed Head Too Long"]);
        let long = b"MESSAGE sip:b@h SIP/2.0\r\nl: 4\r\n\r\n";
        assert_eq!(run(limits, &[long]), ["malformed Body Too Long"]);
    }

    // Covers: SEC-012
    #[test]
    fn a_head_beyond_the_limits_ends_the_stream_with_something_to_answer() {
        let limits = Limits { head_octets_max: 80, fields_max: 6, body_octets_max: 3 };
        // The second fault would leave the stream in step.
        let named = "BYE sip:b@h SIP/7.0\r\nv: a\r\nf: b\r\nt: c\r\ni: d\r\nCSeq: 1 BYE\r\n";
        let endless = format!("{named}X: {}", "x".repeat(80));
        let long = format!("{endless}\r\nl: 0\r\n\r\n");
        let many = format!("{named}l: 0\r\nA: 1\r\n\r\n");
        let table =
            [(endless, Fault::HeadSize), (long, Fault::HeadSize), (many, Fault::FieldCount)];
        for (text, fault) in table {
            let octets: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(run(limits, &octets), [format!("malformed {fault}")], "{text}");
            let mut framer = Framer::new(limits);
            framer.buffer().extend_from_slice(text.as_bytes());
            let Some(Frame::Malformed(malformed)) = framer.next_frame() else {
                panic!("a malformed frame");
            };
            assert_eq!(malformed.fault, fault, "{text}");
            let message = malformed.message.expect("what an answer is made of");
            assert_eq!(message.field(HeaderName::CSeq), Some(&b"1 BYE"[..]));
            assert!(framer.is_broken() && framer.next_frame().is_none());
        }
    }

    #[test]
    fn a_missing_length_names_the_header() {
        let mut framer = Framer::new(Limits::default());
        framer.buffer().extend_from_slice(b"MESSAGE sip:b@h SIP/2.0\r\nFrom: a\r\n\r\n");
        let Some(Frame::Malformed(malformed)) = framer.next_frame() else {
            panic!("a malformed frame");
        };
        assert_eq!(malformed.fault, Fault::Missing(HeaderName::ContentLength));
        assert!(malformed.message.is_some(), "there is something to answer");
        assert!(framer.is_broken());
    }

    proptest! {
        // Covers: SEC-018
        #[test]
        fn cuts_do_not_matter(cuts in proptest::collection::vec(1_usize..40, 1..12)) {
            let stream = b"\r\n\r\nMESSAGE sip:b@h SIP/2.0\r\nl: 3\r\n\r\nabc\r\n\
                SIP/2.0 200 OK\r\nContent-Length: 12\r\n\r\nab\r\n\r\ncd\r\n\r\n\r\n\r\n\
                BYE sip:b@h SIP/2.0\r\nl: 0\r\n\r\n";
            let mut pieces = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, left) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = left;
            }
            let whole = run(Limits::default(), &[stream]);
            prop_assert_eq!(whole.len(), 5);
            prop_assert_eq!(run(Limits::default(), &pieces), whole);
        }

        // Covers: SEC-018
        #[test]
        fn never_panics(pieces: Vec<Vec<u8>>) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            run(Limits::default(), &pieces);
        }
    }
}
