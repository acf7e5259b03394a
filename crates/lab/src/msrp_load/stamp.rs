//! The last octets of every message: who sent it, which one it is, when, and a sum over all of it.

use super::super::load::clock::mix;

/// Octets of a stamp: magic, group, sender, sequence number, time, sum.
pub(crate) const STAMP_OCTETS: usize = 40;
/// What a stamp begins with.
const MAGIC: &[u8; 4] = b"MLd1";
/// Where the sum stands; what is before it is summed.
const SUM_AT: usize = 32;

/// What a stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The group the message belongs to, its low 16 bits.
    pub(crate) group: u16,
    /// The sender, counted within the group.
    pub(crate) sender: u16,
    /// The number of the message, counted by its sender from 0.
    pub(crate) sequence: u32,
    /// When it was due, in nanoseconds of the run; 48 bits last three days.
    pub(crate) due: u64,
}

impl Stamp {
    /// Writes the stamp; `filler` is the [`sum`] of what stands before it.
    #[inline]
    pub(crate) fn write(&self, filler: u64, out: &mut [u8; STAMP_OCTETS]) {
        let [m, i, j, k, rest @ ..] = out;
        [*m, *i, *j, *k] = *MAGIC;
        hex(u64::from(self.group), rest.get_mut(0..4).unwrap_or_default());
        hex(u64::from(self.sender), rest.get_mut(4..8).unwrap_or_default());
        hex(u64::from(self.sequence), rest.get_mut(8..16).unwrap_or_default());
        hex(self.due, rest.get_mut(16..28).unwrap_or_default());
        let sum = seal(filler, out);
        hex(sum, out.get_mut(SUM_AT..).unwrap_or_default());
    }

    /// Reads the stamp at the end of `octets`; `None` when there is none.
    #[inline]
    pub(crate) fn read(octets: &[u8]) -> Option<Self> {
        let stamp = octets.last_chunk::<STAMP_OCTETS>()?.strip_prefix(MAGIC)?;
        let field = |from: usize, to: usize| stamp.get(from..to).map(unhex);
        Some(Self {
            group: u16::try_from(field(0, 4)?).ok()?,
            sender: u16::try_from(field(4, 8)?).ok()?,
            sequence: u32::try_from(field(8, 16)?).ok()?,
            due: field(16, 28)?,
        })
    }
}

/// Whether the stamp at the end of `octets` has the sum of the `size` last octets.
pub(crate) fn intact(octets: &[u8], size: usize) -> bool {
    let payload = octets.len().checked_sub(size).and_then(|start| octets.get(start..));
    let Some((filler, stamp)) = payload.and_then(|octets| octets.split_last_chunk()) else {
        return false;
    };
    let found = stamp.get(SUM_AT..).map(unhex);
    found == Some(seal(sum(filler), stamp) & 0xffff_ffff)
}

/// A sum that depends on every octet and its place.
pub(crate) fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<8>();
    let mut sum = octets.len() as u64;
    for word in words {
        sum = (sum ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    for octet in rest {
        sum = (sum ^ u64::from(*octet)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    mix(sum)
}

fn seal(filler: u64, stamp: &[u8; STAMP_OCTETS]) -> u64 {
    mix(filler ^ sum(stamp.get(..SUM_AT).unwrap_or_default()))
}

/// Writes the low digits of `value` into all of `out`, most significant first.
#[inline]
pub(crate) fn hex(value: u64, out: &mut [u8]) {
    let mut value = value;
    for octet in out.iter_mut().rev() {
        let digit = u8::try_from(value & 15).unwrap_or(0);
        *octet = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        value >>= 4;
    }
}

/// Reads what [`hex`] wrote; anything else gives some number.
#[inline]
pub(crate) fn unhex(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, octet| {
        let digit = if *octet <= b'9' { octet.wrapping_sub(b'0') } else { octet.wrapping_sub(87) };
        value << 4 | u64::from(digit & 15)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let stamp = Stamp { group: 3, sender: 65_535, sequence: 0xdead_beef, due: 1 << 47 };
        let mut message = b"filler of no special length".to_vec();
        let mut octets = [0; STAMP_OCTETS];
        stamp.write(sum(&message), &mut octets);
        message.extend_from_slice(&octets);
        assert_eq!(Stamp::read(&message), Some(stamp));
        assert!(intact(&message, message.len()));
        assert!(!intact(&message, message.len() + 1));
        assert_eq!(Stamp::read(message.get(..39).unwrap()), None);
        assert_eq!(Stamp::read(b"something else that is long enough for a stamp"), None);
    }

    #[test]
    fn every_changed_octet_is_noticed() {
        let mut message = vec![b'x'; 100];
        let mut octets = [0; STAMP_OCTETS];
        Stamp { group: 0, sender: 1, sequence: 2, due: 3 }.write(sum(&message), &mut octets);
        message.extend_from_slice(&octets);
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert!(!intact(&changed, changed.len()), "{at}");
        }
        assert!(!intact(&message[1..], 139), "one octet is missing");
    }
}
