//! What waits to be written on a connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

mod spare;

/// The least octets of a body that is shared instead of copied: below it the copy costs less than
/// the slice it saves, and a small slice would hold a large read buffer.
pub const SHARED_OCTETS_MIN: usize = 4096;

/// Most octets that are reserved at once for what comes next; local value, what one read brings.
const USUAL_OCTETS_MAX: usize = 64 * 1024;

/// How many octets may wait on a connection; local limits, the RFC sets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// With more than this pinned nothing more should be added; 256 KiB.
    pub high: usize,
    /// With no more than this pinned adding can go on; 64 KiB.
    pub low: usize,
}

impl Default for Marks {
    fn default() -> Self {
        Self { high: 256 * 1024, low: 64 * 1024 }
    }
}

/// Octets that wait to be written on one connection, in order: what is small in one buffer, large
/// bodies by reference.
///
/// Written through [`Buf`]: `chunks_vectored` fills the slices of one vectored write, `advance`
/// takes away what was written. When all is written the memory is given back.
#[derive(Debug, Default)]
pub struct Outbound {
    marks: Marks,
    /// Octets that were copied; those before `start` are written.
    small: Vec<u8>,
    start: usize,
    /// Octets that were copied before the last time all was written: as many are likely to come
    /// again, and a buffer that grows step by step would copy them several times.
    usual: usize,
    /// Bodies by reference.
    shared: VecDeque<Shared>,
    /// Octets of them that wait.
    shared_len: usize,
    /// Octets that they hold in memory.
    shared_pinned: usize,
    written: u64,
}

#[derive(Debug)]
struct Shared {
    /// The octet of `small` that comes after it.
    before: usize,
    octets: Bytes,
    /// What it holds in memory.
    pinned: usize,
}

impl Outbound {
    /// An empty one.
    pub fn new(marks: Marks) -> Self {
        Self { marks, ..Self::default() }
    }

    /// Where what is small is appended: only that is done to it.
    #[inline]
    pub fn tail(&mut self) -> &mut Vec<u8> {
        if self.small.capacity() == 0 && self.usual > 0 {
            self.small = spare::take(self.usual);
        }
        &mut self.small
    }

    /// Makes room for so many small octets, which come soon.
    pub fn reserve(&mut self, octets: usize) {
        let least = self.small.len() + octets;
        if self.small.capacity() < least {
            let mut larger = spare::take(least.max(self.usual));
            larger.extend_from_slice(&self.small);
            spare::give_back(std::mem::replace(&mut self.small, larger));
        }
    }

    /// Appends `octets`: by reference when there are [`SHARED_OCTETS_MIN`] or more, else a copy.
    pub fn share(&mut self, octets: Bytes) {
        let pinned = octets.len();
        self.push(octets, pinned);
    }

    /// Appends `part`, which is a slice of `whole`: by reference, which holds all of `whole` in
    /// memory, when there are [`SHARED_OCTETS_MIN`] octets or more, else a copy.
    pub fn share_part(&mut self, whole: &Bytes, part: &[u8]) {
        if part.len() < SHARED_OCTETS_MIN {
            self.tail().extend_from_slice(part);
        } else {
            self.push(whole.slice_ref(part), whole.len());
        }
    }

    fn push(&mut self, octets: Bytes, pinned: usize) {
        if octets.len() < SHARED_OCTETS_MIN {
            return self.tail().extend_from_slice(&octets);
        }
        self.shared_len += octets.len();
        self.shared_pinned += pinned;
        self.shared.push_back(Shared { before: self.small.len(), octets, pinned });
    }

    /// Octets that wait to be written.
    pub fn len(&self) -> usize {
        self.small.len() - self.start + self.shared_len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets in memory that wait or are held by what waits.
    pub fn pinned(&self) -> usize {
        self.small.len() + self.shared_pinned
    }

    /// Whether more than [`Marks::high`] octets are pinned.
    pub fn above_high(&self) -> bool {
        self.pinned() > self.marks.high
    }

    /// Whether no more than [`Marks::low`] octets are pinned.
    pub fn below_low(&self) -> bool {
        self.pinned() <= self.marks.low
    }

    /// Octets written since the connection began.
    pub fn written_total(&self) -> u64 {
        self.written
    }

    /// Octets appended since the connection began: when as many are written, all that waits now is.
    pub fn queued_total(&self) -> u64 {
        self.written + self.len() as u64
    }

    /// The copied octets up to the next body by reference.
    fn run(&self) -> &[u8] {
        let end = self.shared.front().map_or(self.small.len(), |shared| shared.before);
        self.small.get(self.start..end).unwrap_or_default()
    }

    /// Gives back the memory of what is written.
    fn shrink(&mut self) {
        if self.is_empty() {
            self.usual = self.small.len().min(USUAL_OCTETS_MAX);
            self.start = 0;
            spare::give_back(std::mem::take(&mut self.small));
            self.shared = VecDeque::new();
        } else if self.start > self.small.len() / 2 {
            // Each octet is moved at most once for one that was written.
            self.small.drain(..self.start);
            for shared in &mut self.shared {
                shared.before -= self.start;
            }
            self.start = 0;
        }
    }
}

impl Buf for Outbound {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        let run = self.run();
        match self.shared.front() {
            Some(shared) if run.is_empty() => &shared.octets,
            _ => run,
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut at = self.start;
        let runs = self.shared.iter().flat_map(|shared| {
            let run = self.small.get(at..shared.before).unwrap_or_default();
            at = shared.before;
            [run, &shared.octets]
        });
        let last = self.shared.back().map_or(self.start, |shared| shared.before);
        let last = self.small.get(last..).unwrap_or_default();
        let all = runs.chain([last]).filter(|run| !run.is_empty());
        slices.iter_mut().zip(all).map(|(slice, run)| *slice = IoSlice::new(run)).count()
    }

