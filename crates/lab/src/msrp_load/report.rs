//! The figures of a run, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::super::load::process::{Memory, Usage};
use super::engine::Engine;
use super::measure::Measure;
use super::options::Options;

/// Share of a processor from which on the generator's thread counts as full; local limit.
const BUSY_SHARE_MAX: f64 = 0.95;
/// Lag of one message in a hundred from which on an open loop was not one; local limit.
const LAG_P99_MICROS_MAX: f64 = 2_000.0;

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Sessions played.
    pub sessions: usize,
    /// Groups they are in: rooms and pairs.
    pub groups: usize,
    /// Sessions that sent.
    pub senders: usize,
    /// Connections.
    pub connections: usize,
    /// Messages a second asked for; `None` in a closed loop.
    pub rate_asked: Option<f64>,
    /// Messages of each sender on the way; `None` in an open loop.
    pub window: Option<u32>,
    /// Octets of the text of a message.
    pub size: u64,
    /// Octets of a SEND as it arrived, all of it, on average.
    pub frame_octets: f64,
    /// Seconds measured.
    pub seconds: f64,
    /// Messages sent, a second.
    pub sent_rate: f64,
    /// SENDs delivered, a second: a message counts once for each recipient.
    pub delivered_rate: f64,
    /// Answers received, a second.
    pub answered_rate: f64,
    /// SENDs delivered while measured.
    pub delivered: u64,
    /// From when a message was due until a recipient had it.
    pub delivery: Latency,
    /// From when a request was sent until it was answered; `None` when none was timed.
    pub answer: Option<Latency>,
    /// The processes under test; `None` when none were named.
    pub server: Option<Server>,
    /// This program.
    pub generator: Generator,
    /// Responses that are no 200, by code.
    pub refused: BTreeMap<u16, u64>,
    /// REPORTs, by status.
    pub reports: BTreeMap<u16, u64>,
    /// SENDs that are nobody's message: of the server's own.
    pub others: u64,
    /// Nothing is missing, refused or wrong, and no connection was lost.
    pub clean: bool,
    /// What kept it from being clean.
    pub faults: Vec<String>,
}

/// Percentiles in microseconds; a minute is the most that is told apart.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half are faster.
    pub p50_us: f64,
    /// 99 in 100 are faster.
    pub p99_us: f64,
    /// 999 in 1000 are faster.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
    /// How many were timed.
    pub samples: u64,
}

/// What the processes under test used.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// How many processes they are.
    pub processes: usize,
    /// Processors kept busy while measured.
    pub cpu_share: f64,
    /// Processor time for each SEND delivered, in microseconds.
    pub cpu_us_per_delivered: f64,
    /// Memory at several moments, in order.
    pub memory: Vec<Moment>,
    /// The largest resident memory seen, in octets.
    pub rss_peak_bytes: u64,
}

/// Memory of the processes under test at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Moment {
    /// When it was looked at.
    pub when: &'static str,
    /// Resident, in octets; shared pages count once for each process.
    pub rss_bytes: u64,
    /// Private to the processes, in octets: what a session costs shows here.
    pub private_bytes: u64,
}

/// How this program kept up.
#[derive(Clone, Debug, Serialize)]
pub struct Generator {
    /// Share of one processor that its thread needed; looking for work in vain is left out.
    pub busy_share: f64,
    /// Its processor time for each SEND delivered, in microseconds.
    pub cpu_us_per_delivered: f64,
    /// Open loop: 99 in 100 messages left earlier than this after they were due, in microseconds.
    pub lag_p99_us: f64,
    /// Why the figures are this program's and not the server's; `None` when they are not.
    pub bottleneck: Option<String>,
}

/// What was seen outside the loop of a run.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) processes: usize,
    /// At the start and the end of the measured part.
    pub(crate) usage: (Usage, Usage),
    pub(crate) moments: Vec<(&'static str, Memory)>,
    pub(crate) rss_peak_bytes: u64,
    /// Processor time of this thread in the measured part, without looking in vain.
    pub(crate) own_cpu: Duration,
    pub(crate) groups: usize,
}

impl Report {
    /// Puts the figures of a run together.
    pub(crate) fn new(options: &Options, engine: &Engine, around: &Surroundings) -> Self {
        let measure = &engine.measure;
        let seconds = measure.length() as f64 / 1e9;
        let server = server(measure, around, seconds);
        let generator = generator(measure, around, seconds, server.as_ref());
        let open = options.rate > 0.0;
        let mut report = Self {
            sessions: engine.sessions.len(),
            groups: around.groups,
            senders: engine.senders().count(),
            connections: engine.links.len(),
            rate_asked: open.then_some(options.rate),
            window: (!open).then_some(options.window),
            size: options.size,
            frame_octets: ratio(measure.delivered_octets as f64, measure.delivered as f64),
            seconds,
            sent_rate: ratio(measure.sent as f64, seconds),
            delivered_rate: ratio(measure.delivered as f64, seconds),
            answered_rate: ratio(measure.answered as f64, seconds),
            delivered: measure.delivered,
            delivery: latency(&measure.delivery),
            answer: (!measure.answer.is_empty()).then(|| latency(&measure.answer)),
            server,
            generator,
            refused: measure.refused.clone(),
            reports: measure.reports.clone(),
            others: measure.others,
            clean: false,
            faults: faults(engine),
        };
        if report.delivered == 0 {
            report.faults.push("nothing was delivered".to_owned());
        }
        report.clean = report.faults.is_empty();
        report
    }
}

