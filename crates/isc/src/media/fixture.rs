//! Two cores without sockets, and peers whose octets a test writes and reads.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, Bytes};
use parlance_msrp::negotiate::{Agreement, Role};
use parlance_msrp::{
    ConnectionId, FromRule, Hop, Input, LentUris, LocalAddress, MsrpUri, Node, NodeConfig, Output,
    Peer, Scheme, SessionKey, Tls,
};
use tokio::time::Instant;

use super::{Addresses, AtCore, Command, CoreError, Media, MediaCores, Sink, Sinks, TlsRules};

/// Commands that wait at a core at most.
const MAILBOX_MAX: usize = 4;

/// URIs of peers that sessions go by at most.
pub(super) const LENT_MAX: usize = 3;

/// The cores and what they do.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    pub(super) media: Media,
    cores: Arc<Cores>,
}

struct Cores {
    /// Whether TLS is spoken.
    tls: bool,
    lent: Mutex<LentUris>,
    mailboxes: [Mutex<Vec<Command>>; 2],
    cores: [Mutex<Option<Core>>; 2],
}

struct Core {
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

impl MediaCores for Cores {
    fn cores(&self) -> u8 {
        2
    }

    fn address(&self, secure: bool) -> Option<LocalAddress> {
        let (scheme, port) = if secure { (Scheme::Msrps, 2856) } else { (Scheme::Msrp, 2855) };
        let host = "im.example.com".into();
        (self.tls || !secure).then_some(LocalAddress { scheme, host, port, transport: "tcp" })
    }

    fn run(&self, core: u8, command: Command) -> Result<(), CoreError> {
        if self.cores[usize::from(core)].lock().unwrap().is_none() {
            return Err(CoreError::Gone);
        }
        let mut mailbox = self.mailboxes[usize::from(core)].lock().unwrap();
        if mailbox.len() >= MAILBOX_MAX {
            return Err(CoreError::Busy);
        }
        mailbox.push(command);
        Ok(())
    }

    /// The DNS knows one name, and takes its time with another.
    fn addresses(&self, host: &str) -> Addresses {
        match host {
            "pc.example.com" => Box::pin(std::future::ready(vec![[192, 0, 2, 10].into()])),
            "slow.example.com" => Box::pin(std::future::pending()),
            _ => Box::pin(std::future::ready(Vec::new())),
        }
    }

    fn lent(&self, act: &mut dyn FnMut(&mut LentUris)) {
        act(&mut self.lent.lock().unwrap());
    }

    fn run_always(&self, core: u8, command: Command) {
        self.mailboxes[usize::from(core)].lock().unwrap().push(command);
    }
}

impl std::fmt::Debug for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cores").finish_non_exhaustive()
    }
}

impl Bench {
    /// Without TLS.
    pub(super) fn new() -> Self {
        Self::over(false)
    }

    /// Cores that speak TLS as well, for which a certificate is its own SHA-256.
    pub(super) fn with_tls() -> Self {
        Self::over(true)
    }

    fn over(tls: bool) -> Self {
        let core = |number: u8| {
            let mut seed = u64::from(number);
            let entropy = Box::new(move || {
                seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
                seed.wrapping_mul(0xBF58_476D_1CE4_E5B9)
            });
            let now = Instant::now().into_std();
            let mut node = Node::new(number, 2, now, NodeConfig::default(), entropy);
            node.set_certificate_hash(|_, certificate| Some(certificate.to_vec()));
            Mutex::new(Some(Core { node, sinks: Subscribed::default(), connects: Vec::new() }))
        };
        let cores = Arc::new(Cores {
            tls,
            lent: Mutex::new(LentUris::new(LENT_MAX, 7)),
            mailboxes: [Mutex::default(), Mutex::default()],
            cores: [core(0), core(1)],
        });
        let media = Media::new(Arc::clone(&cores) as Arc<dyn MediaCores>, TlsRules::default());
        Self { media, cores }
    }

    /// What comes of `future`, the cores doing their work meanwhile.
    pub(super) async fn done<T>(&self, future: impl Future<Output = T>) -> T {
        tokio::pin!(future);
        loop {
            tokio::select! {
                biased;
                value = &mut future => return value,
                () = tokio::task::yield_now() => self.work(),
            }
        }
    }

    /// Lets both cores do what waits.
    pub(super) fn work(&self) {
        for core in 0..2 {
            let commands = std::mem::take(&mut *self.cores.mailboxes[core].lock().unwrap());
            for command in commands {
                self.at(core, |core, now| {
                    let Core { node, sinks, .. } = core;
                    command(&mut AtCore { node, now, sinks });
                });
            }
            if self.cores.cores[core].lock().unwrap().is_some() {
                self.at(core, |core, now| core.node.handle_input(now, Input::Timeout));
            }
        }
    }

    /// Ends a core, as one whose thread has ended.
    pub(super) fn end(&self, core: usize) {
        let gone = self.cores.cores[core].lock().unwrap().take();
        self.cores.mailboxes[core].lock().unwrap().clear();
        drop(gone);
    }

