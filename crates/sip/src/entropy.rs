//! Random values: the generator the machines are given, and the texts made from it.

/// A source of random numbers: cryptographic in production, seeded in tests.
///
/// RFC 3261 §19.3 asks for tags with at least 32 bits of cryptographic randomness; what is made
/// here has 64 or more.
pub trait Entropy {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Entropy for F {
    fn next_u64(&mut self) -> u64 {
        self()
    }
}

/// Base 32 digits. Lower case only: some peers compare tokens without regard to case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// Digits written for each number: 12 of 5 bits and one of 4.
const DIGITS_PER_NUMBER: usize = 13;

/// A token of 64 random bits for each of `numbers`, 13 characters each.
pub fn token(entropy: &mut impl Entropy, numbers: usize) -> String {
    let mut text = String::with_capacity(numbers * DIGITS_PER_NUMBER);
    push_token(&mut text, entropy, numbers);
    text
}

/// A number below `bound`, every one as likely to within 2^-64; 0 when `bound` is 0.
pub fn below(entropy: &mut impl Entropy, bound: u64) -> u64 {
    let scaled = (u128::from(entropy.next_u64()) * u128::from(bound)) >> 64;
    // The product of two 64-bit numbers shifted by 64 has 64 bits.
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

fn push_token(text: &mut String, entropy: &mut impl Entropy, numbers: usize) {
    for _ in 0..numbers {
        push_number(text, entropy.next_u64());
    }
}

/// Appends `number` in base 32, always 13 digits, the lowest first.
pub(crate) fn push_number(text: &mut String, mut number: u64) {
    for _ in 0..DIGITS_PER_NUMBER {
        let digit = DIGITS.get((number & 31) as usize).copied().unwrap_or(b'0');
        text.push(char::from(digit));
        number >>= 5;
    }
}

/// A repeatable generator for tests (SplitMix64).
#[cfg(test)]
pub(crate) fn seeded(mut seed: u64) -> impl Entropy {
    move || {
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bit_is_in_the_text() {
        let texts: BTreeSet<String> = (0..64)
            .map(|bit| token(&mut || 1_u64 << bit, 1))
            .chain([token(&mut || 0, 1)])
            .collect();
        assert_eq!(texts.len(), 65);
        assert!(texts.iter().all(|text| text.len() == 13));
    }

    #[test]
    fn texts_are_tokens_and_long_enough() {
        let text = token(&mut seeded(1), 2);
        assert_eq!(text.len(), 26);
        let lower = |octet: u8| octet.is_ascii_digit() || octet.is_ascii_lowercase();
        assert!(text.bytes().all(lower));
    }

    #[test]
    fn below_stays_below_and_reaches_both_ends() {
        assert_eq!(below(&mut || 0, 10), 0);
        assert_eq!(below(&mut || u64::MAX, 10), 9);
        assert_eq!(below(&mut || u64::MAX, 0), 0);
        let mut entropy = seeded(2);
        let seen: BTreeSet<u64> = (0..1_000).map(|_| below(&mut entropy, 10)).collect();
        assert_eq!(seen.len(), 10);
    }
}
