//! Cores on ports that the system chooses, and peers that talk to them.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use parlance_net::msrp::Msrp;
use parlance_net::{MsrpConfig, MsrpLimits, MsrpListener, Resolver, ResolverConfig};
use parlance_sip::Transport;
use parlance_sip::locate::Policy;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The cores with one TCP listener on loopback, and what `change` makes of that.
pub(crate) fn start(change: impl FnOnce(&mut MsrpConfig)) -> Msrp {
    let mut config = MsrpConfig { listeners: vec![listener()], cores: 2, ..MsrpConfig::default() };
    change(&mut config);
    Msrp::start(config, resolver()).unwrap()
}

/// The cores with other limits.
pub(crate) fn limited(change: impl FnOnce(&mut MsrpLimits)) -> Msrp {
    start(|config| change(&mut config.limits))
}

pub(crate) fn listener() -> MsrpListener {
    MsrpListener { address: "127.0.0.1:0".parse().unwrap(), tls: None, websocket: false }
}

pub(crate) fn resolver() -> Resolver {
    let policy = Policy { transports: vec![Transport::Tcp], ipv4: true, ipv6: false };
    let mut config = ResolverConfig::new(policy);
    config.servers = vec!["127.0.0.1:9".parse().unwrap()];
    config.hosts.insert("im.test".into(), vec!["127.0.0.1".parse().unwrap()]);
    let two = ["127.0.0.2", "127.0.0.1"].map(|address| address.parse().unwrap());
    config.hosts.insert("two.test".into(), two.to_vec());
    Resolver::new(config).unwrap()
}

pub(crate) fn address(msrp: &Msrp) -> SocketAddr {
    msrp.local_addr(0).unwrap()
}

pub(crate) async fn connect(msrp: &Msrp) -> TcpStream {
    TcpStream::connect(address(msrp)).await.unwrap()
}

/// A session-id that has the form of those of `core`, and belongs to nobody.
pub(crate) fn session_of(core: u8) -> String {
    format!("{}0{}", char::from(b'0' + core), "a".repeat(26))
}

/// A SEND for a session; nobody has it, so it is answered 481.
pub(crate) fn send(id: &str, session: &str, body: usize) -> Vec<u8> {
    let body = "x".repeat(body);
    format!(
        "MSRP {id} SEND\r\nTo-Path: msrp://127.0.0.1:2855/{session};tcp\r\n\
         From-Path: msrp://127.0.0.1:9/peer;tcp\r\nMessage-ID: {id}\r\n\
         Byte-Range: 1-{length}/{length}\r\nContent-Type: text/plain\r\n\r\n{body}\r\n-------{id}$\r\n",
        length = body.len()
    )
    .into_bytes()
}

/// What comes next, up to the end of the response to `id`.
pub(crate) async fn response<S: AsyncRead + Unpin>(stream: &mut S, id: &str) -> String {
    let end = format!("-------{id}$\r\n");
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains(&end) {
            let mut octets = [0; 4096];
            let count = stream.read(&mut octets).await.unwrap();
            assert!(count > 0, "ended after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&octets[..count]);
        }
    };
    timeout(PATIENCE, reading).await.expect("the response comes");
    String::from_utf8(read).unwrap()
}

/// Asks something, and sees that it is answered.
pub(crate) async fn ask(stream: &mut TcpStream, id: &str, session: &str) {
    stream.write_all(&send(id, session, 10)).await.unwrap();
    let answer = response(stream, id).await;
    assert!(answer.starts_with(&format!("MSRP {id} 481")), "{answer}");
}

/// How long until the other end closes.
pub(crate) async fn until_closed<S: AsyncRead + Unpin>(stream: &mut S) -> Duration {
    let began = Instant::now();
    let reading = async {
        let mut octets = vec![0; 65_536];
        while !matches!(stream.read(&mut octets).await, Ok(0) | Err(_)) {}
    };
    timeout(PATIENCE, reading).await.expect("it is closed");
    began.elapsed()
}

/// Waits until there are as many connections.
pub(crate) async fn settle(msrp: &Msrp, connections: usize) {
    let began = Instant::now();
    while msrp.connections() != connections {
        assert!(began.elapsed() < PATIENCE, "{} connections", msrp.connections());
        sleep(Duration::from_millis(5)).await;
    }
}

/// How many connections the node of a core has.
pub(crate) async fn at(msrp: &Msrp, core: u8) -> usize {
    msrp.run(core, |at| at.node.load().0).await.unwrap()
}

/// Gives others a turn.
pub(crate) async fn turn() {
    let mut given = false;
    poll_fn(|cx| {
        if given {
            return std::task::Poll::Ready(());
        }
        given = true;
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
