//! A whole run: sockets, registration, load or search, report.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_timerslack;
use nix::unistd::Pid;
use thiserror::Error;

use super::clock::run_number;
use super::echo::{Echo, EchoOptions};
use super::engine::{End, Pace, Pacing, play, settle};
use super::link::Link;
use super::options::{Options, Scenario, seconds};
use super::pending::TIMER_F;
use super::plan::Plan;
use super::process::{Processes, udp_drops};
use super::report::{Report, Surroundings, Trial};
use super::search::Search;
use super::template::TemplateError;

/// Registrations in flight before a load: local limit, below what a registrar queues.
const REGISTER_WINDOW: u32 = 64;
/// A trial of a search ends early after so much trouble: local limit; one is already unclean.
const TRIAL_TROUBLE_MAX: u64 = 20;
/// Longest wait for a server to become quiet after an unclean trial.
const SETTLE: Duration = Duration::from_secs(10);
/// The load that shows whether a server has recovered from an unclean trial.
const PROBE_RATE: f64 = 100.0;
/// How long a probe lasts, and the pause after one that failed.
const PROBE: Duration = Duration::from_millis(300);
/// Probes before a server is given up. Each takes a second or more, so this outlasts Timer F
/// (RFC 3261 §17.1.2.2) and what a server lets its transactions linger after it.
const PROBES_MAX: u32 = 60;

/// Why there is no report.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A socket failed, or the address is not ours.
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    /// The messages could not be built.
    #[error("template: {0}")]
    Template(#[from] TemplateError),
    /// The thread could not be pinned.
    #[error("cannot pin to processor {0}")]
    Pin(usize),
    /// A registration before the load failed.
    #[error("{missing} of {users} users could not be registered")]
    Registration {
        /// How many are missing.
        missing: u64,
        /// Of how many.
        users: u32,
    },
    /// After an unclean trial the server did not even answer a trickle cleanly for a minute.
    #[error("the server did not recover from {rate:.0} messages a second")]
    NotRecovered {
        /// The rate of the trial.
        rate: f64,
    },
    /// No rate was clean.
    #[error("no clean rate was found; the last trial: {0}")]
    NoCleanRate(String),
    /// The report could not be written.
    #[error("cannot write {path}: {error}")]
    Report {
        /// Where to.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The thread of the run panicked.
    #[error("the run panicked")]
    Panicked,
}

/// Runs what `options` say, on a thread of its own, and returns its report.
///
/// Fails when a socket cannot be had, a registration before the load fails, or a search finds no
/// clean rate. An unclean run is not a failure: see [`Report::clean`].
pub fn run(options: &Options) -> Result<Report, LoadError> {
    // Pinning and the timer slack belong to a thread; the caller's stay as they are.
    thread::scope(|scope| {
        scope.spawn(|| run_here(options)).join().unwrap_or(Err(LoadError::Panicked))
    })
}

/// Runs what the command line says, prints the table and writes the JSON file asked for.
pub fn command(options: &Options, out: &mut impl Write) -> Result<(), LoadError> {
    let report = run(options)?;
    let write = |error| LoadError::Report { path: PathBuf::from("-"), error };
    write!(out, "{report}").map_err(write)?;
    if let Some(path) = &options.json {
        let failed = |error| LoadError::Report { path: path.clone(), error };
        let text = serde_json::to_vec_pretty(&report).map_err(io::Error::from);
        fs::write(path, text.map_err(failed)?).map_err(failed)?;
    }
    Ok(())
}

fn run_here(options: &Options) -> Result<Report, LoadError> {
    // Sleeps end 50 µs late by default; without the slack a schedule is kept better. It is only
    // an improvement, so a refusal does not matter.
    let _ = set_timerslack(1000);

    let mut options = options.clone();
    let mut echo = None;
    if options.echo {
        let answer = (options.scenario == Scenario::Defer).then_some(202);
        let settings =
            EchoOptions { transport: options.transport, answer, ..EchoOptions::default() };
        let peer = echo.insert(Echo::start(settings)?);
        let address = peer.address();
        (options.orig, options.term) = (address, address);
        (options.registrar, options.proxy) = (address, address);
    }
    // After the peer has its thread, which would inherit the pinning.
    if let Some(processor) = options.pin {
        let mut set = CpuSet::new();
        set.set(processor)
            .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
            .map_err(|_| LoadError::Pin(processor))?;
    }
    let mut session = Session::open(&options)?;
    let report = session.report();
    drop(echo);
    report
}

/// The sockets of one run and what is watched meanwhile.
struct Session<'a> {
    options: &'a Options,
    link: Link,
    processes: Processes,
}

