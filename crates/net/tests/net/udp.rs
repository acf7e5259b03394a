//! UDP: datagrams in and out, what is malformed, what comes too fast, what does not fit.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parlance_net::{Batch, Listener, Net, NetConfig, RateLimit, TransmitError};
use parlance_sip::{ListenerId, Target, Transport};

use crate::support::{Bench, Event, config, request};

// Covers: CORE-001
#[tokio::test]
async fn datagrams_go_both_ways() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut bench = Bench::new(config(Transport::Udp, address)).await;
        let peer = UdpSocket::bind(address).unwrap();
        for body in ["one", "two", "three"] {
            peer.send_to(&request(body), bench.addr()).unwrap();
        }
        let first = bench.received().await;
        assert_eq!(first.source.transport, Transport::Udp);
        assert_eq!(first.source.remote, peer.local_addr().unwrap());
        assert_eq!(first.source.listener, ListenerId(0));
        assert_eq!(first.source.connection, None);
        assert!(!first.source.verified);
        assert_eq!(first.message.unwrap().body(), b"one");
        assert_eq!(bench.body().await, "two");
        assert_eq!(bench.body().await, "three");

        let answer = Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n");
        bench.net.transmit(&first.source.back(), answer.clone(), 1).unwrap();
        let mut buffer = [0; 100];
        let (octets, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..octets], from), (&answer[..], bench.addr()));
        bench.nothing().await;
    }
}

// Covers: CORE-001
#[tokio::test]
async fn listeners_are_told_apart_and_found() {
    let listener = |transport, address: &str| Listener {
        address: address.parse().unwrap(),
        transport,
        tls: None,
    };
    let listeners = vec![
        listener(Transport::Udp, "127.0.0.1:0"),
        listener(Transport::Tcp, "127.0.0.1:0"),
        listener(Transport::Udp, "127.0.0.1:0"),
        listener(Transport::Udp, "[::1]:0"),
    ];
    let mut bench = Bench::new(NetConfig { listeners, ..Default::default() }).await;
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(&request("x"), bench.net.local_addr(ListenerId(2)).unwrap()).unwrap();
    assert_eq!(bench.received().await.source.listener, ListenerId(2));
    let found = |transport, address: &str| {
        bench.net.listener_for(transport, address.parse().unwrap()).map(|id| id.0)
    };
    assert_eq!(found(Transport::Udp, "192.0.2.1"), Some(0));
    assert_eq!(found(Transport::Tcp, "192.0.2.1"), Some(1));
    assert_eq!(found(Transport::Udp, "2001:db8::1"), Some(3));
    assert_eq!(found(Transport::Tls, "192.0.2.1"), None);
    assert_eq!(bench.net.local_addr(ListenerId(4)), None);
}

#[tokio::test]
async fn every_listener_that_cannot_be_bound_is_reported() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = |transport, address| Listener { address, transport, tls: None };
    let listeners = vec![
        listener(Transport::Udp, taken.local_addr().unwrap()),
        listener(Transport::Udp, "127.0.0.1:0".parse().unwrap()),
        listener(Transport::Tls, "127.0.0.1:0".parse().unwrap()),
    ];
    let config = NetConfig { listeners, ..Default::default() };
    let (sender, _receiver) = tokio::sync::mpsc::unbounded_channel();
    let inbox = Arc::new(crate::support::Inbox { events: sender, full: false.into() });
    let error = Net::bind(config, inbox).await.err().expect("two failures");
    let failed: Vec<Transport> = error.failures.iter().map(|one| one.transport).collect();
    assert_eq!(failed, [Transport::Udp, Transport::Tls]);
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()), "{error}");
}

#[tokio::test]
async fn a_malformed_datagram_is_handed_up() {
    let mut bench = Bench::new(config(Transport::Udp, "127.0.0.1:0")).await;
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"MESSAGE sip:b@h SIP/2.0\r\nno colon\r\n\r\n", bench.addr()).unwrap();
    assert!(bench.received().await.message.is_err());
    // Line ends only are no message.
    peer.send_to(b"\r\n\r\n", bench.addr()).unwrap();
    bench.nothing().await;
}

