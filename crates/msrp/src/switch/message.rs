//! A message on its way through a room, while not all of it has come (RFC 7701 §6.1).
//!
//! | Stage     | Input                          | Next      | Done                                |
//! |-----------|--------------------------------|-----------|-------------------------------------|
//! | Headers   | octets, headers not complete   | Headers   | kept                                |
//! | Headers   | octets, headers complete       | Passing   | recipients fixed, octets passed on  |
//! | Headers   | headers wrong, recipient wrong | gone      | refused                             |
//! | Passing   | octets                         | Passing   | passed on                           |
//! | Duplicate | octets                         | Duplicate | nothing                             |
//! | any       | chunk with `#`                 | gone      | `#` to the recipients               |
//! | any       | all octets up to the `$` came  | gone      | reported if asked for               |
//! | any       | no chunk for the chunk timeout | gone      | `#` to the recipients               |

use std::time::Instant;

use parlance_content::cpim::{Envelope, Reader};

use super::copies::headers;
use super::media::MediaNumber;
use super::room::Target;
use crate::Ranges;
use crate::header::{ByteRange, FailureReport};

/// The least octets of a chunk that is neither the last nor the sender's own (RFC 4975 §5.1:
/// shorter ones SHOULD NOT be). What comes in smaller pieces of a chunk is gathered.
pub(super) const CHUNK_OCTETS_MIN: usize = 2048;

/// One message of one sender.
#[derive(Debug)]
pub(super) struct Message {
    /// Unique in the switch while the message is here.
    pub(super) number: u32,
    /// `Message-ID` of the sender.
    pub(super) id: Box<[u8]>,
    pub(super) stage: Stage,
    /// Which octets have come, from 0.
    pub(super) arrived: Ranges,
    /// Its length, once the chunk with `$` was there.
    pub(super) length: Option<u64>,
    /// Where the next octet of the running chunk belongs, from 0.
    pub(super) position: u64,
    /// Its length as the latest chunk has it.
    pub(super) total: Option<u64>,
    /// Whether the sender wants to know when all has come.
    pub(super) success_report: bool,
    /// Whether it wants to know what fails.
    pub(super) failure_report: FailureReport,
    /// When it is given up on unless more comes.
    pub(super) deadline: Instant,
    /// Octets that are not passed on yet: the headers, or too few for a chunk.
    pub(super) held: Vec<u8>,
    /// Where they begin.
    pub(super) held_at: u64,
}

/// Where a message stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its headers have not all come: nobody knows for whom it is. What it will be called when its
    /// own name is another's.
    Headers(Box<Reader>, Option<Box<[u8]>>),
    /// It is passed on as it comes.
    Passing(Box<Passage>),
    /// It was there before: nobody gets it.
    Duplicate,
}

/// How a message is passed on.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) letter: Letter,
    /// What it is called on the legs of its recipients, when another message has its own name.
    pub(super) copy_id: Option<Box<[u8]>>,
    /// Who gets it: those who were there when it began, and are still.
    pub(super) targets: Vec<Target>,
    /// Whether its first octets are sent.
    pub(super) opened: bool,
    /// One past the last octet sent, as the recipients count, from 0.
    pub(super) sent: u64,
}

/// What its headers say of a message.
#[derive(Debug)]
pub(super) struct Letter {
    /// The number of its content type.
    pub(super) media: Option<MediaNumber>,
    /// Whether history and charging count it.
    pub(super) counted: bool,
    /// Whether it waits for others that are for all.
    pub(super) waits: bool,
    pub(super) edit: Edit,
    /// The `message/cpim` body of a report about it, when it is private (RFC 7701 §6.2).
    pub(super) report: Option<Box<[u8]>>,
}

/// What is changed on the way; no other octet is (RFC 7701 §6.1).
#[derive(Debug)]
pub(super) enum Edit {
    /// Nothing.
    None,
    /// The sender becomes this pseudonym.
    Sender {
        /// Where it stands.
        envelope: Box<Envelope>,
        /// The pseudonym.
        uri: Box<str>,
    },
    /// These headers come before what was not wrapped.
    Wrapper(Vec<u8>),
}

impl Edit {
    /// Octets of the sender's message that are the headers, and are passed on once only.
    fn headers(&self) -> u64 {
        match self {
            Self::None | Self::Wrapper(_) => 0,
            Self::Sender { envelope, .. } => envelope.content as u64,
        }
    }

    /// By how much the message gets longer.
    fn longer(&self) -> i64 {
        match self {
            Self::None => 0,
            Self::Sender { envelope, uri } => envelope.longer_as_from(uri),
            Self::Wrapper(head) => i64::try_from(head.len()).unwrap_or(i64::MAX),
        }
    }

