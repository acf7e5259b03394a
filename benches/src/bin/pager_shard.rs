//! One passage of a pager-mode MESSAGE through a shard with nothing around it: no socket, no
//! thread, a store in memory.
//!
//! Counted is what stands between the octets of the request and those sent on, and between the
//! octets of the 200 and those sent back: reading, transactions, the decision, the originating
//! procedure. Requests come eight at a time, as a loaded socket gives them.
//!
//! `cargo run --release -p parlance-benches --bin pager_shard [-- RELAYS]`
//!
//! For a counter of instructions:
//! `valgrind --tool=callgrind --toggle-collect='pager_shard::turn' target/release/pager_shard 2000`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parlance_benches::allocations::{self, Counting};
use parlance_isc::{Clock, Lookup, Media, NextHop, ShardInput, Targets, Wire};
use parlance_server::sockets;
use parlance_server::{Assembly, Config, Parts};
use parlance_sip::message::Limits;
use parlance_sip::{ClientKey, ConnectionId, ListenerId, Message, Source, Target, Transport};
use parlance_store::{Binding, Millis, Store};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, yield_now};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Requests that come at a time.
const BATCH: usize = 8;
/// Users, who send in turn.
const USERS: usize = 1_000;

const CONFIGURATION: &str = "[sip]\ndomains = [\"ims.test\"]\n\
    [[sip.listen]]\naddress = \"127.0.0.20:5080\"\nside = \"originating\"\ntransports = [\"tcp\"]\n\
    [[sip.listen]]\naddress = \"127.0.0.20:5081\"\nside = \"terminating\"\ntransports = [\"tcp\"]\n\
    [participating]\nnotice = false\nrate_per_user = 0\n";

/// A network that remembers what was sent, but for the 100s: under a counter of instructions the
/// clock seems to run.
#[derive(Default)]
struct Sent(RefCell<Vec<Bytes>>);

impl Wire for Sent {
    fn transmit(&self, _: &Target, bytes: Bytes, _: Option<ClientKey>) -> bool {
        if !bytes.starts_with(b"SIP/2.0 100 ") {
            self.0.borrow_mut().push(bytes);
        }
        true
    }

    fn lookup(&self, _: &NextHop) -> Lookup {
        Box::pin(std::future::ready(Targets::new()))
    }
}

/// What the shard runs on, and what it hears and says.
struct Bench {
    runtime: Runtime,
    tasks: LocalSet,
    queue: mpsc::Sender<ShardInput>,
    sent: Rc<Sent>,
    /// The names in a certificate that there is not.
    nobody: Arc<[String]>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let relays = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let bench = Bench::new()?;
    let began = clock();
    let (mut allocated, mut spent) = (0, Duration::ZERO);
    let mut counted = |octets: &[Bytes]| {
        let (before, start) = (allocations::count(), clock());
        turn(&bench, octets);
        spent += start.elapsed();
        allocated += allocations::count() - before;
        bench.sent.0.take()
    };
    for first in (0..relays).step_by(BATCH) {
        let requests: Vec<Bytes> = (first..first + BATCH).map(request).collect();
        let forwarded = counted(&requests);
        let answers: Vec<Bytes> = forwarded.iter().map(answer).collect();
        let relayed = counted(&answers);
        assert!(relayed.iter().all(|answer| answer.starts_with(b"SIP/2.0 200 ")), "all are taken");
    }
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    let each = |total: f64| total / relays.next_multiple_of(BATCH) as f64;
    println!("{relays} relays in {:.1} s", began.elapsed().as_secs_f64());
    println!("{:.2} us each", each(spent.as_secs_f64() * 1e6));
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    let allocated = allocated as f64;
    println!("{:.1} allocations each", each(allocated));
    Ok(())
}

/// Has the shard take these messages, until it has sent one for each.
#[inline(never)]
fn turn(bench: &Bench, octets: &[Bytes]) {
    bench.tasks.block_on(&bench.runtime, async {
        for octets in octets {
            let message = Message::parse_datagram(octets.clone(), &Limits::default());
            let received = ShardInput::Received {
                at: clock(),
                source: source(),
                peer_names: Arc::clone(&bench.nobody),
                message,
            };
            assert!(bench.queue.try_send(received).is_ok(), "there is room for all");
        }
        while bench.sent.0.borrow().len() < octets.len() {
            yield_now().await;
        }
    });
}

