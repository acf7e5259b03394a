//! TCP: framing, reuse, keep-alive, back-pressure, and every limit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parlance_net::{ConnectionLimits, NetConfig, RateLimit, TransmitError};
use parlance_sip::Transport;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{A_WHILE, Bench, config, ends, read, request, until};

const OK: Bytes = Bytes::from_static(b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n");

async fn bench(limits: ConnectionLimits) -> Bench {
    let config = config(Transport::Tcp, "127.0.0.1:0");
    Bench::new(NetConfig { connections: limits, ..config }).await
}

async fn connect(bench: &Bench) -> TcpStream {
    let stream = TcpStream::connect(bench.addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

// Covers: CORE-001
#[tokio::test]
async fn messages_are_framed_however_they_are_cut() {
    let mut bench = bench(ConnectionLimits::default()).await;
    let stream: Bytes = [request("one"), request("two"), request("three")].concat().into();
    let mut peer = connect(&bench).await;
    for size in [1, 7, 100, stream.len()] {
        for piece in stream.chunks(size) {
            peer.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        for body in ["one", "two", "three"] {
            assert_eq!(bench.body().await, body, "cut into pieces of {size}");
        }
    }
}

// Covers: CORE-001
#[tokio::test]
async fn answers_take_the_connection_and_so_do_requests_to_its_address() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut bench = Bench::new(config(Transport::Tcp, address)).await;
        let mut peer = connect(&bench).await;
        peer.write_all(&request("x")).await.unwrap();
        let source = bench.received().await.source;
        assert_eq!(source.remote, peer.local_addr().unwrap());
        assert!(source.connection.is_some());
        bench.net.transmit(&source.back(), OK, 1).unwrap();
        assert_eq!(read(&mut peer, OK.len()).await, OK);
        let target = bench.target(peer.local_addr().unwrap());
        bench.net.transmit(&target, request("back"), 2).unwrap();
        assert_eq!(read(&mut peer, request("back").len()).await, request("back"));
        assert_eq!(bench.net.connections(), 1);
    }
}

#[tokio::test]
async fn one_connection_is_opened_for_many_requests() {
    let mut bench = bench(ConnectionLimits::default()).await;
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = bench.target(peer.local_addr().unwrap());
    for token in 0..50 {
        bench.net.transmit(&target, request("same"), token).unwrap();
    }
    let (mut stream, from) = peer.accept().await.unwrap();
    assert_eq!(from.ip(), bench.addr().ip(), "from the listener's address");
    let all = read(&mut stream, 50 * request("same").len()).await;
    assert_eq!(all, request("same").repeat(50));
    assert!(timeout(A_WHILE, peer.accept()).await.is_err(), "no second connection");
    // What the peer sends on it counts as received by the listener it was opened for.
    stream.write_all(&OK).await.unwrap();
    let source = bench.received().await.source;
    assert_eq!((source.remote, source.listener), (target.remote, target.listener));
    // Gone, another one is opened.
    drop(stream);
    until(|| bench.net.connections() == 0).await;
    bench.net.transmit(&target, request("again"), 99).unwrap();
    let (mut stream, _) = peer.accept().await.unwrap();
    assert_eq!(read(&mut stream, request("again").len()).await, request("again"));
}

#[tokio::test]
async fn an_answer_whose_connection_is_gone_opens_one_to_the_remote_address() {
    let limits = ConnectionLimits { linger: Duration::from_millis(20), ..Default::default() };
    let mut bench = bench(limits).await;
    let listening = TcpSocket::new_v4().unwrap();
    listening.set_reuseaddr(true).unwrap();
    listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut peer = connect(&bench).await;
    peer.write_all(&request("x")).await.unwrap();
    let mut back = bench.received().await.source.back();
    drop(peer);
    until(|| bench.net.connections() == 0).await;
    let listening = listening.listen(8).unwrap();
    back.remote = listening.local_addr().unwrap();
    bench.net.transmit(&back, OK, 1).unwrap();
    let (mut stream, _) = listening.accept().await.unwrap();
    assert_eq!(read(&mut stream, OK.len()).await, OK);
}

#[tokio::test]
async fn a_refused_connection_is_reported_with_each_token() {
    let mut bench = bench(ConnectionLimits::default()).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = bench.target(gone);
    for token in [7, 8] {
        bench.net.transmit(&target, request("x"), token).unwrap();
    }
    let refused = TransmitError::Io(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(bench.undeliverable().await, (7, refused));
    assert_eq!(bench.undeliverable().await, (8, refused));
    assert_eq!(bench.net.connections(), 0);
}

#[tokio::test]
async fn connecting_takes_no_longer_than_allowed() {
    let limits = ConnectionLimits { connect_timeout: A_WHILE, ..Default::default() };
    let mut bench = bench(limits).await;
    // A listener whose backlog is full does not answer.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf = deaf.listen(0).unwrap();
    let address = deaf.local_addr().unwrap();
    let _filling = TcpStream::connect(address).await.unwrap();
    let target = bench.target(address);
    bench.net.transmit(&target, request("x"), 5).unwrap();
    assert_eq!(bench.undeliverable().await, (5, TransmitError::TimedOut));
}

// Covers: CORE-060
#[tokio::test]
async fn a_keep_alive_is_answered_between_messages() {
    let mut bench = bench(ConnectionLimits::default()).await;
    let mut peer = connect(&bench).await;
    peer.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut peer, 2).await, b"\r\n");
    peer.write_all(&[&request("x")[..], b"\r\n\r\n"].concat()).await.unwrap();
    let source = bench.received().await.source;
    assert_eq!(read(&mut peer, 2).await, b"\r\n");
    bench.net.transmit(&source.back(), OK, 1).unwrap();
    assert_eq!(read(&mut peer, OK.len()).await, OK);
    bench.nothing().await;
}

// Covers: CORE-060
#[tokio::test]
async fn an_idle_connection_is_closed_but_not_below_the_keep_alive_interval() {
    let limits = ConnectionLimits {
        idle: Duration::from_millis(10),
        keep_alive_interval: Duration::from_millis(500),
        ..Default::default()
    };
    let bench = bench(limits).await;
    let start = Instant::now();
    let mut peer = connect(&bench).await;
    // Keep-alives keep it open.
    for _ in 0..2 {
        sleep(Duration::from_millis(200)).await;
        peer.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut peer, 2).await, b"\r\n");
    }
    let last = start.elapsed();
    assert!(ends(&mut peer).await);
    let idle = start.elapsed() - last;
    assert!(idle >= Duration::from_millis(510), "closed after {idle:?}");
    until(|| bench.net.connections() == 0).await;
}

