//! Messages of participants as they come (RFC 7701 §6, RFC 4975 §7.3.1).

use bytes::Bytes;
use parlance_content::cpim::{Envelope, Limits, Reader};
use parlance_content::is_composing;

use super::Switch;
use super::answer::Token;
use super::copies::{Copies, Left, copy_small, headers};
use super::media::MediaNumber;
use super::message::{CHUNK_OCTETS_MIN, Edit, Letter, Message, Passage, Stage};
use super::passed::{Piece, give_out};
use super::recent::Before;
use super::refusal::Refusal;
use super::room::Address;
use super::round::{Whole, may_wait};
use crate::end_line::may_end;
use crate::header::{ByteRange, FailureReport};
use crate::node::cx::Cx;
use crate::node::receive::Chunk;
use crate::{Continuation, Ranges};

/// What stands before the content of a message. Longer is refused (400).
const HEADERS: Limits = Limits { headers_max: 64, header_bytes_max: 16 * 1024 };

/// What becomes of a message after a piece of it.
enum Next {
    /// More is to come.
    Open,
    /// All of it was there.
    Finished,
    /// The sender gave it up.
    Aborted,
}

/// Who a message is for.
struct Routed {
    /// The number of its type.
    media: Option<MediaNumber>,
    private: bool,
    /// Whether it waits for others that are for all.
    waits: bool,
}

impl Switch {
    /// A SEND of a participant.
    pub(super) fn send(&mut self, cx: &mut Cx, at: u32, chunk: &Chunk<'_>) -> Result<(), Refusal> {
        let Some(leg) = self.legs.get_mut(at as usize) else { return Ok(()) };
        let head = chunk.head;
        leg.running = None;
        if !head.has_body {
            // It binds the session or keeps the connection alive (RFC 4975 §5.4, §7.1).
            return Ok(());
        }
        let id = head.message_id.ok_or(Refusal::MessageId)?;
        let range = head.byte_range.unwrap_or(ByteRange::WHOLE);
        let mut message = match leg.open_at(id) {
            Some(place) => leg.open.swap_remove(place),
            None if range.start > 1 => {
                let refused = leg.refused.as_ref().filter(|(refused, _)| **refused == *id);
                return Err(refused.map_or(Refusal::Headless, |(_, why)| *why));
            }
            None if chunk.end == Some(Continuation::Last) => {
                return self.whole(cx, at, chunk, id, range);
            }
            None => self.begin(cx, at, chunk, id)?,
        };
        message.chunk(range, (head.success_report, head.failure_report));
        self.piece(cx, at, message, chunk.body, chunk.octets, chunk.end)
    }

    /// A message that is there with its first chunk: nothing of it is kept.
    fn whole(
        &mut self,
        cx: &mut Cx,
        at: u32,
        chunk: &Chunk<'_>,
        id: &[u8],
        range: ByteRange,
    ) -> Result<(), Refusal> {
        let Chunk { head, body, octets, .. } = *chunk;
        let length = body.len() as u64;
        self.check_length(at, Some(length))?;
        let letter = if is_cpim(head.content_type) {
            let read = Reader::default().read(body, true, &HEADERS);
            let envelope = read.ok().flatten().ok_or(Refusal::Malformed)?;
            self.letter(at, body, envelope, head.success_report, Some(body.len()))?
        } else {
            self.wrap(at, head.content_type, Some(body.len()))?
        };
        let copy_id = match self.note(at, id) {
            Before::Nobody => None,
            Before::Other => Some(fresh_id(cx)),
            Before::Same => {
                self.report_received(cx, at, head.success_report, (id, length), None);
                return Ok(());
            }
        };
        let copied = letter.edit.shifted(length);
        let small = copied <= CHUNK_OCTETS_MIN as u64;
        let range = ByteRange {
            start: 1,
            end: range.end.and(small.then_some(copied)),
            total: letter.edit.shifted_total(range.total, copied),
        };
        let whole = Whole { id: copy_id.as_deref().unwrap_or(id), range, body, octets };
        if letter.waits {
            self.put_off(cx, at, &letter, &whole);
        } else {
            self.pass_whole(cx, at, &letter, &whole);
            let all = ByteRange { start: 1, end: Some(length), total: Some(length) };
            self.report_unkept(cx, at, head.failure_report, (id, all));
        }
        self.count(at, &letter, length);
        self.report_received(cx, at, head.success_report, (id, length), letter.report);
        Ok(())
    }

