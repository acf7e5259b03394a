//! A shard's way to the network and back: [`Share`] gives each received message to its shard,
//! [`NetWire`] takes what a shard sends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parlance_isc::{Lookup, NextHop, ShardInput, Targets, Wire};
use parlance_net::{Batch, Deliver, Net, Received, Refused, Resolver, TransmitError};
use parlance_sip::endpoint::{is_initial, shard_of_spread};
use parlance_sip::locate::{Candidate, TargetHost};
use parlance_sip::message::StartLine;
use parlance_sip::uri::Aor;
use parlance_sip::{ClientKey, Message, Method, Source, Target, Transport};
use tokio::sync::{Notify, mpsc};

/// Bits of a token below the generation that name the client transaction; the rest names the shard.
const INDEX_BITS: u32 = 24;

/// The token of what nobody waits for: no shard has this number.
const NOBODY: u64 = u64::MAX;

/// TLS names remembered for addresses; local limit. At the limit all are forgotten, and the next
/// search remembers them anew.
const NAMES_MAX: usize = 1_024;

/// Messages before a shard from which on another one may take its work; local limit.
const RELIEVED_FROM: usize = 64;

/// Whether any shard may take a message: nothing else of it is anywhere, and it is not sent again,
/// as nothing is over a reliable transport (RFC 3261 §17.1.2.2).
fn is_taken_anywhere(source: &Source, message: &Message) -> bool {
    let StartLine::Request { method, .. } = message.start_line() else { return false };
    method == Method::Message && source.transport.is_reliable() && is_initial(message)
}

/// The shard that takes the work of `shard`: one with far less before it, when there is such a one.
/// A thread that shares its processor falls behind while others wait for work.
fn relieved(queues: &[mpsc::Sender<ShardInput>], shard: usize) -> usize {
    let waiting = |queue: &mpsc::Sender<_>| queue.max_capacity().saturating_sub(queue.capacity());
    let busy = queues.get(shard).map_or(0, waiting);
    if busy < RELIEVED_FROM {
        return shard;
    }
    let least = queues.iter().map(waiting).enumerate().min_by_key(|(_, waiting)| *waiting);
    least.filter(|(_, least)| *least < busy / 2).map_or(shard, |(least, _)| least)
}

/// Names shard and client transaction in one number. The ranges of the configuration keep the
/// index below 2^24 and the shard below 64.
fn token(shard: u8, client: ClientKey) -> u64 {
    client.token() | u64::from(shard) << INDEX_BITS
}

/// Reads [`token`] back.
fn client_of(token: u64) -> (usize, ClientKey) {
    let shard = (token >> INDEX_BITS) as u8;
    let mask = u64::from(u8::MAX) << INDEX_BITS;
    (usize::from(shard), ClientKey::from_token(token & !mask))
}

/// Shares received messages out over the shards.
pub(crate) struct Share {
    queues: Vec<mpsc::Sender<ShardInput>>,
    resolver: Resolver,
    draining: Arc<AtomicBool>,
    /// Identities at which nothing meets.
    spread: Vec<Aor>,
    nobody: Arc<[String]>,
}

impl Share {
    pub(crate) fn new(
        queues: Vec<mpsc::Sender<ShardInput>>,
        resolver: Resolver,
        draining: Arc<AtomicBool>,
        spread: Vec<Aor>,
    ) -> Self {
        Self { queues, resolver, draining, spread, nobody: Arc::from([]) }
    }

    /// When the message counts as received. A shard answers 503 to a new request that is too old;
    /// while we drain, all are, so that the S-CSCF takes them elsewhere.
    fn received_at(&self) -> Instant {
        #[expect(clippy::disallowed_methods, reason = "the time of receipt, beside the socket")]
        let now = Instant::now();
        match self.draining.load(Ordering::Relaxed) {
            true => now.checked_sub(Duration::from_secs(3_600)).unwrap_or(now),
            false => now,
        }
    }
}

