//! The loop of a run: offer what is due, take what arrived, answer it, count.

use std::io;
use std::thread;
use std::time::Duration;

use super::clock::{Clock, mix, nanos, thread_cpu};
use super::link::{Link, Outbox, Peer};
use super::measure::Measure;
use super::message::{Kind, Leg, answer, forward, kind, pop_via};
use super::pending::{Due, Pending, Room};
use super::plan::Plan;
use super::process::{Processes, Usage};
use super::template::Fields;

/// Requests offered before arrivals are looked at again: local limit, one system call's worth.
const OFFER_MAX: u32 = 64;
/// Reads taken before requests are offered again: local limit.
const FILL_MAX: u32 = 8;
/// Longest sleep, so that timers stay within it.
const WAIT_MAX: Duration = Duration::from_millis(10);
/// The tag on every To we answer: fixed, so that an answer sent again is the same.
const TAG: &str = "lab";

/// How requests are offered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// So many a second on an absolute schedule.
    Open(f64),
    /// So many in flight.
    Closed(u32),
}

/// When a run stops offering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// After this long, not counting the time before the measurement.
    After(Duration),
    /// After so many transactions.
    Count(u64),
}

/// How a plan is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacing {
    pub(crate) pace: Pace,
    pub(crate) warm_up: Duration,
    pub(crate) end: End,
    pub(crate) drain: Duration,
    /// Stop offering once so many transactions are late or were sent again by the server: a
    /// search need not drown a server to learn that it is overloaded.
    pub(crate) stop_after_late: Option<u64>,
    pub(crate) retransmit: bool,
    pub(crate) places: usize,
    pub(crate) tick: Duration,
    pub(crate) users: u32,
    pub(crate) seed: u64,
}

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) measure: Measure,
    /// The processes under test at the start and at the end of the measurement.
    pub(crate) usage: (Usage, Usage),
    /// Processor time of this thread during the measurement.
    pub(crate) own_cpu: Duration,
    /// Messages that could not be sent.
    pub(crate) failed: u64,
}

/// Plays `plan` over `link` until everything is answered or given up.
pub(crate) fn play(
    link: &mut Link,
    plan: &Plan,
    pacing: &Pacing,
    processes: &Processes,
) -> io::Result<Outcome> {
    let failed = link.outbox.failed();
    let mut engine = Engine::new(plan, pacing, processes);
    engine.run(link)?;
    let Engine { measure, usage, own_cpu, .. } = engine;
    Ok(Outcome { measure, usage, own_cpu, failed: link.outbox.failed() - failed })
}

/// Answers what a server still sends after a run, until it is quiet for 300 ms, at most `limit`.
pub(crate) fn settle(link: &mut Link, limit: Duration) -> io::Result<()> {
    const QUIET: Duration = Duration::from_millis(300);
    let clock = Clock::start();
    let mut last = 0;
    while clock.nanos() < last + nanos(QUIET) && clock.nanos() < nanos(limit) {
        link.wait(WAIT_MAX)?;
        link.fill()?;
        while let Some((message, from)) = link.inbox.next() {
            last = clock.nanos();
            if let Kind::Request(method) = kind(message) {
                reply(&mut link.outbox, method, message, from);
            }
        }
        link.outbox.flush();
    }
    Ok(())
}

/// Answers a request; an ACK has no answer (RFC 3261 §17), and a subscription is refused because
/// nothing here would notify.
fn reply(outbox: &mut Outbox, method: &[u8], request: &[u8], from: Peer) {
    match method {
        b"ACK" => {}
        b"SUBSCRIBE" => outbox.send(from, |out| answer(request, "489 Bad Event", TAG, out)),
        _ => outbox.send(from, |out| answer(request, "200 OK", TAG, out)),
    }
}

struct Engine<'a> {
    plan: &'a Plan,
    pacing: &'a Pacing,
    processes: &'a Processes,
    clock: Clock,
    pending: Pending,
    measure: Measure,
    usage: (Usage, Usage),
    own_cpu: Duration,
    phase: Phase,
    /// Transactions sent and neither answered nor given up.
    in_flight: u64,
    /// The next request has already been counted as held back.
    holding: bool,
    woken: u64,
    /// Transactions late or sent again by the server, warm-up included.
    troubled: u64,
    /// The last sleep was to the end of a tick.
    ticked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measuring,
    /// Nothing is offered any more; until then answers are taken.
    Draining {
        until: u64,
    },
}

