//! The transactions of the lab's own elements (RFC 3261 §17, RFC 6026), written apart from the
//! server's: what is wrong in one is not wrong in the other.
//!
//! It moves octets and knows of a message only what names its transaction. An element keeps one
//! [`Transactions`], tells it what it sends and what it got, and asks it when to come back.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use parlance_sip::Transport;
use tokio::time::Instant;

use crate::network::Outlet;

/// RFC 3261 §17.1.1.1: the round-trip time everything starts from.
pub const T1: Duration = Duration::from_millis(500);
/// RFC 3261 §17.1.2.2: the longest interval between retransmissions of a non-INVITE request.
pub const T2: Duration = Duration::from_secs(4);
/// RFC 3261 §17.1.2.2: how long a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// RFC 3261 §17: Timers B, F, H, J; RFC 6026: L, M.
pub const GIVE_UP: Duration = T1.saturating_mul(64);
/// RFC 4320 §4.1: over UDP a non-INVITE gets its 100 when Timer E has reached T2.
pub const TRYING_AFTER: Duration = Duration::from_millis(3_500);

/// Where a message goes or came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Over which transport.
    pub transport: Transport,
    /// The address.
    pub address: SocketAddr,
}

/// What names a client transaction: branch and method (RFC 3261 §17.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    /// The branch of our Via.
    pub branch: String,
    /// The method of CSeq.
    pub method: String,
}

/// What names a server transaction: branch, sent-by and method, ACK counting as INVITE
/// (RFC 3261 §17.2.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId {
    /// The branch of the topmost Via.
    pub branch: String,
    /// Its sent-by.
    pub sent_by: String,
    /// The method.
    pub method: String,
}

/// How a server transaction behaves beyond the RFC's common part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// The 100, sent at once for an INVITE and after [`TRYING_AFTER`] otherwise.
    pub trying: Option<Bytes>,
    /// Whether a 2xx to an INVITE is repeated until [`Transactions::confirm`]: a UAS does that, a
    /// proxy does not (RFC 3261 §13.3.1.4).
    pub repeats_success: bool,
}

/// What a response is to its client transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched<T> {
    /// For the owner; a final one comes once, but every 2xx to an INVITE does.
    Pass(T),
    /// A final response again: it was dealt with.
    Again,
    /// It belongs to no transaction.
    Stray,
}

#[derive(Debug)]
struct Client<T> {
    tag: T,
    peer: Peer,
    octets: Bytes,
    invite: bool,
    interval: Duration,
    provisional: bool,
    /// The final status, and the ACK that repeats when it does.
    answered: Option<(u16, Option<Bytes>)>,
}

#[derive(Debug)]
struct Server {
    peer: Peer,
    invite: bool,
    manner: Manner,
    last: Option<(u16, Bytes)>,
    interval: Duration,
    confirmed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Repeat(ClientId),
    GiveUp(ClientId),
    Forget(ClientId),
    Trying(ServerId),
    Answer(ServerId),
    Done(ServerId),
}

/// All transactions of one element. `T` is what the owner wants back with a response.
///
/// Bounded by the elements that use it: the lab ends a scenario after a known number of requests.
#[derive(Debug)]
pub struct Transactions<T> {
    outlet: Outlet,
    clients: HashMap<ClientId, Client<T>>,
    servers: HashMap<ServerId, Server>,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    /// Requests sent again.
    retransmitted: u64,
    /// Requests that came again.
    absorbed: u64,
}

impl<T: Clone> Transactions<T> {
    /// None yet, sending through `outlet`.
    pub fn new(outlet: Outlet) -> Self {
        Self {
            outlet,
            clients: HashMap::new(),
            servers: HashMap::new(),
            timers: BinaryHeap::new(),
            retransmitted: 0,
            absorbed: 0,
        }
    }

    /// Requests this element sent again, and requests that came to it again.
    pub fn repeats(&self) -> (u64, u64) {
        (self.retransmitted, self.absorbed)
    }

    /// Sends octets that have no transaction: an ACK to a 2xx, a stateless response.
    pub fn send(&self, peer: Peer, octets: Bytes) {
        self.outlet.send(peer.transport, peer.address, octets);
    }

