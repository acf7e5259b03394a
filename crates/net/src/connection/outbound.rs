//! What waits to be written to one connection: bounded in messages and octets, written in batches.

use std::collections::VecDeque;

use bytes::Bytes;
use parlance_sip::Target;

use super::Rejected;

/// One message on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) bytes: Bytes,
    pub(crate) target: Target,
    pub(crate) token: u64,
}

/// How much one write takes at most; a larger message is written alone.
const BATCH_OCTETS: usize = 64 * 1024;

/// How many keep-alives wait for their answer at most; a peer that sends more without reading
/// gets fewer answers.
const PONGS_MAX: usize = 64;

/// The queue of one connection.
///
/// What is being written still counts: the bounds are about the memory pinned.
#[derive(Debug)]
pub(crate) struct Outbound {
    waiting: VecDeque<Queued>,
    writing: Vec<Queued>,
    octets: usize,
    pongs: usize,
    written: u64,
    closed: bool,
    messages_max: usize,
    octets_max: usize,
}

/// What one write puts on the wire, and how far it got.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    at: usize,
}

impl Batch {
    /// How many octets it has.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is not on the wire yet.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// So many octets more are on the wire.
    pub(crate) fn advance(&mut self, octets: usize) {
        self.at += octets;
    }
}

impl Outbound {
    pub(crate) fn new(messages_max: usize, octets_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            writing: Vec::new(),
            octets: 0,
            pongs: 0,
            written: 0,
            closed: false,
            messages_max,
            octets_max,
        }
    }

    pub(super) fn push(&mut self, queued: Queued) -> Result<(), (Rejected, Queued)> {
        if self.closed {
            return Err((Rejected::Closed, queued));
        }
        let octets = self.octets.saturating_add(queued.bytes.len());
        let messages = self.waiting.len() + self.writing.len();
        if messages >= self.messages_max || octets > self.octets_max {
            return Err((Rejected::Full, queued));
        }
        self.octets = octets;
        self.waiting.push_back(queued);
        Ok(())
    }

    pub(super) fn pong(&mut self) {
        self.pongs = (self.pongs + 1).min(PONGS_MAX);
    }

    /// Moves what is to be written next into `batch`; false when there is nothing.
    pub(crate) fn take(&mut self, batch: &mut Batch) -> bool {
        batch.bytes.clear();
        batch.at = 0;
        for _ in 0..std::mem::take(&mut self.pongs) {
            batch.bytes.extend_from_slice(b"\r\n");
        }
        while let Some(next) = self.waiting.front() {
            let fits = batch.bytes.len() + next.bytes.len() <= BATCH_OCTETS;
            if !fits && !self.writing.is_empty() {
                break;
            }
            if let Some(next) = self.waiting.pop_front() {
                batch.bytes.extend_from_slice(&next.bytes);
                self.writing.push(next);
            }
        }
        !batch.bytes.is_empty()
    }

    /// The batch is on the wire. Returns how many messages that were.
    pub(crate) fn wrote(&mut self) -> usize {
        let count = self.writing.len();
        let octets: usize = self.writing.drain(..).map(|queued| queued.bytes.len()).sum();
        self.octets = self.octets.saturating_sub(octets);
        self.written += count as u64;
        count
    }

    /// How many messages have been written since the beginning.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether nothing waits and nothing is being written.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.writing.is_empty() && self.pongs == 0
    }

    /// Takes no more, and gives back what was not written for certain.
    pub(crate) fn close(&mut self) -> Vec<Queued> {
        self.closed = true;
        self.octets = 0;
        let mut left = std::mem::take(&mut self.writing);
        left.extend(self.waiting.drain(..));
        left
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::{ListenerId, Transport};

    use super::*;

    fn queued(token: u64, octets: usize) -> Queued {
        let target = Target {
            transport: Transport::Tcp,
            remote: "192.0.2.1:5060".parse().unwrap(),
            listener: ListenerId(0),
            connection: None,
        };
        Queued { bytes: Bytes::from(vec![b'x'; octets]), target, token }
    }

    fn push(outbound: &mut Outbound, token: u64, octets: usize) -> Result<(), Rejected> {
        outbound.push(queued(token, octets)).map_err(|(rejected, _)| rejected)
    }

    #[test]
    fn is_bounded_in_messages_and_octets() {
        let mut outbound = Outbound::new(2, 100);
        assert_eq!(push(&mut outbound, 1, 10), Ok(()));
        assert_eq!(push(&mut outbound, 2, 91), Err(Rejected::Full), "101 octets");
        assert_eq!(push(&mut outbound, 2, 90), Ok(()));
        assert_eq!(push(&mut outbound, 3, 0), Err(Rejected::Full), "the third message");
        // What is being written still counts.
        let mut batch = Batch::default();
        assert!(outbound.take(&mut batch));
        assert_eq!(push(&mut outbound, 3, 1), Err(Rejected::Full));
        assert_eq!(outbound.wrote(), 2);
        assert_eq!(push(&mut outbound, 3, 100), Ok(()));
    }

    #[test]
    fn one_write_takes_what_waits_up_to_the_batch() {
        let mut outbound = Outbound::new(100, 10 << 20);
        for token in 0..3 {
            push(&mut outbound, token, 30_000).unwrap();
        }
        push(&mut outbound, 3, 300_000).unwrap();
        let mut batch = Batch::default();
        let mut sizes = Vec::new();
        while outbound.take(&mut batch) {
            sizes.push((batch.len(), outbound.wrote()));
        }
        assert_eq!(sizes, [(60_000, 2), (30_000, 1), (300_000, 1)]);
        assert_eq!(outbound.written(), 4);
        assert!(outbound.is_empty());
    }

    // Covers: CORE-060
    #[test]
    fn keep_alives_are_answered_one_by_one_and_bounded() {
        let mut outbound = Outbound::new(1, 100);
        let mut batch = Batch::default();
        outbound.pong();
        outbound.pong();
        assert!(outbound.take(&mut batch));
        assert_eq!(batch.rest(), b"\r\n\r\n");
        outbound.wrote();
        for _ in 0..1000 {
            outbound.pong();
        }
        assert!(outbound.take(&mut batch));
        assert_eq!(batch.len(), 2 * PONGS_MAX);
        assert!(!outbound.take(&mut batch));
    }

    #[test]
    fn closing_gives_back_what_was_not_written() {
        let mut outbound = Outbound::new(9, 1 << 20);
        for token in 0..3 {
            push(&mut outbound, token, 40_000).unwrap();
        }
        outbound.take(&mut Batch::default());
        let left: Vec<u64> = outbound.close().iter().map(|queued| queued.token).collect();
        assert_eq!(left, [0, 1, 2]);
        assert_eq!(push(&mut outbound, 3, 1), Err(Rejected::Closed));
    }
}