    /// Passes a whole message on at once.
    fn pass_whole(&mut self, cx: &mut Cx, at: u32, letter: &Letter, whole: &Whole<'_>) {
        self.write_out_of(cx, at);
        let Self { config, legs, scratch, .. } = self;
        let Whole { id, range, body, octets } = *whole;
        headers(&mut scratch.common, id, range, config.failure_report);
        let head_octets = scratch.common.len();
        let rest = letter.edit.open(body, &mut scratch.common);
        let rest = copy_small(&mut scratch.common, rest);
        let waits = config.failure_report == FailureReport::Yes;
        let flag = Continuation::Last;
        let copies = Copies {
            common: &scratch.common,
            rest,
            octets,
            dashes: may_end(body),
            begins: true,
            flag,
            waits: waits.then(|| Token::Whole { media: letter.media }.into()),
        };
        copies.send(cx, legs, config, &mut scratch.targets, &mut scratch.left);
        let piece = Piece { message_id: id, position: 0, head: head_octets, rest, end: flag };
        give_out(cx, legs, scratch, at, piece, letter.counted);
        self.count_drops(cx);
    }

    /// The first chunk of a message of several, or a piece of it.
    fn begin(
        &mut self,
        cx: &mut Cx,
        at: u32,
        chunk: &Chunk<'_>,
        id: &[u8],
    ) -> Result<Message, Refusal> {
        let open = self.legs.get(at as usize).map_or(0, |leg| leg.open.len());
        if open >= self.config.open_messages_max {
            return Err(Refusal::TooMany);
        }
        let wrapped = match chunk.head.content_type {
            content_type if is_cpim(content_type) => None,
            content_type => Some(self.wrap(at, content_type, None)?),
        };
        let before = self.note(at, id);
        let copy_id = (before == Before::Other).then(|| fresh_id(cx));
        let stage = match (before, wrapped) {
            (Before::Same, _) => Stage::Duplicate,
            (Before::Nobody | Before::Other, None) => Stage::Headers(Box::default(), copy_id),
            (Before::Nobody | Before::Other, Some(letter)) => {
                let targets = self.scratch.targets.clone();
                Stage::Passing(Box::new(Passage::new(letter, copy_id, targets)))
            }
        };
        self.number = self.number.wrapping_add(1);
        Ok(Message {
            number: self.number,
            id: id.into(),
            stage,
            arrived: Ranges::default(),
            length: None,
            position: 0,
            total: None,
            success_report: false,
            failure_report: FailureReport::Yes,
            deadline: cx.now + self.config.chunk_timeout,
            held: Vec::new(),
            held_at: 0,
        })
    }

    /// A piece of a message that was taken out of its leg, and is put back unless it has ended.
    pub(super) fn piece(
        &mut self,
        cx: &mut Cx,
        at: u32,
        mut message: Message,
        body: &[u8],
        octets: &Bytes,
        end: Option<Continuation>,
    ) -> Result<(), Refusal> {
        self.write_out_of(cx, at);
        let start = message.position + 1;
        let next = self.take(cx, at, &mut message, body, octets, end);
        self.count_drops(cx);
        let range = ByteRange { start, end: Some(message.position), total: message.total };
        self.report_unkept(cx, at, message.failure_report, (&message.id, range));
        match next {
            Ok(Next::Open) => {
                let Some(leg) = self.legs.get_mut(at as usize) else { return Ok(()) };
                leg.running = end.is_none().then_some(message.number);
                leg.open.push(message);
                if leg.armed.is_none() {
                    self.arm(cx, at);
                }
                Ok(())
            }
            Ok(Next::Finished) => {
                let length = message.length.unwrap_or_default();
                let mut report = None;
                if let Stage::Passing(passage) = message.stage {
                    self.count(at, &passage.letter, length);
                    report = passage.letter.report;
                }
                let wanted = message.success_report;
                self.report_received(cx, at, wanted, (&message.id, length), report);
                Ok(())
            }
            Ok(Next::Aborted) => {
                self.forget(at, &message);
                Ok(())
            }
            Err(refusal) => {
                let id = message.id.clone();
                self.abort(cx, at, message);
                if let Some(leg) = self.legs.get_mut(at as usize) {
                    leg.refused = Some((id, refusal));
                }
                Err(refusal)
            }
        }
    }

