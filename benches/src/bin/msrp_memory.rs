//! What MSRP sessions weigh: private memory of the server, in rooms of ten.
//!
//! 5,000 and 15,000 connections, each quiet after ten messages, and what one more weighs between
//! the two; the same after a hundred times as many messages, and over TLS; many sessions on
//! shared connections, and what a message costs with 50,000 of them beside it; a message of
//! 1 GiB through a pair and through a room, and how much the server grows meanwhile.
//!
//! `cargo run --release -p parlance-benches --bin msrp_memory [-- --quick]`
//!
//! Needs 16,000 open files (`ulimit -Hn`).
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "octets stay far below 2^53")]

use parlance_benches::msrp::{Result, Server, asked, certificate};
use parlance_lab::msrp_load::{Moment, Options, Report};

/// Sessions of the smaller and of the larger server, in rooms of ten.
const FEW: (&str, usize) = ("500", 5_000);
const MANY: (&str, usize) = ("1500", 15_000);
const GIB: u64 = 1 << 30;

fn main() -> Result<()> {
    let silence = if asked("--quick") { 5.0 } else { 60.0 };
    let directory = tempfile::tempdir()?;
    let (certificate, key) = certificate(directory.path())?;
    let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
    let tls = ["--certificate", &certificate, "--key", &key];
    slope("TCP, ten messages each", &[], 10, silence)?;
    slope("TCP, a thousand messages each", &[], if asked("--quick") { 100 } else { 1000 }, 2.0)?;
    slope("TLS, ten messages each", &tls, 10, if asked("--quick") { 5.0 } else { 10.0 })?;
    shared()?;
    large("a pair", &["--pairs", "1"])?;
    large("a room of three", &["--rooms", "1", "--size", "3"])
}

/// Private memory for each session, between few and many of them.
fn slope(name: &str, more: &[&str], messages: u32, silence: f64) -> Result<()> {
    let mut after = Vec::new();
    for (rooms, sessions) in [FEW, MANY] {
        let groups = ["--rooms", rooms, "--size", "10"];
        let server = Server::parlance(&[&groups[..], more].concat())?;
        // Of each room all send, so each session receives nine times as many.
        let count = messages.div_ceil(10);
        let options =
            Options { count, window: 1, idle: silence, drain: 20.0, ..Options::default() };
        let report = server.play(&options)?;
        told(name, &report);
        after.push((sessions, moment(&report, "after the silence").unwrap_or(0)));
    }
    if let [(few, small), (many, large)] = after.as_slice() {
        let each = large.saturating_sub(*small) as f64 / (many - few) as f64;
        println!("{name}: {each:.0} octets a session (wanted quiet over TCP: at most 4,096)\n");
    }
    Ok(())
}

/// Sessions that share connections, and what a message in ten rooms costs with few and with many
/// of them.
fn shared() -> Result<()> {
    let play = |rooms: &str, share| -> Result<(Report, Report)> {
        let server = Server::parlance(&["--rooms", rooms, "--size", "10"])?;
        let all = Options { count: 1, window: 1, share, drain: 20.0, ..Options::default() };
        let all = server.play(&all)?;
        told(&format!("{rooms} rooms, {share} sessions a connection"), &all);
        let busy = Options { senders: Some(1), active: Some(10), ..Options::default() };
        let busy = Options { share, window: 4, duration: 3.0, ..busy };
        Ok((all, server.play(&busy)?))
    };
    let (alone, quick) = play("10", 10)?;
    let (crowd, slow) = play("5000", 100)?;
    let (few, many) = (moment(&alone, "after the load"), moment(&crowd, "after the load"));
    if let (Some(few), Some(many)) = (few, many) {
        let each = many.saturating_sub(few) as f64 / (50_000.0 - 100.0);
        println!("on shared connections: {each:.0} octets a session");
    }
    let cost = |report: &Report| report.server.as_ref().map_or(0.0, |s| s.cpu_us_per_delivered);
    let (quick, slow) = (cost(&quick), cost(&slow));
    println!("a SEND delivered: {quick:.2} us with 100 sessions, {slow:.2} us with 50,000\n");
    Ok(())
}

/// One message of 1 GiB.
fn large(name: &str, groups: &[&str]) -> Result<()> {
    let server = Server::parlance(groups)?;
    let size = if asked("--quick") { GIB / 8 } else { GIB };
    let options = Options {
        size,
        chunk: 65_536,
        count: 1,
        senders: Some(1),
        window: 16,
        sample: 1,
        ..Options::default()
    };
    let report = server.play(&options)?;
    let before = moment_rss(&report, "with all sessions").unwrap_or(0);
    let peak = report.server.as_ref().map_or(0, |server| server.rss_peak_bytes);
    let grown = peak.saturating_sub(before) >> 10;
    let rate = size as f64 / report.seconds / 1e6;
    println!("{} MiB through {name}: {rate:.0} MB/s, grown by {grown} KiB", size >> 20);
    told(name, &report);
    Ok(())
}

fn told(name: &str, report: &Report) {
    if !report.clean {
        println!("{name}: NOT CLEAN: {}", report.faults.join(", "));
    }
}

fn moment(report: &Report, when: &str) -> Option<u64> {
    find(report, when).map(|moment| moment.private_bytes)
}

fn moment_rss(report: &Report, when: &str) -> Option<u64> {
    find(report, when).map(|moment| moment.rss_bytes)
}

fn find<'a>(report: &'a Report, when: &str) -> Option<&'a Moment> {
    report.server.as_ref()?.memory.iter().find(|moment| moment.when == when)
}
