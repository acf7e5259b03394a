//! What a run reports, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::engine::{Outcome, Pace};
use super::options::{Options, Scenario, Transport};
use super::plan::Plan;

/// A rate is clean only when the 99th percentile of latency stays below this, in microseconds:
/// local limit.
const CLEAN_P99_MICROS: u64 = 50_000;
/// The generator is the bottleneck when its thread is busy beyond this share.
const BUSY_SHARE_MAX: f64 = 0.9;
/// Or when one request in a hundred leaves later than this after it was due, in microseconds.
const LAG_P99_MICROS_MAX: u64 = 5_000;

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was played.
    pub scenario: Scenario,
    /// Over what.
    pub transport: Transport,
    /// Messages per second asked for; `None` in a closed loop.
    pub rate_asked: Option<f64>,
    /// Transactions kept in flight; `None` in an open loop.
    pub window: Option<u32>,
    /// Seconds measured.
    pub seconds: f64,
    /// Users the messages were spread over.
    pub users: u32,
    /// Octets of one request as sent.
    pub request_bytes: usize,
    /// Requests sent, retransmissions not counted.
    pub sent: u64,
    /// Transactions that had a final response.
    pub completed: u64,
    /// Passages through the server: two for each completed transaction of the scenario `full`.
    pub passages: u64,
    /// Final responses by code.
    pub answers: Vec<Answers>,
    /// The only final response that is right in this scenario.
    pub expected: u16,
    /// Final responses with another code than the expected one.
    pub unexpected: u64,
    /// Transactions that never had a final response.
    pub lost: u64,
    /// Transactions without a final response T1 (500 ms) after sending.
    pub late: u64,
    /// Requests sent again by us.
    pub retransmitted: u64,
    /// Requests the server sent us again, warm-up included.
    pub server_retransmissions: u64,
    /// Responses that completed nothing, warm-up included.
    pub stray: u64,
    /// Requests from the server that are not ours coming back, warm-up included.
    pub other_requests: u64,
    /// Transactions completed per second while requests were being offered.
    pub rate: f64,
    /// From when a request was due to its final response.
    pub latency: Latency,
    /// Longest time without a completion, in milliseconds.
    pub longest_stall_ms: f64,
    /// The processes under test; `None` when none was named.
    pub server: Option<Server>,
    /// Datagrams dropped at the server's socket during the whole run; `None` when it has none on
    /// this machine.
    pub server_drops: Option<u64>,
    /// This program.
    pub generator: Generator,
    /// No retransmission was needed or seen, nothing was lost or held back, every answer was the
    /// expected one and the 99th percentile is below 50 ms.
    pub clean: bool,
    /// What kept it from being clean.
    pub faults: Vec<String>,
    /// The steps of a search; empty without one.
    pub trials: Vec<Trial>,
}

/// How many final responses had a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// The code, 200 to 699.
    pub code: u16,
    /// How many.
    pub count: u64,
}

/// Percentiles in microseconds; a minute is the most that is told apart.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half are faster.
    pub p50_us: u64,
    /// 99 in 100 are faster.
    pub p99_us: u64,
    /// 999 in 1000 are faster.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// What the processes under test used during the measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Server {
    /// How many processes they are.
    pub processes: usize,
    /// Processor time, user and system.
    pub cpu_seconds: f64,
    /// Processors kept busy.
    pub cpu_share: f64,
    /// Processor time per completed passage, in microseconds.
    pub cpu_us_per_message: f64,
    /// The system's part of it: what reading and writing cost.
    pub system_us_per_message: f64,
    /// Resident memory at the start; shared pages count once per process.
    pub rss_before_bytes: u64,
    /// Resident memory at the end.
    pub rss_after_bytes: u64,
}

/// How this program kept up.
#[derive(Clone, Debug, Serialize)]
pub struct Generator {
    /// Share of one processor used by its thread.
    pub busy_share: f64,
    /// Its processor time per completed transaction, in microseconds.
    pub cpu_us_per_transaction: f64,
    /// 99 in 100 requests left earlier than this after they were due, in microseconds.
    pub lag_p99_us: u64,
    /// The latest, in microseconds.
    pub lag_max_us: u64,
    /// Requests that waited for a place in the table of outstanding transactions.
    pub held_back: u64,
    /// Datagrams dropped at our own socket.
    pub own_drops: u64,
    /// Messages that could not be sent.
    pub send_failed: u64,
    /// Why the figures are this program's and not the server's; `None` when they are not.
    pub bottleneck: Option<String>,
}

