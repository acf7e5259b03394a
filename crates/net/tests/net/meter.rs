//! What is counted, under its name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parlance_net::{NetConfig, RateLimit, TransmitError, describe_metrics};
use parlance_sip::Transport;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Bench, config, request, until};

/// Keeps the value of each metric, and which are described.
#[derive(Default)]
struct Memory {
    values: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    described: Mutex<BTreeSet<String>>,
}

impl Memory {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<&str> = key.labels().map(|label| label.value()).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Arc::clone(self.values.lock().unwrap().entry(name).or_default())
    }

    fn value(&self, name: &str) -> u64 {
        let values = self.values.lock().unwrap();
        values.get(name).unwrap_or_else(|| panic!("no {name}")).load(Ordering::Relaxed)
    }

    fn describe(&self, key: KeyName, description: SharedString) {
        assert!(!description.is_empty());
        self.described.lock().unwrap().insert(key.as_str().to_owned());
    }
}

impl Recorder for Memory {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(key, description);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(key, description);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(key, description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

// Covers: SEC-012
#[tokio::test]
async fn what_happens_to_datagrams_is_counted() {
    let memory = Memory::default();
    let _recorder = metrics::set_default_local_recorder(&memory);
    let config = NetConfig {
        rate: Some(RateLimit { per_second: 1, burst: 3, sources_max: 10 }),
        trusted: Arc::new(|_| false),
        ..config(Transport::Udp, "127.0.0.1:0")
    };
    let mut bench = Bench::new(config).await;
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(&request("x"), bench.addr()).unwrap();
    let source = bench.received().await.source;
    peer.send_to(b"nonsense", bench.addr()).unwrap();
    bench.received().await;
    bench.inbox.full.store(true, Ordering::Release);
    for _ in 0..3 {
        peer.send_to(&request("x"), bench.addr()).unwrap();
    }
    bench.nothing().await;
    bench.net.transmit(&source.back(), Bytes::from_static(b"answer"), 1).unwrap();
    let large = Bytes::from(vec![0; 70_000]);
    assert_eq!(bench.net.transmit(&source.back(), large, 2), Err(TransmitError::TooLarge));

    #[rustfmt::skip]
    let table = [
        ("parlance_sip_messages_received_total udp",       3),
        ("parlance_sip_octets_received_total udp",         2 * request("x").len() as u64 + 8),
        ("parlance_sip_messages_malformed_total udp",      1),
        ("parlance_sip_messages_dropped_total queue_full", 1),
        ("parlance_sip_messages_dropped_total rate_limit", 2),
        ("parlance_sip_messages_transmitted_total udp",    1),
        ("parlance_sip_octets_transmitted_total udp",      6),
        ("parlance_sip_transmit_failures_total udp",       1),
        ("parlance_sip_messages_received_total tcp",       0),
    ];
    for (name, count) in table {
        assert_eq!(memory.value(name), count, "{name}");
    }

    describe_metrics();
    let described = memory.described.lock().unwrap();
    for name in memory.values.lock().unwrap().keys() {
        let name = name.split(' ').next().unwrap();
        assert!(described.contains(name), "{name} is not described");
    }
}

#[tokio::test]
async fn open_connections_are_gauged() {
    let memory = Memory::default();
    let _recorder = metrics::set_default_local_recorder(&memory);
    let mut bench = Bench::new(config(Transport::Tcp, "127.0.0.1:0")).await;
    let open = || f64::from_bits(memory.value("parlance_sip_connections tcp"));
    let mut peer = TcpStream::connect(bench.addr()).await.unwrap();
    until(|| open() == 1.0).await;
    peer.write_all(b"MESSAGE nonsense\r\n\r\n").await.unwrap();
    let source = bench.received().await.source;
    bench.net.transmit(&source.back(), Bytes::from_static(b"400"), 1).unwrap();
    drop(peer);
    until(|| open() == 0.0).await;
    assert_eq!(memory.value("parlance_sip_connections_closed_total framing"), 1);
    assert_eq!(memory.value("parlance_sip_messages_transmitted_total tcp"), 1);
}
