//! One MSRP core without sockets.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, Bytes};
use parlance_isc::media::{
    AtCore, Command, CoreError, Media, MediaCores, Security, Sink, Sinks, TlsRules,
};
use parlance_msrp::{
    ConnectionId, Hop, Input, LentUris, LocalAddress, Node, NodeConfig, Output, Peer, Scheme,
    SessionKey,
};
use tokio::time::Instant;

/// Sessions that go by the URI of a peer at most.
pub(super) const LENT_MAX: usize = 8;

/// The core.
#[derive(Clone)]
pub(super) struct Core(Arc<Shared>);

struct Shared {
    waiting: Mutex<Vec<Command>>,
    inside: Mutex<Inside>,
    busy: Mutex<bool>,
    lent: Mutex<LentUris>,
}

struct Inside {
    node: Node,
    sinks: Subscribed,
    connects: Vec<(ConnectionId, Hop)>,
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
        let (scheme, port) = (Scheme::Msrp, 2855);
        (!secure).then(|| LocalAddress {
            scheme,
            host: "127.0.0.20".into(),
            port,
            transport: "tcp",
        })
    }

    fn lent(&self, act: &mut dyn FnMut(&mut LentUris)) {
        act(&mut self.lent.lock().unwrap());
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
                Output::Connect { connection, to } => self.connects.push((connection, *to)),
                Output::Close(connection, _) => {
                    let now = Instant::now().into_std();
                    self.node.handle_input(now, Input::Lost { connection });
                }
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
    pub(super) fn new() -> Self {
        let mut seed = 7_u64;
        let entropy = Box::new(move || {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            seed.wrapping_mul(0xBF58_476D_1CE4_E5B9)
        });
        let node = Node::new(0, 1, Instant::now().into_std(), NodeConfig::default(), entropy);
        let sinks = Subscribed::default();
        let inside = Mutex::new(Inside { node, sinks, connects: Vec::new() });
        let lent = Mutex::new(LentUris::new(LENT_MAX, 7));
        Self(Arc::new(Shared { waiting: Mutex::default(), inside, busy: Mutex::default(), lent }))
    }

    pub(super) fn media(&self) -> Media {
        let rules = TlsRules { default: Security::Off, domains: Vec::new() };
        Media::new(Arc::clone(&self.0) as Arc<dyn MediaCores>, rules)
    }

    /// The same, where who is at `domain` is spoken to over TLS only.
    pub(super) fn media_with_tls_to(&self, domain: &str) -> Media {
        let domains = vec![(domain.into(), Security::Require)];
        let rules = TlsRules { default: Security::Off, domains };
        Media::new(Arc::clone(&self.0) as Arc<dyn MediaCores>, rules)
    }

    /// How many sessions go by the URI of a peer.
    pub(super) fn lent(&self) -> usize {
        self.0.lent.lock().unwrap().len()
    }

    pub(super) fn set_busy(&self) {
        *self.0.busy.lock().unwrap() = true;
    }

    /// How many sessions there are.
    pub(super) fn sessions(&self) -> usize {
        self.0.inside.lock().unwrap().node.load().1
    }

    /// A peer connects.
    pub(super) fn accept(&self) -> ConnectionId {
        let peer = Peer {
            remote: "192.0.2.10:9".parse().unwrap(),
            local: "127.0.0.20:2855".parse().unwrap(),
            tls: None,
            websocket: false,
        };
        self.at(|node, now| node.accept(now, peer))
    }

    /// A peer says something; what is written to it until then.
    pub(super) fn says(&self, connection: ConnectionId, text: &str) -> String {
        let octets = Bytes::copy_from_slice(text.as_bytes());
        self.at(|node, now| {
            node.handle_input(now, Input::Octets { connection, octets: &octets });
        });
        self.written(connection)
    }

    /// What is written to a peer.
    pub(super) fn written(&self, connection: ConnectionId) -> String {
        self.at(|node, _| {
            let Some(outbound) = node.outbound(connection) else { return String::new() };
            let written = outbound.copy_to_bytes(outbound.remaining());
            String::from_utf8(written.to_vec()).unwrap()
        })
    }

    /// The connection of a peer is gone.
    pub(super) fn lose(&self, connection: ConnectionId) {
        self.at(|node, now| node.handle_input(now, Input::Lost { connection }));
    }

    fn at<T>(&self, act: impl FnOnce(&mut Node, std::time::Instant) -> T) -> T {
        let mut inside = self.0.inside.lock().unwrap();
        let value = act(&mut inside.node, Instant::now().into_std());
        inside.drain();
        value
    }
}

