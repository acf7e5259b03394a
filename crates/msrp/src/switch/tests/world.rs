//! A room with participants on connections of their own.

use bytes::{Buf, Bytes};

use super::*;
use crate::header::{ByteRange, FailureReport};
use crate::{
    ConnectionId, Continuation, Framer, FromRule, Input, Limits, LocalAddress, Node, NodeConfig,
    Output, Path, Peer, Piece, Scheme, SessionKey, seeded, test_epoch,
};

pub(super) const ROOM: &str = "sip:room@chat.example.com";

pub(super) struct World {
    pub(super) node: Node,
    pub(super) now: Instant,
    pub(super) room: RoomId,
    pub(super) events: Vec<node::Event>,
    pub(super) closed: Vec<CloseReason>,
    people: Vec<Person>,
    /// What was read of each one's and not looked at yet.
    inboxes: Vec<Vec<Frame>>,
    transaction: u32,
}

fn someone() -> Peer {
    let address = "192.0.2.1:7654".parse().unwrap();
    Peer { remote: address, local: address, tls: None, websocket: false }
}

#[derive(Clone)]
pub(super) struct Person {
    pub(super) session: SessionKey,
    pub(super) connection: ConnectionId,
    /// The URI of the switch.
    pub(super) own: String,
    /// The URI of the participant's client.
    pub(super) peer: String,
}

/// One request or response that came to a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// `SEND`, `REPORT` or a code.
    pub(super) what: String,
    pub(super) id: String,
    pub(super) to_path: String,
    pub(super) message_id: String,
    pub(super) range: Option<ByteRange>,
    pub(super) failure_report: FailureReport,
    pub(super) success_report: bool,
    pub(super) content_type: String,
    pub(super) status: String,
    pub(super) body: Vec<u8>,
    pub(super) flag: Continuation,
}

impl Frame {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl World {
    pub(super) fn new(change: impl FnOnce(&mut RoomConfig)) -> Self {
        let now = test_epoch();
        let entropy = Box::new(seeded(7));
        let mut node = Node::new(0, 1, now, NodeConfig::default(), entropy);
        let mut policy = RoomConfig::new(vec![ROOM.to_owned()]);
        change(&mut policy);
        let room = node.open_room(now, policy).unwrap();
        let (events, closed) = (Vec::new(), Vec::new());
        let (people, inboxes) = (Vec::new(), Vec::new());
        Self { node, now, room, events, closed, people, inboxes, transaction: 0 }
    }

    /// A room with so many participants, `sip:p0@example.com` and so on.
    pub(super) fn of(count: usize) -> Self {
        let mut world = Self::new(|_| {});
        for number in 0..count {
            world.join(&LegConfig::new(&uri(number)));
        }
        world
    }

    pub(super) fn admit(&mut self, config: &LegConfig) -> Result<usize, JoinError> {
        let host = "chat.example.com".into();
        let address = LocalAddress { scheme: Scheme::Msrp, host, port: 2855, transport: "tcp" };
        let session = self.node.add_leg(self.now, self.room, &address, config)?;
        let number = self.people.len();
        let peer = format!("msrp://client{number}.example.com:7654/s{number};tcp");
        self.node.set_peer(self.now, session, Path::new(peer.as_bytes()), FromRule::Whole, &[]);
        let own = String::from_utf8(self.node.uri(session).unwrap().as_bytes().to_vec()).unwrap();
        let connection = self.node.accept(self.now, someone());
        self.people.push(Person { session, connection, own, peer });
        self.inboxes.push(Vec::new());
        Ok(number)
    }

    /// Lets a session in and binds it.
    pub(super) fn join(&mut self, config: &LegConfig) -> usize {
        let who = self.admit(config).unwrap();
        self.bind(who);
        self.take(who);
        who
    }

    /// Lets a session in and binds it on the connection of somebody else.
    pub(super) fn join_on(&mut self, whose: usize, config: &LegConfig) -> usize {
        let who = self.admit(config).unwrap();
        self.people[who].connection = self.people[whose].connection;
        self.bind(who);
        self.take(who);
        who
    }

    /// Somebody connects once more.
    pub(super) fn reconnect(&mut self, who: usize) {
        self.people[who].connection = self.node.accept(self.now, someone());
    }

    /// The empty SEND of the active side.
    pub(super) fn bind(&mut self, who: usize) {
        let Person { own, peer, .. } = self.person(who);
        let octets = format!(
            "MSRP bind1234 SEND\r\nTo-Path: {own}\r\nFrom-Path: {peer}\r\nMessage-ID: bind\r\n\
             Byte-Range: 1-0/0\r\n-------bind1234$\r\n"
        );
        self.feed(who, octets.as_bytes());
    }

