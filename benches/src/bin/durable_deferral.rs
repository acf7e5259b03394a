//! Accepting messages durably with a million of them waiting, beside a raw log and a bare redb
//! database with the same rows, all with 64 producers and the same grouping; then the lookups of
//! the relaying path, their memory, and the start after a crash.
//!
//! `cargo run --release -p parlance-benches --bin durable_deferral [items [seconds [directory]]]`
//!
//! With a directory, what was filled is kept there for the next run, and the lookups are left out.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs::File;
use std::future::Future;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use parlance_store::{
    Accepted, Binding, Contact, Embedded, EmbeddedConfig, Inboxes, Millis, NewItem, Profiles,
    Quota, Registrations, SealKey, UserId,
};
use redb::{Database, ReadableTable, TableDefinition};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

const PRODUCERS: u64 = 64;
const RECIPIENTS: u64 = 100_000;
const PAYLOAD: usize = 1024;
/// Producers while the store is filled.
const FILLERS: u64 = 8_000;
const USERS: u64 = 100_000;

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Spreads numbers over recipients and keys (the finaliser of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn recipient(number: u64) -> String {
    format!("sip:user{:06}@ims.test", mix(number) % RECIPIENTS)
}

fn key(number: u64, which: u64) -> [u8; 16] {
    let both = u128::from(mix(number * 2 + which)) << 64 | u128::from(mix(!number));
    both.to_be_bytes()
}

fn payload(number: u64) -> Vec<u8> {
    let words = (0..PAYLOAD as u64 / 8).flat_map(|word| mix(number ^ word << 40).to_be_bytes());
    words.collect()
}

fn message(number: u64) -> NewItem {
    NewItem {
        recipient: UserId::from(recipient(number)),
        originator: "sip:somebody.else@ims.test".into(),
        dedup: vec![key(number, 0), key(number, 1)],
        received: Millis(number),
        expires: Millis(604_800_000 + number),
        due: None,
        wants_negative_delivery: false,
        private: false,
        payload: Bytes::from(payload(number)),
    }
}

type Done<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Something that keeps messages.
trait Side {
    /// Keeps message `number`; ready when it is on the disk.
    fn keep(&self, number: u64) -> Done<'_>;
}

struct Ours(Embedded);

impl Side for Ours {
    fn keep(&self, number: u64) -> Done<'_> {
        Box::pin(async move {
            let quota = Quota { items_max: 100_000, octets_max: 1 << 40 };
            let accepted = self.0.accept(message(number), quota, Millis(number)).await;
            assert!(matches!(accepted, Ok(Accepted::Stored(_))), "{accepted:?}");
        })
    }
}

/// A side without our store: numbers go to a thread that writes them in groups.
struct Grouped(mpsc::Sender<(u64, oneshot::Sender<()>)>);

impl Grouped {
    fn start(mut write: impl FnMut(&[u64]) + Send + 'static) -> Grouped {
        let (sender, mut receiver) = mpsc::channel::<(u64, oneshot::Sender<()>)>(8192);
        tokio::task::spawn_blocking(move || {
            while let Some((number, reply)) = receiver.blocking_recv() {
                let (mut numbers, mut replies) = (vec![number], vec![reply]);
                while let Ok((number, reply)) = receiver.try_recv() {
                    numbers.push(number);
                    replies.push(reply);
                }
                write(&numbers);
                for reply in replies {
                    // The producer may have ended.
                    let _ = reply.send(());
                }
            }
        });
        Grouped(sender)
    }
}

impl Side for Grouped {
    fn keep(&self, number: u64) -> Done<'_> {
        Box::pin(async move {
            let (reply, written) = oneshot::channel();
            self.0.send((number, reply)).await.expect("the writer runs");
            written.await.expect("the writer answers");
        })
    }
}

fn raw_log(directory: &Path) -> Grouped {
    let mut log = File::create(directory.join("log")).expect("the directory is writable");
    Grouped::start(move |numbers| {
        let mut octets = Vec::with_capacity(numbers.len() * (PAYLOAD + 64));
        for number in numbers {
            octets.extend_from_slice(recipient(*number).as_bytes());
            octets.extend_from_slice(&payload(*number));
        }
        log.write_all(&octets).expect("there is room");
        log.sync_data().expect("the disk works");
    })
}

