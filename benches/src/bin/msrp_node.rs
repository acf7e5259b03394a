//! What a switch costs without its sockets: a room of ten in memory.
//!
//! Each participant sends four texts of 300 octets in one read; what the others get is answered
//! with as many 200s in one read each. Timed is what the node does with the octets of SENDs and
//! of 200s, until what it writes lies ready; the recipients' work is not.
//!
//! `cargo run --release -p parlance-benches --bin msrp_node [-- ROUNDS]`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use parlance_benches::msrp::Result;
use parlance_msrp::header::FailureReport;
use parlance_msrp::switch::{LegConfig, RoomConfig, SwitchConfig};
use parlance_msrp::{
    ConnectionId, Framer, FromRule, Input, Limits, LocalAddress, Node, NodeConfig, Path, Peer,
    Piece, Scheme, TransactionId, write,
};

const ROOM: &str = "sip:room@chat.example.com";
const SIZE: usize = 10;
const WINDOW: usize = 4;

/// One participant.
struct Participant {
    connection: ConnectionId,
    /// Its path and ours.
    peer: String,
    own: String,
    uri: String,
    sent: u64,
}

/// Time spent in the node.
#[derive(Default)]
struct Spent {
    sends: Duration,
    answers: Duration,
    delivered: u32,
}

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(20_000), |rounds| rounds.parse())?;
    for failure_report in [FailureReport::Yes, FailureReport::Partial] {
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let spent = play(rounds / 3, failure_report)?;
            let each = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(spent.delivered);
            let (sends, answers) = (each(spent.sends), each(spent.answers));
            println!("{failure_report}: {sends:.0} ns a copy, {answers:.0} ns its answer");
            best = best.min(sends + answers);
        }
        println!("{failure_report}: {:.2} million copies a second at best", 1e3 / best);
    }
    Ok(())
}

fn play(rounds: u32, failure_report: FailureReport) -> Result<Spent> {
    let now = Instant::now();
    let mut seed = 1_u64;
    let entropy = move || {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        seed ^ (seed >> 29)
    };
    let mut node = Node::new(0, 1, now, NodeConfig::default(), Box::new(entropy));
    node.set_switch(SwitchConfig { failure_report, ..SwitchConfig::default() });
    let mut participants = room(&mut node, now)?;
    let mut spent = Spent::default();
    for _ in 0..rounds {
        for at in 0..SIZE {
            let Some(participant) = participants.get_mut(at) else { continue };
            let (connection, octets) = (participant.connection, participant.says());
            spent.sends += timed(|| feed(&mut node, connection, &octets));
        }
        spent.sends += timed(|| while node.poll_output().is_some() {});
        for participant in &participants {
            let answers = participant.answers(&mut node, &mut spent.delivered);
            if failure_report == FailureReport::Yes {
                spent.answers += timed(|| feed(&mut node, participant.connection, &answers));
            }
        }
        spent.answers += timed(|| while node.poll_output().is_some() {});
    }
    Ok(spent)
}

fn feed(node: &mut Node, connection: ConnectionId, octets: &Bytes) {
    node.handle_input(Instant::now(), Input::Octets { connection, octets });
}

fn timed(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

/// A room and its participants, each on a connection of its own.
fn room(node: &mut Node, now: Instant) -> Result<Vec<Participant>> {
    let room = node.open_room(now, RoomConfig::new(vec![ROOM.to_owned()]))?;
    let host = "192.0.2.50".into();
    let address = LocalAddress { scheme: Scheme::Msrp, host, port: 2855, transport: "tcp" };
    let mut participants = Vec::new();
    for number in 0..SIZE {
        let uri = format!("sip:user{number}@example.com");
        let session = node.add_leg(now, room, &address, &LegConfig::new(&uri))?;
        let peer = format!("msrp://192.0.2.10:7654/jshA7weK3m9xQ2vB8nT{number};tcp");
        node.set_peer(now, session, Path::new(peer.as_bytes()), FromRule::Whole, &[]);
        let own = node.uri(session).ok_or("no session")?.to_string();
        let remote = SocketAddr::from(([192, 0, 2, 10], 7654));
        let peer_of = Peer { remote, local: remote, tls: None, websocket: false };
        let connection = node.accept(now, peer_of);
        let participant = Participant { connection, peer, own, uri, sent: 0 };
        let bind = participant.bind();
        feed(node, connection, &bind);
        while node.poll_output().is_some() {}
        participants.push(participant);
    }
    for participant in &participants {
        drain(node, participant.connection);
    }
    Ok(participants)
}

fn drain(node: &mut Node, connection: ConnectionId) -> Bytes {
    node.outbound(connection).map_or_else(Bytes::new, |outbound| {
        let octets = outbound.len();
        outbound.copy_to_bytes(octets)
    })
}

impl Participant {
    fn bind(&self) -> Bytes {
        let Self { peer, own, .. } = self;
        let paths = format!("To-Path: {own}\r\nFrom-Path: {peer}\r\n");
        format!("MSRP bind1234 SEND\r\n{paths}Message-ID: bind\r\n-------bind1234$\r\n").into()
    }

    /// A read full of texts.
    fn says(&mut self) -> Bytes {
        let Self { peer, own, uri, .. } = self;
        let mut read = String::new();
        for _ in 0..WINDOW {
            self.sent += 1;
            let number = self.sent;
            let id = TransactionId::new(1, 0x1234_5678_9abc_def0, number);
            let text = format!(
                "From: <{uri}>\r\nTo: <{ROOM}>\r\nDateTime: 2025-01-01T00:00:00Z\r\n\r\n\
                 Content-Type: text/plain; charset=utf-8\r\n\r\n{:300}",
                "Lunch at noon?"
            );
            read += &format!(
                "MSRP {id} SEND\r\nTo-Path: {own}\r\nFrom-Path: {peer}\r\n\
                 Message-ID: m{uri}.{number}\r\nByte-Range: 1-{0}/{0}\r\n\
                 Content-Type: message/cpim\r\n\r\n{text}\r\n-------{id}$\r\n",
                text.len()
            );
        }
        read.into()
    }

    /// What it got, answered; counts the SENDs.
    fn answers(&self, node: &mut Node, delivered: &mut u32) -> Bytes {
        let got = drain(node, self.connection);
        let (mut framer, mut at, mut answers) = (Framer::new(Limits::default()), 0, Vec::new());
        while let Some(piece) = framer.next(&got, &mut at) {
            if let Piece::Head { head, .. } = piece
                && head.start.is_send()
            {
                *delivered += 1;
                let (to, own) = (head.from_path.first(), head.to_path.first());
                write::response(&mut answers, head.id(), 200, to, own, b"");
            }
        }
        answers.into()
    }
}