impl<'a> Session<'a> {
    fn open(options: &'a Options) -> Result<Self, LoadError> {
        let peers = peers(options);
        let link = Link::open(options.transport, options.local, &peers, options.connections)?;
        let processes = Processes::find(&options.pid, options.pgid);
        Ok(Self { options, link, processes })
    }

    fn report(&mut self) -> Result<Report, LoadError> {
        let options = self.options;
        let plain = options.scenario == Scenario::RelayRegistrar;
        if plain || (options.register_first && options.scenario != Scenario::Register) {
            self.register()?;
        }
        if options.find_rate {
            return self.search();
        }
        let pace = match options.closed {
            0 => Pace::Open(options.rate),
            window => Pace::Closed(window),
        };
        let count = match (options.count, options.scenario) {
            (0, Scenario::Register) => u64::from(options.users),
            (count, _) => count,
        };
        let (end, warm_up) = match count {
            0 => (End::After(seconds(options.duration)), options.warm_up()),
            count => (End::Count(count), Duration::ZERO),
        };
        self.play(&Pacing { warm_up, end, ..self.pacing(pace) })
    }

    fn pacing(&self, pace: Pace) -> Pacing {
        let options = self.options;
        Pacing {
            pace,
            warm_up: options.warm_up(),
            end: End::After(seconds(options.trial)),
            drain: options.drain(),
            stop_after_late: None,
            retransmit: options.retransmit,
            places: usize::try_from(options.outstanding).unwrap_or(usize::MAX),
            tick: Duration::from_micros(u64::from(options.tick)),
            users: options.users,
            seed: options.seed,
        }
    }

    fn play(&mut self, pacing: &Pacing) -> Result<Report, LoadError> {
        let options = self.options;
        let us = self.link.local();
        let plan = Plan::load(options, us, run_number(options.seed))?;
        let before = (udp_drops(us), udp_drops(plan.to));
        let outcome = play(&mut self.link, &plan, pacing, &self.processes)?;
        let after = (udp_drops(us), udp_drops(plan.to));
        let grown = |before: Option<u64>, after: Option<u64>| {
            after.map(|after| after.saturating_sub(before.unwrap_or(0)))
        };
        let around = Surroundings {
            processes: self.processes.count(),
            server_drops: grown(before.1, after.1),
            own_drops: grown(before.0, after.0).unwrap_or(0),
        };
        Ok(Report::new(options, pacing.pace, &plan, &outcome, around))
    }

    /// Registers every user, with retransmission, and insists on all of them.
    fn register(&mut self) -> Result<(), LoadError> {
        let (options, us) = (self.options, self.link.local());
        if options.scenario == Scenario::RelayRegistrar {
            self.for_every_user(&Plan::clear(options, us, run_number(options.seed))?)?;
        }
        self.for_every_user(&Plan::register(options, us, run_number(options.seed))?)
    }

    /// Plays `plan` once for every user.
    fn for_every_user(&mut self, plan: &Plan) -> Result<(), LoadError> {
        let options = self.options;
        let pacing = Pacing {
            warm_up: Duration::ZERO,
            end: End::Count(u64::from(options.users)),
            drain: TIMER_F,
            retransmit: true,
            ..self.pacing(Pace::Closed(REGISTER_WINDOW))
        };
        let outcome = play(&mut self.link, plan, &pacing, &self.processes)?;
        let registered = outcome.measure.answers().filter(|(code, _)| *code == plan.expect);
        let registered: u64 = registered.map(|(_, count)| count).sum();
        match u64::from(options.users).saturating_sub(registered) {
            0 => Ok(()),
            missing => Err(LoadError::Registration { missing, users: options.users }),
        }
    }

