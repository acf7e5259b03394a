//! Clients of one relay on several cores.

use std::sync::Arc;

use parlance_msrp::relay::{
    Event as RelayEvent, RelayAccount, RelayClient, RelayClientOutput, RelayConfig, UserVerdict,
};
use parlance_msrp::{Event, Framer, Limits, LocalAddress, Piece, Scheme};
use parlance_net::msrp::{AtCore, Msrp};
use parlance_sip::digest::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, address, connect, response, start};

const PASSWORD: &str = "correct horse";

/// A client with a URI of the relay at its core.
struct Client {
    stream: TcpStream,
    /// Its own URI, and the one that it got.
    own: String,
    granted: String,
}

fn authorize(at: &mut AtCore<'_>, event: Event) {
    if let Event::Relay(RelayEvent::User { request, .. }) = event {
        let user = UserVerdict { secret: Secret::Password(PASSWORD), may_relay: true };
        at.node.authorize(at.now, request, Some(user));
    }
}

/// A relay on two cores, between which few octets may be under way.
async fn relay() -> Msrp {
    let msrp = start(|config| {
        config.others = Arc::new(authorize);
        config.limits.shared_octets_max = 4096;
    });
    let port = address(&msrp).port();
    for core in [0, 1] {
        let host = "127.0.0.1".into();
        let local = LocalAddress { scheme: Scheme::Msrp, host, port, transport: "tcp" };
        let config =
            RelayConfig { address: Some(local), auth_needs_tls: false, ..RelayConfig::default() };
        msrp.run(core, move |at| at.node.set_relay(at.now, config)).await.unwrap();
    }
    msrp
}

/// A client that the core accepts, since the other one is busy.
async fn client(msrp: &Msrp, core: u8, name: &str) -> Client {
    let own = format!("msrp://127.0.0.1:9/{name};tcp");
    let mut relay = RelayClient::new(RelayAccount {
        relays: vec![format!("msrp://{};tcp", address(msrp)).parse().unwrap()],
        own: own.parse().unwrap(),
        username: name.to_owned(),
        password: PASSWORD.to_owned(),
        expires_secs: None,
    });
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (stop, stopped) = std::sync::mpsc::channel();
    let busy = move |_: &mut AtCore<'_>| {
        stop.send(()).unwrap();
        wait.recv().unwrap_or_default();
    };
    msrp.tell(1 - core, busy).unwrap();
    stopped.recv().unwrap();
    let mut stream = connect(msrp).await;
    let now = tokio::time::Instant::now().into_std();
    let mut bits = 0_u64;
    let mut entropy = || {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bits
    };
    relay.start(now, &mut entropy);
    while let Some(RelayClientOutput::Send(octets)) = relay.poll_output() {
        let id = String::from_utf8(octets.clone()).unwrap();
        stream.write_all(&octets).await.unwrap();
        let answer = response(&mut stream, id.split(' ').nth(1).unwrap()).await;
        let mut framer = Framer::new(Limits::default());
        let Some(Piece::Head { head, .. }) = framer.next(answer.as_bytes(), &mut 0) else {
            panic!("{answer}");
        };
        relay.handle_response(now, &head, &mut entropy);
    }
    drop(go);
    let granted = relay.own_path(now)[0].to_string();
    assert!(granted.contains(&format!("/{core}0")), "{granted} is of core {core}");
    Client { stream, own, granted }
}

/// A SEND from one client to another, over the URIs of both.
fn send(from: &Client, to: &Client, more: &str, body: &str) -> Vec<u8> {
    let path = format!("{} {} {}", from.granted, to.granted, to.own);
    format!(
        "MSRP aaaa1234 SEND\r\nTo-Path: {path}\r\nFrom-Path: {}\r\nMessage-ID: m1\r\n{more}\
         Content-Type: text/plain\r\n\r\n{body}\r\n-------aaaa1234$\r\n",
        from.own
    )
    .into_bytes()
}

/// What comes, up to `end`.
async fn until(client: &mut Client, end: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !ends(&read, end) {
            let count = client.stream.read_buf(&mut read).await.unwrap();
            assert!(count > 0, "ended after {:?}", String::from_utf8_lossy(&read));
        }
    };
    timeout(PATIENCE, reading).await.expect("it comes");
    String::from_utf8(read).unwrap()
}

/// Whether the last of what was `read` has the `end`.
fn ends(read: &[u8], end: &str) -> bool {
    let tail = read.len().saturating_sub(100_000);
    String::from_utf8_lossy(&read[tail..]).contains(end)
}

// Covers: MSRP-044, MSRP-045
#[tokio::test]
async fn clients_on_two_cores_reach_each_other_inside() {
    let msrp = relay().await;
    let mut from = client(&msrp, 0, "alice").await;
    let mut to = client(&msrp, 1, "bob").await;
    for _ in 0..4 {
        from.stream.write_all(&send(&from, &to, "", "hello")).await.unwrap();
        let read = until(&mut to, "hello\r\n-------").await;
        let paths = format!(
            "To-Path: {}\r\nFrom-Path: {} {} {}\r\n",
            to.own, to.granted, from.granted, from.own
        );
        assert!(read.contains(&paths), "{read}");
        // A failure behind the relay is reported the whole way back.
        let id = read.rsplit("MSRP ").next().unwrap().split(' ').next().unwrap();
        let answer = format!(
            "MSRP {id} 413 Stop\r\nTo-Path: {}\r\nFrom-Path: {}\r\n-------{id}$\r\n",
            to.granted, to.own
        );
        to.stream.write_all(answer.as_bytes()).await.unwrap();
        let read = until(&mut from, "Status: 000 413\r\n").await;
        let paths =
            format!("To-Path: {}\r\nFrom-Path: {} {}\r\n", from.own, from.granted, to.granted);
        assert!(read.contains("MSRP aaaa1234 200 OK\r\n") && read.contains(&paths), "{read}");
        // Far more than may be under way between cores.
        let body = format!("{}the end", "x".repeat(1_000_000));
        let sent = send(&from, &to, "Failure-Report: no\r\n", &body);
        let writing = async { from.stream.write_all(&sent).await.unwrap() };
        let ((), read) = tokio::join!(writing, until(&mut to, "the end\r\n-------"));
        assert!(read.len() > body.len());
        std::mem::swap(&mut from, &mut to);
    }
    assert_eq!(msrp.connections(), 2, "it does not connect to itself");
}
