//! The branches we put into our own `Via` (RFC 3261 §8.1.1.7).
//!
//! `z9hG4bK-` is followed by two hexadecimal digits, the shard that owns the transaction, and a
//! letter that says what the rest is. `p`: eight digits of table index and sixteen random ones, so
//! that a response is found without a hash; anything else is a name given by the transaction user.

use super::ClientKey;

const PREFIX: &[u8; 8] = b"z9hG4bK-";
const INDEXED: u8 = b'p';
/// Octets of an indexed branch.
const LEN: usize = PREFIX.len() + 2 + 1 + 8 + 16;

/// The text of an indexed branch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BranchText([u8; LEN]);

impl BranchText {
    pub(super) fn new(shard: u8, index: u32, random: u64) -> Self {
        let mut text = [0; LEN];
        let (prefix, rest) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        let (shard_text, rest) = rest.split_at_mut(2);
        hex(shard_text, u64::from(shard));
        let (kind, rest) = rest.split_at_mut(1);
        kind.fill(INDEXED);
        let (index_text, random_text) = rest.split_at_mut(8);
        hex(index_text, u64::from(index));
        hex(random_text, random);
        Self(text)
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Writes the low digits of `value`, as many as there is room for.
fn hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        let nibble = (value & 15) as u8;
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        value >>= 4;
    }
}

/// Reads an indexed branch as (key, random part); `None` for any other.
pub(super) fn parse(branch: &str) -> Option<(ClientKey, u64)> {
    let rest = branch.as_bytes().strip_prefix(PREFIX)?;
    if rest.len() != LEN - PREFIX.len() || rest.get(2) != Some(&INDEXED) {
        return None;
    }
    let number = |range| u64::from_str_radix(str::from_utf8(rest.get(range)?).ok()?, 16).ok();
    let index = u32::try_from(number(3..11)?).ok()?;
    let random = number(11..27)?;
    Some((ClientKey { index, generation: random as u32 }, random))
}

/// The shard a branch of ours names; `None` when the branch is not ours.
pub fn shard(branch: &str) -> Option<u8> {
    let rest = branch.as_bytes().strip_prefix(PREFIX)?;
    u8::from_str_radix(str::from_utf8(rest.get(..2)?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_tells_shard_and_index() {
        let branch = BranchText::new(3, 0x1a2b, 0xfedc_ba98_7654_3210);
        assert_eq!(branch.as_str(), "z9hG4bK-03p00001a2bfedcba9876543210");
        let key = ClientKey { index: 0x1a2b, generation: 0x7654_3210 };
        assert_eq!(parse(branch.as_str()), Some((key, 0xfedc_ba98_7654_3210)));
        assert_eq!(shard(branch.as_str()), Some(3));
    }

    #[test]
    fn other_branches_are_not_ours() {
        for text in ["", "z9hG4bK", "z9hG4bK-", "z9hG4bK-0", "z9hG4bKzz00", "z9hG4bK-é"] {
            assert_eq!(shard(text), None, "{text}");
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(shard("z9hG4bK-01dabc"), Some(1));
        assert_eq!(parse("z9hG4bK-01dabc"), None);
        assert_eq!(parse("z9hG4bK-01p0000000g0000000000000000"), None);
    }
}