    fn search(&mut self) -> Result<Report, LoadError> {
        let options = self.options;
        let mut search = Search::new(options.rate, options.rate_max, options.precision);
        let mut trials = Vec::new();
        let mut best = None;
        let mut last = String::new();
        while let Some(rate) = search.next() {
            let stop_after_late = Some(TRIAL_TROUBLE_MAX);
            let pacing = Pacing { stop_after_late, ..self.pacing(Pace::Open(rate)) };
            let report = self.play(&pacing)?;
            let mut faults = report.faults.clone();
            if let Some(reason) = &report.generator.bottleneck {
                faults.push(format!("the generator: {reason}"));
            }
            let clean = report.clean;
            trials.push(Trial { rate, clean, p99_us: report.latency.p99_us, faults });
            if clean {
                best = Some(report);
            } else {
                last = report.faults.join(", ");
                self.recover(rate)?;
            }
            search.tell(clean);
        }
        let mut best = best.ok_or(LoadError::NoCleanRate(last))?;
        best.trials = trials;
        Ok(best)
    }

    /// Waits until the server answers a trickle cleanly again after a trial at `rate`.
    fn recover(&mut self, rate: f64) -> Result<(), LoadError> {
        for _ in 0..PROBES_MAX {
            settle(&mut self.link, SETTLE)?;
            let trickle = self.pacing(Pace::Open(rate.min(PROBE_RATE)));
            let end = End::After(PROBE.max(Duration::from_secs_f64(2.0 / rate.max(1.0))));
            let probe = Pacing { warm_up: Duration::ZERO, end, ..trickle };
            if self.play(&probe)?.clean {
                return Ok(());
            }
            thread::sleep(PROBE);
        }
        Err(LoadError::NotRecovered { rate })
    }
}

/// The addresses of the server that a scenario needs.
fn peers(options: &Options) -> Vec<SocketAddr> {
    let mut peers = match options.scenario {
        Scenario::RelayIscOrig => vec![options.orig],
        Scenario::RelayIscTerm | Scenario::Defer => vec![options.term],
        Scenario::Full => vec![options.orig, options.term],
        Scenario::RelayRegistrar => vec![options.proxy],
        Scenario::Register => vec![options.registrar],
    };
    if options.register_first && options.scenario != Scenario::RelayRegistrar {
        peers.push(options.registrar);
    }
    peers
}

#[cfg(test)]
mod tests {
    use super::super::options::Transport;
    use super::*;

    /// A short run against a peer with `settings`; `change` sets what differs.
    fn against(settings: EchoOptions, change: impl FnOnce(&mut Options)) -> Report {
        let echo = Echo::start(settings).unwrap();
        let address = echo.address();
        let mut options = Options {
            transport: settings.transport,
            orig: address,
            term: address,
            registrar: address,
            proxy: address,
            count: 200,
            closed: 16,
            users: 50,
            drain: 0.8,
            ..Options::default()
        };
        change(&mut options);
        run(&options).unwrap()
    }

    /// What kept a run from being clean, but for its latency, which other work can cause.
    fn wrong(report: &Report) -> Vec<&str> {
        let faults = report.faults.iter().map(String::as_str);
        faults.filter(|fault| !fault.starts_with("p99 is")).collect()
    }

    fn answered(report: &Report) -> (u64, Vec<(u16, u64)>) {
        let answers = report.answers.iter().map(|answers| (answers.code, answers.count));
        (report.sent, answers.collect())
    }

    #[test]
    fn every_scenario_completes_over_both_transports() {
        let scenarios = [
            (Scenario::RelayIscOrig, None, (200, 200), 200),
            (Scenario::RelayIscTerm, None, (200, 200), 200),
            (Scenario::Full, None, (200, 200), 400),
            (Scenario::RelayRegistrar, None, (200, 200), 200),
            (Scenario::Defer, Some(202), (202, 200), 200),
            (Scenario::Register, None, (200, 200), 200),
        ];
        for transport in [Transport::Udp, Transport::Tcp] {
            for (scenario, answer, expect, passages) in scenarios {
                let settings = EchoOptions { transport, answer, ..EchoOptions::default() };
                let report = against(settings, |options| options.scenario = scenario);
                assert_eq!(answered(&report), (200, vec![expect]), "{scenario:?} {transport:?}");
                assert_eq!(wrong(&report), [""; 0], "{scenario:?} {transport:?}");
                assert_eq!((report.passages, report.stray), (passages, 0), "{scenario:?}");
            }
        }
    }

