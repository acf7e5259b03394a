//! The end-line, and finding it after a body (RFC 4975 §7.1, §7.3.1).

use std::ops::Range;

use crate::{TransactionId, examined};

/// What follows a chunk (`continuation-flag`, RFC 4975 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// `$`: it has the last octet of the message.
    Last,
    /// `+`: more chunks follow.
    More,
    /// `#`: the sender gave the message up.
    Abort,
}

impl Continuation {
    /// The flag as it is written.
    pub fn octet(self) -> u8 {
        match self {
            Self::Last => b'$',
            Self::More => b'+',
            Self::Abort => b'#',
        }
    }

    /// The flag that `octet` is.
    pub fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            b'$' => Some(Self::Last),
            b'+' => Some(Self::More),
            b'#' => Some(Self::Abort),
            _ => None,
        }
    }
}

/// What every end-line starts with.
const DASHES: &[u8] = b"-------";

/// What every end of a body starts with.
const START: &[u8] = b"\r\n-------";

/// Octets after the transaction identifier: the flag, CR and LF.
const AFTER: usize = 3;

/// Octets of the longest end of a body.
const OCTETS_MAX: usize = START.len() + TransactionId::OCTETS_MAX + AFTER;

/// The flag of the end-line of `id` that `line`, without its CRLF, is.
pub(crate) fn read(line: &[u8], id: &[u8]) -> Option<Continuation> {
    match line.strip_prefix(DASHES)?.strip_prefix(id)? {
        [flag] => Continuation::from_octet(*flag),
        _ => None,
    }
}

/// What a look at some input found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The first `body` octets are body, those up to `next` the end.
    End { body: usize, next: usize, continuation: Continuation },
    /// The first `body` octets are body, the others may be the start of the end.
    Open { body: usize },
}

/// Looks for the first end of the body of transaction `id` in `input`.
///
/// Of seven dashes, four stand at a multiple of four octets, wherever they start: 32 bits at a time
/// are looked at, as RFC 4975 §7.3.1 says, and the octets around them only where they are dashes.
pub(crate) fn find(input: &[u8], id: &[u8]) -> Found {
    let (blocks, rest) = input.as_chunks::<BLOCK>();
    for (number, block) in blocks.iter().enumerate() {
        examined(BLOCK);
        if has_dashes(block)
            && let Some(found) = find_in(input, block, number * BLOCK, id)
        {
            return found;
        }
    }
    examined(rest.len() + START.len());
    if let Some(found) = find_in(input, rest, blocks.len() * BLOCK, id) {
        return found;
    }
    // Less than START may be the first of it.
    let tail = input.len().saturating_sub(START.len() - 1);
    let last = input.get(tail..).unwrap_or_default();
    let start =
        (0..last.len()).find(|at| last.get(*at..).is_some_and(|end| START.starts_with(end)));
    Found::Open { body: start.map_or(input.len(), |at| tail + at) }
}

/// Whether an end-line might be read somewhere in `body` (RFC 4975 §7.1). It has no seven dashes
/// when this says no.
pub(crate) fn may_end(body: &[u8]) -> bool {
    let (blocks, rest) = body.as_chunks::<BLOCK>();
    let (words, _) = rest.as_chunks::<4>();
    blocks.iter().any(has_dashes) || words.contains(b"----")
}

/// Octets that are looked at together.
const BLOCK: usize = 32;

/// Whether one of the words of `block` is dashes.
fn has_dashes(block: &[u8; BLOCK]) -> bool {
    let (words, _) = block.as_chunks::<4>();
    words
        .iter()
        .fold(false, |any, word| any | (u32::from_ne_bytes(*word) == u32::from_ne_bytes(*b"----")))
}