    /// Sessions and their takers of both cores together.
    pub(super) fn load(&self) -> (usize, usize) {
        let load = |core: usize| self.at(core, |core, _| (core.node.load().1, core.sinks.0.len()));
        let (one, two) = (load(0), load(1));
        (one.0 + two.0, one.1 + two.1)
    }

    /// How many sessions go by the URI of a peer.
    pub(super) fn lent(&self) -> usize {
        self.cores.lent.lock().unwrap().len()
    }

    /// How many sessions each core has.
    pub(super) fn sessions(&self) -> [usize; 2] {
        [0, 1].map(|core| self.at(core, |core, _| core.node.load().1))
    }

    /// Somebody connects to a core.
    pub(super) fn accept(&self, core: usize) -> ConnectionId {
        self.at(core, |core, now| core.node.accept(now, peer()))
    }

    /// Somebody connects to a core over TLS and shows this.
    pub(super) fn accept_shown(&self, core: usize, certificate: &'static str) -> ConnectionId {
        let certificate = Some(Bytes::from_static(certificate.as_bytes()));
        let tls = Some(Box::new(Tls { names: Vec::new(), certificate }));
        self.at(core, |core, now| core.node.accept(now, Peer { tls, ..peer() }))
    }

    /// The connections that a core wants to make stand; which, and where they lead.
    pub(super) fn connected(&self, core: usize) -> Vec<(ConnectionId, Hop)> {
        self.at(core, |core, now| {
            let connects = std::mem::take(&mut core.connects);
            for (connection, _) in &connects {
                let input = Input::Connected { connection: *connection, peer: peer() };
                core.node.handle_input(now, input);
            }
            connects
        })
    }

    /// Octets come; what is written on the connection until then.
    pub(super) fn octets(&self, core: usize, connection: ConnectionId, octets: &str) -> String {
        self.at(core, |core, now| {
            let octets = Bytes::copy_from_slice(octets.as_bytes());
            core.node.handle_input(now, Input::Octets { connection, octets: &octets });
        });
        self.written(core, connection)
    }

    /// What is written on a connection.
    pub(super) fn written(&self, core: usize, connection: ConnectionId) -> String {
        self.at(core, |core, _| {
            let Some(outbound) = core.node.outbound(connection) else { return String::new() };
            let written = outbound.copy_to_bytes(outbound.remaining()).to_vec();
            String::from_utf8(written).unwrap()
        })
    }

    /// A connection is gone.
    pub(super) fn lose(&self, core: usize, connection: ConnectionId) {
        self.at(core, |core, now| core.node.handle_input(now, Input::Lost { connection }));
    }

    fn at<T>(&self, core: usize, act: impl FnOnce(&mut Core, std::time::Instant) -> T) -> T {
        let mut core = self.cores.cores[core].lock().unwrap();
        let core = core.as_mut().expect("the core runs");
        let value = act(core, Instant::now().into_std());
        while let Some(output) = core.node.poll_output() {
            match output {
                Output::Connect { connection, to } => core.connects.push((connection, *to)),
                Output::Event(event) => {
                    let sink = event.session().and_then(|session| core.sinks.0.get(&session));
                    if let Some(sink) = sink {
                        sink.try_send(event).unwrap();
                    }
                }
                Output::Close(connection, _) => {
                    let now = Instant::now().into_std();
                    core.node.handle_input(now, Input::Lost { connection });
                }
                _ => {}
            }
        }
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

/// What SDP with `path` of the peer came to; with `connects`, we are the active side.
pub(super) fn agreement(own: &MsrpUri, path: &str, connects: bool) -> Agreement {
    let uri: MsrpUri = path.parse().unwrap();
    let hop = Hop {
        secure: false,
        host: uri.parts().host.into(),
        port: uri.parts().port,
        through: None,
        fingerprints: Vec::new(),
    };
    Agreement {
        role: if connects { Role::Active } else { Role::Passive },
        hop: connects.then_some(hop),
        own_path: vec![own.clone()],
        peer_path: vec![uri],
        from_rule: FromRule::Whole,
        accepts: parlance_msrp::endpoint::Accepts {
            types: "*".parse().unwrap(),
            ..Default::default()
        },
        sends: true,
        receives: true,
        chatroom: Some("nickname private-messages".parse().unwrap()),
        fingerprints: Vec::new(),
        file: None,
    }
}

/// A whole request, `more` its headers after the paths and its body.
pub(super) fn request(method: &str, to: &MsrpUri, from: &str, more: &str) -> String {
    format!(
        "MSRP t1d00001 {method}\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\n{more}-------t1d00001$\r\n"
    )
}

/// A text message.
pub(super) fn text(id: &str, text: &str) -> String {
    let length = text.len();
    format!(
        "Message-ID: {id}\r\nByte-Range: 1-{length}/{length}\r\nContent-Type: text/plain\r\n\r\n\
         {text}\r\n"
    )
}