    #[test]
    fn an_open_loop_keeps_its_schedule() {
        let report = against(EchoOptions::default(), |options| {
            (options.rate, options.closed, options.count) = (2000.0, 0, 0);
            (options.duration, options.warm_up) = (0.25, 0.05);
            options.register_first = true;
        });
        // Due at or after 50 ms and before 300 ms: numbers 100 to 599. On a busy machine the last
        // of them may be late for the end; more than 600 in all are never sent.
        assert!((1..=500).contains(&report.sent), "{report}");
        assert_eq!((report.completed, report.lost), (report.sent, 0), "{report}");
        assert!(report.latency.p50_us > 0 && report.latency.p50_us <= report.latency.p99_us);
    }

    #[test]
    fn losses_are_counted_and_free_the_window() {
        let settings = EchoOptions { lose_every: 150, ..EchoOptions::default() };
        let report = against(settings, |options| options.closed = 1);
        assert_eq!((report.sent, report.completed), (200, 199));
        assert_eq!((report.lost, report.late, report.retransmitted), (1, 1, 0));
        assert!(!report.clean);
        assert!(report.longest_stall_ms >= 499.0, "the only place waited for T1: {report}");
    }

    #[test]
    fn retransmission_repairs_losses() {
        let settings = EchoOptions { lose_every: 50, ..EchoOptions::default() };
        let report = against(settings, |options| options.retransmit = true);
        assert_eq!((report.completed, report.lost), (200, 0));
        assert!(report.late >= 4 && report.retransmitted == report.late, "{report}");
        assert!(!report.clean, "a retransmission was needed");
    }

    #[test]
    fn what_the_server_repeats_is_seen_and_answered() {
        let settings = EchoOptions { repeat_every: 20, ..EchoOptions::default() };
        let report = against(settings, |_| {});
        assert_eq!((report.completed, report.server_retransmissions), (200, 10));
        assert!(report.stray >= 9, "each second answer but perhaps the last: {}", report.stray);
        assert!(!report.clean);
    }

    #[test]
    fn a_refusal_is_not_what_was_expected() {
        let settings = EchoOptions { answer: Some(480), ..EchoOptions::default() };
        let report = against(settings, |options| options.count = 20);
        assert_eq!(answered(&report), (20, vec![(480, 20)]));
        assert_eq!((report.unexpected, report.clean), (20, false));
    }

    #[test]
    fn a_full_table_holds_requests_back() {
        let settings = EchoOptions { lose_every: 1, ..EchoOptions::default() };
        let report = against(settings, |options| {
            (options.closed, options.count, options.outstanding) = (100, 70, 64);
            options.drain = 0.1;
        });
        // 64 places; the other six go out once T1 has passed for the oldest, which are then lost.
        assert_eq!((report.sent, report.lost, report.completed), (70, 70, 0));
        assert!(report.generator.held_back >= 1);
        assert!(report.generator.bottleneck.unwrap().contains("was full"));
    }

    #[test]
    fn a_search_ends_with_a_clean_report() {
        let report = against(EchoOptions::default(), |options| {
            (options.find_rate, options.trial, options.warm_up) = (true, 0.1, 0.0);
            (options.rate, options.rate_max, options.closed) = (500.0, 1000.0, 0);
        });
        assert_eq!(wrong(&report), [""; 0]);
        let rates: Vec<f64> = report.trials.iter().map(|trial| trial.rate).collect();
        assert_eq!((rates.first(), rates.last()), (Some(&500.0), Some(&1000.0)));
    }

    #[test]
    fn what_the_machine_refuses_is_an_error() {
        let pin = Options { pin: Some(1_000_000), echo: true, ..Options::default() };
        assert!(matches!(run(&pin), Err(LoadError::Pin(1_000_000))));
        // RFC 5737: an address for documentation is never ours.
        let local = SocketAddr::from(([192, 0, 2, 1], 0));
        let elsewhere = Options { local, ..Options::default() };
        assert!(matches!(run(&elsewhere), Err(LoadError::Socket(_))));
    }

    #[test]
    fn the_command_writes_table_and_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let options =
            Options { echo: true, count: 10, json: Some(path.clone()), ..Options::default() };
        let mut table = Vec::new();
        command(&options, &mut table).unwrap();
        assert!(String::from_utf8(table).unwrap().contains("10 (10 x 200)"));
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(json["completed"], 10);
        let options = Options { json: Some(folder.path().join("no/such")), ..options };
        assert!(matches!(command(&options, &mut Vec::new()), Err(LoadError::Report { .. })));
    }
}
