//! The value of `file-range` (RFC 5547 §6).

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Which octets of a file are transferred; they count from 1.
///
/// Without the attribute it is the whole file. MSRP counts anew: what is transferred is a message
/// that starts at 1, wherever it was in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRange {
    /// The first octet.
    pub start: NonZeroU64,
    /// The last octet; `None` is `*`, the size is not known yet.
    pub stop: Option<NonZeroU64>,
}

/// Why a `file-range` was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileRangeError {
    /// The value is not `start "-" (stop / "*")` of numbers from 1 that fit 64 bits.
    #[error("file-range is not start-stop")]
    Shape,
    /// It stops before it starts.
    #[error("file-range stops before it starts")]
    Backwards,
}

impl FileRange {
    /// How many octets; `None` while the size is not known.
    pub fn octets(&self) -> Option<u64> {
        self.stop.map(|stop| (stop.get() - self.start.get()).saturating_add(1))
    }
}

impl FromStr for FileRange {
    type Err = FileRangeError;

    fn from_str(value: &str) -> Result<Self, FileRangeError> {
        let (start, stop) = value.trim().split_once('-').ok_or(FileRangeError::Shape)?;
        let start = offset(start)?;
        let stop = if stop == "*" { None } else { Some(offset(stop)?) };
        if stop.is_some_and(|stop| stop < start) {
            return Err(FileRangeError::Backwards);
        }
        Ok(Self { start, stop })
    }
}

impl fmt::Display for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stop {
            Some(stop) => write!(f, "{}-{stop}", self.start),
            None => write!(f, "{}-*", self.start),
        }
    }
}

fn offset(text: &str) -> Result<NonZeroU64, FileRangeError> {
    if !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(FileRangeError::Shape);
    }
    text.parse().map_err(|_| FileRangeError::Shape)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses() {
        #[rustfmt::skip]
        let table = [
            ("1-32349", 1, Some(32349), Some(32349)), // RFC 5547 §6
            ("1-*",     1, None,        None),
            ("7-7",     7, Some(7),     Some(1)),
            ("1-18446744073709551615", 1, Some(u64::MAX), Some(u64::MAX)),
        ];
        for (value, start, stop, octets) in table {
            let start = NonZeroU64::new(start).unwrap();
            let range = FileRange { start, stop: stop.and_then(NonZeroU64::new) };
            assert_eq!(value.parse(), Ok(range), "{value}");
            assert_eq!(range.to_string(), value);
            assert_eq!(range.octets(), octets, "{value}");
        }
    }

    #[test]
    fn refuses() {
        #[rustfmt::skip]
        let table = [
            ("",       FileRangeError::Shape),
            ("1",      FileRangeError::Shape),
            ("-1",     FileRangeError::Shape),
            ("0-1",    FileRangeError::Shape),
            ("1-",     FileRangeError::Shape),
            ("1-+2",   FileRangeError::Shape),
            ("*-2",    FileRangeError::Shape),
            ("1-18446744073709551616", FileRangeError::Shape),
            ("2-1",    FileRangeError::Backwards),
        ];
        for (value, error) in table {
            assert_eq!(value.parse::<FileRange>(), Err(error), "{value}");
        }
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(start: NonZeroU64, further in prop::option::of(0..u64::MAX)) {
            let stop = further.map(|further| start.saturating_add(further));
            let range = FileRange { start, stop };
            prop_assert_eq!(range.to_string().parse(), Ok(range));
        }

        #[test]
        fn never_panics(value: String, near in "[0-9*-]{0,25}") {
            for value in [value, near] {
                let _ = value.parse::<FileRange>().map(|range| range.octets());
            }
        }
    }
}