    /// Starts a client transaction.
    pub fn request(&mut self, id: ClientId, peer: Peer, octets: Bytes, tag: T) {
        let now = Instant::now();
        let invite = id.method == "INVITE";
        self.send(peer, octets.clone());
        if !peer.transport.is_reliable() {
            self.timers.push(Reverse((now + T1, Timer::Repeat(id.clone()))));
        }
        self.timers.push(Reverse((now + GIVE_UP, Timer::GiveUp(id.clone()))));
        let (provisional, answered) = (false, None);
        let client = Client { tag, peer, octets, invite, interval: T1, provisional, answered };
        self.clients.insert(id, client);
    }

    /// Feeds the status of a response.
    pub fn response(&mut self, id: &ClientId, status: u16) -> Matched<T> {
        let Some(client) = self.clients.get_mut(id) else { return Matched::Stray };
        if status < 200 {
            client.provisional = true;
            if !client.invite {
                client.interval = T2;
            }
            return match client.answered {
                Some(_) => Matched::Again,
                None => Matched::Pass(client.tag.clone()),
            };
        }
        if let Some((first, ack)) = &client.answered {
            if client.invite && status < 300 && *first < 300 {
                return Matched::Pass(client.tag.clone());
            }
            if let Some(ack) = ack {
                self.outlet.send(client.peer.transport, client.peer.address, ack.clone());
            }
            return Matched::Again;
        }
        client.answered = Some((status, None));
        let wait = if client.invite || !client.peer.transport.is_reliable() {
            if client.invite { GIVE_UP } else { T4 }
        } else {
            Duration::ZERO
        };
        self.timers.push(Reverse((Instant::now() + wait, Timer::Forget(id.clone()))));
        Matched::Pass(client.tag.clone())
    }

