//! What one registration, one transaction and one stored message weigh, counted by the allocator.
//!
//! `cargo run --release -p parlance-benches --bin memory`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "octets stay far below 2^53")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parlance_benches::allocations::{Counting, live};
use parlance_sip::endpoint::{Input, Output};
use parlance_sip::message::Limits;
use parlance_sip::{Edits, Endpoint, EndpointConfig, ListenerId, Message, Request};
use parlance_sip::{ResponseBuilder, ServerKey, Source, Transport};
use parlance_store::{
    Binding, Contact, Embedded, EmbeddedConfig, Inboxes, Millis, NewItem, Quota, Registrations,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many of each.
const COUNT: u32 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{COUNT} of each; octets each\n");
    println!("{:50} {:>8} {:>8}", "", "memory", "disk");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("registrations");
    show("stored registration, in the cache and on disk", runtime.block_on(registrations(&path))?);
    let path = directory.path().join("messages");
    show("stored message of 1,024 octets, with page cache", runtime.block_on(messages(&path))?);
    transactions();
    Ok(())
}

fn show(name: &str, (memory, disk): (f64, f64)) {
    println!("{name:50} {memory:>8.0} {disk:>8.0}");
}

fn each(octets: i64) -> f64 {
    octets as f64 / f64::from(COUNT)
}

fn disk(path: &Path) -> i64 {
    std::fs::metadata(path).map_or(0, |file| i64::try_from(file.len()).unwrap_or(i64::MAX))
}

async fn registrations(path: &Path) -> Result<(f64, f64), Box<dyn Error>> {
    let store = Embedded::open(EmbeddedConfig::new(path))?;
    let (memory, file) = (live(), disk(path));
    for number in 0..COUNT {
        let user = format!("sip:user{number:07}@ims.test");
        let binding = Binding {
            user: user.as_str().into(),
            public_id: user.clone(),
            aliases: Some(vec![user, format!("tel:+1555{number:07}")]),
            scscf: "sip:scscf1.ims.test:6060".to_owned(),
            expires: 600_000,
            grace: Duration::from_secs(30),
            contacts: Some(vec![Contact {
                uri: format!("sip:user{number:07}@192.0.2.10:5060"),
                instance: Some("urn:uuid:00000000-0000-4000-8000-000000000041".to_owned()),
                tags: vec!["+g.oma.sip-im".to_owned()],
                has_im_tag: true,
            }]),
            charging: None,
            orig_ioi: Some("ims.test".to_owned()),
            barred: false,
            call_id: format!("{number}@scscf1.ims.test"),
            cseq: 10,
        };
        store.bind(binding, Millis(u64::from(number))).await?;
    }
    Ok((each(live() - memory), each(disk(path) - file)))
}

async fn messages(path: &Path) -> Result<(f64, f64), Box<dyn Error>> {
    let store = Embedded::open(EmbeddedConfig::new(path))?;
    let (memory, file) = (live(), disk(path));
    let quota = Quota { items_max: 1_000, octets_max: 10_000_000 };
    let payload = Bytes::from(vec![b'x'; 1_024]);
    let mut accepting = tokio::task::JoinSet::new();
    let store = std::sync::Arc::new(store);
    for number in 0..COUNT {
        let item = NewItem {
            recipient: format!("sip:user{:05}@ims.test", number % 10_000).as_str().into(),
            originator: "sip:alice@ims.test".to_owned(),
            dedup: vec![u128::from(number).to_be_bytes()],
            received: Millis(u64::from(number)),
            expires: Millis(604_800_000),
            due: None,
            wants_negative_delivery: false,
            private: false,
            payload: payload.clone(),
        };
        let store = std::sync::Arc::clone(&store);
        accepting.spawn(async move { store.accept(item, quota, Millis(0)).await.is_ok() });
        if accepting.len() >= 1_000 {
            accepting.join_next().await;
        }
    }
    while accepting.join_next().await.is_some() {}
    Ok((each(live() - memory), each(disk(path) - file)))
}

/// An endpoint with room for all, and a time for it.
#[expect(clippy::disallowed_methods, reason = "an origin for the endpoint's time")]
fn endpoint() -> (Endpoint, Instant) {
    let config = EndpointConfig {
        sent_by: vec!["127.0.0.20:5080".to_owned()],
        server_transactions_max: COUNT as usize,
        unanswered_max: COUNT as usize,
        client_transactions_max: COUNT as usize,
        ..EndpointConfig::default()
    };
    let mut random = 0_u64;
    let entropy = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random
    };
    (Endpoint::new(config, Box::new(entropy)), Instant::now())
}

/// Opens all server transactions and hands each to `work`. What is reserved for them at the start
/// belongs to what they weigh.
fn weigh(mut work: impl FnMut(&mut Endpoint, Instant, ServerKey, &Request)) -> f64 {
    let before = live();
    let (mut endpoint, now) = endpoint();
    for message in (0..COUNT).filter_map(message) {
        let source = source();
        endpoint.handle_input(now, Input::Message { source, message });
        while let Some(output) = endpoint.poll_output() {
            if let Output::Request { server, request, .. } = output {
                work(&mut endpoint, now, server, &request);
            }
        }
    }
    let (servers, _, clients) = endpoint.load();
    assert_eq!(servers + clients, if clients > 0 { 2 } else { 1 } * COUNT as usize);
    each(live() - before)
}

fn transactions() {
    let pending = weigh(|endpoint, now, _, request| {
        let sent = endpoint.request(now, request, &mut Edits::new(), source().back());
        assert!(sent.is_ok(), "there is room for all");
    });
    show("pending relay: server, client, the message twice", (pending, 0.0));
    let completed = weigh(|endpoint, now, server, request| {
        let response = ResponseBuilder::new(request, 200, "0123456789abcdef").build();
        endpoint.respond(now, server, 200, response);
    });
    show("server transaction waiting for Timer J", (completed, 0.0));
}

fn source() -> Source {
    Source {
        transport: Transport::Udp,
        remote: ([127, 0, 0, 1], 6060).into(),
        listener: ListenerId(0),
        connection: None,
        verified: false,
    }
}

/// A MESSAGE in octets of its own, as a receive slab holds it.
fn message(number: u32) -> Option<Message> {
    let head = format!(
        "MESSAGE sip:bob@ims.test SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:6060;branch=z9hG4bK{number:08x}\r\n\
         Route: <sip:im-orig@127.0.0.20:5080;lr>, <sip:mark@127.0.0.1:6060;lr;s=2>\r\n\
         Max-Forwards: 68\r\nFrom: <sip:alice@ims.test>;tag=1\r\nTo: <sip:bob@ims.test>\r\n\
         Call-ID: {number}\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n\
         Content-Length: 700\r\n\r\n{}",
        "x".repeat(700)
    );
    Message::parse_datagram(Bytes::from(head), &Limits::default()).ok()
}