impl<'a> Engine<'a> {
    fn new(plan: &'a Plan, pacing: &'a Pacing, processes: &'a Processes) -> Self {
        let start = nanos(pacing.warm_up);
        let end = match pacing.end {
            End::After(duration) => start.saturating_add(nanos(duration)),
            End::Count(_) => u64::MAX,
        };
        Self {
            plan,
            pacing,
            processes,
            clock: Clock::start(),
            pending: Pending::new(pacing.places, pacing.retransmit, plan.second.is_some()),
            measure: Measure::new(start, end),
            usage: Default::default(),
            own_cpu: Duration::ZERO,
            phase: Phase::WarmUp,
            in_flight: 0,
            holding: false,
            woken: 0,
            troubled: 0,
            ticked: false,
        }
    }

    fn run(&mut self, link: &mut Link) -> io::Result<()> {
        loop {
            let now = self.clock.nanos();
            self.advance(now);
            self.run_timers(link, now);
            if let Phase::Draining { until } = self.phase
                && (self.in_flight == 0 || now >= until)
            {
                break;
            }
            self.offer(link, now);
            link.outbox.flush();
            if self.take(link)? == 0 {
                self.wait(link)?;
            }
        }
        let left: Vec<u64> = self.pending.drain().collect();
        for due in left {
            self.lose(due);
        }
        Ok(())
    }

    /// Enters the next phase when its time has come.
    fn advance(&mut self, now: u64) {
        let start = nanos(self.pacing.warm_up);
        if self.phase == Phase::WarmUp && now >= start {
            self.phase = Phase::Measuring;
            self.usage.0 = self.processes.usage();
            self.own_cpu = thread_cpu();
        }
        let over = match self.pacing.end {
            End::After(duration) => now >= start.saturating_add(nanos(duration)),
            End::Count(count) => self.pending.next_seq() >= count && self.in_flight == 0,
        };
        // A count whose last answers are missing ends when nothing is outstanding any more, or
        // when the drain time has passed since the last one was sent.
        let drowning = self.pacing.stop_after_late.is_some_and(|most| self.troubled >= most);
        if drowning && self.phase == Phase::WarmUp {
            self.phase = Phase::Draining { until: now.saturating_add(nanos(self.pacing.drain)) };
            self.measure.late += self.troubled;
        }
        let over = over || drowning || self.count_timed_out(now);
        if self.phase == Phase::Measuring && over {
            self.measure.close_window(now, self.in_flight > 0);
            self.usage.1 = self.processes.usage();
            self.own_cpu = thread_cpu().saturating_sub(self.own_cpu);
            self.phase = Phase::Draining { until: now.saturating_add(nanos(self.pacing.drain)) };
        }
    }

    fn count_timed_out(&mut self, now: u64) -> bool {
        let End::Count(count) = self.pacing.end else {
            return false;
        };
        if self.pending.next_seq() < count {
            return false;
        }
        let last = count.checked_sub(1).and_then(|seq| self.pending.due_of(seq));
        last.is_none_or(|due| now > due.saturating_add(nanos(self.pacing.drain)))
    }

    fn run_timers(&mut self, link: &mut Link, now: u64) {
        while let Some(due) = self.pending.poll_timer(now) {
            let again = match due {
                Due::Late { seq, again } => {
                    self.measure.late += u64::from(self.due_counts(seq));
                    self.troubled += 1;
                    if !self.pacing.retransmit {
                        self.in_flight = self.in_flight.saturating_sub(1);
                    }
                    again.then_some(seq)
                }
                Due::Again(seq) => Some(seq),
                Due::Lost(seq) => {
                    self.measure.lost += u64::from(self.due_counts(seq));
                    self.in_flight = self.in_flight.saturating_sub(1);
                    None
                }
            };
            if let Some(seq) = again {
                self.measure.retransmitted += u64::from(self.due_counts(seq));
                self.send_request(link, seq);
            }
        }
    }