    /// Sends the ACK to a final response other than 2xx, and again with each repetition.
    pub fn acknowledge(&mut self, id: &ClientId, octets: Bytes) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if let Some((_, ack)) = &mut client.answered {
            *ack = Some(octets.clone());
        }
        self.outlet.send(client.peer.transport, client.peer.address, octets);
    }

    /// Forgets a client transaction: what still comes is stray.
    pub fn abandon(&mut self, id: &ClientId) {
        self.clients.remove(id);
    }

    /// Whether a client transaction got a provisional and no final response: CANCEL may be sent
    /// (RFC 3261 §9.1).
    pub fn is_proceeding(&self, id: &ClientId) -> bool {
        self.clients.get(id).is_some_and(|client| client.provisional && client.answered.is_none())
    }

    /// Feeds a request. `true`: it is new. `false`: it came again and was dealt with.
    pub fn received(&mut self, id: ServerId, peer: Peer, manner: Manner) -> bool {
        if let Some(server) = self.servers.get(&id) {
            self.absorbed += 1;
            if let Some((_, last)) = &server.last {
                self.outlet.send(peer.transport, peer.address, last.clone());
            }
            return false;
        }
        let invite = id.method == "INVITE";
        let mut last = None;
        match &manner.trying {
            Some(trying) if invite => {
                self.send(peer, trying.clone());
                last = Some((100, trying.clone()));
            }
            Some(_) => {
                let at = Instant::now() + TRYING_AFTER;
                self.timers.push(Reverse((at, Timer::Trying(id.clone()))));
            }
            None => {}
        }
        let server = Server { peer, invite, manner, last, interval: T1, confirmed: false };
        self.servers.insert(id, server);
        true
    }

    /// Answers a request. Only the first final response counts, and every 2xx to an INVITE.
    pub fn respond(&mut self, id: &ServerId, status: u16, octets: Bytes) {
        let Some(server) = self.servers.get_mut(id) else { return };
        let before = server.last.as_ref().map_or(0, |(status, _)| *status);
        let more = server.invite && (200..300).contains(&status) && (200..300).contains(&before);
        if before >= 200 && !more {
            return;
        }
        self.outlet.send(server.peer.transport, server.peer.address, octets.clone());
        server.last = Some((status, octets));
        if status < 200 || more {
            return;
        }
        let now = Instant::now();
        let repeats = match (server.invite, status < 300) {
            (true, true) => server.manner.repeats_success,
            (true, false) => !server.peer.transport.is_reliable(),
            (false, _) => false,
        };
        if repeats {
            self.timers.push(Reverse((now + T1, Timer::Answer(id.clone()))));
        }
        let reliable = server.peer.transport.is_reliable() && !server.invite;
        let wait = if reliable { Duration::ZERO } else { GIVE_UP };
        self.timers.push(Reverse((now + wait, Timer::Done(id.clone()))));
    }

    /// The ACK came: a final response to an INVITE need not be repeated.
    pub fn confirm(&mut self, id: &ServerId) {
        if let Some(server) = self.servers.get_mut(id) {
            server.confirmed = true;
        }
    }

    /// Whether a server transaction is there.
    pub fn serves(&self, id: &ServerId) -> bool {
        self.servers.contains_key(id)
    }

    /// When [`Transactions::poll`] has something to do; `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Does what is due. The result is what belonged to the client transactions that got no
    /// final response.
    pub fn poll(&mut self) -> Vec<T> {
        let now = Instant::now();
        let mut ended = Vec::new();
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((at, timer))) = self.timers.pop() else { break };
            match timer {
                Timer::Repeat(id) => self.repeat(at, id),
                Timer::GiveUp(id) => {
                    // RFC 3261 §16.8: an INVITE that rings has no Timer B any more.
                    let silent = |client: &Client<T>| {
                        client.answered.is_none() && !(client.invite && client.provisional)
                    };
                    if self.clients.get(&id).is_some_and(silent) {
                        ended.extend(self.clients.remove(&id).map(|client| client.tag));
                    }
                }
                Timer::Forget(id) => _ = self.clients.remove(&id),
                Timer::Trying(id) => self.try_on(&id),
                Timer::Answer(id) => self.answer_again(at, id),
                Timer::Done(id) => _ = self.servers.remove(&id),
            }
        }
        ended
    }

    fn repeat(&mut self, at: Instant, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.answered.is_some() || (client.invite && client.provisional) {
            return;
        }
        self.retransmitted += 1;
        self.outlet.send(client.peer.transport, client.peer.address, client.octets.clone());
        client.interval = match client.invite {
            true => client.interval * 2,
            false => (client.interval * 2).min(T2),
        };
        self.timers.push(Reverse((at + client.interval, Timer::Repeat(id))));
    }

    fn try_on(&mut self, id: &ServerId) {
        let Some(server) = self.servers.get_mut(id) else { return };
        let trying = server.manner.trying.clone().filter(|_| server.last.is_none());
        if let Some(trying) = trying {
            self.outlet.send(server.peer.transport, server.peer.address, trying.clone());
            server.last = Some((100, trying));
        }
    }

    fn answer_again(&mut self, at: Instant, id: ServerId) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        if server.confirmed {
            return;
        }
        if let Some((_, last)) = &server.last {
            self.outlet.send(server.peer.transport, server.peer.address, last.clone());
        }
        server.interval = (server.interval * 2).min(T2);
        self.timers.push(Reverse((at + server.interval, Timer::Answer(id))));
    }
}

