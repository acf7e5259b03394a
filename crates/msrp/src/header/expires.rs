//! The `Expires`, `Min-Expires` and `Max-Expires` header fields.

use std::fmt;
use std::time::Duration;

use super::number;

/// How long a relay's grant is valid, or the least or most that a relay gives (RFC 4976 §7:
/// `Expires`, `Min-Expires`, `Max-Expires`); whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expires(pub u32);

/// An `Expires` is not a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Expires is not a number of seconds")]
pub struct ExpiresError;

impl Expires {
    /// Reads a value; one over 32 bits is the largest there is, as in SIP (RFC 3261 §20.19).
    ///
    /// # Errors
    /// [`ExpiresError`]: it is not digits.
    pub fn parse(value: &[u8]) -> Result<Self, ExpiresError> {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(ExpiresError);
        }
        let seconds = number(value).and_then(|seconds| u32::try_from(seconds).ok());
        Ok(Self(seconds.unwrap_or(u32::MAX)))
    }

    /// The time.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

impl fmt::Display for Expires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_and_refuses() {
        #[rustfmt::skip]
        let table = [
            ("1800",                 Ok(1800)), // RFC 4976 §5.1
            ("0",                    Ok(0)),
            ("4294967296",           Ok(u32::MAX)),
            ("99999999999999999999", Ok(u32::MAX)),
            ("",                     Err(ExpiresError)),
            ("-1",                   Err(ExpiresError)),
            ("+1",                   Err(ExpiresError)),
            ("1 s",                  Err(ExpiresError)),
        ];
        for (value, expected) in table {
            assert_eq!(Expires::parse(value.as_bytes()), expected.map(Expires), "{value}");
        }
        assert_eq!(Expires(60).duration(), Duration::from_secs(60));
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(seconds: u32) {
            let text = Expires(seconds).to_string();
            prop_assert_eq!(Expires::parse(text.as_bytes()), Ok(Expires(seconds)));
        }

        #[test]
        fn never_panics(value: Vec<u8>) {
            let _ = Expires::parse(&value);
        }
    }
}
