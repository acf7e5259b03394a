//! A whole run: sessions, connections, load, silence, report.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_timerslack;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use thiserror::Error;

use super::super::load::clock::{Clock, mix, nanos, run_number, thread_cpu};
use super::super::load::options::seconds;
use super::super::load::process::{Memory, Processes, Usage};
use super::auth::Client;
use super::engine::{Engine, Pace, Rules};
use super::legs::{Group, Legs, Member, Target, groups};
use super::link::{Link, Place, Sessions};
use super::message::{Author, Run};
use super::options::Options;
use super::report::{Report, Surroundings};
use super::session::Session;
use super::tls;

/// Longest wait for one more session to be bound; local limit.
const BINDING: Duration = Duration::from_secs(20);
/// Longest wait for something to happen in one turn.
const WAIT: Duration = Duration::from_millis(10);
/// How often the server's memory is looked at during the load.
const LOOK: Duration = Duration::from_millis(100);

/// Why there is no report.
#[derive(Debug, Error)]
pub enum MsrpLoadError {
    /// A socket failed, or the server refused a handshake or an AUTH.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A URI is none that can be connected to.
    #[error("no MSRP URI with a port: {0}")]
    Uri(String),
    /// There is nothing to play.
    #[error("there is not one session to play")]
    Nothing,
    /// The thread could not be pinned.
    #[error("cannot pin to processor {0}")]
    Pin(usize),
    /// Sessions could not be bound.
    #[error("{missing} of {sessions} sessions were not bound: {why}")]
    Unbound {
        /// How many are missing.
        missing: usize,
        /// Of how many.
        sessions: usize,
        /// What came instead.
        why: String,
    },
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

/// Runs what `options` say, on a thread of its own, against the sessions `legs`, and returns its
/// report. An unclean run is not a failure: see [`Report::clean`].
pub fn run(options: &Options, legs: &Legs) -> Result<Report, MsrpLoadError> {
    // Pinning and the timer slack belong to a thread; the caller's stay as they are.
    thread::scope(|scope| {
        let here = scope.spawn(|| run_here(options, legs));
        here.join().unwrap_or(Err(MsrpLoadError::Panicked))
    })
}

/// Runs what the command line says, prints the table and writes the JSON file asked for.
pub fn command(options: &Options, out: &mut impl Write) -> Result<(), MsrpLoadError> {
    let legs = match &options.legs {
        Some(path) => Legs::read(path)?,
        None => Legs::default(),
    };
    let report = run(options, &legs)?;
    let write = |error| MsrpLoadError::Report { path: PathBuf::from("-"), error };
    write!(out, "{report}").map_err(write)?;
    if let Some(path) = &options.json {
        let failed = |error| MsrpLoadError::Report { path: path.clone(), error };
        let text = serde_json::to_vec_pretty(&report).map_err(io::Error::from);
        fs::write(path, text.map_err(failed)?).map_err(failed)?;
    }
    Ok(())
}

/// Lets this process open as many files as it may; one that may not open more stays as it is.
pub(super) fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Pins this thread to one processor.
pub(super) fn pin(processor: usize) -> Result<(), MsrpLoadError> {
    let mut set = CpuSet::new();
    set.set(processor)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|_| MsrpLoadError::Pin(processor))
}

fn run_here(options: &Options, legs: &Legs) -> Result<Report, MsrpLoadError> {
    // Only an improvement, so a refusal does not matter.
    let _ = set_timerslack(1000);
    raise_file_limit();
    if let Some(processor) = options.pin {
        pin(processor)?;
    }
    let mut watch = Watch::new(Processes::find(&options.pid, None));
    watch.look("before");
    let mut engine = set_up(options, legs, &mut watch)?;
    watch.look("with all sessions");
    load(options, &mut engine, &mut watch)?;
    watch.look("after the load");
    if options.idle > 0.0 {
        pass(&mut engine, seconds(options.idle), |_| false)?;
        watch.look("after the silence");
    }
    Ok(Report::new(options, &engine, &watch.around))
}