    /// A length or position of the sender's message as the recipients count.
    pub(super) fn shifted(&self, position: u64) -> u64 {
        position.saturating_add_signed(self.longer())
    }

    /// The length of the message as its sender has it, as the recipients count; `None` when it is
    /// less than `sent`: a total that is wrong makes no chunk wrong (RFC 4975 §7.3.1).
    pub(super) fn shifted_total(&self, total: Option<u64>, sent: u64) -> Option<u64> {
        total.map(|total| self.shifted(total)).filter(|total| *total >= sent)
    }

    /// Appends the first octets of the body, with at least the headers, as they are passed on;
    /// gives those that follow them and are unchanged.
    pub(super) fn open<'a>(&self, octets: &'a [u8], to: &mut Vec<u8>) -> &'a [u8] {
        match self {
            Self::None => octets,
            Self::Sender { envelope, uri } => {
                let (head, content) =
                    octets.split_at_checked(envelope.content).unwrap_or((octets, b""));
                envelope.write_as_from(head, uri, to);
                content
            }
            Self::Wrapper(head) => {
                to.extend_from_slice(head);
                octets
            }
        }
    }
}

impl Message {
    /// Starts a chunk of it.
    pub(super) fn chunk(&mut self, range: ByteRange, reports: (bool, FailureReport)) {
        self.position = range.start - 1;
        self.total = range.total;
        (self.success_report, self.failure_report) = reports;
    }

    /// Writes the common part of an empty chunk that follows what was sent, to end it with `#`;
    /// `false` when nothing was sent.
    pub(super) fn write_abort(&self, common: &mut Vec<u8>, failure_report: FailureReport) -> bool {
        let Stage::Passing(passage) = &self.stage else { return false };
        let total = passage.letter.edit.shifted_total(self.total, passage.sent);
        let range = ByteRange { start: passage.sent + 1, end: Some(passage.sent), total };
        let id = passage.copy_id.as_deref().unwrap_or(&self.id);
        headers(common, id, range, failure_report);
        passage.opened
    }

    /// Whether all of it has come.
    pub(super) fn is_complete(&self) -> bool {
        self.length.is_some_and(|length| self.arrived.cover(length))
    }
}

impl Passage {
    pub(super) fn new(letter: Letter, copy_id: Option<Box<[u8]>>, targets: Vec<Target>) -> Self {
        Self { letter, copy_id, targets, opened: false, sent: 0 }
    }

    /// Leaves out of `body`, which begins at `position`, what belongs to headers that were passed
    /// on: a sender that repeats them would show who it is. Where what is left begins.
    pub(super) fn without_headers<'a>(&self, position: u64, body: &'a [u8]) -> (u64, &'a [u8]) {
        let headers = self.letter.edit.headers();
        if !self.opened || position >= headers {
            return (position, body);
        }
        let known = usize::try_from(headers - position).unwrap_or(usize::MAX).min(body.len());
        (position + known as u64, body.get(known..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn sizes() {
        assert!(size_of::<Message>() <= 224, "{}", size_of::<Message>());
        assert!(size_of::<Passage>() <= 160, "{}", size_of::<Passage>());
    }

    // Covers: MSRP-069
    #[test]
    fn a_repeated_head_is_not_passed_on() {
        let octets = Bytes::from_static(b"From: A <sip:a@x>\r\nTo: <sip:r@x>\r\n\r\n\r\nhello");
        let read = Reader::default().read(&octets, true, &Default::default());
        let envelope = Box::new(read.unwrap().unwrap());
        let content = envelope.content as u64;
        let edit = Edit::Sender { envelope, uri: "sip:anonymous1@x".into() };
        let mut written = Vec::new();
        let rest = edit.open(&octets, &mut written);
        assert_eq!(written, b"From: <sip:anonymous1@x>\r\nTo: <sip:r@x>\r\n\r\n\r\n");
        assert_eq!(rest, b"hello");
        assert_eq!(edit.shifted(content), written.len() as u64);
        let letter = Letter { media: None, counted: true, waits: false, edit, report: None };
        let mut passage = Passage::new(letter, None, Vec::new());
        assert_eq!(passage.without_headers(0, &octets), (0, &octets[..]));
        passage.opened = true;
        assert_eq!(passage.without_headers(0, &octets), (content, &b"hello"[..]));
        assert_eq!(passage.without_headers(4, &octets[4..]), (content, &b"hello"[..]));
        assert_eq!(passage.without_headers(0, &octets[..9]), (9, &b""[..]));
        assert_eq!(passage.without_headers(content + 1, b"ello"), (content + 1, &b"ello"[..]));
    }
}