    /// Takes away the first `octets`, which were written; all of them when fewer wait.
    fn advance(&mut self, octets: usize) {
        let mut left = octets.min(self.len());
        self.written += left as u64;
        while left > 0 {
            let run = self.run().len().min(left);
            self.start += run;
            left -= run;
            let Some(shared) = self.shared.front_mut().filter(|_| left > 0) else { continue };
            let taken = shared.octets.len().min(left);
            shared.octets.advance(taken);
            self.shared_len -= taken;
            left -= taken;
            if shared.octets.is_empty() {
                self.shared_pinned -= shared.pinned;
                self.shared.pop_front();
            }
        }
        self.shrink();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that waits, as the slices of one write have it.
    fn slices(out: &Outbound, count: usize) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(b""); count];
        let used = out.chunks_vectored(&mut slices);
        slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn small_is_copied_and_large_shared() {
        let mut out = Outbound::default();
        let read = Bytes::from(vec![b'r'; 64 * 1024]);
        out.tail().extend_from_slice(b"head");
        out.share_part(&read, &read[..SHARED_OCTETS_MIN - 1]);
        assert_eq!((out.len(), out.pinned()), (4 + SHARED_OCTETS_MIN - 1, out.len()));
        out.share_part(&read, &read[..SHARED_OCTETS_MIN]);
        // A part holds all that it is a part of.
        assert_eq!(out.pinned(), 4 + SHARED_OCTETS_MIN - 1 + read.len());
        out.share(Bytes::from_static(b"end"));
        assert_eq!(out.len(), 4 + 2 * SHARED_OCTETS_MIN - 1 + 3);
        let mut used = [IoSlice::new(b""); 8];
        assert_eq!(out.chunks_vectored(&mut used), 3);
        assert_eq!(used[1].as_ptr(), read.as_ptr(), "not a copy");
        assert_eq!(out.chunks_vectored(&mut used[..1]), 1);
    }

    #[test]
    fn gives_its_memory_back() {
        let mut out = Outbound::default();
        out.tail().extend_from_slice(&[0; 1000]);
        out.share(Bytes::from(vec![0; 5000]));
        out.advance(6000);
        assert!(out.is_empty());
        assert_eq!((out.small.capacity(), out.shared.capacity(), out.pinned()), (0, 0, 0));
        assert_eq!((out.written_total(), out.queued_total()), (6000, 6000));
        // As much as was needed, and a little more, is taken at once when something comes again.
        out.tail().push(0);
        assert_eq!(out.small.capacity(), 1024);
    }

    #[test]
    fn what_is_written_is_not_kept_for_long() {
        let mut out = Outbound::default();
        for _ in 0..1000 {
            out.tail().extend_from_slice(&[1; 1000]);
            out.advance(if out.len() > 1500 { 1000 } else { 1 });
        }
        assert!(out.small.len() <= 2 * out.len() + 1, "{} for {}", out.small.len(), out.len());
    }

    #[test]
    fn marks_are_above_and_below() {
        let mut out = Outbound::new(Marks { high: 100, low: 10 });
        assert!(!out.above_high() && out.below_low());
        out.tail().extend_from_slice(&[0; 100]);
        assert!(!out.above_high() && !out.below_low());
        out.tail().push(0);
        assert!(out.above_high());
        out.advance(91);
        assert!(out.below_low() && out.len() == 10);
        // More than waits cannot have been written.
        out.advance(11);
        assert_eq!(out.written_total(), 101);
    }

    proptest! {
        /// What is written is what was appended, in order, whatever the parts and the writes.
        #[test]
        fn keeps_the_order(
            steps in prop::collection::vec((0..4_u8, 0..9000_usize, 0..12_000_usize), 0..30),
        ) {
            let mut out = Outbound::default();
            let (mut expected, mut written) = (Vec::new(), Vec::new());
            for (number, (kind, octets, write)) in steps.into_iter().enumerate() {
                let part = Bytes::from(vec![u8::try_from(number).unwrap(); octets]);
                match kind {
                    0 => out.tail().extend_from_slice(&part),
                    1 => out.share(part.clone()),
                    2 => {
                        out.reserve(octets);
                        prop_assert!(out.small.capacity() - out.small.len() >= octets);
                        continue;
                    }
                    _ => out.share_part(&part, &part),
                }
                expected.extend_from_slice(&part);
                prop_assert_eq!(out.queued_total(), expected.len() as u64);
                let waits = slices(&out, 100);
                prop_assert_eq!(waits.len(), out.remaining());
                prop_assert!(waits.starts_with(out.chunk()));
                prop_assert_eq!(out.has_remaining(), !out.chunk().is_empty());
                prop_assert!(out.pinned() >= out.len());
                let write = write.min(waits.len());
                written.extend_from_slice(&waits[..write]);
                out.advance(write);
                prop_assert_eq!(out.written_total(), written.len() as u64);
            }
            written.extend(slices(&out, 100));
            prop_assert_eq!(written, expected);
        }
    }
}