    pub(super) fn person(&self, who: usize) -> Person {
        self.people[who].clone()
    }

    pub(super) fn feed(&mut self, who: usize, octets: &[u8]) {
        self.put(who, octets);
        self.drain();
    }

    /// The same, and what is to be done waits.
    pub(super) fn put(&mut self, who: usize, octets: &[u8]) {
        let connection = self.people[who].connection;
        let octets = &Bytes::copy_from_slice(octets);
        self.node.handle_input(self.now, Input::Octets { connection, octets });
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::Close(_, why) => self.closed.push(why),
                _ => {}
            }
        }
    }

    /// Lets time pass, and everything happen that is due.
    pub(super) fn pass(&mut self, time: std::time::Duration) {
        self.now += time;
        while self.node.poll_timeout().is_some_and(|due| due <= self.now) {
            self.node.handle_input(self.now, Input::Timeout);
        }
        self.drain();
    }

    /// How much waits for a participant.
    pub(super) fn waiting(&mut self, who: usize) -> usize {
        let connection = self.people[who].connection;
        self.node.outbound(connection).map_or(0, |out| out.len())
    }

    /// All that was written to a participant.
    pub(super) fn octets(&mut self, who: usize) -> Vec<u8> {
        self.drain();
        let connection = self.people[who].connection;
        let Some(out) = self.node.outbound(connection) else { return Vec::new() };
        let waiting = out.remaining();
        out.copy_to_bytes(waiting).to_vec()
    }

    fn pull(&mut self, who: usize) {
        let octets = self.octets(who);
        self.inboxes[who].extend(frames(&octets));
    }

    /// All that was written to a participant, whole frames only.
    pub(super) fn take(&mut self, who: usize) -> Vec<Frame> {
        self.pull(who);
        std::mem::take(&mut self.inboxes[who])
    }

    /// Only the messages that were written to a participant.
    pub(super) fn messages(&mut self, who: usize) -> Vec<Frame> {
        self.take(who).into_iter().filter(|frame| frame.what == "SEND").collect()
    }

    /// Only the answers and reports; the messages can be taken later.
    fn answers(&mut self, who: usize) -> Vec<Frame> {
        let all = self.take(who).into_iter();
        let (messages, answers) = all.partition(|frame| frame.what == "SEND");
        self.inboxes[who] = messages;
        answers
    }

    /// Sends a chunk as participant `who`; how it is answered.
    pub(super) fn chunk(&mut self, who: usize, chunk: &Sent<'_>) -> Vec<Frame> {
        let octets = self.written(who, chunk);
        self.feed(who, &octets);
        self.answers(who)
    }

    /// A chunk of participant `who`.
    pub(super) fn written(&mut self, who: usize, chunk: &Sent<'_>) -> Vec<u8> {
        self.transaction += 1;
        let id = format!("tid{:05}", self.transaction);
        let Person { own, peer, .. } = self.person(who);
        let Sent { message_id, range, headers, content_type, body, flag } = *chunk;
        let head = format!(
            "MSRP {id} SEND\r\nTo-Path: {own}\r\nFrom-Path: {peer}\r\nMessage-ID: {message_id}\r\n\
             Byte-Range: {range}\r\n{headers}Content-Type: {content_type}\r\n\r\n"
        );
        [head.as_bytes(), body, format!("\r\n-------{id}{flag}\r\n").as_bytes()].concat()
    }

    /// Sends a whole message; the code of the answer.
    pub(super) fn say(&mut self, who: usize, message_id: &str, body: &str) -> String {
        let answers = self.chunk(who, &Sent::whole(message_id, body.as_bytes()));
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers[0].what.clone()
    }

    /// Asks for a nickname; the code of the answer.
    pub(super) fn call(&mut self, who: usize, header: &str) -> String {
        self.transaction += 1;
        let id = format!("nick{:05}", self.transaction);
        let Person { own, peer, .. } = self.person(who);
        let octets = format!(
            "MSRP {id} NICKNAME\r\nTo-Path: {own}\r\nFrom-Path: {peer}\r\n{header}-------{id}$\r\n"
        );
        self.feed(who, octets.as_bytes());
        let answers = self.answers(who);
        assert_eq!((answers.len(), &answers[0].id), (1, &id));
        answers[0].what.clone()
    }

    /// Answers everything that waits for a participant with 200.
    pub(super) fn answer_all(&mut self, who: usize) -> Vec<Frame> {
        self.answer(who, 200)
    }

    pub(super) fn answer(&mut self, who: usize, code: u16) -> Vec<Frame> {
        let frames = self.messages(who);
        for frame in &frames {
            let octets = self.response(who, frame, &format!("{code} X"));
            self.feed(who, octets.as_bytes());
        }
        frames
    }

    /// The response of participant `who` to a request; `status` is its code and comment.
    pub(super) fn response(&self, who: usize, Frame { id, .. }: &Frame, status: &str) -> String {
        let Person { own, peer, .. } = self.person(who);
        format!("MSRP {id} {status}\r\nTo-Path: {own}\r\nFrom-Path: {peer}\r\n-------{id}$\r\n")
    }

    /// Recipients are to answer every message.
    pub(super) fn answering(mut self) -> Self {
        let failure_report = FailureReport::Yes;
        self.node.set_switch(SwitchConfig { failure_report, ..SwitchConfig::default() });
        self
    }
}