/// Looks around every word of `part`, which starts at octet `from` of `input`, that is dashes.
fn find_in(input: &[u8], part: &[u8], from: usize, id: &[u8]) -> Option<Found> {
    let (words, _) = part.as_chunks::<4>();
    for (number, word) in words.iter().enumerate().filter(|(_, word)| *word == b"----") {
        // The dashes start here or up to three octets before.
        let at = from + number * word.len();
        let before = input.get(..at).unwrap_or_default();
        let dashes = before.iter().rev().take(3).take_while(|octet| **octet == b'-').count();
        examined(dashes + 2 + OCTETS_MAX);
        let Some(body) = at.checked_sub(dashes + 2) else { continue };
        let end = input.get(body..).unwrap_or_default();
        match compare(end, id) {
            Compared::End(continuation) => {
                let next = body + START.len() + id.len() + AFTER;
                return Some(Found::End { body, next, continuation });
            }
            Compared::Open => return Some(Found::Open { body }),
            Compared::Different => {}
        }
    }
    None
}

enum Compared {
    /// It starts with the end of the body.
    End(Continuation),
    /// It is the start of the end.
    Open,
    /// It is something else.
    Different,
}

/// Compares `input` with the end of the body of `id`.
fn compare(input: &[u8], id: &[u8]) -> Compared {
    let Some(after) = input.strip_prefix(START) else {
        return if START.starts_with(input) { Compared::Open } else { Compared::Different };
    };
    let Some(after) = after.strip_prefix(id) else {
        return if id.starts_with(after) { Compared::Open } else { Compared::Different };
    };
    let Some((flag, after)) = after.split_first() else { return Compared::Open };
    match (Continuation::from_octet(*flag), after) {
        (Some(continuation), [b'\r', b'\n', ..]) => Compared::End(continuation),
        (Some(_), [] | [b'\r']) => Compared::Open,
        _ => Compared::Different,
    }
}

/// Looks for the end of one body, over as many reads as it takes.
///
/// CR is only the first and the last but one octet of what it looks for. So when the octets stop to
/// match, no later one of those that did can be a start: what was held back is body.
#[derive(Debug)]
pub(crate) struct EndLine {
    /// `CRLF ------- transact-id flag CRLF`; the flag is the one found last.
    octets: [u8; OCTETS_MAX],
    /// How many of them there are.
    len: u8,
    /// How many of them the input so far ends with.
    held: u8,
    /// How many of those are not part of the body in any case.
    before: u8,
}

/// What became of octets that had been held back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// They and the first `next` octets are the end.
    End { next: usize, continuation: Continuation },
    /// They and all the input may be the start of the end.
    Held,
    /// Those in `held` are body; the input is not used.
    Body { held: Range<usize> },
}

impl EndLine {
    /// One for no transaction.
    pub(crate) fn new() -> Self {
        Self { octets: [0; OCTETS_MAX], len: 0, held: 0, before: 0 }
    }

    /// Starts over for the body of transaction `id`, which has at most 32 octets, after `held`: the
    /// first octets of the end. The first two of them are no body when `after_head` is said: they
    /// end the empty line.
    pub(crate) fn start(&mut self, id: &[u8], held: &[u8], after_head: bool) {
        let flag = START.len() + id.len();
        for (place, part) in [(0, START), (START.len(), id), (flag, b"$\r\n"), (0, held)] {
            if let Some(place) = self.octets.get_mut(place..place + part.len()) {
                place.copy_from_slice(part);
            }
        }
        (self.len, self.before) = (octets(flag + AFTER), if after_head { 2 } else { 0 });
        self.held = octets(held.len());
    }

    /// The transaction identifier.
    fn id(&self) -> &[u8] {
        let end = usize::from(self.len).saturating_sub(AFTER);
        self.octets.get(START.len()..end).unwrap_or_default()
    }

    /// The octets that were held back, as they came.
    pub(crate) fn octets(&self, held: Range<usize>) -> &[u8] {
        self.octets.get(held).unwrap_or_default()
    }

    /// Whether octets are held back.
    pub(crate) fn holds(&self) -> bool {
        self.held > 0
    }

