//! Relaying pager-mode messages through the whole server, beside Kamailio (tm and usrloc) under
//! the same load from the same generator.
//!
//! For Parlance each message passes twice, originating and terminating; each passage is one relay.
//! For Kamailio each message is one relay. Kamailio is measured as it comes, which is what the
//! wanted ratios are of, and again set up for speed on two processors (`kamailio/relay-tuned.cfg`).
//! All are searched for their highest clean rate (no retransmission, nothing lost, p99 below 50 ms)
//! and measured at 8,000 relays a second, first over TCP, as the filter criteria of `parlance ifc`
//! have it, then over UDP; both sides have the same transport. Parlance also runs for 60 s at half
//! its highest rate, to see whether anything stalls and, over UDP, where Timer J keeps it for 32 s,
//! what a completed transaction weighs.
//!
//! `cargo run --release -p parlance-benches --bin pager_relay [-- --quick] [tcp] [udp]`
//!
//! Needs Debian's `kamailio`; without it only Parlance is measured.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use parlance_benches::server::{HTTP, Serving};
use parlance_lab::load::{Options, Report, Scenario, Transport, run};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Relays a second at which the processor time of both is stated.
const STATED_RATE: f64 = 8_000.0;
/// Octets of the body that make the request of either scenario about 1.1 KB.
const BODY_ISC: u16 = 60;
const BODY_REGISTRAR: u16 = 260;
const USERS: u32 = 1_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |word: &str| arguments.iter().any(|argument| argument == word);
    let transports = [("tcp", Transport::Tcp), ("udp", Transport::Udp)];
    let any = transports.iter().any(|(name, _)| asked(name));
    for (name, transport) in transports {
        if !any || asked(name) {
            println!("\n== over {name} ==\n");
            compare(transport, asked("--quick"))?;
        }
    }
    Ok(())
}

/// Measures all sides over one transport.
fn compare(transport: Transport, quick: bool) -> Result<()> {
    let ours = measure_parlance(transport, quick)?;
    if Command::new("kamailio").arg("-v").stdout(Stdio::null()).status().is_err() {
        println!("\nkamailio is not installed: nothing to compare with");
        return Ok(());
    }
    let stock = measure_kamailio(transport, quick, &STOCK)?;
    let tuned = measure_kamailio(transport, quick, &TUNED)?;
    let name = format!("{transport:?}").to_uppercase();
    show(&name, &STOCK, (" (wanted: at least 5)", " (wanted: at most 0.2)"), &ours, &stock);
    show(&name, &TUNED, ("", ""), &ours, &tuned);
    Ok(())
}

/// A configuration of Kamailio: the file, what it is called in the output, and its port, as the
/// workers of one may not be gone when the next one starts.
struct Peer {
    config: &'static str,
    name: &'static str,
    port: u16,
}

const STOCK: Peer = Peer { config: "relay", name: "Kamailio as it comes", port: 15_060 };
const TUNED: Peer = Peer { config: "relay-tuned", name: "Kamailio set up for speed", port: 15_061 };

/// The ratios to one peer; `wanted` goes behind that of the rates and that of the processor time at
/// the highest.
fn show(transport: &str, peer: &Peer, wanted: (&str, &str), ours: &Measured, theirs: &Measured) {
    let (rate, cpu) = wanted;
    println!("\n{transport}, beside {}", peer.name);
    let (our_rate, their_rate) = (ours.highest.rate * 2.0, theirs.highest.rate);
    println!("highest clean rate: {our_rate:.0} relays/s against {their_rate:.0}:");
    println!("  {:.1} times its{rate}", our_rate / their_rate);
    let (our_cost, their_cost) = (cpu_us(&ours.stated), cpu_us(&theirs.stated));
    println!("processor time a relay at {STATED_RATE:.0}/s: {our_cost:.1} us, {their_cost:.1} us");
    println!("  {:.2} of its", our_cost / their_cost);
    let (our_cost, their_cost) = (cpu_us(&ours.highest), cpu_us(&theirs.highest));
    println!("processor time a relay at the highest: {our_cost:.1} us, {their_cost:.1} us");
    println!("  {:.2} of its{cpu}", our_cost / their_cost);
    let (our_system, their_system) = (system_us(&ours.highest), system_us(&theirs.highest));
    println!("  of it the system's: {our_system:.1} us, {their_system:.1} us");
}

/// What was measured of one side.
struct Measured {
    highest: Report,
    stated: Report,
}

/// Processor time of one relay, which is one passage of a message.
fn cpu_us(report: &Report) -> f64 {
    report.server.as_ref().map_or(0.0, |server| server.cpu_us_per_message)
}

/// What of it the system took to read and write.
fn system_us(report: &Report) -> f64 {
    report.server.as_ref().map_or(0.0, |server| server.system_us_per_message)
}

