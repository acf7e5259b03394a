//! One MSRP core without sockets, and peers whose octets a test writes and reads.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, Bytes};
use parlance_isc::media::{
    Addresses, AtCore, Command, CoreError, Media, MediaCores, Security, Sink, Sinks, TlsRules,
};
use parlance_msrp::{
    ConnectError, ConnectionId, Input, LocalAddress, Node, NodeConfig, Output, Peer, Scheme,
    SessionKey,
};
use tokio::time::Instant;

/// The core.
#[derive(Clone)]
pub(crate) struct Core(Arc<Shared>);

struct Shared {
    waiting: Mutex<Vec<Command>>,
    inside: Mutex<Inside>,
    busy: Mutex<bool>,
}

struct Inside {
    node: Node,
    sinks: Subscribed,
    /// The connections that the server wants to make.
    wanted: Vec<ConnectionId>,
}

#[derive(Default)]
struct Subscribed(HashMap<SessionKey, Sink>);

impl Sinks for Subscribed {
    fn subscribe(&mut self, session: SessionKey, sink: Sink) {
        self.0.insert(session, sink);
    }

    fn unsubscribe(&mut self, session: SessionKey) {
        self.0.remove(&session);
    }
}

impl MediaCores for Shared {
    fn cores(&self) -> u8 {
        1
    }

    fn address(&self, secure: bool) -> Option<LocalAddress> {
        let (scheme, port) = if secure { (Scheme::Msrps, 2856) } else { (Scheme::Msrp, 2855) };
        Some(LocalAddress { scheme, host: "127.0.0.20".into(), port, transport: "tcp" })
    }

    /// The DNS knows one name.
    fn addresses(&self, host: &str) -> Addresses {
        let known = (host == "pc.example.com").then_some(IpAddr::from([10, 0, 0, 1]));
        Box::pin(std::future::ready(known.into_iter().collect()))
    }

    fn run(&self, _: u8, command: Command) -> Result<(), CoreError> {
        if *self.busy.lock().unwrap() {
            return Err(CoreError::Busy);
        }
        self.run_always(0, command);
        Ok(())
    }

    /// Does it at once; what a command drops may bring another one.
    fn run_always(&self, _: u8, command: Command) {
        self.waiting.lock().unwrap().push(command);
        let Ok(mut inside) = self.inside.try_lock() else { return };
        loop {
            let Some(command) = self.waiting.lock().unwrap().pop() else { return };
            let Inside { node, sinks, .. } = &mut *inside;
            command(&mut AtCore { node, now: Instant::now().into_std(), sinks });
            inside.drain();
        }
    }
}

impl Inside {
    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Event(event) => {
                    let sink = event.session().and_then(|session| self.sinks.0.get(&session));
                    if let Some(sink) = sink {
                        sink.try_send(event).unwrap();
                    }
                }
                Output::Close(connection, _) => {
                    let now = Instant::now().into_std();
                    self.node.handle_input(now, Input::Lost { connection });
                }
                Output::Connect { connection, .. } => self.wanted.push(connection),
                _ => {}
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn new() -> Self {
        let mut seed = 7_u64;
        let entropy = Box::new(move || {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            seed.wrapping_mul(0xBF58_476D_1CE4_E5B9)
        });
        let now = Instant::now().into_std();
        let node = Node::new(0, 1, now, NodeConfig::default(), entropy);
        let inside = Mutex::new(Inside { node, sinks: Subscribed::default(), wanted: Vec::new() });
        Self(Arc::new(Shared { waiting: Mutex::default(), inside, busy: Mutex::default() }))
    }

    /// The handle of the role; `plain.test` is spoken to without TLS, `both.test` as it likes.
    pub(crate) fn media(&self) -> Media {
        let domains = vec![("both.test".into(), Security::Prefer)];
        let rules = TlsRules { default: Security::Off, domains };
        Media::new(Arc::clone(&self.0) as Arc<dyn MediaCores>, rules)
    }

    /// The mailbox of the core is full from now on, or not any more.
    pub(crate) fn set_busy(&self, busy: bool) {
        *self.0.busy.lock().unwrap() = busy;
    }

    /// Sessions, and those who take their events.
    pub(crate) fn load(&self) -> (usize, usize) {
        let inside = self.0.inside.lock().unwrap();
        (inside.node.load().1, inside.sinks.0.len())
    }

    /// Somebody connects.
    pub(crate) fn accept(&self) -> ConnectionId {
        self.at(|node| node.accept(Instant::now().into_std(), peer()))
    }

    /// The connections that the server has begun to make since it was asked last.
    pub(crate) fn wanted(&self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.0.inside.lock().unwrap().wanted)
    }

    /// A connection that the server makes stands.
    pub(crate) fn connected(&self, connection: ConnectionId) {
        let input = Input::Connected { connection, peer: peer() };
        self.at(|node| node.handle_input(Instant::now().into_std(), input));
    }

    /// Nobody listens where the server connects to.
    pub(crate) fn unreachable(&self, connection: ConnectionId) {
        let input = Input::ConnectFailed { connection, error: ConnectError::Unreachable };
        self.at(|node| node.handle_input(Instant::now().into_std(), input));
    }

    /// Octets come; what is written on the connection until then.
    pub(crate) fn octets(&self, connection: ConnectionId, octets: &str) -> String {
        self.at(|node| {
            let octets = Bytes::copy_from_slice(octets.as_bytes());
            let input = Input::Octets { connection, octets: &octets };
            node.handle_input(Instant::now().into_std(), input);
        });
        self.written(connection)
    }

    /// What is written on a connection.
    pub(crate) fn written(&self, connection: ConnectionId) -> String {
        self.at(|node| {
            let Some(outbound) = node.outbound(connection) else { return String::new() };
            let written = outbound.copy_to_bytes(outbound.remaining()).to_vec();
            String::from_utf8(written).unwrap()
        })
    }

    /// A connection is gone.
    pub(crate) fn lose(&self, connection: ConnectionId) {
        let lost = Input::Lost { connection };
        self.at(|node| node.handle_input(Instant::now().into_std(), lost));
    }

    fn at<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        let mut inside = self.0.inside.lock().unwrap();
        let value = act(&mut inside.node);
        inside.drain();
        value
    }
}

fn peer() -> Peer {
    Peer {
        remote: "192.0.2.9:9".parse().unwrap(),
        local: "192.0.2.1:2855".parse().unwrap(),
        tls: None,
        websocket: false,
    }
}
