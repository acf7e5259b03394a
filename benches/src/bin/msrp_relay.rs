//! Relaying MSRP through the whole server, beside Kamailio's msrp module under the same load from
//! the same generator, and beside the floor that has no protocol.
//!
//! Texts of 300 octets, Failure-Report yes: 50 pairs with a window of 16 over TCP, TLS and
//! WebSocket; one pair with a window of 1; and the latency at half of that rate, or less. The URIs
//! of both are asked for with AUTH, of Kamailio without Digest. Parlance is measured as B2BUA too,
//! where it joins two sessions that it has made both URIs of; over WebSocket only so. Each server
//! has processor 0, the generator processor 1.
//!
//! `cargo run --release -p parlance-benches --bin msrp_relay [-- --quick]`
//!
//! Needs Debian's `kamailio`, for TLS and WebSocket also `kamailio-tls-modules` and
//! `kamailio-websocket-modules`; what is missing is left out.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use parlance_benches::msrp::{
    GENERATOR_PROCESSOR, HEADING, Result, SERVER_PROCESSOR, Server, asked, certificate, line,
    part_load, serve_floor,
};
use parlance_lab::msrp_load::{Legs, Options, Report, run};

const PAIRS: usize = 50;
const WINDOW: u32 = 16;
const PORT: &str = "12855";
/// The realm of the relay, and the hash of its user, the password and it: `load:REALM:secret`.
const REALM: &str = "bench.test";
const HA1: &str = "5a5c0011beb0f0e17fedf473ab999ccd";

/// What is below MSRP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Below {
    Tcp,
    Tls,
    WebSocket,
}

/// The rates of one side.
struct Rates {
    full: f64,
    cpu_us: f64,
    answer_us: Option<f64>,
}

fn main() -> Result<()> {
    serve_floor()?;
    let directory = tempfile::tempdir()?;
    let files = certificate(directory.path())?;
    println!("{HEADING}");
    let floor = Server::floor(&["--pairs", "50"])?;
    let floor = measure("floor", true, |options| floor.play(options))?;
    let mut all = Vec::new();
    for below in [Below::Tcp, Below::Tls, Below::WebSocket] {
        println!("{below:?}");
        let pairs = measure_pairs(below, &files)?;
        let relay = match below {
            Below::Tcp | Below::Tls => Some(measure_relay(below, &files)?),
            Below::WebSocket => None,
        };
        let theirs = measure_kamailio(below, &files)?;
        all.push((below, [("B2BUA", Some(pairs)), ("relay", relay)], theirs));
    }
    println!();
    for (below, ours, theirs) in &all {
        for (name, ours) in ours {
            let Some(ours) = ours else { continue };
            println!("{below:?}, {name}: {:.0} SENDs/s", ours.full);
            if let Some(theirs) = theirs {
                compare(ours, theirs, *below == Below::Tcp);
            }
            if *below == Below::Tcp {
                println!("  {:.2} of the floor's", ours.full / floor.full);
            }
        }
    }
    Ok(())
}

fn compare(ours: &Rates, theirs: &Rates, is_asked: bool) {
    let wanted = |what: &'static str| if is_asked { what } else { "" };
    let (ratio, cpu) = (ours.full / theirs.full, ours.cpu_us / theirs.cpu_us);
    println!("  {ratio:.1} times Kamailio's{}", wanted(" (wanted: at least 5)"));
    println!("  {cpu:.2} of its processor time for each{}", wanted(" (wanted: at most 0.2)"));
    if let (Some(ours), Some(theirs)) = (ours.answer_us, theirs.answer_us) {
        println!("  one pair, window 1: answered in {ours:.0} us against {theirs:.0} us");
    }
}

/// Pairs at their highest rate, at a part of it, and one pair alone.
fn measure(
    name: &str,
    alone: bool,
    mut play: impl FnMut(&Options) -> Result<Report>,
) -> Result<Rates> {
    let duration = if asked("--quick") { 2.0 } else { 6.0 };
    let options = Options {
        pairs: Some(PAIRS),
        window: WINDOW,
        duration,
        warm_up: 0.5,
        ..Options::default()
    };
    let full = play(&options)?;
    println!("{}", line(&format!("{name}, 50 pairs window 16"), &full));
    // Both of each pair send; the rate is of all together.
    let (part, report) = part_load(&options, &full, &mut play)?;
    println!("{}", line(&format!("{name}, {part}"), &report));
    let mut answer_us = None;
    if alone {
        let one = Options { pairs: Some(1), senders: Some(1), window: 1, sample: 1, ..options };
        let one = play(&one)?;
        println!("{}", line(&format!("{name}, 1 pair window 1"), &one));
        answer_us = one.answer.map(|answer| answer.p50_us);
    }
    let cpu_us = full.server.as_ref().map_or(0.0, |server| server.cpu_us_per_delivered);
    Ok(Rates { full: full.delivered_rate, cpu_us, answer_us })
}

