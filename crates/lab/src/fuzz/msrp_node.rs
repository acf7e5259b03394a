//! Rooms, pairs and the relay of MSRP, behind the octets of one of their peers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use parlance_msrp::header::FailureReport;
use parlance_msrp::relay::{PairConfig, PairSide, RelayConfig};
use parlance_msrp::switch::{LegConfig, RoomConfig, SwitchConfig};
use parlance_msrp::{
    ConnectionId, Framer, FromRule, Input, Limits, LocalAddress, Node, NodeConfig, Output, Path,
    Peer, Piece, Scheme, SessionKey, Tls, write,
};

use super::super::load::clock::mix;

const ROOM: &str = "sip:room@chat.example";
const RELAY: &str = "msrps://relay.example:2855;tcp";

/// A node with sessions that have each a connection of its own.
struct World {
    node: Node,
    now: Instant,
    legs: Vec<Leg>,
}

struct Leg {
    connection: ConnectionId,
    own: String,
    peer: String,
    framer: Framer,
}

impl World {
    /// The same node each time, with the same URIs.
    fn new() -> Self {
        let mut seed = 0;
        let entropy = move || {
            seed += 1;
            mix(seed)
        };
        let now = tokio::time::Instant::now().into_std();
        let node = Node::new(0, 2, now, NodeConfig::default(), Box::new(entropy));
        Self { node, now, legs: Vec::new() }
    }

    /// A room of three, whose copies are answered.
    fn room() -> Self {
        let mut world = Self::new();
        let failure_report = FailureReport::Yes;
        world.node.set_switch(SwitchConfig { failure_report, ..SwitchConfig::default() });
        let policy = RoomConfig { wraps: true, ..RoomConfig::new(vec![ROOM.to_owned()]) };
        let room = world.node.open_room(world.now, policy).expect("its URI is one");
        for number in 0..3 {
            let config = LegConfig::new(&format!("sip:p{number}@chat.example"));
            let leg = world.node.add_leg(world.now, room, &address(Scheme::Msrp), &config);
            world.bind(leg.expect("there is room"));
        }
        world
    }

    /// A pair, and a relay that grants URIs.
    fn relay() -> Self {
        let mut world = Self::new();
        let relay = RelayConfig { address: Some(address(Scheme::Msrps)), ..RelayConfig::default() };
        world.node.set_relay(world.now, relay);
        let local = address(Scheme::Msrp);
        let pair = world.node.open_pair(world.now, &local, &local, PairConfig::default());
        for side in [PairSide::Offerer, PairSide::Answerer] {
            let session = world.node.pair_session(pair, side);
            world.bind(session.expect("it was just opened"));
        }
        world
    }

    /// Puts a session on a connection of its own.
    fn bind(&mut self, session: SessionKey) {
        let number = self.legs.len();
        let peer = format!("msrp://p{number}.example:7/peer{number};tcp");
        self.node.set_peer(self.now, session, Path::new(peer.as_bytes()), FromRule::Whole, &[]);
        let own = self.node.uri(session).expect("it was just opened").to_string();
        let remote = SocketAddr::from(([192, 0, 2, 10], 7654));
        let tls = Some(Box::new(Tls::default()));
        let who = Peer { remote, local: remote, tls, websocket: false };
        let connection = self.node.accept(self.now, who);
        let framer = Framer::new(Limits::default());
        self.legs.push(Leg { connection, own, peer, framer });
        let bind = message(self, number, "SEND", "");
        self.feed(number, bind.as_bytes());
        self.written();
    }

    fn feed(&mut self, leg: usize, octets: &[u8]) {
        let Some(leg) = self.legs.get(leg) else { return };
        let (connection, octets) = (leg.connection, Bytes::copy_from_slice(octets));
        self.node.handle_input(self.now, Input::Octets { connection, octets: &octets });
    }

    /// Looks at what was written: all of it can be read. How many messages, and the answers to
    /// those that are requests, by connection.
    fn written(&mut self) -> (usize, Vec<Vec<u8>>) {
        while let Some(output) = self.node.poll_output() {
            if let Output::Connect { connection, .. } = output {
                self.node.handle_input(self.now, Input::Lost { connection });
            }
        }
        let (mut messages, mut answers) = (0, Vec::new());
        for leg in &mut self.legs {
            let mut answer = Vec::new();
            if let Some(outbound) = self.node.outbound(leg.connection) {
                let octets = outbound.copy_to_bytes(outbound.len());
                messages += leg.read(&octets, &mut answer);
            }
            answers.push(answer);
        }
        (messages, answers)
    }

    /// Time passes.
    fn pass(&mut self, time: Duration) -> usize {
        self.now += time;
        self.node.handle_input(self.now, Input::Timeout);
        self.written().0
    }
}

