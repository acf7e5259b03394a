//! The `Failure-Report` header field.

use std::fmt;

/// What a sender wants to hear of a failure (RFC 4975 §7.1.1, `Failure-Report`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureReport {
    /// `yes`: every SEND is answered, and an answer that does not come is a failure. Also what a
    /// missing field means.
    #[default]
    Yes,
    /// `partial`: only a failure is answered, and nobody waits for an answer.
    Partial,
    /// `no`: nothing is answered.
    No,
}

/// A `Failure-Report` is not one of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failure-Report is neither yes, no nor partial")]
pub struct FailureReportError;

impl FailureReport {
    /// Reads a value, in any case.
    ///
    /// # Errors
    /// [`FailureReportError`]: it is none of the three.
    pub fn parse(value: &[u8]) -> Result<Self, FailureReportError> {
        [Self::Yes, Self::No, Self::Partial]
            .into_iter()
            .find(|known| value.eq_ignore_ascii_case(known.as_str().as_bytes()))
            .ok_or(FailureReportError)
    }

    /// The value as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Partial => "partial",
            Self::No => "no",
        }
    }
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: MSRP-008
    #[test]
    fn parses_and_refuses() {
        use FailureReport::{No, Partial, Yes};
        for (value, report) in
            [("yes", Yes), ("no", No), ("partial", Partial), ("Partial", Partial)]
        {
            assert_eq!(FailureReport::parse(value.as_bytes()), Ok(report), "{value}");
            assert_eq!(report.to_string(), value.to_lowercase());
        }
        for value in ["", "y", "yes ", "none"] {
            assert_eq!(FailureReport::parse(value.as_bytes()), Err(FailureReportError), "{value}");
        }
        assert_eq!(FailureReport::default(), Yes, "what a missing field means");
    }
}
