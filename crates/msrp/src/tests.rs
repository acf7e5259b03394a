//! Nodes that talk to each other, and to text, for the tests of all roles.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use crate::endpoint::{self, Accepts, EndpointConfig};
use crate::session::FromRule;
use crate::{
    CloseReason, ConnectionId, Event, Input, LocalAddress, MsrpUri, Node, NodeConfig, Output, Path,
    Peer, Scheme, SessionKey, seeded, test_epoch,
};

/// A node whose time stands still unless it is told otherwise.
pub(crate) struct Bench {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    /// What was said and not looked at.
    pub(crate) outputs: VecDeque<Output>,
}

/// What came out of a node, for comparing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Bound,
    Lost(crate::Lost),
    Endpoint(endpoint::Event),
    Close(CloseReason),
    Pause,
    Resume,
}

impl Bench {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, NodeConfig::default())
    }

    pub(crate) fn with(seed: u64, config: NodeConfig) -> Self {
        let now = test_epoch();
        let node = Node::new(0, 2, now, config, Box::new(seeded(seed)));
        Self { node, now, outputs: VecDeque::new() }
    }

    pub(crate) fn accept(&mut self) -> ConnectionId {
        let connection = self.node.accept(self.now, peer());
        self.drain();
        connection
    }

    /// Feeds octets, then collects what is said.
    pub(crate) fn octets(&mut self, connection: ConnectionId, octets: &[u8]) {
        let octets = Bytes::copy_from_slice(octets);
        self.node.handle_input(self.now, Input::Octets { connection, octets: &octets });
        self.drain();
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.node.handle_input(self.now, input);
        self.drain();
    }

    /// Lets time pass, with every time-out on the way.
    pub(crate) fn wait(&mut self, wait: Duration) {
        let end = self.now + wait;
        while let Some(due) = self.node.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            self.outputs.push_back(output);
        }
    }

    /// Takes what waits to be written.
    pub(crate) fn written(&mut self, connection: ConnectionId) -> Vec<u8> {
        let Some(outbound) = self.node.outbound(connection) else { return Vec::new() };
        let mut octets = vec![0; outbound.len()];
        outbound.copy_to_slice(&mut octets);
        octets
    }

    /// Says that what waited was written.
    pub(crate) fn room(&mut self, connection: ConnectionId) {
        self.input(Input::Written { connection });
    }

    /// Takes what was said, without what concerns the driver only.
    pub(crate) fn said(&mut self) -> Vec<Said> {
        self.drain();
        let said = |output| match output {
            Output::Event(Event::Bound { .. }) => Some(Said::Bound),
            Output::Event(Event::Lost { why, .. }) => Some(Said::Lost(why)),
            Output::Event(Event::Endpoint(event)) => Some(Said::Endpoint(*event)),
            Output::Close(_, why) => Some(Said::Close(why)),
            Output::Pause(_) => Some(Said::Pause),
            Output::Resume(_) => Some(Said::Resume),
            _ => None,
        };
        self.outputs.drain(..).filter_map(said).collect()
    }

    /// Takes the events of endpoints.
    pub(crate) fn events(&mut self) -> Vec<endpoint::Event> {
        let event = |said| match said {
            Said::Endpoint(event) => Some(event),
            _ => None,
        };
        self.said().into_iter().filter_map(event).collect()
    }

    /// An endpoint with this URI, whose peer has that path; both take what `accepts` says.
    pub(crate) fn endpoint(
        &mut self,
        own: &str,
        peer: &str,
        change: impl FnOnce(&mut EndpointConfig),
    ) -> SessionKey {
        let accepts = Arc::new(accepts("text/plain message/cpim image/*"));
        let mut config = EndpointConfig::new(accepts.clone());
        change(&mut config);
        let own: MsrpUri = own.parse().unwrap();
        let session = self.node.open_endpoint_as(self.now, own, config);
        self.node.set_peer_accepts(self.now, session, accepts);
        let path = Path::new(peer.as_bytes());
        self.node.set_peer(self.now, session, path, FromRule::Whole, &[]);
        self.drain();
        session
    }
}

