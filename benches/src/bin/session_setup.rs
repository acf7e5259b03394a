//! Setting sessions up and ending them through the whole server (INVITE, 200, ACK, BYE, 200),
//! beside Kamailio as a record-routing proxy under the same calls from the same generator.
//!
//! Parlance has them in the three ways it can: *proxied*, on the originating side, which is the
//! passage that Kamailio makes; *anchored*, as a back-to-back user agent with a pair of MSRP
//! sessions; and *conference of two*, at the conference factory, where the focus calls the other
//! user and opens a room. Each server has processor 0, the generator processor 1, over TCP, 32
//! calls at a time.
//!
//! `cargo run --release -p parlance-benches --bin session_setup [-- --quick]`
//!
//! Needs Debian's `kamailio`; without it only Parlance is measured.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::process::{Command, Stdio};
use std::time::Duration;

use parlance_benches::msrp::{Result, asked};
use parlance_benches::server::{Kamailio, Parlance, pin_generator};
use parlance_benches::signalling::{CALLED, Caller, Way, answer_calls};
use tokio::time::Instant;

/// Calls under way at a time.
const WINDOW: usize = 32;

/// What was measured of one way.
struct Measured {
    name: &'static str,
    a_second: f64,
    cpu_us: f64,
    busy: f64,
    p50_us: f64,
    p99_us: f64,
}

fn main() -> Result<()> {
    pin_generator();
    // Whoever is called takes part in all of it.
    let _offers = answer_calls()?;
    let mut measured = Vec::new();
    match kamailio()? {
        Some(kamailio) => measured.push(kamailio),
        None => println!("kamailio is not installed: nothing to compare with"),
    }
    for (name, media, factory) in [
        ("Parlance, proxied", "proxy", None),
        ("Parlance, anchored", "anchor", None),
        ("Parlance, conference of two", "proxy", Some("sip:im-conf-factory@ims.test")),
    ] {
        measured.push(parlance(name, media, factory)?);
    }
    println!(
        "{:<30} {:>10} {:>12} {:>7} {:>18}",
        "", "set-ups/s", "CPU us each", "busy", "p50/p99 us"
    );
    for one in &measured {
        let Measured { name, a_second, cpu_us, busy, p50_us, p99_us } = one;
        let busy = busy * 100.0;
        println!(
            "{name:<30} {a_second:>10.0} {cpu_us:>12.1} {busy:>5.0} % {p50_us:>9.0}/{p99_us:.0}"
        );
    }
    if let [peer, ours @ ..] = &measured[..]
        && peer.name.starts_with("Kamailio")
    {
        for one in ours {
            let (rate, cost) = (one.a_second / peer.a_second, one.cpu_us / peer.cpu_us);
            println!("{}: {rate:.2} of Kamailio's rate, {cost:.2} of its CPU", one.name);
        }
    }
    Ok(())
}

fn kamailio() -> Result<Option<Measured>> {
    if Command::new("kamailio").arg("-v").stdout(Stdio::null()).status().is_err() {
        return Ok(None);
    }
    let kamailio = Kamailio::start("15060", "proxy")?;
    let server = "127.0.0.1:15060";
    let way = Way {
        server: server.parse()?,
        route: vec![
            format!("<sip:{server};transport=tcp;lr>"),
            format!("<sip:{CALLED};transport=tcp;lr>"),
        ],
        factory: None,
    };
    measure("Kamailio, record-routing", way, || kamailio.cpu()).map(Some)
}

fn parlance(name: &'static str, media: &str, factory: Option<&str>) -> Result<Measured> {
    let server = Parlance::start(&format!("peer_to_peer = true\nsession_media = {media:?}\n"))?;
    let way = Way {
        server: Parlance::SIP.parse()?,
        route: vec![
            format!("<sip:im-orig@{};transport=tcp;lr>", Parlance::SIP),
            format!("<sip:{CALLED};transport=tcp;lr>"),
        ],
        factory: factory.map(str::to_owned),
    };
    measure(name, way, || server.cpu())
}

/// Calls for a while before and for a while during which is counted.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn measure(name: &'static str, way: Way, cpu: impl Fn() -> Duration) -> Result<Measured> {
    let (warm_up, time) = if asked("--quick") { (0.5, 2.0) } else { (1.0, 6.0) };
    let [warm_up, time] = [warm_up, time].map(Duration::from_secs_f64);
    let start = Instant::now();
    let mut caller = Caller::new(way)?;
    let mut before = None;
    let mut took = Vec::new();
    let counted = |at: Duration| at >= warm_up && at < warm_up + time;
    let over = || start.elapsed() >= warm_up + time;
    let mut after = (Duration::ZERO, Duration::ZERO);
    caller.load(WINDOW, over, |answered| {
        let at = start.elapsed();
        if counted(at) {
            before.get_or_insert_with(|| (at, cpu()));
            took.push(answered.took);
        } else if at >= warm_up && after.0.is_zero() {
            after = (at, cpu());
        }
    })?;
    if after.0.is_zero() {
        after = (start.elapsed(), cpu());
    }
    let (began, cpu_before) = before.ok_or("no call was answered in time")?;
    let (seconds, spent) = ((after.0 - began).as_secs_f64(), after.1.saturating_sub(cpu_before));
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).map_or(0.0, Duration::as_secs_f64);
    Ok(Measured {
        name,
        a_second: took.len() as f64 / seconds,
        cpu_us: spent.as_secs_f64() * 1e6 / took.len() as f64,
        busy: spent.as_secs_f64() / seconds,
        p50_us: at(50) * 1e6,
        p99_us: at(99) * 1e6,
    })
}