    /// Sends what is due, up to [`OFFER_MAX`].
    fn offer(&mut self, link: &mut Link, now: u64) {
        for _ in 0..OFFER_MAX {
            let Some(due) = self.next_due(now).filter(|due| *due <= now) else {
                return;
            };
            match self.pending.room(now) {
                Room::Full => {
                    self.measure.held_back += u64::from(!self.holding);
                    self.holding = true;
                    return;
                }
                Room::Free | Room::Expired => self.holding = false,
            }
            let seq = self.pending.next_seq();
            if let Some(lost) = self.pending.start(due, now) {
                self.lose(lost);
            }
            self.in_flight += 1;
            self.measure.sent(due, now);
            self.send_request(link, seq);
        }
    }

    /// When the next request is due; `None` when none is to be sent now.
    fn next_due(&self, now: u64) -> Option<u64> {
        if matches!(self.phase, Phase::Draining { .. }) {
            return None;
        }
        let seq = self.pending.next_seq();
        if matches!(self.pacing.end, End::Count(count) if seq >= count) {
            return None;
        }
        match self.pacing.pace {
            Pace::Open(rate) => Some(scheduled(seq, rate)),
            Pace::Closed(window) => (self.in_flight < u64::from(window)).then_some(now),
        }
    }

    fn send_request(&mut self, link: &mut Link, seq: u64) {
        let fields = self.fields(seq);
        let to = Peer::Address(self.plan.to);
        link.outbox.send(to, |out| self.plan.request.render(&fields, out));
    }

    fn fields(&self, seq: u64) -> Fields {
        let users = u64::from(self.pacing.users.max(1));
        let (from, mut to) = if self.plan.in_turn {
            (seq % users, seq % users)
        } else {
            let drawn = mix(self.pacing.seed.wrapping_add(seq));
            ((drawn & 0xffff_ffff) % users, (drawn >> 32) % users)
        };
        if from == to {
            to = (to + 1) % users;
        }
        // Both are below `users`, which is 32 bits wide.
        let narrow = |user| u32::try_from(user).unwrap_or(0);
        Fields { seq, from: narrow(from), to: narrow(to) }
    }

    /// Takes what has arrived; how many reads brought something.
    fn take(&mut self, link: &mut Link) -> io::Result<usize> {
        let mut all = 0;
        for _ in 0..FILL_MAX {
            let read = link.fill()?;
            if read == 0 {
                break;
            }
            all += read;
            let now = self.clock.nanos();
            while let Some((message, from)) = link.inbox.next() {
                self.handle(&mut link.outbox, message, from, now);
            }
            link.outbox.flush();
        }
        Ok(all)
    }

    #[inline]
    fn handle(&mut self, outbox: &mut Outbox, message: &[u8], from: Peer, now: u64) {
        match (kind(message), self.plan.marker.find(message)) {
            (Kind::Response(code), Some((Leg::First, seq))) => self.finish(seq, code, now),
            (Kind::Response(code), Some((Leg::Second, seq))) => {
                if code >= 200
                    && let Some(origin) = self.pending.origin(seq)
                {
                    outbox.send(origin, |out| pop_via(message, out));
                }
            }
            (Kind::Response(_), None) => self.measure.stray += 1,
            (Kind::Request(b"MESSAGE"), Some((leg, seq))) => {
                let again = self.pending.seen(seq, usize::from(leg == Leg::Second));
                self.measure.server_retransmissions += u64::from(again);
                self.troubled += u64::from(again);
                match &self.plan.second {
                    Some((insert, to)) if leg == Leg::First => {
                        self.pending.keep_origin(seq, from);
                        let fields = self.fields(seq);
                        pass_on(outbox, message, insert, &fields, Peer::Address(*to));
                    }
                    Some(_) | None => reply(outbox, b"MESSAGE", message, from),
                }
            }
            (Kind::Request(method), _) => {
                self.measure.others += 1;
                reply(outbox, method, message, from);
            }
            (Kind::Other, _) => {}
        }
    }