pub(crate) fn accepts(types: &str) -> Accepts {
    Accepts { types: types.parse().unwrap(), ..Accepts::default() }
}

pub(crate) fn peer() -> Peer {
    let [remote, local] = ["192.0.2.1:40000", "192.0.2.9:2855"].map(|text| text.parse().unwrap());
    Peer { remote, local, tls: None, websocket: false }
}

pub(crate) fn address() -> LocalAddress {
    let host = "im.example.com".into();
    LocalAddress { scheme: Scheme::Msrp, host, port: 2855, transport: "tcp" }
}

/// Text with plain line ends, as it goes over the wire.
pub(crate) fn wire(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// The same the other way.
pub(crate) fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).replace("\r\n", "\n")
}

/// Two nodes, one connection between them.
pub(crate) struct Pair {
    pub(crate) sides: [Bench; 2],
    pub(crate) connections: [ConnectionId; 2],
    /// How the octets are cut.
    pub(crate) cut: Box<dyn FnMut() -> usize>,
    /// All octets that went each way.
    pub(crate) log: [Vec<u8>; 2],
}

impl Pair {
    /// A pair whose octets are cut at random into pieces of up to `most`.
    pub(crate) fn new(seed: u64, most: usize) -> Self {
        let mut sides = [Bench::new(seed), Bench::new(seed + 1)];
        let connections = [sides[0].accept(), sides[1].accept()];
        let mut random = seeded(seed + 2);
        let cut = Box::new(move || 1 + (random() % most as u64) as usize);
        Self { sides, connections, cut, log: [Vec::new(), Vec::new()] }
    }

    /// Carries one piece from side `from` to the other; whether there was one.
    pub(crate) fn carry(&mut self, from: usize) -> bool {
        let to = 1 - from;
        let connection = self.connections[from];
        let Some(outbound) = self.sides[from].node.outbound(connection) else { return false };
        if outbound.is_empty() {
            return false;
        }
        let before = outbound.below_low();
        let mut piece = vec![0; (self.cut)().min(outbound.len())];
        outbound.copy_to_slice(&mut piece);
        let now_low = outbound.below_low() && (!before || outbound.is_empty());
        if now_low {
            self.sides[from].input(Input::Written { connection });
        }
        self.log[from].extend_from_slice(&piece);
        self.sides[to].octets(self.connections[to], &piece);
        true
    }

    /// Carries everything both ways, in turns.
    pub(crate) fn run(&mut self) {
        loop {
            let carried = [self.carry(0), self.carry(1)];
            if carried == [false, false] {
                return;
            }
        }
    }

    /// Two endpoints that talk to each other, the first one active.
    pub(crate) fn endpoints(&mut self, change: impl Fn(&mut EndpointConfig)) -> [SessionKey; 2] {
        let uris = [self.uri(0), self.uri(1)];
        let one = self.sides[0].endpoint(&uris[0], &uris[1], &change);
        let other = self.sides[1].endpoint(&uris[1], &uris[0], &change);
        self.bind(one);
        [one, other]
    }

    fn uri(&mut self, side: usize) -> String {
        let bench = &mut self.sides[side];
        let key =
            bench.node.open_endpoint(bench.now, &address(), EndpointConfig::new(Arc::default()));
        let uri = bench.node.uri(key).unwrap().to_string();
        bench.node.end_endpoint(bench.now, key);
        uri
    }

    /// What the active side does, on the connection that stands.
    fn bind(&mut self, session: SessionKey) {
        let side = &mut self.sides[0];
        let connection = self.connections[0];
        side.node.command(side.now, |roles| {
            roles.cx.bind(connection, session);
            roles.cx.send_empty(session).unwrap();
            let usage = roles.cx.sessions.get(session).unwrap().usage;
            roles.bound(session, usage);
        });
        self.run();
        for side in &mut self.sides {
            assert_eq!(side.said(), [Said::Bound]);
        }
    }
}