fn measure_parlance(transport: Transport, quick: bool) -> Result<Measured> {
    let directory = tempfile::tempdir()?;
    let server = parlance(directory.path())?;
    let options = Options {
        scenario: Scenario::Full,
        transport,
        size: BODY_ISC,
        users: USERS,
        register_first: true,
        pid: pids(&server)?,
        rate: 4_000.0,
        trial: if quick { 1.5 } else { 5.0 },
        warm_up: 0.5,
        precision: if quick { 8.0 } else { 4.0 },
        ..Options::default()
    };
    let measured = measure("Parlance, both passages", &options, STATED_RATE / 2.0, quick)?;
    let duration = if quick { 10.0 } else { 60.0 };
    let rate = measured.highest.rate / 2.0;
    drop(server);
    // Another one: what the search made it grow by would hide what this run does.
    let directory = tempfile::tempdir()?;
    let server = parlance(directory.path())?;
    let report = run(&Options { duration, rate, pid: pids(&server)?, ..options })?;
    println!("\nParlance, {duration:.0} s at {rate:.0} messages/s\n{report}");
    println!("longest stall: {:.1} ms (wanted: at most 50)", report.longest_stall_ms);
    if transport == Transport::Udp {
        weigh(&report, duration);
    }
    Ok(measured)
}

/// What a completed transaction weighs: both transactions of both passages, client and server.
#[expect(clippy::cast_precision_loss, reason = "counts and octets stay far below 2^53")]
fn weigh(report: &Report, duration: f64) {
    let Some(server) = &report.server else { return };
    let grown = server.rss_after_bytes.saturating_sub(server.rss_before_bytes) as f64;
    // Timer J keeps the server side of 32 s of traffic; the rest has gone again.
    let kept = report.rate * 2.0 * duration.min(32.0);
    println!("octets a completed server transaction: {:.0}", grown / kept);
}

fn parlance(directory: &Path) -> Result<Serving> {
    Serving::start(directory, &configuration(directory), None)
}

fn pids(server: &Serving) -> Result<Vec<i32>> {
    Ok(vec![i32::try_from(server.pid())?])
}

/// Both sides, and nothing is stored that a trial beyond the capacity leaves undelivered: what is
/// still to be pushed would be in the way of the next one.
fn configuration(data: &Path) -> String {
    format!(
        "[sip]\ndomains = [\"ims.test\"]\nnext_hop = \"sip:127.0.0.1:5060;lr\"\n\
         [[sip.listen]]\naddress = \"127.0.0.20:5080\"\nside = \"originating\"\n\
         [[sip.listen]]\naddress = \"127.0.0.20:5081\"\nside = \"terminating\"\n\
         [[sip.listen]]\naddress = \"127.0.0.20:5082\"\nside = \"registration\"\n\
         [http]\nlisten = \"{HTTP}\"\n\
         [store]\npath = {:?}\n[msrp]\nlisten = []\n[log]\nlevel = \"warn\"\n\
         [participating]\nnotice = false\nrate_per_user = 0\n[deferred]\nkeep_unasked = false\n",
        data.join("data")
    )
}

fn measure_kamailio(transport: Transport, quick: bool, peer: &Peer) -> Result<Measured> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("kamailio");
    let port = peer.port.to_string();
    let started = Command::new(scripts.join("start.sh")).args([&port, peer.config]).output()?;
    if !started.status.success() {
        return Err(String::from_utf8_lossy(&started.stderr).into_owned().into());
    }
    let _stop = Relay { script: scripts.join("stop.sh"), port };
    let pid: i32 = String::from_utf8_lossy(&started.stdout).trim().parse()?;
    let options = Options {
        scenario: Scenario::RelayRegistrar,
        transport,
        size: BODY_REGISTRAR,
        users: USERS,
        proxy: SocketAddr::from(([127, 0, 0, 1], peer.port)),
        domain: "bench.test".to_owned(),
        pid: vec![pid],
        rate: 4_000.0,
        trial: if quick { 1.5 } else { 5.0 },
        warm_up: 0.5,
        precision: if quick { 8.0 } else { 4.0 },
        ..Options::default()
    };
    measure(peer.name, &options, STATED_RATE, quick)
}

/// The search and the stated rate of one side.
fn measure(name: &str, options: &Options, stated: f64, quick: bool) -> Result<Measured> {
    let duration = if quick { 3.0 } else { 10.0 };
    let at = Options { rate: stated, duration, ..options.clone() };
    let stated = run(&at)?;
    println!("{name} at the stated rate\n{stated}");
    let search = Options { find_rate: true, register_first: false, ..options.clone() };
    let highest = run(&search)?;
    println!("{name} at its highest clean rate\n{highest}");
    Ok(Measured { highest, stated })
}

/// A Kamailio that is stopped with the benchmark.
struct Relay {
    script: PathBuf,
    port: String,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg(&self.port).status();
    }
}
