//! What one session has sent and received.

use super::legs::Member;
use super::message::{Answers, Author, BIND, Template};

/// Sending times kept in an open loop: local limit; an answer that comes later than so many
/// requests is not timed.
const KEPT_OPEN: u32 = 1024;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// The connection it is on.
    pub(crate) link: u32,
    /// The first session of its group, and how many it has.
    pub(crate) first: u32,
    pub(crate) members: u32,
    pub(crate) author: Author,
    /// To-Path and From-Path of what it sends.
    pub(crate) to_path: String,
    pub(crate) from_path: String,
    pub(crate) template: Option<Template>,
    /// How it answers.
    pub(crate) answers: Answers,
    pub(crate) sender: Sender,
    /// The next number from each member of the group; empty until something came.
    expected: Vec<u32>,
    pub(crate) bound: bool,
}

/// What a session sends.
#[derive(Debug)]
pub(crate) struct Sender {
    /// Others in the group, each of whom gets what it sends.
    fan: u32,
    /// Messages begun, and requests sent.
    pub(crate) messages: u32,
    pub(crate) requests: u32,
    /// Requests answered.
    pub(crate) answered: u32,
    /// Messages that all have, and how many more have the next.
    pub(crate) complete: u32,
    part: u32,
    /// The message in hand, from where it goes on; 0 when none is.
    pub(crate) offset: u64,
    /// When the message in hand was due.
    pub(crate) due: u64,
    /// It waits in the list of senders.
    pub(crate) queued: bool,
    /// The sending times of the last requests.
    sent_at: Vec<u64>,
}

/// What a received message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next of its sender.
    Next,
    /// So many before it are missing.
    Missing(u32),
    /// One already counted, or older.
    Again,
    /// From nobody of the group.
    Stranger,
}

impl Session {
    /// The session of `member`, in a group that begins with session `first` and has `members`. At
    /// most `window` requests are on the way; `None` when that is not limited.
    pub(crate) fn new(
        author: Author,
        member: &Member,
        template: Option<Template>,
        (first, members): (u32, u32),
        window: Option<u32>,
    ) -> Self {
        let kept = window.unwrap_or(KEPT_OPEN).next_power_of_two();
        Self {
            link: 0,
            first,
            members,
            author,
            to_path: member.to_path.clone(),
            from_path: member.from_path.clone(),
            template,
            answers: Answers::default(),
            sender: Sender {
                fan: members.saturating_sub(1),
                messages: 0,
                requests: 0,
                answered: 0,
                complete: 0,
                part: 0,
                offset: 0,
                due: 0,
                queued: false,
                sent_at: vec![0; usize::try_from(kept).unwrap_or(1)],
            },
            expected: Vec::new(),
            bound: false,
        }
    }

    /// Message `sequence` of member `sender` has come whole.
    #[inline]
    pub(crate) fn arrived(&mut self, sender: u16, sequence: u32) -> Arrival {
        if self.expected.is_empty() {
            self.expected.resize(usize::try_from(self.members).unwrap_or(0), 0);
        }
        if sender == self.author.at {
            return Arrival::Stranger;
        }
        let Some(expected) = self.expected.get_mut(usize::from(sender)) else {
            return Arrival::Stranger;
        };
        if sequence == *expected {
            *expected += 1;
            return Arrival::Next;
        }
        if sequence < *expected {
            return Arrival::Again;
        }
        let missing = sequence - *expected;
        *expected = sequence.saturating_add(1);
        Arrival::Missing(missing)
    }
}

impl Sender {
    /// Whether it may go on, with this window; `answered` when requests are answered.
    #[inline]
    pub(crate) fn may_send(&self, window: u32, answered: bool, chunked: bool) -> bool {
        let waiting = self.requests.wrapping_sub(self.answered);
        let slow = answered && waiting >= window;
        let begun = chunked && self.offset > 0;
        let on_the_way = self.messages.wrapping_sub(self.complete);
        !slow && (begun || on_the_way < window)
    }