// Covers: SEC-012
#[tokio::test]
async fn a_message_that_trickles_in_closes_the_connection() {
    let limits = ConnectionLimits {
        message_timeout: Duration::from_millis(150),
        linger: Duration::from_millis(50),
        ..Default::default()
    };
    let mut bench = bench(limits).await;
    let mut peer = connect(&bench).await;
    peer.write_all(&request("whole")).await.unwrap();
    assert_eq!(bench.body().await, "whole");
    let start = Instant::now();
    for octet in request("never").iter().take(100) {
        if peer.write_all(&[*octet]).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(ends(&mut peer).await);
    assert!(start.elapsed() >= Duration::from_millis(150));
    bench.nothing().await;
    assert_eq!(bench.net.connections(), 0);
}

// Covers: SEC-012
#[tokio::test]
async fn connections_are_limited_in_total_and_per_untrusted_source() {
    let limits =
        ConnectionLimits { total_max: 3, per_source_max: 2, ..ConnectionLimits::default() };
    for (trusted, room) in [(false, 2), (true, 3)] {
        let config = NetConfig {
            connections: limits,
            trusted: Arc::new(move |_| trusted),
            ..config(Transport::Tcp, "127.0.0.1:0")
        };
        let bench = Bench::new(config).await;
        let mut open = Vec::new();
        for _ in 0..room {
            open.push(connect(&bench).await);
        }
        until(|| bench.net.connections() == room).await;
        let mut extra = connect(&bench).await;
        assert!(ends(&mut extra).await);
        // One that closes makes room.
        open.pop();
        until(|| bench.net.connections() == room - 1).await;
        let mut next = connect(&bench).await;
        next.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut next, 2).await, b"\r\n");
    }
}

#[tokio::test]
async fn no_room_for_a_connection_is_busy() {
    let bench = bench(ConnectionLimits { total_max: 1, ..Default::default() }).await;
    let _taken = connect(&bench).await;
    until(|| bench.net.connections() == 1).await;
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = bench.target(peer.local_addr().unwrap());
    assert_eq!(bench.net.transmit(&target, request("x"), 1), Err(TransmitError::Busy));
}