fn faults(engine: &Engine) -> Vec<String> {
    let measure = &engine.measure;
    let owed: u64 = engine.senders().map(|session| session.sender.owed()).sum();
    let had: u64 = engine.senders().map(|session| session.sender.deliveries()).sum();
    let answered = engine.rules.run.answered();
    let unanswered: u64 = engine
        .senders()
        .map(|session| u64::from(session.sender.requests.saturating_sub(session.sender.answered)))
        .sum();
    let counted = [
        (owed.saturating_sub(had), "never delivered"),
        (if answered { unanswered } else { 0 }, "never answered"),
        (if answered { 0 } else { measure.answered }, "answered though nobody asked"),
        (measure.lost_links, "connections lost"),
    ];
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    let mut faults: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
    faults.extend(measure.refused.iter().map(|(code, count)| format!("{count} answered {code}")));
    let bad = measure.reports.iter().filter(|(status, _)| **status != 200);
    faults.extend(bad.map(|(status, count)| format!("{count} reported {status}")));
    faults.extend(measure.wrong.iter().map(|(what, count)| format!("{count} {what}")));
    faults
}

fn server(measure: &Measure, around: &Surroundings, seconds: f64) -> Option<Server> {
    let (before, after) = around.usage;
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    let moment = |(when, memory): &(&'static str, Memory)| Moment {
        when,
        rss_bytes: memory.rss_bytes,
        private_bytes: memory.private_bytes,
    };
    (around.processes > 0).then(|| Server {
        processes: around.processes,
        cpu_share: ratio(cpu, seconds),
        cpu_us_per_delivered: ratio(cpu * 1e6, measure.delivered as f64),
        memory: around.moments.iter().map(moment).collect(),
        rss_peak_bytes: around.rss_peak_bytes,
    })
}

fn generator(
    measure: &Measure,
    around: &Surroundings,
    seconds: f64,
    server: Option<&Server>,
) -> Generator {
    let own = around.own_cpu.as_secs_f64();
    let busy_share = ratio(own, seconds);
    let lag_p99_us = measure.lag.value_at_quantile(0.99) as f64 / 1000.0;
    // When both have a processor to themselves and both are full, the server is, too.
    let server_is_full = server.is_some_and(|server| server.cpu_share > BUSY_SHARE_MAX);
    let full = busy_share > BUSY_SHARE_MAX && !server_is_full;
    let late = !measure.lag.is_empty() && lag_p99_us > LAG_P99_MICROS_MAX;
    let reasons = [
        (full, format!("its thread was {:.0} % busy", busy_share * 100.0)),
        (late, format!("one message in a hundred left {:.1} ms late", lag_p99_us / 1000.0)),
    ];
    let reasons: Vec<String> =
        reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect();
    Generator {
        busy_share,
        cpu_us_per_delivered: ratio(own * 1e6, measure.delivered as f64),
        lag_p99_us,
        bottleneck: (!reasons.is_empty()).then(|| reasons.join("; ")),
    }
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Latency {
        p50_us: at(0.5),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: histogram.max() as f64 / 1000.0,
        samples: histogram.len(),
    }
}

/// A quotient that is zero when there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<26} {value}");
        let pace = match (self.rate_asked, self.window) {
            (Some(rate), _) => format!("{rate:.0}/s asked"),
            (None, window) => format!("window {}", window.unwrap_or(0)),
        };
        let (sessions, groups) = (self.sessions, self.groups);
        row(
            "load",
            format!("{sessions} sessions in {groups} groups, {} send, {pace}", self.senders),
        )?;
        row("measured", format!("{:.2} s, {} connections", self.seconds, self.connections))?;
        row("text, SEND", format!("{}, {:.0} octets", self.size, self.frame_octets))?;
        row("delivered SENDs", format!("{:.0}/s", self.delivered_rate))?;
        row("sent, answered", format!("{:.0}/s, {:.0}/s", self.sent_rate, self.answered_rate))?;
        row("delivery p50/99/99.9/max", self.delivery.to_string())?;
        if let Some(answer) = &self.answer {
            row("answer p50/99/99.9/max", answer.to_string())?;
        }
        if let Some(server) = &self.server {
            row("server CPU", format!("{:.3} us/delivered SEND", server.cpu_us_per_delivered))?;
            row("server CPU share", format!("{:.0} %", server.cpu_share * 100.0))?;
            for moment in &server.memory {
                let (rss, private) = (moment.rss_bytes >> 10, moment.private_bytes >> 10);
                let memory = format!("{rss} KiB resident, {private} KiB private");
                row(&format!("memory {}", moment.when), memory)?;
            }
            row("memory, most", format!("{} KiB resident", server.rss_peak_bytes >> 10))?;
        }
        let own = &self.generator;
        row("generator CPU", format!("{:.3} us/delivered SEND", own.cpu_us_per_delivered))?;
        row("generator busy", format!("{:.0} %", own.busy_share * 100.0))?;
        if self.rate_asked.is_some() {
            row("schedule lag p99", format!("{:.3} ms", own.lag_p99_us / 1000.0))?;
        }
        let bottleneck = own.bottleneck.as_ref();
        let bottleneck = bottleneck.map(|reason| format!("THE GENERATOR: {reason}"));
        row("bottleneck", bottleneck.unwrap_or_else(|| "not the generator".to_owned()))?;
        for (status, count) in &self.reports {
            row("reports", format!("{count} x {status:03}"))?;
        }
        if self.others > 0 {
            row("of the server's own", self.others.to_string())?;
        }
        let verdict = if self.clean { "yes".to_owned() } else { self.faults.join(", ") };
        row("clean", if self.clean { verdict } else { format!("no: {verdict}") })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.p50_us, self.p99_us, self.p999_us, self.max_us];
        let parts = parts.map(|micros| format!("{:.3}", micros / 1000.0));
        write!(f, "{} ms", parts.join(" / "))
    }
}
