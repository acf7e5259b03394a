//! The `Byte-Range` header field.

use std::fmt;

use super::number;

/// Which octets of a message a chunk or report covers (RFC 4975 §9, `Byte-Range`).
///
/// Positions count octets of the whole message from 1. No value sizes an allocation: the octets
/// that come are what counts (RFC 4975 §7.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First octet covered, 1 or more.
    pub start: u64,
    /// Last octet covered, `start - 1` for nothing; `None` is `*`, the sender may be interrupted.
    pub end: Option<u64>,
    /// Size of the whole message in octets; `None` is `*`, not known yet.
    pub total: Option<u64>,
}

/// Why a `Byte-Range` value was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByteRangeError {
    /// The value is not `start "-" end "/" total`.
    #[error("Byte-Range is not start-end/total")]
    Shape,
    /// A part is neither digits that fit 64 bits nor, where allowed, `*`.
    #[error("Byte-Range part is not a number")]
    Number,
    /// The range starts at 0; octets are counted from 1.
    #[error("Byte-Range starts at 0")]
    Start,
    /// The range ends before it starts; only `1-0` and its like, a range of nothing, may.
    #[error("Byte-Range ends before it starts")]
    End,
    /// The range reaches over the end of the message.
    #[error("Byte-Range reaches over the total")]
    Total,
}

impl ByteRange {
    /// What a missing `Byte-Range` means (RFC 4975 §7.3.1): the message from its first octet, of
    /// unknown length.
    pub const WHOLE: Self = Self { start: 1, end: None, total: None };

    /// Reads a value.
    ///
    /// # Errors
    /// [`ByteRangeError`]: it is none, or says what cannot be.
    pub fn parse(value: &[u8]) -> Result<Self, ByteRangeError> {
        use ByteRangeError::{End, Number, Shape, Start, Total};
        let (range, total) = split_at(value, b'/').ok_or(Shape)?;
        let (start, end) = split_at(range, b'-').ok_or(Shape)?;
        let start = number(start).ok_or(Number)?;
        let (end, total) = (number_or_star(end)?, number_or_star(total)?);
        let before = start.checked_sub(1).ok_or(Start)?;
        if end.is_some_and(|end| end < before) {
            return Err(End);
        }
        if total.is_some_and(|total| end.unwrap_or(before) > total) {
            return Err(Total);
        }
        Ok(Self { start, end, total })
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.start)?;
        match self.end {
            Some(end) => write!(f, "{end}/")?,
            None => write!(f, "*/")?,
        }
        match self.total {
            Some(total) => write!(f, "{total}"),
            None => write!(f, "*"),
        }
    }
}

fn split_at(text: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = text.split_at_checked(text.iter().position(|octet| *octet == mark)?)?;
    Some((before, after.get(1..)?))
}

fn number_or_star(text: &[u8]) -> Result<Option<u64>, ByteRangeError> {
    if text == b"*" { Ok(None) } else { number(text).map(Some).ok_or(ByteRangeError::Number) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Covers: MSRP-026
    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            ("1-25/25", 1,  Some(25), Some(25)), // RFC 4975 §4
            ("1-*/*",   1,  None,     None),
            ("26-*/40", 26, None,     Some(40)),
            ("1-0/0",   1,  Some(0),  Some(0)),  // nothing
            ("1-0/*",   1,  Some(0),  None),
            ("9-8/8",   9,  Some(8),  Some(8)),
            ("9-*/8",   9,  None,     Some(8)),
            ("18446744073709551615-*/*", u64::MAX, None, None),
        ];
        for (value, start, end, total) in table {
            let range = ByteRange { start, end, total };
            assert_eq!(ByteRange::parse(value.as_bytes()), Ok(range), "{value}");
            assert_eq!(range.to_string(), value);
        }
        assert_eq!(ByteRange::WHOLE.to_string(), "1-*/*");
    }

    // Covers: MSRP-085
    #[test]
    fn refuses() {
        use ByteRangeError::{End, Number, Shape, Start, Total};
        #[rustfmt::skip]
        let table = [
            ("",                         Shape),
            ("1-25",                     Shape),
            ("1/25",                     Shape),
            ("*-25/25",                  Number), // only end and total may be "*"
            ("1-+25/25",                 Number),
            ("-25/25",                   Number),
            ("1-/25",                    Number),
            ("1-25/",                    Number),
            ("1-25/25/25",               Number),
            ("1- 25/25",                 Number),
            ("1-18446744073709551616/*", Number), // over 64 bits
            ("0-25/25",                  Start),
            ("0-0/0",                    Start),
            ("9-7/9",                    End),
            ("1-26/25",                  Total),
            ("9-*/7",                    Total),
        ];
        for (value, error) in table {
            assert_eq!(ByteRange::parse(value.as_bytes()), Err(error), "{value}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            start in 1..u64::MAX, octets: Option<u32>, after: Option<u32>,
        ) {
            let end = octets.map(|octets| (start - 1).saturating_add(u64::from(octets)));
            let least = end.unwrap_or(start - 1);
            let total = after.map(|after| least.saturating_add(u64::from(after)));
            let range = ByteRange { start, end, total };
            prop_assert_eq!(ByteRange::parse(range.to_string().as_bytes()), Ok(range));
        }

        #[test]
        fn never_panics(value: Vec<u8>) {
            let _ = ByteRange::parse(&value);
        }
    }
}
