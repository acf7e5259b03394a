//! A trivial peer: forwards every MESSAGE back to where it came from, and the answers too.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::link::{Link, Outbox, Peer};
use super::message::{Kind, answer, forward, kind, pop_via};
use super::options::Transport;

/// How often a waiting peer looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);

/// What the peer does, besides forwarding.
#[derive(Clone, Copy, Debug)]
pub struct EchoOptions {
    /// Its transport.
    pub transport: Transport,
    /// Answer every MESSAGE with this code itself instead of forwarding it.
    pub answer: Option<u16>,
    /// Lose one request in so many; 0 loses none.
    pub lose_every: u64,
    /// Forward one request in so many twice, as a retransmission; 0 none.
    pub repeat_every: u64,
}

impl Default for EchoOptions {
    /// Forwards everything once, over UDP.
    fn default() -> Self {
        Self { transport: Transport::Udp, answer: None, lose_every: 0, repeat_every: 0 }
    }
}

/// A running peer on a free port of the loopback; ends when dropped.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Starts the peer's thread. Fails when no port or no thread is to be had.
    pub fn start(options: EchoOptions) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        // The batches hold pointers and stay on the thread that made them; only the address, or
        // why there is none, comes back.
        let (bound, answer) = mpsc::sync_channel::<io::Result<SocketAddr>>(1);
        let thread = thread::Builder::new().name("load-echo".to_owned()).spawn(move || {
            let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let link = Link::open(options.transport, local, &[], 0);
            let address = link.as_ref().map(Link::local).map_err(|error| error.kind().into());
            // Whoever started us waits for exactly this.
            let _ = bound.send(address);
            if let Ok(link) = link {
                let via = via(options.transport, link.local());
                Peering { via, options, requests: 0 }.run(link, &seen);
            }
        })?;
        let address = answer.recv().unwrap_or(Err(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens, for every role of a server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the peer has been printed; the run has noticed by itself.
            let _ = thread.join();
        }
    }
}

fn via(transport: Transport, address: SocketAddr) -> String {
    let transport = match transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
    };
    format!("Via: SIP/2.0/{transport} {address};branch=z9hG4bKecho\r\n")
}

struct Peering {
    via: String,
    options: EchoOptions,
    requests: u64,
}

impl Peering {
    fn run(mut self, mut link: Link, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            match link.fill() {
                Ok(0) => {
                    if link.wait(LOOK).is_err() {
                        return;
                    }
                }
                Ok(_) => {
                    while let Some((message, from)) = link.inbox.next() {
                        self.handle(&mut link.outbox, message, from);
                    }
                }
                Err(_) => return,
            }
            link.outbox.flush();
        }
    }

    fn handle(&mut self, outbox: &mut Outbox, message: &[u8], from: Peer) {
        match (kind(message), self.options.answer) {
            (Kind::Response(_), _) => outbox.send(from, |out| pop_via(message, out)),
            (Kind::Request(b"MESSAGE"), None) => {
                self.requests += 1;
                if due(self.requests, self.options.lose_every) {
                    return;
                }
                let copies = if due(self.requests, self.options.repeat_every) { 2 } else { 1 };
                for _ in 0..copies {
                    outbox.send(from, |out| forward(message, self.via.as_bytes(), out));
                }
            }
            (Kind::Request(b"MESSAGE"), Some(code)) => {
                outbox.send(from, |out| answer(message, &format!("{code} Answer"), "echo", out));
            }
            (Kind::Request(_), _) => {
                outbox.send(from, |out| answer(message, "200 OK", "echo", out));
            }
            (Kind::Other, _) => {}
        }
    }
}

/// Whether number `count` is one of every `every`.
fn due(count: u64, every: u64) -> bool {
    every > 0 && count.is_multiple_of(every)
}