    fn take(
        &mut self,
        cx: &mut Cx,
        at: u32,
        message: &mut Message,
        body: &[u8],
        octets: &Bytes,
        end: Option<Continuation>,
    ) -> Result<Next, Refusal> {
        let start = message.position;
        let stop = self.check_length(at, start.checked_add(body.len() as u64))?;
        message.arrived.insert(start, stop).map_err(|_| Refusal::TooMany)?;
        message.position = stop;
        message.deadline = cx.now + self.config.chunk_timeout;
        if end == Some(Continuation::Last) {
            message.length = Some(stop);
        }
        match &message.stage {
            Stage::Headers(..) => {
                let rest = self.read_headers(at, message, start, body, end)?;
                self.pass(cx, at, message, start, rest, octets, end);
            }
            Stage::Passing(_) => self.pass(cx, at, message, start, body, octets, end),
            Stage::Duplicate => {}
        }
        Ok(match end {
            Some(Continuation::Abort) => Next::Aborted,
            _ if message.is_complete() => Next::Finished,
            _ => Next::Open,
        })
    }

    /// Reads on in the headers; when they are complete it is known who gets the message. Gives what
    /// of `body` is not held.
    fn read_headers<'a>(
        &mut self,
        at: u32,
        message: &mut Message,
        start: u64,
        body: &'a [u8],
        end: Option<Continuation>,
    ) -> Result<&'a [u8], Refusal> {
        let Stage::Headers(reader, copy_id) = &mut message.stage else { return Ok(body) };
        if start != message.held.len() as u64 {
            return Err(Refusal::Headless);
        }
        let fresh = message.held.is_empty();
        if !fresh {
            message.held.extend_from_slice(body);
        }
        let so_far = if fresh { body } else { &message.held };
        let is_all = end == Some(Continuation::Last);
        let read = reader.read(so_far, is_all, &HEADERS).map_err(|_| Refusal::Malformed)?;
        let Some(envelope) = read else {
            if fresh {
                message.held = body.to_vec();
            }
            return Ok(b"");
        };
        let letter = self.letter(at, so_far, envelope, message.success_report, None)?;
        let targets = self.scratch.targets.clone();
        let passage = Passage::new(letter, copy_id.take(), targets);
        message.stage = Stage::Passing(Box::new(passage));
        Ok(if fresh { body } else { b"" })
    }

    /// Passes on what is held and `body`, which begins at `start`, if it is enough for a chunk.
    #[expect(clippy::too_many_arguments, reason = "a piece is five things")]
    fn pass(
        &mut self,
        cx: &mut Cx,
        at: u32,
        message: &mut Message,
        start: u64,
        body: &[u8],
        octets: &Bytes,
        end: Option<Continuation>,
    ) {
        let Stage::Passing(passage) = &mut message.stage else { return };
        let (start, body) = passage.without_headers(start, body);
        let more = message.held.len() + body.len();
        if end.is_none() && more < CHUNK_OCTETS_MIN {
            if message.held.is_empty() {
                message.held_at = start;
            }
            message.held.extend_from_slice(body);
            return;
        }
        let aborted = end == Some(Continuation::Abort);
        if (aborted && !passage.opened) || (more == 0 && end == Some(Continuation::More)) {
            return;
        }
        let Self { config, legs, scratch, .. } = self;
        let edit = &passage.letter.edit;
        let from = if message.held.is_empty() { start } else { message.held_at };
        let (first, last) = match passage.opened {
            true => (edit.shifted(from), edit.shifted(from) + more as u64),
            false => (0, edit.shifted(more as u64)),
        };
        let range = ByteRange {
            start: first + 1,
            end: (last - first <= CHUNK_OCTETS_MIN as u64).then_some(last),
            total: edit.shifted_total(message.total, last),
        };
        let id = passage.copy_id.as_deref().unwrap_or(&message.id);
        let common = &mut scratch.common;
        headers(common, id, range, config.failure_report);
        let head_octets = common.len();
        let held = std::mem::take(&mut message.held);
        let rest = if held.is_empty() && !passage.opened {
            edit.open(body, common)
        } else {
            let unchanged = if passage.opened { &held } else { edit.open(&held, common) };
            common.extend_from_slice(unchanged);
            body
        };
        let rest = copy_small(common, rest);
        let flag = end.unwrap_or(Continuation::More);
        let token = Token::Piece { sender: at, number: message.number };
        let waits = (config.failure_report != FailureReport::No).then(|| token.into());
        let dashes = may_end(&scratch.common) || may_end(rest);
        let (common, begins) = (&scratch.common, !passage.opened);
        let copies = Copies { common, rest, octets, dashes, begins, flag, waits };
        copies.send(cx, legs, config, &mut passage.targets, &mut scratch.left);
        let piece = Piece { message_id: id, position: first, head: head_octets, rest, end: flag };
        give_out(cx, legs, scratch, at, piece, passage.letter.counted);
        let opened = std::mem::replace(&mut passage.opened, true);
        let Left { full, unkept, .. } = &scratch.left;
        if opened && !(full.is_empty() && unkept.is_empty()) {
            message.write_abort(&mut scratch.common, config.failure_report);
            for target in full.iter().chain(unkept) {
                Copies::abort(&scratch.common).end(cx, legs, *target);
            }
        }
        if let Stage::Passing(passage) = &mut message.stage {
            passage.sent = last;
        }
    }

    /// Gives a message up: its recipients get an empty chunk with `#`, and it may come again.
    pub(super) fn abort(&mut self, cx: &mut Cx, at: u32, message: Message) {
        self.write_out_of(cx, at);
        self.forget(at, &message);
        if message.write_abort(&mut self.scratch.common, self.config.failure_report)
            && let Stage::Passing(passage) = &message.stage
        {
            let Self { legs, scratch, .. } = self;
            for target in &passage.targets {
                Copies::abort(&scratch.common).end(cx, legs, *target);
                let leg = legs.get(target.leg as usize);
                scratch.left.copied.extend(leg.filter(|leg| leg.copies).map(|leg| leg.session));
            }
            let piece = Piece {
                message_id: passage.copy_id.as_deref().unwrap_or(&message.id),
                position: passage.sent,
                head: scratch.common.len(),
                rest: b"",
                end: Continuation::Abort,
            };
            give_out(cx, legs, scratch, at, piece, passage.letter.counted);
        }
    }

    /// Checks who a message is from and for (RFC 7701 §6.1, §6.2). It may wait for others when all
    /// of it is there, in so many octets.
    fn letter(
        &mut self,
        at: u32,
        octets: &[u8],
        envelope: Envelope,
        reports: bool,
        whole: Option<usize>,
    ) -> Result<Letter, Refusal> {
        let leg = self.legs.get_mut(at as usize).ok_or(Refusal::From)?;
        let from = octets.get(envelope.from.clone()).unwrap_or_default();
        if envelope.from_count != 1 || !leg.is_called(from) {
            return Err(Refusal::From);
        }
        let pseudonym = leg.pseudonym.as_ref().filter(|_| leg.anonymous);
        let pseudonym = pseudonym.map(|pseudonym| pseudonym.uri.clone());
        let place = leg.room;
        let media_type = envelope.media_type(octets);
        let address = Address {
            to_count: envelope.to_count,
            to: octets.get(envelope.to.clone()).unwrap_or_default(),
            media_type,
            is_imdn: envelope.is_imdn(octets, media_type),
        };
        let Routed { media, private, waits } = self.route(at, place, &address, whole)?;
        let status = |media_type: &str| media_type.eq_ignore_ascii_case(is_composing::MEDIA_TYPE);
        Ok(Letter {
            media,
            counted: !address.is_imdn && !address.media_type.is_some_and(status),
            waits,
            report: (private && reports).then(|| envelope.from_and_to(octets).into()),
            edit: match pseudonym {
                Some(uri) => Edit::Sender { envelope: Box::new(envelope), uri },
                None => Edit::None,
            },
        })
    }

    /// Headers for a message without, if the room allows that: it is from the sender to all.
    fn wrap(
        &mut self,
        at: u32,
        content_type: Option<&[u8]>,
        whole: Option<usize>,
    ) -> Result<Letter, Refusal> {
        let leg = self.legs.get(at as usize).ok_or(Refusal::NotCpim)?;
        let place = leg.room;
        let room = self.rooms.get(place as usize).ok_or(Refusal::NotCpim)?;
        if !room.policy.wraps {
            return Err(Refusal::NotCpim);
        }
        let content_type = content_type.and_then(|value| std::str::from_utf8(value).ok());
        let content_type = content_type.ok_or(Refusal::NotCpim)?;
        let from = leg.shown_uri(room.uri_of(leg.participant)).to_owned();
        let to = room.uri().to_owned();
        let fields = [("Content-Type", content_type)];
        let head = parlance_content::cpim::Builder::new().from("", &from).to("", &to);
        let head = head.head(&fields).map_err(|_| Refusal::NotCpim)?;
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let address = Address {
            to_count: 1,
            to: to.as_bytes(),
            media_type: Some(media_type),
            is_imdn: false,
        };
        let Routed { media, waits, .. } = self.route(at, place, &address, whole)?;
        let counted = !media_type.eq_ignore_ascii_case(is_composing::MEDIA_TYPE);
        Ok(Letter { media, counted, waits, edit: Edit::Wrapper(head), report: None })
    }

    /// Checks who a message of leg `at` is for. Who gets it is in `scratch.targets` then, unless it
    /// waits for others.
    fn route(
        &mut self,
        at: u32,
        place: u32,
        address: &Address<'_>,
        whole: Option<usize>,
    ) -> Result<Routed, Refusal> {
        let Self { rooms, legs, scratch, .. } = self;
        let room = rooms.get_mut(place as usize).ok_or(Refusal::NoSuchRecipient)?;
        let (media, to) = room.route(legs, at, address)?;
        let known = media.is_some() || address.media_type.is_none();
        let waits =
            to.is_none() && known && whole.is_some_and(|octets| may_wait(room, legs, octets));
        if !waits {
            room.targets(legs, at, address, (media, to), &mut scratch.targets);
        }
        Ok(Routed { media, private: to.is_some(), waits })
    }

    /// Checks the length of a message, `None` being more than can be counted.
    fn check_length(&self, at: u32, length: Option<u64>) -> Result<u64, Refusal> {
        let leg = self.legs.get(at as usize);
        let room = leg.and_then(|leg| self.rooms.get(leg.room as usize));
        let max = room.and_then(|room| room.policy.message_octets_max).unwrap_or(u64::MAX);
        length.filter(|length| *length <= max).ok_or(Refusal::TooLarge)
    }

    fn note(&mut self, at: u32, id: &[u8]) -> Before {
        let Some(leg) = self.legs.get(at as usize) else { return Before::Same };
        let Some(room) = self.rooms.get_mut(leg.room as usize) else { return Before::Same };
        room.recent.begin(leg.number, id)
    }

    /// A message was not received whole; one that was there before still is.
    fn forget(&mut self, at: u32, message: &Message) {
        if let Some(leg) = self.legs.get(at as usize)
            && let Some(room) = self.rooms.get_mut(leg.room as usize)
            && !matches!(message.stage, Stage::Duplicate)
        {
            room.recent.forget(leg.number, &message.id);
        }
    }

    fn count(&mut self, at: u32, letter: &Letter, octets: u64) {
        let Some(leg) = self.legs.get_mut(at as usize).filter(|_| letter.counted) else { return };
        leg.counts.add(octets);
        if let Some(room) = self.rooms.get_mut(leg.room as usize) {
            room.counts.add(octets);
        }
    }
}

fn is_cpim(content_type: Option<&[u8]>) -> bool {
    const CPIM: &[u8] = b"message/cpim";
    content_type.is_some_and(|value| {
        let media_type = || value.split(|octet| *octet == b';').next().unwrap_or_default();
        value == CPIM || media_type().trim_ascii().eq_ignore_ascii_case(CPIM)
    })
}

fn fresh_id(cx: &mut Cx) -> Box<[u8]> {
    cx.message_id().into()
}
