//! What passes a listener is counted, under its name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::support::{PATIENCE, address, ask, connect, response, session_of, start, until_closed};
use crate::tls::{Authority, answered, client, end, expect};

/// Keeps the value of each metric.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Memory {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<&str> = key.labels().map(|label| label.value()).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Arc::clone(self.0.lock().unwrap().entry(name).or_default())
    }

    fn value(&self, name: &str) -> u64 {
        let values = self.0.lock().unwrap();
        values.get(name).unwrap_or_else(|| panic!("no {name}")).load(Ordering::Relaxed)
    }
}

impl Recorder for Memory {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

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

#[tokio::test]
async fn requests_and_answers_are_counted_by_listener() {
    let memory = Memory::default();
    let _recorder = metrics::set_default_local_recorder(&memory);
    let msrp = start(|_| ());
    let mut stream = connect(&msrp).await;
    let session = session_of(1);
    let to = format!("To-Path: msrp://127.0.0.1:2855/{session};tcp\r\n");
    let from = "From-Path: msrp://127.0.0.1:9/peer;tcp\r\n";
    for (id, method) in [("rrrr1234", "REPORT"), ("oooo1234", "PING")] {
        let request = format!("MSRP {id} {method}\r\n{to}{from}Message-ID: 1\r\n-------{id}$\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    response(&mut stream, "oooo1234").await;
    ask(&mut stream, "aaaa1234", &session).await;
    // Another core has this one, and not the connection.
    ask(&mut stream, "bbbb1234", &session_of(0)).await;
    let listener = "msrp 127.0.0.1:0";
    let table = [
        (format!("parlance_msrp_requests_total {listener} received send"), 2),
        (format!("parlance_msrp_requests_total {listener} received report"), 1),
        (format!("parlance_msrp_requests_total {listener} received other"), 1),
        (format!("parlance_msrp_responses_total {listener} 481"), 3),
        (format!("parlance_msrp_responses_total {listener} 200"), 0),
        (format!("parlance_msrp_requests_unanswered_total {listener}"), 0),
        (format!("parlance_msrp_octets_queued {listener}"), 0),
    ];
    let counted = || table.iter().all(|(name, count)| memory.value(name) == *count);
    let began = Instant::now();
    while !counted() && began.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20)).await;
    }
    for (name, count) in &table {
        assert_eq!(memory.value(name), *count, "{name}");
    }
}

// Covers: MSRP-016
#[tokio::test]
async fn who_shows_another_certificate_than_its_sdp_names_is_counted() {
    let memory = Memory::default();
    let _recorder = metrics::set_default_local_recorder(&memory);
    let authority = Authority::new();
    let (msrp, fingerprint) = authority.start("passive", "im.test");
    let (mine, peer) = (end(&msrp, 1, true, 16).await, "msrps://127.0.0.1:9/client;tcp");
    expect(&msrp, 1, &mine, peer, vec![fingerprint]).await;
    let mut stream = client(&authority, address(&msrp), None).await;
    assert_eq!(answered(&mut stream, &mine.uri, peer).await, "403");
    until_closed(&mut stream).await;
    assert_eq!(memory.value("parlance_msrp_connections_closed_total certificate"), 1);
}