    /// Goes on with octets that were held back.
    pub(crate) fn resume(&mut self, input: &[u8]) -> Resumed {
        let held = usize::from(self.before)..usize::from(self.held);
        let flag = usize::from(self.len).saturating_sub(AFTER);
        for (number, octet) in input.iter().enumerate() {
            examined(1);
            let place = usize::from(self.held);
            let Some(expected) = self.octets.get_mut(place) else { break };
            if place == flag && Continuation::from_octet(*octet).is_some() {
                *expected = *octet;
            }
            if *expected != *octet {
                (self.held, self.before) = (0, 0);
                return Resumed::Body { held };
            }
            self.held += 1;
            if self.held == self.len {
                self.held = 0;
                let flag = self.octets.get(flag).copied().unwrap_or_default();
                let continuation = Continuation::from_octet(flag).unwrap_or(Continuation::Last);
                return Resumed::End { next: number + 1, continuation };
            }
        }
        Resumed::Held
    }

    /// Looks through `input` while nothing is held back; holds back what may be the start of the
    /// end.
    pub(crate) fn find(&mut self, input: &[u8]) -> Found {
        let found = find(input, self.id());
        if let Found::Open { body } = found {
            let start = input.get(body..).unwrap_or_default();
            if let Some(place) = self.octets.get_mut(..start.len()) {
                place.copy_from_slice(start);
            }
            self.held = octets(start.len());
        }
        found
    }
}

/// No count here is more than [`OCTETS_MAX`].
fn octets(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, looked for in the plainest way.
    fn plain(input: &[u8], id: &[u8]) -> Found {
        let ends =
            [Continuation::Last, Continuation::More, Continuation::Abort].map(|continuation| {
                (continuation, [START, id, &[continuation.octet()], b"\r\n"].concat())
            });
        for body in 0..=input.len() {
            for (continuation, end) in &ends {
                if input[body..].starts_with(end) {
                    let (next, continuation) = (body + end.len(), *continuation);
                    return Found::End { body, next, continuation };
                }
                if body < input.len() && end.starts_with(&input[body..]) {
                    return Found::Open { body };
                }
            }
        }
        Found::Open { body: input.len() }
    }

    #[test]
    fn flags_are_read() {
        for flag in [Continuation::Last, Continuation::More, Continuation::Abort] {
            assert_eq!(Continuation::from_octet(flag.octet()), Some(flag));
            let line = [b"-------abcd", &[flag.octet()][..]].concat();
            assert_eq!(read(&line, b"abcd"), Some(flag));
        }
        for line in
            ["", "-------abcd", "-------abcd!", "-------abcd$$", "------abcd$", "-------abce$"]
        {
            assert_eq!(read(line.as_bytes(), b"abcd"), None, "{line}");
        }
    }

    #[test]
    fn finds_the_end_wherever_it_stands() {
        for id in ["abcd", "a2345678901234567890123456789.-="] {
            for before in 0..100 {
                let mut input = vec![b'-'; before];
                input.extend(format!("\r\n-------{id}$\r\nafter").as_bytes());
                let next = before + START.len() + id.len() + AFTER;
                let end = Found::End { body: before, next, continuation: Continuation::Last };
                assert_eq!(find(&input, id.as_bytes()), end, "{before}");
                for cut in before + 1..next {
                    let open = Found::Open { body: before };
                    assert_eq!(find(&input[..cut], id.as_bytes()), open, "{before}, {cut}");
                }
            }
        }
    }

    #[test]
    fn seven_dashes_are_seen_wherever_they_stand() {
        for before in 0..80 {
            let mut body = vec![b'x'; before];
            assert!(!may_end(&body));
            body.extend(b"-------");
            assert!(may_end(&body), "{before}");
            body.extend(vec![b'x'; 40]);
            assert!(may_end(&body), "{before}");
        }
        assert!(!may_end(b"---x---x---"));
    }

    proptest! {
        #[test]
        fn finds_what_the_plainest_way_finds(
            words in prop::collection::vec(prop::sample::select(vec![
                "\r\n", "\r", "\n", "-", "--", "----", "-------", "abcd", "$", "+\r\n", "x",
                "\r\n-------", "\r\n-------abcd", "\r\n-------abcd#",
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            ]), 0..30),
        ) {
            let input = words.concat().into_bytes();
            prop_assert_eq!(find(&input, b"abcd"), plain(&input, b"abcd"));
        }
    }
}