    /// Whether everything sent has arrived, and has been answered.
    pub(crate) fn is_quiet(&self, answered: bool) -> bool {
        let all = self.complete == self.messages && self.offset == 0;
        all && (!answered || self.answered >= self.requests)
    }

    /// Somebody has a message of it.
    #[inline]
    pub(crate) fn delivered(&mut self, count: u32) {
        self.part += count;
        while self.part >= self.fan.max(1) {
            self.part -= self.fan.max(1);
            self.complete += 1;
        }
    }

    /// Messages that recipients have, all together.
    pub(crate) fn deliveries(&self) -> u64 {
        u64::from(self.complete) * u64::from(self.fan) + u64::from(self.part)
    }

    /// Copies of what it sent that recipients should have.
    pub(crate) fn owed(&self) -> u64 {
        u64::from(self.messages) * u64::from(self.fan)
    }

    /// The next request is sent, at `now`: its number.
    #[inline]
    pub(crate) fn next_request(&mut self, now: u64) -> u32 {
        let request = self.requests;
        let place = self.place(request);
        if let Some(sent_at) = self.sent_at.get_mut(place) {
            *sent_at = now;
        }
        self.requests = self.requests.wrapping_add(1) % BIND;
        request
    }

    /// When `request` was sent, unless too many have been sent since.
    #[inline]
    pub(crate) fn sent_at(&self, request: u32) -> Option<u64> {
        let kept = u32::try_from(self.sent_at.len()).unwrap_or(u32::MAX);
        let recent = self.requests.wrapping_sub(request) <= kept && request < self.requests;
        recent.then(|| self.sent_at.get(self.place(request)).copied()).flatten()
    }

    fn place(&self, request: u32) -> usize {
        usize::try_from(request).unwrap_or(0) & (self.sent_at.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::legs::Target;
    use super::*;

    fn session(members: u32, window: u32) -> Session {
        let uri = "msrp://127.0.0.1:1/s;tcp";
        let member = Member {
            to_path: uri.to_owned(),
            from_path: uri.to_owned(),
            participant: String::new(),
            server: Target::parse(uri).unwrap(),
        };
        Session::new(Author::new(0, 0, 0, &member, ""), &member, None, (0, members), Some(window))
    }

    #[test]
    fn a_window_is_of_messages_all_have_and_of_answers() {
        let mut sender = session(3, 2).sender;
        for _ in 0..2 {
            assert!(sender.may_send(2, true, false));
            sender.next_request(0);
            sender.messages += 1;
        }
        assert!(!sender.may_send(2, true, false));
        sender.answered += 2;
        assert!(!sender.may_send(2, true, false), "nobody has it");
        sender.delivered(1);
        assert!(!sender.may_send(2, true, false), "one of two has it");
        sender.delivered(1);
        assert!(sender.may_send(2, true, false));
        assert_eq!((sender.deliveries(), sender.owed()), (2, 4));
        assert!(!sender.is_quiet(true));
        sender.delivered(2);
        assert!(sender.is_quiet(true));
        sender.answered -= 1;
        assert!(!sender.is_quiet(true) && sender.is_quiet(false));
    }

    #[test]
    fn arrivals_are_told_apart() {
        let mut session = session(3, 1);
        let arrivals = [(1, 0), (1, 1), (1, 4), (1, 3), (2, 0), (0, 0), (3, 0)];
        let arrivals = arrivals.map(|(sender, sequence)| session.arrived(sender, sequence));
        let expect = [
            Arrival::Next,
            Arrival::Next,
            Arrival::Missing(2),
            Arrival::Again,
            Arrival::Next,
            Arrival::Stranger,
            Arrival::Stranger,
        ];
        assert_eq!(arrivals, expect);
    }

    #[test]
    fn sending_times_are_kept_for_a_window() {
        let mut sender = session(2, 2).sender;
        for now in [10, 20, 30] {
            sender.next_request(now);
        }
        assert_eq!([0, 1, 2, 3].map(|n| sender.sent_at(n)), [None, Some(20), Some(30), None]);
    }
}