impl Deliver for Share {
    fn deliver(&self, received: Received) -> Result<(), Refused> {
        let known = match &received.message {
            Ok(message) => Some(message),
            Err(malformed) => malformed.message.as_ref(),
        };
        let shards = self.queues.len();
        let shard = known.map_or(0, |message| {
            let shard = shard_of_spread(message, shards, &self.spread);
            // Nearly always it is the same one, and nothing need be known of the message.
            let other = relieved(&self.queues, shard);
            let moves = other != shard && is_taken_anywhere(&received.source, message);
            if moves { other } else { shard }
        });
        let place = self.queues.get(shard).and_then(|queue| queue.try_reserve().ok());
        let Some(place) = place else { return Err(Refused(Box::new(received))) };
        let Received { source, peer, message } = received;
        let peer_names = match peer {
            Some(peer) => Arc::from(peer.names.as_slice()),
            None => Arc::clone(&self.nobody),
        };
        place.send(ShardInput::Received { at: self.received_at(), source, peer_names, message });
        Ok(())
    }

    fn undeliverable(&self, token: u64, target: Target, error: TransmitError) {
        tracing::debug!(?target, %error, "not sent");
        // What is too large or too much says nothing about the target.
        if !matches!(error, TransmitError::TooLarge | TransmitError::Busy) {
            let failed = Candidate { transport: target.transport, address: target.remote };
            self.resolver.failed(failed, None);
        }
        if token == NOBODY {
            return;
        }
        let (shard, client) = client_of(token);
        if let Some(queue) = self.queues.get(shard) {
            // Without room the transaction ends by its timer.
            let _ = queue.try_send(ShardInput::Undeliverable { client });
        }
    }
}

/// The network under one shard.
pub(crate) struct NetWire {
    net: Arc<Net>,
    resolver: Resolver,
    shard: u8,
    batch: RefCell<Batch>,
    wake: Notify,
    /// The names that TLS servers at an address must prove.
    names: Rc<RefCell<HashMap<SocketAddr, String>>>,
}

impl NetWire {
    pub(crate) fn new(net: Arc<Net>, resolver: Resolver, shard: u8) -> Self {
        Self {
            net,
            resolver,
            shard,
            batch: RefCell::default(),
            wake: Notify::new(),
            names: Rc::default(),
        }
    }

    /// Sends what was collected, whenever the other tasks of the shard let it: so what a batch of
    /// requests leads to leaves together.
    pub(crate) async fn flush(self: Rc<Self>) {
        loop {
            self.wake.notified().await;
            self.net.flush(&mut self.batch.borrow_mut());
        }
    }

    fn send(&self, target: &Target, bytes: Bytes, token: u64) -> Result<(), TransmitError> {
        if target.transport == Transport::Tls
            && let Some(name) = self.names.borrow().get(&target.remote)
        {
            return self.net.transmit_to_name(target, name, bytes, token);
        }
        self.net.transmit_batched(&mut self.batch.borrow_mut(), target, bytes, token)?;
        self.wake.notify_one();
        Ok(())
    }
}

impl Wire for NetWire {
    fn transmit(&self, target: &Target, bytes: Bytes, client: Option<ClientKey>) -> bool {
        let token = client.map_or(NOBODY, |client| token(self.shard, client));
        let sent = self.send(target, bytes, token);
        if let Err(error) = &sent {
            tracing::debug!(?target, %error, "not sent");
        }
        sent.is_ok()
    }

    fn lookup(&self, hop: &NextHop) -> Lookup {
        let (resolver, names, hop) = (self.resolver.clone(), Rc::clone(&self.names), hop.clone());
        Box::pin(async move {
            let found = match resolver.locate(hop.place.clone(), rand::random()).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::info!(%hop, %error, "no way to the next hop");
                    return Targets::new();
                }
            };
            remember(&mut names.borrow_mut(), &hop, &found);
            found.iter().map(|found| hop.target(found)).collect()
        })
    }
}

/// Over TLS the certificate must prove the name that was asked for (RFC 5922 §7.3): the address,
/// where none was, whatever other name led there before.
fn remember(names: &mut HashMap<SocketAddr, String>, hop: &NextHop, found: &[Candidate]) {
    for candidate in found.iter().filter(|found| found.transport == Transport::Tls) {
        let TargetHost::Name(name) = &hop.place.host else {
            names.remove(&candidate.address);
            continue;
        };
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.insert(candidate.address, name.clone());
    }
}

#[cfg(test)]
mod tests {
    use parlance_isc::{Locals, NextHop, ShardInput, Socket};
    use parlance_sip::locate::Candidate;
    use parlance_sip::message::Limits;
    use parlance_sip::uri::Uri;
    use parlance_sip::{ClientKey, ListenerId, Message, Source, Transport};
    use tokio::sync::mpsc;