impl Bench {
    fn new() -> Result<Self, Box<dyn Error>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tasks = LocalSet::new();
        let (queue, received) = mpsc::channel(4 * BATCH);
        let sent = Rc::new(Sent::default());
        let store = Store::memory();
        let clock = Clock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000));
        tasks.block_on(&runtime, async {
            for user in 0..USERS {
                store.registrations.bind(binding(user), Millis(1_790_000_000_000)).await?;
            }
            let (config, _) = Config::parse(CONFIGURATION, std::iter::empty());
            let plans = sockets::plan(&config.sip);
            let addresses: Vec<_> = plans.iter().map(|plan| plan.listener.address).collect();
            let parts = Parts {
                locals: sockets::locals(&plans, &addresses),
                plans,
                media: Media::none(),
                store,
                clock,
                secret: [1; 32],
                holder: 7,
                nonce_seed: [2; 32],
                queues: vec![queue.clone()],
            };
            let wire: Rc<dyn Wire> = Rc::<Sent>::clone(&sent);
            let assembly = Assembly::new(&config, parts)?;
            let shard = assembly.shard(0, wire, Box::new(rand::random::<u64>));
            tokio::task::spawn_local(shard.run(received));
            yield_now().await;
            Ok::<_, Box<dyn Error>>(())
        })?;
        Ok(Self { runtime, tasks, queue, sent, nobody: [].into() })
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn clock() -> Instant {
    Instant::now()
}

fn source() -> Source {
    Source {
        transport: Transport::Tcp,
        remote: ([127, 0, 0, 1], 6060).into(),
        listener: ListenerId(0),
        connection: Some(ConnectionId(1)),
        verified: false,
    }
}

fn identity(number: usize) -> String {
    format!("sip:user{number:07}@ims.test")
}

fn binding(number: usize) -> Binding {
    Binding {
        user: identity(number).as_str().into(),
        public_id: identity(number),
        aliases: None,
        scscf: "sip:127.0.0.1:6060".to_owned(),
        expires: 600_000,
        grace: Duration::from_secs(30),
        contacts: None,
        charging: None,
        orig_ioi: None,
        barred: false,
        call_id: format!("{number}@127.0.0.1"),
        cseq: 10,
    }
}

/// A MESSAGE of 1.1 KB as an S-CSCF sends it over ISC.
fn request(number: usize) -> Bytes {
    let (from, to) = (identity(number % USERS), identity((number + 1) % USERS));
    Bytes::from(format!(
        "MESSAGE {to} SIP/2.0\r\n\
         Route: <sip:im-orig@127.0.0.20:5080;lr;transport=tcp>, \
         <sip:odi@127.0.0.1:6060;lr;transport=tcp;s=2;h=0;d=0;o={number:012x}>\r\n\
         P-Served-User: <{from}>;sescase=orig;regstate=reg\r\n\
         Via: SIP/2.0/TCP 127.0.0.1:6060;branch=z9hG4bKld2a.{number:012x}\r\n\
         Via: SIP/2.0/UDP 127.0.0.11;branch=z9hG4bKdee6.{number:012x}f532af2411e71f5cc9e.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.41:5060;received=127.0.0.41;branch=z9hG4bK-{number};rport\r\n\
         Max-Forwards: 68\r\nFrom: <{from}>;tag=3248{number:012x}\r\nTo: <{to}>\r\n\
         Call-ID: {number:012x}-3248@127.0.0.41\r\nCSeq: 100000001 MESSAGE\r\n\
         Accept-Contact: *;+g.oma.sip-im\r\nUser-Agent: IM-client/OMA1.0 lab\r\n\
         Content-Type: text/plain\r\nContent-Length: 60\r\nP-Asserted-Identity: <{from}>\r\n\
         P-Charging-Vector: icid-value=\"3248-{number:012x}\";icid-generated-at=127.0.0.11\r\n\
         P-Visited-Network-ID: \"visited.ims.test\"\r\n\
         P-Access-Network-Info: IEEE-802.11;i-wlan-node-id=000000000000\r\n\r\n{}",
        "x".repeat(60)
    ))
}

/// The 200 of the next hop: what a UAS copies, and a Contact.
fn answer(request: &Bytes) -> Bytes {
    let text = String::from_utf8_lossy(request);
    let copied = ["Via:", "From:", "Call-ID:", "CSeq:"];
    let mut lines: Vec<&str> = text.split_inclusive("\r\n").collect();
    lines.retain(|line| copied.iter().any(|name| line.starts_with(name)));
    let to = text.split("\r\n").find(|line| line.starts_with("To:")).unwrap_or_default();
    Bytes::from(format!(
        "SIP/2.0 200 OK\r\n{}{to};tag=b0b\r\nContent-Length: 0\r\n\r\n",
        lines.concat()
    ))
}