// Covers: SEC-012
#[tokio::test]
async fn an_untrusted_source_is_held_to_its_rate() {
    let rate = Some(RateLimit { per_second: 1, burst: 3, sources_max: 10 });
    for (trusted, passed) in [(false, 3), (true, 10)] {
        let config = NetConfig {
            rate,
            trusted: Arc::new(move |_| trusted),
            ..config(Transport::Udp, "127.0.0.1:0")
        };
        let mut bench = Bench::new(config).await;
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..10 {
            peer.send_to(&request("x"), bench.addr()).unwrap();
        }
        for _ in 0..passed {
            bench.received().await;
        }
        bench.nothing().await;
    }
}

#[tokio::test]
async fn a_full_queue_drops_datagrams_and_goes_on() {
    let mut bench = Bench::new(config(Transport::Udp, "127.0.0.1:0")).await;
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    bench.inbox.full.store(true, Ordering::Release);
    peer.send_to(&request("lost"), bench.addr()).unwrap();
    bench.nothing().await;
    bench.inbox.full.store(false, Ordering::Release);
    peer.send_to(&request("kept"), bench.addr()).unwrap();
    assert_eq!(bench.body().await, "kept");
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    let mut bench = Bench::new(config(Transport::Udp, "127.0.0.1:0")).await;
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = bench.target(peer.local_addr().unwrap());
    let large = Bytes::from(vec![b'x'; 70_000]);
    assert_eq!(bench.net.transmit(&target, large, 1), Err(TransmitError::TooLarge));
    let small = Bytes::from_static(b"x");
    let stray = Target { listener: ListenerId(7), ..target };
    assert_eq!(bench.net.transmit(&stray, small.clone(), 2), Err(TransmitError::NoListener));
    let stray = Target { transport: Transport::Tcp, ..target };
    assert_eq!(bench.net.transmit(&stray, small.clone(), 3), Err(TransmitError::NoListener));
    let other_family = Target { remote: "[::1]:5060".parse().unwrap(), ..target };
    let refused = bench.net.transmit(&other_family, small, 4);
    assert!(matches!(refused, Err(TransmitError::Io(_))), "{refused:?}");
    bench.nothing().await;
}

#[tokio::test]
async fn any_thread_may_transmit() {
    let mut bench = Bench::new(config(Transport::Udp, "127.0.0.1:0")).await;
    let target = bench.target(bench.addr());
    let net = &bench.net;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for token in 0..5 {
                    net.transmit(&target, request("self"), token).unwrap();
                }
            });
        }
    });
    for _ in 0..20 {
        assert!(matches!(bench.event().await, Event::Received(_)));
    }
}

#[tokio::test]
async fn a_batch_leaves_when_it_is_full_or_flushed() {
    let mut bench = Bench::new(config(Transport::Udp, "127.0.0.1:0")).await;
    let target = bench.target(bench.addr());
    let mut batch = Batch::default();
    for token in 0..40 {
        bench.net.transmit_batched(&mut batch, &target, request("self"), token).unwrap();
    }
    for _ in 0..32 {
        bench.received().await;
    }
    bench.nothing().await;
    let other_family = Target { remote: "[::1]:5060".parse().unwrap(), ..target };
    bench.net.transmit_batched(&mut batch, &other_family, request("x"), 40).unwrap();
    bench.net.flush(&mut batch);
    let (token, error) = bench.undeliverable().await;
    assert_eq!(token, 40);
    assert!(matches!(error, TransmitError::Io(_)), "{error:?}");
    for _ in 0..8 {
        bench.received().await;
    }
    bench.net.flush(&mut batch);
    bench.nothing().await;
    let stray = Target { listener: ListenerId(1), ..target };
    let refused = bench.net.transmit_batched(&mut batch, &stray, request("x"), 41);
    assert_eq!(refused, Err(TransmitError::NoListener));
}

#[tokio::test]
async fn each_listener_fills_a_batch_of_its_own() {
    let mut both = config(Transport::Udp, "127.0.0.1:0");
    both.listeners.extend(both.listeners.clone());
    let mut bench = Bench::new(both).await;
    let first = bench.target(bench.addr());
    let second = Target { listener: ListenerId(1), ..first };
    let mut batch = Batch::default();
    for token in 0..31 {
        for target in [&first, &second] {
            bench.net.transmit_batched(&mut batch, target, request("self"), token).unwrap();
        }
    }
    bench.nothing().await;
    bench.net.flush(&mut batch);
    for _ in 0..62 {
        bench.received().await;
    }
}
