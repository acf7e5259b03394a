//! What a node counts, for each group of connections that its driver makes.

/// The codes that refusals are counted by (RFC 4975 §10, RFC 4976 §7.1, RFC 7701 §10.3).
pub const REFUSAL_CODES: [u16; 14] =
    [400, 401, 403, 404, 408, 413, 415, 423, 424, 425, 428, 481, 501, 506];

/// Counters since a node began, of what passed the connections of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Octets that came.
    pub octets_received: u64,
    /// Octets queued to be written, on connections that are gone.
    pub octets_queued: u64,
    /// Requests that came, of all methods.
    pub requests: u64,
    /// Those of them that are SENDs.
    pub sends: u64,
    /// Those of them that are REPORTs.
    pub reports: u64,
    /// Requests written, of all methods.
    pub requests_written: u64,
    /// Those of them that are REPORTs.
    pub reports_written: u64,
    /// 200s written.
    pub accepted: u64,
    /// Other responses written.
    pub refused: u64,
    /// Those of them with each of [`REFUSAL_CODES`].
    pub refused_by_code: [u64; REFUSAL_CODES.len()],
    /// Requests of ours that nobody answered in time, or whose connection was lost before.
    pub unanswered: u64,
}

impl Counts {
    pub(crate) fn received(&mut self, octets: usize) {
        self.octets_received += octets as u64;
    }

    pub(crate) fn answered(&mut self, code: u16) {
        if code == 200 {
            self.accepted += 1;
            return;
        }
        self.refused += 1;
        let place = REFUSAL_CODES.iter().position(|known| *known == code);
        if let Some(count) = place.and_then(|place| self.refused_by_code.get_mut(place)) {
            *count += 1;
        }
    }
}

/// The counters of all groups.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Of connections in no group.
    ungrouped: Counts,
    /// Of the others, from group 1.
    groups: Vec<Counts>,
}

impl Counters {
    /// The counters of `group`; those of no group when it was never [made](Self::make).
    #[inline]
    pub(crate) fn of(&mut self, group: u16) -> &mut Counts {
        match self.groups.get_mut(usize::from(group).wrapping_sub(1)) {
            Some(counts) => counts,
            None => &mut self.ungrouped,
        }
    }

    /// The same, to look at.
    pub(crate) fn get(&self, group: u16) -> &Counts {
        self.groups.get(usize::from(group).wrapping_sub(1)).unwrap_or(&self.ungrouped)
    }

    /// Makes groups up to `group`.
    pub(crate) fn make(&mut self, group: u16) {
        let groups = usize::from(group).max(self.groups.len());
        self.groups.resize_with(groups, Counts::default);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_its_own() {
        let mut counters = Counters::default();
        counters.make(2);
        counters.of(2).answered(481);
        counters.of(1).answered(200);
        counters.of(7).answered(999);
        let (one, two, rest) = (counters.get(1), counters.get(2), counters.get(0));
        assert_eq!((one.accepted, one.refused), (1, 0));
        assert_eq!((two.refused, two.refused_by_code[11], REFUSAL_CODES[11]), (1, 1, 481));
        assert_eq!((rest.refused, rest.refused_by_code), (1, [0; 14]), "a group nobody made");
    }
}