/// What is watched of the server.
struct Watch {
    processes: Processes,
    around: Surroundings,
}

impl Watch {
    fn new(processes: Processes) -> Self {
        let around = Surroundings {
            processes: processes.count(),
            usage: (Usage::default(), Usage::default()),
            moments: Vec::new(),
            rss_peak_bytes: 0,
            own_cpu: Duration::ZERO,
            groups: 0,
        };
        Self { processes, around }
    }

    fn look(&mut self, when: &'static str) {
        if self.processes.count() > 0 {
            let memory: Memory = self.processes.memory();
            self.around.moments.push((when, memory));
            self.peak();
        }
    }

    fn peak(&mut self) {
        let rss = self.processes.usage().rss_bytes;
        self.around.rss_peak_bytes = self.around.rss_peak_bytes.max(rss);
    }
}

/// The load itself: warm-up, measured part, and what is on the way after it.
fn load(options: &Options, engine: &mut Engine, watch: &mut Watch) -> io::Result<()> {
    engine.start();
    let counted = options.count > 0;
    if !counted {
        pass(engine, seconds(options.warm_up), |_| false)?;
    }
    watch.around.usage.0 = watch.processes.usage();
    let (cpu, spun) = (thread_cpu(), engine.spun);
    engine.measure.open(engine.now);
    let duration = if counted { Duration::MAX } else { seconds(options.duration) };
    let mut next = engine.now;
    let mut last = (engine.now, 0);
    pass(engine, duration, |engine| {
        if engine.now >= next {
            watch.peak();
            next = engine.now + nanos(LOOK);
        }
        if engine.measure.delivered + engine.measure.answered > last.1 {
            last = (engine.now, engine.measure.delivered + engine.measure.answered);
        }
        // A count that is not reached ends when nothing has come for the time of the drain.
        let stuck = engine.now.saturating_sub(last.0) > nanos(seconds(options.drain));
        engine.is_done() || (counted && stuck)
    })?;
    engine.measure.close(engine.now);
    watch.around.usage.1 = watch.processes.usage();
    let spun = Duration::from_nanos(engine.spun - spun);
    watch.around.own_cpu = thread_cpu().saturating_sub(cpu).saturating_sub(spun);
    engine.sending = false;
    pass(engine, seconds(options.drain), Engine::is_quiet)
}

/// Turns until `over` says so or the time has passed.
fn pass(
    engine: &mut Engine,
    time: Duration,
    mut over: impl FnMut(&Engine) -> bool,
) -> io::Result<()> {
    let clock = Clock::start();
    while clock.nanos() < nanos(time) && !over(engine) {
        engine.turn(WAIT)?;
    }
    Ok(())
}

/// Connects, asks for URIs where that is wanted, and binds every session.
fn set_up(options: &Options, legs: &Legs, watch: &mut Watch) -> Result<Engine, MsrpLoadError> {
    let mut groups = match &options.relay {
        Some(relay) => unasked(relay, options.pairs.unwrap_or(1))?,
        None => groups(legs, options.rooms, options.pairs).map_err(MsrpLoadError::Uri)?,
    };
    watch.around.groups = groups.len();
    let order = order(&groups);
    if order.is_empty() {
        return Err(MsrpLoadError::Nothing);
    }
    let open = options.rate > 0.0;
    let pace = if open { Pace::Open(options.rate) } else { Pace::Closed(options.window) };
    let random = mix(u64::from(run_number(7))) ^ u64::from(run_number(11)) << 32;
    let rules = Rules {
        run: Run::new(
            random,
            (options.size, options.chunk),
            options.failure_report,
            options.success_report,
        ),
        pace,
        count: (options.count > 0).then_some(options.count),
        verify: options.verify,
        quiet: options.quiet,
        sample: options.sample,
        tick: Duration::from_micros(u64::from(options.tick)),
    };
    let window = (!open).then_some(options.window);
    let (links, sessions) = connected(options, &mut groups, &order, &rules.run, window)?;
    let most = options.senders.unwrap_or(usize::MAX);
    let active = groups.iter().take(options.active.unwrap_or(usize::MAX));
    let active: usize = active.map(|group| group.members.len()).sum();
    let sends = |(number, session): (usize, &Session)| {
        let sends = usize::from(session.author.at) < most && session.members > 1;
        (sends && number < active).then(|| u32::try_from(number).ok()).flatten()
    };
    let senders = sessions.iter().enumerate().filter_map(sends).collect();
    let mut engine = Engine::new(rules, links, sessions, senders)?;
    if options.relay.is_none() {
        bind(&mut engine)?;
    }
    Ok(engine)
}