    use super::{HashMap, NAMES_MAX, NOBODY, RELIEVED_FROM};
    use super::{client_of, is_taken_anywhere, relieved, remember, token};

    #[test]
    fn a_token_names_shard_and_transaction() {
        for (generation, index) in [(0_u64, 0), (1, 1), (u64::from(u32::MAX), (1 << 24) - 1)] {
            let client = ClientKey::from_token(generation << 32 | index);
            for shard in [0, 1, 63] {
                let token = token(shard, client);
                assert_ne!(token, NOBODY);
                assert_eq!(client_of(token), (usize::from(shard), client));
            }
        }
    }

    fn message(method: &str, to: &str) -> Message {
        let text = format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n\
             From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>{to}\r\nCall-ID: c\r\n\
             CSeq: 1 {method}\r\n\r\n"
        );
        Message::parse_datagram(text.into(), &Limits::default()).unwrap()
    }

    #[test]
    fn a_message_that_is_not_sent_again_may_go_to_any_shard() {
        let from = |transport| Source {
            transport,
            remote: ([192, 0, 2, 1], 5060).into(),
            listener: ListenerId(0),
            connection: None,
            verified: false,
        };
        for (transport, method, to, anywhere) in [
            (Transport::Tcp, "MESSAGE", "", true),
            (Transport::Tls, "MESSAGE", "", true),
            (Transport::Udp, "MESSAGE", "", false),
            (Transport::Tcp, "MESSAGE", ";tag=s010123456789abcdef", false),
            (Transport::Tcp, "INVITE", "", false),
            (Transport::Tcp, "REGISTER", "", false),
        ] {
            let taken = is_taken_anywhere(&from(transport), &message(method, to));
            assert_eq!(taken, anywhere, "{transport:?} {method} {to}");
        }
    }

    #[test]
    fn a_shard_that_falls_behind_is_relieved() {
        let (queues, mut received): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel(256)).unzip();
        let give = |shard: usize, count| {
            for _ in 0..count {
                let client = ClientKey::from_token(0);
                queues[shard].try_send(ShardInput::Undeliverable { client }).unwrap();
            }
        };
        give(0, RELIEVED_FROM - 1);
        assert_eq!(relieved(&queues, 0), 0, "that is not much yet");
        give(0, 1);
        assert_eq!(relieved(&queues, 0), 1, "nothing waits there");
        give(1, 20);
        assert_eq!(relieved(&queues, 0), 2);
        give(2, RELIEVED_FROM / 2);
        assert_eq!(relieved(&queues, 0), 1);
        give(1, 20);
        assert_eq!(relieved(&queues, 0), 0, "none has far less to do");
        assert_eq!(relieved(&queues, 1), 1);
        while received[2].try_recv().is_ok() {}
        assert_eq!(relieved(&queues, 0), 2);
    }

    #[test]
    fn tls_names_are_remembered_up_to_the_limit() {
        let uri = Uri::parse(b"sips:scscf.ims.test").unwrap();
        let hop = NextHop::of(&uri, ListenerId(0)).unwrap();
        let at =
            |port: u16, transport| Candidate { transport, address: ([192, 0, 2, 1], port).into() };
        let mut names = HashMap::new();
        remember(&mut names, &hop, &[at(1, Transport::Tls), at(2, Transport::Tcp)]);
        assert_eq!(names.len(), 1);
        for port in 2..=NAMES_MAX as u16 {
            remember(&mut names, &hop, &[at(port, Transport::Tls)]);
        }
        assert_eq!(names.len(), NAMES_MAX);
        remember(&mut names, &hop, &[at(5_000, Transport::Tls)]);
        assert_eq!(names.len(), 1);
        let name = names.get(&([192, 0, 2, 1], 5_000).into()).map(String::as_str);
        assert_eq!(name, Some("scscf.ims.test"));
        // Who is addressed by number has to prove that one.
        let uri = Uri::parse(b"sips:192.0.2.1:5000").unwrap();
        let hop = NextHop::of(&uri, ListenerId(0)).unwrap();
        assert_eq!(hop.numeric(&tls()), None, "it comes by here");
        remember(&mut names, &hop, &[at(5_000, Transport::Tls)]);
        assert!(names.is_empty());
    }

    fn tls() -> Locals {
        let sent_by = "192.0.2.9:5061".to_owned();
        Locals(vec![Socket { id: ListenerId(0), transport: Transport::Tls, sent_by }])
    }
}
