//! Putting a message together from its chunks (RFC 4975 §7.3.1).
//!
//! Chunks come in any order and may overlap; what came last wins. The chunk with the flag `$` says
//! how long the message is, and nothing else does: no number of a `Byte-Range` sizes an allocation.

use bytes::Bytes;

/// How many separate ranges of one message are held. Local limit; the RFC sets none: paths that
/// reorder do so by a few chunks. At the limit a chunk that would open another is refused (413).
pub const RANGES_MAX: usize = 64;

/// Why a chunk cannot be put into its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReassemblyError {
    /// More separate ranges than [`RANGES_MAX`].
    #[error("too many gaps between the chunks of a message")]
    Gaps,
    /// More octets than the message may have.
    #[error("message is longer than allowed")]
    Long,
    /// The position goes beyond 64 bits.
    #[error("position of a chunk is beyond 64 bits")]
    Position,
}

/// Which octets of a message are there: half-open ranges from 0, apart from each other, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    ranges: smallvec::SmallVec<[(u64, u64); 1]>,
}

impl Ranges {
    /// Adds `start..end`. Joins what touches.
    pub fn insert(&mut self, start: u64, end: u64) -> Result<(), ReassemblyError> {
        if start >= end {
            return Ok(());
        }
        // The common case: what comes is what follows.
        if let [(_, last)] = self.ranges.as_mut_slice()
            && *last == start
        {
            *last = end;
            return Ok(());
        }
        let from = self.ranges.partition_point(|range| range.1 < start);
        let to = self.ranges.partition_point(|range| range.0 <= end);
        let (mut joined_start, mut joined_end) = (start, end);
        for &(other_start, other_end) in self.ranges.get(from..to).unwrap_or_default() {
            joined_start = joined_start.min(other_start);
            joined_end = joined_end.max(other_end);
        }
        if from == to && self.ranges.len() >= RANGES_MAX {
            return Err(ReassemblyError::Gaps);
        }
        self.ranges.drain(from..to);
        self.ranges.insert(from, (joined_start, joined_end));
        Ok(())
    }

    /// Whether all of the first `length` octets are there.
    pub fn cover(&self, length: u64) -> bool {
        length == 0 || self.ranges.first().is_some_and(|&(start, end)| start == 0 && end >= length)
    }