/// The sessions of all groups, each on a connection that stands.
fn connected(
    options: &Options,
    groups: &mut [Group],
    order: &[(usize, usize)],
    run: &Run,
    window: Option<u32>,
) -> Result<(Vec<Link>, Vec<Session>), MsrpLoadError> {
    let Some(relay) = &options.relay else {
        let mut placed = sessions(groups, run, window);
        // At once: a server closes a connection that says nothing for too long.
        let bind = |number, link: &mut Link, carried: &Carried| {
            carry((number, link), carried, &mut placed, Some(run))
        };
        let (links, _) = connect(options, groups, order, bind)?;
        return Ok((links, placed));
    };
    let (mut links, carried) = connect(options, groups, order, |_, _, _| Ok(()))?;
    ask(options, relay, groups, &mut links, &carried)?;
    let mut placed = sessions(groups, run, window);
    for (number, (link, carried)) in links.iter_mut().zip(&carried).enumerate() {
        carry((number, link), carried, &mut placed, None)?;
    }
    Ok((links, placed))
}

/// The pairs of a relay that has not been asked yet.
fn unasked(relay: &str, pairs: usize) -> Result<Vec<Group>, MsrpLoadError> {
    let server = Target::parse(relay).ok_or_else(|| MsrpLoadError::Uri(relay.to_owned()))?;
    let scheme = if server.secure { "msrps" } else { "msrp" };
    let transport = if server.websocket { "ws" } else { "tcp" };
    let run = run_number(5);
    let member = |pair: usize, end: usize| Member {
        to_path: String::new(),
        from_path: format!("{scheme}://127.0.0.1:9/peer{run:08x}{pair:07}{end};{transport}"),
        participant: String::new(),
        server: server.clone(),
    };
    let pair =
        |pair| Group { room: String::new(), members: vec![member(pair, 0), member(pair, 1)] };
    Ok((0..pairs).map(pair).collect())
}

/// The sessions as they are put on connections, by group and place in it: neighbours are of
/// different groups, so that members of one group share a connection only when all others do.
fn order(groups: &[Group]) -> Vec<(usize, usize)> {
    let most = groups.iter().map(|group| group.members.len()).max().unwrap_or(0);
    let at = |at| {
        let with = groups.iter().enumerate().filter(move |(_, group)| at < group.members.len());
        with.map(move |(group, _)| (group, at))
    };
    (0..most).flat_map(at).collect()
}

/// The sessions that a connection carries, by number.
type Carried = Vec<u32>;

