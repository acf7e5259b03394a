//! One MSRP core without sockets.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use parlance_isc::media::{
    AtCore, Command, CoreError, Media, MediaCores, Security, Sink, Sinks, TlsRules,
};
use parlance_msrp::{Input, LocalAddress, Node, NodeConfig, Output, Scheme, SessionKey};
use tokio::time::Instant;

/// The core.
#[derive(Clone)]
pub(super) struct Core(Arc<Shared>);

struct Shared {
    waiting: Mutex<Vec<Command>>,
    inside: Mutex<Inside>,
    busy: Mutex<bool>,
}

struct Inside {
    node: Node,
    sinks: Subscribed,
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
            let Inside { node, sinks } = &mut *inside;
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
        let inside = Mutex::new(Inside { node, sinks: Subscribed::default() });
        Self(Arc::new(Shared { waiting: Mutex::default(), inside, busy: Mutex::default() }))
    }

    pub(super) fn media(&self) -> Media {
        let rules = TlsRules { default: Security::Off, domains: Vec::new() };
        Media::new(Arc::clone(&self.0) as Arc<dyn MediaCores>, rules)
    }

    pub(super) fn set_busy(&self) {
        *self.0.busy.lock().unwrap() = true;
    }

    /// How many sessions there are.
    pub(super) fn sessions(&self) -> usize {
        self.0.inside.lock().unwrap().node.load().1
    }
}