    /// One past the last octet that is there.
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |&(_, end)| end)
    }

    /// How many octets are there.
    pub fn octets(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// How many separate ranges there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

/// A message whose chunks are still coming, held whole.
#[derive(Debug)]
pub struct Reassembly {
    /// Segments apart from each other, in order of their position.
    segments: Vec<Segment>,
    octets: u64,
    octets_max: u64,
    /// How long the message is, once the chunk with `$` was there.
    length: Option<u64>,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    octets: Vec<u8>,
}

impl Segment {
    fn end(&self) -> u64 {
        self.start + self.octets.len() as u64
    }
}

impl Reassembly {
    /// Nothing is there; at most `octets_max` octets will be held.
    pub fn new(octets_max: u64) -> Self {
        Self { segments: Vec::new(), octets: 0, octets_max, length: None }
    }

    /// Puts `octets` at `position`, counted from 0, over what was there.
    pub fn write(&mut self, position: u64, octets: &[u8]) -> Result<(), ReassemblyError> {
        let end = position.checked_add(octets.len() as u64).ok_or(ReassemblyError::Position)?;
        if octets.is_empty() {
            return Ok(());
        }
        if end > self.octets_max {
            return Err(ReassemblyError::Long);
        }
        let from = self.segments.partition_point(|segment| segment.end() < position);
        let to = self.segments.partition_point(|segment| segment.start <= end);
        if from == to {
            if self.segments.len() >= RANGES_MAX {
                return Err(ReassemblyError::Gaps);
            }
            self.segments.insert(from, Segment { start: position, octets: octets.to_vec() });
        } else {
            self.merge(from, to, position, octets);
        }
        self.octets = self.segments.iter().map(|segment| segment.octets.len() as u64).sum();
        Ok(())
    }

    /// The chunk with `$` ended at `length`: that is how long the message is.
    pub fn finish(&mut self, length: u64) {
        self.length = Some(length);
    }

    /// Whether all of the message is there.
    pub fn is_complete(&self) -> bool {
        match (self.length, self.segments.first()) {
            (None, _) => false,
            (Some(length), first) => {
                length == 0 || first.is_some_and(|first| first.start == 0 && first.end() >= length)
            }
        }
    }

    /// The message, when all of it is there. What lies behind its end is not part of it.
    pub fn into_message(self) -> Option<Bytes> {
        if !self.is_complete() {
            return None;
        }
        let length = usize::try_from(self.length?).ok()?;
        let first = self.segments.into_iter().next().map(|first| first.octets);
        let mut octets = first.unwrap_or_default();
        octets.truncate(length);
        Some(Bytes::from(octets))
    }

    /// How many octets are held.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Writes over and between `self.segments[from..to]`, at least one, all touched by `octets`.
    fn merge(&mut self, from: usize, to: usize, position: u64, octets: &[u8]) {
        let mut touched = self.segments.drain(from..to);
        let Some(mut first) = touched.next() else { return };
        let last = touched.next_back();
        drop(touched);
        if position < first.start {
            let mut grown = octets.to_vec();
            let end = position + octets.len() as u64;
            grown.extend_from_slice(tail(&first, end));
            first = Segment { start: position, octets: grown };
        } else {
            overwrite(&mut first.octets, position - first.start, octets);
        }
        if let Some(last) = last {
            let end = first.end();
            first.octets.extend_from_slice(tail(&last, end));
        }
        self.segments.insert(from, first);
    }
}

/// What `segment` has from position `from` on.
fn tail(segment: &Segment, from: u64) -> &[u8] {
    let skipped = usize::try_from(from.saturating_sub(segment.start)).unwrap_or(usize::MAX);
    segment.octets.get(skipped..).unwrap_or_default()
}

/// Puts `octets` at `at`, which is not beyond the end of `into`.
fn overwrite(into: &mut Vec<u8>, at: u64, octets: &[u8]) {
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(into.len());
    let over = octets.len().min(into.len() - at);
    let (replacing, appended) = octets.split_at(over);
    if let Some(place) = into.get_mut(at..at + over) {
        place.copy_from_slice(replacing);
    }
    into.extend_from_slice(appended);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(reassembly: &mut Reassembly, first: u64, octets: &[u8]) {
        reassembly.write(first - 1, octets).unwrap();
    }

    // Covers: MSRP-004
    #[test]
    fn the_last_received_wins_where_chunks_overlap() {
        let mut message = Reassembly::new(1_000);
        put(&mut message, 1, b"aaaaaaaaaa");
        put(&mut message, 6, b"bbbbbbbbbb"); // RFC 4975 §7.3.1: "will overwrite bytes 50 to 100"
        put(&mut message, 3, b"c");
        message.finish(15);
        assert_eq!(message.into_message().unwrap(), b"aacaabbbbbbbbbb"[..]);
    }

    // Covers: MSRP-004
    #[test]
    fn the_chunk_with_the_dollar_says_the_length() {
        let mut message = Reassembly::new(1_000);
        put(&mut message, 5, b"EFGH");
        message.finish(8);
        assert!(!message.is_complete());
        put(&mut message, 1, b"abcd");
        assert!(message.is_complete());
        assert_eq!(message.into_message().unwrap(), b"abcdEFGH"[..]);

        let mut message = Reassembly::new(1_000);
        put(&mut message, 1, b"abcdEFGH");
        assert!(!message.is_complete());
        message.finish(6);
        assert_eq!(message.into_message().unwrap(), b"abcdEF"[..], "the rest is not part of it");
        let mut message = Reassembly::new(0);
        message.finish(0);
        assert_eq!(message.into_message().unwrap(), b""[..]);
    }

    // Covers: MSRP-085
    #[test]
    fn a_far_position_costs_what_it_carries() {
        let mut message = Reassembly::new(u64::MAX);
        message.write(u64::MAX - 2, b"z").unwrap();
        assert_eq!(message.octets(), 1);
        assert!(message.segments.iter().all(|segment| segment.octets.capacity() < 64));
        assert_eq!(message.write(u64::MAX, b"zz"), Err(ReassemblyError::Position));
    }

    #[test]
    fn limits() {
        let mut message = Reassembly::new(1_000);
        assert_eq!(message.write(990, b"0123456789a"), Err(ReassemblyError::Long));
        for place in 0..RANGES_MAX as u64 {
            message.write(2 * place, b"x").unwrap();
        }
        assert_eq!(message.write(500, b"x"), Err(ReassemblyError::Gaps));
        message.write(1, b"x").unwrap();
        message.write(500, b"x").unwrap();

        let mut ranges = Ranges::default();
        for place in 0..RANGES_MAX as u64 {
            ranges.insert(2 * place, 2 * place + 1).unwrap();
        }
        assert_eq!(ranges.insert(500, 501), Err(ReassemblyError::Gaps));
        ranges.insert(1, 2).unwrap();
        ranges.insert(500, 501).unwrap();
        assert_eq!(ranges.len(), RANGES_MAX);
    }

    proptest! {
        #[test]
        fn any_order_and_overlap_is_as_written_into_one_buffer(
            writes in prop::collection::vec((0_u64..60, 0_usize..20, any::<u8>()), 0..60)
        ) {
            let mut message = Reassembly::new(1_000);
            let mut ranges = Ranges::default();
            let mut buffer = [None; 100];
            for (position, length, octet) in writes {
                message.write(position, &vec![octet; length]).unwrap();
                ranges.insert(position, position + length as u64).unwrap();
                buffer[position as usize..position as usize + length].fill(Some(octet));
                let there = buffer.iter().flatten().count() as u64;
                prop_assert_eq!(message.octets(), there);
                prop_assert_eq!(ranges.octets(), there);
                prop_assert_eq!(ranges.len(), message.segments.len());
            }
            let length = buffer.iter().position(Option::is_none).unwrap_or(buffer.len());
            prop_assert!(ranges.cover(length as u64));
            prop_assert!(!ranges.cover(length as u64 + 1));
            message.finish(length as u64 + 1);
            prop_assert!(!message.is_complete());
            message.finish(length as u64);
            let whole: Vec<u8> = buffer.iter().map_while(|octet| *octet).collect();
            prop_assert_eq!(message.into_message().unwrap(), whole);
        }
    }
}