/// Opens the connections, and does `next` with each once it stands.
fn connect(
    options: &Options,
    groups: &[Group],
    order: &[(usize, usize)],
    mut next: impl FnMut(usize, &mut Link, &Carried) -> io::Result<()>,
) -> Result<(Vec<Link>, Vec<Carried>), MsrpLoadError> {
    let firsts: Vec<usize> = groups
        .iter()
        .scan(0, |next, group| {
            let first = *next;
            *next += group.members.len();
            Some(first)
        })
        .collect();
    let config = tls::config()?;
    let (mut links, mut carried) = (Vec::new(), Vec::new());
    for shared in order.chunks(options.share.max(1)) {
        let number = |(group, at): &(usize, usize)| {
            let first = firsts.get(*group).copied().unwrap_or(0);
            u32::try_from(first + at).unwrap_or(u32::MAX)
        };
        let Some((group, at)) = shared.first() else { continue };
        let member = groups.get(*group).and_then(|group| group.members.get(*at));
        let Some(server) = member.map(|member| &member.server) else { continue };
        let address = match &options.connect {
            Some(address) => address.to_socket_addrs()?.next(),
            None => Some(server.address()?),
        };
        let place = Place {
            address: address.ok_or_else(|| MsrpLoadError::Uri(server.host.clone()))?,
            host: server.host.clone(),
            tls: server.secure.then(|| config.clone()),
            websocket: server.websocket,
        };
        let mut link = Link::connect(&place, options.verify)?;
        let sessions = shared.iter().map(number).collect();
        next(links.len(), &mut link, &sessions)?;
        links.push(link);
        carried.push(sessions);
    }
    Ok((links, carried))
}

/// Asks the relay for the URIs of all sessions, and gives each the path to its peer.
fn ask(
    options: &Options,
    relay: &str,
    groups: &mut [Group],
    links: &mut [Link],
    carried: &[Carried],
) -> Result<(), MsrpLoadError> {
    let mut granted = HashMap::new();
    for (link, carried) in links.iter_mut().zip(carried) {
        for number in carried {
            let (pair, end) = (*number / 2, *number % 2);
            let group = usize::try_from(pair).ok().and_then(|pair| groups.get(pair));
            let member = group.and_then(|g| g.members.get(usize::try_from(end).unwrap_or(0)));
            let Some(member) = member else { continue };
            let client = Client {
                relay,
                own: &member.from_path,
                user: &options.user,
                password: &options.password,
            };
            granted.insert(*number, client.grant(link)?);
        }
    }
    for (number, group) in (0_u32..).zip(groups) {
        let [one, other] = group.members.as_mut_slice() else { continue };
        let path = |end: u32| granted.get(&(number * 2 + end)).cloned().unwrap_or_default();
        one.to_path = format!("{} {}", path(1), other.from_path);
        other.to_path = format!("{} {}", path(0), one.from_path);
    }
    Ok(())
}

/// The sessions of all groups, one group after the other.
fn sessions(groups: &[Group], run: &Run, window: Option<u32>) -> Vec<Session> {
    let mut sessions = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        let first = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
        let members = u32::try_from(group.members.len()).unwrap_or(0);
        for (at, member) in (0_u16..).zip(&group.members) {
            let low = u16::try_from(number & 0xffff).unwrap_or(0);
            let author = Author::new(first + u32::from(at), low, at, member, &group.room);
            let template = run.template(&author);
            sessions.push(Session::new(author, member, template, (first, members), window));
        }
    }
    sessions
}

/// Puts sessions on their connection and binds them there, unless a relay has done so.
fn carry(
    (number, link): (usize, &mut Link),
    carried: &[u32],
    sessions: &mut [Session],
    binds: Option<&Run>,
) -> io::Result<()> {
    let mut by_uri = HashMap::new();
    for session in carried {
        let at = usize::try_from(*session).unwrap_or(usize::MAX);
        let Some(place) = sessions.get_mut(at) else { continue };
        place.link = u32::try_from(number).unwrap_or(u32::MAX);
        by_uri.insert(place.from_path.clone().into_bytes(), *session);
        if let Some(run) = binds {
            link.push(|out| run.bind(&place.author, out));
        }
    }
    link.sessions = match carried {
        [one] => Sessions::One(*one),
        _ => Sessions::Many(by_uri),
    };
    link.flush()
}