/// As a relay whose clients have asked for their URIs.
fn measure_relay(below: Below, files: &(PathBuf, PathBuf)) -> Result<Rates> {
    let directory = tempfile::tempdir()?;
    let (digests, file) = (directory.path().join("digest"), directory.path().join("relay.toml"));
    std::fs::write(&digests, format!("load:{REALM}:{HA1}\n"))?;
    let (certificate, key) = (files.0.display(), files.1.display());
    let (scheme, tls) = match below {
        Below::Tls => ("msrps", format!("certificate = \"{certificate}\"\nkey = \"{key}\"\n")),
        Below::Tcp | Below::WebSocket => ("msrp", String::new()),
    };
    let address = format!("127.0.0.1:{PORT}");
    let text = format!(
        "[msrp]\ncores = 1\nrelay = true\nauth_needs_tls = false\nrealm = \"{REALM}\"\n\
         digest_file = \"{}\"\n[[msrp.listen]]\naddress = \"{address}\"\n{tls}",
        digests.display()
    );
    std::fs::write(&file, text)?;
    let (server, relay) = (Server::relay(&file)?, Some(format!("{scheme}://{address};tcp")));
    measure("Parlance, with AUTH", below == Below::Tcp, |options| {
        server.play(&Options { relay: relay.clone(), ..options.clone() })
    })
}

/// As a B2BUA.
fn measure_pairs(below: Below, files: &(PathBuf, PathBuf)) -> Result<Rates> {
    let (certificate, key) = (files.0.to_string_lossy(), files.1.to_string_lossy());
    let more: &[&str] = match below {
        Below::Tcp => &[],
        Below::Tls => &["--certificate", &certificate, "--key", &key],
        Below::WebSocket => &["--websocket"],
    };
    let server = Server::parlance(&[&["--pairs", "50"], more].concat())?;
    measure("Parlance", below == Below::Tcp, |options| server.play(options))
}

fn measure_kamailio(below: Below, files: &(PathBuf, PathBuf)) -> Result<Option<Rates>> {
    if Command::new("kamailio").arg("-v").stdout(Stdio::null()).status().is_err() {
        println!("  kamailio is not installed: nothing to compare with");
        return Ok(None);
    }
    let address = format!("127.0.0.1:{PORT}");
    let more = match below {
        Below::Tcp => Vec::new(),
        Below::Tls => vec![
            "WITH_TLS".to_owned(),
            format!("RELAY_TLS=tls:{address}"),
            format!("TLS_CERTIFICATE=\"{}\"", files.0.display()),
            format!("TLS_KEY=\"{}\"", files.1.display()),
        ],
        Below::WebSocket => vec!["WITH_WEBSOCKET".to_owned()],
    };
    let relay = match Kamailio::start(&more) {
        Ok(relay) => relay,
        Err(error) => {
            println!("  kamailio does not start: {error}");
            return Ok(None);
        }
    };
    let uri = match below {
        Below::Tcp => format!("msrp://{address};tcp"),
        Below::Tls => format!("msrps://{address};tcp"),
        Below::WebSocket => format!("msrp://{address};ws"),
    };
    let play = |options: &Options| {
        let (pid, pin) = (vec![relay.pid], Some(GENERATOR_PROCESSOR));
        let options = Options { relay: Some(uri.clone()), pid, pin, ..options.clone() };
        Ok(run(&options, &Legs::default())?)
    };
    measure("Kamailio", below == Below::Tcp, play).map(Some)
}

/// A Kamailio that is stopped with the benchmark.
struct Kamailio {
    script: PathBuf,
    pid: i32,
}

impl Kamailio {
    fn start(definitions: &[String]) -> Result<Self> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("kamailio");
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_PROCESSOR]).arg(scripts.join("start.sh"));
        command.args([PORT, "msrp"]).env("RELAY_CHILDREN", "1").env("RELAY_SHM_MB", "512");
        for definition in definitions {
            command.args(["-A", definition]);
        }
        let started = command.output()?;
        if !started.status.success() {
            return Err(String::from_utf8_lossy(&started.stderr).into_owned().into());
        }
        let pid = String::from_utf8_lossy(&started.stdout).trim().parse()?;
        Ok(Self { script: scripts.join("stop.sh"), pid })
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg(PORT).status();
    }
}
