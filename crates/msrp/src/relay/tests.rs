//! A node with a relay, its connections in memory, and time that is made up.

mod auth;
mod beside;
mod examples;

mod forward;
mod hold;
mod pair;
mod stream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use parlance_sip::digest::Secret;

use super::{
    Event, NextHops, RelayAccount, RelayClient, RelayClientOutput, RelayConfig, UserVerdict,
};
use crate::node::Tls;
use crate::{
    CloseReason, ConnectionId, Event as NodeEvent, Framer, Input, Limits, LocalAddress, Node,
    NodeConfig, Output, Peer, Piece, Scheme, seeded, test_epoch,
};

/// The password of everybody.
const PASSWORD: &str = "correct horse";

/// A node and all it said.
struct World {
    node: Node,
    now: Instant,
    entropy: Box<dyn FnMut() -> u64 + Send>,
    /// What was written on each connection and not looked at.
    sent: HashMap<ConnectionId, Vec<u8>>,
    /// Connections that are not to be read from.
    paused: Vec<ConnectionId>,
    connects: Vec<(ConnectionId, String)>,
    /// The cores that the node joined.
    joined: Vec<u8>,
    closed: Vec<(ConnectionId, CloseReason)>,
    events: Vec<NodeEvent>,
    /// Connections whose octets are left where they are.
    slow: Vec<ConnectionId>,
    /// Users who may not relay.
    barred: Vec<&'static str>,
}

fn relay_config() -> RelayConfig {
    RelayConfig {
        address: Some(address(Scheme::Msrps, "relay.example", 2855)),
        ..RelayConfig::default()
    }
}

fn address(scheme: Scheme, host: &str, port: u16) -> LocalAddress {
    LocalAddress { scheme, host: host.into(), port, transport: "tcp" }
}

impl World {
    fn new() -> Self {
        Self::with(relay_config(), NodeConfig::default(), 1)
    }

    fn with(relay: RelayConfig, config: NodeConfig, seed: u64) -> Self {
        let now = test_epoch();
        let mut node = Node::new(0, 1, now, config, Box::new(seeded(seed)));
        node.set_relay(now, relay);
        Self {
            node,
            now,
            entropy: Box::new(seeded(seed + 1)),
            sent: HashMap::new(),
            paused: Vec::new(),
            connects: Vec::new(),
            joined: Vec::new(),
            closed: Vec::new(),
            events: Vec::new(),
            slow: Vec::new(),
            barred: Vec::new(),
        }
    }

    /// A connection over TLS of somebody without certificate.
    fn client(&mut self) -> ConnectionId {
        self.accept(Some(&[]))
    }

    /// A connection: over TLS with these proved names, or over TCP.
    fn accept(&mut self, names: Option<&[&str]>) -> ConnectionId {
        self.node.accept(self.now, peer(names))
    }

    fn feed(&mut self, connection: ConnectionId, octets: &[u8]) {
        let octets = Bytes::copy_from_slice(octets);
        self.node.handle_input(self.now, Input::Octets { connection, octets: &octets });
        self.drain();
    }

