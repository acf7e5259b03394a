//! Transaction identifiers (RFC 4975 §7.1, §9).

use std::fmt;

/// Digits of base 32; lower case only, so that a peer that ignores case cannot confuse two.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// Whether an octet is an `ident-char` of RFC 4975 §9.
const IDENT: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &mut [bool] = &mut table;
    let mut octet: u8 = 0;
    while let Some((place, after)) = rest.split_first_mut() {
        *place = octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'+' | b'%' | b'=');
        octet = octet.wrapping_add(1);
        rest = after;
    }
    table
};

/// Digits of 8 bits: one of 5 and one of 3.
const CORE_DIGITS: usize = 2;

/// Digits of 64 bits: 12 of 5 bits and one of 4.
const NUMBER_DIGITS: usize = 13;

/// A transaction identifier that we made: whose it is, which of his it is, and 64 random bits
/// (RFC 4975 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId {
    /// The core that waits for the response.
    pub core: u8,
    /// 64 bits that a peer cannot guess.
    pub random: u64,
    /// The number of the transaction on its connection.
    pub sequence: u64,
}

/// A transaction identifier of ours, to be written and compared: the octets in words, the last of
/// which has only four that count.
///
/// A processor that reads octets which it has just written in other pieces waits for all that it
/// wrote before: words are read as they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words([u64; 4]);

impl Words {
    /// The octets.
    #[inline]
    pub(crate) fn octets(&self) -> [u8; TransactionId::OCTETS] {
        let mut octets = [0; TransactionId::OCTETS];
        self.write_to(&mut octets);
        octets
    }

    /// The same, written to where they shall be.
    #[inline]
    pub(crate) fn write_to(&self, octets: &mut [u8; TransactionId::OCTETS]) {
        let Self([first, second, third, last]) = *self;
        octets[..8].copy_from_slice(&first.to_le_bytes());
        octets[8..16].copy_from_slice(&second.to_le_bytes());
        octets[16..24].copy_from_slice(&third.to_le_bytes());
        octets[24..].copy_from_slice(&last.to_le_bytes()[..4]);
    }

    /// `octets` after the identifier, when they begin with it.
    #[inline]
    pub(crate) fn strip<'a>(&self, octets: &'a [u8]) -> Option<&'a [u8]> {
        let (id, rest) = octets.split_first_chunk::<{ TransactionId::OCTETS }>()?;
        let (words, last) = id.as_chunks::<8>();
        let Self([first, second, third, fourth]) = *self;
        let is_same = [first, second, third]
            .iter()
            .zip(words)
            .fold(true, |same, (own, word)| same & (*own == u64::from_le_bytes(*word)));
        let last: &[u8; 4] = last.first_chunk()?;
        (is_same && fourth as u32 == u32::from_le_bytes(*last)).then_some(rest)
    }
}

/// Why octets are not a transaction identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a transaction identifier is 4 to 32 letters, digits or .-+%= and starts with no mark")]
pub struct TransactionIdError;

impl TransactionId {
    /// Octets of an identifier of ours, always.
    pub const OCTETS: usize = CORE_DIGITS + 2 * NUMBER_DIGITS;

    /// Octets of the shortest identifier (`ident`, RFC 4975 §9).
    pub const OCTETS_MIN: usize = 4;

    /// Octets of the longest identifier (`ident`, RFC 4975 §9).
    pub const OCTETS_MAX: usize = 32;

    /// The identifier of transaction `sequence` of `core`, with 64 bits of fresh randomness.
    pub fn new(core: u8, random: u64, sequence: u64) -> Self {
        Self { core, random, sequence }
    }

    /// The octets that are written.
    #[inline]
    pub fn octets(&self) -> [u8; Self::OCTETS] {
        self.words().octets()
    }

    /// The core, and the lowest 30 random bits.
    #[inline]
    fn first(&self) -> u64 {
        digits(u64::from(self.core) | self.random << 10)
    }

    /// The other random bits, and the lowest 5 of the number.
    #[inline]
    fn second(&self) -> u64 {
        digits(self.random >> 30 | self.sequence << 35)
    }

