//! A `Net` under test, and what it delivered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parlance_net::{Deliver, Listener, Net, NetConfig, Received, Refused, TransmitError};
use parlance_sip::{ListenerId, Target, Transport};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it is watched that something does not happen.
pub(crate) const A_WHILE: Duration = Duration::from_millis(60);

#[derive(Debug)]
pub(crate) enum Event {
    Received(Box<Received>),
    Undeliverable(u64, Target, TransmitError),
}

/// Passes everything on to the test, and refuses messages on request.
pub(crate) struct Inbox {
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) full: AtomicBool,
}

impl Deliver for Inbox {
    fn deliver(&self, received: Received) -> Result<(), Refused> {
        if self.full.load(Ordering::Acquire) {
            return Err(Refused(Box::new(received)));
        }
        self.events.send(Event::Received(Box::new(received))).unwrap();
        Ok(())
    }

    fn undeliverable(&self, token: u64, target: Target, error: TransmitError) {
        let _ = self.events.send(Event::Undeliverable(token, target, error));
    }
}

/// A `Net` and its inbox.
pub(crate) struct Bench {
    pub(crate) net: Net,
    pub(crate) inbox: Arc<Inbox>,
    events: UnboundedReceiver<Event>,
}

impl Bench {
    pub(crate) async fn new(config: NetConfig) -> Self {
        let (sender, events) = unbounded_channel();
        let inbox = Arc::new(Inbox { events: sender, full: AtomicBool::new(false) });
        let net = Net::bind(config, inbox.clone()).await.unwrap();
        Self { net, inbox, events }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.net.local_addr(ListenerId(0)).unwrap()
    }

    pub(crate) async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    /// The next message received, which must be the next event.
    pub(crate) async fn received(&mut self) -> Received {
        match self.event().await {
            Event::Received(received) => *received,
            other => panic!("not a message: {other:?}"),
        }
    }

    /// The body of the next message, which must be well-formed.
    pub(crate) async fn body(&mut self) -> String {
        let received = self.received().await;
        String::from_utf8(received.message.unwrap().body().to_vec()).unwrap()
    }

    /// The token and error of the next event, which must be a failure.
    pub(crate) async fn undeliverable(&mut self) -> (u64, TransmitError) {
        match self.event().await {
            Event::Undeliverable(token, target, error) => {
                assert_eq!(target.listener, ListenerId(0));
                (token, error)
            }
            other => panic!("not a failure: {other:?}"),
        }
    }

    pub(crate) async fn nothing(&mut self) {
        if let Ok(event) = timeout(A_WHILE, self.events.recv()).await {
            panic!("unexpected: {event:?}");
        }
    }

    pub(crate) fn target(&self, remote: SocketAddr) -> Target {
        let listener = ListenerId(0);
        let transport = match self.net.listener_for(Transport::Udp, remote.ip()) {
            Some(ListenerId(0)) => Transport::Udp,
            _ if self.net.listener_for(Transport::Tls, remote.ip()).is_some() => Transport::Tls,
            _ => Transport::Tcp,
        };
        Target { transport, remote, listener, connection: None }
    }
}

/// One listener on a loopback address.
pub(crate) fn config(transport: Transport, address: &str) -> NetConfig {
    let address = address.parse().unwrap();
    NetConfig { listeners: vec![Listener { address, transport, tls: None }], ..Default::default() }
}

/// A request of which `body` is the body.
pub(crate) fn request(body: &str) -> Bytes {
    let head = "MESSAGE sip:bob@ims.test SIP/2.0\r\n\
        Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKnet\r\n\
        From: <sip:alice@ims.test>;tag=1\r\nTo: <sip:bob@ims.test>\r\n\
        Call-ID: net@ims.test\r\nCSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\n";
    Bytes::from(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// Reads exactly `octets` octets in time.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin), octets: usize) -> Vec<u8> {
    let mut bytes = vec![0; octets];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("octets in time").unwrap();
    bytes
}

/// Whether the stream ends (properly or by a reset) in time, after whatever it still carries.
pub(crate) async fn ends(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

/// Waits until `condition` holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("the condition holds in time");
}
