//! The end-line, and finding it after a body (RFC 4975 §7.1, §7.3.1).

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::TransactionId;

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

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(START));

/// The flag of the end-line of `id` that `line` (with its CRLF) is.
pub(crate) fn read(line: &[u8], id: &[u8]) -> Option<Continuation> {
    let flag = line.strip_prefix(DASHES)?.strip_prefix(id)?.strip_suffix(b"\r\n")?;
    match flag {
        [flag] => Continuation::from_octet(*flag),
        _ => None,
    }
}

/// Looks for the end of one body, over as many reads as it takes; looks at each octet twice at
/// most.
///
/// CR is only the first and the last but one octet of what it looks for. So when the octets stop to
/// match, no later one of those that did can be a start: what was held back is body.
#[derive(Debug)]
pub(crate) struct EndLine {
    /// `CRLF ------- transact-id flag CRLF`; the flag is the one found last.
    octets: [u8; OCTETS_MAX],
    /// How many of them there are.
    len: usize,
    /// How many of them the input so far ends with.
    held: usize,
    /// How many of those are not part of the body in any case.
    before: usize,
}

/// What a look at some input found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The first `body` octets are body, those up to `next` the end.
    End { body: usize, next: usize, continuation: Continuation },
    /// The first `body` octets are body, the others may be the start of the end.
    Open { body: usize },
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

enum Compared {
    Equal(Continuation),
    Start,
    Different,
}

impl EndLine {
    /// One for no transaction.
    pub(crate) fn new() -> Self {
        Self { octets: [0; OCTETS_MAX], len: 0, held: 0, before: 0 }
    }

    /// Starts over for the body of transaction `id`, which has at most 32 octets, after the empty
    /// line: its CRLF may be that of the end-line, as some write an empty body.
    pub(crate) fn start(&mut self, id: &[u8]) {
        let flag = START.len() + id.len();
        self.len = flag + AFTER;
        (self.held, self.before) = (2, 2);
        for (place, part) in [(0, START), (START.len(), id), (flag, b"$\r\n")] {
            if let Some(place) = self.octets.get_mut(place..place + part.len()) {
                place.copy_from_slice(part);
            }
        }
    }

    /// The octets that are held back, as they came.
    pub(crate) fn held(&self, octets: Range<usize>) -> &[u8] {
        self.octets.get(octets).unwrap_or_default()
    }

    /// Whether octets are held back.
    pub(crate) fn holds(&self) -> bool {
        self.held > 0
    }

    /// Goes on with octets that were held back.
    pub(crate) fn resume(&mut self, input: &[u8]) -> Resumed {
        let held = self.before..self.held;
        for (at, octet) in input.iter().enumerate() {
            if !self.step(*octet) {
                (self.held, self.before) = (0, 0);
                return Resumed::Body { held };
            }
            if self.held == self.len {
                self.held = 0;
                return Resumed::End { next: at + 1, continuation: self.flag() };
            }
        }
        Resumed::Held
    }

    /// Looks through `input` while nothing is held back.
    pub(crate) fn find(&mut self, input: &[u8]) -> Found {
        let mut at = 0;
        while let Some(found) = FINDER.find(input.get(at..).unwrap_or_default()) {
            at += found;
            match self.compare(input.get(at..).unwrap_or_default()) {
                Compared::Equal(continuation) => {
                    return Found::End { body: at, next: at + self.len, continuation };
                }
                Compared::Start => return Found::Open { body: at },
                Compared::Different => at += START.len(),
            }
        }
        // Fewer octets than START may be the first of it.
        let tail = input.len().saturating_sub(START.len() - 1).max(at);
        for cr in memchr::memchr_iter(b'\r', input.get(tail..).unwrap_or_default()) {
            if let Compared::Start = self.compare(input.get(tail + cr..).unwrap_or_default()) {
                return Found::Open { body: tail + cr };
            }
        }
        Found::Open { body: input.len() }
    }

    /// Compares `input` from its first octet; holds it back when it ends too early to say.
    fn compare(&mut self, input: &[u8]) -> Compared {
        self.held = 0;
        for octet in input {
            if !self.step(*octet) {
                self.held = 0;
                return Compared::Different;
            }
            if self.held == self.len {
                self.held = 0;
                return Compared::Equal(self.flag());
            }
        }
        Compared::Start
    }

    /// Whether `octet` is the next one.
    fn step(&mut self, octet: u8) -> bool {
        let is_flag = self.held + AFTER == self.len;
        let Some(expected) = self.octets.get_mut(self.held) else { return false };
        if is_flag && Continuation::from_octet(octet).is_some() {
            *expected = octet;
        }
        let same = *expected == octet;
        self.held += usize::from(same);
        same
    }

    fn flag(&self) -> Continuation {
        let flag = self.len.checked_sub(AFTER).and_then(|at| self.octets.get(at));
        flag.and_then(|octet| Continuation::from_octet(*octet)).unwrap_or(Continuation::Last)
    }
}
