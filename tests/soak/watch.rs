//! What the server has at a moment, and whether that grows.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Tasks that run; some of them always.
const TASKS: &str = "parlance_tasks";

/// Gauges that must be zero when everybody has left, summed over their labels.
const GAUGES: [&str; 10] = [
    "parlance_transactions",
    "parlance_dialogs",
    "parlance_shard_queue",
    "parlance_controlling_sessions",
    "parlance_controlling_participants",
    "parlance_explosions",
    "parlance_store_waiting",
    "parlance_msrp_connections",
    "parlance_msrp_octets_queued",
    "parlance_msrp_mailbox",
];

/// How much resident memory may grow from the third to the last quarter of the time: what an
/// allocator wanders.
const GROWTH_MAX_SHARE: f64 = 0.02;
const GROWTH_MAX_KIB: f64 = 2048.0;

/// What the server has at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    gauges: BTreeMap<&'static str, f64>,
    files: usize,
    threads: u64,
    resident_kib: u64,
}

impl Look {
    /// Of its metrics, its `/proc/PID/status` and how many files it has open.
    pub(crate) fn new(metrics: &str, status: &str, files: usize) -> Self {
        let mut gauges: BTreeMap<&'static str, f64> = BTreeMap::new();
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let mut known = GAUGES.iter().chain([&TASKS]);
            let Some(name) = known.find(|gauge| **gauge == name) else { continue };
            let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
            *gauges.entry(name).or_default() += value.unwrap_or(f64::MAX);
        }
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Self { gauges, files, threads: number("Threads:"), resident_kib: number("VmRSS:") }
    }

    fn gauge(&self, name: &str) -> f64 {
        self.gauges.get(name).copied().unwrap_or(0.0)
    }

    /// What there still is of sessions and requests, and what there is more of than there was.
    pub(crate) fn left_over(&self, before: &Self) -> Vec<String> {
        let ended = GAUGES.iter().map(|name| (*name, self.gauge(name), 0.0));
        #[expect(clippy::cast_precision_loss, reason = "some hundred")]
        let files = ("open files", self.files as f64, before.files as f64);
        let tasks = (TASKS, self.gauge(TASKS), before.gauge(TASKS));
        // Without an answer of the server there is not even one task.
        let answered = self.gauge(TASKS) > 0.0;
        let none = (!answered).then_some(("no metrics", 1.0, 0.0));
        let more = ended.chain([files, tasks]).chain(none).filter(|(_, now, then)| now > then);
        more.map(|(name, now, then)| format!("{name}: {now}, not {then}")).collect()
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, threads, resident_kib, .. } = self;
        write!(f, "{resident_kib} KiB, {files} files, {threads} threads")?;
        for (name, value) in self.gauges.iter().filter(|(_, value)| **value != 0.0) {
            write!(f, ", {} {value}", name.trim_start_matches("parlance_"))?;
        }
        Ok(())
    }
}

/// How resident memory went in the last part of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flatness {
    /// Its means over the two halves of that part, in KiB.
    first: f64,
    last: f64,
    span: Duration,
}

impl Flatness {
    /// Of the time from `from` on.
    pub(crate) fn of(looks: &[(Duration, Look)], from: Duration) -> Self {
        let part: Vec<&Look> =
            looks.iter().filter(|(at, _)| *at >= from).map(|(_, look)| look).collect();
        let (first, last) = part.split_at(part.len() / 2);
        let ends = looks.last().map_or(Duration::ZERO, |(at, _)| *at);
        Self { first: mean(first), last: mean(last), span: ends.saturating_sub(from) }
    }

    pub(crate) fn holds(&self) -> bool {
        let most = (self.first * GROWTH_MAX_SHARE).max(GROWTH_MAX_KIB);
        self.last - self.first <= most
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory in KiB stays far below 2^53")]
fn mean(looks: &[&Look]) -> f64 {
    let sum: u64 = looks.iter().map(|look| look.resident_kib).sum();
    sum as f64 / looks.len().max(1) as f64
}

impl fmt::Display for Flatness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, span } = self;
        let seconds = span.as_secs();
        write!(f, "resident in the last {seconds} s: {first:.0} KiB in their first half, ")?;
        write!(f, "{last:.0} KiB in their second, {:+.2} %", (last / first - 1.0) * 100.0)
    }
}

#[test]
fn what_is_left_is_seen() {
    let status = "Name:\tparlance\nVmRSS:\t  2048 kB\nThreads:\t7\n";
    let metrics = "# TYPE parlance_tasks gauge\nparlance_tasks{shard=\"0\"} 3\n\
                   parlance_tasks{shard=\"1\"} 4\nparlance_dialogs{shard=\"0\"} 0\n";
    let before = Look::new(metrics, status, 12);
    assert_eq!(before.to_string(), "2048 KiB, 12 files, 7 threads, tasks 7",);
    assert!(before.left_over(&before).is_empty());
    let after = Look::new(&metrics.replace("} 4", "} 5"), status, 13);
    assert_eq!(after.left_over(&before), ["open files: 13, not 12", "parlance_tasks: 8, not 7"]);
    let dialog = Look::new(&metrics.replace("{shard=\"0\"} 0", "{shard=\"0\"} 1"), status, 12);
    assert_eq!(dialog.left_over(&before), ["parlance_dialogs: 1, not 0"]);
    assert_eq!(Look::new("", status, 12).left_over(&before), ["no metrics: 1, not 0"]);
    let grows = |each: u64| {
        let look = |number: u64| Look { resident_kib: 100_000 + number * each, ..before.clone() };
        let looks: Vec<_> =
            (0..100).map(|number| (Duration::from_secs(number), look(number))).collect();
        !Flatness::of(&looks, Duration::from_secs(50)).holds()
    };
    assert!(!grows(0) && !grows(10) && grows(200));
}