/// One step of a search.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// Messages per second asked for.
    pub rate: f64,
    /// Whether it was clean.
    pub clean: bool,
    /// Its 99th percentile, in microseconds.
    pub p99_us: u64,
    /// What kept it from being clean.
    pub faults: Vec<String>,
}

/// What was seen outside the loop of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    pub(crate) processes: usize,
    pub(crate) server_drops: Option<u64>,
    pub(crate) own_drops: u64,
}

impl Report {
    /// Puts the figures of a run together.
    pub(crate) fn new(
        options: &Options,
        pace: Pace,
        plan: &Plan,
        outcome: &Outcome,
        around: Surroundings,
    ) -> Self {
        let measure = &outcome.measure;
        let seconds = Duration::from_nanos(measure.length()).as_secs_f64();
        let in_window = measure.completed_in_window;
        let answers: Vec<Answers> =
            measure.answers().map(|(code, count)| Answers { code, count }).collect();
        let right = answers.iter().filter(|answers| answers.code == plan.expect);
        let (rate_asked, window) = match pace {
            Pace::Open(rate) => (Some(rate), None),
            Pace::Closed(window) => (None, Some(window)),
        };
        let mut report = Self {
            scenario: options.scenario,
            transport: options.transport,
            rate_asked,
            window,
            seconds,
            users: options.users,
            request_bytes: plan.request.len(),
            sent: measure.sent,
            completed: measure.completed,
            passages: measure.completed * plan.passages(),
            unexpected: measure.completed - right.map(|answers| answers.count).sum::<u64>(),
            answers,
            expected: plan.expect,
            lost: measure.lost,
            late: measure.late,
            retransmitted: measure.retransmitted,
            server_retransmissions: measure.server_retransmissions,
            stray: measure.stray,
            other_requests: measure.others,
            rate: ratio(in_window as f64, seconds),
            latency: Latency {
                p50_us: measure.latency(0.5),
                p99_us: measure.latency(0.99),
                p999_us: measure.latency(0.999),
                max_us: measure.latency(1.0),
            },
            longest_stall_ms: measure.stall as f64 / 1e6,
            server: server(outcome, around.processes, in_window * plan.passages(), seconds),
            server_drops: around.server_drops,
            generator: generator(outcome, around.own_drops, seconds),
            clean: false,
            faults: Vec::new(),
            trials: Vec::new(),
        };
        report.faults = report.find_faults();
        report.clean = report.faults.is_empty();
        report
    }

    fn find_faults(&self) -> Vec<String> {
        let counted = [
            (self.lost, "lost"),
            (self.late, "unanswered after T1"),
            (self.server_retransmissions, "sent again by the server"),
            (self.server_drops.unwrap_or(0), "dropped at the server's socket"),
            (self.generator.held_back, "held back by the generator"),
            (self.generator.send_failed, "not sent"),
        ];
        let counted = counted.iter().filter(|(count, _)| *count > 0);
        let mut faults: Vec<String> =
            counted.map(|(count, what)| format!("{count} {what}")).collect();
        let wrong = self.answers.iter().filter(|answers| answers.code != self.expected);
        faults.extend(wrong.map(|wrong| format!("{} answered {}", wrong.count, wrong.code)));
        if self.latency.p99_us >= CLEAN_P99_MICROS {
            faults.push(format!("p99 is {} ms", self.latency.p99_us / 1000));
        }
        if self.completed == 0 {
            faults.push("nothing was answered".to_owned());
        }
        faults
    }
}

fn server(outcome: &Outcome, processes: usize, passages: u64, seconds: f64) -> Option<Server> {
    let (before, after) = outcome.usage;
    let cpu_seconds = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    let system_seconds = after.system.saturating_sub(before.system).as_secs_f64();
    (processes > 0).then(|| Server {
        processes,
        cpu_seconds,
        cpu_share: ratio(cpu_seconds, seconds),
        cpu_us_per_message: ratio(cpu_seconds * 1e6, passages as f64),
        system_us_per_message: ratio(system_seconds * 1e6, passages as f64),
        rss_before_bytes: before.rss_bytes,
        rss_after_bytes: after.rss_bytes,
    })
}

