//! Octets, looked at many at a time.

/// One in each octet of a word.
pub const EACH: u64 = u64::MAX / 0xFF;

/// The top bit of each octet of a word.
pub const TOPS: u64 = EACH * 0x80;

/// The first octet of `octets` that `is` what is looked for.
///
/// `tops` says the same of eight: it sets the top bit of each octet of a word that is, and maybe of
/// octets after the first of those (one may carry into the next); the first octet is the lowest.
#[inline]
pub fn position(
    octets: &[u8],
    tops: impl Fn(u64) -> u64,
    is: impl Fn(u8) -> bool,
) -> Option<usize> {
    let (words, rest) = octets.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let found = tops(u64::from_le_bytes(*word)) & TOPS;
        if found != 0 {
            return Some(number * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|octet| is(*octet))?;
    Some(words.len() * 8 + at)
}