/// A chunk that a participant sends.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) message_id: &'a str,
    pub(super) range: &'a str,
    /// Further header lines.
    pub(super) headers: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
    pub(super) flag: char,
}

impl<'a> Sent<'a> {
    pub(super) fn whole(message_id: &'a str, body: &'a [u8]) -> Self {
        let (range, content_type) = ("1-*/*", "message/cpim");
        Self { message_id, range, headers: "", content_type, body, flag: '$' }
    }
}

pub(super) fn uri(number: usize) -> String {
    format!("sip:p{number}@example.com")
}

/// A text in `message/cpim`.
pub(super) fn cpim(from: &str, to: &str, text: &str) -> String {
    of_type("text/plain", from, to, text)
}

pub(super) fn of_type(media_type: &str, from: &str, to: &str, text: &str) -> String {
    format!("From: <{from}>\r\nTo: <{to}>\r\n\r\nContent-Type: {media_type}\r\n\r\n{text}")
}

/// Reads what was written, which is whole frames.
pub(super) fn frames(octets: &[u8]) -> Vec<Frame> {
    let mut framer = Framer::new(Limits::default());
    let mut at = 0;
    let mut frames: Vec<Frame> = Vec::new();
    let mut open = false;
    while let Some(piece) = framer.next(octets, &mut at) {
        let (body, end) = match piece {
            Piece::Head { head, body, end } => {
                let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
                let what = match head.start {
                    Start::Request { method, .. } => text(method.as_bytes()),
                    Start::Response { code, .. } => code.to_string(),
                };
                frames.push(Frame {
                    what,
                    id: text(head.id()),
                    to_path: text(head.to_path.as_bytes()),
                    message_id: text(head.message_id.unwrap_or_default()),
                    range: head.byte_range,
                    failure_report: head.failure_report,
                    success_report: head.success_report,
                    content_type: text(head.content_type.unwrap_or_default()),
                    status: text(head.status.unwrap_or_default()),
                    body: Vec::new(),
                    flag: Continuation::Last,
                });
                (body, end)
            }
            Piece::Body { body, end } => (body, end),
            Piece::Malformed { error, .. } => panic!("{error}"),
            Piece::Broken(error) => panic!("{error}"),
        };
        let frame = frames.last_mut().unwrap();
        frame.body.extend_from_slice(body);
        open = end.is_none();
        frame.flag = end.unwrap_or(Continuation::More);
    }
    assert!(!open, "the last frame is not whole");
    frames
}

/// A message put together from the chunks that a participant got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) octets: Vec<u8>,
    /// How its last chunk ended; `None` after one with `+`.
    pub(super) end: Option<Continuation>,
}

/// Puts messages together, in the order in which they ended.
pub(super) fn reassemble(frames: &[Frame]) -> Vec<Whole> {
    let mut open: Vec<(String, Whole)> = Vec::new();
    let mut done = Vec::new();
    for frame in frames.iter().filter(|frame| frame.what == "SEND") {
        let at = open.iter().position(|(id, _)| *id == frame.message_id).unwrap_or_else(|| {
            open.push((frame.message_id.clone(), Whole::default()));
            open.len() - 1
        });
        let range = frame.range.unwrap();
        let start = usize::try_from(range.start - 1).unwrap();
        let whole = &mut open[at].1;
        if let Some(end) = range.end {
            assert_eq!(end - (range.start - 1), frame.body.len() as u64, "{range}");
        }
        whole.octets.resize(whole.octets.len().max(start + frame.body.len()), 0);
        whole.octets[start..start + frame.body.len()].copy_from_slice(&frame.body);
        if frame.flag != Continuation::More {
            whole.end = Some(frame.flag);
            done.push(open.remove(at).1);
        }
    }
    done.extend(open.into_iter().map(|(_, whole)| whole));
    done
}