    /// The digits of the core, of the random bits and of the number, eight at a time.
    #[inline]
    pub(crate) fn words(&self) -> Words {
        let sequence = self.sequence;
        Words([self.first(), self.second(), digits(sequence >> 5), digits(sequence >> 45)])
    }

    /// Makes `words` those of this one: they are of the one with the random bits before, which are
    /// less by one, and the same number.
    #[inline]
    pub(crate) fn next_random(&self, words: &mut Words) {
        match self.random & 0x3FFF_FFFF {
            0 => *words = self.all_words(),
            _ => words.0[0] = self.first(),
        }
    }

    /// Makes `words` those of this one: they are of the one with the number before, and the same
    /// random bits.
    #[inline]
    pub(crate) fn next_number(&self, words: &mut Words) {
        // The lowest digit of the number stands with the highest of the random bits.
        match self.sequence & 31 {
            0 => *words = self.all_words(),
            _ => words.0[1] = self.second(),
        }
    }

    #[cold]
    fn all_words(self) -> Words {
        self.words()
    }

    /// Reads an identifier that may be one of ours; one that is not may be read too, and has other
    /// random bits.
    pub fn parse(id: &[u8]) -> Option<Self> {
        if id.len() != Self::OCTETS {
            return None;
        }
        let (core, numbers) = id.split_at_checked(CORE_DIGITS)?;
        let (random, sequence) = numbers.split_at_checked(NUMBER_DIGITS)?;
        let core = u8::try_from(read_digits(core)?).ok()?;
        Some(Self { core, random: read_digits(random)?, sequence: read_digits(sequence)? })
    }

    /// Whether `octets` are an `ident` of RFC 4975 §9.
    ///
    /// # Errors
    /// [`TransactionIdError`]: they are not.
    pub fn check(octets: &[u8]) -> Result<(), TransactionIdError> {
        let len = Self::len_at_start_of(octets);
        if len == Some(octets.len()) { Ok(()) } else { Err(TransactionIdError) }
    }

    /// Octets of the `ident` of RFC 4975 §9 that `octets` start with and that no further octet of
    /// one follows.
    pub(crate) fn len_at_start_of(octets: &[u8]) -> Option<usize> {
        let is_ident = |octet: &u8| IDENT.get(usize::from(*octet)).copied().unwrap_or(false);
        let window = octets.get(..=Self::OCTETS_MAX).unwrap_or(octets);
        let end = window.iter().position(|octet| !is_ident(octet)).unwrap_or(window.len());
        let is_length = (Self::OCTETS_MIN..=Self::OCTETS_MAX).contains(&end);
        (is_length && octets.first()?.is_ascii_alphanumeric()).then_some(end)
    }

    /// Whether the identifier `id` stands anywhere in `body`: then it cannot end that body
    /// (RFC 4975 §7.1).
    // Few bodies are asked: the search stays out of what is done for all of them.
    #[cold]
    pub fn occurs_in(id: &[u8], body: &[u8]) -> bool {
        memchr::memmem::find(body, id).is_some()
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.octets().escape_ascii().fmt(f)
    }
}

/// The low 40 bits in base 32, the lowest digit in the first octet in memory.
///
/// All digits at once: the bits are spread over the octets by halves, and what is over 9 is moved
/// up to the letters.
#[inline]
fn digits(bits: u64) -> u64 {
    const EACH: u64 = u64::MAX / 0xFF;
    const LETTERS: u64 = (b'a' - b'9' - 1) as u64;
    let halves = (bits & 0xF_FFFF) | ((bits << 12) & 0x000F_FFFF_0000_0000);
    let quarters = (halves & 0x3FF_0000_03FF) | ((halves << 6) & 0x03FF_0000_03FF_0000);
    let values = (quarters & 0x1F_001F_001F_001F) | ((quarters << 3) & 0x1F00_1F00_1F00_1F00);
    // No octet comes to more than 149: nothing is carried from one into the next.
    let over_nine = (values.wrapping_add(EACH * (0x80 - 10)) >> 7) & EACH;
    let digits = values.wrapping_add(EACH * (b'0' as u64));
    digits.wrapping_add(over_nine.wrapping_mul(LETTERS))
}