#[tokio::test]
async fn a_peer_that_does_not_read_fills_its_queue_and_is_closed() {
    let limits = ConnectionLimits {
        outbound_messages_max: 100,
        write_timeout: Duration::from_millis(500),
        ..Default::default()
    };
    let mut bench = bench(limits).await;
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = bench.target(peer.local_addr().unwrap());
    bench.net.transmit(&target, request("first"), 0).unwrap();
    let (_deaf, _) = peer.accept().await.unwrap();
    // The kernel takes some megabytes before the queue begins to fill.
    let large = request(&"x".repeat(60_000));
    let mut token = 0;
    let refused = loop {
        token += 1;
        match bench.net.transmit(&target, large.clone(), token) {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, TransmitError::Busy);
    // Then nobody waits for it any longer.
    until(|| bench.net.connections() == 0).await;
    let (first, error) = bench.undeliverable().await;
    assert_eq!(error, TransmitError::TimedOut);
    assert!(first < token);
    for lost in first + 1..token {
        assert_eq!(bench.undeliverable().await, (lost, TransmitError::TimedOut));
    }
    bench.nothing().await;
}

#[tokio::test]
async fn a_full_queue_above_stops_reading_and_loses_nothing() {
    let mut bench = bench(ConnectionLimits::default()).await;
    let mut peer = connect(&bench).await;
    bench.inbox.full.store(true, Ordering::Release);
    let many: Vec<u8> = (0..1000).flat_map(|index| request(&index.to_string())).collect();
    let sending = tokio::spawn(async move {
        peer.write_all(&many).await.unwrap();
        peer
    });
    bench.nothing().await;
    bench.inbox.full.store(false, Ordering::Release);
    for index in 0..1000 {
        assert_eq!(bench.body().await, index.to_string());
    }
    sending.await.unwrap();
}

// Covers: SEC-012
#[tokio::test]
async fn an_untrusted_stream_is_slowed_to_its_rate() {
    let config = NetConfig {
        rate: Some(RateLimit { per_second: 50, burst: 5, sources_max: 10 }),
        trusted: Arc::new(|_| false),
        ..config(Transport::Tcp, "127.0.0.1:0")
    };
    let mut bench = Bench::new(config).await;
    let mut peer = connect(&bench).await;
    let start = Instant::now();
    peer.write_all(&request("x").repeat(15)).await.unwrap();
    for _ in 0..15 {
        bench.received().await;
    }
    // Five at once, the connection one of them; eleven at 20 ms.
    assert!(start.elapsed() >= Duration::from_millis(210), "{:?}", start.elapsed());
}

// Covers: SEC-012
#[tokio::test]
async fn an_untrusted_source_cannot_connect_faster_than_its_rate() {
    let config = NetConfig {
        rate: Some(RateLimit { per_second: 1, burst: 2, sources_max: 10 }),
        trusted: Arc::new(|_| false),
        ..config(Transport::Tcp, "127.0.0.1:0")
    };
    let bench = Bench::new(config).await;
    let _open = [connect(&bench).await, connect(&bench).await];
    until(|| bench.net.connections() == 2).await;
    let mut extra = connect(&bench).await;
    assert!(ends(&mut extra).await);
    assert_eq!(bench.net.connections(), 2);
}

#[tokio::test]
async fn what_cannot_be_framed_is_answered_and_then_closed() {
    let mut bench = bench(ConnectionLimits::default()).await;
    let mut peer = connect(&bench).await;
    let stream = b"MESSAGE sip:b@h SIP/2.0\r\nContent-Length: x\r\n\r\nrest";
    peer.write_all(&[&request("good")[..], stream].concat()).await.unwrap();
    assert_eq!(bench.body().await, "good");
    let received = bench.received().await;
    assert!(received.message.is_err());
    let answer = Bytes::from_static(b"SIP/2.0 400 Bad Content-Length\r\n\r\n");
    // Later, when the reader has long stopped.
    sleep(Duration::from_millis(20)).await;
    bench.net.transmit(&received.source.back(), answer.clone(), 1).unwrap();
    assert_eq!(read(&mut peer, answer.len()).await, answer);
    assert!(ends(&mut peer).await);
    bench.nothing().await;
}

#[tokio::test]
async fn a_peer_that_has_finished_sending_still_gets_its_answer() {
    let mut bench = bench(ConnectionLimits::default()).await;
    let mut peer = connect(&bench).await;
    peer.write_all(&request("last")).await.unwrap();
    peer.shutdown().await.unwrap();
    let source = bench.received().await.source;
    sleep(Duration::from_millis(20)).await;
    bench.net.transmit(&source.back(), OK, 1).unwrap();
    assert_eq!(read(&mut peer, OK.len()).await, OK);
    assert!(ends(&mut peer).await);
}

#[tokio::test]
async fn draining_writes_what_was_taken_and_closes() {
    let mut bench = bench(ConnectionLimits::default()).await;
    let mut peer = connect(&bench).await;
    peer.write_all(&request("x")).await.unwrap();
    let source = bench.received().await.source;
    let large = request(&"x".repeat(200_000));
    for token in 0..10 {
        bench.net.transmit(&source.back(), large.clone(), token).unwrap();
    }
    let reading = tokio::spawn(async move {
        let all = read(&mut peer, 10 * large.len()).await;
        (all == large.repeat(10), ends(&mut peer).await)
    });
    bench.net.drain(Duration::from_secs(5)).await;
    assert_eq!(reading.await.unwrap(), (true, true));
    assert_eq!(bench.net.connections(), 0);
    let refused: Result<TcpStream, _> = TcpStream::connect(bench.addr()).await;
    assert!(refused.is_err(), "the listener is closed");
    let late = bench.net.transmit(&bench.target(SocketAddr::from(([127, 0, 0, 1], 9))), OK, 99);
    assert_eq!(late, Err(TransmitError::Busy), "nothing is opened any more");
}