/// A connection of a client to the core.
pub(super) struct Client {
    core: Core,
    connection: ConnectionId,
}

impl Core {
    /// The connections that we want to make stand; with whom, and where they lead.
    pub(super) fn connected(&self) -> Vec<(Client, Hop)> {
        let mut inside = self.0.inside.lock().unwrap();
        let connects = std::mem::take(&mut inside.connects);
        let ends = ["192.0.2.10:7654", "127.0.0.20:2855"].map(|text| text.parse().unwrap());
        let [remote, local] = ends;
        let mut clients = Vec::new();
        for (connection, hop) in connects {
            let peer = Peer { remote, local, tls: None, websocket: false };
            let now = Instant::now().into_std();
            inside.node.handle_input(now, Input::Connected { connection, peer });
            inside.drain();
            clients.push((Client { core: self.clone(), connection }, hop));
        }
        clients
    }

    pub(super) fn client(&self) -> Client {
        let ends = ["192.0.2.10:7654", "127.0.0.20:2855"].map(|text| text.parse().unwrap());
        let [remote, local] = ends;
        let peer = Peer { remote, local, tls: None, websocket: false };
        let mut inside = self.0.inside.lock().unwrap();
        let connection = inside.node.accept(Instant::now().into_std(), peer);
        inside.drain();
        drop(inside);
        Client { core: self.clone(), connection }
    }
}

impl Client {
    /// Sends a message of `path` in the session with our URI `to`; without a text it only binds the
    /// session.
    pub(super) fn says(&self, to: &str, path: &str, id: &str, text: &str) {
        self.sends(to, path, id, "text/plain", text);
    }

    pub(super) fn sends(&self, to: &str, path: &str, id: &str, content_type: &str, text: &str) {
        let body = match text {
            "" => String::new(),
            _ => format!("Content-Type: {content_type}\r\n\r\n{text}\r\n"),
        };
        let octets = format!(
            "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {path}\r\nMessage-ID: m{id}\r\n\
             {body}-------{id}$\r\n"
        );
        self.octets(octets);
    }

    pub(super) fn octets(&self, octets: String) {
        let now = Instant::now().into_std();
        let mut inside = self.core.0.inside.lock().unwrap();
        let (connection, octets) = (self.connection, Bytes::from(octets));
        inside.node.handle_input(now, Input::Octets { connection, octets: &octets });
        inside.drain();
    }

    /// What came since.
    pub(super) fn reads(&self) -> String {
        let mut inside = self.core.0.inside.lock().unwrap();
        let Some(outbound) = inside.node.outbound(self.connection) else { return String::new() };
        let mut octets = vec![0; outbound.len()];
        outbound.copy_to_slice(&mut octets);
        String::from_utf8(octets).unwrap()
    }

    /// The bodies of the messages that came since.
    pub(super) fn hears(&self) -> Vec<String> {
        let read = self.reads();
        let messages = read.split("MSRP ").filter(|text| text.contains(" SEND\r\n"));
        let body = |text: &str| {
            let (_, body) = text.split_once("\r\n\r\n")?;
            Some(body.split_once("\r\n-------")?.0.to_owned())
        };
        messages.filter_map(body).collect()
    }
}