/// Reads a number in base 32, the lowest digit first; `None` when it is none, or over 64 bits.
fn read_digits(digits: &[u8]) -> Option<u64> {
    let (mut number, mut over, mut seen) = (0_u64, 0, 0);
    for octet in digits.iter().rev() {
        let digit = VALUES.get(usize::from(*octet)).copied().unwrap_or(NO_DIGIT);
        seen |= digit;
        over |= number >> (u64::BITS - 5);
        number = (number << 5) | u64::from(digit & 31);
    }
    (seen < NO_DIGIT && over == 0).then_some(number)
}

/// What is no digit: above all that are.
const NO_DIGIT: u8 = 32;

/// The value of each octet as a digit.
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
        {
            values[DIGITS[value] as usize] = value as u8;
        }
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    // Covers: MSRP-001
    #[test]
    fn every_bit_is_in_the_octets() {
        let bits = |id: fn(u64) -> TransactionId, count: u32| {
            let all: BTreeSet<_> = (0..count).map(|bit| id(1 << bit).octets()).collect();
            assert_eq!(all.len(), count as usize);
        };
        bits(|bit| TransactionId::new(0, bit, 0), 64);
        bits(|bit| TransactionId::new(0, 0, bit), 64);
        bits(|bit| TransactionId::new(u8::try_from(bit).unwrap(), 0, 0), 8);
    }

    #[test]
    fn only_ours_are_read() {
        let id = TransactionId::new(3, u64::MAX, 1);
        assert_eq!(id.to_string(), "30vvvvvvvvvvvvf1000000000000");
        let text = id.to_string();
        for other in ["", "d93kswow", &text[1..], &text.to_uppercase(), &text.replace('3', "w")] {
            assert_eq!(TransactionId::parse(other.as_bytes()), None, "{other}");
        }
        // Over 8 and over 64 bits.
        assert_eq!(TransactionId::parse(text.replace("30", "0v").as_bytes()), None);
        assert_eq!(TransactionId::parse(text.replace('f', "v").as_bytes()), None);
    }

    // Covers: MSRP-002
    #[test]
    fn is_found_in_a_body() {
        let id = TransactionId::new(0, 1, 2);
        let body = format!("a\r\n-------{id}$");
        assert!(TransactionId::occurs_in(&id.octets(), body.as_bytes()));
        assert!(!TransactionId::occurs_in(&id.octets(), &id.octets()[1..]));
    }

    // Covers: MSRP-001
    #[test]
    fn checks_what_peers_send() {
        for id in ["a786hjs2", "49fh", "A.-+", "9%==", &"x".repeat(32)] {
            assert_eq!(TransactionId::check(id.as_bytes()), Ok(()), "{id}");
        }
        for id in
            ["", "abc", "-abc", ".abc", "ab c", "ab_c", "abc\u{e9}", "abcd\r", &"x".repeat(33)]
        {
            assert_eq!(TransactionId::check(id.as_bytes()), Err(TransactionIdError), "{id}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(core: u8, random: u64, sequence: u64) {
            let id = TransactionId::new(core, random, sequence);
            prop_assert_eq!(TransactionId::parse(&id.octets()), Some(id));
            prop_assert_eq!(TransactionId::check(&id.octets()), Ok(()));
        }

        #[test]
        fn one_after_the_other(
            core: u8,
            random in prop_oneof![any::<u64>(), any::<u32>().prop_map(|high| u64::from(high) << 30 | 0x3FFF_FFFF)],
            sequence in 0..u64::MAX,
        ) {
            let before = TransactionId::new(core, random, sequence);
            let next = TransactionId { sequence: sequence + 1, ..before };
            let mut words = before.words();
            next.next_number(&mut words);
            prop_assert_eq!(words, next.words());
            let next = TransactionId { random: random.wrapping_add(1), ..before };
            let mut words = before.words();
            next.next_random(&mut words);
            prop_assert_eq!(words, next.words());
        }

        #[test]
        fn never_panics(octets: Vec<u8>, long in prop::array::uniform28(any::<u8>())) {
            let _ = (TransactionId::parse(&octets), TransactionId::check(&octets));
            let _ = TransactionId::parse(&long);
        }
    }
}