const INBOX: TableDefinition<&[u8], &[u8]> = TableDefinition::new("inbox");
const BODIES: TableDefinition<u64, &[u8]> = TableDefinition::new("bodies");
const AGENDA: TableDefinition<&[u8], ()> = TableDefinition::new("agenda");

/// The rows of one acceptance, of the sizes ours have, without what makes them mean anything.
fn bare_rows(database: &Database, numbers: &[u64]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut inbox = transaction.open_table(INBOX)?;
        let mut bodies = transaction.open_table(BODIES)?;
        let mut agenda = transaction.open_table(AGENDA)?;
        for number in numbers {
            let user = recipient(*number);
            let of = |kind: u8, rest: &[u8]| [user.as_bytes(), &[0, kind], rest].concat();
            let state = of(0, &[]);
            black_box(inbox.get(state.as_slice())?.map(|row| row.value().len()));
            for which in 0..2 {
                let key = of(1, &key(*number, which));
                black_box(inbox.get(key.as_slice())?.is_some());
                inbox.insert(key.as_slice(), [1; 16].as_slice())?;
            }
            inbox.insert(of(2, &number.to_be_bytes()).as_slice(), [2; 71].as_slice())?;
            inbox.insert(state.as_slice(), [3; 85].as_slice())?;
            bodies.insert(*number, payload(*number).as_slice())?;
            let when = (604_800_000 + number).to_be_bytes();
            let entry = [&[4], when.as_slice(), user.as_bytes(), &[0], &when].concat();
            agenda.insert(entry.as_slice(), ())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn bare_redb(directory: &Path, items: u64) -> Grouped {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(EmbeddedConfig::new("").page_cache_octets);
    let database = builder.create(directory.join("bare")).expect("the directory is writable");
    for start in (0..items).step_by(FILLERS as usize) {
        let numbers: Vec<_> = (start..(start + FILLERS).min(items)).collect();
        bare_rows(&database, &numbers).expect("the disk works");
    }
    Grouped::start(move |numbers| bare_rows(&database, numbers).expect("the disk works"))
}

fn settings(directory: &Path, sealed: bool) -> EmbeddedConfig {
    let config = EmbeddedConfig::new(directory.join("store"));
    let keys = if sealed { vec![SealKey::new(1, [7; 32])] } else { Vec::new() };
    EmbeddedConfig { keys, group_max: FILLERS as usize, ..config }
}

async fn ours(directory: &Path, items: u64, sealed: bool) -> Ours {
    let store = Embedded::open(settings(directory, sealed)).expect("the directory is writable");
    let side = Rc::new(Ours(store));
    let tasks: Vec<_> = (0..FILLERS)
        .map(|first| {
            let side = side.clone();
            tokio::task::spawn_local(async move {
                for number in (first..items).step_by(FILLERS as usize) {
                    side.keep(number).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the filler ends");
    }
    Rc::into_inner(side).expect("the fillers ended")
}

/// Processor time of this process so far, in seconds (Linux, 100 ticks a second).
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// A directory of one side.
struct Place {
    path: PathBuf,
    /// Removes it at the end.
    _temporary: Option<TempDir>,
}

impl Place {
    /// One in the directory that is kept, or a temporary one.
    fn of(kept: Option<&Path>, name: &str) -> Place {
        if let Some(kept) = kept {
            let path = kept.join(name);
            std::fs::create_dir_all(&path).expect("the directory is writable");
            return Place { path, _temporary: None };
        }
        let temporary = TempDir::new().expect("there is a directory for temporary files");
        Place { path: temporary.path().to_owned(), _temporary: Some(temporary) }
    }

    /// The first number that was not used here, when it is filled.
    fn next(&self) -> Option<u64> {
        std::fs::read_to_string(self.path.join("next")).ok()?.parse().ok()
    }

    fn set_next(&self, next: u64) {
        std::fs::write(self.path.join("next"), next.to_string()).expect("there is room");
    }
}

/// What one run gave.
struct Figures {
    rate: f64,
    /// The first number that was not used.
    next: u64,
    /// Processor time of the whole process a message, in microseconds.
    processor: f64,
    latency: Histogram<u64>,
}

/// Keeps messages from number `first` on for `seconds`.
async fn run(side: Rc<dyn Side>, first: u64, seconds: u64) -> Figures {
    let (start, spent) = (now(), processor());
    let tasks: Vec<_> = (0..PRODUCERS)
        .map(|lane| {
            let side = side.clone();
            tokio::task::spawn_local(async move {
                let mut latency =
                    Histogram::<u64>::new_with_max(60_000_000, 3).expect("allowed bounds");
                let mut last = first;
                for number in (first + lane..).step_by(PRODUCERS as usize) {
                    let before = now();
                    if before.duration_since(start) > Duration::from_secs(seconds) {
                        break;
                    }
                    side.keep(number).await;
                    latency.saturating_record(before.elapsed().as_micros() as u64);
                    last = number;
                }
                (latency, last)
            })
        })
        .collect();
    let mut latency = Histogram::<u64>::new_with_max(60_000_000, 3).expect("allowed bounds");
    let mut next = first;
    for task in tasks {
        let (lane, last) = task.await.expect("the producer ends");
        latency.add(lane).expect("the same digits");
        next = next.max(last + 1);
    }
    let rate = latency.len() as f64 / start.elapsed().as_secs_f64();
    let processor = (processor() - spent) * 1e6 / latency.len() as f64;
    Figures { rate, next, processor, latency }
}

fn show(name: &str, figures: &Figures, base: Option<f64>, disk: Option<f64>) {
    let at = |quantile| figures.latency.value_at_quantile(quantile) as f64 / 1e3;
    let ratio = base.map_or(String::new(), |base| format!("{:.2}", figures.rate / base));
    let disk = disk.map_or(String::new(), |octets| format!("{octets:.0}"));
    println!(
        "{name:14} {:>9.0} {:>8.0} {:>8.1} {:>8.1} {:>8.1} {ratio:>14} {disk:>12}",
        figures.rate,
        figures.processor,
        at(0.5),
        at(0.99),
        figures.latency.max() as f64 / 1e3,
    );
}

fn size(path: &Path) -> f64 {
    path.metadata().map_or(0.0, |metadata| metadata.len() as f64)
}

/// Resident memory in octets (Linux).
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4096.0
}

/// Opens a copy of a file in use: what a crash leaves.
fn start_after_crash(directory: &Path, sealed: bool) {
    let copy = TempDir::new_in(directory).expect("the directory is writable");
    for file in ["store", "store.journal"] {
        std::fs::copy(directory.join(file), copy.path().join(file)).expect("there is room");
    }
    let before = now();
    let store = Embedded::open(settings(copy.path(), sealed)).expect("the file is whole");
    let spent = before.elapsed().as_secs_f64();
    let gigabytes = size(&copy.path().join("store")) / 1e9;
    println!("start after a crash: {spent:.1} s for {gigabytes:.1} GB, {} items", store.waiting());
}

fn user(number: u64) -> UserId {
    UserId::from(format!("sip:subscriber{number:06}@ims.test"))
}

fn register(number: u64) -> Binding {
    let user = user(number);
    Binding {
        public_id: user.to_string(),
        user,
        aliases: Some(vec![format!("tel:+1555{number:06}")]),
        scscf: "sip:scscf1.ims.test:6060;lr".into(),
        expires: 600_000,
        grace: Duration::from_secs(30),
        contacts: Some(vec![Contact {
            uri: "sip:subscriber@192.0.2.1:5060;transport=udp".into(),
            instance: Some("<urn:gsma:imei:90420156-025763-0>".into()),
            tags: vec!["+g.oma.sip-im".into(), "+g.3gpp.icsi-ref".into()],
            has_im_tag: true,
        }]),
        charging: None,
        orig_ioi: Some("ims.test".into()),
        barred: false,
        call_id: format!("call-{number}"),
        cseq: 1,
    }
}

/// Looks `USERS` users up with `work`, after one round that warms, and says what one took.
fn lookups(name: &str, work: impl Fn(&str) -> bool) {
    let names: Vec<String> = (0..USERS).map(|n| user(mix(n) % USERS).to_string()).collect();
    let mut best = f64::MAX;
    for _ in 0..5 {
        let before = now();
        assert!(names.iter().all(|name| black_box(work(black_box(name)))), "all are known");
        best = best.min(before.elapsed().as_secs_f64() * 1e9 / USERS as f64);
    }
    println!("{name:32} {best:>6.0} ns");
}

async fn people(directory: &Path) {
    let narrow = || EmbeddedConfig { page_cache_octets: 8 << 20, ..settings(directory, true) };
    let store = Rc::new(Embedded::open(narrow()).expect("the directory is writable"));
    let tasks: Vec<_> = (0..1000)
        .map(|first| {
            let store = store.clone();
            tokio::task::spawn_local(async move {
                for number in (first..USERS).step_by(1000) {
                    store.bind(register(number), Millis(0)).await.expect("the disk works");
                    let profile = store.create_default(&user(number), Millis(0)).await;
                    profile.expect("the disk works");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task ends");
    }
    drop(store);
    let store = Embedded::open(narrow()).expect("the file is whole");
    let mut before = resident();
    let mut grown = move |name| {
        let grown = resident() - before;
        before += grown;
        println!("{name:32} {:>6.0} octets of memory", grown / USERS as f64);
    };
    for number in 0..USERS {
        store.lookup(&user(number)).await.expect("the file is whole");
    }
    grown("a registration at hand");
    for number in 0..USERS {
        store.profile(&user(number)).await.expect("the file is whole");
    }
    grown("a default profile at hand");
    for number in 0..USERS {
        store.resolve(user(number).as_str()).await.expect("the file is whole");
    }
    grown("a name at hand");
    use parlance_store::Cached::Known;
    lookups("registration of a user", |user| {
        matches!(Registrations::cached(&store, user), Known(Some(_)))
    });
    lookups("profile of a user", |user| matches!(Profiles::cached(&store, user), Known(Some(_))));
    lookups("user of an identity", |user| matches!(store.resolve_cached(user), Known(Some(_))));
}

async fn benchmark(items: u64, seconds: u64, kept: Option<&Path>) {
    println!("{items} items waiting for {RECIPIENTS} recipients, {PAYLOAD} octets each");
    println!("{PRODUCERS} producers, {seconds} s a side\n");
    println!(
        "{:14} {:>9} {:>8} {:>8} {:>8} {:>8} {:>14} {:>12}",
        "", "per s", "cpu us", "p50 ms", "p99 ms", "max ms", "of bare redb", "octets/item"
    );
    let place = Place::of(None, "log");
    let log = run(Rc::new(raw_log(&place.path)), 0, seconds).await;
    show("raw log", &log, None, None);
    let place = Place::of(kept, "bare");
    let filled = place.next();
    let side = bare_redb(&place.path, filled.map_or(items, |_| 0));
    let bare = run(Rc::new(side), filled.unwrap_or(items), seconds).await;
    place.set_next(bare.next);
    let disk = size(&place.path.join("bare")) / bare.next as f64;
    show("bare redb", &bare, Some(bare.rate), Some(disk));
    for (name, directory, sealed) in [("store", "plain", false), ("store, sealed", "sealed", true)]
    {
        let place = Place::of(kept, directory);
        let filled = place.next();
        let side = Rc::new(ours(&place.path, filled.map_or(items, |_| 0), sealed).await);
        let figures = run(side.clone(), filled.unwrap_or(items), seconds).await;
        place.set_next(figures.next);
        let disk = size(&place.path.join("store")) / side.0.waiting() as f64;
        show(name, &figures, Some(bare.rate), Some(disk));
        if sealed && kept.is_none() {
            println!();
            start_after_crash(&place.path, sealed);
        }
    }
    if kept.is_none() {
        println!();
        people(&Place::of(None, "people").path).await;
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default| {
        arguments.next().and_then(|argument| argument.parse::<u64>().ok()).unwrap_or(default)
    };
    let (items, seconds) = (next(1_000_000), next(10));
    let kept = arguments.next().map(PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    LocalSet::new().block_on(&runtime, benchmark(items, seconds, kept.as_deref()));
    // The writers end when their queues are dropped with the tasks.
    runtime.shutdown_background();
}
