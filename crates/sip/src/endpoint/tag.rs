//! The tags we put into our own `From` and `To` (RFC 3261 §19.3).
//!
//! `s` is followed by two hexadecimal digits, the shard that owns the dialog, and sixteen random
//! ones; all in lower case, since some peers compare tokens without regard to case.

/// Octets of a tag: the letter, shard and random number.
const LEN: usize = 1 + 2 + 16;

/// The tag of `shard` with these random bits.
pub(super) fn text(shard: u8, random: u64) -> String {
    format!("s{shard:02x}{random:016x}")
}

/// The shard a tag of ours names; `None` when the tag is not of our form.
pub fn shard(tag: &str) -> Option<u8> {
    let digits = tag.strip_prefix('s').filter(|_| tag.len() == LEN)?;
    let is_digit = |octet: u8| matches!(octet, b'0'..=b'9' | b'a'..=b'f');
    if !digits.bytes().all(is_digit) {
        return None;
    }
    u8::from_str_radix(digits.get(..2)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn a_tag_tells_its_shard() {
        assert_eq!(text(0x2a, 0xfedc_ba98_7654_3210), "s2afedcba9876543210");
        #[rustfmt::skip]
        let table = [
            ("s2afedcba9876543210",  Some(0x2a)),
            ("s000000000000000000",  Some(0)),
            ("sfffedcba9876543210",  Some(255)),
            ("",                     None),
            ("s",                    None),
            ("2afedcba9876543210",   None),
            ("t2afedcba9876543210",  None),
            ("s2afedcba987654321",   None),
            ("s2afedcba98765432100", None),
            ("S2afedcba9876543210",  None),
            ("s2AFEDCBA9876543210",  None),
            ("s+afedcba9876543210",  None),
            ("s2afedcba987654321g",  None),
            ("sé2fedcba987654321",   None),
        ];
        for (tag, expected) in table {
            assert_eq!(shard(tag), expected, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn every_tag_is_read_back(number: u8, random: u64) {
            prop_assert_eq!(shard(&text(number, random)), Some(number));
        }

        #[test]
        fn never_panics(tag in any::<String>()) {
            let _ = shard(&tag);
        }
    }
}