    fn text(&mut self, connection: ConnectionId, text: &str) {
        self.feed(connection, text.as_bytes());
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.node.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.node.handle_input(self.now, Input::Timeout);
            self.drain();
        }
        self.now = end;
        self.node.handle_input(self.now, Input::Timeout);
        self.drain();
    }

    fn lose(&mut self, connection: ConnectionId) {
        self.node.handle_input(self.now, Input::Lost { connection });
        self.drain();
    }

    /// The connection that the node asked for last stands.
    fn connected(&mut self, names: Option<&[&str]>) -> ConnectionId {
        let (connection, _) = *self.connects.last().expect("one was asked for");
        self.node.handle_input(self.now, Input::Connected { connection, peer: peer(names) });
        self.drain();
        connection
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Flush(connection) => self.flush(connection),
                Output::Connect { connection, to } => {
                    let to = format!("{}:{}", to.host, to.port.unwrap_or_default());
                    self.connects.push((connection, to));
                }
                Output::Join { core, .. } => self.joined.push(core),
                Output::Pause(connection) => self.paused.push(connection),
                Output::Resume(connection) => self.paused.retain(|paused| *paused != connection),
                Output::Close(connection, why) => self.closed.push((connection, why)),
                Output::Foreign { .. } => unreachable!("there is one core"),
                Output::Event(NodeEvent::Relay(Event::User { request, username, .. })) => {
                    let may_relay = !self.barred.iter().any(|barred| **barred == *username);
                    let user = UserVerdict { secret: Secret::Password(PASSWORD), may_relay };
                    let user = (&*username != "nobody").then_some(user);
                    self.node.authorize(self.now, request, user);
                }
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn flush(&mut self, connection: ConnectionId) {
        if self.slow.contains(&connection) {
            return;
        }
        let Some(outbound) = self.node.outbound(connection) else { return };
        let waits = outbound.remaining();
        let octets = outbound.copy_to_bytes(waits);
        self.sent.entry(connection).or_default().extend_from_slice(&octets);
        self.node.handle_input(self.now, Input::Written { connection });
    }

    /// What was written on a connection since the last call.
    fn octets(&mut self, connection: ConnectionId) -> Vec<u8> {
        self.sent.remove(&connection).unwrap_or_default()
    }

    /// The same as text, each transaction identifier of a request that is the node's own being `~`.
    fn read(&mut self, connection: ConnectionId) -> String {
        let octets = self.octets(connection);
        let mut text = String::from_utf8(octets).expect("it is text");
        for id in own_ids(&text) {
            text = text.replace(&id, "~");
        }
        text
    }

    /// A client with a URI of the relay.
    fn granted(&mut self, own: &str) -> (ConnectionId, String) {
        let connection = self.client();
        let mut client = self.relay_client(own, "msrps://relay.example:2855;tcp");
        client.start(self.now, &mut self.entropy);
        self.drive(&mut client, connection);
        let path = client.own_path(self.now);
        assert_eq!(path.len(), 2, "the relay gave a URI");
        (connection, path[0].to_string())
    }

    fn relay_client(&self, own: &str, relay: &str) -> RelayClient {
        RelayClient::new(RelayAccount {
            relays: vec![relay.parse().unwrap()],
            own: own.parse().unwrap(),
            username: "alice".to_owned(),
            password: PASSWORD.to_owned(),
            expires_secs: None,
        })
    }

    /// Carries octets between a client and the node until both are quiet; what the client said.
    fn drive(
        &mut self,
        client: &mut RelayClient,
        connection: ConnectionId,
    ) -> Vec<RelayClientOutput> {
        let mut said = Vec::new();
        while let Some(output) = client.poll_output() {
            if let RelayClientOutput::Send(octets) = &output {
                self.feed(connection, octets);
                let answer = self.octets(connection);
                answers(client, self.now, &answer, &mut self.entropy);
            }
            said.push(output);
        }
        said
    }
}

/// Gives a client the responses in `octets`.
fn answers(
    client: &mut RelayClient,
    now: Instant,
    octets: &[u8],
    entropy: &mut (impl parlance_sip::Entropy + ?Sized),
) {
    let mut entropy = || entropy.next_u64();
    let mut framer = Framer::new(Limits::default());
    let mut at = 0;
    while let Some(piece) = framer.next(octets, &mut at) {
        let Piece::Head { head, .. } = piece else { panic!("{piece:?}") };
        client.handle_response(now, &head, &mut entropy);
    }
}

fn peer(names: Option<&[&str]>) -> Peer {
    let tls = names.map(|names| {
        let names = names.iter().map(|name| Box::from(*name)).collect();
        Box::new(Tls { names, certificate: None })
    });
    let remote = SocketAddr::from(([192, 0, 2, 9], 4000));
    let local = SocketAddr::from(([192, 0, 2, 50], 2855));
    Peer { remote, local, tls, websocket: false }
}

/// The transaction identifiers of requests in `text` that are long enough to be the node's.
fn own_ids(text: &str) -> Vec<String> {
    let starts = text.split("\r\n").filter_map(|line| line.strip_prefix("MSRP "));
    let ids = starts.filter_map(|rest| {
        let (id, what) = rest.split_once(' ')?;
        (id.len() == crate::TransactionId::OCTETS
            && !what.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| id.to_owned())
    });
    ids.collect()
}

/// A request; `lines` are all header lines, the last of them before a body being `Content-Type`.
fn request(id: &str, method: &str, lines: &str, body: Option<&str>) -> String {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.map(|line| format!("{line}\r\n")).collect::<String>();
    let body = body.map_or(String::new(), |body| format!("\r\n{body}\r\n"));
    format!("MSRP {id} {method}\r\n{lines}{body}-------{id}$\r\n")
}

/// A response without further headers.
fn response(id: &str, status: &str, to: &str, from: &str) -> String {
    format!("MSRP {id} {status}\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\n-------{id}$\r\n")
}