fn generator(outcome: &Outcome, own_drops: u64, seconds: f64) -> Generator {
    let measure = &outcome.measure;
    let busy_share = ratio(outcome.own_cpu.as_secs_f64(), seconds);
    let lag_p99_us = measure.lag(0.99);
    let reasons = [
        (busy_share > BUSY_SHARE_MAX, format!("its thread was {:.0} % busy", busy_share * 100.0)),
        (
            lag_p99_us > LAG_P99_MICROS_MAX,
            format!("one request in a hundred left {} ms or more late", lag_p99_us / 1000),
        ),
        (measure.held_back > 0, "its table of outstanding transactions was full".to_owned()),
        (own_drops > 0, format!("its socket dropped {own_drops} datagrams")),
    ];
    let reasons: Vec<String> =
        reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect();
    let micros = outcome.own_cpu.as_secs_f64() * 1e6;
    Generator {
        busy_share,
        cpu_us_per_transaction: ratio(micros, measure.completed_in_window as f64),
        lag_p99_us,
        lag_max_us: measure.lag(1.0),
        held_back: measure.held_back,
        own_drops,
        send_failed: outcome.failed,
        bottleneck: (!reasons.is_empty()).then(|| reasons.join("; ")),
    }
}

/// A quotient that is zero when there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<26} {value}");
        for trial in &self.trials {
            let verdict = if trial.clean { "clean".to_owned() } else { trial.faults.join(", ") };
            let p99 = millis(trial.p99_us);
            row("trial", format!("{:.0}/s: p99 {p99} ms, {verdict}", trial.rate))?;
        }
        let pace = match (self.rate_asked, self.window) {
            (Some(rate), _) => format!("{rate:.0}/s asked"),
            (None, window) => format!("{} in flight", window.unwrap_or(0)),
        };
        row("load", format!("{:?} over {:?}, {pace}", self.scenario, self.transport))?;
        row("measured", format!("{:.2} s, {} users", self.seconds, self.users))?;
        row("request", format!("{} octets", self.request_bytes))?;
        let codes: Vec<String> = self
            .answers
            .iter()
            .map(|answers| format!("{} x {}", answers.count, answers.code))
            .collect();
        row("sent", self.sent.to_string())?;
        row("answered", format!("{} ({})", self.completed, codes.join(", ")))?;
        row("passages", self.passages.to_string())?;
        row("lost, late", format!("{}, {}", self.lost, self.late))?;
        let again = (self.retransmitted, self.server_retransmissions);
        row("sent again (us, server)", format!("{}, {}", again.0, again.1))?;
        row("stray, other requests", format!("{}, {}", self.stray, self.other_requests))?;
        row("rate", format!("{:.0}/s", self.rate))?;
        let latency = &self.latency;
        let parts = [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us].map(millis);
        row("latency p50/99/99.9/max", format!("{} ms", parts.join(" / ")))?;
        row("longest stall", format!("{:.1} ms", self.longest_stall_ms))?;
        if let Some(server) = &self.server {
            let share = server.cpu_share * 100.0;
            let (all, system) = (server.cpu_us_per_message, server.system_us_per_message);
            row("server CPU", format!("{all:.1} us/message, {system:.1} of it the system's"))?;
            row("server CPU share", format!("{share:.0} % of one processor"))?;
            let (before, after) = (server.rss_before_bytes >> 10, server.rss_after_bytes >> 10);
            row("server RSS", format!("{before} KiB before, {after} KiB after"))?;
        }
        if let Some(drops) = self.server_drops {
            row("server socket drops", drops.to_string())?;
        }
        let own = &self.generator;
        row("generator CPU", format!("{:.2} us/transaction", own.cpu_us_per_transaction))?;
        row("generator busy", format!("{:.0} %", own.busy_share * 100.0))?;
        let (p99, max) = (millis(own.lag_p99_us), millis(own.lag_max_us));
        row("schedule lag p99/max", format!("{p99} / {max} ms"))?;
        row(
            "bottleneck",
            match &own.bottleneck {
                Some(reason) => format!("THE GENERATOR: {reason}"),
                None => "not the generator".to_owned(),
            },
        )?;
        let verdict = if self.clean { "yes".to_owned() } else { self.faults.join(", ") };
        row("clean", if self.clean { verdict } else { format!("no: {verdict}") })
    }
}