    fn finish(&mut self, seq: u64, code: u16, now: u64) {
        if code < 200 {
            self.pending.proceed(seq);
            return;
        }
        let Some(completed) = self.pending.complete(seq) else {
            self.measure.stray += 1;
            return;
        };
        if self.pacing.retransmit || !completed.late {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        self.measure.completed(completed.due, now, code);
    }

    fn lose(&mut self, due: u64) {
        self.measure.lost += u64::from(self.measure.counts(due));
    }

    fn due_counts(&mut self, seq: u64) -> bool {
        self.pending.due_of(seq).is_some_and(|due| self.measure.counts(due))
    }

    /// Sleeps until there is something to do: first to the end of the tick whatever arrives, so
    /// that one wake-up serves many arrivals and the server keeps the processor; then until
    /// something arrives or is due.
    fn wait(&mut self, link: &Link) -> io::Result<()> {
        let now = self.clock.nanos();
        let spent = Duration::from_nanos(now.saturating_sub(self.woken));
        let rest = self.pacing.tick.checked_sub(spent).filter(|_| !self.ticked);
        self.ticked = rest.is_some();
        if let (Pace::Open(_), Some(rest)) = (self.pacing.pace, rest) {
            thread::sleep(rest);
        } else {
            let wait = match self.next_due(now) {
                Some(_) if self.holding => Duration::from_millis(1),
                Some(due) => Duration::from_nanos(due.saturating_sub(now)),
                None => WAIT_MAX,
            };
            link.wait(wait.min(WAIT_MAX))?;
        }
        self.woken = self.clock.nanos();
        Ok(())
    }
}

/// Passes a message that came back from the originating side on to the terminating side.
fn pass_on(
    outbox: &mut Outbox,
    message: &[u8],
    insert: &super::template::Template,
    fields: &Fields,
    to: Peer,
) {
    let mut lines = [0; 1024];
    let inserted = insert.render(fields, &mut lines).and_then(|len| lines.get(..len));
    outbox.send(to, |out| forward(message, inserted?, out));
}

/// When number `seq` is due at `rate` a second, in nanoseconds of the run.
fn scheduled(seq: u64, rate: f64) -> u64 {
    // 53 bits are exact to a nanosecond for 104 days.
    let at = seq as f64 * 1e9 / rate.max(0.001);
    at as u64
}

#[cfg(test)]
mod tests {
    use super::super::echo::{Echo, EchoOptions};
    use super::super::options::{Options, Transport};
    use super::*;

    #[test]
    fn a_trial_in_trouble_ends_early() {
        let lossy = EchoOptions { lose_every: 1, ..EchoOptions::default() };
        let echo = Echo::start(lossy).unwrap();
        let options = Options { orig: echo.address(), ..Options::default() };
        let mut link = Link::open(Transport::Udp, options.local, &[], 0).unwrap();
        let plan = Plan::load(&options, link.local(), 1).unwrap();
        let pacing = Pacing {
            pace: Pace::Open(500.0),
            warm_up: Duration::ZERO,
            end: End::After(Duration::from_secs(60)),
            drain: Duration::from_millis(50),
            stop_after_late: Some(20),
            retransmit: false,
            places: 1024,
            tick: Duration::ZERO,
            users: 2,
            seed: 1,
        };
        let outcome = play(&mut link, &plan, &pacing, &Processes::find(&[], None)).unwrap();
        let measure = outcome.measure;
        assert!((20..2000).contains(&measure.late), "{}", measure.late);
        assert_eq!((measure.completed, measure.lost), (0, measure.sent));
        assert!(measure.length() < 10_000_000_000, "far below the minute asked for");
    }

    #[test]
    fn the_schedule_is_absolute() {
        assert_eq!(scheduled(0, 8000.0), 0);
        assert_eq!(scheduled(1, 8000.0), 125_000);
        assert_eq!(scheduled(480_000, 8000.0), 60_000_000_000);
        // A third of a second is not a whole number of nanoseconds; nothing adds up.
        assert_eq!(scheduled(3_000_000, 3.0), 1_000_000_000_000_000);
        assert_eq!(scheduled(1, 0.0), 1_000_000_000_000);
    }
}