/// Waits until `at`; for ever without one.
pub(crate) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use bytes::Bytes;
    use parlance_sip::Transport::{Tcp, Udp};
    use tokio::task::LocalSet;
    use tokio::time::Instant;

    use super::{ClientId, Manner, Matched, Peer, ServerId, Transactions};
    use crate::network::{Faults, Link, Network};

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 9, 0, host], 5060))
    }

    fn peer(transport: parlance_sip::Transport) -> Peer {
        Peer { transport, address: address(2) }
    }

    fn client(method: &str) -> ClientId {
        ClientId { branch: "z9hG4bK1".into(), method: method.into() }
    }

    fn server(method: &str) -> ServerId {
        ServerId { branch: "z9hG4bK1".into(), sent_by: "h".into(), method: method.into() }
    }

    /// One element and the host it talks to.
    fn element() -> (Transactions<u8>, Link) {
        let network = Network::new(1, Faults::default());
        let outlet = network.attach(address(1)).outlet();
        (Transactions::new(outlet), network.attach(address(2)))
    }

    /// Lets time pass and says when something was sent, in milliseconds, and what gave up.
    async fn pass(
        element: &mut Transactions<u8>,
        link: &mut Link,
        seconds: u64,
    ) -> (Vec<u128>, Vec<u8>) {
        let start = Instant::now();
        let end = start + Duration::from_secs(seconds);
        let (mut sent, mut ended) = (Vec::new(), Vec::new());
        loop {
            let due = element.deadline().filter(|due| *due < end);
            tokio::select! {
                biased;
                packet = link.recv() => {
                    assert!(packet.is_some());
                    sent.push((Instant::now() - start).as_millis());
                }
                () = tokio::time::sleep_until(due.unwrap_or(end)) => {
                    if due.is_none() {
                        return (sent, ended);
                    }
                    ended.extend(element.poll());
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_repeated_as_the_timers_say() {
        let check = async || {
            let (mut element, mut link) = element();
            element.request(client("MESSAGE"), peer(Udp), Bytes::from_static(b"m"), 7);
            let (sent, ended) = pass(&mut element, &mut link, 40).await;
            let expected = [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500];
            assert_eq!((sent, ended), (expected.to_vec(), vec![7]));
            element.request(client("INVITE"), peer(Udp), Bytes::from_static(b"i"), 8);
            let (sent, ended) = pass(&mut element, &mut link, 40).await;
            assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15500, 31500]);
            assert_eq!(ended, [8]);
            element.request(client("BYE"), peer(Tcp), Bytes::from_static(b"b"), 9);
            assert_eq!(pass(&mut element, &mut link, 40).await, (vec![0], vec![9]));
            assert_eq!(element.repeats().0, 16);
        };
        LocalSet::new().run_until(check()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_the_repeating() {
        let check = async || {
            let (mut element, mut link) = element();
            element.request(client("MESSAGE"), peer(Udp), Bytes::from_static(b"m"), 7);
            assert_eq!(element.response(&client("MESSAGE"), 100), Matched::Pass(7));
            assert_eq!(pass(&mut element, &mut link, 6).await.0, [0, 500, 4500]);
            assert_eq!(element.response(&client("MESSAGE"), 200), Matched::Pass(7));
            assert_eq!(element.response(&client("MESSAGE"), 200), Matched::Again);
            assert!(pass(&mut element, &mut link, 40).await.0.is_empty());
            assert_eq!(element.response(&client("MESSAGE"), 200), Matched::Stray);
        };
        LocalSet::new().run_until(check()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_comes_again_gets_the_same_answer() {
        let check = async || {
            let (mut element, mut link) = element();
            let trying = Manner { trying: Some(Bytes::from_static(b"100")), ..Manner::default() };
            assert!(element.received(server("MESSAGE"), peer(Udp), trying));
            assert!(!element.received(server("MESSAGE"), peer(Udp), Manner::default()));
            assert_eq!(pass(&mut element, &mut link, 5).await.0, [3500]);
            element.respond(&server("MESSAGE"), 200, Bytes::from_static(b"200"));
            element.respond(&server("MESSAGE"), 403, Bytes::from_static(b"403"));
            assert!(!element.received(server("MESSAGE"), peer(Udp), Manner::default()));
            assert_eq!(&link.recv().await.unwrap().octets[..], b"200");
            assert_eq!(&link.recv().await.unwrap().octets[..], b"200");
            pass(&mut element, &mut link, 33).await;
            assert!(!element.serves(&server("MESSAGE")));
            assert_eq!(element.repeats().1, 2);
        };
        LocalSet::new().run_until(check()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_invite_is_repeated_until_the_ack() {
        let check = async || {
            let (mut element, mut link) = element();
            element.received(server("INVITE"), peer(Udp), Manner::default());
            element.respond(&server("INVITE"), 486, Bytes::from_static(b"486"));
            assert_eq!(pass(&mut element, &mut link, 4).await.0, [0, 500, 1500, 3500]);
            element.confirm(&server("INVITE"));
            assert!(pass(&mut element, &mut link, 40).await.0.is_empty());
        };
        LocalSet::new().run_until(check()).await;
    }
}