fn millis(micros: u64) -> String {
    format!("{:.2}", micros as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::super::measure::Measure;
    use super::super::process::Usage;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn report(change: impl FnOnce(&mut Measure), own_cpu: Duration) -> Report {
        let options = Options::default();
        let plan = Plan::load(&options, "127.0.0.1:9".parse().unwrap(), 1).unwrap();
        let mut measure = Measure::new(0, 2 * SECOND);
        for number in 0..1000 {
            measure.sent(number, number);
            measure.completed(number, number + 1_000_000, 200);
        }
        change(&mut measure);
        measure.close_window(2 * SECOND, false);
        let usage = |millis, rss_bytes| {
            let (cpu, system) = (Duration::from_millis(millis), Duration::from_millis(millis / 4));
            Usage { cpu, system, rss_bytes }
        };
        let usage = (usage(100, 1 << 20), usage(200, 2 << 20));
        let outcome = Outcome { measure, usage, own_cpu, failed: 0 };
        let around = Surroundings { processes: 1, server_drops: None, own_drops: 0 };
        Report::new(&options, Pace::Open(500.0), &plan, &outcome, around)
    }

    #[test]
    fn figures_are_per_message_and_second() {
        let report = report(|_| {}, Duration::from_millis(10));
        assert_eq!((report.clean, report.faults.len()), (true, 0));
        assert_eq!((report.sent, report.passages, report.rate), (1000, 1000, 500.0));
        let server = report.server.unwrap();
        assert!((server.cpu_us_per_message - 100.0).abs() < 1e-6);
        assert!((server.system_us_per_message - 25.0).abs() < 1e-6);
        assert!((server.cpu_share - 0.05).abs() < 1e-6);
        assert!((report.generator.cpu_us_per_transaction - 10.0).abs() < 1e-6);
        assert_eq!(report.generator.bottleneck, None);
    }

    #[test]
    fn every_fault_makes_a_run_unclean() {
        let unclean = |change: fn(&mut Measure)| {
            let report = report(change, Duration::ZERO);
            assert!(!report.clean);
            report.faults.join(",")
        };
        assert_eq!(unclean(|m| m.lost = 1), "1 lost");
        assert_eq!(unclean(|m| m.late = 2), "2 unanswered after T1");
        assert_eq!(unclean(|m| m.server_retransmissions = 3), "3 sent again by the server");
        assert_eq!(unclean(|m| m.completed(0, 1, 480)), "1 answered 480");
        assert_eq!(unclean(|m| m.held_back = 1), "1 held back by the generator");
        let slow = unclean(|m| (0..50).for_each(|_| m.completed(0, SECOND / 10, 200)));
        assert!(slow.starts_with("p99 is "), "{slow}");
    }

    #[test]
    fn the_generator_says_when_it_was_the_bottleneck() {
        let reason = |change: fn(&mut Measure), own_cpu| {
            report(change, Duration::from_millis(own_cpu)).generator.bottleneck
        };
        assert_eq!(reason(|_| {}, 1790), None);
        assert_eq!(reason(|_| {}, 1900).as_deref(), Some("its thread was 95 % busy"));
        let late = reason(|m| (0..100).for_each(|_| m.sent(0, 6_000_000)), 0);
        assert!(late.unwrap().contains("ms or more late"));
        assert!(reason(|m| m.held_back = 1, 0).unwrap().contains("was full"));
    }

    #[test]
    fn the_table_and_the_json_hold_the_figures() {
        let report = report(|m| m.lost = 4, Duration::ZERO);
        let table = report.to_string();
        assert!(table.contains("1000 (1000 x 200)") && table.contains("no: 4 lost"), "{table}");
        let json: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(json["scenario"], "relay-isc-orig");
        assert_eq!((&json["lost"], &json["answers"][0]["code"]), (&4.into(), &200.into()));
    }
}