impl Leg {
    /// Reads what came, and answers SENDs.
    fn read(&mut self, octets: &[u8], answer: &mut Vec<u8>) -> usize {
        let (mut at, mut messages) = (0, 0);
        while let Some(piece) = self.framer.next(octets, &mut at) {
            match piece {
                Piece::Head { head, .. } => {
                    messages += 1;
                    if head.start.is_send() {
                        let (to, from) = (head.from_path.first(), head.to_path.first());
                        write::response(answer, head.id(), 200, to, from, b"");
                    }
                }
                other => assert!(
                    matches!(other, Piece::Body { .. }),
                    "what was written cannot be read: {other:?}"
                ),
            }
        }
        messages
    }
}

fn address(scheme: Scheme) -> LocalAddress {
    LocalAddress { scheme, host: "relay.example".into(), port: 2855, transport: "tcp" }
}

/// A request of a peer, with these header lines and what follows them.
fn message(world: &World, leg: usize, method: &str, rest: &str) -> String {
    let Some(Leg { own, peer, .. }) = world.legs.get(leg) else { return String::new() };
    let id = format!("abcd{leg}");
    format!("MSRP {id} {method}\r\nTo-Path: {own}\r\nFrom-Path: {peer}\r\n{rest}-------{id}$\r\n")
}

/// Feeds the input to one connection, whole and cut; answers what is asked, and lets time pass.
fn read(new: fn() -> World, input: &[u8]) -> usize {
    let sum = input.iter().fold(0_usize, |sum, octet| sum.wrapping_add(usize::from(*octet)));
    let mut items = 0;
    for step in [input.len().max(1), 1 + sum % 97] {
        let mut world = new();
        for part in input.chunks(step) {
            world.feed(0, part);
        }
        let (messages, answers) = world.written();
        items += messages;
        for (leg, answer) in answers.iter().enumerate() {
            world.feed(leg, answer);
        }
        items += world.written().0;
        items += world.pass(Duration::from_secs(31));
        items += world.pass(Duration::from_secs(600));
        let first = world.legs.first().map(|leg| leg.connection);
        if let Some(connection) = first {
            world.node.handle_input(world.now, Input::Lost { connection });
        }
        world.written();
    }
    items
}

/// A room of the switch.
pub(super) fn switch(input: &[u8]) -> usize {
    read(World::room, input)
}

/// A pair and the relay.
pub(super) fn relay(input: &[u8]) -> usize {
    read(World::relay, input)
}

/// What peers of both say.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let text = "From: <sip:p0@chat.example>\r\nTo: <sip:room@chat.example>\r\n\r\n\
                Content-Type: text/plain\r\n\r\nhello";
    let private = text.replace("room@", "p1@");
    let send = |id: &str, range: &str, body: &str| {
        format!(
            "Message-ID: {id}\r\nByte-Range: {range}\r\nSuccess-Report: yes\r\n\
             Content-Type: message/cpim\r\n\r\n{body}\r\n"
        )
    };
    let rests = [
        ("SEND", String::new()),
        ("SEND", send("m1", "1-*/*", text)),
        ("SEND", send("m2", "1-*/*", &private)),
        ("SEND", send("m3", "5-*/900", "more")),
        ("SEND", send("m4", "1-*/*", "plain").replace("message/cpim", "text/plain")),
        ("REPORT", "Message-ID: m1\r\nStatus: 000 413\r\n".to_owned()),
        ("NICKNAME", "Use-Nickname: \"Al\"\r\n".to_owned()),
        ("PING", "Message-ID: m5\r\n".to_owned()),
    ];
    let mut all = Vec::new();
    for world in [World::room(), World::relay()] {
        let one = |(method, rest): &(&str, String)| message(&world, 0, method, rest);
        all.extend(rests.iter().map(|rest| one(rest).into_bytes()));
        let begun = one(&("SEND", send("m6", "1-*/*", text))).replace("abcd0$", "abcd0+");
        let ended = one(&("SEND", send("m6", "99-*/*", "!"))).replace("abcd0$", "abcd0#");
        all.push((begun + &ended).into_bytes());
    }
    let auth = format!(
        "MSRP auth1234 AUTH\r\nTo-Path: {RELAY}\r\nFrom-Path: msrps://a.example:7/a;tcp\r\n\
         Expires: 300\r\nAuthorization: Digest username=\"a\", realm=\"relay.example\", \
         nonce=\"x\", qop=auth, nc=00000001, cnonce=\"y\", response=\"{}\"\r\n-------auth1234$\r\n",
        "0".repeat(32)
    );
    all.push(auth.into_bytes());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corpus reaches what it is for: a copy and an answer come out of a message.
    #[test]
    fn a_room_and_a_pair_pass_the_corpus_on() {
        let corpus = corpus();
        // An answer, two copies, a report; whole and cut.
        assert_eq!(corpus.get(1).map(|input| switch(input)), Some(8));
        let passed = corpus.iter().map(|input| relay(input)).max();
        assert!(passed >= Some(4), "{passed:?}");
    }
}
