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
        let slash = value.iter().position(|octet| *octet == b'/').ok_or(Shape)?;
        let (range, total) = value.split_at(slash);
        let dash = range.iter().position(|octet| *octet == b'-').ok_or(Shape)?;
        let (start, end) = range.split_at(dash);
        let start = number(start).ok_or(Number)?;
        let end = number_or_star(end.get(1..).unwrap_or_default())?;
        let total = number_or_star(total.get(1..).unwrap_or_default())?;
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

fn number_or_star(text: &[u8]) -> Result<Option<u64>, ByteRangeError> {
    if text == b"*" { Ok(None) } else { number(text).map(Some).ok_or(ByteRangeError::Number) }
}
