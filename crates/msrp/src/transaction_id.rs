//! Transaction identifiers (RFC 4975 §7.1, §9).

use std::fmt;

/// Digits of base 32; lower case only, so that a peer that ignores case cannot confuse two.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

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
    pub fn octets(&self) -> [u8; Self::OCTETS] {
        let mut octets = [b'0'; Self::OCTETS];
        let (core, numbers) = octets.split_at_mut(CORE_DIGITS);
        let (random, sequence) = numbers.split_at_mut(NUMBER_DIGITS);
        write_digits(core, u64::from(self.core));
        write_digits(random, self.random);
        write_digits(sequence, self.sequence);
        octets
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
        let first = octets.first().is_some_and(u8::is_ascii_alphanumeric);
        let length = (Self::OCTETS_MIN..=Self::OCTETS_MAX).contains(&octets.len());
        let all = octets.iter().all(|o| o.is_ascii_alphanumeric() || b".-+%=".contains(o));
        if first && length && all { Ok(()) } else { Err(TransactionIdError) }
    }

    /// Whether the identifier stands anywhere in `body`: then it cannot end that body
    /// (RFC 4975 §7.1).
    pub fn occurs_in(&self, body: &[u8]) -> bool {
        memchr::memmem::find(body, &self.octets()).is_some()
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.octets().escape_ascii().fmt(f)
    }
}

/// Writes `number` in base 32, the lowest digit first.
fn write_digits(out: &mut [u8], mut number: u64) {
    for octet in out {
        *octet = DIGITS.get((number & 31) as usize).copied().unwrap_or(b'0');
        number >>= 5;
    }
}

/// Reads a number in base 32, the lowest digit first; `None` when it is none, or over 64 bits.
fn read_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().rev().try_fold(0_u64, |number, octet| {
        let digit = match octet {
            b'0'..=b'9' => octet - b'0',
            b'a'..=b'v' => octet - b'a' + 10,
            _ => return None,
        };
        Some(number.checked_mul(32)? | u64::from(digit))
    })
}