/// Waits until all sessions are bound.
fn bind(engine: &mut Engine) -> Result<(), MsrpLoadError> {
    let all = engine.sessions.len();
    let mut last = (engine.now, engine.bound);
    let over = |engine: &Engine| {
        if engine.bound > last.1 {
            last = (engine.now, engine.bound);
        }
        let refused = !engine.measure.refused.is_empty() || engine.measure.lost_links > 0;
        let stuck = engine.now.saturating_sub(last.0) > nanos(BINDING);
        engine.bound == all || refused || stuck
    };
    pass(engine, Duration::MAX, over)?;
    if engine.bound == all {
        return Ok(());
    }
    let why = match (engine.measure.refused.keys().next(), engine.measure.lost_links) {
        (Some(code), _) => format!("the server answers {code}"),
        (None, 0) => "the server does not answer".to_owned(),
        (None, _) => "the server closes connections".to_owned(),
    };
    Err(MsrpLoadError::Unbound { missing: all - engine.bound, sessions: all, why })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::super::floor::{FloorOptions, floor};
    use super::super::options::FailureReport;
    use super::*;

    /// Hands each line that is written to somebody else.
    struct Lines(Sender<String>, Vec<u8>);

    impl Write for Lines {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.1.extend_from_slice(octets);
            if self.1.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.1)).into_owned();
                self.0.send(line).map_err(io::Error::other)?;
            }
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The sessions of a floor; it ends with the tests.
    fn laid(rooms: usize, size: usize, pairs: usize) -> Legs {
        let (sender, lines) = channel();
        let listen = "127.0.0.1:0".parse().unwrap();
        let options = FloorOptions { listen, rooms, size, pairs, pin: None };
        thread::spawn(move || floor(&options, &mut Lines(sender, Vec::new())));
        serde_json::from_str(&lines.recv().unwrap()).unwrap()
    }

    fn played(legs: &Legs, change: impl FnOnce(&mut Options)) -> Report {
        let mut options =
            Options { count: 30, window: 4, sample: 1, drain: 2.0, ..Options::default() };
        change(&mut options);
        run(&options, legs).unwrap()
    }

    #[test]
    fn every_copy_is_counted_once() {
        let legs = laid(2, 5, 3);
        let report = played(&legs, |_| {});
        assert_eq!((report.clean, report.faults.as_slice()), (true, [].as_slice()));
        assert_eq!((report.sessions, report.groups, report.connections), (16, 5, 16));
        // Rooms: 2 * 5 senders to 4 others; pairs: 6 senders to 1 other.
        assert_eq!(report.delivered, 30 * (2 * 5 * 4 + 6));
        assert_eq!(report.delivery.samples, report.delivered);
    }

    #[test]
    fn few_may_send_and_at_a_rate() {
        let legs = laid(2, 4, 0);
        let report = played(&legs, |options| {
            (options.count, options.rate, options.tick) = (0, 500.0, 200);
            (options.duration, options.warm_up) = (0.3, 0.1);
            (options.senders, options.active) = (Some(1), Some(1));
        });
        assert_eq!((report.clean, report.senders), (true, 1), "{report}");
        assert!((300.0..700.0).contains(&report.sent_rate), "{report}");
        assert!((900.0..2100.0).contains(&report.delivered_rate), "{report}");
    }

    #[test]
    fn what_is_wrong_is_told() {
        // The floor leaves the paths as they are, and answers whatever was asked.
        let legs = laid(0, 0, 1);
        let report = played(&legs, |options| {
            (options.verify, options.failure_report) = (true, FailureReport::No);
        });
        let faults = report.faults.join(", ");
        assert_eq!(report.delivered, 60);
        assert!(faults.contains("60 SENDs with another To-Path"), "{faults}");
        assert!(faults.contains("answered though nobody asked"), "{faults}");
    }

    #[test]
    fn nothing_to_play_and_nobody_there_are_errors() {
        let empty = run(&Options::default(), &Legs::default());
        assert!(matches!(empty, Err(MsrpLoadError::Nothing)));
        let mut legs = laid(0, 0, 1);
        for leg in &mut legs.pairs[0].legs {
            leg.uri = "msrp://127.0.0.1:1/nobody;tcp".to_owned();
        }
        assert!(matches!(run(&Options::default(), &legs), Err(MsrpLoadError::Io(_))));
    }
}
