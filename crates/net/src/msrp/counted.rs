//! What a core has told the meters of listeners of what its node counted.

use parlance_msrp::Counts;

use super::meter::ListenerMeter;

/// The group of connections that a listener has in a node: 0 is what we opened, also to other
/// cores.
pub(crate) fn group(listener: Option<u16>) -> u16 {
    listener.map_or(0, |listener| listener.saturating_add(1))
}

/// By group, what was told last.
#[derive(Debug, Default)]
pub(crate) struct Counted(Vec<Told>);

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    counts: Counts,
    queued: usize,
}

impl Counted {
    /// Adds to `meter` what has come to `counts` since the last time, and sets what waits to be
    /// written here among what waits on all cores.
    pub(crate) fn tell(
        &mut self,
        group: u16,
        counts: &Counts,
        queued: usize,
        meter: &ListenerMeter,
    ) {
        let place = usize::from(group);
        if self.0.len() <= place {
            self.0.resize(place + 1, Told::default());
        }
        let Some(told) = self.0.get_mut(place) else { return };
        let (before, now) = (&told.counts, counts);
        let others = |counts: &Counts| counts.requests - counts.sends - counts.reports;
        let sends_written = |counts: &Counts| counts.requests_written - counts.reports_written;
        let by_code = |counts: &Counts| counts.refused_by_code.iter().sum::<u64>();
        let otherwise = |counts: &Counts| counts.refused - by_code(counts);
        let [sends, reports, rest] = &meter.received;
        let [reports_written, sent] = &meter.transmitted;
        for (counter, new) in [
            (sends, now.sends - before.sends),
            (reports, now.reports - before.reports),
            (rest, others(now) - others(before)),
            (reports_written, now.reports_written - before.reports_written),
            (sent, sends_written(now) - sends_written(before)),
            (&meter.accepted, now.accepted - before.accepted),
            (&meter.refused_otherwise, otherwise(now) - otherwise(before)),
            (&meter.unanswered, now.unanswered - before.unanswered),
        ] {
            counter.increment(new);
        }
        let codes = now.refused_by_code.iter().zip(&before.refused_by_code);
        for (counter, (now, before)) in meter.refused.iter().zip(codes) {
            counter.increment(now - before);
        }
        meter.queued.increment(queued as f64 - told.queued as f64);
        *told = Told { counts: *counts, queued };
    }
}
